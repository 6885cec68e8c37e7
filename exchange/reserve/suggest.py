"""Suggest a reserve: fit the values, take Myerson's reserve, clear the logged auctions again, or say why not."""

from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange import market as mk
from exchange.config import ConfigError
from exchange.rent.ledger import Ledger
from exchange.reserve.clear import Resamples, Terms, around
from exchange.reserve.expect import Rounds
from exchange.reserve.fit import AT_RISK, Fit, choose, fit
from exchange.reserve.sample import Sample, groups, read

MIN_AUCTIONS: Final = 100  # with a bid that reached the floor
GROUPS_MAX: Final = 50
POINTS: Final = 32  # of the curve
MARGIN: Final = 0.01  # of the revenue: by so much the best floor in hindsight must beat the fitted one, and 2 sigma
WHY: Final = {
    "first_price": "first-price bids are shaded below the values, and would be shaded otherwise under another floor",
    "soft_floor": "below a soft floor bids are paid as in a first-price auction, and shaded like there",
    "gsp": "bids for positions are not values",
    "all_pay": "all-pay bids are shaded: losers pay too",
    "myerson": "the myerson format sets the optimal reserves already",
}


class Point(Struct):
    """Revenue at one reserve, currency per 1,000 auctions: by clearing again (with its interval), and by the fit."""

    reserve_cpm: float
    revenue_cpm: float
    low_cpm: float
    high_cpm: float
    sold: float
    fitted_cpm: float | None


class Change(Struct):
    """A change of revenue, currency per 1,000 auctions: expected, its 95 % interval, that of as many new auctions."""

    cpm: float
    low_cpm: float
    high_cpm: float
    next_low_cpm: float
    next_high_cpm: float
    sold: float  # share of auctions


class Suggestion(Struct):
    """What a ledger, or one group of its auctions, says about a reserve; prices CPM, revenue per 1,000 auctions.

    advice: `set` = on top of the logged floors; `lower` = in place of them, most are too high; `keep` = no gain shows;
    `unknown` = the ledger cannot say. `why` says so in words.
    """

    group: str
    target: str  # the group in the targeting language; "" = all, or not expressible
    auctions: int
    sold: float
    bids: int  # fitted
    revenue_cpm: float
    floor_mean_cpm: float
    floors_above: float = 0.0  # share of auctions whose logged floor is above the reserve
    advice: str = "unknown"
    why: str = ""
    family: str = ""
    parameters: dict[str, float | list[float]] = {}
    aic: dict[str, float] = {}
    reserve_cpm: float | None = None
    reserve_low_cpm: float | None = None
    reserve_high_cpm: float | None = None
    change: Change | None = None
    fitted_change_cpm: float | None = None
    in_place: Change | None = None  # the same reserve in place of every logged floor; None = cannot be known
    hindsight_cpm: float | None = None  # the floor that would have earned most
    hindsight_change_cpm: float | None = None
    curve: list[Point] = []


class Report(Struct):
    """The suggestions for a ledger; money in its currency."""

    currency: str
    by: str
    bootstrap: int
    seed: int
    whole: Suggestion
    groups: list[Suggestion]
    notes: list[str]


def report(ledger: Ledger, by: str = "", bootstrap: int = 200, seed: int = 0) -> Report:
    """Suggest a reserve for a whole ledger and, with `by`, for its largest groups. Raises LedgerError."""
    sample = read(ledger)
    whole = suggest(sample, "all", "", bootstrap, seed)
    found = []
    if by and len(sample):
        for name, target, here in groups(ledger, sample, by, GROUPS_MAX):
            found.append(suggest(sample.part(here), name, target, bootstrap, seed))
    notes = list(sample.notes)
    if len(sample) and not sample.has_bids:
        notes.append(
            'no bids in the ledger (journal = "wins"): fitted to the best bid of each sold auction, given the second'
        )
    elif len(sample) and not sample.complete and sample.floor.any():
        notes.append("not every bidder bid below its floor: fitted to the bids that reached it, as values above it")
    return Report(str(ledger.meta.get("currency", "")), by, bootstrap, seed, whole, found, notes)


