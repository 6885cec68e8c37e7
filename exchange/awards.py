"""The life of an award: `hold` (a win), then impression, click, conversion in any order, and `release` (the expiry).

The billable event (`bill`) settles the hold; the others post nothing. Nothing else moves money or contacts. Each step
writes its own journal row, and at every instant `spent + held + available = budget`. Expiry is an event with a time
of its own: it is carried out before the next step at or after that time, live as in a replay.

    bill        impression arrives   click arrives         conversion arrives
    impression  IMPRESSION, settles  CLICK                 CONVERSION
    click       VIEW                 BILLED_CLICK, settles CONVERSION
    conversion  VIEW                 CLICK                 BILLED_CONVERSION, settles

What would settle comes after the release: UNPAID. Every arrival counts once per award. An ad is *seen* at its
impression, or at its click where impressions are not billed: that moves it from the open holds to the ads shown.
"""

from typing import Final

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st
from exchange.bidding import call_feedback

AWARD, CONTACT = mk.AWARD, mk.CONTACT
CAMPAIGN_CELL: Final = 0x80000000  # + campaign id: the "advertiser" under which ads of one campaign are counted
_COUNT_MAX = np.uint16(65_535)


# ---- what is remembered of a person -----------------------------------------------------------------------------


@njit(cache=True, nogil=True, inline="always")
def remember(v, campaigns, campaign, advertiser, person_key):  # type: ignore[no-untyped-def]
    """Contact of (person, advertiser), added if need be; -1 = unknown, or no room to count what has to be counted."""
    ix = st.contact_ix(v, person_key, advertiser, True)
    if ix >= 0 and campaign >= 0 and campaigns[campaign].cap_campaign > 0:
        if st.contact_ix(v, person_key, CAMPAIGN_CELL | np.int64(campaigns[campaign].id), True) < 0:
            return np.int64(-1)
    return ix


@njit(cache=True, nogil=True, inline="always")
def own_cell(v, campaigns, campaign, person_key):  # type: ignore[no-untyped-def]
    """Contact that counts this campaign's ads alone, where it caps them; else -1. Only `shown` and `held` are kept."""
    if campaign < 0 or campaigns[campaign].cap_campaign <= 0:
        return np.int64(-1)
    return st.contact_ix(v, person_key, CAMPAIGN_CELL | np.int64(campaigns[campaign].id), False)


@njit(cache=True, nogil=True)
def known(v, award):  # type: ignore[no-untyped-def]
    """Contact of the person and the advertiser of an award, or -1: looked up once a step, then passed on as `ix`."""
    return st.contact_ix(v, award.person_key, award.advertiser, False)


@njit(cache=True, nogil=True, inline="always")
def add_held(v, campaigns, award, ix, change):  # type: ignore[no-untyped-def]
    """Count an unseen ad's hold in (1) or out (-1), for its advertiser and, where it is capped, its campaign."""
    for cell in (ix, own_cell(v, campaigns, award.campaign, award.person_key)):
        if cell >= 0:
            contact = carray(st.at(v.contacts), cell + 1, CONTACT)[cell]
            contact.held = np.uint32(np.int64(contact.held) + change)


