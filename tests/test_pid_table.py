"""The table of Zhang and others (2016): 80 rounds of PID control on a real log, to the last printed digit.

The log is not part of this repository (its licence is non-commercial): without it the test is skipped, except in CI.
Conventions, all of them the authors': prices are integers of 1 CPM; the base bid is int(69 x pCTR / mean pCTR of the
training log); round 0 bids 1,000; no bid is below 5; a bid must be *above* the market price, so "5" stands here as 5
minus a nano; x = cost / (clicks + 1); phi within [-2, 5]; rounds of 2,500
auctions; phi is set by what is known when a round begins.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from exchange.config import parse_config
from exchange.simulate.run import Simulation

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "ipinyou-rtbcontrol-1458"
ROUND, ROUNDS = 2_500, 40
CONFIG = """
[auction]
min_to_win = false
[population]
log = "{log}.tsv"
people = 1
placements = 1
view_delay_ms = 0
click_delay_ms = 0
[[advertiser]]
name = "ours"
[[advertiser.campaign]]
name = "1458"
rule = "pid"
value_click = {value_click!r}
[advertiser.campaign.knobs]
target_nano = 40_000_000_000
explore_nano = 1_000_000_000
unit_nano = 1_000_000
least_nano = 4_999_999
[[advertiser.campaign.creative]]
id = "banner"
w = 300
h = 250
html = "<p>"
"""


def log_of(name: str, folder: Path) -> list[list[str]]:
    """Write one of the authors' logs as ours into a folder; returns its rows: click, price, pCTR, exchange."""
    rows = [line.split("\t") for line in (DATA / f"{name}.txt").read_text().splitlines()]
    lines = ["click\tprice_cpm\tpctr\texchange", *("\t".join(row) for row in rows)]
    (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return rows


def printed(name: str) -> list[list[str]]:
    """The 40 rows of the table for one log, as printed."""
    found: list[list[str]] = []
    for line in (DATA / "expected_pid_demo_table.tsv").read_text().splitlines():
        if line.endswith("performance:"):
            here = line.startswith(name)
        elif here and line[0].isdigit():
            found.append(line.split("\t"))
    return found


@pytest.mark.skipif(
    not DATA.is_dir() and not os.environ.get("CI"), reason=f"no {DATA.name} in ../shared/data: not part of this repo"
)
def test_the_table_of_the_paper_to_the_digit(tmp_path):
    rates = [float(row[2]) for row in log_of("train", tmp_path)]
    value_click = 69 * len(rates) / sum(rates) / 1000  # 69 CPM for an impression of the mean click rate
    clicked = {name: sum(int(row[0]) for row in log_of(name, tmp_path)) for name in ("train", "test")}
    for name in ("test", "train"):
        config = parse_config(CONFIG.format(log=name, value_click=value_click), name, str(tmp_path))
        config.exchange.journal = "wins"
        simulation = Simulation(config)
        me, phis = simulation.venue.campaigns[0], []
        for _ in range(ROUNDS):
            simulation.run(ROUND)
            phis.append(float(me["phi"]))
        run = simulation.finish()
        wins, events = run.ledger.wins, run.ledger.events
        clicks = events[events["kind"] == 11]
        expected = printed(name)
        assert len(expected) == ROUNDS
        for k, row in enumerate(expected):
            past = wins[wins["auction_id"] <= (k + 1) * ROUND]
            cost = int(past["buyer_total_nano"].sum()) / 1e6
            n = int(np.count_nonzero(clicks["auction_id"] <= (k + 1) * ROUND))
            figures = (cost / (n + 1), phis[k], n, n / clicked[name], past.size / (ROUND * ROUNDS), cost, 40_000)
            got = "{:d}\t{:.4f}\t{:.4f}\t{:d}\t{:.4f}\t{:.4f}\t{:.4f}\t{:.1f}".format(k, *figures).split("\t")
            assert got == row, f"{name}, round {k}"
