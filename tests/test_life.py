"""The life of a campaign: what it pays for, how often it may be seen, how fast it may spend, whom it leaves alone."""

import math
from collections import Counter
from copy import copy
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as mk
from exchange.auction import limits
from exchange.auction.terms import date_ns
from exchange.auction.venue import EVENT_COUNTS, Venue
from exchange.books.reconcile import reconcile
from exchange.books.run_summary import render, summarise
from exchange.config import Campaign, Cap, Config, ConfigError, Creative, Distribution, parse_config
from exchange.openrtb import codes
from exchange.rent.ledger import Ledger
from exchange.simulate import run as run_module
from exchange.simulate.run import Simulation
from tests.naive import Naive, contact_of, differences
from tests.naive_life import released
from tests.naive_terms import DAY, HOLDOUT, Imp, Request, campaign, draw, market, offer, unit, venue_of

quick = settings(derandomize=True, deadline=None, max_examples=200)
SECOND = 10**9
HOUR = 3_600 * SECOND
NOON = date_ns("2026-03-01T12:00:00Z", "")  # a Sunday
SEE, CLICK, CONVERT = mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_CONVERSION
BILL = {"impression": SEE, "click": CLICK, "conversion": CONVERT}
PAID = {"impression": mk.KIND_IMPRESSION, "click": mk.KIND_BILLED_CLICK, "conversion": mk.KIND_BILLED_CONVERSION}


def one(**keys: Any) -> Venue:
    """A venue with one campaign, without fees, with a journal."""
    return venue_of(market({"a": [campaign("c", "./odd_rules.py:Tired", 2.0, budget=1, **keys)]}, "none"), journal=True)


def sold(venue: Venue, now: int = NOON, person: int = 5, floor: int = 700) -> tuple[int, int]:
    """Sell one imp; (serial, auction id), serial -1 = not sold."""
    found = offer(venue, Request(now, person, [Imp(floor)]))[0]
    return int(found["serial"]), int(found["auction_id"])


def state(venue: Venue, person: int = 5) -> dict[str, int]:
    """Money and contact of the one campaign with a person."""
    contact = contact_of(venue, person, 1)
    money = venue.money()["a/c"]
    facts = {name: int(contact[name]) for name in ("contacts", "shown", "held", "cum_rent_nano", "last_s")}
    return {"spent": money["spent"], "money_held": money["held"], **facts}


# ---- what it pays for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bill", BILL)
def test_only_the_billable_event_settles_the_hold(bill: str) -> None:
    venue = one(bill=bill)
    award = sold(venue)
    total = int(venue.arrays["awards"][award[0]]["hold_nano"])
    assert state(venue) == dict.fromkeys(state(venue), 0) | {"money_held": total, "held": 1}
    told = []
    for k, kind in enumerate((SEE, CLICK, CONVERT)):
        recorded = venue.event(kind, *award, NOON + k + 1)
        assert recorded == (PAID[bill] if kind == BILL[bill] else mk.KIND_VIEW if kind == SEE else kind)
        assert venue.event(kind, *award, NOON + k + 1) == 0  # once per award
        told.append((int(venue.campaigns[0]["seen"][2]), int(venue.campaigns[0]["tired_paid"])))
        billed = list(BILL).index(bill) <= k
        assert state(venue) == {
            "spent": total * billed, "money_held": total * (not billed), "contacts": int(billed), "shown": 1,
            "held": 0, "cum_rent_nano": total * billed, "last_s": NOON // SECOND * billed,
        }  # fmt: skip
    paid = [total * (list(BILL).index(bill) <= k) for k in range(3)]
    assert told == list(zip((10, 21, 37), paid, strict=True))  # the rule heard of each event, and what it posted
    venue.close()
    ledger = Ledger.in_memory(venue.journal)
    assert ledger.wins["bill"].tolist() == [mk.BILLS.index(bill)]
    billing = np.isin(ledger.events["kind"], mk.BILLING)
    assert ledger.events["paid_nano"][billing].tolist() == [total] and ledger.events["paid_nano"].sum() == total
    assert ledger.events["contact_n"].tolist() == billing.astype(int).tolist()
    assert reconcile(ledger).count == 0


