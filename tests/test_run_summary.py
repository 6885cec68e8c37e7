"""The summary of a run: every figure against a naive count over the rows, one row at a time."""

import datetime
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from exchange import market as m
from exchange.books.run_summary import Summary, render, summarise, to_json
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names
from tests import naive_reports
from tests.ledger_maker import SECOND, Maker


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    journal = Journal(None)
    maker = Maker(journal)
    maker.run(250, seed=6)
    maker.now += 40 * 86_400 * SECOND  # another month
    maker.run(250, seed=7)
    return Ledger.in_memory(journal, meta={"currency": "EUR", "endpoints": ["steady"]})


def billed_wins(ledger: Ledger) -> list[tuple[np.void, np.void]]:
    """(win, its impression) pairs, by dictionary."""
    key = ("auction_id", "imp_ix", "slot")
    wins = {tuple(int(row[k]) for k in key): row for row in ledger.wins}
    return [(wins[tuple(int(row[k]) for k in key)], row) for row in ledger.events if row["kind"] == m.KIND_IMPRESSION]


def test_counts_and_money(ledger):
    s, pairs = summarise(ledger), billed_wins(ledger)
    events = Counter(int(kind) for kind in ledger.events["kind"])
    spend = sum(int(win["buyer_total_nano"]) for win, _ in pairs)
    assert (s.auctions, s.wins, s.billed) == (500, len(ledger.wins), events[m.KIND_IMPRESSION])
    assert (s.clicks, s.released, s.unpaid) == (
        events[m.KIND_CLICK], events[m.KIND_RELEASE], events[m.KIND_UNPAID],
    )  # fmt: skip
    assert s.open_holds == s.wins - s.billed - s.released > 0
    assert s.sold == sum(int(row["sold"]) for row in ledger.auctions) and s.fill == s.sold / 500
    assert s.spend_nano == spend and s.cpm == pytest.approx(1000 * spend / 1e9 / len(pairs))
    assert s.ecpc_nano == pytest.approx(spend / events[m.KIND_CLICK])
    publisher = sum(int(win["publisher_nano"]) for win, _ in pairs)
    assert s.publisher_cpm == pytest.approx(1000 * publisher / 1e9 / len(pairs))
    assert s.refunded_nano == 0
    assert [p.name for p in s.parties] == list(m.PARTIES)
    assert [p.nano for p in s.parties] == [sum(int(w[f"{p}_nano"]) for w, _ in pairs) for p in m.PARTIES]
    assert sum(p.nano for p in s.parties) == spend and sum(p.share for p in s.parties) == pytest.approx(1)
    held = {int(row["serial"]) for row in ledger.wins} - {
        int(row["serial"]) for row in ledger.events if row["kind"] in (m.KIND_IMPRESSION, m.KIND_RELEASE)
    }
    assert s.held_nano == sum(int(r["buyer_total_nano"]) for r in ledger.wins if int(r["serial"]) in held)


def test_people_and_rents(ledger):
    s, pairs = summarise(ledger), billed_wins(ledger)
    paid: dict[tuple[int, int], list[int]] = defaultdict(list)
    customer_months, person_months, own, other = set(), set(), [], []
    for win, event in pairs:
        (own if win["flags"] & 1 else other).append(int(win["buyer_total_nano"]))
        if event["person_key"]:
            when = datetime.datetime.fromtimestamp(int(event["ts_ns"]) / 1e9, datetime.UTC)
            brand, person = int(win["advertiser"]), int(event["person_key"])
            paid[brand, person].append(int(win["buyer_total_nano"]))
            customer_months.add((brand, person, when.year, when.month))
            person_months.add((person, when.year, when.month))
    total, contacts = sum(map(sum, paid.values())), sum(map(len, paid.values()))
    assert (s.contacts, s.customers, s.people) == (contacts, len(paid), len({p for _, p in paid}))
    assert s.rerental_share == pytest.approx(1 - len(paid) / contacts)
    assert len(customer_months) > len(paid)  # two months were written
    assert s.kilo_customer == pytest.approx(1000 * total / 1e9 / len(customer_months))
    assert s.person_month == pytest.approx(total / 1e9 / len(person_months))
    firsts, later = [p[0] for p in paid.values()], [x for p in paid.values() for x in p[1:]]
    assert s.rent.first_mean_nano == pytest.approx(np.mean(firsts))
    assert s.rent.later_mean_nano == pytest.approx(np.mean(later))
    sums = [sum(p) for p in paid.values()]
    assert s.rent.mean_nano == pytest.approx(np.mean(sums)) and s.rent.max_nano == max(sums)
    assert s.rent.p50_nano == pytest.approx(np.percentile(sums, 50))
    assert s.rent.p90_nano == pytest.approx(np.percentile(sums, 90))
    assert (s.own_billed, s.own_share) == (len(own), pytest.approx(sum(own) / (sum(own) + sum(other))))
    assert s.own_premium == pytest.approx(np.mean(own) / np.mean(other))


