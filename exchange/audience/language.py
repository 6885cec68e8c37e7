"""The targeting language: a sentence such as `country in [FR, BE] and seg one of [suv]` becomes a Target.

A Target is a tuple of leaves that must all hold. Leaves on an attribute the request lacks: `in`, `between`,
`one of`, `all of`, `own` are false, `not in`, `none of`, `not own` are true (weak negation, as in Whang et
al. 2009, Indexing Boolean Expressions). An imp offers several sizes and media: `in` asks for one of the
listed, `not in` for none of them. docs/targeting.md has the grammar and examples. Evaluation here is plain
Python over a view of one person and imp: the engine of `rentier explain` and the twin of the compiled index.
"""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple, NoReturn, TypedDict

from msgspec import Struct

from exchange.audience import target as tg
from exchange.openrtb.codes import DEVICES, MEDIA

TEXT_MAX: Final = 65_536  # characters of one target
LEAVES_MAX: Final = 64  # of one target, named audiences expanded
VALUES_MAX: Final = 1_000  # in one list
VALUE_MAX_CHARS: Final = 253
INCLUDES_MAX: Final = 64  # lists of segments a person must be in; `all of` counts one per segment
NESTING_MAX: Final = 16  # named audiences within named audiences

IN: Final = ("in", "not in")
SEG: Final = ("one of", "all of", "none of")
OPS: Final[dict[str, tuple[str, ...]]] = {
    "seg": SEG,
    "country": IN,
    "device": IN,
    "domain": IN,
    "size": IN,
    "media": IN,
    "hour": ("between",),
    "own": ("is", "is not"),
}
SINGLE: Final = ("country", "device", "domain")  # a request has at most one value
BAREWORD: Final = re.compile(r"[A-Za-z0-9_.:/-]+")
TOKEN: Final = re.compile(r'\s*(?:(?P<word>[A-Za-z0-9_.:/-]+)|"(?P<quoted>[^"\n]*)"|@(?P<name>[\w.-]+)|(?P<sign>\S))')
SIZE: Final = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


class TargetError(ValueError):
    """A target that cannot be used: a one-line message with line:column; `detail` adds line and caret."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail or message


class Leaf(Struct, frozen=True):
    """One condition: attribute, operator of OPS, values in normal form (an hour range is its two ends)."""

    attribute: str
    op: str
    values: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The leaf as the language writes it."""
        if self.attribute == "own":
            return "own" if self.op == "is" else "not own"
        if self.attribute == "hour":
            return f"hour between {self.values[0]} and {self.values[1]}"
        listed = ", ".join(v if BAREWORD.fullmatch(v) else f'"{v}"' for v in self.values)
        return f"{self.attribute} {self.op} [{listed}]"


Target = tuple[Leaf, ...]


class View(TypedDict, total=False):
    """What a target may ask of one person and imp; an absent key, None or an empty set is a missing value."""

    seg: Collection[str]
    country: str | None  # two letters, upper case
    device: str | None  # a name of codes.DEVICES
    domain: str | None
    sizes: Collection[str]  # offered by the imp, "300x250"
    media: Collection[str]  # offered by the imp, names of codes.MEDIA
    hour: int | None  # local, 0..23; None or -1 = unknown
    own: bool  # on the advertiser's own list


class _Token(NamedTuple):
    kind: str  # word | quoted | name | sign | end
    text: str
    at: int


def bare_domain(domain: str) -> str:
    """A domain in lower case without a leading `www.` and a trailing dot."""
    return domain.strip().lower().removesuffix(".").removeprefix("www.")


def size_of(text: str) -> int:
    """`300x250` as width << 16 | height."""
    w, h = text.split("x")
    return int(w) << 16 | int(h)


def hours_of(leaf: Leaf) -> set[int]:
    """The local hours of a `between` leaf, both ends included; from > to wraps over midnight."""
    first, last = int(leaf.values[0]), int(leaf.values[1])
    return {hour % 24 for hour in range(first, (last if first <= last else last + 24) + 1)}


# ---- evaluation --------------------------------------------------------------------------------------------


