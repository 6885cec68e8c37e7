"""The fee sets of a market: [0] of local campaigns, [1 + e] of endpoint e, behind them one per set of an advertiser.

A set that another advertiser has already is not kept twice. Sets only come; what a draft that was refused brought
stays unused.
"""

from typing import Any, Final

import numpy as np

from exchange import market as mk
from exchange.auction.tables import Table
from exchange.config import Advertiser, Config, ConfigError
from exchange.rent.names import Names
from exchange.rent.waterfall import fee_set, terms_of

SETS_MAX: Final = 65_535  # WIN_ROW.fees is a u2


class FeeSets:
    """`table` FEES[], for the sale; `names` says for each where it comes from. Raises ConfigError."""

    def __init__(self, config: Config, names: Names) -> None:
        self._fees, self._currency, self._ids = config.fees, config.exchange.currency, names
        self.table = Table(mk.FEES)
        self.names: list[str] = []
        self._known: dict[str, int] = {}  # those for local campaigns, by their terms
        self._known[self._put("fees.buy", self._fees.buy, 0)] = 0
        for endpoint in config.endpoint:
            self._put(f"endpoint {endpoint.name}: fees", endpoint.fees, 0)

    def of(self, advertiser: Advertiser) -> int:
        """The number of an advertiser's fee set, added now if nobody had it so far."""
        foreign = advertiser.currency not in ("", self._currency)
        fx_bps = self._fees.fx_bps if foreign else 0
        if not advertiser.fees and not fx_bps:
            return 0
        key = f"advertiser {advertiser.name}: fees" if advertiser.fees else "fees.buy"
        buy = advertiser.fees or self._fees.buy
        terms = terms_of(self._set(key, buy, fx_bps))
        if terms not in self._known:
            ix = len(self.names)
            self._known[self._put(key, buy, fx_bps)] = ix
        return self._known[terms]

    def _set(self, key: str, buy: str, fx_bps: int) -> np.void:
        try:
            return fee_set(self._fees.sell, buy, self._fees.set, key, fx_bps)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def _put(self, key: str, buy: str, fx_bps: int) -> str:
        """Add a set behind all; returns its terms."""
        record: Any = self._set(key, buy, fx_bps)
        terms = terms_of(record)
        record["name"] = self._ids.id("fees", terms)
        if not 0 < record["name"] <= SETS_MAX:
            raise ConfigError(f"{key} = {buy!r}: no room for its terms: expected at most {SETS_MAX} fee sets, and names")
        self.table.put([record])
        self.names.append(f"{key} = {buy!r}")
        return terms
