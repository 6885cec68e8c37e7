"""The index of targets says what direct evaluation says, whatever its form and however it came to be."""

import threading
from random import Random
from secrets import randbits
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience import query as qy
from exchange.audience.attributes import ATTRIBUTES, HOURS, NUMBER, SET
from exchange.audience.building import Tuning
from exchange.audience.parts import VERIFY
from exchange.audience.program import STEPS_MAX
from exchange.audience.target import (
    EVERYONE,
    And,
    Clause,
    Leaf,
    Or,
    Target,
    Tree,
    is_relative,
    leaf_holds,
    leaves_of,
)
from exchange.audience.targets import Job, Targets, holds_other, match_list, match_many, meets, select

QUERY_MAX = 2_000
NAMES = [attribute for attribute in ATTRIBUTES if attribute.name != "blocked"]  # of ads, in no target
DOMAINS = ["a.org", "b.org", "x.a.org", "y.x.a.org", "org", "c.net", "x.c.net"]
ALWAYS = 1 << 40  # verify_ns: never verify early
TUNINGS = {
    "as it is": Tuning(),
    "every value a row": Tuning(small_words=0, narrow=1 << 20, row_least=0, row_share=1 << 20),
    "lists only": Tuning(small_words=0, narrow=0, alone=0, row_least=1 << 20),
    "packed rows": Tuning(small_words=0, packed=0, row_least=0, row_share=1 << 20),
    "packed lists": Tuning(small_words=0, packed=0, narrow=0, row_least=3, row_share=1 << 20),
    "lists and rows": Tuning(small_words=0, narrow=2, alone=4, row_least=3, row_share=1 << 20, edges=3),
    "small": Tuning(small_words=1 << 20),
}


class World:
    """Random targets and people; `values` is how many values an attribute has."""

    def __init__(self, rng: Random, values: int, attributes: int) -> None:
        self.rng, self.values = rng, values
        self.attributes = rng.sample(NAMES, min(attributes, len(NAMES)))

    def value(self, attribute: Any, of: int) -> Any:
        if attribute.kind == HOURS:
            return self.rng.randrange(168)
        if attribute.name in ("domain", "under"):
            return self.rng.choice(DOMAINS)
        return f"v{self.rng.randrange(of)}"

    def leaf(self, attribute: Any) -> Leaf:
        rng = self.rng
        missing = rng.random() < 0.4
        if attribute.kind == NUMBER:
            ends = sorted(rng.sample(range(-3, 40), 2 * rng.randint(1, 2)))
            pairs = [(low, high) for low, high in zip(ends[::2], ends[1::2], strict=True)]
            if rng.random() < 0.3:
                pairs[0] = (-(2**60), pairs[0][1])
            if rng.random() < 0.3:
                pairs[-1] = (pairs[-1][0], 2**60)
            if rng.random() < 0.2:
                pairs[0] = (pairs[0][1], pairs[0][1])
            return Leaf(attribute.name, tuple(pairs), False, missing)
        if rng.random() < 0.15:  # is missing, is present
            return Leaf(attribute.name, (), missing, not missing)
        n = rng.choice([1, 1, 2, 3, 9, 30]) if attribute.name != "under" else 1
        chosen = {self.value(attribute, self.values) for _ in range(n)}
        return Leaf(attribute.name, tuple(sorted(chosen)), rng.random() < 0.4, missing)

    def tree(self, depth: int) -> Tree:
        if depth == 0 or self.rng.random() < 0.3:
            return self.leaf(self.rng.choice(self.attributes))
        return self.rng.choice([And, Or])(tuple(self.tree(depth - 1) for _ in range(self.rng.randint(1, 3))))

    def target(self) -> Target:
        rng, clauses = self.rng, []
        for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
            leaves = []
            for attribute in rng.sample(self.attributes, rng.randint(0, min(4, len(self.attributes)))):
                again = rng.choice([1, 1, 1, 2, 3]) if attribute.kind == SET or rng.random() < 0.2 else 1
                leaves += [self.leaf(attribute) for _ in range(again)]
            clauses.append(Clause(tuple(leaves), self.tree(3) if rng.random() < 0.15 else None))
        return Target("", EVERYONE.tree if rng.random() < 0.1 else self.tree(1), tuple(clauses))

    def view(self) -> dict[str, Any]:
        rng, view = self.rng, {}
        for attribute in NAMES:
            if attribute.level == "advertiser" or attribute.name == "under" or rng.random() < 0.2:
                continue
            if attribute.kind == NUMBER:
                view[attribute.name] = rng.randint(-5, 42)
            elif attribute.kind == SET:
                n = rng.choice([0, 1, 1, 2, 5, 40])
                view[attribute.name] = {self.value(attribute, self.values + 2) for _ in range(n)}
            else:
                view[attribute.name] = self.value(attribute, self.values + 2)
        return view


