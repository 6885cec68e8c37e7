"""From trees to clauses: the same people, whether the tree is asked, its clauses, or the compiled program."""

import random

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience.attributes import BY_NAME
from exchange.audience.language import TargetError, parse, read_target
from exchange.audience.normal import (
    CLAUSES_MAX,
    clauses_of,
    complement,
    conjoined,
    implies,
    is_always,
    is_never,
    n_clauses,
    pushed,
)
from exchange.audience.target import And, Clause, Leaf, Not, clause_holds, holds, is_relative, leaf_holds, leaves_of
from exchange.audience.text import explain, leaf_text, tree_text
from tests.target_samples import EXPRESSIONS, LEAVES, TREES, VIEWS, Asker


def check(texts, views):
    """Tree, clauses, program, explanation and the text of the tree agree about every view."""
    targets, seen = [], set()
    for text in texts:
        tree = parse(text)
        assert parse(tree_text(tree)) == tree, text
        try:
            targets.append(read_target(text))
        except TargetError as refused:
            assert "contradiction" in str(refused), text
            assert not any(holds(tree, view) for view in views), text
    asker = Asker(targets)
    for target in targets:
        assert 1 <= len(target.clauses) <= CLAUSES_MAX
        assert len(target.clauses) == 1 or all(clause.tree is None for clause in target.clauses)
        seen.add("tree" if target.clauses[0].tree is not None else min(len(target.clauses), 3))
    for view in views:
        for target, (answer, perhaps) in zip(targets, asker(view), strict=True):
            wanted = holds(target.tree, view)
            assert any(clause_holds(clause, view) for clause in target.clauses) == wanted, target.text
            assert answer == wanted, target.text
            assert perhaps >= wanted, target.text
            if not any(map(is_relative, leaves_of(target.tree))):
                assert perhaps == wanted, target.text
            why = explain(target.tree, view)
            assert why.holds == wanted == (not why.failing) == (not why.lacks) == (not why.first)
            if not wanted:
                assert why.failing[0] == why.first
                assert not any(holds(parse(text), view) for text in why.failing), target.text
                assert not holds(parse(why.lacks), view)
    return seen


SEEN = set()


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(EXPRESSIONS, min_size=1, max_size=5), st.lists(VIEWS, min_size=6, max_size=6))
def test_compiled_is_the_tree(texts, views):
    SEEN.update(check(texts, views))


def test_the_examples_reach_every_form():
    """Runs after the test above: one clause, two, several, and a tree past the limit were all among its examples."""
    if not SEEN:
        test_compiled_is_the_tree()
    assert {1, 2, 3, "tree"} <= SEEN


def test_not_of_a_tree_that_begins_with_parentheses_keeps_its_own():
    tree = Not(parse("(country in [FR] and age < 5) or city in [x]"))
    assert tree_text(tree) == "not ((country in [FR] and age < 5) or city in [x])"
    assert parse(tree_text(tree)) == tree


@pytest.mark.torture
def test_compiled_is_the_tree_many_times():
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")

    @hypothesis.seed(seed)
    @settings(deadline=None, max_examples=5_000, database=None)
    @given(st.lists(EXPRESSIONS, min_size=4, max_size=8), st.lists(VIEWS, min_size=10, max_size=10))
    def run(texts, views):
        check(texts, views)

    run()


@settings(derandomize=True, deadline=None, max_examples=300)
@given(TREES, LEAVES, LEAVES, st.lists(VIEWS, min_size=8, max_size=8))
def test_steps_are_exact(text, one, other, views):
    """Pushing negation, the complement, merging, implication and the text of every leaf."""
    tree = parse(text)
    opposite = pushed(Not(tree))
    assert not any(isinstance(part, Not) for part in _nodes(opposite))
    for leaf in leaves_of(opposite):
        assert complement(complement(leaf)) == leaf
    pairs = [(a, b) for a in leaves_of(parse(one)) for b in leaves_of(parse(f"({one}) and ({other})"))]
    same = [(a, b) for a, b in pairs if a.attribute == b.attribute]
    same += [(complement(a), b) for a, b in same] + [(a, complement(b)) for a, b in same]
    for view in views:
        assert holds(opposite, view) != holds(tree, view)
        for leaf in leaves_of(opposite):
            assert holds(parse(leaf_text(leaf)), view) == leaf_holds(leaf, view)
        for a, b in same:
            both = conjoined([a, b])
            assert all(leaf_holds(leaf, view) for leaf in both) == (leaf_holds(a, view) and leaf_holds(b, view))
            assert not implies(a, b) or leaf_holds(a, view) <= leaf_holds(b, view)
            assert not is_never(a) or not leaf_holds(a, view)
            assert not is_always(a) or leaf_holds(a, view)


def _nodes(tree):
    yield tree
    for part in (tree.part,) if isinstance(tree, Not) else getattr(tree, "parts", ()):
        yield from _nodes(part)


def normal(text):
    """The clauses as text."""
    return [" and ".join(map(leaf_text, clause.leaves)) for clause in read_target(text).clauses]


