"""The targeting workload (bench/targeting): the same bytes for a seed, rates as stated, and three ways that agree."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.targeting import measure, table, text
from bench.targeting.indexed import Indexed
from bench.targeting.references import PlainLoop, ValueBits
from bench.targeting.workload import Workload, generate
from exchange.audience.target import clause_holds

CAMPAIGNS = 3_000
REQUESTS = 40


@pytest.fixture(scope="module", params=list(table.RATES))
def work(request: pytest.FixtureRequest) -> Workload:
    return generate(request.param, CAMPAIGNS, REQUESTS)


def arrays_of(work: Workload) -> dict[str, np.ndarray]:
    return {name: value for name, value in msgspec.structs.asdict(work).items() if isinstance(value, np.ndarray)}


def fields_of(work: Workload) -> bytes:
    """The predicates without what lies between their fields."""
    return b"".join(work.predicates[name].tobytes() for name in work.predicates.dtype.names)


def slow_hash(campaigns: list[int]) -> int:
    total, full = 0, 2**64
    for c in campaigns:
        x = c + 1
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % full
        x = (x ^ x >> 27) * 0x94D049BB133111EB % full
        total += x ^ x >> 31
    return total % full


def test_a_seed_gives_the_same_bytes_everywhere() -> None:
    digest = hashlib.blake2b(digest_size=8)
    for rate in table.RATES:
        work = generate(rate, 300, 20)
        for name, array in sorted(arrays_of(work).items()):
            digest.update(fields_of(work) if name == "predicates" else np.ascontiguousarray(array).tobytes())
    assert digest.hexdigest() == "634d0e24daab10f2"


def test_another_seed_gives_others() -> None:
    one, same, other = (generate("low", 50, 5, seed) for seed in (1, 1, 2))
    assert fields_of(one) == fields_of(same) and (one.values == same.values).all()
    assert (one.single == same.single).all() and (one.single != other.single).any()
    assert fields_of(one) != fields_of(other)


def test_a_campaign_is_the_same_among_few_and_many(work: Workload) -> None:
    few = generate(work.rate, 100, 5)
    assert [text.expression(few, c) for c in range(100)] == [text.expression(work, c) for c in range(100)]
    assert [text.request_of(few, r) for r in range(5)] == [text.request_of(work, r) for r in range(5)]


def test_the_shape_is_the_notes(work: Workload) -> None:
    terms = table.RATES[work.rate]
    counts = np.bincount(np.diff(work.clause0), minlength=4) / CAMPAIGNS
    assert np.allclose(counts, [0, 0.80, 0.15, 0.05], atol=0.03)
    assert work.predicates.size / work.n_clauses == pytest.approx(terms.predicates, rel=0.03)
    listed = work.predicates[work.predicates["kind"] == table.LIST]["n_values"]
    assert listed.min() == 1 and 100 < listed.max() <= 500
    assert work.list_n[:, 2].mean() == pytest.approx(97, rel=0.1)
    assert set(work.list_n[:, 0]) <= set(range(4)) and set(work.list_n[:, 1]) <= set(range(1, 6))
    assert {table.TABLE[a].name for a in np.unique(work.predicates["attribute"])} == set(table.IX)


def test_the_rates_are_as_stated(work: Workload) -> None:
    counts = [n for n, _ in text.expected(work)]
    rate = sum(counts) / CAMPAIGNS / REQUESTS
    within = 0.6 if work.rate == "low" else 0.15  # 0.3 campaigns a request at this size
    assert rate == pytest.approx(table.RATES[work.rate].matches, rel=within)


def test_index_and_both_references_find_the_same(work: Workload) -> None:
    sides = {"one by one": PlainLoop(work), "rows per value": ValueBits(work), "the index": Indexed(work)}
    everyone = np.arange(REQUESTS)
    total = measure.check(work, sides, everyone)
    assert {name: side.match_many(everyone) for name, side in sides.items()} == dict.fromkeys(sides, total)
    if work.rate != "low":
        assert total > 0


def test_no_time_is_taken_when_they_disagree(work: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    right = PlainLoop.match
    monkeypatch.setattr(PlainLoop, "match", lambda self, r: right(self, r) + (r == 7))
    monkeypatch.setattr(measure, "generate", lambda *_: work)
    monkeypatch.setattr(measure, "_turn_us", lambda *_: pytest.fail("a time was taken"))
    with pytest.raises(measure.Disagreement, match="request 7: the index finds"):
        measure.measure(work.rate, CAMPAIGNS, REQUESTS, 1)


def test_expected_is_what_plain_python_finds(work: Workload) -> None:
    """Targets and views are taken from the written files' content, not from the arrays the references read."""
    targets = [text.target_of(work, c) for c in range(400)]
    few = Workload(
        work.rate, work.clause0[:401], work.predicate0[: work.clause0[400] + 1], work.predicates, work.values,
        work.single, work.list0, work.list_n, work.listed,
    )  # fmt: skip
    some = 0
    for request, (count, value) in enumerate(text.expected(few)):
        person, imp = text.view_of(text.request_of(few, request))
        both = {**person, **imp}
        found = [c for c, target in enumerate(targets) if any(clause_holds(k, both) for k in target.clauses)]
        assert (count, value) == (len(found), slow_hash(found))
        some += count
    assert some > 0 or work.rate == "low"


def test_the_hash_is_the_finalizer_of_splitmix64() -> None:
    many = [0, 1, 2**30 - 1, 2**30, 2**31 - 1, 7]
    assert text.hash_of(np.array(many, np.int32), 6) == slow_hash(many) == text.hash_of(np.array(many[::-1]), 6)
    assert text.hash_of(np.array([0]), 1) == 0x5692161D100B05E5  # the finalizer of 1


def test_the_files_are_the_workload(tmp_path: Path) -> None:
    work = generate("high", 60, 8)
    paths = text.write(work, tmp_path)
    lines = {path.name: path.read_text().splitlines() for path in paths}
    assert lines["campaigns.txt"] == [text.expression(work, c) for c in range(60)]
    assert lines["campaigns.betree"] == [text.expression(work, c, text.be_tree_text) for c in range(60)]
    assert text.requests_of(tmp_path / "requests.jsonl") == [text.request_of(work, r) for r in range(8)]
    expected = [line.split("\t") for line in lines["expected.tsv"]]
    assert [(int(n), int(value, 16)) for n, value in expected] == list(text.expected(work))


def test_be_trees_words() -> None:
    work = generate("low", 300, 1)
    said = " ".join(text.expression(work, c, text.be_tree_text) for c in range(300))
    for part in ('seg one of ("', 'seg none of ("', 'domain not in ("', "hour in (", "age >= ", "floor <= ", " or ("):
        assert part in said
    assert "[" not in said and "between" not in said
