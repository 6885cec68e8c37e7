"""The market in plain Python: the slow, obviously right twin of the compiled step.

`Naive` holds auctions, moves money and counts contacts by the definitions alone (who may bid, net and gross, second
price, holds, contacts), and writes down every journal row it expects. `differences` compares it with a real venue.
"""

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from exchange import bidding
from exchange import market as mk
from exchange.auction.terms import FAR_NS, date_ns
from exchange.auction.venue import Venue
from exchange.config import Config
from exchange.openrtb import codes
from tests import naive_formats as nf
from tests.naive_life import Life
from tests.naive_terms import RULE, VALUE, Award, Bid, Contact, Fee, Imp, Request, draw, unit
from tests.side_by_side import contact_of, differences

Ad = tuple[int, int, tuple[int, int], int]
__all__ = ["Naive", "contact_of", "differences"]


class Naive(Life):
    """A venue in plain Python: `trade`, `event`, `tick`; state in `campaigns`, `contact`, `rows`."""

    def __init__(self, config: Config, venue: Venue) -> None:
        ids = venue.names.id
        self.config, self.seed = config, config.exchange.seed
        self.versions = {name: int(venue.record[name][0]) for name in ("config_version", "snapshot_version")}
        self.other_seat = config.auction.runner_up == "other_seat"
        self.increment = round(config.auction.increment_cpm * 1e6)
        self.slots = [Fraction(round(rate * 10**6), 10**6) for rate in config.auction.slots or [1.0]]
        self.seats = {r.seat: ids("seat", r.seat) for r in config.auction.reserve if r.seat}
        self.campaigns: list[Any] = []
        ads = 0
        for advertiser in config.advertiser:
            for c in advertiser.campaign:
                where, rule = f"{advertiser.name}/{c.name}", bidding.resolve(c.rule, config.folder)
                knobs = {k: list(v) if isinstance(v, list) else v for k, v in {**rule.defaults, **c.knobs}.items()}
                rate = self.rate(advertiser.currency)
                budget = self.nano(c.budget, rate)
                me = SimpleNamespace(
                    id=ids("campaign", where), advertiser=ids("advertiser", advertiser.name),
                    seat=ids("seat", advertiser.name), rule=rule, config=c, holdout=advertiser.holdout,
                    budget=budget, available=budget, spent=0, held=0, currency_rate=rate,
                    fee=Fee(config.fees.sell, advertiser.fees or config.fees.buy, config.fees.set,
                            config.fees.fx_bps if advertiser.currency not in ("", config.exchange.currency) else 0),
                    daily=self.nano(c.daily, rate), day_used=0,
                    asked=0, wins=0, faults=0, start_ns=date_ns(c.start, "") if c.start else 0,
                    end_ns=date_ns(c.end, "") if c.end else FAR_NS,
                    ads=[(ads + k, ids("creative", f"{where}/{x.id}"), (x.w, x.h), x.weight)
                         for k, x in enumerate(c.creative)],
                    **knobs,
                )  # fmt: skip
                ads += len(c.creative)
                self.campaigns.append(me)
        self.knobs = [list({**me.rule.defaults}) for me in self.campaigns]
        self.endpoint = [Fee(config.fees.sell, e.fees, config.fees.set) for e in config.endpoint]
        every = [*(me.fee for me in self.campaigns), *self.endpoint]
        self.fees = {id(fee): ids("fees", fee.text()) for fee in every}
        self.segment = {segment: ids("segment", segment) for me in self.campaigns for segment in self.targeted(me)}
        self.columns = max([1, *(me.advertiser for me in self.campaigns if me.advertiser <= 64)])
        self.contact: dict[tuple[int, int], Contact] = {}
        self.awards: dict[int, Award] = {}
        self.now = self.auction = self.serial = 0
        self.day, self.seq = -1, 1
        self.lost_holds = self.unknown = self.exceptions = 0
        self.sold: list[list[dict[str, Any]]] = []  # what the last request came to, per imp and position
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("auctions", "bids", "wins", "events")}

    def rate(self, currency: str) -> Fraction:
        """What one unit of a currency is worth, in millionths."""
        ours = currency in ("", self.config.exchange.currency)
        return Fraction(1) if ours else Fraction(round(self.config.rates[currency] * 10**6), 10**6)

    @staticmethod
    def nano(plain: float | None, rate: Fraction) -> int:
        """A budget in the ledger's currency."""
        if plain is None or rate == 1:
            return mk.BUDGET_MAX_NANO if plain is None else round(plain * 1e9)
        return int(Fraction(repr(plain)) * 10**9 * rate)

    @staticmethod
    def targeted(me: Any) -> list[str]:
        """The segments that a campaign's target names first."""
        target = me.config.target
        return target.partition("seg one of [")[2].partition("]")[0].split(", ") if "seg one of" in target else []

    def row(self, stream: str, kind: int, now: int, **values: Any) -> None:
        self.rows[stream].append({"seq": self.seq, "ts_ns": now, "kind": kind, **self.versions, **values})
        self.seq += 1

    # ---- the auction ------------------------------------------------------------------------------------------------

    def trade(self, request: Request) -> list[dict[str, Any]]:
        self.advance(request.now)
        self.auction += 1
        self.sold = []
        sold = [self.sell(request, k, imp) for k, imp in enumerate(request.imps)]
        self.auction -= request.test
        return sold

    def fits(self, me: Any, request: Request, imp: Imp) -> list[tuple[int, int, tuple[int, int], int]]:
        """The creatives of a campaign that may run here: flight, segment target, size."""
        target = me.config.target
        wanted = target.partition("seg one of [")[2].partition("]")[0].split(", ") if "seg" in target else None
        if not me.start_ns <= self.now < me.end_ns or (wanted and not set(wanted) & set(request.segments)):
            return []
        return [ad for ad in me.ads if ad[2] == imp.size]

    def value(self, me: Any, ix: int, request: Request, k: int) -> int:
        drawn = me.config.value_cpm
        if isinstance(drawn, float | int):
            value = int(Fraction(repr(drawn)) * 10**6 * me.currency_rate)
        else:
            w, rate = draw(self.seed, self.auction, k, ix, VALUE), float(me.currency_rate)
            if drawn.empirical:
                picked = drawn.empirical[int(unit(w[0], w[1]) * len(drawn.empirical))]
                x = float(int(Fraction(repr(picked)) * 10**6 * me.currency_rate))
            elif drawn.uniform:
                low, high = drawn.uniform[0] * 1e6 * rate, drawn.uniform[1] * 1e6 * rate
                x = low + unit(w[0], w[1]) * (high - low)
            elif drawn.exponential:
                x = -drawn.exponential * 1e6 * rate * math.log1p(-unit(w[0], w[1]))
            else:
                normal = math.sqrt(-2 * math.log(1 - unit(w[0], w[1]))) * math.cos(2 * math.pi * unit(w[2], w[3]))
                x = 1e6 * math.exp(drawn.lognormal[0] + math.log(rate) + drawn.lognormal[1] * normal)
            value = int(min(max(x, 0.0), float(mk.PRICE_MAX_NANO)))
        for segment, factor in me.config.factors.items():
            if segment in request.segments:
                value = min(mk.PRICE_MAX_NANO, value * round(factor * 1e6) // 10**6)
        return value

    def reserves(self, seat: int, request: Request) -> list[Any]:
        """The reserves that apply to bids of a seat; seat 0: those for everybody."""
        found = []
        for r in self.config.auction.reserve:
            wanted = r.target.partition("seg one of [")[2].partition("]")[0].split(", ") if r.target else None
            if self.seats.get(r.seat, 0) == seat and (wanted is None or set(wanted) & set(request.segments)):
                found.append(r)
        return found

    def floor_for(self, seat: int, request: Request, floor: int) -> int:
        """The highest of a floor and the reserves for a seat."""
        return max([floor, *(nf.reserve_nano(r) for r in self.reserves(seat, request))])

    def virtual(self, seat: int, request: Request) -> tuple[int, int]:
        """Slope and offset of a seat's virtual value: its own values, else those for everybody, else the bid itself."""
        own = self.reserves(seat, request) if seat else []
        return next((v for r in [*own, *self.reserves(0, request)] if (v := nf.virtual(r.values))), (1, 0))

    def ask(self, me: Any, ix: int, request: Request, k: int, floor: int, ads: list[Ad]) -> Bid:
        imp, contact = request.imps[k], self.known(request.person, me.advertiser)
        ad = self.turn(ix, k, ads)
        if self.held_out(me, request.person):
            value = self.value(me, ix, request, k)
            return Bid(0, 0, codes.HOLDOUT, ix, me.seat, me.advertiser, ix, -1, -1, value, ad[0], ad[1])
        w = draw(self.seed, self.auction, k, ix, RULE)
        least, c = self.floor_for(me.seat, request, floor), me.config
        bill = 0 if imp.at == mk.ALL_PAY else mk.BILLS.index(c.bill)
        pctr, pcvr = Fraction(round(c.pctr * 1e9), 10**9), Fraction(round(c.pcvr * 1e9), 10**9)
        rate = (Fraction(1), pctr, Fraction(math.floor(pctr * pcvr * 10**9), 10**9))[bill]
        best = self.slots[0] if imp.at in nf.POSITIONED else Fraction(1)
        quality = Fraction(round(c.quality * 10**6), 10**6)
        terms = nf.Terms(bill, rate, best, quality, self.virtual(me.seat, request))
        seen = SimpleNamespace(
            now=self.now, floor=terms.least_gross(me.fee, least), u=unit(w[0], w[1]), hour=request.hour,
            contacts=contact.contacts, size=imp.size[0] << 16 | imp.size[1],
            media=codes.BANNER, format=imp.at, pctr=float(pctr), pcvr=float(pcvr), own=int(contact.own),
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
        wanted = terms.event(gross)
        event = min(wanted, self.spendable(me), nf.LIMIT)
        bid = gross if event == wanted else terms.ecpm(event)
        unit_ = me.fee.net(event)
        net = terms.ecpm(unit_)
        fate = codes.NO_BID if gross == 0 else codes.ECPM_ZERO if net == 0 else codes.WON
        fate = codes.BELOW_FLOOR if fate == codes.WON and net < least else fate
        return Bid(bid, net, fate, ix, me.seat, me.advertiser, ix, -1, -1, value, ad[0], ad[1], seen, least, terms,
                   unit_)  # fmt: skip

    def invited(self, request: Request, k: int, floor: int) -> list[Bid]:
        """The remote bids of an imp, weighed."""
        imp, found = request.imps[k], []
        best = self.slots[0] if imp.at in nf.POSITIONED else Fraction(1)
        for r, b in enumerate(request.remote):
            if b.imp == k:
                least = max(floor, b.floor)
                least = self.floor_for(b.seat, request, least) if b.seat else least
                net = b.net if best == 1 else min(b.net, math.ceil(mk.PRICE_MAX_NANO / best) - 1)
                fate = codes.BELOW_FLOOR if b.fate == codes.WON and net < least else b.fate
                terms = nf.Terms(best=best, virtual=self.virtual(b.seat, request))
                found.append(Bid(b.net, net, fate, b.entity, b.seat, b.advertiser, -1, b.endpoint, r, floor=least,
                                 terms=terms, unit=net))  # fmt: skip
        return found

    def sell(self, request: Request, k: int, imp: Imp) -> dict[str, Any]:
        """One imp: ask, judge, award, teach, write."""
        floor = self.floor_for(0, request, imp.floor)
        fitting = [(ix, me, ads) for ix, me in enumerate(self.campaigns)
                   if self.wanted(me, request.person) and (ads := self.fits(me, request, imp))]  # fmt: skip
        local = [self.ask(me, ix, request, k, floor, ads) for ix, me, ads in fitting
                 if self.admitted(me, request.person)]  # fmt: skip
        asked = [b for b in local if b.fate != codes.HOLDOUT]
        bids = local + self.invited(request, k, floor)
        winners, sold = nf.judge(self, k, imp, floor, bids)
        self.sold.append(sold)
        if request.test:
            return sold[0]
        person, clearing = request.person, sum(row["clearing_nano"] for row in sold)
        for bid in winners:
            person = self.award(request, k, bid, bids, person, sold[bid.slot])
        if winners and imp.at == mk.ALL_PAY:
            clearing += self.collect(request, k, asked, bids)
        for b in asked:
            told = SimpleNamespace(won=b in winners, bid=b.gross, price=b.paid, min_to_win=0)
            if self.config.auction.min_to_win:
                told.min_to_win = nf.needed(self, imp.at, b, winners, self.campaigns[b.campaign].fee)
            me = self.campaigns[b.campaign]
            me.rule.learn(b.value, b.imp, me, told)
        head = {"auction_id": self.auction, "imp_ix": k}
        for b in bids:
            ident = self.campaigns[b.campaign].id if b.campaign >= 0 else -1
            self.row("bids", mk.KIND_BID, self.now, value_nano=b.value, gross_nano=b.gross, net_nano=b.net,
                     advertiser=b.advertiser, campaign=ident, seat=b.seat, endpoint=b.endpoint, fate=b.fate,
                     **head)  # fmt: skip
        self.row("auctions", mk.KIND_AUCTION, self.now, person_key=person, floor_nano=floor,
                 clearing_nano=clearing, publisher=request.publisher, domain=request.domain,
                 size=imp.size[0] << 16 | imp.size[1], n_eligible=len(fitting), n_asked=len(asked),
                 n_bids=sold[0]["n_bids"], media=codes.BANNER, hour=request.hour, format=imp.at,
                 sold=len(winners) > 0, **head)  # fmt: skip
        return sold[0]

    def collect(self, request: Request, k: int, asked: list[Bid], bids: list[Bid]) -> int:
        """The losers of an all-pay auction pay: nobody is rented, so there is no person. Returns the sum."""
        clearing, slot = 0, 1
        for bid in asked:
            if bid.fate == codes.OUTBID:
                bid.slot, bid.event = slot, bid.net
                serial, me = self.serial, self.campaigns[bid.campaign]
                self.award(request, k, bid, bids, 0, {}, lost=True)
                me.wins -= 1
                self.event(mk.KIND_IMPRESSION, serial, self.auction, self.now)
                clearing, slot = clearing + bid.net, slot + 1
        return clearing

    def award(self, request: Request, k: int, bid: Bid, bids: list[Bid], person: int, result: dict[str, Any],
              lost: bool = False) -> int:  # fmt: skip
        """Charge a bidder, write the rent row, place the hold. Returns the person, 0 when there is no room for him."""
        fee = self.campaigns[bid.campaign].fee if bid.campaign >= 0 else self.endpoint[bid.endpoint]
        me = self.campaigns[bid.campaign] if bid.campaign >= 0 else None
        imp, serial = request.imps[k], self.serial
        rate = self.slots[bid.slot] if imp.at in nf.POSITIONED else Fraction(1)
        total = fee.total(bid.event)
        bid.paid = nf.expected(bid, total, rate)
        if person and not self.met(person, bid.advertiser, me):
            person = 0
            self.unknown += 1
        contact = self.known(person, bid.advertiser)
        result["serial"], result["contacts"] = serial, contact.contacts
        mine = {}
        if me is not None:
            mine = {"pctr_ppb": round(me.config.pctr * 1e9), "pcvr_ppb": round(me.config.pcvr * 1e9),
                    "purpose": mk.PURPOSES.index(me.config.purpose)}  # fmt: skip
        data = me is not None and "seg" in me.config.target
        split = fee.split(bid.event, data)
        expires = self.now + self.config.server.hold_s * 10**9
        since = max(0, self.now // 10**9 - contact.last_s) if contact.contacts else 0
        filtered = sum(b.fate not in (codes.WON, codes.OUTBID) for b in bids)
        impression = bid.terms.bill == mk.BILL_IMPRESSION
        self.row("wins", mk.KIND_WIN, self.now, auction_id=self.auction, serial=serial, person_key=person,
                 value_nano=math.floor(bid.value * rate), clearing_nano=bid.event,
                 bid_nano=math.floor(bid.net * rate) if impression else bid.unit,
                 second_nano=nf.in_position(bid, bid.behind, rate), floor_nano=nf.in_position(bid, bid.floor, rate),
                 price_to_win_nano=nf.in_position(bid, max(bid.behind, bid.floor), rate),
                 buyer_total_nano=total, cum_rent_nano=contact.rent,
                 expires_ns=expires, campaign=me.id if me else -1, creative=-1 if lost else bid.creative_id, imp_ix=k,
                 advertiser=bid.advertiser, seat=bid.seat, publisher=request.publisher, domain=request.domain,
                 contacts=contact.contacts, since_last_s=since, endpoint=bid.endpoint,
                 n_bids=sum(b.gross > 0 for b in bids), n_filtered=filtered, price_rule=imp.at, slot=bid.slot,
                 bill=bid.terms.bill, flags=int(contact.own) | 2 * lost | 4 * data,
                 fees=self.fees[id(fee)], **mine,
                 segment=next((self.segment[s] for s in (self.targeted(me) if me and not lost else ())
                               if s in request.segments), 0),
                 **{f"{party}_nano": amount for party, amount in split.items()})  # fmt: skip
        self.serial += 1
        forgotten = self.awards.pop(serial - self.config.server.awards_max, None)
        if forgotten is not None and forgotten.status == mk.HELD:
            self.lost_holds += 1
            self.release(forgotten, self.now)
        campaign_id = me.id if me else -1
        self.awards[serial] = Award(serial, self.auction, person, total, self.now, expires, bid.campaign,
                                    campaign_id, bid.advertiser, k, bid.slot, bid.terms.bill)  # fmt: skip
        if me is not None:
            me.available, me.held = me.available - total, me.held + total
            me.day_used, me.wins = me.day_used + total, me.wins + 1
        for cell in self.cells(self.awards[serial]):
            cell.held += 1
        return person
