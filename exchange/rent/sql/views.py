"""The SQL views of a ledger: every column with its expression, its unit and its meaning, in one table.

The views stand on the relations of relations.py and on tables that `connect` makes: raw_texts (lists of texts by
number), raw_names, raw_meta.
"""

from typing import Final, NamedTuple

from exchange import market as m
from exchange.market import PARTIES
from exchange.rent.sql.relations import BILLED_MASK, CLICK_MASK, CONVERSION_MASK, SEEN_MASK, listed

EVENT_KINDS: Final = (*m.BILLING, m.KIND_CLICK, m.KIND_RELEASE, m.KIND_UNPAID, m.KIND_VIEW, m.KIND_CONVERSION,
                      m.KIND_OPT_IN, m.KIND_OPT_OUT, m.KIND_REFUND)  # fmt: skip


class Column(NamedTuple):
    """One column of a view."""

    name: str
    sql: str
    unit: str
    meaning: str
    lookup: str = ""  # of a text: how it is found, for a row r among the lists t


class View(NamedTuple):
    """One view: what a row is, the relation it comes from, what is joined to it, and its columns."""

    name: str
    row: str
    rows: str
    joined: str
    columns: list[Column]

    @property
    def sql(self) -> str:
        """The statement that makes the view.

        Texts are looked up below the join: DuckDB leaves out a left join of which nothing is used (its right side has
        one row a key), but not from under a cross product.
        """
        columns = ",\n  ".join(f'{column.sql} AS "{column.name}"' for column in self.columns)
        found = "".join(f',\n    {column.lookup} AS "{column.name}_text"' for column in self.columns if column.lookup)
        rows = f"(SELECT r.*{found}\n  FROM {self.rows} AS r, raw_texts AS t)" if found else self.rows
        return f"CREATE VIEW {self.name} AS SELECT\n  {columns}\nFROM {rows} AS w {self.joined}"


def _text(name: str, meaning: str, kind: str = "", field: str = "", shift: int = 0) -> Column:
    """A column of names."""
    return Column(name, f'w."{name}_text"', "text", meaning, listed(kind or name, field or name, shift))


def moment(ts_ns: str) -> str:
    """A time in nanoseconds as a timestamp, cut to microseconds."""
    return f"make_timestamp({ts_ns} // 1000)"


def _masked(mask: int) -> str:
    """Whether one of these kinds of events arrived."""
    return f"coalesce(o.kinds & {mask}, 0) <> 0"


BILLED: Final = _masked(BILLED_MASK)
CLICKED: Final = _masked(CLICK_MASK)
CONVERTED: Final = _masked(CONVERSION_MASK)
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


def _head() -> list[Column]:
    """Where and when a row was written."""
    return [
        Column("time", moment("w.ts_ns"), "UTC", "when it happened"),
        Column("seq", "w.seq", "number", "place of the row among all rows of its worker"),
        Column("worker", "w.worker", "number", "the process that wrote it"),
    ]


AUCTION: Final = Column("auction_id", "auction_id", "number", "the auction, the exchange's own number")
IMP: Final = Column("imp", "imp_ix", "number", "the imp in its request, from 0")

