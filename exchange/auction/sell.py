"""Sell one imp: recheck, ask the local rules, add the screened remote bids, clear, charge, award, journal.

One synchronous compiled step, the same live, in a simulation and in a replay. `trade` does it for every imp of a
request, in request order. The arrays are those that VENUE (state.py) points to; the query is query.py's `q`.
"""

import numpy as np
from numba import carray, njit

from exchange import awards as aw
from exchange import market as mk
from exchange import state as st
from exchange.auction import formats as fm
from exchange.auction import rows
from exchange.auction.award import answer, award, bar_of, judge, teach
from exchange.auction.floors import apply_reserves, floor_for, rank_by_values
from exchange.auction.limits import admitted, held_out, refused, spendable, turn
from exchange.auction.positions import rate_of
from exchange.auction.value import rates_of, worth
from exchange.auction.weigh import gross_for, rate_of_event, weigh
from exchange.audience import query as qy
from exchange.audience import targets as tg
from exchange.audience.program import HOME
from exchange.audience.store import PEOPLE, know
from exchange.bidding import call_price
from exchange.memory import lowest_bit
from exchange.openrtb import codes
from exchange.randomness import RULE, draw, unit

OPPORTUNITY, REMOTE, SOLD, IMP, RESULT = mk.OPPORTUNITY, mk.REMOTE, mk.SOLD, mk.IMP, mk.RESULT
CONTACT, FEES, BIDDING = mk.CONTACT, mk.FEES, fm.BIDDING
N_FATES = 1024  # fates below this are counted per local (row 0) and endpoint (row 1 + endpoint)


@njit(cache=True, nogil=True)
def find(v, imp_ix):  # type: ignore[no-untyped-def]
    """Write the campaigns that may bid on an imp of the request in `query` into `found`, and which reserves hold."""
    audience = carray(st.at(v.audience), 1, tg.AUDIENCE)[0]
    tg.select(audience, np.int64(imp_ix))
    tg.match(audience)
    if v.n_reserves > 0:
        apply_reserves(v, audience)


@njit(cache=True, nogil=True)
def learn_of(v):  # type: ignore[no-untyped-def]
    """Add to the query what the people store knows of the person of the first opportunity; twice adds nothing."""
    if v.store != 0:
        key = carray(st.at(v.opportunities), v.imps_max, OPPORTUNITY)[0].person_key
        know(carray(st.at(v.store), 1, PEOPLE)[0], v.query, v.query_max, key)


@njit(cache=True, nogil=True)
def learn_of_one(venue):  # type: ignore[no-untyped-def]
    """`learn_of` for a caller outside compiled code: venue is VENUE[1]."""
    learn_of(venue[0])


@njit(cache=True, nogil=True)
def endpoints_for(venue, n_imps):  # type: ignore[no-untyped-def]
    """Write into `asked`, uint8[n_endpoints], which endpoints' targets the request in `query` meets on some imp."""
    v = venue[0]
    learn_of(v)
    audience = carray(st.at(v.audience), 1, tg.AUDIENCE)[0]
    asked = carray(st.at(v.asked), v.n_endpoints + 1, np.uint8)
    for e in range(v.n_endpoints):
        asked[e] = np.uint8(0)
    for k in range(n_imps):
        tg.select(audience, k)
        for e in range(v.n_endpoints):
            if asked[e] == 0 and tg.holds_other(audience, v.first_endpoint + e):
                asked[e] = np.uint8(1)


@njit(cache=True, nogil=True)
def terms_of(v, o, me, bid):  # type: ignore[no-untyped-def]
    """Write the terms on which a local bid competes: its floor, what it pays for, its weight."""
    bid.floor_nano = o.floor_nano
    bid.slope = np.uint8(1)
    bid.offset_nano = 0
    if v.n_reserves > 0:
        bid.floor_nano = floor_for(v, bid.seat, o.floor_nano)
        rank_by_values(v, bid)
    bid.bill = np.uint8(mk.BILL_IMPRESSION) if fm.TABLE[o.format, fm.LOSERS_PAY] else me.bill
    bid.pctr_ppb, bid.pcvr_ppb = rates_of(v, o, me, bid)
    bid.rate_ppb = rate_of_event(bid.bill, bid.pctr_ppb, bid.pcvr_ppb)
    bid.quality_ppm = me.quality_ppm
    bid.slot = np.int16(-1)
    bid.paid_nano = 0


@njit(cache=True, nogil=True)
def remote_terms_of(v, o, bid):  # type: ignore[no-untyped-def]
    """The same for a remote bid, whose deal has set its floor: it pays per impression and weighs what it bids."""
    bid.slope = np.uint8(1)
    bid.offset_nano = 0
    if v.n_reserves > 0:
        if bid.seat != 0:
            bid.floor_nano = floor_for(v, bid.seat, bid.floor_nano)
        rank_by_values(v, bid)
    bid.bill = np.uint8(mk.BILL_IMPRESSION)
    bid.pctr_ppb = 0
    bid.pcvr_ppb = 0
    bid.rate_ppb = mk.ONE_PPB
    bid.quality_ppm = fm.PPM
    bid.slot = np.int16(-1)
    bid.paid_nano = 0


