"""Two references, compiled, on the same data: expressions one by one, and a row of bits per value.

`PlainLoop` walks the predicates of every clause until one fails: what an exchange does that has no index. `ValueBits`
is the scheme of ad routers such as RTBKit: for every (attribute, value) a row of bits over all conjunctions that
include it and one of those that exclude it, for every attribute a row of those that ask for nothing; a request ANDs
(nothing | included) & ~excluded, attribute by attribute, and stops when no bit is left.
"""

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.targeting import table as tb
from bench.targeting.workload import Workload
from exchange.memory import lowest_bit

_N: Final = len(tb.TABLE)
_RANGE: Final = tb.RANGE
_MULTI_OF: Final = np.array([tb.MULTI.index(c.name) if c.name in tb.MULTI else -1 for c in tb.TABLE])
_VALUE0: Final = np.cumsum([0] + [c.n for c in tb.TABLE])  # the first of an attribute's values among all 43,813
_HALVES_FROM: Final = 8
_B0: Final = np.uint64(0)
_B1: Final = np.uint64(1)


@njit(cache=True, nogil=True)
def _among(values, first, n, x):  # type: ignore[no-untyped-def]
    """Is x among values[first : first + n], which ascend?"""
    low, high = first, first + n
    while high - low > _HALVES_FROM:
        middle = (low + high) >> 1
        if values[middle] <= x:
            low = middle
        else:
            high = middle
    for i in range(low, high):  # noqa: SIM110 - numba compiles no generator
        if values[i] == x:
            return True
    return False


@njit(cache=True, nogil=True)
def _predicate_holds(p, values, single, list0, list_n, listed, r):  # type: ignore[no-untyped-def]
    """Does one predicate hold for a request?"""
    m = _MULTI_OF[p.attribute]
    if m < 0:
        x = single[r, p.attribute]
        if p.kind == _RANGE:
            return values[p.first] <= x and x <= values[p.first + 1]
        return _among(values, p.first, p.n_values, x) != (p.negated != 0)
    first, many = list0[r, m], list_n[r, m]
    found = False
    if p.n_values <= many:
        for i in range(p.first, p.first + p.n_values):
            if _among(listed, first, many, values[i]):
                found = True
                break
    else:
        for i in range(first, first + many):
            if _among(values, p.first, p.n_values, listed[i]):
                found = True
                break
    return found != (p.negated != 0)


@njit(cache=True, nogil=True)
def _loop(clause0, predicate0, predicates, values, single, list0, list_n, listed, r, out):  # type: ignore[no-untyped-def]
    """Write the campaigns that match request r. Returns how many."""
    n = 0
    for c in range(clause0.size - 1):
        for clause in range(clause0[c], clause0[c + 1]):
            holds = True
            for at in range(predicate0[clause], predicate0[clause + 1]):
                if not _predicate_holds(predicates[at], values, single, list0, list_n, listed, r):
                    holds = False
                    break
            if holds:
                out[n] = c
                n += 1
                break
    return n


@njit(cache=True, nogil=True)
def _loop_many(clause0, predicate0, predicates, values, single, list0, list_n, listed, which, out):  # type: ignore[no-untyped-def]
    """`_loop` for several requests. Returns how many campaigns match, over all."""
    n = 0
    for r in which:
        n += _loop(clause0, predicate0, predicates, values, single, list0, list_n, listed, r, out)
    return n


@njit(cache=True, nogil=True)
def _mark(rows, row, bit):  # type: ignore[no-untyped-def]
    rows[row, bit >> 6] |= _B1 << np.uint64(bit & 63)


