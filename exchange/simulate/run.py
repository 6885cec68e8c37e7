"""Run a simulation: a config's campaigns against its population, the same compiled market step as live."""

import importlib.util
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange import state as st
from exchange.auction.venue import EVENT_COUNTS, Venue
from exchange.books.run_summary import Summary, summarise
from exchange.config import SEED_MAX, Config, ConfigError, config_hash, load_config
from exchange.opening import load_lists, meta_of
from exchange.population import VISIT_RECORD, Population
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names, write_meta
from exchange.simulate.loop import CURSOR, PENDING, deliver_until, run_until
from exchange.simulate.shop import own_lists, write_shop

CHUNK: Final = 50_000  # visits between two looks at the clock and the progress bar
BLOCK_ROWS: Final = 1 << 14
RING_MAX: Final = 1 << 26
Progress = Callable[[int, int], None]


class Run:
    """A finished simulation: `summary()`, `frame(stream)`, `ledger`, and the venue as it was left."""

    def __init__(self, venue: Venue, ledger: Ledger | None, auctions: int, elapsed_s: float) -> None:
        self.venue = venue
        self.ledger = ledger
        self.auctions = auctions
        self.elapsed_s = elapsed_s

    def summary(self) -> Summary | dict[str, Any]:
        """The report of the ledger; without a ledger the venue's own counters."""
        return self.counters() if self.ledger is None else summarise(self.ledger)

    def counters(self) -> dict[str, Any]:
        """What the venue counted: auctions, wins, events, money in nano, money per campaign."""
        keys = (
            "n_auctions",
            "n_sold",
            *EVENT_COUNTS.values(),
            "clearing_nano",
            "billed_nano",
        )
        return {**{key: int(self.venue.record[key][0]) for key in keys}, "campaigns": self.venue.money()}

    def frame(self, stream: str) -> Any:
        """A stream (`auctions`, `bids`, `wins`, `events`): a pandas DataFrame when pandas is there, else numpy.

        Raises ValueError for a stream this run did not write.
        """
        if self.ledger is None or stream not in ("auctions", "bids", "wins", "events"):
            raise ValueError(f"frame({stream!r}): expected auctions, bids, wins or events of a run with a ledger")
        rows = getattr(self.ledger, stream)
        if importlib.util.find_spec("pandas") is None:
            return rows
        import pandas

        return pandas.DataFrame({name: rows[name] for name in rows.dtype.names})


