"""The report `lost`: why bids lost, and what it would have taken to win."""

from typing import Any, Final

from exchange.openrtb.codes import BELOW_DEAL_FLOOR, BELOW_FLOOR, FATES, HOLDOUT, NO_BID, OUTBID, OUTBID_BY_DEAL, WON
from exchange.report.asking import Books, by_title, money, ratio
from exchange.report.shape import (
    Amount,
    Answer,
    Axis,
    Cell,
    Chart,
    Column,
    Figure,
    Point,
    Report,
    Series,
    Table,
    Text,
)

TITLE: Final = "Lost bids"
QUESTION: Final = "why did bids lose, and what would it have taken to win?"
BY: Final = ("advertiser", "campaign", "seat", "publisher", "week")
ONLY: Final = ("advertiser", "publisher", "week")
WHY_ONLY: Final = "is of bids, and a bid that lost rented no segment: expected advertiser, publisher or week"
RAISES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
BY_PRICE: Final = (BELOW_FLOOR, BELOW_DEAL_FLOOR, OUTBID, OUTBID_BY_DEAL)  # fates that a higher bid may change
NO_OFFER: Final = (NO_BID, HOLDOUT)
# One row a bid that lost: what it was, and the least net bid that would have won: above the lowest winner, at the floor
# where nothing was sold. `factor` is by how much the bid would have had to be multiplied.
LOSSES: Final = f"""CREATE TEMP TABLE losses AS SELECT *, CASE WHEN need_nano > net_nano AND net_nano > 0
    THEN need_nano::DOUBLE / net_nano END AS factor,
  CASE WHEN need_nano > net_nano AND net_nano > 0 THEN gross_nano::DOUBLE * need_nano / net_nano END AS need_gross
FROM (SELECT coalesce(b.advertiser, 'unknown') AS advertiser, coalesce(b.campaign, 'unknown') AS campaign,
    coalesce(b.seat, 'unknown') AS seat, coalesce(a.publisher, 'unknown') AS publisher,
    strftime(date_trunc('week', b.time), '%Y-%m-%d') AS week, a.person, b.fate, b.value_nano, b.gross_nano, b.net_nano,
    CASE WHEN b.fate IN {BY_PRICE} THEN coalesce(greatest(w.won_nano + 1, a.floor_nano), a.floor_nano) END AS need_nano
  FROM bids AS b JOIN auctions AS a ON a.auction_id = b.auction_id AND a.imp = b.imp AND a.worker = b.worker
  LEFT JOIN (SELECT worker, auction_id, imp, min(net_nano) AS won_nano FROM bids WHERE fate = {WON}
    GROUP BY worker, auction_id, imp) AS w
    ON w.auction_id = b.auction_id AND w.imp = b.imp AND w.worker = b.worker
  WHERE b.fate NOT IN {(WON, *NO_OFFER)} AND """
PRICED: Final = """count(*), count(factor), quantile_cont(factor, 0.5), quantile_cont(factor, 0.1),
  quantile_cont(factor, 0.9), sum(gross_nano) FILTER (factor IS NOT NULL), sum(need_gross),
  count(*) FILTER (value_nano >= need_gross), count(*) FILTER (factor IS NOT NULL AND value_nano > 0)"""
NEVER: Final = """SELECT count(*) FROM (SELECT DISTINCT advertiser, person FROM losses
  WHERE factor IS NOT NULL AND person IS NOT NULL AND advertiser <> 'unknown'
  EXCEPT SELECT advertiser, person FROM wins WHERE NOT lost)"""


