"""The targeting language: what it reads, what it means, what it refuses; docs/targeting.md is run whole."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from exchange.audience.index import Line, build
from exchange.audience.match import match
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience.language import (
    INCLUDES_MAX,
    LEAVES_MAX,
    NESTING_MAX,
    TEXT_MAX,
    VALUES_MAX,
    Leaf,
    TargetError,
    explain,
    holds,
    parse,
    size_of,
)
from exchange.openrtb.codes import DEVICES, MEDIA

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "targeting.md").read_text()
CODES = {name: code for code, name in MEDIA.items()}


def blocks(kind: str) -> list[str]:
    """The fenced blocks of one kind on the page."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.M | re.S)


AUDIENCES = tomllib.loads(blocks("toml")[0])["audiences"]


def compiled_holds(target, view):
    """The same question through the index and the kernel, with an endpoint, which fits any imp."""
    index = build([Line(endpoint=0, target=target)])
    media = sum(1 << CODES[name] for name in view.get("media", ()))
    sizes = [size_of(text) for text in view.get("sizes", ())]
    hour = view.get("hour")
    q = index.query(
        view.get("country"),
        view.get("device"),
        view.get("domain"),
        -1 if hour is None else hour,
        view.get("seg", ()),
        [],
        [],
        [],
        [],
        [(media, sizes, (), ())],
    )
    out = np.zeros((1, 1), np.uint64)
    alive = index.rows[1]
    match(index.rows, index.seg_in, index.seg_default, index.seg_out, alive, np.array(q, np.int32), out)
    need = index.own_need[0]
    return bool(out[0, 0]) and (need == 0 or (need == 1) == bool(view.get("own")))


@pytest.mark.parametrize("block", blocks("target"), ids=lambda block: block.split("\n")[0][:40])
def test_page_examples(block):
    text, *claims = block.strip().split("\n")
    assert claims
    for claim in claims:
        kind, _, rest = claim.removeprefix("# ").partition(" ")
        if kind == "error":
            with pytest.raises(TargetError) as refused:
                parse(text, AUDIENCES)
            assert str(refused.value) == rest
        else:
            assert kind in ("yes", "no")
            view, target = json.loads(rest), parse(text, AUDIENCES)
            assert holds(target, view) == (kind == "yes"), claim
            assert compiled_holds(target, view) == (kind == "yes"), claim


def test_page_python():
    (code,) = blocks("python")
    exec(compile(code, "targeting.md", "exec"), {})


def test_page_has_every_attribute_and_limit():
    for word in ("seg", "country", "device", "domain", "size", "media", "hour", "own", *DEVICES, *CODES):
        assert re.search(rf"\b{word}\b", PAGE), word
    for limit in (TEXT_MAX, LEAVES_MAX, VALUES_MAX, INCLUDES_MAX, NESTING_MAX):
        assert f"{limit:,}" in PAGE


def test_normal_form():
    assert parse("") == parse("  \n ") == ()
    assert parse("country in [fr, BE, FR]") == (Leaf("country", "in", ("FR", "BE")),)
    assert parse('domain not in ["WWW.Example.ORG."]') == (Leaf("domain", "not in", ("example.org",)),)
    assert parse("own and own") == (Leaf("own", "is"),)
    assert parse("hour between 08 and 20") == (Leaf("hour", "between", ("8", "20")),)
    assert parse('seg one of ["a, b", in, and]') == (Leaf("seg", "one of", ("a, b", "in", "and")),)
    assert parse("not own and\n  size in [300X250]") == (Leaf("own", "is not"), Leaf("size", "in", ("300x250",)))


def test_explain_names_every_leaf():
    target = parse("country in [FR] and seg none of [customers] and hour between 8 and 20 and not own")
    assert explain(target, {"country": "FR", "seg": {"customers"}, "hour": 7}) == [
        ("country in [FR]", True),
        ("seg none of [customers]", False),
        ("hour between 8 and 20", False),
        ("not own", True),
    ]


