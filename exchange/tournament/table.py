"""The table of a tournament: means over seeds, and paired differences with their 95 % intervals.

On common random numbers the difference of two contenders is taken seed by seed; its interval is the mean of these
differences +- t(0.975, seeds - 1) x their standard deviation / sqrt(seeds). The interval of one contender's own
surplus says how much a market varies; that of a difference says who is better.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final

from msgspec import Struct

from exchange.books.keys import ratio
from exchange.config import Campaign
from exchange.tournament.run import Plan, Play

NANO: Final = 1e9
# Quantiles 0.975 of Student's t with 1 to 30 degrees of freedom: Abramowitz and Stegun (1964), table 26.10.
T_975: Final = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
    2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
    2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.045230, 2.042272,
)  # fmt: skip
Z_975: Final = 1.959963985


class Row(Struct):
    """A contender's line. Money in the ledger currency, means per seed; `_half` = half a 95 % interval."""

    rank: int  # by mean surplus; equal ones share it
    rule: str
    surplus: float
    surplus_half: float
    vs_base: float  # mean of surplus - that of the base on the same seed
    vs_base_half: float
    vs_leader: float
    vs_leader_half: float
    value: float
    spend: float
    cpm: float
    cpc: float  # 0 = no click
    win_rate: float  # of the auctions it was asked in
    rent_per_person: float
    budget_use: float | None  # None = no budget
    asked: int  # this and what follows: over all seeds
    wins: int
    seen: int
    clicks: int
    faults: int
    by_seed: list[float]  # surplus


class Table(Struct):
    """A finished tournament."""

    seat: str
    format: str
    currency: str
    seeds: int
    first_seed: int
    visits: int  # a play
    base: str  # the contender that all are compared with
    rows: list[Row]  # best first
    notes: list[str]


def t_975(freedom: int) -> float:
    """The quantile 0.975 of Student's t with `freedom` >= 1 degrees of freedom, exact to 1e-5.

    Source: Abramowitz and Stegun (1964): table 26.10 up to 30, then the expansion 26.7.5 in powers of 1/freedom.
    """
    if freedom <= len(T_975):
        return T_975[freedom - 1]
    x, n = Z_975, float(freedom)
    g1 = (x**3 + x) / 4
    g2 = (5 * x**5 + 16 * x**3 + 3 * x) / 96
    g3 = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
    return x + g1 / n + g2 / n**2 + g3 / n**3


def interval(numbers: Sequence[int]) -> tuple[float, float]:
    """Mean of at least two integers, and half its 95 % interval."""
    n = len(numbers)
    mean = sum(numbers) / n
    spread = sqrt(sum((x - mean) ** 2 for x in numbers) / (n - 1))
    return mean, t_975(n - 1) * spread / sqrt(n)


def table(plan: Plan, plays: list[list[Play]], slow: dict[str, str]) -> Table:
    """Rank the contenders of a tournament by their mean surplus; equal ones stay in the order they came in."""
    surplus = [[play.surplus_nano for play in each] for each in plays]
    order = sorted(range(len(plays)), key=lambda c: -sum(surplus[c]))
    labels = [contender.label for contender in plan.contenders]
    usual = Campaign(name="any").rule  # what a campaign bids when its config names no rule
    base = labels.index(usual) if usual in labels else order[0]
    rows: list[Row] = []
    for place, c in enumerate(order, 1):
        tied = bool(rows) and sum(surplus[c]) == sum(surplus[order[place - 2]])
        rank = rows[-1].rank if tied else place
        rows.append(_row(rank, labels[c], plays[c], surplus[c], surplus[base], surplus[order[0]], plan))
    return Table(
        seat=plan.seat_name,
        format=plan.config.auction.format,
        currency=plan.config.exchange.currency,
        seeds=len(plan.seeds),
        first_seed=plan.seeds[0],
        visits=plan.visits,
        base=labels[base],
        rows=rows,
        notes=_notes(labels, rows, slow),
    )


def _row(
    rank: int, label: str, plays: list[Play], surplus: list[int], base: list[int], leader: list[int], plan: Plan
) -> Row:
    """One contender's figures; ratios are of sums over all seeds."""
    n, spend = len(plays), sum(play.spend_nano for play in plays)
    asked, wins, seen = (sum(getattr(play, name) for play in plays) for name in ("asked", "wins", "seen"))
    clicks = sum(play.clicks for play in plays)
    mean, half = interval(surplus)
    vs_base, vs_base_half = interval([mine - its for mine, its in zip(surplus, base, strict=True)])
    vs_leader, vs_leader_half = interval([mine - its for mine, its in zip(surplus, leader, strict=True)])
    budget = plan.seated.budget
    return Row(
        rank=rank,
        rule=label,
        surplus=mean / NANO,
        surplus_half=half / NANO,
        vs_base=vs_base / NANO,
        vs_base_half=vs_base_half / NANO,
        vs_leader=vs_leader / NANO,
        vs_leader_half=vs_leader_half / NANO,
        value=sum(play.value_nano for play in plays) / n / NANO,
        spend=spend / n / NANO,
        cpm=ratio(1000 * spend / NANO, seen),
        cpc=ratio(spend / NANO, clicks),
        win_rate=ratio(wins, asked),
        rent_per_person=ratio(sum(p.rent_nano for p in plays) / NANO, sum(p.people for p in plays)),
        budget_use=None if budget is None else spend / n / NANO / budget,
        asked=asked,
        wins=wins,
        seen=seen,
        clicks=clicks,
        faults=sum(play.faults for play in plays),
        by_seed=[number / NANO for number in surplus],
    )


def _notes(labels: list[str], rows: list[Row], slow: dict[str, str]) -> list[str]:
    """What the figures alone do not say."""
    level = [row.rule for row in rows[1:] if row.vs_leader + row.vs_leader_half >= 0]
    notes = [f"not to be told from {rows[0].rule} at 95 %: {', '.join(level)}"] if level else []
    if any(label.partition(" #")[0].endswith("*") for label in labels):
        notes.append("* with the knobs of the config; the others with their defaults")
    notes += [
        f"{row.rule}: {row.faults:,} prices that are none (negative, above the limit, or an exception)"
        for row in rows
        if row.faults
    ]
    return [*notes, *(f"{label} ran in Python, slower: {why}" for label, why in slow.items())]
