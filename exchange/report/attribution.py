"""The report `attribution`: what last touch credits to the ads, beside what a holdout shows that they caused."""

from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from exchange.report.asking import Books, money, ratio
from exchange.report.conversions import Conversions, conversions_of
from exchange.report.holdout import (
    LOOK_BACK_DAYS,
    WHY,
    Effect,
    Groups,
    Ids,
    Touches,
    effect_of,
    groups_of,
    last_touch,
    per_person,
    touches_of,
)
from exchange.report.shape import Amount, Answer, Axis, Cell, Chart, Column, Figure, Point, Report, Series, Table, Text

TITLE: Final = "Attribution"
QUESTION: Final = "what did the ads cause, and what do they only take credit for?"
BY: Final = ("advertiser",)
ONLY: Final = ("advertiser",)
WHY_ONLY: Final = (
    "holds people out of all ads of an advertiser, and a conversion is that of no publisher, segment or week: expected "
    "advertiser"
)
NO_FILE: Final = "cannot tell: no conversions file"
NO_BIDS: Final = "cannot tell: the journal keeps no bids"
# of each advertiser: money of known people through its campaigns here, through remote bidders, and of unknown people
SPEND: Final = """SELECT advertiser, coalesce(sum(net_nano) FILTER (known AND local), 0),
  coalesce(sum(net_nano) FILTER (known AND NOT local), 0), coalesce(sum(net_nano) FILTER (NOT known), 0), count(*),
  count(DISTINCT rented), count(*) FILTER (converted)
FROM facts WHERE named GROUP BY advertiser ORDER BY advertiser"""
COLUMNS: Final = [
    Column("advertiser", "advertiser", "text", role="key"),
    Column("spend", "spend", "money", "What was paid for known people. Net of refunds.", "sum"),
    Column("conversions", "all", "conversions", "Conversions in the file, whoever it was.", "sum",
           few="conversions"),
    Column("credited", "last touch", "conversions", "Conversions after an ad of the advertiser that the person saw or "
           "clicked within the look-back.", "sum", few="credited"),
    Column("cpa", "CPA", "money", "spend / conversions that last touch credits.", "ratio", "spend", "credited",
           few="credited"),
    Column("increment", "caused", "number", "Conversions of those who might see the ads, less as many as the held out "
           "had per person. A dash where it cannot be told."),
    Column("icpa", "iCPA", "money", "spend / conversions caused. A dash where it cannot be told."),
    Column("icpa_low", "at least", "money", "Lower end of the 95 % interval of the iCPA."),
    Column("icpa_high", "at most", "money", "Upper end; a dash where there may be none at all."),
]  # fmt: skip
HELD: Final = [
    Column("advertiser", "advertiser", "text", role="key"),
    Column("treated", "might see", "people", "People whom its campaigns were asked for.", "sum"),
    Column("bought", "bought", "conversions", "Their conversions from their first opportunity on.", "sum",
           few="bought"),
    Column("held", "held out", "people", "People kept from its ads, though its campaigns would have been "
                                         "asked.", "sum"),
    Column("held_bought", "bought", "conversions", "Their conversions from their first opportunity on.", "sum",
           few="held_bought"),
    Column("low", "caused, at least", "number", "Lower end of the 95 % interval of the conversions caused."),
    Column("high", "at most", "number", "Upper end."),
    Column("needed", "to hold out", "people", "People to hold out to tell such a difference, four times in five."),
    Column("verdict", "verdict", "text", "Whether the difference of the two groups can be told from chance."),
]  # fmt: skip


class Account(Struct):
    """One advertiser: what last touch says, what the holdout says."""

    name: str
    spend: float  # on known people
    remote: float  # of it through remote bidders, whom no holdout binds
    unknown: float  # on unknown people, not in `spend`
    wins: int
    rented: int  # known people it paid for
    linked: int  # conversions that came by signed link
    listed: int | None  # conversions in the file
    credited: int | None  # of them after a touch
    clicked: int  # of those, after a click
    why: str  # one of WHY, NO_FILE or NO_BIDS
    effect: Effect | None

    @property
    def cpa(self) -> float | None:
        """Spend per conversion that last touch credits: by the file, else by the links."""
        return ratio(self.spend, self.linked if self.credited is None else self.credited)


class Reckoning(Struct):
    """All advertisers' accounts, and what they were made from."""

    accounts: list[Account]
    conversions: Conversions | None
    touches: Touches
    touched: Ids  # of each conversion its last touch, -1 = none
    groups: dict[int, Groups]
    ids: dict[str, int]


