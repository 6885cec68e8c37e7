"""Simulation: the loop is the market step of the naive twin; the same config and seed give the same bytes."""

import heapq
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import exchange
from exchange import market as mk
from exchange.books.reconcile import reconcile
from exchange.books.run_summary import Summary
from exchange.config import Config, ConfigError
from exchange.rent.ledger import Ledger
from exchange.simulate import run as run_module
from exchange.simulate.run import Simulation
from tests.naive import Naive, contact_of, differences
from tests.naive_terms import Imp, Request
from tests.test_state import balanced, mixed

STREAMS = ("auctions", "bids", "wins", "events")


def eight(preset: str = "web", **population: object) -> Config:
    """Eight campaigns with eight rules that earn and spend within a few thousand visits, people who come back."""
    config = mixed()
    for advertiser in config.advertiser:
        advertiser.own_share = 0.2 if advertiser.name in ("beta", "delta") else 0.0
    people = {
        "people": 300,
        "placements": 40,
        "ctr": 0.1,
        "cvr": 0.5,
        "conversion_delay_ms": 4_000,
        "view_rate": 0.8,
        "start": "2026-03-02T11:59:30Z",
    }
    for key, value in (people | {"preset": preset, "qps": 20.0} | population).items():
        setattr(config.population, key, value)
    return config


def everything(ledger: Ledger) -> dict[str, bytes]:
    return {stream: getattr(ledger, stream).tobytes() for stream in STREAMS}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_loop_is_the_naive_market_fed_by_the_population(seed):
    """Visit by visit: opportunities, delayed impressions and clicks, expiries; at the end every row is the same."""
    config = eight("plain", floor_cpm=0.4)
    config.exchange.seed, config.exchange.journal, config.server.hold_s = seed, "bids", 5
    simulation = Simulation(config)
    venue, population = simulation.venue, simulation.population
    naive = Naive(config, venue)
    for advertiser in ("beta", "delta"):
        ident = venue.names.id("advertiser", advertiser)
        for person in population.people["key"]:
            contact = contact_of(venue, int(person), ident)
            if contact is not None and contact["flags"] & mk.OWN:
                naive.remember(int(person), ident).own = True
    due: list[tuple[int, int, int, int]] = []
    for t in range(3_000):
        visit = population.at(t)
        now, place = int(visit["now_ns"]), population.places[visit["placement"]]
        while due and due[0][0] <= now:
            when, kind, serial, auction = heapq.heappop(due)
            naive.event(kind, serial, auction, when)
        person = int(population.people["key"][visit["person"]])
        request = Request(now, person, [Imp(int(place["floor_nano"]))], [], (), False)
        request.publisher, request.domain = int(place["publisher"]), int(place["domain"])
        sold = naive.trade(request)[0]
        if sold["serial"] >= 0:
            seen, clicked = population.truth(visit, 0)
            if seen:
                heapq.heappush(due, (now + 10**9, mk.KIND_IMPRESSION, sold["serial"], naive.auction))
            if clicked:
                heapq.heappush(due, (now + 3 * 10**9, mk.KIND_CLICK, sold["serial"], naive.auction))
                if population.converts(visit, 0):
                    heapq.heappush(due, (now + 4 * 10**9, mk.KIND_CONVERSION, sold["serial"], naive.auction))
    while due:
        when, kind, serial, auction = heapq.heappop(due)
        naive.event(kind, serial, auction, when)
    simulation.run(3_000)
    run = simulation.finish()
    naive.advance(int(venue.record["now_ns"][0]))
    assert differences(naive, venue, run.ledger) == []
    assert {10, 11, 12, 16} <= set(run.ledger.events["kind"].tolist()) and len(run.ledger.wins) > 1_000


