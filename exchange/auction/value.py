"""What an impression is worth to a campaign: one compiled function, live and simulated alike.

Gross nano per impression. `value_nano` is fixed at load: value_cpm, or value_click x pctr, or value_conversion x
pctr x pcvr, with the exchange's *estimates* of the rates; an imp that states a click rate of its own (a row of a
log) is valued with that. Or the valuation is drawn anew per auction from a
distribution (private values, as auction theory has them). Segment factors multiply it.
"""

from math import cos, exp, log, log1p, pi, sqrt
from typing import Final

import numpy as np
from numba import njit

from exchange import market as mk
from exchange.randomness import VALUE, draw, unit

FIXED: Final = 0
UNIFORM: Final = 1  # a = low, b = high, nano
EXPONENTIAL: Final = 2  # a = mean, nano
LOGNORMAL: Final = 3  # a = mu, b = sigma, of the value in CPM
FACTOR: Final = mk.shape([("segment", "i8"), ("ppm", "i8")])


@njit(cache=True, nogil=True)
def drawn(kind, a, b, seed, auction_id, imp_ix, campaign):  # type: ignore[no-untyped-def]
    """A private valuation from its distribution, nano; the same for the same (auction, imp, campaign)."""
    w0, w1, w2, w3 = draw(seed, auction_id, imp_ix, campaign, VALUE)
    u = unit(w0, w1)
    if kind == UNIFORM:
        x = a + u * (b - a)
    elif kind == EXPONENTIAL:
        x = -a * log1p(-u)
    else:
        # Box and Muller (1958); 1 - u is never 0
        normal = sqrt(-2.0 * log(1.0 - u)) * cos(2.0 * pi * unit(w2, w3))
        x = 1e6 * exp(a + b * normal)
    return np.int64(min(max(x, 0.0), float(mk.PRICE_MAX_NANO)))


@njit(cache=True, nogil=True)
def value_of(me, campaign, seed, auction_id, imp_ix, factors, segments, n_segments, pctr_ppb):  # type: ignore[no-untyped-def]
    """The valuation of one impression for a campaign, nano, at most PRICE_MAX_NANO.

    factors: FACTOR[all campaigns]; segments: int32[>= n_segments], the person's segment ids; pctr_ppb: the imp's own
    click rate, 0 = the campaign's estimate.
    """
    if me.value_kind == FIXED:
        value = me.value_nano
        if pctr_ppb > 0 and me.value_event_nano > 0:
            expected = float(me.value_event_nano) * float(pctr_ppb) / 1e9
            if me.value_of == mk.BILL_CONVERSION:
                expected = expected * float(me.pcvr_ppb) / 1e9
            value = np.int64(min(expected, float(mk.PRICE_MAX_NANO)))
    else:
        value = drawn(me.value_kind, me.value_a, me.value_b, seed, auction_id, imp_ix, campaign)
    for f in range(me.factor0, me.factor0 + me.n_factors):
        for s in range(n_segments):
            if segments[s] == factors[f].segment:
                ppm = factors[f].ppm
                if float(value) * float(ppm) >= 1e6 * mk.PRICE_MAX_NANO:
                    value = np.int64(mk.PRICE_MAX_NANO)
                else:
                    value = value * ppm // 1_000_000
    return value
