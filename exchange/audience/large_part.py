"""The match of a part of many words.

The rows of attributes with one value are ANDed at once, then the other attributes are applied one by one, as long as
that is cheaper than to verify who is left; then who has to be is verified, and extras give their bit to their owner.
"""

import numpy as np
from numba import carray, njit

from exchange.audience.bits import and_rows, but_rows, first_bit, or_rows, spread, word_at
from exchange.audience.part_steps import U0, U1, bit_of, give, number_row, rest_holds, slot_bit
from exchange.audience.parts import COLUMN, LINE, ONES, PACKED_DEFAULT, VALID, VALUE, VERIFY, ZEROS
from exchange.audience.program import MANY, ONE
from exchange.audience.vocabulary import OTHER
from exchange.memory import at, bit_count, prefetch

_AHEAD = 4  # lists
_6 = np.uint32(6)  # unsigned, so that no index is taken for one from the end
_63 = np.uint32(63)


@njit(cache=True, nogil=True, inline="always")
def _row(part, number):  # type: ignore[no-untyped-def]
    """A row's address."""
    return part.rows + number * part.words * 8


@njit(cache=True, nogil=True)
def _dense(a, part):  # type: ignore[no-untyped-def]
    """AND the rows of all attributes that one row answers into the result. Returns the bits left, attributes done."""
    pointers = carray(at(a.pointers), a.query_max, np.int64)
    done = U0
    pointers[0], pointers[1] = _row(part, VALID), a.alive
    and_rows(a.result, a.pointers, 2, part.primary)
    tail = part.primary * 8
    pointers[0] += tail
    and_rows(a.result + tail, a.pointers, 1, part.words - part.primary)
    pointers[0] = a.result
    n = np.int64(1)
    columns = carray(at(part.columns), part.n_columns, COLUMN)
    for k in range(part.n_columns):
        column = columns[k]
        x = np.int64(word_at(a.query, column.slot))
        row = column.default
        if column.kind == ONE:
            if x == 0:
                row = column.missing
            elif x < column.size:
                value = carray(at(column.values), column.size, VALUE)[x]
                if value.n_in + value.n_out:
                    continue
                own = np.int64(value.row)
                row = own if own != ZEROS else row
        elif column.kind == MANY:
            count = np.int64(word_at(a.query, column.slot + 1))
            if count == 0:
                row = column.missing
            elif count == 1:
                v = np.int64(word_at(a.query, x))
                if v >= column.size:
                    v = np.int64(OTHER)
                if column.single:
                    own = np.int64(carray(at(column.single), column.size, np.int32)[v])
                    row = own if own != ZEROS else row
                elif v != OTHER:
                    continue
            else:
                continue
        else:
            row = number_row(column, x)
        done |= slot_bit(column.slot)
        if row != ONES:
            pointers[n] = _row(part, row)
            n += 1
    return and_rows(a.result, a.pointers, n, part.words), done


@njit(cache=True, nogil=True)
def _narrow(a, part, row):  # type: ignore[no-untyped-def]
    """AND one row into the result. Returns the bits left."""
    pointers = carray(at(a.pointers), a.query_max, np.int64)
    pointers[0], pointers[1] = a.result, _row(part, row)
    return and_rows(a.result, a.pointers, 2, part.words)


@njit(cache=True, nogil=True, inline="always")
def _save(a, part, value, n):  # type: ignore[no-untyped-def]
    """Put the clauses of a value's IN list that are still in the result on the stack. Returns its new height."""
    result, stack = carray(at(a.result), part.words, np.uint64), carray(at(a.stack), a.n_stack, np.int32)
    lists = carray(at(part.lists), part.n_lists, np.int32)
    first = np.int64(value.first)
    for i in range(first, first + value.n_in):
        c = np.int64(lists[i])
        stack[n] = c
        n += np.int64((result[c >> 6] >> np.uint64(c & 63)) & U1)
    return n


@njit(cache=True, nogil=True, inline="always")
def _restore(a, part, n):  # type: ignore[no-untyped-def]
    """Set the bits of the stack. Returns how many were not set."""
    result, stack = carray(at(a.result), part.words, np.uint64), carray(at(a.stack), a.n_stack, np.int32)
    new = np.int64(0)
    for i in range(n):
        c = np.int64(stack[i])
        word = result[c >> 6]
        new += np.int64(~(word >> np.uint64(c & 63)) & U1)
        result[c >> 6] = word | bit_of(c)
    return new


@njit(cache=True, nogil=True, inline="always")
def _take(a, part, value):  # type: ignore[no-untyped-def]
    """Clear the clauses of a value's OUT list in the result."""
    result = carray(at(a.result), part.words, np.uint64)
    lists = carray(at(part.lists), part.n_lists, np.int32)
    first = np.int64(value.first) + value.n_in
    for i in range(first, first + value.n_out):
        c = np.int64(lists[i])
        result[c >> 6] &= ~bit_of(c)


