"""The ledger: what a row costs, what sealing it costs, and how small it gets.

Bars are absolute, so figures are the best of the rounds.

`python -m bench --only ledger`
"""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import carray, njit

from bench.ratio import Result, cpu_us
from exchange import market as mk
from exchange import state as st
from exchange.auction.venue import Venue
from exchange.config import load_config
from exchange.rent import manifest as mf
from exchange.rent.journal import BLOCK_ROWS, Journal
from exchange.rent.names import Names
from exchange.rent.seal import seal
from exchange.rent.waterfall import split, total_of
from exchange.simulate.run import simulate

WIN_ROWS: Final = 32 * BLOCK_ROWS
SEALED_VISITS: Final = 400_000
DEMO_VISITS: Final = 60_000
APPEND_US: Final = 0.5  # a record of the server's hot path, the closing of blocks included; 1 M rows/s needs 1.0
SEAL_US: Final = 1.0  # 5 % of a core at 50,000 win rows/s
SEALED_BYTES: Final = 35.0
SIM8: Final = Path(__file__).with_name("sim8.toml")
DEMO: Final = Path(__file__).parents[1] / "configs" / "demo.toml"
WIN_ROW, FEES, BLOCK_BYTES = mk.WIN_ROW, mk.FEES, mk.BLOCK.itemsize
WIN_BYTES = WIN_ROW.itemsize
PARTIES_AT = WIN_ROW.fields["agency_nano"][1]  # type: ignore[index]


@njit(cache=True, nogil=True)
def write_wins(venue, template, n):  # type: ignore[no-untyped-def]
    """Append `n` win rows to the open block as a sale does: every field written, the price split by its fee set."""
    v = venue[0]
    fee = carray(st.at(v.fees), v.n_endpoints + 1, FEES)[0]
    for _ in range(n):
        count = st.block_count(v.wins_block)
        rows = carray(st.at(v.wins_block + BLOCK_BYTES), v.wins_rows, WIN_ROW)
        rows[count] = template[0]
        row = rows[count]
        st.stamp(v, row, mk.KIND_WIN, v.now_ns)
        row.serial = v.serial
        row.clearing_nano = 1_000_000 + (v.serial & 0xFFFF)
        row.buyer_total_nano = total_of(fee, row.clearing_nano)
        split(fee, row.clearing_nano, 1, carray(st.at(v.wins_block + BLOCK_BYTES + count * WIN_BYTES + PARTIES_AT), 10,
                                                np.int64))  # fmt: skip
        v.serial += 1
        st.commit_row(v.wins_block)


def measure(rounds: int) -> list[Result]:
    """Append, seal, size."""
    each = {"append": _append(rounds), "seal": [], "bytes": []}
    for _ in range(rounds):
        us, _ = _sealed(SIM8, SEALED_VISITS)
        each["seal"].append(us)
    each["bytes"] = [_sealed(DEMO, DEMO_VISITS)[1]]
    best = {name: [min(values)] for name, values in each.items()}
    return [
        Result(
            "a win row appended, blocks closed", "1 us", "CPU us/row", best["append"], [1.0], APPEND_US, multiple=True,
            note=f"{1 / best['append'][0]:.1f} M rows/s to files",
        ),
        Result(
            "a win row sealed", "1 us", "CPU us/row", best["seal"], [1.0], SEAL_US, multiple=True,
            note=f"{best['seal'][0] * 5:.1f} % of a core at 50,000 rows/s",
        ),
        Result(
            "a sealed win row of the demo", "1 byte", "bytes/row", best["bytes"], [1.0], SEALED_BYTES, multiple=True
        ),
    ]  # fmt: skip


def _append(rounds: int) -> list[float]:
    """CPU us of a win row written by compiled code, into files; each round fills blocks and closes them."""
    found = []
    with tempfile.TemporaryDirectory(prefix="rentier-bench-") as folder:
        book = Journal(Path(folder), 0, ("auctions", "wins", "events"))
        config = load_config(SIM8)
        config.exchange.journal = "wins"
        venue = Venue(config, book, Names(None))
        template = np.zeros(1, WIN_ROW)

        def fill() -> None:
            for _ in range(WIN_ROWS // BLOCK_ROWS):
                write_wins(venue.record, template, BLOCK_ROWS)
                book.roll("wins")
                venue.record["wins_block"] = book.address("wins")

        write_wins(venue.record, template, 1)
        book.roll("wins")
        venue.record["wins_block"] = book.address("wins")
        for _ in range(rounds):
            found.append(cpu_us(fill, WIN_ROWS))
        book.close()
    return found


def _sealed(config: Path, visits: int) -> tuple[float, float]:
    """(CPU us, bytes) of a win row when a simulation's ledger is sealed: reading, checking, compressing, syncing."""
    with tempfile.TemporaryDirectory(prefix="rentier-bench-") as place:
        folder = Path(place) / "ledger"
        simulate(config, visits, ledger="wins", folder=folder)
        for path in folder.glob("*.seg"):
            if not path.name.startswith("wins"):
                path.unlink()
        began = time.process_time()
        made: list[Any] = seal(folder, everything=True)
        spent = time.process_time() - began
        wins = [file for file in mf.read(folder).files if file.stream == "wins"]
        rows = sum(file.rows for file in wins)
        assert len(made) == len(wins) and rows > 0
        return spent / rows * 1e6, sum(file.bytes for file in wins) / rows
