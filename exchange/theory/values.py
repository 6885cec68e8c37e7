"""Distributions of private values: cumulative, density, mean, quantile, and nodes to integrate over them.

Everything is in CPM. `nodes` is a Gauss-Legendre rule over panels: exact to about 1e-13 for an integrand that is smooth
between the cuts handed in, so whoever integrates names the points where his integrand has a kink or a jump.
"""

from abc import ABC, abstractmethod
from math import erfc, exp, inf, isfinite, log, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange.config import Distribution

Floats = NDArray[np.float64]
POINTS: Final = 16  # of the Gauss-Legendre rule in each panel
_X, _W = np.polynomial.legendre.leggauss(POINTS)
_NORMAL = NormalDist()
_EXPONENTIAL_TOP: Final = 60.0  # in means: what lies above has probability 1e-26
_NORMAL_TOP: Final = 9.0  # in standard deviations: 1e-19


def panels(edges: Floats) -> tuple[Floats, Floats]:
    """Nodes and weights of the Gauss-Legendre rule over the panels between sorted `edges`."""
    low, high = edges[:-1, None], edges[1:, None]
    half = (high - low) / 2
    return ((low + high) / 2 + half * _X).ravel(), (half * _W).ravel()


class Values(ABC):
    """A distribution of values on [low, high], CPM; `atoms` are the points with a probability of their own."""

    low: float = 0.0
    high: float = inf
    atoms: tuple[tuple[float, float], ...] = ()  # (value, probability), ascending

    @abstractmethod
    def cdf(self, x: Floats) -> Floats:
        """P(value <= x)."""

    def below(self, x: Floats) -> Floats:
        """P(value < x)."""
        return self.cdf(x)

    @abstractmethod
    def pdf(self, x: float) -> float:
        """Density at x; 0 where there is none."""

    @abstractmethod
    def mean(self) -> float:
        """Expected value."""

    @abstractmethod
    def quantile(self, u: float) -> float:
        """The value that is not exceeded with probability u."""

    @abstractmethod
    def edges(self) -> Floats:
        """Values between which the density is smooth and mild enough for one panel."""

    @abstractmethod
    def nodes(self, cuts: Floats) -> tuple[Floats, Floats]:
        """(values, weights): sum(weights * g(values)) is the mean of g, smooth between the cuts (CPM)."""


