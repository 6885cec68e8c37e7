"""Renting the same person again: the share of contacts that do, where visits fall on people at random (occupancy).

A visit is person i's with probability s_i, and becomes a contact with p: of m contacts the person is met with
1 - (1 - s_i)^m, so that U = sum of it over people are met, and 1 - U / m of the contacts rent somebody again.
"""

import numpy as np

from exchange.config import Config
from exchange.report.formulas import rerent_index
from exchange.theory.game import NoForm, game_of
from exchange.theory.outcomes import outcome
from exchange.theory.values import Floats

_TINY = 1e-12  # of the binomial distribution, left out


def occupancy(config: Config, measure: str, campaign: str) -> float:
    """Expected share of repeat contacts in a run of `theory.auctions` visits.

    Raises NoForm where contacts are not independent draws, or runs have no stated length.
    """
    if measure != "rerent" or campaign:
        raise NoForm("occupancy: measure = rerent")
    wins = float(outcome(game_of(config))[1].wins.sum())
    t, population = config.theory, config.population
    if t is None or t.runs < 2:
        raise NoForm("re-renting depends on the length of a run: expected theory.auctions, and theory.runs above 1")
    if population.visits != "random":
        raise NoForm("population.visits is not random")
    if len(config.advertiser) != 1:
        raise NoForm("several advertisers: each rents people of his own")
    shares = _shares(config)
    m, weight = _contacts(t.auctions, min(1.0, wins * population.view_rate))
    index = np.array([_index(float(contacts), shares) for contacts in m.tolist()])
    return float(weight @ index)


def _shares(config: Config) -> Floats:
    """How visits fall on people, as the population draws them: float[people]; empty = evenly."""
    skew, n = config.population.person_skew, config.population.people
    return np.diff((np.arange(n + 1) / n) ** (1 - skew)) if skew else np.full(n, np.nan)


def _index(contacts: float, shares: Floats) -> float:
    if np.isnan(shares[0]):
        return rerent_index(contacts, shares.size)
    with np.errstate(divide="ignore"):
        met = -np.expm1(contacts * np.log1p(-shares))
    return 1.0 - float(met.sum()) / contacts


def _contacts(visits: int, p: float) -> tuple[Floats, Floats]:
    """(numbers of contacts of a run, their probabilities): binomial, without its far tails and without 0."""
    if p <= 0.0:
        raise NoForm("nothing is ever sold")
    if p >= 1.0 - _TINY:
        return np.array([float(visits)]), np.ones(1)
    m = np.arange(1, visits + 1, dtype=float)
    steps = np.log(p / (1 - p)) + np.log((visits - m[:-1]) / (m[:-1] + 1))
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    weight = np.exp(logs - logs.max())
    keep = weight > _TINY
    return m[keep], weight[keep] / weight[keep].sum()
