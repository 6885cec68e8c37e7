"""What is for sale, what a rule sees, and what is remembered: the shapes that a sale works on, each defined once."""

from typing import Final

import numpy as np

from exchange.market.money import Fields, shape

# ---- what is for sale --------------------------------------------------------------------------------------

# One imp on its way into `sell`; filled by `market.opportunity` live and by the population in a simulation.
OPPORTUNITY: Final = shape(
    [
        ("person_key", "u8"),
        ("floor_nano", "i8"),
        ("pctr_ppb", "i8"),  # click rate that a log states for this imp; 0 = the campaign's own estimate
        ("publisher", "u4"),
        ("domain", "u4"),
        ("size", "u4"),  # width << 16 | height of the first size
        ("country", "u2"),  # two letters, first << 8 | second; 0 = unknown
        ("imp_ix", "u2"),
        ("media", "u1"),
        ("device", "u1"),
        ("hour", "u1"),
        ("test", "u1"),  # 1 = hold the auction, change nothing
        ("n_timeouts", "u1"),
        ("format", "u2"),  # one of FORMATS
    ]
)
# The numbers of OpenRTB BidRequest.at; those of an exchange's own formats start at 501.
FIRST_PRICE: Final = 1
SECOND_PRICE: Final = 2
SOFT_FLOOR: Final = 501
POSTED_PRICE: Final = 502
ALL_PAY: Final = 503
GSP: Final = 504
VCG: Final = 505
MYERSON: Final = 506
FORMATS: Final = {
    "first_price": FIRST_PRICE,
    "second_price": SECOND_PRICE,
    "soft_floor": SOFT_FLOOR,
    "posted_price": POSTED_PRICE,
    "all_pay": ALL_PAY,
    "gsp": GSP,
    "vcg": VCG,
    "myerson": MYERSON,
}

# One bid of a remote endpoint after `openrtb.screen`: net nano, in the order endpoint, seatbid, bid.
REMOTE: Final = shape(
    [
        ("net_nano", "i8"),
        ("entity", "u8"),  # keyed hash of (seat, bid id): decides ties
        ("floor_nano", "i8"),  # of the deal it names, 0 = the imp's; it pays at least the higher of the two
        ("min_to_win_nano", "i8"),  # written by the sale: the least bid that would have won, or kept its place
        ("seat", "u4"),
        ("advertiser", "u4"),
        ("endpoint", "u2"),
        ("imp_ix", "u2"),
        ("fate", "u2"),  # WON (0) = may compete; else why not
    ]
)

