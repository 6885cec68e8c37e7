"""The report `own_resale`: what an advertiser paid to reach people who were his customers already, and what for."""

from pathlib import Path
from typing import Final

import numpy as np

from exchange.report.asking import BY as DIMENSIONS
from exchange.report.asking import Books, by_title, money, ratio
from exchange.report.attribution import COLUMNS as SIDE_BY_SIDE
from exchange.report.attribution import Account, Reckoning, needed, reckon, row_of
from exchange.report.holdout import LOOK_BACK_DAYS, WHY, effect_of, own_of, per_person
from exchange.report.shape import Amount, Answer, Axis, Cell, Chart, Column, Figure, Point, Report, Series, Table, Text

TITLE: Final = "Own customers, rented"
QUESTION: Final = "how much went on people who were customers already, and what did that bring?"
BY: Final = DIMENSIONS
SUMS: Final = """count(*) FILTER (billed), count(*) FILTER (billed AND own),
  coalesce(sum(net_nano), 0), coalesce(sum(net_nano) FILTER (own), 0),
  count(*) FILTER (seen), count(*) FILTER (seen AND own), count(DISTINCT rented), count(DISTINCT rented) FILTER (own)"""
OWN_SPEND: Final = """SELECT own, coalesce(sum(net_nano), 0), count(*), count(DISTINCT rented)
FROM facts
WHERE named AND advertiser = '{name}' AND known AND local GROUP BY own"""
PARTED: Final = Text(
    "What they caused can only be told of all ads of an advertiser: who is held out sees none of them."
)
COLUMNS: Final = [
    Column("spend", "spend", "money", "What buyers paid. Net of refunds.", "sum"),
    Column("own_spend", "on own", "money", "Of it, for people on the advertiser's own list at that time.", "sum"),
    Column("own_share", "share", "share", "on own / spend.", "ratio", "own_spend", "spend", bar=True),
    Column("seen", "ads", "ads", "Ads seen.", "sum"),
    Column("own_seen", "own ads", "ads", "Of these, by own customers.", "sum"),
    Column("own_cpm", "CPM own", "cpm", "Price of 1,000 ads seen by own customers.", "ratio", "own_spend", "own_seen",
           1000),
    Column("cpm", "CPM others", "cpm", "Price of 1,000 ads seen by others."),
    Column("premium", "premium", "ratio", "CPM own / CPM others."),
    Column("own_people", "own people", "people", "Different own customers who were rented."),
]  # fmt: skip


def build(
    books: Books, by: tuple[str, ...] = (), conversions: Path | None = None, look_back: float = LOOK_BACK_DAYS
) -> Report:
    """Share and premium of own customers in spend; last touch and holdout for own customers and for others."""
    billed, own_billed, nano, own_nano, seen, own_seen, people, own_people = books.one(f"SELECT {SUMS} FROM facts")
    found = reckon(books, conversions, look_back)
    whole = books.only.keys() <= {"advertiser"}  # a holdout is from all ads of an advertiser
    halves = [half for account in found.accounts for half in split_of(books, found, account)] if whole else []
    spend, own_spend = money(nano), money(own_nano)
    cpm, own_cpm = ratio(spend - own_spend, seen - own_seen, 1000), ratio(own_spend, own_seen, 1000)
    premium = ratio(own_cpm, cpm) if own_cpm is not None and cpm else None
    same = like_for_like(books)
    since, until = books.span()
    figures = [
        Figure("own_share", "share of spend on own customers", ratio(own_spend, spend), "share", "Spend for people on "
               "the advertiser's own list at the time of the auction, over all spend. Net of refunds.",
               "sum(net) where own / sum(net)", own_billed, people=own_people),
        Figure("own_spend", "spend on own customers", own_spend, "money", "What was paid for people on the "
                                                                          "advertiser's "
               "own list at the time of the auction. Net of refunds.", "sum(net) where own", own_billed,
               people=own_people),
        Figure("own_cpm", "CPM of own customers", own_cpm, "cpm", "Price of 1,000 ads seen by own customers. Net of "
               "refunds.", "1000 * sum(net) / count(seen), where own", own_seen, people=own_people),
        Figure("cpm", "CPM of others", cpm, "cpm", "Price of 1,000 ads seen by people who are no customers yet. Net of "
               "refunds.", "1000 * sum(net) / count(seen), where not own", seen - own_seen),
        Figure("premium", "premium on own customers", premium, "ratio", "CPM of own customers / CPM of others: above "
                                                                        "1, "
               "one's own customers are the dearer ones.", "own_cpm / cpm", seen, people=own_people),
        Figure("premium_same", "the same, advertiser by advertiser", same, "ratio", "Spend on own customers over what "
               "as many ads cost the same advertisers for others: an advertiser who pays much for everybody does not "
               "count as a premium.", "sum(own_spend) / sum(own_seen * cpm of the advertiser's others)", own_seen,
               people=own_people),
    ]  # fmt: skip
    tables = [_table(books, by or ("advertiser",))]
    if halves:
        tables.append(_halves(halves))
    return Report(
        name="own_resale", title=TITLE, question=QUESTION, rows=books.count("facts"), currency=books.currency,
        ledger=books.name, since=since, until=until, figures=figures, tables=tables,
        answers=_answers(spend, own_spend, premium if same is None else same, own_people, people, halves,
                         found if whole else None),
        charts=_charts(books), notes=_notes(found if whole else None, halves),
    )  # fmt: skip


