"""`rentier reserve`: from simulated markets to a suggestion, and back into the market; and what it must not claim."""

import json
import re
import xml.etree.ElementTree as ET
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

import exchange
from exchange.__main__ import main
from exchange.auction.reserve import optimal_reserve
from exchange.config import Config, Distribution, parse_config
from exchange.openrtb import codes
from exchange.rent.ledger import Ledger
from exchange.reserve.clear import Terms
from exchange.reserve.plot import svg
from exchange.reserve.sample import BY, read
from exchange.reserve.screen import config_lines, render
from exchange.reserve.suggest import Report, Suggestion, report
from tests.naive_terms import campaign, market

N = 30_000
U = Distribution(uniform=(0.0, 1.0))
MARKETS = {
    "uniform, 2": (U, 2),
    "uniform, 5": (U, 5),
    "exponential, 3": (Distribution(exponential=1.5), 3),
    "log-normal, 2": (Distribution(lognormal=(0.0, 1.0)), 2),
}


Values = list[Distribution | float]


def config_of(values: Values, floor: float = 0.0, preset: str = "plain", **auction: object) -> Config:
    """Truthful bidders with these values; every placement has the floor, or with `web` floors of its own."""
    own = {f"b{k}": [campaign("all", "truthful", v, (300, 250), (728, 90))] for k, v in enumerate(values)}
    config = market(own, "none", server={"awards_max": 65_536}, floor_cpm=floor, **auction)
    config.population.preset = preset
    config.population.floor_cpm = 0.4 if preset == "web" else 0.0
    return config


def ledger_of(config: Config, auctions: int = N, seed: int = 4, kind: str = "bids") -> Ledger:
    found = exchange.simulate(config, auctions, seed, ledger=kind).ledger
    assert found is not None
    return found


@lru_cache
def suggested(name: str) -> Suggestion:
    values, n = MARKETS[name]
    return report(ledger_of(config_of([values] * n)), seed=1).whole


def revenue(ledger: Ledger) -> float:
    """Clearing per 1,000 auctions."""
    return float(ledger.auctions["clearing_nano"].mean()) / 1e6


def without_low_bids(ledger: Ledger) -> Ledger:
    """The same ledger, had every bidder kept silent below the floor."""
    bids = ledger.bids.copy()
    low = bids["fate"] == codes.BELOW_FLOOR
    bids["fate"][low], bids["gross_nano"][low], bids["net_nano"][low] = codes.NO_BID, 0, 0
    ledger.__dict__["bids"] = bids
    return ledger


@pytest.mark.parametrize("name", MARKETS)
def test_the_suggestion_is_myersons_and_earns_what_it_says(name):
    """On a fresh seed the change from no reserve to the suggested one lies in the interval; so do new auctions."""
    values, n = MARKETS[name]
    s = suggested(name)
    assert s.advice == "set" and getattr(values, s.family) is not None
    assert n * N - 3 <= s.bids <= n * N  # a value of 0 is no bid
    assert s.reserve_cpm == pytest.approx(optimal_reserve(values), rel=0.03)
    assert s.reserve_low_cpm <= s.reserve_cpm * 1.001 and s.reserve_high_cpm >= s.reserve_cpm * 0.999
    before, after = config_of([values] * n), config_of([values] * n, floor=s.reserve_cpm)
    none, fresh = revenue(ledger_of(before, 4 * N, 2)), ledger_of(after, 4 * N, 2)
    assert s.change.low_cpm <= revenue(fresh) - none <= s.change.high_cpm
    assert s.change.next_low_cpm <= revenue(ledger_of(after, N, 6)) - s.revenue_cpm <= s.change.next_high_cpm
    assert s.fitted_change_cpm == pytest.approx(s.change.cpm, abs=2 * (s.change.high_cpm - s.change.low_cpm))
    assert s.change.sold == pytest.approx(float(fresh.auctions["sold"].mean()), abs=0.02)


@pytest.mark.parametrize(("preset", "increment"), [("plain", 0.0), ("web", 0.0), ("plain", 0.03)])
@pytest.mark.parametrize("kind", ["bids", "wins"])
def test_clearing_again_is_what_the_exchange_would_have_done(preset, increment, kind):
    """The same visits and values (common random numbers) simulated with the reserve: equal to the nano, imp by imp."""

    def held(floor: float, kind: str = "wins") -> Ledger:
        values = [U, Distribution(exponential=0.7), Distribution(uniform=(0.2, 1.4))]
        return ledger_of(config_of(values, floor, preset, increment_cpm=increment), 8_000, kind=kind)

    sample = read(held(0.1, kind))
    terms = Terms(sample.kept, sample.top, sample.clearing)
    assert preset == "plain" or np.unique(sample.floor).size > 20
    for reserve in (0.05, 0.3, 0.62, 1.1):
        again = held(max(0.1, reserve)).auctions["clearing_nano"]
        assert np.array_equal(terms.at(round(reserve * 1e6)), again)
    assert sample.complete == (kind == "bids")
    if sample.complete and preset == "plain" and not increment:
        assert np.array_equal(sample.all_second, held(0.0).auctions["clearing_nano"])


