"""The formulas that reports lay beside a ledger: owning against renting, re-renting, caps, intervals, ad load.

Pure functions of floats. A number that does not exist (a break-even that never comes) is None, one without a bound is
infinite; amounts are plain currency. What cannot be asked is a ValueError that names argument, value, expectation.
"""

from math import ceil, exp, expm1, floor, inf, isfinite, log, log1p
from typing import Final

from msgspec import Struct

MONTHS: Final = 12  # of a year
SLACK: Final = 1e-12  # relative: floats that stand for equal amounts


def _within(name: str, value: float, low: float, high: float = inf) -> None:
    """Raise ValueError unless low <= value <= high, and both are numbers."""
    if not low <= value <= high:
        expected = f"at least {low:g}" if high == inf else f"{low:g} to {high:g}"
        raise ValueError(f"{name} = {value:g}: expected {expected}")


# ---- an owned contact against a rented one ------------------------------------------------------------------------


class BreakEven(Struct, frozen=True):
    """When an owned contact has paid for itself."""

    months: float | None  # M*, a real number; None = never
    month: int | None  # the first whole month by the end of which it has
    most: float  # A*, the highest opt-in price that ever pays for itself; may be infinite
    why: str  # one of WHY


WHY: Final = {
    "pays": "the contact pays for itself",
    "free": "the opt-in costs nothing: the contact pays from the first month",
    "rent is cheaper": "renting costs no more than owning: an owned contact saves nothing",
    "too dear": "the opt-in costs as much as the contact will ever save, or more",
}


def survival_of_year(share: float) -> float:
    """Monthly survival of a list that keeps `share` of its contacts over a year."""
    _within("share", share, 0.0, 1.0)
    return float(share ** (1 / MONTHS))


def discount_of_year(rate: float) -> float:
    """What one unit of money in a month is worth today at `rate` a year (0.10 = 10 %)."""
    _within("rate", rate, 0.0)
    return float((1.0 + rate) ** (-1 / MONTHS))


def saving(rent: float, owned: float, survival: float, months: float, discount: float = 0.0) -> float:
    """What an owned contact saves over `months`: (R - c)(1 - q^M) / (1 - q), q = survival x monthly discount.

    rent, owned: cost of a contact a month, rented and owned; each month's share that is still opted in is `survival` of
    the month before's, the first month's is 1. discount: a year. At q = 1 it is (R - c) M. The geometric series.
    """
    _within("rent", rent, 0.0)
    _within("owned", owned, 0.0)
    _within("months", months, 0.0)
    q = _kept(survival, discount)
    if q == 1.0:
        return (rent - owned) * months
    if q == 0.0:
        return (rent - owned) * min(1.0, months)
    return (rent - owned) * -expm1(months * log(q)) / (1.0 - q)


def most_for_opt_in(rent: float, owned: float, survival: float, discount: float = 0.0) -> float:
    """A* = (R - c) / (1 - q): above this price an opt-in never pays for itself; infinite where nothing decays."""
    _within("rent", rent, 0.0)
    _within("owned", owned, 0.0)
    q = _kept(survival, discount)
    if rent <= owned:
        return 0.0
    return inf if q == 1.0 else (rent - owned) / (1.0 - q)


def break_even(rent: float, owned: float, survival: float, price: float, discount: float = 0.0) -> BreakEven:
    """M* = ln(1 - A (1 - q) / (R - c)) / ln q: the months after which an opt-in that cost `price` (A) has paid.

    There is none when R <= c or A >= A*. At q = 1 it is A / (R - c); at q = 0 all is saved in the first month.
    """
    _within("price", price, 0.0)
    most = most_for_opt_in(rent, owned, survival, discount)
    q = _kept(survival, discount)
    if rent <= owned:
        return BreakEven(None, None, 0.0, "rent is cheaper")
    if price == 0.0:
        return BreakEven(0.0, 1, most, "free")
    if price >= most:
        return BreakEven(None, None, most, "too dear")
    if q == 1.0:
        months = price / (rent - owned)
    elif q == 0.0:
        months = 1.0
    else:
        months = log1p(-price * (1.0 - q) / (rent - owned)) / log(q)
    return BreakEven(months, max(1, ceil(months * (1 - SLACK))), most, "pays")


