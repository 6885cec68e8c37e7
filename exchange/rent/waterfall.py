"""The waterfall: what the buyer pays on a clearing price, and which party receives which part of it.

A *fee set* is one record of `market.FEES`. The auction works on the clearing price `c` (net); the buyer pays

    total(c) = fixed + c + c * addon // base

so a gross bid `g` enters the auction as `net(g) = (g - fixed) * base // (base + addon)`, and the total on any
clearing price up to `net(g)` never exceeds `g`. What lies above the clearing price goes to the buy side
(agency, dsp, data, verify, tax, fx), the clearing price itself to the sell side (publisher, exchange,
supply_tech, hidden), each by its integer weights and largest remainder, ties to the lowest party: both sums
are exact on every row. Amounts are nano; prices up to 10^12 and weights up to 10^4 fit int64.

Sources of the presets, as shares of 10,000 of the buyer's total:

- `isba2020`: ISBA/PwC Programmatic Supply Chain Transparency Study (2020): agency 700, dsp 800, demand
  technology (data or verification) 1000, hidden ("unknown delta") 1500, exchange 800, supply technology 100,
  publisher 5100.
- `pmp2022`: private marketplaces in the second ISBA/PwC study (2022): publisher 70 % and more, unknown delta
  below 1 %. Only these two are published; the split of the rest is a chosen default (agency 700, dsp 700,
  demand technology 800, exchange 600, supply technology 110, hidden 90).
- `none`: the publisher receives everything and nothing comes on top.

The demand technology weight stands in the `data` slot; `split` hands it to `verify` for a campaign that
targets no segments. A config has sets of its own in `[fees.set.NAME]`.

An advertiser whose money is in another currency pays `fx_bps` of the clearing price on top of his set, to `fx`. That
is in the set's `addon / base` as one exact fraction, so the total knows nothing of it; only `split` does.

A refund is shared by what is left (`mirror`): each party gives back its part of the amount in proportion to what of
this award it still has, by largest remainder, ties to the first. No part exceeds what is left, parts add up, and the
refund of everything is the exact mirror of the billing, in however many steps.
"""

import difflib
from collections.abc import Mapping
from math import gcd
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from exchange.config import FeeSet
from exchange.market import BUY_PARTIES, FEES, PARTIES, SELL_PARTIES, cpm_up

WEIGHT_MAX: Final = 10_000
BASE_MAX: Final = 400_000  # 10^12 x 11 x this fits int64
_BPS: Final = 10_000
_N_BUY: Final = len(BUY_PARTIES)
_N_SELL: Final = len(SELL_PARTIES)
_DATA: Final = PARTIES.index("data")
_VERIFY: Final = PARTIES.index("verify")
_FX: Final = PARTIES.index("fx")

# base, addon, fixed_nano, weights; a party that is not named receives nothing
Shares = tuple[int, int, int, dict[str, int]]
PRESETS: Final[dict[str, Shares]] = {
    "none": (10_000, 0, 0, {"publisher": 10_000}),
    "isba2020": (
        7_500,
        2_500,
        0,
        {
            "agency": 700,
            "dsp": 800,
            "data": 1_000,
            "publisher": 5_100,
            "exchange": 800,
            "supply_tech": 100,
            "hidden": 1_500,
        },
    ),
    "pmp2022": (
        7_800,
        2_200,
        0,
        {
            "agency": 700,
            "dsp": 700,
            "data": 800,
            "publisher": 7_000,
            "exchange": 600,
            "supply_tech": 110,
            "hidden": 90,
        },
    ),
}


def fee_set(
    sell: str, buy: str, sets: Mapping[str, FeeSet] | None = None, buy_key: str = "fees.buy", fx_bps: int = 0
) -> np.void:
    """Return the fee set that shares the clearing price as `sell` does and adds the fees of `buy`.

    Both are presets or names of `sets`, the config's [fees.set.NAME]; `buy_key` is the key that names `buy`; fx_bps:
    what comes on top of that for another currency, in 1/10,000 of the clearing price. A record of `market.FEES`.
    Raises ValueError that names the key and what was expected.
    """
    own = {name: _shares(name, own) for name, own in (sets or {}).items()}
    sell_weights = _known("fees.sell", sell, own)[3]
    base, addon, fixed_nano, buy_weights = _known(buy_key, buy, own)
    if not any(sell_weights.get(party) for party in SELL_PARTIES):
        raise ValueError(
            f"fees.sell = {sell!r}: fees.set.{sell} gives nobody the clearing price: expected a weight above 0 for "
            f"one of {', '.join(SELL_PARTIES)}"
        )
    if fx_bps:
        base, addon = _sum(addon, base, fx_bps, _BPS)
    return fee_record(
        base,
        addon,
        fixed_nano,
        tuple(buy_weights.get(party, 0) for party in BUY_PARTIES),
        tuple(sell_weights.get(party, 0) for party in SELL_PARTIES),
        fx_bps,
    )


def _sum(a: int, b: int, c: int, d: int) -> tuple[int, int]:
    """a / b + c / d as (denominator, numerator) in lowest terms."""
    top, bottom = a * d + c * b, b * d
    common = gcd(top, bottom)
    return bottom // common, top // common


