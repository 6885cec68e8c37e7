"""The load: it keeps its rate whatever the server does, counts what it could not send, and views what was sold."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.config import Creative, parse_config
from exchange.load import generator as gen
from exchange.load.generator import Generator, Load, arrivals
from exchange.load.viewer import Viewer, click_link
from exchange.openrtb.encode import Markup
from exchange.openrtb.response import Bid, BidResponse, SeatBid
from exchange.population import Population

ROOT = Path(__file__).resolve().parents[1]
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def body(t: int) -> bytes:
    """The body of request t."""
    return b'{"t":%d}' % t


async def _serving(answer: Callable[[bytes], Awaitable[bytes]], use: Callable[[str], Awaitable[Load]]) -> Load:
    """Run `use(address)` against a little server whose `answer(body)` gives the whole response; b"" = none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                reply = await answer(await reader.readexactly(length))
                if reply:
                    writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        return await use(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()


def load_against(answer: Callable[[bytes], Awaitable[bytes]], times_s: np.ndarray, **options: object) -> Load:
    """The outcome of a load against such a server."""
    return asyncio.run(
        _serving(answer, lambda address: Generator(address, times_s, body, **options).run())  # type: ignore[arg-type]
    )


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.floats(0.01, 20), st.floats(0.1, 2_000), st.integers(0, 2**31), st.sampled_from(gen.ARRIVALS))
def test_arrivals_are_as_many_as_asked_in_order_and_in_time(seconds: float, qps: float, seed: int, kind: str) -> None:
    times_s = arrivals(seconds, qps, seed, kind)
    assert len(times_s) == round(seconds * qps)
    assert np.all(np.diff(times_s) >= 0)
    assert not len(times_s) or (times_s[0] >= 0 and times_s[-1] <= seconds + 1 / qps)
    assert np.array_equal(times_s, arrivals(seconds, qps, seed, kind))


def test_poisson_arrivals_scatter_and_even_ones_do_not() -> None:
    gaps_s = np.diff(arrivals(100, 100, 5))
    assert 0.9 < gaps_s.std() / gaps_s.mean() < 1.1  # 1 for exponential gaps
    assert np.allclose(np.diff(arrivals(1, 100, 5, "even")), 0.01)
    with pytest.raises(ValueError, match="uniform"):
        arrivals(1, 1, 0, "uniform")
    with pytest.raises(ValueError, match="requests"):
        arrivals(1e6, 1e6, 0)


def test_it_holds_its_rate_against_the_bare_server() -> None:
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "bench" / "bare_server.py"), "0"], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().decode().split("http://")[1].strip()
        load = asyncio.run(Generator(address, arrivals(1.5, 2_000, 1), body).run())
    finally:
        server.terminate()
        server.communicate(timeout=10)
    assert (load.intended, load.sent, load.unsent, load.failed) == (3_000, 3_000, 0, 0)
    assert load.statuses == {200: 3_000}
    assert 1.4 < load.elapsed_s < 2.5
    assert load.latency_ms(50) < 50


def test_a_stall_counts_for_everyone_who_meant_to_come_meanwhile() -> None:
    """200 requests at 5 ms; from 0.3 s to 0.6 s the server answers nobody. A closed loop would see one slow answer."""
    began_s = 0.0

    async def stalling(_: bytes) -> bytes:
        nonlocal began_s
        began_s = began_s or time.perf_counter()
        into_s = time.perf_counter() - began_s
        if 0.3 < into_s < 0.6:
            await asyncio.sleep(0.6 - into_s)
        return OK

    load = load_against(stalling, arrivals(1.0, 200, 0, "even"), connections_max=4)
    assert load.answered == 200
    assert load.latency_ms(99) > 250
    assert np.count_nonzero(load.latency_s > 0.1) >= 35  # about 40 of the 60 that came within the stall
    assert load.latency_ms(50) < 100


def test_its_own_delays_count_too() -> None:
    """While this process is busy nothing is sent; what was due then is late, and says so."""
    slept = False

    def busy(t: int, status: int, answer: bytes) -> None:
        nonlocal slept
        if t == 20 and not slept:
            slept = True
            time.sleep(0.25)

    async def at_once(_: bytes) -> bytes:
        return OK

    load = load_against(at_once, arrivals(0.5, 200, 0, "even"), answered=busy)
    assert load.answered == 100
    assert np.count_nonzero(load.latency_s > 0.05) >= 30
    assert load.lag_s.max() > 0.15


