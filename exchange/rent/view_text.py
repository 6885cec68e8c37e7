"""The SQL views of a ledger: every column with its expression, its unit and its meaning, in one table.

The views stand on the relations of view_rows.py and on tables that `views.connect` makes: raw_lists (texts by number),
raw_names, raw_meta.
"""

from typing import Final, NamedTuple

from exchange import market as m
from exchange.market import PARTIES
from exchange.rent.view_rows import BILLED_MASK, CLICK_MASK, CONVERSION_MASK, SEEN_MASK


class Column(NamedTuple):
    """One column of a view."""

    name: str
    sql: str
    unit: str
    meaning: str


class View(NamedTuple):
    """One view: what a row is, where it comes from, and its columns."""

    name: str
    row: str
    source: str
    columns: list[Column]

    @property
    def sql(self) -> str:
        """The statement that makes the view."""
        columns = ",\n  ".join(f'{column.sql} AS "{column.name}"' for column in self.columns)
        return f"CREATE VIEW {self.name} AS SELECT\n  {columns}\nFROM {self.source}"


def text(kind: str, number: str, shift: int = 0) -> str:
    """The text of a number, by its list: NULL for 0, for a number below and for one without a text."""
    return f"(SELECT texts FROM raw_lists WHERE kind = '{kind}')[greatest({number}::BIGINT + {shift}, 0)]"


def moment(ts_ns: str) -> str:
    """A time in nanoseconds as a timestamp, cut to microseconds."""
    return f"make_timestamp({ts_ns} // 1000)"


def _masked(mask: int) -> str:
    """Whether one of these kinds of events arrived."""
    return f"coalesce(o.kinds & {mask}, 0) <> 0"


BILLED: Final = _masked(BILLED_MASK)
SEEN: Final = (
    f"((coalesce(o.kinds, 0) & {SEEN_MASK}) <> 0 OR (w.bill <> {m.BILL_IMPRESSION} AND "
    f"(coalesce(o.kinds, 0) & {1 << m.KIND_CLICK}) <> 0)) AND (w.flags & {m.FLAG_LOST}) = 0"
)
PAID: Final = f"(CASE WHEN {BILLED} THEN w.buyer_total_nano ELSE 0 END)"
REFUNDED: Final = "coalesce(o.refunded_nano, 0)"
NET: Final = f"({PAID} - {REFUNDED})"
STATUS: Final = (
    f"CASE WHEN {REFUNDED} > 0 AND {REFUNDED} >= w.buyer_total_nano THEN 'refunded' WHEN {REFUNDED} > 0 THEN "
    f"'part refunded' WHEN {BILLED} THEN 'billed' WHEN {_masked(1 << m.KIND_UNPAID)} THEN 'unpaid' "
    f"WHEN {_masked(1 << m.KIND_RELEASE)} THEN 'released' ELSE 'held' END"
)
COUNTRY: Final = "CASE WHEN country > 0 THEN chr((country >> 8)::INTEGER) || chr((country & 255)::INTEGER) END"
SIZE: Final = "CASE WHEN size > 0 THEN (size >> 16) || 'x' || (size & 65535) END"
SEEN_TIME: Final = f"CASE WHEN {SEEN} THEN least(o.shown_ns, CASE WHEN w.bill <> 0 THEN o.clicked_ns END) END"


def _money(name: str, sql: str, per: str, meaning: str) -> list[Column]:
    """A price: exact, and as CPM."""
    return [
        Column(f"{name}_nano", sql, f"nano {per}", meaning),
        Column(f"{name}_cpm", f"{sql} / 1e6", f"currency per 1,000 {per.removeprefix('per ')}s", meaning),
    ]


def _head(row: str) -> list[Column]:
    """Where and when a row was written."""
    return [
        Column("time", moment(f"{row}.ts_ns"), "UTC", "when it happened"),
        Column("seq", f"{row}.seq", "number", "place of the row among all rows of its worker"),
        Column("worker", f"{row}.worker", "number", "the process that wrote it"),
    ]


AUCTION: Final = Column("auction_id", "auction_id", "number", "the auction, the exchange's own number")
IMP: Final = Column("imp", "imp_ix", "number", "the imp in its request, from 0")

