"""What ads caused: conversions of people who might be shown them against those of a holdout drawn by hash.

Both groups are people an advertiser's campaigns *would have been asked for* (Johnson, Lewis, Nubbemeyer 2017, Ghost
Ads): audience, money and caps allowed it. The treated were asked, the held out have rows with the fate `holdout`.
Whether a treated person was shown an ad does not matter: to count only those would compare winners of auctions with
everybody.
"""

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange.audience import lists
from exchange.books.keys import Index, distinct, ranks
from exchange.books.outcomes import wins_of_events
from exchange.market import BILLING, CLICKS, KIND_VIEW
from exchange.openrtb.codes import HOLDOUT
from exchange.rent.columns import Column, Columns, Get
from exchange.rent.ledger import Ledger
from exchange.report.conversions import Conversions, salt_of
from exchange.report.formulas import Interval, difference_interval, people_needed, rate_interval

DAY_NS: Final = 86_400 * 10**9
LOOK_BACK_DAYS: Final = 30
FEW: Final = 5  # conversions: fewer in a group say nothing of how they are spread
Ids = NDArray[np.int64]
Keys = NDArray[np.uint64]
Mask = NDArray[np.bool_]


class Groups(Struct):
    """The people an advertiser's campaigns would have been asked for: one row a person, ascending."""

    person: Keys
    held: Mask  # kept from its ads
    first_ts_ns: Ids  # first opportunity
    crossed: int  # held out at one time, asked for at another: the holdout was changed in between


def groups_of(ledger: Ledger) -> dict[int, Groups]:
    """The groups of each advertiser with local campaigns, by id; empty where the journal keeps no bids."""
    bids, auctions = Columns(ledger, "bids"), Columns(ledger, "auctions")
    if not len(bids):
        return {}
    parts = [part for _, part in bids.map(_local_bids)]
    advertiser, ts_ns, held, auction_id, imp_ix = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not advertiser.size:
        return {}
    auctions.load("auction_id", "imp_ix", "person_key")
    keys = {name: auctions[name] for name in ("auction_id", "imp_ix")}
    imp = Index(keys, by_slot=False).find({"auction_id": auction_id, "imp_ix": imp_ix})
    person = np.where(imp >= 0, auctions["person_key"][imp], 0)
    of = np.flatnonzero(person)
    advertiser, person, ts_ns, held = advertiser[of], person[of], ts_ns[of], held[of]
    found = {}
    for ident in distinct(advertiser).tolist():
        mine = np.flatnonzero(advertiser == ident)
        people, at = ranks(person[mine])
        first = np.full(people.size, np.iinfo(np.int64).max)
        np.minimum.at(first, at, ts_ns[mine])
        n_held = np.bincount(at[held[mine]], minlength=people.size)
        crossed = int(np.count_nonzero((n_held > 0) & (n_held < np.bincount(at, minlength=people.size))))
        found[ident] = Groups(people, n_held > 0, first, crossed)
    return found


def _local_bids(get: Get) -> list[Column]:
    """Advertiser, time, whether held out, auction and imp of the bids of local campaigns in a piece."""
    campaign, advertiser, ts_ns, fate, auction_id, imp_ix = get(
        "campaign", "advertiser", "ts_ns", "fate", "auction_id", "imp_ix"
    )
    local = campaign >= 0
    return [column[local] for column in (advertiser.astype(np.int64), ts_ns, fate == HOLDOUT, auction_id, imp_ix)]


def own_of(ledger: Ledger, advertiser: str, groups: Groups) -> Mask | None:
    """Who of the groups was on the advertiser's own list at his first opportunity; None where there is no list.

    Raises PeopleError for a damaged list.
    """
    if ledger.path is None or not (ledger.path / lists.FOLDER).is_dir():
        return None
    versions = lists.versions(ledger.path, salt_of(ledger), advertiser)
    if not versions:
        return None
    own = np.zeros(groups.person.size, bool)
    for ix, version in enumerate(versions):  # in the order in which they come into force
        until = versions[ix + 1].valid_from_ns if ix + 1 < len(versions) else lists.FAR_NS
        then = (groups.first_ts_ns >= version.valid_from_ns) & (groups.first_ts_ns < until)
        own |= then & np.isin(groups.person, lists.keys_of(version))
    return own


# ---- last touch ---------------------------------------------------------------------------------------------------


class Touches(Struct):
    """Ads seen and clicked by known people, in order of (advertiser, person, time)."""

    advertiser: Ids
    person: Keys
    ts_ns: Ids
    campaign: Ids  # id
    click: Mask


def touches_of(ledger: Ledger, conversions: Conversions | None) -> Touches:
    """Every impression, view and click of the people of some conversions; what is billed for one was clicked before."""
    wins, events = Columns(ledger, "wins"), Columns(ledger, "events")
    if conversions is None or not conversions.person.size or not len(wins):
        none = np.zeros(0, np.int64)
        return Touches(none, none.astype(np.uint64), none, none, none.astype(bool))
    people = distinct(conversions.person)
    wins.load("serial", "person_key", "advertiser", "campaign")
    person = wins["person_key"]
    bought = people[np.minimum(np.searchsorted(people, person), people.size - 1)] == person
    events.load("seq", "ts_ns", "kind", "serial")
    kind, win = events["kind"], wins_of_events(wins, events)
    touch = np.isin(kind, (*BILLING, *CLICKS, KIND_VIEW))
    rows = np.flatnonzero(touch & (win >= 0) & bought[win] & (person[win] != 0))
    win = win[rows]
    order = np.lexsort((events["seq"][rows], events["ts_ns"][rows], person[win], wins["advertiser"][win]))
    rows, win = rows[order], win[order]
    return Touches(
        wins["advertiser"][win].astype(np.int64), person[win], events["ts_ns"][rows],
        wins["campaign"][win].astype(np.int64), np.isin(kind[rows], CLICKS),
    )  # fmt: skip


