"""What the shops of a simulation write down: who bought from which advertiser, and when, ads or none.

Three causes. A click that becomes a conversion (`cvr`), as the ledger has it. A purchase that would have happened
anyway (`organic_rate`): a person's draw for an advertiser, at a drawn time, the same whether or not he is held out. And
one that an ad seen brings without a click (`uplift`), some time after the first ad. So the truth is known, and a report
that reads the file can be held against it.
"""

import csv
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exchange.audience import lists
from exchange.config import Config
from exchange.market import BILLING, CLICKS, CONVERSIONS, KIND_VIEW
from exchange.population import Population
from exchange.randomness import ORGANIC, OWN, UPLIFT
from exchange.rent.ledger import Ledger

FILE: Final = "conversions.csv"
HEAD: Final = ("advertiser", "user_id", "time", "cause")
CAUSES: Final = ("click", "anyway", "ad seen")
Keys = NDArray[np.uint64]


def write_shop(config: Config, population: Population, ledger: Ledger, own: dict[str, Keys], salt: bytes) -> None:
    """Write `conversions.csv` and the simulated own lists into the ledger's folder; own: keys by advertiser."""
    assert ledger.path is not None
    for name, keys in own.items():
        lists.add(ledger.path, salt, name, keys, 0)
    rows = purchases(config, population, ledger, own)
    with (ledger.path / FILE).open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEAD)
        for ts_ns, advertiser, person, cause in rows:
            moment = np.datetime_as_string(np.datetime64(ts_ns // 1_000, "us"))
            out.writerow((config.advertiser[advertiser].name, f"p{person}", f"{moment}Z", CAUSES[cause]))


def purchases(
    config: Config, population: Population, ledger: Ledger, own: dict[str, Keys]
) -> list[tuple[int, int, int, int]]:
    """(time ns, advertiser's place in the config, person's number, place in CAUSES), in order of time."""
    settings, keys = config.population, population.people["key"]
    n = settings.people
    order = np.argsort(keys)
    auctions, events = ledger.auctions, ledger.events
    start, end = (int(auctions["ts_ns"].min()), int(auctions["ts_ns"].max())) if len(auctions) else (0, 0)
    known = events["person_key"] != 0
    person = order[np.minimum(np.searchsorted(keys, events["person_key"], sorter=order), n - 1)]
    seen = known & (np.isin(events["kind"], (*BILLING, *CLICKS)) | (events["kind"] == KIND_VIEW))
    bought = known & np.isin(events["kind"], CONVERSIONS)
    found: list[tuple[int, int, int, int]] = []

    def add(ix: int, people: NDArray[np.int64], times: NDArray[np.int64], cause: int) -> None:
        found.extend((t, ix, p, cause) for t, p in zip(times.tolist(), people.tolist(), strict=True))

    for ix, advertiser in enumerate(config.advertiser):
        mine = events["advertiser"] == ledger.names.known("advertiser", advertiser.name)
        add(ix, person[mine & bought], events["ts_ns"][mine & bought], 0)
        rate = np.full(n, settings.organic_rate)
        if settings.organic_own_rate is not None:
            rate[np.isin(keys, own.get(advertiser.name, np.zeros(0, np.uint64)))] = settings.organic_own_rate
        anyway = population.draws(n, ORGANIC, ix)
        people = np.flatnonzero(anyway[:, 0] < rate)
        add(ix, people, start + (anyway[people, 1] * (end - start)).astype(np.int64), 1)
        if settings.uplift > 0:
            people, first = np.unique(person[mine & seen], return_index=True)  # events are in order of time
            moved = population.draws(n, UPLIFT, ix)[people]
            yes = moved[:, 0] < settings.uplift
            since = events["ts_ns"][mine & seen][first[yes]]
            add(ix, people[yes], since + (moved[yes, 1] * np.maximum(end - since, 0)).astype(np.int64), 2)
    return sorted(found)


def own_lists(config: Config, population: Population, listed: dict[str, Keys]) -> dict[str, Keys]:
    """Who is on each advertiser's own list in a simulation: `own_share` of the people, and those of `own_list`."""
    found = {name: keys for name, keys in listed.items() if keys.size}
    for ix, advertiser in enumerate(config.advertiser):
        if advertiser.own_share > 0:
            mine = population.draws(config.population.people, OWN, ix)[:, 0] < advertiser.own_share
            both = (found.get(advertiser.name, np.zeros(0, np.uint64)), population.people["key"][mine])
            found[advertiser.name] = np.unique(np.concatenate(both))
    return found
