"""Closed forms: what theory expects of a config, computed from the config alone.

`expected(config, form, measure)` is the one entry. The forms, beside the general auction of independent.py: revenue
equivalence, equilibrium bids, the optimal reserve, best shading in first price, pacing multipliers, discrete goods.
"""

from collections.abc import Callable

import numpy as np

from exchange.config import Config
from exchange.theory import contacts, goods
from exchange.theory.game import Game, NoForm, game_of, myerson_reserve
from exchange.theory.independent import Bidder, Outcome, auction
from exchange.theory.outcomes import outcome
from exchange.theory.values import Floats, Values, panels

_GOLDEN = (5**0.5 - 1) / 2
_SWEEPS = 200


def expected(config: Config, form: str, measure: str, other: Config | None = None) -> float:
    """What theory expects of `measure` ("revenue", or of one campaign: "bid@brand/campaign"). Raises NoForm.

    form: a key of FORMS, or `difference` of the same measure in `config` and `other`.
    """
    if form == "difference":
        if other is None:
            raise NoForm("no other config to compare with")
        return expected(config, "auction", measure) - expected(other, "auction", measure)
    name, _, campaign = measure.partition("@")
    return FORMS[form](config, name, campaign)


# ---- auctions of given bids --------------------------------------------------------------------------------------


def _auction(config: Config, measure: str, campaign: str) -> float:
    """Any format with the bids that the config's rules make, whether or not they are an equilibrium."""
    game = game_of(config)
    if measure == "torn":
        return 0.0
    if measure == "event_price":
        return _event_price(config)
    if measure in ("bid", "bid_to_value"):
        return _bid(game, campaign, measure)
    if measure == "price" and game.price_rule == "all_pay":
        game.price_rule = "first_price"  # what the winner pays; the losers' bids are no price
    revenue, out = outcome(game)
    return _measured(game, revenue, out, measure, campaign)


def _measured(game: Game, revenue: float, out: Outcome, measure: str, campaign: str) -> float:
    """One measure of an expected outcome."""
    pick = slice(None)
    if campaign:
        ix = index_of(game, campaign)
        pick = slice(ix, ix + 1)
        revenue = float(out.paid[ix])
    wins, value = float(out.wins[pick].sum()), float(out.value[pick].sum())
    sold = wins if not game.slots else _sold(game)
    found = {
        "revenue": revenue,
        "buyer": revenue * game.markup,
        "spend": revenue * game.markup,
        "publisher": revenue * game.publisher,
        "welfare": value,
        "surplus": value - revenue * game.markup,
        "sale_rate": sold,
        "share": wins,
        "price": revenue / wins if wins else 0.0,
        "winning_value": value / wins if wins else 0.0,
    }
    if measure == "anarchy":
        return best_welfare(game) / value
    if measure not in found or not np.isfinite(found[measure]):
        raise NoForm(f"no closed form for {measure} here")
    return found[measure]


def _sold(game: Game) -> float:
    """Chance that at least one position is sold: that not every bidder stays below his floor."""
    none = 0.0
    for share, bidders in game.kinds:
        none += share * float(np.prod([one.counted(np.zeros(1), False)[0] for one in bidders]))
    return 1.0 - none


def best_welfare(game: Game) -> float:
    """What the best allocation of one item is worth: the highest value."""
    total = 0.0
    for share, bidders in game.kinds:
        total += share * float(auction([truthful(one, 0.0) for one in bidders], "first_price").value.sum())
    return total


def truthful(one: Bidder, floor: float) -> Bidder:
    """The same bidder bidding his value."""
    return Bidder(one.values, markup=one.markup, floor=floor)


def index_of(game: Game, campaign: str) -> int:
    """Which bidder a campaign is. Raises NoForm."""
    if campaign not in game.campaigns:
        raise NoForm(f"no campaign {campaign!r}")
    return game.campaigns.index(campaign)


def _bid(game: Game, campaign: str, measure: str) -> float:
    """Mean gross bid, or mean ratio of bid to value, of one campaign or of all."""
    total = 0.0
    for share, bidders in game.kinds:
        chosen = [bidders[index_of(game, campaign)]] if campaign else bidders
        for one in chosen:
            v, w = one.values.nodes(np.array(one.cuts))
            bids = one.bids(v) * one.markup
            ratio = np.divide(bids, v, out=np.zeros_like(v), where=v > 0)
            total += share * one.present * float(w @ (ratio if measure == "bid_to_value" else bids)) / len(chosen)
    return total


