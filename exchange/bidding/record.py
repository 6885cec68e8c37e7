"""The campaign's record: the fixed fields, then the knobs of all rules."""

import difflib
from functools import lru_cache
from typing import Any

import numpy as np

from exchange import market as mk
from exchange.bidding.finding import Rule, RuleError, library


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

    The library comes first and in a fixed order, so that a config with built-in rules never changes the layout and
    none of them is compiled again. The steps of the exchange know the fixed fields alone. Raises RuleError when one
    knob name means two types, or shadows a field.
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
        # numbers before arrays: what every auction reads stays in the first cache lines
        order = sorted(fresh, key=lambda name: (len(fresh[name]) > 2, name))
        fields.update({n: fresh[n] for n in order if n not in fields})
    return _shape((*mk.CAMPAIGN_FIELDS, *fields.values()))


@lru_cache
def _shape(fields: tuple[Any, ...]) -> np.dtype[np.void]:
    """One object for one layout: a call into compiled code knows that at a glance, an equal one only field by field."""
    return mk.shape(list(fields))


def check_record(dtype: np.dtype[np.void], rule_name: str, rule: Rule) -> None:
    """May a rule work on campaigns of this record: has it a field for every knob? Raises RuleError."""
    for name, value in rule.defaults.items():
        field = knob_type(rule_name, name, value)
        known = dtype.names is not None and name in dtype.names and name not in dict(mk.CAMPAIGN_FIELDS)
        if not known or dtype[name] != np.dtype([field])[name]:
            raise RuleError(
                f"rule {rule_name}: knob {name!r}: the campaigns of this run have no such field: expected "
                "a built-in rule, one of a campaign that was there at the start, or a restart"
            )


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
            raise RuleError(f"rule {rule_name}: knob {name} = {repr(value)[:60]}: expected {_kind_of(default)}")
    for name, value in {**rule.defaults, **knobs}.items():
        me[name] = value


def _kind_of(default: Any) -> str:
    """What a knob must be, in words: the type and length of its default."""
    if isinstance(default, (int, float)):
        return f"the type of its default {default!r}"
    kind = "integers" if np.asarray(default).dtype.kind == "i" else "floats"
    return f"a list of {len(default)} {kind}, as long as its default"
