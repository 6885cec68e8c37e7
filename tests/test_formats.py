"""Formats: worked examples of each, and what must hold for all of them whatever the bids.

The bids are those of local campaigns, judged by the compiled step. Amounts of examples are CPM; with positions what is
paid is per impression in its position, per click it is per 1,000 clicks.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as mk
from exchange.auction import formats as fm
from exchange.auction.venue import Venue
from exchange.books.reconcile import reconcile
from exchange.books.run_summary import summarise
from exchange.config import ConfigError, Distribution, Fees, FeeSet, Reserve
from exchange.openrtb import codes
from exchange.rent.ledger import Ledger
from tests.naive_terms import Imp, Remote, Request, campaign, market, offer, venue_of

NOW = 1_770_000_000 * 10**9
BIDDERS = 4
quick = settings(derandomize=True, deadline=None, max_examples=150)


@dataclass(frozen=True)
class Bidder:
    """A truthful campaign: its bid (nano per impression), quality, what it pays for, events per impression."""

    bid: int
    quality: int = 1_000_000
    bill: int = mk.BILL_IMPRESSION
    rate: int = 10**9


@dataclass(frozen=True)
class Terms:
    """How the imp is sold."""

    format: int
    floor: int = 0
    soft: int = 0
    increment: int = 0
    slots: tuple[float, ...] = ()
    runner_up: str = "other_seat"
    values: tuple[tuple[str, float, float], ...] = ()  # (seat, low, high); low < 0: exponential with mean high


def distribution(low: float, high: float) -> Distribution:
    return Distribution(exponential=high) if low < 0 else Distribution(uniform=(low, high))


@lru_cache
def house(terms: Terms, journal: bool = False) -> Venue:
    """A venue with four campaigns a, b, c, d of as many advertisers, and an endpoint."""
    own = {name: [campaign("c", value=1.0)] for name in "abcd"}
    config = market(
        own, "none", endpoints=1, increment_cpm=terms.increment / 1e6, runner_up=terms.runner_up,
        slots=list(terms.slots), soft_floor_cpm=terms.soft / 1e6,
        reserve=[Reserve(seat=seat, values=distribution(low, high)) for seat, low, high in terms.values],
    )  # fmt: skip
    return venue_of(config, journal)


@dataclass
class Sold:
    """One position as it was sold."""

    who: int
    slot: int
    event: int  # price per billable event
    paid: int  # per impression, expected
    bid: int  # the winner's bid per billable event
    floor: int


def judged(terms: Terms, bidders: list[Bidder], remote: list[Remote] | None = None) -> list[Sold]:
    """Who gets which position at what price; nothing changes, so the next auction draws the same."""
    venue = house(replace(terms, format=0, floor=0))
    put(venue, bidders)
    offer(venue, Request(NOW, imps=[Imp(terms.floor, at=terms.format)], remote=remote or [], test=True))
    bids = venue.arrays["bids"]
    found = []
    for row in venue.arrays["sold"][0]:
        if row["campaign"] >= 0 or row["remote_ix"] >= 0:
            key = (row["campaign"], row["remote_ix"])
            bid = next(b for b in bids if (b["campaign"], b["remote_ix"]) == key)
            rate = terms.slots[row["slot"]] if fm.TABLE[terms.format, fm.POSITIONS] and terms.slots else 1.0
            per_event = int(bid["unit_nano"]) if bid["bill"] else round(int(bid["net_nano"]) * rate)
            who = int(row["campaign"]) if row["campaign"] >= 0 else BIDDERS + int(row["remote_ix"])
            found.append(
                Sold(who, int(row["slot"]), int(row["price_nano"]), int(row["clearing_nano"]), per_event,
                     int(bid["floor_nano"]))
            )  # fmt: skip
    return found


def put(venue: Venue, bidders: list[Bidder]) -> None:
    """Let the campaigns be these; those without a bidder are out."""
    for k in range(BIDDERS):
        me = venue.campaigns[k]
        me["paused"] = k >= len(bidders)
        if k < len(bidders):
            b = bidders[k]
            me["value_nano"], me["quality_ppm"], me["bill"] = b.bid, b.quality, b.bill
            me["pctr_ppb"], me["pcvr_ppb"] = b.rate, 10**9
    venue.record["wake_ns"] = 0


# ---- worked examples ------------------------------------------------------------------------------------------------


def cpm(number: float) -> int:
    return round(number * 1e6)


def per_click(bid: float, rate: float) -> Bidder:
    """A bid in currency per click, at clicks per impression."""
    return Bidder(round(bid * rate * 1e9), bill=mk.BILL_CLICK, rate=round(rate * 1e9))


def plain(*bids: float) -> list[Bidder]:
    return [Bidder(cpm(bid)) for bid in bids]


EOS = (200.0, 100.0)  # clicks of two positions: Edelman, Ostrovsky and Schwarz (2007)
E29 = [per_click(1.00, 0.02), per_click(3.00, 0.005), per_click(0.90, 0.018)]
UNIFORM = (("a", 0.0, 1.0), ("b", 0.0, 2.0))
# format -> (terms, bidders, what is sold: (who, price in CPM, or in currency x 1000 per click))
EXAMPLES: dict[str, list[tuple[dict[str, Any], list[Bidder], list[tuple[int, float]]]]] = {
    "second_price": [
        ({"floor": cpm(0.5)}, plain(2, 1.4), [(0, 1.4)]),
        ({"floor": cpm(0.5)}, plain(2, 0.4), [(0, 0.5)]),
        ({"floor": cpm(2.5)}, plain(2, 1), []),
        ({"increment": cpm(0.01)}, plain(2, 1.995), [(0, 2.0)]),
        ({}, E29, [(0, 810.0)]),  # price per click = next eCPM / own rate: oracle E29
        ({"floor": cpm(17)}, E29, [(0, 850.0)]),  # 17 CPM / 0.02
    ],
    "first_price": [
        ({"floor": cpm(0.5)}, plain(2, 1.4), [(0, 2.0)]),
        ({}, E29, [(0, 1000.0)]),
    ],
    "soft_floor": [
        ({"soft": cpm(1.0)}, plain(2, 1.4), [(0, 1.4)]),
        ({"soft": cpm(1.6)}, plain(2, 1.4), [(0, 1.6)]),
        ({"soft": cpm(2.5)}, plain(2, 1.4), [(0, 2.0)]),
        ({"soft": cpm(2.0)}, plain(2, 1.4), [(0, 2.0)]),
        ({"soft": cpm(1.0), "floor": cpm(1.2)}, plain(2), [(0, 1.2)]),
    ],
    "posted_price": [
        ({"floor": cpm(1.0)}, plain(2, 0.9), [(0, 1.0)]),
        ({"floor": cpm(1.0)}, plain(0.9, 1.0), [(1, 1.0)]),
        ({"floor": cpm(1.0)}, plain(0.9, 0.8), []),
        ({"floor": cpm(20)}, E29[:1], [(0, 1000.0)]),
    ],
    "all_pay": [
        ({}, plain(2, 1.4, 0.3), [(0, 2.0)]),
        ({"floor": cpm(0.5)}, plain(0.4), []),
        ({}, E29, [(0, 20.0)]),  # per impression, whatever they usually pay for
    ],
    "gsp": [
        ({"slots": EOS}, plain(10, 4, 2), [(0, 800.0), (1, 200.0)]),  # oracle E26
        ({"slots": EOS}, plain(10, 3, 2), [(0, 600.0), (1, 200.0)]),  # bids of the locally envy-free equilibrium
        ({"slots": EOS, "floor": cpm(3)}, plain(10, 4, 2), [(0, 800.0), (1, 300.0)]),
        ({"slots": EOS}, plain(10), [(0, 0.0)]),
        ({}, [Bidder(cpm(1), 20_000), Bidder(cpm(3), 5_000), Bidder(cpm(0.9), 18_000)], [(0, 0.81)]),
        ({"slots": (1.0, 0.5)}, E29, [(0, 810.0), (2, 15 / 0.018)]),
    ],
    "vcg": [
        ({"slots": EOS}, plain(10, 4, 2), [(0, 600.0), (1, 200.0)]),  # oracle E27
        ({"slots": EOS, "floor": cpm(3)}, plain(10, 4, 2), [(0, 700.0), (1, 300.0)]),
        ({}, plain(10, 4, 2), [(0, 4.0)]),
        (
            {"slots": (1.0, 0.5)},
            [Bidder(cpm(4), 500_000), Bidder(cpm(1)), Bidder(cpm(1), 800_000)],
            [(0, 1.8), (1, 0.4)],
        ),
    ],
    "myerson": [
        ({"values": UNIFORM}, plain(0.8, 1.2), [(0, 0.7)]),  # 0.6 against 0.4: pays (0.4 + 1) / 2
        ({"values": UNIFORM}, plain(0.8, 1.9), [(1, 1.3)]),  # 1.8 against 0.6: pays (0.6 + 2) / 2
        ({"values": UNIFORM}, plain(0.4, 1.1), [(1, 1.0)]),  # alone above its reserve of 1
        ({"values": UNIFORM}, plain(0.4, 0.9), []),
        ({"values": (("a", -1.0, 1.0), ("b", -1.0, 3.0))}, plain(2.5, 4.0), [(0, 2.0)]),  # 1.5 against 1: pays 1 + 1
        ({}, plain(2, 1.4), [(0, 1.4)]),  # without values: the second price
    ],
}  # fmt: skip


def test_every_format_has_its_examples():
    assert EXAMPLES.keys() == mk.FORMATS.keys()


@pytest.mark.parametrize(
    ("name", "terms", "bidders", "expected"),
    [(name, *example) for name, examples in EXAMPLES.items() for example in examples],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_an_example_by_hand(name, terms, bidders, expected):
    found = judged(Terms(mk.FORMATS[name], **terms), bidders)
    assert [(s.who, s.event) for s in found] == [(who, ceil(round(price * 1e6, 3))) for who, price in expected]


def test_a_posted_price_is_drawn_among_all_who_accept():
    venue = venue_of(
        market({name: [campaign("c", value=v)] for name, v in zip("abc", (9, 1.5, 0.5), strict=True)}, "none")
    )
    at = [offer(venue, Request(NOW + k, imps=[Imp(10**6, at=mk.POSTED_PRICE)]))[0] for k in range(2_000)]
    assert {int(row["clearing_nano"]) for row in at} == {10**6}
    wins = np.bincount([row["campaign"] for row in at], minlength=3)
    assert wins[2] == 0 and abs(int(wins[0]) - 1_000) < 5 * 500**0.5


def test_in_an_all_pay_auction_every_local_bidder_pays_and_remote_losers_do_not():
    venue = venue_of(
        market({"a": [campaign("c", value=3.0)], "b": [campaign("c", value=2.0)], "d": [campaign("c", value=0.4)]},
               endpoints=1), journal=True,
    )  # fmt: skip
    remote = [Remote(10**6, seat=900), Remote(5 * 10**6, seat=901, entity=8)]
    first = offer(venue, Request(NOW, 7, [Imp(500_000, at=mk.ALL_PAY)], remote[:1]))[0]
    second = offer(venue, Request(NOW + 1, 7, [Imp(500_000, at=mk.ALL_PAY)], remote))[0]
    assert (int(first["campaign"]), int(second["remote_ix"])) == (0, 1)
    venue.close()
    ledger = Ledger.in_memory(venue.journal, venue.names)
    wins, events, auctions = ledger.wins, ledger.events, ledger.auctions
    assert wins["clearing_nano"].tolist() == [2_250_000, 1_500_000, 5_000_000, 2_250_000, 1_500_000]
    assert wins["slot"].tolist() == [0, 1, 0, 1, 2]
    assert (wins["flags"] & mk.FLAG_LOST).tolist() == [0, 2, 0, 2, 2]
    assert (wins["person_key"] == 0).tolist() == [False, True, False, True, True]
    assert auctions["clearing_nano"].tolist() == [3_750_000, 8_750_000]
    assert events["paid_nano"].tolist() == [2_000_000, 3_000_000, 2_000_000] and set(events["kind"]) == {10}
    money = venue.money()
    assert (money["a/c"]["spent"], money["a/c"]["held"], money["a/c"]["wins"]) == (3_000_000, 3_000_000, 1)
    assert (money["b/c"]["spent"], money["b/c"]["wins"]) == (4_000_000, 0)
    assert reconcile(ledger).count == 0
    report = summarise(ledger)  # only what was won is won, and only what was shown is seen
    assert (report.wins, report.billed, report.seen, report.spend_nano) == (2, 3, 0, 7_000_000)
    assert {row.name: (row.wins, row.billed) for row in report.advertisers}["b"] == (0, 2)
    assert sum(row.wins for row in report.buyers) == 2


def test_a_cap_holds_over_the_positions_of_one_imp():
    """Two campaigns of one advertiser: with a cap of one only the better gets a position, without both do."""
    from exchange.config import Cap

    for cap, sold in ((Cap(total=1), 1), (Cap(), 2)):
        own = {"a": [campaign("x", value=3.0, cap=cap), campaign("y", value=2.0, cap=cap)]}
        venue = venue_of(market(own, "none", slots=[1.0, 0.5]))
        offer(venue, Request(NOW, 7, [Imp(at=mk.GSP)]))
        assert int((venue.arrays["sold"][0]["serial"] >= 0).sum()) == sold


def test_a_reserve_without_seat_is_the_floor_of_all_and_one_with_a_seat_of_its_bids():
    reserve = [
        Reserve(floor_cpm=0.6),
        Reserve(target="seg one of [rich]", floor_cpm=1.1),
        Reserve(seat="a", floor_cpm=0.9),
        Reserve(seat="b", target="seg one of [rich]", values=Distribution(uniform=(0.0, 3.0))),
    ]
    own = {"a": [campaign("c", value=2.0)], "b": [campaign("c", value=1.4)]}
    venue = venue_of(market(own, "none", endpoints=1, reserve=reserve), journal=True)
    requests = [
        Request(NOW), Request(NOW + 1, segments=("rich",)), Request(NOW + 2, imps=[Imp(1_700_000)]),
        Request(NOW + 3, remote=[Remote(550_000)]),
    ]  # fmt: skip
    prices = [int(offer(venue, request)[0]["clearing_nano"]) for request in requests]
    assert prices == [1_400_000, 1_100_000, 1_700_000, 1_400_000]
    venue.close()
    ledger = Ledger.in_memory(venue.journal, venue.names)
    assert ledger.auctions["floor_nano"].tolist() == [600_000, 1_100_000, 1_700_000, 600_000]
    assert ledger.wins["floor_nano"].tolist() == [900_000, 1_100_000, 1_700_000, 900_000]
    low = codes.BELOW_FLOOR
    assert ledger.bids["fate"].tolist() == [0, codes.OUTBID, 0, low, 0, low, 0, codes.OUTBID, low]


@pytest.mark.parametrize(
    ("auction", "message"),
    [
        (
            {"format": "myerson", "reserve": [Reserve(values=Distribution(lognormal=(0.0, 1.0)))]},
            r"reserve\[0\]: values",
        ),
        ({"format": "all_pay"}, "at most 255 campaigns, found 256"),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_refused(auction, message):
    own = {f"a{k}": [campaign("c")] for k in range(256 if auction["format"] == "all_pay" else 1)}
    with pytest.raises(ConfigError, match=message):
        venue_of(market(own, **auction))


# ---- what holds for every format ------------------------------------------------------------------------------------

amounts = st.one_of(st.integers(0, 9), st.integers(0, 5_000_000), st.integers(0, mk.PRICE_MAX_NANO))
bidders = st.lists(
    st.builds(
        Bidder, amounts, st.integers(100_000, 8_000_000), st.sampled_from([0, 0, 1]),
        st.one_of(st.just(10**9), st.integers(1, 10**9)),
    ),
    min_size=1, max_size=BIDDERS,
)  # fmt: skip
# few venues: each combination of what a venue is built with is one
houses = st.sampled_from(
    [
        Terms(0),
        Terms(0, soft=900_000, increment=10_000, slots=(3.0, 1.0, 0.25), runner_up="next_bid"),
        Terms(0, soft=2_000_000, slots=(200.0, 100.0), values=(("a", 0.0, 4.0), ("b", -1.0, 1.5), ("", 1.0, 3.0))),
        Terms(0, soft=1, slots=(0.4, 0.1)),
    ]
)
all_terms = st.builds(
    lambda house, at, floor: replace(house, format=at, floor=floor),
    houses, st.sampled_from(sorted(mk.FORMATS.values())), st.one_of(st.just(0), amounts),
)  # fmt: skip


@quick
@given(all_terms, bidders)
def test_a_winner_pays_at_least_its_floor_and_at_most_its_bid(terms, who):
    for sold in judged(terms, who):
        bidder = who[sold.who]
        rate = terms.slots[sold.slot] if fm.TABLE[terms.format, fm.POSITIONS] and terms.slots else 1.0
        assert sold.event <= sold.bid
        assert sold.paid <= bidder.bid * rate
        if bidder.bill == 0 or terms.format == mk.ALL_PAY:
            assert sold.event >= int(sold.floor * rate)
        else:
            assert sold.event * bidder.rate >= sold.floor * 10**9


@quick
@given(all_terms, bidders, st.integers(0, BIDDERS - 1), st.integers(1, 2_000_000))
def test_a_higher_bid_never_costs_a_position(terms, who, k, more):
    k %= len(who)
    before = next((s.slot for s in judged(terms, who) if s.who == k), None)
    raised = [replace(b, bid=min(b.bid + more, mk.PRICE_MAX_NANO)) if i == k else b for i, b in enumerate(who)]
    after = next((s.slot for s in judged(terms, raised) if s.who == k), None)
    assert before is None or (after is not None and after <= before)


TRUTHFUL = (mk.SECOND_PRICE, mk.VCG, mk.POSTED_PRICE, mk.MYERSON)


@quick
@given(all_terms, bidders, st.sampled_from(TRUTHFUL), st.integers(0, BIDDERS - 1), amounts)
def test_nobody_gains_by_misreporting_where_theory_says_so(terms, who, at, k, lie):
    """Second price, VCG, posted price, Myerson: within rounding, a few nano per unit, and without an increment.

    Rounding: scores are whole numbers, so a quality q hides 1 / q nano, and a price per click one nano a click.
    """
    if terms.increment:
        terms = replace(terms, increment=0)
    k %= len(who)
    terms = replace(terms, format=at)

    def utility(bid: int) -> float:
        lied = [replace(b, bid=bid) if i == k else b for i, b in enumerate(who)]
        sold = next((s for s in judged(terms, lied) if s.who == k), None)
        if sold is None:
            return 0.0
        rate = terms.slots[sold.slot] if at == mk.VCG and terms.slots else 1.0
        return who[k].bid * rate - sold.paid

    rounding = 0
    if at == mk.VCG or who[k].bill:
        rounding = (3 + 10**6 / who[k].quality) * max(1.0, *terms.slots, 1.0)
    truth = utility(who[k].bid)
    assert truth >= 0
    assert utility(lie) - truth <= rounding


@quick
@given(
    all_terms, st.lists(st.builds(Remote, net=amounts, seat=st.integers(0, 903), entity=st.integers(0, 2**31)),
    min_size=1, max_size=6, unique_by=lambda b: b.entity), st.randoms(use_true_random=False),
)  # fmt: skip
def test_the_order_of_the_bids_does_not_matter(terms, remote, rng):
    mixed = list(remote)
    rng.shuffle(mixed)
    told = []
    for bids in (remote, mixed):
        told.append([(bids[s.who - BIDDERS].entity, s.slot, s.event) for s in judged(terms, [], bids)])
    assert told[0] == told[1]


@pytest.mark.parametrize("name", mk.FORMATS)
def test_what_is_paid_is_what_is_received(name):
    """Revenue is conserved: buyers' totals = the parties' amounts, and the imp's clearing = its positions'."""
    own = {
        n: [campaign("c", value=Distribution(uniform=(0.0, 3.0)), quality=q)]
        for n, q in zip("abcd", (1, 0.5, 2, 1.3), strict=True)
    }
    venue = venue_of(market(own, slots=[1.0, 0.6, 0.2], soft_floor_cpm=1.0), journal=True)
    for k in range(200):
        offer(venue, Request(NOW + k, k % 7, [Imp(300_000, at=mk.FORMATS[name])]))
    venue.close()
    ledger = Ledger.in_memory(venue.journal, venue.names)
    wins = ledger.wins
    paid = sum(int(wins[f"{party}_nano"].sum()) for party in mk.PARTIES)
    assert paid == int(wins["buyer_total_nano"].sum()) > 0
    assert (
        int(ledger.auctions["clearing_nano"].sum())
        == int(wins["clearing_nano"].sum())
        == int(venue.record["clearing_nano"][0])
    )
    assert reconcile(ledger).count == 0
    several = name in ("gsp", "vcg", "all_pay")
    assert (len(wins) > 1.5 * int(ledger.auctions["sold"].sum())) == several


# ---- what losers hear -----------------------------------------------------------------------------------------------


def test_a_remote_loser_hears_what_it_takes_in_its_own_terms():
    """Its own floor where that is higher than the price, and the weight of the bid that it would have to beat."""
    own = {"a": [campaign("c", value=2.0, quality=3.0)], "b": [campaign("c", value=1.0)]}
    config = market(own, "none", endpoints=1, slots=[1.0], reserve=[Reserve(seat="far", floor_cpm=5.0)])
    venue = venue_of(config)
    far = venue.names.id("seat", "far")
    low, other = Remote(4_000_000, seat=far), Remote(900_000, seat=901, entity=8)

    def heard(at: int, *remote: Remote) -> list[int]:
        offer(venue, Request(NOW, imps=[Imp(100_000, at=at)], remote=list(remote), test=True))
        told = venue.arrays["remote"][: len(remote)]
        assert told["fate"].tolist() == [codes.BELOW_FLOOR if bid is low else codes.WON for bid in remote]
        return told["min_to_win_nano"].tolist()

    assert heard(mk.SECOND_PRICE, low, other) == [5_000_000, 1_000_000]
    assert heard(mk.FIRST_PRICE, low, other) == [5_000_000, 2_000_000]
    assert heard(mk.GSP, other) == [1_000_002]  # the price of 0.333334 counts three times
    assert heard(mk.SECOND_PRICE, Remote(2_500_000, seat=902)) == [2_000_000]  # a winner: what keeps its place


def test_a_fixed_fee_is_not_sold_in_several_positions():
    """A bid of 2.00 per unit of click rate would pay a fixed 1.00 in a position that is worth it 0.02."""
    own = {name: [campaign("c", value=2.0)] for name in "ab"}

    def held(at: str, slots: list[float]) -> Venue:
        config = market(own, "none", format=at, slots=slots)
        config.fees = Fees(buy="own", set={"own": FeeSet(fixed_cpm=1.0, agency=1)})
        return venue_of(config)

    for at in ("gsp", "vcg"):
        with pytest.raises(ConfigError, match=f"auction.format = '{at}': fees.buy = 'own' has a fixed_cpm"):
            held(at, [1.0, 0.01])
        assert mk.FORMATS[at] in held(at, [0.5]).formats
    assert held("second_price", [1.0, 0.01]).formats == set(mk.FORMATS.values()) - {mk.GSP, mk.VCG}


def test_a_reserve_that_cannot_be_names_its_key_once():
    config = market(
        {"a": [campaign("c", value=2.0)]}, "none", reserve=[Reserve(values=Distribution(lognormal=(0, 90)))]
    )
    with pytest.raises(
        ConfigError, match=r"^auction.reserve\[0\]: values: their optimal reserve is above 1,000,000 CPM"
    ):
        venue_of(config)
