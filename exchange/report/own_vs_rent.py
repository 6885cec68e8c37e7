"""The report `own_vs_rent`: what a contact may cost to own, against renting it month after month."""

from math import isfinite
from typing import Any, Final

from msgspec import Struct

from exchange.report.asking import BY as DIMENSIONS
from exchange.report.asking import Books, by_title, money, ratio
from exchange.report.formulas import WHY, BreakEven, break_even, saving, survival_of_year
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

TITLE: Final = "Own or rent"
QUESTION: Final = "when does a contact that opted in pay for itself, against renting it?"
BY: Final = DIMENSIONS
ALONE: Final = True
YEARLY: Final = 0.75  # share of a list that is left after a year: 20 to 25 % are lost
OWNED_COST: Final = 0.01
HORIZON: Final = 36  # months shown at least
MONTHS: Final = (1, 2, 3, 6, 9, 12, 18, 24, 36, 48, 60)
RENTS: Final = """count(rented), coalesce(sum(net_nano) FILTER (rented IS NOT NULL), 0),
  count(DISTINCT (advertiser, rented)) FILTER (rented IS NOT NULL),
  count(DISTINCT (advertiser, rented, billed_month)) FILTER (rented IS NOT NULL)"""
OPTED: Final = "SELECT count(*) FILTER (opted_in), count(*) FILTER (opted_out) FROM wins AS w WHERE "


class Terms(Struct):
    """What a customer costs, rented and owned; amounts in currency a month unless stated."""

    rent: float
    owned: float
    survival: float  # a month
    discount: float  # a year
    opt_in: float | None  # once; None = nobody said, nobody opted in
    customers: float
    contacts: float  # rented contacts of a customer a month
    cpm: float
    rows: int  # of the ledger behind them

    @property
    def pays(self) -> BreakEven:
        """When the opt-in has paid; of a price of 0 where none is known."""
        return break_even(self.rent, self.owned, self.survival, self.opt_in or 0.0, self.discount)

    def saved(self, months: float) -> float:
        """What an owned contact saves over some months, before its opt-in."""
        return saving(self.rent, self.owned, self.survival, months, self.discount)


def build(
    books: Books | None,
    by: tuple[str, ...] = (),
    customers: float | None = None,
    contacts: float | None = None,
    cpm: float | None = None,
    opt_in: float | None = None,
    owned_cost: float = OWNED_COST,
    survival: float | None = None,
    discount: float = 0.0,
) -> Report:
    """Own against rent, from a ledger's own rents or from the numbers given, which go first.

    Raises ValueError where neither a ledger nor the numbers say what rent is.
    """
    kept = survival_of_year(YEARLY) if survival is None else survival
    met: tuple[Any, ...] = (0, 0, 0, 0)
    opted = (0, 0)
    if books is not None:
        met = books.one(f"SELECT {RENTS} FROM facts")
        opted = books.one(OPTED + books.where(wins="w"))
    elif contacts is None or cpm is None or by:
        raise ValueError("expected the folder of a ledger, or --contacts and --cpm" + (", without --by" if by else ""))
    seen, nano, pairs, customer_months = met
    spend = money(nano)
    each = contacts if contacts is not None else ratio(seen, customer_months) or 0.0
    price = cpm if cpm is not None else ratio(spend, seen, 1000) or 0.0
    if opt_in is None and opted[0]:
        opt_in = spend / opted[0]
    if customers is None:
        customers = pairs if books is not None else 1.0
    terms = Terms(each * price / 1000, owned_cost, kept, discount, opt_in, customers, each, price, seen)
    since, until = books.span() if books is not None else ("", "")
    return Report(
        name="own_vs_rent", title=TITLE, question=QUESTION, rows=books.count("facts") if books is not None else 0,
        currency=books.currency if books is not None else "", ledger=books.name if books is not None else "",
        since=since, until=until, answers=_answers(terms), figures=_figures(terms, opted[0]),
        tables=[*([_groups(books, by, terms)] if books is not None and by else []), _months(terms)],
        charts=_charts(terms), notes=_notes(books, opted),
    )  # fmt: skip


