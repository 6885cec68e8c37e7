"""A bidder that feels its way: a little less after each win, a little more after each loss.

    python -m bidders.remote.shading --port 0 --seed 1

It learns from the notices alone: ${AUCTION_PRICE} of a win, ${AUCTION_MIN_TO_WIN} of a loss. Source of the idea:
Pan et al. (2020), Bid Shading by Win-Rate Estimation and Surplus Maximization; this is its simplest relative.
"""

import random
from math import exp
from typing import Any

from bidders.remote.wire import Bidder, main

LEAST, MOST = 0.3, 1.0  # of the valuation
RATE = 0.02


class Shading(Bidder):
    """Values imps at a median of 1.8 EUR CPM and bids `shade` of that."""

    seat = "shading-dsp"
    domain = "shady-garden.example"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.shade = 0.8

    def price(self, request: dict[str, Any], imp: dict[str, Any]) -> float | None:
        """Shade the valuation of an imp."""
        draw = random.Random(f"{self.seed}/{request['id']}/{imp['id']}")
        if draw.random() > 0.6:
            return None
        return self.shade * 1.8 * exp(draw.gauss(0, 0.5))

    def notice(self, kind: str, query: dict[str, str]) -> None:
        """Bid less when it won, more when a little more would have won."""
        if kind == "won":
            self.shade *= 1 - RATE
        elif kind == "lost" and query.get("loss") == "102":
            self.shade *= 1 + RATE / 2
        self.shade = min(MOST, max(LEAST, self.shade))


if __name__ == "__main__":
    main(Shading)
