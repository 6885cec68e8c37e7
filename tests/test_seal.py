"""Sealed files: the same rows as the segments they took the place of, at every moment, or an error that names them."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from exchange import market as m
from exchange.books.reconcile import reconcile
from exchange.config import KeepDays, Storage
from exchange.keeping import AGAIN_S, Keeper
from exchange.rent import manifest as mf
from exchange.rent.blocks import JournalError, LedgerError
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.seal import compact, retain, seal, sealing
from exchange.rent.sealed import STORED, columns
from tests.ledger_maker import ALL, FIXED, SECOND, START_NS, Maker, ends_committed, is_prefix, small

DAY_NS = 86_400 * SECOND


def rows_of(ledger: Ledger) -> dict[str, np.ndarray]:
    return {name: getattr(ledger, name).copy() for name in FIXED}


def same(ledger: Ledger, whole: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(getattr(ledger, name), whole[name]) for name in FIXED)


def written(folder: Path, steps: int = 120, seed: int = 3) -> Maker:
    """A ledger of all streams, closed in order."""
    journal = small(folder, ALL)
    maker = Maker(journal)
    for k in range(steps // 10):
        maker.run(10, seed=seed + k)
        for size in (0, 5, 3000):
            journal.append_input(maker.seq, maker.now, m.KIND_REQUEST, bytes([k]) * size, 5, 6)
            maker.seq += 1
    journal.close()
    return maker


def test_sealed_rows_come_back_as_written(tmp_path):
    maker = written(tmp_path)
    before, inputs = rows_of(Ledger(tmp_path)), list(Ledger(tmp_path).inputs())
    made = seal(tmp_path, everything=True)
    assert not list(tmp_path.glob("*.seg")) and len(made) > 10
    ledger = Ledger(tmp_path)
    assert same(ledger, before) and list(ledger.inputs()) == inputs and len(inputs) == 36
    assert ledger.clean and ledger.derivation() == [] == ledger.gaps() and reconcile(ledger).count == 0
    assert ledger.verify() == maker.seq - 1 == sum(file.rows for file in made)
    assert {(file.stream, file.first, file.last) for file in mf.read(tmp_path).files} == {
        (file.stream, file.first, file.last) for file in made
    }


def test_a_file_holds_independent_columns_only(tmp_path):
    written(tmp_path)
    rows = rows_of(Ledger(tmp_path))
    seal(tmp_path, everything=True)
    for stream, names in STORED.items():
        files = mf.read(tmp_path).of(stream, 0)
        found = [columns(tmp_path / "sealed" / file.name, [n for n in names if n != "payload"]) for file in files]
        for name in found[0]:
            if name != "refund_nano" and stream != "inputs":
                assert np.array_equal(np.concatenate([part[name] for part in found]), rows[stream][name])
        assert not {"worker", "cum_rent_nano", "publisher_nano", "contact_n", "paid_nano"} & set(names)
    assert "auction_id" not in STORED["events"] and "contacts" not in STORED["wins"]


def test_a_live_ledger_is_sealed_as_it_grows(tmp_path):
    journal, twin = small(tmp_path, ALL), small(None, ALL)
    makers = Maker(journal), Maker(twin)
    sealed = 0
    for k in range(12):
        for maker in makers:
            maker.fees_id = 1
            maker.run(15, seed=k)
        sealed += len(seal(tmp_path))
        whole = rows_of(Ledger.in_memory(twin))
        assert same(Ledger(tmp_path), whole)
    assert sealed > 20 and not Ledger(tmp_path).clean
    live = {path.name.rsplit("-", 1)[0] for path in tmp_path.glob("*.seg")}
    assert live == {f"{stream}-w0" for stream in ALL}  # what is being written stays
    assert seal(tmp_path) == []
    journal.close()
    seal(tmp_path, everything=True)
    assert same(Ledger(tmp_path), whole) and reconcile(Ledger(tmp_path)).count == 0


def test_a_run_goes_on_behind_sealed_files(tmp_path):
    total = 0
    for run in range(4):
        journal = small(tmp_path)
        maker = Maker(journal)
        assert maker.seq == total + 1 and maker.auction == 40 * run + 1
        maker.run(40, seed=run, base=100 * run)
        total = maker.seq - 1
        journal.close()
        seal(tmp_path, everything=run % 2 == 0)
    assert Ledger(tmp_path).gaps() == [] and reconcile(Ledger(tmp_path)).count == 0
    assert len(Ledger(tmp_path).auctions) == 160


def test_two_workers(tmp_path):
    for worker in (0, 1):
        journal = small(tmp_path, worker=worker)
        Maker(journal).run(60, seed=worker)
        journal.close()
    before = rows_of(Ledger(tmp_path))
    seal(tmp_path, everything=True)
    assert same(Ledger(tmp_path), before) and set(before["wins"]["worker"]) == {0, 1}


def test_what_does_not_count_yet_is_not_sealed(tmp_path):
    """A step under way may fill segments; without its auction row they must stay what can be cut."""
    journal = small(tmp_path / "live")
    maker = Maker(journal)
    maker.run(20, seed=1)
    before = rows_of(Ledger(tmp_path / "live"))
    for _ in range(200):
        maker.put("bids", m.KIND_BID, auction_id=10**6)
    seal(tmp_path / "live")
    last = max(file.last_seq for file in mf.read(tmp_path / "live").files)
    assert last <= maker.written[-201][0]
    shutil.copytree(tmp_path / "live", tmp_path / "dead")
    assert same(Ledger(tmp_path / "dead"), before)
    again = small(tmp_path / "dead")
    assert again.next_seq == maker.written[-201][0] + 1
    Maker(again, serial=1000).run(30, seed=4, base=50)
    again.close()
    seal(tmp_path / "dead", everything=True)
    assert is_prefix(Ledger(tmp_path / "live"), before)
    assert reconcile(Ledger(tmp_path / "dead")).count == 0
    journal.close()


def deaths_in(folder: Path, work) -> list[dict[str, bytes]]:
    """The files as they are after each line of the sealing code that changed them: what a kill there leaves."""
    found: list[dict[str, bytes]] = []

    def look(frame, event, _):
        if not frame.f_code.co_filename.endswith(("rent/seal.py", "rent/manifest.py")):
            return None
        if event in ("line", "return"):
            now = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
            if not found or found[-1] != now:
                found.append(now)
        return look

    sys.settrace(look)
    try:
        work()
    finally:
        sys.settrace(None)
    return found


def revive(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_death_at_every_step_of_sealing_compacting_and_dropping(tmp_path):
    live = tmp_path / "live"
    written(live, 30)
    whole, inputs = rows_of(Ledger(live)), list(Ledger(live).inputs())

    def work():
        seal(live, everything=True)
        compact(live)

    deaths = deaths_in(live, work)
    assert len(deaths) > 50
    for k, files in enumerate(deaths):
        dead = revive(files, tmp_path / f"dead{k}")
        ledger = Ledger(dead)
        assert same(ledger, whole) and list(ledger.inputs()) == inputs, k
        if k % 5 == 0:  # and who comes next finishes it
            seal(dead, everything=True)
            compact(dead)
            names = {path.name for path in (dead / "sealed").iterdir()}
            assert names == {f.name for f in mf.read(dead).files} | {"manifest.json", "seal.lock"}
            assert not list(dead.glob("*.seg")) and same(Ledger(dead), whole)
    now = int(whole["auctions"]["ts_ns"].max()) + 10 * DAY_NS
    for k, files in enumerate(deaths_in(live, lambda: retain(live, {"bids": 1, "inputs": 2}, now))):
        dead = revive(files, tmp_path / f"dropped{k}")
        ledger = Ledger(dead)
        assert len(ledger.bids) in (0, len(whole["bids"])) and ledger.gaps() == []
        assert np.array_equal(ledger.wins, whole["wins"]) and np.array_equal(ledger.events, whole["events"])
    assert len(Ledger(live).bids) == 0 and list(Ledger(live).inputs()) == []


def test_a_reader_whose_segments_are_sealed_meanwhile_sees_what_it_saw(tmp_path):
    written(tmp_path, 60)
    whole, inputs = rows_of(Ledger(tmp_path)), list(Ledger(tmp_path).inputs())
    ledger = Ledger(tmp_path)
    reading = ledger.inputs()
    head = [next(reading) for _ in range(4)]
    seal(tmp_path, everything=True)
    assert head + list(reading) == inputs
    assert np.array_equal(ledger.events, whole["events"])
    compact(tmp_path)
    assert same(ledger, whole) and ledger.derivation() == []


def test_a_live_reader_keeps_its_cut(tmp_path):
    journal = small(tmp_path)
    maker = Maker(journal)
    maker.run(50, seed=1)
    ledger, last = Ledger(tmp_path), maker.seq - 1
    whole = rows_of(Ledger(tmp_path))
    maker.run(80, seed=2, base=100)
    assert seal(tmp_path)
    assert same(ledger, whole) and ledger.workers[0].last_seq == last
    ledger.refresh()
    assert len(ledger.auctions) == 130
    journal.close()


def test_a_block_that_grew_after_a_look_and_was_sealed_whole_is_cut_to_the_look(tmp_path):
    """The sealed file holds more rows than the look counts: of every stream it gives the look's rows."""
    journal = Journal(tmp_path, streams=ALL, block_rows=4096, segment_bytes=1 << 20)
    maker = Maker(journal)
    maker.run(60, seed=1, refunds=0.3)
    journal.append_input(maker.seq, maker.now, m.KIND_REQUEST, b"{}", 5, 6)
    maker.seq += 1
    whole, inputs, last = rows_of(Ledger(tmp_path)), list(Ledger(tmp_path).inputs()), maker.seq - 1
    looks = [Ledger(tmp_path) for _ in range(4)]
    assert len(looks[0].wins) == len(whole["wins"]) and looks[0].bids.size  # loaded, some of it, before
    maker.run(60, seed=2, base=100, refunds=0.3)
    journal.append_input(maker.seq, maker.now, m.KIND_REQUEST, b"{}", 5, 6)
    maker.seq += 1
    journal.close()
    seal(tmp_path, everything=True)
    files = mf.read(tmp_path)
    assert all(file.last_seq > last for file in files.files)
    for ledger, order in zip(looks, (FIXED, FIXED[::-1], ("events", "wins", "bids", "auctions"), FIXED), strict=True):
        for name in order:
            assert np.array_equal(getattr(ledger, name), whole[name]), name
        assert list(ledger.inputs()) == inputs and ledger.workers[0].last_seq == last
        assert ledger.derivation() == [] == ledger.gaps() and reconcile(ledger).count == 0
        assert ledger.verify() == last
    assert looks[0].sql("SELECT count(*) FROM wins").rows == [(len(whole["wins"]),)]


