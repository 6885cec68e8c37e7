"""The report `waterfall`: who received which part of what buyers paid, beside what studies of the trade published."""

from typing import Final

from exchange.market import BUY_PARTIES, PARTIES, SELL_PARTIES
from exchange.report.asking import BY as DIMENSIONS
from exchange.report.asking import Books, by_title, money, ratio
from exchange.report.shape import Amount, Answer, Axis, Cell, Chart, Column, Figure, Point, Report, Series, Table, Text

TITLE: Final = "Waterfall"
QUESTION: Final = "who received which part of what buyers paid?"
BY: Final = DIMENSIONS
TITLES: Final = {
    "agency": "agency",
    "dsp": "demand platform (DSP)",
    "data": "audience data",
    "verify": "verification",
    "tax": "taxes",
    "fx": "currency exchange",
    "publisher": "publishers",
    "exchange": "exchange (SSP)",
    "supply_tech": "supply technology",
    "hidden": "nobody accounts for it",
}
FEES_BUY: Final = tuple(BUY_PARTIES)
FEES_SELL: Final = tuple(party for party in SELL_PARTIES if party not in ("publisher", "hidden"))
ISBA: Final = "ISBA/PwC, Programmatic Supply Chain Transparency Study"
ANA: Final = "ANA, Programmatic Media Supply Chain Transparency Study"
BENCHMARK: Final = "ANA, Programmatic Transparency Benchmark"
# source, year, what, share of spend, CPM, its currency
PUBLISHED: Final[list[tuple[str, str, str, float | None, float | None, str]]] = [
    (ISBA, "2020", "reached publishers", 0.51, None, ""),
    (ISBA, "2020", "agency", 0.07, None, ""),
    (ISBA, "2020", "demand platform (DSP)", 0.08, None, ""),
    (ISBA, "2020", "data and verification", 0.10, None, ""),
    (ISBA, "2020", "exchange (SSP)", 0.08, None, ""),
    (ISBA, "2020", "supply technology", 0.01, None, ""),
    (ISBA, "2020", "nobody accounts for it", 0.15, None, ""),
    (ISBA, "2022", "reached publishers", 0.65, None, ""),
    (ISBA, "2022", "nobody accounts for it", 0.03, None, ""),
    (ISBA, "2022", "reached publishers, private deals (at least)", 0.70, None, ""),
    (ISBA, "2022", "nobody accounts for it, private deals (less than)", 0.01, None, ""),
    (ANA, "2023", "cost of the transaction", 0.29, None, ""),
    (ANA, "2023", "lost: not viewable, not human, not measured, made for ads", 0.35, None, ""),
    (ANA, "2023", "effective", 0.36, None, ""),
    (ANA, "2023", "price of 1,000 ads", None, 3.46, "USD"),
    (BENCHMARK, "2025, 1st quarter", "price of 1,000 ads", None, 5.78, "USD"),
    (BENCHMARK, "2025, 1st quarter", "effective", 0.378, None, ""),
    (BENCHMARK, "2025, 2nd quarter", "effective", 0.365, None, ""),
    (BENCHMARK, "2025, 2nd quarter", "price of 1,000 ads, private deals", None, 7.15, "USD"),
    (BENCHMARK, "2025, 2nd quarter", "price of 1,000 ads, open market", None, 4.41, "USD"),
]
GROSS: Final = ", ".join(f"sum({party}_nano)" for party in PARTIES)


def parties(books: Books) -> dict[str, int]:
    """What each of the ten parties received, nano, less what it gave back; in the order of `market.PARTIES`."""
    return {party.name: party.nano for party in books.summary.parties}


def build(books: Books, by: tuple[str, ...] = ()) -> Report:
    """Euro by euro: each party's part, the chart of steps, the published figures, and a split by some dimensions."""
    got = parties(books)
    spend = sum(got.values())
    s = books.summary
    rows, billed, seen = s.wins + s.losers, s.billed, s.seen
    since, until = books.span()
    return Report(
        name="waterfall", title=TITLE, question=QUESTION, rows=rows, currency=books.currency, ledger=books.name,
        since=since, until=until, answers=_answers(got, spend), figures=_figures(got, spend, billed, seen),
        charts=[steps(got)] if spend > 0 else [],
        tables=[_parties(got, spend), *([split(books, by)] if by else []), published(got, spend, seen, books.currency)],
        notes=[Text("Studies define their parts in their own ways and none measured this ledger: they say what is "
                    "usual, not what is right.")],
    )  # fmt: skip


