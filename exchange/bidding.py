"""What a bidding rule is, how it is found, and how rules become machine addresses that `sell` calls.

A rule is a class with `defaults` (its knobs) and plain static functions on plain attributes:
`price(value, imp, me) -> int`, `learn(value, imp, me, result)` and, if it wants, `feedback(me, kind, paid)`.
Each is compiled alone (`cfunc`, cached); their addresses sit in an int64 table, so compiling the exchange does
not depend on which rules are in use. A rule numba refuses is called through Python, slower; this is said at load.
"""

import ctypes
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import cfunc, from_dtype, njit, types
from numba.core.errors import NumbaExperimentalFeatureWarning
from numba.extending import intrinsic

from exchange import market as mk

# a record with the knobs of one more rule begins like the library's, so a pointer to it serves kernels of both
warnings.filterwarnings("ignore", category=NumbaExperimentalFeatureWarning)
Rule = type[Any]
LIBRARY: Final = "bidders"
GROUP: Final = "rentier.bidders"  # entry points under which an installed package offers rules: name -> module:Class
IMP_RECORD = from_dtype(mk.IMP)
RESULT_RECORD = from_dtype(mk.RESULT)


class RuleError(ValueError):
    """A rule that cannot be found or used; one line, with where it was looked for and the nearest name."""


# ---- finding -----------------------------------------------------------------------------------------------


