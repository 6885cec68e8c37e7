"""The venue: a config made into the arrays that the compiled step works on, with the journal and names behind it.

The server, a simulation and a replay each build one and then do the same two things with it: `trade` (sell the
imps in the opportunity buffer) and `event` (what becomes of an award). Limits: the buffers below are sized once
from the config; the contact table grows by doubling up to server.people_max.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange import awards
from exchange import market as mk
from exchange import state as st
from exchange.auction import sell
from exchange.auction.building import Building
from exchange.audience import lists
from exchange.audience.store import Store
from exchange.audience.table import Known

EVENT_COUNTS: Final = {  # which counter of the record counts which kind of event
    mk.KIND_IMPRESSION: "n_impressions",
    mk.KIND_VIEW: "n_views",
    mk.KIND_CLICK: "n_clicks",
    mk.KIND_BILLED_CLICK: "n_billed_clicks",
    mk.KIND_CONVERSION: "n_conversions",
    mk.KIND_BILLED_CONVERSION: "n_billed_conversions",
    mk.KIND_RELEASE: "n_releases",
    mk.KIND_UNPAID: "n_unpaid",
    mk.KIND_OPT_IN: "n_opt_ins",
    mk.KIND_OPT_OUT: "n_opt_outs",
    mk.KIND_REFUND: "n_refunds",
}


class Venue(Building):
    """Everything `sell` needs, and what is done with it: `trade`, `event`, `tick`, and making room."""

    def trade(self, now_ns: int, n_imps: int) -> None:
        """Sell the first `n_imps` opportunities in the buffer, in order, at `now_ns`; results are in `sold`."""
        done = sell.trade(self.record, now_ns, 0, n_imps)
        while done < n_imps:
            self.make_room()
            done = sell.trade(self.record, now_ns, done, n_imps)

    def event(self, kind: int, serial: int, auction_id: int, now_ns: int, amount_nano: int = 0, number: int = 1) -> int:
        """Something arrives for an award: an impression, click, conversion, opt in, opt out or refund (kind).

        A refund has an amount (0 = all that is left) and its number. Returns the kind recorded, or 0 and below
        (market/life.py ANSWERS) when it changed nothing.
        """
        while True:
            status, answer = awards.event_at(self.record, kind, serial, auction_id, now_ns, amount_nano, number)
            if status == st.DONE:
                return int(answer)
            self.record["status"] = status
            self.make_room()

    def tick(self, now_ns: int) -> None:
        """Move the clock: expire holds, start and end flights."""
        while (status := awards.advance_to(self.record, now_ns)) != st.DONE:
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
        most = {"auctions": 1, "wins": wins, "events": 2 * wins, "bids": self.n_campaigns + self.arrays["remote"].size}
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
        try:
            if self.known is not None:
                self.known.save()
        finally:
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
            return lists.FAR_NS
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
