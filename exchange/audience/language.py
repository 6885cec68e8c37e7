"""The targeting language: `country in [FR] and (seg one of [suv] or age < 30)` becomes a tree, then clauses.

    target = [ either ]
    either = both { "or" both }
    both   = factor { "and" factor }
    factor = "not" factor | "(" either ")" | "@" name | "own" | attribute condition

docs/targeting.md has the conditions, the attributes and examples. What a leaf means is in target.py, how a tree
becomes clauses in normal.py, the way back to text in text.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NoReturn

from exchange.audience.attributes import BY_NAME, HOURS, NUMBER, SET, TEXT, WORDS
from exchange.audience.normal import (
    ALL_HOURS,
    ALWAYS,
    ANY_NUMBER,
    CLAUSES_MAX,
    Contradiction,
    apart,
    clauses_of,
    complement,
    joined,
)
from exchange.audience.target import FAR, And, Leaf, Not, Or, Target, Tree, leaves_of
from exchange.audience.text import Explained, explain, leaf_text, tree_text
from exchange.audience.words import (
    DEPTH_MAX,
    LEAVES_MAX,
    NESTING_MAX,
    Reader,
    TargetError,
    Token,
    bare_domain,
    hours_of,
    nearest,
    size_of,
)

__all__ = [
    "CLAUSES_MAX", "OPERATORS", "Explained", "TargetError", "bare_domain", "explain", "leaf_text", "parse",
    "read_target", "size_of", "tree_text",
]  # fmt: skip

_EITHER_WAY: Final = ("is missing", "is present")
OPERATORS: Final[dict[str, tuple[str, ...]]] = {
    TEXT: ("in", "not in", "=", "!=", *_EITHER_WAY),
    SET: ("one of", "none of", "all of", "in", "not in", *_EITHER_WAY),
    NUMBER: ("<", "<=", ">", ">=", "=", "!=", "between", "not between", "in", "not in", *_EITHER_WAY),
    HOURS: ("in", "not in", "between", "not between", "=", "!=", *_EITHER_WAY),
}
OF_DOMAIN: Final = ("under", "not under")
_SPLIT: Final = {op: tuple(op.split()) for ops in (*OPERATORS.values(), OF_DOMAIN) for op in ops}
_REFUSING: Final = ("not in", "none of", "!=", "not between", "not under")
CONFLICTS_SHOWN: Final = 4
STARTS: Final = (*WORDS, "not", "(", "@name")


class _Known:
    """What parsers of one target share: the named audiences, those read so far, and what may be asked."""

    def __init__(self, audiences: Mapping[str, str], relative: bool) -> None:
        self.audiences, self.relative = audiences, relative
        self.read: dict[str, _Parser] = {}


class _Parser(Reader):
    """One pass over one text.

    placed: the token each leaf came from, leaves as they are once negation is pushed to them; deepest: the most
    parentheses around a leaf; negative: whether an odd number of `not` stands before what is read.
    """

    def __init__(self, text: str, known: _Known, within: tuple[str, ...] = ()) -> None:
        super().__init__(text, within)
        self.known = known
        self.placed: dict[Leaf, Token] = {}
        self.n_leaves = self.deepest = 0
        self.negative = False
        self.result: Tree = ALWAYS
        if self.coming.kind != "end":
            self.result = self.either(0)
            if self.coming.kind != "end":
                self.expected(self.coming, ("and", "or"))

    def either(self, depth: int) -> Tree:
        """Parts joined by `or`."""
        parts = [self.both(depth)]
        while self.take("or"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else joined(Or, parts)

    def both(self, depth: int) -> Tree:
        """Parts joined by `and`."""
        parts = [self.factor(depth)]
        while self.take("and"):
            parts.append(self.factor(depth))
        return parts[0] if len(parts) == 1 else joined(And, parts)

    def factor(self, depth: int) -> Tree:
        """One part, with `not` before it or without."""
        start, negated, outside = self.coming, False, self.negative
        while self.take("not"):
            negated = not negated
        self.negative = outside != negated
        token = self.next()
        if token.kind == "sign" and token.text == "(":
            if depth == DEPTH_MAX:
                self.fail(token, f"parentheses nested more than {DEPTH_MAX} deep")
            found = self.either(depth + 1)
            if not self.take(")"):
                self.expected(self.coming, (")", "and", "or"))
        elif token.kind == "name":
            found = self.named(token, depth)
        elif token.kind == "word" and token.text in WORDS:
            found = self.leaf(token)
            self.place(token, found, leaves_of(found))
        else:
            self.expected(token, STARTS, "unknown attribute" if token.kind == "word" else "unexpected")
        self.deepest, self.negative = max(self.deepest, depth), outside
        if not negated:
            return found
        if found == ALWAYS:
            self.fail(start, "`not` of everyone is nobody")
        return found.part if isinstance(found, Not) else Not(found)

    def place(self, token: Token, tree: Tree, leaves: Iterable[Leaf]) -> None:
        """Note where the leaves of a tree come from; refuse what is beyond the limit."""
        self.n_leaves += sum(1 for _ in leaves_of(tree))
        if self.n_leaves > LEAVES_MAX:
            self.fail(token, f"more than {LEAVES_MAX} leaves (`all of` counts one per value)")
        for leaf in leaves:
            self.placed.setdefault(complement(leaf) if self.negative else leaf, token)

    def named(self, token: Token, depth: int) -> Tree:
        """The tree of a named audience; each text is read once, whatever the nesting."""
        name, known = token.text, self.known
        path = (*self.within, name)
        if name in self.within:
            self.fail(token, f"@{name} refers to itself: {' -> '.join(f'@{each}' for each in path)}")
        if name not in known.audiences:
            near = nearest(name, sorted(known.audiences))
            hint = f"; did you mean @{near}?" if near else ""
            self.fail(token, f"unknown audience @{name}{hint} ([audiences] names {len(known.audiences)})")
        if len(path) > NESTING_MAX:
            self.fail(token, f"audiences nested more than {NESTING_MAX} deep")
        if name not in known.read:
            known.read[name] = _Parser(known.audiences[name], known, path)
        inner = known.read[name]
        self.place(token, inner.result, inner.placed)
        if depth + inner.deepest > DEPTH_MAX:
            self.fail(token, f"parentheses nested more than {DEPTH_MAX} deep, named audiences expanded")
        self.deepest = max(self.deepest, depth + inner.deepest)
        return inner.result

    # ---- leaves ------------------------------------------------------------------------------------------------

    def leaf(self, token: Token) -> Tree:
        """One condition, after its attribute."""
        name = token.text
        attribute = BY_NAME[name]
        if attribute.level == "advertiser" and not self.known.relative:
            self.fail(token, f"`{name}` depends on the advertiser who asks, and here there is none")
        if name == "own":
            return Leaf("own", ((1, 1),))
        ops = (*OPERATORS[attribute.kind], *(OF_DOMAIN if name == "domain" else ()))
        for op in ops:
            if self.take(*_SPLIT[op]):
                return self.condition(name, attribute.kind, op)
        return self.no_operator(name, ops)

    def no_operator(self, name: str, ops: Sequence[str]) -> NoReturn:
        """Raise for what stands where an operator should."""
        token = self.coming
        after = self.tokens[min(self.ix + 1, len(self.tokens) - 1)]
        near = nearest(f"{token.text} {after.text}", ops) or nearest(token.text, ops)
        got = "the end" if token.kind == "end" else f"`{token.text}`"
        hint = f"; did you mean `{near}`?" if near else ""
        self.fail(token, f"after `{name}` {got}: expected {' | '.join(ops)}{hint}")

    def condition(self, name: str, kind: str, op: str) -> Tree:
        """The leaf of an attribute and an operator, whose values come next; several for `all of`."""
        if op == "is missing":
            return Leaf(name, (), missing=True)
        if op == "is present":
            if kind in (NUMBER, HOURS):
                return Leaf(name, ANY_NUMBER if kind == NUMBER else ALL_HOURS)
            return Leaf(name, (), negated=True)
        if kind in (NUMBER, HOURS):
            wanted = self.ranges(name, op) if kind == NUMBER else self.hours(op)
            return complement(wanted) if op in _REFUSING else wanted
        if op in OF_DOMAIN:
            name = "under"
        tokens = [self.one()] if op in ("=", "!=") else self.listed(name)
        values = tuple(dict.fromkeys(self.value(name, token) for token in tokens))
        if op == "all of":
            return joined(And, [Leaf(name, (value,)) for value in values])
        refusing = op in _REFUSING
        return Leaf(name, values, refusing, refusing)

    def ranges(self, name: str, op: str) -> Leaf:
        """The numbers that an operator names, `not` aside."""
        if op in ("in", "not in"):
            return Leaf(name, apart((number, number) for number in self.numbers(name)))
        token = self.coming
        low = high = self.number(name)
        if op in ("between", "not between"):
            self.need("and")
            high = self.number(name)
            if low > high:
                self.fail(token, f"{name} between {token.text} and less: write the smaller number first")
        elif op == "<" or op == "<=":
            low, high = -FAR, high - (op == "<")
        elif op == ">" or op == ">=":
            low, high = low + (op == ">"), FAR
        return Leaf(name, ((low, high),))

    def hours(self, op: str) -> Leaf:
        """The hours of the week that an operator names, `not` aside."""
        if op in ("between", "not between"):
            first = self.hour()
            self.need("and")
            found = hours_of(range(7), first, self.hour())
        else:
            found = self.times()
        return Leaf("hour", tuple(sorted(found)))


def parse(text: str, audiences: Mapping[str, str] | None = None) -> Tree:
    """The tree of a target as written, named audiences expanded; empty text is everyone. Raises TargetError."""
    return _Parser(text, _Known(audiences or {}, True)).result


def read_target(text: str, audiences: Mapping[str, str] | None = None, relative: bool = True) -> Target:
    """Read a target and compile it to clauses; empty text is everyone, `@name` stands for that name in `audiences`.

    relative: may it ask what only an advertiser knows (own, contacts)? A reserve and an endpoint may not.
    Raises TargetError for anything unknown, malformed, beyond the limits of words.py, or that nobody can meet.
    """
    parser = _Parser(text, _Known(audiences or {}, relative))
    try:
        clauses = clauses_of(parser.result)
    except Contradiction as impossible:
        _refuse(parser, impossible.sets)
    return Target(text, parser.result, clauses)


def _refuse(parser: _Parser, conflicts: Sequence[Sequence[Leaf]]) -> NoReturn:
    """Say which leaves contradict each other, at the last leaf of the first conflict."""
    of_attribute = {leaf.attribute: token for leaf, token in parser.placed.items()}

    def place(leaf: Leaf) -> Token:
        return parser.placed.get(leaf) or of_attribute[leaf.attribute]

    in_order = [sorted(leaves, key=lambda leaf: place(leaf).at) for leaves in conflicts]
    texts = [" and ".join(f"`{leaf_text(leaf)}`" for leaf in leaves) for leaves in in_order[:CONFLICTS_SHOWN]]
    alone = " is never true" if len(conflicts) == len(conflicts[0]) == 1 else ""
    parser.fail(place(in_order[0][-1]), f"contradiction: {'; '.join(texts)}{alone}")