def reckon(books: Books, conversions: Path | None = None, look_back: float = LOOK_BACK_DAYS) -> Reckoning:
    """Last touch and holdout, advertiser by advertiser. Raises PeopleError for a file that cannot be used."""
    ledger = books.ledger
    found = conversions_of(ledger, conversions, books.only.get("advertiser"))
    touches, groups = touches_of(ledger, found), groups_of(ledger)
    bids = books.rows("bids")
    ids = {text: number for kind, number, text in ledger.names.all() if kind == "advertiser"}
    if "advertiser" in books.only:
        mine = {ids[name] for name in books.only["advertiser"] if name in ids}
        groups = {ident: of for ident, of in groups.items() if ident in mine}
    touched = np.zeros(0, np.int64) if found is None else last_touch(touches, found, look_back)
    accounts = []
    for name, local, remote, unknown, wins, rented, linked in books.sql(SPEND):
        ident, spend = ids[name], money(local)
        nobody = Groups(np.zeros(0, np.uint64), np.zeros(0, bool), np.zeros(0, np.int64), 0)
        asked = groups.get(ident, nobody)
        listed = credited = effect = None
        clicked, why = 0, NO_FILE if bids else NO_BIDS
        if found is not None:
            theirs = np.flatnonzero(found.advertiser == ident)
            last = touched[theirs]
            listed, credited = theirs.size, int(np.count_nonzero(last >= 0))
            clicked = int(np.count_nonzero(touches.click[last[last >= 0]]))
        if found is not None and credited is not None and bids:
            each, _ = per_person(asked, found, ident)
            effect = effect_of(each[~asked.held], each[asked.held], spend, credited)
            why = effect.why
        accounts.append(
            Account(name, spend + money(remote), money(remote), money(unknown), wins, rented, linked, listed, credited,
                    clicked, why, effect)
        )  # fmt: skip
    return Reckoning(accounts, found, touches, touched, groups, ids)


def build(
    books: Books, by: tuple[str, ...] = (), conversions: Path | None = None, look_back: float = LOOK_BACK_DAYS
) -> Report:
    """Last touch and incremental side by side, per advertiser; credits per campaign."""
    found = reckon(books, conversions, look_back)
    accounts = found.accounts
    since, until = books.span()
    return Report(
        name="attribution", title=TITLE, question=QUESTION, rows=books.count("facts"), currency=books.currency,
        ledger=books.name, since=since, until=until, answers=_answers(accounts), figures=figures_of(accounts),
        tables=[*_tables(accounts), *_campaigns(found, books)], charts=_charts(accounts),
        notes=notes_of(found, look_back),
    )  # fmt: skip


def figures_of(accounts: list[Account]) -> list[Figure]:
    """The figures over all advertisers whose effect can be told, and of last touch over the same ones."""
    told = [a for a in accounts if a.effect is not None and a.effect.increment is not None]
    rows = sum(a.wins for a in told)
    spend = sum(a.effect.spend for a in told if a.effect)
    credited = sum(a.credited or 0 for a in told)
    caused = [a.effect.increment for a in told if a.effect and a.effect.increment]
    value = sum(each.value for each in caused)
    # independent advertisers: variances add, so half-widths add in squares
    low = value - sum((each.value - each.low) ** 2 for each in caused) ** 0.5
    high = value + sum((each.high - each.value) ** 2 for each in caused) ** 0.5
    sure = bool(caused) and low > 0
    return [
        Figure("cpa", "CPA by last touch", ratio(spend, credited), "money", "Spend per conversion that followed an ad "
               "seen or clicked, of advertisers with a holdout. Net of refunds.",
               "sum(net) / conversions with a touch before", rows, people=credited or None),
        Figure("icpa", "CPA by holdout (iCPA)", ratio(spend, value) if sure else None, "money", "Spend per conversion "
               "that the ads caused, of advertisers with a holdout; with its 95 % interval. It does not exist where "
               "the ads may have caused none. Net of refunds.",
               "sum(net) / (conv_T - conv_C * N_T / N_C)", rows,
               low=spend / high if sure else None, high=spend / low if sure else None),
        Figure("caused", "conversions caused", value if caused else None, "number", "Conversions of people who might "
               "see the ads, less as many as the held out had per person; with its 95 % interval.",
               "conv_T - conv_C * N_T / N_C", rows, low=low if caused else None, high=high if caused else None),
        Figure("credited", "conversions by last touch", credited if told else None, "conversions", "Conversions that "
               "followed an ad seen or clicked within the look-back, of advertisers with a holdout.",
               "count(conversions with a touch before)", rows, people=credited or None),
    ]  # fmt: skip


