"""Trials that need more than one run: discrete goods by bisection on a multiplier, and regret against hindsight."""

from copy import deepcopy

import numpy as np

from exchange.config import SEED_MAX, Config
from exchange.simulate.run import Simulation, simulate
from exchange.theory.goods import budgeted, campaigns, multiplier_knob
from exchange.theory.measures import Mean, Measured
from exchange.theory.values import Floats

HALVINGS = 44
BESIDE = 1e-6  # how far beside the multiplier found the two sides of a jump are looked at
JUMP = 1e-3  # of the budget: a smaller difference of spend is no jump


def goods(config: Config, measures: list[str], seed: int) -> list[Mean]:
    """Find the highest multiplier whose spend of a round keeps the budget, by rounds through the exchange.

    Where the spend jumps over the budget the two sides of the jump are mixed so that the budget is spent exactly.
    Totals are those of one round. Raises NoForm when the config is not such a market.
    """
    name, budget = budgeted(config)
    free = deepcopy(config)
    mine = campaigns(free)[name]
    mine.budget = None
    knob = multiplier_knob(config, name)
    free.exchange.seed = seed % (SEED_MAX + 1)
    market = Simulation(free, write=False)
    me = market.venue.campaigns[list(campaigns(free)).index(name)]

    def spend(multiplier: float) -> float:
        me[knob] = multiplier
        before = int(me["spent"]) + int(me["held"])
        market.run(config.population.people)
        return (int(me["spent"]) + int(me["held"]) - before) * 1e-6

    low, high = 0.0, 1.0
    if spend(1.0) > budget:
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if spend(middle) <= budget else (low, middle)
    else:
        low = 1.0
    sides = []
    for factor in (1 - BESIDE, 1 + BESIDE) if low < 1.0 else (1.0, 1.0):
        mine.knobs = {**mine.knobs, knob: low * factor}
        run = simulate(free, config.population.people, free.exchange.seed, ledger="wins")
        sides.append(Measured(run, free, dependent=False))
    return [_mixed(measure, sides, name, low, budget) for measure in measures]


def _mixed(measure: str, sides: list[Measured], name: str, multiplier: float, budget: float) -> Mean:
    """A measure of a round at the multiplier: between the two sides of the jump, so that the budget is spent."""
    kind, _, _ = measure.partition("@")
    if kind == "multiplier":
        return Mean(multiplier, 0.0, 1)
    rounds = sides[0].config.population.people
    spends = [side.mean(f"spend@{name}").value * rounds for side in sides]
    jump = spends[1] - spends[0]
    part = min(1.0, max(0.0, (budget - spends[0]) / jump)) if jump > JUMP * budget else 0.5
    text = f"{kind}@{name}" if kind in ("spend", "share") else kind
    below, above = (side.mean(text).value * rounds for side in sides)
    return Mean(below + part * (above - below), 0.0, 1)


def regret(config: Config, name: str, length: int, base: int, seed: int) -> float:
    """(best spending of the budget in hindsight - what the campaign gained) / sqrt(length), in CPM.

    A run of `length` auctions; the budget goes with the length (it is stated for `base` auctions) and a knob `step`
    with one over its root. Hindsight: the same market with a campaign that bids its values and has no budget says what
    could be won at which price; the best choice is the fractional knapsack (Dantzig 1957).
    """
    run_seed = seed % (SEED_MAX + 1)
    paced, free = deepcopy(config), deepcopy(config)
    mine = campaigns(paced)[name]
    budget = float(mine.budget or 0.0) * length / base
    mine.budget = budget
    if "step" in mine.knobs:
        mine.knobs = {**mine.knobs, "step": mine.knobs["step"] * (base / length) ** 0.5}
    plain = campaigns(free)[name]
    plain.rule, plain.knobs, plain.budget = type(plain)("one").rule, {}, None
    gained = float(_won(paced, name, length, run_seed)[0].sum())
    surplus, price = _won(free, name, length, run_seed)
    return float((knapsack(surplus, price, budget * 1000) - gained) / length**0.5)


def _won(config: Config, name: str, length: int, seed: int) -> tuple[Floats, Floats]:
    """(surplus, price) of every win of a campaign, CPM."""
    config.exchange.journal = "wins"
    run = simulate(config, length, seed, ledger="wins")
    seen = Measured(run, config, dependent=True)
    wins = seen.wins[seen.wins["campaign"] == seen.ids[name]]
    price = wins["buyer_total_nano"] * 1e-6
    return np.asarray(wins["value_nano"] * 1e-6 - price), np.asarray(price)


def knapsack(surplus: Floats, price: Floats, budget: float) -> float:
    """The most surplus that `budget` buys, parts of the last item allowed: best ratio first."""
    with np.errstate(divide="ignore"):
        order = np.argsort(-np.where(price > 0, surplus / np.maximum(price, 1e-300), np.inf), kind="stable")
    gain, cost = surplus[order], price[order]
    spent = np.cumsum(cost)
    whole = int(np.searchsorted(spent, budget, side="right"))
    total = float(gain[:whole].sum())
    if whole < len(cost) and cost[whole] > 0:
        left = budget - (float(spent[whole - 1]) if whole else 0.0)
        total += float(gain[whole]) * left / float(cost[whole])
    return total
