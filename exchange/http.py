"""HTTP/1.1 without sockets: bytes in, requests out, bytes of an answer back.

The grammar is llhttp's (through httptools), which already refuses request smuggling: two Content-Lengths,
Content-Length beside Transfer-Encoding, bare LF, folded headers, NUL bytes. What it leaves open is decided
here, and a request that breaks a rule comes out as a `Request` with `refused` set, in its place in the order:

    target           longer than TARGET_MAX_BYTES, or than headers may be          414
    headers          longer than `header_max_bytes` in all                         431
    body             announced or grown beyond `body_max_bytes`, packed or not     413
    message          more than RAW_FACTOR x those limits on the wire               413
    version          HTTP/1.0 (answered, then closed) or 1.1, nothing else         505
    Host             missing in 1.1, or given twice                                400
    method           GET, HEAD, POST; others that llhttp knows                     405
    method           any other first word, garbage included                         501
    Expect           100-continue is answered, others                              417
    Transfer-Encoding  "chunked" alone                                             501
    Content-Encoding   gzip (one member) or identity                               415, broken gzip 400
    Upgrade          not spoken                                                    501
    anything else malformed                                                        400

Nothing is read after a refusal. Pipelined requests come out in order; `paused` stops the parser between
slices of SLICE_BYTES, so that at most one read of the transport waits unparsed. No Date header is sent:
nobody caches an auction.

Source: RFC 9110 and RFC 9112.
"""

import zlib
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final, Protocol

import httptools

