"""The HTTP/1.1 client: keep-alive connections to one host, callbacks, no task per call.

A `Pool` sends one request per connection at a time and re-uses the connection that came free last. Who asks is a
`Ticket`: it gets exactly one `answer(tag, status, body)`, where status is HTTP's or one of the negative codes
below. Whatever a server does (dribble, cut off, answer twice, lie about lengths) ends with its own connection.

Limits: `connections_max` per pool, CONNECT_TIMEOUT_S to connect, HEAD_MAX_BYTES of headers, ANSWER_MAX_BYTES of
body (packed or not), twice that on the wire. A host that fails to connect, or takes connections and answers
none, is left alone for BACK_OFF_S, doubled each time up to BACK_OFF_MAX_S. How many tickets may wait, and for
how long, the owner decides with `in_flight`, `cancel` and `give_up`.

An answer that arrives unasked while a connection rests closes it; one that arrives as the answer to the next
request cannot be told by HTTP: the caller compares ids. Redirects are answers like any other.
"""

import asyncio
import zlib
from typing import Final, Protocol, cast

import httptools

UNREACHABLE: Final = -1  # not connected, or closed without a byte of an answer
MALFORMED: Final = -2  # not HTTP, cut short, broken gzip
TOO_LARGE: Final = -3
GAVE_UP: Final = -4  # the owner's patience ended
ANSWER_MAX_BYTES: Final = 262_144
HEAD_MAX_BYTES: Final = 16_384
CONNECT_TIMEOUT_S: Final = 1.0
BACK_OFF_S: Final = 0.05
BACK_OFF_MAX_S: Final = 2.0
PLAIN_HEAD_MAX: Final = 1_024  # longer heads go through the parser
_PLAIN: Final = b"HTTP/1.1 200 OK\r\n"
_GZIP: Final = b"\x1f\x8b"  # JSON never begins so, which saves looking at every header


class Ticket(Protocol):
    """One request under way; compared by identity."""

    def answer(self, tag: int, status: int, body: bytes) -> None:
        """Take the answer of the pool with this tag; called exactly once, must not raise."""


