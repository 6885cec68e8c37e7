"""Ask remote bidders over HTTP, all at once, within one deadline.

`Fanout.ask` sends the same body to several endpoints and calls `done(answers)` exactly once: when all have
answered, or at the deadline. One timer per auction, no task per call; an auction holds no reference cycle, so
memory does not wait for the garbage collector. A bidder that is slow, dead, garbled or hostile costs its own bid.

Limits per endpoint: `max_in_flight` calls (as many connections), `qps` calls a second with bursts of BURST_S;
beyond them it is not asked. After the deadline a connection may still deliver its late answer, which is counted
and dropped; LATE_MAX_S after the longest deadline it is closed. Until then it counts as in flight, so that a
hung bidder is soon no longer asked. The rest of the limits are the client's (`exchange.client`).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from operator import attrgetter
from time import perf_counter
from typing import Final
from urllib.parse import urlsplit

import msgspec

from exchange import client, config, metrics
from exchange.openrtb.codes import BAD_ANSWER, NO_BID, NOT_ASKED, TIMEOUT, UNREACHABLE

OK: Final = 0  # HTTP 200 with a body; whether it is a bid response is for `openrtb.screen` to say
LATE_MAX_S: Final = 2.0
BURST_S: Final = 0.1  # of its qps an endpoint may get this share of a second at once
SWEEP_S: Final = 0.25
_log = logging.getLogger(__name__)
_by_endpoint = attrgetter("endpoint")


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What one endpoint said: `result` is OK, or the fate code NO_BID, TIMEOUT, BAD_ANSWER, UNREACHABLE or
    NOT_ASKED; `body` is empty unless OK."""

    endpoint: int
    result: int
    body: bytes


Done = Callable[[list[Answer]], None]


class Remote:
    """One endpoint: its connections, its limits, its counters."""

    __slots__ = ("_burst_s", "_free_at_s", "_gap_s", "counters", "head", "max_in_flight", "name", "pool")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ix: int,
        endpoint: config.Endpoint,
        counters: metrics.EndpointCounters,
    ) -> None:
        """Prepare the head of every request; raises ValueError for a URL without a host."""
        url = urlsplit(endpoint.url)
        if url.scheme != "http" or not url.hostname or "@" in url.netloc:
            raise ValueError(f"endpoint {endpoint.name}: url {endpoint.url!r}: expected http://host:port/path")
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self.head = (
            f"POST {target} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
            "x-openrtb-version: 2.6\r\nAccept-Encoding: identity\r\nContent-Length: "
        ).encode("ascii")
        self.name = endpoint.name
        self.max_in_flight = endpoint.max_in_flight
        self.pool = client.Pool(loop, url.hostname, url.port or 80, endpoint.max_in_flight, ix)
        self.counters = counters
        self._gap_s = 1 / endpoint.qps if endpoint.qps else 0.0
        self._burst_s = max(BURST_S, self._gap_s) - self._gap_s
        self._free_at_s = 0.0

    def admits(self, now_s: float) -> bool:
        """True when one more call is within max_in_flight and qps; then it counts."""
        if self.pool.in_flight >= self.max_in_flight:
            return False
        if self._gap_s:
            if self._free_at_s > now_s + self._burst_s:
                return False
            self._free_at_s = max(self._free_at_s, now_s) + self._gap_s
        return True