def test_tables(ledger):
    s, pairs = summarise(ledger), billed_wins(ledger)
    assert [a.spend_nano for a in s.advertisers] == sorted((a.spend_nano for a in s.advertisers), reverse=True)
    for row in s.advertisers:
        brand = int(row.name.removeprefix("advertiser "))
        mine = [(win, event) for win, event in pairs if win["advertiser"] == brand]
        known = [int(event["person_key"]) for _, event in mine if event["person_key"]]
        spend = sum(int(win["buyer_total_nano"]) for win, _ in mine)
        assert (row.wins, row.billed) == (int((ledger.wins["advertiser"] == brand).sum()), len(mine))
        assert (row.spend_nano, row.people) == (spend, len(set(known)))
        assert row.rerental_share == pytest.approx(1 - len(set(known)) / len(known))
        own = sum(int(win["buyer_total_nano"]) for win, _ in mine if win["flags"] & 1)
        assert row.own_share == pytest.approx(own / spend)
        clicked = ledger.events[(ledger.events["kind"] == m.KIND_CLICK) & (ledger.events["advertiser"] == brand)]
        assert row.clicks == len(clicked)
    assert {f.code: f.bids for f in s.fates} == Counter(ledger.bids["fate"].tolist())
    for buyer in s.buyers:
        seat = int(buyer.seat.removeprefix("seat "))
        mine = ledger.bids[ledger.bids["seat"] == seat]
        assert (buyer.endpoint, buyer.bids, buyer.wins) == ("local", len(mine), int((mine["fate"] == 0).sum()))
        assert buyer.lost["outbid"] == int((mine["fate"] == 102).sum())
    for publisher in s.publishers:
        which = int(publisher.name.removeprefix("publisher "))
        rows = ledger.auctions[ledger.auctions["publisher"] == which]
        assert (publisher.auctions, publisher.sold) == (len(rows), int(rows["sold"].sum()))
        assert publisher.publisher_nano == sum(int(w["publisher_nano"]) for w, _ in pairs if w["publisher"] == which)
    for total, column in ((s.wins, "wins"), (s.billed, "billed"), (s.spend_nano, "spend_nano"), (s.clicks, "clicks")):
        assert sum(getattr(row, column) for row in s.advertisers) == total  # I12: tables add up to the totals


def test_names_and_endpoints_stand_in_the_tables():
    journal = Journal(None)
    maker = Maker(journal)
    win = maker.step([900, 800], person=3)
    maker.event(win, m.KIND_IMPRESSION)
    rows = {name: getattr(Ledger.in_memory(journal), name).copy() for name in ("auctions", "bids", "wins", "events")}
    rows["bids"]["endpoint"][0] = rows["wins"]["endpoint"][0] = 0
    rows["bids"]["endpoint"][1] = 1
    names = Names(None)
    assert names.id("advertiser", "Shoes & Co") == names.id("seat", "shoes") == 1
    names.id("publisher", "news.example")
    stub = SimpleNamespace(**rows, names=names, meta={"endpoints": ["steady"]}, cut={})
    s = summarise(stub)
    assert [a.name for a in s.advertisers] == ["Shoes & Co"] and s.publishers[0].name == "news.example"
    assert {(b.seat, b.endpoint) for b in s.buyers} == {("shoes", "steady"), ("seat 2", "endpoint 1")}


def test_the_screen_fits_and_json_round_trips(ledger):
    s = summarise(ledger)
    long = "x" * 200
    s.advertisers[0].name = long
    s.buyers[0].seat = long
    s.buyers[0].lost = {"a_very_long_reason_for_losing": 10**9, "another_long_reason": 10**9}
    text = render(s)
    assert max(map(len, text.splitlines())) <= 100
    for piece in ("re-rental", "kilo-customer", "waterfall", "buyers' total", "100.00%", "outbid", "EUR"):
        assert piece in text
    assert msgspec.json.decode(to_json(s), type=Summary) == s
    s.advertisers *= 20
    assert f"... and {len(s.advertisers) - 12} more" in render(s)


def test_an_empty_ledger_has_a_report():
    journal = Journal(None)
    s = summarise(Ledger.in_memory(journal))
    assert (s.auctions, s.cpm, s.rerental_share, s.kilo_customer) == (0, 0.0, 0.0, 0.0)
    assert "auctions 0" in render(s)


def test_a_ledger_without_bids():
    journal = Journal(None, streams=("auctions", "wins", "events"))
    Maker(journal).run(100)
    s = summarise(Ledger.in_memory(journal))
    assert s.bids == 0 and s.fates == [] and sum(b.wins for b in s.buyers) == s.wins > 0


def test_the_example_of_the_docs_runs():
    text = (Path(__file__).parents[1] / "docs" / "ledger.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    scope: dict[str, object] = {}
    exec(compile(code, "docs/ledger.md", "exec"), scope)
    assert "auctions 0" in str(scope["text"])


def test_refunds_stand_beside_what_was_billed():
    ledger = naive_reports.varied()
    s, rows = summarise(ledger), naive_reports.lives(ledger)
    assert s.spend_nano == sum(r["net"] for r in rows) and s.refunded_nano == sum(r["paid"] - r["net"] for r in rows)
    assert "refunded" in render(s) and s.refunded_nano > 0