def test_floors_that_are_too_high_are_to_be_lowered():
    """Every bid is in the ledger, those below the floor too: then what a lower floor earns is known."""
    s = report(ledger_of(config_of([U, U], floor=0.8))).whole
    assert s.advice == "lower" and s.reserve_cpm == pytest.approx(0.5, abs=0.005) and s.floors_above == 1.0
    fresh = revenue(ledger_of(config_of([U, U], floor=0.5), 4 * N, 2)) - revenue(
        ledger_of(config_of([U, U], floor=0.8), 4 * N, 2)
    )
    assert s.in_place.low_cpm <= fresh <= s.in_place.high_cpm
    assert fresh == pytest.approx(5 / 12 - 0.290667, abs=0.005)  # E04 - E07
    assert s.change.cpm == 0.0
    assert "lower them" in s.why
    assert config_lines(Report("EUR", "", 200, 0, s, [], []))[0].startswith("# all: floors of")


def test_what_lies_below_a_floor_that_silences_is_not_known():
    """Bidders that do not bid below the floor: the fit extrapolates to 0.5, the advice does not."""
    found = report(without_low_bids(ledger_of(config_of([U, U], floor=0.8))))
    s = found.whole
    assert s.advice == "keep" and s.in_place is None and s.reserve_cpm == pytest.approx(0.5, abs=0.01)
    assert "cannot be known: bids below them are not in the ledger" in s.why
    assert not config_lines(found) and any("values above it" in note for note in found.notes)
    low = report(without_low_bids(ledger_of(config_of([U, U], floor=0.2)))).whole
    assert low.advice == "set" and low.reserve_cpm == pytest.approx(0.5, abs=0.01) and low.in_place is None


def test_mixed_floors_and_silent_bidders():
    """Floors of every height, nobody bids below his: truncated values, and only the low floors gain."""
    values = Distribution(exponential=1.0)
    s = report(without_low_bids(ledger_of(config_of([values] * 3, preset="web")))).whole
    assert s.family == "exponential" and s.reserve_cpm == pytest.approx(1.0, rel=0.03)
    assert 0 < s.floors_above < 0.3 and s.advice == "set"
    before, after = config_of([values] * 3, preset="web"), config_of([values] * 3, s.reserve_cpm, preset="web")
    fresh = revenue(ledger_of(after, 3 * N, 2)) - revenue(ledger_of(before, 3 * N, 2))
    assert s.change.low_cpm <= fresh <= s.change.high_cpm


def test_a_ledger_without_bids():
    """The top given the second bid: less is known, and the number of bidders is not."""
    found = report(ledger_of(config_of([U, U]), kind="wins"), seed=1)
    s, full = found.whole, suggested("uniform, 2")
    assert s.advice == "set" and s.reserve_cpm == pytest.approx(0.5, abs=0.005) and s.bids == N
    assert s.change == full.change and s.fitted_change_cpm is None
    assert any('journal = "wins"' in note for note in found.notes)


@pytest.mark.parametrize("name", ["first_price", "soft_floor"])
def test_formats_whose_bids_are_no_values(name):
    if name == "first_price":
        ledger = ledger_of(config_of([U, U], format=name), 3_000)
    else:
        ledger = ledger_of(config_of([U, U]), 3_000)
        ledger.auctions["format"] = 501
    s = report(ledger).whole
    assert s.advice == "unknown" and s.reserve_cpm is None and s.change is None
    assert re.search(rf"no second-price auctions. 3,000 {name}: .*shaded", s.why)


def test_first_price_auctions_are_left_out():
    ledger = ledger_of(config_of([U, U]), 9_000)
    ledger.auctions["format"][::3] = 1
    found = report(ledger)
    assert found.whole.auctions == 6_000 and found.whole.advice == "set"
    assert found.notes == ["auctions left out because bids are no values there: 3,000 first_price"]


@pytest.mark.parametrize(
    ("values", "auctions", "expected"),
    [
        ([U, U], 20, "only 20 of 20 auctions had a bid: expected at least 100"),
        ([2.0, 2.0], 3_000, "every bid is 2 CPM"),
        ([Distribution(lognormal=(0.0, 4.0))], 300, "beyond what was bid .highest bid"),
    ],
)
def test_too_little_to_say_anything(values, auctions, expected):
    s = report(ledger_of(config_of(values), auctions)).whole
    assert s.advice == "unknown" and s.reserve_cpm is None and s.change is None and re.search(expected, s.why)


def test_an_empty_ledger():
    ledger = ledger_of(config_of([U]), 10)
    ledger.__dict__["auctions"] = ledger.auctions[:0]
    assert report(ledger, "country").whole.why == "the ledger holds no auctions"


