"""Building a part of the index: from clauses, in compiled code that lets other threads run.

`build` reads only what never changes (steps, pool, ends, clauses up to the counts it was given), so that it may run
beside the matches and changes of the thread that serves.
"""

from typing import Any, Final

import numpy as np
from msgspec import Struct
from numba import njit
from numpy.typing import NDArray

from exchange.audience import query as qy
from exchange.audience.attributes import ATTRIBUTES
from exchange.audience.filling import fill_asked, fill_lists, fill_numbers, fill_packed, fill_rows, fill_set
from exchange.audience.parts import (
    COLUMN,
    FIRST_ROW,
    LINE,
    ONES,
    PACKED_DEFAULT,
    PART,
    SMALL_WORDS,
    VALID,
    VALUE,
    VERIFY,
    ZEROS,
    Part,
    aligned,
    whole,
)
from exchange.audience.program import KIND, MANY, NEGATED, ONE, RANGE
from exchange.audience.vocabulary import MISSING

_ORDER: Final = {ONE: 0, RANGE: 1, MANY: 2}
_SLOTS: Final = qy.ADVERTISER_SLOTS  # what depends on the advertiser is not indexed


class Tuning(Struct, frozen=True, kw_only=True):
    """Where the builder turns from one form to another; the defaults are measured (bench/targeting)."""

    small_words: int = SMALL_WORDS  # a part of so many words has a row for every value
    narrow: int = 256  # a text attribute of so many values has a row for every one
    alone: int = 64  # a set attribute of so many has a row for requests with one value alone
    row_share: int = 4  # a value that clauses mention words / row_share times has a row
    row_least: int = 64  # but not one that is mentioned less often than this
    packed: int = 1024  # a set attribute of so many has rows of only those clauses that ask about it
    edges: int = 256  # of a number; more are thinned out, and ranges that end between them are verified


class Source(Struct, frozen=True):
    """What a part is built from: arrays that are only appended to, and which clause each bit is (-1 = none)."""

    steps: NDArray[Any]
    pool: NDArray[np.int32]
    ends: NDArray[np.int64]
    clauses: NDArray[Any]
    bits: NDArray[np.int64]
    primary: int  # words of campaigns
    owners: NDArray[np.int32]
    sizes: dict[str, int]  # of the vocabulary, by attribute


@njit(cache=True, nogil=True)
def _lines(steps, clauses, bits, lines, counts, indexed):  # type: ignore[no-untyped-def]
    """Fill LINE of every bit and count the leaves by slot."""
    for b in range(bits.size):
        if bits[b] < 0:
            continue
        clause = clauses[bits[b]]
        lines[b].step0, lines[b].n_leaves, lines[b].n_steps = clause.step0, clause.n_leaves, clause.n_steps
        uses = np.uint64(0)
        step0 = np.int64(clause.step0)
        for i in range(step0, step0 + clause.n_leaves):
            slot = np.int64(steps[i].slot)
            if slot < indexed:
                counts[slot] += 1
                uses |= np.uint64(1) << np.uint64(slot - qy.FIRST_SLOT)
        lines[b].uses = uses


@njit(cache=True, nogil=True)
def _by_slot(steps, lines, ends, leaf_bit, leaf_step, indexed):  # type: ignore[no-untyped-def]
    """Sort the leaves by slot; `ends` come as the first place of each slot and go as the one behind its last."""
    for b in range(lines.size):
        step0 = np.int64(lines[b].step0)
        for i in range(step0, step0 + lines[b].n_leaves):
            slot = np.int64(steps[i].slot)
            if slot < indexed:
                leaf_bit[ends[slot]], leaf_step[ends[slot]] = b, i
                ends[slot] += 1


@njit(cache=True, nogil=True)
def _mentions(steps, pool, leaf_step, used, n_in, n_out):  # type: ignore[no-untyped-def]
    """How many leaves include and exclude each value."""
    for k in range(leaf_step.size):
        if used[k]:
            step = steps[leaf_step[k]]
            first = np.int64(step.first)
            for i in range(first, first + step.n_values):
                if step.flags & NEGATED:
                    n_out[pool[i]] += 1
                else:
                    n_in[pool[i]] += 1


