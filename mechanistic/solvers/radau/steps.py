"""Cells of a tissue whose model has delays in math or fast reactions: many short courses, each going on from the last.

Between two calls a cell keeps what its delays look at (`mechanistic.past_memory`) and what it remembers of events
(`mechanistic.event_memory`). What is set from outside between them counts as a jump, growth as going on all the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.past_memory import (
    BEFORE,
    COUNT,
    LAST,
    NEXT,
    NODES,
    NOW,
    SCALE,
    SMOOTH,
    PastMemory,
    past_width,
)
from mechanistic.random import stream_key
from mechanistic.solvers.radau.course import Course
from mechanistic.solvers.radau.past import Before
from mechanistic.solvers.radau.solver import CourseSolver

_PIECES = 32  # a cell remembers at first
_TRIALS = 8


def fresh_past(network: ReactionNetwork, given: Mapping[str, Any], cells: int) -> np.ndarray:
    """(cell, width) of cells at time 0, before which rules and initial assignments hold.

    Args:
        given: what the initial state was made from, see `codegen.initial`.

    Raises:
        ModelError: a delay looks at what changes before the start.
    """
    delays = len(network.delays)
    past = np.zeros((cells, past_width(delays, _PIECES if delays else 0)))
    if delays == 0:
        return past
    before = Before(network, given)
    problems = [
        ModelProblem("a tissue cannot run a delay of what changes before the start", line, f"{key}.delay")
        for changes, (_, line, key) in zip(before.changes, network.delays)
        if changes
    ]
    if problems:
        raise ModelError(network.file, problems)
    for cell in range(cells):
        for delay in range(delays):
            past[cell, BEFORE + delay] = before.value(delay, cell, np.zeros(1))[0]
    return past


class _Remembered:
    """What delays look up in one cell before the present call."""

    def __init__(self, memory: PastMemory):
        self._memory = memory

    def value(self, delay: int, cell: int, times: np.ndarray) -> np.ndarray:
        values = self._memory.value(delay, times)
        if np.any(np.isnan(values)):
            time = float(times[np.isnan(values)][0])
            message = f"a delay looks back to time {time:g}, which the cell no longer remembers"
            raise IntegrationError(message, time=time)
        return values


class DelaySteps:
    """Short courses by a `CourseSolver`, one cell after the other; each result depends on its own row only."""

    def __init__(self, solver: CourseSolver):
        self._solver, self._network = solver, solver.network
        self._delays = len(solver.network.delays)
        self._key = stream_key(0, "order of events")
        self._order: list[int] = []
        for delay in range(self._delays):
            self._place(delay)

    def _place(self, delay: int) -> None:
        """After the delays that its lag and what it looks at need."""
        if delay not in self._order:
            for other in (*self._solver.lag_needs[delay], *self._solver.inner_needs[delay]):
                self._place(other)
            self._order.append(delay)

    def relaxed(self, state: np.ndarray, constants: np.ndarray, past: np.ndarray) -> np.ndarray:
        """(cell, state_ids) with fast reactions at equilibrium.

        Raises:
            IntegrationError: they have none that is stable and unique.
        """
        equilibrium = self._solver.equilibrium
        if equilibrium is None:
            return state
        result = state.copy()
        for cell, row in enumerate(state):
            course = self._course(row, constants[cell], 0.0, 1.0, 0.0, past[cell], 1e-6, np.ones(len(row)))
            try:
                result[cell] = equilibrium.of(course, 0.0, row)
            except IntegrationError as error:
                raise IntegrationError(f"cell {cell}: {error}", cell, error.time, error.species) from None
        return result

    def advance(
        self,
        state: np.ndarray,
        time: np.ndarray,
        step: np.ndarray,
        scale: np.ndarray,
        constants: np.ndarray,
        memory: np.ndarray,
        past: np.ndarray,
        dt: float,
        rtol: float,
        atol: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, dict[int, IntegrationError]]:
        """Steps every cell by `dt` [model time], in place.

        Args:
            state: (cell, state_ids); constants: (cell, settable_ids); time, step, scale: (cell,); see `PathwayState`.
            memory, past: (cell, width) each.

        Returns:
            Memory and past, with more room where it was short, and the cells that failed, which stay as they were.
        """
        failed = {}
        for cell in range(len(state)):
            remembered = past[cell].copy()
            course = self._course(
                state[cell],
                constants[cell],
                float(time[cell]),
                float(scale[cell]),
                dt,
                remembered,
                rtol,
                atol,
            )
            course.h = float(step[cell])
            if self._network.events:
                course.queue.recall(memory[cell])
            try:
                if self._delays:
                    present = course.inner(time[cell : cell + 1], state[cell : cell + 1])[:, 0]
                    earlier = PastMemory(remembered, self._delays)
                    earlier.grown(present, float(scale[cell]))
                    course.begins_as(earlier.present(present, rtol))
                course.run()
                pieces = self._pieces(course)
                until = self._oldest(course)
            except IntegrationError as error:
                when = float(time[cell]) if error.time is None else error.time
                failed[cell] = IntegrationError(f"cell {cell}: {error}", cell, when, error.species)
                continue
            while not PastMemory(remembered, self._delays).make_room(len(pieces), until):
                more = past.shape[1] - BEFORE - self._delays
                past, remembered = np.pad(past, ((0, 0), (0, more))), np.pad(remembered, (0, more))
            self._keep(remembered, course, pieces, rtol)
            past[cell] = remembered
            if self._network.events:
                kept = course.queue.remembered()
                memory = np.pad(memory, ((0, 0), (0, max(0, len(kept) - memory.shape[1]))))
                memory[cell] = 0.0
                memory[cell, : len(kept)] = kept
            state[cell], step[cell] = course.past.state, course.h
            time[cell] += dt
        return memory, past, failed

    def looked_up(self, inputs: list, past: np.ndarray) -> list[np.ndarray]:
        """(cell,) of what each delay looks up now.

        Args:
            inputs: of the graph, each (cell,), up to the constants; see `codegen.system`.
            past: (cell, width).
        """
        solver, cells = self._solver, len(past)
        full = [*inputs, *[np.full(cells, np.nan) for _ in range(self._delays)]]
        for delay in self._order:
            then = inputs[0] - np.broadcast_to(solver.lags[delay](full)[0], cells)
            found = np.array(
                [PastMemory(row, self._delays).value(delay, at[None])[0] for row, at in zip(past, then)]
            )
            if np.any(now := then >= past[:, NOW]):
                # what an inner delay looks up has been found before: delays are in order
                found[now] = np.broadcast_to(solver.inner[delay](full)[0], cells)[now]
            full[solver.first_delay + delay] = found
        return full[solver.first_delay :]

    def reach(self, inputs: list, past: np.ndarray) -> float:
        """The longest delay of any cell now; arguments as in `looked_up`."""
        full = [*inputs, *self.looked_up(inputs, past)]
        return max((float(np.max(lag(full)[0])) for lag in self._solver.lags), default=0.0)

    def amounts(self) -> list[bool]:
        """Of each delay, whether it looks at an amount: twice as much in a cell of twice the size.

        Raises:
            ModelError: one looks at what is neither an amount nor the same in cells of any size.
        """
        solver, network = self._solver, self._network
        found = [False] * self._delays
        rng = np.random.default_rng(0)
        constants = [*rng.uniform(0.5, 2.0, (len(network.settable_ids), _TRIALS))]
        states = rng.uniform(0.5, 2.0, (solver.states, _TRIALS))
        looked_up = rng.uniform(0.5, 2.0, (self._delays, _TRIALS))
        shared = np.array([2.0 if name in network.species_ids else 1.0 for name in network.state_ids])
        for delay in self._order:
            twice = np.where(found, 2.0, 1.0)[:, None] * looked_up
            once = solver.inner[delay]([1.0, 1.0, *states, *constants, *looked_up])[0]
            double = solver.inner[delay]([1.0, 2.0, *(states.T * shared).T, *constants, *twice])[0]
            if not np.allclose(double, once, equal_nan=True):
                found[delay] = True
                if not np.allclose(double, 2.0 * np.asarray(once), equal_nan=True):
                    _, line, key = network.delays[delay]
                    message = (
                        "a delay of what is neither an amount nor the same in cells of any size has no meaning in a "
                        "cell that divides: write it with concentrations, or growth: keeps_concentration"
                    )
                    raise ModelError(network.file, [ModelProblem(message, line, f"{key}.delay")])
        return found

    def _course(self, state, constants, time, scale, dt, past, rtol, atol) -> Course:
        memory = PastMemory(past, self._delays)
        course = Course(
            self._solver, state, constants, np.array([time, time + dt]), rtol, atol, self._key, 0,
            _Remembered(memory), longest=1.0, scale=scale,
        )  # fmt: skip
        for when, generation in memory.breaks():
            course.add_break(when, generation)
        return course

    def _pieces(self, course: Course) -> list[tuple[float, float, int, np.ndarray]]:
        if self._delays == 0:
            return []
        pieces = []
        for done in course.past.steps:
            times = done.start + (done.end - done.start) * NODES
            generation = SMOOTH if done.start == course.start else course.generation.get(done.start, SMOOTH)
            pieces.append((done.start, done.end, generation, course.inner(times, done.at(times))))
        return pieces

    def _oldest(self, course: Course) -> float:
        """The earliest time that a delay looks back to now."""
        now, state = course.past.time, course.past.state
        return min((course.looks_at(d, now, state) for d in range(self._delays)), default=now)

    def _keep(self, row: np.ndarray, course: Course, pieces: list, rtol: float) -> None:
        past = PastMemory(row, self._delays)
        known, grows = (int(row[NEXT]), row[SCALE] != course.scale) if row[COUNT] else (0, False)
        for start, end, generation, values in pieces:
            past.add(start, end, min(known, generation), values, rtol, grows)
            known, grows = SMOOTH, False
        row[NOW], row[LAST], row[SCALE] = course.past.time, course.start, course.scale
        row[NEXT] = course.generation.get(course.past.time, SMOOTH)
