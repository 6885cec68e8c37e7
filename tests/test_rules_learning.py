"""The rules that learn: what each says to expect, through real simulations and against the values of theory."""

import csv
import os
from functools import lru_cache
from itertools import product
from math import erf, exp, log, sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exchange import bidding, simulate
from exchange import market as mk
from exchange.config import Config, Distribution
from exchange.simulate.run import Simulation
from tests.naive_terms import campaign, market

ORACLES = Path(__file__).resolve().parents[2] / "shared" / "oracles.csv"
LIBRARY = bidding.library()
UNIFORM = Distribution(uniform=(0.0, 1.0))
CPM = 1e6  # nano per impression


def oracle(name: str) -> tuple[float, float]:
    """(expected, tolerance) of an oracle; skips, or fails where nothing may be missing, without the file."""
    if not ORACLES.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{ORACLES} is missing")
        pytest.skip(f"no {ORACLES}")
    with ORACLES.open(newline="", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["id"] == name)
    return float(row["expected"]), float(row["tolerance"])


def duel(
    rule: str,
    value: Any,
    rival: Any,
    knobs: dict[str, Any] | None = None,
    at: str = "second_price",
    people: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
    **auction: Any,
) -> Config:
    """A rule against one truthful rival of private value: no fees, no floors, every impression seen."""
    worth = {} if own and "value_click" in own else {"value": value}
    mine = campaign("c", rule, **worth, knobs=knobs or {}, **(own or {}))
    if not worth:
        mine.value_cpm = None
    config = market({"me": [mine], "rival": [campaign("c", value=rival)]}, "none", seed=5, format=at,
                    server={"awards_max": 1 << 16}, **auction)  # fmt: skip
    config.population.preset, config.population.floor_cpm, config.population.view_rate = "plain", 0.0, 1.0
    for key, setting in (people or {}).items():
        setattr(config.population, key, setting)
    return config


