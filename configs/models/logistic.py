"""A click model: logistic regression of clicks on what the exchange knows before an auction.

Trained with scikit-learn on a ledger (`train`), kept as weights in a JSON file, and asked by the exchange as
`model = "./logistic.py:Clicks"`: serving needs numpy only.

Source: Richardson, Dominowska, Ragno (2007), Predicting Clicks: Estimating the Click-Through Rate for New Ads.
Expect: a smaller log loss than any constant rate on a ledger it has not seen; a campaign that values clicks then
bids more where they are likely, and earns more from its budget.
"""

import json
from pathlib import Path

import numpy as np

WEIGHTS = Path(__file__).with_name("clicks.json")
COLUMNS = (
    ("device", range(5)),
    ("media", range(1, 5)),
    ("hour", range(24)),
    ("contacts", (0, 1, 2, 4)),
    ("own", (0, 1)),
)
SHOWN, CLICKED = (10, 14), (11, 15)  # kinds of events: billed impression, view; click, billed click


def features(contexts):
    """One column for each value of each field: float64[n, 39]."""
    return np.column_stack([contexts[name] == value for name, values in COLUMNS for value in values]).astype(float)


def impressions(ledger):
    """What was known before each impression that was seen (CONTEXT-like rows), and whether it was clicked."""
    wins, auctions, events = ledger.wins, ledger.auctions, ledger.events
    wins = wins[np.isin(wins["serial"], events["serial"][np.isin(events["kind"], SHOWN)])]
    clicked = np.isin(wins["serial"], events["serial"][np.isin(events["kind"], CLICKED)])
    # device, media and hour stand on the auction's own row: one an imp
    key = auctions["auction_id"] * np.uint64(256) + auctions["imp_ix"]
    order = np.argsort(key)
    found = order[np.searchsorted(key, wins["auction_id"] * np.uint64(256) + wins["imp_ix"], sorter=order)]
    contexts = np.zeros(len(wins), [(name, "u1") for name, _ in COLUMNS])
    for name in ("device", "media", "hour"):
        contexts[name] = auctions[name][found]
    least = np.array([0, 1, 2, 2, 4])
    contexts["contacts"], contexts["own"] = least[np.minimum(wins["contacts"], 4)], wins["flags"] & 1
    return contexts, clicked


def train(ledger, weights=WEIGHTS):
    """Fit the clicks of a ledger and write the weights. Returns the number of impressions learnt from."""
    from sklearn.linear_model import LogisticRegression

    contexts, clicked = impressions(ledger)
    fitted = LogisticRegression(max_iter=1_000).fit(features(contexts), clicked)
    found = {"intercept": float(fitted.intercept_[0]), "weights": fitted.coef_[0].tolist()}
    Path(weights).write_text(json.dumps(found) + "\n", encoding="utf-8")
    return len(clicked)


class Clicks:
    """The click rate of every context, by the weights in `clicks.json` beside this file."""

    def pctr(self, contexts):
        """Clicks per impression: float64[n], 0 to 1."""
        known = json.loads(WEIGHTS.read_text(encoding="utf-8"))
        score = known["intercept"] + features(contexts) @ np.array(known["weights"])
        return 1.0 / (1.0 + np.exp(-score))
