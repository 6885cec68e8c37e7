"""The attributes of a bid request, each read in one place: `PERSON` what is said of person and place, `IMP` of a slot.

Values are those of target.View: None, "" and empty are missing. A person who must stay unknown (`anonymous`) states
no segments, age and gender: those come from `user` alone. Source: OpenRTB 2.6-202606, section 3.2; AdCOM 1.0 for
the codes of device, connection and position.
"""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct

from exchange.audience.attributes import BY_NAME, CONNECTIONS, GENDERS, POSITIONS, WEEK_HOURS
from exchange.audience.language import bare_domain
from exchange.facts.agents import browser_of, browser_of_brands, host_of, kind_of, system_of
from exchange.openrtb import codes
from exchange.openrtb.countries import ALPHA_2
from exchange.openrtb.model import App, BidRequest, Device, Dooh, Geo, Imp, Site, User

MINUTE_NS: Final = 60_000_000_000
AGE_MAX: Final = 120  # years; an older person is a year of birth that means nothing
INSECURE: Final = "insecure"  # among the blocked where imp.secure is 1: markup that loads over http
_DEVICE_KINDS: Final = {1: "phone", 2: "desktop", 3: "ctv", 4: "phone", 5: "tablet", 6: "ctv", 7: "ctv", 8: "other"}
_GENDERS: Final = {text: name for name in GENDERS for text in (name, name.upper())}
_THURSDAY: Final = 3 * 24  # the hour of the week in which 1970 began
_VIEWABILITY: Final = BY_NAME["viewability"].scale
_MEMO: Final = 16_384  # texts whose normal form is remembered


class Parts(Struct, gc=False):
    """The parts of a request that many attributes read, found once."""

    place: Site | App | Dooh | None
    device: Device | None
    geo: Geo | None  # of the device, else of the user
    user: User | None  # None also for a person who must stay unknown
    anonymous: bool
    domain: str  # as given; of an app without one its bundle
    publisher: str
    country: str  # two letters, upper case
    kind: str  # of the device, a name of codes.DEVICES
    minute: int  # since 1970 on the person's clock


def parts_of(request: BidRequest, minute: int) -> Parts:
    """The parts of a request that arrives in the given minute since 1970 (UTC; a utcoffset moves the person's)."""
    device, user = request.device, request.user
    unknown = anonymous(request, user, device)
    geo = device.geo if device is not None else None
    if geo is None and user is not None:
        geo = user.geo
    country = ""
    if geo is not None:
        country = ALPHA_2.get(geo.country, "")
        minute += geo.utcoffset
    kind = "" if device is None else _DEVICE_KINDS.get(device.devicetype) or kind_of(device.ua)
    place: Site | App | Dooh | None
    if (site := request.site) is not None:
        place, domain = site, site.domain or host_of(site.page)
    elif (app := request.app) is not None:
        place, domain = app, app.domain or app.bundle
    elif (place := request.dooh) is not None:
        domain = place.domain
    else:
        return Parts(None, device, geo, None if unknown else user, unknown, "", "", country, kind, minute)
    owner = place.publisher
    publisher = (owner.id if owner is not None else "") or place.id or domain
    return Parts(place, device, geo, None if unknown else user, unknown, domain, publisher, country, kind, minute)


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


# ---- person and place --------------------------------------------------------------------------------------


def _region(parts: Parts) -> str:
    return parts.geo.region.strip().upper() if parts.geo is not None else ""


def _city(parts: Parts) -> str:
    return parts.geo.city.strip().casefold() if parts.geo is not None else ""


def _metro(parts: Parts) -> str:
    return parts.geo.metro.strip() if parts.geo is not None else ""


_bare: Final = lru_cache(maxsize=_MEMO)(bare_domain)


def _domain(parts: Parts) -> str:
    place = parts.place
    return _bare(place.domain if isinstance(place, App) else parts.domain)  # an app's bundle is no domain


def _app(parts: Parts) -> str:
    return parts.place.bundle if isinstance(parts.place, App) else ""


def _os(parts: Parts) -> str:
    device = parts.device
    if device is None:
        return ""
    if not device.os and device.sua is not None and device.sua.platform is not None:
        return system_of(device.sua.platform.brand, device.ua)
    return system_of(device.os, device.ua)


