"""The report `summary`: what renting, and re-renting, people cost, from a thousand ads to a new customer."""

import datetime
import re
from typing import Any, Final

from msgspec.structs import replace

from exchange.report.asking import BY as DIMENSIONS
from exchange.report.asking import Books, by_title, money, ratio
from exchange.report.lost import NO_OFFER
from exchange.report.shape import Amount, Answer, Column, Figure, Report, Table, Text
from exchange.report.waterfall import parties, steps

TITLE: Final = "Summary"
QUESTION: Final = "what did renting people cost, and who got the money?"
BY: Final = DIMENSIONS
NET: Final = "Net of refunds."
MONTH: Final = datetime.timedelta(days=28)
ME: Final = "“Me” is all {n} advertisers of this ledger together; the table by advertiser has each one's own numbers."


WITHIN: Final = Text("Counted within these wins alone: a first contact, and a customer rented twice, are so among "
                     "them. What is nobody's is left out: spaces offered where an advertiser or a segment is meant, "
                     "bids where a segment is.")  # fmt: skip


def counted(books: Books) -> dict[str, Any]:
    """Every count and sum (nano) that the figures are made of."""
    s = books.summary
    auctions, sold, bids = _market_of(books) if books.only else (s.auctions, s.sold, s.bids)
    return {
        "rows": s.wins + s.losers, "auctions": auctions, "sold": sold, "bids": bids, "wins": s.wins,
        "billed": s.billed, "seen": s.seen, "clicks": s.clicks, "conversions": s.conversions,
        "paid": s.spend_nano + s.refunded_nano, "refunded": s.refunded_nano, "spend": s.spend_nano,
        "refunds": s.refunded_wins, "released": s.released - s.unpaid, "unpaid": s.unpaid, "held": s.open_holds,
        "held_nano": s.held_nano, "contacts": s.contacts, "known": s.known_spend_nano, "people": s.people,
        "own_spend": s.own_spend_nano, "own_seen": s.own_seen, "own_billed": s.own_billed,
        "other_spend": s.spend_nano - s.own_spend_nano, "other_seen": s.seen - s.own_seen,
        "customers": s.customers, "twice": s.rented_again, "own": s.own_customers, "won_over": s.new_customers,
        "median": s.rent.p50_nano, "p90": s.rent.p90_nano, "highest": s.rent.max_nano,
        "advertisers": sum(row.people > 0 for row in s.advertisers),
        "customer_months": s.customer_months, "person_months": s.person_months,
        "first": s.first_contacts, "first_nano": s.first_contacts_nano,
        "again": s.contacts - s.first_contacts, "again_nano": s.known_spend_nano - s.first_contacts_nano,
    }  # fmt: skip


def _market_of(books: Books) -> tuple[int | None, int | None, int | None]:
    """(auctions, of these sold, bids with a price) of what the report is restricted to; None where they name none."""
    auctions = sold = bids = None
    if not {"advertiser", "segment"} & books.only.keys():
        auctions, sold = books.one(f"SELECT count(*), count(*) FILTER (sold) FROM auctions AS a "
                                   f"WHERE {books.where(auctions='a')}")  # fmt: skip
    if "segment" not in books.only:
        bids = books.one(
            "SELECT count(*) FROM bids AS b JOIN auctions AS a USING (worker, auction_id, imp) "
            f"WHERE b.fate NOT IN {NO_OFFER} AND {books.where(bids='b', auctions='a')}"
        )[0]
    return auctions, sold, bids


