"""Reconcile, row by row: seqs, kinds, prices and their parts (I1, I2, I5, I10, I15), own lists (I14), order (I13)."""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from exchange import market as m
from exchange.audience import lists
from exchange.books.keys import Index, Ints, Pick, Rows
from exchange.books.postings import N_PARTIES, party_columns
from exchange.books.reconcile.streams import Breaks, Streams, sum_of
from exchange.openrtb.codes import WON
from exchange.rent.ledger import Ledger
from exchange.rent.names import salt
from exchange.rent.waterfall import net_of, split_many

EVENT_KINDS: Final = (
    m.KIND_IMPRESSION, m.KIND_VIEW, *m.CLICKS, *m.CONVERSIONS, m.KIND_OPT_IN, m.KIND_OPT_OUT, m.KIND_RELEASE,
    m.KIND_UNPAID, m.KIND_REFUND,
)  # fmt: skip
_BLOCK: Final = 1 << 18  # rows recomputed at once


def seqs(streams: Streams) -> Breaks:
    """Every worker's records are numbered from 1 without a gap, but for what retention noted as dropped."""
    for worker, expected, found in streams.ledger.gaps():
        yield "seq", f"all of worker {worker}", *_record(found, worker), "seq", expected, found


def sums(streams: Streams) -> Breaks:
    """What sealed files leave out, derived again, adds up to what was written when they were sealed."""
    for drift in streams.ledger.drifts():
        field = f"sum of {drift.field} in {drift.file}"
        yield "sum", drift.stream, *_record(drift.first_seq, drift.worker), field, drift.expected, drift.found


def _record(seq: int, worker: int) -> tuple[Rows, NDArray[np.bool_]]:
    """A record as a row that a difference can name."""
    row = np.zeros(1, m.shape([*m.HEAD, ("auction_id", "u8")]))
    row["seq"], row["worker"] = seq, worker
    return row, np.ones(1, bool)


def kinds(streams: Streams) -> Breaks:
    """Every stream holds only its own kinds."""
    for stream, known in (
        ("auctions", (m.KIND_AUCTION,)),
        ("bids", (m.KIND_BID,)),
        ("wins", (m.KIND_WIN,)),
        ("events", EVENT_KINDS),
    ):
        rows = getattr(streams.ledger, stream)
        yield "kind", stream, rows, ~np.isin(rows["kind"], known), "kind", f"one of {known}", rows["kind"]


def prices(streams: Streams) -> Breaks:
    """I1 both identities, I2 no negative amount, I5 floor <= clearing <= bid and the second price."""
    wins = streams.wins
    clearing, total = wins["clearing_nano"], wins["buyer_total_nano"]
    on_top = sum_of(wins, m.BUY_PARTIES) + clearing
    below = sum_of(wins, m.SELL_PARTIES)
    yield "I1", "wins", wins, total != on_top, "buyer_total_nano", on_top, total
    yield "I1", "wins", wins, clearing != below, "clearing_nano", below, clearing
    for party in m.PARTIES:
        amount = wins[f"{party}_nano"]
        yield "I2", "wins", wins, amount < 0, f"{party}_nano", "0 or more", amount
    yield "I5", "wins", wins, clearing < wins["floor_nano"], "clearing_nano", "the floor or more", clearing
    yield "I5", "wins", wins, clearing > wins["bid_nano"], "clearing_nano", "the bid or less", clearing
    rule = wins["price_rule"]
    least = np.minimum(wins["second_nano"], wins["bid_nano"])
    by_next = np.isin(rule, (m.SECOND_PRICE, m.GSP, m.MYERSON)) & (clearing < least)
    yield "I5", "wins", wins, by_next, "clearing_nano", least, clearing
    by_bid = np.isin(rule, (m.FIRST_PRICE, m.ALL_PAY)) & (clearing != wins["bid_nano"])
    yield "I5", "wins", wins, by_bid, "clearing_nano", wins["bid_nano"], clearing
    posted = (rule == m.POSTED_PRICE) & (clearing != wins["floor_nano"])
    yield "I5", "wins", wins, posted, "clearing_nano", wins["floor_nano"], clearing


def splits(streams: Streams) -> Breaks:
    """I10: the fee set that a win names gives every party just what stands on the row.

    A ledger of before fee sets were named on the rows has 0 there, up to the first row that names one.
    """
    wins, which = streams.wins, streams.wins["fees"]
    named = which > 0
    if not named.any() or (streams.ledger.path is None and not streams.fees["base"].any()):
        if len(wins):
            streams.skipped["I10"] = "the wins name no fee sets, or there are no names"
        return
    base = streams.fees["base"][which] > 0
    missing = ~base & (named | (np.cumsum(named) > 0))
    yield "I10", "wins", wins, missing, "fees", "a fee set that the names have", which
    off = np.zeros((N_PARTIES, len(wins)), bool)
    expected = np.zeros((_BLOCK, N_PARTIES), np.int64)
    parties = party_columns(wins)
    wrong: list[tuple[int, int, int]] = []
    for start in range(0, len(wins), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(wins)))
        out = expected[: rows.stop - rows.start]
        data = (wins["flags"][rows] & m.FLAG_DATA != 0).astype(np.int64)
        split_many(streams.fees, which[rows].astype(np.int64), wins["clearing_nano"][rows], data, out)
        broken = (out != parties[rows]) & base[rows, None]
        if broken.any():
            off[:, rows] = broken.T
            wrong += [(start + int(i), int(k), int(out[i, k])) for i, k in zip(*np.nonzero(broken), strict=True)]
    for k in sorted({party for _, party, _ in wrong}):
        right = np.zeros(len(wins), np.int64)
        for row, party, amount in wrong:
            if party == k:
                right[row] = amount
        yield "I10", "wins", wins, off[k], f"{m.PARTIES[k]}_nano", right, parties[:, k]


