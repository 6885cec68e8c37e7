"""`rentier explain`: the reasons agree with the compiled step, the sums with the journal, and the screen with both."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience import lists
from exchange.audience import table as tb
from exchange.audience.people import person_key, read_mentions
from exchange.config import Config, ConfigError, parse_config, shipped
from exchange.explain import Explained, explain, explain_file, render
from exchange.rent.names import salt

NOW_NS = 1_767_607_200 * 10**9  # 2026-01-05T10:00:00Z
CREATIVE = '[[advertiser.campaign.creative]]\nid = "a"\nw = 300\nh = 250\nimage = "https://x.example/a.png"\n'
CAMPAIGNS = {
    "plain": "value_cpm = 2.0",
    "suv": 'value_cpm = 4.0\ntarget = "seg one of [suv, van] and country in [FR, BE]"',
    "desk": 'value_cpm = 3.0\ntarget = "device not in [phone] and hour between 8 and 20"',
    "own": 'value_cpm = 5.0\ntarget = "own"',
    "away": 'value_cpm = 2.5\ntarget = "domain not in [news.example] and size in [300x250, 728x90] and not own"',
    "soon": 'value_cpm = 9.0\nstart = "2026-02-01"',
    "over": 'value_cpm = 9.0\nend = "2026-01-01"',
    "poor": "value_cpm = 8.0\nbudget = 0.003",
    "shy": "value_cpm = 0.5\ncap = { total = 1 }",
    "busy": "value_cpm = 0.4\ncap = { hour = 1, day = 2 }",
    "weekly": "value_cpm = 0.4\ncap = { week = 1 }",
    "single": "value_cpm = 0.4\ncap = { campaign = 1 }",
    "begun": 'value_cpm = 0.4\nbudget = 9\npacing = "even"\nstart = "2026-01-05T10:00:00Z"\nend = "2026-02-01"',
    "slow": 'value_cpm = 0.4\ndaily = 0.00048\npacing = "even"',
    "kept": "value_cpm = 0.4",
}


def config_text() -> str:
    """An advertiser a campaign; `own` has anna on its list, `plain` a category and an attribute; `kept` shows none."""
    text = '[auction]\nincrement_cpm = 0.01\n[rates]\nUSD = 0.9\n[fees]\nsell = "isba2020"\nbuy = "isba2020"\n'
    text += '[[endpoint]]\nname = "near"\nurl = "http://127.0.0.1:9/"\ntarget = "country in [FR]"\n'
    for name, body in CAMPAIGNS.items():
        text += f'[[advertiser]]\nname = "{name}"\ndomains = ["{name}.example"]\n'
        text += 'own_list = "own.csv"\n' if name == "own" else ""
        text += "holdout = 1.0\n" if name == "kept" else ""
        text += f'[[advertiser.campaign]]\nname = "c"\n{body}\n{CREATIVE}'
        text += 'cat = ["IAB7-39"]\nattr = [6]\n' if name == "plain" else ""
    return text


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The config of this file."""
    folder = tmp_path_factory.mktemp("explain")
    (folder / "own.csv").write_text("user_id\nanna\n")
    return parse_config(config_text(), "test", str(folder))


def request(**over: Any) -> dict[str, Any]:
    """A request that `plain`, `suv`, `poor` and `shy` may bid on; a value of None leaves a field out."""
    made = {
        "id": "r1",
        "imp": [{"id": "1", "banner": {"w": 300, "h": 250}, "bidfloor": 0.5, "bidfloorcur": "USD"}],
        "site": {"domain": "news.example", "publisher": {"id": "pub"}},
        "device": {"devicetype": 4, "geo": {"country": "FRA"}},
        "user": {"id": "ben", "data": [{"segment": [{"id": "suv"}]}]},
        "cur": ["EUR"],
        **over,
    }
    return {key: value for key, value in made.items() if value is not None}


def told(config: Config, **over: Any) -> Explained:
    """A request, explained."""
    return explain(config, json.dumps(request(**over)).encode(), NOW_NS)


def why(config: Config, campaign: str, **over: Any) -> str:
    """Why a campaign is not asked for the last imp; "" when it is."""
    imp = told(config, **over).imps[-1]
    name = f"{campaign}/c"
    assert (name in imp.asked) != (name in [x.campaign for x in imp.not_asked])
    return next((x.why for x in imp.not_asked if x.campaign == name), "")


