"""Cells of the table: a match rate and a number of campaigns, the index beside both references, in turn, in a process.

No time is taken before all three agree on every request of the cell. Batch times are CPU time of compiled loops over
the same requests; calls are wall time, one request at a time from Python, copying the query included.
"""

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from bench.targeting import table as tb
from bench.targeting.indexed import Indexed
from bench.targeting.references import PlainLoop, ValueBits, value_bits_mb
from bench.targeting.text import hash_of
from bench.targeting.workload import Workload, generate

BITS_MB_MAX: Final = 4_000.0  # beyond that the rows per value are left out
TURN_NS: Final = 40_000_000  # what one side works in one turn of a round, at least
PLAIN_REQUESTS: Final = 24  # the plain loop is slow: of so many requests in one round
CALLS: Final = 2_000  # from Python, in one round
FEW: Final = 10  # campaigns of the cell in which an index could only lose
MILLION: Final = 1_000_000
MILLION_REQUESTS: Final = 100
P50_US: Final = {("low", 100_000): 20.0, ("medium", 100_000): 60.0, ("high", 100_000): 80.0, ("medium", 10_000): 12.0}
P99_US: Final = {(rate, 100_000): 150.0 for rate in tb.RATES}
BITS_TIMES: Final = {("low", 100_000): 10.0, ("medium", 100_000): 5.0, ("high", 100_000): 5.0}
PLAIN_TIMES: Final = {
    ("low", 100_000): 500.0, ("medium", 100_000): 180.0, ("high", 100_000): 100.0,
    **{(rate, FEW): 1.0 for rate in tb.RATES},
}  # fmt: skip
MEMORY_MB: Final = {(rate, 100_000): 80.0 for rate in tb.RATES}


class Disagreement(RuntimeError):
    """Two implementations found different campaigns: no time of theirs means anything."""


class Cell(Struct):
    """What was measured of one match rate and number of campaigns; one number a round, in us, where a list.

    p50, p90, p99: calls from Python; batch and bits: compiled loops over the same requests; plain and batch_plain: over
    a few of them. bits is empty where its rows would take more than BITS_MB_MAX.
    """

    rate: str
    campaigns: int
    requests: int
    match_rate: float
    memory_mb: float
    sizes_mb: dict[str, float]
    put_s: float
    settle_s: float
    bits_mb: float
    plain_mb: float
    bits_build_s: float
    p50: list[float]
    p90: list[float]
    p99: list[float]
    batch: list[float]
    bits: list[float]
    plain: list[float]
    batch_plain: list[float]

    @property
    def key(self) -> tuple[str, int]:
        """How demands name the cell."""
        return self.rate, self.campaigns

    @property
    def bits_times(self) -> float | None:
        """How many times the time of `batch` the rows per value take: median of the rounds."""
        return median(b / a for a, b in zip(self.batch, self.bits, strict=True)) if self.bits else None

    @property
    def plain_times(self) -> float:
        """How many times the time of `batch_plain` the plain loop takes: median of the rounds."""
        return median(b / a for a, b in zip(self.batch_plain, self.plain, strict=True))

    @property
    def quiet(self) -> int:
        """The round in which the machine disturbed least."""
        return int(np.argmin(self.p50))

    def misses(self) -> list[str]:
        """What is demanded and not met, absolute times by the quietest round."""
        found = []
        for name, unit, demands, value, least in (
            ("p50", "us", P50_US, self.p50[self.quiet], False),
            ("p99", "us", P99_US, min(self.p99), False),
            ("memory", "MB", MEMORY_MB, self.memory_mb, False),
            ("faster than rows per value", "x", BITS_TIMES, self.bits_times, True),
            ("faster than one by one", "x", PLAIN_TIMES, self.plain_times, True),
        ):
            wanted = demands.get(self.key)
            if wanted is not None and (value is None or (value < wanted if least else value > wanted)):
                got = "not measured" if value is None else f"{value:.3g}"
                sign = ">=" if least else "<="
                found.append(f"{self.campaigns} {self.rate}: {name} {got}, demanded {sign} {wanted:g} {unit}")
        return found


