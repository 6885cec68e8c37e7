"""The report `rerent_curve`: what the n-th contact with a person costs and brings, and where to stop."""

from math import exp, log
from typing import Any, Final

import numpy as np
from msgspec import Struct

from exchange.report.asking import Books, by_title, money, ratio
from exchange.report.formulas import (
    Z95,
    Interval,
    cost_per_response,
    optimal_cap,
    rate_interval,
    rerent_index,
    response,
)
from exchange.report.shape import (
    Amount,
    Answer,
    Axis,
    Cell,
    Chart,
    Column,
    Figure,
    Mark,
    Point,
    Report,
    Series,
    Table,
    Text,
)

TITLE: Final = "The n-th contact"
QUESTION: Final = "what does the n-th contact with a person cost and bring, and where should it stop?"
BY: Final = ("advertiser", "campaign", "segment", "publisher", "week", "month")
NUMBERED: Final = Text("The number of a contact counts all that its advertiser paid for this person, whatever the "
                       "report is restricted to.")  # fmt: skip
BINS: Final = (*range(1, 11), 15, 20, 30, 50, 100, 10**9)  # last contact of each row of the table
NTH: Final = """CREATE TEMP VIEW nth AS SELECT advertiser, campaign, segment, publisher, contact_week AS week,
  contact_month AS month, contact_n, rented AS person, net_nano, clicked, value_nano, pctr
FROM contact_facts WHERE rented IS NOT NULL AND bill = 0"""
SUMS: Final = """count(*), coalesce(sum(net_nano), 0), count(*) FILTER (clicked),
  coalesce(sum(value_nano) FILTER (value_nano > 0 AND pctr > 0), 0)::BIGINT,
  coalesce(sum(pctr) FILTER (value_nano > 0 AND pctr > 0), 0)"""
RERENTED: Final = """SELECT advertiser, count(rented), count(DISTINCT rented) FROM contact_facts
WHERE rented IS NOT NULL GROUP BY advertiser ORDER BY advertiser"""


class Cells(Struct):
    """Contacts by their number: what they cost and how many were clicked."""

    n: list[int]
    contacts: list[int]
    nano: list[int]
    clicks: list[int]
    value_nano: int
    pctr: float

    @property
    def price(self) -> float:
        """Mean price of a contact."""
        return ratio(money(sum(self.nano)), sum(self.contacts)) or 0.0

    @property
    def worth(self) -> float | None:
        """What buyers value a click at: the sum of their valuations / of the clicks they expect."""
        return ratio(money(self.value_nano), self.pctr)


class Fit(Struct):
    """q_n = q1 g^(n - 1) by maximum likelihood, clicks being Poisson; None where clicks stand at one n only."""

    first: float  # q1
    fade: float  # g
    first_range: Interval
    fade_range: Interval


def fit(cells: Cells) -> Fit | None:
    """Newton's method on the log-linear likelihood, from the mean rate and no fading."""
    x = np.array(cells.n, float) - 1
    shown, clicks = np.array(cells.contacts, float), np.array(cells.clicks, float)
    if np.count_nonzero(clicks) < 2:
        return None
    scale = max(1.0, float(x.max()))
    x = x / scale
    found = np.array([log(clicks.sum() / shown.sum()), 0.0])
    design = np.stack((np.ones_like(x), x))
    for _ in range(100):
        expected = shown * np.exp(np.minimum(found @ design, 0.0 if found[0] <= 0 else 30.0))
        score, information = design @ (clicks - expected), (design * expected) @ design.T
        step = np.linalg.solve(information, score)
        found = found + step * min(1.0, 2.0 / float(np.abs(step).max() or 1.0))
        if float(np.abs(step).max()) < 1e-12:
            break
    error = np.sqrt(np.diag(np.linalg.inv(information)))

    def ranged(at: int, per: float) -> Interval:
        low, high = (exp((found[at] + sign * Z95 * error[at]) / per) for sign in (-1, 1))
        return Interval(exp(found[at] / per), low, high)

    first, fade = ranged(0, 1.0), ranged(1, scale)
    return Fit(first.value, fade.value, first, fade)


