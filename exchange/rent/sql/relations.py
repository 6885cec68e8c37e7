"""The relations that the SQL views stand on: rows of sealed Parquet files and of live segments, alike.

A sealed file holds independent columns only; what it leaves out is derived here: amounts by `splitting`, what an event
says of its win by worker and serial, histories by windows in order of seq. Rows of live segments carry their amounts.
"""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange import market as m
from exchange.rent.chain import Worker
from exchange.rent.sealed import STORED, Sealed, check, quoted
from exchange.rent.sql.splitting import split

STREAMS: Final = ("auctions", "bids", "wins", "events")
# the streams that a view reads; the other views read none
BEHIND: Final = {"auctions": ("auctions",), "bids": ("bids",)} | dict.fromkeys(
    ("wins", "events", "event_rows", "outcomes", "contacts", "postings"), ("wins", "events")
)
BILLED_MASK: Final = sum(1 << kind for kind in m.BILLING)
SEEN_MASK: Final = BILLED_MASK | 1 << m.KIND_VIEW
CLICK_MASK: Final = sum(1 << kind for kind in m.CLICKS)
CONVERSION_MASK: Final = sum(1 << kind for kind in m.CONVERSIONS)
_PARTIES: Final = tuple(f"{party}_nano" for party in m.PARTIES)
_UNUSED: Final = ("config_version", "snapshot_version")
_SQL_TYPES: Final = {
    "u1": "UTINYINT", "u2": "USMALLINT", "u4": "UINTEGER", "u8": "UBIGINT", "i2": "SMALLINT", "i4": "INTEGER",
    "i8": "BIGINT",
}  # fmt: skip


Files = dict[str, dict[int, tuple[list[Sealed], int]]]
Parts = Callable[[Worker, str], tuple[list[Sealed], NDArray[Any]]]


class Rows(Struct):
    """Where the rows of a ledger are: Parquet files by stream and worker, and arrays of the live segments.

    With the files goes the seq of the last row that counts: a segment may be sealed with rows later than the look.
    """

    files: Files
    live: dict[str, NDArray[Any]]


def rows_of(loaded: Mapping[str, NDArray[Any]], workers: Sequence[Worker], parts: Parts) -> Rows:
    """The rows of some workers: streams that are `loaded`, else their sealed files, and what is not sealed yet.

    parts: where the rows of one stream of one worker lie, as `Ledger.parts` says.
    """
    files: Files = {}
    live: dict[str, NDArray[Any]] = {}
    for stream in STREAMS:
        if stream in loaded:
            live[stream] = loaded[stream]
            continue
        dtype = m.STREAMS[stream]
        assert dtype is not None
        tails: list[NDArray[Any]] = []
        for worker in workers:
            if stream in worker.chains:
                sealed, tail = parts(worker, stream)
                tails.append(tail)
                if sealed:
                    files.setdefault(stream, {})[worker.worker] = (sealed, worker.last_seq)
        live[stream] = tails[0] if len(tails) == 1 else np.concatenate([np.empty(0, dtype), *tails])
    return Rows(files, live)


def check_files(rows: Rows, query: str) -> None:
    """Verify the sealed files behind the views that a query names, once as long as they lie there unchanged.

    DuckDB does not: one flipped bit is another number. Raises LedgerError that names the file. Of a file that is not
    there any more (replaced, or missing) DuckDB says so.
    """
    words = {word.removeprefix("raw_") for word in re.findall(r"\w+", query.lower())}
    for stream in {stream for view in BEHIND.keys() & words for stream in BEHIND[view]}:
        for found, _ in rows.files.get(stream, {}).values():
            for part in found:
                with contextlib.suppress(FileNotFoundError):
                    check(part.path, part.file)


