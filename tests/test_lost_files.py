"""Files that are not there, and records behind a gap: told, refused, never read over."""

import os
import shutil
from pathlib import Path

import pytest

from exchange import market as mk
from exchange.__main__ import main
from exchange.books.reconcile import reconcile
from exchange.books.run_summary import summarise
from exchange.cli import open_ledger
from exchange.config import ConfigError, load_config
from exchange.opening import open_venue
from exchange.openrtb import codes
from exchange.rent.blocks import LedgerError
from exchange.rent.ledger import Ledger
from exchange.rent.names import read_meta
from exchange.report import command
from exchange.serve import run
from exchange.simulate.run import Simulation
from tests.ledger_maker import ALL, Maker, small
from tests.test_seal_commands import made, rentier

KEPT = ("auctions", "bids", "wins", "events")


def lose(folder, stream):
    """Delete all segments of a stream; returns how many there were."""
    gone = list(folder.glob(f"{stream}-*.seg"))
    for path in gone:
        path.unlink()
    return len(gone)


@pytest.mark.parametrize("stream", KEPT)
def test_a_stream_of_a_closed_ledger_that_is_gone_is_damage(tmp_path, stream):
    folder = made(tmp_path / "a")
    assert lose(folder, stream)
    with pytest.raises(LedgerError, match=r"seq \d+ of worker 0 is missing, and \d+ records stand behind it"):
        Ledger(folder)
    with pytest.raises(LedgerError, match="is missing"):
        command.answer(["summary", str(folder)])
    text, code = rentier("verify", folder)
    assert code == 1 and "of worker 0 is missing" in text
    with pytest.raises(LedgerError, match="is missing"):
        small(folder, ALL)
    with pytest.raises(LedgerError, match="is missing"):
        rentier("seal", folder)


def test_a_stream_behind_sealed_files_that_is_gone_is_damage(tmp_path):
    folder = made(tmp_path / "a")
    rentier("seal", folder)
    rows = Ledger(folder).verify()
    journal = small(folder)
    Maker(journal).run(40, base=10**4)
    journal.close()
    assert Ledger(folder).verify() > rows
    lose(folder, "bids")
    with pytest.raises(LedgerError, match=rf"seq {rows + 1} of worker 0 is missing"):
        Ledger(folder)


def test_records_behind_the_gap_of_a_closed_ledger_are_lost_only_when_told(tmp_path, capsys):
    folder = made(tmp_path / "a")
    path = sorted(folder.glob("bids-*.seg"))[-1]
    os.truncate(path, 70)
    cut, gap = sum(Ledger(folder).cut.values()), Ledger(folder).workers[0].gap
    before = {each.name: each.read_bytes() for each in folder.iterdir() if each.suffix == ".seg"}
    for refused in (lambda: rentier("seal", folder), lambda: small(folder, ALL)):
        with pytest.raises(LedgerError, match=rf"seq {gap} of worker 0 .*closed in order.*or lose {cut} records"):
            refused()
    assert before == {each.name: each.read_bytes() for each in folder.iterdir() if each.suffix == ".seg"}
    text, _ = rentier("seal", folder, "--cut")
    assert f"seq {gap} of worker 0 is missing" in text and text.endswith(f"{cut} records are cut\n")
    assert f"{cut} records are cut" in capsys.readouterr().err
    after = Ledger(folder)
    assert after.clean and rentier("verify", folder)[1] == 0


def gap_of_a_crash(tmp_path, steps, behind_s):
    """A ledger that was not closed, with records behind a missing one: of a short time, or of `behind_s` seconds."""
    journal = small(tmp_path / "live")
    maker = Maker(journal)
    maker.run(steps)
    shutil.copytree(tmp_path / "live", tmp_path / "before")
    maker.put("bids", 2, auction_id=10**6)
    missing, maker.seq = maker.seq, maker.seq + 1
    for _ in range(3):
        maker.now += behind_s * 10**9
        maker.step([500, 400])
    shutil.copytree(tmp_path / "live", tmp_path / "dead")
    journal.close()
    return missing


def test_what_a_power_failure_leaves_is_cut_and_told(tmp_path, capsys):
    missing = gap_of_a_crash(tmp_path, 30, 1)
    text, _ = rentier("seal", tmp_path / "dead")
    assert f"seq {missing} of worker 0 is missing" in text and text.endswith("records are cut\n")
    assert "records are cut" in capsys.readouterr().err
    assert reconcile(Ledger(tmp_path / "dead")).count == 0


def test_minutes_of_records_behind_a_gap_are_no_crash(tmp_path):
    missing = gap_of_a_crash(tmp_path, 30, 100)
    with pytest.raises(LedgerError, match=rf"seq {missing} of worker 0 .*they span 300 s"):
        small(tmp_path / "dead")


@pytest.mark.parametrize("name", ["names.tsv", "meta.json"])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_ledger_without_its_names_or_facts_is_refused(tmp_path, name, sealed):
    folder = made(tmp_path / "a")
    if sealed:
        rentier("seal", folder)
    (folder / name).unlink()
    text, code = rentier("verify", folder)
    assert code == 1 and text == f"verify: 1 files cannot be read\n{folder / name}: this file is missing\n"
    for read in (lambda: command.answer(["summary", str(folder)]), lambda: open_ledger(folder)):
        with pytest.raises(LedgerError, match=rf"{name}: this file is missing"):
            read()
    assert main(["reconcile", str(folder)]) == 2


def test_serving_does_not_begin_names_anew(tmp_path):
    (tmp_path / "c.toml").write_text(Path("configs/demo.toml").read_text())
    config = load_config(tmp_path / "c.toml")
    folder = made(tmp_path / config.exchange.ledger)
    (folder / "names.tsv").unlink()
    with pytest.raises(ConfigError, match=r"names.tsv: this file is missing: the ledger has rows that need it"):
        open_venue(config)
    assert not (folder / "names.tsv").exists()


def test_a_simulation_says_what_it_is_from_the_start(tmp_path):
    simulation = Simulation(load_config("configs/demo.toml"), tmp_path)
    assert read_meta(tmp_path)["currency"] == "EUR"
    simulation.finish()


def test_a_summary_of_a_crashed_ledger_without_its_auctions_does_not_crash(tmp_path):
    """Bids whose auction is missing, of people held out: they are counted, and of nobody."""
    journal = small(tmp_path / "live", ("bids", "events"))
    maker = Maker(journal)
    for _ in range(3):
        maker.put("bids", mk.KIND_BID, auction_id=7, advertiser=1, fate=codes.HOLDOUT)
    shutil.copytree(tmp_path / "live", tmp_path / "dead")
    journal.close()
    rows = summarise(Ledger(tmp_path / "dead")).holdouts
    assert [row.people for row in rows] == [0]
    assert "Nothing was paid for" in command.answer(["summary", str(tmp_path / "dead")])


def test_serving_says_what_recovery_cut(tmp_path):
    (tmp_path / "c.toml").write_text(Path("configs/demo.toml").read_text())
    config = load_config(tmp_path / "c.toml")
    config.server.address = "127.0.0.1:0"
    gap_of_a_crash(tmp_path, 30, 1)
    (tmp_path / "dead").rename(tmp_path / config.exchange.ledger)
    said = []

    def say(line):
        said.append(line)
        if "ready" in line:
            raise OSError("seen enough")

    with pytest.raises(OSError, match="seen enough"):
        run(config, say)
    assert any("records are cut" in line for line in said[:-1])
