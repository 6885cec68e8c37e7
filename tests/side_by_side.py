"""Two markets side by side: what is not the same in the naive one and the compiled one."""

from typing import TYPE_CHECKING, Any

import numpy as np

from exchange.auction.venue import Venue
from exchange.rent.ledger import Ledger

if TYPE_CHECKING:
    from tests.naive import Naive

MONEY = ("available", "spent", "held", "day_used", "asked", "wins", "faults")


def differences(naive: "Naive", venue: Venue, ledger: Ledger | None = None) -> list[str]:
    """What is not the same in the two markets: money, knobs, contacts, counters and, with a ledger, every row."""
    found = []
    for ix, me in enumerate(naive.campaigns):
        real = venue.campaigns[ix]
        for name in (*MONEY, *naive.knobs[ix]):
            mine, its = getattr(me, name), real[name]
            if not (list(mine) == its.tolist() if isinstance(mine, list) else mine == its):
                found.append(f"campaign {ix} {name}: {mine} != {its}")
    for (person, advertiser), mine in naive.contact.items():
        its = contact_of(venue, person, advertiser)
        ours = {"contacts": mine.contacts, "held": mine.held, "cum_rent_nano": mine.rent, "shown": mine.shown}
        for name, value in ours.items():
            if its is None or its[name] != value:
                found.append(f"contact {person}/{advertiser} {name}: {value} != {its}")
    v = venue.record[0]
    counted = {"serial": naive.serial, "n_lost_holds": naive.lost_holds, "seq": naive.seq, "auction": naive.auction}
    counted |= {"n_unknown_people": naive.unknown}
    found += [f"{name}: {value} != {v[name]}" for name, value in counted.items() if value != v[name]]
    for stream, rows in naive.rows.items() if ledger is not None else ():
        real = getattr(ledger, stream)
        if len(real) != len(rows):
            found.append(f"{stream}: {len(rows)} rows != {len(real)}")
        for mine, its in zip(rows, real, strict=False):
            found += [f"{stream} {mine['seq']} {n}: {mine.get(n, 0)} != {its[n]}" for n in its.dtype.names
                      if mine.get(n, 0) != its[n]]  # fmt: skip
    return found


def contact_of(venue: Venue, person: int, advertiser: int) -> Any:
    """The contact record of a person, or None: looked for by walking the whole table."""
    v, people, pairs = venue.record[0], venue.arrays["people"], venue.arrays["pairs"]
    columns, contacts = int(v["n_advertisers"]), venue.arrays["contacts"]
    if advertiser <= columns:
        rows = np.flatnonzero(people == np.uint64(person))
        return contacts[int(rows[0]) * columns + advertiser - 1] if rows.size == 1 else None
    key = (person ^ (advertiser * 0x9E3779B97F4A7C15 & (1 << 64) - 1)) | 1
    rows = np.flatnonzero(pairs == np.uint64(key))
    return contacts[people.size * columns + int(rows[0])] if rows.size == 1 else None
