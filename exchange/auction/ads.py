"""The creatives of a market, and the targets of all who ask for an audience: campaigns, reserves, endpoints."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange.audience.language import TargetError, read_target
from exchange.audience.target import And, Clause, Leaf, Target, leaves_of
from exchange.audience.targets import Targets
from exchange.config import Campaign, Config, ConfigError, Creative
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
        self.rows: list[tuple[int, ...]] = []
        self.tag_numbers: list[int] = []

    def add(self, ix: int, me: Any, where: str, advertiser: str, domain: str, campaign: Campaign) -> None:
        """Add the creatives of campaign `ix` and say in its record `me` which they are."""
        number = self.targets.vocabulary.id
        self.targets.vocabulary.mention("blocked")
        me["ad0"], me["n_ads"] = len(self.ads), len(campaign.creative)
        for creative in campaign.creative:
            ident = self.names.id("creative", f"{where}/{creative.id}")
            keys = fit_keys(creative)
            tags = [number("blocked", tag) for tag in sorted(tags_of(creative))]
            fits = number("fit", keys[0]), number("fit", keys[-1])
            self.rows.append((creative.weight, *fits, ix, ident, len(self.tag_numbers), len(tags)))
            self.tag_numbers += tags
            self.ads.append(Ad(creative, advertiser, domain, campaign.name, ident))

    def table(self) -> NDArray[Any]:
        """AD[], at least one."""
        rows: list[tuple[int, ...]] = self.rows or [(0, 0, 0, -1, 0, 0, 0)]
        return np.array(rows, mk.AD)  # type: ignore[arg-type]

    def tags(self) -> NDArray[np.int64]:
        """The tags of all ads, one run after the other."""
        return np.array(self.tag_numbers or [0], np.int64)


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
    """Add the targets of reserves and endpoints. Returns the numbers by reserve, and that of the first endpoint."""
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


def uses_data(target: Target) -> bool:
    """Does a target ask for segments: then what data costs is a data fee."""
    return any(leaf.attribute == "seg" for leaf in leaves_of(target.tree))
