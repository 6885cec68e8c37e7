"""Targets as programs: flat arrays of steps that compiled code walks, the same for every way a target is asked.

A *step* is one leaf with two ways out: the next step when it holds, another when not; walking off the end accepts,
REJECT refuses. A clause is first its leaves, one after the other (the part an index may use), then, where it has one,
its tree. Steps, pool, ends and clauses are only ever appended: a reader in another thread sees what was there.
"""

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from exchange.audience import query as qy
from exchange.audience.attributes import BY_NAME, HOURS, NUMBER, SET, TEXT
from exchange.audience.target import And, Clause, Leaf, Target, Tree, is_relative, leaves_of
from exchange.audience.vocabulary import Vocabulary

STEP: Final = np.dtype(
    [
        ("first", "u4"),  # of its values in the pool, ascending; RANGE: of its pairs low, high in the ends
        ("n_values", "i4"),
        ("on_true", "i2"),  # the step to go on with, counted from the clause's first
        ("on_false", "i2"),  # REJECT = the clause does not hold
        ("slot", "u1"),
        ("kind", "u1"),  # ONE, MANY, RANGE
        ("negated", "u1"),
        ("missing", "u1"),
    ],
    align=True,
)
CLAUSE: Final = np.dtype(
    [
        ("step0", "i8"),
        ("n_leaves", "i4"),
        ("n_steps", "i4"),  # more than n_leaves: a tree follows
        ("campaign", "i4"),  # -1 = a target of the market's own
        ("relative", "u1"),  # 1 = a leaf depends on the advertiser
    ],
    align=True,
)
HOME: Final = np.dtype([("clause0", "i8"), ("n_clauses", "i4"), ("relative", "u1")], align=True)
ONE: Final = 0
MANY: Final = 1
RANGE: Final = 2
REJECT: Final = -1
STEPS_MAX: Final = 32_000  # of one clause
_KIND: Final = {TEXT: ONE, HOURS: ONE, SET: MANY, NUMBER: RANGE}
_MANY_FROM: Final = 8  # values from which a list is searched by halves


@njit(cache=True, nogil=True)
def contains(pool, first, n, number):  # type: ignore[no-untyped-def]
    """Is a number among pool[first : first + n], which ascend?"""
    low, high = first, first + n
    while high - low > _MANY_FROM:
        middle = (low + high) >> 1
        if pool[middle] <= number:
            low = middle
        else:
            high = middle
    for i in range(low, high):  # noqa: SIM110 - numba compiles no generator
        if pool[i] == number:
            return True
    return False


@njit(cache=True, nogil=True)
def step_holds(step, pool, ends, q):  # type: ignore[no-untyped-def]
    """Does one step hold for the query, whose imp is selected?"""
    first, n, x = np.int64(step.first), np.int64(step.n_values), q[step.slot]
    if step.kind == ONE:
        if x == 0:
            return step.missing != 0
        return contains(pool, first, n, x) != (step.negated != 0)
    if step.kind == RANGE:
        if x == qy.ANYTHING:
            return True
        if x == qy.NO_NUMBER:
            return step.missing != 0
        for i in range(first, first + n, 2):  # noqa: SIM110
            if ends[i] <= x and x <= ends[i + 1]:
                return True
        return False
    count = q[step.slot + 1]
    if count == 0:
        return step.missing != 0
    found = False
    if n <= count:
        for i in range(first, first + n):
            if contains(q, x, count, pool[i]):
                found = True
                break
    else:
        for i in range(x, x + count):
            if contains(pool, first, n, q[i]):
                found = True
                break
    return found != (step.negated != 0)


@njit(cache=True, nogil=True)
def accepts(steps, pool, ends, q, step0, begin, end):  # type: ignore[no-untyped-def]
    """Walk the steps of a clause from `begin`; walking to `end` or beyond accepts."""
    at = begin
    while at < end:
        step = steps[step0 + at]
        at = np.int64(step.on_true) if step_holds(step, pool, ends, q) else np.int64(step.on_false)
        if at < 0:
            return False
    return True


