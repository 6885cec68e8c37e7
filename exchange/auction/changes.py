"""Changes while serving: advertisers and campaigns come, change, pause, resume and end, between two steps.

A change is first read into a `Plan`, by the same code that reads a config file: what cannot be used is refused in one
line and nothing has happened. `carry_out` then makes it true for the very next request and counts the market's
snapshot version up by one; it cannot be refused any more. What has to be on the disk before that is written by `note`.
"""

import difflib
from typing import Any, Final

import msgspec
from msgspec import Struct

from exchange import awards
from exchange.auction.ads import Ad
from exchange.auction.stock import ENDED, PAUSED, Draft
from exchange.auction.venue import Venue
from exchange.audience.lists import Fresh
from exchange.audience.people import PeopleError
from exchange.config import Advertiser, Campaign, Config, ConfigError, convert
from exchange.config.check import check
from exchange.rent.names import note_budgets

ACTIONS: Final = ("add_advertiser", "add", "change", "pause", "resume", "end", "refresh_models", "lists")
VALUES: Final = ("value_cpm", "value_click", "value_conversion")
LIMITS: Final = frozenset(("cap", "start", "end"))  # what None takes off, besides the keys that may be None
AT_START: Final = {  # keys of an advertiser that are carried out when a ledger is opened
    "own_list": "its people are loaded when the server starts",
    "own_share": "the people it is drawn from are those of a simulation",
}


class Change(Struct, forbid_unknown_fields=True):
    """One change. `keys` are those of the config's tables, as plain values or Structs of exchange.config."""

    action: str  # one of ACTIONS
    campaign: str = ""  # advertiser/campaign; for `add` the advertiser
    # add_advertiser: [[advertiser]]; add, change: [[advertiser.campaign]]; lists: advertiser -> highest version known
    keys: dict[str, Any] = {}


class Plan(Struct):
    """A change that has been read and checked: nothing can refuse it any more."""

    action: str
    ix: int = -1  # campaign, for pause, resume and end
    advertiser: Advertiser | None = None  # a new one
    drafts: list[Draft] = []
    rates: list[Any] | None = None  # what the click models say now
    lists: Fresh | None = None  # versions of own lists

    @property
    def ads(self) -> list[list[Ad]]:
        """The creatives of each draft."""
        return [draft.ads for draft in self.drafts]


def read_change(change: Change) -> Change:
    """The change with plain values only, as it is journaled. Raises ConfigError."""
    if change.action not in ACTIONS:
        near = difflib.get_close_matches(change.action, ACTIONS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"change: action = {change.action!r}: expected one of {', '.join(ACTIONS)}{hint}")
    try:
        plain: Change = msgspec.convert(msgspec.to_builtins(change), Change)
        msgspec.msgpack.encode(plain)  # half a surrogate pair, or an integer beyond 64 bits, cannot be journaled
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{change.action}: expected a name, and keys with values as in a config: {error}") from None
    if plain.keys and change.action in ("pause", "resume", "end", "refresh_models"):
        raise ConfigError(f"{change.action}: keys = {sorted(plain.keys)}: expected none")
    return plain


def plan(venue: Venue, change: Change, now_ns: int) -> Plan:
    """Read a change (plain, `read_change`) against the campaigns there are. Raises ConfigError; changes no sale."""
    action = change.action
    if action == "refresh_models":
        return Plan(action, rates=venue.models.ask())
    if action == "lists":
        return Plan(action, lists=_lists(venue, change, now_ns))
    if action == "add_advertiser":
        return _new_advertiser(venue, change)
    if action == "add":
        advertiser = _advertiser(venue, change.campaign)
        campaign = convert(change.keys, Campaign, f"add {advertiser.name}")
        return Plan(action, drafts=_new(venue, advertiser, [campaign]))
    ix = _number(venue, change)
    if action == "change":
        return Plan(action, drafts=[_changed(venue, ix, change.keys)])
    return Plan(action, ix)


