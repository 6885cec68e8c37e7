"""What became of every win, as columns beside those of the wins: one compiled pass over the events.

SQL would group the events by award and join them to the wins, two large hash tables; but serials rise with the wins,
so the win of an event is found at once, and what became of it is an array in the order of the wins.
"""

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from exchange import market as mk
from exchange.rent.columns import Columns
from exchange.rent.derived import EVENT_COLUMNS, WIN_COLUMNS, find_wins, history
from exchange.rent.ledger import Ledger

IDS: Final = ("advertiser", "campaign", "segment", "publisher")
NEVER: Final = -(2**63)  # billed_ns of a win that was not billed
DAY_NS: Final = 86_400 * 10**9
_IMPRESSION, _BILLED_CLICK, _BILLED_CONVERSION = mk.BILLING
_REFUND: Final = mk.KIND_REFUND


class Outcomes(Struct):
    """Columns in the order of the wins."""

    kinds: NDArray[np.uint32]  # a bit for each kind of event that arrived
    billed_ns: NDArray[np.int64]  # NEVER = not billed
    refunded_nano: NDArray[np.int64]
    contact_n: NDArray[np.uint32]  # of the billing: 1 = the first of its advertiser and person; 0 = none, or unknown


def outcomes_of(wins: Columns, events: Columns, numbered: bool = True) -> Outcomes:
    """What became of the wins of a ledger, from its events; contacts are counted where `numbered`, else 0."""
    wins.load("serial")
    n = len(wins)
    found = Outcomes(np.zeros(n, np.uint32), np.full(n, NEVER, np.int64), np.zeros(n, np.int64), np.zeros(n, np.uint32))
    events.load("kind", "ts_ns", "refund_nano", "serial")
    if not numbered:
        win = wins_of_events(wins, events)
        note(
            events["kind"], events["ts_ns"], events["refund_nano"], win, np.zeros(win.size, np.uint32), found.kinds,
            found.billed_ns, found.refunded_nano, found.contact_n,
        )  # fmt: skip
        return found
    wins.load(*WIN_COLUMNS, "buyer_total_nano")
    events.load(*EVENT_COLUMNS)
    theirs = events.spans()
    for worker, w in wins.spans().items():
        if worker not in theirs:
            continue
        e = theirs[worker]
        of = {name: events[name][e] for name in EVENT_COLUMNS}
        lived = history({name: wins[name][w] for name in WIN_COLUMNS}, wins["buyer_total_nano"][w], of)
        note(
            of["kind"], of["ts_ns"], of["refund_nano"], lived.win, lived.contact_n, found.kinds[w],
            found.billed_ns[w], found.refunded_nano[w], found.contact_n[w],
        )  # fmt: skip
    return found


@njit(cache=True, nogil=True)
def note(kind, ts_ns, refund, win, nth, kinds, billed_ns, refunded, contact_n):  # type: ignore[no-untyped-def]
    """Note every event at its win; of two billings the earlier counts, of contact numbers the first that came."""
    for k in range(kind.size):
        at, what = win[k], kind[k]
        if at < 0 or what >= 32:
            continue
        kinds[at] |= np.uint32(1) << np.uint32(what)
        if what in (_IMPRESSION, _BILLED_CLICK, _BILLED_CONVERSION):
            if billed_ns[at] == NEVER:
                billed_ns[at], contact_n[at] = ts_ns[k], nth[k]
            else:
                billed_ns[at] = min(billed_ns[at], ts_ns[k])
        elif what == _REFUND:
            refunded[at] += refund[k]


def wins_of_events(wins: Columns, events: Columns) -> NDArray[np.int64]:
    """The win of each event, as a row of the wins; -1 where there is none."""
    out = np.full(len(events), -1, np.int64)
    mine = wins.spans()
    for worker, e in events.spans().items():
        if worker in mine:
            w = mine[worker]
            found = np.empty(e.stop - e.start, np.int64)
            find_wins(wins["serial"][w], events["serial"][e], found)
            out[e] = np.where(found >= 0, found + w.start, -1)
    return out


def facts_of(ledger: Ledger, numbered: bool = False) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """(the columns of the wins that figures need, with what became of them; the days they name, as ns since 1970).

    numbered: with the contact number of each, which takes as long as the rest together.

    Ids and codes as in the rows; `day` and `billed_day`: numbers of days from 1 in the second part, 0 = not billed.
    """
    wins, events = Columns(ledger, "wins"), Columns(ledger, "events")
    wins.load(
        "serial", "ts_ns", "person_key", *IDS, "buyer_total_nano", "flags", "bill", "endpoint", "value_nano", "pctr_ppb"
    )
    found = outcomes_of(wins, events, numbered)
    billed = found.billed_ns != NEVER
    day, paid = wins["ts_ns"] // DAY_NS, found.billed_ns[billed] // DAY_NS
    both = [days for days in (day, paid) if days.size]
    first, last = (min(int(d.min()) for d in both), max(int(d.max()) for d in both)) if both else (0, -1)
    billed_day = np.zeros(len(wins), np.int32)
    billed_day[billed] = paid - first + 1
    columns = {name: wins[name] for name in (*IDS, "flags", "bill", "endpoint", "value_nano", "pctr_ppb",
                                             "person_key", "buyer_total_nano")}  # fmt: skip
    columns |= {
        "kinds": found.kinds, "refunded_nano": found.refunded_nano, "contact_n": found.contact_n,
        "day": (day - first + 1).astype(np.int32), "billed_day": billed_day,
    }  # fmt: skip
    return columns, np.arange(first, last + 1) * DAY_NS
