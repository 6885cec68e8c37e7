"""The tables of docs/reports.md, made from the reports themselves: `python -m tests.report_docs` prints them."""

from exchange.report import command
from exchange.report.asking import Books
from exchange.report.shape import UNITS, Report
from tests import naive_reports as naive


def rows_of(report: Report) -> list[str]:
    """One line a figure: title, unit, definition, formula."""
    lines = []
    for f in report.figures:
        unit = UNITS[f.unit].text.format(currency="currency") or "-"
        formula = f.formula.replace("|", "\\|")
        lines.append(f"| {f.title} | {unit} | {f.definition} | `{formula}` |")
    return lines


def section(name: str, books: Books) -> str:
    """The figures of one report as a table."""
    rows = rows_of(command.build(name, books))
    return "\n".join(["| figure | unit | definition | formula |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    made = Books(naive.varied())
    for each in ("summary", "waterfall", "price_list", "user_month"):
        print(f"\n### {each}\n\n{section(each, made)}")
