"""The gradient of anything computed from a time course, for all parameters at once: the discrete adjoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.beginnings import Begun, Start
from mechanistic.datasets import course_table
from mechanistic.network import ReactionNetwork
from mechanistic.observers import Observer, Observers
from mechanistic.reading.problems import closest
from mechanistic.solvers.discrete_adjoint.course import Follower, Tape

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
        self._observers = Observers(self._follower.equations)

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
        network, begun = self.network, self._start(times, parameters, cells, initial, values)
        observer = self._observers(network.species_ids if outputs is None else outputs)
        largest = float(np.abs(begun.state).max(initial=0.0)) or 1.0
        level = np.full(len(network.state_ids), atol * largest)
        course, tape = self._follower.run(begun.state, begun.constants, begun.grid, rtol, level)
        return Course(self._follower, observer, begun, course[..., 0], tape)


class Course:
    """A time course, and the way back over it.

    Attributes:
        parameters: ids.
        values: (cell, parameter) where the derivative is taken.
        names: ids of the outputs.
        times: (time,) [model time].
        outputs: (cell, time, names).
    """

    def __init__(self, follower: Follower, observer: Observer, begun: Begun, states: np.ndarray, tape: Tape):
        self.parameters, self.times, self.values, self.names = (
            begun.parameters, begun.times, begun.sizes, observer.names,
        )  # fmt: skip
        self._follower, self._observer, self._begun, self._tape = follower, observer, begun, tape
        self._states = states
        self.outputs = observer.values(begun.times, states[:, begun.where], begun.constants)

    @property
    def course(self) -> xarray.Dataset:
        """The outputs, dims cell and time."""
        values = np.moveaxis(self.outputs, 2, 0)
        network = self._follower.network
        return course_table(network, self.names, values, len(self.outputs), self.times, "native")

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
        begun = self._begun
        by_state, constants = self._observer.pulled(
            begun.times, self._states[:, begun.where], begun.constants, weights
        )
        asked = np.zeros(self._states.shape)
        for k, at in enumerate(begun.where):
            asked[:, at] += by_state[:, k]
        states, more = self._follower.pull_back(self._tape, begun.grid, asked)
        return begun.slopes.pulled(np.concatenate([states, constants + more], 1))

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
