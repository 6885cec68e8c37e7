"""A target: the tree a sentence of the targeting language stands for, its clauses, and what they mean.

Leaves on an attribute that the request does not state are true when `missing` is set, else false: `in` is false then,
`not in` true (weak negation, as in Whang et al. 2009, Indexing Boolean Expressions). Evaluation here is plain Python
over a view of one person and imp: the engine of `rentier explain` and the twin of the compiled index.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from exchange.audience.attributes import BY_NAME, HOURS, NUMBER, TEXT

# What a target may ask of one person and imp, by name of attribute: a text, a collection of texts, the hour of the
# week (0 = Monday 0:00) or a number in the attribute's inner unit. Absent, None, "" and empty are missing.
View = Mapping[str, Any]
BAREWORD: Final = re.compile(r"[A-Za-z0-9_.:/-]+")
FAR: Final = 2**60  # an end of a range of numbers that is open


class Leaf(Struct, frozen=True):
    """One condition on one attribute.

    values: texts; hours of the week; for numbers the ranges ((low, high), ...) that are wanted, both ends included, in
    the inner unit, ascending and apart. The leaf holds when one of the given values is among `values` (when none is,
    if `negated`), and where nothing is given if `missing`.
    """

    attribute: str
    values: tuple[Any, ...]
    negated: bool = False
    missing: bool = False


class And(Struct, frozen=True):
    """All parts hold."""

    parts: tuple["Tree", ...]


class Or(Struct, frozen=True):
    """At least one part holds."""

    parts: tuple["Tree", ...]


class Not(Struct, frozen=True):
    """The part does not hold."""

    part: "Tree"


Tree = Leaf | And | Or | Not


class Clause(Struct, frozen=True):
    """A conjunction: all leaves hold and, where the whole was too much to multiply out, the tree holds as well.

    The tree has negation at the leaves only: And, Or, Leaf.
    """

    leaves: tuple[Leaf, ...]
    tree: Tree | None = None


class Target(Struct, frozen=True):
    """Who is wanted: the text, its tree, and clauses of which one must hold. Everyone is one clause without leaves."""

    text: str
    tree: Tree
    clauses: tuple[Clause, ...]


EVERYONE: Final = Target("", And(()), (Clause(()),))


def quoted(text: str) -> str:
    """A value as the language writes it: bare where it can be."""
    return text if BAREWORD.fullmatch(text) else f'"{text}"'


def given(attribute: str, view: View) -> Collection[Any]:
    """The values a view states for an attribute that is not a number; empty = missing."""
    if attribute == "under":
        domain = view.get("domain")
        labels = domain.split(".") if domain else []
        return [".".join(labels[i:]) for i in range(len(labels))]
    found = view.get(attribute)
    if BY_NAME[attribute].kind in (TEXT, HOURS):
        return () if found is None or found == "" else (found,)
    return found or ()


def leaf_holds(leaf: Leaf, view: View) -> bool:
    """Whether one leaf is true of this person and imp."""
    if BY_NAME[leaf.attribute].kind == NUMBER:
        number = view.get(leaf.attribute)
        return leaf.missing if number is None else any(low <= number <= high for low, high in leaf.values)
    values = given(leaf.attribute, view)
    if not values:
        return leaf.missing
    return any(value in leaf.values for value in values) != leaf.negated


def holds(tree: Tree, view: View) -> bool:
    """Whether the person and imp belong to the audience."""
    if isinstance(tree, Leaf):
        return leaf_holds(tree, view)
    if isinstance(tree, Not):
        return not holds(tree.part, view)
    each = (holds(part, view) for part in tree.parts)
    return all(each) if isinstance(tree, And) else any(each)


def clause_holds(clause: Clause, view: View) -> bool:
    """Whether one clause is true."""
    return all(leaf_holds(leaf, view) for leaf in clause.leaves) and (clause.tree is None or holds(clause.tree, view))


def leaves_of(tree: Tree) -> Iterator[Leaf]:
    """Every leaf of a tree, in the order it was written."""
    if isinstance(tree, Leaf):
        yield tree
    else:
        for part in (tree.part,) if isinstance(tree, Not) else tree.parts:
            yield from leaves_of(part)


def is_relative(leaf: Leaf) -> bool:
    """Whether a leaf asks what only the campaign's advertiser can answer."""
    return BY_NAME[leaf.attribute].level == "advertiser"
