"""From a rule's price to a bid, and from an eCPM to what is paid: the arithmetic of billable events and positions.

A rule's price is gross, per impression (per unit of click rate where positions are sold). What is paid for is an
*event*: the impression in its position, a click, or a conversion. With g the price, E the gross bid per event is

    impression   E = g x rate of the best position       click, conversion   E = g / rate of the event

clamped to the money left: a hold is for the whole event. Its net N, put back into the rule's terms, is the eCPM.
Money that a bidder hears of (min_to_win, its floor) goes the way back.
"""

from typing import Final

import numpy as np
from numba import njit

from exchange import market as mk
from exchange.auction.formats import PPM, UNREACHED, muldiv, muldiv_up, pays_own_bid
from exchange.openrtb import codes
from exchange.rent.waterfall import gross_floor, net_of, total_of

ONE: Final = mk.ONE_PPB
EVENT_MAX_NANO: Final = mk.PRICE_MAX_NANO  # per event: 1,000; dearer clicks and conversions are clamped to it


@njit(cache=True, nogil=True)
def rate_of_event(bill, pctr_ppb, pcvr_ppb):  # type: ignore[no-untyped-def]
    """Billable events per impression, ppb."""
    if bill == mk.BILL_IMPRESSION:
        return np.int64(ONE)
    if bill == mk.BILL_CLICK:
        return pctr_ppb
    return pctr_ppb * pcvr_ppb // ONE


@njit(cache=True, nogil=True)
def usual(bid, ppm):  # type: ignore[no-untyped-def]
    """Is what is paid for just the impression, in a position of rate 1: every amount is then its own eCPM.

    Asked first wherever amounts are put from one kind into the other, in functions small enough to vanish where they
    are called, so that the usual bid pays nothing for the others.
    """
    return bid.bill == mk.BILL_IMPRESSION and ppm == PPM


@njit(cache=True, nogil=True)
def scale_of(bill, rate_ppb, best_ppm):  # type: ignore[no-untyped-def]
    """(a, b): a price per event is a price of the rule x a / b. A rate of 0 gives (1, 0): no price at all."""
    if bill == mk.BILL_IMPRESSION:
        if best_ppm == PPM:
            return np.int64(1), np.int64(1)
        return best_ppm, np.int64(PPM)
    if rate_ppb <= 0:
        return np.int64(1), np.int64(0)
    return np.int64(ONE), rate_ppb


@njit(cache=True, nogil=True)
def weigh_event(bid, fee, gross, most_nano, best_ppm):  # type: ignore[no-untyped-def]
    """Write gross, unit and net of a bid for an event that is not just the impression."""
    a, b = scale_of(bid.bill, bid.rate_ppb, best_ppm)
    bid.gross_nano, bid.unit_nano, bid.net_nano = gross, np.int64(0), np.int64(0)
    if b == 0:
        return
    over = float(gross) * float(a) >= float(UNREACHED) * float(b)
    event = np.int64(UNREACHED) if over else muldiv(gross, a, b)
    clamped = min(event, most_nano)
    if clamped < event:
        bid.gross_nano = muldiv(clamped, b, a)
    bid.unit_nano = net_of(fee, clamped)
    bid.net_nano = muldiv(bid.unit_nano, b, a)


@njit(cache=True, nogil=True)
def weigh(bid, fee, gross, most_nano, best_ppm):  # type: ignore[no-untyped-def]
    """Write gross, unit and net bid and the fate of a local bid; its bill, rate_ppb and floor_nano are set.

    gross: the rule's price, 0 to PRICE_MAX_NANO; most_nano: the money left.
    """
    if usual(bid, best_ppm):
        bid.gross_nano = min(gross, most_nano)
        bid.unit_nano = net_of(fee, bid.gross_nano)
        bid.net_nano = bid.unit_nano
    else:
        weigh_event(bid, fee, gross, min(most_nano, np.int64(EVENT_MAX_NANO)), best_ppm)
    bid.fate = np.uint16(codes.WON)
    if gross <= 0:
        bid.fate = np.uint16(codes.NO_BID)
    elif bid.net_nano <= 0:
        bid.fate = np.uint16(codes.ECPM_ZERO)
    elif bid.net_nano < bid.floor_nano:
        bid.fate = np.uint16(codes.BELOW_FLOOR)


