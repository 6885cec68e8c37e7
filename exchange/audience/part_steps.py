"""What the match of a small part and of a large one have in common: compiled steps."""

import numpy as np
from numba import carray, njit

from exchange.audience import query as qy
from exchange.audience.bits import first_bit, word_at
from exchange.audience.parts import ONES
from exchange.audience.program import STEP, accepts, step_holds
from exchange.memory import at

U0 = np.uint64(0)
U1 = np.uint64(1)


@njit(cache=True, nogil=True, inline="always")
def bit_of(c):  # type: ignore[no-untyped-def]
    return U1 << np.uint64(c & 63)


@njit(cache=True, nogil=True, inline="always")
def slot_bit(slot):  # type: ignore[no-untyped-def]
    return U1 << np.uint64(slot - qy.FIRST_SLOT)


@njit(cache=True, nogil=True, inline="always")
def bucket(edges, n, x):  # type: ignore[no-untyped-def]
    """How many of n ascending edges are not above x; edges = their address."""
    low, high = np.int64(0), np.int64(n)
    while low < high:
        middle = (low + high) >> 1
        if np.int64(word_at(edges, middle)) <= x:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def number_row(column, x):  # type: ignore[no-untyped-def]
    """The row of a number."""
    if x == qy.ANYTHING:
        return np.int64(ONES)
    if x == qy.NO_NUMBER:
        return column.missing
    return column.size + bucket(column.edges, column.n_edges, x)


@njit(cache=True, nogil=True)
def rest_holds(a, line, undecided):  # type: ignore[no-untyped-def]
    """Do those leaves of a clause hold whose attribute is undecided, and its tree?"""
    steps, pool = carray(at(a.steps), a.n_steps, STEP), carray(at(a.pool), a.n_pool, np.int32)
    ends, q = carray(at(a.ends), a.n_ends, np.int64), carray(at(a.query), a.query_max, np.int64)
    step0 = np.int64(line.step0)
    if line.uses & undecided:
        for i in range(step0, step0 + line.n_leaves):
            step = steps[i]
            if undecided & slot_bit(np.int64(step.slot)) and not step_holds(step, pool, ends, q):
                return False
    n_leaves, n_steps = np.int64(line.n_leaves), np.int64(line.n_steps)
    return n_steps == n_leaves or accepts(steps, pool, ends, q, step0, n_leaves, n_steps)


@njit(cache=True, nogil=True, inline="always")
def give(a, part, w, word):  # type: ignore[no-untyped-def]
    """Give a word of a part's result to the campaigns it stands for."""
    found, alive = carray(at(a.found), a.n_words, np.uint64), carray(at(a.alive), a.n_words, np.uint64)
    if w < part.primary:
        found[w] |= word
    else:
        owners = carray(at(part.owners), part.n_owners, np.int32)
        base = (w - part.primary) * 64
        while word != U0:
            owner = np.int64(owners[base + first_bit(word)])
            word &= word - U1
            found[owner >> 6] |= alive[owner >> 6] & bit_of(owner)
