"""Values: what an impression is worth to a campaign, fixed or drawn, with segment factors, never out of bounds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as mk
from exchange.auction import value
from exchange.auction.terms import FAR_NS, date_ns
from exchange.config import Config, ConfigError, Distribution, parse_config
from exchange.rent.names import Names
from tests import naive_terms as naive
from tests.naive_terms import Request, campaign, market, offer, venue_of

quick = settings(derandomize=True, deadline=None)
NOW = 1_770_000_000 * 10**9


def record_of(*fields: str) -> Config:
    """A config of one campaign with these lines."""
    lines = "\n".join(fields)
    return parse_config(
        f'[[advertiser]]\nname="a"\n[[advertiser.campaign]]\nname="c"\n{lines}\n'
        '[[advertiser.campaign.creative]]\nid="x"\nw=300\nh=250\nhtml="<p>"\n'
    )


def me(*fields: str):
    """The campaign's record."""
    return venue_of(record_of(*fields)).campaigns[0]


def test_the_three_ways_to_say_what_it_is_worth():
    assert int(me("value_cpm = 2.0")["value_nano"]) == 2_000_000
    assert int(me("value_cpm = 0.0000019")["value_nano"]) == 1  # bids round down
    assert int(me("value_click = 0.5", "pctr = 0.004")["value_nano"]) == 2_000_000
    assert int(me("value_conversion = 25", "pctr = 0.004", "pcvr = 0.02")["value_nano"]) == 2_000_000
    assert int(me("value_cpm = 1e9")["value_nano"]) == mk.PRICE_MAX_NANO
    ppm = me("value_click = 0.5", "pctr = 0.0042", "pcvr = 0.013")
    assert (int(ppm["pctr_ppb"]), int(ppm["pcvr_ppb"])) == (4_200_000, 13_000_000)


@pytest.mark.parametrize("fields", [(), ("value_cpm = 1.0", "value_click = 1.0"), ("value_cpm = {}",)])
def test_a_campaign_has_one_value(fields):
    with pytest.raises(ConfigError, match="exactly one of"):
        record_of(*fields)


@pytest.mark.parametrize("number", ["inf", "nan", "-1.0", "1e300"])
def test_money_is_a_finite_number(number):
    """TOML knows inf and nan; the config does not."""
    for line in (
        f"value_cpm = {number}", f"value_click = {number}", f"value_cpm = 1.0\nbudget = {number}",
        f"value_cpm = 1.0\nfactors = {{ a = {number} }}", f"value_cpm = {{ exponential = {number} }}",
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="Expected `float`"):
            record_of(line)
    if number != "-1.0":
        for kind in ("uniform", "lognormal"):
            with pytest.raises(ConfigError, match="Expected `float`"):
                record_of(f"value_cpm = {{ {kind} = [0.0, {number}] }}")


def drawn(kind: int, a: float, b: float, auction: int = 1, imp: int = 0, who: int = 0, seed: int = 9) -> int:
    return int(value.drawn(kind, a, b, seed, auction, imp, who))


@quick
@given(st.integers(1, 2**40), st.integers(0, 50), st.integers(0, 500))
def test_drawn_values_are_those_of_the_definition(auction, imp, who):
    w = naive.draw(9, auction, imp, who, 3)
    u = naive.unit(w[0], w[1])
    assert drawn(value.UNIFORM, 2e5, 9e5, auction, imp, who) == int(2e5 + u * 7e5)
    assert drawn(value.EXPONENTIAL, 1e6, 0.0, auction, imp, who) == int(-1e6 * math.log1p(-u))
    normal = math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * naive.unit(w[2], w[3]))
    assert drawn(value.LOGNORMAL, 0.1, 0.7, auction, imp, who) == int(1e6 * math.exp(0.1 + 0.7 * normal))


@quick
@given(st.sampled_from([1, 2, 3]), st.floats(-1e20, 1e20), st.floats(-50, 50), st.integers(1, 10**6))
def test_a_drawn_value_is_never_out_of_bounds(kind, a, b, auction):
    if kind == value.LOGNORMAL:
        a = math.fmod(a, 50.0)
    assert 0 <= drawn(kind, a, b, auction) <= mk.PRICE_MAX_NANO


def test_moments_of_the_distributions():
    """100,000 draws each: means within four standard errors."""
    n = 100_000
    for kind, a, b, mean, sd in (
        (value.UNIFORM, 0.0, 1e6, 0.5e6, 0.288_7e6),
        (value.EXPONENTIAL, 1e6, 0.0, 1e6, 1e6),
        (value.LOGNORMAL, 0.0, 1.0, math.exp(0.5) * 1e6, 2.161e6),
    ):
        got = np.array([drawn(kind, a, b, k) for k in range(1, n + 1)])
        assert abs(got.mean() - mean) < 4 * sd / math.sqrt(n), kind


def asked(config: Config, segments: tuple[str, ...]) -> int:
    """What a truthful campaign bids for a person with these segments."""
    venue = venue_of(config)
    offer(venue, Request(NOW, segments=segments))
    return int(venue.arrays["bids"][0]["value_nano"])


