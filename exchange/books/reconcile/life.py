"""Reconcile, award by award: its events in their order (I7, I11), what they post (I3), a replay that adds nothing."""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from exchange import market as m
from exchange.books.keys import Ints
from exchange.books.reconcile.streams import Breaks, Streams
from exchange.market import life as lf

_STATES: Final = tuple(lf.STATES.get(state, "") for state in range(max(lf.STATES) + 1))
_ONCE: Final = np.zeros(max(m.KINDS) + 1, np.uint8)  # bit of what has come, by row kind; unpaid: by `bill`
for _arrival, _kinds in lf.ONCE.items():
    _ONCE[list(_kinds)] = 1 << _arrival
_SEEN: Final = np.uint8(1 << lf.IMPRESSION)
_CLICKED: Final = 1 << lf.CLICK

FINE, NOT_NOW, TWICE, NUMBER, TOO_MUCH, TOO_LATE, OTHER_BILL = range(7)


@njit(cache=True, nogil=True)
def _walk(win, kind, amount, number, time, bill, total, expires, after, once, state, come, left, refunds, says, was):  # type: ignore[no-untyped-def]
    """Let the events happen in their order: `says` per event FINE or what is wrong, `was` the state it met.

    state, come, left, refunds: per award; an event that is not fine changes nothing.
    """
    for i in range(win.size):
        w = win[i]
        says[i], was[i] = FINE, 0
        if w < 0 or kind[i] >= after.shape[2]:
            continue
        was[i] = state[w]
        bit = once[kind[i]]
        if kind[i] == m.KIND_UNPAID:
            bit = np.uint8(1 << bill[w])
        then = after[bill[w], state[w], kind[i]]
        if bit and come[w] & bit:
            says[i] = TWICE
        elif kind[i] == m.KIND_REFUND and then:
            if number[i] != refunds[w] + 1:
                says[i] = NUMBER
            elif amount[i] <= 0 or amount[i] > left[w]:
                says[i] = TOO_MUCH
        elif then == 0:
            known = kind[i] == m.KIND_RELEASE or kind[i] == m.KIND_UNPAID or kind[i] == m.KIND_REFUND
            says[i] = NOT_NOW if known or after[bill[w], m.HELD, kind[i]] else OTHER_BILL
        elif then != state[w] and state[w] == m.HELD:
            if (time[i] > expires[w]) if kind[i] == m.KIND_RELEASE else (time[i] >= expires[w]):
                says[i] = TOO_LATE
        if says[i] != FINE:
            continue
        come[w] |= bit
        if bill[w] != m.BILL_IMPRESSION and bit == _CLICKED:
            come[w] |= _SEEN  # whoever clicks has seen it, where impressions are not what is billed
        if kind[i] == m.KIND_REFUND:
            refunds[w] += 1
            left[w] -= amount[i]
            then = np.int8(m.REFUNDED) if left[w] == 0 else then
        elif state[w] == m.HELD and then == m.BILLED:
            left[w] = total[w]
        state[w] = then


def events(streams: Streams) -> Breaks:
    """Every event belongs to a win, comes after it, and repeats its key facts; only refunds have a number."""
    wins, rows, win = streams.wins, streams.events, streams.win
    yield "event", "events", rows, win < 0, "auction_id", "a win row", "none"
    stray = (rows["kind"] != m.KIND_REFUND) & (rows["number"] != 0)
    yield "I11", "events", rows, stray, "number", 0, rows["number"]
    if not len(wins):
        return
    known = win >= 0
    for field in ("serial", "campaign", "advertiser"):
        there = wins[field][win]
        yield "event", "events", rows, known & (rows[field] != there), field, there, rows[field]
    other = known & (rows["person_key"] != wins["person_key"][win])
    yield "event", "events", rows, other, "person_key", "the person of its win", "another"
    late = wins["seq"][win]
    broken = known & (wins["worker"][win] == rows["worker"]) & (rows["seq"] < late)
    yield "event", "events", rows, broken, "seq", late, rows["seq"]


