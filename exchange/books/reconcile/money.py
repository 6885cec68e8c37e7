"""Reconcile, account by account: customers (I8, I9), budgets at every instant (I4), partitions (I12)."""

from typing import Final

import numpy as np

from exchange import market as m
from exchange.books.keys import Pick, customers, ranks, total
from exchange.books.postings import Postings
from exchange.books.reconcile.streams import Breaks, Streams, history, mask_of

_PARTITIONS: Final = ("advertiser", "campaign", "publisher", "segment", "endpoint")


def contacts(streams: Streams) -> Breaks:
    """I8 and I9: contact_n runs 1..n per (advertiser, person) over billed rows, cum_rent sums what was posted."""
    rows = streams.events
    billed = np.isin(rows["kind"], m.BILLING)
    unknown = rows["person_key"] == 0
    yield "I8", "events", rows, (unknown | ~billed) & (rows["contact_n"] != 0), "contact_n", 0, rows["contact_n"]
    known = Pick(rows, np.flatnonzero(~unknown))
    bills = billed[~unknown]
    pair, _ = customers(known["advertiser"], ranks(known["person_key"])[1])
    order, _, cum = history(pair, known["paid_nano"])
    _, _, count = history(pair, bills.astype(np.int64))
    number, rent = np.empty(len(known), np.int64), np.empty(len(known), np.int64)
    number[order], rent[order] = count, cum
    broken = bills & (known["contact_n"] != number)
    yield "I8", "events", known, broken, "contact_n", number, known["contact_n"]
    yield "I8", "events", known, known["cum_rent_nano"] != rent, "cum_rent_nano", rent, known["cum_rent_nano"]
    firsts = int(np.count_nonzero(known["contact_n"][bills] == 1))
    n_pairs = int(np.unique(pair[bills]).size)
    if firsts != n_pairs:
        first = np.flatnonzero(bills)[:1]
        yield "I9", "events", known, mask_of(first, known), "rows with contact_n = 1", n_pairs, firsts


def terms(streams: Streams) -> Breaks:
    """I8 on the win rows: contacts and cum_rent are what had been billed, less refunds, before the auction."""
    wins, events = streams.wins, streams.events
    if len(streams.ledger.workers) > 1:
        streams.skipped["I8 on wins"] = "more than one worker: the order between them is not recorded"
        return
    posts = np.isin(events["kind"], (*m.BILLING, m.KIND_REFUND)) & (events["person_key"] != 0)
    posted = Pick(events, np.flatnonzero(posts))
    rows = Pick(wins, np.flatnonzero(wins["person_key"] != 0))
    both = np.concatenate((posted["seq"], rows["seq"]))
    pair, _ = customers(
        np.concatenate((posted["advertiser"], rows["advertiser"])),
        ranks(np.concatenate((posted["person_key"], rows["person_key"])))[1],
    )
    is_bill = np.concatenate((np.isin(posted["kind"], m.BILLING), np.zeros(len(rows), bool)))
    paid = np.concatenate((posted["paid_nano"], np.zeros(len(rows), np.int64)))
    by_seq = np.argsort(both, kind="stable")
    order, start, cum = history(pair[by_seq], paid[by_seq])
    _, _, seen = history(pair[by_seq], is_bill[by_seq].astype(np.int64))
    n_contacts, rent = np.empty(both.size, np.int64), np.empty(both.size, np.int64)
    n_contacts[by_seq[order]], rent[by_seq[order]] = seen, cum
    n_contacts, rent = n_contacts[len(posted) :], rent[len(posted) :]
    at = by_seq[order]
    last = np.maximum.accumulate(np.where(is_bill[at], np.arange(at.size), -1))  # billing at or before each row
    when = np.concatenate((posted["ts_ns"], rows["ts_ns"])) // m.NANO
    since = np.zeros(both.size, np.int64)
    since[at] = np.where(last >= start, np.maximum(when[at] - when[at[np.maximum(last, 0)]], 0), 0)
    since = since[len(posted) :]
    yield "I8", "wins", rows, rows["contacts"] != n_contacts, "contacts", n_contacts, rows["contacts"]
    yield "I8", "wins", rows, rows["cum_rent_nano"] != rent, "cum_rent_nano", rent, rows["cum_rent_nano"]
    yield "I8", "wins", rows, rows["since_last_s"] != since, "since_last_s", since, rows["since_last_s"]


