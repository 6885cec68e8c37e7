"""The shapes of the market, each defined once, and the rule for money.

Inside the exchange everything is an integer or lies in an array. Money is int64 *nano-currency* (`_nano`);
for a price per impression that is the same integer as micro-CPM: EUR 4.00 CPM = 4_000_000. A float CPM
exists only at the border, and there floors round up, bids down, and prices quoted back down.
"""

import struct
from math import ceil, floor
from typing import Final

import numpy as np

NANO: Final = 10**9
PRICE_MAX_NANO: Final = 10**12  # per impression; keeps price x basis points within int64
BUDGET_MAX_NANO: Final = 10**17
RATE_ONE_PPM: Final = 10**6
ORDER: Final = {
    "i1": "b",
    "u1": "B",
    "i2": "h",
    "u2": "H",
    "i4": "i",
    "u4": "I",
    "i8": "q",
    "u8": "Q",
    "f8": "d",
}
Fields = list[tuple[str, str]]


def shape(fields: Fields) -> np.dtype[np.void]:
    """Return the aligned record type of a field list `[(name, "i8"), ...]`."""
    return np.dtype(fields, align=True)


def packer(dtype: np.dtype[np.void]) -> struct.Struct:
    """Return the `struct.Struct` that writes one record of `dtype`: the fast way in from Python.

    Only scalar fields; padding is written as zeros, so equal values give equal bytes.
    """
    text, at = "=", 0
    for name in dtype.names or ():
        kind, offset = dtype.fields[name][:2]  # type: ignore[index]
        text += "x" * (offset - at) + ORDER[kind.str[1:]]
        at = offset + kind.itemsize
    return struct.Struct(text + "x" * (dtype.itemsize - at))


# ---- money -------------------------------------------------------------------------------------------------


def cpm_up(cpm: float) -> int:
    """Nano per impression of a float CPM below 1e15, rounded up (floors). 0.85 gives exactly 850_000."""
    nano = round(cpm * 1e6)
    return nano if nano / 1e6 == cpm else ceil(cpm * 1e6)


def cpm_down(cpm: float) -> int:
    """Nano per impression of a float CPM below 1e15, rounded down (bids)."""
    nano = round(cpm * 1e6)
    return nano if nano / 1e6 == cpm else floor(cpm * 1e6)


