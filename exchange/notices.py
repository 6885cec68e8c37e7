"""What leaves the exchange after an auction: nurl, burl and lurl calls.

`Notices` calls the bidders' URLs: fire and forget, GET, plain http, only hosts the endpoint's config allows, no
redirects followed. Limits: `limit` notices in all, shared equally among endpoints so that one dead host cannot
crowd out the others; PER_HOST_MAX connections to one host, HOSTS_MAX hosts per endpoint, TIMEOUT_S for an answer,
QUEUE_S in the queue, URL_MAX characters. What exceeds them is dropped, and everything is counted.

Source: OpenRTB 2.6 section 4.1 and 7.1.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from exchange import client, config, metrics

URL_MAX: Final = 8_192
TIMEOUT_S: Final = 2.0
QUEUE_S: Final = 10.0
PER_HOST_MAX: Final = 8
HOSTS_MAX: Final = 16
SWEEP_S: Final = 0.25
_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,251}[A-Za-z0-9])?"
# Printable ASCII only: no spaces, no control characters, no backslash, no userinfo.
_URL: Final = re.compile(rf"http://({_NAME})(?::(\d{{1,5}}))?([/?][!-\[\]-~]*)?")
_HOST: Final = re.compile(rf"({_NAME})(?::(\d{{1,5}}))?")


class _Notice:
    """One call under way: the ticket that its pool answers."""

    __slots__ = ("endpoint", "notices", "queued_s")

    def __init__(self, notices: "Notices", endpoint: int, queued_s: float) -> None:
        """Queued at `queued_s` (loop time)."""
        self.notices = notices
        self.endpoint = endpoint
        self.queued_s = queued_s

    def answer(self, tag: int, status: int, body: bytes) -> None:
        """Count the outcome; what the answer says is of no interest."""
        self.notices.settle(self, "sent" if 200 <= status < 300 else "failed")


class Notices:
    """A bounded sender of nurl, burl and lurl calls; `counts` are those of `metrics.Counters.notices`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoints: Sequence[config.Endpoint],
        limit: int,
        counts: dict[str, int] | None = None,
    ) -> None:
        """Raises ValueError for a `notice_hosts` entry that is not "host" (any port) or "host:port"."""
        self.counts = dict.fromkeys(metrics.NOTICE_RESULTS, 0) if counts is None else counts
        self._loop = loop
        self._allowed = [_allowed(endpoint) for endpoint in endpoints]
        self._share = max(1, limit // max(1, len(endpoints)))
        self._queued = [0] * len(endpoints)
        self._pools: list[dict[tuple[str, int], client.Pool]] = [{} for _ in endpoints]
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def queued(self) -> int:
        """Notices waiting or under way."""
        return sum(self._queued)

    def queue(self, endpoint_ix: int, url: str) -> bool:
        """Call `url` soon, on behalf of an endpoint; False when it is refused or dropped. Never raises."""
        match = _URL.fullmatch(url) if len(url) <= URL_MAX else None
        if match is None:
            return self._reject("refused")
        host, port, target = match[1].lower(), int(match[2] or 80), match[3] or "/"
        allowed = self._allowed[endpoint_ix]
        if (host, port) not in allowed and (host, 0) not in allowed:
            return self._reject("refused")
        if self._closed or self._queued[endpoint_ix] >= self._share:
            return self._reject("dropped")
        pools = self._pools[endpoint_ix]
        pool = pools.get((host, port))
        if pool is None:
            if len(pools) >= HOSTS_MAX or not 0 < port < 65_536:
                return self._reject("refused")
            pool = client.Pool(self._loop, host, port, PER_HOST_MAX, endpoint_ix)
            pools[(host, port)] = pool
        if target[0] == "?":
            target = "/" + target
        target = target.partition("#")[0]
        self._queued[endpoint_ix] += 1
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_S, self._sweep)
        authority = host if port == 80 else f"{host}:{port}"
        payload = f"GET {target} HTTP/1.1\r\nHost: {authority}\r\nAccept-Encoding: identity\r\n\r\n"
        pool.send(_Notice(self, endpoint_ix, self._loop.time()), payload.encode("ascii"))
        return True

    def _reject(self, result: str) -> bool:
        """Count a notice that is not queued."""
        self.counts[result] += 1
        return False

    def settle(self, notice: _Notice, result: str) -> None:
        """A notice is done with."""
        self.counts[result] += 1
        self._queued[notice.endpoint] -= 1
        if self._empty is not None and not self._empty.done() and not self.queued:
            self._empty.set_result(None)

    def _sweep(self) -> None:
        """Enforce the time limits; runs only while something is queued."""
        self._timer = None
        before_s = self._loop.time() - QUEUE_S
        for pools in self._pools:
            for pool in pools.values():
                pool.give_up(TIMEOUT_S)
                self._drop_old(pool, before_s)
        if self.queued:
            self._timer = self._loop.call_later(SWEEP_S, self._sweep)

    def _drop_old(self, pool: client.Pool, before_s: float) -> None:
        """Drop what has waited since before then; the oldest come first."""
        while pool.waiting:
            oldest = next(iter(pool.waiting))
            if not isinstance(oldest, _Notice) or oldest.queued_s >= before_s:
                break
            pool.cancel(oldest)
            self.settle(oldest, "dropped")

    async def drain(self, timeout_s: float) -> int:
        """Wait until everything queued is sent, at most that long; cut the rest and return how many they were."""
        if self.queued:
            self._empty = self._loop.create_future()
            await asyncio.wait((self._empty,), timeout=timeout_s)
        self._closed = True
        left = self.queued
        for pools in self._pools:
            for pool in pools.values():
                pool.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return left


def _allowed(endpoint: config.Endpoint) -> set[tuple[str, int]]:
    """Return the (host, port) pairs an endpoint's notices may call; port 0 stands for any."""
    if not endpoint.notice_hosts:
        url = urlsplit(endpoint.url)
        return {((url.hostname or "").lower(), url.port or 80)}
    pairs = set()
    for entry in endpoint.notice_hosts:
        match = _HOST.fullmatch(entry)
        if match is None:
            raise ValueError(f"endpoint {endpoint.name}: notice_hosts {entry!r}: expected host or host:port")
        pairs.add((match[1].lower(), int(match[2] or 0)))
    return pairs
