"""The report `user_month`: how unevenly money falls on people: what a person costs in a month, and the dearest 1 %."""

import math
from typing import Any, Final

from exchange.report.asking import BY as DIMENSIONS
from exchange.report.asking import Books, by_title, money, ratio
from exchange.report.shape import Amount, Answer, Axis, Cell, Chart, Column, Figure, Point, Report, Series, Table, Text
from exchange.report.small import SMALL_CELL

TITLE: Final = "User-months"
QUESTION: Final = "how unevenly does the money fall on people?"
BY: Final = DIMENSIONS
POINTS: Final = 50  # of the Lorenz curve at most; each step holds at least SMALL_CELL person-months
# Person-months by what they cost, cheapest first, with what they and all cheaper ones cost together.
MONTHS: Final = """
CREATE TEMP TABLE person_months AS SELECT rented, billed_month, nano, n,
  row_number() OVER (ORDER BY nano, rented, billed_month) AS place,
  sum(nano) OVER (ORDER BY nano, rented, billed_month ROWS UNBOUNDED PRECEDING)::HUGEINT AS upto_nano
FROM (SELECT rented, billed_month, sum(net_nano)::BIGINT AS nano, count(*) AS n
  FROM facts WHERE rented IS NOT NULL GROUP BY ALL)"""
WHOLE: Final = """SELECT count(*), count(DISTINCT rented), sum(nano), sum(n), quantile_cont(nano, 0.5),
  quantile_cont(nano, 0.9), quantile_cont(nano, 0.99), max(nano), sum(place::HUGEINT * nano::HUGEINT),
  min(nano) FROM person_months"""
NAMES: Final = ("months", "people", "nano", "contacts", "median", "p90", "p99", "highest", "weighted", "lowest")


def build(books: Books, by: tuple[str, ...] = ()) -> Report:
    """The distribution of what person-months cost; `by` adds a table of groups."""
    books.keep("person_months", MONTHS)
    c = {name: value or 0 for name, value in zip(NAMES, books.one(WHOLE), strict=True)}
    n = int(c["months"])
    top = math.ceil(n / 100)
    c["top"], c["top_nano"] = top, int(books.one(
        f"SELECT coalesce(sum(nano), 0) FROM person_months WHERE place > {n - top}")[0])  # fmt: skip
    rows = books.count("facts")
    since, until = books.span()
    return Report(
        name="user_month", title=TITLE, question=QUESTION, rows=rows, currency=books.currency, ledger=books.name,
        since=since, until=until, answers=_answers(c), figures=figures(c),
        charts=[_lorenz(books, c)] if c["nano"] else [],
        tables=[_bins(books, c), *([split(books, by)] if by else [])],
        notes=[Text("A user-month (person-month) is one known person in one calendar month (UTC) in which at least one "
                    "paid ad reached him; it costs what all advertisers together paid, net of refunds.")],
    )  # fmt: skip


def gini(weighted: int, total: int, n: int) -> float | None:
    """Gini coefficient of n values from the sum of place x value, cheapest first; None where there is no money."""
    return 2 * weighted / (n * total) - (n + 1) / n if n and total else None


def _answers(c: dict[str, Any]) -> list[Answer]:
    question = "How unevenly does the money fall on people?"
    if not c["nano"]:
        return [Answer(question, [Text("Nothing was paid for known people.")])]
    return [
        Answer(
            question,
            [
                Text("A person cost {mean} a month on average; half of them cost {median} or less.",
                     {"mean": Amount(money(c["nano"]) / c["months"], "money"),
                      "median": Amount(c["median"] / 1e9, "money")}),
                *([Text("The dearest 1 % ({n} person-months) took {share} of the money.",
                        {"n": Amount(c["top"], "count"), "share": Amount(c["top_nano"] / c["nano"], "share")})]
                  if c["top"] >= SMALL_CELL else []),
            ],
        )
    ]  # fmt: skip


def figures(c: dict[str, Any]) -> list[Figure]:
    """All figures of the distribution."""
    n, spend = int(c["months"]), money(c["nano"])

    def cost(key: str, title: str, name: str, definition: str, formula: str, people: int | None = None) -> Figure:
        value = c[name] / 1e9 if n else None
        return Figure(key, title, value, "money", f"{definition}", formula, n, people=people)

    per = "sum(net_nano) per (person, month)"
    return [
        Figure("person_months", "person-months", n, "person_months", "Different pairs of a person and a calendar month "
               "(UTC) in which someone paid for him.", "count(distinct (person, month)) where billed", c["contacts"]),
        Figure("people", "people rented", c["people"], "people", "Different known people in paid ads, whoever paid.",
               "count(distinct person) where billed", c["contacts"]),
        Figure("spend", "spend on known people", spend, "money", "What was paid for known people. Net of refunds.",
               "sum(net_nano where person is not null) / 1e9", c["contacts"]),
        Figure("mean", "mean of a person-month", ratio(spend, n), "money", "Spend on known people over person-months. "
               "Net of refunds.", "spend / person_months", n),
        cost("median", "middle person-month", "median", "Half of the person-months cost less. Net of refunds.",
             f"median of {per}"),
        cost("p90", "exceeded by one in ten", "p90", "90th percentile of person-months. Net of refunds.",
             f"quantile 0.9 of {per}"),
        cost("p99", "exceeded by one in a hundred", "p99", "99th percentile of person-months. Net of refunds.",
             f"quantile 0.99 of {per}", people=c["top"]),
        cost("highest", "dearest person-month", "highest", "The most that was paid for one person in one month. Net "
             "of refunds.", f"max of {per}", people=min(1, n)),
        Figure("top_share", "share of the dearest 1 %", ratio(c["top_nano"], c["nano"]), "share", "Money of the "
               "dearest hundredth of the person-months (rounded up) over all of it. Net of refunds.",
               f"sum of the ceil(n / 100) largest {per} / spend", n, people=c["top"]),
        Figure("gini", "Gini coefficient", gini(int(c["weighted"]), int(c["nano"]), n), "gini", "0: every person-month "
               "costs the same; near 1: one takes all. Net of refunds.",
               "2 * sum(place * nano) / (n * sum(nano)) - (n + 1) / n, cheapest first", n),
    ]  # fmt: skip


