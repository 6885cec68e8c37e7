"""The formulas of the reports: the oracles, other parameters against searches and sums that know no formula, limits."""

import csv
import os
from math import exp, inf, log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.report import formulas as fm

ORACLES = Path(__file__).resolve().parents[2] / "shared" / "oracles.csv"
YEAR_75 = fm.survival_of_year(0.75)


def oracle(name: str) -> float:
    """The expected number of an oracle; skips, or fails where nothing may be missing, without the file."""
    if not ORACLES.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{ORACLES} is missing")
        pytest.skip(f"no {ORACLES}")
    with ORACLES.open(newline="", encoding="utf-8") as file:
        return next(float(row["expected"]) for row in csv.DictReader(file) if row["id"] == name)


def test_oracles() -> None:
    """E49, E51, E53 by the formula, and what economics.md prints beside them."""
    assert fm.rerent_index(1000, 1000) == pytest.approx(oracle("E49"), abs=5e-7)
    found = fm.break_even(0.08, 0.01, YEAR_75, 0.90)
    assert found.months == pytest.approx(oracle("E51"), abs=1e-5)
    assert (found.month, found.why) == (16, "pays")
    assert found.most == pytest.approx(2.955030, abs=1e-6)
    assert fm.most_for_opt_in(0.08, 0.01, YEAR_75, 0.10) == pytest.approx(2.2284, abs=5e-5)
    load = fm.ad_load(0.0, 1.0)
    assert load.load == pytest.approx(oracle("E53"), abs=1e-6)
    assert load.comes == pytest.approx(0.217812, abs=1e-6)
    assert load.impressions == pytest.approx(0.278465, abs=1e-6)
    assert fm.nbd_reach(4, 0.5) == pytest.approx(2 / 3, abs=1e-12)
    assert fm.nbd_rerent(4, 0.5) == pytest.approx(0.8333333333, abs=1e-9)
    assert fm.ladder(4, 0.001, 0.02) == fm.Ladder(0.004, 4.0, 200.0)


# ---- own against rent ---------------------------------------------------------------------------------------------

rents = st.floats(0.0, 5.0)
prices = st.floats(0.0, 5.0)


def months_walked(rent: float, owned: float, q: float, price: float, most: int) -> int | None:
    """The first month by whose end the savings reach the price, month after month; None = not within `most`."""
    saved, left = 0.0, 1.0
    for month in range(1, most + 1):
        saved += (rent - owned) * left
        left *= q
        if saved >= price * (1 - 1e-9):
            return month
    return None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rents, st.floats(0.0, 1.0), st.floats(0.0, 1.0), prices, st.sampled_from([0.0, 0.04, 0.1, 0.5]))
def test_break_even_is_what_walking_month_by_month_finds(
    rent: float, owned: float, survival: float, price: float, discount: float
) -> None:
    found = fm.break_even(rent, owned, survival, price, discount)
    if rent <= owned:
        assert found == fm.BreakEven(None, None, 0.0, "rent is cheaper")
        return
    walked = months_walked(rent, owned, survival * (1 + discount) ** (-1 / 12), price, 5000)
    if found.month is None:  # unless the price is the limit itself, to the last digits
        assert walked is None or (found.why == "too dear" and price == pytest.approx(found.most, rel=1e-6))
    elif found.month <= 4000:
        assert walked is not None
        # a price reached exactly at a month's end, to the last digits, may be a month later
        reached = fm.saving(rent, owned, survival, walked, discount)
        assert walked == found.month or reached == pytest.approx(price, rel=1e-6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(0.02, 5.0), st.floats(0.0, 0.01), st.floats(0.05, 1.0), st.floats(0.01, 0.99), st.floats(0.0, 0.5))
def test_at_the_break_even_the_saving_is_the_price(
    rent: float, owned: float, survival: float, part: float, discount: float
) -> None:
    most = fm.most_for_opt_in(rent, owned, survival, discount)
    price = part * min(most, 100 * rent)
    months = fm.break_even(rent, owned, survival, price, discount).months
    assert months is not None
    assert fm.saving(rent, owned, survival, months, discount) == pytest.approx(price, rel=1e-9)
    q = survival * fm.discount_of_year(discount)
    by_sum = sum((rent - owned) * q**t for t in range(24))
    assert fm.saving(rent, owned, survival, 24, discount) == pytest.approx(by_sum, rel=1e-9)


