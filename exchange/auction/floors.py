"""Reserves: floors for some bids, from `[[auction.reserve]]`; the highest that applies to a bid counts.

A reserve with a target holds for the imps of that audience, by the targeting language. Without a
seat it raises the imp's floor, which rules see and rows show; with one it raises the floor of that buyer's bids. The
values a reserve is made of also say how the format `myerson` ranks that buyer.
"""

from typing import Any, Final

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st
from exchange.auction import formats as fm
from exchange.audience import targets as tg
from exchange.config import Auction, ConfigError, Distribution, Reserve
from exchange.rent.names import Names

RESERVE: Final = mk.shape(
    [
        ("floor_nano", "i8"),
        ("offset_nano", "i8"),  # virtual value = slope * bid - offset
        ("seat", "u4"),  # 0 = everybody's bids
        ("target", "i4"),  # number of its target; -1 = everybody's visits
        ("slope", "u1"),  # 0 = no distribution, or none whose virtual value is a straight line
    ]
)


# ---- building ------------------------------------------------------------------------------------------------------


def reserve_records(auction: Auction, names: Names, targets: dict[int, int]) -> Any:
    """RESERVE[n + 1] of a config, the last one blank; targets: reserve -> number of its target. Raises ConfigError."""
    records = np.zeros(len(auction.reserve) + 1, RESERVE)
    for ix, reserve in enumerate(auction.reserve):
        record = records[ix]
        record["floor_nano"] = min(mk.cpm_up(floor_cpm(reserve, ix)), fm.UNREACHED)
        record["target"] = targets.get(ix, -1)
        if reserve.seat:
            record["seat"] = names.id("seat", reserve.seat)
        line = reserve.values and virtual_value(reserve.values)
        if line:
            record["slope"], record["offset_nano"] = line
        elif reserve.values and mk.FORMATS[auction.format] == mk.MYERSON:
            raise ConfigError(
                f"auction.reserve[{ix}]: values: expected uniform or exponential where format = 'myerson': "
                "bids are ranked by virtual values that are straight lines"
            )
    return records


def floor_cpm(reserve: Reserve, ix: int) -> float:
    """The floor of a reserve: as given, or the optimum for its values. Raises ConfigError."""
    if reserve.values is None:
        assert reserve.floor_cpm is not None
        return reserve.floor_cpm
    from exchange.auction.reserve import optimal_reserve

    try:
        return optimal_reserve(reserve.values)
    except ValueError as error:
        raise ConfigError(f"auction.reserve[{ix}]: {error}") from None


def virtual_value(values: Distribution) -> tuple[int, int] | None:
    """(slope, offset_nano) of Myerson's virtual value slope * v - offset; None where it is no straight line.

    Uniform on [low, high]: v - (high - v) = 2 v - high. Exponential with mean m: v - m.
    """
    if values.uniform is not None:
        return 2, round(values.uniform[1] * 1e6)
    if values.exponential is not None:
        return 1, round(values.exponential * 1e6)
    return None


# ---- in the auction ------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def apply_reserves(v, audience):  # type: ignore[no-untyped-def]
    """Write into `applying`, uint8[n_reserves], which reserves hold for the selected imp (audience: AUDIENCE)."""
    reserves = carray(st.at(v.reserves), v.n_reserves + 1, RESERVE)
    applying = carray(st.at(v.applying), v.n_reserves + 1, np.uint8)
    for r in range(v.n_reserves):
        target = reserves[r].target
        applying[r] = np.uint8(target < 0 or tg.holds_other(audience, target))


@njit(cache=True, nogil=True)
def floor_for(v, seat, floor_nano):  # type: ignore[no-untyped-def]
    """The higher of a floor and the applying reserves for a seat; seat 0: those that are for everybody."""
    reserves = carray(st.at(v.reserves), v.n_reserves + 1, RESERVE)
    applying = carray(st.at(v.applying), v.n_reserves + 1, np.uint8)
    for r in range(v.n_reserves):
        if applying[r] and reserves[r].seat == seat and reserves[r].floor_nano > floor_nano:
            floor_nano = reserves[r].floor_nano
    return floor_nano


@njit(cache=True, nogil=True)
def rank_by_values(v, bid):  # type: ignore[no-untyped-def]
    """Write the virtual value of a bid's seat: the first that applies to the seat, else to everybody, else the bid."""
    bid.slope = np.uint8(1)
    bid.offset_nano = np.int64(0)
    reserves = carray(st.at(v.reserves), v.n_reserves + 1, RESERVE)
    applying = carray(st.at(v.applying), v.n_reserves + 1, np.uint8)
    own = False
    for k in range(v.n_reserves):
        r = v.n_reserves - 1 - k
        mine = reserves[r].seat == bid.seat and bid.seat != 0
        if reserves[r].slope == 0 or not (mine or (reserves[r].seat == 0 and not own)):
            continue
        if applying[r]:
            own = mine
            bid.slope = reserves[r].slope
            bid.offset_nano = reserves[r].offset_nano


@njit(cache=True, nogil=True)
def floor_of(venue, imp_ix, floor_nano):  # type: ignore[no-untyped-def]
    """`floor_for` everybody on an imp of the request in `query`, for a caller outside compiled code."""
    v = venue[0]
    audience = carray(st.at(v.audience), 1, tg.AUDIENCE)[0]
    tg.select(audience, imp_ix)
    apply_reserves(v, audience)
    return floor_for(v, 0, floor_nano)
