"""Fee sets of the config: every price splits exactly, as the plain twin says; what cannot be split names its key."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from exchange.books.reconcile import reconcile
from exchange.config import ConfigError, Fees, FeeSet, parse_config
from exchange.market import BUY_PARTIES, PARTIES, PRICE_MAX_NANO, SELL_PARTIES
from exchange.rent.ledger import Ledger
from exchange.rent.waterfall import fee_set, gross_floor, net_of, split, total_of
from tests.naive_terms import Fee, Imp, Remote, Request, campaign, market, offer, venue_of

NOW = 1_770_000_000 * 10**9
check = settings(derandomize=True, deadline=None, max_examples=150)
weights = some.one_of(some.just(0), some.integers(0, 10_000))
sets = some.builds(
    FeeSet,
    addon_bps=some.integers(0, 100_000),
    fixed_cpm=some.one_of(some.just(0.0), some.integers(0, 10**6).map(lambda n: n / 1_000), some.floats(0, 1_000)),
    **dict.fromkeys(PARTIES, weights),
).filter(lambda fee: any(getattr(fee, p) for p in SELL_PARTIES) and any(getattr(fee, p) for p in BUY_PARTIES))
prices = some.one_of(some.integers(0, 3_000), some.integers(0, 10**8), some.integers(0, PRICE_MAX_NANO))


@check
@given(sets, prices, some.booleans())
def test_every_price_splits_exactly_and_as_the_plain_twin_says(own, clearing, uses_data):
    fees, plain = fee_set("own", "own", {"own": own}), Fee("own", "own", {"own": own})
    out = np.full(10, -1, np.int64)
    split(fees, clearing, int(uses_data), out)
    total = total_of(fees, clearing)
    assert total == plain.total(clearing) and (out >= 0).all()
    assert out[:6].sum() == total - clearing and out[6:].sum() == clearing
    assert dict(zip(PARTIES, out.tolist(), strict=True)) == plain.split(clearing, uses_data)


@check
@given(sets, prices)
def test_nobody_pays_more_than_he_bid_and_floors_are_reached(own, price):
    fees, plain = fee_set("own", "own", {"own": own}), Fee("own", "own", {"own": own})
    net = net_of(fees, price)
    assert net == plain.net(price)
    assert net == 0 or total_of(fees, net) <= price
    least = gross_floor(fees, price)
    assert net_of(fees, least) >= price and (least == 0 or net_of(fees, least - 1) < price)


def test_a_set_says_the_same_as_the_preset_of_its_shares():
    """2,500 on top of 7,500 is a third; the nearest whole ten-thousandth of the clearing price is 3,333."""
    own = FeeSet(addon_bps=3_333, agency=700, dsp=800, data=1_000, publisher=5_100, exchange=800, supply_tech=100,
                 hidden=1_500)  # fmt: skip
    mine, preset = np.zeros(10, np.int64), np.zeros(10, np.int64)
    split(fee_set("own", "own", {"own": own}), 10**9, 1, mine)
    split(fee_set("isba2020", "isba2020"), 10**9, 1, preset)
    assert np.array_equal(mine[6:], preset[6:])
    assert np.allclose(mine[:6], preset[:6], rtol=2e-4)


def test_sell_and_buy_each_take_their_half_of_a_set():
    """A set without sell weights adds fees; one without buy weights shares the price."""
    two = {"on_top": FeeSet(addon_bps=1_000, dsp=1), "shared": FeeSet(publisher=3, exchange=1)}
    fees, out = fee_set("shared", "on_top", two), np.zeros(10, np.int64)
    split(fees, 1_000_000, 1, out)
    assert dict(zip(PARTIES, out.tolist(), strict=True)) == dict.fromkeys(PARTIES, 0) | {
        "dsp": 100_000, "publisher": 750_000, "exchange": 250_000,
    }  # fmt: skip
    assert total_of(fee_set("shared", "none", two), 1_000_000) == 1_000_000


REFUSED = [
    (Fees("mine", "none", {"own": FeeSet()}), r"fees.sell = 'mine': expected one of none, isba2020, pmp2022, own"),
    (Fees("none", "ovn", {"own": FeeSet()}), r"fees.buy = 'ovn': expected one of .*; did you mean 'own'\?"),
    (Fees("own", "none", {"own": FeeSet(dsp=1)}), r"fees.sell = 'own': fees.set.own gives nobody .*publisher"),
    (
        Fees("none", "none", {"own": FeeSet(addon_bps=9)}),
        r"fees.set.own: addon_bps = 9, fixed_cpm = 0: nobody receives",
    ),
    (Fees("none", "none", {"own": FeeSet(fixed_cpm=0.5, publisher=1)}), r"fixed_cpm = 0.5: nobody receives .*agency"),
    (Fees("none", "none", {"none": FeeSet()}), r"fees.set.none: expected another name"),
]


@pytest.mark.parametrize(("fees", "expected"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_split_names_its_key(fees, expected):
    config = market({"a": [campaign("c")]}, "none", endpoints=1)
    config.fees = fees
    with pytest.raises(ConfigError) as caught:
        venue_of(config)
    assert re.search(expected, str(caught.value)) and "\n" not in str(caught.value)


def test_the_fees_of_an_endpoint_are_named_as_such():
    config = market({"a": [campaign("c")]}, "none", endpoints=1)
    config.endpoint[0].fees = "hous"
    config.fees = Fees("none", "none", {"house": FeeSet(addon_bps=1, dsp=1)})
    with pytest.raises(ConfigError, match=r"endpoint e0: fees = 'hous': .*; did you mean 'house'"):
        venue_of(config)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[fees.set.a]\naddon_bps = 100_001", r"fees.set|addon_bps"),
        ("[fees.set.a]\ndsp = 1.5", "expected.*int"),
        ("[fees.set.a]\nagenzy = 1", "unknown field `agenzy`.*did you mean `agency`"),
        ("[fees.set.a]\nhidden = 10_001", "10000"),
        ("[fees.set.a]\nfixed_cpm = -1", "fees"),
    ],
)
def test_numbers_out_of_range_are_refused_by_the_config(text, expected):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "my.toml")
    assert re.search(expected, str(caught.value), re.I) and "\n" not in str(caught.value)


def test_sets_in_the_market():
    """Two wins through the real path: a local one behind a set, a remote one behind an endpoint's; all balances."""
    config = market({"a": [campaign("c", value=2.0)]}, "none", endpoints=1)
    config.fees = Fees("house", "house", {
        "house": FeeSet(1_500, 0.10, dsp=2, verify=1, publisher=85, exchange=15),
        "remote": FeeSet(500, tax=1),
    })  # fmt: skip
    config.endpoint[0].fees = "remote"
    venue = venue_of(config, journal=True)
    offer(venue, Request(NOW, imps=[Imp(500_000)], remote=[Remote(1_200_001)]))
    offer(venue, Request(NOW, imps=[Imp(500_000)], remote=[Remote(3_000_000)]))
    venue.journal.close()
    ledger = Ledger.in_memory(venue.journal)
    local, remote = ledger.wins
    net = (2_000_000 - 100_000) * 10_000 // 11_500  # of the local bid
    assert local["bid_nano"] == net == remote["clearing_nano"] and local["clearing_nano"] == 1_200_001
    assert local["buyer_total_nano"] == 1_200_001 + 180_000 + 100_000
    assert local["publisher_nano"] == round(1_200_001 * 0.85) and local["dsp_nano"] == round(280_000 * 2 / 3)
    assert remote["tax_nano"] == remote["buyer_total_nano"] - net == net // 20
    assert reconcile(ledger).count == 0
