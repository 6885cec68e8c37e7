"""The ledger: what a row costs, what sealing it costs, and how small it gets.

Bars are absolute, so figures are the best of the rounds.

`python -m bench --only ledger`
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.ratio import Result
from exchange.config import load_config
from exchange.rent.seal import seal
from exchange.simulate.run import Simulation, simulate

VISITS: Final = 200_000
DEMO_VISITS: Final = 60_000
APPEND_US: Final = 0.5  # a record of the hot path, the closing of blocks included; 1 M rows/s needs 1.0
SEAL_US: Final = 1.0  # 5 % of a core at 50,000 win rows/s
SEALED_BYTES: Final = 35.0
SEALED_TIMES: Final = 4  # the least of them counts
SIM8: Final = Path(__file__).with_name("sim8.toml")
DEMO: Final = Path(__file__).parents[1] / "configs" / "demo.toml"


def measure(rounds: int) -> list[Result]:
    """Append, seal, size."""
    append = _append(rounds)
    seal_us, _ = _sealed(SIM8, 2 * VISITS, SEALED_TIMES)
    _, size = _sealed(DEMO, DEMO_VISITS, 1)
    return [
        Result(
            "a record appended, to files", "1 us", "CPU us/row", [append], [1.0], APPEND_US, multiple=True,
            note=f"what writing adds to the kernel that sells; {1 / append:.1f} M rows/s",
        ),
        Result(
            "a win row sealed", "1 us", "CPU us/row", [seal_us], [1.0], SEAL_US, multiple=True,
            note=f"{seal_us * 5:.1f} % of a core at 50,000 rows/s",
        ),
        Result("a sealed win row of the demo", "1 byte", "bytes/row", [size], [1.0], SEALED_BYTES, multiple=True),
    ]  # fmt: skip


def _append(rounds: int) -> float:
    """CPU us that a record costs in the exchange's own kernels: a simulation that writes, against one that does not.

    Records are auctions, wins with their split, and events. The least of the rounds each.
    """
    plain, writing, rows = [], [], 1
    for _ in range(rounds + 1):
        plain.append(_run(None)[0])
        with tempfile.TemporaryDirectory(prefix="rentier-bench-") as place:
            spent, rows = _run(Path(place) / "ledger")
            writing.append(spent)
    return (min(writing[1:]) - min(plain[1:])) / rows * 1e6


def _run(folder: Path | None, visits: int = VISITS) -> tuple[float, int]:
    """(CPU s, records written) of a simulation; without a folder nothing is written."""
    simulation = Simulation(load_config(SIM8), folder, write=folder is not None)
    began = time.process_time()
    simulation.run(visits)
    spent = time.process_time() - began
    books = simulation.finish().ledger
    rows = 0 if books is None else sum(len(getattr(books, stream)) for stream in ("auctions", "wins", "events"))
    return spent, rows


def _sealed(config: Path, visits: int, times: int) -> tuple[float, float]:
    """(CPU us, bytes) of a win row when a simulation's ledger is sealed: reading, checking, compressing, syncing.

    Of the segments of wins, and what comes before the first segment of all, however many streams it serves.
    """
    found: list[float] = []
    with tempfile.TemporaryDirectory(prefix="rentier-bench-") as place:
        whole = Path(place) / "whole"
        simulate(config, visits, ledger="wins", folder=whole)
        for k in range(times + 1):  # the first loads what it needs
            folder = Path(place) / f"ledger{k}"
            shutil.copytree(whole, folder)
            marks = [time.thread_time()]

            def mark(marks: list[float] = marks) -> bool:
                marks.append(time.thread_time())
                return False

            files = seal(folder, everything=True, stop=mark)
            marks.append(time.thread_time())
            spans = zip(files, marks[1:-1], marks[2:], strict=True)
            spent = marks[1] - marks[0] + sum(b - a for file, a, b in spans if file.stream == "wins")
            wins = [file for file in files if file.stream == "wins"]
            rows, size = sum(file.rows for file in wins), sum(file.bytes for file in wins)
            found.append(spent / rows * 1e6)
            shutil.rmtree(folder)
    return min(found[1:]), size / rows