def suggest(sample: Sample, group: str, target: str, bootstrap: int, seed: int) -> Suggestion:
    """The suggestion for one sample: what to do, the change it makes and how sure that is."""
    n = len(sample)
    found = Suggestion(
        group=group,
        target=target,
        auctions=n,
        sold=float(np.mean(sample.top > 0)) if n else 0.0,
        bids=int(sample.value.size),
        revenue_cpm=float(sample.clearing.mean()) / 1e6 if n else 0.0,
        floor_mean_cpm=float(sample.floor.mean()) / 1e6 if n else 0.0,
    )
    found.why = _cannot(sample)
    if found.why:
        return found
    chosen, found.aic = choose(sample.value, sample.above)
    found.family = chosen.family
    found.parameters = _parameters(chosen)
    on_top = Terms(sample.kept, sample.top, sample.clearing)
    price = np.where((sample.kept > 0) & (sample.kept == sample.all_second), sample.clearing, sample.all_second)
    in_place = Terms(sample.all_second, sample.all_top, price) if sample.complete else None
    best = (in_place or on_top).best()
    try:
        reserve = _round(chosen)
    except ConfigError:
        reserve = mk.PRICE_MAX_NANO
    if np.count_nonzero(sample.value * 1e6 >= reserve) < AT_RISK:
        found.why = (
            f"the best reserve of the fitted {chosen.family} lies beyond what was bid (highest bid "
            f"{sample.value.max():.4g} CPM): nothing in the ledger says who would pay it"
        )
        return found
    resamples = Resamples(n, bootstrap, seed)
    if _better(in_place or on_top, best, reserve):
        reserve = best
        found.why = "the best floor in hindsight, which beats that of the fit: the buyers are not alike; "
        spread = np.array([(in_place or on_top).best(resamples.weight(k)) for k in range(bootstrap)]) / 1e6
    else:
        spread = _refits(sample, chosen, resamples, bootstrap)
    found.reserve_cpm = reserve / 1e6
    found.reserve_low_cpm, found.reserve_high_cpm = np.percentile(spread, [2.5, 97.5]).tolist()
    found.floors_above = float(np.mean(sample.floor > reserve))
    found.change = _change(on_top, reserve, sample, resamples)
    rounds = Rounds(sample)
    found.fitted_change_cpm = rounds.change(chosen, reserve / 1e6)
    found.hindsight_cpm = best / 1e6
    found.hindsight_change_cpm = float(np.mean((in_place or on_top).at(best) - sample.clearing)) / 1e6
    if in_place is not None:
        found.in_place = _change(in_place, reserve, sample, resamples)
    _advise(found, sample)
    terms = in_place if found.advice == "lower" and in_place is not None else on_top
    found.curve = _curve(chosen if terms is on_top else None, rounds, terms, sample, reserve, resamples)
    return found


def _cannot(sample: Sample) -> str:
    """Why nothing can be suggested before anything is fitted; "" when something can."""
    if not len(sample):
        if not sample.left_out:
            return "the ledger holds no auctions"
        why = {name: WHY.get(name, "bids there do not tell values") for name in sample.left_out}
        told = [f"{n:,} {name}: {why[name]}" for name, n in sample.left_out.items()]
        return f"no second-price auctions. {'; '.join(told)}"
    bid_on = int(np.count_nonzero(sample.all_top))
    if bid_on < MIN_AUCTIONS or sample.value.size < MIN_AUCTIONS:
        what = "a bid" if sample.complete else "a bid that reached the floor"
        return f"only {bid_on:,} of {len(sample):,} auctions had {what}: expected at least {MIN_AUCTIONS}"
    if np.ptp(sample.value) == 0:
        return f"every bid is {sample.value[0]:.6g} CPM: one price says nothing of how buyers' values differ"
    return ""


def _parameters(chosen: Fit) -> dict[str, float | list[float]]:
    """The parameters as the config writes them; of an empirical distribution its deciles."""
    d = chosen.distribution
    if d.uniform is not None:
        return {"uniform": list(d.uniform)}
    if d.lognormal is not None:
        return {"lognormal": list(d.lognormal)}
    if d.exponential is not None:
        return {"exponential": d.exponential}
    return {"deciles": np.percentile(np.asarray(d.empirical), np.arange(10, 100, 10)).tolist()}


