"""What the exchange remembers between auctions: where money, contacts, holds and open journal blocks lie.

Everything lies in arrays whose addresses stand in one record, VENUE, so that a compiled step takes one
argument. Only awards and events change it (awards/). Here: the record, the contact tables, the journal's heads.
"""

from typing import Final

import numpy as np
from numba import carray, njit

from exchange import market as mk
from exchange.memory import at as at  # `st.at` is how kernels say it
from exchange.memory import prefetch

# Step statuses: why a compiled step stopped before it changed anything.
DONE: Final = 0
ROLL: Final = 1  # an open journal block is full
GROW: Final = 2  # the contact table is full

ADDRESSES: Final = (
    "audience", "store", "ads", "tags", "alive", "query", "found", "applying", "asked",
    "opportunities", "remote", "sold", "bids", "imps", "results", "fees", "rules", "factors",
    "campaigns", "people", "pairs", "contacts", "awards", "fate_counts", "slots", "order", "reserves", "values",
    "models", "segments",
    "auctions_block", "bids_block", "wins_block", "events_block",
)  # fmt: skip
COUNTS: Final = (
    "n_campaigns", "campaign_bytes", "n_ads", "n_tags", "n_words", "n_advertisers", "n_rules", "n_factors",
    "n_endpoints", "query_max", "imps_max", "remote_max", "bids_max", "n_remote",
    "people_size", "people_used", "pairs_size", "pairs_used", "people_max", "awards_size",
    "auctions_rows", "bids_rows", "wins_rows", "events_rows", "n_slots", "n_reserves", "n_values", "n_models",
    "first_endpoint", "n_fees", "n_segments",
)  # fmt: skip
SETTINGS: Final = (
    "seed", "now_ns", "day", "wake_ns", "hold_ns", "auction", "serial", "oldest", "seq", "worker",
    "config_version", "snapshot_version", "increment_nano", "other_seat", "min_to_win", "write_bids", "write",
    "status", "n_held", "n_lost_holds", "n_unknown_people", "n_auctions", "n_sold", "n_impressions", "n_clicks",
    "n_releases", "n_unpaid", "clearing_nano", "billed_nano", "n_wins", "wins_need", "soft_floor_nano",
    "n_views", "n_billed_clicks", "n_conversions", "n_billed_conversions",
    "n_opt_ins", "n_opt_outs", "n_refunds", "refunded_nano",
)  # fmt: skip
VENUE: Final = mk.shape([(name, "i8") for name in (*ADDRESSES, *COUNTS, *SETTINGS)])
DAY_NS: Final = 86_400 * mk.NANO
HOUR_NS: Final = 3_600 * mk.NANO
_BLOCK_BYTES: Final = mk.BLOCK.itemsize
_CONTACT_BYTES: Final = mk.CONTACT.itemsize
FETCHED_BYTES: Final = 512  # of a person's contacts, before they are looked for
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

BLOCK, CONTACT, EVENT_ROW = mk.BLOCK, mk.CONTACT, mk.EVENT_ROW
CAMPAIGN: Final = mk.shape(mk.CAMPAIGN_FIELDS)


@njit(cache=True, nogil=True, inline="always")
def campaign(v, c):  # type: ignore[no-untyped-def]
    """The fixed part of a campaign's record, index c; behind it lie the knobs, which only rules know.

    So that a step is compiled once, whatever knobs the rules of a market have.
    """
    return carray(at(v.campaigns + v.campaign_bytes * np.int64(c)), 1, CAMPAIGN)[0]


@njit(cache=True, nogil=True)
def week_of(day):  # type: ignore[no-untyped-def]
    """Week of a day (both counted since 1970), from Monday: 1970-01-01 was a Thursday."""
    return (day + 3) // 7


# ---- contacts: open addressing; local advertisers person-major, others by (person, advertiser) ---------------


@njit(cache=True, nogil=True)
def home(size, key):  # type: ignore[no-untyped-def]
    """The slot where the search for a key begins."""
    return np.int64((key * _GOLDEN) >> np.uint64(20)) & np.int64(size - 1)


