"""Reading the targeting language: its limits, its tokens, its values, and errors that show the place."""

import difflib
import re
from collections.abc import Sequence
from typing import Final, NamedTuple, NoReturn

from exchange.audience.attributes import BY_NAME, WEEK_HOURS, WEEKDAYS
from exchange.openrtb.countries import ALPHA_2, ALPHA_3

TEXT_MAX: Final = 65_536  # characters of one target
LEAVES_MAX: Final = 256  # of one target, named audiences expanded; `all of` counts one per value
VALUES_MAX: Final = 1_000  # in one list
VALUE_MAX_CHARS: Final = 253
NESTING_MAX: Final = 16  # named audiences within named audiences
DEPTH_MAX: Final = 64  # parentheses around a leaf, named audiences expanded
NUMBER_MAX: Final = 1_000_000_000

BAREWORD: Final = re.compile(r"[\w.:/-]+")
TOKEN: Final = re.compile(
    r'\s*(?:(?P<word>[\w.:/-]+)|"(?P<quoted>[^"\n]*)"|@(?P<name>[\w.-]+)|(?P<sign>[<>=!]=|<>|=[<>]|\S))'
)
SIZE: Final = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)
NUMBER_TEXT: Final = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)
HOUR: Final = re.compile(r"[01]?\d|2[0-3]", re.ASCII)
DAYS: Final[dict[str, tuple[int, ...]]] = {
    "daily": tuple(range(7)),
    "weekdays": tuple(range(5)),
    "weekend": (5, 6),
    **{name: (day,) for day, name in enumerate(WEEKDAYS)},
}
# What people write who know other languages, and what it is called here.
ELSEWHERE: Final = {
    "==": "=", "<>": "!=", "=>": ">=", "=<": "<=",
    "&": "and", "|": "or", "!": "not", "any": "one of", "all": "all of", "none": "none of",
    "segment": "seg", "segments": "seg", "site": "domain", "bundle": "app", "geo": "country", "format": "media",
    "to": "and", "null": "missing",
}  # fmt: skip
# Codes of languages that are no country's, and the country that is meant.
_LANGUAGES: Final = {"EN": "GB", "EL": "GR", "JA": "JP", "KO": "KR", "ZH": "CN", "CS": "CZ", "DA": "DK"}


