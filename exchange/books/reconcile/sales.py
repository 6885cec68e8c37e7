"""Reconcile, sale by sale (I6): auctions, wins and bids say the same of who won, how often, and at what price."""

import numpy as np

from exchange import market as m
from exchange.books.breakdown import of_losers
from exchange.books.keys import Index
from exchange.books.reconcile.streams import Breaks, Streams, mask_of
from exchange.openrtb.codes import WON


def sold(streams: Streams) -> Breaks:
    """I6: one win per (auction, imp, slot), and exactly one auction row says it was sold."""
    wins, auctions = streams.wins, streams.auctions
    of_win, of_auction = streams.of_win, streams.of_auction
    yield "I6", "wins", wins, mask_of(of_win.repeats(), wins), "auction_id", "one win per award", "another"
    yield (
        "I6",
        "auctions",
        auctions,
        mask_of(of_auction.repeats(), auctions),
        "auction_id",
        "one row per imp",
        "another",
    )
    row = of_auction.find(wins)
    is_sold = (row >= 0) & (auctions["sold"][row] == 1) if len(auctions) else np.zeros(len(wins), bool)
    missing = ~is_sold & ~streams.dropped(wins, "auctions")
    yield "I6", "wins", wins, missing, "auction_id", "an auction row with sold = 1", "none"
    for field in ("publisher", "domain", "ts_ns", "person_key") if len(auctions) else ():
        there = auctions[field][row]
        other = (row >= 0) & (wins[field] != there)
        if field == "person_key":  # the losers that an all-pay auction charges have shown nobody anything
            other &= (wins["flags"] & m.FLAG_LOST) == 0
            yield "I6", "wins", wins, other, field, "the person of its auction", "another"
        else:
            yield "I6", "wins", wins, other, field, there, wins[field]
    wins_of = np.bincount(row[row >= 0], minlength=len(auctions))
    yield "I6", "auctions", auctions, (auctions["sold"] == 1) & (wins_of == 0), "sold", "a win row", "none"
    if is_sold.any():
        known = row >= 0
        sums = np.zeros(len(auctions), np.int64)
        np.add.at(sums, row[known], wins["clearing_nano"][known])
        # what a click or a conversion costs is no price per impression: such imps have no sum to compare
        per_event = np.bincount(row[known & (wins["bill"] != m.BILL_IMPRESSION)], minlength=len(auctions)) > 0
        price = auctions["clearing_nano"][row]
        broken = is_sold & ~per_event[row] & (price != sums[row])
        yield "I6", "wins", wins, broken, "clearing_nano", price, sums[row]


def bids_kept(streams: Streams) -> Breaks:
    """I6, where bids are kept: as many bids with fate `won` as wins, and the winning bid is that bid.

    The losers that an all-pay auction charges have rows among the wins; they have not won.
    """
    bids, wins, auctions = streams.bids, streams.wins, streams.auctions
    if not len(bids):
        return
    of_auction = streams.of_auction
    row = of_auction.find(bids)
    yield "I6", "bids", bids, (row < 0) & ~streams.dropped(bids, "auctions"), "auction_id", "an auction row", "none"
    kept = np.bincount(row[row >= 0], minlength=len(auctions)) > 0  # an earlier run may have kept no bids
    kept &= ~streams.dropped(auctions, "bids")
    counted = np.bincount(row[(row >= 0) & (bids["gross_nano"] > 0)], minlength=len(auctions))
    broken = kept & (counted != auctions["n_bids"])
    yield "I6", "auctions", auctions, broken, "n_bids", counted, auctions["n_bids"]
    is_won = bids["fate"] == WON
    n_won = np.bincount(row[is_won & (row >= 0)], minlength=len(auctions))
    losers = of_losers(wins)
    if losers.any():
        wins = wins[~losers]
    at = of_auction.find(wins)
    n_wins = np.bincount(at[at >= 0], minlength=len(auctions))
    broken = kept & (counted > 0) & (n_won != n_wins)
    yield "I6", "auctions", auctions, broken, "bids with fate won", n_wins, n_won
    won = bids[is_won]
    win = Index(wins, by_slot=False).find(won)
    if len(wins):
        broken = (win >= 0) & (np.bincount(np.maximum(win, 0), minlength=len(wins))[win] == 1)
        for field in ("campaign", "advertiser", "seat", "endpoint"):
            there = wins[field][win]
            yield "I6", "bids", won, broken & (won[field] != there), field, there, won[field]
        # in positions, and per click, a bid stands in the rent row as what it comes to there
        alike = ~np.isin(wins["price_rule"], (m.GSP, m.VCG)) & (wins["bill"] == m.BILL_IMPRESSION)
        broken &= alike[win] & (wins["bid_nano"][win] != won["net_nano"])
        yield "I6", "bids", won, broken, "net_nano", wins["bid_nano"][win], won["net_nano"]
