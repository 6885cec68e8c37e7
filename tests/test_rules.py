"""Rules: one contract for all of them, in plain Python and compiled; how they are found, and how they may fail."""

import importlib
import inspect
import itertools
import re
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit

from exchange import bidding
from exchange import market as mk
from exchange.auction.sell import trade
from exchange.awards import advance_to, event_at
from exchange.bidding import RuleError, call_feedback, call_learn, call_price, resolve
from exchange.config import ConfigError
from exchange.contract import check_rule
from tests.duels import duel, plain, surplus
from tests.naive_terms import Imp, Remote, Request, campaign, market, offer, venue_of

HERE = str(Path(__file__).parent)
LIBRARY = bidding.library()
FILED = {f"./odd_rules.py:{name}": resolve(f"./odd_rules.py:{name}", HERE) for name in ("Tired", "Moody", "Wild")}
SLOW = {f"./odd_rules.py:{name}": resolve(f"./odd_rules.py:{name}", HERE) for name in ("Wordy", "Vast")}
ODD = {**FILED, "./odd_rules.py:Greek": resolve("./odd_rules.py:Greek", HERE), **SLOW}
RULES = {**LIBRARY, **ODD}
NOW = 1_770_000_000 * 10**9


@njit(cache=True)
def ask_all(addresses, values, imps, mes, results, prices):  # type: ignore[no-untyped-def]
    """price, learn and feedback of one rule at its addresses, on each of many cases."""
    for i in range(values.size):
        prices[i] = call_price(addresses[0], values[i], imps[i], mes[i])
    for i in range(values.size):
        call_learn(addresses[1], values[i], imps[i], mes[i], results[i])
        call_feedback(addresses[2], mes[i], 10, results[i].price)


@lru_cache
def compiled() -> tuple[bidding.Rules, np.dtype]:
    """All rules of this file in one table."""
    dtype = bidding.campaign_dtype(RULES)
    return bidding.Rules(RULES, dtype), dtype


@pytest.mark.parametrize("name", [*LIBRARY, *FILED])
def test_contract_the_same_in_both_runtimes(name):
    """Same prices, same knobs after, to the bit; a price is an int and does not change `me`."""
    assert check_rule(RULES[name]) == 1_080


@pytest.mark.parametrize("name", LIBRARY)
def test_contract_of_the_text(name):
    """The module's docstring says what the rule does, where it is from and what to expect; it imports none of ours."""
    module = inspect.getmodule(LIBRARY[name])
    doc, source = module.__doc__ or "", inspect.getsource(module)
    assert re.match(r"[A-Z][^\n]+\.\n", doc), "first line: one sentence"
    assert re.search(r"^Source: .+\(\d{4}\)", doc, re.M) and re.search(r"^Expect: .{20,}", doc, re.M)
    assert not re.search(r"^\s*(import|from) (?!typing|math)", source, re.M)
    assert name in BEHAVES, f"write a test of what {name} says to expect"
    assert all(
        len(inspect.signature(getattr(LIBRARY[name], f)).parameters) == n for f, n in (("price", 3), ("learn", 4))
    )


# ---- what each rule says to expect ------------------------------------------------------------------------------


def truthful_behaves():
    truth = surplus("truthful")
    assert truth == surplus("linear", factor=1.0)
    for factor in (0.6, 0.8, 1.25, 1.6):
        assert surplus("linear", factor=factor) < truth, factor


def linear_behaves():
    for factor in (0.0, 0.25, 1.0, 2.5):
        me = plain({"factor": factor})
        prices = [LIBRARY["linear"].price(value, None, me) for value in (0, 400_003, 800_006, 4_000_030)]
        assert prices == [0, int(400_003 * factor), int(800_006 * factor), int(4_000_030 * factor)]


def paced_behaves():
    """U(0, 1) against one rival, target 0.06 an auction of the 0.167 that truth would spend: within a tenth."""
    run, me, wins = duel("paced", 120_000, target_nano=60_000)
    late = wins[wins["auction_id"] > 60_000]
    assert abs(late["buyer_total_nano"].sum() / 60_000 / 60_000 - 1) < 0.1
    assert 0.01 <= float(me["multiplier"]) < 0.9
    assert run.venue.money()["me/c"]["asked"] == 120_000
    for multiplier, price in itertools.product((0.01, 0.5, 1.0), (0, 10**6, 10**9)):
        knobs = plain({"multiplier": multiplier, "step": 1e-7, "target_nano": 30_000})
        LIBRARY["paced"].learn(10**6, None, knobs, SimpleNamespace(price=price))
        assert 0 < LIBRARY["paced"].price(10**6, None, knobs) <= 10**6


