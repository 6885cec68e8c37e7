"""What arrives for an award: impression, click, conversion, opt in, opt out, refund, each as the table of life says."""

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st
from exchange.awards.contacts import add_held, known, see
from exchange.awards.holds import advance, note
from exchange.bidding import call_feedback
from exchange.market import life

AWARD, CONTACT = mk.AWARD, mk.CONTACT


@njit(cache=True, nogil=True)
def tell(v, award, kind, paid_nano):  # type: ignore[no-untyped-def]
    """Let the campaign's rule hear of an event: KIND_IMPRESSION (billed or only seen), KIND_CLICK, KIND_CONVERSION."""
    if award.campaign >= 0:
        me = st.campaign(v, award.campaign)
        call_feedback(carray(st.at(v.rules), (v.n_rules, 3), np.int64)[me.rule, 2], me, kind, paid_nano)


@njit(cache=True, nogil=True)
def settle(v, award, ix, kind, now_ns):  # type: ignore[no-untyped-def]
    """The billable event of an award whose hold is open: its hold becomes spend, its contact a contact."""
    if not award.seen:
        add_held(v, award, ix, -1)
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
        me = st.campaign(v, award.campaign)
        me.held -= award.hold_nano
        me.spent += award.hold_nano


@njit(cache=True, nogil=True, inline="always")
def record(v, award, ix, arrival, now_ns):  # type: ignore[no-untyped-def]
    """Do what the table says of an arrival that is no repeat: state, money, row. Returns (kind recorded, paid)."""
    kind = np.int64(life.ANSWER[award.bill, award.status, arrival])
    then = life.THEN[award.bill, award.status, arrival]
    paid = np.int64(0)
    if then == mk.BILLED and award.status == mk.HELD:
        settle(v, award, ix, kind, now_ns)
        paid = award.hold_nano
    elif kind > 0:
        note(v, award, ix, kind, now_ns)
    award.status = np.uint8(then)
    return kind, paid


@njit(cache=True, nogil=True, inline="always")
def impression(v, award, now_ns):  # type: ignore[no-untyped-def]
    """The ad was shown: the first time only. Returns what was recorded."""
    if award.seen:
        return np.int64(life.REPEAT)
    ix = known(v, award)
    see(v, award, ix, now_ns)
    kind, paid = record(v, award, ix, life.IMPRESSION, now_ns)
    if kind == mk.KIND_UNPAID:
        v.n_unpaid += 1
        return kind
    if kind == mk.KIND_VIEW:
        v.n_views += 1
    else:
        v.n_impressions += 1
    tell(v, award, mk.KIND_IMPRESSION, paid)
    return kind


@njit(cache=True, nogil=True)
def click(v, award, now_ns):  # type: ignore[no-untyped-def]
    """The ad was clicked: the first time only. Returns what was recorded.

    Where impressions are not billed, whoever clicks has seen the ad, also when nobody reported it.
    """
    if award.clicked:
        return np.int64(life.REPEAT)
    award.clicked = np.uint8(1)
    ix = known(v, award)
    if award.bill != mk.BILL_IMPRESSION and not award.seen:
        see(v, award, ix, now_ns)
        tell(v, award, mk.KIND_IMPRESSION, 0)
    kind, paid = record(v, award, ix, life.CLICK, now_ns)
    if kind == mk.KIND_UNPAID:
        v.n_unpaid += 1
        return kind
    if kind == mk.KIND_CLICK:
        v.n_clicks += 1
    else:
        v.n_billed_clicks += 1
    tell(v, award, mk.KIND_CLICK, paid)
    return kind


@njit(cache=True, nogil=True)
def conversion(v, award, now_ns):  # type: ignore[no-untyped-def]
    """The person did what the campaign is for: the first time only. Returns what was recorded."""
    if award.converted:
        return np.int64(life.REPEAT)
    award.converted = np.uint8(1)
    kind, paid = record(v, award, known(v, award), life.CONVERSION, now_ns)
    if kind == mk.KIND_UNPAID:
        v.n_unpaid += 1
        return kind
    if kind == mk.KIND_CONVERSION:
        v.n_conversions += 1
    else:
        v.n_billed_conversions += 1
    tell(v, award, mk.KIND_CONVERSION, paid)
    return kind


@njit(cache=True, nogil=True)
def opt_in(v, award, now_ns):  # type: ignore[no-untyped-def]
    """The person agreed to be contacted by the advertiser himself: the first time only. Returns what was recorded."""
    if award.opted_in:
        return np.int64(life.REPEAT)
    award.opted_in = np.uint8(1)
    v.n_opt_ins += 1
    return record(v, award, known(v, award), life.OPT_IN, now_ns)[0]


