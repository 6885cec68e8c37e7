"""Tournaments: common random numbers, exact differences, the statistics, the table, the plot."""

import itertools
import json
import re
import xml.etree.ElementTree as ET
from math import exp, lgamma, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exchange import market as mk
from exchange.__main__ import main
from exchange.bidding import library
from exchange.config import Config, ConfigError, Distribution, load_config
from exchange.tournament.plot import LABELS, draw
from exchange.tournament.run import Contender, Plan, Play, find_seat, plan, play, tournament
from exchange.tournament.screen import WIDTH, number, render
from exchange.tournament.table import Table, interval, t_975, table
from tests.naive_terms import campaign, market

ROOT = Path(__file__).resolve().parents[1]
GAUSS = np.polynomial.legendre.leggauss(200)


def field(at: str = "second_price", **seat: Any) -> Config:
    """A seat against three rivals that learn nothing; values U(0, 2), half the impressions clicked when seen."""
    u = Distribution(uniform=(0.0, 2.0))
    own = {
        "one": [campaign("rival", "linear", u, knobs={"factor": 0.9})],
        "me": [campaign("challenger", value=u, **seat)],
    }
    own |= {f"r{k}": [campaign("rival", "linear", u, knobs={"factor": 0.8 + k / 10})] for k in range(2)}
    config = market(own, "none", seed=5, format=at, server={"awards_max": 1 << 16})
    config.population.preset, config.population.people, config.population.ctr = "plain", 300, 0.5
    config.population.floor_cpm, config.population.view_rate = 0.3, 0.8
    return config


def factors(*numbers: float) -> list[Contender]:
    """The linear rule with each of some factors."""
    return [Contender(f"x{number}", "linear", {"factor": number}) for number in numbers]


def played(config: Config, contenders: list[Contender], seeds: int = 4, visits: int = 3_000) -> Table:
    """A tournament of just these."""
    decided = plan(config, seeds, visits, only=True, rules=["truthful"])
    decided.contenders += contenders
    plays, slow = tournament(decided)
    return table(decided, plays, slow)


# ---- what it must show ------------------------------------------------------------------------------------------


def test_in_second_price_without_a_budget_nothing_beats_the_truth() -> None:
    """Rivals that do not learn and common random numbers: not on any seed, let alone on the mean (Vickrey 1961)."""
    found = played(field(), factors(0.0, 0.5, 0.8, 0.95, 1.05, 1.3, 2.0), seeds=5)
    assert found.rows[0].rule == found.base == "truthful"
    best = found.rows[0].by_seed
    for row in found.rows[1:]:
        assert all(mine <= truth for mine, truth in zip(row.by_seed, best, strict=True)), row.rule
        if row.rule not in ("x0.95", "x1.05"):
            assert row.vs_base + row.vs_base_half < 0, row.rule
    by_name = {row.rule: row for row in found.rows}
    assert by_name["x0.5"].surplus < by_name["x0.8"].surplus < by_name["x0.95"].surplus
    assert by_name["x2.0"].surplus < by_name["x1.3"].surplus < by_name["x1.05"].surplus


def test_the_same_rule_twice_differs_by_exactly_nothing() -> None:
    found = played(field(), [Contender("again", "truthful"), *factors(1.0, 0.5)])
    level = {row.rule: row for row in found.rows if row.rule != "x0.5"}
    for row in level.values():
        assert (row.rank, row.vs_base, row.vs_base_half, row.vs_leader) == (1, 0.0, 0.0, 0.0)
        assert row.by_seed == level["truthful"].by_seed and row.spend == level["truthful"].spend
    assert [row.rank for row in found.rows] == [1, 1, 1, 4]
    assert found.notes[0] == "not to be told from truthful at 95 %: again, x1.0"


def test_who_bids_nothing_gains_nothing() -> None:
    row = next(row for row in played(field(), factors(0.0)).rows if row.rule == "x0.0")
    assert (row.surplus, row.surplus_half, row.value, row.spend, row.wins, row.seen) == (0, 0, 0, 0, 0, 0)
    assert (row.cpm, row.cpc, row.win_rate, row.rent_per_person) == (0, 0, 0, 0) and row.asked == 4 * 3_000


def test_in_first_price_the_truth_earns_nothing_and_shading_does() -> None:
    found = played(field("first_price"), factors(0.8))
    shaded, truth = found.rows
    assert (shaded.rule, truth.rule, truth.surplus) == ("x0.8", "truthful", 0.0)
    assert shaded.vs_base - shaded.vs_base_half > 0


