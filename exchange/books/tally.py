"""Compiled single passes over the columns of a ledger: what the report counts and adds up.

`mark` goes through the events and notes, per award, what became of it; `add` goes through the wins and adds up money
by advertiser, buyer and publisher and people by pair (advertiser, person); `meet` counts people over those pairs. The
tables are open-addressing hash tables that grow between two pieces of the ledger, never inside a pass.
"""

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from exchange import market as mk
from exchange.memory import prefetch
from exchange.rent.waterfall import split

# what became of an award
BILLED: Final = 1
RELEASED: Final = 2
TOLD: Final = 4  # an event said that the ad was seen
CLICKED: Final = 8
CONVERTED: Final = 16
KINDS_MAX: Final = 64
# columns of the sums by advertiser, buyer, publisher
WINS, N_BILLED, SPEND, SEEN, OWN_SPEND, CLICKS, CONVERSIONS, CONTACTS, PEOPLE, AGAIN, OWNED, KNOWN = range(12)
ASKED, SOLD = 6, 7  # publishers: imps; their SPEND is what they received
# places of the sums over all wins; the ten parties stand behind
(T_LOST, T_OPEN, T_HELD, T_BILLED, T_SPEND, T_CLEARING, T_OWN, T_OWN_SPEND, T_SEEN, T_OWN_SEEN, T_CLICKS, T_CONVERSIONS,
 T_RELEASED, T_FIRSTS, T_FIRSTS_NANO, T_PARTIES) = range(16)  # fmt: skip
# places of what `meet` finds
(M_PEOPLE, M_PERSON_MONTHS, M_CUSTOMER_MONTHS, M_CONTACTS, M_PAID, M_AGAIN, M_OWN, M_NEW, M_FIRSTS_NANO,
 M_MAX) = range(10)  # fmt: skip
# one advertiser and one person
PAIR: Final = mk.shape(
    [
        ("person", "u8"),
        ("paid_nano", "i8"),
        ("first_nano", "i8"),  # paid for its first contact with `worker`
        ("first", "i8"),  # that billing's place among the worker's events
        ("months", "u8"),  # in which it was billed: a bit each, of the first 64
        ("advertiser", "u4"),  # place among the advertisers found
        ("contacts", "u4"),
        ("worker", "u2"),
        ("flags", "u2"),
    ]
)
PAIR_BYTES: Final = PAIR.itemsize
SLOTS_AHEAD, PAIRS_AHEAD = 24, 12  # wins between asking for a slot, for its pair, and their use
OWN: Final = 1  # PAIR.flags: on the advertiser's own list at one contact or more
NEW: Final = 2  # has converted, at a contact that was not on it
_DAY_NS: Final = 86_400 * 10**9
_IMPRESSION, _BILLED_CLICK, _BILLED_CONVERSION = mk.BILLING
_CLICK, _CONVERSION, _VIEW, _RELEASE = mk.KIND_CLICK, mk.KIND_CONVERSION, mk.KIND_VIEW, mk.KIND_RELEASE
_PARTIES: Final = len(mk.PARTIES)
_PUBLISHER: Final = mk.PARTIES.index("publisher")


class Groups:
    """A table from u64 keys to rows of int64 sums, in order of appearance."""

    def __init__(self, width: int) -> None:
        self.n = np.zeros(1, np.int64)
        self.slots = np.full(1 << 10, -1, np.int32)
        self.keys = np.zeros(1 << 9, np.uint64)
        self.sums = np.zeros((1 << 9, width), np.int64)

    def reserve(self, more: int) -> None:
        """Make room for `more` new keys."""
        most = int(self.n[0]) + more
        if most > self.keys.size:
            self.slots = np.full(slots_for(most), -1, np.int32)
            self.keys, self.sums = widened(self.keys, most), widened(self.sums, most)
            _place_groups(self.slots, self.keys, int(self.n[0]))

    @property
    def found(self) -> NDArray[np.uint64]:
        """The keys."""
        return self.keys[: int(self.n[0])]

    @property
    def totals(self) -> NDArray[np.int64]:
        """The sums of each key."""
        return self.sums[: int(self.n[0])]