def build(books: Books, by: tuple[str, ...] = (), worth: float | None = None) -> Report:
    """Cost and response by contact number, the curve fitted to them, and the cap that it says."""
    books.keep("nth", NTH)
    cells = cells_of(books.sql(f"SELECT contact_n, {SUMS} FROM nth GROUP BY contact_n ORDER BY contact_n"))
    found = fit(cells)
    value = cells.worth if worth is None else worth
    since, until = books.span()
    by_click = books.count("contact_facts", "billed AND bill <> 0")
    return Report(
        name="rerent_curve", title=TITLE, question=QUESTION, rows=books.count("contact_facts"), currency=books.currency,
        ledger=books.name, since=since, until=until, answers=_answers(cells, found, value, books),
        figures=_figures(cells, found, value, books, worth is not None),
        tables=[*([_groups(books, by, worth)] if by else []), table_of(cells, found)],
        charts=_charts(cells, found, value), notes=[*_notes(found, by_click), *([NUMBERED] if books.only else [])],
    )  # fmt: skip


def cells_of(rows: list[tuple[Any, ...]]) -> Cells:
    """Cells from rows (n, contacts, nano, clicks, value nano, clicks expected)."""
    out = Cells([], [], [], [], 0, 0.0)
    for n, contacts, nano, clicks, value_nano, pctr in rows:
        out.n.append(int(n))
        out.contacts.append(int(contacts))
        out.nano.append(int(nano))
        out.clicks.append(int(clicks))
        out.value_nano += int(value_nano)
        out.pctr += float(pctr)
    return out


def stop(cells: Cells, found: Fit | None, worth: float | None) -> int | None:
    """The last contact worth its price; None where that cannot be told, or where none of those seen is beyond it."""
    if found is None or worth is None:
        return None
    cap = optimal_cap(cells.price, worth, found.first, found.fade)
    return None if cap is None or cap >= max(cells.n) else cap


def rerented(books: Books) -> tuple[float | None, float | None, int]:
    """Share of repeat contacts: (observed, if they fell evenly on all known people who came, contacts)."""
    rows = books.sql(RERENTED)
    came = int(books.one(f"SELECT count(DISTINCT person) FROM auctions AS a WHERE {books.where(auctions='a')}")[0])
    contacts = sum(int(m) for _, m, _ in rows)
    if not contacts or not came:
        return None, None, contacts
    even = sum(m * rerent_index(m, came) for _, m, _ in rows) / contacts
    return 1 - sum(int(people) for _, _, people in rows) / contacts, even, contacts


def _figures(cells: Cells, found: Fit | None, worth: float | None, books: Books, given: bool) -> list[Figure]:
    rows, clicks = sum(cells.contacts), sum(cells.clicks)
    seen, even, contacts = rerented(books)
    cap = stop(cells, found, worth)
    over = sum(nano for n, nano in zip(cells.n, cells.nano, strict=True) if cap is not None and n > cap)
    first, fade = (found.first_range, found.fade_range) if found else (None, None)
    stated = (
        "Given with --worth."
        if given
        else (
            "The sum of the buyers' valuations / of the clicks they expected, over the contacts counted here of which "
            "both are known."
        )
    )
    return [
        Figure("cap", "where to stop", cap, "contacts", "The last contact that is worth its price if response fades as "
               "fitted: beyond it a contact costs more than it brings. A dash: no contact seen is beyond it, or "
               "nothing "
               "could be fitted.", "1 + floor(ln(price / (worth * q1)) / ln g)", rows),
        Figure("over", "spent beyond it", money(over) if cap is not None else None, "money", "What was paid for "
               "contacts beyond the cap. Net of refunds.", "sum(net) where contact_n > cap", rows),
        Figure("first", "response of the first contact", found.first if found else None, "share", "Clicks per first "
               "contact, as fitted, with its 95 % interval.", "q1 of q1 * g^(n - 1), maximum likelihood", rows,
               low=first.low if first else None, high=first.high if first else None),
        Figure("fade", "what the next one keeps", found.fade if found else None, "number", "Response of a contact over "
               "that of the contact before it, as fitted, with its 95 % interval: below 1 response fades.",
               "g of q1 * g^(n - 1), maximum likelihood", rows, low=fade.low if fade else None,
               high=fade.high if fade else None),
        Figure("price", "a contact", cells.price if rows else None, "money", "Mean price of a contact billed by the "
               "impression. Net of refunds.", "sum(net) / count(*)", rows),
        Figure("cpc", "a click", ratio(money(sum(cells.nano)), clicks), "money", "Spend per click, over all contacts. "
               "Net of refunds.", "sum(net) / count(clicked)", rows),
        Figure("worth", "worth of a click", worth, "money", stated, "sum(value) / sum(pctr)", rows),
        Figure("rerental", "re-rented", seen, "share", "Share of contacts that rent somebody whom the same advertiser "
               "had rented before.", "1 - customers / contacts", contacts),
        Figure("rerental_even", "re-rented, if it fell evenly", even, "share", "The same if each advertiser's contacts "
               "fell evenly on all known people who came: what chance alone would do.",
               "1 - N (1 - (1 - 1/N)^m) / m", contacts),
    ]  # fmt: skip