def build(books: Books, by: tuple[str, ...] = ()) -> Report:
    """The summary of a ledger; `by` splits its main table (default: by advertiser)."""
    c = counted(books)
    since, until = books.span()
    notes = [
        Text("A customer is one person rented by one advertiser; a contact is an ad that was paid for and whose person "
             "is known. A contact that was refunded stays a contact."),
    ]  # fmt: skip
    if c["rows"] and c["contacts"] < c["billed"]:
        notes.append(Text("{n} paid ads went to people nobody knew: they are in the money, and in no count of people.",
                          {"n": Amount(c["billed"] - c["contacts"], "count")}))  # fmt: skip
    if books.only:
        notes.append(WITHIN)
    cut = sum(books.ledger.cut.values())
    if cut and not books.only:
        notes.append(Text("{n} rows were left out: an unfinished step, or a writer at work.",
                          {"n": Amount(cut, "count")}))  # fmt: skip
    return Report(
        name="summary", title=TITLE, question=QUESTION, rows=c["rows"], currency=books.currency, ledger=books.name,
        since=since, until=until, answers=_answers(books, c), figures=figures(c), notes=notes,
        tables=[split(books, by or ("advertiser",))],
        charts=[steps(parties(books))] if c["spend"] > 0 else [],
    )  # fmt: skip


# ---- answers ---------------------------------------------------------------------------------------------------


def _answers(books: Books, c: dict[str, Any]) -> list[Answer]:
    """What a person asks first, in plain sentences."""
    if not c["billed"]:
        nothing = Text("Nothing was paid for: there is nothing to answer from ({wins} wins, {held} still open).",
                       {"wins": Amount(c["wins"], "count"), "held": Amount(c["held"], "count")})  # fmt: skip
        return [Answer("What did renting cost?", [nothing])]
    return [
        Answer("What did one customer cost me?", _cost(books, c)),
        Answer("How many did I rent twice?", _twice(c)),
        Answer("How many were mine already?", _own(c)),
        Answer("Who got my euro?" if books.currency == "EUR" else "Who got my money?", _who(books, c)),
    ]


def _cost(books: Books, c: dict[str, Any]) -> list[Text]:
    if not c["customers"]:
        return [Text("Nobody who was reached is known, so there is no customer to put a price on.")]
    told = [
        Text("Renting one customer cost {each} on average: {spend} for {n} customers.",
             {"each": _money(c["known"] / c["customers"]), "spend": _money(c["known"]),
              "n": Amount(c["customers"], "count")}),
    ]  # fmt: skip
    if c["customers"] > c["people"]:
        told.append(Text("They are {n} people: one whom several advertisers rented is a customer of each.",
                         {"n": Amount(c["people"], "count")}))  # fmt: skip
    kilo = {"kilo": _money(1000 * c["known"] / c["customer_months"])}
    first, last = books.times()
    if first is not None and last is not None and last - first < MONTH:
        seen = {"first": Amount(f"{first:%Y-%m-%d %H:%M:%S}", "text"),
                "last": Amount(f"{last:%Y-%m-%d %H:%M:%S}" if last.date() != first.date() else f"{last:%H:%M:%S}",
                               "text")}  # fmt: skip
        told.append(Text("A thousand customers (a kilo-customer) cost {kilo} for the part of a month that this ledger "
                         "holds: {first} to {last} UTC.", kilo | seen))  # fmt: skip
    else:
        told.append(Text("A thousand customers for a month (a kilo-customer) cost {kilo}.", kilo))
    if c["won_over"]:
        told.append(Text("Winning one new customer, who did what the ad was for and was not yours before, cost {cac} "
                         "({n} won).",
                         {"cac": _money(c["spend"] / c["won_over"]), "n": Amount(c["won_over"], "count")},
                         people=c["won_over"]))  # fmt: skip
    elif c["conversions"]:
        told.append(Text("No conversion was that of a new customer (conversions: {n}), so a new customer has no price "
                         "yet.", {"n": Amount(c["conversions"], "count")}, people=c["conversions"]))  # fmt: skip
    else:
        told.append(Text("No conversion was reported, so a new customer has no price yet."))
    if c["advertisers"] > 1:
        told.append(Text(ME, {"n": Amount(c["advertisers"], "count")}))
    return told


def _twice(c: dict[str, Any]) -> list[Text]:
    if not c["customers"]:
        return [Text("Nobody who was reached is known, so nobody can be counted twice.")]
    return [
        Text("{n} of {all} customers were rented twice or more ({share}).",
             {"n": Amount(c["twice"], "count"), "all": Amount(c["customers"], "count"),
              "share": Amount(c["twice"] / c["customers"], "share")}, people=c["twice"] or None),
        Text("{n} of {all} contacts ({share}) went to someone the same advertiser had paid for before.",
             {"n": Amount(c["contacts"] - c["customers"], "count"), "all": Amount(c["contacts"], "count"),
              "share": Amount(1 - c["customers"] / c["contacts"], "share")}),
    ]  # fmt: skip


