"""The generator: campaigns as arrays of predicates, requests as arrays of values, both from keyed draws (Philox).

A draw is told by (seed, stream, campaign or request, its how-manieth word), so campaign 7 is the same among ten and
among a million, and a seed gives the same bytes on every machine: no floating-point function takes part.
"""

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from bench.targeting import table as tb
from exchange.randomness import philox

PREDICATE: Final = np.dtype(
    [("first", "i8"), ("n_values", "i4"), ("attribute", "u1"), ("negated", "u1"), ("kind", "u1")], align=True
)
COLUMN: Final = np.dtype(
    [(name, "i8") for name in ("n", "weights0", "asked", "also_not", "octaves", "exclude_percent", "kind", "open")]
)
_MULTI: Final = np.array([tb.IX[name] for name in tb.MULTI])
_N: Final = len(tb.TABLE)
_LOW: Final = np.uint64(0xFFFFFFFF)
_S32: Final = np.uint64(32)
_DRAWN_MAX: Final = 1_024  # values of one list, before equal ones fall together
_DAYS: Final = np.array([[0, 5], [0, 7], [5, 7]])  # weekdays, every day, weekends
_REQUESTS: Final = 16  # stream; campaigns have the number of their rate


class Workload(Struct):
    """Campaigns and requests.

    clause0: int64[campaigns + 1], a campaign's clauses; predicate0: int64[clauses + 1], a clause's predicates:
    PREDICATE[]; values int32[]: of a list ascending; of a range its two ends, both included.
    single: int32[requests, 22], -1 where an attribute has a list; list0: int64[requests, 3], list_n: the lists of
    table.MULTI within `listed`, int32[], ascending.
    """

    rate: str
    clause0: NDArray[np.int64]
    predicate0: NDArray[np.int64]
    predicates: NDArray[Any]
    values: NDArray[np.int32]
    single: NDArray[np.int32]
    list0: NDArray[np.int64]
    list_n: NDArray[np.int64]
    listed: NDArray[np.int32]

    @property
    def n_campaigns(self) -> int:
        """How many campaigns."""
        return self.clause0.size - 1

    @property
    def n_requests(self) -> int:
        """How many requests."""
        return self.single.shape[0]

    @property
    def n_clauses(self) -> int:
        """How many conjunctions of all campaigns."""
        return self.predicate0.size - 1

    def given(self, request: int, attribute: str) -> list[int]:
        """The numbers of the values that a request states."""
        if attribute in tb.MULTI:
            k = tb.MULTI.index(attribute)
            first = self.list0[request, k]
            return self.listed[first : first + self.list_n[request, k]].tolist()
        return [int(self.single[request, tb.IX[attribute]])]


@njit(cache=True, nogil=True)
def _word(seed, stream, who, at):  # type: ignore[no-untyped-def]
    """The at-th 32-bit word of a campaign or request."""
    who, key = np.uint64(who), np.uint64(seed)
    found, _, _, _ = philox(who & _LOW, who >> _S32, np.uint64(at), np.uint64(stream), key & _LOW, key >> _S32)
    return np.int64(found)


@njit(cache=True, nogil=True)
def _below(word, n):  # type: ignore[no-untyped-def]
    """A word as a number from 0 to n - 1."""
    return (word * n) >> 32


@njit(cache=True, nogil=True)
def _ranked(word, weights, first, n):  # type: ignore[no-untyped-def]
    """The value whose share of the line from 0 to 2^32 a word falls on."""
    return np.searchsorted(weights[first : first + n], word, side="right")