def _event_price(config: Config) -> float:
    """Price of a click where campaigns of fixed values are ranked by eCPM: next eCPM / own click rate, currency.

    A bid per click of v ranks with v x rate; the winner pays what would just keep his rank. Source: Varian (2007).
    """
    game, ads = game_of(config), [c for a in config.advertiser for c in a.campaign]
    if config.auction.format == "first_price" or any(c.bill != "click" for c in ads) or len(game.kinds) > 1:
        raise NoForm("the price of a click: second price among campaigns billed by the click")
    ecpm = [float(one.bids(np.array([one.values.mean()]))[0]) for one in game.kinds[0][1]]
    if not all(len(one.values.atoms) == 1 for one in game.kinds[0][1]):
        raise NoForm("the price of a click: fixed values")
    first, second = [*sorted(range(len(ecpm)), key=lambda i: -ecpm[i]), -1][:2]
    after = max(ecpm[second] if second >= 0 else 0.0, game.floor)
    return after / 1000 / ads[first].pctr


# ---- equilibria --------------------------------------------------------------------------------------------------


def _revenue_equivalence(config: Config, measure: str, campaign: str) -> float:
    """Any format in its symmetric equilibrium earns what second price with truthful bids and the same floor earns.

    Source: Myerson (1981); for the soft floor Zeithammer (2019): it leaves the equilibrium revenue unchanged.
    """
    game = game_of(config)
    game.kinds = [(share, _symmetric(bidders)) for share, bidders in game.kinds]
    game.price_rule, game.soft_floor, game.slots = "second_price", 0.0, []
    revenue, out = outcome(game)
    return _measured(game, revenue, out, measure, campaign)


def _symmetric(bidders: list[Bidder]) -> list[Bidder]:
    """The same bidders bidding their values; refused when they differ."""
    kinds = {repr((vars(b.values) if not b.values.atoms else b.values.atoms, b.floor)) for b in bidders}
    if len(kinds) > 1:
        raise NoForm("revenue equivalence needs bidders that are alike")
    one = truthful(bidders[0], bidders[0].floor)
    return [one] * len(bidders)


def first_price_bid(values: Values, n: int, floor: float, v: float) -> float:
    """Equilibrium bid of value v among n alike: v - integral of F^(n-1) from the floor to v / F(v)^(n-1); 0 below it.

    Source: Riley and Samuelson (1981).
    """
    return v - _integral(values, n, floor, v) / float(values.cdf(np.array([v]))[0]) ** (n - 1) if v >= floor else 0.0


def all_pay_bid(values: Values, n: int, floor: float, v: float) -> float:
    """Equilibrium bid where everyone pays: v F(v)^(n-1) - integral of F^(n-1) from the floor's entry value to v.

    With a floor r the lowest type that enters has x F(x)^(n-1) = r. Source: Krishna (2010), chapter 3.
    """
    low, high = max(values.low, 0.0), values.high
    for _ in range(200 if floor > 0 else 0):
        middle = (low + high) / 2
        enters = middle * float(values.cdf(np.array([middle]))[0]) ** (n - 1) >= floor
        low, high = (low, middle) if enters else (middle, high)
    entry = high if floor > 0 else values.low
    if v < entry:
        return 0.0
    return v * float(values.cdf(np.array([v]))[0]) ** (n - 1) - _integral(values, n, entry, v)


def _integral(values: Values, n: int, low: float, high: float) -> float:
    """Integral of F^(n-1) between two values."""
    if high <= low:
        return 0.0
    inside = values.edges()
    x, w = panels(np.unique(np.concatenate(([low, high], inside[(inside > low) & (inside < high)]))))
    return float(w @ values.cdf(x) ** (n - 1))


def _equilibrium_bid(config: Config, measure: str, campaign: str) -> float:
    """The equilibrium bid of a campaign with a fixed value, among rivals that share one distribution (gross)."""
    game = game_of(config)
    ix = index_of(game, campaign)
    bidders = game.kinds[0][1]
    rivals = [one for k, one in enumerate(bidders) if k != ix]
    if measure != "bid" or len(game.kinds) > 1 or len(bidders[ix].values.atoms) != 1 or not rivals:
        raise NoForm("an equilibrium bid: measure = bid@campaign, of a campaign with a fixed value and rivals")
    values, v = _symmetric(rivals)[0].values, bidders[ix].values.atoms[0][0]
    n, floor = len(bidders), game.floor * game.markup
    if game.price_rule == "first_price":
        return first_price_bid(values, n, floor, v)
    if game.price_rule == "all_pay":
        return all_pay_bid(values, n, floor, v)
    if game.price_rule == "soft_floor":
        shaded = first_price_bid(values, n, floor, v)
        return v if shaded >= game.soft_floor * game.markup else shaded
    return v


def _reserve(config: Config, measure: str, campaign: str) -> float:
    """Myerson's optimal reserve for the values of the campaign (net CPM), which a lone bidder pays."""
    game = game_of(config)
    if measure != "price":
        raise NoForm("the optimal reserve: measure = price")
    one = game.kinds[0][1][index_of(game, campaign) if campaign else 0]
    return myerson_reserve(one.values) / one.markup


# ---- best responses and pacing -----------------------------------------------------------------------------------


