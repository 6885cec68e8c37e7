"""The targeting language: what it reads, what it means, what it refuses; docs/targeting.md is run whole."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience.attributes import ATTRIBUTES, BY_NAME, NUMBER, WEEKDAYS
from exchange.audience.language import (
    OPERATORS,
    TargetError,
    explain,
    leaf_text,
    parse,
    read_target,
    size_of,
    tree_text,
)
from exchange.audience.normal import CLAUSES_MAX
from exchange.audience.target import FAR, And, Leaf, Not, Or, clause_holds, holds, leaves_of
from exchange.audience.words import (
    DEPTH_MAX,
    LEAVES_MAX,
    NESTING_MAX,
    NUMBER_MAX,
    TEXT_MAX,
    VALUE_MAX_CHARS,
    VALUES_MAX,
    bare_domain,
)
from exchange.config import load_config
from tests.target_samples import Asker

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "targeting.md").read_text()


def blocks(kind: str) -> list[str]:
    """The fenced blocks of one kind on the page."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.M | re.S)


AUDIENCES = tomllib.loads(blocks("toml")[0])["audiences"]


def view_of(stated):
    """A person of the page as a view: numbers in the inner unit, `tue 9` as hour of the week."""
    view = dict(stated)
    for name, value in stated.items():
        if BY_NAME[name].kind == NUMBER:
            view[name] = round(value * BY_NAME[name].scale)
    if "hour" in view:
        day, hour = view["hour"].split()
        view["hour"] = 24 * WEEKDAYS.index(day) + int(hour)
    return view | {"own": int(stated.get("own", 0))}


@pytest.mark.parametrize("block", blocks("target"), ids=lambda block: block.split("\n")[0][:40])
def test_page_examples(block):
    text, *claims = block.strip().split("\n")
    assert claims
    for claim in claims:
        kind, _, rest = claim.removeprefix("# ").partition(" ")
        if kind == "error":
            with pytest.raises(TargetError) as refused:
                read_target(text, AUDIENCES)
            assert str(refused.value) == rest
        else:
            assert kind in ("yes", "no")
            view, target = view_of(json.loads(rest)), read_target(text, AUDIENCES)
            wanted = kind == "yes"
            assert holds(target.tree, view) == wanted, claim
            assert any(clause_holds(clause, view) for clause in target.clauses) == wanted, claim
            assert Asker([target])(view)[0][0] == wanted, claim


def test_page_python():
    (code,) = blocks("python")
    exec(compile(code, "targeting.md", "exec"), {})


def test_page_has_every_attribute_operator_and_limit():
    for attribute in ATTRIBUTES:
        if attribute.hidden:
            continue
        row = re.search(rf"^\| `{attribute.name}` \| (.*) \|$", PAGE, re.M)
        assert row, attribute.name
        kind, meaning, source, width, values = row[1].split(" | ")
        assert (kind, meaning, source) == (attribute.kind, attribute.meaning, attribute.source)
        assert width == ("-" if attribute.kind == NUMBER else "wide" if attribute.wide else "narrow")
        if attribute.values:
            assert values == ", ".join(attribute.values)
    for kind, operators in OPERATORS.items():
        row = re.search(rf"^\| {kind} \| (`.*) \|$", PAGE, re.M)
        assert row and {*re.findall("`([^`]*)`", row[1])} - {"domain", "under", "not under"} == {*operators}
    for limit in (TEXT_MAX, LEAVES_MAX, VALUES_MAX, VALUE_MAX_CHARS, NUMBER_MAX, DEPTH_MAX, NESTING_MAX, CLAUSES_MAX):
        assert f"{limit:,}" in PAGE


def hours(*days_and_hours):
    return tuple(sorted(24 * day + hour for days, each in days_and_hours for day in days for hour in each))


