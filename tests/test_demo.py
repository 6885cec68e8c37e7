"""The demo, for real: its processes, its screen, its ledger; and what it does when something goes wrong."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import market as mk
from exchange.books.reconcile import reconcile
from exchange.books.run_summary import summarise
from exchange.config import ConfigError, load_config, shipped
from exchange.load import demo, merge, requests, screen
from exchange.load.processes import ChildError, Children
from exchange.openrtb import codes
from exchange.rent.ledger import Ledger

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(__file__).resolve().parents[2] / "shared"
RULES = ["truthful", "paced", "retargeter", "linear", "fatigue", "adaptive_pacing", "shaded_lognormal", "pid"]
READY_S = 240  # a cold cache compiles first


def rentier(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "exchange", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=READY_S,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def alive_with(text: str) -> list[str]:
    """Command lines of running processes that hold a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A demo of two seconds: its folder and what it printed as JSON."""
    folder = tmp_path_factory.mktemp("demo")
    done = rentier("demo", "--seconds", "2", "--json", "--seed", "11", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


# ---- a run -----------------------------------------------------------------------------------------------------


def test_the_demo_reconciles_and_its_figures_are_the_ledgers(ran: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = ran
    ledger = Ledger(folder / facts["ledger"])
    assert ledger.clean
    assert facts["reconcile"]["count"] == 0
    assert facts["reconcile"]["rows"] == reconcile(ledger).rows > 1_000
    traffic, summary = facts["traffic"], facts["summary"]
    assert (traffic["requests"], traffic["unsent"], traffic["failed"]) == (600, 0, 0)
    assert sum(traffic["statuses"].values()) == 600
    assert summary["auctions"] == len(ledger.auctions) >= 600
    assert summary["sold"] == len(ledger.wins) == int(ledger.auctions["sold"].sum())
    kinds = ledger.events["kind"]
    assert traffic["viewed"] == summary["seen"] == int(np.isin(kinds, (mk.KIND_IMPRESSION, mk.KIND_VIEW)).sum())
    assert traffic["clicked"] == summary["clicks"] == int(np.isin(kinds, mk.CLICKS).sum())
    assert summary["billed"] == int(np.isin(kinds, mk.BILLING).sum())
    assert (kinds == mk.KIND_VIEW).any()  # of campaigns that pay for clicks or conversions
    assert (ledger.bids["fate"] == codes.HOLDOUT).any()
    assert traffic["links_failed"] == 0
    assert summary["spend_nano"] == int(ledger.events["paid_nano"].sum()) == sum(p["nano"] for p in summary["parties"])


def test_the_demos_market_looks_like_one(ran: tuple[Path, dict[str, Any]]) -> None:
    _, facts = ran
    summary = facts["summary"]
    assert 0.6 <= summary["fill"] <= 0.95
    assert 1 <= summary["cpm"] <= 6
    assert summary["rerental_share"] > 0.1
    assert 0.01 < summary["own_share"] < 0.5
    rows = {row["name"]: row for row in facts["bidders"]}
    assert list(rows) == [*RULES, "steady", "shading", "flaky"]
    assert all(row["bids"] > 0 and row["wins"] > 0 for row in rows.values())
    assert rows["flaky"]["timeouts"] > 0 and rows["flaky"]["errors"] > 0
    assert rows["steady"]["errors"] == rows["shading"]["errors"] == 0
    assert sum(row["wins"] for row in rows.values()) == summary["wins"]
    silent = sum(row["timeouts"] + row["errors"] for row in rows.values())
    skipped = sum(fate["bids"] for fate in summary["fates"] if fate["name"] == "not_asked")
    assert sum(row["bids"] for row in rows.values()) + silent + skipped == summary["bids"]
    assert all(row["bids"] == row["wins"] + sum(row["lost"].values()) for row in rows.values())
    traffic = facts["traffic"]
    assert 0 < traffic["latency_p50_ms"] <= traffic["latency_p99_ms"] <= traffic["latency_p999_ms"]


@pytest.mark.parametrize("command", ["report", "reconcile", "explain"])
def test_the_commands_to_try_next_work(ran: tuple[Path, dict[str, Any]], command: str) -> None:
    folder, facts = ran
    config = ["--config", facts["config"]] if command == "explain" else []
    what = f"{facts['ledger']}/{demo.SAMPLE}" if command == "explain" else facts["ledger"]
    before = {path.name: path.stat().st_size for path in (folder / facts["ledger"]).iterdir()}
    done = rentier(command, what, *config, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 1
    assert before == {path.name: path.stat().st_size for path in (folder / facts["ledger"]).iterdir()}


def test_requests_from_files_then_one_screen(tmp_path: Path) -> None:
    found = tmp_path / "found"
    (found / "deep").mkdir(parents=True)
    plain = {"id": "r1", "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}], "cur": ["EUR"], "user": {"id": "p1"}}
    (found / "plain.json").write_text(json.dumps(plain))
    (found / "deep" / "wrapped.json").write_text(json.dumps({"mockBidRequest": {**plain, "id": "r2"}}))
    (found / "deep" / "lines.jsonl").write_text(json.dumps(plain) + "\n" + json.dumps({**plain, "imp": []}) + "\n")
    (found / "broken.txt").write_text("{'id': nonsense")
    (found / "response.json").write_text('{"id": "1", "seatbid": []}')
    done = rentier("demo", "--requests", "found", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    refused = [line for line in lines if line.startswith("refused")]
    assert refused[0].startswith("refused  broken.txt: 400 $: not JSON")
    assert refused[1].startswith("refused  deep/lines.jsonl#2: 400 imp: ")
    assert len(refused) == 2
    counts = next(line for line in lines if "bid requests in" in line)
    assert counts.startswith("5 bid requests in 4 files: accepted 3 ")
    assert counts.endswith("refused 2, faults 0")
    assert any(line.startswith("reconcile: ") and line.endswith(" 0 differences") for line in lines)
    ledger = Ledger(tmp_path / "demo-ledger")
    assert len(ledger.auctions) == 3
    assert len(ledger.events) == len(ledger.wins) > 0  # what was sold was viewed
    screen_lines = lines[lines.index(counts) + 1 :]
    assert max(map(len, screen_lines)) <= 100
    assert len(screen_lines) <= 40


@pytest.mark.skipif(not SHARED.exists() and not os.environ.get("CI"), reason="no shared corpus beside the repo")
def test_every_real_request_is_answered(tmp_path: Path) -> None:
    done = rentier("demo", "--requests", str(SHARED / "openrtb"), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    sent = facts["requests"]
    assert sent["requests"] == sent["sold"] + sent["no_bid"] + len(sent["refused"]) >= 140
    assert sent["faults"] == []
    assert sent["sold"] >= 50
    assert all(refusal["status"] == 400 and refusal["errors"] for refusal in sent["refused"])
    labels = {refusal["label"] for refusal in sent["refused"]}
    assert "pbs-invalid-whole/imp-id-duplicates.json" in labels
    assert not [label for label in labels if label.startswith(("pbs-valid", "pbs-exchange"))]
    assert facts["reconcile"]["count"] == 0


def test_an_own_list_marks_people_of_the_first_advertiser(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("user_id\n" + "\n".join(f"p{i}" for i in range(200)))
    done = rentier("demo", "--seconds", "1", "--own-list", "mine.csv", "--json", "--out", "here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    config = tomllib.loads((tmp_path / "here" / "config.toml").read_text())
    first = config["advertiser"][0]
    assert first["own_list"] == str(tmp_path / "mine.csv") and first["own_share"] == 0
    row = next(row for row in facts["summary"]["advertisers"] if row["name"] == first["name"])
    assert row["own_share"] > 0.5


def test_the_screen_is_narrow_enough_for_large_markets(ran: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = ran
    ledger = Ledger(folder / facts["ledger"])
    traffic = screen.Traffic(
        3_600.0, 1_080_000, 300.0, 0, 0, {200: 1}, 12.3, 119.9, 1_234.5, 1.0, 987_654, 8_765, 87, 0
    )
    summary = summarise(ledger)
    for name in ("auctions", "sold", "bids", "billed", "contacts", "people", "customers", "own_billed"):
        setattr(summary, name, getattr(summary, name) * 300)
    rows = screen.bidders(load_config(folder / facts["config"]), ledger)
    lines = screen.render(traffic, summary, rows, reconcile(ledger))
    assert max(map(len, lines)) <= 100, max(lines, key=len)
    assert len(lines) <= 36
    assert all(row.name in "\n".join(lines) for row in rows)


# ---- when something goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_demo_leaves_nobody_behind(tmp_path: Path, number: signal.Signals) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "exchange", "demo", "--seconds", "60", "--out", str(tmp_path / "it")],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    config = str(tmp_path / "it" / "config.toml")
    children: list[str] = []
    try:
        until_s = time.monotonic() + READY_S
        while not alive_with(config) and time.monotonic() < until_s:
            time.sleep(0.05)
        assert len(alive_with(config)) == 1
        time.sleep(0.5)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        assert len(children) == 4
        running.send_signal(number)
        assert running.wait(30) == 128 + number
        assert alive_with(config) == []
        assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()
            for pid in children:
                os.kill(int(pid), signal.SIGKILL)


def test_an_exchange_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text('[[advertiser]]\nname = "a"\n[[advertiser.campaign]]\nname = "c"\nvalue_cpm = 1.0\n'
                      'rule = "no_such_rule"\ncreative = [{ id = "x", w = 1, h = 1, html = "x" }]\n')  # fmt: skip
    done = rentier("demo", "--config", "bad.toml", "--seconds", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "rentier demo: exchange ended with code 2" in done.stderr
    assert "no_such_rule" in done.stderr
    assert alive_with(str(tmp_path)) == []


def test_a_child_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    module = tmp_path / "hung.py"
    module.write_text(
        "import sys, time\nprint('soon', flush=True)\nprint('in trouble', file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(ChildError, match=r"hung was not ready within 1 s\n  \| in trouble"):
        os.environ["PYTHONPATH"] = str(tmp_path)
        try:
            with Children() as children:
                child = children.start("hung", "hung", [], tmp_path / "log")
                child.ready("ready", 1.0)
        finally:
            del os.environ["PYTHONPATH"]
    assert child.process.returncode == -signal.SIGTERM


# ---- the folder --------------------------------------------------------------------------------------------------


def test_only_a_demos_folder_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with demo.ledger_folder(None) as first:
        assert first == Path("demo-ledger")
        (first / "rows").write_text("old")
        with demo.ledger_folder(None) as second:  # the first is in use
            assert second == Path("demo-ledger-2")
    with demo.ledger_folder(None) as again:
        assert again == first
        assert not (again / "rows").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "photo.jpg").write_text("dear")
    with pytest.raises(ConfigError, match="not a demo's ledger"), demo.ledger_folder(mine):
        pass
    assert (mine / "photo.jpg").read_text() == "dear"
    (tmp_path / "demo-ledger").rename(tmp_path / "kept")
    (tmp_path / "demo-ledger").mkdir()
    (tmp_path / "demo-ledger" / "notes").write_text("mine")
    with demo.ledger_folder(None) as third:
        assert third == Path("demo-ledger-2")


def test_bad_options_are_one_line(tmp_path: Path) -> None:
    for options, expected in (
        (["--seconds", "0"], "--seconds 0.0: expected"),
        (["--requests", "nowhere"], "nowhere"),
        (["--bidder", "ftp://x"], "expected http://host:port/path"),
        (["--config", "none.toml"], "none.toml: cannot be read"),
        (["--own-list", "none.csv"], "none.csv"),
    ):
        done = rentier("demo", *options, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


# ---- the merged config -------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
SCALARS = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.booleans(), st.text(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_is_written_as_toml_reads_back_equal(table: dict[str, Any]) -> None:
    assert tomllib.loads(merge.to_toml(table)) == table


def test_options_are_worked_in_and_paths_hold_from_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[exchange]\npeople = "p.csv"\n[[advertiser]]\nname = "a"\nown_list = "own.csv"\nown_share = 0.5\n'
                    '[[advertiser.campaign]]\nname = "c"\nrule = "./r.py:R"\nmodel = "./m.py:M"\n'
                    'value_cpm = 1.0\ncreative = [{ id = "x", w = 1, h = 1, html = "x" }]\n')  # fmt: skip
    table = merge.merge(merge.read_table(path), seed=9, qps=50.0, own_list=None)
    merge.add_endpoints(table, [("steady", "http://127.0.0.1:1/"), ("yours", "http://a:1/"), ("yours", "http://b:1/")])
    folder = tmp_path / "ledger"
    folder.mkdir()
    config = merge.write(table, folder)
    assert (config.exchange.seed, config.population.qps, config.exchange.ledger) == (9, 50.0, ".")
    assert config.exchange.people == str(tmp_path / "p.csv")
    assert config.advertiser[0].own_list == str(tmp_path / "own.csv")
    assert config.advertiser[0].campaign[0].rule == f"{tmp_path}/r.py:R"
    assert config.advertiser[0].campaign[0].model == f"{tmp_path}/m.py:M"
    assert config.advertiser[0].campaign[0].creative[0].html == "x"
    assert [endpoint.name for endpoint in config.endpoint] == ["steady", "yours", "yours-2"]
    assert config.folder == str(folder)
    with pytest.raises(ConfigError, match="no advertiser"):
        merge.merge({}, seed=None, qps=None, own_list=tmp_path / "own.csv")


def test_the_demos_config_is_as_large_as_promised() -> None:
    table = merge.read_table(shipped("demo.toml"))
    campaigns = [c for a in table["advertiser"] for c in a["campaign"]]
    assert len(table["advertiser"]) == 6 and len(campaigns) >= 22
    assert list(dict.fromkeys(c["rule"] for c in campaigns)) == RULES
    assert sorted(c["bill"] for c in campaigns if "bill" in c) == ["click", "conversion"]
    assert [c["name"] for c in campaigns if c.get("pacing") == "even"] == ["mortgage"]
    assert [a["name"] for a in table["advertiser"] if a.get("holdout")] == ["Kontor Bank"]
    sizes = [(x["w"], x["h"]) for c in campaigns if c["name"] == "suv-launch" for x in c["creative"]]
    assert len(sizes) > len(set(sizes))  # two of a size take turns
    assert {c.get("purpose", "prospect") for c in campaigns} == {"prospect", "winback", "drive_to_store"}
    assert all(a["own_share"] > 0 and a["domains"][0].endswith(".example") for a in table["advertiser"])


def test_requests_are_found_in_files_by_path(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.json").write_text('{"id":"2","imp":[{}]}')
    (tmp_path / "1.json").write_text('{"id":"1","imp":[{}]}{"id":"1b","imp":[{}]}')
    (tmp_path / "notes.md").write_text("# no request")
    (tmp_path / ".hidden.json").write_text('{"id":"3","imp":[{}]}')
    assert [label for label, _ in requests.found_below(tmp_path)] == ["1.json#1", "1.json#2", "b/2.json"]
    assert [label for label, _ in requests.found_below(tmp_path / "b" / "2.json")] == ["2.json"]
    with pytest.raises(FileNotFoundError):
        requests.found_below(tmp_path / "nowhere")
