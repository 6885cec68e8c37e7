"""Many rules with different code, written to a file: what a market of 64 strangers looks like to the compiler.

Each rule has a body of its own (another bid, another way to learn, other constants), all of them plain arithmetic on
a few knobs of the library (the campaigns' record stays as it is), so that results can be compared to the bit between
the compiled and the Python runtime.
"""

from pathlib import Path
from typing import Final

PRICES: Final = (
    "int(me.factor * {a} * value)",
    "min(value, max(int(me.shade * value), imp.floor))",
    "int(value * (me.shade + {b} * imp.u))",
    "value // (1 + imp.contacts) - {n}",
    "int(sqrt(me.factor * value) * {n})",
    "max(imp.floor, value - me.clicks % {n})",
    "int(value * exp(-{b} * imp.contacts) * me.factor)",
    "min(me.available // {n}, value)",
)
LEARNS: Final = (
    "me.shade = min(1.0, max({b}, me.shade + {b} * (0.5 if result.won else -0.25)))",
    "me.factor = 0.99 * me.factor + 0.01 * (result.min_to_win / value if value > 0 else 1.0)",
    "me.clicks += {n} if result.won else 1",
    "me.shade = min(1.0, max(0.1, me.shade - {b} * 1e-7 * (result.price - 30_000)))",
    "me.profits[me.clicks % 4] += result.price // {n}",
    "me.factor = tanh(me.factor + {a} * (1.0 if result.won else -1.0) * 0.01) + {b}",
    "me.clicks = (me.clicks * 3 + {n}) % 1_000_003",
    "me.shade = min(1.0, sqrt(me.shade * {a}) * 0.9 + 0.05)",
)
RULE: Final = '''

class Variant{k}:
    """Bids and learns as no other does."""

    defaults = {{"factor": 0.9, "shade": 0.8, "clicks": 1, "profits": [0.0] * 16}}

    @staticmethod
    def price(value, imp, me):
        """Gross nano."""
        bid = {price}
        if bid > value + {n}:
            bid = value
        return max(0, bid)

    @staticmethod
    def learn(value, imp, me, result):
        """Change the knobs."""
        {first}
        {second}
'''


def source(n: int) -> str:
    """Python source of n rules Variant0 ... of which no two have the same code."""
    text = '"""Rules of many kinds."""\n\nfrom math import exp, sqrt, tanh\n'
    for k in range(n):
        words = {"a": round(0.8 + k / 300, 6), "b": round(0.05 + k / 1_000, 6), "n": 2 + k}
        price = PRICES[k % 8].format(**words)
        first, second = LEARNS[k // 8 % 8].format(**words), LEARNS[(k + k // 8 + 3) % 8].format(**words)
        text += RULE.format(k=k, price=price, first=first, second=second, n=words["n"])
    return text


def write(folder: Path, n: int) -> list[str]:
    """Write the rules to `folder`/variants_made.py. Returns their names as a config has them."""
    (folder / "variants_made.py").write_text(source(n), encoding="utf-8")
    return [f"{folder}/variants_made.py:Variant{k}" for k in range(n)]