def test_who_loses_an_all_pay_auction_pays_and_gains_nothing() -> None:
    """Four of a kind: each wins about every fourth auction, and the value of the others is not his."""
    config = field("all_pay")
    config.population.view_rate = 1.0
    found, run = play(plan(config, 2, 4_000, only=True, rules=["truthful"]), Contender("x1", "linear", {}), 5)
    won = run.ledger.wins[
        (run.ledger.wins["slot"] == 0) & (run.ledger.wins["campaign"] == run.venue.campaigns["id"][1])
    ]
    assert 800 < found.wins == found.seen == len(won) < 2_000
    assert found.value_nano == won["value_nano"].sum() < found.spend_nano


def test_contenders_meet_the_same_market() -> None:
    """The same people come, the rivals have the same valuations, whoever sits in the seat."""
    decided = plan(field(), 2, 2_000, only=True, rules=["truthful"])
    (_, one), (_, other) = (play(decided, c, seed=9) for c in factors(0.4, 1.5))
    for name in ("person_key", "floor_nano", "ts_ns", "publisher"):
        assert np.array_equal(one.ledger.auctions[name], other.ledger.auctions[name]), name
    both = {}
    for run in (one, other):
        rivals = run.ledger.wins[run.ledger.wins["campaign"] != run.venue.campaigns[1]["id"]]
        both[run] = {(row["auction_id"], row["campaign"]): row["value_nano"] for row in rivals}
    shared = both[one].keys() & both[other].keys()
    assert len(shared) > 300 and all(both[one][key] == both[other][key] for key in shared)


@pytest.mark.parametrize("seat", [{}, {"budget": 0.4, "cap": None}], ids=["free", "budget"])
def test_the_figures_are_those_of_the_ledger(seat: dict[str, Any]) -> None:
    """Each figure again, row by row in plain Python; and spend is what left the campaign's account, fees included."""
    config = field(**{k: v for k, v in seat.items() if v is not None})
    config.fees.buy = "isba2020"
    decided = plan(config, 2, 3_000, only=True, rules=["linear"])
    found, run = play(decided, factors(0.9)[0], seed=11)
    me, ledger = run.venue.campaigns[1], run.ledger
    assert found.spend_nano == int(me["spent"]) and (found.asked, found.wins) == (int(me["asked"]), int(me["wins"]))
    terms = {row["serial"]: row for row in ledger.wins if row["campaign"] == me["id"]}
    value, spend, seen, clicks, people = 0, 0, 0, 0, set()
    for event in ledger.events:
        if event["campaign"] != me["id"]:
            continue
        if event["kind"] == mk.KIND_IMPRESSION:
            value += int(terms[event["serial"]]["value_nano"])
            spend += int(terms[event["serial"]]["buyer_total_nano"])
            seen += 1
            people.add(int(event["person_key"]))
        clicks += event["kind"] == mk.KIND_CLICK
    assert (found.value_nano, found.spend_nano, found.surplus_nano) == (value, spend, value - spend)
    assert (found.seen, found.clicks, found.people, found.faults) == (seen, clicks, len(people), 0)
    assert 0 < seen < found.wins and 0 < clicks < seen and found.surplus_nano > 0  # some are not seen
    row = table(decided, [[found, found]], {}).rows[0]
    assert row.cpm == pytest.approx(1000 * spend / 1e9 / seen) and row.cpc == pytest.approx(spend / 1e9 / clicks)
    assert row.rent_per_person == pytest.approx(spend / 1e9 / len(people)) and row.win_rate == len(terms) / 3_000
    if seat:
        assert row.budget_use == pytest.approx(spend / 1e9 / 0.4) and 0.5 < row.budget_use <= 1
    else:
        assert row.budget_use is None


# ---- who plays ----------------------------------------------------------------------------------------------------


def labels(found: Plan) -> list[str]:
    """Under which names they play."""
    return [contender.label for contender in found.contenders]


def test_the_built_in_rules_play_with_their_defaults_and_the_seats_own_with_its_knobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = [name for name, rule in library().items() if not {"needs_knobs", "paces_budget"} & {*dir(rule)}]
    assert {"truthful", "linear", "shaded"} < {*every} and not {"constant", "rlb", "paced"} & {*every}
    assert labels(plan(field(), 2, 10)) == every  # the seat's own rule is the truthful one
    own = plan(_knobs(field(), "linear", factor=0.6), 2, 10)
    assert labels(own) == [*every, "linear*"] and own.contenders[-1].knobs == {"factor": 0.6}
    assert own.contenders[every.index("linear")].knobs == {}
    twice = plan(field(), 2, 10, rules=["truthful", "./odd_rules.py:Moody"], folder=ROOT / "tests")
    assert labels(twice) == [*every, "truthful #2", "./odd_rules.py:Moody"]
    assert twice.contenders[-1].rule == f"{ROOT}/tests/odd_rules.py:Moody"  # wherever the config lies
    monkeypatch.setattr(library()["linear"], "needs_knobs", True, raising=False)
    assert labels(plan(field(), 2, 10)) == [name for name in every if name != "linear"]
    assert labels(plan(field(), 2, 10, rules=["linear"], only=True)) == ["linear"]


