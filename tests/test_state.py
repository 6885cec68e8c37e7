"""State: money, holds, contacts, caps, flights, tables, the same in the compiled venue and its naive twin."""

import os
import random
from fractions import Fraction

import numpy as np
import pytest

from exchange import market as mk
from exchange.auction.terms import date_ns
from exchange.auction.venue import Venue
from exchange.books.reconcile import reconcile
from exchange.config import Cap, Config, Creative, Distribution, Reserve
from exchange.market import life
from exchange.openrtb import codes
from exchange.rent.ledger import Ledger
from tests.naive import Naive, contact_of, differences
from tests.naive_terms import DAY, Imp, Remote, Request, campaign, market, offer, venue_of

START = date_ns("2026-03-01T12:00:00Z", "")
SECOND = 10**9
PEOPLE = [0, *(2**63 + 977 * k for k in range(1, 9))]
OWN_PEOPLE = PEOPLE[1:4]
NOON = "2026-03-02T12:00:00"


def mixed(seed: int = 3, **auction: object) -> Config:
    """Eleven campaigns with eight rules, tight in money, caps and time, billed by all there is; two endpoints."""
    wide = ((300, 250), (728, 90))
    config = market(
        {
            "alpha": [
                campaign("open", "truthful", 2.0, *wide, budget=0.9),
                campaign("few", "linear", 3.0, knobs={"factor": 0.7}, cap=Cap(day=2, total=5), budget=0.05),
            ],
            "beta": [
                campaign("pace", "paced", 2.5, *wide, daily=0.02, factors={"a": 1.5, "b": 0.4}),
                campaign("shade", "shaded", Distribution(uniform=(0.5, 4.0)), target="not own", cap=Cap(total=3)),
            ],
            "gamma": [
                campaign("tired", "./odd_rules.py:Tired", 2.0, target="seg one of [a]", end=f"{NOON}.000000007Z"[:26]),
                campaign("moody", "./odd_rules.py:Moody", Distribution(lognormal=(0.0, 0.5)), *wide, cap=Cap(day=1)),
            ],
            "delta": [
                campaign("wild", "./odd_rules.py:Wild", 0.4, budget=0.01, start=f"{NOON}Z"),
                campaign("wordy", "./odd_rules.py:Wordy", 1.9, (728, 90), target="own", purpose="winback"),
            ],
            "life": [
                campaign(
                    "clicks",
                    "./odd_rules.py:Tired",
                    Distribution(empirical=[0.1, 1.7, 1.7, 3.0]),
                    bill="click",
                    pctr=0.4,
                    daily=0.05,
                    pacing="even",
                    cap=Cap(hour=3, week=5),
                ),
                campaign(
                    "sales",
                    "./odd_rules.py:Tired",
                    6.0,
                    *wide,
                    bill="conversion",
                    pctr=0.5,
                    pcvr=0.5,
                    cap=Cap(campaign=2),
                    budget=8,
                    pacing="even",
                    start="2026-03-01T11:59:00Z",
                    end="2026-03-03T00:00:00Z",
                ),
                campaign(
                    "often",
                    "truthful",
                    1.8,
                    cap=Cap(hour=2, campaign=4),
                    budget=5,
                    daily=0.3,
                    pacing="even",
                    start="2026-02-01",
                    end="2026-05-01",
                ),
            ],
        },
        seed=seed,
        endpoints=2,
        **auction,
    )
    life = config.advertiser[-1]
    life.holdout = 0.3
    for brief in life.campaign:
        brief.creative = [*brief.creative, *(Creative(f"x{w}", w=300, h=250, html="<p>", weight=w) for w in (2, 5))]
    return config


def pair(config: Config, block_rows: int = 256) -> tuple[Venue, Naive]:
    """A real venue with a journal and its twin, own lists filled."""
    venue = venue_of(config, journal=True, block_rows=block_rows)
    naive = Naive(config, venue)
    for advertiser in ("beta", "delta"):
        venue.mark_own(advertiser, np.array(OWN_PEOPLE, np.uint64))
        naive.own(advertiser, venue, OWN_PEOPLE)
    return venue, naive


