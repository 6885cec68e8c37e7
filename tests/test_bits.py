"""Words of bits: bits go to the places of a mask, by one instruction or one by one."""

from random import Random

import numpy as np
from numba import njit

from exchange.audience.bits import spread, spread_by_bit

_ONE_BY_ONE = njit(spread_by_bit)


@njit
def _spread(bits, mask):  # type: ignore[no-untyped-def]
    return spread(bits, mask)


def test_bits_go_to_the_places_of_the_mask() -> None:
    """Both ways do what plain Python does, so that a processor without the instruction finds the same campaigns."""
    rng = Random(5)
    for _ in range(300):
        bits, mask = rng.getrandbits(64), rng.choice([0, 2**64 - 1, rng.getrandbits(64), 1 << rng.randrange(64)])
        expected, nth = 0, 0
        for place in range(64):
            if mask >> place & 1:
                expected |= (bits >> nth & 1) << place
                nth += 1
        for way in (_spread, _ONE_BY_ONE):
            assert int(way(np.uint64(bits), np.uint64(mask))) == expected