def knob(config: Config, name: str, auctions: int, seed: int, chunk: int = 100, skip: float = 0.5) -> list[float]:
    """A knob of the first campaign, read every `chunk` auctions after the first `skip` of them."""
    run, seen = Simulation(config_of(config, seed), None, write=False), []
    for k in range(auctions // chunk):
        run.run(chunk)
        if k * chunk >= skip * auctions:
            seen.append(float(run.venue.campaigns[0][name]))
    return seen


def config_of(config: Config, seed: int) -> Config:
    """The config with another seed."""
    config.exchange.seed = seed
    return config


def wins_of(config: Config, auctions: int, seed: int, skip: float = 0.0) -> Any:
    """WIN rows of the first campaign after the first `skip` of the auctions."""
    run = simulate(config, auctions, seed)
    wins = run.ledger.wins
    mine = wins["campaign"] == run.venue.campaigns[0]["id"]
    return wins[mine & (wins["auction_id"] > skip * auctions)]


def surplus(wins: Any) -> float:
    """Valuation less payment, CPM, summed."""
    return float((wins["value_nano"] - wins["buyer_total_nano"]).sum() / CPM)


def made(rule: str, **knobs: Any) -> SimpleNamespace:
    """A campaign's record with the rule's defaults and these knobs."""
    return SimpleNamespace(available=10**15, **{**LIBRARY[rule].defaults, **knobs})


# ---- first price, by a learnt win curve -------------------------------------------------------------------------

CURVES = {
    "shaded_logistic": lambda z: 1 / (1 + exp(-z)) if z > -700 else 0.0,
    "shaded_lognormal": lambda z: 0.5 * (1 + erf(z / sqrt(2))),
}


def best_of(curve: Any, value: float, mu: float, sigma: float) -> float:
    """The b of the largest (v - b) F(b), by golden section over log b; 0 when that is nothing, in doubles."""
    low, high, golden = log(value) - 40 * sigma - 40, log(value), (sqrt(5) - 1) / 2

    def worth(y: float) -> float:
        return (value - exp(y)) * curve((y - mu) / sigma)

    for _ in range(200):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if worth(a) >= worth(b) > 0 or worth(a) > worth(b) else (a, high)
    return exp(low) if worth(low) > 1e-9 else 0.0


def bids_the_argmax(rule: str) -> None:
    """Against a golden section that knows nothing of the first-order condition; and within value and floor."""
    price = LIBRARY[rule].price
    for value, mu, sigma in product((0.05, 1.0, 3.0, 900.0), (-10.0, -2.0, 0.0, 1.5), (0.02, 0.3, 1.0, 4.0)):
        me, nano = made(rule, mu=mu, sigma=sigma), int(value * CPM)
        bid = price(nano, SimpleNamespace(floor=0), me)
        assert 0 < bid < nano
        best = CPM * best_of(CURVES[rule], value, mu, sigma)
        assert best == 0.0 or -1.0 - 1e-6 * best < bid - best < 1e-6 * best, (value, mu, sigma, bid, best)
        for floor in (bid - 1, bid + 1, nano):
            assert price(nano, SimpleNamespace(floor=floor), me) == max(bid, floor)
        assert price(nano, SimpleNamespace(floor=nano + 1), me) == 0


def finds_the_curve(rule: str, sigma: float, slack: float) -> None:
    """A rival LN(0, 0.5): prices disclosed, below a floor only at it, or wins and losses alone."""
    rival, value = Distribution(lognormal=(0.0, 0.5)), Distribution(uniform=(0.0, 5.0))

    def earned(by: str, **curve: float) -> float:
        return surplus(wins_of(duel(by, value, rival, {**curve, "rate": 0.0}, "first_price"), 20_000, 8))

    known, start = earned("shaded_lognormal", mu=0.0, sigma=0.5), {"mu": 1.0, "sigma": 1.5, "rate": 0.01}
    for terms, auctions in (({}, 20_000), ({"floor_cpm": 0.9}, 20_000), ({"min_to_win": False}, 60_000)):
        config = duel(rule, value, rival, start, "first_price", **terms)
        found = {name: float(np.mean(knob(config, name, auctions, 7))) for name in ("mu", "sigma")}
        assert abs(found["mu"]) < slack and abs(found["sigma"] - sigma) < slack, (terms, found)
        assert "floor_cpm" in terms or earned(rule, **found) > 0.98 * known, terms


def shaded_lognormal_behaves() -> None:
    bids_the_argmax("shaded_lognormal")
    finds_the_curve("shaded_lognormal", 0.5, 0.06)


def shaded_logistic_behaves() -> None:
    """Its curve is not the market's: the closest one, by likelihood, has E[z tanh(z / 2)] = 1."""
    bids_the_argmax("shaded_logistic")
    x = np.random.default_rng(1).normal(0, 0.5, 200_000)
    low, high = 0.1, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(x / middle * np.tanh(x / middle / 2)) > 1 else (low, middle)
    finds_the_curve("shaded_logistic", low, 0.06)


def test_the_best_bid_against_a_log_normal_price():
    """E45: a valuation of 3 CPM against a price LN(0, 1), known: the bid, and what it leaves, in real auctions."""
    expected, tolerance = oracle("E45")
    knobs = {"mu": 0.0, "sigma": 1.0, "rate": 0.0}
    config = duel("shaded_lognormal", 3.0, Distribution(lognormal=(0.0, 1.0)), knobs, "first_price")
    n = 100_000
    wins = wins_of(config, n, 3)
    assert len({*wins["bid_nano"].tolist()}) == 1 and abs(int(wins["bid_nano"][0]) / CPM - expected) < tolerance
    each = (3.0 - expected) * sqrt(0.5767 * 0.4233 / n)  # standard error of a win's worth at the win rate of the bid
    assert abs(surplus(wins) / n - 1.030310) < 4 * each
    second = wins_of(duel("truthful", 3.0, Distribution(lognormal=(0.0, 1.0))), n, 3)
    assert abs(surplus(second) / n - 1.702977) < 0.02


# ---- budgets ------------------------------------------------------------------------------------------------------


@lru_cache
def paced(auctions: int) -> Config:
    """v, d ~ U(0, 1), 0.06 CPM an auction, step = 1 / sqrt(T)."""
    knobs = {"target_nano": 60_000, "step": auctions**-0.5}
    return duel("adaptive_pacing", UNIFORM, UNIFORM, knobs, own={"budget": 60e-6 * auctions})


def pacing_factor(seeds: int) -> float:
    """Mean of 1 / (1 + mu) over the middle 80 % of 32,000 auctions."""
    means = []
    for seed in range(seeds):
        seen = knob(paced(32_000), "mu", 32_000, 100 + seed, skip=0.1)[:256]
        means.append(np.mean([1 / (1 + mu) for mu in seen]))
    return float(np.mean(means))


def regret(auctions: int, seed: int) -> float:
    """What the best fractional choice in hindsight earns more, over sqrt(T), CPM."""
    free = duel("truthful", UNIFORM, UNIFORM)
    bids = simulate(free, auctions, seed, ledger="bids").ledger.bids
    worth = np.zeros((auctions, 2))
    worth[bids["auction_id"].astype(np.int64) - 1, bids["campaign"] - bids["campaign"].min()] = bids["value_nano"] / CPM
    v, d = worth[worth[:, 0] > worth[:, 1]].T
    d = np.maximum(d, 1e-9)  # a rival that bids nothing takes nothing of the budget
    order = np.argsort(-(v - d) / d)
    v, d = v[order], d[order]
    before = np.cumsum(d) - d
    share = np.clip((0.06 * auctions - before) / d, 0, 1)
    wins = wins_of(paced(auctions), auctions, seed)
    assert wins["buyer_total_nano"].sum() <= 60_000 * auctions
    return float(((v - d) * share).sum() - surplus(wins)) / sqrt(auctions)


def adaptive_pacing_behaves() -> None:
    expected, _ = oracle("E37")
    assert abs(pacing_factor(6) - expected) < 0.02
    for mu, value in product((0.0, 0.5, 90.0), (0, 10**6, 10**9)):
        assert LIBRARY["adaptive_pacing"].price(value, None, made("adaptive_pacing", mu=mu)) <= value
    wins = wins_of(duel("adaptive_pacing", UNIFORM, UNIFORM, {"target_nano": 60_000}), 40_000, 6, 0.5)
    assert abs(wins["buyer_total_nano"].sum() / 20_000 / 60_000 - 1) < 0.05


@pytest.mark.parametrize(("auctions", "seeds"), [(500, 24), (2_000, 12), (8_000, 6)])
def test_the_regret_of_adaptive_pacing_grows_with_the_root(auctions, seeds):
    """E38."""
    expected, band = oracle("E38")
    assert abs(np.mean([regret(auctions, 1_000 + s) for s in range(seeds)]) - expected) < band


@pytest.mark.torture
def test_adaptive_pacing_at_length():
    """E37 and E38 with the 64 runs of the oracle."""
    expected, tolerance = oracle("E37")
    assert abs(pacing_factor(64) - expected) < tolerance
    expected, band = oracle("E38")
    for auctions in (500, 2_000, 8_000, 32_000):
        assert abs(np.mean([regret(auctions, 5_000 + s) for s in range(64)]) - expected) < band


def mirror_behaves(rule: str) -> None:
    """alpha / 6 x alpha = 0.06 at alpha = 0.6, whichever goal; the target is what it spends."""
    for goal in (0, 1):
        knobs = {"target_nano": 60_000, "value_maximiser": goal, "step": 0.01}
        config = duel(rule, UNIFORM, UNIFORM, knobs)
        mu = np.mean(knob(config, "mu", 40_000, 4))
        assert abs(1 / (mu + 1 - goal) - 0.6) < 0.02, (goal, mu)
        wins = wins_of(config, 40_000, 4, 0.5)
        assert abs(wins["buyer_total_nano"].sum() / 20_000 / 60_000 - 1) < 0.05
        ratio = np.mean(wins["bid_nano"] / wins["value_nano"])
        assert abs(ratio - 0.6) < 0.03, (goal, ratio)
    idle = knob(duel(rule, UNIFORM, UNIFORM, {"target_nano": 400_000, "step": 0.01}), "mu", 10_000, 4)
    if rule == "mirror_euclidean":
        assert np.median(idle) == 0.0
    else:
        assert 0.0 < idle[-1] < idle[0] < 1e-4


# ---- autobidding --------------------------------------------------------------------------------------------------


def target_roas_behaves() -> None:
    """v, d ~ U(0, 1), target 1.25: k solves (1/2 - 1/(6 k k)) / 1.25 = 1/2 - 1/(3 k), the multiple of v that is bid."""
    knobs = {"target_roas": 1.25, "step": 0.02}
    wins = wins_of(duel("target_roas", UNIFORM, UNIFORM, knobs), 60_000, 5, 0.5)
    assert abs(wins["value_nano"].sum() / wins["buyer_total_nano"].sum() / 1.25 - 1) < 0.02
    assert abs(np.median(wins["bid_nano"] / wins["value_nano"]) / 2.868 - 1) < 0.05
    assert (wins["buyer_total_nano"] > wins["value_nano"]).any()  # dear ones, paid for by cheap ones
    wins = wins_of(duel("target_roas", UNIFORM, UNIFORM, {**knobs, "target_nano": 60_000}), 60_000, 5, 0.5)
    assert abs(wins["buyer_total_nano"].sum() / 30_000 / 60_000 - 1) < 0.05
    assert wins["value_nano"].sum() > 1.3 * wins["buyer_total_nano"].sum()


def target_cpa_behaves() -> None:
    """One conversion in a thousand impressions, 0.3 each: v' = 0.3 CPM. Wins cost half the bid, so it bids 0.6 CPM."""
    knobs = {"target_cpa_nano": 300_000_000, "step": 0.02, "lam": 0.3}
    rates = {"pctr": 0.02, "pcvr": 0.05}
    wins = wins_of(duel("target_cpa", 1.0, UNIFORM, knobs, own=rates), 60_000, 5, 0.5)
    per_conversion = wins["buyer_total_nano"].sum() / (len(wins) * 0.02 * 0.05)
    assert abs(per_conversion / 300_000_000 - 1) < 0.02
    assert abs(wins["bid_nano"].mean() / 600_000 - 1) < 0.05
    wins = wins_of(duel("target_cpa", 1.0, UNIFORM, {**knobs, "target_nano": 20_000}, own=rates), 60_000, 5, 0.5)
    assert abs(wins["buyer_total_nano"].sum() / 30_000 / 20_000 - 1) < 0.05  # b b / 2 = 0.02: bids 0.2
    assert abs(wins["bid_nano"].mean() / 200_000 - 1) < 0.05


# ---- learning what an impression is worth -----------------------------------------------------------------------


def clicks_duel(rule: str, pctr: float, true: float) -> Config:
    """A click is worth 0.1; the rival always bids 1 CPM; the estimate of the click rate is off."""
    return duel(rule, None, 1.0, own={"value_click": 0.1, "pctr": pctr}, people={"ctr": true, "qps": 20.0})


def thompson_behaves() -> None:
    price = LIBRARY["thompson"].price
    grid = [(k + 0.5) / 4_000 for k in range(4_000)]
    for shown, clicked in ((0, 0), (500, 2), (500, 40), (100_000, 400)):
        me = made("thompson", shown=shown, clicked=clicked)
        q = np.array([price(10**9, SimpleNamespace(u=u, pctr=0.01), me) for u in grid]) / 10**9
        k, expected = 1.0 + clicked, 1.0 + 0.01 * shown  # a Gamma's mean is k / expected, its variance k / expected^2
        assert abs(q.mean() * expected / k - 1) < 0.02 and abs(q.std() * expected / sqrt(k) - 1) < 0.05
        assert (np.diff(q) >= 0).all()
    # worth 2 CPM, reckoned at 0.5: never shown by the truth, found out by trying
    assert len(wins_of(clicks_duel("truthful", 0.005, 0.02), 20_000, 3)) == 0
    wins = wins_of(clicks_duel("thompson", 0.005, 0.02), 20_000, 3, 0.5)
    assert len(wins) > 9_500 and abs((wins["bid_nano"] / wins["value_nano"]).mean() / 4 - 1) < 0.1
    # worth 0.5 CPM, reckoned at 2: the truth pays 1 for it on and on
    assert len(wins_of(clicks_duel("truthful", 0.02, 0.005), 20_000, 3)) == 20_000
    assert len(wins_of(clicks_duel("thompson", 0.02, 0.005), 20_000, 3, 0.5)) < 1_000


# ---- people -------------------------------------------------------------------------------------------------------


PER_TAU = 20  # visits of each person


def best_per_person() -> float:
    """Optimal surplus per person and tau, prices U(0, 1), v = 1: the g whose continuation C is 0 at age 0.

    Heymann et al.: C' = g - visits x E[(1 - e^-s - C - p)^+], backwards from the bid that is right for ever after.
    """
    low, high, ds = 0.0, 1.0, 0.001
    for _ in range(30):
        g = (low + high) / 2
        c = 1 - sqrt(2 * g / PER_TAU)
        for k in range(8_000, 0, -1):
            c -= ds * (g - PER_TAU * max(0.0, 1 - exp(-k * ds) - c) ** 2 / 2)
        low, high = (g, high) if c > 0 else (low, g)
    return low


def per_person(rule: str, **knobs: Any) -> tuple[float, float]:
    """(surplus per person and tau over the second half, share of v; the knob `patience` at the end)."""
    people = {"people": 40, "person_skew": 0.0, "qps": 2.0}  # each person comes every 20 s
    visits, tau_s = 80_000, 20.0 * PER_TAU
    run = simulate(duel(rule, 1.0, UNIFORM, knobs, people=people), visits, 4)
    me, wins = run.venue.campaigns[0], run.ledger.wins
    late = wins[(wins["campaign"] == me["id"]) & (wins["auction_id"] > visits // 2)]
    assert (late["contacts"] > 0).all()
    earned = 1.0 - np.exp(late["since_last_s"] / -tau_s) - late["buyer_total_nano"] / CPM
    return float(earned.sum() / (visits // 2 / PER_TAU)), float(me["patience"])


def fatigue_behaves() -> None:
    mine = {"tau_s": 20.0 * PER_TAU}
    best, (earned, patience) = best_per_person(), per_person("fatigue", **mine)
    assert abs(patience / earned - 1) < 0.06, (patience, earned)
    assert 0.94 < earned / best < 1.01, (earned, best)
    greedy, _ = per_person("fatigue", **mine, patience=0.0, rate=0.0)
    assert greedy < 0.72 * best and per_person("truthful")[0] < greedy
    price = LIBRARY["fatigue"].price
    for since in (-1, 0, 900, 3_600, 10**6):
        recovered = 10**6 * (1 - exp(-since / 1_800)) if since >= 0 else 10**6
        bids = [
            price(10**6, SimpleNamespace(since_s=since), made("fatigue", tau_s=1_800.0, patience=x))
            for x in (0.05, 0.3, 0.6)
        ]
        assert sorted(bids, reverse=True) == bids and (since == 0 or len({*bids}) == 3) and bids[0] <= recovered


def retargeter_behaves() -> None:
    people = {"people": 400, "person_skew": 0.0}

    def rows(rule: str, **knobs: float) -> Any:
        config = duel(rule, UNIFORM, UNIFORM, knobs, people=people)
        config.advertiser[0].own_share = 0.3
        return wins_of(config, 30_000, 5)

    def own(wins: Any) -> Any:
        return wins[(wins["flags"] & mk.FLAG_OWN) != 0]

    truth, mine, mild = rows("truthful"), rows("retargeter"), rows("retargeter", premium=1.5, others=0.5)
    assert len(own(mine)) == len(mine) > 1_000
    assert 0 < len(own(truth)) < len(truth) and len(own(mine)) > 1.1 * len(own(truth))
    assert own(mine)["buyer_total_nano"].mean() > 1.1 * own(truth)["buyer_total_nano"].mean()
    assert (mine["buyer_total_nano"] > mine["value_nano"]).any()
    for wins, factor in ((own(mild), 1.5), (mild[(mild["flags"] & mk.FLAG_OWN) == 0], 0.5)):
        assert len(wins) > 1_000 and (np.abs(wins["bid_nano"] - factor * wins["value_nano"]) <= 1).all()


BEHAVES = {
    "adaptive_pacing": adaptive_pacing_behaves,
    "fatigue": fatigue_behaves,
    "mirror_entropic": lambda: mirror_behaves("mirror_entropic"),
    "mirror_euclidean": lambda: mirror_behaves("mirror_euclidean"),
    "retargeter": retargeter_behaves,
    "shaded_logistic": shaded_logistic_behaves,
    "shaded_lognormal": shaded_lognormal_behaves,
    "target_cpa": target_cpa_behaves,
    "target_roas": target_roas_behaves,
    "thompson": thompson_behaves,
}
