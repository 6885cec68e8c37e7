"""The HTTP server: asyncio protocols on uvloop around one synchronous handler.

`serve(handler, config.server, counters)` accepts connections and calls `handler(request)` for each request;
the handler calls `request.reply(status, body, ...)` exactly once, at once or later. A connection has one request
with the handler at a time; pipelined ones wait their turn, so replies leave in order.

Limits: `connections_max` (one more gets 503), QUEUE_MAX pipelined requests before reading stops, BACKLOG
connections not yet accepted, `read_timeout_ms` from a message's first byte to its last (408), `idle_timeout_ms`
between messages, `read_timeout_ms` for a client that does not read its answers (cut off), LINGER_MS for a
refused client to stop sending. One timer per SWEEP_MS watches them all, so each is late by up to two sweeps.
How long a handler may take is the handler's business.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from exchange import config, http, metrics

SWEEP_MS: Final = 250
LINGER_MS: Final = 1_000
LINGER_MAX: Final = 64  # refused connections above connections_max that may linger; more are cut off
QUEUE_MAX: Final = 32
BACKLOG: Final = 1_024
Handler = Callable[[http.Request], None]
_log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One client. Made by a `Listener`; of interest outside only as the `Carrier` of its requests."""

    __slots__ = (
        "_busy", "_choked", "_continue", "_gone", "_leaving", "_listener", "_n", "_n_seen", "_parser", "_phase",
        "_pumping", "_queue", "_ticks", "_transport",
    )  # fmt: skip

    def __init__(self, listener: "Listener") -> None:
        """Start before the transport is known."""
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._parser: http.RequestParser | None = None
        self._queue: deque[http.Request] = deque()  # pipelined requests that wait their turn
        self._busy = False  # a request is with the handler
        self._choked = False  # the client does not read what we write
        self._continue = False  # a 100 Continue is owed once earlier answers are out
        self._gone = False  # the client has half-closed: answer what it asked, then close
        self._leaving = False  # the last answer is written: read and ignore
        self._pumping = False
        self._n = 0  # requests so far
        self._n_seen = self._ticks = 0  # of the sweep
        self._phase = ""

    # ---- called by the transport ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse it when there are too many."""
        listener = self._listener
        self._transport = cast(asyncio.Transport, transport)
        limits = listener.limits
        self._parser = http.RequestParser(limits.header_max_bytes, limits.body_max_bytes, self._take, self._go_on)
        n = len(listener.connections)
        listener.connections.add(self)
        if n >= limits.connections_max + LINGER_MAX:
            self._transport.abort()
        elif n >= limits.connections_max or listener.draining:
            self._parser.refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; a reply that is still to come is dropped."""
        self._transport = None
        self._queue.clear()
        if self._parser is not None:
            self._parser.close()
        self._listener.forget(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._parser is not None and not self._leaving:
            self._parser.feed(data)

    def eof_received(self) -> bool:
        """The client has said all it will: keep the way back open while an answer is due."""
        self._gone = True
        return self._busy or bool(self._queue)

    def pause_writing(self) -> None:
        """The client does not read: hand out no more requests."""
        self._choked = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._choked = False
        self._pump()

    # ---- called by the parser ------------------------------------------------------------------------------

    def _take(self, request: http.Request) -> None:
        """A request is complete: handle it now, or after the ones before it."""
        self._n += 1
        if self._busy or self._queue or self._choked:
            self._queue.append(request)
            if len(self._queue) >= QUEUE_MAX and self._parser is not None:
                self._parser.paused = True
                if self._transport is not None:
                    self._transport.pause_reading()
        else:
            self._hand_over(request)

    def _go_on(self) -> None:
        """Expect: 100-continue, owed after the answers before it."""
        self._continue = True
        self._continue_if_due()

    def _continue_if_due(self) -> None:
        """Tell the client to send the body it announced."""
        if self._continue and not self._busy and not self._queue:
            self._continue = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(http.CONTINUE)

    # ---- requests out, answers back ------------------------------------------------------------------------

    def _hand_over(self, request: http.Request) -> None:
        """Give a request to the handler, or refuse it."""
        self._busy = True
        request.carrier = self
        if request.refused:
            text = request.reason.encode("ascii", "replace") + b"\n"
            request.reply(request.refused, text, http.TEXT, http.refusal_headers(request.refused))
            return
        try:
            self._listener.handler(request)
        except Exception:  # noqa: BLE001 - a fault in one request must not end the others' connections
            self._listener.counters.handler_faults += 1
            _log.exception("the handler failed on %r", request.path)
            if not request.answered:
                request.reply(500, b"internal error\n", http.TEXT)

    def answer(
        self, request: http.Request, status: int, body: bytes, content_type: bytes, headers: http.Headers
    ) -> None:
        """Write the answer to the request that is with the handler; then hand out the next."""
        more = request.keep_alive and not (self._listener.draining and not self._queue)
        data = http.response(status, body, content_type, headers, more)
        self._listener.counters.http_responses[status] += 1
        self._busy = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data[: data.index(b"\r\n\r\n") + 4] if request.head_only else data)
        if not more:
            self._leave(transport, linger=request.refused != 0)
        elif self._queue or self._continue or self._gone:
            self._pump()

    def _pump(self) -> None:
        """Hand out waiting requests, one after the other, as far as the handler answers at once."""
        if self._pumping:
            return
        self._pumping = True
        while not (self._busy or self._choked or self._leaving):
            if self._queue:
                self._hand_over(self._queue.popleft())
            elif self._parser is not None and self._parser.paused:
                self._parser.paused = False
                if self._transport is not None and not self._transport.is_closing():
                    self._transport.resume_reading()
                self._parser.resume()
            else:
                break
        self._pumping = False
        self._continue_if_due()
        if self._gone and not self._busy and not self._queue and self._transport is not None:
            self._transport.close()

    def _leave(self, transport: asyncio.Transport, linger: bool) -> None:
        """Close after what is written. A refused client may still be sending: closing at once would reset
        the connection and take our answer with it, so its bytes are read and ignored for LINGER_MS."""
        self._leaving = True
        self._queue.clear()
        if self._parser is not None:
            self._parser.finished = True
        if not linger or self._gone or not transport.can_write_eof():
            transport.close()
            return
        if self._parser is not None and self._parser.paused:
            transport.resume_reading()
        transport.write_eof()

    # ---- called by the listener ----------------------------------------------------------------------------

    def sweep(self) -> None:
        """Enforce the time limits; called every SWEEP_MS."""
        transport, parser, listener = self._transport, self._parser, self._listener
        if transport is None or parser is None:
            return
        if self._leaving or transport.is_closing():
            unsent = transport.get_write_buffer_size()
            phase, limit = "leaving", listener.read_ticks if unsent else listener.linger_ticks
        elif self._choked:
            phase, limit = "choked", listener.read_ticks
        elif self._busy or self._queue:
            phase, limit = "busy", 0
        elif parser.partial:
            phase, limit = "reading", listener.read_ticks
        else:
            phase, limit = "idle", listener.idle_ticks
        if phase != self._phase or self._n != self._n_seen:
            self._phase, self._n_seen, self._ticks = phase, self._n, 0
            return
        self._ticks += 1
        if not limit or self._ticks <= limit:
            return
        self._ticks = 0
        if phase == "reading":
            parser.refuse(408, "the request took too long")
        elif phase == "idle":
            transport.close()
        else:
            transport.abort()

    def wind_down(self) -> None:
        """Close now if nothing is under way; otherwise after the last answer."""
        if self._transport is not None and self._parser is not None:
            if not (self._busy or self._queue or self._parser.partial or self._leaving):
                self._transport.close()

    def cut(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()


class Listener:
    """An open port. `address` is host:port as bound; `connections` are the open ones."""

    def __init__(self, handler: Handler, limits: config.Server, counters: metrics.Counters) -> None:
        """Used by `serve`."""
        self.handler = handler
        self.limits = limits
        self.counters = counters
        self.connections: set[Connection] = set()
        self.draining = False
        self.host, self.port = split_address(limits.address)
        self.read_ticks = -(-limits.read_timeout_ms // SWEEP_MS)
        self.idle_ticks = -(-limits.idle_timeout_ms // SWEEP_MS)
        self.linger_ticks = LINGER_MS // SWEEP_MS
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.AbstractServer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    @property
    def address(self) -> str:
        """host:port, as clients reach it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def start(self, reuse_port: bool = False) -> None:
        """Bind and listen; raises OSError when the address is taken."""
        server = await self._loop.create_server(
            lambda: Connection(self), self.host, self.port, backlog=BACKLOG, reuse_port=reuse_port
        )
        self._server = server
        self.port = server.sockets[0].getsockname()[1]
        self._timer = self._loop.call_later(SWEEP_MS / 1000, self._sweep)

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""
        self.connections.discard(connection)
        if self._empty is not None and not self.connections and not self._empty.done():
            self._empty.set_result(None)

    def _sweep(self) -> None:
        """Enforce every connection's time limits."""
        self._timer = self._loop.call_later(SWEEP_MS / 1000, self._sweep)
        for connection in tuple(self.connections):
            connection.sweep()

    async def drain(self, timeout_ms: int) -> int:
        """Stop accepting, let what is under way finish, close the rest; return how many had to be cut off.

        Each connection gets its last answer with Connection: close. Calling it again does no harm.
        """
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.wind_down()
        if self.connections:
            self._empty = self._loop.create_future()
            await asyncio.wait((self._empty,), timeout=timeout_ms / 1000)
        left = tuple(self.connections)
        for connection in left:
            connection.cut()
        if left and self._empty is not None:
            await asyncio.wait((self._empty,), timeout=SWEEP_MS / 1000)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return len(left)


def split_address(address: str) -> tuple[str, int]:
    """Split "host:port" or "[v6]:port"; raises ValueError for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535 or not host:
        raise ValueError(f"address {address!r}: expected host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def serve(
    handler: Handler,
    limits: config.Server,
    counters: metrics.Counters | None = None,
    reuse_port: bool = False,
) -> Listener:
    """Listen on `limits.address` in the running loop (uvloop outside of tests); raises OSError when taken."""
    listener = Listener(handler, limits, metrics.Counters() if counters is None else counters)
    await listener.start(reuse_port)
    return listener