def relations(files: Files, fees: dict[str, NDArray[Any]]) -> list[str]:
    """The statements that make raw_auctions, raw_bids, raw_wins, raw_events and what follows from them.

    They expect live_<stream> (registered rows) and raw_fees. `fees`: as `splitting.fee_rows` gives them.
    """
    sealed = {stream: _sealed(stream, files.get(stream, {})) for stream in STREAMS}
    wins = split(sealed["wins"], fees) if sealed["wins"] else ""
    return [
        *(_union(stream, [_live(stream)], sealed[stream]) for stream in ("auctions", "bids")),
        _union("wins", [_live("wins", ("buyer_total_nano", *_PARTIES))], wins),
        _union("events", [_live_events()], sealed["events"]),
        _event_rows(sealed["events"]),
        OUTCOMES,
        CONTACTS,
        POSTINGS,
    ]


def _columns(stream: str) -> list[str]:
    """The columns that a sealed file has and the views need."""
    return [name for name in STORED[stream] if name not in _UNUSED]


def _type(stream: str, name: str) -> str:
    dtype = m.STREAMS[stream]
    assert dtype is not None
    return "BIGINT" if name == "refund_nano" else _SQL_TYPES[dtype[name].str[1:]]


def _sealed(stream: str, by_worker: dict[int, tuple[list[Sealed], int]]) -> str:
    """A query over the sealed files of a stream; "" when there are none."""
    columns = ", ".join(f"{name}::{_type(stream, name)} AS {name}" for name in _columns(stream))
    return " UNION ALL ".join(
        f"SELECT {worker}::USMALLINT AS worker, {columns} "
        f"FROM read_parquet([{', '.join(quoted(part.name) for part in files)}]) WHERE seq <= {last_seq}"
        for worker, (files, last_seq) in sorted(by_worker.items())
    )


def _live(stream: str, more: tuple[str, ...] = ()) -> str:
    return f"SELECT worker, {', '.join([*_columns(stream), *more])} FROM live_{stream}"


def _live_events() -> str:
    refund = f"CASE WHEN kind = {m.KIND_REFUND} THEN -paid_nano ELSE 0 END AS refund_nano"
    return f"SELECT worker, seq, ts_ns, kind, serial, {refund}, number FROM live_events"


def _union(name: str, queries: list[str], sealed: str) -> str:
    return f"CREATE VIEW raw_{name} AS " + " UNION ALL BY NAME ".join(([f"({sealed})"] if sealed else []) + queries)


def listed(kind: str, field: str, shift: int = 0) -> str:
    """The text of a number of row r, by its list in raw_texts AS t: NULL for 0, below, and where there is no text."""
    return f"t.{kind}[greatest(r.{field}::BIGINT + {shift}, 0)]"


def _event_rows(sealed: str) -> str:
    """raw_event_rows: events with what they repeat of their win, campaign and advertiser as texts.

    The wins are grouped so that they are not read where that is not asked for: DuckDB leaves out a left join of which
    nothing is used if its right side has one row a key, and if neither a union nor a cross product stands above it.
    """
    own = ("auction_id", "imp_ix", "slot", "person_key", *(f"{kind}_text" for kind in ("campaign", "advertiser")))
    texts = ", ".join(f"{listed(kind, kind)} AS {kind}_text" for kind in ("campaign", "advertiser"))
    head = "worker, seq, ts_ns, kind, serial, number"
    if not sealed:
        rows = f"SELECT r.*, {texts} FROM live_events AS r, raw_texts AS t"
        return f"CREATE VIEW raw_event_rows AS SELECT {head}, {', '.join(own)}, paid_nano FROM ({rows})"
    terms = ", ".join(f"any_value({name}) AS {name}" for name in (*own, "buyer_total_nano"))
    wins = f"SELECT worker, serial, {terms} FROM (SELECT r.*, {texts} FROM raw_wins AS r, raw_texts AS t) GROUP BY ALL"
    paid = f"CASE WHEN e.kind IN {m.BILLING} THEN w.buyer_total_nano ELSE -e.refund_nano END AS paid_nano"
    return (
        f"CREATE VIEW raw_event_rows AS SELECT e.{head.replace(', ', ', e.')}, "
        f"{', '.join(f'w.{name}' for name in own)}, {paid} "
        f"FROM raw_events AS e LEFT JOIN ({wins}) AS w ON w.worker = e.worker AND w.serial = e.serial"
    )


