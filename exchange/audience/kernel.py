"""The match: which campaigns' targets hold for the selected imp, by the index, as bits.

Per part: rows of attributes with one value are ANDed at once, then the other attributes one by one, as long as that
is cheaper than to verify who is left; then who has to be is verified, and extras give their bit to their owner.
A part of a few words needs none of this: a word is a number.
"""

import numpy as np
from numba import carray, njit

from exchange.audience import query as qy
from exchange.audience.parts import COLUMN, LINE, ONES, PART, VALID, VALUE, VERIFY, ZEROS
from exchange.audience.program import CLAUSE, HOME, MANY, ONE, STEP, accepts, step_holds
from exchange.audience.vocabulary import OTHER
from exchange.audience.words import and_rows, but_rows, first_bit, or_rows, prefetch, word_at
from exchange.memory import at

_U0 = np.uint64(0)
_U1 = np.uint64(1)
_FIRST = qy.FIRST_SLOT


@njit(cache=True, nogil=True, inline="always")
def _bit(c):  # type: ignore[no-untyped-def]
    return _U1 << np.uint64(c & 63)


@njit(cache=True, nogil=True, inline="always")
def _slot_bit(slot):  # type: ignore[no-untyped-def]
    return _U1 << np.uint64(slot - _FIRST)


@njit(cache=True, nogil=True, inline="always")
def bucket(edges, n, x):  # type: ignore[no-untyped-def]
    """How many of n ascending edges are not above x; edges = their address."""
    low, high = np.int64(0), np.int64(n)
    while low < high:
        middle = (low + high) >> 1
        if np.int64(word_at(edges, middle)) <= x:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _number_row(column, x):  # type: ignore[no-untyped-def]
    """The row of a number."""
    if x == qy.ANYTHING:
        return np.int64(ONES)
    if x == qy.NO_NUMBER:
        return column.missing
    return column.size + bucket(column.edges, column.n_edges, x)


@njit(cache=True, nogil=True)
def _holds(a, line, undecided):  # type: ignore[no-untyped-def]
    """Do those leaves of a clause hold whose attribute is undecided, and its tree?"""
    steps, pool = carray(at(a.steps), a.n_steps, STEP), carray(at(a.pool), a.n_pool, np.int32)
    ends, q = carray(at(a.ends), a.n_ends, np.int64), carray(at(a.query), a.query_max, np.int64)
    step0 = line.step0
    if line.uses & undecided:
        for i in range(step0, step0 + line.n_leaves):
            step = steps[i]
            if undecided & _slot_bit(np.int64(step.slot)) and not step_holds(step, pool, ends, q):
                return False
    n_leaves, n_steps = np.int64(line.n_leaves), np.int64(line.n_steps)
    return n_steps == n_leaves or accepts(steps, pool, ends, q, step0, n_leaves, n_steps)


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
                any_in, any_out = word_at(rows, column.default * words + w), _U0
                for i in range(x, x + n):
                    v = np.int64(word_at(a.query, i))
                    if v < column.size:
                        any_in |= word_at(rows, np.int64(values[v].row) * words + w)
                        any_out |= word_at(rows, np.int64(values[v].out) * words + w)
                word &= any_in & ~any_out
        else:
            word &= word_at(rows, _number_row(column, x) * words + w)
        if word == _U0:
            break
    return word


@njit(cache=True, nogil=True, inline="always")
def _own(a, part, w, word):  # type: ignore[no-untyped-def]
    """Give a word of a part's result to the campaigns it stands for."""
    found, alive = carray(at(a.found), a.n_words, np.uint64), carray(at(a.alive), a.n_words, np.uint64)
    if w < part.primary:
        found[w] |= word
    else:
        owners = carray(at(part.owners), part.n_owners, np.int32)
        base = (w - part.primary) * 64
        while word != _U0:
            owner = np.int64(owners[base + first_bit(word)])
            word &= word - _U1
            found[owner >> 6] |= alive[owner >> 6] & _bit(owner)


@njit(cache=True, nogil=True)
def _small(a, part):  # type: ignore[no-untyped-def]
    lines = carray(at(part.lines), part.n_lines, LINE)
    for w in range(part.words):
        word = word_at(part.rows, VALID * part.words + w)
        if w < part.primary:
            word &= word_at(a.alive, w)
        if word != _U0:
            word = _small_word(a, part, w, word)
        if part.verify:
            check = word & word_at(part.rows, VERIFY * part.words + w)
            while check != _U0:
                b = first_bit(check)
                check &= check - _U1
                line = lines[w * 64 + b]
                if not _holds(a, line, line.again):
                    word &= ~_bit(b)
        if word != _U0:
            _own(a, part, w, word)


