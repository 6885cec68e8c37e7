"""The terms of the naive market: a request, draws and fees by definition, contacts, awards, bids.

`offer` puts a request before a real `Venue`; `naive.Naive.trade` takes the same request.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from exchange import market as mk
from exchange.auction.venue import Venue
from exchange.audience.query import query_of
from exchange.config import Advertiser, Auction, Campaign, Config, Creative, Endpoint, Exchange, Fees, FeeSet, Server
from exchange.openrtb import codes
from exchange.rent.journal import Journal
from exchange.rent.names import Names
from exchange.rent.waterfall import PRESETS

DAY = 86_400 * 10**9
MASK = 0xFFFFFFFF
TIE, RULE, VALUE, HOLDOUT, ROTATE = 1, 2, 3, 9, 10


@dataclass
class Imp:
    """One imp for sale: floor in nano, one banner size, auction format."""

    floor: int = 0
    size: tuple[int, int] = (300, 250)
    at: int = mk.SECOND_PRICE


@dataclass
class Remote:
    """One screened remote bid."""

    net: int
    seat: int = 900
    advertiser: int = 900
    entity: int = 7
    endpoint: int = 0
    imp: int = 0
    fate: int = codes.WON
    floor: int = 0  # of its deal


@dataclass
class Request:
    """What a publisher asks, in the exchange's own terms."""

    now: int
    person: int = 0
    imps: list[Imp] = field(default_factory=lambda: [Imp()])
    remote: list[Remote] = field(default_factory=list)
    segments: tuple[str, ...] = ()
    test: bool = False
    publisher: int = 1
    domain: int = 2

    @property
    def hour(self) -> int:
        return self.now // (3600 * 10**9) % 24


def campaign(name: str, rule: str = "truthful", value: Any = 1.0, *sizes: tuple[int, int], **keys: Any) -> Campaign:
    """A campaign of the config, with a banner per size."""
    ads = [Creative(f"{w}x{h}", w=w, h=h, html="<p>", landing="https://a.example/") for w, h in sizes or [(300, 250)]]
    return Campaign(name, rule=rule, value_cpm=value, creative=ads, **keys)


def market(advertisers: dict[str, list[Campaign]], fees: str = "isba2020", seed: int = 3, endpoints: int = 0,
           server: dict[str, Any] | None = None, **auction: Any) -> Config:  # fmt: skip
    """A config whose rule files are looked for among the tests; endpoint 0 has no buy-side fees, the others all."""
    return Config(
        exchange=Exchange(seed=seed),
        server=Server(**{"hold_s": 60, "awards_max": 1024} | (server or {})),
        auction=Auction(**auction),
        fees=Fees(fees, fees),
        advertiser=[Advertiser(name, domains=[f"{name}.example"], campaign=own) for name, own in advertisers.items()],
        endpoint=[Endpoint(f"e{k}", "http://127.0.0.1:9/", fees=fees if k else "none") for k in range(endpoints)],
        folder=str(Path(__file__).parent),
    )


def venue_of(config: Config, journal: bool = False, block_rows: int = 256) -> Venue:
    """A venue in memory; with a journal its blocks are small, so that it often stops for a fresh one."""
    streams = ("auctions", "bids", "wins", "events")
    kept = Journal(None, 0, streams, block_rows=block_rows, segment_bytes=1 << 18) if journal else None
    return Venue(config, kept, Names(None))


def offer(venue: Venue, request: Request) -> list[Any]:
    """Hold a request's auctions in a real venue; returns a copy of each imp's SOLD record, the best position's."""
    view = {"country": "FR", "device": "phone", "domain": "a.example", "hour": request.hour, "seg": request.segments}
    imps = [
        {"size": [text], "media": ["banner"], "fit": [f"banner {text}"], "floor": imp.floor}
        for imp in request.imps
        for text in [f"{imp.size[0]}x{imp.size[1]}"]
    ]
    query = query_of(venue.targets.vocabulary, view, imps)
    venue.arrays["query"][: query.size] = query
    for k, imp in enumerate(request.imps):
        o = venue.arrays["opportunities"][k]
        o["person_key"], o["floor_nano"], o["format"], o["test"] = request.person, imp.floor, imp.at, request.test
        o["publisher"], o["domain"], o["imp_ix"], o["hour"] = request.publisher, request.domain, k, request.hour
        o["size"], o["media"], o["n_timeouts"] = imp.size[0] << 16 | imp.size[1], codes.BANNER, 0
    for r, bid in enumerate(request.remote):
        row = (bid.net, bid.entity, bid.floor, 0, bid.seat, bid.advertiser, bid.endpoint, bid.imp, bid.fate)
        venue.arrays["remote"][r] = row
    venue.record["n_remote"] = len(request.remote)
    venue.trade(request.now, len(request.imps))
    venue.record["n_remote"] = 0
    return [venue.arrays["sold"][k, 0].copy() for k in range(len(request.imps))]


