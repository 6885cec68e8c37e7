"""The workload written out: sentences of the targeting language, requests as JSON, and what must come out.

campaigns.txt    one expression a line; the first is campaign 0
campaigns.betree the same in the words of be-tree and a-tree: quoted texts, lists in parentheses, hours as numbers
requests.jsonl   one object a line: attribute to value, or to a list of values where there can be several; hours of the
                 week count from Monday 0:00, viewability is in percent, floor in CPM
expected.tsv     one line a request: how many campaigns match, and a hash of which: the sum of mix(campaign + 1) modulo
                 2^64, in 16 hex digits, where mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014)
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bench.targeting import table as tb
from bench.targeting.references import PlainLoop
from bench.targeting.workload import Workload
from exchange.audience.attributes import BY_NAME
from exchange.audience.target import FAR, And, Clause, Leaf, Or, Target, View

_DAYS: Final = {(0, 5): "weekdays", (0, 7): "daily", (5, 7): "weekend"}
_SETS: Final = frozenset(tb.MULTI)
_CENTS: Final = tb.FLOOR_STEP_NANO // 10_000
IMP_LEVEL: Final = frozenset(c.name for c in tb.TABLE if BY_NAME[c.name].level == "imp")


@njit(cache=True, nogil=True)
def hash_of(campaigns, n):  # type: ignore[no-untyped-def]
    """The order-free hash of campaigns[:n]."""
    found = np.uint64(0)
    for i in range(n):
        x = np.uint64(campaigns[i]) + np.uint64(1)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found += x ^ (x >> np.uint64(31))
    return found


# ---- campaigns -------------------------------------------------------------------------------------------------


def _cpm(number: int) -> str:
    """A floor's bucket as CPM."""
    return f"{number * _CENTS // 100}.{number * _CENTS % 100:02d}"


def _end(name: str, number: int) -> str:
    return _cpm(number) if name == "floor" else str(number)


def _inner(name: str, number: int) -> int:
    """A number of the workload in the attribute's inner unit."""
    return number * (tb.FLOOR_STEP_NANO if name == "floor" else BY_NAME[name].scale)


def _parts(work: Workload, at: int) -> tuple[tb.Column, list[int], bool]:
    """A predicate's column, values, and whether it is negated."""
    p = work.predicates[at]
    first = int(p["first"])
    return (
        tb.TABLE[int(p["attribute"])], work.values[first : first + int(p["n_values"])].tolist(), bool(p["negated"])
    )  # fmt: skip


def leaf_text(work: Workload, at: int) -> str:
    """One predicate as the targeting language writes it."""
    column, values, negated = _parts(work, at)
    name = column.name
    if column.kind == tb.HOURS:
        days = values[0] // 24, values[-1] // 24 + 1
        return f"hour in {_DAYS[days]}({values[0] % 24}..{values[-1] % 24})"
    if column.kind == tb.RANGE:
        low, high = _end(name, values[0]), _end(name, values[1])
        if column.open:
            return f"{name} >= {low}" if column.open == "from" else f"{name} <= {high}"
        return f"{name} between {low} and {high}"
    listed = ", ".join(tb.NAMES[name][value] for value in values)
    if name in _SETS:
        return f"{name} {'none' if negated else 'one'} of [{listed}]"
    return f"{name} {'not in' if negated else 'in'} [{listed}]"


def be_tree_text(work: Workload, at: int) -> str:
    """One predicate as be-tree writes it."""
    column, values, negated = _parts(work, at)
    name = column.name
    if column.kind == tb.RANGE:
        ends = [f"{name} {sign} {_end(name, value)}" for sign, value in zip((">=", "<="), values, strict=True)]
        return ends[0] if column.open == "from" else ends[1] if column.open else " and ".join(ends)
    texts = values if column.kind == tb.HOURS else [f'"{tb.NAMES[name][value]}"' for value in values]
    word = ("none of" if negated else "one of") if name in _SETS else "not in" if negated else "in"
    return f"{name} {word} ({', '.join(map(str, texts))})"


