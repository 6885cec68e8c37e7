"""The report's tables: money and people by advertiser, by buyer, by publisher, and the fates of bids."""

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.market import FLAG_LOST, FLAG_OWN
from exchange.openrtb.codes import FATES, HOLDOUT, NO_BID
from exchange.rent.keys import Index, Ints, Pick, Rows, distinct, ranks, ratio, sums
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


class Arrived(Struct):
    """What came of the wins: those whose ad was seen, and the index of the win of each click and conversion."""

    seen: Pick
    clicked: Ints
    converted: Ints


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


def advertisers(
    ledger: Ledger, wins: Rows, terms: Pick, arrived: Arrived, known: Ints, person: Ints
) -> list[AdvertiserRow]:
    """One row an advertiser that won, largest spend first; `known`: billed rows with a person, `person`: which."""
    ids, of_win = ranks(wins["advertiser"])
    n = ids.size
    of_bill = np.searchsorted(ids, terms["advertiser"])
    paid, own = terms["buyer_total_nano"], (terms["flags"] & FLAG_OWN) != 0
    won, billed = np.bincount(of_win[~of_losers(wins)], minlength=n), np.bincount(of_bill, minlength=n)
    spend, own_spend = sums(of_bill, paid, n), sums(of_bill[own], paid[own], n)
    clicks, conversions = (np.bincount(of_win[at], minlength=n) for at in (arrived.clicked, arrived.converted))
    seen = np.bincount(np.searchsorted(ids, arrived.seen["advertiser"]), minlength=n)
    contacts = np.bincount(of_bill[known], minlength=n)
    n_people = int(person.max(initial=0)) + 1
    people = np.bincount(distinct(of_bill[known] * n_people + person) // n_people, minlength=n)
    rows = [
        AdvertiserRow(
            name=shown(ledger, "advertiser", int(ids[k])) or f"advertiser {ids[k]}",
            wins=int(won[k]),
            billed=int(billed[k]),
            spend_nano=int(spend[k]),
            cpm=ratio(1000 * int(spend[k]) / NANO, int(seen[k])),
            people=int(people[k]),
            rerental_share=1 - ratio(int(people[k]), int(contacts[k])) if contacts[k] else 0.0,
            own_share=ratio(int(own_spend[k]), int(spend[k])),
            seen=int(seen[k]),
            clicks=int(clicks[k]),
            conversions=int(conversions[k]),
        )
        for k in range(n)
    ]
    return sorted(rows, key=lambda row: (-row.spend_nano, row.name))


def buyers(ledger: Ledger, wins: Rows, terms: Pick) -> list[BuyerRow]:
    """One row per endpoint and seat, most bids first; without a bids stream, those that won."""
    bids = ledger.bids
    of_bid, of_win, of_bill = (_buyer_key(rows) for rows in (bids, wins, terms))
    keys = distinct(np.concatenate((of_bid, of_win)))
    n = keys.size
    bid_ix, win_ix, bill_ix = (np.searchsorted(keys, of) for of in (of_bid, of_win, of_bill))
    priced = bid_ix[~np.isin(bids["fate"], NO_OFFER)]
    n_bids, won, billed = (np.bincount(ix, minlength=n) for ix in (priced, win_ix[~of_losers(wins)], bill_ix))
    spend = sums(bill_ix, terms["buyer_total_nano"], n)
    pairs, of_pair = ranks(bid_ix.astype(np.int64) << 16 | bids["fate"])
    counts = np.bincount(of_pair, minlength=pairs.size)
    lost: list[dict[str, int]] = [{} for _ in range(n)]
    for ix in np.argsort(-counts, kind="stable").tolist():
        buyer, fate = int(pairs[ix]) >> 16, int(pairs[ix]) & 0xFFFF
        if fate and len(lost[buyer]) < 3:
            lost[buyer][_fate(fate)[0]] = int(counts[ix])
    rows = []
    for k, key in enumerate(keys.tolist()):
        endpoint, seat = (key >> 32) - 1, key & 0xFFFFFFFF
        names = ledger.meta.get("endpoints", [])
        where = "local" if endpoint < 0 else names[endpoint] if endpoint < len(names) else f"endpoint {endpoint}"
        who = shown(ledger, "seat", seat) or f"seat {seat}"
        rows.append(BuyerRow(where, who, int(n_bids[k]), int(won[k]), int(billed[k]), int(spend[k]), lost[k]))
    return sorted(rows, key=lambda row: (-row.bids, -row.wins, row.endpoint, row.seat))


def _buyer_key(rows: Rows | Pick) -> Ints:
    """Endpoint and seat of each row as one integer."""
    return (rows["endpoint"].astype(np.int64) + 1) << 32 | rows["seat"].astype(np.int64)


def publishers(ledger: Ledger, terms: Pick, seen: Pick) -> list[PublisherRow]:
    """The publishers that earned most."""
    auctions = ledger.auctions
    ids, of = ranks(auctions["publisher"])
    n = ids.size
    asked, sold = np.bincount(of, minlength=n), np.bincount(of[auctions["sold"] != 0], minlength=n)
    known = np.isin(terms["publisher"], ids)
    bill_ix = np.searchsorted(ids, terms["publisher"][known])
    earned = sums(bill_ix, terms["publisher_nano"][known], n)
    shown_on = seen["publisher"][np.isin(seen["publisher"], ids)]
    ads = np.bincount(np.searchsorted(ids, shown_on), minlength=n)
    return [
        PublisherRow(
            name=shown(ledger, "publisher", int(ids[k])) or f"publisher {ids[k]}",
            auctions=int(asked[k]),
            sold=int(sold[k]),
            publisher_nano=int(earned[k]),
            publisher_cpm=ratio(1000 * int(earned[k]) / NANO, int(ads[k])),
        )
        for k in np.lexsort((-asked, -earned))[:TOP].tolist()
    ]


def holdouts(ledger: Ledger) -> list[HoldoutRow]:
    """What each advertiser's holdout kept back, most imps first; empty when no bids were kept."""
    bids, auctions = ledger.bids, ledger.auctions
    kept = Pick(bids, np.flatnonzero(bids["fate"] == HOLDOUT))
    if not len(kept):
        return []
    imp = Index(auctions, by_slot=False).find(bids[bids["fate"] == HOLDOUT])
    ids, of = ranks(kept["advertiser"])
    n = ids.size
    imps = distinct(of * (len(auctions) + 1) + imp + 1) // (len(auctions) + 1)
    keys, person = ranks(auctions["person_key"][imp])
    people = distinct((of * keys.size + person)[keys[person] != 0]) // max(keys.size, 1)
    counted, met = np.bincount(imps, minlength=n), np.bincount(people, minlength=n)
    rows = [
        HoldoutRow(shown(ledger, "advertiser", int(ids[k])) or f"advertiser {ids[k]}", int(met[k]), int(counted[k]))
        for k in range(n)
    ]
    return sorted(rows, key=lambda row: (-row.opportunities, row.name))


def fates(bids: Rows) -> list[FateRow]:
    """What became of the bids, most frequent first."""
    codes, of = ranks(bids["fate"])
    counts = np.bincount(of, minlength=codes.size)
    rows = [FateRow(int(code), *_fate(int(code)), int(n)) for code, n in zip(codes, counts, strict=True)]
    return sorted(rows, key=lambda row: -row.bids)


def _fate(code: int) -> tuple[str, str]:
    """Name and meaning of a fate."""
    return FATES.get(code, (f"code {code}", "a code without a name"))
