"""Requests and changes at the same time, against an oracle that knows the market of every snapshot version.

Bids are kept and no campaign ever runs out of anything, so the local campaigns with a bid on an auction row are those
that were eligible. Some requests wait for a remote bidder while the market changes under them.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from exchange import market as mk
from exchange.auction.changes import Change
from exchange.books.reconcile import reconcile
from exchange.config import parse_config
from exchange.line import Line
from exchange.links import Links
from exchange.live import Live
from exchange.opening import open_venue
from exchange.rent.ledger import Ledger
from exchange.simulate.replay import compare
from tests.bidder import Bidder
from tests.test_live import NOW_NS, body_of, text_of
from tests.test_parity import Client

SEGMENTS = [f"s{k}" for k in range(30)]  # a target mentions the first ones at once, the last ones late
COUNTRIES = ["FR", "DE", "GB", "ES"]
AD = {"id": "ad", "w": 300, "h": 250, "image": "https://acme.example/ad.png"}


class Wanted:
    """An audience, as text and as what it means."""

    def __init__(self, rng: random.Random, known: int) -> None:
        some = SEGMENTS[: max(2, known)]
        both = rng.sample(some, 2)
        split = rng.randint(0, 2)
        self.one, self.none = both[:split], both[split:][: rng.randint(0, 1)]
        self.countries = rng.sample(COUNTRIES, rng.randint(0, 3))

    @property
    def text(self) -> str:
        parts = [f"seg one of [{', '.join(self.one)}]"] if self.one else []
        parts += [f"seg none of [{', '.join(self.none)}]"] if self.none else []
        parts += [f"country in [{', '.join(self.countries)}]"] if self.countries else []
        return " and ".join(parts)

    def meets(self, country: str, segments: list[str]) -> bool:
        one = not self.one or bool(set(self.one) & set(segments))
        return one and not set(self.none) & set(segments) and (not self.countries or country in self.countries)


class Oracle:
    """The market of every snapshot version: campaign -> audience, of those that are alive."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.alive: dict[str, Wanted | None] = {"acme/always": None}
        self.paused: dict[str, Wanted | None] = {}
        self.versions: dict[int, dict[str, Wanted | None]] = {1: dict(self.alive)}
        self.added = 0

    def change(self) -> Change:
        """A random change; it is carried out here too."""
        rng, known = self.rng, 2 + self.added // 4
        what = rng.choices(("add", "change", "pause", "resume", "end"), (5, 4, 2, 2, 1))[0]
        some = sorted(self.alive if what != "resume" else self.paused)
        if what == "add" or not some:
            self.added += 1
            name, wanted = f"c{self.added}", Wanted(rng, known)
            self.alive[f"acme/{name}"] = wanted
            found = Change("add", "acme", {"name": name, "target": wanted.text, "value_cpm": 2.0, "creative": [AD]})
        else:
            where = rng.choice(some)
            found = Change(what, where)
            if what == "change":
                wanted = self.alive[where] = Wanted(rng, known)
                found = Change("change", where, {"target": wanted.text, "value_cpm": rng.uniform(1, 3)})
            elif what == "pause":
                self.paused[where] = self.alive.pop(where)
            elif what == "resume":
                self.alive[where] = self.paused.pop(where)
            else:
                del self.alive[where]
        self.versions[len(self.versions) + 1] = dict(self.alive)
        return found

    def check(self, ledger: Ledger, asked: dict[str, tuple[str, list[str]]]) -> int:
        """Every auction row against the market of its version. Returns how many versions sold something."""
        local = ledger.bids[ledger.bids["endpoint"] < 0]
        names = {int(c): ledger.names.text("campaign", int(c)) for c in np.unique(local["campaign"])}
        bidders: dict[int, set[str]] = {}
        for auction, campaign in zip(local["auction_id"].tolist(), local["campaign"].tolist(), strict=True):
            bidders.setdefault(auction, set()).add(names[campaign])
        for row in ledger.auctions:
            country, segments = asked[ledger.names.text("domain", int(row["domain"]))]
            market = self.versions[int(row["snapshot_version"])]
            expected = {c for c, wanted in market.items() if wanted is None or wanted.meets(country, segments)}
            found = bidders.get(int(row["auction_id"]), set())
            assert found == expected, (int(row["snapshot_version"]), found ^ expected, country, segments)
            assert int(row["n_eligible"]) == len(expected)
        return len(set(ledger.auctions["snapshot_version"].tolist()))