def _figures(t: Terms, opt_ins: int) -> list[Figure]:
    pays, rows = t.pays, t.rows
    known = t.opt_in is not None
    return [
        Figure("rent", "rent of a customer a month", t.rent, "money", "What it costs to rent a customer for a month: "
               "contacts a month x CPM / 1000. Of a ledger: net of refunds, of months in which he was rented.",
               "contacts * cpm / 1000", rows),
        Figure("contacts", "contacts a month", t.contacts, "number", "Paid ads of an advertiser with a customer in a "
               "month.", "count(*) / count(distinct (advertiser, person, month))", rows),
        Figure("cpm", "price of 1,000 contacts", t.cpm, "money", "Mean price of 1,000 paid ads whose person is known.",
               "1000 * sum(net) / count(*)", rows),
        Figure("owned", "owned contact a month", t.owned, "money", "What it costs to keep and to write to a contact "
               "that opted in; --owned-cost.", "given", 0),
        Figure("survival", "left after a month", t.survival, "share", "Share of owned contacts that have not opted out "
               "a month later; --survival. 0.75^(1/12): a quarter of a list is lost in a year.", "given", 0),
        Figure("opt_in", "an opt-in", t.opt_in, "money", "What an opt-in costs once; --opt-in, or of a ledger what was "
               "spent per person who opted in.", "given, or sum(net) / count(opted_in)", opt_ins),
        Figure("most", "most that an opt-in may cost", pays.most if isfinite(pays.most) else None, "money",
               "Above this price an opt-in never pays for itself; a dash: there is no such limit.",
               "A* = (rent - owned) / (1 - survival)", rows),
        Figure("months", "pays for itself after", pays.months if known else None, "months", "Months after which what "
               "was saved reaches what the opt-in cost; a dash: never.",
               "M* = ln(1 - A (1 - survival) / (rent - owned)) / ln survival", rows),
        Figure("month", "by the end of month", pays.month if known else None, "count", "The first whole month by whose "
               "end it has paid.", "ceil(M*)", rows),
        Figure("year", "saved in a year", t.saved(12) - t.opt_in if t.opt_in is not None else None, "money", "What an "
               "owned contact saves in 12 months, less its opt-in.",
               "(rent - owned)(1 - survival^12) / (1 - survival) - A", rows),
        Figure("total", "the same, of all customers",
               t.customers * (t.saved(12) - t.opt_in) if t.opt_in is not None else None, "money",
               "For all customers: --customers, or those of the ledger.", "customers * saved in a year", rows),
    ]  # fmt: skip


def _answers(t: Terms) -> list[Answer]:
    question, pays = "Is it worth owning?", t.pays
    amounts = {"rent": Amount(t.rent, "money"), "owned": Amount(t.owned, "money"), "a": Amount(t.opt_in, "money"),
               "most": Amount(pays.most, "money"), "months": Amount(pays.months, "months"),
               "month": Amount(pays.month, "count")}  # fmt: skip
    if pays.why == "rent is cheaper":
        told = Text("No: renting a customer costs {rent} a month and owning one {owned}: nothing is saved.", amounts)
    elif t.opt_in is None:
        told = Text("Up to {most} for an opt-in: above that renting at {rent} a month stays cheaper.", amounts)
        if not isfinite(pays.most):
            told = Text("At any price for an opt-in, some day: nobody ever leaves the list.")
    elif pays.why == "too dear":
        told = Text("No: an opt-in at {a} never pays for itself, {most} is the most it may cost: by then too many have "
                    "left.", amounts)  # fmt: skip
    elif pays.why == "free":
        told = Text("Yes, from the first month: the opt-in costs nothing and {rent} a month of rent is saved.", amounts)
    elif not isfinite(pays.most):
        told = Text("Yes: an opt-in at {a} has paid for itself by the end of month {month} (after {months} months), "
                    "for "
                    "nobody ever leaves the list.", amounts)  # fmt: skip
    else:
        told = Text("Yes: an opt-in at {a} has paid for itself by the end of month {month} (after {months} months); it "
                    "may cost up to {most}.", amounts)  # fmt: skip
    sentences = [told]
    if t.opt_in is not None and t.customers > 1:
        after = t.customers * (t.saved(12) - t.opt_in)
        sentences.append(
            Text("For {n} that is {outlay} at once, and after a year {x} {more}.",
                 {"n": Amount(round(t.customers), "customers"), "outlay": Amount(t.customers * t.opt_in, "money"),
                  "x": Amount(abs(after), "money"), "more": Amount("saved" if after >= 0 else "missing", "text")})
        )  # fmt: skip
    return [Answer(question, sentences)]


