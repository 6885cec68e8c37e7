"""Bid what gets the most value for a budget, when the chance to win is a known curve of the bid.

Maximise the sum of win(b) x (v - lam b): value won less the budget's shadow price `lam` times what is paid. With
`ortb1`, win(b) = b / (c + b), the best bid is sqrt(c v / lam + c^2) - c; with `ortb2`, win(b) = b^2 / (c^2 + b^2), it
solves b^3 + 3 c^2 b = 2 c^2 v / lam. `c_nano` is the bid that wins every second time; `lam` is raised until the budget
lasts, and 1 means that money is worth its face. Paying one's bid is the paper's upper bound on the price.

Source: Zhang, Yuan and Wang (2014), Optimal Real-Time Bidding for Display Advertising.
Expect: concave in the valuation: it bids high on many cheap impressions and less than in proportion on dear ones. Where
one pays one's bid and prices follow the curve, no bid in proportion gets as much of value - lam x cost.
"""

from math import exp, log, sqrt
from typing import Any, ClassVar


class Ortb1:
    """Bids sqrt(c v / lam + c^2) - c: optimal for the win curve b / (c + b)."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"c_nano": 1_000_000, "lam": 1.0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid by the formula; rounded down."""
        c = float(max(1, me.c_nano))
        return int(min(1e12, sqrt(c * value / max(1e-9, me.lam) + c * c) - c))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn: c and lam are fitted outside."""


class Ortb2:
    """Bids the root of b^3 + 3 c^2 b = 2 c^2 v / lam: optimal for the win curve b^2 / (c^2 + b^2)."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"c_nano": 1_000_000, "lam": 1.0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid c (r - 1/r), r^3 = x + sqrt(x^2 + 1), x = v / (c lam); rounded down."""
        c = float(max(1, me.c_nano))
        x = value / (c * max(1e-9, me.lam))
        r = exp(log(x + sqrt(x * x + 1.0)) / 3.0)
        return int(min(1e12, max(0.0, c * (r - 1.0 / r))))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn: c and lam are fitted outside."""
