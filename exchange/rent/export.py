"""Export a ledger as tidy files for other tools: one Parquet or CSV file a stream, every field of its rows.

Ids become names, times timestamps (UTC), flags columns. No key of a person leaves the ledger: people are numbered 1, 2,
3 in order of appearance, the same in all files of one export and nowhere else. `inputs`, which hold raw requests, are
not exported.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange.rent.blocks import LedgerError
from exchange.rent.ledger import FIXED, Ledger
from exchange.rent.sealed import connection, quoted

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
    people = _people(ledger)
    con = connection()
    done = {}
    for stream in streams:
        rows = getattr(ledger, stream)
        table = tidy(ledger, stream, rows, people)
        plain = [f"CAST({name} AS VARCHAR) AS {name}" for name, column in table.items() if column.dtype == object]
        plain += ["NULLIF(person, 0) AS person"] if "person" in table else []
        con.register("tidy", table)
        try:
            con.execute(
                "COPY (SELECT make_timestamp(ts_ns // 1000) AS time,"
                f" * EXCLUDE (ts_ns) REPLACE ({', '.join(plain)}) FROM tidy)"
                f" TO {quoted(folder / f'{stream}.{format}')} ({FORMATS[format]})"
            )
        finally:
            con.unregister("tidy")
        done[stream] = len(rows)
    return done


def tidy(ledger: Ledger, stream: str, rows: NDArray[Any], people: NDArray[np.uint64]) -> dict[str, NDArray[Any]]:
    """The columns of an export: `ts_ns` and then what a reader without our tables understands."""
    out: dict[str, NDArray[Any]] = {"ts_ns": np.ascontiguousarray(rows["ts_ns"])}
    if stream == "events":
        out["kind"] = _texts(rows["kind"], dict[int, str | None](mk.KINDS))
    for name in rows.dtype.names or ():
        if name in _NAMED:
            used = np.unique(rows[name])
            out[name] = _texts(rows[name], {int(i): ledger.names.text(name, int(i)) or None for i in used if i > 0})
        elif name not in _LEFT_OUT:
            out[name] = np.ascontiguousarray(rows[name])
    fields = rows.dtype.names or ()
    if "person_key" in fields:
        out["person"] = people_numbers(people, rows["person_key"])
    if "country" in fields:
        out["country"] = _texts(
            rows["country"], {i: chr(i >> 8) + chr(i & 255) for i in np.unique(rows["country"]) if i}
        )
    for field in ("format", "price_rule"):
        if field in fields:
            out[field] = _texts(rows[field], {code: name for name, code in mk.FORMATS.items()})
    if "endpoint" in fields:
        names = ledger.meta.get("endpoints", [])
        out["endpoint"] = _texts(rows["endpoint"], {-1: "local", **dict(enumerate(names))})
    if "bill" in fields:
        out["bill"] = _texts(rows["bill"], dict(enumerate(mk.BILLS)))
    if "flags" in fields:
        for flag, name in ((mk.FLAG_OWN, "own"), (mk.FLAG_LOST, "lost"), (mk.FLAG_DATA, "uses_data")):
            out[name] = (rows["flags"] & flag) != 0
    return out


def people_numbers(people: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The number of each person: 1 for the first of `people`; 0 = unknown."""
    if not people.size:
        return np.zeros(keys.size, np.int64)
    order = np.argsort(people, kind="stable")
    at = np.minimum(np.searchsorted(people, keys, sorter=order), people.size - 1)
    return np.where((people[order[at]] == keys) & (keys != 0), order[at] + 1, 0)


def _people(ledger: Ledger) -> NDArray[np.uint64]:
    """The keys of all known people, in order of appearance."""
    keys = np.concatenate([np.asarray(getattr(ledger, stream)["person_key"], np.uint64) for stream in _PEOPLE_IN])
    keys = keys[keys != 0]
    found, first = np.unique(keys, return_index=True)
    people: NDArray[np.uint64] = found[np.argsort(first)]
    return people


def _texts(codes: NDArray[Any], texts: dict[int, str | None]) -> NDArray[Any]:
    """The text of each code; None where there is none."""
    known, at = np.unique(codes, return_inverse=True)
    table = np.empty(known.size, object)
    table[:] = [texts.get(int(code)) for code in known]
    return table[at]