# ---- draws and money, by definition ---------------------------------------------------------------------------


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10, as the paper writes it."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & MASK, (p0 >> 32) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def draw(seed: int, auction: int, imp: int, entity: int, purpose: int) -> list[int]:
    """Four words for (auction, imp, entity, purpose)."""
    who = (entity ^ (entity >> 32)) & MASK
    return philox([auction & MASK, auction >> 32, who, purpose << 16 | imp], [seed & MASK, seed >> 32])


def unit(high: int, low: int) -> float:
    """53 random bits in [0, 1)."""
    return float((high << 32 | low) >> 11) * 2.0**-53


class Fee:
    """One pair of fee sets: presets, or sets of the config."""

    def __init__(self, sell: str, buy: str, sets: dict[str, FeeSet] | None = None, fx_bps: int = 0) -> None:
        own = {name: self.own(fee) for name, fee in (sets or {}).items()}
        base, addon, self.fixed, self.buy = (PRESETS | own)[buy]
        self.fx_bps, self.on_top = fx_bps, Fraction(addon, base) + Fraction(fx_bps, 10_000)
        self.base, self.addon = (self.on_top.denominator, self.on_top.numerator) if fx_bps else (base, addon)
        self.sell = (PRESETS | own)[sell][3]

    @staticmethod
    def own(fee: FeeSet) -> tuple[int, int, int, dict[str, int]]:
        """A set of the config: so many ten-thousandths of the clearing price on top, and weights."""
        weights = {party: getattr(fee, party) for party in mk.PARTIES}
        return 10_000, fee.addon_bps, ceil(Fraction(str(fee.fixed_cpm)) * 10**6), weights

    def net(self, gross: int) -> int:
        return max(0, int((gross - self.fixed) / (1 + self.on_top)))

    def text(self) -> str:
        """The terms as the ledger names them."""
        weights = [*(self.buy.get(p, 0) for p in mk.BUY_PARTIES), *(self.sell.get(p, 0) for p in mk.SELL_PARTIES)]
        return " ".join(str(number) for number in [self.base, self.addon, self.fixed, *weights, self.fx_bps])

    def total(self, clearing: int) -> int:
        return self.fixed + clearing + int(clearing * self.on_top)

    def least_gross(self, floor: int) -> int:
        """The least gross bid whose net reaches the floor, by bisection."""
        low, high = 0, 2 * max(floor, 1) + self.fixed
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.net(middle) >= floor else (middle + 1, high)
        return low

    def split(self, clearing: int, uses_data: bool) -> dict[str, int]:
        """Who receives what, by largest remainder on each side; ties to the first party of market.PARTIES."""
        out, exchanged = dict.fromkeys(mk.PARTIES, 0), clearing * self.fx_bps // 10_000
        on_top = self.total(clearing) - clearing - exchanged
        sides = ((on_top, mk.BUY_PARTIES, self.buy), (clearing, mk.SELL_PARTIES, self.sell))
        for amount, parties, weights in sides:
            whole = sum(weights.get(p, 0) for p in parties)
            if whole == 0:
                continue
            for p in parties:
                out[p] = amount * weights.get(p, 0) // whole
            rest = {p: amount * weights.get(p, 0) % whole for p in parties}
            for p in sorted(parties, key=lambda p: -rest[p])[: amount - sum(out[p] for p in parties)]:
                out[p] += 1
        out["fx"] += exchanged
        if not uses_data:
            out["verify"], out["data"] = out["verify"] + out["data"], 0
        return out


# ---- what the market remembers ----------------------------------------------------------------------------------


@dataclass
class Contact:
    """What an advertiser remembers of a person."""

    contacts: int = 0
    held: int = 0
    rent: int = 0
    last_s: int = 0
    shown: int = 0  # ads seen, billed or not
    seen_in: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))  # by hour, day, week
    own: bool = False


@dataclass
class Award:
    """A win and what became of it."""

    serial: int
    auction: int
    person: int
    hold: int
    placed: int
    expires: int
    campaign: int
    campaign_id: int
    advertiser: int
    imp: int
    slot: int = 0
    bill: int = mk.BILL_IMPRESSION
    status: int = mk.HELD
    seen: bool = False
    clicked: bool = False
    converted: bool = False


@dataclass
class Bid:
    """One bid while its auction is held."""

    gross: int
    net: int
    fate: int
    entity: int
    seat: int
    advertiser: int
    campaign: int = -1
    endpoint: int = -1
    remote: int = -1
    value: int = 0
    creative: int = -1
    creative_id: int = -1
    imp: Any = None
    floor: int = 0  # the least it may pay: the imp's floor, its seat's, its deal's
    terms: Any = None  # naive_formats.Terms
    unit: int = 0  # net per billable event, in the best position
    slot: int = -1
    behind: int = 0  # what the best bid behind comes to in its own terms
    price: int = 0  # an eCPM
    event: int = 0  # what it pays per billable event
    paid: int = 0  # the buyer's total per impression, expected
