"""Rules become machine addresses: each function compiled alone, cached; one that numba refuses is called in Python."""

import ctypes
import warnings
from typing import Any

import numpy as np
from numba import from_dtype, types
from numba.core.ccallback import CFunc
from numba.core.errors import NumbaExperimentalFeatureWarning

from exchange import market as mk
from exchange.bidding.finding import Rule, RuleError

# a record with the knobs of one more rule begins like the library's, so a pointer to it serves kernels of both
warnings.filterwarnings("ignore", category=NumbaExperimentalFeatureWarning)
IMP_RECORD = from_dtype(mk.IMP)
RESULT_RECORD = from_dtype(mk.RESULT)


class _NotAnInt(TypeError):
    """A price that is of another type; its text is that type."""


class _Callback(CFunc):  # type: ignore[misc]
    """A C function that is compiled once: without a return type first, so that a float is seen before it is cut.

    What is in the cache has passed this check.
    """

    def _compile_uncached(self: Any) -> Any:
        wanted = self._sig.return_type
        compiled = self._compiler.compile(self._sig.args, None)
        inferred = compiled.signature.return_type
        if inferred == wanted:
            return compiled
        if wanted == types.int64 and not isinstance(inferred, (types.Integer, types.Boolean)):
            raise _NotAnInt(str(inferred))
        return self._compiler.compile(self._sig.args, wanted)


class Rules:
    """The compiled rules of a venue: `table` int64[n, 3] of addresses (price, learn, feedback or 0).

    `slow` names the rules that numba refused, with its reason; they run through Python. `faults` counts
    exceptions raised by those. The object must live as long as its addresses are used.
    """

    def __init__(self, rules: dict[str, Rule], dtype: np.dtype[np.void]) -> None:
        self.names: list[str] = []
        self.dtype = dtype
        self.table = np.zeros((max(1, len(rules)), 3), np.int64)
        self.slow: dict[str, str] = {}
        self.faults: dict[str, int] = {}
        self._alive: list[Any] = []
        self._record = from_dtype(dtype)
        for name, rule in rules.items():
            self.add(name, rule)

    def add(self, name: str, rule: Rule) -> int:
        """Compile one more rule, whose knobs the record has. Returns its row; raises RuleError."""
        addresses = self._addresses(name, rule, self.dtype, self._record)
        if len(self.names) == len(self.table):
            self.table = np.concatenate((self.table, np.zeros_like(self.table)))
        self.table[len(self.names)] = addresses
        self.names.append(name)
        return len(self.names) - 1

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
                compiled: Any = _Callback(function, (args, returns), {}, {})
                compiled.enable_caching()
                compiled.compile()
            except KeyError as error:
                raise RuleError(f"rule {name}: {part}() reads {error}, which is neither a knob nor a field") from None
            except _NotAnInt as error:
                raise RuleError(f"rule {name}: price() returns {error}, expected an int: wrap it in int(...)") from None
        self._alive.append(compiled)
        return int(compiled.address)

    def _wrap(self, name: str, part: str, function: Any, dtype: np.dtype[np.void]) -> int:
        """A C callback into Python for a rule numba refuses; an exception counts as no bid."""
        shapes = {"price": (None, mk.IMP, dtype), "learn": (None, mk.IMP, dtype, mk.RESULT)}.get(
            part, (dtype, None, None)
        )
        kinds = [ctypes.c_int64 if s is None else ctypes.c_void_p for s in shapes]
        # made once: a record type with attributes takes long for the knobs of a whole library
        records = [None if s is None else np.dtype((np.record, s)) for s in shapes]
        self.faults.setdefault(name, 0)

        def call(*args: Any) -> int:
            views = [a if s is None else _record_at(a, s) for a, s in zip(args, records, strict=True)]
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


def _record_at(address: int, record: np.dtype[Any]) -> Any:
    """The record at an address, with attributes that read and write it in place."""
    memory = (ctypes.c_char * record.itemsize).from_address(address)
    return np.frombuffer(memoryview(memory), dtype=record, count=1)[0]