def test_rules_that_pace_a_budget_pace_that_of_the_seat() -> None:
    """Their target an auction is the budget over the visits, by whichever way they come to play."""
    found = {c.label: c.knobs for c in plan(field(budget=4.0), 2, 20_000, rules=["paced"]).contenders}
    pacing = {name for name, rule in library().items() if getattr(rule, "paces_budget", False)}
    assert {label for label, knobs in found.items() if knobs == {"target_nano": 200_000}} == pacing | {"paced #2"}
    assert {"paced", "adaptive_pacing", "throttled"} <= pacing and found["shaded"] == {}
    assert all("target_nano" in library()[name].defaults for name in pacing)


def _knobs(config: Config, rule: str, **knobs: Any) -> Config:
    """The seat with another rule and knobs."""
    seat = config.advertiser[1].campaign[0]
    seat.rule, seat.knobs = rule, knobs
    return config


def test_the_seat_is_the_challengers_or_the_one_named_or_the_first() -> None:
    config = field()
    assert find_seat(config) == (1, 0) and find_seat(config, "r1/rival") == (3, 0)
    config.advertiser[1].campaign[0].name = "somebody"
    assert find_seat(config) == (0, 0)
    with pytest.raises(ConfigError, match="--seat 'x/y': expected one of one/rival, me/somebody, r0/rival, r1/rival"):
        find_seat(config, "x/y")
    with pytest.raises(ConfigError, match="no campaign: expected a field"):
        find_seat(Config())


def test_the_rivals_and_the_config_stay_as_they_are() -> None:
    config = field()
    decided = plan(config, 2, 500, seat="r1/rival", only=True, rules=["truthful"])
    _, run = play(decided, factors(1.7)[0], 3)
    assert [run.venue.campaigns[k]["factor"] for k in (0, 2, 3)] == [0.9, 0.8, 1.7]
    assert config.advertiser[3].campaign[0].knobs == {"factor": 0.9} and config.exchange.seed == 5


def test_what_is_done_is_stated_before_it_begins() -> None:
    decided = plan(field(), 5, 2_000, rules=["truthful", "linear"], only=True, first=40)
    said = "2 rules x 5 seeds x 2,000 visits = 20,000 visits, in the seat of me/challenger, one of 4 campaigns"
    assert decided.statement() == said and decided.seeds == [40, 41, 42, 43, 44]
    told: list[tuple[int, int]] = []
    tournament(decided, lambda done, every: told.append((done, every)))
    assert told == [(k, 10) for k in range(1, 11)]
    plays, _ = tournament(decided)
    assert [[p.seed for p in each] for each in plays] == [decided.seeds] * 2
    assert len({p.surplus_nano for p in plays[0]}) == 5  # each seed is another market


# ---- the statistics -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freedom", [*range(1, 34), 60, 400, 9_999])
def test_the_quantile_of_students_t(freedom: int) -> None:
    """The density integrated from the quantile's negative to the quantile is 0.95."""
    n, t = float(freedom), t_975(freedom)
    scale = exp(lgamma((n + 1) / 2) - lgamma(n / 2)) / sqrt(n * pi)
    x, w = GAUSS
    area = float(t * np.sum(w * scale * (1 + (t * x) ** 2 / n) ** (-(n + 1) / 2)))
    assert area == pytest.approx(0.95, abs=1e-6)


def test_an_interval_by_hand() -> None:
    mean, half = interval([1, 2, 3, 4])
    assert mean == 2.5 and half == pytest.approx(3.182446 * sqrt(5 / 3) / 2)
    assert interval([7, 7]) == (7.0, 0.0)


