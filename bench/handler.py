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

PASSES: Final = 24  # over the requests, in one round
DEMANDED: Final = {"nobody": 2.5, "local": 4.0}
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
    bodies = sample.requests()
    passed = len(bodies) * PASSES
    with tempfile.TemporaryDirectory(prefix="rentier-bench-") as folder:
        lines = {name: line_of(name, Path(folder)) for name in ("nobody", "local")}
        cost: dict[str, list[float]] = {name: [] for name in ("decode", *lines)}
        for line in lines.values():
            handle(line, bodies, NOW_NS)
        gc.collect()
        for number in range(rounds):
            now_ns = NOW_NS + number * 10**9
            spent, sold = dict.fromkeys(cost, 0.0), dict.fromkeys(cost, 0)
            for _ in range(PASSES):  # short turns, so that a slow spell of the machine falls on all alike
                spent["decode"] += cpu_us(lambda: decode_all(bodies), passed)
                for name, line in lines.items():
                    began = time.process_time_ns()
                    sold[name] += handle(line, bodies, now_ns)
                    spent[name] += (time.process_time_ns() - began) / passed / 1_000
            for name, us in spent.items():
                cost[name].append(us)
            if sold["nobody"] or sold["local"] != passed:
                raise RuntimeError(f"{sold} sold of {passed} requests")
        fates = lines["local"].venue.arrays["fate_counts"][0]
        asked = int(fates.sum()) / int(lines["local"].venue.record["n_auctions"][0])
        for line in lines.values():
            line.venue.close()
    if round(asked, 2) != sample.LOCAL:
        raise RuntimeError(f"{asked} campaigns asked per request, expected {sample.LOCAL}")
    against = f"decode of the same {len(bodies[0])} bytes"
    titles = {"nobody": "handler, no bidder", "local": f"handler, {sample.LOCAL} local campaigns"}
    return [
        Result(titles[name], against, "CPU us/request", cost[name], cost["decode"], demanded, multiple=True)
        for name, demanded in DEMANDED.items()
    ]
