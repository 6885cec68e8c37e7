"""Who gets which position, and what it costs him: one position for most formats, `auction.slots` for GSP and VCG.

The best score takes the best position, the next the second, and so on. A bid of a campaign with frequency caps takes
no second position for its advertiser, so that one imp cannot exceed a cap. With `other_seat` a seat's own bids behind
a winner do not raise its price; seat 0 is nobody's.
"""

from typing import Final

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st
from exchange.auction import formats as fm
from exchange.config import Auction
from exchange.openrtb import codes

NONE: Final = -(1 << 62)  # a score below all scores
SLOTS_MAX: Final = 16


def slot_rates(auction: Auction) -> list[int]:
    """Click rate of each position, ppm, the best first; one of rate 1 where the config names none."""
    return [round(rate * mk.RATE_ONE_PPM) for rate in auction.slots or [1.0]]


@njit(cache=True, nogil=True, inline="always")
def winner_of(bids, n, seed, auction_id, imp_ix):  # type: ignore[no-untyped-def]
    """Index of the highest score among bids[:n] whose fate is still WON and that have no position yet, or -1."""
    best, rank = -1, np.uint64(0)
    for i in range(n):
        if bids[i].fate != codes.WON or bids[i].slot >= 0:
            continue
        if best < 0 or bids[i].score > bids[best].score:
            best, rank = i, np.uint64(0)
        elif bids[i].score == bids[best].score:
            if rank == np.uint64(0):
                rank = fm.tie_rank(seed, auction_id, imp_ix, bids[best].entity)
            other = fm.tie_rank(seed, auction_id, imp_ix, bids[i].entity)
            if other > rank or (other == rank and bids[i].entity < bids[best].entity):
                best, rank = i, other
    return best


@njit(cache=True, nogil=True)
def behind(bid, top, other_seat):  # type: ignore[no-untyped-def]
    """Does a bid stand behind a winner, `top`, and count for its price."""
    if bid.fate != codes.WON or (bid.slot >= 0 and bid.slot <= top.slot):
        return False
    return not (other_seat and bid.seat == top.seat and bid.seat != 0)


@njit(cache=True, nogil=True, inline="always")
def runner_up(bids, n, winner, other_seat):  # type: ignore[no-untyped-def]
    """The best score behind a winner (of another seat, if `other_seat`); NONE when nobody is there."""
    top, second = bids[winner], np.int64(NONE)
    for i in range(n):
        if behind(bids[i], top, other_seat):
            second = max(second, bids[i].score)
    return second


@njit(cache=True, nogil=True)
def harm(kind, bids, n, winner, slots, other_seat):  # type: ignore[no-untyped-def]
    """What a winner's presence costs those behind it, per unit of its own click rate, rounded up (VCG).

    The sum over its position and all lower ones m of (s_m - s_m+1) x what the next bid behind is worth in the winner's
    terms, at least its floor, divided by the rate of its own position. slots: int64[k], ppm, the best first.
    """
    me = bids[winner]
    scores = np.empty(SLOTS_MAX, np.int64)
    n_lower = slots.size - me.slot
    scores[:n_lower] = NONE
    for i in range(n):
        if behind(bids[i], me, other_seat):
            score = bids[i].score
            for m in range(n_lower):
                if score > scores[m]:
                    scores[m], score = score, scores[m]
    own = slots[me.slot]
    whole, rest = np.int64(0), np.int64(0)
    for m in range(n_lower):
        worth = me.floor_nano
        if scores[m] > NONE:
            worth = max(worth, fm.least_bid(kind, me, scores[m]))
        below = slots[me.slot + m + 1] if me.slot + m + 1 < slots.size else np.int64(0)
        step = slots[me.slot + m] - below
        whole += worth // own * step
        rest += worth % own * step
    return min(me.net_nano, whole + (rest + own - 1) // own)


@njit(cache=True, nogil=True)
def take_out(v, bids, n, winner):  # type: ignore[no-untyped-def]
    """Take the other bids of a winner's advertiser out where a cap forbids that it is shown twice at once."""
    for i in range(n):
        c = bids[i].campaign
        if c < 0 or bids[i].slot >= 0 or bids[i].fate != codes.WON or bids[i].advertiser != bids[winner].advertiser:
            continue
        me = st.campaign(v, c)
        if me.cap_hour + me.cap_day + me.cap_week + me.cap_total > 0:
            bids[i].fate = np.uint16(codes.OUTBID)


@njit(cache=True, nogil=True, inline="always")
def assign(v, o, bids, n, order):  # type: ignore[no-untyped-def]
    """Score bids[:n], give out the positions and price them. Returns how many were sold.

    Writes score, slot, next_nano and price_nano of the bids, and into order, int64[k], who holds each position.
    """
    score_kind, price_kind = fm.TABLE[o.format, fm.SCORE], fm.TABLE[o.format, fm.PRICE]
    several = fm.TABLE[o.format, fm.POSITIONS] != 0
    for i in range(n):
        bids[i].score = fm.score_of(score_kind, bids[i], bids[i].net_nano)
    slots = carray(st.at(v.slots), v.n_slots, np.int64)
    n_sold = 0
    for slot in range(v.n_slots if several else 1):
        winner = winner_of(bids, n, v.seed, v.auction, o.imp_ix)
        if winner < 0:
            break
        bids[winner].slot = np.int16(slot)
        order[slot] = winner
        n_sold += 1
        if several:
            take_out(v, bids, n, winner)
    for slot in range(n_sold):
        winner = order[slot]
        bid = bids[winner]
        second = runner_up(bids, n, winner, v.other_seat)
        bid.next_nano = 0 if second == NONE else fm.least_bid(score_kind, bid, second)
        if price_kind == fm.HARM:
            bid.price_nano = harm(score_kind, bids, n, winner, slots, v.other_seat)
        else:
            bid.price_nano = fm.price_of(
                price_kind, bid.net_nano, bid.next_nano, bid.floor_nano, v.soft_floor_nano, v.increment_nano
            )
    return n_sold


@njit(cache=True, nogil=True)
def rate_of(v, o, slot):  # type: ignore[no-untyped-def]
    """Click rate of a position, ppm: 1 unless the format sells several."""
    if fm.TABLE[o.format, fm.POSITIONS] == 0:
        return np.int64(mk.RATE_ONE_PPM)
    return carray(st.at(v.slots), v.n_slots, np.int64)[slot]