class Uniform(Values):
    """U(low, high)."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def cdf(self, x: Floats) -> Floats:
        """P(value <= x)."""
        return np.clip((np.asarray(x) - self.low) / (self.high - self.low), 0.0, 1.0)

    def pdf(self, x: float) -> float:
        """1 / (high - low) inside."""
        return 1.0 / (self.high - self.low) if self.low <= x <= self.high else 0.0

    def mean(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2

    def quantile(self, u: float) -> float:
        """low + u (high - low)."""
        return self.low + u * (self.high - self.low)

    def edges(self) -> Floats:
        """Eighths of the range: bids may bend inside it."""
        return np.linspace(self.low, self.high, 9)

    def nodes(self, cuts: Floats) -> tuple[Floats, Floats]:
        """Panels between the edges and the cuts."""
        x, w = panels(_within(self.edges(), cuts, self.low, self.high))
        return x, w / (self.high - self.low)


class Exponential(Values):
    """Exponential with a mean; integrated in means up to 60 of them."""

    def __init__(self, mean: float) -> None:
        self.scale = mean
        self.high = mean * _EXPONENTIAL_TOP

    def cdf(self, x: Floats) -> Floats:
        """1 - exp(-x / mean)."""
        found: Floats = -np.expm1(-np.maximum(np.asarray(x, float), 0.0) / self.scale)
        return found

    def pdf(self, x: float) -> float:
        """exp(-x / mean) / mean."""
        return exp(-x / self.scale) / self.scale if x >= 0 else 0.0

    def mean(self) -> float:
        """The mean."""
        return self.scale

    def quantile(self, u: float) -> float:
        """-mean log(1 - u)."""
        return -self.scale * log(1 - u) if u < 1 else self.high

    def edges(self) -> Floats:
        """Every half mean, then every four."""
        return self.scale * np.concatenate((np.arange(0, 12, 0.5), np.arange(12, _EXPONENTIAL_TOP + 1, 4.0)))

    def nodes(self, cuts: Floats) -> tuple[Floats, Floats]:
        """Panels between the edges and the cuts."""
        x, w = panels(_within(self.edges(), cuts, 0.0, self.high))
        return x, w * np.exp(-x / self.scale) / self.scale


class LogNormal(Values):
    """exp(mu + sigma Z), integrated over Z."""

    def __init__(self, mu: float, sigma: float) -> None:
        self.mu, self.sigma = mu, sigma
        self.z = np.arange(-_NORMAL_TOP, _NORMAL_TOP + max(0.0, 2 * sigma) + 0.25, 0.5)
        self.low, self.high = (float(self._value(z)) for z in (self.z[0], self.z[-1]))

    def _value(self, z: float) -> float:
        return exp(self.mu + self.sigma * z)

    def _z(self, x: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            found: Floats = (np.log(np.maximum(np.asarray(x, float), 0.0)) - self.mu) / self.sigma
        return found

    def cdf(self, x: Floats) -> Floats:
        """Phi((log x - mu) / sigma)."""
        z = self._z(x)
        return np.array([0.5 * erfc(-one / sqrt(2.0)) for one in z.ravel()]).reshape(z.shape)

    def pdf(self, x: float) -> float:
        """phi((log x - mu) / sigma) / (sigma x)."""
        return _NORMAL.pdf((log(x) - self.mu) / self.sigma) / (self.sigma * x) if x > 0 else 0.0

    def mean(self) -> float:
        """exp(mu + sigma^2 / 2)."""
        return exp(self.mu + self.sigma**2 / 2)

    def quantile(self, u: float) -> float:
        """By the inverse of Phi."""
        return self._value(_NORMAL.inv_cdf(u)) if 0 < u < 1 else (self.low, self.high)[int(u >= 1)]

    def edges(self) -> Floats:
        """Every half standard deviation."""
        return np.exp(self.mu + self.sigma * self.z)

    def nodes(self, cuts: Floats) -> tuple[Floats, Floats]:
        """Panels over Z between the edges and the cuts."""
        z, w = panels(_within(self.z, self._z(np.asarray(cuts, float)), float(self.z[0]), float(self.z[-1])))
        return np.exp(self.mu + self.sigma * z), w * np.exp(-z * z / 2) / sqrt(2 * np.pi)


class Atoms(Values):
    """Finitely many values: a fixed one, or an empirical list with each entry equally likely."""

    def __init__(self, values: list[float]) -> None:
        points, counts = np.unique(np.asarray(values, float), return_counts=True)
        self.points, self.weights = points, counts / len(values)
        self.atoms = tuple(zip(points.tolist(), self.weights.tolist(), strict=True))
        self.low, self.high = float(points[0]), float(points[-1])
        self._sum = np.concatenate(([0.0], np.cumsum(self.weights)))
        self._sum[-1] = 1.0

    def cdf(self, x: Floats) -> Floats:
        """Share of values up to x."""
        return np.asarray(self._sum[np.searchsorted(self.points, x, side="right")])

    def below(self, x: Floats) -> Floats:
        """Share of values under x."""
        return np.asarray(self._sum[np.searchsorted(self.points, x, side="left")])

    def pdf(self, x: float) -> float:
        """There is no density."""
        return 0.0

    def mean(self) -> float:
        """The mean of the list."""
        return float(self.points @ self.weights)

    def quantile(self, u: float) -> float:
        """The first value whose share reaches u."""
        return float(self.points[min(int(np.searchsorted(self._sum[1:], u)), len(self.points) - 1)])

    def edges(self) -> Floats:
        """The values themselves."""
        return self.points

    def nodes(self, cuts: Floats) -> tuple[Floats, Floats]:
        """The values with their shares, whatever the cuts."""
        return self.points, self.weights


def values_of(drawn: Distribution | float, scale: float = 1.0) -> Values:
    """The distribution of a config's value_cpm, times `scale` (a segment factor); a number is a fixed value."""
    if not isinstance(drawn, Distribution):
        return Atoms([drawn * scale])
    if drawn.uniform is not None:
        low, high = drawn.uniform
        return Uniform(low * scale, high * scale) if high > low else Atoms([low * scale])
    if drawn.exponential is not None:
        return Exponential(drawn.exponential * scale)
    if drawn.lognormal is not None:
        mu, sigma = drawn.lognormal
        return LogNormal(mu + log(scale), abs(sigma)) if sigma else Atoms([exp(mu) * scale])
    return Atoms([value * scale for value in drawn.empirical or []])


def _within(edges: Floats, cuts: Floats, low: float, high: float) -> Floats:
    """Edges and cuts inside [low, high], ascending, each once."""
    inside = [x for x in np.asarray(cuts, float).ravel().tolist() if isfinite(x) and low < x < high]
    return np.unique(np.concatenate((edges, inside, [low, high])))
