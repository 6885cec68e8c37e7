"""Remote bidders over real sockets: each may be slow, dead, garbled or hostile, and costs only its own bid."""

import asyncio
import gc
import gzip

import pytest
import uvloop

from exchange import client, config, fanout, metrics
from exchange.fanout import BAD_ANSWER, NO_BID, NOT_ASKED, OK, TIMEOUT, UNREACHABLE

BID = b'{"id":"1"}'
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


def ok(body=BID):
    return RESPONSE % (len(body), body)


class Bidders:
    """One port, many characters: the path of a request says how it is answered."""

    def __init__(self):
        self.seen = []
        self.connections = 0
        self.open = 0
        self.release = asyncio.Event()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                body = await reader.readexactly(int(fields[b"content-length"]))
                self.seen.append((head, body))
                await self.act(head.split(b" ")[1].decode().strip("/"), writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def act(self, character, writer):
        write = writer.write
        if character == "dribble":
            write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            for _ in range(200):
                write(b"x")
                await asyncio.sleep(0.01)
        elif character == "held":
            await self.release.wait()
            write(ok())
        elif character == "late":
            await asyncio.sleep(0.12)
            write(ok())
        elif character == "later":
            await asyncio.sleep(0.6)
            write(ok())
        elif character == "dead":
            await asyncio.sleep(30)
        elif character in SAID:
            for part in SAID[character][0]:
                write(part)
                await writer.drain()
            if character.startswith("close"):
                writer.close()


PACKED = gzip.compress(BID)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# what a bidder says, and what becomes of it
SAID = {
    "ok": ([ok()], OK, BID),
    "pieces": ([ok()[:5], ok()[5:30], ok()[30:]], OK, BID),
    "chunked": ([CHUNKED + b"5\r\n%b\r\n5\r\n%b\r\n0\r\n\r\n" % (BID[:5], BID[5:])], OK, BID),
    "gzip": ([ok(PACKED)], OK, BID),
    "continue": ([b"HTTP/1.1 100 Continue\r\n\r\n", ok()], OK, BID),
    "close_whole": ([b"HTTP/1.1 200 OK\r\n\r\n" + BID], OK, BID),
    "close_1_0": ([b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n" + BID], OK, BID),
    "nobid": ([b"HTTP/1.1 204 No Content\r\n\r\n"], NO_BID, b""),
    "empty": ([ok(b"")], NO_BID, b""),
    "error": ([b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno"], BAD_ANSWER, b""),
    "redirect": ([b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n"], BAD_ANSWER, b""),
    "garbage": ([b"\x00\x01garbage\r\n\r\n"], BAD_ANSWER, b""),
    "smtp": ([b"220 hello\r\n"], BAD_ANSWER, b""),
    "upgrade": (
        [b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nzz"],
        BAD_ANSWER,
        b"",
    ),
    "close_cut": ([ok()[:-3]], BAD_ANSWER, b""),
    "close_in_head": ([ok()[:12]], BAD_ANSWER, b""),
    "close_chunk": ([CHUNKED + b"5\r\nab"], BAD_ANSWER, b""),
    "close_silent": ([], UNREACHABLE, b""),
    "two_lengths": ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"], BAD_ANSWER, b""),
    "long": ([RESPONSE % (999, BID)], TIMEOUT, b""),
    "short": ([RESPONSE % (4, BID)], OK, BID[:4]),
    "twice": ([ok() + ok(b"second")], OK, BID),
    "huge": ([ok(b"x" * (client.ANSWER_MAX_BYTES + 1))], BAD_ANSWER, b""),
    "just_fits": ([ok(b"x" * client.ANSWER_MAX_BYTES)], OK, b"x" * client.ANSWER_MAX_BYTES),
    "bomb": ([ok(gzip.compress(b"x" * 10**7))], BAD_ANSWER, b""),
    "gzip_cut": ([ok(PACKED[:-4])], BAD_ANSWER, b""),
    "gzip_bad": ([ok(PACKED[:2] + b"nonsense")], BAD_ANSWER, b""),
    "big_head": ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n" * 2], BAD_ANSWER, b""),
    "many_continues": ([b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000], BAD_ANSWER, b""),
}


class House:
    """Bidders, and a fan-out to them."""

    async def open(self, names, **keys):
        self.bidders = await Bidders().start()
        url = f"http://127.0.0.1:{self.bidders.port}/"
        self.endpoints = [
            name if isinstance(name, config.Endpoint) else config.Endpoint(name, url + name, **keys) for name in names
        ]
        self.counters = [metrics.EndpointCounters() for _ in names]
        loop = asyncio.get_running_loop()
        self.fanout = fanout.Fanout(loop, self.endpoints, self.counters)
        return self

    def ask(self, *ixs, deadline_s=0.3, body=b'{"id":"1"}'):
        """Ask, as a future of the answers; `done` called twice fails the test."""
        future = asyncio.get_running_loop().create_future()
        self.fanout.ask(ixs, body, deadline_s, future.set_result)
        return future

    async def results(self, *ixs, deadline_s=0.3):
        return [answer.result for answer in await self.ask(*ixs, deadline_s=deadline_s)]


def live(test, names, **keys):
    """Run an async test against bidders of these names on uvloop."""

    async def run():
        house = await House().open(names, **keys)
        try:
            return await test(house)
        finally:
            house.fanout.close()
            house.bidders.server.close()
            await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(run(), 30))


def test_every_character_costs_only_its_own_bid():
    names = [name for name in SAID for _ in (0, 1)]  # each twice: the second meets what the first left behind

    async def test(house):
        for _ in range(3):
            answers = await house.ask(*reversed(range(len(names))), deadline_s=0.4)
            assert [a.endpoint for a in answers] == list(range(len(names)))
            wrong = [
                (name, answer.result)
                for name, answer in zip(names, answers, strict=True)
                if (answer.result, answer.body) != SAID[name][1:]
                # a host that never answers properly is left alone for a while
                and not (answer.result == UNREACHABLE and SAID[name][1] == BAD_ANSWER)
            ]
            assert wrong == []
        for name, counters in zip(names, house.counters, strict=True):
            results = [counters.ok, counters.no_bid, counters.timeout, counters.bad_answer, counters.unreachable]
            assert sum(results) == counters.calls + counters.not_asked == 3, name

    live(test, names)


@pytest.mark.parametrize("name", SAID)
def test_a_first_answer_is_what_it_is(name):
    async def test(house):
        [answer] = await house.ask(0)
        assert (answer.result, answer.body) == SAID[name][1:]

    live(test, [name])


def test_the_request_a_bidder_sees():
    async def test(house):
        assert (await house.ask(0, body=b'{"a":1}'))[0].result == OK
        [(head, body)] = house.bidders.seen
        assert head == (
            b"POST /ok HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
            b"x-openrtb-version: 2.6\r\nAccept-Encoding: identity\r\nContent-Length: 7\r\n\r\n" % house.bidders.port
        )
        assert body == b'{"a":1}'

    live(test, ["ok"])


def test_the_deadline_holds_and_late_answers_are_counted():
    async def test(house):
        loop = asyncio.get_running_loop()
        for _ in range(3):
            began = loop.time()
            assert await house.results(0, 1, 2, deadline_s=0.25) == [OK, TIMEOUT, TIMEOUT]
            assert 0.245 <= loop.time() - began < 0.55
            await asyncio.sleep(0.7)
        good, late, _ = house.counters
        assert (good.ok, late.timeout, late.late, late.ok) == (3, 3, 3, 0)
        assert late.latency[metrics.SUM] > 3 * 500_000, "late answers show how late"
        assert sum(1 for head, _ in house.bidders.seen if b"/later" in head) == 3
        assert len(house.fanout.remotes[1].pool.connections) == 1, "the late connection was kept"

    live(test, ["ok", "later", "dribble"])


def test_all_answers_in_no_waiting():
    async def test(house):
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await house.results(0, 1, deadline_s=5) == [OK, NO_BID]
        assert loop.time() - began < 1

    live(test, ["ok", "nobid"])


def test_nobody_home():
    async def test(house):
        gone = config.Endpoint("gone", "http://127.0.0.1:1/")
        lost = fanout.Fanout(asyncio.get_running_loop(), [gone])
        answers = []
        for _ in range(50):
            lost.ask([0], b"", 0.2, answers.extend)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.1)
        assert [answer.result for answer in answers] == [UNREACHABLE] * 50
        assert lost.remotes[0].counters.unreachable == 50
        lost.close()

    live(test, ["ok"])


def test_a_bidder_that_comes_back_is_found():
    async def test(house):
        port = house.bidders.port
        assert await house.results(0) == [OK]
        house.bidders.server.close()
        for connection in tuple(house.fanout.remotes[0].pool.connections):
            connection.fail(client.UNREACHABLE)
        await asyncio.sleep(0.02)
        assert await house.results(0) == [UNREACHABLE]
        back = await asyncio.start_server(house.bidders.serve, "127.0.0.1", port)
        assert await house.results(0) == [UNREACHABLE], "left alone for a while"
        await asyncio.sleep(0.3)
        assert await house.results(0) == [OK]
        back.close()

    live(test, ["ok"])


def test_in_flight_is_capped_and_recovers():
    async def test(house):
        first = [house.ask(0, deadline_s=0.1) for _ in range(6)]
        results = [(await f)[0].result for f in first]
        assert results == [TIMEOUT] * 4 + [NOT_ASKED] * 2
        assert await house.results(0, 1) == [NOT_ASKED, OK], "late calls still occupy it"
        house.bidders.release.set()
        await asyncio.sleep(0.05)
        assert house.counters[0].late == 4
        assert await house.results(0, 1) == [OK, OK]
        assert house.bidders.connections == 5

    live(test, ["held", "ok"], max_in_flight=4)


def test_a_hung_bidder_is_cut_off_in_the_end(monkeypatch):
    monkeypatch.setattr(fanout, "LATE_MAX_S", 0.1)

    async def test(house):
        assert await house.results(0, deadline_s=0.05) == [TIMEOUT]
        assert house.fanout.remotes[0].pool.in_flight == 1
        await asyncio.sleep(0.6)
        assert house.fanout.remotes[0].pool.in_flight == 0
        assert house.counters[0].timeout == 1 and house.counters[0].late == 0

    live(test, ["dead"])


def test_a_call_that_never_got_a_connection_is_taken_back(monkeypatch):
    monkeypatch.setattr(client.Pool, "_connect", lambda pool: setattr(pool, "_connecting", 1))

    async def test(house):
        assert await house.results(0, deadline_s=0.02) == [TIMEOUT]
        pool = house.fanout.remotes[0].pool
        assert pool.waiting == {} and pool.in_flight == 0

    live(test, ["ok"])


def test_calls_per_second():
    async def test(house):
        results = [(await house.ask(0))[0].result for _ in range(30)]
        burst = int(100 * fanout.BURST_S)
        assert results[:burst] == [OK] * burst
        assert burst <= results.count(OK) < 30 and results.count(OK) + results.count(NOT_ASKED) == 30
        await asyncio.sleep(0.1)
        assert await house.results(0) == [OK]

    live(test, ["ok"], qps=100)


def test_connections_are_used_again_the_last_one_first():
    async def test(house):
        house.fanout.warm(3)
        await asyncio.sleep(0.05)
        assert house.bidders.open == 3
        for _ in range(50):
            assert await house.results(0) == [OK]
        assert house.bidders.connections == 3
        used = sorted(connection._n for connection in house.fanout.remotes[0].pool.connections)
        assert used == [0, 0, 50]

    live(test, ["ok"])


def test_nothing_to_ask_and_no_time_left():
    async def test(house):
        assert await house.ask() == []
        assert await house.results(0, deadline_s=0) == [NOT_ASKED]
        assert house.bidders.seen == []

    live(test, ["ok"])


def test_what_done_raises_is_not_the_bidders_fault(caplog):
    async def test(house):
        def done(answers):
            raise ZeroDivisionError("on purpose")

        house.fanout.ask([0], b"", 0.3, done)
        await asyncio.sleep(0.1)
        assert "on purpose" in caplog.text
        assert await house.results(0) == [OK]
        assert house.bidders.connections == 1

    live(test, ["ok"])


def test_auctions_leave_no_cycles():
    async def test(house):
        await house.results(0, 1, 2, 3, deadline_s=0.1)
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await house.results(0, 1, 2, 3, deadline_s=0.02)
            await asyncio.sleep(0.2)
            kinds = (fanout._Auction, fanout.Answer)
            assert [thing for thing in gc.get_objects() if issubclass(type(thing), kinds)] == []
            open_ones = sum(len(remote.pool.connections) for remote in house.fanout.remotes)
            alive = [thing for thing in gc.get_objects() if issubclass(type(thing), client.Connection)]
            assert len(alive) == open_ones < 20
            del alive
        finally:
            gc.enable()

    live(test, ["ok", "late", "nobid", "close_cut"])


def test_a_bad_url_is_an_error_at_once():
    for url in ("https://x/", "http:///x", "http://a:b@x/"):
        with pytest.raises(ValueError, match="expected http://host:port/path"):
            fanout.Remote(asyncio.new_event_loop(), 0, config.Endpoint("e", url), metrics.EndpointCounters())
