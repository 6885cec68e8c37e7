"""Numbers as a language writes them: digits that matter, a unit, a dash for what does not exist."""

import math
from collections.abc import Iterable
from typing import Final

from exchange.report.shape import UNITS, Amount, Cell

DASH: Final = "–"
NARROW: Final = "\u202f"  # no-break space between thousands in French
MARKS: Final = {"en": (",", "."), "fr": (NARROW, ",")}  # of thousands, of decimals


def written(value: Cell, unit: str, lang: str = "en", digits: int | None = None) -> str:
    """A number without its unit's words (a share has its per cent sign); `digits` = decimals, else what it needs."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if isinstance(value, str):
        return value
    form = UNITS[unit].form
    if form == "share":
        shown = 100 * value
        text = _digits(shown, (1 if abs(shown) >= 1 or not shown else 2) if digits is None else digits, lang)
        return f"{text}{NARROW}%" if lang == "fr" else f"{text}%"
    if form == "count" and float(value).is_integer():
        return _digits(value, 0, lang)
    return _digits(value, decimals([value], unit) if digits is None else digits, lang)


def decimals(values: Iterable[Cell], unit: str) -> int:
    """Decimals at which numbers of a column stand under each other: three digits that matter, two for money above 1."""
    form = UNITS[unit].form
    sizes = sorted(abs(v) for v in values if isinstance(v, (int, float)) and v and math.isfinite(v))
    if form == "share":
        return 1 if not sizes or 100 * sizes[-1] >= 1 else 2
    if not sizes or (form == "count" and all(float(size).is_integer() for size in sizes)):
        return 0 if form == "count" else 2
    middle = sizes[len(sizes) // 2]
    if form in ("number", "ratio", "count") and middle >= 100:
        return 0 if form != "ratio" else 1
    return 2 if middle >= 0.995 else min(9, 2 - math.floor(math.log10(middle)))


def _digits(value: float, places: int, lang: str) -> str:
    thousands, point = MARKS[lang]
    text = f"{value:,.{places}f}"
    if text.strip("-0.,") == "":
        text = text.lstrip("-")  # no negative nought
    return text.replace(",", "\0").replace(".", point).replace("\0", thousands)


def printable(text: str) -> str:
    """A text as it may be shown: what cannot be printed (a line feed in a name, an escape) becomes a question mark."""
    return "".join(c if c.isprintable() or c in (NARROW, "\u00a0") else "?" for c in text)


def in_text(amount: Amount, lang: str, currency: str) -> str:
    """A number inside a sentence: money names its currency, counts leave their noun to the sentence."""
    text = printable(written(amount.value, amount.unit, lang))
    return f"{text}\u00a0{currency}" if UNITS[amount.unit].form == "money" and currency and text != DASH else text
