"""Random targets as text, random people and imps, and the compiled answer, for the tests of the language."""

import numpy as np
from hypothesis import strategies as st
from numba import njit

from exchange.audience.attributes import BY_NAME, CONNECTIONS, GENDERS, POSITIONS
from exchange.audience.query import CONTACTS, LAST_CONTACT_DAYS, NO_NUMBER, OWN, query_of
from exchange.audience.targets import Targets, match, meets, select
from exchange.openrtb.codes import DEVICES, MEDIA

VALUES = {
    "country": ("FR", "BE", "DE"),
    "region": ("IDF", "Flandre du nord"),
    "city": ("Lyon", "Gent"),
    "metro": ("501", "502"),
    "publisher": ("p1", "p2", "p3"),
    "domain": ("a.org", "b.a.org", "c.b.a.org", "b.org"),
    "app": ("com.x", "com.y"),
    "device": DEVICES,
    "os": ("ios", "android"),
    "browser": ("firefox", "chrome"),
    "language": ("fr", "nl"),
    "connection": CONNECTIONS[:4],
    "carrier": ("one", "two, three"),
    "gender": GENDERS,
    "seg": ("s0", "s1", "s2", "s 3"),
    "category": ("IAB1", "IAB1-2", "IAB2"),
    "position": POSITIONS[:3],
    "size": ("300x250", "728x90", "320x50"),
    "media": tuple(MEDIA.values()),
    "deal": ("d0", "d1", "d2"),
}
NUMBERS = {
    "age": ("18", "25", "26", "40"),
    "viewability": ("0", "50", "69.99", "70", "70.5"),
    "floor": ("0.25", "0.250001", "1", "2.5"),
    "contacts": ("0", "1", "3"),
    "last_contact_days": ("0", "7", "30"),
}
SETS = ("seg", "category", "size", "media", "deal")
TIMES = (
    "8..20", "22..5", "weekdays(8..20)", "weekend", "mon(8..12, 14)", "[sat(0..12), sun(22..3)]", "daily(0..23)",
    "[7, fri(23)]", "[weekdays(1..22), weekend(1..22)]",
)  # fmt: skip


def listed(name):
    """A list of values in brackets."""
    quoted = [f'"{value}"' for value in VALUES[name]]
    return st.lists(st.sampled_from(quoted), min_size=1, max_size=4).map(lambda found: f"[{', '.join(found)}]")


def texts(name):
    """Leaves on one attribute as text."""
    if name == "own":
        return st.sampled_from(["own", "not own"])
    either_way = st.sampled_from([f"{name} is missing", f"{name} is present"])
    if name == "hour":
        ops = st.sampled_from(["in", "not in"])
        ends = st.tuples(st.sampled_from(["between", "not between"]), st.integers(0, 23), st.integers(0, 23))
        return st.one_of(
            st.tuples(ops, st.sampled_from(TIMES)).map(lambda x: f"hour {x[0]} {x[1]}"),
            ends.map(lambda x: f"hour {x[0]} {x[1]} and {x[2]}"),
            either_way,
        )
    if name in NUMBERS:
        one, ops = st.sampled_from(NUMBERS[name]), ("<", "<=", ">", ">=", "=", "!=", "<", ">=")
        pair = st.lists(one, min_size=2, max_size=2).map(lambda two: sorted(two, key=float))
        return st.one_of(
            st.tuples(st.sampled_from(ops), one).map(lambda x: f"{name} {x[0]} {x[1]}"),
            pair.map(lambda x: f"{name} between {x[0]} and {x[1]}"),
            pair.map(lambda x: f"{name} not between {x[0]} and {x[1]}"),
            st.tuples(st.sampled_from(["in", "not in"]), pair).map(lambda x: f"{name} {x[0]} [{', '.join(x[1])}]"),
            either_way,
        )
    ops = ["one of", "none of", "all of", "in", "not in"] if name in SETS else ["in", "not in", "in", "not in"]
    ops += ["under", "not under"] * (name == "domain")
    plain = st.tuples(st.sampled_from(ops), listed(name)).map(lambda x: f"{name} {x[0]} {x[1]}")
    strong = listed(name).map(lambda x: f"({name} is present and {name} not in {x})")
    return st.one_of(plain, plain, plain, strong, either_way)


