"""Stopping a run by a signal: at once while there is nothing to lose, after a checkpoint otherwise.

Python's own handlers wait until the main thread is out of a kernel, and a run asks between two steps. A thread of its
own therefore hears of a signal too, from the operating system, and ends the process where nothing else does in time.

Kept free of imports that take time: the handlers must stand before anything slow is loaded.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import time
from collections.abc import Callable

#: seconds in which a run must come to the end of its step, once it is asked to stop
PATIENCE = 9.0
#: seconds within which two signals are one: timeout(1) and others signal a process, and then its group
_AT_ONCE = 0.3

_requested = 0
_since = 0.0
_heard = False
_guarded = False
_last_words: Callable[[], str] | None = None


def install() -> None:
    """Take over SIGINT and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # signals of a forked process are its own
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    _thread.start_new_thread(_watch, (reading,))


def guard(on: bool) -> None:
    """From now on a signal asks the run to stop after its checkpoint (True), or ends the process at once (False)."""
    global _guarded
    _guarded = on


def guarded() -> bool:
    """Whether there is a checkpoint that a stopped run goes on from."""
    return _guarded


def last_words(words: Callable[[], str]) -> None:
    """What a process says on stderr that a signal ends at once."""
    global _last_words
    _last_words = words


def requested() -> int:
    """The signal that asked to stop, or 0; whoever hears of it has all the time to write a checkpoint."""
    global _heard
    _heard = _heard or bool(_requested)
    return _requested


def _handle(number: int, _frame: object) -> None:
    global _requested, _since
    now = time.monotonic()
    if _requested and now - _since < _AT_ONCE:
        return
    # a second signal, or one before the first commit, has nothing to wait for: the last commit is whole
    if _requested or not _guarded:
        _end(number)
    _requested, _since = number, now


def _watch(signals: int) -> None:
    """Ends the process at a signal that the main thread does not hear of in time, and at a second one."""
    while not (number := _next(signals, None)):
        pass
    began = time.monotonic()
    while True:
        second = _next(signals, 0.25)
        waited = time.monotonic() - began
        if (second and waited > _AT_ONCE) or (not _heard and waited > (PATIENCE if _guarded else 0.5)):
            _end(second or number)


def _next(signals: int, seconds: float | None) -> int:
    """The next signal that asks to stop, 0 where none comes in time."""
    if not select.select([signals], [], [], seconds)[0]:
        return 0
    number = os.read(signals, 1)[0]
    return number if number in (signal.SIGINT, signal.SIGTERM) else 0


def _end(number: int) -> None:
    if _last_words is not None:
        os.write(2, f"{_last_words()}\n".encode())
    os._exit(128 + number)
