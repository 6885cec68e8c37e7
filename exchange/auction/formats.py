"""Auction formats: how a bid is scored and what a winner pays, in integers. A format is a row of `TABLE`.

Every bid has an eCPM (`net_nano`: net, per impression, or per unit of click rate where positions are sold); floors are
compared with it. Its *score* ranks it; the *price* inverts the score of the best bid behind it, and is again an eCPM:
floor <= price <= net. What that is per click or per position is `weigh`'s business, who gets which position
`positions`'s. Equal scores are settled by a keyed draw.

Sources: Vickrey (1961); Myerson (1981) for reserves and virtual values; Edelman, Ostrovsky and Schwarz (2007) for GSP
and VCG over positions; Zeithammer (2019) for the soft floor.
"""

from typing import Final

import numpy as np
from numba import njit

from exchange import market as mk
from exchange.randomness import TIE, draw

PPM: Final = 1_000_000
UNREACHED: Final = mk.PRICE_MAX_NANO + 1  # above every bid

# One bid while its auction is held; local bids first (by campaign), then remote (by endpoint, then bid order).
BIDDING = mk.shape(
    [
        ("gross_nano", "i8"),
        ("net_nano", "i8"),  # eCPM: what competes
        ("value_nano", "i8"),
        ("floor_nano", "i8"),  # the least it may pay: the imp's floor, its seat's, or its deal's
        ("unit_nano", "i8"),  # net bid per billable event, in the best position
        ("rate_ppb", "i8"),  # events per impression: 1e9 where every impression is billed
        ("quality_ppm", "i8"),
        ("offset_nano", "i8"),  # virtual value = slope * net - offset
        ("score", "i8"),
        ("next_nano", "i8"),  # a winner's: what the best bid behind it amounts to in its own terms; 0 = none
        ("price_nano", "i8"),  # a winner's: what it pays, as an eCPM
        ("event_nano", "i8"),  # what it pays per billable event, net
        ("paid_nano", "i8"),  # the buyer's total per impression, expected
        ("entity", "u8"),  # who draws in a tie
        ("pctr_ppb", "i8"),  # the rates it was valued with
        ("pcvr_ppb", "i8"),
        ("campaign", "i4"),
        ("ad", "i4"),  # index into AD; -1 = a remote bid
        ("remote_ix", "i4"),
        ("seat", "u4"),
        ("advertiser", "u4"),
        ("contacts", "u4"),
        ("endpoint", "i2"),
        ("slot", "i2"),  # position it won (all_pay: place among those who pay), -1 = none
        ("fate", "u2"),
        ("slope", "u1"),
        ("bill", "u1"),  # BILL_*
        ("flags", "u1"),
    ]
)

# How a bid is scored.
BY_BID: Final = 0  # its eCPM
BY_QUALITY: Final = 1  # its eCPM times its quality
BY_VIRTUAL_VALUE: Final = 2  # Myerson's virtual value of the distribution its seat's values have
ALIKE: Final = 3  # every bid that reaches its floor: the draw decides
# What a winner pays, as an eCPM.
NEXT_BID: Final = 0  # the least that keeps its place, plus the increment
OWN_BID: Final = 1
SOFT_FLOOR: Final = 2  # above the soft floor the next bid, but at least the soft floor; below it the own bid
LEAST_BID: Final = 3  # the least that would still have won, without increment
HARM: Final = 4  # what its presence costs the bidders behind it (VCG)

SCORE: Final = 0  # columns of TABLE
PRICE: Final = 1
POSITIONS: Final = 2  # 1 = sells `auction.slots`, else one position of rate 1
LOSERS_PAY: Final = 3
_ROWS: Final = {
    mk.FIRST_PRICE: (BY_BID, OWN_BID, 0, 0),
    mk.SECOND_PRICE: (BY_BID, NEXT_BID, 0, 0),
    mk.SOFT_FLOOR: (BY_BID, SOFT_FLOOR, 0, 0),
    mk.POSTED_PRICE: (ALIKE, LEAST_BID, 0, 0),
    mk.ALL_PAY: (BY_BID, OWN_BID, 0, 1),
    mk.GSP: (BY_QUALITY, NEXT_BID, 1, 0),
    mk.VCG: (BY_QUALITY, HARM, 1, 0),
    mk.MYERSON: (BY_VIRTUAL_VALUE, LEAST_BID, 0, 0),
}
TABLE = np.zeros((max(_ROWS) + 1, 4), np.int8)
for _format, _row in _ROWS.items():
    TABLE[_format] = _row


