"""The screen of a tournament: a ranked table of at most 100 columns, and how to read it."""

from textwrap import wrap
from typing import Final

from exchange.tournament.table import Row, Table

WIDTH: Final = 100  # columns
RULE_MAX: Final = 22
HEAD: Final = (
    "#", "rule", "surplus", "vs base", "+-", "value", "spend", "CPM", "CPC", "won", "rent", "budget",
)  # fmt: skip


def render(table: Table) -> str:
    """A finished tournament as text."""
    cells = [HEAD, *(_cells(row) for row in table.rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(HEAD))]
    widths[1] = min(widths[1], WIDTH - sum(widths) + widths[1] - len(HEAD) + 1)
    last = table.first_seed + table.seeds - 1
    rows: list[str] = []
    for row in cells:
        texts = [
            _short(cell, width).ljust(width) if k == 1 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        rows.append(" ".join(texts).rstrip())
    money = table.currency
    above = (
        f"{len(table.rows)} rules in the seat of {table.seat}, {table.format}, seeds {table.first_seed} to {last}, "
        f"{table.visits:,} visits each"
    )
    below = [
        f"surplus, value, spend: {money} per seed; surplus = value of what was seen - price of what was billed",
        f"vs base: mean difference to {_short(table.base)} on the same seeds, +- half its 95 % interval",
        f"won: of the auctions asked in; rent: thousandths of a {money} per person; budget: used",
        *table.notes,
    ]
    return "\n".join([*wrap(above, WIDTH), "", *rows, "", *(part for line in below for part in wrap(line, WIDTH))])


def number(x: float) -> str:
    """A number in seven characters at most, as exact as they allow."""
    for digits in (4, 3, 2, 1, 0):
        text = f"{x:.{digits}f}"
        if len(text) <= 7:
            return text
    return f"{x:.1e}"


def _cells(row: Row) -> tuple[str, ...]:
    """The texts of one line."""
    return (
        str(row.rank),
        _short(row.rule),
        number(row.surplus),
        f"{'+' if row.vs_base > 0 else ''}{number(row.vs_base)}",
        number(row.vs_base_half),
        number(row.value),
        number(row.spend),
        number(row.cpm),
        number(row.cpc) if row.clicks else "-",
        f"{row.win_rate:.1%}",
        number(1000 * row.rent_per_person),
        "-" if row.budget_use is None else f"{row.budget_use:.1%}",
    )


def _short(rule: str, most: int = RULE_MAX) -> str:
    """The name of a rule, its end kept when it is long."""
    return rule if len(rule) <= most else f"...{rule[3 - most :]}"
