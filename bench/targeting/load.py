"""Adding campaigns while serving: what it does to the slowest requests.

One thread answers requests that fall due at a steady rate and, when none is due, adds campaigns, as the server's event
loop does; a second thread builds what the index asks for. A request's time runs from when it fell due, so that waiting
for a `put`, for the interpreter's lock or for the machine counts. Seconds without and with additions take turns.
"""

import gc
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.ratio import Result
from bench.targeting import table as tb
from bench.targeting import text
from bench.targeting.indexed import Indexed, ask
from bench.targeting.measure import check
from bench.targeting.references import PlainLoop
from bench.targeting.workload import Workload, generate
from exchange.audience.targets import Job

REQUESTS_PER_S: Final = 1_000
ADDED_PER_S: Final = 20  # 72,000 an hour
SECONDS: Final = 4.0  # of one turn
P99_TIMES: Final = 1.2  # demanded
CAMPAIGNS: Final = 100_000
_COARSE_NS: Final = 300_000  # longer waits sleep, the last bit only lets other threads run


class Serving:
    """An index over the first campaigns of a workload, and those still to be added."""

    def __init__(self, rate: str, campaigns: int, more: int, requests: int = 500) -> None:
        self.all = generate(rate, campaigns + more, requests)
        self.index = Indexed(part_of(self.all, campaigns), campaigns + more)
        self.added = campaigns
        self.jobs = 0
        self._pool = ThreadPoolExecutor(1)
        self._building: tuple[Job, Future[None]] | None = None
        self._ready = [text.target_of(self.all, c) for c in range(campaigns, campaigns + more)][::-1]

    def turn(self, seconds: float, adding: bool) -> NDArray[np.int64]:
        """Serve for a while. Returns each request's time in ns."""
        clock, record, queries, out = time.perf_counter_ns, self.index.record, self.index.queries, self.index.out
        gap, add_gap = 10**9 // REQUESTS_PER_S, 10**9 // ADDED_PER_S
        began = clock()
        due, end, add_due = began + gap, began + int(seconds * 1e9), began if adding else began * 2
        took, number = [], 0
        while due < end:
            now = clock()
            if now >= due:
                ask(record, queries[number % len(queries)], out)
                took.append(clock() - due)
                due, number = due + gap, number + 1
            elif now >= add_due and self._ready:
                self._add()
                add_due += add_gap
            elif self._building is not None and self._building[1].done():
                self._adopt()
            else:
                left = min(due, add_due) - now
                time.sleep((left - _COARSE_NS) / 1e9 if left > _COARSE_NS else 0)
        return np.array(took)

    def finish(self) -> None:
        """Wait for what is still being built, and adopt it."""
        if self._building is not None:
            self._adopt()
        self._pool.shutdown()

    def _add(self) -> None:
        """One more campaign; the next request may find it."""
        targets, c = self.index.targets, self.added
        targets.put(c, self._ready.pop())
        targets.alive[c >> 6] |= np.uint64(1) << np.uint64(c & 63)
        self.added += 1
        if self._building is None and (job := targets.job()) is not None:
            self._building = job, self._pool.submit(job.build)

    def _adopt(self) -> None:
        assert self._building is not None
        job, future = self._building
        future.result()
        self.index.targets.adopt(job)
        self._building = None
        self.jobs += 1

    def agrees(self) -> int:
        """Compare with the plain loop over all campaigns so far. Returns the matches; raises Disagreement."""
        work = part_of(self.all, self.added)
        self.index.encode(work)
        some = np.arange(0, work.n_requests, max(1, work.n_requests // 50))
        return check(work, {"one by one": PlainLoop(work), "the index": self.index}, some)


def part_of(work: Workload, campaigns: int) -> Workload:
    """The first campaigns of a workload, all its requests."""
    clauses = work.clause0[campaigns]
    return Workload(
        work.rate, work.clause0[: campaigns + 1], work.predicate0[: clauses + 1], work.predicates, work.values,
        work.single, work.list0, work.list_n, work.listed,
    )  # fmt: skip


def measure(rounds: int, rate: str = "medium", campaigns: int = CAMPAIGNS, seconds: float = SECONDS) -> Result:
    """p99 while campaigns are added, against p99 while none are. Raises Disagreement when the end state is wrong."""
    assert rate in tb.RATES
    serving = Serving(rate, campaigns, int(rounds * seconds * ADDED_PER_S) + 64)
    adding, quiet = [], []
    serving.turn(0.5, False)
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            quiet.append(float(np.percentile(serving.turn(seconds, False), 99)) / 1_000)
            adding.append(float(np.percentile(serving.turn(seconds, True), 99)) / 1_000)
    finally:
        gc.enable()
    serving.finish()
    serving.agrees()
    return Result(
        "targeting, campaigns added: p99",
        "the same requests, nothing added",
        "us",
        adding,
        quiet,
        P99_TIMES,
        multiple=True,
        note=f"{serving.added - campaigns} added, {serving.jobs} builds, {REQUESTS_PER_S} requests/s",
    )
