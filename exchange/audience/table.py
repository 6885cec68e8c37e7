"""The people of a ledger between two runs: the file `people.store`, and what changes it in batches.

Numbers here count the names of the file; `fill` turns them into those of the vocabulary. The salt of the ledger leaves
its mark in the file: under another salt the keys would mean other people.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.audience import kept
from exchange.audience.people import CLEAR, NAMES_MAX, PEOPLE_MAX, SEGMENTS_MAX, Mentions, PeopleError
from exchange.audience.store import DONE, LOAD_NEW, Store
from exchange.audience.vocabulary import Vocabulary

STORE: Final = "people.store"  # what was imported, and what rules found
LEARNT: Final = "people.learnt"  # what requests said, where it is remembered
MAGIC: Final = b"RNTPEOPL"
Numbers = NDArray[np.int64]
_Int = TypeVar("_Int", np.int64, np.uint64)
_NUMBER = np.int64((1 << 32) - 1)


class Table(Struct):
    """Segments by person. keys: uint64[n] ascending; numbers of person p: numbers[starts[p] : starts[p + 1]]."""

    keys: NDArray[np.uint64]
    starts: NDArray[np.int64]
    numbers: NDArray[np.int32]
    names: list[str]
    version: int = 0  # grows with every write

    def __len__(self) -> int:
        """Number of people."""
        return int(self.keys.size)

    def counts(self) -> dict[str, int]:
        """How many people have each segment, the most frequent first."""
        found = np.bincount(self.numbers, minlength=len(self.names))
        order = sorted(range(len(self.names)), key=lambda number: (-found[number], self.names[number]))
        return {self.names[number]: int(found[number]) for number in order}


def empty() -> Table:
    """A table of nobody."""
    return Table(np.zeros(0, np.uint64), np.zeros(1, np.int64), np.zeros(0, np.int32), [])


def mark_of(salt: bytes) -> str:
    """What a file keeps of the salt: enough to tell another one."""
    return blake2b(salt, digest_size=8, person=b"people").hexdigest()


def read(path: Path, salt: bytes) -> Table:
    """Read a file; nobody when there is none. Raises PeopleError for a damaged file, or one under another salt."""
    try:
        facts, arrays = kept.read(path, MAGIC)
    except FileNotFoundError:
        return empty()
    if facts["salt"] != mark_of(salt):
        raise PeopleError(f"{path}: written under another salt: expected the one that belongs to this ledger")
    counts = arrays["counts"]
    starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    return Table(arrays["keys"], starts, arrays["numbers"], facts["names"], facts["version"])


def write(path: Path, salt: bytes, table: Table) -> Table:
    """Write the file anew, names that nobody has left out. Returns the table as written, of the next version."""
    used = np.unique(table.numbers)
    place = np.zeros(len(table.names), np.int32)
    place[used] = np.arange(used.size)
    names = [table.names[number] for number in used]
    made = Table(table.keys, table.starts, place[table.numbers], names, table.version + 1)
    facts = {"salt": mark_of(salt), "version": made.version, "names": names}
    counts = np.diff(made.starts).astype(np.uint16)
    kept.write(path, MAGIC, facts, {"keys": made.keys, "counts": counts, "numbers": made.numbers})
    return made


def _distinct(values: NDArray[_Int]) -> NDArray[_Int]:
    """The values ascending, each once: by sorting, which for millions is several times faster than by hashing."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if ordered.size else ordered


def _pairs(table: Table) -> Numbers:
    """Every (person, segment) as row << 32 | number."""
    rows = np.repeat(np.arange(len(table), dtype=np.int64), np.diff(table.starts))
    return rows << 32 | table.numbers


def _table(keys: NDArray[np.uint64], pairs: Numbers, names: list[str], version: int) -> Table:
    """The table of some pairs, ascending, each once; people without any are left out."""
    counts = np.bincount(pairs >> 32, minlength=keys.size)
    there = counts > 0
    starts = np.concatenate(([0], np.cumsum(counts[there]))).astype(np.int64)
    return Table(keys[there], starts, (pairs & _NUMBER).astype(np.int32), names, version)


def _together(table: Table, names: list[str]) -> tuple[list[str], Numbers]:
    """The names of a table with others behind them; and the numbers that those have now."""
    place = {name: number for number, name in enumerate(table.names)}
    numbers = np.array([place.setdefault(name, len(place)) for name in names], np.int64)
    if len(place) > NAMES_MAX:
        raise PeopleError(f"{len(place)} different segments: at most {NAMES_MAX}")
    return list(place), numbers


