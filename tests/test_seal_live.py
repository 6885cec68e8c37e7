"""A running exchange that seals while it serves: what readers see meanwhile, and what is there after kill -9.

Every life of the exchange is a real server under real HTTP load; what it acknowledged is remembered by the client.
"""

import asyncio
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from exchange import market as m
from exchange.__main__ import main
from exchange.books.reconcile import reconcile
from exchange.events import key_of
from exchange.links import Links
from exchange.rent import manifest as mf
from exchange.rent.ledger import Ledger
from exchange.rent.names import salt
from exchange.rent.seal import compact
from tests.test_live import body_of, text_of
from tests.test_parity import Client

ROOT = Path(__file__).parents[1]
# One process loads everything once; each life is a fork of it, so that a hundred of them take minutes.
FORKS = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
import uvloop
from exchange import live as module
from exchange.config import parse_config
module.TICK_S = 0.05  # the storage is looked at as often: most moments of a short life are then moments of sealing
async def life(text, told):
    served = module.Live(parse_config(text))
    await served.start()
    if told is None:
        return await served.stop()
    os.write(told, f"{os.getpid()} {served.address}\\n".encode())
    await asyncio.Event().wait()
text = open(sys.argv[2]).read()
uvloop.run(life(text.replace("/ledger", "/scratch"), None))
print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        uvloop.run(life(text, 1))
    os.waitpid(child, 0)
    print("over", flush=True)