@njit(cache=True, nogil=True, inline="always")
def _row(part, number):  # type: ignore[no-untyped-def]
    """A row's address."""
    return part.rows + number * part.words * 8


@njit(cache=True, nogil=True)
def _dense(a, part):  # type: ignore[no-untyped-def]
    """AND the rows of all attributes that one row answers into the result. Returns the bits left, attributes done."""
    pointers = carray(at(a.pointers), a.query_max, np.int64)
    done = _U0
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
            row = _number_row(column, x)
        done |= _slot_bit(column.slot)
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
        n += np.int64((result[c >> 6] >> np.uint64(c & 63)) & _U1)
    return n


@njit(cache=True, nogil=True, inline="always")
def _restore(a, part, n):  # type: ignore[no-untyped-def]
    """Set the bits of the stack. Returns how many were not set."""
    result, stack = carray(at(a.result), part.words, np.uint64), carray(at(a.stack), a.n_stack, np.int32)
    new = np.int64(0)
    for i in range(n):
        c = np.int64(stack[i])
        word = result[c >> 6]
        new += np.int64(~(word >> np.uint64(c & 63)) & _U1)
        result[c >> 6] = word | _bit(c)
    return new


@njit(cache=True, nogil=True, inline="always")
def _take(a, part, value):  # type: ignore[no-untyped-def]
    """Clear the clauses of a value's OUT list in the result. Returns how many were set."""
    result = carray(at(a.result), part.words, np.uint64)
    lists = carray(at(part.lists), part.n_lists, np.int32)
    first = np.int64(value.first) + value.n_in
    gone = np.int64(0)
    for i in range(first, first + value.n_out):
        c = np.int64(lists[i])
        word = result[c >> 6]
        gone += np.int64((word >> np.uint64(c & 63)) & _U1)
        result[c >> 6] = word & ~_bit(c)
    return gone


@njit(cache=True, nogil=True)
def _text(a, part, column, x):  # type: ignore[no-untyped-def]
    """Apply a text attribute whose value has a list. Returns the bits left."""
    value = carray(at(column.values), column.size, VALUE)[x]
    n = _save(a, part, value, np.int64(0))
    left = _narrow(a, part, column.default)
    return left + _restore(a, part, n) - _take(a, part, value)


@njit(cache=True, nogil=True)
def _gather(a, part, column, x, n):  # type: ignore[no-untyped-def]
    """Collect the rows of a set's values, IN behind pointers[2], OUT behind outs[1]. Returns counts: rows IN, rows OUT,
    entries of lists."""
    pointers, outs = carray(at(a.pointers), a.query_max, np.int64), carray(at(a.outs), a.query_max, np.int64)
    values = carray(at(column.values), column.size, VALUE)
    n_in, n_out, entries = np.int64(1), np.int64(1), np.int64(0)
    for i in range(x, x + n):
        v = np.int64(word_at(a.query, i))
        if v < column.size:
            value = values[v]
            pointers[n_in], outs[n_out] = _row(part, np.int64(value.row)), _row(part, np.int64(value.out))
            n_in += value.row != ZEROS
            n_out += value.out != ZEROS
            entries += value.n_in + value.n_out
    return n_in, n_out, entries


@njit(cache=True, nogil=True)
def _set(a, part, column, x, n, n_in, n_out, entries, left):  # type: ignore[no-untyped-def]
    """Apply a set attribute whose rows are gathered. Returns the bits left."""
    values = carray(at(column.values), column.size, VALUE)
    pointers, outs = carray(at(a.pointers), a.query_max, np.int64), carray(at(a.outs), a.query_max, np.int64)
    lists = carray(at(part.lists), part.n_lists, np.int32)
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
                    work[c >> 6] |= _bit(c)
        pointers[0], pointers[1] = a.result, a.work
        left = and_rows(a.result, a.pointers, 2, part.words)
    if n_out > 1:
        outs[0] = a.result
        left = but_rows(a.result, a.outs, n_out, part.words)
    for i in range(x, x + n):
        v = np.int64(word_at(a.query, i))
        if v < column.size and values[v].n_out:
            left -= _take(a, part, values[v])
    return left