IMPS = st.fixed_dictionaries(
    {"bidfloor": st.sampled_from([0, 0.3, 2.4, 50]), "bidfloorcur": st.sampled_from(["EUR", "USD", "JPY"])},
    optional={
        "banner": st.fixed_dictionaries(
            {},
            optional={
                "w": st.just(300), "h": st.just(250), "battr": st.sampled_from([[], [6], [7]]),
                "format": st.lists(st.sampled_from([{"w": 300, "h": 250}, {"w": 728, "h": 90}]), max_size=2),
            },
        ),
        "video": st.just({"mimes": ["video/mp4"], "w": 640, "h": 360}),
        "pmp": st.sampled_from([{"private_auction": 1, "deals": [{"id": "d"}]}, {"private_auction": 0}]),
    },
).filter(lambda imp: "banner" in imp or "video" in imp)  # fmt: skip
SEGMENTS = st.sampled_from([{"segment": [{"id": "suv"}]}, {"segment": [{"name": "van"}]}])
REQUESTS = st.fixed_dictionaries(
    {"imp": st.lists(IMPS, min_size=1, max_size=4)},
    optional={
        "device": st.fixed_dictionaries(
            {},
            optional={
                "devicetype": st.sampled_from([1, 2, 3, 8, 99]),
                "ua": st.sampled_from(["", "Mozilla/5.0 (Windows NT 10.0)", "curl"]),
                "lmt": st.integers(0, 1),
                "geo": st.sampled_from([{"country": "FRA"}, {"country": "DEU", "utcoffset": 720}, {}]),
            },
        ),
        "user": st.fixed_dictionaries(
            {"data": st.lists(SEGMENTS, max_size=2)},
            optional={"id": st.sampled_from(["anna", "ben"])},
        ),
        "site": st.sampled_from([{"domain": "www.NEWS.example"}, {"page": "https://a.example/x"}, {}]),
        "badv": st.lists(st.sampled_from(["plain.example", "EXAMPLE", "www.suv.example", "other.org"]), max_size=2),
        "bcat": st.sampled_from([["IAB7"], ["IAB7-39"], ["IAB1"]]),
        "wseat": st.sampled_from([["plain"], ["suv", "nobody"], ["nobody"]]),
        "bseat": st.sampled_from([["plain"], ["nobody"]]),
    },
)  # fmt: skip


@given(REQUESTS)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_reasons_agree_with_the_compiled_step(config: Config, made: dict[str, Any]) -> None:
    """Exactly the campaigns without a reason were asked by the compiled step, imp by imp."""
    imps = [{"id": str(k), **imp} for k, imp in enumerate(made["imp"])]
    facts = explain(config, json.dumps({"id": "r", **made, "imp": imps, "cur": ["EUR"]}).encode(), NOW_NS)
    assert facts.status in (200, 204) and len(facts.imps) == len(imps)
    for imp in facts.imps:
        assert sorted(imp.asked) == sorted(bid.campaign for bid in imp.bids)
        assert len(imp.asked) + len(imp.not_asked) == len(CAMPAIGNS)
        assert (imp.sale is not None) == any(bid.fate == 0 for bid in imp.bids)
    assert max(map(len, render(facts).splitlines())) <= 100


TOP = {"id": "1", "banner": {}, "bidfloor": 2.0, "bidfloorcur": "EUR"}


def TWICE(seat: str) -> dict[str, Any]:  # noqa: N802 - a constant of the table below, but for the seat
    """Two imps without a floor, for one seat alone."""
    return {"imp": [{"id": "1", "banner": {}}, {"id": "2", "banner": {}}], "wseat": [seat]}


