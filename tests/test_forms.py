"""Closed forms: the quadrature against textbook formulas, and against plain Monte Carlo for random markets."""

from math import comb, sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidders.equilibrium import EquilibriumAllPay, EquilibriumFirstPrice, EquilibriumSoftFloor
from exchange.config import parse_config
from exchange.theory import forms
from exchange.theory.game import NoForm, game_of, myerson_reserve
from exchange.theory.goods import paced
from exchange.theory.independent import Bidder, auction, positions, virtual_inverse, virtual_value
from exchange.theory.trials import knapsack
from exchange.theory.values import Atoms, Exponential, LogNormal, Uniform

AD = 'creative = [{ id = "box", w = 300, h = 250, html = "<p>an ad</p>" }]'
PLAIN = '[population]\npreset = "plain"\npeople = 1_000\nfloor_cpm = 0.0\nview_rate = 1.0\n'
U01 = "{ uniform = [0.0, 1.0] }"


def market(*values: str, auction: str = "", extra: str = "", rule: str = "") -> Any:
    """A config of one campaign per value; `rule` is a line for each campaign."""
    text = PLAIN + (f"[auction]\n{auction}\n" if auction else "") + extra
    for k, value in enumerate(values):
        text += (
            f'\n[[advertiser]]\nname = "b{k}"\n[[advertiser.campaign]]\nname = "all"\n{rule}\nvalue_cpm = {value}\n{AD}'
        )
    return parse_config(text)


# ---- textbook ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("r", [0.0, 0.3, 0.5, 0.9])
def test_second_price_uniform(n: int, r: float) -> None:
    """Revenue 2n/(n+1) (1 - r^(n+1)) - (1 - r^n); sold unless all are below r; welfare n/(n+1) (1 - r^(n+1))."""
    config = market(*[U01] * n, auction=f"floor_cpm = {r}")
    revenue = 2 * n / (n + 1) * (1 - r ** (n + 1)) - (1 - r**n)
    assert forms.expected(config, "auction", "revenue") == pytest.approx(revenue if n > 1 else r * (1 - r), abs=1e-12)
    assert forms.expected(config, "auction", "sale_rate") == pytest.approx(1 - r**n, abs=1e-12)
    assert forms.expected(config, "auction", "welfare") == pytest.approx(n / (n + 1) * (1 - r ** (n + 1)), abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 12])
@pytest.mark.parametrize("mean", [0.3, 1.0, 40.0])
def test_second_price_exponential(n: int, mean: float) -> None:
    """Revenue mean (H_n - 1), and the winner keeps the mean whatever n is."""
    config = market(*[f"{{ exponential = {mean} }}"] * n)
    harmonic = sum(1 / k for k in range(1, n + 1))
    assert forms.expected(config, "auction", "revenue") == pytest.approx(mean * (harmonic - 1), rel=1e-10)
    assert forms.expected(config, "auction", "surplus") == pytest.approx(mean, rel=1e-10)


def test_equal_bids_are_sold_once() -> None:
    """Three that always bid 1, and two lists that often agree: one winner, and the price is the tied bid."""
    found = auction([Bidder(Atoms([1.0]))] * 3, "second_price")
    assert (found.wins.sum(), found.paid.sum(), found.value.sum()) == pytest.approx((1.0, 1.0, 1.0))
    found = auction([Bidder(Atoms([1.0, 2.0]))] * 2, "first_price")
    assert (found.wins.sum(), found.paid.sum()) == pytest.approx((1.0, 1.75))
    revenue, out = positions([Bidder(Atoms([1.0]))] * 3, [2.0, 1.0], "gsp")
    assert (revenue, out.wins.sum(), out.value.sum()) == pytest.approx((3.0, 2.0, 3.0))


def test_posted_price_of_one_buyer_and_of_many() -> None:
    """p (1 - F(p)^n); a draw decides, so what is sold is worth the mean value above the price."""
    for n in (1, 2, 6):
        config = market(*[U01] * n, auction='format = "posted_price"\nfloor_cpm = 0.4')
        assert forms.expected(config, "auction", "revenue") == pytest.approx(0.4 * (1 - 0.4**n), abs=1e-12)
        assert forms.expected(config, "auction", "winning_value") == pytest.approx(0.7, abs=1e-12)


