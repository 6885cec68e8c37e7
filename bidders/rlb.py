"""Bid by dynamic programming: what an impression is worth more than the money and the auctions that are left.

An episode is `round_auctions` auctions and a purse of `purse_nano`. V(n, b) is the value that n more auctions with b
left to spend bring on average. Winning at price d is right while value + V(n-1, b-d) >= V(n-1, b): the bid is the
highest d of which that holds, up to `most_nano`. V stands in `table`, 16 x 16 numbers in nano: row i has
n = round_auctions x (i / 15)^2 auctions left, column j has b = purse_nano x (j / 15)^2; between them it is read off
bilinearly in the square roots, in which V is nearly a product. `table_of` fills it from a histogram of prices. The
default is for prices of 0.05, 0.10 ... 1.00 CPM, equally likely, and impressions worth 0.50 CPM on average.

Source: Cai, Ren, Zhang, Malialis, Wang, Yu and Guo (2017), Real-Time Bidding by Reinforcement Learning in Display
Advertising.
Expect: bids less when little money is left for many auctions, everything it has at an episode's end, never more than
the purse; in its market a purse buys more value than the best bid in proportion buys on average.
"""

from math import sqrt
from typing import Any, ClassVar

SIDE = 16


def table_of(
    histogram: list[float], unit_nano: int, value_nano: float, round_auctions: int, purse_nano: int
) -> list[float]:
    """The table V for a market: SIDE x SIDE numbers, nano.

    histogram: how often the price was 0, 1, 2 ... units of `unit_nano`; value_nano: mean valuation of an impression.
    V_n(b) = V_n-1(b) + sum over prices d <= b of P(d) x max(0, value + V_n-1(b - d) - V_n-1(b)), V_0 = 0.
    """
    top, total = SIDE - 1, sum(histogram)
    edges = [purse_nano * (j / top) * (j / top) for j in range(SIDE)]
    reach: list[list[tuple[float, int, float]]] = []  # per column: P(d), and where b - d lies among the columns
    for money in edges:
        steps = []
        for price, count in enumerate(histogram):
            if count and price * unit_nano <= money:
                x = sqrt((money - price * unit_nano) / max(1, purse_nano)) * top
                j = min(int(x), top - 1)
                steps.append((count / total, j, x - j))
        reach.append(steps)
    rows, now, before, n = [], [0.0] * SIDE, [0.0] * SIDE, 0
    for i in range(SIDE):
        left = round_auctions * (i / top) * (i / top)
        while n < left:
            before, n = now, n + 1
            now = []
            for here, steps in zip(before, reach, strict=True):
                gains = (p * (value_nano + before[k] + f * (before[k + 1] - before[k]) - here) for p, k, f in steps)
                now.append(here + sum(max(0.0, gain) for gain in gains))
        rows += [a + (left - n + 1) * (b - a) if n else 0.0 for a, b in zip(before, now, strict=True)]
    return rows


class Rlb:
    """Bids the highest price at which winning leaves the episode no worse off."""

    needs_knobs: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "table": table_of([0.0] + [1.0] * 20, 50_000, 500_000.0, 100, 12_500_000),
        "round_auctions": 100,
        "purse_nano": 12_500_000,
        "most_nano": 1_000_000,
        "used_nano": 0,  # of the purse, in this episode
    }

    @staticmethod
    def price(value: int, imp: Any, me: Any) -> int:
        """Find the bid by halving: V falls with the price paid."""
        length = max(1, me.round_auctions)
        left = length - 1 - max(0, me.asked - 1) % length
        money = max(0, min(me.purse_nano - me.used_nano, me.available))
        purse = float(max(1, me.purse_nano))
        y = sqrt(left / length) * 15.0
        i = min(int(y), 14)
        y -= i
        low, high, stay = 0, min(money, max(0, me.most_nano)), 0.0
        for step in range(64):
            # the first look is at V without a win, the second at the highest bid; then halve
            d = 0 if step == 0 else high if step == 1 else low + (high - low) // 2
            x = min(15.0, sqrt((money - d) / purse) * 15.0)
            j = min(int(x), 14)
            x -= j
            near = me.table[16 * i + j] * (1.0 - x) + me.table[16 * i + j + 1] * x
            far = me.table[16 * i + 16 + j] * (1.0 - x) + me.table[16 * i + 17 + j] * x
            worth = near * (1.0 - y) + far * y
            if step == 0:
                stay = worth
            elif value + worth >= stay:
                low = d
            else:
                high = d
            if high - low <= 1 and step > 0:
                break
        return int(low)

    @staticmethod
    def learn(value: int, imp: Any, me: Any, result: Any) -> None:
        """Count what the episode has used; a new episode begins with a full purse."""
        me.used_nano += result.price
        if me.asked % max(1, me.round_auctions) == 0:
            me.used_nano = 0
