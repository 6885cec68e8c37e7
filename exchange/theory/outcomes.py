"""What a game is expected to come to, over its kinds of people: of one item, or of several positions."""

import numpy as np

from exchange.theory.game import Game, NoForm
from exchange.theory.independent import Bidder, Outcome, auction, nothing, positions


def outcome(game: Game) -> tuple[float, Outcome]:
    """(expected net revenue, expected outcome) of a game, over its kinds of people."""
    revenue, total = 0.0, nothing(len(game.campaigns))
    for share, bidders in game.kinds:
        if game.slots:
            earned, one = _positions(game, bidders)
        else:
            rule = "second_price" if game.price_rule in ("myerson", "gsp", "vcg") else game.price_rule
            one = auction(bidders, rule, game.soft_floor)
            earned = float(one.paid.sum())
        revenue += share * earned
        total = total.mixed(one, share)
    return revenue, total


def _positions(game: Game, bidders: list[Bidder]) -> tuple[float, Outcome]:
    """Several positions: by sorting where every bid is fixed, else by order statistics."""
    if all(len(one.values.atoms) == 1 and one.present in (0.0, 1.0) for one in bidders):
        return fixed_positions(bidders, game.slots, game.price_rule)
    if any(one.quality != 1.0 or one.floor != bidders[0].floor for one in bidders):
        raise NoForm("random bids with floors or qualities that differ, in several positions")
    revenue, out = positions(bidders, game.slots, game.price_rule)
    out.paid[:] = np.nan  # not known bidder by bidder
    return revenue, out


def fixed_positions(bidders: list[Bidder], slots: list[float], price_rule: str) -> tuple[float, Outcome]:
    """(net revenue, outcome) of positions for fixed bids, ranked by quality x bid.

    gsp: slot j pays s_j x next score / own quality. vcg: the sum over the slots below of (s_{k-1} - s_k) x score of the
    bidder who would move up, / own quality. Source: Edelman, Ostrovsky, Schwarz (2007); Varian (2007).
    """
    out = nothing(len(bidders))
    value = [one.values.atoms[0][0] for one in bidders]
    bid = [float(one.bids(np.array([v]))[0]) * one.present for one, v in zip(bidders, value, strict=True)]
    alive = [i for i, one in enumerate(bidders) if bid[i] > 0 and bid[i] >= one.floor * (1 - 1e-12)]
    order = sorted(alive, key=lambda i: -bid[i] * bidders[i].quality)
    score = [bid[i] * bidders[i].quality for i in order] + [0.0] * (len(slots) + 1)
    for j, i in enumerate(order[: len(slots)]):
        least, own = bidders[i].floor, bidders[i].quality
        if price_rule == "gsp":
            paid = slots[j] * max(least, score[j + 1] / own)
        else:
            below = [*slots[1:], 0.0]
            paid = sum((slots[k] - below[k]) * max(least, score[k + 1] / own) for k in range(j, len(slots)))
        out.paid[i], out.value[i], out.wins[i] = paid, slots[j] * value[i], 1.0
    return float(out.paid.sum()), out