def changed(table: Table, said: Mentions, replace: bool = False) -> Table:
    """The table after what a file says; `replace`: whoever it mentions has nothing but what it says.

    Of one person and segment the last word counts. Raises PeopleError beyond PEOPLE_MAX, SEGMENTS_MAX or NAMES_MAX.
    """
    names, numbers = _together(table, said.names)
    of_row = np.frombuffer(said.keys, np.uint64) if said.keys else np.zeros(0, np.uint64)
    keys = _distinct(np.concatenate((table.keys, of_row)))
    place = np.searchsorted(keys, of_row)
    rows = np.repeat(place, np.frombuffer(said.counts, np.uint16) if said.counts else 0).astype(np.int64)
    codes = np.frombuffer(said.codes, np.int32) if said.codes else np.zeros(0, np.int32)
    old = _pairs(Table(table.keys, table.starts, table.numbers, names))
    old = (np.searchsorted(keys, table.keys)[old >> 32] << 32 | (old & _NUMBER)) if old.size else old
    cleared = np.full(keys.size, -1, np.int64)  # where a person was cleared last; the table's own pairs stand before 0
    if replace:
        cleared[place] = 0
    at = np.flatnonzero(codes == CLEAR)
    np.maximum.at(cleared, rows[at], at)
    listed = np.flatnonzero((codes != CLEAR) & (np.arange(codes.size) >= cleared[rows]))
    number = numbers[codes[listed] >> 1] if listed.size else np.zeros(0, np.int64)
    pairs = np.concatenate((old[cleared[old >> 32] < 0], rows[listed] << 32 | number))
    less = np.concatenate((np.zeros(pairs.size - listed.size, bool), (codes[listed] & 1).astype(bool)))
    if less.any():
        order = np.argsort(pairs, kind="stable")
        ordered = pairs[order]
        last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        pairs = ordered[last[~less[order[last]]]]
    else:
        pairs = _distinct(pairs)
    counts = np.bincount(pairs >> 32, minlength=keys.size)
    if counts.size and counts.max() > SEGMENTS_MAX:
        row = int(np.flatnonzero(of_row == keys[np.argmax(counts)])[-1])
        raise PeopleError(
            f"{said.path}:{said.lines[row]}: {counts.max()} segments of one person, with what was known: "
            f"at most {SEGMENTS_MAX}"
        )
    if np.count_nonzero(counts) > PEOPLE_MAX:
        raise PeopleError(f"{said.path}: {np.count_nonzero(counts)} people, with those known: at most {PEOPLE_MAX}")
    return _table(keys, pairs, names, table.version)


def left_of(table: Table, said: Mentions, replace: bool = False) -> Table:
    """What a file leaves of a table: what it takes away is gone, what it adds is not added."""
    after = changed(table, said, replace)
    place = np.searchsorted(table.keys, after.keys)
    here = place < len(table)
    here[here] = table.keys[place[here]] == after.keys[here]
    pairs = _pairs(after)  # its names begin with those of the table
    pairs = pairs[here[pairs >> 32]]
    pairs = place[pairs >> 32].astype(np.int64) << 32 | (pairs & _NUMBER)
    return _table(table.keys, pairs[np.isin(pairs, _pairs(table))], table.names, table.version)


def without(table: Table, keys: NDArray[np.uint64]) -> Table:
    """The table without these people."""
    gone = np.isin(table.keys, keys)
    counts = np.diff(table.starts)
    starts = np.concatenate(([0], np.cumsum(counts[~gone]))).astype(np.int64)
    return Table(table.keys[~gone], starts, table.numbers[~np.repeat(gone, counts)], table.names, table.version)


def with_segments(table: Table, found: Mapping[str, NDArray[np.uint64]]) -> Table:
    """The table in which exactly these people (keys, ascending, each once) have each of the named segments.

    Raises PeopleError beyond PEOPLE_MAX, SEGMENTS_MAX or NAMES_MAX.
    """
    names, numbers = _together(table, list(found))
    keys = _distinct(np.concatenate([table.keys, *found.values()]))
    old = _pairs(table)
    old = old[~np.isin(old & _NUMBER, numbers)]
    old = (np.searchsorted(keys, table.keys)[old >> 32] << 32 | (old & _NUMBER)) if old.size else old
    new = [
        np.searchsorted(keys, people).astype(np.int64) << 32 | number
        for number, people in zip(numbers, found.values(), strict=True)
    ]
    pairs = _distinct(np.concatenate([old, *new]))
    counts = np.bincount(pairs >> 32, minlength=keys.size)
    if counts.size and counts.max() > SEGMENTS_MAX:
        raise PeopleError(f"{counts.max()} segments of one person, with those by rule: at most {SEGMENTS_MAX}")
    if np.count_nonzero(counts) > PEOPLE_MAX:
        raise PeopleError(f"{np.count_nonzero(counts)} people, with those by rule: at most {PEOPLE_MAX}")
    return _table(keys, pairs, names, table.version)


