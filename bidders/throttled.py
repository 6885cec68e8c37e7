"""Spend a budget evenly by staying away from some auctions: probabilistic throttling.

It takes part with probability `participation` and then bids its valuation, so its bids stay truthful. After every
`round_auctions` auctions the probability is moved by the share `change` towards the planned spend: down when more
than `target_nano` per auction asked has been spent or held so far, up when less. `change` = 0 keeps it as given.

Source: Agarwal, Ghosh, Wei and You (2014), Budget Pacing for Targeted Online Advertisements at LinkedIn.
Expect: spends close to its target; with a participation of p it wins p of what truth would win, at truth's prices, and
so gets less for the budget than shading every bid does.
"""

from typing import Any, ClassVar


class Throttled:
    """Bids the valuation in a share of the auctions, nothing in the others."""

    paces_budget: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "participation": 1.0,
        "change": 0.1,
        "target_nano": 30_000,  # per auction asked
        "round_auctions": 100,
    }

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid the valuation if this impression's draw says to take part."""
        return value if imp.u < me.participation else 0

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """At the end of a round: take part more or less often, between 1 in 1,000 and always."""
        if me.change > 0.0 and me.asked % max(1, me.round_auctions) == 0:
            ahead = float(me.spent) + me.held > float(me.asked) * me.target_nano
            moved = me.participation * (1.0 - me.change if ahead else 1.0 + me.change)
            me.participation = min(1.0, max(0.001, moved))
