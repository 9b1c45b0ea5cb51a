"""Machine code for a range of rows, in Numba's threads."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from mechanistic.jit import njit, prange


@intrinsic
def _call(_context, address, words, first, end):
    """Calls the machine code at `address` with `words` (an address) for rows from `first` below `end`."""

    def generate(context, builder, _signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 3)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate


@njit(parallel=True)
def in_threads(address, words, rows, parts):
    """The rows in so many parts, each by one thread."""
    for part in prange(parts):
        _call(address, words, part * rows // parts, (part + 1) * rows // parts)  # pyright: ignore[reportCallIssue]
