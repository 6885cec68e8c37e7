"""Bid a fixed multiple of the valuation.

Source: Perlich, Dalessandro, Hook, Stitelman, Raeder, Provost (2012), Bid Optimizing and Inventory Scoring.
Expect: bids are proportional to the valuation; a factor of 1 is the truthful rule.
"""

from typing import Any, ClassVar


class Linear:
    """Bids `factor` times the valuation."""

    defaults: ClassVar[dict[str, Any]] = {"factor": 1.0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid factor x valuation (gross nano)."""
        return int(me.factor * value)

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn: the factor is tuned outside."""
