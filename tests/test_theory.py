"""Theory on the bench: every row of configs/theory through the real path, within the tolerance of the oracles.

The values are read from `../shared/oracles.csv` (for 1e6 auctions; fewer auctions widen the tolerance by the root).
"""

import csv
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exchange.__main__ import main
from exchange.config import ConfigError, load_config
from exchange.theory import pick, screen
from exchange.theory.bench import Line, Row, counts, is_dependent, shipped_rows
from exchange.theory.measures import mean_of, pooled, spread
from tests.test_forms import AD, PLAIN

ORACLES = Path(__file__).resolve().parents[2] / "shared" / "oracles.csv"
FOLDER = Path(__file__).parents[1] / "configs" / "theory"
NUMBERS = (1, 2, 4, 5, 7, 9, 11, 12, 13, 15, 16, 17, 20, 21, 23, 24, 26, 27, 29, 30, 32, 33, 34, 35, 37, 38, 39, 43, 45)
IDS = [f"E{number:02}" for number in (*NUMBERS, 48, 49, 54)]
FEW = 60_000
SEED = 2026
ROWS = {row.theory.id: row for row in shipped_rows(FOLDER)}


def oracle(name: str) -> tuple[float, float]:
    """(expected, tolerance) of an oracle; skips, or fails where nothing may be missing, without the file."""
    if not ORACLES.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{ORACLES} is missing")
        pytest.skip(f"no {ORACLES}")
    with ORACLES.open(newline="", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["id"] == name)
    return float(row["expected"]), float(row["tolerance"])


def few(row: Row) -> int | None:
    """How many auctions a row is given in a normal test: enough to see it, few enough to wait for."""
    t = row.theory
    if t.form == "goods" or t.auctions <= FEW:
        return None if t.runs == 1 else 4 * t.auctions
    return FEW if not is_dependent(row.config) else 200_000


def test_every_oracle_of_this_room_has_a_row() -> None:
    """One config per oracle, named by its id, with a lesson, a setting and a source."""
    assert sorted(ROWS) == sorted(IDS)
    for name, row in ROWS.items():
        text = row.path.read_text(encoding="utf-8")
        lesson = text.partition("\n[theory]")[0]
        assert row.path.name.startswith(f"{name}_") and row.theory.setting and row.theory.source
        assert lesson.startswith("# ") and len(lesson) > 120, f"{row.path.name} tells no lesson"
        assert all(len(line) <= 120 for line in text.splitlines()), row.path.name


@pytest.mark.parametrize("name", IDS)
def test_theory_says_what_the_oracle_says(name: str) -> None:
    """The form, computed from the config alone, is the oracle's number; the tolerance is the oracle's."""
    expected, tolerance = oracle(name)
    row = ROWS[name]
    found = row.expected(row.theory.measure)
    assert found == pytest.approx(expected, abs=5.1e-7 + (tolerance if name == "E35" else 0))
    assert row.theory.tolerance == tolerance


def check(name: str, lines: list[Line], auctions: int) -> None:
    """The row's own measure against the oracle, its other measures against theory."""
    expected, tolerance = oracle(name)
    first = lines[0]
    for line in lines if first.form == "regret" else lines[:1]:
        assert line.theory == pytest.approx(expected, abs=1e-6 + (1e-4 if name == "E35" else 0))
        wide = max(1.0, (first_count(name) / max(1, auctions)) ** 0.5) if line.error else 1.0
        slack = 4 * line.error if first.form == "regret" else 0.0
        assert abs(line.measured - expected) <= tolerance * wide + slack, line
    for line in lines[1:]:
        assert line.within is not False, line


def first_count(name: str) -> int:
    """Auctions for which the oracle's tolerance is meant."""
    t = ROWS[name].theory
    return t.auctions * t.runs


@pytest.mark.parametrize("name", IDS)
def test_the_exchange_does_what_theory_says(name: str) -> None:
    """Each row through config, rules, sell and journal, at a small count with a fixed seed."""
    row = ROWS[name]
    n, runs = counts(row.theory, few(row))
    check(name, row.run(SEED, few(row)), n * runs)