def true_of(tree: Tree, view: dict[str, Any]) -> bool:
    """`holds`, where what depends on the advertiser counts as true."""
    if isinstance(tree, Leaf):
        return is_relative(tree) or leaf_holds(tree, view)
    assert isinstance(tree, And | Or)
    parts = (true_of(part, view) for part in tree.parts)
    return all(parts) if isinstance(tree, And) else any(parts)


def wanted(target: Target, view: dict[str, Any]) -> bool:
    return any(
        all(true_of(leaf, view) for leaf in clause.leaves) and (clause.tree is None or true_of(clause.tree, view))
        for clause in target.clauses
    )


def ask(targets: Targets, view: dict[str, Any]) -> set[int]:
    """Who matches, by the index, through both of its ways out."""
    q = qy.query_of(targets.vocabulary, view, [view])
    targets.query[: q.size] = q
    a = targets.record[0]
    select(a, 0)
    out = np.full(targets.homes.size + 64, -1, np.int32)
    n = match_list(a, out)
    found = np.unpackbits(targets.found[: a["n_words"]].view(np.uint8), bitorder="little").nonzero()[0].tolist()
    assert out[:n].tolist() == found
    return set(found)


class Market:
    """Targets, and what they are by plain Python."""

    def __init__(
        self, rng: Random, size: int, tuning: Tuning, verify_ns: int | None = None, tail_max: int = 64
    ) -> None:
        self.rng = rng
        self.world = World(rng, rng.choice([3, 12, 300]), rng.choice([2, 6, len(NAMES)]))
        self.targets = Targets(size, 4, QUERY_MAX, tuning, tail_max)
        if verify_ns is not None:
            self.targets.record["verify_ns"] = verify_ns
        self.truth: dict[int, Target] = {}
        self.alive: set[int] = set()
        self.pairs = 0

    def put(self, campaign: int) -> None:
        self.truth[campaign] = self.world.target()
        self.targets.put(campaign, self.truth[campaign])

    def wake(self, campaign: int, on: bool) -> None:
        bit = np.uint64(1 << (campaign & 63))
        if on:
            self.targets.alive[campaign >> 6] |= bit
            self.alive.add(campaign)
        else:
            self.targets.alive[campaign >> 6] &= ~bit
            self.alive.discard(campaign)

    def check(self) -> int:
        view = self.world.view()
        expected = {c for c, target in self.truth.items() if c in self.alive and wanted(target, view)}
        assert ask(self.targets, view) == expected, view
        self.pairs += len(self.truth)
        return len(expected)


def filled(rng: Random, size: int, tuning: Tuning, verify_ns: int | None = None) -> Market:
    market = Market(rng, size, tuning, verify_ns)
    for campaign in range(size):
        market.put(campaign)
        if rng.random() < 0.9:
            market.wake(campaign, True)
    return market


@pytest.mark.parametrize("verify_ns", [None, 0, ALWAYS], ids=["by cost", "verified", "by rows"])
@pytest.mark.parametrize("form", TUNINGS)
def test_match_is_brute_force(form: str, verify_ns: int | None) -> None:
    rng = Random(f"{form} {verify_ns}")
    found = pairs = 0
    while pairs < 9_000:
        market = filled(rng, rng.choice([1, 8, 63, 64, 65, 300, 700]), TUNINGS[form], verify_ns)
        market.targets.settle()
        found += sum(market.check() for _ in range(8))
        pairs += market.pairs
    assert found > 500


@pytest.mark.parametrize("form", TUNINGS)
@pytest.mark.parametrize(
    "attribute", [each for each in NAMES if each.level != "advertiser"], ids=lambda each: each.name
)
def test_is_missing_where_no_target_names_a_value(attribute: Any, form: str) -> None:
    """`is missing` refuses every stated value, also where it is the only question about the attribute."""
    pairs = ((-(2**60), 2**60),) if attribute.kind == NUMBER else ()
    values = {NUMBER: 7, HOURS: 7, SET: {"a", "b"}}
    stated = {"domain": "a.org"} if attribute.name == "under" else {attribute.name: values.get(attribute.kind, "a.org")}
    targets = Targets(3, 1, QUERY_MAX, TUNINGS[form])
    missing = Leaf(attribute.name, (), False, True)
    present = Leaf(attribute.name, pairs, attribute.kind != NUMBER, False)
    for campaign, leaves in enumerate([(missing,), (present,), ()]):
        targets.put(campaign, Target("", EVERYONE.tree, (Clause(leaves),)))
        targets.alive[0] |= np.uint64(1 << campaign)
    for settled in (False, True):
        if settled:
            targets.settle()
        assert ask(targets, stated) == {1, 2}
        assert ask(targets, {}) == {0, 2}