AUCTIONS: Final = View(
    "auctions",
    "one imp offered, sold or not",
    "raw_auctions AS a",
    [
        *_head("a"),
        AUCTION,
        IMP,
        Column("publisher", text("publisher", "publisher"), "text", "who offered it"),
        Column("domain", text("domain", "domain"), "text", "site or app"),
        Column("country", COUNTRY, "text", "two letters; NULL = unknown"),
        Column("media", text("media", "media"), "text", "banner, video, audio or native"),
        Column("device", text("device", "device", 1), "text", "other, phone, tablet, desktop or ctv"),
        Column("size", SIZE, "pixels", "width x height of its first size; NULL = none"),
        Column("hour", "hour", "hour", "0 to 23, as audiences see it"),
        Column("format", text("format", "format"), "text", "auction format"),
        *_money("floor", "floor_nano", "per impression", "the least net bid it may go for"),
        *_money("clearing", "clearing_nano", "per impression", "expected price, all its positions; 0 = unsold"),
        Column("sold", "sold <> 0", "true or false", "whether at least one position was sold"),
        Column("eligible", "n_eligible", "campaigns", "local campaigns whose audience it is"),
        Column("asked", "n_asked", "campaigns", "local campaigns asked for a price"),
        Column("bids", "n_bids", "bids", "bids with a price, refused ones included"),
        Column("timeouts", "n_timeouts", "bidders", "that did not answer in time"),
        Column("person", "nullif(person_key, 0)", "number", "keyed hash of the person; NULL = unknown"),
    ],
)
BIDS: Final = View(
    "bids",
    "one bid with its fate, or one campaign asked or held out",
    "raw_bids AS b",
    [
        *_head("b"),
        AUCTION,
        IMP,
        Column("advertiser", text("advertiser", "advertiser"), "text", "who bids; NULL = not said"),
        Column("campaign", text("campaign", "campaign"), "text", "advertiser/campaign; NULL = a remote bidder's"),
        Column("seat", text("seat", "seat"), "text", "the buyer's seat"),
        Column("endpoint", text("endpoint", "endpoint", 2), "text", "bidder asked; local = in process"),
        *_money("value", "value_nano", "per impression", "the campaign's own valuation; 0 = remote"),
        *_money("gross", "gross_nano", "per impression", "what the buyer bid, fees included"),
        *_money("net", "net_nano", "per impression", "what the bid is worth in the auction"),
        Column("fate", "fate", "code", "0 = won, else why not (OpenRTB loss reasons, own codes from 500)"),
        Column("fate_name", text("fate_name", "fate", 1), "text", "short name of the fate"),
        Column("meaning", text("fate_meaning", "fate", 1), "text", "the fate in words"),
    ],
)
_EVENT: Final = "per billable event"
_PARTY_MEANING: Final = {
    "agency": "agency's fee",
    "dsp": "demand platform's fee",
    "data": "fee for audience data",
    "verify": "fee for verification",
    "tax": "tax",
    "fx": "cost of exchanging currency",
    "publisher": "publisher's part of the clearing price",
    "exchange": "exchange's part of the clearing price",
    "supply_tech": "supply technology's part of the clearing price",
    "hidden": "part of the clearing price that nobody accounts for",
}
_TERMS: Final = [
    Column("bill", text("bill", "w.bill", 1), "text", "the billable event: impression, click or conversion"),
    Column("format", text("format", "w.price_rule"), "text", "auction format that priced it"),
    Column("own", f"(w.flags & {m.FLAG_OWN}) <> 0", "true or false", "the person was on the advertiser's own list"),
    Column("lost", f"(w.flags & {m.FLAG_LOST}) <> 0", "true or false", "an all-pay loser, who pays and shows nothing"),
    Column("uses_data", f"(w.flags & {m.FLAG_DATA}) <> 0", "true or false", "the campaign targets segments"),
    *_money("bid", "w.bid_nano", _EVENT, "the winning bid, net"),
    *_money("clearing", "w.clearing_nano", _EVENT, "what the seller's side receives"),
    *_money("second", "w.second_nano", _EVENT, "best net bid behind it of another seat; 0 = none"),
    *_money("floor", "w.floor_nano", _EVENT, "the least net bid it could have gone for"),
    *_money("price_to_win", "w.price_to_win_nano", _EVENT, "the least net bid that would have won"),
    *_money("value", "w.value_nano", "per impression", "the winner's valuation, gross; 0 = remote"),
    Column("total_nano", "w.buyer_total_nano", f"nano {_EVENT}", "what the buyer pays if it is billed"),
    Column("total", "w.buyer_total_nano / 1e9", f"currency {_EVENT}", "what the buyer pays if it is billed"),
    *[
        Column(f"{party}_nano", f"w.{party}_nano", f"nano {_EVENT}", f"{_PARTY_MEANING[party]}, within the total")
        for party in PARTIES
    ],
    Column("pctr", "w.pctr_ppb / 1e9", "clicks per impression", "the exchange's estimate"),
    Column("pcvr", "w.pcvr_ppb / 1e9", "conversions per click", "the exchange's estimate"),
    Column("n_bids", "w.n_bids", "bids", "bids on the imp"),
    Column("n_timeouts", "w.n_timeouts", "bidders", "that did not answer in time"),
    Column("n_filtered", "w.n_filtered", "bids", "refused before the auction"),
    Column("expires", moment("w.expires_ns"), "UTC", "when the hold is released unless it is billed"),
    Column("week", f"date_trunc('week', {moment('w.ts_ns')})::DATE", "date", "Monday of its week"),
    Column("month", f"date_trunc('month', {moment('w.ts_ns')})::DATE", "date", "first day of its month"),
]
_OUTCOME: Final = [
    Column("status", STATUS, "text", "held, billed, part refunded, refunded, released or unpaid"),
    Column("seen", SEEN, "true or false", "the ad was seen"),
    Column("clicked", _masked(CLICK_MASK), "true or false", "it was clicked"),
    Column("converted", _masked(CONVERSION_MASK), "true or false", "the person did what the campaign is for"),
    Column("opted_in", _masked(1 << m.KIND_OPT_IN), "true or false", "the person agreed to be contacted directly"),
    Column("opted_out", _masked(1 << m.KIND_OPT_OUT), "true or false", "and withdrew that"),
    Column("seen_time", moment(SEEN_TIME), "UTC", "when it was seen"),
    Column("clicked_time", moment("o.clicked_ns"), "UTC", "when it was clicked"),
    Column("converted_time", moment("o.converted_ns"), "UTC", "when it converted"),
    Column("billed_time", moment("o.billed_ns"), "UTC", "when it was billed"),
    Column("paid_nano", PAID, "nano", "the total once billed, else 0"),
    Column("refunded_nano", REFUNDED, "nano", "what was given back"),
    Column("net_nano", NET, "nano", "paid less refunded"),
    Column("paid", f"{PAID} / 1e9", "currency", "the total once billed, else 0"),
    Column("net", f"{NET} / 1e9", "currency", "paid less refunded"),
]
_WHO: Final = [
    Column("serial", "w.serial", "number", "the award: with the worker, the key that joins events to wins"),
    Column("person", "nullif(w.person_key, 0)", "number", "keyed hash of the person; NULL = unknown"),
    Column("advertiser", text("advertiser", "w.advertiser"), "text", "who rents the person"),
    Column("campaign", text("campaign", "w.campaign"), "text", "advertiser/campaign; NULL = a remote bidder's"),
]
WINS: Final = View(
    "wins",
    "one position won: the terms, and what became of it",
    "raw_wins AS w LEFT JOIN raw_outcomes AS o ON o.worker = w.worker AND o.serial = w.serial",
    [
        *_head("w"),
        Column("auction_id", "w.auction_id", AUCTION.unit, AUCTION.meaning),
        Column("imp", "w.imp_ix", IMP.unit, IMP.meaning),
        Column("slot", "w.slot", "number", "position on the imp, best first, from 0"),
        *_WHO,
        Column("creative", text("creative", "w.creative"), "text", "the ad; NULL = a remote bidder's, or none"),
        Column("seat", text("seat", "w.seat"), "text", "the buyer's seat"),
        Column("endpoint", text("endpoint", "w.endpoint", 2), "text", "bidder asked; local = in process"),
        Column("publisher", text("publisher", "w.publisher"), "text", "who showed it"),
        Column("domain", text("domain", "w.domain"), "text", "site or app"),
        Column("deal", text("deal", "w.deal"), "text", "private deal; NULL = open auction"),
        Column("segment", text("segment", "w.segment"), "text", "segment rented: the first its campaign targets"),
        Column("purpose", text("purpose", "w.purpose", 1), "text", "prospect, winback or drive_to_store"),
        *_TERMS,
        *_OUTCOME,
    ],
)
EVENTS: Final = View(
    "events",
    "one thing that happened to a win",
    "raw_event_rows AS e",
    [
        *_head("e"),
        Column("kind", text("event", "e.kind"), "text", "impression, view, click, conversion, refund, release, ..."),
        Column("serial", "e.serial", "number", "the award: with the worker, the key that joins events to wins"),
        Column("auction_id", "e.auction_id", AUCTION.unit, AUCTION.meaning),
        Column("imp", "e.imp_ix", IMP.unit, IMP.meaning),
        Column("slot", "e.slot", "number", "position on the imp, best first, from 0"),
        Column("person", "nullif(e.person_key, 0)", "number", "keyed hash of the person; NULL = unknown"),
        Column("campaign", text("campaign", "e.campaign"), "text", "advertiser/campaign; NULL = a remote bidder's"),
        Column("advertiser", text("advertiser", "e.advertiser"), "text", "who rents the person"),
        Column("paid_nano", "e.paid_nano", "nano", "what it posts: the total, below 0 for a refund, else 0"),
        Column("paid", "e.paid_nano / 1e9", "currency", "what it posts"),
        Column("number", "nullif(e.number, 0)", "number", "of the award's refund, from 1; NULL = no refund"),
    ],
)
CONTACTS: Final = View(
    "contacts",
    "one billed win of a known person: the advertiser rented him once more",
    "raw_contacts AS w LEFT JOIN raw_outcomes AS o ON o.worker = w.worker AND o.serial = w.serial",
    [
        *_head("w"),
        *_WHO,
        Column("publisher", text("publisher", "w.publisher"), "text", "who showed the ad"),
        Column("segment", text("segment", "w.segment"), "text", "segment rented: the first its campaign targets"),
        Column("own", f"(w.flags & {m.FLAG_OWN}) <> 0", "true or false", "the person was on the advertiser's own list"),
        Column("contact_n", "w.contact_n", "number", "1 = the first the advertiser paid for, above 1 = rented again"),
        Column("paid_nano", "w.paid_nano", "nano", "what it cost"),
        Column("net_nano", f"w.paid_nano - {REFUNDED}", "nano", "less what was given back"),
        Column("paid", "w.paid_nano / 1e9", "currency", "what it cost"),
        Column(
            "cum_rent_nano", "w.cum_rent_nano", "nano", "paid by this advertiser for this person, this one included"
        ),
        Column("days_since_last", "w.days_since_last", "days", "since the contact before; NULL = the first"),
        Column("month", f"date_trunc('month', {moment('w.ts_ns')})::DATE", "date", "first day of the billing's month"),
        Column("week", f"date_trunc('week', {moment('w.ts_ns')})::DATE", "date", "Monday of the billing's week"),
        Column("seen", SEEN, "true or false", "the ad was seen"),
        Column("clicked", _masked(CLICK_MASK), "true or false", "it was clicked"),
        Column("converted", _masked(CONVERSION_MASK), "true or false", "the person did what the campaign is for"),
        Column("opted_in", _masked(1 << m.KIND_OPT_IN), "true or false", "the person agreed to be contacted directly"),
    ],
)
POSTINGS: Final = View(
    "postings",
    "one account's side of one billing or refund, in double entry",
    "raw_postings AS p",
    [
        *_head("p"),
        Column("serial", "p.serial", "number", "the award: with the worker, the key that joins to wins"),
        Column("kind", text("event", "p.kind"), "text", "impression, billed click, billed conversion or refund"),
        Column("party", "p.party", "text", "advertiser, or one of the ten parties"),
        Column(
            "account",
            "coalesce(CASE p.party "
            f"WHEN 'advertiser' THEN {text('advertiser', 'p.advertiser')} "
            f"WHEN 'publisher' THEN {text('publisher', 'p.publisher')} "
            f"WHEN 'dsp' THEN {text('remote', 'p.endpoint', 1)} END, p.party)",
            "text",
            "name of the advertiser, the publisher or the bidder's endpoint; else the party",
        ),
        Column("debit_nano", "greatest(p.amount_nano, 0)", "nano", "what it owes"),
        Column("credit_nano", "greatest(-p.amount_nano, 0)", "nano", "what it is owed"),
    ],
)
NAMES: Final = View(
    "names",
    "one name and its number",
    "raw_names",
    [
        Column("kind", "kind", "text", "advertiser, campaign, publisher, domain, ..."),
        Column("id", "id", "number", "from 1 per kind"),
        Column("text", "text", "text", "the name"),
    ],
)
META: Final = View(
    "meta",
    "one fact about the ledger",
    "raw_meta",
    [
        Column("key", "key", "text", "format, currency, journal, ..."),
        Column("value", "value", "text", "as text; JSON where it is not a plain value"),
    ],
)
VIEWS: Final = (AUCTIONS, BIDS, WINS, EVENTS, CONTACTS, POSTINGS, NAMES, META)