def carry_out(venue: Venue, plan: Plan) -> None:
    """Make a plan true; between two steps only. The clock stands where it stands."""
    stock = venue.stock
    if plan.rates is not None:
        venue.models.refresh(plan.rates)
    if plan.lists is not None and venue.lists is not None:
        venue.lists.know(plan.lists)
    if plan.advertiser is not None:
        stock.advertisers[plan.advertiser.name.lower()] = plan.advertiser
    touched = [stock.put(draft) for draft in plan.drafts]
    if plan.ix >= 0:
        stock.settle(plan.ix, {"pause": PAUSED, "resume": 0, "end": ENDED}[plan.action])
        touched = [plan.ix]
    if plan.drafts or plan.rates is not None:  # a model of a refused draft may have moved the table that is refreshed
        venue.point()
    if plan.drafts:
        venue.make_journal_room()
        venue.formats.difference_update(venue.unheld(venue.n_campaigns))  # in place: others look at it
    for ix in touched:
        awards.rouse_one(venue.record, ix)
    venue.record["snapshot_version"] += 1


# ---- reading -------------------------------------------------------------------------------------------------------


def _lists(venue: Venue, change: Change, now_ns: int) -> Fresh:
    """The versions of own lists that are known from now on, read."""
    if venue.lists is None or change.campaign or not change.keys:
        raise ConfigError("lists: expected a ledger, no campaign, and keys: the highest version known by advertiser")
    for advertiser, version in change.keys.items():
        if type(version) is not int or version < 1:
            raise ConfigError(f"lists: {advertiser} = {version!r}: expected the number of a version, at least 1")
    try:
        return venue.lists.read(change.keys, max(now_ns, int(venue.record["now_ns"][0])))
    except PeopleError as error:
        raise ConfigError(f"lists: {error}") from None


def _advertiser(venue: Venue, name: str) -> Advertiser:
    """The advertiser that a change names."""
    found = venue.stock.advertisers.get(name.lower())
    if found is None:
        near = difflib.get_close_matches(name, [a.name for a in venue.stock.advertisers.values()], 1)
        hint = f"; did you mean {near[0]!r}?" if near else "; add_advertiser brings a new one"
        raise ConfigError(f"add: advertiser {name!r}: expected one of the market's{hint}")
    return found


def _number(venue: Venue, change: Change) -> int:
    """The campaign that a change names; one that has ended is gone."""
    stock = venue.stock
    ix = stock.number.get(change.campaign.lower(), -1)
    if ix < 0:
        near = difflib.get_close_matches(change.campaign, venue.campaign_names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"{change.action}: campaign {change.campaign!r}: expected advertiser/campaign of the market{hint}"
        )
    if stock.records[ix]["paused"] == ENDED:
        raise ConfigError(f"{change.action}: campaign {change.campaign!r} has ended: expected one that has not")
    return ix


def _new_advertiser(venue: Venue, change: Change) -> Plan:
    """A new advertiser with the campaigns it comes with, if any."""
    advertiser = convert(change.keys, Advertiser, "add_advertiser")
    where, others = f"add_advertiser: advertiser {advertiser.name!r}", venue.stock.advertisers
    if advertiser.name.lower() in others:
        raise ConfigError(f"{where} is in the market already: names must be unique")
    for key, why in AT_START.items():
        if getattr(advertiser, key):
            raise ConfigError(f"{where}: {key} = {getattr(advertiser, key)!r}: expected none while serving: {why}")
    owners = {domain.lower(): other.name for other in others.values() for domain in other.domains}
    for domain in advertiser.domains:
        if domain.lower() in owners:
            raise ConfigError(f"{where}: domains: {domain!r} is {owners[domain.lower()]}'s: expected one nobody has")
    _check(venue, advertiser, "add_advertiser")
    venue.stock.fees.of(advertiser)
    return Plan(change.action, advertiser=advertiser, drafts=_new(venue, advertiser, advertiser.campaign))


