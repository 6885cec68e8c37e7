"""Item 4: the handler in process, without sockets: `Line.open` and `Line.close` against the decode of the same request.

Three lines of work are timed in turn on the same requests: `openrtb.validate.decode` alone, the whole handler with no
campaign, and the whole handler with ten local campaigns that all match and all bid. The journal is a real one on disk
with every bid in it, as the server writes it.
"""

import gc
import tempfile
import time
from pathlib import Path
from typing import Final

from bench import sample
from bench.ratio import Result, cpu_us
from exchange.config import parse_config
from exchange.line import Line
from exchange.links import Links
from exchange.opening import open_venue
from exchange.openrtb.validate import decode

TIMES: Final = 16  # passes over the requests in one round
NOW_NS: Final = 1_767_605_400 * 10**9


def line_of(market: str, folder: Path) -> Line:
    """A line on the market of that name (sample.py), its ledger below `folder`."""
    config = parse_config(sample.market(market, str(folder / market)), market, str(folder))
    venue, key = open_venue(config)
    return Line(venue, key, Links(key, "http://127.0.0.1:8080"))


def handle(line: Line, bodies: list[bytes], now_ns: int) -> int:
    """Answer every request; returns how many imps were sold."""
    sold = 0
    for body in bodies:
        opened = line.open(body, now_ns)
        sold += line.close(opened, (), opened.now_ns).sold
    return sold


def decode_all(bodies: list[bytes]) -> None:
    """Decode and validate every request, nothing else."""
    for body in bodies:
        decode(body)


def measure(rounds: int) -> list[Result]:
    """Both results. Raises RuntimeError when not every request sells that should."""
    bodies = sample.requests() * TIMES
    with tempfile.TemporaryDirectory(prefix="rentier-bench-") as folder:
        lines = {name: line_of(name, Path(folder)) for name in ("nobody", "local")}
        reference: list[float] = []
        cost: dict[str, list[float]] = {name: [] for name in lines}
        for line in lines.values():
            handle(line, bodies[: sample.VARIANTS], NOW_NS)
        gc.collect()
        for number in range(rounds):
            now_ns = NOW_NS + number * 10**9
            reference.append(cpu_us(lambda: decode_all(bodies), len(bodies)))
            for name, line in lines.items():
                began = time.process_time_ns()
                sold = handle(line, bodies, now_ns)
                cost[name].append((time.process_time_ns() - began) / len(bodies) / 1_000)
                if sold != (len(bodies) if name == "local" else 0):
                    raise RuntimeError(f"{name}: {sold} of {len(bodies)} requests sold")
                line.venue.flush()
        fates = lines["local"].venue.arrays["fate_counts"][0]
        asked = int(fates.sum()) / int(lines["local"].venue.record["n_auctions"][0])
        for line in lines.values():
            line.venue.close()
    if round(asked, 2) != sample.LOCAL:
        raise RuntimeError(f"{asked} campaigns asked per request, expected {sample.LOCAL}")
    size = len(bodies[0])
    return [
        Result("handler, no bidder", f"decode of the same {size} bytes", "CPU us/request", cost["nobody"], reference, 2.5, True),
        Result(
            f"handler, {sample.LOCAL} local campaigns", f"decode of the same {size} bytes", "CPU us/request",
            cost["local"], reference, 4.0, True,
        ),
    ]  # fmt: skip
