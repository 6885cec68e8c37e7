"""Charts as SVG that stands in a page: drawn for the width of a phone, coloured by the page's CSS, with words for alt.

Classes: `s0`..`s5` the series, `grid`, `axis`, `mark`, `diagonal`, `whisker`; text has none but `end` and `mid`.
"""

import math
from collections.abc import Callable
from html import escape
from typing import Final

from exchange.report.numbers import decimals, printable
from exchange.report.shape import UNITS, Axis, Chart, Point, Series
from exchange.report.words import Words

WIDE: Final = 400.0  # units of the drawing; a phone shows about one a pixel
TALL: Final = 260.0
LEFT: Final = 58.0
RIGHT: Final = 22.0
TOP: Final = 10.0
BOTTOM: Final = 44.0
ROW: Final = 36.0  # a bar with its name above it
COLOURS: Final = 6
NAME_MAX: Final = 34

Scale = Callable[[float], float]


def draw(chart: Chart, words: Words) -> str:
    """The drawing as one `<svg>` element; an empty text where there is nothing to draw."""
    if not any(series.points for series in chart.series):
        return ""
    body, height = (_bars if chart.kind in ("bars", "steps") else _curves)(chart, words)
    label = escape(printable(f"{words.say(chart.title)}. {words.tell(chart.alt)}"), quote=True)
    legend = _legend(chart, words)
    return (
        f'<svg viewBox="0 0 {WIDE:g} {height:g}" role="img" aria-label="{label}" class="{chart.kind}">'
        f"{''.join(body)}</svg>{legend}"
    )


def _legend(chart: Chart, words: Words) -> str:
    """Which colour is what, where there is more than one."""
    if len(chart.series) < 2:
        return ""
    names = (
        f'<li><i class="s{k % COLOURS}"></i>{escape(printable(words.say(s.name)))}</li>'
        for k, s in enumerate(chart.series)
    )
    return f'<ul class="legend">{"".join(names)}</ul>'


def _said(chart: Chart, text: str, words: Words) -> str:
    return words.say(text) if chart.translate else text


def _axis_title(axis: Axis, words: Words) -> str:
    unit = words.unit(axis.unit)
    return words.say(axis.title) + (f" ({unit})" if unit and unit != words.say(axis.title) else "")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    shown = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{shown}>{escape(printable(text))}</text>'


# ---- bars ------------------------------------------------------------------------------------------------------


def _bars(chart: Chart, words: Words) -> tuple[list[str], float]:
    """Bars that lie, each under its name and value; those of "steps" begin where what is left ends."""
    names = list(dict.fromkeys(str(point.x) for series in chart.series for point in series.points))
    ends = [end for series in chart.series for point in series.points for end in (point.y, point.high or 0.0)]
    top = max([*ends, 0.0]) or 1.0
    low = min([*ends, 0.0])
    scale: Scale = lambda y: (y - low) / (top - low) * (WIDE - 2)  # noqa: E731
    digits = decimals([point.y for series in chart.series for point in series.points], chart.y.unit)
    body, y, left = [], 0.0, 0.0
    for name in names:
        shown = [(k, p) for k, series in enumerate(chart.series) for p in series.points if str(p.x) == name]
        body.append(_text(0, y + 13, _name(chart, shown[0][1], words)))
        if len(chart.series) == 1:
            body.append(_text(WIDE, y + 13, words.measured(shown[0][1].y, chart.y.unit, digits), "end"))
        y += 18
        for k, point in shown:
            start, end = (0.0, point.y)
            if chart.kind == "steps" and name != names[0]:
                start, end = left - point.y, left
            left = end if chart.kind != "steps" or name == names[0] else start
            body.append(_bar(scale, start, end, y, k, point))
            if len(chart.series) > 1:
                number = words.number(point.y, chart.y.unit, digits)
                x = scale(max(start, end)) + 4
                inside = x > WIDE - 60
                body.append(_text(WIDE if inside else x, y + 10, number, "end over" if inside else ""))
                y += 14
        y += ROW - 18 if len(chart.series) == 1 else 8
    body.append(_text(0, y + 10, _axis_title(chart.y, words), "small"))
    return body, y + 16


def _name(chart: Chart, point: Point, words: Words) -> str:
    text = _said(chart, point.x, words) if isinstance(point.x, str) else words.number(point.x, chart.x.unit)
    return text if len(text) <= NAME_MAX else f"{text[: NAME_MAX - 1]}…"


def _bar(scale: Scale, start: float, end: float, y: float, series: int, point: Point) -> str:
    x, width = scale(min(start, end)), abs(scale(end) - scale(start))
    drawn = f'<rect class="s{series % COLOURS}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="11"/>'
    if point.low is None or point.high is None:
        return drawn
    a, b = scale(point.low), scale(point.high)
    return (
        f'{drawn}<path class="whisker" d="M{a:.1f} {y + 5.5:.1f}H{b:.1f}M{a:.1f} {y + 2:.1f}v7M{b:.1f} {y + 2:.1f}v7"/>'
    )


# ---- curves ----------------------------------------------------------------------------------------------------


