"""The end of a sale: find the winners, charge them, place the holds, let every rule that was asked learn."""

import numpy as np
from numba import carray, njit

from exchange import awards as aw
from exchange import market as mk
from exchange import state as st
from exchange.auction import formats as fm
from exchange.auction import rows
from exchange.auction.positions import NONE, assign, rate_of
from exchange.auction.weigh import event_price, per_impression, total_for
from exchange.bidding import call_learn
from exchange.openrtb import codes
from exchange.rent.waterfall import split, total_of

CONTACT, FEES, REMOTE = mk.CONTACT, mk.FEES, mk.REMOTE


@njit(cache=True, nogil=True)
def fee_ix(v, bid):  # type: ignore[no-untyped-def]
    """Which fee set applies to a bid: its campaign's, or its endpoint's."""
    return np.int64(st.campaign(v, bid.campaign).fees) if bid.campaign >= 0 else np.int64(bid.endpoint) + 1


@njit(cache=True, nogil=True)
def unsold(v, out, n_bids):  # type: ignore[no-untyped-def]
    """Write a SOLD record that says nobody has this position."""
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
    out.n_bids = n_bids
    out.runner_up_nano = 0
    out.advertiser = np.uint32(0)
    out.contacts = np.uint32(0)


@njit(cache=True, nogil=True, inline="always")
def judge(v, o, bids, n, order, out):  # type: ignore[no-untyped-def]
    """Find the winners among bids[:n] and their prices; write both into out, SOLD[n_slots], and the losers' fates.

    Returns how many positions were sold; order: int64[n_slots], the index of each one's bid.
    """
    n_bids = 0
    for i in range(n):
        n_bids += bids[i].gross_nano > 0
    for slot in range(v.n_slots):
        unsold(v, out[slot], n_bids)
    n_sold = assign(v, o, bids, n, order)
    if n_sold == 0:
        return n_sold
    ads = carray(st.at(v.ads), v.n_ads, mk.AD)
    price_kind = fm.TABLE[o.format, fm.PRICE]
    for slot in range(n_sold):
        bid, sold = bids[order[slot]], out[slot]
        slot_ppm = rate_of(v, o, slot)
        bid.event_nano = event_price(price_kind, bid, v.soft_floor_nano, slot_ppm)
        sold.price_nano = bid.event_nano
        sold.clearing_nano = per_impression(bid, sold.price_nano, slot_ppm)
        sold.runner_up_nano = max(bid.next_nano, bid.floor_nano)
        sold.slot = np.uint8(slot)
        sold.bill = bid.bill
        sold.campaign = bid.campaign
        sold.remote_ix = bid.remote_ix
        sold.advertiser = bid.advertiser
        if bid.ad >= 0:
            sold.creative = np.int32(bid.ad)
            sold.creative_id = ads[bid.ad].name
    for i in range(n):
        if bids[i].slot < 0 and bids[i].fate == codes.WON:
            bids[i].fate = np.uint16(codes.OUTBID)
    return n_sold


@njit(cache=True, nogil=True)
def full(v, o, n_sold):  # type: ignore[no-untyped-def]
    """Is every position of the imp sold."""
    return n_sold == (v.n_slots if fm.TABLE[o.format, fm.POSITIONS] else 1)


@njit(cache=True, nogil=True)
def bar_of(v, o, bids, order, n_sold):  # type: ignore[no-untyped-def]
    """The score a loser would have had to reach: that of the last position's price; NONE while a position is free."""
    if not full(v, o, n_sold):
        return np.int64(NONE)
    last = bids[order[n_sold - 1]]
    return fm.score_of(fm.TABLE[o.format, fm.SCORE], last, last.price_nano)


@njit(cache=True, nogil=True)
def needed_for(score_kind, bid, bar):  # type: ignore[no-untyped-def]
    """The least eCPM that keeps a winner's place, or would have won for a loser: never below its own floor."""
    if bid.fate == codes.WON:
        return max(bid.floor_nano, bid.next_nano)
    return bid.floor_nano if bar == NONE else max(bid.floor_nano, fm.least_bid(score_kind, bid, bar))


@njit(cache=True, nogil=True)
def answer(v, o, bids, n, bar):  # type: ignore[no-untyped-def]
    """Write into every remote bid among bids[:n] what it would have taken to win."""
    remote = carray(st.at(v.remote), v.remote_max, REMOTE)
    for i in range(n):
        if bids[i].remote_ix >= 0:
            remote[bids[i].remote_ix].min_to_win_nano = needed_for(fm.TABLE[o.format, fm.SCORE], bids[i], bar)