@pytest.mark.parametrize("bill", ["click", "conversion"])
def test_a_click_without_a_view_says_that_the_ad_was_seen(bill: str) -> None:
    venue = one(bill=bill, cap=Cap(total=2))
    award = sold(venue)
    assert venue.event(CLICK, *award, NOON + 1) == (mk.KIND_BILLED_CLICK if bill == "click" else mk.KIND_CLICK)
    assert (state(venue)["shown"], state(venue)["held"]) == (1, 0)
    assert int(venue.campaigns[0]["seen"][2]) == SEE + CLICK  # and its rule heard of both
    assert venue.event(SEE, *award, NOON + 2) == 0  # it had been seen
    assert state(venue)["shown"] == 1


def test_a_click_is_no_view_where_impressions_are_billed() -> None:
    venue = one()
    award = sold(venue)
    assert venue.event(CLICK, *award, NOON + 1) == CLICK
    assert (state(venue)["shown"], state(venue)["held"]) == (0, 1)
    assert venue.event(SEE, *award, NOON + 2) == SEE


def test_a_conversion_says_nothing_but_itself() -> None:
    venue = one(bill="conversion")
    award = sold(venue)
    assert venue.event(CONVERT, *award, NOON + 1) == mk.KIND_BILLED_CONVERSION
    assert (state(venue)["contacts"], state(venue)["shown"], state(venue)["held"]) == (1, 0, 0)
    assert venue.event(SEE, *award, NOON + 2) == mk.KIND_VIEW
    assert (state(venue)["contacts"], state(venue)["shown"], state(venue)["held"]) == (1, 1, 0)


@pytest.mark.parametrize("bill", BILL)
def test_what_is_billed_too_late_is_unpaid_and_counts_once(bill: str) -> None:
    venue = one(bill=bill)
    award = sold(venue)
    late = NOON + 60 * SECOND  # the hold ends in this very nanosecond
    assert [venue.event(BILL[bill], *award, late + k) for k in range(2)] == [mk.KIND_UNPAID, 0]
    assert state(venue) | {"shown": 0} == dict.fromkeys(state(venue), 0)
    heard = SEE if bill == "click" else 0  # the rule heard of no payment, only that a late click was a view
    assert (int(venue.campaigns[0]["tired_paid"]), int(venue.campaigns[0]["seen"][2])) == (0, heard)
    others = [kind for kind in BILL.values() if kind != BILL[bill]]
    assert [venue.event(kind, *award, late + 3) > 0 for kind in others] == (
        [False, True] if bill == "click" else [True, True]  # a late click was a view
    )
    venue.close()
    kinds = Ledger.in_memory(venue.journal).events["kind"].tolist()
    assert kinds[:2] == [mk.KIND_RELEASE, mk.KIND_UNPAID] and venue.rows_written()["events"] == len(kinds)
    assert Counter(kinds) == {k: int(venue.record[name][0]) for k, name in EVENT_COUNTS.items() if venue.record[name]}


# ---- how often it may be seen -------------------------------------------------------------------------------------


def shows(venue: Venue, now: int, person: int = 5) -> bool:
    """One opportunity, seen at once when it was sold."""
    award = sold(venue, now, person)
    if award[0] >= 0:
        assert venue.event(SEE, *award, now) > 0
    return award[0] >= 0


@pytest.mark.parametrize("bill", ["impression", "click"])
@pytest.mark.parametrize(
    ("window", "edge"),
    [("hour", NOON + HOUR), ("day", NOON + 12 * HOUR), ("week", NOON + 12 * HOUR)],  # Sunday ends
)
def test_a_window_begins_at_its_nanosecond(window: str, edge: int, bill: str) -> None:
    venue = one(cap=Cap(**{window: 2}), bill=bill)
    times = [edge - 3 * SECOND, edge - 2, edge - 1, edge, edge + 1, edge + 2]
    assert [shows(venue, t) for t in times] == [True, True, False, True, True, False]
    assert all(shows(venue, t, 0) for t in (edge + 3, edge + 3, edge + 3))  # an unknown person is never capped


