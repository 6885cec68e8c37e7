"""The command line as people use it: real processes, exit codes, one line for what went wrong."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from exchange.__main__ import main, parser
from exchange.books.run_summary import summarise
from exchange.cli import announce_compiling
from exchange.rent.ledger import Ledger
from exchange.report.asking import Books
from exchange.report.command import build

REPO = Path(__file__).resolve().parents[1]
CONFIG = """
[exchange]
ledger = "{ledger}"
journal = "{journal}"
[server]
address = "127.0.0.1:0"
timeout_ms = 600
[fees]
sell = "isba2020"
buy = "isba2020"
[population]
people = 500
placements = 40
[[advertiser]]
name = "brand"
own_share = 0.2
[[advertiser.campaign]]
name = "box"
rule = "paced"
value_cpm = 3.0
budget = 5
[[advertiser.campaign.creative]]
id = "box"
w = 300
h = 250
image = "https://brand.example/box.png"
landing = "https://brand.example/"
[[advertiser]]
name = "other"
[[advertiser.campaign]]
name = "box"
value_cpm = 2.0
[[advertiser.campaign.creative]]
id = "box"
w = 300
h = 250
image = "https://other.example/box.png"
"""
REQUEST = {
    "id": "r1",
    "imp": [{"id": "1", "banner": {"w": 300, "h": 250}, "bidfloor": 0.5, "bidfloorcur": "EUR"}],
    "site": {"domain": "news.example"},
    "user": {"id": "anna"},
}


def write_config(
    folder: Path, name: str = "c.toml", ledger: str = "ledger", journal: str = "bids", more: str = ""
) -> Path:
    """A small config in `folder`."""
    path = folder / name
    path.write_text(CONFIG.format(ledger=ledger, journal=journal) + more)
    return path


def rentier(*args: Any, cwd: Path, env: dict[str, str] | None = None, timeout_s: float = 120) -> Any:
    """Run a command to its end."""
    command = [sys.executable, "-m", "exchange", *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s)


@contextmanager
def serving(config: Path, *args: str, env: dict[str, str] | None = None) -> Iterator[tuple[Any, str]]:
    """An exchange process and its address, from its one ready line; killed at the end if it still runs."""
    command = [sys.executable, "-m", "exchange", "serve", "--config", str(config), *args]
    process = subprocess.Popen(
        command, cwd=config.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"rentier ready on (http://127\.0\.0\.1:\d+)  ledger (\S+)$", line)
        assert found, f"not a ready line: {line!r} {process.stderr.read() if not line and process.stderr else ''}"
        yield process, found[1]
    finally:
        guard.cancel()
        if process.poll() is None:
            process.kill()
        process.communicate()


def get(url: str) -> tuple[int, str]:
    """GET; status and text."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read().decode("latin-1")