def _first(mask: int) -> str:
    """When the first event of these kinds happened."""
    return f"min(CASE WHEN ({mask} >> kind::BIGINT) & 1 = 1 THEN ts_ns END)"


OUTCOMES: Final = f"""
CREATE VIEW raw_outcomes AS SELECT worker, serial,
  bit_or(1::BIGINT << kind::BIGINT) AS kinds,
  {_first(SEEN_MASK)} AS shown_ns,
  {_first(CLICK_MASK)} AS clicked_ns,
  {_first(CONVERSION_MASK)} AS converted_ns,
  {_first(BILLED_MASK)} AS billed_ns,
  sum(refund_nano)::BIGINT AS refunded_nano
FROM raw_events GROUP BY worker, serial"""
_PERSON: Final = "PARTITION BY e.worker, w.advertiser, w.person_key ORDER BY e.seq"
_IS_BILLED: Final = f"e.kind IN {m.BILLING}"
CONTACTS: Final = f"""
CREATE VIEW raw_contacts AS SELECT * FROM (
  SELECT e.worker, e.seq, e.ts_ns, e.serial, {_IS_BILLED} AS billing, w.buyer_total_nano AS paid_nano,
    w.person_key, w.advertiser, w.campaign, w.publisher, w.segment, w.flags, w.bill,
    count(*) FILTER ({_IS_BILLED}) OVER ({_PERSON}) AS contact_n,
    sum(CASE WHEN {_IS_BILLED} THEN w.buyer_total_nano ELSE -e.refund_nano END) OVER ({_PERSON})::BIGINT
      AS cum_rent_nano,
    (e.ts_ns - max(CASE WHEN {_IS_BILLED} THEN e.ts_ns END)
      OVER ({_PERSON} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) / 86400e9 AS days_since_last
  FROM raw_events AS e JOIN raw_wins AS w ON w.worker = e.worker AND w.serial = e.serial
  WHERE w.person_key <> 0 AND e.kind IN {(*m.BILLING, m.KIND_REFUND)}
) WHERE billing"""
_PARTS: Final = "p.buyer_total_nano, " + ", ".join(f"-p.{name}" for name in _PARTIES)
_NAMED: Final = ", ".join(f"'{party}'" for party in ("advertiser", *m.PARTIES))
POSTINGS: Final = f"""
CREATE VIEW raw_postings AS SELECT * FROM (
  SELECT p.worker, p.seq, p.ts_ns, p.serial, p.kind, p.advertiser, p.publisher, p.endpoint,
    unnest([{_NAMED}]) AS party, unnest([{_PARTS}]) AS amount_nano
  FROM (
    SELECT e.worker, e.seq, e.ts_ns, e.serial, e.kind, w.advertiser, w.publisher, w.endpoint, w.buyer_total_nano,
      {", ".join(f"w.{name}" for name in _PARTIES)}
    FROM raw_events AS e JOIN raw_wins AS w ON w.worker = e.worker AND w.serial = e.serial
    WHERE {_IS_BILLED}
    UNION ALL BY NAME SELECT * FROM raw_refunds
  ) AS p
) WHERE amount_nano <> 0"""
# the awards that money went back from, and their refunds, in order: few rows
REFUNDED: Final = f"""
SELECT e.worker, e.seq, e.ts_ns, e.serial, e.kind, e.refund_nano, w.advertiser, w.publisher, w.endpoint,
  {", ".join(f"w.{name}" for name in _PARTIES)}
FROM (SELECT * FROM raw_events WHERE kind = {m.KIND_REFUND}) AS e
JOIN raw_wins AS w ON w.worker = e.worker AND w.serial = e.serial
ORDER BY e.worker, e.serial, e.seq"""
