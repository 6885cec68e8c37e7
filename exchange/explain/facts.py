"""What `rentier explain` knows of one bid request.

Money is nano of the ledger currency; the screen shows prices as CPM, which is the same number.
"""

from msgspec import Struct

from exchange.books.run_summary import Party
from exchange.openrtb.coerce import Problem


class Who(Struct):
    """The person: known or not and by which field; segments of the request and of the people store; own lists."""

    known: bool
    why: str
    segments: list[str]
    stored: list[str]
    own: list[str]


class Place(Struct):
    """Where and when; "" = not known; hour is the person's, 0..23."""

    country: str
    device: str
    domain: str
    publisher: str
    hour: int


class NotAsked(Struct):
    """A campaign that was not asked for a price: the first reason, the leaves of its target that fail, all reasons."""

    campaign: str
    why: str
    leaves: list[str]
    reasons: list[str]


class BidFate(Struct):
    """One bid: what the impression was worth to the campaign, what its rule bid, and what became of it."""

    campaign: str
    rule: str
    value_nano: int
    gross_nano: int
    net_nano: int
    fate: int
    name: str
    meaning: str


class Presets(Struct):
    """The fee presets that apply."""

    sell: str
    buy: str


class Sale(Struct):
    """One position: the winner, the clearing sum and who gets what; `quoted_cpm` in the currency of the response.

    Amounts are per billable event (`bill`); the second bid is what the best one behind comes to in its own terms.
    """

    campaign: str
    creative: str
    format: str  # a key of market.FORMATS
    slot: int  # position, 0 = the best
    lost: bool  # all_pay: it pays without winning
    bill: str  # what the amounts are for: impression, click or conversion
    pays_bid: bool
    bid_nano: int
    second_nano: int
    floor_nano: int
    increment_nano: int
    soft_floor_nano: int
    clearing_nano: int
    buyer_total_nano: int
    quoted_cpm: float
    own: bool
    parties: list[Party]
    fees: Presets


class ReserveFacts(Struct):
    """A reserve that applies to an imp: for whose bids ("" = everybody's), for which audience ("" = all), its floor."""

    seat: str
    target: str
    floor_nano: int


class ImpFacts(Struct):
    """One imp: what is for sale, who was asked, who bid, what came of it."""

    id: str
    media: list[str]
    sizes: list[str]
    seller_floor: str
    floor_nano: int
    reserves: list[ReserveFacts] = []
    asked: list[str] = []
    not_asked: list[NotAsked] = []
    bids: list[BidFate] = []
    sale: Sale | None = None
    lower: list[Sale] = []  # further positions; in an all-pay auction the losers that pay


class EndpointFacts(Struct):
    """A remote endpoint: would it be asked, and if not, why."""

    name: str
    url: str
    eligible: bool
    why: str


class Explained(Struct):
    """One request, explained. `status` is the HTTP status of the answer; `more` = requests left in the file."""

    currency: str
    config: str = ""
    file: str = ""
    more: int = 0
    campaign: str = ""  # the only one the facts are about; "" = all
    id: str = ""
    status: int = 204
    errors: list[Problem] = []
    time: str = ""
    quoted: str = ""
    format: str = ""
    test: bool = False
    who: Who | None = None
    place: Place | None = None
    endpoints: list[EndpointFacts] = []
    imps: list[ImpFacts] = []
