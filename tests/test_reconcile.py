"""Reconcile: an honest ledger is clean; each invariant, broken once, is found and named."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from exchange import market as m
from exchange.books.reconcile import FOUND_MAX, reconcile, render
from exchange.rent import manifest as mf
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names
from exchange.rent.seal import retain, seal
from exchange.rent.waterfall import terms_of
from tests.ledger_maker import START_NS, Maker

FIXED = ("auctions", "bids", "wins", "events")


def history(steps: int = 120, seed: int = 8) -> Ledger:
    journal, names = Journal(None), Names(None)
    maker = Maker(journal)
    assert names.id("fees", terms_of(maker.fees)) == maker.fees_id
    maker.run(steps, seed, refunds=0.3)
    return Ledger.in_memory(journal, names)


def opened(ledger: Ledger, meta: dict[str, Any] | None = None) -> SimpleNamespace:
    """The ledger's rows, free to be changed."""
    rows = {name: getattr(ledger, name).copy() for name in FIXED}
    stub = SimpleNamespace(**rows, meta=meta or {}, cut={}, workers=ledger.workers, names=ledger.names, path=None,
                           dropped=[], drifts=list)  # fmt: skip
    stub.seqs = lambda: {0: np.sort(np.concatenate([getattr(stub, name)["seq"] for name in FIXED]))}
    stub.gaps = lambda: Ledger.gaps(stub)
    return stub


@pytest.fixture(scope="module")
def honest() -> Ledger:
    ledger = history()
    BILLED[:] = ledger.events["serial"][ledger.events["kind"] == m.KIND_IMPRESSION].tolist()
    return ledger


@settings(derandomize=True, deadline=None, max_examples=15)
@given(some.integers(0, 10**6), some.integers(1, 60), some.integers(1, 9))
def test_an_honest_ledger_is_clean(seed, steps, people):
    journal = Journal(None)
    Maker(journal).run(steps, seed, people, refunds=0.2)
    result = reconcile(Ledger.in_memory(journal))
    assert (result.count, result.differences, result.cut) == (0, [], 0)
    assert render(result) == f"reconcile: {result.rows} rows, 0 differences\n"


def test_budgets_exactly_used_up_are_clean(honest):
    budgets = budgets_of(honest)
    assert reconcile(opened(honest, {"budgets_nano": budgets})).count == 0
    for campaign in budgets:
        short = {**budgets, campaign: budgets[campaign] - 1}
        result = reconcile(opened(honest, {"budgets_nano": short}))
        assert {d.invariant for d in result.differences} == {"I4"}
        assert result.differences[0].found == str(budgets[campaign])


def budgets_of(ledger: Ledger) -> dict[str, int]:
    """The most that each campaign ever had spent and held, step by step."""
    used: dict[int, int] = {}
    most: dict[str, int] = {}
    totals = {int(row["serial"]): (int(row["campaign"]), int(row["buyer_total_nano"])) for row in ledger.wins}
    steps = [(int(row["seq"]), int(row["serial"]), 1) for row in ledger.wins]
    steps += [(int(row["seq"]), int(row["serial"]), -1) for row in ledger.events if row["kind"] == m.KIND_RELEASE]
    back = [(int(row["seq"]), int(row["serial"]), int(row["paid_nano"])) for row in ledger.events
            if row["kind"] == m.KIND_REFUND]  # fmt: skip
    for _, serial, sign in sorted(steps + back):
        campaign, total = totals[serial]
        used[campaign] = used.get(campaign, 0) + (sign * total if abs(sign) == 1 else sign)
        most[str(campaign)] = max(most.get(str(campaign), 0), used[campaign])
    return most


