"""Formats in plain Python, by definition: rates are fractions, inverses are searched for.

`judge` gives out the positions of one imp and prices them; `Terms` turns a rule's price into a bid and back.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

from exchange import market as mk
from exchange.openrtb import codes
from tests.naive_terms import TIE, Bid, draw

LIMIT = 10**12
POSITIONED = (mk.GSP, mk.VCG)


def first(reached: Any, high: int = LIMIT + 1) -> int:
    """The least number from 0 to high for which `reached` holds; it holds from there on. high when it never does."""
    low = 0
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return low


@dataclass
class Terms:
    """What a buyer pays for: events per impression, the click rate of the best position, his weight, his values."""

    bill: int = mk.BILL_IMPRESSION
    rate: Fraction = Fraction(1)
    best: Fraction = Fraction(1)
    quality: Fraction = Fraction(1)
    virtual: tuple[int, int] = (1, 0)  # slope, offset

    @property
    def scale(self) -> Fraction:
        """A price per event is a price of the rule times this."""
        return self.best if self.bill == mk.BILL_IMPRESSION else 1 / self.rate

    def event(self, gross: int) -> int:
        """The gross bid per event, before the money left is looked at."""
        return 0 if self.rate == 0 else floor(gross * self.scale)

    def ecpm(self, unit: int) -> int:
        """A net amount per event as an eCPM."""
        return 0 if self.rate == 0 else floor(unit / self.scale)

    def least_gross(self, fee: Any, ecpm: int) -> int:
        """The least price of the rule whose eCPM reaches a floor."""
        if self.bill == mk.BILL_IMPRESSION and self.best == 1:
            return int(fee.least_gross(ecpm))
        reached = lambda g: self.event(g) <= LIMIT and self.ecpm(fee.net(self.event(g))) >= ecpm  # noqa: E731
        found = first(lambda g: self.event(g) > LIMIT or reached(g))
        return found if reached(found) else LIMIT + 1

    def total(self, fee: Any, ecpm: int) -> int:
        """What a clearing eCPM costs, fees included, in the terms of the rule's price."""
        if self.bill == mk.BILL_IMPRESSION and self.best == 1:
            return int(fee.total(ecpm))
        if self.rate == 0 or ceil(ecpm * self.scale) > LIMIT:
            return LIMIT + 1
        event = fee.total(ceil(ecpm * self.scale))
        return LIMIT + 1 if event > LIMIT else ceil(event / self.scale)


def reserve_nano(reserve: Any) -> int:
    """The floor of a reserve, rounded up."""
    cpm, values = reserve.floor_cpm, reserve.values
    if values is not None:
        cpm = max(values.uniform[0], values.uniform[1] / 2) if values.uniform else values.exponential
    return mk.cpm_up(cpm)


def virtual(values: Any) -> tuple[int, int] | None:
    """Slope and offset of the virtual value."""
    if values is None:
        return None
    return (2, round(values.uniform[1] * 1e6)) if values.uniform else (1, round(values.exponential * 1e6))


def score(at: int, bid: Bid, net: int) -> int:
    """What ranks a bidder at an eCPM."""
    if at in POSITIONED:
        return floor(net * bid.terms.quality)
    if at == mk.MYERSON:
        return int(bid.terms.virtual[0] * net - bid.terms.virtual[1])
    return 0 if at == mk.POSTED_PRICE else net


def rivals(naive: Any, bids: list[Bid], bid: Bid) -> list[Bid]:
    """Who stands behind a winner and counts for his price."""
    same = bid.seat if naive.other_seat and bid.seat else None
    return [b for b in bids if b is not bid and b.fate == codes.WON and b.seat != same
            and not 0 <= b.slot < bid.slot]  # fmt: skip


def price(naive: Any, at: int, bid: Bid, others: list[int], slots: list[Fraction]) -> int:
    """What a winner pays, as an eCPM; others: the scores behind him, the best first."""
    reach = [first(lambda net, s=s: score(at, bid, net) >= s) for s in others]
    bid.behind = reach[0] if reach else 0
    soft = round(naive.config.auction.soft_floor_cpm * 1e6)
    if at in (mk.FIRST_PRICE, mk.ALL_PAY) or (at == mk.SOFT_FLOOR and bid.net < soft):
        return bid.net
    if at == mk.VCG:
        lower = [*slots[bid.slot :], Fraction(0)]
        owed = [max(bid.floor, r) for r in reach] + [bid.floor] * len(slots)
        return ceil(sum((lower[m] - lower[m + 1]) * owed[m] for m in range(len(lower) - 1)) / slots[bid.slot])
    least = max(bid.floor, soft) if at == mk.SOFT_FLOOR else bid.floor
    if bid.behind == 0:
        return least
    if at in (mk.POSTED_PRICE, mk.MYERSON):
        return max(least, bid.behind)
    return min(bid.net, max(least, bid.behind + naive.increment))


