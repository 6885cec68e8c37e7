"""The match of a part of a few words: a word of the result is a number, and every value has a row.

A part of one word has its words in tables by value: a simulation with a few campaigns asks nothing else.
"""

import numpy as np
from numba import carray, njit

from exchange.audience import query as qy
from exchange.audience.bits import first_bit, word_at
from exchange.audience.part_steps import U0, U1, bit_of, bucket, give, number_row, rest_holds
from exchange.audience.parts import COLUMN, LINE, VALID, VALUE, VERIFY, ZEROS
from exchange.audience.program import MANY, ONE
from exchange.audience.vocabulary import OTHER
from exchange.memory import at


@njit(cache=True, nogil=True)
def _small_word(a, part, w, word):  # type: ignore[no-untyped-def]
    """One word of a small part: the clauses among `word` that rows do not refuse."""
    rows, words = part.rows, part.words
    columns = carray(at(part.columns), part.n_columns, COLUMN)
    for k in range(part.n_columns):
        column = columns[k]
        x = np.int64(word_at(a.query, column.slot))
        values = carray(at(column.values), column.size, VALUE)
        if column.kind == ONE:
            row = column.default
            if x == 0:
                row = column.missing
            elif x < column.size:
                own = np.int64(values[x].row)
                row = own if own != ZEROS else row
            word &= word_at(rows, row * words + w)
        elif column.kind == MANY:
            n = np.int64(word_at(a.query, column.slot + 1))
            if n == 0:
                word &= word_at(rows, column.missing * words + w)
            else:
                any_in, any_out = word_at(rows, column.default * words + w), U0
                for i in range(x, x + n):
                    v = np.int64(word_at(a.query, i))
                    if v < column.size:
                        any_in |= word_at(rows, np.int64(values[v].row) * words + w)
                        any_out |= word_at(rows, np.int64(values[v].out) * words + w)
                word &= any_in & ~any_out
        else:
            word &= word_at(rows, number_row(column, x) * words + w)
        if word == U0:
            break
    return word


@njit(cache=True, nogil=True)
def _only_word(a, part, word):  # type: ignore[no-untyped-def]
    """`_small_word` for a part of one word, from tables of words."""
    columns = carray(at(part.columns), part.n_columns, COLUMN)
    for k in range(part.texts):
        column = columns[k]
        x = np.int64(word_at(a.query, column.slot))
        word &= word_at(column.direct, x if x < column.size else np.int64(OTHER))
    sets = part.texts + part.numbers
    for k in range(part.texts, sets):
        column = columns[k]
        x = np.int64(word_at(a.query, column.slot))
        if x == qy.NO_NUMBER:
            word &= np.uint64(column.missing_word)
        elif x != qy.ANYTHING:
            word &= word_at(column.direct, bucket(column.edges, column.n_edges, x))
    for k in range(sets, part.n_columns):
        if word == U0:
            break
        column = columns[k]
        x, n = np.int64(word_at(a.query, column.slot)), np.int64(word_at(a.query, column.slot + 1))
        any_in, any_out = np.uint64(column.default_word), U0
        for i in range(x, x + n):
            v = np.int64(word_at(a.query, i))
            v = 2 * (v if v < column.size else np.int64(OTHER))
            any_in |= word_at(column.direct, v)
            any_out |= word_at(column.direct, v + 1)
        word &= any_in & ~any_out if n else np.uint64(column.missing_word)
    return word


@njit(cache=True, nogil=True)
def match_small(a, part):  # type: ignore[no-untyped-def]
    lines = carray(at(part.lines), part.n_lines, LINE)
    for w in range(part.words):
        word = word_at(part.rows, VALID * part.words + w)
        if w < part.primary:
            word &= word_at(a.alive, w)
        if part.words == 1:
            word = _only_word(a, part, word)
        elif word != U0:
            word = _small_word(a, part, w, word)
        if part.verify:
            check = word & word_at(part.rows, VERIFY * part.words + w)
            while check != U0:
                b = first_bit(check)
                check &= check - U1
                line = lines[w * 64 + b]
                if not rest_holds(a, line, line.again):
                    word &= ~bit_of(b)
        if word != U0:
            give(a, part, w, word)
