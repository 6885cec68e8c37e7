"""Bid the highest cost per click times the click rate.

A click may cost at most `cpc_nano`, so an impression with click rate pctr at most pctr x cpc. The figure is given, or
tuned as in the paper to what clicks have cost in a time of training: with `training_clicks` = n the rule bids by the
given figure until it has had n clicks, then sets cpc = cost / clicks once, and keeps it.

Source: Lee, Orten, Dasdan and Li (2012), Estimating Conversion Rate in Display Advertising from Past Performance Data.
Expect: bids in proportion to the click rate, blind for what a click is worth to this campaign; in a second-price
auction a click costs less than the cap, and after training the cap is what clicks cost before.
"""

from typing import Any, ClassVar


class Mcpc:
    """Bids click rate x highest cost per click."""

    defaults: ClassVar[dict[str, Any]] = {
        "cpc_nano": 500_000_000,  # half a unit of currency
        "training_clicks": 0,
        "clicks": 0,
        "cost_nano": 0,
    }

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid pctr x cpc."""
        return int(min(1e12, max(0.0, imp.pctr * me.cpc_nano)))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing: clicks are what it learns from."""

    @staticmethod
    def feedback(me: Any, kind: int, paid: int) -> None:
        """In training: add up what was paid and count clicks (11)."""
        if me.clicks < me.training_clicks:
            me.cost_nano += paid
            if kind == 11:
                me.clicks += 1
                if me.clicks == me.training_clicks:
                    me.cpc_nano = me.cost_nano // me.clicks
