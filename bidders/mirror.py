"""Dual mirror descent on the price of a budget: one multiplier, moved by addition or by multiplication.

The multiplier mu is the dual variable of "spend target_nano an auction on average"; its gradient after an auction is
target - payment. The Euclidean rule takes mu - step x gradient (CPM), not below 0; the entropic one multiplies mu by
exp(-step x gradient), so it moves in proportion to where it is and never reaches 0. With `value_maximiser` = 0 the
rule maximises value less payment and bids v / (1 + mu); with 1 it maximises value alone and bids v / mu, above the
valuation when the budget is plentiful: only the budget restrains it.

Source: Balseiro, Lu and Mirrokni (2020), The Best of Many Worlds: Dual Mirror Descent for Online Allocation Problems.
Expect: spends its target; both geometries and both goals end at the same bids, with values and a rival U(0, 1) and a
target of 0.06 CPM at 0.6 v, the value maximiser's mu being 1 larger; with a budget that does not bind the Euclidean mu
is 0 exactly and the entropic one fades but stays above 0.
"""

from math import exp
from typing import Any, ClassVar, Final

LEAST: Final = 1e-6  # of mu
MOST: Final = 1e6
PRICE_MAX: Final = 1e12  # the most any bid may be, nano


class MirrorEuclidean:
    """Moves the multiplier by a step along the gradient."""

    paces_budget: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"mu": 1.0, "step": 0.005, "target_nano": 30_000, "value_maximiser": 0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid v / (1 + mu), or v / mu, but not more than is left (gross nano)."""
        divisor = me.mu if me.value_maximiser > 0 else 1.0 + me.mu
        return int(min(value / max(LEAST, divisor), min(float(me.available), PRICE_MAX)))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """mu - step x (target - payment), not below 0."""
        me.mu = max(0.0, min(MOST, me.mu - me.step * (me.target_nano - result.price) * 1e-6))


class MirrorEntropic:
    """Moves the multiplier by a factor."""

    paces_budget: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"mu": 1.0, "step": 0.005, "target_nano": 30_000, "value_maximiser": 0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid v / (1 + mu), or v / mu, but not more than is left (gross nano)."""
        divisor = me.mu if me.value_maximiser > 0 else 1.0 + me.mu
        return int(min(value / max(LEAST, divisor), min(float(me.available), PRICE_MAX)))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """mu x exp(-step x (target - payment)), from 1e-6 to 1e6."""
        move = -me.step * (me.target_nano - result.price) * 1e-6
        me.mu = max(LEAST, min(MOST, me.mu * exp(max(-50.0, min(50.0, move)))))
