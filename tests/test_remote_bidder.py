"""The bidder engineer's test: sixty lines of HTTP join the demo, and what they are told agrees with the ledger."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from bidders.remote import flaky, shading, steady, wire
from exchange.books.reconcile import reconcile
from exchange.config import load_config, shipped
from exchange.load import merge, screen
from exchange.load.generator import Generator, arrivals
from exchange.load.viewer import Viewer
from exchange.market import KIND_IMPRESSION, cpm_down
from exchange.openrtb import codes
from exchange.population import Population
from exchange.rent.ledger import Ledger

ROOT = Path(__file__).resolve().parents[1]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
READY_S = 240  # a cold cache compiles first

# ---- sixty lines of bidder -----------------------------------------------------------------------------------------


class MyBidder(BaseHTTPRequestHandler):
    """Bids 0.5 to 4.5 on every banner; now and then a creative that does not fit, or nothing."""

    protocol_version = "HTTP/1.1"
    requests: list[dict[str, Any]] = []
    bids: dict[str, float] = {}  # id -> CPM
    notices: list[tuple[float, str, dict[str, str]]] = []  # when, kind, what it said
    draw = random.Random(5)

    def do_POST(self) -> None:
        """A bid request."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append(request)
        bids = [self.bid(request, imp) for imp in request["imp"] if "banner" in imp]
        if not bids:
            self.answer(204, b"")
            return
        body = {"id": request["id"], "cur": "EUR", "seatbid": [{"seat": "me", "bid": bids}]}
        self.answer(200, json.dumps(body).encode())

    def bid(self, request: dict[str, Any], imp: dict[str, Any]) -> dict[str, Any]:
        """One bid; its notices say which one it was and what the exchange told."""
        ident = f"{request['id']}-{imp['id']}"
        price = round(self.draw.uniform(0.5, 4.5), 3)
        self.bids[ident] = price
        size = imp["banner"]["format"][0] if self.draw.random() > 0.1 else {"w": 1, "h": 1}
        url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        told = f"?bid={ident}&imp=${{AUCTION_IMP_ID}}&of=${{AUCTION_ID}}&price=${{AUCTION_PRICE}}"
        told += "&cur=${AUCTION_CURRENCY}&loss=${AUCTION_LOSS}&min=${AUCTION_MIN_TO_WIN}&seat=${AUCTION_SEAT_ID}"
        return {
            "id": ident, "impid": imp["id"], "price": price, "adm": "<img src='https://me.example/ad'>",
            "adomain": ["me.example"], "crid": "c1", "w": size["w"], "h": size["h"], "mtype": 1,
            "nurl": url + "nurl" + told, "lurl": url + "lurl" + told, "burl": url + "burl" + told,
        }  # fmt: skip

    def do_GET(self) -> None:
        """A notice."""
        path = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(path.query).items()}
        self.notices.append((time.perf_counter(), path.path.strip("/"), query))
        self.answer(204, b"")

    def answer(self, status: int, body: bytes) -> None:
        """Say it."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


# ---- what it saw, against the ledger -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, dict[str, Any], int]]:
    """Three seconds of demo with the bidder in it: its ledger, its JSON, the bidder's endpoint number."""
    folder = tmp_path_factory.mktemp("joined")
    server = ThreadingHTTPServer(("127.0.0.1", 0), MyBidder)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/bid"
    done = subprocess.run(
        [sys.executable, "-m", "exchange", "demo", "--seconds", "3", "--qps", "150", "--json", "--bidder", url],
        cwd=folder, env=ENV, capture_output=True, text=True, timeout=READY_S,
    )  # fmt: skip
    server.shutdown()
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    names = [endpoint.name for endpoint in load_config(folder / facts["config"]).endpoint]
    yield Ledger(folder / facts["ledger"]), facts, names.index("yours")
    server.server_close()


def told(kind: str) -> list[dict[str, str]]:
    """What the notices of a kind said."""
    return [query for _, which, query in MyBidder.notices if which == kind]


def nano(text: str) -> int:
    """A price as the macros write it, in nano per impression."""
    return cpm_down(float(text))


def test_it_sees_bid_requests(joined: tuple[Ledger, dict[str, Any], int]) -> None:
    ledger, _, me = joined
    not_asked = (ledger.bids["endpoint"] == me) & (ledger.bids["fate"] == codes.NOT_ASKED)
    assert len(MyBidder.requests) == 450 - int(not_asked.sum()) > 400
    first = MyBidder.requests[0]
    assert {"id", "imp", "site", "user", "at", "tmax", "cur"} <= first.keys()
    assert 0 < first["tmax"] <= 120 and first["at"] == 2


