"""Auction formats: who wins and what he pays, in integers.

Bids are net. The winner is the highest bid that reaches the floor; equal tops are settled by a keyed draw.
Second price with reserve: max(floor, runner-up + increment), never above the winner's own bid; without a
runner-up the floor. First price: the winner's bid. Source: Vickrey (1961); the reserve as in Myerson (1981).
"""

import numpy as np
from numba import njit

from exchange import market as mk
from exchange.openrtb import codes
from exchange.randomness import TIE, draw

# One bid while its auction is held; local bids first (by campaign), then remote (by endpoint, then bid order).
BIDDING = mk.shape(
    [
        ("gross_nano", "i8"),
        ("net_nano", "i8"),
        ("value_nano", "i8"),
        ("floor_nano", "i8"),  # the least it may pay: the imp's floor, or its deal's
        ("entity", "u8"),  # who draws in a tie
        ("pctr_ppb", "i8"),  # the rates it was valued with
        ("pcvr_ppb", "i8"),
        ("campaign", "i4"),
        ("line", "i4"),
        ("remote_ix", "i4"),
        ("seat", "u4"),
        ("advertiser", "u4"),
        ("contacts", "u4"),
        ("endpoint", "i2"),
        ("fate", "u2"),
        ("flags", "u1"),
    ]
)


@njit(cache=True, nogil=True)
def tie_rank(seed, auction_id, imp_ix, entity):  # type: ignore[no-untyped-def]
    """The draw of one of several equal tops; the highest wins, whatever the order of the bids."""
    high, low, _, _ = draw(seed, auction_id, imp_ix, entity, TIE)
    return (high << np.uint64(32)) | low


@njit(cache=True, nogil=True)
def winner_of(bids, n, seed, auction_id, imp_ix):  # type: ignore[no-untyped-def]
    """Index of the winning bid among bids[:n] whose fate is still WON, or -1."""
    best, rank = -1, np.uint64(0)
    for i in range(n):
        if bids[i].fate != codes.WON:
            continue
        if best < 0 or bids[i].net_nano > bids[best].net_nano:
            best, rank = i, np.uint64(0)
        elif bids[i].net_nano == bids[best].net_nano:
            if rank == np.uint64(0):
                rank = tie_rank(seed, auction_id, imp_ix, bids[best].entity)
            other = tie_rank(seed, auction_id, imp_ix, bids[i].entity)
            if other > rank or (other == rank and bids[i].entity < bids[best].entity):
                best, rank = i, other
    return best


@njit(cache=True, nogil=True)
def runner_up(bids, n, winner, other_seat):  # type: ignore[no-untyped-def]
    """The best net bid beside the winner's (of another seat, if `other_seat`; seat 0 is nobody's); 0 = none."""
    second = np.int64(0)
    for i in range(n):
        if i == winner or bids[i].fate != codes.WON:
            continue
        if other_seat and bids[i].seat == bids[winner].seat and bids[i].seat != 0:
            continue
        second = max(second, bids[i].net_nano)
    return second


@njit(cache=True, nogil=True)
def clearing(price_rule, net_nano, second_nano, floor_nano, increment_nano):  # type: ignore[no-untyped-def]
    """What the winner pays, net: floor <= price <= net for any winner that reached the floor."""
    if price_rule == mk.FIRST_PRICE:
        return net_nano
    if second_nano <= 0:
        return floor_nano
    return min(net_nano, max(floor_nano, second_nano + increment_nano))
