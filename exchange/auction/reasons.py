"""Why campaigns are not asked, counted on a sample of the requests: what the metric of the same name shows.

Every SAMPLE_EVERY-th request, before its sale, looks at SAMPLE_CAMPAIGNS campaigns and counts the first thing that
keeps each from being asked. Which ones follows from how many requests came before, so a run repeats; nothing that a
sale reads is changed. Of a target it is the attribute of the first leaf that fails, in the clause that got furthest.
"""

from typing import Final

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from exchange import market as mk
from exchange import state as st
from exchange.auction.limits import admitted, held_out, refused, spendable, turn
from exchange.auction.sell import learn_of, relate
from exchange.auction.stock import ENDED as FOR_GOOD
from exchange.auction.venue import Venue
from exchange.audience import query as qy
from exchange.audience import targets as tg
from exchange.audience.attributes import ATTRIBUTES
from exchange.audience.program import HOME
from exchange.audience.reasons import first_failing
from exchange.metrics import CAMPAIGNS_MAX, SAMPLE_CAMPAIGNS, SAMPLE_EVERY

_OF_MARKET: Final = (
    "asked", "paused", "flight", "ended", "advertiser_blocked", "no_creative_fits", "creative_blocked",
    "budget", "daily_budget", "pacing", "cap", "holdout",
)  # fmt: skip
ASKED, PAUSED, FLIGHT, ENDED, ADVERTISER, FIT, BLOCKED, BUDGET, DAILY, PACING, CAP, HELD_OUT = range(len(_OF_MARKET))
REASONS: Final = (*_OF_MARKET, *(f"target_{a.name}" for a in ATTRIBUTES if not a.hidden))


def _codes() -> NDArray[np.int64]:
    """The reason by the slot of the attribute that fails: int64[HEAD]; a campaign without any clause has ended."""
    codes = np.full(qy.HEAD, ENDED, np.int64)
    for attribute in ATTRIBUTES:
        shown = {"under": "domain"}.get(attribute.name, attribute.name)
        if not attribute.hidden or shown != attribute.name:
            codes[qy.SLOT[attribute.name]] = REASONS.index(f"target_{shown}")
    codes[qy.FIT] = FIT
    return codes


_CODES: Final = _codes()


@njit(cache=True, nogil=True, inline="always")
def why(v, audience, o, q, c):  # type: ignore[no-untyped-def]
    """The code (of REASONS) of the first thing that keeps campaign c from being asked for the selected imp o."""
    me = st.campaign(v, c)
    alive = carray(st.at(audience.alive), audience.n_words, np.uint64)
    if not alive[c >> 6] >> np.uint64(c & 63) & np.uint64(1):
        if me.paused:
            return ENDED if me.paused == FOR_GOOD else PAUSED
        if v.now_ns < me.start_ns or v.now_ns >= me.end_ns:
            return FLIGHT
        return BUDGET if me.available <= 0 else ENDED
    n_contacts = v.people_size * v.n_advertisers + v.pairs_size
    at = st.contact_ix(v, o.person_key, me.advertiser, False)
    contact = carray(st.at(v.contacts), n_contacts + 1, mk.CONTACT)[at if at >= 0 else n_contacts]
    home = carray(st.at(audience.homes), audience.n_campaigns, HOME)[c]
    if home.relative:
        relate(v, q, contact, o.person_key)
    slot = first_failing(audience, home)
    if slot >= 0:
        return _CODES[slot]
    if refused(q, me.advertiser):
        return ADVERTISER
    if turn(v, o, me, c, q) < 0:
        return BLOCKED
    if spendable(v, me) <= 0:
        if me.available <= 0:
            return BUDGET
        return DAILY if me.daily - me.day_used <= 0 else PACING
    if not admitted(v, me, contact, o.person_key):
        return CAP
    return HELD_OUT if held_out(v, me, o.person_key) else ASKED


@njit(cache=True, nogil=True)
def sample(venue, counts, taken, n_imps):  # type: ignore[no-untyped-def]
    """Count into counts, int64[rows, N], why campaigns are not asked for one imp of the request in `query`.

    taken: samples taken before; campaigns take turns, and the imps of requests when all campaigns have had theirs.
    """
    v = venue[0]
    audience = carray(st.at(v.audience), 1, tg.AUDIENCE)[0]
    n = min(np.int64(audience.n_campaigns), np.int64(counts.shape[0]))
    if n == 0 or n_imps == 0:
        return
    learn_of(v)
    some = min(n, np.int64(SAMPLE_CAMPAIGNS))
    imp = taken * some // n % n_imps
    tg.select(audience, imp)
    o = carray(st.at(v.opportunities), v.imps_max, mk.OPPORTUNITY)[imp]
    q = carray(st.at(v.query), v.query_max, np.int64)
    for k in range(some):
        c = (taken * some + k) % n
        counts[c, why(v, audience, o, q, c)] += 1


class Sampler:
    """The counts of one venue, of its first CAMPAIGNS_MAX campaigns: `counts` int64[CAMPAIGNS_MAX, REASONS]."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.counts: NDArray[np.int64] = np.zeros((CAMPAIGNS_MAX, len(REASONS)), np.int64)
        self.left = SAMPLE_EVERY
        self.taken = 0

    def pass_by(self, n_imps: int) -> None:
        """A request is about to be sold, its query and its opportunities in the venue's buffers: is its turn come?"""
        self.left -= 1
        if self.left == 0:
            self.left = SAMPLE_EVERY
            self.look(n_imps)
            self.taken += 1

    def look(self, n_imps: int) -> None:
        """Take a sample of the request in the buffers; of no imps it only sees that the kernel is compiled."""
        sample(self.venue.record, self.counts, self.taken, n_imps)

    def read(self) -> dict[tuple[str, str], int]:
        """How often which reason was found, by campaign and reason; what never was is left out."""
        names = self.venue.campaign_names
        return {(names[c], REASONS[r]): int(self.counts[c, r]) for c, r in np.argwhere(self.counts).tolist()}