def build(books: Books, by: tuple[str, ...] = ()) -> Report:
    """Lost bids by fate, the raise that would have won them, and what it would have cost."""
    since, until = books.span()
    mine = books.where(bids="b", auctions="a")
    asked = int(books.one(f"SELECT count(*) FROM bids AS b JOIN auctions AS a USING (worker, auction_id, imp) "
                          f"WHERE b.fate NOT IN {NO_OFFER} AND {mine}")[0])  # fmt: skip
    head = Report(
        "lost",
        TITLE,
        QUESTION,
        books.count("wins AS w", books.where(wins="w")),
        books.currency,
        ledger=books.name,
        since=since,
        until=until,
    )
    if not books.count("bids"):
        told = Text("Nobody can tell: this ledger keeps no bids, only wins (journal = \"bids\" keeps "
                    "them).")  # fmt: skip
        return _with(head, answers=[Answer("Why did bids lose?", [told])])
    books.keep("losses", f"{LOSSES}{mine})")
    whole = books.one(f"SELECT {PRICED} FROM losses")
    fates = books.sql(f"SELECT fate, {PRICED} FROM losses GROUP BY fate ORDER BY count(*) DESC, fate")
    raises = _raises(books)
    never = int(books.one(NEVER)[0])
    return _with(
        head, answers=_answers(asked, whole, fates, raises, never), figures=_figures(asked, whole, never),
        tables=[*([_groups(books, by)] if by else []), _fates(fates, whole[0]), _steps(raises, whole)],
        charts=_charts(raises, whole),
        notes=[
            Text("What it would have taken is the lowest bid that won there, or the floor where nothing was sold, with "
                 "all others bidding as they did: of two bids lost in one auction only one could have won. Others "
                 "would have "
                 "answered, and where places or a quality weigh in, a bid counts for more or less than its price."),
            Text("A bid below a floor that only its own seat has, or lost for another reason than its price, has no "
                 "price that wins."),
        ],
    )  # fmt: skip


def _with(report: Report, **parts: Any) -> Report:
    from msgspec.structs import replace

    return replace(report, **parts)


def _raises(books: Books) -> list[tuple[float, int, float, int]]:
    """For each raise: (raise, bids it would have won, what those would have paid at least, bids above their value)."""
    found = []
    for step in RAISES:
        n, nano, dear = books.one(f"SELECT count(*), sum(need_gross), count(*) FILTER (value_nano > 0 AND need_gross > "
                                  f"value_nano) FROM losses WHERE factor <= {1 + step}")  # fmt: skip
        found.append((step, int(n), money(nano), int(dear)))
    return found


def _figures(asked: int, whole: tuple[Any, ...], never: int) -> list[Figure]:
    lost, priced, median, _, _, own, need, worth, valued = whole
    return [
        Figure("lost", "bids lost", lost, "bids", "Bids with a price that did not win.", "count(fate <> won)", asked),
        Figure("share", "share lost", ratio(lost, asked), "share", "Bids lost / bids with a price.",
               "count(fate <> won) / count(*)", asked),
        Figure("priced", "lost by price", priced, "bids", "Bids that lost because another was higher, or a floor: a "
               "higher bid would have won.", "count(fate in (outbid, below_floor, ..))", lost),
        Figure("median", "what it would have taken", median, "ratio", "Median of the least bid that would have won "
                                                                      "over "
               "the own bid.", "median(need / net)", priced),
        Figure("bid", "own bid", ratio(money(own), priced, 1000), "cpm", "Mean bid of those lost by price, gross.",
               "1000 * mean(gross)", priced),
        Figure("need", "bid that would have won", ratio(money(need), priced, 1000), "cpm", "Mean of the least bid that "
               "would have won, gross.", "1000 * mean(gross * need / net)", priced),
        Figure("worth", "within the own valuation", ratio(worth, valued), "share", "Share of bids lost by price whose "
               "winning bid would not have exceeded what the buyer said it was worth to him.",
               "count(need <= value) / count(value > 0)", valued),
        Figure("never", "people never reached", never, "customers", "Pairs of an advertiser and a known person for "
                                                                    "whom "
               "it bid, lost by price, and never won.", "count(distinct (advertiser, person)) without a win", priced),
    ]  # fmt: skip


COLUMNS: Final = [
    Column("lost", "lost", "bids", "Bids with a price that did not win.", "sum", bar=True),
    Column("priced", "by price", "bids", "Of these, those that a higher bid would have won.", "sum"),
    Column("median", "raise: half", "ratio", "Half of them needed at most so many times their bid."),
    Column("p10", "a tenth", "ratio", "A tenth of them needed at most so many times their bid."),
    Column("p90", "nine tenths", "ratio", "Nine tenths needed at most so many times their bid."),
    Column("bid", "own bid", "cpm", "Mean bid of those lost by price, gross."),
    Column("need", "winning bid", "cpm", "Mean of the least bid that would have won, gross."),
    Column("worth", "worth it", "share", "Share whose winning bid would not have exceeded the buyer's valuation."),
]  # fmt: skip


