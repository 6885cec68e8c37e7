"""`rentier ledger verify | seal | compact | export | migrate`: what they answer, and what they refuse."""

import argparse
import csv
import shutil
import tarfile
from pathlib import Path

import duckdb
import numpy as np
import pytest

from exchange import market as m
from exchange.books.reconcile import reconcile
from exchange.cli import Quit, storage
from exchange.rent import manifest as mf
from exchange.rent.blocks import LedgerError
from exchange.rent.ledger import Ledger
from exchange.rent.migrate import FORMAT_1
from exchange.rent.names import Names, read_meta, write_meta
from exchange.rent.recovery import recover
from exchange.rent.waterfall import fee_set, terms_of
from exchange.report import command
from tests.ledger_maker import ALL, Maker, small

OLD = Path(__file__).with_name("format1.tar.xz")  # a simulation of the demo's market, written in format 1


def rentier(*words: str) -> tuple[str, int]:
    """Run an action of `rentier ledger` as the command line would."""
    parser = argparse.ArgumentParser()
    actions = parser.add_subparsers(dest="action", required=True)
    for name, options, run, text, example in storage.ACTIONS:
        sub = actions.add_parser(name, help=text)
        assert example.startswith(f"rentier ledger {name} ")
        options(sub)
        sub.set_defaults(run=run)
    args = parser.parse_args([str(word) for word in words])
    return args.run(args)


def made(folder: Path, steps: int = 80) -> Path:
    journal = small(folder, ALL)
    maker = Maker(journal)
    maker.run(steps)
    journal.append_input(maker.seq, maker.now, m.KIND_REQUEST, b"{}")
    journal.close()
    names = Names(folder)
    for kind in ("advertiser", "publisher", "seat"):
        for k in range(1, 6):
            names.id(kind, f"{kind} {k}, a 'name'")
    names.close()
    write_meta(folder, {"currency": "EUR", "endpoints": []})
    return folder


def test_seal_verify_compact(tmp_path):
    folder = made(tmp_path / "a")
    rows = Ledger(folder).verify()
    assert rentier("verify", folder) == (f"verify: {rows} rows, 0 sealed files, 0 differences\n", 0)
    text, code = rentier("seal", folder)
    n = len(mf.read(folder).files)
    assert code == 0 and n > 5 and text.startswith(f"sealed {n} segments: {rows} rows in ")
    assert rentier("seal", folder)[0] == "sealed 0 segments: 0 rows in 0 bytes\n"
    assert rentier("compact", folder) == (f"compacted {n} sealed files to 5\n", 0)
    assert rentier("compact", folder) == ("nothing to compact: 5 sealed files\n", 0)
    assert rentier("verify", folder) == (f"verify: {rows} rows, 5 sealed files, 0 differences\n", 0)
    bids = len(Ledger(folder).bids)
    text, _ = rentier("compact", folder, "--keep-bids", "1")
    assert text.startswith("nothing to compact: 4 sealed files")
    assert text.endswith(f"dropped {bids} rows in 1 files, noted in the manifest\n")
    text, code = rentier("verify", folder)
    assert code == 0 and f"{rows - bids} rows" in text and f"{bids} rows were dropped, as noted" in text
    with pytest.raises(Quit, match="--keep-bids -1: expected 0 to 36500 days"):
        rentier("compact", folder, "--keep-bids", "-1")


def test_verify_counts_differences(tmp_path):
    folder = made(tmp_path / "a")
    rentier("seal", folder)
    manifest = mf.read(folder)
    manifest.of("wins", 0)[0].sums["publisher_nano"] += 1
    mf.write(folder, manifest)
    text, code = rentier("verify", folder)
    assert code == 1 and "1 differences\nwins-w0-000001-000001.parquet: the sum of publisher_nano is " in text


