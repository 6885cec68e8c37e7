"""Fit distributions of values to bids, truncated ones included, by maximum likelihood; choose one by AIC.

Every observation is a value x with the point `above` that it is known to lie above: its likelihood is f(x) / S(above),
S = 1 - F. Uniform, exponential and log-normal have at most two parameters; the empirical one is a histogram of BINS
equally likely steps on the product-limit estimate of S (Lynden-Bell 1971), which is the plain share of larger values
where nothing is truncated. AIC = 2 parameters - 2 log-likelihood (Akaike 1974); a histogram counts two a step, its
height and its edge. Bids that take few values have no density: there only the empirical distribution is a fit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import erfc, exp, inf, log, pi, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange.auction.reserve import normal_hazard, optimal_reserve
from exchange.config import Distribution

Floats = NDArray[np.float64]
Corner = tuple[float, tuple[float, float]]
FAMILIES: Final = ("uniform", "exponential", "lognormal", "empirical")
ATOMS: Final = 20  # observations a different value, from which on the values count as few
BINS_MAX: Final = 64
AT_RISK: Final = 30  # observations that the product-limit estimate needs to say anything
QUANTILES: Final = 4_096  # of the empirical distribution, as it is handed on
UNSEEN: Final = 5.0  # log-likelihood by which a low end must beat "somewhere below the floors"
_POINTS: Final = 1_024  # truncation points that a log-normal fit tells apart
_STEPS: Final = 400
_WIDE: Final = 12.0  # a log-normal sigma above this is no distribution of prices


@dataclass
class Fit:
    """A fitted distribution: `aic` (inf where there is no density) and 1 - F as a function of CPM."""

    family: str
    distribution: Distribution
    aic: float
    steps: tuple[Floats, Floats] | None = None  # of the empirical one: values, and the share at or above each

    def survival(self, y: Floats) -> Floats:
        """P(value >= y); of an empirical distribution given that the value is above its lowest step."""
        d = self.distribution
        if d.uniform is not None:
            low, high = d.uniform
            return np.clip((high - y) / max(high - low, 1e-300), 0.0, 1.0)
        if d.exponential is not None:
            return np.asarray(np.exp(-np.maximum(y, 0) / d.exponential))
        if d.lognormal is not None:
            mu, sigma = d.lognormal
            z = (np.log(np.maximum(y, 1e-300)) - mu) / max(sigma, 1e-300)
            return np.asarray(np.exp(_log_survival(z)))
        assert self.steps is not None
        at = np.searchsorted(self.steps[0], y, "left")
        return np.append(self.steps[1], 0.0)[at]

    def reserve(self) -> float:
        """Myerson's reserve of it, CPM; raises ConfigError when there is none."""
        if self.steps is None:
            return optimal_reserve(self.distribution)
        values, share = self.steps
        return float(values[np.argmax(values * share)])


def fit(family: str, x: Floats, above: Floats, weight: Floats, scored: bool = True) -> Fit:
    """The maximum-likelihood fit of one family: x, above in CPM, x > 0; weight: how often each counts.

    Not `scored`: without an AIC (inf), which takes longer than the fit.
    """
    if family == "uniform":
        low, high, density = _uniform(x, above, weight, scored)
        return Fit(family, Distribution(uniform=(low, high)), 4 - 2 * density)
    if family == "exponential":
        mean = float(weight @ (x - above)) / float(weight.sum())
        return Fit(family, Distribution(exponential=mean), 2 + 2 * float(weight.sum()) * (log(mean) + 1))
    if family == "lognormal":
        mu, sigma, density = _lognormal(x, above, weight)
        return Fit(family, Distribution(lognormal=(mu, sigma)), 4 - 2 * density)
    return _empirical(x, above, weight, scored)


