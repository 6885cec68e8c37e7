"""The exchange, live: the line behind a port, with bidders asked, notices sent and the journal flushed.

Routes: POST /openrtb2/auction, GET /i, /c, /t, /o and /u (signed links), POST /events, GET /health, GET /metrics.
Everything runs on one event loop; an auction without remote bidders is answered inline, within the call that read it.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from exchange import events, http, metrics
from exchange import market as mk
from exchange.auction.changes import Change
from exchange.auction.venue import EVENT_COUNTS
from exchange.audience.people import PeopleError
from exchange.audience.table import warm_up
from exchange.config import Config, ConfigError
from exchange.fanout import Answer, Fanout
from exchange.keeping import Keeper
from exchange.line import Line
from exchange.links import BadToken, Links
from exchange.notices import Notices
from exchange.opening import open_venue, renew_segments
from exchange.openrtb import codes
from exchange.openrtb.encode import bad_request_body, no_bid
from exchange.openrtb.validate import BadRequest
from exchange.opportunity import Opened
from exchange.server import Listener, serve

TICK_S: Final = 1.0
PIXEL: Final = bytes.fromhex(
    "47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b"
)  # a transparent GIF of one pixel
GIF: Final = b"image/gif"
NO_STORE: Final = ((b"Cache-Control", b"no-store"),)
# a test request changes nothing; it names no place, so that no name is registered
WARM_UP: Final = b'{"id":"warm-up","test":1,"imp":[{"id":"1","banner":{"w":300,"h":250}}]}'


class Live:
    """A running exchange. `start` binds and makes it ready, `stop` drains it; both once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.counters = metrics.Counters(len(config.endpoint))
        self.folder = Path(config.folder) / config.exchange.ledger
        if config.people.rules_at_start and config.segment:
            renew_segments(config, time.time_ns())
        self.venue, key = open_venue(config, lists_known=False)
        self.keeper = Keeper(self.folder, config.storage)
        self.line = Line(self.venue, key, Links(key, config.server.public_url))
        self.post_key = events.key_of(key)
        self.in_flight = 0
        self.listener: Listener | None = None
        self._routes: dict[bytes, Callable[[http.Request], None]] = {
            b"/openrtb2/auction": self._auction,
            b"/i": partial(self._pixel, kind=mk.KIND_IMPRESSION),
            b"/c": self._click,
            b"/t": partial(self._pixel, kind=mk.KIND_CONVERSION),
            b"/o": partial(self._pixel, kind=mk.KIND_OPT_IN),
            b"/u": partial(self._pixel, kind=mk.KIND_OPT_OUT),
            b"/events": self._events,
            b"/health": self._health,
            b"/metrics": self._metrics,
        }
        server = config.server
        self._timeout_ms, self._margin_ms = server.timeout_ms, server.margin_ms
        self._in_flight_max = server.in_flight_max
        self._tasks: list[asyncio.TimerHandle] = []
        self._sync: asyncio.Future[None] | None = None
        self._building: asyncio.Future[None] | None = None  # a part of the index, in a thread

    @property
    def address(self) -> str:
        """host:port as bound."""
        assert self.listener is not None
        return self.listener.address

    async def start(self) -> None:
        """Compile or load every kernel the live path needs, bind the port, start the clocks."""
        loop = asyncio.get_running_loop()
        self.loop = loop
        self._warm_up()
        self._lists()
        self.fanout = Fanout(loop, self.config.endpoint, self.counters.endpoints)
        self.notices = Notices(loop, self.config.endpoint, self.config.server.notices_max, self.counters.notices)
        self.scrape = metrics.Metrics(self.counters, self._names(), self._gauges(), self._fetch)
        self.listener = await serve(self.handle, self.config.server, self.counters)
        if not self.config.server.public_url:
            self.line.links.publish(f"http://{self.listener.address}")
        self._every(TICK_S, self._tick)
        self._every(self.config.server.flush_ms / 1000, self._flush)
        self._every(TICK_S, self._keep)

    def _warm_up(self) -> None:
        """Call every kernel of the live path once, at time 0, which leaves the venue's clock where it is."""
        opened = self.line.open(WARM_UP, 0)
        self.line.close(opened, (), 0)
        self.line.eligible(opened)
        self.line.outgoing(opened, 1)
        self.line.sampler.look(0)
        self.venue.event(mk.KIND_IMPRESSION, -1, 0, 0)
        self.venue.mark_own("", nobody := np.zeros(0, np.uint64))
        self.venue.forget_own("", nobody)
        warm_up()

    async def stop(self) -> None:
        """Finish what is in flight, send the notices, close the journal."""
        for timer in self._tasks:
            timer.cancel()
        self._tasks.clear()
        if self.listener is not None:
            await self.listener.drain(self.config.server.drain_timeout_ms)
            await self.notices.drain(self.config.server.drain_timeout_ms / 1000)
            self.fanout.close()
        if self._building is not None:  # short, and nobody is served any more; what it makes is not needed
            await asyncio.wait((self._building,))
        if self._sync is not None:
            await asyncio.wait((self._sync,))
            self._see_sync()
        self.keeper.close()
        self.venue.close()

    def _every(self, period_s: float, work: Callable[[], None]) -> None:
        """Call `work` every period until stopped."""
        slot = len(self._tasks)

        def again() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a full disk now must not end the clock for ever
                self._failed(f"the periodic {work.__name__.strip('_')} failed", error)
            self._tasks[slot] = self.loop.call_later(period_s, again)

        self._tasks.append(self.loop.call_later(period_s, again))

    def _tick(self) -> None:
        if not self.config.server.test_clock:
            self.line.tick(time.time_ns())
        self._index()
        self._lists()

    def _flush(self) -> None:
        """Close the journal's open blocks; the disk is waited for in a thread, one at a time."""
        self.venue.flush()
        if self._sync is None or self._sync.done():
            self._see_sync()
            self._sync = self.loop.run_in_executor(None, self.venue.sync)

    def _keep(self) -> None:
        """Have the storage kept: full segments sealed, what is too old dropped, in a thread."""
        self.keeper.tick(time.time_ns())

    def _see_sync(self) -> None:
        """Report a sync that failed; the next one tries again."""
        error = self._sync.exception() if self._sync is not None and self._sync.done() else None
        if error is not None:
            self._failed("syncing the journal failed", error)

    def _failed(self, message: str, error: BaseException) -> None:
        """Count a failure of our own and have the loop log it."""
        self.counters.handler_faults += 1
        self.loop.call_exception_handler({"message": message, "exception": error})

    # ---- changes -----------------------------------------------------------------------------------------------

    def change(self, change: Change, now_ns: int | None = None) -> None:
        """Carry out a change of the market, on the event loop; the next request sees it, and who waits for bidders.

        now_ns: for test_clock. Raises ConfigError, one line, and then nothing has changed.
        """
        if now_ns is None:
            now_ns = int(self.venue.record["now_ns"][0]) if self.config.server.test_clock else time.time_ns()
        self.line.change(change, now_ns)
        self.counters.changes += 1
        self._index()

    def _lists(self) -> None:
        """Make known the versions of own lists that were imported: which are known is an input, as any change."""
        try:
            unknown = {} if self.venue.lists is None else self.venue.lists.unknown()
        except PeopleError as error:
            raise ConfigError(str(error)) from None
        if unknown:
            self.change(Change("lists", keys=unknown))

    def _index(self) -> None:
        """Have the part of the index that is due built in a thread, one at a time; no match depends on it."""
        targets = self.venue.targets
        if self._building is not None or (job := targets.job()) is None:
            return

        def built(done: asyncio.Future[None]) -> None:
            self._building = None
            error = done.exception()
            if error is None:
                targets.adopt(job)
            else:
                targets.give_up(job)
                self._failed("building the index failed", error)

        self._building = self.loop.run_in_executor(None, job.build)
        self._building.add_done_callback(built)

    # ---- requests ----------------------------------------------------------------------------------------------

    def handle(self, request: http.Request) -> None:
        """Answer one HTTP request, inline or when its bidders have answered."""
        route = self._routes.get(request.path)
        if route is None:
            request.reply(404, _error("path", request.path.decode("latin-1"), "expected one of " + _ROUTE_NAMES))
            return
        route(request)

    def _auction(self, request: http.Request) -> None:
        began = time.perf_counter()
        if request.method != b"POST":
            request.reply(405, _error("method", "GET", "expected POST"), headers=((b"Allow", b"POST"),))
            return
        now_ns = time.time_ns()
        try:
            opened = self.line.open(request.body, now_ns)
        except BadRequest as error:
            self.counters.requests[metrics.BAD_REQUEST] += 1
            request.reply(400, bad_request_body(error))
            return
        if self.line.endpoints and opened.currency:
            asked = self.line.eligible(opened)
            if asked:
                self._ask(request, opened, asked, began)
                return
        self._finish(request, opened, [], opened.now_ns, began)

    def _ask(self, request: http.Request, opened: Opened, asked: list[int], began: float) -> None:
        """Ask remote bidders; the auction is held when all have answered or at the deadline."""
        if self.in_flight >= self._in_flight_max:
            self.counters.requests[metrics.OVERLOAD] += 1
            request.reply(503, no_bid(opened.request.id, codes.NBR_TECHNICAL))
            return
        tmax = opened.request.tmax or self._timeout_ms
        left_ms = min(tmax, self._timeout_ms) - self._margin_ms
        if left_ms <= 0:
            answers = [Answer(e, codes.NOT_ASKED, b"") for e in asked]
            self._finish(request, opened, answers, opened.now_ns, began)
            return
        outgoing = self.line.outgoing(opened, left_ms)
        self.in_flight += 1
        arrived_ns = opened.now_ns if self.config.server.test_clock else 0

        def done(answers: list[Answer]) -> None:
            self.in_flight -= 1
            try:
                self._finish(request, opened, answers, arrived_ns or time.time_ns(), began)
            finally:
                if not request.answered:  # the auction failed: the error is logged, the seller still gets an answer
                    self.counters.handler_faults += 1
                    request.reply(500, no_bid(opened.request.id, codes.NBR_TECHNICAL))

        self.fanout.ask(asked, outgoing, left_ms / 1000, done)

    def _finish(self, request: http.Request, opened: Opened, answers: list[Answer], now_ns: int, began: float) -> None:
        """Hold the auction and reply; notices go out behind the reply."""
        answered = self.line.close(opened, answers, now_ns)
        self.counters.requests[metrics.SOLD if answered.sold else metrics.NO_BID] += 1
        request.reply(answered.status, answered.body)
        metrics.observe(self.counters.latency, int((time.perf_counter() - began) * 1e6))
        for endpoint, url in answered.notices:
            self.notices.queue(endpoint, url)

    def _follow(self, request: http.Request, kind: int) -> str | None:
        """Carry out a signed link. Returns the landing page, or None when the link was refused (and answered)."""
        query = request.query
        token, _, rest = query.removeprefix(b"t=").partition(b"&")
        now_ns = self._now_ns(rest)
        try:
            _, landing, notices = self.line.follow(kind, token.decode("latin-1"), now_ns)
        except BadToken as error:
            self.counters.links_refused[error.reason] += 1
            status = 410 if error.reason == "expired" else 400
            request.reply(
                status, _error("t", token[:80].decode("latin-1"), f"{error}: expected a link of this exchange")
            )
            return None
        for endpoint, url in notices:
            self.notices.queue(endpoint, url)
        return landing

    def _now_ns(self, query: bytes) -> int:
        """The time; with test_clock the one that a query of `now_ns=` states."""
        if self.config.server.test_clock and query.startswith(b"now_ns=") and query[7:].isdigit():
            return int(query[7:])
        return time.time_ns()

    def _events(self, request: http.Request) -> None:
        """Carry out the events that a server posted, each with an outcome of its own, or none of them."""
        if request.method != b"POST":
            request.reply(405, _error("method", "GET", "expected POST"), headers=((b"Allow", b"POST"),))
            return
        if not events.may_post(request.headers.get(b"authorization", b""), self.post_key):
            self.counters.posts_refused["unauthorized"] += 1
            reason = "expected Authorization: Bearer KEY, with the key that `rentier events key LEDGER` prints"
            request.reply(401, _error("Authorization", "", reason), headers=((b"WWW-Authenticate", b"Bearer"),))
            return
        try:
            posted = events.read(request.body, self.line.links)
        except events.BadEvents as error:
            self.counters.posts_refused["invalid"] += 1
            request.reply(400, msgspec.json.encode({"errors": [problem._asdict() for problem in error.problems]}))
            return
        answers, notices = self.line.post(posted, self._now_ns(request.query))
        for answer in answers:
            self.counters.posted[events.outcome(answer)] += 1
        request.reply(200, events.said(answers))
        for endpoint, url in notices:
            self.notices.queue(endpoint, url)

    def _pixel(self, request: http.Request, kind: int) -> None:
        """Carry out a signed link that stands in a page as an image."""
        if self._looked_at(request) or not request.answered and self._follow(request, kind) is not None:
            request.reply(200, PIXEL, GIF, NO_STORE)

    def _looked_at(self, request: http.Request) -> bool:
        """True for HEAD, which settles nothing: link checkers send it. Other methods than GET are answered 405."""
        if request.method != b"GET":
            request.reply(405, _error("method", request.method.decode(), "expected GET"), headers=((b"Allow", b"GET"),))
        return request.head_only

    def _click(self, request: http.Request) -> None:
        if self._looked_at(request):
            request.reply(204)
        if request.answered:
            return
        landing = self._follow(request, mk.KIND_CLICK)
        if landing:
            request.reply(302, b"", headers=((b"Location", landing.encode()), *NO_STORE))
        elif landing is not None:
            request.reply(204)

    def _health(self, request: http.Request) -> None:
        request.reply(200, b'{"status":"ok"}')

    def _metrics(self, request: http.Request) -> None:
        request.reply(200, self.scrape.render(), b"text/plain; version=0.0.4; charset=utf-8")

    # ---- metrics -----------------------------------------------------------------------------------------------

    def _names(self) -> metrics.Names:
        fates = {code: name for code, (name, _) in codes.FATES.items()}
        return metrics.Names(endpoints=[e.name for e in self.config.endpoint], fates=fates, kinds=mk.KINDS)

    def _gauges(self) -> dict[str, Callable[[], float]]:
        record = self.venue.record
        return {
            "rentier_snapshot_version": lambda: int(record["snapshot_version"][0]),
            "rentier_in_flight": lambda: self.in_flight,
            "rentier_connections": lambda: len(self.listener.connections) if self.listener is not None else 0,
            "rentier_contacts": lambda: int(record["people_used"][0]) + int(record["pairs_used"][0]),
            "rentier_holds_open": lambda: int(record["n_held"][0]),
            "rentier_notices_queued": lambda: self.notices.queued,
        }

    def _fetch(self) -> None:
        """Read into the counters what the compiled step counted."""
        v, counters = self.venue.record[0], self.counters
        sold, auctions = int(v["n_sold"]), int(v["n_auctions"])
        counters.auctions[:] = [auctions - sold, sold]
        for name in ("clearing_nano", "billed_nano", "refunded_nano"):
            setattr(counters, name, int(v[name]))
        for kind, name in EVENT_COUNTS.items():
            counters.events[kind] = int(v[name])
        fates = self.venue.arrays["fate_counts"]
        counters.bids[:] = [int(n) for n in fates[0, : metrics.CODES]]
        for e, each in enumerate(counters.endpoints):
            each.fates[:] = [int(n) for n in fates[1 + e, : metrics.CODES]]
        counters.journal_rows = self.venue.rows_written()
        counters.campaign_reasons = self.line.sampler.read()
        counters.campaigns, counters.index_bytes = self.venue.stock.states(), self.venue.targets.sizes()


def _error(path: str, value: str, reason: str) -> bytes:
    """The JSON body of a refusal."""
    return msgspec.json.encode({"errors": [{"path": path, "value": value, "reason": reason}]})


_ROUTE_NAMES: Final = (
    "POST /openrtb2/auction, GET /i, GET /c, GET /t, GET /o, GET /u, POST /events, GET /health, GET /metrics"
)
