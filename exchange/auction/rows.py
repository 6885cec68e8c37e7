"""The journal rows of a sale, written straight into the open blocks of the journal by compiled code.

Order within a step: win, bids, and the imp's own auction row last; it is the commit mark that readers cut at.
"""

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st

AUCTION_ROW, BID_ROW, WIN_ROW = mk.AUCTION_ROW, mk.BID_ROW, mk.WIN_ROW
BLOCK_BYTES = mk.BLOCK.itemsize
WIN_BYTES = WIN_ROW.itemsize
PARTIES_AT = WIN_ROW.fields["agency_nano"][1]  # type: ignore[index]  # the ten party amounts stand side by side


@njit(cache=True, nogil=True)
def room(v):  # type: ignore[no-untyped-def]
    """May one more imp be sold: room in every open block and in the contact table. Returns a status."""
    if v.write:
        if st.block_count(v.auctions_block) + 1 > v.auctions_rows or st.block_count(v.wins_block) + 1 > v.wins_rows:
            return st.ROLL
        if st.events_full(v):
            return st.ROLL
        if v.write_bids and st.block_count(v.bids_block) + v.n_campaigns + v.n_remote > v.bids_rows:
            return st.ROLL
    if st.crowded(v):
        return st.GROW
    return st.DONE


@njit(cache=True, nogil=True)
def bid_row(v, o, bid, campaign_id):  # type: ignore[no-untyped-def]
    """Append one bid with its fate."""
    count = st.block_count(v.bids_block)
    row = carray(st.at(v.bids_block + BLOCK_BYTES), v.bids_rows, BID_ROW)[count]
    st.stamp(v, row, mk.KIND_BID, v.now_ns)
    row.auction_id = np.uint64(v.auction)
    row.value_nano = bid.value_nano
    row.gross_nano = bid.gross_nano
    row.net_nano = bid.net_nano
    row.campaign = campaign_id
    row.advertiser = bid.advertiser
    row.seat = bid.seat
    row.endpoint = bid.endpoint
    row.imp_ix = o.imp_ix
    row.fate = bid.fate
    st.commit_row(v.bids_block)


@njit(cache=True, nogil=True)
def auction_row(v, o, out, eligible, asked):  # type: ignore[no-untyped-def]
    """Append the imp's own row: the last of its step, hence its commit mark."""
    count = st.block_count(v.auctions_block)
    row = carray(st.at(v.auctions_block + BLOCK_BYTES), v.auctions_rows, AUCTION_ROW)[count]
    st.stamp(v, row, mk.KIND_AUCTION, v.now_ns)
    row.auction_id = np.uint64(v.auction)
    row.person_key = o.person_key
    row.floor_nano = o.floor_nano
    row.clearing_nano = out.clearing_nano if out.serial >= 0 else 0
    row.publisher = o.publisher
    row.domain = o.domain
    row.size = o.size
    row.n_eligible = np.uint32(eligible)
    row.n_asked = np.uint32(asked)
    row.n_bids = np.uint32(out.n_bids)
    row.imp_ix = o.imp_ix
    row.country = o.country
    row.media = o.media
    row.device = o.device
    row.hour = o.hour
    row.format = o.format
    row.sold = np.uint8(out.serial >= 0)
    row.n_timeouts = o.n_timeouts
    st.commit_row(v.auctions_block)


@njit(cache=True, nogil=True)
def win_row(v, campaigns, o, bid, out, total, second, filtered, before):  # type: ignore[no-untyped-def]
    """Write the rent row of a win, all but the split; returns its ten party amounts for `split` to fill."""
    count = st.block_count(v.wins_block)
    row = carray(st.at(v.wins_block + BLOCK_BYTES), v.wins_rows, WIN_ROW)[count]
    parties = carray(st.at(v.wins_block + BLOCK_BYTES + count * WIN_BYTES + PARTIES_AT), 10, np.int64)
    st.stamp(v, row, mk.KIND_WIN, v.now_ns)
    row.auction_id = np.uint64(v.auction)
    row.serial = out.serial
    row.person_key = o.person_key
    row.value_nano = bid.value_nano
    row.bid_nano = bid.net_nano
    row.clearing_nano = out.clearing_nano
    row.second_nano = second
    row.floor_nano = o.floor_nano
    row.price_to_win_nano = out.runner_up_nano
    row.buyer_total_nano = total
    row.cum_rent_nano = before.cum_rent_nano
    row.contacts = before.contacts
    row.since_last_s = np.uint32(0)
    if before.contacts > 0:
        row.since_last_s = np.uint32(max(0, v.now_ns // mk.NANO - np.int64(before.last_s)))
    row.expires_ns = v.now_ns + v.hold_ns
    row.campaign = np.int32(-1)
    row.purpose = np.uint8(0)
    row.pctr_ppb = np.uint32(0)
    row.pcvr_ppb = np.uint32(0)
    if bid.campaign >= 0:
        me = campaigns[bid.campaign]
        row.campaign = me.id
        row.purpose = me.purpose
        row.pctr_ppb = np.uint32(o.pctr_ppb if o.pctr_ppb > 0 else me.pctr_ppb)
        row.pcvr_ppb = me.pcvr_ppb
    row.creative = out.creative_id
    row.advertiser = bid.advertiser
    row.seat = bid.seat
    row.publisher = o.publisher
    row.domain = o.domain
    row.deal = np.uint32(0)
    row.endpoint = bid.endpoint
    row.imp_ix = o.imp_ix
    row.n_bids = np.uint16(min(out.n_bids, 65_535))
    row.n_timeouts = np.uint16(o.n_timeouts)
    row.n_filtered = np.uint16(min(filtered, 65_535))
    row.slot = np.uint8(0)
    row.bill = np.uint8(0)
    row.price_rule = o.format
    row.flags = np.uint8(mk.FLAG_OWN) if before.flags & np.uint16(mk.OWN) else np.uint8(0)
    return parties