@njit(cache=True, nogil=True)
def opt_out(v, award, now_ns):  # type: ignore[no-untyped-def]
    """The person withdrew that, or never wants it: the first time only. Returns what was recorded."""
    if award.opted_out:
        return np.int64(life.REPEAT)
    award.opted_out = np.uint8(1)
    v.n_opt_outs += 1
    return record(v, award, known(v, award), life.OPT_OUT, now_ns)[0]


@njit(cache=True, nogil=True)
def refund(v, award, amount_nano, number, now_ns):  # type: ignore[no-untyped-def]
    """Give back `amount_nano` of what an award paid (0 = all that is left), as its refund `number`.

    The contact stays a contact: he was rented, at a lower rent. Returns what was recorded.
    """
    if number <= award.refunds:
        return np.int64(life.REPEAT)
    left = award.hold_nano - award.refunded_nano
    amount = np.int64(amount_nano) if amount_nano != 0 else left
    arrival = life.REFUND_PART if amount < left else life.REFUND_REST
    kind = np.int64(life.ANSWER[award.bill, award.status, arrival])
    if kind <= 0:
        return kind
    if number != award.refunds + 1 or number > life.REFUNDS_MAX:
        return np.int64(life.GAP)
    if amount <= 0 or amount > left:
        return np.int64(life.TOO_MUCH if left > 0 else life.NOTHING_LEFT)
    award.status = np.uint8(life.THEN[award.bill, award.status, arrival])
    award.refunded_nano += amount
    award.refunds = np.uint8(number)
    v.n_refunds += 1
    v.refunded_nano += amount
    ix, cum = known(v, award), np.int64(0)
    if ix >= 0:
        contact = carray(st.at(v.contacts), ix + 1, CONTACT)[ix]
        contact.cum_rent_nano -= amount
        cum = contact.cum_rent_nano
    st.event_row(v, kind, now_ns, award, -amount, cum, 0, number)
    if award.campaign >= 0:
        me = st.campaign(v, award.campaign)
        me.spent -= amount
        me.available += amount
        if me.day == np.int32(award.placed_ns // st.DAY_NS):
            me.day_used -= amount
    return kind


@njit(cache=True, nogil=True)
def happen(v, kind, serial, auction_id, now_ns, amount_nano, number):  # type: ignore[no-untyped-def]
    """Something arrives for an award (kind: a key of life.ARRIVES_AS); the clock stands where it stands.

    amount_nano and number are those of a refund, else 0. Returns (status, answer): the kind recorded, or one of
    life.ANSWERS.
    """
    if st.events_full(v):
        return st.ROLL, np.int64(life.REPEAT)
    award = carray(st.at(v.awards), v.awards_size, AWARD)[serial & (v.awards_size - 1)]
    if serial < 0 or award.serial != serial or award.auction_id != np.uint64(auction_id) or award.status == 0:
        return st.DONE, np.int64(life.UNKNOWN)
    if kind == mk.KIND_IMPRESSION:
        return st.DONE, impression(v, award, now_ns)
    if kind == mk.KIND_CLICK:
        return st.DONE, click(v, award, now_ns)
    if kind == mk.KIND_CONVERSION:
        return st.DONE, conversion(v, award, now_ns)
    return st.DONE, later(v, kind, award, now_ns, amount_nano, number)


@njit(cache=True, nogil=True)
def later(v, kind, award, now_ns, amount_nano, number):  # type: ignore[no-untyped-def]
    """What seldom arrives, and long after the ad: opt in, opt out, refund. Returns what was recorded."""
    if kind == mk.KIND_OPT_IN:
        return opt_in(v, award, now_ns)
    if kind == mk.KIND_OPT_OUT:
        return opt_out(v, award, now_ns)
    return refund(v, award, amount_nano, number, now_ns)


@njit(cache=True, nogil=True)
def event(v, kind, serial, auction_id, now_ns, amount_nano, number):  # type: ignore[no-untyped-def]
    """`happen` at its time, the clock moved there first. Returns (status, answer)."""
    status = advance(v, now_ns)
    if status != st.DONE:
        return status, np.int64(life.REPEAT)
    return happen(v, kind, serial, auction_id, v.now_ns, amount_nano, number)


@njit(cache=True, nogil=True)
def event_at(venue, kind, serial, auction_id, now_ns, amount_nano, number):  # type: ignore[no-untyped-def]
    """`event` for a caller outside compiled code: venue is VENUE[1]."""
    return event(venue[0], kind, serial, auction_id, now_ns, amount_nano, number)