def live(market: Market, steps: int) -> None:
    """Changes, matches and parts built at any moment, also of what was before some changes."""
    rng, targets = market.rng, market.targets
    job: Job | None = None
    for _ in range(steps):
        event = rng.random()
        if event < 0.45 and len(market.truth) < targets.homes.size:
            for campaign in range(
                len(market.truth), min(len(market.truth) + rng.choice([1, 1, 40]), targets.homes.size)
            ):
                market.put(campaign)
                market.wake(campaign, True)
        elif event < 0.6 and market.truth:
            market.put(rng.randrange(targets.n_campaigns))
        elif event < 0.7 and market.truth:
            campaign = rng.randrange(targets.n_campaigns)
            targets.drop(campaign)
            market.truth[campaign] = Target("", EVERYONE.tree, ())
        elif event < 0.8 and market.truth:
            market.wake(rng.randrange(targets.n_campaigns), rng.random() < 0.5)
        elif event < 0.85:
            targets.add_other(market.world.target()) if targets.n_others < 4 else targets.settle()
            job = job if targets.n_others < 4 else None
        elif job is None:
            job = targets.job()
        else:
            if job.part is None:
                job.build()
            if rng.random() < 0.7:
                targets.adopt(job)
                job = None
        market.check()


@pytest.mark.parametrize("form", TUNINGS)
def test_changes_between_requests(form: str) -> None:
    rng = Random(f"live {form}")
    for tail_max in (0, 5, 64):
        live(Market(rng, 300, TUNINGS[form], tail_max=tail_max), 120)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.sampled_from(sorted(TUNINGS)),
    st.sampled_from([None, 0, ALWAYS]),
    st.sampled_from([0, 5, 64]),
)
def test_any_history(seed: int, form: str, verify_ns: int | None, tail_max: int) -> None:
    live(Market(Random(seed), 150, TUNINGS[form], verify_ns, tail_max), 25)


def test_others_and_relative_targets_are_asked_one_by_one() -> None:
    rng = Random("others")
    true = 0
    for _ in range(60):
        market = filled(rng, 70, TUNINGS["as it is"])
        targets, other = market.targets, market.world.target()
        number = targets.add_other(other)
        targets.settle()
        view = market.world.view()
        ask(targets, view)
        record = targets.record[0]
        assert bool(holds_other(record, number)) == wanted(other, view)
        for campaign, target in market.truth.items():
            assert bool(meets(record, targets.homes[campaign])) == wanted(target, view)
            relative = any(is_relative(leaf) for clause in target.clauses for leaf in all_leaves(clause))
            assert bool(targets.homes[campaign]["relative"]) == relative
            true += wanted(target, view)
    assert true > 100


def all_leaves(clause: Clause) -> list[Leaf]:
    return [*clause.leaves, *([] if clause.tree is None else leaves_of(clause.tree))]


def mixed(z: int) -> int:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014)."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_many_queries_in_one_call() -> None:
    market = filled(Random("many"), 700, TUNINGS["as it is"])
    targets = market.targets
    targets.settle()
    asked, queries = [], []
    for n_imps in (0, 1, 2, 3, 1, 2):
        view = market.world.view()
        imps = [market.world.view() for _ in range(n_imps)]
        asked.append([{**view, **{n.name: imp.get(n.name) for n in NAMES if n.level == "imp"}} for imp in imps])
        queries.append(qy.query_of(targets.vocabulary, view, imps))
    starts = np.cumsum([0, *(q.size for q in queries)])
    counts, hashes = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.uint64)
    match_many(targets.record[0], np.concatenate(queries), starts, np.zeros(764, np.int32), counts, hashes)
    for k, views in enumerate(asked):
        found = [(imp, c) for imp, view in enumerate(views) for c in ask(targets, view)]
        assert counts[k] == len(found)
        assert int(hashes[k]) == sum(mixed(c + 1 + (imp << 32)) for imp, c in found) % 2**64
    assert counts.sum() > 20


