"""Wait for a person to be worth it again: the valuation recovers with the time since the last contact.

After a billed contact an impression on this person is worth v (1 - e^(-a/tau)), a = imp.since_s; v for a new one. A win
now also restarts that clock, so even in second price the bid is that value less the continuation a win gives up.
Let g be the best surplus per person and second, and x = g tau / v (the knob `patience`). While it pays to wait, waiting
a seconds is worth g a, so the bid is v (1 - e^(-a/tau) - x a/tau). This rises until a = tau log(1/x), where the value
recovers no faster than g, and the bid stays there: v (1 - x + x log x), also for a new person. It is the exact optimum
when all people are alike, visits are frequent against tau, the price hardly varies and the campaign is long.
x is found by renewal: on each win of a person known it moves by `rate` x (surplus / v - x a/tau), at rest where x is
surplus per time, the best it can be for the bids that x makes (Dinkelbach 1967).

Source: Heymann, Gilotte and Chan-Renous (2023), Repeated Bidding with Dynamic Value; the stationary form is our own.
Expect: bids below the recovered value, more so the higher `patience`; at a steady price p its `patience` comes to the x
of 1 - x + x log x = p / v, and its surplus per person and time beats bidding the recovered value, which earns next to
nothing.
"""

from math import exp, log
from typing import Any, ClassVar, Final

LEAST: Final = 1e-6  # of patience


class Fatigue:
    """Bids the recovered valuation less what waiting would earn."""

    defaults: ClassVar[dict[str, Any]] = {"tau_s": 86_400.0, "patience": 0.3, "rate": 0.02}

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