class Programs:
    """The compiled targets of a market; n_* of each array are in use.

    steps STEP[]; pool int32[]: numbers of values; ends int64[]: ends of ranges of numbers; clauses CLAUSE[].
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.steps, self.clauses = np.zeros(64, STEP), np.zeros(64, CLAUSE)
        self.pool, self.ends = np.zeros(256, np.int32), np.zeros(64, np.int64)
        self.n_steps = self.n_pool = self.n_ends = self.n_clauses = 0

    def add(self, target: Target, campaign: int = -1) -> tuple[int, int, bool]:
        """Compile a target. Returns its first clause, their number, and whether any is relative.

        Raises ValueError for a clause of more than STEPS_MAX leaves, its tree's included.
        """
        for clause in target.clauses:
            steps = len(clause.leaves) + (0 if clause.tree is None else sum(1 for _ in leaves_of(clause.tree)))
            if steps > STEPS_MAX:
                raise ValueError(f"a target of {steps} conditions: expected at most {STEPS_MAX}")
        for leaf in leaves_of(target.tree):
            self.vocabulary.mention(leaf.attribute)
        for clause in target.clauses:
            self._clause(clause, campaign)
        first = self.n_clauses - len(target.clauses)
        return first, len(target.clauses), bool(self.clauses["relative"][first : self.n_clauses].any())

    def _clause(self, clause: Clause, campaign: int) -> None:
        step0 = self.n_steps
        for at, leaf in enumerate(clause.leaves):
            self.vocabulary.mention(leaf.attribute)
            self._step(leaf, at + 1, REJECT)
        relative = any(map(is_relative, clause.leaves))
        if clause.tree is not None:
            relative |= any(map(is_relative, leaves_of(clause.tree)))
            end = len(clause.leaves) + sum(1 for _ in leaves_of(clause.tree))
            self._tree(clause.tree, step0, end, REJECT)
        self.clauses = _room(self.clauses, self.n_clauses + 1)
        record = (step0, len(clause.leaves), self.n_steps - step0, campaign, relative)
        self.clauses[self.n_clauses] = record
        self.n_clauses += 1

    def _tree(self, tree: Tree, step0: int, on_true: int, on_false: int) -> None:
        """The steps of a tree in writing order; on_true, on_false: where it goes from there."""
        if isinstance(tree, Leaf):
            self._step(tree, on_true, on_false)
            return
        assert not hasattr(tree, "part"), "negation stands at the leaves"
        for k, part in enumerate(tree.parts):
            after = self.n_steps - step0 + sum(1 for _ in leaves_of(part))  # the step behind this part
            last = k == len(tree.parts) - 1
            if isinstance(tree, And):
                self._tree(part, step0, on_true if last else after, on_false)
            else:
                self._tree(part, step0, on_true, on_false if last else after)

    def _step(self, leaf: Leaf, on_true: int, on_false: int) -> None:
        kind = _KIND[BY_NAME[leaf.attribute].kind]
        if kind == RANGE:
            values = [end for pair in leaf.values for end in pair]
            first, self.n_ends = self.n_ends, self.n_ends + len(values)
            self.ends = _room(self.ends, self.n_ends)
            self.ends[first : self.n_ends] = values
        else:
            values = sorted(self.vocabulary.id(leaf.attribute, value) for value in leaf.values)
            first, self.n_pool = self.n_pool, self.n_pool + len(values)
            self.pool = _room(self.pool, self.n_pool)
            self.pool[first : self.n_pool] = values
        self.steps = _room(self.steps, self.n_steps + 1)
        slot = qy.SLOT[leaf.attribute]
        self.steps[self.n_steps] = (first, len(values), on_true, on_false, slot, kind, leaf.negated, leaf.missing)
        self.n_steps += 1


def _room(array: NDArray[Any], need: int) -> NDArray[Any]:
    """The array, or a larger copy with at least `need` entries."""
    if need <= array.size:
        return array
    larger = np.zeros(max(2 * array.size, need), array.dtype)
    larger[: array.size] = array
    return larger