FEW = st.sampled_from(["seg", "seg", "country", "device", "age", "hour", "domain", "media", "own"])
ANY = st.sampled_from([*VALUES, *NUMBERS, "hour", "own"])
LEAVES = st.one_of(FEW, FEW, ANY).flatmap(texts)


def _grown(inner):
    both = st.tuples(st.sampled_from([" and ", " or "]), st.lists(inner, min_size=2, max_size=4))
    return st.one_of(both.map(lambda x: f"({x[0].join(x[1])})"), inner.map(lambda x: f"not ({x})"))


TREES = st.recursive(LEAVES, _grown, max_leaves=12)
# Ands of ors: most are beyond CLAUSES_MAX when multiplied out.
WIDE = st.lists(st.lists(LEAVES, min_size=2, max_size=4).map(" or ".join), min_size=4, max_size=9).map(
    lambda parts: " and ".join(f"({part})" for part in parts)
)
EXPRESSIONS = st.one_of(TREES, TREES, TREES, WIDE)


def _stated(name):
    if name in NUMBERS:
        scale = BY_NAME[name].scale
        near = sorted({round(float(x) * scale) + d for x in NUMBERS[name] for d in (-1, 0, 1)} - {-1})
        return st.sampled_from([None, *near])
    if name == "hour":
        return st.one_of(st.none(), st.integers(0, 167))
    if name == "own":
        return st.integers(0, 1)
    closed = bool(BY_NAME[name].values)
    if name in SETS:
        return st.lists(st.sampled_from([*VALUES[name], *([] if closed else ["?"])]), max_size=4, unique=True)
    return st.sampled_from([None, "", *VALUES[name], *VALUES[name], *([] if closed else ["?.zz"])])


VIEWS = st.fixed_dictionaries({}, optional={name: _stated(name) for name in [*VALUES, *NUMBERS, "hour", "own"]})


@njit(cache=True, nogil=True)
def _ask(a, homes, n, out):  # type: ignore[no-untyped-def]
    """Match, and out[c, 1]: does the target hold, with what depends on the advertiser counted as true."""
    record = a[0]
    select(record, 0)
    match(record)
    for c in range(n):
        out[c, 1] = meets(record, homes[c])


@njit(cache=True, nogil=True)
def _ask_known(a, homes, n, out):  # type: ignore[no-untyped-def]
    record = a[0]
    for c in range(n):
        out[c, 0] = meets(record, homes[c])


class Asker:
    """Targets compiled once, asked about many views."""

    def __init__(self, targets):
        self.targets = Targets(max(1, len(targets)), 1, 4096)
        self.n = len(targets)
        for c, target in enumerate(targets):
            self.targets.put(c, target)
        self.targets.alive[:] = ~np.uint64(0)

    def __call__(self, view):
        """Per target: holds, matches (what depends on the advertiser counts as true)."""
        mine = self.targets
        q = query_of(mine.vocabulary, view, [view])
        mine.query[: q.size] = q
        out = np.zeros((self.n, 2), np.bool_)
        _ask(mine.record, mine.homes, self.n, out)
        bits = np.unpackbits(mine.found.view(np.uint8), bitorder="little")[: self.n].astype(bool)
        assert (bits == out[:, 1]).all(), "match and meets differ"
        for slot, name in ((OWN, "own"), (CONTACTS, "contacts"), (LAST_CONTACT_DAYS, "last_contact_days")):
            number = view.get(name)
            mine.query[slot] = NO_NUMBER if number is None else int(number)
        _ask_known(mine.record, mine.homes, self.n, out)
        return out.tolist()
