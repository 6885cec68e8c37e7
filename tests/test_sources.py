"""What a request states, attribute by attribute; and the encoder against the plain query of the same views."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience import query as qy
from exchange.audience.attributes import ATTRIBUTES, BY_NAME, HOURS, NUMBER, SET
from exchange.audience.target import given as stated
from exchange.audience.vocabulary import Vocabulary
from exchange.facts import encode
from exchange.facts.creatives import fits_of, refusers, tags_of
from exchange.facts.encode import Encoder
from exchange.facts.sources import IMP, MINUTE_NS, PERSON, anonymous, offer_of, parts_of, view_of_request, year_of
from exchange.openrtb import BadRequest, codes, decode
from exchange.openrtb.corpus import read_requests
from tests.openrtb_samples import NATIVE, good, imp, request

CORPUS = Path(__file__).resolve().parents[1].parent / "shared" / "openrtb"
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


# ---- creatives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "media", "size", "fits"),
    [
        (imp(), codes.BANNER, (300, 250), True),
        (imp(), codes.BANNER, (728, 90), False),
        (imp(), codes.BANNER, None, False),
        (imp(banner={}), codes.BANNER, (728, 90), True),
        (imp(banner={}), codes.BANNER, None, True),
        (imp(), codes.VIDEO, None, False),
        (imp(video={"mimes": ["a/b"]}), codes.VIDEO, (640, 360), True),
        (imp(pmp=PRIVATE), codes.BANNER, (300, 250), False),
    ],
)
def test_creatives_fit(body: Any, media: int, size: tuple[int, int] | None, fits: bool) -> None:
    assert bool(seen(body, "fit").intersection(fits_of(media, size))) == fits


@pytest.mark.parametrize(
    ("body", "blocked"),
    [
        ({**imp(), "bcat": ["IAB25"]}, True),
        ({**imp(), "bcat": ["iab25-3"]}, True),
        ({**imp(), "bcat": ["IAB25-2", "IAB2"]}, False),
        (imp(banner={"battr": [8]}), True),
        (imp(banner={"battr": [9]}), False),
        (imp(secure=1), True),
        (imp(), False),
    ],
)
def test_creatives_are_blocked(body: Any, blocked: bool) -> None:
    assert bool(seen(body, "blocked") & tags_of(["IAB25-3"], [8], secure=False)) == blocked
    assert not seen(imp(secure=1), "blocked") & tags_of(["IAB25-3"], [8], secure=True)


# ---- the encoder -------------------------------------------------------------------------------------------

SELLERS = {1: ["www.shop.example"], 2: ["shop.example", "b.example"], 3: ["x.shop.example"]}
SEATS = {"seat1": (1,), "seat2": (2, 3)}
DOMAINS = refusers(SELLERS)
RATED = [a.name for a in ATTRIBUTES if a.level != "advertiser"]


def sides(asked: Any) -> tuple[list[int], list[int]]:
    """The lists of advertisers refused and admitted, in plain words."""
    badv = {entry.lower().removeprefix("www.") for entry in asked.badv}
    barred = {
        n for n, its in SELLERS.items() for d in its for b in badv if f".{d.removeprefix('www.')}".endswith(f".{b}")
    }
    barred |= {n for seat in asked.bseat for n in SEATS.get(seat, ())}
    wanted = {n for seat in asked.wseat for n in SEATS.get(seat, ())}
    return sorted(barred), sorted(wanted) or [0] if asked.wseat else []


def content(q: Any, mentioned: set[str], exact: bool = True) -> dict[str, Any]:
    """What a query says, wherever it says it; exact: attributes that nobody mentions must be blank."""
    q = [int(each) for each in q]
    blank = qy.blank()

    def listed(at: int, length: int) -> list[int]:
        assert at >= 0 and at + length <= q[qy.LENGTH]
        return q[at : at + length]

    def slots(level: str, values: list[int]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for a in ATTRIBUTES:
            if a.level == level:
                at = qy.SLOT[a.name]
                found[a.name] = listed(values[at], values[at + 1]) if a.kind == SET else values[at]
                if a.name not in mentioned:
                    unsaid = [] if a.kind == SET else blank[at]
                    assert not exact or found[a.name] == unsaid, a.name
                    found[a.name] = unsaid
        return found

    assert q[qy.LENGTH] == len(q) == q[qy.SEG] + q[qy.SEG + 1], "segments are the last list"
    imps = []
    for n in range(q[qy.N_IMPS]):
        first = q[qy.IMPS] + n * qy.IMP_WIDTH
        selected = q[: qy.IMP_SLOTS] + q[first : first + qy.IMP_WIDTH] + q[qy.ADVERTISER_SLOTS : qy.HEAD]
        imps.append(slots("imp", selected))
    return {
        "person": slots("request", q),
        "advertiser": slots("advertiser", q),
        "imps": imps,
        "barred": listed(q[qy.BARRED], q[qy.BARRED + 1]),
        "wanted": listed(q[qy.WANTED], q[qy.WANTED + 1]),
    }


def plain(vocabulary: Vocabulary, asked: Any, now_ns: int, floors: list[int]) -> dict[str, Any]:
    """The content of the query that `query_of` makes, of what is mentioned."""
    view, imps = view_of_request(asked, now_ns, floors)
    return content(qy.query_of(vocabulary, view, imps, *sides(asked)), vocabulary.mentioned, exact=False)


def encoded(encoder: Encoder, asked: Any, now_ns: int, floors: list[int]) -> dict[str, Any]:
    q = np.frombuffer(encoder.encode(asked, parts_of(asked, now_ns // MINUTE_NS), floors), np.int64)
    return content(q, encoder.vocabulary.mentioned)


def learn(vocabulary: Vocabulary, asked: Any, keep: Any) -> None:
    """Mention what a request states, of each value that `keep` wants."""
    view, imps = view_of_request(asked, MONDAY_NS, [1] * len(asked.imp))
    for each, names in [(view, [*PERSON, "under"]), *((i, list(IMP)) for i in imps)]:
        for name in names:
            if BY_NAME[name].kind not in (NUMBER, HOURS):
                for value in stated(name, each):
                    if keep(name, value):
                        vocabulary.id(name, value)


WORDS = st.sampled_from(
    ["", "a", "FRA", "fr-FR", "IAB25", "iab25-3", "Paris", "seat1", "seat2", "b.example", "WWW.shop.example"]
)
LISTS = st.lists(WORDS.filter(bool), max_size=3)
CODES = st.integers(0, 9)
SIZES = st.sampled_from([0, 90, 250, 300])
BANNERS = st.fixed_dictionaries({}, optional={
    "w": SIZES, "h": SIZES, "pos": CODES, "battr": st.lists(CODES, max_size=2),
    "format": st.lists(st.fixed_dictionaries({"w": SIZES, "h": SIZES}), max_size=2),
})  # fmt: skip
METRICS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["viewability", "ctr"]), "value": st.floats(-1, 101)}), max_size=2
)
DEALS = st.fixed_dictionaries({"private_auction": st.integers(0, 1)}, optional={
    "deals": st.lists(WORDS.filter(bool), max_size=2, unique=True).map(lambda ids: [{"id": i} for i in ids])
})  # fmt: skip
IMPS = st.fixed_dictionaries({}, optional={
    "banner": BANNERS, "secure": st.integers(0, 1), "metric": METRICS, "pmp": DEALS,
    "video": st.fixed_dictionaries({"mimes": st.just(["video/mp4"])}, optional={"w": SIZES, "h": SIZES, "pos": CODES}),
    "native": st.just({"request": json.dumps(NATIVE), "battr": [1]}), "audio": st.just({"mimes": ["audio/mp4"]}),
}).map(lambda imp: imp if imp.keys() & codes_names() else {**imp, "banner": {}})  # fmt: skip
PLACES = st.fixed_dictionaries({}, optional={
    "domain": WORDS, "cat": LISTS, "pagecat": LISTS, "sectioncat": LISTS,
    "publisher": st.fixed_dictionaries({"id": WORDS}),
})  # fmt: skip
DATA = st.fixed_dictionaries({"segment": LISTS.map(lambda ids: [{"id": i} for i in ids])})
BODIES = st.fixed_dictionaries(
    {"id": st.just("r"), "imp": st.lists(IMPS, min_size=1, max_size=3).map(
        lambda imps: [{"id": str(n), **each} for n, each in enumerate(imps)])},
    optional={
        "badv": LISTS, "bcat": LISTS, "bseat": LISTS, "wseat": LISTS,
        "regs": st.fixed_dictionaries({}, optional={"coppa": st.integers(0, 1), "gdpr": st.integers(0, 1)}),
        "user": st.fixed_dictionaries({}, optional={
            "gender": st.sampled_from(["m", "F", "x"]), "yob": st.integers(1890, 2030),
            "data": st.lists(DATA, max_size=2),
        }),
        "device": st.fixed_dictionaries({}, optional={
            "ua": st.sampled_from([PHONE, WINDOWS, ANDROID, ""]), "os": WORDS, "language": WORDS, "carrier": WORDS,
            "connectiontype": CODES, "devicetype": CODES, "lmt": st.integers(0, 1),
            "geo": st.fixed_dictionaries({}, optional={
                "country": WORDS, "region": WORDS, "city": WORDS, "metro": WORDS, "utcoffset": st.integers(-900, 900),
            }),
        }),
    },
)  # fmt: skip


def codes_names() -> set[str]:
    return set(codes.MEDIA.values())


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.tuples(BODIES, st.sampled_from(["site", "app", ""]), PLACES), min_size=1, max_size=3), st.data())
def test_encoder_equals_the_plain_query(bodies: list[tuple[Any, str, Any]], data: st.DataObject) -> None:
    """Random requests through one encoder, twice each, while values and attributes come to be mentioned."""
    vocabulary = Vocabulary()
    encoder = Encoder(vocabulary)
    encoder.sellers(DOMAINS, SEATS)
    for body, where, place in bodies:
        for name in data.draw(st.lists(st.sampled_from(RATED), max_size=len(RATED), unique=True)):
            vocabulary.mention(name)
        asked = good({**body, where: place} if where else body)
        salt = data.draw(st.integers(0, 3))
        learn(vocabulary, asked, lambda name, value, salt=salt: (len(name) + len(value) + salt) % 4)
        floors = [10**6 * (n + 1) + salt for n in range(len(asked.imp))]
        now_ns = MONDAY_NS + data.draw(st.integers(0, 400)) * HOUR_NS
        expected = plain(vocabulary, asked, now_ns, floors)
        assert encoded(encoder, asked, now_ns, floors) == expected
        assert encoded(encoder, asked, now_ns, floors) == expected, "from memory"


def test_encoder_equals_the_plain_query_on_the_corpus() -> None:
    """All requests of the corpus that are accepted, every attribute mentioned, half of the values known."""
    if not CORPUS.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CORPUS} is missing")
        pytest.skip(f"{CORPUS} is missing: the corpus lies beside the repository")
    asked = []
    for path in sorted(each for each in CORPUS.rglob("*") if each.is_file() and each.suffix != ".md"):
        for _, body in read_requests(path):
            try:
                asked.append(decode(body))
            except BadRequest:
                continue
    assert len(asked) > 90
    vocabulary = Vocabulary()
    encoder = Encoder(vocabulary)
    encoder.sellers(DOMAINS, SEATS)
    for name in RATED:
        vocabulary.mention(name)
    for n, each in enumerate(asked):
        learn(vocabulary, each, lambda name, value, n=n: (n + len(value)) % 2)
    told: set[str] = set()
    for each in asked:
        floors = list(range(1, len(each.imp) + 1))
        got = encoded(encoder, each, MONDAY_NS, floors)
        assert got == plain(vocabulary, each, MONDAY_NS, floors)
        for values in (got["person"], *got["imps"]):
            told |= {name for name, value in values.items() if value not in (0, [], qy.NO_NUMBER)}
    assert told == set(RATED) - {"carrier", "viewability"} or told == set(RATED)


def test_a_new_value_is_seen_by_the_next_request() -> None:
    vocabulary = Vocabulary()
    encoder = Encoder(vocabulary)
    asked = good({**imp(), "site": {"domain": "a.example", "cat": ["IAB1"]}, "bcat": ["IAB2"]})
    for name in ("domain", "under", "category", "size", "blocked", "seg"):
        assert encoded(encoder, asked, 0, [1]) == plain(vocabulary, asked, 0, [1])
        vocabulary.mention(name)
        level = "imps" if BY_NAME[name].level == "imp" else "person"
        got = encoded(encoder, asked, 0, [1])[level]
        assert (got[0] if level == "imps" else got)[name] in (1, [] if name == "blocked" else [1]), "stated, but nobody names it"
        value = {"domain": "a.example", "under": "example", "category": "IAB1", "size": "300x250", "blocked": "IAB2"}
        number = vocabulary.id(name, value.get(name, "urban"))
        got = encoded(encoder, asked, 0, [1])[level]
        assert (got[0] if level == "imps" else got)[name] in (number, [number])


@pytest.mark.parametrize(
    ("body", "barred", "wanted"),
    [
        (request(), [], []),
        (request(badv=["shop.example"]), [1, 2, 3], []),
        (request(badv=["WWW.Shop.example"]), [1, 2, 3], []),
        (request(badv=["x.shop.example", "op.example"]), [3], []),
        (request(badv=["y.shop.example"]), [], []),
        (request(badv=["b.example"], bseat=["seat1", "else"]), [1, 2], []),
        (request(wseat=["seat2", "else"]), [], [2, 3]),
        (request(wseat=["else"]), [], [0]),
        (request(wseat=["seat1"], bseat=["seat2"]), [2, 3], [1]),
    ],
)
def test_whom_the_publisher_refuses_and_admits(body: Any, barred: list[int], wanted: list[int]) -> None:
    encoder = Encoder(Vocabulary())
    encoder.sellers(DOMAINS, SEATS)
    got = encoded(encoder, good(body), 0, [1])
    assert (got["barred"], got["wanted"]) == (barred, wanted) == sides(good(body))


def test_new_sellers_are_seen_by_the_next_request() -> None:
    encoder = Encoder(Vocabulary())
    asked = good(request(badv=["shop.example"], wseat=["seat1"]))
    assert encoded(encoder, asked, 0, [1])["barred"] == []
    encoder.sellers(DOMAINS, SEATS)
    got = encoded(encoder, asked, 0, [1])
    assert (got["barred"], got["wanted"]) == ([1, 2, 3], [1])


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is sent, no more than MEMO_MAX entries are kept of a kind, and none with a long key."""
    monkeypatch.setattr(encode, "MEMO_MAX", 5)
    vocabulary = Vocabulary()
    for name in ("category", "under", "size", "blocked"):
        vocabulary.mention(name)
    encoder = Encoder(vocabulary)
    memos = lambda: (encoder._slots, encoder._cats, encoder._unders, encoder._refused, encoder._barred)  # noqa: E731
    for n in range(1, 30):
        site = {"domain": f"{n}.example", "cat": [f"IAB{n}"]}
        body = {**imp(banner={"w": n, "h": n}), "site": site, "bcat": [f"IAB{n}"], "badv": [f"{n}.example"]}
        encoded(encoder, good(body), 0, [1])
        assert all(1 <= len(memo) <= 5 for memo in memos())
    sizes = [len(memo) for memo in memos()]
    long = [f"IAB{n}" for n in range(1_000)]
    asked = good({**imp(banner={"format": [{"w": n, "h": 1} for n in range(1, 999)]}), "bcat": long, "badv": long,
                  "site": {"domain": "1.example", "cat": long}})  # fmt: skip
    vocabulary.id("size", "7x1")
    assert encoded(encoder, asked, 0, [1]) == plain(vocabulary, asked, 0, [1])
    assert [len(memo) for memo in memos()] == [0, 0, 1, 0, 0] and sizes
