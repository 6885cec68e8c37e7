"""Auctions between bidders with independent private values: expected revenue, welfare and shares by quadrature.

Any mix of value distributions, any monotone bid curve, a floor for each bidder. With H_i the distribution of the best
qualified score among the others, bidder i who wins by bidding b pays in expectation

    second price   E[price; win] = b H_i(b) - integral of H_i from his floor to b
    first price    b H_i(b)

(integration by parts; Krishna (2010), Auction Theory, chapters 2, 3 and 5). Scores are bids, bids times a quality, or
virtual values (Myerson 1981): only H_i changes. Equal bids go to the lower index, which no expected total depends on
when the tied bidders value the win alike. All amounts are net CPM, values are gross CPM.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exchange.theory.values import Exponential, Floats, Uniform, Values, panels

Curve = Callable[[float], float]
_HALVINGS = 60
_LEAST = 1e-12  # relative slack of "reaches the floor", for floats that stand for equal integers


@dataclass(eq=False)
class Bidder:
    """One bidder: values (gross CPM) become net bids by `slope` x value / markup, or by `curve` where it is given."""

    values: Values
    slope: float = 1.0
    curve: Curve | None = None  # gross CPM -> gross CPM, never falling
    markup: float = 1.0  # gross / net
    present: float = 1.0  # probability of bidding at all
    floor: float = 0.0  # least net bid that counts
    quality: float = 1.0  # score of a bid = quality x bid
    ranking: Values | None = None  # score of a bid = its virtual value in this distribution (net CPM)
    cuts: tuple[float, ...] = field(default=())  # values at which the curve jumps or bends

    def bids(self, values: Floats) -> Floats:
        """Net bids at these values."""
        if self.curve is None:
            return values * (self.slope / self.markup)
        return np.array([self.curve(v) for v in values.tolist()]) / self.markup

    def _inverse(self, bids: Floats, strict: bool) -> Floats:
        """The highest value (gross) whose net bid is at most (`strict`: below) each of `bids`; -1 = none."""
        if self.curve is None:
            return bids * (self.markup / self.slope) if self.slope > 0 else np.full(bids.shape, np.inf)
        low, high = np.full(bids.shape, -1.0), np.full(bids.shape, self.values.high)
        top = self.bids(high[:1])[0] if high.size else 0.0
        whole = top < bids if strict else top <= bids
        left = np.full(bids.shape, self.values.low)
        for _ in range(_HALVINGS):
            middle = (left + high) / 2
            found = self.bids(middle)
            under = found < bids if strict else found <= bids
            low = np.where(under, middle, low)
            left, high = np.where(under, middle, left), np.where(under, high, middle)
        return np.where(whole, self.values.high, low)

    def at_most(self, bids: Floats) -> Floats:
        """P(net bid <= b); a bidder who stays away bids nothing."""
        return self._share(np.asarray(bids, float), False)

    def under(self, bids: Floats) -> Floats:
        """P(net bid < b)."""
        return self._share(np.asarray(bids, float), True)

    def _share(self, bids: Floats, strict: bool) -> Floats:
        if self.values.atoms:
            points, weights = (np.array(x) for x in zip(*self.values.atoms, strict=True))
            own = self.bids(points)
            hit = own[None, :] < bids[:, None] if strict else own[None, :] <= bids[:, None]
            share = hit @ weights
        elif self.curve is None and self.slope <= 0:
            share = np.where(bids > 0 if strict else bids >= 0, 1.0, 0.0)
        else:
            inverse = self._inverse(bids, strict)
            share = np.where(inverse < self.values.low, 0.0, self.values.cdf(np.maximum(inverse, self.values.low)))
        found: Floats = 1.0 - self.present + self.present * share
        return found

    def counted(self, bids: Floats, strict: bool) -> Floats:
        """P(qualified net bid <= b) (`strict`: < b): one below the floor counts as none."""
        none = self.under(np.array([self.floor * (1 - _LEAST)]))[0] if self.floor > 0 else 0.0
        share = self.under(bids) if strict else self.at_most(bids)
        share = np.where(bids < self.floor * (1 - _LEAST), none, share)
        return np.where(bids <= 0, 0.0, share) if strict else np.where(bids < 0, 0.0, share)

    def score(self, bids: Floats) -> Floats:
        """What bids are ranked by."""
        if self.ranking is None:
            return bids * self.quality
        return np.array([virtual_value(self.ranking, b) for b in bids.tolist()])

    def unscore(self, scores: Floats) -> Floats:
        """The bid that has each score."""
        if self.ranking is None:
            return scores / self.quality
        return np.array([virtual_inverse(self.ranking, s) for s in scores.tolist()])

    def edges(self) -> Floats:
        """Net bids where this bidder's distribution has a kink or a jump, and enough between for one panel each."""
        points = np.unique(np.concatenate((self.values.edges(), np.array(self.cuts))))
        return np.unique(np.concatenate((self.bids(points), [self.floor])))