@pytest.mark.parametrize("first", ["wins", "events"])
def test_what_is_sealed_between_a_look_and_its_first_reading_is_derived(tmp_path, first):
    """Also the part of it that was sealed while another stream was read: no derived column stays 0."""
    journal = small(tmp_path)
    maker = Maker(journal)
    maker.run(80, seed=3, refunds=0.3)
    whole = rows_of(Ledger(tmp_path))
    ledger = Ledger(tmp_path)
    assert not ledger._is_sealed(ledger.workers[0], first)
    seal(tmp_path)
    assert np.array_equal(getattr(ledger, first), whole[first]) and whole[first]["cum_rent_nano"].any()
    maker.run(80, seed=4, base=50)
    seal(tmp_path)
    assert same(ledger, whole) and ledger.derivation() == []
    journal.close()


@pytest.mark.parametrize("stream", [*FIXED, "inputs"])
def test_a_damaged_file_is_named(tmp_path, stream):
    written(tmp_path, 30)
    seal(tmp_path, everything=True)
    path = tmp_path / "sealed" / mf.read(tmp_path).of(stream, 0)[0].name
    data = path.read_bytes()
    for damaged in (data[:-1], data[: len(data) // 2], b"", *(
        data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :] for at in range(0, len(data), 97)
    )):  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(LedgerError, match=path.name):
            Ledger(tmp_path).verify()
    path.unlink()
    with pytest.raises(LedgerError, match=path.name):
        Ledger(tmp_path).verify()


