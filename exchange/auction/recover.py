"""Bring a venue back to where its journal left it: budgets, holds, contacts, as if it had never stopped.

Wins and events are replayed in order through the same steps that made them, refunds, opt-ins and opt-outs included.
What rules had learnt (their knobs) is not in these rows and starts afresh; so does `asked`.
"""

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from exchange import awards as aw
from exchange import market as mk
from exchange import state as st
from exchange.auction.venue import EVENT_COUNTS, Venue
from exchange.rent.ledger import Ledger

AWARD = mk.AWARD
COUNTERS = ("n_sold", *EVENT_COUNTS.values(), "billed_nano", "refunded_nano", "n_lost_holds")


@njit(cache=True, nogil=True)
def replay_row(v, win, event, is_win, campaign_of):  # type: ignore[no-untyped-def]
    """Carry out one row. A win of a campaign that is no longer in the config holds contacts but no money."""
    if is_win:
        v.now_ns = win.ts_ns
        if v.now_ns >= v.wake_ns:
            aw.wake(v)
        v.serial = win.serial
        v.auction = np.int64(win.auction_id)
        campaign = np.int64(-1)
        if win.campaign >= 0 and win.campaign < campaign_of.size:
            campaign = campaign_of[win.campaign]
        aw.remember(v, campaign, win.advertiser, win.person_key)
        ix, total = st.contact_ix(v, win.person_key, win.advertiser, False), win.buyer_total_nano
        aw.hold(v, campaign, win.advertiser, win.person_key, ix, total, win.imp_ix, win.slot, win.bill)
        if campaign >= 0 and win.flags & mk.FLAG_LOST:
            st.campaign(v, campaign).wins -= 1
        award = carray(st.at(v.awards), v.awards_size, AWARD)[win.serial & (v.awards_size - 1)]
        award.campaign_id = win.campaign
        award.expires_ns = win.expires_ns
        return
    if event.kind == mk.KIND_RELEASE:
        award = carray(st.at(v.awards), v.awards_size, AWARD)[event.serial & (v.awards_size - 1)]
        if award.serial == event.serial and award.status == mk.HELD:
            aw.release(v, award, event.ts_ns)
        return
    kind = event.kind
    if kind == mk.KIND_UNPAID:  # what came too late was what the award is billed by
        bill = carray(st.at(v.awards), v.awards_size, AWARD)[event.serial & (v.awards_size - 1)].bill
        kind = (mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_CONVERSION)[bill]
    elif kind == mk.KIND_VIEW:
        kind = mk.KIND_IMPRESSION
    elif kind == mk.KIND_BILLED_CLICK:
        kind = mk.KIND_CLICK
    elif kind == mk.KIND_BILLED_CONVERSION:
        kind = mk.KIND_CONVERSION
    number = np.int64(event.number)
    aw.happen(v, kind, event.serial, event.auction_id, event.ts_ns, -event.paid_nano, number)


@njit(cache=True, nogil=True)
def replay_rows(venue, wins, events, start_win, start_event, campaign_of):  # type: ignore[no-untyped-def]
    """Carry out wins and events in order of seq. Returns (wins done, events done), less when tables must grow."""
    v = venue[0]
    w, e = start_win, start_event
    while w < wins.size or e < events.size:
        if st.crowded(v):
            v.status = st.GROW
            return w, e
        is_win = e >= events.size or (w < wins.size and wins[w].seq < events[e].seq)
        replay_row(v, wins[w if is_win else 0], events[0 if is_win else e], is_win, campaign_of)
        if is_win:
            w += 1
        else:
            e += 1
    return w, e


def recover(venue: Venue, ledger: Ledger) -> int:
    """Replay a ledger's wins and events into a fresh venue. Returns how many rows there were."""
    wins, events = ledger.wins, ledger.events
    n = int(wins.size + events.size)
    if n == 0:
        return 0
    record = venue.record
    kept = {name: record[name].copy() for name in ("seq", "auction", "write", *COUNTERS)}
    record["write"] = 0
    silent = np.zeros_like(venue.arrays["rules"])
    record["rules"] = silent.ctypes.data  # no rule hears of the past
    ids = venue.campaigns["id"][: venue.n_campaigns]
    campaign_of: NDArray[np.int64] = np.full(int(ids.max(initial=0)) + 1, -1, np.int64)
    campaign_of[ids] = np.arange(venue.n_campaigns)
    w = e = 0
    while w < wins.size or e < events.size:
        w, e = replay_rows(record, wins, events, w, e, campaign_of)
        if w < wins.size or e < events.size:
            venue.grow()
    record["serial"] = int(wins["serial"].max(initial=-1)) + 1
    record["oldest"] = 0
    record["rules"] = venue.arrays["rules"].ctypes.data
    # holds expire in order of serial: one placed under a longer hold_s must not outlast those placed from now on
    held = venue.arrays["awards"]
    last_ns = int(max(wins["ts_ns"].max(initial=0), events["ts_ns"].max(initial=0)))
    np.minimum(held["expires_ns"], last_ns + int(record["hold_ns"][0]), out=held["expires_ns"])
    for name, value in kept.items():
        record[name] = value
    return n
