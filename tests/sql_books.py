"""A random ledger with every kind of event, several fee sets, refunds in parts, an all-pay loser and remote bids."""

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from exchange import market as m
from exchange.rent.journal import Journal
from exchange.rent.names import Names, write_meta
from exchange.rent.seal import seal
from exchange.rent.waterfall import fee_set, fees_of, split, terms_of, total_of

START_NS = 1_767_571_200 * m.NANO  # Monday, 2026-01-05
DAY_NS = 86_400 * m.NANO
ADVERTISERS = ("Volante Cars", "Halle Markets", "Fernweh Travel")
PUBLISHERS = ("Daily \u00c9cho", 'O\'Hara "News"', "pub3")


class Books:
    """Writes a ledger row by row, as the exchange would, with the recorded values worked out one at a time."""

    def __init__(self, folder: Path, seed: int, worker: int = 0, people: int = 12, **journal: Any) -> None:
        self.draw = random.Random(f"{seed} {worker}")
        self.journal = Journal(folder, worker=worker, **journal)
        self.names = Names(folder)
        self.worker, self.people = worker, people
        self.seq, self.serial, self.now = self.journal.next_seq - 1, 0, START_NS
        self.rent: dict[tuple[int, int], tuple[int, int, int]] = {}  # (advertiser, person): contacts, nano, last ns
        self.open: list[dict[str, Any]] = []
        self.fees = []
        for buy, fx in (("isba2020", 0), ("none", 0), ("pmp2022", 130)):
            self.fees.append(self.names.id("fees", terms_of(fee_set("isba2020", buy, fx_bps=fx))))
        for kind, texts in {
            "advertiser": ADVERTISERS,
            "seat": (*ADVERTISERS, "far"),
            "campaign": [f"{name}/one" for name in ADVERTISERS],
            "creative": ["ad"],
            "publisher": PUBLISHERS,
            "domain": ["a.example", "b.example"],
            "segment": ["urban", "suv"],
            "deal": ["deal-1"],
        }.items():
            for text in texts:
                self.names.id(kind, text)

    def write(self, stream: str, kind: int, **fields: Any) -> None:
        """Append a row of a stream: the next seq, now."""
        dtype = m.STREAMS[stream]
        assert dtype is not None
        self.seq += 1
        row = np.zeros(1, dtype)
        for name, value in {"seq": self.seq, "ts_ns": self.now, "worker": self.worker, "kind": kind, **fields}.items():
            row[name] = value
        self.journal.append(stream, row.tobytes())

    def step(self) -> None:
        """One auction, then some events of earlier wins."""
        draw = self.draw
        self.now += draw.randrange(1, DAY_NS // 4)
        auction = self.worker << 48 | self.serial + 1
        person = draw.choice([0, *range(1, self.people + 1)]) + (self.worker << 60)
        person *= person & 0xFFFF > 0
        advertiser, floor = draw.randrange(1, 4), draw.randrange(0, 3_000_000)
        place = {"auction_id": auction, "publisher": draw.randrange(1, 4), "domain": draw.randrange(1, 3)}
        self.write("bids", m.KIND_BID, auction_id=auction, value_nano=5_000_000, gross_nano=4_000_000,
                   net_nano=3_000_000, campaign=advertiser, advertiser=advertiser, seat=advertiser, endpoint=-1,
                   fate=draw.choice([0, 102, 500, 520]))  # fmt: skip
        sold = draw.random() < 0.8
        if sold:
            self.win(place, person, advertiser, floor)
        self.write("auctions", m.KIND_AUCTION, **place, person_key=person, floor_nano=floor, clearing_nano=sold * floor,
                   size=300 << 16 | 250, country=ord("D") << 8 | ord("E"), media=1, device=draw.randrange(5),
                   hour=draw.randrange(24), sold=sold, n_bids=2, format=m.SECOND_PRICE)  # fmt: skip
        for _ in range(draw.randrange(4)):
            if self.open:
                self.event(draw.choice(self.open))

    def win(self, place: dict[str, int], person: int, advertiser: int, floor: int) -> None:
        """A win with its terms."""
        draw = self.draw
        lost, remote = draw.random() < 0.05, draw.random() < 0.2
        fees, clearing = draw.choice(self.fees), floor + draw.randrange(0, 10 ** draw.randrange(1, 9))
        flags = draw.choice([0, m.FLAG_OWN]) | draw.choice([0, m.FLAG_DATA]) | (m.FLAG_LOST if lost else 0)
        terms, parties = fees_of(self.names.text("fees", fees)), np.zeros(len(m.PARTIES), np.int64)
        split(terms, clearing, flags & m.FLAG_DATA, parties)
        person *= not lost
        contacts, rent, last = self.rent.get((advertiser, person), (0, 0, 0)) if person else (0, 0, 0)
        win = {
            **place, "serial": self.serial, "person_key": person, "advertiser": advertiser,
            "campaign": -1 if remote else advertiser, "creative": 0 if remote else 1,
            "seat": 4 if remote else advertiser, "endpoint": 0 if remote else -1, "deal": draw.randrange(2),
            "segment": draw.randrange(3), "fees": fees, "clearing_nano": clearing, "floor_nano": floor,
            "bid_nano": clearing + 5, "second_nano": clearing // 2, "price_to_win_nano": clearing, "value_nano": 9,
            "buyer_total_nano": total_of(terms, clearing), "flags": flags, "bill": draw.randrange(3),
            "purpose": draw.randrange(3), "price_rule": m.SECOND_PRICE, "expires_ns": self.now + DAY_NS,
            "pctr_ppb": 1_000_000, "pcvr_ppb": 20_000_000, "contacts": contacts, "cum_rent_nano": rent,
            "since_last_s": self.now // m.NANO - last // m.NANO if contacts else 0, "slot": draw.randrange(2),
            **{f"{party}_nano": parties[k] for k, party in enumerate(m.PARTIES)},
        }  # fmt: skip
        self.write("wins", m.KIND_WIN, **win)
        self.open.append({**win, "done": set(), "left": 0, "refunds": 0})
        self.serial += 1

    def event(self, award: dict[str, Any]) -> None:
        """Something happens to an award, if it may."""
        billing = m.BILLING[award["bill"]]
        kind = self.draw.choice([billing, billing, m.KIND_CLICK, m.KIND_VIEW, m.KIND_CONVERSION, m.KIND_OPT_IN,
                                 m.KIND_OPT_OUT, m.KIND_RELEASE, m.KIND_UNPAID, m.KIND_REFUND])  # fmt: skip
        done, number = award["done"], 0
        settled = done & {*m.BILLING, m.KIND_RELEASE}
        if (
            (kind in done and kind != m.KIND_REFUND)
            or (kind in (billing, m.KIND_RELEASE) and settled)
            or (kind == m.KIND_UNPAID and m.KIND_RELEASE not in done)
            or (kind == m.KIND_REFUND and not award["left"])
        ):
            return
        key, paid, contact_n = (award["advertiser"], award["person_key"]), 0, 0
        contacts, rent, last = self.rent.get(key, (0, 0, 0))
        if kind == billing:
            paid = award["left"] = award["buyer_total_nano"]
            contacts, last = contacts + 1, self.now
            contact_n = contacts if award["person_key"] else 0
        elif kind == m.KIND_REFUND:
            whole = award["refunds"] == 2 or self.draw.random() < 0.5
            part = award["left"] if whole else self.draw.randrange(1, award["left"] + 1)
            award["refunds"] += 1
            award["left"] -= part
            paid, number = -part, award["refunds"]
        if award["person_key"]:
            self.rent[key] = contacts, rent + paid, last
        done.add(kind)
        self.now += self.draw.randrange(1, 10**9)
        repeated = {name: award[name] for name in ("auction_id", "person_key", "campaign", "advertiser", "slot")}
        self.write("events", kind, **repeated, serial=award["serial"], paid_nano=paid, number=number,
                   contact_n=contact_n, cum_rent_nano=self.rent.get(key, (0, 0, 0))[1] if key[1] else 0)  # fmt: skip

    def close(self) -> None:
        """Close in order."""
        self.journal.close()
        self.names.close()


def write_books(folder: Path, seed: int = 1, steps: int = 300, workers: int = 2) -> Path:
    """A closed ledger in a folder, in segments of some dozen rows, nothing sealed."""
    for worker in range(workers):
        books = Books(folder, seed, worker, block_rows=16, segment_bytes=1 << 14)
        for _ in range(steps):
            books.step()
        books.close()
    facts = {"currency": "EUR", "journal": "bids", "endpoints": ["remote-1"], "budgets_nano": {"1": 5 * 10**9}}
    write_meta(folder, facts)
    return folder


def sealed_copy(folder: Path, to: Path, everything: bool) -> Path:
    """The same ledger, its full segments sealed; with `everything` the last ones too."""
    shutil.copytree(folder, to)
    seal(to, everything=everything)
    return to
