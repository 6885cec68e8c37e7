"""Why a campaign is not asked for a price: the plain-words twin of `audience.match` and `auction.limits`.

`reason` looks at one campaign and one imp and names the first thing that stands in the way: pause, flight, target,
creative, the publisher's lists, money, cap, holdout. An empty reason means that the compiled step asks it.
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec import Struct

from exchange import market as mk
from exchange.auction import limits
from exchange.auction.venue import Venue
from exchange.audience.index import INSECURE, ImpView, Index
from exchange.audience.language import Target, View, explain
from exchange.awards import CAMPAIGN_CELL
from exchange.openrtb.codes import BANNER, MEDIA
from exchange.openrtb.model import BidRequest
from exchange.state import DAY_NS, HOUR_NS, pair_key, week_of


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
    limit = _money(venue, me, case.now_ns) or _cap(venue, me, contact, case)
    if not limit and limits.held_out_of(venue.record, venue.campaigns, campaign, np.uint64(case.person_key)):
        return f"holdout: this person is never shown ads of this advertiser, as {float(me['holdout']):.0%} of people"
    return limit


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


def _money(venue: Venue, me: Any, now_ns: int) -> str:
    """Which money is used up: budget, daily budget, or what even pacing has released of them; "" = none."""
    if me["available"] <= 0:
        return f"budget: nothing left of {int(me['budget']) / mk.NANO:g}, {int(me['held']) / mk.NANO:g} of it held"
    used, daily = (int(me["day_used"]) if me["day"] == now_ns // DAY_NS else 0), int(me["daily"])
    if daily - used <= 0:
        return f"daily budget: {daily / mk.NANO:g} used today"
    due = int(limits.released(daily, now_ns % DAY_NS // limits.MS_NS, limits.DAY_MS))
    if me["even"] & mk.EVEN_DAY and due <= used:
        return f"pacing: {used / mk.NANO:g} used, {due / mk.NANO:g} of {daily / mk.NANO:g} released so far today"
    start, end, budget = int(me["start_ns"]), int(me["end_ns"]), int(me["budget"])
    due = int(limits.released(budget, (now_ns - start) // limits.MS_NS, -((start - end) // limits.MS_NS)))
    used = budget - int(me["available"])
    if me["even"] & mk.EVEN_FLIGHT and due <= used:
        return f"pacing: {used / mk.NANO:g} used, {due / mk.NANO:g} of {budget / mk.NANO:g} released so far"
    return ""


def _cap(venue: Venue, me: Any, contact: Any, case: Case) -> str:
    """Which cap on ads shown to this person is reached; "" = none."""
    now_ns, held = case.now_ns, int(contact["held"])
    day = now_ns // DAY_NS
    this = {"hour": now_ns // HOUR_NS, "day": day, "week": int(week_of(day)) & 0xFFFF}
    seen = {window: int(contact[f"{window}_n"]) if contact[window] == at else 0 for window, at in this.items()}
    counts = [("total", "in total", int(contact["shown"]) + held)]
    counts += [(window, {"day": "today"}.get(window, f"this {window}"), n + held) for window, n in seen.items()]
    if me["cap_campaign"] > 0:
        own = contact_of(venue, case.person_key, CAMPAIGN_CELL | int(me["id"]))
        counts.append(("campaign", "of this campaign", int(own["shown"]) + int(own["held"])))
    for key, when, count in counts:
        if 0 < me[f"cap_{key}"] <= count:
            return f"cap: {count} of {int(me[f'cap_{key}'])} ads {when}, open holds included"
    return ""