@pytest.mark.torture
@pytest.mark.parametrize("name", IDS)
def test_the_exchange_does_what_theory_says_at_length(name: str) -> None:
    """At the row's own count, with a fresh seed: within tolerance, or four standard errors."""
    seed = int(os.environ.get("RENTIER_SEED") or random.SystemRandom().randrange(2**32))
    print(f"{name} RENTIER_SEED={seed}")
    for line in ROWS[name].run(seed):
        print(*screen.render(line, True), sep="\n")
        assert line.within is not False, line


# ---- one's own market --------------------------------------------------------------------------------------------

MIXED = [("{ uniform = [0.5, 2.0] }", ""), ("{ exponential = 0.7 }", ""), ("{ lognormal = [-0.3, 0.8] }", "")]
SHADER = 'rule = "equilibrium_first_price"\nknobs = { rivals = 3, high_nano = 2_000_000 }'
SHADED = 'rule = "linear"\nknobs = { factor = 0.9 }'
MYERSON = """format = "myerson"
reserve = [{ seat = "b0", values = { uniform = [0.5, 2.0] } }, { values = { exponential = 0.7 } }]"""
PMP = '[fees]\nsell = "pmp2022"\nbuy = "pmp2022"\n'
# name -> (value and rule of each buyer, [auction], [fees])
OTHERS = {
    "mixed": (MIXED, "floor_cpm = 0.6", ""),
    "empirical": ([("{ empirical = [0.1, 0.5, 0.5, 2.0] }", "")] * 3, "floor_cpm = 0.3", ""),
    "first price": ([("{ uniform = [0.0, 2.0] }", SHADER)] * 4, 'format = "first_price"\nfloor_cpm = 0.7', ""),
    "fees": ([("{ exponential = 2.0 }", ""), ("{ uniform = [1.0, 3.0] }", "")], "floor_cpm = 0.4", PMP),
    "soft floor": (MIXED, 'format = "soft_floor"\nfloor_cpm = 0.2\nsoft_floor_cpm = 0.9', ""),
    "seats": (MIXED, 'reserve = [{ seat = "b0", floor_cpm = 0.9 }, { values = { exponential = 0.4 } }]', ""),
    "posted": (MIXED, 'format = "posted_price"\nfloor_cpm = 0.8', PMP),
    "all-pay": (MIXED, 'format = "all_pay"\nfloor_cpm = 0.5', ""),
    "myerson": (MIXED[:2] * 2, MYERSON, ""),
    "gsp": (MIXED * 2, 'format = "gsp"\nslots = [3.0, 2.0, 0.5]', ""),
    "vcg": (MIXED, 'format = "vcg"\nslots = [1.0, 0.6]', PMP),
    "quality": ([*MIXED, ("1.0", "quality = 1.7")], 'format = "gsp"\nfloor_cpm = 0.4', ""),
    "against a fixed price": ([("1.3", ""), ("{ lognormal = [0.0, 0.6] }", SHADED)], "", ""),
}


def own(name: str, folder: Path, theory: str = "", more: str = "") -> Path:
    """A config file of OTHERS."""
    buyers, auction, fees = OTHERS[name]
    text = theory + PLAIN + (f"[auction]\n{auction}\n" if auction else "") + fees
    for k, (value, rule) in enumerate(buyers):
        text += f'\n[[advertiser]]\nname = "b{k}"\n[[advertiser.campaign]]\nname = "all"\n{rule}\n{more}\n'
        text += f"value_cpm = {value}\n{AD}\n"
    path = folder / "own.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", OTHERS)
def test_other_parameters_of_the_same_theory(name: str, tmp_path: Path) -> None:
    """A file without [theory] prints every plain measure, each beside what the forms expect of that market."""
    lines = Row(own(name, tmp_path)).run(SEED, 150_000)
    assert len(lines) == 9 and {line.measure for line in lines} >= {"revenue", "surplus", "sale_rate", "bid"}
    for line in lines:
        silent = "slots" in OTHERS[name][1] and line.measure in ("price", "winning_value")
        assert (silent and line.theory is None) or line.within is True, line


