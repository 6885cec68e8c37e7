"""What a run measured, from its ledger: a mean per auction with its standard error.

Amounts are CPM (per impression), gross where the buyer speaks and net where the seller does. Auctions of a fixed market
are independent, and the standard error is sd / sqrt(n); where they depend on each other (rules that learn, budgets)
it comes from the means of consecutive batches. People that come in turn are averaged by round first.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange.books.keys import Index
from exchange.config import Config, ConfigError
from exchange.simulate.run import Run
from exchange.theory.values import Floats

CPM: Final = 1e-6  # of a nano amount per impression
BATCHES: Final = 40
LEAST_VALUE: Final = 1_000  # nano: below it rounding to whole nano shows in bid / value
NEEDS_BIDS: Final = ("bid", "bid_to_value", "anarchy")


@dataclass
class Mean:
    """A mean, its standard error, and of how many observations."""

    value: float
    error: float
    n: int


class Measured:
    """The rows of one run, ready to be measured; `middle` is the share of the run that counts."""

    def __init__(self, run: Run, config: Config, dependent: bool, middle: float = 1.0) -> None:
        assert run.ledger is not None
        self.config, self.dependent = config, dependent
        self.auctions, self.wins = run.ledger.auctions, run.ledger.wins
        self.events = run.ledger.events
        self.won = (self.wins["flags"] & mk.FLAG_LOST) == 0  # in all_pay losers have rows too
        self.bids = run.ledger.bids if config.exchange.journal == "bids" else None
        self.ids = {
            f"{a.name}/{c.name}": int(run.venue.campaigns["id"][ix])
            for ix, (a, c) in enumerate((a, c) for a in config.advertiser for c in a.campaign)
        }
        n = len(self.auctions)
        cut = int(n * (1 - middle) / 2)
        self.first, self.last = cut, n - cut
        self.index = Index(self.auctions, by_slot=False)
        self.of_win = self.index.find(self.wins)
        # a click is as often as its position and its ad are clicked: prices of clicks become those of impressions
        slots = config.auction.slots if config.auction.format in ("gsp", "vcg") else []
        seen = np.array(slots)[self.wins["slot"]] if slots else 1.0
        rate = np.where(self.wins["bill"] >= mk.BILL_CLICK, 1e-9 * seen * self.wins["pctr_ppb"], 1.0)
        self.rate = np.where(self.wins["bill"] == mk.BILL_CONVERSION, rate * 1e-9 * self.wins["pcvr_ppb"], rate)

    def mean(self, measure: str) -> Mean:
        """One measure, of everybody or of one campaign ("bid@brand/campaign"). Raises ConfigError without any row."""
        name, _, campaign = measure.partition("@")
        if name == "anarchy":
            return self._anarchy()
        if name in ("bid", "bid_to_value"):
            return self._of_bids(name, campaign)
        mine = np.ones(len(self.wins), bool) if not campaign else self.wins["campaign"] == self.ids[campaign]
        if name in ("price", "winning_value", "event_price"):
            chosen = mine & self.won & self._inside(self.of_win)
            rows = self.wins[chosen]
            field, unit = {
                "price": (rows["clearing_nano"] * self.rate[chosen], CPM),
                "winning_value": (rows["value_nano"], CPM),
                "event_price": (rows["clearing_nano"], 1 / mk.NANO),
            }[name]
            return self._of_rows(measure, np.asarray(field) * unit)
        if name == "rerent":
            contact_n = self.events["contact_n"][self.events["contact_n"] > 0]
            return self._of_rows(measure, contact_n > 1)
        if name == "torn":
            return Mean(float(self.torn()), 0.0, len(self.wins))
        return self._of_auctions(self.per_auction(name, mine, bool(campaign)))

    def per_auction(self, name: str, mine: NDArray[np.bool_], one: bool) -> Floats:
        """A measure of each auction that counts: float[auctions]."""
        if name == "sale_rate":
            return self.auctions["sold"][self.first : self.last].astype(float)
        if name == "revenue" and not one:
            return np.asarray(self.auctions["clearing_nano"][self.first : self.last] * CPM)
        wins = self.wins
        buyer = wins["buyer_total_nano"] * self.rate
        value = wins["value_nano"] * self.won
        amount = {
            "revenue": wins["clearing_nano"] * self.rate,
            "buyer": buyer,
            "spend": buyer,
            "publisher": wins["publisher_nano"] * self.rate,
            "welfare": value,
            "surplus": value - buyer,
            "share": 1e6 * self.won,
        }[name]
        found = np.bincount(self.of_win[mine], np.asarray(amount, float)[mine] * CPM, len(self.auctions))
        return np.asarray(found[self.first : self.last], float)

    def torn(self) -> int:
        """Wins whose ten parts do not sum to the buyer's total, or whose sell side not to the clearing price."""
        wins = self.wins
        buy = sum(wins[f"{party}_nano"] for party in mk.BUY_PARTIES) + wins["clearing_nano"]
        sell = sum(wins[f"{party}_nano"] for party in mk.SELL_PARTIES)
        return int(((buy != wins["buyer_total_nano"]) | (sell != wins["clearing_nano"])).sum())

    def _inside(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (at >= self.first) & (at < self.last)

    def _of_bids(self, name: str, campaign: str) -> Mean:
        """Gross bids, or bid / value, of a campaign or of all."""
        assert self.bids is not None
        rows = self.bids[self.bids["campaign"] == self.ids[campaign]] if campaign else self.bids
        rows = rows[self._inside(self.index.find(rows))]
        if name == "bid_to_value":
            rows = rows[rows["value_nano"] >= LEAST_VALUE]
            return self._of_rows(name, rows["gross_nano"] / rows["value_nano"])
        return self._of_rows(name, rows["gross_nano"] * CPM)

    def _of_rows(self, measure: str, values: Any) -> Mean:
        if len(values) == 0:
            raise ConfigError(f"{measure}: no row to measure: nothing was sold or bid")
        return mean_of(np.asarray(values, float), self.dependent)

    def _rounds(self, values: Floats) -> Floats:
        """Means of rounds, where people come in turn; else the values themselves."""
        people = self.config.population.people
        if self.config.population.visits != "in_turn" or people > len(values):
            return values
        whole = len(values) // people * people
        return np.asarray(values[:whole].reshape(-1, people).mean(1))

    def _of_auctions(self, values: Floats) -> Mean:
        return mean_of(self._rounds(values), self.dependent)

    def _anarchy(self) -> Mean:
        """Highest value of each auction over the winner's: how much welfare the market loses."""
        assert self.bids is not None
        best = np.zeros(len(self.auctions))
        np.maximum.at(best, self.index.find(self.bids), self.bids["value_nano"].astype(float) * CPM)
        won = self._rounds(self.per_auction("welfare", np.ones(len(self.wins), bool), False))
        best = self._rounds(best[self.first : self.last])
        ratio = float(best.sum() / won.sum())
        off = mean_of((best - ratio * won) / won.mean(), self.dependent)
        return Mean(ratio, off.error, off.n)


def mean_of(values: Floats, dependent: bool) -> Mean:
    """Mean and standard error of observations in order of time, by batches where they depend on each other."""
    n = len(values)
    mean = float(values.mean())
    if float(values.max()) == float(values.min()):
        return Mean(float(values[0]), 0.0, n)
    if dependent and n >= 2 * BATCHES:
        size = n // BATCHES
        values = values[: size * BATCHES].reshape(BATCHES, size).mean(1)
    return Mean(mean, float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0, n)


def pooled(parts: list[Mean]) -> Mean:
    """One mean of independent parts, weighted by their observations."""
    n = sum(part.n for part in parts)
    value = sum(part.value * part.n for part in parts) / n
    error = sum((part.error * part.n) ** 2 for part in parts) ** 0.5 / n
    return Mean(value, error, n)


def spread(parts: list[float]) -> Mean:
    """Mean and standard error of the results of independent runs."""
    values = np.array(parts)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Mean(float(values.mean()), error, len(values))