BLOCKED = [
    ("suv", {"device": {"geo": {"country": "DEU"}}}, "target: country in [FR, BE]"),
    ("suv", {"user": {"id": "ben"}}, "target: seg one of [suv, van]"),
    ("suv", {"device": {"lmt": 1, "geo": {"country": "FRA"}}}, "target: seg one of [suv, van]"),
    ("desk", {}, "target: device not in [phone]"),
    ("desk", {"device": {"geo": {"utcoffset": 720}}}, "target: hour"),
    ("away", {}, "target: domain not in [news.example]"),
    ("own", {}, "target: own"),
    ("soon", {}, "flight: starts 2026-02-01T00:00:00Z"),
    ("over", {}, "flight: ended 2026-01-01T00:00:00Z"),
    ("plain", {"badv": ["www.Plain.example"]}, "badv: www.Plain.example is blocked"),
    ("plain", {"bcat": ["IAB1", "IAB7"]}, "bcat: IAB7 is blocked"),
    ("plain", {"imp": [{"id": "1", "banner": {"w": 300, "h": 250, "battr": [6]}}]}, "battr: 6 is blocked"),
    ("plain", {"bseat": ["plain"]}, "bseat: plain is blocked"),
    ("plain", {"wseat": ["suv"]}, "wseat: seat plain is not among suv"),
    ("plain", {"imp": [{"id": "1", "banner": {"w": 728, "h": 90}}]}, "creative: 300x250 does not fit 728x90"),
    ("plain", {"imp": [{"id": "1", "video": {"mimes": ["video/mp4"]}}]}, "creative: banner is not offered, video is"),
    ("plain", {"imp": [{"id": "1", "banner": {}, "pmp": {"private_auction": 1}}]}, "creative: a private auction"),
    ("poor", {"imp": [TOP, {**TOP, "id": "2"}], "at": 1, "wseat": ["poor"]}, "budget: nothing left of 0.003, 0.003 of"),
    ("shy", TWICE("shy"), "cap: 1 of 1 ads in total"),
    ("busy", TWICE("busy"), "cap: 1 of 1 ads this hour, open holds included"),
    ("weekly", TWICE("weekly"), "cap: 1 of 1 ads this week"),
    ("single", TWICE("single"), "cap: 1 of 1 ads of this campaign"),
    ("begun", {}, "pacing: 0 used, 0 of 9 released so far"),
    ("slow", {**TWICE("slow"), "at": 1}, "pacing: 0.0002 used, 0.0002 of 0.00048 released so far today"),
    ("kept", {}, "holdout: this person is never shown ads of this advertiser, as 100% of people"),
]  # fmt: skip


@pytest.mark.parametrize(("campaign", "over", "expected"), BLOCKED, ids=lambda x: x if isinstance(x, str) else "")
def test_the_first_reason_is_named(config: Config, campaign: str, over: dict[str, Any], expected: str) -> None:
    """Each way not to be asked has its own words."""
    assert why(config, campaign, **over).startswith(expected)


def test_every_reason_is_named(config: Config) -> None:
    """All failing leaves of a target, and what else stands in the way, in one answer."""
    imp = told(config, user={"id": "ben"}, device={"geo": {"country": "DEU"}}, bseat=["suv"]).imps[0]
    suv = next(each for each in imp.not_asked if each.campaign == "suv/c")
    assert suv.leaves == ["seg one of [suv, van]", "country in [FR, BE]"]
    assert suv.reasons == [*(f"target: {leaf}" for leaf in suv.leaves), "bseat: suv is blocked by the publisher"]
    assert suv.why == suv.reasons[0]
    text = render(told(config, user={"id": "ben"}, device={"geo": {"country": "DEU"}}))
    assert "target: seg one of [suv, van]; target: country in [FR, BE]" in text
    early = next(each for each in told(config).imps[0].not_asked if each.campaign == "soon/c")
    assert early.leaves == [] and len(early.reasons) == 1


def test_reserves_are_listed(config: Config) -> None:
    """Those that apply to the imp, with floor, audience and seat; the others are not."""
    text = config_text() + (
        '[[auction.reserve]]\nfloor_cpm = 1.5\ntarget = "country in [FR]"\n'
        '[[auction.reserve]]\nfloor_cpm = 2.5\nseat = "suv"\n'
        '[[auction.reserve]]\nfloor_cpm = 9.0\ntarget = "country in [DE]"\n'
    )
    facts = told(parse_config(text.replace('own_list = "own.csv"\n', ""), "test", "."))
    found = [(each.floor_nano, each.seat, each.target) for each in facts.imps[0].reserves]
    assert found == [(1_500_000, "", "country in [FR]"), (2_500_000, "suv", "")]
    assert facts.imps[0].floor_nano == 1_500_000
    screen = render(facts)
    assert "reserve 1.5000 CPM for everybody's bids, where country in [FR]" in screen
    assert "reserve 2.5000 CPM for bids of seat suv" in screen and "country in [DE]" not in screen


