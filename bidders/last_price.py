"""Follow the last price: bid a little over what the last auction went for.

The price of one auction says little about the next one, whose bidders have drawn anew: after a cheap one it bids too
low to win what is worth winning. It never bids above its valuation, so it loses chances, not money.

Source: Cary, Das, Edelman, Giotis, Heimerl, Karlin, Mathieu and Schwarz (2007), Greedy Bidding Strategies for Keyword
Auctions: best responses to the last round, here without the balance that makes them converge.
Expect: never bids above its valuation; earns less than the truth in second price, and when all follow each other the
price stays far below what the truth would make it.
"""

from typing import Any, ClassVar


class LastPrice:
    """Bids the last price heard plus a share `over` of it, at most the valuation."""

    defaults: ClassVar[dict[str, Any]] = {"over": 0.05, "last_nano": 0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid a bit over the last price; at first, with nothing heard, the valuation."""
        if me.last_nano <= 0:
            return value
        return int(min(float(value), max(float(imp.floor), me.last_nano * (1.0 + me.over))))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Remember the price: one's own when won, else what was disclosed."""
        if result.price > 0:
            me.last_nano = result.price
        elif result.min_to_win > 0:
            me.last_nano = result.min_to_win
