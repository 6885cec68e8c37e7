"""Read JSON that almost fits: the slow path behind the typed decoders.

Real exchanges send "320", 320.0, true, "" or null where OpenRTB wants 320 or nothing. `Reader` walks a decoded
JSON value along a Struct type (the types of model.py are the table of known fields) and gives back the Struct
and *every* problem, each with its path. The rules, in words:

1. null, and "" or [] where a number or an object is wanted, means absent.
2. Numbers in texts, whole floats and booleans become integers; integers become texts; one value where a list
   of plain values is wanted becomes a list of one.
3. A number outside its range, a missing required field, an object or a list of objects that is something else:
   a problem.
4. Any other value that cannot be understood: a problem where the auction needs the field (mark `must`), else
   the field is dropped and counted by its pattern.
"""

import math
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, Struct, inspect

PROBLEMS_MAX: Final = 64  # kept per request; a hostile one could have as many as it has bytes
HUGE: Final = 2**512  # an integer that is not even a double; text of such a one may be refused by Python
SHOWN_MAX: Final = 80  # characters of an offending value that are quoted back
_ABSENT: Final = object()  # the value means "not given"
_WRONG: Final = object()  # the value cannot be understood


class Problem(Struct, frozen=True):
    """One thing wrong with a request: where, what stood there, what was expected instead."""

    path: str
    value: Any
    reason: str


class Kind(Struct, frozen=True):
    """One field's type, flattened: what to expect and how sternly."""

    name: str  # int | float | str | list | object | any
    must: bool = False
    exact: bool = False
    as_json: bool = False
    low: float | None = None
    above: float | None = None  # exclusive low
    high: float | None = None
    least: int = 0  # characters or entries
    most: int | None = None
    item: "Kind | None" = None
    struct: Any = None

    @property
    def expected(self) -> str:
        """Say in words what would have been right."""
        if self.name == "str":
            length = f" of {max(self.least, 1)} to {self.most} characters" if self.least and self.most else ""
            length = length or (f" of at most {self.most} characters" if self.most else "")
            return "text" + length
        if self.name == "list" and self.item is not None:
            least = f" of at least {self.least}" if self.least else ""
            most = f" of at most {self.most}" if self.most and not least else ""
            return f"a list{least or most}, each {self.item.expected}"
        if self.name in ("int", "float"):
            noun = "an integer" if self.name == "int" else "a number"
            low = f">= {self.low:g}" if self.low is not None else f"> {self.above:g}" if self.above is not None else ""
            high = f"<= {int(self.high)}" if self.high is not None else ""
            return " ".join([noun, " and ".join(filter(None, [low, high]))]).strip()
        return "an object" if self.name == "object" else "a value"


class Member(Struct, frozen=True):
    """One field of a Struct: its name, kind, whether it is required and what it is when absent."""

    name: str
    kind: Kind
    required: bool
    default: Any