def _shading(config: Config, measure: str, campaign: str) -> float:
    """The best first-price bid of a campaign against the others' bids: the b with (v - b) H(b) at its maximum.

    Source: the first-order condition H(b) = (v - b) h(b). Measures: bid, surplus.
    """
    game = game_of(_without_rule(config, campaign))
    ix = index_of(game, campaign)
    if game.price_rule != "first_price" or len(game.kinds) > 1 or measure not in ("bid", "surplus"):
        raise NoForm("shading: bid@ or surplus@ a campaign, in first price")
    bidders = game.kinds[0][1]
    me = bidders[ix]
    rivals = [one for k, one in enumerate(bidders) if k != ix]
    bid = surplus = 0.0
    v, w = me.values.nodes(np.zeros(0))
    for value, weight in zip(v.tolist(), w.tolist(), strict=True):
        best = best_bid(lambda b: _win(rivals, b), value / me.markup, me.floor)
        bid += weight * best * me.markup
        surplus += weight * (value - best * me.markup) * _win(rivals, best)
    return bid if measure == "bid" else surplus


def _win(rivals: list[Bidder], bid: float) -> float:
    """P(a net bid beats every rival)."""
    at = np.array([bid])
    return float(np.prod([one.counted(at, False)[0] for one in rivals]))


def best_bid(win: Callable[[float], float], value: float, floor: float) -> float:
    """The bid in [floor, value] with the highest (value - bid) x win(bid): a grid, then golden section."""
    if value <= floor:
        return 0.0
    grid = np.linspace(floor, value, 201)
    top = int(np.argmax([(value - b) * win(b) for b in grid.tolist()]))
    low, high = float(grid[max(0, top - 1)]), float(grid[min(200, top + 1)])
    for _ in range(80):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if (value - left) * win(left) >= (value - right) * win(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def _without_rule(config: Config, campaign: str) -> Config:
    """The config with a campaign that bids its value: only its values are of interest."""
    return goods.with_rule(config, {campaign})


def _pacing(config: Config, measure: str, campaign: str) -> float:
    """The multipliers at which each paced campaign spends its target per auction: bid = multiplier x value.

    A paced campaign is one with a knob `target_nano`; one that cannot spend its target has the multiplier 1.
    Source: Balseiro, Besbes, Weintraub (2015); Balseiro and Gur (2019). Measures: bid_to_value@campaign, and those of
    the auction.
    """
    paced = goods.targets(config)
    game = game_of(goods.with_rule(config, set(paced)))
    alike: dict[tuple[int, float], list[int]] = {}
    for name, target in paced.items():
        ix = index_of(game, name)
        alike.setdefault((id(game.kinds[0][1][ix]), target), []).append(ix)
    multiplier = np.ones(len(game.campaigns))
    for _ in range(_SWEEPS if len(alike) > 1 else 1):
        before = multiplier.copy()
        for (_, target), members in alike.items():
            _bisect(game, multiplier, members, target)
        if float(np.abs(multiplier - before).max()) < 1e-10:
            break
    if measure == "bid_to_value":
        return float(multiplier[index_of(game, campaign)])
    revenue, out = outcome(_scaled(game, multiplier))
    return _measured(game, revenue, out, measure, campaign)


def _bisect(game: Game, multiplier: Floats, members: list[int], target: float) -> None:
    """Set the common multiplier of `members` so that each spends `target` (gross CPM per auction), or to 1."""
    low, high = 0.0, 1.0
    for _ in range(50):
        multiplier[members] = middle = (low + high) / 2
        _, out = outcome(_scaled(game, multiplier))
        spend = float(out.paid[members].mean()) * game.markup
        low, high = (middle, high) if spend < target else (low, middle)
    multiplier[members] = high


def _scaled(game: Game, multiplier: Floats) -> Game:
    """The game with every bid multiplied; bidders that were one object stay one."""
    kinds = []
    for share, bidders in game.kinds:
        made: dict[tuple[int, float], Bidder] = {}
        scaled = []
        for one, factor in zip(bidders, multiplier.tolist(), strict=True):
            key = (id(one), factor)
            if key not in made:
                slope = one.slope * factor
                made[key] = Bidder(one.values, slope, one.curve, one.markup, one.present, one.floor, one.quality)
            scaled.append(made[key])
        kinds.append((share, scaled))
    rest = (game.campaigns, game.price_rule, game.slots, game.soft_floor, game.floor, game.markup, game.publisher)
    return Game(kinds, *rest)


def _goods(config: Config, measure: str, campaign: str) -> float:
    """Pacing equilibrium of goods with known values (goods.py)."""
    return goods.expected(config, measure, campaign)


def _stated(config: Config, measure: str, campaign: str) -> float:
    """No form: the config states what is expected."""
    raise NoForm("the config states what is expected")


FORMS: dict[str, Callable[[Config, str, str], float]] = {
    "auction": _auction,
    "revenue_equivalence": _revenue_equivalence,
    "equilibrium_bid": _equilibrium_bid,
    "reserve": _reserve,
    "shading": _shading,
    "pacing": _pacing,
    "goods": _goods,
    "regret": _stated,
    "stated": _stated,
    "occupancy": contacts.occupancy,
}
