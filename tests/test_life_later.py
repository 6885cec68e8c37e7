"""Opt-ins, opt-outs and refunds: the table of life, the compiled market and its naive twin, simulated and recovered."""

import heapq
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as mk
from exchange.config import Config
from exchange.market import life
from exchange.rent.ledger import Ledger
from exchange.simulate.run import Simulation
from tests.naive import Naive, contact_of, differences
from tests.naive_terms import DAY, Imp, Request, market, offer, venue_of
from tests.test_life import NOON, SECOND, campaign, one, sold
from tests.test_recover import holds, killed, opened
from tests.test_simulation import eight
from tests.test_state import OWN_PEOPLE, balanced, live, mixed, pair

quick = settings(derandomize=True, deadline=None, max_examples=60)
SEE, CLICK, REFUND = mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_REFUND
LATER = (mk.KIND_OPT_IN, mk.KIND_OPT_OUT, mk.KIND_REFUND)
DOCS = Path(__file__).resolve().parents[1] / "docs" / "ledger.md"


# ---- the table ----------------------------------------------------------------------------------------------------


def test_the_docs_hold_the_tables() -> None:
    text = DOCS.read_text()
    assert life.table() in text, "docs/ledger.md: replace the table by exchange.market.life.table()"
    assert life.answers() in text, "docs/ledger.md: replace the odd orders by exchange.market.life.answers()"
    for answer in (life.UNKNOWN, *life.REFUSALS):
        assert f"`{life.ANSWERS[answer][0]}`" in text


def test_every_cell_has_one_answer_and_leads_to_a_state() -> None:
    for step in life.LIFE:
        assert step.answer in mk.KINDS or step.answer in life.ANSWERS
        assert step.then == 0 or step.answer > 0, "what records nothing changes nothing"
    found = life.ANSWER[:, list(life.STATES)]
    assert set(found.reshape(-1).tolist()) <= set(mk.KINDS) | set(life.ANSWERS) - {life.UNKNOWN}
    assert (life.ANSWER[:, [0]] == life.UNKNOWN).all()  # no award in this slot of the ring
    settling = np.isin(life.ANSWER, mk.BILLING)
    assert {(b, s) for b, s, _ in np.argwhere(settling).tolist()} == {(b, mk.HELD) for b in range(3)}
    assert (life.THEN[settling] == mk.BILLED).all()


ODD = [pytest.param(odd, id=odd.name) for odd in life.ODD]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_order_has_the_answer_of_the_table(odd: life.Odd) -> None:
    """Kernel, twin and table agree on every answer; money and rent are what the answers say."""
    venue = one(bill=mk.BILLS[odd.bill])
    naive = Naive(venue.config, venue)
    award = sold(venue)
    naive.trade(Request(NOON, 5, [Imp(700)]))
    total = int(venue.arrays["awards"][award[0]]["hold_nano"])
    assert total >= 700
    expected, state = life.follow(odd.bill, odd.arrivals)
    now, paid = NOON, 0
    for (kind, percent, number), answer in zip(odd.arrivals, expected, strict=True):
        amount = percent * total // life.HOLD if percent <= life.HOLD else total + 1
        if odd.name == "a part, then more than is left" and number == 2:
            amount = total - 40 * total // life.HOLD + 1
        now += 1
        if kind == mk.KIND_RELEASE:
            now += 60 * SECOND
            venue.tick(now)
            naive.advance(now)
            continue
        assert (
            venue.event(kind, *award, now, amount, number) == naive.event(kind, *award, now, amount, number) == answer
        )
        paid += total if answer in mk.BILLING else 0
        paid -= (amount or paid) if answer == REFUND else 0
        balanced(venue)
        assert venue.money()["a/c"]["spent"] == int(contact_of(venue, 5, 1)["cum_rent_nano"]) == paid
    assert int(venue.arrays["awards"][award[0]]["status"]) == state
    venue.close()
    assert differences(naive, venue, Ledger.in_memory(venue.journal, venue.names)) == []


# ---- refunds ------------------------------------------------------------------------------------------------------


