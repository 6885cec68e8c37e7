"""What the equilibrium rules say to expect: among their kind nobody gains by bidding otherwise."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from bidders.equilibrium import EquilibriumAllPay, EquilibriumFirstPrice, EquilibriumSoftFloor

GRID = 400  # values that stand for U(0, 1)
SLACK = 0.004  # of a grid that coarse


def best_reply(rule: Any, pays: Any, rivals: int, floor: float, soft: float = 0.0) -> float:
    """The most that any value gains by any other bid, on a grid, CPM; pays(bid, rival bids, chances) -> payment."""
    me = SimpleNamespace(rivals=rivals, high_nano=1_000_000, soft_floor_nano=round(soft * 1e6))
    imp = SimpleNamespace(floor=round(floor * 1e6))
    values = (np.arange(GRID) + 0.5) / GRID
    bids = np.array([rule.price(round(v * 1e6), imp, me) for v in values.tolist()]) / 1e6
    assert (np.diff(bids) >= 0).all() and (bids <= values).all()
    top = ((np.arange(GRID) + 1) / GRID) ** rivals  # P(best rival is at most the k-th value)
    chances = np.diff(top, prepend=0.0)
    gain = -np.inf
    for v, own in zip(values.tolist(), bids.tolist(), strict=True):
        worth = []
        for bid in (own, 0.0, *np.linspace(max(floor, 1e-6), 1.0, 60)):
            if bid <= 0 or bid < floor:
                worth.append(0.0)
                continue
            won = chances * np.where(bids < bid - 1e-9, 1.0, np.where(bids > bid + 1e-9, 0.0, 0.5))
            worth.append(v * won.sum() - pays(bid, bids, won))
        gain = max(gain, max(worth) - worth[0])
    return float(gain)


def first_price_behaves() -> None:
    """The winner pays his bid."""
    for rivals, floor in ((1, 0.0), (2, 0.5), (4, 0.2)):
        assert best_reply(EquilibriumFirstPrice, lambda bid, rival, won: bid * won.sum(), rivals, floor) < SLACK


def all_pay_behaves() -> None:
    """Everyone pays his bid, won or not."""
    for rivals, floor in ((1, 0.0), (4, 0.0), (2, 0.3)):
        assert best_reply(EquilibriumAllPay, lambda bid, rival, won: bid, rivals, floor) < SLACK


def soft_floor_behaves() -> None:
    """Below the soft floor the own bid, from there on the higher of it and the best rival bid."""
    for rivals, soft in ((2, 0.4), (1, 0.3), (3, 0.9)):
        best_reply_gain = best_reply(
            EquilibriumSoftFloor,
            lambda bid, rival, won, s=soft: bid * won.sum() if bid < s else (np.maximum(rival, s) * won).sum(),
            rivals, 0.0, soft,
        )  # fmt: skip
        assert best_reply_gain < SLACK


BEHAVES = {
    "equilibrium_all_pay": all_pay_behaves,
    "equilibrium_first_price": first_price_behaves,
    "equilibrium_soft_floor": soft_floor_behaves,
}
