"""Hold the effective cost per click at a reference: a thermostat on the bids.

Two controllers move one actuator: a base bid (the valuation) times exp(phi). After every round of auctions the cost per
click so far, x = cost / (clicks + 1), is read, and phi is set anew, within [phi_least, phi_most]:
`pid`: phi = gain_p e + gain_i (sum of all e) + gain_d (e - the e before), with the error e = reference - x;
`water_level`: phi = phi + gain e.
Errors count in thousandths of the currency (what 1,000 impressions at a CPM of 1 cost is 1,000 of them), as in the
paper, whose gains are the defaults. Round 0 has nothing to read: it bids `explore_nano` (0: the base bid), and no
integral or derivative acts before there are errors to add and to subtract. `unit_nano` rounds the base bid down to
whole units (integer prices), `least_nano` is the lowest bid.

Source: Zhang, Rong, Wang, Zhu and Wang (2016), Feedback Control of Real-Time Display Advertising.
Expect: below the reference bids rise, above it they fall; with the authors' settings on their log `pid` gives their
table of 80 rounds to the digit. Both end nearer to the reference than the base bids alone.
"""

from math import exp
from typing import Any, ClassVar


class Pid:
    """Bids the valuation times exp(phi); phi follows error, sum of errors and change of error."""

    defaults: ClassVar[dict[str, Any]] = {
        "target_nano": 500_000_000,  # the reference: cost per click
        "gain_p": 5e-4,
        "gain_i": 1e-6,
        "gain_d": 1e-4,
        "phi_least": -2.0,
        "phi_most": 5.0,
        "round_auctions": 2_500,
        "explore_nano": 0,
        "unit_nano": 1,
        "least_nano": 0,
        "phi": 0.0,
        "rounds": 0,  # rounds whose phi is set
        "clicks": 0,
        "error": 0.0,  # of the last reading
        "error_sum": 0.0,
    }

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid the base times exp(phi); on a round's first auction phi is what `learn` will then note."""
        at = max(0, me.asked - 1) // max(1, me.round_auctions)
        if at == 0 and me.explore_nano > 0:
            return int(me.explore_nano)
        phi = me.phi
        if at > me.rounds:
            error = (me.target_nano - me.spent / (me.clicks + 1)) * 1e-6
            phi = me.gain_p * error + me.gain_i * (me.error_sum + error)
            if me.rounds > 0:
                phi += me.gain_d * (error - me.error)
            phi = min(me.phi_most, max(me.phi_least, phi))
        base = value // max(1, me.unit_nano) * max(1, me.unit_nano)
        return int(min(1e12, max(float(me.least_nano), base * exp(min(phi, 300.0)))))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """After the first auction of a round: note the reading and the phi that it was priced with."""
        at = max(0, me.asked - 1) // max(1, me.round_auctions)
        if at > me.rounds:
            error = (me.target_nano - me.spent / (me.clicks + 1)) * 1e-6
            me.error_sum += error
            phi = me.gain_p * error + me.gain_i * me.error_sum
            if me.rounds > 0:
                phi += me.gain_d * (error - me.error)
            me.phi = min(me.phi_most, max(me.phi_least, phi))
            me.error = error
            me.rounds = at

    @staticmethod
    def feedback(me: Any, kind: int, paid: int) -> None:
        """Count clicks (11)."""
        if kind == 11:
            me.clicks += 1


class WaterLevel:
    """Bids the valuation times exp(phi); phi rises and falls by the error alone."""

    defaults: ClassVar[dict[str, Any]] = {
        "target_nano": 500_000_000,  # the reference: cost per click
        "gain": 5e-5,
        "phi_least": -2.0,
        "phi_most": 5.0,
        "round_auctions": 2_500,
        "phi": 0.0,
        "rounds": 0,
        "clicks": 0,
    }

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid the valuation times exp(phi); on a round's first auction phi is what `learn` will then note."""
        phi = me.phi
        if max(0, me.asked - 1) // max(1, me.round_auctions) > me.rounds:
            error = (me.target_nano - me.spent / (me.clicks + 1)) * 1e-6
            phi = min(me.phi_most, max(me.phi_least, phi + me.gain * error))
        return int(min(1e12, value * exp(min(phi, 300.0))))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """After the first auction of a round: note the level that it was priced with."""
        at = max(0, me.asked - 1) // max(1, me.round_auctions)
        if at > me.rounds:
            error = (me.target_nano - me.spent / (me.clicks + 1)) * 1e-6
            me.phi = min(me.phi_most, max(me.phi_least, me.phi + me.gain * error))
            me.rounds = at

    @staticmethod
    def feedback(me: Any, kind: int, paid: int) -> None:
        """Count clicks (11)."""
        if kind == 11:
            me.clicks += 1