AUCTIONS: Final = View(
    "auctions",
    "one imp offered, sold or not",
    "raw_auctions",
    "",
    [
        *_head(),
        AUCTION,
        IMP,
        _text("publisher", "who offered it"),
        _text("domain", "site or app"),
        Column("country", COUNTRY, "text", "two letters; NULL = unknown"),
        _text("media", "banner, video, audio or native"),
        _text("device", "other, phone, tablet, desktop or ctv", "device", "device", 1),
        Column("size", SIZE, "pixels", "width x height of its first size; NULL = none"),
        Column("hour", "hour", "hour", "0 to 23, as audiences see it"),
        _text("format", "auction format"),
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
    "raw_bids",
    "",
    [
        *_head(),
        AUCTION,
        IMP,
        _text("advertiser", "who bids; NULL = not said"),
        _text("campaign", "advertiser/campaign; NULL = a remote bidder's"),
        _text("seat", "the buyer's seat"),
        _text("endpoint", "bidder asked; local = in process", "endpoint", "endpoint", 2),
        *_money("value", "value_nano", "per impression", "the campaign's own valuation; 0 = remote"),
        *_money("gross", "gross_nano", "per impression", "what the buyer bid, fees included"),
        *_money("net", "net_nano", "per impression", "what the bid is worth in the auction"),
        Column("fate", "fate", "code", "0 = won, else why not (OpenRTB loss reasons, own codes from 500)"),
        _text("fate_name", "short name of the fate", "fate_name", "fate", 1),
        _text("meaning", "the fate in words", "fate_meaning", "fate", 1),
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
    _text("bill", "the billable event: impression, click or conversion", "bill", "bill", 1),
    _text("format", "auction format that priced it", "format", "price_rule"),
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
    Column("clicked", CLICKED, "true or false", "it was clicked"),
    Column("converted", CONVERTED, "true or false", "the person did what the campaign is for"),
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
    _text("advertiser", "who rents the person"),
    _text("campaign", "advertiser/campaign; NULL = a remote bidder's"),
]
WINS: Final = View(
    "wins",
    "one position won: the terms, and what became of it",
    "raw_wins",
    "LEFT JOIN raw_outcomes AS o ON o.worker = w.worker AND o.serial = w.serial",
    [
        *_head(),
        Column("auction_id", "w.auction_id", AUCTION.unit, AUCTION.meaning),
        Column("imp", "w.imp_ix", IMP.unit, IMP.meaning),
        Column("slot", "w.slot", "number", "position on the imp, best first, from 0"),
        *_WHO,
        _text("creative", "the ad; NULL = a remote bidder's, or none"),
        _text("seat", "the buyer's seat"),
        _text("endpoint", "bidder asked; local = in process", "endpoint", "endpoint", 2),
        _text("publisher", "who showed it"),
        _text("domain", "site or app"),
        _text("deal", "private deal; NULL = open auction"),
        _text("segment", "segment rented: the first its campaign targets"),
        _text("purpose", "prospect, winback or drive_to_store", "purpose", "purpose", 1),
        *_TERMS,
        *_OUTCOME,
    ],
)
EVENT_KIND: Final = "CASE w.kind " + " ".join(f"WHEN {kind} THEN '{m.KINDS[kind]}'" for kind in EVENT_KINDS) + " END"
EVENTS: Final = View(
    "events",
    "one thing that happened to a win",
    "raw_event_rows",
    "",
    [
        *_head(),
        Column("kind", EVENT_KIND, "text", "impression, view, click, conversion, refund, release, ..."),
        Column("serial", "w.serial", "number", "the award: with the worker, the key that joins events to wins"),
        Column("auction_id", "w.auction_id", AUCTION.unit, AUCTION.meaning),
        Column("imp", "w.imp_ix", IMP.unit, IMP.meaning),
        Column("slot", "w.slot", "number", "position on the imp, best first, from 0"),
        Column("person", "nullif(w.person_key, 0)", "number", "keyed hash of the person; NULL = unknown"),
        Column("campaign", "w.campaign_text", "text", "advertiser/campaign; NULL = a remote bidder's"),
        Column("advertiser", "w.advertiser_text", "text", "who rents the person"),
        Column("paid_nano", "w.paid_nano", "nano", "what it posts: the total, below 0 for a refund, else 0"),
        Column("paid", "w.paid_nano / 1e9", "currency", "what it posts"),
        Column("number", "nullif(w.number, 0)", "number", "of the award's refund, from 1; NULL = no refund"),
    ],
)
CONTACTS: Final = View(
    "contacts",
    "one billed win of a known person: the advertiser rented him once more",
    "raw_contacts",
    "LEFT JOIN raw_outcomes AS o ON o.worker = w.worker AND o.serial = w.serial",
    [
        *_head(),
        *_WHO,
        _text("publisher", "who showed the ad"),
        _text("segment", "segment rented: the first its campaign targets"),
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
        Column("clicked", CLICKED, "true or false", "it was clicked"),
        Column("converted", CONVERTED, "true or false", "the person did what the campaign is for"),
        Column("opted_in", _masked(1 << m.KIND_OPT_IN), "true or false", "the person agreed to be contacted directly"),
    ],
)
POSTINGS: Final = View(
    "postings",
    "one account's side of one billing or refund, in double entry",
    "raw_postings",
    "",
    [
        *_head(),
        Column("serial", "w.serial", "number", "the award: with the worker, the key that joins to wins"),
        Column("kind", EVENT_KIND, "text", "impression, billed click, billed conversion or refund"),
        Column("party", "w.party", "text", "advertiser, or one of the ten parties"),
        Column(
            "account",
            "w.account_text",
            "text",
            "the advertiser's, publisher's or endpoint's name; else the party",
            "coalesce(CASE r.party "
            f"WHEN 'advertiser' THEN {listed('advertiser', 'advertiser')} "
            f"WHEN 'publisher' THEN {listed('publisher', 'publisher')} "
            f"WHEN 'dsp' THEN {listed('remote', 'endpoint', 1)} END, r.party)",
        ),
        Column("debit_nano", "greatest(w.amount_nano, 0)", "nano", "what it owes"),
        Column("credit_nano", "greatest(-w.amount_nano, 0)", "nano", "what it is owed"),
    ],
)
NAMES: Final = View(
    "names",
    "one name and its number",
    "raw_names",
    "",
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
    "",
    [
        Column("key", "key", "text", "format, currency, journal, ..."),
        Column("value", "value", "text", "as text; JSON where it is not a plain value"),
    ],
)
VIEWS: Final = (AUCTIONS, BIDS, WINS, EVENTS, CONTACTS, POSTINGS, NAMES, META)
