"""What an impression is worth to a campaign: one compiled function, live and simulated alike.

Gross nano per impression. `value_nano` is fixed at load: value_cpm, or value_click x pctr, or value_conversion x
pctr x pcvr, with the exchange's *estimates* of the rates; where a log or a click model knows better (`rates_of`) the
valuation of the event is multiplied anew. Or the valuation is drawn anew per auction from a distribution (private
values, as auction theory has them). Segment factors multiply it.
"""

from math import cos, exp, log, log1p, pi, sqrt
from typing import Final

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange import state as st
from exchange.audience import query as qy
from exchange.openrtb import codes
from exchange.randomness import VALUE, draw, unit

FIXED: Final = 0
UNIFORM: Final = 1  # a = low, b = high, nano
EXPONENTIAL: Final = 2  # a = mean, nano
LOGNORMAL: Final = 3  # a = mu, b = sigma, of the value in CPM
EMPIRICAL: Final = 4  # a = first, b = number of values in the venue's table, each as likely as the others
FACTOR: Final = mk.shape([("segment", "i8"), ("ppm", "i8")])
# What a click model can tell apart: device, media, hour, contacts (0, 1, 2-3, 4+), on the advertiser's own list or not.
CELLS: Final = (len(codes.DEVICES), len(codes.MEDIA), 24, 4, 2)
N_CELLS: Final = CELLS[0] * CELLS[1] * CELLS[2] * CELLS[3] * CELLS[4]
UNSAID: Final = -1  # in a model's table: the campaign's own estimate holds


@njit(cache=True, nogil=True)
def cell_of(device, media, hour, contacts, own):  # type: ignore[no-untyped-def]
    """The cell of a click model that an impression falls into, 0 .. N_CELLS - 1; what is out of range counts as the
    nearest."""
    bucket = 3 if contacts >= 4 else 2 if contacts >= 2 else contacts
    cell = np.int64(min(device, CELLS[0] - 1))
    cell = cell * CELLS[1] + np.int64(min(max(media, 1), CELLS[1])) - 1
    cell = cell * CELLS[2] + np.int64(min(hour, CELLS[2] - 1))
    return (cell * CELLS[3] + np.int64(bucket)) * CELLS[4] + np.int64(own)


@njit(cache=True, nogil=True)
def rates_of(v, o, me, bid):  # type: ignore[no-untyped-def]
    """Clicks per impression and conversions per click to reckon with, ppb: (pctr, pcvr).

    The click rate that the imp itself states (a log's) comes before the campaign's click model, and that before its
    own estimates.
    """
    pctr, pcvr = me.pctr_ppb, me.pcvr_ppb
    if me.model >= 0:
        pctr, pcvr = modelled(v, o, me, bid)
    if o.pctr_ppb > 0:
        pctr = o.pctr_ppb
    return pctr, pcvr


@njit(cache=True, nogil=True)
def modelled(v, o, me, bid):  # type: ignore[no-untyped-def]
    """The rates that a campaign's click model has for this impression; where it does not say, the campaign's own."""
    table = carray(st.at(v.models), (v.n_models, N_CELLS, 2), np.int64)
    cell = cell_of(o.device, o.media, o.hour, bid.contacts, bid.flags & np.uint8(mk.FLAG_OWN))
    pcvr = table[me.model, cell, 1]
    return table[me.model, cell, 0], pcvr if pcvr != UNSAID else me.pcvr_ppb


@njit(cache=True, nogil=True)
def share_of(amount, ppb):  # type: ignore[no-untyped-def]
    """amount * ppb // 10^9, exactly, for amounts up to 10^17 and ppb from 0 to 10^9."""
    return amount // mk.ONE_PPB * ppb + amount % mk.ONE_PPB * ppb // mk.ONE_PPB


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
def picked(table, first, n, seed, auction_id, imp_ix, campaign):  # type: ignore[no-untyped-def]
    """One of the values table[first : first + n], nano; the same for the same (auction, imp, campaign)."""
    w0, w1, _, _ = draw(seed, auction_id, imp_ix, campaign, VALUE)
    return table[np.int64(first) + np.int64(unit(w0, w1) * n)]


@njit(cache=True, nogil=True, inline="always")
def value_of(me, campaign, seed, auction_id, imp_ix, factors, segments, n_segments, table, pctr, pcvr):  # type: ignore[no-untyped-def]
    """The valuation of one impression for a campaign, nano, at most PRICE_MAX_NANO.

    factors: FACTOR[all campaigns]; segments: int64[>= n_segments], the person's segment ids; table: the values of all
    empirical distributions; pctr, pcvr: `rates_of`, ppb. At the campaign's own estimates it is the value fixed at load.
    """
    if me.value_kind == FIXED:
        value = me.value_nano
        if me.value_event_nano > 0 and (pctr != me.pctr_ppb or pcvr != me.pcvr_ppb):
            event = me.value_event_nano
            if me.value_of == mk.BILL_CONVERSION:
                event = share_of(event, pcvr)
            value = min(share_of(event, pctr), np.int64(mk.PRICE_MAX_NANO))
    elif me.value_kind == EMPIRICAL:
        value = picked(table, me.value_a, me.value_b, seed, auction_id, imp_ix, campaign)
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


@njit(cache=True, nogil=True)
def worth(v, o, me, bid):  # type: ignore[no-untyped-def]
    """`value_of` for a bid whose rates are set, with the arrays of the venue."""
    if me.value_kind == FIXED and me.n_factors == 0 and me.value_event_nano == 0:
        return me.value_nano  # nothing of this auction changes it: not worth a call
    return worth_now(v, o, me, bid)


@njit(cache=True, nogil=True)
def worth_now(v, o, me, bid):  # type: ignore[no-untyped-def]
    """`worth` where something of the auction changes it."""
    query = carray(st.at(v.query), v.query_max, np.int64)
    return value_of(
        me,
        bid.campaign,
        v.seed,
        v.auction,
        o.imp_ix,
        carray(st.at(v.factors), v.n_factors, FACTOR),
        query[query[qy.SEG] :],
        query[qy.SEG + 1],
        carray(st.at(v.values), v.n_values, np.int64),
        bid.pctr_ppb,
        bid.pcvr_ppb,
    )