def leaf_of(work: Workload, at: int) -> Leaf:
    """One predicate as a leaf of a target."""
    column, values, negated = _parts(work, at)
    name = column.name
    if column.kind == tb.HOURS:
        return Leaf(name, tuple(values))
    if column.kind == tb.RANGE:
        low = -FAR if column.open == "to" else _inner(name, values[0])
        high = FAR if column.open == "from" else _inner(name, values[1])
        return Leaf(name, ((low, high),))
    return Leaf(name, tuple(sorted(tb.NAMES[name][value] for value in values)), negated, negated)


def _clauses(work: Workload, campaign: int) -> list[range]:
    """The predicates of each conjunction of a campaign."""
    first, end = work.clause0[campaign], work.clause0[campaign + 1]
    return [range(work.predicate0[c], work.predicate0[c + 1]) for c in range(first, end)]


def expression(work: Workload, campaign: int, write: Any = leaf_text) -> str:
    """A campaign's target as a sentence."""
    each = [" and ".join(write(work, at) for at in clause) for clause in _clauses(work, campaign)]
    return each[0] if len(each) == 1 else " or ".join(f"({text})" for text in each)


def target_of(work: Workload, campaign: int) -> Target:
    """A campaign's target, as reading its sentence gives it but for order and what is redundant."""
    clauses = tuple(Clause(tuple(leaf_of(work, at) for at in clause)) for clause in _clauses(work, campaign))
    return Target("", Or(tuple(And(clause.leaves) for clause in clauses)), clauses)


# ---- requests --------------------------------------------------------------------------------------------------


def request_of(work: Workload, request: int) -> dict[str, Any]:
    """A request as requests.jsonl has it."""
    found: dict[str, Any] = {}
    for column in tb.TABLE:
        name, given = column.name, work.given(request, column.name)
        if name in _SETS:
            found[name] = [tb.NAMES[name][value] for value in given]
        elif column.kind == tb.LIST:
            found[name] = tb.NAMES[name][given[0]]
        else:
            found[name] = float(_cpm(given[0])) if name == "floor" else given[0]
    return found


def view_of(stated: dict[str, Any]) -> tuple[View, View]:
    """A line of requests.jsonl as views of the person and of the imp."""
    both: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for name, value in stated.items():
        if name in ("floor", "viewability"):
            value = round(value * BY_NAME[name].scale)
        elif BY_NAME[name].kind == "set" and not isinstance(value, list):
            value = [value]
        both[name in IMP_LEVEL][name] = value
    return both


# ---- files -----------------------------------------------------------------------------------------------------


def expected(work: Workload) -> Iterator[tuple[int, int]]:
    """Count and hash of the campaigns that match each request, by the plain loop."""
    plain = PlainLoop(work)
    for request in range(work.n_requests):
        n = plain.match(request)
        yield n, int(hash_of(plain.out, n))


def write(work: Workload, folder: Path) -> list[Path]:
    """Write the four files. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, Iterator[str]] = {
        "campaigns.txt": (expression(work, c) for c in range(work.n_campaigns)),
        "campaigns.betree": (expression(work, c, be_tree_text) for c in range(work.n_campaigns)),
        "requests.jsonl": (json.dumps(request_of(work, r)) for r in range(work.n_requests)),
        "expected.tsv": (f"{n}\t{value:016x}" for n, value in expected(work)),
    }
    for name, each in lines.items():
        with open(folder / name, "w", encoding="ascii", newline="\n") as file:
            file.writelines(line + "\n" for line in each)
    return [folder / name for name in lines]


def requests_of(path: Path) -> list[dict[str, Any]]:
    """The requests of a requests.jsonl."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def campaigns_array(numbers: list[int]) -> NDArray[np.int32]:
    """Campaign numbers as `hash_of` takes them."""
    return np.array(numbers, np.int32)
