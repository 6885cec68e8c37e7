"""A ledger as SQL views in DuckDB: `connect` makes them; what each column means stands in view_text.py."""

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as m
from exchange.openrtb import codes
from exchange.rent.view_text import BILLED_MASK, CLICK_MASK, CONVERSION_MASK, SEEN_MASK, VIEWS

if TYPE_CHECKING:
    import duckdb

    from exchange.rent.ledger import Ledger

STREAMS: Final = ("auctions", "bids", "wins", "events")
_EVENT_KINDS: Final = (*m.BILLING, m.KIND_CLICK, m.KIND_RELEASE, m.KIND_UNPAID, m.KIND_VIEW, m.KIND_CONVERSION,
                       m.KIND_OPT_IN, m.KIND_OPT_OUT, m.KIND_REFUND)  # fmt: skip
OUTCOMES: Final = f"""
CREATE VIEW raw_outcomes AS SELECT worker, serial,
  bit_or(1::BIGINT << kind::BIGINT) AS kinds,
  min(CASE WHEN ({SEEN_MASK} >> kind::BIGINT) & 1 = 1 THEN ts_ns END) AS shown_ns,
  min(CASE WHEN ({CLICK_MASK} >> kind::BIGINT) & 1 = 1 THEN ts_ns END) AS clicked_ns,
  min(CASE WHEN ({CONVERSION_MASK} >> kind::BIGINT) & 1 = 1 THEN ts_ns END) AS converted_ns,
  min(CASE WHEN ({BILLED_MASK} >> kind::BIGINT) & 1 = 1 THEN ts_ns END) AS billed_ns,
  sum(CASE WHEN kind = {m.KIND_REFUND} THEN -paid_nano ELSE 0 END)::BIGINT AS refunded_nano
FROM raw_events GROUP BY worker, serial"""
CONTACTS: Final = f"""
CREATE VIEW raw_contacts AS SELECT worker, seq, ts_ns, serial, paid_nano, cum_rent_nano, contact_n,
  (ts_ns - lag(ts_ns) OVER (PARTITION BY worker, advertiser, person_key ORDER BY seq)) / 86400e9 AS days_since_last
FROM raw_events WHERE kind IN {m.BILLING} AND person_key <> 0"""
PARTS: Final = "p.buyer_total_nano, " + ", ".join(f"-p.{party}_nano" for party in m.PARTIES)
NAMED: Final = ", ".join(f"'{party}'" for party in ("advertiser", *m.PARTIES))
POSTINGS: Final = f"""
CREATE VIEW raw_postings AS SELECT * FROM (
  SELECT p.worker, p.seq, p.ts_ns, p.serial, p.kind, p.advertiser, p.publisher, p.endpoint,
    unnest([{NAMED}]) AS party, unnest([{PARTS}]) AS amount_nano
  FROM (
    SELECT e.worker::BIGINT AS worker, e.seq::BIGINT AS seq, e.ts_ns, e.kind, w.* EXCLUDE (worker, seq, ts_ns, kind)
    FROM raw_events AS e JOIN raw_wins AS w ON w.worker = e.worker AND w.serial = e.serial
    WHERE e.kind IN {m.BILLING}
    UNION ALL BY NAME SELECT * FROM raw_refunds
  ) AS p
) WHERE amount_nano <> 0"""


def connect(ledger: "Ledger") -> "duckdb.DuckDBPyConnection":
    """A DuckDB connection in memory with the views of a ledger, as it is at its last `refresh`."""
    import duckdb

    con = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    for stream in STREAMS:
        rows = getattr(ledger, stream)
        con.register(f"raw_{stream}", {name: rows[name] for name in rows.dtype.names})
    _texts(con, ledger)
    con.execute(OUTCOMES)
    con.execute(CONTACTS)
    con.register("raw_refunds", _refunds(ledger.events, ledger.wins))
    con.execute(POSTINGS)
    for view in VIEWS:
        con.execute(view.sql)
    return con


# ---- texts of numbers --------------------------------------------------------------------------------------------


