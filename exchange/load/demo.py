"""The demo: an exchange, three remote bidders and their traffic as separate processes; then one screen of what it cost.

What runs is what would run elsewhere: `rentier serve` with a config that lies in the ledger folder, bidders that speak
OpenRTB over HTTP, open-loop load. Everything shown at the end is read back from the ledger.
"""

import argparse
import asyncio
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

import uvloop

from exchange.audience.people import load_own_list
from exchange.books.reconcile import reconcile, render
from exchange.books.run_summary import summarise
from exchange.config import Config, ConfigError, shipped
from exchange.load import merge, requests, screen
from exchange.load.generator import Generator, arrivals
from exchange.load.processes import Child, ChildError, Children
from exchange.load.progress import Bar
from exchange.load.viewer import Viewer
from exchange.population import Population
from exchange.rent.ledger import Ledger

FOLDER: Final = "demo-ledger"
MARK: Final = ".rentier-demo"
SAMPLE: Final = "sample-request.json"
BIDDERS: Final = ("steady", "shading", "flaky")
BIDDER_READY_S: Final = 20.0
READY_S: Final = 300.0  # a cold cache compiles first; whoever dies meanwhile is noticed at once
FOLDERS_MAX: Final = 1_000


class Stopped(Exception):  # noqa: N818 - somebody asked for it
    """SIGTERM or Ctrl-C came."""


