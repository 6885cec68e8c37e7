"""Myerson's reserve against brute force, closed forms and the oracle."""

import csv
import os
from math import erfc, exp, log, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from exchange.auction.reserve import best_price, normal_hazard, optimal_reserve
from exchange.config import ConfigError, Distribution

ORACLES = Path(__file__).resolve().parents[2] / "shared" / "oracles.csv"
check = settings(derandomize=True, deadline=None, max_examples=150)


def survival(d: Distribution, r: float) -> float:
    """1 - F(r-), by definition."""
    if d.uniform:
        low, high = d.uniform
        return 1.0 if r <= low else max(0.0, (high - r) / (high - low))
    if d.exponential:
        return exp(-r / d.exponential)
    if d.lognormal:
        return erfc((log(r) - d.lognormal[0]) / d.lognormal[1] / sqrt(2)) / 2 if r > 0 else 1.0
    return sum(v >= r for v in d.empirical) / len(d.empirical)


def searched(d: Distribution, low: float, high: float) -> float:
    """argmax of r (1 - F(r)) on ever finer grids."""
    for _ in range(8):
        grid = np.linspace(low, high, 401)
        best = int(np.argmax([r * survival(d, r) for r in grid]))
        low, high = grid[max(0, best - 2)], grid[min(400, best + 2)]
    return (low + high) / 2


positive = some.floats(0.01, 50)
smooth = some.one_of(
    some.builds(lambda a, w: Distribution(uniform=(a, a + w)), some.floats(0, 20), positive),
    some.builds(lambda m: Distribution(exponential=m), positive),
    some.builds(lambda mu, s: Distribution(lognormal=(mu, s)), some.floats(-2, 2), some.floats(0.05, 2.5)),
)


@check
@given(smooth)
def test_it_is_where_one_buyer_pays_most(d):
    found = optimal_reserve(d)
    best = searched(d, 0, 4 * found)
    assert found * survival(d, found) >= best * survival(d, best) * (1 - 1e-12)
    assert found == pytest.approx(best, rel=1e-5)


@check
@given(some.lists(some.integers(0, 30).map(float), min_size=1, max_size=40))
def test_of_a_list_it_is_the_best_of_its_values(values):
    d = Distribution(empirical=values)
    found = optimal_reserve(d)
    gains = {v: v * sum(other >= v for other in values) for v in values}
    assert found in values and gains[found] == max(gains.values())
    assert found == max(v for v in values if gains[v] >= gains[found] * (1 - 1e-12))


@check
@given(some.floats(-3, 3), some.floats(0.001, 30))
def test_the_virtual_value_is_zero_there_to_a_billionth(mu, sigma):
    """h(z) = sigma, and moving r by 1e-9 of itself moves the hazard to the other side."""
    try:
        found = optimal_reserve(Distribution(lognormal=(mu, sigma)))
    except ConfigError:
        assert mu + sigma * sigma > log(500_000)
        return
    z = (log(found) - mu) / sigma
    step = 1e-9 / sigma
    assert normal_hazard(z - step) <= sigma * (1 + 1e-12) and normal_hazard(z + step) >= sigma * (1 - 1e-12)


def test_closed_forms():
    assert optimal_reserve(Distribution(uniform=(0.0, 1.0))) == 0.5
    assert optimal_reserve(Distribution(uniform=(3.0, 4.0))) == 3.0
    assert optimal_reserve(Distribution(uniform=(2.0, 2.0))) == 2.0
    assert optimal_reserve(Distribution(exponential=1.7)) == 1.7
    assert optimal_reserve(Distribution(lognormal=(0.5, 0.0))) == pytest.approx(exp(0.5), rel=1e-15)
    assert optimal_reserve(Distribution(lognormal=(0.3, 0.8))) == optimal_reserve(Distribution(lognormal=(0.3, -0.8)))
    assert optimal_reserve(Distribution(lognormal=(log(7), 1.0))) == pytest.approx(7 * 1.353415, rel=1e-6)
    assert best_price(np.array([1.0, 2.0, 3.0, 5.0])) == 3.0  # as good as 2 for one buyer, better for two
    assert best_price(np.array([1.0, 1.0, 1.9])) == 1.0 and best_price(np.array([1.0, 1.0, 3.1])) == 3.1


def test_the_oracle_row():
    if not ORACLES.exists():
        assert os.environ.get("CI") != "true", f"{ORACLES} is missing"
        pytest.skip("needs shared/oracles.csv")
    row = next(row for row in csv.DictReader(ORACLES.open()) if row["id"] == "E13")
    found = optimal_reserve(Distribution(lognormal=(0.0, 1.0)))
    assert abs(found - float(row["expected"])) <= float(row["tolerance"])


def test_the_hazard_is_smooth_where_its_series_begins():
    assert normal_hazard(25 + 1e-9) == pytest.approx(normal_hazard(25.0) + 1e-9, rel=2e-11)
    assert normal_hazard(1e6) == pytest.approx(1e6, rel=1e-11)


@pytest.mark.parametrize("d", [Distribution(exponential=1e9), Distribution(lognormal=(0.0, 40.0)), Distribution()])
def test_a_reserve_that_cannot_be_is_refused(d):
    with pytest.raises(ConfigError, match="values: "):
        optimal_reserve(d)
