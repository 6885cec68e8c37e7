"""The match: which campaigns' targets hold for the selected imp, by the index, as bits or as a list."""

import numpy as np
from numba import carray, njit

from exchange.audience.bits import first_bit
from exchange.audience.large_part import match_large
from exchange.audience.part_steps import U0, U1, bit_of
from exchange.audience.parts import PART
from exchange.audience.program import CLAUSE, HOME, STEP, accepts
from exchange.audience.small_part import match_small
from exchange.memory import at, bit_count


@njit(cache=True, nogil=True)
def _tail(a):  # type: ignore[no-untyped-def]
    """Walk the clauses that are in no part yet."""
    steps, pool = carray(at(a.steps), a.n_steps, STEP), carray(at(a.pool), a.n_pool, np.int32)
    ends, q = carray(at(a.ends), a.n_ends, np.int64), carray(at(a.query), a.query_max, np.int64)
    clauses, homes = carray(at(a.clauses), a.n_clauses, CLAUSE), carray(at(a.homes), a.n_campaigns, HOME)
    found, alive = carray(at(a.found), a.n_words, np.uint64), carray(at(a.alive), a.n_words, np.uint64)
    for k in range(a.tail0, a.n_clauses):
        clause = clauses[k]
        c = np.int64(clause.campaign)
        if c < 0 or not alive[c >> 6] & ~found[c >> 6] & bit_of(c):
            continue
        if homes[c].clause0 <= k and k < homes[c].clause0 + homes[c].n_clauses:
            if accepts(steps, pool, ends, q, np.int64(clause.step0), np.int64(0), np.int64(clause.n_steps)):
                found[c >> 6] |= bit_of(c)


@njit(cache=True, nogil=True)
def match(a):  # type: ignore[no-untyped-def]
    """Write the campaigns that are alive and whose target holds for the selected imp into `found`: uint64[n_words].

    Leaves that depend on the advertiser count as true here: who has one (HOME.relative) is asked again by `meets`.
    """
    found = carray(at(a.found), a.n_words, np.uint64)
    for w in range(a.n_words):
        found[w] = U0
    parts = carray(at(a.parts), 2, PART)
    for k in range(a.n_parts):
        if parts[k].small:
            match_small(a, parts[k])
        else:
            match_large(a, parts[k])
    if a.tail0 < a.n_clauses:
        _tail(a)


@njit(cache=True, nogil=True, inline="always")
def _bits(word, base, out, n, step):  # type: ignore[no-untyped-def]
    """The bits of a word, as numbers from `base` on, to out[n:], a `step` at a time. Returns n behind them."""
    end = n + np.uint64(bit_count(word))
    while n < end:
        for k in range(step):
            out[n + np.uint64(k)] = np.int32(base + first_bit(word))
            word &= word - U1
        n += np.uint64(step)
    return end


@njit(cache=True, nogil=True)
def listed(a, out):  # type: ignore[no-untyped-def]
    """The campaigns of `found`, ascending, into out: int32, with room for 64 more than there are. Returns how many."""
    found = carray(at(a.found), a.n_words, np.uint64)
    n = np.uint64(0)
    for first in range(0, a.n_words, 64):  # a branch per word or bit would be guessed wrong half of the time
        some, bits = U0, np.int64(0)
        for k in range(min(64, a.n_words - first)):
            word = found[first + k]
            some |= np.uint64(word != U0) << np.uint64(k)
            bits += bit_count(word)
        dense = bits > 4 * bit_count(some)
        while some != U0:
            w = first + first_bit(some)
            some &= some - U1
            n = _bits(found[w], w * 64, out, n, 16) if dense else _bits(found[w], w * 64, out, n, 4)
    return np.int64(n)


@njit(cache=True, nogil=True)
def match_list(a, out):  # type: ignore[no-untyped-def]
    """`match`, and the campaigns found as a list (`listed`)."""
    match(a)
    return listed(a, out)
