"""Clear logged auctions again at another reserve, and say how sure that is.

An auction with best bid `top`, whose price already stands on `kept` (the second bid, or a floor), earns its logged
price at reserves up to `kept`, the reserve from there up to `top`, and nothing above. That is a counterfactual only
while bidders bid as they did: for values in a second-price auction it is what theory expects of them.

Uncertainty is the bootstrap over auctions (Efron 1979), in stretches of consecutive ones where there are many, so that
what hangs together in time stays together. Every draw comes from the seed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange.books.keys import Ints

Floats = NDArray[np.float64]
STRETCHES: Final = 10_000  # resampled at the most
Z: Final = 1.96  # standard errors on either side of an interval


@dataclass
class Terms:
    """What each auction earns at which reserve, nano per impression; all three 0 where nobody bid."""

    kept: Ints
    top: Ints
    clearing: Ints

    def at(self, reserve_nano: int) -> Ints:
        """The price of each auction at a reserve; 0 = unsold."""
        raised = np.where(self.top >= reserve_nano, reserve_nano, 0)
        return np.where(self.kept >= reserve_nano, self.clearing, raised)

    def sold(self, reserve_nano: int) -> float:
        """Share of auctions that sell at a reserve."""
        return float(np.mean((self.top >= reserve_nano) & (self.top > 0)))

    def part(self, here: NDArray[np.bool_]) -> "Terms":
        """Some of the auctions."""
        return Terms(self.kept[here], self.top[here], self.clearing[here])

    def best(self, weight: Floats | None = None) -> int:
        """The reserve (nano) that would have earned most: one of the top bids; the lowest of equals, 0 without bids.

        weight: how often each auction counts.
        """
        w = np.ones(self.top.size) if weight is None else weight
        reserve = np.unique(self.top[self.top > 0])
        if reserve.size == 0:
            return 0
        order = np.argsort(self.kept, kind="stable")
        behind = np.searchsorted(self.kept[order], reserve, "left")
        stays = _from(w[order])[behind]
        stays_money = _from((w * self.clearing)[order])[behind]
        order = np.argsort(self.top, kind="stable")
        sells = _from(w[order])[np.searchsorted(self.top[order], reserve, "left")]
        return int(reserve[np.argmax(stays_money + reserve * (sells - stays))])


def _from(values: Floats) -> Floats:
    """Sum from each place to the end, and 0 behind the end."""
    return np.concatenate((np.cumsum(values[::-1])[::-1], [0.0]))


class Resamples:
    """Bootstrap samples of auctions: weight of each stretch in each of them, float64[samples, stretches]."""

    def __init__(self, auctions: int, samples: int, seed: int) -> None:
        stretches = min(auctions, STRETCHES)
        self.of = np.arange(auctions) * stretches // auctions
        rng = np.random.default_rng(seed)
        self.weights = rng.multinomial(stretches, np.full(stretches, 1 / stretches), samples).astype(np.float64)
        self.counts = np.bincount(self.of, minlength=stretches).astype(np.float64)

    def means(self, values: Ints | Floats) -> Floats:
        """The mean of a value per auction in each sample."""
        sums = np.bincount(self.of, values.astype(np.float64), minlength=self.counts.size)
        return np.asarray(self.weights @ sums / (self.weights @ self.counts))

    def weight(self, sample: int) -> Floats:
        """How often each auction counts in one sample."""
        return np.asarray(self.weights[sample][self.of])


def around(center: float, samples: Floats, runs: int = 1) -> tuple[float, float]:
    """The 95 % interval about `center` by the bootstrap's standard error; `runs` = 2: of another run as long."""
    half = Z * float(samples.std()) * float(np.sqrt(runs))
    return center - half, center + half
