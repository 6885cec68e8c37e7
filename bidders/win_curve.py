"""Shade a bid for first-price auctions by a learnt win curve: the chance F(b) that a bid of b wins.

A first-price winner pays its bid, so the rule bids the b that makes (v - b) F(b) largest. F is a curve in log CPM,
logistic or normal, with middle `mu` (a bid of exp(mu) CPM wins every second time) and width `sigma`. Where the
auction says what it would have taken, that price is a draw from F; at the floor it says only that the rivals were
below. Where it says nothing, a win has likelihood F(b), a loss 1 - F(b). Each outcome moves mu and log sigma by `rate`
times the gradient of its log-likelihood, over the Fisher information of an uncensored draw (rate 0 = a known curve).

With u = log(v / b) the best bid solves log(e^u - 1) = log(sigma F/f), where F and its density f are taken at
z = (log b - mu) / sigma. Left less right increases in u and is concave for both curves, so Newton's steps from a
point below the root never overshoot it.

Source: Pan, Kitts, Zhou, He, Shetty, Flores, Gligorijevic, Pan, Mao, Gultekin, Zhang (2020), Bid Shading by
Win-Rate Estimation and Surplus Maximization; Zhou, He, Pan, Karlsson, Shetty, Kitts, Gligorijevic, Gultekin, Mao,
Pan, Zhang, Flores (2021), An Efficient Deep Distribution Network for Bid Shading in First-Price Auctions.
Expect: never bids above its valuation, and at least a floor it can afford; with the curve known it bids the argmax; it
finds mu and sigma of a log-normal market from prices, and from wins and losses alone, and then loses little surplus.
"""

from math import erfc, exp, log, tanh
from typing import Any, ClassVar, Final

CPM: Final = 1e-6  # of a nano per impression
WIDE: Final = 0.02, 20.0  # sigma, least and most
FAR: Final = 14.0  # |mu| at most: prices from a nano to the limit
REACH: Final = 37.0  # the normal density is 0 beyond, in doubles
HALF: Final = 0.7071067811865476  # sqrt(1/2)
PEAK: Final = 0.3989422804014327  # normal density at 0
LOGISTIC_INFORMATION: Final = 1.43  # of log sigma: (3 + pi^2) / 9; of mu it is 1 / (3 sigma^2)


class ShadedLogistic:
    """Bids argmax (v - b) F(b), F logistic in log b."""

    defaults: ClassVar[dict[str, Any]] = {"mu": 0.0, "sigma": 1.0, "rate": 0.02}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """The bid with the largest expected surplus, at least the floor; none when the floor is above the valuation."""
        if value <= 0 or imp.floor > value:
            return 0
        sigma = min(WIDE[1], max(WIDE[0], me.sigma))
        top = log(value * CPM) - me.mu
        u = log(1.0 + sigma)  # F/f is at least 1
        for _ in range(40):
            z = (top - u) / sigma
            odds = exp(min(z, REACH))
            ratio = log(sigma) + (z if z > REACH else log(1.0 + odds))
            grown = exp(u)
            step = (ratio - log(grown - 1.0)) / (grown / (grown - 1.0) + odds / (1.0 + odds) / sigma)
            u += step
            if step < 1e-9:
                break
        return int(max(int(value * exp(-u)), imp.floor))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Climb the log-likelihood of what was seen."""
        sigma = min(WIDE[1], max(WIDE[0], me.sigma))
        seen = result.min_to_win if result.min_to_win > 0 else result.bid
        if seen <= 0:
            return
        z = min(8.0, max(-8.0, (log(seen * CPM) - me.mu) / sigma))
        below = 1.0 / (1.0 + exp(-z))
        if result.min_to_win > imp.floor:
            middle, width = tanh(0.5 * z), z * tanh(0.5 * z) - 1.0
        elif result.won or result.min_to_win > 0:
            middle, width = below - 1.0, z * (below - 1.0)
        else:
            middle, width = below, z * below
        me.mu = min(FAR, max(-FAR, me.mu + me.rate * 3.0 * sigma * middle))
        grow = exp(min(1.0, max(-1.0, me.rate * width / LOGISTIC_INFORMATION)))
        me.sigma = min(WIDE[1], max(WIDE[0], sigma * grow))


class ShadedLognormal:
    """Bids argmax (v - b) F(b), F log-normal."""

    defaults: ClassVar[dict[str, Any]] = {"mu": 0.0, "sigma": 1.0, "rate": 0.02}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """The bid with the largest expected surplus, at least the floor; none when the floor is above the valuation."""
        if value <= 0 or imp.floor > value:
            return 0
        sigma = min(WIDE[1], max(WIDE[0], me.sigma))
        top = log(value * CPM) - me.mu
        u = max(log(1.0 + sigma / 40.0), top - REACH * sigma)  # F/f is above 1/40 within reach
        for _ in range(40):
            z = min(REACH, max(-REACH, (top - u) / sigma))
            ratio = 0.5 * erfc(-HALF * z) / (PEAK * exp(-0.5 * z * z))
            grown = exp(u)
            slope = grown / (grown - 1.0) + max(0.0, z + 1.0 / ratio) / sigma
            step = (log(sigma * ratio) - log(grown - 1.0)) / slope
            u += step
            if step < 1e-9:
                break
        return int(max(int(value * exp(-u)), imp.floor))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Climb the log-likelihood of what was seen."""
        sigma = min(WIDE[1], max(WIDE[0], me.sigma))
        seen = result.min_to_win if result.min_to_win > 0 else result.bid
        if seen <= 0:
            return
        z = min(8.0, max(-8.0, (log(seen * CPM) - me.mu) / sigma))
        density = PEAK * exp(-0.5 * z * z)
        if result.min_to_win > imp.floor:
            middle, width = z, z * z - 1.0
        elif result.won or result.min_to_win > 0:
            middle = -density / (0.5 * erfc(-HALF * z))
            width = z * middle
        else:
            middle = density / (0.5 * erfc(HALF * z))
            width = z * middle
        me.mu = min(FAR, max(-FAR, me.mu + me.rate * sigma * middle))
        me.sigma = min(WIDE[1], max(WIDE[0], sigma * exp(min(1.0, max(-1.0, 0.5 * me.rate * width)))))
