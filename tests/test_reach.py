"""`rentier audience`: exact small numbers through the command, and a plain twin for what counts as a match."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as mk
from exchange.__main__ import main
from exchange.audience import table as tb
from exchange.audience.language import parse
from exchange.audience.normal import pushed
from exchange.audience.people import person_key, read_mentions
from exchange.audience.target import Leaf, Not, Tree, leaf_holds
from exchange.config import load_config
from exchange.population import Population
from exchange.population.people import COUNTRIES, DEVICES
from exchange.reach.crowd import Crowd, Texts, of_file, of_population, salt_of
from exchange.rent.ledger import Ledger
from exchange.rent.names import salt
from tests.test_explain import CREATIVE, NOW_NS, request
from tests.test_reasons import opened_line

PEOPLE = "user_id,segments\nann,suv,urban\nben,suv\ncem,urban|rural\ndan,rural\neva,suv,rural\n"
CONFIG = (
    '[audiences]\ncity = "seg one of [urban]"\ncountry = "seg one of [rural]"\nboth = "@city and @country"\n'
    'nobody = "seg one of [yacht]"\nnight = "hour between 22 and 5"\n'
    f'[[advertiser]]\nname = "acme"\n[[advertiser.campaign]]\nname = "c"\nvalue_cpm = 2.0\n{CREATIVE}'
    '[[advertiser]]\nname = "besta"\n[[advertiser.campaign]]\nname = "c"\nvalue_cpm = 4.0\n'
    f'target = "domain in [best.example]"\n{CREATIVE}'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A people file and a config."""
    (tmp_path / "people.csv").write_text(PEOPLE)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *args: str | Path) -> dict[str, Any]:
    """What the command says as JSON."""
    assert main(["audience", *map(str, args), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_reach_and_overlap(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five people: three drive an suv; each share both ways; a named audience stands in the expression."""
    people = "--people", folder / "people.csv", "--config", folder / "config.toml"
    found = told(capsys, "seg one of [suv]", *people)
    assert (found["people"], found["matching"], found["share"], found["ignored"]) == (5, 3, 0.6, [])
    assert found["costs"] is None
    overlaps = {each["name"]: each for each in found["audiences"]}
    shares = {name: (o["people"], o["both"], o["share"], o["share_of_named"]) for name, o in overlaps.items()}
    assert shares == {
        "city": (2, 1, 1 / 3, 1 / 2),
        "country": (3, 1, 1 / 3, 1 / 3),
        "both": (1, 0, 0.0, 0.0),
        "nobody": (0, 0, 0.0, 0.0),
        "night": (5, 3, 1.0, 3 / 5),
    }
    assert [each["name"] for each in found["audiences"]][:2] == ["night", "city"]
    for text, matching, ignored in (
        ("", 5, []),
        ("@both", 1, []),
        ("seg none of [suv]", 2, []),
        ("seg all of [suv, rural] or seg one of [urban] and not (seg one of [rural])", 2, []),
        ("seg one of [yacht]", 0, []),
        ("seg none of [yacht]", 5, []),
        ("seg one of [suv] and hour between 8 and 20", 3, ["hour between 8 and 20"]),
        ("seg one of [suv] and not (own or country in [FR])", 3, ["own", "country in [FR]"]),
        ("seg one of [suv] or country in [FR]", 5, ["country in [FR]"]),
    ):
        found = told(capsys, text, *people)
        assert (found["matching"], found["ignored"]) == (matching, ignored), text
        assert found["unheard"] == ({"yacht": ""} if "yacht" in text else {})
    assert told(capsys, "not (seg one of [suvs, suv, SUVS])", *people)["unheard"] == {"suvs": "suv", "SUVS": "suv"}
    assert main(["audience", "seg in [suvs]", *map(str, people)]) == 0
    assert "\n          nobody has the segment suvs; did you mean suv?\n" in capsys.readouterr().out


def test_what_they_cost(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five sales at the floor, four of them seen: 0.5 CPM is 500,000 nano a contact. Strangers do not count."""
    line = opened_line(folder, CONFIG)
    visits = [("ann", "a"), ("ann", "a"), ("ben", "best"), ("dan", "a"), ("ann", "best"), ("zoe", "a")]
    for k, (person, site) in enumerate(visits):
        body = request(user={"id": person}, site={"domain": f"{site}.example"})
        body["imp"] = [{"id": "1", "banner": {"w": 300, "h": 250}, "bidfloor": 0.5, "bidfloorcur": "EUR"}]
        opened = line.open(json.dumps(body).encode(), NOW_NS + k)
        assert line.close(opened, (), NOW_NS + k).sold == 1
        sold = line.venue.arrays["sold"][0, 0]
        if k != 4:
            line.venue.event(mk.KIND_IMPRESSION, int(sold["serial"]), int(sold["auction_id"]), NOW_NS + k)
    line.venue.close()
    options = "--people", folder / "people.csv", "--ledger", folder / "ledger"
    costs = told(capsys, "seg one of [suv]", *options)["costs"]
    paid = [int(row["buyer_total_nano"]) for row in Ledger(folder / "ledger").wins]
    assert paid[0] == paid[1] == 500_000 and costs["wins"] == 4 and costs["currency"] == "EUR"
    assert costs["whole"] == {
        "advertiser": "", "people": 2, "contacts": 3, "spend_nano": sum(paid[:3]),
        "cpm": pytest.approx(sum(paid[:3]) / 3e6), "per_person": pytest.approx(sum(paid[:3]) / 2e9),
    }  # fmt: skip
    by_name = {each["advertiser"]: (each["people"], each["contacts"]) for each in costs["advertisers"]}
    assert by_name == {"acme": (1, 2), "besta": (1, 1)}
    assert told(capsys, "seg one of [rural]", *options)["costs"]["whole"]["contacts"] == 1
    assert told(capsys, "seg one of [yacht]", *options)["costs"]["whole"]["people"] == 0
    assert main(["audience", "seg one of [suv]", *map(str, options)]) == 0
    text = capsys.readouterr().out
    assert "2 of them met (66.7%); 4 ads won, 3 billed" in text and max(map(len, text.splitlines())) <= 100
    assert any(row.split()[:5] == ["acme", "1", "2", "0.0010", "0.500"] for row in text.splitlines())


def test_people_beside_a_ledger(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was imported counts, also before anything is sold; a folder without either is refused."""
    ledger = folder / "ledger"
    place = ["--ledger", str(ledger)]
    key = salt(ledger)
    said = read_mentions(folder / "people.csv", partial(person_key, key))
    tb.write(ledger / tb.STORE, key, tb.changed(tb.empty(), said))
    found = told(capsys, "seg one of [suv]", *place)
    assert (found["people"], found["matching"], found["costs"], found["audiences"]) == (5, 3, None, [])
    (folder / "void").mkdir()
    assert main(["audience", "seg one of [suv]", "--ledger", str(folder / "void")]) == 2
    assert "no *.seg files" in capsys.readouterr().err
    tb.write(ledger / tb.STORE, key, tb.empty())
    assert main(["audience", "seg one of [suv]", *place]) == 2
    assert "nobody is known beside it: expected --people FILE or --config FILE" in capsys.readouterr().err


def test_a_population_with_its_ledger(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Country and device are known of simulated people; counts and costs are those of loops over people and rows."""
    (folder / "sim.toml").write_text(
        CONFIG.replace('target = "domain in [best.example]"', 'target = "device in [phone]"')
        + "[population]\npeople = 400\nplacements = 20\n"
    )
    out = folder / "out"
    args = ["simulate", str(folder / "sim.toml"), "--auctions", "3000", "--out", str(out), "--json"]
    assert main(args) == 0
    capsys.readouterr()
    expression = "seg one of [suv, urban] and country in [FR, BE] and device not in [phone]"
    found = told(capsys, expression, "--config", folder / "sim.toml", "--ledger", out)
    population, keys = Population(load_config(folder / "sim.toml"), salt_of(out)), set()
    for person in population.people:
        bits = int(person["segments"])
        mine = {name for bit, name in enumerate(population.segment_names) if bits >> bit & 1}
        country, device = COUNTRIES[person["country"]][0], DEVICES[person["device"]][0]
        if mine & {"suv", "urban"} and country in ("FR", "BE") and device != "phone":
            keys.add(int(person["key"]))
    assert (found["people"], found["matching"], found["ignored"]) == (400, len(keys), []) and 10 < len(keys) < 200
    ledger = Ledger(out)
    spend = {(int(w["auction_id"]), int(w["imp_ix"])): int(w["buyer_total_nano"]) for w in ledger.wins}
    billed = [e for e in ledger.events if e["kind"] in mk.BILLING and int(e["person_key"]) in keys]
    whole = found["costs"]["whole"]
    assert whole["contacts"] == len(billed) > 50
    assert whole["people"] == len({int(e["person_key"]) for e in billed})
    assert whole["spend_nano"] == sum(spend[int(e["auction_id"]), int(e["imp_ix"])] for e in billed)


def test_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An expression that cannot be read: line, column, caret; files that cannot: one line. Exit 2."""
    people = ["--people", str(folder / "people.csv")]
    assert main(["audience", "seg one of [suv] and\n contry in [FR]", *people]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("rentier audience: 2:2: unknown attribute `contry`") and "`country`" in lines[0]
    assert lines[1:] == ["   contry in [FR]", "   ^"]
    for args, expected in (
        (["@city", *people], "@city"),
        (["", "--people", "none.csv"], "none.csv"),
        (["", "--config", "none.toml"], "none.toml"),
        (["", *people, "--ledger", "none"], "none: no such ledger"),
    ):
        assert main(["audience", *args]) == 2
        assert expected in capsys.readouterr().err


# ---- the twin ------------------------------------------------------------------------------------------------------

LEAVES = [
    "seg one of [s0, s1]", "seg none of [s1, s2]", "seg all of [s0, s3]", "seg is missing", "seg is present",
    "country in [FR, BE]", "country not in [DE]", "country is missing", "device in [phone]", "hour between 8 and 20",
    "floor > 2", "not own", "seg one of [nowhere]",
]  # fmt: skip
TEXTS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)
SEGMENTS = st.lists(st.sampled_from(["s0", "s1", "s2", "s3", "s4"]), unique=True)


def could(tree: Tree, view: dict[str, Any]) -> bool:
    """Whether a person could match: conditions on what is not known of people count as true, whatever stands before."""
    if isinstance(tree, Leaf):
        return tree.attribute not in ("seg", "country") or leaf_holds(tree, view)
    assert not isinstance(tree, Not)
    each = [could(part, view) for part in tree.parts]
    return all(each) if type(tree).__name__ == "And" else any(each)


@given(TEXTS, st.lists(st.tuples(SEGMENTS, st.sampled_from(["FR", "BE", "DE", None])), max_size=12))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_who_matches(text: str, people: list[tuple[list[str], str | None]]) -> None:
    """Columns give what one person after the other gives."""
    names, countries = ["s0", "s1", "s2", "s3", "s4"], ["FR", "BE", "DE"]
    numbers = [sorted(names.index(name) for name in segments) for segments, _ in people]
    starts = np.cumsum([0, *map(len, numbers)]).astype(np.int64)
    flat = np.array([number for each in numbers for number in each], np.int32)
    codes = np.array([countries.index(country) if country else -1 for _, country in people], np.int64)
    keys = np.arange(1, len(people) + 1, dtype=np.uint64)
    crowd = Crowd("test", tb.Table(keys, starts, flat, names), {"country": Texts(countries, codes)})
    tree = parse(text)
    expected = [could(pushed(tree), {"seg": segments, "country": country}) for segments, country in people]
    assert crowd.matching(tree).tolist() == expected


def test_a_person_in_several_places_counts_once(folder: Path) -> None:
    """A population with a people file: his segments together, people of the file who are no simulated ones left out."""
    config = load_config(folder / "config.toml")
    config.population.people = 3
    (folder / "more.csv").write_text("user_id,segments\np0,yacht,urban\np2,yacht\nstranger,yacht\n")
    key = bytes(32)
    crowd = of_population(config, key, "test", [of_file(folder / "more.csv", key)])
    assert len(crowd) == 3 and crowd.matching(parse("seg one of [yacht]")).sum() == 2
    plain = of_population(config, key, "test")
    mine = crowd.table.keys.tolist().index(person_key(key, "p0"))
    for name in ("urban", "news", "suv"):
        had = bool(plain.matching(parse(f"seg one of [{name}]"))[mine])
        assert crowd.matching(parse(f"seg one of [{name}]"))[mine] == (had or name == "urban")
