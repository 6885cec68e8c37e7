"""Open a venue on a ledger folder: journal, names, salt, what the config knows of people, and what went before."""

from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from exchange.auction.building import REMOTE_MAX_PER_ENDPOINT
from exchange.auction.recover import recover
from exchange.auction.venue import Venue
from exchange.audience.lists import Lists
from exchange.audience.people import PeopleError, load_own_list, load_people, person_key
from exchange.audience.rules import read_rules, renew
from exchange.audience.table import Known
from exchange.config import Config, ConfigError, config_hash
from exchange.population import Population
from exchange.rent.damage import opened
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names, lost, read_meta, salt, write_meta

ROOM_MIN: Final = 1_024  # campaigns that may be added before memory is moved


def open_venue(config: Config, lists_known: bool = True) -> tuple[Venue, bytes]:
    """A venue on the config's ledger folder, recovered to where its journal ends; and the ledger's salt.

    Own lists, the people store and own shares of the population are loaded. lists_known: whether the versions of own
    lists that are there are known from the start, or come as changes. Raises ConfigError, JournalError.
    """
    folder = Path(config.folder) / config.exchange.ledger
    streams = ["auctions", "wins", "events"]
    streams += ["bids"] if config.exchange.journal != "wins" else []
    streams += ["inputs"] if config.exchange.journal == "full" else []
    journal = Journal(
        folder, 0, tuple(streams), block_rows=block_rows(config), segment_bytes=config.storage.segment_mb << 20
    )
    for limit in ("awards_max", "people_max"):
        before = read_meta(folder).get(limit, 0)
        if getattr(config.server, limit) < before:
            journal.close()
            raise ConfigError(
                f"server.{limit} = {getattr(config.server, limit)}: the ledger {folder} was written with {before}, "
                "and must not forget what it holds: expected at least as much, or a new ledger"
            )
    if journal.next_seq > 1 and (gone := lost(folder)):
        journal.close()
        raise ConfigError(f"{gone[0]}: the ledger has rows that need it")
    names = Names(folder, config.server.names_max)
    key = salt(folder)
    campaigns = sum(len(a.campaign) for a in config.advertiser)
    venue = Venue(config, journal, names, room=min(2 * campaigns + ROOM_MIN, config.server.campaigns_max))
    venue.record["config_version"] = names.id("config", config_hash(config))
    recover(venue, Ledger(folder))
    load_people_of(venue, key, lists_known)
    before = read_meta(folder)
    facts = meta_of(venue, before.get("budgets_nano", {}))
    if venue.known is not None:
        facts["people_versions"] = sorted({*before.get("people_versions", []), venue.known.version})
    write_meta(folder, facts)
    return venue, key


def block_rows(config: Config) -> int:
    """Rows of a live journal block: small, but with room for two steps of every bid there can be."""
    campaigns = sum(len(a.campaign) for a in config.advertiser)
    return max(4_096, 4 * (campaigns + REMOTE_MAX_PER_ENDPOINT * len(config.endpoint)))


def meta_of(venue: Venue, budgets: dict[str, int] | None = None) -> dict[str, Any]:
    """The facts that stand beside a ledger: currency, fees, format, endpoints, budgets by campaign id, config hash.

    budgets: those of earlier runs; of each campaign the largest is kept, because reconcile holds all rows against it.
    """
    config = venue.config
    rows = venue.campaigns[: venue.n_campaigns]
    most = dict(budgets or {})
    for ident, nano in [*((int(row["id"]), int(row["budget"])) for row in rows), *venue.budgets.items()]:
        most[str(ident)] = max(nano, most.get(str(ident), 0))
    return {
        "currency": config.exchange.currency,
        "journal": config.exchange.journal,
        "seed": config.exchange.seed,
        "own_always": sorted(a.name for a in config.advertiser if a.own_list or a.own_share),
        "fees": msgspec.to_builtins(config.fees),
        "auction_format": config.auction.format,
        "endpoints": [endpoint.name for endpoint in config.endpoint],
        "budgets_nano": most,
        "config_sha": config_hash(config),
        "awards_max": config.server.awards_max,
        "people_max": config.server.people_max,
    }


def renew_segments(config: Config, now_ns: int) -> None:
    """Find the segments by rule ([[segment]]) in the journal up to `now_ns`; `open_venue` then knows them."""
    folder = Path(config.folder) / config.exchange.ledger
    folder.mkdir(parents=True, exist_ok=True)
    ledger, names = opened(folder), Names(folder, config.server.names_max)
    try:
        known = partial(names.known, "advertiser")
        renew(folder, salt(folder), read_rules(config.segment), ledger.auctions, ledger.events, known, now_ns)
    except PeopleError as error:
        raise ConfigError(str(error)) from None
    finally:
        names.close()


def load_people_of(venue: Venue, key: bytes, lists_known: bool = True) -> None:
    """Load what is known of people: segments, own lists in their versions, own shares. Raises ConfigError."""
    config = venue.config
    folder = Path(config.folder) / config.exchange.ledger
    always = load_lists(venue, key, folder)
    if any(advertiser.own_share for advertiser in config.advertiser):
        for name, keys in Population(config, key).mark_own(venue).items():
            always[name] = np.union1d(always.get(name, keys), keys)
    try:
        venue.lists = Lists(folder, key, always, lists_known)
    except PeopleError as error:
        raise ConfigError(str(error)) from None


def load_lists(venue: Venue, key: bytes, ledger: Path | None) -> dict[str, NDArray[np.uint64]]:
    """Load the config's own lists and its people file, and the people store of a ledger, into the venue.

    Returns the own lists by advertiser.
    """
    config, folder = venue.config, Path(venue.config.folder)
    by_key: dict[int, tuple[str, ...]] = {}
    own: dict[str, NDArray[np.uint64]] = {}
    try:
        if config.exchange.people:
            by_key = load_people(folder / config.exchange.people, lambda text: person_key(key, text)).by_key
        venue.use(Known(ledger, key, venue.targets.vocabulary, by_key, config.people.segments_max))
        for advertiser in config.advertiser:
            if advertiser.own_list:
                own[advertiser.name] = load_own_list(folder / advertiser.own_list, lambda text: person_key(key, text))
                venue.mark_own(advertiser.name, own[advertiser.name])
    except PeopleError as error:
        raise ConfigError(str(error)) from None
    return own
