"""One walk over a ledger that counts what a run's summary shows; the passes themselves are compiled (`tally.py`).

Events first: what became of each award. Then the wins, piece by piece, each once. An award's place is its serial less
the first one of its worker, because serials rise with the wins and have few gaps; so no index is built, and no column
of the wins has to stay in memory.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange.books import tally as ta
from exchange.books.part import Part
from exchange.market import FEES, KIND_REFUND, PARTIES
from exchange.openrtb.codes import HOLDOUT
from exchange.rent.blocks import LedgerError
from exchange.rent.columns import Column, Columns, Get, Piece
from exchange.rent.derived import fee_table, splits
from exchange.rent.ledger import Ledger
from exchange.rent.waterfall import mirror_many

Ints = NDArray[np.int64]
GAPS: Final = 8  # places that a serial may cost on average, before they are looked up instead
SPARE: Final = 1 << 20
NO_MONTH: Final = -(2**31)
WIN_COLUMNS: Final = (
    "serial", "person_key", "buyer_total_nano", "clearing_nano", "fees", "flags", "bill", "advertiser", "seat",
    "endpoint", "publisher",
)  # fmt: skip
_SELL0: Final = PARTIES.index("publisher")


class Places:
    """Numbers the awards of a ledger from 0, by worker and serial."""

    def __init__(self, wins: Columns) -> None:
        self.size = 0
        self._ranges: dict[int, tuple[int, int, int]] = {}  # worker -> first place, first serial, how many
        self._sparse: dict[int, tuple[int, Ints]] = {}
        ends = wins.ends("serial")
        wide = [worker for worker, (low, high) in ends.items() if int(high) - int(low) > GAPS * len(wins) + SPARE]
        for worker, (low, high) in ends.items():
            if worker in wide:
                serials = np.concatenate([got[0] for piece, got in wins.chunks("serial") if piece.worker == worker])
                self._sparse[worker] = (self.size, serials)
                self.size += serials.size
            else:
                n = max(0, int(high) - int(low) + 1)
                self._ranges[worker] = (self.size, int(low), n)
                self.size += n

    def of(self, worker: int, serials: Column) -> Ints:
        """The place of each award; -1 for those of which the ledger has no win."""
        if worker in self._ranges:
            first, low, n = self._ranges[worker]
            at = serials - np.int64(low)
            outside = (at < 0) | (at >= n)
            at += first
        elif worker in self._sparse:
            first, known = self._sparse[worker]
            rank = np.minimum(np.searchsorted(known, serials), known.size - 1)
            at, outside = first + rank, known[rank] != serials
        else:
            return np.full(serials.size, -1, np.int64)
        at[outside] = -1
        return at


class Refunds:
    """The refunds of a ledger: by award, and of one award in the order in which they came."""

    def __init__(self) -> None:
        self._at: list[Ints] = []
        self._nano: list[Ints] = []
        self.at, self.nano = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def note(self, at: Ints, nano: Ints) -> None:
        """Note refunds of the awards at some places."""
        self._at.append(at)
        self._nano.append(nano)

    def sort(self) -> None:
        """Nothing more will be noted."""
        if self._at:
            at = np.concatenate(self._at)
            order = np.argsort(at, kind="stable")
            self.at, self.nano = at[order], np.concatenate(self._nano)[order]

    def take(
        self, at: Ints, became: Column, total: Ints, clearing: Ints, parties_of: Callable[[Ints], Ints]
    ) -> tuple[Ints, Ints, int, int]:
        """Take off total and clearing price of some wins what was refunded of those billed.

        parties_of: gives the parties' amounts of some rows. Returns (rows refunded, what is left of their parties'
        amounts, refunds, nano).
        """
        low, high = np.searchsorted(self.at, (at[0], at[-1] + 1))
        where, nano = self.at[low:high], self.nano[low:high]
        rows = np.searchsorted(at, where)
        real = (at[rows] == where) & (became[where] & ta.BILLED != 0)
        if not real.any():
            return np.zeros(0, np.int64), np.zeros((0, len(PARTIES)), np.int64), 0, 0
        rows, of = np.unique(rows[real], return_inverse=True)
        left, given = parties_of(rows), np.zeros((of.size, len(PARTIES)), np.int64)
        mirror_many(left, of, nano[real], given)
        total[rows], clearing[rows] = left.sum(axis=1), left[:, _SELL0:].sum(axis=1)
        return rows, left, int(of.size), int(given.sum())


class Count:
    """What was counted, of all or of a part of the wins; the tables stand as `tally` filled them.

    Of a part neither auctions nor bids are counted: they name no advertiser, no publisher, or no segment.
    """

    def __init__(self, ledger: Ledger, part: Part | None = None) -> None:
        self.wins, self.events = Columns(ledger, "wins"), Columns(ledger, "events")
        self.imps, self.bids = Columns(ledger, "auctions"), Columns(ledger, "bids")
        self.totals = np.zeros(ta.T_PARTIES + len(PARTIES), np.int64)
        self.kinds = np.zeros(ta.KINDS_MAX, np.int64)
        self.advertisers, self.buyers, self.publishers = ta.Groups(12), ta.Groups(4), ta.Groups(8)
        self.fates = ta.Groups(1)
        self.met = np.zeros(ta.M_MAX + 1, np.int64)
        self.names = ledger.names
        self.refunds, self.refunded_nano, self.refunded_wins = 0, 0, 0
        self.sold, self.first_ns, self.last_ns = 0, 0, 0
        self.held_out: list[list[Column]] = []  # advertiser, auction_id, imp_ix of bids that a holdout kept back
        self.n_wins = 0
        pairs = self._walk(part)
        self.rents = self._people(pairs)
        if part is None:
            self._count_imps()
            self._count_bids()

    def _walk(self, part: Part | None) -> ta.Pairs:
        """Go through events and wins."""
        places = Places(self.wins)
        mine = None if part is None else self._mine(places, part)
        became, month = np.zeros(places.size, np.uint8), np.zeros(places.size, np.int16)
        order = np.zeros(places.size, np.int32 if len(self.events) < 2**31 else np.int64)
        span = np.array([2**31, -(2**31)], np.int64)
        first, back = 0, Refunds()
        for piece, (kind, serial, ts_ns, refund) in self.events.map_pieces(_event_columns):
            at = places.of(piece.worker, serial)
            if mine is not None:
                keep = (at >= 0) & mine[at]
                at, kind = at[keep], kind[keep]
                ts_ns, refund = ts_ns[keep] if ts_ns.size else ts_ns, None if refund is None else refund[keep]
            ta.mark(at, kind, ts_ns, _only_month(piece), first, became, month, order, span, self.kinds)
            if refund is not None:
                back.note(at[kind == KIND_REFUND], refund[kind == KIND_REFUND])
            first += piece.rows
        pairs = ta.Pairs(max(1, int(span[1] - span[0]) + 1))
        back.sort()
        last = (-1, -1)
        for piece, columns in self.wins.map_pieces(_win_columns):
            at = places.of(piece.worker, columns[0])
            last = _rising(last, piece, at, columns[0])
            if mine is not None:
                columns, at = [column[mine[at]] for column in columns], at[mine[at]]
            self.n_wins += at.size
            if not at.size:
                continue
            known = self._refund(back, at, became, columns)
            _add(self, pairs, piece.worker, (at, became, month, order, int(span[0])), known, columns[1:])
        return pairs

    def _mine(self, places: Places, part: Part) -> NDArray[np.bool_]:
        """Whether the award at each place belongs to a part."""
        mine = np.zeros(max(places.size, 1), bool)
        for piece, (serial, keep) in self.wins.map(lambda get: (get("serial")[0], part.mask(get))):
            mine[places.of(piece.worker, serial)[keep]] = True
        return mine

    def _refund(self, back: Refunds, at: Ints, became: Column, columns: list[Column]) -> tuple[Column, Ints, Ints]:
        """Take off a piece of the wins what was refunded.

        Returns (fee sets by number, the rows whose parties' amounts do not follow from these, those amounts).
        """
        total, clearing, fees, flags = columns[2:6]
        if len(columns) > len(WIN_COLUMNS):
            parties = columns.pop()
            known, left, n, nano = back.take(at, became, total, clearing, lambda rows: parties[rows])
            parties[known] = left
            found = np.zeros(0, FEES), np.arange(at.size), parties
        else:
            known, left, n, nano = back.take(
                at, became, total, clearing,
                lambda rows: splits(
                    self.names, {"clearing_nano": clearing[rows], "fees": fees[rows], "flags": flags[rows]}
                )[1],
            )  # fmt: skip
            found = fee_table(self.names, fees), known, left
        self.refunds, self.refunded_nano = self.refunds + n, self.refunded_nano + nano
        self.refunded_wins += known.size
        return found

    def _people(self, pairs: ta.Pairs) -> Ints:
        """Count people; returns the rent of each customer, in no order."""
        n = int(pairs.n[0])
        slots, keys = np.full(ta.slots_for(max(n, 1)), -1, np.int32), np.zeros(n, np.uint64)
        of_person = np.zeros((n, pairs.months.shape[1] + 1), np.uint64)
        ta.meet(pairs.rows, pairs.months, n, slots, keys, of_person, self.advertisers.sums, self.met)
        rents: Ints = pairs.rows["paid_nano"][:n].copy()
        return rents

    def _count_imps(self) -> None:
        """Count the imps by publisher."""
        on = self.publishers
        for piece, (publisher, sold, first, last) in self.imps.map_pieces(_imp_columns):
            self.first_ns, self.last_ns = min(self.first_ns or first, first), max(self.last_ns, last)
            on.reserve(piece.rows)
            self.sold += ta.count_imps(publisher, sold, on.slots, on.keys, on.n, on.sums)

    def _count_bids(self) -> None:
        """Count the bids by buyer and fate, and note those that a holdout kept back."""
        of = self.fates
        for piece, (endpoint, seat, fate, *held) in self.bids.map(_bid_columns):
            of.reserve(piece.rows)
            ta.count_bids(endpoint, seat, fate, of.slots, of.keys, of.n, of.sums)
            if held:
                self.held_out.append(held)


def _event_columns(piece: Piece) -> list[Any]:
    """Kind, serial, ts_ns (none where all are of one month) of a piece of the events, and refunded amounts, if any."""
    if _only_month(piece) == NO_MONTH:
        kind, serial, ts_ns = piece.get("kind", "serial", "ts_ns")
    else:
        (kind, serial), ts_ns = piece.get("kind", "serial"), np.zeros(0, np.int64)
    return [kind, serial, ts_ns, piece.get("refund_nano")[0] if (kind == KIND_REFUND).any() else None]


def _only_month(piece: Piece) -> int:
    """The month of all rows of a piece, as `tally.month_of` counts; NO_MONTH where the manifest does not say it."""
    if piece.file is None:
        return NO_MONTH
    days = [datetime.fromtimestamp(ns // 10**9, UTC) for ns in (piece.file.first_ns, piece.file.last_ns)]
    first, last = (12 * (day.year - 1970) + day.month - 1 for day in days)
    return first if first == last else NO_MONTH


def _win_columns(piece: Piece) -> list[Column]:
    """WIN_COLUMNS of a piece of the wins, and the parties' amounts where they do not follow from a fee set."""
    return piece.get(*WIN_COLUMNS) if piece.file is not None else piece.get(*WIN_COLUMNS, "parties")


def _imp_columns(piece: Piece) -> list[Any]:
    """Publisher and whether sold of a piece of the auctions, and when the first and the last of them was."""
    if piece.file is not None:
        return [*piece.get("publisher", "sold"), piece.file.first_ns, piece.file.last_ns]
    publisher, sold, ts_ns = piece.get("publisher", "sold", "ts_ns")
    return [publisher, sold, int(ts_ns.min()), int(ts_ns.max())]


def _bid_columns(get: Get) -> list[Column]:
    """Endpoint, seat, fate of a piece of the bids, and of those held back advertiser, auction and imp."""
    endpoint, seat, fate = get("endpoint", "seat", "fate")
    held = fate == HOLDOUT
    if not held.any():
        return [endpoint, seat, fate]
    return [endpoint, seat, fate, *(column[held] for column in get("advertiser", "auction_id", "imp_ix"))]


def _rising(last: tuple[int, int], piece: Piece, at: Ints, serial: Column) -> tuple[int, int]:
    """Check that serials rise with the wins of a worker. Raises LedgerError; returns the worker and its last place."""
    before = last[1] if last[0] == piece.worker else -1
    falls = np.flatnonzero(np.diff(at, prepend=before) <= 0)
    if falls.size:
        raise LedgerError(
            f"wins of worker {piece.worker}: award serial {serial[falls[0]]} does not rise: expected each once, in "
            "order; reconcile says more"
        )
    return piece.worker, int(at[-1])


def _add(
    count: Count, pairs: ta.Pairs, worker: int, state: tuple[Any, ...], amounts: tuple[Any, ...], columns: list[Column]
) -> None:
    """Add a piece of the wins up."""
    person, total, clearing, fees, flags, bill, advertiser, seat, endpoint, publisher = columns
    at, became, month, order, month0 = state
    ad, by, on = count.advertisers, count.buyers, count.publishers
    for table in (ad, by, on, pairs):
        table.reserve(at.size)
    table_of_fees, known, parties = amounts
    ta.add(at, became, total, clearing, table_of_fees, fees, known, parties, flags, bill, advertiser, seat, endpoint,
           publisher, count.totals, ad.slots, ad.keys, ad.n, ad.sums, by.slots, by.keys, by.n, by.sums, on.slots,
           on.keys, on.n, on.sums)  # fmt: skip
    ta.acquaint(at, became, month, order, month0, worker, person, total, flags, advertiser, count.totals, ad.slots,
                ad.keys, ad.n, ad.sums, pairs.slots, pairs.rows, pairs.n, pairs.months)  # fmt: skip
