"""A report of a part of a ledger: `--only advertiser=NAME`, and what an export of it must not give away."""

import datetime
import difflib
from collections.abc import Mapping, Sequence
from typing import Final

from exchange.books.part import KEYS, NOBODY
from exchange.report.asking import BY, Books, Only
from exchange.report.shape import Cell, Column, Report, Table

NAMES_SHOWN: Final = 8


class OnlyError(ValueError):
    """What was asked for with --only does not exist; one line."""


def parse_only(given: Sequence[str]) -> Only:
    """The names by key of `key=name`, several of one key together. Raises OnlyError for what is not of that form."""
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        key, equals, name = text.partition("=")
        key = key.strip()
        if key not in KEYS or not equals or not name.strip():
            near = difflib.get_close_matches(key, KEYS, 1, 0.5)
            hint = f", did you mean {near[0]}=...?" if near and near[0] != key else ""
            raise OnlyError(f"--only {text}: expected KEY=NAME with KEY one of {', '.join(KEYS)}{hint}")
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), name.strip())))
    return {key: found[key] for key in KEYS if key in found}


def check_names(books: Books, only: Only) -> None:
    """Raises OnlyError for a name that the ledger does not know, with the nearest one."""
    for key, names in only.items():
        known = _weeks(books) if key == "week" else _known(books, key)
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.3)
                hint = f", did you mean {near[0]!r}?" if near else ""
                some = ", ".join(known[:NAMES_SHOWN]) + (", ..." if len(known) > NAMES_SHOWN else "")
                raise OnlyError(
                    f"--only {key}={name}: the ledger has no such {key}{hint} (there are: {some or 'none'})"
                )


def _known(books: Books, key: str) -> list[str]:
    texts = sorted(text for kind, _, text in books.ledger.names.all() if kind == key)
    return [*texts, NOBODY[key]]


def _weeks(books: Books) -> list[str]:
    """The Mondays (UTC) from the first auction's week to the last one's."""
    first, last = books.span()
    if not first:
        return []
    day, end = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    day -= datetime.timedelta(days=day.weekday())
    return [str(day + datetime.timedelta(weeks=n)) for n in range((end - day).days // 7 + 1)]


def cells_of(books: Books, only: Only, report: Report) -> list[Table]:
    """The groups of the whole ledger that a restricted report may not tell apart from others: a table a set of keys.

    By the keys of the restriction; and by these with the dimensions of each table of groups.
    """
    dimensions = [
        [column.key for column in table.columns if column.role == "key"]
        for table in report.tables
        if table.people or table.counts
    ]
    sets = [tuple(only), *(tuple(dict.fromkeys((*only, *names))) for names in dimensions if set(names) <= set(BY))]
    found = []
    for names in dict.fromkeys(sets):
        listed = ", ".join(names)
        rows: list[list[Cell]] = [
            list(row)
            for row in books.sql(f"SELECT {listed}, count(DISTINCT rented) FROM all_facts GROUP BY {listed} "
                                 f"ORDER BY {listed}")
        ]  # fmt: skip
        columns = [*(Column(name, name, "text", role="key") for name in names), Column("people", "people", "people")]
        found.append(Table("_".join(names), "", columns, rows, people="people"))
    return found


def selected(only: Mapping[str, Sequence[str]], table: Table) -> set[int]:
    """The rows of a table of groups that are of a part."""
    places = {column.key: ix for ix, column in enumerate(table.columns)}
    return {n for n, row in enumerate(table.rows) if all(row[places[key]] in names for key, names in only.items())}
