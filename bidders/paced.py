"""Pace a budget: bid less when money leaves faster than planned.

Source: Balseiro and Gur (2019), Learning in Repeated Auctions with Budgets.
Expect: spends close to its target per auction; never bids above its valuation.
"""

from typing import Any, ClassVar


class Paced:
    """Bids the valuation times a multiplier that follows the gap between spend and target."""

    paces_budget: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "multiplier": 1.0,
        "step": 1e-7,
        "target_nano": 30_000,
    }  # per auction asked

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid the valuation times the pacing multiplier (gross nano; 0 = no bid)."""
        return int(me.multiplier * value)

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nudge the multiplier against the gap between spend and target."""
        me.multiplier = min(1.0, max(0.01, me.multiplier - me.step * (result.price - me.target_nano)))
