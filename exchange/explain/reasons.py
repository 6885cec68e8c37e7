"""Why a campaign is not asked for a price: the plain-words twin of `audience.match` and `sell.admitted`.

`reason` looks at one campaign and one imp and names the first thing that stands in the way: pause, flight, target,
creative, the publisher's lists, money, cap. An empty reason means that the compiled step asks it.
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec import Struct

from exchange import market as mk
from exchange.auction.venue import Venue
from exchange.audience.index import INSECURE, ImpView, Index
from exchange.audience.language import Target, View, explain
from exchange.openrtb.codes import BANNER, MEDIA
from exchange.openrtb.model import BidRequest
from exchange.state import pair_key

DAY_NS = 86_400 * mk.NANO


class Case(Struct):
    """One imp of one request at one time, as targets and blocks see it; `view` is without `own`."""

    request: BidRequest
    imp: ImpView
    view: View
    person_key: int
    now_ns: int
    private: bool = False  # a private auction: bids on its deals only


def view(imp: ImpView, segments: list[str], country: str, device: str, domain: str, hour: int) -> View:
    """What the targeting language may ask of one imp and person; "" = not known."""
    offered, banner, other, _ = imp
    return View(
        seg=segments,
        country=country or None,
        device=device or None,
        domain=domain or None,
        hour=hour,
        sizes=[size_text(size) for size in (*banner, *other)],
        media=[name for code, name in MEDIA.items() if offered >> code & 1],
    )


def size_text(size: int) -> str:
    """A packed size as `300x250`."""
    return f"{size >> 16}x{size & 0xFFFF}"


def reason(venue: Venue, campaign: int, case: Case) -> str:
    """The first thing that keeps a campaign (by index) from being asked; "" = it is asked."""
    me = venue.campaigns[campaign]
    if me["paused"]:
        return "paused"
    if case.now_ns < me["start_ns"]:
        return f"flight: starts {date_text(int(me['start_ns']))}"
    if case.now_ns >= me["end_ns"]:
        return f"flight: ended {date_text(int(me['end_ns']))}"
    contact = contact_of(venue, case.person_key, int(me["advertiser"]))
    first, n = int(me["line0"]), int(me["n_lines"])
    failing = failing_leaf(venue.lines[first].target, case, bool(contact["flags"] & mk.OWN))
    if failing:
        return f"target: {failing}"
    refused = [_refusal(venue, line, case) for line in range(first, first + n)]
    if all(refused):
        return ", and ".join(dict.fromkeys(refused)).replace(", and creative: ", "; ")
    return _limit(venue, me, contact, case.now_ns)


def failing_leaf(target: Target, case: Case, own: bool = False) -> str:
    """The first leaf of a target that this person and imp do not meet; "" when all hold."""
    seen = View(**case.view, own=own)  # type: ignore[typeddict-item]
    return next((text for text, holds in explain(target, seen) if not holds), "")


def contact_of(venue: Venue, person_key: int, advertiser: int) -> Any:
    """What an advertiser remembers of a person: a CONTACT record, blank when they never met."""
    arrays, columns = venue.arrays, int(venue.record["n_advertisers"][0])
    contacts, people, pairs = arrays["contacts"], arrays["people"], arrays["pairs"]
    key = np.uint64(person_key)
    if person_key and 1 <= advertiser <= columns:
        row = np.flatnonzero(people == key)
        if row.size:
            return contacts[int(row[0]) * columns + advertiser - 1]
    elif person_key:
        slot = np.flatnonzero(pairs == np.uint64(pair_key(key, advertiser)))
        if slot.size:
            return contacts[people.size * columns + int(slot[0])]
    return contacts[-1]


def date_text(ns: int) -> str:
    """A time as UTC date and time."""
    return datetime.fromtimestamp(ns // mk.NANO, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refusal(venue: Venue, line: int, case: Case) -> str:
    """Why one creative may not stand in this imp: it does not fit, or the publisher blocks it; "" = it may."""
    ad, (offered, banner, _, battr) = venue.lines[line], case.imp
    if case.private:
        return "creative: a private auction takes bids on its deals only"
    if not offered >> ad.media & 1:
        return f"creative: {MEDIA[ad.media]} is not offered, {', '.join(case.view['media'])} is"
    if ad.media == BANNER and ad.size is not None and banner:
        if ad.size[0] << 16 | ad.size[1] not in banner:
            return f"creative: {ad.size[0]}x{ad.size[1]} does not fit {', '.join(map(size_text, banner))}"
    return _blocked(venue.index, line, ad.seat, case.request, battr)


def _blocked(index: Index, line: int, seat: str, request: BidRequest, battr: Any) -> str:
    """Which of the publisher's lists blocks a line of the index, and by which entry."""

    def holds(row: int) -> bool:
        return bool(int(index.rows[row, line >> 6]) >> (line & 63) & 1)

    lists = (
        ("badv", index.badv_row, [(domain, domain.lower()) for domain in request.badv]),
        ("bcat", index.cat_row, [(category, category) for category in request.bcat]),
        ("bseat", index.seat_row, [(name, name) for name in request.bseat]),
        (
            "battr",
            index.attr_row,
            [("secure" if attribute == INSECURE else str(attribute), attribute) for attribute in battr],
        ),
    )
    for name, table, entries in lists:
        for shown, entry in entries:
            if entry in table and holds(table[entry]):  # type: ignore[index,operator]
                return f"{name}: {shown} is blocked by the publisher"
    if request.wseat and not any(holds(index.seat_any_row.get(s, index.seat_other)) for s in request.wseat):
        return f"wseat: seat {seat} is not among {', '.join(request.wseat)}"
    return ""


def _limit(venue: Venue, me: Any, contact: Any, now_ns: int) -> str:
    """Which limit is reached: budget, daily budget, cap in total or per day; "" = none."""
    if me["available"] <= 0:
        return f"budget: nothing left of {int(me['budget']) / mk.NANO:g}, {int(me['held']) / mk.NANO:g} of it held"
    if me["daily"] - me["day_used"] <= 0:
        return f"daily budget: {int(me['daily']) / mk.NANO:g} used today"
    count = int(contact["contacts"]) + int(contact["held"])
    if 0 < me["cap_total"] <= count:
        return f"cap: {count} of {int(me['cap_total'])} contacts in total, open holds included"
    if 0 < me["cap_day"] <= contact["day_n"] and contact["day"] == now_ns // DAY_NS:
        return f"cap: {int(contact['day_n'])} of {int(me['cap_day'])} contacts today, open holds included"
    return ""
