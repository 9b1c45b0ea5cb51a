"""What a value of `loops` is: its kind, and the machine's values that it is made of."""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any

import llvmlite.ir as ir

DOUBLE, SINGLE = ir.DoubleType(), ir.FloatType()
WHOLE, HALF, TRUTH, BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(1), ir.IntType(8)
SCALARS = {"f": DOUBLE, "s": SINGLE, "i": WHOLE, "b": TRUTH}
STORED = {"f": DOUBLE, "s": SINGLE, "i": WHOLE, "h": HALF, "b": BYTE}  # in arrays
MOST_RESULTS = 8

# A kind: "f", "s" (single precision), "i" or "b", in arrays also "h" (whole numbers of half the length);
# ("array", kind of its elements, dimensions); ("tuple", names, kinds); ("function", it)
Kind = Any


def call_code(address: int, block: int, source: int | None = None) -> None:
    """Calls the compiled `void f(double *, double *, double *)` at `address` with `block`, both addresses.

    Args:
        source: address of what it reads as its second argument, if not the block.
    """
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    kind(int(address))(int(block), int(block if source is None else source), int(block))


def plain(value: Any) -> FunctionType | None:
    """The Python function behind a function of ours, or None."""
    value = getattr(value, "python", getattr(value, "py_func", value))
    return value if isinstance(value, FunctionType) else None


@cache
def source(thing: Any) -> str:
    """The text of a function or module."""
    return inspect.getsource(thing)


@dataclass
class Value:
    """A value in the code: its kind, and the machine's values that make it up (of an array pointer and shape)."""

    kind: Kind
    parts: list


@dataclass(frozen=True)
class Written:
    """Machine code written by hand, to be called in a loop.

    Attributes:
        result: kind of what it returns.
        write: writes it, `write(builder, *arguments, *given)`, and returns the machine's values that its result is
            made of; an array comes as a pointer.
    """

    result: Kind
    write: Callable[..., list]
    given: tuple = ()

    def __call__(self, *_arguments: Any) -> Any:
        raise TypeError("machine code written by hand runs in compiled loops alone")


@dataclass
class Static:
    """Something of Python's that is known now: a function or a module."""

    thing: Any


def types(kind: Kind) -> list:
    if isinstance(kind, str):
        return [SCALARS[kind]]
    if kind[0] == "array":
        return [STORED[kind[1]].as_pointer(), *[WHOLE] * kind[2]]
    if kind[0] == "function":
        return []
    return [t for k in kind[2] for t in types(k)]


def elements(value: Value) -> list[Value]:
    parts, found = list(value.parts), []
    for kind in value.kind[2]:
        count = len(types(kind))
        found.append(Value(kind, parts[:count]))
        parts = parts[count:]
    return found
