"""All targets of a market and who of the campaigns is alive: what the venue asks "who may bid on this person".

`put` and `drop` change it between two requests and are seen by the very next; `match` writes the campaigns whose
target holds as bits. AUDIENCE is the record that compiled code takes: addresses and counts, as VENUE is for a sale.

The index has a large base part, a small delta part with what came since, and a tail of the newest clauses, which are
walked one by one. `job` says that a part is due, `build` makes it in any thread, `adopt` puts it in place.
"""

from typing import Any, Final

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from exchange.audience import query as qy
from exchange.audience.building import Builder, Source, Tuning, base_bits
from exchange.audience.kernel import listed, match, match_list
from exchange.audience.parts import AUDIENCE, PART, ROOM, Part, aligned, whole
from exchange.audience.program import CLAUSE, HOME, STEP, Programs, accepts
from exchange.audience.target import Target
from exchange.audience.vocabulary import Vocabulary
from exchange.memory import at

__all__ = [
    "AUDIENCE",
    "Job",
    "Targets",
    "holds_other",
    "listed",
    "match",
    "match_list",
    "match_many",
    "meets",
    "select",
]

TAIL_MAX: Final = 64  # clauses walked one by one before a part is due
DELTA_MIN: Final = 1024  # clauses of the delta part before a new base is due, or
DELTA_SHARE: Final = 64  # the base's by this
DEAD_SHARE: Final = 4  # a base is due when so much of it is dead
VERIFY_NS: Final = 96  # measured with the index out of the near caches: 60 to 130


@njit(cache=True, nogil=True)
def meets(a, home):  # type: ignore[no-untyped-def]
    """Does any clause of a target (HOME) hold for the query, whose imp is selected?"""
    steps, pool = carray(at(a.steps), a.n_steps, STEP), carray(at(a.pool), a.n_pool, np.int32)
    ends, q = carray(at(a.ends), a.n_ends, np.int64), carray(at(a.query), a.query_max, np.int64)
    clauses = carray(at(a.clauses), a.n_clauses, CLAUSE)
    for c in range(home.clause0, home.clause0 + home.n_clauses):
        if accepts(steps, pool, ends, q, np.int64(clauses[c].step0), np.int64(0), np.int64(clauses[c].n_steps)):
            return True
    return False


@njit(cache=True, nogil=True)
def select(a, imp):  # type: ignore[no-untyped-def]
    """Put the record of an imp into the query's head, and say that nothing is known of any advertiser yet."""
    q = carray(at(a.query), a.query_max, np.int64)
    record = carray(at(a.query + 8 * (q[qy.IMPS] + imp * qy.IMP_WIDTH)), qy.IMP_WIDTH, np.int64)
    head = carray(at(a.query + 8 * qy.IMP_SLOTS), qy.IMP_WIDTH, np.int64)
    for i in range(qy.IMP_WIDTH):
        head[i] = record[i]
    for slot in range(qy.ADVERTISER_SLOTS, qy.HEAD):
        q[slot] = qy.ANYTHING


@njit(cache=True, nogil=True)
def holds_other(a, number):  # type: ignore[no-untyped-def]
    """Does a target of the market's own (a reserve's, an endpoint's) hold for the selected imp?"""
    return meets(a, carray(at(a.others), a.n_others, HOME)[number])


@njit(cache=True, nogil=True)
def match_many(a, queries, starts, out, counts, hashes):  # type: ignore[no-untyped-def]
    """Match one query after the other: queries int64, one behind the other; starts int64[n + 1].

    Writes per query how many (campaign, imp) pairs match, and a hash of them that does not depend on their order:
    the sum of splitmix64's finalizer over campaign + 1 + imp * 2^32. out: scratch for `listed`.
    """
    q = carray(at(a.query), a.query_max, np.int64)
    for k in range(starts.size - 1):
        for i in range(starts[k + 1] - starts[k]):
            q[i] = queries[starts[k] + i]
        counts[k], hashes[k] = 0, np.uint64(0)
        for imp in range(q[qy.N_IMPS]):
            select(a, imp)
            n = match_list(a, out)
            counts[k] += n
            for i in range(n):
                z = np.uint64(out[i]) + np.uint64(1) + (np.uint64(imp) << np.uint64(32))
                z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                hashes[k] += z ^ (z >> np.uint64(31))


