"""The summary of a run: what a ledger says about auctions, money and rented customers; `rentier report` says more.

Money figures are sums over *billed* rows (the event that settled its hold) of the terms on the win row; every
money column carries the party it belongs to. It is gross: `refunded_nano` stands beside it, and is taken off by the
reports of exchange/report/.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from exchange.market import (
    BILL_IMPRESSION,
    BILLING,
    CLICKS,
    CONVERSIONS,
    FLAG_OWN,
    KIND_CLICK,
    KIND_REFUND,
    KIND_RELEASE,
    KIND_UNPAID,
    KIND_VIEW,
    PARTIES,
)
from exchange.rent.breakdown import (
    NO_OFFER,
    AdvertiserRow,
    Arrived,
    BuyerRow,
    FateRow,
    HoldoutRow,
    PublisherRow,
    advertisers,
    buyers,
    fates,
    holdouts,
    of_losers,
    publishers,
)
from exchange.rent.keys import Index, Ints, Pick, Rows, customers, distinct, months, ranks, ratio, sums, total
from exchange.rent.ledger import Ledger

NANO: Final = 1e9
WIDTH: Final = 100  # columns
LISTED: Final = 12  # rows of a table on the screen


class Party(Struct):
    """What one party received."""

    name: str
    nano: int
    share: float  # of the buyers' total


class Rent(Struct):
    """What a person costs, in nano: per contact and cumulated per customer (advertiser x person)."""

    first_mean_nano: float
    later_mean_nano: float
    mean_nano: float
    p50_nano: float
    p90_nano: float
    max_nano: int


class Summary(Struct):
    """Everything `rentier report` shows; money in nano of the ledger currency, prices as CPM."""

    currency: str
    auctions: int
    sold: int
    fill: float
    bids: int
    wins: int
    billed: int
    seen: int  # ads seen: what CPM divides by
    clicks: int
    conversions: int
    released: int
    unpaid: int
    open_holds: int
    held_nano: int
    spend_nano: int  # billed, before refunds
    refunded_nano: int
    clearing_nano: int
    cpm: float
    publisher_cpm: float
    ecpc_nano: float
    cpa_nano: float
    people: int
    customers: int
    contacts: int
    rerental_share: float
    own_billed: int
    own_share: float
    own_premium: float
    kilo_customer: float  # currency per 1,000 customer-months
    person_month: float  # currency per person-month, all advertisers together
    rent: Rent
    parties: list[Party]
    advertisers: list[AdvertiserRow]
    buyers: list[BuyerRow]
    publishers: list[PublisherRow]
    fates: list[FateRow]
    holdouts: list[HoldoutRow]
    cut: int  # rows left out: an unfinished step, or a writer at work


def summarise(ledger: Ledger) -> Summary:
    """Compute the summary of a ledger. A million wins take about a second."""
    wins, events = ledger.wins, ledger.events
    win_of = Index(wins, by_slot=True).find(events)
    known = win_of >= 0
    settled = known & np.isin(events["kind"], BILLING)
    billed = Pick(events, np.flatnonzero(settled))
    terms = Pick(wins, win_of[settled])
    released = win_of[known & (events["kind"] == KIND_RELEASE)]
    clicked = win_of[known & np.isin(events["kind"], CLICKS)]
    converted = win_of[known & np.isin(events["kind"], CONVERSIONS)]
    seen = Pick(wins, _seen(wins, events["kind"], win_of))
    open_ = np.ones(len(wins), bool)
    open_[win_of[settled]] = False
    open_[released] = False
    known_person = np.flatnonzero(terms["person_key"] != 0)
    people, person = ranks(terms["person_key"][known_person])
    spend, n = total(terms["buyer_total_nano"]), len(billed)
    publisher_nano = total(terms["publisher_nano"])
    own, own_seen = (terms["flags"] & FLAG_OWN) != 0, (seen["flags"] & FLAG_OWN) != 0
    sold = int(np.count_nonzero(ledger.auctions["sold"]))
    return Summary(
        currency=str(ledger.meta.get("currency", "")),
        auctions=len(ledger.auctions),
        sold=sold,
        fill=ratio(sold, len(ledger.auctions)),
        bids=int(np.count_nonzero(~np.isin(ledger.bids["fate"], NO_OFFER))),
        wins=len(wins) - int(np.count_nonzero(of_losers(wins))),
        billed=n,
        seen=len(seen),
        clicks=len(clicked),
        conversions=len(converted),
        released=len(released),
        unpaid=int(np.count_nonzero(events["kind"] == KIND_UNPAID)),
        open_holds=int(np.count_nonzero(open_)),
        held_nano=total(wins["buyer_total_nano"][open_]),
        spend_nano=spend,
        refunded_nano=-total(events["paid_nano"][known & (events["kind"] == KIND_REFUND)]),
        clearing_nano=total(terms["clearing_nano"]),
        cpm=ratio(1000 * spend / NANO, len(seen)),
        publisher_cpm=ratio(1000 * publisher_nano / NANO, len(seen)),
        ecpc_nano=ratio(spend, len(clicked)),
        cpa_nano=ratio(spend, len(converted)),
        own_billed=int(np.count_nonzero(own)),
        own_share=ratio(total(terms["buyer_total_nano"][own]), spend),
        own_premium=_premium(terms["buyer_total_nano"], own, own_seen),
        parties=_parties(terms, spend),
        advertisers=advertisers(ledger, wins, terms, Arrived(seen, clicked, converted), known_person, person),
        buyers=buyers(ledger, wins, terms),
        publishers=publishers(ledger, terms, seen),
        fates=fates(ledger.bids),
        holdouts=holdouts(ledger),
        cut=sum(ledger.cut.values()),
        **_people(billed, terms, known_person, person, people.size),
    )


def _seen(wins: Rows, kind: Rows, win_of: Ints) -> Ints:
    """The wins whose ad was seen: an impression, a view, a billed event, a click where impressions are not billed.

    Never those of all-pay losers, who are billed for nothing.
    """
    seen = np.zeros(len(wins), bool)
    told = (win_of >= 0) & ((kind == KIND_VIEW) | np.isin(kind, BILLING))
    seen[win_of[told]] = True
    clicked = win_of[(win_of >= 0) & (kind == KIND_CLICK)]
    seen[clicked[wins["bill"][clicked] != BILL_IMPRESSION]] = True
    return np.flatnonzero(seen & ~of_losers(wins))


def to_json(summary: Summary) -> bytes:
    """The summary as JSON; keys are the field names."""
    return msgspec.json.encode(summary)


def _people(billed: Pick, terms: Pick, known: Ints, person: Ints, n_people: int) -> dict[str, Any]:
    """The figures about people: the `known` ones of the billed rows, and the number of the person on each."""
    paid = terms["buyer_total_nano"][known]
    pair, n_pairs = customers(terms["advertiser"][known], person)
    month = months(billed["ts_ns"][known])
    first = month.min() if month.size else 0
    span = int(month.max() - first) + 1 if month.size else 1
    customer_months = distinct(pair * span + (month - first)).size
    person_months = distinct(person * span + (month - first)).size
    spent = total(paid)
    new = billed["contact_n"][known] == 1
    each = sums(pair, paid, n_pairs)
    p50, p90 = np.percentile(each, [50, 90]) if n_pairs else (0.0, 0.0)
    return {
        "people": n_people,
        "customers": n_pairs,
        "contacts": int(paid.size),
        "rerental_share": 1 - ratio(n_pairs, paid.size) if paid.size else 0.0,
        "kilo_customer": ratio(1000 * spent / NANO, customer_months),
        "person_month": ratio(spent / NANO, person_months),
        "rent": Rent(
            first_mean_nano=ratio(total(paid[new]), int(new.sum())),
            later_mean_nano=ratio(total(paid[~new]), int((~new).sum())),
            mean_nano=ratio(spent, n_pairs),
            p50_nano=float(p50),
            p90_nano=float(p90),
            max_nano=int(each.max(initial=0)),
        ),
    }


def _parties(terms: Pick, spend: int) -> list[Party]:
    """The waterfall: ten parties in the order of `market.PARTIES`."""
    amounts = {party: total(terms[f"{party}_nano"]) for party in PARTIES}
    return [Party(party, nano, ratio(nano, spend)) for party, nano in amounts.items()]


def _premium(paid: Rows, own: Rows, own_seen: Rows) -> float:
    """CPM on own customers / CPM on others; 0 when one of them was never rented."""
    n_own = int(np.count_nonzero(own_seen))
    return ratio(ratio(total(paid[own]), n_own), ratio(total(paid[~own]), own_seen.size - n_own))


# ---- the screen ----------------------------------------------------------------------------------------------


def render(summary: Summary) -> str:
    """The summary as text, at most 100 columns wide."""
    s, money = summary, f" {summary.currency}".rstrip()
    lines = [
        f"auctions {s.auctions:,}   sold {s.sold:,} ({s.fill:.1%})   bids {s.bids:,}",
        f"wins {s.wins:,}   billed {s.billed:,}   released {s.released:,}   unpaid {s.unpaid:,}   "
        f"open holds {s.open_holds:,} ({s.held_nano / NANO:,.2f}{money})",
        f"ads seen {s.seen:,}   clicks {s.clicks:,}   conversions {s.conversions:,}",
        f"spend {s.spend_nano / NANO:,.2f}{money}   CPM {s.cpm:.3f} paid by buyers, "
        f"{s.publisher_cpm:.3f} received by publishers",
        f"eCPC {s.ecpc_nano / NANO:.4f}   CPA {s.cpa_nano / NANO:.4f}"
        + (f"   refunded {s.refunded_nano / NANO:,.2f}{money}, not taken off" if s.refunded_nano else ""),
        "",
        f"contacts {s.contacts:,} with {s.people:,} people: {s.customers:,} customers rented "
        f"(advertiser x person), re-rental {s.rerental_share:.1%}",
        f"rent per customer: mean {_milli(s.rent.mean_nano)}, p50 {_milli(s.rent.p50_nano)}, "
        f"p90 {_milli(s.rent.p90_nano)}, max {_milli(s.rent.max_nano)} thousandths{money and f' of a{money}'}",
        f"a contact: first {_milli(s.rent.first_mean_nano)}, re-rented {_milli(s.rent.later_mean_nano)}"
        f"   kilo-customer {s.kilo_customer:.2f}{money}   person-month {s.person_month:.4f}{money}",
        f"own customers: {s.own_billed:,} contacts, {s.own_share:.1%} of spend, "
        f"CPM {s.own_premium:.2f} x that of others",
        "",
        *_table(
            ("waterfall", f"amount{money}", "share"),
            [(p.name, f"{p.nano / NANO:,.4f}", f"{p.share:.2%}") for p in s.parties]
            + [("buyers' total", f"{s.spend_nano / NANO:,.4f}", f"{sum(p.share for p in s.parties):.2%}")],
        ),
        *_table(
            ("advertiser", "wins", "billed", "spend", "CPM", "people", "re-rental", "own", "clicks", "conv."),
            [
                (r.name, f"{r.wins:,}", f"{r.billed:,}", f"{r.spend_nano / NANO:,.2f}", f"{r.cpm:.3f}",
                 f"{r.people:,}", f"{r.rerental_share:.1%}", f"{r.own_share:.1%}", f"{r.clicks:,}",
                 f"{r.conversions:,}")
                for r in s.advertisers
            ],
        ),
        *_table(
            ("buyer", "at", "bids", "wins", "billed", "spend", "why bids lost"),
            [
                (r.seat, r.endpoint, f"{r.bids:,}", f"{r.wins:,}", f"{r.billed:,}", f"{r.spend_nano / NANO:,.2f}",
                 ", ".join(f"{why} {n:,}" for why, n in r.lost.items()))
                for r in s.buyers
            ],
        ),
        *_table(
            ("publisher", "auctions", "sold", "received", "CPM"),
            [
                (r.name, f"{r.auctions:,}", f"{r.sold:,}", f"{r.publisher_nano / NANO:,.2f}", f"{r.publisher_cpm:.3f}")
                for r in s.publishers
            ],
        ),
        *_table(
            ("held out by", "people", "opportunities"),
            [(r.name, f"{r.people:,}", f"{r.opportunities:,}") for r in s.holdouts],
        ),
        *_table(("fate of bids", "bids", "meaning"), [(r.name, f"{r.bids:,}", r.meaning) for r in s.fates]),
    ]  # fmt: skip
    if s.cut:
        lines.append(f"{s.cut} rows left out: an unfinished step, or a writer at work")
    return "\n".join(lines).rstrip() + "\n"


def _milli(nano: float) -> str:
    """Nano as thousandths of the currency."""
    return f"{nano / 1e6:.3f}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table: numbers to the right, texts to the left, cut to fit, an empty line behind it."""
    if not rows:
        return []
    more = len(rows) - LISTED
    rows = [
        tuple(cell if len(cell) <= 30 else cell[:27] + "..." for cell in row[:-1]) + row[-1:] for row in rows[:LISTED]
    ]
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    left = [not any(row[k][:1].isdigit() for row in rows) for k in range(len(head))]
    left[0] = True
    lines = []
    for row in [head, *rows]:
        cells = (
            cell.ljust(w) if to_left else cell.rjust(w) for cell, w, to_left in zip(row, widths, left, strict=True)
        )
        line = "  ".join(cells).rstrip()
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 3] + "...")
    return [*lines, *([f"... and {more} more"] if more > 0 else []), ""]
