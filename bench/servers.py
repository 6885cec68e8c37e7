"""Items 1-3: CPU per request of whole server processes, against a bare server on the same protocol class.

All four servers stand at once, pinned to one core; the client and the remote bidders run on the other one. Every round
drives each server in turn. Neither the client nor a bidder that was just asked sleeps: waking them would be charged to
the server. CPU is the server process's own clock, user and system time together.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench import sample
from bench.ratio import Result

CONNECTIONS: Final = 32
REQUESTS: Final = {"bare": 20_000, "nobody": 20_000, "local": 20_000, "remote": 4_000}
DEMANDED: Final = {"nobody": 0.35, "local": 0.22, "remote": 0.065}
NAMES: Final = {
    "nobody": "server, no bidder",
    "local": f"server, {sample.LOCAL} local campaigns",
    "remote": f"server, {sample.REMOTE} remote bidders",
}
START_MAX_S: Final = 90.0  # a cold start compiles
_READY: Final = re.compile(r"ready (?:on )?(?:http://[^:\s]+:)?(\d+)\b")
_ROOT: Final = Path(__file__).resolve().parents[1]


class Server:
    """A server process that is ready: its port, and the CPU it has used."""

    def __init__(self, arguments: list[str], core: int | None, log: Path) -> None:
        """Start `python arguments` and wait for its ready line. Raises RuntimeError when none comes."""
        self._log = log.open("w+")
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdout=self._log, stderr=subprocess.STDOUT, cwd=_ROOT
        )
        if core is not None:
            os.sched_setaffinity(self.process.pid, {core})
        self.port = self._wait(log)

    def _wait(self, log: Path) -> int:
        """Read the log until it says ready; returns the port."""
        until = time.monotonic() + START_MAX_S
        while time.monotonic() < until and self.process.poll() is None:
            found = _READY.search(log.read_text())
            if found:
                return int(found[1])
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"no ready line: {log.read_text()[-2_000:]}")

    def cpu_s(self) -> float:
        """CPU time of the process so far, all threads, user and system (Linux: the clock of another process)."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


@contextmanager
def stand(names: list[str], folder: Path) -> Iterator[tuple[dict[str, Server], "Client"]]:
    """The servers of these names and a client, warm; they are gone when the block ends."""
    cores = sorted(os.sched_getaffinity(0))
    ours, theirs = (cores[1], cores[0]) if len(cores) > 1 else (None, None)
    running: dict[str, Server] = {}
    client = Client(theirs)
    try:
        if "remote" in names:
            running["bidder"] = Server(["-m", "bench.bidder"], theirs, folder / "bidder.log")
        for name in names:
            if name == "bare":
                arguments = ["-m", "bench.bare_server"]
            else:
                port = running["bidder"].port if name == "remote" else 0
                config = folder / f"{name}.toml"
                config.write_text(sample.market(name, str(folder / name), port))
                arguments = ["-m", "exchange", "serve", "--config", str(config)]
            running[name] = Server(arguments, ours, folder / f"{name}.log")
            drive(running[name], client, REQUESTS[name] // 8)
        yield running, client
    finally:
        client.stop()
        for server in running.values():
            server.stop()


def drive(server: Server, client: "Client", requests: int) -> tuple[float, dict[str, int]]:
    """Send `requests` requests. Returns (CPU of the server per request in us, answers by status)."""
    before = server.cpu_s()
    statuses = client.run(server.port, requests)
    return (server.cpu_s() - before) / requests * 1e6, statuses


class Client:
    """The client process (client.py)."""

    def __init__(self, core: int | None) -> None:
        """Start it on a core."""
        where = [] if core is None else [str(core)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.client", *where],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT,
        )  # fmt: skip

    def run(self, port: int, requests: int) -> dict[str, int]:
        """Answers by status. Raises RuntimeError when not every request is answered."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{port} {CONNECTIONS} {requests}\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline() or '{"error": "the client ended"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        statuses: dict[str, int] = answer["statuses"]
        return statuses

    def stop(self) -> None:
        """End it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def measure(names: list[str], rounds: int) -> list[Result]:
    """The results of some of "nobody", "local", "remote", each against the bare server. Raises RuntimeError."""
    every = ["bare", *names]
    cost: dict[str, list[float]] = {name: [] for name in every}
    statuses: dict[str, dict[str, int]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="rentier-bench-") as folder,
        stand(every, Path(folder)) as (running, client),
    ):
        for _ in range(rounds):
            for name in every:
                cpu, statuses[name] = drive(running[name], client, REQUESTS[name])
                cost[name].append(cpu)
    for name in names:
        expected = "204" if name == "nobody" else "200"
        if statuses[name] != {expected: REQUESTS[name]}:
            raise RuntimeError(f"{name}: answers {statuses[name]}: expected {REQUESTS[name]} times {expected}")
    return [
        Result(
            name=NAMES[name],
            against="a constant answer on the same protocol class, no JSON",
            unit="CPU us/request",
            cost=cost[name],
            reference=cost["bare"],
            demanded=DEMANDED[name],
        )
        for name in names
    ]
