"""Open-loop load: requests leave at the times they are meant to, however slowly answers come.

A closed-loop client waits for an answer before it asks again, so a stalled server is asked less and looks better
than it is (coordinated omission). Here every request has an *intended* time, drawn before anything is sent, and
latency counts from it: waiting for a connection, or for this process, is part of it. What cannot be sent because
`in_flight_max` requests are under way is counted as unsent; what is not answered within PATIENCE_S is counted as
failed, with a latency of PATIENCE_S at least. Source: Tene (2013), How NOT to Measure Latency.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.client import Pool

PATIENCE_S: Final = 5.0
LEAD_S: Final = 0.02  # between the start and the first request
STEP_S: Final = 0.0002  # requests that are due within one step leave together
POLL_S: Final = 0.05
REQUESTS_MAX: Final = 20_000_000
CONNECTIONS_MAX: Final = 256
IN_FLIGHT_MAX: Final = 4_096
ARRIVALS: Final = ("poisson", "even")

Answered = Callable[[int, int, bytes], None]  # (request number, HTTP status or a negative code of client, body)
Progress = Callable[[float, float], None]


class Load(Struct):
    """What came of a load; times in seconds. `latency_s` has one entry per sent request, failed ones included."""

    intended: int
    sent: int
    unsent: int  # too many in flight already
    answered: int
    failed: int  # no HTTP answer
    statuses: dict[int, int]
    elapsed_s: float  # first intended time to last answer
    latency_s: NDArray[np.float64]  # from the intended time
    lag_s: NDArray[np.float64]  # intended time to the time it was handed to a connection

    def latency_ms(self, percent: float) -> float:
        """A percentile of the latency, in ms, never below the true one; 0 when nothing was sent."""
        if not self.latency_s.size:
            return 0.0
        return float(np.percentile(self.latency_s, percent, method="higher")) * 1e3


def arrivals(seconds: float, qps: float, seed: int, kind: str = "poisson") -> NDArray[np.float64]:
    """Intended times in s from the start, ascending; round(seconds * qps) of them.

    poisson: as many uniform draws, sorted, which is a Poisson process given its count. even: at equal distances.
    Raises ValueError for more than REQUESTS_MAX, or another kind.
    """
    n = round(seconds * qps)
    if not 0 <= n <= REQUESTS_MAX:
        raise ValueError(f"{n} requests: expected 0 to {REQUESTS_MAX}")
    if kind == "even":
        return np.arange(n) / qps
    if kind != "poisson":
        raise ValueError(f"arrivals {kind!r}: expected one of {', '.join(ARRIVALS)}")
    return np.sort(np.random.default_rng(seed).uniform(0, seconds, n))


class _Ticket:
    """One request under way."""

    __slots__ = ("due_s", "generator", "t")

    def __init__(self, generator: "Generator", t: int, due_s: float) -> None:
        self.generator = generator
        self.t = t
        self.due_s = due_s

    def answer(self, tag: int, status: int, body: bytes) -> None:
        """Its answer, or that none came."""
        self.generator.settle(self, status, body)


class Generator:
    """Sends request t at its intended time. `request(t)` gives the body, `answered(t, status, body)` hears the rest."""

    def __init__(
        self,
        address: str,
        times_s: NDArray[np.float64],
        request: Callable[[int], bytes],
        answered: Answered | None = None,
        path: str = "/openrtb2/auction",
        connections_max: int = CONNECTIONS_MAX,
        in_flight_max: int = IN_FLIGHT_MAX,
    ) -> None:
        """`address` is host:port. Nothing is sent before `run`."""
        self.times_s = times_s
        self.request = request
        self.answered = answered
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: "
        self.connections_max, self.in_flight_max = connections_max, in_flight_max
        self.next = self.sent = self.unsent = self.failed = 0
        self.statuses: dict[int, int] = {}
        n = len(times_s)
        self.latency_s = np.zeros(n)
        self.lag_s = np.zeros(n)
        self.settled = 0
        self.began_s = self.last_s = 0.0
        self._stopped = threading.Event()

    async def run(self, progress: Progress | None = None) -> Load:
        """Send everything and wait for the answers, PATIENCE_S beyond the last request at most."""
        loop = asyncio.get_running_loop()
        self.pool = Pool(loop, self.host, self.port, self.connections_max, 0)
        self.pool.warm(min(8, self.connections_max))
        self.began_s = self.last_s = time.perf_counter() + LEAD_S
        pacer = threading.Thread(target=self._pace, args=(loop,), name="pacer", daemon=True)
        pacer.start()
        n = len(self.times_s)
        try:
            while self.next < n or self.settled < self.sent:
                await asyncio.sleep(POLL_S)
                self.pool.give_up(PATIENCE_S)
                self._drop_waiting()
                if progress is not None:
                    progress(self.next, n)
        finally:
            self._stopped.set()
            self.pool.close()
        pacer.join()
        return self._load()

    def _pace(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own: wake the loop when the next request is due, as its timers have only milliseconds."""
        due_s = 0.0
        for time_s in self.times_s.tolist():
            if time_s < due_s:
                continue  # leaves together with the one before
            wait_s = self.began_s + time_s - time.perf_counter()
            if wait_s > 0 and self._stopped.wait(wait_s) or self._stopped.is_set():
                return
            loop.call_soon_threadsafe(self._send_due)
            due_s = time_s + STEP_S
        self._stopped.wait(STEP_S)
        if not self._stopped.is_set():
            loop.call_soon_threadsafe(self._send_due)

    def _send_due(self) -> None:
        """Send whatever is due, or will be within one step."""
        until_s = time.perf_counter() - self.began_s + STEP_S
        while self.next < len(self.times_s) and self.times_s[self.next] <= until_s:
            t = self.next
            self.next += 1
            if self.pool.in_flight >= self.in_flight_max:
                self.unsent += 1
                continue
            due_s = self.began_s + float(self.times_s[t])
            body = self.request(t)
            self.lag_s[self.sent] = max(0.0, time.perf_counter() - due_s)
            self.sent += 1
            self.pool.send(_Ticket(self, t, due_s), b"%b%d\r\n\r\n%b" % (self.head.encode(), len(body), body))

    def _drop_waiting(self) -> None:
        """Give up on those who wait for a connection for too long; the oldest come first."""
        before_s = time.perf_counter() - PATIENCE_S
        while self.pool.waiting:
            oldest = next(iter(self.pool.waiting))
            if not isinstance(oldest, _Ticket) or oldest.due_s > before_s:
                break
            self.pool.cancel(oldest)
            self.settle(oldest, -1, b"")

    def settle(self, ticket: _Ticket, status: int, body: bytes) -> None:
        """A request has its answer, or will get none (status below 0)."""
        now_s = time.perf_counter()
        latency_s = max(0.0, now_s - ticket.due_s)
        if status > 0:
            self.statuses[status] = self.statuses.get(status, 0) + 1
        else:
            self.failed += 1
            latency_s = max(latency_s, PATIENCE_S)
        self.latency_s[self.settled] = latency_s
        self.settled += 1
        self.last_s = now_s
        if self.answered is not None:
            self.answered(ticket.t, status, body)

    def _load(self) -> Load:
        """The outcome."""
        return Load(
            intended=len(self.times_s),
            sent=self.sent,
            unsent=self.unsent,
            answered=self.settled - self.failed,
            failed=self.failed,
            statuses=dict(sorted(self.statuses.items())),
            elapsed_s=self.last_s - self.began_s,
            latency_s=self.latency_s[: self.settled],
            lag_s=self.lag_s[: self.sent],
        )