class TargetError(ValueError):
    """A target that cannot be used: a one-line message with line:column; `detail` adds line and caret."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail or message


class Token(NamedTuple):
    """A piece of the text: word, quoted, name (after @), sign or end; `at` is where it begins."""

    kind: str
    text: str
    at: int


def bare_domain(domain: str) -> str:
    """A domain in lower case without a leading `www.` and a trailing dot."""
    return domain.strip().lower().removesuffix(".").removeprefix("www.")


def size_of(text: str) -> int:
    """`300x250` as width << 16 | height."""
    w, h = text.split("x")
    return int(w) << 16 | int(h)


def nearest(text: str, words: Sequence[str]) -> str:
    """The word that was probably meant; "" when none is near."""
    known = ELSEWHERE.get(text.lower(), "")
    if known in words:
        return known
    by_lower = {word.lower(): word for word in words}
    near = difflib.get_close_matches(text.lower(), list(by_lower), 1)
    return by_lower[near[0]] if near else ""


class Reader:
    """The tokens of one text, taken from left to right. `within` is the path of named audiences that led here."""

    def __init__(self, text: str, within: tuple[str, ...] = ()) -> None:
        self.text, self.within = text, within
        if len(text) > TEXT_MAX:
            raise TargetError(f"{self.where()}1:1: a target of {len(text)} characters: at most {TEXT_MAX}")
        self.tokens = []
        for found in TOKEN.finditer(text):
            kind = found.lastgroup or "sign"
            self.tokens.append(Token(kind, found[kind], found.start(kind) - (kind in ("quoted", "name"))))
        self.tokens.append(Token("end", "", len(text.rstrip())))
        self.ix = 0

    def where(self) -> str:
        """`in @inner in @outer: `, or nothing outside named audiences."""
        return f"in @{' in @'.join(reversed(self.within))}: " if self.within else ""

    def fail(self, token: Token, message: str) -> NoReturn:
        """Raise with the place of the token."""
        before = self.text[: token.at]
        line, column = before.count("\n") + 1, token.at - before.rfind("\n")
        source = self.text.split("\n")[line - 1]
        one_line = f"{self.where()}{line}:{column}: {message}"
        raise TargetError(one_line, f"{one_line}\n  {source}\n  {' ' * (column - 1)}^")

    def expected(self, token: Token, words: Sequence[str], what: str = "unexpected") -> NoReturn:
        """Raise for a token that is none of the words, with the nearest one."""
        got = "the end" if token.kind == "end" else f"`{token.text}`"
        near = nearest(token.text, words)
        hint = f"; did you mean `{near}`?" if near else ""
        self.fail(token, f"{what} {got}: expected {' | '.join(words)}{hint}")

    @property
    def coming(self) -> Token:
        """The token that comes next."""
        return self.tokens[self.ix]

    def next(self) -> Token:
        """Take one token; the end stays."""
        token = self.tokens[self.ix]
        self.ix = min(self.ix + 1, len(self.tokens) - 1)
        return token

    def take(self, *texts: str) -> bool:
        """Take these words or signs if they come next."""
        coming = self.tokens[self.ix : self.ix + len(texts)]
        if coming[0].text != texts[0]:
            return False
        found = len(coming) == len(texts) and all(
            token.text == text and token.kind in ("word", "sign") for token, text in zip(coming, texts, strict=True)
        )
        self.ix += len(texts) * found
        return found

    def need(self, *words: str) -> None:
        """Take one of the words; raise when another comes."""
        if not any(self.take(word) for word in words):
            self.expected(self.coming, words)

    # ---- values ------------------------------------------------------------------------------------------------

    def listed(self, name: str) -> list[Token]:
        """The values in brackets, as tokens."""
        opening = self.coming
        self.need("[")
        if self.take("]"):
            self.fail(opening, f"empty list of `{name}`: leave the leaf out, or name a value")
        found = []
        while True:
            found.append(self.one())
            if self.take("]"):
                break
            self.need(",", "]")
        if len(found) > VALUES_MAX:
            self.fail(opening, f"a list of {len(found)} values: at most {VALUES_MAX}")
        return found

    def one(self) -> Token:
        """One value: a word, or anything in quotes."""
        token = self.next()
        if token.kind == "sign" and token.text == '"':
            self.fail(token, "a quote that is not closed in its line")
        if token.kind not in ("word", "quoted") or not token.text.strip():
            self.expected(token, ["a value"])
        return token

    def value(self, name: str, token: Token) -> str:
        """One text value in normal form, checked against what the attribute can be."""
        text = token.text.strip()
        if len(text) > VALUE_MAX_CHARS:
            self.fail(token, f"a value of {len(text)} characters: at most {VALUE_MAX_CHARS}")
        if name == "country":
            if not re.fullmatch("[A-Za-z]{2}", text):
                self.fail(token, f"country `{text}`: expected two letters (ISO 3166-1 alpha-2), such as FR")
            code = ALPHA_2.get(text.upper())
            if code is None:
                near = _LANGUAGES.get(text.upper()) or " | ".join(c for c in sorted(ALPHA_3) if c[0] == text[0].upper())
                hint = f"; did you mean {near}?" if near else ""
                self.fail(token, f"country `{text}`: expected a code of ISO 3166-1 alpha-2{hint}")
            return code
        if name == "language":
            if not re.fullmatch("[A-Za-z]{2}", text):
                self.fail(token, f"language `{text}`: expected two letters (ISO 639-1), such as fr")
            return text.lower()
        if name in ("domain", "under"):
            text = bare_domain(text)
            if not text or re.search(r"[/\s:]", text) or text.startswith("."):
                self.fail(token, f"domain `{token.text}`: expected a domain without scheme, port, path and leading dot")
            return text
        if name == "size":
            found = SIZE.fullmatch(text.lower())
            if not found or max(int(found[1]), int(found[2])) > 65_535:
                self.fail(token, f"size `{text}`: expected width x height in pixels, such as 300x250")
            return text.lower()
        if name in ("os", "browser", "carrier"):
            return text.lower()
        if name == "city":
            return text.casefold()
        if name in ("region", "category"):
            return text.upper()
        choices = BY_NAME[name].values
        if choices:
            if text.lower() not in choices:
                self.expected(token, choices, name)
            return text.lower()
        return text

    def number(self, name: str) -> int:
        """One number in the attribute's inner unit, exactly."""
        token, scale = self.next(), BY_NAME[name].scale
        digits = len(str(scale)) - 1
        found = NUMBER_TEXT.fullmatch(token.text) if token.kind == "word" else None
        if not found or int(found[1]) > NUMBER_MAX or len(found[1]) > len(str(NUMBER_MAX)):
            got = "the end" if token.kind == "end" else f"`{token.text}`"
            self.fail(token, f"{name} {got}: expected a number from 0 to {NUMBER_MAX:,}")
        fraction = (found[2] or "").rstrip("0")
        if len(fraction) > digits:
            least = f"at most {digits} decimals" if digits else "a whole number"
            self.fail(token, f"{name} `{token.text}`: expected {least}")
        return int(found[1]) * scale + int(fraction.ljust(digits, "0") or "0")

    def numbers(self, name: str) -> list[int]:
        """The numbers of a list in brackets."""
        opening = self.coming
        self.need("[")
        if self.take("]"):
            self.fail(opening, f"empty list of `{name}`: leave the leaf out, or name a value")
        found = [self.number(name)]
        while not self.take("]"):
            self.need(",", "]")
            found.append(self.number(name))
        if len(found) > VALUES_MAX:
            self.fail(opening, f"a list of {len(found)} values: at most {VALUES_MAX}")
        return found

    def hour(self) -> int:
        """An hour of the day."""
        token = self.next()
        if token.kind != "word" or not HOUR.fullmatch(token.text):
            self.fail(token, f"hour `{token.text}`: expected 0..23" if token.text else "hour: expected 0..23")
        return int(token.text)

    def times(self) -> set[int]:
        """Hours of the week: `weekdays(8..20)`, `sat`, `8..20` for every day, or a list of those in brackets."""
        opening = self.coming
        if not self.take("["):
            return self._time()
        if self.take("]"):
            self.fail(opening, "empty list of `hour`: leave the leaf out, or name a value")
        found = self._time()
        while not self.take("]"):
            self.need(",", "]")
            found |= self._time()
        return found

    def _time(self) -> set[int]:
        token = self.next()
        days = DAYS.get(token.text) if token.kind == "word" else None
        if days is None:
            if token.kind != "word" or not token.text[:1].isdigit():
                self.expected(token, [*DAYS, "8..20"], "hour in")
            return hours_of(DAYS["daily"], *self._span(token))
        if not self.take("("):
            return hours_of(days, 0, 23)
        found = hours_of(days, *self._span(self.next()))
        while not self.take(")"):
            self.need(",", ")")
            found |= hours_of(days, *self._span(self.next()))
        return found

    def _span(self, token: Token) -> tuple[int, int]:
        first, dots, last = token.text.partition("..")
        last = last if dots else first
        if token.kind != "word" or not HOUR.fullmatch(first) or not HOUR.fullmatch(last):
            got = "the end" if token.kind == "end" else f"`{token.text}`"
            self.fail(token, f"hours {got}: expected such as 8..20, each from 0 to 23")
        return int(first), int(last)


def hours_of(days: Sequence[int], first: int, last: int) -> set[int]:
    """Hours of the week from `first` to `last`, both included, on some days; first > last runs into the next day."""
    until = last if first <= last else last + 24
    return {(24 * day + hour) % WEEK_HOURS for day in days for hour in range(first, until + 1)}
