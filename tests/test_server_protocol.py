"""The protocol shell on real sockets: order, limits in time and number, hostile clients, the end."""

import asyncio
import gc
import socket
import struct

import pytest
import uvloop

from exchange import config, http, metrics, server

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


def post(body=b"{}", path=b"/openrtb2/auction", head=b""):
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (path, head, len(body), body)


class House:
    """A listening server whose handler answers /now at once, and others when told or never."""

    def __init__(self):
        self.held = []
        self.seen = []
        self.counters = metrics.Counters()

    def handle(self, request):
        self.seen.append(request.path)
        if request.path.startswith(b"/hold"):
            self.held.append(request)
        elif request.path == b"/raise":
            raise ZeroDivisionError("on purpose")
        elif request.path == b"/raise_late":
            request.reply(204)
            raise ZeroDivisionError("on purpose")
        elif request.path == b"/split":
            request.reply(302, headers=[(b"Location", b"/a\r\nSet-Cookie: b")])
        elif request.path == b"/big":
            request.reply(200, b"x" * 4_000_000)
        else:
            request.reply(200, request.path + b"|" + request.body)

    async def open(self, **limits):
        limits = {"header_max_bytes": 2_048, "body_max_bytes": 4_096, **limits}
        self.listener = await server.serve(self.handle, config.Server(address="127.0.0.1:0", **limits), self.counters)
        return self

    async def client(self):
        return await asyncio.open_connection("127.0.0.1", self.listener.port)

    async def holding(self):
        while not self.held:
            await asyncio.sleep(0.001)

    async def talk(self, data, timeout_s=5):
        """Everything the server says to `data`, with our side closed after it."""
        reader, writer = await self.client()
        writer.write(data)
        writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), timeout_s)
        finally:
            writer.close()


def live(test, **limits):
    """Run an async test against a fresh house on uvloop; nothing may be left open."""

    async def run():
        house = await House().open(**limits)
        try:
            return await test(house)
        finally:
            await house.listener.drain(0)
            assert not house.listener.connections

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(run(), 30))


