"""Which condition of a target fails first for the query, in compiled code: `targets.meets` that also says why."""

import numpy as np
from numba import carray, njit

from exchange.audience.program import CLAUSE, JUMP_IF, STEP, step_holds
from exchange.memory import at


@njit(cache=True, nogil=True)
def first_failing(a, home):  # type: ignore[no-untyped-def]
    """The slot of the step that refuses the query, whose imp is selected; -1 = the target (HOME) holds.

    Of several clauses the one that got furthest is to blame, of equals the first; 0 = there is no clause at all.
    """
    steps, pool = carray(at(a.steps), a.n_steps, STEP), carray(at(a.pool), a.n_pool, np.int32)
    ends, q = carray(at(a.ends), a.n_ends, np.int64), carray(at(a.query), a.query_max, np.int64)
    clauses = carray(at(a.clauses), a.n_clauses, CLAUSE)
    furthest, slot = np.int64(-1), np.int64(0)
    for c in range(home.clause0, home.clause0 + home.n_clauses):
        step0, to, last, end = np.int64(clauses[c].step0), np.int64(0), np.int64(0), np.int64(clauses[c].n_steps)
        while to >= 0 and to < end:
            step = steps[step0 + to]
            last = to
            to += 1
            if step_holds(step, pool, ends, q) == (step.flags & JUMP_IF != 0):
                to = np.int64(step.jump)
        if to >= 0:
            return np.int64(-1)
        if last > furthest:
            furthest, slot = last, np.int64(steps[step0 + last].slot)
    return slot