class Stop:
    """Notes SIGTERM and Ctrl-C instead of raising them in the middle of anything; `check` raises Stopped.

    A second signal does what it always did.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, self._before[number])

    def check(self) -> None:
        """Raise Stopped after a signal."""
        if self.number:
            raise Stopped


def run(args: argparse.Namespace) -> int:
    """Run the demo with the command's options; returns the exit code: 0, or 1 when anything went wrong.

    Raises ConfigError, PeopleError or OSError for options that cannot be used.
    """
    table = merge.read_table(args.config or shipped("demo.toml"))
    merge.merge(table, seed=args.seed, qps=args.qps, own_list=args.own_list)
    merge.check(table, [("yours", url) for url in args.bidder])
    if args.own_list is not None:
        load_own_list(args.own_list, len)  # complains before anything is started
    if not 0 < args.seconds <= 86_400:
        raise ConfigError(f"--seconds {args.seconds}: expected more than 0, at most 86400")
    found = requests.found_below(args.requests) if args.requests is not None else None
    if found == []:
        raise ConfigError(f"--requests {args.requests}: no bid request found in the files below it")
    with ledger_folder(args.out) as folder, Stop() as stop:
        try:
            return _demo(args, table, found, folder, stop)
        except ChildError as error:
            if not stop.number:  # else it was told to end as we were
                print(f"rentier demo: {error}", file=sys.stderr)
                return 1
        except Stopped:
            pass
        return 128 + stop.number


def _demo(
    args: argparse.Namespace, table: merge.Table, found: list[tuple[str, bytes]] | None, folder: Path, stop: Stop
) -> int:
    """Start everything, drive it, end it, show it."""
    with Children(stop.check) as children:
        config, exchange, people = _start(args, table, folder, children)
        traffic, sent = None, None
        address = exchange.ready("rentier ready on http://", READY_S)
        address = address.partition(" ")[0]
        if found is not None:
            with Bar("requests", show=not args.json) as bar:
                sent = requests.send_all(address, found, _watched(children, bar))
            sample = sent.sample
        else:
            traffic = uvloop.run(_drive(args, config, people, address, children))
            sample = people.request(people.at(0))
        children.check()
        exchange.end_well()
    (folder / SAMPLE).write_bytes(sample)
    return _show(args, config, folder, traffic, sent)


def _start(
    args: argparse.Namespace, table: merge.Table, folder: Path, children: Children
) -> tuple[Config, Child, Population]:
    """Start the bidders, then the exchange that knows where they are; meanwhile make the people."""
    seed = int(table["exchange"].get("seed", 0))
    joining: list[tuple[str, str]] = []
    if not table.get("endpoint"):
        started = [
            children.start(
                f"bidder {name}",
                f"bidders.remote.{name}",
                ["--port", "0", "--seed", str(seed + ix)],
                folder / f"bidder-{name}.log",
            )
            for ix, name in enumerate(BIDDERS)
        ]
        joining = [(name, child.ready("ready ", BIDDER_READY_S)) for name, child in zip(BIDDERS, started, strict=True)]
    merge.add_endpoints(table, [*joining, *(("yours", url) for url in args.bidder)])
    config = merge.write(table, folder)
    exchange = children.start(
        "exchange", "exchange", ["serve", "--config", str(folder / merge.FILE)], folder / "exchange.log"
    )
    people = Population(config, b"demo")
    people.truth(people.at(0), 0)
    return config, exchange, people


async def _drive(
    args: argparse.Namespace, config: Config, people: Population, address: str, children: Children
) -> screen.Traffic:
    """Let the people come, see and click; ends at once when a child does."""
    times_s = arrivals(args.seconds, config.population.qps, config.exchange.seed)
    viewer = Viewer(asyncio.get_running_loop(), address, people)

    def request(t: int) -> bytes:
        return people.request(people.at(t))

    generator = Generator(address, times_s, request, viewer.answered)
    with Bar("requests", show=not args.json) as bar:
        load = await generator.run(_watched(children, bar))
        await viewer.finish()
    return screen.traffic_of(load, viewer.counts)


def _watched(children: Children, bar: Bar) -> Callable[[float, float], None]:
    """Progress on the bar, ended as soon as a child ends or somebody asks."""

    def progress(done: float, total: float) -> None:
        children.check()
        bar.at(done, total)

    return progress


def _show(
    args: argparse.Namespace,
    config: Config,
    folder: Path,
    traffic: screen.Traffic | None,
    sent: requests.Sent | None,
) -> int:
    """Read the ledger back and print what it says. Returns the exit code."""
    ledger = Ledger(folder)
    summary, reconciled, rows = summarise(ledger), reconcile(ledger), screen.bidders(config, ledger)
    failed = bool(reconciled.count) or (sent is not None and bool(sent.faults))
    shown = _relative(folder)
    if args.json:
        facts: dict[str, Any] = {
            "ledger": str(folder),
            "config": str(folder / merge.FILE),
            "bidders": rows,
            "summary": summary,
            "reconcile": reconciled,
        }
        if traffic is not None:
            facts["traffic"] = traffic
        if sent is not None:
            facts["requests"] = {
                "files": sent.files,
                "requests": sent.requests,
                "sold": sent.sold,
                "no_bid": sent.no_bid,
                "refused": sent.refused,
                "faults": sent.faults,
            }
        print(screen.to_json(facts))
        return 1 if failed else 0
    lines = [*requests.render(sent), ""] if sent is not None else []
    lines += screen.render(traffic, summary, rows, reconciled)
    if reconciled.count:
        lines.append(render(reconciled).rstrip())
    lines += [
        "",
        f"The ledger lies in {shown}. Next:",
        f"  {command()} report summary {shown} --html report.html",
        f'  {command()} sql {shown} "select advertiser, sum(net) from wins group by all"',
        f"  {command()} reconcile {shown}",
        f"  {command()} explain {shown}/{SAMPLE} --config {shown}/{merge.FILE}",
    ]
    print("\n".join(lines))
    return 1 if failed else 0


def command() -> str:
    """How this very command can be called again: by its place when it lies below this folder and not on the PATH."""
    beside = Path(sys.executable).with_name("rentier")
    if shutil.which("rentier") or not beside.is_relative_to(Path.cwd()):
        return "rentier"
    return str(beside.relative_to(Path.cwd()))


# ---- the ledger's folder ---------------------------------------------------------------------------------------


@contextmanager
def ledger_folder(out: Path | None) -> Iterator[Path]:
    """A fresh folder for a demo's ledger, locked while it is used.

    `out`, or ./demo-ledger; what is there is replaced only if a demo made it and none is using it. Otherwise the next
    free number is appended to the default's name; a given `out` raises ConfigError.
    """
    names = [out] if out is not None else [Path(FOLDER), *(Path(f"{FOLDER}-{n}") for n in range(2, FOLDERS_MAX))]
    for folder in names:
        lock = _claim(folder)
        if lock is not None:
            try:
                yield folder
            finally:
                os.close(lock)
            return
    raise ConfigError(f"{names[0]}: not a demo's ledger, or in use: give another folder with --out")


def _claim(folder: Path) -> int | None:
    """Lock a folder's mark and empty the folder; None when it is not ours to empty."""
    mark = folder / MARK
    if folder.exists() and not mark.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    for path in folder.iterdir():
        if path == mark:
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    os.ftruncate(lock, 0)
    os.write(lock, b"made by rentier demo, which may replace this folder; started %d\n" % time.time())
    return lock


def _relative(folder: Path) -> str:
    """The folder as one would type it from here."""
    try:
        return str(folder.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
