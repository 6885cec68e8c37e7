"""A thousand malformed inputs against the whole exchange: it stays up, answers 4xx or closes, and journals nothing."""

import asyncio
import json
import random
from pathlib import Path

import pytest
import uvloop

from exchange.config import parse_config
from exchange.live import Live
from exchange.rent.ledger import Ledger
from tests.markets import eight_rules

GOOD = {
    "id": "r1",
    "imp": [
        {"id": "1", "banner": {"w": 300, "h": 250}, "bidfloor": 0.1, "bidfloorcur": "EUR"},
        {"id": "2", "video": {"mimes": ["video/mp4"], "w": 640, "h": 360}},
    ],
    "site": {"domain": "news.example"},
    "user": {"id": "p1", "data": [{"segment": [{"id": "urban"}]}]},
    "device": {"geo": {"country": "FRA"}},
    "regs": {"gdpr": 0},
}
# (path, values that the auction cannot use)
WRONG = [
    (("id",), (None, "", [], "x" * 100_000)),
    (("imp",), (None, [], {}, "imp", 7, [None], [[]], ["1"], [{}])),
    (("imp", 0, "id"), (None, "", [], {})),
    (("imp", 1, "id"), ("1",)),
    (("imp", 0, "banner"), (None, 5, "x")),
    (("imp", 0, "banner", "w"), (-1, -(10**30), 10**30, "wide")),
    (("imp", 0, "bidfloor"), (-0.01, 1e300, "dear", -(10**400))),
    (("imp", 1, "video", "mimes"), (None, [], {}, [""])),
    (("imp", 1, "video", "w"), (-640,)),
    (("site",), (3, "x", [1])),
    (("user",), (3, "x", [{}])),
    (("device", "geo"), ("FR", 5)),
    (("regs", "gdpr"), (2, -1, "yes")),
]


def bodies(rng: random.Random) -> bytes:
    """One body that is not an acceptable bid request."""
    whole = json.dumps(GOOD).encode()
    kind = rng.randrange(8)
    if kind == 0:
        return whole[: rng.randrange(1, len(whole) - 1)]
    if kind == 1:
        path, values = rng.choice(WRONG)
        tree = json.loads(whole)
        at = tree
        for step in path[:-1]:
            at = at[step]
        value = rng.choice(values)
        if value is None:
            at.pop(path[-1])
        else:
            at[path[-1]] = value
        return json.dumps(tree).encode()
    if kind == 2:
        depth = rng.choice((100, 10_000, 30_000))
        return rng.choice(
            (b"[" * depth, b'{"id":' * (depth // 6), b'{"id":"1","imp":' + b"[" * depth + b"]" * depth + b"}")
        )
    if kind == 3:
        number = rng.choice((b"NaN", b"Infinity", b"-Infinity", b"1e999999", b"-", b"01", b"+1", b"0x10"))
        return whole.replace(b"300", number, 1)
    if kind == 4:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(1, 300)))
    if kind == 5:
        at = rng.randrange(len(whole))
        return whole[:at] + rng.choice((b"\xff", b"\x00")) + whole[at:]
    if kind == 6:
        return rng.choice((b"null", b"5", b'"text"', b"[]", b"{}", b"true", b"\xef\xbb\xbf{}", b"{}{}"))
    return whole + rng.choice((b"}", b"x", b"\x00", whole))


def messages(rng: random.Random) -> tuple[bytes, bool]:
    """One HTTP message that must not reach the market; True when a body follows that need not be read."""
    kind = rng.randrange(10)
    body = bodies(rng)
    if kind < 6:
        return b"POST /openrtb2/auction HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), False
    good = json.dumps(GOOD).encode()
    head = b"POST /openrtb2/auction HTTP/1.1\r\nHost: t\r\n"
    return rng.choice(
        (
            (head + b"Content-Length: %d\r\n\r\n" % 10_000_000 + b" " * 65_536, True),
            (head + b"Content-Length: -5\r\n\r\n" + good, False),
            (head + b"Content-Length: 5, 6\r\n\r\n" + good, False),
            (head + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n" + good, False),
            (head + b"Content-Length: %d\r\n\r\n%b" % (len(good) - 9, good), False),
            (head + b"X: " + b"a" * 40_000 + b"\r\n\r\n", False),
            (b"BREW /openrtb2/auction HTTP/1.1\r\nHost: t\r\n\r\n", False),
            (b"DELETE /openrtb2/auction HTTP/1.1\r\nHost: t\r\n\r\n", False),
            (b"GET /openrtb2/auction HTTP/1.1\r\nHost: t\r\n\r\n", False),
            (b"POST /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}", False),
            (b"POST /openrtb2/auction HTTP/3.0\r\nHost: t\r\n\r\n", False),
            (b"POST /openrtb2/auction\r\nContent-Length: 2\r\n\r\n{}", False),
            (b"GET /i?t=" + b"A" * rng.randrange(100) + b" HTTP/1.1\r\nHost: t\r\n\r\n", False),
            (b"GET /c?t=%ff%00&x HTTP/1.1\r\nHost: t\r\n\r\n", False),
            (b"GET /" + b"i" * 20_000 + b" HTTP/1.1\r\nHost: t\r\n\r\n", False),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", False),
        )
    )


async def status_of(address: str, message: bytes) -> int:
    """Send a message on a connection of its own. Returns the status of the first answer, 0 when it was closed."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(message)
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        head = await asyncio.wait_for(reader.read(65_536), 10)
    except (ConnectionError, OSError):
        return 0
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.1 ") else 0


async def bombard(tmp_path: Path, count: int, seed: int) -> tuple[Live, list[int]]:
    live = Live(parse_config(eight_rules(str(tmp_path / "ledger"), extra='journal = "full"')))
    await live.start()
    rng = random.Random(seed)
    seen = []
    for n in range(count):
        message, _ = messages(rng)
        status = await status_of(live.address, message)
        assert status == 0 or 400 <= status < 500 or status in (501, 505), f"#{n}: {status} to {message[:800]!r}"
        seen.append(status)
    before = live.venue.rows_written()
    assert sum(before.values()) == 0, before
    body = json.dumps(GOOD).encode()
    good = b"POST /openrtb2/auction HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    assert await status_of(live.address, good) in (200, 204)
    assert live.counters.handler_faults == 0
    await live.stop()
    return live, seen


def test_a_thousand_malformed_inputs_change_nothing(tmp_path: Path) -> None:
    _, seen = uvloop.run(bombard(tmp_path, 1_000, 5))
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.auctions.size == 2, "only the good request is in the journal"
    assert {record.kind for record in ledger.inputs()} <= {20, 22}
    assert seen.count(400) > 500 and 413 in seen and 431 in seen and 404 in seen


@pytest.mark.torture
def test_many_malformed_inputs(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    uvloop.run(bombard(tmp_path, 20_000, seed))
