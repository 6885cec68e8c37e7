"""Bid a premium on one's own customers, and less or nothing on everyone else.

The rule multiplies the valuation by `premium` when the person is on the advertiser's own list (imp.own), by `others`
when not. The premium is a belief: it pays for people who may have come anyway, so it is the holdout, not the
clicks, that says whether it was right.

Source: Lambrecht and Tucker (2013), When Does Retargeting Work? Information Specificity in Online Advertising.
Expect: with `others` = 0 it wins its own customers only; the premium wins more of them, at a higher price each, than
the truthful rule, and in a second-price auction some of them at a price above the valuation.
"""

from typing import Any, ClassVar, Final

PRICE_MAX: Final = 1e12  # the most any bid may be, nano


class Retargeter:
    """Bids by whether it knows the person."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"premium": 1.5, "others": 0.0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid the valuation times `premium` for an own customer, times `others` for anyone else (gross nano)."""
        return int(min(value * (me.premium if imp.own != 0 else me.others), PRICE_MAX))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn: the premium is a decision."""