WEEK = range(7)
LEAVES = [
    ("country in [fr, BE, FR]", Leaf("country", ("FR", "BE"))),
    ("country = fr", Leaf("country", ("FR",))),
    ("country != fr", Leaf("country", ("FR",), True, True)),
    ('domain not in ["WWW.Example.ORG."]', Leaf("domain", ("example.org",), True, True)),
    ("domain under [Example.ORG]", Leaf("under", ("example.org",))),
    ("domain not under [example.org]", Leaf("under", ("example.org",), True, True)),
    ("os is missing", Leaf("os", (), False, True)),
    ("os is present", Leaf("os", (), True, False)),
    ("os in [iOS]", Leaf("os", ("ios",))),
    ("language = FR", Leaf("language", ("fr",))),
    ("device = Phone", Leaf("device", ("phone",))),
    ("category in [iab1-2, 150, v9i3On]", Leaf("category", ("IAB1-2", "150", "V9I3ON"))),
    ("size in [300X250]", Leaf("size", ("300x250",))),
    ("size one of [300x250]", Leaf("size", ("300x250",))),
    ("media none of [video]", Leaf("media", ("video",), True, True)),
    ('seg one of ["a, b", in, and]', Leaf("seg", ("a, b", "in", "and"))),
    ("seg in [a]", Leaf("seg", ("a",))),
    ("seg not in [a]", Leaf("seg", ("a",), True, True)),
    ("own", Leaf("own", ((1, 1),))),
    ("age < 25", Leaf("age", ((-FAR, 24),))),
    ("age <= 25", Leaf("age", ((-FAR, 25),))),
    ("age > 25", Leaf("age", ((26, FAR),))),
    ("age >= 25", Leaf("age", ((25, FAR),))),
    ("age = 25", Leaf("age", ((25, 25),))),
    ("age != 25", Leaf("age", ((-FAR, 24), (26, FAR)), missing=True)),
    ("age between 25 and 54", Leaf("age", ((25, 54),))),
    ("age not between 25 and 54", Leaf("age", ((-FAR, 24), (55, FAR)), missing=True)),
    ("age in [30, 26, 25, 30]", Leaf("age", ((25, 26), (30, 30)))),
    ("age not in [25]", Leaf("age", ((-FAR, 24), (26, FAR)), missing=True)),
    ("age is missing", Leaf("age", (), missing=True)),
    ("age is present", Leaf("age", ((-FAR, FAR),))),
    ("floor < 0.25", Leaf("floor", ((-FAR, 249_999),))),
    ("floor >= 0.000001", Leaf("floor", ((1, FAR),))),
    ("floor = 1.50000000", Leaf("floor", ((1_500_000, 1_500_000),))),
    ("viewability >= 70", Leaf("viewability", ((7_000, FAR),))),
    ("viewability > 69.9", Leaf("viewability", ((6_991, FAR),))),
    ("contacts < 1000000000", Leaf("contacts", ((-FAR, NUMBER_MAX - 1),))),
    ("hour between 08 and 20", Leaf("hour", hours((WEEK, range(8, 21))))),
    ("hour between 22 and 5", Leaf("hour", hours((WEEK, [0, 1, 2, 3, 4, 5, 22, 23])))),
    ("hour in 22..5", Leaf("hour", hours((WEEK, [0, 1, 2, 3, 4, 5, 22, 23])))),
    ("hour = 7", Leaf("hour", hours((WEEK, [7])))),
    ("hour in weekdays(8..20)", Leaf("hour", hours((range(5), range(8, 21))))),
    ("hour in weekend", Leaf("hour", hours(((5, 6), range(24))))),
    ("hour in [mon(1), tue(2..3, 5)]", Leaf("hour", hours(((0,), [1]), ((1,), [2, 3, 5])))),
    ("hour in sun(23..1)", Leaf("hour", (0, 1, 167))),
    ("hour not in weekdays", Leaf("hour", hours(((5, 6), range(24))), missing=True)),
    ("hour not between 1 and 23", Leaf("hour", hours((WEEK, [0])), missing=True)),
    ("hour is present", Leaf("hour", tuple(range(168)))),
    ("hour is missing", Leaf("hour", (), missing=True)),
    ("seg in [café, 東京-1]", Leaf("seg", ("café", "東京-1"))),
    ("last_contact_days between 7 and 7", Leaf("last_contact_days", ((7, 7),))),
]


@pytest.mark.parametrize(("text", "leaf"), LEAVES, ids=[text for text, _ in LEAVES])
def test_leaves(text, leaf):
    assert parse(text) == leaf
    assert parse(leaf_text(leaf)) == leaf


