"""From a bid request to integers: who it is, where, when, what is for sale at which floor.

The last place that sees OpenRTB's texts on the way in. A request becomes the query `q` (audience/query.py)
and one OPPORTUNITY record per imp, both as bytes, so that a request waiting for remote bidders holds no shared buffer.
"""

from typing import Final

from msgspec import Struct

from exchange import market as mk
from exchange.auction.venue import Venue
from exchange.audience.people import person_key
from exchange.audience.query import LISTS_MAX, LISTS_PER_IMP_MAX
from exchange.facts.encode import Encoder, refusers
from exchange.facts.sources import offer_of, parts_of, person_id
from exchange.openrtb import codes
from exchange.openrtb.countries import ALPHA_2, packed
from exchange.openrtb.model import BidRequest, Imp

MINUTE_NS: Final = 60 * mk.NANO
FLOORS_MAX: Final = 4_096  # floors as given whose nano is remembered
UNSOLD_FLOOR_NANO: Final = mk.PRICE_MAX_NANO + 1  # no bid reaches it: a floor in a currency without a rate
_DEVICE_CODE: Final = {name: code for code, name in enumerate(codes.DEVICES)}
_COUNTRY_CODE: Final = {country: packed(country) for country in ALPHA_2.values()}
_PACK: Final = mk.packer(mk.OPPORTUNITY).pack


class Opened(Struct, gc=False):
    """A request read and encoded, not yet sold."""

    request: BidRequest
    body: bytes
    query: bytes  # int64, native order
    opportunities: bytes  # OPPORTUNITY records
    n_imps: int
    currency: str  # what prices are quoted in; "" = none of those the seller takes has a rate
    now_ns: int
    format: int  # one of mk.FORMATS
    version: int  # of the vocabulary that the query is in


class Opportunities:
    """Reads requests for one venue. `salt` keys people; `rates` = millionths of the ledger currency per unit."""

    def __init__(self, venue: Venue, salt: bytes, rates: dict[str, int]) -> None:
        self.salt = salt
        self.rates = rates
        self.encoder = Encoder(venue.targets.vocabulary, LISTS_MAX, LISTS_PER_IMP_MAX)
        self.encoder.sellers(*sellers_of(venue))
        self.ledger_currency = venue.config.exchange.currency
        self.floor_nano = mk.cpm_up(venue.config.auction.floor_cpm)
        self.format = mk.FORMATS[venue.config.auction.format]
        self.formats = venue.formats
        self.name_id, self.name_known = venue.names.id, venue.names.known
        self._set_minute(0)
        self.floors: dict[tuple[float, str], int] = {}  # publishers repeat theirs
        self.currency_of: dict[tuple[str, ...], str] = {(): self.ledger_currency}

    def read(self, request: BidRequest, body: bytes, now_ns: int) -> Opened:
        """Encode a validated request at `now_ns` (UTC; a utcoffset moves the person's hour)."""
        if not self.minute_ns <= now_ns < self.minute_end_ns:
            self._set_minute(now_ns)
        parts = parts_of(request, self.minute)
        key = 0
        if not parts.anonymous:
            who = person_id(parts.user, parts.device)
            if who:
                key = person_key(self.salt, who)
        name_id = self.name_id if request.test != 1 else self.name_known
        publisher_id, domain_id = name_id("publisher", parts.publisher), name_id("domain", parts.domain)
        country, kind = _COUNTRY_CODE.get(parts.country, 0), _DEVICE_CODE.get(parts.kind, 0)
        hour = parts.minute // 60 % 24
        format_ = request.at if request.at in self.formats else self.format
        test = 1 if request.test == 1 else 0
        records: list[bytes] = []
        floors: list[int] = []
        for ix, imp in enumerate(request.imp):
            media, size = offer_of(imp)
            floor_nano = self.floors.get((imp.bidfloor, imp.bidfloorcur)) or self._floor(imp)
            floors.append(floor_nano)
            records.append(
                _PACK(
                    key,
                    floor_nano,
                    0,
                    publisher_id,
                    domain_id,
                    size,
                    country,
                    ix,
                    media,
                    kind,
                    hour,
                    test,
                    0,
                    format_,
                )  # fmt: skip
            )
        query = self.encoder.encode(request, parts, floors)
        currency = self.currency_of.get(request.cur)
        if currency is None:
            currency = self._currency(request.cur)
        packed_imps = records[0] if len(records) == 1 else b"".join(records)
        version = self.encoder.version
        return Opened(request, body, query, packed_imps, len(records), currency, now_ns, format_, version)

    def _set_minute(self, now_ns: int) -> None:
        """Remember the minute of `now_ns`: arithmetic on ns is slow, and the next request comes in the same one."""
        self.minute = now_ns // MINUTE_NS
        self.minute_ns = self.minute * MINUTE_NS
        self.minute_end_ns = self.minute_ns + MINUTE_NS

    def _floor(self, imp: Imp) -> int:
        """The floor of an imp in nano of the ledger currency, rounded up; at least the exchange's own."""
        if imp.bidfloor <= 0:
            return self.floor_nano
        rate_ppm = self.rates.get(imp.bidfloorcur or "USD") or self.rates.get(imp.bidfloorcur.upper())
        if rate_ppm is None:
            return UNSOLD_FLOOR_NANO
        nano = mk.cpm_up(imp.bidfloor)
        if rate_ppm != mk.RATE_ONE_PPM:
            nano = mk.convert_up(nano, rate_ppm)
        nano = min(max(nano, self.floor_nano), UNSOLD_FLOOR_NANO)
        if len(self.floors) >= FLOORS_MAX:
            self.floors.clear()
        self.floors[imp.bidfloor, imp.bidfloorcur] = nano
        return nano

    def _currency(self, cur: tuple[str, ...]) -> str:
        """The currency to answer in: the ledger's if the seller takes it, else the first with a rate, else ""."""
        asked = [code.upper() for code in cur]
        if self.ledger_currency in asked:
            found = self.ledger_currency
        else:
            found = next((code for code in asked if code in self.rates), "")
        if len(self.currency_of) < 1_024:
            self.currency_of[cur] = found
        return found


def sellers_of(venue: Venue) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Advertisers with campaigns by what badv may name them, and by seat: their ids."""
    ids = {a.name: venue.names.id("advertiser", a.name) for a in venue.config.advertiser}
    domains = refusers({ids[a.name]: a.domains for a in venue.config.advertiser})
    return domains, {name: (ident,) for name, ident in ids.items()}
