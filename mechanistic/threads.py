"""How many threads kernels use: those of Numba, in which `codegen.loops` runs what is shared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# A thread that waits for the others spins for less than a millisecond before it sleeps. Where something else runs on a
# core the default, many milliseconds between two of our short loops, makes two threads slower than one. It is read when
# the first parallel loop starts.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numba

__all__ = ["set_threads", "threads", "threads_for"]


def set_threads(count: int) -> int:
    """Lets kernels use `count` threads, or as many as the process was given if fewer; returns the number in
    force."""
    count = max(1, min(int(count), numba.config.NUMBA_NUM_THREADS))
    numba.set_num_threads(count)
    return count


@contextmanager
def threads_for(items: int, each: int = 2000) -> Iterator[None]:
    """Within it kernels use no more than one thread per `each` items: waking others for little work takes
    longer.

    Results do not change: every kernel gives the same bits for any number of threads.
    """
    before = numba.get_num_threads()
    fewer = max(1, min(before, items // each))
    if fewer == before:
        yield
        return
    numba.set_num_threads(fewer)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def threads() -> int:
    """The number of threads that kernels use now."""
    return numba.get_num_threads()
