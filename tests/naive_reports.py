"""The figures of the reports counted naively: one win at a time, in plain Python, straight from the journal's rows.

`varied` writes ledgers with everything in them: refunds, people nobody knows, clicks and conversions that are billed,
losers who pay, holds that expire, several months.
"""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from exchange import market as m
from exchange.rent.journal import Journal
from exchange.rent.ledger import Ledger
from exchange.rent.names import Names
from tests.ledger_maker import SECOND, Maker

KEY = 7_000_000_000_000_000_000  # people are numbered from here: a key that would be seen in any text
DAY = 86_400 * SECOND


class Writer(Maker):
    """A maker of awards that are billed by the impression, the click or the conversion, and refunded."""

    extra: dict[str, int]
    refunds: dict[int, int]

    def put(self, stream: str, kind: int, **values: Any) -> None:
        """Like the maker's; wins also have what `extra` says."""
        super().put(stream, kind, **(values | self.extra if stream == "wins" else values))

    def arrive(self, win: dict[str, Any], kind: int, amount: int = 0) -> None:
        """An event of a win: kinds that bill post the total, a refund takes `amount` back."""
        self.now += SECOND
        pair, paid, contact_n, number = (win["advertiser"], win["person_key"]), 0, 0, 0
        if kind in m.BILLING:
            paid = win["buyer_total_nano"]
            if win["person_key"]:
                contact_n = self.contacts[pair] = self.contacts.get(pair, 0) + 1
        if kind == m.KIND_REFUND:
            paid, number = -amount, self.refunds.get(win["serial"], 0) + 1
            self.refunds[win["serial"]] = number
        if win["person_key"]:
            self.rent[pair] = self.rent.get(pair, 0) + paid
        self.put("events", kind, auction_id=win["auction_id"], serial=win["serial"], imp_ix=win["imp_ix"],
                 person_key=win["person_key"], paid_nano=paid, contact_n=contact_n, campaign=win["campaign"],
                 advertiser=win["advertiser"], number=number,
                 cum_rent_nano=self.rent.get(pair, 0) if win["person_key"] else 0)  # fmt: skip


def names() -> Names:
    """Names of the numbers that `varied` uses."""
    found = Names(None)
    for number in range(1, 5):
        for kind, text in (("advertiser", "brand"), ("publisher", "pub"), ("segment", "seg")):
            assert found.id(kind, f"{text}{number}") == number
    return found


def varied(steps: int = 200, seed: int = 1, people: int = 40, known: bool = True, refund: float = 0.3) -> Ledger:
    """A ledger in memory with all that may happen to an award."""
    journal = Journal(None)
    maker = Writer(journal)
    maker.extra, maker.refunds = {}, {}
    draw = random.Random(seed)
    for _ in range(steps):
        maker.now += draw.choice((1, 1, 1, 1, 40)) * DAY // 4
        nets = [draw.randrange(50, 5_000_000) for _ in range(draw.randrange(5))]
        person = int(people * draw.random() ** 2) if known else 0
        bill = draw.choice((0, 0, 0, 1, 2))
        lost = draw.random() < 0.05
        maker.extra = {"bill": bill, "segment": draw.randrange(3), "flags": 0}
        own = int(not lost and bool(person) and person % 5 == 0)
        maker.extra["flags"] = m.FLAG_OWN * own + m.FLAG_LOST * lost
        win = maker.step(nets, 0 if lost or not person else KEY + person, 100, own, draw.randrange(1, 5))
        if win:
            live(maker, win, m.BILL_IMPRESSION if lost else bill, draw, refund)
    return Ledger.in_memory(journal, names(), {"currency": "EUR"})


def live(maker: Writer, win: dict[str, Any], bill: int, draw: random.Random, refund: float) -> None:
    """What becomes of one award, some of them days later."""
    maker.now += draw.choice((0, 0, 0, 5)) * DAY
    fate = draw.random()
    if fate < 0.15:
        if fate < 0.1:
            maker.arrive(win, m.KIND_RELEASE)
            if fate < 0.05:
                maker.arrive(win, m.KIND_UNPAID)
        return
    if bill == m.BILL_IMPRESSION or draw.random() < 0.7:
        maker.arrive(win, m.KIND_IMPRESSION if bill == m.BILL_IMPRESSION else m.KIND_VIEW)
    if bill == m.BILL_CLICK or draw.random() < 0.3:
        maker.arrive(win, m.KIND_BILLED_CLICK if bill == m.BILL_CLICK else m.KIND_CLICK)
    if draw.random() < 0.3:
        maker.arrive(win, m.KIND_BILLED_CONVERSION if bill == m.BILL_CONVERSION else m.KIND_CONVERSION)
    elif bill == m.BILL_CONVERSION:
        return
    left = win["buyer_total_nano"]
    while left and draw.random() < refund:
        amount = left if draw.random() < 0.4 else draw.randrange(1, left + 1)
        maker.arrive(win, m.KIND_REFUND, amount)
        left -= amount