def test_one_campaign(tmp_path: Path) -> None:
    """`--campaign` leaves only what concerns it, by its whole name or a name that only it has."""
    (tmp_path / "r.json").write_text(json.dumps(request(ext={"rentier": {"now_ns": NOW_NS}}, device=None)))
    made = config_text().replace('own_list = "own.csv"\n', "").replace('name = "suv"', 'name = "suv"', 1)
    (tmp_path / "c.toml").write_text(made)
    paths = tmp_path / "r.json", tmp_path / "c.toml"
    text = explain_file(*paths, False, "suv/c")
    assert "3 suv/c is not asked, because of\n  target: country in [FR, BE]\n" in text and "plain" not in text
    facts = msgspec.json.decode(explain_file(*paths, True, "suv/c"), type=Explained)
    assert facts.campaign == "suv/c" and [x.campaign for x in facts.imps[0].not_asked] == ["suv/c"]
    bid = explain_file(*paths, False, "poor/c")
    assert "4 its bid, EUR CPM: value 8.0000, gross 3.0000, net 2.2500: won (0)" in bid and "5 the price" in bid
    with pytest.raises(ConfigError, match=r"--campaign c: 15 have this name"):
        explain_file(*paths, False, "c")
    with pytest.raises(ConfigError, match=r"--campaign suvv/c: none of the config's 15 campaigns; did you mean suv/c"):
        explain_file(*paths, False, "suvv/c")


def test_people_are_those_of_the_ledger(tmp_path: Path) -> None:
    """With a ledger its salt keys the person, so that holdouts fall as they do there; without, always alike."""

    def held(*, salt: int | None) -> list[str]:
        if salt is not None:
            (tmp_path / "ledger").mkdir(exist_ok=True)
            (tmp_path / "ledger" / "salt").write_bytes(bytes([salt] * 32))
        text = "".join(
            f'[[advertiser]]\nname = "a{k}"\ndomains = ["a{k}.example"]\nholdout = 0.5\n'
            f'[[advertiser.campaign]]\nname = "c"\nvalue_cpm = 1.0\n{CREATIVE}'
            for k in range(16)
        )
        return sorted(told(parse_config(text, "test", str(tmp_path))).imps[0].asked)

    alike = held(salt=None)
    assert held(salt=None) == alike and 0 < len(alike) < 16
    assert held(salt=1) != held(salt=2)


def test_imported_people_are_known(tmp_path: Path) -> None:
    """What was imported beside the config's ledger counts here too, and only there."""
    text = CREATIVE.replace("[[adv", '[[advertiser]]\nname = "a"\n[[advertiser.campaign]]\nname = "c"\n[[adv', 1)
    text = text.replace('name = "c"\n', 'name = "c"\nvalue_cpm = 1.0\ntarget = "seg one of [yacht]"\n')
    made = parse_config(text, "test", str(tmp_path))
    assert told(made).imps[0].asked == []
    key = salt(tmp_path / "ledger")
    (tmp_path / "people.csv").write_text("ben,yacht\n")
    said = read_mentions(tmp_path / "people.csv", lambda name: person_key(key, name))
    tb.write(tmp_path / "ledger" / tb.STORE, key, tb.changed(tb.empty(), said))
    facts = told(made)
    assert facts.imps[0].asked == ["a/c"] and facts.who is not None and facts.who.stored == ["yacht"]
    lists.add(tmp_path / "ledger", key, "a", np.array([person_key(key, "ben")], np.uint64), NOW_NS + 1)
    early, later = told(made), explain(made, json.dumps(request()).encode(), NOW_NS + 1)
    assert early.who is not None and later.who is not None and (early.who.own, later.who.own) == ([], ["a"])
    assert not (tmp_path / "ledger" / "meta.json").exists()


def test_own_customers_are_asked_for(config: Config) -> None:
    """anna is on a list: `own` may bid, and the sale says so."""
    facts = told(config, user={"id": "anna"}, wseat=["own"])
    assert facts.who is not None and facts.who.own == ["own"] and facts.imps[0].asked == ["own/c"]
    assert facts.imps[0].sale is not None and facts.imps[0].sale.own


def test_the_sale_adds_up(config: Config) -> None:
    """The price is the journal's, follows from floor, runner-up and increment, and every unit has a receiver."""
    facts = told(config)
    imp = facts.imps[0]
    fates = {bid.campaign: (bid.gross_nano, bid.net_nano, bid.name) for bid in imp.bids}
    assert fates["suv/c"] == (4_000_000, 3_000_000, "won")  # isba2020: net = 3/4 of gross
    assert fates["poor/c"] == (3_000_000, 2_250_000, "outbid")  # clamped to its budget
    assert fates["shy/c"] == (500_000, 375_000, "below_floor")
    assert {bid.campaign: bid.value_nano for bid in imp.bids}["poor/c"] == 8_000_000
    sale = imp.sale
    assert sale is not None and imp.floor_nano == sale.floor_nano == 450_000
    assert (sale.bid_nano, sale.second_nano, sale.increment_nano) == (3_000_000, 2_250_000, 10_000)
    assert sale.clearing_nano == 2_260_000 and sale.quoted_cpm == 2.26
    assert sum(p.nano for p in sale.parties) == sale.buyer_total_nano == 2_260_000 * 4 // 3
    text = render(facts)
    assert "max(floor 0.4500, runner-up 2.2500 + increment 0.0100), at most the winner's net 3.0000 = 2.2600" in text


