"""What every report is made of: figures, tables, charts and sentences, as values without any formatting.

A report is one file `exchange/report/<name>.py` with

    QUESTION: Final = "..."             # the question that it answers, one English sentence
    BY: Final = ("advertiser", ...)     # dimensions by which `--by` may split its main table; () = none
    ALONE: Final = True                 # where it can be made without any ledger: `books` may be None
    def build(books: Books, by: tuple[str, ...]) -> Report: ...

Its own options, if any, stand in options.py under its name, and reach `build` by name, those that were given.

Texts are English; `exchange/report/french/<name>.py` has `WORDS`, their French. A text with numbers in it is a
template, `Text("{n} people were rented twice.", {"n": Amount(12, "people")})`, so that each language writes numbers
its own way. Currency never stands in a text: units say "money".
"""

from typing import Final

from msgspec import Struct

Cell = str | int | float | None  # None = does not exist (nothing to divide by), shown as a dash


class Unit(Struct, frozen=True):
    """How a number is written (`form`), and what stands behind it; `{currency}` is the ledger's."""

    form: str  # money, count, share, ratio, number, text, date, month
    text: str  # English; "" = nothing behind the number
    head: str = ""  # for a column head, where it differs


UNITS: Final[dict[str, Unit]] = {
    "money": Unit("money", "{currency}"),  # in the currency, not nano
    "cpm": Unit("money", "{currency} per 1,000 ads"),
    "per_kilo": Unit("money", "{currency} per 1,000 customer-months"),
    "per_person_month": Unit("money", "{currency} per person-month"),
    "share": Unit("share", "%"),  # 0 to 1, shown in per cent
    "ratio": Unit("ratio", "x"),  # so many times
    "number": Unit("number", ""),  # a bare number that is no count
    "gini": Unit("number", "from 0 to 1"),
    "count": Unit("count", ""),
    "ads": Unit("count", "ads"),
    "auctions": Unit("count", "auctions"),
    "bids": Unit("count", "bids"),
    "clicks": Unit("count", "clicks"),
    "contacts": Unit("count", "contacts"),
    "conversions": Unit("count", "conversions"),
    "customers": Unit("count", "customers"),
    "months": Unit("number", "months"),
    "days": Unit("number", "days"),
    "opt_ins": Unit("count", "opt-ins"),
    "people": Unit("count", "people"),
    "person_months": Unit("count", "person-months"),
    "customer_months": Unit("count", "customer-months"),
    "rows": Unit("count", "rows"),
    "wins": Unit("count", "wins"),
    "text": Unit("text", ""),
    "date": Unit("date", ""),
    "month": Unit("month", ""),
}
# one of a unit: plural -> singular
ONES: Final = {
    "ads": "ad", "auctions": "auction", "bids": "bid", "clicks": "click", "contacts": "contact",
    "conversions": "conversion", "customers": "customer", "opt-ins": "opt-in", "people": "person",
    "person-months": "person-month", "customer-months": "customer-month", "rows": "row", "wins": "win",
}  # fmt: skip


class Amount(Struct, frozen=True):
    """A number with its unit, a name of UNITS."""

    value: Cell
    unit: str


class Text(Struct, frozen=True):
    """A sentence: an English template and the numbers (or names) that go into its braces."""

    template: str
    amounts: dict[str, Amount] = {}
    people: int | None = None  # how few people it speaks of, where it is not about all


class Answer(Struct, frozen=True):
    """A question of the reader and its answer in plain sentences; they begin the report."""

    question: str
    sentences: list[Text]


class Figure(Struct, frozen=True):
    """One number with all that is needed to believe it."""

    key: str
    title: str
    value: Cell  # None = does not exist
    unit: str  # a name of UNITS
    definition: str  # in words, says gross or net of refunds where it is money
    formula: str  # over the views' columns, or over other figures; the same in every language
    rows: int | None  # how many rows of the view stand behind it; None = few, and not exported
    low: float | None = None  # 95 % interval, where there is one
    high: float | None = None
    people: int | None = None  # how few people it speaks of, where it is not about all; small cells are not exported


class Column(Struct, frozen=True):
    """One column of a table.

    `role` says what a sum over rows is: "key" names the group, "sum" adds up, "ratio" is `times` x sum(over) /
    sum(under) of two other columns by key, "" exists per row only (distinct people, a median). `aside`: only for CSV
    and JSON, as what a ratio is made of; a page has no room for it.
    """

    key: str
    head: str
    unit: str
    definition: str = ""
    role: str = ""
    over: str = ""
    under: str = ""
    times: float = 1.0
    bar: bool = False  # people would rather look: drawn beside the number
    aside: bool = False
    few: str = ""  # key of the column that says of how few people of the row this one speaks


class Table(Struct, frozen=True):
    """Rows under columns.

    `people` is the key of the column that counts the people of a row ("" = rows are not groups of people): rows with
    few people are joined when the report is exported. `counts` has the people behind each row where no column says
    them. `translate` names key columns whose cells are texts of ours.
    """

    key: str
    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    note: str = ""
    people: str = ""
    total: bool = False  # show the sum under the rows
    translate: list[str] = []
    counts: list[int] = []


class Axis(Struct, frozen=True):
    """What an axis shows and in which unit; `log` = logarithmic."""

    title: str
    unit: str
    log: bool = False


class Point(Struct, frozen=True):
    """One point or bar: `x` a number or a name, an interval where there is one."""

    x: float | str
    y: float
    low: float | None = None
    high: float | None = None
    people: int | None = None  # how few people it speaks of, where it is not about all


class Series(Struct, frozen=True):
    """Points under one name."""

    name: str
    points: list[Point]


class Mark(Struct, frozen=True):
    """A line across a chart at `x`: an optimum, a break-even."""

    x: float
    title: str


class Chart(Struct, frozen=True):
    """A drawing of series over two axes, with words for those who cannot see it (`alt`).

    `kind` is "bars" (groups side by side), "steps" (a waterfall: the first bar stands, each further one takes its y
    off), "line", or "lorenz" (x and y from 0 to 1, beside the diagonal). `translate`: names on the x axis are texts of
    ours, not of the ledger; names of series always are. `of` is the key of the table whose rows its points are ("" =
    none), named as in the first column: those of few people are not exported.
    """

    key: str
    title: str
    kind: str
    series: list[Series]
    x: Axis
    y: Axis
    alt: Text
    marks: list[Mark] = []
    translate: bool = True
    of: str = ""


class Report(Struct, frozen=True):
    """A whole report: answers first, then figures, charts and tables; `rows` = rows of the ledger's wins behind it."""

    name: str
    title: str
    question: str
    rows: int
    currency: str = ""
    answers: list[Answer] = []
    figures: list[Figure] = []
    tables: list[Table] = []
    charts: list[Chart] = []
    notes: list[Text] = []
    ledger: str = ""  # name of its folder
    since: str = ""  # first and last day of its wins, UTC
    until: str = ""
    only: dict[str, tuple[str, ...]] = {}  # the names by key that it is restricted to
    cells: list[Table] = []  # restricted: the groups of the whole ledger by its keys, for what an export may not tell


class Argument(Struct, frozen=True):
    """An option of some reports: `--name VALUE`, a number within [low, high], or a path where `file` is set."""

    name: str
    help: str
    default: float | None = None
    low: float = 0.0
    high: float = float("inf")
    file: bool = False
