"""Wait for a person to be worth it again: the valuation recovers with the time since the last contact.

After a billed contact an impression on this person is worth v (1 - e^(-a/tau)), a = imp.since_s; v for a new one. A win
also restarts that clock, so even in second price the best bid is that value less the continuation C(a) it gives up.
With g the surplus per person and second, C grows by g less what this second's auctions are expected to earn. The rule
takes C = g a as long as the value recovers faster than g, and C as the value's own growth from there on: with x = g tau
/ v (the knob `patience`) and s = min(a / tau, log(1/x)) it bids v (1 - e^-s - x s). Exact at a steady price and
frequent visits, else a little low; all people are taken to be alike and the campaign to be long.
x is found by renewal: each win of a person known moves it by `rate` x (surplus / v - x a/tau), at rest where x is what
the bids it makes do earn. Start low: at a steady price one too patient never wins and so never learns.

Source: Heymann, Gilotte and Chan-Renous (2023), Repeated Bidding with Dynamic Value; this stationary form is our own.
Expect: bids below the recovered value, more so the higher `patience`; `patience` comes to the surplus per person and
tau, as a share of v, within some 5 % of the best there is, where bidding the recovered value loses a third and more.
"""

from math import exp, log
from typing import Any, ClassVar, Final

LEAST: Final = 1e-6  # of patience


class Fatigue:
    """Bids the recovered valuation less what waiting would earn."""

    defaults: ClassVar[dict[str, Any]] = {"tau_s": 86_400.0, "patience": 0.1, "rate": 0.02}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid v (1 - e^-s - x s), s = time since the last contact over tau, at most log(1/x) (gross nano)."""
        x = min(1.0, max(LEAST, me.patience))
        s = -log(x)
        if imp.since_s >= 0:
            s = min(s, imp.since_s / max(1.0, me.tau_s))
        return int(value * max(0.0, 1.0 - exp(-s) - x * s))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """On a win of a person known: surplus against what the time since the last contact was reckoned to earn."""
        if result.won and imp.since_s >= 0 and value > 0:
            s = imp.since_s / max(1.0, me.tau_s)
            surplus = 1.0 - exp(-s) - result.price / value
            me.patience = min(1.0, max(LEAST, me.patience + me.rate * (surplus - me.patience * s)))
