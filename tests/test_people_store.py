"""The people store against a dictionary: look-up into a query, changes, growth, loads; and its file."""

import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.audience import kept, people, table
from exchange.audience import query as qy
from exchange.audience import store as store_module
from exchange.audience.people import PeopleError, load_people, person_key, read_mentions
from exchange.audience.store import Store, know
from exchange.audience.vocabulary import FIRST, OTHER, Vocabulary

SALT = b"s" * 32
KEY = partial(person_key, SALT)
KEYS = st.one_of(st.integers(1, 40), st.integers(1, 2**64 - 1))
NUMBERS = st.lists(st.integers(FIRST, FIRST + 60), max_size=20)


def query_with(stated: list[int], room: int = 100) -> np.ndarray:
    """A query whose list of segments is `stated`, with `room` places behind it."""
    vocabulary = Vocabulary()
    for i in range(100):
        vocabulary.id("seg", f"s{i}")
    q = qy.query_of(vocabulary, {}, [{}])
    q[qy.SEG], q[qy.SEG + 1] = q.size, len(stated)
    q = np.concatenate((q, stated, np.full(room, -77))).astype(np.int64)
    q[qy.LENGTH] = q.size - room
    return q


def learnt(store: Store, q: np.ndarray, key: int, query_max: int | None = None) -> list[int]:
    """The segments that the query has after `know`; what lies behind them is untouched."""
    before = q.copy()
    gained = know(store.record[0], q.ctypes.data, q.size if query_max is None else query_max, np.uint64(key))
    first, count, end = q[qy.SEG], q[qy.SEG + 1], q[qy.LENGTH]
    assert end == first + count and gained == count - before[qy.SEG + 1]
    same = [i for i in range(qy.HEAD) if i not in (qy.SEG, qy.SEG + 1, qy.LENGTH)]
    assert (q[same] == before[same]).all() and (q[qy.HEAD : first] == before[qy.HEAD : first]).all()
    if query_max is not None:
        assert (q[query_max:] == before[query_max:]).all()
    return q[first:end].tolist()


@settings(derandomize=True, deadline=None, max_examples=300)
@given(stored=NUMBERS, stated=NUMBERS, other=st.booleans(), room=st.integers(0, 30))
def test_know_is_the_union_ascending_each_once(stored: list[int], stated: list[int], other: bool, room: int) -> None:
    store = Store()
    store.set(7, stored)
    said = sorted(set(stated)) or ([OTHER] if other else [])
    for key in (0, 8):
        assert learnt(store, query_with(said), key) == said
    q = query_with(said, 60)
    assert learnt(store, q, 7) == (sorted({*stored, *stated}) or said)
    assert learnt(store, q, 7) == (sorted({*stored, *stated}) or said), "known already"
    q = query_with(said, 60)
    most = q.size - 60 + room
    found = learnt(store, q, 7, most)
    taken = sorted(set(stored))[: room + (said == [OTHER])]
    assert found == (sorted({*taken, *stated}) or said), "no room: the last stored ones stay out"


def test_know_of_an_empty_store() -> None:
    assert learnt(Store(), query_with([3, 5]), 9) == [3, 5]


CHANGES = st.lists(st.tuples(st.sampled_from(["set", "remember", "load"]), KEYS, NUMBERS), max_size=60)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(changes=CHANGES)
def test_store_is_a_dictionary(changes: list[tuple[str, int, list[int]]]) -> None:
    store, plain = Store(), dict[int, list[int]]()
    for what, key, numbers in changes:
        if what == "load":  # what is there, out and in again: equal runs are now shared
            store.load(*store.everyone())
        elif what == "set":
            assert store.set(key, numbers)
            plain[key] = sorted(set(numbers))
        else:
            assert store.remember(key, numbers)
            plain[key] = sorted({*plain.get(key, []), *numbers})
    check_against(store, plain)


def check_against(store: Store, plain: dict[int, list[int]]) -> None:
    """Every person, and all of them together."""
    for key, numbers in plain.items():
        assert store.segments(key) == numbers
    keys, starts, numbers = store.everyone()
    found = {int(k): numbers[a:b].tolist() for k, a, b in zip(keys, starts[:-1], starts[1:], strict=True)}
    assert found == {key: numbers for key, numbers in plain.items() if numbers}
    assert keys.tolist() == sorted(keys.tolist())
    used, unused = int(store.record["pool_used"][0]), int(store.record["unused"][0])
    live = {tuple(numbers) for numbers in found.values()}
    assert used - unused >= 1 + sum(1 + len(run) for run in live)


