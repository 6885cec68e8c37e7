"""The batch clearing kernel gives what the auction's own parts give, row by row."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.auction import formats, positions
from exchange.auction.batch import clear_many
from exchange.openrtb import codes

matrices = st.integers(1, 7).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 6), min_size=k, max_size=k), min_size=1, max_size=8)
)


def naive(row: list[int], floor: int, increment: int, seed: int, auction: int) -> tuple[int, int]:
    """Winner and price of one auction by the kernels of the real one."""
    bids = np.zeros(len(row), formats.BIDDING)
    for column, bid in enumerate(row):
        fate = codes.NO_BID if bid <= 0 else codes.BELOW_FLOOR if bid < floor else codes.WON
        bids[column]["net_nano"], bids[column]["entity"] = bid, column
        bids[column]["score"], bids[column]["slot"] = bid, -1
        bids[column]["seat"], bids[column]["fate"] = column + 1, fate
    winner = positions.winner_of(bids, len(row), seed, auction, 0)
    if winner < 0:
        return -1, 0
    bids[winner]["slot"] = 0
    second = max(0, positions.runner_up(bids, len(row), winner, True))
    return winner, formats.price_of(formats.NEXT_BID, row[winner], second, floor, 0, increment)


def batch(rows: list[list[int]], floor: int, increment: int, seed: int, first: int) -> list[tuple[int, int]]:
    """The same by the batch kernel."""
    bids = np.array(rows, np.int64)
    winner, price = np.full(len(rows), 99, np.int32), np.full(len(rows), 99, np.int64)
    clear_many(bids, floor, increment, seed, first, winner, price)
    return list(zip(winner.tolist(), price.tolist(), strict=True))


@settings(derandomize=True, deadline=None, max_examples=400)
@given(matrices, st.integers(0, 5), st.integers(0, 3), st.integers(0, 2**40), st.integers(0, 2**50))
def test_rows_clear_as_single_auctions_do(rows, floor, increment, seed, first):
    expected = [naive(row, floor, increment, seed, first + ix) for ix, row in enumerate(rows)]
    assert batch(rows, floor, increment, seed, first) == expected


def test_the_price_by_hand():
    assert batch([[5, 9, 7]], 2, 1, 0, 0) == [(1, 8)]
    assert batch([[5, 9, 7]], 8, 1, 0, 0) == [(1, 8)], "a bid below the floor raises no price"
    assert batch([[0, 9, 0]], 0, 1, 0, 0) == [(1, 0)], "alone, he pays the floor"
    assert batch([[0, 0, 3]], 4, 0, 0, 0) == [(-1, 0)]
    assert batch([[9, 8]], 0, 5, 0, 0) == [(0, 9)], "never above his own bid"


def test_a_tie_is_a_draw_that_everyone_wins_sometimes():
    n = 3_000
    found = batch([[4, 6, 6, 6, 1]] * n, 0, 2, 7, 1)
    assert {price for _, price in found} == {6}
    counts = np.bincount([winner for winner, _ in found], minlength=5)
    assert counts[0] == counts[4] == 0
    assert all(abs(int(count) - n / 3) < 5 * (n * 2 / 9) ** 0.5 for count in counts[1:4])
