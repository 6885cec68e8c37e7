"""A config as a game: who bids what on values of which distribution, under which price rule; or why it is none.

Bid curves are those of the rules themselves, called as plain functions; a rule that learns, or that looks at anything
but value, floor and its own draw, is no fixed curve, and then there is no closed form (`NoForm` says why).
"""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import numpy as np

from exchange import market as mk
from exchange.bidding import resolve
from exchange.config import Campaign, Config
from exchange.population import Population
from exchange.rent.waterfall import fee_set
from exchange.theory.independent import Bidder, Curve, virtual_inverse
from exchange.theory.values import Values, values_of

NANO_CPM: Final = 1_000_000  # nano per CPM
SAMPLES: Final = 129  # values at which a curve is looked at
NOISE: Final = 3  # nano: what rounding to integers may do to a proportional curve
PLAIN_SIZE: Final = (300, 250)  # the one slot of population.preset = "plain"
MONEY: Final = ("available", "budget", "daily")  # of a campaign without a limit
SINGLE: Final = ("second_price", "first_price", "soft_floor", "all_pay", "myerson", "gsp", "vcg", "posted_price")


class NoForm(ValueError):  # noqa: N818 - not an error: theory has nothing to say about this config
    """No closed form covers this config; the message says what stands in the way."""


@dataclass
class Game:
    """What theory needs to know: for each kind of person (share, bidders), the format, the fees."""

    kinds: list[tuple[float, list[Bidder]]]
    campaigns: list[str]  # brand/campaign, in the order of the bidders
    price_rule: str
    slots: list[float]
    soft_floor: float
    floor: float
    markup: float  # buyer's total / clearing
    publisher: float  # publisher / clearing


def game_of(config: Config) -> Game:
    """The game that a config describes. Raises NoForm."""
    auction, fees = config.auction, fee_set(config.fees.sell, config.fees.buy, config.fees.set)
    _simple(config)
    floor = max(auction.floor_cpm, config.population.floor_cpm)
    markup = 1.0 + int(fees["addon"]) / int(fees["base"])
    names = [f"{a.name}/{c.name}" for a in config.advertiser for c in a.campaign]
    kinds = []
    for share, segments in people_of(config):
        made: dict[str, Bidder] = {}
        bidders = []
        for advertiser in config.advertiser:
            for campaign in advertiser.campaign:
                scale = 1.0
                for segment, factor in campaign.factors.items():
                    scale *= factor if segment in segments else 1.0
                own, ranking = reserve_of(config, advertiser.name, floor)
                key = repr((campaign.rule, campaign.knobs, campaign.value_cpm, _event_value(campaign), scale, own,
                            campaign.quality, ranking and vars(ranking)))  # fmt: skip
                if key not in made:
                    made[key] = bidder(config, campaign, scale, own, markup, ranking)
                bidders.append(made[key])
        kinds.append((share, bidders))
    sell = np.asarray(fees["sell"], float)
    soft = auction.soft_floor_cpm if auction.format == "soft_floor" else 0.0
    slots = list(auction.slots) if auction.format in ("gsp", "vcg") else []
    return Game(kinds, names, auction.format, slots, soft, floor, markup, float(sell[0] / sell.sum()))


def _simple(config: Config) -> None:
    """Refuse what the independent private value model does not have."""
    auction, population = config.auction, config.population
    if population.preset != "plain":
        raise NoForm("population.preset is not plain: imps differ")
    if config.endpoint or not config.advertiser:
        raise NoForm("remote bidders" if config.endpoint else "no campaigns")
    if auction.increment_cpm:
        raise NoForm("auction.increment_cpm is not 0")
    if auction.format not in SINGLE:
        raise NoForm(f"auction.format = {auction.format}")
    if any(r.target for r in auction.reserve):
        raise NoForm("a reserve with a target")
    if population.log:
        raise NoForm("a replayed log")
    if any(advertiser.fees or advertiser.currency for advertiser in config.advertiser):
        raise NoForm("advertiser.fees, advertiser.currency: bidders of different terms")
    if config.fees.buy in config.fees.set and config.fees.set[config.fees.buy].fixed_cpm:
        raise NoForm(f"fees.set.{config.fees.buy}.fixed_cpm: a fee that does not grow with the price")
    for advertiser in config.advertiser:
        if len(advertiser.campaign) > 1 and auction.runner_up == "other_seat":
            raise NoForm(f"{advertiser.name} has several campaigns that do not price each other")
        if advertiser.holdout:
            raise NoForm("a holdout")
        for campaign in advertiser.campaign:
            cap = campaign.cap
            limits = (campaign.budget, campaign.daily, cap.hour, cap.day, cap.week, cap.total, cap.campaign)
            if any(limits) or campaign.target or campaign.start or campaign.end or campaign.model:
                raise NoForm(f"{advertiser.name}/{campaign.name}: a budget, cap, target, model or flight")
            if all((c.w, c.h) != PLAIN_SIZE for c in campaign.creative):
                raise NoForm(f"{advertiser.name}/{campaign.name}: no creative of {PLAIN_SIZE[0]}x{PLAIN_SIZE[1]}")


