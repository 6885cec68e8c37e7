"""Small markets in which a rule shows what it does: against rivals with drawn values, or alone against a log."""

import copy
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from exchange import simulate
from exchange.config import Distribution
from exchange.simulate.run import Run
from tests.naive_terms import campaign, market


def plain(knobs, **fields) -> SimpleNamespace:
    """A campaign's record as a simple object."""
    return SimpleNamespace(available=10**15, spent=5, asked=3, held=0, budget=10**15, **copy.deepcopy(knobs), **fields)


def duel(rule: str, auctions: int, rivals: int = 1, at: str = "second_price", **knobs):
    """A rule against truthful rivals, all values U(0, 1) CPM; returns (run, its record, its wins)."""
    u = Distribution(uniform=(0.0, 1.0))
    own = {"me": [campaign("c", rule, u, knobs=knobs)]}
    own |= {
        f"r{k}": [campaign("c", "linear", u, knobs={"factor": 0.5 if "first" in at else 1.0})] for k in range(rivals)
    }
    config = market(own, "none", seed=5, format=at, server={"awards_max": 1 << 16})
    config.population.preset, config.population.floor_cpm, config.population.view_rate = "plain", 0.0, 1.0
    run = simulate(config, auctions)
    me = run.venue.campaigns[0]
    return run, me, run.ledger.wins[run.ledger.wins["campaign"] == me["id"]]


def surplus(rule: str, **knobs) -> float:
    """What is left of the valuations of the impressions won, nano, over 30,000 auctions."""
    _, _, wins = duel(rule, 30_000, **knobs)
    return float((wins["bid_nano"] / knobs.get("factor", 1.0) - wins["buyer_total_nano"]).sum())


def replay(rule: str, prices, rates, clicks=None, at: str = "second_price", seed: int = 5, qps: float = 300.0,
           value_click: float = 1.0, knobs=None, min_to_win: bool = True, **keys) -> Run:  # fmt: skip
    """A rule alone against a log of market prices (CPM) and click rates, every impression seen at once.

    clicks: 0 or 1 per visit, none without; keys: of the campaign (budget, daily).
    """
    own = campaign("c", rule, None, knobs=knobs or {}, **keys)
    own.value_click = value_click
    config = market({"me": [own]}, "none", seed=seed, format=at, min_to_win=min_to_win, server={"awards_max": 1 << 16})
    clicks = np.zeros(len(prices), np.int64) if clicks is None else clicks
    lines = [f"{p:.6f}\t{r:.9f}\t{c}" for p, r, c in zip(prices, rates, clicks, strict=True)]
    population = config.population
    population.people = population.placements = 1
    population.view_delay_ms = population.click_delay_ms = 0
    population.qps, population.start = qps, "2026-01-05T00:00:00Z"
    with tempfile.TemporaryDirectory() as folder:
        population.log = str(Path(folder) / "log.tsv")
        Path(population.log).write_text("\n".join(["price_cpm\tpctr\tclick", *lines]) + "\n")
        return simulate(config, len(prices), ledger="bids")


def won(run: Run) -> tuple[float, float]:
    """Value and cost of the impressions that the first campaign won, nano."""
    wins = run.ledger.wins[run.ledger.wins["campaign"] == run.venue.campaigns[0]["id"]]
    return float(wins["value_nano"].sum()), float(wins["buyer_total_nano"].sum())