def test_the_same_config_and_seed_give_the_same_bytes_on_disk(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        exchange.simulate(eight(), 4_000, seed, ledger="bids", folder=tmp_path / name)
    a, b, c = (files(tmp_path / name) for name in "abc")
    assert a == b and len(a) >= 5
    assert everything(Ledger(tmp_path / "a")) != everything(Ledger(tmp_path / "c"))


def test_another_process_gives_the_same_bytes(tmp_path):
    """Nothing depends on the process: hash seeds, addresses, what ran before."""
    exchange.simulate(eight(), 1_500, 5, folder=tmp_path / "here")
    code = (
        "import exchange, sys; from tests.test_simulation import eight; "
        "exchange.simulate(eight(), 1_500, 5, folder=sys.argv[1])"
    )
    root = Path(__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        cwd=root, env={**os.environ, "PYTHONHASHSEED": "77"}, check=True, timeout=120,
    )  # fmt: skip
    assert files(tmp_path / "here") == files(tmp_path / "there")


def test_pieces_and_blocks_change_nothing(monkeypatch):
    """However the loop is cut: chunks of visits, blocks of rows, several calls of run()."""
    whole = exchange.simulate(eight(), 3_000, 5, ledger="bids")
    monkeypatch.setattr(run_module, "CHUNK", 7)
    monkeypatch.setattr(run_module, "BLOCK_ROWS", 33)
    pieces = exchange.simulate(eight(), 3_000, 5, ledger="bids")
    assert everything(pieces.ledger) == everything(whole.ledger)
    config = eight()
    config.exchange.seed, config.exchange.journal = 5, "bids"
    simulation = Simulation(config)
    for visits in (1, 999, 2_000):
        simulation.run(visits)
    assert everything(simulation.finish().ledger) == everything(whole.ledger)


def test_what_is_written_does_not_change_what_happens():
    runs = {ledger: exchange.simulate(eight(), 3_000, 5, ledger=ledger) for ledger in ("none", "wins", "bids")}
    counters = [run.counters() for run in runs.values()]
    assert counters[0] == counters[1] == counters[2] and counters[0]["n_sold"] > 800
    for name in runs["none"].venue.campaigns.dtype.names:
        assert (runs["none"].venue.campaigns[name] == runs["bids"].venue.campaigns[name]).all(), name
    wins, bids = runs["wins"].ledger, runs["bids"].ledger
    for field in set(wins.wins.dtype.names) - {"seq"}:  # fewer records, hence other numbers
        assert (wins.wins[field] == bids.wins[field]).all(), field
    assert len(wins.bids) == 0 < len(bids.bids)


def test_a_simulated_ledger_is_sound():
    run = exchange.simulate(eight(), 5_000, 9, ledger="bids")
    balanced(run.venue)
    assert reconcile(run.ledger).count == 0
    assert run.venue.record["n_held"][0] == 0 and all(c["held"] == 0 for c in run.venue.money().values())
    counted = run.counters()
    billed = sum(counted[f"n_{what}"] for what in ("impressions", "billed_clicks", "billed_conversions"))
    assert counted["n_sold"] == billed + counted["n_releases"] == len(run.ledger.wins)
    paid = run.ledger.events["paid_nano"].sum()
    local = sum(c["spent"] for c in run.venue.money().values())
    assert paid == counted["billed_nano"] == local
    assert counted["n_auctions"] == len(run.ledger.auctions) >= 5_000


def test_a_run_has_a_summary_frames_and_a_ledger(monkeypatch):
    pandas = pytest.importorskip("pandas")
    run = exchange.simulate(eight(), 1_000, 5)
    summary = run.summary()
    assert isinstance(summary, Summary) and run.auctions == 1_000 and run.elapsed_s > 0
    frame = run.frame("wins")
    assert isinstance(frame, pandas.DataFrame) and len(frame) == len(run.ledger.wins) > 100
    assert frame["clearing_nano"].sum() == run.ledger.wins["clearing_nano"].sum()
    monkeypatch.setattr(run_module.importlib.util, "find_spec", lambda name: None)
    assert run.frame("events") is run.ledger.events
    assert run.ledger.names.text("advertiser", int(frame["advertiser"][0])) in ("alpha", "beta", "gamma", "delta")
    bare = exchange.simulate(eight(), 1_000, 5, ledger="none")
    assert bare.ledger is None and bare.summary() == bare.counters() == run.counters()
    with pytest.raises(ValueError, match=r"frame\('wins'\): expected auctions, bids, wins or events of a run with a"):
        bare.frame("wins")
    with pytest.raises(ValueError, match=r"frame\('winz'\)"):
        run.frame("winz")


def test_a_config_may_be_a_path_and_is_left_as_it_was(tmp_path):
    theory = Path(__file__).parents[1] / "configs" / "theory" / "E02_five_bidders.toml"
    by_path, by_text = exchange.simulate(theory, 500, 3), exchange.simulate(str(theory), 500, 3)
    assert everything(by_path.ledger) == everything(by_text.ledger)
    config = eight()
    before = repr(config)
    exchange.simulate(config, 100, 77)
    assert repr(config) == before
    default = exchange.simulate(theory, 500)
    assert everything(default.ledger) == everything(exchange.simulate(theory, 500, 0).ledger)


def test_what_cannot_be_run_is_said_in_one_line(tmp_path):
    for keys, said in (
        ({"auctions": 0}, "auctions = 0: expected at least 1"),
        ({"ledger": "all"}, "ledger = 'all': expected one of none, wins, bids"),
        ({"config": tmp_path / "no.toml"}, "no.toml: cannot be read"),
        ({"config": eight(qps=1e7, view_delay_ms=3_600_000)}, "events under way: expected at most"),
    ):
        with pytest.raises(ConfigError, match=said) as error:
            exchange.simulate(**{"config": eight(), "auctions": 10} | keys)
        assert "\n" not in str(error.value)


def test_progress_is_told_and_never_goes_back(monkeypatch):
    monkeypatch.setattr(run_module, "CHUNK", 400)
    told: list[tuple[int, int]] = []
    exchange.simulate(eight(), 1_000, 5, ledger="none", progress=lambda done, all_: told.append((done, all_)))
    assert told == [(400, 1_000), (800, 1_000), (1_000, 1_000)]


@pytest.mark.torture
def test_long_simulations_of_fresh_seeds_are_sound():
    seed = int(os.environ.get("RENTIER_SEED") or random.SystemRandom().randrange(2**31))
    print(f"RENTIER_SEED={seed}")
    for k in range(10):
        run = exchange.simulate(eight(people=3_000), 100_000, seed + k, ledger="bids")
        balanced(run.venue)
        assert reconcile(run.ledger).count == 0, seed + k