def test_a_market_without_a_closed_form_is_still_measured(tmp_path: Path) -> None:
    """A budget: no theory, a measure all the same, and the reason."""
    row = Row(own("mixed", tmp_path, more="budget = 0.5"))
    lines = row.run(SEED, 5_000)
    assert all(line.theory is None and line.within is None and line.error > 0 for line in lines)
    assert "budget" in row.why_not


@pytest.mark.parametrize(("form", "paid"), [("gsp", 8.5), ("vcg", 8.0)])
def test_clicks_of_a_lower_position_are_fewer(form: str, paid: float, tmp_path: Path) -> None:
    """eCPM 8, 6, 5 at positions of 1 and 0.5, two paying by the click: buyers pay what the seller gets."""
    ads = [
        'value_click = 2.0\npctr = 0.004\nbill = "click"',
        'value_click = 3.0\npctr = 0.002\nbill = "click"',
        "value_cpm = 5.0",
    ]
    text = f'{PLAIN}[auction]\nformat = "{form}"\nslots = [1.0, 0.5]\n'
    text += "".join(
        f'[[advertiser]]\nname = "b{k}"\n[[advertiser.campaign]]\nname = "all"\n{ad}\n{AD}\n'
        for k, ad in enumerate(ads)
    )
    (tmp_path / "market.toml").write_text(text)
    lines = Row(tmp_path / "market.toml").run(0, 50)
    assert all(line.within for line in lines), lines
    assert [line.measured for line in lines[:3]] == pytest.approx([paid] * 3)


@pytest.mark.parametrize(
    ("people", "skew", "view_rate", "floor"), [(300, 0.0, 1.0, 0.0), (500, 0.6, 1.0, 0.0), (40, 0.0, 0.5, 0.4)]
)
def test_the_same_person_again(people: int, skew: float, view_rate: float, floor: float, tmp_path: Path) -> None:
    """Other numbers of E49: fewer people, some who come more often, ads unseen and visits unsold."""
    text = ROWS["E49"].path.read_text().replace("value_cpm = 1.0", "value_cpm = { uniform = [0.0, 1.0] }")
    for key, old, new in (
        ("people", "1_000", people), ("person_skew", 0.0, skew), ("view_rate", 1.0, view_rate),
        ("auctions", "1_000", 200), ("floor_cpm", 0.0, floor),
    ):  # fmt: skip
        text = text.replace(f"{key} = {old}", f"{key} = {new}")
    (tmp_path / "again.toml").write_text(text)
    row = Row(tmp_path / "again.toml")
    assert row.expected("rerent") != pytest.approx(ROWS["E49"].expected("rerent"), abs=0.02)
    (line,) = row.run(SEED, 12_000)
    assert line.runs == 60 and line.z is not None and abs(line.z) < 4, line


