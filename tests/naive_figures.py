"""The figures of attribution, own_resale, rerent_curve and lost, from the rows of a ledger, one by one."""

import csv
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exchange import market as mk
from exchange.audience.people import person_key
from exchange.openrtb import codes
from exchange.rent.ledger import Ledger

SEEN = (mk.KIND_IMPRESSION, mk.KIND_VIEW, mk.KIND_CLICK, mk.KIND_BILLED_CLICK, mk.KIND_BILLED_CONVERSION)


def names(ledger: Ledger, kind: str) -> dict[int, str]:
    """Texts by id."""
    return {number: text for found, number, text in ledger.names.all() if found == kind}


def bought(path: Path, salt: bytes) -> list[tuple[str, int, int, str]]:
    """(advertiser, person, ns, cause) of each line of a simulation's conversions, each once."""
    found = set()
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            moment = datetime.fromisoformat(row["time"]).replace(tzinfo=UTC)
            micro = round(moment.timestamp() * 1_000_000)
            found.add((row["advertiser"], person_key(salt, row["user_id"]), micro * 1000, row["cause"]))
    return sorted(found)


def groups(ledger: Ledger) -> dict[str, dict[int, tuple[bool, int]]]:
    """Advertiser -> person -> (held out, ns of the first opportunity)."""
    who = {(int(a["auction_id"]), int(a["imp_ix"])): int(a["person_key"]) for a in ledger.auctions}
    brands = names(ledger, "advertiser")
    found: dict[str, dict[int, tuple[bool, int]]] = defaultdict(dict)
    for bid in ledger.bids:
        person = who[int(bid["auction_id"]), int(bid["imp_ix"])]
        if int(bid["campaign"]) < 0 or not person:
            continue
        mine = found[brands[int(bid["advertiser"])]]
        held, first = mine.get(person, (False, 2**62))
        mine[person] = (held or int(bid["fate"]) == codes.HOLDOUT, min(first, int(bid["ts_ns"])))
    return found


def credited(ledger: Ledger, sales: list[tuple[str, int, int, str]], days: float) -> dict[str, int]:
    """Advertiser -> sales after one of its ads was seen or clicked by the buyer, within `days`."""
    brands = names(ledger, "advertiser")
    touches = defaultdict(list)
    for event in ledger.events:
        if int(event["kind"]) in SEEN and int(event["person_key"]):
            touches[brands[int(event["advertiser"])], int(event["person_key"])].append(int(event["ts_ns"]))
    found: dict[str, int] = defaultdict(int)
    for brand, person, ts, _ in sales:
        before = [t for t in touches[brand, person] if t <= ts]
        found[brand] += bool(before) and ts - max(before) <= days * 86_400e9
    return found


def spend(ledger: Ledger, own: bool | None = None) -> dict[str, int]:
    """Advertiser -> nano paid for known people; own: only for its own customers, or only for others."""
    brands = names(ledger, "advertiser")
    flags = {(int(w["auction_id"]), int(w["imp_ix"]), int(w["slot"])): int(w["flags"]) for w in ledger.wins}
    found: dict[str, int] = defaultdict(int)
    for event in ledger.events:
        key = (int(event["auction_id"]), int(event["imp_ix"]), int(event["slot"]))
        mine = bool(flags[key] & mk.FLAG_OWN)
        if int(event["person_key"]) and own in (None, mine):
            found[brands[int(event["advertiser"])]] += int(event["paid_nano"])  # refunds are below 0
    return found


def nth(ledger: Ledger) -> dict[int, tuple[int, int, int]]:
    """Number of the contact -> (contacts, nano, clicked), of awards billed by the impression."""
    clicked = {
        (int(e["auction_id"]), int(e["imp_ix"]), int(e["slot"]))
        for e in ledger.events
        if int(e["kind"]) in mk.CLICKS
    }  # fmt: skip
    found: dict[int, tuple[int, int, int]] = {}
    for event in ledger.events:
        if int(event["kind"]) != mk.KIND_IMPRESSION or not int(event["contact_n"]):
            continue
        key = (int(event["auction_id"]), int(event["imp_ix"]), int(event["slot"]))
        contacts, nano, clicks = found.get(int(event["contact_n"]), (0, 0, 0))
        found[int(event["contact_n"])] = (contacts + 1, nano + int(event["paid_nano"]), clicks + (key in clicked))
    return found


def losses(ledger: Ledger) -> list[dict[str, Any]]:
    """Each bid that lost by price and what it would have taken, as a multiple of its own."""
    floors = {(int(a["auction_id"]), int(a["imp_ix"])): int(a["floor_nano"]) for a in ledger.auctions}
    won: dict[tuple[int, int], int] = {}
    for bid in ledger.bids:
        key = (int(bid["auction_id"]), int(bid["imp_ix"]))
        if int(bid["fate"]) == codes.WON:
            won[key] = min(won.get(key, 2**62), int(bid["net_nano"]))
    found = []
    for bid in ledger.bids:
        key = (int(bid["auction_id"]), int(bid["imp_ix"]))
        if int(bid["fate"]) not in (codes.OUTBID, codes.BELOW_FLOOR):
            continue
        need = max(floors[key], won[key] + 1) if key in won else floors[key]
        if need > int(bid["net_nano"]) > 0:
            factor = need / int(bid["net_nano"])
            found.append({"factor": factor, "gross": int(bid["gross_nano"]) * factor, "value": int(bid["value_nano"])})
    return found
