"""The contract of a bidding rule, as one function that raises at the first difference: `check_rule(rule)`.

A rule is asked, taught and told over a grid of values, floors, contacts, draws, outcomes and knobs, once in plain
Python and once compiled, through the very addresses that an exchange calls. Source of the idea: Axelrod (the library
of strategies for the prisoner's dilemma), where one shared test holds every strategy to the same contract.
"""

import copy
import ctypes
import inspect
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from exchange import bidding
from exchange import market as mk
from exchange.bidding import Rule

NOW_NS: Final = 1_770_000_000 * mk.NANO
VALUES: Final = (0, 1, 999, 1_234_567, 10**9, mk.PRICE_MAX_NANO)
FLOORS: Final = (0, 1, 500_000, mk.PRICE_MAX_NANO)
CONTACTS: Final = (0, 1, 40)
DRAWS: Final = (0.0, 0.7310585786300049, 1 - 2**-53)
SCALES: Final = (1, 0, 1e-6, 3, 1_000)  # of the knobs' defaults
ARGUMENTS: Final = {"price": 3, "learn": 4, "feedback": 3}
ME: Final = {"available": 10**15, "spent": 5, "held": 0, "budget": 10**15, "asked": 3, "wins": 2}
TOLD: Final = (mk.KIND_IMPRESSION, mk.KIND_CLICK, mk.KIND_CONVERSION)  # what `feedback` hears of, billed or not
Fields = dict[str, Any]

_POINTER = ctypes.c_void_p
_PRICE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, _POINTER, _POINTER)
_LEARN = ctypes.CFUNCTYPE(None, ctypes.c_int64, _POINTER, _POINTER, _POINTER)
_FEEDBACK = ctypes.CFUNCTYPE(None, _POINTER, ctypes.c_int64, ctypes.c_int64)


def check_rule(rule: Rule) -> int:
    """Hold a rule to its contract over the whole grid. Returns the number of cases.

    It compiles; the same prices (an int) and the same knobs afterwards, to the bit, in both runtimes; `price` changes
    nothing; `learn` and `feedback` change knobs only. Raises AssertionError with the first difference: the case, what
    Python says and what compiled code says.
    """
    name = rule.__name__
    _check_shape(name, rule)
    try:
        dtype = bidding.campaign_dtype({name: rule})
        table = bidding.Rules({name: rule}, dtype)
    except bidding.RuleError as error:
        raise AssertionError(str(error)) from None
    for why in table.slow.values():
        raise AssertionError(f"{name}: it cannot be compiled, so it would run in Python, slower: {why}")
    price, learn, feedback = (int(address) for address in table.table[0])
    calls = _PRICE(price), _LEARN(learn), _FEEDBACK(feedback) if feedback else None
    n = 0
    for value, imp, knobs, result in cases(rule):
        try:
            _compare(rule, calls, dtype, value, imp, knobs, result)
        except AssertionError as error:
            shown = {knob: _short(number) for knob, number in knobs.items()}
            given = f"{name}: value {value}, imp {imp}, knobs {shown}, result {result}"
            raise AssertionError(f"{given}: {error}") from error.__cause__
        n += 1
    return n


def _compare(
    rule: Rule, calls: Any, dtype: np.dtype[np.void], value: int, imp: Fields, knobs: Fields, result: Fields
) -> None:
    """One case in both runtimes; raises AssertionError with the difference."""
    try:
        expected, learnt = _in_python(rule, value, imp, knobs, result)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"it raised {type(error).__name__}: {error}") from error
    found, me = _compiled(calls, dtype, value, imp, knobs, result)
    if found != expected:
        raise AssertionError(f"price() is {expected} in Python, {found} compiled")
    for knob, mine in learnt.items():
        at = _differs(mine, me[knob])
        if at is not None:
            raise AssertionError(f"afterwards {knob} is {at[0]} in Python, {at[1]} compiled")


def knob_grid(defaults: Fields) -> Iterator[Fields]:
    """Knob settings: the defaults, zero, small, large; a fresh copy of each."""
    for scale in SCALES:
        yield {name: _scaled(default, scale) for name, default in _plain(defaults).items()}


def _scaled(default: Any, scale: float) -> Any:
    """A knob times a number, of the type it had."""
    if isinstance(default, (list, tuple)):
        return [_scaled(x, scale) for x in default]
    return type(default)(default * scale)


