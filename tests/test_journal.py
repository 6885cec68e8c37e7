"""The journal: what was counted is there, whatever happened to the process or to the last bytes of the files."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from exchange import market as m
from exchange.rent.blocks import HEADER_BYTES, JournalError
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.recovery import recover
from tests.ledger_maker import ALL, FIXED, Maker, crashed, ends_committed, is_prefix, small


def everything(ledger: Ledger) -> dict[str, bytes]:
    """The bytes of all fixed-size rows."""
    return {name: getattr(ledger, name).tobytes() for name in FIXED}


def test_rows_come_back_as_written(tmp_path):
    journal = small(tmp_path)
    maker = Maker(journal)
    maker.run(300)
    live = Ledger(tmp_path)  # while the writer lives
    assert not live.clean and sum(live.cut.values()) == 0
    journal.close()
    closed = Ledger(tmp_path)
    assert closed.clean and everything(closed) == everything(live)
    for stream in FIXED:
        wanted = [seq for seq, name in maker.written if name == stream]
        assert getattr(closed, stream)["seq"].tolist() == wanted
    assert len(list(tmp_path.glob("bids-*.seg"))) > 5  # segments were crossed
    assert closed.verify() == len(maker.written)
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.seg")}
    assert all(size % 8 == 0 and size < 8192 for size in sizes.values())


def test_memory_and_files_hold_the_same(tmp_path):
    on_disk, in_memory = small(tmp_path), small(None)
    for journal in (on_disk, in_memory):
        Maker(journal).run(200, seed=4)
    on_disk.close()
    assert everything(Ledger(tmp_path)) == everything(Ledger.in_memory(in_memory))
    in_memory.close()
    assert everything(Ledger(tmp_path)) == everything(Ledger.in_memory(in_memory))


def test_memory_has_a_limit():
    journal = Journal(None, streams=("auctions",), block_rows=8, segment_bytes=4096, memory_max_bytes=3 * 4096)
    maker = Maker(journal)
    with pytest.raises(JournalError, match="memory is full: 12288 bytes taken, limit 12288"):
        for _ in range(1000):
            maker.step([])
    assert len(Ledger.in_memory(journal).auctions) == journal.capacity("auctions") * 3 * 4  # nothing was lost


def test_kernels_write_at_the_address(tmp_path):
    """The contract with compiled code: row at address + 64 + count * itemsize, then count + 1."""
    import ctypes

    journal = Journal(tmp_path, streams=("events",), block_rows=3)
    assert journal.blocks[list(m.STREAMS).index("events")].tolist() == [journal.address("events"), 3]
    row = np.zeros(1, m.EVENT_ROW)
    for seq in range(1, 6):
        if journal.count("events") == journal.capacity("events"):
            journal.roll("events")
        row["seq"], row["auction_id"] = seq, 10 + seq
        count = ctypes.c_int64.from_address(journal.address("events") + m.BLOCK.fields["count"][1])
        ctypes.memmove(journal.address("events") + 64 + count.value * 88, row.tobytes(), 88)
        count.value += 1
        del count
    assert Ledger(tmp_path).events["auction_id"].tolist() == [11, 12, 13, 14, 15]
    journal.roll("events")
    journal.roll("events")  # an empty block stays
    assert journal.count("events") == 0
    journal.close()
    assert Ledger(tmp_path).events["auction_id"].tolist() == [11, 12, 13, 14, 15]


def test_inputs_of_any_length(tmp_path):
    journal = small(tmp_path, ALL)
    texts = [os.urandom(n) for n in (0, 1, 7, 8, 9, 5000, 2_000_000, 3, 1_048_500)]
    for seq, text in enumerate(texts, 1):
        journal.append_input(seq, 100 + seq, m.KIND_REQUEST, text, 5, 6)
    for ledger in (Ledger(tmp_path), (journal.close(), Ledger(tmp_path))[1]):
        found = list(ledger.inputs())
        assert [record.payload for record in found] == texts
        assert [(r.seq, r.ts_ns, r.kind, r.config_version, r.snapshot_version) for r in found] == [
            (seq, 100 + seq, m.KIND_REQUEST, 5, 6) for seq in range(1, len(texts) + 1)
        ]
    with pytest.raises(JournalError, match="limit is"):
        small(None, ALL).append_input(1, 1, m.KIND_REQUEST, bytes(1 << 26))


def test_a_second_writer_is_refused(tmp_path):
    journal = small(tmp_path)
    with pytest.raises(JournalError, match="worker 0's journal is being written"):
        small(tmp_path)
    other = small(tmp_path, worker=1)
    Maker(other).run(20)
    other.close()
    journal.close()
    small(tmp_path).close()
    assert set(Ledger(tmp_path).auctions["worker"]) == {1}


def test_the_next_run_goes_on(tmp_path):
    total = 0
    for run in range(3):
        journal = small(tmp_path)
        maker = Maker(journal)
        assert maker.seq == total + 1 and maker.auction == 40 * run + 1
        maker.run(40, seed=run)
        total += len(maker.written)
        journal.close()
    ledger = Ledger(tmp_path)
    seqs = np.sort(np.concatenate([getattr(ledger, name)["seq"] for name in FIXED]))
    assert seqs.tolist() == list(range(1, total + 1))
    before = sorted(tmp_path.iterdir())
    small(tmp_path).close()  # a run that writes nothing leaves nothing
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("partial", [0, 1, 3])
def test_an_uncommitted_step_is_cut(tmp_path, partial):
    crashed(tmp_path, partial=partial)
    ledger = Ledger(tmp_path / "dead")
    assert sum(ledger.cut.values()) == partial and not (ledger.bids["auction_id"] == 10**6).any()
    assert ends_committed(ledger)
    journal = small(tmp_path / "dead")  # and the next writer goes on right behind
    before = everything(ledger)
    recovered = Ledger(tmp_path / "dead")
    assert everything(recovered) == before and sum(recovered.cut.values()) == 0
    maker = Maker(journal)
    assert maker.auction == 31
    maker.run(10, seed=2)
    journal.close()
    whole = Ledger(tmp_path / "dead")
    seqs = np.sort(np.concatenate([getattr(whole, name)["seq"] for name in FIXED]))
    assert seqs.tolist() == list(range(1, seqs.size + 1)) and len(whole.auctions) == 40


@pytest.mark.parametrize(("stream", "closed"), [*((name, False) for name in FIXED), ("wins", True), ("bids", True)])
def test_a_tail_torn_at_every_byte(tmp_path, stream, closed):
    """Cut the last segment of one stream at every byte of its last block: the rest is a committed prefix."""
    crashed(tmp_path, steps=12)
    source = tmp_path / ("live" if closed else "dead")
    whole = {name: getattr(Ledger(source), name).copy() for name in FIXED}
    last = sorted(source.glob(f"{stream}-*.seg"))[-1]
    data = last.read_bytes()
    block, end = last_block(data)
    work = tmp_path / "work"
    shutil.copytree(source, work)
    for size in range(end, block - 1, -1):
        os.truncate(work / last.name, size)
        part = Ledger(work)
        assert is_prefix(part, whole) and ends_committed(part), size
        if size % 97 == 0:  # and a writer can take over
            again = tmp_path / f"again{size}"
            shutil.copytree(work, again)
            recover(again, 0, cut=closed)  # a journal that was closed in order: only who is told so cuts it
            journal = small(again)
            Maker(journal).step([500, 400])
            journal.close()
            assert len(Ledger(again).auctions) == len(part.auctions) + 1


def last_block(data: bytes) -> tuple[int, int]:
    """Offset of the last block with rows, and of its last row's end, by walking the headers."""
    at = found = end = 0
    while at + HEADER_BYTES <= len(data):
        head = np.frombuffer(data, m.BLOCK, 1, at)[0]
        if not head["count"]:
            break
        found, end = at, at + HEADER_BYTES + int(head["count"]) * int(head["row_bytes"])
        at += HEADER_BYTES + int(head["bytes"])
    return found, end