def leaf_holds(leaf: Leaf, view: View) -> bool:
    """Whether one leaf is true of this person and imp."""
    if leaf.attribute == "own":
        return bool(view.get("own")) == (leaf.op == "is")
    if leaf.attribute == "hour":
        return view.get("hour") in hours_of(leaf)
    key = "sizes" if leaf.attribute == "size" else leaf.attribute
    given: object = view.get(key)
    present: set[str] = {given} if isinstance(given, str) else set(given or ())  # type: ignore[call-overload]
    present.discard("")
    if leaf.attribute == "domain":
        present = {domain.lower().removeprefix("www.") for domain in present}
    if leaf.op == "all of":
        return present.issuperset(leaf.values)
    return present.isdisjoint(leaf.values) == (leaf.op in ("not in", "none of"))


def explain(target: Target, view: View) -> list[tuple[str, bool]]:
    """Every leaf as text and whether it holds, in the order of the target."""
    return [(leaf.text, leaf_holds(leaf, view)) for leaf in target]


def holds(target: Target, view: View) -> bool:
    """Whether the person and imp belong to the audience: all leaves hold."""
    return all(leaf_holds(leaf, view) for leaf in target)


# ---- parsing -----------------------------------------------------------------------------------------------


def parse(text: str, audiences: Mapping[str, str] | None = None) -> Target:
    """Read a target; empty text is everyone, `@name` stands for the text of that name in `audiences`.

    Equal leaves are kept once. Raises TargetError for anything unknown, malformed, beyond the limits atop
    this file, or contradictory.
    """
    return _Parser(text, audiences or {}, {}, ()).target()


