"""The life of an award: `hold` (a win), then what arrives for it in any order, and `release` (the expiry).

What is recorded, and the state after it, stands in one table: `market/life.py`. The billable event (`bill`) settles the
hold, a refund gives back what was paid; nothing else moves money or contacts. Each step writes its own journal row, and
at every instant `spent + held + available = budget`. Expiry is an event with a time of its own: it is carried out
before the next step at or after that time, live as in a replay.

Every arrival but a refund counts once per award. An ad is *seen* at its impression, or at its click where impressions
are not billed: that moves it from the open holds to the ads shown.
"""

from exchange.awards.arrivals import event, event_at, happen
from exchange.awards.contacts import CAMPAIGN_CELL, own_cell, remember
from exchange.awards.holds import advance, advance_to, hold, release, rouse, rouse_one, wake

__all__ = [
    "CAMPAIGN_CELL",
    "advance",
    "advance_to",
    "event",
    "event_at",
    "happen",
    "hold",
    "own_cell",
    "release",
    "remember",
    "rouse",
    "rouse_one",
    "wake",
]
