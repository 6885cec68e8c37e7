"""Changes while serving: what is true from the next request on, what is refused, and that nothing is lost by it."""

import json
import random
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from exchange import market as mk
from exchange import serve_in_thread
from exchange.auction.changes import Change, carry_out, note, plan
from exchange.books.reconcile import reconcile
from exchange.config import Campaign, ConfigError, Creative, parse_config
from exchange.line import Line
from exchange.links import Links
from exchange.live import Live
from exchange.opening import open_venue
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import BUDGETS, Names
from exchange.simulate.replay import compare
from exchange.simulate.run import Simulation
from tests.test_live import NOW_NS, bid, body_of, text_of, with_live
from tests.test_parity import Client
from tests.test_simulation import eight, everything

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
        same = [
            field for field in mine.dtype.names if field not in ("snapshot_version", "config_version", "person_key")
        ]
        for field in same:
            if field == "creative":  # numbers of names in another order
                texts = [
                    [book.names.text("creative", int(i)) for i in getattr(book, stream)[field]]
                    for book in (ours, theirs)
                ]
                assert texts[0] == texts[1]
            else:
                assert np.array_equal(mine[field], own[field]), (stream, field)
    fields = [f for f in changed.venue.campaigns.dtype.names if f not in ("ad0", "factor0", "value_a", "rule")]
    for field in fields:
        assert np.array_equal(changed.venue.campaigns[field], started.venue.campaigns[field]), field
    assert reconcile(ours).differences == []


# ---- refused, and then nothing has happened ----------------------------------------------------------------------

