"""Cells of a CSV that a spreadsheet opens: no text becomes a formula."""

from typing import Any, Final

STARTS: Final = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would take such a text for a formula


def guarded(cell: Any) -> Any:
    """A cell as it may be written: an apostrophe goes before a text that a spreadsheet would run."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(STARTS) else cell


def guarded_sql(column: str) -> str:
    """`guarded` as an SQL expression over a text column."""
    listed = ", ".join(f"chr({ord(start)})" for start in STARTS)
    return f"CASE WHEN left({column}, 1) IN ({listed}) THEN chr(39) || {column} ELSE {column} END"
