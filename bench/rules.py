"""Rules: 64 campaigns of 64 different rules against 8 of one rule; what the library costs to compile and to load.

`python -m bench.rules` prints, for the process it runs in, the CPU seconds of compiling (or loading) the whole library
and of compiling one small function; `library` starts it with an empty cache folder, and again with the full one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
from numba import njit

from bench.ratio import Result, cpu_us
from exchange import bidding
from exchange.config import Config, parse_config
from exchange.simulate.run import Simulation
from tests.variants import write

DIFFERENT: Final = 64
EQUAL: Final = 8
BIDS: Final = 800_000
STARTS_MAX: Final = 3  # cold starts: each compiles everything
_HEAD: Final = """
[population]
preset = "plain"
people = 5_000
floor_cpm = 0
"""
_CAMPAIGN: Final = """
[[advertiser]]
name = "a{k}"
[[advertiser.campaign]]
name = "c"
rule = "{rule}"
value_cpm = {{ uniform = [0.5, 1.5] }}
[[advertiser.campaign.creative]]
id = "b"
w = 300
h = 250
html = "<p>"
"""


def market(rules: list[str]) -> Config:
    """A campaign for each rule, all of which are asked in every auction."""
    text = _HEAD + "".join(_CAMPAIGN.format(k=k, rule=rule) for k, rule in enumerate(rules))
    config = parse_config(text, "rules")
    config.exchange.journal = "wins"
    return config


def _per_bid(run: Simulation, campaigns: int) -> float:
    """CPU us of the whole loop for each time a rule was asked."""
    before = int(run.venue.campaigns["asked"].sum())
    spent = cpu_us(lambda: run.run(BIDS // campaigns), 1)
    asked = int(run.venue.campaigns["asked"].sum()) - before
    if asked < BIDS * 9 // 10:
        raise RuntimeError(f"{asked} of {BIDS} bids asked for: campaigns dropped out")
    return spent / asked


def measure(rounds: int) -> list[Result]:
    """Speed per bid, then compiling and loading."""
    with tempfile.TemporaryDirectory(prefix="rentier-bench-") as folder:
        names = write(Path(folder), DIFFERENT)
        different, equal = Simulation(market(names)), Simulation(market(names[:1] * EQUAL))
        for run in (different, equal):
            run.run(1_000)
        cost, reference = [], []
        for _ in range(rounds):
            cost.append(_per_bid(different, DIFFERENT))
            reference.append(_per_bid(equal, EQUAL))
    speed = Result(
        f"{DIFFERENT} campaigns of {DIFFERENT} rules",
        f"{EQUAL} campaigns of one rule",
        "CPU us/bid",
        cost,
        reference,
        0.60,
        note=f"{1 / float(np.median(cost)):.1f} M bids/s",
    )
    return [speed, *library(min(rounds, STARTS_MAX))]


def library(starts: int) -> list[Result]:
    """The whole library in a fresh process, cold and then cached, against one small function compiled in it."""
    seconds: dict[str, list[dict[str, float]]] = {"compiled": [], "from cache": []}
    for _ in range(starts):
        with tempfile.TemporaryDirectory(prefix="rentier-bench-") as folder:
            for found in seconds.values():
                found.append(_start(folder))
    n = len(bidding.library())
    return [
        Result(
            f"library of {n} rules, {how}",
            "compiling one small function",
            "CPU s",
            [each["library"] for each in found],
            [each["function"] for each in found],
            multiple=True,
            note=f"{np.median([each['library'] for each in found]):.2f} s",
        )
        for how, found in seconds.items()
    ]


def _start(folder: str) -> dict[str, float]:
    """The CPU seconds that a process with this cache folder needs."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    command = [sys.executable, "-m", "bench.rules"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=600)
    return dict(json.loads(done.stdout))


def _timed() -> dict[str, float]:
    """In this process: the library first, then a function that nothing has compiled before."""
    rules = bidding.library()
    began = time.process_time()
    compiled = bidding.Rules(rules, bidding.campaign_dtype(rules))
    spent = time.process_time() - began
    if compiled.slow:
        raise RuntimeError(f"rules that do not compile: {compiled.slow}")

    def total(values):  # type: ignore[no-untyped-def]
        found = np.int64(0)
        for value in values:
            found += value
        return found

    began = time.process_time()
    njit(total)(np.zeros(1, np.int64))
    return {"library": spent, "function": time.process_time() - began}


if __name__ == "__main__":
    print(json.dumps(_timed()))
