"""A ledger as SQL views in DuckDB: `connect` makes them; what each column means stands in views.py.

A connection lives in memory, reads the sealed files where they are and knows the ledger as it was at its last
`refresh`: what is appended later is not in it, so every answer is consistent, also while the exchange writes.
"""

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as m
from exchange.openrtb import codes
from exchange.rent.sql.relations import REFUNDED, Rows, relations
from exchange.rent.sql.splitting import fee_lists, fee_rows
from exchange.rent.sql.views import VIEWS

if TYPE_CHECKING:
    import duckdb

    from exchange.rent.names import Names

_NAMED: Final = ("advertiser", "campaign", "creative", "deal", "domain", "publisher", "seat", "segment")
_SETTINGS: Final = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # a query means the ledger's views, never a variable of the caller
}


def connect(rows: Rows, names: "Names", meta: dict[str, Any]) -> "duckdb.DuckDBPyConnection":
    """A DuckDB connection in memory with the views of a ledger: its rows, with the names and facts that go with them.

    rows, names, meta: those of a `Ledger`, as it is at its last `refresh`.
    """
    import duckdb

    scratch = os.path.join(tempfile.gettempdir(), "rentier-sql")  # made only by a query that does not fit in memory
    con = duckdb.connect(config={**_SETTINGS, "temp_directory": scratch})
    for stream, live in rows.live.items():
        con.register(f"live_{stream}", {name: live[name] for name in live.dtype.names or ()})
    fees = fee_rows(names)
    con.register("given_fees", fees)
    con.execute(fee_lists())
    con.unregister("given_fees")
    _texts(con, names, meta)
    *rest, postings = relations(rows.files, fees)
    for statement in rest:
        con.execute(statement)
    con.register("raw_refunds", _refunds(con))
    con.execute(postings)
    for view in VIEWS:
        con.execute(view.sql)
    return con


# ---- texts of numbers --------------------------------------------------------------------------------------------


def _texts(con: "duckdb.DuckDBPyConnection", names: "Names", facts: dict[str, Any]) -> None:
    """raw_names and raw_meta as tables, and raw_texts: one row, a list of texts per kind of number, in its order."""
    con.register("given_names", _columns(("kind", "id", "text"), names.all()))
    con.execute("CREATE TABLE raw_names AS SELECT kind, id::BIGINT AS id, text FROM given_names")
    meta = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in facts.items()]
    con.register("given_meta", _columns(("key", "value"), meta))
    con.execute("CREATE TABLE raw_meta AS SELECT * FROM given_meta")
    endpoints = [str(name) for name in facts.get("endpoints", [])]
    lists: dict[str, list[str | None]] = {
        "endpoint": ["local", *endpoints],
        "remote": list(endpoints),
        "media": _by_number(codes.MEDIA)[1:],
        "device": list(codes.DEVICES),
        "bill": list(m.BILLS),
        "purpose": list(m.PURPOSES),
        "format": _by_number({number: name for name, number in m.FORMATS.items()})[1:],
        "fate_name": _by_number({code: name for code, (name, _) in codes.FATES.items()}),
        "fate_meaning": _by_number({code: meaning for code, (_, meaning) in codes.FATES.items()}),
    }
    rows = [(kind, at, text) for kind, texts in lists.items() for at, text in enumerate(texts, 1)]
    con.register("given_lists", _columns(("kind", "id", "text"), rows))
    kinds = sorted({*_NAMED, *lists})
    columns = ", ".join(f"list(text ORDER BY id) FILTER (kind = '{kind}') AS {kind}" for kind in kinds)
    con.execute(
        f"CREATE TABLE raw_texts AS SELECT {columns} FROM "
        "(SELECT kind, id, text FROM given_lists UNION ALL SELECT kind, id, text FROM raw_names)"
    )
    for name in ("given_names", "given_meta", "given_lists"):
        con.unregister(name)


def _columns(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> dict[str, NDArray[Any]]:
    """Rows of texts and whole numbers as columns that DuckDB takes; texts also where there is no row."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return {
        name: np.array(column, np.int64 if name == "id" else object)
        for name, column in zip(names, columns, strict=True)
    }


def _by_number(texts: dict[int, str]) -> list[str | None]:
    """Texts in a list at their numbers, from 0."""
    return [texts.get(number) for number in range(max(texts) + 1)]


# ---- refunds -----------------------------------------------------------------------------------------------------


def _refunds(con: "duckdb.DuckDBPyConnection") -> dict[str, NDArray[Any]]:
    """The parts of every refund, below 0: each mirrors what is left of its award's amounts (`waterfall.mirror`)."""
    found = con.execute(REFUNDED).fetchnumpy()
    awards, first, of = np.unique(
        np.stack([found["worker"].astype(np.int64), found["serial"]]), axis=1, return_index=True, return_inverse=True
    )
    parties = np.stack([found[f"{party}_nano"][first] for party in m.PARTIES], axis=1).astype(np.int64)
    shares = np.zeros((len(found["serial"]), len(m.PARTIES)), np.int64)
    if awards.size:
        from exchange.rent.waterfall import mirror_many

        mirror_many(parties, of.reshape(-1).astype(np.int64), found["refund_nano"].astype(np.int64), shares)
    columns = {name: found[name] for name in ("worker", "seq", "ts_ns", "serial", "kind", "advertiser", "publisher",
                                              "endpoint")}  # fmt: skip
    columns["buyer_total_nano"] = -shares.sum(axis=1)
    return columns | {f"{party}_nano": -shares[:, k] for k, party in enumerate(m.PARTIES)}