def _curves(chart: Chart, words: Words) -> tuple[list[str], float]:
    """Lines over two axes with ticks and units; Lorenz curves beside the diagonal of equal shares."""
    points = [point for series in chart.series for point in series.points]
    named = [str(p.x) for p in chart.series[0].points] if isinstance(points[0].x, str) else []
    at: dict[str, float] = {name: float(k) for k, name in enumerate(named)}

    def x_of(point: Point) -> float:
        return at.get(point.x, 0.0) if isinstance(point.x, str) else float(point.x)

    xs = [x_of(p) for p in points] + ([] if named else [mark.x for mark in chart.marks])
    ys = [y for p in points for y in (p.y, p.low, p.high) if y is not None]
    lorenz = chart.kind == "lorenz"
    x_ticks = list(at.values()) if named else [0, 0.25, 0.5, 0.75, 1] if lorenz else _ticks(xs, chart.x.log, 5)
    y_ticks = [0, 0.25, 0.5, 0.75, 1] if lorenz else _ticks(ys if chart.y.log else [0.0, *ys], chart.y.log, 5)
    height = WIDE - RIGHT - LEFT + TOP + BOTTOM if lorenz else TALL
    x_scale = _scale([*xs, *([] if named else x_ticks)], LEFT, WIDE - RIGHT, chart.x.log)
    y_scale = _scale([*ys, *y_ticks], height - BOTTOM, TOP, chart.y.log)
    every = max(1, math.ceil(len(named) / 6))
    body = []
    digits = _tick_digits(y_ticks, chart.y.unit)
    for tick in y_ticks:
        y = y_scale(tick)
        body.append(f'<path class="grid" d="M{LEFT:g} {y:.1f}H{WIDE - RIGHT:g}"/>')
        body.append(_text(LEFT - 5, y + 4, words.number(tick, chart.y.unit, digits), "end"))
    digits = _tick_digits(x_ticks, chart.x.unit)
    for k, tick in enumerate(x_ticks):
        label = (_said(chart, named[k], words) if k % every == 0 else "") if named else words.number(
            tick, chart.x.unit, digits)  # fmt: skip
        body.append(_text(x_scale(tick), height - BOTTOM + 16, label, "mid"))
    body.append(f'<path class="axis" d="M{LEFT:g} {TOP:g}V{height - BOTTOM:g}H{WIDE - RIGHT:g}"/>')
    body.append(_text((LEFT + WIDE - RIGHT) / 2, height - 8, _axis_title(chart.x, words), "mid"))
    body.append(_text(0, 0, _axis_title(chart.y, words), "mid").replace(
        "<text", f'<text transform="translate(11 {(TOP + height - BOTTOM) / 2:.1f}) rotate(-90)"', 1))  # fmt: skip
    if lorenz:
        body.append(
            f'<path class="diagonal" d="M{x_scale(0):.1f} {y_scale(0):.1f}L{x_scale(1):.1f} {y_scale(1):.1f}"/>'
        )
    for mark in chart.marks if not named else ():
        body += _mark(x_scale(mark.x), height, words.say(mark.title))
    for k, series in enumerate(chart.series):
        body += _line(series, k, lambda p: (x_scale(x_of(p)), y_scale(p.y)), y_scale)
    return body, height


def _mark(x: float, height: float, title: str) -> list[str]:
    right = x > WIDE / 2
    return [
        f'<path class="mark" d="M{x:.1f} {TOP:g}V{height - BOTTOM:g}"/>',
        _text(x - 4 if right else x + 4, TOP + 10, title, "end" if right else ""),
    ]


def _line(series: Series, k: int, place: Callable[[Point], tuple[float, float]], y_scale: Scale) -> list[str]:
    spots = [place(point) for point in series.points]
    if not spots:
        return []
    out = []
    for (x, _), point in zip(spots, series.points, strict=True):
        if point.low is not None and point.high is not None:
            out.append(f'<path class="whisker" d="M{x:.1f} {y_scale(point.low):.1f}V{y_scale(point.high):.1f}"/>')
    out.append(f'<path class="line s{k % COLOURS}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in spots)}"/>')
    if len(spots) <= 30:
        out += [f'<circle class="s{k % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in spots]
    return out


def _scale(values: list[float], low: float, high: float, log: bool) -> Scale:
    """Where a value lies between two edges of the drawing."""
    inside = [v for v in values if v > 0] if log else values
    bottom, top = min(inside, default=0.0), max(inside, default=1.0)
    if log:
        a, b = math.log(bottom or 1.0), math.log(top or 1.0)
        return lambda v: low + (high - low) * ((math.log(max(v, bottom)) - a) / (b - a) if b > a else 0.5)
    return lambda v: low + (high - low) * ((v - bottom) / (top - bottom) if top > bottom else 0.5)


def _ticks(values: list[float], log: bool, n: int) -> list[float]:
    """Round numbers across the values."""
    low, high = min(values), max(values)
    if log:
        low = min((v for v in values if v > 0), default=1.0)
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(max(high, low)))
        step = max(1, math.ceil((last - first) / n))
        return [10.0**k for k in range(first, last + 1, step)]
    if high <= low:
        return [low]
    raw = (high - low) / n
    power = 10 ** math.floor(math.log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw)
    return [step * k for k in range(math.floor(low / step), math.ceil(high / step - 1e-9) + 1)]


def _tick_digits(ticks: list[float], unit: str) -> int:
    """Decimals that tell ticks apart."""
    if UNITS[unit].form == "share":
        return 0 if all(abs(100 * t - round(100 * t)) < 1e-6 for t in ticks) else 1
    for digits in range(8):
        if all(abs(t - round(t, digits)) < 1e-9 * max(1.0, abs(t)) for t in ticks):
            return digits
    return 8
