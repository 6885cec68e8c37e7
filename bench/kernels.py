"""Items 5-7: compiled code against what the machine can do, measured in the same round.

Clearing against reading the same memory once; the whole simulation loop against a fixed piece of compiled work (draws
of the generator that everything uses); the journal against writing the same bytes to warm memory.
"""

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.ratio import Result, cpu_us
from exchange import market as mk
from exchange.auction import rows
from exchange.auction.batch import clear_many
from exchange.auction.venue import Venue
from exchange.config import Config, load_config
from exchange.randomness import RULE, draw
from exchange.rent.journal import BLOCK_ROWS, Journal
from exchange.rent.names import Names
from exchange.simulate.run import Simulation

AUCTIONS: Final = 1_000_000
BIDDERS: Final = 10
VISITS: Final = 300_000
DRAWS: Final = 2_000_000
DRAWS_PER_AUCTION: Final = 68  # 1 M auctions/s/core on a core that needs 14.6 ns for a draw
ROWS: Final = 16 * BLOCK_ROWS
SIM8: Final = Path(__file__).with_name("sim8.toml")


@njit(cache=True, nogil=True)
def total(values):  # type: ignore[no-untyped-def]
    """Read every number once."""
    found = np.int64(0)
    for value in values:
        found += value
    return found


@njit(cache=True, nogil=True)
def draws(n):  # type: ignore[no-untyped-def]
    """`n` keyed draws, as many words added up."""
    found = np.uint64(0)
    for i in range(n):
        word, _, _, _ = draw(7, i, 0, 1, RULE)
        found += word
    return found


@njit(cache=True, nogil=True)
def write_auctions(venue, opportunity, sold, n):  # type: ignore[no-untyped-def]
    """Append `n` auction rows to the open block, as a sale does."""
    for _ in range(n):
        rows.auction_row(venue[0], opportunity[0], sold[0], 8, 8, 0)


@njit(cache=True, nogil=True)
def fill(words, value):  # type: ignore[no-untyped-def]
    """Write every word once."""
    for i in range(words.size):
        words[i] = value


def bid_matrix(n: int = AUCTIONS) -> NDArray[np.int64]:
    """int64[n, BIDDERS] net bids, some below the floor, few equal."""
    return np.random.default_rng(1).integers(1, 5_000_000, (n, BIDDERS))


def clearing(rounds: int) -> list[Result]:
    """1 M auctions of 10 bids against the sum of the same array."""
    bids, winner, price = bid_matrix(), np.zeros(AUCTIONS, np.int32), np.zeros(AUCTIONS, np.int64)
    flat = bids.reshape(-1)

    def clear() -> None:
        clear_many(bids, 400_000, 10_000, 7, 1, winner, price)

    clear()
    total(flat)
    cost, reference = [], []
    for _ in range(rounds):
        cost.append(cpu_us(clear, AUCTIONS))
        reference.append(cpu_us(lambda: total(flat), AUCTIONS))
    return [
        Result(
            f"clear {AUCTIONS // 10**6} M auctions x {BIDDERS} bids", "one read of the same array", "CPU us/auction",
            cost, reference, 0.20, note=f"{np.median(cost) * 1_000:.1f} ns an auction",
        )
    ]  # fmt: skip


def simulation(rounds: int) -> list[Result]:
    """The whole loop of sim8.toml, win rows in memory, against keyed draws."""
    config: Config = load_config(SIM8)
    config.exchange.journal = "wins"
    warm = Simulation(config)
    warm.run(1_000)
    warm.finish()
    draws(1)
    cost, reference, sold = [], [], 0
    for _ in range(rounds):
        run = Simulation(config)
        run.run(1_000)
        before = int(run.venue.record["n_auctions"][0])
        spent = cpu_us(lambda: run.run(VISITS), 1)  # noqa: B023 - called at once
        auctions = int(run.venue.record["n_auctions"][0]) - before
        cost.append(spent / auctions)
        done = run.finish()
        assert done.ledger is not None
        sold = len(done.ledger.wins)
        reference.append(cpu_us(lambda: draws(DRAWS), DRAWS))
    if sold < VISITS // 4:
        raise RuntimeError(f"{sold} wins of {VISITS} visits: the market of {SIM8.name} is empty")
    rate = 1 / float(np.median(cost))
    return [
        Result(
            "simulation, 8 campaigns", "one keyed draw (Philox4x32-10)", "CPU us/auction", cost, reference,
            demanded=DRAWS_PER_AUCTION, multiple=True, note=f"{rate:.2f} M auctions/s/core",
        )
    ]  # fmt: skip


def journal(rounds: int) -> list[Result]:
    """Auction rows into a journal on disk, and the closing of a block, against plain writes and a checksum."""
    import zlib

    width = mk.AUCTION_ROW.itemsize
    words = np.zeros(BLOCK_ROWS * width // 8, np.int64)
    payload = np.random.default_rng(2).bytes(BLOCK_ROWS * width)
    opportunity, sold = np.zeros(1, mk.OPPORTUNITY), np.zeros(1, mk.SOLD)
    cost: dict[str, list[float]] = {"row": [], "fill": [], "roll": [], "crc": []}
    with tempfile.TemporaryDirectory(prefix="rentier-bench-") as folder:
        book = Journal(Path(folder), 0, ("auctions", "wins", "events"))
        config = load_config(SIM8)
        config.exchange.journal = "wins"
        venue = Venue(config, book, Names(None))
        write_auctions(venue.record, opportunity, sold, 0)
        fill(words, 1)
        for _ in range(rounds):
            spent = dict.fromkeys(cost, 0.0)
            for _ in range(ROWS // BLOCK_ROWS):
                spent["row"] += _append(venue, opportunity, sold)
                spent["roll"] += cpu_us(lambda: _roll(venue, book), 1)
                spent["fill"] += cpu_us(lambda: fill(words, 1), 1)
                spent["crc"] += cpu_us(lambda: zlib.crc32(payload), 1)
            for name, us in spent.items():
                cost[name].append(us / (ROWS // BLOCK_ROWS if name in ("roll", "crc") else ROWS))
        book.close()
    rate = 1 / float(np.median(cost["row"]))
    return [
        Result(
            "journal, append a row", f"a write of its {width} bytes to warm memory", "CPU us/row", cost["row"],
            cost["fill"], multiple=True, note=f"{rate:.1f} M rows/s",
        ),
        Result(
            "journal, roll a block", f"the crc32 of its {BLOCK_ROWS * width // 1024} KiB", "CPU us/block",
            cost["roll"], cost["crc"], multiple=True,
        ),
    ]  # fmt: skip


def _append(venue: Venue, opportunity: NDArray[Any], sold: NDArray[Any]) -> float:
    """CPU us to fill the open block with rows."""
    return cpu_us(lambda: write_auctions(venue.record, opportunity, sold, BLOCK_ROWS), 1)


def _roll(venue: Venue, book: Journal) -> None:
    """Close the full block and point the venue at the next."""
    book.roll("auctions")
    venue.record["auctions_block"] = book.address("auctions")