@njit(cache=True, nogil=True, inline="always")
def ask_one(v, o, me, bid, imp, fee, best_ppm):  # type: ignore[no-untyped-def]
    """Ask one campaign's rule for a gross price and weigh it: clamp to its money, net it, test the floor."""
    c = bid.campaign
    terms_of(v, o, me, bid)
    imp.floor = gross_for(bid, fee, bid.floor_nano, best_ppm)
    w0, w1, _, _ = draw(v.seed, v.auction, o.imp_ix, c, RULE)
    imp.u = unit(w0, w1)
    imp.contacts = np.int64(bid.contacts)
    imp.now = v.now_ns
    imp.size = np.int64(o.size)
    imp.media = np.int64(o.media)
    imp.hour = np.int64(o.hour)
    imp.format = np.int64(o.format)
    imp.pctr = bid.pctr_ppb / 1e9
    imp.pcvr = bid.pcvr_ppb / 1e9
    bid.value_nano = worth(v, o, me, bid)
    if o.test == 0:
        me.asked += 1
    gross = call_price(carray(st.at(v.rules), (v.n_rules, 3), np.int64)[me.rule, 0], bid.value_nano, imp, me)
    if gross < 0 or gross > mk.PRICE_MAX_NANO:
        me.faults += 1
        gross = max(np.int64(0), min(gross, np.int64(mk.PRICE_MAX_NANO)))
    weigh(bid, fee, gross, spendable(v, me), best_ppm)


