"""The compiled loop of a simulation: deliver what is due, draw a visit, trade, schedule what the sale causes.

A seen impression arrives view_delay after the sale, a click click_delay after it; with constant delays two rings in
order of sale are in order of time. Events carry their own time, so the market's clock never runs backwards.
"""

from numba import carray, njit

from exchange import awards as aw
from exchange import market as mk
from exchange import state as st
from exchange.auction.sell import trade
from exchange.population import fill, truth_of, visit_of

SOLD = mk.SOLD
PENDING = mk.shape([("due_ns", "i8"), ("serial", "i8"), ("auction_id", "u8")])
# Where the loop stands, so that it can stop for room and go on.
CURSOR = mk.shape(
    [
        ("t", "i8"), ("imp", "i8"), ("views_head", "i8"), ("views_tail", "i8"), ("clicks_head", "i8"),
        ("clicks_tail", "i8"), ("view_delay_ns", "i8"), ("click_delay_ns", "i8"),
    ]
)  # fmt: skip


@njit(cache=True, nogil=True)
def push(ring, tail, due_ns, serial, auction_id):  # type: ignore[no-untyped-def]
    """Add an event to a ring (size: a power of two, large enough by construction)."""
    slot = ring[tail & (ring.size - 1)]
    slot.due_ns = due_ns
    slot.serial = serial
    slot.auction_id = auction_id


@njit(cache=True, nogil=True)
def deliver(v, campaigns, cursor, views, clicks, now_ns):  # type: ignore[no-untyped-def]
    """Carry out every impression and click due by now_ns, in order of time, impressions first. Returns a status."""
    while True:
        view = views[cursor.views_head & (views.size - 1)]
        click = clicks[cursor.clicks_head & (clicks.size - 1)]
        has_view = cursor.views_head < cursor.views_tail and view.due_ns <= now_ns
        has_click = cursor.clicks_head < cursor.clicks_tail and click.due_ns <= now_ns
        if has_view and (not has_click or view.due_ns <= click.due_ns):
            status, _ = aw.event(v, campaigns, mk.KIND_IMPRESSION, view.serial, view.auction_id, view.due_ns)
            if status != st.DONE:
                return status
            cursor.views_head += 1
        elif has_click:
            status, _ = aw.event(v, campaigns, mk.KIND_CLICK, click.serial, click.auction_id, click.due_ns)
            if status != st.DONE:
                return status
            cursor.clicks_head += 1
        else:
            return st.DONE


@njit(cache=True, nogil=True)
def run_until(venue, campaigns, settings, people, placements, tails, rows, bits, cursors, views, clicks, visits, end):  # type: ignore[no-untyped-def]
    """Hold the auctions of the visits cursor.t .. end - 1. Stops early when venue[0].status asks for room."""
    v, s, cursor, visit = venue[0], settings[0], cursors[0], visits[0]
    sold = carray(st.at(v.sold), v.imps_max, SOLD)
    while cursor.t < end:
        visit_of(s, placements, cursor.t, visit)
        if cursor.imp == 0:
            v.status = deliver(v, campaigns, cursor, views, clicks, visit.now_ns)
            if v.status != st.DONE:
                return
            fill(v, s, people, placements, tails, rows, bits, visit)
        cursor.imp = trade(venue, campaigns, visit.now_ns, cursor.imp, visit.n_imps)
        if cursor.imp < visit.n_imps:
            return
        place = placements[visit.placement]
        for k in range(visit.n_imps):
            if sold[k].serial < 0:
                continue
            seen, clicked = truth_of(s, place, people[visit.person], visit.t, k)
            if seen:
                push(views, cursor.views_tail, visit.now_ns + cursor.view_delay_ns, sold[k].serial, sold[k].auction_id)
                cursor.views_tail += 1
            if clicked:
                push(
                    clicks, cursor.clicks_tail, visit.now_ns + cursor.click_delay_ns, sold[k].serial, sold[k].auction_id
                )
                cursor.clicks_tail += 1
        cursor.imp = 0
        cursor.t += 1


@njit(cache=True, nogil=True)
def deliver_until(venue, campaigns, cursors, views, clicks, now_ns):  # type: ignore[no-untyped-def]
    """`deliver` for the end of a run, when no visit follows. Returns a status."""
    v = venue[0]
    v.status = deliver(v, campaigns, cursors[0], views, clicks, now_ns)
    return v.status
