"""The targeting workload's sentences are what the targeting language reads."""

import pytest

from bench.targeting import table, text
from bench.targeting.workload import generate
from exchange.audience.language import read_target
from exchange.audience.target import Leaf, clause_holds, holds

REQUESTS = 40


def same(leaf: Leaf) -> tuple[object, ...]:
    """A leaf but for the order of its values."""
    return leaf.attribute, frozenset(leaf.values), leaf.negated, leaf.missing


@pytest.mark.parametrize("rate", list(table.RATES))
def test_the_language_reads_the_text_back(rate: str) -> None:
    """Equal but for order and for clauses that another one contains."""
    work = generate(rate, 250, REQUESTS)
    views = [{**person, **imp} for person, imp in (text.view_of(text.request_of(work, r)) for r in range(REQUESTS))]
    exact = 0
    for c in range(250):
        read, built = read_target(text.expression(work, c)), text.target_of(work, c)
        ours, theirs = ({frozenset(map(same, clause.leaves)) for clause in target.clauses} for target in (built, read))
        assert theirs <= ours and all(any(small <= each for small in theirs) for each in ours)
        exact += ours == theirs
        for view in views:
            assert holds(read.tree, view) == any(clause_holds(clause, view) for clause in built.clauses)
    assert exact > 240
