"""What a cell remembers of what its delays look back to, between two calls: one row of plain numbers.

Columns: the time up to which the past is known, and that at which the last call began; the cell's scale in it; how many
pieces the past has; whether older ones were dropped; how smooth the present moment is (see `SMOOTH`); what each delay
looks at before the start; then piece by piece, the oldest first, its start, its end, how smooth its start is, and the
values that each delay looks at, at `NODES` of the piece.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NOW, LAST, SCALE, COUNT, DROPPED, NEXT, BEFORE = range(7)
_START, _END, _GENERATION, _VALUES = range(4)
#: a moment at which nothing jumps; 0 where a value does, and one more for every derivative that does not
SMOOTH = 7
_POINTS = 6
_LARGE = 0.05
_GROWN = 0.2  # is the most that growth is taken to change between two calls
NODES = (1.0 + np.polynomial.legendre.leggauss(_POINTS)[0]) / 2.0
_POWERS = np.arange(_POINTS)
_COEFFICIENTS = np.linalg.inv(NODES[:, None] ** _POWERS)


def piece_width(delays: int) -> int:
    return _VALUES + _POINTS * delays


def past_width(delays: int, pieces: int) -> int:
    return BEFORE + delays + pieces * piece_width(delays)


def amounts_in(amounts: Sequence[bool], width: int) -> tuple[bool, ...]:
    """(width,): the columns that hold amounts, which daughters share; `amounts`: which delays look at one."""
    piece = [False] * _VALUES + [a for a in amounts for _ in range(_POINTS)]
    columns = [False] * BEFORE + list(amounts)
    columns += piece * ((width - len(columns)) // len(piece))
    return tuple(columns)


class PastMemory:
    """One cell's row, read and written.

    Args:
        row: (width,), changed in place.
        delays: how many the network has.
    """

    def __init__(self, row: np.ndarray, delays: int):
        self.row, self.delays = row, delays
        first = BEFORE + delays
        self.pieces = row[first : first + (len(row) - first) // piece_width(delays) * piece_width(delays)]
        self.pieces = self.pieces.reshape(-1, piece_width(delays))

    @property
    def count(self) -> int:
        return int(self.row[COUNT])

    def value(self, delay: int, times: np.ndarray) -> np.ndarray:
        """(time,): what delay number `delay` looks at; NaN where it was dropped."""
        count = self.count
        result = np.full(len(times), self.row[BEFORE + delay])
        if count == 0:
            return result
        known = self.pieces[:count]
        which = np.searchsorted(known[:, _START], times, side="right") - 1
        if self.row[DROPPED]:
            result[which < 0] = np.nan
        for k in np.unique(which[which >= 0]):
            piece, at = known[k], which == k
            # between two calls, and for who asks beyond the present, the last value holds
            share = np.minimum((times[at] - piece[_START]) / (piece[_END] - piece[_START]), 1.0)
            result[at] = share[:, None] ** _POWERS @ (_COEFFICIENTS @ self._values(piece, delay))
        return result

    def breaks(self) -> list[tuple[float, int]]:
        """The times at which something jumps, and how smooth each is."""
        known = self.pieces[: self.count]
        return [(float(p[_START]), int(p[_GENERATION])) for p in known if p[_GENERATION] < SMOOTH]

    def make_room(self, needed: int, until: float) -> bool:
        """Drops what lies before `until`, as far as `needed` more pieces ask for it; whether they fit now."""
        surplus = self.count + needed - len(self.pieces)
        if surplus <= 0:
            return True
        old = int(np.searchsorted(self.pieces[: self.count, _END], until))
        if surplus > old:
            return False
        kept = self.pieces[surplus : self.count].copy()
        self.pieces[: len(kept)] = kept
        self.pieces[len(kept) :] = 0.0
        self.row[COUNT], self.row[DROPPED] = len(kept), 1.0
        return True

    def grown(self, present: np.ndarray, scale: float) -> None:
        """Spreads over the last call what a cell that grew has changed by since: it grows all the time.

        A larger change is none of growth and is left as a jump.

        Args:
            present: (delay,) what each delay looks at now.
            scale: of the cell now.
        """
        if self.count == 0 or scale == self.row[SCALE]:
            return
        since, now = self.row[LAST], self.row[NOW]
        known = self.pieces[: self.count]
        for delay, value in enumerate(present):
            at = slice(_VALUES + _POINTS * delay, _VALUES + _POINTS * (delay + 1))
            change = value - float(np.sum(_COEFFICIENTS @ known[-1, at]))
            if abs(change) > _GROWN * np.abs(known[-1, at]).max():
                continue
            for k in np.flatnonzero(known[:, _START] >= since):
                piece = known[k]
                times = piece[_START] + (piece[_END] - piece[_START]) * NODES
                piece[at] += change * (times - since) / (now - since)

    def add(
        self, start: float, end: float, generation: int, values: np.ndarray, rtol: float, grows: bool = False
    ) -> None:
        """One more piece, for which there is room.

        Args:
            generation: how smooth its start is known to be at best.
            values: (delay, NODES).
            rtol: a jump of less than this, relative to the values, is none.
            grows: whether the cell does: a slope that changes with it is taken for a smaller change.
        """
        count = self.count
        self.pieces[count] = [
            start,
            end,
            min(generation, self._joint(end - start, values, rtol, grows)),
            *values.ravel(),
        ]
        self.row[COUNT] = count + 1

    def present(self, values: np.ndarray, rtol: float) -> int:
        """How smooth now is, where the past has just ended and each delay looks at `values` (delay,).

        That nothing but the values jumps is taken for granted; `add` knows better.
        """
        if self.count == 0:
            return 0
        smooth = min(int(self.row[NEXT]), SMOOTH - 1)
        for delay, value in enumerate(values):
            last = self._values(self.pieces[self.count - 1], delay)
            jump = abs(value - float(np.sum(_COEFFICIENTS @ last)))
            smooth = min(smooth, _smoothness(jump, np.abs(last).max(), rtol, 0, 4))
        return smooth

    def _joint(self, length: float, values: np.ndarray, rtol: float, grows: bool) -> int:
        """How smoothly a piece of `values` goes on from the last one, as far as value and slope tell.

        What is small is taken to be smoother: its traces in later derivatives soon are below the tolerance.
        """
        if self.count == 0:
            return 0
        last = self.pieces[self.count - 1]
        smooth = SMOOTH
        for delay in range(self.delays):
            before = _COEFFICIENTS @ self._values(last, delay)
            after = _COEFFICIENTS @ values[delay]
            level = max(np.abs(self._values(last, delay)).max(), np.abs(values[delay]).max())
            slope = _POWERS @ before / (last[_END] - last[_START])
            smooth = min(smooth, _smoothness(abs(after[0] - before.sum()), level, rtol, 0, 4))
            smooth = min(
                smooth, _smoothness(abs(after[1] - slope * length), level, rtol, 6 if grows else 1, 6)
            )
        return smooth

    def _values(self, piece: np.ndarray, delay: int) -> np.ndarray:
        first = _VALUES + _POINTS * delay
        return piece[first : first + _POINTS]


def _smoothness(jump: float, level: float, rtol: float, large: int, small: int) -> int:
    if jump <= 10.0 * rtol * level:
        return SMOOTH
    return large if jump > _LARGE * level else small