def _kept(survival: float, discount: float) -> float:
    """Survival and discount of a month together."""
    _within("survival", survival, 0.0, 1.0)
    return survival * discount_of_year(discount)


# ---- renting the same person again --------------------------------------------------------------------------------


def distinct_people(contacts: float, people: float) -> float:
    """Expected number of people met by `contacts` uniform draws among `people`: N (1 - (1 - 1/N)^m). Occupancy."""
    _within("contacts", contacts, 0.0)
    _within("people", people, 1.0)
    if people == 1.0:
        return min(1.0, contacts)
    return -people * expm1(contacts * log1p(-1.0 / people))


def rerent_index(contacts: float, people: float) -> float:
    """Expected share of contacts that rent someone again: 1 - U / m, for m uniform contacts over N people."""
    _within("contacts", contacts, 1.0)
    return 1.0 - distinct_people(contacts, people) / contacts


def nbd_reach(mean: float, k: float) -> float:
    """Share of people met at least once where contacts are negative binomial: 1 - (k / (k + mean))^k (Ehrenberg 1959).

    k: the lower, the more unequal people are; infinite = Poisson.
    """
    _within("mean", mean, 0.0)
    if not k > 0.0:
        raise ValueError(f"k = {k:g}: expected above 0")
    return -expm1(-mean) if k == inf else -expm1(-k * log1p(mean / k))


def nbd_rerent(mean: float, k: float) -> float:
    """Share of contacts that rent someone again under the same law: 1 - reach / mean."""
    if not mean > 0.0:
        raise ValueError(f"mean = {mean:g}: expected above 0")
    return 1.0 - nbd_reach(mean, k) / mean


# ---- the n-th contact ---------------------------------------------------------------------------------------------


def response(first: float, fade: float, n: int) -> float:
    """Responses per n-th contact, q1 g^(n - 1)."""
    _within("first", first, 0.0)
    _within("fade", fade, 0.0)
    _within("n", n, 1)
    return float(first * fade ** (n - 1))


def cost_per_response(price: float, first: float, fade: float, n: int) -> float:
    """What a response at the n-th contact costs: p / (q1 g^(n - 1)); infinite where none comes."""
    rate = response(first, fade, n)
    return price / rate if rate > 0.0 else inf


def optimal_cap(price: float, worth: float, first: float, fade: float) -> int | None:
    """The last contact that is worth its price: n* = 1 + floor(ln(p / (V q1)) / ln g); 0 = not even the first.

    price: of a contact; worth: of a response. None: no cap, for every contact pays (g >= 1, or it costs nothing).
    """
    _within("price", price, 0.0)
    _within("worth", worth, 0.0)
    _within("first", first, 0.0)
    _within("fade", fade, 0.0)
    gain = worth * first
    if gain < price * (1 - SLACK):
        return 0
    if price == 0.0 or fade >= 1.0:
        return None
    if fade == 0.0:
        return 1
    n = 1 + floor(log(price / gain) / log(fade))
    # at the edge, where a contact exactly pays, the quotient of two logarithms may fall on either side
    while n > 1 and gain * fade ** (n - 1) < price * (1 - SLACK):
        n -= 1
    while gain * fade**n >= price * (1 - SLACK):
        n += 1
    return n


# ---- from contacts to customers -----------------------------------------------------------------------------------


class Ladder(Struct, frozen=True):
    """What one more of each costs; infinite where none comes."""

    contact: float
    click: float
    conversion: float


def ladder(cpm: float, ctr: float, cvr: float) -> Ladder:
    """CPM -> cost per contact, per click, per conversion: CPM / 1000, / CTR, / CVR. A conversion is a new customer."""
    _within("cpm", cpm, 0.0)
    _within("ctr", ctr, 0.0, 1.0)
    _within("cvr", cvr, 0.0, 1.0)
    contact = cpm / 1000
    click = contact / ctr if ctr > 0 else inf
    return Ladder(contact, click, click / cvr if cvr > 0 else inf)