def spoilt(path: Path) -> str:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("sealed", [True, False])
def test_verify_lists_every_damaged_file(tmp_path, sealed):
    folder = made(tmp_path / "a", 200)
    if sealed:
        rentier("seal", folder)
    ext = "sealed/*.parquet" if sealed else "*.seg"
    files = sorted(folder.glob(ext))
    bad = [spoilt(files[k]) for k in (1, 4, len(files) // 2)]
    gone = next(path for path in files if path.name.startswith("events-w0-000002"))
    gone.unlink()
    text, code = rentier("verify", folder)
    lines = text.splitlines()
    assert code == 1 and lines[0] == f"verify: {4} files cannot be read" and len(lines) == 5
    for path in (*bad, str(gone)):
        assert sum(line.startswith(path) for line in lines[1:]) == 1, path
    assert sum("is missing" in line for line in lines) == 1


def test_verify_names_damaged_small_files_and_a_damaged_manifest(tmp_path):
    folder = made(tmp_path / "a")
    rentier("seal", folder)
    (folder / "meta.json").write_text("[]")
    text, code = rentier("verify", folder)
    assert code == 1 and f"{folder / 'meta.json'}: expected a JSON object\n" in text
    spoilt(mf.path_of(folder))
    text, code = rentier("verify", folder)
    assert code == 1 and text.startswith(f"verify: 1 files cannot be read\n{mf.path_of(folder)}: the checksum")
    with pytest.raises(LedgerError, match="no such ledger folder"):
        rentier("verify", tmp_path / "nothing")


def test_a_writer_at_work_keeps_its_last_segments(tmp_path):
    journal = small(tmp_path)
    Maker(journal).run(60)
    with pytest.raises(Quit, match="being written by another process: stop it first, or seal only full segments"):
        rentier("seal", tmp_path)
    assert "sealed 0" not in rentier("seal", tmp_path, "--full")[0]
    journal.close()
    shutil.copytree(tmp_path, tmp_path.with_name("b"))
    rentier("seal", tmp_path)
    assert not list(tmp_path.glob("*.seg"))


def test_a_crashed_ledger_is_made_whole_and_sealed(tmp_path):
    journal = small(tmp_path / "a")
    maker = Maker(journal)
    maker.run(40)
    maker.put("bids", m.KIND_BID, auction_id=10**6)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    rentier("seal", tmp_path / "b")
    ledger = Ledger(tmp_path / "b")
    assert ledger.clean and not list((tmp_path / "b").glob("*.seg")) and len(ledger.auctions) == 40
    journal.close()


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_export_is_tidy_and_knows_nobody(tmp_path, format):
    folder = made(tmp_path / "a")
    ledger = Ledger(folder)
    text, code = rentier("export", folder, tmp_path / "out", "--format", format)
    assert code == 0 and f"wins.{format}: {len(ledger.wins)} rows" in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{stream}.{format}" for stream in ("auctions", "bids", "wins", "events")
    }
    con = duckdb.connect()
    table = con.execute(f"SELECT * FROM '{tmp_path}/out/wins.{format}'").fetchnumpy()
    assert not {"person_key", "ts_ns", "worker_key"} & set(table)
    assert np.array_equal(table["seq"], ledger.wins["seq"])
    for party in m.PARTIES:
        assert np.array_equal(table[f"{party}_nano"], ledger.wins[f"{party}_nano"])
    assert np.array_equal(table["contacts"], ledger.wins["contacts"])
    assert list(table["publisher"]) == [f"publisher {k}, a 'name'" for k in ledger.wins["publisher"]]
    assert (table["time"].astype("datetime64[us]") == ledger.wins["ts_ns"].astype("datetime64[ns]")).all()
    assert list(table["own"]) == [bool(f & m.FLAG_OWN) for f in ledger.wins["flags"]]
    keys = ledger.wins["person_key"]
    person = np.ma.filled(np.ma.asarray(table["person"]), 0)
    order = list(dict.fromkeys(int(key) for key in keys if key))
    assert person.tolist() == [order.index(int(key)) + 1 if key else 0 for key in keys]
    events = con.execute(f"SELECT * FROM '{tmp_path}/out/events.{format}'").fetchnumpy()
    assert list(events["kind"]) == [m.KINDS[int(k)] for k in ledger.events["kind"]]
    of = {int(s): int(p) for s, p in zip(table["serial"], person, strict=True)}
    there = np.ma.filled(np.ma.asarray(events["person"]), 0).tolist()
    assert there == [of[int(serial)] for serial in events["serial"]]
    with pytest.raises(LedgerError, match="is there already"):
        rentier("export", folder, tmp_path / "out", "--format", format)
    with pytest.raises(LedgerError, match="is a ledger: expected a folder of its own"):
        rentier("export", folder, folder, "--format", format)
    assert not (Path(folder) / f"wins.{format}").exists()
    with (tmp_path / "out" / f"wins.{format}").open("rb") as file:
        assert int(keys.max()).to_bytes(8, "little") not in file.read() or keys.max() < 100


def test_export_of_one_stream_and_of_nothing(tmp_path):
    journal = small(tmp_path / "a")
    Maker(journal).step([])
    journal.close()
    text, _ = rentier("export", tmp_path / "a", tmp_path / "out", "--stream", "wins", "--format", "csv")
    assert text.endswith("wins.csv: 0 rows\n")
    with (tmp_path / "out" / "wins.csv").open() as file:
        assert "buyer_total_nano" in next(csv.reader(file))


# ---- the old format ------------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path) -> Path:
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "format1"


def test_an_old_ledger_names_the_command(old):
    with pytest.raises(LedgerError, match=r"format1: a ledger of format 1: `rentier ledger migrate .*format1 NEW`"):
        Ledger(old)


def test_an_old_ledger_is_written_anew(old, tmp_path):
    before = {path.name: path.read_bytes() for path in old.iterdir() if path.is_file()}
    text, code = rentier("migrate", old, tmp_path / "new")
    assert code == 0 and before == {path.name: path.read_bytes() for path in old.iterdir() if path.is_file()}
    ledger = Ledger(tmp_path / "new")
    assert f"{len(ledger.wins)} wins" in text and len(ledger.wins) > 50 and len(ledger.bids) > len(ledger.wins)
    assert reconcile(ledger).count == 0 and ledger.derivation() == [] == ledger.gaps()
    assert ledger.meta["format"] == 2 and ledger.meta["budgets_nano"] == read_meta(old)["budgets_nano"]
    assert {ledger.names.text("fees", int(k)) for k in ledger.wins["fees"]} == {
        terms_of(fee_set("isba2020", "isba2020"))
    }
    # against the bytes of the old rows, read without our reader
    raw = b"".join(path.read_bytes() for path in sorted(old.glob("wins-*.seg")))
    first = np.frombuffer(raw, FORMAT_1["wins"], 1, 64)[0]
    for name in FORMAT_1["wins"].names:
        if name != "flags":
            assert first[name] == ledger.wins[name][0], name
    uses_data = (ledger.wins["flags"] & m.FLAG_DATA) != 0
    assert uses_data.any() and (ledger.wins["data_nano"][~uses_data] == 0).all()
    assert rentier("verify", tmp_path / "new")[1] == 0
    with pytest.raises(LedgerError, match="expected a new or empty folder"):
        rentier("migrate", old, tmp_path / "new")
    with pytest.raises(LedgerError, match="meta.json says format 2: it is of this format already: nothing to migrate"):
        rentier("migrate", tmp_path / "new", tmp_path / "again")


def test_a_row_that_no_fee_set_explains_is_named(old, tmp_path):
    import zlib

    path = sorted(old.glob("wins-*.seg"))[0]
    data = bytearray(path.read_bytes())
    head = np.frombuffer(data, m.BLOCK, 1)
    shape = FORMAT_1["wins"]
    rows = np.frombuffer(data, shape, int(head["count"][0]), 64)
    rows["publisher_nano"][7] += 1
    rows["hidden_nano"][7] -= 1
    seq, size = int(rows["seq"][7]), int(head["bytes"][0])
    head["checksum"] = zlib.crc32(data[64 : 64 + size])
    path.write_bytes(data)
    with pytest.raises(LedgerError, match=rf"wins seq {seq}: no fee set .* not migrated"):
        rentier("migrate", old, tmp_path / "new")
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob("*.migrating"))


