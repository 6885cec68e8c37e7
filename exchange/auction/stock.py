"""The campaigns of a venue and all that grows with them: records, rules, models, creatives, targets, tables.

A campaign is drafted first: read, checked and compiled, which no sale can see and which may be refused. `put` then
makes it true, between two steps, and cannot fail. The same way leads in from a config file and from a live change.
"""

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange import bidding
from exchange import market as mk
from exchange.auction import value
from exchange.auction.ads import Ad, Ads, campaign_target, segments_of, tags_of
from exchange.auction.fees import FeeSets
from exchange.auction.models import Models
from exchange.auction.tables import Table
from exchange.auction.terms import write_terms
from exchange.audience.attributes import BY_NAME, NUMBER
from exchange.audience.query import query_max
from exchange.audience.target import Target, leaves_of
from exchange.audience.targets import Targets
from exchange.config import Advertiser, Campaign, Config, ConfigError
from exchange.rent.names import Names

LIFE: Final = ("spent", "held", "day_used", "asked", "wins", "faults", "day", "paused")  # what outlives a change
PAUSED: Final = 1  # values of `paused` in a record
ENDED: Final = 2


class Brief(Struct):
    """A campaign as its advertiser wants it now."""

    where: str  # advertiser/campaign
    advertiser: Advertiser
    campaign: Campaign


class Draft(Struct):
    """A campaign read and checked, not yet for sale: what `put` writes, and where."""

    ix: int  # -1 = a new one
    brief: Brief
    record: Any  # CAMPAIGN record
    values: list[int]  # nano, where it draws from a list
    factors: list[tuple[str, int]]  # segment, ppm
    segments: list[tuple[int, int]]  # that it targets: number, id of the name
    target: Target
    ads: list[Ad]
    knobs: tuple[str, ...]  # that are set anew


