"""The screen of `rentier reserve`: what was found, a table of reserves, the lines to paste."""

from typing import Final

from exchange.reserve.suggest import Change, Report, Suggestion

WIDTH: Final = 100  # columns
ROWS: Final = 9  # of the table of reserves
BAR: Final = 34
LISTED: Final = 20  # groups shown, the largest first


def render(report: Report) -> str:
    """A report as text, at most 100 columns wide."""
    s, money = report.whole, report.currency
    lines = [
        f"{s.auctions:,} second-price auctions, {s.sold:.1%} sold, {s.revenue_cpm:.4f} {money} per 1,000; "
        f"floors {s.floor_mean_cpm:.3f} CPM on average"
    ]
    lines += _fitted(s) + _advice(s, money) + _table(s)
    if report.by:
        lines += ["", *_groups(report)]
    if report.notes:
        lines += ["", *(line for note in report.notes for line in _wrap(f"note: {note}"))]
    pasted = config_lines(report)
    if pasted:
        lines += ["", "to paste into the config:", "", *pasted]
    return "\n".join(line.rstrip()[:WIDTH] for line in lines)


def config_lines(report: Report) -> list[str]:
    """What to write into the config, TOML; a group that no target can name is a comment. Nothing without a gain."""
    lines: list[str] = []
    for s in report.groups or [report.whole]:
        if s.reserve_cpm is None or s.advice not in ("set", "lower"):
            continue
        if s.advice == "lower":
            lines.append(f"# {s.group}: floors of {s.reserve_cpm:.6g} in place of those in use; a reserve only raises")
        elif s.group != "all" and not s.target:
            lines.append(f"# {s.group}: no target names it; a floor of {s.reserve_cpm:.6g} belongs into its requests")
        else:
            target = [f"target = '{s.target}'"] if s.target else []
            lines += ["[[auction.reserve]]", *target, f"floor_cpm = {s.reserve_cpm:.6f}".rstrip("0"), ""]
            lines[-2] += "0" if lines[-2].endswith(".") else ""
    return lines[:-1] if lines and not lines[-1] else lines


def _fitted(s: Suggestion) -> list[str]:
    """The fit and what it was chosen over."""
    if not s.family:
        return []
    told = {
        "uniform": "uniform between {0:.4g} and {1:.4g} CPM",
        "exponential": "exponential, mean {0:.4g} CPM",
        "lognormal": "log-normal, mu {0:.4g}, sigma {1:.4g}",
        "empirical": "empirical, median {4:.4g} CPM, deciles {0:.4g} to {8:.4g}",
    }
    values = next(iter(s.parameters.values()))
    shape = told[s.family].format(*(values if isinstance(values, list) else [values]))
    others = [f"{name} {aic - s.aic[s.family]:+,.0f}" for name, aic in s.aic.items() if name != s.family]
    behind = f" (AIC: {', '.join(others)})" if others and s.aic[s.family] < float("inf") else ""
    return _wrap(f"{s.bids:,} bids fitted: {shape}{behind}")


def _advice(s: Suggestion, money: str) -> list[str]:
    """The suggestion, its effect and its reasons."""
    if s.reserve_cpm is None:
        return ["", "no suggestion", *_wrap(s.why)]
    verdict = {"set": "set it", "lower": "lower the floors to it", "keep": "leave the floors as they are"}[s.advice]
    lines = [
        "",
        f"reserve {s.reserve_cpm:.4g} CPM (95 %: {s.reserve_low_cpm:.4g} to {s.reserve_high_cpm:.4g}): {verdict}",
        *_wrap(s.why),
    ]
    if s.change is not None and s.advice != "lower":
        lines += _effect("on top of the logged floors", s.change, s, money)
        if s.fitted_change_cpm is not None:
            lines.append(f"  {_money(s.fitted_change_cpm, s)} expected by the fitted distribution")
    if s.in_place is not None and (s.floors_above > 0 or s.advice == "lower"):
        lines += _effect("in place of the logged floors", s.in_place, s, money)
    if s.hindsight_cpm is not None and s.hindsight_change_cpm is not None:
        lines.append(f"best single floor in hindsight {s.hindsight_cpm:.4g}: {_money(s.hindsight_change_cpm, s)}")
    return lines


def _effect(what: str, change: Change, s: Suggestion, money: str) -> list[str]:
    """Lines that state a change of revenue and its two intervals."""
    new = f"{_money(change.next_low_cpm, s)} to {_money(change.next_high_cpm, s)}"
    return [
        f"{what}: {_money(change.cpm, s)} (95 %: {_money(change.low_cpm, s)} to {_money(change.high_cpm, s)})",
        f"  {change.cpm:+.4f} {money} per 1,000; sold {s.sold:.1%} -> {change.sold:.1%}; as many new auctions: {new}",
    ]


def _money(cpm: float, s: Suggestion) -> str:
    """A change as a share of the logged revenue; where there was none, as it is."""
    return f"{cpm / s.revenue_cpm:+.1%}" if s.revenue_cpm else f"{cpm:+.4f}"


def _table(s: Suggestion) -> list[str]:
    """Some points of the curve with bars; the suggested one among them is marked."""
    if not s.curve:
        return []
    step = max(1, (len(s.curve) - 1) // (ROWS - 1))
    shown = [p for k, p in enumerate(s.curve) if k % step == 0 or p.reserve_cpm == s.reserve_cpm]
    most = max(p.revenue_cpm for p in shown) or 1.0
    lines = ["", f"{'reserve':>10}  {'revenue per 1,000':>17}  {'by the fit':>10}  {'sold':>6}"]
    for p in shown:
        fitted = "" if p.fitted_cpm is None else f"{p.fitted_cpm:.4f}"
        mark = "<" if p.reserve_cpm == s.reserve_cpm else ""
        bar = "#" * round(BAR * p.revenue_cpm / most)
        lines.append(f"{p.reserve_cpm:>10.4f}  {p.revenue_cpm:>17.4f}  {fitted:>10}  {p.sold:>6.1%}  {bar} {mark}")
    return lines


def _groups(report: Report) -> list[str]:
    """One line a group."""
    lines = [f"{report.by:<24} {'auctions':>10} {'sold':>6} {'reserve':>8}  {'change (95 %)':<28} advice"]
    for s in report.groups[:LISTED]:
        name = s.group if len(s.group) <= 24 else s.group[:21] + "..."
        reserve = "" if s.reserve_cpm is None else f"{s.reserve_cpm:.4g}"
        change = s.in_place if s.advice == "lower" else s.change
        told = ""
        if change is not None:
            told = f"{_money(change.cpm, s)} ({_money(change.low_cpm, s)} to {_money(change.high_cpm, s)})"
        lines.append(f"{name:<24} {s.auctions:>10,} {s.sold:>6.1%} {reserve:>8}  {told:<28} {s.advice}")
    more = len(report.groups) - LISTED
    return [*lines, *([f"... and {more} more"] if more > 0 else [])]


def _wrap(text: str) -> list[str]:
    """Lines of at most WIDTH columns, broken between words."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append("  " + word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip() if len(lines) == 1 else f"{lines[-1]} {word}"
    return lines