def test_factors_multiply_for_the_segments_the_person_has():
    config = market({"a": [campaign("c", value=2.0, factors={"rich": 1.5, "far": 0.25, "b": 3.0})]}, "none")
    assert asked(config, ()) == asked(config, ("other",)) == 2_000_000
    assert asked(config, ("rich",)) == 3_000_000
    assert asked(config, ("far", "rich", "other")) == 750_000


@quick
@given(st.integers(1, mk.PRICE_MAX_NANO), st.lists(st.integers(0, 10**17), min_size=1, max_size=4))
def test_factors_never_overflow(nano, ppms):
    """The largest value with the largest factors stays at the limit of a price."""
    record = np.zeros(1, mk.shape([("value_kind", "u1"), ("value_nano", "i8"), ("value_a", "f8"), ("value_b", "f8"),
                                   ("factor0", "i4"), ("n_factors", "i4"), ("value_event_nano", "i8"),
                                   ("value_of", "u1"), ("pctr_ppb", "i8"), ("pcvr_ppb", "i8")]))  # fmt: skip
    record["value_nano"], record["n_factors"] = nano, len(ppms)
    factors = np.array([(k + 1, ppm) for k, ppm in enumerate(ppms)], value.FACTOR)
    segments = np.arange(1, 6, dtype=np.int32)
    expected = nano
    for ppm in ppms:
        expected = min(expected * ppm // 10**6, mk.PRICE_MAX_NANO)
    found = int(value.value_of(record[0], 0, 0, 1, 0, factors, segments, 5, np.zeros(1, np.int64), 0, 0))
    assert abs(found - expected) <= (1 if expected > 10**11 else 0)  # within one nano of the limit's edge


NO_FACTORS = np.zeros(1, value.FACTOR), np.zeros(1, np.int32), 0, np.zeros(1, np.int64)


@quick
@given(st.floats(1e-9, 1e6), st.integers(1, 10**9), st.integers(0, 10**9))
def test_an_imp_with_a_click_rate_of_its_own_is_valued_with_it(worth, pctr_ppb, pcvr_ppb):
    """Click x rate, or conversion x rate x rate, exactly; a value per impression stays what it is."""
    click = me(f"value_click = {worth!r}")
    event = round(worth * 10**9)
    if pctr_ppb != click["pctr_ppb"]:
        found = int(value.value_of(click, 0, 0, 1, 0, *NO_FACTORS, pctr_ppb, 0))
        assert found == min(mk.PRICE_MAX_NANO, event * pctr_ppb // 10**9)
    sale = me(f"value_conversion = {worth!r}")
    if (pctr_ppb, pcvr_ppb) != (sale["pctr_ppb"], sale["pcvr_ppb"]):
        found = int(value.value_of(sale, 0, 0, 1, 0, *NO_FACTORS, pctr_ppb, pcvr_ppb))
        assert found == min(mk.PRICE_MAX_NANO, event * pcvr_ppb // 10**9 * pctr_ppb // 10**9)
    for one in (click, sale):
        own = int(one["pctr_ppb"]), int(one["pcvr_ppb"])
        assert int(value.value_of(one, 0, 0, 1, 0, *NO_FACTORS, *own)) == int(one["value_nano"])
    assert int(value.value_of(me("value_cpm = 2.0"), 0, 0, 1, 0, *NO_FACTORS, pctr_ppb, 0)) == 2_000_000


def test_huge_factors_are_a_price_at_the_limit():
    config = market({"a": [campaign("c", value=2.0, factors={"rich": 1e300})]}, "none")
    assert asked(config, ("rich",)) == mk.PRICE_MAX_NANO


def test_dates_are_exact_and_bounded():
    assert date_ns("1970-01-01T00:00:00Z", "") == 0
    assert date_ns("2026-01-01T00:00:00.000001Z", "") - date_ns("2026-01-01T00:00:00", "") == 1_000
    assert date_ns("2026-01-01T02:00:00+02:00", "") == date_ns("2026-01-01", "")
    assert date_ns("9999-01-01", "") == FAR_NS and date_ns("1901-01-01", "") == 0
    with pytest.raises(ConfigError, match="campaign x: start = 'soon': expected a date like"):
        date_ns("soon", "campaign x: start")


def test_budgets_beyond_the_limit_are_refused():
    config = market({"a": [campaign("c", budget=1e9)]})
    with pytest.raises(ConfigError, match="campaign a/c: budget = 1000000000.0: expected at most 100000000"):
        venue_of(config)
    names = Names(None)
    assert names.id("campaign", "a/c") == 1


def test_a_distribution_is_drawn_anew_for_each_campaign_and_auction():
    own = {f"a{k}": [campaign("c", value=Distribution(uniform=(0.0, 1.0)))] for k in range(3)}
    venue = venue_of(market(own, "none"))
    seen = set()
    for k in range(20):
        offer(venue, Request(NOW + k))
        seen |= set(venue.arrays["bids"]["value_nano"][:3].tolist())
    assert len(seen) == 60 and max(seen) < 10**6