def test_what_exceeds_the_limit_is_unsent_and_what_gets_no_answer_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gen, "PATIENCE_S", 0.4)

    async def silent(_: bytes) -> bytes:
        return b""

    load = load_against(silent, arrivals(0.2, 100, 0, "even"), in_flight_max=4, connections_max=2)
    assert (load.intended, load.sent, load.unsent) == (20, 4, 16)
    assert (load.answered, load.failed, load.statuses) == (0, 4, {})
    assert load.latency_s.min() >= 0.4


def test_a_dead_server_fails_every_request() -> None:
    load = asyncio.run(Generator("127.0.0.1:9", arrivals(0.1, 100, 0, "even"), body).run())
    assert (load.sent, load.failed, load.answered) == (10, 10, 0)
    assert load.latency_ms(50) >= gen.PATIENCE_S * 1e3


# ---- views and clicks ------------------------------------------------------------------------------------------

CREATIVES = [
    Creative(id="b", w=300, h=250, image="https://cdn.example/b.png"),
    Creative(id="v", type="video", w=640, h=360, image="https://cdn.example/v.mp4"),
    Creative(id="a", type="audio", image="https://cdn.example/a.mp3"),
    Creative(id="n", type="native", w=10, h=10, image="https://cdn.example/n.png"),
]
CLICK = "http://127.0.0.1:8080/c?t=" + "Ab-_" * 13
SEEN = "http://127.0.0.1:8080/i?t=" + "Ab-_" * 13


@pytest.mark.parametrize("creative", CREATIVES, ids=lambda c: c.type)
def test_the_click_link_is_found_in_every_kind_of_markup(creative: Creative) -> None:
    assert click_link(Bid(adm=Markup(creative).render(CLICK, SEEN, {}))) == CLICK


def test_the_click_link_of_a_remote_bid_stands_in_ext() -> None:
    assert click_link(Bid(adm="<img>", ext={"rentier": {"click": CLICK}})) == CLICK
    assert click_link(Bid(adm="<img>", ext={"other": 1})) == ""
    assert click_link(Bid(adm="<a href='https://elsewhere.example/c?t=short'>")) != CLICK


SHOWN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FOUND = b"HTTP/1.1 302 Found\r\nLocation: https://brand.example/\r\nContent-Length: 0\r\n\r\n"
CONFIG = """
[exchange]
seed = 3
[population]
people = 50
placements = 8
view_rate = 0.7
ctr = 0.5
cvr = 0.6
view_delay_ms = 20
click_delay_ms = 30
conversion_delay_ms = 40
"""


def test_the_viewer_calls_what_the_population_says_and_nothing_else() -> None:
    population = Population(parse_config(CONFIG), b"salt")
    calls: list[tuple[float, str]] = []

    async def follow() -> tuple[Viewer, dict[str, int], float]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                if line.startswith(b"GET "):
                    calls.append((time.perf_counter(), line.split()[1].decode()))
                    writer.write(FOUND if b"/c?" in line else SHOWN)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        viewer = Viewer(asyncio.get_running_loop(), address, population)
        began_s = time.perf_counter()
        for t in range(40):
            sold = Bid(
                id="x",
                impid="1",
                burl=f"http://{address}/i?t=v{t}",
                ext={"rentier": {"click": f"http://{address}/c?t=v{t}"}},
            )
            viewer.answered(t, 200, msgspec.json.encode(BidResponse(id="r", seatbid=(SeatBid(bid=(sold,)),))))
        viewer.answered(99, 204, b"")
        elsewhere = Bid(id="x", impid="1", burl="http://127.0.0.2:1/i?t=other")
        seen_t = next(t for t in range(40) if population.truth(population.at(t), 0)[0])
        viewer.answered(seen_t, 200, msgspec.json.encode(BidResponse(id="r", seatbid=(SeatBid(bid=(elsewhere,)),))))
        await viewer.finish()
        server.close()
        return viewer, viewer.counts, began_s

    viewer, counts, began_s = asyncio.run(follow())
    truths = [population.truth(population.at(t), 0) for t in range(40)]
    seen = {f"/i?t=v{t}" for t, (seen, _) in enumerate(truths) if seen}
    clicked = {f"/c?t=v{t}" for t, (_, clicked) in enumerate(truths) if clicked}
    assert 0 < len(clicked) < len(seen) < 40
    converted = {f"/t?t=v{t}" for t in range(40) if truths[t][1] and population.converts(population.at(t), 0)}
    assert 0 < len(converted) < len(clicked)
    assert sorted(path for _, path in calls) == sorted(seen | clicked | converted)
    assert counts == {"sold": 41, "viewed": len(seen), "clicked": len(clicked), "converted": len(converted),
                      "failed": 1, "skipped": 0}  # fmt: skip
    assert all(at_s - began_s >= {"/i": 0.015, "/c": 0.045, "/t": 0.055}[path[:2]] for at_s, path in calls)
    assert viewer.pending == 0