REFUSED: list[tuple[Change, str]] = [
    (Change("ad", "acme"), "change: action = 'ad': expected one of add_advertiser, add, .*; did you mean 'add'"),
    (Change("pause", "acme/alway"), "pause: campaign 'acme/alway': expected .* did you mean 'acme/always'"),
    (Change("pause", "acme/always", {"for": 3}), r"pause: keys = \['for'\]: expected none"),
    (Change("end", "acme/gone"), "end: campaign 'acme/gone' has ended"),
    (Change("change", "acme/gone", {"budget": 3}), "change: campaign 'acme/gone' has ended"),
    (Change("change", "acme/always"), "change acme/always: keys: expected at least one"),
    (
        Change("change", "acme/always", {"name": "b"}),
        "name = 'b': expected none: the ledger knows its money by its name",
    ),
    (Change("change", "acme/always", {"budgett": 3}), "unknown field `budgett`; did you mean `budget`"),
    (Change("change", "acme/always", {"budget": -3}), r"Expected `float` > 0.*budget.*got -3"),
    (Change("change", "acme/always", {"budget": "3"}), r"Expected `float \| null`, got `str` .*budget.*; got '3'"),
    (Change("change", "acme/always", {"budget": 1e9}), "budget = 1000000000.0: expected at most 100000000"),
    (Change("change", "acme/always", {"cap": {"day": 0}}), r"Expected `int` >= 1 .*cap\.day`; got 0"),
    (
        Change("change", "acme/always", {"value_cpm": None}),
        "expected exactly one of value_cpm, value_click, value_conv",
    ),
    (Change("change", "acme/always", {"pacing": "even"}), 'pacing = "even": expected daily, or budget with start'),
    (Change("change", "acme/always", {"pacing": "slow"}), "pacing = 'slow': expected one of fast, even"),
    (Change("change", "acme/always", {"bill": "clicks"}), "bill = 'clicks': expected .*; did you mean 'click'"),
    (Change("change", "acme/always", {"start": "soon"}), "start = 'soon': expected a date like"),
    (Change("change", "acme/always", {"target": "sgm one of [a]"}), "campaign acme/always: target: "),
    (Change("change", "acme/always", {"rule": "truthfull"}), "rule 'truthfull': not among the built-in rules"),
    (Change("change", "acme/always", {"rule": "./own.py:Own"}), "knob 'quirk': the campaigns of this run have no such"),
    (Change("change", "acme/always", {"knobs": {"factor": 1.0}}), "rule truthful: no knob 'factor'"),
    (Change("change", "acme/always", {"knobs": 3}), r"Expected `object`, got `int` .*knobs"),
    (Change("change", "acme/always", {"model": "nowhere"}), "model 'nowhere': expected pkg.mod:Class"),
    (Change("change", "acme/always", {"creative": []}), r"expected at least one \[\[advertiser.campaign.creative\]\]"),
    (Change("change", "acme/always", {"creative": [{"id": "x"}]}), "creative x: a banner needs w and h"),
    (Change("change", "acme/always", {"creative": [{**AD, "landing": "x"}]}), "landing = 'x': expected http"),
    (Change("change", "acme/always", {"budget": object()}), "expected a name, and keys with values as in a config"),
    (Change("change", 7), "expected a name, and keys with values as in a config"),  # type: ignore[arg-type]
    (Change("add", "acne", brief("b")), "add: advertiser 'acne': expected one of the market's; did you mean 'acme'"),
    (Change("add", "nobody", brief("b")), "add: advertiser 'nobody': .*; add_advertiser brings a new one"),
    (Change("add", "acme", brief("Always")), "add: campaign 'acme/Always' is in the market already"),
    (Change("add", "acme", brief("gone")), "add: campaign 'acme/gone' has ended, and the ledger knows its money"),
    (Change("add", "acme", {"value_cpm": 3.0}), "add acme: Object missing required field `name`"),
    (Change("add", "acme", brief("b", creative=[])), "expected at least one"),
    (
        Change("add", "acme", brief("fourth")),
        "server.campaigns_max = 3: expected at least 4, those that ended included",
    ),
    (Change("add_advertiser", "", {"name": "ACME"}), "advertiser 'ACME' is in the market already"),
    (
        Change("add_advertiser", "", {"name": "b", "domains": ["www.acme.example"]}),
        "is acme's: expected one nobody has",
    ),
    (
        Change("add_advertiser", "", {"name": "b", "own_list": "x.csv"}),
        "own_list = 'x.csv': expected none while serving",
    ),
    (Change("add_advertiser", "", {"name": "b", "own_share": 0.1}), "own_share = 0.1: expected none while serving"),
    (Change("add_advertiser", "", {"name": "b\n"}), "advertiser.name = 'b.n': expected a printable name"),
]
OWN_RULE = """
class Own:
    defaults = {"quirk": 1.0}

    @staticmethod
    def price(value, imp, me):
        return value

    @staticmethod
    def learn(value, imp, me, result):
        me.quirk = 2.0
"""


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """A market with one campaign alive, one paused, one ended, and no room for a fourth."""
    folder = tmp_path_factory.mktemp("refusing")
    (folder / "own.py").write_text(OWN_RULE)
    config = parse_config(text_of(folder, "campaigns_max = 3"), folder=str(folder))
    venue, key = open_venue(config)
    line = Line(venue, key, Links(key, "http://x"))
    for name in ("gone", "idle"):
        line.change(Change("add", "acme", brief(name)), NOW_NS)
    line.change(Change("end", "acme/gone"), NOW_NS)
    line.change(Change("pause", "acme/idle"), NOW_NS)
    return line


@pytest.mark.parametrize(("change", "said"), REFUSED, ids=[f"{c.action}-{k}" for k, (c, _) in enumerate(REFUSED)])
def test_what_cannot_be_used_is_one_line_and_changes_nothing(refusing: Line, change: Change, said: str) -> None:
    venue = refusing.venue

    def state() -> tuple[Any, ...]:
        arrays = {name: array.tobytes() for name, array in venue.arrays.items() if name not in ("awards", "contacts")}
        stock = venue.stock
        return venue.record.tobytes(), venue.campaigns.tobytes(), arrays, stock.states(), list(stock.advertisers)

    before = state()
    with pytest.raises(ConfigError, match=said) as refusal:
        refusing.change(change, NOW_NS + SECOND)
    assert "\n" not in str(refusal.value)
    after = state()
    if "rule" in str(change.keys):  # a rule that was found may have been compiled: nobody uses it
        return
    assert before == after


