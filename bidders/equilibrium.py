"""Bid the symmetric equilibrium of a format among rivals whose values are uniform on [0, high].

Source: Riley and Samuelson (1981), Optimal Auctions (first price with a reserve); Krishna (2010), Auction Theory,
chapter 3 (all-pay); Zeithammer (2019), Soft Floors in Auctions (first price below the soft floor, truthful above).
Expect: among `rivals` + 1 of its kind each format earns what second price earns; whoever bids otherwise gains nothing.
"""

from typing import Any, ClassVar


class EquilibriumFirstPrice:
    """First price: bid the mean of the best rival value, given that it lies below the own one."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"rivals": 1, "high_nano": 1_000_000}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid v - (v^n - r^n) / (n v^(n-1)) for n = rivals + 1 and the reserve r; nothing below it (gross nano)."""
        if value <= 0 or value < imp.floor:
            return 0
        n, high = max(1, me.rivals) + 1, max(1, me.high_nano)
        v, r = min(1.0, value / high), min(1.0, imp.floor / high)
        shaded = v - (v - r * (r / v) ** (n - 1)) / n
        return int(min(value, max(imp.floor, int(high * shaded + 0.5))))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn: the rivals are known."""


class EquilibriumAllPay:
    """All-pay: everyone pays, so the bid is what the chance to win is worth."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"rivals": 1, "high_nano": 1_000_000}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid v F(v)^(n-1) - integral of F^(n-1) from the lowest type that enters (gross nano)."""
        if value <= 0:
            return 0
        n, high = max(1, me.rivals) + 1, max(1, me.high_nano)
        v, r = min(1.0, value / high), min(1.0, imp.floor / high)
        if v**n < r:
            return 0
        entry = r ** (1.0 / n)
        stake = v**n - (v**n - entry**n) / n
        return int(min(value, max(imp.floor, int(high * stake + 0.5))))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn: the rivals are known."""


class EquilibriumSoftFloor:
    """Soft floor: first price where that stays below the soft floor, truthful where it does not."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {"rivals": 1, "high_nano": 1_000_000, "soft_floor_nano": 0}

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Bid as in first price up to the value where that bid meets the soft floor, and the value from there on."""
        if value <= 0 or value < imp.floor:
            return 0
        n, high = max(1, me.rivals) + 1, max(1, me.high_nano)
        v, r = min(1.0, value / high), min(1.0, imp.floor / high)
        shaded = max(imp.floor, int(high * (v - (v - r * (r / v) ** (n - 1)) / n) + 0.5))
        return value if shaded >= me.soft_floor_nano else int(min(value, shaded))

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Nothing to learn: the rivals are known."""