def test_its_wins_agree_with_the_ledger_to_the_unit(joined: tuple[Ledger, dict[str, Any], int]) -> None:
    ledger, facts, me = joined
    wins = ledger.wins[ledger.wins["endpoint"] == me]
    won = told("nurl")
    row = next(row for row in facts["bidders"] if row["name"] == "yours")
    assert len(won) == len(wins) == row["wins"] > 20
    assert sorted(nano(query["price"]) for query in won) == sorted(wins["clearing_nano"].tolist())
    pairs = sorted((nano(q["price"]), cpm_down(MyBidder.bids[q["bid"]])) for q in won)
    assert pairs == sorted(zip(wins["clearing_nano"].tolist(), wins["bid_nano"].tolist(), strict=True))
    for query in won:
        assert query["bid"] == f"{query['of']}-{query['imp']}"
        assert (query["cur"], query["loss"], query["seat"]) == ("EUR", "0", "me")
        assert 0 < nano(query["price"]) <= nano(query["min"]) + 10_000  # second price: what it took, plus the increment
    assert ledger.names.text("advertiser", int(wins["advertiser"][0])) == "me.example"


def test_losses_are_told_with_their_code(joined: tuple[Ledger, dict[str, Any], int]) -> None:
    ledger, _, me = joined
    rows = ledger.bids[ledger.bids["endpoint"] == me]
    fates = Counter(rows["fate"].tolist())
    lost = told("lurl")
    expected = {fate: n for fate, n in fates.items() if fate != codes.WON and fate not in screen.SILENT}
    assert Counter(int(query["loss"]) for query in lost) == expected
    assert {codes.OUTBID, codes.CREATIVE_SIZE} <= expected.keys()
    assert not {query["bid"] for query in lost} & {query["bid"] for query in told("nurl")}
    for query in lost:
        if query["loss"] == str(codes.OUTBID):
            assert nano(query["min"]) >= cpm_down(MyBidder.bids[query["bid"]])
        assert "price" not in query  # a loser is not told the price


def test_burl_comes_after_the_impression_and_only_then(joined: tuple[Ledger, dict[str, Any], int]) -> None:
    ledger, _, me = joined
    wins = ledger.wins[ledger.wins["endpoint"] == me]
    billed = ledger.events[ledger.events["kind"] == KIND_IMPRESSION]
    mine = wins[np.isin(wins["serial"], billed["serial"])]
    assert 0 < len(mine) < len(wins)  # some are never seen
    bills = told("burl")
    assert sorted(nano(query["price"]) for query in bills) == sorted(mine["clearing_nano"].tolist())
    when = {(which, query["bid"]): at_s for at_s, which, query in MyBidder.notices}
    assert len({query["bid"] for query in bills}) == len(bills)
    delays_s = [when["burl", query["bid"]] - when["nurl", query["bid"]] for query in bills]
    assert min(delays_s) > 0.1  # the population looks after 250 ms


# ---- the example bidders ---------------------------------------------------------------------------------------------

