"""What the checks of reconcile share: the streams, the joins between them, and how a break is told."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as m
from exchange.books.keys import Index, Ints, Pick, Rows
from exchange.books.postings import Postings
from exchange.rent.ledger import Ledger
from exchange.rent.waterfall import fee_table

# (invariant, stream, rows, mask of the broken ones, field, expected, found): columns, texts or one number
Break = tuple[str, str, Rows | Pick, NDArray[np.bool_], str, Any, Any]
Breaks = Iterator[Break]
FAR: Final = np.iinfo(np.int64).max


class Streams:
    """The streams of a ledger and the joins that several checks need; `skipped`: what could not be checked, and why."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.auctions, self.bids, self.wins, self.events = ledger.auctions, ledger.bids, ledger.wins, ledger.events
        self.of_win = Index(self.wins, by_slot=True)
        self.of_auction = Index(self.auctions, by_slot=False)
        self.win = self.of_win.find(self.events)  # the win of each event, -1 = none
        self.skipped: dict[str, str] = {}
        for gone in ledger.dropped:
            if gone.stream in ("auctions", "bids"):
                what = f"{gone.stream} of worker {gone.worker} up to seq {gone.last_seq}"
                self.skipped[what] = f"retention dropped these {gone.rows} rows"

    def dropped(self, rows: Rows, stream: str) -> NDArray[np.bool_]:
        """Which rows are of an auction of which retention dropped the row, or bids (`stream`), in whole or in part."""
        found = np.zeros(len(rows), bool)
        for gone in self.ledger.dropped:
            if gone.stream == stream:
                until = gone.last_seq
                if stream == "bids":  # a file may end between the bids of an auction: its row comes behind them
                    later = self.auctions["seq"][self.auctions["worker"] == gone.worker]
                    until = int(later[later > until].min(initial=FAR))
                found |= (rows["worker"] == gone.worker) & (rows["seq"] <= until)
        return found

    @cached_property
    def postings(self) -> Postings:
        """The billings and refunds."""
        return Postings(self.ledger, self.win)

    @cached_property
    def fees(self) -> NDArray[Any]:
        """FEES by id of the name; base = 0 where the names have no such set."""
        names = self.ledger.names
        texts = {int(ident): names.text("fees", int(ident)) for ident in np.unique(self.wins["fees"])}
        readable = {}
        for ident, text in texts.items():
            try:
                readable[ident] = fee_table({0: text})[0] if text else None
            except ValueError:
                continue  # a set that cannot be read is like one that is not there: I10 says so
        table: NDArray[Any] = np.zeros(max(texts, default=0) + 1, m.FEES)
        for ident, record in readable.items():
            if record is not None:
                table[ident] = record
        return table


def history(group: Ints, values: Rows) -> tuple[Ints, Ints, Ints]:
    """Sort rows by group, keeping their order: (order, where the row's group starts, running sum in it)."""
    order = np.argsort(group, kind="stable")
    grouped = group[order]
    change = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1]))) if grouped.size else np.zeros(0, int)
    start = np.repeat(change, np.diff(np.append(change, grouped.size)))
    running = np.cumsum(values[order], dtype=np.int64)
    before = np.concatenate((np.zeros(1, np.int64), running))[start] if grouped.size else running
    return order, start, running - before


def sum_of(wins: Rows, parties: tuple[str, ...]) -> Ints:
    """Sum of some parties' amounts on each row."""
    out = np.zeros(len(wins), np.int64)
    for party in parties:
        out += wins[f"{party}_nano"]
    return out


def mask_of(which: Ints, rows: Rows | Pick) -> NDArray[np.bool_]:
    """A mask with the rows `which`."""
    mask = np.zeros(len(rows), bool)
    mask[which] = True
    return mask