@njit(cache=True, nogil=True)
def _fill(predicate0, predicates, values, row_in, row_out, rows, write):  # type: ignore[no-untyped-def]
    """Number the rows that are needed (or, with `write`, set their bits). Returns how many rows there are.

    rows[a] is the row of the conjunctions that include nothing of attribute a.
    """
    n_rows = _N
    for clause in range(predicate0.size - 1):
        for at in range(predicate0[clause], predicate0[clause + 1]):
            p = predicates[at]
            first, end = p.first, p.first + p.n_values
            if write and p.negated == 0:
                rows[p.attribute, clause >> 6] &= ~(_B1 << np.uint64(clause & 63))
            if p.kind == _RANGE:
                first, end = np.int64(values[p.first]), np.int64(values[p.first + 1]) + 1
            for i in range(first, end):
                value = _VALUE0[p.attribute] + (i if p.kind == _RANGE else values[i])
                numbers = row_out if p.negated else row_in
                if write:
                    _mark(rows, numbers[value], clause)
                elif numbers[value] < 0:
                    numbers[value] = n_rows
                    n_rows += 1
    return n_rows


@njit(cache=True, nogil=True)
def _include(result, nothing, included):  # type: ignore[no-untyped-def]
    left = _B0
    for w in range(result.size):
        result[w] &= nothing[w] | included[w]
        left |= result[w]
    return left


@njit(cache=True, nogil=True)
def _keep(result, nothing):  # type: ignore[no-untyped-def]
    left = _B0
    for w in range(result.size):
        result[w] &= nothing[w]
        left |= result[w]
    return left


@njit(cache=True, nogil=True)
def _exclude(result, excluded):  # type: ignore[no-untyped-def]
    left = _B0
    for w in range(result.size):
        result[w] &= ~excluded[w]
        left |= result[w]
    return left


@njit(cache=True, nogil=True)
def _several(result, work, rows, row_in, row_out, value0, listed, first, many):  # type: ignore[no-untyped-def]
    """AND an attribute of which a request states several values: `work` starts as the row that includes nothing."""
    for i in range(first, first + many):
        row = row_in[value0 + listed[i]]
        if row >= 0:
            one = rows[row]
            for w in range(work.size):
                work[w] |= one[w]
    for i in range(first, first + many):
        row = row_out[value0 + listed[i]]
        if row >= 0:
            one = rows[row]
            for w in range(work.size):
                work[w] &= ~one[w]
    return _keep(result, work)


@njit(cache=True, nogil=True)
def _bits(
    rows, row_in, row_out, order, alive, result, work, campaign, seen, epoch, single, list0, list_n, listed, r, out
):  # type: ignore[no-untyped-def]  # noqa: E501
    """Write the campaigns that match request r, each once. Returns how many."""
    result[:] = alive
    for k in range(order.size):
        a = order[k]
        m = _MULTI_OF[a]
        if m >= 0:
            work[:] = rows[a]
            left = _several(result, work, rows, row_in, row_out, _VALUE0[a], listed, list0[r, m], list_n[r, m])
        else:
            value = _VALUE0[a] + single[r, a]
            included, excluded = row_in[value], row_out[value]
            left = _include(result, rows[a], rows[included]) if included >= 0 else _keep(result, rows[a])
            if left and excluded >= 0:
                left = _exclude(result, rows[excluded])
        if left == 0:
            return 0
    n = 0
    for w in range(result.size):
        word = result[w]
        while word:
            c = campaign[(w << 6) + lowest_bit(word)]
            word &= word - _B1
            if seen[c] != epoch:
                seen[c] = epoch
                out[n] = c
                n += 1
    return n


@njit(cache=True, nogil=True)
def _bits_many(
    rows, row_in, row_out, order, alive, result, work, campaign, seen, epoch, single, list0, list_n, listed, which, out
):  # type: ignore[no-untyped-def]  # noqa: E501
    """`_bits` for several requests. Returns how many campaigns match, over all."""
    n = 0
    for k in range(which.size):
        n += _bits(
            rows,
            row_in,
            row_out,
            order,
            alive,
            result,
            work,
            campaign,
            seen,
            epoch + k,
            single,
            list0,
            list_n,
            listed,
            which[k],
            out,
        )  # noqa: E501
    return n