def _own(c: dict[str, Any]) -> list[Text]:
    if not c["customers"]:
        return [Text("Nobody who was reached is known, so nobody can be found on a list.")]
    told = [
        Text("{n} of {all} customers ({share}) were on the advertiser's own list when it rented them.",
             {"n": Amount(c["own"], "count"), "all": Amount(c["customers"], "count"),
              "share": Amount(c["own"] / c["customers"], "share")}, people=c["own"] or None),
    ]  # fmt: skip
    if c["own"]:
        told.append(Text("They took {spend}, {share} of all money.",
                         {"spend": _money(c["own_spend"]),
                          "share": Amount(ratio(c["own_spend"], c["spend"]), "share")}, people=c["own"]))  # fmt: skip
    return told


def _who(books: Books, c: dict[str, Any]) -> list[Text]:
    if c["spend"] <= 0:
        return [Text("All of it was given back.")]
    got = {name: 1e11 * nano / c["spend"] for name, nano in parties(books).items()}
    return [
        Text("Of every {whole}, {publisher} reached publishers.",
             {"whole": Amount("100", "money"), "publisher": _money(got["publisher"])}),
        Text("The buyer's side took {buy} (agency {agency}, demand platform {dsp}, data and verification {data}, taxes "
             "and currency {tax}).",
             {"buy": _money(sum(got[p] for p in ("agency", "dsp", "data", "verify", "tax", "fx"))),
              "agency": _money(got["agency"]), "dsp": _money(got["dsp"]),
              "data": _money(got["data"] + got["verify"]), "tax": _money(got["tax"] + got["fx"])}),
        Text("The exchange took {exchange}, supply technology {tech}; {hidden} is accounted for by nobody.",
             {"exchange": _money(got["exchange"]), "tech": _money(got["supply_tech"]),
              "hidden": _money(got["hidden"])}),
        *([Text("Each advertiser's own: rentier report waterfall --by advertiser.")] if c["advertisers"] > 1 else []),
    ]  # fmt: skip


def _money(nano: float) -> Amount:
    return Amount(nano / 1e9, "money")


# ---- figures ---------------------------------------------------------------------------------------------------


def figures(c: dict[str, Any]) -> list[Figure]:
    """All figures of the summary, from what was counted."""
    return [*_ladder(c), *_rents(c), *_market(c)]


def _ladder(c: dict[str, Any]) -> list[Figure]:
    """From money to a thousand ads, a click, a conversion, a new customer."""
    spend = money(c["spend"])
    return [
        Figure("spend", "spend", spend, "money", "What buyers paid, all fees included. Net of refunds.",
               "sum(net_nano) / 1e9", c["billed"]),
        Figure("paid", "paid", money(c["paid"]), "money", "What buyers paid before anything was given back. Gross.",
               "sum(paid_nano) / 1e9", c["billed"]),
        Figure("refunded", "given back", money(c["refunded"]), "money", "What was refunded to buyers.",
               "sum(refunded_nano) / 1e9", c["refunds"]),
        Figure("seen", "ads seen", c["seen"], "ads", "Wins whose ad was seen: an impression or a view was reported, or "
               "what is billed was. Losers that an all-pay auction charges show nothing.", "count(*) where seen",
               c["seen"]),
        Figure("cpm", "CPM", ratio(spend, c["seen"], 1000), "cpm", "What buyers paid for 1,000 ads seen. Net of "
               "refunds.", "1000 * spend / seen", c["seen"]),
        Figure("clicks", "clicks", c["clicks"], "clicks", "Wins whose ad was clicked.", "count(*) where clicked",
               c["clicks"], people=c["clicks"] or None),
        Figure("ecpc", "cost of a click (eCPC)", ratio(spend, c["clicks"]), "money", "Spend over clicks, however it "
               "was billed. Net of refunds.", "spend / clicks", c["clicks"], people=c["clicks"] or None),
        Figure("conversions", "conversions", c["conversions"], "conversions", "Wins whose person did what the ad was "
               "for.", "count(*) where converted", c["conversions"], people=c["conversions"] or None),
        Figure("cpa", "cost of a conversion (CPA)", ratio(spend, c["conversions"]), "money", "Spend over conversions; "
               "they may have come without the ad. Net of refunds.", "spend / conversions", c["conversions"],
               people=c["conversions"] or None),
        Figure("new_customers", "new customers", c["won_over"], "customers", "Customers with a conversion on a paid "
               "ad while they were not on the advertiser's own list.",
               "count(distinct (advertiser, person)) where paid_nano > 0 and converted and not own", c["won_over"],
               people=c["won_over"] or None),
        Figure("cac", "cost of a new customer (CAC)", ratio(spend, c["won_over"]), "money", "All spend over new "
               "customers. Net of refunds.", "spend / new_customers", c["won_over"], people=c["won_over"] or None),
    ]  # fmt: skip


