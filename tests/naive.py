"""The market in plain Python: the slow, obviously right twin of the compiled step.

`Naive` holds auctions, moves money and counts contacts by the definitions alone (who may bid, net and gross, second
price, holds, contacts), and writes down every journal row it expects. `differences` compares it with a real venue.
"""

import math
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np

from exchange import bidding
from exchange import market as mk
from exchange.auction.terms import FAR_NS, date_ns
from exchange.auction.venue import Venue
from exchange.config import Config
from exchange.openrtb import codes
from exchange.rent.ledger import Ledger
from tests.naive_terms import DAY, RULE, TIE, VALUE, Award, Bid, Contact, Fee, Imp, Request, draw, unit

MONEY = ("available", "spent", "held", "day_used", "asked", "wins", "faults")


class Naive:
    """A venue in plain Python: `trade`, `event`, `tick`; state in `campaigns`, `contact`, `rows`."""

    def __init__(self, config: Config, venue: Venue) -> None:
        ids = venue.names.id
        self.config, self.seed = config, config.exchange.seed
        self.versions = {name: int(venue.record[name][0]) for name in ("config_version", "snapshot_version")}
        self.other_seat = config.auction.runner_up == "other_seat"
        self.increment = round(config.auction.increment_cpm * 1e6)
        self.campaigns: list[Any] = []
        ads = 0
        for advertiser in config.advertiser:
            for c in advertiser.campaign:
                where, rule = f"{advertiser.name}/{c.name}", bidding.resolve(c.rule, config.folder)
                knobs = {k: list(v) if isinstance(v, list) else v for k, v in {**rule.defaults, **c.knobs}.items()}
                budget = mk.BUDGET_MAX_NANO if c.budget is None else round(c.budget * 1e9)
                me = SimpleNamespace(
                    id=ids("campaign", where), advertiser=ids("advertiser", advertiser.name),
                    seat=ids("seat", advertiser.name), rule=rule, config=c, budget=budget, available=budget,
                    spent=0, held=0, daily=mk.BUDGET_MAX_NANO if c.daily is None else round(c.daily * 1e9), day_used=0,
                    asked=0, wins=0, faults=0, start_ns=date_ns(c.start, "") if c.start else 0,
                    end_ns=date_ns(c.end, "") if c.end else FAR_NS,
                    ads=[(ads + k, ids("creative", f"{where}/{x.id}"), (x.w, x.h)) for k, x in enumerate(c.creative)],
                    **knobs,
                )  # fmt: skip
                ads += len(c.creative)
                self.campaigns.append(me)
        self.knobs = [list({**me.rule.defaults}) for me in self.campaigns]
        self.local = Fee(config.fees.sell, config.fees.buy, config.fees.set)
        self.endpoint = [Fee(config.fees.sell, e.fees, config.fees.set) for e in config.endpoint]
        self.columns = max([1, *(me.advertiser for me in self.campaigns if me.advertiser <= 64)])
        self.contact: dict[tuple[int, int], Contact] = {}
        self.awards: dict[int, Award] = {}
        self.now = self.auction = self.serial = 0
        self.day, self.seq = -1, 1
        self.lost_holds = self.unknown = self.exceptions = 0
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("auctions", "bids", "wins", "events")}

    def own(self, advertiser: str, venue: Venue, keys: list[int]) -> None:
        """Put people on an own list."""
        for key in keys:
            self.remember(key, venue.names.id("advertiser", advertiser)).own = True

    def known(self, person: int, advertiser: int) -> Contact:
        """What is known of a person, nothing if nothing."""
        return self.contact.get((person, advertiser)) or Contact()

    def remember(self, person: int, advertiser: int) -> Contact:
        return self.contact.setdefault((person, advertiser), Contact())

    def room_for(self, person: int, advertiser: int) -> bool:
        """Is he known already, or is there room for one more person (or one more pair with an outside advertiser)."""
        limit = self.config.server.people_max
        inside = {p for p, a in self.contact if a <= self.columns}
        if advertiser <= self.columns:
            return person in inside or len(inside) < limit
        return (person, advertiser) in self.contact or sum(a > self.columns for _, a in self.contact) < limit

    def row(self, stream: str, kind: int, now: int, **values: Any) -> None:
        self.rows[stream].append({"seq": self.seq, "ts_ns": now, "kind": kind, **self.versions, **values})
        self.seq += 1

    # ---- time and events ------------------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        self.now = max(self.now, now)
        for award in sorted(self.awards.values(), key=lambda a: a.serial):
            if award.status == mk.HELD and award.expires <= self.now:
                self.release(award, award.expires)
        if self.now // DAY != self.day:
            self.day = self.now // DAY
            for me in self.campaigns:
                me.day_used = 0

    def release(self, award: Award, now: int) -> None:
        award.status = mk.RELEASED
        if award.campaign >= 0:
            me = self.campaigns[award.campaign]
            me.available += award.hold
            me.held -= award.hold
            if award.placed // DAY == self.day:
                me.day_used -= award.hold
        if award.person:
            self.remember(award.person, award.advertiser).held -= 1
        self.event_row(award, mk.KIND_RELEASE, now, 0, 0)

    def event_row(self, award: Award, kind: int, now: int, paid: int, contact_n: int) -> None:
        cum = self.known(award.person, award.advertiser).rent if award.person else 0
        self.row("events", kind, now, auction_id=award.auction, serial=award.serial, person_key=award.person,
                 paid_nano=paid, cum_rent_nano=cum, campaign=award.campaign_id, advertiser=award.advertiser,
                 contact_n=contact_n, imp_ix=award.imp)  # fmt: skip

    def event(self, kind: int, serial: int, auction: int, now: int) -> int:
        self.advance(now)
        award = self.awards.get(serial)
        if award is None or award.auction != auction:
            return 0
        me = self.campaigns[award.campaign] if award.campaign >= 0 else None
        if kind == mk.KIND_CLICK:
            if award.clicked:
                return 0
            award.clicked = True
            self.event_row(award, kind, self.now, 0, 0)
            self.feedback(me, kind, 0)
            return kind
        before, award.status = award.status, mk.BILLED
        if before == mk.BILLED:
            return 0
        if before == mk.RELEASED:
            self.event_row(award, mk.KIND_UNPAID, self.now, 0, 0)
            return mk.KIND_UNPAID
        contact_n = 0
        if award.person:
            contact = self.remember(award.person, award.advertiser)
            contact.held, contact.contacts, contact.rent = (
                contact.held - 1, contact.contacts + 1, contact.rent + award.hold)  # fmt: skip
            contact.billed_on[self.now // DAY] += 1
            contact.last_s, contact_n = self.now // 10**9, contact.contacts
        self.event_row(award, kind, self.now, award.hold, contact_n)
        if me is not None:
            me.held, me.spent = me.held - award.hold, me.spent + award.hold
        self.feedback(me, kind, award.hold)
        return kind

    @staticmethod
    def feedback(me: Any, kind: int, paid: int) -> None:
        if me is not None and hasattr(me.rule, "feedback"):
            me.rule.feedback(me, kind, paid)

    # ---- the auction ------------------------------------------------------------------------------------------------

    def trade(self, request: Request) -> list[dict[str, Any]]:
        self.advance(request.now)
        self.auction += 1
        sold = [self.sell(request, k, imp) for k, imp in enumerate(request.imps)]
        self.auction -= request.test
        return sold

    def fits(self, me: Any, request: Request, imp: Imp) -> list[tuple[int, int, tuple[int, int]]]:
        """The creatives of a campaign that may run here: flight, segment target, size."""
        target = me.config.target
        wanted = target.partition("seg one of [")[2].partition("]")[0].split(", ") if "seg" in target else None
        if not me.start_ns <= self.now < me.end_ns or (wanted and not set(wanted) & set(request.segments)):
            return []
        return [ad for ad in me.ads if ad[2] == imp.size]

    def admitted(self, me: Any, person: int) -> bool:
        """Money, caps (contacts and open holds), own-list."""
        contact, cap, target = self.known(person, me.advertiser), me.config.cap, me.config.target
        if me.available <= 0 or me.day_used >= me.daily:
            return False
        if cap.total is not None and contact.contacts + contact.held >= cap.total:
            return False
        if cap.day is not None and contact.billed_on[self.day] + contact.held >= cap.day:
            return False
        if "not own" in target:
            return not contact.own
        return contact.own or "own" not in target

    def value(self, me: Any, ix: int, request: Request, k: int) -> int:
        drawn = me.config.value_cpm
        if isinstance(drawn, float | int):
            value = int(Decimal(repr(drawn)) * 10**6)
        else:
            w = draw(self.seed, self.auction, k, ix, VALUE)
            if drawn.uniform:
                x = drawn.uniform[0] * 1e6 + unit(w[0], w[1]) * (drawn.uniform[1] * 1e6 - drawn.uniform[0] * 1e6)
            elif drawn.exponential:
                x = -drawn.exponential * 1e6 * math.log1p(-unit(w[0], w[1]))
            else:
                normal = math.sqrt(-2 * math.log(1 - unit(w[0], w[1]))) * math.cos(2 * math.pi * unit(w[2], w[3]))
                x = 1e6 * math.exp(drawn.lognormal[0] + drawn.lognormal[1] * normal)
            value = int(min(max(x, 0.0), float(mk.PRICE_MAX_NANO)))
        for segment, factor in me.config.factors.items():
            if segment in request.segments:
                value = min(mk.PRICE_MAX_NANO, value * round(factor * 1e6) // 10**6)
        return value

    def ask(self, me: Any, ix: int, request: Request, k: int, ad: tuple[int, int, tuple[int, int]]) -> Bid:
        imp, contact = request.imps[k], self.known(request.person, me.advertiser)
        w = draw(self.seed, self.auction, k, ix, RULE)
        seen = SimpleNamespace(
            now=self.now, floor=self.local.least_gross(imp.floor), u=unit(w[0], w[1]), hour=request.hour,
            contacts=contact.contacts, size=imp.size[0] << 16 | imp.size[1],
            media=codes.BANNER, format=imp.at, pctr=0.001, pcvr=0.02, own=int(contact.own),
            since_s=max(0, self.now // 10**9 - contact.last_s) if contact.contacts else -1,
        )  # fmt: skip
        value = self.value(me, ix, request, k)
        me.asked += not request.test
        try:
            gross = me.rule.price(value, seen, me)
        except RuntimeError:
            self.exceptions += 1
            gross = 0
        if not 0 <= gross <= mk.PRICE_MAX_NANO:
            me.faults += 1
            gross = 0 if gross < 0 else mk.PRICE_MAX_NANO
        gross = min(gross, me.available, me.daily - me.day_used)
        net = self.local.net(gross)
        fate = codes.NO_BID if gross == 0 else codes.BELOW_FLOOR if net < imp.floor else codes.WON
        return Bid(gross, net, fate, ix, me.seat, me.advertiser, ix, -1, -1, value, ad[0], ad[1], seen)

    def judge(self, k: int, imp: Imp, bids: list[Bid]) -> tuple[Bid | None, int, dict[str, Any]]:
        """The winner, the best bid beside his, and what SOLD says; marks the losers."""
        alive = [b for b in bids if b.fate == codes.WON]
        result = dict.fromkeys(("clearing_nano", "runner_up_nano", "contacts", "advertiser"), 0)
        result |= dict.fromkeys(("serial", "campaign", "remote_ix", "creative"), -1)
        result |= {"n_bids": sum(b.gross > 0 for b in bids), "min_to_win_nano": imp.floor}
        if not alive:
            return None, 0, result
        top = max(b.net for b in alive)
        rank = {id(b): draw(self.seed, self.auction, k, b.entity, TIE)[:2] for b in alive}
        winner = max((b for b in alive if b.net == top), key=lambda b: (rank[id(b)], -b.entity))
        same = winner.seat if self.other_seat and winner.seat else None
        rivals = [b for b in alive if b is not winner and b.seat != same]
        floor = max(imp.floor, winner.floor)
        second = max((b.net for b in rivals), default=0)
        price = floor if second == 0 else min(top, max(floor, second + self.increment))
        price = top if imp.at == mk.FIRST_PRICE else price
        for b in alive:
            b.fate = codes.WON if b is winner else codes.OUTBID
        result |= {"clearing_nano": price, "min_to_win_nano": price, "runner_up_nano": max(second, floor)}
        result |= {"campaign": winner.campaign, "remote_ix": winner.remote, "creative": winner.creative}
        return winner, second, result | {"advertiser": winner.advertiser}

    def sell(self, request: Request, k: int, imp: Imp) -> dict[str, Any]:
        """One imp: ask, judge, award, teach, write."""
        fitting = [(ix, me, ads[0]) for ix, me in enumerate(self.campaigns) if (ads := self.fits(me, request, imp))]
        asked = [self.ask(me, ix, request, k, ad) for ix, me, ad in fitting if self.admitted(me, request.person)]
        bids = list(asked)
        for r, b in enumerate(request.remote):
            if b.imp == k:
                least = max(imp.floor, b.floor)
                fate = codes.BELOW_FLOOR if b.fate == codes.WON and b.net < least else b.fate
                bids.append(Bid(b.net, b.net, fate, b.entity, b.seat, b.advertiser, -1, b.endpoint, r, floor=least))
        winner, second, result = self.judge(k, imp, bids)
        if request.test:
            return result
        total, person = 0, request.person
        if winner is not None:
            total, person = self.award(request, k, winner, bids, second, result)
        for b in asked:
            needed = self.local.total(result["runner_up_nano" if b is winner else "min_to_win_nano"])
            told = SimpleNamespace(won=b is winner, bid=b.gross, price=total if b is winner else 0)
            told.min_to_win = needed if self.config.auction.min_to_win else 0
            me = self.campaigns[b.campaign]
            me.rule.learn(b.value, b.imp, me, told)
        head = {"auction_id": self.auction, "imp_ix": k}
        for b in bids:
            ident = self.campaigns[b.campaign].id if b.campaign >= 0 else -1
            self.row("bids", mk.KIND_BID, self.now, value_nano=b.value, gross_nano=b.gross, net_nano=b.net,
                     advertiser=b.advertiser, campaign=ident, seat=b.seat, endpoint=b.endpoint, fate=b.fate,
                     **head)  # fmt: skip
        self.row("auctions", mk.KIND_AUCTION, self.now, person_key=person, floor_nano=imp.floor,
                 clearing_nano=result["clearing_nano"], publisher=request.publisher, domain=request.domain,
                 size=imp.size[0] << 16 | imp.size[1], n_eligible=len(fitting), n_asked=len(asked),
                 n_bids=result["n_bids"], media=codes.BANNER, hour=request.hour, format=imp.at,
                 sold=winner is not None, **head)  # fmt: skip
        return result

    def award(self, request: Request, k: int, bid: Bid, bids: list[Bid], second: int, result: dict[str, Any]) -> Any:
        """Charge the winner, write the rent row, place the hold. Returns (total, person)."""
        fee = self.local if bid.campaign >= 0 else self.endpoint[bid.endpoint]
        me = self.campaigns[bid.campaign] if bid.campaign >= 0 else None
        clearing, person, serial = result["clearing_nano"], request.person, self.serial
        total = fee.total(clearing)
        if person and not self.room_for(person, bid.advertiser):
            person = 0
            self.unknown += 1
        contact = self.remember(person, bid.advertiser) if person else Contact()
        result["serial"], result["contacts"] = serial, contact.contacts
        purpose = 0 if me is None else mk.PURPOSES.index(me.config.purpose)
        rates = {} if me is None else {"pctr_ppb": 1_000_000, "pcvr_ppb": 20_000_000, "purpose": purpose}
        split = fee.split(clearing, me is not None and "seg" in me.config.target)
        expires = self.now + self.config.server.hold_s * 10**9
        since = max(0, self.now // 10**9 - contact.last_s) if contact.contacts else 0
        filtered = sum(b.fate not in (codes.WON, codes.OUTBID) for b in bids)
        self.row("wins", mk.KIND_WIN, self.now, auction_id=self.auction, serial=serial, person_key=person,
                 value_nano=bid.value, bid_nano=bid.net, clearing_nano=clearing, second_nano=second,
                 floor_nano=request.imps[k].floor, price_to_win_nano=result["runner_up_nano"],
                 buyer_total_nano=total, cum_rent_nano=contact.rent,
                 expires_ns=expires, campaign=me.id if me else -1, creative=bid.creative_id, imp_ix=k,
                 advertiser=bid.advertiser, seat=bid.seat, publisher=request.publisher, domain=request.domain,
                 contacts=contact.contacts, since_last_s=since, endpoint=bid.endpoint, n_bids=result["n_bids"],
                 n_filtered=filtered, price_rule=request.imps[k].at, flags=int(contact.own), **rates,
                 **{f"{party}_nano": amount for party, amount in split.items()})  # fmt: skip
        self.serial += 1
        forgotten = self.awards.pop(serial - self.config.server.awards_max, None)
        if forgotten is not None and forgotten.status == mk.HELD:
            self.lost_holds += 1
            self.release(forgotten, self.now)
        campaign_id = me.id if me else -1
        self.awards[serial] = Award(serial, self.auction, person, total, self.now, expires, bid.campaign,
                                    campaign_id, bid.advertiser, k)  # fmt: skip
        if me is not None:
            me.available, me.held = me.available - total, me.held + total
            me.day_used, me.wins = me.day_used + total, me.wins + 1
        contact.held += 1
        return total, person


# ---- side by side -----------------------------------------------------------------------------------------------


def differences(naive: Naive, venue: Venue, ledger: Ledger | None = None) -> list[str]:
    """What is not the same in the two markets: money, knobs, contacts, counters and, with a ledger, every row."""
    found = []
    for ix, me in enumerate(naive.campaigns):
        real = venue.campaigns[ix]
        for name in (*MONEY, *naive.knobs[ix]):
            mine, its = getattr(me, name), real[name]
            if not (list(mine) == its.tolist() if isinstance(mine, list) else mine == its):
                found.append(f"campaign {ix} {name}: {mine} != {its}")
    for (person, advertiser), mine in naive.contact.items():
        its = contact_of(venue, person, advertiser)
        for name, value in (("contacts", mine.contacts), ("held", mine.held), ("cum_rent_nano", mine.rent)):
            if its is None or its[name] != value:
                found.append(f"contact {person}/{advertiser} {name}: {value} != {its}")
    v = venue.record[0]
    counted = {"serial": naive.serial, "n_lost_holds": naive.lost_holds, "seq": naive.seq, "auction": naive.auction}
    counted |= {"n_unknown_people": naive.unknown}
    found += [f"{name}: {value} != {v[name]}" for name, value in counted.items() if value != v[name]]
    for stream, rows in naive.rows.items() if ledger is not None else ():
        real = getattr(ledger, stream)
        if len(real) != len(rows):
            found.append(f"{stream}: {len(rows)} rows != {len(real)}")
        for mine, its in zip(rows, real, strict=False):
            found += [f"{stream} {mine['seq']} {n}: {mine.get(n, 0)} != {its[n]}" for n in its.dtype.names
                      if mine.get(n, 0) != its[n]]  # fmt: skip
    return found


def contact_of(venue: Venue, person: int, advertiser: int) -> Any:
    """The contact record of a person, or None: looked for by walking the whole table."""
    v, people, pairs = venue.record[0], venue.arrays["people"], venue.arrays["pairs"]
    columns, contacts = int(v["n_advertisers"]), venue.arrays["contacts"]
    if advertiser <= columns:
        rows = np.flatnonzero(people == np.uint64(person))
        return contacts[int(rows[0]) * columns + advertiser - 1] if rows.size == 1 else None
    key = (person ^ (advertiser * 0x9E3779B97F4A7C15 & (1 << 64) - 1)) | 1
    rows = np.flatnonzero(pairs == np.uint64(key))
    return contacts[people.size * columns + int(rows[0])] if rows.size == 1 else None
