"""A request as integers: the vector `q` that the compiled match reads, int64.

    q[N_IMPS], q[IMPS]       how many imps; where their records begin
    q[LENGTH]                integers in use; segments are the last list, so that the people store can add to it
    q[BARRED], q[BARRED+1]   where the list of advertisers lies that the publisher refuses (badv, bseat); its length
    q[WANTED], q[WANTED+1]   the same for those it admits (wseat); length 0 = all
    q[SLOT[name]]            text, hours: number of the value (vocabulary.py); number: itself, or NO_NUMBER
    q[SLOT[name]], +1        set: where its list lies in q, its length; lists ascend, each value once; a set of
                             values nobody mentions is the list [OTHER]

An imp's record is IMP_WIDTH integers: the slots of level `imp`, in order. `select` copies one into the head, so that
every slot is at one place. The slots of level `advertiser` are written when a campaign is looked at; until then
they hold ANYTHING, which every leaf meets.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange.audience.attributes import ATTRIBUTES, NUMBER, SET
from exchange.audience.target import View, given
from exchange.audience.vocabulary import MISSING, OTHER, Vocabulary

N_IMPS: Final = 0
IMPS: Final = 1
LENGTH: Final = 2
BARRED: Final = 4
WANTED: Final = 6
FIRST_SLOT: Final = 8
LISTS_MAX: Final = 4_096  # integers of the lists of one request: segments, categories, advertisers barred
LISTS_PER_IMP_MAX: Final = 512  # and of one imp: sizes, deals, what is blocked
NO_NUMBER: Final = -(2**62)
ANYTHING: Final = NO_NUMBER - 1


def _slots() -> tuple[dict[str, int], dict[str, int]]:
    """Slot of each attribute, levels one after the other; and where each level begins."""
    slots: dict[str, int] = {}
    starts: dict[str, int] = {}
    at = FIRST_SLOT
    for level in ("request", "imp", "advertiser"):
        starts[level] = at
        for attribute in ATTRIBUTES:
            if attribute.level == level:
                slots[attribute.name] = at
                at += 2 if attribute.kind == SET else 1
    starts["end"] = at
    return slots, starts


SLOT, _STARTS = _slots()
IMP_SLOTS: Final = _STARTS["imp"]
IMP_WIDTH: Final = _STARTS["advertiser"] - _STARTS["imp"]
ADVERTISER_SLOTS: Final = _STARTS["advertiser"]
HEAD: Final = _STARTS["end"]  # lists and imps begin here
OWN: Final = SLOT["own"]
CONTACTS: Final = SLOT["contacts"]
LAST_CONTACT_DAYS: Final = SLOT["last_contact_days"]
SEG: Final = SLOT["seg"]
FIT: Final = SLOT["fit"]
BLOCKED: Final = SLOT["blocked"]


def query_max(imps_max: int) -> int:
    """Room for the longest query of `imps_max` imps; who writes one cuts its lists to what is left."""
    return HEAD + imps_max * (IMP_WIDTH + LISTS_PER_IMP_MAX) + LISTS_MAX


def numbers_of(vocabulary: Vocabulary, attribute: str, values: Iterable[str]) -> list[int]:
    """The numbers of a set's values as a query lists them: ascending; [OTHER] when all are unmentioned."""
    found = set()
    ids = vocabulary.ids[attribute]
    anything = False
    for value in values:
        anything = True
        number = ids.get(value)
        if number is not None:
            found.add(number)
    return sorted(found) if found else [OTHER] if anything else []


def blank() -> list[int]:
    """The head of a query that states nothing."""
    head = [0] * HEAD
    for attribute in ATTRIBUTES:
        if attribute.kind == NUMBER:
            head[SLOT[attribute.name]] = ANYTHING if attribute.level == "advertiser" else NO_NUMBER
    return head


def query_of(
    vocabulary: Vocabulary,
    view: View,
    imps: Sequence[View],
    barred: Sequence[int] = (),
    wanted: Sequence[int] = (),
) -> NDArray[np.int64]:
    """The query of a person (the request-level part of `view`) and imps, from views; for tests, reach and replays."""
    q = blank()
    q[N_IMPS] = len(imps)
    lists: list[tuple[int, list[int]]] = [(BARRED, list(barred)), (WANTED, list(wanted))]
    records: list[list[int]] = []
    _write(q, 0, vocabulary, view, "request", lists)
    for imp in imps:
        record = q[IMP_SLOTS:ADVERTISER_SLOTS]
        mine: list[tuple[int, list[int]]] = []
        _write(record, IMP_SLOTS, vocabulary, imp, "imp", mine)
        for at, numbers in mine:
            record[at], record[at + 1] = len(q), len(numbers)
            q += numbers
        records.append(record)
    q[IMPS] = len(q)
    for record in records:
        q += record
    for at, numbers in sorted(lists, key=lambda each: each[0] == SEG):
        q[at], q[at + 1] = len(q), len(numbers)
        q += numbers
    q[LENGTH] = len(q)
    return np.array(q, np.int64)


def _write(
    to: list[int], first: int, vocabulary: Vocabulary, view: Mapping[str, Any], level: str, lists: list[Any]
) -> None:
    """Write the slots of one level; `first` is the slot that to[0] stands for."""
    for attribute in ATTRIBUTES:
        if attribute.level != level:
            continue
        at, name = SLOT[attribute.name] - first, attribute.name
        if attribute.kind == SET:
            numbers = numbers_of(vocabulary, name, given(name, view))
            lists.append((at, [] if name == "blocked" and numbers == [OTHER] else numbers))  # none of ours is barred
        elif attribute.kind == NUMBER:
            number = view.get(name)
            to[at] = NO_NUMBER if number is None else number
        else:
            to[at] = next((_number(vocabulary, name, value) for value in given(name, view)), MISSING)


def _number(vocabulary: Vocabulary, name: str, value: str | int) -> int:
    if isinstance(value, int):
        return vocabulary.id(name, value)
    return vocabulary.ids[name].get(value, OTHER)
