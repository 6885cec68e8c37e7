"""Fits to truncated values recover what was drawn, and the AIC tells the families apart; the plain twins agree."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from exchange.auction.reserve import optimal_reserve
from exchange.config import Distribution
from exchange.reserve.clear import Resamples, Terms, around
from exchange.reserve.expect import revenue
from exchange.reserve.fit import Fit, choose, fit, product_limit

check = settings(derandomize=True, deadline=None, max_examples=150)
N = 60_000
UNIFORM = Distribution(uniform=(0.0, 2.0))
EXPONENTIAL = Distribution(exponential=1.7)
LOGNORMAL = Distribution(lognormal=(0.3, 0.8))


def drawn(d: Distribution, shape: int | tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if d.uniform:
        return rng.uniform(*d.uniform, shape)
    return rng.exponential(d.exponential, shape) if d.exponential else np.exp(rng.normal(*d.lognormal, shape))


def floors(kind: str, n: int) -> np.ndarray:
    """No floors, one floor, or a floor of its own for each auction."""
    mixed = np.random.default_rng(99).uniform(0.0, 0.9, n)
    return {"none": np.zeros(n), "one": np.full(n, 0.6), "mixed": mixed}[kind]


@pytest.mark.parametrize("kind", ["none", "one", "mixed"])
@pytest.mark.parametrize("d", [UNIFORM, EXPONENTIAL, LOGNORMAL], ids=["uniform", "exponential", "lognormal"])
def test_values_above_their_floors_tell_the_distribution(d, kind):
    x, above = drawn(d, N, 5), floors(kind, N)
    seen = x >= above
    found, aic = choose(x[seen], above[seen])
    assert set(aic) == {"uniform", "exponential", "lognormal", "empirical"} and found.aic == min(aic.values())
    assert getattr(d, found.family), aic
    assert found.reserve() == pytest.approx(optimal_reserve(d), rel=0.03 if kind == "one" else 0.02)
    y = np.array([0.7, 1.1, 1.9])
    true = Fit(found.family, d, 0.0).survival(y)
    assert found.survival(y)[1:] / found.survival(y)[0] == pytest.approx(true[1:] / true[0], abs=0.01)


@pytest.mark.parametrize("d", [UNIFORM, EXPONENTIAL, LOGNORMAL], ids=["uniform", "exponential", "lognormal"])
@pytest.mark.parametrize("n", [2, 5])
def test_the_best_bid_given_the_second_tells_it_too(d, n):
    """What is left of a ledger without bids: the top of n, a value above the second."""
    values = np.sort(drawn(d, (N, n), 6), axis=1)
    found, _ = choose(values[:, -1], values[:, -2])
    assert getattr(d, found.family)
    assert found.reserve() == pytest.approx(optimal_reserve(d), rel=0.03)


def test_a_low_end_that_no_floor_lets_see_is_not_claimed():
    """Uniform values above one floor: any low end below it fits as well; a gap above the floor is seen."""
    x = np.random.default_rng(3).uniform(0.6, 2.0, 5_000)
    assert fit("uniform", x, np.full(x.size, 0.6), np.ones(x.size)).distribution.uniform[0] == 0.0
    assert fit("uniform", x, np.full(x.size, 0.3), np.ones(x.size)).distribution.uniform[0] == x.min()


def test_two_humps_have_no_density_of_two_parameters():
    rng = np.random.default_rng(4)
    x = np.where(rng.random(N) < 0.5, rng.uniform(0.2, 0.5, N), rng.uniform(2, 3, N))
    found, aic = choose(x, np.zeros(N))
    assert found.family == "empirical" and aic["empirical"] < min(aic["uniform"], aic["lognormal"]) - 1_000
    assert found.reserve() == pytest.approx(2.0, rel=1e-3)
    assert found.survival(np.array([1.0]))[0] == pytest.approx(0.5, abs=0.01)


def test_few_different_values_have_none_at_all():
    x = np.random.default_rng(5).choice([1.0, 2.0, 4.0], 5_000, p=[0.5, 0.3, 0.2])
    found, aic = choose(x, np.zeros(x.size))
    assert list(aic) == ["empirical"] and found.reserve() == 1.0
    assert found.survival(np.array([0.5, 1.0, 1.5, 4.0, 4.1])) == pytest.approx([1, 1, 0.5, 0.2, 0], abs=0.02)


observed = some.lists(some.tuples(some.integers(1, 12), some.integers(0, 12), some.integers(0, 3)), min_size=1).map(
    lambda rows: [(x, min(t, x), w) for x, t, w in rows]
)


@check
@given(observed)
def test_the_product_limit_is_the_product(rows):
    """Against the definition: the share at or above v is the product over u < v of 1 - deaths(u) / at risk(u)."""
    rows = [row for row in rows if row[2]] or [(3, 0, 1)]
    x, above, weight = (np.array(column, float) for column in zip(*rows, strict=True))
    values, share = product_limit(x, above, weight)
    assert values.tolist() == sorted(set(x.tolist()))[-values.size :] and share[0] == 1.0
    left = 1.0
    for v, found in zip(values.tolist(), share.tolist(), strict=True):
        assert found == pytest.approx(left, abs=1e-12)
        risk = sum(w for xx, t, w in rows if t <= v <= xx)
        left *= 1 - sum(w for xx, _, w in rows if xx == v) / risk


@check
@given(some.lists(some.integers(1, 9), min_size=1, max_size=60))
def test_without_truncation_it_is_the_share_of_higher_values(x):
    x = np.array(x, float)
    values, share = product_limit(x, np.zeros(x.size), np.ones(x.size))
    assert share == pytest.approx([np.mean(x >= v) / np.mean(x >= values[0]) for v in values], abs=1e-12)


# ---- clearing again --------------------------------------------------------------------------------------------

auctions = some.lists(some.tuples(some.lists(some.integers(1, 20), max_size=4), some.integers(0, 12)), min_size=1)


def price(bids: list[int], floor: int, increment: int = 0) -> int:
    """Second price with a floor, by definition; 0 = unsold."""
    able = sorted((b for b in bids if b >= floor), reverse=True)
    return min(able[0], max(able[1] + increment, floor)) if len(able) > 1 else floor if able else 0


def terms_of(rows: list[tuple[list[int], int]], increment: int = 0) -> Terms:
    table = []
    for bids, floor in rows:
        able = sorted((b for b in bids if b >= floor), reverse=True)
        kept = able[1] if len(able) > 1 else floor if able else 0
        table.append((kept, able[0] if able else 0, price(bids, floor, increment)))
    return Terms(*(np.array(column, np.int64) for column in zip(*table, strict=True)))


@check
@given(auctions, some.integers(0, 25), some.integers(0, 3))
def test_an_auction_cleared_again_earns_what_it_would_have(rows, reserve, increment):
    terms = terms_of(rows, increment)
    expected = [price(bids, max(floor, reserve), increment) for bids, floor in rows]
    assert terms.at(reserve).tolist() == expected
    won = [any(b >= max(floor, reserve) for b in bids) for bids, floor in rows]
    assert terms.sold(reserve) == pytest.approx(np.mean(won))


@check
@given(auctions, some.data())
def test_the_best_floor_in_hindsight_is_the_best(rows, data):
    weight = np.array([data.draw(some.integers(0, 3)) for _ in rows], float)
    terms = terms_of(rows)
    best = terms.best(weight)
    gains = {r: float(weight @ terms.at(r)) for r in {int(t) for t in terms.top if t}}
    assert (best == 0 and not gains) or gains[best] == max(gains.values())
    assert best == 0 or best == min(r for r in gains if gains[r] == gains[best])


def test_resamples_have_the_spread_of_the_mean():
    """The bootstrap's standard deviation of a mean is sigma / sqrt(n), drawn by auction or by stretch."""
    for n in (2_000, 50_000):
        x = np.random.default_rng(7).normal(3, 2, n)
        means = Resamples(n, 2_000, 1).means(x)
        assert means.mean() == pytest.approx(x.mean(), abs=5 * 2 / np.sqrt(n * 2_000) + 1e-3)
        assert means.std() == pytest.approx(2 / np.sqrt(n), rel=0.1)
        low, high = around(3.0, means)
        assert (high - low) / 2 == pytest.approx(1.96 * 2 / np.sqrt(n), rel=0.1) and low + high == pytest.approx(6)
        assert around(3.0, means, 2)[1] - 3 == pytest.approx((high - 3) * np.sqrt(2))
        assert np.array_equal(Resamples(n, 30, 1).means(x), Resamples(n, 30, 1).means(x))