def test_differences_are_paired_and_ranks_are_by_the_mean() -> None:
    """Two contenders that vary wildly together: their own intervals overlap, that of the difference does not."""
    decided = Plan(field(), (1, 0), [Contender(n, "linear") for n in ("a", "truthful", "c")], [1, 2, 3], 10)
    base = [10_000_000_000, 50_000_000_000, 90_000_000_000]
    steps = {"a": (1, 2, 3), "truthful": (0, 0, 0), "c": (1, 2, 3)}
    plays = [
        [
            Play(s, b + x * 10**9, 0, 10, 1, 1, 0, 1, 0, 0)
            for s, b, x in zip((1, 2, 3), base, steps[c.label], strict=True)
        ]
        for c in decided.contenders
    ]
    found = table(decided, plays, {"c": "because"})
    assert [(row.rank, row.rule) for row in found.rows] == [(1, "a"), (1, "c"), (3, "truthful")]
    first, _, last = found.rows
    assert first.surplus == 52 and first.surplus_half > 90
    assert first.vs_base == 2 and first.vs_base_half == pytest.approx(t_975(2) / sqrt(3))
    assert last.vs_leader == -2 and last.vs_base == last.vs_base_half == 0
    assert found.notes == ["not to be told from a at 95 %: c, truthful", "c ran in Python, slower: because"]


# ---- the command ----------------------------------------------------------------------------------------------------

CONFIG = ROOT / "configs" / "tournament_first_price.toml"
SHORT = ["--seeds", "2", "--auctions", "400"]
SLOW = '''
class Wordy:
    """Half of the valuation, in a way that numba refuses."""

    defaults = {}

    @staticmethod
    def price(value, imp, me):
        return int(f"{value:d}") // 2

    @staticmethod
    def learn(value, imp, me, result):
        return
'''


def test_the_command_gives_the_same_bytes_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(SLOW)
    rules = ["--rules", f"truthful,{tmp_path}/mine.py:Wordy"]
    shown = []
    for k in range(2):
        assert main(["tournament", str(CONFIG), *SHORT, *rules, "--svg", str(tmp_path / f"{k}.svg")]) == 0
        shown.append(capsys.readouterr())
    assert shown[0].out == shown[1].out
    assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()
    n = len([rule for rule in library().values() if not getattr(rule, "needs_knobs", False)]) + 3
    assert shown[0].err.startswith(f"{n} rules x 2 seeds x 400 visits = {n * 800:,} visits, in the seat of")
    lines = shown[0].out.splitlines()
    assert max(map(len, lines)) <= WIDTH and "seeds 1 to 2, 400 visits each" in lines[0]
    assert " ".join(lines[2].split()) == "# rule surplus vs base +- value spend CPM CPC won rent budget"
    assert "truthful #2" in shown[0].out and "paced*" in shown[0].out
    assert "mine.py:Wordy ran in Python, slower: price():" in " ".join(lines).replace("  ", " ")
    assert main(["tournament", str(CONFIG), *SHORT, "--seed", "2", "--json", "--rules", "truthful", "--only"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["first_seed"], facts["seeds"], facts["base"], facts["format"]) == (2, 2, "truthful", "first_price")
    assert len(facts["rows"]) == 1 and len(facts["rows"][0]["by_seed"]) == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--seeds", "1"], "--seeds 1: expected 2 to 10000"),
        (["--seeds", "2", "--auctions", "0"], "--auctions 0: expected 1 to 2000000"),
        (["--seeds", "2", "--auctions", "3000000"], "--auctions 3000000: expected"),
        (["--seeds", "2", "--seed", "-1"], "--seed -1: expected 0 to"),
        (["--seeds", "2", "--seat", "a/b"], "--seat 'a/b': expected one of seat/challenger, "),
        (["--seeds", "2", "--only"], "--only: nobody plays"),
        (["--seeds", "2", "--rules", "trothful"], "trothful: rule 'trothful': not among the built-in rules"),
        (["--seeds", "2", "--rules", "./no.py:Rule"], "no file"),
        (["--seeds", "2", "--svg", "no/where/plot.svg"], "--svg no/where/plot.svg: no folder no/where"),
    ],
)
def test_what_cannot_be_played_is_one_line(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tournament", str(CONFIG), *args]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rentier tournament: ")]
    assert len(error) == 1 and said in error[0]


@pytest.mark.parametrize("name", ["tournament", "tournament_first_price"])
def test_the_fields_that_come_with_it(name: str) -> None:
    """Eight to ten campaigns of several rules, a challenger whose budget binds, and a table that tells them apart."""
    config = load_config(ROOT / "configs" / f"{name}.toml")
    rules = [c.rule for a in config.advertiser for c in a.campaign]
    assert 8 <= len(rules) <= 10 == len(set(rules))
    assert config.auction.format == {"tournament": "second_price"}.get(name, "first_price")
    decided = plan(config, 4, 20_000, rules=["truthful"], only=True)
    decided.contenders.append(Contender("own", decided.seated.rule, decided.seated.knobs))
    plays, slow = tournament(decided)
    own, truth = table(decided, plays, slow).rows
    assert own.rule == "own" and own.vs_base - own.vs_base_half > 0 and own.budget_use > 0.8 < truth.budget_use


