"""The rule for money, and how a record type is made of a field list.

Money is int64 *nano-currency* (`_nano`); for a price per impression that is the same integer as micro-CPM:
EUR 4.00 CPM = 4_000_000. A float CPM exists only at the border, and there floors round up, bids down, and
prices quoted back down.
"""

import struct
from math import ceil, floor
from typing import Final

import numpy as np

NANO: Final = 10**9
PRICE_MAX_NANO: Final = 10**12  # per impression; keeps price x basis points within int64
BUDGET_MAX_NANO: Final = 10**17
RATE_ONE_PPM: Final = 10**6
ONE_PPB: Final = 10**9  # the unit of rates per impression: 1 = every impression is the billable event
ORDER: Final = {
    "i1": "b",
    "u1": "B",
    "i2": "h",
    "u2": "H",
    "i4": "i",
    "u4": "I",
    "i8": "q",
    "u8": "Q",
    "f8": "d",
}
Fields = list[tuple[str, str]]


def shape(fields: Fields) -> np.dtype[np.void]:
    """Return the aligned record type of a field list `[(name, "i8"), ...]`."""
    return np.dtype(fields, align=True)


def packer(dtype: np.dtype[np.void]) -> struct.Struct:
    """Return the `struct.Struct` that writes one record of `dtype`: the fast way in from Python.

    Only scalar fields; padding is written as zeros, so equal values give equal bytes.
    """
    text, at = "=", 0
    for name in dtype.names or ():
        kind, offset = dtype.fields[name][:2]  # type: ignore[index]
        text += "x" * (offset - at) + ORDER[kind.str[1:]]
        at = offset + kind.itemsize
    return struct.Struct(text + "x" * (dtype.itemsize - at))


# ---- money -------------------------------------------------------------------------------------------------


def cpm_up(cpm: float) -> int:
    """Nano per impression of a float CPM below 1e15, rounded up (floors). 0.85 gives exactly 850_000."""
    nano = round(cpm * 1e6)
    return nano if nano / 1e6 == cpm else ceil(cpm * 1e6)


def cpm_down(cpm: float) -> int:
    """Nano per impression of a float CPM below 1e15, rounded down (bids)."""
    nano = round(cpm * 1e6)
    return nano if nano / 1e6 == cpm else floor(cpm * 1e6)


def convert_up(nano: int, rate_ppm: int) -> int:
    """Into the ledger currency, rounded up: `nano` of a currency worth `rate_ppm` millionths of ours."""
    return -(-nano * rate_ppm // RATE_ONE_PPM)


def convert_down(nano: int, rate_ppm: int) -> int:
    """Into the ledger currency, rounded down."""
    return nano * rate_ppm // RATE_ONE_PPM


def quote_down(nano: int, rate_ppm: int) -> int:
    """Out of the ledger currency, rounded down, so that price <= bid holds in the bidder's currency too."""
    return nano * RATE_ONE_PPM // rate_ppm
