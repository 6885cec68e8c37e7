"""Rows of bits at machine addresses: the vector loops of the match, and single words.

A row is a run of uint64 words, a multiple of VECTOR long. Written as vectors because numba leaves it to LLVM to see
that eight rows do not overlap, which it gives up on; LLVM cuts the vectors to what the machine has.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

VECTOR: Final = 8  # words
_UNROLLED: Final = 4  # vectors held in registers at a time
_I64: Final = ir.IntType(64)
_LANES: Final = ir.VectorType(_I64, VECTOR)


def _vector(builder: Any, address: Any) -> Any:
    return builder.load(builder.inttoptr(address, _LANES.as_pointer()), align=8)


def _stripe(builder: Any, args: Any, offset: Any, vectors: int, op: Callable[..., Any], count: Any) -> None:
    """One stripe of `vectors` vectors, `offset` bytes in: out = op over all rows; the set bits are added to count."""
    out, rows, n = args[:3]
    first = builder.load(builder.inttoptr(rows, _I64.as_pointer()))
    held = []
    for k in range(vectors):
        start = builder.add(builder.add(first, offset), _I64(k * VECTOR * 8))
        held.append(cgutils.alloca_once_value(builder, _vector(builder, start)))
    with cgutils.for_range_slice(builder, _I64(1), n, _I64(1), inc=True) as (i, _):
        pointer = builder.inttoptr(builder.add(rows, builder.shl(i, _I64(3))), _I64.as_pointer())
        row = builder.add(builder.load(pointer), offset)
        for k, each in enumerate(held):
            more = _vector(builder, builder.add(row, _I64(k * VECTOR * 8)))
            builder.store(op(builder, builder.load(each), more), each)
    module = builder.module
    pops = cgutils.get_or_insert_function(module, ir.FunctionType(_LANES, [_LANES]), f"llvm.ctpop.v{VECTOR}i64")
    add = cgutils.get_or_insert_function(
        module, ir.FunctionType(_I64, [_LANES]), f"llvm.vector.reduce.add.v{VECTOR}i64"
    )
    total = None
    for k, each in enumerate(held):
        start = builder.add(builder.add(out, offset), _I64(k * VECTOR * 8))
        builder.store(builder.load(each), builder.inttoptr(start, _LANES.as_pointer()), align=8)
        ones = builder.call(pops, [builder.load(each)])
        total = ones if total is None else builder.add(total, ones)
    builder.store(builder.add(builder.load(count), builder.call(add, [total])), count)


def _fold(op: Callable[..., Any]) -> Callable[..., Any]:
    """The code of out[w] = op(rows[0][w], rows[1][w], ...) for all words; returns the number of set bits."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = args[3]
        count = cgutils.alloca_once_value(builder, _I64(0))
        wide = VECTOR * _UNROLLED
        whole = builder.and_(words, _I64(-wide))
        with cgutils.for_range_slice(builder, _I64(0), whole, _I64(wide), inc=True) as (w, _):
            _stripe(builder, args, builder.shl(w, _I64(3)), _UNROLLED, op, count)
        with cgutils.for_range_slice(builder, whole, words, _I64(VECTOR), inc=True) as (w, _):
            _stripe(builder, args, builder.shl(w, _I64(3)), 1, op, count)
        return builder.load(count)

    return build


_FOLD: Final = types.int64(types.int64, types.int64, types.int64, types.int64)


@intrinsic
def and_rows(typingctx, out, rows, n, words):  # type: ignore[no-untyped-def]
    """All of n >= 1 rows (`rows` = address of their addresses) into `out`, one of them or not. Returns the bits set."""
    return _FOLD, _fold(lambda builder, held, more: builder.and_(held, more))


@intrinsic
def or_rows(typingctx, out, rows, n, words):  # type: ignore[no-untyped-def]
    """Any of n >= 1 rows into `out`. Returns the bits set."""
    return _FOLD, _fold(lambda builder, held, more: builder.or_(held, more))


@intrinsic
def but_rows(typingctx, out, rows, n, words):  # type: ignore[no-untyped-def]
    """The first row without the others into `out`. Returns the bits set."""
    return _FOLD, _fold(lambda builder, held, more: builder.and_(held, builder.not_(more)))


def spread_by_bit(bits, mask):  # type: ignore[no-untyped-def]
    """The lowest bits of a word, each to the next place that is set in the mask."""
    found = np.uint64(0)
    while mask != np.uint64(0):
        below = mask & (mask - np.uint64(1))
        if bits & np.uint64(1):
            found |= mask ^ below
        bits >>= np.uint64(1)
        mask = below
    return found


@intrinsic
def _deposit(typingctx, bits, mask):  # type: ignore[no-untyped-def]
    """`spread_by_bit` as one instruction."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(_I64, [_I64, _I64])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.bmi.pdep.64"), args)

    return types.uint64(types.uint64, types.uint64), build


@njit(cache=True, nogil=True, inline="always")
def _by_deposit(bits, mask):  # type: ignore[no-untyped-def]
    """`spread_by_bit` where the processor can."""
    return _deposit(bits, mask)


_FEATURES: Final = (
    get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
)  # as numba takes them
HAS_DEPOSIT: Final = "+bmi2" in _FEATURES.split(",")
spread = _by_deposit if HAS_DEPOSIT else njit(cache=True, nogil=True)(spread_by_bit)


@intrinsic
def word_at(typingctx, address, index):  # type: ignore[no-untyped-def]
    """Word `index` of the row at an address."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        start = builder.add(args[0], builder.shl(args[1], _I64(3)))
        return builder.load(builder.inttoptr(start, _I64.as_pointer()))

    return types.uint64(types.int64, types.int64), build


@intrinsic
def first_bit(typingctx, word):  # type: ignore[no-untyped-def]
    """Index of the lowest set bit; 64 for a word of zeros."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), build