@njit(cache=True, nogil=True)
def _text(a, part, column, x):  # type: ignore[no-untyped-def]
    """Apply a text attribute whose value has a list. Returns the bits left."""
    value = carray(at(column.values), column.size, VALUE)[x]
    _take(a, part, value)  # before what is restored: no clause of OUT is saved
    n = _save(a, part, value, np.int64(0))
    left = _narrow(a, part, column.default)
    return left + _restore(a, part, n)


@njit(cache=True, nogil=True)
def _spread(a, part, column):  # type: ignore[no-untyped-def]
    """AND the answer of a packed column, in `work`, into the result. Returns the bits left."""
    result, ranks = carray(at(a.result), part.words, np.uint64), carray(at(column.ranks), part.words, np.int32)
    asked = _row(part, column.asked)
    left = np.int64(0)
    for w in range(part.words):
        mask, rank = word_at(asked, w), np.int64(ranks[w])
        low, high, shift = word_at(a.work, rank >> 6), word_at(a.work, (rank >> 6) + 1), np.uint64(rank & 63)
        answer = spread((low >> shift) | ((high << U1) << (np.uint64(63) - shift)), mask)
        word = result[w] & (answer | ~mask)
        result[w] = word
        left += bit_count(word)
    return left


@njit(cache=True, nogil=True, inline="always")
def _near(a, part, column, i):  # type: ignore[no-untyped-def]
    """Bring the list of the i-th integer of the query near: too short for the processor to see where it goes."""
    v = np.int64(word_at(a.query, i))
    if v < column.size:
        value = carray(at(column.values), column.size, VALUE)[v]
        first = np.int64(value.first)
        for k in range(first, first + value.n_in + value.n_out, 16):
            prefetch(part.lists + k * 4)


@njit(cache=True, nogil=True)
def _packed(a, part, column, x, n, n_in, n_out):  # type: ignore[no-untyped-def]
    """Apply a packed set attribute whose rows are gathered. Returns the bits left."""
    words = column.packed_words
    values, lists = carray(at(column.values), column.size, VALUE), carray(at(part.lists), part.n_lists, np.uint32)
    pointers, outs = carray(at(a.pointers), a.query_max, np.int64), carray(at(a.outs), a.query_max, np.int64)
    work = carray(at(a.work), words, np.uint64)
    pointers[0], outs[0] = column.packed + PACKED_DEFAULT * words * 8, a.work
    or_rows(a.work, a.pointers, n_in, words)
    for i in range(x, x + n):
        if i + _AHEAD < x + n:
            _near(a, part, column, i + _AHEAD)
        v = np.int64(word_at(a.query, i))
        if v < column.size:
            first = np.uint64(values[v].first)
            for k in range(first, first + np.uint64(values[v].n_in)):
                c = lists[k]
                work[c >> _6] |= U1 << np.uint64(c & _63)
    but_rows(a.work, a.outs, n_out, words)
    for i in range(x, x + n):
        v = np.int64(word_at(a.query, i))
        if v < column.size:
            first = np.uint64(values[v].first) + np.uint64(values[v].n_in)
            for k in range(first, first + np.uint64(values[v].n_out)):
                c = lists[k]
                work[c >> _6] &= ~(U1 << np.uint64(c & _63))
    return _spread(a, part, column)


@njit(cache=True, nogil=True)
def _gather(a, part, column, x, n):  # type: ignore[no-untyped-def]
    """Collect the rows of a set's values, IN behind pointers[2], OUT behind outs[1]. Returns counts: rows IN, rows OUT,
    entries of lists."""
    pointers, outs = carray(at(a.pointers), a.query_max, np.int64), carray(at(a.outs), a.query_max, np.int64)
    values = carray(at(column.values), column.size, VALUE)
    n_in, n_out, entries = np.int64(1), np.int64(1), np.int64(0)
    rows, size = part.rows, part.words * 8
    if column.packed:
        rows, size = column.packed, column.packed_words * 8
    for i in range(x, x + n):
        v = np.int64(word_at(a.query, i))
        if v < column.size:
            value = values[v]
            pointers[n_in], outs[n_out] = rows + np.int64(value.row) * size, rows + np.int64(value.out) * size
            n_in += value.row != ZEROS
            n_out += value.out != ZEROS
            entries += value.n_in + value.n_out
            prefetch(part.lists + np.int64(value.first) * 4)
            prefetch(part.lists + np.int64(value.first) * 4 + 64)
    return n_in, n_out, entries


