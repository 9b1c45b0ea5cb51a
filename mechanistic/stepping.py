"""Which integrator steps the cells of a model, and what is tried when one fails.

The ladder for a cell that fails: the native engine again with tolerances a hundredth as large and a fresh step;
if it failed once more RoadRunner; then an error that names cell, time and variable. Other cells are never touched
by it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import System
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.event_memory import fresh_memory
from mechanistic.reference import RoadRunnerStepper

if TYPE_CHECKING:
    from mechanistic.network import ReactionNetwork
    from mechanistic.solvers.native import Failure

METHODS = ("auto", "native", "roadrunner")
_TIGHTER = 1e-2
_NONE = np.empty(0)
_MOST_NAMED = 5


@dataclass
class Cells:
    """The cells to step: arrays that are changed in place, one row a cell.

    Attributes:
        state: (cell, state_ids), as `codegen.system` stores them.
        time, step, scale: (cell,).
        columns: positions in settable_ids of the constants that cells have of their own.
        values: (cell, columns) those constants.
        memory: (cell, width) of events, see `mechanistic.event_memory`; may be replaced by a wider one.
    """

    state: np.ndarray
    time: np.ndarray
    step: np.ndarray
    scale: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    memory: np.ndarray

    def rows(self, rows: np.ndarray) -> Cells:
        """Copies of some rows."""
        return Cells(
            self.state[rows],
            self.time[rows],
            self.step[rows],
            self.scale[rows],
            self.columns,
            self.values[rows],
            self.memory[rows],
        )

    def put(self, rows: np.ndarray, cells: Cells) -> None:
        """Takes over state, time, step and memory of `cells` at `rows`."""
        self.state[rows], self.time[rows], self.step[rows] = cells.state, cells.time, cells.step
        wider, narrower = cells.memory.shape[1], self.memory.shape[1]
        if wider > narrower:
            self.memory = np.pad(self.memory, ((0, 0), (0, wider - narrower)))
        self.memory[rows, :wider] = cells.memory


class Stepper:
    """Steps cells of one network by the method that fits it.

    Args:
        defaults: (settable_ids,) the model's own constants.
    """

    def __init__(self, system: System, defaults: np.ndarray):
        self.network, self.system, self.defaults = system.network, system, defaults
        self.roadrunner = RoadRunnerStepper(system.network)
        self._native = None
        self._why_not: str | None = None
        self._lock = threading.Lock()

    def method(self, asked: str) -> str:
        """ "native" or "roadrunner".

        Raises:
            ModelError: no such method; the native engine was asked for and cannot run this network.
        """
        if asked not in METHODS:
            known = f"{', '.join(METHODS)} and, for a time course, radau, ssa, tau-leaping and langevin"
            raise ModelError(self.network.file, f"unknown method '{asked}'; methods are {known}")
        if asked == "roadrunner":
            return asked
        if not self.network.state_ids or self._engine() is not None:
            return "native"
        if asked == "native":
            raise ModelError(self.network.file, f"the native engine cannot run this model: {self._why_not}")
        return "roadrunner"

    def memory(self, method: str, cells: int) -> np.ndarray:
        """What cells remember of events before anything has happened; nothing where RoadRunner runs them."""
        return fresh_memory(self.network.events if method == "native" else (), cells)

    def advance(
        self, method: str, cells: Cells, dt: float, rtol: float, atol: np.ndarray
    ) -> dict[int, IntegrationError]:
        """Steps every cell by `dt` in place; the failed ones, which stay as they were, by row.

        Args:
            method: what `method` returned.
            atol: (state_ids,) of every stored value.
        """
        if dt <= 0 or len(cells.state) == 0:
            return {}
        if not self.network.state_ids:
            cells.time += dt
            return {}
        if method == "roadrunner":
            return self._by_roadrunner(cells, np.arange(len(cells.state)), dt, rtol, atol)
        return self._by_ladder(cells, dt, rtol, atol)

    def course(
        self, cells: Cells, outputs: np.ndarray, rtol: float, atol: np.ndarray, seed: int = 0
    ) -> tuple[np.ndarray, dict[int, IntegrationError], int]:
        """The state (cell, time, state_ids) at `outputs`, times after the cells' own, by the native engine.

        Also the cells that failed, by row, whose course is not to be used; and how many RoadRunner finished.
        What a cell reached before it failed stands even if it is tried again, so no number depends on how far a
        course goes.
        """
        if not self.network.state_ids:
            return np.empty((len(cells.state), len(outputs), 0)), {}, 0
        course, failed = self._by_native(cells, np.inf, outputs, rtol, atol, seed)
        if not failed:
            return course, {}, 0
        # cells that fail stay as they were
        retried = np.array(list(failed), dtype=np.intp)
        again = cells.rows(retried)
        again.step[:] = 0.0
        finer, still = self._by_native(again, np.inf, outputs, rtol * _TIGHTER, atol * _TIGHTER, seed)
        errors, by_roadrunner = {}, 0
        for k, row in enumerate(retried):
            if k in still and still[k].hopeless:
                errors[int(row)] = self._named(cells, int(row), still[k])
                continue
            start = float(cells.time[row])
            later = start + outputs > failed[int(row)].time
            if k in still:
                constants = self._constants(cells, int(row))
                times = np.concatenate([[start], start + outputs[outputs > 0]])
                try:
                    found = self.roadrunner.advance(
                        cells.state[row], constants, float(cells.scale[row]), times, rtol, atol
                    )
                except IntegrationError as error:
                    errors[int(row)] = self._named(cells, int(row), still[k], error)
                    continue
                finer[k] = found[np.searchsorted(times, start + outputs)]
                by_roadrunner += 1
            course[row, later] = finer[k, later]
        return course, errors, by_roadrunner

    def _by_ladder(
        self, cells: Cells, dt: float, rtol: float, atol: np.ndarray
    ) -> dict[int, IntegrationError]:
        _, failed = self._by_native(cells, dt, _NONE, rtol, atol)
        if not failed:
            return {}
        # cells that fail stay as they were
        retried = np.array(list(failed), dtype=np.intp)
        again = cells.rows(retried)
        again.step[:] = 0.0
        _, still = self._by_native(again, dt, _NONE, rtol * _TIGHTER, atol * _TIGHTER)
        # the step that fits tolerances so tight says little about the next call
        again.step[:] = 0.0
        cells.put(retried, again)
        errors = {}
        for k, failure in still.items():
            row = int(retried[k])
            if self.network.events or failure.hopeless:
                # RoadRunner begins anew with every call: it knows of no event that waits
                errors[row] = self._named(cells, row, failure)
                continue
            by = self._by_roadrunner(cells, np.array([row]), dt, rtol, atol)
            if row in by:
                errors[row] = self._named(cells, row, failure, by[row])
        return errors

    def _engine(self):
        if self._native is None and self._why_not is None:
            from mechanistic.solvers.native import NativeStepper
            from mechanistic.solvers.program import OutOfScope

            with self._lock:
                if self._native is None and self._why_not is None:
                    try:
                        self._native = NativeStepper(self.system, self.defaults)
                    except OutOfScope as error:
                        self._why_not = str(error)
        return self._native

    def _by_native(
        self, cells: Cells, dt: float, outputs: np.ndarray, rtol: float, atol: np.ndarray, seed: int = 0
    ) -> tuple[np.ndarray, dict[int, Failure]]:
        engine = self._engine()
        assert engine is not None
        course, cells.memory, failed = engine.run(
            cells.state, cells.time, cells.step, cells.scale, cells.columns, cells.values, cells.memory, dt,
            outputs, rtol, atol, seed,
        )  # fmt: skip
        return course, failed

    def _constants(self, cells: Cells, row: int) -> np.ndarray:
        """(settable_ids,) of one cell."""
        constants = self.defaults.copy()
        constants[cells.columns] = cells.values[row]
        return constants

    def _by_roadrunner(
        self, cells: Cells, rows: np.ndarray, dt: float, rtol: float, atol: np.ndarray
    ) -> dict[int, IntegrationError]:
        failed = {}
        for row in rows:
            constants = self._constants(cells, int(row))
            now = float(cells.time[row])
            times = np.array([now, now + dt])
            try:
                if not np.all(np.isfinite(cells.state[row])):
                    raise IntegrationError("its state is not finite", time=now)
                course = self.roadrunner.advance(
                    cells.state[row], constants, float(cells.scale[row]), times, rtol, atol
                )
            except IntegrationError as error:
                culprit = error.species or self._culprit(cells, row, constants)
                message = f"cell {row} at time {now:g}: {error} ('{culprit}' changes fastest)"
                failed[int(row)] = IntegrationError(message, int(row), now, culprit)
                continue
            cells.state[row] = course[-1]
            cells.time[row] = now + dt
        return failed

    def _named(
        self, cells: Cells, row: int, failure: Failure, last: IntegrationError | None = None
    ) -> IntegrationError:
        """The error of a cell that no method got through, from where `cells` has it."""
        name, reason, time = failure.variable, failure.reason, failure.time
        if failure.event:
            message = f"cell {row} at time {time:g}: the event '{name}' {reason}"
            return IntegrationError(message, row, time, name)
        if failure.hopeless:
            message = f"cell {row} at time {time:g}: '{name}' {reason}{_movers(self.network, name)}"
            return IntegrationError(message, row, time, name)
        finite = np.isfinite(self._rates(cells, row, self._constants(cells, row)))
        if time == cells.time[row] and not finite.all():
            name = self.network.state_ids[int(np.argmin(finite))]
            through = _movers(self.network, name)
            message = f"cell {row} at time {time:g}: the rate of change of '{name}' is not finite{through}"
            return IntegrationError(message, row, time, name)
        through = _movers(self.network, name)
        also = "" if last is None else f"; {str(last).removeprefix(f'cell {row} ')}"
        message = f"cell {row} at time {time:g}: '{name}' cannot be followed: {reason}{through}{also}"
        return IntegrationError(message, row, time, name)

    def _rates(self, cells: Cells, row: int, constants: np.ndarray) -> np.ndarray:
        """(state_ids,) the rates of change of one cell."""
        inputs = [float(cells.time[row]), float(cells.scale[row]), *cells.state[row], *constants]
        return np.array([float(v) for v in evaluate(self.system.graph, self.system.derivative, inputs)])

    def _culprit(self, cells: Cells, row: int, constants: np.ndarray) -> str:
        """The variable that is not finite, or changes fastest relative to its size."""
        state, rates = cells.state[row], self._rates(cells, row, constants)
        with np.errstate(over="ignore"):
            speed = np.abs(rates) / (np.abs(state) + 1e-300)
        return self.network.state_ids[int(np.argmax(np.where(np.isfinite(speed), speed, np.inf)))]


def _movers(network: ReactionNetwork, name: str) -> str:
    """The reactions and events that change a variable, as words in brackets."""
    reactions = [r.id for r in network.reactions if name in _changed_by(r)]
    events = [e.id for e in network.events if any(a.variable == name for a in e.assignments)]
    parts = [
        f"{kind} {', '.join(ids[:_MOST_NAMED])}{', ...' if len(ids) > _MOST_NAMED else ''}"
        for kind, ids in (("reactions", reactions), ("events", events))
        if ids
    ]
    return f" ({'; '.join(parts)})" if parts else ""


def _changed_by(reaction) -> set[str]:
    return {q.species for q in (*reaction.reactants, *reaction.products)}
