"""What is remembered of a person when something becomes of an award: open holds of unseen ads, and the ads shown."""

from typing import Final

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st

CONTACT = mk.CONTACT
CAMPAIGN_CELL: Final = 0x80000000  # + campaign id: the "advertiser" under which ads of one campaign are counted
_COUNT_MAX = np.uint16(65_535)


@njit(cache=True, nogil=True, inline="always")
def remember(v, campaign, advertiser, person_key):  # type: ignore[no-untyped-def]
    """Contact of (person, advertiser), added if need be; -1 = unknown, or no room to count what has to be counted."""
    ix = st.contact_ix(v, person_key, advertiser, True)
    if ix >= 0 and campaign >= 0 and st.campaign(v, campaign).cap_campaign > 0:
        if st.contact_ix(v, person_key, CAMPAIGN_CELL | np.int64(st.campaign(v, campaign).id), True) < 0:
            return np.int64(-1)
    return ix


@njit(cache=True, nogil=True, inline="always")
def own_cell(v, campaign, person_key):  # type: ignore[no-untyped-def]
    """Contact that counts this campaign's ads alone, where it caps them; else -1. Only `shown` and `held` are kept."""
    if campaign < 0 or st.campaign(v, campaign).cap_campaign <= 0:
        return np.int64(-1)
    return st.contact_ix(v, person_key, CAMPAIGN_CELL | np.int64(st.campaign(v, campaign).id), False)


@njit(cache=True, nogil=True)
def known(v, award):  # type: ignore[no-untyped-def]
    """Contact of the person and the advertiser of an award, or -1: looked up once a step, then passed on as `ix`."""
    return st.contact_ix(v, award.person_key, award.advertiser, False)


@njit(cache=True, nogil=True, inline="always")
def add_held(v, award, ix, change):  # type: ignore[no-untyped-def]
    """Count an unseen ad's hold in (1) or out (-1), for its advertiser and, where it is capped, its campaign."""
    for cell in (ix, own_cell(v, award.campaign, award.person_key)):
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
def see(v, award, ix, now_ns):  # type: ignore[no-untyped-def]
    """The ad of an award has been seen, for the first time; its hold, if still open, is no longer of an unseen ad."""
    if award.status == mk.HELD:
        add_held(v, award, ix, -1)
    award.seen = np.uint8(1)
    for cell in (ix, own_cell(v, award.campaign, award.person_key)):
        if cell >= 0:
            show(carray(st.at(v.contacts), cell + 1, CONTACT)[cell], now_ns)