@njit(cache=True, nogil=True)
def muldiv(a, b, c):  # type: ignore[no-untyped-def]
    """a * b // c for a >= 0 and 0 <= b, 0 < c, both at most 1e9, where the result fits int64."""
    return (a // c) * b + (a % c) * b // c


@njit(cache=True, nogil=True)
def muldiv_up(a, b, c):  # type: ignore[no-untyped-def]
    """a * b / c rounded up; UNREACHED when it is more, so that nothing overflows. Limits as in `muldiv`."""
    if float(a) * float(b) >= float(UNREACHED) * float(c):
        return np.int64(UNREACHED)
    return (a // c) * b + ((a % c) * b + c - 1) // c


@njit(cache=True, nogil=True)
def score_of(kind, bid, net_nano):  # type: ignore[no-untyped-def]
    """The score of a bidder (a BIDDING record) at an eCPM: the highest wins."""
    if kind == BY_BID:
        return net_nano
    if kind == BY_QUALITY:
        return muldiv(net_nano, bid.quality_ppm, PPM)
    if kind == BY_VIRTUAL_VALUE:
        return np.int64(bid.slope) * net_nano - bid.offset_nano
    return np.int64(0)


@njit(cache=True, nogil=True)
def least_bid(kind, bid, score):  # type: ignore[no-untyped-def]
    """The least eCPM with which this bidder reaches a score, 0 to UNREACHED."""
    return score if kind == BY_BID else least_bid_for(kind, bid, score)


@njit(cache=True, nogil=True)
def least_bid_for(kind, bid, score):  # type: ignore[no-untyped-def]
    """`least_bid` where the score is not the eCPM."""
    if kind == BY_QUALITY:
        return muldiv_up(max(score, np.int64(0)), PPM, bid.quality_ppm)
    if kind == BY_VIRTUAL_VALUE:
        slope = np.int64(bid.slope)
        return min(max(np.int64(0), -(-(score + bid.offset_nano) // slope)), np.int64(UNREACHED))
    return np.int64(0)


@njit(cache=True, nogil=True)
def price_of(kind, net_nano, next_nano, floor_nano, soft_nano, increment_nano):  # type: ignore[no-untyped-def]
    """What a winner pays, an eCPM: floor <= price <= net for any winner that reached its floor.

    kind: NEXT_BID, OWN_BID, SOFT_FLOOR or LEAST_BID; next_nano: the least bid that keeps its place, 0 = nobody behind.
    """
    if pays_own_bid(kind, net_nano, soft_nano):
        return net_nano
    least = floor_nano
    if kind == SOFT_FLOOR:
        least = max(least, soft_nano)
    if next_nano <= 0:
        return least
    if kind == LEAST_BID:
        return max(least, next_nano)
    return min(net_nano, max(least, next_nano + increment_nano))


@njit(cache=True, nogil=True)
def pays_own_bid(kind, net_nano, soft_nano):  # type: ignore[no-untyped-def]
    """Does a winner with this eCPM pay its own bid."""
    return kind == OWN_BID or (kind == SOFT_FLOOR and net_nano < soft_nano)


@njit(cache=True, nogil=True)
def tie_rank(seed, auction_id, imp_ix, entity):  # type: ignore[no-untyped-def]
    """The draw of one of several equal tops; the highest wins, whatever the order of the bids."""
    high, low, _, _ = draw(seed, auction_id, imp_ix, entity, TIE)
    return (high << np.uint64(32)) | low
