"""Recovery: a venue opened on the ledger of one that died goes on where that one stood, to the unit."""

import random
import shutil

import numpy as np
import pytest

from exchange import market as mk
from exchange.auction.recover import recover
from exchange.auction.venue import Venue
from exchange.books.reconcile import reconcile
from exchange.config import Config
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names
from tests.naive import Naive, contact_of, differences
from tests.naive_terms import Remote, Request, campaign, market, offer
from tests.test_state import (
    OWN_PEOPLE,
    PEOPLE,
    SECOND,
    START,
    balanced,
    billed_by_event,
    every_format,
    live,
    mixed,
)

STREAMS = ("auctions", "bids", "wins", "events")
MONEY = ("available", "spent", "held", "wins", "budget")
COUNTED = ("serial", "seq", "auction", "n_held", "people_used", "pairs_used")


def opened(config: Config, folder) -> Venue:
    """A venue on a ledger folder, recovered."""
    journal = Journal(folder, 0, STREAMS, block_rows=256, segment_bytes=1 << 18)
    venue = Venue(config, journal, Names(folder))
    recover(venue, Ledger(folder))
    for advertiser in ("beta", "delta"):
        venue.mark_own(advertiser, np.array(OWN_PEOPLE, np.uint64))
    return venue


def lived(config: Config, folder, seed: int, steps: int = 300, formats=(1, 2, 2)) -> tuple[Venue, Naive, int]:
    """A venue and its twin after a random life."""
    venue = opened(config, folder)
    naive = Naive(config, venue)
    for advertiser in ("beta", "delta"):
        naive.own(advertiser, venue, OWN_PEOPLE)
    return venue, naive, live(venue, naive, random.Random(seed), steps, formats=formats)


def killed(folder, target):
    """What a kill -9 leaves: the files as they are now, without the locks."""
    shutil.copytree(folder, target)
    return target


def holds(venue: Venue) -> list[tuple[int, ...]]:
    """The open holds, oldest first."""
    awards = venue.arrays["awards"]
    names = ("serial", "auction_id", "person_key", "hold_nano", "expires_ns", "campaign", "advertiser", "clicked",
             "slot", "bill")  # fmt: skip
    return sorted(tuple(int(a[n]) for n in names) for a in awards[awards["status"] == mk.HELD])


@pytest.mark.parametrize("seed", range(4))
def test_money_holds_and_contacts_come_back(tmp_path, seed):
    config, formats = mixed(seed), (1, 2, 2)
    if seed == 3:  # positions, losers that pay, holds for clicks
        config, formats = billed_by_event(mixed(seed, **every_format(0))), tuple(mk.FORMATS.values())
    venue, naive, now = lived(config, tmp_path / "a", seed, formats=formats)
    again = opened(config, killed(tmp_path / "a", tmp_path / "b"))
    balanced(again)
    n = venue.n_campaigns
    for name in MONEY:
        assert again.campaigns[name][:n].tolist() == venue.campaigns[name][:n].tolist(), name
    for name in COUNTED:
        assert int(again.record[name][0]) == int(venue.record[name][0]), name
    assert holds(again) == holds(venue) and len(holds(venue)) > 3
    for person, advertiser in naive.contact:
        assert contact_of(again, person, advertiser) == contact_of(venue, person, advertiser)
    again.tick(now)
    assert again.campaigns["day_used"][:n].tolist() == venue.campaigns["day_used"][:n].tolist()


def test_the_recovered_venue_goes_on_like_one_that_never_stopped(tmp_path):
    """Only truthful campaigns, which learn nothing: afterwards every row must be the same."""
    truthful = {name: [campaign("c", "truthful", 1.0 + k, budget=0.4)] for k, name in enumerate(("beta", "delta"))}
    config = market(truthful, endpoints=2)
    venue, naive, now = lived(config, tmp_path / "a", 4)
    again = opened(config, killed(tmp_path / "a", tmp_path / "b"))
    for me, real in zip(naive.campaigns, again.campaigns, strict=False):
        real["asked"] = me.asked  # not in the rows
    live(again, naive, random.Random(9), 200, now)
    again.close()
    venue.close()
    ledger = Ledger(tmp_path / "b")
    assert differences(naive, again, ledger) == []
    assert reconcile(ledger).count == 0