def _path(t: Terms, months: float) -> tuple[float, float]:
    """(rented, owned): cost of a customer up to then; who has opted out is rented again."""
    rented = saving(t.rent, 0.0, 1.0, months, t.discount)
    return rented, (t.opt_in or 0.0) + rented - t.saved(months)


def _months(t: Terms) -> Table:
    columns = [
        Column("month", "after month", "count", role="key"),
        Column("left", "still owned", "share", "Share that has not opted out."),
        Column("rented", "rented", "money", "What a customer has cost until then, rented."),
        Column(
            "owned", "owned", "money", "What he has cost until then: opt-in, owned contact, rent once he opted out."
        ),
        Column("saved", "saved", "money", "Rented less owned: below 0 the opt-in has not paid yet."),
        Column("all", "all customers", "money", "Saved, of all customers."),
    ]
    rows: list[list[Cell]] = []
    for month in sorted({*MONTHS, *([t.pays.month] if t.pays.month and t.pays.month <= 600 else [])}):
        rented, owned = _path(t, month)
        rows.append([month, t.survival**month, rented, owned, rented - owned, t.customers * (rented - owned)])
    return Table("months", "Month by month", columns, rows)


def _groups(books: Books, by: tuple[str, ...], t: Terms) -> Table:
    names = ", ".join(by)
    rows: list[list[Cell]] = []
    for row in books.sql(f"SELECT {names}, {RENTS} FROM facts GROUP BY {names} ORDER BY {names}"):
        seen, nano, pairs, months = row[len(by) :]
        if not months:
            continue
        rent = money(nano) / months
        pays = break_even(rent, t.owned, t.survival, t.opt_in or 0.0, t.discount)
        rows.append([*row[: len(by)], pairs, ratio(seen, months), ratio(money(nano), seen, 1000), rent,
                     pays.most if isfinite(pays.most) else None, pays.months if t.opt_in is not None else None,
                     WHY[pays.why] if t.opt_in is not None or pays.why == "rent is cheaper" else ""])  # fmt: skip
    at = len(by) + 3
    rows.sort(key=lambda row: -float(row[at] or 0))
    columns = [
        *(Column(name, name, "text", role="key") for name in by),
        Column("customers", "customers", "customers", "Pairs of an advertiser and a person whom it rented."),
        Column("contacts", "contacts", "number", "Contacts of a customer a month."),
        Column("cpm", "CPM", "money", "Mean price of 1,000 contacts."),
        Column("rent", "rent", "money", "Rent of a customer a month. Net of refunds.", bar=True),
        Column("most", "opt-in up to", "money", "Above this price an opt-in never pays for itself."),
        Column("months", "pays after", "months", "Months after which the opt-in has paid for itself; a dash: never."),
        Column("verdict", "verdict", "text"),
    ]
    return Table("by_" + "_".join(by), by_title(by), columns, rows, people="customers", translate=["verdict"])


def _charts(t: Terms) -> list[Chart]:
    if t.opt_in is None or t.rent <= 0:
        return []
    months = t.pays.months
    last = max(HORIZON, min(120, round(1.5 * months) if months else 0))
    paths = [(month, *_path(t, month)) for month in range(last + 1)]
    rented, owned = paths[-1][1], paths[-1][2]
    return [
        Chart("paths", "What a customer has cost", "line",
              [Series("rented", [Point(float(m), x) for m, x, _ in paths]),
               Series("owned", [Point(float(m), y) for m, _, y in paths])],
              Axis("months", "months"), Axis("cost until then", "money"),
              Text("After {n} months a rented customer has cost {rented}, an owned one {owned}.",
                   {"n": Amount(last, "count"), "rented": Amount(rented, "money"), "owned": Amount(owned, "money")}),
              [Mark(months, "break-even")] if months is not None and months <= last else [])
    ]  # fmt: skip


def _notes(books: Books | None, opted: tuple[int, int]) -> list[Text]:
    notes = [Text("An owned contact is reached as well as a rented one, everybody leaves the list with the same chance "
                  "every month, and who has left is rented again. Prices stay as they are.")]  # fmt: skip
    if books is not None:
        notes.append(Text("A month is one in which the customer was rented at all; a ledger of less than a month has "
                          "less rent in it than a month has."))  # fmt: skip
    if opted[0]:
        notes.append(Text("{n} opted in and {m} opted out in this ledger.",
                          {"n": Amount(opted[0], "people"), "m": Amount(opted[1], "people")}))  # fmt: skip
    return notes
