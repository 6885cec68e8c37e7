"""From a bid request to integers: who it is, where, when, what is for sale at which floor.

The last place that sees OpenRTB's texts on the way in. A request becomes the match query `q` (audience/match.py)
and one OPPORTUNITY record per imp, both as bytes, so that a request waiting for remote bidders holds no shared buffer.
"""

from collections.abc import Collection
from functools import lru_cache
from struct import Struct as Packer
from typing import Any, Final

from msgspec import Struct

from exchange import market as mk
from exchange.auction.venue import Venue
from exchange.audience.people import person_key
from exchange.audience.query import query_of
from exchange.openrtb import codes
from exchange.openrtb.countries import ALPHA_2, packed
from exchange.openrtb.model import App, BidRequest, Device, Dooh, Imp, Site, User

MINUTE_NS: Final = 60 * mk.NANO
FLOORS_MAX: Final = 4_096  # floors as given whose nano is remembered
UNSOLD_FLOOR_NANO: Final = mk.PRICE_MAX_NANO + 1  # no bid reaches it: a floor in a currency without a rate
_NONE: Final[tuple[int, ...]] = ()
_DEVICE_KINDS: Final = {1: "phone", 2: "desktop", 3: "ctv", 4: "phone", 5: "tablet", 6: "ctv", 7: "ctv", 8: "other"}
_DEVICE_CODE: Final = {name: code for code, name in enumerate(codes.DEVICES)}
_COUNTRIES: Final = {text: (country, packed(country)) for text, country in ALPHA_2.items()}
_BANNERS: Final = 1 << codes.BANNER
_NOWHERE: Final = ("", 0)
_PACK: Final = mk.packer(mk.OPPORTUNITY).pack
_PACKERS: Final = [Packer(f"={n}i") for n in range(512)]


class Opened(Struct, gc=False):
    """A request read and encoded, not yet sold."""

    request: BidRequest
    body: bytes
    query: bytes  # int32, native order
    opportunities: bytes  # OPPORTUNITY records
    n_imps: int
    currency: str  # what prices are quoted in; "" = none of those the seller takes has a rate
    now_ns: int
    format: int  # one of mk.FORMATS
    version: int  # of the vocabulary that the query is written in


