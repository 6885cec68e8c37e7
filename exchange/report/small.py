"""Small cells: what a report says of few people is not exported, so that nobody is found in it."""

from collections.abc import Collection
from itertools import combinations
from typing import Final

from msgspec.structs import replace

from exchange.report.shape import Amount, Cell, Chart, Column, Figure, Report, Series, Table, Text

SMALL_CELL: Final = 10  # people; groups with fewer are joined when a report is exported
OTHERS: Final = "others"


def suppress(report: Report, people: int = SMALL_CELL) -> Report:
    """The report with every group of fewer than `people` people joined into "others"; 0 leaves it as it is.

    A group's row stays with "<10" as its number of people and nothing else; its money is in the row "others". Cells
    about few of a group's people (`Column.few`) are left out likewise. So that no difference to a total gives a small
    group away, neither to that of the table nor to one that the same report has with fewer dimensions, the smallest
    groups that are not small join them: wherever a total can be had, at least `people` people in two groups are
    missing, or all of it is. Sentences and points of charts about fewer people are left out.
    """
    if not people:
        return report
    return replace(
        report,
        figures=[_figure(figure, people) for figure in report.figures],
        tables=(tables := [joined(table, people, _masked_elsewhere(report, table, people)) for table in report.tables]),
        cells=[],
        charts=[_chart(chart, tables, people) for chart in report.charts],
        answers=[
            replace(answer, sentences=[_sentence(text, people) for text in answer.sentences])
            for answer in report.answers
        ],
    )


def _sentence(text: Text, people: int) -> Text:
    if not text.people or text.people >= people:
        return text
    return Text("That is about fewer than {n} people, so it is not told.", {"n": Amount(people, "people")})


def _chart(chart: Chart, tables: list[Table], people: int) -> Chart:
    """A chart without the points of few people, and without those of the rows that a table masks."""
    table = next((table for table in tables if table.key == chart.of), None)
    masked = set[str]()
    if table is not None:
        at = _marker(table)
        masked = {str(row[0]) for row in table.rows if str(row[at]) in (OTHERS, f"<{people}")}
    series = [
        Series(each.name, [p for p in each.points if str(p.x) not in masked and not 0 < (p.people or people) < people])
        for each in chart.series
    ]
    left_out = sum(len(each.points) for each in chart.series) - sum(len(each.points) for each in series)
    if not left_out:
        return chart if not chart.alt.people else replace(chart, alt=_sentence(chart.alt, people))
    alt = Text("Points about fewer than {n} people are left out.", {"n": Amount(people, "people")})
    return replace(chart, series=series, alt=alt)


def _figure(figure: Figure, people: int) -> Figure:
    if figure.people is None or figure.people >= people:
        return figure
    rows = figure.rows if figure.rows is None or figure.rows >= people else None  # the few themselves, perhaps
    return replace(figure, value=None if figure.people == 0 else f"<{people}", low=None, high=None, rows=rows)


def joined(table: Table, people: int = SMALL_CELL, more: set[int] | None = None) -> Table:
    """A table whose small groups are joined; itself where it has none or its rows are not groups of people.

    more: rows that go to the others, however many people they have.
    """
    counts = _counts(table)
    small = {ix for ix, fewest in enumerate(counts) if 0 < fewest < people}
    hidden = _hidden(table, counts, small, people, more or ()) if small or more else set[int]()
    at = _marker(table)
    masked = {few: hidden | _hidden_of(table, few, people) for few in {column.few for column in table.columns} - {""}}
    if not hidden and not any(masked.values()):
        return table
    rows = [
        _masked(table, row, at, f"<{people}" if ix in small else OTHERS) if ix in hidden
        else [None if ix in masked.get(column.few, ()) else cell
              for cell, column in zip(row, table.columns, strict=True)]
        for ix, row in enumerate(table.rows)
    ]  # fmt: skip
    others = sum_row(table, [table.rows[ix] for ix in sorted(hidden)], OTHERS)
    for few, gone in masked.items():  # each column's others are those of which it says nothing
        apart = sum_row(table, [table.rows[ix] for ix in sorted(gone)], OTHERS)
        alike = [few == column.few and (column.role == "sum" or gone == hidden) for column in table.columns]
        blank = [few == column.few for column in table.columns]
        told = not gone or sum(_number(table.rows[ix][_at(table, few)]) for ix in gone) >= people
        others = [
            (a if told else None) if same else None if none else b
            for a, b, same, none in zip(apart, others, alike, blank, strict=True)
        ]
        if not told:  # all there are: neither the others nor a total may say it
            table = replace(table, columns=[
                replace(column, role="") if none else column
                for column, none in zip(table.columns, blank, strict=True)
            ])  # fmt: skip
    return replace(table, rows=[*rows, others])


def _at(table: Table, key: str) -> int:
    """Where a column stands."""
    return [column.key for column in table.columns].index(key)


def _hidden_of(table: Table, few: str, people: int) -> set[int]:
    """The rows of which nothing is said about those whom a column counts: few of their people, and who hides them."""
    at = _at(table, few)
    counts = [_number(row[at]) for row in table.rows]
    small = {ix for ix, n in enumerate(counts) if 0 < n < people}
    return _hidden(table, counts, small, people) if small else set()


