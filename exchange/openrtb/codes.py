"""The numbers OpenRTB agrees on, and the few of our own: why a bid lost, why there is no bid.

Source: OpenRTB 2.6 section 4.4 and the loss reason list of OpenRTB 3.0 / AdCOM 1.0; own codes start at 500.
"""

from typing import Final

# Fate of a bid, the `AUCTION_LOSS` code a loser is told.
WON: Final = 0
INTERNAL_ERROR: Final = 1
EXPIRED: Final = 2
INVALID_RESPONSE: Final = 3
INVALID_DEAL: Final = 4
INVALID_AUCTION: Final = 5
INVALID_ADVERTISER: Final = 6
MISSING_MARKUP: Final = 7
MISSING_CRID: Final = 8
MISSING_PRICE: Final = 9
BELOW_FLOOR: Final = 100
BELOW_DEAL_FLOOR: Final = 101
OUTBID: Final = 102
OUTBID_BY_DEAL: Final = 103
SEAT_BLOCKED: Final = 104
CREATIVE_SIZE: Final = 203
CREATIVE_FORMAT: Final = 204
ADVERTISER_BLOCKED: Final = 205
APP_BLOCKED: Final = 206
NOT_SECURE: Final = 207
CATEGORY_BLOCKED: Final = 209
ATTRIBUTE_BLOCKED: Final = 210
NO_BID: Final = 500
OVER_LIMIT: Final = 501
WRONG_CURRENCY: Final = 502
ECPM_ZERO: Final = 503
TIMEOUT: Final = 510
BAD_ANSWER: Final = 511
UNREACHABLE: Final = 512
NOT_ASKED: Final = 513
HOLDOUT: Final = 520

FATES: Final[dict[int, tuple[str, str]]] = {
    WON: ("won", "the bid won the auction"),
    INTERNAL_ERROR: ("internal", "the exchange failed to weigh the bid"),
    EXPIRED: ("expired", "the opportunity had passed"),
    INVALID_RESPONSE: ("invalid", "the bid breaks a rule of OpenRTB"),
    INVALID_DEAL: ("invalid_deal", "the deal is not offered on this imp"),
    INVALID_AUCTION: ("invalid_auction", "the answer names another auction"),
    INVALID_ADVERTISER: ("invalid_advertiser", "the advertiser is not allowed in the deal"),
    MISSING_MARKUP: ("no_markup", "the bid has neither adm nor nurl"),
    MISSING_CRID: ("no_crid", "the bid names no creative"),
    MISSING_PRICE: ("no_price", "the bid names no price"),
    BELOW_FLOOR: ("below_floor", "the net bid is below the floor"),
    BELOW_DEAL_FLOOR: ("below_deal_floor", "the bid is below the floor of its deal"),
    OUTBID: ("outbid", "another bid was higher, or won the draw between equals"),
    OUTBID_BY_DEAL: ("outbid_by_deal", "a deal went first"),
    SEAT_BLOCKED: ("seat_blocked", "the seat is not in wseat, or is in bseat"),
    CREATIVE_SIZE: ("size", "the creative does not fit the slot"),
    CREATIVE_FORMAT: ("format", "the creative is of a media type that was not offered"),
    ADVERTISER_BLOCKED: ("badv", "the advertiser's domain is blocked by the publisher"),
    APP_BLOCKED: ("bapp", "the app is blocked by the publisher"),
    NOT_SECURE: ("not_secure", "the markup is not https on a secure page"),
    CATEGORY_BLOCKED: ("bcat", "the creative's category is blocked by the publisher"),
    ATTRIBUTE_BLOCKED: ("battr", "the creative's attribute is blocked by the publisher"),
    NO_BID: ("no_bid", "asked, and did not want it"),
    OVER_LIMIT: ("over_limit", "the price is above the exchange's limit of 1,000 per impression"),
    WRONG_CURRENCY: ("currency", "the bid is in a currency without a rate"),
    ECPM_ZERO: ("ecpm_zero", "the bid comes to less than one unit of money per impression"),
    TIMEOUT: ("timeout", "no answer before the deadline"),
    BAD_ANSWER: ("bad_answer", "the answer is not an OpenRTB bid response"),
    UNREACHABLE: ("unreachable", "the bidder could not be reached"),
    NOT_ASKED: ("not_asked", "the bidder had its limit of calls in flight"),
    HOLDOUT: ("holdout", "not asked: the person is in the advertiser's holdout and is never shown its ads"),
}

# No-bid reasons (nbr), OpenRTB 2.6 list 5.24.
NBR_TECHNICAL: Final = 1
NBR_INVALID_REQUEST: Final = 2

# Media types, OpenRTB Bid.mtype.
BANNER: Final = 1
VIDEO: Final = 2
AUDIO: Final = 3
NATIVE: Final = 4
MEDIA: Final[dict[int, str]] = {BANNER: "banner", VIDEO: "video", AUDIO: "audio", NATIVE: "native"}

# Device kinds we target, from device.devicetype (AdCOM list) or the user agent.
DEVICES: Final = ("other", "phone", "tablet", "desktop", "ctv")
