"""The people in front of the screen: they see the ads that were sold, click on a few, and some of those convert.

Who does what is the population's truth about visit and imp; the exchange learns it from the signed links alone. Clicks
do not follow the redirect. Limit: PENDING_MAX views, clicks and conversions planned or under way; more are counted as
`skipped`.
"""

import asyncio
import re
from typing import Any, Final

import msgspec

from exchange.client import Pool
from exchange.openrtb.response import Bid, BidResponse
from exchange.population import Population

PENDING_MAX: Final = 65_536
CONNECTIONS_MAX: Final = 64
PATIENCE_S: Final = 5.0
POLL_S: Final = 0.02
_DECODE: Final = msgspec.json.Decoder(BidResponse).decode
_CLICK: Final = re.compile(r"https?://[^\s\"'<>\\]+/c\?t=[A-Za-z0-9_-]+")


Plan = tuple[tuple[str, float, str], ...]  # (what it counts as, seconds to wait, link), one after the other


class _Call:
    """One call of a link under way; `then` is what follows when it was answered."""

    __slots__ = ("kind", "then", "viewer")

    def __init__(self, viewer: "Viewer", kind: str, then: Plan) -> None:
        self.viewer = viewer
        self.kind = kind
        self.then = then

    def answer(self, tag: int, status: int, body: bytes) -> None:
        """The exchange has answered, or has not."""
        self.viewer.settle(self, status)


class Viewer:
    """Hears every answer of the exchange, and looks at what was sold."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, population: Population) -> None:
        """`address` is the exchange's host:port; delays are the population's `*_delay_ms`."""
        host, _, port = address.rpartition(":")
        self.loop = loop
        self.address = address
        self.population = population
        self.pool = Pool(loop, host, int(port), CONNECTIONS_MAX, 0)
        self.view_delay_s = population.config.view_delay_ms / 1000
        self.click_delay_s = population.config.click_delay_ms / 1000
        self.conversion_delay_s = (
            max(0, population.config.conversion_delay_ms - population.config.click_delay_ms) / 1000
        )
        self.pending = 0
        self.counts = {"sold": 0, "viewed": 0, "clicked": 0, "converted": 0, "failed": 0, "skipped": 0}

    def answered(self, t: int, status: int, body: bytes) -> None:
        """Visit t got its answer: plan the view, click and conversion of every sold imp that has them."""
        if status != 200:
            return
        visit = self.population.at(t)
        for seat in _DECODE(body).seatbid:
            for bid in seat.bid:
                self.counts["sold"] += 1
                imp_ix = int(bid.impid) - 1
                seen, clicked = self.population.truth(visit, imp_ix, slot_of(bid))
                click = click_link(bid) if clicked else ""
                if not seen:
                    continue
                plan: Plan = (("viewed", self.view_delay_s, bid.burl),)
                if click:
                    plan += (("clicked", self.click_delay_s, click),)
                    if self.population.converts(visit, imp_ix, slot_of(bid)):
                        # one token serves all three links
                        plan += (("converted", self.conversion_delay_s, click.replace("/c?t=", "/t?t=")),)
                self._later(plan)

    def _later(self, plan: Plan) -> None:
        """Call the first link of a plan after its delay."""
        kind, delay_s, url = plan[0]
        if self.pending >= PENDING_MAX:
            self.counts["skipped"] += 1
            return
        self.pending += 1
        self.loop.call_later(delay_s, self._call, kind, url, plan[1:])

    def _call(self, kind: str, url: str, then: Plan) -> None:
        """Call a link now; one that is not the exchange's own fails."""
        call = _Call(self, kind, then)
        head = f"http://{self.address}/"
        if not url.startswith(head):
            self.settle(call, -1)
            return
        payload = f"GET /{url.removeprefix(head)} HTTP/1.1\r\nHost: {self.address}\r\n\r\n"
        self.pool.send(call, payload.encode("ascii", "replace"))

    def settle(self, call: _Call, status: int) -> None:
        """A link was called: who has seen the ad may click, who has clicked may convert."""
        self.pending -= 1
        self.counts[call.kind if 200 <= status < 400 else "failed"] += 1
        if call.then and 200 <= status < 400:
            self._later(call.then)

    async def finish(self) -> None:
        """Wait for everything that is planned; beyond the delays of view and click, PATIENCE_S at most."""
        until_s = self.loop.time() + self.view_delay_s + self.click_delay_s + PATIENCE_S
        while self.pending and self.loop.time() < until_s:
            self.pool.give_up(PATIENCE_S)
            await asyncio.sleep(POLL_S)
        self.pool.close()


def slot_of(bid: Bid) -> int:
    """The position that a bid holds, from `ext.rentier.slot`; 0, the best, where it names none."""
    ext: Any = bid.ext
    given = ext.get("rentier", {}).get("slot", 0) if isinstance(ext, dict) else 0
    return given if isinstance(given, int) else 0


def click_link(bid: Bid) -> str:
    """The exchange's click link of a bid: from `ext.rentier.click`, else from the markup; "" when there is none."""
    ext: Any = bid.ext
    given = ext.get("rentier", {}).get("click", "") if isinstance(ext, dict) else ""
    if given:
        return str(given)
    found = _CLICK.search(bid.adm.replace("\\/", "/"))
    return found[0] if found else ""
