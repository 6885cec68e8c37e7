"""The contract check finds what it is there to find: each broken rule below fails it, with a line that says where."""

import re
from math import sqrt

import pytest

from exchange import contract
from exchange import market as mk
from exchange.contract import check_rule


class Good:
    """Keeps the contract with every kind of knob, and with feedback."""

    defaults = {"shade": 0.8, "target_nano": 3, "told": [0, 0], "marks": [0.5, 1.5, 2.5]}

    @staticmethod
    def price(value, imp, me):
        return int(value * min(me.shade, 1.0) * imp.u + me.marks[1] + sqrt(imp.pctr))

    @staticmethod
    def learn(value, imp, me, result):
        me.told[0] += 1 if result.won else 2
        me.marks[2] = me.shade * imp.contacts

    @staticmethod
    def feedback(me, kind, paid):
        me.told[1] += kind
        me.target_nano = paid


class Meddler(Good):
    """Writes a knob where it may only look."""

    @staticmethod
    def price(value, imp, me):
        me.shade = 0.5
        return value


class Thief(Good):
    """Writes money."""

    @staticmethod
    def learn(value, imp, me, result):
        me.available = 10**12


class Inventor(Good):
    """Writes a field that is nowhere declared."""

    @staticmethod
    def learn(value, imp, me, result):
        me.mood = 1.0


class Divider(Good):
    """Divides by a knob that may be zero."""

    @staticmethod
    def price(value, imp, me):
        return int(value / me.shade)


class Large(Good):
    """A product that does not fit 64 bits."""

    @staticmethod
    def price(value, imp, me):
        return value * value * 31 // (value * 31 + 1)


class Rounder(Good):
    """Writes a fraction into a whole knob."""

    @staticmethod
    def learn(value, imp, me, result):
        me.told[0] = me.shade * 3


class Overflow(Good):
    """Writes a number of more than 64 bits into a knob."""

    @staticmethod
    def learn(value, imp, me, result):
        me.told[0] = value * value


class Fraction(Good):
    """A float price."""

    @staticmethod
    def price(value, imp, me):
        return value * me.shade


class Wordy(Good):
    """What numba refuses."""

    @staticmethod
    def price(value, imp, me):
        return int(f"{value:d}")


class Method(Good):
    """Forgets @staticmethod."""

    def price(self, value, imp):
        return value


class Short(Good):
    """Takes too little."""

    @staticmethod
    def learn(value, imp, me):
        me.shade = 0.5


class Clickless(Good):
    """Did not think of clicks."""

    @staticmethod
    def feedback(me, kind, paid):
        me.marks[0] = 1.0 / (11 - kind)


class Barren(Good):
    """Did not think of conversions."""

    @staticmethod
    def feedback(me, kind, paid):
        me.marks[0] = 1.0 / (16 - kind)


class Bare:
    """Has no knobs and does not say so."""

    price = Good.price
    learn = Good.learn


def test_a_good_rule_passes() -> None:
    assert check_rule(Good) == 6 * 4 * 3 * 3 * 5


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Meddler, r"value 0, imp .*: price\(\) changed `me`"),
        (Thief, "it wrote me.available, which is not a knob"),
        (Inventor, "mood"),
        (Divider, "it raised ZeroDivisionError"),
        (Large, r"value 1000000000, .*: price\(\) is 999999999 in Python, -190112520 compiled"),
        (Rounder, r"afterwards told is 2.4\d* in Python, 2 compiled"),
        (Overflow, r"afterwards told is 1000000000000000000000000 in Python, -?\d+ compiled"),
        (Fraction, r"price\(\) returns float64, expected an int: wrap it in int"),
        (Wordy, r"it cannot be compiled, so it would run in Python, slower: price\(\): "),
        (Method, "price: expected a plain function under @staticmethod"),
        (Short, r"learn\(\) takes 3 arguments, expected 4"),
        (Clickless, "it raised ZeroDivisionError"),
        (Barren, "it raised ZeroDivisionError"),
        (Bare, "defaults: expected a dict of its knobs"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_broken_rule_is_told_what_is_wrong(rule: type, said: str) -> None:
    with pytest.raises(AssertionError) as error:
        check_rule(rule)
    assert re.search(said, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


class Tabled(Good):
    """A table as a knob: a million numbers over the grid, and an error in its last one."""

    defaults = {"levels": [k / 1024 for k in range(1024)], "last_level": 0.0}

    @staticmethod
    def price(value, imp, me):
        return int(value * me.levels[1023]) % 10**9

    @staticmethod
    def learn(value, imp, me, result):
        me.levels[1023] = value * 0.1 + (10**9) ** 2 * 9.0 if imp.contacts == 40 else float("nan")

    feedback = None


class Mistabled(Tabled):
    """Its table wraps around in one number."""

    @staticmethod
    def learn(value, imp, me, result):
        me.levels[1022] = value * value * 1.5


def test_a_table_is_compared_number_for_number_and_shown_short() -> None:
    assert check_rule(Tabled) == 1_080
    with pytest.raises(AssertionError, match=r"afterwards levels is 1.5e\+24 in Python, -?\d.* compiled") as error:
        check_rule(Mistabled)
    assert len(str(error.value)) < 700 and "'...'" in str(error.value)


def test_the_grid_shows_all_that_a_rule_can_see() -> None:
    grid = list(contract.cases(Good))
    assert all(set(imp) == set(mk.IMP.names) and set(result) == set(mk.RESULT.names) for _, imp, _, result in grid[:9])
    for name in mk.IMP.names:
        if name not in ("now", "size", "media"):
            assert len({imp[name] for _, imp, _, _ in grid}) > 1, f"{name} never changes"
    assert {won for _, _, _, result in grid for won in [result["won"]]} == {True, False}
    assert grid[0][2] is not grid[5][2] and grid[0][2] == Good.defaults  # a fresh copy each time
