"""A pathway model: load it, simulate it for some cells, or step it for all cells of a tissue.

from mechanistic import load_model
course = load_model("egfr.xml").simulate(times=range(0, 3600, 60), cells=100)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.codegen.initial import computed_from, initial_values
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import System
from mechanistic.courses import Courses
from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.pathway_state import PathwayState
from mechanistic.reading.problems import closest
from mechanistic.sbml import antimony_of, read_network
from mechanistic.stepping import Cells, Stepper

if TYPE_CHECKING:
    import torch
    import xarray

    from mechanistic.adjoint import Adjoint, Course
    from mechanistic.sensitivity import Sensitivities


class PathwayModel:
    """One reaction network, ready to run.

    Attributes:
        network: what the file says, as plain data.
        rtol, atol, method: what `advance` uses; `atol` is a concentration (see `simulate`).
    """

    def __init__(
        self, network: ReactionNetwork, rtol: float = 1e-6, atol: float = 1e-9, method: str = "auto"
    ):
        self.network = network
        self.rtol, self.atol, self.method = rtol, atol, method
        self._settable_at = {name: i for i, name in enumerate(network.settable_ids)}
        if network.flux_balance is None or network.has_rate_laws:
            # what cannot run is refused when it is loaded; what has a flux balance alone, when it is run
            _ = self._atol_unit, self._courses

    @cached_property
    def _system(self) -> System:
        return System(self.network, course=True)

    @cached_property
    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        state, constants = initial_values(self.network, {}, 1)
        return state[0], constants[0]

    @property
    def _defaults(self) -> np.ndarray:
        return self._start[1]

    @cached_property
    def _stepper(self) -> Stepper:
        return Stepper(self._system, self._defaults)

    @cached_property
    def _courses(self) -> Courses:
        return Courses(self._system, self._stepper, self._defaults)

    @cached_property
    def _atol_unit(self) -> np.ndarray:
        return self._tolerance_unit(*self._start)

    # ---- one experiment

    def simulate(
        self,
        times: Iterable[float],
        *,
        cells: int = 1,
        initial: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        method: str = "auto",
        rtol: float = 1e-6,
        atol: float = 1e-9,
        seed: int = 0,
    ) -> xarray.Dataset:
        """The time course of `cells` cells.

        Args:
            times: [model time], not falling. The initial state holds at time 0 (at times[0] where negative).
            initial: species by id (a concentration) or `amount.<id>`, each a scalar or one value a cell. What
                the model computes from them at the start follows.
            parameters: parameters, compartments and boundary species by id, likewise.
            method: "native", "roadrunner", or "auto": native where it can run the model, RoadRunner elsewhere,
                "radau" for delays in math and fast reactions; "ssa": exact stochastic simulation of amounts as
                whole numbers; "tau-leaping" and "langevin": the same approximately, for large amounts, see
                `mechanistic.solvers.chance.leaping`. `attrs["method"]` says which ran.
            rtol, atol: tolerances of the integrator. `atol` is a concentration; where the largest initial
                concentration of the model is below 1 it is multiplied by it.
            seed: of "ssa" and of what the model draws from distributions; cell i of a seed gets the same course
                whatever the number of cells.

        Returns:
            Dims cell and time. A variable for every species (concentration), `amount.<id>` beside it, every
            compartment, parameter, species reference and reaction (its rate) by its id. An id "time" or
            "cell" is called `value.<id>`.

        Raises:
            ModelError: an id is not in the model or cannot be set; the method cannot run the model.
            IntegrationError: a cell could not be integrated; names cell, time and species.
        """
        times = _checked_times(times)
        given = {**(parameters or {}), **(initial or {})}
        _check_lengths(given, cells, self.network.file)
        state, constants = initial_values(self.network, given, cells, seed)
        grid = np.unique(np.concatenate([[min(0.0, float(times[0]))], times]))
        method, courses = self._courses.run(
            method, state, constants, grid, rtol, atol * self._atol_unit, seed, given
        )
        return self._courses.dataset(times, courses[:, np.searchsorted(grid, times)], constants, method)

    # ---- many cells, many short calls

    def initial_state(
        self,
        cells: int,
        parameters: Mapping[str, Any] | None = None,
        initial: Mapping[str, Any] | None = None,
    ) -> PathwayState:
        """The state of `cells` cells at time 0 and scale 1.

        Args:
            parameters: what is set cell by cell: ids of parameters, boundary species, compartments; each a
                scalar or one value a cell. They, and what the model computes from them at the start, become
                `active` and may be changed between calls of `advance`.
            initial: species by id (a concentration) or `amount.<id>`.

        Raises:
            ModelError: an id is not in the model or cannot be set; a delay looks at what changes before the start.
            IntegrationError: fast reactions have no equilibrium.
        """
        given = {**(parameters or {}), **(initial or {})}
        _check_lengths(given, cells, self.network.file)
        reached = computed_from(self.network, given)
        active = tuple(name for name in self.network.settable_ids if name in reached)
        state, columns = initial_values(self.network, given, cells, constants=active)
        made = PathwayState(state, columns, active, np.ones(cells), np.zeros(cells))
        if self._courses.looks_back:
            made.past, made.amounts = self._courses.begin(given, made.amounts, self._constants(made))
        return made

    def advance(self, state: PathwayState, dt: float) -> None:
        """Steps every cell by `dt` [model time], in place; each cell's result depends on its own row only.

        Raises:
            IntegrationError: the first cell that could not be integrated; it stays as it was, all others
                have been advanced.
            ModelError: RoadRunner runs the model and events of it have delays: it does not say what is pending.
        """
        assert state.step is not None
        self.network.refuse_draws("a tissue")
        if self._courses.looks_back:
            failed = self._courses.advance(
                state, self._constants(state), dt, self.rtol, self.atol * self._atol_unit
            )
            self._report(failed)
            return
        method = self._stepper.method(self.method)
        if method == "roadrunner":
            self._refuse_delays()
        if state.memory is None:
            state.memory = self._stepper.memory(method, len(state))
        cells = Cells(
            state.amounts,
            state.time,
            state.step,
            state.scale,
            self._columns(state),
            np.asarray(state.parameters),
            state.memory,
        )
        failed = self._stepper.advance(method, cells, dt, self.rtol, self.atol * self._atol_unit)
        state.memory = cells.memory
        self._report(failed)

    def concentrations(self, state: PathwayState) -> np.ndarray:
        """(cell, species_ids): amount over compartment size, each cell at its own scale."""
        return self.observe(state, self.network.species_ids)

    def observe(self, state: PathwayState, ids: Sequence[str]) -> np.ndarray:
        """(cell, ids): values of any ids: species (as concentrations), `amount.<species>`, parameters, rates.

        Raises:
            ModelError: an id is not in the model.
        """
        try:
            nodes = [self._system.quantity(name) for name in ids]
        except KeyError as error:
            raise ModelError(self.network.file, self._unknown(error.args[0])) from None
        inputs = self._inputs(state)
        leaves = {d.leaf for d in self._system.delays}
        if state.past is not None and leaves.intersection(self._system.graph.needed(nodes)):
            inputs += self._courses.looked_up(inputs, state.past)
        result = np.empty((len(state), len(nodes)))
        for column, value in enumerate(evaluate(self._system.graph, nodes, inputs)):
            result[:, column] = value
        return result

    def longest_delay(self, state: PathwayState) -> float:
        """How far delays in math look back now [model time], in the cell where they look furthest; 0 without any."""
        if state.past is None or not self.network.delays:
            return 0.0
        return self._courses.reach(self._inputs(state), state.past)

    def delayed_amounts(self) -> list[bool]:
        """Of each delay, whether it looks at an amount, which daughters share, or at what is the same in both.

        Raises:
            ModelError: one looks at neither.
        """
        return self._courses.delayed_amounts() if self.network.delays else []

    def vector_field(self) -> torch.nn.Module:
        """d(state)/dt as a torch module: `PathwayField`, called as `field(time, state)`."""
        from mechanistic.codegen.torch_field import PathwayField

        self.network.refuse_delays("a vector field")
        return PathwayField(self.network, self._system, self._defaults)

    # ---- derivatives

    def sensitivities(
        self, times: Iterable[float], parameters: Sequence[str], **options: Any
    ) -> xarray.Dataset:
        """d(species)/d(parameter) along the time course, dims cell, time, parameter.

        `options`: cells, initial, values, rtol, atol, scaled; see `mechanistic.sensitivity.Sensitivities`.
        """
        return self._sensitivities(times, parameters, **options)

    def adjoint(self, times: Iterable[float], parameters: Sequence[str], **options: Any) -> Course:
        """The time course, ready for the gradient of anything computed from it.

            run = model.adjoint(times, ("k1", "k2"))
            run.pull_back({"S": 2 * (run.course["S"] - measured)})   # of the sum of squares

        `options`: cells, initial, values, outputs, rtol, atol; see `mechanistic.adjoint.Adjoint`.
        """
        return self._adjoint(times, parameters, **options)

    def differentiable(
        self,
        times: Iterable[float],
        parameters: Sequence[str],
        outputs: Sequence[str] | None = None,
        **options: Any,
    ) -> torch.nn.Module:
        """The time course as a torch module: (cell, parameters) to (cell, time, outputs), with its gradient.

        Args:
            outputs: ids of any quantities; all species, as concentrations, where None.
            options: initial, rtol, atol; see `mechanistic.adjoint.Adjoint`.
        """
        from mechanistic.codegen.torch_course import PathwayCourse

        return PathwayCourse(self._adjoint, np.array(list(times)), parameters, outputs, options)

    @cached_property
    def _adjoint(self) -> Adjoint:
        from mechanistic.adjoint import Adjoint

        return Adjoint(self.network)

    @cached_property
    def _sensitivities(self) -> Sensitivities:
        from mechanistic.sensitivity import Sensitivities

        return Sensitivities(self.network)

    def steady_state(
        self, parameters: Mapping[str, Any] | None = None, cells: int = 1, **options: Any
    ) -> xarray.Dataset:
        """Where every cell comes to rest, and whether it is stable; see `mechanistic.steady_state`."""
        from mechanistic.steady_state import steady_state

        return steady_state(self.network, parameters, cells, **options)

    def control_coefficients(
        self, parameters: Mapping[str, Any] | None = None, cells: int = 1, **options: Any
    ) -> xarray.Dataset:
        """Control coefficients and elasticities at the steady state; see `mechanistic.control`."""
        from mechanistic.control import control_coefficients

        return control_coefficients(self.network, parameters, cells, **options)

    def flux_balance(
        self,
        objective: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        cells: int = 1,
        **options: Any,
    ) -> xarray.Dataset:
        """The fluxes that optimise an objective of the model (SBML's "fbc"); see `mechanistic.flux_balance`."""
        from mechanistic.flux_balance import flux_balance

        return flux_balance(self.network, objective, parameters, cells, **options)

    # ---- as text

    def to_sbml(self) -> str:
        """The model as SBML, submodels joined and algebraic rules solved where it has any."""
        return self.network.source

    def to_antimony(self) -> str:
        """The model as Antimony text, which reads back to the same equations; see `mechanistic.sbml.antimony_of`."""
        return antimony_of(self.network)

    # ---- helpers

    def _inputs(self, state: PathwayState) -> list:
        """The inputs of the graph, each (cell,), up to the constants; see `codegen.system`."""
        return [state.time, state.scale, *state.amounts.T, *self._constants(state).T]

    def _constants(self, state: PathwayState) -> np.ndarray:
        """(cell, settable_ids): the model's own values, with the active columns of every cell."""
        constants = np.repeat(self._defaults[None, :], len(state), axis=0)
        constants[:, self._columns(state)] = state.parameters
        return constants

    def _columns(self, state: PathwayState) -> np.ndarray:
        """Positions in settable_ids of what is active."""
        return np.array([self._settable_at[name] for name in state.active], dtype=np.intp)

    def _tolerance_unit(self, state: np.ndarray, constants: np.ndarray) -> np.ndarray:
        """What a concentration of 1 is worth in every stored value, see `simulate`."""
        network = self.network
        inputs = [0.0, 1.0, *state, *constants, *[np.nan] * len(network.delays)]
        sizes = dict(zip(network.compartment_ids, self._values(network.compartment_ids, inputs)))
        levels = np.abs(self._values(network.species_ids, inputs))
        levels = levels[np.isfinite(levels) & (levels > 0)]
        largest = min(1.0, float(levels.max())) if len(levels) else 1.0
        unit = np.ones(len(network.state_ids))
        for i, name in enumerate(network.state_ids):
            if name in network.species_ids:
                size = sizes[network[name].compartment]
                unit[i] = largest * (size if np.isfinite(size) and size > 0 else 1.0)
        return unit

    def _values(self, names: Sequence[str], inputs: list) -> np.ndarray:
        nodes = [self._system.quantity(n) for n in names]
        return np.array([float(v) for v in evaluate(self._system.graph, nodes, inputs)])

    def _refuse_delays(self) -> None:
        delayed = next((e for e in self.network.events if e.delay is not None), None)
        if delayed is not None:
            message = "an event with a delay cannot run cell by cell in a tissue; remove the delay"
            raise ModelError(self.network.file, [ModelProblem(message, delayed.line, delayed.id)])

    @staticmethod
    def _report(failed: Mapping[int, IntegrationError]) -> None:
        if failed:
            error = failed[min(failed)]
            error.failed = tuple(sorted(failed))
            raise error

    def _unknown(self, name: str) -> list[ModelProblem]:
        known = (*self.network.species_ids, *self.network.parameter_ids, *self.network.reaction_ids)
        return [ModelProblem(f"'{name}' is not in the model{closest(name, known)}", None, name)]


def load_model(path_or_text: str | os.PathLike) -> PathwayModel:
    """The pathway model of an SBML or Antimony file or text, checked and ready to run.

    Raises:
        ModelError: with every fault found, each with its line and id.
    """
    return PathwayModel(read_network(path_or_text))


def _checked_times(times: Iterable[float]) -> np.ndarray:
    array = np.asarray(times if isinstance(times, np.ndarray) else list(times), dtype=float)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError("times must be a list of at least one time")
    if not np.all(np.isfinite(array)) or np.any(np.diff(array) < 0):
        raise ValueError("times must be finite and must not fall")
    return array


def _check_lengths(given: Mapping[str, Any], cells: int, file: str) -> None:
    for name, value in given.items():
        shape = np.shape(value)
        if shape not in ((), (cells,)):
            message = f"'{name}' needs a number or one value for each of {cells} cells (got shape {shape})"
            raise ModelError(file, [ModelProblem(message, None, name)])