def fill(store: Store, tables: list[Table], vocabulary: Vocabulary) -> None:
    """Load tables into the store, a person in several with the segments of all; what it held before is gone.

    Every segment that somebody has gets a number of the vocabulary. Raises PeopleError beyond a limit of the store.
    """
    keys = _distinct(np.concatenate([np.zeros(0, np.uint64), *(table.keys for table in tables)]))
    parts = [np.zeros(0, np.int64)]
    for table in tables:
        number = np.array([vocabulary.id("seg", name) for name in table.names] or [0], np.int64)
        pairs = _pairs(table)
        parts.append(np.searchsorted(keys, table.keys)[pairs >> 32] << 32 | number[pairs & _NUMBER])
    made = _table(keys, _distinct(np.concatenate(parts)), [], 0)
    try:
        store.load(made.keys, made.starts, made.numbers)
    except ValueError as error:
        raise PeopleError(f"people store: {error}") from None


def table_of(store: Store, vocabulary: Vocabulary, version: int = 0) -> Table:
    """What a store holds now, as a table: to be written, or asked."""
    keys, starts, numbers = store.everyone()
    names = list(vocabulary.ids["seg"])  # in order of their numbers, of which the first is 2
    return Table(keys, starts, numbers - np.int32(vocabulary.size("seg") - len(names)), names, version)


def table_of_people(by_key: Mapping[int, tuple[str, ...]]) -> Table:
    """The table of segments by key, as `load_people` reads them."""
    keys, place = sorted(by_key), dict[str, int]()
    pairs = [row << 32 | place.setdefault(name, len(place)) for row, key in enumerate(keys) for name in by_key[key]]
    return _table(np.array(keys, np.uint64), np.unique(np.array(pairs, np.int64)), list(place), 0)


class Known:
    """What a market knows of people: the store that sales look into, and what of it only requests have said.

    `store` holds what lies in the ledger's folder (None = nothing does) and `by_key`; `version` is that of
    `people.store`. Raises PeopleError for a file that cannot be used, or beyond a limit.
    """

    def __init__(
        self,
        folder: Path | None,
        salt: bytes,
        vocabulary: Vocabulary,
        by_key: Mapping[int, tuple[str, ...]] | None = None,
        segments_max: int = SEGMENTS_MAX,
    ) -> None:
        self.folder, self.salt, self.vocabulary = folder, salt, vocabulary
        self.store, self._learnt = Store(segments_max=segments_max), Store(segments_max=segments_max)
        imported = empty() if folder is None else read(folder / STORE, salt)
        learnt = empty() if folder is None else read(folder / LEARNT, salt)
        self.version = imported.version
        fill(self.store, [imported, learnt, table_of_people(by_key or {})], vocabulary)
        fill(self._learnt, [learnt], vocabulary)

    def remember(self, key: int, numbers: Sequence[int]) -> int:
        """A request says that this person has these segments. Returns what the store says (store.DONE, SAME, FULL)."""
        status = self.store.remember(key, numbers)
        if status == DONE:
            self._learnt.remember(key, numbers)
        return status

    def save(self) -> None:
        """Write what requests said to `people.learnt`, so that the next start knows it. Raises OSError."""
        if self.folder is not None and len(self._learnt):
            write(self.folder / LEARNT, self.salt, table_of(self._learnt, self.vocabulary))


def warm_up() -> None:
    """Call the kernels of a store once, so that none is loaded or compiled while a request waits."""
    store = Store()
    for key in range(1, store.people.size):  # the table grows
        store.remember(key, (2, 3))
        store.remember(key, (4,))
    store._grow(store.pool.size)  # and the pool is squeezed
    store.everyone()


def bytes_per_person(table: Table) -> tuple[float, float]:
    """Bytes that a person costs in memory: of the table of keys, and of the runs of segments that people share."""
    if not len(table):
        return 0.0, 0.0
    mixed = (table.numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    sums = np.add.reduceat(mixed ^ (mixed >> np.uint64(32)), table.starts[:-1])  # of a set: its order does not count
    _, first = np.unique(sums, return_index=True)
    numbers = int(np.diff(table.starts)[first].sum())
    return 12 / LOAD_NEW, (4 * first.size + 4 * numbers) / len(table)
