"""Changes while serving: what is true from the next request on, what is refused, and that nothing is lost by it."""

import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from exchange import market as mk
from exchange import serve_in_thread
from exchange.auction.changes import Change
from exchange.config import Campaign, ConfigError, Creative, parse_config
from exchange.line import Line
from exchange.links import Links
from exchange.live import Live
from exchange.opening import open_venue
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names
from exchange.rent.reconcile import reconcile
from exchange.simulate.replay import compare
from tests.test_live import NOW_NS, body_of, text_of, with_live
from tests.test_parity import Client

AD = {"id": "ad", "w": 300, "h": 250, "image": "https://acme.example/ad.png"}
SECOND = mk.NANO


def brief(name: str, **keys: Any) -> dict[str, Any]:
    """The keys of a campaign, as a config has them."""
    return {"name": name, "value_cpm": 3.0, "creative": [AD], **keys}


def line_of(text: str) -> Line:
    venue, key = open_venue(parse_config(text))
    return Line(venue, key, Links(key, "http://x"))


def seller(body: bytes) -> str | None:
    """Which campaign an answer sells, None when nobody bought."""
    return msgspec.json.decode(body)["seatbid"][0]["bid"][0]["cid"] if body else None


def ask(line: Line, now_ns: int, *segments: str, **fields: Any) -> str | None:
    user = {"id": "u", "data": [{"segment": [{"id": s} for s in segments]}]}
    return seller(line.close(line.open(body_of(user=user, **fields), now_ns), (), now_ns).body)


# ---- seen by the very next request -----------------------------------------------------------------------------


def test_every_change_is_seen_by_the_very_next_request(tmp_path: Path) -> None:
    """Over HTTP, one request between two changes."""

    async def test(live: Live, client: Client) -> None:
        async def sold(*segments: str) -> str | None:
            user = {"id": "u", "data": [{"segment": [{"id": s} for s in segments]}]}
            return seller((await client.call("POST", "/openrtb2/auction", body_of(user=user)))[1])

        def change(action: str, campaign: str = "", **keys: Any) -> None:
            live.change(Change(action, campaign, keys))

        assert await sold() == "always"
        change("pause", "acme/always")
        assert await sold() is None
        change("resume", "acme/always")
        assert await sold() == "always"
        change("add", "acme", **brief("suv", target="seg one of [suv]"))
        assert (await sold(), await sold("suv"), await sold("van")) == ("always", "suv", "always")
        change("change", "acme/suv", target="seg one of [van]")
        assert (await sold("suv"), await sold("van")) == ("always", "suv")
        change("change", "acme/suv", value_cpm=1.0)
        assert await sold("van") == "always"
        change("change", "acme/suv", value_cpm=9.0, end="2020-01-01")
        assert await sold("van") == "always"
        change("change", "acme/suv", end="", start="2020-01-01")
        assert await sold("van") == "suv"
        change("end", "acme/suv")
        assert await sold("van") == "always"
        live.change(Change("add_advertiser", keys={"name": "brand", "campaign": [brief("first", value_cpm=5.0)]}))
        assert await sold() == "first"
        assert int(live.venue.record["snapshot_version"][0]) == 10 and live.counters.changes == 9
        _, scrape = await client.call("GET", "/metrics")
        for line in (
            b'rentier_campaigns{state="alive"} 2.0',
            b'rentier_campaigns{state="ended"} 1.0',
            b"rentier_changes_total 9.0",
            b"rentier_snapshot_version 10.0",
        ):
            assert line in scrape, line

    live = with_live(text_of(tmp_path, auction="floor_cpm = 0.1", extra='journal = "full"'), test)
    ledger = Ledger(live.folder)
    assert ledger.auctions["snapshot_version"].tolist() == [1, 2, 3, 4, 4, 4, 5, 5, 6, 7, 8, 9, 10]
    assert reconcile(ledger).differences == []
    assert compare(live.config, live.folder).differences == []


def test_a_request_that_waits_for_bidders_is_held_in_the_market_of_its_auction(tmp_path: Path) -> None:
    """It names a segment that no target had mentioned when it came, and one had when its bidders answered."""
    line = line_of(text_of(tmp_path, auction="floor_cpm = 0.1"))
    body = body_of(user={"id": "u", "data": [{"segment": [{"id": "fresh"}]}]})
    waiting = line.open(body, NOW_NS)
    line.change(Change("add", "acme", brief("new", target="seg one of [fresh]")), NOW_NS)
    assert seller(line.close(waiting, (), NOW_NS).body) == "new"
    waiting = line.open(body, NOW_NS)
    line.change(Change("end", "acme/new"), NOW_NS)
    line.change(Change("pause", "acme/always"), NOW_NS)
    assert line.close(waiting, (), NOW_NS).status == 204
    line.venue.close()


# ---- a changed market is the market it was changed into ----------------------------------------------------------

