"""The attributes a target may ask about: name, kind, where a request says so, and where the query carries it.

Kinds: `text` has one value or none; `set` any number of values; `hours` is the hour of the week, one of 168; `number`
a number or none. Levels: `request` and `imp` are said by the request; `advertiser` depends on who asks (its own list,
what it has shown this person) and is known only when the campaign is looked at.
Width: a narrow attribute has few values, so that a row of bits for each is cheap; a wide one has posting lists.
"""

from typing import Final

from msgspec import Struct

from exchange.openrtb.codes import DEVICES, MEDIA

TEXT: Final = "text"
SET: Final = "set"
NUMBER: Final = "number"
HOURS: Final = "hours"
WEEK_HOURS: Final = 168
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
POSITIONS: Final = ("unknown", "above", "locked", "below", "header", "footer", "sidebar", "fullscreen")
CONNECTIONS: Final = ("unknown", "ethernet", "wifi", "cellular", "2g", "3g", "4g", "5g")
GENDERS: Final = ("m", "f", "o")


class Attribute(Struct, frozen=True, kw_only=True):
    """One attribute of the language."""

    name: str
    kind: str
    level: str = "request"
    wide: bool = False
    source: str  # path in the OpenRTB request, or what it is derived from
    meaning: str
    values: tuple[str, ...] = ()  # all there are; empty = any text
    scale: int = 1  # NUMBER: one unit as the language writes it = this many inside
    hidden: bool = False  # not a word of the language: `under` is written `domain under`, the others are the market's


ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    Attribute(name="country", kind=TEXT, source="device.geo.country", meaning="where the device is, two letters"),
    Attribute(name="region", kind=TEXT, wide=True, source="device.geo.region", meaning="region (ISO 3166-2)"),
    Attribute(name="city", kind=TEXT, wide=True, source="device.geo.city", meaning="city"),
    Attribute(name="metro", kind=TEXT, wide=True, source="device.geo.metro", meaning="metro area"),
    Attribute(name="publisher", kind=TEXT, wide=True, source="site.publisher.id", meaning="who owns the place"),
    Attribute(name="domain", kind=TEXT, wide=True, source="site.domain", meaning="the site"),
    Attribute(name="app", kind=TEXT, wide=True, source="app.bundle", meaning="the app's bundle"),
    Attribute(name="device", kind=TEXT, source="device.devicetype", meaning="what it is", values=tuple(DEVICES)),
    Attribute(name="os", kind=TEXT, source="device.os", meaning="operating system, lower case"),
    Attribute(name="browser", kind=TEXT, source="device.ua", meaning="browser, lower case"),
    Attribute(name="language", kind=TEXT, source="device.language", meaning="language, two letters, lower case"),
    Attribute(
        name="connection", kind=TEXT, source="device.connectiontype", meaning="how it is connected", values=CONNECTIONS
    ),
    Attribute(name="carrier", kind=TEXT, source="device.carrier", meaning="carrier or provider"),
    Attribute(name="hour", kind=HOURS, source="arrival, device.geo.utcoffset", meaning="the person's local hour"),
    Attribute(name="gender", kind=TEXT, source="user.gender", meaning="m, f or o", values=GENDERS),
    Attribute(name="age", kind=NUMBER, source="user.yob", meaning="years, by year of birth"),
    Attribute(name="seg", kind=SET, wide=True, source="user.data.segment, the people store", meaning="segments"),
    Attribute(name="category", kind=SET, wide=True, source="site.cat, app.cat", meaning="of the place, with parents"),
    Attribute(name="under", kind=SET, wide=True, source="site.domain", meaning="domain and all above", hidden=True),
    Attribute(
        name="position",
        kind=TEXT,
        level="imp",
        source="imp.banner.pos, imp.video.pos",
        meaning="where on the page",
        values=POSITIONS,
    ),
    Attribute(
        name="viewability",
        kind=NUMBER,
        level="imp",
        source="imp.metric[type=viewability].value",
        meaning="percent, as the publisher measured",
        scale=100,
    ),
    Attribute(
        name="floor",
        kind=NUMBER,
        level="imp",
        source="imp.bidfloor",
        meaning="CPM in the ledger's currency",
        scale=1_000_000,
    ),
    Attribute(name="size", kind=SET, level="imp", source="imp.banner, imp.video", meaning="sizes offered"),
    Attribute(name="media", kind=SET, level="imp", source="imp", meaning="media offered", values=tuple(MEDIA.values())),
    Attribute(name="deal", kind=SET, level="imp", wide=True, source="imp.pmp.deals.id", meaning="deals offered"),
    Attribute(name="fit", kind=SET, level="imp", source="imp", meaning="what creatives would fit", hidden=True),
    Attribute(name="blocked", kind=SET, level="imp", source="bcat, battr", meaning="barred creatives", hidden=True),
    Attribute(name="own", kind=NUMBER, level="advertiser", source="own list", meaning="1 = on the advertiser's list"),
    Attribute(name="contacts", kind=NUMBER, level="advertiser", source="contacts", meaning="billed impressions so far"),
    Attribute(
        name="last_contact_days",
        kind=NUMBER,
        level="advertiser",
        source="contacts",
        meaning="whole days since the last billed impression",
    ),
)
BY_NAME: Final = {attribute.name: attribute for attribute in ATTRIBUTES}
WORDS: Final = tuple(attribute.name for attribute in ATTRIBUTES if not attribute.hidden)
