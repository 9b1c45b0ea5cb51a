"""The gradient of anything computed from a time course, for all parameters at once: the discrete adjoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.codegen.accumulate import weighted
from mechanistic.codegen.initial import initial_values
from mechanistic.codegen.numeric import evaluate
from mechanistic.network import ReactionNetwork
from mechanistic.reading.problems import closest
from mechanistic.sensitivity import Beginnings, Start, checked_parameters, checked_times, observed_nodes
from mechanistic.solvers.discrete_adjoint_course import Follower, Tape

if TYPE_CHECKING:
    import xarray


class Adjoint:
    """Time courses of one network that can be gone back over; compiled once.

    The gradient is that of the numbers that the stiff solver computes, at the steps it took
    (`solvers.discrete_adjoint`): it equals forward sensitivities along the same steps to rounding. Its cost does
    not depend on the number of parameters.
    """

    def __init__(self, network: ReactionNetwork):
        self.network = network
        self._start = Start(network)
        self._follower = Follower(network, transposed=True)
        self._observers: dict[tuple[str, ...], _Observer] = {}

    def __call__(
        self,
        times: Iterable[float],
        parameters: Sequence[str],
        *,
        cells: int = 1,
        initial: Mapping[str, Any] | None = None,
        values: Mapping[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        rtol: float = 1e-8,
        atol: float = 1e-16,
    ) -> Course:
        """The course, ready to be gone back over.

        It keeps of every step its size, and the state at every 32nd step and at every event.

        Args:
            times: [model time], not falling. The initial state holds at time 0 (at times[0] where negative).
            parameters, initial, values, rtol, atol: as `mechanistic.sensitivity.Sensitivities` takes them. The
                error of the state alone chooses the steps, which grow slowly enough to follow how a state at rest
                answers a parameter; a smaller `rtol` helps where that is not enough.
            outputs: ids of any quantities: species (as concentrations), `amount.<species>`, parameters,
                reactions (their rates); all species where None.

        Raises:
            ModelError, IntegrationError: as `Sensitivities`.
        """
        network, asked = self.network, checked_times(times)
        parameters = checked_parameters(network, parameters)
        given = {**(values or {}), **(initial or {})}
        state, constants = initial_values(network, given, cells)
        start = _Derivatives(*self._start(given, parameters, state, constants))
        grid, where = np.unique(np.append(asked, min(0.0, asked[0])), return_inverse=True)
        largest = float(np.abs(state).max(initial=0.0)) or 1.0
        level = np.full(len(network.state_ids), atol * largest)
        course, tape = self._follower.run(state, constants, grid, rtol, level)
        observer = self._observer(network.species_ids if outputs is None else tuple(outputs))
        return Course(
            self._follower,
            observer,
            parameters,
            asked,
            grid,
            where[:-1],
            constants,
            course[..., 0],
            tape,
            start,
        )

    def _observer(self, names: tuple[str, ...]) -> _Observer:
        if names not in self._observers:
            self._observers[names] = _Observer(self._follower, names)
        return self._observers[names]


@dataclass(frozen=True)
class _Derivatives:
    """Values (cell, parameter), and how the state and the constants at the start follow from them."""

    values: np.ndarray
    beginnings: Beginnings


class Course:
    """A time course, and the way back over it.

    Attributes:
        parameters: ids.
        values: (cell, parameter) where the derivative is taken.
        names: ids of the outputs.
        times: (time,) [model time].
        outputs: (cell, time, names).
    """

    def __init__(
        self,
        follower: Follower,
        observer: _Observer,
        parameters: tuple[str, ...],
        times: np.ndarray,
        grid: np.ndarray,
        where: np.ndarray,
        constants: np.ndarray,
        states: np.ndarray,
        tape: Tape,
        start: _Derivatives,
    ):
        self.parameters, self.times, self.values, self.names = parameters, times, start.values, observer.names
        self._follower, self._observer, self._start, self._tape = follower, observer, start, tape
        self._grid, self._where, self._constants, self._states = grid, where, constants, states
        self.outputs = observer.values(times, states[:, where], constants)

    @property
    def course(self) -> xarray.Dataset:
        """The outputs, dims cell and time."""
        import xarray

        network = self._follower.network
        variables = {}
        for i, name in enumerate(self.names):
            label = f"value.{name}" if name in ("time", "cell") else name
            thing = network[name.removeprefix("amount.")]
            units = thing.unit or "" if name.startswith("amount.") else network.units(name)
            attributes = {"units": units, "long_name": thing.name or name}
            variables[label] = (("cell", "time"), self.outputs[..., i], attributes)
        coordinates = {
            "cell": ("cell", np.arange(len(self.outputs)), {"units": "1", "long_name": "cell"}),
            "time": ("time", self.times, {"units": network.time_unit or "", "long_name": "time"}),
        }
        return xarray.Dataset(variables, coordinates, {"method": "native", "model": network.id})

    def pull_back(self, weights: np.ndarray | Mapping[str, Any]) -> xarray.DataArray:
        """The gradient (cell, parameter) of the sum of weights times outputs.

        With the weights d(loss)/d(output) that is the gradient of the loss, cell by cell.

        Args:
            weights: (cell, time, names); or by name, each (cell, time) or what broadcasts to it.

        Raises:
            ValueError: the shape is another.
            KeyError: a name is not among the outputs.
        """
        import xarray

        gradient = self.gradient(self._weights(weights))
        coordinates = {"cell": np.arange(len(gradient)), "parameter": list(self.parameters)}
        return xarray.DataArray(gradient, coordinates, ("cell", "parameter"), name="gradient")

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """`pull_back` on plain arrays: (cell, time, names) to (cell, parameter)."""
        by_state, constants = self._observer.pulled(
            self.times, self._states[:, self._where], self._constants, weights
        )
        asked = np.zeros(self._states.shape)
        for k, at in enumerate(self._where):
            asked[:, at] += by_state[:, k]
        states, more = self._follower.pull_back(self._tape, self._grid, asked)
        return self._start.beginnings.pulled(np.concatenate([states, constants + more], 1))

    def _weights(self, weights: np.ndarray | Mapping[str, Any]) -> np.ndarray:
        if not isinstance(weights, Mapping):
            found = np.asarray(weights, dtype=float)
            if found.shape != self.outputs.shape:
                message = f"weights must be (cell, time, output) {self.outputs.shape} (got {found.shape})"
                raise ValueError(message)
            return found
        found = np.zeros(self.outputs.shape)
        for name, weight in weights.items():
            if name not in self.names:
                raise KeyError(f"'{name}' is not among the outputs{closest(name, self.names)}")
            found[..., self.names.index(name)] = np.asarray(weight, dtype=float)
        return found


class _Observer:
    """Outputs of states and constants, and what is asked of those by what is asked of outputs."""

    def __init__(self, follower: Follower, names: tuple[str, ...]):
        self._equations = follower.equations
        self.names, self._graph = names, self._equations.graph
        self._nodes = observed_nodes(self._equations, names)
        first = self._equations.next_input
        asked = [self._graph.input(first + i) for i in range(len(names))]
        variables = [*self._equations.states, *self._equations.constants]
        self._pulled = weighted(self._graph, self._nodes, asked, variables)

    def _inputs(self, times: np.ndarray, states: np.ndarray, constants: np.ndarray) -> list:
        inputs: list = [np.broadcast_to(times, states.shape[:2]), 1.0, *np.moveaxis(states, 2, 0)]
        return [*inputs, *(c[:, None] for c in constants.T), *(0.0 for _ in self._equations.switches)]

    def values(self, times: np.ndarray, states: np.ndarray, constants: np.ndarray) -> np.ndarray:
        found = evaluate(self._graph, self._nodes, self._inputs(times, states, constants))
        return np.stack([np.broadcast_to(v, states.shape[:2]) for v in found], -1)

    def pulled(self, times, states, constants, weights) -> tuple[np.ndarray, np.ndarray]:
        """(cell, time, state_ids) and (cell, settable_ids)."""
        inputs = [*self._inputs(times, states, constants), *np.moveaxis(weights, 2, 0)]
        found = [np.broadcast_to(v, states.shape[:2]) for v in evaluate(self._graph, self._pulled, inputs)]
        n = states.shape[2]
        by_state = np.stack(found[:n], -1) if n else np.zeros(states.shape)
        by_constant = [v.sum(1) for v in found[n:]]
        return by_state, np.stack(by_constant, -1) if by_constant else np.zeros(constants.shape)
