"""The screen of `rentier theory`: one line a measure, 100 columns."""

from collections.abc import Sequence
from typing import Final

from exchange.theory.bench import Line

WIDTH: Final = 100
SETTING: Final = 38
MEASURE: Final = 13


def head() -> str:
    """The headings."""
    numbers = f"{'theory':>10} {'measured':>10} {'std err':>9} {'z':>6}"
    return f"{'id':<5} {'setting':<{SETTING}} {'measure':<{MEASURE}} {numbers}"


def render(line: Line, first: bool) -> list[str]:
    """One measure; only the first of a row names its setting, which may take more than one line of text."""
    setting = _wrap(line.setting or line.file, SETTING) if first else [""]
    theory = _number(line.theory) if line.theory is not None else "-"
    error = "exact" if line.error == 0 else f"{line.error:.6f}"
    z = f"{round(line.z, 1) + 0.0:+.1f}" if line.z is not None else ""
    what, _, whose = line.measure.partition("@")
    name = f"{what} {whose.partition('/')[0]}".strip() + (f" {line.auctions}" if line.form == "regret" else "")
    long = len(line.id) > 5
    text = (
        f"{line.id if first and not long else '':<5} {setting[0]:<{SETTING}} {name[:MEASURE]:<{MEASURE}} {theory:>10} "
        f"{_number(line.measured):>10} {error:>9} {z:>6}"
    )
    lines = [line.id[:WIDTH]] if first and long else []
    lines.append(text.rstrip())
    lines += [f"{'':<5} {more}" for more in setting[1:]]
    if line.within is False:
        lines.append(f"{'':<5} ^ out of tolerance" + (f" ({line.tolerance:g})" if line.tolerance is not None else ""))
    return lines


def foot(lines: Sequence[Line]) -> str:
    """How many measures agree with theory, and which rows do not."""
    judged = [line for line in lines if line.within is not None]
    out = sorted({line.id for line in judged if not line.within})
    text = f"{sum(bool(line.within) for line in judged)} of {len(judged)} within tolerance"
    return text + (f"; out: {', '.join(out)}" if out else "")


def _number(x: float) -> str:
    """Six decimals, fewer where the number is large."""
    return f"{x:.6f}" if abs(x) < 100 else f"{x:,.3f}"


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, broken at blanks."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()[:width]
    return lines
