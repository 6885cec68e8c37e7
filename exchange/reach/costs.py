"""What contacts with some people have cost so far, by a ledger: money that buyers were billed for ads shown to them."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.books.keys import Index, Pick, distinct, ranks, ratio, total
from exchange.market import BILLING
from exchange.rent.ledger import Ledger


class Cost(Struct):
    """Billed contacts with some people: all of them, or those of one advertiser. Money in nano, what buyers paid."""

    advertiser: str  # "" = all
    people: int  # met at least once
    contacts: int  # billed
    spend_nano: int
    cpm: float  # currency per 1,000 contacts
    per_person: float  # currency per person met


class Costs(Struct):
    """What a ledger says of some people."""

    ledger: str
    currency: str
    wins: int  # won for them, billed or not
    whole: Cost
    advertisers: list[Cost]  # the largest spend first


def costs(ledger: Ledger, keys: NDArray[np.uint64], where: str) -> Costs:
    """What contacts with the people of these keys (ascending, each once) have cost."""
    wins, events = ledger.wins, ledger.events
    win_of = Index(wins, by_slot=True).find(events)
    settled = (win_of >= 0) & np.isin(events["kind"], BILLING)
    mine = win_of[settled]
    mine = mine[_among(wins["person_key"][mine], keys)]
    terms = Pick(wins, mine)
    found, place = ranks(terms["advertiser"])
    names = [ledger.names.text("advertiser", int(number)) for number in found]
    each = [_cost(name, terms, np.flatnonzero(place == k)) for k, name in enumerate(names)]
    return Costs(
        where,
        str(ledger.meta.get("currency", "")),
        int(np.count_nonzero(_among(wins["person_key"], keys))),
        _cost("", terms, np.arange(len(terms))),
        sorted(each, key=lambda cost: (-cost.spend_nano, cost.advertiser)),
    )


def _among(people: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of the rows are of these people; nobody unknown (key 0) is."""
    if not keys.size:
        return np.zeros(people.size, bool)
    at = np.minimum(np.searchsorted(keys, people), keys.size - 1)
    found: NDArray[np.bool_] = (keys[at] == people) & (people != 0)
    return found


def _cost(advertiser: str, terms: Pick, rows: NDArray[np.int64]) -> Cost:
    spend, people = total(terms["buyer_total_nano"][rows]), int(distinct(terms["person_key"][rows]).size)
    money = spend / 1e9
    return Cost(advertiser, people, int(rows.size), spend, ratio(1000 * money, rows.size), ratio(money, people))
