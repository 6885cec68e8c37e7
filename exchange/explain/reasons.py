"""Why a campaign is not asked for a price: the plain-words twin of `audience.targets` and `auction.limits`.

`Reasons.of` looks at one campaign and one imp and names everything that stands in the way: pause, flight, target, the
publisher's lists, creative, money, cap, holdout. No reason means that the compiled step asks it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec import Struct

from exchange import market as mk
from exchange.auction import limits
from exchange.auction.ads import fit_keys, target_of
from exchange.auction.venue import Venue
from exchange.audience.language import bare_domain, explain
from exchange.awards import CAMPAIGN_CELL
from exchange.config import Advertiser, Config, Creative
from exchange.facts.sources import INSECURE
from exchange.openrtb.model import BidRequest
from exchange.state import DAY_NS, HOUR_NS, pair_key, week_of


class Case(Struct):
    """One imp of one request at one time; `view` is of person and imp, without what only advertisers know."""

    request: BidRequest
    view: dict[str, Any]
    person_key: int
    now_ns: int
    private: bool = False  # a private auction: bids on its deals only


class Found(Struct):
    """Why a campaign is not asked: every reason in words, and the leaves of its target that fail."""

    reasons: list[str]
    leaves: list[str]


class Reasons:
    """The reasons of all campaigns of a venue, by index; `advertisers` owns them in the same order."""

    def __init__(self, config: Config, venue: Venue) -> None:
        self.venue = venue
        pairs = [(a, c) for a in config.advertiser for c in a.campaign]
        self.advertisers = [a for a, _ in pairs]
        self.tag_names = {number: tag for tag, number in venue.targets.vocabulary.ids["blocked"].items()}
        self.trees = [target_of(c.target, config.audiences, c.name, relative=True).tree for _, c in pairs]

    def of(self, campaign: int, case: Case) -> Found:
        """All that keeps a campaign (by index) from being asked; no reasons = it is asked."""
        venue = self.venue
        me = venue.campaigns[campaign]
        contact = contact_of(venue, case.person_key, int(me["advertiser"]))
        leaves = list(explain(self.trees[campaign], {**case.view, **relation(contact, case)}).failing)
        reasons = [*_asleep(me, case.now_ns), *(f"target: {leaf}" for leaf in leaves)]
        reasons += _lists(self.advertisers[campaign], case.request)
        ads = range(int(me["ad0"]), int(me["ad0"]) + int(me["n_ads"]))
        refused = [_refusal(venue.ads[ad].creative, self._tags(ad), case) for ad in ads]
        if all(refused):
            reasons.append(", and ".join(dict.fromkeys(refused)).replace(", and creative: ", "; "))
        reasons += filter(None, (_money(venue, me, case.now_ns), _cap(venue, me, contact, case)))
        if limits.held_out_of(venue.record, campaign, np.uint64(case.person_key)):
            share = f"{float(me['holdout']):.0%}"
            reasons.append(f"holdout: this person is never shown ads of this advertiser, as {share} of people")
        return Found(reasons, leaves)

    def _tags(self, ad: int) -> set[str]:
        """What a publisher may block an ad by."""
        record = self.venue.arrays["ads"][ad]
        first, n = int(record["tag0"]), int(record["n_tags"])
        return {self.tag_names[int(tag)] for tag in self.venue.arrays["tags"][first : first + n]}


def relation(contact: Any, case: Case) -> dict[str, int]:
    """What the advertiser knows of the person, as targets ask it; nothing of one who is unknown."""
    if not case.person_key:
        return {}
    known = {"own": int(contact["flags"] & mk.OWN != 0), "contacts": int(contact["contacts"])}
    if contact["contacts"]:
        known["last_contact_days"] = max(0, case.now_ns // mk.NANO - int(contact["last_s"])) // 86_400
    return known


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


def _asleep(me: Any, now_ns: int) -> Iterator[str]:
    """Paused, or out of its flight."""
    if me["paused"]:
        yield "paused"
    if now_ns < me["start_ns"]:
        yield f"flight: starts {date_text(int(me['start_ns']))}"
    if now_ns >= me["end_ns"]:
        yield f"flight: ended {date_text(int(me['end_ns']))}"


def _lists(advertiser: Advertiser, request: BidRequest) -> Iterator[str]:
    """Which of the publisher's lists bars an advertiser, and by which entry."""
    for entry in request.badv:
        bare = entry.lower().removeprefix("www.")
        if any(f".{domain}".endswith(f".{bare}") for domain in map(bare_domain, advertiser.domains)):
            yield f"badv: {entry} is blocked by the publisher"
    for entry in request.bseat:
        if entry == advertiser.name:
            yield f"bseat: {entry} is blocked by the publisher"
    if request.wseat and advertiser.name not in request.wseat:
        yield f"wseat: seat {advertiser.name} is not among {', '.join(request.wseat)}"


def _refusal(creative: Creative, tags: set[str], case: Case) -> str:
    """Why one creative may not stand in this imp: it does not fit, or the publisher blocks it; "" = it may."""
    view = case.view
    if case.private:
        return "creative: a private auction takes bids on its deals only"
    if creative.type not in view["media"]:
        return f"creative: {creative.type} is not offered, {', '.join(view['media'])} is"
    if not set(fit_keys(creative)) & set(view["fit"]):
        sizes: Sequence[str] = [key.removeprefix("banner ") for key in view["fit"] if key.startswith("banner ")]
        size = f"{creative.w}x{creative.h}" if creative.w and creative.h else "a banner without a size"
        return f"creative: {size} does not fit {', '.join(sizes)}"
    for tag in view["blocked"]:
        if tag in tags and tag == INSECURE:
            return "creative: it loads over http, and the imp is secure"
        if tag in tags:
            entry = tag.removeprefix("attr ")
            return f"{'battr' if tag.startswith('attr ') else 'bcat'}: {entry} is blocked by the publisher"
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
