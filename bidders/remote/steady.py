"""A bidder that wants most of what it sees, at prices that scatter around one level.

    python -m bidders.remote.steady --port 0 --seed 1

Expect: wins in proportion to its price level, learns nothing, always answers at once.
"""

import random
from math import exp
from typing import Any

from bidders.remote.wire import Bidder, main


class Steady(Bidder):
    """Bids a lognormal price (median 1.1 EUR CPM) on four imps in five."""

    seat = "steady-dsp"
    domain = "steady-shoes.example"

    def price(self, request: dict[str, Any], imp: dict[str, Any]) -> float | None:
        """The price of an imp depends on its id and the seed alone, so that a run can be repeated."""
        draw = random.Random(f"{self.seed}/{request['id']}/{imp['id']}")
        if draw.random() > 0.8:
            return None
        return 1.1 * exp(draw.gauss(0, 0.6))


if __name__ == "__main__":
    main(Steady)