def _answers(accounts: list[Account]) -> list[Answer]:
    question = "What did the ads cause?"
    held = [a for a in accounts if a.effect is not None and a.effect.held > 0]
    if not held:
        why = {a.why for a in accounts}
        if NO_BIDS in why:
            return [Answer(question, [Text("Nobody can tell: who was held out stands in the bids, and this ledger "
                                           "keeps none (journal = \"bids\").")])]  # fmt: skip
        if NO_FILE in why:
            return [Answer(question, [Text("Nobody can tell: a held-out person has no link, so his conversions are "
                                           "only in the advertiser's own book. Give it with --conversions "
                                           "FILE.csv.")])]  # fmt: skip
        return [Answer(question, [Text("Nobody can tell: no advertiser held anybody out (advertiser.holdout).")])]
    return [Answer(question, [sentence(a) for a in held])]


def sentence(account: Account) -> Text:
    """What last touch and holdout say of one advertiser, in one sentence."""
    effect = account.effect
    assert effect is not None and effect.increment is not None
    amounts = {
        "name": Amount(account.name, "text"),
        "credited": Amount(account.credited, "conversions"),
        "cpa": Amount(account.cpa, "money"),
        "caused": Amount(effect.increment.value, "number"),
        "icpa": Amount(effect.icpa, "money"),
        "low": Amount(effect.icpa_low, "money"),
        "high": Amount(effect.icpa_high, "money"),
        "held": Amount(effect.held, "people"),
        "needed": Amount(needed(effect), "people"),
    }
    if effect.why == "told":
        return Text("{name}: last touch credits {credited}, {cpa} each; the ads caused {caused}, {icpa} each (95 %: "
                    "{low} to {high}).", amounts, account.credited or None)  # fmt: skip
    if effect.why == "fewer":
        return Text("{name}: last touch credits {credited}, {cpa} each; yet people who might see the ads bought less "
                    "than those held out.", amounts, account.credited or None)  # fmt: skip
    if amounts["needed"].value is None:
        return Text("{name}: last touch credits {credited}, {cpa} each; what the ads caused cannot be told: the "
                    "holdout is too small, and no difference was seen.", amounts, account.credited or None)  # fmt: skip
    if effect.increment.value > 0:
        return Text("{name}: last touch credits {credited}, {cpa} each; what the ads caused cannot be told: the "
                    "holdout of {held} is too small, to tell the difference seen it would take "
                    "{needed}.", amounts, account.credited or None)  # fmt: skip
    return Text("{name}: last touch credits {credited}, {cpa} each; what the ads caused cannot be told: the holdout of "
                "{held} is too small, to tell what last touch claims it would take {needed}.", amounts,
                account.credited or None)  # fmt: skip


def needed(effect: Effect) -> int | None:
    """People to hold out, a whole number; None where no number would do."""
    return None if not np.isfinite(effect.held_needed) else int(np.ceil(effect.held_needed))


def row_of(account: Account) -> list[Cell]:
    """One row of the table, in the order of COLUMNS."""
    e = account.effect
    sure = e is not None and e.why in ("told", "fewer") and e.increment is not None
    return [
        account.name, account.spend, account.listed, account.credited, account.cpa,
        e.increment.value if sure and e and e.increment else None, e.icpa if e else None,
        e.icpa_low if e else None, e.icpa_high if e else None,
    ]  # fmt: skip


def held_row_of(account: Account) -> list[Cell]:
    """One row of the table of the groups, in the order of HELD."""
    e, verdict = account.effect, WHY.get(account.why, account.why)
    if e is None:
        return [account.name, *[None] * 7, verdict]
    low, high = (e.increment.low, e.increment.high) if e.increment else (None, None)
    wanted = needed(e) if e.why == "too small" else None
    return [account.name, e.treated, e.treated_conversions, e.held, e.held_conversions, low, high, wanted, verdict]


def _tables(accounts: list[Account]) -> list[Table]:
    return [
        Table("advertisers", "Last touch and holdout, side by side", COLUMNS, [row_of(a) for a in accounts],
              counts=[a.rented for a in accounts],
              note="Last touch asks who saw an ad before he bought; the holdout asks who would have bought anyway."),
        Table("groups", "The two groups", HELD, [held_row_of(a) for a in accounts], people="held",
              translate=["verdict"]),
    ]  # fmt: skip