def test_growth_and_squeezing_keep_everything() -> None:
    """Many people whose segments change often: the pool is squeezed more than once, and stays small."""
    draw, store, plain = random.Random(5), Store(), dict[int, list[int]]()
    people_of = [draw.randrange(1, 2**64) for _ in range(3_000)]
    sizes = set()
    for _ in range(40_000):
        key, numbers = draw.choice(people_of), draw.sample(range(FIRST, 200), draw.randrange(12))
        assert store.set(key, numbers)
        plain[key] = sorted(numbers)
        sizes.add(store.pool.size)
    check_against(store, plain)
    live = sum(1 + len(numbers) for numbers in plain.values())
    assert store.pool.size < 3 * live and len(sizes) > 3
    assert store.people.size < 2 * len(plain) / store_module.LOAD_MAX
    before = store.everyone()
    store.load(*before)
    check_against(store, plain)
    # shared runs: one of those who share it leaves, the others keep it; then all is squeezed
    for key in people_of[:1_500]:
        store.remember(key, [999])
        plain[key] = sorted({*plain.get(key, []), 999})
    store._grow(store.pool.size)
    check_against(store, plain)


def test_limits_refuse_and_count() -> None:
    store = Store(people_max=2, segments_max=3)
    assert store.set(1, [5, 6]) and store.set(2, [5])
    assert not store.set(3, [5]) and store.refused == 1
    assert not store.remember(1, [7, 8]) and store.refused == 2, "all or nothing"
    assert not store.set(1, [5, 6, 7, 8]) and store.refused == 3
    assert store.remember(1, [5]) and store.remember(1, [9]) and store.segments(1) == [5, 6, 9]
    assert store.set(3, []) and store.segments(3) == [] and len(store) == 2
    assert store.remember(0, [5]) and store.remember(2, [OTHER, 0]) and store.segments(2) == [5]
    with pytest.raises(ValueError, match=r"3 people: at most 2"):
        store.load(np.array([1, 2, 3], np.uint64), np.arange(4), np.array([5, 5, 5], np.int32))
    with pytest.raises(ValueError, match=r"4 segments of one person: at most 3"):
        store.load(np.array([1], np.uint64), np.array([0, 4]), np.arange(4, dtype=np.int32))
    with pytest.raises(ValueError, match=r"expected 1 to 1000"):
        Store(segments_max=1_001)


def test_bytes_are_as_stated() -> None:
    """12 bytes over the load of the table, and 4 + 4 a segment per distinct run."""
    draw = random.Random(2)
    sets = [sorted(draw.sample(range(300), 20)) for _ in range(4_000)]
    keys = np.sort(np.array([draw.randrange(1, 2**64) for _ in range(20_000)], np.uint64))
    runs = [sets[draw.randrange(4_000)] for _ in keys]
    made = table.Table(
        keys, np.arange(0, 20 * keys.size + 1, 20), np.array(sum(runs, []), np.int32), [f"s{i}" for i in range(300)]
    )
    store = Store()
    table.fill(store, [made], Vocabulary())
    distinct = len({tuple(run) for run in runs})
    assert store.people.nbytes == 24 * keys.size
    assert store.pool.nbytes == pytest.approx(84 * distinct, rel=0.08)
    assert sum(table.bytes_per_person(made)) == pytest.approx(24 + 84 * distinct / keys.size)
    assert table.bytes_per_person(table.empty()) == (0, 0)


# ---- the file --------------------------------------------------------------------------------------------------