# What `sell` answers for one position of one imp: SOLD[imp, slot], best position first.
SOLD: Final = shape(
    [
        ("auction_id", "u8"),
        ("serial", "i8"),  # award serial; -1 = unsold
        ("clearing_nano", "i8"),  # per impression: what the seller may expect for this position
        ("price_nano", "i8"),  # net, per billable event (bill): clearing_nano where every impression is billed
        ("runner_up_nano", "i8"),  # the least bid that keeps this place
        ("campaign", "i4"),  # index; -1 = a remote bid won
        ("creative", "i4"),  # index into the venue's creatives
        ("creative_id", "i4"),
        ("remote_ix", "i4"),  # index into the REMOTE rows handed in; -1 = a local campaign won
        ("n_bids", "i4"),
        ("advertiser", "u4"),
        ("contacts", "u4"),  # before this auction
        ("bill", "u1"),  # BILL_*
        ("slot", "u1"),
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
        ("own", "i8"),  # 1 = the person is on this advertiser's own list
        ("since_s", "i8"),  # seconds since this advertiser's last billed contact with the person; -1 = never
        ("format", "i8"),  # one of FORMATS
        ("pctr", "f8"),  # the exchange's estimate for this impression: clicks per impression
        ("pcvr", "f8"),  # conversions per click
    ]
)
RESULT: Final = shape(
    [
        ("price", "i8"),  # buyer's total per impression (expected, where clicks are billed), 0 if lost
        ("bid", "i8"),  # what was bid after clamping, gross, per impression
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
    ("ad0", "i4"),  # its creatives, a run in AD
    ("n_ads", "i4"),
    ("factor0", "i4"),  # segment factors, a run in FACTOR
    ("n_factors", "i4"),
    ("cap_hour", "i4"),  # ads shown to a person + open holds; 0 = no cap
    ("cap_day", "i4"),
    ("cap_week", "i4"),
    ("cap_total", "i4"),
    ("cap_campaign", "i4"),  # of this campaign alone
    ("pctr_ppb", "i8"),
    ("pcvr_ppb", "i8"),
    ("holdout", "f8"),  # share of people who are never shown its advertiser's ads
    ("quality_ppm", "i8"),  # weight of its bids in the ranking; 1_000_000 = 1
    ("value_event_nano", "i8"),  # valuation of a click, or of a conversion; 0 = per impression
    ("fees", "i4"),  # its fee set, an index into the venue's
    ("segment0", "i4"),  # the segments it targets, a run in SEGMENT
    ("n_segments", "i4"),
    ("model", "i4"),  # row of the click model's table, -1 = the estimates above
    ("bill", "u1"),  # BILL_*
    ("value_of", "u1"),  # BILL_*: what the valuation is of
    ("even", "u1"),  # even pacing: bits EVEN_DAY, EVEN_FLIGHT say over what money is released
    ("value_kind", "u1"),
    ("purpose", "u1"),
    ("uses_data", "u1"),  # 1 = targets segments, so the data fee is a data fee
    ("paused", "u1"),
]
# A creative as a sale sees it. What it fits is a number of the audience's vocabulary, as are its tags.
AD: Final = shape(
    [
        ("weight", "i8"),  # share of turns among the campaign's ads that fit
        ("fit", "i8"),  # its medium and size
        ("fit_any", "i8"),  # its medium, where an imp names no size
        ("campaign", "i4"),  # index
        ("name", "i4"),  # id
        ("tag0", "i4"),  # what a publisher may block it by, a run in `tags`: categories, attributes, insecure markup
        ("n_tags", "i4"),
    ]
)
BILL_IMPRESSION: Final = 0
BILL_CLICK: Final = 1
BILL_CONVERSION: Final = 2
BILLS: Final = ("impression", "click", "conversion")
EVEN_DAY: Final = 1  # CAMPAIGN_FIELDS.even: `daily` over the UTC day
EVEN_FLIGHT: Final = 2  # `budget` over start..end
PURPOSES: Final = ("prospect", "winback", "drive_to_store")

# One advertiser's memory of one person.
CONTACT: Final = shape(
    [
        ("cum_rent_nano", "i8"),  # billed
        ("last_s", "u4"),  # unix seconds of the last billed contact
        ("contacts", "u4"),  # billed
        ("shown", "u4"),  # ads seen, billed or not (bill = "click"): what caps count, with the open holds
        ("held", "u4"),  # open holds whose ad has not been seen
        ("hour", "u4"),  # hours since 1970 that `hour_n` counts
        ("day", "u4"),  # days since 1970 that `day_n` counts
        ("week", "u2"),  # weeks (Monday first) since 1970 that `week_n` counts
        ("hour_n", "u2"),  # seen in `hour`
        ("day_n", "u2"),
        ("week_n", "u2"),
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
        ("refunded_nano", "i8"),
        ("expires_ns", "i8"),
        ("placed_ns", "i8"),
        ("campaign", "i4"),  # index; -1 = remote
        ("campaign_id", "i4"),
        ("advertiser", "u4"),
        ("imp_ix", "u2"),
        ("status", "u1"),
        ("clicked", "u1"),
        ("converted", "u1"),
        ("seen", "u1"),
        ("bill", "u1"),
        ("slot", "u1"),
        ("opted_in", "u1"),
        ("opted_out", "u1"),
        ("refunds", "u1"),
    ]
)
HELD: Final = 1
BILLED: Final = 2
RELEASED: Final = 3
REFUNDED: Final = 4  # billed, and all of it given back

# A segment that a campaign targets: its number in the audience's vocabulary, and its name's id.
SEGMENT: Final = shape([("value", "i8"), ("name", "i4")])

# A fee set: `clearing * addon / base` comes on top; both sides are split by weight (rent/waterfall.py).
PARTIES: Final = (
    "agency", "dsp", "data", "verify", "tax", "fx", "publisher", "exchange", "supply_tech", "hidden",
)  # fmt: skip
BUY_PARTIES: Final = PARTIES[:6]
SELL_PARTIES: Final = PARTIES[6:]
FEES: Final = np.dtype(
    [
        ("base", "i8"),
        ("addon", "i8"),
        ("fixed_nano", "i8"),
        ("buy", "i8", (6,)),
        ("sell", "i8", (4,)),
        ("fx_bps", "i8"),  # of the clearing price, to `fx` before the rest is split; `addon` has it in it
        ("name", "i8"),  # id of the set's terms among the ledger's names
    ],
    align=True,
)
