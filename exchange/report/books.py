"""A ledger as reports read it: opened once, asked in SQL over the views of docs/ledger.md and over `facts`."""

import datetime
from typing import Any, Final

from exchange.rent.ledger import Ledger

UNKNOWN: Final = "unknown"  # a name that nobody gave
NO_SEGMENT: Final = "no segment"  # the campaign targets none
BY: Final = ("advertiser", "campaign", "segment", "publisher", "week", "month")  # dimensions of `facts`
# One row a win: what every figure about money and people counts. Made once and kept, because the wins' outcomes are a
# join that each query would pay for again.
FACTS: Final = f"""
CREATE TEMP TABLE facts AS SELECT
  coalesce(advertiser, '{UNKNOWN}') AS advertiser, coalesce(campaign, '{UNKNOWN}') AS campaign,
  coalesce(segment, '{NO_SEGMENT}') AS segment, coalesce(publisher, '{UNKNOWN}') AS publisher,
  strftime(week, '%Y-%m-%d') AS week, strftime(month, '%Y-%m') AS month,
  CASE WHEN billed_time IS NOT NULL THEN person END AS rented,
  date_trunc('month', billed_time)::DATE AS billed_month, billed_time IS NOT NULL AS billed,
  own, lost, seen, clicked, converted, status, total_nano, paid_nano, refunded_nano, net_nano
FROM wins"""


class Books:
    """One ledger, opened once; answers are remembered, so that two figures over one query cost one.

    `facts` has one row a win: the dimensions BY as texts (week and month of the sale), `rented` (the person, where the
    win was billed and the person known: a contact), `billed_month`, `billed`, own, lost, seen, clicked, converted,
    status, total_nano, paid_nano, refunded_nano, net_nano.
    """

    def __init__(self, ledger: Ledger) -> None:
        from exchange.rent.views import connect

        self.ledger = ledger
        self.currency = str(ledger.meta.get("currency", ""))
        self._con = connect(ledger)
        self._kept: dict[str, list[tuple[Any, ...]]] = {}
        self._made: set[str] = set()

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query over the views and `facts`; asked again it is not run again."""
        if query not in self._kept:
            if "facts" in query:
                self.keep("facts", FACTS)
            self._kept[query] = self._con.execute(query).fetchall()
        return self._kept[query]

    def keep(self, name: str, statement: str) -> None:
        """Make a temporary table once: `statement` creates it under `name`."""
        if name not in self._made:
            if name != "facts" and "facts" in statement:
                self.keep("facts", FACTS)
            self._con.execute(statement)
            self._made.add(name)

    def one(self, query: str) -> tuple[Any, ...]:
        """The first row of a query that always has one (an aggregate without GROUP BY)."""
        return self.sql(query)[0]

    def count(self, view: str, where: str = "true") -> int:
        """How many rows of a view meet a condition."""
        return int(self.one(f"SELECT count(*) FROM {view} WHERE {where}")[0])

    def times(self) -> tuple[datetime.datetime | None, datetime.datetime | None]:
        """Time (UTC) of the first and the last auction; None where there are none."""
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
        self._con.close()


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