"""
STORAGE = """
[storage]
seal_after_s = 0
segment_mb = 1
"""


class Seller:
    """Sends requests, follows links and posts refunds as fast as it is answered, and keeps what was acknowledged."""

    def __init__(self, folder: Path, seed: int) -> None:
        key = salt(folder)
        self.links, self.post_key = Links(key, "https://rent.example"), key_of(key)
        self.draw = random.Random(seed)
        self.requests: set[str] = set()
        self.wins: set[int] = set()  # serials
        self.events: set[tuple[int, int]] = set()  # (kind, serial)
        self.n = 0

    async def sell(self, address: str, connections: int = 3) -> None:
        """Until the exchange dies."""
        await asyncio.gather(*(self._sell(address) for _ in range(connections)))

    async def _sell(self, address: str) -> None:
        # an answer that is cut off, or none, is no acknowledgement
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            client = await Client().connect(address)
            while True:
                await self._step(client)
                await asyncio.sleep(0.004)  # the books of a hundred lives are reconciled a hundred times

    async def _step(self, client: Client) -> None:
        self.n += 1
        ident, person = f"r{self.n}-{self.draw.random()}", f"u{self.draw.randrange(400)}"
        body = body_of(id=ident, user={"id": person}, site={"domain": f"d{self.draw.randrange(40)}.example"})
        status, answer = await client.call("POST", "/openrtb2/auction", body)
        self.requests.add(ident)
        assert status in (200, 204), answer
        if status == 204:
            return
        token = msgspec.json.decode(answer)["seatbid"][0]["bid"][0]["burl"].partition("/i?t=")[2]
        serial = self.links.read(token).serial
        self.wins.add(serial)
        fate = self.draw.random()
        if fate < 0.7:
            assert (await client.call("GET", f"/i?t={token}"))[0] == 200
            self.events.add((m.KIND_IMPRESSION, serial))
        if fate < 0.2:
            assert (await client.call("GET", f"/c?t={token}"))[0] == 302
            self.events.add((m.KIND_CLICK, serial))
        if fate < 0.1:
            given = [{"token": token, "event": "refund", "amount": 0.0001}, {"token": token, "event": "opt_in"}]
            more = f"Authorization: Bearer {self.post_key}\r\n"
            status, answer = await client.call("POST", "/events", msgspec.json.encode({"events": given}), more)
            assert status == 200 and answer.count(b'"recorded"') == 2, answer
            self.events |= {(m.KIND_REFUND, serial), (m.KIND_OPT_IN, serial)}

    def missing(self, ledger: Ledger) -> list[Any]:
        """What was acknowledged and is not there."""
        wins, events = ledger.wins, ledger.events
        there = set(zip(events["kind"].tolist(), events["serial"].tolist(), strict=True))
        return [*(self.wins - set(wins["serial"].tolist())), *(self.events - there)]


@contextlib.contextmanager
def exchange(folder: Path) -> Iterator[Any]:
    """Yields a function that starts a life of the exchange and returns (pid, address)."""
    config = folder / "market.toml"
    auction = 'floor_cpm = 0.5\n[fees]\nsell = "isba2020"\nbuy = "isba2020"'
    server = "flush_ms = 150\nawards_max = 262144\npeople_max = 65536"
    config.write_text(text_of(folder, server, auction, budget=1e6, extra='journal = "full"\n' + STORAGE))
    command = [sys.executable, "-c", FORKS, str(ROOT), str(config)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forks:
        assert forks.stdin is not None and forks.stdout is not None
        living: list[int] = []
        try:
            assert forks.stdout.readline() == "ready\n"

            def start() -> tuple[int, str]:
                assert forks.stdin is not None and forks.stdout is not None
                if living:
                    assert forks.stdout.readline() == "over\n"
                print(file=forks.stdin, flush=True)
                pid, address = forks.stdout.readline().split()
                living[:] = [int(pid)]
                return int(pid), address

            yield start
        finally:
            for pid in living:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            forks.stdin.close()


def lived(seller: Seller, pid: int, address: str, folder: Path, draw: random.Random, life: int) -> None:
    """Load an exchange and kill it: after a random time, while it writes a sealed file, or after it sealed one."""
    wait_s, until = draw.uniform(0.02, 0.8), lambda: True
    if life % 5 == 4:
        done = len(mf.read(folder).files)
        wait_s, until = draw.uniform(0.0, 0.4), lambda: len(mf.read(folder).files) > done
    elif life % 5 in (1, 3):  # at once when a file is half written, or a little later
        before = half_written(folder)
        wait_s, until = draw.uniform(0.0, 0.08) * (life % 5 == 3), lambda: not half_written(folder) <= before

    def kill() -> None:
        deadline = time.monotonic() + 10
        while not until() and time.monotonic() < deadline:
            time.sleep(0.0002)
        time.sleep(wait_s)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    asyncio.run(seller.sell(address))
    killer.join()


def half_written(folder: Path) -> set[tuple[str, int]]:
    """The files that are not whole yet, and when they were last written to; also what an earlier death left."""
    found = set()
    for path in (folder / mf.FOLDER).glob("*.new"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def files_in(folder: Path) -> set[str]:
    """The sealed files, half-written ones too."""
    return {path.name for path in (folder / mf.FOLDER).glob("*.[pn]*")}


def killed_under_load(folder: Path, times: int, seed: int) -> dict[str, int]:
    """Serve, kill, look, and serve again behind it; returns what was seen."""
    draw = random.Random(seed)
    ledger_folder = folder / "ledger"
    found = {"wins": 0, "events": 0, "files": 0, "killed while sealing": 0}
    with exchange(folder) as start:
        seller = None
        for life in range(times):
            pid, address = start()
            seller = seller or Seller(ledger_folder, seed)
            lived(seller, pid, address, ledger_folder, draw, life)
            named = {file.name for file in mf.read(ledger_folder).files}
            found["killed while sealing"] += not files_in(ledger_folder) <= {*named, mf.NAME}
            ledger = Ledger(ledger_folder)
            result = reconcile(ledger)
            assert (result.count, result.differences) == (0, []), life
            assert seller.missing(ledger) == [] == ledger.gaps(), life
            if life % 6 == 5:
                found["files"] += len(ledger.manifest.files)
                compact(ledger_folder)
        assert seller is not None
        found["files"] += len(mf.read(ledger_folder).files)
        ledger = Ledger(ledger_folder)
        raw = b"\n".join(record.payload for record in ledger.inputs() if record.kind == m.KIND_REQUEST)
        requests = {ident.decode() for ident in re.findall(rb'"(r\d+-[^"]+)"', raw)}
        assert seller.requests <= requests
        assert ledger.derivation() == [] and len(ledger.auctions) >= len(seller.requests)
        found |= {"wins": len(seller.wins), "events": len(seller.events)}
    return found


def test_kill_9_under_load_while_sealing(tmp_path):
    found = killed_under_load(tmp_path, 5, 7)
    assert found["wins"] > 50 and found["events"] > 40 and found["files"] > 0


@pytest.mark.torture
def test_kill_9_under_load_at_a_hundred_moments(tmp_path):
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}")
    began = time.monotonic()
    found = killed_under_load(tmp_path, 100, seed)
    print(f"{found} in {time.monotonic() - began:.0f} s")
    assert found["files"] > 200 and found["killed while sealing"] > 0  # how often is the machine's affair


def test_readers_beside_an_exchange_that_seals_while_it_serves(tmp_path, capsys):
    """Report, SQL and reconcile again and again while segments turn into files: each look is whole, none goes back."""
    ledger_folder = tmp_path / "ledger"
    with exchange(tmp_path) as start:
        pid, address = start()
        seller = Seller(ledger_folder, 3)
        load = threading.Thread(target=lambda: asyncio.run(seller.sell(address)))
        load.start()
        seen, files = [0], [0]
        deadline = time.monotonic() + 60
        try:
            while (len(seen) < 6 or files[-1] < 12) and time.monotonic() < deadline and load.is_alive():
                acknowledged = len(seller.wins)
                assert main(["reconcile", str(ledger_folder)]) == 0
                assert " 0 differences" in capsys.readouterr().out
                assert main(["report", str(ledger_folder)]) == 0
                assert capsys.readouterr().out.startswith("Summary: ")
                query = "SELECT count(*), sum(total_nano)::BIGINT, sum(clearing_nano)::BIGINT FROM wins"
                assert main(["sql", str(ledger_folder), query, "--csv"]) == 0
                count, total, clearing = map(int, capsys.readouterr().out.split()[-1].split(","))
                assert count >= acknowledged and total > clearing > 0
                ledger = Ledger(ledger_folder)
                assert len(ledger.wins) >= count and ledger.derivation() == []
                wins = ledger.wins[:count]
                assert (int(wins["buyer_total_nano"].sum()), int(wins["clearing_nano"].sum())) == (total, clearing)
                seen.append(count)
                files.append(len(ledger.manifest.files))
        finally:
            os.kill(pid, signal.SIGKILL)
            load.join()
    assert seen == sorted(seen) and files[-1] > files[1]
    assert seller.missing(Ledger(ledger_folder)) == [] and np.unique(Ledger(ledger_folder).wins["serial"]).size > 0