@pytest.mark.parametrize("left", [None, b""])
def test_sealed_files_without_their_manifest_are_no_empty_ledger(tmp_path, left):
    """Nothing may take a ledger that was sealed for an empty one: a writer would begin it anew over its files."""
    folder = made(tmp_path / "a")
    rentier("seal", folder)
    path = mf.path_of(folder)
    path.unlink() if left is None else path.write_bytes(left)
    text, code = rentier("verify", folder)
    assert code == 1 and str(path) in text and ("missing" if left is None else "empty") in text
    for refused in (
        lambda: command.answer(["summary", str(folder)]), lambda: small(folder, ALL), lambda: rentier("seal", folder),
        lambda: rentier("compact", folder), lambda: Ledger(folder),
    ):  # fmt: skip
        with pytest.raises(LedgerError, match="nothing else says what was sealed"):
            refused()


def test_a_first_file_that_a_crash_left_without_a_manifest_is_no_damage(tmp_path):
    """Its segment is still there: the file is made once more."""
    folder, whole = made(tmp_path / "a"), made(tmp_path / "b")
    rentier("seal", whole)
    (folder / "sealed").mkdir()
    name = next(file.name for file in mf.read(whole).files if file.stream == "wins")
    shutil.copy(whole / "sealed" / name, folder / "sealed" / name)
    rows = Ledger(folder).verify()
    assert rentier("seal", folder)[1] == 0 and Ledger(folder).verify() == rows


