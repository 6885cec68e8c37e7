"""Calling a rule at its machine address from compiled code, so that compiling the exchange does not depend on rules."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic


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