def post(url: str, body: Any) -> tuple[int, Any]:
    """POST a bid request; status and JSON of the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/openrtb2/auction", data), timeout=10) as answer:
            raw = answer.read()
            return answer.status, json.loads(raw) if raw else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


# ---- help and errors -----------------------------------------------------------------------------------------


def test_help_has_an_example_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """--help of each subcommand ends with an example that parses; the top one lists them all."""
    commands = next(a for a in parser()._actions if a.dest == "command").choices
    known = {"serve", "simulate", "report", "reconcile", "replay", "explain", "demo", "warm"}
    known |= {"new", "reserve", "theory", "ledger", "tournament", "people", "list", "audience", "sql", "events"}
    assert set(commands or ()) == known
    for name in commands or ():
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        example = capsys.readouterr().out.partition("example:\n")[2].strip()
        assert example.startswith(f"rentier {name}")
        for line in example.splitlines():
            parser().parse_args(shlex.split(line)[1:])
    examples = [line.split("  ")[1].split() for line in (parser().epilog or "").splitlines()[1:]]
    assert len(examples) >= 5
    for example in examples:
        parser().parse_args(example[1:])


ERRORS = [
    (["serve", "--config", "key.toml"], "key.toml: .*unknown field `curency`.*did you mean `currency`"),
    (["serve", "--config", "none.toml"], "none.toml: cannot be read: No such file"),
    (["serve", "--config", "text.toml"], "text.toml: not TOML"),
    (["serve", "--config", "c.toml", "--port", "70000"], "--port 70000: expected 0 to 65535"),
    (["serve", "--config", "port.toml"], "server.address = 'here': expected host:port"),
    (["simulate", "rule.toml"], "rule 'pacde': .*did you mean 'paced'"),
    (["simulate", "target.toml"], "campaign brand/box: target: 1:1: .*did you mean `country`"),
    (["simulate", "c.toml", "--auctions", "0"], "auctions = 0: expected at least 1"),
    (["simulate", "c.toml", "--seed", "-1"], "seed = -1: expected 0 to"),
    (["simulate", "c.toml", "--out", "."], "--out .: expected a new or empty folder"),
    (["simulate", "fees.toml"], "fees.sell = 'isba2002'.*did you mean 'isba2020'"),
    (["serve", "--config", "own.toml"], "none.csv: cannot be read"),
    (["report", "nowhere"], "nowhere: no such ledger folder"),
    (["report", "c.toml"], "c.toml: no such ledger folder"),
    (["report", "torn"], "torn/wins-w0-000001.seg"),
    (["report", "waterfal", "torn"], "no report 'waterfal', did you mean 'waterfall'"),
    (["report", "summary", "nowhere", "--by", "week", "--html"], "nowhere: no such ledger folder"),
    (["report", "--html", "torn"], "--html torn: is a folder: expected a file to write; put --html behind the ledger"),
    (["report", "summary"], "summary: expected the folder of a ledger"),
    (["report", "torn", "--lang", "de"], "--lang de: expected en or fr"),
    (["report", "--list", "--lang", "de"], "--lang de: expected en or fr"),
    (["report", "torn", "--small-cell", "-1"], "--small-cell -1: expected 0 or more people"),
    (["reconcile", "nowhere"], "nowhere: no such ledger folder"),
    (["replay", "nowhere", "--config", "c.toml"], "nowhere: no such ledger folder"),
    (["explain", "none.json"], "none.json: No such file"),
    (["explain", "c.toml", "--config", "none.toml"], "none.toml: cannot be read"),
]


@pytest.mark.parametrize(("args", "expected"), ERRORS, ids=lambda x: "-".join(x) if isinstance(x, list) else "")
def test_errors_are_one_line_and_exit_2(
    args: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What went wrong, where, and the nearest name; nothing on stdout."""
    text = write_config(tmp_path).read_text()
    for name, change in {
        "key": ("[exchange]", '[exchange]\ncurency = "EUR"'),
        "text": ("[exchange]", "[exchange"),
        "port": ("127.0.0.1:0", "here"),
        "rule": ('"paced"', '"pacde"'),
        "target": ("value_cpm = 3.0", 'value_cpm = 3.0\ntarget = "contry in [FR]"'),
        "fees": ('sell = "isba2020"', 'sell = "isba2002"'),
        "own": ("own_share = 0.2", 'own_list = "none.csv"'),
    }.items():
        assert change[0] in text
        (tmp_path / f"{name}.toml").write_text(text.replace(*change, 1))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "wins-w0-000001.seg").write_bytes(b"what is this? " * 99)
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    out, err = capsys.readouterr()
    told = [line for line in err.splitlines() if not line.startswith("compiling")]
    assert out == "" and len(told) == 1 and told[0].startswith(f"rentier {args[0]}: ")
    assert re.search(expected, told[0])


# ---- simulate and what works on its ledger ---------------------------------------------------------------------


