"""Trees and leaves as text of the targeting language, and which leaves of a target fail for one person and imp."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from exchange.audience.attributes import BY_NAME, HOURS, NUMBER, WEEKDAYS
from exchange.audience.normal import ALL_HOURS, complement, joined, pushed
from exchange.audience.target import FAR, And, Leaf, Not, Or, Tree, View, leaf_holds, leaves_of
from exchange.audience.words import BAREWORD

SUFFIXED: Final = "under"  # written `domain under [..]`
LISTED_MAX: Final = 16  # numbers of several ranges that are written one by one
WORKDAYS: Final = range(5)
WEEKEND: Final = range(5, 7)


class Explained(Struct, frozen=True):
    """Why a target does or does not hold: texts in the targeting language.

    first: the first leaf that fails, "" when none stands in the way; failing: all that do. lacks: what would have to
    be true as well, with the `or` between branches of which one would be enough.
    """

    holds: bool
    first: str
    failing: tuple[str, ...]
    lacks: str


def explain(tree: Tree, view: View) -> Explained:
    """Which leaves of a target fail; of an `or`, when no branch holds, those of every branch."""
    lacking = _lacking(pushed(tree), view)
    if lacking is None:
        return Explained(True, "", (), "")
    failing = tuple(dict.fromkeys(map(leaf_text, leaves_of(lacking))))
    return Explained(False, failing[0] if failing else "", failing, tree_text(lacking))


def _lacking(tree: Tree, view: View) -> Tree | None:
    """What is left of a tree, negation at its leaves, when all that holds is taken away; None = it holds."""
    if isinstance(tree, Leaf):
        return None if leaf_holds(tree, view) else tree
    assert not isinstance(tree, Not)
    each = [_lacking(part, view) for part in tree.parts]
    left = [part for part in each if part is not None]
    if isinstance(tree, And):
        return joined(And, left) if left else None
    return joined(Or, left) if len(left) == len(each) else None


def tree_text(tree: Tree) -> str:
    """A tree as the language writes it; everyone is empty text."""
    if isinstance(tree, Leaf):
        return leaf_text(tree)
    if isinstance(tree, Not):
        inside = tree_text(tree.part)
        closed = isinstance(tree.part, Leaf) and inside.startswith("(")  # of a tree only its first part may be
        return f"not {inside}" if inside == "own" or closed else f"not ({inside})"
    word = " and " if isinstance(tree, And) else " or "
    return word.join(f"({tree_text(part)})" if isinstance(part, And | Or) else tree_text(part) for part in tree.parts)


def leaf_text(leaf: Leaf) -> str:
    """A leaf as the language writes it; in parentheses where that takes two leaves."""
    name = "domain" if leaf.attribute == SUFFIXED else leaf.attribute
    if leaf.attribute == "own":
        return _own_text(leaf)
    if leaf.missing and _is_empty(leaf):
        return f"{name} is missing"
    if not leaf.missing and _is_empty(complement(leaf)):
        return f"{name} is present"
    if _is_empty(leaf):
        return f"({name} is present and {name} is missing)"
    if _is_empty(complement(leaf)):
        return f"({name} is present or {name} is missing)"
    kind = BY_NAME[leaf.attribute].kind
    if kind == NUMBER:
        return _number_text(leaf)
    if kind == HOURS and not leaf.negated:
        return _hours_text(set(leaf.values), "") if not leaf.missing else _hours_text(_other_hours(leaf), "not ")
    wanted, refused = ("one of", "none of") if name in ("seg", "category", "deal") else ("in", "not in")
    if leaf.attribute == SUFFIXED:
        wanted, refused = "under", "not under"
    text = f"{name} {refused if leaf.negated else wanted} [{', '.join(map(quoted, leaf.values))}]"
    if leaf.missing == leaf.negated:
        return text
    return f"({name} is missing or {text})" if leaf.missing else f"({name} is present and {text})"


def quoted(value: object) -> str:
    """A value of a list, in quotes where it needs them."""
    text = str(value)
    return text if BAREWORD.fullmatch(text) else f'"{text}"'


def _is_empty(leaf: Leaf) -> bool:
    """Whether no value that is given meets the leaf."""
    return not leaf.values and not (leaf.negated and BY_NAME[leaf.attribute].kind != NUMBER)


def _own_text(leaf: Leaf) -> str:
    on, off = (any(low <= x <= high for low, high in leaf.values) for x in (1, 0))
    if on == off:
        return "(own or not own)" if on or leaf.missing else "(own and not own)"
    return "own" if on else "not own"


# ---- numbers ---------------------------------------------------------------------------------------------------


def number_text(attribute: str, number: int) -> str:
    """A number of the inner unit as the language writes it."""
    scale = BY_NAME[attribute].scale
    if scale == 1:
        return str(number)
    whole, rest = divmod(abs(number), scale)
    fraction = f"{rest:0{len(str(scale)) - 1}d}".rstrip("0")
    return ("-" if number < 0 else "") + (f"{whole}.{fraction}" if fraction else f"{whole}")


def _number_text(leaf: Leaf) -> str:
    name = leaf.attribute
    if not leaf.missing:
        return _ranges_text(name, leaf.values)
    inside = complement(leaf).values
    if len(inside) == 1 and inside[0][0] == inside[0][1]:
        return f"{name} != {number_text(name, inside[0][0])}"
    text = _ranges_text(name, inside)
    if text.startswith((f"{name} between", f"{name} in")):
        return text.replace(name, f"{name} not", 1)
    return f"not {text}" if text.startswith("(") else f"not ({text})"


def _ranges_text(name: str, ranges: tuple[tuple[int, int], ...]) -> str:
    if len(ranges) > 1 and sum(high - low + 1 for low, high in ranges) <= LISTED_MAX:
        return f"{name} in [{', '.join(number_text(name, x) for low, high in ranges for x in range(low, high + 1))}]"
    each = [_range_text(name, low, high) for low, high in ranges]
    return each[0] if len(each) == 1 else f"({' or '.join(each)})"


def _range_text(name: str, low: int, high: int) -> str:
    def ends(strict: str, beyond: int, wide: str, end: int) -> str:
        outer, inner = number_text(name, beyond), number_text(name, end)
        if BY_NAME[name].scale == 1:
            return f"{name} {strict} {outer}" if strict == "<" else f"{name} {wide} {inner}"
        return f"{name} {strict} {outer}" if len(outer) < len(inner) else f"{name} {wide} {inner}"

    if low == high:
        return f"{name} = {number_text(name, low)}"
    if low == -FAR:
        return ends("<", high + 1, "<=", high)
    if high == FAR:
        return ends(">", low - 1, ">=", low)
    return f"{name} between {number_text(name, low)} and {number_text(name, high)}"


# ---- hours -----------------------------------------------------------------------------------------------------


def _other_hours(leaf: Leaf) -> set[int]:
    return set(ALL_HOURS).difference(leaf.values)


def _hours_text(hours: set[int], negation: str) -> str:
    days = [tuple(hour for hour in range(24) if 24 * day + hour in hours) for day in range(7)]
    if len(set(days)) == 1:
        spans = _spans(days[0])
        if len(spans) == 2 and spans[0][0] == 0 and spans[1][1] == 23:
            spans = [(spans[1][0], spans[0][1])]  # over midnight
        if len(spans) == 1:
            return f"hour {negation}between {spans[0][0]} and {spans[0][1]}"
        return f"hour {negation}in {_day_text('daily', spans)}"
    found = []
    for word, group in (("weekdays", WORKDAYS), ("weekend", WEEKEND)):
        named: Iterable[tuple[str, tuple[int, ...]]] = [(WEEKDAYS[day], days[day]) for day in group]
        if len({days[day] for day in group}) == 1:
            named = [(word, days[group[0]])]
        found += [_day_text(name, _spans(mine)) for name, mine in named if mine]
    return f"hour {negation}in {found[0]}" if len(found) == 1 else f"hour {negation}in [{', '.join(found)}]"


def _spans(hours: tuple[int, ...]) -> list[tuple[int, int]]:
    """Hours of one day as runs."""
    found: list[tuple[int, int]] = []
    for hour in hours:
        if found and found[-1][1] == hour - 1:
            found[-1] = (found[-1][0], hour)
        else:
            found.append((hour, hour))
    return found


def _day_text(word: str, spans: list[tuple[int, int]]) -> str:
    if spans == [(0, 23)]:
        return word
    return f"{word}({', '.join(f'{a}..{b}' if a != b else f'{a}' for a, b in spans)})"