def _cells(row: tuple[Any, ...]) -> list[Cell]:
    lost, priced, median, low, high, own, need, worth, valued = row
    return [lost, priced, median, low, high, ratio(money(own), priced, 1000), ratio(money(need), priced, 1000),
            ratio(worth, valued)]  # fmt: skip


def _fates(fates: list[tuple[Any, ...]], lost: int) -> Table:
    columns = [Column("fate", "why", "text", role="key"), *COLUMNS,
               Column("meaning", "meaning", "text")]  # fmt: skip
    rows: list[list[Cell]] = []
    for fate, *rest in fates:
        name, meaning = FATES.get(int(fate), (f"fate {fate}", ""))
        rows.append([name, *_cells(tuple(rest)), meaning])
    return Table("fates", "Why bids lost", columns, rows, translate=["meaning"], total=True)


def _groups(books: Books, by: tuple[str, ...]) -> Table:
    names = ", ".join(by)
    found = books.sql(
        f"SELECT {names}, {PRICED}, count(DISTINCT person) FROM losses GROUP BY {names} ORDER BY count(*) DESC, {names}"
    )
    rows: list[list[Cell]] = [[*row[: len(by)], *_cells(row[len(by) : -1])] for row in found]
    keys = [Column(name, name, "text", role="key") for name in by]
    return Table("by_" + "_".join(by), by_title(by), [*keys, *COLUMNS], rows, total=True,
                 counts=[int(row[-1]) for row in found])  # fmt: skip


def _steps(raises: list[tuple[float, int, float, int]], whole: tuple[Any, ...]) -> Table:
    columns = [
        Column("raise", "raise by", "share", "Every bid raised by so much, all others as they were.", role="key"),
        Column("won", "would win", "bids", "Bids lost by price that would have won.", bar=True),
        Column("share", "share", "share", "Of the bids lost by price."),
        Column("cost", "paying at least", "money", "Sum of the least bids that would have won: in second price it is "
               "about what they would have paid."),
        Column("dear", "too dear", "bids", "Of these, those above the buyer's own valuation."),
    ]  # fmt: skip
    rows: list[list[Cell]] = [[step, n, ratio(n, whole[1]), cost, dear] for step, n, cost, dear in raises]
    return Table("raises", "What a raise would have won", columns, rows)


def _answers(
    asked: int, whole: tuple[Any, ...], fates: list[tuple[Any, ...]], raises: list[tuple[float, int, float, int]],
    never: int,
) -> list[Answer]:  # fmt: skip
    lost, priced, median = whole[:3]
    if not lost:
        return [Answer("Why did bids lose?", [Text("None did: all {n} won.", {"n": Amount(asked, "bids")})])]
    name, most = FATES.get(int(fates[0][0]), ("?", "?"))[1], int(fates[0][1])
    told = [Text("{lost} of {all} lost; the most frequent reason ({most}): {why}.",
                 {"lost": Amount(lost, "count"), "all": Amount(asked, "bids"), "most": Amount(most, "count"),
                  "why": Amount(name, "text")})]  # fmt: skip
    if not priced:
        return [Answer("Why did bids lose?", told)]
    tenth = next(n for step, n, _, _ in raises if step == 0.1)
    taken = [
        Text("Half of those lost by price would have won at {x} times their bid.", {"x": Amount(median, "number")}),
        Text("A raise of {raise} would have won {n} of {all}.",
             {"raise": Amount(0.1, "share"), "n": Amount(tenth, "count"), "all": Amount(priced, "count")}),
        Text("Customers bid for and never reached: {n}.", {"n": Amount(never, "customers")}),
    ]  # fmt: skip
    return [Answer("Why did bids lose?", told), Answer("What would it have taken?", taken)]


def _charts(raises: list[tuple[float, int, float, int]], whole: tuple[Any, ...]) -> list[Chart]:
    if not whole[1]:
        return []
    points = [Point(0.0, 0.0), *(Point(step, n / whole[1]) for step, n, _, _ in raises if step <= 1.0)]
    return [
        Chart("raise", "What a raise would have won", "line", [Series("bids lost by price", points)],
              Axis("raise", "share"), Axis("would win", "share"),
              Text("Twice the bid would have won {share} of the bids lost by price.",
                   {"share": Amount(points[-1].y, "share")}))
    ]  # fmt: skip
