"""The compiled loop of a simulation: deliver what is due, draw a visit, trade, schedule what the sale causes.

A seen impression arrives view_delay after the sale, a click click_delay, a conversion or an opt in conversion_delay
after it, an opt out twice as late, a refund refund_delay after the billing; with constant delays a ring of each, in
order of sale or billing, is in order of time. Events carry their own time, so the market's clock never runs backwards.
"""

from typing import Final

import numpy as np
from numba import carray, njit

from exchange import awards as aw
from exchange import market as mk
from exchange import state as st
from exchange.auction.sell import trade_imps
from exchange.memory import borrow, prefetch
from exchange.population import agrees, converts, fill, returned, truth_of, visit_of

AWARD, SOLD = mk.AWARD, mk.SOLD
FAR_NS: Final = 2**62
PENDING = mk.shape([("due_ns", "i8"), ("serial", "i8"), ("auction_id", "u8")])
# Where the loop stands, so that it can stop for room and go on.
CURSOR = mk.shape(
    [
        ("t", "i8"), ("imp", "i8"), ("views_head", "i8"), ("views_tail", "i8"), ("clicks_head", "i8"),
        ("clicks_tail", "i8"), ("conversions_head", "i8"), ("conversions_tail", "i8"),
        ("view_delay_ns", "i8"), ("click_delay_ns", "i8"), ("conversion_delay_ns", "i8"), ("refund_delay_ns", "i8"),
        # where what seldom comes lies, PENDING[3, later_size], and its heads and tails, int64[3, 2]; 0 = none comes
        ("later", "i8"), ("later_size", "i8"), ("marks", "i8"),
    ]
)  # fmt: skip
OPT_INS, OPT_OUTS, REFUNDS = range(3)  # rings of `later`
HEAD, TAIL = range(2)


@njit(cache=True, nogil=True, inline="always")
def push(ring, tail, due_ns, serial, auction_id):  # type: ignore[no-untyped-def]
    """Add an event to a ring (size: a power of two, large enough by construction)."""
    slot = ring[tail & (ring.size - 1)]
    slot.due_ns = due_ns
    slot.serial = serial
    slot.auction_id = auction_id


@njit(cache=True, nogil=True, inline="always")
def due(ring, head, tail):  # type: ignore[no-untyped-def]
    """When the oldest event of a ring is due, ns; FAR_NS when there is none."""
    return ring[head & (ring.size - 1)].due_ns if head < tail else np.int64(FAR_NS)


@njit(cache=True, nogil=True, inline="always")
def expect_next(v, ring, head, tail):  # type: ignore[no-untyped-def]
    """Have fetched what the event behind the oldest of a ring will read of its person: it comes visits later."""
    if head + 1 < tail:
        serial = ring[(head + 1) & (ring.size - 1)].serial
        award = carray(st.at(v.awards), v.awards_size, AWARD)[serial & (v.awards_size - 1)]
        st.expect_contact(v, award.person_key, award.advertiser)


@njit(cache=True, nogil=True)
def put_later(cursor, which, due_ns, serial, auction_id):  # type: ignore[no-untyped-def]
    """Add an event to one of the rings of `later`."""
    marks = carray(st.at(cursor.marks), (3, 2), np.int64)
    ring = carray(st.at(cursor.later), (3, cursor.later_size), PENDING)[which]
    push(ring, marks[which, TAIL], due_ns, serial, auction_id)
    marks[which, TAIL] += 1


@njit(cache=True, nogil=True)
def amount_of(v, settings, serial, auction_id, number):  # type: ignore[no-untyped-def]
    """What refund `number` of an award gives back, nano; 0 = there is none, or the award is forgotten."""
    award = carray(st.at(v.awards), v.awards_size, AWARD)[serial & (v.awards_size - 1)]
    if award.serial != serial:
        return np.int64(0)
    return returned(settings, auction_id, award.imp_ix, award.slot, award.hold_nano, number)


@njit(cache=True, nogil=True)
def deliver_later(v, settings, cursor, before_ns):  # type: ignore[no-untyped-def]
    """Carry out opt-ins, opt-outs and refunds due before `before_ns`, in order of time. A status."""
    marks = carray(st.at(cursor.marks), (3, 2), np.int64)
    rings = carray(st.at(cursor.later), (3, cursor.later_size), PENDING)
    while True:
        which, first = 0, np.int64(FAR_NS)
        for ring in range(3):
            when = due(rings[ring], marks[ring, HEAD], marks[ring, TAIL])
            if when < first:
                which, first = ring, when
        if first >= before_ns:
            return st.DONE
        pending = rings[which, marks[which, HEAD] & (cursor.later_size - 1)]
        kind, amount, number = mk.KIND_OPT_IN, np.int64(0), np.int64(0)
        if which == OPT_OUTS:
            kind = mk.KIND_OPT_OUT
        elif which == REFUNDS:
            kind = mk.KIND_REFUND
            number = np.int64(
                carray(st.at(v.awards), v.awards_size, AWARD)[pending.serial & (v.awards_size - 1)].refunds
            )
            number += 1
            amount = amount_of(v, settings, pending.serial, pending.auction_id, number)
        status, answer = aw.event(v, kind, pending.serial, pending.auction_id, first, amount, number)
        if status != st.DONE:
            return status
        marks[which, HEAD] += 1
        if answer == mk.KIND_REFUND and amount_of(v, settings, pending.serial, pending.auction_id, number + 1) > 0:
            put_later(cursor, REFUNDS, first + cursor.refund_delay_ns, pending.serial, pending.auction_id)


