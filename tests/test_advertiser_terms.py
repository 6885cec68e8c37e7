"""What an advertiser brings of its own: a fee set, a currency, the segments it targets; on every win row, live too."""

import re

import numpy as np
import pytest

from exchange import market as mk
from exchange.auction.changes import Change, carry_out, plan, read_change
from exchange.books.reconcile import reconcile
from exchange.config import ConfigError, Distribution, Fees, FeeSet, parse_config
from exchange.rent.ledger import Ledger
from exchange.rent.waterfall import fee_set, fees_of, net_of, terms_of, total_of
from tests.naive import Naive, differences
from tests.naive_terms import Imp, Remote, Request, campaign, market, offer, venue_of

NOW = 1_770_000_000 * 10**9
AD = {"id": "ad", "w": 300, "h": 250, "html": "<p>"}
SETS = {"house": FeeSet(1_500, 0.10, dsp=2, verify=1, publisher=85, exchange=15), "thin": FeeSet(100, agency=1)}


def own_terms(**auction):
    """Four advertisers: the usual set, one of its own, another currency, both; one endpoint."""
    config = market(
        {
            "plain": [campaign("c", value=4.0, target="seg one of [suv, city]")],
            "house": [campaign("c", value=Distribution(uniform=(1.0, 4.0)), budget=0.05)],
            "dollar": [campaign("c", value=2.31, budget=0.04, daily=0.03),
                       campaign("d", value=Distribution(empirical=[1.0, 3.37]), target="seg one of [city]")],
            "pound": [campaign("c", value=Distribution(exponential=1.5)),
                      campaign("d", value=Distribution(lognormal=(0.1, 0.6)))],
        },
        "isba2020", endpoints=2, **auction,
    )  # fmt: skip
    config.fees = Fees("isba2020", "isba2020", SETS, fx_bps=45)
    config.rates = {"USD": 0.913457, "GBP": 1.17}
    _, house, dollar, pound = config.advertiser
    house.fees, dollar.currency, pound.currency, pound.fees = "house", "USD", "GBP", "thin"
    config.endpoint[1].fees = "house"
    return config


def closed(venue) -> Ledger:
    venue.journal.close()
    return Ledger.in_memory(venue.journal, venue.names)


def test_the_market_is_that_of_the_plain_twin():
    """Every row, with fees and segment by name, and every account, over a mixed history."""
    config = own_terms()
    venue = venue_of(config, journal=True)
    naive, draw, now = Naive(config, venue), np.random.default_rng(7), NOW
    segments = ((), ("suv",), ("city",), ("city", "suv"), ("golf",))
    for _ in range(150):
        now += int(draw.integers(1, 30)) * 10**9
        remote = (
            [Remote(int(draw.integers(1, 4_000_000)), endpoint=int(draw.integers(2)))] if draw.random() < 0.5 else []
        )
        request = Request(now, person=2 * int(draw.integers(0, 9)), imps=[Imp(int(draw.choice([0, 900_000])))],
                          remote=remote, segments=segments[int(draw.integers(5))])  # fmt: skip
        offer(venue, request)
        naive.trade(request)
        if draw.random() < 0.7 and venue.record["serial"][0] > 0:
            serial = int(venue.record["serial"][0]) - 1
            for market_ in (venue, naive):
                market_.event(mk.KIND_IMPRESSION, serial, int(venue.record["auction"][0]), now)
    assert differences(naive, venue, ledger := closed(venue)) == []
    assert reconcile(ledger).count == 0
    sets = {venue.names.text("fees", int(ident)) for ident in ledger.wins["fees"]}
    assert len(sets) == 5, "four of local campaigns and endpoint e0's, as e1's is that of house"
    assert {venue.names.text("segment", int(s)) for s in ledger.wins["segment"]} == {"", "suv", "city"}


