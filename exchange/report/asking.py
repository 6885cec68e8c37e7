"""A ledger as reports read it: opened once, asked in SQL over the views of docs/sql.md and over `facts`."""

import datetime
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from exchange.books.part import NOBODY, part_of
from exchange.books.run_summary import Summary, summarise
from exchange.rent.columns import Columns
from exchange.rent.ledger import Ledger

if TYPE_CHECKING:
    import duckdb

Only = Mapping[str, tuple[str, ...]]  # names by key: a report of these alone
BY: Final = ("advertiser", "campaign", "segment", "publisher", "week", "month")  # dimensions of `facts`
# One row a win, over the registered columns of books/outcomes.py and the days that they name. A view and no
# table: a query looks up the texts of the columns that it uses, and only those.
FACTS: Final = """
CREATE TEMP VIEW all_{view} AS SELECT
  coalesce({advertiser}, 'unknown') AS advertiser,
  coalesce({campaign}, 'unknown') AS campaign,
  coalesce({segment}, 'no segment') AS segment, coalesce({publisher}, 'unknown') AS publisher,
  d.week[r.day] AS week, d.month[r.day] AS month, d.week[r.billed_day] AS contact_week,
  d.month[r.billed_day] AS contact_month,
  CASE WHEN r.billed_day > 0 THEN nullif(r.person_key, 0) END AS rented,
  d.first[r.billed_day] AS billed_month, r.billed_day > 0 AS billed,
  (r.flags & {own}) <> 0 AS own, (r.flags & {lost}) <> 0 AS lost,
  {seen} AS seen, {clicked} AS clicked, {converted} AS converted, {status} AS status,
  r.buyer_total_nano AS total_nano, {paid} AS paid_nano, r.refunded_nano, {paid} - r.refunded_nano AS net_nano,
  r.person_key <> 0 AS known, r.endpoint < 0 AND {campaign} IS NOT NULL AS local,
  {advertiser} IS NOT NULL AS named, r.bill, r.contact_n, r.value_nano, r.pctr_ppb / 1e9 AS pctr
FROM given_{view} AS r, raw_texts AS t, days_of_{view} AS d"""
DAYS: Final = """
CREATE TABLE days_of_{view} AS SELECT list(strftime(date_trunc('week', day), '%Y-%m-%d') ORDER BY day) AS week,
  list(strftime(day, '%Y-%m') ORDER BY day) AS month, list(date_trunc('month', day)::DATE ORDER BY day) AS first
FROM (SELECT make_timestamp(ns // 1000) AS day FROM given_days_of_{view})"""


