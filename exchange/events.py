"""`POST /events`: what became of awards, told by a server that holds the key for it.

    {"events": [{"token": "...", "event": "refund", "amount": 0.5, "number": 1}, ...]}

A body is taken whole or not at all: one that cannot be read changes nothing and every problem is named. What can be
read is carried out event by event, in order, each with an answer of its own (market/life.py). Tokens never expire here.
"""

import contextlib
from collections.abc import Sequence
from decimal import Context, Decimal, DecimalException, Inexact
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, Final, NamedTuple

import msgspec

from exchange import market as mk
from exchange.links import BadToken, Links
from exchange.market import life

EVENTS_MAX: Final = 1_000
PROBLEMS_MAX: Final = 20  # that one refusal names
EVENTS: Final = {
    "impression": mk.KIND_IMPRESSION,
    "click": mk.KIND_CLICK,
    "conversion": mk.KIND_CONVERSION,
    "opt_in": mk.KIND_OPT_IN,
    "opt_out": mk.KIND_OPT_OUT,
    "refund": mk.KIND_REFUND,
}
_KEYS: Final = ("token", "event", "amount", "number")
_DECODE: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_EXACT: Final = Context(prec=40, traps=[Inexact])  # an amount that a context rounds would be another, or none at all
_SHOWN: Final = 80  # characters of a value that a problem repeats


class Posted(NamedTuple):
    """One event that was posted: for the award of `token`; amount (0 = all that is left) and number of a refund."""

    kind: int
    token: str
    amount_nano: int
    number: int


class Problem(NamedTuple):
    """What cannot be used: where, what stands there, what was expected."""

    path: str
    value: str
    reason: str


class BadEvents(ValueError):  # noqa: N818 - named for what it is
    """A body that cannot be carried out; `problems` says why, at most PROBLEMS_MAX."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems; the message is the first."""
        super().__init__(f"{problems[0].path} = {problems[0].value}: {problems[0].reason}")
        self.problems = problems


def key_of(salt: bytes) -> str:
    """The key that whoever posts events must show: 64 hexadecimal digits, from the ledger's salt."""
    return blake2b(key=salt, person=b"rentier events", digest_size=32).hexdigest()


def may_post(authorization: bytes, key: str) -> bool:
    """Is this the header `Authorization: Bearer KEY` with the right key."""
    scheme, _, given = authorization.partition(b" ")
    return scheme.lower() == b"bearer" and compare_digest(given.strip(), key.encode())


def read(body: bytes, links: Links) -> list[Posted]:
    """The events of a body. Raises BadEvents with every problem: format, tokens that are not ours, amounts, numbers."""
    try:
        found = _DECODE(body)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise BadEvents([Problem("$", _text(body[:_SHOWN]), f"expected JSON: {error}")]) from None
    if not isinstance(found, dict) or set(found) != {"events"} or not isinstance(found["events"], list):
        raise BadEvents([Problem("$", _text(found), 'expected {"events": [...]}')])
    given = found["events"]
    if not 1 <= len(given) <= EVENTS_MAX:
        raise BadEvents([Problem("events", f"{len(given)} events", f"expected 1 to {EVENTS_MAX:,}")])
    problems: list[Problem] = []
    posted = [_event(each, f"events[{k}]", links, problems) for k, each in enumerate(given)]
    if problems:
        raise BadEvents(problems[:PROBLEMS_MAX])
    return posted


def _event(given: Any, path: str, links: Links, problems: list[Problem]) -> Posted:
    """One event, its problems added to those found."""
    if not isinstance(given, dict):
        problems.append(Problem(path, _text(given), "expected an object with token and event"))
        return Posted(0, "", 0, 0)
    for key in given.keys() - set(_KEYS):
        problems.append(Problem(f"{path}.{_text(key)}", _text(given[key]), f"expected one of {', '.join(_KEYS)}"))
    kind = 0
    if isinstance(name := given.get("event"), str) and name in EVENTS:
        kind = EVENTS[name]
    else:
        problems.append(Problem(f"{path}.event", _text(name), f"expected one of {', '.join(EVENTS)}"))
    token = given.get("token")
    try:
        links.read(token if isinstance(token, str) else "")
    except BadToken as error:
        reason = f"expected the token of an award of this ledger: {error}"
        problems.append(Problem(f"{path}.token", _text(token), reason))
    if kind and kind != mk.KIND_REFUND:
        for key in ("amount", "number"):
            if key in given:
                problems.append(Problem(f"{path}.{key}", _text(given[key]), "expected only where event is refund"))
        return Posted(kind, str(token), 0, 0)
    amount_nano = _amount(given.get("amount"), f"{path}.amount", problems)
    number = given.get("number", 1)
    if type(number) is not int or not 1 <= number <= life.REFUNDS_MAX:
        reason = f"expected a whole number, 1 to {life.REFUNDS_MAX}: 1 for the award's first refund, 2 for its second"
        problems.append(Problem(f"{path}.number", _text(number), reason))
    return Posted(kind, str(token), amount_nano, number)


def _amount(given: Any, path: str, problems: list[Problem]) -> int:
    """An amount of the ledger's currency in nano, exactly; 0 where none is given."""
    if given is None:
        return 0
    most = mk.BUDGET_MAX_NANO // mk.NANO
    if type(given) in (int, Decimal) and 0 < given <= most:  # before it is scaled: 1e400 is a number, too
        with contextlib.suppress(DecimalException):
            nano = Decimal(given).scaleb(9, _EXACT)
            if nano == int(nano) > 0:
                return int(nano)
    reason = f"expected a number above 0, at most {most:,}, with at most 9 decimals; without it all that is left"
    problems.append(Problem(path, _text(given), reason))
    return 0


def _text(value: Any) -> str:
    """A value as a problem repeats it, cut."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "replace")
    else:
        text = str(value) if isinstance(value, (str, Decimal)) else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def outcome(answer: int) -> str:
    """What became of an event, as one of metrics.POST_OUTCOMES: recorded, unpaid, or why nothing was recorded."""
    if answer > 0:
        return "unpaid" if answer == mk.KIND_UNPAID else "recorded"
    return life.ANSWERS[answer][0]


def said(answers: Sequence[int]) -> bytes:
    """The body of the reply: for each event its outcome, the kind recorded, or the reason why it was refused."""
    outcomes: list[dict[str, str]] = []
    for answer in answers:
        word = outcome(answer)
        if answer > 0:
            outcomes.append({"outcome": word, "kind": mk.KINDS[answer]})
        elif answer in life.REFUSALS:
            outcomes.append({"outcome": "refused", "refusal": word, "reason": life.ANSWERS[answer][1]})
        elif answer == life.UNKNOWN:
            outcomes.append({"outcome": word, "reason": life.ANSWERS[answer][1]})
        else:
            outcomes.append({"outcome": word})
    return msgspec.json.encode({"outcomes": outcomes})