def split_of(books: Books, found: Reckoning, account: Account) -> list[tuple[str, Account]]:
    """An advertiser's account for own customers and for others; empty where one of the two cannot be reckoned."""
    groups = found.groups.get(found.ids[account.name])
    if account.effect is None or groups is None or found.conversions is None:
        return []
    own = own_of(books.ledger, account.name, groups)
    if own is None:
        return []
    name = account.name.replace("'", "''")
    found_spent = books.sql(OWN_SPEND.format(name=name))
    spent = {bool(flag): (money(nano), rows, rented) for flag, nano, rows, rented in found_spent}
    each, counted = per_person(groups, found.conversions, found.ids[account.name])
    halves = []
    for whom, mask in (("own customers", own), ("others", ~own)):
        people = groups.person[mask]
        theirs = counted & np.isin(found.conversions.person, people)
        credited = int(np.count_nonzero(theirs & (found.touched >= 0)))
        spend, rows, rented = spent.get(whom == "own customers", (0.0, 0, 0))
        effect = effect_of(each[mask & ~groups.held], each[mask & groups.held], spend, credited)
        listed = int(np.count_nonzero(theirs))
        half = Account(account.name, spend, 0.0, 0.0, rows, rented, 0, listed, credited, 0, effect.why, effect)
        halves.append((whom, half))
    return halves


def like_for_like(books: Books) -> float | None:
    """What own customers cost over what as many ads to others cost the same advertisers; None where none has both."""
    rows = books.sql(f"SELECT advertiser, {SUMS} FROM facts GROUP BY advertiser ORDER BY advertiser")
    own, others = 0.0, 0.0
    for _, _, _, nano, own_nano, seen, own_seen, _, _ in rows:
        if own_seen and seen > own_seen:
            own += money(own_nano)
            others += own_seen * (money(nano) - money(own_nano)) / (seen - own_seen)
    return ratio(own, others)


def _table(books: Books, by: tuple[str, ...]) -> Table:
    names = ", ".join(by)
    rows: list[list[Cell]] = []
    for row in books.sql(f"SELECT {names}, {SUMS} FROM facts GROUP BY {names} ORDER BY {names}"):
        _, _, nano, own_nano, seen, own_seen, _, own_people = row[len(by) :]
        spend, own = money(nano), money(own_nano)
        own_cpm, cpm = ratio(own, own_seen, 1000), ratio(spend - own, seen - own_seen, 1000)
        premium = own_cpm / cpm if own_cpm is not None and cpm else None
        rows.append([*row[: len(by)], spend, own, ratio(own, spend), seen, own_seen, own_cpm, cpm, premium, own_people])
    at = len(by) + 1
    if by not in (("week",), ("month",)):
        rows.sort(key=lambda row: -float(row[at] or 0))
    keys = [Column(name, name, "text", role="key") for name in by]
    return Table("by_" + "_".join(by), by_title(by), [*keys, *COLUMNS], rows, people="own_people", total=True)


