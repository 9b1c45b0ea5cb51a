"""Local sensitivities of a time course: d(species)/d(parameter), carried along with the state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.beginnings import Start
from mechanistic.datasets import attributes, label, of_cells, of_times
from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.observers import Observers
from mechanistic.solvers.discrete_adjoint.course import Follower

if TYPE_CHECKING:
    import xarray

_AT_ONCE = 4096  # pairs of cell and parameter that are integrated together


class Sensitivities:
    """Forward sensitivities of one network; compiled once.

    Every pair of a cell and a parameter takes a lane of the processor's vectors: the state and its tangent go
    together by the stiff solver, differentiated as it is computed (`solvers.discrete_adjoint`), at steps that
    resolve both. Tangents jump as they must where a condition turns or an event fires.
    """

    def __init__(self, network: ReactionNetwork):
        self.network = network
        self._start = Start(network)
        self._follower = Follower(network, transposed=False)
        self._observers = Observers(self._follower.equations)

    def __call__(
        self,
        times: Iterable[float],
        parameters: Sequence[str],
        *,
        cells: int = 1,
        initial: Mapping[str, Any] | None = None,
        values: Mapping[str, Any] | None = None,
        rtol: float = 1e-8,
        atol: float = 1e-16,
        scaled: bool = False,
    ) -> xarray.Dataset:
        """d(species)/d(parameter) along the time course.

        A parameter's effect on initial values and on other constants, by initial assignments, is part of its
        sensitivity, as it is of `simulate(parameters=...)`.

        Args:
            times: [model time], not falling. The initial state holds at time 0 (at times[0] where negative).
            parameters: ids of parameters, compartments, boundary species; a species (its initial concentration)
                or `amount.<species>` (its initial amount).
            initial, values: where to differentiate: ids to scalars or one value a cell, as `simulate` takes
                them as `initial` and `parameters`.
            rtol: relative tolerance of state and tangents.
            atol: absolute tolerance of the stored state, in units of its largest initial value (1 where all are
                0); of a tangent it is divided by the parameter's size. It is so small because cascades amplify
                what is lost of a species that begins near 0.
            scaled: d ln(species) / d ln(parameter) instead, the time-dependent response coefficients; not a
                number where the species is 0.

        Returns:
            Dims cell, time, parameter. A variable for every species (of its concentration) and for every other
            id that changes by a rate rule or an event, in its unit per unit of the parameter.

        Raises:
            ModelError: an event has a delay or a priority; numbers that change are rounded or asked to be equal;
                an id is not in the model or cannot be set.
            IntegrationError: names cell and time.
        """
        found = self.slopes(
            times, parameters, cells=cells, initial=initial, values=values, rtol=rtol, atol=atol
        )
        result = found.slopes
        if scaled:
            with np.errstate(divide="ignore", invalid="ignore"):
                sizes = np.where(found.sizes != 0, np.abs(found.sizes), 1.0)
                result = result * sizes[:, None, :, None] / found.values[:, :, None]
        return _dataset(self.network, found.names, found.parameters, found.times, result, found.sizes, scaled)

    def slopes(
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
    ) -> Slopes:
        """Any quantities with their derivatives, as plain arrays; arguments as above.

        Args:
            outputs: ids of any quantities, as `mechanistic.adjoint.Adjoint` takes them; those of the table above
                where None.

        Raises:
            ModelError, IntegrationError: as above.
        """
        network = self.network
        begun = self._start(times, parameters, cells, initial, values)
        sizes, state, constants = begun.sizes, begun.state, begun.constants
        others = (name for name in network.state_ids if name not in network.species_ids)
        observer = self._observers((*network.species_ids, *others) if outputs is None else outputs)
        count, names = len(begun.parameters), observer.names
        scales = np.where(sizes != 0, np.abs(sizes), 1.0)
        largest = np.abs(state).max(1, initial=0.0)
        largest = float(np.where(largest > 0, largest, 1.0).min())
        slopes = np.empty((cells * count, len(begun.times), len(names)))
        now = np.empty((cells, len(begun.times), len(names)))
        for first in range(0, cells * count, _AT_ONCE):
            jobs = np.arange(first, min(first + _AT_ONCE, cells * count))
            c, p = jobs // count, jobs % count
            # in units of the state: the derivative by the parameter's logarithm
            size = scales[c, p][:, None]
            tangents, directions = begun.slopes.directions(c, p)
            tangents, directions = tangents * size, directions * size
            try:
                course, _ = self._follower.run(
                    state[c], constants[c], begun.grid, rtol, np.full(len(network.state_ids), atol * largest),
                    (tangents, directions),
                )  # fmt: skip
            except IntegrationError as error:
                raise _of_cell(error, int(c[error.cell or 0])) from None
            course, lone = course[:, begun.where], np.flatnonzero(p == 0)
            found = observer.along(begun.times, course[..., 0], constants[c], course[..., 1], directions)
            slopes[jobs] = found / size[:, :, None]
            now[c[lone]] = observer.values(begun.times, course[lone, ..., 0], constants[c[lone]])
        slopes = np.moveaxis(slopes.reshape(cells, count, len(begun.times), len(names)), 1, 2)
        return Slopes(begun.parameters, sizes, names, begun.times, now, slopes)


@dataclass(frozen=True)
class Slopes:
    """Quantities along a time course, with their derivatives.

    Attributes:
        parameters: ids; sizes: (cell, parameter) where the derivative is taken.
        names: ids of the quantities.
        times: (time,) [model time].
        values: (cell, time, names).
        slopes: (cell, time, parameter, names).
    """

    parameters: tuple[str, ...]
    sizes: np.ndarray
    names: tuple[str, ...]
    times: np.ndarray
    values: np.ndarray
    slopes: np.ndarray


def refuse_events(network: ReactionNetwork, what: str) -> None:
    """Raises ModelError, naming every event, where the model has events."""
    problems = [
        ModelProblem(f"{what} of a model with events are not supported (event '{e.id}')", e.line, e.id)
        for e in network.events
    ]
    if problems:
        raise ModelError(network.file, problems)


def _of_cell(error: IntegrationError, cell: int) -> IntegrationError:
    message = str(error).replace(f"cell {error.cell}", f"cell {cell}", 1)
    return IntegrationError(message, cell, error.time, error.species)


def _dataset(network, names, parameters, times, result, sizes, scaled: bool) -> xarray.Dataset:
    import xarray

    variables, log, dims = {}, "ln " if scaled else "", ("cell", "time", "parameter")
    for i, name in enumerate(names):
        own = attributes(network, name)
        said = {
            "units": "1" if scaled else f"({own['units'] or '1'}) / (unit of the parameter)",
            "long_name": f"d {log}{own['long_name']} / d {log}parameter",
        }
        variables[label(name, dims)] = (dims, result[..., i], said)
    coordinates = {
        "cell": of_cells(len(result)),
        "time": of_times(network, times),
        "parameter": ("parameter", list(parameters), {"units": "1", "long_name": "parameter"}),
        "parameter_value": (
            ("cell", "parameter"),
            sizes,
            {"units": "that of the parameter", "long_name": "where the derivative is taken"},
        ),
    }
    return xarray.Dataset(variables, coordinates, {"method": "forward", "model": network.id})
