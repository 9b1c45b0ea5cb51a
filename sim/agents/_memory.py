"""Memory that was freed, given back to the system before a step that takes much."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

_MANY = 100_000  # cells from which on it is worth a call


@cache
def _trim() -> Callable[[int], int] | None:
    """`malloc_trim` of the C library; None where it has none: only GNU's keeps what arrays of megabytes leave."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def give_back(cells: int) -> None:
    """Let go of pages that arrays of the last step left, which would stand beside those of the next one."""
    trim = _trim()
    if trim is not None and cells >= _MANY:
        trim(0)