async def answer(reader):
    """One response: status and body."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    status = int(head.split(b" ")[1])
    return status, await asyncio.wait_for(reader.readexactly(int(fields.get(b"content-length", b"0"))), 5)


def test_keep_alive_and_the_body():
    async def test(house):
        reader, writer = await house.client()
        for n in range(3):
            writer.write(post(b"%d" % n))
            assert await answer(reader) == (200, b"/openrtb2/auction|%d" % n)
        writer.write(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 3" in head
        writer.write(b"GET /bye HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        rest = await reader.read()
        assert rest.startswith(b"HTTP/1.1 200") and b"Connection: close" in rest and rest.endswith(b"/bye|")
        assert house.counters.http_responses[200] == 5

    live(test)


def test_pipelined_answers_leave_in_order_whenever_they_are_ready():
    async def test(house):
        reader, writer = await house.client()
        paths = [b"/hold%d" % n if n % 3 == 0 else b"/n%d" % n for n in range(12)]
        writer.write(b"".join(GET % path for path in paths))
        for n, path in enumerate(paths):
            if n % 3 == 0:
                await house.holding()
                assert house.seen == paths[: n + 1], "one at a time is with the handler"
                house.held.pop().reply(200, path + b"|")
            assert await answer(reader) == (200, path + b"|")

    live(test)


def test_a_long_pipeline_stops_the_reading_and_then_goes_on():
    async def test(house):
        reader, writer = await house.client()
        n = 2_000
        small = b"".join(GET % (b"/%d" % k) for k in range(n))
        writer.write(GET % b"/hold" + small + post(b"x" * 4_000, b"/large") * 400)
        await house.holding()
        await asyncio.sleep(0.1)
        [connection] = house.listener.connections
        per_slice = 2_048 // len(GET % b"/0")
        assert server.QUEUE_MAX <= len(connection._queue) <= server.QUEUE_MAX + per_slice
        assert len(connection._parser._backlog) <= 300_000, "one read of the transport, not all of 1.6 MB"
        assert house.seen == [b"/hold"]
        house.held.pop().reply(200, b"x")
        assert await answer(reader) == (200, b"x")
        for k in range(n):
            assert await answer(reader) == (200, b"/%d|" % k)
        for _ in range(400):
            assert (await answer(reader))[0] == 200

    live(test)


def test_a_fault_of_the_handler_costs_its_own_request():
    async def test(house):
        reader, writer = await house.client()
        writer.write(GET % b"/raise" + GET % b"/raise_late" + GET % b"/split" + GET % b"/fine")
        assert await answer(reader) == (500, b"internal error\n")
        assert await answer(reader) == (204, b"")
        assert await answer(reader) == (500, b"internal error\n")
        assert await answer(reader) == (200, b"/fine|")
        assert house.counters.handler_faults == 3

    live(test)


def test_a_client_that_has_gone_is_no_error():
    async def test(house):
        _, writer = await house.client()
        writer.write(GET % b"/hold" + GET % b"/after")
        await house.holding()
        linger = struct.pack("ii", 1, 0)  # close with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        while house.listener.connections:
            await asyncio.sleep(0.001)
        house.held.pop().reply(200, b"to nobody")
        assert house.seen == [b"/hold"], "what waited behind is not handled for nobody"
        _, writer = await house.client()
        writer.write(GET % b"/hold")
        await house.holding()
        writer.transport.abort()
        await asyncio.sleep(0.05)
        house.held.pop().reply(200, b"to nobody")
        while house.listener.connections:
            await asyncio.sleep(0.001)
        assert (await house.talk(GET % b"/x")).endswith(b"/x|")

    live(test)


def test_a_half_closed_client_still_gets_its_answers():
    async def test(house):
        talk = asyncio.ensure_future(house.talk(GET % b"/hold" + GET % b"/second"))
        await house.holding()
        await asyncio.sleep(0.05)
        house.held.pop().reply(200, b"late")
        text = await talk
        assert text.count(b"HTTP/1.1 200") == 2 and b"late" in text and text.endswith(b"/second|")

    live(test)


def test_expect_is_answered_in_its_turn():
    async def test(house):
        reader, writer = await house.client()
        expecting = post(b"body", head=b"Expect: 100-continue\r\n")
        writer.write(GET % b"/hold" + expecting[:-4])
        await house.holding()
        await asyncio.sleep(0.05)
        house.held.pop().reply(200, b"first")
        assert await answer(reader) == (200, b"first")
        assert await answer(reader) == (100, b"")
        writer.write(b"body")
        assert await answer(reader) == (200, b"/openrtb2/auction|body")

    live(test)


def test_a_refusal_reaches_a_client_that_is_still_sending():
    async def test(house):
        reader, writer = await house.client()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(100):
            writer.write(b"x" * 100_000)
            await writer.drain()  # raises when it is cut off before it could read the answer
        assert (await answer(reader))[0] == 413

    live(test)


@pytest.mark.parametrize("start", [b"", b"GET / HT", post(b"x" * 99)[:-90], GET % b"/done" + b"GET / HTTP/1.1\r\nX: "])
def test_slow_messages_get_408_and_idle_connections_end(start):
    async def test(house):
        began = asyncio.get_running_loop().time()
        reader, writer = await house.client()
        writer.write(start)
        if b"/done" in start:
            assert await answer(reader) == (200, b"/done|")
        dribble = asyncio.ensure_future(_dribble(writer if start[-1:] in (b" ", b"x") else None))
        text = await asyncio.wait_for(reader.read(), 5)
        dribble.cancel()
        took = asyncio.get_running_loop().time() - began
        assert text.startswith(b"HTTP/1.1 408") if start else text == b""
        assert 0.3 < took < 2.5

    live(test, read_timeout_ms=400, idle_timeout_ms=400)


async def _dribble(writer):
    """A byte now and then must not buy more time."""
    while writer is not None:
        await asyncio.sleep(0.1)
        writer.write(b"x")


def test_a_client_that_never_reads_is_cut_off():
    async def test(house):
        reader, writer = await house.client()
        writer.transport.pause_reading()
        writer.write(GET % b"/big" * 20)
        while not house.listener.connections:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert 0 < house.seen.count(b"/big") < 20, "write back-pressure holds the rest back"
        while house.listener.connections:
            await asyncio.sleep(0.05)

    live(test, read_timeout_ms=400)


def test_one_connection_too_many_gets_503():
    async def test(house):
        kept = [await house.client() for _ in range(3)]
        for reader, writer in kept:
            writer.write(GET % b"/in")
            assert (await answer(reader))[0] == 200
        reader, writer = await house.client()
        assert (await answer(reader))[0] == 503
        assert await reader.read() == b""
        writer.close()
        kept[0][1].close()
        while len(house.listener.connections) > 2:
            await asyncio.sleep(0.01)
        assert (await house.talk(GET % b"/x")).endswith(b"/x|")
        assert house.counters.http_responses[503] == 1

    live(test, connections_max=3)


def test_drain_finishes_what_is_under_way():
    async def test(house):
        idle, busy, partial = [await house.client() for _ in range(3)]
        busy[1].write(GET % b"/hold" + GET % b"/queued")
        partial[1].write(post(b"abcd")[:-2])
        await house.holding()
        await asyncio.sleep(0.05)
        drain = asyncio.ensure_future(house.listener.drain(2_000))
        assert await asyncio.wait_for(idle[0].read(), 1) == b"", "an idle connection ends at once"
        with pytest.raises(OSError):
            await house.client()
        partial[1].write(b"cd")
        assert b"Connection: close" in await partial[0].read()
        house.held.pop().reply(200, b"held")
        text = await busy[0].read()
        assert b"held" in text and text.endswith(b"/queued|") and text.count(b"Connection: close") == 1
        assert await drain == 0

    live(test)


def test_drain_cuts_what_takes_too_long():
    async def test(house):
        reader, writer = await house.client()
        writer.write(GET % b"/hold")
        await house.holding()
        began = asyncio.get_running_loop().time()
        assert await house.listener.drain(100) == 1
        assert 0.09 < asyncio.get_running_loop().time() - began < 1
        house.held.pop().reply(200, b"too late")

    live(test)


def test_connections_leave_no_cycles():
    async def test(house):
        gc.collect()
        gc.disable()
        try:
            reader, writer = await house.client()
            writer.write(GET % b"/hold" + GET % b"/b")
            await house.holding()
            house.held.pop().reply(200, b"")
            await answer(reader)
            await answer(reader)
            writer.close()
            while house.listener.connections:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            kinds = (server.Connection, http.RequestParser, http.Request)
            assert [thing for thing in gc.get_objects() if issubclass(type(thing), kinds)] == []
        finally:
            gc.enable()

    live(test)


def test_addresses():
    assert server.split_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert server.split_address("[::1]:0") == ("::1", 0)
    for bad in ("", "localhost", "a:", "a:x", ":80", "a:65536", "a:-1"):
        with pytest.raises(ValueError, match="expected host:port"):
            server.split_address(bad)
