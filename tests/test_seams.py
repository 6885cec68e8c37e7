"""Where one part of the exchange hands on to another: what each is told must be what the other acts on."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from exchange.auction.changes import Change
from exchange.audience import vocabulary
from exchange.config import ConfigError, parse_config
from exchange.line import Line
from exchange.links import Links
from exchange.opening import open_venue
from exchange.population import Population
from exchange.rent.ledger import Ledger
from exchange.simulate.run import simulate
from tests.test_changes import AD, ask, brief, line_of
from tests.test_live import NOW_NS, body_of, text_of


def test_bidders_are_asked_and_told_by_what_the_store_knows(tmp_path: Path) -> None:
    """An endpoint's target and the floor it is told see the same segments as the sale: stated, or in the store."""
    (tmp_path / "people.csv").write_text("u,suv\n")
    more = """
[[endpoint]]
name = "e"
url = "http://127.0.0.1:1/"
target = "seg one of [suv]"
[[auction.reserve]]
floor_cpm = 2.0
target = "seg one of [suv]"
"""
    line = line_of(text_of(tmp_path, endpoints=more, extra=f'people = "{tmp_path}/people.csv"'))
    for user, known in (("u", True), ("v", False)):
        opened = line.open(body_of(user={"id": user}), NOW_NS)
        assert line.eligible(opened) == [0] * known
        (imp,) = msgspec.json.decode(line.outgoing(opened, 100))["imp"]
        assert imp.get("bidfloor", 0.0) == (2.0 if known else 0.0)
        line.close(opened, (), NOW_NS)
        assert int(line.venue.arrays["opportunities"]["floor_nano"][0]) == (2_000_000 if known else 0)


@pytest.mark.parametrize("target", ["seg is present", "seg is missing", "country in [FR] or seg is present"])
def test_a_person_whose_segments_nobody_names_states_some(tmp_path: Path, target: str) -> None:
    """Served and simulated alike: a segment that no target names is stated all the same."""
    text = f"""
[exchange]
ledger = "{tmp_path / "ledger"}"
[server]
test_clock = true
[population]
people = 300
placements = 30
[[advertiser]]
name = "acme"
[[advertiser.campaign]]
name = "always"
value_cpm = 50.0
target = "{target}"
creative = [{{id = "a", w = 300, h = 250, html = "<b>"}}, {{id = "b", w = 728, h = 90, html = "<b>"}}]
[[advertiser.campaign]]
name = "nobody"
value_cpm = 50.0
target = "seg is present and seg none of [unheard]"
creative = [{{id = "a", w = 300, h = 250, html = "<b>"}}]
"""
    config = parse_config(text)
    run = simulate(config, 300)
    assert run.ledger is not None
    venue, key = open_venue(config)
    line, population = Line(venue, key, Links(key, "http://x")), Population(config, key)
    for t in range(300):
        opened = line.open(population.request(population.at(t), True), 0)
        line.close(opened, (), opened.now_ns)
    venue.close()
    served = Ledger(tmp_path / "ledger").auctions["n_eligible"]
    assert np.array_equal(served, run.ledger.auctions["n_eligible"]) and len(set(served.tolist())) > 1


MODEL = """
import numpy as np

rate = 0.1


class Model:
    def pctr(self, contexts):
        return np.full(len(contexts), rate)
"""


def test_models_are_refreshed_also_after_a_change_that_was_refused(tmp_path: Path) -> None:
    for name in ("seam_one", "seam_two"):
        (tmp_path / f"{name}.py").write_text(MODEL)
    line = line_of(text_of(tmp_path))
    line.change(Change("add", "acme", brief("one", model=f"{tmp_path}/seam_one.py:Model")), NOW_NS)
    with pytest.raises(ConfigError, match="sge"):  # its model has been asked by then, and has a row
        keys = brief("two", model=f"{tmp_path}/seam_two.py:Model", target="sge one of [x]")
        line.change(Change("add", "acme", keys), NOW_NS)
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            vars(module)["rate"] = 0.7
    line.change(Change("refresh_models"), NOW_NS)
    assert line.venue.arrays["models"][0, 0, 0] == 700_000_000
    assert line.venue.record["models"][0] == line.venue.models.table.ctypes.data


@pytest.mark.parametrize("keys", [{"target": 'seg one of ["\ud800"]'}, {"factors": {"\ud800": 1.0}}])
def test_what_cannot_be_journaled_is_refused_before_anything_happens(tmp_path: Path, keys: dict[str, Any]) -> None:
    line = line_of(text_of(tmp_path, extra='journal = "full"'))
    before = line.venue.record[0].copy(), line.vocabulary.version
    with pytest.raises(ConfigError, match="surrogates not allowed") as error:
        line.change(Change("change", "acme/always", keys), NOW_NS)
    assert "\n" not in str(error.value)
    assert (line.venue.record[0], line.vocabulary.version) == before


def test_a_change_that_names_too_many_values_is_refused_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is met while the change is read; the market is as before, and the next change is carried out."""
    text = text_of(tmp_path, extra='journal = "full"')
    line = line_of(text)
    monkeypatch.setattr(vocabulary, "VALUES_MAX", 5)
    before = line.venue.record[0].copy()
    cities = {"target": "city in [a, b, c, d, e, f]"}
    for change in (
        Change("add", "acme", brief("many", **cities)),
        Change("change", "acme/always", cities),
        Change("add", "acme", brief("many", factors=dict.fromkeys("abcdef", 2.0))),
        Change("add", "acme", brief("many", creative=[{**AD, "attr": list(range(1, 7))}])),
    ):
        with pytest.raises(ConfigError, match="campaign acme/(many|always): .*more than 5 values"):
            line.change(change, NOW_NS)
    assert line.venue.record[0] == before and len(line.venue.stock.briefs) == 1
    line.change(Change("add", "acme", brief("many", value_cpm=9.0)), NOW_NS)
    assert ask(line, NOW_NS) == "many"
    with pytest.raises(ConfigError, match="more than 5 values"):
        line_of(
            text_of(tmp_path / "other").replace('name = "always"', 'name = "always"\ntarget = "city in [a,b,c,d,e,f]"')
        )