def simulate(
    config: Config | str | Path,
    auctions: int = 100_000,
    seed: int | None = None,
    *,
    ledger: str = "wins",
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Hold `auctions` visits of the config's population and return the Run.

    config: a Config or a path. seed: overrides exchange.seed. ledger: what is written: `none`, `wins` (auctions,
    wins, events) or `bids` (also every bid). folder: where; None keeps it in memory. progress(done, all) is called
    now and then. Same config, seed and auctions: the same bytes. Raises ConfigError, JournalError.
    """
    config = load_config(config) if isinstance(config, (str, Path)) else deepcopy(config)
    if not isinstance(auctions, int) or auctions < 1:
        raise ConfigError(f"auctions = {auctions}: expected at least 1, a whole number")
    if ledger not in ("none", "wins", "bids"):
        raise ConfigError(f"ledger = {ledger!r}: expected one of none, wins, bids")
    if seed is not None:
        if not 0 <= seed <= SEED_MAX:
            raise ConfigError(f"seed = {seed}: expected 0 to {SEED_MAX}")
        config.exchange.seed = seed
    config.exchange.journal = "bids" if ledger == "bids" else "wins"
    place = None if folder is None else Path(folder)
    if place is not None and place.is_dir() and any(place.iterdir()):
        raise ConfigError(f"folder = {str(place)!r}: expected a new or empty folder")
    simulation = Simulation(config, place, write=ledger != "none")
    simulation.run(auctions, progress)
    return simulation.finish()


class Simulation:
    """A simulation under way: `run` goes on, `finish` delivers what is due and returns the Run."""

    def __init__(
        self, config: Config, folder: Path | None = None, write: bool = True, salt: bytes | None = None
    ) -> None:
        self.config = config
        self.names = Names(folder, config.server.names_max)
        self.journal: Journal | None = None
        if write:
            streams = ("auctions", "wins", "events", *(["bids"] if config.exchange.journal != "wins" else []))
            self.journal = Journal(folder, 0, streams, block_rows=_block_rows(config))
        self.venue = Venue(config, self.journal, self.names)
        self.venue.record["config_version"] = self.names.id("config", config_hash(config))
        self.folder = folder
        if folder is not None:
            write_meta(folder, meta_of(self.venue))  # for whoever reads while it runs, or after it was killed
        self.salt = salt or config.exchange.seed.to_bytes(32, "little")
        self.population = Population(config, self.salt)
        self.listed = load_lists(self.venue, self.salt, None)
        self.population.attach(self.venue)
        self.cursor = np.zeros(1, CURSOR)
        self.cursor["view_delay_ns"] = config.population.view_delay_ms * 1_000_000
        self.cursor["click_delay_ns"] = config.population.click_delay_ms * 1_000_000
        self.cursor["conversion_delay_ns"] = config.population.conversion_delay_ms * 1_000_000
        self.cursor["refund_delay_ns"] = config.population.refund_delay_ms * 1_000_000
        self.views = _ring(config, config.population.view_delay_ms)
        self.clicks = _ring(config, config.population.click_delay_ms)
        # conversions are rare and late: their ring starts small and grows between chunks (`_widen`)
        self.chunk_room = 1 << (2 * CHUNK * max(1, len(config.auction.slots)) - 1).bit_length()
        self.conversions = np.zeros(self.chunk_room, PENDING)
        self.marks: NDArray[np.int64] = np.zeros((3, 2), np.int64)
        self.later: NDArray[np.void] = np.zeros((3, 0), PENDING)
        if config.population.opt_in_share or config.population.refund_share:
            self._keep_later(np.zeros((3, self.chunk_room), PENDING))
        self.visits = np.zeros(2, VISIT_RECORD)  # this one and the next
        self.elapsed_s = 0.0
        self.done = 0

    def run(self, visits: int, progress: Progress | None = None) -> None:
        """Hold the next `visits` visits."""
        p = self.population
        if 0 < len(p.log) < self.done + visits:
            raise ConfigError(
                f"auctions = {self.done + visits}: expected at most {len(p.log)}, the lines of population.log = "
                f"{self.config.population.log!r}"
            )
        first, end = int(self.cursor["t"][0]), int(self.cursor["t"][0]) + visits
        while (at := int(self.cursor["t"][0])) < end:
            began = time.perf_counter()
            self._widen()
            run_until(
                self.venue.record, p.settings, p.people, p.places, p.rows, p.bits,
                self.cursor, self.views, self.clicks, self.conversions, self.visits, min(end, at + CHUNK),
            )  # fmt: skip
            if self.venue.record["status"][0] != st.DONE:
                self.venue.make_room()
            self.elapsed_s += time.perf_counter() - began
            if progress is not None:
                progress(int(self.cursor["t"][0]) - first, visits)
        self.done += visits

    def _widen(self) -> None:
        """Double the rings that have no room for what one more chunk may add. Raises ConfigError."""
        cursor = self.cursor[0]
        head, tail = int(cursor["conversions_head"]), int(cursor["conversions_tail"])
        if tail - head + self.chunk_room > self.conversions.size:
            self.conversions = _doubled(self.conversions, head, tail, "conversions")
        if not self.later.size:
            return
        # whatever is under way may be billed within the chunk, and then refunded
        billable = sum(
            int(cursor[f"{ring}_tail"] - cursor[f"{ring}_head"]) for ring in ("views", "clicks", "conversions")
        )
        most = max(int(tail - head) for head, tail in self.marks) + billable + self.chunk_room
        while most > self.later.shape[1]:
            rings = [
                _doubled(ring, int(head), int(tail), "opt-ins or refunds")
                for ring, (head, tail) in zip(self.later, self.marks, strict=True)
            ]
            self._keep_later(np.stack(rings))

    def _keep_later(self, rings: NDArray[np.void]) -> None:
        """Let the loop use these rings for opt-ins, opt-outs and refunds."""
        self.later = rings
        self.cursor["later"], self.cursor["later_size"] = rings.ctypes.data, rings.shape[1]
        self.cursor["marks"] = self.marks.ctypes.data

    def finish(self) -> Run:
        """Deliver what is under way, release what is left of the holds, close the ledger."""
        population = self.config.population
        delay_ms = max(population.view_delay_ms, population.click_delay_ms, population.conversion_delay_ms)
        if self.later.size:
            delay_ms = max(2 * population.conversion_delay_ms, delay_ms + 2 * population.refund_delay_ms)
        venue = self.venue
        far = int(venue.record["now_ns"][0]) + max(self.config.server.hold_s * mk.NANO, delay_ms * 1_000_000)
        self._widen()
        rings = (self.views, self.clicks, self.conversions)
        settings = self.population.settings
        while deliver_until(venue.record, settings, self.cursor, *rings, far) != st.DONE:
            venue.make_room()
        venue.tick(int(venue.record["now_ns"][0]) + self.config.server.hold_s * mk.NANO)
        found: Ledger | None = None
        if self.journal is not None:
            found = self._close(self.journal)
        return Run(venue, found, self.done, self.elapsed_s)

    def _close(self, journal: Journal) -> Ledger:
        """Close the journal and open the ledger it became."""
        journal.close()
        self.names.close()
        if self.folder is None:
            return Ledger.in_memory(journal, self.names, meta_of(self.venue))
        write_meta(self.folder, meta_of(self.venue))
        ledger = Ledger(self.folder)
        if not self.config.population.log:  # a log does not say who came
            own = own_lists(self.config, self.population, self.listed)
            write_shop(self.config, self.population, ledger, own, self.salt)
        return ledger


def _block_rows(config: Config) -> int:
    """Rows of a journal block: many, so that the loop seldom stops, and at least two imps' worth of bids."""
    campaigns = sum(len(a.campaign) for a in config.advertiser)
    return max(BLOCK_ROWS, 4 * campaigns)


def _doubled(ring: Any, head: int, tail: int, what: str) -> Any:
    """A ring twice as large with the same events in it. Raises ConfigError."""
    size = ring.size
    if size >= RING_MAX:
        raise ConfigError(f"population: {tail - head} {what} under way: lower the rates, shares or delays")
    wider = np.zeros(2 * size, PENDING)
    under_way = np.arange(head, tail)
    wider[under_way & (2 * size - 1)] = ring[under_way & (size - 1)]
    return wider


def _ring(config: Config, delay_ms: int) -> Any:
    """Room for all events that can be under way: visits come evenly, with two imps and all positions at the most."""
    need = 2 * max(1, len(config.auction.slots)) * (int(delay_ms / 1000 * config.population.qps) + 2)
    size = 1 << (need - 1).bit_length()
    if size > RING_MAX:
        raise ConfigError(f"population: {need} events under way: expected at most {RING_MAX}; lower qps or the delays")
    return np.zeros(size, PENDING)
