"""The life of an award, as one table: what arrives in which state, what is recorded of it, and the state after it.

`LIFE` is the table; everything else here is derived from it: the arrays that the compiled step reads, the table of the
docs, and which rows may follow which. An answer above 0 is the kind of the event row that is recorded; 0 and below
(`ANSWERS`) nothing is recorded and no money moves. Besides the state, an award remembers which of `ONCE` have come:
each counts once, whatever the state. Refunds are numbered 1, 2, 3 so that a repeated one never pays twice.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange.market import rows as r
from exchange.market import sale as s

STATES: Final = {
    s.HELD: "held",
    s.BILLED: "billed",
    s.PART_REFUNDED: "part refunded",
    s.REFUNDED: "refunded",
    s.RELEASED: "released",
    s.UNPAID: "unpaid",
}
IMPRESSION, CLICK, CONVERSION, OPT_IN, OPT_OUT, REFUND_PART, REFUND_REST, EXPIRY = range(8)
ARRIVALS: Final = (
    "impression",
    "click",
    "conversion",
    "opt in",
    "opt out",
    "refund of a part",
    "refund of all that is left",
    "nothing until `hold_s` is over",
)
ARRIVES_AS: Final = {  # the kind that a caller names -> what arrives; a refund's amount says which of the two it is
    r.KIND_IMPRESSION: IMPRESSION,
    r.KIND_CLICK: CLICK,
    r.KIND_CONVERSION: CONVERSION,
    r.KIND_OPT_IN: OPT_IN,
    r.KIND_OPT_OUT: OPT_OUT,
    r.KIND_REFUND: REFUND_REST,
    r.KIND_RELEASE: EXPIRY,
}
REFUNDS_MAX: Final = 255  # of one award: EVENT_ROW.number

REPEAT: Final = 0  # answers that record nothing
UNKNOWN: Final = -1
NOT_BILLED: Final = -2
NEVER_PAID: Final = -3
NOTHING_LEFT: Final = -4
TOO_MUCH: Final = -5
GAP: Final = -6
ANSWERS: Final = {
    REPEAT: ("repeat", "it came before"),
    UNKNOWN: ("unknown", "the award is not remembered any more: more than server.awards_max were placed after it"),
    NOT_BILLED: ("not_billed", "nothing is paid yet"),
    NEVER_PAID: ("never_paid", "the hold expired, nothing was paid"),
    NOTHING_LEFT: ("nothing_left", "all of it was refunded before"),
    TOO_MUCH: ("too_much", "the amount is above what is left of the award"),
    GAP: ("gap", f"the number is not that of the award's next refund, or above {REFUNDS_MAX}"),
}
REFUSALS: Final = (NOT_BILLED, NEVER_PAID, NOTHING_LEFT, TOO_MUCH, GAP)


class Step(NamedTuple):
    """A row of the table: what arrives, for awards billed by what, in which states; the answer, the state after it."""

    arrives: tuple[int, ...]
    bills: tuple[int, ...]
    states: tuple[int, ...]
    answer: int  # kind of the row recorded, or one of ANSWERS
    then: int = 0  # 0 = the state stays


_SEE, _CLICK, _CONVERT = (s.BILL_IMPRESSION,), (s.BILL_CLICK,), (s.BILL_CONVERSION,)
_ANY_BILL: Final = (*_SEE, *_CLICK, *_CONVERT)
_ANY: Final = tuple(STATES)
_HELD, _RELEASED, _REFUNDED = (s.HELD,), (s.RELEASED,), (s.REFUNDED,)
_PAID: Final = (s.BILLED, s.PART_REFUNDED)  # and something of it is left
_SETTLED: Final = (s.BILLED, s.PART_REFUNDED, s.REFUNDED, s.UNPAID)  # the billable event has come
_REFUND: Final = (REFUND_PART, REFUND_REST)

LIFE: Final[tuple[Step, ...]] = (
    # the billable event settles the hold; after the release it pays nothing
    Step((IMPRESSION,), _SEE, _HELD, r.KIND_IMPRESSION, s.BILLED),
    Step((IMPRESSION,), _SEE, _RELEASED, r.KIND_UNPAID, s.UNPAID),
    Step((IMPRESSION,), _SEE, _SETTLED, REPEAT),
    Step((CLICK,), _CLICK, _HELD, r.KIND_BILLED_CLICK, s.BILLED),
    Step((CLICK,), _CLICK, _RELEASED, r.KIND_UNPAID, s.UNPAID),
    Step((CLICK,), _CLICK, _SETTLED, REPEAT),
    Step((CONVERSION,), _CONVERT, _HELD, r.KIND_BILLED_CONVERSION, s.BILLED),
    Step((CONVERSION,), _CONVERT, _RELEASED, r.KIND_UNPAID, s.UNPAID),
    Step((CONVERSION,), _CONVERT, _SETTLED, REPEAT),
    # the other events are recorded in any state
    Step((IMPRESSION,), _CLICK + _CONVERT, _ANY, r.KIND_VIEW),
    Step((CLICK,), _SEE + _CONVERT, _ANY, r.KIND_CLICK),
    Step((CONVERSION,), _SEE + _CLICK, _ANY, r.KIND_CONVERSION),
    Step((OPT_IN,), _ANY_BILL, _ANY, r.KIND_OPT_IN),
    Step((OPT_OUT,), _ANY_BILL, _ANY, r.KIND_OPT_OUT),
    # money comes back only where it was paid
    Step((REFUND_PART,), _ANY_BILL, _PAID, r.KIND_REFUND, s.PART_REFUNDED),
    Step((REFUND_REST,), _ANY_BILL, _PAID, r.KIND_REFUND, s.REFUNDED),
    Step(_REFUND, _ANY_BILL, _HELD, NOT_BILLED),
    Step(_REFUND, _ANY_BILL, (s.RELEASED, s.UNPAID), NEVER_PAID),
    Step(_REFUND, _ANY_BILL, _REFUNDED, NOTHING_LEFT),
    # a hold that nothing settled
    Step((EXPIRY,), _ANY_BILL, _HELD, r.KIND_RELEASE, s.RELEASED),
    Step((EXPIRY,), _ANY_BILL, (*_SETTLED, s.RELEASED), REPEAT),
)
ONCE: Final = {  # the kinds of rows of which an award has one in all, by what arrives
    IMPRESSION: (r.KIND_IMPRESSION, r.KIND_VIEW),
    CLICK: (r.KIND_CLICK, r.KIND_BILLED_CLICK),
    CONVERSION: (r.KIND_CONVERSION, r.KIND_BILLED_CONVERSION),
    OPT_IN: (r.KIND_OPT_IN,),
    OPT_OUT: (r.KIND_OPT_OUT,),
    EXPIRY: (r.KIND_RELEASE,),
}

_SHAPE: Final = (len(s.BILLS), max(STATES) + 1, len(ARRIVALS))


def _built() -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int8]]:
    """The arrays below. Raises ValueError when a cell of the table has no answer, or two."""
    answer: NDArray[np.int8] = np.full(_SHAPE, UNKNOWN, np.int8)
    then: NDArray[np.int8] = np.zeros(_SHAPE, np.int8)
    after: NDArray[np.int8] = np.zeros((_SHAPE[0], _SHAPE[1], max(r.KINDS) + 1), np.int8)
    for step in LIFE:
        for arrival in step.arrives:
            for bill in step.bills:
                for state in step.states:
                    if then[bill, state, arrival]:
                        raise ValueError(f"{ARRIVALS[arrival]}, {s.BILLS[bill]}, {STATES[state]}: two answers")
                    answer[bill, state, arrival] = step.answer
                    then[bill, state, arrival] = step.then or state
                    if step.answer > 0 and arrival != REFUND_REST:
                        after[bill, state, step.answer] = step.then or state
    if not then[:, list(STATES)].all():
        raise ValueError("a cell of the table has no answer")
    return answer, then, after


# ANSWER[bill, state, arrival]: what is recorded, or why nothing is; THEN[bill, state, arrival]: the state after it.
# AFTER[bill, state, row kind]: the state after that row, 0 = it may not stand there; a refund that leaves nothing
# leads to REFUNDED where this says PART_REFUNDED. UNPAID stands for the arrival of the billable event.
ANSWER, THEN, AFTER = _built()


def word(answer: int) -> str:
    """An answer in words, as docs and replies have it: the kind recorded, or why nothing was."""
    if answer > 0:
        return r.KINDS[answer]
    return f"refused: {ANSWERS[answer][0]}" if answer in REFUSALS else ANSWERS[answer][0]


# ---- the table of the docs ------------------------------------------------------------------------------------------


def table() -> str:
    """The table as Markdown: a row for each arrival and way of billing, a column for each state."""
    lines = ["| what arrives | billed by | " + " | ".join(STATES.values()) + " |", "|" + "---|" * (2 + len(STATES))]
    for arrival, name in enumerate(ARRIVALS):
        by_bill = {bill: _cells(bill, arrival) for bill in range(len(s.BILLS))}
        for cells in dict.fromkeys(by_bill.values()):
            bills = [s.BILLS[bill] for bill, own in by_bill.items() if own == cells]
            shown = "any" if len(bills) == len(s.BILLS) else " or ".join(bills)
            lines.append(f"| {name} | {shown} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cells(bill: int, arrival: int) -> tuple[str, ...]:
    """What the table says of an arrival in every state."""
    found = []
    for state in STATES:
        answer, then = int(ANSWER[bill, state, arrival]), int(THEN[bill, state, arrival])
        text = f"{answer} {word(answer)}" if answer > 0 else word(answer)
        found.append(text if then == state else f"{text} -> **{STATES[then]}**")
    return tuple(found)


# ---- odd orders -----------------------------------------------------------------------------------------------------

HOLD: Final = 100  # what the awards of ODD hold


class Odd(NamedTuple):
    """An odd order: its name, the award's bill, what arrives as (kind, amount, number); the last answer is shown.

    Amounts are of HOLD; 0 = all that is left.
    """

    name: str
    bill: int
    arrivals: tuple[tuple[int, int, int], ...]


_SEEN, _CLICKED, _EXPIRED = (r.KIND_IMPRESSION, 0, 0), (r.KIND_CLICK, 0, 0), (r.KIND_RELEASE, 0, 0)
_IN, _OUT = (r.KIND_OPT_IN, 0, 0), (r.KIND_OPT_OUT, 0, 0)
_PART = (r.KIND_REFUND, 40, 1)
ODD: Final = (
    Odd("billed twice", s.BILL_IMPRESSION, (_SEEN, _SEEN)),
    Odd("click before its impression, impressions billed", s.BILL_IMPRESSION, (_CLICKED,)),
    Odd("and then that impression", s.BILL_IMPRESSION, (_CLICKED, _SEEN)),
    Odd("click before its impression, clicks billed", s.BILL_CLICK, (_CLICKED,)),
    Odd("and then that impression", s.BILL_CLICK, (_CLICKED, _SEEN)),
    Odd("billable impression after the expiry", s.BILL_IMPRESSION, (_EXPIRED, _SEEN)),
    Odd("and once more", s.BILL_IMPRESSION, (_EXPIRED, _SEEN, _SEEN)),
    Odd("impression after the expiry, clicks billed", s.BILL_CLICK, (_EXPIRED, _SEEN)),
    Odd("refund before billing", s.BILL_IMPRESSION, ((r.KIND_REFUND, 0, 1),)),
    Odd("refund after the expiry", s.BILL_IMPRESSION, (_EXPIRED, (r.KIND_REFUND, 0, 1))),
    Odd("refund of an unpaid award", s.BILL_IMPRESSION, (_EXPIRED, _SEEN, (r.KIND_REFUND, 0, 1))),
    Odd("refund sent twice with its number", s.BILL_IMPRESSION, (_SEEN, _PART, _PART)),
    Odd("a part, then more than is left", s.BILL_IMPRESSION, (_SEEN, _PART, (r.KIND_REFUND, 61, 2))),
    Odd("a part, then all that is left", s.BILL_IMPRESSION, (_SEEN, _PART, (r.KIND_REFUND, 0, 2))),
    Odd("refund after a full refund", s.BILL_IMPRESSION, (_SEEN, (r.KIND_REFUND, 0, 1), (r.KIND_REFUND, 0, 2))),
    Odd("refund above the award", s.BILL_IMPRESSION, (_SEEN, (r.KIND_REFUND, 101, 1))),
    Odd("refund number 2 before number 1", s.BILL_IMPRESSION, (_SEEN, (r.KIND_REFUND, 10, 2))),
    Odd("opt in twice", s.BILL_IMPRESSION, (_IN, _IN)),
    Odd("opt out without an opt in", s.BILL_IMPRESSION, (_OUT,)),
    Odd("click after a full refund", s.BILL_IMPRESSION, (_SEEN, (r.KIND_REFUND, 0, 1), _CLICKED)),
)  # fmt: skip


def follow(bill: int, arrivals: Sequence[tuple[int, int, int]], hold: int = HOLD) -> tuple[list[int], int]:
    """Let (kind, amount, number) arrive one after the other for an award of `hold`: the answers and the last state."""
    state, left, refunds, come, answers = s.HELD, hold, 0, set[int](), []
    for kind, amount, number in arrivals:
        arrival = ARRIVES_AS[kind]
        wanted = amount or left
        if kind == r.KIND_REFUND and wanted < left:
            arrival = REFUND_PART
        answer = int(ANSWER[bill, state, arrival])
        if arrival in come or kind == r.KIND_REFUND and number <= refunds:
            answer = REPEAT
        elif kind == r.KIND_REFUND and answer > 0:
            if number != refunds + 1 or number > REFUNDS_MAX:
                answer = GAP
            elif not 0 < wanted <= left:
                answer = TOO_MUCH if left else NOTHING_LEFT
        if answer > 0:
            state = int(THEN[bill, state, arrival])
            if kind == r.KIND_REFUND:
                left, refunds = left - wanted, refunds + 1
            elif arrival in ONCE:
                come.add(arrival)
            if kind == r.KIND_CLICK and bill != s.BILL_IMPRESSION:
                come.add(IMPRESSION)  # whoever clicks has seen it, where impressions are not what is billed
        answers.append(answer)
    return answers, state


def answers() -> str:
    """The odd orders and their answers as Markdown."""
    lines = ["| odd order | answer | state after it |", "|---|---|---|"]
    for odd in ODD:
        found, state = follow(odd.bill, odd.arrivals)
        lines.append(f"| {odd.name} | {word(found[-1])} | {STATES[state]} |")
    return "\n".join(lines) + "\n"
