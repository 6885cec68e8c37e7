"""Rules for the tests, loaded as `./odd_rules.py:Class`: each leans on one corner of the contract."""

from math import exp, log, sqrt, tanh
from typing import Any, ClassVar


class Tired:
    """Bids less for each earlier contact; counts what came of it in an array of integers."""

    defaults: ClassVar[dict[str, Any]] = {"seen": [0, 0, 0], "tired_paid": 0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """The valuation shared by the contacts so far."""
        return value // (1 + imp.contacts)

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Count losses and wins."""
        me.seen[1 if result.won else 0] += 1

    @staticmethod
    def feedback(me: Any, kind: int, paid: int) -> None:
        """Count impressions (10) and clicks (11), and what was paid."""
        me.seen[2] += kind
        me.tired_paid += paid


class Moody:
    """Bids a random share of the valuation, its own draw; remembers in floats."""

    defaults: ClassVar[dict[str, Any]] = {"mood": 0.5, "moods": [0.25, 0.75]}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Between half and all of the valuation, never on an odd hour."""
        if imp.hour % 2 == 1:
            return 0
        return int(value * (me.mood + (1.0 - me.mood) * imp.u))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Drift with the price that would have won."""
        me.mood = 0.9 * me.mood + 0.1 * me.moods[1 if result.won else 0]
        if result.min_to_win > 0 and value > 0:
            me.moods[0] = min(1.0, result.min_to_win / value)


class Wild:
    """Asks for prices that no price may be: below zero, above the limit, and more than it has."""

    defaults: ClassVar[dict[str, Any]] = {"turn": 0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Depends on the turn."""
        if me.turn % 4 == 0:
            return -value
        if me.turn % 4 == 1:
            return 4_000_000_000_000_000_000
        return value * 3

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """The next turn."""
        me.turn += 1


class Wordy:
    """Thinks in texts, which the compiler refuses; raises on every fifth price."""

    defaults: ClassVar[dict[str, Any]] = {"words": 0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """The valuation, read from its own digits."""
        if me.words % 5 == 4:
            raise RuntimeError("lost for words")
        return int(f"{value:d}")

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Count."""
        me.words += 1


class Fraction:
    """Returns a float: refused when it is loaded."""

    defaults: ClassVar[dict[str, Any]] = {"share": 0.5}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> float:
        """Forgot int(...)."""
        return me.share * value

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing."""


class Misspelt:
    """Reads an attribute that nobody has."""

    defaults: ClassVar[dict[str, Any]] = {"factor_of_mine": 0.5}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """One letter off."""
        return int(me.factor_of_mne * value)

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing."""


class Mute:
    """Has no learn()."""

    defaults: ClassVar[dict[str, Any]] = {}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """The valuation."""
        return value


class Greek:
    """Shows every function of the compiler that gives the same bits as Python."""

    defaults: ClassVar[dict[str, Any]] = {"x": 1.0, "y": 1.0, "out": [0.0, 0.0, 0.0, 0.0, 0.0]}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """exp, log, sqrt, tanh and a power."""
        me.out[0] = exp(me.x)
        me.out[1] = log(abs(me.x) + 1e-9)
        me.out[2] = sqrt(abs(me.x))
        me.out[3] = tanh(me.x)
        me.out[4] = abs(me.x) ** me.y
        return 1

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing."""


class Vast:
    """Refused by the compiler, and names a price that does not fit 64 bits."""

    defaults: ClassVar[dict[str, Any]] = {}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """A number of thirty digits."""
        return int(f"{10**30:d}")

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing."""
