"""The report `price_list`: the rate card of audiences: what a person, and a thousand customers, cost for a month."""

from typing import Final

from exchange.report.asking import BY as DIMENSIONS
from exchange.report.asking import Books, by_title, money, ratio
from exchange.report.shape import Amount, Answer, Cell, Column, Figure, Report, Table, Text

TITLE: Final = "Price list"
QUESTION: Final = "what does a person cost for a month, by segment, publisher and week?"
BY: Final = DIMENSIONS
DEFAULT: Final = ("segment", "publisher", "week")  # a table each
COLUMNS: Final = [
    Column("people", "people", "people", "Different known people in paid ads."),
    Column("person_months", "person-months", "person_months", "Different pairs of a person and a calendar month (UTC) "
           "in which someone paid for him."),
    Column("person_month", "person-month", "per_person_month", "spend / person-months: what all advertisers together "
           "spend on a person in a month in which he is rented. Net of refunds.", bar=True),
    Column("kilo_customer", "kilo-customer", "per_kilo", "1000 x spend / customer-months: what 1,000 customers (pairs "
           "of an advertiser and a person) cost for a month. Net of refunds."),
    Column("contacts", "contacts", "contacts", "Paid ads whose person is known.", "sum"),
    Column("contact", "a contact", "money", "spend / contacts. Net of refunds.", "ratio", "spend", "contacts"),
    Column("spend", "spend", "money", "What was paid for known people. Net of refunds.", "sum"),
]  # fmt: skip
WHOLE: Final = """SELECT count(rented), sum(net_nano) FILTER (rented IS NOT NULL), count(DISTINCT rented),
  count(DISTINCT (rented, billed_month)) FILTER (rented IS NOT NULL),
  count(DISTINCT (advertiser, rented, billed_month)) FILTER (rented IS NOT NULL), count(*) FROM facts"""


def build(books: Books, by: tuple[str, ...] = ()) -> Report:
    """The rate card; `by` gives one table over these dimensions together instead of one each."""
    contacts, nano, people, person_months, customer_months, rows = books.one(WHOLE)
    spend = money(nano)
    since, until = books.span()
    tables = [split(books, by)] if by else [split(books, (name,)) for name in DEFAULT]
    figures = [
        Figure("person_month", "person-month", ratio(spend, person_months), "per_person_month", "What all advertisers "
               "together spend on a person in a calendar month (UTC) in which he is rented. Net of refunds.",
               "sum(net) / count(distinct (person, month)), person known", contacts),
        Figure("kilo_customer", "kilo-customer", ratio(spend, customer_months, 1000), "per_kilo", "What 1,000 "
               "customers cost for a calendar month (UTC) in which they are rented. Net of refunds.",
               "1000 * sum(net) / count(distinct (advertiser, person, month)), person known", contacts),
        Figure("contact", "a contact", ratio(spend, contacts), "money", "Mean cost of a paid ad whose person is known. "
               "Net of refunds.", "sum(net) / count(*) where billed and person is not null", contacts),
        Figure("people", "people rented", people, "people", "Different known people in paid ads, whoever paid.",
               "count(distinct person) where billed", contacts),
        Figure("person_months", "person-months", person_months, "person_months", "Different pairs of a person and a "
               "calendar month (UTC) in which someone paid for him.",
               "count(distinct (person, month)) where billed", contacts),
        Figure("customer_months", "customer-months", customer_months, "customer_months", "Different triples of an "
               "advertiser, a person and a calendar month (UTC) in which it paid for him.",
               "count(distinct (advertiser, person, month)) where billed", contacts),
    ]  # fmt: skip
    return Report(
        name="price_list", title=TITLE, question=QUESTION, rows=rows, currency=books.currency, ledger=books.name,
        since=since, until=until, figures=figures, tables=tables, answers=_answers(spend, person_months, tables[0], by),
        notes=[Text("A week is that of the sale, from Monday (UTC). A person whom two groups rent counts in both, so "
                    "people and person-months do not add up over groups; money does.")],
    )  # fmt: skip


def _answers(spend: float, person_months: int, table: Table, by: tuple[str, ...]) -> list[Answer]:
    question = "What does a person cost for a month?"
    if not person_months:
        return [Answer(question, [Text("Nobody who was reached is known, so nobody has a price.")])]
    told = [
        Text(
            "{each} on average, all advertisers together.", {"each": Amount(spend / person_months, "per_person_month")}
        )
    ]
    at = [column.key for column in table.columns].index("person_month")
    people = [column.key for column in table.columns].index("people")
    priced = [row for row in table.rows if isinstance(row[at], float) and float(row[people] or 0) >= 10]
    if len(by) <= 1 and len(priced) > 1:
        dearest, cheapest = (pick(priced, key=lambda row: float(row[at] or 0)) for pick in (max, min))
        told.append(Text("Dearest is {dear} at {high}, cheapest {cheap} at {low}.",
                         {"dear": Amount(dearest[0], "text"), "high": Amount(dearest[at], "per_person_month"),
                          "cheap": Amount(cheapest[0], "text"),
                          "low": Amount(cheapest[at], "per_person_month")}))  # fmt: skip
    return [Answer(question, told)]


def split(books: Books, by: tuple[str, ...]) -> Table:
    """Prices by some dimensions, dearest person-month first."""
    names = ", ".join(by)
    found = books.sql(f"""
SELECT {names}, count(DISTINCT rented), count(DISTINCT (rented, billed_month)),
  count(DISTINCT (advertiser, rented, billed_month)), count(*), sum(net_nano)
FROM facts WHERE rented IS NOT NULL GROUP BY {names} ORDER BY {names}""")
    rows: list[list[Cell]] = []
    for row in found:
        people, person_months, customer_months, contacts, nano = row[len(by) :]
        spend = money(nano)
        rows.append([*row[: len(by)], people, person_months, ratio(spend, person_months),
                     ratio(spend, customer_months, 1000), contacts, ratio(spend, contacts), spend])  # fmt: skip
    at = len(by) + 2
    if by not in (("week",), ("month",)):
        rows.sort(key=lambda row: -float(row[at] or 0))
    keys = [Column(name, name, "text", role="key") for name in by]
    return Table("by_" + "_".join(by), by_title(by), [*keys, *COLUMNS], rows, people="people", total=len(by) > 0)
