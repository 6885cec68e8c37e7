"""The rows of the journal, each shape defined once; every row starts with HEAD."""

from typing import Final

import numpy as np

from exchange.market.money import Fields, shape
from exchange.market.sale import PARTIES

HEAD: Final[Fields] = [
    ("seq", "u8"),
    ("ts_ns", "i8"),
    ("config_version", "u4"),
    ("snapshot_version", "u4"),
    ("worker", "u2"),
    ("kind", "u2"),
]
KIND_AUCTION: Final = 1
KIND_BID: Final = 2
KIND_WIN: Final = 3
KIND_IMPRESSION: Final = 10  # billed: settles the hold
KIND_CLICK: Final = 11
KIND_RELEASE: Final = 12  # the hold expired
KIND_UNPAID: Final = 13  # the billable event after its hold was gone; posts nothing
KIND_VIEW: Final = 14  # an impression that is not the billable event (bill = "click")
KIND_BILLED_CLICK: Final = 15  # the click of an award billed by the click: settles the hold
KIND_CONVERSION: Final = 16
KIND_BILLED_CONVERSION: Final = 17
BILLING: Final = (KIND_IMPRESSION, KIND_BILLED_CLICK, KIND_BILLED_CONVERSION)  # the rows that post money
CLICKS: Final = (KIND_CLICK, KIND_BILLED_CLICK)
CONVERSIONS: Final = (KIND_CONVERSION, KIND_BILLED_CONVERSION)
KIND_OPT_IN: Final = 18  # the person agreed to be contacted by the advertiser himself
KIND_OPT_OUT: Final = 19  # and withdrew that
KIND_REQUEST: Final = 20  # inputs
KIND_LINK: Final = 21
KIND_TICK: Final = 22
KIND_CHANGE: Final = 23  # a campaign came, changed or went
KIND_REFUND: Final = 24  # an event: money of a billed award goes back, all of it or part
KIND_POST: Final = 25  # an input: events that a server sent
KINDS: Final = {
    KIND_AUCTION: "auction",
    KIND_BID: "bid",
    KIND_WIN: "win",
    KIND_IMPRESSION: "impression",
    KIND_CLICK: "click",
    KIND_RELEASE: "release",
    KIND_UNPAID: "unpaid",
    KIND_VIEW: "view",
    KIND_BILLED_CLICK: "billed click",
    KIND_CONVERSION: "conversion",
    KIND_BILLED_CONVERSION: "billed conversion",
    KIND_REQUEST: "request",
    KIND_LINK: "link",
    KIND_TICK: "tick",
    KIND_CHANGE: "change",
    KIND_OPT_IN: "opt in",
    KIND_OPT_OUT: "opt out",
    KIND_REFUND: "refund",
    KIND_POST: "post",
}