def test_a_week_is_seven_days_from_monday() -> None:
    venue = one(cap=Cap(week=1))
    monday = date_ns("2026-03-02T00:00:00Z", "")
    assert [shows(venue, monday + day * DAY) for day in range(15)] == [day % 7 == 0 for day in range(15)]


def test_a_hold_from_before_the_window_counts_until_it_is_gone() -> None:
    venue = one(cap=Cap(hour=1))
    sold(venue, NOON + HOUR - SECOND)
    assert sold(venue, NOON + HOUR + 1)[0] == -1
    assert sold(venue, NOON + HOUR + 60 * SECOND)[0] >= 0


def test_a_campaign_may_cap_its_own_ads_alone() -> None:
    """`campaign` counts one campaign's ads, `total` the advertiser's; a release gives a place back."""
    brief = [campaign("x", value=3.0, cap=Cap(campaign=2), bill="click"), campaign("y", value=2.0, cap=Cap(total=3))]
    venue = venue_of(market({"a": brief}, "none"))
    winners = []
    for k in range(5):
        found = offer(venue, Request(NOON + k, 5))[0]
        winners.append(int(found["campaign"]))
        if k == 0:
            assert venue.event(SEE, int(found["serial"]), int(found["auction_id"]), NOON + k) == mk.KIND_VIEW
    assert winners == [0, 0, 1, -1, -1]
    later = NOON + 70 * SECOND  # two holds expired; one ad was seen
    assert [int(offer(venue, Request(later + k, 5))[0]["campaign"]) for k in range(4)] == [0, 1, -1, -1]
    assert int(offer(venue, Request(later, 6))[0]["campaign"]) == 0


def test_without_room_to_count_a_campaigns_ads_a_person_stays_unknown() -> None:
    config = market({"a": [campaign("c", value=0.001, cap=Cap(campaign=1))]}, server={"people_max": 1_024})
    venue = venue_of(config, journal=True)
    naive = Naive(config, venue)
    for k in [*range(1, 1_030), 1, 1_024, 1_025]:
        request = Request(NOON + 2_000 + k % 7, 2 * k)
        assert int(offer(venue, request)[0]["serial"]) == naive.trade(request)[0]["serial"]
    assert int(venue.record["n_unknown_people"][0]) == naive.unknown == 6
    venue.close()
    assert differences(naive, venue, Ledger.in_memory(venue.journal)) == []


# ---- how fast it may spend ----------------------------------------------------------------------------------------


@quick
@given(st.integers(0, mk.BUDGET_MAX_NANO), st.integers(0, 2**43), st.integers(1, 2**43))
def test_released_is_the_share_of_time_rounded_down(total: int, elapsed: int, length: int) -> None:
    found = int(limits.released(total, elapsed, length))
    exact = total * min(elapsed, length) // length
    assert found == released(total, elapsed, length) <= exact
    if length < 2**31:
        assert found == exact
    assert found >= exact - Fraction(total, 2**29) - 1


def test_even_pacing_clamps_the_bid_to_what_is_released() -> None:
    """daily = 86.4: 1,000 nano are released each ms from midnight."""
    venue = one(daily=86.4, pacing="even")
    midnight = NOON + 12 * HOUR
    bids = []
    for ms in (0, 1, 1, 3, 1_000, 5_000):
        offer(venue, Request(midnight + ms * 10**6, 5, [Imp(at=mk.FIRST_PRICE)]))
        bids.append(int(venue.arrays["sold"][0, 0]["clearing_nano"]))
    assert bids == [0, 1_000, 0, 2_000, 997_000, 2_000_000]  # at last its own price
    assert int(venue.campaigns[0]["day_used"]) <= 5_000_000