def _shares(name: str, own: FeeSet) -> Shares:
    """A set of the config as PRESETS has them; raises ValueError for one that could not be split."""
    if name in PRESETS:
        raise ValueError(f"fees.set.{name}: expected another name: {', '.join(PRESETS)} are presets")
    weights = {party: int(getattr(own, party)) for party in PARTIES}
    if (own.addon_bps or own.fixed_cpm) and not any(weights[party] for party in BUY_PARTIES):
        raise ValueError(
            f"fees.set.{name}: addon_bps = {own.addon_bps}, fixed_cpm = {own.fixed_cpm:g}: nobody receives what comes "
            f"on top: expected a weight above 0 for one of {', '.join(BUY_PARTIES)}"
        )
    return 10_000, own.addon_bps, cpm_up(own.fixed_cpm), weights


def fee_record(
    base: int, addon: int, fixed_nano: int, buy: tuple[int, ...], sell: tuple[int, ...], fx_bps: int = 0
) -> np.void:
    """Return a checked fee set of explicit numbers: weights in the order of BUY_PARTIES and SELL_PARTIES.

    fx_bps: 1/10,000 of the clearing price that go to `fx` first; they are part of addon / base. Raises ValueError when
    the kernels could not split every price by it exactly.
    """
    most = 11 if fx_bps else 10
    if not (0 < base <= BASE_MAX and 0 <= addon <= most * base):
        raise ValueError(
            f"fees: base = {base}, addon = {addon}: expected 0 < base <= {BASE_MAX}, 0 <= addon <= {most} base"
        )
    if not (0 <= fx_bps <= _BPS and fx_bps * base <= addon * _BPS):
        raise ValueError(f"fees: fx_bps = {fx_bps}: expected 0 to 10000, and no more than addon / base")
    if not 0 <= fixed_nano <= 10**9:
        raise ValueError(f"fees: fixed_nano = {fixed_nano}: expected 0 to 1e9 (1.00 per impression)")
    if len(buy) != _N_BUY or len(sell) != _N_SELL:
        raise ValueError(f"fees: expected {_N_BUY} buy weights and {_N_SELL} sell weights")
    if not all(0 <= weight <= WEIGHT_MAX for weight in (*buy, *sell)):
        raise ValueError(f"fees: weights {(*buy, *sell)}: expected each within 0 to {WEIGHT_MAX}")
    if sum(sell) == 0:
        raise ValueError("fees: nobody on the sell side receives the clearing price")
    if (addon * _BPS > fx_bps * base or fixed_nano) and sum(buy) == 0:
        raise ValueError("fees: an amount comes on top but nobody on the buy side receives it")
    row = np.zeros(1, FEES)
    row[0] = (base, addon, fixed_nano, buy, sell, fx_bps, 0)
    record: np.void = row[0]
    return record


def terms_of(fees: np.void) -> str:
    """A fee set as text, for the ledger's names: base, addon, fixed_nano, buy and sell weights, fx_bps, by spaces."""
    numbers = [fees["base"], fees["addon"], fees["fixed_nano"], *fees["buy"], *fees["sell"], fees["fx_bps"]]
    return " ".join(str(int(number)) for number in numbers)


def fees_of(text: str, name: int = 0) -> np.void:
    """The fee set that `terms_of` wrote. Raises ValueError for any other text."""
    numbers = [int(word) for word in text.split()]
    if len(numbers) != 4 + _N_BUY + _N_SELL:
        raise ValueError(f"fees {text!r}: expected {4 + _N_BUY + _N_SELL} whole numbers")
    sell = 3 + _N_BUY
    base, addon, fixed_nano = numbers[:3]
    record = fee_record(base, addon, fixed_nano, tuple(numbers[3:sell]), tuple(numbers[sell:-1]), numbers[-1])
    record["name"] = name
    return record


def fee_table(texts: Mapping[int, str]) -> NDArray[np.void]:
    """FEES[largest id + 1] from the texts of `terms_of` by id of the name; base = 0 where there is none.

    What `split_many` takes. Raises ValueError for a text that is no fee set.
    """
    table: NDArray[Any] = np.zeros(max(texts, default=0) + 1, FEES)
    for ident, text in texts.items():
        table[ident] = fees_of(text, ident)
    return table