class Books:
    """One ledger, opened once; answers are remembered, so that two figures over one query cost one.

    `facts` has one row a win: the dimensions BY as texts (week and month of the sale), `rented` (the person, where the
    win was billed and the person known: a contact), `billed_month`, `billed`, own, lost, seen, clicked, converted,
    status, total_nano, paid_nano, refunded_nano, net_nano, bill (its code), `contact_week` and `contact_month` of the
    billing, value_nano, pctr, `known` (the person), `local` (a campaign here), `named` (the
    advertiser). `contact_facts` is the same with contact_n, which costs as much again.

    With `only`, `facts`, `contact_facts` and `summary` are of the wins of these names; `all_facts` and the views of the
    ledger stay whole, and `where` says which of their rows are meant.
    """

    def __init__(self, ledger: Ledger, only: Only | None = None) -> None:
        self.ledger = ledger
        self.only: Only = only or {}
        self.currency = str(ledger.meta.get("currency", ""))
        self._kept: dict[str, list[tuple[Any, ...]]] = {}
        self._made: set[str] = set()

    @cached_property
    def _con(self) -> "duckdb.DuckDBPyConnection":
        """The views; made when they are first asked."""
        from exchange.rent.sql.connection import connect

        return connect(self.ledger.rows, self.ledger.names, self.ledger.meta)

    @cached_property
    def summary(self) -> Summary:
        """What one compiled walk over the ledger counts: a small part of what the same figures cost in SQL."""
        return summarise(self.ledger, part_of(self.ledger.names, self.only) if self.only else None)

    def where(self, **tables: str) -> str:
        """The SQL condition for what is asked for: `wins="w"` over the view wins AS w; bids and auctions likewise.

        Bids name an advertiser, auctions a publisher; what a view does not have stands in no condition.
        """
        has = {"wins": ("advertiser", "publisher", "segment"), "bids": ("advertiser",), "auctions": ("publisher",)}
        found = []
        for key, names in self.only.items():
            listed = ", ".join(map(_quoted, names))
            for view, alias in tables.items():
                if key == "week" and view == next(iter(tables)):
                    found.append(f"strftime(date_trunc('week', {alias}.time), '%Y-%m-%d') IN ({listed})")
                elif key in has[view]:
                    found.append(f"coalesce({alias}.{key}, '{NOBODY[key]}') IN ({listed})")
        return " AND ".join(found) or "true"

    def _make_facts(self, view: str) -> None:
        """Register what became of the wins, and make `facts` or `contact_facts` over it."""
        from exchange.books.outcomes import facts_of
        from exchange.market import FLAG_LOST, FLAG_OWN
        from exchange.rent.sql.relations import listed
        from exchange.rent.sql.views import CLICKED, CONVERTED, PAID, SEEN, STATUS

        columns, days = facts_of(self.ledger, view == "contact_facts")
        self._con.register(f"given_{view}", columns)
        self._con.register(f"given_days_of_{view}", {"ns": days})
        self._con.execute(DAYS.format(view=view))
        # the expressions of the views, where a win and its outcome are one row
        seen, clicked, converted, status, paid = (
            re.sub(r"\b[ow]\.", "r.", text) for text in (SEEN, CLICKED, CONVERTED, STATUS, PAID)
        )
        names = {kind: listed(kind, kind) for kind in ("advertiser", "campaign", "segment", "publisher")}
        self._con.execute(
            FACTS.format(
                view=view, seen=seen, clicked=clicked, converted=converted, status=status, paid=paid, own=FLAG_OWN,
                lost=FLAG_LOST, **names,
            )
        )  # fmt: skip
        mine = [f"{key} IN ({', '.join(map(_quoted, names))})" for key, names in self.only.items()]
        self._con.execute(f"CREATE TEMP VIEW {view} AS FROM all_{view} WHERE {' AND '.join(mine) or 'true'}")

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query over the views and `facts`; asked again it is not run again."""
        if query not in self._kept:
            self._need(query)
            self._kept[query] = self._con.execute(query).fetchall()
        return self._kept[query]

    def keep(self, name: str, statement: str) -> None:
        """Make a temporary table once: `statement` creates it under `name`."""
        if name not in self._made:
            self._need(statement)
            self._con.execute(statement)
            self._made.add(name)

    def _need(self, query: str) -> None:
        """Make the facts that a query names, and verify the files behind its views."""
        from exchange.rent.sql.relations import check_files

        check_files(self.ledger.rows, query)
        for view in re.findall(r"\b(?:all_)?((?:contact_)?facts)\b", query):
            if view not in self._made:
                self._make_facts(view)
                self._made.add(view)

    def one(self, query: str) -> tuple[Any, ...]:
        """The first row of a query that always has one (an aggregate without GROUP BY)."""
        return self.sql(query)[0]

    def count(self, view: str, where: str = "true") -> int:
        """How many rows of a view meet a condition."""
        return int(self.one(f"SELECT count(*) FROM {view} WHERE {where}")[0])

    def rows(self, stream: str) -> int:
        """How many rows a stream has."""
        return len(Columns(self.ledger, stream))

    def times(self) -> tuple[datetime.datetime | None, datetime.datetime | None]:
        """Time (UTC) of the first and the last auction; None where there are none."""
        if "summary" in vars(self) and not self.only:
            days = (self.summary.first_ns, self.summary.last_ns) if self.summary.auctions else ()
            found = [datetime.datetime.fromtimestamp(ns // 10**9, datetime.UTC) for ns in days]
            return (found[0], found[1]) if found else (None, None)
        first, last = self.one("SELECT min(time), max(time) FROM auctions")
        return first, last

    def span(self) -> tuple[str, str]:
        """First and last day (UTC) of the auctions, as dates; empty texts where there are none."""
        first, last = self.times()
        return _day(first), _day(last)

    @property
    def name(self) -> str:
        """What the ledger's folder is called; empty for one in memory."""
        return self.ledger.path.resolve().name if self.ledger.path else ""

    def close(self) -> None:
        """Give the memory of the views back."""
        if "_con" in vars(self):
            self._con.close()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _day(time: datetime.datetime | None) -> str:
    return "" if time is None else time.date().isoformat()


def ratio(over: float, under: float, times: float = 1.0) -> float | None:
    """times x over / under; None where there is nothing to divide by."""
    return times * over / under if under else None


def money(nano: Any) -> float:
    """Nano as currency; 0 for a sum over nothing."""
    return int(nano or 0) / 1e9


def by_title(by: tuple[str, ...]) -> str:
    """The title of a table that is split by some dimensions."""
    return f"By {by[0]}" if len(by) == 1 else "Part by part"
