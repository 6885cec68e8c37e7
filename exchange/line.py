"""The line: one bid request from bytes to bytes, without sockets and without a clock.

    open   decode, validate, encode                                  (may refuse: BadRequest)
    close  screen remote answers, trade (one compiled step), answer  (the journal record exists before the reply)

The server calls it live, `explain` and the replay call it too. Whoever calls passes the time. Notices to bidders and
signed links are results here; sending them is the caller's business.
"""

import sys
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
import numpy as np
from msgspec import Struct

from exchange import market as mk
from exchange.auction.building import REMOTE_MAX_PER_ENDPOINT
from exchange.auction.changes import Change, carry_out, note, plan, read_change
from exchange.auction.floors import floor_of
from exchange.auction.reasons import Sampler
from exchange.auction.sell import endpoints_for, learn_of_one
from exchange.auction.venue import Venue
from exchange.audience.lists import FAR_NS
from exchange.audience.people import person_key
from exchange.audience.query import SEG
from exchange.config import ConfigError, Endpoint
from exchange.events import Posted
from exchange.links import BadToken, Links
from exchange.openrtb import codes, screen
from exchange.openrtb.encode import cpm, forward, written, written_response
from exchange.openrtb.validate import BadRequest, decode
from exchange.opportunity import Opened, Opportunities
from exchange.quotes import (
    AUCTION_ID,
    CAMPAIGN,
    CREATIVE,
    CREATIVE_ID,
    REMOTE_IX,
    SERIAL,
    SLOT,
    Offer,
    Offered,
    Quotes,
    Row,
)
from exchange.rent.blocks import INPUT_MAX_BYTES

NAMES_PER_ENDPOINT: Final = 20_000  # seats and advertisers that one endpoint may bring, per run
BURLS_MAX: Final = 65_536  # remote wins whose burl waits for the impression
_SOLD: Final = mk.packer(mk.SOLD)
_REMOTE: Final = mk.packer(mk.REMOTE)
_MSGPACK: Final = msgspec.msgpack.Encoder().encode


class Answered(Struct, gc=False):
    """What came of a request: HTTP status and body, imps sold, notices to send as (endpoint index, URL)."""

    status: int
    body: bytes
    sold: int
    notices: list[tuple[int, str]]


class Answer(Protocol):
    """One endpoint's answer as `close` takes it: result 0 = a body to read, else the fate code of the call."""

    @property
    def endpoint(self) -> int:
        """Index of the endpoint."""

    @property
    def result(self) -> int:
        """0, or the fate code."""

    @property
    def body(self) -> bytes:
        """What it sent."""


class Given(Struct, gc=False):
    """An answer from somewhere else than a bidder: a journal, a test, an example."""

    endpoint: int
    result: int
    body: bytes


