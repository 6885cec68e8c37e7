"""What the outside is told of a sale: the seller's bid with markup and links, the bidders' macros and notices.

Prices leave in the currency they were asked in, quoted down. Source: OpenRTB 2.6 sections 4.2, 4.4 and 7.2.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from exchange import market as mk
from exchange.auction.ads import Ad
from exchange.auction.formats import POSITIONS, TABLE
from exchange.links import Links
from exchange.openrtb import codes
from exchange.openrtb.encode import Markup, cpm, quoted, written
from exchange.openrtb.macros import price_text, ratio_text, substitute, substitute_url
from exchange.openrtb.response import Bid, BidResponse
from exchange.openrtb.screen import Screened
from exchange.opportunity import Opened

# positions in an unpacked SOLD record
AUCTION_ID, SERIAL, CLEARING, RUNNER_UP, CAMPAIGN, CREATIVE, CREATIVE_ID, REMOTE_IX, SLOT = (
    (mk.SOLD.names or ()).index(name)
    for name in (
        "auction_id", "serial", "clearing_nano", "runner_up_nano", "campaign", "creative",
        "creative_id", "remote_ix", "slot",
    )
)  # fmt: skip
Row = tuple[Any, ...]
# any two texts of the form of a token: a bid is cut where the one stands, and the other proves the cut
_HOLE: Final = "Where-the-token-of-an-award-will-stand-once-it-is-sold"
_PROOF: Final = "0-any-other-token_"
_OURS: Final = frozenset(Links(bytes(16), "").macros(""))  # macros that every award has
_PIXEL: Final = '<img src="{}" width="1" height="1" alt="" style="position:absolute;border:0">'


class Offered(Struct, gc=False):
    """A screened remote bid with the endpoint and the response it came in."""

    screened: Screened
    endpoint: int
    response: BidResponse


class Offer:
    """A local creative, ready to be quoted."""

    def __init__(self, ad: Ad) -> None:
        creative = ad.creative
        self.id = ad.id
        self.seat = ad.advertiser
        self.markup = Markup(creative)
        self.needs = self.markup.names - _OURS
        self.adomain = (ad.domain,) if ad.domain else ()
        self.crid = creative.crid or creative.id
        self.cid = ad.campaign
        self.cat = tuple(creative.cat)
        self.attr = tuple(creative.attr)
        self.w, self.h = creative.w, creative.h
        self.mtype = next(code for code, name in codes.MEDIA.items() if name == creative.type)
        self.landing = creative.landing
        self.cut_for = ""  # the link prefix that `pieces` hold
        self.pieces: tuple[str, ...] | None = None  # JSON of a bid behind its price, cut where the token stands

    def bid(self, links: Links, token: str, exp_s: int, macros: dict[str, str]) -> Bid:
        """The bid as it is offered, but for id, impid and price."""
        impression, click = links.impression + token, links.click + token
        return Bid(
            burl=impression,
            adm=self.markup.render(click, impression, {**macros, **links.macros(token)}),
            adomain=self.adomain,
            crid=self.crid,
            cid=self.cid,
            cat=self.cat,
            attr=self.attr,
            w=self.w,
            h=self.h,
            mtype=self.mtype,
            exp=exp_s,
        )

    def cut(self, links: Links, exp_s: int) -> None:
        """Write the bid once, so that quoting it is a join; left undone where that would not give the same text."""
        self.cut_for, self.pieces = links.impression, None
        if not self.needs:
            pieces = _tail(self.bid(links, _HOLE, exp_s, {})).split(_HOLE)
            if _PROOF.join(pieces) == _tail(self.bid(links, _PROOF, exp_s, {})):
                self.pieces = tuple(pieces)


def _tail(bid: Bid) -> str:
    """The JSON of a bid without id, impid and price, its opening brace become a comma."""
    return "," + written(bid)[1:]


class Quotes:
    """Writes bids, macros and notices. `rates` = millionths of the ledger currency per unit; `exp_s` = Bid.exp."""

    def __init__(self, links: Links, rates: dict[str, int], min_to_win: bool, exp_s: int, slots: list[int]) -> None:
        """`slots`: click rates of the positions, ppm."""
        self.links = links
        self.rates = rates
        self.min_to_win = min_to_win
        self.exp_s = exp_s
        self.slots = slots

    def local_bid(self, opened: Opened, offer: Offer, ix: int, bidid: str, token: str, row: Row) -> str:
        """The JSON of a local campaign's winning bid as the seller gets it: clearing price, our markup and links."""
        impid = opened.request.imp[ix].id
        rate_ppm = self.rates[opened.currency]
        price = row[CLEARING] if rate_ppm == mk.RATE_ONE_PPM else mk.quote_down(row[CLEARING], rate_ppm)
        if offer.cut_for is not self.links.impression:
            offer.cut(self.links, self.exp_s)
        if offer.pieces is not None:
            tail = token.join(offer.pieces)
        else:
            tail = _tail(offer.bid(self.links, token, self.exp_s, self._local_macros(opened, offer, impid, bidid, row)))
        place = ""
        if TABLE[opened.format, POSITIONS]:
            place, tail = f"-{row[SLOT]}", f'{tail[:-1]},"ext":{{"rentier":{{"slot":{row[SLOT]}}}}}}}'
        return f'{{"id":"{bidid}-{ix}{place}","impid":{quoted(impid)},"price":{cpm(price)!r}{tail}'

    def _local_macros(self, opened: Opened, offer: Offer, impid: str, bidid: str, row: Row) -> dict[str, str]:
        """The substitution values of a local bid whose markup asks for more than the links."""
        rate_ppm = self.rates[opened.currency]
        return {
            "AUCTION_ID": opened.request.id,
            "AUCTION_BID_ID": bidid,
            "AUCTION_IMP_ID": impid,
            "AUCTION_SEAT_ID": offer.seat,
            "AUCTION_PRICE": price_text(mk.quote_down(row[CLEARING], rate_ppm)),
            "AUCTION_CURRENCY": opened.currency,
            "AUCTION_LOSS": "0",
            "AUCTION_MIN_TO_WIN": price_text(mk.quote_down(row[RUNNER_UP], rate_ppm)) if self.min_to_win else "",
            "AUCTION_IMP_TS": str(opened.now_ns // 1_000_000),
        }

    def remote_bid(
        self, opened: Opened, offered: Offered, ix: int, token: str, row: Row, now_ns: int
    ) -> tuple[Bid, str]:
        """The winning remote bid as the seller gets it, its markup with macros filled and our links beside it.

        Returns it with its own burl, to be called when the impression is billed ("" when it has none).
        """
        bid, imp = offered.screened.bid, opened.request.imp[ix]
        values = self.macros(opened, offered, codes.WON, row, row[RUNNER_UP], now_ns)
        impression, click = self.links.impression + token, self.links.click + token
        values |= self.links.macros(token)
        adm = substitute(bid.adm, values)
        if adm and imp.banner is not None and not bid.adm.lstrip().startswith(("<?xml", "<VAST", "{")):
            adm += _PIXEL.format(impression)
        seen_by_seller = msgspec.structs.replace(
            bid,
            price=cpm(mk.quote_down(row[CLEARING], self.rates[opened.currency])),
            adm=adm,
            nurl="" if bid.adm else substitute_url(bid.nurl, values),
            burl=impression,
            lurl="",
            ext={"rentier": {"click": click} | ({"slot": row[SLOT]} if TABLE[opened.format, POSITIONS] else {})},
        )
        return seen_by_seller, substitute_url(bid.burl, values)

    def macros(
        self, opened: Opened, offered: Offered, fate: int, row: Row, needed_nano: int, now_ns: int
    ) -> dict[str, str]:
        """The substitution values of one remote bid; prices in its own currency. A loser learns no price.

        `needed_nano`: the least bid that keeps its place, or would have won.
        """
        screened = offered.screened
        won, rate_ppm = fate == codes.WON, screened.rate_ppm or mk.RATE_ONE_PPM
        needed = ""
        if self.min_to_win and (won or fate in (codes.OUTBID, codes.BELOW_FLOOR) and needed_nano > 0):
            needed = price_text(mk.quote_down(needed_nano, rate_ppm))
        return {
            "AUCTION_ID": opened.request.id,
            "AUCTION_BID_ID": offered.response.bidid,
            "AUCTION_IMP_ID": screened.bid.impid,
            "AUCTION_SEAT_ID": screened.seat,
            "AUCTION_AD_ID": screened.bid.adid,
            "AUCTION_PRICE": price_text(mk.quote_down(row[CLEARING], rate_ppm)) if won else "",
            "AUCTION_CURRENCY": screened.currency,
            "AUCTION_MBR": ratio_text(row[CLEARING], self._in_position(opened, screened.net_nano, row)) if won else "",
            "AUCTION_LOSS": str(fate),
            "AUCTION_MIN_TO_WIN": needed,
            "AUCTION_MULTIPLIER": "",
            "AUCTION_IMP_TS": str(now_ns // 1_000_000),
        }

    def _in_position(self, opened: Opened, net_nano: int, row: Row) -> int:
        """What a bid comes to in the position it won, where positions are sold."""
        if not TABLE[opened.format, POSITIONS]:
            return net_nano
        return net_nano * self.slots[row[SLOT]] // mk.RATE_ONE_PPM

    def notices(
        self, opened: Opened, offers: list[Offered], remote: Any, sold: dict[int, list[Row]], now_ns: int
    ) -> list[tuple[int, str]]:
        """nurl to winners whose markup came inline, lurl with the code to losers: (endpoint index, URL).

        `remote`: the REMOTE record of each of `offers`.
        """
        fates, needed = remote["fate"].tolist(), remote["min_to_win_nano"].tolist()
        notices: list[tuple[int, str]] = []
        for r, offered in enumerate(offers):
            bid = offered.screened.bid
            positions = sold[max(offered.screened.impix, 0)]
            row = next((row for row in positions if row[REMOTE_IX] == r), positions[0])
            won = row[REMOTE_IX] == r
            url = bid.nurl if won else bid.lurl
            if not url or (won and not bid.adm):
                continue
            fate = codes.WON if won else fates[r] or codes.OUTBID
            values = self.macros(opened, offered, fate, row, needed[r], now_ns)
            notices.append((offered.endpoint, substitute_url(url, values)))
        return notices
