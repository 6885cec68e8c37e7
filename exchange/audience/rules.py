"""Segments by rule: who belongs is found in the journal, by recency and frequency.

A rule is conditions joined by `and`, all of one advertiser (or of all together): `contacts >= 3 and
last_contact_days >= 30`. It is evaluated at a time over the rows before that time: no rule looks ahead. It speaks of
people the ledger has met. What never happened has no last time: a condition on it is false, as a missing attribute is.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from exchange import market as mk
from exchange.audience import kept, table
from exchange.config import ConfigError
from exchange.config import Segment as Named

DAY_NS: Final = 86_400 * mk.NANO
CONTACTS: Final = mk.BILLING  # a contact is a billed impression, or what is billed in its place
_KINDS: Final = {"contact": CONTACTS, "click": mk.CLICKS, "conversion": mk.CONVERSIONS}
_COUNTS: Final = {f"{what}s": kinds for what, kinds in _KINDS.items()}
_DAYS: Final = {f"last_{what}_days": kinds for what, kinds in _KINDS.items()}
MEASURES: Final = (*_COUNTS, *_DAYS)
NUMBER_MAX: Final = 10**9
_NEVER: Final = -1
_TOKEN = re.compile(r"\s*(<=|>=|!=|<|>|=|\w+|\S)")
_OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=")


class Condition(Struct, frozen=True):
    """A measure that must lie in low..high, both included, or (`apart`) must not."""

    measure: str
    low: int
    high: int
    apart: bool = False


class Rule(Struct, frozen=True):
    """A segment by rule. advertiser "" = contacts with any; within_days 0 = counts of all time."""

    segment: str
    advertiser: str
    conditions: tuple[Condition, ...]
    within_days: int


def read_rules(named: Sequence[Named]) -> list[Rule]:
    """The rules of a config's [[segment]]s. Raises ConfigError that names segment, column and what was expected."""
    return [Rule(each.name, each.advertiser, read_conditions(each.rule, each.name), each.within_days) for each in named]


def read_conditions(text: str, segment: str) -> tuple[Condition, ...]:
    """The conditions of a rule. Raises ConfigError."""
    tokens = [(match[1], match.start(1) + 1) for match in _TOKEN.finditer(text)] + [("", len(text) + 1)]
    found: list[Condition] = []
    at = 0

    def refuse(expected: str) -> ConfigError:
        token, column = tokens[at]
        said = repr(token) if token else "the end"
        return ConfigError(f"segment {segment}: rule = {text!r}: column {column}: {said}: expected {expected}")

    def number() -> int:
        nonlocal at
        if not re.fullmatch(r"[0-9]{1,10}", tokens[at][0]) or int(tokens[at][0]) > NUMBER_MAX:
            raise refuse(f"a whole number up to {NUMBER_MAX}")
        at += 1
        return int(tokens[at - 1][0])

    while True:
        measure = tokens[at][0]
        if measure not in MEASURES:
            near = difflib.get_close_matches(measure, MEASURES, 1)
            raise refuse(" | ".join(MEASURES) + (f"; did you mean {near[0]}?" if near else ""))
        at += 1
        operator = tokens[at][0]
        if operator == "between":
            at += 1
            low = number()
            if tokens[at][0] != "and":
                raise refuse("and")
            at += 1
            high = number()
            found.append(Condition(measure, low, high))
        elif operator in _OPERATORS:
            at += 1
            found.append(_condition(measure, operator, number()))
        else:
            raise refuse(" | ".join((*_OPERATORS, "between")))
        if found[-1].low > found[-1].high:
            at -= 1
            raise refuse("a range that holds a number")
        if not tokens[at][0]:
            return tuple(found)
        if tokens[at][0] != "and":
            raise refuse("and | the end")
        at += 1


def _condition(measure: str, operator: str, n: int) -> Condition:
    """One comparison as a range."""
    ends = {"=": (n, n), "!=": (n, n), "<": (0, n - 1), "<=": (0, n), ">": (n + 1, NUMBER_MAX), ">=": (n, NUMBER_MAX)}
    return Condition(measure, *ends[operator], apart=operator == "!=")


def evaluate(
    rules: Sequence[Rule],
    auctions: NDArray[Any],
    events: NDArray[Any],
    advertiser_id: Callable[[str], int],
    at_ns: int,
) -> dict[str, NDArray[np.uint64]]:
    """Who belongs to each rule's segment at `at_ns`: keys, ascending, by name of segment.

    auctions, events: rows of a ledger (AUCTION_ROW, EVENT_ROW); those at `at_ns` or later do not count.
    """
    events = events[(events["ts_ns"] < at_ns) & (events["person_key"] != 0)]
    met = auctions["person_key"][(auctions["ts_ns"] < at_ns) & (auctions["person_key"] != 0)]
    people = np.unique(np.concatenate((met, events["person_key"])))
    row_of = np.searchsorted(people, events["person_key"])
    found = {}
    for rule in rules:
        mine: NDArray[np.bool_] = np.ones(events.size, bool)
        if rule.advertiser:
            mine = events["advertiser"] == np.uint32(advertiser_id(rule.advertiser))
        belongs: NDArray[np.bool_] = np.ones(people.size, bool)
        for condition in rule.conditions:
            amount = _measure(condition.measure, rule, events, row_of, mine, people.size, at_ns)
            inside = (amount >= condition.low) & (amount <= condition.high)
            belongs &= (~inside if condition.apart else inside) & (amount != _NEVER)
        found[rule.segment] = people[belongs]
    return found


def renew(
    folder: Path,
    salt: bytes,
    rules: Sequence[Rule],
    auctions: NDArray[Any],
    events: NDArray[Any],
    advertiser_id: Callable[[str], int],
    at_ns: int,
) -> tuple[dict[str, int], table.Table]:
    """Evaluate the rules (`evaluate`) and write the result to the folder's `people.store`.

    Returns how many people belong to each rule's segment, and all that is known now. Raises PeopleError.
    """
    with kept.lock(folder):
        found = evaluate(rules, auctions, events, advertiser_id, at_ns)
        before = table.read(folder / table.STORE, salt)
        after = table.write(folder / table.STORE, salt, table.with_segments(before, found))
    return {name: int(keys.size) for name, keys in found.items()}, after


def _measure(
    measure: str,
    rule: Rule,
    events: NDArray[Any],
    row_of: NDArray[np.int64],
    mine: NDArray[np.bool_],
    n: int,
    at_ns: int,
) -> NDArray[np.int64]:
    """A measure of each of the `n` people; _NEVER where there was no last time."""
    kinds = _COUNTS.get(measure) or _DAYS[measure]
    rows = mine & np.isin(events["kind"], kinds)
    if measure in _COUNTS:
        if rule.within_days:
            rows &= events["ts_ns"] >= at_ns - rule.within_days * DAY_NS
        return np.bincount(row_of[rows], minlength=n)
    last: NDArray[np.int64] = np.full(n, -1, np.int64)
    np.maximum.at(last, row_of[rows], events["ts_ns"][rows])
    return np.where(last < 0, _NEVER, (at_ns - last) // DAY_NS)