REQUEST = {
    "id": "r", "cur": ["USD"],
    "imp": [
        {"id": "1", "banner": {"w": 300, "h": 250}}, {"id": "2", "video": {}}, {"id": "3", "native": {"request": "x"}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", [steady.Steady, shading.Shading, flaky.Flaky], ids=lambda k: k.__name__)
def test_an_example_bidder_repeats_itself_with_its_seed(kind: type[wire.Bidder]) -> None:
    def prices(seed: int) -> list[float | None]:
        bidder = kind(seed)
        return [bidder.price({"id": f"r{n}"}, {"id": "1"}) for n in range(60)]

    assert prices(1) == prices(1) != prices(2)
    bids = [price for price in prices(1) if price is not None]
    assert 20 < len(bids) < 60
    assert 0.5 < float(np.median(bids)) < 3


def test_an_example_bidder_answers_in_the_currency_asked_and_above_the_floor() -> None:
    bidder = steady.Steady(1)
    bidder.base = "http://127.0.0.1:1"
    bidder.price = lambda request, imp: 1.0  # type: ignore[method-assign]
    status, body = asyncio.run(bidder.answer(REQUEST))
    response = json.loads(body)
    assert (status, response["cur"]) == (200, "USD")
    bids = response["seatbid"][0]["bid"]
    assert [bid["price"] for bid in bids] == [round(1 / 0.92, 4)] * 2  # an empty video object is no offer
    assert bids[0]["burl"].startswith("http://127.0.0.1:1/billed?") and "${AUCTION_PRICE}" in bids[0]["burl"]
    high = {**REQUEST, "imp": [{"id": "1", "banner": {}, "bidfloor": 1.2}]}
    assert asyncio.run(bidder.answer(high)) == (204, b"")  # 1.2 USD are more than 1 EUR
    assert asyncio.run(bidder.answer({**REQUEST, "cur": ["JPY"]})) == (204, b"")


def test_the_shading_bidder_learns_from_notices() -> None:
    bidder = shading.Shading(1)
    before = bidder.shade
    bidder.notice("won", {})
    assert bidder.shade < before
    for _ in range(200):
        bidder.notice("lost", {"loss": "102"})
    assert bidder.shade == shading.MOST
    bidder.notice("lost", {"loss": "203"})
    for _ in range(400):
        bidder.notice("won", {})
    assert bidder.shade == shading.LEAST


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


@contextmanager
def exchange(config: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running exchange and its address; killed at the end if it still runs."""
    with (folder / "stderr").open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "exchange", "serve", "--config", str(config)],
            stdout=subprocess.PIPE, stderr=errors, env=ENV,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("rentier ready on http://"), (folder / "stderr").read_text()
        yield process, line.split()[3].removeprefix("http://")
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@dataclass
class Doomed:
    """A process to be killed `delay_s` after its `n`th answer with a bid."""

    process: subprocess.Popen[bytes]
    n: int
    delay_s: float


def killed_rounds(folder: Path, rounds: int, seed: int) -> None:
    """Load an exchange, kill -9 it in the middle, restart it on the same ledger; after each kill all is well."""
    table = merge.merge(merge.read_table(shipped("demo.toml")), seed=seed, qps=600.0, own_list=None)
    table["population"] |= {"view_delay_ms": 30, "click_delay_ms": 30}
    table["server"]["flush_ms"] = 50
    config = merge.write(table, folder)
    people = Population(config, b"salt")
    draw = random.Random(seed)
    before = 0
    for number in range(rounds):
        with exchange(folder / merge.FILE, folder) as (process, address):
            answers: Counter[int] = Counter()
            # counted in answers, not in seconds: a slow machine is killed as deep in its work as a fast one
            doomed = Doomed(process, draw.randrange(11, 250), draw.uniform(0.0, 0.03))
            asyncio.run(_load_until_dead(address, arrivals(3.0, 600.0, seed + number), people, answers, doomed))
            process.kill()
            process.wait(10)
            assert process.returncode == -signal.SIGKILL
            assert answers[200] > 10
        found = reconcile(Ledger(folder))
        assert (found.count, found.differences) == (0, []), f"seed {seed}, round {number}"
        assert found.rows > before
        before = found.rows
    with exchange(folder / merge.FILE, folder) as (process, address):
        asyncio.run(_load_until_dead(address, arrivals(0.3, 300.0, seed), people, Counter()))
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    ledger = Ledger(folder)
    assert ledger.clean
    found = reconcile(ledger)
    assert found.count == 0 and found.rows > before


async def _load_until_dead(
    address: str, times_s: Any, people: Population, answers: Counter[int], doomed: Doomed | None = None
) -> None:
    """Let people come, see and click until nobody answers any more."""
    loop = asyncio.get_running_loop()
    viewer = Viewer(loop, address, people)

    class Dead(Exception):
        """The exchange is gone."""

    def answered(t: int, status: int, body: bytes) -> None:
        answers[status] += 1
        viewer.answered(t, status, body)
        if doomed and status == 200 and answers[200] == doomed.n:
            loop.call_later(doomed.delay_s, doomed.process.kill)

    def alive(done: float, total: float) -> None:
        if answers[-1] + answers[-2] > 0:
            raise Dead

    try:
        await Generator(address, times_s, lambda t: people.request(people.at(t)), answered).run(alive)
        await viewer.finish()
    except Dead:
        viewer.pool.close()


def test_kill_9_in_the_middle_leaves_a_ledger_that_reconciles(tmp_path: Path) -> None:
    killed_rounds(tmp_path, 2, 3)


@pytest.mark.torture
def test_kill_9_twenty_times(tmp_path: Path) -> None:
    seed = int(time.time())
    print(f"seed {seed}")
    killed_rounds(tmp_path, 20, seed)
