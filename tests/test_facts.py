"""`facts`, on which reports count, are compiled columns: row for row they say what the SQL views say."""

from pathlib import Path
from typing import Any

import pytest

from exchange import Ledger
from exchange.report.asking import Books
from tests.sql_books import sealed_copy, write_books

# of each row of a win in facts, from the views
SAME = (
    ("advertiser", "coalesce(advertiser, 'unknown')"),
    ("campaign", "coalesce(campaign, 'unknown')"),
    ("segment", "coalesce(segment, 'no segment')"),
    ("publisher", "coalesce(publisher, 'unknown')"),
    ("week", "strftime(week, '%Y-%m-%d')"),
    ("month", "strftime(month, '%Y-%m')"),
    ("rented", "CASE WHEN billed_time IS NOT NULL THEN person END"),
    ("billed_month", "date_trunc('month', billed_time)::DATE"),
    ("billed", "billed_time IS NOT NULL"),
    ("known", "person IS NOT NULL"),
    ("local", "campaign IS NOT NULL AND endpoint = 'local'"),
    ("named", "advertiser IS NOT NULL"),
    *(
        (name, name)
        for name in ("own", "lost", "seen", "clicked", "converted", "status", "total_nano", "paid_nano",
                     "refunded_nano", "net_nano", "value_nano", "pctr")
    ),
)  # fmt: skip
CONTACT = ("advertiser", "rented", "contact_n", "net_nano", "clicked", "contact_week", "contact_month")
OF_VIEW = """SELECT coalesce(advertiser, 'unknown'), person, contact_n, net_nano, clicked,
  strftime(week, '%Y-%m-%d'), strftime(month, '%Y-%m') FROM contacts ORDER BY ALL"""


@pytest.fixture(scope="module", params=["live", "half", "sealed"])
def books(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Books:
    live = write_books(tmp_path_factory.mktemp("facts") / "live")
    folder: Path = live
    if request.param != "live":
        folder = sealed_copy(live, live.parent / request.param, everything=request.param == "sealed")
    return Books(Ledger(folder))


def test_facts_are_the_rows_of_the_wins(books: Books) -> None:
    mine = books.sql(f"SELECT {', '.join(name for name, _ in SAME)} FROM facts ORDER BY ALL")
    assert mine == books.sql(f"SELECT {', '.join(text for _, text in SAME)} FROM wins ORDER BY ALL")
    assert mine == books.sql(f"SELECT {', '.join(name for name, _ in SAME)} FROM contact_facts ORDER BY ALL")
    said: list[set[Any]] = [set(column) for column in zip(*mine, strict=True)]
    places = [name for name, _ in SAME]
    for name in ("own", "seen", "clicked", "converted", "billed", "known"):
        assert said[places.index(name)] == {True, False}, f"the ledger tries both of {name}"
    assert {"billed", "held", "released", "refunded", "part refunded"} <= said[places.index("status")]


def test_contacts_are_numbered_as_in_the_view(books: Books) -> None:
    mine = books.sql(f"SELECT {', '.join(CONTACT)} FROM contact_facts WHERE rented IS NOT NULL ORDER BY ALL")
    assert mine == books.sql(OF_VIEW) and max(row[2] for row in mine) > 1
    assert {row[0] for row in books.sql("SELECT contact_n FROM contact_facts WHERE rented IS NULL")} == {0}