def hidden_cells(table: Table, people: int) -> set[int]:
    """The rows of a table that an export masks."""
    counts = _counts(table)
    small = {ix for ix, fewest in enumerate(counts) if 0 < fewest < people}
    return _hidden(table, counts, small, people) if small else set()


def _masked_elsewhere(report: Report, table: Table, people: int) -> set[int]:
    """Rows of a table of a restricted report that the same table of the whole ledger would mask."""
    keys = [ix for ix, column in enumerate(table.columns) if column.role == "key"]
    names = [table.columns[ix].key for ix in keys]
    wanted = "_".join(dict.fromkeys((*report.only, *names)))
    cells = next((each for each in report.cells if each.key == wanted), None)
    if cells is None or not (table.people or table.counts):
        return set()
    places = {column.key: ix for ix, column in enumerate(cells.columns)}
    masked = [cells.rows[ix] for ix in sorted(hidden_cells(cells, people))]
    gone = {
        tuple(row[places[name]] for name in names)
        for row in masked
        if all(row[places[key]] in some for key, some in report.only.items())
    }
    return {ix for ix, row in enumerate(table.rows) if tuple(row[key] for key in keys) in gone}


def _counts(table: Table) -> list[float]:
    """The people behind each row; where a table counts them in two ways the fewer, but for none. [] = rows are not
    groups of people."""
    found = [[float(n) for n in table.counts]] if table.counts else []
    if table.people:
        at = [column.key for column in table.columns].index(table.people)
        found.append([_number(row[at]) for row in table.rows])
    return [min((n for n in each if n > 0), default=0.0) for each in zip(*found, strict=True)]


def _marker(table: Table) -> int:
    """The column that says of a masked row that it has few people: that of people, else the first that is no name."""
    keys = [column.key for column in table.columns]
    if table.people:
        return keys.index(table.people)
    return next(ix for ix, column in enumerate(table.columns) if column.role != "key")


def _hidden(table: Table, counts: list[float], small: set[int], people: int, more: Collection[int] = ()) -> set[int]:
    """The rows to mask: the small ones, and the smallest others with which they hide in every total there may be.

    A total is that over the rows which agree in some of the keys; where one of them is masked, so are enough that
    they are two at least and hold `people` people.
    """
    names = _names(table)
    groups: list[list[int]] = []
    for size in range(max(len(names), 1)):
        for some in combinations(names, size):
            parts: dict[tuple[Cell, ...], list[int]] = {}
            for ix, key in enumerate(zip(*some, strict=True) if some else [()] * len(table.rows)):
                parts.setdefault(key, []).append(ix)
            groups += [sorted(part, key=lambda ix: (counts[ix], ix)) for part in parts.values()]
    large = [ix for ix in sorted(range(len(counts)), key=lambda ix: (counts[ix], ix)) if counts[ix] >= people]
    hidden, before = small | {*more} | set(large[:1]), -1
    while len(hidden) > before:
        before = len(hidden)
        for group in groups:
            mine = [ix for ix in group if ix in hidden]
            missing = sum(counts[ix] for ix in mine)
            for ix in group:
                if not mine or (len(mine) > 1 and missing >= people):
                    break
                if ix not in hidden and counts[ix] > 0:
                    hidden.add(ix)
                    mine.append(ix)
                    missing += counts[ix]
    return hidden


def _names(table: Table) -> list[list[Cell]]:
    """The cells of each key, row by row; where campaigns are a key and advertisers are none, theirs as well: a
    campaign is called advertiser/campaign, so that a report by advertiser has totals of this one."""
    keys = {column.key: ix for ix, column in enumerate(table.columns) if column.role == "key"}
    found = [[row[ix] for row in table.rows] for ix in keys.values()]
    if "campaign" in keys and "advertiser" not in keys:
        found.append([str(row[keys["campaign"]]).split("/")[0] for row in table.rows])
    return found


def _masked(table: Table, row: list[Cell], at: int, people: str) -> list[Cell]:
    """A row of which only its name is left, and that it has few people (or went to the others)."""
    return [
        people if ix == at else cell if column.role == "key" else None
        for ix, (cell, column) in enumerate(zip(row, table.columns, strict=True))
    ]


def sum_row(table: Table, rows: list[list[Cell]], name: str) -> list[Cell]:
    """Rows of a table as one: sums add up, ratios are those of the sums, what exists per row only is left out."""
    keys = [column.key for column in table.columns]
    sums = {key: sum(_number(row[ix]) for row in rows) for ix, key in enumerate(keys)}

    def cell(ix: int, column: Column) -> Cell:
        if column.role == "key":
            return name if ix == 0 else ""
        if column.role == "sum":
            total = sums[column.key]
            return int(total) if float(total).is_integer() and column.unit not in ("money", "cpm") else total
        if column.role == "ratio" and sums[column.under]:
            return column.times * sums[column.over] / sums[column.under]
        return None

    return [cell(ix, column) for ix, column in enumerate(table.columns)]


def _number(cell: Cell) -> float:
    return float(cell) if isinstance(cell, (int, float)) else 0.0
