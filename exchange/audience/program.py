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
        ("jump", "i2"),  # where it goes on if not with the next step, counted from the clause's first; or REJECT
        ("slot", "u1"),
        ("flags", "u1"),  # KIND: ONE, MANY or RANGE; NEGATED; MISSING; and when it jumps: JUMP_IF of these
    ],
    align=True,
)
CLAUSE: Final = np.dtype(
    [
        ("step0", "u4"),
        ("campaign", "i4"),  # -1 = a target of the market's own
        ("n_leaves", "i2"),
        ("n_steps", "i2"),  # more than n_leaves: a tree follows
        ("relative", "u1"),  # 1 = a leaf depends on the advertiser
    ],
    align=True,
)
HOME: Final = np.dtype([("clause0", "i8"), ("n_clauses", "i4"), ("relative", "u1")], align=True)
ONE: Final = 0
MANY: Final = 1
RANGE: Final = 2
KIND: Final = 3
NEGATED: Final = 4
MISSING: Final = 8
JUMP_IF: Final = 16  # set: it jumps when it holds; else when not
REJECT: Final = -1
STEPS_MAX: Final = 32_000  # of one clause
_SHARED_MAX: Final = 50_000  # lists known by heart, so that equal ones are kept once
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
    first, n, x, flags = np.int64(step.first), np.int64(step.n_values), q[step.slot], np.int64(step.flags)
    missing, negated = flags & MISSING != 0, flags & NEGATED != 0
    if flags & KIND == ONE:
        if x == 0:
            return missing
        return contains(pool, first, n, x) != negated
    if flags & KIND == RANGE:
        if x == qy.ANYTHING:
            return True
        if x == qy.NO_NUMBER:
            return missing
        for i in range(first, first + n, 2):  # noqa: SIM110
            if ends[i] <= x and x <= ends[i + 1]:
                return True
        return False
    count = q[step.slot + 1]
    if count == 0:
        return missing
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
    return found != negated


@njit(cache=True, nogil=True)
def accepts(steps, pool, ends, q, step0, begin, end):  # type: ignore[no-untyped-def]
    """Walk the steps of a clause from `begin`; walking to `end` or beyond accepts."""
    at = begin
    while at < end:
        step = steps[step0 + at]
        if step_holds(step, pool, ends, q) == (step.flags & JUMP_IF != 0):
            at = np.int64(step.jump)
            if at < 0:
                return False
        else:
            at += 1
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
        self._step0 = 0  # of the clause that is being written
        self._known: dict[tuple[str | int, ...], int] = {}  # where lists begin that many targets have in common

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
        step0 = self._step0 = self.n_steps
        for at, leaf in enumerate(clause.leaves):
            self.vocabulary.mention(leaf.attribute)
            self._step(leaf, at + 1, REJECT)
        relative = any(map(is_relative, clause.leaves))
        if clause.tree is not None:
            relative |= any(map(is_relative, leaves_of(clause.tree)))
            end = len(clause.leaves) + sum(1 for _ in leaves_of(clause.tree))
            self._tree(clause.tree, step0, end, REJECT)
        self.clauses = _room(self.clauses, self.n_clauses + 1)
        record = (step0, campaign, len(clause.leaves), self.n_steps - step0, relative)
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
        """One leaf. One of its two ways is always the next step, as trees are written in the order they are walked."""
        kind = _KIND[BY_NAME[leaf.attribute].kind]
        if kind == RANGE:
            first, n_values = self._shared("ends", [end for pair in leaf.values for end in pair])
        else:
            values = sorted(self.vocabulary.id(leaf.attribute, value) for value in leaf.values)
            first, n_values = self._shared("pool", values, not BY_NAME[leaf.attribute].wide)
        self.steps = _room(self.steps, self.n_steps + 1)
        falls = on_true == self.n_steps + 1 - self._step0
        flags = kind | NEGATED * leaf.negated | MISSING * leaf.missing | (0 if falls else JUMP_IF)
        jump = on_false if falls else on_true
        self.steps[self.n_steps] = (first, n_values, jump, qy.SLOT[leaf.attribute], flags)
        self.n_steps += 1

    def _shared(self, name: str, values: list[int], often: bool = True) -> tuple[int, int]:
        """Append a list to pool or ends, or find it there. Returns where it begins, and its length."""
        key: tuple[str | int, ...] = (name, *values) if often else ()
        if often and key in self._known:
            return self._known[key], len(values)
        first = int(getattr(self, f"n_{name}"))
        array = _room(getattr(self, name), first + len(values))
        array[first : first + len(values)] = values
        setattr(self, name, array)
        setattr(self, f"n_{name}", first + len(values))
        if often:
            if len(self._known) >= _SHARED_MAX:
                self._known.clear()
            self._known[key] = first
        return first, len(values)

    def trim(self) -> None:
        """Give back what was allocated ahead."""
        for name in ("steps", "pool", "ends", "clauses"):
            setattr(self, name, getattr(self, name)[: getattr(self, f"n_{name}") + 64].copy())


def _room(array: NDArray[Any], need: int) -> NDArray[Any]:
    """The array, or a larger copy with at least `need` entries."""
    if need <= array.size:
        return array
    larger = np.zeros(max(array.size + array.size // 2, need), array.dtype)
    larger[: array.size] = array
    return larger