# ---- ad load ------------------------------------------------------------------------------------------------------


class AdLoad(Struct, frozen=True):
    """The load that earns a publisher the most impressions."""

    load: float  # ads a visit
    comes: float  # probability that a visitor comes at this load
    impressions: float  # expected, load x comes


def ad_load(utility: float, dislike: float) -> AdLoad:
    """Most impressions from visitors who come with probability e^(u - kappa a) / (e^(u - kappa a) + 1) at a load a.

    kappa a* = 1 + W(e^(u - 1)), P* = W / (1 + W), kappa a* P* = W(e^(u - 1)), with Lambert's W. utility: u, of a visit
    without ads over staying away; dislike: kappa, of one ad. The first-order condition 1 = kappa a (1 - P).
    """
    if not isfinite(utility):
        raise ValueError(f"utility = {utility:g}: expected a finite number")
    if not 0.0 < dislike < inf:
        raise ValueError(f"dislike = {dislike:g}: expected above 0")
    w = lambert_of_exp(utility - 1.0)
    return AdLoad((1.0 + w) / dislike, w / (1.0 + w), w / dislike)


def lambert_of_exp(x: float) -> float:
    """W(e^x), the w with w + ln w = x, for any finite x. Newton's method, Corless et al. (1996)."""
    if x < -36.0:
        return exp(x)  # w = e^(x - w), and w is below the last digit of 1
    w = x - log(x) if x > 2.0 else exp(x) / (1.0 + exp(x)) if x < 0.0 else 1.0
    for _ in range(60):
        step = (w + log(w) - x) * w / (1.0 + w)
        new = w - step if w > step else w / 2
        if abs(new - w) <= 1e-16 * new:
            return new
        w = new
    return w


# ---- intervals ----------------------------------------------------------------------------------------------------

Z95: Final = 1.959963984540054  # quantile of the normal distribution: 95 % within +- Z95
POWER80: Final = 0.8416212335729143  # and 80 % below this


class Interval(Struct, frozen=True):
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


def rate_interval(total: float, n: int, spread: float = 1.0, z: float = Z95) -> Interval:
    """Responses per person, `total` / n, by the score method: all means m with (x - m)^2 <= z^2 spread m / n.

    spread: variance / mean of one person's responses; 1 - p where each has 0 or 1. Then it is Wilson's (1927) interval
    but for terms of p^2.
    """
    _within("total", total, 0.0)
    _within("n", n, 1)
    mean, extra = total / n, z * z * spread / n
    half = (extra * mean + extra * extra / 4) ** 0.5
    # low = mean + extra / 2 - half, without the cancellation that would leave a residue where nothing was counted
    low = mean * mean / (mean + extra / 2 + half) if mean > 0 else 0.0
    return Interval(mean, low, mean + extra / 2 + half)


def difference_interval(one: Interval, other: Interval) -> Interval:
    """The difference of two independent means from their intervals (MOVER: Newcombe 1998; Zou and Donner 2008)."""
    value = one.value - other.value
    low = ((one.value - one.low) ** 2 + (other.high - other.value) ** 2) ** 0.5
    high = ((one.high - one.value) ** 2 + (other.value - other.low) ** 2) ** 0.5
    return Interval(value, value - low, value + high)


def people_needed(effect: float, mean: float, spread: float, treated_per_held: float) -> float:
    """People in a holdout so that an effect on the mean is seen with probability 80 % at the 5 % level.

    n = (z + z80)^2 spread mean (1 + 1 / r) / effect^2, r = treated people per person held out. Infinite for no effect.
    """
    _within("treated_per_held", treated_per_held, SLACK)
    if effect == 0.0:
        return inf
    return float((Z95 + POWER80) ** 2 * spread * mean * (1.0 + 1.0 / treated_per_held) / effect**2)
