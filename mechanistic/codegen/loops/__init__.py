"""Plain loops over arrays as machine code: the part of Python that the drivers of `solvers` are written in.

    @compiled
    def double(x):
        for i in range(len(x)):
            x[i] *= 2.0

runs as machine code that is made within a fraction of a second, where Numba takes many, and kept in the user's
private cache; `double.python` is the function itself, which tests hold it to. The key of the cache is the source
of every function that is reached and every constant that they name, so an edit is never missed.

What may be written: numbers, truth values, arrays (C order, of doubles, numbers in single precision, whole numbers of
64 or 32 bits, or truth values), rows of them, parts `x[first:end]` of rows, named tuples of these, and room for a known
number of numbers (`np.empty(8)`, `np.empty(8, np.int64)`; the same room each time); `if`, `while`, `for` over a `range`
or an array of one dimension; arithmetic and comparisons; `len`, `abs`, `min`, `max`, `int`, `float` and the usual
functions of `math` and numpy; calls of other functions, which return numbers or nothing, and may be arguments, and of
machine code (`Written`). A variable keeps the kind of its first value. Nothing is checked: indices count from 0 and
must lie inside; whole numbers wrap around, and shift to the right and are divided as numbers without a sign. Single
with single precision gives single precision, anything else double.

`shared` makes of a function of a range of rows one that Numba's threads share. `Given` stands for arguments of many
calls.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mechanistic.codegen import machine
from mechanistic.codegen.loops import calls, kinds, statements, values
from mechanistic.codegen.loops._threads import in_threads, many
from mechanistic.codegen.loops.arguments import Given, flattened, packer
from mechanistic.codegen.loops.kinds import Written, call_code, plain, source
from mechanistic.codegen.machine import Compiled

__all__ = ["Given", "Written", "call_code", "compiled", "shared", "stamp"]

_TRANSLATOR = (calls, kinds, statements, values, machine)


class compiled:
    """A function as machine code, made for the kinds of its first arguments; see the module.

    Runs without Python's global lock. Returns nothing: results go into arrays.
    """

    def __init__(self, function: Callable):
        self.python = function
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._made: dict[Any, tuple[Compiled, Callable, Callable]] = {}
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any) -> None:
        self.on(*arguments)()

    def on(self, *first: Any) -> Callable[..., None]:
        """The function of what arguments are left, for many calls on the same `first` ones."""
        kinds, words = flattened(first)

        def run(*others: Any) -> None:
            more_kinds, more = flattened(others)
            all_kinds = kinds + more_kinds
            made = self._made.get(all_kinds)
            if made is None:
                with self._lock:
                    made = self._made.get(all_kinds) or self._compile(all_kinds)
            # the arrays behind the words live as long as this function
            assert first is not None
            _, call, pack = made
            call(pack(*words, *more))

        return run

    def _compile(self, kinds: tuple) -> tuple[Compiled, Callable, Callable]:
        code = Compiled(lambda: statements.Translator().entry(self.python, kinds), stamp(self.python, kinds))
        run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("entry"))
        made = self._made[kinds] = (code, run, packer(kinds))
        return made


class Call:
    """A function of rows on given arguments, which live as long as this does.

    Attributes:
        alone: the same in this thread.
    """

    __slots__ = ("_arguments", "_many", "alone")

    def __init__(self, rows: int, made: _Made, given: bytes, arguments: tuple):
        self._arguments = arguments
        self.alone = partial(made.run, given, 0, rows)
        self._many = None if rows < 2 else partial(made.share, rows, ctypes.create_string_buffer(given))

    def __call__(self) -> None:
        if self._many is None or not many():
            self.alone()
        else:
            self._many()


class _Made:
    """Machine code for a range of rows.

    Attributes:
        run: `run(words, first, end)` in this thread.
        pack: makes words of what `flattened` gives.
    """

    def __init__(self, code: Compiled, kinds: tuple):
        self.pack = packer(kinds)
        self._code, self._address = code, code.address("entry")
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(self._address)

    def share(self, rows: int, words: Any) -> None:
        """In all threads, on words in a buffer of ctypes."""
        in_threads(self._address, words, rows)


class shared:
    """A function `f(first, end, *arguments)` of rows from `first` below `end`, as machine code in many threads.

    Called with the number of rows and the other arguments. Arrays must not overlap; a row must not depend on what is
    made of another, so that results do not depend on the threads. Loops over vectors of numbers are made of them.
    """

    def __init__(self, function: Callable):
        self.python = function
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._made: dict[Any, _Made] = {}

    def __call__(self, rows: int, *arguments: Any) -> None:
        made, given = self._for(arguments)
        if rows < 2 or not many():
            made.run(given, 0, rows)
        else:
            made.share(rows, ctypes.create_string_buffer(given))

    def on(self, rows: int, *arguments: Any) -> Call:
        """The call on these arguments, for many times."""
        return Call(rows, *self._for(arguments), arguments)

    def _for(self, arguments: tuple) -> tuple[_Made, bytes]:
        kinds, words = flattened(arguments)
        made = self._made.get(kinds)
        if made is None:
            made = self._made[kinds] = self._compile(kinds)
        return made, made.pack(*words)

    def _compile(self, kinds: tuple) -> _Made:
        return _Made(
            Compiled(
                lambda: statements.Translator().entry(self.python, kinds, shared=True),
                "shared\0" + stamp(self.python, kinds),
                vectors=True,
            ),
            kinds,
        )


def stamp(function: Callable, kinds: tuple = ()) -> str:
    """What the machine code of `function` depends on: its source, that of all it calls, and their constants."""
    said = [platform.python_version(), *(source(m) for m in _TRANSLATOR)]
    waiting, seen = [function, *(k[1] for k in kinds if k[0] == "function")], set()
    while waiting:
        one = plain(waiting.pop(0))
        if one is None or one in seen:
            continue
        seen.add(one)
        said += [one.__module__, source(one)]
        for name in sorted(one.__code__.co_names):
            value = one.__globals__.get(name)
            if isinstance(value, (bool, int, float, np.number)):
                said.append(f"{name} = {value!r}")
            elif isinstance(value, Written):
                said += [source(sys.modules[value.write.__module__]), repr(value.given)]
            elif value is not None:
                waiting.append(value)
    return "\0".join([*said, repr([k for k in kinds if k[0] != "function"])])
