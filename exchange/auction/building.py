"""How a venue is built: from a config to the arrays, addresses and settings that the compiled step works on."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import market as mk
from exchange import state as st
from exchange.auction import sell
from exchange.auction.ads import put_others
from exchange.auction.floors import reserve_records, virtual_value
from exchange.auction.formats import BIDDING
from exchange.auction.positions import slot_rates
from exchange.auction.stock import Draft, Stock
from exchange.audience.lists import Lists
from exchange.audience.table import Known
from exchange.config import Config, ConfigError
from exchange.rent.journal import Journal
from exchange.rent.names import Names

REMOTE_MAX_PER_ENDPOINT: Final = 64  # bids of one endpoint in one request
COLUMNS_MAX: Final = 64  # advertisers with a column of their own in the contact table
PEOPLE_START: Final = 1 << 14
PAIRS_START: Final = 1 << 12
ALL_PAY_MAX: Final = 255  # campaigns


class Building:
    """The arrays of a venue. `record` is the VENUE record (state.py), `campaigns` the campaigns' records."""

    def __init__(self, config: Config, journal: Journal | None, names: Names, room: int = 0) -> None:
        """room: campaigns for which memory is set aside, so that one added later moves nothing."""
        self.config = config
        self.journal = journal
        self.names = names
        self.arrays: dict[str, NDArray[Any]] = {}
        self.record = np.zeros(1, st.VENUE)
        self.known: Known | None = None  # who has which segments (`Venue.use`)
        self.lists: Lists | None = None  # versions of own lists, as time goes on
        self.stock = Stock(config, names, room)
        self.rules, self.models, self.targets = self.stock.rules, self.stock.models, self.stock.targets
        self.ads = self.stock.ads.ads
        self.campaign_names: list[str] = []
        self.budgets: dict[int, int] = {}  # the largest of those given while serving, nano by campaign id
        self._others()
        unheld = self.unheld(len(self.stock.briefs))
        self.formats = set(mk.FORMATS.values()) - unheld.keys()
        self._buffers(max(room, len(self.stock.briefs)))
        self.point()
        self._people(PEOPLE_START, PAIRS_START)
        self._settings()
        self._journal()

    def point(self) -> None:
        """Take what the campaigns own, wherever it lies now, and write addresses and counts into the record."""
        stock, arrays, v = self.stock, self.arrays, self.record
        self.campaigns, self.n_campaigns = stock.records, len(stock.briefs)
        self.campaign_names += [brief.where for brief in stock.briefs[len(self.campaign_names) :]]
        arrays["campaigns"], v["campaign_bytes"] = stock.records, stock.records.itemsize
        arrays["rules"], arrays["models"] = stock.rules.table, stock.models.table
        arrays["ads"], arrays["tags"] = stock.ads.table.array, stock.ads.tags.array
        arrays["values"], arrays["factors"] = stock.values.array, stock.factors.array
        arrays["fees"], arrays["segments"] = stock.fees.table.array, stock.segments.array
        arrays["audience"] = stock.targets.record
        for name in ("query", "found", "alive"):
            arrays[name] = getattr(stock.targets, name)
        for name, need in (("bids", self.n_campaigns + arrays["remote"].size), ("imps", self.n_campaigns + 1)):
            if arrays[name].size < need:
                arrays[name] = np.zeros(max(2 * arrays[name].size, need), arrays[name].dtype)  # nothing stands in it
        for name, array in arrays.items():
            v[name] = array.ctypes.data
        for name in ("ads", "tags", "rules", "values", "factors", "models", "fees", "segments"):
            v[f"n_{name}"] = len(arrays[name])
        v["n_campaigns"], v["n_words"] = self.n_campaigns, int(stock.targets.record["n_words"][0])
        v["query_max"], v["bids_max"] = arrays["query"].size, arrays["bids"].size

    def _others(self) -> None:
        """Compile the targets of reserves and endpoints."""
        config = self.config
        reserved, first_endpoint = put_others(config, self.targets)
        self.targets.settle()
        self.record["first_endpoint"] = first_endpoint
        self.arrays["reserves"] = reserve_records(config.auction, self.names, reserved)
        self.arrays["applying"] = np.zeros(len(config.auction.reserve) + 1, np.uint8)
        self.arrays["asked"] = np.zeros(len(config.endpoint) + 1, np.uint8)

    def unheld(self, n_campaigns: int, drafts: Sequence[Draft] = ()) -> dict[int, str]:
        """The formats that cannot be held with so many campaigns, and why; a request that asks for one gets our own.

        drafts: campaigns that are not in the stock yet. Raises ConfigError when our own is among them.
        """
        auction, left_out = self.config.auction, {}
        if n_campaigns > ALL_PAY_MAX:  # a loser that pays has a slot of its own in the ledger
            left_out[mk.ALL_PAY] = f"expected at most {ALL_PAY_MAX} campaigns, found {n_campaigns}"
        if any(r.values and not virtual_value(r.values) for r in auction.reserve):
            left_out[mk.MYERSON] = "expected reserves of uniform or exponential values"
        fees, used = self.stock.fees, {int(ix) for ix in self.stock.records["fees"][: len(self.stock.briefs)]}
        for ix in sorted(used | {int(draft.record["fees"]) for draft in drafts}) if len(auction.slots) > 1 else ():
            if fees.table.array["fixed_nano"][ix]:
                why = f"{fees.names[ix]} has a fixed_cpm, which a bid per unit of click rate does not"
                left_out[mk.GSP] = left_out[mk.VCG] = (
                    f"{why} cover in every position: expected none, or one of auction.slots"
                )
                break
        if mk.FORMATS[auction.format] in left_out:
            raise ConfigError(f"auction.format = {auction.format!r}: {left_out[mk.FORMATS[auction.format]]}")
        return left_out

    def _buffers(self, n_campaigns: int) -> None:
        """Scratch that a step reads and writes; `bids` and `imps` for so many campaigns (`point` makes more room)."""
        server = self.config.server
        imps, n_endpoints = server.imps_max, len(self.config.endpoint)
        slots = np.array(slot_rates(self.config.auction), np.int64)
        self.arrays["slots"] = slots
        remote_max = max(1, n_endpoints * REMOTE_MAX_PER_ENDPOINT)
        shapes: dict[str, tuple[Any, Any]] = {
            "opportunities": (imps, mk.OPPORTUNITY),
            "remote": (remote_max, mk.REMOTE),
            "sold": ((imps, slots.size), mk.SOLD),
            "order": (slots.size, np.int64),
            "bids": (n_campaigns + remote_max, BIDDING),
            "imps": (n_campaigns + 1, mk.IMP),
            "results": (1, mk.RESULT),
            "awards": (server.awards_max, mk.AWARD),
            "fate_counts": ((n_endpoints + 1, sell.N_FATES), np.int64),
        }
        for name, (size, dtype) in shapes.items():
            self.arrays[name] = np.zeros(size, dtype)
        self.arrays["awards"]["serial"] = -1

    def _people(self, people_size: int, pairs_size: int) -> None:
        """Empty contact tables; the entry behind the last contact stays blank for ever."""
        if not self.record["n_advertisers"][0]:  # who comes later has no column, so that no contact moves
            ids = self.campaigns["advertiser"][: self.n_campaigns]
            self.record["n_advertisers"] = max([1, *(int(i) for i in ids if i <= COLUMNS_MAX)])
        columns = int(self.record["n_advertisers"][0])
        self.record["people_size"] = people_size
        self.record["pairs_size"] = pairs_size
        self.arrays["people"] = np.zeros(people_size, np.uint64)
        self.arrays["pairs"] = np.zeros(pairs_size, np.uint64)
        self.arrays["contacts"] = np.zeros(people_size * columns + pairs_size + 1, mk.CONTACT)
        for name in ("people", "pairs", "contacts"):
            self.record[name] = self.arrays[name].ctypes.data

    def _settings(self) -> None:
        """Counts that stay, and settings, of the VENUE record."""
        config, v = self.config, self.record
        counts = {
            "n_endpoints": len(self.config.endpoint),
            "imps_max": config.server.imps_max,
            "remote_max": self.arrays["remote"].size,
            "awards_size": config.server.awards_max,
            "seed": config.exchange.seed,
            "hold_ns": config.server.hold_s * mk.NANO,
            "increment_nano": mk.cpm_up(config.auction.increment_cpm),
            "other_seat": config.auction.runner_up == "other_seat",
            "min_to_win": config.auction.min_to_win,
            "write_bids": config.exchange.journal != "wins",
            "snapshot_version": 1,
            "people_max": config.server.people_max,
            "n_slots": self.arrays["slots"].size,
            "n_reserves": len(config.auction.reserve),
            "soft_floor_nano": mk.cpm_up(config.auction.soft_floor_cpm),
            "wins_need": 1,
        }
        for name, number in counts.items():
            v[name] = number

    def _journal(self) -> None:
        """Point the record at the open blocks, or switch writing off."""
        v, journal = self.record, self.journal
        v["write"] = journal is not None
        if journal is None:
            v["seq"], v["auction"] = 1, 0
            return
        v["worker"], v["seq"], v["auction"] = journal.worker, journal.next_seq, journal.next_auction - 1
        for stream in ("auctions", "wins", "events", *(["bids"] if v["write_bids"][0] else [])):
            self._open_block(stream)

    def make_journal_room(self) -> None:
        """Let every journal block hold what a step of so many campaigns may write."""
        if self.journal is None:
            return
        v = self.record[0]
        wins = int(v["n_slots"]) if mk.ALL_PAY not in self.formats else max(int(v["n_slots"]), self.n_campaigns + 1)
        for stream, need in (
            ("wins", wins),
            ("events", 2 * wins),
            ("bids", self.n_campaigns + self.arrays["remote"].size),
        ):
            if stream in self.journal.streams and need > int(v[f"{stream}_rows"]):
                self.journal.widen(stream, 2 * need)
                self._open_block(stream)

    def _open_block(self, stream: str) -> None:
        assert self.journal is not None
        self.record[f"{stream}_block"] = self.journal.address(stream)
        self.record[f"{stream}_rows"] = self.journal.capacity(stream)