def _known(key: str, name: str, own: Mapping[str, Shares]) -> Shares:
    """The preset, or the set of the config, of this name."""
    choices = {**PRESETS, **own}
    if name not in choices:
        near = difflib.get_close_matches(name, choices, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{key} = {name!r}: expected one of {', '.join(choices)}{hint}")
    return choices[name]


@njit(cache=True, nogil=True)
def net_of(fees, gross):  # type: ignore[no-untyped-def]
    """Return the net bid of a gross bid (nano): what it is worth in the auction; 0 when fees eat it."""
    above = gross - fees.fixed_nano
    if above <= 0:
        return np.int64(0)
    return above * fees.base // (fees.base + fees.addon)


@njit(cache=True, nogil=True)
def total_of(fees, clearing):  # type: ignore[no-untyped-def]
    """Return the buyer's total (gross, nano) on a clearing price."""
    return fees.fixed_nano + clearing + clearing * fees.addon // fees.base


@njit(cache=True, nogil=True)
def gross_floor(fees, floor):  # type: ignore[no-untyped-def]
    """Return the least gross bid (nano) whose net reaches `floor`; 0 for a floor of 0."""
    if floor <= 0:
        return np.int64(0)
    return fees.fixed_nano - (-(floor * (fees.base + fees.addon)) // fees.base)


@njit(cache=True, nogil=True, inline="always")
def _settle(weights, n, first, amount, left, total, out):  # type: ignore[no-untyped-def]
    """Hand the `left` units that rounding left over to the parties with the largest remainders, lowest first.

    A party that got its unit has a negative remainder from then on, so it is not served twice.
    """
    for _ in range(left):
        best, best_rest = 0, np.int64(-1)
        for k in range(n):
            rest = amount * weights[k] - out[first + k] * total
            if rest > best_rest:
                best, best_rest = k, rest
        out[first + best] += 1


@njit(cache=True, nogil=True, inline="always")
def _split_side(weights, n, first, amount, out):  # type: ignore[no-untyped-def]
    """Split `amount` over `out[first : first + n]` by weight.

    A quotient in double precision may be off by one where the exact one is at, or just below, a whole number. Both
    come right in `_settle`: one too low leaves the largest remainder of all; one too high took the unit that its
    remainder, just below `total`, earns anyway, because m such remainders leave at least m units.
    """
    total = np.int64(0)
    for k in range(n):
        total += weights[k]
    if amount == 0 or total == 0:
        for k in range(n):
            out[first + k] = 0
        return
    inverse = 1.0 / total  # one division a side; weights and prices are limited so that products fit int64
    left = amount
    for k in range(n):
        share = np.int64(amount * weights[k] * inverse)
        out[first + k] = share
        left -= share
    _settle(weights, n, first, amount, left, total, out)


@njit(cache=True, nogil=True)
def split(fees, clearing, uses_data, out):  # type: ignore[no-untyped-def]
    """Split the buyer's total on `clearing` (nano) into `out`: int64, 10 amounts in the order of PARTIES.

    `uses_data` = 1 when the campaign targets segments: the demand technology fee is then a data fee, else it
    pays for verification. sum(out[:6]) = total_of(clearing) - clearing and sum(out[6:]) = clearing, exactly.
    """
    on_top = total_of(fees, clearing) - clearing
    exchanged = clearing * fees.fx_bps // _BPS
    _split_side(fees.buy, _N_BUY, 0, on_top - exchanged, out)
    out[_FX] += exchanged
    _split_side(fees.sell, _N_SELL, _N_BUY, clearing, out)
    if not uses_data:
        out[_VERIFY] += out[_DATA]
        out[_DATA] = 0


@njit(cache=True, nogil=True)
def split_many(table, which, clearings, uses_data, out):  # type: ignore[no-untyped-def]
    """`split` of many rows: table FEES[], `which` set each row has, its clearing price (nano), 1 = a data fee.

    Writes out[n, 10]; zeros where the table has no such set.
    """
    for i in range(which.size):
        if which[i] >= table.size or table[which[i]].base == 0:
            out[i, :] = 0
        else:
            split(table[which[i]], clearings[i], uses_data[i], out[i])


@njit(cache=True, nogil=True)
def mirror(left, amount, out):  # type: ignore[no-untyped-def]
    """Share a refund (nano) over what the ten parties have left of an award: takes it off `left`, writes `out`.

    left: int64[10], 0 or more, together at most 2^50; what exceeds their sum is nobody's. Returns what was shared.
    """
    total = np.int64(0)
    for k in range(left.size):
        total += left[k]
        out[k] = 0
    amount = min(amount, total)
    if amount <= 0:
        return np.int64(0)
    rest = np.empty(left.size, np.int64)
    units = amount
    for k in range(left.size):
        # Products of 10^13 x 10^13 do not fit, but a double finds the quotient to within one, and the remainder of
        # that, which is small, comes out right modulo 2^64.
        share = np.int64(float(amount) * float(left[k]) / float(total))
        over = amount * left[k] - share * total
        if over < 0:
            share, over = share - 1, over + total
        elif over >= total:
            share, over = share + 1, over - total
        out[k], rest[k] = share, over
        units -= share
    for _ in range(units):
        best = 0
        for k in range(1, left.size):
            if rest[k] > rest[best]:
                best = k
        out[best] += 1
        rest[best] = -1
    for k in range(left.size):
        left[k] -= out[k]
    return amount


@njit(cache=True, nogil=True)
def mirror_many(parties, of, amounts, out):  # type: ignore[no-untyped-def]
    """`mirror` of refunds in the order in which they came: parties int64[n, 10] of the awards that have any, `of`
    which of them each refund is of. Writes out[len(of), 10]; takes the refunds off `parties`."""
    for i in range(of.size):
        mirror(parties[of[i]], amounts[i], out[i])
