"""Export a ledger as tidy files for other tools: one Parquet or CSV file a stream, every field of its rows.

Ids become names, times timestamps (UTC), flags columns. No key of a person leaves the ledger: people are numbered 1, 2,
3 in order of appearance, the same in all files of one export and nowhere else. `inputs`, which hold raw requests, are
not exported.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange import market as mk
from exchange.rent.blocks import LedgerError
from exchange.rent.ledger import FIXED, Ledger
from exchange.rent.sealed import connection, quoted
from exchange.rent.spreadsheet import guarded_sql

FORMATS: Final = {"parquet": "FORMAT parquet, COMPRESSION zstd", "csv": "FORMAT csv, HEADER"}
_NAMED: Final = ("publisher", "domain", "advertiser", "seat", "campaign", "creative", "deal", "segment")
_LEFT_OUT: Final = (
    "ts_ns",
    "person_key",
    "kind",
    "flags",
    "fees",
    "country",
    "format",
    "price_rule",
    "endpoint",
    "bill",
)
_PEOPLE_IN: Final = ("wins", "events", "auctions")  # the order in which people are numbered


def export(ledger: Ledger, folder: Path, format: str = "parquet", streams: Sequence[str] = FIXED) -> dict[str, int]:
    """Write the rows of some streams into a folder, `<stream>.<format>` each. Returns how many rows each has.

    Raises LedgerError for a format or stream that is not known, a folder that is a ledger, a file that is there.
    """
    if format not in FORMATS:
        raise LedgerError(f"--format {format}: expected one of {', '.join(FORMATS)}")
    if (folder / "meta.json").exists():
        raise LedgerError(f"{folder}: is a ledger: expected a folder of its own for the files")
    for stream in streams:
        if stream not in FIXED:
            raise LedgerError(f"--stream {stream}: expected one of {', '.join(FIXED)}")
        if (folder / f"{stream}.{format}").exists():
            raise LedgerError(f"{folder / f'{stream}.{format}'}: is there already: expected a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    people = People(ledger)
    con = connection()
    done = {}
    for stream in streams:
        rows = getattr(ledger, stream)
        columns, texts = tidy(ledger, stream, rows, people)
        found = {name: f"t.{name}[r.{name}::BIGINT - {text.first} + 1]" for name, text in texts.items()}
        shown = [f"{guarded_sql(text) if format == 'csv' else text} AS {name}" for name, text in found.items()]
        shown += ["NULLIF(r.person, 0) AS person"] if "person" in columns else []
        lists = [f"?::VARCHAR[] AS {name}" for name in texts] or ["0 AS nothing"]
        con.register("tidy", columns)
        try:
            con.execute(
                f"CREATE OR REPLACE TEMP TABLE texts AS SELECT {', '.join(lists)}",
                [one.texts for one in texts.values()],
            )
            replace = f"REPLACE ({', '.join(shown)})" if shown else ""
            con.execute(
                f"COPY (SELECT make_timestamp(r.ts_ns // 1000) AS time, r.* EXCLUDE (ts_ns) {replace}"
                f" FROM tidy AS r, texts AS t) TO {quoted(folder / f'{stream}.{format}')} ({FORMATS[format]})"
            )
        finally:
            con.unregister("tidy")
            con.execute("DROP TABLE IF EXISTS texts")
        done[stream] = len(rows)
    return done


class Texts(Struct):
    """The texts of the codes of a column, from `first` on; None where a code has none."""

    first: int
    texts: list[str | None]


def tidy(
    ledger: Ledger, stream: str, rows: NDArray[Any], people: "People"
) -> tuple[dict[str, NDArray[Any]], dict[str, Texts]]:
    """The columns of an export, `ts_ns` first, and the texts of those that hold codes."""
    out: dict[str, NDArray[Any]] = {"ts_ns": np.ascontiguousarray(rows["ts_ns"])}
    texts: dict[str, Texts] = {}

    def coded(name: str, text: Callable[[int], str | None]) -> None:
        out[name] = np.ascontiguousarray(rows[name])
        first, last = (int(out[name].min()), int(out[name].max())) if len(rows) else (0, -1)
        texts[name] = Texts(first, [text(code) for code in range(first, last + 1)])

    if stream == "events":
        coded("kind", mk.KINDS.get)
    for name in rows.dtype.names or ():
        if name in _NAMED:
            coded(name, lambda code, name=name: (ledger.names.text(name, code) if code > 0 else "") or None)  # type: ignore[misc]
        elif name not in _LEFT_OUT:
            out[name] = np.ascontiguousarray(rows[name])
    fields = rows.dtype.names or ()
    if "person_key" in fields:
        out["person"] = people.numbers(rows["person_key"])
    if "country" in fields:
        coded("country", lambda code: chr(code >> 8) + chr(code & 255) if code else None)
    for field in ("format", "price_rule"):
        if field in fields:
            coded(field, {code: name for name, code in mk.FORMATS.items()}.get)
    if "endpoint" in fields:
        coded("endpoint", {-1: "local", **dict(enumerate(ledger.meta.get("endpoints", [])))}.get)
    if "bill" in fields:
        coded("bill", dict(enumerate(mk.BILLS)).get)
    if "flags" in fields:
        for flag, name in ((mk.FLAG_OWN, "own"), (mk.FLAG_LOST, "lost"), (mk.FLAG_DATA, "uses_data")):
            out[name] = (rows["flags"] & flag) != 0
    return out, texts


class People:
    """The known people of a ledger, numbered 1, 2, 3 in order of appearance."""

    def __init__(self, ledger: Ledger) -> None:
        keys = np.concatenate([np.asarray(getattr(ledger, stream)["person_key"], np.uint64) for stream in _PEOPLE_IN])
        self._keys, first = np.unique(keys[keys != 0], return_index=True)
        self._numbers = np.empty(first.size, np.int64)
        self._numbers[np.argsort(first)] = np.arange(1, first.size + 1)

    def numbers(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The number of each person; 0 = unknown."""
        if not self._keys.size:
            return np.zeros(keys.size, np.int64)
        at = np.minimum(np.searchsorted(self._keys, keys), self._keys.size - 1)
        return np.where(self._keys[at] == keys, self._numbers[at], 0)