# ---- the screen and the plot ----------------------------------------------------------------------------------------


def test_a_number_in_seven_characters() -> None:
    rng = np.random.default_rng(3)
    for x in [0.0, -0.0001, 999999.6, 1e9, -1e12, *(rng.normal(0, 1, 300) * 10 ** rng.uniform(-6, 13, 300))]:
        text = number(float(x))
        assert len(text) <= 8 and float(text) == pytest.approx(float(x), abs=5.1e-5, rel=0.06)
    assert [number(x) for x in (1.23456, 12.3456, -123.4567, 12345.67)] == ["1.2346", "12.3456", "-123.46", "12345.7"]


def wild() -> Table:
    """A table with all that is awkward: long names, markup in names, an outlier, no clicks, one rule level."""
    decided = Plan(_knobs(field(budget=9.0), "linear"), (1, 0), [], [1, 2, 3], 10)
    names = ('<b>&"quoted"', "truthful", "./a/very/long/path/to/a/file.py:ClassOfALongName", "spender", "none")
    means = (5_000, 4_000, 3_000, -900_000, 0)
    decided.contenders = [Contender(name, "linear") for name in names]
    plays = [
        [Play(s, mean * 10**6 * s + 10**9, 10**9, 100, 9, 8, 0, 3, 10**9, k) for s in decided.seeds]
        for k, mean in enumerate(means)
    ]
    return table(decided, plays, {})


def test_the_screen_fits_its_width_whatever_the_names() -> None:
    text = render(wild())
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert "...a/file.py:ClassOfALongName"[-22:] in text and " - " in text and "11.1%" in text
    assert "spender: 9 prices that are none" in text
    found = wild()
    for row in found.rows:
        row.surplus, row.vs_base, row.value, row.spend, row.cpm, row.cpc, row.rent_per_person = (-123456.7,) * 7
        row.vs_base_half, row.win_rate, row.budget_use, row.clicks = 123456.7, 1.0, 12.345, 1
    lines = render(found).splitlines()
    assert all(len(line) <= WIDTH for line in lines) and all(line.endswith("1234.5%") for line in lines[3:8])
    assert lines[5].split()[1].endswith("LongName")


def test_the_plot_is_one_self_contained_readable_picture() -> None:
    found = wild()
    text = draw(found)
    root = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert not re.search(r"href|url\(|<script|<image|@import|file:|style=", text)
    assert root.find(f"{space}rect").get("fill") == "#ffffff"
    width, height = float(root.get("width")), float(root.get("height"))
    texts = [(node.text, float(node.get("x")), float(node.get("y"))) for node in root.iter(f"{space}text")]
    for said, x, y in texts:
        assert 0 <= x <= width and 0 <= y <= height, said
        assert x != LABELS - 12 or len(said) * 7.3 < x, f"{said}: cut off on the left"
    words = " ".join(said for said, _, _ in texts)
    for label in (
        '1  <b>&"quoted"',
        "surplus per seed, EUR",
        "difference to truthful",
        "me/challenger",
        "95 % interval",
    ):
        assert label in words, label
    heights = [y for said, _, y in texts if re.match(r"\d  ", said)]
    assert len(heights) == 5 and all(b - a >= 20 for a, b in itertools.pairwise(heights))  # rows do not touch
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{space}circle")]
    assert all(0 < x < width and 0 < y < height for x, y in circles)
    means = {round(y): x for x, y in (c for c in circles) if x > 560}
    assert [*means.values()] == sorted(means.values(), reverse=True)  # best first, further right
    assert "-1800.0" in words and "-1808.0" in words  # the outlier stands at the edge, with its numbers


def test_a_plot_of_equals_has_an_axis() -> None:
    decided = Plan(field(), (1, 0), [Contender(n, "linear") for n in ("a", "b")], [1, 2], 10)
    plays = [[Play(s, 0, 0, 10, 0, 0, 0, 0, 0, 0) for s in decided.seeds] for _ in range(2)]
    found = table(decided, plays, {})
    assert found.base == "a"  # nobody is what a config names by default: the leader is the base
    ET.fromstring(draw(found))
    assert "0.0000" in render(found)
