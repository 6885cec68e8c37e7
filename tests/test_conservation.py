"""Conservation: whatever was sold, clicked, refunded or let expire, what advertisers paid is what the parties have.

Real runs of the simulation with each fee preset: clicks and conversions billed, an advertiser with fees of its own, two
with money of their own, a holdout, a budget that runs out, holds that expire, refunds in parts. Nothing may be off by
one nano.
"""

import numpy as np
import pytest

from exchange import market as mk
from exchange.books.postings import ACCOUNTS, Postings, balance, party_columns
from exchange.books.reconcile import reconcile
from exchange.config import Config, parse_config
from exchange.rent.waterfall import PRESETS
from exchange.simulate.run import Run, Simulation

VISITS_CHUNK = 1_000_000
REFUNDS_PART = 3_000  # awards given back, in part or whole, after each quarter of a run
MARKET = """
[exchange]
seed = {seed}
journal = "{journal}"
[server]
hold_s = 20
awards_max = 65536
[fees]
sell = "{preset}"
buy = "{preset}"
fx_bps = 37
[fees.set.house]
addon_bps = 1234
fixed_cpm = 0.017
dsp = 3
verify = 2
tax = 1
[rates]
USD = 0.9137
GBP = 1.170003
[population]
people = 50000
preset = "plain"
view_rate = 0.85
ctr = 0.05
cvr = 0.3
qps = 4000
view_delay_ms = 200
click_delay_ms = 500
conversion_delay_ms = 8000
"""
ADVERTISER = """
[[advertiser]]
name = "{name}"
{terms}
[[advertiser.campaign]]
name = "all"
{keys}
[[advertiser.campaign.creative]]
id = "box"
w = 300
h = 250
html = "<p>an ad</p>"
"""
WHO = (
    ("plain", "", "value_cpm = { uniform = [0.5, 4.0] }"),
    ("house", 'fees = "house"', "value_cpm = { uniform = [0.5, 4.0] }"),
    ("dollars", 'currency = "USD"', "value_cpm = { lognormal = [0.4, 0.7] }"),
    ("pounds", 'currency = "GBP"\nfees = "house"\nholdout = 0.3', 'value_click = 0.065\npctr = 0.05\nbill = "click"'),
    ("shop", "", 'value_conversion = 0.2\npctr = 0.05\npcvr = 0.3\nbill = "conversion"'),
    ("small", 'currency = "USD"\nfees = "isba2020"', "value_cpm = 6.0\nbudget = {budget}\ndaily = {daily}"),
)


def market(preset: str, seed: int, visits: int, journal: str) -> Config:
    """Six buyers of one slot; the small one's money ends after a share of the visits, and within each day."""
    text = MARKET.format(preset=preset, seed=seed, journal=journal)
    for name, terms, keys in WHO:
        budget = {"budget": visits * 0.0004, "daily": visits * 0.0003}
        text += ADVERTISER.format(name=name, terms=terms, keys=keys.format(**budget) if name == "small" else keys)
    return parse_config(text)


def give_back(venue, draw: np.random.Generator, n: int) -> int:
    """Refund some of the awards that are remembered, in parts or at once; returns how many refunds were recorded."""
    awards, now, done = venue.arrays["awards"], int(venue.record["now_ns"][0]), 0
    billed = awards[awards["status"] == mk.BILLED]
    for award in billed[draw.permutation(billed.size)[:n]].copy():
        serial, auction, hold = int(award["serial"]), int(award["auction_id"]), int(award["hold_nano"])
        parts = [0] if draw.random() < 0.4 else [1 + int(draw.integers(0, max(1, hold // 2))), int(draw.integers(0, 2))]
        for number, amount in enumerate(parts, 1):
            done += venue.event(mk.KIND_REFUND, serial, auction, now, amount, number) == mk.KIND_REFUND
    return done


def play(preset: str, seed: int, visits: int, journal: str = "bids") -> tuple[Run, int]:
    """One market from beginning to end; refunds come after each quarter."""
    simulation, draw, refunds = Simulation(market(preset, seed, visits, journal)), np.random.default_rng(seed), 0
    for _ in range(4):
        simulation.run(visits // 4)
        refunds += give_back(simulation.venue, draw, min(REFUNDS_PART, visits // 20))
    return simulation.finish(), refunds


def conserved(run: Run, refunds: int) -> dict[str, int]:
    """Assert that nothing came or went; returns what was in the mix."""
    ledger, venue = run.ledger, run.venue
    assert ledger is not None
    result = reconcile(ledger)
    assert (result.count, result.differences) == (0, []) and result.skipped.keys() <= {"I14", "I15"}
    postings = Postings(ledger)
    debit, credit = postings.sums(np.zeros(len(postings), np.int64), 1)
    assert debit.sum() == credit.sum() and postings.refund.sum() == refunds
    paid = dict(zip(ACCOUNTS, (debit - credit)[0].tolist(), strict=True))
    assert paid["advertiser"] == -sum(paid[party] for party in mk.PARTIES) > 0
    assert all(paid[party] <= 0 for party in mk.PARTIES)
    of_campaign = {line.keys[0]: line for line in balance(ledger, ("campaign", "party"), postings).lines
                   if line.keys[1] == "advertiser"}  # fmt: skip
    for name, money in venue.money().items():
        line = of_campaign[name]
        assert money["held"] == 0 and money["spent"] == line.balance_nano
        assert money["spent"] + money["available"] == money["budget"]
    kinds = np.bincount(ledger.events["kind"], minlength=32)
    spent_all = venue.money()["small/all"]
    return {
        "wins": len(ledger.wins), "billed": len(postings) - refunds, "refunds": refunds,
        "expired": int(kinds[mk.KIND_RELEASE]), "unpaid": int(kinds[mk.KIND_UNPAID]),
        "billed clicks": int(kinds[mk.KIND_BILLED_CLICK]), "billed conversions": int(kinds[mk.KIND_BILLED_CONVERSION]),
        "fx_nano": int(party_columns(ledger.wins)[:, mk.PARTIES.index("fx")].sum()),
        "wins of small": spent_all["wins"], "spend_nano": paid["advertiser"],
    }  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_is_lost_in_a_mixed_market(preset):
    visits = 40_000
    mix = conserved(*play(preset, 11, visits))
    for name in ("billed", "refunds", "expired", "billed clicks", "billed conversions", "fx_nano"):
        assert mix[name] > 0, name
    assert mix["wins"] > 0.9 * visits
    assert 0 < mix["wins of small"] < 0.5 * visits, "its money is to run out"


def test_a_nano_that_is_lost_is_seen():
    run, refunds = play("isba2020", 5, 8_000)
    rows = run.ledger.events
    refund = np.flatnonzero(rows["kind"] == mk.KIND_REFUND)[3]
    rows["paid_nano"][refund] -= 1
    with pytest.raises(AssertionError):
        conserved(run, refunds)


@pytest.mark.torture
@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_is_lost_in_ten_million_wins(preset):
    """In markets of a million visits one after the other, so that memory stays that of one."""
    first = int(np.random.SeedSequence().generate_state(1)[0])
    total: dict[str, int] = {}
    chunk = 0
    while total.get("wins", 0) < 10_000_000:
        for name, n in conserved(*play(preset, first + chunk, VISITS_CHUNK, "wins")).items():
            total[name] = total.get(name, 0) + n
        chunk += 1
    print(f"\n{preset}: seeds {first} to {first + chunk - 1}: " + ", ".join(f"{k} {v:,}" for k, v in total.items()))