@pytest.mark.parametrize(("w1", "w2", "expected"), [(1.0, 2.0, 31 / 48), (1.0, 1.0, 5 / 12)])
def test_myerson_of_two_uniform_bidders(w1: float, w2: float, expected: float) -> None:
    """Revenue = mean of the highest virtual value, where positive."""
    reserve = ", ".join(f'{{ seat = "b{k}", values = {{ uniform = [0.0, {w}] }} }}' for k, w in enumerate((w1, w2)))
    config = market(
        f"{{ uniform = [0.0, {w1}] }}", f"{{ uniform = [0.0, {w2}] }}",
        auction=f'format = "myerson"\nreserve = [{reserve}]',
    )  # fmt: skip
    assert forms.expected(config, "auction", "revenue") == pytest.approx(expected, abs=1e-9)


def test_optimal_reserves() -> None:
    """high / 2 for a uniform from 0; the mean of an exponential; LN(0, 1): 1.353415; of a list the best entry."""
    assert myerson_reserve(Uniform(0, 3)) == pytest.approx(1.5)
    assert myerson_reserve(Exponential(0.7)) == pytest.approx(0.7)
    assert myerson_reserve(Uniform(2, 3)) == 2.0  # not 3 / 2: nobody is worth less than 2
    assert myerson_reserve(LogNormal(0, 1)) == pytest.approx(1.3534152, abs=1e-6)
    assert myerson_reserve(Atoms([1.0, 1.0, 5.0])) == 5.0
    assert virtual_inverse(LogNormal(0, 1), virtual_value(LogNormal(0, 1), 2.0)) == pytest.approx(2.0)


def test_equilibrium_bids() -> None:
    """First price with a reserve (Riley, Samuelson), without one (n - 1)/n v; all-pay (n - 1)/n v^n."""
    u = Uniform(0, 1)
    for n, r, v in ((3, 0.5, 0.8), (2, 0.0, 0.3), (5, 0.2, 1.0)):
        plain = (n - 1) / n * v + r**n / (n * v ** (n - 1))
        assert forms.first_price_bid(u, n, r, v) == pytest.approx(plain, abs=1e-12)
    assert forms.first_price_bid(u, 3, 0.5, 0.49) == 0.0
    assert forms.all_pay_bid(u, 5, 0.0, 0.9) == pytest.approx(0.8 * 0.9**5)
    entry = 0.25**0.5  # x F(x) = r
    assert forms.all_pay_bid(u, 2, 0.25, 0.9) == pytest.approx(0.9**2 - (0.9**2 - entry**2) / 2)


@pytest.mark.parametrize("floor", [0.0, 0.25, 0.6])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_the_rules_of_equilibrium_bid_the_forms(n: int, floor: float) -> None:
    """bidders/equilibrium.py on U(0, 2): the general integrals, to the nano; nothing below the floor."""
    values, me = Uniform(0, 2), SimpleNamespace(rivals=n - 1, high_nano=2_000_000, soft_floor_nano=700_000)
    imp = SimpleNamespace(floor=round(floor * 1e6))
    for v in np.linspace(0.01, 2.0, 41).tolist():
        nano = round(v * 1e6)
        shaded = forms.first_price_bid(values, n, floor, v) * 1e6
        soft = nano if round(shaded) >= 700_000 else shaded
        assert EquilibriumFirstPrice.price(nano, imp, me) == pytest.approx(shaded, abs=1.1)
        assert EquilibriumAllPay.price(nano, imp, me) == pytest.approx(
            forms.all_pay_bid(values, n, floor, v) * 1e6, abs=1.1
        )
        assert EquilibriumSoftFloor.price(nano, imp, me) == pytest.approx(soft, abs=1.1)


def test_best_shading_meets_its_first_order_condition() -> None:
    """F(b) = (v - b) f(b) against a log-normal price."""
    price = LogNormal(0.2, 0.7)
    best = forms.best_bid(lambda b: float(price.cdf(np.array([b]))[0]), 4.0, 0.0)
    assert float(price.cdf(np.array([best]))[0]) == pytest.approx((4.0 - best) * price.pdf(best), rel=1e-6)