def nets(streams: Streams) -> Breaks:
    """I15: gross and net stand apart: the bid that won is, net, what its fee set leaves of it, gross.

    Of bids per impression in one position; a remote bid arrives net, and what stands as its gross is that.
    """
    bids, wins = streams.bids, streams.wins
    if not len(bids):
        streams.skipped["I15"] = "bids were not kept"
        return
    won = Pick(bids, np.flatnonzero(bids["fate"] == WON))
    keys = bids[bids["fate"] == WON]
    losers = (wins["flags"] & m.FLAG_LOST) != 0
    mine = np.flatnonzero(~losers & (wins["bill"] == m.BILL_IMPRESSION) & ~np.isin(wins["price_rule"], (m.GSP, m.VCG)))
    found = Index(wins[mine], by_slot=False).find(keys)
    win = mine[found] if mine.size else found
    fees = wins["fees"][win] if len(wins) else np.zeros(len(won), np.uint16)
    local = (found >= 0) & (won["campaign"] >= 0) & (streams.fees["base"][fees] > 0)
    expected = np.zeros(len(won), np.int64)
    _nets(streams.fees, fees.astype(np.int64), won["gross_nano"], local, expected)
    yield "I15", "bids", won, local & (won["net_nano"] != expected), "net_nano", expected, won["net_nano"]
    remote = (won["campaign"] < 0) & (won["net_nano"] > won["gross_nano"])
    yield "I15", "bids", won, remote, "net_nano", "the gross or less", won["net_nano"]


@njit(cache=True, nogil=True)
def _nets(table, which, gross, pick, out):  # type: ignore[no-untyped-def]
    """`net_of` of the rows picked."""
    for i in range(which.size):
        if pick[i]:
            out[i] = net_of(table[which[i]], gross[i])


def order(streams: Streams) -> Breaks:
    """I13, as far as rows show it: awards and auctions are numbered in the order in which they were written."""
    for stream, field in (("wins", "serial"), ("auctions", "auction_id")):
        rows = getattr(streams, stream)
        falls = np.zeros(len(rows), bool)
        same = rows["worker"][1:] == rows["worker"][:-1]
        before, now = rows[field][:-1], rows[field][1:]
        falls[1:] = same & ((now <= before) if field == "serial" else (now < before))
        yield "I13", stream, rows, falls, field, "more than on the row before", rows[field]


def own(streams: Streams) -> Breaks:
    """I14: a person marked as the advertiser's own was on a version of its list that was in force by then.

    Where he is on no version that was, but on a later one, the flag looked ahead. Advertisers of whom the config itself
    knows customers (own_list, own_share) are left out: nothing here tells who those are.
    """
    wins, folder = streams.wins, streams.ledger.path
    found = _versions(streams.ledger)
    if folder is None or not found:
        streams.skipped["I14"] = "no versions of own lists beside the journal"
        return
    flagged = np.flatnonzero(((wins["flags"] & m.FLAG_OWN) != 0) & (wins["person_key"] != 0))
    rows = Pick(wins, flagged)
    names, always = streams.ledger.names, streams.ledger.meta.get("own_always", [])
    for name in always:
        streams.skipped[f"I14 of {name}"] = "the config itself knows customers"
    valid, ever = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for version in (each for each in found if each.advertiser not in always):
        of = rows["advertiser"] == names.known("advertiser", version.advertiser)
        on = of & _among(rows["person_key"], lists.keys_of(version))
        ever |= on
        valid |= on & (rows["ts_ns"] >= version.valid_from_ns)
    yield "I14", "wins", rows, ever & ~valid, "flags", "not own: on no list in force", "own"


def _versions(ledger: Ledger) -> list[lists.Version]:
    """The versions of own lists beside a ledger."""
    folder = ledger.path
    if folder is None or not (folder / lists.FOLDER).is_dir() or not (folder / "salt").exists():
        return []
    return lists.versions(folder, salt(folder))


def _among(keys: Rows, people: Ints | Rows) -> NDArray[np.bool_]:
    """Which keys are among people, ascending."""
    if not people.size:
        return np.zeros(keys.size, bool)
    return np.asarray(people[np.minimum(np.searchsorted(people, keys), people.size - 1)] == keys)
