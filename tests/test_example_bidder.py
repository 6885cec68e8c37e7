"""The bidder to copy, as a real process in a demo: its own count of money is the ledger's, and its budget holds."""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidders.remote.example import HOLD_S, LEAST, Bidder
from exchange.config import load_config
from exchange.market import KIND_IMPRESSION, NANO
from exchange.rent.ledger import Ledger

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "bidders" / "remote" / "example.py"
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
READY_S = 240  # a cold cache compiles first
RICH, POOR = 50.0, 0.02


@contextmanager
def bidding(folder: Path, budget: float) -> Iterator[str]:
    """The file copied elsewhere and started there by itself, as a person does: its address."""
    copy = folder / f"mine-{budget}.py"
    copy.write_text(FILE.read_text())
    process = subprocess.Popen(
        [sys.executable, "-I", str(copy), "--port", "0", "--budget", str(budget)], stdout=subprocess.PIPE, text=True
    )
    guard = threading.Timer(READY_S + 60, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:") and line.endswith("/bid\n")
        yield line.split()[1]
    finally:
        guard.cancel()
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, list[str], dict[float, dict[str, Any]]]:
    """Three seconds of demo with a rich and a poor copy in it: ledger, endpoint names, what each copy counted."""
    folder = tmp_path_factory.mktemp("copied")
    with bidding(folder, RICH) as rich, bidding(folder, POOR) as poor:
        done = subprocess.run(
            [sys.executable, "-m", "exchange", "demo", "--seconds", "3", "--qps", "150", "--json",
             "--bidder", rich, "--bidder", poor],
            cwd=folder, env=ENV, capture_output=True, text=True, timeout=READY_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        facts = json.loads(done.stdout)
        stats = {}
        for budget, url in ((RICH, rich), (POOR, poor)):
            with urllib.request.urlopen(url.replace("/bid", "/stats"), timeout=10) as answer:
                stats[budget] = json.loads(answer.read())
    names = [endpoint.name for endpoint in load_config(folder / facts["config"]).endpoint]
    return Ledger(folder / facts["ledger"]), names, stats


@pytest.mark.parametrize(("budget", "name"), [(RICH, "yours"), (POOR, "yours-2")])
def test_its_count_of_money_is_that_of_the_ledger_to_the_unit(joined: Any, budget: float, name: str) -> None:
    ledger, names, stats = joined
    wins = ledger.wins[ledger.wins["endpoint"] == names.index(name)]
    billed = ledger.events["serial"][ledger.events["kind"] == KIND_IMPRESSION]
    mine = wins[np.isin(wins["serial"], billed)]
    told = stats[budget]
    assert (told["won"], told["billed"]) == (len(wins), len(mine))
    assert told["spent_nano"] == int(mine["clearing_nano"].sum()) > 0
    if budget == RICH:  # a tenth is never seen; of the few that the poor one wins perhaps none
        assert told["billed"] < told["won"]
    assert told["held_nano"] >= int(wins["clearing_nano"].sum()) - told["spent_nano"]


def test_the_budget_holds_and_then_it_bids_no_more(joined: Any) -> None:
    _, _, stats = joined
    poor, rich = stats[POOR], stats[RICH]
    assert poor["budget_nano"] == round(POOR * NANO)
    assert poor["spent_nano"] + poor["held_nano"] <= poor["budget_nano"]
    assert poor["spent_nano"] > 0.5 * poor["budget_nano"]
    assert 0 < poor["bids"] < rich["bids"] and poor["asked"] > 400
    assert rich["lost"] > 0 and rich["shade"] != Bidder(0).shade  # it learnt


def test_it_is_short_and_needs_nothing_but_the_standard_library() -> None:
    lines = FILE.read_text().splitlines()
    assert len(lines) <= 120
    tops = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert tops <= set(sys.stdlib_module_names)


REQUEST = {"id": "r&1", "cur": ["EUR"], "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}]}


@pytest.mark.parametrize(
    ("change", "bids"),
    [
        ({}, 1),
        ({"cur": ["JPY"]}, 0),
        ({"imp": [{"id": "1", "video": {}}]}, 0),
        ({"imp": [{"id": "1", "banner": {}, "bidfloor": 1.9, "bidfloorcur": "USD"}]}, 1),
        ({"imp": [{"id": "1", "banner": {}, "bidfloor": 1.9, "bidfloorcur": "EUR"}]}, 0),
        ({"imp": [{"id": "1", "banner": {}, "bidfloor": 0.1, "bidfloorcur": "JPY"}]}, 0),
        ({"imp": [{"id": "1", "banner": {}}, {"id": "2", "banner": {}}]}, 2),
    ],
)
def test_it_bids_on_banners_in_euro_above_the_floor(change: dict[str, Any], bids: int) -> None:
    response = Bidder(10**9).answer({**REQUEST, **change})
    assert (len(response["seatbid"][0]["bid"]) if response else 0) == bids
    if response:
        bid = response["seatbid"][0]["bid"][0]
        assert bid["price"] == 1.8 and "?bid=r%261-1&" in bid["burl"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["bid", "won", "lost", "billed"]), st.integers(0, 5), st.floats(0.0, 1.0)),
        max_size=60,
    )
)
def test_spent_and_in_flight_never_exceed_the_budget(steps: list[tuple[str, int, float]]) -> None:
    """Whatever comes in whatever order, as long as a bid is billed once, at the price it won at, at most its own."""
    bidder, prices, billed = Bidder(7_000_000), {}, set()
    for kind, n, share in steps:
        if kind == "bid" and n not in prices:
            response = bidder.answer({"id": str(n), "imp": REQUEST["imp"]})
            if response:
                prices[n] = int(response["seatbid"][0]["bid"][0]["price"] * 1e6 * share)
        elif kind in ("won", "billed") and n in prices and n not in billed:
            bidder.notice(kind, f"{n}-1", prices[n], prices[n])
            billed |= {n} if kind == "billed" else set()
        elif kind == "lost" and n in prices and n not in billed:
            bidder.notice(kind, f"{n}-1", 0, 2_500_000)
            billed.add(n)
        assert bidder.spent + bidder.held <= bidder.budget
        assert bidder.held == sum(hold for _, hold, _ in bidder.open.values()) >= 0
        assert LEAST <= bidder.shade <= 1


def test_a_hold_is_given_up_when_no_notice_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    bidder, now = Bidder(3_000_000), [1000.0]
    monkeypatch.setattr("bidders.remote.example.time.monotonic", lambda: now[0])
    assert bidder.answer(REQUEST) is not None and bidder.held == 1_800_000
    second = bidder.answer({**REQUEST, "id": "2"})
    assert second is not None and second["seatbid"][0]["bid"][0]["price"] == 1.2  # what is left
    assert bidder.answer({**REQUEST, "id": "3"}) is None
    now[0] += HOLD_S + 1
    assert bidder.answer({**REQUEST, "id": "4"}) is not None and bidder.held == 1_800_000
    bidder.notice("billed", "r&1-1", 1_500_000, 0)  # late, and owed all the same
    assert bidder.spent == 1_500_000 and bidder.held == 1_800_000


@pytest.mark.parametrize("raw", [b"GET /billed?bid=x&price=nope HTTP/1.1\r\n\r\n", b"GET /nothing HTTP/1.1\r\n\r\n"])
def test_nonsense_costs_nothing(raw: bytes) -> None:
    bidder = Bidder(10**9)
    target = raw.split()[1].decode()
    with pytest.raises((KeyError, ValueError)):
        bidder.route("GET", target, b"")
    assert (bidder.spent, bidder.held) == (0, 0)