def test_an_event_inside_an_unfinished_step_does_not_commit_it(tmp_path):
    """A full award ring releases its oldest hold while a win is being written: the win still needs its imp's row."""
    journal = small(tmp_path / "live")
    maker = Maker(journal)
    win = maker.step([500, 400])
    maker.put("bids", m.KIND_BID, auction_id=10**6)
    maker.put("wins", m.KIND_WIN, auction_id=10**6)
    maker.event(win, m.KIND_RELEASE)
    shutil.copytree(tmp_path / "live", tmp_path / "dead")
    ledger = Ledger(tmp_path / "dead")
    assert ledger.cut == {"auctions": 0, "bids": 1, "wins": 1, "events": 1}
    maker.put("auctions", m.KIND_AUCTION, auction_id=10**6, sold=1)
    live = Ledger(tmp_path / "live")
    assert sum(live.cut.values()) == 0 and len(live.events) == 1
    journal.close()


def test_a_death_at_every_line_of_the_writer(tmp_path):
    """Look at the files after each line of journal.py that changed them: a committed prefix, nothing counted lost."""
    live = tmp_path / "live"
    live.mkdir()
    deaths: list[tuple[dict[str, bytes], int]] = []
    maker = None

    def look(frame, event, _):
        if not frame.f_code.co_filename.endswith("journal.py") or "rent" not in frame.f_code.co_filename:
            return None
        if event == "line":
            now = {path.name: path.read_bytes() for path in live.iterdir()}
            if not deaths or deaths[-1][0] != now:
                deaths.append((now, maker.seq - 2 if maker else 0))  # a row in the making has its seq already
        return look

    sys.settrace(look)
    try:
        journal = Journal(live, block_rows=2, segment_bytes=4096)
        maker = Maker(journal)
        maker.run(14, seed=5)
        journal.close()
    finally:
        sys.settrace(None)
    whole = {name: getattr(Ledger(live), name).copy() for name in FIXED}
    assert len(deaths) > 200
    for k, (files, counted) in enumerate(deaths):
        dead = tmp_path / f"dead{k}"
        dead.mkdir()
        for name, data in files.items():
            (dead / name).write_bytes(data)
        part = Ledger(dead)
        kept = sum(len(getattr(part, name)) for name in FIXED)
        assert is_prefix(part, whole) and ends_committed(part)
        assert kept + sum(part.cut.values()) >= counted
        if k % 7 == 0:
            again = Journal(dead, block_rows=2, segment_bytes=4096)
            assert again.next_seq == kept + 1
            Maker(again).step([500, 400])
            again.close()
            assert Ledger(dead).clean and len(Ledger(dead).auctions) == len(part.auctions) + 1


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.ledger_maker import ALL, FIXED, Maker, crashed, ends_committed, is_prefix, small
from exchange.rent.journal import Journal
journal = Journal(sys.argv[1], block_rows=64, segment_bytes=1 << 16)
maker = Maker(journal)
maker.run(1)
print("ready", flush=True)
while True:
    maker.run(20, seed=maker.seq)
    print(maker.seq, maker.auction, flush=True)  # acknowledged: all before this is in the journal