def posted(streams: Streams) -> Breaks:
    """I3: a billing posts its win's total, a refund less than nothing, every other event nothing."""
    wins, rows, win = streams.wins, streams.events, streams.win
    kind, paid = rows["kind"], rows["paid_nano"]
    billed, refund = np.isin(kind, m.BILLING), kind == m.KIND_REFUND
    total = wins["buyer_total_nano"][win] if len(wins) else np.zeros(len(rows), np.int64)
    yield "I3", "events", rows, billed & (win >= 0) & (paid != total), "paid_nano", total, paid
    yield "I3", "events", rows, ~billed & ~refund & (paid != 0), "paid_nano", 0, paid
    yield "I11", "events", rows, refund & (paid >= 0), "paid_nano", "less than 0", paid


def life(streams: Streams) -> Breaks:
    """I7 and I11: each award lives as the state table says; and all its events once more change nothing."""
    wins, rows, win = streams.wins, streams.events, streams.win
    n = len(wins)
    kind, amount = rows["kind"].astype(np.int64), -rows["paid_nano"]
    state, come, refunds = np.full(n, m.HELD, np.int8), np.zeros(n, np.uint8), np.zeros(n, np.int64)
    left = np.zeros(n, np.int64)
    says, was = np.zeros(len(rows), np.int8), np.zeros(len(rows), np.int8)
    bill = np.minimum(wins["bill"], len(m.BILLS) - 1).astype(np.int64)
    terms = (bill, wins["buyer_total_nano"], wins["expires_ns"], lf.AFTER, _ONCE)
    facts = (win, kind, amount, rows["number"].astype(np.int64), rows["ts_ns"])
    _walk(*facts, *terms, state, come, left, refunds, says, was)
    if len(rows):
        yield from _told(streams, says, was, bill[win] if n else win, left[win] if n else win, refunds)
    again = np.zeros(len(rows), np.int8)
    _walk(*facts, *terms, state, come, left, refunds, again, was)
    taken = (again == FINE) & (says == FINE) & (win >= 0) & (rows["kind"] < lf.AFTER.shape[2])
    yield "I7", "events", rows, taken, "replayed", "nothing, as it came before", "recorded once more"


def _told(
    streams: Streams, says: NDArray[np.int8], was: NDArray[np.int8], bill: Ints, left: Ints, refunds: Ints
) -> Breaks:
    """What the walk found, in words."""
    rows = streams.events
    kind, refund = rows["kind"], rows["kind"] == m.KIND_REFUND
    words = np.array([m.KINDS.get(k, str(k)) for k in range(int(kind.max()) + 1)])
    met = np.array(_STATES)[was]
    once = says == TWICE
    yield "I7", "events", rows, once, "kind", "once per award", np.char.add(words, " again")[kind]
    wrong = (says == NOT_NOW) & ~refund
    here = np.char.add(np.char.add(words[kind], " of an award that is "), met) if wrong.any() else words[kind]
    yield "I7", "events", rows, wrong, "kind", "a row that may stand there", here
    by = np.array([f"one of an award billed by {name}" for name in m.BILLS])[np.minimum(bill, len(m.BILLS) - 1)]
    yield "I7", "events", rows, says == OTHER_BILL, "kind", by, words[kind]
    yield "I7", "events", rows, says == TOO_LATE, "ts_ns", "before its hold expired", rows["ts_ns"]
    early = (says == NOT_NOW) & refund
    yield "I11", "events", rows, early, "kind", "a refund of what was billed", np.char.add("refund of one ", met)
    next_ = refunds[streams.win] + 1 if len(streams.wins) else left
    yield "I11", "events", rows, says == NUMBER, "number", np.char.add("not above ", next_.astype(str)), rows["number"]
    above = says == TOO_MUCH
    yield "I11", "events", rows, above, "paid_nano", "what is left of the award, at most", rows["paid_nano"]
