"""Sell one imp: recheck, ask the local rules, add the screened remote bids, clear, charge, award, journal.

One synchronous compiled step, the same live, in a simulation and in a replay. `trade` does it for every imp of a
request, in request order. The arrays are those that VENUE (state.py) points to; the query is match.py's `q`.
"""

import numpy as np
from numba import carray, njit

from exchange import awards as aw
from exchange import market as mk
from exchange import state as st
from exchange.auction import rows
from exchange.auction.award import award, judge, teach
from exchange.auction.formats import BIDDING
from exchange.auction.value import FACTOR, value_of
from exchange.audience import match as mt
from exchange.bidding import call_price
from exchange.openrtb import codes
from exchange.randomness import RULE, draw, unit
from exchange.rent.waterfall import gross_floor, net_of

OPPORTUNITY, REMOTE, SOLD, IMP, RESULT = mk.OPPORTUNITY, mk.REMOTE, mk.SOLD, mk.IMP, mk.RESULT
CONTACT, FEES = mk.CONTACT, mk.FEES
N_FATES = 1024  # fates below this are counted per local (row 0) and endpoint (row 1 + endpoint)


@njit(cache=True, nogil=True)
def match_request(v):  # type: ignore[no-untyped-def]
    """Write the lines that may bid on each imp of the request in `query` into `found`."""
    mt.match(
        carray(st.at(v.rows), (v.n_rows, v.n_words), np.uint64),
        carray(st.at(v.seg_in), (v.n_groups, v.n_segs + 1), np.int32),
        carray(st.at(v.seg_default), v.n_groups, np.int32),
        carray(st.at(v.seg_out), v.n_segs + 1, np.int32),
        carray(st.at(v.alive), v.n_words, np.uint64),
        carray(st.at(v.query), v.query_max, np.int32),
        carray(st.at(v.found), (v.imps_max, v.n_words), np.uint64),
    )


@njit(cache=True, nogil=True)
def match_only(venue):  # type: ignore[no-untyped-def]
    """`match_request` for a caller outside compiled code: which endpoints a request is for."""
    match_request(venue[0])


@njit(cache=True, nogil=True)
def admitted(v, me, contact_at, contacts):  # type: ignore[no-untyped-def]
    """May this campaign still be asked: money, own-list leaf, caps (contacts and open holds)."""
    if me.available <= 0 or me.daily - me.day_used <= 0:
        return False
    own = False
    if contact_at >= 0:
        contact = contacts[contact_at]
        own = (contact.flags & np.uint16(mk.OWN)) != 0
        held = np.int64(contact.held)
        if me.cap_total > 0 and np.int64(contact.contacts) + held >= me.cap_total:
            return False
        today = np.int64(contact.day_n) if contact.day == np.uint32(v.day) else np.int64(0)
        if me.cap_day > 0 and today + held >= me.cap_day:
            return False
    if me.own == 1:
        return own
    return me.own == 0 or not own


@njit(cache=True, nogil=True)
def ask_one(v, o, me, bid, imp, fee, segments, n_segments, factors, rules):  # type: ignore[no-untyped-def]
    """Ask one campaign's rule for a gross price and weigh it: clamp to its money, net it, test the floor."""
    c = bid.campaign
    imp.floor = gross_floor(fee, o.floor_nano)
    w0, w1, _, _ = draw(v.seed, v.auction, o.imp_ix, c, RULE)
    imp.u = unit(w0, w1)
    imp.contacts = np.int64(bid.contacts)
    imp.now = v.now_ns
    imp.size = np.int64(o.size)
    imp.media = np.int64(o.media)
    imp.hour = np.int64(o.hour)
    imp.format = np.int64(o.format)
    pctr_ppb = o.pctr_ppb if o.pctr_ppb > 0 else me.pctr_ppb
    imp.pctr = pctr_ppb / 1e9  # divided: 0.000154 stays 0.000154
    imp.pcvr = me.pcvr_ppb / 1e9
    bid.value_nano = value_of(me, c, v.seed, v.auction, o.imp_ix, factors, segments, n_segments, o.pctr_ppb)
    if o.test == 0:
        me.asked += 1
    gross = call_price(rules[me.rule, 0], bid.value_nano, imp, me)
    if gross < 0 or gross > mk.PRICE_MAX_NANO:
        me.faults += 1
        gross = max(np.int64(0), min(gross, np.int64(mk.PRICE_MAX_NANO)))
    gross = min(gross, min(me.available, me.daily - me.day_used))
    bid.floor_nano = o.floor_nano
    bid.gross_nano = gross
    bid.net_nano = net_of(fee, gross)
    bid.fate = np.uint16(codes.WON)
    if gross <= 0:
        bid.fate = np.uint16(codes.NO_BID)
    elif bid.net_nano < o.floor_nano:
        bid.fate = np.uint16(codes.BELOW_FLOOR)