CELLS = st.lists(st.sampled_from(["a", "b", "c", "-a", "-b", "-"]), min_size=1, max_size=4)
ROWS = st.lists(st.tuples(st.sampled_from(["u1", "u2", "u3", "u4"]), CELLS), max_size=8)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(files=st.lists(st.tuples(ROWS, st.booleans()), max_size=4))
def test_imports_are_a_dictionary_of_sets(files: list, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One file after the other, through the file of the store; and what `load_people` makes of the same."""
    folder = tmp_path_factory.mktemp("imports")
    plain: dict[str, set[str]] = {}
    for rows, replace in files:
        (folder / "in.csv").write_text("".join(f"{user},{'|'.join(cells)}\n" for user, cells in rows))
        if replace:
            plain = {user: names for user, names in plain.items() if user not in dict(rows)}
        alone: dict[str, set[str]] = {}
        for user, cells in rows:
            for into in (plain, alone):
                have = into.setdefault(user, set())
                for cell in cells:
                    if cell == "-":
                        have.clear()
                    elif cell[0] == "-":
                        have.discard(cell[1:])
                    else:
                        have.add(cell)
        before = table.read(folder / table.STORE, SALT)
        after = table.changed(before, read_mentions(folder / "in.csv", KEY), replace)
        made = table.write(folder / table.STORE, SALT, after)
        assert made.version == before.version + 1
        loaded = load_people(folder / "in.csv", KEY)
        assert loaded.by_key == {KEY(user): tuple(sorted(names)) for user, names in alone.items() if names}
        mine = read_mentions(folder / "in.csv", KEY)
        left = {k: v & as_dict(after).get(k, set()) for k, v in as_dict(before).items()}
        assert as_dict(table.left_of(before, mine, replace)) == {k: v for k, v in left.items() if v}
        assert as_dict(table.table_of_people(loaded.by_key)) == {
            key: set(names) for key, names in loaded.by_key.items()
        }
    expected = {KEY(user): names for user, names in plain.items() if names}
    found = table.read(folder / table.STORE, SALT)
    assert as_dict(found) == expected
    assert found.counts() == {name: n for name in "abc" if (n := sum(name in names for names in expected.values()))}
    store, vocabulary = Store(), Vocabulary()
    vocabulary.id("seg", "c")
    table.fill(store, [found], vocabulary)
    assert as_dict(table.table_of(store, vocabulary)) == expected


def as_dict(found: table.Table) -> dict[int, set[str]]:
    """A table as plain sets; every run ascends."""
    made = {}
    for key, a, b in zip(found.keys.tolist(), found.starts[:-1], found.starts[1:], strict=True):
        numbers = found.numbers[a:b].tolist()
        assert numbers == sorted(set(numbers)) and numbers
        made[key] = {found.names[number] for number in numbers}
    assert found.keys.tolist() == sorted(made)
    return made


def imported(folder: Path, text: str, replace: bool = False) -> table.Table:
    """Import a text as `rentier people import` does."""
    (folder / "in.csv").write_text(text)
    said = read_mentions(folder / "in.csv", KEY)
    return table.write(folder / table.STORE, SALT, table.changed(table.read(folder / table.STORE, SALT), said, replace))


def test_segments_by_rule_are_exactly_theirs(tmp_path: Path) -> None:
    before = imported(tmp_path, "u1,a,ruled\nu2,ruled\nu3,b\n")
    after = table.with_segments(
        before, {"ruled": np.array(sorted([KEY("u3"), KEY("u4")]), np.uint64), "none": np.zeros(0, np.uint64)}
    )
    assert as_dict(after) == {KEY("u1"): {"a"}, KEY("u3"): {"b", "ruled"}, KEY("u4"): {"ruled"}}
    assert table.write(tmp_path / table.STORE, SALT, after).names == ["a", "ruled", "b"]


def test_a_store_opens_from_its_files_together(tmp_path: Path) -> None:
    """Imported, learnt and from the config: the union, by the vocabulary's numbers."""
    imported(tmp_path, "u1,a\nu2,b\n")
    (tmp_path / table.STORE).rename(tmp_path / table.LEARNT)
    imported(tmp_path, "u1,c\n")
    imported(tmp_path, "u3,z\n")
    vocabulary = Vocabulary()
    vocabulary.id("seg", "z")
    known = table.Known(tmp_path, SALT, vocabulary, {KEY("u2"): ("c",)})
    assert known.version == 2
    assert names_of(known) == [["a", "c"], ["b", "c"], ["z"], []]
    assert len(table.Known(None, SALT, vocabulary).store) == 0
    with pytest.raises(PeopleError, match=r"people store: 2 segments of one person: at most 1"):
        table.Known(tmp_path, SALT, vocabulary, segments_max=1)


def names_of(known: table.Known) -> list[list[str]]:
    """The segments of u1 to u4 in the store."""
    names = {number: name for name, number in known.vocabulary.ids["seg"].items()}
    return [sorted(names[n] for n in known.store.segments(KEY(f"u{i}"))) for i in range(1, 5)]


def test_what_requests_said_outlives_a_stop_but_not_an_import(tmp_path: Path) -> None:
    """Only what is new is kept apart, so that an import may still take away what was imported."""
    imported(tmp_path, "u1,a\n")
    vocabulary = Vocabulary()
    a, b = vocabulary.id("seg", "a"), vocabulary.id("seg", "b")
    known = table.Known(tmp_path, SALT, vocabulary, segments_max=2)
    known.save()
    assert not (tmp_path / table.LEARNT).exists(), "nothing was said"
    assert known.remember(KEY("u1"), [a]) == store_module.SAME
    assert known.remember(KEY("u2"), [b]) == store_module.DONE
    assert known.remember(KEY("u2"), [a, b, 9]) == store_module.FULL
    assert names_of(known) == [["a"], ["b"], [], []]
    known.save()
    imported(tmp_path, "u1,-a\n")
    again = table.Known(tmp_path, SALT, Vocabulary())
    assert names_of(again) == [[], ["b"], [], []]
    again.save()
    assert names_of(table.Known(tmp_path, SALT, Vocabulary())) == [[], ["b"], [], []]
    table.Known(None, SALT, vocabulary).save()


def test_every_truncation_and_every_flipped_byte_is_found(tmp_path: Path) -> None:
    imported(tmp_path, "u1,a,b\nu2,c\n")
    path = tmp_path / table.STORE
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(PeopleError, match=r"people\.store: "):
            table.read(path, SALT)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
        with pytest.raises(PeopleError, match=r"people\.store: "):
            table.read(path, SALT)
    path.write_bytes(whole + b"x")
    with pytest.raises(PeopleError, match="damaged"):
        table.read(path, SALT)
    path.write_bytes(whole)
    assert len(table.read(path, SALT)) == 2
    with pytest.raises(PeopleError, match=r"another salt"):
        table.read(path, b"t" * 32)


def test_limits_of_imports_name_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(tmp_path, "u1,a,b\n")
    with monkeypatch.context() as patch:
        patch.setattr(table, "SEGMENTS_MAX", 2)
        with pytest.raises(PeopleError, match=r"in\.csv:3: 3 segments of one person, with what was known: at most 2"):
            imported(tmp_path, "u2,x\n\nu1,c\n")
        with pytest.raises(PeopleError, match=r"3 segments of one person, with those by rule: at most 2"):
            table.with_segments(table.read(tmp_path / table.STORE, SALT), {"r": np.array([KEY("u1")], np.uint64)})
        patch.setattr(table, "PEOPLE_MAX", 1)
        with pytest.raises(PeopleError, match=r"in\.csv: 2 people, with those known: at most 1"):
            imported(tmp_path, "u2,x\n")
        with pytest.raises(PeopleError, match=r"2 people, with those by rule: at most 1"):
            table.with_segments(table.read(tmp_path / table.STORE, SALT), {"r": np.array([9], np.uint64)})
        patch.setattr(table, "NAMES_MAX", 2)
        with pytest.raises(PeopleError, match=r"3 different segments: at most 2"):
            imported(tmp_path, "u1,c\n")
        patch.setattr(people, "NAMES_MAX", 2)
        with pytest.raises(PeopleError, match=r"in\.csv:2: segment 'c': more than 2 different segments"):
            imported(tmp_path, "u1,a,b\nu1,c\n")
        patch.setattr(people, "ROWS_MAX", 1)
        with pytest.raises(PeopleError, match=r"in\.csv:2: more than 1 rows"):
            imported(tmp_path, "u1,a\nu1,a\n")
    assert as_dict(table.read(tmp_path / table.STORE, SALT)) == {KEY("u1"): {"a", "b"}}


def test_only_one_changes_the_people_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(PeopleError, match=r"people\.lock: another process")
    with kept.lock(tmp_path / "new"), refused, kept.lock(tmp_path / "new"):
        pass
    with kept.lock(tmp_path / "new"):
        pass


KILLED = """
import os, signal, sys
from exchange.__main__ import main
if sys.argv[2] != "end":
    def die(*given):
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(os, sys.argv[2], die)
sys.exit(main(["people", "import", sys.argv[1], "--ledger", "."]))
"""


@pytest.mark.parametrize("moment", ["fdopen", "fsync", "end"])
def test_an_import_that_is_killed_leaves_the_old_store(tmp_path: Path, moment: str) -> None:
    """kill -9 before the first byte, and when all is written but not yet in its place."""

    def run(file: str, when: str) -> int:
        command = [sys.executable, "-c", KILLED, file, when]
        path = str(Path(__file__).resolve().parents[1])
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode

    (tmp_path / "one.csv").write_text("u1,a\n")
    (tmp_path / "two.csv").write_text("u1,b\n")
    assert run("one.csv", "end") == 0
    before = (tmp_path / table.STORE).read_bytes()
    assert run("two.csv", moment) == (0 if moment == "end" else -signal.SIGKILL)
    assert ((tmp_path / table.STORE).read_bytes() == before) == (moment != "end")
    assert run("two.csv", "end") == 0
    salt = (tmp_path / "salt").read_bytes()
    assert as_dict(table.read(tmp_path / table.STORE, salt)) == {person_key(salt, "u1"): {"a", "b"}}