def test_owning_at_the_edges() -> None:
    """Nothing decays, everything does, renting is cheaper, the price is the limit, the opt-in is free."""
    assert fm.break_even(0.5, 0.1, 1.0, 2.0) == fm.BreakEven(5.0, 5, inf, "pays")
    assert fm.break_even(0.5, 0.1, 0.0, 0.3) == fm.BreakEven(1.0, 1, 0.4, "pays")
    assert fm.break_even(0.5, 0.1, 0.0, 0.4).why == "too dear"
    assert fm.break_even(0.1, 0.1, 0.9, 0.1) == fm.BreakEven(None, None, 0.0, "rent is cheaper")
    assert fm.break_even(0.05, 0.1, 1.0, 0.0) == fm.BreakEven(None, None, 0.0, "rent is cheaper")
    limit = fm.most_for_opt_in(0.08, 0.01, YEAR_75)
    assert fm.break_even(0.08, 0.01, YEAR_75, limit).month is None
    assert fm.break_even(0.08, 0.01, YEAR_75, limit * 0.999).why == "pays"
    assert fm.break_even(0.08, 0.01, YEAR_75, 0.0) == fm.BreakEven(0.0, 1, limit, "free")
    assert fm.break_even(0.08, 0.01, YEAR_75, 0.07).month == 1
    assert set(fm.WHY) == {"pays", "free", "rent is cheaper", "too dear"}
    for bad in ({"survival": 1.01}, {"price": -1}, {"rent": -0.1}, {"owned": float("nan")}, {"discount": -0.1}):
        given_ = {"rent": 0.08, "owned": 0.01, "survival": 0.9, "price": 0.9, **bad}
        with pytest.raises(ValueError, match="expected"):
            fm.break_even(**given_)


# ---- again the same person ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("contacts", "people"), [(1000, 1000), (50, 7), (300, 4000), (1, 1), (9, 1)])
def test_rerent_index_is_what_uniform_contacts_do(contacts: int, people: int) -> None:
    rng = np.random.default_rng(49)
    runs = 3_000
    met = [len(np.unique(rng.integers(0, people, contacts))) for _ in range(runs)]
    error = max(float(np.std(met)) / runs**0.5, 1e-12)
    assert float(np.mean(met)) == pytest.approx(fm.distinct_people(contacts, people), abs=4 * error)
    assert fm.rerent_index(contacts, people) == pytest.approx(1 - fm.distinct_people(contacts, people) / contacts)


@pytest.mark.parametrize(("mean", "k"), [(4.0, 0.5), (0.3, 2.0), (12.0, 0.1)])
def test_nbd_reach_is_that_of_gamma_poisson_people(mean: float, k: float) -> None:
    rng = np.random.default_rng(5)
    n = 400_000
    contacts = rng.poisson(rng.gamma(k, mean / k, n))
    reach = float(np.mean(contacts > 0))
    assert reach == pytest.approx(fm.nbd_reach(mean, k), abs=4 * (0.25 / n) ** 0.5)
    again = 1 - float(np.count_nonzero(contacts)) / float(contacts.sum())
    assert again == pytest.approx(fm.nbd_rerent(mean, k), abs=0.005)
    assert fm.nbd_reach(mean, 1e9) == pytest.approx(fm.nbd_reach(mean, inf), rel=1e-6)


# ---- the n-th contact ---------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.floats(1e-4, 0.1), st.floats(0.01, 500.0), st.floats(1e-5, 0.5), st.floats(0.05, 0.97))
def test_optimal_cap_earns_the_most(price: float, worth: float, first: float, fade: float) -> None:
    """Against the cumulative profit of every cap up to 2,000."""
    cap = fm.optimal_cap(price, worth, first, fade)
    assert cap is not None
    profits = np.concatenate(([0.0], np.cumsum(worth * first * fade ** np.arange(2000) - price)))
    best = float(profits.max())
    assert profits[cap] == pytest.approx(best, rel=1e-9, abs=1e-12)
    assert profits[cap + 1] <= best