@njit(cache=True, nogil=True)
def expect(v, person_key):  # type: ignore[no-untyped-def]
    """Have fetched what will soon be read of a person and is seldom in the cache: key and first contacts.

    Only where the search for him begins, which is mostly where it ends.
    """
    slot = home(v.people_size, np.uint64(person_key))
    prefetch(v.people + 8 * slot)
    row_bytes = _CONTACT_BYTES * v.n_advertisers
    for byte in range(0, min(row_bytes, FETCHED_BYTES), 64):
        prefetch(v.contacts + row_bytes * slot + byte)


@njit(cache=True, nogil=True)
def expect_contact(v, person_key, advertiser):  # type: ignore[no-untyped-def]
    """`expect` for his contact with one advertiser of the config."""
    slot = home(v.people_size, np.uint64(person_key))
    prefetch(v.people + 8 * slot)
    prefetch(v.contacts + _CONTACT_BYTES * (slot * v.n_advertisers + np.int64(advertiser) - 1))


@njit(cache=True, nogil=True)
def find(keys, size, key):  # type: ignore[no-untyped-def]
    """Slot of `key` in an open-addressing table of `size` (power of two), or -1 - the free slot it would take."""
    mask = np.int64(size - 1)
    slot = home(size, key)
    while keys[slot] != np.uint64(0):
        if keys[slot] == key:
            return slot
        slot = (slot + 1) & mask
    return -1 - slot


@njit(cache=True, nogil=True)
def person_row(v, person_key):  # type: ignore[no-untyped-def]
    """Row of a person in the contact table; negative when never met."""
    return find(carray(at(v.people), v.people_size, np.uint64), v.people_size, np.uint64(person_key))


@njit(cache=True, nogil=True)
def pair_key(person_key, advertiser):  # type: ignore[no-untyped-def]
    """Key of (person, advertiser) for advertisers that are not in the config; never 0."""
    return (np.uint64(person_key) ^ (np.uint64(advertiser) * _GOLDEN)) | np.uint64(1)


@njit(cache=True, nogil=True)
def contact_ix(v, person_key, advertiser, make):  # type: ignore[no-untyped-def]
    """Index into the contacts of (person, advertiser), or -1; `make` adds it (the caller saw to the room).

    Beyond `people_max` people, or pairs, nobody new is added: -1.
    """
    if np.uint64(person_key) == np.uint64(0):
        return np.int64(-1)
    if advertiser >= 1 and advertiser <= v.n_advertisers:
        slot = person_row(v, person_key)
        if slot < 0:
            if not make or v.people_used >= v.people_max:
                return np.int64(-1)
            slot = -1 - slot
            carray(at(v.people), v.people_size, np.uint64)[slot] = np.uint64(person_key)
            v.people_used += 1
        return slot * v.n_advertisers + np.int64(advertiser) - 1
    key = pair_key(person_key, advertiser)
    pairs = carray(at(v.pairs), v.pairs_size, np.uint64)
    slot = find(pairs, v.pairs_size, key)
    if slot < 0:
        if not make or v.pairs_used >= v.people_max:
            return np.int64(-1)
        slot = -1 - slot
        pairs[slot] = key
        v.pairs_used += 1
    return v.people_size * v.n_advertisers + slot


@njit(cache=True, nogil=True)
def crowded(v):  # type: ignore[no-untyped-def]
    """True when a contact table must grow before another person is added (load above 0.6, limit not reached)."""
    people = v.people_used < v.people_max and v.people_used * 5 >= v.people_size * 3 - 5
    return people or (v.pairs_used < v.people_max and v.pairs_used * 5 >= v.pairs_size * 3 - 5)


