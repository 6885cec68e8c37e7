"""Keys that join the streams: the award (auction_id, imp_ix, slot), the imp (auction_id, imp_ix), the customer.

All columns, no loops: a million rows take tens of milliseconds.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
Ints = NDArray[np.int64]
Keyed = NDArray[Any] | Mapping[str, NDArray[Any]]  # rows, or their columns


class Index:
    """Finds rows by award (`by_slot`) or by imp; equal keys stand in the order of the rows."""

    def __init__(self, rows: Keyed, by_slot: bool) -> None:
        self.by_slot = by_slot
        self._ids = distinct(rows["auction_id"])
        keys = self._pack(rows)
        self.order: Ints = np.arange(keys.size) if _rises(keys) else np.argsort(keys, kind="stable")
        self.sorted = keys[self.order]

    def find(self, rows: Keyed) -> Ints:
        """For each of `rows` (of any stream) the first indexed row with its key; -1 = none."""
        if self.order.size == 0:
            return np.full(rows["auction_id"].size, -1, np.int64)
        keys = self._pack(rows)
        at = np.minimum(np.searchsorted(self.sorted, keys), self.order.size - 1)
        known = self._ids[np.minimum(np.searchsorted(self._ids, rows["auction_id"]), self._ids.size - 1)]
        hit = (self.sorted[at] == keys) & (known == rows["auction_id"])
        return np.where(hit, self.order[at], -1)

    def repeats(self) -> Ints:
        """Rows whose key an earlier row has."""
        return np.sort(self.order[1:][self.sorted[1:] == self.sorted[:-1]])

    def _pack(self, rows: Keyed) -> NDArray[np.uint64]:
        """One integer per row: rank of the auction, imp, slot."""
        rank = np.searchsorted(self._ids, rows["auction_id"]).astype(np.uint64)
        key: NDArray[np.uint64] = rank << np.uint64(24) | rows["imp_ix"].astype(np.uint64) << np.uint64(8)
        names = rows.dtype.names if isinstance(rows, np.ndarray) else rows
        if self.by_slot and "slot" in (names or ()):
            key |= rows["slot"].astype(np.uint64)
        return key


class Pick:
    """Some rows of a stream, column by column on demand: copying whole rows would cost more than the report."""

    def __init__(self, rows: Rows, at: Ints) -> None:
        self._rows, self._at = rows, at
        self._columns: dict[str, Rows] = {}

    def __getitem__(self, name: str) -> Rows:
        if name not in self._columns:
            self._columns[name] = self._rows[name][self._at]
        return self._columns[name]

    def __len__(self) -> int:
        return int(self._at.size)


def distinct(values: Rows) -> Rows:
    """The different values, sorted."""
    if _small(values):
        return np.flatnonzero(_seen(values)).astype(values.dtype)
    ordered = values if _rises(values) else np.sort(values)
    new = np.ones(ordered.size, bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


def ranks(values: Rows) -> tuple[Rows, Ints]:
    """The different values, and for each row which of them it has."""
    found = distinct(values)
    if _small(values):
        rank = np.cumsum(_seen(values)) - 1
        return found, rank[values]
    return found, np.searchsorted(found, values).astype(np.int64)


def _small(values: Rows) -> bool:
    """Whether a table over all possible values is cheaper than sorting."""
    return values.size > 0 and int(values.min()) >= 0 and int(values.max()) < 2 * values.size + 65_536


def _seen(values: Rows) -> NDArray[np.bool_]:
    """Which of the values from 0 to the highest occur."""
    seen = np.zeros(int(values.max()) + 1, bool)
    seen[values] = True
    return seen


def customers(advertiser: Rows, person: Ints) -> tuple[Ints, int]:
    """Number the (advertiser, person) pairs of some rows: (pair of each row, how many pairs).

    `person`: the number of each row's person, from `ranks`.
    """
    pair = ranks(advertiser)[1] * (int(person.max(initial=0)) + 1) + person
    pairs, number = ranks(pair)
    return number, int(pairs.size)


def _rises(values: Rows) -> bool:
    """Whether values never fall."""
    return bool((values[1:] >= values[:-1]).all())


def total(values: Rows) -> int:
    """Exact sum of int64 values."""
    return int(values.sum(dtype=np.int64))


def ratio(part: float, whole: float) -> float:
    """part / whole; 0 when there is nothing to divide by."""
    return part / whole if whole else 0.0
