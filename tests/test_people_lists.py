"""First-party lists in versions, and segments by rule: neither ever knows what came later."""

import os
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as mk
from exchange.audience import lists, rules
from exchange.audience.lists import Lists
from exchange.audience.people import PeopleError, load_own_list, person_key
from exchange.audience.rules import DAY_NS, Condition, evaluate, read_conditions, read_rules
from exchange.config import ConfigError, Segment, parse_config

SALT = b"s" * 32
KEY = partial(person_key, SALT)


def keys(*numbers: int) -> np.ndarray:
    return np.array(sorted(numbers), np.uint64)


# ---- lists -----------------------------------------------------------------------------------------------------


IMPORTS = st.lists(
    st.tuples(st.sampled_from(["Halle", "Voß/Söhne"]), st.sets(st.integers(1, 9), max_size=5), st.integers(1, 8)),
    max_size=7,
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(imports=IMPORTS, times=st.lists(st.integers(0, 10), max_size=5))
def test_the_list_in_force_is_the_last_one_valid_by_then(
    imports: list[tuple[str, set[int], int]], times: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Against the plain rule, also where time jumps back; following the changes gives the same people."""
    folder = tmp_path_factory.mktemp("lists")
    for advertiser, people, from_ns in imports:
        lists.add(folder, SALT, advertiser, keys(*people), from_ns)
    always = {"Halle": keys(1, 2)}
    following, on = Lists(folder, SALT, always), {"Halle": {1, 2}, "Voß/Söhne": set()}
    for now in times:
        for change in following.advance(now):
            added, removed = set(change.added.tolist()), set(change.removed.tolist())
            assert not added & on[change.advertiser] and removed <= on[change.advertiser]
            on[change.advertiser] = (on[change.advertiser] | added) - removed
        for advertiser, people in on.items():
            valid = [(v, k, p) for k, (a, p, v) in enumerate(imports) if a == advertiser and v <= now]
            expected = max(valid, default=(0, 0, set()))[2]
            assert people == expected | set(always.get(advertiser, keys()).tolist())
        later = [from_ns for _, _, from_ns in imports if from_ns > now]
        assert following.next_ns == min(later, default=lists.FAR_NS)
        assert not following.advance(now), "said once"


def test_a_list_imported_meanwhile_counts_from_when_it_is_known(tmp_path: Path) -> None:
    following = Lists(tmp_path, SALT)
    assert not following.unknown() and not following.advance(100)
    lists.add(tmp_path, SALT, "Halle", keys(5), 50)
    lists.add(tmp_path, SALT, "Halle", keys(6), 120)
    assert following.unknown() == {"Halle": 2}
    assert not following.advance(100), "found is not yet known"
    fresh = following.read({"Halle": 1}, 100)
    assert not following.advance(100), "nor is what was read"
    following.know(fresh)
    (change,) = following.advance(100)
    assert (change.version, change.added.tolist(), change.removed.tolist()) == (1, [5], [])
    assert following.next_ns == lists.FAR_NS, "the second is not known"
    following.know(following.read(following.unknown(), 110))
    assert following.next_ns == lists.FAR_NS and not following.advance(110) and following.next_ns == 120
    for version in lists.versions(tmp_path, SALT):
        version.path.unlink()  # the people were read when the version became known: no sale waits for a disk
    (change,) = following.advance(120)
    assert (change.version, change.added.tolist(), change.removed.tolist()) == (2, [6], [5])
    with pytest.raises(PeopleError, match=r"is gone"):
        following.advance(60)


def test_what_is_not_there_or_damaged_is_not_known(tmp_path: Path) -> None:
    following = Lists(tmp_path, SALT, known=False)
    first = lists.add(tmp_path, SALT, "Halle", keys(5), 50)
    with pytest.raises(PeopleError, match=r"list of Halle: version 2: expected one of .*lists"):
        following.read({"Halle": 2}, 100)
    with pytest.raises(PeopleError, match=r"list of Hall: version 1: expected one of .*lists"):
        following.read({"Hall": 1}, 100)
    first.path.write_bytes(first.path.read_bytes()[:-1])
    for now in (49, 50):
        with pytest.raises(PeopleError, match=r"000001\.list: .*damaged, import it again"):
            following.read({"Halle": 1}, now)
    assert not following.found and not following.advance(100)
    lists.add(tmp_path, SALT, "Halle", keys(7), 60)
    with pytest.raises(PeopleError, match=r"damaged"):
        following.read({"Halle": 2}, 59)
    following.know(following.read({"Halle": 2}, 60))  # imported again, and never to be in force
    assert [change.added.tolist() for change in following.advance(60)] == [[7]]


def test_looking_costs_nothing_while_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is listed twice for each time at which it changed: files may come within one tick of its clock."""
    following, looks = Lists(tmp_path, SALT), []
    look = following._look
    monkeypatch.setattr(following, "_look", lambda: looks.append(1) or look())
    lists.add(tmp_path, SALT, "Halle", keys(5), 50)
    assert [following.unknown() for _ in range(4)] == [{"Halle": 1}, {"Halle": 1}, {}, {}] and len(looks) == 2
    stamp = (tmp_path / "lists").stat()
    os.utime(tmp_path / "lists", ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert [following.unknown() for _ in range(3)] == [{"Halle": 1}, {"Halle": 1}, {}] and len(looks) == 4


def test_versions_and_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lists.add(tmp_path, SALT, "Halle", keys(5, 6), 50)
    assert lists.add(tmp_path, SALT, "Halle", keys(), 20).version == 2
    assert [(v.version, v.people) for v in lists.versions(tmp_path, SALT)] == [(2, 0), (1, 2)]
    assert not lists.versions(tmp_path, SALT, "Hall")
    assert lists.keys_of(first).tolist() == [5, 6]
    with pytest.raises(PeopleError, match="another salt"):
        lists.versions(tmp_path, b"t" * 32)
    monkeypatch.setattr(lists, "VERSIONS_MAX", 2)
    with pytest.raises(PeopleError, match="list of Halle: more than 2 versions"):
        lists.add(tmp_path, SALT, "Halle", keys(), 20)
    whole = first.path.read_bytes()
    for size in range(len(whole)):
        first.path.write_bytes(whole[:size])
        with pytest.raises(PeopleError, match=r"000001\.list: "):
            lists.versions(tmp_path, SALT)
            lists.keys_of(first)


def test_nothing_raw_is_kept(tmp_path: Path) -> None:
    lists.add(tmp_path, SALT, "Halle", keys(KEY("anna@example.org")), 1)
    for path in tmp_path.rglob("*.list"):
        assert b"anna" not in path.read_bytes()


def test_e_mails_are_matched_by_their_hash(tmp_path: Path) -> None:
    digest = sha256(b"anna@example.org").hexdigest()
    path = tmp_path / "list.csv"
    path.write_text("email\n  Anna@Example.org \nanna@example.org\n")
    assert load_own_list(path, KEY, lists.email, lists.HEADERS).tolist() == [KEY(digest)]
    path.write_text(f"sha256,more\n{digest.upper()},x\n")
    assert load_own_list(path, KEY, lists.hashed, lists.HEADERS).tolist() == [KEY(digest)]
    path.write_text("anna@example.org\nanna\n")
    with pytest.raises(PeopleError, match=r"list\.csv:2: 'anna': expected an e-mail"):
        load_own_list(path, KEY, lists.email, lists.HEADERS)
    with pytest.raises(PeopleError, match=r"list\.csv:1: 'anna@example.org': expected the SHA-256 of an e-mail"):
        load_own_list(path, KEY, lists.hashed, lists.HEADERS)


# ---- rules -----------------------------------------------------------------------------------------------------


def rows(dtype: Any, **columns: Any) -> Any:
    """Rows of a stream from columns."""
    made = np.zeros(len(next(iter(columns.values()))), dtype)
    for name, values in columns.items():
        made[name] = values
    return made


KINDS = (mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_BILLED_CLICK, mk.KIND_CONVERSION, mk.KIND_VIEW, mk.KIND_RELEASE)
HAPPENED = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 3), st.sampled_from(KINDS), st.integers(0, 40 * 4)), max_size=40
)
CONDITIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(rules.MEASURES), st.sampled_from(["=", "!=", "<=", ">", ">="]), st.integers(0, 12)),
        st.tuples(st.sampled_from(rules.MEASURES), st.just("<"), st.integers(1, 12)),
    ),
    min_size=1,
    max_size=3,
)
KIND_OF = {
    "contact": (mk.KIND_IMPRESSION, mk.KIND_BILLED_CLICK),
    "click": (mk.KIND_CLICK, mk.KIND_BILLED_CLICK),
    "conversion": (mk.KIND_CONVERSION,),
}