def people_of(config: Config) -> list[tuple[float, frozenset[str]]]:
    """Kinds of people that values tell apart: (share of visits, segments)."""
    named = {segment for a in config.advertiser for c in a.campaign for segment in c.factors}
    if not named or not config.exchange.people:
        return [(1.0, frozenset())]
    from exchange.audience.people import load_people, person_key

    salt = b"\0" * 32
    population = Population(config, salt)
    store = load_people(Path(config.folder) / config.exchange.people, lambda text: person_key(salt, text)).by_key
    n = config.population.people
    edges = np.arange(n + 1) / n
    shares = np.diff(edges if config.population.visits == "in_turn" else edges ** (1 - config.population.person_skew))
    found: dict[frozenset[str], float] = {}
    own = population.segment_names
    people = population.people
    for share, key, bits in zip(shares.tolist(), people["key"].tolist(), people["segments"].tolist(), strict=True):
        names = {*store.get(key, ()), *(s for b, s in enumerate(own) if bits >> b & 1)}
        has = frozenset(names & named)
        found[has] = found.get(has, 0.0) + share
    return [(share, has) for has, share in found.items()]


def reserve_of(config: Config, seat: str, floor: float) -> tuple[float, Values | None]:
    """(least bid of a seat that counts, the distribution whose virtual values rank it in `myerson`)."""
    ranking: Values | None = None
    for reserve in sorted(config.auction.reserve, key=lambda r: r.seat == ""):  # its own first
        if reserve.seat in ("", seat):
            values = values_of(reserve.values) if reserve.values is not None else None
            floor = max(floor, (reserve.floor_cpm or 0.0) if values is None else myerson_reserve(values))
            ranking = ranking or values
    return floor, ranking if config.auction.format == "myerson" else None


def myerson_reserve(values: Values) -> float:
    """Where the virtual value is 0: r = (1 - F(r)) / f(r); else the lowest value. Source: Myerson (1981)."""
    if values.atoms:
        earned = [(x * float(1.0 - values.below(np.array([x]))[0]), x) for x, _ in values.atoms]
        most = max(sum_ for sum_, _ in earned)
        return max(x for sum_, x in earned if sum_ >= most * (1 - 1e-12))
    return max(values.low, virtual_inverse(values, 0.0))


def _event_value(campaign: Campaign) -> float | None:
    """Value per impression of a campaign that values clicks or conversions, CPM."""
    if campaign.value_click is not None:
        return campaign.value_click * campaign.pctr * 1000
    if campaign.value_conversion is not None:
        return campaign.value_conversion * campaign.pctr * campaign.pcvr * 1000
    return None


# ---- bid curves --------------------------------------------------------------------------------------------------


def bidder(
    config: Config, campaign: Campaign, scale: float, floor: float, markup: float, ranking: Values | None
) -> Bidder:
    """A campaign as a bidder: `floor` is the least net bid that counts, and the one its rule is shown."""
    event = _event_value(campaign)
    values = values_of(campaign.value_cpm if campaign.value_cpm is not None else event or 0.0, scale)
    probe = Probe(config, campaign, floor * markup)
    slope, curve, present = probe.curve(values)
    scored = config.auction.format in ("gsp", "vcg")
    return Bidder(
        values,
        slope,
        curve,
        markup,
        present,
        floor,
        campaign.quality if scored else 1.0,
        ranking,
        tuple(x for x in probe.jumps if values.low < x < values.high),
    )


