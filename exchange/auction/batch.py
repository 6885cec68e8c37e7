"""Clearing of many auctions at once, from a plain matrix of net bids: for theory, teaching and benchmarks.

The rule is that of formats.py in its second price form: the winner is the highest bid that reaches the floor, equal
tops are settled by the keyed draw, the price is max(floor, runner-up + increment) and never above the winner's own bid.
Every column is a bidder with a seat of its own. The fast pass has no branch on the bids; only rows with a tie do more.
"""

import numpy as np
from numba import njit

from exchange.auction.formats import tie_rank


@njit(cache=True, nogil=True)
def settle_tie(bids, row, top, seed, auction_id):  # type: ignore[no-untyped-def]
    """The column that wins the draw among those that bid `top` in this row."""
    best, rank = -1, np.uint64(0)
    for column in range(bids.shape[1]):
        if bids[row, column] == top:
            other = tie_rank(seed, auction_id, 0, column)
            if best < 0 or other > rank:
                best, rank = column, other
    return best


@njit(cache=True, nogil=True)
def clear_many(bids, floor_nano, increment_nano, seed, first_auction, out_winner, out_price):  # type: ignore[no-untyped-def]
    """Clear auction `first_auction + row` for every row of bids, int64[n, k] net nano; 0 = no bid.

    Writes the winning column (-1 = unsold) into out_winner, int32[n], and what it pays, nano, into out_price, int64[n].
    Entity of a bid in the draw = its column, imp = 0. Bids are at most PRICE_MAX_NANO, floor_nano is 0 or more.
    """
    none = max(np.int64(floor_nano), np.int64(1)) - 1  # the highest bid that is none
    for row in range(bids.shape[0]):
        top, second, best = none, none, np.int64(-1)
        for column in range(bids.shape[1]):
            bid = bids[row, column]
            second = max(second, min(top, bid))
            best = np.int64(column) if bid > top else best
            top = max(top, bid)
        if second == top and top > none:
            best = settle_tie(bids, row, top, seed, first_auction + row)
        price = max(np.int64(floor_nano), second + increment_nano) if second > none else np.int64(floor_nano)
        out_winner[row] = best
        out_price[row] = min(top, price) if top > none else 0