class Pairs:
    """What was billed to each advertiser for each person, and in which months: `months` has those behind the 64th."""

    def __init__(self, n_months: int) -> None:
        self.n = np.zeros(1, np.int64)
        self.slots = np.full(1 << 10, -1, np.int32)
        self.rows = np.zeros(1 << 9, PAIR)
        self.months = np.zeros((1 << 9, (n_months - 1) // 64), np.uint64)

    def reserve(self, more: int) -> None:
        """Make room for `more` new pairs."""
        most = int(self.n[0]) + more
        if most > self.rows.size:
            self.slots = np.full(slots_for(most), -1, np.int32)
            self.rows, self.months = widened(self.rows, most), widened(self.months, most)
            _place_pairs(self.slots, self.rows, int(self.n[0]))


def slots_for(most: int) -> int:
    """Slots of a table for `most` keys, growth included: a power of two, at most two thirds full."""
    return 1 << (most * 2 - 1).bit_length()


def widened(values: NDArray[Any], most: int) -> NDArray[Any]:
    """A copy with room for `most` rows and half as many again."""
    out = np.zeros((most * 3 // 2, *values.shape[1:]), values.dtype)
    out[: len(values)] = values
    return out


@njit(cache=True, nogil=True, inline="always")
def _mix(key):  # type: ignore[no-untyped-def]
    """Spread a key over 64 bits."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ (mixed >> np.uint64(32))


@njit(cache=True, nogil=True, inline="always")
def _start(person, advertiser):  # type: ignore[no-untyped-def]
    """Where to look first for a pair, before the mask."""
    return _mix(person + (np.uint64(advertiser) << np.uint64(40)))


@njit(cache=True, nogil=True)
def _place_groups(slots, keys, n):  # type: ignore[no-untyped-def]
    """Fill empty slots with the keys there are."""
    mask = np.uint64(slots.size - 1)
    for k in range(n):
        at = _mix(keys[k]) & mask
        while slots[at] >= 0:
            at = (at + np.uint64(1)) & mask
        slots[at] = k


@njit(cache=True, nogil=True)
def _place_pairs(slots, rows, n):  # type: ignore[no-untyped-def]
    """Fill empty slots with the pairs there are."""
    mask = np.uint64(slots.size - 1)
    for k in range(n):
        at = _start(rows[k].person, rows[k].advertiser) & mask
        while slots[at] >= 0:
            at = (at + np.uint64(1)) & mask
        slots[at] = k


@njit(cache=True, nogil=True, inline="always")
def _find(slots, keys, n, key):  # type: ignore[no-untyped-def]
    """The place of a key, which is added when it is new."""
    mask = np.uint64(slots.size - 1)
    at = _mix(key) & mask
    while slots[at] >= 0 and keys[slots[at]] != key:
        at = (at + np.uint64(1)) & mask
    if slots[at] < 0:
        keys[n[0]] = key
        slots[at] = n[0]
        n[0] += 1
    return np.int64(slots[at])


@njit(cache=True, nogil=True, inline="always")
def _find_pair(slots, rows, n, person, advertiser):  # type: ignore[no-untyped-def]
    """The place of a pair, which is added when it is new."""
    mask = np.uint64(slots.size - 1)
    at = _start(person, advertiser) & mask
    while slots[at] >= 0 and (rows[slots[at]].person != person or rows[slots[at]].advertiser != advertiser):
        at = (at + np.uint64(1)) & mask
    if slots[at] < 0:
        rows[n[0]].person = person
        rows[n[0]].advertiser = advertiser
        slots[at] = n[0]
        n[0] += 1
    return np.int64(slots[at])


@njit(cache=True, nogil=True)
def month_of(day):  # type: ignore[no-untyped-def]
    """Calendar month since January 1970 of a day since 1970-01-01 (Howard Hinnant's civil_from_days)."""
    shifted = day + 719_468
    era, of_era = shifted // 146_097, shifted % 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)  # from 1 March
    march = (5 * of_year + 2) // 153
    return 12 * (year_of_era + 400 * era - 1_970) + march + 2


@njit(cache=True, nogil=True)
def mark(at, kind, ts_ns, only_month, first, became, month, order, span, kinds):  # type: ignore[no-untyped-def]
    """Note what became of awards: `at` = place of each event's award, -1 = none; `first` = number of the first event.

    ts_ns: of the events; empty where all are of one month, `only_month`. Writes `became` (bits), and of the billing
    its `month` and its `order` among the events; keeps the first and last month of all in `span`; counts `kinds`.
    """
    day, now = np.int64(-(1 << 62)), np.int64(only_month)
    if not ts_ns.size and at.size:  # whether any of them bills or not
        span[0], span[1] = min(span[0], now), max(span[1], now)
    for k in range(at.size):
        if kind[k] < kinds.size:
            kinds[kind[k]] += 1
        if at[k] < 0 or at[k] >= became.size:
            continue
        what, bits = kind[k], became[at[k]]
        if what in (_IMPRESSION, _BILLED_CLICK, _BILLED_CONVERSION):
            if not bits & BILLED:
                if ts_ns.size and ts_ns[k] // _DAY_NS != day:
                    day = ts_ns[k] // _DAY_NS
                    now = month_of(day)
                    span[0], span[1] = min(span[0], now), max(span[1], now)
                month[at[k]] = now
                order[at[k]] = first + k
            bits |= BILLED | TOLD
            if what == _BILLED_CLICK:
                bits |= CLICKED
            elif what == _BILLED_CONVERSION:
                bits |= CONVERTED
        elif what == _CLICK:
            bits |= CLICKED
        elif what == _CONVERSION:
            bits |= CONVERTED
        elif what == _VIEW:
            bits |= TOLD
        elif what == _RELEASE:
            bits |= RELEASED
        became[at[k]] = bits


@njit(cache=True, nogil=True)
def add(  # type: ignore[no-untyped-def]
    at, became, total, clearing, table, fees, known, parties, flags, bill, advertiser, seat, endpoint, publisher,
    totals, ad_slots, ad_keys, ad_n, ad, by_slots, by_keys, by_n, by, on_slots, on_keys, on_n, on,
):  # fmt: skip
    """Add some wins up: `at` = place of each win among the awards of `became` (from `mark`).

    Tables: `ad` by advertiser, `by` by buyer (endpoint + 1 << 32 | seat), `on` by publisher; each has room for as many
    new keys as there are wins. Money is net of what was refunded. Amounts of parties follow from the price by the fee
    set (`fees` into `table`), but for the rows `known`, ascending, whose are the rows of `parties`.
    """
    of, priced, set_of, data_of, nth = np.zeros(_PARTIES, np.int64), np.int64(-1), np.int64(-1), np.int64(-1), 0
    # sums in locals: in an array each would be stored and loaded again for every win
    n_lost = n_open = held = n_billed = spend = cleared = n_own = own_spend = np.int64(0)
    n_seen = n_own_seen = n_clicks = n_conversions = n_released = np.int64(0)
    to = (held, held, held, held, held, held, held, held, held, held)  # the ten parties
    for k in range(at.size):
        bits = np.int64(became[at[k]])
        lost = flags[k] & mk.FLAG_LOST != 0
        seen = not lost and (bits & TOLD != 0 or (bits & CLICKED != 0 and bill[k] != mk.BILL_IMPRESSION))
        own = flags[k] & mk.FLAG_OWN != 0
        a = _find(ad_slots, ad_keys, ad_n, np.uint64(advertiser[k]))
        b = _find(by_slots, by_keys, by_n, np.uint64(endpoint[k] + 1) << np.uint64(32) | np.uint64(seat[k]))
        p = _find(on_slots, on_keys, on_n, np.uint64(publisher[k]))
        ad[a, WINS] += not lost
        by[b, WINS] += not lost
        if seen:
            ad[a, SEEN] += 1
            on[p, SEEN] += 1
            n_seen, n_own_seen = n_seen + 1, n_own_seen + own
        if bits & (CLICKED | CONVERTED):
            ad[a, CLICKS] += bits & CLICKED != 0
            ad[a, CONVERSIONS] += bits & CONVERTED != 0
            n_clicks, n_conversions = n_clicks + (bits & CLICKED != 0), n_conversions + (bits & CONVERTED != 0)
        n_lost, n_released = n_lost + lost, n_released + (bits & RELEASED != 0)
        if bits & BILLED:
            paid = total[k]
            while nth < known.size and known[nth] < k:
                nth += 1
            if nth < known.size and known[nth] == k:
                priced = np.int64(-1)
                of[:] = parties[nth]
            elif clearing[k] != priced or fees[k] != set_of or flags[k] & mk.FLAG_DATA != data_of:
                priced, set_of, data_of = np.int64(clearing[k]), np.int64(fees[k]), np.int64(flags[k] & mk.FLAG_DATA)
                split(table[set_of], priced, data_of, of)
            ad[a, N_BILLED] += 1
            ad[a, SPEND] += paid
            by[b, N_BILLED] += 1
            by[b, SPEND] += paid
            on[p, SPEND] += of[_PUBLISHER]
            n_billed, spend, cleared = n_billed + 1, spend + paid, cleared + clearing[k]
            if own:
                ad[a, OWN_SPEND] += paid
                n_own, own_spend = n_own + 1, own_spend + paid
            to = (to[0] + of[0], to[1] + of[1], to[2] + of[2], to[3] + of[3], to[4] + of[4],
                  to[5] + of[5], to[6] + of[6], to[7] + of[7], to[8] + of[8], to[9] + of[9])  # fmt: skip
        elif bits & RELEASED == 0:
            n_open, held = n_open + 1, held + total[k]
    sums = (n_lost, n_open, held, n_billed, spend, cleared, n_own, own_spend, n_seen, n_own_seen, n_clicks,
            n_conversions, n_released)  # fmt: skip
    for place, found in enumerate(sums):
        totals[place] += found
    for party in range(_PARTIES):
        totals[T_PARTIES + party] += to[party]


@njit(cache=True, nogil=True)
def acquaint(  # type: ignore[no-untyped-def]
    at, became, month, order, month0, worker, person, total, flags, advertiser, totals, ad_slots, ad_keys, ad_n, ad,
    slots, pairs, n, months,
):  # fmt: skip
    """Add what was billed for known people to their pairs; of wins that `add` has seen: it knows their advertisers.

    The pairs have room for as many new ones as there are wins. They do not fit in the cache, and each win's is
    another: so what the wins ahead will need is fetched meanwhile, the slot first, then the pair that it names.
    """
    mask, slot_at, pair_at = np.uint64(slots.size - 1), slots.ctypes.data, pairs.ctypes.data
    for k in range(at.size):
        far, near = min(k + SLOTS_AHEAD, at.size - 1), min(k + PAIRS_AHEAD, at.size - 1)
        a = _find(ad_slots, ad_keys, ad_n, np.uint64(advertiser[far]))
        prefetch(slot_at + 4 * np.int64(_start(person[far], np.uint32(a)) & mask))
        a = _find(ad_slots, ad_keys, ad_n, np.uint64(advertiser[near]))
        row = pair_at + PAIR_BYTES * np.int64(slots[_start(person[near], np.uint32(a)) & mask])
        prefetch(row)
        prefetch(row + PAIR_BYTES - 1)
        bits = np.int64(became[at[k]])
        if bits & BILLED == 0 or person[k] == np.uint64(0):
            continue
        a = _find(ad_slots, ad_keys, ad_n, np.uint64(advertiser[k]))
        ix = _find_pair(slots, pairs, n, person[k], np.uint32(a))
        pair = pairs[ix]
        ad[a, CONTACTS] += 1
        if pair.contacts and pair.worker != worker:
            totals[T_FIRSTS] += 1
            totals[T_FIRSTS_NANO] += pair.first_nano
        if not pair.contacts or pair.worker != worker or order[at[k]] < pair.first:
            pair.worker, pair.first, pair.first_nano = worker, order[at[k]], total[k]
        pair.contacts += np.uint32(1)
        pair.paid_nano += total[k]
        if flags[k] & mk.FLAG_OWN:
            pair.flags |= np.uint16(OWN)
        elif bits & CONVERTED:
            pair.flags |= np.uint16(NEW)
        bit = np.int64(month[at[k]]) - month0
        if bit < 64:
            pair.months |= np.uint64(1) << np.uint64(bit)
        else:
            months[ix, (bit >> 6) - 1] |= np.uint64(1) << np.uint64(bit & 63)


@njit(cache=True, nogil=True, inline="always")
def _ones(word):  # type: ignore[no-untyped-def]
    """How many bits of a word are set."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def meet(pairs, months, n, slots, keys, of_person, ad, found):  # type: ignore[no-untyped-def]
    """Count people over the first `n` pairs; `slots`, `keys`, `of_person` (months by person) have room for `n`.

    Writes what the M_ places say into `found`, and people by advertiser into `ad`.
    """
    people = np.zeros(1, np.int64)
    for ix in range(n):
        pair = pairs[ix]
        found[M_NEW] += pair.flags & NEW != 0
        found[M_CONTACTS] += pair.contacts
        found[M_PAID] += pair.paid_nano
        found[M_AGAIN] += pair.contacts > 1
        found[M_OWN] += pair.flags & OWN != 0
        found[M_FIRSTS_NANO] += pair.first_nano
        found[M_MAX] = max(found[M_MAX], pair.paid_nano)
        ad[pair.advertiser, PEOPLE] += 1
        ad[pair.advertiser, AGAIN] += pair.contacts > 1
        ad[pair.advertiser, OWNED] += pair.flags & OWN != 0
        ad[pair.advertiser, KNOWN] += pair.paid_nano
        person = _find(slots, keys, people, pair.person)
        found[M_CUSTOMER_MONTHS] += _ones(pair.months)
        of_person[person, 0] |= pair.months
        for word in range(months.shape[1]):
            found[M_CUSTOMER_MONTHS] += _ones(months[ix, word])
            of_person[person, word + 1] |= months[ix, word]
    found[M_PEOPLE] = people[0]
    for person in range(people[0]):
        for word in range(of_person.shape[1]):
            found[M_PERSON_MONTHS] += _ones(of_person[person, word])


@njit(cache=True, nogil=True)
def count_imps(publisher, sold, slots, keys, n, on):  # type: ignore[no-untyped-def]
    """Count imps offered and sold by publisher; returns how many were sold."""
    all_sold = 0
    for k in range(publisher.size):
        p = _find(slots, keys, n, np.uint64(publisher[k]))
        on[p, ASKED] += 1
        on[p, SOLD] += sold[k] != 0
        all_sold += sold[k] != 0
    return all_sold


@njit(cache=True, nogil=True)
def count_bids(endpoint, seat, fate, slots, keys, n, of):  # type: ignore[no-untyped-def]
    """Count bids by (endpoint + 1) << 48 | seat << 16 | fate."""
    for k in range(fate.size):
        buyer = np.uint64(endpoint[k] + 1) << np.uint64(32) | np.uint64(seat[k])
        of[_find(slots, keys, n, buyer << np.uint64(16) | np.uint64(fate[k])), 0] += 1
