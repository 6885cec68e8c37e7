"""A report as CSV: one file, a block a table, figures first; numbers as machines read them, units beside them."""

import csv
import io

from exchange.rent.spreadsheet import guarded
from exchange.report.shape import Report
from exchange.report.words import Words


def render(report: Report, lang: str = "en") -> str:
    """Figures, then each table, then each chart's points, an empty line between them."""
    words = Words(lang, report.currency)
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")

    def row(*cells: object) -> None:
        write.writerow(["" if c is None else guarded(c) for c in cells])

    if report.figures:
        row("key", *(words.say(t) for t in ("figure", "value", "unit", "low", "high", "rows", "definition", "formula")))
        for f in report.figures:
            hidden = f.people is not None and isinstance(f.value, str)
            row(f.key, words.say(f.title), f.value, _unit("people" if hidden else f.unit, words), f.low, f.high, f.rows,
                words.say(f.definition), f.formula)  # fmt: skip
    for table in report.tables:
        row()
        row(words.say(table.title))
        row(*(_head(words.say(c.head), _unit(c.unit, words)) for c in table.columns))
        for cells in table.rows:
            row(*(
                words.say(cell) if isinstance(cell, str) and (c.key in table.translate or cell == "others") else cell
                for cell, c in zip(cells, table.columns, strict=True)
            ))  # fmt: skip
    for chart in report.charts:
        row()
        row(words.say(chart.title))
        row(words.say("series"), _head(words.say(chart.x.title), _unit(chart.x.unit, words)),
            _head(words.say(chart.y.title), _unit(chart.y.unit, words)), words.say("low"),
            words.say("high"))  # fmt: skip
        for series in chart.series:
            for p in series.points:
                x = words.say(p.x) if chart.translate and isinstance(p.x, str) else p.x
                row(words.say(series.name), x, p.y, p.low, p.high)
    if report.only:
        row()
        row(words.titled(report))
        for key, names in report.only.items():
            for name in names:
                row(words.say(key), name)
    return out.getvalue()


def _unit(unit: str, words: Words) -> str:
    return "0-1" if unit == "share" else words.unit(unit)


def _head(head: str, unit: str) -> str:
    return f"{head} ({unit})" if unit else head