AUCTION_ROW: Final = shape(
    [
        *HEAD,
        ("auction_id", "u8"),
        ("person_key", "u8"),
        ("floor_nano", "i8"),
        ("clearing_nano", "i8"),  # per impression, all positions together; 0 = unsold
        ("publisher", "u4"),
        ("domain", "u4"),
        ("size", "u4"),
        ("n_eligible", "u4"),  # local campaigns whose audience this is
        ("n_asked", "u4"),
        ("n_bids", "u4"),  # with a price: local and remote, screened-out ones included
        ("imp_ix", "u2"),
        ("country", "u2"),
        ("media", "u1"),
        ("device", "u1"),
        ("hour", "u1"),
        ("sold", "u1"),  # 1 = at least one position
        ("n_timeouts", "u1"),
        ("format", "u2"),
    ]
)
BID_ROW: Final = shape(
    [
        *HEAD,
        ("auction_id", "u8"),
        ("value_nano", "i8"),  # valuation of the campaign per impression, gross; 0 = remote
        ("gross_nano", "i8"),  # what the buyer bid; remote bids arrive net, so equal to net
        ("net_nano", "i8"),
        ("campaign", "i4"),  # id; -1 = remote
        ("advertiser", "u4"),
        ("seat", "u4"),
        ("endpoint", "i2"),  # -1 = local
        ("imp_ix", "u2"),
        ("fate", "u2"),
    ]
)
WIN_ROW: Final = shape(
    [
        *HEAD,
        ("auction_id", "u8"),
        ("serial", "i8"),
        ("person_key", "u8"),
        ("value_nano", "i8"),  # the winner's valuation per impression, gross; 0 = remote
        # what follows is per billable event of the award (`bill`)
        ("bid_nano", "i8"),  # net
        ("clearing_nano", "i8"),
        ("second_nano", "i8"),  # best net bid behind it, of another seat, in its own terms; 0 = none
        ("floor_nano", "i8"),
        ("price_to_win_nano", "i8"),
        ("buyer_total_nano", "i8"),
        *[(f"{party}_nano", "i8") for party in PARTIES],
        ("cum_rent_nano", "i8"),  # billed to this advertiser for this person before this auction
        ("expires_ns", "i8"),
        ("campaign", "i4"),
        ("creative", "i4"),
        ("advertiser", "u4"),
        ("seat", "u4"),
        ("publisher", "u4"),
        ("domain", "u4"),
        ("deal", "u4"),
        ("contacts", "u4"),  # billed before this auction; 0 = new
        ("since_last_s", "u4"),
        ("pctr_ppb", "u4"),
        ("pcvr_ppb", "u4"),
        ("segment", "u4"),  # the first of the segments its campaign targets that the person has; 0 = none targeted
        ("fees", "u2"),  # name of the fee set that split it (kind "fees"): independent of what the config says later
        ("endpoint", "i2"),
        ("imp_ix", "u2"),
        ("n_bids", "u2"),
        ("n_timeouts", "u2"),
        ("n_filtered", "u2"),
        ("price_rule", "u2"),  # one of FORMATS
        ("slot", "u1"),
        ("bill", "u1"),  # BILL_*
        ("purpose", "u1"),
        ("flags", "u1"),
    ]
)
FLAG_OWN: Final = 1  # WIN_ROW.flags
FLAG_LOST: Final = 2  # all_pay: a loser that pays; no person, no creative, billed at once
FLAG_DATA: Final = 4  # the campaign targets segments: the demand technology fee is a data fee
EVENT_ROW: Final = shape(
    [
        *HEAD,
        ("auction_id", "u8"),
        ("serial", "i8"),
        ("person_key", "u8"),
        ("paid_nano", "i8"),  # buyer's total that this event posts; below 0 for a refund, 0 where nothing is billed
        ("cum_rent_nano", "i8"),  # after this event
        ("campaign", "i4"),
        ("advertiser", "u4"),
        ("contact_n", "u4"),  # 1 = first; 0 = not billed or person unknown
        ("imp_ix", "u2"),
        ("slot", "u1"),
        ("number", "u1"),  # of the refund: 1 = the award's first; 0 = no refund
    ]
)
BLOCK: Final = shape(
    [
        ("magic", "u4"),
        ("format", "u2"),
        ("stream", "u2"),
        ("first_seq", "u8"),
        ("count", "i8"),
        ("bytes", "i8"),  # of payload: used when closed, reserved while open
        ("checksum", "u4"),  # crc32 of the payload; 0 while open
        ("row_bytes", "u4"),  # 0 = length-prefixed records
        ("worker", "u2"),
        ("closed", "u2"),
        ("spare0", "u4"),
        ("spare1", "u8"),
        ("spare2", "u8"),
    ]
)
STREAMS: Final[dict[str, np.dtype[np.void] | None]] = {
    "auctions": AUCTION_ROW,
    "bids": BID_ROW,
    "wins": WIN_ROW,
    "events": EVENT_ROW,
    "inputs": None,
}
