"""Shade a bid for first-price auctions: learn how much of the valuation is needed to win.

Source: Pan, Kitts, Zhou, He, Shetty, Flores, Gligorijevic, Pan, Mao, Gultekin, Zhang (2020), Bid Shading by
Win-Rate Estimation and Surplus Maximization; here the simplest feedback form: one shade, moved by outcomes.
Expect: never bids above its valuation; the shade falls while it wins with room to spare and rises when it loses.
"""

from typing import Any, ClassVar


class Shaded:
    """Bids `shade` times the valuation; the shade follows what winning took."""

    defaults: ClassVar[dict[str, Any]] = {"shade": 0.8, "rate": 0.02, "least": 0.2}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid the shaded valuation, but at least the floor when the valuation allows it (gross nano)."""
        return int(min(value, max(int(me.shade * value), imp.floor)))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Move the shade towards what it took to win, as a share of the valuation; alone, by a fixed step."""
        if value <= 0:
            return
        if result.min_to_win > 0:
            needed = min(1.0, result.min_to_win / value)
            if result.won or result.min_to_win <= value:
                me.shade = min(1.0, max(me.least, me.shade + me.rate * (needed - me.shade)))
        elif result.won:
            me.shade = max(me.least, me.shade - me.rate * 0.5)
        else:
            me.shade = min(1.0, me.shade + me.rate * 0.5)