def test_a_refund_gives_back_money_and_rent_and_leaves_the_contact() -> None:
    venue = one()
    award = sold(venue)
    total = int(venue.arrays["awards"][award[0]]["hold_nano"])
    venue.event(SEE, *award, NOON + 1)
    before = contact_of(venue, 5, 1).copy()
    assert venue.event(REFUND, *award, NOON + 2, 100, 1) == REFUND
    assert venue.event(REFUND, *award, NOON + 3, 0, 2) == REFUND
    after = contact_of(venue, 5, 1)
    assert venue.money()["a/c"]["spent"] == int(after["cum_rent_nano"]) == int(venue.campaigns[0]["day_used"]) == 0
    for field in ("contacts", "shown", "last_s", "day_n"):
        assert after[field] == before[field] > 0
    assert int(venue.record["refunded_nano"][0]) == int(venue.record["billed_nano"][0]) == total
    assert int(venue.record["n_refunds"][0]) == 2
    venue.close()
    rows = Ledger.in_memory(venue.journal).events
    assert rows["paid_nano"].tolist() == [total, -100, 100 - total]
    assert rows["cum_rent_nano"].tolist() == [total, total - 100, 0]
    assert rows["number"].tolist() == [0, 1, 2] and rows["contact_n"].tolist() == [1, 0, 0]


def test_a_refund_frees_the_day_it_was_placed_on_and_no_other() -> None:
    venue = one(daily=0.5)
    first = sold(venue)
    venue.event(SEE, *first, NOON)
    used = int(venue.campaigns[0]["day_used"])
    tomorrow = NOON + DAY
    second = sold(venue, tomorrow)
    venue.event(SEE, *second, tomorrow)
    assert venue.event(REFUND, *first, tomorrow, 0, 1) == REFUND
    assert int(venue.campaigns[0]["day_used"]) == used  # the second's
    assert venue.event(REFUND, *second, tomorrow + 1, 0, 1) == REFUND
    assert int(venue.campaigns[0]["day_used"]) == 0


def test_refunded_money_can_be_spent_again() -> None:
    venue = venue_of(market({"a": [campaign("c", value=2.0, budget=0.0000021)]}, "none"))
    award = sold(venue, floor=2_000)
    venue.event(SEE, *award, NOON)
    assert sold(venue, NOON + 1, floor=2_000)[0] == -1
    assert venue.event(REFUND, *award, NOON + 2, 0, 1) == REFUND
    assert sold(venue, NOON + 3, floor=2_000)[0] == 1


def test_an_award_has_at_most_255_refunds() -> None:
    venue = one()
    award = sold(venue)
    venue.event(SEE, *award, NOON)
    assert {venue.event(REFUND, *award, NOON + n, 1, n) for n in range(1, 256)} == {REFUND}
    assert venue.event(REFUND, *award, NOON + 300, 1, 256) == life.GAP
    assert venue.event(REFUND, *award, NOON + 300, 1, 255) == life.REPEAT


def test_what_all_pay_bills_its_losers_can_be_refunded() -> None:
    venue = venue_of(market({"a": [campaign("c", value=2.0)], "b": [campaign("c", value=1.0)]}, "none"), journal=True)
    found = offer(venue, Request(NOON, 5, [Imp(at=mk.ALL_PAY)]))[0]
    assert venue.money()["b/c"]["spent"] == 1_000_000
    assert venue.event(REFUND, 1, int(found["auction_id"]), NOON + 1, 400_000, 1) == REFUND
    assert venue.money()["b/c"]["spent"] == 600_000
    balanced(venue)


# ---- any order ----------------------------------------------------------------------------------------------------

ARRIVAL = st.tuples(
    st.sampled_from([SEE, CLICK, mk.KIND_CONVERSION, *LATER, REFUND, 0]),
    st.integers(0, 3),  # which award
    st.sampled_from([0, 1, 300, 700, 10**9]),
    st.integers(1, 3),
    st.sampled_from([0, SECOND, 61 * SECOND]),
)


@quick
@given(st.sampled_from(mk.BILLS), st.lists(ARRIVAL, max_size=30))
def test_in_any_order_the_books_balance_and_the_twin_agrees(bill: str, arrivals: list[tuple[int, ...]]) -> None:
    venue = one(bill=bill)
    naive = Naive(venue.config, venue)
    awards = []
    for k in range(4):
        awards.append(sold(venue, NOON, person=k % 2 * 5))
        naive.trade(Request(NOON, k % 2 * 5, [Imp(700)]))
    now = NOON
    log: dict[int, list[tuple[int, int, int]]] = {k: [] for k in range(4)}
    told: dict[int, list[int]] = {k: [] for k in range(4)}
    for kind, which, amount, number, wait in arrivals:
        now += wait
        if kind == 0:
            venue.tick(now)
            naive.advance(now)
            continue
        expired = now >= NOON + 60 * SECOND
        if expired and (mk.KIND_RELEASE, 0, 0) not in log[which]:
            log[which].append((mk.KIND_RELEASE, 0, 0))
            told[which].append(-99)
        answer = venue.event(kind, *awards[which], now, amount, number)
        assert answer == naive.event(kind, *awards[which], now, amount, number)
        log[which].append((kind, amount, number))
        told[which].append(answer)
        balanced(venue)
    for k in range(4):  # and both are what the table says
        hold = int(venue.arrays["awards"][awards[k][0]]["hold_nano"])
        expected, _ = life.follow(mk.BILLS.index(bill), log[k], hold)
        assert [e for e, t in zip(expected, told[k], strict=True) if t != -99] == [t for t in told[k] if t != -99]
    venue.close()
    assert differences(naive, venue, Ledger.in_memory(venue.journal, venue.names)) == []


