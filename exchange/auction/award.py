"""The end of a sale: find the winner, charge him, place the hold, let every rule that was asked learn."""

import numpy as np
from numba import carray, njit

from exchange import awards as aw
from exchange import market as mk
from exchange import state as st
from exchange.auction import rows
from exchange.auction.formats import clearing, runner_up, winner_of
from exchange.bidding import call_learn
from exchange.openrtb import codes
from exchange.rent.waterfall import split, total_of

CONTACT, FEES = mk.CONTACT, mk.FEES


@njit(cache=True, nogil=True)
def fee_ix(v, bid):  # type: ignore[no-untyped-def]
    """Which fee set applies to a bid: the campaign's, or (behind all campaigns) its endpoint's."""
    return bid.campaign if bid.campaign >= 0 else v.n_campaigns + bid.endpoint


@njit(cache=True, nogil=True)
def judge(v, o, bids, n, out):  # type: ignore[no-untyped-def]
    """Find the winner among bids[:n] and his price; write both and the losers' fates.

    Returns (his index or -1, the best bid of another seat or 0).
    """
    out.auction_id = np.uint64(v.auction)
    out.serial = -1
    out.clearing_nano = 0
    out.price_nano = 0
    out.bill = np.uint8(0)
    out.slot = np.uint8(0)
    out.campaign = -1
    out.creative = -1
    out.creative_id = -1
    out.remote_ix = -1
    out.n_bids = 0
    for i in range(n):
        out.n_bids += bids[i].gross_nano > 0
    out.min_to_win_nano = o.floor_nano
    out.runner_up_nano = 0
    out.advertiser = np.uint32(0)
    out.contacts = np.uint32(0)
    winner = winner_of(bids, n, v.seed, v.auction, o.imp_ix)
    if winner < 0:
        return winner, np.int64(0)
    top = bids[winner]
    second = runner_up(bids, n, winner, v.other_seat)
    out.clearing_nano = clearing(o.format, top.net_nano, second, top.floor_nano, v.increment_nano)
    out.price_nano = out.clearing_nano
    out.runner_up_nano = max(second, top.floor_nano)
    out.min_to_win_nano = out.clearing_nano
    out.campaign = top.campaign
    out.remote_ix = top.remote_ix
    out.advertiser = top.advertiser
    if top.line >= 0:
        lines = carray(st.at(v.lines), (v.n_lines, 3), np.int32)
        out.creative = lines[top.line, 1]
        out.creative_id = lines[top.line, 2]
    for i in range(n):
        if i != winner and bids[i].fate == codes.WON:
            bids[i].fate = np.uint16(codes.OUTBID)
    return winner, second


@njit(cache=True, nogil=True)
def award(v, campaigns, o, bids, n, winner, second, out):  # type: ignore[no-untyped-def]
    """Charge and record a win: split the price, write the rent row, place the hold. Returns the buyer's total."""
    bid = bids[winner]
    fee = carray(st.at(v.fees), v.n_campaigns + v.n_endpoints + 1, FEES)[fee_ix(v, bid)]
    total = total_of(fee, out.clearing_nano)
    n_contacts = v.people_size * v.n_advertisers + v.pairs_size
    ix = aw.remember(v, campaigns, bid.campaign, bid.advertiser, o.person_key)
    if ix < 0 and o.person_key != np.uint64(0):
        o.person_key = np.uint64(0)  # no room to remember another person: he stays unknown
        v.n_unknown_people += 1
    # the slot behind the last is always blank: what is known of an unknown person
    before = carray(st.at(v.contacts), n_contacts + 1, CONTACT)[ix if ix >= 0 else n_contacts]
    out.contacts = before.contacts
    out.serial = v.serial
    v.n_sold += 1
    v.clearing_nano += out.clearing_nano
    if v.write:
        filtered = 0
        for i in range(n):
            filtered += bids[i].fate != codes.WON and bids[i].fate != codes.OUTBID
        parties = rows.win_row(v, campaigns, o, bid, out, total, second, filtered, before)
        uses_data = bid.campaign >= 0 and campaigns[bid.campaign].uses_data != 0
        split(fee, out.clearing_nano, uses_data, parties)
        st.commit_row(v.wins_block)
    bill = campaigns[bid.campaign].bill if bid.campaign >= 0 else np.uint8(mk.BILL_IMPRESSION)
    aw.hold(v, campaigns, bid.campaign, bid.advertiser, o.person_key, total, o.imp_ix, 0, bill)
    return total


@njit(cache=True, nogil=True)
def teach(v, campaigns, bids, n_local, winner, total, out, imps, result):  # type: ignore[no-untyped-def]
    """Call `learn` of every campaign that was asked, also when it did not bid; money is gross (what it pays).

    bids[:n_local] are the local ones; those withheld from a holdout were not asked.
    """
    fees = carray(st.at(v.fees), v.n_campaigns + v.n_endpoints + 1, FEES)
    rules = carray(st.at(v.rules), (v.n_rules, 3), np.int64)
    for i in range(n_local):
        if bids[i].fate == codes.HOLDOUT:
            continue
        me = campaigns[bids[i].campaign]
        result.won = i == winner
        result.bid = bids[i].gross_nano
        result.price = total if i == winner else np.int64(0)
        result.min_to_win = 0
        if v.min_to_win:
            needed = out.runner_up_nano if i == winner else out.min_to_win_nano
            result.min_to_win = total_of(fees[bids[i].campaign], needed)
        call_learn(rules[me.rule, 1], bids[i].value_nano, imps[i], me, result)