def cases(rule: Rule) -> Iterator[tuple[int, Fields, Fields, Fields]]:
    """Every combination of value, floor, contacts, draw and knobs, with outcomes: (value, imp, knobs, result)."""
    for k, (value, floor, contacts, u) in enumerate(itertools.product(VALUES, FLOORS, CONTACTS, DRAWS)):
        imp = {"now": NOW_NS, "floor": floor, "u": u, "contacts": contacts, "size": 300 << 16 | 250, "media": 1}
        imp |= {"own": k // 2 % 2, "since_s": (-1, 0, 59, 86_400)[k % 4] if contacts else -1, "format": 1 + k % 2}
        imp |= {"pctr": (0.0, 1e-9, 0.0013, 1.0)[k // 3 % 4], "pcvr": (0.0, 0.02, 1.0)[k // 5 % 3], "hour": k % 24}
        for j, knobs in enumerate(knob_grid(rule.defaults)):
            won, least = (k + j) % 2 == 0, (0, 1, value // 2, value, mk.PRICE_MAX_NANO)[(k + j) % 5]
            result = {"won": won, "bid": value, "price": min(value, 777 * k) if won else 0, "min_to_win": least}
            yield value, imp, knobs, result


def plain_me(knobs: Fields) -> SimpleNamespace:
    """A campaign's record as a simple object, with knobs of its own: what a rule sees in plain Python."""
    return SimpleNamespace(**ME, **copy.deepcopy(knobs))


def _plain(defaults: Fields) -> Fields:
    """Defaults with arrays as lists of Python numbers."""
    return {name: d.tolist() if isinstance(d, np.ndarray) else d for name, d in defaults.items()}


def _differs(mine: Any, found: Any) -> tuple[Any, Any] | None:
    """The first number in which two knobs differ; two that are no numbers (nan) are equal. None: equal throughout."""
    pairs = zip(np.atleast_1d(np.asarray(mine, object)), np.atleast_1d(np.asarray(found.tolist(), object)), strict=True)
    return next(((a, b) for a, b in pairs if a != b and (a == a or b == b)), None)


def _short(knob: Any) -> Any:
    """A knob as it is shown: of an array the beginning."""
    return [*knob[:4], "..."] if isinstance(knob, list) and len(knob) > 4 else knob


def _check_shape(name: str, rule: Rule) -> None:
    """The parts of a rule: a dict of knobs, plain static functions with the right number of arguments."""
    if not isinstance(getattr(rule, "defaults", None), dict):
        raise AssertionError(f"{name}: defaults: expected a dict of its knobs, {{}} when it has none")
    for part, count in ARGUMENTS.items():
        function = getattr(rule, part, None)
        if function is None and part == "feedback":
            continue
        if not inspect.isfunction(function) or not isinstance(inspect.getattr_static(rule, part), staticmethod):
            raise AssertionError(f"{name}: {part}: expected a plain function under @staticmethod")
        found = len(inspect.signature(function).parameters)
        if found != count:
            raise AssertionError(f"{name}: {part}() takes {found} arguments, expected {count}")


def _in_python(rule: Rule, value: int, imp: Fields, knobs: Fields, result: Fields) -> tuple[int, Fields]:
    """Ask, teach and tell a rule in plain Python. Returns (price, knobs afterwards)."""
    me = plain_me(knobs)
    before = copy.deepcopy(vars(me))
    price = rule.price(value, SimpleNamespace(**imp), me)
    if type(price) is not int:
        raise AssertionError(f"price() returned {price!r}, expected an int: wrap it in int(...)")
    if vars(me) != before:
        raise AssertionError("price() changed `me`: only learn() and feedback() may")
    rule.learn(value, SimpleNamespace(**imp), me, SimpleNamespace(**result))
    if getattr(rule, "feedback", None) is not None:
        for kind in TOLD:
            rule.feedback(me, kind, result["price"])
    after = vars(me)
    for field, number in before.items():
        if field not in knobs and after[field] != number:
            raise AssertionError(f"it wrote me.{field}, which is not a knob")
    if after.keys() != before.keys():
        raise AssertionError(f"it wrote me.{(after.keys() - before.keys()).pop()}, which is not a knob")
    return price, {knob: after[knob] for knob in knobs}


def _compiled(
    calls: tuple[Any, Any, Any], dtype: np.dtype[np.void], value: int, imp: Fields, knobs: Fields, result: Fields
) -> tuple[int, Any]:
    """The same through machine addresses: (price, the campaign's record afterwards)."""
    imps, results, mes = np.zeros(1, mk.IMP), np.zeros(1, mk.RESULT), np.zeros(1, dtype)
    for array, fields in ((imps, imp), (results, result), (mes, {**ME, **knobs})):
        for field, number in fields.items():
            array[field] = number
    price, learn, feedback = calls
    seen, told, me = imps.ctypes.data, results.ctypes.data, mes.ctypes.data
    found = price(value, seen, me)
    learn(value, seen, me, told)
    if feedback is not None:
        for kind in TOLD:
            feedback(me, kind, result["price"])
    return found, mes[0]
