"""What a request states, attribute by attribute."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exchange.audience.attributes import ATTRIBUTES, BY_NAME, HOURS, NUMBER, SET
from exchange.audience.target import given as stated
from exchange.facts.sources import IMP, MINUTE_NS, PERSON, anonymous, offer_of, view_of_request, year_of
from exchange.openrtb import codes
from tests.openrtb_samples import NATIVE, good, imp, request

DOC = Path(__file__).resolve().parents[1] / "docs" / "openrtb.md"
MONDAY_NS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 10**9  # 0:00
HOUR_NS = 60 * MINUTE_NS
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) Version/17.4 Mobile/15E148 Safari/604.1"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/123.0 Safari/537.36"
ANDROID = (
    "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 SamsungBrowser/24.0 Chrome/117.0 Mobile Safari/537.36"
)
PRIVATE = {"private_auction": 1, "deals": [{"id": "d1"}]}


def device(**fields: Any) -> dict[str, Any]:
    return request(device=fields)


def geo(**fields: Any) -> dict[str, Any]:
    return request(device={"geo": fields})


def user(**fields: Any) -> dict[str, Any]:
    return request(user=fields)


def seen(body: Any, name: str, now_ns: int = MONDAY_NS, floor_nano: int = 7) -> Any:
    """What a request states of one attribute; of its first imp."""
    got = good(body)
    view, imps = view_of_request(got, now_ns, [floor_nano] * len(got.imp))
    value = (imps[0] if BY_NAME[name].level == "imp" else view)[name] if name != "under" else stated("under", view)
    kind = BY_NAME[name].kind
    return set(value) if kind == SET else value if kind in (NUMBER, HOURS) else value or ""


STATED: list[tuple[str, Any, Any]] = [
    ("country", geo(country="FRA"), "FR"),
    ("country", geo(country="fr"), "FR"),
    ("country", geo(country="UK"), "GB"),
    ("country", geo(country="XYZ"), ""),
    ("country", request(user={"geo": {"country": "BEL"}}), "BE"),
    ("country", request(user={"geo": {"country": "BEL"}}, device={"geo": {"country": "FRA"}}), "FR"),
    ("country", device(), ""),
    ("region", geo(region="idf"), "IDF"),
    ("region", geo(region=" FR-idf "), "FR-IDF"),
    ("region", geo(region=75), "75"),
    ("region", geo(region={"a": 1}), ""),
    ("city", geo(city=" Saint-Étienne"), "saint-étienne"),
    ("city", geo(city="STRAẞE"), "strasse"),
    ("city", geo(city=["Paris"]), ""),
    ("city", device(), ""),
    ("metro", geo(metro="501 "), "501"),
    ("metro", geo(metro=501), "501"),
    ("publisher", request(site={"id": "s", "publisher": {"id": "p"}}), "p"),
    ("publisher", request(site={"id": "s", "publisher": {"id": ""}}), "s"),
    ("publisher", request(site={"domain": "News.example"}), "News.example"),
    ("publisher", request(site=..., app={"bundle": "com.a"}), "com.a"),
    ("publisher", request(site=...), ""),
    ("domain", request(site={"domain": "WWW.News.Example."}), "news.example"),
    ("domain", request(site={"page": "https://u@www.news.example:80/a?b"}), "news.example"),
    ("domain", request(site=..., app={"domain": "www.Game.example", "bundle": "com.a"}), "game.example"),
    ("domain", request(site=..., app={"bundle": "com.a"}), ""),
    ("domain", request(site=..., dooh={"domain": "screens.example"}), "screens.example"),
    ("domain", request(site=...), ""),
    ("under", request(site={"domain": "www.a.b.example"}), {"a.b.example", "b.example", "example"}),
    ("under", request(site={}), set()),
    ("app", request(site=..., app={"bundle": "com.Game"}), "com.Game"),
    ("app", request(), ""),
    ("device", device(devicetype=5), "tablet"),
    ("device", device(devicetype=99, ua=WINDOWS), "desktop"),
    ("device", device(ua=PHONE), "phone"),
    ("device", device(), ""),
    ("device", request(device=...), ""),
    ("os", device(os="iOS"), "ios"),
    ("os", device(os="iPadOS"), "ios"),
    ("os", device(os="OS X"), "macos"),
    ("os", device(os="macOS"), "macos"),
    ("os", device(os="Windows 11"), "windows"),
    ("os", device(os="ANDROID", ua=WINDOWS), "android"),
    ("os", device(os=" Ubuntu"), "linux"),
    ("os", device(os="Vizio  OS"), "vizio os"),
    ("os", device(os=5), "5"),
    ("os", device(os=[1], ua=PHONE), "ios"),
    ("os", device(ua=PHONE), "ios"),
    ("os", device(ua=ANDROID), "android"),
    ("os", device(ua=WINDOWS), "windows"),
    ("os", device(ua="Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15)"), "macos"),
    ("os", device(ua="Mozilla/5.0 (X11; CrOS x86_64)"), "chromeos"),
    ("os", device(ua="curl"), ""),
    ("os", device(sua={"platform": {"brand": "macOS"}}, ua=WINDOWS), "macos"),
    ("os", request(device=...), ""),
    ("browser", device(ua=PHONE), "safari"),
    ("browser", device(ua=WINDOWS), "chrome"),
    ("browser", device(ua=ANDROID), "samsung"),
    ("browser", device(ua=WINDOWS + " Edg/123.0"), "edge"),
    ("browser", device(ua=WINDOWS + " OPR/109.0"), "opera"),
    ("browser", device(ua="Mozilla/5.0 (X11; Linux x86_64; rv:124.0) Gecko/20100101 Firefox/124.0"), "firefox"),
    ("browser", device(ua=PHONE.replace("Version", "CriOS")), "chrome"),
    ("browser", device(ua="Dalvik/2.1.0"), "other"),
    ("browser", device(ua=""), ""),
    ("browser", device(sua={"browsers": [{"brand": "Not A;Brand"}, {"brand": "Microsoft Edge"}]}, ua=WINDOWS), "edge"),
    ("browser", device(sua={"browsers": [{"brand": "Chromium"}, {"brand": "Opera"}]}), "opera"),
    ("browser", device(sua={"browsers": [{"brand": "Else"}]}, ua=WINDOWS), "chrome"),
    ("browser", device(sua={"browsers": []}), ""),
    ("language", device(language="EN"), "en"),
    ("language", device(language="pt_BR"), "pt"),
    ("language", device(langb="zh-Hant-TW"), "zh"),
    ("language", device(language="english"), ""),
    ("language", device(language="é1"), ""),
    ("language", request(device=...), ""),
    ("connection", device(connectiontype=2), "wifi"),
    ("connection", device(connectiontype="7"), "5g"),
    ("connection", device(connectiontype=0), "unknown"),
    ("connection", device(connectiontype=99), ""),
    ("connection", device(), ""),
    ("carrier", device(carrier="Orange F "), "orange f"),
    ("carrier", device(carrier=20801), "20801"),
    ("hour", geo(utcoffset=0), 0),
    ("hour", geo(utcoffset=-1), 167),
    ("hour", geo(utcoffset=330), 5),
    ("hour", geo(utcoffset="noon"), 0),
    ("hour", geo(utcoffset=2**31 - 1), (2**31 - 1) // 60 % 168),
    ("hour", request(device=...), 0),
    ("gender", user(gender="F"), "f"),
    ("gender", user(gender="o"), "o"),
    ("gender", user(gender="x"), ""),
    ("gender", request(user=...), ""),
    ("age", user(yob=1990), 34),
    ("age", user(yob="1990"), 34),
    ("age", user(yob=2024), 0),
    ("age", user(yob=1904), 120),
    ("age", user(yob=1903), None),
    ("age", user(yob=2025), None),
    ("age", user(yob=0), None),
    ("age", user(yob="long ago"), None),
    ("age", request(user=...), None),
    ("seg", user(data=[{"segment": [{"id": "a", "name": "b"}, {"name": "c"}]}, {"segment": [{}]}]), {"a", "c"}),
    ("seg", user(), set()),
    ("category", request(site={"cat": ["iab25-3", "IAB1"], "pagecat": ["IAB2"], "sectioncat": "IAB7-39"}),
     {"IAB25-3", "IAB25", "IAB1", "IAB2", "IAB7-39", "IAB7"}),
    ("category", request(site=..., app={"cat": ["483"], "pagecat": [484]}), {"483", "484"}),
    ("category", request(site=..., dooh={"id": "d"}), set()),
    ("position", imp(banner={"pos": 1}), "above"),
    ("position", imp(banner={"pos": 0}), "unknown"),
    ("position", imp(banner={"pos": 1}, video={"mimes": ["a/b"], "pos": 7}), "above"),
    ("position", imp(video={"mimes": ["a/b"], "pos": 7}), "fullscreen"),
    ("position", imp(banner={"pos": 99}), ""),
    ("position", imp(), ""),
    ("viewability", imp(metric=[{"type": "viewability", "value": 0.29}]), 2_900),
    ("viewability", imp(metric=[{"type": "Viewability", "value": 0.12345}]), 1_234),
    ("viewability", imp(metric=[{"type": "viewability", "value": 1}]), 10_000),
    ("viewability", imp(metric=[{"type": "viewability", "value": 70.555}]), 7_055),
    ("viewability", imp(metric=[{"type": "viewability", "value": 0}]), 0),
    ("viewability", imp(metric=[{"type": "click_through_rate", "value": 0.5}]), None),
    ("viewability", imp(metric=[{"type": "viewability", "value": -1}]), None),
    ("viewability", imp(metric=[{"type": "viewability", "value": 101}]), None),
    ("viewability", imp(metric=[{"type": "viewability", "value": "high"}]), 0),
    ("viewability", imp(), None),
    ("floor", imp(), 7),
    ("size", imp(banner={"w": 1, "h": 2, "format": [{"w": 3, "h": 4}, {"w": 5}]}), {"1x2", "3x4"}),
    ("size", imp(video={"mimes": ["a/b"], "w": 640, "h": 360}), {"300x250", "640x360"}),
    ("size", imp(banner={"w": 300}), set()),
    ("media", imp(native={"request": NATIVE}, audio={"mimes": ["a/b"]}), {"banner", "audio", "native"}),
    ("deal", imp(pmp={"deals": [{"id": "d1"}, {"id": 2}]}), {"d1", "2"}),
    ("deal", imp(), set()),
    ("fit", imp(), {"banner 300x250"}),
    ("fit", imp(banner={}), {"banner"}),
    ("fit", imp(banner={"w": 1, "h": 2, "format": [{"w": 3, "h": 4}]}), {"banner 1x2", "banner 3x4"}),
    ("fit", imp(video={"mimes": ["a/b"], "w": 9, "h": 9}), {"banner 300x250", "video"}),
    ("fit", imp(pmp=PRIVATE), set()),
    ("fit", imp(pmp={**PRIVATE, "private_auction": 0}), {"banner 300x250"}),
    ("blocked", {**imp(secure=1), "bcat": ["iab25"]}, {"IAB25", "insecure"}),
    ("blocked", imp(banner={"battr": [3]}, video={"mimes": ["a/b"], "battr": [4, 3]}), {"attr 3", "attr 4"}),
    ("blocked", imp(secure=0), set()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "value"), STATED, ids=[f"{n}-{row[0]}" for n, row in enumerate(STATED)])
def test_attribute(name: str, body: Any, value: Any) -> None:
    assert seen(body, name) == value


def test_every_attribute_has_a_source_and_a_test() -> None:
    levels = {level: {a.name for a in ATTRIBUTES if a.level == level} for level in ("request", "imp")}
    assert set(PERSON) == levels["request"] - {"under"} and set(IMP) == levels["imp"]
    assert {row[0] for row in STATED} == levels["request"] | levels["imp"]


def test_the_docs_list_every_attribute() -> None:
    section = DOC.read_text().split("## What targets read\n")[1].split("\n## ")[0]
    rows = [row.split(" | ")[:2] for row in section.splitlines() if row.startswith("| `")]
    told = [a for a in ATTRIBUTES if not a.hidden and a.level != "advertiser"]
    assert rows == [[f"| `{a.name}`", f"`{a.source}`"] for a in told]


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ({"regs": {"coppa": 1}}, True),
        ({"regs": {"gdpr": 1}}, True),
        ({"regs": {"ext": {"gdpr": 1}}}, True),
        ({"device": {"lmt": 1}}, True),
        ({"device": {"dnt": 1}}, True),
        ({"regs": {"gdpr": 0}}, False),
        ({"regs": {"coppa": 0}, "device": {"lmt": 0}}, False),
    ],
)
def test_who_must_stay_unknown_states_nothing_of_the_person(body: dict[str, Any], unknown: bool) -> None:
    person = {"yob": 1990, "gender": "f", "data": [{"segment": [{"id": "a"}]}], "geo": {"country": "FRA"}}
    whole = request(user=person, **body)
    got = good(whole)
    assert anonymous(got, got.user, got.device) == unknown
    told = [seen(whole, name) for name in ("seg", "age", "gender")]
    assert told == ([set(), None, ""] if unknown else [{"a"}, 34, "f"])
    assert seen(whole, "country") == "FR"


def test_consent_makes_known() -> None:
    for given_ in ({"consent": "CP"}, {"ext": {"consent": "CP"}}):
        assert seen(request(regs={"gdpr": 1}, user={"gender": "m", **given_}), "gender") == "m"


@pytest.mark.parametrize("year", [1, 1900, 1969, 1970, 2000, 2023, 2024, 2100, 9998])
def test_years(year: int) -> None:
    epoch = datetime(1970, 1, 1)
    for at in (datetime(year, 1, 1), datetime(year, 2, 28), datetime(year, 3, 1), datetime(year, 12, 31)):
        assert year_of((at - epoch).days) == year


def test_hours_of_the_week_are_the_calendars() -> None:
    for hour in range(400):
        now_ns = MONDAY_NS + hour * HOUR_NS
        at = datetime.fromtimestamp(now_ns // 10**9, UTC)
        assert seen(request(), "hour", now_ns) == at.weekday() * 24 + at.hour


def test_known_segments_join() -> None:
    view, _ = view_of_request(good(request()), 0, [1], known=("more",))
    assert view["seg"] == {"urban", "more"}


def test_offer() -> None:
    video = {"mimes": ["a/b"], "w": 640, "h": 360}
    for body, expected in [
        (imp(), (codes.BANNER, 300 << 16 | 250)),
        (imp(banner={"format": [{"w": 1}, {"w": 3, "h": 4}]}), (codes.BANNER, 3 << 16 | 4)),
        (imp(banner={}, video=video), (codes.BANNER, 640 << 16 | 360)),
        (imp(banner=..., video=video), (codes.VIDEO, 640 << 16 | 360)),
        (imp(banner=..., audio={"mimes": ["a/b"]}, native={"request": NATIVE}), (codes.AUDIO, 0)),
        (imp(banner=..., native={"request": NATIVE}), (codes.NATIVE, 0)),
    ]:
        assert offer_of(good(body).imp[0]) == expected
