"""An advertiser's own book of conversions: who bought, and when, whether or not he was ever shown an ad.

A signed link reports the conversion of somebody who was shown an ad; of a person in a holdout it can say nothing. So
what ads *caused* is measured with a CSV that the advertiser's shop writes, of all its buyers:

    advertiser,user_id,time
    Volante Cars,u81,2026-01-05T09:30:00Z

The first line names the columns, in any order; others are passed over. The person is `user_id` (as bid requests name
him), `email` (trimmed, in lower case, hashed) or `sha256` (of it): keyed with the ledger's salt, as own lists are, so
that no id is kept. Rows that are equal in all three count once.
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.audience import lists
from exchange.audience.people import PeopleError, csv_rows, named, person_key
from exchange.rent.ledger import Ledger
from exchange.rent.names import SALT_BYTES, salt

FILE: Final = "conversions.csv"  # in a ledger's folder: what reports read unless they are told another
ROWS_MAX: Final = 10_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AS_IT_IS: Final[Callable[[str], str]] = str
# how the text that names a person is made of a cell
PERSON: Final[dict[str, Callable[[str], str]]] = {
    "user_id": _AS_IT_IS, "email": lists.email, "sha256": lists.hashed,
}  # fmt: skip


class Conversions(Struct):
    """Conversions as columns, in order of (advertiser, person, time)."""

    advertiser: NDArray[np.int64]  # id
    person: NDArray[np.uint64]  # key
    ts_ns: NDArray[np.int64]
    repeats: int  # rows that say again what another has said
    source: str  # name of the file


def salt_of(ledger: Ledger) -> bytes:
    """What keyed the people of a ledger: its salt; of one that a simulation wrote, without any, the seed."""
    assert ledger.path is not None
    if not (ledger.path / "salt").exists() and "seed" in ledger.meta:
        return int(ledger.meta["seed"]).to_bytes(SALT_BYTES, "little")
    return salt(ledger.path)


def conversions_of(ledger: Ledger, path: Path | None = None, only: Collection[str] | None = None) -> Conversions | None:
    """The conversions in `path`, or in `conversions.csv` of the ledger's folder; None where there is no file.

    only: of these advertisers.

    Raises PeopleError for a file that cannot be used, and for an advertiser whom the ledger does not know.
    """
    if path is None:
        if ledger.path is None or not (ledger.path / FILE).is_file():
            return None
        path = ledger.path / FILE
    return read_conversions(path, salt_of(ledger), advertisers_of(ledger), only)


def advertisers_of(ledger: Ledger) -> dict[str, int]:
    """Ids of the advertisers by name."""
    return {text: number for kind, number, text in ledger.names.all() if kind == "advertiser"}


def read_conversions(
    path: Path, key: bytes, advertisers: dict[str, int], only: Collection[str] | None = None
) -> Conversions:
    """Read a file of conversions. advertisers: id by name; only: keep those of these. Raises PeopleError."""
    ids: list[int] = []
    people: list[int] = []
    times: list[int] = []
    where_of: dict[str, int] = {}
    kind = ""
    for where, cells in csv_rows(path, headers=()):
        if not where_of:
            where_of, kind = _columns(where, cells)
            continue
        if len(cells) <= max(where_of.values()):
            raise PeopleError(f"{where}: {len(cells)} cells: expected {', '.join(where_of)} as in the first line")
        name = cells[where_of["advertiser"]].strip()
        if name not in advertisers:
            raise PeopleError(f"{where}: advertiser {name[:80]!r}: expected one of {_some(advertisers)}")
        text = named(where, kind, cells[where_of[kind]])
        try:
            people.append(person_key(key, PERSON[kind](text)))
        except ValueError as error:
            raise PeopleError(f"{where}: {error}") from None
        ids.append(advertisers[name])
        times.append(_time_ns(where, cells[where_of["time"]].strip()))
        if len(ids) > ROWS_MAX:
            raise PeopleError(f"{where}: more than {ROWS_MAX} rows")
    if not where_of:
        raise PeopleError(
            f"{path}: is empty: expected a first line with advertiser, time and one of {', '.join(PERSON)}"
        )
    rows = np.zeros(len(ids), [("advertiser", "i8"), ("person", "u8"), ("ts_ns", "i8")])
    rows["advertiser"], rows["person"], rows["ts_ns"] = ids, people, times
    if only is not None:
        rows = rows[np.isin(rows["advertiser"], [advertisers[name] for name in only if name in advertisers])]
    once = np.unique(rows)
    return Conversions(once["advertiser"], once["person"], once["ts_ns"], len(rows) - len(once), path.name)


def _columns(where: str, cells: list[str]) -> tuple[dict[str, int], str]:
    """(the places of the columns, which of PERSON names the people). Raises PeopleError."""
    places = {cell.strip().lower(): at for at, cell in enumerate(cells)}
    kinds = [kind for kind in PERSON if kind in places]
    if len(kinds) != 1 or not {"advertiser", "time"} <= places.keys():
        raise PeopleError(f"{where}: columns {', '.join(places)}: expected advertiser, time and one of "
                          f"{', '.join(PERSON)}")  # fmt: skip
    return {name: places[name] for name in ("advertiser", kinds[0], "time")}, kinds[0]


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:8]) + (" ..." if len(names) > 8 else "") or "none: the ledger has no advertiser"


def _time_ns(where: str, text: str) -> int:
    """An ISO 8601 date and time as ns since 1970; without a zone it is UTC. Raises PeopleError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PeopleError(f"{where}: time {text[:80]!r}: expected a date like 2026-01-31T08:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