# ---- one win at a time -----------------------------------------------------------------------------------------


def lives(ledger: Ledger) -> list[dict[str, Any]]:
    """One dictionary a win: who, where, when, what was paid and given back, and to whom it went."""
    told: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for event in ledger.events:
        told[int(event["worker"]), int(event["serial"])].append(event)
    found = []
    for row in ledger.wins:
        events = told[int(row["worker"]), int(row["serial"])]
        kinds = {int(e["kind"]) for e in events}
        billing = [e for e in events if int(e["kind"]) in m.BILLING]
        total, lost = int(row["buyer_total_nano"]), bool(row["flags"] & m.FLAG_LOST)
        left = {party: int(row[f"{party}_nano"]) if billing else 0 for party in m.PARTIES}
        for e in events:
            if int(e["kind"]) == m.KIND_REFUND:
                left = given_back(left, -int(e["paid_nano"]))
        paid, net = total * len(billing), sum(left.values())
        seen = bool(kinds & {*m.BILLING, m.KIND_VIEW}) or (row["bill"] != 0 and m.KIND_CLICK in kinds)
        time = datetime.fromtimestamp(int(row["ts_ns"]) // 10**9, UTC)
        monday = (time - timedelta(days=time.weekday())).date().isoformat()
        billed = datetime.fromtimestamp(int(billing[0]["ts_ns"]) // 10**9, UTC) if billing else None
        found.append({
            "advertiser": ledger.names.text("advertiser", int(row["advertiser"])) or "unknown",
            "campaign": ledger.names.text("campaign", int(row["campaign"])) or "unknown",
            "publisher": ledger.names.text("publisher", int(row["publisher"])) or "unknown",
            "segment": ledger.names.text("segment", int(row["segment"])) or "no segment",
            "week": monday, "month": time.strftime("%Y-%m"),
            "person": int(row["person_key"]) if billing else 0, "billed_month": billed and (billed.year, billed.month),
            "billed": bool(billing), "lost": lost, "own": bool(row["flags"] & m.FLAG_OWN), "seen": seen and not lost,
            "clicked": bool(kinds & set(m.CLICKS)), "converted": bool(kinds & set(m.CONVERSIONS)),
            "released": m.KIND_RELEASE in kinds and m.KIND_UNPAID not in kinds, "unpaid": m.KIND_UNPAID in kinds,
            "total": total, "paid": paid, "net": net, "left": left,
            "contact_n": int(billing[0]["contact_n"]) if billing else 0,
        })  # fmt: skip
    return found


def given_back(left: dict[str, int], amount: int) -> dict[str, int]:
    """What is left of each party's amount after a refund: largest remainder, first party first."""
    whole = sum(left.values())
    parts = {party: amount * nano // whole for party, nano in left.items()}
    order = sorted(left, key=lambda party: (-(amount * left[party] % whole), m.PARTIES.index(party)))
    for party in order[: amount - sum(parts.values())]:
        parts[party] += 1
    return {party: nano - parts[party] for party, nano in left.items()}


def over(a: float, b: float, times: float = 1.0) -> float | None:
    """times x a / b; None where there is nothing to divide by."""
    return times * a / b if b else None


def quantile(values: Iterable[int], q: float) -> float | None:
    """The quantile of a sample, between the two nearest values."""
    ranked = sorted(values)
    if not ranked:
        return None
    at = q * (len(ranked) - 1)
    low, high = ranked[math.floor(at)], ranked[math.ceil(at)]
    return (low + (high - low) * (at - math.floor(at))) / 1e9


def per(rows: list[dict[str, Any]], key: Callable[[dict[str, Any]], Any]) -> dict[Any, list[dict[str, Any]]]:
    """Rows by a key."""
    found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def net(rows: Iterable[dict[str, Any]]) -> float:
    """What rows cost, in the currency."""
    return sum(row["net"] for row in rows) / 1e9


def summary(ledger: Ledger) -> dict[str, float | None]:
    """Every figure of the report `summary`."""
    rows = lives(ledger)
    known = [row for row in rows if row["person"]]
    pairs = per(known, lambda row: (row["advertiser"], row["person"]))
    seen, own = [r for r in rows if r["seen"]], [r for r in rows if r["own"]]
    new = [pair for pair in pairs.values() if any(r["converted"] and not r["own"] for r in pair)]
    costs = [sum(r["net"] for r in pair) for pair in pairs.values()]
    first, later = [r for r in known if r["contact_n"] == 1], [r for r in known if r["contact_n"] > 1]
    clicks, conversions = (sum(r[name] for r in rows) for name in ("clicked", "converted"))
    own_cpm = over(net(own), sum(r["seen"] for r in own))
    other_cpm = over(net(rows) - net(own), sum(r["seen"] and not r["own"] for r in rows))
    held = [r for r in rows if not r["billed"] and not r["released"] and not r["unpaid"]]
    return {
        "spend": net(rows), "paid": sum(r["paid"] for r in rows) / 1e9,
        "refunded": sum(r["paid"] - r["net"] for r in rows) / 1e9,
        "seen": len(seen), "cpm": over(net(rows), len(seen), 1000),
        "clicks": clicks, "ecpc": over(net(rows), clicks),
        "conversions": conversions, "cpa": over(net(rows), conversions),
        "new_customers": len(new), "cac": over(net(rows), len(new)),
        "people": len({r["person"] for r in known}), "customers": len(pairs), "contacts": len(known),
        "rent": over(net(known), len(pairs)), "rent_median": quantile(costs, 0.5), "rent_p90": quantile(costs, 0.9),
        "rent_highest": max(costs) / 1e9 if costs else None,
        "first_contact": over(net(first), len(first)), "later_contact": over(net(later), len(later)),
        "rented_twice": sum(len(pair) > 1 for pair in pairs.values()),
        "rerental": 1 - len(pairs) / len(known) if known else None,
        "own_customers": sum(any(r["own"] for r in pair) for pair in pairs.values()),
        "own_share": over(net(own), net(rows)),
        "own_premium": over(own_cpm, other_cpm or 0) if own_cpm is not None else None,
        "kilo_customer": over(net(known), len(per(known, lambda r: (r["advertiser"], r["person"], r["billed_month"]))),
                              1000),
        "person_month": over(net(known), len(per(known, lambda r: (r["person"], r["billed_month"])))),
        "auctions": len(ledger.auctions), "fill": over(sum(int(a["sold"]) for a in ledger.auctions),
                                                       len(ledger.auctions)),
        "bids": len(ledger.bids), "wins": sum(not r["lost"] for r in rows), "billed": sum(r["billed"] for r in rows),
        "released": sum(r["released"] for r in rows), "unpaid": sum(r["unpaid"] for r in rows),
        "held": len(held), "held_money": sum(r["total"] for r in held) / 1e9,
    }  # fmt: skip


def waterfall(ledger: Ledger) -> dict[str, float | None]:
    """Every figure of the report `waterfall`."""
    rows = lives(ledger)
    got = {party: sum(row["left"][party] for row in rows) / 1e9 for party in m.PARTIES}
    spend = net(rows)
    return {
        "spend": spend, "publisher_share": over(got["publisher"], spend),
        "publisher_cpm": over(got["publisher"], sum(r["seen"] for r in rows), 1000),
        "toll": over(spend - got["publisher"], spend),
        "buy_fees": over(sum(got[p] for p in ("agency", "dsp", "data", "verify", "tax", "fx")), spend),
        "sell_fees": over(got["exchange"] + got["supply_tech"], spend), "hidden_share": over(got["hidden"], spend),
    }  # fmt: skip


def price_list(ledger: Ledger) -> dict[str, float | None]:
    """Every figure of the report `price_list`."""
    known = [row for row in lives(ledger) if row["person"]]
    months = len(per(known, lambda r: (r["person"], r["billed_month"])))
    customer_months = len(per(known, lambda r: (r["advertiser"], r["person"], r["billed_month"])))
    return {
        "person_month": over(net(known), months), "kilo_customer": over(net(known), customer_months, 1000),
        "contact": over(net(known), len(known)), "people": len({r["person"] for r in known}),
        "person_months": months, "customer_months": customer_months,
    }  # fmt: skip


def user_month(ledger: Ledger) -> dict[str, float | None]:
    """Every figure of the report `user_month`."""
    known = [row for row in lives(ledger) if row["person"]]
    months = per(known, lambda r: (r["person"], r["billed_month"]))
    costs = sorted(sum(r["net"] for r in month) for month in months.values())
    n, spend = len(costs), sum(costs)
    apart = sum(abs(a - b) for a in costs for b in costs)
    return {
        "person_months": n, "people": len({r["person"] for r in known}), "spend": spend / 1e9,
        "mean": over(spend / 1e9, n), "median": quantile(costs, 0.5), "p90": quantile(costs, 0.9),
        "p99": quantile(costs, 0.99), "highest": costs[-1] / 1e9 if costs else None,
        "top_share": over(sum(costs[n - math.ceil(n / 100):]), spend) if n else None,
        "gini": over(apart, 2 * n * spend),
    }  # fmt: skip