class Opportunities:
    """Reads requests for one venue. `salt` keys people; `rates` = millionths of the ledger currency per unit."""

    def __init__(self, venue: Venue, salt: bytes, rates: dict[str, int]) -> None:
        self.salt = salt
        self.rates = rates
        self.vocabulary = venue.targets.vocabulary
        self.known = venue.known
        self.ledger_currency = venue.config.exchange.currency
        self.floor_nano = mk.cpm_up(venue.config.auction.floor_cpm)
        self.format = mk.FORMATS[venue.config.auction.format]
        self.formats = venue.formats
        self.name_id, self.name_known = venue.names.id, venue.names.known
        self._set_minute(0)
        self.floors: dict[tuple[float, str], int] = {}  # publishers repeat theirs
        self.currency_of: dict[tuple[str, ...], str] = {(): self.ledger_currency}

    def read(self, request: BidRequest, body: bytes, now_ns: int) -> Opened:
        """Encode a validated request at `now_ns` (UTC; a utcoffset moves the person's hour)."""
        user, device = request.user, request.device
        key = 0
        segments: list[str] = []
        if user is not None or device is not None:
            if not anonymous(request, user, device):
                who = person_id(user, device)
                if who:
                    key = person_key(self.salt, who)
                if user is not None:
                    segments = [s.id or s.name for data in user.data for s in data.segment]
                segments += self.known.get(key, ())
        geo = device.geo if device is not None else None
        if geo is None and user is not None:
            geo = user.geo
        if not self.minute_ns <= now_ns < self.minute_end_ns:
            self._set_minute(now_ns)
        country, country_code, minute = "", 0, self.minute
        if geo is not None:
            country, country_code = _COUNTRIES.get(geo.country, _NOWHERE)
            minute += geo.utcoffset
        hour = minute // 60 % 24
        kind = "" if device is None else _DEVICE_KINDS.get(device.devicetype) or kind_of(device.ua)
        domain, publisher = place_of(request)
        n_imps = len(request.imp)
        name_id = self.name_id if request.test != 1 else self.name_known
        publisher_id, domain_id = name_id("publisher", publisher), name_id("domain", domain)
        device_code = _DEVICE_CODE.get(kind, 0)
        format_ = request.at if request.at in self.formats else self.format
        test = 1 if request.test == 1 else 0
        views: list[dict[str, Any]] = []
        records: list[bytes] = []
        for ix, imp in enumerate(request.imp):
            seen, media, size = view_of(imp)
            floor_nano = self.floors.get((imp.bidfloor, imp.bidfloorcur)) or self._floor(imp)
            views.append(self._imp(imp, seen, floor_nano, request.bcat))
            records.append(
                _PACK(
                    key,
                    floor_nano,
                    0,
                    publisher_id,
                    domain_id,
                    size,
                    country_code,
                    ix,
                    media,
                    device_code,
                    hour,
                    test,
                    0,
                    format_,
                )  # fmt: skip
            )
        view = {
            "country": country,
            "device": kind,
            "domain": domain.lower().removeprefix("www."),
            "publisher": publisher,
            "hour": (minute // 60 + 72) % 168,
            "seg": segments,
        }
        version = self.vocabulary.version
        query = query_of(self.vocabulary, view, views).tobytes()
        currency = self.currency_of.get(request.cur)
        if currency is None:
            currency = self._currency(request.cur)
        packed_imps = records[0] if n_imps == 1 else b"".join(records)
        return Opened(request, body, query, packed_imps, n_imps, currency, now_ns, format_, version)

    def _imp(self, imp: Imp, seen: Any, floor_nano: int, bcat: tuple[str, ...]) -> dict[str, Any]:
        mask, banner, other, battr = seen
        names = [name for code, name in codes.MEDIA.items() if mask >> code & 1]
        texts = [f"{size >> 16}x{size & 0xFFFF}" for size in banner]
        fit = [f"banner {text}" for text in texts] or ["banner"] if mask & _BANNERS else []
        return {
            "size": texts + [f"{size >> 16}x{size & 0xFFFF}" for size in other],
            "media": names,
            "fit": fit + [name for name in names if name != "banner"],
            "blocked": [*bcat, *("insecure" if a < 0 else f"attr {a}" for a in battr)],
            "floor": floor_nano,
        }

    def _set_minute(self, now_ns: int) -> None:
        """Remember the minute of `now_ns`: arithmetic on ns is slow, and the next request comes in the same one."""
        self.minute = now_ns // MINUTE_NS
        self.minute_ns = self.minute * MINUTE_NS
        self.minute_end_ns = self.minute_ns + MINUTE_NS

    def _floor(self, imp: Imp) -> int:
        """The floor of an imp in nano of the ledger currency, rounded up; at least the exchange's own."""
        if imp.bidfloor <= 0:
            return self.floor_nano
        rate_ppm = self.rates.get(imp.bidfloorcur or "USD") or self.rates.get(imp.bidfloorcur.upper())
        if rate_ppm is None:
            return UNSOLD_FLOOR_NANO
        nano = mk.cpm_up(imp.bidfloor)
        if rate_ppm != mk.RATE_ONE_PPM:
            nano = mk.convert_up(nano, rate_ppm)
        nano = min(max(nano, self.floor_nano), UNSOLD_FLOOR_NANO)
        if len(self.floors) >= FLOORS_MAX:
            self.floors.clear()
        self.floors[imp.bidfloor, imp.bidfloorcur] = nano
        return nano

    def _currency(self, cur: tuple[str, ...]) -> str:
        """The currency to answer in: the ledger's if the seller takes it, else the first with a rate, else ""."""
        asked = [code.upper() for code in cur]
        if self.ledger_currency in asked:
            found = self.ledger_currency
        else:
            found = next((code for code in asked if code in self.rates), "")
        if len(self.currency_of) < 1_024:
            self.currency_of[cur] = found
        return found


def segments_of(user: User, ids: dict[str, int], known: Collection[int]) -> Collection[int]:
    """The ids of the segments that the request names, with those `known` before: each once."""
    found: list[int] = []
    for data in user.data:
        for segment in data.segment:
            id_ = ids.get(segment.id or segment.name)
            if id_ is not None:
                found.append(id_)
    return {*found, *known}


def place_of(request: BidRequest) -> tuple[str, str]:
    """Domain and publisher of the place where the ad would stand; "" for what is not told."""
    place: Site | App | Dooh
    if (site := request.site) is not None:
        place, domain = site, site.domain or host_of(site.page)
    elif (app := request.app) is not None:
        place, domain = app, app.domain or app.bundle
    elif (dooh := request.dooh) is not None:
        place, domain = dooh, dooh.domain
    else:
        return "", ""
    publisher = place.publisher
    return domain, (publisher.id if publisher is not None else "") or place.id or domain


def anonymous(request: BidRequest, user: User | None, device: Device | None) -> bool:
    """True when the person must stay unknown: coppa, lmt, dnt, or gdpr without a consent text (design, section 4)."""
    if device is not None and (device.lmt or device.dnt):
        return True
    regs = request.regs
    if regs is None:
        return False
    if regs.coppa:
        return True
    gdpr = regs.gdpr
    if gdpr is None and regs.ext is not None:
        gdpr = regs.ext.gdpr
    if not gdpr:
        return False
    return user is None or not (user.consent or (user.ext is not None and user.ext.consent))


def person_id(user: User | None, device: Device | None) -> str:
    """The text that names the person: user.id, buyeruid, eids (lowest source, first uid), device.ifa; else ""."""
    if user is not None:
        if user.id or user.buyeruid:
            return user.id or user.buyeruid
        eids = user.eids or (user.ext.eids if user.ext is not None else ())
        best = min((eid for eid in eids if eid.uids and eid.uids[0].id), key=lambda eid: eid.source, default=None)
        if best is not None:
            return best.uids[0].id
    return device.ifa if device is not None else ""


def view_of(imp: Imp) -> tuple[Any, int, int]:
    """An imp as the index reads it, its first media type, and its first size (width << 16 | height).

    A private auction takes bids on its deals only, and local campaigns have none: no local line fits it.
    """
    slot = imp.banner
    if slot is not None and imp.video is None and imp.audio is None and imp.native is None and not slot.format:
        if imp.pmp is None or imp.pmp.private_auction != 1:  # the usual imp: a banner of one size
            size = slot.w << 16 | slot.h if slot.w and slot.h else 0
            battr = slot.battr if imp.secure != 1 else (*slot.battr, -1)
            return (_BANNERS, (size,) if size else (), (), battr), codes.BANNER, size
    mask, media = 0, 0
    banner: list[int] = []
    other: list[int] = []
    battr = ()
    if slot is not None:
        mask, media, battr = _BANNERS, codes.BANNER, slot.battr
        if slot.w and slot.h:
            banner.append(slot.w << 16 | slot.h)
        for each in slot.format:
            if each.w and each.h:
                banner.append(each.w << 16 | each.h)
    if imp.video is not None:
        mask, media = mask | 4, media or codes.VIDEO
        if imp.video.w and imp.video.h:
            other.append(imp.video.w << 16 | imp.video.h)
        battr = (*battr, *imp.video.battr)
    if imp.audio is not None:
        mask, media = mask | 8, media or codes.AUDIO
        battr = (*battr, *imp.audio.battr)
    if imp.native is not None:
        mask, media = mask | 16, media or codes.NATIVE
        battr = (*battr, *imp.native.battr)
    if imp.secure == 1:
        battr = (*battr, -1)
    size = banner[0] if banner else other[0] if other else 0
    if imp.pmp is not None and imp.pmp.private_auction == 1:
        mask, banner = 0, []
    return (mask, banner, other, battr), media, size


@lru_cache(maxsize=4_096)
def kind_of(ua: str) -> str:
    """The kind of device a user agent names, where devicetype is not given; "" when it names none."""
    if not ua:
        return ""
    low = ua.lower()
    if "ipad" in low or "tablet" in low or ("android" in low and "mobile" not in low and "tv" not in low):
        return "tablet"
    if "mobi" in low or "iphone" in low:
        return "phone"
    if "tv" in low or "roku" in low or "playstation" in low or "xbox" in low:
        return "ctv"
    return "desktop" if "windows" in low or "macintosh" in low or "linux" in low or "x11" in low else "other"


@lru_cache(maxsize=16_384)
def host_of(page: str) -> str:
    """The host of a page's URL, lower case; "" when there is none."""
    rest = page.partition("//")[2] or page
    host = rest.partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2].partition(":")[0]
    return host.lower() if "." in host else ""
