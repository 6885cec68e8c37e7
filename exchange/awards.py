"""The life of an award: `hold` (a win), `settle` (the billed impression), `release` (the hold expired), `click`.

Nothing else moves money or contacts. Each step writes its own journal row, and at every instant
`spent + held + available = budget`. Expiry is an event with a time of its own: it is carried out before the next
step at or after that time, live as in a replay.
"""

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st
from exchange.bidding import call_feedback

AWARD, CONTACT = mk.AWARD, mk.CONTACT


@njit(cache=True, nogil=True)
def hold(v, campaigns, campaign, advertiser, person_key, total_nano, imp_ix, slot, bill):  # type: ignore[no-untyped-def]
    """Place an award: money and a contact are held until the impression or the expiry. Returns its serial.

    A ring slot that still holds the oldest award is released first (stated limit: server.awards_max).
    """
    serial = v.serial
    v.serial += 1
    award = carray(st.at(v.awards), v.awards_size, AWARD)[serial & (v.awards_size - 1)]
    if award.status == mk.HELD and award.serial >= 0:
        v.n_lost_holds += 1
        release(v, campaigns, award, v.now_ns)
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
    award.clicked = np.uint8(0)
    v.n_held += 1
    if campaign >= 0:
        me = campaigns[campaign]
        award.campaign_id = me.id
        me.available -= total_nano
        me.held += total_nano
        me.day_used += total_nano
        me.wins += 1
    ix = st.contact_ix(v, person_key, advertiser, True)
    if ix >= 0:
        contact = carray(st.at(v.contacts), ix + 1, CONTACT)[ix]
        contact.held += np.uint32(1)
    return serial