def every_format(seed: int) -> dict[str, object]:
    """Positions, a soft floor and reserves of all kinds, and campaigns that pay per click or conversion."""
    rng = random.Random(seed)
    uniform, mean = Distribution(uniform=(0.2, 2.0 + seed)), Distribution(exponential=0.6)
    return {
        "slots": [[2.0, 1.2, 0.5], [1.0, 0.4], [0.3], []][seed % 4],
        "soft_floor_cpm": rng.choice([0.0, 0.8, 1.6]),
        "reserve": [
            Reserve(floor_cpm=0.3),
            Reserve(target="seg one of [b]", floor_cpm=0.7),
            Reserve(seat="alpha", floor_cpm=0.9),
            Reserve(seat="beta", target="seg one of [a]", values=uniform),
            Reserve(seat="beta", values=mean),
            Reserve(target="seg one of [a]", values=mean),
        ][seed % 3 :],
    }


def billed_by_event(config: Config) -> Config:
    """The same campaigns, some of which pay per click or conversion, or are weighed by quality."""
    terms = {
        "open": {"bill": "conversion", "pctr": 0.3, "pcvr": 0.07},
        "pace": {"bill": "click", "pctr": 0.3, "quality": 1.7},
        "shade": {"quality": 0.35},
        "tired": {"bill": "click", "pctr": 1e-9, "budget": 0.5},
        "moody": {"bill": "click", "pctr": 0.5, "quality": 0.9},
        "few": {"quality": 2.5},
    }
    for advertiser in config.advertiser:
        for campaign_ in advertiser.campaign:
            for key, value in terms.get(campaign_.name, {}).items():
                setattr(campaign_, key, value)
    return config


def a_request(rng: random.Random, now: int, formats: tuple[int, ...] = (1, 2, 2)) -> Request:
    """Any request: known and unknown people, one to three imps, remote bids good and bad."""
    imps = [
        Imp(
            rng.choice([0, 0, 1, 400_000, 900_000]),
            rng.choice([(300, 250), (300, 250), (728, 90)]),
            rng.choice(formats),
        )
        for _ in range(rng.randint(1, 3))
    ]
    remote = [
        Remote(
            rng.choice([0, 1_000, 800_000, 1_500_000, rng.randrange(2_500_000)]),
            seat=rng.choice([0, 900, 901]),
            floor=rng.choice([0, 0, 0, 900_000]),
            advertiser=rng.choice([900, 901, 902]),
            entity=rng.getrandbits(64),
            endpoint=rng.randrange(2),
            imp=rng.randrange(len(imps)),
            fate=rng.choice([codes.WON, codes.WON, codes.WON, codes.SEAT_BLOCKED, codes.TIMEOUT]),
        )
        for _ in range(rng.choice([0, 0, 1, 3]))
    ]
    segments = tuple(s for s in "ab" if rng.random() < 0.5)
    return Request(now, rng.choice(PEOPLE), imps, remote, segments, rng.random() < 0.04, rng.randint(1, 3), 5)