def convert_up(nano: int, rate_ppm: int) -> int:
    """Into the ledger currency, rounded up: `nano` of a currency worth `rate_ppm` millionths of ours."""
    return -(-nano * rate_ppm // RATE_ONE_PPM)


def convert_down(nano: int, rate_ppm: int) -> int:
    """Into the ledger currency, rounded down."""
    return nano * rate_ppm // RATE_ONE_PPM


def quote_down(nano: int, rate_ppm: int) -> int:
    """Out of the ledger currency, rounded down, so that price <= bid holds in the bidder's currency too."""
    return nano * RATE_ONE_PPM // rate_ppm


# ---- what is for sale --------------------------------------------------------------------------------------

# One imp on its way into `sell`; filled by `market.opportunity` live and by the population in a simulation.
OPPORTUNITY: Final = shape(
    [
        ("person_key", "u8"),
        ("floor_nano", "i8"),
        ("publisher", "u4"),
        ("domain", "u4"),
        ("size", "u4"),  # width << 16 | height of the first size
        ("country", "u2"),  # two letters, first << 8 | second; 0 = unknown
        ("imp_ix", "u2"),
        ("media", "u1"),
        ("device", "u1"),
        ("hour", "u1"),
        ("format", "u1"),  # FORMAT_* below
        ("test", "u1"),  # 1 = hold the auction, change nothing
        ("n_timeouts", "u1"),
    ]
)
SECOND_PRICE: Final = 2  # the numbers of OpenRTB BidRequest.at
FIRST_PRICE: Final = 1
FORMATS: Final = {"first_price": FIRST_PRICE, "second_price": SECOND_PRICE}

# One bid of a remote endpoint after `openrtb.screen`: net nano, in the order endpoint, seatbid, bid.
REMOTE: Final = shape(
    [
        ("net_nano", "i8"),
        ("entity", "u8"),  # keyed hash of (seat, bid id): decides ties
        ("floor_nano", "i8"),  # of the deal it names, 0 = the imp's; it pays at least the higher of the two
        ("seat", "u4"),
        ("advertiser", "u4"),
        ("endpoint", "u2"),
        ("imp_ix", "u2"),
        ("fate", "u2"),  # WON (0) = may compete; else why not
    ]
)

# What `sell` answers for one imp.
SOLD: Final = shape(
    [
        ("auction_id", "u8"),
        ("serial", "i8"),  # award serial; -1 = unsold
        ("clearing_nano", "i8"),
        ("min_to_win_nano", "i8"),  # what a loser would have needed; 0 = unsold without a bid
        ("runner_up_nano", "i8"),  # the winner's own MIN_TO_WIN
        ("campaign", "i4"),  # index; -1 = a remote bid won
        ("creative", "i4"),  # index into the venue's creatives
        ("creative_id", "i4"),
        ("remote_ix", "i4"),  # index into the REMOTE rows handed in; -1 = a local campaign won
        ("n_bids", "i4"),
        ("advertiser", "u4"),
        ("contacts", "u4"),  # before this auction
    ]
)

# ---- what a rule sees --------------------------------------------------------------------------------------

IMP: Final = shape(
    [
        ("now", "i8"),  # ns
        ("floor", "i8"),  # least gross bid whose net reaches the floor, nano
        ("u", "f8"),  # this campaign's own uniform draw
        ("contacts", "i8"),  # billed impressions of this advertiser on this person so far
        ("size", "i8"),
        ("media", "i8"),
        ("hour", "i8"),
    ]
)
RESULT: Final = shape(
    [
        ("price", "i8"),  # buyer's total, 0 if lost
        ("bid", "i8"),  # what was bid after clamping, gross
        ("min_to_win", "i8"),  # gross; 0 unless disclosed
        ("won", "?"),
    ]
)

# The fixed part of a campaign's record; the knobs of the rule library follow (bidding.campaign_dtype).
CAMPAIGN_FIELDS: Final[Fields] = [
    ("available", "i8"),  # budget - spent - held
    ("spent", "i8"),
    ("held", "i8"),
    ("budget", "i8"),
    ("daily", "i8"),  # most that may be held in one UTC day
    ("day_used", "i8"),
    ("asked", "i8"),
    ("wins", "i8"),
    ("value_nano", "i8"),  # valuation per impression when value_kind is fixed
    ("value_a", "f8"),  # parameters of the value (auction/value.py)
    ("value_b", "f8"),
    ("start_ns", "i8"),
    ("end_ns", "i8"),
    ("faults", "i8"),  # prices a rule returned that had to be clamped
    ("id", "i4"),  # in the journal: the name's id, stable across configs
    ("day", "i4"),
    ("rule", "i4"),
    ("advertiser", "u4"),
    ("seat", "u4"),
    ("line0", "i4"),  # lines (campaign x creative) are contiguous
    ("n_lines", "i4"),
    ("factor0", "i4"),  # segment factors, a run in FACTOR
    ("n_factors", "i4"),
    ("cap_day", "i4"),  # contacts + open holds; 0 = no cap
    ("cap_total", "i4"),
    ("fees", "i4"),
    ("pctr_ppm", "u4"),
    ("pcvr_ppm", "u4"),
    ("value_kind", "u1"),
    ("purpose", "u1"),
    ("uses_data", "u1"),  # 1 = targets segments, so the data fee is a data fee
    ("own", "u1"),  # 0 any person, 1 own customers only, 2 not own
    ("paused", "u1"),
]
PURPOSES: Final = ("prospect", "winback", "drive_to_store")

# One advertiser's memory of one person.
CONTACT: Final = shape(
    [
        ("cum_rent_nano", "i8"),  # billed
        ("last_s", "u4"),  # unix seconds of the last billed impression
        ("contacts", "u4"),  # billed impressions
        ("held", "u4"),  # open holds
        ("day", "u4"),  # days since 1970 that `day_n` counts
        ("day_n", "u2"),  # billed on `day`
        ("flags", "u2"),
    ]
)
OWN: Final = 1  # CONTACT.flags: the person is on this advertiser's own list

# A placed award, kept until its slot in the ring is needed again.
AWARD: Final = shape(
    [
        ("serial", "i8"),
        ("auction_id", "u8"),
        ("person_key", "u8"),
        ("hold_nano", "i8"),
        ("expires_ns", "i8"),
        ("placed_ns", "i8"),
        ("campaign", "i4"),  # index; -1 = remote
        ("campaign_id", "i4"),
        ("advertiser", "u4"),
        ("imp_ix", "u2"),
        ("status", "u1"),
        ("clicked", "u1"),
        ("slot", "u1"),
    ]
)
HELD: Final = 1
BILLED: Final = 2
RELEASED: Final = 3

# A fee set: `clearing * addon / base` comes on top; both sides are split by weight (rent/waterfall.py).
PARTIES: Final = (
    "agency", "dsp", "data", "verify", "tax", "fx", "publisher", "exchange", "supply_tech", "hidden",
)  # fmt: skip
BUY_PARTIES: Final = PARTIES[:6]
SELL_PARTIES: Final = PARTIES[6:]
FEES: Final = np.dtype(
    [("base", "i8"), ("addon", "i8"), ("fixed_nano", "i8"), ("buy", "i8", (6,)), ("sell", "i8", (4,))],
    align=True,
)

# ---- the journal: every row starts with HEAD -----------------------------------------------------------------

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
KIND_UNPAID: Final = 13  # an impression after its hold was gone; posts nothing
KIND_REQUEST: Final = 20  # inputs
KIND_LINK: Final = 21
KIND_TICK: Final = 22
KINDS: Final = {
    KIND_AUCTION: "auction",
    KIND_BID: "bid",
    KIND_WIN: "win",
    KIND_IMPRESSION: "impression",
    KIND_CLICK: "click",
    KIND_RELEASE: "release",
    KIND_UNPAID: "unpaid",
    KIND_REQUEST: "request",
    KIND_LINK: "link",
    KIND_TICK: "tick",
}

AUCTION_ROW: Final = shape(
    [
        *HEAD,
        ("auction_id", "u8"),
        ("person_key", "u8"),
        ("floor_nano", "i8"),
        ("clearing_nano", "i8"),  # 0 = unsold
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
        ("format", "u1"),
        ("sold", "u1"),
        ("n_timeouts", "u1"),
    ]
)
BID_ROW: Final = shape(
    [
        *HEAD,
        ("auction_id", "u8"),
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
        ("bid_nano", "i8"),  # net
        ("clearing_nano", "i8"),
        ("second_nano", "i8"),  # best net bid of another seat, 0 = none
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
        ("pctr_ppm", "u4"),
        ("pcvr_ppm", "u4"),
        ("endpoint", "i2"),
        ("imp_ix", "u2"),
        ("n_bids", "u2"),
        ("n_timeouts", "u2"),
        ("n_filtered", "u2"),
        ("slot", "u1"),
        ("price_rule", "u1"),
        ("purpose", "u1"),
        ("flags", "u1"),
    ]
)
FLAG_OWN: Final = 1  # WIN_ROW.flags
EVENT_ROW: Final = shape(
    [
        *HEAD,
        ("auction_id", "u8"),
        ("serial", "i8"),
        ("person_key", "u8"),
        ("paid_nano", "i8"),  # buyer's total that this event posts; 0 unless kind is impression
        ("cum_rent_nano", "i8"),  # after this event
        ("campaign", "i4"),
        ("advertiser", "u4"),
        ("contact_n", "u4"),  # 1 = first; 0 = not billed or person unknown
        ("imp_ix", "u2"),
        ("slot", "u1"),
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