def test_a_floor_that_gains_nothing_is_not_proposed():
    """Values between 2 and 3: the best reserve is the least value, and competition is above it already."""
    s = report(ledger_of(config_of([Distribution(uniform=(2.0, 3.0))] * 4), 5_000)).whole
    assert s.reserve_cpm == pytest.approx(2.0, abs=0.01) and s.advice == "keep"
    assert s.change.cpm == pytest.approx(0.0, abs=0.01) and "no gain shows" in s.why


def test_buyers_who_are_not_alike():
    """One always values it at 1.5 to 1.6, five at 0 to 1: the pooled fit says 0.5, clearing again says 1.5."""
    s = report(ledger_of(config_of([Distribution(uniform=(1.5, 1.6)), *[U] * 5]), 10_000)).whole
    assert s.reserve_cpm == pytest.approx(1.5, abs=0.005) and s.advice == "set" and "not alike" in s.why
    assert s.change.cpm == pytest.approx(1.5 - 5 / 6, abs=0.01) and s.hindsight_cpm == s.reserve_cpm


def test_what_makes_bids_no_values_is_said():
    """Bids that are not the campaign's valuation, and a budget that ran out."""
    config = config_of([U, U])
    config.advertiser[0].campaign[0].budget = 0.5
    ledger = ledger_of(config, 5_000)
    ledger.bids["gross_nano"][: len(ledger.bids) // 4] -= 1
    notes = " | ".join(report(ledger).notes)
    assert re.search(r"\d\d% of the local bids are not the campaign's valuation", notes)
    assert "1 campaigns ran out of money" in notes
    assert not report(ledger_of(config_of([U, U]), 2_000)).notes


@pytest.mark.parametrize("by", BY)
def test_by_group(by):
    """Each group has its own line, its reserve, and config lines that the exchange takes."""
    ledger = ledger_of(config_of([U, U, Distribution(uniform=(0.0, 2.0))], preset="web"), 12_000)
    found = report(ledger, by, bootstrap=20)
    assert found.groups and sum(s.auctions for s in found.groups) <= found.whole.auctions == len(ledger.auctions)
    assert [s.auctions for s in found.groups] == sorted((s.auctions for s in found.groups), reverse=True)
    lines = config_lines(found)
    taken = parse_config("\n".join(lines)).auction.reserve
    named = [s for s in found.groups if s.advice == "set" and s.target]
    assert [r.target for r in taken] == [s.target for s in named]
    assert [r.floor_cpm for r in taken] == [pytest.approx(s.reserve_cpm) for s in named]
    if by in ("publisher", "media", "size"):
        assert any(s.advice == "set" for s in found.groups)
    if by == "publisher":
        assert not taken and any("no target names it" in line for line in lines)
    assert all(len(line) <= 100 for line in render(found).splitlines())


def test_the_picture_is_a_picture():
    drawn = suggested("uniform, 2")
    root = ET.fromstring(svg(drawn, "EUR"))
    curves = [line for line in root.findall(".//{*}polyline") if len(line.get("points").split()) == len(drawn.curve)]
    assert root.tag.endswith("svg") and len(curves) == 2  # cleared again, and the fit
    assert "href" not in svg(suggested("uniform, 2"), "EUR")
    nothing = report(ledger_of(config_of([U]), 20)).whole
    assert "nothing to draw" in "".join(ET.fromstring(svg(nothing, "EUR")).itertext())


# ---- the command -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reserve") / "ledger"
    exchange.simulate(config_of([U, U]), 3_000, 1, ledger="bids", folder=path)
    return path


def test_the_command(folder, tmp_path, capsys):
    picture = tmp_path / "r.svg"
    assert main(["reserve", str(folder), "--svg", str(picture), "--bootstrap", "50", "--seed", "4"]) == 0
    text = capsys.readouterr().out
    assert "): set it" in text and "[[auction.reserve]]\nfloor_cpm = 0." in text and ET.parse(picture)
    assert max(map(len, text.splitlines())) <= 100
    assert parse_config(text[text.index("[[auction.reserve]]") :]).auction.reserve[0].floor_cpm == pytest.approx(
        0.5, abs=0.01
    )
    assert main(["reserve", str(folder), "--json", "--by", "size", "--bootstrap", "50", "--seed", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["whole"]["advice"] == "set" and found["groups"][0]["target"] == "size in [300x250]"
    assert main(["reserve", str(folder), "--json", "--by", "size", "--bootstrap", "50", "--seed", "4"]) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_what_the_command_cannot_use(folder, tmp_path, capsys):
    assert main(["reserve", str(tmp_path)]) == 2
    assert main(["reserve", str(folder), "--bootstrap", "5"]) == 2
    assert "--bootstrap 5: expected 20 to 10000" in capsys.readouterr().err
    few = tmp_path / "few"
    exchange.simulate(config_of([U, U]), 20, 1, ledger="bids", folder=few)
    assert main(["reserve", str(few)]) == 0
    assert "no suggestion\nonly 20 of 20 auctions had a bid" in capsys.readouterr().out