def test_optimal_cap_at_the_edges() -> None:
    assert fm.optimal_cap(0.004, 200.0, 1e-4, 0.8) == 8  # 1 + floor(ln 0.2 / ln 0.8) = 1 + floor(7.2)
    assert fm.optimal_cap(0.004, 30.0, 1e-4, 0.8) == 0
    assert fm.optimal_cap(0.004, 40.0, 1e-4, 0.8) == 1  # exactly worth it, once
    for n in range(1, 40):
        assert fm.optimal_cap(0.5**n, 1.0, 0.5, 0.5) == n  # exactly worth it at the n-th
    assert fm.optimal_cap(0.004, 200.0, 1e-4, 1.0) is None
    assert fm.optimal_cap(0.0, 200.0, 1e-4, 0.5) is None
    assert fm.optimal_cap(0.004, 200.0, 1e-4, 0.0) == 1
    assert fm.cost_per_response(0.004, 1e-4, 0.8, 1) == pytest.approx(40.0)
    assert fm.cost_per_response(0.004, 1e-4, 0.8, 5) == pytest.approx(40 / 0.8**4)
    assert fm.cost_per_response(0.004, 0.0, 0.8, 5) == inf
    assert fm.ladder(4.0, 0.0, 0.5) == fm.Ladder(0.004, inf, inf)


# ---- ad load ------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(-6.0, 12.0), st.floats(0.01, 5.0))
def test_ad_load_is_the_best_of_a_search(utility: float, dislike: float) -> None:
    found = fm.ad_load(utility, dislike)
    loads = found.load * np.linspace(0.5, 1.5, 20_001)
    seen = loads / (1 + np.exp(dislike * loads - utility))
    assert float(loads[seen.argmax()]) == pytest.approx(found.load, rel=2e-4)
    assert found.impressions == pytest.approx(float(seen.max()), rel=1e-6)
    assert found.comes == pytest.approx(1 / (1 + exp(dislike * found.load - utility)), rel=1e-9)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.floats(-700.0, 1e6))
def test_lambert(x: float) -> None:
    w = fm.lambert_of_exp(x)
    assert w > 0 and w + log(w) == pytest.approx(x, rel=1e-13, abs=1e-13)


# ---- intervals ----------------------------------------------------------------------------------------------------


def test_interval_is_the_score_interval() -> None:
    """Its ends solve (x - m)^2 = z^2 spread m / n; with nothing counted it starts at 0."""
    for total, n, spread in ((7, 100, 1.0), (1, 5_000, 0.97), (400, 300, 2.5)):
        found = fm.rate_interval(total, n, spread)
        for end in (found.low, found.high):
            assert (total / n - end) ** 2 == pytest.approx(fm.Z95**2 * spread * end / n, rel=1e-9)
        assert found.low < found.value < found.high
    none = fm.rate_interval(0, 50)
    assert (none.value, none.low) == (0.0, 0.0) and none.high == pytest.approx(fm.Z95**2 / 50)


def test_people_needed_gives_the_power_it_promises() -> None:
    rng = np.random.default_rng(8)
    base, effect, r = 0.02, 0.006, 9.0
    spread = 1 - base
    n = round(fm.people_needed(effect, base + effect * r / (1 + r), spread, r))
    told = 0
    runs = 3_000
    treated, held = rng.binomial(round(r * n), base + effect, runs), rng.binomial(n, base, runs)
    for x, y in zip(treated.tolist(), held.tolist(), strict=True):
        one = fm.rate_interval(x, round(r * n), 1 - x / round(r * n))
        told += fm.difference_interval(one, fm.rate_interval(y, n, 1 - y / n)).low > 0
    assert told / runs == pytest.approx(0.8, abs=0.04)
    assert fm.people_needed(0.0, 0.02, 1.0, 9.0) == inf
