"""Reconcile a ledger: every invariant that its rows must keep, checked on all of them, column by column.

Numbers I1 to I15 are those of docs/ledger.md. Each break becomes a `Difference` that names the row; per invariant and
field the first `FOUND_MAX` are listed, all are counted. The first of each invariant comes with its neighbours.
"""

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange import market as m
from exchange.books.keys import Pick, Rows
from exchange.books.reconcile import life, money, sales
from exchange.books.reconcile import rows as rows_
from exchange.books.reconcile.streams import Streams
from exchange.rent.ledger import Ledger

FOUND_MAX: Final = 20
NEIGHBOURS_MAX: Final = 12  # of one difference
CHECKS: Final = (
    rows_.seqs, rows_.sums, rows_.kinds, rows_.prices, rows_.splits, rows_.nets, rows_.order, rows_.own,
    sales.sold, sales.bids_kept,
    life.events, life.posted, life.life,
    money.contacts, money.terms, money.budgets, money.partitions,
)  # fmt: skip
_SHOWN: Final = {  # what is said of a neighbour, by stream; never who the person is
    "auctions": ("sold", "clearing_nano", "n_bids"),
    "bids": ("campaign", "gross_nano", "net_nano", "fate"),
    "wins": ("campaign", "clearing_nano", "buyer_total_nano", "contacts", "cum_rent_nano"),
    "events": ("paid_nano", "number", "contact_n", "cum_rent_nano"),
}


class Neighbour(Struct):
    """A row beside an offending one: of the same award or imp, or of the same customer before and after."""

    stream: str
    seq: int
    relation: str
    what: str  # the row in words


class Difference(Struct):
    """A row that breaks an invariant."""

    invariant: str  # I1 ... I15, "seq", "sum", "kind", "event"
    stream: str
    seq: int
    worker: int
    auction_id: int
    field: str
    expected: str
    found: str
    neighbours: list[Neighbour] = []


class Reconciliation(Struct):
    """The outcome: rows checked, differences in all, and the first of each sort."""

    rows: int
    count: int
    differences: list[Difference]
    cut: int  # rows left out: an unfinished step, or a writer at work
    skipped: dict[str, str]  # what this ledger cannot show, and why


def reconcile(ledger: Ledger) -> Reconciliation:
    """Check a ledger. Raises LedgerError when it cannot even be read, PeopleError for a list that cannot."""
    rows = sum(seqs.size for seqs in ledger.seqs().values())
    found, streams = _Found(), Streams(ledger)
    for check in CHECKS:
        for break_ in check(streams):
            found.add(*break_)
    found.differences.sort(key=lambda difference: difference.seq)
    told: set[str] = set()
    for difference in found.differences:
        if difference.invariant not in told:
            told.add(difference.invariant)
            difference.neighbours = neighbours(streams, difference)
    return Reconciliation(rows, found.count, found.differences, sum(ledger.cut.values()), streams.skipped)


def render(result: Reconciliation) -> str:
    """One line when all is well; else the count, the first offending row and its neighbours."""
    lines = [f"reconcile: {result.rows} rows, {result.count} differences"]
    if result.differences:
        d = result.differences[0]
        lines.append(
            f"first: {d.invariant} {d.stream} seq {d.seq} auction {d.auction_id}: "
            f"{d.field} is {d.found}, expected {d.expected}"
        )
        lines += [f"  {n.relation}: {n.stream} seq {n.seq}: {n.what}" for n in d.neighbours]
        sorts = sorted({(each.invariant, each.stream, each.field) for each in result.differences})
        if len(sorts) > 1:
            lines.append("broken: " + ", ".join(" ".join(sort) for sort in sorts))
    if result.cut:
        lines.append(f"{result.cut} rows left out: an unfinished step, or a writer at work")
    return "\n".join(lines) + "\n"


class _Found:
    """Collects differences: all counted, the first few of each sort kept."""

    def __init__(self) -> None:
        self.count = 0
        self.differences: list[Difference] = []

    def add(self, invariant: str, stream: str, rows: Rows | Pick, broken: NDArray[np.bool_], field: str,
            expected: Any, found: Any) -> None:  # fmt: skip
        """Keep the rows of a mask as differences."""
        at = np.flatnonzero(broken)
        self.count += at.size
        for k in at[:FOUND_MAX].tolist():
            seq, worker, auction = (int(rows[name][k]) for name in ("seq", "worker", "auction_id"))
            self.differences.append(
                Difference(invariant, stream, seq, worker, auction, field, _cell(expected, k), _cell(found, k))
            )


def _cell(value: Any, k: int) -> str:
    """Row k of a column, or the text that holds for all."""
    return str(value[k]) if isinstance(value, np.ndarray) else str(value)


# ---- the rows beside one ---------------------------------------------------------------------------------------


def neighbours(streams: Streams, difference: Difference) -> list[Neighbour]:
    """The other rows of the award (of the imp, for an auction or a bid), and the customer's before and after it."""
    me = _row(streams, difference)
    if me is None:
        return []
    by_slot = difference.stream in ("wins", "events")
    found = []
    for stream in ("auctions", "bids", "wins", "events") if not by_slot else ("auctions", "wins", "events"):
        rows = getattr(streams, stream)
        same = (rows["auction_id"] == me["auction_id"]) & (rows["imp_ix"] == me["imp_ix"])
        if by_slot and stream != "auctions":
            same &= rows["slot"] == me["slot"]
        relation = "same award" if by_slot and stream != "auctions" else "same imp"
        at = np.flatnonzero(same & ((rows["seq"] != me["seq"]) | (rows["worker"] != me["worker"])))
        found += [_neighbour(stream, rows, k, relation) for k in at[:NEIGHBOURS_MAX].tolist()]
    found.sort(key=lambda each: each.seq)
    found = found[: NEIGHBOURS_MAX - 2]
    return found + (_customer(streams, me) if by_slot else [])


def _row(streams: Streams, difference: Difference) -> Any:
    """The row that a difference names; None for one that is not there."""
    if difference.stream not in _SHOWN:
        return None
    rows = getattr(streams, difference.stream)
    same = (rows["seq"] == difference.seq) & (rows["worker"] == difference.worker)
    at = np.flatnonzero(same & (rows["auction_id"] == difference.auction_id))
    return rows[int(at[0])] if at.size else None


def _customer(streams: Streams, me: Any) -> list[Neighbour]:
    """The posting of the same advertiser and person before a row, and the one after it."""
    rows = streams.events
    if not me["person_key"]:
        return []
    same = (rows["person_key"] == me["person_key"]) & (rows["advertiser"] == me["advertiser"])
    other = (rows["auction_id"] != me["auction_id"]) | (rows["imp_ix"] != me["imp_ix"])
    at = np.flatnonzero(
        same & other & np.isin(rows["kind"], (*m.BILLING, m.KIND_REFUND)) & (rows["worker"] == me["worker"])
    )
    before, after = at[rows["seq"][at] < me["seq"]], at[rows["seq"][at] > me["seq"]]
    found = [_neighbour("events", rows, int(k), "same customer before") for k in before[-1:]]
    return found + [_neighbour("events", rows, int(k), "same customer after") for k in after[:1]]


def _neighbour(stream: str, rows: Rows, k: int, relation: str) -> Neighbour:
    row = rows[k]
    facts = ", ".join(f"{name} {row[name]}" for name in _SHOWN[stream])
    what = f"{m.KINDS.get(int(row['kind']), row['kind'])}, {facts}"
    return Neighbour(stream, int(row["seq"]), relation, what)