A, B, C = (Leaf("seg", (name,)) for name in "abc")
TREES = [
    ("", And(())),
    ("  \n ", And(())),
    ("own and own", Leaf("own", ((1, 1),))),
    ("not own and\n  size in [300X250]", And((Not(Leaf("own", ((1, 1),))), Leaf("size", ("300x250",))))),
    ("seg in [a] and seg in [b] or seg in [c]", Or((And((A, B)), C))),
    ("seg in [a] and (seg in [b] or seg in [c])", And((A, Or((B, C))))),
    ("not seg in [a] and seg in [b]", And((Not(A), B))),
    ("not (seg in [a] and seg in [b])", Not(And((A, B)))),
    ("not not seg in [a]", A),
    ("not not not seg in [a]", Not(A)),
    ("not (not (seg in [a]))", A),
    ("((seg in [a]))", A),
    ("(seg in [a] and seg in [b]) and seg in [a] and seg in [c]", And((A, B, C))),
    ("seg all of [a, b, a]", And((A, B))),
    ("seg all of [a]", A),
]


@pytest.mark.parametrize(("text", "tree"), TREES, ids=[text for text, _ in TREES])
def test_trees(text, tree):
    assert parse(text) == tree
    assert parse(tree_text(tree)) == tree


WRITTEN = [
    (Leaf("country", ("FR",), True, True), "country not in [FR]"),
    (Leaf("country", ("FR",), True, False), "(country is present and country not in [FR])"),
    (Leaf("country", ("FR",), False, True), "(country is missing or country in [FR])"),
    (Leaf("under", ("a.org",), True, True), "domain not under [a.org]"),
    (Leaf("under", (), True, False), "domain is present"),
    (Leaf("seg", ("a b", "c"), True, True), 'seg none of ["a b", c]'),
    (Leaf("age", ((25, FAR),), missing=True), "not (age < 25)"),
    (Leaf("age", ((25, 30),), missing=True), "not (age < 25 or age >= 31)"),
    (Leaf("age", ((1, 2), (5, 5), (9, FAR))), "(age between 1 and 2 or age = 5 or age >= 9)"),
    (Leaf("age", ((-FAR, 0), (2, 4), (6, FAR)), missing=True), "age not in [1, 5]"),
    (Leaf("viewability", ((-FAR, 6_999),)), "viewability < 70"),
    (Leaf("floor", ((250_001, FAR),)), "floor > 0.25"),
    (Leaf("own", ((0, 0),), missing=True), "not own"),
    (Leaf("hour", hours((WEEK, range(8, 21))), missing=True), "hour not between 21 and 7"),
    (Leaf("hour", hours((range(5), [3, 4]), ((5,), range(24)))), "hour in [weekdays(3..4), sat]"),
    (Leaf("hour", hours((WEEK, [1, 5, 6]))), "hour in daily(1, 5..6)"),
]


@pytest.mark.parametrize(("leaf", "text"), WRITTEN, ids=[text for _, text in WRITTEN])
def test_leaves_as_text(leaf, text):
    assert leaf_text(leaf) == text
    states = [{}] + [{leaf.attribute: x} for x in (0, 1, 2, 5, 24, 25, 30, 31, 6_999, 7_000, 250_000, 250_001)]
    if BY_NAME[leaf.attribute].kind != NUMBER and leaf.attribute != "hour":
        name = "domain" if leaf.attribute == "under" else leaf.attribute
        many = name == "seg"
        states = [{}] + [{name: [value] if many else value} for value in ("FR", "a.org", "b.a.org", "a b", "c", "x")]
    for view in states:
        if leaf.attribute != "own" or view.get("own", 0) < 2:
            assert holds(parse(text), view) == holds(leaf, view), view


def test_a_country_is_called_as_in_requests() -> None:
    """UK is GB on both sides."""
    for text in ("country in [UK]", "country = uk", "country = GB"):
        assert parse(text) == Leaf("country", ("GB",))


