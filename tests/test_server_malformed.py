"""A thousand malformed requests on real sockets leave the server up and answering."""

import asyncio
import random

from tests.test_server_protocol import GET, answer, live, post


def noise(draw, most):
    return bytes(draw.randrange(256) for _ in range(draw.randrange(1, most)))


def flipped(draw, good):
    bad = bytearray(good)
    for _ in range(draw.randrange(1, 8)):
        bad[draw.randrange(len(bad))] = draw.randrange(256)
    return bytes(bad)


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
METHODS = [b"BREW", b"DELETE", b"post", b"", b"CONNECT", b"\xff\xfe"]
# each makes something malformed or mangled of a good request
MUTATIONS = [
    lambda draw, good: good[: draw.randrange(len(good))],
    lambda draw, good: good.replace(b"Content-Length: ", b"Content-Length: %d" % draw.randrange(1, 10**6)),
    lambda draw, good: good.replace(b"POST", draw.choice(METHODS), 1),
    lambda draw, good: GET % (b"/" + bytes(draw.choices(b"abc%/?#[]{}^~", k=draw.randrange(40)))),
    lambda draw, good: good[: (at := draw.randrange(len(good)))] + b"\0" * draw.randrange(1, 5) + good[at:],
    lambda draw, good: GET % b"/x" + b"X" * draw.randrange(10_000),
    lambda draw, good: b"GET /x HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"h" * draw.randrange(2_000, 60_000)),
    lambda draw, good: b"GET /x\r\nHost: a\r\n\r\n" + good,
    flipped,
    lambda draw, good: good * draw.randrange(1, 5) + noise(draw, 300),
    lambda draw, good: CHUNKED + b"".join(b"%x\r\n%b\r\n" % (k, b"y" * draw.randrange(40)) for k in range(9, 0, -1)),
    lambda draw, good: noise(draw, 2_000),
]


def mutation(draw):
    return draw.choice(MUTATIONS)(draw, post(noise(draw, 200)))


def test_a_thousand_malformed_inputs():
    async def test(house):
        draw = random.Random(20_260)
        statuses = dict.fromkeys((0, 200), 0)

        async def one(data):
            text = await house.talk(data)
            assert not text or text.startswith(b"HTTP/1.1 "), text[:80]
            last = text.rpartition(b"HTTP/1.1 ")[2][:3]
            status = int(last or 0)
            assert status in (0, 200) or 400 <= status < 600
            statuses[status] = statuses.get(status, 0) + 1

        for _ in range(50):
            await asyncio.gather(*(one(mutation(draw)) for _ in range(20)))
            reader, writer = await house.client()
            writer.write(post(b"good"))
            assert await answer(reader) == (200, b"/openrtb2/auction|good")
            writer.close()
        assert sum(statuses.values()) == 1_000
        assert {0, 200, 400, 405, 431, 501, 505} <= set(statuses), statuses
        assert statuses[400] > 100 and house.counters.handler_faults == 0

    live(test)
