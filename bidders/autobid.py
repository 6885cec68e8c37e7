"""Autobidding: as much value as possible at a price per unit of it that is right on average, within a budget.

Let v' be what an impression may cost at the target: its valuation over the target return on ad spend (tROAS), or the
target cost per conversion times the estimated conversions (tCPA). The rule maximises the sum of v' won subject to
payments <= v' in total, with multiplier `lam`, and to a mean payment of `target_nano` an auction, with multiplier
`mu`: it bids v' (1 + lam) / (lam + mu). A win moves lam by the factor exp(-step x (v' - payment)), in CPM; every
auction moves mu by -step x (target_nano - payment), not below 0. Bids above v' are right: cheap wins pay for dear ones.

Source: Feng, Padmanabhan and Wang (2022), Online Bidding Algorithms for Return-on-Spend Constrained Advertisers.
Expect: with a budget that does not bind, value over spend comes to the target return, spend over expected conversions
to the target cost; with one that binds, the spend comes to its target and the return is better than asked.
"""

from math import exp
from typing import Any, ClassVar, Final

LEAST: Final = 1e-3  # of lam
MOST: Final = 1e6
PRICE_MAX: Final = 1e12  # the most any bid may be, nano


class TargetRoas:
    """Buys value at `target_roas` units of valuation per unit of money."""

    paces_budget: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "target_roas": 1.5,
        "lam": 1.0,
        "mu": 0.0,
        "step": 0.005,
        "target_nano": 1_000_000,  # per auction asked
    }

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid v' (1 + lam) / (lam + mu), v' = value / target_roas (gross nano)."""
        worth = value / max(1e-6, me.target_roas)
        return int(min(worth * (1.0 + me.lam) / max(LEAST, me.lam + me.mu), min(float(me.available), PRICE_MAX)))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Move both multipliers."""
        if result.won:
            margin = value / max(1e-6, me.target_roas) - result.price
            move = max(-1.0, min(1.0, -me.step * margin * 1e-6))
            me.lam = max(LEAST, min(MOST, me.lam * exp(move)))
        me.mu = max(0.0, min(MOST, me.mu - me.step * (me.target_nano - result.price) * 1e-6))


class TargetCpa:
    """Buys conversions at `target_cpa_nano` each, by the estimated rates of the impression."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "target_cpa_nano": 20_000_000_000,  # 20 units of currency
        "lam": 1.0,
        "mu": 0.0,
        "step": 0.005,
        "target_nano": 1_000_000,  # per auction asked
    }

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid v' (1 + lam) / (lam + mu), v' = target cost x pctr x pcvr (gross nano)."""
        worth = me.target_cpa_nano * (imp.pctr * imp.pcvr)
        return int(min(worth * (1.0 + me.lam) / max(LEAST, me.lam + me.mu), min(float(me.available), PRICE_MAX)))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Move both multipliers."""
        if result.won:
            margin = me.target_cpa_nano * (imp.pctr * imp.pcvr) - result.price
            move = max(-1.0, min(1.0, -me.step * margin * 1e-6))
            me.lam = max(LEAST, min(MOST, me.lam * exp(move)))
        me.mu = max(0.0, min(MOST, me.mu - me.step * (me.target_nano - result.price) * 1e-6))
