"""A ledger as reports read it: opened once, asked in SQL over the views of docs/ledger.md."""

import datetime
from pathlib import Path
from typing import Any, Final

from exchange.rent.ledger import Ledger

ROW_LIMIT: Final = 100_000  # rows of one group-by that a report may hold


class Books:
    """One ledger, opened once; answers are remembered, so that two figures over one query cost one."""

    def __init__(self, ledger: Ledger) -> None:
        from exchange.rent.views import connect

        self.ledger = ledger
        self.currency = str(ledger.meta.get("currency", ""))
        self._con = connect(ledger)
        self._kept: dict[str, list[tuple[Any, ...]]] = {}

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query over the views; asked again it is not run again."""
        if query not in self._kept:
            self._kept[query] = self._con.execute(query).fetchall()
        return self._kept[query]

    def one(self, query: str) -> tuple[Any, ...]:
        """The first row of a query that always has one (an aggregate without GROUP BY)."""
        return self.sql(query)[0]

    def count(self, view: str, where: str = "true") -> int:
        """How many rows of a view meet a condition."""
        return int(self.one(f"SELECT count(*) FROM {view} WHERE {where}")[0])

    def span(self) -> tuple[str, str]:
        """First and last day (UTC) of the auctions, as dates; empty texts where there are none."""
        first, last = self.one("SELECT min(time), max(time) FROM auctions")
        return _day(first), _day(last)

    @property
    def name(self) -> str:
        """What the ledger's folder is called; empty for one in memory."""
        folder = getattr(self.ledger, "folder", None)
        return Path(folder).name if folder else ""

    def close(self) -> None:
        """Give the memory of the views back."""
        self._con.close()


def _day(time: datetime.datetime | None) -> str:
    return "" if time is None else time.date().isoformat()


def ratio(over: float, under: float, times: float = 1.0) -> float | None:
    """times x over / under; None where there is nothing to divide by."""
    return times * over / under if under else None
