"""The workload's parameters, in one table: attributes, how often and how a campaign asks about them, three match rates.

22 attributes, 43,813 values. A value's number is its rank: value r is asked for and sent with a weight of
1 / (r + flat + 1), Zipf's law flattened at the head. All sampling is by integers and exact divisions, so that a seed
gives the same bytes on every machine.
"""

from typing import Final

from msgspec import Struct

from exchange.audience.attributes import CONNECTIONS, GENDERS, POSITIONS
from exchange.openrtb.countries import ALPHA_3

SEED: Final = 20_260_101
LIST: Final = 0  # `in` or `not in` a list
RANGE: Final = 1  # between two numbers, or from one, or up to one
HOURS: Final = 2  # a range of hours on weekdays, at weekends or every day
FLOOR_STEP_NANO: Final = 50_000  # CPM 0.05
CLAUSES: Final = ((1, 80), (2, 15), (3, 5))  # conjunctions of a campaign, percent of campaigns
SEGMENTS: Final = (61, 208)  # drawn per request, before equal ones fall together: about 97 distinct
CATEGORIES: Final = (1, 5)
DEALS: Final = (0, 3)


class Column(Struct, frozen=True):
    """One attribute of the workload.

    share: how often a conjunction asks about it, relative to the others. exclude_percent: `not in` among those.
    octaves: a list has up to 2^octaves values. also_not: as share, for one more `not in` on the same attribute.
    """

    name: str
    n: int
    share: float
    octaves: int = 1
    exclude_percent: int = 0
    flat: int = 0
    kind: int = LIST
    also_not: float = 0.0
    open: str = ""  # RANGE: "from" or "to" where only one end is given


TABLE: Final = (
    Column("country", 200, 0.65, 3, 8),
    Column("region", 2_000, 0.20, 6),
    Column("city", 8_000, 0.12, 7),
    Column("domain", 20_000, 0.30, 9, 50),
    Column("publisher", 2_000, 0.25, 7, 50),
    Column("device", 5, 0.50, 1, 5),
    Column("os", 8, 0.40, 1, 5),
    Column("browser", 12, 0.25, 2, 10),
    Column("language", 40, 0.40, 2),
    Column("hour", 168, 0.30, kind=HOURS),
    Column("size", 30, 0.40, 2),
    Column("media", 4, 0.30, 1),
    Column("carrier", 100, 0.15, 3, 40),
    Column("connection", 6, 0.20, 1),
    Column("gender", 3, 0.35, 0),
    Column("position", 8, 0.25, 1, 10),
    Column("age", 100, 0.45, kind=RANGE),
    Column("viewability", 101, 0.30, kind=RANGE, open="from"),
    Column("floor", 128, 0.25, flat=16, kind=RANGE, open="to"),
    Column("deal", 500, 0.08, 4),
    Column("category", 400, 0.40, 4, 30),
    Column("seg", 10_000, 0.45, 9, also_not=0.25),
)
IX: Final = {column.name: ix for ix, column in enumerate(TABLE)}
MULTI: Final = ("deal", "category", "seg")  # a request has several values, or none


class Rate(Struct, frozen=True):
    """How narrowly campaigns ask. predicates: per conjunction, mean; broad_percent: of predicates, that ask
    broadly; exclude_percent: of the table's shares of `not in`; matches: the share of campaigns aimed at."""

    number: int
    predicates: float
    broad_percent: int
    exclude_percent: int
    niche_percent: int
    matches: float


RATES: Final = {
    "low": Rate(0, 9.3, 0, 30, 60, 0.0001),
    "medium": Rate(1, 6.2, 0, 50, 28, 0.0077),
    "high": Rate(2, 3.7, 76, 200, 0, 0.139),
}

_NAMED: Final[dict[str, tuple[str, ...]]] = {
    "country": ("US", "CN", "IN", "BR", "GB", "DE", "FR", "JP", "ID", "MX"),
    "device": ("phone", "desktop", "tablet", "ctv", "other"),
    "os": ("android", "ios", "windows", "macos", "linux", "chromeos", "tizen", "webos"),
    "browser": (
        "chrome", "safari", "edge", "samsung", "firefox", "opera", "webview", "uc", "yandex", "brave", "vivaldi",
        "silk",
    ),
    "language": (
        "en", "zh", "es", "ar", "hi", "fr", "pt", "ru", "bn", "de", "ja", "it", "ko", "tr", "vi", "pl", "nl", "th",
        "id", "fa", "uk", "ro", "el", "cs", "sv", "hu", "fi", "da", "no", "he", "sk", "bg", "hr", "sr", "lt", "lv",
        "et", "sl", "ms", "ca",
    ),
    "size": (
        "300x250", "320x50", "728x90", "160x600", "970x250", "300x600", "320x100", "336x280", "468x60", "970x90",
        "250x250", "200x200", "120x600", "300x50", "320x480", "480x320", "768x1024", "1024x768", "640x480", "1280x720",
        "1920x1080", "640x360", "300x1050", "234x60", "125x125", "180x150", "120x240", "88x31", "580x400", "980x120",
    ),
    "media": ("banner", "video", "native", "audio"),
    "connection": ("wifi", "cellular", "4g", "5g", "3g", "ethernet"),
    "gender": ("f", "m", "o"),
    "position": POSITIONS,
}  # fmt: skip
_PATTERN: Final = {
    "region": "R{:04d}",
    "city": "c{:05d}",
    "domain": "d{:05d}.example",
    "publisher": "p{:04d}",
    "carrier": "carrier{:02d}",
    "deal": "deal{:03d}",
    "seg": "s{:05d}",
}


def _names(column: Column) -> tuple[str, ...]:
    """The texts of an attribute's values by number; nothing for hours and numbers."""
    if column.kind != LIST:
        return ()
    if column.name == "category":  # IAB1 and its 15 parts, IAB2 and ...: by rank all firsts come first
        return tuple(f"IAB{r % 25 + 1}" + (f"-{r // 25}" if r >= 25 else "") for r in range(column.n))
    if pattern := _PATTERN.get(column.name):
        return tuple(pattern.format(r) for r in range(column.n))
    named = _NAMED[column.name]
    if column.name == "country":
        named += tuple(two for two in sorted(ALPHA_3) if two not in named)
    return named[: column.n]


NAMES: Final = {column.name: _names(column) for column in TABLE}
NUMBERS: Final = {name: {text: r for r, text in enumerate(texts)} for name, texts in NAMES.items()}
assert all(len(NAMES[c.name]) == c.n for c in TABLE if c.kind == LIST)
assert set(NAMES["connection"]) <= set(CONNECTIONS) and set(NAMES["gender"]) == set(GENDERS)
assert sum(c.n for c in TABLE) == 43_813 and len(TABLE) == 22
