"""The SQL views: what they say follows from the rows, alike for live, sealed and half sealed ledgers."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from exchange import Ledger
from exchange import market as m
from exchange.rent.names import Names
from exchange.rent.seal import seal
from exchange.rent.sql.answers import SqlError
from exchange.rent.sql.connection import connect
from exchange.rent.sql.splitting import fee_lists, fee_rows, split
from exchange.rent.sql.views import VIEWS
from exchange.rent.waterfall import fee_record, mirror, terms_of, total_of
from exchange.rent.waterfall import split as split_one
from tests.sql_books import ADVERTISERS, Books, sealed_copy, write_books

NAMES = [view.name for view in VIEWS]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_books(tmp_path_factory.mktemp("sql") / "live")


@pytest.fixture(scope="module")
def half(live: Path) -> Path:
    return sealed_copy(live, live.parent / "half", everything=False)


@pytest.fixture(scope="module")
def sealed(live: Path) -> Path:
    return sealed_copy(live, live.parent / "sealed", everything=True)


def all_rows(folder: Path, view: str) -> list[tuple[Any, ...]]:
    return Ledger(folder).sql(f"SELECT * FROM {view} ORDER BY ALL").rows


# ---- sealed as live ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", NAMES)
def test_sealed_half_sealed_and_live_ledgers_answer_alike(view: str, live: Path, half: Path, sealed: Path) -> None:
    assert list(half.glob("wins-*.seg")) and list((half / "sealed").glob("wins-*.parquet"))
    assert not list(sealed.glob("wins-*.seg"))
    expected = all_rows(live, view)
    assert expected and all_rows(half, view) == expected and all_rows(sealed, view) == expected
    kinds = [Ledger(folder).sql(f"DESCRIBE {view}").rows for folder in (live, half, sealed)]
    assert kinds[0] == kinds[1] == kinds[2]


weights = some.lists(some.integers(0, 10_000), min_size=10, max_size=10).filter(lambda w: sum(w[:6]) and sum(w[6:]))
fee_sets = some.builds(
    lambda base, ratio, fixed, w, fx: fee_record(
        base, base * ratio // 100, fixed, tuple(w[:6]), tuple(w[6:]), fx * (base * ratio // 100) // base
    ),
    some.integers(100, 10_000),
    some.integers(0, 400),
    some.integers(0, 10**9),
    weights,
    some.integers(0, 2_500),
)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(some.lists(fee_sets, min_size=1, max_size=3), some.lists(some.integers(0, 10**12), min_size=1), some.booleans())
def test_the_split_in_sql_is_the_waterfall(fees: list[Any], clearings: list[int], data: bool) -> None:
    names, n = Names(None), len(clearings)
    ids = [names.id("fees", terms_of(record)) for record in fees]
    rows = {
        "fees": np.array([ids[k % len(ids)] for k in range(n)], np.uint16),
        "clearing_nano": np.array(clearings, np.int64),
        "flags": np.full(n, m.FLAG_DATA if data else m.FLAG_OWN, np.uint8),
    }
    con = duckdb.connect()
    con.register("given_fees", fee_rows(names))
    con.execute(fee_lists())
    con.register("rows", rows)
    columns = ", ".join(["clearing_nano", "buyer_total_nano", *(f"{party}_nano" for party in m.PARTIES)])
    found = con.execute(f"SELECT {columns} FROM ({split('SELECT * FROM rows', fee_rows(names))})").fetchall()
    parties = np.zeros(len(m.PARTIES), np.int64)
    expected = []
    for k, clearing in enumerate(clearings):
        record = fees[ids.index(int(rows["fees"][k]))]
        split_one(record, clearing, int(data), parties)
        expected.append((clearing, int(total_of(record, clearing)), *map(int, parties)))
    assert sorted(found) == sorted(expected)


# ---- what the views say ------------------------------------------------------------------------------------------


def outcomes(ledger: Ledger) -> dict[tuple[int, int], dict[str, Any]]:
    """What became of each win, one event at a time."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    wins = {(int(win["worker"]), int(win["serial"])): win for win in ledger.wins}
    for key in wins:
        found[key] = {"status": "held", "seen": False, "clicked": False, "converted": False, "opted_in": False,
                      "opted_out": False, "paid": 0, "refunded": 0}  # fmt: skip
    for event in ledger.events:
        key = (int(event["worker"]), int(event["serial"]))
        kind, state, win = int(event["kind"]), found[key], wins[key]
        shows = not win["flags"] & m.FLAG_LOST
        if kind in m.BILLING:
            state.update(status="billed", paid=int(win["buyer_total_nano"]), seen=state["seen"] or shows)
        if kind == m.KIND_VIEW or (kind == m.KIND_CLICK and win["bill"] != m.BILL_IMPRESSION):
            state["seen"] = state["seen"] or shows
        state["clicked"] |= kind in m.CLICKS
        state["converted"] |= kind in m.CONVERSIONS
        state["opted_in"] |= kind == m.KIND_OPT_IN
        state["opted_out"] |= kind == m.KIND_OPT_OUT
        if kind == m.KIND_RELEASE:
            state["status"] = "released"
        if kind == m.KIND_UNPAID:
            state["status"] = "unpaid"
        if kind == m.KIND_REFUND:
            state["refunded"] -= int(event["paid_nano"])
            state["status"] = "refunded" if state["refunded"] == state["paid"] else "part refunded"
    return found