@njit(cache=True, nogil=True)
def _set(a, part, column, x, n, n_in, n_out, entries):  # type: ignore[no-untyped-def]
    """Apply a set attribute whose rows are gathered. Returns the bits left."""
    values = carray(at(column.values), column.size, VALUE)
    pointers, outs = carray(at(a.pointers), a.query_max, np.int64), carray(at(a.outs), a.query_max, np.int64)
    lists = carray(at(part.lists), part.n_lists, np.int32)
    for i in range(x, x + n):
        v = np.int64(word_at(a.query, i))
        if v < column.size and values[v].n_out:
            _take(a, part, values[v])
    outs[0] = a.result
    left = but_rows(a.result, a.outs, n_out, part.words)
    if column.includes and n_in == 1 and entries < a.n_stack:
        height = np.int64(0)
        for i in range(x, x + n):
            v = np.int64(word_at(a.query, i))
            if v < column.size and values[v].n_in:
                height = _save(a, part, values[v], height)
        left = _narrow(a, part, column.default)
        left += _restore(a, part, height)
    elif column.includes:
        pointers[0] = _row(part, column.default)
        or_rows(a.work, a.pointers, n_in, part.words)
        work = carray(at(a.work), part.words, np.uint64)
        for i in range(x, x + n):
            v = np.int64(word_at(a.query, i))
            if v < column.size:
                first = np.int64(values[v].first)
                for k in range(first, first + values[v].n_in):
                    c = np.int64(lists[k])
                    work[c >> 6] |= bit_of(c)
        pointers[0], pointers[1] = a.result, a.work
        left = and_rows(a.result, a.pointers, 2, part.words)
    return left


@njit(cache=True, nogil=True)
def _rest(a, part, left, done):  # type: ignore[no-untyped-def]
    """Apply the attributes that are not done while that is cheaper than to verify. Returns bits left, those done."""
    columns = carray(at(part.columns), part.n_columns, COLUMN)
    for k in range(part.n_columns):
        column = columns[k]
        if done & slot_bit(column.slot):
            continue
        if left == 0:
            break
        x = np.int64(word_at(a.query, column.slot))
        if column.kind == ONE:
            if (part.words >> 3) > left * a.verify_ns:
                continue
            left = _text(a, part, column, x)
        else:
            n = np.int64(word_at(a.query, column.slot + 1))
            n_in, n_out, entries = _gather(a, part, column, x, n)
            words = column.packed_words if column.packed else part.words
            if ((words * (n_in + n_out) + part.words * 3) >> 3) + entries > left * a.verify_ns:
                continue
            if column.packed:
                left = _packed(a, part, column, x, n, n_in, n_out)
            else:
                left = _set(a, part, column, x, n, n_in, n_out, entries)
        done |= slot_bit(column.slot)
    return left, done


@njit(cache=True, nogil=True)
def _verify(a, part, all_of_them, undecided):  # type: ignore[no-untyped-def]
    """Walk the clauses left in the result, or those of them that rows cannot decide, and clear who does not hold."""
    result, stack = carray(at(a.result), part.words, np.uint64), carray(at(a.stack), a.n_stack, np.int32)
    lines = carray(at(part.lines), part.n_lines, LINE)
    n = np.int64(0)
    for w in range(part.words):
        word = result[w]
        if not all_of_them:
            word &= word_at(part.rows, VERIFY * part.words + w)
        while word != U0:
            c = w * 64 + first_bit(word)
            stack[n] = c
            n += 1
            prefetch(part.lines + c * 24)
            word &= word - U1
    for i in range(n):
        if i + 6 < n:
            ahead = a.steps + np.int64(lines[stack[i + 6]].step0) * 12
            prefetch(ahead)
            prefetch(ahead + 64)
        c = np.int64(stack[i])
        line = lines[c]
        if not rest_holds(a, line, line.again | undecided):
            result[c >> 6] &= ~bit_of(c)


@njit(cache=True, nogil=True)
def match_large(a, part):  # type: ignore[no-untyped-def]
    """Match a part of many words: its campaigns into `found`."""
    left, done = _dense(a, part)
    left, done = _rest(a, part, left, done)
    if left == 0:
        return
    undecided = U0
    columns = carray(at(part.columns), part.n_columns, COLUMN)
    for k in range(part.n_columns):
        undecided |= slot_bit(columns[k].slot)
    undecided &= ~done
    if undecided != U0 or part.verify:
        _verify(a, part, undecided != U0, undecided)
    result, found = carray(at(a.result), part.words, np.uint64), carray(at(a.found), a.n_words, np.uint64)
    for w in range(min(part.primary, a.n_words)):
        found[w] |= result[w]
    for w in range(part.primary, part.words):
        if result[w] != U0:
            give(a, part, w, result[w])