def _campaigns(found: Reckoning, books: Books) -> list[Table]:
    """Whom last touch credits: campaigns, by what the last touch was."""
    if found.conversions is None:
        return []
    names = {number: text for kind, number, text in books.ledger.names.all() if kind == "campaign"}
    touched = found.touched >= 0
    last = found.touched[touched]
    rows: dict[str, list[Cell]] = {}
    people: dict[str, set[int]] = {}
    for campaign, click, person in zip(
        found.touches.campaign[last].tolist(), found.touches.click[last].tolist(), found.touches.person[last].tolist(),
        strict=True,
    ):  # fmt: skip
        name = names.get(campaign, "remote bidders" if campaign < 0 else f"campaign {campaign}")
        row = rows.setdefault(name, [name, 0, 0, 0])
        for at in (1, 2 if click else 3):
            row[at] = int(row[at] or 0) + 1
        people.setdefault(name, set()).add(person)
    columns = [
        Column("campaign", "campaign", "text", role="key"),
        Column(
            "credited",
            "credited",
            "conversions",
            "Conversions whose last touch was its ad.",
            "sum",
            bar=True,
            few="credited",
        ),
        Column(
            "after_click",
            "after a click",
            "conversions",
            "Of these, where the last touch was a click.",
            "sum",
            few="after_click",
        ),
        Column(
            "after_view",
            "after a view",
            "conversions",
            "Of these, where the ad was only seen.",
            "sum",
            few="after_view",
        ),
        Column("people", "people", "people", "Different people of these conversions."),
    ]
    listed: list[list[Cell]] = [[*row, len(people[name])] for name, row in rows.items()]
    listed.sort(key=lambda row: (-int(row[1] or 0), str(row[0])))
    return [Table("campaigns", "Whom last touch credits", columns, listed, people="people", total=True)]


def _charts(accounts: list[Account]) -> list[Chart]:
    shown = [a for a in accounts if a.effect is not None and a.effect.increment is not None]
    if not shown:
        return []
    credited = Series(
        "credited by last touch", [Point(a.name, float(a.credited or 0), people=a.credited) for a in shown]
    )
    caused = Series("caused, by holdout", [
        Point(a.name, e.value, e.low, e.high) for a in shown if a.effect and (e := a.effect.increment)
    ])  # fmt: skip
    most = max(shown, key=lambda a: a.credited or 0)
    assert most.effect is not None and most.effect.increment is not None
    return [
        Chart("side_by_side", "Credited and caused", "bars", [credited, caused], Axis("advertiser", "text"),
              Axis("conversions", "number"),
              Text("Of {name}, last touch credits {credited}; the holdout says that the ads caused {caused}.",
                   {"name": Amount(most.name, "text"), "credited": Amount(most.credited, "conversions"),
                    "caused": Amount(most.effect.increment.value, "number")}, most.credited or None),
              translate=False, of="groups")
    ]  # fmt: skip


def notes_of(found: Reckoning, look_back: float) -> list[Text]:
    """How it was measured, and what stands against it."""
    notes = [
        Text("Both groups are people its campaigns were, or would have been, asked for; a draw by hash of the person "
             "decides who is held out. Only conversions after a person's first such opportunity count."),
        Text("Last touch looks back {days} days.", {"days": Amount(round(look_back), "count")}),
        Text("An interval of 95 % errs once in twenty; the effect is told where it excludes 0."),
    ]  # fmt: skip
    if found.conversions is not None and found.conversions.repeats:
        n = Amount(found.conversions.repeats, "rows")
        notes.append(Text("{n} of the conversions file repeat another and were left out.", {"n": n}))
    crossed = sum(groups.crossed for groups in found.groups.values())
    if crossed:
        notes.append(Text("{n} were held out at one time and not at another: the holdout was changed.",
                          {"n": Amount(crossed, "people")}))  # fmt: skip
    remote = sum(account.remote for account in found.accounts)
    if remote:
        notes.append(Text("{x} was spent through remote bidders, whom a holdout does not bind; it is in the CPA and "
                          "not "
                          "in the iCPA.", {"x": Amount(remote, "money")}))  # fmt: skip
    unknown = sum(account.unknown for account in found.accounts)
    if unknown:
        notes.append(Text("{x} was spent on people nobody knows; it is in neither.", {"x": Amount(unknown, "money")}))
    return notes