def test_simulate_then_report_reconcile_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A simulated ledger on disk is read by the other commands, and says the same as the run did."""
    write_config(tmp_path)
    monkeypatch.chdir(tmp_path)

    def out(*args: str, code: int = 0) -> str:
        assert main(list(args)) == code
        return capsys.readouterr().out

    run = json.loads(out("simulate", "c.toml", "--auctions", "3000", "--ledger", "bids", "--out", "led", "--json"))
    report = json.loads(out("report", "led", "--json"))
    found = run["summary"]
    exported = {key: figure["value"] for key, figure in report["figures"].items()}
    said = {figure.key: figure.value for figure in build("summary", Books(Ledger(tmp_path / "led"))).figures}
    assert all(value in (said[key], "<10", None) for key, value in exported.items())
    assert run["visits"] == 3000 and report["currency"] == found["currency"] == "EUR"
    assert exported["fill"] == said["fill"] == found["fill"]
    assert said["spend"] == pytest.approx(found["spend_nano"] / 1e9)
    for ours, theirs in (("rerental", "rerental_share"), ("cpm", "cpm"), ("kilo_customer", "kilo_customer"),
                         ("person_month", "person_month"), ("own_share", "own_share")):  # fmt: skip
        assert said[ours] == pytest.approx(found[theirs]) and said[ours] > 0
    for key in ("auctions", "bids", "wins", "billed", "seen", "clicks", "conversions", "people", "customers",
                "contacts", "released", "unpaid"):  # fmt: skip
        assert said[key] == found[key], key
    screen = out("report", "led")
    assert "How many did I rent twice?" in screen and max(map(len, screen.splitlines())) <= 100
    assert out("report", "summary", "led") == screen and "Combien m'a coûté" in out("report", "led", "--lang", "fr")
    assert "By publisher" in out("report", "led", "--by", "publisher") and "waterfall" in out("report", "--list")
    assert re.match(r"w\.html: [\d,]+ bytes", out("report", "waterfall", "led", "--html", "w.html"))
    assert (tmp_path / "w.html").read_text() == out("report", "waterfall", "led", "--html")
    assert out("report", "led", "--csv").startswith("key,figure,value,unit")
    found = json.loads(out("reconcile", "led", "--json"))
    assert found["differences"] == [] and re.search(r"reconcile: [\d,]+ rows, 0 differences", out("reconcile", "led"))
    assert main(["replay", "led", "--config", "c.toml"]) == 2
    assert 'journal = "full"' in capsys.readouterr().err
    plain = out("simulate", "c.toml", "--auctions", "3000", "--ledger", "none")
    wins = out("simulate", "c.toml", "--auctions", "3000")
    for text in (plain, wins):
        assert max(map(len, text.splitlines())) <= 100 and text.startswith("3,000 visits, ")
        assert re.search(r"brand/box +paced +[\d.]+ +5\.00 ", text) and f"sold {run['summary']['sold']:,}" in text
        assert f"spend {run['summary']['spend_nano'] / 1e9:,.2f} EUR" in text
    assert "publisher  " in wins and "--ledger wins" in plain


def test_reconcile_of_a_ledger_that_does_not_balance_exits_1(tmp_path: Path) -> None:
    """The budget of a campaign, lowered behind the ledger's back, is exceeded: exit code 1 and the row."""
    config = write_config(tmp_path)
    assert rentier("simulate", config, "--auctions", 500, "--out", "led", cwd=tmp_path).returncode == 0
    meta = json.loads((tmp_path / "led" / "meta.json").read_text())
    meta["budgets_nano"] = dict.fromkeys(meta["budgets_nano"], 1)
    (tmp_path / "led" / "meta.json").write_text(json.dumps(meta))
    done = rentier("reconcile", "led", cwd=tmp_path)
    assert done.returncode == 1 and "I4" in done.stdout and done.stderr == ""


def test_a_reader_that_stops_is_no_error(tmp_path: Path) -> None:
    """`rentier report LEDGER | true`: exit 0, nothing on stderr."""
    config = write_config(tmp_path)
    assert rentier("simulate", config, "--auctions", 500, "--out", "led", cwd=tmp_path).returncode == 0
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "exchange", "report", "led"]
    done = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


# ---- serve -----------------------------------------------------------------------------------------------------


def test_serve_answers_drains_and_replays(tmp_path: Path) -> None:
    """Ready line, auction, refusal, links, health, metrics; SIGTERM exits 0; what it wrote balances and replays."""
    config = write_config(tmp_path, journal="full")
    with serving(config) as (process, url):
        assert get(f"{url}/health") == (200, '{"status":"ok"}')
        status, answer = post(url, REQUEST)
        assert status == 200 and answer["id"] == "r1" and answer["seatbid"][0]["bid"][0]["price"] > 0.5
        assert get(answer["seatbid"][0]["bid"][0]["burl"])[0] == 200
        assert post(url, {**REQUEST, "imp": [{"id": "1", "banner": {"w": 1, "h": 1}}]}) == (204, None)
        status, answer = post(url, {"id": "x", "imp": []})
        assert status == 400 and answer["nbr"] == 2 and answer["ext"]["errors"][0]["path"] == "imp"
        text = get(f"{url}/metrics")[1]
        assert 'rentier_auctions_total{sold="yes"} 1' in text and 'rentier_events_total{kind="impression"} 1' in text
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    done = rentier("reconcile", "ledger", cwd=tmp_path)
    assert done.returncode == 0 and "0 differences" in done.stdout
    done = rentier("replay", "ledger", "--config", config, cwd=tmp_path)
    assert done.returncode == 0 and re.search(r"replay: \d+ inputs, [1-9]\d* rows, 0 differences", done.stdout)
    config.write_text(config.read_text().replace("value_cpm = 2.0", "value_cpm = 2.1"))
    done = rentier("replay", "ledger", "--config", config, cwd=tmp_path)
    assert done.returncode == 1 and "config_version was 1, now 2" in done.stdout