FORMS = [
    ("", [""]),
    ("country in [FR, BE] and country in [BE, DE]", ["country in [BE]"]),
    ("country in [FR] or country in [BE]", ["country in [FR, BE]"]),
    ("country not in [FR] or country not in [BE]", [""]),
    ("country in [FR, BE] and country not in [FR]", ["country in [BE]"]),
    ("not (country in [FR])", ["country not in [FR]"]),
    ("not (age < 25)", ["not (age < 25)"]),
    ("age >= 18 and not (age > 30)", ["age between 18 and 30"]),
    ("age < 18 or age between 17 and 30 or age = 31", ["age < 32"]),
    ("age < 18 or age >= 18", ["age is present"]),
    ("age < 18 or age >= 18 or age is missing", [""]),
    ("own or not own", [""]),
    ("own", ["own"]),
    ("not (own and contacts > 3)", ["not own", "not (contacts >= 4)"]),
    ("seg one of [a] or seg one of [b]", ["seg one of [a, b]"]),
    ("seg none of [a] and seg none of [b]", ["seg none of [a, b]"]),
    ("seg one of [a, b] and seg one of [a]", ["seg one of [a]"]),
    ("seg one of [a, b, c] and seg one of [b, c] and seg one of [d, b, c]", ["seg one of [b, c]"]),
    ("seg one of [a, b] and seg one of [b, a]", ["seg one of [a, b]"]),
    ("seg one of [a, b] and seg none of [a]", ["seg one of [b] and seg none of [a]"]),
    ("seg one of [a, b] and seg one of [b, c]", ["seg one of [a, b] and seg one of [b, c]"]),
    ("seg all of [a, b]", ["seg one of [a] and seg one of [b]"]),
    ("not (seg all of [a, b])", ["seg none of [a]", "seg none of [b]"]),
    ("seg one of [a] or seg none of [a]", [""]),
    ("seg is present and seg none of [a]", ["(seg is present and seg none of [a])"]),
    ("seg one of [a] and seg is present", ["seg one of [a]"]),
    ("country in [FR] or country in [FR] and device in [phone]", ["country in [FR]"]),
    ("device in [phone] and os = ios or os = ios and device in [phone]", ["device in [phone] and os in [ios]"]),
    (
        "device = phone and country = FR or country = BE and device = phone",
        ["device in [phone] and country in [FR, BE]"],
    ),
    ("seg one of [a] and (os = ios or age < 5) or seg one of [a]", ["seg one of [a]"]),
    ("(country in [FR] and country in [BE]) or os = ios", ["os in [ios]"]),
    ("(country in [FR] or os = ios) and country in [BE]", ["os in [ios] and country in [BE]"]),
    ("hour between 8 and 20 and hour between 18 and 23", ["hour between 18 and 20"]),
    ("hour between 0 and 11 or hour between 12 and 23", ["hour is present"]),
    ("not (domain under [a.org] or domain in [b.org])", ["domain not under [a.org] and domain not in [b.org]"]),
]


@pytest.mark.parametrize(("text", "wanted"), FORMS, ids=[text or "everyone" for text, _ in FORMS])
def test_normal_form(text, wanted):
    assert [" and ".join(sorted(c.split(" and "))) for c in normal(text)] == [
        " and ".join(sorted(c.split(" and "))) for c in wanted
    ]


def ors(n, extra=""):
    """An `and` of n `or`s of two: 2 ** n clauses."""
    return " and ".join(f"(seg one of [a{i}] or deal in [d{i}] {extra})" for i in range(n))


def test_the_limit_is_64_clauses():
    inside, past = read_target(ors(6)), read_target(ors(7))
    assert len(inside.clauses) == CLAUSES_MAX and all(clause.tree is None for clause in inside.clauses)
    (clause,) = past.clauses
    assert clause.leaves == () and clause.tree == past.tree


def test_past_the_limit_what_every_branch_needs_is_a_leaf():
    text = f"country in [FR] and age >= 18 and ({ors(7)} or os = ios and seg one of [x]) and ("
    text += "device in [phone] and seg one of [u, v] and seg none of [n, m] or "
    text += "device in [tablet] and seg one of [u] and seg one of [w, z] and seg none of [m, k])"
    (clause,) = read_target(text).clauses
    texts = set(map(leaf_text, clause.leaves))
    assert texts == {
        "country in [FR]", "age >= 18", "device in [phone, tablet]", "seg one of [u, v]", "seg none of [m]",
    }  # fmt: skip
    left = tree_text(clause.tree)
    assert "country" not in left and "age" not in left, "what the leaves say is not asked twice"
    assert "device" in left


def test_past_the_limit_a_contradiction_is_still_seen():
    with pytest.raises(TargetError, match=r"contradiction: `country in \[FR\]` and `country in \[BE\]`"):
        read_target(f"country in [FR] and ({ors(7)}) and country in [BE]")
    text = f"({ors(7)}) and (country in [FR] and os = ios or country in [BE] and os = android) and country in [DE]"
    with pytest.raises(TargetError, match="contradiction: `country in"):
        read_target(text)


def test_size_is_counted_before_it_is_made():
    """2 ** 128 clauses: nobody waits for them."""
    target = read_target(ors(128))
    assert n_clauses(pushed(target.tree)) == 2**128
    assert len(target.clauses) == 1


def test_attributes_with_few_values_are_known_whole():
    values = ", ".join(BY_NAME["device"].values)
    assert clauses_of(parse(f"device not in [{values}]")) == (
        Clause((Leaf("device", BY_NAME["device"].values, True, True),)),
    )
    with pytest.raises(TargetError, match="contradiction: `device is present` and `device not in"):
        read_target(f"device is present and device not in [{values}]")


def test_everyone():
    for text in ("", "  \n", "country in [FR] or not (country in [FR])"):
        assert read_target(text).clauses == (Clause(()),)
    assert parse("") == And(())
