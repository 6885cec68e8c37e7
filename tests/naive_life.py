"""The naive market beside its auctions: time, money released, caps, holdout, turns, the life of an award.

Each rule of docs/ledger.md and docs/config.md once more, by definition; `naive.Naive` is built on it.
"""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from exchange import market as mk
from exchange.auction.venue import Venue
from tests.naive_terms import DAY, HOLDOUT, ROTATE, Award, Contact, draw, unit

CELL = 0x80000000
MS = 10**6
BILLED = {
    mk.BILL_IMPRESSION: mk.KIND_IMPRESSION,
    mk.BILL_CLICK: mk.KIND_BILLED_CLICK,
    mk.BILL_CONVERSION: mk.KIND_BILLED_CONVERSION,
}
# what a refund that is not carried out is answered (market/life.py ANSWERS)
UNKNOWN, NOT_BILLED, NEVER_PAID, NOTHING_LEFT, TOO_MUCH, GAP = -1, -2, -3, -4, -5, -6
FLAGS = {
    mk.KIND_IMPRESSION: "seen",
    mk.KIND_CLICK: "clicked",
    mk.KIND_CONVERSION: "converted",
    mk.KIND_OPT_IN: "opted_in",
    mk.KIND_OPT_OUT: "opted_out",
}


def windows(now: int) -> list[tuple[str, int]]:
    """The UTC hour, day and week (from Monday) of a time, by the calendar."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=now // 10**9)
    monday = moment.date() - timedelta(days=moment.weekday())
    return [("hour", now // (3600 * 10**9)), ("day", moment.date().toordinal()), ("week", monday.toordinal())]


def released(total: int, elapsed_ms: int, length_ms: int) -> int:
    """The part of an amount that is released; long stretches are reckoned in coarser steps."""
    if not 0 < elapsed_ms < length_ms:
        return total if elapsed_ms > 0 else 0
    while length_ms >= 2**31:
        elapsed_ms, length_ms = elapsed_ms // 2, (length_ms + 1) // 2
    return total * elapsed_ms // length_ms


class Life:
    """The half of the naive market that is not an auction."""

    config: Any
    seed: int
    campaigns: list[Any]
    columns: int
    contact: dict[tuple[int, int], Contact]
    awards: dict[int, Award]
    now: int
    day: int
    auction: int
    row: Any

    # ---- people ---------------------------------------------------------------------------------------------------

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

    def met(self, person: int, advertiser: int, me: Any) -> bool:
        """Remember a person for an advertiser and, where it caps its own ads, for the campaign; False = no room."""
        for who in (advertiser, *([CELL | me.id] if me is not None and me.config.cap.campaign else [])):
            if not self.room_for(person, who):
                return False
            self.remember(person, who)
        return True

    def cells(self, award: Award) -> list[Contact]:
        """Where the ads of an award are counted."""
        if not award.person:
            return []
        me = self.campaigns[award.campaign] if award.campaign >= 0 else None
        found = [self.remember(award.person, award.advertiser)]
        return found + ([self.remember(award.person, CELL | me.id)] if me and me.config.cap.campaign else [])

    # ---- who may be asked -------------------------------------------------------------------------------------------

    def spendable(self, me: Any) -> int:
        """What may still be held: of the budget, of the day, and of what even pacing has released of them."""
        left, c = min(me.available, me.daily - me.day_used), me.config
        if c.pacing == "even" and c.daily is not None:
            left = min(left, released(me.daily, self.now % DAY // MS, DAY // MS) - me.day_used)
        if c.pacing == "even" and c.budget is not None and c.start and c.end:
            share = released(me.budget, (self.now - me.start_ns) // MS, -(-(me.end_ns - me.start_ns) // MS))
            left = min(left, share - me.spent - me.held)
        return left

    def wanted(self, me: Any, person: int) -> bool:
        """What the target asks of the advertiser's own list."""
        contact, target = self.known(person, me.advertiser), me.config.target
        if "not own" in target:
            return not contact.own
        return contact.own or "own" not in target

    def admitted(self, me: Any, person: int) -> bool:
        """Money and caps (ads seen and open holds)."""
        contact, cap = self.known(person, me.advertiser), me.config.cap
        if self.spendable(me) <= 0:
            return False
        if cap.total is not None and contact.shown + contact.held >= cap.total:
            return False
        for window in windows(self.now):
            most = getattr(cap, window[0])
            if most is not None and contact.seen_in[window] + contact.held >= most:
                return False
        mine = self.known(person, CELL | me.id)
        return cap.campaign is None or mine.shown + mine.held < cap.campaign

    def held_out(self, me: Any, person: int) -> bool:
        """Is the person among those who never see this advertiser's ads."""
        w = draw(self.seed, person, 0, me.advertiser, HOLDOUT)
        return person != 0 and unit(w[0], w[1]) < me.holdout

    def turn(self, ix: int, imp: int, ads: list[Any]) -> Any:
        """The ad whose turn it is: one ticket per unit of weight, one drawn."""
        tickets = [ad for ad in ads for _ in range(ad[3])]
        return tickets[draw(self.seed, self.auction, imp, ix, ROTATE)[0] * len(tickets) >> 32]

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
        for cell in self.cells(award) if not award.seen else ():
            cell.held -= 1
        self.event_row(award, mk.KIND_RELEASE, now, 0, 0)

    def event_row(self, award: Award, kind: int, now: int, paid: int, contact_n: int, number: int = 0) -> None:
        cum = self.known(award.person, award.advertiser).rent if award.person else 0
        self.row("events", kind, now, auction_id=award.auction, serial=award.serial, person_key=award.person,
                 paid_nano=paid, cum_rent_nano=cum, campaign=award.campaign_id, advertiser=award.advertiser,
                 contact_n=contact_n, imp_ix=award.imp, slot=award.slot, number=number)  # fmt: skip

    def event(self, kind: int, serial: int, auction: int, now: int, amount: int = 0, number: int = 1) -> int:
        """Something arrives for an award."""
        self.advance(now)
        award = self.awards.get(serial)
        if award is None or award.auction != auction:
            return UNKNOWN
        if kind == mk.KIND_REFUND:
            return self.refund(award, amount, number)
        if getattr(award, FLAGS[kind]):
            return 0
        me = self.campaigns[award.campaign] if award.campaign >= 0 else None
        if kind == mk.KIND_IMPRESSION or (kind == mk.KIND_CLICK and award.bill and not award.seen):
            self.see(award)
            if kind == mk.KIND_CLICK:
                self.feedback(me, mk.KIND_IMPRESSION, 0)
        setattr(award, FLAGS[kind], True)
        billable = (mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_CONVERSION)[award.bill]
        if kind != billable:
            recorded = mk.KIND_VIEW if kind == mk.KIND_IMPRESSION else kind
            self.event_row(award, recorded, self.now, 0, 0)
            if kind not in (mk.KIND_OPT_IN, mk.KIND_OPT_OUT):
                self.feedback(me, kind, 0)
            return recorded
        if award.status == mk.RELEASED:
            award.status = mk.UNPAID
            self.event_row(award, mk.KIND_UNPAID, self.now, 0, 0)
            return mk.KIND_UNPAID
        self.settle(award, BILLED[award.bill])
        self.feedback(me, kind, award.hold)
        return BILLED[award.bill]

    def refund(self, award: Award, amount: int, number: int) -> int:
        """Money that was paid goes back: to the campaign, off the rent of the person."""
        left = award.hold - sum(award.refunded)
        if number in range(len(award.refunded) + 1):
            return 0
        if award.status in (mk.HELD, mk.RELEASED, mk.UNPAID):
            return NOT_BILLED if award.status == mk.HELD else NEVER_PAID
        if award.refunded and left == 0:
            return NOTHING_LEFT
        if not len(award.refunded) < number < len(award.refunded) + 2 <= 256:
            return GAP
        amount = amount or left
        if not 0 < amount <= left:
            return TOO_MUCH if left else NOTHING_LEFT
        award.refunded.append(amount)
        award.status = mk.REFUNDED if amount == left else mk.PART_REFUNDED
        if award.person:
            self.remember(award.person, award.advertiser).rent -= amount
        if award.campaign >= 0:
            me = self.campaigns[award.campaign]
            me.spent, me.available = me.spent - amount, me.available + amount
            if award.placed // DAY == self.day:
                me.day_used -= amount
        self.event_row(award, mk.KIND_REFUND, self.now, -amount, 0, number)
        return mk.KIND_REFUND

    def see(self, award: Award) -> None:
        """The ad is seen for the first time: no longer an open hold's, from now on shown."""
        for cell in self.cells(award):
            cell.held -= award.status == mk.HELD
            cell.shown += 1
            for window in windows(self.now):
                cell.seen_in[window] += 1
        award.seen = True

    def settle(self, award: Award, kind: int) -> None:
        """The hold becomes spend, the contact a contact."""
        for cell in self.cells(award) if not award.seen else ():
            cell.held -= 1
        award.status, contact_n = mk.BILLED, 0
        if award.person:
            contact = self.remember(award.person, award.advertiser)
            contact.contacts, contact.rent = contact.contacts + 1, contact.rent + award.hold
            contact.last_s, contact_n = self.now // 10**9, contact.contacts
        if award.campaign >= 0:
            me = self.campaigns[award.campaign]
            me.held, me.spent = me.held - award.hold, me.spent + award.hold
        self.event_row(award, kind, self.now, award.hold, contact_n)

    @staticmethod
    def feedback(me: SimpleNamespace | None, kind: int, paid: int) -> None:
        if me is not None and hasattr(me.rule, "feedback"):
            me.rule.feedback(me, kind, paid)