def test_even_pacing_over_the_flight_counts_holds_and_what_expired_comes_back() -> None:
    venue = one(pacing="even", start="2026-03-01T12:00:00Z", end="2026-03-01T12:16:40Z")  # 1,000 nano a ms
    assert sold(venue, NOON)[0] == -1

    def clearing(now: int) -> int:
        return int(offer(venue, Request(now, 5, [Imp(at=mk.FIRST_PRICE)]))[0]["clearing_nano"])

    assert [clearing(NOON + ms * 10**6) for ms in (1, 1, 2)] == [1_000, 0, 1_000]
    assert clearing(NOON + 61 * SECOND) == 2_000_000  # its own price: far more is free
    assert venue.money()["a/c"]["held"] == 2_000_000


def test_even_pacing_needs_something_to_release() -> None:
    text = (
        '[[advertiser]]\nname="a"\n[[advertiser.campaign]]\nname="c"\nvalue_cpm=1\npacing="even"\n{}\n'
        '[[advertiser.campaign.creative]]\nid="x"\nw=300\nh=250\nhtml="<p>"\n'
    )
    for lines in ("", "budget = 5", 'budget = 5\nstart = "2026-01-01"', 'start = "2026-01-01"\nend = "2026-02-01"'):
        with pytest.raises(ConfigError, match='campaign a/c: pacing = "even": expected daily, or budget with start'):
            parse_config(text.format(lines))
    both = parse_config(text.format('daily = 1\nbudget = 5\nstart = "2026-01-01"\nend = "2026-02-01"'))
    assert int(venue_of(both).campaigns[0]["even"]) == mk.EVEN_DAY | mk.EVEN_FLIGHT
    assert int(venue_of(parse_config(text.format("daily = 1\nbudget = 5"))).campaigns[0]["even"]) == mk.EVEN_DAY


# ---- whom it leaves alone -----------------------------------------------------------------------------------------


def held_out(share: float = 0.3, seed: int = 3) -> Config:
    """Two advertisers, the first with a holdout and two campaigns."""
    brief = [campaign("c", "./odd_rules.py:Tired", 2.0), campaign("d", value=1.5, cap=Cap(total=1))]
    config = market({"a": brief, "b": [campaign("c", value=1.0)]}, "none", seed)
    config.advertiser[0].holdout = share
    return config


def test_a_holdout_is_a_share_of_people_for_ever() -> None:
    venue = venue_of(held_out())
    out = {p for p in range(1, 4_001) if limits.held_out_of(venue.record, 0, p)}
    assert abs(len(out) / 4_000 - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4_000)
    by_definition = {p for p in range(1, 4_001) if unit(*draw(3, p, 0, 1, HOLDOUT)[:2]) < 0.3}
    assert out == by_definition
    wider = venue_of(held_out(0.6))
    assert out < {p for p in range(1, 4_001) if limits.held_out_of(wider.record, 0, p)}
    for k, p in enumerate(sorted(out)[:20] * 2):  # other auctions, same people: b has them all
        assert int(offer(venue, Request(NOON + k, p))[0]["advertiser"]) == 2


def test_opportunities_held_out_are_written_down_and_nobody_is_asked() -> None:
    venue = venue_of(held_out(1.0), journal=True)
    for k, person in enumerate((5, 5, 6, 0)):
        offer(venue, Request(NOON + k, person, [Imp(), Imp()] if k == 0 else [Imp()]))
    venue.close()
    ledger = Ledger.in_memory(venue.journal, venue.names)
    kept = ledger.bids[ledger.bids["fate"] == codes.HOLDOUT]
    assert sorted(kept["value_nano"].tolist()) == [1_500_000] * 4 + [2_000_000] * 4
    assert not kept["gross_nano"].any() and not kept["net_nano"].any()
    assert ledger.auctions["n_eligible"].tolist() == [3] * 5 and ledger.auctions["n_asked"].tolist() == [1] * 4 + [3]
    assert ledger.auctions["n_bids"].tolist() == [1, 1, 1, 1, 3]  # an unknown person is not held out
    assert venue.campaigns["asked"].tolist()[:3] == [1, 1, 5]
    assert venue.campaigns["seen"][0].sum() == 1  # learned once, from the unknown person
    report = summarise(ledger)
    assert [(row.name, row.people, row.opportunities) for row in report.holdouts] == [("a", 2, 4)]
    assert report.bids == 7 and "held out by" in render(report)
    assert reconcile(ledger).count == 0