def test_a_format_that_the_market_outgrows_is_held_no_more(tmp_path: Path) -> None:
    """A loser that pays has a slot of its own: at most 255 campaigns. As our own format the 256th is refused."""
    many = [brief(f"c{k}") for k in range(254)]
    line = line_of(text_of(tmp_path, auction="floor_cpm = 0.1"))
    line.change(Change("add_advertiser", keys={"name": "bolt", "campaign": many}), NOW_NS)
    waiting = line.open(body_of(at=mk.ALL_PAY), NOW_NS)
    line.close(line.open(body_of(at=mk.ALL_PAY), NOW_NS), (), NOW_NS)
    line.change(Change("add", "bolt", brief("last")), NOW_NS)
    line.close(waiting, (), NOW_NS)
    line.venue.close()
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.auctions["format"].tolist() == [mk.ALL_PAY, mk.SECOND_PRICE]
    assert reconcile(ledger).differences == []
    line = line_of(text_of(tmp_path / "b", auction='format = "all_pay"'))
    line.change(Change("add_advertiser", keys={"name": "bolt", "campaign": many}), NOW_NS)
    with pytest.raises(ConfigError, match="auction.format = 'all_pay': expected at most 255 campaigns, found 256"):
        line.change(Change("add", "bolt", brief("last")), NOW_NS)
    assert line.venue.n_campaigns == 255
    line.venue.close()


# ---- what lives on -----------------------------------------------------------------------------------------------


def test_what_a_rule_has_learnt_outlives_a_change_and_not_another_rule(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_RULE)
    config = parse_config(text_of(tmp_path, rule="./own.py:Own"), folder=str(tmp_path))
    venue, key = open_venue(config)
    line = Line(venue, key, Links(key, "http://x"))
    assert ask(line, NOW_NS) == "always" and venue.campaigns[0]["quirk"] == 2.0
    line.change(Change("change", "acme/always", {"budget": 7, "value_cpm": 4.0}), NOW_NS)
    assert venue.campaigns[0]["quirk"] == 2.0 and venue.campaigns[0]["wins"] == 1
    line.change(Change("change", "acme/always", {"knobs": {"quirk": 5.0}}), NOW_NS)
    assert venue.campaigns[0]["quirk"] == 5.0
    line.change(Change("change", "acme/always", {"rule": "linear", "knobs": {"factor": 0.5}}), NOW_NS)
    line.change(Change("change", "acme/always", {"rule": "./own.py:Own"}), NOW_NS)
    assert venue.campaigns[0]["quirk"] == 1.0 and venue.campaigns[0]["rule"] == 0
    venue.close()


def test_holds_of_a_paused_and_an_ended_campaign_live_on(tmp_path: Path) -> None:
    """They are settled or released as ever; the clock moves before a change, so a release before it is of before."""
    line = line_of(text_of(tmp_path, "hold_s = 10", "floor_cpm = 1.0", extra='journal = "full"'))
    answers = [line.close(line.open(body_of(id=f"r{k}"), NOW_NS), (), NOW_NS) for k in range(3)]
    links = [msgspec.json.decode(a.body)["seatbid"][0]["bid"][0]["burl"].partition("?t=")[2] for a in answers]
    line.change(Change("pause", "acme/always"), NOW_NS)
    assert line.follow(mk.KIND_IMPRESSION, links[0], NOW_NS)[0] == mk.KIND_IMPRESSION
    line.change(Change("end", "acme/always"), NOW_NS)
    recorded, landing, _ = line.follow(mk.KIND_CLICK, links[0], NOW_NS)
    assert recorded == mk.KIND_CLICK and landing == "https://acme.example/"
    line.change(Change("add", "acme", brief("next")), NOW_NS + 11 * SECOND)
    me = line.venue.campaigns[0]
    assert (me["spent"], me["held"], me["available"]) == (1_000_000, 0, me["budget"] - 1_000_000)
    line.venue.close()
    events = Ledger(tmp_path / "ledger").events
    assert events["kind"].tolist() == [mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_RELEASE, mk.KIND_RELEASE]
    assert events["snapshot_version"].tolist() == [2, 3, 3, 3]
    assert compare(line.venue.config, tmp_path / "ledger").differences == []