class _Parser:
    """One pass over one text. `within` is the path of named audiences that led here."""

    def __init__(
        self, text: str, audiences: Mapping[str, str], cache: dict[str, Target], within: tuple[str, ...]
    ) -> None:
        self.text, self.audiences, self.cache, self.within = text, audiences, cache, within
        if len(text) > TEXT_MAX:
            raise TargetError(f"{self._where()}a target of {len(text)} characters: at most {TEXT_MAX}")
        self.tokens = []
        for found in TOKEN.finditer(text):
            kind = found.lastgroup or "sign"
            self.tokens.append(_Token(kind, found[kind], found.start(kind) - (kind in ("quoted", "name"))))
        self.tokens.append(_Token("end", "", len(text.rstrip())))
        self.ix = 0

    def _where(self) -> str:
        return f"in @{' in @'.join(reversed(self.within))}: " if self.within else ""

    def fail(self, token: _Token, message: str) -> NoReturn:
        """Raise with the place of the token."""
        before = self.text[: token.at]
        line, column = before.count("\n") + 1, token.at - before.rfind("\n")
        source = self.text.split("\n")[line - 1] if self.text else ""
        one_line = f"{self._where()}{line}:{column}: {message}"
        raise TargetError(one_line, f"{one_line}\n  {source}\n  {' ' * (column - 1)}^")

    def expected(self, token: _Token, words: Sequence[str], what: str = "") -> NoReturn:
        """Raise for a token that is none of the words, with the nearest one."""
        got = "the end" if token.kind == "end" else f"`{token.text}`"
        near = difflib.get_close_matches(token.text, words, 1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        self.fail(token, f"{what or 'unexpected'} {got}: expected {' | '.join(words)}{hint}")

    def next(self) -> _Token:
        """Take one token."""
        token = self.tokens[self.ix]
        self.ix = min(self.ix + 1, len(self.tokens) - 1)
        return token

    def take(self, *texts: str) -> bool:
        """Take these words or signs if they come next."""
        coming = self.tokens[self.ix : self.ix + len(texts)]
        found = tuple(t.text for t in coming) == texts and all(t.kind in ("word", "sign") for t in coming)
        self.ix += len(texts) * found
        return found

    def target(self) -> Target:
        """The whole text: leaves joined by `and`."""
        if self.tokens[0].kind == "end":
            return ()
        placed: dict[Leaf, _Token] = {}
        while True:
            token = self.tokens[self.ix]
            for leaf in self.leaves():
                placed.setdefault(leaf, token)
            if len(placed) > LEAVES_MAX:
                self.fail(token, f"more than {LEAVES_MAX} leaves")
            if self.tokens[self.ix].kind == "end":
                break
            if not self.take("and"):
                token = self.tokens[self.ix]
                if token.text == "or":
                    self.fail(token, "`or` is not supported: a target is leaves joined by `and`")
                self.expected(token, ["and"])
        self.check(placed)
        return tuple(placed)

    def leaves(self) -> Target:
        """One leaf, or those of a named audience."""
        token = self.next()
        if token.kind == "name":
            return self.named(token)
        if token.kind == "sign" and token.text in "()":
            self.fail(token, "parentheses are not supported: a target is leaves joined by `and`")
        if token.kind == "word" and token.text == "not":
            if self.take("own"):
                return (Leaf("own", "is not"),)
            self.fail(token, "`not` stands before `own` only: write `country not in [..]`, `seg none of [..]`")
        if token.kind != "word" or token.text not in OPS:
            self.expected(token, [*OPS, "not own", "@name"], "unknown attribute")
        if token.text == "own":
            return (Leaf("own", "is"),)
        for op in OPS[token.text]:
            if self.take(*op.split()):
                return (self.hour() if op == "between" else Leaf(token.text, op, self.values(token.text)),)
        return self.expected(self.tokens[self.ix], OPS[token.text], f"after `{token.text}`")

    def named(self, token: _Token) -> Target:
        """The leaves of a named audience; each text is read once, whatever the nesting."""
        path = (*self.within, token.text)
        if token.text in self.within:
            self.fail(token, f"@{token.text} refers to itself: {' -> '.join(f'@{name}' for name in path)}")
        if token.text not in self.audiences:
            known = sorted(self.audiences)
            near = difflib.get_close_matches(token.text, known, 1)
            hint = f"; did you mean @{near[0]}?" if near else ""
            self.fail(token, f"unknown audience @{token.text}{hint} ([audiences] names {len(known)})")
        if len(path) > NESTING_MAX:
            self.fail(token, f"audiences nested more than {NESTING_MAX} deep")
        if token.text not in self.cache:
            inner = _Parser(self.audiences[token.text], self.audiences, self.cache, path)
            self.cache[token.text] = inner.target()
        return self.cache[token.text]

    def hour(self) -> Leaf:
        """The range of `hour between 8 and 20`."""
        ends = []
        for i in range(2):
            token = self.next()
            if token.kind != "word" or not re.fullmatch(r"[01]?\d|2[0-3]", token.text, re.ASCII):
                self.fail(token, f"hour `{token.text}`: expected 0..23")
            ends.append(str(int(token.text)))
            if i == 0 and not self.take("and"):
                self.expected(self.tokens[self.ix], ["and"])
        return Leaf("hour", "between", tuple(ends))

    def values(self, attribute: str) -> tuple[str, ...]:
        """The values of a list in brackets, each in normal form, once."""
        opening = self.tokens[self.ix]
        if not self.take("["):
            self.expected(opening, ["["])
        if self.take("]"):
            self.fail(opening, f"empty list of `{attribute}`: leave the leaf out, or name a value")
        found: dict[str, None] = {}
        while True:
            token = self.next()
            if token.kind not in ("word", "quoted") or not token.text.strip():
                self.expected(token, ["a value"])
            found[self.value(attribute, token)] = None
            if self.take("]"):
                break
            if not self.take(","):
                self.expected(self.tokens[self.ix], [",", "]"])
        if len(found) > VALUES_MAX:
            self.fail(opening, f"a list of {len(found)} values: at most {VALUES_MAX}")
        return tuple(found)

    def value(self, attribute: str, token: _Token) -> str:
        """One value in normal form, checked against what the attribute can be."""
        text = token.text.strip()
        if len(text) > VALUE_MAX_CHARS:
            self.fail(token, f"a value of {len(text)} characters: at most {VALUE_MAX_CHARS}")
        if attribute == "country":
            if not re.fullmatch("[A-Za-z]{2}", text):
                self.fail(token, f"country `{text}`: expected two letters (ISO 3166-1 alpha-2), such as FR")
            return text.upper()
        if attribute == "domain":
            text = bare_domain(text)
            if not text or re.search(r"[/\s:]", text):
                self.fail(token, f"domain `{token.text}`: expected a domain without scheme, port and path")
            return text
        if attribute == "size":
            found = SIZE.fullmatch(text.lower())
            if not found or max(int(found[1]), int(found[2])) > 65_535:
                self.fail(token, f"size `{text}`: expected width x height in pixels, such as 300x250")
            return text.lower()
        choices = {"device": DEVICES, "media": tuple(MEDIA.values())}.get(attribute)
        if choices and text not in choices:
            self.expected(token, choices, attribute)
        return text

    def check(self, placed: Mapping[Leaf, _Token]) -> None:
        """Refuse a target that nobody can meet, naming the leaves, and one beyond what the index holds."""
        last = list(placed.values())[-1]
        includes = sum(len(leaf.values) if leaf.op == "all of" else leaf.op == "one of" for leaf in placed)
        if includes > INCLUDES_MAX:
            self.fail(
                last,
                f"{includes} segment conditions (`all of` counts one per segment): at most {INCLUDES_MAX}",
            )
        for attribute in OPS:
            leaves = [leaf for leaf in placed if leaf.attribute == attribute]
            if not _possible(attribute, leaves):
                pair = next((pair for pair in combinations(leaves, 2) if not _possible(attribute, pair)), leaves)
                self.fail(placed[pair[-1]], f"contradiction: {' and '.join(f'`{leaf.text}`' for leaf in pair)}")
        sizes = [leaf for leaf in placed if leaf.attribute == "size" and leaf.op == "in"]
        if len(sizes) > 1:
            self.fail(placed[sizes[1]], f"`{sizes[1].text}` after `{sizes[0].text}`: write one list of sizes")


def _possible(attribute: str, leaves: Sequence[Leaf]) -> bool:
    """Whether some person and imp meet all these leaves of one attribute."""
    if attribute == "own":
        return len({leaf.op for leaf in leaves}) < 2
    if attribute == "hour":
        return not leaves or bool(set(range(24)).intersection(*map(hours_of, leaves)))
    refused = {value for leaf in leaves if leaf.op in ("not in", "none of") for value in leaf.values}
    wanted = [set(leaf.values) for leaf in leaves if leaf.op in ("in", "one of")]
    wanted += [{value} for leaf in leaves if leaf.op == "all of" for value in leaf.values]
    if attribute in SINGLE and wanted:
        wanted = [set.intersection(*wanted)]
    return all(values - refused for values in wanted)


def read_target(text: str, audiences: Mapping[str, str] | None = None, relative: bool = True) -> tg.Target:
    """Read a target and compile it to clauses; empty text is everyone, `@name` stands for that name in `audiences`.

    relative: may it ask what only an advertiser knows (own, contacts)? A reserve and an endpoint may not.
    Raises TargetError.
    """
    leaves = parse(text, audiences)
    if not relative and any(leaf.attribute == "own" for leaf in leaves):
        raise TargetError("`own` asks about an advertiser's own list, and here there is no advertiser")
    made = tuple(part for leaf in leaves for part in _parts(leaf))
    return tg.Target(text, tg.And(made), (tg.Clause(made),))


def _parts(leaf: Leaf) -> Sequence[tg.Leaf]:
    if leaf.attribute == "own":
        return [tg.Leaf("own", ((1, 1),) if leaf.op == "is" else ((0, 0),), missing=leaf.op != "is")]
    if leaf.attribute == "hour":
        hours = tuple(24 * day + hour for day in range(7) for hour in sorted(hours_of(leaf)))
        return [tg.Leaf("hour", hours)]
    if leaf.op == "all of":
        return [tg.Leaf("seg", (value,)) for value in leaf.values]
    negated = leaf.op in ("not in", "none of")
    return [tg.Leaf(leaf.attribute, leaf.values, negated, negated)]