class Job:
    """A part that is due. `build` may run in any thread, beside matches and changes."""

    def __init__(self, programs: Programs, homes: NDArray[Any], base: bool, first: int, tuning: Tuning) -> None:
        self.arrays = programs.steps, programs.pool, programs.ends, programs.clauses
        self.sizes = {name: programs.vocabulary.size(name) for name in (*programs.vocabulary.ids, "hour")}
        self.homes, self.base, self.tuning = homes, base, tuning
        self.first, self.end = first, programs.n_clauses
        self.part: Part | None = None

    def build(self) -> None:
        """Make the part; in compiled code without the interpreter's lock for nearly all of the time."""
        bits, primary, owners = self._base() if self.base else self._delta()
        source = Source(*self.arrays, bits, primary, owners, self.sizes)
        self.part = Builder(source, self.tuning).part(self.end)

    def _base(self) -> tuple[NDArray[np.int64], int, NDArray[np.int32]]:
        homes = self.homes
        primary, n = -(-homes.size // 64), int(homes["n_clauses"].sum())
        extras = n - int((homes["n_clauses"] > 0).sum())
        if extras and n <= 64:  # one word holds all, though not as campaigns
            primary, extras = 0, n
        elif primary + -(-extras // 64) > self.tuning.small_words:  # a large part's rows are whole vectors
            primary = whole(primary)
        bits, owners = np.zeros(primary * 64 + extras, np.int64), np.zeros(extras, np.int32)
        base_bits(homes, primary * 64, bits, owners)
        return bits, primary, owners

    def _delta(self) -> tuple[NDArray[np.int64], int, NDArray[np.int32]]:
        bits = np.arange(self.first, self.end)
        owners = self.arrays[3]["campaign"][self.first : self.end]
        mine = self.homes
        kept = (owners >= 0) & (bits >= mine["clause0"]) & (bits < mine["clause0"] + mine["n_clauses"])
        bits, owners = bits[kept], owners[kept]
        order = np.argsort(owners, kind="stable")
        return bits[order], 0, owners[order]


class Targets:
    """The targets of all campaigns and of the market itself, compiled. `record` is AUDIENCE[1]."""

    def __init__(
        self,
        campaigns_max: int,
        others_max: int,
        query_max: int,
        tuning: Tuning | None = None,
        tail_max: int = TAIL_MAX,
    ) -> None:
        self.vocabulary = Vocabulary()
        self.programs = Programs(self.vocabulary)
        self.tuning, self.tail_max = tuning or Tuning(), tail_max
        words = whole(max(1, (campaigns_max + 63) // 64))
        self.homes, self.others = np.zeros(campaigns_max, HOME), np.zeros(max(1, others_max), HOME)
        self.query: NDArray[np.int64] = aligned(query_max, np.int64)
        self.found, self.alive = aligned(words, np.uint64), aligned(words, np.uint64)
        self.pointers, self.outs = np.zeros(query_max + ROOM, np.int64), np.zeros(query_max + ROOM, np.int64)
        self.result, self.work = aligned(8, np.uint64), aligned(8, np.uint64)
        self.stack = np.zeros(8 * 64 + 64, np.int32)
        self.n_others = 0
        self.n_campaigns = 0
        self.base: Part | None = None
        self.delta: Part | None = None
        self.parts = np.zeros(2, PART)
        self._job: Job | None = None
        self._changed: list[int] = []  # campaigns put or dropped while a job is out
        self.record = np.zeros(1, AUDIENCE)
        self.record["verify_ns"] = VERIFY_NS
        self._point()

    def put(self, campaign: int, target: Target) -> None:
        """Give a campaign its target, or another one; campaigns are numbered from 0 without gaps."""
        if not 0 <= campaign <= self.n_campaigns or campaign >= self.homes.size:
            raise ValueError(f"campaign {campaign}: expected 0 to {min(self.n_campaigns, self.homes.size - 1)}")
        home = self.programs.add(target, campaign)
        if campaign < self.n_campaigns:
            self._forget(campaign)
        self.homes[campaign] = home
        self.n_campaigns = max(self.n_campaigns, campaign + 1)
        self._point()

    def drop(self, campaign: int) -> None:
        """A campaign has ended for good: it matches nobody until it is put again."""
        if not 0 <= campaign < self.n_campaigns:
            raise ValueError(f"campaign {campaign}: expected 0 to {self.n_campaigns - 1}")
        self._forget(campaign)
        self.homes[campaign]["n_clauses"] = 0

    def widen(self, campaigns_max: int) -> None:
        """Make room for more campaigns; who took addresses of `homes`, `found` or `alive` takes them again."""
        words = whole(max(1, (campaigns_max + 63) // 64))
        homes, found, alive = np.zeros(campaigns_max, HOME), aligned(words, np.uint64), aligned(words, np.uint64)
        for old, new in ((self.homes, homes), (self.found, found), (self.alive, alive)):
            new[: old.size] = old
        self.homes, self.found, self.alive = homes, found, alive
        self._point()

    def add_other(self, target: Target) -> int:
        """Add a target of the market's own. Returns its number, for `holds_other`."""
        self.others[self.n_others] = self.programs.add(target)
        self.n_others += 1
        self._point()
        return self.n_others - 1

    def job(self) -> Job | None:
        """The part that is due, to be built and adopted; None while there is none, or one is out already."""
        end = self.programs.n_clauses
        fresh = self.programs.clauses["campaign"][self._tail() : end] >= 0
        dead = self.base is not None and self.base.dead > max(DELTA_MIN, self.base.n_bits // DEAD_SHARE)
        if self._job is not None or (int(fresh.sum()) <= self.tail_max and not dead):
            return None
        return self._due(dead)

    def adopt(self, job: Job) -> None:
        """Put a part that was built in its place; what changed meanwhile stays as it is now."""
        if job is not self._job or job.part is None:
            raise ValueError("adopt: expected the job given out last, built")
        if job.base:
            self.base, self.delta = job.part, None
        else:
            self.delta = job.part
        for campaign in self._changed:
            job.part.forget(campaign)
        self._job = None
        self._changed = []
        parts = [part for part in (self.base, self.delta) if part is not None]
        words = max(part.valid.size for part in parts)
        if self.result.size < words:
            self.result, self.work = aligned(whole(words), np.uint64), aligned(whole(words + 1), np.uint64)
            self.stack = np.zeros(whole(words) * 64 + 64, np.int32)
        for k, part in enumerate(parts):
            self.parts[k] = part.record
        self.record["n_parts"] = len(parts)
        self._point()

    def give_up(self, job: Job) -> None:
        """A part could not be built: what it was to hold stays in the tail until the next `job`."""
        if job is self._job:
            self._job = None
            self._changed = []

    def catch_up(self) -> None:
        """Build and adopt the part that is due, if one is: where nobody waits."""
        job = self.job()
        if job is not None:
            job.build()
            self.adopt(job)

    def settle(self) -> None:
        """Build and adopt a base of all there is, at once: for loading."""
        self._job = None
        self.programs.trim()
        self._point()
        if self.n_campaigns:
            job = self._due(True)
            job.build()
            self.adopt(job)

    def sizes(self) -> dict[str, int]:
        """Bytes of memory by what they are for."""
        programs = self.programs
        sizes = {name: getattr(programs, name).nbytes for name in ("steps", "pool", "ends", "clauses")}
        scratch = (self.result, self.work, self.stack, self.pointers, self.outs, self.query)
        sizes["campaigns"] = self.homes.nbytes + self.found.nbytes + self.alive.nbytes
        sizes["scratch"] = sum(array.nbytes for array in scratch)
        sizes["base"] = 0 if self.base is None else self.base.nbytes()
        sizes["delta"] = 0 if self.delta is None else self.delta.nbytes()
        return sizes

    def _tail(self) -> int:
        """The first clause that is in no part."""
        last = self.delta or self.base
        return 0 if last is None else last.end

    def _forget(self, campaign: int) -> None:
        for part in (self.base, self.delta):
            if part is not None:
                part.forget(campaign)
        if self._job is not None:
            self._changed.append(campaign)

    def _due(self, base: bool) -> Job:
        """Give out a job: a new base if asked for or if the delta would be too large, else a new delta."""
        programs, end = self.programs, self.programs.n_clauses
        first = 0 if self.base is None else self.base.end
        most = 0 if self.base is None else max(DELTA_MIN, self.base.n_bits // DELTA_SHARE)
        base = base or end - first > most
        if base:
            homes = self.homes[: self.n_campaigns].copy()
        else:
            homes = self.homes[np.maximum(programs.clauses["campaign"][first:end], 0)]
        self._changed = []
        self._job = Job(programs, homes, base, first, self.tuning)
        return self._job

    def _point(self) -> None:
        """Write addresses and counts."""
        record, programs = self.record, self.programs
        for name in ("steps", "pool", "ends", "clauses"):
            record[name] = getattr(programs, name).ctypes.data
            record[f"n_{name}"] = getattr(programs, f"n_{name}")
        for name in (
            "homes",
            "others",
            "query",
            "found",
            "alive",
            "parts",
            "pointers",
            "outs",
            "result",
            "work",
            "stack",
        ):
            record[name] = getattr(self, name).ctypes.data
        record["n_campaigns"], record["n_words"] = self.n_campaigns, max(1, -(-self.n_campaigns // 64))
        record["n_others"], record["query_max"] = self.others.size, self.query.size
        record["n_stack"], record["tail0"] = self.stack.size, self._tail()