def shaded_behaves():
    rule = LIBRARY["shaded"]
    for floor, shade in itertools.product((0, 300_000, 2_000_000), (0.2, 0.8, 1.0)):
        assert 0 <= rule.price(10**6, SimpleNamespace(floor=floor), plain({"shade": shade})) <= 10**6
    for won, least, sign in ((True, 300_000, -1), (False, 950_000, 1), (True, 0, -1), (False, 0, 1)):
        me = plain({"shade": 0.8, "rate": 0.02, "least": 0.2})
        for _ in range(400):
            before = me.shade
            rule.learn(10**6, None, me, SimpleNamespace(won=won, min_to_win=least, price=0, bid=0))
            assert (me.shade - before) * sign >= 0
        assert (me.shade - 0.8) * sign > 0.1 and 0.2 <= me.shade <= 1.0
    _, me, wins = duel("shaded", 30_000, at="first_price")
    assert 0.2 < float(me["shade"]) < 0.75  # the rival bids half its valuation
    assert (wins["buyer_total_nano"] == wins["bid_nano"]).all()


BEHAVES = {
    "truthful": truthful_behaves,
    "linear": linear_behaves,
    "paced": paced_behaves,
    "shaded": shaded_behaves,
}
for path in sorted(Path(HERE).glob("test_rules_*.py")):  # one file a family of rules, each with its own BEHAVES
    BEHAVES |= getattr(importlib.import_module(f"tests.{path.stem}"), "BEHAVES", {})


@pytest.mark.parametrize("name", BEHAVES)
def test_a_rule_does_what_it_says_to_expect(name):
    assert name in LIBRARY
    BEHAVES[name]()


# ---- finding rules ----------------------------------------------------------------------------------------------


def test_the_resolver_finds_all_three_ways(tmp_path):
    from bidders.linear import Linear

    assert resolve("linear") is resolve("bidders.linear:Linear") is Linear
    (tmp_path / "mine.py").write_text((Path(HERE) / "odd_rules.py").read_text())
    mine = resolve("./mine.py:Tired", str(tmp_path))
    assert mine.__name__ == "Tired" and mine is not FILED["./odd_rules.py:Tired"]
    assert resolve(f"{tmp_path}/mine.py:Moody").__name__ == "Moody"
    assert {*LIBRARY} >= {"linear", "paced", "shaded", "truthful"} and [*LIBRARY] == sorted(LIBRARY)
    assert bidding.snake("FloorPlus") == "floor_plus"


def test_each_failure_says_where_it_looked_and_the_nearest_name(tmp_path):
    (tmp_path / "mine.py").write_text("class Good:\n    price = learn = None\n")
    (tmp_path / "torn.py").write_text("class Torn\n")
    for name, said in {
        "trothful": r"rule 'trothful': not among the built-in rules \(.*shaded.*\).*did you mean 'truthful'\?",
        "zzz": r"neither pkg.mod:Class nor ./file.py:Class$",
        "bidders.linear:Liner": r"bidders.linear has no rule class 'Liner'; did you mean 'Linear'\?",
        "bidders.lineal:Linear": r"module 'bidders.lineal' cannot be imported",
        "./mime.py:Good": rf"no file {tmp_path}/mime.py; did you mean 'mine.py'\?",
        "./mine.py:Goad": r"./mine.py has no rule class 'Goad'; did you mean 'Good'\?",
        "./torn.py:Torn": rf"{tmp_path}/torn.py failed to load: SyntaxError",
    }.items():
        with pytest.raises(RuleError, match=said) as error:
            resolve(name, str(tmp_path))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Fraction", r"price\(\) returns float64, expected an int: wrap it in int\(...\)"),
        ("Misspelt", r"price\(\) reads 'factor_of_mne', which is neither a knob nor a field"),
        ("Mute", r"it has no learn\(\)"),
    ],
)
def test_a_broken_rule_is_refused_at_load(name, said):
    with pytest.raises(ConfigError, match=f"rule ./odd_rules.py:{name}: {said}"):
        venue_of(market({"a": [campaign("c", f"./odd_rules.py:{name}")]}))