def test_what_the_request_became(config: Config) -> None:
    """Place, person and terms in the exchange's words; a person who must stay unknown says why."""
    facts = told(config, device={"devicetype": 4, "geo": {"country": "FRA", "utcoffset": 120}}, at=1)
    assert facts.place is not None and facts.who is not None
    assert msgspec.structs.astuple(facts.place) == ("FR", "phone", "news.example", "pub", 12)
    assert (facts.who.known, facts.who.why, facts.who.segments) == (True, "user.id", ["suv"])
    assert facts.format == "first price" and facts.imps[0].seller_floor == "0.5 USD"
    hidden = told(config, regs={"coppa": 1}).who
    assert hidden is not None and (hidden.known, hidden.why, hidden.segments) == (False, "regs.coppa", [])
    for over, expected in (
        ({"device": {"dnt": 1}}, "device.dnt"),
        ({"regs": {"gdpr": 1}}, "regs.gdpr without a consent text"),
        ({"user": None, "device": {"ifa": "x"}}, "device.ifa"),
        ({"user": {"eids": [{"source": "a", "uids": [{"id": "u"}]}]}}, "user.eids"),
        ({"user": None, "device": None}, "no user.id, buyeruid, eids or device.ifa"),
    ):
        who = told(config, **over).who
        assert who is not None and who.why == expected


def test_endpoints_are_listed_not_called(config: Config) -> None:
    """An endpoint whose audience this is would be asked; nothing is sent (port 9 answers nobody)."""
    assert [(e.name, e.eligible) for e in told(config).endpoints] == [("near", True)]
    away = told(config, device=None)
    assert away.endpoints[0].why == "target: country in [FR]" and not away.endpoints[0].eligible
    assert "would be asked, is not called here" in render(told(config))


def test_a_refused_request_lists_every_error(config: Config) -> None:
    """All problems with path, value and reason; no auction."""
    facts = explain(
        config, b'{"id":"x","imp":[{"id":"1","banner":{"w":-1}},{"id":"1","banner":{}}],"test":"no"}', NOW_NS
    )
    assert facts.status == 400 and facts.id == "x" and not facts.imps
    assert {"imp[0].banner.w", "imp[1].id", "test"} <= {e.path for e in facts.errors}
    text = render(facts)
    assert "1 validation: refused" in text and "imp[0].banner.w: expected an integer" in text and "got -1" in text


def test_test_requests_and_foreign_currencies(config: Config) -> None:
    """test = 1 is held all the same, and said; without a rate for cur there is no auction."""
    tested = told(config, test=1)
    assert tested.test and tested.imps[0].bids and "nothing is charged" in render(tested)
    foreign = told(config, cur=["CHF"])
    assert foreign.status == 204 and not foreign.imps[0].bids and "no auction" in render(foreign)
    assert told(config, cur=["USD"]).imps[0].sale.quoted_cpm == 2.511111  # type: ignore[union-attr]
    unsold = told(config, imp=[{"id": "1", "banner": {}, "bidfloor": 1, "bidfloorcur": "JPY"}])
    assert unsold.status == 204 and "without a rate" in unsold.imps[0].seller_floor


def test_files(config: Config, tmp_path: Path) -> None:
    """A wrapped file explains its first request, with the demo's config by default; JSON has the same facts."""
    path = tmp_path / "two.json"
    path.write_text(
        "\n".join(
            json.dumps({"mockBidRequest": request(id=f"r{k}", ext={"rentier": {"now_ns": NOW_NS}})}) for k in "12"
        )
    )
    text = explain_file(path, None, False)
    assert text.startswith("request r1 of two.json#1, the first of 2 in it") and "demo.toml" in text
    assert max(map(len, text.splitlines())) <= 100
    facts = msgspec.json.decode(explain_file(path, shipped("demo.toml"), True), type=Explained)
    assert facts.more == 1 and render(facts) == text and facts.time == "2026-01-05T10:00:00Z"
    path.write_text('{"seatbid": []}')
    with pytest.raises(ConfigError, match="no bid request in it"):
        explain_file(path, None, False)
    with pytest.raises(ConfigError, match="no such config"):
        shipped("nope.toml")
