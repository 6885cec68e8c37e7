"""The plot of a tournament as one self-contained SVG: two panels, a row per rule, best first.

Left the surplus: a pale dot per seed, the mean with its own 95 % interval. Right the same contenders as differences
to the base on the same seeds, which is what common random numbers make exact. Dark on light, no script, no font file.
"""

from collections.abc import Iterable
from html import escape
from math import ceil, floor, log10
from statistics import median
from typing import Final

from exchange.tournament.table import Row, Table

WIDTH: Final = 960
ROW: Final = 26  # height of a line
TOP, BOTTOM = 92, 58
LABELS: Final = 190  # width left of the panels
PANEL: Final = 338
GAP: Final = 44
LABEL_MAX: Final = 21  # characters
TICKS: Final = 5
FAR: Final = 3.0  # a mean further below the best than this many times the median's distance is drawn at the edge
INK, PALE, GRID = "#1a1a1a", "#5b6470", "#d9dde2"
BETTER, WORSE, SAME = "#1b7a3d", "#b3261e", "#5b6470"


class Axis:
    """A linear axis from `low` to `high` over the pixels `left` .. `left + PANEL`, with round ticks."""

    def __init__(self, low: float, high: float, left: float) -> None:
        if high <= low:
            low, high = low - 1, high + 1
        step = _round_up((high - low) / TICKS)
        self.low, self.high, self.left = floor(low / step) * step, ceil(high / step) * step, left
        self.ticks = [self.low + k * step for k in range(round((self.high - self.low) / step) + 1)]
        self.digits = max(0, -floor(log10(step)))

    def at(self, x: float) -> float:
        """The pixel of a number, within the panel."""
        share = (x - self.low) / (self.high - self.low)
        return self.left + PANEL * min(1.0, max(0.0, share))


def draw(table: Table) -> str:
    """The SVG text of a finished tournament."""
    rows, money = table.rows, escape(table.currency)
    bottom = TOP + ROW * len(rows)
    own = _axis([row.surplus for row in rows], [row.surplus_half for row in rows], LABELS, _seeds(rows))
    versus = _axis([row.vs_base for row in rows], [row.vs_base_half for row in rows], LABELS + PANEL + GAP, [0.0])
    last = table.first_seed + table.seeds - 1
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" width="{WIDTH}" '
        f'height="{bottom + BOTTOM}" font-family="system-ui, sans-serif" font-size="13" fill="{INK}" role="img">',
        f"<title>Surplus of {len(rows)} bidding rules in the seat of {escape(table.seat)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _text(16, 28, f"{len(rows)} rules in the seat of {table.seat}", size=17, weight="600"),
        _text(16, 50, f"{table.format}, seeds {table.first_seed} to {last}, {table.visits:,} visits each", colour=PALE),
        *_panel(own, bottom, "surplus", f"surplus per seed, {money} (dot: a seed)"),
        *_panel(versus, bottom, f"difference to {table.base}", f"difference on the same seeds, {money}, 95 % interval"),
    ]
    if versus.low <= 0 <= versus.high:
        x = versus.at(0)
        lines.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{INK}" stroke-width="1.2"/>')
    for k, row in enumerate(rows):
        y = TOP + ROW * k + ROW / 2
        lines.append(_text(LABELS - 12, y + 4.5, f"{row.rank}  {_cut(row.rule)}", anchor="end"))
        lines += [
            f'<circle cx="{own.at(x):.1f}" cy="{y:.1f}" r="2.4" fill="{PALE}" fill-opacity="0.3"/>'
            for x in row.by_seed
            if own.low <= x <= own.high
        ]
        lines += _mark(own, y, row.surplus, row.surplus_half, INK)
        lines += _mark(versus, y, row.vs_base, row.vs_base_half, _colour(row))
    return "\n".join([*lines, "</svg>\n"])


def _axis(means: list[float], halves: list[float], left: float, more: Iterable[float]) -> Axis:
    """An axis that shows the means and their intervals; those far below the rest go to its edge."""
    best = max(means)
    least = best - FAR * (best - median(means)) if len(means) > 2 else min(means)
    near = [(m, h) for m, h in zip(means, halves, strict=True) if m >= least] or list(zip(means, halves, strict=True))
    low = min(m - h for m, h in near)
    shown = [x for x in more if x >= low]
    return Axis(min([low, *shown]), max([*(m + h for m, h in near), *shown]), left)


def _panel(axis: Axis, bottom: float, title: str, label: str) -> list[str]:
    """Grid, ticks, title and label of one panel."""
    lines = [_text(axis.left, TOP - 14, _cut(title, 46), weight="600")]
    for tick in axis.ticks:
        x = axis.at(tick)
        lines.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{GRID}"/>')
        lines.append(_text(x, bottom + 18, f"{tick:.{axis.digits}f}", anchor="middle", colour=PALE, size=12))
    lines.append(_text(axis.left + PANEL / 2, bottom + 42, label, anchor="middle", colour=PALE))
    return lines


def _mark(axis: Axis, y: float, mean: float, half: float, colour: str) -> list[str]:
    """A mean with its interval, or an arrow with the number when it lies beyond the axis."""
    if mean < axis.low:
        x = axis.left
        arrow = f'<path d="M{x:.1f} {y:.1f}l8 -5v10z" fill="{colour}"/>'
        return [arrow, _text(x + 12, y + 4.5, f"{mean:.{axis.digits + 1}f}", colour=colour, size=12)]
    a, b, x = axis.at(mean - half), axis.at(mean + half), axis.at(mean)
    return [
        f'<path d="M{a:.1f} {y:.1f}H{b:.1f}M{a:.1f} {y - 4:.1f}v8M{b:.1f} {y - 4:.1f}v8" stroke="{colour}" '
        'stroke-width="1.6" fill="none"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>',
    ]


def _colour(row: Row) -> str:
    """Better, worse, or not to be told from the base."""
    if abs(row.vs_base) <= row.vs_base_half:
        return SAME
    return BETTER if row.vs_base > 0 else WORSE


def _seeds(rows: list[Row]) -> list[float]:
    return [x for row in rows for x in row.by_seed]


def _round_up(x: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** floor(log10(x))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= x * (1 - 1e-9))


def _cut(text: str, most: int = LABEL_MAX) -> str:
    return text if len(text) <= most else f"...{text[3 - most :]}"


def _text(
    x: float, y: float, text: str, size: int = 13, weight: str = "400", anchor: str = "start", colour: str = INK
) -> str:
    """A line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
