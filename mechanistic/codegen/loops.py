"""Plain loops over arrays as machine code: the part of Python that the drivers of `solvers` are written in.

    @compiled
    def double(x):
        for i in range(len(x)):
            x[i] *= 2.0

runs as machine code that is made within a fraction of a second, where Numba takes many, and kept in the user's
private cache; `double.python` is the function itself, which tests hold it to. The key of the cache is the source
of every function that is reached and every constant that they name, so an edit is never missed.

What may be written: numbers, truth values, arrays (C order, of doubles, numbers in single precision, 64-bit whole
numbers or truth values), rows of them, parts `x[first:end]` of rows, and named tuples of these; `if`, `while`, `for`
over a `range` or an array of one dimension; arithmetic and comparisons;
`len`, `abs`, `min`, `max`, `int`, `float` and the usual functions of `math` and numpy; calls of other functions,
which return numbers or nothing, and may be arguments. A variable keeps the kind of its first value. Nothing is
checked: indices count from 0 and must lie inside; whole numbers wrap around, and shift to the right and are divided
as numbers without a sign. Single with single precision gives single precision, anything else double.

`shared` makes of a function of a range of rows one that Numba's threads share.
"""

from __future__ import annotations

import ctypes
import inspect
import platform
import threading
from collections.abc import Callable
from functools import cache, partial
from types import FunctionType
from typing import Any

import numpy as np

from mechanistic.codegen import loop_kinds, loop_statements, loop_values, machine
from mechanistic.codegen.loop_kinds import Kind, call_code, plain
from mechanistic.codegen.machine import Compiled
from mechanistic.jit import threads

__all__ = ["call_code", "compiled", "shared", "stamp"]

_MOST_PARTS = 64  # into which rows are divided for threads
_TRANSLATOR = (loop_kinds, loop_statements, loop_values, machine)
_KINDS = {
    np.dtype(k).char: kind
    for k, kind in ((float, "f"), (np.float32, "s"), (np.int64, "i"), (np.uint64, "i"), (bool, "b"))
}


class compiled:
    """A function as machine code, made for the kinds of its first arguments; see the module.

    Runs without Python's global lock. Returns nothing: results go into arrays.
    """

    def __init__(self, function: Callable):
        self.python = function
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._made: dict[Any, tuple[Compiled, Callable]] = {}
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any) -> None:
        self.on(*arguments)()

    def on(self, *first: Any) -> Callable[..., None]:
        """The function of what arguments are left, for many calls on the same `first` ones."""
        words: list[int] = []
        kinds = tuple([_flattened(a, words) for a in first])

        def run(*others: Any) -> None:
            more = words.copy()
            all_kinds = (*kinds, *[_flattened(a, more) for a in others])
            made = self._made.get(all_kinds)
            if made is None:
                with self._lock:
                    made = self._made.get(all_kinds) or self._compile(all_kinds)
            # the arrays behind the words live as long as this function
            assert first is not None
            made[1]((ctypes.c_uint64 * max(1, len(more)))(*more))

        return run

    def _compile(self, kinds: tuple) -> tuple[Compiled, Callable]:
        code = Compiled(
            lambda: loop_statements.Translator().entry(self.python, kinds), stamp(self.python, kinds)
        )
        run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("entry"))
        made = self._made[kinds] = (code, run)
        return made


class Call:
    """A function of rows on given arguments, which live as long as this does.

    Attributes:
        alone: the same in this thread.
    """

    __slots__ = ("_address", "_kept", "_place", "_rows", "alone")

    def __init__(self, rows: int, made: tuple[Compiled, int, Callable], given: Any, arguments: tuple):
        _, self._address, run = made
        self._rows, self._place, self._kept = rows, ctypes.addressof(given), (given, arguments)
        self.alone = partial(run, self._place, 0, rows)

    def __call__(self) -> None:
        if threads() == 1 or self._rows < 2:
            self.alone()
        else:
            _in_threads()(self._address, self._place, self._rows, min(self._rows, _MOST_PARTS))


class shared:
    """A function `f(first, end, *arguments)` of rows from `first` below `end`, as machine code in many threads.

    Called with the number of rows and the other arguments. Arrays must not overlap; a row must not depend on what is
    made of another, so that results do not depend on the threads. Loops over vectors of numbers are made of them.
    """

    def __init__(self, function: Callable):
        self.python = function
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._made: dict[Any, tuple[Compiled, int, Callable]] = {}

    def __call__(self, rows: int, *arguments: Any) -> None:
        self.on(rows, *arguments)()

    def on(self, rows: int, *arguments: Any) -> Call:
        """The call on these arguments, for many times."""
        words: list[int] = []
        kinds = tuple([_flattened(a, words) for a in arguments])
        made = self._made.get(kinds)
        if made is None:
            made = self._made[kinds] = self._compile(kinds)
        given = (ctypes.c_uint64 * max(1, len(words)))(*words)
        return Call(rows, made, given, arguments)

    def _compile(self, kinds: tuple) -> tuple[Compiled, int, Callable]:
        code = Compiled(
            lambda: loop_statements.Translator().entry(self.python, kinds, shared=True),
            "shared\0" + stamp(self.python, kinds),
            vectors=True,
        )
        address = code.address("entry")
        return code, address, ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)


@cache
def _in_threads() -> Callable[[int, int, int, int], None]:
    from mechanistic.codegen._loop_threads import in_threads

    return in_threads


def stamp(function: Callable, kinds: tuple = ()) -> str:
    """What the machine code of `function` depends on: its source, that of all it calls, and their constants."""
    said = [platform.python_version(), *(inspect.getsource(m) for m in _TRANSLATOR)]
    waiting, seen = [function, *(k[1] for k in kinds if k[0] == "function")], set()
    while waiting:
        one = plain(waiting.pop(0))
        if one is None or one in seen:
            continue
        seen.add(one)
        said += [one.__module__, inspect.getsource(one)]
        for name in sorted(one.__code__.co_names):
            value = one.__globals__.get(name)
            if isinstance(value, (bool, int, float, np.number)):
                said.append(f"{name} = {value!r}")
            elif value is not None:
                waiting.append(value)
    return "\0".join([*said, repr([k for k in kinds if k[0] != "function"])])


def _flattened(value: Any, words: list[int]) -> Kind:
    """The kind of an argument; its words are added to `words`."""
    if isinstance(value, np.ndarray):
        kind = _KINDS.get(value.dtype.char)
        if kind is None or not value.flags.c_contiguous:
            raise TypeError(
                f"an array must be in C order, of doubles, whole numbers or truths (got {value.dtype})"
            )
        words.append(value.__array_interface__["data"][0])
        words.extend(value.shape)
        return ("array", kind, value.ndim)
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None) or tuple(map(str, range(len(value))))
        return ("tuple", names, tuple([_flattened(v, words) for v in value]))
    if isinstance(value, FunctionType):
        return ("function", value)
    if isinstance(value, (bool, np.bool_)):
        words.append(int(value))
        return "b"
    if isinstance(value, (int, np.integer)):
        words.append(int(value) & (2**64 - 1))
        return "i"
    words.append(int(np.float64(value).view(np.uint64)))
    return "f"