@njit(cache=True, nogil=True)
def deliver(v, settings, cursor, views, clicks, conversions, now_ns):  # type: ignore[no-untyped-def]
    """Carry out every event due by now_ns in order of time, of the same time in that of this file's top. A status."""
    while True:
        view = due(views, cursor.views_head, cursor.views_tail)
        click = due(clicks, cursor.clicks_head, cursor.clicks_tail)
        conversion = due(conversions, cursor.conversions_head, cursor.conversions_tail)
        first = min(view, click, conversion)
        if cursor.later != 0:
            status = deliver_later(v, settings, cursor, min(first, now_ns + 1))
            if status != st.DONE:
                return status
        if first > now_ns:
            return st.DONE
        if view <= click and view <= conversion:
            pending, kind = views[cursor.views_head & (views.size - 1)], mk.KIND_IMPRESSION
            expect_next(v, views, cursor.views_head, cursor.views_tail)
        elif click <= conversion:
            pending, kind = clicks[cursor.clicks_head & (clicks.size - 1)], mk.KIND_CLICK
        else:
            pending, kind = conversions[cursor.conversions_head & (conversions.size - 1)], mk.KIND_CONVERSION
        status, answer = aw.event(v, kind, pending.serial, pending.auction_id, first, 0, 0)
        if status != st.DONE:
            return status
        cursor.views_head += kind == mk.KIND_IMPRESSION
        cursor.clicks_head += kind == mk.KIND_CLICK
        cursor.conversions_head += kind == mk.KIND_CONVERSION
        if cursor.later != 0 and (
            answer == mk.KIND_IMPRESSION or answer == mk.KIND_BILLED_CLICK or answer == mk.KIND_BILLED_CONVERSION
        ):
            if amount_of(v, settings, pending.serial, pending.auction_id, 1) > 0:
                put_later(cursor, REFUNDS, first + cursor.refund_delay_ns, pending.serial, pending.auction_id)


@njit(cache=True, nogil=True)
def run_until(  # type: ignore[no-untyped-def]
    venue, settings, people, placements, rows, bits, cursors, views, clicks, conversions, visits, end
):
    """Hold the auctions of the visits cursor.t .. end - 1. Stops early when venue[0].status asks for room."""
    v, s, cursor = venue[0], settings[0], cursors[0]
    views, clicks, conversions, visits = borrow(views), borrow(clicks), borrow(conversions), borrow(visits)
    people, placements, rows, bits = borrow(people), borrow(placements), borrow(rows), borrow(bits)
    sold = carray(st.at(v.sold), (v.imps_max, v.n_slots), SOLD)
    slots = carray(st.at(v.slots), v.n_slots, np.int64)
    visit_of(s, placements, cursor.t, visits[cursor.t & 1])
    while cursor.t < end:
        visit, coming = visits[cursor.t & 1], visits[(cursor.t + 1) & 1]
        # who comes next is on his way while this visit is dealt with; his contacts while what is due is delivered
        visit_of(s, placements, cursor.t + 1, coming)
        prefetch(people.ctypes.data + np.int64(coming.person) * people.itemsize)
        if cursor.imp == 0:
            st.expect(v, people[visit.person].key)
            v.status = deliver(v, s, cursor, views, clicks, conversions, visit.now_ns)
            if v.status != st.DONE:
                return
            fill(v, s, people, placements, rows, bits, visit)
        cursor.imp = trade_imps(v, visit.now_ns, cursor.imp, visit.n_imps)
        if cursor.imp < visit.n_imps:
            return
        place = placements[visit.placement]
        for k in range(visit.n_imps):
            for slot in range(v.n_slots):
                award = sold[k, slot]
                if award.serial < 0:
                    break
                share = slots[slot] / slots[0] if slot > 0 else 1.0
                seen, clicked = truth_of(s, place, people[visit.person], visit.t, k, slot, share)
                if seen:
                    due_ns = visit.now_ns + cursor.view_delay_ns
                    push(views, cursor.views_tail, due_ns, award.serial, award.auction_id)
                    cursor.views_tail += 1
                if not clicked:
                    continue
                due_ns = visit.now_ns + cursor.click_delay_ns
                push(clicks, cursor.clicks_tail, due_ns, award.serial, award.auction_id)
                cursor.clicks_tail += 1
                if converts(s, visit.t, k, slot):
                    due_ns = visit.now_ns + cursor.conversion_delay_ns
                    push(conversions, cursor.conversions_tail, due_ns, award.serial, award.auction_id)
                    cursor.conversions_tail += 1
                if cursor.later != 0:
                    opts_in, opts_out = agrees(s, visit.t, k, slot)
                    if opts_in:
                        due_ns = visit.now_ns + cursor.conversion_delay_ns
                        put_later(cursor, OPT_INS, due_ns, award.serial, award.auction_id)
                    if opts_out:
                        due_ns = visit.now_ns + 2 * cursor.conversion_delay_ns
                        put_later(cursor, OPT_OUTS, due_ns, award.serial, award.auction_id)
        cursor.imp = 0
        cursor.t += 1


@njit(cache=True, nogil=True)
def deliver_until(venue, settings, cursors, views, clicks, conversions, now_ns):  # type: ignore[no-untyped-def]
    """`deliver` for the end of a run, when no visit follows. Returns a status."""
    v = venue[0]
    v.status = deliver(v, settings[0], cursors[0], views, clicks, conversions, now_ns)
    return v.status