@pytest.mark.parametrize("seed", range(2))
def test_a_random_life_with_refunds_is_the_same_for_both(seed: int) -> None:
    venue, naive = pair(mixed(seed))
    live(venue, naive, random.Random(seed), 500, later=LATER)
    venue.close()
    ledger = Ledger.in_memory(venue.journal, venue.names)
    assert differences(naive, venue, ledger) == []
    kinds = Counter(ledger.events["kind"].tolist())
    assert set(kinds) >= {10, 11, 12, 13, 14, 15, 16, 18, 19, 24} and kinds[REFUND] > 10
    assert venue.rows_written()["events"] == len(ledger.events)


def test_refunds_come_back_after_a_crash(tmp_path: Path) -> None:
    """Money, rents, which refunds an award has had, and what has come of it: a repeat is still one."""
    config = mixed(1)
    venue = opened(config, tmp_path / "a")
    naive = Naive(config, venue)
    now = NOON
    rng = random.Random(1)
    for advertiser in ("beta", "delta"):
        naive.own(advertiser, venue, OWN_PEOPLE)
    now = live(venue, naive, rng, 400, now, later=LATER)
    again = opened(config, killed(tmp_path / "a", tmp_path / "b"))
    n = venue.n_campaigns
    for name in ("available", "spent", "held"):
        assert again.campaigns[name][:n].tolist() == venue.campaigns[name][:n].tolist(), name
    its, mine = again.arrays["awards"], venue.arrays["awards"]
    for name in ("serial", "status", "refunded_nano", "refunds", "opted_in", "opted_out", "seen", "clicked"):
        assert its[name].tolist() == mine[name].tolist(), name
    assert holds(again) == holds(venue) and mine["refunds"].max() > 1
    assert its["opted_in"].any() and its["opted_out"].any() and {mk.UNPAID, mk.PART_REFUNDED} <= set(mine["status"])
    for person, advertiser in naive.contact:
        if advertiser < 0x80000000:
            found, kept = contact_of(again, person, advertiser), contact_of(venue, person, advertiser)
            assert found["cum_rent_nano"] == kept["cum_rent_nano"] and found["contacts"] == kept["contacts"]
    part = mine[mine["status"] == mk.PART_REFUNDED][0]
    asked = (REFUND, int(part["serial"]), int(part["auction_id"]), now, 1)
    assert again.event(*asked, int(part["refunds"])) == life.REPEAT
    assert again.event(*asked, int(part["refunds"]) + 1) == REFUND


# ---- simulated ----------------------------------------------------------------------------------------------------


def later_on(**population: Any) -> Config:
    shares = {"opt_in_share": 0.5, "opt_out_share": 0.5, "refund_share": 0.3, "refund_delay_ms": 7_000}
    return eight("plain", floor_cpm=0.4, view_rate=0.8, **(shares | population))


