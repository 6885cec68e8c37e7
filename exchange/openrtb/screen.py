"""Weigh a bidder's answer against what was offered: which of its bids may compete, and why the others may not.

`terms(request, rates)` reads a request once; `screen(terms, response, endpoint)` then gives every bid a fate
(codes.py), 0 = may compete, and its price as net nano of the ledger currency. The checks run in a fixed order
and the first that fails names the fate: answer, bid, price, currency, deal, seat, advertiser, category, app,
attribute, markup, media type, size, security. The imp's floor is not checked here: the auction does that.
Source: OpenRTB 2.6-202606, sections 3.2.1, 3.2.4, 3.2.11, 3.2.12, 4.2, 4.3; docs/openrtb.md has the choices.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from exchange.market import PRICE_MAX_NANO, convert_down, convert_up, cpm_down, cpm_up
from exchange.openrtb import codes
from exchange.openrtb.coerce import Reader
from exchange.openrtb.model import Banner, BidRequest, Deal, Imp
from exchange.openrtb.response import Bid, BidResponse, SeatBid

RESPONSE_MAX_BYTES: Final = 1 << 20
BIDS_MAX: Final = 64  # of one response; later ones are not looked at
DOMAIN_MAX: Final = 253  # characters of a domain that is remembered
NAME_MAX: Final = 512  # characters of a bid's id, seat and deal id
_CPM_ABSURD: Final = 1e12  # over the limit in any currency with a rate; keeps the float arithmetic finite
_DECODE: Final = msgspec.json.Decoder(BidResponse).decode
_MEDIA_FIELDS: Final = tuple(codes.MEDIA.items())
_ANY: Final = frozenset(codes.MEDIA)
_ONE: Final = {mtype: frozenset((mtype,)) for mtype in codes.MEDIA}
_PLAYED: Final = frozenset((codes.VIDEO, codes.AUDIO))
# what may stand before "http:" although the page is secure: names and links are not loaded
_NOT_LOADED: Final = re.compile(
    r"""xmlns(?::\w+)?\s*=\s*["']http:[^"']*["']"""
    r"""|schemaLocation\s*=\s*["'][^"']*["']"""
    r"""|<!DOCTYPE[^>]*>"""
    r"""|<a\b[^>]*?\bhref\s*=\s*\\?["']?http:[^\s"'>]*"""
    r"""|<(ClickThrough|UniversalAdId|AdServingId)\b[^>]*>\s*(?:<!\[CDATA\[)?\s*http:[^<\]]*"""
    r"""|"link"\s*:\s*\{\s*"url"\s*:\s*"http:[^"]*\"""",
    re.IGNORECASE,
)


class BadAnswer(ValueError):
    """An answer that is not an OpenRTB bid response; the message says why."""


class ImpTerms(Struct, gc=False):
    """What one imp asks of a bid; `sizes` are the banner's (w, h) in px, `battr` stands by media type."""

    imp: Imp
    ix: int
    media: frozenset[int]
    sizes: frozenset[tuple[int, int]]
    sized: bool  # the banner says which sizes fit
    battr: dict[int, tuple[int, ...]]
    deals: dict[str, Deal]


class Terms(Struct):
    """What a request asks of every bid, read once; `rates` = millionths of the ledger currency per unit."""

    request: BidRequest
    rates: Mapping[str, int]
    currencies: frozenset[str]
    badv: frozenset[str]
    bcat: frozenset[str]
    bapp: frozenset[str]
    wseat: frozenset[str]
    bseat: frozenset[str]
    imps: dict[str, ImpTerms]


class Screened(Struct, gc=False):
    """One bid after the checks: `impix` -1 = no such imp; `net_nano` 0 = no usable price; `fate` 0 = may compete."""

    bid: Bid
    seat: str
    advertiser: str  # adomain[0] without www., or seat:<seat>
    impix: int
    net_nano: int
    fate: int
    currency: str
    rate_ppm: int  # quote prices back with market.quote_down
    deal: Deal | None


