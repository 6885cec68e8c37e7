"""The screen of `rentier simulate`: how fast it went, what was sold, what each campaign spent, what a rent costs."""

from collections.abc import Sequence
from typing import Any, Final

from exchange.books.run_summary import render as render_report
from exchange.books.run_summary import summarise
from exchange.simulate.run import Run

WIDTH: Final = 100  # columns
LISTED: Final = 20  # campaigns shown, largest spend first
NANO: Final = 1e9


def render(run: Run) -> str:
    """A finished run as text, at most 100 columns wide; with a ledger, its whole report behind the campaigns."""
    counted, money = run.counters(), run.venue.config.exchange.currency
    rate = run.auctions / max(run.elapsed_s, 1e-9)
    lines = [
        f"{run.auctions:,} visits, {counted['n_auctions']:,} auctions in {run.elapsed_s:.2f} s: {rate:,.0f} visits/s   "
        f"seed {run.venue.config.exchange.seed}",
        "",
        *_campaigns(run, money),
    ]
    if run.ledger is None:
        return "\n".join([*lines, *_totals(counted, money)])
    return "\n".join(lines) + "\n" + render_report(summarise(run.ledger)).rstrip()


def _campaigns(run: Run, money: str) -> list[str]:
    """Spend against budget of each campaign."""
    rules = {f"{a.name}/{c.name}": c.rule for a in run.venue.config.advertiser for c in a.campaign}
    limited = {f"{a.name}/{c.name}" for a in run.venue.config.advertiser for c in a.campaign if c.budget}
    rows = []
    spent = sorted(run.venue.money().items(), key=lambda item: -item[1]["spent"])
    for name, m in spent[:LISTED]:
        budget = f"{m['budget'] / NANO:,.2f}" if name in limited else "none"
        used = f"{m['spent'] / m['budget']:.1%}" if name in limited else ""
        won = f"{m['wins'] / m['asked']:.1%}" if m["asked"] else ""
        rows.append(
            (name, rules[name], f"{m['spent'] / NANO:,.2f}", budget, used, f"{m['asked']:,}", f"{m['wins']:,}", won)
        )
    lines = _table(("campaign", "rule", f"spent {money}", "budget", "used", "asked", "wins", "won"), rows)
    more = len(spent) - LISTED
    return [*lines, *([f"... and {more} more campaigns"] if more > 0 else []), ""]


def _totals(counted: dict[str, Any], money: str) -> list[str]:
    """What the venue counted, for a run without a ledger."""
    auctions, sold, spend = counted["n_auctions"], counted["n_sold"], counted["billed_nano"]
    seen = counted["n_impressions"] + counted["n_views"]
    clicks, conversions = (counted[f"n_{what}"] + counted[f"n_billed_{what}"] for what in ("clicks", "conversions"))
    billed = counted["n_impressions"] + counted["n_billed_clicks"] + counted["n_billed_conversions"]
    cpm, ecpc, cpa = (spend / NANO / n if n else 0.0 for n in (seen / 1000, clicks, conversions))
    return [
        f"auctions {auctions:,}   sold {sold:,} ({sold / auctions if auctions else 0:.1%})   billed {billed:,}   "
        f"released {counted['n_releases']:,}",
        f"ads seen {seen:,}   clicks {clicks:,}   conversions {conversions:,}",
        f"spend {spend / NANO:,.2f} {money}   CPM {cpm:.3f}   eCPC {ecpc:.4f}   CPA {cpa:.4f}",
        "no ledger, so no split and no people: run with --ledger wins for the waterfall and the rents",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, texts (the first two columns) to the left, numbers to the right, cut to fit."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    spare = WIDTH - sum(widths[1:]) - 2 * (len(head) - 1)
    widths[0] = min(widths[0], max(spare, 8))
    lines = []
    for row in (head, *rows):
        first = row[0] if len(row[0]) <= widths[0] else row[0][: widths[0] - 3] + "..."
        cells = [first.ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(cells).rstrip()[:WIDTH])
    return lines