def _answers(got: dict[str, int], spend: int) -> list[Answer]:
    if spend <= 0:
        return [Answer("Who got the money?", [Text("Nothing was paid, or all of it was given back.")])]
    return [
        Answer(
            "Who got the money?",
            [
                Text("Of every {whole}, {publisher} reached publishers and {hidden} is accounted for by nobody.",
                     {"whole": Amount("100", "money"),
                      "publisher": Amount(100 * got["publisher"] / spend, "money"),
                      "hidden": Amount(100 * got["hidden"] / spend, "money")}),
                Text("In 2020 the first study of the trade found 51 and 15 of every 100 (ISBA/PwC)."),
            ],
        )
    ]  # fmt: skip


def _figures(got: dict[str, int], spend: int, billed: int, seen: int) -> list[Figure]:
    buy, sell = sum(got[p] for p in FEES_BUY), sum(got[p] for p in FEES_SELL)
    return [
        Figure("spend", "spend", money(spend), "money", "What buyers paid, all fees included. Net of refunds.",
               "sum(net_nano) / 1e9", billed),
        Figure("publisher_share", "reached publishers", ratio(got["publisher"], spend), "share", "Publishers' part of "
               "spend. Net of refunds.", "publisher / spend", billed),
        Figure("publisher_cpm", "publishers' CPM", ratio(money(got["publisher"]), seen, 1000), "cpm", "What publishers "
               "received for 1,000 ads seen. Net of refunds.", "1000 * publisher / seen", seen),
        Figure("toll", "toll", ratio(spend - got["publisher"], spend), "share", "Share of spend that did not reach "
               "publishers. Net of refunds.", "1 - publisher / spend", billed),
        Figure("buy_fees", "buyer's side", ratio(buy, spend), "share", "Agency, demand platform, data, verification, "
               "taxes and currency exchange, over spend. Net of refunds.",
               "(agency + dsp + data + verify + tax + fx) / spend", billed),
        Figure("sell_fees", "seller's side", ratio(sell, spend), "share", "Exchange and supply technology, over spend. "
               "Net of refunds.", "(exchange + supply_tech) / spend", billed),
        Figure("hidden_share", "nobody accounts for it", ratio(got["hidden"], spend), "share", "The part of spend that "
               "is in no party's books (the unknown delta). Net of refunds.", "hidden / spend", billed),
    ]  # fmt: skip


def _parties(got: dict[str, int], spend: int) -> Table:
    columns = [
        Column("party", "party", "text", role="key"),
        Column("amount", "amount", "money", "What it received. Net of refunds.", "sum"),
        Column("share", "share of spend", "share", "Its part of what buyers paid.", "sum", bar=True),
    ]
    rows: list[list[Cell]] = [[TITLES[party], money(nano), ratio(nano, spend)] for party, nano in got.items() if spend]
    return Table("parties", "Who got the money", columns, rows, total=True, translate=["party"])


def steps(got: dict[str, int]) -> Chart:
    """From what buyers paid to what publishers received, party by party, of every 100."""
    spend = sum(got.values())
    order = [p for p in (*FEES_BUY, *FEES_SELL, "hidden", "publisher") if got[p]]
    points = [Point("buyers paid", 100.0), *(Point(TITLES[p], 100 * got[p] / spend) for p in order)]
    return Chart(
        "steps", "Where the money goes", "steps", [Series("share of spend", points)], Axis("party", "text"),
        Axis("of every 100", "money"),
        Text("{buy} stay on the buyer's side, {sell} with exchange and supply technology; {publisher} reach "
             "publishers.",
             {"buy": Amount(100 * sum(got[p] for p in FEES_BUY) / spend, "money"),
              "sell": Amount(100 * sum(got[p] for p in FEES_SELL) / spend, "money"),
              "publisher": Amount(100 * got["publisher"] / spend, "money")}),
    )  # fmt: skip