def test_without_a_stream_of_bids_a_holdout_is_counted() -> None:
    config = held_out(1.0)
    config.exchange.journal = "wins"
    venue = venue_of(config, journal=True)
    offer(venue, Request(NOON, 5))
    assert int(venue.arrays["fate_counts"][0, codes.HOLDOUT]) == 2
    assert len(Ledger.in_memory(venue.journal).bids) == 0


# ---- with which ad, at which value --------------------------------------------------------------------------------


def turning(*weights: int) -> Campaign:
    """A campaign with ads of these weights that fit, and a heavy one that does not."""
    brief = campaign("c")
    brief.creative = [Creative("other", w=728, h=90, html="<p>", weight=1_000)]
    brief.creative += [Creative(f"x{k}", w=300, h=250, html="<p>", weight=w) for k, w in enumerate(weights)]
    return brief


def test_ads_take_turns_by_weight() -> None:
    venue, n = venue_of(market({"a": [turning(1, 3, 6)]})), 3_000
    shown = Counter(int(offer(venue, Request(NOON + k))[0]["creative"]) for k in range(n))
    assert set(shown) == {1, 2, 3}
    for ad, share in ((1, 0.1), (2, 0.3), (3, 0.6)):
        assert abs(shown[ad] / n - share) < 4 * math.sqrt(share * (1 - share) / n)
    alone = venue_of(market({"a": [turning(1)]}))
    assert {int(offer(alone, Request(NOON + k))[0]["creative"]) for k in range(20)} == {1}


def test_a_table_of_values_is_drawn_from_evenly() -> None:
    cpm = [0.5, 0.5, 1.25, 0.0, 9.0]
    own = [campaign("c", value=Distribution(empirical=[7.0])), campaign("d", value=Distribution(empirical=cpm))]
    venue, n = venue_of(market({"a": own}, "none")), 3_000
    values: Counter[int] = Counter()
    for k in range(n):
        offer(venue, Request(NOON + k))
        assert int(venue.arrays["bids"]["value_nano"][0]) == 7_000_000
        values[int(venue.arrays["bids"]["value_nano"][1])] += 1
    expected = {500_000: 0.4, 1_250_000: 0.2, 0: 0.2, 9_000_000: 0.2}
    assert set(values) == set(expected)
    assert all(abs(values[v] / n - p) < 4 * math.sqrt(p * (1 - p) / n) for v, p in expected.items())


# ---- what the books say -------------------------------------------------------------------------------------------


def clicking() -> Config:
    """A population that clicks and converts, and campaigns that pay for each of the three."""
    config = market({b: [campaign("c", value=1.0, bill=b)] for b in BILL}, "isba2020", 4, server={"hold_s": 5})
    config.population.people, config.population.preset, config.population.floor_cpm = 200, "plain", 0.1
    config.population.qps, config.population.ctr, config.population.cvr = 50.0, 0.4, 0.5
    config.population.conversion_delay_ms = 4_000
    return config


