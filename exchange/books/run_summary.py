"""The summary of a run: what a ledger says about auctions, money and rented customers; `rentier report` says more.

Money figures are sums over *billed* rows (the event that settled its hold) of the terms on the win row, less what was
refunded of them; every money column carries the party it belongs to.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from exchange.books import tally as ta
from exchange.books.breakdown import (
    NO_OFFER,
    AdvertiserRow,
    BuyerRow,
    FateRow,
    HoldoutRow,
    PublisherRow,
    advertisers,
    buyers,
    fates,
    holdouts,
    publishers,
)
from exchange.books.count import Count
from exchange.books.keys import Ints, ratio
from exchange.books.part import Part
from exchange.market import KIND_OPT_IN, KIND_OPT_OUT, KIND_UNPAID, PARTIES
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
    spend_nano: int
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
    refunds: int = 0
    refunded_nano: int = 0  # every money figure above is what is left after it
    opt_ins: int = 0
    opt_outs: int = 0
    rented_again: int = 0  # customers with two contacts or more
    own_customers: int = 0  # customers that were on the advertiser's own list at one contact or more
    new_customers: int = 0  # customers with a conversion at a contact when they were not
    cac_nano: float = 0.0  # spend / new customers
    # what the figures above were made of
    refunded_wins: int = 0
    losers: int = 0  # rows of `wins` of all-pay losers
    known_spend_nano: int = 0  # on known people
    own_spend_nano: int = 0
    own_seen: int = 0
    customer_months: int = 0
    person_months: int = 0
    first_contacts: int = 0
    first_contacts_nano: int = 0
    first_ns: int = 0  # of the auctions; 0 = there is none
    last_ns: int = 0


def summarise(ledger: Ledger, part: Part | None = None) -> Summary:
    """Compute the summary of a ledger in one walk over the columns it needs. Money is net of refunds.

    part: of these wins alone; auctions and bids, which are nobody's, are 0 then.
    """
    count = Count(ledger, part)
    n_imps = len(count.imps) if part is None else 0
    totals, met, kinds = count.totals.tolist(), count.met.tolist(), count.kinds.tolist()
    spend, seen, clicks, conversions = (
        totals[at] for at in (ta.T_SPEND, ta.T_SEEN, ta.T_CLICKS, ta.T_CONVERSIONS)
    )  # fmt: skip
    parties = dict(zip(PARTIES, totals[ta.T_PARTIES :], strict=True))
    fates_ = fates(count)
    return Summary(
        currency=str(ledger.meta.get("currency", "")),
        auctions=n_imps,
        sold=count.sold,
        fill=ratio(count.sold, n_imps),
        bids=sum(row.bids for row in fates_ if row.code not in NO_OFFER),
        wins=count.n_wins - totals[ta.T_LOST],
        billed=totals[ta.T_BILLED],
        seen=seen,
        clicks=clicks,
        conversions=conversions,
        released=totals[ta.T_RELEASED],
        unpaid=kinds[KIND_UNPAID],
        open_holds=totals[ta.T_OPEN],
        held_nano=totals[ta.T_HELD],
        spend_nano=spend,
        clearing_nano=totals[ta.T_CLEARING],
        cpm=ratio(1000 * spend / NANO, seen),
        publisher_cpm=ratio(1000 * parties["publisher"] / NANO, seen),
        ecpc_nano=ratio(spend, clicks),
        cpa_nano=ratio(spend, conversions),
        own_billed=totals[ta.T_OWN],
        own_share=ratio(totals[ta.T_OWN_SPEND], spend),
        own_premium=_premium(spend, totals[ta.T_OWN_SPEND], seen, totals[ta.T_OWN_SEEN]),
        parties=[Party(party, nano, ratio(nano, spend)) for party, nano in parties.items()],
        advertisers=advertisers(ledger, count),
        buyers=buyers(ledger, count),
        publishers=publishers(ledger, count),
        fates=fates_,
        holdouts=holdouts(ledger, count),
        cut=sum(ledger.cut.values()),
        refunds=count.refunds,
        refunded_nano=count.refunded_nano,
        opt_ins=kinds[KIND_OPT_IN],
        opt_outs=kinds[KIND_OPT_OUT],
        rented_again=met[ta.M_AGAIN],
        own_customers=met[ta.M_OWN],
        new_customers=met[ta.M_NEW],
        cac_nano=ratio(spend, met[ta.M_NEW]),
        refunded_wins=count.refunded_wins,
        losers=totals[ta.T_LOST],
        own_spend_nano=totals[ta.T_OWN_SPEND],
        own_seen=totals[ta.T_OWN_SEEN],
        first_ns=count.first_ns,
        last_ns=count.last_ns,
        **_people(met, totals, count.rents),
    )


def to_json(summary: Summary) -> bytes:
    """The summary as JSON; keys are the field names."""
    return msgspec.json.encode(summary)


def _people(met: list[int], totals: list[int], rents: Ints) -> dict[str, Any]:
    """The figures about people: `rents` = what each customer (advertiser x person) cost, in nano."""
    contacts, n_pairs, spent = met[ta.M_CONTACTS], rents.size, met[ta.M_PAID]
    firsts = n_pairs + totals[ta.T_FIRSTS]
    first_nano = met[ta.M_FIRSTS_NANO] + totals[ta.T_FIRSTS_NANO]
    p50, p90 = np.percentile(rents, [50, 90]) if n_pairs else (0.0, 0.0)
    return {
        "people": met[ta.M_PEOPLE],
        "customers": n_pairs,
        "contacts": contacts,
        "known_spend_nano": spent,
        "customer_months": met[ta.M_CUSTOMER_MONTHS],
        "person_months": met[ta.M_PERSON_MONTHS],
        "first_contacts": firsts,
        "first_contacts_nano": first_nano,
        "rerental_share": 1 - ratio(n_pairs, contacts) if contacts else 0.0,
        "kilo_customer": ratio(1000 * spent / NANO, met[ta.M_CUSTOMER_MONTHS]),
        "person_month": ratio(spent / NANO, met[ta.M_PERSON_MONTHS]),
        "rent": Rent(
            first_mean_nano=ratio(first_nano, firsts),
            later_mean_nano=ratio(spent - first_nano, contacts - firsts),
            mean_nano=ratio(spent, n_pairs),
            p50_nano=float(p50),
            p90_nano=float(p90),
            max_nano=met[ta.M_MAX],
        ),
    }


def _premium(spend: int, own_spend: int, seen: int, own_seen: int) -> float:
    """CPM on own customers / CPM on others; 0 when one of them was never rented."""
    return ratio(ratio(own_spend, own_seen), ratio(spend - own_spend, seen - own_seen))


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
        + (f"   refunded {s.refunded_nano / NANO:,.2f}{money}, taken off" if s.refunded_nano else ""),
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
