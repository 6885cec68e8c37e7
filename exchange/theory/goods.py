"""Discrete goods: a budgeted campaign that paces itself against fixed rival bids, in second and in first price.

The goods are the people of a population that comes in turn; a round sells each once; budgets are per round. The pacing
multiplier is the highest at which the budget holds; where the spend jumps over the budget the campaign wins a share of
the good at the jump. Sources: Conitzer, Kroer, Sodomka, Stier-Moses (2022), Multiplicative Pacing Equilibria in
Auction Markets (second price, SPPE); Conitzer et al. (2022), Pacing Equilibrium in First Price Auction Markets (FPPE).
"""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from exchange.bidding import resolve
from exchange.config import Campaign, Config
from exchange.theory.game import Game, NoForm, game_of
from exchange.theory.values import Floats

MEASURES = ("multiplier", "revenue", "spend", "share", "welfare")


@dataclass
class Paced:
    """A pacing equilibrium: the multiplier, the share won of the good at the jump (else 0), and the round's totals."""

    multiplier: float
    share: float
    revenue: float
    spend: float
    goods: float  # won by the paced campaign
    welfare: float


def campaigns(config: Config) -> dict[str, Campaign]:
    """Every campaign by brand/campaign, in order."""
    return {f"{a.name}/{c.name}": c for a in config.advertiser for c in a.campaign}


def with_rule(config: Config, names: set[str]) -> Config:
    """A copy in which these campaigns bid their values (the default rule) and have no budget."""
    copy = deepcopy(config)
    for name, campaign in campaigns(copy).items():
        if name in names:
            campaign.rule, campaign.knobs, campaign.budget = Campaign("one").rule, {}, None
    return copy


def targets(config: Config) -> dict[str, float]:
    """Campaigns whose rule has a knob `target_nano`, with it in CPM per auction. Raises NoForm without one."""
    found = {}
    for name, campaign in campaigns(config).items():
        defaults = resolve(campaign.rule, config.folder).defaults
        if "target_nano" in defaults:
            found[name] = float({**defaults, **campaign.knobs}["target_nano"]) / 1e6
    if not found:
        raise NoForm("no campaign has a knob target_nano")
    return found


def budgeted(config: Config) -> tuple[str, float]:
    """(the one campaign with a budget, its budget per round in CPM). Raises NoForm."""
    found = [(name, c.budget) for name, c in campaigns(config).items() if c.budget is not None]
    if len(found) != 1 or config.population.visits != "in_turn":
        raise NoForm("goods: one campaign with a budget, and a population that comes in turn")
    return found[0][0], float(found[0][1] or 0.0) * 1000


def multiplier_knob(config: Config, name: str) -> str:
    """The one knob of a campaign's rule: what it multiplies its values by. Raises NoForm."""
    campaign = campaigns(config)[name]
    defaults = resolve(campaign.rule, config.folder).defaults
    if len(defaults) != 1 or not isinstance(next(iter(defaults.values())), float):
        raise NoForm(f"{name}: a rule whose one knob is its multiplier, not {campaign.rule}")
    return str(next(iter(defaults)))


def expected(config: Config, measure: str, campaign: str) -> float:
    """What theory expects of a round: multiplier, revenue, spend, share (goods won) or welfare. Raises NoForm."""
    name, budget = budgeted(config)
    if measure not in MEASURES or (campaign and campaign != name):
        raise NoForm(f"goods: expected one of {', '.join(MEASURES)}, of {name}")
    game = game_of(with_rule(config, {name}))
    if game.price_rule not in ("first_price", "second_price") or game.markup != 1.0:
        raise NoForm("goods: first or second price, without fees")
    value, bids = matrices(game)
    found = paced(value, bids, game.campaigns.index(name), budget, game.price_rule == "first_price", game.floor)
    return float(getattr(found, "goods" if measure == "share" else measure))


def matrices(game: Game) -> tuple[Floats, Floats]:
    """(values, bids), each float[bidders, goods]; every good stands once. Raises NoForm for random values."""
    least = min(share for share, _ in game.kinds)
    columns = []
    for share, bidders in game.kinds:
        if any(len(one.values.atoms) != 1 or one.present != 1.0 for one in bidders):
            raise NoForm("goods: fixed values")
        one = [(b.values.atoms[0][0], float(b.bids(np.array([b.values.atoms[0][0]]))[0])) for b in bidders]
        columns += [one] * round(share / least)
    both = np.array(columns)
    return both[:, :, 0].T, both[:, :, 1].T


def paced(value: Floats, bids: Floats, me: int, budget: float, first_price: bool, floor: float = 0.0) -> Paced:
    """The equilibrium of one paced bidder `me` against fixed `bids`, both float[bidders, goods]; budget per round.

    He takes the goods in the order of rival bid / own value, cheapest first, until the budget is spent.
    """
    others = np.delete(bids, me, 0)
    rival = np.maximum(others.max(0, initial=0.0), floor)
    own = value[me]
    with np.errstate(divide="ignore"):
        ratio = np.where(own > 0, rival / own, np.inf)
    multiplier, share, at = 1.0, 0.0, -1
    won: list[int] = []
    for j in np.argsort(ratio, kind="stable").tolist():
        if ratio[j] > 1.0:
            break
        if first_price and won and budget / own[won].sum() <= ratio[j]:
            break
        before = ratio[j] * own[won].sum() if first_price else rival[won].sum()
        if before + rival[j] > budget:
            multiplier, share, at = float(ratio[j]), float((budget - before) / rival[j]), j
            break
        won.append(j)
    if at < 0 and first_price and won:
        multiplier = min(1.0, budget / float(own[won].sum()))
    return _totals(value, bids, me, multiplier, won, at, share, first_price, floor)


def _totals(
    value: Floats,
    bids: Floats,
    me: int,
    multiplier: float,
    won: list[int],
    at: int,
    share: float,
    first: bool,
    floor: float,
) -> Paced:
    """Revenue, spend and welfare of a round, good by good."""
    revenue = spend = welfare = 0.0
    for j in range(value.shape[1]):
        rivals = np.delete(bids[:, j], me)
        order = np.argsort(-rivals, kind="stable")
        top = float(rivals[order[0]]) if rivals.size else 0.0
        mine = multiplier * value[me, j]
        part = 1.0 if j in won else share if j == at else 0.0
        pay = mine if first else max(top, floor)
        spend += part * pay
        welfare += part * value[me, j]
        revenue += part * pay
        if part < 1.0 and rivals.size and top >= floor and top > 0:
            second = max(float(rivals[order[1]]) if rivals.size > 1 else 0.0, mine, floor)
            revenue += (1 - part) * (top if first else min(top, second))
            welfare += (1 - part) * float(np.delete(value[:, j], me)[order[0]])
    return Paced(multiplier, share, revenue, spend, len(won) + share, welfare)