def decode_response(body: bytes) -> BidResponse:
    """Return the bid response in `body`; an empty body and `{}` are no-bids. Raises BadAnswer.

    Values of a wrong type are converted as in requests; one that cannot be is as if it were not given.
    """
    if not body:
        return BidResponse()
    if len(body) > RESPONSE_MAX_BYTES:
        raise BadAnswer(f"longer than {RESPONSE_MAX_BYTES} bytes")
    try:
        return _DECODE(body)
    except (ValueError, RecursionError):
        pass  # the slow path finds the reason, or that it was a trifle
    try:
        tree: Any = msgspec.json.decode(body)
    except RecursionError:
        raise BadAnswer("nested too deeply") from None
    except ValueError as error:
        raise BadAnswer(f"not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise BadAnswer("expected a JSON object, a bid response")
    reader = Reader()
    response: BidResponse = reader.object(tree, BidResponse)
    if reader.problems:
        raise BadAnswer(f"{reader.problems[0].path}: {reader.problems[0].reason}")
    return response


def bid_count(response: BidResponse) -> int:
    """Return how many bids an answer holds, those beyond the limit included."""
    return sum(len(seatbid.bid) for seatbid in response.seatbid)


# ---- the request's side -----------------------------------------------------------------------------------


def terms(request: BidRequest, rates: Mapping[str, int]) -> Terms:
    """Read what a request asks of bids. `rates` must hold the ledger currency itself at 1_000_000."""
    return Terms(
        request=request,
        rates=rates,
        currencies=frozenset(code.upper() for code in request.cur),
        badv=frozenset(filter(None, map(bare_domain, request.badv))),
        bcat=frozenset(request.bcat),
        bapp=frozenset(request.bapp),
        wseat=frozenset(request.wseat),
        bseat=frozenset(request.bseat),
        imps={imp.id: _imp_terms(imp, ix) for ix, imp in enumerate(request.imp)},
    )


def _imp_terms(imp: Imp, ix: int) -> ImpTerms:
    """Read what one imp asks of bids."""
    battr = {mtype: slot.battr for mtype, name in _MEDIA_FIELDS if (slot := getattr(imp, name)) is not None}
    sizes: list[tuple[int, int]] = []
    sized = False
    if imp.banner is not None:
        sizes = [(size.w, size.h) for size in imp.banner.format if size.w and size.h]
        if imp.banner.w and imp.banner.h:
            sizes.append((imp.banner.w, imp.banner.h))
        ratios = any(size.wratio and size.hratio for size in imp.banner.format)
        sized = bool(sizes) or ratios or imp.banner.wmax > 0 or imp.banner.hmax > 0
    deals = {deal.id: deal for deal in imp.pmp.deals} if imp.pmp is not None else {}
    return ImpTerms(imp, ix, frozenset(battr), frozenset(sizes), sized, battr, deals)


def bare_domain(text: str) -> str:
    """Return a domain as it is compared: lower case, without scheme, path, port, `www.` and outer dots."""
    return _bare_again(text) if len(text) <= DOMAIN_MAX else _bare(text)


def _bare(text: str) -> str:
    """The work of `bare_domain`."""
    text = text.strip().lower()
    if "/" in text:
        start, slashes, rest = text.partition("//")
        text = (rest if slashes else start).partition("/")[0]
    if ":" in text:
        text = text.partition(":")[0]
    return text.strip(".").removeprefix("www.")


_bare_again: Final = lru_cache(16_384)(_bare)  # bidders and publishers repeat theirs


def domain_in(domain: str, blocked: frozenset[str]) -> bool:
    """Say whether a bare domain, or a parent of it, stands in a set of bare domains."""
    while domain:
        if domain in blocked:
            return True
        domain = domain.partition(".")[2]
    return False


def category_in(category: str, blocked: frozenset[str]) -> bool:
    """Say whether a category, or its tier-1 parent (IAB7 of IAB7-39), stands in a set."""
    return category in blocked or category.partition("-")[0] in blocked


def floor_nano(cpm: float, currency: str, rates: Mapping[str, int]) -> int | None:
    """Return a float floor as nano of the ledger currency, rounded up; None = no rate for the currency."""
    rate_ppm = rates.get(currency.upper() or "USD")
    return None if rate_ppm is None else convert_up(cpm_up(cpm), rate_ppm)


# ---- the bid's side -----------------------------------------------------------------------------------------


def screen(terms: Terms, response: BidResponse, endpoint: str, bids_max: int = BIDS_MAX) -> list[Screened]:
    """Return the fate of the first `bids_max` bids of an answer, in its order; `endpoint` names unnamed seats."""
    currency = response.cur.upper() or "USD"
    rate_ppm = terms.rates.get(currency, 0)
    if terms.currencies and currency not in terms.currencies:
        rate_ppm = 0
    foreign = bool(response.id) and response.id != terms.request.id
    seen: set[str] = set()
    done: list[Screened] = []
    for seatbid in response.seatbid:
        seat = seatbid.seat or endpoint
        for bid in seatbid.bid:
            if len(done) >= bids_max:
                return done
            imp = terms.imps.get(bid.impid)
            net_nano, fate = _price(bid, rate_ppm)
            domains = [bare_domain(domain) for domain in bid.adomain]
            if foreign:
                fate = codes.INVALID_AUCTION
            elif imp is None or bid.id in seen or not _named(bid, seatbid):
                fate = codes.INVALID_RESPONSE
            elif fate == codes.WON:
                fate = _fate(terms, imp, seatbid, bid, net_nano, domains)
            seen.add(bid.id)
            advertiser = next(filter(None, domains), "")
            deal = imp.deals.get(bid.dealid) if imp is not None and bid.dealid else None
            ix = imp.ix if imp is not None else -1
            named = advertiser[:NAME_MAX] or f"seat:{seat}"
            done.append(Screened(bid, seat, named, ix, net_nano, fate, currency, rate_ppm, deal))
    return done


def _named(bid: Bid, seatbid: SeatBid) -> bool:
    """Say whether a bid has usable ids and does not ask for all-or-none, which nobody here can promise."""
    ids = 0 < len(bid.id) <= NAME_MAX and len(bid.dealid) <= NAME_MAX and len(seatbid.seat) <= NAME_MAX
    return ids and not (seatbid.group == 1 and len(seatbid.bid) > 1)


def _price(bid: Bid, rate_ppm: int) -> tuple[int, int]:
    """Return (net nano, fate) of a bid's price alone."""
    price = bid.price
    if price is None:
        return 0, codes.MISSING_PRICE
    if not math.isfinite(price) or price <= 0:
        return 0, codes.INVALID_RESPONSE
    if not rate_ppm:
        return 0, codes.WRONG_CURRENCY
    if price > _CPM_ABSURD:
        return 0, codes.OVER_LIMIT
    net_nano = convert_down(cpm_down(price), rate_ppm)
    if net_nano > PRICE_MAX_NANO:
        return 0, codes.OVER_LIMIT
    return net_nano, codes.WON if net_nano else codes.BELOW_FLOOR


def _fate(terms: Terms, imp: ImpTerms, seatbid: SeatBid, bid: Bid, net_nano: int, domains: list[str]) -> int:
    """Return the fate of a bid with a sound price on a known imp."""
    seat = seatbid.seat
    if terms.bseat and seat in terms.bseat or terms.wseat and seat not in terms.wseat:
        return codes.SEAT_BLOCKED
    if bid.dealid or (imp.imp.pmp is not None and imp.imp.pmp.private_auction == 1):
        fate = _deal_fate(terms, imp, seat, bid, net_nano)
        if fate:
            return fate
    if terms.badv:
        for domain in domains:
            if domain_in(domain, terms.badv):
                return codes.ADVERTISER_BLOCKED
    if terms.bcat:
        for category in bid.cat:
            if category_in(category, terms.bcat):
                return codes.CATEGORY_BLOCKED
    if terms.bapp and bid.bundle in terms.bapp:
        return codes.APP_BLOCKED
    return _creative_fate(imp, bid)


def _deal_fate(terms: Terms, imp: ImpTerms, seat: str, bid: Bid, net_nano: int) -> int:
    """Return the fate of a bid by the deal it names, or fails to name in a private auction."""
    deal = imp.deals.get(bid.dealid)
    if deal is None:
        return codes.INVALID_DEAL
    if deal.wseat and seat not in deal.wseat:
        return codes.SEAT_BLOCKED
    if deal.wadomain:
        allowed = frozenset(map(bare_domain, deal.wadomain))
        if not bid.adomain or not all(domain_in(bare_domain(domain), allowed) for domain in bid.adomain):
            return codes.INVALID_ADVERTISER
    if deal.bidfloor:
        floor = floor_nano(deal.bidfloor, deal.bidfloorcur, terms.rates)
        if floor is None:
            return codes.WRONG_CURRENCY
        if net_nano < floor:
            return codes.BELOW_DEAL_FLOOR
    return codes.WON


def _creative_fate(imp: ImpTerms, bid: Bid) -> int:
    """Return the fate of a bid by its attributes and its markup."""
    media = _media(bid)
    if bid.attr:
        barred = [imp.battr[mtype] for mtype in imp.media & media or imp.media]
        if any(not set(bid.attr).isdisjoint(attributes) for attributes in barred):
            return codes.ATTRIBUTE_BLOCKED
    if not bid.adm and not bid.nurl:
        return codes.MISSING_MARKUP
    if imp.media.isdisjoint(media):
        return codes.CREATIVE_FORMAT
    banner = imp.imp.banner
    if banner is not None and bid.w > 0 and bid.h > 0 and imp.media & media == {codes.BANNER}:
        if imp.sized and (bid.w, bid.h) not in imp.sizes and not _flexible(banner, bid.w, bid.h):
            return codes.CREATIVE_SIZE
    if imp.imp.secure == 1 and insecure(bid.adm):
        return codes.NOT_SECURE
    return codes.WON


def _media(bid: Bid) -> frozenset[int]:
    """Return the media types a bid can be: by mtype, else by the look of its markup."""
    if bid.mtype:
        return _ONE.get(bid.mtype, frozenset())
    start = bid.adm[:512].lstrip()
    if start.startswith("{"):
        return _ONE[codes.NATIVE]
    if "<VAST" in start:
        return _PLAYED
    if start.startswith("<") and not start.startswith("<?xml"):
        return _ONE[codes.BANNER]
    return _ANY


def _flexible(banner: Banner, w: int, h: int) -> bool:
    """Say whether a size fits a ratio in `format`, or lies between the deprecated wmin..wmax and hmin..hmax."""
    for size in banner.format:
        if size.wratio and size.hratio and w >= size.wmin and w * size.hratio == h * size.wratio:
            return True
    if not (banner.wmax or banner.hmax):
        return False
    return banner.wmin <= w <= (banner.wmax or w) and banner.hmin <= h <= (banner.hmax or h)


def insecure(adm: str) -> bool:
    """Say whether markup loads something over http: (names of XML schemas and click links are not loaded)."""
    if "http:" not in adm and "HTTP:" not in adm:
        return False
    return re.search(r"http:(?://|\\/\\/)", _NOT_LOADED.sub("", adm), re.IGNORECASE) is not None
