"""Arrays that grow by doubling: what a campaign has a run in, and what is sized by the number of campaigns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Table:
    """One array of runs, never empty. A run may be written over by one that is not longer; else it goes behind all."""

    def __init__(self, dtype: DTypeLike) -> None:
        self.array: NDArray[Any] = np.zeros(1, dtype)
        self.used = 0

    def put(self, rows: Sequence[Any], first: int = 0, room: int = 0) -> int:
        """Write a run of rows over the old one (`room` rows from `first`), or behind all. Returns where it begins."""
        if len(rows) > room:
            first = self.used
            self.used += len(rows)
            self.array = at_least(self.array, self.used)
        if rows:
            self.array[first : first + len(rows)] = rows
        return first


def at_least(array: NDArray[Any], need: int) -> NDArray[Any]:
    """The array, or a copy of at least twice its length with `need` entries or more, zero behind the old ones."""
    if need <= array.shape[0]:
        return array
    larger = np.zeros((max(2 * array.shape[0], need), *array.shape[1:]), array.dtype)
    larger[: array.shape[0]] = array
    return larger