def test_wins_say_what_became_of_them(live: Path) -> None:
    ledger = Ledger(live)
    rows = ledger.sql(
        "SELECT worker, serial, status, seen, clicked, converted, opted_in, opted_out, paid_nano, refunded_nano, "
        "net_nano, paid, net FROM wins"
    ).rows
    expected = outcomes(ledger)
    assert len(rows) == len(expected)
    assert {row[2] for row in rows} == {"held", "billed", "part refunded", "refunded", "released", "unpaid"}
    for worker, serial, status, seen, clicked, converted, agreed, left, paid, refunded, net, *human in rows:
        assert expected[worker, serial] == {
            "status": status, "seen": seen, "clicked": clicked, "converted": converted, "opted_in": agreed,
            "opted_out": left, "paid": paid, "refunded": refunded,
        }  # fmt: skip
        assert net == paid - refunded and human == [paid / 1e9, net / 1e9]


def test_times_are_those_of_the_first_events(live: Path) -> None:
    ledger = Ledger(live)
    rows = ledger.sql(
        "SELECT worker, serial, epoch_us(billed_time), epoch_us(seen_time), epoch_us(clicked_time), "
        "epoch_us(converted_time), seen FROM wins"
    ).rows
    first: dict[tuple[int, int, int], int] = {}
    for event in ledger.events:
        first.setdefault((int(event["worker"]), int(event["serial"]), int(event["kind"])), int(event["ts_ns"]) // 1000)

    def at(worker: int, serial: int, kinds: tuple[int, ...]) -> int | None:
        return min((first[worker, serial, kind] for kind in kinds if (worker, serial, kind) in first), default=None)

    bills = {(int(win["worker"]), int(win["serial"])): int(win["bill"]) for win in ledger.wins}
    for worker, serial, billed, seen, clicked, converted, was_seen in rows:
        shows = (*m.BILLING, m.KIND_VIEW, *((m.KIND_CLICK,) if bills[worker, serial] else ()))
        assert billed == at(worker, serial, m.BILLING) and clicked == at(worker, serial, m.CLICKS)
        assert converted == at(worker, serial, m.CONVERSIONS)
        assert seen == (at(worker, serial, shows) if was_seen else None)


def test_contacts_are_as_the_exchange_counted_them(sealed: Path, live: Path) -> None:
    """The history that SQL walks on sealed files is what was recorded when it happened."""
    events = Ledger(live).events
    billed = events[np.isin(events["kind"], m.BILLING) & (events["person_key"] != 0)]
    expected = sorted(zip(*(billed[name].tolist() for name in (
        "worker", "seq", "serial", "person_key", "contact_n", "paid_nano", "cum_rent_nano")), strict=True))  # fmt: skip
    columns = "worker, seq, serial, person, contact_n, paid_nano, cum_rent_nano"
    assert Ledger(sealed).sql(f"SELECT {columns} FROM contacts ORDER BY ALL").rows == expected
    last: dict[tuple[Any, ...], int] = {}
    rows = (
        Ledger(sealed)
        .sql("SELECT worker, advertiser, person, epoch_us(time), days_since_last FROM contacts ORDER BY worker, seq")
        .rows
    )
    for *who, now, days in rows:
        before = last.get(tuple(who))
        assert days == (None if before is None else pytest.approx((now - before) / 86_400e6, abs=1e-9))
        last[tuple(who)] = now


def test_postings_are_double_entry(live: Path) -> None:
    ledger = Ledger(live)
    by_row = defaultdict(dict)
    for worker, seq, _, party, account, debit, credit in ledger.sql(
        "SELECT worker, seq, serial, party, account, debit_nano, credit_nano FROM postings"
    ).rows:
        assert party not in by_row[worker, seq] and min(debit, credit) == 0
        by_row[worker, seq][party] = debit - credit
        if party == "advertiser":
            assert account in ADVERTISERS
    left: dict[tuple[int, int], Any] = {}
    wins = {(int(win["worker"]), int(win["serial"])): win for win in ledger.wins}
    refunds = 0
    for event in ledger.events:
        row, award = (int(event["worker"]), int(event["seq"])), (int(event["worker"]), int(event["serial"]))
        if event["kind"] in m.BILLING:
            left[award] = np.array([wins[award][f"{party}_nano"] for party in m.PARTIES])
            amounts = left[award]
        elif event["kind"] == m.KIND_REFUND:
            given = np.zeros(len(m.PARTIES), np.int64)
            mirror(left[award], -event["paid_nano"], given)
            amounts, refunds = -given, refunds + 1
        else:
            continue
        expected = {"advertiser": int(event["paid_nano"])} | {
            party: -int(amount) for party, amount in zip(m.PARTIES, amounts, strict=True)
        }
        assert by_row.pop(row, {}) == {party: amount for party, amount in expected.items() if amount}
    assert not by_row and refunds > 10


def test_names_are_resolved_and_unknown_ones_are_null(live: Path) -> None:
    ledger = Ledger(live)
    rows = ledger.sql(
        "SELECT campaign, advertiser, creative, seat, endpoint, deal, segment, publisher FROM wins ORDER BY worker, seq"
    ).rows
    for win, row in zip(ledger.wins, rows, strict=True):
        names = [(kind, int(win[kind])) for kind in ("campaign", "advertiser", "creative", "seat")]
        assert list(row[:4]) == [ledger.names.text(kind, number) or None for kind, number in names]
        assert row[4] == ("local" if win["endpoint"] < 0 else "remote-1")
        assert row[5:] == tuple(ledger.names.text(k, int(win[k])) or None for k in ("deal", "segment", "publisher"))
    assert ledger.sql("SELECT DISTINCT country, size, media, format FROM auctions").rows == [
        ("DE", "300x250", "banner", "second_price")
    ]


# ---- what is not asked for costs nothing ---------------------------------------------------------------------------


def plan(folder: Path, query: str) -> str:
    ledger = Ledger(folder)
    con = connect(ledger.rows, ledger.names, ledger.meta)
    return str(con.execute(f"EXPLAIN ANALYZE {query}").fetchall()[0][1])


def test_a_query_reads_only_what_it_names(sealed: Path, half: Path) -> None:
    text = plan(sealed, "SELECT sum(clearing_nano) FROM wins")
    assert "READ_PARQUET" in text and "JOIN" not in text.upper()
    assert "events-w" not in text and "agency" not in text and "//" not in text
    assert "JOIN" not in plan(sealed, "SELECT kind, count(*) FROM events GROUP BY kind").upper()
    assert "JOIN" not in plan(half, "SELECT kind, count(*) FROM events GROUP BY kind").upper()
    assert "JOIN" in plan(sealed, "SELECT kind, count(person) FROM events GROUP BY kind").upper()
    assert "WINDOW" not in plan(half, "SELECT sum(paid_nano) FROM contacts").upper()
    assert "JOIN" in plan(sealed, "SELECT sum(paid_nano) FROM wins").upper()


# ---- asking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT advertizer FROM wins", "did you mean 'advertiser'"),
        ("SELECT * FROM win", 'Did you mean "wins"'),
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "2 statements: expected one"),
        ("", "0 statements: expected one"),
        ("SELECT 'a'::INT", "Could not convert"),
        ("SELECT * FROM wins WHERE advertiser = ?", "parameters"),
        ("COPY wins TO 'stolen.csv'", "expected a SELECT"),
        ("EXPLAIN ANALYZE COPY wins TO 'stolen.csv'", "expected a SELECT"),
        ("EXPLAIN /* */ (ANALYZE) COPY wins TO 'stolen.csv'", "error"),
        ("CREATE TABLE t AS SELECT 1", "expected a SELECT"),
        ("SET threads = 1", "expected a SELECT"),
        ("INSTALL httpfs", "expected a SELECT"),
        ("ATTACH 'other.db'", "expected a SELECT"),
        ("SELECT * FROM read_csv('/etc/hostname')", "disabled"),
        ("SELECT * FROM '/etc/hostname'", ""),
        ("SELECT * FROM glob('/*')", "disabled"),
        ("SELECT content FROM read_text('/etc/hostname')", "disabled"),
        ("SELECT * FROM secret", "does not exist"),
    ],
)
def test_a_wrong_query_is_one_line(query: str, says: str, half: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    secret = np.arange(3)
    assert secret.size
    with pytest.raises(SqlError, match=".") as error:
        assert Ledger(half).sql(query).rows is None
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_sealed_files_cannot_be_written_over(sealed: Path) -> None:
    target = next((sealed / "sealed").glob("wins-*.parquet"))
    before = target.read_bytes()
    with pytest.raises(SqlError, match="expected a SELECT"):
        Ledger(sealed).sql(f"COPY (SELECT 1) TO '{target}' (FORMAT parquet)")
    assert target.read_bytes() == before


def test_an_answer_is_rows_arrays_or_text(half: Path) -> None:
    ledger = Ledger(half)
    query = "SELECT advertiser, sum(total_nano) AS total, max(deal) AS deal FROM wins GROUP BY advertiser ORDER BY 1"
    total = {name: int(ledger.wins["buyer_total_nano"][ledger.wins["advertiser"] == k].sum())
             for k, name in enumerate(ADVERTISERS, 1)}  # fmt: skip
    answer = ledger.sql(query)
    assert answer.columns == ["advertiser", "total", "deal"]
    assert [row[:2] for row in answer.rows] == sorted(total.items()) and answer.rows is answer.rows
    arrays = ledger.sql(query).fetchnumpy()
    assert arrays["total"].dtype == np.int64 and arrays["total"].tolist() == [total[k] for k in sorted(total)]
    masked = ledger.sql("SELECT CASE WHEN serial > 2 THEN sum(serial) END AS s FROM wins GROUP BY serial").fetchnumpy()
    assert masked["s"].mask.any() and not masked["s"].mask.all()
    text = ledger.sql(query).table(2)
    assert text.splitlines()[-1] == "(the first 2 rows; there are more)" and "Fernweh Travel" in text
    assert ledger.sql(query).table().splitlines()[-1] == "(3 rows)"
    ordered = "SELECT worker, serial FROM wins ORDER BY ALL"
    assert list(ledger.sql(ordered).batches(7, 20)) == ledger.sql(ordered).rows[:20]
    assert list(ledger.sql(ordered).batches(7)) == ledger.sql(ordered).rows
    assert (
        ledger.sql("SELECT count(*) FROM wins WHERE advertiser = ?", [ADVERTISERS[0]]).rows
        == ledger.sql("SELECT count(*) FROM wins WHERE advertiser = $who", {"who": ADVERTISERS[0]}).rows
    )


def test_what_a_bidder_wrote_cannot_reach_the_terminal(tmp_path: Path) -> None:
    folder = write_books(tmp_path / "books", steps=5, workers=1)
    names = Names(folder)
    names.id("publisher", "evil\x1b[2J\nname")
    names.close()
    text = Ledger(folder).sql("SELECT text FROM names WHERE text LIKE 'evil%'").table()
    assert "evil?[2J?name" in text and "\x1b" not in text


def test_an_empty_ledger_has_views(tmp_path: Path) -> None:
    from exchange.rent.journal import Journal

    Journal(tmp_path).close()
    ledger = Ledger(tmp_path)
    for view in NAMES:
        assert ledger.sql(f"SELECT * FROM {view}").rows == []


def test_a_look_stays_what_it_was_while_segments_grow_and_are_sealed(tmp_path: Path) -> None:
    """A segment that is sealed after the look may hold later rows: those are not part of it."""
    books = Books(tmp_path, seed=5, block_rows=16, segment_bytes=1 << 14)
    for later in (0, 7, 30, 60, 90):
        for _ in range(40):
            books.step()
        ledger, once = Ledger(tmp_path), Ledger(tmp_path)
        expected = {
            view: once.sql(f"SELECT * FROM {view} ORDER BY ALL").rows for view in ("wins", "events", "contacts")
        }
        for _ in range(later):
            books.step()
        seal(tmp_path)
        for view, rows in expected.items():
            assert ledger.sql(f"SELECT * FROM {view} ORDER BY ALL").rows == rows
            assert once.sql(f"SELECT * FROM {view} ORDER BY ALL").rows == rows
        orphans = "SELECT count(*) FROM events ANTI JOIN wins USING (worker, serial)"
        assert ledger.sql(orphans).rows == [(0,)]
    assert list((tmp_path / "sealed").glob("wins-*.parquet"))