@njit(cache=True, nogil=True)
def relate(v, q, contact, person_key):  # type: ignore[no-untyped-def]
    """Write what an advertiser knows of the person into the query: its own list, contacts, days since the last one."""
    for slot in (qy.OWN, qy.CONTACTS, qy.LAST_CONTACT_DAYS):
        q[slot] = qy.NO_NUMBER
    if person_key == np.uint64(0):
        return
    q[qy.OWN] = np.int64((contact.flags & np.uint16(mk.OWN)) != 0)
    q[qy.CONTACTS] = np.int64(contact.contacts)
    if contact.contacts > 0:
        q[qy.LAST_CONTACT_DAYS] = max(np.int64(0), v.now_ns // mk.NANO - np.int64(contact.last_s)) // 86_400


@njit(cache=True, nogil=True)
def withhold(v, o, me, bid):  # type: ignore[no-untyped-def]
    """In place of asking, for a person in the advertiser's holdout: what it would have been worth, and no bid."""
    bid.pctr_ppb, bid.pcvr_ppb = rates_of(v, o, me, bid)
    bid.value_nano = worth(v, o, me, bid)
    bid.floor_nano = o.floor_nano
    bid.gross_nano = 0
    bid.net_nano = 0
    bid.fate = np.uint16(codes.HOLDOUT)


@njit(cache=True, nogil=True, inline="always")
def ask(v, o, bids, imps):  # type: ignore[no-untyped-def]
    """Ask every eligible local campaign. Returns (bids written, campaigns whose audience this is, those withheld)."""
    found = carray(st.at(v.found), v.n_words, np.uint64)
    q = carray(st.at(v.query), v.query_max, np.int64)
    audience = carray(st.at(v.audience), 1, tg.AUDIENCE)[0]
    homes = carray(st.at(audience.homes), v.n_campaigns + 1, HOME)
    picky = q[qy.BARRED + 1] > 0 or q[qy.WANTED + 1] > 0
    fees = carray(st.at(v.fees), v.n_fees, FEES)
    n_contacts = v.people_size * v.n_advertisers + v.pairs_size
    contacts = carray(st.at(v.contacts), n_contacts + 1, CONTACT)  # the last is always blank: an unknown person's
    row = np.int64(-1)
    if o.person_key != np.uint64(0):
        row = st.person_row(v, o.person_key)
    best_ppm = rate_of(v, o, 0)
    n, eligible, withheld = 0, 0, 0
    for w in range(v.n_words):
        bits = found[w]
        while bits != np.uint64(0):
            c = w * 64 + lowest_bit(bits)
            bits &= bits - np.uint64(1)
            me = st.campaign(v, c)
            contact_at = np.int64(-1)
            if me.advertiser > v.n_advertisers:
                contact_at = st.contact_ix(v, o.person_key, me.advertiser, False)
            elif row >= 0:
                contact_at = row * v.n_advertisers + np.int64(me.advertiser) - 1
            contact = contacts[contact_at if contact_at >= 0 else n_contacts]
            if homes[c].relative:
                relate(v, q, contact, o.person_key)
                if not tg.meets(audience, homes[c]):
                    continue
            if picky and refused(q, me.advertiser):
                continue
            ad = turn(v, o, me, c, q)
            if ad < 0:
                continue
            eligible += 1
            if not admitted(v, me, contact, o.person_key):
                continue
            bid = bids[n]
            bid.campaign = c
            bid.ad = np.int32(ad)
            bid.remote_ix = -1
            bid.endpoint = -1
            bid.entity = np.uint64(c)
            bid.seat = me.seat
            bid.advertiser = me.advertiser
            bid.contacts = contact.contacts
            own = (contact.flags & np.uint16(mk.OWN)) != 0
            bid.flags = np.uint8(mk.FLAG_OWN) if own else np.uint8(0)
            imps[n].own = np.int64(own)
            imps[n].since_s = np.int64(-1)
            if bid.contacts > 0:
                imps[n].since_s = max(np.int64(0), v.now_ns // mk.NANO - np.int64(contact.last_s))
            if held_out(v, me, o.person_key):
                withhold(v, o, me, bid)
                withheld += 1
            else:
                ask_one(v, o, me, bid, imps[n], fees[me.fees], best_ppm)
            n += 1
    return n, eligible, withheld


@njit(cache=True, nogil=True, inline="always")
def invite(v, o, bids, n):  # type: ignore[no-untyped-def]
    """Add the screened remote bids of this imp after the local ones. Returns the number of bids."""
    remote = carray(st.at(v.remote), v.remote_max, REMOTE)
    best_ppm = rate_of(v, o, 0)
    most = mk.PRICE_MAX_NANO if best_ppm == fm.PPM else fm.muldiv_up(mk.PRICE_MAX_NANO, fm.PPM, best_ppm) - 1
    for r in range(v.n_remote):
        if remote[r].imp_ix != o.imp_ix:
            continue
        bid = bids[n]
        bid.campaign = -1
        bid.ad = -1
        bid.remote_ix = r
        bid.endpoint = np.int16(remote[r].endpoint)
        bid.gross_nano = remote[r].net_nano
        bid.net_nano = min(remote[r].net_nano, most)  # so that no position costs more than a price may
        bid.unit_nano = bid.net_nano
        bid.value_nano = 0
        bid.floor_nano = max(o.floor_nano, remote[r].floor_nano)
        bid.entity = remote[r].entity
        bid.seat = remote[r].seat
        remote_terms_of(v, o, bid)
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
def sell(v, o, out):  # type: ignore[no-untyped-def]
    """Hold the auction of one imp and make its result true. The caller has seen to the room (`rows.room`).

    o: OPPORTUNITY, out: SOLD[n_slots], best position first. A test imp (o.test) is judged only: nothing is charged,
    learnt, counted or written.
    """
    bids = carray(st.at(v.bids), v.bids_max, BIDDING)
    imps = carray(st.at(v.imps), v.n_campaigns + 1, IMP)
    order = carray(st.at(v.order), v.n_slots, np.int64)
    find(v, o.imp_ix)
    if v.n_reserves > 0:
        o.floor_nano = floor_for(v, 0, o.floor_nano)
    n_local, eligible, withheld = ask(v, o, bids, imps)
    n = invite(v, o, bids, n_local)
    n_sold = judge(v, o, bids, n, order, out)
    bar = bar_of(v, o, bids, order, n_sold)
    if v.n_remote > 0:
        answer(v, o, bids, n, bar)
    if o.test:
        return
    clearing = award(v, o, bids, n, order, n_sold, out)
    teach(v, o, bids, n_local, bar, imps, carray(st.at(v.results), 1, RESULT)[0])
    count_fates(v, bids, n)
    v.n_auctions += 1
    if v.write:
        if v.write_bids:
            for i in range(n):
                c = bids[i].campaign
                rows.bid_row(v, o, bids[i], st.campaign(v, c).id if c >= 0 else np.int32(-1))
        rows.auction_row(v, o, out[0], eligible, n_local - withheld, clearing)


@njit(cache=True, nogil=True)
def trade(venue, now_ns, start, n_imps):  # type: ignore[no-untyped-def]
    """Sell the imps start..n_imps-1 of one request, in request order. Returns the next imp to sell.

    Less than n_imps means: see venue[0].status (ROLL or GROW), make room, call again from there. The clock
    moves first, so holds that expired by now_ns are free again.
    """
    return trade_imps(venue[0], now_ns, start, n_imps)


@njit(cache=True, nogil=True)
def trade_imps(v, now_ns, start, n_imps):  # type: ignore[no-untyped-def]
    """`trade` for compiled code."""
    opportunities = carray(st.at(v.opportunities), v.imps_max, OPPORTUNITY)
    sold = carray(st.at(v.sold), (v.imps_max, v.n_slots), SOLD)
    v.status = st.DONE
    if start == 0:
        v.status = aw.advance(v, now_ns)
        if v.status != st.DONE:
            return 0
    for k in range(start, n_imps):
        o = opportunities[k]
        v.status = rows.room(v, o)
        if v.status != st.DONE:
            return k
        if k == 0:
            v.auction += 1
            st.expect(v, o.person_key)
            learn_of(v)
        sell(v, o, sold[k])
    if n_imps > 0 and opportunities[0].test:
        v.auction -= 1
    return n_imps
