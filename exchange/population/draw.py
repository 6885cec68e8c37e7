"""The compiled draws of a population: when, who, where, what for, and the truths of an impression.

Visit t is a pure function of (seed, t); with a log (log.py) it is row t of the log.
"""

from math import cos, pi
from typing import Final

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st
from exchange.audience import query as qy
from exchange.audience import targets as tg
from exchange.audience.attributes import WEEK_HOURS
from exchange.audience.vocabulary import FIRST, OTHER
from exchange.randomness import CONVERSION, OPT_IN, REFUND, TRUTH, VISIT, draw, unit

OPPORTUNITY = mk.OPPORTUNITY
COUNTRY: Final = qy.SLOT["country"]
DEVICE: Final = qy.SLOT["device"]
HOUR: Final = qy.SLOT["hour"]
FLOOR: Final = qy.SLOT["floor"] - qy.IMP_SLOTS  # in an imp's record
THURSDAY: Final = 72  # hours from Monday to 1970-01-01
CLICK_HOUR: Final = 20  # when true click rates are highest

VISIT_RECORD: Final = mk.shape([("t", "i8"), ("now_ns", "i8"), ("person", "u4"), ("placement", "u4"), ("n_imps", "i4")])
PERSON_RECORD: Final = mk.shape([("key", "u8"), ("ctr", "f8"), ("segments", "u4"), ("country", "u1"), ("device", "u1")])
PLACEMENT_RECORD: Final = mk.shape(
    [
        ("ctr", "f8"),
        ("floor_nano", "i8"),
        ("publisher", "u4"),
        ("domain", "u4"),
        ("size", "u4"),
        ("size_2", "u4"),
        ("n_imps", "u1"),
        ("media", "u1"),
        ("blocks", "u1"),  # 1 = sends bcat
    ]
)
SETTINGS: Final = mk.shape(
    [
        ("seed", "i8"), ("people", "i8"), ("in_turn", "i8"), ("placements", "i8"),
        ("start_ns", "i8"), ("step_ns", "f8"),
        ("person_power", "f8"), ("view_rate", "f8"), ("ctr", "f8"), ("floor_nano", "i8"), ("format", "i8"),
        ("cvr", "f8"), ("hour_swing", "f8"),
        ("queries", "i8"), ("query_max", "i8"),  # address of the placements' queries, room of each
        ("opt_in_share", "f8"), ("opt_out_share", "f8"), ("refund_share", "f8"),
        ("log", "i8"), ("log_rows", "i8"),  # address and length of the log; no rows = no log
    ]
)  # fmt: skip


@njit(cache=True, nogil=True)
def when(settings, t):  # type: ignore[no-untyped-def]
    """The time of visit t, ns."""
    return settings.start_ns + np.int64(t * settings.step_ns)


@njit(cache=True, nogil=True)
def visit_of(settings, placements, t, visit):  # type: ignore[no-untyped-def]
    """Draw visit t: when, who (a power law: few people come often; or all in turn), where (a power law)."""
    w0, w1, w2, w3 = draw(settings.seed, t, 0, 0, VISIT)
    visit.t = t
    visit.now_ns = when(settings, t)
    if settings.in_turn:
        visit.person = np.uint32(t % settings.people)
    else:
        visit.person = np.uint32(
            min(settings.people - 1, np.int64(settings.people * unit(w0, w1) ** settings.person_power))
        )
    place = unit(w2, w3)
    visit.placement = np.uint32(min(settings.placements - 1, np.int64(settings.placements * place * place)))
    visit.n_imps = np.int32(placements[visit.placement].n_imps)


