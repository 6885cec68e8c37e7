"""The journal rows of a sale, written straight into the open blocks of the journal by compiled code.

Order within a step: win, bids, and the imp's own auction row last; it is the commit mark that readers cut at.
"""

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st
from exchange.auction import formats as fm
from exchange.auction.positions import rate_of
from exchange.auction.weigh import bid_per_event, per_event
from exchange.audience import query as qy
from exchange.audience.bits import word_at
from exchange.openrtb import codes

AUCTION_ROW, BID_ROW, WIN_ROW = mk.AUCTION_ROW, mk.BID_ROW, mk.WIN_ROW
BLOCK_BYTES = mk.BLOCK.itemsize
WIN_BYTES = WIN_ROW.itemsize
PARTIES_AT = WIN_ROW.fields["agency_nano"][1]  # type: ignore[index]  # the ten party amounts stand side by side


@njit(cache=True, nogil=True)
def room(v, o):  # type: ignore[no-untyped-def]
    """May one more imp be sold: room in every open block and in the contact table. Returns a status."""
    v.wins_need = v.n_slots if fm.TABLE[o.format, fm.LOSERS_PAY] == 0 else v.n_campaigns + 1
    if v.write:
        if st.block_count(v.auctions_block) + 1 > v.auctions_rows:
            return st.ROLL
        if st.block_count(v.wins_block) + v.wins_need > v.wins_rows:
            return st.ROLL
        if st.block_count(v.events_block) + 2 * v.wins_need > v.events_rows:  # a release and, all_pay, a billing each
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
def auction_row(v, o, out, eligible, asked, clearing):  # type: ignore[no-untyped-def]
    """Append the imp's own row: the last of its step, hence its commit mark. out: SOLD of the best position."""
    count = st.block_count(v.auctions_block)
    row = carray(st.at(v.auctions_block + BLOCK_BYTES), v.auctions_rows, AUCTION_ROW)[count]
    st.stamp(v, row, mk.KIND_AUCTION, v.now_ns)
    row.auction_id = np.uint64(v.auction)
    row.person_key = o.person_key
    row.floor_nano = o.floor_nano
    row.clearing_nano = clearing
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
def segment_of(v, me):  # type: ignore[no-untyped-def]
    """Name of the first of the segments a campaign targets that the person of the query has; 0 = none."""
    targeted = carray(st.at(v.segments), v.n_segments, mk.SEGMENT)
    first = np.int64(word_at(v.query, qy.SEG))
    end = first + np.int64(word_at(v.query, qy.SEG + 1))
    for k in range(me.segment0, me.segment0 + me.n_segments):
        for at in range(first, end):
            if np.int64(word_at(v.query, at)) == targeted[k].value:
                return np.int64(targeted[k].name)
    return np.int64(0)


@njit(cache=True, nogil=True, inline="always")
def win_row(v, o, bid, n_bids, total, filtered, before, person_key, uses_data, fees):  # type: ignore[no-untyped-def]
    """Write the rent row of an award, all but the split; returns its ten party amounts for `split` to fill."""
    count = st.block_count(v.wins_block)
    row = carray(st.at(v.wins_block + BLOCK_BYTES), v.wins_rows, WIN_ROW)[count]
    parties = carray(st.at(v.wins_block + BLOCK_BYTES + count * WIN_BYTES + PARTIES_AT), 10, np.int64)
    st.stamp(v, row, mk.KIND_WIN, v.now_ns)
    row.auction_id = np.uint64(v.auction)
    row.serial = v.serial
    row.person_key = person_key
    slot_ppm = rate_of(v, o, bid.slot)
    row.value_nano = bid.value_nano if slot_ppm == fm.PPM else fm.muldiv(bid.value_nano, slot_ppm, fm.PPM)
    row.bid_nano = bid_per_event(bid, slot_ppm)
    row.clearing_nano = bid.event_nano
    row.second_nano = per_event(bid, bid.next_nano, slot_ppm)
    row.floor_nano = per_event(bid, bid.floor_nano, slot_ppm)
    row.price_to_win_nano = per_event(bid, max(bid.next_nano, bid.floor_nano), slot_ppm)
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
        me = st.campaign(v, bid.campaign)
        row.campaign = me.id
        row.purpose = me.purpose
        row.pctr_ppb = np.uint32(bid.pctr_ppb)
        row.pcvr_ppb = np.uint32(bid.pcvr_ppb)
    won = bid.fate == codes.WON
    row.creative = np.int32(-1)
    if won and bid.ad >= 0:
        row.creative = carray(st.at(v.ads), v.n_ads, mk.AD)[bid.ad].name
    row.advertiser = bid.advertiser
    row.seat = bid.seat
    row.publisher = o.publisher
    row.domain = o.domain
    row.deal = np.uint32(0)
    row.segment = np.uint32(segment_of(v, st.campaign(v, bid.campaign)) if bid.campaign >= 0 and won else 0)
    row.fees = np.uint16(fees)
    row.endpoint = bid.endpoint
    row.imp_ix = o.imp_ix
    row.n_bids = np.uint16(min(n_bids, 65_535))
    row.n_timeouts = np.uint16(o.n_timeouts)
    row.n_filtered = np.uint16(min(filtered, 65_535))
    row.slot = np.uint8(bid.slot)
    row.bill = bid.bill
    row.price_rule = o.format
    row.flags = np.uint8(0) if won else np.uint8(mk.FLAG_LOST)
    if before.flags & np.uint16(mk.OWN):
        row.flags |= np.uint8(mk.FLAG_OWN)
    if uses_data:
        row.flags |= np.uint8(mk.FLAG_DATA)
    return parties
