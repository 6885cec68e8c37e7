"""Machine addresses and words of bits, for compiled code: what numba has no public name for."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def at(typingctx, address):  # type: ignore[no-untyped-def]
    """A machine address as a pointer for `carray`."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), build


@intrinsic
def borrow(typingctx, array):  # type: ignore[no-untyped-def]
    """An array without its owner, whose references are not counted: for as long as the caller holds it."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        view = context.make_array(signature.return_type)(context, builder, args[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), build


@intrinsic
def lowest_bit(typingctx, word):  # type: ignore[no-untyped-def]
    """Index of the lowest set bit of a uint64 that is not zero."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), build


@intrinsic
def bit_count(typingctx, word):  # type: ignore[no-untyped-def]
    """Number of set bits of a uint64."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ctpop(args[0])

    return types.int64(types.uint64), build


@intrinsic
def prefetch(typingctx, address):  # type: ignore[no-untyped-def]
    """Bring the cache line at an address near."""

    def build(context, builder, signature, args):  # type: ignore[no-untyped-def]
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, i32, i32, i32])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(fetch, [builder.inttoptr(args[0], cgutils.voidptr_t), i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.none(types.int64), build