def last_touch(touches: Touches, conversions: Conversions, days: float = LOOK_BACK_DAYS) -> Ids:
    """For each conversion the last touch of that advertiser's ads before it, within `days`: an index, -1 = none."""
    n = touches.ts_ns.size
    if n == 0:
        return np.full(conversions.ts_ns.size, -1, np.int64)
    advertiser = np.concatenate((touches.advertiser, conversions.advertiser))
    person = np.concatenate((touches.person, conversions.person))
    ts_ns = np.concatenate((touches.ts_ns, conversions.ts_ns))
    late = np.arange(ts_ns.size) >= n  # of equal times the touch comes first
    order = np.lexsort((late, ts_ns, person, advertiser))
    at = np.maximum.accumulate(np.where(late[order], -1, np.arange(order.size)))
    back = np.full(ts_ns.size, -1, np.int64)
    back[order] = np.where(at >= 0, order[np.maximum(at, 0)], -1)
    found = back[n:]
    near = np.maximum(found, 0)
    same = (touches.advertiser[near] == conversions.advertiser) & (touches.person[near] == conversions.person)
    recent = conversions.ts_ns - touches.ts_ns[near] <= days * DAY_NS
    return np.where((found >= 0) & same & recent, found, -1)


# ---- what was caused ----------------------------------------------------------------------------------------------


class Effect(Struct):
    """What the ads caused among the treated, in conversions, and what one of those cost."""

    treated: int  # people
    held: int
    treated_conversions: int
    held_conversions: int
    increment: Interval | None  # conversions; None = nobody was held out
    spend: float  # on the treated, currency
    why: str  # one of WHY
    held_needed: float  # people held out that would tell an effect as large as the one seen (or `claimed`)
    needed_for: float  # that effect, conversions

    @property
    def icpa(self) -> float | None:
        """Spend per conversion caused; None where the interval does not exclude that there is none."""
        return self.spend / self.increment.value if self.why == "told" and self.increment else None

    @property
    def icpa_low(self) -> float | None:
        """At least this, at 95 %: spend / upper end of the increment; None where even that is not above 0."""
        high = self.increment.high if self.increment else 0.0
        return self.spend / high if high > 0 else None

    @property
    def icpa_high(self) -> float | None:
        """At most this; None where the increment may be 0."""
        low = self.increment.low if self.increment else 0.0
        return self.spend / low if low > 0 else None


WHY: Final = {
    "told": "the ads caused conversions",
    "too small": "cannot tell: the holdout is too small",
    "fewer": "people who might be shown the ads bought less than those held out",
    "no holdout": "cannot tell: nobody was held out",
    "nobody": "cannot tell: nobody was asked for",
}


def effect_of(
    per_treated: NDArray[np.int64], per_held: NDArray[np.int64], spend: float, claimed: float = 0.0
) -> Effect:
    """conv_T - conv_C N_T / N_C with its 95 % interval, from the conversions of each person of both groups.

    The interval is that of a difference of two means by MOVER over score intervals, each widened by how much more
    conversions vary from person to person than chance; spend is known, so that of the iCPA is spend / its ends.
    claimed: conversions that last touch credits; how large a holdout must be is told for it where no effect is seen.
    """
    n, m = per_treated.size, per_held.size
    conversions = int(per_treated.sum()), int(per_held.sum())
    if n == 0 or m == 0:
        return Effect(n, m, *conversions, None, spend, "nobody" if n == 0 else "no holdout", np.inf, 0.0)
    spread = spread_of(per_treated, per_held)
    difference = difference_interval(
        rate_interval(conversions[0], n, spread[0]), rate_interval(conversions[1], m, spread[1])
    )
    increment = Interval(difference.value * n, difference.low * n, difference.high * n)
    why = "told" if increment.low > 0 else "fewer" if increment.high < 0 else "too small"
    wanted = increment.value if increment.value > 0 else claimed
    mean = sum(conversions) / (n + m)
    pooled = (spread[0] * n + spread[1] * m) / (n + m)
    return Effect(
        n, m, *conversions, increment, spend, why, people_needed(wanted / n, mean, pooled, n / m) if mean else np.inf,
        wanted,
    )  # fmt: skip


def spread_of(*groups: NDArray[np.int64]) -> list[float]:
    """Variance over mean of the conversions of a person, of each group; of all together where a group has few."""
    both = np.concatenate(groups)
    whole = _spread(both) if both.sum() >= FEW else 1.0
    return [_spread(each) if each.sum() >= FEW else whole for each in groups]


def _spread(values: NDArray[np.int64]) -> float:
    return float(values.var(ddof=1) / values.mean()) if values.size > 1 else 1.0


def per_person(groups: Groups, conversions: Conversions, advertiser: int) -> tuple[Ids, Mask]:
    """(conversions of each person of the groups from his first opportunity on, which conversions those are)."""
    counts = np.zeros(groups.person.size, np.int64)
    counted = np.zeros(conversions.person.size, bool)
    mine = np.flatnonzero(conversions.advertiser == advertiser)
    if groups.person.size and mine.size:
        at = np.minimum(np.searchsorted(groups.person, conversions.person[mine]), groups.person.size - 1)
        theirs = (groups.person[at] == conversions.person[mine]) & (conversions.ts_ns[mine] >= groups.first_ts_ns[at])
        np.add.at(counts, at[theirs], 1)
        counted[mine[theirs]] = True
    return counts, counted