class Stock:
    """The campaigns of a market, numbered in the order in which they came; a number is never given again.

    `records` CAMPAIGN[n + 1], the last one blank; `room`: campaigns for which memory is set aside (it is not touched
    before it is used), beyond that it doubles. Raises ConfigError.
    """

    def __init__(self, config: Config, names: Names, room: int = 0) -> None:
        self.config, self.names = config, names
        pairs = [(a, c) for a in config.advertiser for c in a.campaign]
        try:
            rules = {c.rule: bidding.resolve(c.rule, config.folder) for _, c in pairs}
            self.dtype = bidding.campaign_dtype(rules)
            self.rules = bidding.Rules(rules, self.dtype)
        except bidding.RuleError as error:
            raise ConfigError(str(error)) from None
        self._rules = rules
        self.models = Models(config.folder)
        others = len(config.auction.reserve) + len(config.endpoint)
        self.targets = Targets(max(room, len(pairs)) + 1, others, query_max(config.server.imps_max))
        self.ads = Ads(self.targets, names)
        self.values, self.factors, self.segments = Table(np.int64), Table(value.FACTOR), Table(mk.SEGMENT)
        self.fees = FeeSets(config, names)
        self.briefs: list[Brief] = []
        self.number: dict[str, int] = {}  # by name as `advertiser/campaign`, lower case
        self.advertisers: dict[str, Advertiser] = {a.name.lower(): a for a in config.advertiser}
        self.n_paused = self.n_ended = 0
        self._reserved: NDArray[Any] = np.zeros(max(room, len(pairs)) + 1, self.dtype)
        self.records = self._reserved[:1]
        for advertiser in config.advertiser:
            self.fees.of(advertiser)  # also where nothing is for sale yet
        for advertiser, campaign in pairs:
            self.put(self.draft(advertiser, campaign))

    # ---- a campaign comes or changes -------------------------------------------------------------------------------

    def draft(self, advertiser: Advertiser, campaign: Campaign, ix: int = -1, knobs: tuple[str, ...] = ()) -> Draft:
        """Read and check a campaign: a new one, or what number `ix` is to become (its `knobs` set anew).

        Raises ConfigError, and then no sale has changed: names, values and rules may have got numbers.
        """
        where = f"{advertiser.name}/{campaign.name}"
        me: Any = np.zeros(1, self.dtype)[0]
        me["id"] = self.name("campaign", where)
        me["advertiser"] = self.name("advertiser", advertiser.name)
        me["seat"] = self.name("seat", advertiser.name)
        values: list[int] = []
        write_terms(me, campaign, where, values, self._rate_ppm(advertiser))
        me["holdout"], me["fees"] = advertiser.holdout, self.fees.of(advertiser)
        me["model"] = self.models.row_of(where, campaign.model)
        try:
            me["rule"] = self._rule(campaign.rule)
            bidding.set_knobs(me, campaign.rule, self._rules[campaign.rule], campaign.knobs)
        except bidding.RuleError as error:
            raise ConfigError(f"campaign {where}: {error}") from None
        target = campaign_target(campaign, self.config.audiences, where)
        me["uses_data"], targeted = segments_of(target)
        factors = [(segment, min(round(f * 1e6), mk.BUDGET_MAX_NANO)) for segment, f in campaign.factors.items()]
        ads = self.ads.draft(where, advertiser, campaign)
        try:
            self._number_values(target, campaign, ads)
        except ValueError as error:
            raise ConfigError(f"campaign {where}: {error}") from None
        number = self.targets.vocabulary.id
        segments = [(number("seg", segment), self.name("segment", segment)) for segment in targeted]
        return Draft(ix, Brief(where, advertiser, campaign), me, values, factors, segments, target, ads, knobs)

    def put(self, draft: Draft) -> int:
        """Make a draft true: from the next step on. Returns the campaign's number."""
        me, brief = draft.record, draft.brief
        ix, old, same_ads, same_target = draft.ix, None, False, False
        if ix < 0:
            ix = len(self.briefs)
            self._reserve(ix + 1)
            self.number[brief.where.lower()] = ix
            self.briefs.append(brief)
        else:
            old = self.records[ix]
            self._live_on(me, old, draft)
            was, self.briefs[ix] = self.briefs[ix].campaign, brief
            same_ads = was.creative == brief.campaign.creative
            same_target = same_ads and was.target == brief.campaign.target
        self._runs(me, old, draft)
        if same_ads and old is not None:
            me["ad0"], me["n_ads"] = old["ad0"], old["n_ads"]
        else:
            first, room = (0, 0) if old is None else (int(old["ad0"]), int(old["n_ads"]))
            self.ads.put(ix, me, draft.ads, first, room)
        if not same_target:  # else what is indexed stays as it is
            self.targets.put(ix, draft.target)
        self.records[ix] = me
        return ix

    def _rate_ppm(self, advertiser: Advertiser) -> int:
        """What one unit of an advertiser's currency is worth in ours, in millionths."""
        if advertiser.currency in ("", self.config.exchange.currency):
            return mk.RATE_ONE_PPM
        return round(self.config.rates[advertiser.currency] * mk.RATE_ONE_PPM)

    def name(self, kind: str, text: str) -> int:
        """The id of a name of the config; raises ConfigError when the ledger has no room for it."""
        ident = self.names.id(kind, text)
        if not ident:
            raise ConfigError(f"{kind} {text!r}: the ledger's names are full; raise server.names_max")
        return ident

    def _number_values(self, target: Target, campaign: Campaign, ads: list[Ad]) -> None:
        """Give every value that a draft names its number now, so that `put` cannot fail. Raises ValueError."""
        number = self.targets.vocabulary.id
        for clause in target.clauses:
            for leaf in (*clause.leaves, *(() if clause.tree is None else leaves_of(clause.tree))):
                if BY_NAME[leaf.attribute].kind != NUMBER:
                    for value in leaf.values:
                        number(leaf.attribute, value)
        for segment in campaign.factors:
            number("seg", segment)
        for ad in ads:
            for tag in sorted(tags_of(ad.creative)):
                number("blocked", tag)

    def _rule(self, name: str) -> int:
        """Row of a rule, compiled now if no campaign has used it so far. Raises RuleError."""
        if name not in self._rules:
            rule = bidding.resolve(name, self.config.folder)
            bidding.check_record(self.dtype, name, rule)
            self.rules.add(name, rule)
            self._rules[name] = rule
        return self.rules.names.index(name)

    def _live_on(self, me: Any, old: Any, draft: Draft) -> None:
        """Keep what a campaign has lived through: its money, its counts, and what its rule has learnt."""
        for field in LIFE:
            me[field] = old[field]
        me["available"] = me["budget"] - me["spent"] - me["held"]
        if me["rule"] == old["rule"]:
            for knob in self._rules[draft.brief.campaign.rule].defaults:
                if knob not in draft.knobs:
                    me[knob] = old[knob]

    def _runs(self, me: Any, old: Any, draft: Draft) -> None:
        """Write the values, factors and segments of a campaign, over its old ones where they fit."""
        first, room = (0, 0)
        if old is not None and old["value_kind"] == value.EMPIRICAL:
            first, room = int(old["value_a"]), int(old["value_b"])
        if me["value_kind"] == value.EMPIRICAL:
            me["value_a"] = self.values.put(draft.values, first, room)
        if draft.factors:
            self.targets.vocabulary.mention("seg")
        first, room = (0, 0) if old is None else (int(old["factor0"]), int(old["n_factors"]))
        rows = [(self.targets.vocabulary.id("seg", segment), ppm) for segment, ppm in draft.factors]
        me["factor0"], me["n_factors"] = self.factors.put(rows, first, room), len(rows)
        first, room = (0, 0) if old is None else (int(old["segment0"]), int(old["n_segments"]))
        me["segment0"], me["n_segments"] = self.segments.put(draft.segments, first, room), len(draft.segments)

    def _reserve(self, n: int) -> None:
        """Room for `n` campaigns and the blank record behind them."""
        if n + 1 > self._reserved.size:
            larger = np.zeros(2 * self._reserved.size, self.dtype)
            larger[: n - 1] = self._reserved[: n - 1]
            self._reserved = larger
        self.records = self._reserved[: n + 1]
        if n + 1 > self.targets.homes.size:
            self.targets.widen(2 * self.targets.homes.size)

    # ---- how they stand --------------------------------------------------------------------------------------------

    def settle(self, ix: int, paused: int) -> None:
        """Pause a campaign (PAUSED), let it go on (0), or end it (ENDED); the caller sets its alive bit."""
        me = self.records[ix]
        before = int(me["paused"])
        self.n_paused += (paused == PAUSED) - (before == PAUSED)
        self.n_ended += (paused == ENDED) - (before == ENDED)
        me["paused"] = paused
        if paused == ENDED:
            self.targets.drop(ix)

    def states(self) -> dict[str, int]:
        """How many campaigns are alive, waiting for their flight or past it, paused, ended."""
        words = self.targets.alive
        alive = sum(int(word).bit_count() for word in words[words != 0])
        off = len(self.briefs) - alive - self.n_paused - self.n_ended
        return {"alive": alive, "off_flight": off, "paused": self.n_paused, "ended": self.n_ended}