def _rents(c: dict[str, Any]) -> list[Figure]:
    """What renting people costs, first and again, others' and one's own."""
    known, contacts, own_cpm = money(c["known"]), c["contacts"], ratio(c["own_spend"], c["own_seen"])
    other_cpm = ratio(c["other_spend"], c["other_seen"])
    return [
        Figure("people", "people rented", c["people"], "people", "Different known people in paid ads, whoever paid.",
               "count(distinct person) where billed", contacts),
        Figure("customers", "customers rented", c["customers"], "customers", "Different pairs of an advertiser and a "
               "known person it paid for.", "count(distinct (advertiser, person)) where billed", contacts),
        Figure("contacts", "contacts", contacts, "contacts", "Paid ads whose person is known, refunded or not.",
               "count(*) where billed and person is not null", contacts),
        Figure("rent", "cost of one customer", ratio(known, c["customers"]), "money", "Money spent on known people "
               "over customers. Net of refunds.", "sum(net_nano where person is not null) / 1e9 / customers", contacts),
        Figure("rent_median", "cost of the middle customer", c["median"] / 1e9 if c["customers"] else None, "money",
               "Half of the customers cost less. Net of refunds.", "median of sum(net_nano) per (advertiser, person)",
               c["customers"]),
        Figure("rent_p90", "cost that one customer in ten exceeds", c["p90"] / 1e9 if c["customers"] else None, "money",
               "90th percentile of what customers cost. Net of refunds.",
               "quantile 0.9 of sum(net_nano) per (advertiser, person)", c["customers"]),
        Figure("rent_highest", "cost of the dearest customer", money(c["highest"]) if c["customers"] else None, "money",
               "The most that one advertiser spent on one person. Net of refunds.",
               "max of sum(net_nano) per (advertiser, person)", c["customers"], people=min(1, c["customers"])),
        Figure("first_contact", "cost of a first contact", ratio(money(c["first_nano"]), c["first"]), "money",
               "Mean cost of contacts that are the first of their customer. Net of refunds.",
               "avg(net_nano) / 1e9 where contact_n = 1", c["first"]),
        Figure("later_contact", "cost of renting again", ratio(money(c["again_nano"]), c["again"]), "money",
               "Mean cost of contacts with someone the advertiser had paid for before. Net of refunds.",
               "avg(net_nano) / 1e9 where contact_n > 1", c["again"]),
        Figure("rented_twice", "customers rented twice or more", c["twice"], "customers", "Customers with at least "
               "two contacts.", "count of (advertiser, person) with count(*) > 1", c["customers"],
               people=c["twice"] or None),
        Figure("rerental", "re-rental", 1 - c["customers"] / contacts if contacts else None, "share", "Share of "
               "contacts that rent someone the same advertiser had paid for before.", "1 - customers / contacts",
               contacts),
        Figure("own_customers", "own customers rented", c["own"], "customers", "Customers who were on the advertiser's "
               "own list when they were rented, at least once.",
               "count(distinct (advertiser, person)) where billed and own", c["own_billed"], people=c["own"] or None),
        Figure("own_share", "own customers' share of spend", ratio(c["own_spend"], c["spend"]), "share", "Money spent "
               "on people who were on the advertiser's own list, over all spend. Net of refunds.",
               "sum(net_nano where own) / sum(net_nano)", c["own_billed"], people=c["own"] or None),
        Figure("own_premium", "own customers' price", ratio(own_cpm or 0, other_cpm or 0) if own_cpm is not None
               else None, "ratio", "CPM on own customers over the CPM on everybody else. Net of refunds.",
               "cpm where own / cpm where not own", c["own_seen"], people=c["own"] or None),
        Figure("kilo_customer", "kilo-customer", ratio(known, c["customer_months"], 1000), "per_kilo", "What 1,000 "
               "customers cost for a calendar month (UTC) in which they are rented. Net of refunds.",
               "1000 * sum(net) / count(distinct (advertiser, person, month)), person known", contacts),
        Figure("person_month", "person-month", ratio(known, c["person_months"]), "per_person_month", "What all "
               "advertisers together spend on a person in a calendar month (UTC) in which he is rented. Net of "
               "refunds.", "sum(net) / count(distinct (person, month)), person known", contacts),
    ]  # fmt: skip