def test_knobs_are_checked():
    for rule, knobs, said in (
        ("linear", {"facto": 1.0}, r"no knob 'facto'; it has factor; did you mean 'factor'\?"),
        ("linear", {"factor": "much"}, r"knob 'factor' = 'much': expected an int, a float or a list"),
        ("linear", {"factor": True}, "expected an int, a float"),
        ("paced", {"target_nano": 1.5}, "expected the type of its default 30000"),
        ("./odd_rules.py:Tired", {"seen": [1, 2]}, r"= \[1, 2\]: expected a list of 3 integers"),
        ("rlb", {"table": [1.5] * 99}, r"knob table = .{60}: expected a list of 256 floats, as long as its default$"),
        ("./odd_rules.py:Tired", {"seen": [[1], [2]]}, "expected a flat list of numbers"),
    ):
        with pytest.raises(ConfigError, match=f"campaign a/c: rule {rule}: .*{said}"):
            venue_of(market({"a": [campaign("c", rule, knobs=knobs)]}))
    venue = venue_of(market({"a": [campaign("c", "linear", knobs={"factor": 2})]}))  # an int will do for a float
    assert float(venue.campaigns[0]["factor"]) == 2.0


def a_rule(**defaults):
    """A rule that is nothing but its knobs."""
    return type("Made", (), {"defaults": defaults, "price": staticmethod(lambda v, i, m: v)})


def test_the_record_of_a_campaign_has_room_for_all_knobs():
    base = bidding.campaign_dtype({})
    assert bidding.campaign_dtype(LIBRARY) is base  # built-in rules never change the layout, nor is it made twice
    wider = bidding.campaign_dtype({"x": a_rule(zeal=1, aim=[0.5, 1.5]), "y": a_rule(zeal=2)})
    assert wider["zeal"] == np.int64 and wider["aim"].shape == (2,)
    assert [wider.fields[n] for n in base.names] == [base.fields[n] for n in base.names]
    with pytest.raises(RuleError, match="knob 'budget' is a field of every campaign; rename it"):
        bidding.campaign_dtype({"x": a_rule(budget=1)})
    with pytest.raises(RuleError, match=r"rule y: knob 'zeal' is \('f8',\), elsewhere"):
        bidding.campaign_dtype({"x": a_rule(zeal=1), "y": a_rule(zeal=0.5)})
    with pytest.raises(RuleError, match="knob 'factor' is"):
        bidding.campaign_dtype({"x": a_rule(factor=1)})


def test_two_files_may_have_a_class_of_the_same_name(tmp_path):
    source = (Path(HERE) / "odd_rules.py").read_text()
    (tmp_path / "one.py").write_text(source)
    (tmp_path / "two.py").write_text(source.replace("tired_paid", "weary_paid").replace('"seen"', '"met"'))
    names = [f"{tmp_path}/{n}.py:Tired" for n in ("one", "two")]
    dtype = bidding.campaign_dtype({name: resolve(name) for name in names})
    assert {"seen", "met", "tired_paid", "weary_paid"} <= set(dtype.names)


# ---- rules that cannot be compiled, and rules that misbehave ------------------------------------------------------


def test_a_rule_the_compiler_refuses_still_runs_and_is_named():
    table, _ = compiled()
    assert set(table.slow) == set(SLOW) and set(table.faults) == set(SLOW)
    assert re.match(r"price\(\): format spec in f-strings not supported", table.slow["./odd_rules.py:Wordy"])


def odd_venue(first, second):
    """Two campaigns, and one of each odd rule that never flies: the record of test_state."""
    odd = [campaign(n, f"./odd_rules.py:{n}", start="2100-01-01") for n in ("Tired", "Moody", "Wild", "Wordy")]
    return venue_of(market({"a": [first], "b": [second], "spare": odd}, "none"))


