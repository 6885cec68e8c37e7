"""Death and power loss while an exchange writes and its storage is sealed: what was acknowledged is there."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exchange import market as m
from exchange.books.reconcile import reconcile
from exchange.rent import manifest as mf
from exchange.rent import seal as sealer
from exchange.rent.derived import history
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from tests.ledger_maker import FIXED, START_NS, Maker

ROOT = Path(__file__).parents[1]
WRITER = """
import sys, threading, time
sys.path.insert(0, sys.argv[2])
from exchange.config import KeepDays, Storage
from exchange.keeping import Keeper
from exchange.rent.journal import Journal
from exchange.rent.seal import seal
from tests.ledger_maker import Maker
from pathlib import Path
folder, life = Path(sys.argv[1]), int(sys.argv[3])
journal = Journal(folder, block_rows=64, segment_bytes=1 << 16)
maker = Maker(journal)
maker.run(100, seed=life, base=1000 * life + 500)
seal(folder)  # DuckDB and the kernels are loaded by now
keeper = Keeper(folder, Storage(seal_after_s=0))
def keep():
    while True:
        keeper.tick(time.time_ns() + 10**10)  # a segment counts as filled a while ago
        time.sleep(0.002)
threading.Thread(target=keep, daemon=True).start()
print("ready", flush=True)
k = 0
while True:
    k += 1
    maker.run(10, seed=k, base=1000 * life)
    if k % 50 == 0:
        journal.sync()
    print(maker.seq, maker.auction, flush=True)  # acknowledged: all before this is in the journal
