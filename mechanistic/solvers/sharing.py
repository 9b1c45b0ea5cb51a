"""Cells shared out to threads. Kernels keep every cell to its own row, so numbers do not depend on the threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from mechanistic.threads import threads

_PARTS = 8  # a thread, for cells take unequally long


def share_out(run: Callable[[Iterator[tuple[int, int]]], None], count: int, each: int) -> None:
    """Calls `run` in as many threads as are in force, but with at least `each` of `count` rows to a thread.

    Args:
        run: takes rows, each time from a first below an end, off an iterator that all threads share.

    Raises:
        Whatever `run` raises.
    """
    if count == 0:
        return
    workers = max(1, min(threads(), count // each))
    pieces = 1 if workers == 1 else _PARTS * workers
    ends = [count * i // pieces for i in range(pieces + 1)]
    parts = iter([(ends[i], ends[i + 1]) for i in range(pieces)])
    if workers == 1:
        run(parts)
        return
    with ThreadPoolExecutor(workers) as pool:
        for one in [pool.submit(run, parts) for _ in range(workers)]:
            one.result()