TARGET_MAX_BYTES: Final = 8_192
SLICE_BYTES: Final = 16_384
RAW_FACTOR: Final = 8  # chunk framing may cost this many times the payload
METHODS: Final = frozenset((b"GET", b"HEAD", b"POST"))
JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
Headers = Iterable[tuple[bytes, bytes]]
_UNUSUAL: Final = frozenset((b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"))
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
# What a refusal says in its own header lines.
_REFUSAL_HEADERS: Final[dict[int, Headers]] = {
    405: ((b"Allow", b"GET, HEAD, POST"),),
    415: ((b"Accept-Encoding", b"gzip"),),
}


class Carrier(Protocol):
    """Whoever brings an answer back to the client: a connection, or a test."""

    def answer(self, request: "Request", status: int, body: bytes, content_type: bytes, headers: Headers) -> None:
        """Write the answer to `request`; must not raise when the client has gone."""


class Request:
    """One HTTP request, and the one way to answer it.

    `method` is GET or POST (HEAD reads as GET with `head_only`); `path` and `query` are the raw target split
    at the first "?"; `headers` maps lower-case names to values, repeated ones joined by ", "; `body` is
    unpacked, and to be taken as JSON when Content-Type is missing (OpenRTB 2.6 section 2).
    `refused` is 0, or the status with which the transport must refuse it, and `reason` says why.
    """

    __slots__ = (
        "body", "carrier", "head_only", "headers", "keep_alive",
        "method", "path", "query", "reason", "refused",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        path: bytes,
        query: bytes,
        headers: dict[bytes, bytes],
        body: bytes,
        keep_alive: bool,
        refused: int = 0,
        reason: str = "",
    ) -> None:
        """Build a request; `carrier` is set by the transport when its turn comes."""
        self.head_only = method == b"HEAD"
        self.method = b"GET" if self.head_only else method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.refused = refused
        self.reason = reason
        self.carrier: Carrier | None = None

    @property
    def answered(self) -> bool:
        """True once `reply` was called (or before the request was handed to anyone)."""
        return self.carrier is None

    def reply(self, status: int, body: bytes = b"", content_type: bytes = JSON, headers: Headers = ()) -> None:
        """Answer the request, now or later, exactly once; a second call raises RuntimeError.

        A client that has gone is not an error: the answer is then dropped. A header that could split the
        response raises ValueError, and the request may still be answered otherwise.
        """
        carrier = self.carrier
        if carrier is None:
            raise RuntimeError(f"{self.path!r} was answered already")
        carrier.answer(self, status, body, content_type, headers)
        self.carrier = None


def _head(status: int, content_type: bytes, keep_alive: bool) -> bytes:
    """Everything of a response's head before the length of its body."""
    close = b"" if keep_alive else b"Connection: close\r\n"
    kind = b"Content-Type: %b\r\n" % content_type if content_type else b""
    return b"HTTP/1.1 %d %b\r\n%b%bContent-Length: " % (status, _REASONS.get(status, b"Unknown"), close, kind)


_KEEP: Final = {status: _head(status, JSON, True) for status in (200, 400, 404, 503)}
_NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
_NO_CONTENT_CLOSE: Final = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


def response(
    status: int, body: bytes = b"", content_type: bytes = JSON, headers: Headers = (), keep_alive: bool = True
) -> bytes:
    """Return the bytes of one response; raises ValueError for a header that could split it.

    A 204 carries neither body nor length. The heads of frequent JSON answers are built beforehand.
    """
    if not headers:
        if status == 204:
            return _NO_CONTENT if keep_alive else _NO_CONTENT_CLOSE
        if keep_alive and content_type is JSON and status in _KEEP:
            return b"%b%d\r\n\r\n%b" % (_KEEP[status], len(body), body)
    lines = b""
    for name, value in headers:
        if b"\r" in name + value or b"\n" in name + value or b"\0" in name + value:
            raise ValueError(f"header {name!r}: control characters in {value!r}")
        lines += b"%b: %b\r\n" % (name, value)
    if status == 204:
        head = _NO_CONTENT if keep_alive else _NO_CONTENT_CLOSE
        return head[:-2] + lines + b"\r\n"
    head = _head(status, content_type if body else b"", keep_alive)
    return b"%b%d\r\n%b\r\n%b" % (head, len(body), lines, body)


def refusal_headers(status: int) -> Headers:
    """Return the header lines that a refusal with `status` owes its client (Allow, Accept-Encoding)."""
    return _REFUSAL_HEADERS.get(status, ())


class _RefusedError(Exception):
    """Leaves llhttp from inside a callback; status and reason lie on the parser."""


class RequestParser:
    """Feed it what the client sent; it calls `take(request)` per request, `go_on()` per Expect: 100-continue.

    `partial` is true between the first byte of a message and its last. `finished` is true after a refusal or
    the last request of a connection: what follows is ignored. Setting `paused` stops it between slices, until
    `resume` (never called from within `take`). `close` when done: it cuts reference cycles.
    """

    __slots__ = (
        "_at", "_backlog", "_body", "_body_max", "_encoded", "_go_on", "_header_max", "_headers",
        "_http11", "_in_headers", "_parser", "_raw", "_refusal", "_slice", "_take", "_target_max", "_url",
        "finished", "partial", "paused",
    )  # fmt: skip

    def __init__(
        self,
        header_max_bytes: int,
        body_max_bytes: int,
        take: Callable[[Request], None],
        go_on: Callable[[], None],
    ) -> None:
        """Start at the beginning of a connection."""
        self._header_max = header_max_bytes
        self._body_max = body_max_bytes
        self._slice = min(SLICE_BYTES, header_max_bytes)
        self._target_max = min(TARGET_MAX_BYTES, header_max_bytes)
        self._take = take
        self._go_on = go_on
        self._backlog, self._at = b"", 0
        self._refusal: tuple[int, str] | None = None
        self.partial = False
        self.finished = False
        self.paused = False
        self._http11 = True
        self.on_message_begin()
        self.partial = False
        self._parser = httptools.HttpRequestParser(self)

    def close(self) -> None:
        """Forget everything; later bytes are ignored."""
        self.finished = True
        self._backlog = b""
        self._parser = self._take = self._go_on = None  # type: ignore[assignment]

    # ---- bytes in ------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Parse `data`; calls `take` for each request that it completes."""
        if self.finished:
            return
        if len(data) > self._slice or self.paused or self._backlog:
            self._backlog = self._backlog[self._at :] + data
            self._at = 0
            self.resume()
        else:
            self._feed(data)

    def resume(self) -> None:
        """Parse what waited while `paused` was set, as long as it is not set again."""
        while self._backlog and not self.paused and not self.finished:
            piece = self._backlog[self._at : self._at + self._slice]
            self._at += len(piece)
            if self._at == len(self._backlog):
                self._backlog, self._at = b"", 0
            self._feed(piece)

    def refuse(self, status: int, reason: str) -> None:
        """Give up on the message under way: it comes out refused, and nothing follows it."""
        if self.finished:
            return
        self.finished = True
        self.partial = False
        self._backlog = b""
        self._take(Request(b"GET", b"", b"", {}, b"", False, status, reason))

    def _feed(self, data: bytes) -> None:
        """One slice through llhttp."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.finished:
                return
            if self._refusal is None:
                if isinstance(error, httptools.HttpParserCallbackError):
                    raise  # a fault of ours, not of the client: the transport logs it and closes
                unknown = isinstance(error, httptools.HttpParserInvalidMethodError)
                self._refusal = (501 if unknown else 400, str(error) or "malformed")
            self.refuse(*self._refusal)
            return
        if self.partial:
            self._raw += len(data)
            if self._in_headers:
                if self._raw > self._header_max + self._slice:
                    self.refuse(431, f"headers exceed {self._header_max} bytes")
            elif self._raw > RAW_FACTOR * (self._header_max + self._body_max):
                self.refuse(413, f"message exceeds {RAW_FACTOR} times its limits")

    def _stop(self, status: int, reason: str) -> None:
        """Refuse from inside a callback."""
        self._refusal = (status, reason)
        raise _RefusedError

    # ---- called by llhttp ----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a message."""
        self.partial = self._in_headers = True
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._raw = 0
        self._encoded = False

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url
        if len(self._url) > self._target_max:
            self._stop(414, f"target exceeds {self._target_max} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line, or a trailer, which nothing here reads."""
        if not self._in_headers:
            return
        key = name.lower()
        headers = self._headers
        if key in headers:
            if key == b"host":
                self._stop(400, "Host is given twice")
            value = headers[key] + b", " + value
        headers[key] = value

    def on_headers_complete(self) -> None:
        """Decide everything that can be decided before the body arrives."""
        self._in_headers = False
        headers = self._headers
        parser = self._parser
        # Only 1.1 keeps a connection alive unasked, and asking is cheaper than having the version spelled out.
        if not parser.should_keep_alive() or b"connection" in headers:
            version = parser.get_http_version()
            self._http11 = version == "1.1"
            if version not in ("1.0", "1.1"):
                self._stop(505, f"HTTP/{version} is not spoken here")
        else:
            self._http11 = True
        if b"host" not in headers and self._http11:
            self._stop(400, "Host is missing")
        # A head within one slice is within the limit; only one that came in pieces has to be measured.
        if self._raw and self._head_bytes() > self._header_max:
            self._stop(431, f"headers exceed {self._header_max} bytes")
        if parser.get_method() not in METHODS:
            self._stop(405, "method is not allowed")
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._body_max:
            self._stop(413, f"body exceeds {self._body_max} bytes")
        if not _UNUSUAL.isdisjoint(headers):
            self._unusual(headers)

    def _head_bytes(self) -> int:
        """Size of target and header lines."""
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers.items())

    def _unusual(self, headers: dict[bytes, bytes]) -> None:
        """The headers that change how a body is read."""
        if self._parser.should_upgrade():
            self._stop(501, "no protocol to upgrade to")
        if headers.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
            self._stop(501, "Transfer-Encoding other than chunked")
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding in (b"gzip", b"x-gzip"):
            self._encoded = True
        elif encoding not in (b"identity", b""):
            self._stop(415, "Content-Encoding other than gzip")
        expect = headers.get(b"expect")
        if expect is not None and self._http11:
            if expect.strip().lower() != b"100-continue":
                self._stop(417, "Expect other than 100-continue")
            self._go_on()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._body:
            self._body = body
        else:
            if type(self._body) is bytes:
                self._body = bytearray(self._body)
            self._body += body
        if len(self._body) > self._body_max:
            self._stop(413, f"body exceeds {self._body_max} bytes")

    def on_message_complete(self) -> None:
        """The last byte of a message: hand it over."""
        parser = self._parser
        method, keep_alive = parser.get_method(), self._http11 and parser.should_keep_alive()
        body = self._body if type(self._body) is bytes else bytes(self._body)
        if self._encoded:
            body = self._unpack(body)
        url = self._url
        if url[:1] != b"/":
            url = self._origin_form(url)
        path, _, query = url.partition(b"?")
        self.partial = False
        if not keep_alive:
            self.finished = True
        self._take(Request(method, path, query, self._headers, body, keep_alive))

    def _origin_form(self, url: bytes) -> bytes:
        """Turn `http://host/path` into `/path` (RFC 9112 3.2.2)."""
        if url[:7].lower() != b"http://":
            self._stop(400, "target is neither a path nor an http URL")
        rest = url[7:]
        cut = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
        return rest[cut:] if rest[cut : cut + 1] == b"/" else b"/" + rest[cut:]

    def _unpack(self, packed: bytes) -> bytes:
        """Inflate a gzip body of one member, never beyond the limit."""
        stream = zlib.decompressobj(wbits=31)
        try:
            body = stream.decompress(packed, self._body_max + 1)
        except zlib.error as error:
            self._stop(400, f"gzip: {error}")
        if len(body) > self._body_max:
            self._stop(413, f"body exceeds {self._body_max} bytes unpacked")
        if not stream.eof or stream.unused_data:
            self._stop(400, "gzip: cut short, or followed by other bytes")
        return body
