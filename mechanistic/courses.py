"""The time course of some cells of a model: the numbers by whichever method runs it, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import System
from mechanistic.datasets import course_table
from mechanistic.errors import IntegrationError
from mechanistic.event_memory import fresh_memory
from mechanistic.stepping import Cells, Stepper

if TYPE_CHECKING:
    import xarray

    from mechanistic.pathway_state import PathwayState
    from mechanistic.solvers.chance.leaping import Leaper
    from mechanistic.solvers.chance.stochastic import StochasticStepper
    from mechanistic.solvers.radau.solver import CourseSolver
    from mechanistic.solvers.radau.steps import DelaySteps

LEAPS = ("tau-leaping", "langevin")


class Courses:
    """Time courses of the network of `system`.

    Args:
        defaults: (settable_ids,) the model's own constants.
    """

    def __init__(self, system: System, stepper: Stepper, defaults: np.ndarray):
        self.network, self.system, self.stepper, self.defaults = system.network, system, stepper, defaults

    def run(
        self,
        method: str,
        state: np.ndarray,
        constants: np.ndarray,
        times: np.ndarray,
        rtol: float,
        atol: np.ndarray,
        seed: int,
        given: Mapping[str, Any],
    ) -> tuple[str, np.ndarray]:
        """The method that ran, and the stored state (cell, time, state_ids) at `times`.

        Where RoadRunner finished some cells for the native engine, the method says how many. Where the model has
        delays in math, what they look up follows the state, a column each.

        Args:
            state: (cell, state_ids) at times[0]; constants: (cell, settable_ids); see `codegen.system`.
            times: [model time], rising.
            rtol, atol: above 0; atol (state_ids,) of every stored value.
            given: what the initial state was made from, see `codegen.initial`.

        Raises:
            ModelError: the method cannot run the model.
            IntegrationError: a cell could not be integrated; names cell, time and species.
        """
        if not (0 < rtol < np.inf and np.all(np.greater(atol, 0)) and np.all(np.isfinite(atol))):
            raise ValueError(f"rtol and atol must be finite and above 0 (got {rtol} and {atol})")
        if method == "auto" and self.network.event_draws:
            method = "ssa"
        if method != "ssa" and method not in LEAPS:
            only_events = not self.looks_back and method in ("auto", "native")
            self.network.refuse_draws(f"the method '{method}'", only_events)
        if method == "auto" and self.looks_back:
            method = "radau"
        elif method != "radau":
            self.network.refuse_delays(f"the method '{method}'")
            method = method if method == "ssa" or method in LEAPS else self.stepper.method(method)
        if method == "ssa":
            courses = self._chance.run(state, constants, times, seed)
        elif method in LEAPS:
            courses = self._leaper.run(method, state, constants, times, seed)
        elif method == "radau":
            from mechanistic.solvers.radau.past import Before

            past = Before(self.network, given)
            courses = self._radau.run(state, constants, times, rtol, atol, seed, past)
        elif method == "native":
            courses, others = self._native(state, constants, times, rtol, atol, seed)
            if others:
                method = f"native, {others} {'cell' if others == 1 else 'cells'} by roadrunner"
        else:
            courses = self._roadrunner(state, constants, times, rtol, atol)
        self._check_sizes(courses, times)
        return method, courses

    @cached_property
    def _chance(self) -> StochasticStepper:
        from mechanistic.solvers.chance.stochastic import StochasticStepper

        return StochasticStepper(self.system)

    @cached_property
    def _leaper(self) -> Leaper:
        from mechanistic.solvers.chance.leaping import Leaper

        return Leaper(self._chance)

    @cached_property
    def _radau(self) -> CourseSolver:
        from mechanistic.solvers.radau.solver import CourseSolver

        return CourseSolver(self.system)

    # ---- cells of a tissue whose model looks back

    @property
    def looks_back(self) -> bool:
        """Whether the model has delays in math or fast reactions."""
        return bool(self.network.delays or self.network.fast_reactions)

    def begin(
        self, given: Mapping[str, Any], state: np.ndarray, constants: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What cells remember before their start, and their state (cell, state_ids) there, at equilibrium."""
        from mechanistic.solvers.radau.steps import fresh_past

        past = fresh_past(self.network, given, len(state))
        return past, self._delay_steps.relaxed(state, constants, past)

    def advance(
        self, cells: PathwayState, constants: np.ndarray, dt: float, rtol: float, atol: np.ndarray
    ) -> dict[int, IntegrationError]:
        """Steps every cell by `dt` in place; the failed ones, which stay as they were, by row."""
        if cells.memory is None:
            cells.memory = fresh_memory(self.network.events, len(cells))
        assert cells.step is not None and cells.past is not None
        if dt <= 0:
            return {}
        cells.memory, cells.past, failed = self._delay_steps.advance(
            cells.amounts, cells.time, cells.step, cells.scale, constants, cells.memory, cells.past,
            dt, rtol, atol,
        )  # fmt: skip
        return failed

    def looked_up(self, inputs: list, past: np.ndarray) -> list[np.ndarray]:
        """(cell,) of what each delay looks up now; see `solvers.radau.steps`."""
        return self._delay_steps.looked_up(inputs, past)

    def reach(self, inputs: list, past: np.ndarray) -> float:
        """The longest delay of any cell now; see `solvers.radau.steps`."""
        return self._delay_steps.reach(inputs, past)

    def delayed_amounts(self) -> list[bool]:
        """Of each delay, whether it looks at an amount; see `solvers.radau.steps`."""
        return self._delay_steps.amounts()

    @cached_property
    def _delay_steps(self) -> DelaySteps:
        from mechanistic.solvers.radau.steps import DelaySteps

        return DelaySteps(self._radau)

    def _check_sizes(self, courses: np.ndarray, times: np.ndarray) -> None:
        """No compartment may shrink to nothing: concentrations in it would be infinite."""
        for i, name in enumerate(self.network.state_ids):
            if name in self.network.compartment_ids and not np.all(courses[:, :, i] > 0):
                cell, at = (int(k) for k in np.argwhere(~(courses[:, :, i] > 0))[0])
                message = (
                    f"cell {cell} at time {times[at]:g}: the size of the compartment '{name}' is not above 0"
                )
                raise IntegrationError(message, cell, float(times[at]), name)

    def _roadrunner(self, state, constants, grid, rtol, atol) -> np.ndarray:
        """(cell, time, state_ids); each cell in one call, so that delayed events keep what is pending."""
        courses = np.empty((len(state), len(grid), state.shape[1]))
        for cell in range(len(state)):
            try:
                courses[cell] = self.stepper.roadrunner.advance(
                    state[cell], constants[cell], 1.0, grid, rtol, atol
                )
            except IntegrationError as error:
                raise IntegrationError(f"cell {cell}: {error}", cell, error.time, error.species) from None
        return courses

    def _native(self, state, constants, grid, rtol, atol, seed) -> tuple[np.ndarray, int]:
        """(cell, time, state_ids), all cells in one call, which looks at `grid` as it passes; and how many
        cells RoadRunner finished."""
        own = np.flatnonzero(
            np.any(constants != self.defaults, axis=0) & ~np.all(np.isnan(constants), axis=0)
        )
        time, step = np.full(len(state), grid[0]), np.zeros(len(state))
        values = np.ascontiguousarray(constants[:, own])
        memory = self.stepper.memory("native", len(state))
        cells = Cells(state, time, step, np.ones(len(state)), own, values, memory)
        courses, failed, others = self.stepper.course(cells, grid - grid[0], rtol, atol, seed)
        if failed:
            raise failed[min(failed)]
        return courses, others

    def dataset(
        self, times: np.ndarray, courses: np.ndarray, constants: np.ndarray, method: str
    ) -> xarray.Dataset:
        """Every quantity of the model along `courses`, as `run` gave them; see `PathwayModel.simulate`."""
        network, shape, states = self.network, courses.shape[:2], len(self.network.state_ids)
        names = [
            *network.species_ids,
            *(f"amount.{s}" for s in network.species_ids),
            *network.compartment_ids,
            *network.parameter_ids,
            *network.stoichiometry_ids,
            *network.reaction_ids,
        ]
        inputs = [
            np.broadcast_to(times, shape),
            1.0,
            *np.moveaxis(courses[:, :, :states], 2, 0),
            *(np.broadcast_to(c[:, None], shape) for c in constants.T),
            *np.moveaxis(courses[:, :, states:], 2, 0),
        ]
        values = evaluate(self.system.graph, [self.system.quantity(n) for n in names], inputs)
        tables = (np.ascontiguousarray(np.broadcast_to(value, shape)) for value in values)
        return course_table(network, names, tables, shape[0], times, method)
