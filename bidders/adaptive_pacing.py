"""Pace a budget by a shadow price: bid v / (1 + mu), and move mu against the gap between target and payment.

A unit of budget spent now is missed later; mu is what it would have earned. After every auction mu moves by
-step x (target - payment), in CPM, and stays within [0, mu_max]. For a budget B over T auctions: target = B / T, step
= 1 / sqrt(T) when valuations are of the order of 1 CPM (in proportion to 1 / valuation otherwise).

Source: Balseiro and Gur (2019), Learning in Repeated Auctions with Budgets: Minimization of Regret and Equilibrium.
Expect: never bids above its valuation; with values and a rival's bid U(0, 1) and a target of 0.06 CPM an auction of a
second-price market, 1 / (1 + mu) averages 0.6; from mu = 0.5 it loses some 0.25 sqrt(T) CPM against the best choice in
hindsight, and more from a start far off, above all from below, as the budget is then gone before the end.
"""

from typing import Any, ClassVar


class AdaptivePacing:
    """Bids the valuation over one plus the shadow price of its budget."""

    paces_budget: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "mu": 0.5,
        "step": 0.005,
        "target_nano": 30_000,  # per auction asked
        "mu_max": 100.0,
    }

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid v / (1 + mu), but not more than is left (gross nano)."""
        return int(min(value / (1.0 + max(0.0, me.mu)), float(me.available)))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Raise the shadow price when the payment is above the target, lower it when below."""
        me.mu = max(0.0, min(me.mu_max, me.mu - me.step * (me.target_nano - result.price) * 1e-6))