@njit(cache=True, nogil=True)
def _one_include(steps, pool, leaf_bit, leaf_step, n_in, used, lines, slot_bit):  # type: ignore[no-untyped-def]
    """Of several include leaves of a clause only the one least met goes into rows; the others are verified."""
    begin = 0
    while begin < leaf_bit.size:
        end = begin
        best, least, includes = -1, np.int64(0), 0
        while end < leaf_bit.size and leaf_bit[end] == leaf_bit[begin]:
            step = steps[leaf_step[end]]
            if not step.flags & NEGATED:
                weight, first = np.int64(0), np.int64(step.first)
                for i in range(first, first + step.n_values):
                    weight += n_in[pool[i]]
                includes += 1
                used[end] = 0
                if best < 0 or weight < least:
                    best, least = end, weight
            end += 1
        if best >= 0:
            used[best] = 1
        if includes > 1:
            lines[leaf_bit[begin]].again |= slot_bit
        begin = end


@njit(cache=True, nogil=True)
def _plan(n_in, n_out, values, text, narrow, often, n_rows, n_lists):  # type: ignore[no-untyped-def]
    """Give values that are met often a row, the others a list. Returns rows and entries of lists by now, and how many
    values are mentioned at all."""
    mentioned = 0
    for v in range(n_in.size):
        mentioned += n_in[v] + n_out[v] > 0
    every = mentioned <= narrow
    for v in range(n_in.size):
        met = n_in[v] + n_out[v]
        if met == 0:
            continue
        value = values[v]
        if text and (every or met >= often):
            value.row = n_rows
            n_rows += 1
            continue
        if not text and n_in[v] and n_in[v] >= often:
            value.row = n_rows
            n_rows += 1
        elif n_in[v]:
            value.n_in = n_in[v]
        if not text and n_out[v] and n_out[v] >= often:
            value.out = n_rows
            n_rows += 1
        elif n_out[v]:
            value.n_out = n_out[v]
        value.first = n_lists
        n_lists += np.int64(value.n_in) + np.int64(value.n_out)
    return n_rows, n_lists, mentioned


@njit(cache=True, nogil=True)
def _alone(n_in, n_out, single, n_rows):  # type: ignore[no-untyped-def]
    """Give every mentioned value a row of its own. Returns rows by now."""
    for v in range(n_in.size):
        if n_in[v] + n_out[v] > 0:
            single[v] = n_rows
            n_rows += 1
    return n_rows


@njit(cache=True, nogil=True)
def base_bits(homes, plane, bits, owners):  # type: ignore[no-untyped-def]
    """Which clause each bit of a base is: bits[:plane] by campaign, the first of each; then the extras, by owner."""
    bits[:plane] = -1
    n = np.int64(0)
    for c in range(homes.size):
        first, many = np.int64(homes[c].clause0), np.int64(homes[c].n_clauses)
        if plane and many:
            bits[c] = first
        for k in range(1 if plane else 0, many):
            bits[plane + n], owners[n] = first + k, c
            n += 1


@njit(cache=True, nogil=True)
def _marks(steps, ends, leaf_step):  # type: ignore[no-untyped-def]
    """Where the ranges of leaves begin, and where they have ended: each place once, ascending."""
    n = 0
    for k in range(leaf_step.size):
        n += steps[leaf_step[k]].n_values
    marks = np.zeros(n, np.int64)
    n = 0
    for k in range(leaf_step.size):
        step = steps[leaf_step[k]]
        first = np.int64(step.first)
        for i in range(first, first + step.n_values, 2):
            marks[n], marks[n + 1] = ends[i], ends[i + 1] + 1
            n += 2
    return np.unique(marks)