def _round(chosen: Fit) -> int:
    """The fit's reserve, nano: four digits are enough, but a price that buyers bid exactly is kept exactly."""
    reserve = chosen.reserve()
    return round(reserve * 1e6) if chosen.family == "empirical" else mk.cpm_up(float(f"{reserve:.4g}"))


def _better(terms: Terms, best: int, reserve: int) -> bool:
    """Whether the best floor in hindsight is better than the fitted one: chosen on one half, tried on the other."""
    gains = []
    half = np.arange(terms.top.size) % 2 == 0
    for mine, other in ((half, ~half), (~half, half)):
        tried, chosen = terms.part(other), terms.part(mine).best()
        gains.append(tried.at(chosen) - tried.at(reserve))
    gain = np.concatenate(gains).astype(np.float64)
    error = float(gain.std()) / float(np.sqrt(gain.size))
    return best > 0 and float(gain.mean()) > max(2 * error, MARGIN * float(terms.at(reserve).mean()))


def _refits(sample: Sample, chosen: Fit, resamples: Resamples, bootstrap: int) -> NDArray[np.float64]:
    """The reserve of each bootstrap sample, CPM; samples whose fit has none are left out."""
    found = []
    for k in range(bootstrap):
        weight = resamples.weight(k)[sample.of]
        try:
            found.append(fit(chosen.family, sample.value, sample.above, weight, False).reserve())
        except (ConfigError, ValueError):  # a sample of equal bids, or one without a finite reserve
            continue
    return np.array(found or [chosen.reserve()])


def _change(terms: Terms, reserve: int, sample: Sample, resamples: Resamples) -> Change:
    """The change of revenue per 1,000 auctions that a reserve makes."""
    earned = terms.at(reserve)
    cpm = float(np.mean(earned - sample.clearing)) / 1e6
    low, high = around(cpm, resamples.means(earned - sample.clearing) / 1e6)
    return Change(cpm, low, high, *around(cpm, resamples.means(earned) / 1e6, 2), terms.sold(reserve))


def _advise(found: Suggestion, sample: Sample) -> None:
    """Say what to do. Floors above the reserve bind: a reserve on top of them changes nothing there."""
    assert found.change is not None and found.reserve_cpm is not None
    unseen = "whether lower floors would earn more cannot be known: bids below them are not in the ledger"
    if found.floors_above > 0.5 and found.in_place is not None:
        found.advice = "lower" if found.in_place.low_cpm > 0 else "keep"
        found.why += f"{found.floors_above:.0%} of the logged floors are above the best reserve" + (
            ": lower them to it" if found.advice == "lower" else ", but lowering them shows no gain"
        )
        return
    if found.reserve_cpm <= sample.floor.min() / 1e6 and sample.floor.min() > 0:
        found.advice = "keep"
        found.why += "every logged floor is at or above the best reserve already"
    elif found.change.low_cpm <= 0:
        found.advice = "keep"
        found.why += "no gain shows: the interval of the change reaches down to 0 or below"
    else:
        found.advice = "set"
        found.why += "the interval of the change lies above 0"
    if found.floors_above > 0 and found.in_place is None:
        found.why += f"; {unseen}"


def _curve(
    chosen: Fit | None, rounds: Rounds, terms: Terms, sample: Sample, reserve: int, resamples: Resamples
) -> list[Point]:
    """Revenue at reserves from 0 to three times the suggested one, or to what few would pay."""
    end = max(min(int(np.percentile(terms.top, 99.5)), 3 * reserve), 5 * reserve // 4)
    points = np.unique(np.append(np.linspace(0, end, POINTS).astype(np.int64), reserve))
    found = []
    for point in points.tolist():
        earned = terms.at(point)
        fitted = rounds.change(chosen, point / 1e6) if chosen is not None else None
        base = float(sample.clearing.mean()) / 1e6
        mean = float(earned.mean()) / 1e6
        low, high = around(mean, resamples.means(earned) / 1e6)
        found.append(Point(point / 1e6, mean, low, high, terms.sold(point), None if fitted is None else base + fitted))
    return found
