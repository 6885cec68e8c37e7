"""What the classical rules say to expect: yardsticks, formulas with a win curve, feedback control, and two that lose.

`BEHAVES` joins the registry of tests/test_rules.py, which runs it.
"""

import itertools
import math

import numpy as np
import pytest

from bidders.rlb import SIDE, table_of
from exchange import bidding
from tests.duels import duel, plain, replay, won

LIBRARY = bidding.library()
FACTORS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0, 1.5, 2.0)


def knobs_of(rule: str, **knobs):
    """A rule's record with some knobs set."""
    return plain(LIBRARY[rule].defaults | knobs)


def visits(n: int, curve: int = 0, seed: int = 3):
    """Prices (CPM) and click rates of a log: exponential prices of mean 0.5, or such that the highest price is below
    b with probability b / (c + b) (curve 1) or b^2 / (c^2 + b^2) (curve 2), c = 0.5; log-normal rates, mean 0.001."""
    rng = np.random.default_rng(seed)
    u = rng.random(n)
    odds = np.minimum(u / (1 - u), 1e5)
    prices = -0.5 * np.log1p(-u) if curve == 0 else 0.5 * odds ** (1 / curve)
    return np.round(prices, 6), np.round(0.001 * np.exp(rng.normal(-0.32, 0.8, n)), 9)


def most_value(rule: str, knob: str, settings, budget: float) -> float:
    """The most value that a rule buys for a budget, over settings of one knob, nano."""
    log = visits(6_000)
    return max(won(replay(rule, *log, budget=budget, knobs={knob: setting}))[0] for setting in settings)


def constant_behaves():
    blind = most_value("constant", "bid_nano", [100_000 * 2**k for k in range(6)], 0.25)
    assert blind < 0.9 * most_value("linear", "factor", FACTORS, 0.25)
    assert LIBRARY["constant"].price(5, None, knobs_of("constant", bid_nano=77)) == 77


def random_behaves():
    blind = most_value("random", "most_nano", [200_000 * 2**k for k in range(6)], 0.25)
    assert blind < 0.9 * most_value("linear", "factor", FACTORS, 0.25)
    bids = replay("random", *visits(6_000), knobs={"most_nano": 4_000_000}).ledger.bids
    drawn = np.sort(bids["gross_nano"]) / 4e6
    assert np.abs(drawn - (np.arange(6_000) + 0.5) / 6_000).max() < 1.63 / math.sqrt(6_000)  # Kolmogorov, 1 %
    assert abs(np.corrcoef(bids["gross_nano"], bids["value_nano"])[0, 1]) < 0.04