def test_edelman_ostrovsky_schwarz() -> None:
    """10, 4, 2 on 200 and 100 clicks: 800 + 200 in GSP, 600 + 200 in VCG."""
    for name, paid in (("gsp", (800, 200, 0)), ("vcg", (600, 200, 0))):
        config = market("10.0", "4.0", "2.0", auction=f'format = "{name}"\nslots = [200.0, 100.0]')
        assert [forms.expected(config, "auction", f"spend@b{k}/all") for k in range(3)] == pytest.approx(paid)
        assert forms.expected(config, "auction", "revenue") == pytest.approx(sum(paid))


@pytest.mark.parametrize(("form", "paid"), [("gsp", 0.426667), ("vcg", 0.341333)])
def test_positions_with_a_floor(form: str, paid: float) -> None:
    """Two bidders U(0, 1), floor r, two positions: one sold with 1 - r^2, on average 2 (1 - r); the price is a mean."""
    config = market(U01, U01, auction=f'format = "{form}"\nslots = [1.0, 0.5]\nfloor_cpm = 0.2')
    assert forms.expected(config, "auction", "sale_rate") == pytest.approx(1 - 0.2**2, abs=1e-12)
    assert forms.expected(config, "auction", "revenue") == pytest.approx(paid, abs=1e-6)
    assert forms.expected(config, "auction", "price") == pytest.approx(paid / 1.6, abs=1e-6)


def test_pacing_and_throttling_of_two_alike() -> None:
    """Spend a/6 at the multiplier a, theta^2/6 at the participation theta."""
    for rho in (0.02, 0.1, 0.5):
        config = market(U01, U01, rule=f'rule = "paced"\nknobs = {{ target_nano = {round(rho * 1e6)} }}')
        assert forms.expected(config, "pacing", "bid_to_value@b0/all") == pytest.approx(min(1.0, 6 * rho), abs=1e-9)
    config = market(*[U01] * 2)
    theta = sqrt(6 * 0.1)
    thin = [Bidder(Uniform(0, 1), present=theta)] * 2
    found = auction(thin, "second_price")
    assert found.paid.sum() == pytest.approx(0.2)
    assert found.value.sum() == pytest.approx(theta**2 * 2 / 3 + 2 * theta * (1 - theta) / 2)


def test_late_bidders_thin_the_auction() -> None:
    """n bidders in time with q: the binomial mixture of (k - 1)/(k + 1)."""
    n, q = 7, 0.6
    mixed = sum(comb(n, k) * q**k * (1 - q) ** (n - k) * (k - 1) / (k + 1) for k in range(1, n + 1))
    assert auction([Bidder(Uniform(0, 1), present=q)] * n, "second_price").paid.sum() == pytest.approx(mixed)


def test_goods_of_the_two_papers() -> None:
    """A (10, 8) with 6 and B (5, 5): .625 and a fifth of good 2 in second price; .6 in first price, revenue 11."""
    value = np.array([[10.0, 8.0], [5.0, 5.0]])
    second = paced(value, value, 0, 6.0, False)
    assert (second.multiplier, second.goods, second.revenue) == pytest.approx((0.625, 1.2, 10.0))
    first = paced(value, value, 0, 6.0, True)
    assert (first.multiplier, first.goods, first.revenue) == pytest.approx((0.6, 1.0, 11.0))
    rich = paced(value, value, 0, 100.0, True)
    assert (rich.multiplier, rich.revenue, rich.welfare) == pytest.approx((1.0, 18.0, 18.0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(1, 40)] * 3), min_size=1, max_size=5),
    st.integers(1, 120),
    st.booleans(),
)
def test_a_paced_buyer_spends_his_budget_or_bids_his_values(rows: Any, budget: int, first: bool) -> None:
    """No multiplier above the one found keeps the budget, and the one found spends it, or is 1."""
    value = np.array(rows, float).T
    found = paced(value, value, 0, float(budget), first)
    assert found.spend <= budget + 1e-9 and 0 < found.multiplier <= 1
    if found.multiplier < 1:
        assert found.spend == pytest.approx(budget)
        above = found.multiplier * (1 + 1e-9)
        won = above * value[0] > value[1:].max(0)
        assert (above * value[0] if first else value[1:].max(0))[won].sum() > budget * (1 - 1e-6)


