"""What loops are called with, as 64-bit words side by side in memory; of an array its place and its shape."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

import numpy as np
from numpy import ndarray

from mechanistic.codegen.loops.kinds import Kind, types

_MOST_DIMENSIONS = 8
_DTYPES = (float, "f"), (np.float32, "s"), (np.int64, "i"), (np.uint64, "i"), (np.int32, "h"), (bool, "b")
# by the letter of what they hold and their dimensions
_ARRAYS: dict[str, list[Kind]] = {
    np.dtype(k).char: [("array", kind, n) for n in range(_MOST_DIMENSIONS)] for k, kind in _DTYPES
}
_WORD = 2**64 - 1
# where an array's numbers lie is its first field, as in C (PyArray_DATA): five times faster than to ask for it
_FIELDS, _field = object.__basicsize__, ctypes.c_void_p.from_address


class Given:
    """Arguments of many calls, in their order: they are looked at once, and live as long as this does."""

    __slots__ = ("arguments", "kinds", "words")

    def __init__(self, *arguments: Any):
        self.arguments = arguments
        self.kinds, self.words = flattened(arguments)


def flattened(arguments: Iterable[Any]) -> tuple[tuple[Kind, ...], list[int | float]]:
    """The kinds of arguments, and their words.

    Raises:
        TypeError: for an array of another order or kind.
    """
    kinds: list[Kind] = []
    words: list[int | float] = []
    for value in arguments:
        kind = type(value)
        if kind is ndarray or isinstance(value, ndarray):
            shape, known = value.shape, _ARRAYS.get(value.dtype.char)
            if known is None or not value.flags.c_contiguous:
                raise TypeError(
                    f"an array must be in C order, of doubles, whole numbers or truths (got {value.dtype})"
                )
            kinds.append(known[len(shape)])
            words.append(_field(id(value) + _FIELDS).value or 0)
            words += shape
        elif kind is Given:
            kinds += value.kinds
            words += value.words
        elif isinstance(value, float):
            kinds.append("f")
            words.append(value)
        elif isinstance(value, (bool, np.bool_)):
            kinds.append("b")
            words.append(int(value))
        elif isinstance(value, (int, np.integer)):
            kinds.append("i")
            words.append(int(value) & _WORD)
        elif isinstance(value, tuple):
            names = getattr(value, "_fields", None) or tuple(map(str, range(len(value))))
            inner, more = flattened(value)
            kinds.append(("tuple", names, inner))
            words += more
        elif isinstance(value, FunctionType):
            kinds.append(("function", value))
        else:
            kinds.append("f")
            words.append(float(value))
    return tuple(kinds), words


def packer(kinds: tuple[Kind, ...]) -> Callable[..., bytes]:
    """Puts the words of arguments of these kinds side by side; of no arguments it makes one word that nobody reads."""
    letters = ["d" if k == "f" else "Q" for kind in kinds for k in _by_word(kind)]
    return struct.Struct("=" + ("".join(letters) or "8x")).pack


def _by_word(kind: Kind) -> list[str]:
    if kind[0] == "tuple":
        return [word for k in kind[2] for word in _by_word(k)]
    return [kind] if isinstance(kind, str) else ["i"] * len(types(kind))
