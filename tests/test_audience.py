"""The audience index and its kernel against plain evaluation: the same lines for every person and imp."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience import rows as gather
from exchange.audience.index import HOUR_UNKNOWN, NEED_NOT_OWN, NEED_OWN, Line, build
from exchange.audience.language import INCLUDES_MAX, Leaf, bare_domain, holds, parse, size_of
from exchange.audience.match import match
from exchange.openrtb.codes import AUDIO, BANNER, DEVICES, MEDIA, NATIVE, VIDEO

SEGMENTS = [f"s{i}" for i in range(7)]
COUNTRIES = ["FR", "BE", "DE"]
DOMAINS = ["a.com", "b.com", "sub.a.com"]
SIZES = ["300x250", "728x90", "320x50"]
CATS = ["IAB1", "IAB1-2", "IAB2-3", "IAB25"]
SEATS = ["one", "two"]


def some(values, least=1):
    return st.lists(st.sampled_from(values), min_size=least, max_size=4, unique=True).map(tuple)


def leaf(attribute, ops, values):
    return st.builds(Leaf, st.just(attribute), st.sampled_from(ops), some(values))


HOURS = st.tuples(st.integers(0, 23), st.integers(0, 23)).map(lambda ends: tuple(map(str, ends)))
IN = ("in", "not in")
LEAVES = st.one_of(
    leaf("seg", ("one of", "all of", "none of"), SEGMENTS),
    leaf("seg", ("one of", "all of", "none of"), SEGMENTS),
    leaf("country", IN, COUNTRIES),
    leaf("device", IN, DEVICES),
    leaf("domain", IN, DOMAINS),
    leaf("size", ("not in",), SIZES),
    leaf("media", IN, list(MEDIA.values())),
    st.builds(Leaf, st.just("hour"), st.just("between"), HOURS),
    st.just(Leaf("own", "is")),
)
TARGETS = st.builds(
    lambda leaves, size: (*leaves, *size),
    st.lists(LEAVES, max_size=4),
    st.lists(leaf("size", ("in",), SIZES), max_size=1),
)
LOCAL = st.builds(
    Line,
    campaign=st.integers(0, 5),
    seat=st.sampled_from(SEATS),
    target=TARGETS,
    media=st.sampled_from([BANNER, BANNER, BANNER, VIDEO, AUDIO, NATIVE, 0]),
    size=st.one_of(st.none(), st.sampled_from([tuple(map(int, s.split("x"))) for s in SIZES])),
    cats=some(CATS, 0),
    attrs=some([1, 2, 3], 0),
    domains=some(["acme.com", "shop.acme.com", "WWW.Other.com"], 0),
)
ENDPOINT = st.builds(Line, endpoint=st.integers(0, 5), target=TARGETS)
IMPS = st.fixed_dictionaries(
    {
        "media": st.sets(st.sampled_from(list(MEDIA)), min_size=1),
        "banner": some([*SIZES, "1x1"], 0),
        "player": some([*SIZES, "640x480"], 0),
        "battr": some([1, 2, 9], 0),
    }
)
REQUESTS = st.fixed_dictionaries(
    {
        "country": st.sampled_from([None, "", "XX", *COUNTRIES]),
        "device": st.sampled_from([None, *DEVICES]),
        "domain": st.sampled_from([None, "", "A.com", "www.b.com", "other.org", "sub.a.com"]),
        "hour": st.integers(-1, 23),
        "seg": some([*SEGMENTS, "unknown"], 0),
        "badv": some(["acme.com", "WWW.ACME.COM", "shop.acme.com", "other.com", "com", "x.org"], 0),
        "bcat": some([*CATS, "IAB2", "IAB9"], 0),
        "wseat": some([*SEATS, "nobody"], 0),
        "bseat": some([*SEATS, "nobody"], 0),
        "imps": st.lists(IMPS, min_size=1, max_size=3),
    }
)


def below(domain, blocked):
    domain, blocked = bare_domain(domain), bare_domain(blocked)
    return domain == blocked or domain.endswith("." + blocked)


def naive(line, request, imp):
    """Whether a line may bid, own-list aside, said without an index."""
    view = {key: request[key] for key in ("country", "device", "domain", "seg")}
    view |= {"hour": request["hour"], "sizes": {*imp["banner"], *imp["player"]}}
    view["media"] = {MEDIA[code] for code in imp["media"]}
    if not holds(tuple(leaf for leaf in line.target if leaf.attribute != "own"), view):
        return False
    if line.campaign < 0:
        return True
    if line.media == BANNER and BANNER in imp["media"] and imp["banner"]:
        fits = line.size is not None and f"{line.size[0]}x{line.size[1]}" in imp["banner"]
    else:
        fits = line.media == 0 or line.media in imp["media"]
    refused = any(below(d, b) for d in line.domains for b in request["badv"])
    refused |= any(cat == b or cat.startswith(b + "-") for cat in line.cats for b in request["bcat"])
    refused |= line.seat in request["bseat"] or bool(request["wseat"]) and line.seat not in request["wseat"]
    return fits and not refused and not set(line.attrs) & set(imp["battr"])


def ask(index, request, alive=None, known=()):
    """The compiled answer: bool[imp, line]."""
    imps = [
        (
            sum(1 << code for code in imp["media"]),
            tuple(map(size_of, imp["banner"])),
            tuple(map(size_of, imp["player"])),
            imp["battr"],
        )
        for imp in request["imps"]
    ]
    person = [request[key] for key in ("country", "device", "domain", "hour", "seg")]
    q = index.query(*person, *(request[k] for k in ("badv", "bcat", "wseat", "bseat")), imps, known)
    assert len(q) <= index.capacity(len(imps))
    words = index.rows.shape[1]
    out = np.full((len(imps), words), 0xDEAD, np.uint64)
    alive = np.full(words, ~np.uint64(0)) if alive is None else alive
    arrays = (index.rows, index.seg_in, index.seg_default, index.seg_out)
    match(*arrays, alive, np.array(q, np.int32), out)
    bits = np.unpackbits(out.view(np.uint8), axis=1, bitorder="little")
    assert not bits[:, index.n_lines :].any()
    return bits[:, : index.n_lines].astype(bool)


def expected(lines, request):
    answers = [[naive(line, request, imp) for line in lines] for imp in request["imps"]]
    return np.array(answers, bool).reshape(len(answers), len(lines))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(LOCAL, max_size=12), st.lists(ENDPOINT, max_size=3), st.lists(REQUESTS, min_size=8, max_size=8))
def test_kernel_agrees_with_plain_evaluation(local, remote, requests):
    lines = [*local, *remote]
    index = build(lines)
    for request in requests:
        assert (ask(index, request) == expected(lines, request)).all()


def test_more_than_one_word():
    """130 lines, three words, each line another target: the bits fall where they belong."""
    targets = [
        f"country in [{'FR' if i % 3 else 'BE'}] and seg one of [s{i % 7}] and seg none of [s{(i + 1 + i % 2) % 7}]"
        for i in range(130)
    ]
    lines = [
        Line(campaign=i // 2, target=parse(text), media=BANNER, size=(300, 250), attrs=(i % 4,), seat=f"{i % 3}")
        for i, text in enumerate(targets)
    ]
    index = build(lines)
    assert index.rows.shape[1] == 3
    imps = [{"media": {BANNER}, "banner": ("300x250",), "player": (), "battr": (n,)} for n in (1, 2, 9)]
    matched = 0
    for country in ("FR", "BE", None):
        for i in range(7):
            seg = (SEGMENTS[i], SEGMENTS[(i + 3) % 7])
            request = {"country": country, "device": None, "domain": None, "hour": 3, "seg": seg, "imps": imps}
            request |= {"badv": (), "bcat": (), "wseat": (), "bseat": ("1",)}
            got = ask(index, request)
            assert (got == expected(lines, request)).all()
            matched += got.sum()
    assert matched > 300


BLANK = {
    "country": None, "device": None, "domain": None, "hour": HOUR_UNKNOWN, "seg": (), "badv": (), "bcat": (),
    "wseat": (), "bseat": (), "imps": [{"media": {BANNER}, "banner": (), "player": (), "battr": ()}],
}  # fmt: skip


def test_dead_lines_never_match():
    lines = [Line(campaign=i, media=BANNER, size=(1, 1)) for i in range(70)]
    index = build(lines)
    alive = np.array([0b101, 1 << 3], np.uint64)
    assert np.flatnonzero(ask(index, BLANK, alive)[0]).tolist() == [0, 2, 67]


def test_no_lines_at_all():
    index = build([])
    assert index.rows.shape[1] == 1
    assert ask(index, BLANK).shape == (1, 0)


def test_endpoints_are_not_blocked_and_unknown_seats_leave_only_them():
    lines = [
        Line(campaign=0, seat="one", media=BANNER, size=(1, 1), domains=("acme.com",)),
        Line(endpoint=0, domains=("acme.com",), seat="one"),
    ]
    index = build(lines)
    assert ask(index, BLANK).tolist() == [[True, True]]
    for refusal in ({"badv": ("acme.com",)}, {"bseat": ("one",)}, {"wseat": ("nobody",)}):
        assert ask(index, BLANK | refusal).tolist() == [[False, True]]
    assert ask(index, BLANK | {"wseat": ("nobody", "one")}).tolist() == [[True, True]]


def test_people_store_and_factors():
    lines = [Line(campaign=0, media=BANNER, size=(1, 1), target=parse("seg all of [a, b]"))]
    index = build(lines, segments=["priced"])
    assert set(index.seg_id) == {"a", "b", "priced"}
    assert min(index.seg_id.values()) == 1
    index.bind({7: ("a", "b", "c"), 8: ("c",), 9: ("priced",)})
    assert index.bound == {7: (index.seg_id["a"], index.seg_id["b"]), 9: (index.seg_id["priced"],)}
    both = BLANK | {"seg": ("b", "b", "priced")}
    assert ask(index, both, known=(index.seg_id["a"],)).tolist() == [[True]]
    assert ask(index, both).tolist() == [[False]]
    q = index.query(None, None, None, 0, ["b", "a", "b", "zzz"], [], [], [], [], [], known=(1, 2))
    assert q[4] == 2 and q[8:10] == [1, 2]


def test_own_is_left_to_the_auction():
    targets = ["", "own", "country in [FR] and not own"]
    lines = [Line(campaign=i, media=NATIVE, target=parse(text)) for i, text in enumerate(targets)]
    assert build(lines).own_need.tolist() == [0, NEED_OWN, NEED_NOT_OWN]


def test_equal_rows_are_stored_once_and_sizes_tell():
    lines = [Line(campaign=i, media=BANNER, size=(300, 250), target=parse("country in [FR, BE]")) for i in range(5)]
    index = build(lines)
    assert index.country_row["FR"] == index.country_row["BE"] == 1
    assert index.country_other == index.country_missing == index.country_row[""] == 0
    assert index.rows[0].tolist() == [0]
    assert index.rows[1].tolist() == [0b11111]
    sizes = index.sizes()
    assert (sizes["lines"], sizes["words"], sizes["countries"], sizes["segments"]) == (5, 1, 2, 0)
    assert sizes["bytes"] >= index.rows.nbytes


def test_capacity_bounds_hostile_lists():
    """However long the request's lists, the query fits its buffer."""
    lines = [
        Line(
            campaign=i,
            seat=f"x{i}",
            media=BANNER,
            size=(i + 1, 1),
            cats=(f"IAB{i}",),
            attrs=(i,),
            domains=(f"d{i}.com",),
            target=parse(f"size in [{i + 1}x1] and size not in [{i + 50}x1] and seg one of [s{i}]"),
        )
        for i in range(9)
    ]
    index = build(lines)
    many = list(range(200)) * 20
    sizes = tuple(i << 16 | 1 for i in many)
    q = index.query(
        "FR",
        "phone",
        "a.com",
        1,
        [f"s{i}" for i in many],
        [f"D{i}.com" for i in many] + [f"www.d{i}.com" for i in many],
        [f"IAB{i}" for i in many],
        [f"x{i}" for i in many],
        [f"x{i}" for i in many],
        [(30, sizes, sizes, many)] * 3,
    )
    assert len(q) <= index.capacity(3)
    assert len(q) > 100


def test_limits_are_refused(monkeypatch):
    target = tuple(Leaf("seg", "one of", (f"s{i}",)) for i in range(INCLUDES_MAX + 1))
    with pytest.raises(ValueError, match="line 0: 65 include lists of segments: at most 64"):
        build([Line(campaign=0, target=target)])
    monkeypatch.setattr(gather, "ROWS_MAX_BYTES", 32)
    with pytest.raises(ValueError, match="audience index: 3 lines x 4 rows"):
        build([Line(campaign=i, target=parse(f"country in [{c}]")) for i, c in enumerate(COUNTRIES)])