@njit(cache=True, nogil=True)
def ask(v, campaigns, o, bids, imps):  # type: ignore[no-untyped-def]
    """Ask every eligible local campaign. Returns (bids written, campaigns whose audience this is)."""
    found = carray(st.at(v.found), (v.imps_max, v.n_words), np.uint64)[o.imp_ix]
    lines = carray(st.at(v.lines), (v.n_lines, 3), np.int32)
    fees = carray(st.at(v.fees), v.n_campaigns + v.n_endpoints + 1, FEES)
    rules = carray(st.at(v.rules), (v.n_rules, 3), np.int64)
    factors = carray(st.at(v.factors), v.n_factors, FACTOR)
    contacts = carray(st.at(v.contacts), v.people_size * v.n_advertisers + v.pairs_size, CONTACT)
    query = carray(st.at(v.query), v.query_max, np.int32)
    segments, n_segments = query[mt.HEAD :], query[mt.N_SEGS]
    row = np.int64(-1)
    if o.person_key != np.uint64(0):
        row = st.person_row(v, o.person_key)
    n, last, eligible = 0, -1, 0
    for w in range(v.n_words):
        bits = found[w]
        while bits != np.uint64(0):
            line = w * 64 + st.lowest_bit(bits)
            bits &= bits - np.uint64(1)
            c = lines[line, 0]
            if c < 0 or c == last:
                continue
            last = c
            eligible += 1
            me = campaigns[c]
            contact_at = np.int64(-1)
            if me.advertiser > v.n_advertisers:
                contact_at = st.contact_ix(v, o.person_key, me.advertiser, False)
            elif row >= 0:
                contact_at = row * v.n_advertisers + np.int64(me.advertiser) - 1
            if not admitted(v, me, contact_at, contacts):
                continue
            bid = bids[n]
            bid.campaign = c
            bid.line = line
            bid.remote_ix = -1
            bid.endpoint = -1
            bid.entity = np.uint64(c)
            bid.seat = me.seat
            bid.advertiser = me.advertiser
            bid.contacts = contacts[contact_at].contacts if contact_at >= 0 else np.uint32(0)
            own = contact_at >= 0 and (contacts[contact_at].flags & np.uint16(mk.OWN)) != 0
            bid.flags = np.uint8(mk.FLAG_OWN) if own else np.uint8(0)
            imps[n].own = np.int64(own)
            imps[n].since_s = np.int64(-1)
            if bid.contacts > 0:
                imps[n].since_s = max(np.int64(0), v.now_ns // mk.NANO - np.int64(contacts[contact_at].last_s))
            ask_one(v, o, me, bid, imps[n], fees[c], segments, n_segments, factors, rules)
            n += 1
    return n, eligible


@njit(cache=True, nogil=True)
def invite(v, o, bids, n):  # type: ignore[no-untyped-def]
    """Add the screened remote bids of this imp after the local ones. Returns the number of bids."""
    remote = carray(st.at(v.remote), v.remote_max, REMOTE)
    for r in range(v.n_remote):
        if remote[r].imp_ix != o.imp_ix:
            continue
        bid = bids[n]
        bid.campaign = -1
        bid.line = -1
        bid.remote_ix = r
        bid.endpoint = np.int16(remote[r].endpoint)
        bid.gross_nano = remote[r].net_nano
        bid.net_nano = remote[r].net_nano
        bid.value_nano = 0
        bid.floor_nano = max(o.floor_nano, remote[r].floor_nano)
        bid.entity = remote[r].entity
        bid.seat = remote[r].seat
        bid.advertiser = remote[r].advertiser
        bid.contacts = np.uint32(0)
        bid.flags = np.uint8(0)
        bid.fate = remote[r].fate
        if bid.fate == codes.WON and bid.net_nano < bid.floor_nano:
            bid.fate = np.uint16(codes.BELOW_FLOOR)
            remote[r].fate = bid.fate
        n += 1
    return n


@njit(cache=True, nogil=True)
def count_fates(v, bids, n):  # type: ignore[no-untyped-def]
    """Count each bid's fate: int64[1 + n_endpoints, N_FATES], row 0 local."""
    counts = carray(st.at(v.fate_counts), (v.n_endpoints + 1, N_FATES), np.int64)
    for i in range(n):
        counts[bids[i].endpoint + 1, bids[i].fate] += 1


@njit(cache=True, nogil=True)
def sell(v, campaigns, o, out):  # type: ignore[no-untyped-def]
    """Hold the auction of one imp and make its result true. The caller has seen to the room (`rows.room`).

    o: OPPORTUNITY, out: SOLD. A test imp (o.test) is judged only: nothing is charged, learnt, counted or written.
    """
    bids = carray(st.at(v.bids), v.bids_max, BIDDING)
    imps = carray(st.at(v.imps), v.n_campaigns + 1, IMP)
    n_asked, eligible = ask(v, campaigns, o, bids, imps)
    n = invite(v, o, bids, n_asked)
    winner, second = judge(v, o, bids, n, out)
    if o.test:
        return
    total = np.int64(0)
    if winner >= 0:
        total = award(v, campaigns, o, bids, n, winner, second, out)
    teach(v, campaigns, bids, n_asked, winner, total, out, imps, carray(st.at(v.results), 1, RESULT)[0])
    count_fates(v, bids, n)
    v.n_auctions += 1
    if v.write:
        if v.write_bids:
            for i in range(n):
                c = bids[i].campaign
                rows.bid_row(v, o, bids[i], campaigns[c].id if c >= 0 else np.int32(-1))
        rows.auction_row(v, o, out, eligible, n_asked)


@njit(cache=True, nogil=True)
def trade(venue, campaigns, now_ns, start, n_imps):  # type: ignore[no-untyped-def]
    """Sell the imps start..n_imps-1 of one request, in request order. Returns the next imp to sell.

    Less than n_imps means: see venue[0].status (ROLL or GROW), make room, call again from there. The clock
    moves first, so holds that expired by now_ns are free again.
    """
    v = venue[0]
    opportunities = carray(st.at(v.opportunities), v.imps_max, OPPORTUNITY)
    sold = carray(st.at(v.sold), v.imps_max, SOLD)
    v.status = st.DONE
    if start == 0:
        v.status = aw.advance(v, campaigns, now_ns)
        if v.status != st.DONE:
            return 0
    for k in range(start, n_imps):
        o = opportunities[k]
        v.status = rows.room(v)
        if v.status != st.DONE:
            return k
        if k == 0:
            v.auction += 1
            match_request(v)
        sell(v, campaigns, o, sold[k])
    if n_imps > 0 and opportunities[0].test:
        v.auction -= 1
    return n_imps
