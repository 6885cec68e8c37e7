"""The HTTP grammar of the house: what comes out of bytes, and what is refused with which status."""

import gzip
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import http

HEADER_MAX, BODY_MAX = 1_024, 2_048


class Client:
    """A parser and what it has produced."""

    def __init__(self, header_max=HEADER_MAX, body_max=BODY_MAX):
        self.requests = []
        self.continues = 0
        self.parser = http.RequestParser(header_max, body_max, self.requests.append, self.go_on)

    def go_on(self):
        self.continues += 1


def parse(data, **limits):
    client = Client(**limits)
    client.parser.feed(data)
    return client.requests


def refusal(data, **limits):
    """The status of the last thing that came out; everything before it must be accepted."""
    requests = parse(data, **limits)
    assert requests, "nothing came out"
    assert all(not request.refused for request in requests[:-1])
    return requests[-1].refused


def post(body=b"{}", head=b"", target=b"/openrtb2/auction"):
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (target, head, len(body), body)


def seen(requests):
    return [(r.method, r.path, r.query, r.headers, r.body, r.keep_alive, r.head_only, r.refused) for r in requests]


def test_a_request_is_taken_apart():
    [request] = parse(post(b'{"id":"1"}', b"X-A: 1\r\nx-a: 2\r\n", b"/a/b?now_ns=5&t=?"))
    assert (request.method, request.path, request.query) == (b"POST", b"/a/b", b"now_ns=5&t=?")
    assert request.headers == {b"host": b"a", b"x-a": b"1, 2", b"content-length": b"10"}
    assert (request.body, request.keep_alive, request.head_only, request.refused) == (b'{"id":"1"}', True, False, 0)


def test_keep_alive_is_for_http_1_1_unless_it_says_close():
    get = b"GET / HTTP/1.%d\r\nHost: a\r\nConnection: %b\r\n\r\n"
    for minor, connection, alive in (
        (1, b"x", True),
        (1, b"close", False),
        (0, b"keep-alive", False),
        (0, b"x", False),
    ):
        assert parse(get % (minor, connection))[0].keep_alive is alive
    two = b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
    assert [request.path for request in parse(two)] == [b"/1"], "nothing is read after a close"