"""


def test_kill_9_while_another_process_reads(tmp_path):
    """Nothing acknowledged is lost, every snapshot on the way is whole, and the next writer goes on."""
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        snapshots, deadline = [], time.monotonic() + 1.5
        while time.monotonic() < deadline:
            ledger = Ledger(tmp_path)
            assert ends_committed(ledger)
            seqs = np.sort(np.concatenate([getattr(ledger, name)["seq"] for name in FIXED]))
            assert np.array_equal(seqs, np.arange(1, seqs.size + 1))
            snapshots.append(seqs.size)
        writer.send_signal(signal.SIGKILL)
        acknowledged = writer.stdout.read().splitlines()
    assert snapshots == sorted(snapshots) and snapshots[-1] > snapshots[0]
    full = [line.split() for line in acknowledged if len(line.split()) == 2]
    ledger = Ledger(tmp_path)
    assert len(ledger.auctions) >= int(full[-1][1]) - 1
    assert ledger.verify() >= int(full[-1][0]) - 1
    journal = small(tmp_path)
    Maker(journal).run(5)
    journal.close()
    again = Ledger(tmp_path)
    assert again.clean and len(again.auctions) == len(ledger.auctions) + 5


def test_sync_survives_full_segments(tmp_path):
    journal = small(tmp_path)
    for _ in range(30):
        Maker(journal).put("bids", m.KIND_BID)  # the seq does not matter here
        for _ in range(50):
            journal.append("auctions", bytes(104))
        journal.sync()
    held = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert held < 100
    journal.close()


def test_roll_takes_less_than_a_millisecond(tmp_path):
    journal = Journal(tmp_path, streams=("wins",), block_rows=4096)
    import ctypes

    times = []
    for _ in range(40):
        ctypes.memset(journal.address("wins") + 64, 1, 4096 * 264)
        ctypes.c_int64.from_address(journal.address("wins") + m.BLOCK.fields["count"][1]).value = 4096
        start = time.perf_counter()
        journal.roll("wins")
        times.append(time.perf_counter() - start)
    journal.close()
    assert sorted(times)[20] < 0.004  # about 0.4 ms; the bound allows for a busy machine
