"""Machine code for a range of rows, in Numba's threads but without a kernel of Numba's, which take long to load.

Numba's threads run `void f(char **places, size_t *counts, size_t *steps, void *data)`, as numpy's generalised functions
are, and move the places on for each piece: a place that begins at 0 and steps by 1 counts pieces.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir

from mechanistic.codegen.machine import Compiled
from mechanistic.threads import threads

_MOST_PARTS = 64  # into which rows are divided
_FROM_0, _BY_1 = (ctypes.c_size_t * 1)(0), (ctypes.c_size_t * 1)(1)
_PARTS = [(ctypes.c_size_t * 1)(count) for count in range(_MOST_PARTS + 1)]


def in_threads(address: int, words: ctypes.Array, rows: int) -> None:
    """Calls the machine code at `address`, `void f(words, first, end)`, for parts of the rows."""
    (run, count), (code, piece) = _numba(), _piece()
    assert code
    parts = min(rows, _MOST_PARTS)
    data = struct.pack("=4q", address, ctypes.addressof(words), rows, parts)
    run(piece, _FROM_0, _PARTS[parts], _BY_1, data, 0, 1, count())


def many() -> bool:
    """Whether there is more than one thread; as `mechanistic.threads.threads`, at a fourth of its time."""
    return _numba()[1]() > 1


@cache
def _numba() -> tuple[Callable[..., None], Callable[[], int]]:
    """What runs pieces in Numba's threads, and how many they are."""
    threads()  # starts them, after which LLVM knows their functions by name
    kinds = (
        ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_size_t] * 3),
        ctypes.PYFUNCTYPE(ctypes.c_int),
    )
    run, count = (llvm.address_of_symbol(name) for name in ("numba_parallel_for", "get_num_threads"))
    if not (run and count):
        raise ImportError("this release of Numba keeps its threads to its own kernels: install another")
    return kinds[0](run), kinds[1](count)


@cache
def _piece() -> tuple[Compiled, int]:
    code = Compiled(str(_module()))
    return code, code.address("piece")


def _module() -> ir.Module:
    """`piece`: so many parts of the rows from a first one on; data: address, words, rows and parts."""
    word, module = ir.IntType(64), ir.Module("threads")
    words = word.as_pointer()
    piece = ir.Function(module, ir.FunctionType(ir.VoidType(), [words] * 4), "piece")
    start, head, body, done = (piece.append_basic_block() for _ in range(4))
    b = ir.IRBuilder(start)
    first, count = b.load(piece.args[0]), b.load(piece.args[1])
    address, given, rows, parts = (b.load(b.gep(piece.args[3], [ir.Constant(word, k)])) for k in range(4))
    call = b.inttoptr(address, ir.FunctionType(ir.VoidType(), [word] * 3).as_pointer())
    beyond = b.add(first, count)
    b.branch(head)
    b.position_at_end(head)
    part = b.phi(word)
    part.add_incoming(first, start)
    b.cbranch(b.icmp_signed("<", part, beyond), body, done)
    b.position_at_end(body)
    after = b.add(part, ir.Constant(word, 1))
    ends = [b.udiv(b.mul(k, rows), parts) for k in (part, after)]
    b.call(call, [given, *ends])
    part.add_incoming(after, body)
    b.branch(head)
    b.position_at_end(done)
    b.ret_void()
    return module