class Line:
    """One venue behind the wire. `links` signs, `salt` keys people; full = journal raw inputs too."""

    def __init__(self, venue: Venue, salt: bytes, links: Links) -> None:
        config = venue.config
        self.venue = venue
        self.links = links
        self.rates = {code: round(rate * mk.RATE_ONE_PPM) for code, rate in config.rates.items()}
        self.rates[config.exchange.currency] = mk.RATE_ONE_PPM
        self.opportunities = Opportunities(venue, salt, self.rates)
        self.vocabulary = venue.targets.vocabulary
        self.imps_max = config.server.imps_max
        self.link_ttl_s = config.server.link_ttl_s
        self.hold_s = config.server.hold_s
        self.full = config.exchange.journal == "full"
        self.remembers = config.people.remember
        self.lists_due_ns = 0
        self.test_clock = config.server.test_clock
        self.endpoints: list[Endpoint] = config.endpoint
        self.slots: list[int] = venue.arrays["slots"].tolist()
        self.quotes = Quotes(links, self.rates, config.auction.min_to_win, self.hold_s, self.slots)
        self.raises_floors = any(not reserve.seat for reserve in config.auction.reserve)
        self.named = [0] * len(config.endpoint)
        self.domains = {screen.bare_domain(d): a.name for a in config.advertiser for d in a.domains}
        self.burls: dict[int, tuple[int, str]] = {}
        try:
            self.offers = [Offer(ad) for ad in venue.ads]
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.landings = {offer.id: offer.landing for offer in self.offers}
        self.sampler = Sampler(venue)
        self._take()

    def _take(self) -> None:
        """Take the buffers that requests are written to, wherever they lie now."""
        arrays = self.venue.arrays
        self._query, self._opportunities, self._remote, self._sold, self._asked = (
            arrays[name].reshape(-1).view(np.uint8).data
            for name in ("query", "opportunities", "remote", "sold", "asked")
        )
        self._n_remote = self.venue.record["n_remote"]

    # ---- before the auction ------------------------------------------------------------------------------------

    def open(self, body: bytes, now_ns: int) -> Opened:
        """Read a request. Raises BadRequest with every problem; changes nothing."""
        request = decode(body, self.imps_max)
        if self.test_clock and request.ext is not None and request.ext.rentier is not None:
            now_ns = request.ext.rentier.now_ns or now_ns
        return self.opportunities.read(request, body, now_ns)

    def eligible(self, opened: Opened) -> list[int]:
        """Indices of the endpoints whose target this request meets on at least one imp."""
        if not self.endpoints:
            return []
        self._load(opened)
        endpoints_for(self.venue.record, opened.n_imps)
        return [e for e in range(len(self.endpoints)) if self._asked[e]]

    def outgoing(self, opened: Opened, tmax_ms: int) -> bytes:
        """The request as bidders get it: the original bytes, with the time they have, our format and our floors."""
        floors: dict[int, tuple[float, str]] = {}
        if self.raises_floors:
            self._load(opened)
            learn_of_one(self.venue.record)
        for ix, imp in enumerate(opened.request.imp):
            least = self.opportunities.floor_nano
            if self.raises_floors:
                least = int(floor_of(self.venue.record, ix, least))
            if least > 0:
                own = screen.floor_nano(imp.bidfloor, imp.bidfloorcur, self.rates) if imp.bidfloor > 0 else 0
                if own is not None and own < least:
                    floors[ix] = (cpm(least), self.opportunities.ledger_currency)
        return forward(opened.body, tmax_ms, opened.format, floors)

    def _load(self, opened: Opened) -> None:
        """Put a request's integers where the compiled step reads them."""
        self._query[: len(opened.query)] = opened.query
        self._opportunities[: len(opened.opportunities)] = opened.opportunities

    # ---- the auction -------------------------------------------------------------------------------------------

    def close(self, opened: Opened, answers: Sequence[Answer], now_ns: int) -> Answered:
        """Sell the imps of a request at `now_ns`, with the endpoints' answers in order of endpoint."""
        if self.full:
            self.append_input(
                mk.KIND_REQUEST,
                now_ns,
                _MSGPACK((opened.now_ns, opened.body, [(a.endpoint, a.result, a.body) for a in answers])),
            )
        if opened.version != self.vocabulary.version or opened.format not in self.venue.formats:
            # while it waited for bidders a change came: it is read again, in the words of now
            opened = self.opportunities.read(opened.request, opened.body, opened.now_ns)
        if not opened.currency:
            return Answered(204, b"", 0, [])
        self._know(opened, now_ns)
        self._load(opened)
        if opened.request.test != 1:
            self.sampler.pass_by(opened.n_imps)
        offers: list[Offered] = []
        try:
            if answers:
                offers = self._remote_bids(opened, answers)
            self.venue.trade(now_ns, opened.n_imps)
        finally:
            if answers:  # whatever happened: the next request must not find these bids
                self._n_remote[0] = 0
        return self._answer(opened, offers, now_ns)

    def _know(self, opened: Opened, now_ns: int) -> None:
        """Before a sale: own lists that come into force, and what the request says of the person, if it is kept."""
        if self.lists_due_ns < FAR_NS:
            clock_ns = max(now_ns, int(self.venue.record["now_ns"][0]))  # the sale's: it never goes back
            if clock_ns >= self.lists_due_ns:
                self.lists_due_ns = self.venue.renew_lists(clock_ns)
        known = self.venue.known
        if self.remembers and known is not None and opened.request.test != 1:
            key = int.from_bytes(opened.opportunities[:8], sys.byteorder)
            q = np.frombuffer(opened.query, np.int64)
            if key and q[SEG + 1]:
                known.remember(key, q[q[SEG] : q[SEG] + q[SEG + 1]].tolist())

    def _remote_bids(self, opened: Opened, answers: Sequence[Answer]) -> list[Offered]:
        """Screen the answers into REMOTE records. Returns the bids in the order of those records."""
        names = self.venue.names
        terms = screen.terms(opened.request, self.rates)
        offers: list[Offered] = []
        records: list[bytes] = []
        failed: list[tuple[int, int]] = []
        for answer in answers:
            e, fate = answer.endpoint, answer.result
            found: list[screen.Screened] = []
            if not fate:
                try:
                    response = screen.decode_response(answer.body)
                    found = screen.screen(terms, response, self.endpoints[e].name, REMOTE_MAX_PER_ENDPOINT)
                    fate = codes.NO_BID
                except screen.BadAnswer:
                    fate = codes.BAD_ANSWER
            if not found:
                failed.append((e, fate))
            for bid in found:
                entity = person_key(self.opportunities.salt, f"{bid.seat}\0{bid.bid.id}")
                seat = self._name("seat", bid.seat, e, opened)
                who = self._name("advertiser", self.domains.get(bid.advertiser, bid.advertiser), e, opened)
                floor = self._deal_floor(bid)
                records.append(_REMOTE.pack(bid.net_nano, entity, floor, 0, seat, who, e, max(bid.impix, 0), bid.fate))
                offers.append(Offered(bid, e, response))
        for e, fate in failed:
            # one row per call that brought no bid, on the first imp, so that every call has its fate
            records.append(_REMOTE.pack(0, 0, 0, 0, names.id("seat", self.endpoints[e].name), 0, e, 0, fate))
        timeouts = sum(fate == codes.TIMEOUT for _, fate in failed)
        if timeouts:
            self.venue.arrays["opportunities"]["n_timeouts"][: opened.n_imps] = min(timeouts, 255)
        packed = b"".join(records)
        self._remote[: len(packed)] = packed
        self._n_remote[0] = len(records)
        return offers

    def _name(self, kind: str, text: str, endpoint: int, opened: Opened) -> int:
        """The id of a name that a bidder brings; each endpoint may register NAMES_PER_ENDPOINT, test requests none.

        0 beyond that: no bidder can use up the names of the others.
        """
        known = self.venue.names.known(kind, text)
        if known or opened.request.test == 1 or self.named[endpoint] >= NAMES_PER_ENDPOINT:
            return known
        self.named[endpoint] += 1
        return self.venue.names.id(kind, text)

    def _deal_floor(self, bid: screen.Screened) -> int:
        """The floor of the deal a bid names, in nano of the ledger currency; 0 without one."""
        if bid.deal is None or not bid.deal.bidfloor:
            return 0
        return screen.floor_nano(bid.deal.bidfloor, bid.deal.bidfloorcur, self.rates) or 0

    def _answer(self, opened: Opened, offers: list[Offered], now_ns: int) -> Answered:
        """Read what was sold and write the response."""
        seats: dict[str, list[str]] = {}
        rows: dict[int, list[Row]] = {}
        bidid, n_sold = "", 0
        for ix in range(opened.n_imps):
            first = ix * len(self.slots) * _SOLD.size
            found = [_SOLD.unpack_from(self._sold, first + slot * _SOLD.size) for slot in range(len(self.slots))]
            rows[ix] = found
            n_sold += found[0][CAMPAIGN] >= 0 or found[0][REMOTE_IX] >= 0
            for row in found:
                if row[CAMPAIGN] >= 0 or row[REMOTE_IX] >= 0:
                    bidid = bidid or f"{row[AUCTION_ID]:x}"
                    seat, bid = self._sold_bid(opened, offers, ix, bidid, row, now_ns)
                    seats.setdefault(seat, []).append(bid)
        notices: list[tuple[int, str]] = []
        if offers and opened.request.test != 1:
            remote = self.venue.arrays["remote"][: len(offers)]
            notices = self.quotes.notices(opened, offers, remote, rows, now_ns)
        if not n_sold:
            return Answered(204, b"", 0, notices)
        body = written_response(opened.request.id, bidid, opened.currency, seats)
        return Answered(200, body, n_sold, notices)

    def _sold_bid(
        self, opened: Opened, offers: list[Offered], ix: int, bidid: str, row: Row, now_ns: int
    ) -> tuple[str, str]:
        """The bid that holds one position of imp `ix`, as the seller gets it: (seat, JSON)."""
        creative_id = row[CREATIVE_ID] if row[CAMPAIGN] >= 0 else 0
        expires_s = now_ns // mk.NANO + self.link_ttl_s
        token = self.links.token(row[AUCTION_ID], row[SERIAL], ix, row[SLOT], creative_id, expires_s)
        if row[CAMPAIGN] >= 0:
            offer = self.offers[row[CREATIVE]]
            return offer.seat, self.quotes.local_bid(opened, offer, ix, bidid, token, row)
        offered = offers[row[REMOTE_IX]]
        bid, burl = self.quotes.remote_bid(opened, offered, ix, token, row, now_ns)
        if burl and row[SERIAL] >= 0:
            self._remember(row[SERIAL], offered.endpoint, burl)
        return offered.screened.seat, written(bid)

    def _remember(self, serial: int, endpoint: int, burl: str) -> None:
        """Keep a burl until its impression; the oldest goes when there are too many."""
        while len(self.burls) >= BURLS_MAX:
            self.burls.pop(next(iter(self.burls)))
        self.burls[serial] = (endpoint, burl)

    # ---- after the auction -------------------------------------------------------------------------------------

    def follow(self, kind: int, token: str, now_ns: int) -> tuple[int, str, list[tuple[int, str]]]:
        """A signed link was called: an impression, click, conversion, opt in or opt out (kind) has come.

        Returns (kind recorded, or 0 and below, landing page of the creative or "", notices). Raises BadToken.
        """
        link = self.links.read(token, now_ns // mk.NANO)
        if self.full:
            self.append_input(mk.KIND_LINK, now_ns, _MSGPACK((kind, token)))
        recorded = self.venue.event(kind, link.serial, link.auction_id, now_ns)
        return recorded, self.landing(link.creative), self._billed(recorded, link.serial)

    def post(self, posted: Sequence[Posted], now_ns: int) -> tuple[list[int], list[tuple[int, str]]]:
        """Events came from a server, read and checked. Returns (an answer for each, notices)."""
        if self.full:
            self.append_input(mk.KIND_POST, now_ns, _MSGPACK(posted))
        answers: list[int] = []
        notices: list[tuple[int, str]] = []
        for kind, token, amount_nano, number in posted:
            link = self.links.read(token)
            answers.append(self.venue.event(kind, link.serial, link.auction_id, now_ns, amount_nano, number))
            notices += self._billed(answers[-1], link.serial)
        return answers, notices

    def _billed(self, recorded: int, serial: int) -> list[tuple[int, str]]:
        """The notice to a bidder whose impression was billed."""
        burl = self.burls.pop(serial, None) if recorded == mk.KIND_IMPRESSION else None
        return [] if burl is None else [burl]

    def landing(self, creative_id: int) -> str:
        """The landing page of a creative by its id; "" when there is none."""
        return self.landings.get(creative_id, "")

    def tick(self, now_ns: int) -> None:
        """Move the clock without a request: expire holds, start and end flights."""
        if self.full:
            self.append_input(mk.KIND_TICK, now_ns, b"")
        self.venue.tick(now_ns)

    def change(self, change: Change, now_ns: int) -> None:
        """Carry out a change of the market: the next request sees it. Raises ConfigError, and nothing has changed."""
        change = read_change(change)
        planned = plan(self.venue, change, now_ns)
        try:
            offers = [[Offer(ad) for ad in ads] for ads in planned.ads]
        except ValueError as error:
            raise ConfigError(str(error)) from None
        payload = b""
        if self.full:
            payload = _MSGPACK((change.action, change.campaign, change.keys))
            if len(payload) > INPUT_MAX_BYTES:
                raise ConfigError(f"{change.action}: {len(payload)} bytes of keys: expected at most {INPUT_MAX_BYTES}")
        note(self.venue, planned)
        if self.full:
            self.append_input(mk.KIND_CHANGE, now_ns, payload)
        self.venue.tick(now_ns)
        carry_out(self.venue, planned)
        self._take()
        if planned.lists is not None:
            self.lists_due_ns = self.venue.renew_lists(int(self.venue.record["now_ns"][0]))
        for draft, new in zip(planned.drafts, offers, strict=True):
            first = int(draft.record["ad0"])
            self.offers[first : first + len(new)] = new
            self.landings.update((offer.id, offer.landing) for offer in new)
        if planned.advertiser is not None:
            brand = planned.advertiser
            self.domains.update((screen.bare_domain(domain), brand.name) for domain in brand.domains)
            self.opportunities.renew_sellers()
            self.vocabulary.version += 1  # a request that waits may bar it: it is read again

    def append_input(self, kind: int, now_ns: int, payload: bytes) -> None:
        """Journal one raw input; it takes its place in the order of records."""
        journal, record = self.venue.journal, self.venue.record
        if journal is None:
            return
        seq = int(record["seq"][0])
        journal.append_input(
            seq, now_ns, kind, payload, int(record["config_version"][0]), int(record["snapshot_version"][0])
        )
        record["seq"] = seq + 1


__all__ = ["Answer", "Given", "Answered", "BadRequest", "BadToken", "Line"]
