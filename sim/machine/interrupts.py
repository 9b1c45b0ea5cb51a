"""Stopping a run by a signal: at once while there is nothing to lose, after a checkpoint otherwise.

Kept free of imports that take time: the handlers must stand before anything slow is loaded.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_requested = 0
_guarded = False
_last_words: Callable[[], str] | None = None


def install() -> None:
    """Take over SIGINT and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)


def guard(on: bool) -> None:
    """From now on a signal asks the run to stop after its checkpoint (True), or ends the process at once (False)."""
    global _guarded
    _guarded = on


def last_words(words: Callable[[], str]) -> None:
    """What a process says on stderr that a signal ends at once."""
    global _last_words
    _last_words = words


def requested() -> int:
    """The signal that asked to stop, or 0."""
    return _requested


def _handle(number: int, _frame: object) -> None:
    global _requested
    # a second signal, or one before the first commit, has nothing to wait for: the last commit is whole
    if _requested or not _guarded:
        if _last_words is not None:
            os.write(2, f"{_last_words()}\n".encode())
        os._exit(128 + number)
    _requested = number
