"""The events of one cell: what has been triggered, what waits, and in which order it is carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mechanistic.errors import IntegrationError
from mechanistic.event_memory import DRAWS, STREAM, TRIGGERS, slot_width
from mechanistic.parts import Event
from mechanistic.random import uniforms

_AT_ONCE = 10_000  # executions at one time; beyond, events set each other off without end


@dataclass(frozen=True)
class EventFunctions:
    """What an event needs to know of a moment, each a function of (time, state).

    `values` are what is assigned at `targets` (positions in the state), as it stands in math; `worth` is what 1 of each
    is worth in the state when it is carried out.
    """

    event: Event
    trigger: Callable[[float, np.ndarray], bool]
    delay: Callable[[float, np.ndarray], float] | None
    priority: Callable[[float, np.ndarray], float] | None
    values: Callable[[float, np.ndarray], list[float]]
    worth: Callable[[float, np.ndarray], list[float]]
    targets: tuple[int, ...]


@dataclass
class _Waiting:
    due: float
    event: int
    values: list[float] | None


class EventQueue:
    """Events of one cell from the start on, as SBML Level 3 orders them.

    Events that are due at once go by priority; equal priorities are drawn, events without one go last, as the
    document has them.

    Args:
        key, cell: of the random numbers, see `mechanistic.random`.
    """

    def __init__(self, events: Sequence[EventFunctions], key, cell: int):
        self.events, self._key, self._cell = list(events), key, cell
        self._held = [e.event.initial_value for e in events]
        self._waiting: list[_Waiting] = []
        self._draws = 0

    def recall(self, memory: np.ndarray) -> None:
        """Goes on from what `remembered` gave: (width,), see `mechanistic.event_memory`."""
        count = len(self.events)
        self._cell, self._draws = int(memory[STREAM]), int(memory[DRAWS])
        self._held = [bool(t) for t in memory[TRIGGERS : TRIGGERS + count]]
        slots = memory[TRIGGERS + count :].reshape(-1, slot_width([e.event for e in self.events]))
        for number, due, *values in slots[slots[:, 0] > 0]:
            event = self.events[int(number) - 1]
            kept = [float(v) for v in values[: len(event.targets)]] if event.event.from_trigger_time else None
            self._waiting.append(_Waiting(float(due), int(number) - 1, kept))

    def remembered(self) -> np.ndarray:
        """(width,), with as many slots as events wait."""
        width = slot_width([e.event for e in self.events])
        slots = np.zeros((len(self._waiting), width))
        for slot, w in zip(slots, self._waiting):
            slot[:2] = w.event + 1, w.due
            if w.values is not None:
                slot[2 : 2 + len(w.values)] = w.values
        return np.concatenate([[self._cell, self._draws], np.array(self._held, dtype=float), slots.ravel()])

    @property
    def next_due(self) -> float:
        """The time at which the next event that waits is carried out."""
        return min((w.due for w in self._waiting), default=np.inf)

    def at(self, time: float, state: np.ndarray, changed: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The state after everything that happens at `time`.

        Args:
            changed: what follows at once from each change of the state.

        Raises:
            IntegrationError: events set each other off without end; a delay is negative.
        """
        for _ in range(_AT_ONCE):
            self._look(time, state)
            due = [w for w in self._waiting if w.due <= time]
            if not due:
                return state
            chosen = self._choose(due, time, state)
            self._waiting.remove(chosen)
            event = self.events[chosen.event]
            values = event.values(time, state) if chosen.values is None else chosen.values
            assigned = np.array(values) * np.array(event.worth(time, state))
            state = state.copy()
            state[list(event.targets)] = assigned
            state = changed(state)
        name = self.events[chosen.event].event.id
        raise IntegrationError(f"the event '{name}' fires without end", time=time, species=name)

    def _look(self, time: float, state: np.ndarray) -> None:
        """Takes in what the triggers say now."""
        for i, e in enumerate(self.events):
            now = e.trigger(time, state)
            if now and not self._held[i]:
                delay = 0.0 if e.delay is None else e.delay(time, state)
                if not delay >= 0:
                    message = f"the delay of the event '{e.event.id}' is not 0 or more (got {delay:g})"
                    raise IntegrationError(message, time=time, species=e.event.id)
                values = e.values(time, state) if e.event.from_trigger_time else None
                self._waiting.append(_Waiting(time + delay, i, values))
            elif not now and not e.event.persistent:
                self._waiting = [w for w in self._waiting if w.event != i]
            self._held[i] = now

    def _choose(self, due: list[_Waiting], time: float, state: np.ndarray) -> _Waiting:
        if len(due) == 1:
            return due[0]
        ranked = []
        for w in due:
            priority = self.events[w.event].priority
            if priority is not None:
                ranked.append((priority(time, state), w))
        if not ranked:
            return min(due, key=lambda w: (w.due, w.event))
        highest = max(rank for rank, _ in ranked)
        first = [w for rank, w in ranked if rank == highest]
        if len(first) < 2:
            return first[0] if first else ranked[0][1]
        self._draws += 1
        drawn = uniforms(self._key, self._draws, [self._cell], 1)[0, 0]
        return first[int(drawn * len(first))]