def test_a_recovery_twice_is_a_recovery_once(tmp_path):
    config = mixed(1)
    venue, _, now = lived(config, tmp_path / "a", 1, 150)
    first = opened(config, killed(tmp_path / "a", tmp_path / "b"))
    second = opened(config, killed(tmp_path / "b", tmp_path / "c"))
    for name in first.campaigns.dtype.names:
        assert np.array_equal(first.campaigns[name], second.campaigns[name]), name
    assert holds(first) == holds(second) == holds(venue)
    assert first.arrays["contacts"].tobytes() == second.arrays["contacts"].tobytes()


def test_rules_do_not_hear_of_the_past(tmp_path):
    """Knobs are not in the rows: they start afresh, also those that feedback moves."""
    config = mixed(1)
    venue, _, _ = lived(config, tmp_path / "a", 1)
    assert int(venue.campaigns["seen"][:, 2].sum()) > 0  # Tired heard of impressions
    again = opened(config, killed(tmp_path / "a", tmp_path / "b"))
    assert int(again.campaigns["seen"].sum()) == 0 and int(again.campaigns["tired_paid"].sum()) == 0


def test_a_campaign_that_left_the_config_keeps_its_contacts_and_takes_no_money(tmp_path):
    both = {"beta": [campaign("c", value=2.0), campaign("gone", value=3.0)], "delta": []}
    first = opened(market(both, fees="none"), tmp_path / "a")
    sold = [offer(first, Request(START + k, PEOPLE[5]))[0] for k in range(3)]
    first.event(mk.KIND_IMPRESSION, int(sold[0]["serial"]), int(sold[0]["auction_id"]), START + 9)
    first.close()
    left = {"beta": [campaign("c", value=2.0)], "delta": [campaign("new", value=0.5)]}
    again = opened(market(left, fees="none"), tmp_path / "a")
    assert again.money()["beta/c"]["held"] == again.money()["delta/new"]["held"] == 0
    contact = contact_of(again, PEOPLE[5], 1)
    assert (int(contact["contacts"]), int(contact["held"])) == (1, 2)
    assert again.event(mk.KIND_IMPRESSION, 1, int(sold[1]["auction_id"]), START + 10) == mk.KIND_IMPRESSION
    again.tick(START + 100 * SECOND)
    again.close()
    ledger = Ledger(tmp_path / "a")
    assert ledger.events["kind"].tolist() == [mk.KIND_IMPRESSION, mk.KIND_IMPRESSION, mk.KIND_RELEASE]
    assert len(set(ledger.events["campaign"].tolist())) == 1 and reconcile(ledger).count == 0


def test_tables_grow_during_a_recovery(tmp_path):
    config = market({"beta": [campaign("c", value=0.001)], "delta": []}, endpoints=1, server={"awards_max": 32_768})
    first = opened(config, tmp_path / "a")
    for k in range(1, 11_001):
        offer(first, Request(START + k, 17 * k + 2**40))
        if k % 3 == 0:
            offer(first, Request(START + k, 17 * k + 2**40, remote=[Remote(10**6, advertiser=80)]))
    first.close()
    again = opened(config, tmp_path / "a")
    assert int(again.record["people_used"][0]) == 11_000 + len(OWN_PEOPLE)
    assert int(again.record["people_size"][0]) > 16_384 and int(again.record["pairs_size"][0]) > 4_096
    assert int(again.arrays["contacts"]["held"].sum()) == int(again.record["n_held"][0]) == 14_666


def test_an_empty_ledger_recovers_to_a_fresh_venue(tmp_path):
    venue = opened(mixed(), tmp_path)
    assert int(venue.record["serial"][0]) == 0 and int(venue.record["seq"][0]) == 1
    assert recover(venue, Ledger(tmp_path)) == 0
