"""Small cells: what a report says of few people is not exported, so that nobody is found in it."""

from typing import Final

from msgspec.structs import replace

from exchange.report.shape import Cell, Column, Figure, Report, Table

SMALL_CELL: Final = 10  # people; groups with fewer are joined when a report is exported
OTHERS: Final = "others"


def suppress(report: Report, people: int = SMALL_CELL) -> Report:
    """The report with every group of fewer than `people` people joined into "others"; 0 leaves it as it is.

    A group's row stays with "<10" as its number of people and nothing else; its money is in the row "others". So
    that no difference to the total gives a small group away, the smallest group that is not small joins them too:
    "others" always holds at least `people` people, or is the whole table.
    """
    if not people:
        return report
    return replace(
        report,
        figures=[_figure(figure, people) for figure in report.figures],
        tables=[joined(table, people) for table in report.tables],
    )


def _figure(figure: Figure, people: int) -> Figure:
    if figure.people is None or figure.people >= people:
        return figure
    return replace(figure, value=None if figure.people == 0 else f"<{people}", low=None, high=None)


def joined(table: Table, people: int = SMALL_CELL) -> Table:
    """A table whose small groups are joined; itself where it has none or its rows are not groups of people."""
    if not table.people:
        return table
    at = [column.key for column in table.columns].index(table.people)
    small = {ix for ix, row in enumerate(table.rows) if 0 < _number(row[at]) < people}
    if not small:
        return table
    large = sorted(
        (ix for ix, row in enumerate(table.rows) if _number(row[at]) >= people),
        key=lambda ix: (_number(table.rows[ix][at]), ix),
    )
    hidden = small | set(large[:1])
    rows = [
        _masked(table, row, at, f"<{people}" if ix in small else OTHERS) if ix in hidden else row
        for ix, row in enumerate(table.rows)
    ]
    return replace(table, rows=[*rows, sum_row(table, [table.rows[ix] for ix in sorted(hidden)], OTHERS)])


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