class _Auction:
    """The calls of one auction: a ticket with the pools, held by them and by its timer alone."""

    __slots__ = ("_answers", "_asked_s", "_done", "_pending", "_remotes", "timer")

    def __init__(self, remotes: list[Remote], pending: set[int], asked_s: float, done: Done) -> None:
        """Wait for the endpoints in `pending`."""
        self._remotes = remotes
        self._pending = pending
        self._asked_s = asked_s
        self._done: Done | None = done
        self._answers: list[Answer] = []
        self.timer: asyncio.TimerHandle | None = None

    def answer(self, tag: int, status: int, body: bytes) -> None:
        """One endpoint has answered, perhaps too late."""
        counters = self._remotes[tag].counters
        if status > 0:
            metrics.observe(counters.latency, int((perf_counter() - self._asked_s) * 1e6))
        if self._done is None:
            counters.late += status > 0
            return
        if status == 200 and body:
            result = OK
            counters.ok += 1
        elif status == 204 or status == 200:
            result, body = NO_BID, b""
            counters.no_bid += 1
        elif status == client.UNREACHABLE:
            result, body = UNREACHABLE, b""
            counters.unreachable += 1
        else:
            result, body = BAD_ANSWER, b""
            counters.bad_answer += 1
        self.settle(Answer(tag, result, body))

    def settle(self, answer: Answer) -> None:
        """One endpoint less to wait for."""
        self._answers.append(answer)
        self._pending.discard(answer.endpoint)
        if not self._pending:
            self._finish()

    def expire(self) -> None:
        """The deadline: whoever has not answered is out."""
        for tag in self._pending:
            remote = self._remotes[tag]
            remote.pool.cancel(self)
            remote.counters.timeout += 1
            self._answers.append(Answer(tag, TIMEOUT, b""))
        self._finish()

    def _finish(self) -> None:
        """Hand the answers over, once, and let go of everything."""
        done, self._done = self._done, None
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        answers, self._answers = self._answers, []
        answers.sort(key=_by_endpoint)
        if done is None:
            return
        try:
            done(answers)
        except Exception:  # noqa: BLE001 - it runs inside a bidder's connection, which is not to blame
            _log.exception("an auction failed after its remote bidders had answered")


class Fanout:
    """The remote endpoints of a config; indices are those of `endpoints`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoints: Sequence[config.Endpoint],
        counters: Sequence[metrics.EndpointCounters] | None = None,
    ) -> None:
        """Nothing is connected yet; `counters` are those of `metrics.Counters.endpoints`."""
        if counters is None:
            counters = [metrics.EndpointCounters() for _ in endpoints]
        self._loop = loop
        self.remotes = [Remote(loop, ix, *each) for ix, each in enumerate(zip(endpoints, counters, strict=True))]
        self._longest_s = 0.0  # deadline so far
        self._timer: asyncio.TimerHandle | None = loop.call_later(SWEEP_S, self._sweep)

    def ask(self, endpoint_ixs: Sequence[int], body: bytes, deadline_s: float, done: Done) -> None:
        """POST `body` to these endpoints (each at most once) and call `done` within `deadline_s` from now.

        `done` gets one Answer per endpoint in ascending order. It is called before `ask` returns when nobody can
        be asked. What it raises is logged.
        """
        remotes, asked_s = self.remotes, perf_counter()
        pending = set(endpoint_ixs)
        auction = _Auction(remotes, pending, asked_s, done)
        tail = b"%d\r\n\r\n%b" % (len(body), body)
        if deadline_s > 0:
            self._longest_s = max(self._longest_s, deadline_s)
            auction.timer = self._loop.call_later(deadline_s, auction.expire)
        for ix in sorted(pending):
            remote = remotes[ix]
            if deadline_s > 0 and remote.admits(asked_s):
                remote.counters.calls += 1
                remote.pool.send(auction, remote.head + tail)
            else:
                remote.counters.not_asked += 1
                auction.settle(Answer(ix, NOT_ASKED, b""))
        if not endpoint_ixs:
            auction.expire()

    def warm(self, connections: int = 1) -> None:
        """Connect to every endpoint ahead of the first auction."""
        for remote in self.remotes:
            remote.pool.warm(connections)

    def _sweep(self) -> None:
        """Close connections whose answer is later than LATE_MAX_S beyond the longest deadline."""
        self._timer = self._loop.call_later(SWEEP_S, self._sweep)
        for remote in self.remotes:
            remote.pool.give_up(self._longest_s + LATE_MAX_S)

    def close(self) -> None:
        """Cut every connection; auctions under way get UNREACHABLE for what they still wait for."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for remote in self.remotes:
            remote.pool.close()