def _browser(parts: Parts) -> str:
    device = parts.device
    if device is None:
        return ""
    if device.sua is not None:
        named = browser_of_brands(tuple(each.brand for each in device.sua.browsers))
        if named:
            return named
    return browser_of(device.ua)


@lru_cache(maxsize=_MEMO)
def _tongue(text: str) -> str:
    first = text.strip().replace("_", "-").partition("-")[0].lower()
    return first if len(first) == 2 and first.isascii() and first.isalpha() else ""


def _language(parts: Parts) -> str:
    device = parts.device
    return _tongue(device.language or device.langb) if device is not None else ""


def _connection(parts: Parts) -> str:
    code = parts.device.connectiontype if parts.device is not None else None
    return CONNECTIONS[code] if code is not None and code < len(CONNECTIONS) else ""


def _carrier(parts: Parts) -> str:
    return parts.device.carrier.strip().lower() if parts.device is not None else ""


def _hour(parts: Parts) -> int:
    return hour_of_week(parts.minute)


def hour_of_week(minute: int) -> int:
    """The hour of the week of a minute since 1970, 0 = Monday 0:00."""
    return (minute // 60 + _THURSDAY) % WEEK_HOURS


def _gender(parts: Parts) -> str:
    return _GENDERS.get(parts.user.gender, "") if parts.user is not None else ""


def _age(parts: Parts) -> int | None:
    if parts.user is None or not parts.user.yob:
        return None
    years = year_of(parts.minute // 1_440) - parts.user.yob
    return years if 0 <= years <= AGE_MAX else None


@lru_cache(maxsize=16)
def year_of(day: int) -> int:
    """The year of a day since 1970, by the Gregorian calendar (Hinnant, chrono-compatible date algorithms)."""
    days = day + 719_468  # since 1 March of the year 0
    era, in_era = divmod(days, 146_097)
    year = (in_era - in_era // 1_460 + in_era // 36_524 - in_era // 146_096) // 365
    in_year = in_era - (365 * year + year // 4 - year // 100)
    return year + era * 400 + (in_year >= 306)  # January and February belong to the year before


def _seg(parts: Parts) -> Collection[str]:
    if parts.user is None:
        return ()
    return [name for data in parts.user.data for each in data.segment if (name := each.id or each.name)]


def cats_of(parts: Parts) -> tuple[str, ...]:
    """The categories of the place, its section and its page, as given."""
    place = parts.place
    if place is None or isinstance(place, Dooh):
        return ()
    cats = place.cat
    if place.sectioncat or place.pagecat:
        cats = (*cats, *place.sectioncat, *place.pagecat)
    return cats


def with_parents(cats: Sequence[str]) -> set[str]:
    """Categories in upper case, and those above them: IAB25-3 is IAB25 as well."""
    upper = [cat.strip().upper() for cat in cats]
    return {each for cat in upper for each in (cat, cat.partition("-")[0]) if each}


def _category(parts: Parts) -> Collection[str]:
    return with_parents(cats_of(parts))


PERSON: Final[dict[str, Callable[[Parts], Any]]] = {
    "country": attrgetter("country"),
    "region": _region,
    "city": _city,
    "metro": _metro,
    "publisher": attrgetter("publisher"),
    "domain": _domain,
    "app": _app,
    "device": attrgetter("kind"),
    "os": _os,
    "browser": _browser,
    "language": _language,
    "connection": _connection,
    "carrier": _carrier,
    "hour": _hour,
    "gender": _gender,
    "age": _age,
    "seg": _seg,
    "category": _category,
}  # `under` is what `domain` says (target.given)


# ---- imps --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=_MEMO)
def size_text(w: int, h: int) -> str:
    """A size as the language writes it."""
    return f"{w}x{h}"


def _banner_sizes(imp: Imp) -> list[str]:
    banner = imp.banner
    if banner is None:
        return []
    sizes = [size_text(banner.w, banner.h)] if banner.w and banner.h else []
    return sizes + [size_text(each.w, each.h) for each in banner.format if each.w and each.h]


def _position(request: BidRequest, imp: Imp, floor_nano: int) -> str:
    code = imp.banner.pos if imp.banner is not None else None
    if code is None and imp.video is not None:
        code = imp.video.pos
    return POSITIONS[code] if code is not None and code < len(POSITIONS) else ""


def _viewability(request: BidRequest, imp: Imp, floor_nano: int) -> int | None:
    for metric in imp.metric:
        if metric.type.lower() == "viewability":
            percent = metric.value if metric.value > 1 else metric.value * 100
            # rounded first: 0.29 is a little less than 29 percent in binary
            return int(round(percent * _VIEWABILITY, 6)) if 0 <= percent <= 100 else None
    return None


def _floor(request: BidRequest, imp: Imp, floor_nano: int) -> int:
    return floor_nano


def _size(request: BidRequest, imp: Imp, floor_nano: int) -> Collection[str]:
    sizes = _banner_sizes(imp)
    if imp.video is not None and imp.video.w and imp.video.h:
        sizes.append(size_text(imp.video.w, imp.video.h))
    return sizes


def _media(request: BidRequest, imp: Imp, floor_nano: int) -> Collection[str]:
    return [name for name in codes.MEDIA.values() if getattr(imp, name) is not None]


def _deal(request: BidRequest, imp: Imp, floor_nano: int) -> Collection[str]:
    return [deal.id for deal in imp.pmp.deals] if imp.pmp is not None else ()


def _fit(request: BidRequest, imp: Imp, floor_nano: int) -> Collection[str]:
    if imp.pmp is not None and imp.pmp.private_auction == 1:
        return ()  # takes bids on its deals only, and local campaigns have none
    banner = codes.MEDIA[codes.BANNER]
    keys = [name for name in _media(request, imp, 0) if name != banner]
    if imp.banner is not None:
        keys += [f"{banner} {size}" for size in _banner_sizes(imp)] or [banner]
    return keys


def refused_of(imp: Imp) -> list[str]:
    """What the imp itself refuses: creatives with an attribute of battr, and insecure ones where it is secure."""
    tags = [INSECURE] if imp.secure == 1 else []
    for slot in (imp.banner, imp.video, imp.audio, imp.native):
        if slot is not None and slot.battr:
            tags += [f"attr {number}" for number in slot.battr]
    return tags


def _blocked(request: BidRequest, imp: Imp, floor_nano: int) -> Collection[str]:
    return [*map(str.upper, request.bcat), *refused_of(imp)]


# floor_nano: the imp's floor in the ledger's currency, which only the caller can know
IMP: Final[dict[str, Callable[[BidRequest, Imp, int], Any]]] = {
    "position": _position,
    "viewability": _viewability,
    "floor": _floor,
    "size": _size,
    "media": _media,
    "deal": _deal,
    "fit": _fit,
    "blocked": _blocked,
}


def offer_of(imp: Imp) -> tuple[int, int]:
    """The first media type that an imp offers, as its code, and the first size as width << 16 | height."""
    media, size, banner, video = 0, 0, imp.banner, imp.video
    if banner is not None:
        media, size = codes.BANNER, banner.w << 16 | banner.h if banner.w and banner.h else 0
        if not size:
            size = next((each.w << 16 | each.h for each in banner.format if each.w and each.h), 0)
    if video is not None:
        media = media or codes.VIDEO
        size = size or (video.w << 16 | video.h if video.w and video.h else 0)
    return media or (codes.AUDIO if imp.audio is not None else codes.NATIVE), size


def view_of_request(
    request: BidRequest, now_ns: int, floors_nano: Sequence[int], known: Collection[str] = ()
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Everything a request states, as views: of the person, and of each imp.

    floors_nano: of each imp, in the ledger's currency. known: segments of the person from elsewhere, by name.
    """
    parts = parts_of(request, now_ns // MINUTE_NS)
    view = {name: of(parts) for name, of in PERSON.items()}
    view["seg"] = {*view["seg"], *known}
    imps = [
        {name: of(request, imp, floor) for name, of in IMP.items()}
        for imp, floor in zip(request.imp, floors_nano, strict=True)
    ]
    return view, imps
