"""Myerson's optimal reserve of a distribution of values.

A seller to whom an unsold impression is worth nothing, and whose buyers draw their values independently from one
distribution F with density f, earns most from a second-price auction with the reserve r at which the virtual value
r - (1 - F(r)) / f(r) is 0, whatever the number of buyers. It is also the price that a single buyer is best offered:
the maximum of r (1 - F(r)). Source: Myerson (1981), Optimal Auction Design; oracle E13.

Regularity. The virtual value of a uniform or exponential distribution rises throughout. That of a log-normal one rises
wherever it is positive, and r f(r) / (1 - F(r)) rises everywhere, so there is one root and it is the maximum. A list
of values need not be regular: its best single price is returned, which with several buyers is the best reserve of a
second-price auction only up to what ironing would add.
"""

from math import erfc, exp, log, pi, sqrt
from typing import Final

import numpy as np

from exchange.config import ConfigError, Distribution

CPM_MAX: Final = 1_000_000.0  # the highest floor there can be
_TAIL: Final = 25.0  # from here the hazard's series is exact to double precision, and erfc still far from 0


def optimal_reserve(distribution: Distribution) -> float:
    """The reserve r = (1 - F(r)) / f(r), CPM, relative error below 1e-9.

    uniform [a, b]: max(a, b / 2). exponential of mean m: m. lognormal: exp(mu + sigma z), where the hazard of the
    normal distribution at z is sigma. empirical: the value v with the largest v x share of values >= v; of equals the
    highest. Raises ConfigError when there is none up to CPM_MAX.
    """
    if distribution.uniform is not None:
        low, high = distribution.uniform
        found = max(low, high / 2)
    elif distribution.exponential is not None:
        found = distribution.exponential
    elif distribution.lognormal is not None:
        mu, sigma = distribution.lognormal[0], abs(distribution.lognormal[1])
        power = mu + sigma * _inverse_hazard(sigma) if sigma else mu
        found = exp(power) if power < log(2 * CPM_MAX) else 2 * CPM_MAX
    elif distribution.empirical is not None:
        found = best_price(np.asarray(distribution.empirical, np.float64))
    else:
        raise ConfigError("values: expected exactly one of uniform, exponential, lognormal, empirical")
    if not found <= CPM_MAX:
        raise ConfigError(f"values: their optimal reserve is above {CPM_MAX:,.0f} CPM: expected lower values")
    return found


def best_price(values: np.ndarray) -> float:
    """The one of `values` (any order, at least one) that earns most as a price: v x share of values >= v.

    Of several that earn the same the highest: among several buyers it earns at least as much as the others.
    """
    rising = np.sort(values)
    earned = rising * np.arange(rising.size, 0, -1)  # of equal values the first counts them all
    best = np.flatnonzero(earned >= earned.max() * (1 - 1e-12))
    return float(rising[best[-1]])


def normal_hazard(z: float) -> float:
    """phi(z) / (1 - Phi(z)) of the standard normal distribution: positive, rising, above z."""
    if z > _TAIL:
        x = 1 / (z * z)  # Mills' ratio, asymptotic: the first term left out is 945 / z^10
        return z / (1 - x * (1 - x * (3 - x * (15 - x * 105))))
    return exp(-z * z / 2) / sqrt(2 * pi) * 2 / erfc(z / sqrt(2))


def _inverse_hazard(sigma: float) -> float:
    """The z at which the normal hazard is `sigma`, by bisection to the last bit."""
    low, high = -40.0, max(sigma, 1.0)
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if normal_hazard(middle) < sigma else (low, middle)
    return high