def naive(conditions: list[Any], mine: list[tuple[int, int]], at: int, within: int) -> bool:
    """Does one person belong, whose events (kind, time) these are? In plain Python."""
    for measure, operator, number in conditions:
        if measure.startswith("last_"):
            times = [t for kind, t in mine if kind in KIND_OF[measure[5:-5]]]
            if not times:
                return False
            amount = (at - max(times)) // DAY_NS
        else:
            amount = sum(
                kind in KIND_OF[measure[:-1]] and (not within or t >= at - within * DAY_NS) for kind, t in mine
            )
        if not eval(f"{amount} {'==' if operator == '=' else operator} {number}"):
            return False
    return True


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    happened=HAPPENED,
    conditions=CONDITIONS,
    advertiser=st.integers(0, 3),
    within=st.sampled_from([0, 1, 7]),
    at=st.integers(0, 40 * 4),
)
def test_rules_are_their_plain_reading_and_never_look_ahead(
    happened: list[Any], conditions: list[Any], advertiser: int, within: int, at: int
) -> None:
    """Quarters of days, so that times fall on the edges; rows at the time itself or later change nothing."""
    quarter = DAY_NS // 4
    at_ns = at * quarter
    events = rows(
        mk.EVENT_ROW,
        person_key=[h[0] for h in happened],
        advertiser=[h[1] for h in happened],
        kind=[h[2] for h in happened],
        ts_ns=[h[3] * quarter for h in happened],
    )
    met = [9, 1, 0]
    auctions = rows(mk.AUCTION_ROW, person_key=met, ts_ns=[0, at_ns, 0])
    text = " and ".join(f"{measure} {operator} {number}" for measure, operator, number in conditions)
    segment = Segment(name="s", rule=text, advertiser="x" if advertiser else "", within_days=within)
    found = evaluate(read_rules([segment]), auctions, events, lambda name: advertiser, at_ns)["s"].tolist()
    before = [h for h in happened if h[3] * quarter < at_ns and h[0]]
    people = {h[0] for h in before} | ({9} if at_ns > 0 else set())
    expected = []
    for person in sorted(people):
        mine = [(h[2], h[3] * quarter) for h in before if h[0] == person and advertiser in (0, h[1])]
        if naive(conditions, mine, at_ns, within):
            expected.append(person)
    assert found == expected


