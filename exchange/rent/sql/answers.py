"""An SQL query on a ledger and its answer: read-only, one statement, nothing but the ledger's views.

`ask` opens a connection of its own, so answers do not disturb each other and rows are fetched when they are wanted.
"""

import difflib
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange.rent.blocks import LedgerError
from exchange.rent.sealed import quoted
from exchange.rent.sql.connection import connect
from exchange.rent.sql.relations import Rows, check_files
from exchange.rent.sql.views import VIEWS

if TYPE_CHECKING:
    import duckdb

    from exchange.rent.names import Names

CELL: Final = 40  # characters of a text in a printed table
_EXPLAIN: Final = re.compile(r"\s*explain\s+(\(.*?\)\s*|analyze\s+|analyse\s+)*", re.IGNORECASE | re.DOTALL)
_MISSING: Final = re.compile(r'"([^"]+)" (?:not found|does not exist)|does not have a column named "([^"]+)"')


class SqlError(LedgerError):
    """A query that cannot be answered; the message is DuckDB's, in one line, with the nearest name."""


class Replaced(SqlError):
    """A sealed file is no longer where it was when the ledger was looked at; the message is DuckDB's."""


class Answer:
    """The answer to a query: `columns`, then `rows`, `fetchnumpy()`, `frame()` or `table()`; fetched when asked for."""

    def __init__(self, result: "duckdb.DuckDBPyConnection") -> None:
        self._result = result
        self._rows: list[tuple[Any, ...]] | None = None
        self.columns = [str(column[0]) for column in result.description or ()]
        self.types = [str(column[1]) for column in result.description or ()]

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """All rows: ints, floats, texts, datetimes (UTC), None."""
        if self._rows is None:
            self._rows = self._fetch(self._result.fetchall)
        return self._rows

    def some(self, n: int) -> tuple[list[tuple[Any, ...]], bool]:
        """The first `n` rows, and whether there are more."""
        if self._rows is None:
            found = self._fetch(lambda: self._result.fetchmany(n + 1))
            if len(found) <= n:
                self._rows = found
            return found[:n], len(found) > n
        return self._rows[:n], len(self._rows) > n

    def batches(self, size: int, most: int | None = None) -> Iterator[tuple[Any, ...]]:
        """The rows one by one, `most` of them, fetched `size` at a time: for answers larger than memory. Once only."""
        left = sys.maxsize if most is None else most
        while left:
            n = min(size, left)
            found = self._fetch(lambda: self._result.fetchmany(n))  # noqa: B023 - called at once
            yield from found
            left = left - len(found) if len(found) == n else 0

    def fetchnumpy(self) -> dict[str, NDArray[Any]]:
        """The columns as arrays, masked where a value is NULL. Sums of whole numbers stay whole (int64)."""
        if self._rows is None and "HUGEINT" not in self.types:
            return dict(self._fetch(self._result.fetchnumpy))
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return {
            name: _array(column, kind) for name, column, kind in zip(self.columns, columns, self.types, strict=True)
        }

    def frame(self) -> Any:
        """The answer as a pandas DataFrame; needs pandas."""
        import pandas

        return pandas.DataFrame({name: np.ma.filled(column.astype(object), None) if np.ma.is_masked(column) else column
                                 for name, column in self.fetchnumpy().items()})  # fmt: skip

    def table(self, max_rows: int = 100) -> str:
        """The answer as text: numbers to the right, `max_rows` rows at most; says so when there are more."""
        rows, more = self.some(max_rows)
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max([len(name), *(len(row[k]) for row in cells)]) for k, name in enumerate(self.columns)]
        right = [any(isinstance(row[k], int | float) for row in rows) for k in range(len(widths))]

        def put(row: list[str]) -> str:
            pairs = zip(row, widths, right, strict=True)
            return "  ".join(cell.rjust(w) if to_right else cell.ljust(w) for cell, w, to_right in pairs).rstrip()

        lines = [put(self.columns), put(["-" * w for w in widths]), *map(put, cells)]
        count = f"the first {len(rows):,} rows; there are more" if more else f"{len(rows):,} row{'s'[: len(rows) != 1]}"
        return "\n".join([*lines, f"({count})"]) + "\n"

    def _fetch(self, fetch: Any) -> Any:
        """Fetch, with DuckDB's errors as ours: a query may fail while its rows are made."""
        import duckdb

        try:
            return fetch()
        except duckdb.Error as error:
            raise SqlError(_one_line(str(error))) from error


