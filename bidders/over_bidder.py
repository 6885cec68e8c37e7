"""Bid a multiple of the valuation: win nearly everything and lose money on it.

The belief that one may safely overbid, since in a second-price auction somebody else's bid sets the price: the
auctions this wins beyond those that truth wins are just those whose price is above the valuation.

Source: Kagel and Levin (1993), Independent Private Value Auctions: Bidder Behaviour in First-, Second- and
Third-Price Auctions with Varying Numbers of Bidders.
Expect: wins far more often than with the truth and has less of it: every auction won in addition is a loss.
"""

from typing import Any, ClassVar


class OverBidder:
    """Bids `factor` times the valuation, a factor above 1."""

    defaults: ClassVar[dict[str, Any]] = {"factor": 3.0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid factor x valuation."""
        return int(min(1e12, me.factor * value))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Learns nothing, which is its trouble."""