class PlainLoop:
    """Expressions one by one. `match(r)` returns how many match; their numbers are in `out`."""

    def __init__(self, work: Workload) -> None:
        self.out = np.zeros(work.n_campaigns, np.int32)
        self._arrays = (
            work.clause0, work.predicate0, work.predicates, work.values, work.single, work.list0, work.list_n,
            work.listed,
        )  # fmt: skip
        self.memory_mb = sum(a.nbytes for a in self._arrays[:4]) / 1e6

    def match(self, request: int) -> int:
        """Find who matches a request."""
        return _loop(*self._arrays, request, self.out)  # type: ignore[no-any-return]

    def match_many(self, requests: NDArray[np.int64]) -> int:
        """Find who matches each of several requests. Returns the sum of how many do."""
        return _loop_many(*self._arrays, requests, self.out)  # type: ignore[no-any-return]


def value_bits_mb(work: Workload) -> float:
    """What the rows of `ValueBits` would take."""
    return _numbered(work)[0] * 8 * ((work.n_clauses + 63) // 64) / 1e6


def _numbered(work: Workload) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """How many rows of bits, and the row of each value: of those that include it, that exclude it, or -1."""
    row_in, row_out = np.full(_VALUE0[-1], -1, np.int32), np.full(_VALUE0[-1], -1, np.int32)
    nothing = np.zeros((1, 1), np.uint64)
    n = _fill(work.predicate0, work.predicates, work.values, row_in, row_out, nothing, False)
    return n, row_in, row_out


class ValueBits:
    """A row of bits per value. `match(r)` returns how many match; their numbers are in `out`.

    Attributes are ANDed in the order of their share of failing conjunctions, measured on the requests, as a router
    would put the cheap and selective ones first; those with several values come last.
    """

    def __init__(self, work: Workload) -> None:
        words = (work.n_clauses + 63) // 64
        n_rows, row_in, row_out = _numbered(work)
        rows = np.zeros((n_rows, words), np.uint64)
        rows[:_N] = ~_B0
        _fill(work.predicate0, work.predicates, work.values, row_in, row_out, rows, True)
        alive = np.full(words, ~_B0)
        if work.n_clauses & 63:
            alive[-1] = (_B1 << np.uint64(work.n_clauses & 63)) - _B1
        campaign = np.repeat(np.arange(work.n_campaigns, dtype=np.int32), np.diff(work.clause0))
        self.out = np.zeros(work.n_campaigns, np.int32)
        self._seen, self._epoch = np.zeros(work.n_campaigns, np.int64), 0
        self._index: tuple[Any, ...] = (
            rows, row_in, row_out, self._order(work, rows, row_in, row_out), alive, np.zeros(words, np.uint64),
            np.zeros(words, np.uint64), campaign, self._seen,
        )  # fmt: skip
        self._requests = (work.single, work.list0, work.list_n, work.listed)
        self.memory_mb = (rows.nbytes + row_in.nbytes + row_out.nbytes + campaign.nbytes) / 1e6

    @staticmethod
    def _order(work: Workload, rows: Any, row_in: Any, row_out: Any) -> NDArray[np.int64]:
        """Attributes with one value, most selective first, then those with several."""
        left = np.zeros(_N)
        for a in range(_N):
            if _MULTI_OF[a] >= 0:
                left[a] = np.inf
                continue
            for r in range(min(32, work.n_requests)):
                value = _VALUE0[a] + work.single[r, a]
                row = rows[a] | rows[row_in[value]] if row_in[value] >= 0 else rows[a]
                row = row & ~rows[row_out[value]] if row_out[value] >= 0 else row
                left[a] += np.bitwise_count(row).sum()
        return np.argsort(left, kind="stable")

    def match(self, request: int) -> int:
        """Find who matches a request."""
        self._epoch += 1
        return _bits(*self._index, self._epoch, *self._requests, request, self.out)  # type: ignore[no-any-return]

    def match_many(self, requests: NDArray[np.int64]) -> int:
        """Find who matches each of several requests. Returns the sum of how many do."""
        first = self._epoch + 1
        self._epoch += requests.size
        return _bits_many(*self._index, first, *self._requests, requests, self.out)  # type: ignore[no-any-return]
