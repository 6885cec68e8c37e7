"""A crowd: people with all that is known of each without a request, and which of them an audience wants.

Of people alone hardly anything is known but segments; those of a simulated population have a country and a device as
well. A leaf on anything else counts as true, negated or not: whoever is counted *could* match in the right place at
the right hour, and the leaves left out are named. With any left out a count is an upper bound.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.audience import table as tb
from exchange.audience.language import leaf_text
from exchange.audience.normal import pushed
from exchange.audience.people import Progress, person_key, read_mentions
from exchange.audience.target import And, Leaf, Not, Tree, leaves_of
from exchange.audience.words import nearest
from exchange.config import Config
from exchange.population import Population
from exchange.population.people import COUNTRIES, DEVICES
from exchange.rent.names import SALT_BYTES, read_meta, salt

Mask = NDArray[np.bool_]
_NUMBER = np.int64((1 << 32) - 1)


class Texts(Struct):
    """A text attribute of each person: values[codes[person]]; code -1 = not stated."""

    values: list[str]
    codes: NDArray[np.int64]


class Crowd(Struct):
    """People by key, ascending, each once, with their segments, and the other attributes known of them by name."""

    source: str
    table: tb.Table
    texts: dict[str, Texts] = {}

    def __len__(self) -> int:
        """Number of people."""
        return len(self.table)

    def matching(self, tree: Tree) -> Mask:
        """Who could match: bool[n]."""
        return self._matching(pushed(tree))

    def ignored(self, tree: Tree) -> list[str]:
        """The leaves of a tree that count as true, because this crowd does not know their attribute; each once."""
        return list(dict.fromkeys(leaf_text(leaf) for leaf in leaves_of(tree) if not self._knows(leaf)))

    def unheard(self, tree: Tree) -> dict[str, str]:
        """Segments that a tree names and nobody here has, as written, each with the nearest that somebody has or ""."""
        asked = [value for leaf in leaves_of(tree) if leaf.attribute == "seg" for value in leaf.values]
        known = [self.table.names[number] for number in np.unique(self.table.numbers)]
        return {value: nearest(value, known) for value in dict.fromkeys(asked) if value not in known}

    def _knows(self, leaf: Leaf) -> bool:
        return leaf.attribute == "seg" or leaf.attribute in self.texts

    def _matching(self, tree: Tree) -> Mask:
        if isinstance(tree, Leaf):
            return self._leaf(tree) if self._knows(tree) else np.ones(len(self), bool)
        assert not isinstance(tree, Not)  # negation stands at the leaves
        found = np.full(len(self), isinstance(tree, And))
        for part in tree.parts:
            if isinstance(tree, And):
                found &= self._matching(part)
            else:
                found |= self._matching(part)
        return found

    def _leaf(self, leaf: Leaf) -> Mask:
        if leaf.attribute == "seg":
            stated = np.diff(self.table.starts) > 0
            named = set(leaf.values)
            among = self._having([number for number, name in enumerate(self.table.names) if name in named])
        else:
            its = self.texts[leaf.attribute]
            stated = its.codes >= 0
            wanted = np.array([value in leaf.values for value in its.values] or [False])
            among = stated & wanted[np.maximum(its.codes, 0)]
        found: Mask = np.where(stated, among != leaf.negated, leaf.missing)
        return found

    def _having(self, numbers: Sequence[int]) -> Mask:
        """Who has at least one of these segments."""
        found = np.zeros(len(self), bool)
        if numbers:
            wanted = np.zeros(len(self.table.names), bool)
            wanted[list(numbers)] = True
            hits = np.flatnonzero(wanted[self.table.numbers])
            found[np.searchsorted(self.table.starts, hits, "right") - 1] = True
        return found


def salt_of(ledger: Path) -> bytes:
    """What keyed the people of a ledger: its salt; of one that a simulation wrote, without any, the seed."""
    if not (ledger / "salt").exists() and "seed" in (facts := read_meta(ledger)):
        return int(facts["seed"]).to_bytes(SALT_BYTES, "little")
    return salt(ledger)


def of_file(path: Path, salt: bytes, progress: Progress | None = None) -> Crowd:
    """The people of a CSV of user ids and segments. Raises PeopleError."""
    said = read_mentions(path, lambda text: person_key(salt, text), progress)
    return Crowd(str(path), tb.changed(tb.empty(), said))


def of_store(folder: Path, salt: bytes) -> Crowd:
    """The people known beside a ledger: imported, found by rule, learnt from requests. Raises PeopleError."""
    tables = [tb.read(folder / name, salt) for name in (tb.STORE, tb.LEARNT)]
    keys = np.union1d(tables[0].keys, tables[1].keys)
    return Crowd(f"the people store of {folder}", _joined(keys, tables))


def of_population(config: Config, salt: bytes, source: str, known: Sequence[Crowd] = ()) -> Crowd:
    """The simulated people of a config, with what other crowds know of them; others of those are left out."""
    population = Population(config, salt)
    people = population.people[np.argsort(population.people["key"])]
    keys = people["key"].copy()
    bits = np.arange(len(population.segment_names), dtype=np.uint32)
    row, number = np.nonzero(people["segments"][:, None] >> bits & np.uint32(1))
    table = _table(keys, row << 32 | number, list(population.segment_names))
    if known:
        table = _joined(keys, [table, *(each.table for each in known)])
    texts = {}
    for name, values in (("country", COUNTRIES), ("device", DEVICES)):
        codes = np.full(keys.size, -1, np.int64) if population.plain else people[name].astype(np.int64)
        texts[name] = Texts([value for value, _ in values], codes)
    return Crowd(source, table, texts)


def _joined(keys: NDArray[np.uint64], tables: Sequence[tb.Table]) -> tb.Table:
    """What several tables know of the people with these keys, ascending; also of those of whom none knows anything."""
    names: dict[str, int] = {}
    parts = [np.zeros(0, np.int64)]
    for table in tables:
        number = np.array([names.setdefault(name, len(names)) for name in table.names] or [0], np.int64)
        row = np.minimum(np.searchsorted(keys, table.keys), max(0, keys.size - 1))
        there = keys[row] == table.keys if keys.size else np.zeros(len(table), bool)
        counts = np.diff(table.starts)
        kept = np.repeat(there, counts)
        parts.append(np.repeat(row, counts)[kept].astype(np.int64) << 32 | number[table.numbers[kept]])
    pairs = np.sort(np.concatenate(parts))
    fresh = np.ones(pairs.size, bool)
    np.not_equal(pairs[1:], pairs[:-1], out=fresh[1:])
    return _table(keys, pairs[fresh], list(names))


def _table(keys: NDArray[np.uint64], pairs: NDArray[np.int64], names: list[str]) -> tb.Table:
    """The table of pairs row << 32 | number, ascending, each once; people without any stay in."""
    starts = np.concatenate(([0], np.cumsum(np.bincount(pairs >> 32, minlength=keys.size)))).astype(np.int64)
    return tb.Table(keys, starts, (pairs & _NUMBER).astype(np.int32), names)
