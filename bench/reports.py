"""`python -m bench.reports`: how long a report over 10 M rows takes, as a whole command, and how much memory.

python -m bench.reports [--bids] [--visits 4700000] [--rounds 3] [--ledger FOLDER] [--live] [--only REPORT] [--check]

A ledger is simulated (sim8.toml, budgets that last, 300,000 people) and sealed; then every report runs in a process of
its own. Wall time is the best of the rounds, because other work on the machine can only add to it; CPU time stands
beside it. The reference, in the same rounds, is what one would write first: all rows of wins, events and auctions as
arrays, joined by sorting, people counted by `numpy.unique` over (advertiser, person).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from msgspec import Struct

from exchange import simulate
from exchange.config import load_config
from exchange.rent.ledger import Ledger
from exchange.rent.seal import seal

SIM8: Final = Path(__file__).with_name("sim8.toml")
VISITS: Final = 4_700_000  # about 10 M rows: 5.0 M auctions, 2.9 M wins, 2.9 M events
VISITS_BIDS: Final = 2_500_000  # the same: 2.6 M auctions, 4.3 M bids, 1.5 M wins, 1.5 M events
PEOPLE: Final = 300_000
HELD_OUT: Final = 0.1
SUMMARY_S: Final = 2.0  # demanded of `report summary`
ANY_S: Final = 10.0  # and of every other report
NAIVE: Final = """
import sys
import numpy as np
from exchange.rent.ledger import Ledger
ledger = Ledger(sys.argv[1])
wins, events, auctions = ledger.wins, ledger.events, ledger.auctions
order = np.argsort(wins["serial"], kind="stable")
billed = events[np.isin(events["kind"], (10, 15, 17))]
terms = wins[order[np.searchsorted(wins["serial"], billed["serial"], sorter=order)]]
known = terms[terms["person_key"] != 0]
pairs = np.unique(np.stack([known["advertiser"].astype(np.uint64), known["person_key"]], axis=1), axis=0)
print(len(pairs), int(terms["buyer_total_nano"].sum()), int(auctions["sold"].sum()))
"""


class Timed(Struct):
    """The best of some runs of one command."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    code: int


def timed(command: list[str], rounds: int) -> Timed:
    """Run a command some times in processes of its own."""
    best = Timed(float("inf"), float("inf"), 0.0, 0)
    for _ in range(rounds):
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            told = process.stderr.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        best.wall_s = min(best.wall_s, time.perf_counter() - began)
        best.cpu_s = min(best.cpu_s, usage.ru_utime + usage.ru_stime)
        best.peak_mb = max(best.peak_mb, usage.ru_maxrss / 1e3)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}: {told.strip()}")
    return best


def build(folder: Path, visits: int, sealed: bool, journal: str) -> None:
    """Simulate a ledger; with bids in the journal, a tenth of the people are held out."""
    config = load_config(SIM8)
    config.population.people = PEOPLE
    for advertiser in config.advertiser:
        advertiser.holdout = HELD_OUT if journal == "bids" else 0.0
        for campaign in advertiser.campaign:
            campaign.budget = 1_000_000
    simulate(config, visits, ledger=journal, folder=folder)
    if sealed:
        seal(folder, everything=True)


def names() -> list[str]:
    """The reports there are."""
    from exchange.report.command import names as known

    return [name for name in known() if name != "ad_load"]  # which has no ledger


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.reports", description="Reports over 10 M rows.")
    parser.add_argument("--visits", type=int, help="visits to simulate (default: about 10 M rows)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each report")
    parser.add_argument("--ledger", type=Path, help="a ledger that is there, instead of a simulated one")
    parser.add_argument("--bids", action="store_true", help="journal the bids too, for lost and the holdouts")
    parser.add_argument("--live", action="store_true", help="leave the simulated ledger unsealed")
    parser.add_argument("--only", help="one report")
    parser.add_argument("--check", action="store_true", help="exit 1 when a report misses its bar")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rentier-bench-") as scratch:
        folder = args.ledger or Path(scratch) / "ledger"
        if args.ledger is None:
            visits = args.visits or (VISITS_BIDS if args.bids else VISITS)
            build(folder, visits, not args.live, "bids" if args.bids else "wins")
        ledger = Ledger(folder)
        rows = {
            s: sum(w.chains[s].rows for w in ledger.workers if s in w.chains)
            for s in ("auctions", "bids", "wins", "events")
        }
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        print(", ".join(f"{n:,} {stream}" for stream, n in rows.items()), f"= {sum(rows.values()):,} rows,",
              f"{size / 1e6:,.0f} MB on disk")  # fmt: skip
        naive = timed([sys.executable, "-c", NAIVE, str(folder)], 1)
        print(f"{'report':<16}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'bar s':>7}{'':>6}{'x naive':>9}")
        missed = False
        for name in [args.only] if args.only else names():
            found = timed([sys.executable, "-m", "exchange", "report", name, str(folder)], args.rounds)
            bar = SUMMARY_S if name == "summary" else ANY_S
            missed |= found.wall_s > bar
            word = "ok" if found.wall_s <= bar else "MISS"
            print(f"{name:<16}{found.wall_s:>8.2f}{found.cpu_s:>8.2f}{found.peak_mb:>9,.0f}{bar:>7.0f}{word:>6}"
                  f"{naive.cpu_s / found.cpu_s:>9.1f}")  # fmt: skip
        print(f"{'naive summary':<16}{naive.wall_s:>8.2f}{naive.cpu_s:>8.2f}{naive.peak_mb:>9,.0f}")
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