def in_position(bid: Bid, ecpm: int, rate: Fraction) -> int:
    """An eCPM per billable event of this bid, in a position."""
    if bid.terms.bill == mk.BILL_IMPRESSION:
        return floor(ecpm * rate)
    return min(LIMIT + 1, ceil(ecpm / bid.terms.rate))


def expected(bid: Bid, event: int, rate: Fraction) -> int:
    """An amount per event per impression, in a position."""
    return event if bid.terms.bill == mk.BILL_IMPRESSION else floor(floor(event * bid.terms.rate) * rate)


def judge(naive: Any, k: int, imp: Any, floor_nano: int, bids: list[Bid]) -> tuple[list[Bid], list[dict[str, Any]]]:
    """The winners, best position first, and what SOLD says of each position; marks the losers."""
    at, slots = imp.at, naive.slots if imp.at in POSITIONED else [Fraction(1)]
    rank = {id(b): draw(naive.seed, naive.auction, k, b.entity, TIE)[:2] for b in bids}
    winners: list[Bid] = []
    for slot in range(len(slots)):
        left = [b for b in bids if b.fate == codes.WON and b.slot < 0]
        if not left:
            break
        bid = max(left, key=lambda b: (score(at, b, b.net), rank[id(b)], -b.entity))
        bid.slot = slot
        winners.append(bid)
        for b in left if len(slots) > 1 or at in POSITIONED else ():
            capped = b.campaign >= 0 and any(vars_of(naive.campaigns[b.campaign].config.cap))
            if b is not bid and capped and b.advertiser == bid.advertiser:
                b.fate = codes.OUTBID
    blank = dict.fromkeys(
        ("clearing_nano", "price_nano", "runner_up_nano", "contacts", "advertiser", "slot", "bill"), 0
    )
    blank |= dict.fromkeys(("serial", "campaign", "remote_ix", "creative"), -1)
    blank |= {"n_bids": sum(b.gross > 0 for b in bids)}
    sold = [dict(blank) for _ in naive.slots]
    for bid in winners:
        others = sorted((score(at, b, b.net) for b in rivals(naive, bids, bid)), reverse=True)
        bid.price = price(naive, at, bid, others, slots)
        rate = slots[bid.slot]
        most = in_position(bid, bid.net, rate) if bid.terms.bill == mk.BILL_IMPRESSION else bid.unit
        own = at in (mk.FIRST_PRICE, mk.ALL_PAY) or (
            at == mk.SOFT_FLOOR and bid.net < round(naive.config.auction.soft_floor_cpm * 1e6)
        )
        bid.event = most if own else min(most, in_position(bid, bid.price, rate))
        sold[bid.slot] |= {
            "price_nano": bid.event, "clearing_nano": expected(bid, bid.event, rate), "slot": bid.slot,
            "runner_up_nano": max(bid.behind, bid.floor), "campaign": bid.campaign, "remote_ix": bid.remote,
            "creative": bid.creative, "advertiser": bid.advertiser, "bill": bid.terms.bill,
        }  # fmt: skip
    for b in bids:
        if b.fate == codes.WON and b.slot < 0:
            b.fate = codes.OUTBID
    return winners, sold


def vars_of(cap: Any) -> list[Any]:
    """The caps that bind an advertiser's ads together; `campaign` counts one campaign's alone."""
    return [cap.hour, cap.day, cap.week, cap.total]


def needed(naive: Any, at: int, bid: Bid, winners: list[Bid], fee: Any) -> int:
    """What a rule is told it would have taken, in the terms of its price."""
    places = len(naive.slots) if at in POSITIONED else 1
    least = bid.floor
    if bid in winners:
        least = max(least, bid.behind)
    elif len(winners) == places:
        bar = score(at, winners[-1], winners[-1].price)
        least = max(least, first(lambda net: score(at, bid, net) >= bar))
    return bid.terms.total(fee, least)