def snake(name: str) -> str:
    """`FloorPlus` -> `floor_plus`: the name of a rule in a config."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def rules_in(module: ModuleType) -> dict[str, Rule]:
    """The rules a module defines, by config name."""
    return {
        snake(name): found
        for name, found in vars(module).items()
        if inspect.isclass(found) and found.__module__ == module.__name__ and hasattr(found, "price")
    }


def library() -> dict[str, Rule]:
    """Every built-in rule, by name, sorted."""
    package = importlib.import_module(LIBRARY)
    found: dict[str, Rule] = {}
    for info in pkgutil.iter_modules(package.__path__):
        if not info.ispkg:
            found.update(rules_in(importlib.import_module(f"{LIBRARY}.{info.name}")))
    return dict(sorted(found.items()))


@lru_cache(maxsize=1)
def installed() -> dict[str, list[EntryPoint]]:
    """The rules that installed packages offer under `GROUP`, by name; nothing of them is imported yet.

    Read once per process. A name that two packages offer, or that is built in, is refused when it is used.
    """
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        offers = found.setdefault(entry.name, [])
        if entry not in offers:  # one distribution seen twice, on two entries of sys.path
            offers.append(entry)
    return dict(sorted(found.items()))


def _offered(name: str, built_in: bool) -> str:
    """`module:Class` of a name that an installed package offers, "" when none does. Raises RuleError."""
    offers = installed().get(name, [])
    by = " and ".join(sorted({f"{e.dist.name} {e.dist.version}" if e.dist else e.value for e in offers}))
    if offers and built_in:
        raise RuleError(f"rule {name!r}: built in, and offered by {by} too: one name must mean one rule; rename theirs")
    if len(offers) > 1:
        raise RuleError(f"rule {name!r}: offered more than once, by {by}: uninstall one, or name it as pkg.mod:Class")
    if offers and not re.fullmatch(r"[\w.]+:\w+", offers[0].value):
        raise RuleError(f"rule {name!r}: entry point {offers[0].value!r} of {by}: expected module:Class")
    return offers[0].value if offers else ""


def resolve(name: str, folder: str = ".") -> Rule:
    """Find a rule by `built_in`, `installed`, `pkg.mod:Class` or `./file.py:Class` (relative to `folder`).

    `installed` is a name that an installed package offers as an entry point of `GROUP`. Raises RuleError.
    """
    built_in = library()
    offer = _offered(name, name in built_in)
    if name in built_in:
        return built_in[name]
    place, colon, attribute = (offer or name).rpartition(":")
    if not colon or not place or not attribute:
        others = f", nor among the installed ones ({', '.join(installed())})" if installed() else ""
        near = difflib.get_close_matches(name, [*built_in, *installed()], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RuleError(
            f"rule {name!r}: not among the built-in rules ({', '.join(built_in)}){others}, "
            f"and neither pkg.mod:Class nor ./file.py:Class{hint}"
        )
    module = _from_file(name, Path(folder) / place) if place.endswith(".py") else _from_package(name, place)
    found = getattr(module, attribute, None)
    if found is None or not hasattr(found, "price"):
        near = difflib.get_close_matches(attribute, [c.__name__ for c in rules_in(module).values()], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RuleError(f"rule {name!r}: {place} has no rule class {attribute!r}{hint}")
    if not isinstance(getattr(found, "defaults", None), dict):
        raise RuleError(f"rule {name!r}: {attribute}.defaults: expected a dict of its knobs, {{}} when it has none")
    return found  # type: ignore[no-any-return]


def _from_package(name: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise RuleError(f"rule {name!r}: module {place!r} cannot be imported from sys.path: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything; it becomes one line
        raise RuleError(f"rule {name!r}: module {place!r} failed: {type(error).__name__}: {error}") from error


def _from_file(name: str, path: Path) -> ModuleType:
    """Load a rule file under a stable unique module name: numba caches by that name across processes."""
    path = path.resolve()
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RuleError(f"rule {name!r}: no file {path}{hint}")
    unique = f"rentier_rule_{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise RuleError(f"rule {name!r}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything; it becomes one line
        del sys.modules[unique]
        raise RuleError(f"rule {name!r}: {path} failed to load: {type(error).__name__}: {error}") from error
    return module


# ---- the campaign's record ------------------------------------------------------------------------------------


def knob_type(rule: str, name: str, value: Any) -> tuple[str, str] | tuple[str, str, tuple[int, ...]]:
    """Field of a knob: int -> i8, float -> f8, a list of numbers -> a fixed-length array of f8 or i8."""
    if isinstance(value, bool) or not isinstance(value, (int, float, list, tuple, np.ndarray)):
        raise RuleError(f"rule {rule}: knob {name!r} = {value!r}: expected an int, a float or a list of numbers")
    if isinstance(value, (int, float)):
        if not -(2**63) <= value < 2**63:  # not so for nan either
            raise RuleError(f"rule {rule}: knob {name!r} = {value!r}: expected a number that fits 64 bits")
        return (name, "i8" if isinstance(value, int) else "f8")
    array = np.asarray(value)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "if":
        raise RuleError(f"rule {rule}: knob {name!r}: expected a flat list of numbers")
    return (name, "i8" if array.dtype.kind == "i" else "f8", (array.size,))


def campaign_dtype(rules: dict[str, Rule]) -> np.dtype[np.void]:
    """The record of a campaign: the fixed fields, the knobs of the whole library, then those of other rules.

    The library comes first and sorted, so that a config with built-in rules never changes the layout and
    nothing is compiled again. Raises RuleError when one knob name means two types, or shadows a field.
    """
    fixed = {name for name, _ in mk.CAMPAIGN_FIELDS}
    fields: dict[str, Any] = {}
    built_in = library()
    for group in (built_in, {n: r for n, r in rules.items() if r not in built_in.values()}):
        fresh: dict[str, Any] = {}
        for rule_name, rule in sorted(group.items()):
            for name, value in rule.defaults.items():
                field = knob_type(rule_name, name, value)
                if name in fixed:
                    raise RuleError(f"rule {rule_name}: knob {name!r} is a field of every campaign; rename it")
                if {**fields, **fresh}.setdefault(name, field) != field:
                    raise RuleError(f"rule {rule_name}: knob {name!r} is {field[1:]}, elsewhere {fields.get(name)}")
                fresh.setdefault(name, field)
        fields.update({n: fresh[n] for n in sorted(fresh) if n not in fields})
    return mk.shape([*mk.CAMPAIGN_FIELDS, *fields.values()])


def set_knobs(me: Any, rule_name: str, rule: Rule, knobs: dict[str, Any]) -> None:
    """Write a rule's defaults, then a config's overrides, into a campaign's record. Raises RuleError."""
    for name, value in knobs.items():
        if name not in rule.defaults:
            near = difflib.get_close_matches(name, rule.defaults, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise RuleError(
                f"rule {rule_name}: no knob {name!r}; it has {', '.join(sorted(rule.defaults)) or 'none'}{hint}"
            )
        default = rule.defaults[name]
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if knob_type(rule_name, name, value) != knob_type(rule_name, name, default):
            raise RuleError(f"rule {rule_name}: knob {name} = {value!r}: expected the type of its default {default!r}")
    for name, value in {**rule.defaults, **knobs}.items():
        me[name] = value


# ---- calling an address from compiled code -------------------------------------------------------------------


def _caller(returns: Any, *kinds: Any) -> Callable[..., Any]:
    """Code generation for a call through an address with the C types `kinds`; records travel as pointers."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = [k if k is not None else a.type for k, a in zip(kinds, args[1:], strict=True)]
        pointer = ir.FunctionType(returns, words).as_pointer()
        answer = builder.call(builder.inttoptr(args[0], pointer), list(args[1:]))
        return answer if returns != ir.VoidType() else context.get_dummy_value()

    return build


_I64 = ir.IntType(64)


@intrinsic
def _price_at(typingctx, address, value, imp, me):  # type: ignore[no-untyped-def]
    return types.int64(types.int64, types.int64, imp, me), _caller(_I64, _I64, None, None)


@intrinsic
def _learn_at(typingctx, address, value, imp, me, result):  # type: ignore[no-untyped-def]
    return types.void(types.int64, types.int64, imp, me, result), _caller(ir.VoidType(), _I64, None, None, None)


@intrinsic
def _feedback_at(typingctx, address, me, kind, paid):  # type: ignore[no-untyped-def]
    return types.void(types.int64, me, types.int64, types.int64), _caller(ir.VoidType(), None, _I64, _I64)


@njit(cache=True, nogil=True)
def money_of(me):  # type: ignore[no-untyped-def]
    """The fields of a campaign that no rule may change: a budget holds whatever a rule writes."""
    return me.available, me.spent, me.held, me.budget, me.daily, me.day_used, me.rule


@njit(cache=True, nogil=True)
def restore(me, money):  # type: ignore[no-untyped-def]
    """Undo what a rule wrote over `money_of(me)`."""
    me.available, me.spent, me.held, me.budget, me.daily, me.day_used, me.rule = money


@njit(cache=True, nogil=True)
def call_price(address, value, imp, me):  # type: ignore[no-untyped-def]
    """`price(value, imp, me)` of the rule at a machine address."""
    money = money_of(me)
    gross = _price_at(address, value, imp, me)
    restore(me, money)
    return gross


@njit(cache=True, nogil=True)
def call_learn(address, value, imp, me, result):  # type: ignore[no-untyped-def]
    """`learn(value, imp, me, result)` of the rule at a machine address."""
    money = money_of(me)
    _learn_at(address, value, imp, me, result)
    restore(me, money)


@njit(cache=True, nogil=True)
def call_feedback(address, me, kind, paid):  # type: ignore[no-untyped-def]
    """`feedback(me, kind, paid)` of a rule, if it has one (address not 0)."""
    if address != 0:
        money = money_of(me)
        _feedback_at(address, me, np.int64(kind), np.int64(paid))
        restore(me, money)


# ---- compiling -------------------------------------------------------------------------------------------------


class Rules:
    """The compiled rules of a venue: `table` int64[n, 3] of addresses (price, learn, feedback or 0).

    `slow` names the rules that numba refused, with its reason; they run through Python. `faults` counts
    exceptions raised by those. The object must live as long as its addresses are used.
    """

    def __init__(self, rules: dict[str, Rule], dtype: np.dtype[np.void]) -> None:
        self.names = list(rules)
        self.table = np.zeros((max(1, len(rules)), 3), np.int64)
        self.slow: dict[str, str] = {}
        self.faults: dict[str, int] = {}
        self._alive: list[Any] = []
        record = from_dtype(dtype)
        for row, (name, rule) in enumerate(rules.items()):
            self.table[row] = self._addresses(name, rule, dtype, record)

    def _addresses(self, name: str, rule: Rule, dtype: np.dtype[np.void], me: Any) -> list[int]:
        """Compile the functions of one rule, or wrap them for Python."""
        parts = [
            ("price", types.int64, (types.int64, IMP_RECORD, me)),
            ("learn", types.void, (types.int64, IMP_RECORD, me, RESULT_RECORD)),
            ("feedback", types.void, (me, types.int64, types.int64)),
        ]
        addresses = []
        for part, returns, args in parts:
            function = getattr(rule, part, None)
            if function is None and part == "feedback":
                addresses.append(0)
                continue
            if function is None:
                raise RuleError(f"rule {name}: it has no {part}(); a rule needs defaults, price and learn")
            try:
                addresses.append(self._compile(name, part, function, returns, args))
            except RuleError:
                raise
            except Exception as error:  # noqa: BLE001 - the compiler refuses with errors of many types
                lines = [line.strip() for line in str(error).splitlines()]
                said = (line for line in lines if line and not line.startswith("Failed in"))
                self.slow[name] = f"{part}(): {next(said, 'not compilable')}"[:160]
                addresses.append(self._wrap(name, part, function, dtype))
        return addresses

    def _compile(self, name: str, part: str, function: Any, returns: Any, args: tuple[Any, ...]) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if part == "price":
                    probe = njit(cache=True)(function)
                    probe.compile(args)
                    inferred = probe.overloads[args].signature.return_type
                    if not isinstance(inferred, (types.Integer, types.Boolean)):
                        raise RuleError(
                            f"rule {name}: price() returns {inferred}, expected an int: wrap it in int(...)"
                        )
                compiled = cfunc(returns(*args), cache=True)(function)
            except KeyError as error:
                raise RuleError(f"rule {name}: {part}() reads {error}, which is neither a knob nor a field") from None
        self._alive.append(compiled)
        return int(compiled.address)

    def _wrap(self, name: str, part: str, function: Any, dtype: np.dtype[np.void]) -> int:
        """A C callback into Python for a rule numba refuses; an exception counts as no bid."""
        shapes = {"price": (None, mk.IMP, dtype), "learn": (None, mk.IMP, dtype, mk.RESULT)}.get(
            part, (dtype, None, None)
        )
        kinds = [ctypes.c_int64 if s is None else ctypes.c_void_p for s in shapes]
        self.faults.setdefault(name, 0)

        def call(*args: Any) -> int:
            views = [a if s is None else _record_at(a, s) for a, s in zip(args, shapes, strict=True)]
            try:
                answer = function(*views)
                # what no price may be stays so in 64 bits
                return max(-1, min(int(answer), mk.PRICE_MAX_NANO + 1)) if part == "price" else 0
            except Exception:  # noqa: BLE001 - user code; counted, and the auction goes on without this bid
                self.faults[name] += 1
                return 0

        callback = ctypes.CFUNCTYPE(ctypes.c_int64 if part == "price" else None, *kinds)(call)
        self._alive.append(callback)
        return ctypes.cast(callback, ctypes.c_void_p).value or 0


def _record_at(address: int, dtype: np.dtype[np.void]) -> Any:
    """The record at an address, with attributes that read and write it in place."""
    memory = (ctypes.c_char * dtype.itemsize).from_address(address)
    return np.frombuffer(memoryview(memory), dtype=dtype, count=1).view(np.recarray)[0]
