"""The tables of a run's summary: money and people by advertiser, by buyer, by publisher, and the fates of bids."""

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.books import tally as ta
from exchange.books.count import Count
from exchange.books.keys import Index, Pick, Rows, distinct, ranks, ratio
from exchange.market import FLAG_LOST
from exchange.openrtb.codes import FATES, HOLDOUT, NO_BID
from exchange.rent.ledger import Ledger

TOP: Final = 10  # publishers listed
NANO: Final = 1e9
NO_OFFER: Final = (NO_BID, HOLDOUT)  # fates of rows that are no bids


class AdvertiserRow(Struct):
    """One advertiser's rents."""

    name: str
    wins: int
    billed: int
    spend_nano: int  # buyer's total, billed
    cpm: float
    people: int  # distinct known people it rented
    rerental_share: float
    own_share: float  # of its spend, on its own customers
    seen: int  # ads seen: what CPM divides by
    clicks: int
    conversions: int
    contacts: int = 0
    rented_again: int = 0  # people with two contacts or more
    own_spend_nano: int = 0
    own_customers: int = 0  # people who were on its own list at one contact or more
    known_spend_nano: int = 0  # of its spend, on known people


class HoldoutRow(Struct):
    """How many people one advertiser's holdout kept its ads from, and on how many imps."""

    name: str
    people: int
    opportunities: int


class BuyerRow(Struct):
    """One seat at one endpoint (`local` = in process)."""

    endpoint: str
    seat: str
    bids: int
    wins: int
    billed: int
    spend_nano: int
    lost: dict[str, int]  # most frequent fates of its other bids, at most 3


class PublisherRow(Struct):
    """One publisher's earnings."""

    name: str
    auctions: int
    sold: int
    publisher_nano: int
    publisher_cpm: float


class FateRow(Struct):
    """How often bids met one fate."""

    code: int
    name: str
    meaning: str
    bids: int


def shown(ledger: Ledger, kind: str, ident: int) -> str:
    """A name as it may be printed: what cannot be (a bidder's line feed, an escape) becomes a question mark."""
    return "".join(c if c.isprintable() else "?" for c in ledger.names.text(kind, ident))


def of_losers(wins: Rows | Pick) -> NDArray[np.bool_]:
    """Which rows are of all-pay losers: billed, but neither won nor seen."""
    return np.asarray((wins["flags"] & FLAG_LOST) != 0)


def advertisers(ledger: Ledger, count: Count) -> list[AdvertiserRow]:
    """One row an advertiser that won, largest spend first."""
    rows = []
    for key, sums in zip(count.advertisers.found.tolist(), count.advertisers.totals.tolist(), strict=True):
        spend, contacts, people = sums[ta.SPEND], sums[ta.CONTACTS], sums[ta.PEOPLE]
        rows.append(
            AdvertiserRow(
                name=shown(ledger, "advertiser", key) or f"advertiser {key}",
                wins=sums[ta.WINS],
                billed=sums[ta.N_BILLED],
                spend_nano=spend,
                cpm=ratio(1000 * spend / NANO, sums[ta.SEEN]),
                people=people,
                rerental_share=1 - ratio(people, contacts) if contacts else 0.0,
                own_share=ratio(sums[ta.OWN_SPEND], spend),
                seen=sums[ta.SEEN],
                clicks=sums[ta.CLICKS],
                conversions=sums[ta.CONVERSIONS],
                contacts=contacts,
                rented_again=sums[ta.AGAIN],
                own_spend_nano=sums[ta.OWN_SPEND],
                own_customers=sums[ta.OWNED],
                known_spend_nano=sums[ta.KNOWN],
            )
        )
    return sorted(rows, key=lambda row: (-row.spend_nano, row.name))