def virtual_value(values: Values, v: float) -> float:
    """v - (1 - F(v)) / f(v): the marginal revenue of a bidder who has the value v. Source: Myerson (1981).

    Straight lines (uniform 2 v - high, exponential v - mean) go on outside the support, as in the exchange.
    """
    if isinstance(values, Uniform):
        return 2 * v - values.high
    if isinstance(values, Exponential):
        return v - values.scale
    density = values.pdf(v)
    if density <= 0.0:
        return v if v >= values.high else -np.inf
    return v - float(1.0 - values.cdf(np.array([v]))[0]) / density


def virtual_inverse(values: Values, score: float) -> float:
    """The least value whose virtual value reaches `score` (regular distributions)."""
    if isinstance(values, Uniform):
        return (score + values.high) / 2
    if isinstance(values, Exponential):
        return score + values.scale
    low, high = values.low, values.high
    if virtual_value(values, low) >= score:
        return low
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if virtual_value(values, middle) < score else (low, middle)
    return high


@dataclass
class Outcome:
    """What an auction is expected to bring, each float[n bidders]: net payment, gross value won, chance to win."""

    paid: Floats
    value: Floats
    wins: Floats

    def mixed(self, other: "Outcome", weight: float) -> "Outcome":
        """This outcome plus `weight` times another, for a mixture of kinds of people."""
        return Outcome(
            self.paid + weight * other.paid, self.value + weight * other.value, self.wins + weight * other.wins
        )


def nothing(n: int) -> Outcome:
    """The outcome of no auction at all."""
    return Outcome(np.zeros(n), np.zeros(n), np.zeros(n))


def auction(bidders: list[Bidder], price_rule: str, soft_floor: float = 0.0) -> Outcome:
    """Expected outcome of one auction of one item.

    price_rule: second_price, first_price, soft_floor (a winner at or above `soft_floor` pays at least that, one below
    it his bid), posted_price (see `posted`) or all_pay (everyone who reaches the floor pays his bid).
    """
    if price_rule == "posted_price":
        return posted(bidders)
    out = nothing(len(bidders))
    shared = Shared(bidders, soft_floor)
    for i, me in enumerate(bidders):
        v, w, b, best = shared.at_nodes(i)
        ok = w * (b >= me.floor * (1 - _LEAST)) * (b > 0)
        out.wins[i], out.value[i] = float(ok @ best), float((ok * v) @ best)
        if price_rule == "all_pay":
            out.paid[i] = float(ok @ b)
        elif price_rule == "first_price":
            out.paid[i] = float((ok * b) @ best)
        elif price_rule == "soft_floor" and soft_floor > me.floor:
            low = b < soft_floor * (1 - _LEAST)
            rent = shared.rent(i, soft_floor)
            out.paid[i] = float((ok * b) @ best) - rent if (~low).any() else float((ok * b) @ best)
        else:
            out.paid[i] = float((ok * b) @ best) - shared.rent(i, me.floor)
    return out


def posted(bidders: list[Bidder]) -> Outcome:
    """Expected outcome where a draw decides among those who take the price, their floor, and the one drawn pays it.

    With q_j the chance that j takes it, i who takes it is drawn with the integral over t from 0 to 1 of the product of
    1 - q_j t over the others.
    """
    out = nothing(len(bidders))
    t, weight = panels(np.linspace(0.0, 1.0, 9))
    takes = [1.0 - float(one.under(np.array([max(one.floor * (1 - _LEAST), 1e-9)]))[0]) for one in bidders]
    for i, me in enumerate(bidders):
        others = np.prod([1.0 - q * t for j, q in enumerate(takes) if j != i] or [np.ones_like(t)], axis=0)
        drawn = float(weight @ others)
        v, w = me.values.nodes(np.concatenate((me._inverse(np.array([me.floor]), True), np.array(me.cuts))))
        b = me.bids(v)
        out.value[i] = drawn * me.present * float((w * (b >= me.floor * (1 - _LEAST)) * (b > 0)) @ v)
        out.wins[i] = drawn * takes[i]
        out.paid[i] = me.floor * out.wins[i]
    return out


