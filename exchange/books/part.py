"""A part of a ledger's wins: those of some advertisers, publishers, segments, weeks."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.rent.columns import Get
from exchange.rent.names import Names

KEYS: Final = ("advertiser", "publisher", "segment", "week")
NOBODY: Final = {"advertiser": "unknown", "publisher": "unknown", "segment": "no segment"}  # where a row names none
_DAY_NS: Final = 86_400 * 10**9
_EPOCH: Final = datetime.date(1970, 1, 1)
_THURSDAY: Final = 3  # days from a Monday to the epoch


class Part(Struct):
    """Which ids and weeks belong to it: by key, True at the ids, and whether rows that name none do."""

    ids: dict[str, NDArray[np.bool_]]
    nobody: dict[str, bool]
    weeks: NDArray[np.int64] | None  # numbers of weeks from Monday, that of the epoch being 0; None = all

    def mask(self, get: Get) -> NDArray[np.bool_]:
        """Which wins of a piece belong to it."""
        masks = []
        for key, wanted in self.ids.items():
            ids = get(key)[0].astype(np.int64)
            known = (ids > 0) & (ids < wanted.size)
            masks.append(np.where(known, wanted[np.where(known, ids, 0)], self.nobody[key]))
        if self.weeks is not None:
            masks.append(np.isin((get("ts_ns")[0] // _DAY_NS + _THURSDAY) // 7, self.weeks))
        found: NDArray[np.bool_] = np.logical_and.reduce(masks)
        return found


def part_of(names: Names, only: Mapping[str, Sequence[str]]) -> Part:
    """The part that names of KEYS say; a week is named by its Monday, as YYYY-MM-DD."""
    ids, nobody = {}, {}
    for key in [key for key in only if key != "week"]:
        of_kind = {number: text for kind, number, text in names.all() if kind == key}
        ids[key] = np.zeros(max(of_kind, default=0) + 1, bool)
        for number in range(1, ids[key].size):
            ids[key][number] = of_kind.get(number, NOBODY[key]) in only[key]
        nobody[key] = NOBODY[key] in only[key]
    days = [(datetime.date.fromisoformat(week) - _EPOCH).days for week in only.get("week", ())]
    weeks = np.array([(day + _THURSDAY) // 7 for day in days], np.int64) if "week" in only else None
    return Part(ids, nobody, weeks)
