"""The learning rules in plain Python and compiled: the same bits where the contract's grid of knobs does not reach."""

from math import erfc, log
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit

from bidders.thompson import POWER
from exchange import bidding
from exchange import market as mk
from tests.test_rules_learning import LIBRARY, made


@njit(cache=True)
def compiled_values(x, u, out):  # type: ignore[no-untyped-def]
    """What these rules use beyond exp, log, sqrt and tanh."""
    for i in range(x.size):
        out[i, 0] = erfc(x[i])
        out[i, 1] = u[i] ** POWER


def test_the_mathematics_of_these_rules_is_the_same_to_the_bit():
    rng, n = np.random.default_rng(3), 20_000
    x, u, out = rng.normal(0, 1, n) * 10 ** rng.uniform(-3, 1, n), rng.random(n), np.zeros((n, 2))
    u[0] = 0.0
    compiled_values(x, u, out)
    assert out.tolist() == [[erfc(a), b**POWER] for a, b in zip(x.tolist(), u.tolist(), strict=True)]


@njit(cache=True)
def ask_all(addresses, values, imps, mes, results, prices):  # type: ignore[no-untyped-def]
    """price, learn and a click's feedback of one rule on each of many cases."""
    for i in range(values.size):
        prices[i] = bidding.call_price(addresses[0], values[i], imps[i], mes[i])
        bidding.call_learn(addresses[1], values[i], imps[i], mes[i], results[i])
        bidding.call_feedback(addresses[2], mes[i], 11, results[i].price)


@pytest.mark.parametrize(
    ("rule", "knobs"),
    [
        ("mirror_entropic", {"value_maximiser": 1}),
        ("mirror_euclidean", {"value_maximiser": 1}),
        ("shaded_logistic", {"mu": 0.7}),
        ("shaded_lognormal", {"mu": -0.7}),
        ("target_cpa", {"mu": 0.4}),
        ("target_roas", {"mu": 0.4}),
        ("thompson", {"shown": 700, "clicked": 9}),
    ],
)
def test_knobs_that_start_at_zero_are_the_same_in_both_runtimes(rule, knobs):
    """The grid of the contract test scales the defaults, and so leaves these at 0."""
    dtype = bidding.campaign_dtype({})
    table = bidding.Rules(LIBRARY, dtype)
    assert not table.slow
    n, rng, knobs = 2_000, np.random.default_rng(6), {**LIBRARY[rule].defaults, **knobs}
    mes, imps, results, prices = (np.zeros(n, d) for d in (dtype, mk.IMP, mk.RESULT, np.int64))
    values = np.exp(rng.uniform(0, log(mk.PRICE_MAX_NANO), n)).astype(np.int64)
    mes["available"], imps["u"], imps["pctr"], imps["pcvr"] = 10**15, rng.random(n), rng.random(n), rng.random(n) / 9
    imps["floor"], results["won"] = values * rng.random(n), rng.random(n) < 0.5
    results["bid"] = results["min_to_win"] = results["price"] = np.maximum(1, values * rng.random(n))
    results["min_to_win"] *= rng.random(n) < 0.7
    for name, knob_value in knobs.items():
        mes[name] = knob_value
    ask_all(table.table[list(LIBRARY).index(rule)], values, imps, mes, results, prices)
    for k in range(n):
        me = made(rule, **knobs)
        imp, result = (SimpleNamespace(**{f: r[k][f].item() for f in r.dtype.names}) for r in (imps, results))
        assert LIBRARY[rule].price(int(values[k]), imp, me) == prices[k]
        LIBRARY[rule].learn(int(values[k]), imp, me, result)
        if hasattr(LIBRARY[rule], "feedback"):
            LIBRARY[rule].feedback(me, 11, result.price)
        assert all(getattr(me, name) == mes[k][name] for name in knobs)
    assert len({*prices.tolist()}) > n // 4