@cache
def members(struct: type[Struct]) -> tuple[Member, ...]:
    """Return the known fields of a Struct type, read once from its annotations."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return tuple(
        Member(f.name, _kind(f.type), f.required, None if f.default is NODEFAULT else f.default) for f in info.fields
    )


def _kind(info: Any) -> Kind:
    """Flatten a msgspec type description."""
    marks: dict[str, Any] = {}
    if isinstance(info, inspect.UnionType):
        rest = [t for t in info.types if not isinstance(t, inspect.NoneType)]
        info = rest[0]
    if isinstance(info, inspect.Metadata):
        marks = info.extra or {}
        info = info.type
    must, exact, as_json = (bool(marks.get(mark)) for mark in ("must", "exact", "json"))
    if isinstance(info, inspect.IntType | inspect.FloatType):
        name = "int" if isinstance(info, inspect.IntType) else "float"
        return Kind(name, must, exact, low=info.ge, above=info.gt, high=info.le)
    if isinstance(info, inspect.StrType):
        return Kind("str", must, exact, as_json, least=info.min_length or 0, most=info.max_length)
    if isinstance(info, inspect.VarTupleType | inspect.ListType):
        return Kind("list", must, least=info.min_length or 0, most=info.max_length, item=_kind(info.item_type))
    if isinstance(info, inspect.StructType):
        return Kind("object", True, struct=info.cls)
    return Kind("any")


class Reader:
    """One walk over one JSON value; afterwards `problems` and `dropped` (path patterns) say what was found."""

    def __init__(self) -> None:
        """Start with nothing found."""
        self.problems: list[Problem] = []
        self.dropped: list[str] = []

    def problem(self, path: str, value: Any, reason: str) -> None:
        """Keep a problem, up to PROBLEMS_MAX of them."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(path, shown(value), reason))

    def object(self, value: dict[str, Any], struct: type[Struct], path: str = "", pattern: str = "") -> Any:
        """Return `value` as `struct`; required fields that are missing are problems and stay blank."""
        fields: dict[str, Any] = {}
        dot = "." if path else ""
        for member in members(struct):
            here, there = f"{path}{dot}{member.name}", f"{pattern}{dot}{member.name}"
            given = value.get(member.name)
            got = _ABSENT if given is None else self.value(given, member.kind, here, there)
            if got is _WRONG:
                got = self._blank(member)
            elif got is _ABSENT:
                if member.required:
                    self.problem(here, given, f"missing or empty: expected {member.kind.expected}")
                got = self._blank(member)
            fields[member.name] = got
        return struct(**fields)

    def _blank(self, member: Member) -> Any:
        """Return what stands in for a field that is not there."""
        if not member.required:
            return member.default
        return {"str": "", "list": () if member.kind.name == "list" else None, "object": None}.get(member.kind.name, 0)

    def value(self, value: Any, kind: Kind, path: str, pattern: str) -> Any:
        """Return the value as its kind, or _ABSENT, or _WRONG after noting the problem or the drop."""
        if kind.name == "object":
            if isinstance(value, dict):
                return self.object(value, kind.struct, path, pattern)
            got: Any = _ABSENT if value in ("", []) else _WRONG
        elif kind.name == "list":
            return self._list(value, kind, path, pattern)
        else:
            got = _plain(value, kind)
        if got is _WRONG:
            return self._wrong(value, kind, path, pattern)
        if got is _ABSENT or kind.name in ("object", "any"):
            return got
        if kind.name == "str":
            if kind.most is not None and len(got) > kind.most:
                return self._wrong(value, kind, path, pattern)
            return _ABSENT if len(got) < kind.least else got
        if _outside(got, kind):
            self.problem(path, value, f"expected {kind.expected}")
            return _WRONG
        return got

    def _wrong(self, value: Any, kind: Kind, path: str, pattern: str) -> Any:
        """Note a value that cannot be understood: a problem where it is needed, else a drop."""
        if kind.must or (kind.name in ("int", "float") and isinstance(value, float) and not math.isfinite(value)):
            self.problem(path, value, f"expected {kind.expected}")
        elif len(self.dropped) < PROBLEMS_MAX:
            self.dropped.append(pattern)
        return _WRONG

    def _list(self, value: Any, kind: Kind, path: str, pattern: str) -> Any:
        """Return a tuple of the entries that can be used; entries that mean "absent" are left out."""
        item = kind.item
        assert item is not None
        if not isinstance(value, list):
            if value == "":
                return _ABSENT
            if item.name == "object" or isinstance(value, dict):
                return self._wrong(value, Kind("list", kind.must or item.must, item=item), path, pattern)
            got = self.value(value, item if item.must else msgspec.structs.replace(item, must=kind.must), path, pattern)
            return got if got is _ABSENT or got is _WRONG else (got,)
        if kind.most is not None and len(value) > kind.most:
            self.problem(path, f"{len(value)} entries", f"expected {kind.expected}")
            return _WRONG
        if kind.must and not item.must:
            item = msgspec.structs.replace(item, must=True)
        entries = []
        for ix, given in enumerate(value):
            if given is None and item.name != "object":
                continue
            got = _WRONG
            if given is None:
                self.problem(f"{path}[{ix}]", given, "expected an object")
            else:
                got = self.value(given, item, f"{path}[{ix}]", pattern + "[]")
            if got is not _ABSENT and got is not _WRONG:
                entries.append(got)
        if len(entries) < kind.least and len(value) < kind.least:
            self.problem(path, value, f"empty: expected {kind.expected}")
            return _WRONG
        if len(entries) < kind.least and not any(p.path.startswith(path) for p in self.problems):
            self.problem(path, value, f"no entry can be used: expected {kind.expected}")
        return tuple(entries)


def _outside(got: float, kind: Kind) -> bool:
    """Say whether a number lies outside its kind's range."""
    return (
        (kind.low is not None and got < kind.low)
        or (kind.above is not None and got <= kind.above)
        or (kind.high is not None and got > kind.high)
    )


def _plain(value: Any, kind: Kind) -> Any:
    """Convert a plain JSON value to an integer, number or text, by rule 1 and 2 above."""
    if kind.name == "any":
        return value
    if isinstance(value, int) and abs(value) >= HUGE or isinstance(value, float) and not math.isfinite(value):
        return _WRONG
    if kind.name == "str":
        if isinstance(value, str):
            return value if value.isascii() or encodable(value) else _WRONG
        if kind.as_json and isinstance(value, dict | list):
            return msgspec.json.encode(value).decode()
        if kind.exact or isinstance(value, bool | dict | list):
            return _WRONG
        return msgspec.json.encode(value).decode() if isinstance(value, int | float) else _WRONG
    if kind.exact or isinstance(value, dict):
        return _WRONG
    if isinstance(value, list):
        return _WRONG if value else _ABSENT  # what some languages write for an empty anything
    if isinstance(value, str):
        value = _number(value)
        if value is _ABSENT or value is _WRONG:
            return value
        if isinstance(value, float) and not math.isfinite(value):
            return _WRONG
    if kind.name == "float":
        return _WRONG if isinstance(value, bool) else float(value)
    return int(value) if value == int(value) else _WRONG


def _number(text: str) -> Any:
    """Read a number from a text: "" is absent, at most 64 characters, no hex, no underscores, no NaN."""
    text = text.strip()
    if not text:
        return _ABSENT
    if len(text) > 64 or not set(text) <= set("0123456789+-.eE"):
        return _WRONG
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return _WRONG


def encodable(text: str) -> bool:
    """Say whether a text can be written as UTF-8 (a lone surrogate cannot)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> Any:
    """Return a JSON value fit to be quoted back: small plain values as they are, the rest as a cut text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str):
        text = value
    elif isinstance(value, int) and abs(value) >= HUGE:
        text = f"an integer of {value.bit_length()} bits"
    else:
        text = repr(value) if isinstance(value, int | float) else _json_text(value)
    text = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
    return text.encode("utf-8", "replace").decode()


def _json_text(value: Any) -> str:
    """Write an object or list as JSON, whatever is in it."""
    try:
        return msgspec.json.encode(value).decode()
    except (ValueError, TypeError, RecursionError):
        return f"<{type(value).__name__}>"