@njit(cache=True, nogil=True)
def release(v, campaigns, award, now_ns):  # type: ignore[no-untyped-def]
    """Give back what an award held: it expired before its impression."""
    award.status = np.uint8(mk.RELEASED)
    v.n_held -= 1
    v.n_releases += 1
    if award.campaign >= 0:
        me = campaigns[award.campaign]
        me.available += award.hold_nano
        me.held -= award.hold_nano
        if me.day == np.int32(award.placed_ns // st.DAY_NS):
            me.day_used -= award.hold_nano
    ix = st.contact_ix(v, award.person_key, award.advertiser, False)
    cum = np.int64(0)
    if ix >= 0:
        contact = carray(st.at(v.contacts), ix + 1, CONTACT)[ix]
        contact.held -= np.uint32(1)
        cum = contact.cum_rent_nano
    st.event_row(v, mk.KIND_RELEASE, now_ns, award, 0, cum, 0)


@njit(cache=True, nogil=True)
def expire(v, campaigns, now_ns):  # type: ignore[no-untyped-def]
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
            release(v, campaigns, award, award.expires_ns)
        v.oldest += 1
    return st.DONE


@njit(cache=True, nogil=True)
def settle(v, campaigns, serial, auction_id, now_ns):  # type: ignore[no-untyped-def]
    """The billable impression of an award: its hold becomes spend, its contact a contact. Idempotent.

    Returns (status, kind): kind is KIND_IMPRESSION when it billed, KIND_UNPAID when it came too late,
    0 when it had been billed before or the award is no longer known.
    """
    if st.events_full(v):
        return st.ROLL, 0
    award = carray(st.at(v.awards), v.awards_size, AWARD)[serial & (v.awards_size - 1)]
    if serial < 0 or award.serial != serial or award.auction_id != np.uint64(auction_id) or award.status == mk.BILLED:
        return st.DONE, 0
    ix = st.contact_ix(v, award.person_key, award.advertiser, False)
    if award.status == mk.RELEASED:
        cum = np.int64(0)
        if ix >= 0:
            cum = carray(st.at(v.contacts), ix + 1, CONTACT)[ix].cum_rent_nano
        award.status = np.uint8(mk.BILLED)  # a second try must not be recorded twice
        v.n_unpaid += 1
        st.event_row(v, mk.KIND_UNPAID, now_ns, award, 0, cum, 0)
        return st.DONE, mk.KIND_UNPAID
    award.status = np.uint8(mk.BILLED)
    v.n_held -= 1
    v.n_impressions += 1
    v.billed_nano += award.hold_nano
    cum, contact_n = np.int64(0), np.int64(0)
    if ix >= 0:
        contact = carray(st.at(v.contacts), ix + 1, CONTACT)[ix]
        contact.held -= np.uint32(1)
        contact.contacts += np.uint32(1)
        contact.cum_rent_nano += award.hold_nano
        contact.last_s = np.uint32(now_ns // mk.NANO)
        today = np.uint32(now_ns // st.DAY_NS)
        if contact.day != today:
            contact.day = today
            contact.day_n = np.uint16(0)
        if contact.day_n < np.uint16(65_535):
            contact.day_n += np.uint16(1)
        cum, contact_n = contact.cum_rent_nano, np.int64(contact.contacts)
    st.event_row(v, mk.KIND_IMPRESSION, now_ns, award, award.hold_nano, cum, contact_n)
    if award.campaign >= 0:
        me = campaigns[award.campaign]
        me.held -= award.hold_nano
        me.spent += award.hold_nano
        call_feedback(
            carray(st.at(v.rules), (v.n_rules, 3), np.int64)[me.rule, 2], me, mk.KIND_IMPRESSION, award.hold_nano
        )
    return st.DONE, mk.KIND_IMPRESSION


@njit(cache=True, nogil=True)
def click(v, campaigns, serial, auction_id, now_ns):  # type: ignore[no-untyped-def]
    """Record the first click of an award. Returns (status, kind): KIND_CLICK, or 0 when it is a repeat or unknown."""
    if st.events_full(v):
        return st.ROLL, 0
    award = carray(st.at(v.awards), v.awards_size, AWARD)[serial & (v.awards_size - 1)]
    if serial < 0 or award.serial != serial or award.auction_id != np.uint64(auction_id) or award.clicked:
        return st.DONE, 0
    award.clicked = np.uint8(1)
    v.n_clicks += 1
    ix = st.contact_ix(v, award.person_key, award.advertiser, False)
    cum = np.int64(0)
    if ix >= 0:
        cum = carray(st.at(v.contacts), ix + 1, CONTACT)[ix].cum_rent_nano
    st.event_row(v, mk.KIND_CLICK, now_ns, award, 0, cum, 0)
    if award.campaign >= 0:
        me = campaigns[award.campaign]
        call_feedback(carray(st.at(v.rules), (v.n_rules, 3), np.int64)[me.rule, 2], me, mk.KIND_CLICK, 0)
    return st.DONE, mk.KIND_CLICK


@njit(cache=True, nogil=True)
def advance(v, campaigns, now_ns):  # type: ignore[no-untyped-def]
    """Move the venue's clock: expire holds; at a flight or day boundary set the alive bits. Returns a status."""
    if now_ns > v.now_ns:
        v.now_ns = now_ns
    status = expire(v, campaigns, v.now_ns)
    if status == st.DONE and v.now_ns >= v.wake_ns:
        wake(v, campaigns)
    return status


@njit(cache=True, nogil=True)
def wake(v, campaigns):  # type: ignore[no-untyped-def]
    """Set the alive bits from flight dates, pauses and the day, and find when to look again."""
    alive = carray(st.at(v.alive), v.n_words, np.uint64)
    v.day = v.now_ns // st.DAY_NS
    v.wake_ns = (v.day + 1) * st.DAY_NS
    for c in range(v.n_campaigns):
        me = campaigns[c]
        if me.day != np.int32(v.day):
            me.day = np.int32(v.day)
            me.day_used = 0
        for edge in (me.start_ns, me.end_ns):
            if edge > v.now_ns and edge < v.wake_ns:
                v.wake_ns = edge
        on = me.paused == 0 and me.start_ns <= v.now_ns and v.now_ns < me.end_ns
        for line in range(me.line0, me.line0 + me.n_lines):
            bit = np.uint64(1) << np.uint64(line & 63)
            if on:
                alive[line >> 6] |= bit
            else:
                alive[line >> 6] &= ~bit


@njit(cache=True, nogil=True)
def event(v, campaigns, kind, serial, auction_id, now_ns):  # type: ignore[no-untyped-def]
    """One event from outside (KIND_IMPRESSION or KIND_CLICK) at its time. Returns (status, kind recorded or 0)."""
    status = advance(v, campaigns, now_ns)
    if status != st.DONE:
        return status, 0
    if kind == mk.KIND_IMPRESSION:
        return settle(v, campaigns, serial, auction_id, v.now_ns)
    return click(v, campaigns, serial, auction_id, v.now_ns)


@njit(cache=True, nogil=True)
def event_at(venue, campaigns, kind, serial, auction_id, now_ns):  # type: ignore[no-untyped-def]
    """`event` for a caller outside compiled code: venue is VENUE[1]."""
    return event(venue[0], campaigns, kind, serial, auction_id, now_ns)


@njit(cache=True, nogil=True)
def advance_to(venue, campaigns, now_ns):  # type: ignore[no-untyped-def]
    """`advance` for a caller outside compiled code: venue is VENUE[1]."""
    return advance(venue[0], campaigns, now_ns)
