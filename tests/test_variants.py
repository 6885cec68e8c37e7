"""64 campaigns of 64 different rules: each compiled alone, called through its address, the same as in Python."""

import pytest

from exchange import bidding
from exchange import market as mk
from exchange.rent.ledger import Ledger
from tests.naive import Naive, differences
from tests.naive_terms import Request, campaign, market, offer, venue_of
from tests.variants import write

N = 64
NOW = 1_770_000_000 * 10**9


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names of 64 rules in one file."""
    return write(tmp_path_factory.mktemp("variants"), N)


def config_of(names, **auction):
    """A campaign for each rule, each of an advertiser of its own."""
    own = {f"a{k}": [campaign("c", name, 0.5 + k / 50, budget=0.05 + k / 500)] for k, name in enumerate(names)}
    return market(own, "isba2020", endpoints=0, **auction)


def test_no_two_rules_have_the_same_code(names):
    rules = [bidding.resolve(name) for name in names]
    codes = [[part.__code__ for part in (rule.price, rule.learn)] for rule in rules]
    assert len({tuple((c.co_code, c.co_consts, c.co_names) for c in both) for both in codes}) == N


def test_the_market_of_all_is_the_same_compiled_and_in_python(names):
    """Money, knobs and every journal row of 240 requests in two formats; none of them runs through Python."""
    config = config_of(names)
    venue = venue_of(config, journal=True)
    assert not venue.rules.slow and len({*venue.rules.table[:, 0], *venue.rules.table[:, 1]}) == 2 * N
    naive = Naive(config, venue)
    for k in range(240):
        request = Request(NOW + k * 10**9, person=k % 7)
        request.imps[0].floor, request.imps[0].at = 40_000 * (k % 5), (mk.SECOND_PRICE, mk.FIRST_PRICE)[k % 2]
        offer(venue, request)
        naive.trade(request)
    venue.journal.close()
    assert not differences(naive, venue, Ledger.in_memory(venue.journal, venue.names))
    assert len({int(w) for w in venue.campaigns["wins"][:N]}) > 1