def test_knapsack_buys_the_best_ratios_and_a_part_of_the_last() -> None:
    """Free things first, then by gain per price."""
    gain, price = np.array([1.0, 5.0, 3.0, 4.0]), np.array([0.0, 5.0, 1.0, 8.0])
    assert knapsack(gain, price, 0.0) == 1.0
    assert knapsack(gain, price, 3.5) == pytest.approx(1 + 3 + 5 * 2.5 / 5)
    assert knapsack(gain, price, 100.0) == 13.0


# ---- Monte Carlo ---------------------------------------------------------------------------------------------------


def draws(values: Any, rng: np.random.Generator, n: int) -> Any:
    """n values of a distribution, by definition."""
    if isinstance(values, Uniform):
        return rng.uniform(values.low, values.high, n)
    if isinstance(values, Exponential):
        return rng.exponential(values.scale, n)
    if isinstance(values, LogNormal):
        return rng.lognormal(values.mu, values.sigma, n)
    return rng.choice(values.points, n, p=values.weights)


VALUES = st.one_of(
    st.tuples(st.floats(0, 1), st.floats(0.1, 3)).map(lambda t: Uniform(t[0], t[0] + t[1])),
    st.floats(0.2, 2).map(Exponential),
    st.tuples(st.floats(-1, 1), st.floats(0.2, 1.5)).map(lambda t: LogNormal(*t)),
    st.lists(st.floats(0.1, 3), min_size=1, max_size=6).map(Atoms),
)
BIDDERS = st.builds(
    Bidder, VALUES, slope=st.floats(0.3, 1.2), markup=st.sampled_from([1.0, 4 / 3]),
    present=st.sampled_from([1.0, 1.0, 0.7]), floor=st.sampled_from([0.0, 0.0, 0.4, 1.0]),
    quality=st.sampled_from([1.0, 1.0, 0.5]),
)  # fmt: skip
SAMPLES = 60_000


def naive(bidders: list[Bidder], rule: str, soft: float, rng: np.random.Generator) -> Any:
    """(paid, value, wins) of each bidder in each of SAMPLES auctions, float[3, bidders, SAMPLES], by definition."""
    values = np.array([draws(b.values, rng, SAMPLES) for b in bidders])
    bids = np.array([v * b.slope / b.markup for v, b in zip(values, bidders, strict=True)])
    bids *= np.array([rng.random(SAMPLES) < b.present for b in bidders])
    floors = np.array([b.floor for b in bidders])[:, None]
    quality = np.array([b.quality for b in bidders])[:, None]
    ok = (bids >= floors) & (bids > 0)
    score = np.where(ok, bids * quality, -1.0)
    order = np.argsort(-score, 0, kind="stable")
    out = np.zeros((3, len(bidders), SAMPLES))
    at = np.arange(SAMPLES)
    first = order[0]
    won = score[first, at] > 0
    second = np.maximum(score[order[1], at], 0) if len(bidders) > 1 else np.zeros(SAMPLES)
    bid, floor = bids[first, at], floors[first, 0]
    price = np.maximum(floor, second / quality[first, 0])
    if rule == "first_price":
        price = bid
    elif rule == "soft_floor":
        price = np.where(bid >= max(soft, 0), np.maximum(price, soft), bid)
    out[0, first, at] = np.where(won, price, 0)
    if rule == "all_pay":
        out[0] = np.where(ok, bids, 0)
    out[1, first, at], out[2, first, at] = np.where(won, values[first, at], 0), won
    return out