@njit(cache=True, nogil=True, inline="always")
def award(v, o, bids, n, order, n_sold, out):  # type: ignore[no-untyped-def]
    """Make the sale of an imp true: every position, then, where losers pay, what they pay.

    Returns what the seller may expect for the imp, all positions together.
    """
    if n_sold == 0:
        return np.int64(0)
    filtered, clearing = 0, np.int64(0)
    for i in range(n):
        filtered += bids[i].fate != codes.WON and bids[i].fate != codes.OUTBID
    v.n_sold += 1
    for slot in range(n_sold):
        sold = out[slot]
        sold.serial = v.serial
        sold.contacts = charge(v, o, bids[order[slot]], sold.n_bids, filtered, o.person_key)
        clearing += sold.clearing_nano
    if fm.TABLE[o.format, fm.LOSERS_PAY]:
        clearing += collect(v, o, bids, n, out[0].n_bids, filtered)
    v.clearing_nano += clearing
    return clearing


@njit(cache=True, nogil=True)
def charge(v, o, bid, n_bids, filtered, person_key):  # type: ignore[no-untyped-def]
    """Charge and record one award: split the price, write the rent row, place the hold. Returns contacts before it."""
    fee = carray(st.at(v.fees), v.n_fees, FEES)[fee_ix(v, bid)]
    total = total_of(fee, bid.event_nano)
    n_contacts = v.people_size * v.n_advertisers + v.pairs_size
    ix = aw.remember(v, bid.campaign, bid.advertiser, person_key)
    if ix < 0 and person_key != np.uint64(0):
        person_key = np.uint64(0)  # no room to remember another person: he stays unknown
        o.person_key = person_key
        v.n_unknown_people += 1
    # the slot behind the last is always blank: what is known of an unknown person
    before = carray(st.at(v.contacts), n_contacts + 1, CONTACT)[ix if ix >= 0 else n_contacts]
    contacts = before.contacts
    bid.paid_nano = per_impression(bid, total, rate_of(v, o, bid.slot))
    v.n_wins += 1
    if v.write:
        uses_data = bid.campaign >= 0 and st.campaign(v, bid.campaign).uses_data != 0
        parties = rows.win_row(v, o, bid, n_bids, total, filtered, before, person_key, uses_data, fee.name)
        split(fee, bid.event_nano, uses_data, parties)
        st.commit_row(v.wins_block)
    aw.hold(v, bid.campaign, bid.advertiser, person_key, ix, total, o.imp_ix, bid.slot, bid.bill)
    return contacts


@njit(cache=True, nogil=True)
def collect(v, o, bids, n, n_bids, filtered):  # type: ignore[no-untyped-def]
    """Let the local losers of an all-pay auction pay their bids: held and billed at once. Returns the sum.

    Their rows have no creative and no person: nothing was shown to anybody, so no contact is counted.
    """
    clearing, slot = np.int64(0), 1
    for i in range(n):
        bid = bids[i]
        if bid.campaign < 0 or bid.fate != codes.OUTBID:
            continue
        bid.slot = np.int16(slot)
        bid.event_nano = bid.net_nano
        bid.next_nano = 0
        serial = v.serial
        charge(v, o, bid, n_bids, filtered, np.uint64(0))
        st.campaign(v, bid.campaign).wins -= 1  # `hold` has counted one
        aw.happen(v, mk.KIND_IMPRESSION, serial, v.auction, v.now_ns, 0, 0)
        clearing += bid.event_nano
        slot += 1
    return clearing


@njit(cache=True, nogil=True, inline="always")
def teach(v, o, bids, n_local, bar, imps, result):  # type: ignore[no-untyped-def]
    """Call `learn` of every campaign that was asked, also when it did not bid; money is gross (what it pays).

    bids[:n_local] are the local ones; those withheld from a holdout were not asked.
    """
    fees = carray(st.at(v.fees), v.n_fees, FEES)
    rules = carray(st.at(v.rules), (v.n_rules, 3), np.int64)
    score_kind, best_ppm = fm.TABLE[o.format, fm.SCORE], rate_of(v, o, 0)
    for i in range(n_local):
        bid = bids[i]
        if bid.fate == codes.HOLDOUT:
            continue
        me = st.campaign(v, bid.campaign)
        result.won = bid.fate == codes.WON
        result.bid = bid.gross_nano
        result.price = bid.paid_nano
        result.min_to_win = 0
        if v.min_to_win:
            result.min_to_win = total_for(bid, fees[me.fees], needed_for(score_kind, bid, bar), best_ppm)
        call_learn(rules[me.rule, 1], bid.value_nano, imps[i], me, result)