"""


def killed_at_random_moments(folder: Path, times: int, draw: random.Random) -> None:
    """Run a writer that seals, kill it, look, and let the next go on behind it."""
    sealed = 0
    for life in range(times):
        command = [sys.executable, "-c", WRITER, str(folder), str(ROOT), str(life)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0.0, 0.3))
            writer.send_signal(signal.SIGKILL)
            told = [line.split() for line in writer.stdout.read().splitlines() if len(line.split()) == 2]
        ledger = Ledger(folder)
        rows = {name: getattr(ledger, name) for name in FIXED}
        if told:
            assert max(int(r["seq"].max(initial=0)) for r in rows.values()) >= int(told[-1][0]) - 1
            assert len(rows["auctions"]) >= int(told[-1][1]) - 1
        assert reconcile(ledger).count == 0 and ledger.derivation() == [] == ledger.gaps()
        now = len(mf.read(folder).files)
        sealed, before = now, sealed
        assert now >= before
    assert sealed > 2 * times  # it was killed while it sealed
    journal = Journal(folder, block_rows=64, segment_bytes=1 << 16)
    journal.close()
    with sealer.sealing(folder):
        pass
    assert Ledger(folder).verify() == len(np.unique(Ledger(folder).seqs()[0]))


def test_kill_9_while_sealing(tmp_path):
    killed_at_random_moments(tmp_path, 5, random.Random(11))


@pytest.mark.torture
def test_kill_9_at_a_hundred_moments(tmp_path):
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}")
    killed_at_random_moments(tmp_path, 100, random.Random(seed))


# ---- power ---------------------------------------------------------------------------------------------------


class Disk:
    """What would be left after the power went: files as they were last synced, under names that were synced."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.data: dict[int, bytes] = {}  # inode -> bytes
        self.names: dict[str, int] = {}
        for name in ("fsync", "fdatasync"):
            plain = getattr(os, name)

            def synced(fd: int, plain: Any = plain) -> None:
                plain(fd)
                self.sync(fd)

            patch.setattr(os, name, synced)
        patch.setattr("exchange.rent.blocks._fdatasync", os.fdatasync)
        patch.setattr("exchange.rent.seal._fdatasync", os.fdatasync)

    def sync(self, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        inode = os.fstat(fd).st_ino
        if not path.is_relative_to(self.folder):
            return
        if path.is_dir():
            gone = [name for name in self.names if (self.folder / name).parent == path]
            for name in gone:
                del self.names[name]
            for entry in path.iterdir():
                if entry.is_file():
                    self.names[str(entry.relative_to(self.folder))] = entry.stat().st_ino
            return
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            self.data[inode] = file.read()

    def after_power_loss(self, folder: Path) -> Path:
        """The folder as the disk has it; what was never synced is empty."""
        (folder / mf.FOLDER).mkdir(parents=True)
        for name, inode in self.names.items():
            if not name.endswith((".lock", ".new")):
                (folder / name).write_bytes(self.data.get(inode, b""))
        return folder


def test_power_loss_takes_what_was_not_synced_and_no_more(tmp_path, monkeypatch):
    live = tmp_path / "live"
    live.mkdir()
    disk = Disk(live, monkeypatch)
    journal = Journal(live, block_rows=16, segment_bytes=8192)
    maker = Maker(journal)
    names = os.open(live / "names.tsv", os.O_RDONLY)
    whole = None
    for k in range(14):
        maker.run(12, seed=k, base=100 * k)
        if k % 3 == 0:
            os.fsync(names)  # `Names.sync` goes before `Journal.sync`
            journal.sync()
            synced = maker.seq - 1
        if k % 4 == 2:
            sealer.seal(live)
            synced = max(synced, mf.read(live).base(0))
        whole = {name: getattr(Ledger(live), name) for name in FIXED}
        left = Ledger(disk.after_power_loss(tmp_path / f"left{k}"))
        rows = {name: getattr(left, name) for name in FIXED}
        last = max(int(r["seq"].max(initial=0)) for r in rows.values())
        assert last >= synced, k
        assert all(np.array_equal(rows[n], whole[n][whole[n]["seq"] <= last]) for n in FIXED)
        again = Journal(tmp_path / f"left{k}", block_rows=16, segment_bytes=8192)
        assert again.next_seq == last + 1
        Maker(again, serial=10_000).run(5, base=5000)
        again.close()
        after = Ledger(tmp_path / f"left{k}")
        assert reconcile(after).count == 0 and after.gaps() == []
    os.close(names)
    journal.close()
    assert len(mf.read(live).files) > 10


# ---- what is derived -----------------------------------------------------------------------------------------


def naive(wins, total, events):
    """The histories, one record after the other, in plain Python."""
    steps = [(int(s), 0, i) for i, s in enumerate(wins["seq"])] + [(int(s), 1, i) for i, s in enumerate(events["seq"])]
    n, rent, last, win_of = {}, {}, {}, {int(s): i for i, s in enumerate(wins["serial"])}
    out = {"contacts": {}, "cum_rent_nano": {}, "since_last_s": {}, "paid_nano": {}, "event_cum_rent_nano": {},
           "contact_n": {}, "win": {}}  # fmt: skip
    for _, what, i in sorted(steps):
        if what == 0:
            pair = (int(wins["person_key"][i]), int(wins["advertiser"][i]))
            known = pair[0] != 0 and n.get(pair, 0) > 0
            out["contacts"][i] = n.get(pair, 0) if known else 0
            out["cum_rent_nano"][i] = rent.get(pair, 0) if pair[0] else 0
            out["since_last_s"][i] = int(wins["ts_ns"][i]) // 10**9 - last[pair] if known else 0
            continue
        at = win_of.get(int(events["serial"][i]), -1)
        out["win"][i], out["paid_nano"][i], out["event_cum_rent_nano"][i], out["contact_n"][i] = at, 0, 0, 0
        if at < 0:
            continue
        pair = (int(wins["person_key"][at]), int(wins["advertiser"][at]))
        kind = int(events["kind"][i])
        paid = int(total[at]) if kind in m.BILLING else 0
        paid -= int(events["refund_nano"][i]) if kind == m.KIND_REFUND else 0
        out["paid_nano"][i] = paid
        if pair[0]:
            rent[pair] = rent.get(pair, 0) + paid
            out["event_cum_rent_nano"][i] = rent[pair]
            if kind in m.BILLING:
                n[pair] = out["contact_n"][i] = n.get(pair, 0) + 1
                last[pair] = int(events["ts_ns"][i]) // 10**9
    return out


@pytest.mark.parametrize("seed", range(6))
def test_histories_against_plain_python(seed):
    """Refunds, unknown people, serials with gaps, events of no win, and more pairs than the first table holds."""
    rng = np.random.default_rng(seed)
    n, k = (9_000, 12_000) if seed == 5 else (200, 400)
    seq = rng.permutation(np.arange(1, n + k + 1)).astype(np.uint64)
    wins = {
        "seq": np.sort(seq[:n]),
        "serial": np.cumsum(rng.choice([1, 1, 1, 4], n)).astype(np.int64),
        "person_key": rng.integers(0, 12 if seed < 5 else 2**62, n, dtype=np.uint64),
        "advertiser": rng.integers(1, 4, n).astype(np.uint32),
    }
    wins["ts_ns"] = (START_NS + wins["seq"].astype(np.int64) * 10**9).astype(np.int64)
    total = rng.integers(1, 10**7, n)
    events = {
        "seq": np.sort(seq[n:]),
        "kind": rng.choice([10, 11, 12, 13, 14, 15, 16, 17, 18, 24], k).astype(np.uint16),
    }
    events["ts_ns"] = START_NS + events["seq"].astype(np.int64) * 10**9
    events["serial"] = rng.integers(-1, int(wins["serial"][-1]) + 3, k)
    events["refund_nano"] = np.where(events["kind"] == m.KIND_REFUND, rng.integers(1, 10**6, k), 0)
    found, wanted = history(wins, total, events), naive(wins, total, events)
    for name, values in wanted.items():
        assert getattr(found, name).tolist() == [values[i] for i in range(len(values))], name