def published(got: dict[str, int], spend: int, seen: int, currency: str) -> Table:
    """This ledger's figures above those that studies published, with source and year."""
    here: list[list[Cell]] = []
    if spend:
        here = [
            ["this ledger", "", "reached publishers", ratio(got["publisher"], spend), None, ""],
            ["this ledger", "", "nobody accounts for it", ratio(got["hidden"], spend), None, ""],
            ["this ledger", "", "price of 1,000 ads", None, ratio(money(spend), seen, 1000), currency],
        ]
    columns = [
        Column("source", "source", "text", role="key"),
        Column("year", "year", "text", role="key"),
        Column("what", "what", "text", role="key"),
        Column("share", "share of spend", "share"),
        Column("cpm", "CPM", "number"),
        Column("currency", "in", "text"),
    ]
    rows = [*here, *(list(row) for row in PUBLISHED)]
    return Table("published", "What studies found", columns, rows, translate=["source", "year", "what"])


def split(books: Books, by: tuple[str, ...]) -> Table:
    """Each group's money by who received it, largest spend first."""
    keys, mine = ", ".join(f"f_{name}" for name in by), books.where(wins="w")
    aliases = ", ".join(f"{_dimension(name)} AS f_{name}" for name in by)
    groups = {
        "publisher": ("publisher",), "buy": FEES_BUY, "sell": FEES_SELL, "hidden": ("hidden",),
    }  # fmt: skip
    billed = ", ".join(f"sum({' + '.join(f'{p}_nano' for p in ps)}) AS {name}_in" for name, ps in groups.items())
    back = ", ".join(
        f"sum(p.debit_nano - p.credit_nano) FILTER (p.party IN ({', '.join(repr(p) for p in ps)})) AS {name}_back"
        for name, ps in groups.items()
    )
    net = ", ".join(f"{name}_in - coalesce({name}_back, 0) AS {name}" for name in groups)
    found = books.sql(f"""
WITH given AS (SELECT {aliases}, {billed}, count(DISTINCT person) AS people FROM wins AS w
    WHERE billed_time IS NOT NULL AND {mine} GROUP BY {keys}),
  refunded AS (SELECT {aliases}, {back} FROM postings AS p JOIN wins AS w ON w.worker = p.worker
    AND w.serial = p.serial WHERE p.kind = 'refund' AND {mine} GROUP BY {keys})
SELECT {keys}, people, {net} FROM given LEFT JOIN refunded USING ({keys}) ORDER BY {keys}""")
    n = len(by)
    rows: list[list[Cell]] = []
    for row in found:
        parts = [money(nano) for nano in row[n + 1 :]]
        rows.append([*row[:n], row[n], sum(parts), *parts, ratio(parts[0], sum(parts))])
    rows.sort(key=lambda row: (-float(row[n + 1] or 0), [str(cell) for cell in row[:n]]))
    columns = [
        *(Column(name, name, "text", role="key") for name in by),
        Column("people", "people", "people", "Different known people in paid ads."),
        Column("spend", "spend", "money", "What buyers paid. Net of refunds.", "sum"),
        Column("to_publishers", "publishers", "money", "What reached publishers. Net of refunds.", "sum"),
        Column("buy", "buyer's side", "money", "Agency, demand platform, data, verification, taxes, currency.", "sum"),
        Column("sell", "seller's side", "money", "Exchange and supply technology.", "sum"),
        Column("hidden", "nobody accounts for it", "money", "In no party's books.", "sum"),
        Column(
            "share", "reached publishers", "share", "publishers / spend", "ratio", "to_publishers", "spend", bar=True
        ),
    ]
    return Table("split", by_title(by), columns, rows, people="people", total=True)


def _dimension(name: str) -> str:
    """A dimension of `facts`, over the wins view."""
    if name in ("week", "month"):
        return f"strftime(w.{name}, '{'%Y-%m-%d' if name == 'week' else '%Y-%m'}')"
    return f"coalesce(w.{name}, '{'no segment' if name == 'segment' else 'unknown'}')"
