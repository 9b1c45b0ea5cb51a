"""The numbers of all cells that were ever born, of which there may be many, in little room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


class Numbers:
    """Whole numbers in ascending order, held as runs without a gap: numbers that are given one after the other take
    the room of one."""

    def __init__(self) -> None:
        self._first = np.empty(0, np.int64)  # number of each run
        self._place = np.zeros(1, np.int64)  # of it among all numbers, and behind them how many there are

    def __len__(self) -> int:
        return int(self._place[-1])

    def add(self, numbers: Places) -> None:
        """Add numbers (n,) behind those that are there.

        Raises:
            ValueError: they do not ascend, or begin below the last one.
        """
        if not len(numbers):
            return
        gap = np.diff(numbers)
        last = self._first[-1:] + np.diff(self._place[-2:]) - 1
        if (gap <= 0).any() or (numbers[:1] <= last).any():
            raise ValueError("numbers of new cells must ascend")
        starts = np.flatnonzero(np.concatenate([[True], gap > 1]))
        if (numbers[:1] == last + 1).any():
            starts = starts[1:]
        self._first = np.concatenate([self._first, numbers[starts]])
        self._place = np.concatenate([self._place[:-1], len(self) + starts, [len(self) + len(numbers)]])

    def places(self, numbers: Places) -> Places:
        """Where each of some numbers (m,) stands.

        Raises:
            ValueError: one is not there.
        """
        run = np.searchsorted(self._first, numbers, side="right") - 1
        if (run >= 0).all():
            places = self._place[run] + (numbers - self._first[run])
            if (places < self._place[run + 1]).all():
                return places
        raise ValueError("death of a cell that was never born")