def live(
    venue: Venue, naive: Naive, rng: random.Random, steps: int, now: int = START,
    formats: tuple[int, ...] = (1, 2, 2), later: tuple[int, ...] = (),
) -> int:  # fmt: skip
    """A random life: requests, events, repeats, strangers, waiting; the same for both. Returns the time.

    later: what else may arrive, of (opt in, opt out, refund).
    """
    awards: list[tuple[int, int]] = []
    for _ in range(steps):
        now += rng.choice([0, 0, 1, SECOND, SECOND, 7 * SECOND, 20 * SECOND])
        if rng.random() < 0.02:
            hour = 3_600 * SECOND
            ends = [now // DAY * DAY + DAY, now // hour * hour + hour, now + 60 * SECOND, date_ns(f"{NOON}Z", "")]
            edge = rng.choice(ends)
            now = max(now, edge - rng.choice([0, 1]))
        action = rng.random()
        if action < 0.6:
            request = a_request(rng, now, formats)
            offer(venue, request)
            naive.trade(request)
            for k, positions in enumerate(naive.sold):
                for its, own in zip(venue.arrays["sold"][k], positions, strict=True):
                    assert {name: int(its[name]) for name in own} == own
                    if its["serial"] >= 0:
                        awards.append((int(its["serial"]), int(its["auction_id"])))
        elif action < 0.95 and awards:
            serial, auction = rng.choice(awards[-12:]) if rng.random() < 0.9 else rng.choice(awards)
            if rng.random() < 0.05:
                auction += 1
            kinds = (mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_CONVERSION, *later)
            kind = rng.choices(kinds, (60, 20, 20, 5, 5, 25)[: len(kinds)])[0]
            amount, number = 0, 1
            if kind == mk.KIND_REFUND:
                paid = [a for a in naive.awards.values() if a.status in (mk.BILLED, mk.PART_REFUNDED)]
                if paid and rng.random() < 0.8:
                    award = rng.choice(paid)
                    serial, auction = award.serial, award.auction
                    number = len(award.refunded) + rng.choice([0, 1, 1, 1, 1, 2])
                amount = rng.choice([0, rng.randrange(900_000), rng.randrange(900_000), 10**7, -1])
            event = (kind, serial, auction, now, amount, number)
            assert venue.event(*event) == naive.event(*event)
        else:
            venue.tick(now)
            naive.advance(now)
        balanced(venue)
        paced(venue)
    return now


def paced(venue: Venue) -> None:
    """Evenly paced money is never ahead of the clock, in exact fractions."""
    now = int(venue.record["now_ns"][0])
    for me, c in zip(venue.campaigns, (c for a in venue.config.advertiser for c in a.campaign), strict=False):
        if c.pacing == "even" and c.daily is not None:
            assert int(me["day_used"]) <= Fraction(int(me["daily"]) * (now % DAY), DAY)
        if c.pacing == "even" and c.budget is not None and c.start:
            elapsed, whole = now - int(me["start_ns"]), int(me["end_ns"] - me["start_ns"])
            assert int(me["spent"] + me["held"]) <= Fraction(int(me["budget"]) * max(0, min(elapsed, whole)), whole)


def balanced(venue: Venue) -> None:
    """spent + held + available = budget, and nothing below zero or above its limit."""
    rows = venue.campaigns[: venue.n_campaigns]
    assert (rows["spent"] + rows["held"] + rows["available"] == rows["budget"]).all()
    assert (np.stack([rows[name] for name in ("spent", "held", "available", "day_used")]) >= 0).all()
    assert (rows["day_used"] <= rows["daily"]).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_random_life_is_the_same_for_the_compiled_and_the_naive_market(seed):
    rng = random.Random(seed)
    kind = {"runner_up": "next_bid", "increment_cpm": 0.01} if seed % 2 else {"min_to_win": seed == 0}
    config = mixed(seed, **kind)
    venue, naive = pair(config)
    live(venue, naive, rng, 500)
    venue.close()
    ledger = Ledger.in_memory(venue.journal, venue.names)
    assert differences(naive, venue, ledger) == []
    assert naive.exceptions == venue.rules.faults["./odd_rules.py:Wordy"] > 0
    assert len(ledger.wins) > 100 and set(ledger.events["kind"].tolist()) == {10, 11, 12, 13, 14, 15, 16, 17}
    assert codes.HOLDOUT in ledger.bids["fate"]
    checked = reconcile(ledger)
    assert checked.count == 0 and checked.rows == naive.seq - 1, checked.differences[:3]


@pytest.mark.parametrize("seed", range(4))
def test_a_random_life_in_every_format_is_the_same_for_both(seed):
    rng = random.Random(seed)
    kind = {"runner_up": "next_bid", "increment_cpm": 0.01} if seed % 2 else {}
    venue, naive = pair(billed_by_event(mixed(seed, **kind, **every_format(seed))))
    live(venue, naive, rng, 300, formats=tuple(mk.FORMATS.values()))
    venue.close()
    ledger = Ledger.in_memory(venue.journal, venue.names)
    assert differences(naive, venue, ledger) == []
    assert set(ledger.wins["price_rule"].tolist()) == set(mk.FORMATS.values())
    assert {0, 1, 2} <= set(ledger.wins["bill"].tolist()) and codes.ECPM_ZERO in ledger.bids["fate"]
    assert len(naive.slots) == 1 or ledger.wins["slot"][np.isin(ledger.wins["price_rule"], (mk.GSP, mk.VCG))].any()
    assert (ledger.wins["flags"] & mk.FLAG_LOST).any()
    checked = reconcile(ledger)
    assert checked.count == 0 and checked.rows == naive.seq - 1, checked.differences[:3]


@pytest.mark.torture
def test_random_lives_of_fresh_seeds():
    seed = int(os.environ.get("RENTIER_SEED") or random.SystemRandom().randrange(2**32))
    print(f"RENTIER_SEED={seed}")
    for turn in range(40):
        rng = random.Random(seed + turn)
        wide = every_format(turn) if turn % 2 else {}
        config = mixed(seed % 2**31 + turn, runner_up=rng.choice(["other_seat", "next_bid"]), **wide)
        venue, naive = pair(billed_by_event(config) if turn % 2 else config)
        live(venue, naive, rng, 1_500, formats=tuple(mk.FORMATS.values()) if turn % 2 else (1, 2, 2))
        venue.close()
        assert differences(naive, venue, Ledger.in_memory(venue.journal, venue.names)) == [], turn


def test_a_budget_is_never_exceeded_by_one_unit():
    """Twenty campaigns with budgets that no price divides, in total and a day; every win counts from the rows."""
    rng = random.Random(1)
    own = {
        f"a{k}": [campaign("c", "truthful", rng.uniform(1, 3), budget=rng.randrange(1, 10**8) / 1e9, daily=0.031)]
        for k in range(20)
    }
    venue, naive = pair(market({**own, "beta": [], "delta": []}, endpoints=2))
    now = live(venue, naive, rng, 1_500)
    venue.tick(now + 61 * SECOND)
    venue.close()
    ledger = Ledger.in_memory(venue.journal, venue.names)
    wins, events = ledger.wins, ledger.events
    paid = {int(s) for s in events["serial"][events["kind"] == mk.KIND_IMPRESSION]}
    spent_out = 0
    for me in venue.campaigns[: venue.n_campaigns]:
        mine = wins[wins["campaign"] == me["id"]]
        billed = mine[[int(s) in paid for s in mine["serial"]]]
        assert billed["buyer_total_nano"].sum() == me["spent"] <= me["budget"] and me["held"] == 0
        for day in np.unique(mine["ts_ns"] // DAY):
            assert billed["buyer_total_nano"][billed["ts_ns"] // DAY == day].sum() <= 31_000_000
        spent_out += me["available"] < 1_000_000
    assert spent_out >= 5  # budgets did bind


def test_the_last_bid_is_clamped_to_what_is_left():
    venue = venue_of(market({"a": [campaign("c", "truthful", 2.0, budget=0.005)]}, fees="none"))
    nets = []
    for k in range(5):
        sold = offer(venue, Request(START + k, imps=[Imp(0, at=mk.FIRST_PRICE)]))[0]
        nets.append(int(sold["clearing_nano"]))
    assert nets == [2_000_000, 2_000_000, 1_000_000, 0, 0]
    assert venue.money()["a/c"]["available"] == 0


def test_imps_of_one_request_share_the_money():
    venue = venue_of(market({"a": [campaign("c", "truthful", 2.0, budget=0.003)]}, fees="none"))
    sold = offer(venue, Request(START, imps=[Imp(at=1), Imp(at=1), Imp(at=1)]))
    assert [int(s["clearing_nano"]) for s in sold] == [2_000_000, 1_000_000, 0]


def test_a_hold_is_settled_once_and_a_late_impression_is_unpaid():
    venue = venue_of(market({"a": [campaign("c", "truthful", 2.0, budget=1)]}, fees="none"), journal=True)
    first, second = (offer(venue, Request(START + k, 5, [Imp(700)]))[0] for k in range(2))
    assert venue.money()["a/c"] | {"asked": 2} == {
        "budget": SECOND, "spent": 0, "held": 1_400, "available": SECOND - 1_400, "wins": 2, "asked": 2,
    }  # fmt: skip
    serial, auction = int(first["serial"]), int(first["auction_id"])
    assert venue.event(mk.KIND_IMPRESSION, serial, auction + 1, START + 5) == life.UNKNOWN  # another auction's token
    assert venue.event(mk.KIND_IMPRESSION, serial, auction, START + 5) == mk.KIND_IMPRESSION
    assert venue.event(mk.KIND_IMPRESSION, serial, auction, START + 6) == 0
    assert venue.event(mk.KIND_CLICK, serial, auction, START + 7) == mk.KIND_CLICK
    assert venue.event(mk.KIND_CLICK, serial, auction, START + 8) == 0
    for stranger in ((99, auction), (-1, 0)):
        assert venue.event(mk.KIND_CLICK, *stranger, START + 8) == life.UNKNOWN
    late = int(second["serial"]), int(second["auction_id"]), START + 1 + 60 * SECOND
    assert venue.event(mk.KIND_IMPRESSION, *late) == mk.KIND_UNPAID  # the hold ended in that very nanosecond
    assert venue.event(mk.KIND_IMPRESSION, *late) == 0
    money = venue.money()["a/c"]
    assert (money["spent"], money["held"], money["available"]) == (700, 0, SECOND - 700)
    assert int(contact_of(venue, 5, 1)["contacts"]) == 1
    kinds = Ledger.in_memory(venue.journal).events["kind"].tolist()
    assert kinds == [mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_RELEASE, mk.KIND_UNPAID]


def test_caps_count_contacts_and_open_holds():
    venue = venue_of(market({"a": [campaign("c", cap=Cap(day=2, total=3))]}, fees="none"))

    def ask(now: int, person: int = 5) -> int:
        return int(offer(venue, Request(now, person))[0]["serial"])

    def bill(serial: int, now: int) -> int:
        return venue.event(mk.KIND_IMPRESSION, serial, int(venue.arrays["awards"][serial]["auction_id"]), now)

    evening = START // DAY * DAY + DAY - 10 * SECOND
    held = [ask(evening), ask(evening)]
    assert min(held) >= 0 and ask(evening) == -1  # two open holds
    assert ask(evening, 0) >= 0 and ask(evening, 0) >= 0 and ask(evening, 0) >= 0  # unknown people are never capped
    assert bill(held[0], evening + 1) == mk.KIND_IMPRESSION and ask(evening + 2) == -1
    morning = evening + 20 * SECOND
    assert ask(morning) >= 0  # a new day: one hold of yesterday is open, one contact counts in total
    assert ask(morning) == -1
    assert bill(held[1], morning) == mk.KIND_IMPRESSION  # placed yesterday, billed today: today's contact
    assert ask(morning + 70 * SECOND) >= 0  # this morning's hold has expired: two in total, one today
    assert ask(morning + 71 * SECOND) == -1  # three in total
    assert ask(morning + 3 * DAY) >= 0 and ask(morning + 3 * DAY) == -1  # its hold expired too


def test_a_flight_starts_and_ends_at_its_nanosecond():
    config = market(
        {"a": [campaign("c", start="2026-03-01T12:00:01.5Z", end="2026-03-01T14:00:02+01:00")]}, fees="none"
    )
    venue = venue_of(config)
    begin, end = START + 1_500_000_000, date_ns("2026-03-01T13:00:02", "")
    bids = [int(offer(venue, Request(t))[0]["n_bids"]) for t in (begin - 1, begin, end - 1, end, end + DAY)]
    assert bids == [0, 1, 1, 0, 0]
    fresh = venue_of(config)
    assert int(offer(fresh, Request(end))[0]["n_bids"]) == 0


def test_a_day_ends_at_midnight_utc():
    venue = venue_of(market({"a": [campaign("c", daily=0.0015)]}, fees="none"))
    midnight = START // DAY * DAY + DAY
    prices = [
        int(offer(venue, Request(t, imps=[Imp(at=1)]))[0]["clearing_nano"])
        for t in (midnight - 2, midnight - 1, midnight - 1)
    ]
    assert prices == [1_000_000, 500_000, 0]
    assert int(offer(venue, Request(midnight, imps=[Imp(at=1)]))[0]["clearing_nano"]) == 1_000_000
    venue.tick(midnight + 60 * SECOND)  # yesterday's holds expire: they give nothing back to today
    assert int(venue.campaigns[0]["day_used"]) == 0 and venue.money()["a/c"]["held"] == 0


def test_the_ring_of_awards_releases_the_oldest_when_it_is_full():
    config = market({"a": [campaign("c", value=0.001)], "beta": [], "delta": []}, server={"hold_s": 80_000})
    venue, naive = pair(config)
    first = None
    for k in range(1_030):
        request = Request(START + k, PEOPLE[k % 3], [Imp(7)])
        sold = offer(venue, request)[0]
        first = first or (int(sold["serial"]), int(sold["auction_id"]))
        naive.trade(request)
        balanced(venue)
    assert int(venue.record["n_lost_holds"][0]) == naive.lost_holds == 6
    assert venue.event(mk.KIND_IMPRESSION, *first, START + 2_000) == life.UNKNOWN  # forgotten
    assert naive.event(mk.KIND_IMPRESSION, *first, START + 2_000) == life.UNKNOWN
    venue.close()
    assert differences(naive, venue, Ledger.in_memory(venue.journal)) == []
    assert int(venue.record["n_held"][0]) == 1_024


def test_contact_tables_grow_without_losing_anyone():
    server = {"people_max": 40_000, "awards_max": 16_384}
    venue = venue_of(market({"a": [campaign("c", value=0.001)], "b": []}, endpoints=1, server=server))
    sizes = int(venue.record["people_size"][0]), int(venue.record["pairs_size"][0])
    for k in range(1, 12_001):
        remote = [Remote(10**6, seat=50, advertiser=70 + k % 3, entity=k)] if k % 3 == 0 else []
        offer(venue, Request(START + k, k * 2**33 + 11, remote=remote))
    v = venue.record[0]
    assert (int(v["people_used"]), int(v["pairs_used"]), int(v["n_unknown_people"])) == (8_000, 4_000, 0)
    for k in range(1, 12_001, 97):
        contact = contact_of(venue, k * 2**33 + 11, 70 + k % 3 if k % 3 == 0 else 1)
        assert contact is not None and int(contact["held"]) == 1, k
    assert int(venue.arrays["contacts"]["held"].sum()) == 12_000
    assert (int(v["people_size"]), int(v["pairs_size"])) == (sizes[0], 2 * sizes[1])  # 4,000 fill 0.6 of 8,192 at most


@pytest.mark.parametrize("outside", [False, True])
def test_at_the_limit_new_people_stay_unknown_and_are_counted(outside):
    """The limit holds for people of our advertisers and for pairs with others; those known go on being counted."""
    config = market({"a": [campaign("c", value=0.001, cap=Cap(total=3))]}, endpoints=1, server={"people_max": 1_024})
    venue = venue_of(config, journal=True)
    naive = Naive(config, venue)
    remote = [Remote(10**6, seat=50, advertiser=70)] if outside else []
    for k in range(1, 1_101):
        request = Request(START + k, 2 * k, remote=remote)
        offer(venue, request)
        naive.trade(request)
    for k in (1, 1_024, 1_025, 1_100):
        for repeat in range(3):
            request = Request(START + 2_000 + repeat, 2 * k, remote=remote)
            offer(venue, request)
            naive.trade(request)
    assert int(venue.record["pairs_used" if outside else "people_used"][0]) == 1_024
    assert int(venue.record["n_unknown_people"][0]) == 76 + 6
    venue.close()
    assert differences(naive, venue, Ledger.in_memory(venue.journal)) == []


def test_own_lists_larger_than_the_table_are_cut_and_counted():
    venue = venue_of(market({"a": [campaign("c", target="own")]}, server={"people_max": 1_024}))
    venue.mark_own("a", np.arange(1, 1_201, dtype=np.uint64))
    assert int(venue.record["n_unknown_people"][0]) == 176
    bids = [int(offer(venue, Request(START, person))[0]["n_bids"]) for person in (0, 1, 1_024, 1_025)]
    assert bids == [0, 1, 1, 0]


def test_a_large_own_list_makes_the_table_grow():
    venue = venue_of(market({"a": [campaign("c", target="not own")]}))
    venue.mark_own("a", np.arange(1, 50_001, dtype=np.uint64))
    assert int(venue.record["people_used"][0]) == 50_000 <= 0.6 * int(venue.record["people_size"][0])
    assert int((venue.arrays["contacts"]["flags"] & mk.OWN).sum()) == 50_000
    bids = [int(offer(venue, Request(START, person))[0]["n_bids"]) for person in (0, 1, 50_000, 50_001)]
    assert bids == [1, 0, 0, 1]


def test_a_test_imp_changes_nothing():
    config = mixed()
    venue, naive = pair(config)
    live(venue, naive, random.Random(5), 60)
    before = {name: array.tobytes() for name, array in venue.arrays.items() if name in ("contacts", "awards", "people")}
    campaigns, record = venue.campaigns.copy(), venue.record.copy()
    now = int(record["now_ns"][0])
    sold = offer(venue, Request(now, PEOPLE[2], [Imp(), Imp(at=1)], [Remote(10**7), Remote(10**7, imp=1)], test=True))
    assert [int(s["clearing_nano"]) > 0 for s in sold] == [True, True] and int(sold[0]["serial"]) == -1
    assert before == {name: venue.arrays[name].tobytes() for name in before}
    for name in ("spent", "held", "available", "asked", "wins"):
        assert (venue.campaigns[name] == campaigns[name]).all()
    for name in record.dtype.names:
        assert record[name] == venue.record[name] or name == "n_remote", name