@pytest.mark.parametrize("stream", ["wins", "events", "bids", "auctions"])
def test_a_sealed_file_that_is_gone_is_named_by_reports(tmp_path, stream):
    folder = made(tmp_path / "a")
    rentier("seal", folder)
    name = next(file.name for file in mf.read(folder).files if file.stream == stream)
    (folder / "sealed" / name).unlink()
    with pytest.raises(LedgerError, match=f"{name}.*missing"):
        command.answer(["summary", str(folder)])


def test_sql_does_not_read_a_damaged_file(tmp_path):
    """DuckDB verifies nothing: one flipped bit is another sum."""
    folder = made(tmp_path / "a")
    rentier("seal", folder)
    name = next(file.name for file in mf.read(folder).files if file.stream == "bids")
    path = folder / "sealed" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    for query in ("select sum(net_nano) from bids", 'with b as (from "BIDS") select sum(net_nano) from b'):
        with pytest.raises(LedgerError, match=f"{name}: checksum"):
            Ledger(folder).sql(query)
    with pytest.raises(LedgerError, match=f"{name}: checksum"):
        command.answer(["lost", str(folder)])
    assert Ledger(folder).sql("select count(*) from wins").rows  # what lies elsewhere is whole


def test_verify_says_when_a_closed_ledger_was_cut_short(tmp_path):
    """What lies behind a missing row is left out by all readers; nobody is told that nothing is missing."""
    folder = made(tmp_path / "a")
    path = sorted(folder.glob("wins-*.seg"))[-1]
    path.write_bytes(b"")
    ledger = Ledger(folder)
    text, code = rentier("verify", folder)
    cut = sum(ledger.cut.values())
    assert cut and code == 1 and f"and {cut} rows from there on are left out" in text
    recover(folder, 0, cut=True)
    journal = small(folder, ALL, worker=0)  # the next writer goes on there, and nothing is missing any more
    while_open = rentier("verify", folder)
    journal.close()
    assert while_open[1] == 0 and rentier("verify", folder)[1] == 0
