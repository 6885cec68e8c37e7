"""A log of impressions as a population: who offers what is read, not drawn.

A log is a text file with tab-separated columns. Its first line names them; `price_cpm` (the market price: it becomes
the floor), `pctr` (the estimated click rate) and `click` (0 or 1: is it clicked, if bought) must be there, in any
order; others are left alone. Each further line is one visit. So a bid that reaches the market price wins and, in a
second-price auction without a rival, pays it: the replay of Zhang, Yuan and Wang (2014), Optimal Real-Time Bidding for
Display Advertising.
"""

from math import isfinite
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange.config import ConfigError

PRICE_MAX_CPM: Final = mk.PRICE_MAX_NANO / 1e6
# column -> highest value, what is expected
COLUMNS: Final = {
    "price_cpm": (PRICE_MAX_CPM, f"a number from 0 to {PRICE_MAX_CPM:,.0f}"),
    "pctr": (1.0, "a number from 0 to 1"),
    "click": (1.0, "0 or 1"),
}


def read_log(path: Path) -> NDArray[np.int64]:
    """The rows of a log, int64[n, 3]: floor (nano per impression, rounded up), click rate (ppb), click (0 or 1).

    A click rate is at least 1 ppb, for in an opportunity 0 means that none is stated.

    Raises ConfigError that names the file, the line, the column and the value.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"population.log: {path} cannot be read: {reason}") from None
    header = lines[0].split("\t") if lines else []
    missing = [name for name in COLUMNS if header.count(name) != 1]
    if missing:
        found = ", ".join(header)[:60] or "nothing"
        raise ConfigError(f"{path}:1: found {found}: expected a tab-separated header with {missing[0]} once")
    if len(lines) < 2:
        raise ConfigError(f"{path}: expected at least one line after the header")
    places = [header.index(name) for name in COLUMNS]
    rows = np.zeros((len(lines) - 1, len(COLUMNS)), np.int64)
    for number, line in enumerate(lines[1:]):
        cells = line.split("\t")
        try:
            price, pctr, click = (float(cells[place]) for place in places)
            good = 0 <= price <= PRICE_MAX_CPM and 0 <= pctr <= 1 and click in (0, 1)
        except (ValueError, IndexError):
            good = False
        if not good:
            raise _refusal(path, number + 2, cells, places)
        rows[number] = (mk.cpm_up(price), max(1, round(pctr * 1e9)), int(click))
    return rows


def _refusal(path: Path, line: int, cells: list[str], places: list[int]) -> ConfigError:
    """The first cell of a line that cannot be used, as an error."""
    for place, (name, (most, expected)) in zip(places, COLUMNS.items(), strict=True):
        text = cells[place] if place < len(cells) else None
        try:
            number = float(text or "")
        except ValueError:
            number = float("nan")
        if not isfinite(number) or not 0 <= number <= most or (name == "click" and number not in (0, 1)):
            return ConfigError(f"{path}:{line}: {name} = {text if text is None else text[:40]!r}: expected {expected}")
    raise AssertionError("a line without a bad cell was refused")