def table_of(cells: Cells, found: Fit | None) -> Table:
    """The contacts by number, the far ones together; observed response with its 95 % interval beside the fitted one."""
    columns = [
        Column("n", "contact", "text", "Its number: the n-th paid contact of an advertiser with a person.", role="key"),
        Column("contacts", "contacts", "contacts", "Paid ads whose person is known, billed by the impression.", "sum"),
        Column("price", "price", "money", "spend / contacts. Net of refunds.", "ratio", "spend", "contacts"),
        Column("clicks", "clicks", "clicks", "Of these, clicked.", "sum"),
        Column("response", "response", "share", "clicks / contacts.", "ratio", "clicks", "contacts", bar=True),
        Column("low", "at least", "share", "Lower end of its 95 % interval."),
        Column("high", "at most", "share", "Upper end."),
        Column("fitted", "fitted", "share", "q1 g^(n - 1), weighted by contacts."),
        Column("cpc", "a click", "money", "spend / clicks: what a response at this contact costs.", "ratio", "spend",
               "clicks"),
        Column("spend", "spend", "money", "What they cost. Net of refunds.", "sum"),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    people = []  # each n-th contact is one customer's
    first = 1
    for last in BINS:
        at = [ix for ix, n in enumerate(cells.n) if first <= n <= last]
        contacts, clicks = sum(cells.contacts[ix] for ix in at), sum(cells.clicks[ix] for ix in at)
        spend = money(sum(cells.nano[ix] for ix in at))
        name = str(first) if first == last else f"{first} - {last}" if last < BINS[-1] else f"{first} and more"
        first = last + 1
        if not contacts:
            continue
        people.append(max(cells.contacts[ix] for ix in at))
        seen = rate_interval(clicks, contacts, 1 - clicks / contacts if clicks < contacts else 1.0)
        fitted = None
        if found:
            fitted = sum(cells.contacts[ix] * response(found.first, found.fade, cells.n[ix]) for ix in at) / contacts
        rows.append([name, contacts, spend / contacts, clicks, seen.value, seen.low, min(1.0, seen.high), fitted,
                     ratio(spend, clicks), spend])  # fmt: skip
    return Table("nth", "By number of the contact", columns, rows, total=True, counts=people)


def _groups(books: Books, by: tuple[str, ...], worth: float | None) -> Table:
    """One curve a group."""
    names = ", ".join(by)
    grouped: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in books.sql(f"SELECT {names}, contact_n, {SUMS} FROM nth GROUP BY {names}, contact_n ORDER BY {names}, "
                         "contact_n"):  # fmt: skip
        grouped.setdefault(row[: len(by)], []).append(row[len(by) :])
    met = {row[: len(by)]: row[len(by)] for row in books.sql(f"SELECT {names}, count(DISTINCT person) FROM nth "
                                                              f"GROUP BY {names}")}  # fmt: skip
    rows: list[list[Cell]] = []
    for key, found in grouped.items():
        cells = cells_of(found)
        curve, value = fit(cells), cells.worth if worth is None else worth
        cap = stop(cells, curve, value)
        over = sum(nano for n, nano in zip(cells.n, cells.nano, strict=True) if cap is not None and n > cap)
        rows.append([*key, met[key], sum(cells.contacts), cells.price, sum(cells.clicks),
                     curve.first if curve else None, curve.fade if curve else None, cap,
                     money(over) if cap is not None else None])  # fmt: skip
    columns = [
        *(Column(name, name, "text", role="key") for name in by),
        Column("people", "people", "people", "Different people."),
        Column("contacts", "contacts", "contacts", "Paid ads whose person is known, billed by the impression.", "sum"),
        Column("price", "price", "money", "Mean price of a contact. Net of refunds."),
        Column("clicks", "clicks", "clicks", "Of these, clicked.", "sum"),
        Column("first", "first", "share", "Response of the first contact, as fitted."),
        Column("fade", "next keeps", "number", "Response over that of the contact before, as fitted."),
        Column("cap", "stop at", "contacts", "The last contact that is worth its price."),
        Column("over", "beyond", "money", "What was paid beyond it. Net of refunds.", "sum"),
    ]
    return Table("by_" + "_".join(by), by_title(by), columns, rows, people="people")


def _answers(cells: Cells, found: Fit | None, worth: float | None, books: Books) -> list[Answer]:
    question = "Where should it stop?"
    if not sum(cells.contacts):
        return [Answer(question, [Text("There is no contact billed by the impression.")])]
    if found is None or worth is None:
        return [Answer(question, [Text("Nobody can tell: {n} clicks are too few to see response fade.",
                                       {"n": Amount(sum(cells.clicks), "clicks")})])]  # fmt: skip
    cap = stop(cells, found, worth)
    amounts = {"cap": Amount(cap, "count"), "worth": Amount(worth, "money"), "price": Amount(cells.price, "money"),
               "fade": Amount(found.fade, "number")}  # fmt: skip
    told = [
        Text("At a click worth {worth} not even the first contact is worth its {price}.", amounts) if cap == 0
        else Text("Nowhere yet: every contact seen is worth its price ({price}) if a click is worth "
                  "{worth}.", amounts) if cap is None
        else Text("After contact {cap}: at a click worth {worth} the next one costs more ({price}) than it brings.",
                  amounts)
    ]  # fmt: skip
    if found.fade_range.low <= 1.0 <= found.fade_range.high:
        told.append(Text("That is no more than a guess: whether response fades at all cannot be told from {n} clicks.",
                         {"n": Amount(sum(cells.clicks), "clicks")}))  # fmt: skip
    seen, even, _ = rerented(books)
    if seen is not None and even is not None:
        shares = {"seen": Amount(seen, "share"), "even": Amount(even, "share")}
        told.append(Text("{seen} of the contacts rent the same person again; if they fell evenly on all who came, it "
                         "would be {even}.", shares))  # fmt: skip
    return [Answer(question, told)]


def _charts(cells: Cells, found: Fit | None, worth: float | None) -> list[Chart]:
    most = [n for n, contacts in zip(cells.n, cells.contacts, strict=True) if n <= 30 and contacts > 0]
    if len(most) < 2:
        return []
    seen = []
    for n, contacts, clicks in zip(cells.n, cells.contacts, cells.clicks, strict=True):
        if n <= most[-1]:
            around = rate_interval(clicks, contacts, 1 - clicks / contacts if clicks < contacts else 1.0)
            seen.append(Point(float(n), around.value, around.low, min(1.0, around.high), contacts))
    series, marks = [Series("observed", seen)], []
    amounts = {"first": Amount(seen[0].y, "share"), "last": Amount(seen[-1].y, "share"), "n": Amount(most[-1], "count")}
    if found:
        series.append(Series("fitted", [Point(float(n), response(found.first, found.fade, n)) for n in most]))
        cap = stop(cells, found, worth)
        marks = [Mark(float(cap), "stop")] if cap and cap <= most[-1] else []
    charts = [Chart("response", "Response of the n-th contact", "line", series, Axis("contact", "count"),
                    Axis("clicks per contact", "share"),
                    Text("Observed response goes from {first} at the first contact to {last} at contact {n}.", amounts),
                    marks)]  # fmt: skip
    if found:
        cost = [(n, cost_per_response(cells.price, found.first, found.fade, n)) for n in most]
        lines = [Series("a click costs", [Point(float(n), x) for n, x in cost])]
        if worth is not None:
            lines.append(Series("a click is worth", [Point(float(n), worth) for n in most]))
        charts.append(Chart("cost", "Cost of a click at the n-th contact", "line", lines, Axis("contact", "count"),
                            Axis("a click", "money"),
                            Text("As fitted, a click costs {first} at the first contact and {last} at contact {n}.",
                                 {"first": Amount(cost[0][1], "money"), "last": Amount(cost[-1][1], "money"),
                                  "n": Amount(cost[-1][0], "count")}), marks))  # fmt: skip
    return charts


def _notes(found: Fit | None, by_click: int) -> list[Text]:
    notes = [Text("The curve assumes that every person responds alike and that each contact keeps the same share of "
                  "the "
                  "response before it. People differ: who is met often may like or dislike ads more than others, and "
                  "the "
                  "curve takes that for the effect of repetition. A test would cap at random.")]  # fmt: skip
    if by_click:
        notes.append(Text("{n} billed by click or conversion are left out: they are responses by definition.",
                          {"n": Amount(by_click, "ads")}))  # fmt: skip
    if found is None:
        notes.append(Text("No curve was fitted: it needs clicks at two different contact numbers."))
    return notes