def _new(venue: Venue, advertiser: Advertiser, campaigns: list[Campaign]) -> list[Draft]:
    """Drafts of new campaigns of an advertiser, when there is room for them."""
    stock = venue.stock
    for campaign in campaigns:
        where = f"{advertiser.name}/{campaign.name}"
        ix = stock.number.get(where.lower())
        if ix is not None:
            ended = "has ended, and the ledger knows its money by that name"
            why = ended if stock.records[ix]["paused"] == ENDED else "is in the market already"
            raise ConfigError(f"add: campaign {where!r} {why}: expected another name")
        _check_campaign(venue, advertiser, campaign, "add")
    n, most = len(stock.briefs) + len(campaigns), venue.config.server.campaigns_max
    if n > most:
        raise ConfigError(f"server.campaigns_max = {most}: expected at least {n}, those that ended included")
    drafts = [stock.draft(advertiser, campaign) for campaign in campaigns]
    venue.unheld(n, drafts)
    return drafts


def _changed(venue: Venue, ix: int, keys: dict[str, Any]) -> Draft:
    """The draft of a campaign with some of its keys changed; a key that is given replaces its whole value.

    Of `knobs` those that are named are set, the others keep what they are and what their rule has learnt; another
    rule begins afresh.
    """
    brief = venue.stock.briefs[ix]
    where, before = f"change {brief.where}", brief.campaign
    if not keys:
        raise ConfigError(f"{where}: keys: expected at least one to change")
    if "name" in keys:
        raise ConfigError(f"{where}: name = {keys['name']!r}: expected none: the ledger knows its money by its name")
    wanted: dict[str, Any] = msgspec.to_builtins(before)
    if any(keys.get(key) is not None for key in VALUES):
        wanted |= dict.fromkeys(VALUES)
    wanted |= keys
    for key in LIMITS.intersection(wanted):
        if wanted[key] is None:
            del wanted[key]  # as in a config that does not name it
    same = wanted["rule"] == before.rule
    given = keys.get("knobs", {})
    if isinstance(given, dict) and (same or "knobs" not in keys):
        wanted["knobs"] = {**before.knobs, **given} if same else {}
    campaign = convert(wanted, Campaign, where)
    _check_campaign(venue, brief.advertiser, campaign, "change")
    return venue.stock.draft(brief.advertiser, campaign, ix, tuple(given))


def _check_campaign(venue: Venue, advertiser: Advertiser, campaign: Campaign, action: str) -> None:
    """What the types cannot say, asked by the code that asks it of a config file."""
    _check(venue, Advertiser(advertiser.name, campaign=[campaign]), action)


def _check(venue: Venue, advertiser: Advertiser, action: str) -> None:
    ours = venue.config
    check(Config(exchange=ours.exchange, fees=ours.fees, rates=ours.rates, advertiser=[advertiser]), action)


# ---- carrying out --------------------------------------------------------------------------------------------------


def note(venue: Venue, plan: Plan) -> None:
    """Remember each campaign's largest budget, beside the ledger too, before it holds: what reconcile checks by.

    Raises ConfigError when the disk refuses, and then nothing has changed.
    """
    most: dict[int, int] = {}
    fresh: dict[int, int] = {}
    for draft in plan.drafts:
        ident, budget = int(draft.record["id"]), int(draft.record["budget"])
        before = int(venue.stock.records[draft.ix]["budget"]) if draft.ix >= 0 else 0
        most[ident] = max(budget, venue.budgets.get(ident, before))
        if budget > venue.budgets.get(ident, before):
            fresh[ident] = budget
    if fresh and venue.journal is not None and venue.journal.folder is not None:
        try:
            note_budgets(venue.journal.folder, fresh)
        except OSError as error:
            where = venue.journal.folder
            raise ConfigError(f"{plan.action}: {where}: budgets cannot be written: {error.strerror}") from None
    venue.budgets.update(most)