def test_the_fee_of_another_currency_is_paid_on_top():
    config = own_terms()
    venue = venue_of(config, journal=True)
    rows = venue.campaigns[: venue.n_campaigns]
    fees = venue.arrays["fees"]
    assert rows["fees"].tolist() == [0, 3, 4, 4, 5, 5], "behind the usual set and two endpoints', each once"
    dollar = fees[4]
    assert terms_of(dollar) == terms_of(fee_set("isba2020", "isba2020", fx_bps=45))
    assert rows["value_nano"][2] == int(2_310_000 * 913_457 // 10**6)
    assert rows["budget"][2] == 40_000_000 * 913_457 // 10**6 and rows["daily"][2] == 30_000_000 * 913_457 // 10**6
    offer(venue, Request(NOW, person=3, imps=[Imp(1_000_000)], segments=("city",), remote=[Remote(1_400_000)]))
    win = closed(venue).wins[0]
    assert win["fees"] == fees["name"][rows["fees"][[int(r) for r in rows["id"]].index(int(win["campaign"]))]]
    record = fees_of(venue.names.text("fees", int(win["fees"])))
    assert win["buyer_total_nano"] == total_of(record, int(win["clearing_nano"]))
    assert win["fx_nano"] == int(win["clearing_nano"]) * int(record["fx_bps"]) // 10_000


def test_values_and_budgets_are_converted_down_to_the_nano():
    config = market({"a": [campaign("c", value=1.000001, budget=0.000000003)]}, "none")
    config.advertiser[0].currency, config.rates = "USD", {"USD": 0.9999}
    venue = venue_of(config)
    assert venue.campaigns["value_nano"][0] == 999_900  # of 999_900.9999
    assert venue.campaigns["budget"][0] == 2  # of 2.9997
    config.advertiser[0].currency = "EUR"
    assert venue_of(config).campaigns["value_nano"][0] == 1_000_001
    click = market({"a": [campaign("c", value=None, value_click=0.7, pctr=0.01)]}, "none")
    click.advertiser[0].currency, click.rates = "USD", {"USD": 0.9133}
    row = venue_of(click).campaigns[0]
    assert (row["value_nano"], row["value_event_nano"]) == (7_000_000 * 9133 // 10_000, 700_000_000 * 9133 // 10_000)


@pytest.mark.parametrize(
    ("target", "segments", "expected"),
    [
        ("seg one of [suv, city]", ("city", "suv"), "suv"),
        ("seg one of [suv, city]", ("city",), "city"),
        ("seg none of [suv]", ("city",), ""),
        ("not (seg one of [suv])", ("city",), ""),
        ("not (seg none of [suv, city])", ("city",), "city"),
        ("seg none of [golf] and seg one of [city]", ("city",), "city"),
        ("device in [phone] or seg one of [city]", ("golf",), ""),
        ("", ("city",), ""),
    ],
)
def test_the_segment_on_the_row_is_the_first_one_wanted_that_the_person_has(target, segments, expected):
    venue = venue_of(market({"a": [campaign("c", value=2.0, target=target)]}, "none"), journal=True)
    offer(venue, Request(NOW, person=3, segments=segments))
    win = closed(venue).wins[0]
    assert venue.names.text("segment", int(win["segment"])) == expected
    assert bool(win["flags"] & mk.FLAG_DATA) == ("seg" in target)


def change(venue, action: str, campaign: str = "", /, **keys):
    wanted = plan(venue, read_change(Change(action, campaign, keys)), NOW)
    carry_out(venue, wanted)


def test_an_advertiser_that_comes_while_serving_brings_its_terms():
    config = own_terms()
    venue = venue_of(config, journal=True)
    brief = {"name": "late", "value_cpm": 50.0, "target": "seg one of [golf]", "creative": [AD]}
    change(venue, "add_advertiser", name="franc", fees="thin", currency="GBP", campaign=[brief])
    late = venue.campaigns[venue.n_campaigns - 1]
    assert late["fees"] == 5 and len(venue.stock.fees.names) == 6, "pound has that set already"
    change(venue, "add_advertiser", name="new", fees="house", currency="USD", campaign=[{**brief, "value_cpm": 90.0}])
    offer(venue, Request(NOW, person=3, segments=("golf",)))
    win = closed(venue).wins[0]
    record = fees_of(venue.names.text("fees", int(win["fees"])))
    assert terms_of(record) == terms_of(fee_set("isba2020", "house", SETS, fx_bps=45))
    assert venue.names.text("segment", int(win["segment"])) == "golf"
    assert win["bid_nano"] == net_of(record, 90_000_000 * 913_457 // 10**6)
    assert reconcile(Ledger.in_memory(venue.journal, venue.names)).count == 0


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"fees": "hause"}, r"advertiser new: fees = 'hause': expected one of .*did you mean 'house'"),
        ({"currency": "CHF"}, r"advertiser new: currency = 'CHF': expected one of EUR, GBP, USD"),
        ({"currency": "usd"}, r"currency|A-Z"),
    ],
)
def test_terms_that_cannot_be_are_refused_while_serving(keys, expected):
    venue = venue_of(own_terms())
    with pytest.raises(ConfigError) as caught:
        change(venue, "add_advertiser", name="new", **keys)
    assert re.search(expected, str(caught.value)) and "\n" not in str(caught.value)
    assert "new" not in venue.stock.advertisers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[[advertiser]]\nname = "a"\ncurrency = "USD"',
            r"advertiser a: currency = 'USD': expected one of EUR, or its",
        ),
        ('[[advertiser]]\nname = "a"\ncurrency = "dollar"', r"currency"),
        ("[fees]\nfx_bps = 10_001", r"fx_bps"),
    ],
)
def test_terms_that_cannot_be_are_refused_by_the_config(text, expected):
    with pytest.raises(ConfigError, match=expected):
        parse_config(text, "my.toml")


def test_a_set_of_an_advertiser_that_nobody_knows_names_it():
    config = own_terms()
    config.advertiser[1].fees = "hose"
    with pytest.raises(ConfigError, match=r"advertiser house: fees = 'hose': .*did you mean 'house'"):
        venue_of(config)


def test_positions_are_not_sold_where_any_set_has_a_fixed_fee():
    """A fixed fee of one advertiser is enough, and that of a campaign that is only asked about is not."""
    config = own_terms(slots=[1.0, 0.5], format="gsp")
    with pytest.raises(ConfigError, match=r"auction.format = 'gsp': advertiser house: fees = 'house' has a fixed_cpm"):
        venue_of(config)
    config.advertiser[1].campaign = []
    venue = venue_of(config)
    brief = {"name": "c", "value_cpm": 1.0, "creative": [AD]}
    with pytest.raises(ConfigError, match="has a fixed_cpm"):
        change(venue, "add", "house", **brief)
    change(venue, "add", "plain", **(brief | {"name": "e"}))