REFUSED = [
    ("domain under [.example.org]", "1:15: domain `.example.org`: expected a domain without"),
    ("country in [FRA]", "1:13: country `FRA`: expected two letters"),
    ("country in [FR, en]", "1:17: country `en`: expected a code of ISO 3166-1 alpha-2; did you mean GB?"),
    (
        "country = IS or country = SI or country = SF",
        "1:43: country `SF`: expected a code of ISO 3166-1 alpha-2; did you mean SA | SB | SC",
    ),
    ("country = XX", "1:11: country `XX`: expected a code of ISO 3166-1 alpha-2"),
    ("country FR", "1:9: after `country` `FR`: expected in | not in | = | != | is missing | is present"),
    ("country one of [FR]", "1:9: after `country` `one`: expected in | not in"),
    ("country == FR", "1:9: after `country` `==`: expected in | not in | = | != | is missing | is present; did you"),
    ("country <> FR", "; did you mean `!=`?"),
    ("country > FR", "1:9: after `country` `>`: expected in"),
    ("country", "1:8: after `country` the end: expected in"),
    (
        "country is mising",
        "1:9: after `country` `is`: expected in | not in | = | != | is missing | is present; did you",
    ),
    (
        "domain undr [a.org]",
        "expected in | not in | = | != | is missing | is present | under | not under; did you mean",
    ),
    ("language = french", "1:12: language `french`: expected two letters (ISO 639-1)"),
    ("seg one of [a", "1:14: unexpected the end: expected , | ]"),
    ("seg one of [a,]", "1:15: unexpected `]`: expected a value"),
    ('seg one of [""]', "1:13: unexpected ``: expected a value"),
    ('seg one of ["a]', "1:13: a quote that is not closed in its line"),
    ("seg one of a", "1:12: unexpected `a`: expected ["),
    ("seg = a", "1:5: after `seg` `=`: expected one of | none of"),
    ("own own", "1:5: unexpected `own`: expected and | or"),
    ("own and", "1:8: unexpected the end: expected country |"),
    ("own AND own", "1:5: unexpected `AND`: expected and | or; did you mean `and`?"),
    ("own && own", "1:5: unexpected `&`: expected and | or; did you mean `and`?"),
    ("own = 1", "1:5: unexpected `=`: expected and | or"),
    ("(own", "1:5: unexpected the end: expected ) | and | or"),
    ("own)", "1:4: unexpected `)`: expected and | or"),
    ("()", "1:2: unexpected `)`: expected country |"),
    ("not", "1:4: unexpected the end: expected country |"),
    ("age => 3", "1:5: after `age` `=>`: expected < |"),
    ("age => 3", "did you mean `>=`?"),
    ("age =< 3", "did you mean `<=`?"),
    ('seg in ["suv]', "1:9: a quote that is not closed in its line"),
    ('seg in [a] and\n seg in [b, "c]', "2:13: a quote that is not closed in its line"),
    ("hour in []", "1:9: empty list of `hour`: leave the leaf out, or name a value"),
    ("age > ٣", "1:7: age `٣`: expected a number from 0"),
    ("hour in ٨..20", "1:9: hours `٨..20`: expected such as 8..20"),
    ("under in [a.org]", "1:1: unknown attribute `under`"),
    ("fit in [a]", "1:1: unknown attribute `fit`"),
    ("segments in [a]", "did you mean `seg`?"),
    ("hour between 8 to 20", "1:16: unexpected `to`: expected and; did you mean `and`?"),
    ("hour between -1 and 20", "1:14: hour `-1`: expected 0..23"),
    ("hour between 8 and ٢", "1:20: hour `٢`: expected 0..23"),
    ("hour in weekdays(8..24)", "1:18: hours `8..24`: expected such as 8..20, each from 0 to 23"),
    ("hour in weekdays(8..20", "1:23: unexpected the end: expected , | )"),
    ("hour in wekdays(8..20)", "1:9: hour in `wekdays`: expected daily | weekdays | weekend | mon"),
    ("hour in wekdays(8..20)", "did you mean `weekdays`?"),
    ("hour in []", "1:9: empty list of `hour`"),
    ("age between 30 and 20", "1:13: age between 30 and less: write the smaller number first"),
    ("age between 18 30", "1:16: unexpected `30`: expected and"),
    ("age < old", "1:7: age `old`: expected a number from 0 to 1,000,000,000"),
    ("age < 1000000001", "1:7: age `1000000001`: expected a number from 0 to"),
    ("age < -1", "1:7: age `-1`: expected a number"),
    ("age < 20.5", "1:7: age `20.5`: expected a whole number"),
    ("age <", "1:6: age the end: expected a number"),
    ("age in []", "1:8: empty list of `age`"),
    ("floor > 0.1234567", "1:9: floor `0.1234567`: expected at most 6 decimals"),
    ("size in [300]", "1:10: size `300`: expected width x height"),
    ("size in [70000x1]", "1:10: size `70000x1`"),
    ("size in [0x250]", "1:10: size `0x250`"),
    ("domain in [https://example.org/a]", "1:12: domain `https://example.org/a`: expected a domain without"),
    ("media in [baner]", "1:11: media `baner`: expected banner | video | audio | native; did you mean `banner`?"),
    ("position = abov", "1:12: position `abov`: expected unknown | above | locked"),
    ("own\nand @prospect", "2:5: unknown audience @prospect; did you mean @prospects?"),
    ("own and\n\n not own", "3:6: contradiction: `own` and `not own`"),
    ("hour between 8 and 9 and hour between 10 and 11", "1:26: contradiction: `hour between 8 and 9` and `hour"),
    ("device in [phone] and device not in [phone, ctv]", "contradiction: `device in [phone]` and `device not"),
    ("media in [video] and media not in [video]", "contradiction: `media in [video]` and `media not in"),
    (
        "domain in [a.b, c.d] and domain not in [a.b] and domain not in [c.d]",
        "contradiction: `domain in [a.b, c.d]` and `domain not in [a.b]` and `domain not in [c.d]`",
    ),
    ("age < 18 and os = ios and age >= 18", "1:27: contradiction: `age < 18` and `age >= 18`"),
    ("age < 0", "1:1: contradiction: `age < 0` is never true"),
    ("os is missing and os = ios", "contradiction: `os is missing` and `os in [ios]`"),
    ("not (os = ios or os != ios)", "1:18: contradiction: `os not in [ios]` and `os in [ios]`"),
    ("@prospects and own", "1:16: contradiction: `not own` and `own`"),
    ("not @everyone", "1:1: `not` of everyone is nobody"),
    (f"seg one of [{'x' * 254}]", "a value of 254 characters: at most 253"),
    (f"seg one of [{','.join(map(str, range(VALUES_MAX + 1)))}]", "1:12: a list of 1001 values"),
    (f"age in [{','.join(map(str, range(VALUES_MAX + 1)))}]", "1:8: a list of 1001 values"),
    (" and ".join(f"seg none of [s{i}]" for i in range(LEAVES_MAX + 1)), "more than 256 leaves"),
    (f"seg all of [{','.join(map(str, range(LEAVES_MAX + 1)))}]", "1:1: more than 256 leaves"),
    ("(" * (DEPTH_MAX + 1) + "own", "1:65: parentheses nested more than 64 deep"),
    (" " * (TEXT_MAX + 1), "a target of 65537 characters: at most 65536"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[f"{t[:20]} {m[:40]}" for t, m in REFUSED])
def test_refused(text, message):
    with pytest.raises(TargetError) as refused:
        read_target(text, AUDIENCES | {"everyone": ""})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_detail_has_a_caret_below_the_place():
    with pytest.raises(TargetError) as refused:
        parse("own and\n  contry in [FR]")
    assert refused.value.detail.split("\n")[1:] == ["    contry in [FR]", "    ^"]


def test_only_an_advertiser_may_ask_about_its_own():
    for text, name in (("os = ios and own", "own"), ("@x", "contacts"), ("last_contact_days > 1", "last_contact_days")):
        assert read_target(text, {"x": "contacts < 3"})
        with pytest.raises(TargetError, match=f"`{name}` depends on the advertiser who asks, and here there is none"):
            read_target(text, {"x": "contacts < 3"}, relative=False)
    assert read_target("os = ios", relative=False).clauses


def test_ways_that_are_all_contradictions_are_one():
    for text in (
        "(country in [FR] and country in [BE]) or (age < 5 and age > 6)",
        "seg one of [a] and ((country in [FR] and country in [BE]) or (age < 5 and age > 6))",
    ):
        with pytest.raises(TargetError, match="contradiction: .*country.*age"):
            read_target(text)
    (clause,) = read_target("city in [x] or (country in [FR] and country in [BE]) or (age < 5 and age > 6)").clauses
    assert [leaf.attribute for leaf in clause.leaves] == ["city"]


def test_satisfiable_is_not_a_contradiction():
    for text in (
        "seg one of [a, b] and seg none of [a]",
        "media in [banner] and media in [video]",
        "size in [1x1] and size in [2x2]",
        "country in [FR, BE] and country in [BE, DE] and country not in [DE]",
        "device not in [other, phone, tablet, desktop, ctv]",
        "hour between 20 and 4 and hour between 4 and 6",
        "size in [1x1, 2x2] and size not in [1x1]",
        "not (age < 18) and not (age >= 18)",
    ):
        assert read_target(text).clauses


def test_named_audiences_nest_and_refuse_circles():
    nested = {"a": "@b and own", "b": "@c", "c": "country in [FR]"}
    assert parse("@a", nested) == parse("country in [FR] and own")
    assert parse("not @c and @b", nested) == parse("not country in [FR] and country in [FR]")
    with pytest.raises(TargetError, match=r"in @b in @a: 1:1: @a refers to itself: @a -> @b -> @a"):
        parse("@a", {"a": "@b", "b": "@a"})
    with pytest.raises(TargetError, match=r"in @b in @a: 1:8: unexpected `5`: expected \["):
        parse("own and @a", {"a": "not @b", "b": "age in 5"})
    with pytest.raises(TargetError, match="nested more than 16 deep"):
        parse("@a0", {f"a{i}": f"@a{i + 1}" for i in range(NESTING_MAX + 2)})
    doubling = {f"a{i}": f"@a{i + 1} and @a{i + 1}" for i in range(NESTING_MAX - 1)} | {f"a{NESTING_MAX - 1}": "own"}
    assert parse("@a0", doubling) == Leaf("own", ((1, 1),))
    growing = {f"a{i}": f"@a{i + 1} and @a{i + 1} or seg in [s{i}]" for i in range(NESTING_MAX - 1)}
    assert len(list(leaves_of(parse("@a0", growing | {f"a{NESTING_MAX - 1}": "own"})))) == NESTING_MAX
    twice = {f"a{i}": f"@a{i + 1} and seg in [s{i}] or @a{i + 1} and seg in [t{i}]" for i in range(NESTING_MAX - 1)}
    with pytest.raises(TargetError, match="more than 256 leaves"):
        parse("@a0", twice | {f"a{NESTING_MAX - 1}": "own"})


def test_depth_is_counted_through_named_audiences():
    deep = {"a": f"{'(' * 40}own or os = ios and ({'(' * 20}os = ios{')' * 20}){')' * 40}"}
    assert parse(f"(((@a and seg in [x]) or seg in [y]){')'}", deep)
    with pytest.raises(TargetError, match="1:5: parentheses nested more than 64 deep, named audiences expanded"):
        parse("((((@a))))", deep)
    alternating = "own"
    for i in range(DEPTH_MAX - 1):
        alternating = f"({alternating} {'and' if i % 2 else 'or'} seg in [s{i}])"
    target = read_target(alternating)
    assert parse(tree_text(target.tree)) == target.tree


def test_explain_says_what_fails_and_what_would_help():
    tree = parse("country in [FR] and seg none of [customers] and hour between 8 and 20 and not own and not (age < 25)")
    why = explain(tree, {"country": "FR", "seg": ["customers"], "hour": 7, "own": 1, "age": 20})
    assert (why.holds, why.first) == (False, "seg none of [customers]")
    assert why.failing == ("seg none of [customers]", "hour between 8 and 20", "not own", "not (age < 25)")
    assert why.lacks == " and ".join(why.failing)
    why = explain(tree, {"country": "FR", "hour": 8, "own": 0})
    assert (why.holds, why.first, why.failing, why.lacks) == (True, "", (), "")


def test_explain_of_branches():
    tree = parse("os = ios and (country in [FR] and seg all of [a, b] or country in [BE] and not (seg in [c]))")
    why = explain(tree, {"os": "ios", "country": "FR", "seg": ["a", "c"]})
    assert why.failing == ("seg one of [b]", "country in [BE]", "seg none of [c]")
    assert why.lacks == "seg one of [b] or (country in [BE] and seg none of [c])"
    assert explain(tree, {"os": "ios", "country": "FR", "seg": ["a", "b"]}).holds
    why = explain(tree, {"os": "android", "country": "BE", "seg": ["x"]})
    assert why.failing == ("os in [ios]",), "a branch holds, so none of the others stands in the way"


def test_domains_and_sizes():
    assert bare_domain(" WWW.Example.org. ") == "example.org"
    assert size_of("300x250") == 300 << 16 | 250


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_targets_of_the_configs_are_read(path):
    config = load_config(path)
    texts = [campaign.target for advertiser in config.advertiser for campaign in advertiser.campaign]
    for text in [*texts, *(reserve.target for reserve in config.auction.reserve)]:
        tree = read_target(text, config.audiences).tree
        assert parse(tree_text(tree)) == tree


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.lists(st.sampled_from([*'[],@"()=<>.! \n', "é", "\0", "x", "8", " or ", "not "]), max_size=30).map("".join))
def test_any_text_parses_or_is_refused(text):
    for tried in (text, f"country in {text}", f"seg one of [{text}]", f"hour in {text}", f"age {text}", f"({text})"):
        try:
            tree = parse(tried, {"x": "own"})
        except TargetError as refused:
            assert re.match(r"(in @\S+: )*\d+:\d+: .", str(refused), re.S)
            assert "\n" not in str(refused)
        else:
            assert parse(tree_text(tree)) == tree
