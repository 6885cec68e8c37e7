"""Five minutes to an own bidder: the commands, from an empty folder, as printed; and what a name may not be."""

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from exchange.__main__ import main
from exchange.config import ConfigError, load_config
from exchange.new import write_bidder

ROOT = Path(__file__).resolve().parents[1]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(line: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """A printed command in a folder: `rentier` and `python` are this Python."""
    words = shlex.split(line)
    own = {"rentier": [sys.executable, "-m", "exchange"], "python": [sys.executable]}[words[0]]
    return subprocess.run(
        [*own, *words[1:], *more], cwd=folder, env=ENV, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.parametrize("where", [[], ["--folder", "bidders of mine"]], ids=["here", "elsewhere"])
def test_five_minutes_from_an_empty_folder(tmp_path: Path, where: list[str]) -> None:
    """new -> test -> simulate -> tournament: each printed command works as printed."""
    made = run("rentier new bidder low_ball", tmp_path, *where)
    assert made.returncode == 0, made.stderr
    place = tmp_path / (where[1] if where else "")
    assert sorted(path.name for path in place.iterdir()) == ["low_ball.py", "low_ball.toml", "test_low_ball.py"]
    first, *commands = made.stdout.splitlines()
    assert "class LowBall" in first and len(commands) == 3
    tested = run(commands[0], tmp_path, "-p", "no:cacheprovider")
    assert tested.returncode == 0 and "2 passed" in tested.stdout, tested.stdout + tested.stderr
    simulated = run(commands[1], tmp_path)
    assert simulated.returncode == 0 and "mine/challenger" in simulated.stdout, simulated.stderr
    if where:
        return  # once is enough for what takes longest
    ranked = run(commands[2].replace("--seeds 10", "--seeds 3"), tmp_path, "--auctions", "3000")
    assert ranked.returncode == 0, ranked.stderr
    lines = ranked.stdout.splitlines()
    own = next(line.split() for line in lines if "LowBall" in line)
    base = next(line.split() for line in lines if " truthful " in line and "%" in line)
    assert float(base[2]) == 0 < float(own[2])  # first price: the valuation as a bid earns nothing
    assert float(own[3]) - float(own[4]) > 0


def test_what_it_writes_is_tested_by_its_own_test(tmp_path: Path) -> None:
    """A rule made wrong in one place fails the test that came with it."""
    for k, (right, wrong) in enumerate(
        (
            ("bid = int(value * me.shade)", "bid = int(value * (2 - me.shade))"),  # above the valuation
            ("bid = int(value * me.shade)", "bid = value * me.shade"),  # a float
            ("me.shade = min(1.0, max(me.least, me.shade + step))", "return"),  # learns nothing
            ("        return bid\n", "        me.shade = 0.5\n        return bid\n"),  # price changes a knob
        )
    ):
        folder = tmp_path / str(k)
        write_bidder("mine", folder)
        text = (folder / "mine.py").read_text()
        assert text.count(right) == 1
        (folder / "mine.py").write_text(text.replace(right, wrong))
        with pytest.raises((AssertionError, ConfigError)):
            for name, test in runpy.run_path(str(folder / "test_mine.py")).items():
                if name.startswith("test_"):
                    test()


def test_the_market_is_a_config(tmp_path: Path) -> None:
    write_bidder("mine", tmp_path)
    config = load_config(tmp_path / "mine.toml")
    seat = config.advertiser[0].campaign[0]
    assert (seat.name, seat.rule, config.auction.format) == ("challenger", "./mine.py:Mine", "first_price")
    assert len(config.advertiser) == 4
    assert "$" not in (tmp_path / "mine.py").read_text() + (tmp_path / "test_mine.py").read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my-bidder", "expected a Python name in lower case, such as my_bidder"),
        ("Mine", "expected a Python name in lower case"),
        ("2nd", "expected a Python name in lower case"),
        ("class", "expected a Python name in lower case"),
        ("none", "expected a Python name in lower case"),
        ("größe", "expected a Python name in lower case"),
        ("a" * 65, "at most 64 characters"),
        ("../mine", "expected a Python name"),
        ("truthful", "a rule of this name is there already"),
        ("json", "json.py would hide the Python module 'json'"),
        ("numpy", "numpy.py would hide the Python module 'numpy'"),
        ("exchange", "exchange.py would hide"),
        ("test_mine", "pytest would take it"),
    ],
)
def test_names_that_cannot_be(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "bidder", name]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and repr(name) in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("present", ["mine.py", "mine.toml", "test_mine.py"])
def test_nothing_is_overwritten(present: str, tmp_path: Path) -> None:
    (tmp_path / present).write_text("precious")
    with pytest.raises(ConfigError, match=f"{present}: already there; nothing is overwritten"):
        write_bidder("mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [present]
    assert (tmp_path / present).read_text() == "precious"
