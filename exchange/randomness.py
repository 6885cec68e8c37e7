"""Every draw of the exchange: Philox4x32-10, a counter-based generator, so order and threads do not matter.

key = seed, counter = (auction id, entity, imp and purpose). The same call gives the same number live, in a
simulation and in a replay. Source: Salmon, Moraes, Dror, Shaw (2011), Parallel Random Numbers: As Easy as 1, 2, 3.
"""

from typing import Final

import numpy as np
from numba import njit

# Purposes: one number for each thing that is drawn; append only.
TIE: Final = 1  # between equal bids
RULE: Final = 2  # imp.u, a campaign's own draw
VALUE: Final = 3  # a valuation drawn from a distribution
VISIT: Final = 4  # population: who comes, where
TRUTH: Final = 5  # population: is it seen, is it clicked
PERSON: Final = 6  # population: who a person is
PLACEMENT: Final = 7  # population: what a placement is
OWN: Final = 8  # population: is the person already a customer
HOLDOUT: Final = 9  # is the person never shown an advertiser's ads (in place of the auction: the person's key)
ROTATE: Final = 10  # which of a campaign's ads that fit
CONVERSION: Final = 11  # population: does a click become a conversion
ORGANIC: Final = 12  # population: does a person buy from an advertiser anyway, and when
UPLIFT: Final = 13  # population: does a person buy because he has seen an ad, and when

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_S32 = np.uint64(32)
_S11 = np.uint64(11)
_S16 = np.uint64(16)
_UNIT = 2.0**-53


@njit(cache=True, nogil=True)
def philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Ten rounds of Philox4x32; words are uint64 below 2^32. Returns four words."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0, c1, c2, c3 = (p1 >> _S32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _S32) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@njit(cache=True, nogil=True)
def draw(seed, auction_id, imp_ix, entity, purpose):  # type: ignore[no-untyped-def]
    """Four 32-bit words for (auction, imp, entity, purpose); a 64-bit entity is folded to 32 bits."""
    auction = np.uint64(auction_id)
    who = np.uint64(entity)
    key = np.uint64(seed)
    return philox(
        auction & _LOW,
        auction >> _S32,
        (who ^ (who >> _S32)) & _LOW,
        (np.uint64(purpose) << _S16) | np.uint64(imp_ix),
        key & _LOW,
        key >> _S32,
    )


@njit(cache=True, nogil=True)
def unit(high, low):  # type: ignore[no-untyped-def]
    """Two 32-bit words as a double in [0, 1) with 53 random bits."""
    return np.float64(((high << _S32) | low) >> _S11) * _UNIT
