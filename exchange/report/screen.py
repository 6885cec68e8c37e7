"""A report on a terminal: at most 100 columns, bars and curves as characters where people would rather look."""

import textwrap
from collections.abc import Sequence
from typing import Final

from exchange.report.numbers import decimals, printable
from exchange.report.shape import UNITS, Cell, Chart, Column, Figure, Report, Series, Table
from exchange.report.small import sum_row
from exchange.report.words import Words

WIDTH: Final = 100
LISTED: Final = 15  # rows of a table
NAME_MAX: Final = 30  # columns of a name
BAR: Final = 14  # columns of a bar beside a number
BLOCKS: Final = " ▏▎▍▌▋▊▉█"
LEVELS: Final = "▁▂▃▄▅▆▇█"


def render(report: Report, lang: str = "en") -> str:
    """The report as text."""
    words = Words(lang, report.currency)
    head = textwrap.wrap(f"{words.titled(report)}: {words.say(report.question)}", WIDTH)
    lines = [*head, _source(report, words), ""]
    for answer in report.answers:
        lines.append(words.say(answer.question))
        for sentence in answer.sentences:
            lines += textwrap.wrap(words.tell(sentence), WIDTH - 2, initial_indent="  ", subsequent_indent="  ")
    if report.answers:
        lines.append("")
    lines += _figures(report.figures, words)
    for chart in report.charts:
        lines += draw(chart, words)
    for table in report.tables:
        lines += table_lines(table, words)
    for note in report.notes:
        lines += textwrap.wrap(words.tell(note), WIDTH)
    return "\n".join(_cut(printable(line.rstrip()), WIDTH) for line in lines).rstrip() + "\n"


def _source(report: Report, words: Words) -> str:
    """Of which ledger, over which days, how many rows."""
    days = " - ".join(dict.fromkeys(day for day in (report.since, report.until) if day))
    count = words.measured(report.rows, "wins")
    return "   ".join(part for part in (report.ledger, days, count if report.ledger or days else "") if part)


def _figures(figures: Sequence[Figure], words: Words) -> list[str]:
    if not figures:
        return []
    cells = []
    for figure in figures:
        interval = ""
        if figure.low is not None and figure.high is not None:
            interval = f"({words.number(figure.low, figure.unit)} .. {words.number(figure.high, figure.unit)}, 95 %)"
        value = words.number(figure.value, figure.unit)
        cells.append((words.say(figure.title), value, words.unit(figure.unit) if figure.value is not None else "",
                      interval))  # fmt: skip
    width, wide = max(len(c[0]) for c in cells), max(len(c[1]) for c in cells)
    return [f"{name:<{width}}  {value:>{wide}} {unit}  {low}" for name, value, unit, low in cells] + [""]


# ---- tables ----------------------------------------------------------------------------------------------------


def table_lines(table: Table, words: Words) -> list[str]:
    """A table under its title: numbers to the right, names to the left, an empty line behind it."""
    title = [words.say(table.title)]
    if not table.rows:
        return [*title, f"  {words.say('nothing to show')}", ""]
    rows = [*table.rows[:LISTED]]
    more = len(table.rows) - len(rows)
    if table.total and len(table.rows) > 1:
        rows.append(sum_row(table, table.rows, "total"))
    columns = [_column(table, ix, column, [row[ix] for row in rows], words) for ix, column in enumerate(table.columns)]
    while sum(len(lines[0]) + 2 for lines in columns) - 2 > WIDTH and len(columns) > 2:
        columns.pop()  # what does not fit stands in the other formats
    head = [head_lines(column, words) for column in table.columns[: len(columns)]]
    tall = max(len(lines) for lines in head)
    for ix, lines in enumerate(columns):
        padded = [""] * (tall - len(head[ix])) + head[ix]
        left = table.columns[ix].role == "key" or UNITS[table.columns[ix].unit].form == "text"
        lines[:0] = [text.ljust(len(lines[0])) if left else text.rjust(len(lines[0])) for text in padded]
    body = ["  ".join(parts).rstrip() for parts in zip(*columns, strict=True)]
    if more > 0:
        body.append(words.say("... and {n} more").format(n=words.number(more, "count")))
    note = textwrap.wrap(words.say(table.note), WIDTH) if table.note else []
    return [*title, *body, *note, ""]


def head_lines(column: Column, words: Words) -> list[str]:
    """The head of a column: its name, and under it its unit."""
    unit = words.unit(column.unit) if UNITS[column.unit].form == "money" else ""
    width = 30 if column.role == "key" else 10
    return [
        *textwrap.wrap(words.say(column.head), width, break_long_words=False),
        *textwrap.wrap(unit, 10, break_long_words=False),
    ]


