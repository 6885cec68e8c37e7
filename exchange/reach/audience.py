"""`rentier audience`: the reach of an expression, its overlap with the named audiences, and what its people cost."""

import textwrap
from pathlib import Path
from typing import Final

from msgspec import Struct

from exchange.audience.language import TargetError, read_target
from exchange.audience.target import Tree, quoted
from exchange.config import ConfigError
from exchange.reach.costs import Cost, Costs, costs
from exchange.reach.crowd import Crowd
from exchange.rent.ledger import Ledger

WIDTH: Final = 100  # columns
LISTED: Final = 20  # audiences, advertisers on the screen; JSON has them all


class Overlap(Struct):
    """A named audience: its people, those in both, and their share of the expression's and of its own."""

    name: str
    people: int
    both: int
    share: float
    share_of_named: float


class Reach(Struct):
    """The reach of an expression among the people of a crowd.

    ignored: leaves that count as true; unheard: segments that nobody of the crowd has, each with the nearest or "".
    """

    expression: str
    source: str
    people: int
    matching: int
    share: float
    ignored: list[str]
    unheard: dict[str, str]
    audiences: list[Overlap]
    costs: Costs | None


def reach(text: str, audiences: dict[str, str], crowd: Crowd, ledger: Path | None) -> Reach:
    """How many of a crowd an expression reaches. Raises TargetError for it, ConfigError for a named audience."""
    tree = read_target(text, audiences).tree
    mine = crowd.matching(tree)
    n = int(mine.sum())
    overlaps = []
    for name in audiences:
        theirs = crowd.matching(_named(name, audiences))
        both, its = int((mine & theirs).sum()), int(theirs.sum())
        overlaps.append(Overlap(name, its, both, both / n if n else 0.0, both / its if its else 0.0))
    overlaps.sort(key=lambda each: (-each.both, each.name))
    found = None if ledger is None else costs(Ledger(ledger), crowd.table.keys[mine], str(ledger))
    share = n / len(crowd) if len(crowd) else 0.0
    return Reach(text, crowd.source, len(crowd), n, share, crowd.ignored(tree), crowd.unheard(tree), overlaps, found)


def _named(name: str, audiences: dict[str, str]) -> Tree:
    try:
        return read_target(audiences[name], audiences).tree
    except TargetError as error:
        raise ConfigError(f"audiences.{name}: {error}") from None


def render(found: Reach) -> str:
    """A reach as text of at most 100 columns."""
    most = "at most " if found.ignored else ""
    lines = [
        *_wrapped(f"audience  {found.expression or 'everyone'}"),
        f"people    {found.people:,}: {found.source}"[:WIDTH],
        f"reach     {most}{found.matching:,} ({found.share:.1%})",
    ]
    if found.ignored:
        lines += _wrapped(f"          not known of people alone, and so left out: {'; '.join(found.ignored)}")
    for name, near in found.unheard.items():
        lines += _wrapped(
            f"          nobody has the segment {quoted(name)}" + (f"; did you mean {quoted(near)}?" if near else "")
        )
    lines.append("")
    if found.audiences:
        lines.append(f"{'named audience':<40}  {'people':>12}  {'in both':>12}  {'of this':>8}  {'of the named':>12}")
        for each in found.audiences[:LISTED]:
            lines.append(
                f"{_cut('@' + each.name, 40):<40}  {each.people:>12,}  {each.both:>12,}  {each.share:>8.1%}"
                f"  {each.share_of_named:>12.1%}"
            )
        if len(found.audiences) > LISTED:
            lines.append(f"... and {len(found.audiences) - LISTED} more (see --json)")
        lines.append("")
    return "\n".join(
        [*lines, *(_costs(found, found.costs) if found.costs else ["no ledger: nothing is known of costs"])]
    )


def _costs(found: Reach, its: Costs) -> list[str]:
    """What contacts with the people have cost."""
    money = its.currency
    met = its.whole.people / found.matching if found.matching else 0.0
    lines = [
        f"contacts with them so far, ledger {its.ledger}"[:WIDTH],
        f"  {its.whole.people:,} of them met ({met:.1%}); {its.wins:,} ads won, {its.whole.contacts:,} billed",
        "",
    ]
    if not its.whole.contacts:
        return [*lines[:2]]
    lines.append(
        f"{'advertiser':<36}  {'people':>10}  {'contacts':>10}  {f'spend {money}':>14}  {'CPM':>8}  {'a person':>10}"
    )
    for each in its.advertisers[:LISTED]:
        lines.append(_row(_cut(each.advertiser, 36), each))
    if len(its.advertisers) > LISTED:
        lines.append(f"... and {len(its.advertisers) - LISTED} more (see --json)")
    return [*lines, _row("all", its.whole)]


def _row(name: str, cost: Cost) -> str:
    return (
        f"{name:<36}  {cost.people:>10,}  {cost.contacts:>10,}  {cost.spend_nano / 1e9:>14,.4f}  {cost.cpm:>8.3f}"
        f"  {cost.per_person:>10.5f}"
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _wrapped(text: str) -> list[str]:
    """Lines of at most 100 columns, the further ones under the first's text."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * 10, break_on_hyphens=False)
