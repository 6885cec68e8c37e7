"""Rules of installed packages: found by name through entry points, after the built-in ones, never instead of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exchange import bidding
from exchange.bidding import RuleError, resolve

ROOT = Path(__file__).resolve().parents[1]
RULE = '''
class Cautious:
    """Half of the valuation, with a knob of its own."""

    defaults = {"caution_of_a_package": 0.5}

    @staticmethod
    def price(value, imp, me):
        return int(value * me.caution_of_a_package)

    @staticmethod
    def learn(value, imp, me, result):
        return
'''
MARKET = """
[population]
preset = "plain"
people = 50
[[advertiser]]
name = "a"
[[advertiser.campaign]]
name = "c"
rule = "{rule}"
value_cpm = 4.0
[[advertiser.campaign.creative]]
id = "b"
w = 300
h = 250
html = "<p>"
"""
Install = Callable[..., Path]


def distribution(folder: Path, name: str, **entries: str) -> Path:
    """A wheel as it lies when installed: a package and its dist-info."""
    site = folder / f"site-{name}"
    package, info = site / f"{name}_rules", site / f"{name}-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text(RULE)
    (package / "torn.py").write_text("class Torn\n")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{rule} = {place}\n" for rule, place in entries.items())
    (info / "entry_points.txt").write_text(f"[{bidding.GROUP}]\n{lines}")
    return site


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install distributions for this process, for the time of a test."""

    def add(name: str, **entries: str) -> Path:
        site = distribution(tmp_path, name, **entries)
        monkeypatch.syspath_prepend(str(site))
        bidding.installed.cache_clear()
        return site

    yield add
    bidding.installed.cache_clear()


def test_an_installed_rule_is_found_by_its_name(install: Install) -> None:
    before = bidding.campaign_dtype({})
    install("alpha", cautious="alpha_rules:Cautious")
    rule = resolve("cautious")
    assert rule.__name__ == "Cautious" and rule is resolve("alpha_rules:Cautious")
    assert "cautious" not in bidding.library()
    assert bidding.campaign_dtype({}) == before == bidding.campaign_dtype(bidding.library())  # nothing compiles anew
    assert "caution_of_a_package" in bidding.campaign_dtype({"cautious": rule}).names


def test_a_name_that_is_nowhere_lists_the_installed_ones(install: Install) -> None:
    with pytest.raises(RuleError) as error:
        resolve("cautios")
    assert "installed" not in str(error.value)
    install("alpha", cautious="alpha_rules:Cautious")
    with pytest.raises(RuleError, match=r"nor among the installed ones \(cautious\), and neither pkg.mod:Class"):
        resolve("cautios")
    with pytest.raises(RuleError, match="did you mean 'cautious'"):
        resolve("cautios")


def test_a_built_in_name_cannot_be_taken(install: Install) -> None:
    from bidders.truthful import Truthful

    install("alpha", truthful="alpha_rules:Cautious", cautious="alpha_rules:Cautious")
    with pytest.raises(RuleError, match=r"rule 'truthful': built in, and offered by alpha 1.0 too: .* rename theirs"):
        resolve("truthful")
    assert resolve("bidders.truthful:Truthful") is Truthful  # said in full it cannot be mistaken
    assert resolve("linear").__name__ == "Linear" and resolve("cautious").__name__ == "Cautious"


def test_a_name_offered_twice_is_refused(install: Install) -> None:
    install("alpha", cautious="alpha_rules:Cautious")
    install("beta", cautious="beta_rules:Cautious")
    with pytest.raises(RuleError, match=r"rule 'cautious': offered more than once, by alpha 1.0 and beta 1.0"):
        resolve("cautious")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("alpha_rules", "entry point 'alpha_rules' of alpha 1.0: expected module:Class"),
        ("alpha_rules:Cautios", "alpha_rules has no rule class 'Cautios'; did you mean 'Cautious'"),
        ("alpha_roles:Cautious", "module 'alpha_roles' cannot be imported"),
        ("alpha_rules.torn:Torn", "module 'alpha_rules.torn' failed: SyntaxError"),
    ],
)
def test_an_entry_that_leads_nowhere_is_one_line(install: Install, place: str, said: str) -> None:
    install("alpha", cautious=place)
    with pytest.raises(RuleError, match=f"rule 'cautious': .*{said}") as error:
        resolve("cautious")
    assert "\n" not in str(error.value)


def test_the_commands_find_it(tmp_path: Path) -> None:
    """In processes of their own, as installed: it bids in a simulation; a conflict is exit code 2 and one line."""
    site = distribution(tmp_path, "gamma", cautious="gamma_rules:Cautious", linear="gamma_rules:Cautious")
    package = site / "gamma_rules" / "__init__.py"
    package.write_text(RULE.replace("caution_of_a_package", "shade"))  # a knob of the library: nothing compiles anew
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
    found = {}
    for rule in ("cautious", "linear", "cautiuos"):
        (tmp_path / f"{rule}.toml").write_text(MARKET.format(rule=rule))
        found[rule] = subprocess.run(
            [sys.executable, "-m", "exchange", "simulate", f"{rule}.toml", "--auctions", "500", "--json"],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
    assert found["cautious"].returncode == 0, found["cautious"].stderr
    assert json.loads(found["cautious"].stdout)["summary"]["wins"] > 100
    for rule, said in (
        ("linear", "built in, and offered by gamma 1.0"),
        ("cautiuos", "installed ones (cautious, linear)"),
    ):
        assert found[rule].returncode == 2 and said in found[rule].stderr and found[rule].stderr.count("\n") == 1