def _column(table: Table, ix: int, column: Column, cells: list[Cell], words: Words) -> list[str]:
    """The cells of one column, all of one width, a bar behind each where people would rather look."""
    digits = decimals([cell for cell in cells if not isinstance(cell, str)], column.unit)
    texts = [cell_text(table, column, cell, words, digits) for cell in cells]
    left = column.role == "key" or UNITS[column.unit].form == "text"
    wide = max(len(text) for text in [*texts, *head_lines(column, words)])
    lines = [text.ljust(wide) if left else text.rjust(wide) for text in texts]
    if not column.bar:
        return lines
    sizes = [max(0.0, float(c)) if isinstance(c, (int, float)) else 0.0 for c in cells]
    top = max(sizes[: len(table.rows[:LISTED])], default=0.0)
    return [
        f"{line} {bar(size, top) if k < len(table.rows) else ' ' * BAR}"
        for k, (line, size) in enumerate(zip(lines, sizes, strict=True))
    ]


def cell_text(table: Table, column: Column, cell: Cell, words: Words, digits: int | None = None) -> str:
    """One cell as it is read: names made printable and cut, our own words translated."""
    if isinstance(cell, str):
        ours = column.key in table.translate or cell in ("total", "others", "")
        text = words.say(cell) if ours else printable(cell)
        return _cut(text, NAME_MAX)
    own = column.role == "key" and UNITS[column.unit].form == "money"  # steps that double: each its own digits
    return words.number(cell, column.unit, None if own else digits)


def bar(size: float, top: float, width: int = BAR) -> str:
    """A bar of eighths of a column; `top` fills it."""
    eighths = round(8 * width * min(1.0, size / top)) if top > 0 else 0
    full, rest = divmod(eighths, 8)
    return ("█" * full + (BLOCKS[rest] if rest else "")).ljust(width)


# ---- charts ----------------------------------------------------------------------------------------------------


def draw(chart: Chart, words: Words) -> list[str]:
    """A chart as characters: bars beside names, a curve as one line of levels between its ends."""
    lines = [words.say(chart.title)]
    for series in chart.series:
        if series.points:
            name = words.say(series.name)
            curve = chart.kind in ("line", "lorenz")
            lines += _curve(chart, series, name, words) if curve else _bars(chart, series, name, words)
    lines += [f"  {words.say(mark.title)}: {words.number(mark.x, chart.x.unit)}" for mark in chart.marks]
    return [*lines, *textwrap.wrap(words.tell(chart.alt), WIDTH), ""]


def _bars(chart: Chart, series: Series, name: str, words: Words) -> list[str]:
    top = max((point.y for point in series.points), default=0.0)
    digits = decimals([point.y for point in series.points], chart.y.unit)
    rows = []
    for point in series.points:
        x = (words.say(point.x) if chart.translate else point.x) if isinstance(point.x, str) else words.number(
            point.x, chart.x.unit)  # fmt: skip
        rows.append((_cut(x, NAME_MAX), words.number(point.y, chart.y.unit, digits), bar(point.y, top, 40)))
    width, wide = max(len(r[0]) for r in rows), max(len(r[1]) for r in rows)
    head = [f"  {name}"] if len(chart.series) > 1 else []
    unit = words.unit(chart.y.unit)
    return [*head, *(f"  {x:<{width}}  {y:>{wide}} {unit}  {drawn}" for x, y, drawn in rows)]


def _curve(chart: Chart, series: Series, name: str, words: Words) -> list[str]:
    points = sorted((float(p.x), p.y) for p in series.points if not isinstance(p.x, str))
    if not points:
        return []
    low, high = min(y for _, y in points), max(y for _, y in points)
    xs = [x for x, _ in points]
    cells = []
    for k in range(50):
        x = xs[0] + (xs[-1] - xs[0]) * k / 49
        y = next((y for px, y in points if px >= x - 1e-12), points[-1][1])
        cells.append(LEVELS[min(7, int(8 * (y - low) / (high - low)))] if high > low else LEVELS[3])
    ends = [
        f"{words.number(y, chart.y.unit)} {words.say('at')} {words.number(x, chart.x.unit)}"
        for x, y in (points[0], points[-1])
    ]
    return [f"  {name}", f"    {ends[0]}  {''.join(cells)}  {ends[1]}"]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