@njit(cache=True, nogil=True)
def truth_of(settings, placement, person, t, imp_ix, slot, share):  # type: ignore[no-untyped-def]
    """Would this impression be seen, and clicked? (seen, clicked); only a seen one is clicked.

    The click rate is the config's, times the placement's and the person's factors, times that of the hour.
    slot: the position it stands in, 0 = the best; share: its click rate as a share of the best one's.
    """
    if settings.log_rows > 0:
        return True, carray(st.at(settings.log), (settings.log_rows, 3), np.int64)[t, 2] != 0
    w0, w1, w2, w3 = draw(settings.seed, t, imp_ix, slot, TRUTH)
    seen, click = unit(w0, w1) < settings.view_rate, unit(w2, w3)
    rate = settings.ctr * placement.ctr * person.ctr
    if not seen or click >= rate * (1.0 + settings.hour_swing) * share:  # not in the best hour either
        return seen, False
    hour = (when(settings, t) // (3600 * mk.NANO)) % 24
    lift = 1.0 + settings.hour_swing * cos(pi * (hour - CLICK_HOUR) / 12.0)
    return True, click < rate * lift * share


@njit(cache=True, nogil=True)
def converts(settings, t, imp_ix, slot):  # type: ignore[no-untyped-def]
    """Would a click on this impression become a conversion? A log knows of none."""
    if settings.log_rows > 0:
        return False
    w0, w1, _, _ = draw(settings.seed, t, imp_ix, slot, CONVERSION)
    return unit(w0, w1) < settings.cvr


@njit(cache=True, nogil=True)
def agrees(settings, t, imp_ix, slot):  # type: ignore[no-untyped-def]
    """Would a click on this impression become an opt in, and that an opt out later? A log knows of neither."""
    if settings.log_rows > 0:
        return False, False
    w0, w1, w2, w3 = draw(settings.seed, t, imp_ix, slot, OPT_IN)
    opts_in = unit(w0, w1) < settings.opt_in_share
    return opts_in, opts_in and unit(w2, w3) < settings.opt_out_share


@njit(cache=True, nogil=True)
def returned(settings, auction_id, imp_ix, slot, paid_nano, number):  # type: ignore[no-untyped-def]
    """What refund `number` of a billed award gives back, nano; 0 = there is no such refund.

    Half of the refunds give back all, half a part: of those every other is followed by one of the rest.
    """
    w0, w1, w2, w3 = draw(settings.seed, auction_id, imp_ix, slot, REFUND)
    if number > 2 or paid_nano < 1 or unit(w0, w1) >= settings.refund_share:
        return np.int64(0)
    part = np.int64(paid_nano)
    if w3 & np.uint64(1) and paid_nano > 1:
        part = max(np.int64(1), np.int64(paid_nano * (np.float64(w2) * 2.0**-32)))
    if number == 1:
        return part
    return np.int64(paid_nano) - part if w3 & np.uint64(2) else np.int64(0)


@njit(cache=True, nogil=True)
def fill(v, settings, people, placements, rows, bits, visit):  # type: ignore[no-untyped-def]
    """Write the opportunities and the query of a visit where `trade` reads them.

    rows: int32[4, 32] = numbers of countries and devices, packed
    countries, codes of devices; bits: int32[2, 32] = a segment's number and its bit, numbers ascending.
    """
    person = people[visit.person]
    place = placements[visit.placement]
    hour = (visit.now_ns // (3600 * mk.NANO)) % 24
    # every placement has a query of its own, of which a visit writes what is the person's
    v.query_max = settings.query_max
    v.query = settings.queries + np.int64(visit.placement) * settings.query_max * 8
    audience = carray(st.at(v.audience), 1, tg.AUDIENCE)[0]
    audience.query, audience.query_max = v.query, v.query_max
    q = carray(st.at(v.query), v.query_max, np.int64)
    q[COUNTRY] = rows[0, person.country]
    q[DEVICE] = rows[1, person.device]
    q[HOUR] = FIRST + (visit.now_ns // (3600 * mk.NANO) + THURSDAY) % WEEK_HOURS
    n = np.int64(q[qy.SEG])
    for b in range(bits.shape[1]):  # written first, counted if it is his: no branch that is a coin's throw
        q[n] = bits[0, b]
        n += np.int64((person.segments >> np.uint32(bits[1, b])) & np.uint32(bits[0, b] > 0))
    if n == np.int64(q[qy.SEG]) and person.segments != 0:  # he states some, but nobody asks for them
        q[n] = OTHER
        n += 1
    q[qy.SEG + 1] = n - q[qy.SEG]
    q[qy.LENGTH] = n
    opportunities = carray(st.at(v.opportunities), v.imps_max, OPPORTUNITY)
    for k in range(place.n_imps):
        o = opportunities[k]
        o.person_key = person.key
        o.floor_nano = max(place.floor_nano, settings.floor_nano)
        o.pctr_ppb = 0
        o.publisher = place.publisher
        o.domain = place.domain
        o.size = place.size if k == 0 else place.size_2
        o.country = np.uint16(rows[2, person.country])
        o.imp_ix = np.uint16(k)
        o.media = place.media
        o.device = np.uint8(rows[3, person.device])
        o.hour = np.uint8(hour)
        o.format = np.uint16(settings.format)
        o.test = np.uint8(0)
        o.n_timeouts = np.uint8(0)
        if settings.log_rows > 0:
            floor_nano, o.pctr_ppb, _ = carray(st.at(settings.log), (settings.log_rows, 3), np.int64)[visit.t]
            o.floor_nano = max(floor_nano, settings.floor_nano)
            o.person_key = np.uint64(0)
            q[q[qy.IMPS] + k * qy.IMP_WIDTH + FLOOR] = o.floor_nano


@njit(cache=True, nogil=True)
def uniforms(seed, n, purpose, entity, out):  # type: ignore[no-untyped-def]
    """Two uniform draws for each of n people or placements: out float64[n, 2]."""
    for i in range(n):
        w0, w1, w2, w3 = draw(seed, i, 0, entity, purpose)
        out[i, 0] = unit(w0, w1)
        out[i, 1] = unit(w2, w3)


@njit(cache=True, nogil=True)
def visit_at(settings, placements, t, visit):  # type: ignore[no-untyped-def]
    """`visit_of` for a caller outside compiled code: one-element arrays."""
    visit_of(settings[0], placements, t, visit[0])
