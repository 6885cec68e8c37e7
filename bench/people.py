"""People: what looking up a person's segments costs, with a million in the store; and what its growth costs.

The look-up is the step inside a sale (`store.know`): find the person, copy his twenty segments into the query. Its
reference reads eight bytes at a random place of an array as large as the store, one read after the other: what memory
charges for meeting somebody. Growing is what a request waits for when what it says finds no room: at worst all people
move to a larger table and all segments to a pool without gaps; its reference copies the store.
"""

from typing import Any, Final

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from bench.ratio import Result, cpu_us
from exchange.audience import query as qy
from exchange.audience.store import LOAD_MAX, Store, know
from exchange.memory import at

PEOPLE: Final = 1_000_000
SEGMENTS: Final = 20  # of a person, each another set
NAMES: Final = 10_000  # different segments
LOOKS: Final = 200_000
KNOWN_TIMES: Final = 4.0  # demanded: random reads that a person costs
GROW_TIMES: Final = 8.0  # copies of the store


@njit(cache=True, nogil=True)
def know_all(store, keys, query, query_max):  # type: ignore[no-untyped-def]
    """Look up every person, each for a query that states no segment. Returns how many segments were found."""
    q = carray(at(query), query_max, np.int64)
    found = np.int64(0)
    for key in keys:
        q[qy.SEG], q[qy.SEG + 1], q[qy.LENGTH] = 0, 0, qy.HEAD
        found += know(store, query, query_max, key)
    return found


@njit(cache=True, nogil=True)
def read_all(words, places):  # type: ignore[no-untyped-def]
    """Read one word, 0 or 1, at each place or the next; where to read depends on what was read before."""
    found = np.int64(0)
    for place in places:
        found = words[place + found]
    return found


def store_of(people: int, rng: np.random.Generator) -> tuple[Store, NDArray[np.uint64]]:
    """A store of people with `SEGMENTS` each, no two sets alike, and their keys."""
    keys = np.unique(rng.integers(1, 2**63, people + people // 100, np.uint64))[:people]
    numbers = np.sort(rng.integers(0, NAMES - SEGMENTS, (people, SEGMENTS)), axis=1) + np.arange(2, 2 + SEGMENTS)
    store = Store()
    store.load(keys, np.arange(0, people * SEGMENTS + 1, SEGMENTS), numbers.astype(np.int32).reshape(-1))
    return store, keys


def measure(rounds: int) -> list[Result]:
    """The look-up of somebody, of nobody, and growth."""
    rng = np.random.default_rng(4)
    store, keys = store_of(PEOPLE, rng)
    query = np.zeros(qy.query_max(1), np.int64)
    words = rng.integers(0, 2, store.nbytes // 8)
    cost: dict[str, list[float]] = {"known": [], "unknown": [], "read": [], "grow": [], "copy": []}

    def looked(people: Any) -> float:
        place = query.ctypes.data
        return cpu_us(lambda: know_all(store.record[0], people, place, query.size), LOOKS)

    know_all(store.record[0], keys[:1], query.ctypes.data, query.size)
    read_all(words, np.zeros(1, np.int64))
    for _ in range(rounds):
        some, places = rng.choice(keys, LOOKS), rng.integers(0, words.size - 1, LOOKS)
        cost["known"].append(looked(some))
        cost["unknown"].append(looked(some | np.uint64(1 << 63)))
        cost["read"].append(cpu_us(lambda: read_all(words, places), LOOKS))  # noqa: B023 - called at once
    assert know_all(store.record[0], keys, query.ctypes.data, query.size) == PEOPLE * SEGMENTS
    each = store.nbytes / PEOPLE
    for _ in range(rounds):
        fresh, _ = store_of(PEOPLE, rng)
        fresh.record["used"] = int(fresh.people.size * LOAD_MAX)  # as many as fit: the next one makes it grow
        fresh.record["unused"] = (int(fresh.record["pool_used"][0]) >> 2) + 1  # and as many gaps as are borne
        cost["copy"].append(cpu_us(lambda: (fresh.people.copy(), fresh.pool.copy()), 1))  # noqa: B023
        cost["grow"].append(cpu_us(lambda: fresh._grow(fresh.pool.size // 12), 1))  # noqa: B023
    read = f"one random read of 8 bytes among {store.nbytes / 1e6:.0f} MB"
    return [
        Result(
            f"a person of {PEOPLE // 10**6} M, {SEGMENTS} segments", read, "CPU us/request", cost["known"],
            cost["read"], KNOWN_TIMES, multiple=True, note=f"{each:.1f} bytes a person",
        ),
        Result("a person whom nobody knows", read, "CPU us/request", cost["unknown"], cost["read"], multiple=True),
        Result(
            f"people store of {PEOPLE // 10**6} M grows", "one copy of its tables", "CPU us", cost["grow"],
            cost["copy"], GROW_TIMES, multiple=True, note=f"a stall of {float(np.median(cost['grow'])) / 1e3:.0f} ms",
        ),
    ]  # fmt: skip