class Pool:
    """Connections to one host; `tag` tells the owner's pools apart."""

    __slots__ = (
        "_back_off_s", "_closed", "_connecting", "_retry_at_s", "_tasks", "connections", "connections_max",
        "host", "idle", "loop", "port", "tag", "waiting",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int, connections_max: int, tag: int) -> None:
        """Nothing is connected until something is sent."""
        self.loop = loop
        self.host = host
        self.port = port
        self.connections_max = connections_max
        self.tag = tag
        self.connections: set[Connection] = set()
        self.idle: list[Connection] = []  # the last one is used next
        self.waiting: dict[Ticket, bytes] = {}  # in the order they came
        self._connecting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._back_off_s = 0.0
        self._retry_at_s = 0.0
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Tickets that wait for a connection or an answer, forgotten ones on busy connections included."""
        return len(self.connections) - len(self.idle) + len(self.waiting)

    def send(self, ticket: Ticket, payload: bytes) -> None:
        """Send a whole request; `ticket.answer` may be called before this returns."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.closing:
                connection.start(ticket, payload)
                return
        self.waiting[ticket] = payload
        self._connect_more()

    def cancel(self, ticket: Ticket) -> bool:
        """Take a ticket back that still waits; it gets no answer then. False if it was sent already."""
        return self.waiting.pop(ticket, None) is not None

    def give_up(self, patience_s: float) -> None:
        """Close connections whose answer is owed for longer than that; their tickets get GAVE_UP."""
        before_s = self.loop.time() - patience_s
        for connection in tuple(self.connections):
            if connection.ticket is not None and connection.asked_s < before_s:
                connection.fail(GAVE_UP)

    def warm(self, connections: int) -> None:
        """Connect ahead of need, up to the limit."""
        wanted = min(connections, self.connections_max) - len(self.connections) - self._connecting
        for _ in range(wanted):
            self._connect()

    def close(self) -> None:
        """Cut every connection; tickets under way get UNREACHABLE."""
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        for connection in tuple(self.connections):
            connection.fail(UNREACHABLE)
        self._fail_waiting()

    # ---- connections come and go ---------------------------------------------------------------------------

    def _connect_more(self) -> None:
        """Open connections for those who wait; if none can come, tell them."""
        if not self._closed and self.loop.time() >= self._retry_at_s:
            wanted = min(
                len(self.waiting) - self._connecting,
                self.connections_max - len(self.connections) - self._connecting,
            )
            for _ in range(wanted):
                self._connect()
        if not self._connecting and not self.connections:
            self._fail_waiting()

    def _connect(self) -> None:
        """Start one connection."""
        self._connecting += 1
        task = self.loop.create_task(self._open())
        self._tasks.add(task)
        task.add_done_callback(self._opened)

    async def _open(self) -> None:
        """Connect, within the limit."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await self.loop.create_connection(lambda: Connection(self), self.host, self.port)

    def _opened(self, task: asyncio.Task[None]) -> None:
        """A connection was made (and has reported itself), or not."""
        self._tasks.discard(task)
        self._connecting -= 1
        if task.cancelled() or task.exception() is not None:
            self.back_off()
            self._connect_more()

    def _fail_waiting(self) -> None:
        """Nobody can be reached."""
        while self.waiting:
            ticket = next(iter(self.waiting))
            del self.waiting[ticket]
            ticket.answer(self.tag, UNREACHABLE, b"")

    def back_off(self) -> None:
        """Leave the host alone for a while."""
        now_s = self.loop.time()
        if now_s >= self._retry_at_s:
            self._back_off_s = min(BACK_OFF_MAX_S, max(BACK_OFF_S, self._back_off_s * 2))
            self._retry_at_s = now_s + self._back_off_s

    def works(self) -> None:
        """The host has answered."""
        self._back_off_s = self._retry_at_s = 0.0

    def free(self, connection: "Connection") -> None:
        """A connection may be used again: by the one who waits longest, else later."""
        if connection.closing:
            return  # `lost` follows, and connects anew for those who wait
        if self.waiting:
            ticket = next(iter(self.waiting))
            connection.start(ticket, self.waiting.pop(ticket))
        else:
            self.idle.append(connection)

    def lost(self, connection: "Connection") -> None:
        """A connection is closed."""
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.waiting:
            self._connect_more()


class Connection(asyncio.Protocol):
    """One connection of a pool, with at most one ticket at a time."""

    __slots__ = (
        "_again", "_body", "_complete", "_head", "_in_body", "_n", "_parser", "_pool", "_spoilt", "_status",
        "_too_large", "_transport", "_wire_bytes", "asked_s", "ticket",
    )  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        """Start before the transport is known."""
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser = httptools.HttpResponseParser(self)
        self.ticket: Ticket | None = None
        self.asked_s = 0.0
        self._n = 0  # answers so far
        self._reset()

    def _reset(self) -> None:
        """Forget the last answer."""
        self._head = b""  # what came up to the end of the headers; looked at only when the server closes early
        self._body: bytes | bytearray = b""
        self._in_body = self._complete = self._again = self._too_large = False
        self._status = 0
        self._spoilt = False  # something follows the answer: the connection cannot be used again
        self._wire_bytes = 0

    @property
    def closing(self) -> bool:
        """True once nothing more can be asked here."""
        return self._transport is None or self._transport.is_closing()

    def start(self, ticket: Ticket, payload: bytes) -> None:
        """Send a request, unless `closing`."""
        assert self._transport is not None
        self.ticket = ticket
        self.asked_s = self._pool.loop.time()
        self._transport.write(payload)

    def fail(self, status: int) -> None:
        """Close at once; a ticket under way gets this status."""
        ticket, self.ticket = self.ticket, None
        if self._transport is not None:
            self._transport.abort()
        if ticket is not None:
            ticket.answer(self._pool.tag, status, b"")

    # ---- called by the transport ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: serve whoever waits."""
        self._transport = cast(asyncio.Transport, transport)
        self._pool.connections.add(self)
        self._pool.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by either side: settle what is owed."""
        pool, ticket, parser = self._pool, self.ticket, self._parser
        self._transport = self.ticket = None
        self._parser = None  # type: ignore[assignment]  # it holds our methods: a reference cycle
        whole = exc is None and self._in_body and self._ends_with_connection()
        if ticket is not None and self._n == 0 and not whole:
            pool.back_off()
        pool.lost(self)
        if ticket is None:
            return
        if whole:
            pool.works()
            self._deliver(ticket, parser.get_status_code(), self._body)
        else:
            ticket.answer(pool.tag, MALFORMED if self._wire_bytes else UNREACHABLE, b"")

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        if self.ticket is None or self._transport is None:
            self.fail(MALFORMED)
            return
        if not self._wire_bytes and self._whole(data):
            return
        if not self._in_body:
            self._head = self._head + data if self._head else data
        self._wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._spoilt = True
            if not self._complete:
                self.fail(TOO_LARGE if self._too_large else MALFORMED)
                return
        if len(self._head) > HEAD_MAX_BYTES and self._head.find(b"\r\n\r\n", 0, HEAD_MAX_BYTES) < 0:
            self.fail(TOO_LARGE)
        elif self._complete:
            self._finish()
        elif self._wire_bytes > (2 * ANSWER_MAX_BYTES if self._in_body else HEAD_MAX_BYTES):
            self.fail(TOO_LARGE)

    def _whole(self, data: bytes) -> bool:
        """Take the plain answer that came in one piece, without the parser; False for anything unusual."""
        if not data.startswith(_PLAIN):
            return False
        end = data.find(b"\r\n\r\n", 0, PLAIN_HEAD_MAX)
        head = data[:end].lower()
        if end < 0 or head.count(b"content-length") != 1 or b"transfer-encoding" in head or b"connection" in head:
            return False
        if b"\r\n " in head or b"\r\n\t" in head or head.count(b"\n") != head.count(b"\r\n"):
            return False
        length = head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
        body = data[end + 4 :]
        if not length.isdigit() or int(length) != len(body) or len(body) > ANSWER_MAX_BYTES or not body:
            return False
        ticket, self.ticket = self.ticket, None
        self._n += 1
        self._pool.works()
        self._pool.free(self)
        if ticket is not None:
            self._deliver(ticket, 200, body)
        return True

    # ---- called by llhttp ----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A second answer to one question spoils the connection."""
        if self._complete:
            self._spoilt = True

    def on_headers_complete(self) -> None:
        """The body comes next."""
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body; what belongs to a second answer is dropped."""
        if self._complete:
            return
        if not self._body:
            self._body = body
        else:
            if type(self._body) is bytes:
                self._body = bytearray(self._body)
            self._body += body
        if len(self._body) > ANSWER_MAX_BYTES:
            self._too_large = True
            raise ValueError("answer too large")  # ends the parsing; seen as a parser error

    def on_message_complete(self) -> None:
        """An answer is whole; 1xx ones are only announcements."""
        if self._complete:
            return
        self._status = self._parser.get_status_code()
        if self._status < 200:
            self._in_body = False
        else:
            self._complete = True
            self._again = self._parser.should_keep_alive()  # llhttp forgets with the next byte

    # ---- an answer -----------------------------------------------------------------------------------------

    def _ends_with_connection(self) -> bool:
        """True for an answer without announced length: the closed connection is its end."""
        head = self._head.lower()
        return b"\ncontent-length:" not in head and b"\ntransfer-encoding:" not in head

    def _finish(self) -> None:
        """Free the connection, then answer: whoever is answered may use it again at once."""
        ticket, body, status = self.ticket, self._body, self._status
        again = self._again and not self._spoilt
        self.ticket = None
        self._n += 1
        self._reset()
        self._pool.works()
        if again:
            self._pool.free(self)
        elif self._transport is not None:
            self._transport.close()
        if ticket is not None:
            self._deliver(ticket, status, body)

    def _deliver(self, ticket: Ticket, status: int, body: bytes | bytearray) -> None:
        """Hand an answer over, unpacked; ours asks for none, but a packed one is understood."""
        if body[:2] == _GZIP:
            stream = zlib.decompressobj(wbits=31)
            try:
                body = stream.decompress(body, ANSWER_MAX_BYTES + 1)
            except zlib.error:
                status = MALFORMED
            else:
                if len(body) > ANSWER_MAX_BYTES:
                    status = TOO_LARGE
                elif not stream.eof:
                    status = MALFORMED
        ticket.answer(self._pool.tag, status, bytes(body) if status > 0 else b"")
