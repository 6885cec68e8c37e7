"""All targets of a market and who of the campaigns is alive: what the venue asks "who may bid on this person".

`put` and `drop` change it between two requests and are seen by the very next; `match` writes the campaigns whose
target holds as bits. AUDIENCE is the record that compiled code takes: addresses and counts, as VENUE is for a sale.
"""

from typing import Final

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from exchange.audience import query as qy
from exchange.audience.program import CLAUSE, HOME, STEP, Programs, accepts
from exchange.audience.target import Target
from exchange.audience.vocabulary import Vocabulary
from exchange.memory import at

AUDIENCE: Final = np.dtype(
    [
        (name, "i8")
        for name in (
            "steps", "pool", "clauses", "homes", "others", "query", "found", "alive",
            "n_steps", "n_pool", "n_clauses", "n_campaigns", "n_words", "n_others", "query_max",
        )
    ]
)  # fmt: skip


@njit(cache=True, nogil=True)
def meets(a, home):  # type: ignore[no-untyped-def]
    """Does any clause of a target (HOME) hold for the query, whose imp is selected?"""
    steps, pool = carray(at(a.steps), a.n_steps, STEP), carray(at(a.pool), a.n_pool, np.int64)
    clauses, q = carray(at(a.clauses), a.n_clauses, CLAUSE), carray(at(a.query), a.query_max, np.int64)
    for c in range(home.clause0, home.clause0 + home.n_clauses):
        if accepts(steps, pool, q, clauses[c].step0, np.int64(0), np.int64(clauses[c].n_steps)):
            return True
    return False


@njit(cache=True, nogil=True)
def select(a, imp):  # type: ignore[no-untyped-def]
    """Put the record of an imp into the query's head, and say that nothing is known of any advertiser yet."""
    q = carray(at(a.query), a.query_max, np.int64)
    first = q[qy.IMPS] + imp * qy.IMP_WIDTH
    for i in range(qy.IMP_WIDTH):
        q[qy.IMP_SLOTS + i] = q[first + i]
    for slot in range(qy.ADVERTISER_SLOTS, qy.HEAD):
        q[slot] = qy.ANYTHING


@njit(cache=True, nogil=True)
def match(a):  # type: ignore[no-untyped-def]
    """Write the campaigns that are alive and whose target holds for the selected imp into `found`: uint64[n_words].

    Leaves that depend on the advertiser count as true here: who has one (HOME.relative) is asked again by `meets`.
    """
    found = carray(at(a.found), a.n_words, np.uint64)
    alive = carray(at(a.alive), a.n_words, np.uint64)
    homes = carray(at(a.homes), a.n_campaigns, HOME)
    for w in range(a.n_words):
        found[w] = np.uint64(0)
    for c in range(a.n_campaigns):
        bit = np.uint64(1) << np.uint64(c & 63)
        if alive[c >> 6] & bit and meets(a, homes[c]):
            found[c >> 6] |= bit


@njit(cache=True, nogil=True)
def holds_other(a, number):  # type: ignore[no-untyped-def]
    """Does a target of the market's own (a reserve's, an endpoint's) hold for the selected imp?"""
    return meets(a, carray(at(a.others), a.n_others, HOME)[number])


class Targets:
    """The targets of all campaigns and of the market itself, compiled. `record` is AUDIENCE[1]."""

    def __init__(self, campaigns_max: int, others_max: int, query_max: int) -> None:
        self.vocabulary = Vocabulary()
        self.programs = Programs(self.vocabulary)
        words = max(1, (campaigns_max + 63) // 64)
        self.homes, self.others = np.zeros(campaigns_max, HOME), np.zeros(max(1, others_max), HOME)
        self.query: NDArray[np.int64] = np.zeros(query_max, np.int64)
        self.found, self.alive = np.zeros(words, np.uint64), np.zeros(words, np.uint64)
        self.n_others = 0
        self.n_campaigns = 0
        self.record = np.zeros(1, AUDIENCE)
        self._point()

    def put(self, campaign: int, target: Target) -> None:
        """Give a campaign its target, or another one; campaigns are numbered from 0 without gaps."""
        if not 0 <= campaign <= self.n_campaigns or campaign >= self.homes.size:
            raise ValueError(f"campaign {campaign}: expected 0 to {min(self.n_campaigns, self.homes.size - 1)}")
        self.homes[campaign] = self.programs.add(target, campaign)
        self.n_campaigns = max(self.n_campaigns, campaign + 1)
        self._point()

    def drop(self, campaign: int) -> None:
        """A campaign has ended for good: it matches nobody until it is put again."""
        if not 0 <= campaign < self.n_campaigns:
            raise ValueError(f"campaign {campaign}: expected 0 to {self.n_campaigns - 1}")
        self.homes[campaign]["n_clauses"] = 0

    def widen(self, campaigns_max: int) -> None:
        """Make room for more campaigns; who took addresses from `homes`, `found` or `alive` takes them again."""
        words = max(1, (campaigns_max + 63) // 64)
        for name, size in (("homes", campaigns_max), ("found", words), ("alive", words)):
            old = getattr(self, name)
            new = np.zeros(size, old.dtype)
            new[: old.size] = old
            setattr(self, name, new)
        self._point()

    def add_other(self, target: Target) -> int:
        """Add a target of the market's own. Returns its number, for `holds_other`."""
        self.others[self.n_others] = self.programs.add(target)
        self.n_others += 1
        self._point()
        return self.n_others - 1

    def job(self) -> None:
        """No part is ever due."""

    def sizes(self) -> dict[str, int]:
        """Bytes of memory by what they are for."""
        return {name: getattr(self.programs, name).nbytes for name in ("steps", "pool", "clauses")}

    def settle(self) -> None:
        """Index what has been put so far."""
        self._point()

    def _point(self) -> None:
        """Write addresses and counts."""
        record, programs = self.record, self.programs
        for name in ("steps", "pool", "clauses"):
            array = getattr(programs, name)
            record[name], record[f"n_{name}"] = array.ctypes.data, array.size
        for name in ("homes", "others", "query", "found", "alive"):
            record[name] = getattr(self, name).ctypes.data
        record["n_campaigns"], record["n_words"] = self.n_campaigns, self.found.size
        record["n_others"], record["query_max"] = self.others.size, self.query.size
