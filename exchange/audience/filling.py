"""The rows and lists of a column, filled from its leaves: compiled, and lets other threads run.

Leaves come by ascending bit. `used` is 0 for an include leaf that is verified instead of indexed.
"""

import numpy as np
from numba import njit

from exchange.audience.parts import ONES, PACKED_DEFAULT, ZEROS
from exchange.audience.program import MISSING, NEGATED

_U1 = np.uint64(1)
_EVERY = ~np.uint64(0)


@njit(cache=True, nogil=True, inline="always")
def _set(rows, row, b):  # type: ignore[no-untyped-def]
    rows[row, b >> 6] |= _U1 << np.uint64(b & 63)


@njit(cache=True, nogil=True, inline="always")
def _clear(rows, row, b):  # type: ignore[no-untyped-def]
    rows[row, b >> 6] &= ~(_U1 << np.uint64(b & 63))


@njit(cache=True, nogil=True)
def _missing(steps, leaf_bit, leaf_step, rows, missing):  # type: ignore[no-untyped-def]
    """The row of requests that do not state the attribute."""
    rows[missing, :] = _EVERY
    for k in range(leaf_bit.size):
        if not steps[leaf_step[k]].flags & MISSING:
            _clear(rows, missing, leaf_bit[k])


@njit(cache=True, nogil=True)
def _default(steps, leaf_bit, leaf_step, used, rows, default):  # type: ignore[no-untyped-def]
    """The row of clauses without an include leaf."""
    rows[default, :] = _EVERY
    for k in range(leaf_bit.size):
        if used[k] and not steps[leaf_step[k]].flags & NEGATED:
            _clear(rows, default, leaf_bit[k])


@njit(cache=True, nogil=True)
def _final(steps, pool, leaf_bit, leaf_step, used, rows, default, numbers):  # type: ignore[no-untyped-def]
    """Rows with the final answer for one value: numbers[value], ZEROS = it has none."""
    for v in range(numbers.size):
        if numbers[v] != ZEROS:
            rows[numbers[v], :] = rows[default, :]
    for negated in range(2):  # excludes after all includes: a clause may name a value in both
        for k in range(leaf_bit.size):
            step = steps[leaf_step[k]]
            if used[k] and (step.flags & NEGATED != 0) == (negated == 1):
                first = np.int64(step.first)
                for i in range(first, first + step.n_values):
                    row = numbers[pool[i]]
                    if row != ZEROS:
                        if negated:
                            _clear(rows, row, leaf_bit[k])
                        else:
                            _set(rows, row, leaf_bit[k])


@njit(cache=True, nogil=True)
def fill_rows(  # type: ignore[no-untyped-def]
    steps, pool, leaf_bit, leaf_step, used, rows, missing, default, values, text, alone
):
    """Rows with final answers: of a text column; of a set alone[value], for requests with that value alone, or none."""
    _missing(steps, leaf_bit, leaf_step, rows, missing)
    if default != ONES:
        _default(steps, leaf_bit, leaf_step, used, rows, default)
    if text:
        _final(steps, pool, leaf_bit, leaf_step, used, rows, default, values["row"])
    elif alone.size:
        _final(steps, pool, leaf_bit, leaf_step, used, rows, default, alone)


@njit(cache=True, nogil=True)
def fill_set(steps, pool, leaf_bit, leaf_step, used, rows, values):  # type: ignore[no-untyped-def]
    """Rows IN and OUT of a set column."""
    for k in range(leaf_bit.size):
        if used[k]:
            step = steps[leaf_step[k]]
            first = np.int64(step.first)
            for i in range(first, first + step.n_values):
                row = np.int64(values[pool[i]].out) if step.flags & NEGATED else np.int64(values[pool[i]].row)
                if row != ZEROS:
                    _set(rows, row, leaf_bit[k])


@njit(cache=True, nogil=True)
def fill_asked(leaf_bit, rows, asked):  # type: ignore[no-untyped-def]
    """The row of clauses that have a leaf."""
    for k in range(leaf_bit.size):
        _set(rows, asked, leaf_bit[k])


@njit(cache=True, nogil=True)
def fill_packed(steps, pool, leaf_rank, leaf_step, used, packed, values):  # type: ignore[no-untyped-def]
    """The rows of a packed column, whose clauses are numbered by rank."""
    _default(steps, leaf_rank, leaf_step, used, packed, PACKED_DEFAULT)
    fill_set(steps, pool, leaf_rank, leaf_step, used, packed, values)


@njit(cache=True, nogil=True)
def fill_lists(steps, pool, leaf_bit, leaf_step, used, values, lists):  # type: ignore[no-untyped-def]
    """The lists of values that have no row: clauses ascending."""
    at_in = np.zeros(values.size, np.uint32)
    at_out = np.zeros(values.size, np.uint32)
    for k in range(leaf_bit.size):
        if not used[k]:
            continue
        step = steps[leaf_step[k]]
        first = np.int64(step.first)
        for i in range(first, first + step.n_values):
            v = pool[i]
            value = values[v]
            if step.flags & NEGATED:
                if value.n_out:
                    lists[np.int64(value.first) + value.n_in + at_out[v]] = leaf_bit[k]
                    at_out[v] += np.uint32(1)
            elif value.n_in:
                lists[np.int64(value.first) + at_in[v]] = leaf_bit[k]
                at_in[v] += np.uint32(1)


@njit(cache=True, nogil=True)
def _at_or_below(edges, x):  # type: ignore[no-untyped-def]
    """How many edges are not above x."""
    return np.searchsorted(edges, x, side="right")


@njit(cache=True, nogil=True)
def fill_numbers(  # type: ignore[no-untyped-def]
    steps, pool, ends, leaf_bit, leaf_step, rows, missing, row0, edges, lines, slot_bit
):
    """Rows of buckets: a clause is cleared where no range of a leaf reaches; a range that ends inside is verified."""
    _missing(steps, leaf_bit, leaf_step, rows, missing)
    rows[row0 : row0 + edges.size + 1, :] = _EVERY
    for k in range(leaf_bit.size):
        step = steps[leaf_step[k]]
        b, bucket = leaf_bit[k], np.int64(0)
        first = np.int64(step.first)
        for i in range(first, first + step.n_values, 2):
            low, high = _at_or_below(edges, ends[i]), _at_or_below(edges, ends[i + 1])
            if low == 0 or edges[low - 1] != ends[i] or high == edges.size or edges[high] != ends[i + 1] + 1:
                lines[b].again |= slot_bit
            while bucket < low:
                _clear(rows, row0 + bucket, b)
                bucket += 1
            bucket = max(bucket, high + 1)
        while bucket <= edges.size:
            _clear(rows, row0 + bucket, b)
            bucket += 1