def test_stopping_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """An auction that waits for a silent bidder is answered although Ctrl-C came meanwhile; then exit 0."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        config = write_config(tmp_path, more=f'[[endpoint]]\nname = "silent"\nurl = "http://127.0.0.1:{port}/"\n')
        with serving(config) as (process, url):
            answers: list[Any] = []
            caller = threading.Thread(target=lambda: answers.append(post(url, REQUEST)))
            caller.start()
            connection, _ = silent.accept()  # the bidder was asked and will not answer
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
            caller.join(10)
            connection.close()
            assert (process.returncode, out, err) == (0, "", "")
            assert len(answers) == 1 and answers[0][0] == 200
    fates = {fate.name for fate in summarise(Ledger(tmp_path / "ledger")).fates}
    assert fates >= {"won", "timeout"}


def test_a_taken_port_or_ledger_is_one_line(tmp_path: Path) -> None:
    """A second exchange on the same port, and one on the same ledger, say so and exit 2."""
    config = write_config(tmp_path)
    with serving(config) as (_, url):
        second = write_config(tmp_path, "second.toml", ledger="second")
        done = rentier("serve", "--config", second, "--port", url.rpartition(":")[2], cwd=tmp_path)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "ddress already in use" in done.stderr
        done = rentier("serve", "--config", config, cwd=tmp_path)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "another process" in done.stderr


# ---- cold start ------------------------------------------------------------------------------------------------


def tree(folder: Path) -> dict[str, int]:
    """Every file below a folder with its size."""
    return {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}


def read_only(tmp_path: Path) -> tuple[Path, Path, Path, dict[str, str]]:
    """The package where nobody may write, an empty folder to work in, one for what is temporary, and no home."""
    package = tmp_path / "package"
    for name in ("exchange", "bidders", "configs"):
        shutil.copytree(REPO / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (package, *package.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    kept = {
        k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "PYTHONPYCACHEPREFIX")
    }
    env = {**kept, "HOME": "/proc/nowhere", "TMPDIR": str(temporary), "PYTHONPATH": str(package)}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    return package, work, temporary, env


def test_a_read_only_package_without_a_home_compiles_into_a_temporary_folder(tmp_path: Path) -> None:
    """It writes nothing into the package; a whole cold start, which takes a minute, is in the torture tests."""
    package, work, temporary, env = read_only(tmp_path)
    before = tree(package)
    cold = rentier("audience", "country in [FR]", cwd=work, env=env, timeout_s=100)
    assert (cold.returncode, cold.stderr) == (0, "")
    assert any(name.endswith(".nbi") for name in tree(temporary)) and tree(package) == before


def test_compiling_is_announced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says where to, while nothing is there yet."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    announce_compiling()
    said = capsys.readouterr().err
    assert said.startswith("compiling the kernels, once") and str(tmp_path) in said and said.count("\n") == 1
    (tmp_path / "a.nbi").touch()
    announce_compiling()
    assert capsys.readouterr().err == ""


@pytest.mark.torture
def test_cold_start_of_a_read_only_package_without_a_home(tmp_path: Path) -> None:
    """It says once that it compiles and where, and writes nothing into the package; `warm` leaves nothing to do."""
    package, work, temporary, env = read_only(tmp_path)
    before = tree(package)
    cold = rentier("warm", cwd=work, env=env, timeout_s=300)
    assert cold.returncode == 0, cold.stderr
    said = cold.stderr.splitlines()
    assert len(said) == 1 and said[0].startswith("compiling the kernels, once") and str(temporary) in said[0]
    kernels = {name for name in tree(temporary) if name.endswith((".nbi", ".nbc"))}
    assert cold.stdout.startswith(f"{sum(name.endswith('.nbi') for name in kernels)} kernels ready in {temporary}")
    began = time.monotonic()
    with serving(write_config(work), env=env) as (process, url):
        print(f"warm start: ready after {time.monotonic() - began:.2f} s")
        assert post(url, REQUEST)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20) == ("", "")
    (work / "r.json").write_text(json.dumps(REQUEST))
    for args in (
        ("simulate", "c.toml", "--auctions", "1000", "--ledger", "bids"),
        ("explain", "r.json"),
        ("report", "ledger"),
        ("warm",),
    ):
        done = rentier(*args, cwd=work, env=env)
        assert (done.returncode, done.stderr) == (0, "")
    assert {name for name in tree(temporary) if name.endswith((".nbi", ".nbc"))} == kernels
    assert tree(package) == before


def test_options_of_a_report_stand_anywhere():
    for words in ("summary --json L", "--json summary L", "summary L --json", "summary --lang fr L --json"):
        args = parser().parse_args(["report", *words.split()])
        assert (args.words, args.json) == (["summary", "L"], True), words
    assert parser().parse_args(["report", "--list"]).words == []


@pytest.mark.parametrize("words", [
    ["report", "own_vs_rent", "--opt-in", "abc"], ["simulate", "c.toml", "--auctions", "many"], ["nothing"], [],
    ["report", "L", "--no-such"], ["ledger", "compact", "L", "--keep-bids", "x"],
])  # fmt: skip
def test_what_the_command_line_cannot_use_is_one_line(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    said = capsys.readouterr()
    assert caught.value.code == 2 and said.out == "" and said.err.count("\n") == 1 and said.err.startswith("rentier")
