"""What the demo shows at the end: one screen of at most WIDTH columns, or the same as one JSON object.

Figures of the market are the run's summary (books/run_summary.py); here they are only laid out, and bids are counted
once more by who made them: local campaigns by rule, remote bidders by endpoint.
"""

from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from exchange.books.reconcile import Reconciliation
from exchange.books.run_summary import Party, Summary
from exchange.config import Config
from exchange.load.generator import Load
from exchange.market import BUY_PARTIES, SELL_PARTIES
from exchange.openrtb import codes
from exchange.rent.ledger import Ledger

WIDTH: Final = 100
NANO: Final = 1e9
TIMEOUTS: Final = (codes.TIMEOUT,)
ERRORS: Final = (codes.BAD_ANSWER, codes.UNREACHABLE)
SILENT: Final = (codes.NO_BID, codes.TIMEOUT, codes.BAD_ANSWER, codes.UNREACHABLE, codes.NOT_ASKED, codes.HOLDOUT)
REASONS: Final = 2


class BidderRow(Struct):
    """One rule of local campaigns, or one remote endpoint."""

    name: str
    kind: str  # local | remote
    bids: int
    wins: int
    timeouts: int
    errors: int
    lost: dict[str, int]  # fates of its other bids, most frequent first


class Traffic(Struct):
    """What the load did; latency in ms from the intended send time."""

    seconds: float
    requests: int
    per_second: float
    unsent: int
    failed: int
    statuses: dict[int, int]
    latency_p50_ms: float
    latency_p99_ms: float
    latency_p999_ms: float
    send_lag_p99_ms: float
    viewed: int
    clicked: int
    converted: int
    links_failed: int


def traffic_of(load: Load, viewed: dict[str, int]) -> Traffic:
    """The load's figures, with what was viewed and clicked."""
    return Traffic(
        seconds=load.elapsed_s,
        requests=load.sent,
        per_second=load.sent / load.elapsed_s if load.elapsed_s > 0 else 0.0,
        unsent=load.unsent,
        failed=load.failed,
        statuses=load.statuses,
        latency_p50_ms=load.latency_ms(50),
        latency_p99_ms=load.latency_ms(99),
        latency_p999_ms=load.latency_ms(99.9),
        send_lag_p99_ms=float(np.percentile(load.lag_s, 99)) * 1e3 if load.lag_s.size else 0.0,
        viewed=viewed["viewed"],
        clicked=viewed["clicked"],
        converted=viewed["converted"],
        links_failed=viewed["failed"] + viewed["skipped"],
    )


def bidders(config: Config, ledger: Ledger) -> list[BidderRow]:
    """One row per rule in use, then one per endpoint, in the order of the config."""
    rule_of = {f"{a.name}/{c.name}": c.rule for a in config.advertiser for c in a.campaign}
    ranks = {rule: rank for rank, rule in enumerate(dict.fromkeys(rule_of.values()))}
    rows = ledger.bids
    ids, of = np.unique(rows["campaign"], return_inverse=True)
    rank_of = [ranks.get(rule_of.get(ledger.names.text("campaign", int(i)), ""), -1) for i in ids]
    rule = np.where(rows["endpoint"] < 0, np.array(rank_of or [-1])[of], -1)
    found = [_row(name, "local", rows["fate"][rule == rank]) for name, rank in ranks.items()]
    found += [
        _row(endpoint.name, "remote", rows["fate"][rows["endpoint"] == e]) for e, endpoint in enumerate(config.endpoint)
    ]
    return found


def _row(name: str, kind: str, fates: Any) -> BidderRow:
    """Count the fates of one bidder's rows."""
    values, counts = np.unique(fates, return_counts=True)
    by_fate = {int(fate): int(n) for fate, n in zip(values, counts, strict=True)}
    lost = {fate: n for fate, n in by_fate.items() if fate != codes.WON and fate not in SILENT}
    return BidderRow(
        name=name,
        kind=kind,
        bids=sum(n for fate, n in by_fate.items() if fate not in SILENT),
        wins=by_fate.get(codes.WON, 0),
        timeouts=sum(by_fate.get(fate, 0) for fate in TIMEOUTS),
        errors=sum(by_fate.get(fate, 0) for fate in ERRORS),
        lost={codes.FATES[fate][0]: n for fate, n in sorted(lost.items(), key=lambda item: -item[1])},
    )


# ---- the screen ----------------------------------------------------------------------------------------------


