"""The creatives of a market, and the targets of all who ask for an audience: campaigns, reserves, endpoints."""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from exchange import market as mk
from exchange.auction.tables import Table
from exchange.audience.language import TargetError, parse, read_target
from exchange.audience.target import And, Clause, Leaf, Not, Target, Tree, leaves_of
from exchange.audience.targets import Targets
from exchange.config import Advertiser, Campaign, Config, ConfigError, Creative
from exchange.facts.sources import INSECURE, with_parents
from exchange.openrtb.screen import insecure
from exchange.rent.names import Names


class Ad:
    """A creative in the market: its config, and the campaign and advertiser that own it."""

    def __init__(self, creative: Creative, advertiser: str, domain: str, campaign: str, ident: int) -> None:
        self.creative = creative
        self.advertiser = advertiser
        self.domain = domain
        self.campaign = campaign
        self.id = ident


class Ads:
    """The creatives of all campaigns: `ads` for Python, `table` AD[] and `tags` int64[] for the sale."""

    def __init__(self, targets: Targets, names: Names) -> None:
        self.targets, self.names = targets, names
        self.ads: list[Ad] = []
        self.table, self.tags = Table(mk.AD), Table(np.int64)

    def draft(self, where: str, advertiser: Advertiser, campaign: Campaign) -> list[Ad]:
        """The creatives of a campaign as ads; they are not for sale before `put`."""
        domain = advertiser.domains[0] if advertiser.domains else ""
        return [
            Ad(creative, advertiser.name, domain, campaign.name, self.names.id("creative", f"{where}/{creative.id}"))
            for creative in campaign.creative
        ]

    def put(self, ix: int, me: Any, ads: list[Ad], first: int = 0, room: int = 0) -> None:
        """Give campaign `ix` these ads, over a run of `room` from `first` where they fit, and tell its record `me`."""
        number = self.targets.vocabulary.id
        self.targets.vocabulary.mention("blocked")
        rows = []
        for ad in ads:
            tags = [number("blocked", tag) for tag in sorted(tags_of(ad.creative))]
            keys = fit_keys(ad.creative)
            fits = number("fit", keys[0]), number("fit", keys[-1])
            rows.append((ad.creative.weight, *fits, ix, ad.id, self.tags.put(tags), len(tags)))
        me["ad0"], me["n_ads"] = self.table.put(rows, first, room), len(rows)
        self.ads[me["ad0"] : me["ad0"] + len(ads)] = ads


def fit_keys(creative: Creative) -> tuple[str, ...]:
    """What an imp must offer for a creative: its medium, a banner's size before it (sources.IMP states the same)."""
    if creative.type == "banner" and creative.w and creative.h:
        return f"banner {creative.w}x{creative.h}", "banner"
    return (creative.type,)


def tags_of(creative: Creative) -> set[str]:
    """What a publisher may block a creative by: its categories and those above, attributes, markup over http."""
    attrs = {f"attr {number}" for number in creative.attr}
    return with_parents(creative.cat) | attrs | ({INSECURE} if loads_http(creative) else set())


def loads_http(creative: Creative) -> bool:
    """True when a creative's own markup or image is not https."""
    return creative.image.startswith("http:") or insecure(creative.html) or insecure(creative.adm)


def campaign_target(campaign: Campaign, audiences: dict[str, str], where: str) -> Target:
    """A campaign's target, and with it that one of its creatives fits. Raises ConfigError."""
    target = target_of(campaign.target, audiences, f"campaign {where}", relative=True)
    keys = tuple(dict.fromkeys(key for creative in campaign.creative for key in fit_keys(creative)))
    fit = Leaf("fit", keys)
    clauses = tuple(Clause((fit, *clause.leaves), clause.tree) for clause in target.clauses)
    return msgspec.structs.replace(target, tree=And((fit, target.tree)), clauses=clauses)


def target_of(text: str, audiences: dict[str, str], where: str, relative: bool) -> Target:
    """Read a target of the config. relative: may it ask what only an advertiser knows? Raises ConfigError."""
    try:
        return read_target(text, audiences, relative)
    except TargetError as error:
        raise ConfigError(f"{where}: target: {error}") from None


def put_others(config: Config, targets: Targets) -> tuple[dict[int, int], int]:
    """Add the targets of reserves and endpoints. Returns the numbers by reserve, and that of the first endpoint.

    Raises ConfigError for one that cannot be read, or a named audience that cannot, asked for or not.
    """
    for name, text in config.audiences.items():
        try:
            parse(text, config.audiences)
        except TargetError as error:
            raise ConfigError(f"audiences.{name}: {error}") from None
    reserved = {}
    for ix, reserve in enumerate(config.auction.reserve):
        if reserve.target:
            target = target_of(reserve.target, config.audiences, f"auction.reserve[{ix}]", relative=False)
            reserved[ix] = targets.add_other(target)
    numbers = [
        targets.add_other(target_of(e.target, config.audiences, f"endpoint {e.name}", relative=False))
        for e in config.endpoint
    ]
    return reserved, numbers[0] if numbers else 0


def segments_of(target: Target) -> tuple[bool, tuple[str, ...]]:
    """Whether a target asks for segments at all, and those of which one is wanted, in the order they are written."""
    return any(leaf.attribute == "seg" for leaf in leaves_of(target.tree)), tuple(dict.fromkeys(_wanted(target.tree)))


def _wanted(tree: Tree, turned: bool = False) -> Iterator[str]:
    """The segments that a tree asks for, `turned` by a `not` around it."""
    if isinstance(tree, Leaf):
        if tree.attribute == "seg" and tree.negated == turned:
            yield from tree.values
    elif isinstance(tree, Not):
        yield from _wanted(tree.part, not turned)
    else:
        for part in tree.parts:
            yield from _wanted(part, turned)