class Shared:
    """What the bidders of one auction have in common: the points between which everything is smooth, and H_i."""

    def __init__(self, bidders: list[Bidder], soft_floor: float) -> None:
        self.bidders = bidders
        kinds: dict[int, Bidder] = {}
        for one in bidders:
            kinds.setdefault(self._kind(one), one)
        scores = [one.score(one.edges()) for one in kinds.values()]
        scores += [one.score(np.array([soft_floor])) for one in kinds.values()] if soft_floor > 0 else []
        joined = np.concatenate(scores)
        self.scores = np.unique(joined[np.isfinite(joined)])
        self.found: dict[tuple[int, int, bool, bool], Floats] = {}

    def _kind(self, one: Bidder) -> int:
        return id(one)

    def _best(self, i: int, scores: Floats, at_nodes: bool) -> Floats:
        """H_i at these scores of bidder i's bids: P(no other qualified score is above it, ties to the lower index)."""
        product = np.ones(len(scores))
        for j, other in enumerate(self.bidders):
            if j == i:
                continue
            strict = at_nodes and j < i
            key = (self._kind(self.bidders[i]), self._kind(other), strict, at_nodes)
            if key not in self.found:
                self.found[key] = other.counted(other.unscore(scores), strict)
            product *= self.found[key]
        return product

    def at_nodes(self, i: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Bidder i's (values, weights, net bids, H_i at those bids)."""
        me = self.bidders[i]
        cuts = me.unscore(self.scores)
        edges = np.concatenate((me._inverse(cuts, False), me._inverse(cuts, True), np.array(me.cuts)))
        v, w = me.values.nodes(edges)
        b = me.bids(v)
        return v, w * me.present, b, self._best(i, me.score(b), True)

    def rent(self, i: int, floor: float) -> float:
        """E[integral of H_i from `floor` to bidder i's bid]: what second price leaves him of his bid."""
        me = self.bidders[i]
        edges = np.unique(np.concatenate((me.unscore(self.scores), me.edges(), [floor])))
        edges = edges[edges >= floor]
        if len(edges) < 2:
            return 0.0
        t, w = panels(edges)
        return float((w * self._best(i, me.score(t), False)) @ (1.0 - me.under(t)))


# ---- several positions -----------------------------------------------------------------------------------------


def ranks(bidders: list[Bidder], at: Floats, most: int, skip: int = -1) -> NDArray[np.float64]:
    """P(exactly k qualified bids above x), float[most + 1, len(at)], without bidder `skip`; last row: most or more."""
    table = np.zeros((most + 1, len(at)))
    table[0] = 1.0
    for j, one in enumerate(bidders):
        if j == skip:
            continue
        above = 1.0 - one.counted(at, strict=j < skip)  # equal bids go to the lower index
        moved = table * above
        table *= 1.0 - above
        table[1:] += moved[:-1]
        table[most] += moved[most]
    return table


def positions(bidders: list[Bidder], slots: list[float], price_rule: str) -> tuple[float, Outcome]:
    """(expected net revenue, outcome without payments) of several positions; one floor for all, quality 1.

    price_rule: gsp (the winner of a slot pays the next bid) or vcg (he pays what his presence costs the others).
    Slot j of gsp earns s_j E[max(next bid, floor)]; in vcg every bid below adds its step (s_{k-1} - s_k).
    Source: Edelman, Ostrovsky, Schwarz (2007).
    """
    n, k = len(bidders), len(slots)
    floor, shared = bidders[0].floor, Shared(bidders, 0.0)
    out = nothing(n)
    for i in range(n):
        v, w, b, _ = shared.at_nodes(i)
        ahead = ranks(bidders, b, k, skip=i)[:k]
        ok = w * (b >= floor * (1 - _LEAST)) * (b > 0)
        out.value[i] = float((ok * v) @ (np.array(slots) @ ahead))
        out.wins[i] = float(ok @ ahead.sum(0))
    edges = np.unique(np.concatenate(([floor], shared.scores[shared.scores > floor])))
    x, w = panels(edges)
    tail = 1.0 - np.cumsum(ranks(bidders, x, k + 1), 0)  # row m: P(more than m bids above x)
    here = 1.0 - np.cumsum(ranks(bidders, np.array([floor * (1 - _LEAST) if floor else 0.0]), k + 1), 0)[:, 0]
    over = [float(w @ tail[m]) for m in range(k + 1)]  # E[(bid m + 1 - floor)+]
    steps = [s - t for s, t in zip(slots, [*slots[1:], 0.0], strict=True)]
    revenue = 0.0
    for j in range(k):
        if price_rule == "gsp":
            revenue += slots[j] * (floor * here[j] + over[j + 1])
        else:
            revenue += sum(steps[m] * (floor * here[j] + over[m + 1]) for m in range(j, k))
    return revenue, out