REFUSED = [
    ("country in [FRA]", "1:13: country `FRA`: expected two letters"),
    ("country FR", "1:9: after `country` `FR`: expected in | not in"),
    ("seg in [a]", "1:5: after `seg` `in`: expected one of | all of | none of"),
    ("seg one of [a", "1:14: unexpected the end: expected , | ]"),
    ("seg one of [a,]", "1:15: unexpected `]`: expected a value"),
    ('seg one of [""]', "1:13: unexpected ``: expected a value"),
    ('seg one of ["a]', '1:13: unexpected `"`: expected a value'),
    ("seg one of a", "1:12: unexpected `a`: expected ["),
    ("own own", "1:5: unexpected `own`: expected and"),
    ("own and", "1:8: unknown attribute the end"),
    ("own AND own", "1:5: unexpected `AND`: expected and"),
    ("(own)", "1:1: parentheses are not supported"),
    ("not country in [FR]", "1:1: `not` stands before `own` only"),
    ("age between 18 and 30", "1:1: unknown attribute `age`"),
    ("hour between 8 to 20", "1:16: unexpected `to`: expected and"),
    ("hour between -1 and 20", "1:14: hour `-1`: expected 0..23"),
    ("hour between 8 and ٢", "1:20: hour `٢`: expected 0..23"),
    ("size in [300]", "1:10: size `300`: expected width x height"),
    ("size in [70000x1]", "1:10: size `70000x1`"),
    ("size in [0x250]", "1:10: size `0x250`"),
    ("domain in [https://example.org/a]", "1:12: domain `https://example.org/a`: expected a domain without"),
    ("media in [baner]", "1:11: media `baner`: expected banner | video | audio | native; did you mean `banner`?"),
    ("own\nand @prospect", "2:5: unknown audience @prospect; did you mean @prospects?"),
    ("own and\n\n not own", "3:2: contradiction: `own` and `not own`"),
    ("hour between 8 and 9 and hour between 10 and 11", "contradiction: `hour between 8 and 9` and `hour"),
    ("device in [phone] and device not in [phone, ctv]", "contradiction: `device in [phone]` and `device not"),
    ("media in [video] and media not in [video]", "contradiction: `media in [video]` and `media not in"),
    (
        "domain in [a.b, c.d] and domain not in [a.b] and domain not in [c.d]",
        "contradiction: `domain in [a.b, c.d]` and `domain not in [a.b]` and `domain not in [c.d]`",
    ),
    ("@prospects and own", "1:16: contradiction: `not own` and `own`"),
    (f"seg one of [{'x' * 254}]", "a value of 254 characters: at most 253"),
    (f"seg one of [{','.join(map(str, range(VALUES_MAX + 1)))}]", "1:12: a list of 1001 values"),
    (" and ".join(f"seg none of [s{i}]" for i in range(LEAVES_MAX + 1)), "more than 64 leaves"),
    (f"seg all of [{','.join(map(str, range(INCLUDES_MAX + 1)))}]", "65 segment conditions"),
    (" " * (TEXT_MAX + 1), "a target of 65537 characters: at most 65536"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_refused(text, message):
    with pytest.raises(TargetError) as refused:
        parse(text, AUDIENCES)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_detail_has_a_caret_below_the_place():
    with pytest.raises(TargetError) as refused:
        parse("own and\n  contry in [FR]")
    assert refused.value.detail.split("\n")[1:] == ["    contry in [FR]", "    ^"]


def test_satisfiable_is_not_a_contradiction():
    for text in (
        "seg one of [a, b] and seg none of [a]",
        "media in [banner] and media in [video]",
        "country in [FR, BE] and country in [BE, DE] and country not in [DE]",
        "device not in [other, phone, tablet, desktop, ctv]",
        "hour between 20 and 4 and hour between 4 and 6",
        "size in [1x1, 2x2] and size not in [1x1]",
    ):
        assert parse(text)


def test_named_audiences_nest_and_refuse_circles():
    nested = {"a": "@b and own", "b": "@c", "c": "country in [FR]"}
    assert parse("@a", nested) == parse("country in [FR] and own")
    with pytest.raises(TargetError, match=r"in @b in @a: 1:1: @a refers to itself: @a -> @b -> @a"):
        parse("@a", {"a": "@b", "b": "@a"})
    with pytest.raises(TargetError, match="nested more than 16 deep"):
        parse("@a0", {f"a{i}": f"@a{i + 1}" for i in range(NESTING_MAX + 2)})
    doubling = {f"a{i}": f"@a{i + 1} and @a{i + 1}" for i in range(NESTING_MAX - 1)} | {f"a{NESTING_MAX - 1}": "own"}
    assert parse("@a0", doubling) == (Leaf("own", "is"),)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.text(alphabet=st.sampled_from([*'[],@"()=<>. \n', "é", "\0", "x", "8"]), max_size=30))
def test_any_text_parses_or_is_refused(text):
    for tried in (text, f"country in {text}", f"seg one of [{text}]", f"hour between {text}"):
        try:
            target = parse(tried, {"x": "own"})
        except TargetError as refused:
            assert re.match(r"(in @\S+: )*\d+:\d+: .", str(refused), re.S)
            assert "\n" not in str(refused)
        else:
            assert parse(" and ".join(leaf.text for leaf in target)) == target
