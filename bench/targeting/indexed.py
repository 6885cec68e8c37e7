"""The measured thing: exchange.audience.targets.Targets with the workload's campaigns, asked one request at a time."""

import time
from typing import Any, Final

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from bench.targeting import text
from bench.targeting.workload import Workload
from exchange.audience.query import query_of
from exchange.audience.targets import Targets, match_list, select
from exchange.memory import at

QUERY_MAX: Final = 1_024
SLACK: Final = 64  # entries that `match_list` wants behind the last campaign


@njit(cache=True, nogil=True)
def ask(a, query, out):  # type: ignore[no-untyped-def]
    """Copy a query into its place, select its imp, write who matches. Returns how many."""
    q = carray(at(a.query), a.query_max, np.int64)
    for i in range(query.size):
        q[i] = query[i]
    select(a, 0)
    return match_list(a, out)


@njit(cache=True, nogil=True)
def ask_many(a, queries, first, which, out):  # type: ignore[no-untyped-def]
    """`ask` for several requests; query r is queries[first[r] : first[r + 1]]. Returns how many match, over all."""
    q = carray(at(a.query), a.query_max, np.int64)
    n = 0
    for r in which:
        for i in range(first[r], first[r + 1]):
            q[i - first[r]] = queries[i]
        select(a, 0)
        n += match_list(a, out)
    return n


class Indexed:
    """The targets of a workload. `match(r)` returns how many match; their numbers are in `out`."""

    def __init__(self, work: Workload, campaigns_max: int = 0) -> None:
        self.targets = Targets(max(campaigns_max, work.n_campaigns), 1, QUERY_MAX)
        began = time.perf_counter()
        for campaign in range(work.n_campaigns):
            self.targets.put(campaign, text.target_of(work, campaign))
        self.put_s = time.perf_counter() - began
        set_alive(self.targets, work.n_campaigns)
        began = time.perf_counter()
        self.targets.settle()
        self.settle_s = time.perf_counter() - began
        self.out = np.zeros(self.targets.homes.size + SLACK, np.int32)
        self.encode(work)

    def encode(self, work: Workload) -> None:
        """Encode the requests with the vocabulary as it is now."""
        vocabulary = self.targets.vocabulary
        self.queries: list[NDArray[np.int64]] = []
        for request in range(work.n_requests):
            person, imp = text.view_of(text.request_of(work, request))
            self.queries.append(query_of(vocabulary, person, [imp]))
        self.packed = np.concatenate(self.queries)
        self.first = np.concatenate(([0], np.cumsum([query.size for query in self.queries])))
        self.record: Any = self.targets.record[0]

    def match(self, request: int) -> int:
        """Find who matches a request."""
        return ask(self.record, self.queries[request], self.out)  # type: ignore[no-any-return]

    def match_many(self, requests: NDArray[np.int64]) -> int:
        """Find who matches each of several requests. Returns the sum of how many do."""
        return ask_many(self.record, self.packed, self.first, requests, self.out)  # type: ignore[no-any-return]

    def times_ns(self, times: int = 1) -> NDArray[np.int64]:
        """What each request takes, called from Python one at a time, in ns."""
        clock, record, queries, out = time.perf_counter_ns, self.record, self.queries, self.out
        found = []
        for query in queries * times:
            began = clock()
            ask(record, query, out)
            found.append(clock() - began)
        return np.array(found)

    @property
    def memory_mb(self) -> float:
        """All that was compiled: programs, index, scratch."""
        return sum(self.targets.sizes().values()) / 1e6


def set_alive(targets: Targets, n: int) -> None:
    """Nobody is paused."""
    targets.alive[:] = 0
    targets.alive[: n // 64] = ~np.uint64(0)
    if n % 64:
        targets.alive[n // 64] = (np.uint64(1) << np.uint64(n % 64)) - np.uint64(1)
