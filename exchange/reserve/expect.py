"""What the fitted distribution expects of a reserve: the second-price revenue of independent values, by quadrature.

Of m values above the logged floor f the best pays max(second, r). With S the share of values above y among those above
f, and F = 1 - S, the revenue at a reserve r >= f is r (1 - F(r)^m) + the integral over y > r of P(second > y), where
P(second > y) = 1 - F^m - m S F^(m-1). Source: Krishna, Auction Theory (2010), chapter 2; oracles E01 to E12.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange.reserve.fit import Fit
from exchange.reserve.sample import Sample

FLOORS_MAX: Final = 32  # logged floors told apart
NODES: Final = 2_001


class Rounds:
    """Auctions of a sample by (logged floor, number of bids that reached it); none where bids are not logged."""

    def __init__(self, sample: Sample) -> None:
        floor, m = _levels(sample.floor / 1e6), np.maximum(sample.bidders, 0)
        different, of = np.unique(floor, return_inverse=True)
        width = int(m.max(initial=0)) + 1
        counts = np.bincount(of * width + m, minlength=1)
        self.auctions = floor.size if sample.has_bids else 0
        self.table = [
            (float(different[k // width]), k % width, int(counts[k])) for k in np.flatnonzero(counts).tolist()
        ]

    def change(self, chosen: Fit, reserve_cpm: float) -> float | None:
        """Expected change of revenue per auction, CPM, of a reserve on top of the logged floors; None: not known."""
        if not self.auctions:
            return None
        total = 0.0
        for floor, m, n in self.table:
            if m > 0 and reserve_cpm > floor:
                total += n * (revenue(chosen, floor, m, reserve_cpm) - revenue(chosen, floor, m, floor))
        return total / self.auctions


def revenue(chosen: Fit, floor_cpm: float, bidders: int, reserve_cpm: float) -> float:
    """Expected revenue of an auction with so many values above `floor_cpm` at a reserve not below it, CPM."""
    end = _end(chosen, reserve_cpm)
    y = reserve_cpm + (end - reserve_cpm) * np.linspace(0, 1, NODES) ** 3  # close where the density is
    base = float(chosen.survival(np.array([floor_cpm]))[0])
    if base <= 0:
        return 0.0
    above = np.minimum(chosen.survival(y) / base, 1.0)
    below = 1.0 - above
    second = 1.0 - below**bidders - bidders * above * below ** (bidders - 1)
    integral = float(np.sum((second[1:] + second[:-1]) * np.diff(y)) / 2)
    return float(reserve_cpm * (1.0 - below[0] ** bidders) + integral)


def _end(chosen: Fit, reserve_cpm: float) -> float:
    """A price above which next to no value lies."""
    d = chosen.distribution
    if d.uniform is not None:
        end = d.uniform[1]
    elif d.exponential is not None:
        end = 40 * d.exponential
    elif d.lognormal is not None:
        end = float(np.exp(d.lognormal[0] + 8 * d.lognormal[1]))
    else:
        assert chosen.steps is not None
        end = float(chosen.steps[0][-1])
    return max(end, reserve_cpm)


def _levels(floor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Floors drawn together to FLOORS_MAX equally large groups, each at its mean."""
    different, of = np.unique(floor, return_inverse=True)
    if different.size <= FLOORS_MAX:
        return floor
    group = (np.argsort(np.argsort(floor, kind="stable")) * FLOORS_MAX // floor.size).astype(np.int64)
    mean = np.bincount(group, floor) / np.bincount(group)
    return np.asarray(mean[group])