async def traffic(text: str, seed: int, requests: int, clients: int) -> tuple[Live, Oracle, dict[str, Any], int]:
    """Clients ask without a pause while the market changes; half the requests wait for a bidder, some milliseconds."""
    rng = random.Random(seed)
    waits = random.Random(seed + 1)
    bidder = await Bidder("dsp", lambda self, request: (waits.choice((0.0, 0.002, 0.01)), None)).start()
    live = Live(parse_config(text.replace("PORT", str(bidder.port))))
    await live.start()
    oracle, asked = Oracle(rng), dict[str, tuple[str, list[str]]]()
    asked[""] = ("", [])
    parts, adopted = 0, live.venue.targets.adopt

    def adopt(built: Any) -> None:
        nonlocal parts
        parts += 1
        adopted(built)

    live.venue.targets.adopt = adopt  # type: ignore[method-assign]

    async def client(first: int) -> None:
        mine = await Client().connect(live.address)
        for k in range(first, requests, clients):
            country, segments = rng.choice(COUNTRIES), rng.sample(SEGMENTS, rng.randint(0, 6))
            place = f"p{k}.example"
            asked[place] = (country, segments)
            user = {"id": f"u{k % 9}", "data": [{"segment": [{"id": s} for s in segments]}]}
            body = body_of(id=f"r{k}", user=user, site={"domain": place}, device={"geo": {"country": COUNTRY[country]}})
            assert (await mine.call("POST", "/openrtb2/auction", body))[0] in (200, 204)

    async def changer(running: list[asyncio.Task[None]]) -> None:
        while not all(task.done() for task in running):
            for _ in range(rng.choice((1, 1, 2, 5))):
                live.change(oracle.change())
            await asyncio.sleep(rng.choice((0, 0.001, 0.004)))

    running = [asyncio.ensure_future(client(k)) for k in range(clients)]
    await changer(running)
    await asyncio.gather(*running)
    await live.stop()
    await bidder.stop()
    return live, oracle, asked, parts


COUNTRY = {"FR": "FRA", "DE": "DEU", "GB": "GBR", "ES": "ESP"}
ENDPOINT = '[[endpoint]]\nname = "dsp"\nurl = "http://127.0.0.1:PORT/bid"\ntarget = "country in [FR, DE]"\n'


def check_traffic(tmp_path: Path, seed: int, requests: int) -> None:
    text = text_of(tmp_path, "timeout_ms = 2000", "floor_cpm = 0.1", ENDPOINT, 'journal = "full"', budget=1e6)
    live, oracle, asked, parts = uvloop.run(traffic(text, seed, requests, 6))
    ledger = Ledger(live.folder)
    assert ledger.auctions.size == requests
    assert oracle.check(ledger, asked) > 30 and parts >= 2, "hardly anything changed: the test is too easy"
    assert reconcile(ledger).differences == []
    again = compare(live.config, live.folder)
    assert again.differences == [] and again.inputs >= requests + len(oracle.versions) - 1


def test_every_auction_sees_one_whole_market(tmp_path: Path) -> None:
    check_traffic(tmp_path, 1, 600)


@pytest.mark.torture
def test_every_auction_sees_one_whole_market_whatever_the_seed(tmp_path: Path) -> None:
    seed = int(os.environ.get("RENTIER_SEED") or random.SystemRandom().randrange(2**32))
    print(f"RENTIER_SEED={seed}")
    for k in range(5):
        check_traffic(tmp_path / str(k), seed + k, 4_000)


# ---- many, and money ---------------------------------------------------------------------------------------------


def opened(text: str) -> Line:
    venue, key = open_venue(parse_config(text))
    return Line(venue, key, Links(key, "http://x"))