def test_the_report_counts_what_was_seen_clicked_and_bought() -> None:
    simulation = Simulation(clicking())
    simulation.run(3_000)
    ledger = simulation.finish().ledger
    assert ledger is not None and reconcile(ledger).count == 0
    s, kinds = summarise(ledger), Counter(ledger.events["kind"].tolist())
    assert s.billed == sum(kinds[k] for k in mk.BILLING) and min(kinds[k] for k in mk.BILLING) > 50
    assert s.clicks == kinds[mk.KIND_CLICK] + kinds[mk.KIND_BILLED_CLICK]
    assert s.conversions == kinds[mk.KIND_CONVERSION] + kinds[mk.KIND_BILLED_CONVERSION]
    assert s.seen == kinds[mk.KIND_IMPRESSION] + kinds[mk.KIND_VIEW] > s.billed
    spend = int(ledger.events["paid_nano"].sum())
    assert s.spend_nano == spend
    assert s.cpm == pytest.approx(1e-6 * spend / s.seen)
    assert s.ecpc_nano == pytest.approx(spend / s.clicks) and s.cpa_nano == pytest.approx(spend / s.conversions)
    for row in s.advertisers:
        ident = simulation.names.known("advertiser", row.name)
        mine = Counter(ledger.events["kind"][ledger.events["advertiser"] == ident].tolist())
        assert row.seen == mine[mk.KIND_IMPRESSION] + mine[mk.KIND_VIEW]
        assert row.billed == mine[PAID[row.name]]
        assert row.conversions == mine[mk.KIND_CONVERSION] + mine[mk.KIND_BILLED_CONVERSION]
        assert row.cpm == pytest.approx(1e-6 * row.spend_nano / row.seen)
    for column in ("seen", "clicks", "conversions"):
        assert sum(getattr(row, column) for row in s.advertisers) == getattr(s, column)


def test_conversions_are_a_share_of_clicks() -> None:
    simulation = Simulation(clicking())
    population = simulation.population
    drawn = [population.converts(population.at(t), 0) for t in range(4_000)]
    assert abs(np.mean(drawn) - 0.5) < 4 * 0.5 / math.sqrt(4_000)


def test_the_ring_of_conversions_grows_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def events(chunk: int) -> tuple[bytes, int]:
        monkeypatch.setattr(run_module, "CHUNK", chunk)
        config = clicking()
        config.population.ctr, config.population.cvr, config.population.conversion_delay_ms = 1.0, 1.0, 30_000
        simulation = Simulation(config)
        simulation.run(2_500)
        ledger = simulation.finish().ledger
        assert ledger is not None
        return ledger.events.tobytes(), simulation.conversions.size

    small, large = events(60), events(50_000)
    assert small[0] == large[0] and 128 < small[1] < large[1]


def test_a_ring_that_grows_keeps_what_is_under_way_in_its_order() -> None:
    simulation = Simulation(clicking())
    size = simulation.conversions.size
    head, tail = size - 5, size + 9  # it goes round the end
    simulation.cursor["conversions_head"], simulation.cursor["conversions_tail"] = head, tail
    for k in range(head, tail):
        simulation.conversions[k % size]["serial"] = k
    simulation._widen()
    wide = simulation.conversions
    assert wide.size == 2 * size and [int(wide[k % wide.size]["serial"]) for k in range(head, tail)] == [
        *range(head, tail)
    ]


@pytest.mark.parametrize(
    ("kind", "to", "field"),
    [
        (mk.KIND_VIEW, mk.KIND_IMPRESSION, "kind"),
        (mk.KIND_BILLED_CLICK, mk.KIND_CLICK, "kind"),
        (mk.KIND_CLICK, mk.KIND_BILLED_CLICK, "kind"),
        (mk.KIND_CONVERSION, mk.KIND_BILLED_CONVERSION, "kind"),
        (mk.KIND_BILLED_CONVERSION, mk.KIND_CONVERSION, "kind"),
        (mk.KIND_CLICK, mk.KIND_CONVERSION, "kind"),
    ],
)
def test_an_event_of_the_wrong_kind_is_found(kind: int, to: int, field: str) -> None:
    simulation = Simulation(clicking())
    simulation.run(600)
    ledger = simulation.finish().ledger
    assert ledger is not None
    events = ledger.events.copy()
    at = int(np.flatnonzero(events["kind"] == kind)[-1])
    events["kind"][at] = to
    altered = copy(ledger)
    vars(altered)["events"] = events
    found = [d for d in reconcile(altered).differences if d.invariant == "I7" and d.field == field]
    same_award = events["auction_id"] == events["auction_id"][at]
    assert {d.seq for d in found} & set(events["seq"][same_award].tolist())
