"""The encoder of requests against the plain query of the same views, and what it does where there is too much."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience import query as qy
from exchange.audience.attributes import ATTRIBUTES, BY_NAME, HOURS, NUMBER, SET
from exchange.audience.target import given as stated
from exchange.audience.vocabulary import OTHER, Vocabulary
from exchange.facts import encode
from exchange.facts.encode import Encoder, asked_about, refusers
from exchange.facts.sources import IMP, MINUTE_NS, PERSON, parts_of, view_of_request
from exchange.openrtb import BadRequest, codes, decode
from exchange.openrtb.corpus import read_requests
from tests.openrtb_samples import NATIVE, good, imp, request
from tests.test_sources import ANDROID, HOUR_NS, MONDAY_NS, PHONE, WINDOWS

CORPUS = Path(__file__).resolve().parents[1].parent / "shared" / "openrtb"

SELLERS = {1: ["www.shop.example"], 2: ["shop.example", "b.example"], 3: ["x.shop.example"]}
SEATS = {"seat1": (1,), "seat2": (2, 3)}
DOMAINS = refusers(SELLERS)
MEDIA = set(codes.MEDIA.values())
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
        imps[-1]["blocked"] = [number for number in imps[-1]["blocked"] if number != OTHER]  # nobody's: no matter
    return {
        "person": slots("request", q),
        "advertiser": slots("advertiser", q),
        "imps": imps,
        "barred": listed(q[qy.BARRED], q[qy.BARRED + 1]),
        "wanted": listed(q[qy.WANTED], q[qy.WANTED + 1]),
    }


def plain(vocabulary: Vocabulary, asked: Any, now_ns: int, floors: list[int], known: Any = ()) -> dict[str, Any]:
    """The content of the query that `query_of` makes, of what is mentioned."""
    view, imps = view_of_request(asked, now_ns, floors, known)
    return content(qy.query_of(vocabulary, view, imps, *sides(asked)), asked_about(vocabulary), exact=False)


def encoded(encoder: Encoder, asked: Any, now_ns: int, floors: list[int], known: Any = ()) -> dict[str, Any]:
    q = np.frombuffer(encoder.encode(asked, parts_of(asked, now_ns // MINUTE_NS), floors, known), np.int64)
    return content(q, asked_about(encoder.vocabulary))


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
    "video": st.fixed_dictionaries({"mimes": st.just(["video/mp4"])}, optional={
        "w": SIZES, "h": SIZES, "pos": CODES, "battr": st.lists(CODES, max_size=2)}),
    "native": st.just({"request": json.dumps(NATIVE), "battr": [1]}), "audio": st.just({"mimes": ["audio/mp4"]}),
}).map(lambda imp: imp if imp.keys() & MEDIA else {**imp, "banner": {}})  # fmt: skip
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
        known = data.draw(LISTS)
        expected = plain(vocabulary, asked, now_ns, floors, known)
        assert encoded(encoder, asked, now_ns, floors, known) == expected
        assert encoded(encoder, asked, now_ns, floors, known) == expected, "from memory"


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
    assert set(RATED) - told == set()


def test_a_new_value_is_seen_by_the_next_request() -> None:
    vocabulary = Vocabulary()
    encoder = Encoder(vocabulary)
    asked = good({**imp(), "site": {"domain": "a.example", "cat": ["IAB1"]}, "bcat": ["IAB2"]})
    for name in ("domain", "under", "category", "size", "blocked", "seg"):
        assert encoded(encoder, asked, 0, [1]) == plain(vocabulary, asked, 0, [1])
        vocabulary.mention(name)
        level = "imps" if BY_NAME[name].level == "imp" else "person"
        got = encoded(encoder, asked, 0, [1])[level]
        assert (got[0] if level == "imps" else got)[name] in (OTHER, [] if name == "blocked" else [OTHER])
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
    long = [f"IAB{n}" for n in range(1_000)]
    asked = good({**imp(banner={"format": [{"w": n, "h": 1} for n in range(1, 999)]}), "bcat": long, "badv": long,
                  "site": {"domain": "1.example", "cat": long}})  # fmt: skip
    vocabulary.id("size", "7x1")
    assert encoded(encoder, asked, 0, [1]) == plain(vocabulary, asked, 0, [1])
    for part in ({"battr": list(range(1_000))}, {"format": [{"w": n, "h": n} for n in range(1_000)]}):
        for slot in (
            {"banner": part},
            {"banner": ..., "video": {"mimes": ["a/b"], "battr": part.get("battr", [1] * 999)}},
        ):
            encoded(encoder, good(imp(**slot)), 0, [1])
    assert [len(memo) for memo in memos()] == [0, 0, 2, 0, 0]  # but the two short domains


def test_too_much_is_cut_on_the_safe_side() -> None:
    """More values of ours than a query has room for: then nobody of ours may bid, rather than one who is barred."""
    vocabulary = Vocabulary()
    deals = [f"d{n}" for n in range(3_000)]
    for name, value in [("fit", "banner 300x250"), *(("deal", each) for each in deals)]:
        vocabulary.mention(name)
        vocabulary.id(name, value)
    vocabulary.mention("seg")
    segments = [f"s{n}" for n in range(9_000)]
    for each in segments:
        vocabulary.id("seg", each)
    encoder = Encoder(vocabulary, lists_max=4_096, lists_per_imp_max=512)
    encoder.sellers({}, {"few": range(1, 1_537), "many": range(1, 1_538)})
    asked = good({**imp(pmp={"deals": [{"id": each} for each in deals]}), "bseat": ["few"]})
    got = encoded(encoder, asked, 0, [1], segments)
    assert (len(got["barred"]), got["wanted"]) == (1_536, [])
    assert len(got["person"]["seg"]) == 2_560
    assert (got["imps"][0]["fit"], len(got["imps"][0]["deal"])) == ([], 512)
    got = encoded(encoder, good(request(bseat=["many"])), 0, [1], segments)
    assert (got["barred"], got["wanted"], len(got["person"]["seg"])) == ([], [encode.NOBODY], 4_095)
    assert got["imps"][0]["fit"] == [2]
    q = encoder.encode(asked, parts_of(asked, 0), [1], segments)
    assert len(q) // 8 <= qy.HEAD + qy.IMP_WIDTH + 512 + 4_096


def test_a_request_that_fills_every_list_stays_within_its_room() -> None:
    """As many barred and wanted as are listed, and categories and domains besides: no count is negative."""
    vocabulary = Vocabulary()
    cats, segments = [f"IAB{n}" for n in range(600)], [f"s{n}" for n in range(3_000)]
    domain = ".".join("abcdefghijklmnop")
    above = [domain[2 * n :] for n in range(16)]
    for name, values in (("category", cats), ("under", above), ("seg", segments)):
        vocabulary.mention(name)
        for value in values:
            vocabulary.id(name, value)
    encoder = Encoder(vocabulary, qy.LISTS_MAX, qy.LISTS_PER_IMP_MAX)
    encoder.sellers({}, {"out": range(1, encode.SIDES_MAX + 1), "in": range(1, 9_000)})
    asked = good(request(bseat=["out"], wseat=["in"], site={"domain": domain, "cat": cats}))
    q = np.frombuffer(encoder.encode(asked, parts_of(asked, 0), [1], segments), np.int64)
    assert q.size == q[qy.LENGTH] == q[qy.SEG] + q[qy.SEG + 1] <= qy.query_max(1)
    sizes = [int(q[slot + 1]) for slot in (qy.BARRED, qy.WANTED, qy.SLOT["category"], qy.SLOT["under"], qy.SEG)]
    assert sizes[:4] == [encode.SIDES_MAX, encode.SIDES_MAX, encode.CATEGORIES_MAX, 16]
    assert sizes[4] == qy.LISTS_MAX - sum(sizes[:4]) > 0


def test_an_imp_whose_refusals_do_not_fit_fits_no_creative() -> None:
    vocabulary = Vocabulary()
    attrs = list(range(513))
    for name, value in [("fit", "banner 300x250"), *(("blocked", f"attr {each}") for each in attrs)]:
        vocabulary.mention(name)
        vocabulary.id(name, value)
    encoder = Encoder(vocabulary, lists_per_imp_max=512)
    for listed, fits in ((attrs[:511], [2]), (attrs, [])):
        got = encoded(encoder, good(imp(banner={"w": 300, "h": 250, "battr": listed})), 0, [1])["imps"][0]
        assert (got["fit"], len(got["blocked"])) == (fits, 511)


def test_what_is_remembered_of_an_imp_is_all_that_matters() -> None:
    """Imps that differ in one thing, one after the other through one encoder, and again."""
    video = {"mimes": ["video/mp4"]}
    imps: list[dict[str, Any]] = [
        {}, {"secure": 1}, {"banner": ..., "video": video}, {"banner": ..., "video": video, "secure": 1},
        *({"banner": {"w": 300, "h": 250, **each}} for each in (
            {"w": 90}, {"h": 90}, {"pos": 0}, {"pos": 1},
            {"battr": [1]}, {"battr": [2]}, {"format": [{"w": 9, "h": 8}]})),
        *({"video": {**video, **each}} for each in (
            {}, {"w": 9, "h": 9}, {"w": 9, "h": 8}, {"w": 8, "h": 9}, {"pos": 7}, {"battr": [1]}, {"battr": [2]})),
        {"audio": video}, {"audio": {**video, "battr": [1]}},
        {"native": {"request": NATIVE}}, {"native": {"request": NATIVE, "battr": [1]}},
        {"pmp": {"private_auction": 1}}, {"pmp": {"deals": [{"id": "d"}]}}, {"pmp": {"deals": [{"id": "e"}]}},
        {"pmp": {"private_auction": 1, "deals": [{"id": "e"}]}},
        *({"metric": [{"type": "viewability", "value": value}]} for value in (0.5, 0.6)),
    ]  # fmt: skip
    asked = [good({**imp(**each), **over}) for each in imps for over in ({}, {"bcat": ["IAB1"]}, {"bcat": ["IAB2"]})]
    vocabulary = Vocabulary()
    for name in RATED:
        vocabulary.mention(name)
    for each in asked:
        learn(vocabulary, each, lambda name, value: True)
    encoder = Encoder(vocabulary)
    for each in asked + asked[::-1]:
        assert encoded(encoder, each, 0, [5]) == plain(vocabulary, each, 0, [5])


def test_ads_and_values_ask_without_a_target() -> None:
    """A tag of an ad and a segment that only a value knows are looked for, though no target mentions them."""
    vocabulary = Vocabulary()
    encoder = Encoder(vocabulary)
    asked = good({**imp(), "bcat": ["IAB2"]})
    tag, segment = vocabulary.id("blocked", "IAB2"), vocabulary.id("seg", "urban")
    got = encoded(encoder, asked, 0, [1])
    assert (got["imps"][0]["blocked"], got["person"]["seg"]) == ([tag], [segment])
