"""The index of targets: what a part of it is made of, as records that compiled code reads.

A *part* is an index over many clauses at once: a clause is one bit. A *row* is one bit per clause. In the base part
bit c is the first clause of campaign c, so that the rows' result is the campaigns themselves; further clauses (extras)
follow behind the primary words and know their owner. A *column* is what a part holds on one attribute:

    text, hours   per value a row with the final answer; a rare value has the row of unmentioned values and a list of
                  the clauses that differ from it: IN, to be set, then OUT, to be cleared
    number        the ends of ranges cut the numbers into buckets; per bucket a row with the final answer
    set           per value a row or list IN (an include leaf has it) and OUT (an exclude leaf has it); the answer is
                  (`default` = has no include leaf, or any IN) and no OUT. Where there are few values, also a row with
                  the final answer for a request that has this value alone

and a row for requests that do not state the attribute. What rows cannot decide (the second include leaf of a set, a
range whose ends are no edges, a tree) counts as true there, and is verified by walking the clause.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exchange.audience import query as qy
from exchange.audience.bits import VECTOR

AUDIENCE: Final = np.dtype(
    [
        (name, "i8")
        for name in (
            "steps", "pool", "ends", "clauses", "homes", "others", "query", "found", "alive",
            "n_steps", "n_pool", "n_ends", "n_clauses", "n_campaigns", "n_words", "n_others", "query_max",
            "parts", "n_parts",
            "tail0",  # the first clause that is in no part
            "pointers", "outs",  # scratch: addresses of rows, int64[query_max + ROOM] each
            "result", "work",  # scratch: a row each
            "stack", "n_stack",  # scratch: int32, one per bit of the largest part
            "verify_ns",  # what verifying one clause costs, against a word or an entry read
        )
    ]
)  # fmt: skip
ROOM: Final = 80  # addresses besides those of the request's values: columns, defaults
VALUE: Final = np.dtype(
    [
        ("row", "i4"),  # text: the final answer, ZEROS = that of unmentioned values; set: IN, ZEROS = none
        ("out", "i4"),  # set: OUT, ZEROS = none
        ("first", "u4"),  # its list begins here: n_in clauses, then n_out
        ("n_in", "i4"),
        ("n_out", "i4"),
    ]
)
COLUMN: Final = np.dtype(
    [
        (name, "i8")
        for name in (
            "kind",  # ONE, MANY, RANGE (program.py)
            "slot",
            "values", "size",  # VALUE[size] by number of value; RANGE: rows of buckets begin at `size`
            "single",  # int32[size] by number of value: rows of requests with this value alone; 0 = there are none
            "edges", "n_edges",  # RANGE: int64, ascending; bucket = how many are not above the number
            "default", "missing",
            "includes",  # 1 = some clause has an include leaf
            # a set of many values, in a large part: its rows and lists have one bit per clause that asks about it;
            # `packed` = those rows' address, 0 = it has none, `packed_words` = their length, `asked` = the row of
            # clauses that ask, `ranks` = int32 per word of it: how many ask before
            "packed", "packed_words", "asked", "ranks",
            # a part of one word: words instead of rows. text: direct[value]; number: direct[bucket]; set: IN and OUT
            # of a value at direct[2 * value]
            "direct", "default_word", "missing_word",
        )
    ]
)  # fmt: skip
LINE: Final = np.dtype(
    [
        ("uses", "u8"),  # attributes of its leaves, as bits of slot - FIRST_SLOT
        ("again", "u8"),  # those of them that rows do not decide
        ("step0", "u4"),
        ("n_leaves", "i2"),
        ("n_steps", "i2"),
    ]
)
PART: Final = np.dtype(
    [
        (name, "i8")
        for name in (
            "rows", "words",  # uint64[n_rows, words]
            "primary",  # words of campaigns; extras follow
            "small",  # 1 = a few words, every value has a row
            "columns", "n_columns",
            "texts", "numbers",  # columns are first so many of text and hours, then so many of numbers, then sets
            "lists", "n_lists", "lines", "n_lines",
            "owners", "n_owners",  # int32 by bit - 64 * primary: the campaign of an extra
            "verify",  # 1 = some clause has to be verified
        )
    ]
)  # fmt: skip
ZEROS: Final = 0  # rows of every part
ONES: Final = 1
VALID: Final = 2  # clauses that still are their campaign's
VERIFY: Final = 3  # clauses that rows do not decide alone
FIRST_ROW: Final = 4
SMALL_WORDS: Final = 4
PACKED_DEFAULT: Final = 1  # row of a packed column, of clauses without an include leaf; its row 0 is not used
assert qy.HEAD - qy.FIRST_SLOT <= 64, "LINE.uses has a bit per slot"


def aligned(n: int, dtype: Any) -> NDArray[Any]:
    """n zeros that begin at a cache line."""
    size = np.dtype(dtype).itemsize
    raw = np.zeros(n * size + 64, np.uint8)
    first = -raw.ctypes.data % 64
    return raw[first : first + n * size].view(dtype)


def whole(words: int) -> int:
    """Words of a row that has room for so many: whole vectors."""
    return -(-words // VECTOR) * VECTOR


class Part:
    """One part of the index, and the arrays its record points to."""

    def __init__(self, record: Any, arrays: dict[str, NDArray[Any]], end: int) -> None:
        self.record, self.arrays = record, arrays
        self.end = end  # clauses from this number on are not in it
        self.dead = 0  # bits taken back since it was built
        self.valid, self.owners = arrays["rows"][VALID], arrays["owners"]
        self.primary = int(record["primary"])
        self.n_bits = int(np.bitwise_count(self.valid).sum())

    def forget(self, campaign: int) -> None:
        """The clauses of a campaign hold no longer."""
        if campaign < 64 * self.primary:
            self._clear(campaign)
        low, high = np.searchsorted(self.owners, (campaign, campaign + 1))
        for bit in range(int(low), int(high)):
            self._clear(64 * self.primary + bit)

    def _clear(self, bit: int) -> None:
        mask = np.uint64(1 << (bit & 63))
        if self.valid[bit >> 6] & mask:
            self.valid[bit >> 6] &= ~mask
            self.dead += 1

    def nbytes(self) -> int:
        """Bytes of memory it takes."""
        return sum(array.nbytes for array in self.arrays.values())