@njit(cache=True, nogil=True)
def gross_for(bid, fee, ecpm_nano, best_ppm):  # type: ignore[no-untyped-def]
    """The least price of the rule whose eCPM reaches a floor; UNREACHED where none does."""
    if usual(bid, best_ppm):
        return gross_floor(fee, ecpm_nano)
    return gross_for_event(bid, fee, ecpm_nano, best_ppm)


@njit(cache=True, nogil=True)
def gross_for_event(bid, fee, ecpm_nano, best_ppm):  # type: ignore[no-untyped-def]
    """`gross_for` where the event is not just the impression."""
    a, b = scale_of(bid.bill, bid.rate_ppb, best_ppm)
    event = gross_floor(fee, muldiv_up(ecpm_nano, a, b)) if b > 0 else np.int64(UNREACHED)
    if event > EVENT_MAX_NANO:
        return np.int64(UNREACHED)
    return muldiv_up(event, b, a)


@njit(cache=True, nogil=True)
def total_for(bid, fee, ecpm_nano, best_ppm):  # type: ignore[no-untyped-def]
    """What a clearing eCPM costs this buyer, fees included, in the terms of his rule's price."""
    if usual(bid, best_ppm):
        return total_of(fee, ecpm_nano)
    return total_for_event(bid, fee, ecpm_nano, best_ppm)


@njit(cache=True, nogil=True)
def total_for_event(bid, fee, ecpm_nano, best_ppm):  # type: ignore[no-untyped-def]
    """`total_for` where the event is not just the impression."""
    a, b = scale_of(bid.bill, bid.rate_ppb, best_ppm)
    event = total_of(fee, muldiv_up(ecpm_nano, a, b)) if b > 0 else np.int64(UNREACHED)
    if event > EVENT_MAX_NANO:
        return np.int64(UNREACHED)
    return muldiv_up(event, b, a)


@njit(cache=True, nogil=True)
def per_event(bid, ecpm_nano, slot_ppm):  # type: ignore[no-untyped-def]
    """An eCPM as a net price per billable event of this bid in a position, rounded up for clicks and conversions."""
    return ecpm_nano if usual(bid, slot_ppm) else per_other_event(bid, ecpm_nano, slot_ppm)


@njit(cache=True, nogil=True)
def per_other_event(bid, ecpm_nano, slot_ppm):  # type: ignore[no-untyped-def]
    """`per_event` where the event is not just the impression."""
    if bid.bill == mk.BILL_IMPRESSION:
        return muldiv(ecpm_nano, slot_ppm, PPM)
    return muldiv_up(ecpm_nano, ONE, bid.rate_ppb)


@njit(cache=True, nogil=True)
def bid_per_event(bid, slot_ppm):  # type: ignore[no-untyped-def]
    """A net bid per billable event in a position."""
    if bid.bill == mk.BILL_IMPRESSION:
        return bid.net_nano if slot_ppm == PPM else muldiv(bid.net_nano, slot_ppm, PPM)
    return bid.unit_nano


@njit(cache=True, nogil=True)
def event_price(kind, bid, soft_nano, slot_ppm):  # type: ignore[no-untyped-def]
    """What a winner pays per billable event, net; kind: a price of formats.py."""
    most = bid_per_event(bid, slot_ppm)
    if pays_own_bid(kind, bid.net_nano, soft_nano):
        return most
    return min(most, per_event(bid, bid.price_nano, slot_ppm))


@njit(cache=True, nogil=True)
def per_impression(bid, event_nano, slot_ppm):  # type: ignore[no-untyped-def]
    """What an amount per event comes to per impression in a position, expected."""
    if bid.bill == mk.BILL_IMPRESSION:
        return event_nano
    expected = muldiv(event_nano, bid.rate_ppb, ONE)
    return expected if slot_ppm == PPM else muldiv(expected, slot_ppm, PPM)