def test_knobs_of_an_own_rule_compile_no_step_of_the_exchange():
    """Another layout behind the fixed fields is another address, not another type."""
    library = venue_of(market({"a": [campaign("c", "truthful", 2.0)]}, "none"))
    assert int(offer(library, Request(NOW))[0]["campaign"]) == 0
    steps = [trade, event_at, advance_to]
    before = [len(step.signatures) for step in steps]
    own = odd_venue(campaign("c", "truthful", 3.0), campaign("c", "truthful", 2.0))
    assert own.campaigns.itemsize > library.campaigns.itemsize
    assert int(offer(own, Request(NOW))[0]["campaign"]) == 0 and int(own.campaigns[1]["asked"]) == 1
    assert [len(step.signatures) for step in steps] == before and before[0] == 1


def test_an_exception_of_a_rule_costs_only_its_bid():
    venue = odd_venue(campaign("c", "./odd_rules.py:Wordy", 3.0), campaign("c", "truthful", 2.0))
    winners = [int(offer(venue, Request(NOW + k))[0]["campaign"]) for k in range(10)]
    assert winners == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert venue.rules.faults["./odd_rules.py:Wordy"] == 2


def test_prices_that_are_none_are_clamped_and_counted():
    """Below zero is no bid; above the limit is the limit, and then what the campaign has."""
    venue = odd_venue(campaign("c", "./odd_rules.py:Wild", 1.0, budget=0.5), campaign("c", "./odd_rules.py:Vast"))
    bids = []
    for k in range(4):
        offer(venue, Request(NOW + k, imps=[Imp(7)], remote=[Remote(0)] if k < 0 else []))
        bids.append(venue.arrays["bids"]["gross_nano"][:2].tolist())
    assert [mine for mine, _ in bids] == [0, 500_000_000, 3_000_000, 3_000_000]
    assert {its for _, its in bids} == {mk.PRICE_MAX_NANO}
    assert venue.campaigns["faults"][:2].tolist() == [2, 4] and venue.rules.faults["./odd_rules.py:Vast"] == 0


def test_the_mathematics_that_is_the_same_to_the_bit():
    """exp, log, sqrt, tanh and ** (by a knob) give the bits of Python: 10,000 arguments over 14 decades."""
    table, dtype = compiled()
    rng, n = np.random.default_rng(8), 10_000
    mes = np.zeros(n, dtype)
    mes["x"] = np.clip(rng.normal(0, 1, n) * 10 ** rng.uniform(-7, 7, n), -700, 700)
    mes["y"] = rng.uniform(-3, 3, n)
    values, imps, results = np.ones(n, np.int64), np.zeros(n, mk.IMP), np.zeros(n, mk.RESULT)
    row = table.table[list(RULES).index("./odd_rules.py:Greek")]
    ask_all(row, values, imps, mes, results, np.zeros(n, np.int64))
    for me in mes:
        mine = SimpleNamespace(x=float(me["x"]), y=float(me["y"]), out=[0.0] * 5)
        RULES["./odd_rules.py:Greek"].price(1, None, mine)
        assert mine.out == me["out"].tolist(), (mine.x, mine.y)


# ---- docs/bidders.md ----------------------------------------------------------------------------------------------


def test_the_rule_of_the_page_is_as_it_says(tmp_path):
    """The page runs in test_docs.py; here what it claims of its rule: no knob of its own, a discount per contact."""
    text = (Path(HERE).parent / "docs" / "bidders.md").read_text(encoding="utf-8")
    (tmp_path / "careful.py").write_text(
        re.search(r"```python\n(# careful.py\n.*?)```", text, re.S)[1], encoding="utf-8"
    )
    careful = resolve("./careful.py:Careful", str(tmp_path))
    assert bidding.campaign_dtype({"careful": careful}) == bidding.campaign_dtype({})
    prices = [careful.price(1000, SimpleNamespace(contacts=n), plain(careful.defaults)) for n in (0, 1, 2, 99)]
    assert prices == [1000, 900, 810, 0]


def test_the_page_lists_the_library_and_its_knobs():
    text = (Path(HERE).parent / "docs" / "bidders.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text.partition("## The library")[2], re.M))
    assert set(rows) == set(LIBRARY)
    for name, rule in LIBRARY.items():
        for knob, default in rule.defaults.items():
            number = f"{default:,}" if isinstance(default, int) else str(default).replace("e-0", "e-")
            number = f"({len(default)} numbers)" if isinstance(default, list) else number
            assert f"`{knob}` {number}" in rows[name], (name, knob)