def test_a_rule_is_read() -> None:
    assert read_conditions("contacts>=3 and\nlast_contact_days between 7 and 30 and clicks = 0", "s") == (
        Condition("contacts", 3, rules.NUMBER_MAX),
        Condition("last_contact_days", 7, 30),
        Condition("clicks", 0, 0),
    )
    assert read_conditions("clicks != 2", "s") == (Condition("clicks", 2, 2, apart=True),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: the end: expected contacts | clicks"),
        ("contact >= 3", "column 1: 'contact': expected contacts"),
        ("contact >= 3", "did you mean contacts?"),
        ("contacts => 3", "column 11: '>': expected a whole number"),
        ("contacts 3", "column 10: '3': expected = | !="),
        ("contacts >= three", "column 13: 'three': expected a whole number"),
        ("contacts >= 10000000000", "expected a whole number up to 1000000000"),
        ("contacts >= 3 or clicks > 0", "column 15: 'or': expected and | the end"),
        ("contacts >= 3 and", "column 18: the end: expected contacts"),
        ("contacts between 3 or 4", "column 20: 'or': expected and"),
        ("contacts between 4 and 3", "column 24: '3': expected a range that holds a number"),
        ("contacts < 0", "expected a range that holds a number"),
        ("contacts >= 3;", "column 14: ';': expected and"),
    ],
)
def test_what_is_no_rule_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_rules([Segment(name="lapsed", rule=text)])
    assert str(refused.value).startswith("segment lapsed: rule = ") and message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a|b"\nrule = "clicks = 1"', r"segment.name = 'a|b': expected a printable name"),
        ('name = "-a"\nrule = "clicks = 1"', r"segment.name = '-a': expected a printable name"),
        ('name = "a"\nrule = "clicks = 1"\nadvertiser = "Hall"', "segment a: advertiser = 'Hall': expected one of"),
        ('name = "a"\nrule = "clicks = 1"\n[[segment]]\nname = "A"\nrule = ""', "segment.name = 'A' stands twice"),
        ('name = "a"', "missing required field `rule`"),
    ],
)  # fmt: skip
def test_segments_of_a_config(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(f'[[advertiser]]\nname = "Halle"\n[[segment]]\n{text}\n')
    assert message in str(refused.value)
