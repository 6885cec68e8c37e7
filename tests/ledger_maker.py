"""A small, naive writer of honest ledgers: rows from plain Python numbers, through `Journal.append`."""

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from exchange import market as m
from exchange.openrtb import codes
from exchange.rent import waterfall
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names, write_meta

ALL = ("auctions", "bids", "wins", "events", "inputs")
FIXED = ALL[:4]
SECOND = 10**9
START_NS = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z


def packed(dtype: np.dtype, **values: Any) -> bytes:
    """One row of a shape; fields that are not named are 0."""
    row = np.zeros(1, dtype)
    for name, value in values.items():
        row[name] = value
    return row.tobytes()


@dataclass
class Maker:
    """Writes steps the way the exchange does: bids, win, auction row last; events on their own."""

    journal: Journal
    fees: Any = None
    now: int = START_NS
    serial: int = 0
    contacts: dict[tuple[int, int], int] = field(default_factory=dict)
    rent: dict[tuple[int, int], int] = field(default_factory=dict)
    last_s: dict[tuple[int, int], int] = field(default_factory=dict)
    written: list[tuple[int, str]] = field(default_factory=list)  # (seq, stream)

    def __post_init__(self) -> None:
        self.fees = self.fees or waterfall.fee_set("isba2020", "isba2020")
        self.seq = self.journal.next_seq
        self.auction = self.journal.next_auction
        self.serial = self.serial or self.auction - 1  # rises from run to run
        names = Names(None) if self.journal.folder is None else Names(self.journal.folder)
        self.fees_id = names.id("fees", waterfall.terms_of(self.fees))
        names.close()
        if self.journal.folder is not None and not (self.journal.folder / "meta.json").exists():
            write_meta(self.journal.folder, {"currency": "EUR"})

    def head(self, stream: str, kind: int) -> dict[str, int]:
        seq, self.seq = self.seq, self.seq + 1
        self.written.append((seq, stream))
        return {"seq": seq, "ts_ns": self.now, "worker": self.journal.worker, "kind": kind, "config_version": 1}

    def put(self, stream: str, kind: int, **values: Any) -> None:
        if stream in self.journal.streams:
            self.journal.append(stream, packed(m.STREAMS[stream], **self.head(stream, kind), **values))

    def step(self, nets: list[int], person: int = 0, floor: int = 100, own: int = 0, publisher: int = 1,
             imp_ix: int = 0, same_auction: bool = False) -> dict[str, Any] | None:  # fmt: skip
        """One imp: `nets` are the net bids of campaigns 0, 1, ...; returns the win, None when unsold."""
        self.now += SECOND // 10
        if same_auction:
            self.auction -= 1
        auction_id = self.journal.worker << 48 | self.auction
        self.auction += 1
        key = {"auction_id": auction_id, "imp_ix": imp_ix}
        able = sorted((-net, ix) for ix, net in enumerate(nets) if net >= floor)
        for ix, net in enumerate(nets):
            fate = codes.BELOW_FLOOR if net < floor else codes.WON if ix == able[0][1] else codes.OUTBID
            self.put("bids", m.KIND_BID, **key, gross_nano=waterfall.gross_floor(self.fees, net), net_nano=net,
                     campaign=ix, advertiser=ix + 1, seat=ix + 1, endpoint=-1, fate=fate)  # fmt: skip
        win = self.win(able, key, person, floor, own, publisher, len(nets)) if able else None
        self.put("auctions", m.KIND_AUCTION, **key, person_key=person, floor_nano=floor, n_bids=len(nets),
                 clearing_nano=win["clearing_nano"] if win else 0, publisher=publisher, format=2,
                 sold=int(win is not None), n_eligible=len(nets), n_asked=len(nets))  # fmt: skip
        return win

    def win(self, able: list[tuple[int, int]], key: dict[str, int], person: int, floor: int, own: int,
            publisher: int, n_bids: int) -> dict[str, Any]:  # fmt: skip
        bid, ix = -able[0][0], able[0][1]
        second = -able[1][0] if len(able) > 1 else 0
        clearing = max(second, floor)
        out = np.zeros(10, np.int64)
        waterfall.split(self.fees, clearing, 1, out)
        pair = (ix + 1, person)
        win = {
            **key, "serial": self.serial, "person_key": person, "bid_nano": bid, "clearing_nano": clearing,
            "second_nano": second, "floor_nano": floor, "price_to_win_nano": clearing, "price_rule": 2,
            "buyer_total_nano": int(out.sum()), "campaign": ix, "advertiser": ix + 1, "seat": ix + 1,
            "publisher": publisher, "endpoint": -1, "contacts": self.contacts.get(pair, 0) if person else 0,
            "cum_rent_nano": self.rent.get(pair, 0) if person else 0, "since_last_s": self.since(pair),
            "expires_ns": self.now + 300 * SECOND,
            "flags": own | m.FLAG_DATA, "n_bids": n_bids, "fees": self.fees_id,
            **{f"{party}_nano": int(out[k]) for k, party in enumerate(m.PARTIES)},
        }  # fmt: skip
        self.serial += 1
        self.put("wins", m.KIND_WIN, **win)
        return win

    def since(self, pair: tuple[int, int]) -> int:
        """Seconds since the last billed contact; 0 = none."""
        return self.now // SECOND - self.last_s[pair] if pair in self.last_s else 0

    def event(self, win: dict[str, Any], kind: int) -> None:
        """An event of a win; an impression settles it."""
        self.now += SECOND // 10
        pair, paid, contact_n = (win["advertiser"], win["person_key"]), 0, 0
        if kind == m.KIND_IMPRESSION:
            paid = win["buyer_total_nano"]
            if win["person_key"]:
                contact_n = self.contacts[pair] = self.contacts.get(pair, 0) + 1
                self.rent[pair] = self.rent.get(pair, 0) + paid
                self.last_s[pair] = self.now // SECOND
        self.put("events", kind, auction_id=win["auction_id"], serial=win["serial"], imp_ix=win["imp_ix"],
                 person_key=win["person_key"], paid_nano=paid, contact_n=contact_n, campaign=win["campaign"],
                 advertiser=win["advertiser"],
                 cum_rent_nano=self.rent.get(pair, 0) if win["person_key"] else 0)  # fmt: skip

    def refund(self, win: dict[str, Any], amount: int, number: int) -> None:
        """Give back some of what a billed win cost."""
        self.now += SECOND // 10
        pair = (win["advertiser"], win["person_key"])
        if win["person_key"]:
            self.rent[pair] -= amount
        self.put("events", m.KIND_REFUND, auction_id=win["auction_id"], serial=win["serial"], imp_ix=win["imp_ix"],
                 person_key=win["person_key"], paid_nano=-amount, number=number, campaign=win["campaign"],
                 advertiser=win["advertiser"],
                 cum_rent_nano=self.rent.get(pair, 0) if win["person_key"] else 0)  # fmt: skip

    def some_refunds(self, win: dict[str, Any], draw: random.Random) -> None:
        """All of it at once, or a part and perhaps the rest."""
        total = win["buyer_total_nano"]
        part = draw.choice((total, max(1, total // 3)))
        self.refund(win, part, 1)
        if part < total and draw.random() < 0.5:
            self.refund(win, total - part, 2)

    def run(self, steps: int, seed: int = 1, people: int = 12, base: int = 0, refunds: float = 0.0) -> None:
        """A mixed history: sold and unsold imps, known and unknown people, clicks, expiries, late impressions.

        refunds: share of the billed wins of which something is given back; some of those opt in, too.
        """
        draw = random.Random(seed)
        for _ in range(steps):
            nets = [draw.randrange(50, 5_000_000) for _ in range(draw.randrange(5))]
            person = draw.randrange(people)
            win = self.step(nets, person and person + base, draw.choice((100, 2_000_000)), draw.randrange(2),
                            draw.randrange(1, 4))  # fmt: skip
            if not win:
                continue
            fate = draw.random()
            if fate < 0.7:
                self.event(win, m.KIND_IMPRESSION)
                if fate < 0.2:
                    self.event(win, m.KIND_CLICK)
                if refunds and draw.random() < refunds:
                    self.some_refunds(win, draw)
                    self.event(win, draw.choice((m.KIND_OPT_IN, m.KIND_OPT_OUT)))
            elif fate < 0.9:
                self.event(win, m.KIND_RELEASE)
                if fate > 0.85:
                    self.event(win, m.KIND_UNPAID)


def small(folder: Path | None, streams: tuple[str, ...] = FIXED, worker: int = 0) -> Journal:
    """A journal with tiny blocks and segments, so that every boundary is crossed often."""
    return Journal(folder, worker, streams, block_rows=7, segment_bytes=4096)


def is_prefix(part: Ledger, whole: dict[str, np.ndarray]) -> bool:
    """Whether `part` holds, of every stream, exactly the rows of `whole` up to its last seq."""
    last = max((int(getattr(part, n)["seq"].max(initial=0)) for n in FIXED), default=0)
    return all(np.array_equal(getattr(part, n), whole[n][whole[n]["seq"] <= last]) for n in FIXED)


def ends_committed(ledger: Ledger) -> bool:
    """Whether an auction row follows the last bid and win."""
    free = max(int(ledger.bids["seq"].max(initial=0)), int(ledger.wins["seq"].max(initial=0)))
    return free <= int(ledger.auctions["seq"].max(initial=0))


def crashed(folder: Path, steps: int = 30, partial: int = 0) -> Maker:
    """A ledger as a killed process leaves it, `partial` rows into a step that never committed."""
    journal = small(folder / "live")
    maker = Maker(journal)
    maker.run(steps, seed=9)
    for k in range(partial):
        stream = "wins" if k == 2 else "bids"
        maker.put(stream, m.KIND_BID, auction_id=10**6)
    shutil.copytree(folder / "live", folder / "dead")
    journal.close()
    return maker