def play(config: Config, visits: int) -> tuple[Simulation, Naive]:
    """A simulation, and the naive market fed by its population."""
    simulation = Simulation(config)
    venue, population = simulation.venue, simulation.population
    naive, p = Naive(config, venue), config.population
    for advertiser in ("beta", "delta"):
        ident = venue.names.id("advertiser", advertiser)
        for person in population.people["key"]:
            contact = contact_of(venue, int(person), ident)
            if contact is not None and contact["flags"] & mk.OWN:
                naive.remember(int(person), ident).own = True
    due: list[tuple[int, int, int, int, int]] = []
    order = 0

    def plan(when: int, ms: int, kind: int, serial: int, auction: int) -> None:
        nonlocal order
        order += 1
        rank = (SEE, CLICK, mk.KIND_CONVERSION, *LATER).index(kind)
        heapq.heappush(due, (when + ms * 10**6, rank, order, serial, auction))

    def deliver(until: int) -> None:
        while due and due[0][0] <= until:
            when, rank, _, serial, auction = heapq.heappop(due)
            kind, amount, number = (SEE, CLICK, mk.KIND_CONVERSION, *LATER)[rank], 0, 0
            award = naive.awards[serial]
            if kind == REFUND:
                number = len(award.refunded) + 1
                amount = population.returned(auction, award.imp, award.slot, award.hold, number)
            answer = naive.event(kind, serial, auction, when, amount, number)
            if answer in mk.BILLING or answer == REFUND:
                if population.returned(auction, award.imp, award.slot, award.hold, number + 1):
                    plan(when, p.refund_delay_ms, REFUND, serial, auction)

    for t in range(visits):
        visit = population.at(t)
        now, place = int(visit["now_ns"]), population.places[visit["placement"]]
        deliver(now)
        person = int(population.people["key"][visit["person"]])
        request = Request(now, person, [Imp(int(place["floor_nano"]))], [], (), False)
        request.publisher, request.domain = int(place["publisher"]), int(place["domain"])
        serial = naive.trade(request)[0]["serial"]
        if serial < 0:
            continue
        seen, clicked = population.truth(visit, 0)
        opts_in, opts_out = population.agrees(visit, 0)
        for happens, ms, kind in (
            (seen, p.view_delay_ms, SEE),
            (clicked, p.click_delay_ms, CLICK),
            (clicked and population.converts(visit, 0), p.conversion_delay_ms, mk.KIND_CONVERSION),
            (clicked and opts_in, p.conversion_delay_ms, mk.KIND_OPT_IN),
            (clicked and opts_out, 2 * p.conversion_delay_ms, mk.KIND_OPT_OUT),
        ):
            if happens:
                plan(now, ms, kind, serial, naive.auction)
    deliver(2**62)
    simulation.run(visits)
    return simulation, naive


def test_the_loop_delivers_opt_ins_and_refunds_as_the_naive_market_hears_of_them() -> None:
    config = later_on()
    config.exchange.journal, config.server.hold_s = "bids", 5
    simulation, naive = play(config, 2_500)
    run = simulation.finish()
    naive.advance(int(run.venue.record["now_ns"][0]))
    assert differences(naive, run.venue, run.ledger) == []
    kinds = Counter(run.ledger.events["kind"].tolist())
    assert kinds[mk.KIND_OPT_IN] > 30 and kinds[mk.KIND_OPT_OUT] > 10 and kinds[REFUND] > 100
    rows = run.ledger.events[run.ledger.events["kind"] == REFUND]
    assert set(rows["number"].tolist()) == {1, 2}
    balanced(run.venue)


def test_shares_of_refunds_are_what_the_config_says_and_nothing_is_off() -> None:
    simulation = Simulation(later_on(refund_share=0.4), write=True)
    simulation.run(8_000)
    ledger = simulation.finish().ledger
    events = ledger.events
    billed = int(np.isin(events["kind"], mk.BILLING).sum())
    first = events[(events["kind"] == REFUND) & (events["number"] == 1)]
    again = events[(events["kind"] == REFUND) & (events["number"] == 2)]
    assert abs(len(first) / billed - 0.4) < 4 * (0.24 / billed) ** 0.5
    paid = {int(e["serial"]): int(e["paid_nano"]) for e in events[np.isin(events["kind"], mk.BILLING)]}
    whole = sum(-int(e["paid_nano"]) == paid[int(e["serial"])] for e in first)
    assert abs(whole / len(first) - 0.5) < 4 * (0.25 / len(first)) ** 0.5
    assert abs(len(again) / (len(first) - whole) - 0.5) < 4 * (0.25 / (len(first) - whole)) ** 0.5
    off = Simulation(later_on(refund_share=0.0, opt_in_share=0.0))
    off.run(500)
    assert not set(off.finish().ledger.events["kind"].tolist()) & set(LATER)


def test_more_refunds_under_way_than_the_rings_first_hold(monkeypatch: Any) -> None:
    """Small chunks and rings: they grow while events are under way, and nothing changes."""
    from exchange.simulate import run as run_module

    config = later_on(refund_delay_ms=3_600_000, qps=2.0)
    plain = Simulation(config)
    plain.run(2_000)
    expected = plain.finish().ledger.events.tobytes()
    monkeypatch.setattr(run_module, "CHUNK", 16)
    small = Simulation(config)
    assert small.later.shape[1] < 64
    small.run(2_000)
    assert small.later.shape[1] > 64
    assert small.finish().ledger.events.tobytes() == expected
