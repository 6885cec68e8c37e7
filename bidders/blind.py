"""Bid without a look at the valuation: the yardsticks that any rule must beat.

`constant` bids `bid_nano` for everything; `random` bids uniformly between 0 and `most_nano`.

Source: Zhang, Yuan and Wang (2014), Optimal Real-Time Bidding for Display Advertising (its baselines Const and Rand).
Expect: the same budget buys less value than with a bid in proportion to the valuation, for they pay as much for an
impression that is worth nothing as for the best. The bids of `random` are uniform and independent of everything.
"""

from typing import Any, ClassVar


class Constant:
    """Bids the same for every impression."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"bid_nano": 1_000_000}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid `bid_nano`, whatever the impression is worth."""
        return int(me.bid_nano)

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn."""


class Random:
    """Bids a uniform draw from 0 to `most_nano`."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"most_nano": 1_000_000}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid u x most, u the campaign's own uniform draw for this impression."""
        return int(imp.u * me.most_nano)

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn."""
