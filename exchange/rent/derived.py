"""What a sealed file leaves out, computed again: party amounts from the fee set, histories from the order of records.

Everything works on contiguous columns, one worker at a time. `splits` gives the buyer's total and the ten parties of
wins; `history` walks wins and events in order of seq, as the exchange lived them, and says for each what had been
billed to that advertiser for that person.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from exchange import market as mk
from exchange.rent.blocks import LedgerError
from exchange.rent.names import Names
from exchange.rent.waterfall import fees_of, split, total_of

Columns = Mapping[str, NDArray[Any]]
SPLIT_COLUMNS: Final = ("clearing_nano", "fees", "flags")  # what `splits` needs of wins
WIN_COLUMNS: Final = ("seq", "ts_ns", "serial", "person_key", "advertiser")  # and `history`, with the totals
EVENT_COLUMNS: Final = ("seq", "ts_ns", "kind", "serial", "refund_nano")
_IMPRESSION, _CLICK, _CONVERSION = mk.BILLING
_REFUND: Final = mk.KIND_REFUND
_NANO: Final = mk.NANO


class History(Struct):
    """Columns of wins and events that follow from their order; `win` is the row of each event's win, -1 = none."""

    contacts: NDArray[np.uint32]
    since_last_s: NDArray[np.uint32]
    cum_rent_nano: NDArray[np.int64]
    win: NDArray[np.int64]
    paid_nano: NDArray[np.int64]
    event_cum_rent_nano: NDArray[np.int64]
    contact_n: NDArray[np.uint32]


def fee_table(names: Names, used: NDArray[np.uint16]) -> NDArray[np.void]:
    """The fee sets of rows by their id (kind "fees" of the names). Raises LedgerError for one that is not there."""
    found = np.flatnonzero(np.bincount(used, minlength=1)) if used.size else np.zeros(0, np.int64)
    table = np.zeros(int(found.max(initial=0)) + 1, mk.FEES)
    table["base"] = 1
    for ident in found.tolist():
        try:
            table[ident] = fees_of(names.text("fees", ident), ident)
        except ValueError as error:
            raise LedgerError(f"names.tsv: fees {ident}, which wins name, is not a fee set: {error}") from error
    return table


