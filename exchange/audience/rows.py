"""The rows of the audience index while it is built: values that targets mention become rows of bits.

Each function takes the gatherer `Rows` and the targets of all lines, in line order, and answers with tables
from a request's value to a row id. A row holds the final answer of all leaves on its attribute: a line is in
it when it has no leaf, or its `in` lists hold the value and its `not in` lists do not. Equal rows are stored
once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from exchange.audience.language import INCLUDES_MAX, Target, hours_of, size_of
from exchange.openrtb.codes import MEDIA

ROWS_MAX_BYTES: Final = 1 << 30  # of one index; more is refused at build
MEDIA_MASKS: Final = 32  # sets of media as bits 1 << code
Bits: TypeAlias = NDArray[np.bool_]
Value = TypeVar("Value", str, int)


class Rows:
    """The rows while they are gathered: bool[n_lines] in, row ids out; 0 is nobody, 1 is everybody."""

    def __init__(self, n_lines: int) -> None:
        self.n = n_lines
        self.words = max(1, (n_lines + 63) // 64)
        self.ids = {b"": 0}  # packed bits without trailing zeros -> row id
        everybody = self._pack(np.ones(n_lines, np.bool_))
        self.ids[everybody or b"\0"] = 1  # without a line the two look alike, and both must exist

    @staticmethod
    def _pack(mask: Bits) -> bytes:
        return np.packbits(mask, bitorder="little").tobytes().rstrip(b"\0")

    def mask(self, lines: Iterable[int]) -> Bits:
        """A row with the bits of these lines set, bool[n_lines]."""
        mask = np.zeros(self.n, np.bool_)
        mask[list(lines)] = True
        return mask

    def add(self, mask: Bits) -> int:
        """The id of this row. Raises ValueError when the index would outgrow ROWS_MAX_BYTES."""
        if (len(self.ids) + 1) * self.words * 8 > ROWS_MAX_BYTES:
            raise ValueError(f"audience index: {self.n} lines x {len(self.ids)} rows, above {ROWS_MAX_BYTES >> 20} MiB")
        return self.ids.setdefault(self._pack(mask), len(self.ids))

    def table(self, lists: Mapping[Value, Iterable[int]], plus: Bits | None = None) -> dict[Value, int]:
        """One row per value of a value -> lines mapping, the lines `plus` in each."""
        base = self.mask(()) if plus is None else plus
        return {value: self.add(base | self.mask(lists[value])) for value in sorted(lists)}

    def array(self) -> NDArray[np.uint64]:
        """All rows, uint64[n_rows, W], in the order of their ids."""
        blob = b"".join(key.ljust(self.words * 8, b"\0") for key in self.ids)
        return np.frombuffer(blob, dtype="<u8").reshape(-1, self.words).astype(np.uint64)


def single(rows: Rows, targets: Sequence[Target], attribute: str) -> tuple[dict[str | None, int], int]:
    """Rows of a single-valued attribute: by value (None and "" = missing), and for any other value."""
    allowed: dict[str, list[int]] = {}
    denied: dict[str, list[int]] = {}
    free = ~rows.mask(())
    for i, target in enumerate(targets):
        within: set[str] | None = None
        for leaf in target:
            if leaf.attribute == attribute and leaf.op == "in":
                within = set(leaf.values) if within is None else within & set(leaf.values)
            elif leaf.attribute == attribute:
                for value in leaf.values:
                    denied.setdefault(value, []).append(i)
        if within is not None:
            free[i] = False
            for value in within:
                allowed.setdefault(value, []).append(i)
    other = rows.add(free)
    table: dict[str | None, int] = {None: other, "": other}
    for value in sorted(allowed.keys() | denied.keys()):
        mask = free | rows.mask(allowed.get(value, ()))
        table[value] = rows.add(mask & ~rows.mask(denied.get(value, ())))
    return table, other


def hours(rows: Rows, targets: Sequence[Target]) -> list[int]:
    """Rows by local hour 0..23; the last, index -1, for a person whose hour is unknown."""
    masks = np.ones((25, rows.n), np.bool_)
    for i, target in enumerate(targets):
        for leaf in target:
            if leaf.attribute == "hour":
                masks[sorted(set(range(25)) - hours_of(leaf)), i] = False
    return [rows.add(mask) for mask in masks]


def media(rows: Rows, targets: Sequence[Target]) -> list[int]:
    """Rows of the `media` leaves by set of offered media, bits 1 << code."""
    leaves = [(i, leaf) for i, target in enumerate(targets) for leaf in target if leaf.attribute == "media"]
    table = []
    for offered in range(MEDIA_MASKS):
        names = {name for code, name in MEDIA.items() if offered >> code & 1}
        mask = ~rows.mask(())
        for i, leaf in leaves:
            if names.isdisjoint(leaf.values) == (leaf.op == "in"):
                mask[i] = False
        table.append(rows.add(mask))
    return table


def sizes(rows: Rows, targets: Sequence[Target]) -> tuple[dict[int, int], int, dict[int, int]]:
    """Rows of the `size` leaves: by offered size, for any other size, and what `not in` clears.

    An imp offers several sizes; `in` asks that one of them is listed, `not in` that none is. A target has at
    most one `size in` (the language refuses a second), so the union over the offered sizes is exact.
    """
    allowed: dict[int, list[int]] = {}
    denied: dict[int, list[int]] = {}
    free = ~rows.mask(())
    for i, target in enumerate(targets):
        for leaf in target:
            if leaf.attribute == "size":
                if leaf.op == "in":
                    free[i] = False
                for value in leaf.values:
                    (allowed if leaf.op == "in" else denied).setdefault(size_of(value), []).append(i)
    return rows.table(allowed, free), rows.add(free), rows.table(denied)


def segments(
    rows: Rows, targets: Sequence[Target], more: Iterable[str]
) -> tuple[dict[str, int], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Segment ids 1..S of all mentioned segments and of `more`; seg_in, seg_default, seg_out of the Index.

    The k-th include list of a line stands in group k, so any number of them is exact.
    Raises ValueError for a line with more than INCLUDES_MAX include lists (`all of` counts one per segment).
    """
    includes: list[dict[str, list[int]]] = []
    limited: list[list[int]] = []
    excludes: dict[str, list[int]] = {}
    for i, target in enumerate(targets):
        wanted: list[tuple[str, ...]] = []
        for leaf in target:
            if leaf.attribute == "seg" and leaf.op == "none of":
                for name in leaf.values:
                    excludes.setdefault(name, []).append(i)
            elif leaf.attribute == "seg":
                wanted += [leaf.values] if leaf.op == "one of" else [(name,) for name in leaf.values]
        if len(wanted) > INCLUDES_MAX:
            raise ValueError(f"line {i}: {len(wanted)} include lists of segments: at most {INCLUDES_MAX}")
        for g, listed in enumerate(wanted):
            if g == len(includes):
                includes.append({})
                limited.append([])
            limited[g].append(i)
            for name in listed:
                includes[g].setdefault(name, []).append(i)
    names = sorted({*more, *excludes, *(name for group in includes for name in group)})
    seg_id = {name: i + 1 for i, name in enumerate(names)}
    groups = max(1, len(includes))  # one group that lets everybody in, so that no array of the kernel is empty
    seg_in = np.zeros((groups, len(names) + 1), np.int32)
    seg_out = np.zeros(len(names) + 1, np.int32)
    seg_default = np.ones(groups, np.int32)
    for g, group in enumerate(includes):
        seg_default[g] = rows.add(~rows.mask(limited[g]))
        for name, row in rows.table(group).items():
            seg_in[g, seg_id[name]] = row
    for name, row in rows.table(excludes).items():
        seg_out[seg_id[name]] = row
    return seg_id, seg_in, seg_default, seg_out