def found_by(match: Callable[[int], int], out: NDArray[np.int32], requests: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Count and hash per request."""
    pairs = []
    for request in requests:
        n = match(int(request))
        pairs.append((n, int(hash_of(out, n))))
    return pairs


def check(work: Workload, sides: dict[str, Indexed | PlainLoop | ValueBits], requests: NDArray[np.int64]) -> int:
    """Compare counts and hashes of all sides, and a few of them in a batch, which is compiled by that.

    Returns the sum of counts; raises Disagreement.
    """
    answers = {name: found_by(side.match, side.out, requests) for name, side in sides.items()}
    expected = answers["one by one"]
    for name, pairs in answers.items():
        for request, got, wanted in zip(requests, pairs, expected, strict=True):
            if got != wanted:
                raise Disagreement(
                    f"{work.rate}, {work.n_campaigns} campaigns, request {request}: {name} finds {got[0]} campaigns "
                    f"(hash {got[1]:016x}), the plain loop {wanted[0]} ({wanted[1]:016x})"
                )
    few = sum(n for n, _ in expected[:4])
    for name, side in sides.items():
        if (n := side.match_many(requests[:4])) != few:
            raise Disagreement(f"{work.rate}, {work.n_campaigns} campaigns, batch of 4: {name} finds {n}, not {few}")
    return sum(n for n, _ in expected)


def warm() -> None:
    """Build an index of a few campaigns and one of many: no cell's build time has compilation in it."""
    for campaigns in (FEW, 2_000):
        Indexed(generate("medium", campaigns, 1)).match(0)


def _turn_us(match_many: Callable[[NDArray[np.int64]], int], requests: NDArray[np.int64]) -> float:
    """CPU time per request of a compiled loop, repeated until a turn is over."""
    done, began = 0, time.process_time_ns()
    while True:
        match_many(requests)
        done += requests.size
        spent = time.process_time_ns() - began
        if spent >= TURN_NS:
            return spent / done / 1_000


def measure(rate: str, campaigns: int, requests: int, rounds: int, bits_mb_max: float = BITS_MB_MAX) -> Cell:
    """One cell. Raises Disagreement when the three do not find the same campaigns."""
    work = generate(rate, campaigns, requests)
    index, plain = Indexed(work), PlainLoop(work)
    sides: dict[str, Indexed | PlainLoop | ValueBits] = {"one by one": plain, "the index": index}
    bits_mb, bits, began = value_bits_mb(work), None, time.perf_counter()
    if bits_mb <= bits_mb_max:
        sides["rows per value"] = bits = ValueBits(work)
    bits_build_s = time.perf_counter() - began
    everyone = np.arange(requests)
    matches = check(work, sides, everyone)
    cell = Cell(
        rate, campaigns, requests, matches / campaigns / requests, index.memory_mb,
        {name: size / 1e6 for name, size in index.targets.sizes().items()}, index.put_s, index.settle_s,
        bits_mb, plain.memory_mb, bits_build_s, [], [], [], [], [], [], [],
    )  # fmt: skip
    few = max(1, requests // PLAIN_REQUESTS)
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            ns = index.times_ns(-(-CALLS // requests))
            for name, percent in (("p50", 50), ("p90", 90), ("p99", 99)):
                getattr(cell, name).append(float(np.percentile(ns, percent)) / 1_000)
            cell.batch.append(_turn_us(index.match_many, everyone))
            if bits is not None:
                cell.bits.append(_turn_us(bits.match_many, everyone))
            some = everyone[number % few :: few]
            cell.plain.append(_turn_us(plain.match_many, some))
            cell.batch_plain.append(_turn_us(index.match_many, some))
    finally:
        gc.enable()
    return cell


def table(cells: list[Cell]) -> str:
    """The cells as text: medians of the rounds, and the quietest round's p50 and p99 behind a slash."""
    head = (
        f"{'campaigns':>9} {'rate':<6} {'match %':>8} {'p50 us':>13} {'p90':>6} {'p99':>13} {'batch':>7} "
        f"{'x bits':>7} {'x plain':>8} {'MB':>7} {'bits MB':>8} {'put s':>6} {'settle s':>8}"
    )
    lines = [head]
    for c in cells:
        times = f"{c.bits_times:.1f}" if c.bits_times is not None else "-"
        lines.append(
            f"{c.campaigns:>9} {c.rate:<6} {100 * c.match_rate:>8.4f} "
            f"{f'{median(c.p50):.1f} / {c.p50[c.quiet]:.1f}':>13} {median(c.p90):>6.1f} "
            f"{f'{median(c.p99):.0f} / {min(c.p99):.0f}':>13} {median(c.batch):>7.2f} {times:>7} {c.plain_times:>8.1f} "
            f"{c.memory_mb:>7.1f} {c.bits_mb:>8.0f} {c.put_s:>6.1f} {c.settle_s:>8.2f}"
        )
    return "\n".join(lines)
