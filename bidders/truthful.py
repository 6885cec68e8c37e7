"""Bid the valuation.

Source: Vickrey (1961), Counterspeculation, Auctions, and Competitive Sealed Tenders.
Expect: in a second-price auction without a binding budget no other bid ever does better.
"""

from typing import Any, ClassVar


class Truthful:
    """Bids what the impression is worth; learns nothing."""

    defaults: ClassVar[dict[str, Any]] = {}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid the valuation (gross nano)."""
        return value

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn: the best bid does not depend on the others."""