def test_a_false_claim_is_found_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that expects something else is out of tolerance: exit code 1, and the screen says so."""
    claim = '[theory]\nid = "X"\nform = "stated"\nexpected = 0.9\ntolerance = 0.01\nauctions = 20_000\n'
    assert main(["theory", str(own("mixed", tmp_path, claim))]) == 1
    assert "out of tolerance" in capsys.readouterr().out


def test_a_difference_is_taken_auction_by_auction() -> None:
    """Common draws make the difference of two formats surer than either of them."""
    line = ROWS["E21"].run(SEED, 40_000)[0]
    alone = ROWS["E01"].run(SEED, 40_000)[0]
    assert line.within and line.error < 0.95 * alone.error


# ---- statistics -----------------------------------------------------------------------------------------------------


def test_standard_errors_are_honest() -> None:
    """Of 400 means of independent draws some 68 % lie within one standard error; batches see what depends in time."""
    rng = np.random.default_rng(SEED)
    found = [mean_of(rng.exponential(1.0, 500), False) for _ in range(400)]
    assert 0.62 < np.mean([abs(m.value - 1) < m.error for m in found]) < 0.74
    slow = np.repeat(rng.normal(size=100), 200)
    assert mean_of(slow, True).error > 5 * mean_of(slow, False).error
    assert mean_of(np.full(9, 0.1), False).error == 0.0


def test_parts_pool_as_if_they_were_one_run() -> None:
    """Means weigh by their observations; independent runs by their spread."""
    rng = np.random.default_rng(SEED)
    whole = rng.normal(3, 2, 10_000)
    joined = pooled([mean_of(whole[:4_000], False), mean_of(whole[4_000:], False)])
    assert joined.value == pytest.approx(whole.mean()) and joined.n == 10_000
    assert joined.error == pytest.approx(mean_of(whole, False).error, rel=0.01)
    assert spread([1.0, 2.0, 3.0]).error == pytest.approx(1 / 3**0.5)


def test_the_same_seed_gives_the_same_line() -> None:
    """And another seed another one."""
    row = ROWS["E02"]
    assert row.run(5, 3_000) == row.run(5, 3_000) != row.run(6, 3_000)


def test_fewer_auctions_widen_the_tolerance_and_shorten_the_runs() -> None:
    """By the root of what was asked for; rows of several runs keep their length."""
    line = ROWS["E02"].run(1, 10_000)[0]
    assert line.tolerance == pytest.approx(0.0008 * 10) and line.auctions == 10_000
    assert counts(ROWS["E37"].theory, 100_000) == (32_000, 3) and counts(ROWS["E37"].theory, 5) == (32_000, 2)
    assert counts(ROWS["E37"].theory, None) == (32_000, 64)


# ---- the command --------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Ids in any case, 100 columns, a verdict."""
    assert main(["theory", "E01", "e54", "--auctions", "20000", "--seed", "3"]) == 0
    text = capsys.readouterr().out
    assert "E01   second price, 2 bidders U(0, 1)" in text and "E54" in text and "0.333333" in text
    assert "4 of 4 within tolerance" in text and max(map(len, text.splitlines())) <= 100


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Every field of every line."""
    assert main(["theory", "E02", "--auctions", "20000", "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [line["measure"] for line in found] == ["revenue", "surplus"]
    assert set(found[0]) == set(Line.__struct_fields__) and found[0]["within"] is True
    assert found[0]["theory"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["E98"], "'E98': expected FILE.toml or one of E01, .*did you mean 'E4[89]'"),
        (["nowhere.toml"], "nowhere.toml: cannot be read"),
        (["E01", "--seed", "-1"], "--seed -1: expected 0 to"),
        (["E01", "--auctions", "1"], "--auctions 1: expected 2 to"),
    ],
)
def test_bad_arguments_are_one_line(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, what was given, what was expected."""
    import re

    assert main(["theory", *args]) == 2
    text = capsys.readouterr().err.strip()
    assert re.search(said, text) and "\n" not in text


BAD = [
    ('form = "vickrey"', "theory.form = 'vickrey': expected one of auction"),
    ('measure = "revenu"', "theory.measure = 'revenu': .*did you mean 'revenue'"),
    ('measure = "bid@nobody/all"', "expected a campaign of this config behind the @"),
    ('form = "difference"', "theory.against is missing"),
    ('form = "stated"', "theory.expected is missing"),
    ('form = "regret"\nhorizons = [100]', "theory.expected is missing"),
]


@pytest.mark.parametrize(("keys", "said"), BAD, ids=range(len(BAD)))
def test_bad_rows_are_one_line(keys: str, said: str, tmp_path: Path) -> None:
    """The section is checked when the config is read."""
    with pytest.raises(ConfigError, match=said):
        load_config(own("mixed", tmp_path, f'[theory]\nid = "X"\n{keys}\n'))


def test_a_form_that_says_nothing_about_the_market_is_refused(tmp_path: Path) -> None:
    """With the reason and what would help."""
    row = Row(own("mixed", tmp_path, '[theory]\nid = "X"\nform = "revenue_equivalence"\n'))
    with pytest.raises(ConfigError, match="bidders that are alike; expected a market that the form covers"):
        row.run(1, 100)


def test_two_rows_of_one_id_are_refused(tmp_path: Path) -> None:
    """Ids name rows."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text('[theory]\nid = "E01"\n')
    with pytest.raises(ConfigError, match=r"theory.id = 'E01' stands in a.toml and b.toml"):
        shipped_rows(tmp_path)
    assert pick.rows([])[0].theory.id == "E01"
