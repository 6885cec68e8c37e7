"""Start an own bidder: `write_bidder(name, folder)` writes a rule that works, a market to try it in, and its test.

The texts are those of docs/bidders.md in small; what they promise is run by tests/test_new.py from an empty folder.
"""

import importlib.util
import keyword
import re
import shlex
from pathlib import Path
from string import Template
from typing import Final

from exchange import bidding
from exchange.config import ConfigError

NAME_MAX: Final = 64
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

RULE: Final = '''"""Bid a share of the valuation, a little less after each win and a little more after each loss.

Source: say where the idea is from: authors (year), title.
Expect: never bids above its valuation; the share stays between `least` and 1. Say what may be relied on, and test it.
"""


class $rule:
    """Bids value x shade."""

    # The knobs: int, float or a list of numbers. A config overrides them: knobs = { shade = 0.9 }.
    # They live in the campaign's record `me`. Names of the library's knobs cost nothing; with a new name the exchange
    # compiles once more (some 15 s).
    defaults = {"shade": 0.8, "rate": 0.01, "least": 0.3}

    @staticmethod
    def price(value, imp, me):
        """The most to pay for this impression, an int: gross nano per impression (CPM x 1,000,000); 0 = no bid.

        value   what the impression is worth to the campaign, in the same unit
        imp     floor, contacts, since_s, own, pctr, pcvr, u, hour, size, media, format, now
        me      the knobs, and available, spent, held, budget, asked, wins; do not change anything here
        """
        bid = int(value * me.shade)
        if imp.floor <= value:
            bid = max(bid, imp.floor)  # a bid below the floor cannot win
        return bid

    @staticmethod
    def learn(value, imp, me, result):
        """After every auction it was asked in, also without a bid. Knobs may change here.

        result  won, bid, price (what it pays, 0 if lost), min_to_win (what it would have taken; 0 = not disclosed)
        """
        step = -me.rate if result.won else 0.5 * me.rate
        me.shade = min(1.0, max(me.least, me.shade + step))

    # Optional: what became of its wins. kind is 10: the ad was seen, 11: clicked, 16: led to a conversion; each once.
    # paid is what that cost, nano: 0 unless it is the event that the campaign pays for. Knobs may change here too.
    #
    # @staticmethod
    # def feedback(me, kind, paid):
    #     """After each of these events."""
'''

MARKET: Final = """# A small market to try $name in: first price, so that bidding the valuation earns nothing.
# `rentier tournament` puts one rule after the other into the seat of the campaign "challenger".

[exchange]
currency = "EUR"
seed = 1

[auction]
format = "first_price"

[population]
preset = "plain"  # one banner slot, no segments; "web" = all formats, devices, segments
people = 500
floor_cpm = 0.2

[[advertiser]]
name = "mine"
[[advertiser.campaign]]
name = "challenger"
rule = "./$name.py:$rule"
# knobs = { shade = 0.9 }
value_cpm = { uniform = [0.0, 4.0] }  # drawn anew for each impression; or a number, or value_click and pctr
budget = 100
[[advertiser.campaign.creative]]
id = "banner"
w = 300
h = 250
html = "<p>mine</p>"
$rivals"""

RIVAL: Final = """
[[advertiser]]
name = "$advertiser"
[[advertiser.campaign]]
name = "rival"
rule = "linear"
knobs = { factor = $factor }
value_cpm = { uniform = [0.0, 4.0] }
[[advertiser.campaign.creative]]
id = "banner"
w = 300
h = 250
html = "<p>$advertiser</p>"
"""

TEST: Final = '''"""What $name promises, as tests: python -m pytest test_$name.py"""

from pathlib import Path

import exchange
from exchange.bidding import resolve
from exchange.contract import check_rule

HERE = Path(__file__).parent
$rule = resolve("./$name.py:$rule", str(HERE))


def test_it_keeps_the_contract():
    """It compiles, and bids the same in Python and compiled, on a grid of values, floors, contacts and knobs."""
    assert check_rule($rule) > 1_000


def test_it_does_what_it_says_to_expect():
    """5,000 visits of the market beside it: it wins, stays within its valuation and its budget, and learns."""
    run = exchange.simulate(HERE / "$name.toml", 5_000, seed=1)
    me = run.venue.campaigns[0]  # the first campaign of the config
    wins = run.ledger.wins
    wins = wins[wins["campaign"] == me["id"]]
    assert len(wins) > 100
    assert (wins["buyer_total_nano"] <= wins["value_nano"]).all()
    assert me["spent"] <= me["budget"]
    assert me["shade"] != $rule.defaults["shade"]
    assert me["least"] <= me["shade"] <= 1
'''


def write_bidder(name: str, folder: Path) -> str:
    """Write NAME.py, NAME.toml and test_NAME.py into `folder` (made if missing). Returns what to do next, as text.

    Raises ConfigError for a name that cannot be used, and rather than overwrite a file.
    """
    _check_name(name)
    rule = "".join(part.capitalize() for part in name.split("_"))
    factors = {"bold": 0.85, "usual": 0.75, "thrifty": 0.65}
    rivals = "".join(Template(RIVAL).substitute(advertiser=a, factor=f) for a, f in factors.items())
    files = {f"{name}.py": RULE, f"{name}.toml": MARKET, f"test_{name}.py": TEST}
    for file in files:
        if (folder / file).exists():
            raise ConfigError(f"{folder / file}: already there; nothing is overwritten: take another name or --folder")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        written = Template(text).substitute(name=name, rule=rule, rivals=rivals)
        with (folder / file).open("x", encoding="utf-8") as out:
            out.write(written)
    rule_file, market, test = (shlex.quote(str(folder / file)) for file in files)
    return (
        f"{rule_file} is a bidder that works: class {rule}. Change it, then:\n"
        f"  python -m pytest {test}\n"
        f"  rentier simulate {market} --auctions 20000\n"
        f"  rentier tournament {market} --seeds 10"
    )


def _check_name(name: str) -> None:
    """Refuse what is no name for a module, or is one already. Raises ConfigError."""
    if not _NAME.fullmatch(name) or {name, name.capitalize()} & {*keyword.kwlist} or len(name) > NAME_MAX:
        raise ConfigError(
            f"NAME = {name!r}: expected a Python name in lower case, such as my_bidder, at most {NAME_MAX} characters"
        )
    if name in bidding.library() or name in bidding.installed():
        raise ConfigError(f"NAME = {name!r}: a rule of this name is there already; expected another")
    if name.startswith("test_") or name == "conftest":
        raise ConfigError(f"NAME = {name!r}: pytest would take it for something else; expected another")
    hidden = importlib.util.find_spec(name) if not Path(f"{name}.py").exists() else None
    if hidden is not None and hidden.origin is not None:
        raise ConfigError(f"NAME = {name!r}: {name}.py would hide the Python module {name!r}; expected another")