class Builder:
    """Columns of one part, one after the other; rows are numbered first and filled when all are known."""

    def __init__(self, source: Source, tuning: Tuning) -> None:
        self.source, self.tuning = source, tuning
        words = -(-source.bits.size // 64)
        self.small = words <= tuning.small_words
        self.words = words if self.small else whole(words)
        self.n_rows = FIRST_ROW
        self.n_lists = 0
        self.lines = aligned(source.bits.size, LINE)
        self.fills: list[tuple[NDArray[Any], dict[str, Any]]] = []  # column, and what fills its rows
        self.arrays: dict[str, NDArray[Any]] = {"lines": self.lines, "owners": source.owners}

    def part(self, end: int) -> Part:
        """Build it; clauses from number `end` on are not in it."""
        steps = self.source.steps
        counts = np.zeros(_SLOTS, np.int64)
        _lines(steps, self.source.clauses, self.source.bits, self.lines, counts, _SLOTS)
        starts = np.zeros(_SLOTS + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        leaf_bit, leaf_step = np.zeros(starts[-1], np.int32), np.zeros(starts[-1], np.int64)
        _by_slot(steps, self.lines, starts[:-1].copy(), leaf_bit, leaf_step, _SLOTS)
        for attribute in ATTRIBUTES:
            slot = qy.SLOT[attribute.name]
            if slot < _SLOTS and counts[slot]:
                group = slice(starts[slot], starts[slot + 1])
                self._column(attribute.name, leaf_bit[group], leaf_step[group])
        return self._finish(end)

    def _column(self, name: str, leaf_bit: NDArray[np.int32], leaf_step: NDArray[np.int64]) -> None:
        """Plan the column of one attribute."""
        slot = qy.SLOT[name]
        column = np.zeros(1, COLUMN)[0]
        kind = self.source.steps["flags"][leaf_step[0]] & KIND
        column["kind"], column["slot"] = kind, slot
        fill: dict[str, Any] = {"name": name, "bit": leaf_bit, "step": leaf_step}
        column["missing"] = self._new_rows(1)
        if kind == RANGE:
            self._edges(column, fill)
        else:
            self._values(column, fill, slot)
        self.fills.append((column, fill))

    def _new_rows(self, n: int) -> int:
        self.n_rows += n
        return self.n_rows - n

    def _edges(self, column: Any, fill: dict[str, Any]) -> None:
        edges = _marks(self.source.steps, self.source.ends, fill["step"])
        most = self.tuning.edges if not self.small else max(self.tuning.edges, 4096)
        if edges.size > most:
            edges = edges[np.unique(np.linspace(0, edges.size - 1, most).astype(np.int64))]
        fill["edges"] = edges
        self.arrays[f"edges {fill['name']}"] = edges
        column["n_edges"], column["edges"] = edges.size, edges.ctypes.data
        column["size"] = self._new_rows(edges.size + 1)

    def _values(self, column: Any, fill: dict[str, Any], slot: int) -> None:
        source, tuning, name = self.source, self.tuning, fill["name"]
        size = source.sizes[name]
        n_in, n_out = np.zeros(size, np.int32), np.zeros(size, np.int32)
        used = np.ones(fill["bit"].size, np.uint8)
        slot_bit = np.uint64(1 << (slot - qy.FIRST_SLOT))
        _mentions(source.steps, source.pool, fill["step"], used, n_in, n_out)
        _one_include(source.steps, source.pool, fill["bit"], fill["step"], n_in, used, self.lines, slot_bit)
        n_in[:] = 0
        n_out[:] = 0
        _mentions(source.steps, source.pool, fill["step"], used, n_in, n_out)
        values, text = np.zeros(size, VALUE), column["kind"] == ONE
        words = self.words
        packed = not text and not self.small and np.count_nonzero(n_in + n_out) >= tuning.packed
        if packed:
            words = self._pack(column, fill)
        often = 0 if self.small else max(tuning.row_least, words // tuning.row_share)
        narrow = tuning.narrow if text and not self.small else size
        first_row = PACKED_DEFAULT + 1 if packed else self.n_rows
        n_rows, self.n_lists, mentioned = map(
            int, _plan(n_in, n_out, values, text, narrow, often, first_row, self.n_lists)
        )
        if packed:
            fill["packed"] = self.arrays[f"packed {name}"] = aligned(n_rows * words, np.uint64).reshape(n_rows, words)
            column["packed"] = fill["packed"].ctypes.data
        else:
            self.n_rows = n_rows
        if not text and not self.small and not packed and mentioned <= tuning.alone:
            self.arrays[f"single {name}"] = fill["single"] = single = np.zeros(size, np.int32)
            self.n_rows = int(_alone(n_in, n_out, single, self.n_rows))
            column["single"] = single.ctypes.data
        # an include leaf without values (`is missing`) too: no stated value meets it
        included = bool((source.steps["flags"][fill["step"]][used != 0] & NEGATED == 0).any())
        column["includes"] = included
        column["default"] = self._new_rows(1) if included else ONES
        column["size"], column["values"] = size, values.ctypes.data
        self.arrays[f"values {name}"] = values
        fill.update(used=used, values=values)

    def _pack(self, column: Any, fill: dict[str, Any]) -> int:
        """Number the clauses that ask about a set. Returns the words of its rows."""
        bits = np.unique(fill["bit"])
        fill["rank"] = np.searchsorted(bits, fill["bit"]).astype(np.int32)
        ranks = np.searchsorted(bits, np.arange(self.words) * 64).astype(np.int32)
        self.arrays[f"ranks {fill['name']}"] = ranks
        column["ranks"], column["asked"] = ranks.ctypes.data, self._new_rows(1)
        column["packed_words"] = whole(-(-bits.size // 64))
        return int(column["packed_words"])

    def _finish(self, end: int) -> Part:
        """Fill rows and lists, and write the record."""
        source = self.source
        rows = aligned(self.n_rows * self.words, np.uint64).reshape(self.n_rows, self.words)
        lists = np.zeros(self.n_lists + 1, np.int32)
        rows[ONES] = ~np.uint64(0)
        for column, fill in self.fills:
            same: tuple[Any, ...] = source.steps, source.pool, source.ends, fill["bit"], fill["step"]
            if column["kind"] == RANGE:
                slot_bit = np.uint64(1 << (int(column["slot"]) - qy.FIRST_SLOT))
                fill_numbers(*same, rows, column["missing"], column["size"], fill["edges"], self.lines, slot_bit)
                continue
            text = column["kind"] == ONE
            none = np.zeros(0, np.int32)
            alone = fill.get("single", none)
            same = source.steps, source.pool, fill["bit"], fill["step"], fill["used"]
            fill_rows(*same, rows, column["missing"], column["default"], fill["values"], text, alone)
            if column["packed"]:
                fill_asked(fill["bit"], rows, column["asked"])
                same = source.steps, source.pool, fill["rank"], fill["step"], fill["used"]
                fill_packed(*same, fill["packed"], fill["values"])
            elif not text:
                fill_set(*same, rows, fill["values"])
            fill_lists(*same, fill["values"], lists)
        bits = np.zeros(self.words * 64, np.uint8)
        bits[: source.bits.size] = source.bits >= 0
        rows[VALID] = np.packbits(bits, bitorder="little").view(np.uint64)
        bits[: source.bits.size] &= (self.lines["again"] != 0) | (self.lines["n_steps"] > self.lines["n_leaves"])
        rows[VERIFY] = np.packbits(bits, bitorder="little").view(np.uint64)
        if self.words == 1:
            self._direct(rows[:, 0])
        order = sorted(self.fills, key=lambda each: (_ORDER[int(each[0]["kind"])], int(each[0]["size"])))
        columns = np.array([column for column, _ in order], COLUMN) if order else np.zeros(0, COLUMN)
        self.arrays |= {"rows": rows, "lists": lists, "columns": columns}
        record = np.zeros(1, PART)[0]
        for name in ("rows", "columns", "lists", "lines", "owners"):
            record[name] = self.arrays[name].ctypes.data
            if name != "rows":
                record[f"n_{name}"] = self.arrays[name].size
        record["words"], record["primary"], record["small"] = self.words, source.primary, self.small
        record["verify"] = bool(rows[VERIFY].any())
        record["texts"], record["numbers"] = (columns["kind"] == ONE).sum(), (columns["kind"] == RANGE).sum()
        return Part(record, self.arrays, end)

    def _direct(self, words: NDArray[np.uint64]) -> None:
        """Tables of words in place of rows' numbers, for a part of one word."""
        for column, fill in self.fills:
            column["default_word"], column["missing_word"] = words[[column["default"], column["missing"]]].view(
                np.int64
            )
            if column["kind"] == RANGE:
                first = int(column["size"])
                table = words[first : first + int(column["n_edges"]) + 1].copy()
            elif column["kind"] == ONE:
                own = fill["values"]["row"]
                table = words[np.where(own == ZEROS, column["default"], own)]
                table[MISSING] = words[column["missing"]]
            else:
                values, table = fill["values"], np.zeros(2 * fill["values"].size, np.uint64)
                for to, name in ((table[::2], "row"), (table[1::2], "out")):
                    mentioned = values[name].nonzero()[0]
                    to[mentioned] = words[values[name][mentioned]]
            self.arrays[f"direct {fill['name']}"] = table
            column["direct"] = table.ctypes.data