def test_a_damaged_manifest_is_named(tmp_path):
    written(tmp_path, 20)
    seal(tmp_path, everything=True)
    path = mf.path_of(tmp_path)
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :])
        with pytest.raises(LedgerError, match=r"manifest\.json"):
            Ledger(tmp_path)
    path.write_bytes(data)
    manifest = mf.read(tmp_path)
    manifest.files.remove(manifest.of("wins", 0)[1])
    mf.write(tmp_path, manifest)
    with pytest.raises(LedgerError, match="expected a file that begins with segment 2"):
        Ledger(tmp_path)


def spoil(folder: Path, stream: str, field: str, change: int) -> int:
    """Change a field of the fifth row of a stream, in a ledger whose rows go on as they were. Returns its seq."""
    from exchange.rent.ledger import STREAMS

    rows, inputs = {name: getattr(Ledger(folder), name).copy() for name in FIXED}, list(Ledger(folder).inputs())
    rows[stream][field][5] += change
    for path in folder.glob("*.seg"):
        path.unlink()
    journal = small(folder, ALL)
    for name in FIXED:
        for row in rows[name]:
            journal.append(name, row.tobytes())
    for given in inputs:
        journal.append_input(given.seq, given.ts_ns, given.kind, given.payload, 5, 6)
    journal.close()
    assert STREAMS[stream] is not None
    return int(rows[stream]["seq"][5])