def test_models_are_asked_anew_in_the_order_of_the_journal(tmp_path: Path) -> None:
    """The model says another rate every time it is asked; a replay asks it as often, in the same places."""
    (tmp_path / "rates.py").write_text(
        "import numpy as np\n\n\nclass Rising:\n    asked = 0\n\n    def pctr(self, contexts):\n"
        "        self.asked += 1\n"
        "        return np.full(len(contexts), 0.001 * self.asked)\n"
    )
    config = parse_config(
        text_of(tmp_path, auction='format = "first_price"', extra='journal = "full"'), folder=str(tmp_path)
    )
    venue, key = open_venue(config)
    line = Line(venue, key, Links(key, "http://x"))
    line.change(Change("change", "acme/always", {"value_click": 1.0, "model": "./rates.py:Rising"}), NOW_NS)
    for k in range(3):
        ask(line, NOW_NS + k)
        line.change(Change("refresh_models"), NOW_NS + k)
    venue.close()
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.wins["value_nano"].tolist() == [1_000_000, 2_000_000, 3_000_000]
    assert ledger.wins["snapshot_version"].tolist() == [2, 3, 4]
    assert compare(config, tmp_path / "ledger").differences == []


def test_the_brand_of_a_new_advertiser_is_known_by_its_domain(tmp_path: Path) -> None:
    endpoint = '[[endpoint]]\nname = "dsp"\nurl = "http://127.0.0.1:9/bid"\n'
    line = line_of(text_of(tmp_path, endpoints=endpoint))
    line.change(Change("add_advertiser", keys={"name": "bolt", "domains": ["www.bolt.example"]}), NOW_NS)
    line.close(line.open(body_of(), NOW_NS), [bid(9.0, adomain=["bolt.example"])], NOW_NS)
    line.venue.close()
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.names.text("advertiser", int(ledger.wins["advertiser"][0])) == "bolt"


# ---- in a thread, and the journal's blocks -----------------------------------------------------------------------


def test_the_server_in_a_thread_refuses_and_stops(tmp_path: Path) -> None:
    config = parse_config(text_of(tmp_path, auction="floor_cpm = 0.1"))

    def sold(served: Any) -> str | None:
        with urllib.request.urlopen(f"http://{served.address}/openrtb2/auction", body_of()) as answer:
            return seller(answer.read())

    with serve_in_thread(config) as served:
        served.add("acme", Campaign("struct", value_cpm=9.0, creative=[Creative("x", w=300, h=250, html="<p>")]))
        assert sold(served) == "struct"
        with pytest.raises(ConfigError, match="did you mean 'acme/struct'"):
            served.pause("acme/struc")
        for wrong in ("x", None, Campaign):
            with pytest.raises(ConfigError, match="expected a dict of keys as in a config"):
                served.add("acme", wrong)  # type: ignore[arg-type]
            with pytest.raises(ConfigError, match="expected a dict of keys as in a config"):
                served.add_advertiser(wrong)  # type: ignore[arg-type]
        taken = parse_config(text_of(tmp_path / "b"))
        taken.server.address = served.address
        with pytest.raises(OSError, match="in use"):
            serve_in_thread(taken)
    with pytest.raises(RuntimeError, match="has stopped"):
        served.pause("acme/struct")
    assert reconcile(Ledger(tmp_path / "ledger")).differences == []