@njit(cache=True, nogil=True)
def _distinct(drawn, n):  # type: ignore[no-untyped-def]
    """Sort drawn[:n] and keep each number once. Returns how many."""
    part = drawn[:n]
    part.sort()
    kept = 0
    for i in range(n):
        if i == 0 or part[i] != part[kept - 1]:
            part[kept] = part[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _extent(seed, stream, who, k, n, broad):  # type: ignore[no-untyped-def]
    """From 0 to n - 1: the larger of two draws where the predicate is broad, else the smaller."""
    one, other = _below(_word(seed, stream, who, k), n), _below(_word(seed, stream, who, k + 1), n)
    return max(one, other) if broad else min(one, other)


@njit(cache=True, nogil=True)
def _predicate(column, broad, niche, weights, seed, stream, who, k, drawn):  # type: ignore[no-untyped-def]
    """Draw one predicate's values into `drawn`. Returns how many, and the next word."""
    n = column.n
    if column.kind == 2:  # hours
        days = _DAYS[_below(_word(seed, stream, who, k), 3)]
        width = 4 + _extent(seed, stream, who, k + 1, 20, broad)
        first = _below(_word(seed, stream, who, k + 3), 25 - width)
        many = 0
        for day in range(days[0], days[1]):
            for hour in range(first, first + width):
                drawn[many] = day * 24 + hour
                many += 1
        return many, k + 4
    if column.kind == 1:  # range
        width = n // 8 + _extent(seed, stream, who, k, n - n // 8, broad)
        first = _below(_word(seed, stream, who, k + 2), n - width + 1)
        drawn[0] = first if column.open == 0 else n - width if column.open == 1 else 0
        drawn[1] = first + width - 1 if column.open == 0 else n - 1 if column.open == 1 else width - 1
        return 2, k + 3
    octave = _extent(seed, stream, who, k, column.octaves + 1, broad and column.octaves < 5)
    if column.octaves > 6:  # long lists are rare
        octave = min(octave, _below(_word(seed, stream, who, k + 2), column.octaves + 1))
    many = min(500, (1 << octave) + _below(_word(seed, stream, who, k + 3), 1 << octave), max(1, n - 1))
    for i in range(many):
        word = _word(seed, stream, who, k + 4 + i)
        drawn[i] = _below(word, n) if niche else _ranked(word, weights, column.weights0, n)
    return _distinct(drawn, many), k + 4 + many


@njit(cache=True, nogil=True)
def _without(drawn, n, barred, n_barred):  # type: ignore[no-untyped-def]
    """Take numbers out of drawn[:n]. Returns how many are left."""
    left = 0
    for i in range(n):
        at = np.searchsorted(barred[:n_barred], drawn[i])
        if at == n_barred or barred[at] != drawn[i]:
            drawn[left] = drawn[i]
            left += 1
    return left


@njit(cache=True, nogil=True)
def _clause(columns, weights, percents, seed, stream, c, k, found, values, n_values):  # type: ignore[no-untyped-def]
    """Draw a conjunction into `found`, its values to values[n_values:]. Returns its predicates, n_values, next word.

    What is wanted is not barred by the same conjunction: nobody could meet that.
    """
    n = 0
    for ix in range(_N):
        column = columns[ix]
        wanted0, n_wanted = n_values, 0
        for also in range(2):
            share = column.also_not if also else column.asked
            if share == 0 or _word(seed, stream, c, k) >= share:
                k += share != 0
                continue
            negated = also == 1 or _below(_word(seed, stream, c, k + 1), 100) < column.exclude_percent
            broad = _below(_word(seed, stream, c, k + 2), 100) < percents[0]
            niche = not negated and _below(_word(seed, stream, c, k + 3), 100) < percents[1]
            drawn = values[n_values:]
            many, k = _predicate(column, broad, niche, weights, seed, stream, c, k + 4, drawn)
            if also:
                many = _without(drawn, many, values[wanted0:], n_wanted)
                if many == 0:
                    continue
            else:
                n_wanted = 0 if negated else many
            to = found[n]
            to.first, to.n_values, to.attribute, to.negated, to.kind = n_values, many, ix, negated, column.kind
            n += 1
            n_values += many
    for i in range(n - 1, 0, -1):  # in no order, as people write
        j = _below(_word(seed, stream, c, k), i + 1)
        found[n] = found[i]  # a record is a reference: two cannot be swapped in one go
        found[i] = found[j]
        found[j] = found[n]
        k += 1
    return n, n_values, k


@njit(cache=True, nogil=True)
def _campaigns(columns, weights, percents, seed, stream, first, clause0, predicate0, predicates, values, used):  # type: ignore[no-untyped-def]
    """Write campaigns from `first` on while there is room. Returns the one that did not fit, or their number.

    used: clauses, predicates and values written so far.
    """
    for c in range(first, clause0.size - 1):
        k, kind = 1, _below(_word(seed, stream, c, 0), 100)
        n_clauses, n_predicates, n_values = used
        if values.size - n_values < 8 * _N * _DRAWN_MAX or predicates.size - n_predicates < 8 * _N:
            return c
        for _ in range(1 if kind < 80 else 2 if kind < 95 else 3):
            n = 0
            while n == 0:  # a conjunction asks something
                n, n_values, k = _clause(
                    columns, weights, percents, seed, stream, c, k, predicates[n_predicates:], values, n_values
                )
            n_clauses += 1
            n_predicates += n
            predicate0[n_clauses] = n_predicates
        clause0[c + 1] = n_clauses
        used[0], used[1], used[2] = n_clauses, n_predicates, n_values
    return clause0.size - 1


@njit(cache=True, nogil=True)
def _requests(columns, weights, seed, n, bounds, single, list0, list_n, listed):  # type: ignore[no-untyped-def]
    """Write the requests. Returns how many values all their lists have."""
    drawn = np.empty(_DRAWN_MAX, np.int32)
    used = 0
    for r in range(n):
        k = 0
        for ix in range(_N):
            column = columns[ix]
            if column.open == 0 and column.kind == 1:  # age: around the middle, the mean of two
                word = (_word(seed, _REQUESTS, r, k) + _word(seed, _REQUESTS, r, k + 1)) >> 1
                single[r, ix], k = _below(word, column.n), k + 2
            elif column.kind == 2 or column.open == 1:
                single[r, ix], k = _below(_word(seed, _REQUESTS, r, k), column.n), k + 1
            else:
                single[r, ix], k = _ranked(_word(seed, _REQUESTS, r, k), weights, column.weights0, column.n), k + 1
        for m in range(_MULTI.size):
            low, high, ix = bounds[m, 0], bounds[m, 1], _MULTI[m]
            many = low + _below(_word(seed, _REQUESTS, r, k), high - low + 1)
            for i in range(many):
                word = _word(seed, _REQUESTS, r, k + 1 + i)
                drawn[i] = _ranked(word, weights, columns[ix].weights0, columns[ix].n)
            k += 1 + many
            kept = _distinct(drawn, many)
            single[r, ix] = -1
            list0[r, m], list_n[r, m] = used, kept
            listed[used : used + kept] = drawn[:kept]
            used += kept
    return used


def _columns(rate: tb.Rate) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The table as COLUMN[], and where each value's share of 2^32 ends, one attribute after the other."""
    columns = np.zeros(_N, COLUMN)
    weights: list[NDArray[np.int64]] = []
    total = sum(column.share + column.also_not for column in tb.TABLE)
    for ix, c in enumerate(tb.TABLE):
        each = np.cumsum(1.0 / (np.arange(c.n) + (c.flat + 1.0)))
        scale = rate.predicates / total * 2.0**32
        columns[ix] = (
            c.n, sum(w.size for w in weights), int(c.share * scale), int(c.also_not * scale), c.octaves,
            c.exclude_percent * rate.exclude_percent // 100, c.kind, ("", "from", "to").index(c.open),
        )  # fmt: skip
        weights.append(np.floor(each / each[-1] * 2.0**32).astype(np.int64))
    return columns, np.concatenate(weights)


def generate(rate: str, campaigns: int, requests: int, seed: int = tb.SEED) -> Workload:
    """The workload of a match rate ("low", "medium", "high"). The requests are the same for all three."""
    terms = tb.RATES[rate]
    columns, weights = _columns(terms)
    clause0, predicate0 = np.zeros(campaigns + 1, np.int64), np.zeros(3 * campaigns + 1, np.int64)
    predicates, values = np.zeros(0, PREDICATE), np.zeros(0, np.int32)
    used, done = np.zeros(3, np.int64), 0
    percents = np.array([terms.broad_percent, terms.niche_percent])
    while done < campaigns:
        more = min(campaigns - done, 50_000)
        predicates = _larger(predicates, int(used[1]) + 16 * more + 16 * _N)
        values = _larger(values, int(used[2]) + 128 * more + 16 * _N * _DRAWN_MAX)
        done = _campaigns(
            columns, weights, percents, seed, terms.number, done, clause0, predicate0, predicates, values, used
        )
    single, listed = np.zeros((requests, _N), np.int32), np.zeros(requests * _DRAWN_MAX, np.int32)
    list0, list_n = np.zeros((requests, len(tb.MULTI)), np.int64), np.zeros((requests, len(tb.MULTI)), np.int64)
    bounds = np.array([tb.DEALS, tb.CATEGORIES, tb.SEGMENTS])
    n_listed = _requests(columns, weights, seed, requests, bounds, single, list0, list_n, listed)
    return Workload(
        rate, clause0, predicate0[: used[0] + 1].copy(), predicates[: used[1]].copy(), values[: used[2]].copy(),
        single, list0, list_n, listed[:n_listed].copy(),
    )  # fmt: skip


def _larger(array: NDArray[Any], size: int) -> NDArray[Any]:
    """A copy with room for `size`."""
    larger = np.empty(max(size, array.size), array.dtype)
    larger[: array.size] = array
    return larger
