"""Revenue against the reserve as a picture: one SVG file that needs nothing else."""

from html import escape
from math import floor, log10
from typing import Final

from exchange.reserve.suggest import Point, Suggestion

WIDTH: Final = 720
HEIGHT: Final = 400
LEFT: Final = 70
RIGHT: Final = 20
TOP: Final = 50
BOTTOM: Final = 50
TICKS: Final = 5


def svg(s: Suggestion, currency: str) -> str:
    """The curve of a suggestion: cleared again with its interval, the fit dashed, the reserve and today's revenue."""
    if not s.curve:
        return _page([_text(WIDTH / 2, HEIGHT / 2, "nothing to draw: " + s.why, "middle")])
    most_x = max(p.reserve_cpm for p in s.curve) or 1.0
    most_y = 1.05 * max(max(p.high_cpm, p.fitted_cpm or 0.0) for p in s.curve) or 1.0

    def x(cpm: float) -> float:
        return LEFT + cpm / most_x * (WIDTH - LEFT - RIGHT)

    def y(cpm: float) -> float:
        return HEIGHT - BOTTOM - cpm / most_y * (HEIGHT - TOP - BOTTOM)

    def line(points: list[tuple[float, float]], style: str) -> str:
        return f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" fill="none" {style}/>'

    band = [(x(p.reserve_cpm), y(p.high_cpm)) for p in s.curve] + [
        (x(p.reserve_cpm), y(p.low_cpm)) for p in reversed(s.curve)
    ]
    parts = [f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in band)}" fill="#9ecae1" fill-opacity="0.6"/>']
    for at in _ticks(most_y):
        parts.append(line([(x(0), y(at)), (x(most_x), y(at))], 'stroke="#ddd"'))
        parts.append(_text(LEFT - 8, y(at) + 4, f"{at:.6g}", "end"))
    parts += [_text(x(at), HEIGHT - BOTTOM + 18, f"{at:.6g}", "middle") for at in _ticks(most_x)]
    parts.append(line([(x(p.reserve_cpm), y(p.revenue_cpm)) for p in s.curve], 'stroke="#08519c" stroke-width="2"'))
    fitted = [p for p in s.curve if p.fitted_cpm is not None]
    if fitted:
        parts.append(line([(x(p.reserve_cpm), y(_fit(p))) for p in fitted], 'stroke="#d94801" stroke-dasharray="6 4"'))
    parts.append(
        line([(x(0), y(s.revenue_cpm)), (x(most_x), y(s.revenue_cpm))], 'stroke="#666" stroke-dasharray="2 3"')
    )
    title = f"{s.group}: revenue per 1,000 auctions ({currency}) against the reserve (CPM)"
    if s.reserve_cpm is not None:
        at = x(s.reserve_cpm)
        parts.append(line([(at, y(0)), (at, y(most_y))], 'stroke="#238b45" stroke-width="1.5"'))
        parts.append(_text(at + 5, TOP + 12, f"{s.reserve_cpm:.4g}", "start"))
    parts.append(_text(LEFT, 20, title, "start"))
    parts.append(
        _text(LEFT, 38, "line: logged auctions cleared again, 95 % band; dashed: the fit; dotted: today", "start")
    )
    return _page(parts)


def _ticks(most: float) -> list[float]:
    """Round numbers from 0 up to `most`, at most TICKS steps."""
    step = 10.0 ** floor(log10(most / TICKS))
    step *= next(k for k in (1, 2, 5, 10) if step * k * TICKS >= most)
    return [step * k for k in range(int(most / step) + 1)]


def _fit(point: Point) -> float:
    """The fit's value of a point that has one."""
    assert point.fitted_cpm is not None
    return point.fitted_cpm


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _page(parts: list[str]) -> str:
    """The parts in an SVG document."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *parts, "</svg>"]) + "\n"