def _market(c: dict[str, Any]) -> list[Figure]:
    """What was offered, sold, and still waits."""
    return [
        Figure("auctions", "ad spaces offered", c["auctions"], "auctions", "Auctions held, sold or not.",
               "count(*) of auctions", c["auctions"] or 0),
        Figure("fill", "sold", ratio(c["sold"] or 0, c["auctions"] or 0), "share", "Share of auctions with at least "
               "one winner.", "count(*) where sold / auctions", c["auctions"] or 0),
        Figure("bids", "bids", c["bids"], "bids", "Bids with a price; none where the journal keeps no bids.",
               "count(*) of bids where fate_name not in ('no_bid', 'holdout')", c["bids"] or 0),
        Figure("wins", "wins", c["wins"], "wins", "Positions won; without losers that an all-pay auction charges.",
               "count(*) where not lost", c["wins"]),
        Figure("billed", "billed", c["billed"], "wins", "Wins whose billable event came in time.",
               "count(*) where billed", c["billed"]),
        Figure("released", "released", c["released"], "wins", "Wins whose hold expired without the billable event.",
               "count(*) where status = 'released'", c["released"]),
        Figure("unpaid", "unpaid", c["unpaid"], "wins", "Wins whose billable event came too late: nothing is owed.",
               "count(*) where status = 'unpaid'", c["unpaid"]),
        Figure("held", "still open", c["held"], "wins", "Wins whose billable event may still come.",
               "count(*) where status = 'held'", c["held"]),
        Figure("held_money", "money held", money(c["held_nano"]), "money", "What the open wins will cost if all are "
               "billed.", "sum(total_nano where status = 'held') / 1e9", c["held"]),
    ]  # fmt: skip


# ---- the main table --------------------------------------------------------------------------------------------

