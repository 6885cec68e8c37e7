"""The normal form: from the tree of a target to its clauses.

Negation is pushed to the leaves, leaves of one attribute are merged, and `and` is multiplied out over `or` while the
clauses are at most CLAUSES_MAX. Past that one clause is made: leaves that hold in every branch, which an index can
use, and the tree to be verified. (Whang et al. 2009 index disjunctions of conjunctions; Fontoura et al. 2010,
Efficiently Evaluating Complex Boolean Expressions, keep the tree where multiplying out would explode.)

A leaf and its complement are of the same form, values given or not: the complement of `in [FR]` is true of any other
country and where none is stated. So every step here is exact, whatever a request states.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod
from typing import Final

from exchange.audience.attributes import BY_NAME, HOURS, NUMBER, SET, WEEK_HOURS
from exchange.audience.target import FAR, And, Clause, Leaf, Not, Or, Tree

CLAUSES_MAX: Final = 64  # of one target
ALWAYS: Final = And(())
NEVER: Final = Or(())
ALL_HOURS: Final = tuple(range(WEEK_HOURS))
ANY_NUMBER: Final = ((-FAR, FAR),)
Ranges = tuple[tuple[int, int], ...]


class Contradiction(ValueError):
    """Nobody can meet the target; `sets` are leaves that cannot be true together, one set for each way it could be."""

    def __init__(self, sets: Sequence[Sequence[Leaf]]) -> None:
        super().__init__("contradiction")
        self.sets = sets


# ---- leaves ----------------------------------------------------------------------------------------------------


def apart(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges in ascending order, with a gap between each two: overlapping and adjoining ones are joined."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if low > high:
            continue
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def ends_of(attribute: str) -> tuple[int, int]:
    """The least and the largest number an attribute can be."""
    return (0, 1) if attribute == "own" else (-FAR, FAR)


def others(attribute: str, ranges: Ranges) -> Ranges:
    """The numbers that are in none of the ranges."""
    at, end = ends_of(attribute)
    found = []
    for low, high in ranges:
        if at < low:
            found.append((at, low - 1))
        at = max(at, high + 1)
    return (*found, (at, end)) if at <= end else tuple(found)


def _overlap(one: Ranges, other: Ranges) -> Ranges:
    return apart((max(a, c), min(b, d)) for a, b in one for c, d in other)


@lru_cache(maxsize=4_096)
def complement(leaf: Leaf) -> Leaf:
    """The leaf that holds exactly where this one does not."""
    kind = BY_NAME[leaf.attribute].kind
    if kind == NUMBER:
        return Leaf(leaf.attribute, others(leaf.attribute, leaf.values), missing=not leaf.missing)
    if kind == HOURS and not leaf.negated:
        inside = set(leaf.values)
        return Leaf(leaf.attribute, tuple(h for h in ALL_HOURS if h not in inside), missing=not leaf.missing)
    return Leaf(leaf.attribute, leaf.values, not leaf.negated, not leaf.missing)


def is_always(leaf: Leaf) -> bool:
    """Whether a leaf holds for everyone."""
    if not leaf.missing:
        return False
    kind = BY_NAME[leaf.attribute].kind
    if kind == NUMBER:
        return not others(leaf.attribute, leaf.values)
    if kind == HOURS:
        return len(leaf.values) == (0 if leaf.negated else WEEK_HOURS)
    return leaf.negated and not leaf.values


def is_never(leaf: Leaf) -> bool:
    """Whether no person and imp can meet a leaf. No number is below 0, and some attributes have few values."""
    if leaf.missing:
        return False
    attribute = BY_NAME[leaf.attribute]
    if attribute.kind == NUMBER:
        return all(high < 0 for _, high in leaf.values)
    if leaf.negated:
        return bool(attribute.values) and set(leaf.values).issuperset(attribute.values)
    return not leaf.values


def implies(one: Leaf, other: Leaf) -> bool:
    """Whether `other` holds wherever `one` does, both of one attribute; False when it is not plain to see."""
    if one.missing and not other.missing:
        return False
    kind = BY_NAME[one.attribute].kind
    if kind == NUMBER:
        return all(any(low <= a and b <= high for low, high in other.values) for a, b in one.values)
    if not one.values and not one.negated:
        return True  # nothing given can meet `one`, and `other` is true where nothing is given
    if other.negated and not other.values:
        return True
    if one.negated != other.negated:
        return kind != SET and other.negated and set(one.values).isdisjoint(other.values)
    a, b = (other, one) if one.negated else (one, other)
    return set(a.values).issubset(b.values)


def conjoined(leaves: Sequence[Leaf]) -> list[Leaf]:
    """Leaves of one attribute, all of which must hold, as few: none = always; one that `is_never` = never."""
    if len(leaves) > 1:
        kind = BY_NAME[leaves[0].attribute].kind
        leaves = _conjoined_sets(leaves) if kind == SET else [_conjoined(leaves, kind)]
    return [leaf for leaf in leaves if not is_always(leaf)]


def _conjoined(leaves: Sequence[Leaf], kind: str) -> Leaf:
    """One leaf for several on an attribute with at most one value."""
    name, missing = leaves[0].attribute, all(leaf.missing for leaf in leaves)
    if kind == NUMBER:
        ranges: Ranges = leaves[0].values
        for leaf in leaves[1:]:
            ranges = _overlap(ranges, leaf.values)
        return Leaf(name, ranges, missing=missing)
    wanted = [leaf for leaf in leaves if not leaf.negated]
    refused = dict.fromkeys(value for leaf in leaves if leaf.negated for value in leaf.values)
    if not wanted:
        return Leaf(name, tuple(refused), True, missing)
    rest = [set(leaf.values) for leaf in wanted[1:]]
    left = (v for v in wanted[0].values if v not in refused and all(v in each for each in rest))
    return Leaf(name, tuple(left), False, missing)


def _conjoined_sets(leaves: Sequence[Leaf]) -> list[Leaf]:
    """The lists of which one value is wanted, as short as can be, then one list of which none is."""
    name, missing = leaves[0].attribute, all(leaf.missing for leaf in leaves)
    refused = dict.fromkeys(value for leaf in leaves if leaf.negated for value in leaf.values)
    wanted = dict.fromkeys(
        tuple(value for value in leaf.values if value not in refused) for leaf in leaves if not leaf.negated
    )
    if () in wanted:
        return [Leaf(name, (), False, missing)]  # nothing that is given can do
    single = {values[0] for values in wanted if len(values) == 1}
    several = [set(values) for values in wanted if len(values) > 1 and single.isdisjoint(values)]
    least = [each for each in several if not any(other < each for other in several)]
    found = []
    for values in wanted:
        if len(values) == 1 or set(values) in least:
            least = [each for each in least if each != set(values)]  # once, in whatever order it was written
            found.append(Leaf(name, values, False, missing))
    if refused or not (found or missing):
        # Beside a wanted list, which is false where nothing is given, the usual weak form says the same.
        found.append(Leaf(name, tuple(refused), True, missing or bool(found)))
    return found


def by_attribute(leaves: Iterable[Leaf]) -> dict[str, list[Leaf]]:
    """Leaves in the order they came, each once, by attribute."""
    found: dict[str, dict[Leaf, None]] = {}
    for leaf in leaves:
        found.setdefault(leaf.attribute, {})[leaf] = None
    return {name: list(mine) for name, mine in found.items()}


# ---- trees -----------------------------------------------------------------------------------------------------


def joined(kind: type[And] | type[Or], parts: Iterable[Tree]) -> Tree:
    """`and` or `or` of parts: flat, each part once, a single part itself, ALWAYS and NEVER folded."""
    found: dict[Tree, None] = {}
    zero = NEVER if kind is And else ALWAYS
    for part in parts:
        if part == zero:
            return zero
        for inner in part.parts if isinstance(part, kind) else (part,):
            found[inner] = None
    return next(iter(found)) if len(found) == 1 else kind(tuple(found))


def pushed(tree: Tree, negate: bool = False) -> Tree:
    """The same with negation at the leaves only."""
    if isinstance(tree, Leaf):
        return complement(tree) if negate else tree
    if isinstance(tree, Not):
        return pushed(tree.part, not negate)
    kind = Or if isinstance(tree, And) == negate else And
    return joined(kind, [pushed(part, negate) for part in tree.parts])


class _Maker:
    """One target on its way to clauses; `conflicts` are sets of leaves found impossible together."""

    def __init__(self) -> None:
        self.conflicts: list[list[Leaf]] = []

    def merged(self, leaves: Iterable[Leaf]) -> list[Leaf] | None:
        """All these leaves as few, attribute by attribute; None when they cannot all hold."""
        found: list[Leaf] = []
        for mine in by_attribute(leaves).values():
            few = conjoined(mine)
            if any(map(is_never, few)):
                self.conflicts.append(mine)
                return None
            found += few
        return found

    def simplified(self, tree: Tree) -> Tree:
        """A tree with negation at the leaves, the leaves beside each other merged."""
        if isinstance(tree, Leaf):
            few = self.merged([tree])
            return NEVER if few is None else joined(And, few)
        assert not isinstance(tree, Not)
        kind = type(tree)
        whole = joined(kind, [self.simplified(part) for part in tree.parts])
        if not isinstance(whole, kind) or not whole.parts:
            return whole  # ALWAYS and NEVER have no parts
        leaves = [part for part in whole.parts if isinstance(part, Leaf)]
        rest = [part for part in whole.parts if not isinstance(part, Leaf)]
        if kind is And:
            merged = self.merged(leaves)
            return NEVER if merged is None else joined(And, [*merged, *rest])
        each = [part.parts if isinstance(part, And) else (part,) for part in whole.parts]
        shared = [leaf for leaf in each[0] if isinstance(leaf, Leaf) and all(leaf in parts for parts in each)]
        if shared:  # (a and b) or (a and c) is a and (b or c)
            left = [joined(And, [part for part in parts if part not in shared]) for parts in each]
            return self.simplified(joined(And, [*shared, joined(Or, left)]))
        # `or` is `and` of the complements, read the other way round.
        either: list[Tree] = []
        for mine in by_attribute(map(complement, leaves)).values():
            few = conjoined(mine)
            if any(is_always(complement(leaf)) for leaf in few):
                return ALWAYS
            either += map(complement, few)
        return joined(Or, [*either, *rest])

    def multiplied(self, tree: Tree) -> list[list[Leaf]]:
        """The conjunctions of a simplified tree, impossible ones left out."""
        if isinstance(tree, Leaf):
            return [[tree]]
        assert not isinstance(tree, Not)
        if isinstance(tree, Or):
            return [found for part in tree.parts for found in self.multiplied(part)]
        found: list[list[Leaf]] = [[part for part in tree.parts if isinstance(part, Leaf)]]
        for part in tree.parts:
            if not isinstance(part, Leaf):
                ways = self.multiplied(part)
                both = [self.merged([*one, *other]) for one in found for other in ways]
                found = [one for one in both if one is not None]
        return found

    def necessary(self, tree: Tree) -> list[Leaf] | None:
        """Leaves that hold wherever a simplified tree does; None when it is plain that it never does."""
        if isinstance(tree, Leaf):
            return [tree]
        assert not isinstance(tree, Not)
        each = [self.necessary(part) for part in tree.parts]
        possible = [leaves for leaves in each if leaves is not None]
        if isinstance(tree, And):
            return self.merged(leaf for leaves in possible for leaf in leaves) if len(possible) == len(each) else None
        return self.merged(_common(possible)) if possible else None


def _contradiction(conflicts: list[list[Leaf]]) -> Contradiction:
    """The conflicts as few leaves as can be, each set once."""
    return Contradiction([*{frozenset(least): least for least in map(_least, conflicts)}.values()])


def _least(leaves: list[Leaf]) -> list[Leaf]:
    """As few of these impossible leaves as are impossible together."""
    for leaf in list(leaves):
        fewer = [other for other in leaves if other is not leaf]
        if fewer and any(map(is_never, conjoined(fewer))):
            leaves = fewer
    return leaves


def _common(branches: list[list[Leaf]]) -> list[Leaf]:
    """Leaves implied by each of several conjunctions."""
    grouped = [by_attribute(leaves) for leaves in branches]
    found: list[Leaf] = []
    for name, first in grouped[0].items():
        groups = [group[name] for group in grouped if name in group]
        if len(groups) < len(grouped):
            continue
        if BY_NAME[name].kind != SET:
            opposite = conjoined([complement(leaf) for leaves in groups for leaf in leaves])
            found += [complement(leaf) for leaf in opposite if not is_always(complement(leaf))]
            continue
        found += [leaf for leaf in first if all(any(implies(one, leaf) for one in leaves) for leaves in groups)]
        wanted = [[leaf for leaf in leaves if not leaf.negated] for leaves in groups]
        if all(wanted):
            least = [min(leaves, key=lambda leaf: len(leaf.values)) for leaves in wanted]
            values = dict.fromkeys(value for leaf in least for value in leaf.values)
            found.append(Leaf(name, tuple(values), False, any(leaf.missing for leaf in least)))
        refused = [leaf for leaves in groups for leaf in leaves if leaf.negated]
        if len(refused) == len(groups):
            both = set(refused[0].values).intersection(*(leaf.values for leaf in refused))
            values = dict.fromkeys(value for value in refused[0].values if value in both)
            found.append(Leaf(name, tuple(values), True, any(leaf.missing for leaf in refused)))
    return found


def n_clauses(tree: Tree) -> int:
    """How many conjunctions multiplying out a tree without Not would give."""
    if isinstance(tree, Leaf):
        return 1
    assert not isinstance(tree, Not)
    each = map(n_clauses, tree.parts)
    return prod(each) if isinstance(tree, And) else sum(each)


def _without_subsumed(conjunctions: list[list[Leaf]]) -> list[list[Leaf]]:
    """Conjunctions none of which implies another: what only narrows another one is left out."""
    found: list[tuple[dict[str, list[Leaf]], list[Leaf]]] = []

    def narrows(one: dict[str, list[Leaf]], other: dict[str, list[Leaf]]) -> bool:
        return other.keys() <= one.keys() and all(
            any(implies(mine, leaf) for mine in one[name]) for name, leaves in other.items() for leaf in leaves
        )

    for leaves in conjunctions:
        grouped = by_attribute(leaves)
        if not any(narrows(grouped, other) for other, _ in found):
            found = [(other, kept) for other, kept in found if not narrows(other, grouped)]
            found.append((grouped, leaves))
    return [leaves for _, leaves in found]


def clauses_of(tree: Tree) -> tuple[Clause, ...]:
    """The clauses of a target: at most CLAUSES_MAX, or one with a tree. Raises Contradiction if nobody can meet it."""
    maker = _Maker()
    normal = maker.simplified(pushed(tree))
    if normal == NEVER:
        raise _contradiction(maker.conflicts)
    if n_clauses(normal) <= CLAUSES_MAX:
        conjunctions = maker.multiplied(normal)
        if not conjunctions:
            raise _contradiction(maker.conflicts)
        return tuple(Clause(tuple(leaves)) for leaves in _without_subsumed(conjunctions))
    leaves = maker.necessary(normal)
    if leaves is None:
        raise _contradiction(maker.conflicts)
    parts = normal.parts if isinstance(normal, And) else (normal,)
    return (Clause(tuple(leaves), joined(And, [part for part in parts if not isinstance(part, Leaf)])),)