def near(expected: Any, found: Any) -> None:
    """Means of samples, float[..., SAMPLES], within five standard errors."""
    error = found.std(-1) / sqrt(found.shape[-1])
    assert (np.abs(expected - found.mean(-1)) <= 5 * error + 1e-3).all(), (expected, found.mean(-1), error)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(BIDDERS, min_size=1, max_size=4),
    st.sampled_from(["second_price", "first_price", "soft_floor", "all_pay"]),
    st.sampled_from([0.3, 0.8, 2.0]),
    st.integers(0, 2**32),
)
def test_any_auction_of_independent_bidders(bidders: list[Bidder], rule: str, soft: float, seed: int) -> None:
    """Totals over all bidders are what sampling says, whatever the mix, the floors, the qualities."""
    found = auction(bidders, rule, soft if rule == "soft_floor" else 0.0)
    sampled = naive(bidders, rule, soft, np.random.default_rng(seed)).sum(1)
    near(np.array([found.paid.sum(), found.value.sum(), found.wins.sum()]), sampled)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(VALUES, min_size=1, max_size=5), st.sampled_from([[1.0], [2.0, 1.0], [1.0, 0.8, 0.1]]),
    st.sampled_from(["gsp", "vcg"]), st.sampled_from([0.0, 0.5]), st.integers(0, 2**32),
)  # fmt: skip
def test_any_positions(values: list[Any], slots: list[float], rule: str, floor: float, seed: int) -> None:
    """Revenue and value of several positions, by sorting the bids of every sample."""
    bidders = [Bidder(v, floor=floor) for v in values]
    rng = np.random.default_rng(seed)
    bids = np.sort(np.array([draws(v, rng, SAMPLES) for v in values]), 0)[::-1]
    bids = np.vstack([np.where(bids >= floor, bids, 0.0), np.zeros((len(slots) + 1, SAMPLES))])
    revenue = np.zeros(SAMPLES)
    for j in range(len(slots)):
        here = (bids[j] > 0) * 1.0
        if rule == "gsp":
            revenue += here * slots[j] * np.maximum(bids[j + 1], floor)
        else:
            for m in range(j, len(slots)):
                revenue += here * (slots[m] - [*slots, 0.0][m + 1]) * np.maximum(bids[m + 1], floor)
    expected, out = positions(bidders, slots, rule)
    near(np.array([expected, out.value.sum()]), np.array([revenue, np.array(slots) @ bids[: len(slots)]]))


@settings(max_examples=30, deadline=None)
@given(VALUES)
def test_distributions_agree_with_themselves(values: Any) -> None:
    """Nodes integrate to 1 and to the mean; the quantile inverts the cumulative; its slope is the density."""
    points, weights = values.nodes(np.zeros(0))
    assert weights.sum() == pytest.approx(1, abs=1e-9) and weights @ points == pytest.approx(values.mean(), rel=1e-8)
    for u in (0.01, 0.3, 0.77, 0.999):
        x = values.quantile(u)
        if values.atoms:
            assert values.below(np.array([x]))[0] < u + 1e-12 <= values.cdf(np.array([x]))[0] + 1e-9
        else:
            assert values.cdf(np.array([x]))[0] == pytest.approx(u, abs=1e-9)
            step = 1e-6 * x
            low, high = values.cdf(np.array([x - step, x + step]))
            assert (high - low) / (2 * step) == pytest.approx(values.pdf(x), rel=1e-3)


# ---- what theory does not speak of ---------------------------------------------------------------------------------

FIXED = """
population.preset = "plain"
fees = { buy = "own", set.own = { fixed_cpm = 0.2, agency = 1 } }
[[advertiser]]
name = "a"
"""
REFUSED = [
    (market(U01, U01, rule="budget = 3.0"), "budget"),
    (market(U01, U01, auction="increment_cpm = 0.01"), "increment"),
    (parse_config(FIXED), "fees.set.own.fixed_cpm"),
    (market(U01, U01, rule='rule = "shaded"'), "rule shaded learns"),
    (market(U01, U01, rule='rule = "paced"'), "rule paced learns"),
    (parse_config(""), "preset is not plain"),
    (market(), "no campaigns"),
]


@pytest.mark.parametrize(("config", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_theory_is_silent_where_it_does_not_hold(config: Any, why: str) -> None:
    """A market with budgets, increments or rules that learn has no closed form, and the reason is said."""
    with pytest.raises(NoForm, match=why):
        game_of(config)