COLUMNS: Final = [
    Column("spend", "spend", "money", "What was paid. Net of refunds.", "sum"),
    Column("customers", "customers", "customers", "Different pairs of an advertiser and a known person.", ""),
    Column("rent", "cost of a customer", "money", "Money spent on known people over customers. Net of refunds.", ""),
    Column("contacts", "contacts", "contacts", "Paid ads whose person is known.", "sum"),
    Column("twice", "rented twice", "customers", "Customers with at least two contacts within the group.", "",
           few="twice"),
    Column("own_customers", "own customers", "customers", "Customers who were on the advertiser's own list when they "
           "were rented.", "", few="own_customers"),
    Column("own_share", "own, of spend", "share", "Share of spend on the advertiser's own customers.", "ratio",
           "own_spend", "spend", few="own_customers"),
    Column("seen", "ads seen", "ads", "Wins whose ad was seen.", "sum"),
    Column("cpm", "CPM", "cpm", "1000 x spend / ads seen.", "ratio", "spend", "seen", 1000.0),
    Column("people", "people", "people", "Different known people in paid ads.", ""),
    Column("clicks", "clicks", "clicks", "Wins whose ad was clicked.", "sum", few="clicks"),
    Column("conversions", "conversions", "conversions", "Wins whose person did what the ad was for.", "sum",
           few="conversions"),
    Column("wins", "wins", "wins", "Positions won.", "sum"),
    Column("own_spend", "spend on own", "money", "Spend on the advertiser's own customers. Net of refunds.", "sum",
           aside=True, few="own_customers"),
    Column("known", "spend on known people", "money", "What was paid for people who are known. Net of refunds.", "sum",
           aside=True),
]  # fmt: skip
# Each customer is one advertiser's: by advertiser alone, and in no other way, customers add up.
ADDED: Final[dict[str, dict[str, Any]]] = {
    "customers": {"role": "sum"}, "twice": {"role": "sum"}, "own_customers": {"role": "sum"},
    "rent": {"role": "ratio", "over": "known", "under": "customers"},
}  # fmt: skip


def split(books: Books, by: tuple[str, ...]) -> Table:
    """The main table: money and people by some dimensions, largest spend first."""
    keys = [Column(name, name, "text", role="key") for name in by]
    columns = [replace(column, **ADDED.get(column.key, {})) for column in COLUMNS] if by == ("advertiser",) else COLUMNS
    counted_rows = _by_advertiser(books) if by == ("advertiser",) else None
    if counted_rows is not None:
        return Table("split", by_title(by), [*keys, *columns], counted_rows, people="people", total=True)
    names = ", ".join(by)
    rows = books.sql(f"""
WITH twice AS (SELECT {names}, count(*) FILTER (n > 1) AS twice, count(*) AS customers,
  count(*) FILTER (own) AS own_customers FROM (
  SELECT {names}, advertiser AS who, rented, count(*) AS n, bool_or(own) AS own
  FROM facts WHERE rented IS NOT NULL GROUP BY {", ".join(dict.fromkeys((*by, "advertiser")))}, rented)
  GROUP BY {names})
SELECT {", ".join(f"f.{name}" for name in by)}, sum(net_nano) / 1e9 AS spend, coalesce(any_value(customers), 0),
  sum(net_nano) FILTER (rented IS NOT NULL) / 1e9 / any_value(customers), count(rented),
  coalesce(any_value(twice), 0), coalesce(any_value(own_customers), 0),
  sum(net_nano) FILTER (own) / nullif(sum(net_nano), 0)::DOUBLE, count(*) FILTER (seen),
  1000 * sum(net_nano) / 1e9 / nullif(count(*) FILTER (seen), 0), count(DISTINCT rented), count(*) FILTER (clicked),
  count(*) FILTER (converted), count(*) FILTER (NOT lost), coalesce(sum(net_nano) FILTER (own), 0) / 1e9,
  coalesce(sum(net_nano) FILTER (rented IS NOT NULL), 0) / 1e9
FROM facts AS f LEFT JOIN twice USING ({names})
GROUP BY {", ".join(f"f.{name}" for name in by)} ORDER BY spend DESC, {names}""")
    return Table("split", by_title(by), [*keys, *columns], [list(row) for row in rows], people="people", total=True)


def _by_advertiser(books: Books) -> list[list[Any]] | None:
    """The rows by advertiser, of what was counted already; None where one has no name: SQL puts those together."""
    found = books.summary.advertisers
    if any(re.fullmatch(r"advertiser \d+", row.name) for row in found):
        return None
    return [
        [row.name, money(row.spend_nano), row.people, ratio(money(row.known_spend_nano), row.people), row.contacts,
         row.rented_again, row.own_customers, ratio(row.own_spend_nano, row.spend_nano), row.seen,
         ratio(money(row.spend_nano), row.seen, 1000), row.people, row.clicks, row.conversions, row.wins,
         money(row.own_spend_nano), money(row.known_spend_nano)]
        for row in found
    ]  # fmt: skip