class Probe:
    """A rule asked outside the exchange, with the campaign's knobs: is its bid a fixed curve of the value?"""

    def __init__(self, config: Config, campaign: Campaign, floor: float) -> None:
        self.name = campaign.rule
        self.rule = resolve(campaign.rule, config.folder)
        knobs = {**self.rule.defaults, **campaign.knobs}
        money = {name: 0 for name, _ in mk.CAMPAIGN_FIELDS} | dict.fromkeys(MONEY, mk.BUDGET_MAX_NANO)
        self.me = SimpleNamespace(**money | {k: np.array(v) if isinstance(v, list) else v for k, v in knobs.items()})
        self.imp = SimpleNamespace(**dict.fromkeys(mk.IMP.names or (), 0))
        self.imp.floor = round(floor * NANO_CPM)
        self.imp.format = mk.FORMATS[config.auction.format]
        self.imp.pctr, self.imp.pcvr, self.imp.since_s, self.imp.u = campaign.pctr, campaign.pcvr, -1, 0.5
        self.jumps: list[float] = []

    def price(self, value: float) -> float:
        """The gross bid for a value, CPM."""
        return int(self.rule.price(round(value * NANO_CPM), self.imp, self.me)) / NANO_CPM

    def curve(self, values: Values) -> tuple[float, Curve | None, float]:
        """(slope, curve or None when it is proportional, probability of bidding). Raises NoForm."""
        points = [x for x, _ in values.atoms] or [values.quantile((k + 0.5) / SAMPLES) for k in range(SAMPLES)]
        points = sorted({*points, *(x for x in values.edges().tolist() if x < 1e6)})
        before = repr(self.me)
        try:
            present = self._present(points[-1])
            found = [self.price(x) for x in points]
            self._fixed(points, found, before)
        except NoForm:
            raise
        except Exception as error:  # noqa: BLE001 - a rule may raise anything outside its venue: then nothing is known
            raise NoForm(f"rule {self.name}: {type(error).__name__}: {error}") from None
        if any(b < a for a, b in zip(found, found[1:], strict=False)):
            raise NoForm(f"rule {self.name}: a higher value may bid less")
        if max(found) <= 0:
            return 0.0, None, 0.0
        top = points[-1]
        slope = found[-1] / top if top > 0 else 0.0
        if all(abs(b - slope * v) <= NOISE / NANO_CPM + 1e-9 * v for v, b in zip(points, found, strict=True)):
            return self._slope(top), None, present
        self.jumps = self._bends(points, found)
        return 1.0, self.price, present

    def _slope(self, top: float) -> float:
        """The slope of a proportional curve, to more digits than one bid in nano shows."""
        far = max(top, 1e5)
        return self.price(far) / far

    def _fixed(self, points: list[float], found: list[float], before: str) -> None:
        """Refuse a rule that learns or that looks at the person or the hour."""
        for won in (True, False):
            for x, bid in zip(points[::16], found[::16], strict=True):
                nano = round(bid * NANO_CPM)
                result = SimpleNamespace(price=nano // 2 if won else 0, bid=nano, min_to_win=nano // 2, won=won)
                self.rule.learn(round(x * NANO_CPM), self.imp, self.me, result)
        if repr(self.me) != before:
            raise NoForm(f"rule {self.name} learns")
        for name, other in (("contacts", 3), ("own", 1), ("since_s", 60), ("hour", 13), ("now", 10**18)):
            kept = getattr(self.imp, name)
            setattr(self.imp, name, other)
            moved = [self.price(x) for x in points] != found
            setattr(self.imp, name, kept)
            if moved:
                raise NoForm(f"rule {self.name} looks at imp.{name}")

    def _present(self, top: float) -> float:
        """The share of its own draws at which it bids; the rest of the curve must not depend on the draw."""
        steps = [(k + 0.5) / 64 for k in range(64)]
        bids = []
        for u in steps:
            self.imp.u = u
            bids.append(self.price(top))
        some = {bid for bid in bids if bid > 0}
        self.imp.u = next((u for u, bid in zip(steps, bids, strict=True) if bid > 0), 0.5)
        if len(some) > 1:
            raise NoForm(f"rule {self.name}: its bid depends on its own draw")
        changes = [k for k in range(63) if (bids[k] > 0) != (bids[k + 1] > 0)]
        if not changes:
            return 1.0
        if len(changes) > 1:
            raise NoForm(f"rule {self.name}: it bids on several ranges of its own draw")
        kept, (low, high) = self.imp.u, (steps[changes[0]], steps[changes[0] + 1])
        first = bids[0] > 0
        for _ in range(60):
            self.imp.u = (low + high) / 2
            low, high = (self.imp.u, high) if (self.price(top) > 0) == first else (low, self.imp.u)
        self.imp.u = kept
        return high if first else 1.0 - high

    def _bends(self, points: list[float], found: list[float]) -> list[float]:
        """Values at which the curve jumps or starts: by bisection where two neighbours are far apart."""
        out = [self.imp.floor / NANO_CPM] if self.imp.floor else []
        rises = [b - a for a, b in zip(found, found[1:], strict=False)]
        usual = sorted(rises)[len(rises) // 2]
        for k, rise in enumerate(rises):
            zero = (found[k] > 0) != (found[k + 1] > 0)
            if zero or rise > 3 * usual:
                low, high = points[k], points[k + 1]
                for _ in range(60):
                    middle = (low + high) / 2
                    up = self.price(middle) > 0 if zero else self.price(middle) - found[k] > rise / 2
                    low, high = (low, middle) if up else (middle, high)
                out.append(high)
        return out