def test_what_is_refused() -> None:
    targets = Targets(3, 1, QUERY_MAX)
    with pytest.raises(ValueError, match="campaign 1: expected 0 to 0"):
        targets.put(1, EVERYONE)
    for campaign in range(3):
        targets.put(campaign, EVERYONE)
    with pytest.raises(ValueError, match="campaign 3: expected 0 to 2"):
        targets.put(3, EVERYONE)
    with pytest.raises(ValueError, match="campaign 3: expected 0 to 2"):
        targets.drop(3)
    leaf = Leaf("country", ("FR",))
    with pytest.raises(ValueError, match=f"{STEPS_MAX + 1} conditions: expected at most {STEPS_MAX}"):
        targets.put(0, Target("", leaf, (Clause((leaf,) * (STEPS_MAX + 1)),)))
    assert targets.job() is None
    job = Targets(1, 1, QUERY_MAX).job()
    assert job is None
    targets.tail_max = 2
    job = targets.job()
    assert job is not None and targets.job() is None
    with pytest.raises(ValueError, match="adopt: expected the job given out last, built"):
        targets.adopt(job)
    targets.settle()
    job.build()
    with pytest.raises(ValueError, match="adopt: expected the job given out last, built"):
        targets.adopt(job)


def test_a_part_is_built_while_requests_are_matched() -> None:
    """The builder runs in a thread of its own, on what was there when the job was given out."""
    rng = Random("thread")
    market = filled(rng, 400, TUNINGS["lists and rows"])
    for campaign in range(200):
        market.put(campaign)
    job = market.targets.job()
    assert job is not None
    thread = threading.Thread(target=job.build)
    thread.start()
    checked = 0
    while thread.is_alive() or checked < 5:
        market.put(rng.randrange(400))
        market.targets.drop(dropped := rng.randrange(400))
        market.truth[dropped] = Target("", EVERYONE.tree, ())
        market.check()
        checked += 1
    thread.join()
    market.targets.adopt(job)
    for _ in range(10):
        market.check()


def test_what_rows_decide_is_walked_by_no_clause() -> None:
    """A range whose ends are edges needs no second look; thinned edges do; a second include leaf and a tree do too."""
    world = [
        Leaf("age", ((18, 30),)),
        Leaf("age", ((25, 60),)),
        Leaf("seg", ("a", "b")),
        Leaf("seg", ("c",), True, True),
    ]

    def verified(tuning: Tuning, *clauses: Clause) -> int:
        targets = Targets(len(clauses), 1, QUERY_MAX, tuning)
        for campaign, clause in enumerate(clauses):
            targets.put(campaign, Target("", EVERYONE.tree, (clause,)))
        targets.settle()
        assert targets.base is not None
        return int(np.bitwise_count(targets.base.arrays["rows"][VERIFY]).sum())

    large = Tuning(small_words=0)
    plain = (Clause(tuple(world[:1] + world[2:])), Clause(tuple(world[1:])))
    assert verified(Tuning(), *plain) == verified(large, *plain) == 0
    assert verified(Tuning(small_words=0, edges=1), *plain) > 0
    assert verified(large, Clause((world[2], Leaf("seg", ("d",))))) == 1
    assert verified(large, Clause((), Or((world[0], world[2])))) == 1


def test_sizes_and_common_lists() -> None:
    """Equal lists of hours are kept once, and the base is counted by its bytes."""
    targets = Targets(300, 1, QUERY_MAX)
    hours = Leaf("hour", tuple(range(100)))
    for campaign in range(300):
        targets.put(campaign, Target("", hours, (Clause((hours,)),)))
    assert targets.programs.n_pool == 100
    targets.settle()
    sizes = targets.sizes()
    assert sizes["pool"] == (100 + 64) * 4 and sizes["base"] > 100 * 8 * 5
    assert targets.base is not None and targets.base.nbytes() == sizes["base"]


@pytest.mark.torture
def test_two_million_pairs() -> None:
    seed = randbits(32)
    print(f"seed {seed}")
    rng, pairs = Random(seed), 0
    while pairs < 2_000_000:
        form, verify_ns = rng.choice(sorted(TUNINGS)), rng.choice([None, 0, ALWAYS])
        market = filled(rng, rng.choice([1, 8, 65, 300, 3_000]), TUNINGS[form], verify_ns)
        market.targets.settle()
        for _ in range(10):
            market.check()
        live(market, 20)
        pairs += market.pairs