def choose(x: Floats, above: Floats) -> tuple[Fit, dict[str, float]]:
    """The family of least AIC, and the AIC of each. Only the empirical one where the values are few."""
    ones = np.ones(x.size)
    if np.unique(x).size * ATOMS < x.size:
        found = fit("empirical", x, above, ones)
        return found, {"empirical": found.aic}
    fits = [fit(family, x, above, ones) for family in FAMILIES]
    best = min(fits, key=lambda found: found.aic)
    return best, {found.family: found.aic for found in fits}


def _uniform(x: Floats, above: Floats, weight: Floats, scored: bool) -> tuple[float, float, float]:
    """(low, high, log-likelihood). Where no floor lets the low end be seen, any up to the least floor fits: 0 then."""
    low, high = float(x[weight > 0].min()), float(x[weight > 0].max())

    def density(low: float) -> float:
        width = high - np.maximum(above, low)
        return -inf if (width[weight > 0] <= 0).any() else -float(weight @ np.log(np.maximum(width, 1e-300)))

    least = float(above.min())
    found = density(low) if scored or least > 0 else -inf
    if 0 < least <= low and found - density(least) < UNSEEN:
        return 0.0, high, density(least)
    return low, high, found


# ---- log-normal ------------------------------------------------------------------------------------------------


def _lognormal(x: Floats, above: Floats, weight: Floats) -> tuple[float, float, float]:
    """(mu, sigma, log-likelihood). In closed form without truncation, else by Nelder and Mead (1965)."""
    y, n = np.log(x), float(weight.sum())
    first, square = float(weight @ y), float(weight @ (y * y))
    mean = first / n
    spread = sqrt(max(square / n - mean * mean, 1e-18))
    points, counts = _points(above, weight)

    def density(mu: float, log_sigma: float) -> float:
        sigma = exp(log_sigma)
        if sigma > _WIDE or abs(mu - mean) > 100 * spread + 100:
            return -inf
        part = (
            -n * (log_sigma + log(2 * pi) / 2) - (square - 2 * mu * first + n * mu * mu) / (2 * sigma * sigma) - first
        )
        if points.size:
            part -= float(counts @ _log_survival((points - mu) / sigma))
        return part

    best = (mean, log(spread))
    if points.size:
        best = _climb(density, best)
    return best[0], exp(best[1]), density(*best)


