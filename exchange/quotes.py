"""What the outside is told of a sale: the seller's bid with markup and links, the bidders' macros and notices.

Prices leave in the currency they were asked in, quoted down. Source: OpenRTB 2.6 sections 4.2, 4.4 and 7.2.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from exchange import market as mk
from exchange.auction.venue import Ad
from exchange.links import Links
from exchange.openrtb import codes
from exchange.openrtb.encode import Markup, cpm
from exchange.openrtb.macros import price_text, ratio_text, substitute, substitute_url
from exchange.openrtb.response import Bid, BidResponse
from exchange.openrtb.screen import Screened
from exchange.opportunity import Opened

# positions in an unpacked SOLD record
AUCTION_ID, SERIAL, CLEARING, MIN_TO_WIN, RUNNER_UP, CAMPAIGN, CREATIVE, CREATIVE_ID, REMOTE_IX = range(9)
Row = tuple[Any, ...]
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
        self.needs = self.markup.names - {"CLICK_URL", "IMPRESSION_URL"}
        self.adomain = (ad.domain,) if ad.domain else ()
        self.crid = creative.crid or creative.id
        self.cid = ad.campaign
        self.cat = tuple(creative.cat)
        self.attr = tuple(creative.attr)
        self.w, self.h = creative.w, creative.h
        self.mtype = next(code for code, name in codes.MEDIA.items() if name == creative.type)
        self.landing = creative.landing


class Quotes:
    """Writes bids, macros and notices. `rates` = millionths of the ledger currency per unit; `exp_s` = Bid.exp."""

    def __init__(self, links: Links, rates: dict[str, int], min_to_win: bool, exp_s: int) -> None:
        self.links = links
        self.rates = rates
        self.min_to_win = min_to_win
        self.exp_s = exp_s

    def local_bid(self, opened: Opened, offer: Offer, ix: int, bidid: str, token: str, row: Row) -> Bid:
        """The winning bid of a local campaign as the seller gets it: clearing price, our markup and links."""
        imp = opened.request.imp[ix]
        rate_ppm = self.rates[opened.currency]
        price = mk.quote_down(row[CLEARING], rate_ppm)
        impression, click = self.links.impression + token, self.links.click + token
        macros: dict[str, str] = {}
        if offer.needs:
            macros = {
                "AUCTION_ID": opened.request.id,
                "AUCTION_BID_ID": bidid,
                "AUCTION_IMP_ID": imp.id,
                "AUCTION_SEAT_ID": offer.seat,
                "AUCTION_PRICE": price_text(price),
                "AUCTION_CURRENCY": opened.currency,
                "AUCTION_LOSS": "0",
                "AUCTION_MIN_TO_WIN": price_text(mk.quote_down(row[RUNNER_UP], rate_ppm)) if self.min_to_win else "",
                "AUCTION_IMP_TS": str(opened.now_ns // 1_000_000),
            }
        return Bid(
            id=f"{bidid}-{ix}",
            impid=imp.id,
            price=cpm(price),
            burl=impression,
            adm=offer.markup.render(click, impression, macros),
            adomain=offer.adomain,
            crid=offer.crid,
            cid=offer.cid,
            cat=offer.cat,
            attr=offer.attr,
            w=offer.w,
            h=offer.h,
            mtype=offer.mtype,
            exp=self.exp_s,
        )

    def remote_bid(
        self, opened: Opened, offered: Offered, ix: int, token: str, row: Row, now_ns: int
    ) -> tuple[Bid, str]:
        """The winning remote bid as the seller gets it, its markup with macros filled and our links beside it.

        Returns it with its own burl, to be called when the impression is billed ("" when it has none).
        """
        bid, imp = offered.screened.bid, opened.request.imp[ix]
        values = self.macros(opened, offered, codes.WON, row, now_ns)
        impression, click = self.links.impression + token, self.links.click + token
        values |= {"CLICK_URL": click, "IMPRESSION_URL": impression}
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
            ext={"rentier": {"click": click}},
        )
        return seen_by_seller, substitute_url(bid.burl, values)

    def macros(self, opened: Opened, offered: Offered, fate: int, row: Row, now_ns: int) -> dict[str, str]:
        """The substitution values of one remote bid; prices in its own currency. A loser learns no price."""
        screened = offered.screened
        won, rate_ppm = fate == codes.WON, screened.rate_ppm or mk.RATE_ONE_PPM
        needed = ""
        if self.min_to_win and won:
            needed = price_text(mk.quote_down(row[RUNNER_UP], rate_ppm))
        elif self.min_to_win and fate in (codes.OUTBID, codes.BELOW_FLOOR) and row[MIN_TO_WIN] > 0:
            needed = price_text(mk.quote_down(row[MIN_TO_WIN], rate_ppm))
        return {
            "AUCTION_ID": opened.request.id,
            "AUCTION_BID_ID": offered.response.bidid,
            "AUCTION_IMP_ID": screened.bid.impid,
            "AUCTION_SEAT_ID": screened.seat,
            "AUCTION_AD_ID": screened.bid.adid,
            "AUCTION_PRICE": price_text(mk.quote_down(row[CLEARING], rate_ppm)) if won else "",
            "AUCTION_CURRENCY": screened.currency,
            "AUCTION_MBR": ratio_text(row[CLEARING], screened.net_nano) if won else "",
            "AUCTION_LOSS": str(fate),
            "AUCTION_MIN_TO_WIN": needed,
            "AUCTION_MULTIPLIER": "",
            "AUCTION_IMP_TS": str(now_ns // 1_000_000),
        }

    def notices(
        self, opened: Opened, offers: list[Offered], fates: list[int], sold: dict[int, Row], now_ns: int
    ) -> list[tuple[int, str]]:
        """nurl to winners whose markup came inline, lurl with the code to losers: (endpoint index, URL)."""
        notices: list[tuple[int, str]] = []
        for r, offered in enumerate(offers):
            bid = offered.screened.bid
            row = sold[max(offered.screened.impix, 0)]
            won = row[REMOTE_IX] == r
            url = bid.nurl if won else bid.lurl
            if not url or (won and not bid.adm):
                continue
            fate = codes.WON if won else fates[r] or codes.OUTBID
            notices.append((offered.endpoint, substitute_url(url, self.macros(opened, offered, fate, row, now_ns))))
        return notices