def set_(stream: str, field: str, value: Any, pick: Any = None):
    """A change of one field of one row: the middle one of those that `pick` selects; `value` may be a function."""

    def change(ledger: SimpleNamespace) -> int:
        rows = getattr(ledger, stream)
        among = np.flatnonzero(pick(rows) if pick else np.ones(len(rows), bool))
        at = int(among[len(among) // 2])
        rows[field][at] = value(rows[at]) if callable(value) else value
        return int(rows["seq"][at])

    return change


def more(field: str, by: int = 1):
    return lambda row: row[field] + by


def kind(number: int, known: bool = False):
    return lambda rows: (rows["kind"] == number) & ((rows["person_key"] != 0) | (not known))


def drop(stream: str, pick: Any = None):
    """Remove one row of a stream (and number the rest anew is not done: the seq gap is the finding)."""

    def change(ledger: SimpleNamespace) -> None:
        rows = getattr(ledger, stream)
        among = np.flatnonzero(pick(rows) if pick else np.ones(len(rows), bool))
        setattr(ledger, stream, np.delete(rows, among[len(among) // 2]))

    return change


def twice(stream: str, pick: Any = None):
    """Write one row a second time."""

    def change(ledger: SimpleNamespace) -> None:
        rows = getattr(ledger, stream)
        among = np.flatnonzero(pick(rows) if pick else np.ones(len(rows), bool))
        at = among[len(among) // 2]
        setattr(ledger, stream, np.concatenate((rows, rows[at : at + 1])))

    return change


def both(*changes: Any):
    """Several changes, each of the row in the middle; returns what the first does."""
    return lambda ledger: [change(ledger) for change in changes][0]


def refund(number: int):
    return lambda rows: (rows["kind"] == m.KIND_REFUND) & (rows["number"] == number)


def refunded(rows: np.ndarray) -> np.ndarray:
    """The billings of awards of which something is given back."""
    return np.isin(rows["serial"], rows["serial"][refund(1)(rows)]) & (rows["kind"] == m.KIND_IMPRESSION)


def billed_win(rows: np.ndarray) -> np.ndarray:
    return np.isin(rows["serial"], BILLED)


BILLED: list[int] = []  # serials of the wins that were billed
BREAKS = [
    ("I1", "wins", "buyer_total_nano", set_("wins", "dsp_nano", more("dsp_nano"))),
    ("I1", "wins", "buyer_total_nano", set_("wins", "tax_nano", 1)),
    ("I1", "wins", "clearing_nano", set_("wins", "publisher_nano", more("publisher_nano", -1))),
    ("I2", "wins", "hidden_nano", set_("wins", "hidden_nano", -1)),
    ("I5", "wins", "clearing_nano", set_("wins", "floor_nano", more("clearing_nano"))),
    ("I5", "wins", "clearing_nano", set_("wins", "bid_nano", more("clearing_nano", -1))),
    ("I5", "wins", "clearing_nano", set_("wins", "second_nano", more("clearing_nano"),
                                         lambda rows: rows["bid_nano"] > rows["clearing_nano"])),
    ("I6", "wins", "auction_id", twice("wins")),
    ("I6", "wins", "auction_id", set_("auctions", "sold", 0, lambda rows: rows["sold"] == 1)),
    ("I6", "auctions", "sold", set_("auctions", "sold", 1, lambda rows: rows["sold"] == 0)),
    ("I6", "auctions", "auction_id", twice("auctions")),
    ("I6", "wins", "auction_id", drop("auctions", lambda rows: rows["sold"] == 1)),
    ("I6", "auctions", "sold", drop("wins")),
    ("I6", "wins", "clearing_nano", set_("auctions", "clearing_nano", more("clearing_nano"),
                                         lambda rows: rows["sold"] == 1)),
    ("I6", "auctions", "n_bids", set_("auctions", "n_bids", more("n_bids"), lambda rows: rows["n_bids"] > 0)),
    ("I6", "auctions", "bids with fate won", set_("bids", "fate", 0, lambda rows: rows["fate"] == 102)),
    ("I6", "auctions", "bids with fate won", set_("bids", "fate", 102, lambda rows: rows["fate"] == 0)),
    ("I6", "bids", "auction_id", set_("bids", "auction_id", 77_777)),
    ("I6", "bids", "net_nano", set_("bids", "net_nano", more("net_nano"), lambda rows: rows["fate"] == 0)),
    ("event", "events", "auction_id", set_("events", "auction_id", 77_777)),
    ("event", "events", "serial", set_("events", "serial", 77_777)),
    ("event", "events", "person_key", set_("events", "person_key", 77_777)),
    ("event", "events", "campaign", set_("events", "campaign", 77)),
    ("event", "events", "advertiser", set_("events", "advertiser", 77)),
    ("event", "events", "seq", set_("events", "seq", 1)),
    ("I7", "events", "kind", twice("events", kind(m.KIND_IMPRESSION))),
    ("I7", "events", "kind", set_("events", "kind", m.KIND_IMPRESSION, kind(m.KIND_UNPAID))),
    ("I7", "events", "kind", twice("events", kind(m.KIND_RELEASE))),
    ("I7", "events", "kind", drop("events", kind(m.KIND_RELEASE))),
    ("I3", "events", "paid_nano", set_("events", "paid_nano", more("paid_nano"), kind(m.KIND_IMPRESSION))),
    ("I3", "events", "paid_nano", set_("events", "paid_nano", 1, kind(m.KIND_CLICK))),
    ("I3", "events", "paid_nano", set_("events", "paid_nano", 1, kind(m.KIND_UNPAID))),
    ("I8", "events", "contact_n", set_("events", "contact_n", more("contact_n"), kind(m.KIND_IMPRESSION, True))),
    ("I8", "events", "contact_n", set_("events", "contact_n", 1, kind(m.KIND_CLICK))),
    ("I8", "events", "contact_n", set_("events", "contact_n", 1,
                                       lambda rows: (rows["kind"] == m.KIND_IMPRESSION) & (rows["person_key"] == 0))),
    ("I8", "events", "cum_rent_nano", set_("events", "cum_rent_nano", more("cum_rent_nano"),
                                           kind(m.KIND_IMPRESSION, True))),
    ("I9", "events", "rows with contact_n = 1", set_("events", "contact_n", 2,
                                                     lambda rows: rows["contact_n"] == 1)),
    ("I8", "wins", "contacts", set_("wins", "contacts", more("contacts"), lambda rows: rows["person_key"] != 0)),
    ("I8", "wins", "cum_rent_nano", set_("wins", "cum_rent_nano", more("cum_rent_nano"),
                                         lambda rows: rows["person_key"] != 0)),
    ("kind", "wins", "kind", set_("wins", "kind", m.KIND_BID)),
    ("kind", "events", "kind", set_("events", "kind", 99)),
    ("I10", "wins", "data_nano", both(set_("wins", "data_nano", more("data_nano", -1)),
                                      set_("wins", "dsp_nano", more("dsp_nano")))),
    ("I10", "wins", "verify_nano", set_("wins", "flags", 0)),
    ("I10", "wins", "fees", set_("wins", "fees", 7)),
    ("I10", "wins", "fees", set_("wins", "fees", 0)),
    ("I11", "events", "number", set_("events", "number", 2, refund(1))),
    ("I11", "events", "number", set_("events", "number", 0, refund(2))),
    ("I11", "events", "number", set_("events", "number", 1, kind(m.KIND_CLICK))),
    ("I11", "events", "kind", drop("events", refunded)),
    ("I11", "events", "paid_nano", set_("events", "paid_nano", lambda row: -10**9, kind(m.KIND_REFUND))),
    ("I11", "events", "paid_nano", set_("events", "paid_nano", 5, kind(m.KIND_REFUND))),
    ("I7", "events", "kind", set_("events", "kind", m.KIND_VIEW, kind(m.KIND_CLICK))),
    ("I7", "events", "kind", twice("events", lambda rows: np.isin(rows["kind"], (m.KIND_OPT_IN, m.KIND_OPT_OUT)))),
    ("I7", "events", "kind", twice("events", kind(m.KIND_UNPAID))),
    ("I7", "events", "ts_ns", set_("wins", "expires_ns", more("ts_ns"))),
    ("I8", "events", "cum_rent_nano", set_("events", "cum_rent_nano", more("cum_rent_nano"),
                                           kind(m.KIND_REFUND, True))),
    ("I8", "events", "cum_rent_nano", set_("events", "cum_rent_nano", more("cum_rent_nano"),
                                           kind(m.KIND_RELEASE, True))),
    ("I8", "events", "contact_n", set_("events", "contact_n", 1, kind(m.KIND_REFUND))),
    ("I12", "events", "debit of its campaign", set_("events", "paid_nano", more("paid_nano"), kind(m.KIND_IMPRESSION))),
    ("I12", "events", "debit of its day", set_("wins", "publisher_nano", more("publisher_nano"), billed_win)),
    ("I13", "wins", "serial", set_("wins", "serial", 0)),
    ("I13", "auctions", "auction_id", set_("auctions", "auction_id", 0)),
    ("I15", "bids", "net_nano", set_("bids", "gross_nano", more("gross_nano", 5), lambda rows: rows["fate"] == 0)),
    ("seq", "all of worker 0", "seq", drop("bids", lambda rows: rows["fate"] == 102)),
    *(("I6", "wins", field, set_("wins", field, 77)) for field in ("publisher", "domain", "ts_ns", "person_key")),
    *(("I6", "bids", field, set_("bids", field, 77, lambda rows: rows["fate"] == 0))
      for field in ("campaign", "advertiser", "seat", "endpoint")),
    ("I8", "wins", "since_last_s", set_("wins", "since_last_s", more("since_last_s"),
                                        lambda rows: rows["contacts"] > 0)),
]  # fmt: skip


@pytest.mark.parametrize(("invariant", "stream", "field", "change"), BREAKS)
def test_each_broken_invariant_is_found_and_named(honest, invariant, stream, field, change):
    ledger = opened(honest)
    seq = change(ledger)
    result = reconcile(ledger)
    found = [d for d in result.differences if (d.invariant, d.stream, d.field) == (invariant, stream, field)]
    assert found, result.differences
    if seq is not None and (invariant, field) not in (
        ("I6", "auction_id"), ("I6", "clearing_nano"), ("I6", "bids with fate won"), ("I9", "rows with contact_n = 1"),
        ("I7", "ts_ns"), ("I12", "debit of its campaign"), ("I12", "debit of its day"), ("I13", "serial"),
        ("I13", "auction_id"),
    ):  # fmt: skip
        assert seq in [d.seq for d in found]
    text = render(result)
    assert text.startswith(f"reconcile: {result.rows} rows, {result.count} differences\nfirst: ") and result.count > 0
    assert found[0].expected != found[0].found


def test_only_the_first_of_each_sort_are_listed(honest):
    ledger = opened(honest)
    ledger.wins["tax_nano"] += 1
    result = reconcile(ledger)
    of_tax = [d for d in result.differences if d.invariant == "I1"]
    assert result.count > len(ledger.wins) > FOUND_MAX == len(of_tax)
    assert [d.seq for d in result.differences] == sorted(d.seq for d in result.differences)


def test_a_ledger_on_disk_of_two_runs_and_two_workers(tmp_path: Path):
    for run in range(2):
        for worker in (0, 3):
            journal = Journal(tmp_path, worker, streams=("auctions", "bids", "wins", "events", "inputs"))
            maker = Maker(journal, serial=1000 * run)
            if run == 0:
                maker.run(30, seed=worker, base=1000 * worker)
            else:
                maker.step([500, 400])
            journal.append_input(maker.seq, maker.now, m.KIND_REQUEST, b"{}")
            journal.close()
    result = reconcile(Ledger(tmp_path))
    assert (result.count, result.differences) == (0, [])
    assert result.rows == Ledger(tmp_path).verify()


@pytest.mark.parametrize("days", [{"bids": 1}, {"auctions": 1}, {"auctions": 1, "bids": 1, "inputs": 1}])
@pytest.mark.parametrize("all_of_it", [False, True])
def test_what_retention_has_noted_is_no_difference(tmp_path: Path, days: dict[str, int], all_of_it: bool):
    now_ns = 0
    for run in range(2):
        journal = Journal(tmp_path, streams=("auctions", "bids", "wins", "events", "inputs"))
        maker = Maker(journal, now=START_NS + run * 10**15, serial=1000 * run)
        names = Names(tmp_path)
        assert names.id("fees", terms_of(maker.fees)) == maker.fees_id
        names.close()
        maker.run(30, seed=run, base=1000 * run, refunds=0.2)
        journal.append_input(maker.seq, maker.now, m.KIND_REQUEST, b"{}")
        journal.close()
        seal(tmp_path, everything=True)
        now_ns = now_ns if run and not all_of_it else maker.now
    gone = retain(tmp_path, days, now_ns + 86_400 * 10**9 + 1)
    ledger = Ledger(tmp_path)
    assert {file.stream for file in gone} == set(days) and (len(ledger.bids) == 0) <= (all_of_it or "bids" not in days)
    result = reconcile(ledger)
    assert (result.count, result.differences) == (0, [])
    where = mf.path_of(tmp_path)
    manifest = mf.read(tmp_path)
    manifest.dropped[0].rows -= 1  # a row that nobody noted
    mf.write(tmp_path, manifest)
    assert where.exists() and "seq" in {d.invariant for d in reconcile(Ledger(tmp_path)).differences}


def test_an_empty_ledger_is_clean(tmp_path: Path):
    Journal(tmp_path).close()
    assert render(reconcile(Ledger(tmp_path))) == "reconcile: 0 rows, 0 differences\n"