@pytest.mark.parametrize("filled", [0, 1, 3])
@pytest.mark.parametrize("rows", [5, 40, 4_000])
def test_a_block_of_the_journal_is_widened_whatever_stands_in_it(tmp_path: Path, filled: int, rows: int) -> None:
    """Empty or not, at the beginning of a segment or behind other blocks, and larger than a segment."""
    for folder in (tmp_path / "disk", None):
        for before in (0, 2):
            place = None if folder is None else folder / str(before)
            journal = Journal(place, 0, ("bids",), block_rows=4, segment_bytes=1 << 12)
            seq = 0

            def put(n: int, journal: Journal = journal) -> None:
                nonlocal seq
                for _ in range(n):
                    seq += 1
                    row = np.zeros(1, mk.BID_ROW)
                    row["seq"] = seq
                    journal.append("bids", row.tobytes())

            put(before)
            if before:
                journal.roll("bids")
            put(filled)
            journal.widen("bids", rows)
            assert journal.capacity("bids") >= rows and journal.count("bids") == (0 if rows > 4 else filled)
            put(rows)
            assert journal.count("bids") == rows
            journal.roll("bids")
            assert journal.capacity("bids") >= rows
            journal.close()
            kept = Ledger.in_memory(journal, Names(None)) if place is None else Ledger(place)
            assert sum(kept.cut.values()) in (0, seq)  # bids without an auction row: a step that was not finished
            assert int(np.frombuffer(b"".join(_payloads(journal, place)), mk.BID_ROW)["seq"].max()) == seq


def _payloads(journal: Journal, place: Path | None) -> Any:
    """The payload of every closed block."""
    parts = journal.segments()["bids"] if place is None else [p.read_bytes() for p in sorted(place.glob("bids-*.seg"))]
    for part in parts:
        data = bytes(part.memory) if place is None else part
        at = 0
        while at + 64 <= len(data):
            head = np.frombuffer(data[at : at + 64], mk.BLOCK)[0]
            if head["closed"] != 1:
                break
            yield data[at + 64 : at + 64 + int(head["bytes"])]
            at += 64 + int(head["bytes"])


def test_a_new_budget_leaves_index_and_creatives_as_they_are(tmp_path: Path) -> None:
    line = line_of(text_of(tmp_path))
    programs, ads = line.venue.targets.programs, line.venue.stock.ads
    before = programs.n_clauses, ads.table.used, ads.tags.used, line.venue.targets.vocabulary.version
    for k in range(1, 50):
        line.change(Change("change", "acme/always", {"budget": k, "value_cpm": {"empirical": [1.0, k]}}), NOW_NS)
    assert (programs.n_clauses, ads.table.used, ads.tags.used, line.venue.targets.vocabulary.version) == before
    assert line.venue.stock.values.used == 2
    line.venue.close()


def test_a_replay_begins_with_the_config_where_the_exchange_did(tmp_path: Path) -> None:
    """Two runs on one ledger, each with changes of its own, also the same ones: what was changed is gone between."""
    text = f"""
[exchange]
ledger = {json.dumps(str(tmp_path / "ledger"))}
journal = "full"
[[advertiser]]
name = "acme"
[[advertiser.campaign]]
name = "always"
value_cpm = 2.0
creative = [{{ id = "ad", w = 300, h = 250, image = "https://acme.example/ad.png" }}]
"""
    brand = Change("add_advertiser", keys={"name": "brand", "campaign": [brief("first", value_cpm=5.0)]})
    config = parse_config(text)
    for run, change in enumerate((brand, brand, Change("pause", "acme/always"), Change("pause", "acme/always"))):
        line, now_ns = line_of(text), NOW_NS + run * 100 * SECOND
        assert ask(line, now_ns) == "always"
        line.change(change, now_ns + SECOND)
        assert ask(line, now_ns + 2 * SECOND) == ("first" if change is brand else None)
        line.venue.close()
    assert compare(config, tmp_path / "ledger").differences == []
    assert reconcile(Ledger(tmp_path / "ledger")).differences == []


