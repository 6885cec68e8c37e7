"""May a campaign be asked, for how much at most, and with which ad: money released, caps, holdout, turns.

Even pacing releases money in proportion to time: at no instant is more than `daily` x the elapsed share of the UTC day,
or `budget` x the elapsed share of the flight, held or spent. A *holdout* is the share of people, drawn once and for
all by (person, advertiser), who are never shown an advertiser's ads: what would have happened to them anyway is what
the effect of the ads is measured against (Johnson, Lewis, Nubbemeyer 2017, Ghost Ads).
"""

from typing import Final

import numpy as np
from numba import carray, njit

from exchange import awards as aw
from exchange import market as mk
from exchange import state as st
from exchange.audience import query as qy
from exchange.audience.bits import word_at
from exchange.randomness import HOLDOUT, ROTATE, draw, unit

MS_NS: Final = 1_000_000
DAY_MS: Final = 86_400_000
_EXACT_MS: Final = 1 << 31  # elapsed x remainder stays within int64 below this


@njit(cache=True, nogil=True)
def released(total_nano, elapsed_ms, length_ms):  # type: ignore[no-untyped-def]
    """The part of `total_nano` (0 to BUDGET_MAX_NANO) that `elapsed_ms` of `length_ms` release, rounded down.

    Exact for a length up to 24 days; longer ones are reckoned in 2, 4, 8 ... ms, and never release more than due.
    """
    if elapsed_ms <= 0:
        return np.int64(0)
    if elapsed_ms >= length_ms:
        return np.int64(total_nano)
    while length_ms >= _EXACT_MS:
        elapsed_ms >>= 1
        length_ms = (length_ms + 1) >> 1
    return total_nano // length_ms * elapsed_ms + total_nano % length_ms * elapsed_ms // length_ms


@njit(cache=True, nogil=True)
def spendable(v, me):  # type: ignore[no-untyped-def]
    """The most that a campaign may still hold now, gross nano; 0 or less: it is not asked."""
    left = min(me.available, me.daily - me.day_used)
    return left if me.even == 0 else paced(v, me, left)


@njit(cache=True, nogil=True)
def paced(v, me, left):  # type: ignore[no-untyped-def]
    """The part of the money left that even pacing has released by now."""
    if me.even & mk.EVEN_DAY:
        elapsed_ms = (v.now_ns - v.day * st.DAY_NS) // MS_NS
        left = min(left, released(me.daily, elapsed_ms, DAY_MS) - me.day_used)
    if me.even & mk.EVEN_FLIGHT:
        elapsed_ms, length_ms = (v.now_ns - me.start_ns) // MS_NS, -((me.start_ns - me.end_ns) // MS_NS)
        left = min(left, released(me.budget, elapsed_ms, length_ms) - (me.budget - me.available))
    return left


