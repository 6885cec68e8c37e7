"""Compile every kernel that serve, simulate, replay and demo call, so that the next start is quick."""

import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from exchange import bidding, compiled
from exchange import market as mk
from exchange.auction import limits
from exchange.audience.table import warm_up
from exchange.books.postings import balance
from exchange.books.reconcile import reconcile
from exchange.books.run_summary import summarise
from exchange.config import parse_config
from exchange.line import Given, Line
from exchange.links import Links
from exchange.opening import open_venue
from exchange.rent.ledger import Ledger
from exchange.rent.seal import seal
from exchange.report.asking import Books
from exchange.report.command import build, names
from exchange.simulate.run import simulate

VISITS: Final = 2_000
_NOW_NS: Final = 1_767_225_600 * mk.NANO
_HEAD: Final = """
[exchange]
ledger = "ledger"
[server]
awards_max = 1024
people_max = 1024
[fees]
sell = "isba2020"
buy = "isba2020"
[population]
people = 2000
placements = 40
[[endpoint]]
name = "remote"
url = "http://127.0.0.1:9/"
[[advertiser]]
name = "brand"
own_share = 0.1
"""
_CAMPAIGN: Final = """
[[advertiser.campaign]]
name = "{rule}"
rule = "{rule}"
value_cpm = 2.0
budget = 10
factors = {{ urban = 1.1 }}
[[advertiser.campaign.creative]]
id = "b"
w = 300
h = 250
image = "https://brand.example/b.png"
"""
_REQUEST: Final = (
    b'{"id":"1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"user":{"id":"p1"},"site":{"domain":"a.example"}}'
)
_ANSWER: Final = (
    b'{"id":"1","seatbid":[{"bid":[{"id":"1","impid":"1","price":9.0,"adm":"<b>ad</b>","w":300,"h":250}]}]}'
)


def warm() -> int:
    """Run a short simulation and a few live auctions with every built-in rule; nothing is kept.

    Returns the number of compiled kernels in the cache folder (`compiled.cache_folder`).
    """
    text = _HEAD + "".join(_CAMPAIGN.format(rule=rule) for rule in bidding.library())
    with tempfile.TemporaryDirectory(prefix="rentier-warm-") as folder:
        _live(text, folder)
        summarise(_kept(simulate(parse_config(text, "warm", folder), VISITS, ledger="bids").ledger))
        _books(text, Path(folder))
        simulate(parse_config(text, "warm", folder), VISITS, ledger="none")
    return sum(1 for _ in compiled.cache_folder().rglob("*.nbi"))


def _books(text: str, folder: Path) -> None:
    """Check, balance and report a ledger on disk, as it was written and sealed."""
    place = folder / "books"
    books = _kept(simulate(parse_config(text, "warm", str(folder)), VISITS, ledger="bids", folder=place).ledger)
    for sealed in (False, True):
        if sealed:
            seal(place, everything=True)
            books = Ledger(place)
        reconcile(books)
        balance(books)
        for name in names():
            build(name, Books(books))


def _kept(ledger: Ledger | None) -> Ledger:
    """The ledger of a simulation that keeps one."""
    assert ledger is not None
    return ledger


def _live(text: str, folder: str) -> None:
    """Sell, bill, click, expire and recover on a ledger on disk, as a live exchange does."""
    for again in range(2):
        config = parse_config(text, "warm", str(Path(folder)))
        venue, key = open_venue(config)
        line = Line(venue, key, Links(key, ""))
        now_ns = _NOW_NS + again * mk.NANO
        opened = line.open(_REQUEST, now_ns)
        line.eligible(opened)
        line.sampler.look(0)
        line.close(opened, [Given(0, 0, _ANSWER)], now_ns)
        line.close(line.open(_REQUEST, now_ns), (), now_ns)
        sold = venue.arrays["sold"][0, 0]
        limits.held_out_of(venue.record, 0, np.uint64(1))
        for kind in (mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_CONVERSION):
            venue.event(kind, int(sold["serial"]), int(sold["auction_id"]), now_ns)
        venue.tick(now_ns + mk.NANO)
        venue.grow()
        venue.forget_own("", np.zeros(0, np.uint64))
        warm_up()
        venue.close()