CHANGES: dict[str, dict[str, Any]] = {
    "target": {"target": "seg none of [a]"},
    "value": {"value_cpm": 2.2},
    "drawn": {"value_cpm": {"uniform": [0.5, 5.0]}},
    "listed": {"value_cpm": {"empirical": [1.0, 2.5, 4.0]}},
    "click": {"value_click": 3.1, "pctr": 0.001, "bill": "click"},
    "rates": {"pctr": 0.01, "pcvr": 0.5, "quality": 1.5},
    "factors": {"factors": {"a": 2.0, "b": 0.25}},
    "money": {"budget": 0.02, "daily": 0.01},
    "even": {"daily": 0.02, "pacing": "even"},
    "cap": {"cap": {"day": 2, "campaign": 1}},
    "flight": {"start": "2026-01-05T09:30:20Z", "end": "2026-01-05T09:31:00Z"},
    "rule": {"rule": "linear", "knobs": {"factor": 0.5}},
    "creative": {"creative": [{**AD, "id": "wide", "w": 728, "h": 90}, {**AD, "id": "two", "weight": 3}]},
    "purpose": {"purpose": "winback"},
}


def table_of(tmp_path: Path, first: dict[str, Any]) -> str:
    """A config with three campaigns of two brands, the first one as given."""
    campaigns = [first, brief("second", value_cpm=2.5), brief("third", value_cpm=2.0, target="seg one of [a]")]
    parts = [
        "\n".join(f"{key} = {toml(value)}" for key, value in campaign.items()).join(["[[advertiser.campaign]]\n", "\n"])
        for campaign in campaigns
    ]
    brands = f'[[advertiser]]\nname = "acme"\n{parts[0]}[[advertiser]]\nname = "bolt"\n{parts[1]}{parts[2]}'
    return f'[exchange]\nledger = "{tmp_path}"\n[auction]\nfloor_cpm = 0.1\n{brands}'


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def life(line: Line, seed: int, steps: int = 60) -> list[Any]:
    """What a seller hears over some traffic: prices, who sold, and the links followed."""
    rng, heard = random.Random(seed), []
    for k in range(steps):
        now_ns = NOW_NS + k * SECOND
        user = {"id": f"u{rng.randrange(4)}", "data": [{"segment": [{"id": s} for s in "ab" if rng.random() < 0.5]}]}
        imp = {"banner": {"w": 728, "h": 90}} if rng.random() < 0.3 else {}
        answered = line.close(line.open(body_of(id=f"r{k}", user=user, imp=imp), now_ns), (), now_ns)
        if answered.body:
            bid = msgspec.json.decode(answered.body)["seatbid"][0]["bid"][0]
            heard.append((k, bid["cid"], bid["crid"], bid["price"]))
            if rng.random() < 0.7:
                line.follow(mk.KIND_IMPRESSION, bid["burl"].partition("?t=")[2], now_ns)
            if rng.random() < 0.3:
                line.follow(mk.KIND_CLICK, bid["burl"].partition("?t=")[2], now_ns)
        else:
            heard.append(k)
    return heard


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_campaign_is_the_campaign_it_was_changed_into(tmp_path: Path, name: str) -> None:
    """Two markets: one that was started with the keys, one that was changed to them; the same traffic, every row."""
    before, keys = brief("first", value_cpm=2.7), CHANGES[name]
    after = {key: value for key, value in {**before, **keys}.items() if key != "value_cpm" or "value_click" not in keys}
    changed, started = line_of(table_of(tmp_path / "a", before)), line_of(table_of(tmp_path / "b", after))
    unchanged = line_of(table_of(tmp_path / "c", before))
    changed.change(Change("change", "acme/first", keys), NOW_NS)
    heard = life(changed, 1)
    assert heard == life(started, 1)
    if name not in ("rates", "purpose", "click"):
        assert heard != life(unchanged, 1), "the change makes no difference: the test is too easy"
    for line in (changed, started, unchanged):
        line.venue.close()
    ours, theirs = Ledger(tmp_path / "a"), Ledger(tmp_path / "b")
    for stream in ("auctions", "bids", "wins", "events"):
        mine, own = getattr(ours, stream), getattr(theirs, stream)
        same = [field for field in mine.dtype.names if field not in ("snapshot_version", "config_version", "person_key")]
        for field in same:
            if field == "creative":  # numbers of names in another order
                texts = [[book.names.text("creative", int(i)) for i in getattr(book, stream)[field]] for book in (ours, theirs)]
                assert texts[0] == texts[1]
            else:
                assert np.array_equal(mine[field], own[field]), (stream, field)
    fields = [f for f in changed.venue.campaigns.dtype.names if f not in ("ad0", "factor0", "value_a", "rule")]
    for field in fields:
        assert np.array_equal(changed.venue.campaigns[field], started.venue.campaigns[field]), field
    assert reconcile(ours).differences == []