def buyers(ledger: Ledger, count: Count) -> list[BuyerRow]:
    """One row per endpoint and seat, most bids first; without a bids stream, those that won."""
    found = dict(zip(count.buyers.found.tolist(), count.buyers.totals.tolist(), strict=True))
    n_bids: dict[int, int] = dict.fromkeys(found, 0)
    lost: dict[int, dict[str, int]] = {key: {} for key in found}
    bids = sorted(zip(count.fates.found.tolist(), count.fates.totals[:, 0].tolist(), strict=True))
    for key, n in sorted(bids, key=lambda pair: -pair[1]):
        buyer, fate = key >> 16, key & 0xFFFF
        n_bids[buyer] = n_bids.get(buyer, 0) + (n if fate not in NO_OFFER else 0)
        why = lost.setdefault(buyer, {})
        if fate and len(why) < 3:
            why[_fate(fate)[0]] = n
    rows = []
    for key in n_bids:
        sums = found.get(key, [0] * 4)
        endpoint, seat = (key >> 32) - 1, key & 0xFFFFFFFF
        names = ledger.meta.get("endpoints", [])
        where = "local" if endpoint < 0 else names[endpoint] if endpoint < len(names) else f"endpoint {endpoint}"
        who = shown(ledger, "seat", seat) or f"seat {seat}"
        won, billed, spend = sums[ta.WINS], sums[ta.N_BILLED], sums[ta.SPEND]
        rows.append(BuyerRow(where, who, n_bids[key], won, billed, spend, lost[key]))
    return sorted(rows, key=lambda row: (-row.bids, -row.wins, row.endpoint, row.seat))


def publishers(ledger: Ledger, count: Count) -> list[PublisherRow]:
    """The publishers that earned most."""
    found = sorted(zip(count.publishers.found.tolist(), count.publishers.totals.tolist(), strict=True))
    found = [(key, sums) for key, sums in found if sums[ta.ASKED]]
    return [
        PublisherRow(
            name=shown(ledger, "publisher", key) or f"publisher {key}",
            auctions=sums[ta.ASKED],
            sold=sums[ta.SOLD],
            publisher_nano=sums[ta.SPEND],
            publisher_cpm=ratio(1000 * sums[ta.SPEND] / NANO, sums[ta.SEEN]),
        )
        for key, sums in sorted(found, key=lambda pair: (-pair[1][ta.SPEND], -pair[1][ta.ASKED]))[:TOP]
    ]


def holdouts(ledger: Ledger, count: Count) -> list[HoldoutRow]:
    """What each advertiser's holdout kept back, most imps first; empty when no bids were kept."""
    if not count.held_out:
        return []
    advertiser, auction, imp_ix = (np.concatenate(parts) for parts in zip(*count.held_out, strict=True))
    count.imps.load("auction_id", "imp_ix", "person_key")
    imps = {name: count.imps[name] for name in ("auction_id", "imp_ix")}
    imp = Index(imps, by_slot=False).find({"auction_id": auction, "imp_ix": imp_ix})
    ids, of = ranks(advertiser)
    n, n_imps = ids.size, len(count.imps)
    opportunities = distinct(of * (n_imps + 1) + imp + 1) // (n_imps + 1)
    found = imp >= 0  # the auction of a bid may be missing: reconcile says so
    person_key = np.zeros(imp.size, np.uint64)
    person_key[found] = count.imps["person_key"][imp[found]]
    keys, person = ranks(person_key)
    people = distinct((of * keys.size + person)[keys[person] != 0]) // max(keys.size, 1)
    counted, met = np.bincount(opportunities, minlength=n), np.bincount(people, minlength=n)
    rows = [
        HoldoutRow(shown(ledger, "advertiser", int(ids[k])) or f"advertiser {ids[k]}", int(met[k]), int(counted[k]))
        for k in range(n)
    ]
    return sorted(rows, key=lambda row: (-row.opportunities, row.name))


def fates(count: Count) -> list[FateRow]:
    """What became of the bids, most frequent first."""
    bids: dict[int, int] = {}
    for key, n in zip(count.fates.found.tolist(), count.fates.totals[:, 0].tolist(), strict=True):
        bids[key & 0xFFFF] = bids.get(key & 0xFFFF, 0) + n
    return [FateRow(code, *_fate(code), n) for code, n in sorted(bids.items(), key=lambda pair: (-pair[1], pair[0]))]


def _fate(code: int) -> tuple[str, str]:
    """Name and meaning of a fate."""
    return FATES.get(code, (f"code {code}", "a code without a name"))