def _lorenz(books: Books, c: dict[str, Any]) -> Chart:
    """The share of the money that the cheapest share of the person-months took."""
    n, total = int(c["months"]), int(c["nano"])
    steps = max(1, min(POINTS, n // SMALL_CELL))
    places = sorted({round(n * k / steps) for k in range(1, steps + 1)})
    found = books.sql(
        f"SELECT place, upto_nano FROM person_months WHERE place IN ({', '.join(map(str, places))}) ORDER BY place"
    )
    points = [Point(0.0, 0.0), *(Point(place / n, int(nano) / total) for place, nano in found)]
    half = max((p for p in points if float(p.x) <= 0.5), key=lambda p: float(p.x))
    return Chart(
        "lorenz", "Who takes how much of the money", "lorenz", [Series("share of spend", points)],
        Axis("cheapest person-months", "share"), Axis("their share of spend", "share"),
        Text("The cheapest {people} of the person-months took {money} of the money; on the diagonal all would cost "
             "the same.", {"people": Amount(half.x, "share"), "money": Amount(half.y, "share")}),
    )  # fmt: skip


def _bins(books: Books, c: dict[str, Any]) -> Table:
    """Person-months by what they cost, in steps that double; those that cost nothing (all refunded) on their own."""
    found = books.sql(
        "SELECT CASE WHEN nano > 0 THEN ceil(log2(nano)) END AS step, count(*), count(DISTINCT rented), sum(nano) "
        "FROM person_months GROUP BY step ORDER BY step NULLS FIRST"
    )
    rows: list[list[Cell]] = [
        [
            2.0**step / 1e9 if step is not None else 0.0,
            months,
            people,
            money(nano),
            ratio(money(nano), money(c["nano"])),
        ]
        for step, months, people, nano in found
    ]
    columns = [
        Column("upto", "cost at most", "money", "Each step is twice the one before.", "key"),
        Column(
            "person_months", "person-months", "person_months", "That cost more than the step before.", "sum", bar=True
        ),
        Column("people", "people", "people", "Different people among them."),
        Column("spend", "spend", "money", "What they cost together. Net of refunds.", "sum"),
        Column("share", "share of spend", "share", "Over spend on known people.", "sum"),
    ]
    return Table("distribution", "What person-months cost", columns, rows, people="people", total=True)


def split(books: Books, by: tuple[str, ...]) -> Table:
    """The distribution within groups: of what a group spends on a person in a month."""
    names = ", ".join(by)
    found = books.sql(f"""
WITH m AS (SELECT {names}, rented, billed_month, sum(net_nano)::BIGINT AS nano
    FROM facts WHERE rented IS NOT NULL GROUP BY ALL),
  r AS (SELECT *, row_number() OVER (PARTITION BY {names} ORDER BY nano DESC) AS place,
    count(*) OVER (PARTITION BY {names}) AS size FROM m)
SELECT {names}, count(DISTINCT rented), count(*), sum(nano), quantile_cont(nano, 0.5), quantile_cont(nano, 0.9),
  sum(nano) FILTER (place <= ceil(size / 100))
FROM r GROUP BY {names} ORDER BY sum(nano) DESC, {names}""")
    rows: list[list[Cell]] = []
    for row in found:
        people, months, nano, median, p90, top = row[len(by) :]
        dear = ratio(money(top), money(nano)) if math.ceil(months / 100) >= SMALL_CELL else None
        rows.append([*row[: len(by)], people, months, ratio(money(nano), months), median / 1e9, p90 / 1e9, dear,
                     money(nano)])  # fmt: skip
    columns = [
        *(Column(name, name, "text", role="key") for name in by),
        Column("people", "people", "people", "Different known people in paid ads."),
        Column("person_months", "person-months", "person_months", "Of the group."),
        Column("mean", "mean", "money", "spend / person-months. Net of refunds."),
        Column("median", "median", "money", "Half of the person-months cost less. Net of refunds."),
        Column("p90", "exceeded by one in ten", "money", "90th percentile. Net of refunds."),
        Column("top", "share of the dearest 1 %", "share", "Where they are at least ten person-months."),
        Column("spend", "spend", "money", "What was paid for known people. Net of refunds.", "sum"),
    ]
    return Table("split", by_title(by), columns, rows, people="people", total=True)