def ask(rows: Rows, names: "Names", meta: dict[str, Any], query: str, parameters: Any = ()) -> Answer:
    """The answer to one SELECT on the views of a ledger. Raises SqlError for any other statement, or a wrong one.

    rows, names, meta: as for `connect`; where the files of `rows` are gone by now, this raises Replaced.
    parameters: for `?` (a sequence) or `$name` (a mapping) in the query.
    """
    import duckdb

    try:
        return Answer(_open(rows, names, meta, query).execute(query, parameters))
    except duckdb.IOException as error:
        raise Replaced(_one_line(str(error))) from error
    except duckdb.Error as error:
        raise SqlError(_one_line(str(error))) from error


def _open(rows: Rows, names: "Names", meta: dict[str, Any], query: str) -> "duckdb.DuckDBPyConnection":
    """A locked connection for a query that may be asked."""
    con = connect(rows, names, meta)
    paths = [part.name for by_worker in rows.files.values() for found, _ in by_worker.values() for part in found]
    con.execute(f"SET allowed_paths = [{', '.join(map(quoted, paths))}]")
    _lock(con)
    _only_select(con, query)
    check_files(rows, query)
    return con


def _lock(con: "duckdb.DuckDBPyConnection") -> None:
    """Nothing outside may be read but the sealed files, nothing may be written, and no setting can undo that."""
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def _only_select(con: "duckdb.DuckDBPyConnection", query: str) -> None:
    """Refuse what is not one SELECT (or the EXPLAIN of one)."""
    import duckdb

    statements = con.extract_statements(query)
    if len(statements) != 1:
        raise SqlError(f"{len(statements)} statements: expected one")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        _only_select(con, _EXPLAIN.sub("", query, count=1))
    elif kind != duckdb.StatementType.SELECT:
        raise SqlError(f"a {kind.name.lower().replace('_', ' ')} statement: expected a SELECT: a ledger is only read")


def _one_line(message: str) -> str:
    """DuckDB's message in one line, without its drawing of the query, with the nearest column of the views."""
    text = " ".join(re.split(r"\n\s*\n?LINE \d+:", message)[0].split())
    missing = _MISSING.search(text)
    if missing and "did you mean" not in text.lower():
        names = {column.name for view in VIEWS for column in view.columns}
        near = difflib.get_close_matches(missing[1] or missing[2], names, 1)
        text += f"; did you mean {near[0]!r}?" if near else ""
    return text


def _array(column: tuple[Any, ...], kind: str) -> NDArray[Any]:
    """One column of rows as an array, masked where there is no value."""
    none = np.array([value is None for value in column], bool)
    whole = kind.endswith(("INT", "INTEGER"))
    fill: Any = 0 if whole or kind == "DOUBLE" else None
    values = [fill if value is None else value for value in column]
    large = whole and any(not -(2**63) <= value < 2**63 for value in values)
    array = np.array(values, object if large or fill is None else np.int64 if whole else np.float64)
    return np.ma.array(array, mask=none) if none.any() else array


def _cell(value: Any) -> str:
    """A value as a table shows it; what cannot be printed becomes a question mark."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e-3 or abs(value) >= 1e9 else f"{value:,.6f}".rstrip("0").rstrip(".")
    text = "".join(char if char.isprintable() else "?" for char in str(value))
    return text if len(text) <= CELL else text[: CELL - 3] + "..."