def _texts(con: "duckdb.DuckDBPyConnection", ledger: "Ledger") -> None:
    """raw_names and raw_meta as tables, and raw_lists: the texts of each kind of number, in its order."""
    names = ledger.names.all()
    con.register("given_names", _columns(("kind", "id", "text"), names))
    con.execute("CREATE TABLE raw_names AS SELECT kind, id::BIGINT AS id, text FROM given_names")
    meta = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in ledger.meta.items()]
    con.register("given_meta", _columns(("key", "value"), meta))
    con.execute("CREATE TABLE raw_meta AS SELECT * FROM given_meta")
    endpoints = [str(name) for name in ledger.meta.get("endpoints", [])]
    lists: dict[str, list[str | None]] = {
        "endpoint": ["local", *endpoints],
        "remote": list(endpoints),
        "media": _by_number(codes.MEDIA)[1:],
        "device": list(codes.DEVICES),
        "bill": list(m.BILLS),
        "purpose": list(m.PURPOSES),
        "format": _by_number({number: name for name, number in m.FORMATS.items()})[1:],
        "event": _by_number({kind: m.KINDS[kind] for kind in _EVENT_KINDS})[1:],
        "fate_name": _by_number({code: name for code, (name, _) in codes.FATES.items()}),
        "fate_meaning": _by_number({code: meaning for code, (_, meaning) in codes.FATES.items()}),
    }
    rows = [(kind, at, text) for kind, texts in lists.items() for at, text in enumerate(texts, 1)]
    con.register("given_lists", _columns(("kind", "id", "text"), rows))
    con.execute(
        "CREATE TABLE raw_lists AS SELECT kind, list(text ORDER BY id) AS texts FROM (SELECT kind, id, text FROM "
        "given_lists UNION ALL SELECT kind, id, text FROM raw_names) GROUP BY kind"
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

REFUND_COLUMNS: Final = (
    "worker", "seq", "ts_ns", "serial", "kind", "advertiser", "publisher", "endpoint", "buyer_total_nano",
    *(f"{party}_nano" for party in m.PARTIES),
)  # fmt: skip


def _refunds(events: NDArray[Any], wins: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
    """The parts of every refund, below 0: each mirrors what is left of its award's amounts, by largest remainder."""
    rows: list[list[int]] = []
    left: dict[tuple[int, int], list[int]] = {}
    refunds = events[events["kind"] == m.KIND_REFUND]
    found = _find(wins, refunds)
    for event, at in zip(refunds, found, strict=True):
        if at < 0:
            continue
        win, award = wins[at], (int(event["worker"]), int(event["serial"]))
        amounts = left.setdefault(award, [int(win[f"{party}_nano"]) for party in m.PARTIES])
        parts = shares(amounts, -int(event["paid_nano"]))
        left[award] = [amount - part for amount, part in zip(amounts, parts, strict=True)]
        head = [int(event[name]) for name in ("worker", "seq", "ts_ns", "serial", "kind")]
        head += [int(win[name]) for name in ("advertiser", "publisher", "endpoint")]
        rows.append([*head, int(event["paid_nano"]), *(-part for part in parts)])
    table = np.array(rows, np.int64).reshape(len(rows), len(REFUND_COLUMNS))
    return {name: table[:, ix].copy() for ix, name in enumerate(REFUND_COLUMNS)}


def shares(left: list[int], amount: int) -> list[int]:
    """Split `amount` over the amounts that are left, by largest remainder, ties to the first."""
    whole = sum(left)
    if not whole:
        return [0] * len(left)
    parts = [amount * part // whole for part in left]
    rest = [amount * part % whole for part in left]
    for ix in sorted(range(len(left)), key=lambda ix: -rest[ix])[: amount - sum(parts)]:
        parts[ix] += 1
    return parts


def _find(wins: NDArray[Any], events: NDArray[Any]) -> list[int]:
    """The row of the win of each event, by worker and serial; -1 = none."""
    if not len(events):
        return []
    wanted = {(int(event["worker"]), int(event["serial"])): -1 for event in events}
    for at in np.flatnonzero(np.isin(wins["serial"], events["serial"])):
        key = int(wins["worker"][at]), int(wins["serial"][at])
        if key in wanted:
            wanted[key] = int(at)
    return [wanted[int(event["worker"]), int(event["serial"])] for event in events]