def test_a_thousand_campaigns_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far beyond the room that was set aside and what a journal block held; then they all end."""
    monkeypatch.setattr("exchange.opening.ROOM_MIN", 3)
    monkeypatch.setattr("exchange.opening.block_rows", lambda config: 16)
    line = opened(text_of(tmp_path, auction="floor_cpm = 0.1", budget=1e6))
    venue, targets = line.venue, line.venue.targets
    for k in range(1_000):
        brief = {"name": f"c{k}", "target": f"seg one of [x{k}, all]", "value_cpm": 2.0, "creative": [AD]}
        line.change(Change("add", "acme", brief), NOW_NS)
        if k % 50 == 0:
            for segment, n in ((f"x{k}", 2), (f"x{k + 1}", 1), ("all", k + 2)):
                assert eligible(line, segment) == n
        if k % 300 == 299:
            targets.catch_up()
    assert eligible(line, "all") == 1_001 and venue.stock.states()["alive"] == 1_001
    for k in range(1_000):
        line.change(Change("end", f"acme/c{k}"), NOW_NS)
    assert eligible(line, "all") == 1 and venue.stock.states() == {
        "alive": 1, "off_flight": 0, "paused": 0, "ended": 1_000,
    }  # fmt: skip
    targets.settle()
    assert eligible(line, "all") == 1
    venue.close()
    ledger = Ledger(tmp_path / "ledger")
    assert reconcile(ledger).differences == []
    assert int(ledger.auctions["snapshot_version"][-1]) == 2_001
    assert len(ledger.meta["budgets_nano"]) == 1_001


def eligible(line: Line, segment: str) -> int:
    """How many local campaigns bid on a visit of somebody in a segment."""
    user = {"id": "u", "data": [{"segment": [{"id": segment}]}]}
    asked = line.venue.campaigns["asked"].sum()
    line.close(line.open(body_of(user=user), NOW_NS), (), NOW_NS)
    return int(line.venue.campaigns["asked"].sum() - asked)


@pytest.mark.parametrize("seed", range(3))
def test_money_holds_through_changes_of_budgets(tmp_path: Path, seed: int) -> None:
    """At every instant spent + held + available = budget; below zero nothing is bought; the ledger agrees."""
    rng = random.Random(seed)
    line = opened(text_of(tmp_path, "hold_s = 20", "floor_cpm = 1.0", extra='journal = "full"', budget=0.01))
    venue, bids, now_ns = line.venue, list[str](), NOW_NS
    below = 0
    for k in range(400):
        now_ns += rng.randrange(3 * mk.NANO)
        if rng.random() < 0.15:
            money = {"budget": rng.choice([None, 0.003, 0.02, 0.05]), "daily": rng.choice([None, 0.004, 0.03])}
            line.change(Change("change", "acme/always", dict([rng.choice(sorted(money.items()))])), now_ns)
        if rng.random() < 0.3 and bids:
            line.follow(mk.KIND_IMPRESSION, rng.choice(bids[-5:]), now_ns)
        me = venue.campaigns[0].copy()
        answered = line.close(line.open(body_of(id=f"r{k}"), now_ns), (), now_ns)
        after = venue.campaigns[0]
        assert after["spent"] + after["held"] + after["available"] == after["budget"]
        if after["wins"] > me["wins"]:
            assert after["available"] >= 0 and after["day_used"] <= after["daily"]
            bids.append(json.loads(answered.body)["seatbid"][0]["bid"][0]["burl"].partition("?t=")[2])
        below += after["available"] < 0
    assert below and len(bids) > 30, "the money never ran short: the test is too easy"
    venue.close()
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.meta["budgets_nano"] == {"1": mk.BUDGET_MAX_NANO}
    assert reconcile(ledger).differences == []
    assert compare(venue.config, tmp_path / "ledger").differences == []


# ---- a crash -----------------------------------------------------------------------------------------------------

KILLED = """
import json, os, signal, sys, urllib.request
from exchange import load_config, serve_in_thread
served = serve_in_thread(load_config(sys.argv[1]))
AD = {"id": "ad", "w": 300, "h": 250, "image": "https://acme.example/ad.png"}
def ask():
    request = urllib.request.Request(f"http://{served.address}/openrtb2/auction", sys.argv[2].encode())
    bid = json.load(urllib.request.urlopen(request))["seatbid"][0]["bid"][0]
    urllib.request.urlopen(bid["burl"])
    return bid["cid"]
served.change("acme/always", budget=0.001)
assert ask() == "always"
served.change("acme/always", budget=5)
for _ in range(9):
    assert ask() == "always"
served.add_advertiser({"name": "bolt", "campaign": [{"name": "late", "value_cpm": 9, "budget": 1, "creative": [AD]}]})
for _ in range(10):
    assert ask() == "late"
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_the_config_is_the_market_and_the_money_is_there(tmp_path: Path) -> None:
    path = tmp_path / "market.toml"
    path.write_text(text_of(tmp_path, auction="floor_cpm = 1.0", budget=0.002))
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), body_of().decode()], check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    line = opened(path.read_text())
    assert line.venue.campaign_names == ["acme/always"]
    me = line.venue.campaigns[0]
    assert me["spent"] == 10 * 1_000_000 and me["budget"] == 2_000_000 and me["available"] == -8_000_000
    assert line.close(line.open(body_of(), NOW_NS), (), NOW_NS).status == 204, "its money is spent"
    line.change(Change("change", "acme/always", {"budget": 1}), NOW_NS)
    assert line.close(line.open(body_of(), NOW_NS), (), NOW_NS).status == 200
    line.venue.close()
    ledger = Ledger(tmp_path / "ledger")
    sold = [ledger.names.text("campaign", int(c)) for c in ledger.wins["campaign"]]
    assert sold == ["acme/always"] * 10 + ["bolt/late"] * 10 + ["acme/always"]
    assert reconcile(ledger).differences == []