def budgets(streams: Streams) -> Breaks:
    """I4: at no instant is more spent and held of a campaign than its budget (`budgets_nano` in meta.json).

    A win holds its total, a release gives it back, a refund gives back what it says; a billing moves it from held to
    spent, which changes nothing here.
    """
    limits = {int(campaign): int(nano) for campaign, nano in streams.ledger.meta.get("budgets_nano", {}).items()}
    wins, events = streams.wins, streams.events
    if not limits:
        streams.skipped["I4"] = "no budgets in meta.json"
    if not limits or not len(wins):
        return
    win = streams.win
    freed = (win >= 0) & ((events["kind"] == m.KIND_RELEASE) | (events["kind"] == m.KIND_REFUND))
    refund = events["kind"][freed] == m.KIND_REFUND
    given_back = np.where(refund, events["paid_nano"][freed], -wins["buyer_total_nano"][win[freed]])
    campaign = np.concatenate((wins["campaign"], wins["campaign"][win[freed]]))
    change = np.concatenate((wins["buyer_total_nano"], given_back))
    time = np.concatenate((wins["ts_ns"], events["ts_ns"][freed]))
    seq = np.concatenate((wins["seq"], events["seq"][freed]))
    by_time = np.lexsort((seq, time)) if len(streams.ledger.workers) > 1 else np.argsort(seq, kind="stable")
    campaigns, of = ranks(campaign[by_time])
    order, _, used = history(of, change[by_time])
    limit = np.array([limits.get(int(c), m.BUDGET_MAX_NANO) for c in campaigns], np.int64)
    used_at, broken, short = np.empty(change.size, np.int64), np.zeros(change.size, bool), np.zeros(change.size, bool)
    used_at[by_time[order]] = used
    broken[by_time[order]] = used > limit[of[order]]
    short[by_time[order]] = used < 0
    n = len(wins)
    yield "I4", "wins", wins, broken[:n], "spent + held", "the budget or less", used_at[:n]
    rows = Pick(events, np.flatnonzero(freed))
    yield "I4", "events", rows, short[n:], "spent + held", "0 or more", used_at[n:]


def partitions(streams: Streams) -> Breaks:
    """I12: debits and credits agree within every part of every partition, and the parts add up to the whole."""
    found: Postings = streams.postings
    if not len(found) or not len(streams.wins):
        return
    known = found.win >= 0
    rows = Pick(streams.events, found.at)
    columns = {key: np.where(known, streams.wins[key][found.win].astype(np.int64), -1) for key in _PARTITIONS}
    columns["day"] = rows["ts_ns"] // (86_400 * m.NANO)
    whole = total(found.amounts[~found.refund]) + total(found.amounts[found.refund])
    for key, values in columns.items():
        parts, group = ranks(values) if values.min() >= 0 else ranks(values + 1)
        n = int(parts.size)
        debit, credit = found.sums(group, n)
        debits, credits = debit.sum(axis=1), credit.sum(axis=1)
        first = np.zeros(n, np.int64)
        first[group[::-1]] = np.arange(len(rows))[::-1]
        off = np.flatnonzero(debits != credits)
        at = mask_of(first[off], rows)
        yield "I12", "events", rows, at, f"debit of its {key}", credits[group], debits[group]
        if not off.size and total(debits) != whole:
            yield "I12", "events", rows, mask_of(first[:1], rows), f"sum by {key}", whole, total(debits)