@njit(cache=True, nogil=True)
def show(contact, now_ns):  # type: ignore[no-untyped-def]
    """Count one ad seen: in all, and in its hour, day and week (UTC; weeks begin on Monday)."""
    contact.shown += np.uint32(1)
    hour, day = np.uint32(now_ns // st.HOUR_NS), np.uint32(now_ns // st.DAY_NS)
    week = np.uint16(st.week_of(now_ns // st.DAY_NS))
    if contact.hour != hour:
        contact.hour, contact.hour_n = hour, np.uint16(0)
    if contact.day != day:
        contact.day, contact.day_n = day, np.uint16(0)
    if contact.week != week:
        contact.week, contact.week_n = week, np.uint16(0)
    if contact.hour_n < _COUNT_MAX:
        contact.hour_n += np.uint16(1)
    if contact.day_n < _COUNT_MAX:
        contact.day_n += np.uint16(1)
    if contact.week_n < _COUNT_MAX:
        contact.week_n += np.uint16(1)


@njit(cache=True, nogil=True, inline="always")
def see(v, campaigns, award, ix, now_ns):  # type: ignore[no-untyped-def]
    """The ad of an award has been seen, for the first time; its hold, if still open, is no longer of an unseen ad."""
    if award.status == mk.HELD:
        add_held(v, campaigns, award, ix, -1)
    award.seen = np.uint8(1)
    for cell in (ix, own_cell(v, campaigns, award.campaign, award.person_key)):
        if cell >= 0:
            show(carray(st.at(v.contacts), cell + 1, CONTACT)[cell], now_ns)


# ---- holds ------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, inline="always")
def hold(v, campaigns, campaign, advertiser, person_key, ix, total_nano, imp_ix, slot, bill):  # type: ignore[no-untyped-def]
    """Place an award: what its billable event will cost, and a contact, are held until then. Returns its serial.

    ix: the contact of (person, advertiser), which the caller has remembered; -1 = unknown.
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
    award.seen = np.uint8(0)
    award.clicked = np.uint8(0)
    award.converted = np.uint8(0)
    award.opted_in = np.uint8(0)
    award.opted_out = np.uint8(0)
    award.refunds = np.uint8(0)
    award.refunded_nano = 0
    v.n_held += 1
    if campaign >= 0:
        me = campaigns[campaign]
        award.campaign_id = me.id
        me.available -= total_nano
        me.held += total_nano
        me.day_used += total_nano
        me.wins += 1
    add_held(v, campaigns, award, ix, 1)
    return serial


@njit(cache=True, nogil=True)
def release(v, campaigns, award, now_ns):  # type: ignore[no-untyped-def]
    """Give back what an award held: it expired before its billable event."""
    ix = known(v, award)
    if not award.seen:
        add_held(v, campaigns, award, ix, -1)
    award.status = np.uint8(mk.RELEASED)
    v.n_held -= 1
    v.n_releases += 1
    if award.campaign >= 0:
        me = campaigns[award.campaign]
        me.available += award.hold_nano
        me.held -= award.hold_nano
        if me.day == np.int32(award.placed_ns // st.DAY_NS):
            me.day_used -= award.hold_nano
    note(v, award, ix, mk.KIND_RELEASE, now_ns)


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


# ---- events -----------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def note(v, award, ix, kind, now_ns):  # type: ignore[no-untyped-def]
    """Append the row of an event that posts nothing."""
    cum = np.int64(0)
    if ix >= 0:
        cum = carray(st.at(v.contacts), ix + 1, CONTACT)[ix].cum_rent_nano
    st.event_row(v, kind, now_ns, award, 0, cum, 0, 0)


@njit(cache=True, nogil=True)
def tell(v, campaigns, award, kind, paid_nano):  # type: ignore[no-untyped-def]
    """Let the campaign's rule hear of an event: KIND_IMPRESSION (billed or only seen), KIND_CLICK, KIND_CONVERSION."""
    if award.campaign >= 0:
        me = campaigns[award.campaign]
        call_feedback(carray(st.at(v.rules), (v.n_rules, 3), np.int64)[me.rule, 2], me, kind, paid_nano)


@njit(cache=True, nogil=True)
def settle(v, campaigns, award, ix, kind, now_ns):  # type: ignore[no-untyped-def]
    """The billable event of an award: its hold becomes spend, its contact a contact. Returns `kind`.

    After the release it posts nothing, is told to nobody and is KIND_UNPAID.
    """
    if award.status != mk.HELD:
        v.n_unpaid += 1
        note(v, award, ix, mk.KIND_UNPAID, now_ns)
        return mk.KIND_UNPAID
    if not award.seen:
        add_held(v, campaigns, award, ix, -1)
    award.status = np.uint8(mk.BILLED)
    v.n_held -= 1
    v.billed_nano += award.hold_nano
    cum, contact_n = np.int64(0), np.int64(0)
    if ix >= 0:
        contact = carray(st.at(v.contacts), ix + 1, CONTACT)[ix]
        contact.contacts += np.uint32(1)
        contact.cum_rent_nano += award.hold_nano
        contact.last_s = np.uint32(now_ns // mk.NANO)
        cum, contact_n = contact.cum_rent_nano, np.int64(contact.contacts)
    st.event_row(v, kind, now_ns, award, award.hold_nano, cum, contact_n, 0)
    if award.campaign >= 0:
        me = campaigns[award.campaign]
        me.held -= award.hold_nano
        me.spent += award.hold_nano
    return kind


@njit(cache=True, nogil=True, inline="always")
def impression(v, campaigns, award, now_ns):  # type: ignore[no-untyped-def]
    """The ad was shown: the first time only. Returns the kind recorded or 0."""
    if award.seen:
        return 0
    ix = known(v, award)
    see(v, campaigns, award, ix, now_ns)
    if award.bill != mk.BILL_IMPRESSION:
        v.n_views += 1
        note(v, award, ix, mk.KIND_VIEW, now_ns)
        tell(v, campaigns, award, mk.KIND_IMPRESSION, 0)
        return mk.KIND_VIEW
    if settle(v, campaigns, award, ix, mk.KIND_IMPRESSION, now_ns) == mk.KIND_UNPAID:
        return mk.KIND_UNPAID
    v.n_impressions += 1
    tell(v, campaigns, award, mk.KIND_IMPRESSION, award.hold_nano)
    return mk.KIND_IMPRESSION


@njit(cache=True, nogil=True)
def click(v, campaigns, award, now_ns):  # type: ignore[no-untyped-def]
    """The ad was clicked: the first time only. Returns the kind recorded or 0.

    Where impressions are not billed, whoever clicks has seen the ad, also when nobody reported it.
    """
    if award.clicked:
        return 0
    award.clicked = np.uint8(1)
    ix = known(v, award)
    if award.bill != mk.BILL_IMPRESSION and not award.seen:
        see(v, campaigns, award, ix, now_ns)
        tell(v, campaigns, award, mk.KIND_IMPRESSION, 0)
    if award.bill != mk.BILL_CLICK:
        v.n_clicks += 1
        note(v, award, ix, mk.KIND_CLICK, now_ns)
        tell(v, campaigns, award, mk.KIND_CLICK, 0)
        return mk.KIND_CLICK
    if settle(v, campaigns, award, ix, mk.KIND_BILLED_CLICK, now_ns) == mk.KIND_UNPAID:
        return mk.KIND_UNPAID
    v.n_billed_clicks += 1
    tell(v, campaigns, award, mk.KIND_CLICK, award.hold_nano)
    return mk.KIND_BILLED_CLICK


@njit(cache=True, nogil=True)
def conversion(v, campaigns, award, now_ns):  # type: ignore[no-untyped-def]
    """The person did what the campaign is for: the first time only. Returns the kind recorded or 0."""
    if award.converted:
        return 0
    award.converted = np.uint8(1)
    ix = known(v, award)
    if award.bill != mk.BILL_CONVERSION:
        v.n_conversions += 1
        note(v, award, ix, mk.KIND_CONVERSION, now_ns)
        tell(v, campaigns, award, mk.KIND_CONVERSION, 0)
        return mk.KIND_CONVERSION
    if settle(v, campaigns, award, ix, mk.KIND_BILLED_CONVERSION, now_ns) == mk.KIND_UNPAID:
        return mk.KIND_UNPAID
    v.n_billed_conversions += 1
    tell(v, campaigns, award, mk.KIND_CONVERSION, award.hold_nano)
    return mk.KIND_BILLED_CONVERSION


@njit(cache=True, nogil=True)
def happen(v, campaigns, kind, serial, auction_id, now_ns):  # type: ignore[no-untyped-def]
    """KIND_IMPRESSION, KIND_CLICK or KIND_CONVERSION arrives for an award; the clock stands where it stands.

    Returns (status, kind recorded): 0 when it is a repeat or the award is not known (any more).
    """
    if st.events_full(v):
        return st.ROLL, 0
    award = carray(st.at(v.awards), v.awards_size, AWARD)[serial & (v.awards_size - 1)]
    if serial < 0 or award.serial != serial or award.auction_id != np.uint64(auction_id):
        return st.DONE, 0
    if kind == mk.KIND_IMPRESSION:
        return st.DONE, impression(v, campaigns, award, now_ns)
    if kind == mk.KIND_CLICK:
        return st.DONE, click(v, campaigns, award, now_ns)
    return st.DONE, conversion(v, campaigns, award, now_ns)


# ---- the clock --------------------------------------------------------------------------------------------------


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
    v.day = v.now_ns // st.DAY_NS
    v.wake_ns = (v.day + 1) * st.DAY_NS
    for c in range(v.n_campaigns):
        rouse(v, campaigns[c], c)


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
def rouse_one(venue, campaigns, c):  # type: ignore[no-untyped-def]
    """`rouse` after a change of campaign `c`, for a caller outside compiled code: venue is VENUE[1]."""
    rouse(venue[0], campaigns[c], c)


@njit(cache=True, nogil=True)
def event(v, campaigns, kind, serial, auction_id, now_ns):  # type: ignore[no-untyped-def]
    """`happen` at its time, the clock moved there first. Returns (status, kind recorded or 0)."""
    status = advance(v, campaigns, now_ns)
    if status != st.DONE:
        return status, 0
    return happen(v, campaigns, kind, serial, auction_id, v.now_ns)


@njit(cache=True, nogil=True)
def event_at(venue, campaigns, kind, serial, auction_id, now_ns):  # type: ignore[no-untyped-def]
    """`event` for a caller outside compiled code: venue is VENUE[1]."""
    return event(venue[0], campaigns, kind, serial, auction_id, now_ns)


@njit(cache=True, nogil=True)
def advance_to(venue, campaigns, now_ns):  # type: ignore[no-untyped-def]
    """`advance` for a caller outside compiled code: venue is VENUE[1]."""
    return advance(venue[0], campaigns, now_ns)