def _halves(halves: list[tuple[str, Account]]) -> Table:
    columns = [
        SIDE_BY_SIDE[0], Column("whom", "whom", "text", role="key"), *SIDE_BY_SIDE[1:],
        Column("held", "held out", "people", "People kept from its ads, though its campaigns would have been asked."),
        Column("verdict", "verdict", "text", "Whether the difference of the two groups can be told from chance."),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for whom, account in halves:
        row = row_of(account)
        assert account.effect is not None
        rows.append([row[0], whom, *row[1:], account.effect.held, WHY[account.why]])
    return Table("caused", "What it brought: own customers and others", columns, rows, people="held",
                 counts=[account.rented for _, account in halves],
                 note="Own customers buy without an ad as well: last touch credits the ad with it, the holdout does "
                      "not.",
                 translate=["whom", "verdict"])  # fmt: skip


def _answers(
    spend: float, own_spend: float, premium: float | None, own_people: int, people: int,
    halves: list[tuple[str, Account]], found: Reckoning | None,
) -> list[Answer]:  # fmt: skip
    question = "How many were customers already?"
    if not own_people:
        return [Answer(question, [Text("Nobody who was rented stands on an own list: either there are none, or no list "
                                       "was given (rentier list import).")])]  # fmt: skip
    told = [
        Text("{own} of {all} people rented were customers already: {share} of the spend, {x}.",
             {"own": Amount(own_people, "count"), "all": Amount(people, "count"),
              "share": Amount(ratio(own_spend, spend), "share"), "x": Amount(own_spend, "money")}, people=own_people)
    ]  # fmt: skip
    if premium is not None:
        told.append(Text("An ad for one of them costs {x} times one for somebody else.",
                         {"x": Amount(premium, "number")}, people=own_people))  # fmt: skip
    return [Answer(question, told), Answer("What did that bring?", _brought(halves, found))]


def _brought(halves: list[tuple[str, Account]], found: Reckoning | None) -> list[Text]:
    if found is None:
        return [PARTED]
    own = [account for whom, account in halves if whom == "own customers" and account.effect and account.effect.held]
    if not own:
        if found.conversions is None:
            return [Text("Nobody can tell without the advertiser's own book of conversions: give it with --conversions "
                         "FILE.csv.")]  # fmt: skip
        return [Text("Nobody can tell: no own customer was held out, or the own list is not in the ledger's folder.")]
    told = []
    for account in own:
        effect = account.effect
        assert effect is not None and effect.increment is not None
        amounts = {
            "name": Amount(account.name, "text"), "credited": Amount(account.credited, "conversions"),
            "cpa": Amount(account.cpa, "money"), "caused": Amount(effect.increment.value, "number"),
            "icpa": Amount(effect.icpa, "money"), "needed": Amount(needed(effect), "people"),
            "held": Amount(effect.held, "people"),
        }  # fmt: skip
        few = min(n for n in (effect.held, account.rented, account.credited or 0) if n)
        if effect.why == "told":
            told.append(Text("{name}, own customers: last touch credits {credited} at {cpa}; the ads caused {caused} "
                             "at "
                             "{icpa}.", amounts, few))  # fmt: skip
        elif effect.why == "fewer":
            told.append(
                Text(
                    "{name}, own customers: last touch credits {credited} at {cpa}; the ads caused none.", amounts, few
                )
            )
        else:
            told.append(Text("{name}, own customers: last touch credits {credited} at {cpa}; whether the ads caused "
                             "any "
                             "cannot be told with {held} held out.", amounts, few))  # fmt: skip
    return told


def _charts(books: Books) -> list[Chart]:
    rows = books.sql(
        "SELECT advertiser, coalesce(sum(net_nano) FILTER (own), 0), coalesce(sum(net_nano) FILTER (NOT own), 0), "
        "count(DISTINCT rented) FILTER (own) "
        "FROM facts GROUP BY advertiser ORDER BY sum(net_nano) DESC, advertiser LIMIT 8"
    )
    if not rows:
        return []
    own = Series("own customers", [Point(name, money(nano), people=few) for name, nano, _, few in rows])
    others = Series("others", [Point(name, money(nano), people=few) for name, _, nano, few in rows])
    share = ratio(sum(p.y for p in own.points), sum(p.y for p in (*own.points, *others.points)))
    return [
        Chart("spend", "Spend on own customers and on others", "bars", [own, others], Axis("advertiser", "text"),
              Axis("spend", "money"), Text("Of the spend shown, {share} is on own customers.",
                                           {"share": Amount(share, "share")}),
              translate=False, of="by_advertiser")
    ]  # fmt: skip


def _notes(found: Reckoning | None, halves: list[tuple[str, Account]]) -> list[Text]:
    notes = [Text("Own is who stood on the advertiser's own list when the auction was held; a match is exact, so "
                  "somebody with another id, or unknown, counts as not own.")]  # fmt: skip
    if found is not None and found.conversions is not None and not halves:
        notes.append(Text("No own list lies in the ledger's folder (rentier list import): what was caused cannot be "
                          "split by own and others, for the held out have no wins that say so."))  # fmt: skip
    return notes
