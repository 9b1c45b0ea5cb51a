"""Some cells of one model to later times, or until they rest; with derivatives, or so as to be gone back over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mechanistic.codegen.initial import initial_values
from mechanistic.codegen.system import System
from mechanistic.errors import IntegrationError
from mechanistic.event_memory import TRIGGERS, fresh_memory
from mechanistic.solvers.discrete_adjoint.course import Follower
from mechanistic.stepping import Cells, Stepper
from sim.fitting.rest import Rest

_AT_ONCE = 4096  # pairs of cell and parameter that are integrated together
_LONGEST = 1e12  # [model time] for which a cell is followed to its rest


@dataclass(frozen=True)
class Settings:
    """Tolerances of the integrator.

    Attributes:
        rtol: of the course; `slopes_rtol`: of the tangents that are carried along beside it.
        atol: of both, in units of the largest initial stored value of the model.
    """

    rtol: float = 1e-8
    atol: float = 1e-16
    slopes_rtol: float = 1e-6


@dataclass(frozen=True)
class Followed:
    """What became of some cells.

    Attributes:
        course: (cell, time, state_ids).
        slopes: (cell, time, state_ids, estimated), or None.
        memory: of their events, see `mechanistic.event_memory`.
        pull: of what is asked of the course, the same shape: what that asks of the stored values before (cell,
            variable); what it asks of parameters of the fit directly is added to its second argument. None where no
            way back was asked for.
    """

    course: np.ndarray
    slopes: np.ndarray | None
    memory: np.ndarray
    pull: Callable[[np.ndarray, np.ndarray], np.ndarray] | None


class Integrator(Protocol):
    """What follows the cells of one network: `Spans`, or what looks like it."""

    def begin(self, values: np.ndarray) -> None:
        """Told the values of all parameters of the fit before each run."""
        ...

    def memory(self, cells: int) -> np.ndarray: ...

    def follow(
        self, stored: np.ndarray, slopes: np.ndarray | None, memory: np.ndarray, grid: np.ndarray, back: bool
    ) -> Followed: ...

    def settle(
        self, stored: np.ndarray, slopes: np.ndarray | None, memory: np.ndarray, time: float, back: bool
    ) -> Followed: ...


class Spans:
    """Integrates cells of one network.

    Args:
        system: its equations.
    """

    def __init__(self, system: System, settings: Settings):
        self.system, self.network, self.settings = system, system.network, settings
        self.states = len(self.network.state_ids)
        self.rest = Rest(self.network)
        state, constants = initial_values(self.network, {}, 1)
        self._defaults = constants[0]
        self._level = settings.atol * (float(np.abs(np.nan_to_num(state[0])).max(initial=0.0)) or 1.0)
        self._stepper: Stepper | None = None
        self._followers: dict[bool, Follower] = {}
        self._matter = self._that_matter()

    def begin(self, values: np.ndarray) -> None:
        """Nothing here follows from the parameters but the stored values."""

    def memory(self, cells: int) -> np.ndarray:
        """Of events, before anything has happened."""
        return fresh_memory(self.network.events, cells)

    def follow(
        self, stored: np.ndarray, slopes: np.ndarray | None, memory: np.ndarray, grid: np.ndarray, back: bool
    ) -> Followed:
        """The course over `grid` [model time], rising, that begins at grid[0].

        Args:
            stored, slopes: (cell, variable) and (cell, variable, estimated).

        Raises:
            IntegrationError: names the row of the cell.
        """
        if not self.states:
            return self._resting(stored, slopes, memory, len(grid), back)
        if slopes is not None:
            return self._with_slopes(stored, slopes, memory, grid)
        if back:
            return self._recorded(stored, memory, grid)
        return self._plain(stored, memory, grid)

    def settle(
        self, stored: np.ndarray, slopes: np.ndarray | None, memory: np.ndarray, time: float, back: bool
    ) -> Followed:
        """Where the cells rest that are at `time`; a course of one time.

        Raises:
            IntegrationError: a cell comes to no rest, or cannot be followed.
        """
        if not self.states:
            return self._resting(stored, slopes, memory, 1, back)
        state, memory_after, passed = self._settled(stored, memory, time)
        constants = stored[:, self.states :]
        linear = [
            None if self.network.events else self.rest.linear(time, x, c) for x, c in zip(state, constants)
        ]
        if any(one is None for one in linear) and (slopes is not None or back):
            # the equations at rest do not say how the rest depends on the start: the way there does
            far = np.array([time, time + passed])
            way = self.follow(stored, slopes, memory, far, back)
            first = np.zeros((len(stored), 1, self.states))
            by_way = way.pull

            def through(asked: np.ndarray, parameters: np.ndarray) -> np.ndarray:
                assert by_way is not None
                return by_way(np.concatenate([first, asked], 1), parameters)

            tangents = None if way.slopes is None else way.slopes[:, 1:]
            return Followed(state[:, None], tangents, memory_after, through if back else None)
        tangents = None
        if slopes is not None:
            both = [one.tangent(s[: self.states], s[self.states :]) for one, s in zip(linear, slopes) if one]
            tangents = np.array(both)[:, None]

        def pull(asked: np.ndarray, _: np.ndarray) -> np.ndarray:
            return np.array([np.concatenate(one.pulled(a[0])) for one, a in zip(linear, asked) if one])

        return Followed(state[:, None], tangents, memory_after, pull if back else None)

    # ---- without derivatives

    def _engine(self) -> Stepper:
        if self._stepper is None:
            self._stepper = Stepper(System(self.network, course=True), self._defaults)
            self._stepper.method("native")
        return self._stepper

    def _cells(self, stored: np.ndarray, memory: np.ndarray, time: float) -> Cells:
        state, constants = stored[:, : self.states].copy(), stored[:, self.states :]
        own = np.flatnonzero(np.any(constants != self._defaults, axis=0))
        own = own[~np.all(np.isnan(constants[:, own]), axis=0)]
        values = np.ascontiguousarray(constants[:, own])
        count = len(stored)
        return Cells(state, np.full(count, time), np.zeros(count), np.ones(count), own, values, memory.copy())

    def _plain(self, stored: np.ndarray, memory: np.ndarray, grid: np.ndarray) -> Followed:
        level = np.full(self.states, self._level)
        cells = self._cells(stored, memory, float(grid[0]))
        course, failed, _ = self._engine().course(cells, grid - grid[0], self.settings.rtol, level)
        if failed:
            raise failed[min(failed)]
        if self.network.events and len(grid) > 1:
            # what a course remembers may lie beyond its last time
            cells = self._cells(stored, memory, float(grid[0]))
            self._advance(cells, float(grid[-1] - grid[0]), level)
            course[:, -1] = cells.state
        return Followed(course, None, cells.memory, None)

    def _advance(self, cells: Cells, dt: float, level: np.ndarray) -> None:
        failed = self._engine().advance("native", cells, dt, self.settings.rtol, level)
        if failed:
            raise failed[min(failed)]

    def _settled(self, stored, memory, time: float) -> tuple[np.ndarray, np.ndarray, float]:
        """States at rest, memories, and [model time] after which all were."""
        level = np.full(self.states, self._level)
        cells = self._cells(stored, memory, time)
        found, waiting, dt, passed = np.full_like(cells.state, np.nan), np.arange(len(stored)), 1.0, 0.0
        while len(waiting):
            for k in waiting:
                rest = self.rest.settled(
                    float(cells.time[k]), cells.state[k], stored[k, self.states :], passed
                )
                if rest is not None and (passed > 0.0 or not self.network.events):
                    found[k] = rest
            waiting = np.flatnonzero(np.isnan(found).any(1))
            if not len(waiting):
                break
            if passed > _LONGEST:
                rate = self.rest.tangent.change(
                    [
                        float(cells.time[waiting[0]]),
                        1.0,
                        *cells.state[waiting[0]],
                        *stored[waiting[0], self.states :],
                    ]
                )
                name = self.network.state_ids[int(np.argmax(np.abs(rate)))]
                message = f"cell {waiting[0]}: no steady state was found; '{name}' still changes"
                raise IntegrationError(message, int(waiting[0]), None, name)
            self._advance(cells, dt, level)
            passed += dt
            dt *= 10.0
        return found, cells.memory, passed

    # ---- with derivatives

    def _derived(self, back: bool) -> Follower:
        if back not in self._followers:
            self._followers[back] = Follower(self.network, transposed=back)
        return self._followers[back]

    def _triggers(self, memory: np.ndarray) -> np.ndarray:
        return memory[:, TRIGGERS : TRIGGERS + len(self.network.events)] > 0

    def _remembered(self, memory: np.ndarray, triggers: np.ndarray) -> np.ndarray:
        memory = memory.copy()
        memory[:, TRIGGERS : TRIGGERS + len(self.network.events)] = triggers
        return memory

    def _with_slopes(self, stored, slopes, memory, grid) -> Followed:
        """The course by the engine that any simulation takes; beside it, the tangents."""
        plain = self._plain(stored, memory, grid)
        n, level = self.states, np.full(self.states, self._level)
        constants = stored[:, n:]
        moving = np.any(slopes[:, :n] != 0, axis=1) | np.any(slopes[:, n:][:, self._matter] != 0, axis=1)
        cell, lane = np.nonzero(moving)
        result = np.zeros((len(stored), len(grid), n, slopes.shape[2]))
        for first in range(0, len(cell), _AT_ONCE):
            c, e = cell[first : first + _AT_ONCE], lane[first : first + _AT_ONCE]
            along = slopes[c, :, e]
            # tangents in the size of what they are tangents of
            size = self._sizes(stored[c], along)
            try:
                found, _ = self._derived(back=False).run(
                    stored[c, :n], constants[c], grid, self.settings.slopes_rtol, level,
                    (along[:, :n] / size, along[:, n:] / size),
                    self._triggers(memory)[c] if self.network.events else None,
                )  # fmt: skip
            except IntegrationError as error:
                # a lane is a pair of a cell and a parameter
                error.cell = int(c[error.cell or 0])
                raise
            result[c, :, :, e] = found[..., 1] * size[:, :, None]
        return Followed(plain.course, result, plain.memory, None)

    def _sizes(self, stored: np.ndarray, along: np.ndarray) -> np.ndarray:
        """(lane, 1) what to measure each tangent in: so that it moves no value by more than that value's size."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.abs(along) / np.abs(stored)
        share = np.where(np.isfinite(share), share, 0.0).max(1)
        floor = np.abs(along).max(1)
        share = np.where(share > 0, share, np.where(floor > 0, floor, 1.0))
        return share[:, None]

    def _recorded(self, stored, memory, grid) -> Followed:
        n, follower = self.states, self._derived(back=True)
        triggers = self._triggers(memory) if self.network.events else None
        level = np.full(n, self._level)
        found, tape = follower.run(
            stored[:, :n], stored[:, n:], grid, self.settings.rtol, level, None, triggers
        )

        def pull(asked: np.ndarray, _: np.ndarray) -> np.ndarray:
            return np.concatenate(follower.pull_back(tape, grid, asked), 1)

        return Followed(found[..., 0], None, self._remembered(memory, tape.triggers), pull)

    def _resting(self, stored, slopes, memory, times: int, back: bool) -> Followed:
        """Of a model in which nothing changes."""
        course = np.empty((len(stored), times, 0))
        tangents = None if slopes is None else np.empty((len(stored), times, 0, slopes.shape[2]))
        pull = (lambda _asked, _parameters: np.zeros_like(stored)) if back else None
        return Followed(course, tangents, memory, pull)

    def _that_matter(self) -> np.ndarray:
        """(settable_ids,) whether a constant has a part in how the state changes."""
        graph, system = self.system.graph, self.system
        nodes = list(system.derivative)
        for e in system.events:
            nodes += [e.trigger, *(node for _, node in e.assignments)]
        needed = set(graph.needed(nodes))
        at = (system.constant_at[name] for name in self.network.settable_ids)
        return np.array([graph.input(k) in needed for k in at], dtype=bool)
