"""The venue: a config made into the arrays that the compiled step works on, with the journal and names behind it.

The server, a simulation and a replay each build one and then do the same two things with it: `trade` (sell the
imps in the opportunity buffer) and `event` (an impression or a click). Limits: the buffers below are sized once
from the config; the contact table grows by doubling up to server.people_max.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange import awards, bidding
from exchange import market as mk
from exchange import state as st
from exchange.auction import sell, value
from exchange.auction.ads import Ad, Ads, campaign_target, put_others, uses_data
from exchange.auction.floors import reserve_records, virtual_value
from exchange.auction.formats import BIDDING
from exchange.auction.models import Models
from exchange.auction.positions import slot_rates
from exchange.auction.terms import write_terms
from exchange.audience.lists import Lists
from exchange.audience.query import query_max
from exchange.audience.store import Store
from exchange.audience.table import Known
from exchange.audience.targets import Targets
from exchange.config import Config, ConfigError
from exchange.rent.journal import Journal
from exchange.rent.names import Names
from exchange.rent.waterfall import fee_set

REMOTE_MAX_PER_ENDPOINT: Final = 64  # bids of one endpoint in one request
COLUMNS_MAX: Final = 64  # advertisers with a column of their own in the contact table
PEOPLE_START: Final = 1 << 14
PAIRS_START: Final = 1 << 12
FAR_NS: Final = 2**62
ALL_PAY_MAX: Final = 255  # campaigns
EVENT_COUNTS: Final = {  # which counter of the record counts which kind of event
    mk.KIND_IMPRESSION: "n_impressions",
    mk.KIND_VIEW: "n_views",
    mk.KIND_CLICK: "n_clicks",
    mk.KIND_BILLED_CLICK: "n_billed_clicks",
    mk.KIND_CONVERSION: "n_conversions",
    mk.KIND_BILLED_CONVERSION: "n_billed_conversions",
    mk.KIND_RELEASE: "n_releases",
    mk.KIND_UNPAID: "n_unpaid",
}


class Venue:
    """Everything `sell` needs. `record` is the VENUE record (state.py), `campaigns` the campaigns' records."""

    def __init__(self, config: Config, journal: Journal | None, names: Names) -> None:
        self.config = config
        self.journal = journal
        self.names = names
        self.arrays: dict[str, NDArray[Any]] = {}
        self.record = np.zeros(1, st.VENUE)
        self.ads: list[Ad] = []
        self.known: Known | None = None  # who has which segments (`use`)
        self.lists: Lists | None = None  # versions of own lists, as time goes on
        self.campaign_names: list[str] = []
        self._campaigns()
        self._targets()
        self._fees()
        self.formats = self._formats()
        self._models()
        self._buffers()
        self._people(PEOPLE_START, PAIRS_START)
        self._settings()
        self._journal()

    # ---- building ----------------------------------------------------------------------------------------------

    def _campaigns(self) -> None:
        """Fill the campaigns' records and compile their rules."""
        config = self.config
        pairs = [(a, c) for a in config.advertiser for c in a.campaign]
        try:
            rules = {c.rule: bidding.resolve(c.rule, config.folder) for _, c in pairs}
            dtype = bidding.campaign_dtype(rules)
        except bidding.RuleError as error:
            raise ConfigError(str(error)) from None
        self.campaigns = np.zeros(len(pairs) + 1, dtype)  # one spare, so that the array is never empty
        factors: list[tuple[str, int]] = []
        self.factor_names = factors
        values: list[int] = []
        for ix, (advertiser, campaign) in enumerate(pairs):
            me = self.campaigns[ix]
            where = f"{advertiser.name}/{campaign.name}"
            self.campaign_names.append(where)
            me["id"] = self._name("campaign", where)
            me["advertiser"] = self._name("advertiser", advertiser.name)
            me["seat"] = self._name("seat", advertiser.name)
            me["rule"] = list(rules).index(campaign.rule)
            write_terms(me, campaign, where, values)
            me["holdout"] = advertiser.holdout
            me["factor0"], me["n_factors"] = len(factors), len(campaign.factors)
            factors += [(segment, round(f * 1e6)) for segment, f in campaign.factors.items()]
            try:
                bidding.set_knobs(me, campaign.rule, rules[campaign.rule], campaign.knobs)
            except bidding.RuleError as error:
                raise ConfigError(f"campaign {where}: {error}") from None
        try:
            self.rules = bidding.Rules(rules, dtype)
        except bidding.RuleError as error:
            raise ConfigError(str(error)) from None
        self.arrays["rules"] = self.rules.table
        self.arrays["values"] = np.array(values or [0], np.int64)
        self.n_campaigns = len(pairs)

    def _name(self, kind: str, text: str) -> int:
        """The id of a name of the config; raises ConfigError when the ledger has no room for it."""
        ident = self.names.id(kind, text)
        if not ident:
            raise ConfigError(f"{kind} {text!r}: the ledger's names are full; raise server.names_max")
        return ident

    def _targets(self) -> None:
        """Compile the targets of campaigns, reserves and endpoints, and list the creatives (ads.py)."""
        config = self.config
        others = len(config.auction.reserve) + len(config.endpoint)
        self.targets = Targets(self.n_campaigns + 1, others, query_max(config.server.imps_max))
        number = self.targets.vocabulary.id
        made = Ads(self.targets, self.names)
        ix = 0
        for advertiser in config.advertiser:
            domain = advertiser.domains[0] if advertiser.domains else ""
            for campaign in advertiser.campaign:
                me, where = self.campaigns[ix], self.campaign_names[ix]
                made.add(ix, me, where, advertiser.name, domain, campaign)
                target = campaign_target(campaign, config.audiences, where)
                me["uses_data"] = uses_data(target)
                self.targets.put(ix, target)
                ix += 1
        reserved, first_endpoint = put_others(config, self.targets)
        self.targets.settle()
        self.record["first_endpoint"] = first_endpoint
        self.ads, self.arrays["ads"], self.arrays["tags"] = made.ads, made.table(), made.tags()
        self.arrays["reserves"] = reserve_records(config.auction, self.names, reserved)
        factors = [(number("seg", segment), min(ppm, mk.BUDGET_MAX_NANO)) for segment, ppm in self.factor_names]
        self.arrays["factors"] = np.array(factors or [(0, 0)], value.FACTOR)
        self.arrays["applying"] = np.zeros(len(config.auction.reserve) + 1, np.uint8)
        self.arrays["asked"] = np.zeros(len(config.endpoint) + 1, np.uint8)
        if factors:
            self.targets.vocabulary.mention("seg")
        self._point_at_targets()

    def _point_at_targets(self) -> None:
        """Take the arrays that the targets own, wherever they lie now."""
        self.arrays["audience"] = self.targets.record
        for name in ("query", "found", "alive"):
            self.arrays[name] = getattr(self.targets, name)

    def _formats(self) -> frozenset[int]:
        """The formats that a request may ask for by its `at`; what cannot be held here is left to the config's own."""
        auction, left_out = self.config.auction, {}
        if self.n_campaigns > ALL_PAY_MAX:  # a loser that pays has a slot of its own in the ledger
            left_out[mk.ALL_PAY] = f"expected at most {ALL_PAY_MAX} campaigns, found {self.n_campaigns}"
        if any(r.values and not virtual_value(r.values) for r in auction.reserve):
            left_out[mk.MYERSON] = "expected reserves of uniform or exponential values"
        if len(auction.slots) > 1 and self.n_campaigns and self.arrays["fees"]["fixed_nano"][0]:
            why = f"fees.buy = {self.config.fees.buy!r} has a fixed_cpm, which a bid per unit of click rate does not"
            left_out[mk.GSP] = left_out[mk.VCG] = (
                f"{why} cover in every position: expected none, or one of auction.slots"
            )
        if mk.FORMATS[auction.format] in left_out:
            raise ConfigError(f"auction.format = {auction.format!r}: {left_out[mk.FORMATS[auction.format]]}")
        return frozenset(set(mk.FORMATS.values()) - set(left_out))

    def _fees(self) -> None:
        """The fee set of local campaigns, then one per endpoint."""
        fees = self.config.fees
        try:
            local = fee_set(fees.sell, fees.buy, fees.set)
            remote = [fee_set(fees.sell, e.fees, fees.set, f"endpoint {e.name}: fees") for e in self.config.endpoint]
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.arrays["fees"] = np.array([local, *remote], mk.FEES)

    def _models(self) -> None:
        """Ask the click models for their rates of every context."""
        named = [c.model for a in self.config.advertiser for c in a.campaign]
        self.models = Models(list(zip(self.campaign_names, named, strict=True)), self.config.folder)
        self.campaigns["model"][: self.n_campaigns] = self.models.rows
        self.arrays["models"] = self.models.table

    def _buffers(self) -> None:
        """Scratch that a step reads and writes."""
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
            "bids": (self.n_campaigns + remote_max, BIDDING),
            "imps": (self.n_campaigns + 1, mk.IMP),
            "results": (1, mk.RESULT),
            "awards": (server.awards_max, mk.AWARD),
            "fate_counts": ((n_endpoints + 1, sell.N_FATES), np.int64),
        }
        for name, (size, dtype) in shapes.items():
            self.arrays[name] = np.zeros(size, dtype)
        self.arrays["awards"]["serial"] = -1

    def _people(self, people_size: int, pairs_size: int) -> None:
        """Empty contact tables; the entry behind the last contact stays blank for ever."""
        ids = self.campaigns["advertiser"][: self.n_campaigns]
        columns = max([1, *(int(i) for i in ids if i <= COLUMNS_MAX)])
        self.record["n_advertisers"], self.record["people_size"] = columns, people_size
        self.record["pairs_size"] = pairs_size
        self.arrays["people"] = np.zeros(people_size, np.uint64)
        self.arrays["pairs"] = np.zeros(pairs_size, np.uint64)
        self.arrays["contacts"] = np.zeros(people_size * columns + pairs_size + 1, mk.CONTACT)

    def _settings(self) -> None:
        """Addresses, counts and settings of the VENUE record."""
        config, v = self.config, self.record
        for name, array in self.arrays.items():
            v[name] = array.ctypes.data
        counts = {
            "n_campaigns": self.n_campaigns,
            "n_ads": len(self.arrays["ads"]),
            "n_tags": len(self.arrays["tags"]),
            "n_words": self.targets.found.size,
            "n_rules": len(self.rules.table),
            "n_factors": len(self.arrays["factors"]),
            "n_endpoints": len(self.config.endpoint),
            "n_models": len(self.models.table),
            "query_max": self.arrays["query"].size,
            "imps_max": config.server.imps_max,
            "remote_max": self.arrays["remote"].size,
            "bids_max": self.arrays["bids"].size,
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
            "n_values": self.arrays["values"].size,
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

    def _open_block(self, stream: str) -> None:
        assert self.journal is not None
        self.record[f"{stream}_block"] = self.journal.address(stream)
        self.record[f"{stream}_rows"] = self.journal.capacity(stream)

    # ---- working -----------------------------------------------------------------------------------------------

    def trade(self, now_ns: int, n_imps: int) -> None:
        """Sell the first `n_imps` opportunities in the buffer, in order, at `now_ns`; results are in `sold`."""
        done = sell.trade(self.record, self.campaigns, now_ns, 0, n_imps)
        while done < n_imps:
            self.make_room()
            done = sell.trade(self.record, self.campaigns, now_ns, done, n_imps)

    def event(self, kind: int, serial: int, auction_id: int, now_ns: int) -> int:
        """Carry out an impression, a click or a conversion. Returns the kind recorded, 0 when it changed nothing."""
        while True:
            status, recorded = awards.event_at(self.record, self.campaigns, kind, serial, auction_id, now_ns)
            if status == st.DONE:
                return int(recorded)
            self.record["status"] = status
            self.make_room()

    def tick(self, now_ns: int) -> None:
        """Move the clock: expire holds, start and end flights."""
        while (status := awards.advance_to(self.record, self.campaigns, now_ns)) != st.DONE:
            self.record["status"] = status
            self.make_room()

    def refresh_models(self) -> None:
        """Ask the click models anew and use what they say from the next auction on; between steps only.

        Rows written from now on carry the next snapshot_version. Raises ConfigError, and then nothing changes.
        """
        self.models.refresh()
        self.record["snapshot_version"] += 1

    def make_room(self) -> None:
        """Do what the last step stopped for: a fresh journal block, or larger contact tables."""
        status = int(self.record["status"][0])
        if status == st.GROW:
            self.grow()
            return
        assert self.journal is not None and status == st.ROLL
        v = self.record[0]
        wins = int(v["wins_need"])
        most = {"auctions": 1, "wins": wins, "events": 2 * wins, "bids": self.arrays["bids"].size}
        for stream, need in most.items():
            if stream == "bids" and not v["write_bids"]:
                continue
            if self.journal.count(stream) + need > int(v[f"{stream}_rows"]):
                self.journal.roll(stream)
                self._open_block(stream)

    def flush(self) -> None:
        """Close the open blocks that hold rows; `sync` then puts them beyond a crash of the machine."""
        if self.journal is None:
            return
        for stream in self.journal.streams:
            if self.journal.count(stream):
                self.journal.roll(stream)
                if stream != "inputs":
                    self._open_block(stream)

    def sync(self) -> None:
        """Write names and closed blocks to the disk; may run in a thread."""
        if self.journal is not None:
            self.names.sync()
            self.journal.sync()

    def close(self) -> None:
        """Close the journal and the names: every row is then in a closed, checksummed block."""
        if self.known is not None:
            self.known.save()
        if self.journal is not None:
            self.journal.close()
        self.names.close()

    def rows_written(self) -> dict[str, int]:
        """Rows appended per stream since the venue was built."""
        v = self.record[0]
        counts = {"auctions": int(v["n_auctions"]), "wins": int(v["n_wins"])}
        counts["events"] = sum(int(v[name]) for name in EVENT_COUNTS.values())
        if v["write_bids"]:
            counts["bids"] = int(self.arrays["fate_counts"].sum())
        return counts

    def grow(self) -> None:
        """Double a crowded contact table. Beyond `server.people_max` new people stay unknown, and are counted."""
        v = self.record
        people, pairs, contacts = (self.arrays[name] for name in ("people", "pairs", "contacts"))
        used, limit = int(v["people_used"][0]), int(v["people_max"][0])
        wide = used < limit and used * 5 >= people.size * 3 - 5
        self._people(people.size * (2 if wide else 1), pairs.size * (1 if wide else 2))
        for name in ("people", "pairs", "contacts"):
            v[name] = self.arrays[name].ctypes.data
        st.rehash_into(self.record, people, pairs, contacts)

    @property
    def store(self) -> Store | None:
        """Who has which segments, if anything is known."""
        return None if self.known is None else self.known.store

    def use(self, known: Known) -> None:
        """Let sales look into what is known of people, from now on."""
        self.known = known
        self.record["store"] = known.store.record.ctypes.data

    def renew_lists(self, now_ns: int) -> int:
        """Bring the own lists into force that are valid at `now_ns`. Returns when the next one comes, ns."""
        if self.lists is None:
            return FAR_NS
        for change in self.lists.advance(now_ns):
            self.forget_own(change.advertiser, change.removed)
            self.mark_own(change.advertiser, change.added)
        return self.lists.next_ns

    def forget_own(self, advertiser: str, keys: NDArray[np.uint64]) -> None:
        """Take people off an advertiser's own list."""
        st.forget_own_in(self.record, keys, self.names.id("advertiser", advertiser))

    def mark_own(self, advertiser: str, keys: NDArray[np.uint64]) -> None:
        """Put people on an advertiser's own list."""
        ident, done = self.names.id("advertiser", advertiser), 0
        while done < keys.size:
            done += st.mark_own_in(self.record, keys[done:], ident)
            if done < keys.size:
                self.grow()

    def money(self) -> dict[str, dict[str, int]]:
        """Per campaign: budget, spent, held, available (nano), wins, asked."""
        keys = ("budget", "spent", "held", "available", "wins", "asked")
        rows = self.campaigns[: self.n_campaigns]
        return {name: {k: int(row[k]) for k in keys} for name, row in zip(self.campaign_names, rows, strict=True)}
