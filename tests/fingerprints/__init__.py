"""Fingerprints of the rules: what each bids on a grid, and what comes of it in a fixed market, in integers.

One readable file a rule, beside this one. `python -m tests.fingerprints` writes them anew; tests/test_fingerprints.py
compares. After Axelrod's fingerprints: a change of a rule, or of the market under all of them, cannot go unseen.
"""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from exchange import bidding, simulate
from exchange import market as mk
from exchange.config import Config, parse_config

FOLDER: Final = Path(__file__).parent
AUCTIONS: Final = 1_000
VALUES_CPM: Final = (0.05, 0.2, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0)
FLOORS_CPM: Final = (0.0, 0.4, 1.2, 3.0)
PLAYS: Final = {
    "second_price": 'format = "second_price"',
    "first_price": 'format = "first_price"',
    "first_price, nobody told what wins": 'format = "first_price"\nmin_to_win = false',
}
NEW: Final = "a stranger"
KNOWN: Final = "an own customer, rented 3 times, last a day ago"
SEEN: Final = {NEW: {"contacts": 0, "own": 0, "since_s": -1}, KNOWN: {"contacts": 3, "own": 1, "since_s": 86_400}}
_NOW_NS: Final = 1_767_657_600 * mk.NANO  # 2026-01-06, midnight UTC
_MARKET: Final = """
[exchange]
seed = 20260105
[auction]
{auction}
[population]
preset = "plain"
people = 200
qps = 0.02
floor_cpm = 0.2
ctr = 0.05
"""
_CAMPAIGN: Final = """
[[advertiser]]
name = "{name}"
own_share = 0.3
[[advertiser.campaign]]
name = "c"
rule = "{rule}"
value_cpm = {value}
pctr = 0.05
{terms}
[[advertiser.campaign.creative]]
id = "b"
w = 300
h = 250
html = "<p>ad</p>"
"""
# who else is there: two who tell the truth, one who bids less and one who bids more than it is worth
_FIELD: Final = (
    ("north", "truthful", "{ uniform = [0.2, 1.8] }", ""),
    ("east", "truthful", "{ lognormal = [-0.5, 0.8] }", ""),
    ("south", "linear", "{ uniform = [0.5, 2.0] }", "knobs = { factor = 0.7 }"),
    ("west", "linear", "{ exponential = 0.6 }", "knobs = { factor = 1.2 }"),
)


def market(rule: str, play: str) -> Config:
    """The rule against the field, with a budget for some two thirds of what the truth would buy."""
    me = ("me", rule, "{ uniform = [0.4, 2.4] }", "budget = 0.2")
    bidders = "".join(
        _CAMPAIGN.format(name=name, rule=rule, value=value, terms=terms) for name, rule, value, terms in (me, *_FIELD)
    )
    return parse_config(_MARKET.format(auction=PLAYS[play]) + bidders, "fingerprint")


def bids(rule: Any, person: dict[str, int]) -> dict[str, list[int]]:
    """Gross nano by value (a row) and floor, at the default knobs, in the middle of a budget and of a day."""
    fixed = {name: 0 for name, _ in mk.CAMPAIGN_FIELDS}
    fixed |= {"available": 50 * mk.NANO, "spent": 50 * mk.NANO, "budget": 100 * mk.NANO, "daily": mk.BUDGET_MAX_NANO}
    fixed |= {"asked": 1_000, "wins": 100, "end_ns": 2**62}
    imp = {"now": _NOW_NS + mk.NANO * 43_200, "u": 0.5, "hour": 12, "size": 300 << 16 | 250, "media": 1, "pctr": 0.002}
    imp |= {"pcvr": 0.02, "format": mk.SECOND_PRICE} | person
    rows = {}
    for value in VALUES_CPM:
        me = SimpleNamespace(**fixed, **deepcopy(rule.defaults))
        seen = [SimpleNamespace(**imp, floor=mk.cpm_up(floor)) for floor in FLOORS_CPM]
        rows[f"{value:.2f}"] = [int(rule.price(mk.cpm_down(value), each, me)) for each in seen]
    return rows


@cache
def played(rule: str, play: str) -> dict[str, int]:
    """What 1,000 auctions against the field came to; money in nano, of billed impressions."""
    run = simulate(market(rule, play), AUCTIONS)
    assert run.ledger is not None
    ident = run.venue.campaigns[0]["id"]
    wins = run.ledger.wins[run.ledger.wins["campaign"] == ident]
    billed = run.ledger.events[
        (run.ledger.events["campaign"] == ident) & np.isin(run.ledger.events["kind"], mk.BILLING)
    ]
    value = wins["value_nano"][np.isin(wins["serial"], billed["serial"])]
    spend, people = int(billed["paid_nano"].sum()), int(np.unique(billed["person_key"]).size)
    return {
        "asked": int(run.venue.campaigns[0]["asked"]),
        "wins": int(wins.size),
        "billed": int(billed.size),
        "spend_nano": spend,
        "surplus_nano": int(value.sum()) - spend,
        "people": people,
        "rent_per_person_nano": spend // people if people else 0,
    }


def fingerprint(name: str) -> dict[str, Any]:
    """Everything that is kept of a built-in rule."""
    rule = bidding.library()[name]
    return {
        "rule": name,
        "bid_nano, a row a value_cpm, a column a floor_cpm": {
            "floor_cpm": list(FLOORS_CPM),
            **{who: bids(rule, person) for who, person in SEEN.items()},
        },
        f"after {AUCTIONS:,} auctions": {play: played(name, play) for play in PLAYS},
    }


def text(found: dict[str, Any], depth: int = 0) -> str:
    """JSON with each list on one line."""
    pad = " " * (depth + 1)
    lines = [
        f"{pad}{json.dumps(key)}: {text(each, depth + 1) if isinstance(each, dict) else json.dumps(each)}"
        for key, each in found.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def path_of(name: str) -> Path:
    """The file of a rule."""
    return FOLDER / f"{name}.json"