def test_none_takes_any_limit_off(tmp_path: Path) -> None:
    """Flight dates and caps, as budgets."""
    line = line_of(
        f"""
[exchange]
ledger = {json.dumps(str(tmp_path / "ledger"))}
[[advertiser]]
name = "acme"
[[advertiser.campaign]]
name = "always"
value_cpm = 2.0
creative = [{{ id = "ad", w = 300, h = 250, image = "https://acme.example/ad.png" }}]
"""
    )
    limits: dict[str, Any] = {"start": "2090-01-01", "end": "2020-01-01", "cap": {"total": 1}}
    for key, value in limits.items():
        assert ask(line, NOW_NS) == "always"
        line.change(Change("change", "acme/always", {key: value}), NOW_NS)
        assert ask(line, NOW_NS) is None, key
        line.change(Change("change", "acme/always", {key: None}), NOW_NS)
    assert ask(line, NOW_NS) == "always"
    line.venue.close()


@pytest.mark.parametrize(
    ("audiences", "said"),
    [
        ('a = "@b"\nb = "@a"', "audiences.a: in @a in @b: 1:1: @b refers to itself"),
        ('a = "contry in [FR]"', "audiences.a: 1:1: unknown"),
    ],
)
def test_an_audience_that_nobody_asks_for_is_read_at_start(tmp_path: Path, audiences: str, said: str) -> None:
    """A circle or a slip of the pen shows before the first target that names it."""
    with pytest.raises(ConfigError) as refused:
        line_of(f"[audiences]\n{audiences}\n[exchange]\nledger = {json.dumps(str(tmp_path / 'ledger'))}\n")
    assert said in str(refused.value)


def test_a_budget_that_cannot_be_noted_changes_nothing(tmp_path: Path) -> None:
    """What reconcile checks by is on the disk before the change is journaled, or there is no change."""
    line = line_of(text_of(tmp_path, extra='journal = "full"'))
    in_the_way = tmp_path / "ledger" / BUDGETS
    in_the_way.mkdir()
    before = line.venue.record.tobytes(), dict(line.venue.budgets)
    with pytest.raises(ConfigError, match="^add: .*ledger: budgets cannot be written: Is a directory$"):
        line.change(Change("add", "acme", brief("new", budget=1_000)), NOW_NS)
    assert (line.venue.record.tobytes(), dict(line.venue.budgets)) == before
    in_the_way.rmdir()
    line.change(Change("add", "acme", brief("new", budget=1_000)), NOW_NS)
    assert in_the_way.read_text().endswith(f"\t{1_000 * mk.NANO}\n")
    line.venue.close()
    assert reconcile(Ledger(tmp_path / "ledger")).differences == []


def test_a_simulated_market_can_be_changed() -> None:
    """A change that puts a campaign anew leaves every query of the population where and what it is."""
    ledgers = []
    for changed in (False, True):
        simulation = Simulation(eight())
        simulation.run(200)
        venue, queries = simulation.venue, simulation.population.queries
        if changed:
            for ix, name in enumerate(venue.campaign_names):
                budget = venue.stock.briefs[ix].campaign.budget
                planned = plan(venue, Change("change", name, {"budget": budget}), 0)
                note(venue, planned)
                carry_out(venue, planned)
            venue.record["snapshot_version"] = 1
        for _ in range(50):
            simulation.run(4)
            first = int(venue.record["query"][0]) - queries.ctypes.data
            assert first % (8 * queries.shape[1]) == 0 and 0 <= first < queries.nbytes
            assert int(venue.record["query_max"][0]) == queries.shape[1]
        ledger = simulation.finish().ledger
        assert ledger is not None
        ledgers.append(everything(ledger))
    assert ledgers[0] == ledgers[1]
