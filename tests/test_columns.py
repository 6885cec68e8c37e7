"""Columns of a ledger against its rows, and the walk over them against a naive count; live, sealed, half sealed."""

import datetime
import shutil
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as m
from exchange.books import tally as ta
from exchange.books.count import Count
from exchange.books.run_summary import summarise
from exchange.rent import columns as co
from exchange.rent import waterfall
from exchange.rent.blocks import LedgerError
from exchange.rent.columns import Columns
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names
from exchange.rent.seal import seal
from tests.ledger_maker import SECOND, Maker, packed, small


def write(folder: Path, worker: int = 0, steps: int = 300) -> Maker:
    """A ledger in many small segments, with refunds, over two months; as the exchange names its fee sets."""
    journal = small(folder, worker=worker)
    maker = Maker(journal)
    if worker == 0:
        names = Names(folder)
        assert names.id("fees", waterfall.terms_of(maker.fees)) == 1
        names.close()
    plain = maker.put

    def put(stream: str, kind: int, **values: object) -> None:
        if stream == "wins":
            values |= {"fees": 1, "flags": int(values["flags"]) | m.FLAG_DATA}  # type: ignore[call-overload]
        plain(stream, kind, **values)

    maker.put = put  # type: ignore[method-assign]
    happen = maker.event

    def event(win: dict[str, int], kind: int) -> None:
        happen(win, kind)
        if kind == m.KIND_IMPRESSION and win["serial"] % 5 == 0:
            for number, part in enumerate((3, 7), 1):
                same = {name: win[name] for name in ("auction_id", "serial", "person_key", "campaign", "advertiser")}
                maker.put("events", m.KIND_REFUND, **same, number=number, paid_nano=-(win["buyer_total_nano"] // part))

    maker.event = event  # type: ignore[method-assign]
    maker.run(steps, seed=worker + 1)
    maker.now += 33 * 86_400 * SECOND
    maker.run(steps, seed=worker + 9, base=3)
    journal.close()
    return maker


@pytest.fixture(scope="module", params=["live", "sealed", "half"])
def folder(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    write(path)
    write(path, worker=3, steps=120)
    if request.param != "live":
        seal(path, everything=True)
    if request.param == "half":  # the exchange goes on behind what was sealed
        journal = small(path, worker=3)
        maker = Maker(journal, serial=1_000)
        win = maker.step([900_000, 800_000], person=2**63 + 5)
        assert win is not None
        journal.close()
    return path


@pytest.mark.parametrize("stream", ["auctions", "bids", "wins", "events"])
def test_every_column_is_that_of_the_rows(folder, stream):
    rows, columns = getattr(Ledger(folder), stream), Columns(Ledger(folder), stream)
    assert len(columns) == len(rows) > 100
    for name in rows.dtype.names:
        assert np.array_equal(columns[name], rows[name]), name
        assert columns[name].dtype == rows.dtype[name] and columns[name].flags.c_contiguous
    if stream == "wins":
        parties = np.stack([rows[f"{party}_nano"] for party in m.PARTIES], axis=1)
        assert np.array_equal(columns["parties"], parties)
        pieces = list(columns.chunks("serial", "worker"))
        assert sum(piece.rows for piece, _ in pieces) == len(rows) and len(pieces) > 10
        assert all((worker == piece.worker).all() for piece, (_, worker) in pieces)
        ends = columns.ends("serial")
        for worker, (first, last) in ends.items():
            mine = rows["serial"][rows["worker"] == worker]
            assert (first, last) == (mine[0], mine[-1])


def test_a_summary_is_the_same_of_columns_of_rows_and_of_what_was_sealed(tmp_path):
    write(tmp_path / "live")
    shutil.copytree(tmp_path / "live", tmp_path / "sealed")
    seal(tmp_path / "sealed", everything=True)
    live, rows = Ledger(tmp_path / "live"), Ledger(tmp_path / "live")
    assert summarise(live).refunds > 50
    assert len(rows.wins) + len(rows.events) + len(rows.auctions) + len(rows.bids)  # loaded: columns are cut from them
    assert summarise(live) == summarise(rows) == summarise(Ledger(tmp_path / "sealed"))
    assert "wins" not in vars(live)  # nobody needed whole rows


def test_segments_that_are_sealed_while_columns_are_read(tmp_path):
    write(tmp_path)
    expected = Ledger(tmp_path).wins
    ledger = Ledger(tmp_path)
    columns = Columns(ledger, "wins")
    found = []
    for piece, (serial,) in columns.chunks("serial"):
        if not found:
            seal(tmp_path, everything=True)
        assert piece.rows == serial.size
        found.append(serial)
    assert np.array_equal(np.concatenate(found), expected["serial"])
    assert np.array_equal(columns["price_to_win_nano"], expected["price_to_win_nano"])


def test_a_damaged_block_is_found(tmp_path):
    write(tmp_path)
    path = tmp_path / "wins-w0-000002.seg"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="wins-w0-000002"):
        Columns(Ledger(tmp_path), "wins").load("serial")


# ---- what is counted -----------------------------------------------------------------------------------------


def rows_of(wins: list[dict[str, int]], events: list[dict[str, int]]) -> SimpleNamespace:
    """A ledger of some wins and events, in memory."""

    def table(stream, kind, rows):
        out = np.zeros(len(rows), m.STREAMS[stream])
        for k, row in enumerate(rows):
            for name, value in {"kind": kind, **row}.items():
                out[name][k] = value
        return out

    return SimpleNamespace(
        wins=table("wins", m.KIND_WIN, wins), events=table("events", 0, events),
        auctions=np.zeros(0, m.AUCTION_ROW), bids=np.zeros(0, m.BID_ROW), names=Names(None), meta={}, cut={},
    )  # fmt: skip


MONTH = 31 * 86_400 * SECOND
award = st.fixed_dictionaries(
    {
        "worker": st.integers(0, 1), "person_key": st.sampled_from([0, 1, 2, 2**64 - 1, 2**40 + 2]),
        "advertiser": st.sampled_from([1, 2, 70_000, 4_000_000_000]), "own": st.booleans(),
        "total": st.integers(0, 10**12), "at": st.integers(-2, 900), "fate": st.sampled_from("brrh"),
        "converted": st.booleans(), "back": st.lists(st.integers(1, 10**11), max_size=3), "skip": st.integers(1, 3),
    }
)  # fmt: skip


@given(st.lists(award, max_size=40))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_people_months_and_refunds_against_dictionaries(awards):
    awards.sort(key=lambda a: a["worker"])
    wins, events, paid, serial = [], [], [], 10
    for one in awards:
        serial += one["skip"]
        parts = {f"{party}_nano": 0 for party in m.PARTIES} | {"publisher_nano": one["total"]}
        flags = m.FLAG_OWN * one["own"]
        wins.append({k: one[k] for k in ("worker", "person_key", "advertiser")}
                    | {"serial": serial, "buyer_total_nano": one["total"], "clearing_nano": one["total"],
                       "flags": flags, **parts})  # fmt: skip
        event = {"worker": one["worker"], "serial": serial, "ts_ns": one["at"] * MONTH // 3}
        left = one["total"]
        if one["fate"] == "b":
            events.append({**event, "kind": m.KIND_IMPRESSION})
            for back in one["back"]:
                events.append({**event, "kind": m.KIND_REFUND, "paid_nano": -min(back, left)})
                left -= min(back, left)
            paid.append((one, left, event["ts_ns"]))
        if one["converted"]:
            events.append({**event, "kind": m.KIND_CONVERSION})
        if one["fate"] == "r":
            events.append({**event, "kind": m.KIND_RELEASE})
    s = summarise(rows_of(wins, events))
    pairs, months, people_months, firsts = defaultdict(list), set(), set(), {}
    for one, left, ts_ns in paid:
        if one["person_key"]:
            pair = one["advertiser"], one["person_key"]
            pairs[pair].append((one, left))
            when = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=ts_ns // 1000)
            months.add((*pair, when.year, when.month))
            people_months.add((one["person_key"], when.year, when.month))
            firsts.setdefault((*pair, one["worker"]), left)
    assert s.spend_nano == sum(left for _, left, _ in paid)
    assert s.refunded_nano == sum(one["total"] - left for one, left, _ in paid)
    assert s.refunds == sum(len(one["back"]) for one, _, _ in paid)
    assert [p.nano for p in s.parties if p.name == "publisher"] == [s.spend_nano] == [s.clearing_nano]
    assert (s.customers, s.contacts) == (len(pairs), sum(map(len, pairs.values())))
    assert s.people == len({person for _, person in pairs})
    assert (s.customer_months, s.person_months) == (len(months), len(people_months))
    assert s.rented_again == sum(len(rows) > 1 for rows in pairs.values())
    assert s.own_customers == sum(any(one["own"] for one, _ in rows) for rows in pairs.values())
    new = [any(one["converted"] and not one["own"] for one, _ in rows) for rows in pairs.values()]
    assert s.new_customers == sum(new)
    assert (s.first_contacts, s.first_contacts_nano) == (len(firsts), sum(firsts.values()))
    assert s.rent.max_nano == max((sum(left for _, left in rows) for rows in pairs.values()), default=0)
    assert s.open_holds == sum(one["fate"] == "h" for one in awards)
    assert sum(row.people for row in s.advertisers) == s.customers
    assert sum(row.rented_again for row in s.advertisers) == s.rented_again


def test_serials_with_wide_gaps_are_looked_up():
    gaps = [0, 5, 2**40, 2**40 + 1, 2**62]
    wins = [{"serial": serial, "buyer_total_nano": 10**k, "advertiser": 1} for k, serial in enumerate(gaps)]
    events = [{"serial": serial, "kind": m.KIND_IMPRESSION} for serial in (5, 2**40 + 1, 77)]
    s = summarise(rows_of(wins, events))
    assert (s.billed, s.spend_nano, s.open_holds) == (2, 10 + 1000, 3)


def test_serials_that_do_not_rise_are_refused():
    with pytest.raises(LedgerError, match="award serial 4 does not rise"):
        summarise(rows_of([{"serial": 3}, {"serial": 4}, {"serial": 4}, {"serial": 9}], []))


@given(st.integers(-200_000, 200_000))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_months_are_those_of_the_calendar(day):
    when = np.datetime64("1970-01-01") + day
    assert ta.month_of(day) == when.astype("datetime64[M]").astype(np.int64)


def test_tables_grow_and_keep_what_they_hold():
    table, keys = ta.Groups(8), np.arange(1, 40_000, dtype=np.uint32) * np.uint32(65_537)
    for part in [*np.array_split(keys, 9), *np.array_split(keys, 7)]:
        table.reserve(part.size)
        ta.count_imps(part, (part & 1).astype(np.uint8), table.slots, table.keys, table.n, table.sums)
    assert np.array_equal(table.found, keys) and (table.totals[:, ta.ASKED] == 2).all()
    assert np.array_equal(table.totals[:, ta.SOLD], 2 * (keys & 1).astype(np.int64))


def test_memory_stays_below_whole_rows(tmp_path, monkeypatch):
    """No column of the wins stays behind: what is held at the end is what the tables hold."""
    write(tmp_path)
    count = Count(Ledger(tmp_path))
    assert not count.wins._held and not count.events._held and not count.bids._held
    monkeypatch.setattr(co, "cores", lambda: 1)
    assert Count(Ledger(tmp_path)).totals.tolist() == count.totals.tolist()


def test_a_journal_in_memory_is_read_where_it_lies():
    journal = Journal(None, block_rows=7)
    Maker(journal).run(50)
    ledger = Ledger.in_memory(journal)
    assert np.array_equal(Columns(ledger, "wins")["seq"], Ledger.in_memory(journal).wins["seq"])
    journal.append("wins", packed(m.WIN_ROW, seq=10**6, kind=m.KIND_WIN))
    assert len(Columns(ledger, "wins")) == len(Columns(ledger, "wins")["seq"]) == len(ledger.wins)