def _points(above: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Logs of the truncation points and how often each counts; many are drawn together to _POINTS."""
    cut = above > 0
    points, of = np.unique(np.log(above[cut]), return_inverse=True)
    counts = np.bincount(of, weight[cut], minlength=points.size).astype(np.float64)
    if points.size <= _POINTS:
        return points, counts
    bin_of = np.minimum((np.cumsum(counts) / counts.sum() * _POINTS).astype(np.int64), _POINTS - 1)
    joint = np.bincount(bin_of, counts, minlength=_POINTS).astype(np.float64)
    mean = np.bincount(bin_of, counts * points, minlength=_POINTS)
    return mean[joint > 0] / joint[joint > 0], joint[joint > 0]


def _climb(height: Callable[[float, float], float], start: tuple[float, float]) -> tuple[float, float]:
    """The maximum of `height(a, b)` by the simplex method, which needs no derivatives."""
    corners = [start, (start[0] + 0.3, start[1]), (start[0], start[1] + 0.3)]
    simplex = [(height(*corner), corner) for corner in corners]
    for _ in range(_STEPS):
        simplex.sort(reverse=True)
        (top, best), (second, good), (low, worst) = simplex
        if max(abs(p[k] - best[k]) for p in (good, worst) for k in (0, 1)) < 1e-7:
            break
        a, b = (best[0] + good[0]) / 2, (best[1] + good[1]) / 2

        def beyond(t: float, a: float = a, b: float = b, w: tuple[float, float] = worst) -> Corner:
            point = (a + t * (a - w[0]), b + t * (b - w[1]))
            return height(*point), point

        tried = beyond(1.0)
        if tried[0] > top:
            tried = max(tried, beyond(2.0))
        elif tried[0] <= second:
            tried = beyond(0.5 if tried[0] > low else -0.5)
        if tried[0] > low:
            simplex[2] = tried
        else:
            halves = [((p[0] + best[0]) / 2, (p[1] + best[1]) / 2) for p in (good, worst)]
            simplex = [simplex[0], *((height(*half), half) for half in halves)]
    return max(simplex)[1]


def _log_survival(z: Floats) -> Floats:
    """log(1 - Phi(z)), by a table in steps of 1/256 up to 40 and Mills' ratio beyond."""
    inside = np.interp(z, *_table())
    beyond = np.maximum(z, 40.0)
    return np.where(z <= 40.0, inside, -beyond * beyond / 2 - np.log(beyond * sqrt(2 * pi)))


@cache
def _table() -> tuple[Floats, Floats]:
    z = np.arange(-40 * 256, 40 * 256 + 1) / 256
    logs = [
        log(erfc(v / sqrt(2)) / 2) if v < 25 else -v * v / 2 - log(normal_hazard(v) * sqrt(2 * pi)) for v in z.tolist()
    ]
    return z, np.array(logs)


# ---- empirical -------------------------------------------------------------------------------------------------


def _empirical(x: Floats, above: Floats, weight: Floats, scored: bool) -> Fit:
    """The product-limit estimate, from where it has AT_RISK observations on, and its histogram's AIC."""
    values, share = product_limit(x, above, weight)
    at = np.searchsorted(-share, -(np.arange(QUANTILES) + 0.5) / QUANTILES, "right") - 1
    listed = Distribution(empirical=values[at].tolist())
    aic = _histogram_aic(values, share, x, above, weight) if scored else inf
    return Fit("empirical", listed, aic, (values, share))


def product_limit(x: Floats, above: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """(values rising, share of values at or above each), given that a value is at least the first of them."""
    x, above, weight = x[weight > 0], above[weight > 0], weight[weight > 0]
    values, of = np.unique(x, return_inverse=True)
    here = np.bincount(of, weight)
    order = np.argsort(above)
    entered = np.concatenate(([0.0], np.cumsum(weight[order])))[np.searchsorted(above[order], values, "right")]
    risk = entered - np.concatenate(([0.0], np.cumsum(here)[:-1]))  # entered by then, not left before
    enough = np.flatnonzero(risk < min(AT_RISK, weight.sum() / 2))
    enough = enough[enough < values.size // 2]
    start = int(enough[-1]) + 1 if enough.size else 0
    stay = np.clip(1 - here[start:] / risk[start:], 0.0, 1.0)
    return values[start:], np.concatenate(([1.0], np.cumprod(stay)[:-1]))


def _histogram_aic(values: Floats, share: Floats, x: Floats, above: Floats, weight: Floats) -> float:
    """AIC of the density with equally likely steps; inf where values are too few for it."""
    n = float(weight.sum())
    bins = int(min(BINS_MAX, max(4.0, n ** (1 / 3))))
    edges = np.unique(values[np.searchsorted(-share, -(1 - np.arange(bins) / bins), "right") - 1])
    edges = np.append(edges, values[-1] * (1 + 1e-12) + 1e-12)
    at_edges = np.append(share[np.searchsorted(values, edges[:-1])], 0.0)
    mass, width = at_edges[:-1] - at_edges[1:], np.diff(edges)
    if edges.size < 4 or (mass <= 0).any():
        return inf
    inside = x >= edges[0]
    step = np.minimum(np.searchsorted(edges, x[inside], "right") - 1, mass.size - 1)
    logs = np.log(mass / width)[step] - np.log(np.maximum(np.interp(above[inside], edges, at_edges), 1e-300))
    if not inside.all():  # what lies below the estimate's first value is fitted by nothing: count it as one more step
        outside = weight[~inside]
        logs = np.append(logs, np.full(outside.size, -log(max(float(edges[0]), 1e-12))))
        weight = np.concatenate((weight[inside], outside))
    return float(4 * mass.size - 2 * float(weight @ logs))