@njit(cache=True, nogil=True)
def _rest(a, part, left, done):  # type: ignore[no-untyped-def]
    """Apply the attributes that are not done while that is cheaper than to verify. Returns bits left, those done."""
    columns = carray(at(part.columns), part.n_columns, COLUMN)
    for k in range(part.n_columns):
        column = columns[k]
        if done & _slot_bit(column.slot):
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
            if ((part.words * (n_in + n_out + 3)) >> 3) + entries > left * a.verify_ns:
                continue
            left = _set(a, part, column, x, n, n_in, n_out, entries, left)
        done |= _slot_bit(column.slot)
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
        while word != _U0:
            c = w * 64 + first_bit(word)
            stack[n] = c
            n += 1
            prefetch(part.lines + c * 32)
            word &= word - _U1
    for i in range(n):
        c = np.int64(stack[i])
        line = lines[c]
        if not _holds(a, line, line.again | undecided):
            result[c >> 6] &= ~_bit(c)


@njit(cache=True, nogil=True)
def _large(a, part):  # type: ignore[no-untyped-def]
    left, done = _dense(a, part)
    left, done = _rest(a, part, left, done)
    if left == 0:
        return
    undecided = _U0
    columns = carray(at(part.columns), part.n_columns, COLUMN)
    for k in range(part.n_columns):
        undecided |= _slot_bit(columns[k].slot)
    undecided &= ~done
    if undecided != _U0 or part.verify:
        _verify(a, part, undecided != _U0, undecided)
    result, found = carray(at(a.result), part.words, np.uint64), carray(at(a.found), a.n_words, np.uint64)
    for w in range(min(part.primary, a.n_words)):
        found[w] |= result[w]
    for w in range(part.primary, part.words):
        if result[w] != _U0:
            _own(a, part, w, result[w])


@njit(cache=True, nogil=True)
def _tail(a):  # type: ignore[no-untyped-def]
    """Walk the clauses that are in no part yet."""
    steps, pool = carray(at(a.steps), a.n_steps, STEP), carray(at(a.pool), a.n_pool, np.int32)
    ends, q = carray(at(a.ends), a.n_ends, np.int64), carray(at(a.query), a.query_max, np.int64)
    clauses, homes = carray(at(a.clauses), a.n_clauses, CLAUSE), carray(at(a.homes), a.n_campaigns, HOME)
    found, alive = carray(at(a.found), a.n_words, np.uint64), carray(at(a.alive), a.n_words, np.uint64)
    for k in range(a.tail0, a.n_clauses):
        clause = clauses[k]
        c = np.int64(clause.campaign)
        if c < 0 or not alive[c >> 6] & ~found[c >> 6] & _bit(c):
            continue
        if homes[c].clause0 <= k and k < homes[c].clause0 + homes[c].n_clauses:
            if accepts(steps, pool, ends, q, clause.step0, np.int64(0), np.int64(clause.n_steps)):
                found[c >> 6] |= _bit(c)


@njit(cache=True, nogil=True)
def match(a):  # type: ignore[no-untyped-def]
    """Write the campaigns that are alive and whose target holds for the selected imp into `found`: uint64[n_words].

    Leaves that depend on the advertiser count as true here: who has one (HOME.relative) is asked again by `meets`.
    """
    found = carray(at(a.found), a.n_words, np.uint64)
    for w in range(a.n_words):
        found[w] = _U0
    parts = carray(at(a.parts), 2, PART)
    for k in range(a.n_parts):
        if parts[k].small:
            _small(a, parts[k])
        else:
            _large(a, parts[k])
    if a.tail0 < a.n_clauses:
        _tail(a)


@njit(cache=True, nogil=True)
def listed(a, out):  # type: ignore[no-untyped-def]
    """The campaigns of `found`, ascending, into out: int32, with room for 64 more than there are. Returns their number."""
    found = carray(at(a.found), a.n_words, np.uint64)
    n = np.int64(0)
    for w in range(a.n_words):
        word = found[w]
        base = np.int64(w * 64)
        end = n
        while word != _U0:
            for k in range(4):
                b = first_bit(word)
                end += word != _U0
                out[n + k] = np.int32(base + b)
                word &= word - _U1
            n += 4
        n = end
    return n


@njit(cache=True, nogil=True)
def match_list(a, out):  # type: ignore[no-untyped-def]
    """`match`, and the campaigns found as a list (`listed`)."""
    match(a)
    return listed(a, out)