def mcpc_behaves():
    prices, rates = visits(20_000)
    rates = rates * 20
    clicks = (np.random.default_rng(8).random(rates.size) < rates).astype(int)
    for value_click in (0.001, 5.0):  # nothing to it
        run = replay("mcpc", prices, rates, clicks, value_click=value_click, knobs={"cpc_nano": 50_000_000})
        bids, cost = run.ledger.bids, won(run)[1]
        assert np.abs(bids["gross_nano"] - np.round(rates, 9) * 50e6).max() <= 1
        n = int(np.count_nonzero(run.ledger.events["kind"] == 11))
        assert n > 200 and cost / n < 50e6 and int(run.venue.campaigns[0]["clicks"]) == 0
    run = replay("mcpc", prices, rates, clicks, knobs={"cpc_nano": 50_000_000, "training_clicks": 50})
    me, events = run.venue.campaigns[0], run.ledger.events
    last = np.flatnonzero(events["kind"] == 11)[49]
    paid = int(events["paid_nano"][: last + 1].sum())
    assert int(me["clicks"]) == 50 and int(me["cpc_nano"]) == paid // 50 and paid // 50 < 50_000_000
    assert abs(int(run.ledger.bids["gross_nano"][-1]) - rates[-1] * (paid // 50)) <= 1


def gain(run, lam: float) -> float:
    """Value - lam x cost, nano."""
    value, cost = won(run)
    return value - lam * cost


def best_on_its_curve(rule: str, curve: int, lam: float, knob: float) -> None:
    """Where one pays one's bid no bid in proportion gets as much; lam is what money is worth, knob what the rule
    calls it."""
    log = visits(20_000, curve)
    mine = gain(replay(rule, *log, at="first_price", knobs={"c_nano": 500_000, "lam": knob}), lam)
    for factor in FACTORS:
        theirs = gain(replay("linear", *log, at="first_price", knobs={"factor": factor}), lam)
        assert mine > 1.005 * theirs, (factor, mine, theirs)
    for other in (0.7, 1.4):  # and another c is worse
        wrong = {"c_nano": int(500_000 * other**3), "lam": knob}
        assert mine > gain(replay(rule, *log, at="first_price", knobs=wrong), lam)
    bids = [LIBRARY[rule].price(value, None, knobs_of(rule, lam=knob)) for value in range(0, 4_000_000, 100_000)]
    steps = np.diff(bids)
    assert (steps > 0).all() and (np.diff(steps) <= 1).all() and steps[-1] < 0.8 * steps[0]


def ortb1_behaves():
    best_on_its_curve("ortb1", 1, 1.0, 1.0)
    best_on_its_curve("ortb1", 1, 2.0, 2.0)
    for value, c, lam in itertools.product((10**5, 10**7, 10**10), (10**4, 10**6), (0.3, 4.0)):
        b = LIBRARY["ortb1"].price(value, None, knobs_of("ortb1", c_nano=c, lam=lam))
        assert abs((b + c) * (b + c) / (c * value / lam + c * c) - 1) < 3 / c  # b^2 + 2 b c = c v / lam


def ortb2_behaves():
    best_on_its_curve("ortb2", 2, 1.0, 1.0)
    for value, c, lam in itertools.product((10**6, 10**7, 10**10), (10**5, 10**6), (0.3, 4.0)):
        b = LIBRARY["ortb2"].price(value, None, knobs_of("ortb2", c_nano=c, lam=lam))
        assert abs((b**3 + 3 * c * c * b) / (2 * c * c * value / lam) - 1) < 3 / b


def sam1_behaves():
    """From any start to the truth: by a log, and against a rival, where a loser is told his own bid."""
    log = visits(4_000)
    for factor in (0.125, 1.5):
        run = replay("sam1", *log, knobs={"factor": factor})
        assert float(run.venue.campaigns[0]["factor"]) == 1.0
        told = replay("sam1", *log, knobs={"factor": factor}, min_to_win=False)
        assert float(told.venue.campaigns[0]["factor"]) == factor
        _, me, _ = duel("sam1", 10_000, factor=factor)
        assert 0.875 <= float(me["factor"]) <= 1.125
    assert gain(replay("sam1", *log, knobs={"factor": 0.125}), 1.0) > 0.97 * gain(replay("truthful", *log), 1.0)


def sam2_behaves():
    best_on_its_curve("sam2", 1, 1.0, 0.0)
    for lam in (0.0, 0.5, 3.0):  # money is worth 1 + lam
        mine, theirs = (knobs_of(rule, lam=at) for rule, at in (("sam2", lam), ("ortb1", 1 + lam)))
        assert LIBRARY["sam2"].price(10**7, None, mine) == LIBRARY["ortb1"].price(10**7, None, theirs)


def throttled_behaves():
    """p of truth's wins, at truth's prices; moved, it spends its target; shading gets more for that money."""
    n = 20_000
    log = visits(n)
    all_of_them = replay("truthful", *log).ledger.wins
    for p in (0.3, 0.75):
        run = replay("throttled", *log, knobs={"participation": p, "change": 0.0})
        wins, bids = run.ledger.wins, run.ledger.bids
        assert set(np.unique(bids["gross_nano"] - bids["value_nano"] * (bids["gross_nano"] > 0))) == {0}
        assert abs(np.count_nonzero(bids["gross_nano"]) / n - p) < 4 * math.sqrt(p * (1 - p) / n)
        assert abs(wins.size / all_of_them.size - p) < 4 * math.sqrt(p * (1 - p) / all_of_them.size)
        truth = all_of_them[np.isin(all_of_them["auction_id"], wins["auction_id"])]
        assert (truth["buyer_total_nano"] == wins["buyer_total_nano"]).all()
        assert float(run.venue.campaigns[0]["participation"]) == p
    target = int(0.4 * all_of_them["buyer_total_nano"].sum() / n)
    value, cost = won(replay("throttled", *log, knobs={"target_nano": target}))
    assert abs(cost / n / target - 1) < 0.03
    shaded, paid = won(replay("paced", *log, knobs={"target_nano": target, "step": 1e-7}))
    assert shaded / paid > 1.1 * value / cost


CLICK = 0.02  # what a click is worth, for the controllers


def by_definition(log, rounds: int, length: int, target: float, settings: dict[str, float], pid: bool):
    """Zhang and others (2016) in plain words: the last phi, cost / (clicks + 1) at the end, every bid."""
    phi = total = 0.0
    clicks, errors, bids = 0, [], []
    for k in range(rounds):
        if k:
            errors.append((target - total / (clicks + 1)) * 1e-6)
            if pid:
                phi = settings["gain_p"] * errors[-1] + settings["gain_i"] * sum(errors)
                phi += settings["gain_d"] * (errors[-1] - errors[-2]) if k > 1 else 0.0
            else:
                phi += settings["gain"] * errors[-1]
            phi = min(settings["phi_most"], max(settings["phi_least"], phi))
        for price, rate, click in list(zip(*log, strict=True))[k * length : (k + 1) * length]:
            base = int(CLICK * 1e9 * round(rate * 1e9) / 1e9)
            bids.append(int(base * math.exp(phi)))
            if bids[-1] >= round(price * 1e6):
                total, clicks = total + round(price * 1e6), clicks + click
    return phi, total / (clicks + 1), bids


def controlled(rule: str, gains: dict[str, float]) -> None:
    """Round by round as the paper has it; nearer to the reference than the base bids, from above and from below."""
    prices, rates = visits(8_000, seed=11)
    rates = np.minimum(0.5, rates * 40)
    clicks = (np.random.default_rng(5).random(rates.size) < rates).astype(int)
    run = replay("linear", prices, rates, clicks, value_click=CLICK)
    plain_cost = won(run)[1] / np.count_nonzero(run.ledger.events["kind"] == 11)
    for times in (0.75, 1.2):
        target = int(plain_cost * times)
        knobs = gains | {"target_nano": target, "round_auctions": 250}
        run = replay(rule, prices, rates, clicks, value_click=CLICK, knobs=knobs)
        me, events = run.venue.campaigns[0], run.ledger.events
        settings = LIBRARY[rule].defaults | knobs
        phi, x, bids = by_definition((prices, rates, clicks), 32, 250, target, settings, rule == "pid")
        reached = won(run)[1] / (np.count_nonzero(events["kind"] == 11) + 1)
        assert reached == pytest.approx(x, rel=1e-12) and float(me["phi"]) == pytest.approx(phi, rel=1e-9)
        assert np.abs(run.ledger.bids["gross_nano"] - np.array(bids)).max() <= 1
        assert abs(reached - target) < 0.3 * abs(plain_cost - target), (times, reached, target, plain_cost)


def pid_behaves():
    controlled("pid", {"gain_p": 0.2, "gain_i": 0.05, "gain_d": 0.05})


def water_level_behaves():
    controlled("water_level", {"gain": 0.1})


def over_bidder_behaves():
    """Two rivals, U(0, 1): truth has 1/12 an auction; thrice the value wins more than twice as often, at a loss."""
    _, _, truth = duel("truthful", 20_000, 2)
    _, _, wins = duel("over_bidder", 20_000, 2)
    left = [float((w["value_nano"] - w["buyer_total_nano"]).sum()) for w in (truth, wins)]
    assert wins.size > 2 * truth.size and left[1] < 0 < left[0]
    more = wins[~np.isin(wins["auction_id"], truth["auction_id"])]
    assert (more["value_nano"] <= more["buyer_total_nano"]).all()


def last_price_behaves():
    _, _, truth = duel("truthful", 20_000, 2)
    run, _, wins = duel("last_price", 20_000, 2)
    left = [float((w["value_nano"] - w["buyer_total_nano"]).sum()) for w in (truth, wins)]
    assert 0.2 * left[0] < left[1] < 0.9 * left[0]
    log = visits(2_000)
    bids = replay("last_price", *log, knobs={"over": 0.2}).ledger.bids
    heard = np.round(log[0] * 1e6).astype(np.int64)[:-1]
    asked = np.maximum(np.round(log[0][1:] * 1e6), (heard * 1.2).astype(np.int64))
    assert (bids["gross_nano"] <= bids["value_nano"]).all() and run.venue.money()["me/c"]["asked"] == 20_000
    assert np.abs(bids["gross_nano"][1:] - np.minimum(bids["value_nano"][1:], asked)).max() <= 1


def exact_bid(histogram, value, mean, auctions, money, most):
    """The bid of Cai and others (2017) on the whole grid of integer prices: (bid, V of every n and b)."""
    total = sum(histogram)
    v = np.zeros((auctions + 1, money + 1))
    for n in range(1, auctions + 1):
        for b in range(money + 1):
            v[n, b] = v[n - 1, b] + sum(
                histogram[d] / total * max(0.0, mean + v[n - 1, b - d] - v[n - 1, b])
                for d in range(min(b, len(histogram) - 1) + 1)
            )
    left = v[auctions - 1]
    return max(d for d in range(min(money, most) + 1) if value + left[money - d] - left[money] >= 0), v


def rlb_behaves():
    """Near the exact programme on a small market; in its own market ahead of every bid in proportion."""
    histogram = [0.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0]
    table, off = table_of(histogram, 10_000, 30_000.0, 20, 600_000), []
    for auctions, money, value in itertools.product((1, 5, 12, 20), (4, 20, 60), (10_000, 30_000, 60_000)):
        bid, v = exact_bid(histogram, value / 1e4, 3.0, auctions, money, 6)
        i, j = math.sqrt(auctions / 20) * (SIDE - 1), math.sqrt(money / 60) * (SIDE - 1)
        near = table[SIDE * round(i) + round(j)]
        nodes = (20 * (round(i) / 15) ** 2, 60 * (round(j) / 15) ** 2)
        scaled = near * math.sqrt(auctions / nodes[0] * money / nodes[1])
        assert abs(scaled / 1e4 / v[auctions, money] - 1) < 0.2, (auctions, money)
        knobs = {"table": table, "round_auctions": 20, "purse_nano": 600_000, "most_nano": 60_000}
        me = knobs_of("rlb", **knobs, used_nano=600_000 - 10_000 * money)
        me.asked = 21 - auctions
        price = LIBRARY["rlb"].price(value, None, me)
        off.append(abs(price - 10_000 * bid))
        assert auctions > 1 or price == min(10_000 * money, 60_000)
        assert abs(price - 10_000 * bid) <= 12_000 and price <= 10_000 * money, (auctions, money, value)
    assert np.mean(off) < 4_000, off
    rng = np.random.default_rng(4)
    n = 20_000  # 200 days of 100 auctions, each with a purse
    log = rng.integers(1, 21, n) * 0.05, np.round(rng.random(n) * 1e-3, 9)
    keys = {"qps": 100 / 86_400, "daily": 0.0125}
    mine = replay("rlb", *log, **keys)
    theirs = {f: won(replay("linear", *log, **keys, knobs={"factor": f}))[0] for f in (0.7, 0.8, 0.9, 1.0, 1.1, 1.3)}
    assert won(mine)[0] > max(theirs.values()), (won(mine), theirs)
    assert won(mine)[1] < 200 * 12_500_000


BEHAVES = {
    "constant": constant_behaves,
    "random": random_behaves,
    "mcpc": mcpc_behaves,
    "ortb1": ortb1_behaves,
    "ortb2": ortb2_behaves,
    "sam1": sam1_behaves,
    "sam2": sam2_behaves,
    "throttled": throttled_behaves,
    "pid": pid_behaves,
    "water_level": water_level_behaves,
    "over_bidder": over_bidder_behaves,
    "last_price": last_price_behaves,
    "rlb": rlb_behaves,
}
