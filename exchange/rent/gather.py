"""Rows taken apart into the columns of a sealed file, in one compiled pass over pieces that stay in the cache.

The pass also adds up the columns that a sealed file leaves out, and splits every win's price again: what does not
follow from its fee set stops the sealing.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from exchange import market as mk
from exchange.rent.blocks import LedgerError
from exchange.rent.derived import fee_table
from exchange.rent.names import Names
from exchange.rent.sealed import DERIVED, KIND, STORED
from exchange.rent.waterfall import split, total_of

PIECE: Final = 1_024  # rows taken apart together
_SIZES: Final = (8, 4, 2, 1)  # bytes of a field; every row is aligned to 8
_WIN: Final = mk.WIN_ROW
_TOTAL_AT: Final = int(_WIN.fields["buyer_total_nano"][1]) // 8  # type: ignore[index]
_PARTY_AT: Final = int(_WIN.fields[f"{mk.PARTIES[0]}_nano"][1]) // 8  # type: ignore[index]
_CLEARING_AT: Final = int(_WIN.fields["clearing_nano"][1]) // 8  # type: ignore[index]
_FEES_AT: Final = int(_WIN.fields["fees"][1]) // 2  # type: ignore[index]
_FLAGS_AT: Final = int(_WIN.fields["flags"][1])  # type: ignore[index]
_N_PARTIES: Final = len(mk.PARTIES)


class _Sized(Struct):
    """The fields of one size: which of them are stored, which are only added up, and where they stand in a row."""

    stored: list[str]
    added: list[str]
    take: NDArray[np.int64]  # places of the stored ones, in units of their size
    add: NDArray[np.int64]
    signed: NDArray[np.bool_]  # whether each of `added` is


def _plan(stream: str) -> list[_Sized]:
    """What is done with the fields of a stream's rows, by _SIZES."""
    dtype = mk.STREAMS[stream]
    assert dtype is not None
    plan = []
    for size in _SIZES:
        stored = [name for name in STORED[stream] if name in (dtype.names or ()) and dtype[name].itemsize == size]
        added = [name for name in DERIVED[stream] if dtype[name].itemsize == size]
        take, add = (
            np.array([int(dtype.fields[name][1]) // size for name in names], np.int64)  # type: ignore[index]
            for names in (stored, added)
        )
        plan.append(_Sized(stored, added, take, add, np.array([dtype[name].kind == "i" for name in added], np.bool_)))
    return plan


def gather(
    folder: Path, stream: str, n_rows: int, payloads: Iterable[NDArray[np.uint8]], where: str
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """(columns as a sealed file holds them, sums of those it leaves out) of rows that come block by block.

    payloads: the bytes of the rows, aligned to 8; each is done with when the next is asked for. Raises LedgerError,
    naming `where` and the row, when one would not come back as it was written.
    """
    dtype, plan = mk.STREAMS[stream], _plan(stream)
    assert dtype is not None
    names = Names(folder, read_only=True, only="fees") if stream == "wins" else None
    table, known = np.zeros(0, mk.FEES), set[int]()
    out = [np.empty((len(one.stored), n_rows), f"u{size}") for one, size in zip(plan, _SIZES, strict=True)]
    sums = [np.zeros(len(one.added), np.uint64) for one in plan]
    refunds = np.zeros(n_rows if stream == "events" else 0, np.int64)
    at = 0
    for payload in payloads:
        views = [payload.view(f"u{size}").reshape(-1, dtype.itemsize // size) for size in _SIZES]
        rows, n = payload.view(dtype), len(views[0])
        if stream in KIND and (wrong := rows["kind"] != KIND[stream]).any():
            row = rows[int(np.argmax(wrong))]
            raise LedgerError(f"{where}: not sealed: seq {row['seq']}: kind is {row['kind']}, expected {KIND[stream]}")
        for view, one, into, total in zip(views, plan, out, sums, strict=True):
            _take(view, one.take, into, at, one.add, one.signed, total)
        if names is not None:
            used = np.flatnonzero(np.bincount(rows["fees"])).tolist()
            if not known.issuperset(used):
                known.update(used)
                table = fee_table(names, np.array(sorted(known), np.uint16))
            found = _first_odd(table, views[0], views[2], views[3])
            if found >= 0:
                raise _odd(where, rows[found // 16], found % 16, table)
        if stream == "events":
            refunds[at : at + n] = np.where(rows["kind"] == mk.KIND_REFUND, -rows["paid_nano"], 0)
        at += n
    taken = {name: out[ix][k].view(dtype[name]) for ix, one in enumerate(plan) for k, name in enumerate(one.stored)}
    taken["refund_nano"] = refunds
    columns = {name: taken[name] for name in STORED[stream]}
    added = {name: int(sums[ix][k]) for ix, one in enumerate(plan) for k, name in enumerate(one.added)}
    return columns, {name: added[name] for name in DERIVED[stream]}


def warm_up() -> None:
    """Compile the pass for every size of field, so that a running exchange is not held up by its first sealing."""
    for size in _SIZES:
        rows = np.zeros((0, 8 // size), f"u{size}")
        none = np.zeros(0, np.int64)
        _take(rows, none, np.zeros((0, 0), rows.dtype), 0, none, np.zeros(0, np.bool_), np.zeros(0, np.uint64))
    views = [np.zeros((0, _WIN.itemsize // size), f"u{size}") for size in _SIZES]
    _first_odd(np.zeros(0, mk.FEES), views[0], views[2], views[3])


def _odd(where: str, row: np.void, k: int, table: NDArray[np.void]) -> LedgerError:
    """The error that names the amount of a win that its fee set does not give: k = 0 the total, else a party."""
    parties = np.zeros(_N_PARTIES, np.int64)
    fee = table[int(row["fees"])]
    split(fee, row["clearing_nano"], row["flags"] & mk.FLAG_DATA, parties)
    field = "buyer_total_nano" if k == 0 else f"{mk.PARTIES[k - 1]}_nano"
    expected = total_of(fee, row["clearing_nano"]) if k == 0 else parties[k - 1]
    return LedgerError(
        f"{where}: not sealed: seq {row['seq']}: {field} is {row[field]}, but its fee set gives {expected}"
    )


@njit(cache=True, nogil=True)
def _take(rows, take, out, at, add, signed, sums):  # type: ignore[no-untyped-def]
    """Copy the fields at `take` into out[:, at:], and add those at `add` to `sums`, modulo 2^64."""
    bits = np.uint64(64 - 8 * rows.itemsize)
    for start in range(0, rows.shape[0], PIECE):
        end = min(start + PIECE, rows.shape[0])
        for c in range(take.size):
            place, column = take[c], out[c]
            for i in range(start, end):
                column[at + i] = rows[i, place]
        for c in range(add.size):
            place, total = add[c], np.uint64(0)
            if signed[c]:
                for i in range(start, end):
                    total += np.uint64(np.int64(np.uint64(rows[i, place]) << bits) >> np.int64(bits))
            else:
                for i in range(start, end):
                    total += np.uint64(rows[i, place])
            sums[c] += total


@njit(cache=True, nogil=True)
def _first_odd(table, eights, twos, ones):  # type: ignore[no-untyped-def]
    """The first win whose amounts are not those of its fee set: 16 * row + 0 (total) or 1 + party; -1 = none."""
    parties = np.zeros(_N_PARTIES, np.int64)
    fees, flags, clearing, total = np.int64(-1), np.int64(0), np.int64(0), np.int64(0)
    for i in range(eights.shape[0]):
        price, which = np.int64(eights[i, _CLEARING_AT]), np.int64(twos[i, _FEES_AT])
        data = np.int64(ones[i, _FLAGS_AT]) & mk.FLAG_DATA
        if which != fees or data != flags or price != clearing:  # runs of equal prices are usual at floors
            fees, flags, clearing = which, data, price
            total = total_of(table[fees], clearing)
            split(table[fees], clearing, flags, parties)
        if np.int64(eights[i, _TOTAL_AT]) != total:
            return 16 * i
        for k in range(_N_PARTIES):
            if np.int64(eights[i, _PARTY_AT + k]) != parties[k]:
                return 16 * i + 1 + k
    return -1
