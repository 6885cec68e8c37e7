"""Holds and the clock: a win places a hold, the time that passes releases it and moves flights and days."""

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st
from exchange.awards.contacts import add_held, known
from exchange.market import life

AWARD, CONTACT = mk.AWARD, mk.CONTACT


@njit(cache=True, nogil=True)
def note(v, award, ix, kind, now_ns):  # type: ignore[no-untyped-def]
    """Append the row of an event that posts nothing."""
    cum = np.int64(0)
    if ix >= 0:
        cum = carray(st.at(v.contacts), ix + 1, CONTACT)[ix].cum_rent_nano
    st.event_row(v, kind, now_ns, award, 0, cum, 0, 0)


@njit(cache=True, nogil=True, inline="always")
def hold(v, campaign, advertiser, person_key, ix, total_nano, imp_ix, slot, bill):  # type: ignore[no-untyped-def]
    """Place an award: what its billable event will cost, and a contact, are held until then. Returns its serial.

    ix: the contact of (person, advertiser), which the caller has remembered; -1 = unknown.
    A ring slot that still holds the oldest award is released first (stated limit: server.awards_max).
    """
    serial = v.serial
    v.serial += 1
    award = carray(st.at(v.awards), v.awards_size, AWARD)[serial & (v.awards_size - 1)]
    if award.status == mk.HELD and award.serial >= 0:
        v.n_lost_holds += 1
        release(v, award, v.now_ns)
    award.serial = serial
    award.auction_id = np.uint64(v.auction)
    award.person_key = np.uint64(person_key)
    award.hold_nano = total_nano
    award.placed_ns = v.now_ns
    award.expires_ns = v.now_ns + v.hold_ns
    award.campaign = np.int32(campaign)
    award.campaign_id = np.int32(-1)
    award.advertiser = np.uint32(advertiser)
    award.imp_ix = np.uint16(imp_ix)
    award.slot = np.uint8(slot)
    award.bill = np.uint8(bill)
    award.status = np.uint8(mk.HELD)
    award.seen = np.uint8(0)
    award.clicked = np.uint8(0)
    award.converted = np.uint8(0)
    award.opted_in = np.uint8(0)
    award.opted_out = np.uint8(0)
    award.refunds = np.uint8(0)
    award.refunded_nano = 0
    v.n_held += 1
    if campaign >= 0:
        me = st.campaign(v, campaign)
        award.campaign_id = me.id
        me.available -= total_nano
        me.held += total_nano
        me.day_used += total_nano
        me.wins += 1
    add_held(v, award, ix, 1)
    return serial


@njit(cache=True, nogil=True)
def release(v, award, now_ns):  # type: ignore[no-untyped-def]
    """Give back what an award held: it expired before its billable event."""
    ix = known(v, award)
    if not award.seen:
        add_held(v, award, ix, -1)
    award.status = np.uint8(life.THEN[award.bill, award.status, life.EXPIRY])
    v.n_held -= 1
    v.n_releases += 1
    if award.campaign >= 0:
        me = st.campaign(v, award.campaign)
        me.available += award.hold_nano
        me.held -= award.hold_nano
        if me.day == np.int32(award.placed_ns // st.DAY_NS):
            me.day_used -= award.hold_nano
    note(v, award, ix, mk.KIND_RELEASE, now_ns)


@njit(cache=True, nogil=True)
def expire(v, now_ns):  # type: ignore[no-untyped-def]
    """Release every hold whose time has come, oldest first, each at its own time. Returns a status."""
    awards = carray(st.at(v.awards), v.awards_size, AWARD)
    if v.oldest < v.serial - v.awards_size:
        v.oldest = v.serial - v.awards_size
    while v.oldest < v.serial:
        award = awards[v.oldest & (v.awards_size - 1)]
        if award.status == mk.HELD and award.serial == v.oldest:
            if award.expires_ns > now_ns:
                break
            if st.events_full(v):
                return st.ROLL
            release(v, award, award.expires_ns)
        v.oldest += 1
    return st.DONE


# ---- the clock --------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def advance(v, now_ns):  # type: ignore[no-untyped-def]
    """Move the venue's clock: expire holds; at a flight or day boundary set the alive bits. Returns a status."""
    if now_ns > v.now_ns:
        v.now_ns = now_ns
    status = expire(v, v.now_ns)
    if status == st.DONE and v.now_ns >= v.wake_ns:
        wake(v)
    return status


@njit(cache=True, nogil=True)
def wake(v):  # type: ignore[no-untyped-def]
    """Set the alive bits from flight dates, pauses and the day, and find when to look again."""
    v.day = v.now_ns // st.DAY_NS
    v.wake_ns = (v.day + 1) * st.DAY_NS
    for c in range(v.n_campaigns):
        rouse(v, st.campaign(v, c), c)


@njit(cache=True, nogil=True)
def rouse(v, me, c):  # type: ignore[no-untyped-def]
    """Set the alive bit of campaign `c`, whose record is `me`, and look again not later than its flight's next edge."""
    if me.day != np.int32(v.day):
        me.day = np.int32(v.day)
        me.day_used = 0
    for edge in (me.start_ns, me.end_ns):
        if edge > v.now_ns and edge < v.wake_ns:
            v.wake_ns = edge
    word = carray(st.at(v.alive), v.n_words, np.uint64)
    bit = np.uint64(1) << np.uint64(c & 63)
    if me.paused == 0 and me.start_ns <= v.now_ns and v.now_ns < me.end_ns:
        word[c >> 6] |= bit
    else:
        word[c >> 6] &= ~bit


@njit(cache=True, nogil=True)
def rouse_one(venue, c):  # type: ignore[no-untyped-def]
    """`rouse` after a change of campaign `c`, for a caller outside compiled code: venue is VENUE[1]."""
    rouse(venue[0], st.campaign(venue[0], c), c)


@njit(cache=True, nogil=True)
def advance_to(venue, now_ns):  # type: ignore[no-untyped-def]
    """`advance` for a caller outside compiled code: venue is VENUE[1]."""
    return advance(venue[0], now_ns)
