"""What a cell remembers of a network's events between two calls: one row of plain numbers.

Columns: the cell's number and its draws in the stream of random numbers that decides between events of equal
priority; each trigger as it last stood, 1 or 0; then, slot by slot, the events that wait: their position + 1 (0: the
slot is free), the time at which they are due, the values that they assign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mechanistic.parts import Event

STREAM, DRAWS, TRIGGERS = range(3)
_WAITING = 8  # times that one event with a delay may wait in a cell, at first


def slot_width(events: Sequence[Event]) -> int:
    return 2 + max((len(e.assignments) for e in events), default=0)


def slots(events: Sequence[Event]) -> int:
    """How many events may wait in a cell, unless more room is made."""
    delayed = sum(e.delay is not None for e in events)
    return _WAITING * delayed + len(events) - delayed


def fresh_memory(events: Sequence[Event], cells: int) -> np.ndarray:
    """(cell, width) before anything has happened; width 0 for a network without events."""
    if not events:
        return np.zeros((cells, 0))
    memory = np.zeros((cells, TRIGGERS + len(events) + slots(events) * slot_width(events)))
    memory[:, STREAM] = np.arange(cells)
    memory[:, TRIGGERS : TRIGGERS + len(events)] = [float(e.initial_value) for e in events]
    return memory


def with_room(memory: np.ndarray, events: Sequence[Event]) -> np.ndarray:
    """`memory` with twice as many slots."""
    more = memory.shape[1] - TRIGGERS - len(events)
    return np.concatenate([memory, np.zeros((len(memory), more))], axis=1)