@njit(cache=True, nogil=True)
def rehash_into(venue, old_people, old_pairs, old_contacts):  # type: ignore[no-untyped-def]
    """Move every contact into the new, larger tables that the venue points to already."""
    v = venue[0]
    contacts = carray(at(v.contacts), v.people_size * v.n_advertisers + v.pairs_size, CONTACT)
    people = carray(at(v.people), v.people_size, np.uint64)
    pairs = carray(at(v.pairs), v.pairs_size, np.uint64)
    for old in range(old_people.size):
        if old_people[old] != np.uint64(0):
            slot = -1 - find(people, v.people_size, old_people[old])
            people[slot] = old_people[old]
            for a in range(v.n_advertisers):
                contacts[slot * v.n_advertisers + a] = old_contacts[old * v.n_advertisers + a]
    first, old_first = v.people_size * v.n_advertisers, old_people.size * v.n_advertisers
    for old in range(old_pairs.size):
        if old_pairs[old] != np.uint64(0):
            slot = -1 - find(pairs, v.pairs_size, old_pairs[old])
            pairs[slot] = old_pairs[old]
            contacts[first + slot] = old_contacts[old_first + old]


@njit(cache=True, nogil=True)
def forget_own_in(venue, keys, advertiser):  # type: ignore[no-untyped-def]
    """Take people off an advertiser's own list."""
    v = venue[0]
    contacts = carray(at(v.contacts), v.people_size * v.n_advertisers + v.pairs_size, CONTACT)
    for k in range(keys.size):
        ix = contact_ix(v, keys[k], advertiser, False)
        if ix >= 0:
            contacts[ix].flags &= ~np.uint16(mk.OWN)


@njit(cache=True, nogil=True)
def mark_own_in(venue, keys, advertiser):  # type: ignore[no-untyped-def]
    """Put people on an advertiser's own list. Returns how many of `keys` were done before the table filled."""
    v = venue[0]
    contacts = carray(at(v.contacts), v.people_size * v.n_advertisers + v.pairs_size, CONTACT)
    for k in range(keys.size):
        if crowded(v):
            return k
        ix = contact_ix(v, keys[k], advertiser, True)
        if ix >= 0:
            contacts[ix].flags |= np.uint16(mk.OWN)
        else:
            v.n_unknown_people += 1
    return keys.size


# ---- journal rows ----------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def stamp(v, row, kind, now_ns):  # type: ignore[no-untyped-def]
    """Fill the head that every journal row starts with, and take its sequence number."""
    row.seq = np.uint64(v.seq)
    v.seq += 1
    row.ts_ns = now_ns
    row.config_version = np.uint32(v.config_version)
    row.snapshot_version = np.uint32(v.snapshot_version)
    row.worker = np.uint16(v.worker)
    row.kind = np.uint16(kind)


@njit(cache=True, nogil=True)
def block_count(address):  # type: ignore[no-untyped-def]
    """Rows in the open block at `address`."""
    return carray(at(address), 1, BLOCK)[0].count


@njit(cache=True, nogil=True)
def commit_row(address):  # type: ignore[no-untyped-def]
    """Count the row just written into the open block: from here on readers see it."""
    carray(at(address), 1, BLOCK)[0].count += 1


@njit(cache=True, nogil=True)
def events_full(v):  # type: ignore[no-untyped-def]
    """True when the open events block has no room for two more rows (a release and what caused it)."""
    return v.write and block_count(v.events_block) + 2 > v.events_rows


@njit(cache=True, nogil=True)
def event_row(v, kind, now_ns, award, paid_nano, cum_rent_nano, contact_n, number):  # type: ignore[no-untyped-def]
    """Append one event of an award."""
    if not v.write:
        return
    count = block_count(v.events_block)
    row = carray(at(v.events_block + _BLOCK_BYTES), v.events_rows, EVENT_ROW)[count]
    stamp(v, row, kind, now_ns)
    row.auction_id = award.auction_id
    row.serial = award.serial
    row.person_key = award.person_key
    row.paid_nano = paid_nano
    row.cum_rent_nano = cum_rent_nano
    row.campaign = award.campaign_id
    row.advertiser = award.advertiser
    row.contact_n = np.uint32(contact_n)
    row.imp_ix = award.imp_ix
    row.slot = award.slot
    row.number = np.uint8(number)
    commit_row(v.events_block)
