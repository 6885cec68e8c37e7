"""The lines of the audience index: one per creative, then one per reserve with a target, then one per endpoint."""

from typing import Any, Final

from numpy.typing import NDArray

from exchange.audience import language
from exchange.audience.index import INSECURE, Line
from exchange.config import Campaign, Config, ConfigError, Creative
from exchange.openrtb import codes
from exchange.openrtb.screen import insecure
from exchange.rent.names import Names

MEDIA_CODE: Final = {name: code for code, name in codes.MEDIA.items()}


class Ad:
    """A creative in the market: its config, and the campaign and advertiser that own it."""

    def __init__(self, creative: Creative, advertiser: str, domain: str, campaign: str, ident: int) -> None:
        self.creative = creative
        self.advertiser = advertiser
        self.domain = domain
        self.campaign = campaign
        self.id = ident


class Lines:
    """The lines of a config in the order of the index, and what stands behind them.

    `table` holds (campaign, ad, creative's name), (-2, reserve, 0) or (-1, endpoint, 0) per line; `ads` the creatives,
    which are the first lines; `reserved` the line of each reserve that has a target. Writes the campaigns' line0,
    n_lines and uses_data. Raises ConfigError for a target that cannot be read.
    """

    def __init__(self, config: Config, campaigns: NDArray[Any], campaign_names: list[str], names: Names) -> None:
        self.config, self.names = config, names
        self.lines: list[Line] = []
        self.table: list[tuple[int, int, int]] = []
        self.ads: list[Ad] = []
        self.reserved: dict[int, int] = {}
        pairs = [(a, c) for a in config.advertiser for c in a.campaign]
        for ix, (advertiser, campaign) in enumerate(pairs):
            domains = tuple(advertiser.domains)
            self._campaign(ix, campaigns[ix], campaign_names[ix], advertiser.name, domains, campaign)
        for ix, reserve in enumerate(config.auction.reserve):
            if reserve.target:
                self.reserved[ix] = len(self.lines)
                self._add((-2, ix, 0), Line(target=self._target(reserve.target, f"auction.reserve[{ix}]")))
        for ix, endpoint in enumerate(config.endpoint):
            target = self._target(endpoint.target, f"endpoint {endpoint.name}")
            self._add((-1, ix, 0), Line(endpoint=ix, target=target))

    def _campaign(
        self, ix: int, me: Any, where: str, advertiser: str, domains: tuple[str, ...], campaign: Campaign
    ) -> None:
        """The lines of one campaign."""
        target = self._target(campaign.target, f"campaign {where}")
        me["line0"], me["n_lines"] = len(self.lines), len(campaign.creative)
        me["uses_data"] = any(leaf.attribute == "seg" for leaf in target)
        for creative in campaign.creative:
            ident = self.names.id("creative", f"{where}/{creative.id}")
            line = Line(
                campaign=ix,
                advertiser=int(me["advertiser"]),
                seat=advertiser,
                target=target,
                media=MEDIA_CODE[creative.type],
                size=(creative.w, creative.h) if creative.w and creative.h else None,
                cats=tuple(creative.cat),
                attrs=(*creative.attr, INSECURE) if _loads_http(creative) else tuple(creative.attr),
                domains=domains,
            )
            self._add((ix, len(self.ads), ident), line)
            self.ads.append(Ad(creative, advertiser, domains[0] if domains else "", campaign.name, ident))

    def _add(self, row: tuple[int, int, int], line: Line) -> None:
        self.table.append(row)
        self.lines.append(line)

    def _target(self, text: str, where: str) -> language.Target:
        try:
            return language.parse(text, self.config.audiences)
        except language.TargetError as error:
            raise ConfigError(f"{where}: target: {error}") from None


def _loads_http(creative: Creative) -> bool:
    """True when a creative's own markup or image is not https."""
    return creative.image.startswith("http:") or insecure(creative.html) or insecure(creative.adm)