def test_http_1_0_needs_no_host_and_head_reads_as_get():
    [old] = parse(b"GET /x HTTP/1.0\r\n\r\n")
    assert (old.path, old.keep_alive, old.refused) == (b"/x", False, 0)
    [head] = parse(b"HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (head.method, head.head_only) == (b"GET", True)


def test_absolute_targets_are_brought_to_origin_form():
    get = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
    cases = {b"http://x/p?q": (b"/p", b"q"), b"http://x": (b"/", b""), b"HTTP://x:1?q/r": (b"/", b"q/r")}
    assert {t: (r.path, r.query) for t in cases for r in parse(get % t)} == cases
    assert refusal(get % b"ftp://x/") == 400


def test_pipelined_requests_come_out_in_order():
    stream = b"".join(post(b"%d" % n, target=b"/%d" % n) for n in range(50))
    assert [(r.path, r.body) for r in parse(stream)] == [(b"/%d" % n, b"%d" % n) for n in range(50)]


def test_chunked_and_gzip_bodies():
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
    [request] = parse(chunked + b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n")
    assert request.body == b"abcdefg" and b"trailer" not in request.headers
    for name in (b"gzip", b"x-gzip", b"GZIP"):
        [request] = parse(post(gzip.compress(b'{"id":1}'), b"Content-Encoding: %b\r\n" % name))
        assert request.body == b'{"id":1}'
    assert parse(post(b"{}", b"Content-Encoding: identity\r\n"))[0].body == b"{}"


def test_expect_is_answered_once_the_headers_are_fine():
    client = Client()
    head, body = post(b"{}", b"Expect: 100-Continue\r\n")[:-2], b"{}"
    client.parser.feed(head)
    assert client.continues == 1 and not client.requests
    client.parser.feed(body)
    assert client.requests[0].body == b"{}"
    big = Client()
    big.parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n")
    assert big.continues == 0 and big.requests[0].refused == 413


GZIP = b"Content-Encoding: gzip\r\n"
START = b"POST / HTTP/1.1\r\nHost: a\r\n"
REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "http/0.9": (b"GET /x\r\nHost: a\r\n\r\n", 505),
    "http/0.9 smuggling": (b"GET /x\nHost: a\r\nContent-Length: 5\r\n\r\n", 505),
    "http/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "http/2.0 alive": (b"GET / HTTP/2.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", 505),
    "http/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    "http/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "known method": (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "tls hello": (b"\x16\x03\x01\x02\x00\x01\x00", 501),
    "nul in target": (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "nul in header": (b"GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
    "two lengths": (START + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    "negative length": (START + b"Content-Length: -1\r\n\r\n", 400),
    "length overflow": (START + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "length and chunked": (START + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "gzip, chunked": (START + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "bad chunk size": (START + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "length announced": (START + b"Content-Length: 2049\r\n\r\n", 413),
    "chunks too many": (START + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n%b\r\n" % (b"x" * 1024) * 3, 413),
    "gzip bomb": (post(gzip.compress(b"x" * 2_049), GZIP), 413),
    "gzip cut": (post(gzip.compress(b"xyz")[:-3], GZIP), 400),
    "gzip of two": (post(gzip.compress(b"x") * 2, GZIP), 400),
    "gzip not": (post(b"{}", GZIP), 400),
    "gzip empty": (post(b"", GZIP), 400),
    "deflate": (post(b"{}", b"Content-Encoding: deflate\r\n"), 415),
    "target": (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 8_192), 414),
    "header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 1_100), 431),
    "headers": (b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % b"".join(b"X%d: 1\r\n" % n for n in range(200)), 431),
    "endless header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: %b" % (b"x" * 9_000), 431),
    "expect": (post(b"{}", b"Expect: tea\r\n"), 417),
    "upgrade": (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 501),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_breaks_a_rule_is_refused(name):
    data, status = REFUSED[name]
    assert refusal(data) == status
    assert refusal(post() + data) == status, "in its place, after the good one"
    client = Client()
    for at in range(len(data)):
        client.parser.feed(data[at : at + 1])
    assert client.requests[-1].refused == status
    client.parser.feed(post())
    assert client.requests[-1].refused == status, "nothing is read after a refusal"


def test_limits_are_exact():
    def get(fill):
        return b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * fill)

    # target, and each header's name, value and 4 bytes of framing
    fits = HEADER_MAX - len(b"/") - len(b"Hosta") - 4 - len(b"X") - 4
    for pieces in (1, 7):
        for fill, status in ((fits, 0), (fits + 1, 431)):
            client, data = Client(), get(fill)
            size = -(-len(data) // pieces)
            for at in range(0, len(data), size):
                client.parser.feed(data[at : at + size])
            # whole heads of up to one slice pass unmeasured; the framing's own bytes are the slack
            assert client.requests[-1].refused == status, (pieces, fill)
    assert [refusal(post(b"x" * n)) for n in (BODY_MAX, BODY_MAX + 1)] == [0, 413]
    assert refusal(post(gzip.compress(b"x" * BODY_MAX), GZIP)) == 0


def test_framing_and_trailers_cannot_grow_without_end():
    client = Client()
    client.parser.feed(START + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ")
    fed = 0
    while not client.requests and fed < 1_000_000:
        client.parser.feed(b"x" * 1_000)
        fed += 1_000
    assert client.requests[0].refused == 413
    assert fed <= http.RAW_FACTOR * (HEADER_MAX + BODY_MAX) + 1_000


def test_a_paused_parser_keeps_what_follows():
    client = Client()

    def take(request):
        client.requests.append(request)
        client.parser.paused = len(client.requests) % 10 == 0

    client.parser = http.RequestParser(HEADER_MAX, BODY_MAX, take, client.go_on)
    stream = b"".join(post(b"x" * 700, target=b"/%d" % n) for n in range(60))
    client.parser.feed(stream)
    assert 10 <= len(client.requests) < 60
    rounds = 0
    while len(client.requests) < 60 and rounds < 60:
        client.parser.paused = False
        client.parser.resume()
        rounds += 1
    assert [r.path for r in client.requests] == [b"/%d" % n for n in range(60)]


def test_a_gzip_bomb_takes_no_memory():
    bomb = post(gzip.compress(b"x" * 40_000_000), GZIP)
    tracemalloc.start()
    try:
        assert refusal(bomb, body_max=65_536) == 413
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


MESSAGES = st.lists(
    st.one_of(
        st.binary(max_size=300).map(post),
        st.binary(max_size=200).map(lambda b: post(gzip.compress(b), GZIP)),
        st.lists(st.binary(min_size=1, max_size=60), max_size=4).map(
            lambda parts: (
                START
                + b"Transfer-Encoding: chunked\r\n\r\n"
                + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts)
                + b"0\r\n\r\n"
            )
        ),
        st.sampled_from([data for data, _ in REFUSED.values() if len(data) < 2_000]),
    ),
    min_size=1,
    max_size=5,
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(MESSAGES, st.lists(st.integers(1, 400), max_size=12))
def test_how_bytes_are_cut_makes_no_difference(messages, cuts):
    stream = b"".join(messages)
    whole = seen(parse(stream))
    client, at = Client(), 0
    for size in [*cuts, len(stream)]:
        client.parser.feed(stream[at : at + size])
        at += size
    assert seen(client.requests) == whole


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.binary(max_size=600))
def test_any_bytes_are_survived(data):
    for request in parse(data):
        assert request.refused == 0 or 400 <= request.refused < 600


def test_responses():
    assert http.response(200, b"{}") == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert http.response(200, b"{}", keep_alive=False) == (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert http.response(204) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert http.response(204, keep_alive=False) == b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    assert http.response(302, headers=[(b"Location", b"http://x/")]) == (
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://x/\r\n\r\n"
    )
    assert (
        http.response(599, b"x", b"a/b") == b"HTTP/1.1 599 Unknown\r\nContent-Type: a/b\r\nContent-Length: 1\r\n\r\nx"
    )
    for bad in (b"http://x/\r\nSet-Cookie: a", b"a\nb", b"a\0"):
        with pytest.raises(ValueError, match="control characters"):
            http.response(302, headers=[(b"Location", bad)])


def test_a_request_is_answered_once():
    answers = []

    class Carrier:
        def answer(self, *args):
            answers.append(args)

    [request] = parse(post())
    request.carrier = Carrier()
    assert not request.answered
    request.reply(200, b"{}")
    assert request.answered and answers == [(request, 200, b"{}", http.JSON, ())]
    with pytest.raises(RuntimeError, match="answered already"):
        request.reply(204)