@pytest.mark.parametrize(
    ("n", "r", "expected"), [(2, 0.0, 1 / 3), (5, 0.0, 2 / 3), (2, 0.5, 5 / 12), (3, 0.5, 17 / 32)]
)
def test_the_expected_revenue_is_that_of_theory(n, r, expected):
    """E01, E02, E04, E05 of the oracles; E09 for exponential values: H_5 - 1."""
    uniform = Fit("uniform", Distribution(uniform=(0.0, 1.0)), 0.0)
    assert revenue(uniform, 0.0, n, r) == pytest.approx(expected, rel=1e-5)
    assert revenue(Fit("", Distribution(exponential=1.0), 0.0), 0.0, 5, 0.0) == pytest.approx(1.2833333, rel=1e-5)
    assert revenue(Fit("", Distribution(lognormal=(0.0, 1.0)), 0.0), 0.0, 5, 0.0) == pytest.approx(1.923483, rel=1e-4)
    shifted = Fit("", Distribution(exponential=1.0), 0.0)  # above a floor values are as before, higher by it
    assert revenue(shifted, 0.7, 5, 0.7) == pytest.approx(0.7 + 1.2833333, rel=1e-5)
    assert log(shifted.survival(np.array([2.0]))[0]) == pytest.approx(-2.0)
