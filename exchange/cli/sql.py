"""The command sql: ask a ledger in SQL, or list what can be asked."""

import argparse
import csv
import datetime
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from exchange.cli import Command, Quit, open_ledger

if TYPE_CHECKING:
    from exchange.rent.sql.answers import Answer

SCREEN_ROWS: Final = 100
_BATCH: Final = 10_000


def commands(command: Command) -> None:
    """The command sql."""
    sub = command(
        "sql",
        _sql,
        "Ask a ledger in SQL, also while the exchange writes it; --views lists what can be asked.",
        'rentier sql demo-ledger "select advertiser, count(*) as wins, sum(net) as spend from wins group by all"',
    )
    sub.add_argument("ledger", type=Path, nargs="?", help="folder of a ledger; it may be in use")
    sub.add_argument("query", nargs="?", help="one SELECT over the views (DuckDB's SQL)")
    how = sub.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print a JSON array of objects")
    how.add_argument("--csv", action="store_true", help="print CSV with a header")
    sub.add_argument("--max-rows", type=int, metavar="N",
                     help=f"rows printed at most (default {SCREEN_ROWS}; with --json or --csv all)")  # fmt: skip
    sub.add_argument("--views", action="store_true", help="list views and columns with unit and meaning")


def _sql(args: argparse.Namespace) -> int:
    if args.max_rows is not None and args.max_rows < 1:
        raise Quit(f"--max-rows {args.max_rows}: expected 1 or more")
    if args.views:
        if args.query:
            raise Quit("--views takes no query")
        print(_views(args.json, args.csv), end="")
        return 0
    if args.ledger is None:
        raise Quit("expected the folder of a ledger and a query, or --views")
    if not args.query:
        raise Quit('expected a query, such as "select * from wins limit 5", or --views')
    answer = open_ledger(args.ledger).sql(args.query)
    if args.json:
        _write_json(answer, args.max_rows)
    elif args.csv:
        _write_csv(answer, args.max_rows)
    else:
        print(answer.table(args.max_rows or SCREEN_ROWS), end="")
    return 0


def _views(as_json: bool, as_csv: bool) -> str:
    """The views and their columns; from the table that makes them."""
    from exchange.rent.sql.views import VIEWS

    rows = [(view.name, column.name, column.unit, column.meaning) for view in VIEWS for column in view.columns]
    head = ("view", "column", "unit", "meaning")
    if as_json:
        return json.dumps([dict(zip(head, row, strict=True)) for row in rows]) + "\n"
    if as_csv:
        return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in (head, *rows))
    lines = []
    for view in VIEWS:
        lines.append(f"{view.name}: {view.row}")
        width = max(len(column.name) for column in view.columns)
        lines += [f"  {column.name:{width}}  {column.meaning} [{column.unit}]" for column in view.columns]
        lines.append("")
    return "\n".join(lines)


def _write_json(answer: "Answer", max_rows: int | None) -> None:
    """Rows as JSON objects, one a line."""
    left = "["
    for row in answer.batches(_BATCH, max_rows):
        values = dict(zip(answer.columns, map(_plain, row), strict=True))
        sys.stdout.write(f"{left}{json.dumps(values)}")
        left = ",\n "
    sys.stdout.write("]\n" if left != "[" else "[]\n")


def _write_csv(answer: "Answer", max_rows: int | None) -> None:
    """Rows as CSV: times as in ISO 8601, NULL as an empty field, no text that a spreadsheet would run."""
    from exchange.rent.spreadsheet import guarded

    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([guarded(name) for name in answer.columns])
    for row in answer.batches(_BATCH, max_rows):
        out.writerow(["" if value is None else guarded(_plain(value)) for value in row])


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return str(value)
