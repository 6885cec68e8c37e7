"""The people store: who has which segments, in arrays that a sale looks into.

An open-addressing table of keys (uint64) and, per person, where the run of his segments begins in one pool of int32.
A run is a header (count, and how many people share it) and the numbers of the segments (vocabulary.py), ascending,
each once; equal runs of a load are kept once. A change writes a new run behind the others; what is then unused is
counted and squeezed out when the pool is full.

Bytes a person: 12 / load of the table, which is LOAD_NEW after a load or growth and LOAD_MAX at most, hence 20 to 24,
and 4 + 4 per segment for each run, shared by those who have it. Numbers nobody has cost nothing.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from exchange.audience import query as qy
from exchange.audience.people import PEOPLE_MAX, SEGMENTS_MAX
from exchange.audience.vocabulary import OTHER
from exchange.memory import at, prefetch

PEOPLE: Final = np.dtype(
    [
        (name, "i8")
        for name in (
            "people", "pool", "scratch", "size", "used", "pool_size", "pool_used", "unused",
            "people_max", "segments_max", "n_refused",
        )
    ]
)  # fmt: skip
# A slot of the table; packed, so that a look-up touches one line of the cache and costs 12 bytes over the load.
SLOT: Final = np.dtype([("key", "u8"), ("run", "u4")])  # run: where it begins in the pool; 0 = none
LOAD_MAX: Final = 0.6
LOAD_NEW: Final = 0.5
SIZE_MIN: Final = 64
AHEAD: Final = 24  # slots: how far ahead memory is asked for
POOL_MIN: Final = 1 << 10
POOL_MAX: Final = 1 << 32  # numbers in all runs: an offset is a uint32
FULL: Final = 0  # people_max or segments_max is reached
DONE: Final = 1
SAME: Final = 2  # there was nothing to change
GROW: Final = 3  # no room for one more person, or run
_COUNT_BITS: Final = 10
_COUNT: Final = (1 << _COUNT_BITS) - 1  # SEGMENTS_MAX fits
_SHARED_MAX: Final = (1 << (31 - _COUNT_BITS)) - 1  # beyond it a run is kept until the pool is squeezed
_GOLDEN, _32, _NO_KEY = np.uint64(0x9E3779B97F4A7C15), np.uint64(32), np.uint64(0)


@njit(cache=True, nogil=True)
def slot_of(s, key):  # type: ignore[no-untyped-def]
    """Slot of a person, or -1 - the free slot he would take. Any size does: a hash is scaled, not masked."""
    people = carray(at(s.people), s.size, SLOT)
    slot = np.int64((((key * _GOLDEN) >> _32) * np.uint64(s.size)) >> _32)
    while people[slot].key != _NO_KEY:
        if people[slot].key == key:
            return slot
        slot += 1
        if slot == s.size:
            slot = np.int64(0)
    return -1 - slot


@njit(cache=True, nogil=True)
def know(s, query, query_max, person_key):  # type: ignore[no-untyped-def]
    """Merge the stored segments of a person (0 = nobody known) into the list of the query at address `query`.

    The list of segments is the last of the query, which has room for `query_max` integers. Where that is too little
    for all of them, the last stored ones stay out. Returns how many the list gained.
    """
    key = np.uint64(person_key)
    if key == _NO_KEY or s.used == 0:
        return np.int64(0)
    slot = slot_of(s, key)
    if slot < 0:
        return np.int64(0)
    run = np.int64(carray(at(s.people), s.size, SLOT)[slot].run)
    pool = carray(at(s.pool), s.pool_size, np.int32)
    n = np.int64(pool[run]) & _COUNT
    q = carray(at(query), query_max, np.int64)
    first, count = q[qy.SEG], q[qy.SEG + 1]
    if count == 0:
        first = q[qy.LENGTH]
        q[qy.SEG] = first
    elif count == 1 and q[first] == OTHER:
        count = 0
    n = min(n, np.int64(query_max) - first - count)
    if n <= 0:
        return np.int64(0)
    if count == 0:
        gained = n - q[qy.SEG + 1]  # [OTHER] gives its place
        for i in range(n):
            q[first + i] = pool[run + 1 + i]
        q[qy.SEG + 1], q[qy.LENGTH] = n, first + n
        return gained
    # from the back, so that nothing is overwritten before it is read
    i, j, to = first + count - 1, run + n, first + count + n - 1
    while j > run:
        stored = np.int64(pool[j])
        if i >= first and q[i] > stored:
            q[to] = q[i]
            i -= 1
        else:
            if i >= first and q[i] == stored:
                i -= 1
            q[to] = stored
            j -= 1
        to -= 1
    twice = to - i  # places left free by segments that both have
    total = count + n - twice
    if twice > 0:
        for k in range(i + 1, first + total):
            q[k] = q[k + twice]
    q[qy.SEG + 1], q[qy.LENGTH] = total, first + total
    return total - count


@njit(cache=True, nogil=True)
def leave(s, pool, run):  # type: ignore[no-untyped-def]
    """One person no longer has this run."""
    shared, n = pool[run] >> _COUNT_BITS, pool[run] & _COUNT
    if run == 0 or shared >= _SHARED_MAX:
        return
    pool[run] = ((shared - 1) << _COUNT_BITS) | n
    if shared == 1:
        s.unused += 1 + n


@njit(cache=True, nogil=True)
def change(s, person_key, n, union):  # type: ignore[no-untyped-def]
    """Give a person the first `n` numbers of the scratch, ascending, instead of or (`union`) besides what he has."""
    key = np.uint64(person_key)
    given = carray(at(s.scratch), SEGMENTS_MAX, np.int32)
    pool = carray(at(s.pool), s.pool_size, np.int32)
    people = carray(at(s.people), s.size, SLOT)
    slot = slot_of(s, key)
    old = np.int64(people[slot].run) if slot >= 0 else np.int64(0)
    had = np.int64(pool[old]) & _COUNT
    total = n
    if union:
        i, total = 0, had
        for k in range(n):
            while i < had and pool[old + 1 + i] < given[k]:
                i += 1
            if i == had or pool[old + 1 + i] != given[k]:
                total += 1
        if total == had:
            return SAME
    if total > s.segments_max or (slot < 0 and total > 0 and s.used >= s.people_max):
        s.n_refused += 1
        return FULL
    if total == 0 and slot < 0:
        return SAME
    if s.pool_used + 1 + total > s.pool_size or (slot < 0 and (s.used + 1) > s.size * LOAD_MAX):
        return GROW
    run = s.pool_used
    i, k = 0, 0
    for to in range(run + 1, run + 1 + total):
        mine = union and i < had and (k >= n or pool[old + 1 + i] <= given[k])
        if mine:
            if k < n and pool[old + 1 + i] == given[k]:
                k += 1
            pool[to] = pool[old + 1 + i]
            i += 1
        else:
            pool[to] = given[k]
            k += 1
    if total == 0:
        run = 0  # the empty run
    else:
        pool[run] = np.int32((1 << _COUNT_BITS) | total)
        s.pool_used += 1 + total
    if slot < 0:
        slot = -1 - slot
        people[slot].key = key
        s.used += 1
    leave(s, pool, old)
    people[slot].run = np.uint32(run)
    return DONE


@njit(cache=True, nogil=True)
def load(s, keys, starts, numbers, seen):  # type: ignore[no-untyped-def]
    """Fill an empty store whose tables have room; `seen`, zeros, a power of two, finds equal runs."""
    pool = carray(at(s.pool), s.pool_size, np.int32)
    people = carray(at(s.people), s.size, SLOT)
    for p in range(keys.size):
        first, n = starts[p], starts[p + 1] - starts[p]
        if n == 0:
            continue
        mixed = np.uint64(n)
        for i in range(first, first + n):
            mixed = (mixed ^ np.uint64(numbers[i])) * _GOLDEN
            mixed ^= mixed >> _32
        place = np.int64(mixed) & (seen.size - 1)
        run = np.int64(0)
        while seen[place] != 0:
            run = np.int64(seen[place])
            if pool[run] & _COUNT == n:
                same = np.int64(0)
                while same < n and pool[run + 1 + same] == numbers[first + same]:
                    same += 1
                if same == n:
                    break
            run = np.int64(0)
            place = (place + 1) & (seen.size - 1)
        if run == 0:
            run = s.pool_used
            seen[place] = np.uint32(run)
            pool[run] = np.int32(n)
            for i in range(n):
                pool[run + 1 + i] = numbers[first + i]
            s.pool_used += 1 + n
        if pool[run] >> _COUNT_BITS < _SHARED_MAX:
            pool[run] += np.int32(1 << _COUNT_BITS)
        slot = -1 - slot_of(s, keys[p])
        people[slot].key, people[slot].run = keys[p], np.uint32(run)
        s.used += 1


@njit(cache=True, nogil=True)
def move(s, old):  # type: ignore[no-untyped-def]
    """Put the people of an old table into the empty one that the store points to; those without segments go."""
    people = carray(at(s.people), s.size, SLOT)
    s.used = 0
    for k in range(old.size):
        if old[k].key != _NO_KEY and old[k].run != 0:
            slot = -1 - slot_of(s, old[k].key)
            people[slot].key, people[slot].run = old[k].key, old[k].run
            s.used += 1


@njit(cache=True, nogil=True)
def squeeze(s, old):  # type: ignore[no-untyped-def]
    """Copy the runs in use from an old pool, which is spoilt, to the empty one that the store points to."""
    pool, people = carray(at(s.pool), s.pool_size, np.int32), carray(at(s.people), s.size, SLOT)
    to = np.int64(1)
    for slot in range(s.size):
        soon = old.ctypes.data + 4 * np.int64(people[min(slot + AHEAD, s.size - 1)].run)  # runs lie in no order
        prefetch(soon)
        prefetch(soon + 64)
        run = np.int64(people[slot].run)
        if run == 0:
            continue
        if old[run] == -1:  # moved already, with another who shares it: its new place stands behind
            people[slot].run = np.uint32(old[run + 1])
            moved = np.int64(people[slot].run)
            if pool[moved] >> _COUNT_BITS < _SHARED_MAX:
                pool[moved] += np.int32(1 << _COUNT_BITS)
            continue
        n = np.int64(old[run] & _COUNT)
        for i in range(1, n + 1):
            pool[to + i] = old[run + i]
        pool[to] = np.int32((1 << _COUNT_BITS) | n)
        old[run], old[run + 1] = np.int32(-1), np.int32(to)
        people[slot].run = np.uint32(to)
        to += 1 + n
    s.pool_used, s.unused = to, 0


@njit(cache=True, nogil=True)
def read_out(s, order, starts, numbers):  # type: ignore[no-untyped-def]
    """Copy the numbers of the people in the slots `order`, one run after the other."""
    pool, people = carray(at(s.pool), s.pool_size, np.int32), carray(at(s.people), s.size, SLOT)
    for p in range(order.size):
        run = np.int64(people[order[p]].run)
        for i in range(starts[p + 1] - starts[p]):
            numbers[starts[p] + i] = pool[run + 1 + i]


class Store:
    """Segments by person, for one thread. `record[0]` is what `know` takes; it stays where it is.

    people_max, segments_max (of one person): whoever or whatever is over it is refused and counted in `refused`.
    """

    def __init__(self, people_max: int = PEOPLE_MAX, segments_max: int = SEGMENTS_MAX) -> None:
        if not 1 <= segments_max <= SEGMENTS_MAX:
            raise ValueError(f"segments_max = {segments_max}: expected 1 to {SEGMENTS_MAX}")
        self.record = np.zeros(1, PEOPLE)
        self.record["people_max"], self.record["segments_max"] = people_max, segments_max
        self.scratch = np.zeros(SEGMENTS_MAX, np.int32)
        self._tables(SIZE_MIN, POOL_MIN)

    def _tables(self, size: int, pool_size: int) -> None:
        """Fresh, empty tables."""
        self.people = np.zeros(size, SLOT)
        self.pool = np.zeros(pool_size, np.int32)
        record = self.record
        record["used"], record["pool_used"], record["unused"] = 0, 1, 0  # pool[0] is the empty run
        self._point()

    def _point(self) -> None:
        """Write addresses and sizes."""
        for name in ("people", "pool", "scratch"):
            self.record[name] = getattr(self, name).ctypes.data
        self.record["size"], self.record["pool_size"] = self.people.size, self.pool.size

    def __len__(self) -> int:
        """Number of people with a segment, and of those who had one since the last growth."""
        return int(self.record["used"][0])

    @property
    def refused(self) -> int:
        """Changes that went over people_max or segments_max."""
        return int(self.record["n_refused"][0])

    @property
    def nbytes(self) -> int:
        """Bytes of all tables."""
        return int(self.people.nbytes + self.pool.nbytes)

    def set(self, key: int, numbers: Sequence[int]) -> int:
        """Give a person exactly these segments. Returns DONE, SAME, or FULL (0) where a limit `refused` it."""
        return self._change(key, numbers, False)

    def remember(self, key: int, numbers: Sequence[int]) -> int:
        """Give a person these segments besides those he has. Returns DONE, SAME, or FULL (0) where a limit `refused`.

        Key 0 is nobody, and OTHER no segment: neither is remembered.
        """
        return self._change(key, numbers, True)

    def _change(self, key: int, numbers: Sequence[int], union: bool) -> int:
        listed = sorted({number for number in numbers if number > OTHER})
        if key == 0:
            return SAME
        if len(listed) > int(self.record["segments_max"][0]):
            self.record["n_refused"] += 1
            return FULL
        self.scratch[: len(listed)] = listed
        while (status := change(self.record[0], np.uint64(key), len(listed), union)) == GROW:
            self._grow(2 + len(listed) + SEGMENTS_MAX)
        return int(status)

    def segments(self, key: int) -> list[int]:
        """The numbers of a person's segments, ascending."""
        slot = int(slot_of(self.record[0], np.uint64(key))) if key else -1
        if slot < 0:
            return []
        run = int(self.people[slot]["run"])
        count = int(self.pool[run]) & _COUNT
        return [int(number) for number in self.pool[run + 1 : run + 1 + count]]

    def load(self, keys: NDArray[np.uint64], starts: NDArray[np.int64], numbers: NDArray[np.int32]) -> None:
        """Take in people all at once, instead of those that are here.

        keys: uint64[n], each once, none 0; starts: int64[n + 1]; numbers of person p, ascending, each once, are
        numbers[starts[p] : starts[p + 1]]. Raises ValueError beyond people_max or segments_max.
        """
        record = self.record[0]
        if keys.size > record["people_max"]:
            raise ValueError(f"{keys.size} people: at most {record['people_max']}")
        if keys.size and np.diff(starts).max() > record["segments_max"]:
            raise ValueError(f"{np.diff(starts).max()} segments of one person: at most {record['segments_max']}")
        need = 1 + numbers.size + keys.size
        if need > POOL_MAX:
            raise ValueError(f"{numbers.size} segments of all people: at most {POOL_MAX - keys.size - 1}")
        self._tables(max(SIZE_MIN, int(keys.size / LOAD_NEW)), max(POOL_MIN, need))
        seen = np.zeros(1 << (2 * keys.size | 1).bit_length(), np.uint32)
        load(self.record[0], keys, starts, numbers, seen)
        used = int(self.record["pool_used"][0])
        self.pool = self.pool[: used + max(POOL_MIN, used >> 4)].copy()  # equal runs are kept once
        self._point()

    def everyone(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32]]:
        """All people with a segment in order of their keys, as `load` takes them."""
        order = np.flatnonzero(self.people["run"])
        order = order[np.argsort(self.people["key"][order])]
        counts = self.pool[self.people["run"][order]] & _COUNT
        starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        numbers = np.empty(int(starts[-1]), np.int32)
        read_out(self.record[0], order, starts, numbers)
        return self.people["key"][order], starts, numbers

    def _grow(self, need: int) -> None:
        """Make room for one more person and a run of `need` numbers: a larger table, a squeezed or larger pool."""
        record = self.record[0]
        if int(record["used"]) + 1 > self.people.size * LOAD_MAX:
            people = self.people
            size = int((int(record["used"]) + 1) / LOAD_MAX * 1.2) + 1  # LOAD_NEW after it
            self.people = np.zeros(size, SLOT)
            self._point()
            move(self.record[0], people)
        used, unused = int(record["pool_used"]), int(record["unused"])
        if used + need <= self.pool.size:
            return
        live = used - unused
        old: NDArray[Any] = self.pool
        self.pool = np.zeros(min(POOL_MAX, live + (live >> 2) + need + POOL_MIN), np.int32)
        if unused >= used >> 2:
            self._point()
            squeeze(self.record[0], old)
            return
        self.pool = np.zeros(min(POOL_MAX, used + (used >> 2) + need), np.int32)
        self.pool[:used] = old[:used]
        self._point()
        if used + need > self.pool.size:
            raise MemoryError(f"people store: more than {POOL_MAX} numbers")
