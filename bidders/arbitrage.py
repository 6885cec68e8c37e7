"""Buy impressions to sell the clicks: statistical arbitrage, tuned on profit rather than on volume.

The buyer is paid per click (the valuation is what he is paid, times the click rate) and pays per impression; the
difference is his. `sam1` bids in proportion and tunes the factor on profit: for each of 16 factors 0.125, 0.25 ... 2 it
adds up what that factor would have earned at the prices it hears and bids the best of them, of equals the highest, so
that it goes up until it hears what losing saves it; `memory` forgets old prices. `sam2` assumes the win curve
b / (c + b) and bids what maximises profit under a budget with multiplier lam: sqrt(c v / (1 + lam) + c^2) - c.

Source: Zhang and Wang (2015), Statistical Arbitrage Mining for Display Advertising.
Expect: in second price without a budget the factor of `sam1` comes to 1, the truthful bid, from wherever it starts;
without `auction.min_to_win` it stays where it is. Where one pays one's bid and prices follow the curve, `sam2` with
lam = 0 earns more than any bid in proportion.
"""

from math import sqrt
from typing import Any, ClassVar


class Sam1:
    """Bids the factor that would have earned most at the prices heard."""

    defaults: ClassVar[dict[str, Any]] = {"factor": 1.0, "memory": 0.9999, "profits": [0.0] * 16}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid factor x valuation."""
        return int(min(1e12, me.factor * value))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Score every factor at the price just heard; the best is bid from now on."""
        if result.min_to_win <= 0:
            return
        best = 0
        for k in range(16):
            me.profits[k] *= me.memory
            if 0.125 * (k + 1) * value >= result.min_to_win:
                me.profits[k] += value - result.min_to_win
            if me.profits[k] >= me.profits[best]:
                best = k
        me.factor = 0.125 * (best + 1)


class Sam2:
    """Bids sqrt(c v / (1 + lam) + c^2) - c: the most profit for the win curve b / (c + b)."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"c_nano": 1_000_000, "lam": 0.0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid by the formula; rounded down."""
        c = float(max(1, me.c_nano))
        return int(min(1e12, sqrt(c * value / (1.0 + max(0.0, me.lam)) + c * c) - c))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn: c and lam are fitted outside."""
