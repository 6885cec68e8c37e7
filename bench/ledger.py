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
from exchange.rent import manifest as mf
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


def _run(folder: Path | None) -> tuple[float, int]:
    """(CPU s, records written) of a simulation; without a folder nothing is written."""
    simulation = Simulation(load_config(SIM8), folder, write=folder is not None)
    began = time.process_time()
    simulation.run(VISITS)
    spent = time.process_time() - began
    books = simulation.finish().ledger
    rows = 0 if books is None else sum(len(getattr(books, stream)) for stream in ("auctions", "wins", "events"))
    return spent, rows


def _sealed(config: Path, visits: int, times: int) -> tuple[float, float]:
    """(CPU us, bytes) of a win row when a simulation's ledger is sealed: reading, checking, compressing, syncing."""
    found: list[float] = []
    with tempfile.TemporaryDirectory(prefix="rentier-bench-") as place:
        whole = Path(place) / "whole"
        simulate(config, visits, ledger="wins", folder=whole)
        for path in whole.glob("*.seg"):
            if not path.name.startswith("wins"):
                path.unlink()
        for k in range(times + 1):  # the first loads what it needs
            folder = Path(place) / f"ledger{k}"
            shutil.copytree(whole, folder)
            began = time.thread_time()
            seal(folder, everything=True)
            spent = time.thread_time() - began
            files = mf.read(folder).files
            rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
            assert rows > 0 and all(file.stream == "wins" for file in files)
            found.append(spent / rows * 1e6)
    return min(found[1:]), size / rows