@pytest.mark.parametrize("field", ["publisher_nano", "hidden_nano", "buyer_total_nano", "fees", "flags"])
def test_amounts_that_do_not_follow_are_not_sealed(tmp_path, field):
    written(tmp_path, 60)
    seq = spoil(tmp_path, "wins", field, m.FLAG_DATA if field == "flags" else 1)
    if field == "flags":
        seq = int(Ledger(tmp_path).wins["seq"][5])
    before = rows_of(Ledger(tmp_path))
    with pytest.raises(LedgerError, match=rf"wins-w0-.*not sealed: seq {seq}: |fees 2, which wins name"):
        seal(tmp_path, everything=True)
    assert np.array_equal(Ledger(tmp_path).wins, before["wins"]) and list(tmp_path.glob("wins*.seg"))


@pytest.mark.parametrize(("stream", "field"), [("wins", "contacts"), ("wins", "since_last_s"), ("events", "contact_n"),
                                               ("events", "cum_rent_nano"), ("events", "person_key")])  # fmt: skip
def test_histories_that_do_not_follow_are_found_by_their_sums(tmp_path, stream, field):
    written(tmp_path, 60)
    spoil(tmp_path, stream, field, 1)
    seal(tmp_path, everything=True)
    found = Ledger(tmp_path).derivation()
    assert len(found) == 1 and f"the sum of {field} is" in found[0] and found[0].startswith(f"{stream}-w0-")


def test_retention_drops_whole_files_and_notes_them(tmp_path):
    maker_seq = written(tmp_path, 120).seq
    whole = rows_of(Ledger(tmp_path))
    seal(tmp_path, everything=True)
    cut_ns = int(np.median(whole["bids"]["ts_ns"]))
    gone = retain(tmp_path, {"bids": 1, "auctions": 0}, cut_ns + DAY_NS)
    ledger = Ledger(tmp_path)
    assert gone and all(file.stream == "bids" and file.last_ns < cut_ns for file in gone)
    kept = whole["bids"][sum(file.rows for file in gone) :]
    assert np.array_equal(ledger.bids, kept) and len(kept) and len(ledger.auctions) == 120
    assert ledger.gaps() == [] and ledger.dropped_to("bids", 0) == gone[-1].last_seq
    assert [(file.stream, file.rows) for file in ledger.dropped] == [("bids", sum(file.rows for file in gone))]
    retain(tmp_path, {"bids": 1, "auctions": 1, "inputs": 1}, 2 * cut_ns)
    ledger = Ledger(tmp_path)
    assert len(ledger.bids) == len(ledger.auctions) == 0 and ledger.gaps() == []
    journal = small(tmp_path, ALL)
    assert journal.next_auction == 121 and journal.next_seq == maker_seq
    maker = Maker(journal)
    maker.run(20, base=1000)
    journal.close()
    seal(tmp_path, everything=True)
    ledger = Ledger(tmp_path)
    assert ledger.gaps() == [] and len(ledger.auctions) == 20 and mf.read(tmp_path).of("bids", 0)[0].first > 1
    for stream in ("wins", "events", "nonsense"):
        with pytest.raises(LedgerError, match=f"keep_days.{stream}: expected one of inputs, bids, auctions"):
            retain(tmp_path, {stream: 1}, 0)


@pytest.mark.parametrize("days", [{"bids": 1}, {"auctions": 1}, {"inputs": 1}, {"auctions": 1, "bids": 1, "inputs": 1}])
@pytest.mark.parametrize("share", [0.15, 0.5, 0.85, 2.0])
def test_reconcile_is_clean_after_retention_and_still_finds_what_is_wrong(tmp_path, days, share):
    written(tmp_path, 120)
    whole = rows_of(Ledger(tmp_path))
    seal(tmp_path, everything=True)
    first, last = int(whole["auctions"]["ts_ns"].min()), int(whole["auctions"]["ts_ns"].max())
    gone = retain(tmp_path, days, first + int(share * (last - first)) + DAY_NS)
    dropped = {file.stream for file in gone}
    assert dropped == set(days) if share > 1 else dropped <= set(days)  # files of inputs span much time
    ledger = Ledger(tmp_path)
    result = reconcile(ledger)
    assert (result.count, result.differences) == (0, []) and ledger.gaps() == []
    if dropped & {"auctions", "bids"}:
        assert any("retention dropped these" in why for why in result.skipped.values())
    manifest = mf.read(tmp_path)
    file = manifest.of("wins", 0)[1]
    file.sums["publisher_nano"] += 1
    mf.write(tmp_path, manifest)
    found = reconcile(Ledger(tmp_path))
    (difference,) = found.differences
    assert (difference.invariant, difference.stream, difference.seq) == ("sum", "wins", file.first_seq)
    assert difference.field == f"sum of publisher_nano in {file.name}" and found.count == 1
    assert int(difference.expected) == int(difference.found) + 1