@njit(cache=True, nogil=True)
def capped(v, me, contact):  # type: ignore[no-untyped-def]
    """Has this person been shown as many of the advertiser's ads as the campaign allows, open holds included?"""
    held = np.int64(contact.held)
    if me.cap_total > 0 and np.int64(contact.shown) + held >= me.cap_total:
        return True
    if me.cap_hour > 0:
        seen = np.int64(contact.hour_n) if contact.hour == np.uint32(v.now_ns // st.HOUR_NS) else np.int64(0)
        if seen + held >= me.cap_hour:
            return True
    if me.cap_day > 0:
        seen = np.int64(contact.day_n) if contact.day == np.uint32(v.day) else np.int64(0)
        if seen + held >= me.cap_day:
            return True
    if me.cap_week > 0:
        seen = np.int64(contact.week_n) if contact.week == np.uint16(st.week_of(v.day)) else np.int64(0)
        if seen + held >= me.cap_week:
            return True
    return False


@njit(cache=True, nogil=True)
def capped_alone(v, me, person_key):  # type: ignore[no-untyped-def]
    """Has this person been shown as many ads of this campaign alone as it allows, open holds included?"""
    ix = st.contact_ix(v, person_key, aw.CAMPAIGN_CELL | np.int64(me.id), False)
    if ix < 0:
        return False
    cell = carray(st.at(v.contacts), ix + 1, mk.CONTACT)[ix]
    return np.int64(cell.shown) + np.int64(cell.held) >= me.cap_campaign


@njit(cache=True, nogil=True)
def admitted(v, me, contact, person_key):  # type: ignore[no-untyped-def]
    """May this campaign still be asked: money, caps (ads shown and open holds).

    contact: a CONTACT of its advertiser, blank for an unknown person.
    """
    if spendable(v, me) <= 0:
        return False
    if (me.cap_hour | me.cap_day | me.cap_week | me.cap_total) > 0 and capped(v, me, contact):
        return False
    return me.cap_campaign <= 0 or not capped_alone(v, me, person_key)


@njit(cache=True, nogil=True)
def held_out(v, me, person_key):  # type: ignore[no-untyped-def]
    """Is this person never to be shown the advertiser's ads? The same for ever under one seed; unknown people never."""
    if me.holdout <= 0.0 or person_key == np.uint64(0):
        return False
    w0, w1, _, _ = draw(v.seed, person_key, 0, me.advertiser, HOLDOUT)
    return unit(w0, w1) < me.holdout


@njit(cache=True, nogil=True)
def held_out_of(venue, campaign, person_key):  # type: ignore[no-untyped-def]
    """`held_out` for a caller outside compiled code: venue is VENUE[1], campaign an index."""
    return held_out(venue[0], st.campaign(venue[0], campaign), np.uint64(person_key))


@njit(cache=True, nogil=True)
def fits(v, ad):  # type: ignore[no-untyped-def]
    """May this ad (AD) stand in the selected imp of the query: its medium and size are offered, nothing blocks it?"""
    first = np.int64(word_at(v.query, qy.FIT))
    for i in range(first, first + np.int64(word_at(v.query, qy.FIT + 1))):
        offered = np.int64(word_at(v.query, i))
        if offered == ad.fit or offered == ad.fit_any:
            return ad.n_tags == 0 or not blocked(v, ad)
    return False


@njit(cache=True, nogil=True)
def blocked(v, ad):  # type: ignore[no-untyped-def]
    """Does the selected imp of the query block one of an ad's tags?"""
    q = carray(st.at(v.query), v.query_max, np.int64)
    tags = carray(st.at(v.tags), v.n_tags, np.int64)
    for tag in range(ad.tag0, ad.tag0 + ad.n_tags):
        for i in range(q[qy.BLOCKED], q[qy.BLOCKED] + q[qy.BLOCKED + 1]):
            if q[i] == tags[tag]:
                return True
    return False


@njit(cache=True, nogil=True, inline="always")
def turn(v, o, me, campaign, q):  # type: ignore[no-untyped-def]
    """Whose turn is it among the campaign's ads that fit: a draw by weight. An index into AD, -1 = none fits."""
    ads = carray(st.at(v.ads), v.n_ads, mk.AD)
    first, end = np.int64(me.ad0), np.int64(me.ad0) + me.n_ads
    if me.n_ads == 1 and q[qy.BLOCKED + 1] == 0:  # the match has seen to it that one of its ads fits
        return first
    whole, fitting, last = np.int64(0), 0, np.int64(-1)
    for ad in range(first, end):
        if fits(v, ads[ad]):
            whole += ads[ad].weight
            fitting += 1
            last = np.int64(ad)
    if fitting <= 1:
        return last
    word, _, _, _ = draw(v.seed, v.auction, o.imp_ix, campaign, ROTATE)
    point = np.int64((word * np.uint64(whole)) >> np.uint64(32))
    for ad in range(first, end):
        if fits(v, ads[ad]):
            point -= ads[ad].weight
            if point < 0:
                return ad
    return last


@njit(cache=True, nogil=True)
def refused(q, advertiser):  # type: ignore[no-untyped-def]
    """Has the publisher barred this advertiser (badv, bseat), or not named it among those it wants (wseat)?"""
    for i in range(q[qy.BARRED], q[qy.BARRED] + q[qy.BARRED + 1]):
        if q[i] == advertiser:
            return True
    n = q[qy.WANTED + 1]
    if n == 0:
        return False
    for i in range(q[qy.WANTED], q[qy.WANTED] + n):  # noqa: SIM110 - numba compiles no generator
        if q[i] == advertiser:
            return False
    return True