def render(traffic: Traffic | None, summary: Summary, rows: list[BidderRow], reconciled: Reconciliation) -> list[str]:
    """The screen's lines; without traffic, only what the ledger says."""
    return [
        *(_traffic(traffic) if traffic is not None else []),
        *_market(summary),
        "",
        *_bidders(rows),
        "",
        *_waterfall(summary),
        "",
        *_rent(summary),
        "",
        f"reconcile: {reconciled.rows:,} rows, {reconciled.count} differences",
    ]


def _traffic(t: Traffic) -> list[str]:
    """Requests, rate, latency."""
    lost = f"unsent {t.unsent:,}, failed {t.failed:,}" if t.unsent or t.failed else "all answered"
    return [
        f"traffic    {t.requests:,} requests in {t.seconds:.1f} s = {t.per_second:,.0f}/s, {lost}; "
        f"{t.viewed:,} views, {t.clicked:,} clicks",
        f"latency    p50 {t.latency_p50_ms:.1f} ms   p99 {t.latency_p99_ms:.1f} ms   p99.9 {t.latency_p999_ms:.1f} ms"
        "   from the intended send time",
    ]


def _market(s: Summary) -> list[str]:
    """Fill and prices."""
    return [
        f"market     {s.auctions:,} auctions, {s.sold:,} sold: fill {s.fill:.1%}   {s.bids:,} bids   "
        f"{s.billed:,} billed, {s.released:,} released",
        f"prices     CPM {s.cpm:.2f} {s.currency} paid, {s.publisher_cpm:.2f} received by publishers   "
        f"eCPC {_price(s.ecpc_nano / NANO, s.clicks)}   spend {s.spend_nano / NANO:,.2f} {s.currency}",
        *(
            [
                f"response   {s.seen:,} ads seen, {s.clicks:,} clicks, {s.conversions:,} conversions   "
                f"CPA {_price(s.cpa_nano / NANO, s.conversions)} {s.currency}"
            ]
            if s.conversions or s.seen != s.billed
            else []
        ),
    ]


def _price(amount: float, n: int) -> str:
    """A price, or a dash when there is nothing to divide by."""
    return f"{amount:.3f}" if n else "-"


def _bidders(rows: list[BidderRow]) -> list[str]:
    """One line a bidder."""
    lines = ["bidder            at          bids     wins  timeouts  errors   bids lost because"]
    for row in rows:
        why = ", ".join(f"{name} {n:,}" for name, n in list(row.lost.items())[:REASONS])
        remote = row.kind == "remote"
        silent = f"{row.timeouts:>8,}  {row.errors:>6,}" if remote else f"{'-':>8}  {'-':>6}"
        lines.append(
            f"{row.name[:16]:<16}  {row.kind:<6}  {row.bids:>8,} {row.wins:>8,}  {silent}   {why}".rstrip()[:WIDTH]
        )
    return lines


def _waterfall(s: Summary) -> list[str]:
    """Who received what: what came on top of the clearing price to the left, how that was shared to the right."""
    by_name = {party.name: party for party in s.parties}
    top = [_party(by_name[name]) for name in BUY_PARTIES if by_name[name].nano]
    below = [_party(by_name[name]) for name in SELL_PARTIES if by_name[name].nano]
    n = max(len(top), len(below))
    top += [""] * (n - len(top))
    below += [""] * (n - len(below))
    clearing = s.clearing_nano / s.spend_nano if s.spend_nano else 0.0
    return [
        f"{'waterfall: on top of the clearing price':<44}  of the clearing price",
        *(f"  {left:<42}    {right}".rstrip() for left, right in zip(top, below, strict=True)),
        f"  {'buyers paid':<12} {s.spend_nano / NANO:>12,.4f} {s.currency} {1:>8.1%}"
        f"{'':>9}    {'clearing':<12} {s.clearing_nano / NANO:>12,.4f} {s.currency} {clearing:>8.1%}",
    ]


def _party(party: Party) -> str:
    """One party: name, amount, share of what buyers paid."""
    return f"{party.name:<12} {party.nano / NANO:>12,.4f}     {party.share:>8.1%}"


def _rent(s: Summary) -> list[str]:
    """What it cost to rent people, and to rent them again."""
    rent = s.rent
    return [
        f"rent       {s.contacts:,} contacts with {s.people:,} people: {s.customers:,} customers rented, "
        f"re-rental {s.rerental_share:.1%}",
        f"           CPM {rent.first_mean_nano / 1e6:.2f} at a first contact, {rent.later_mean_nano / 1e6:.2f} later   "
        f"1,000 customers for a month {s.kilo_customer:.2f} {s.currency}",
        f"           own customers rented back: {s.own_billed:,} contacts, {s.own_share:.1%} of spend",
    ]


def to_json(facts: dict[str, Any]) -> str:
    """The same as one JSON object."""
    return msgspec.json.encode(facts).decode()
