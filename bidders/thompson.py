"""Thompson sampling of the click rate: bid as if one draw from what is believed of the rate were true.

The valuation counts on the exchange's estimate of clicks per impression, imp.pctr. This rule learns from its own clicks
how far that is off, as a factor q of the estimate, the same on all its impressions. Belief: before any impression q has
mean 1 with the weight of `prior` clicks; each impression shown adds pctr expected clicks, each click one. For rare
clicks the posterior is Gamma(prior + clicks) / (prior + pctr x shown). The draw is Wilson and Hilferty's (1931)
cube of a normal, the normal Tukey's lambda of the campaign's own uniform draw (within 0.02 of the exact quantile
between the 0.1st and 99.9th percent). The bid is value x q. It expects clicks, so a valuation that rests on them.

Source: Chapelle and Li (2011), An Empirical Evaluation of Thompson Sampling.
Expect: the mean bid over value goes to true over estimated click rate, and its spread falls as 1 / sqrt(clicks); an ad
far better than its estimate, which the truthful rule never gets to show, is tried, found out and shown.
"""

from math import sqrt
from typing import Any, ClassVar, Final

POWER: Final = 0.135  # u^p - (1 - u)^p over this scale is close to the normal quantile
SCALE: Final = 0.1975
PRICE_MAX: Final = 1e12  # the most any bid may be, nano


class Thompson:
    """Bids the valuation times a draw of true over estimated click rate."""

    defaults: ClassVar[dict[str, Any]] = {"prior": 1.0, "shown": 0, "clicked": 0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid the valuation at the click rate drawn (gross nano)."""
        clicks = max(0.01, me.prior) + me.clicked
        normal = (imp.u**POWER - (1.0 - imp.u) ** POWER) / SCALE
        root = max(0.0, 1.0 - 1.0 / (9.0 * clicks) + normal / (3.0 * sqrt(clicks)))
        q = clicks * root * root * root / (max(0.01, me.prior) + imp.pctr * me.shown)
        return int(min(value * q, PRICE_MAX))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn from a sale: what counts is what comes of it."""

    @staticmethod
    def feedback(me: Any, kind: int, paid: int) -> None:
        """Count ads seen (10) and clicks (11)."""
        if kind == 10:
            me.shown += 1
        elif kind == 11:
            me.clicked += 1
