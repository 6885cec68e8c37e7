"""The OpenRTB border: JSON, texts and float CPMs outside; checked Structs inside. See docs/openrtb.md."""

from exchange.openrtb.coerce import Problem as Problem
from exchange.openrtb.encode import Markup as Markup
from exchange.openrtb.encode import bad_request_body as bad_request_body
from exchange.openrtb.encode import bid_response as bid_response
from exchange.openrtb.encode import forward as forward
from exchange.openrtb.encode import no_bid as no_bid
from exchange.openrtb.model import BidRequest as BidRequest
from exchange.openrtb.response import Bid as Bid
from exchange.openrtb.response import BidResponse as BidResponse
from exchange.openrtb.response import SeatBid as SeatBid
from exchange.openrtb.screen import BadAnswer as BadAnswer
from exchange.openrtb.screen import Screened as Screened
from exchange.openrtb.screen import decode_response as decode_response
from exchange.openrtb.validate import BadRequest as BadRequest
from exchange.openrtb.validate import decode as decode