def splits(names: Names, wins: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(buyer's total, party amounts of shape (wins, 10)) of wins, by their `SPLIT_COLUMNS`."""
    fees = np.ascontiguousarray(wins["fees"], np.uint16)
    clearing = np.ascontiguousarray(wins["clearing_nano"], np.int64)
    total, parties = np.empty(fees.size, np.int64), np.empty((fees.size, len(mk.PARTIES)), np.int64)
    split_all(fee_table(names, fees), fees, clearing, np.ascontiguousarray(wins["flags"], np.uint8), total, parties)
    return total, parties


def totals(names: Names, wins: Columns) -> NDArray[np.int64]:
    """The buyer's total of wins, by their `SPLIT_COLUMNS`."""
    fees = np.ascontiguousarray(wins["fees"], np.uint16)
    total = np.empty(fees.size, np.int64)
    total_all(fee_table(names, fees), fees, np.ascontiguousarray(wins["clearing_nano"], np.int64), total)
    return total


@njit(cache=True, nogil=True)
def total_all(table, fees, clearing, total):  # type: ignore[no-untyped-def]
    """The buyer's total of every clearing price by its fee set."""
    for k in range(fees.size):
        total[k] = total_of(table[fees[k]], clearing[k])


@njit(cache=True, nogil=True)
def split_all(table, fees, clearing, flags, total, parties):  # type: ignore[no-untyped-def]
    """Split every clearing price by its fee set; runs of equal prices, usual at floors, are split once."""
    for k in range(fees.size):
        same = k > 0 and clearing[k] == clearing[k - 1] and fees[k] == fees[k - 1]
        if same and (flags[k] ^ flags[k - 1]) & mk.FLAG_DATA == 0:
            total[k] = total[k - 1]
            for party in range(10):
                parties[k, party] = parties[k - 1, party]
            continue
        fee = table[fees[k]]
        total[k] = total_of(fee, clearing[k])
        split(fee, clearing[k], flags[k] & mk.FLAG_DATA, parties[k])


def history(wins: Columns, total: NDArray[np.int64], events: Columns) -> History:
    """The histories of one worker: all its wins and events, by `WIN_COLUMNS`, their totals, and `EVENT_COLUMNS`."""
    n, m = wins["seq"].size, events["seq"].size
    found = History(
        np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.int64),
        np.empty(m, np.int64), np.empty(m, np.int64), np.empty(m, np.int64), np.empty(m, np.uint32),
    )  # fmt: skip
    pair = np.empty(n, np.int32)
    pairs = pair_up(wins["person_key"], wins["advertiser"], pair)
    find_wins(wins["serial"], events["serial"], found.win)
    live_through(
        wins["seq"], wins["ts_ns"], pair, total, pairs, events["seq"], events["ts_ns"], events["kind"],
        events["refund_nano"], found.win, found.contacts, found.since_last_s, found.cum_rent_nano,
        found.paid_nano, found.event_cum_rent_nano, found.contact_n,
    )  # fmt: skip
    return found


@njit(cache=True, nogil=True)
def _place(person, advertiser, mask):  # type: ignore[no-untyped-def]
    """Where to look first for a pair: keys of people are hashes already, in small ledgers of tests they count up."""
    mixed = (np.uint64(person) ^ (np.uint64(advertiser) << np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(mask))


@njit(cache=True, nogil=True)
def pair_up(person_key, advertiser, pair):  # type: ignore[no-untyped-def]
    """Number the (person, advertiser) pairs in order of appearance, -1 for unknown people; returns how many."""
    size, used = 1 << 12, 0
    table = np.full(size, -1, np.int32)
    first = np.empty(size, np.int64)  # a row of each pair
    for row in range(person_key.size):
        pair[row] = -1
        if person_key[row] == np.uint64(0):
            continue
        if 2 * used >= size:
            size *= 4
            table = np.full(size, -1, np.int32)
            wider = np.empty(size, np.int64)
            for old in range(used):
                wider[old] = first[old]
                at = _place(person_key[first[old]], advertiser[first[old]], size - 1)
                while table[at] >= 0:
                    at = (at + 1) & (size - 1)
                table[at] = old
            first = wider
        at = _place(person_key[row], advertiser[row], size - 1)
        while table[at] >= 0:
            other = first[table[at]]
            if person_key[other] == person_key[row] and advertiser[other] == advertiser[row]:
                break
            at = (at + 1) & (size - 1)
        if table[at] < 0:
            table[at] = used
            first[used] = row
            used += 1
        pair[row] = table[at]
    return used


@njit(cache=True, nogil=True)
def find_wins(serials, wanted, win):  # type: ignore[no-untyped-def]
    """The row of each wanted serial among the rising `serials`, -1 where there is none; serials have few gaps."""
    n = serials.size
    for k in range(wanted.size):
        win[k] = -1
        if n == 0:
            continue
        at = wanted[k] - serials[0]
        if at < 0 or wanted[k] > serials[n - 1]:
            continue
        if at >= n or serials[at] != wanted[k]:
            at = np.searchsorted(serials, wanted[k])
        if serials[at] == wanted[k]:
            win[k] = at


@njit(cache=True, nogil=True)
def live_through(  # type: ignore[no-untyped-def]
    win_seq, win_ns, pair, total, pairs, event_seq, event_ns, kind, refund, win, contacts, since, cum, paid, event_cum,
    contact_n,
):  # fmt: skip
    """Walk wins and events in order of seq, and note for each what was billed for its pair so far."""
    n, rent, last = np.zeros(pairs, np.uint32), np.zeros(pairs, np.int64), np.zeros(pairs, np.int64)
    w = 0
    for e in range(event_seq.size + 1):
        until = event_seq[e] if e < event_seq.size else np.uint64(0xFFFFFFFFFFFFFFFF)
        while w < win_seq.size and win_seq[w] < until:
            p = pair[w]
            contacts[w], cum[w], since[w] = 0, 0, 0
            if p >= 0:
                contacts[w], cum[w] = n[p], rent[p]
                if n[p]:
                    since[w] = np.uint32(max(0, win_ns[w] // _NANO - last[p]))
            w += 1
        if e == event_seq.size:
            break
        paid[e], event_cum[e], contact_n[e] = 0, 0, 0
        if win[e] < 0:
            continue
        p = pair[win[e]]
        if kind[e] == _IMPRESSION or kind[e] == _CLICK or kind[e] == _CONVERSION:
            paid[e] = total[win[e]]
            if p >= 0:
                n[p] += np.uint32(1)
                rent[p] += paid[e]
                last[p] = event_ns[e] // _NANO
                contact_n[e] = n[p]
        elif kind[e] == _REFUND:
            paid[e] = -refund[e]
            if p >= 0:
                rent[p] -= refund[e]
        if p >= 0:
            event_cum[e] = rent[p]
