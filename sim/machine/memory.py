"""How much memory there is, and how a large tissue asks for it."""

from __future__ import annotations

import contextlib
import ctypes
import os

#: cells from which on memory is worth more than the time to ask the system for it
_MANY = 300_000
#: bytes of an array that is then asked of the system, and given back to it, by itself
_BY_ITSELF = 2**20
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of GNU's malloc.h


def prepare_for(cells: int) -> None:
    """Let arrays of many cells leave nothing behind when they go.

    GNU's library else keeps what was freed between two arrays that stay, where the next one seldom fits in: a
    twentieth of all that is in use.
    """
    if cells >= _MANY:
        with contextlib.suppress(AttributeError, OSError, TypeError):  # another library, without this habit
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _BY_ITSELF)


def free_memory() -> float:
    """Bytes of memory that can be had without swapping."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