def test_reconcile_finds_a_win_without_its_auction_behind_what_was_dropped(tmp_path):
    """Only rows up to the last that was dropped are excused."""
    written(tmp_path, 120)
    seal(tmp_path, everything=True)
    manifest = mf.read(tmp_path)
    files = manifest.of("auctions", 0)
    mf.drop(manifest, files[:3])
    mf.write(tmp_path, manifest)
    assert reconcile(Ledger(tmp_path)).count == 0
    manifest = mf.read(tmp_path)
    mf.drop(manifest, files[3:4])
    manifest.dropped[0].last_seq = files[2].last_seq
    mf.write(tmp_path, manifest)
    assert {d.invariant for d in reconcile(Ledger(tmp_path)).differences} >= {"seq", "I6"}


def test_rows_that_are_missing_without_a_note_are_found(tmp_path):
    written(tmp_path, 60)
    seal(tmp_path, everything=True)
    manifest = mf.read(tmp_path)
    mf.drop(manifest, manifest.of("bids", 0)[:2])
    manifest.dropped[0].rows -= 1
    mf.write(tmp_path, manifest)
    assert len(Ledger(tmp_path).gaps()) == 1


def test_compacting_leaves_few_files_and_the_same_rows(tmp_path):
    written(tmp_path, 120)
    seal(tmp_path, everything=True)
    before, inputs = rows_of(Ledger(tmp_path)), list(Ledger(tmp_path).inputs())
    n = len(mf.read(tmp_path).files)
    assert compact(tmp_path, rows_max=40) == (n, len(mf.read(tmp_path).files)) and n > len(mf.read(tmp_path).files) > 5
    assert same(Ledger(tmp_path), before) and max(file.rows for file in mf.read(tmp_path).files) <= 40
    compact(tmp_path)
    ledger = Ledger(tmp_path)
    assert len(ledger.manifest.files) == 5 == len(list((tmp_path / "sealed").glob("*.parquet")))
    assert same(ledger, before) and list(ledger.inputs()) == inputs and ledger.derivation() == []


def test_only_one_seals_at_a_time(tmp_path):
    written(tmp_path, 20)
    with sealing(tmp_path), pytest.raises(JournalError, match="another process seals it"):
        seal(tmp_path, everything=True)


def test_a_ledger_that_was_not_closed_is_not_sealed_whole(tmp_path):
    journal = small(tmp_path / "live")
    Maker(journal).run(30)
    shutil.copytree(tmp_path / "live", tmp_path / "dead")
    journal.close()
    with pytest.raises(LedgerError, match="worker 0's journal was not closed in order"):
        seal(tmp_path / "dead", everything=True)


def test_the_keeper_seals_and_drops_beside_a_writer(tmp_path):
    journal = small(tmp_path)
    maker = Maker(journal)
    maker.run(60)
    keeper = Keeper(tmp_path, Storage(seal_after_s=0, keep_days=KeepDays(bids=1)))
    far = START_NS * 2
    keeper.tick(far)
    keeper._thread.join()
    assert keeper.sealed > 5 and Ledger(tmp_path).dropped_to("bids", 0) and len(Ledger(tmp_path).auctions) == 60
    maker.run(60, base=100)
    young = Keeper(tmp_path, Storage(seal_after_s=86_400))
    young.tick(int(next(tmp_path.glob("*.seg")).stat().st_mtime_ns))
    young.close()
    off = Keeper(tmp_path, Storage(seal=False, seal_after_s=0))
    off.tick(far)
    off.close()
    assert young.sealed == off.sealed == 0
    victim = sorted(tmp_path.glob("wins*.seg"))[0]
    data = bytearray(victim.read_bytes())
    data[100] ^= 1
    victim.write_bytes(data)
    keeper.tick(far)
    keeper._thread.join()
    with pytest.raises(LedgerError, match=victim.name):
        keeper.tick(far)
    done = keeper.sealed
    keeper.tick(far + 1)  # not at once
    data[100] ^= 1
    victim.write_bytes(data)
    keeper.tick(far + (AGAIN_S + 1) * SECOND)
    keeper._thread.join()
    keeper.close()
    assert keeper.sealed > done and ends_committed(Ledger(tmp_path))
    keeper.tick(far * 2)  # closed: nothing starts
    assert not keeper._thread.is_alive()
    journal.close()
