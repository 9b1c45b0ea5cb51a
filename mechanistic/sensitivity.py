"""Local sensitivities of a time course: d(species)/d(parameter), carried along with the state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.codegen.accumulate import along
from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.graph import Node
from mechanistic.codegen.initial import InitialValues, initial_values
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.switched import SwitchedSystem
from mechanistic.codegen.system import System, dependencies
from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.reading.problems import closest
from mechanistic.solvers.discrete_adjoint_course import Follower

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
        self._observers: dict[tuple[str, ...] | None, tuple] = {}

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
        network, asked = self.network, checked_times(times)
        parameters = checked_parameters(network, parameters)
        given = {**(values or {}), **(initial or {})}
        state, constants = initial_values(network, given, cells)
        sizes, start = self._start(given, parameters, state, constants)
        grid, where = np.unique(np.append(asked, min(0.0, asked[0])), return_inverse=True)
        names, observe = self._observer(None if outputs is None else tuple(outputs))
        count = len(parameters)
        scales = np.where(sizes != 0, np.abs(sizes), 1.0)
        largest = np.abs(state).max(1, initial=0.0)
        largest = float(np.where(largest > 0, largest, 1.0).min())
        slopes = np.empty((cells * count, len(asked), len(names)))
        now = np.empty((cells, len(asked), len(names)))
        for first in range(0, cells * count, _AT_ONCE):
            jobs = np.arange(first, min(first + _AT_ONCE, cells * count))
            c, p = jobs // count, jobs % count
            # in units of the state: the derivative by the parameter's logarithm
            size = scales[c, p][:, None]
            tangents, directions = start.directions(c, p)
            tangents, directions = tangents * size, directions * size
            try:
                course, _ = self._follower.run(
                    state[c], constants[c], grid, rtol, np.full(len(network.state_ids), atol * largest),
                    (tangents, directions),
                )  # fmt: skip
            except IntegrationError as error:
                raise _of_cell(error, int(c[error.cell or 0])) from None
            course = course[:, where[:-1]]
            found = observe(asked, course[..., 0], constants[c], course[..., 1], directions)
            slopes[jobs] = found[0] / size[:, :, None]
            now[c[p == 0]] = found[1][p == 0]
        slopes = np.moveaxis(slopes.reshape(cells, count, len(asked), len(names)), 1, 2)
        return Slopes(parameters, sizes, tuple(names), asked, now, slopes)

    def _observer(self, outputs: tuple[str, ...] | None):
        """Names, and a function of (times, course, constants, tangents, directions): slopes and values.

        Both are (row, time, names).
        """
        if outputs in self._observers:
            return self._observers[outputs]
        network, equations = self.network, self._follower.equations
        states = set(network.state_ids) - set(network.species_ids)
        names: Sequence[str] = [*network.species_ids, *(n for n in network.state_ids if n in states)]
        if outputs is not None:
            names = outputs
        graph = equations.graph
        nodes = observed_nodes(equations, names)
        first = equations.next_input
        variables = [*equations.states, *equations.constants]
        moving = {v: graph.input(first + i) for i, v in enumerate(variables)}
        wanted = [*along(graph, nodes, moving), *nodes]

        def observe(times, course, constants, tangents, directions):
            rows, n = course.shape[:2], len(network.state_ids)
            inputs: list = [np.broadcast_to(times, rows), 1.0, *np.moveaxis(course, 2, 0)]
            inputs += [*(c[:, None] for c in constants.T), *(0.0 for _ in equations.switches)]
            inputs += [*np.moveaxis(tangents, 2, 0), *(d[:, None] for d in directions.T)]
            assert len(inputs) == first + n + constants.shape[1]
            found = [np.broadcast_to(v, rows) for v in evaluate(graph, wanted, inputs)]
            return np.stack(found[: len(names)], -1), np.stack(found[len(names) :], -1)

        self._observers[outputs] = names, observe
        return names, observe


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


def observed_nodes(equations: SwitchedSystem, names: Sequence[str]) -> list[Node]:
    """The nodes of quantities; ModelError where one is not in the model."""
    network = equations.network
    try:
        return equations.observed(names)
    except KeyError as error:
        known = (*network.species_ids, *network.parameter_ids, *network.reaction_ids)
        message = f"'{error.args[0]}' is not in the model{closest(error.args[0], known)}"
        raise ModelError(network.file, [ModelProblem(message, None, error.args[0])]) from None


def checked_times(times: Iterable[float]) -> np.ndarray:
    grid = np.asarray(times if isinstance(times, np.ndarray) else list(times), dtype=float)
    if grid.ndim != 1 or not len(grid) or not np.all(np.isfinite(grid)) or np.any(np.diff(grid) < 0):
        raise ValueError("times must be a list of finite times that do not fall")
    return grid


def refuse_events(network: ReactionNetwork, what: str) -> None:
    """Raises ModelError, naming every event, where the model has events."""
    problems = [
        ModelProblem(f"{what} of a model with events are not supported (event '{e.id}')", e.line, e.id)
        for e in network.events
    ]
    if problems:
        raise ModelError(network.file, problems)


def checked_parameters(network: ReactionNetwork, parameters: Sequence[str]) -> tuple[str, ...]:
    asked = (parameters,) if isinstance(parameters, str) else tuple(parameters)
    if not asked:
        raise ValueError("name at least one parameter")
    repeated = next((p for i, p in enumerate(asked) if p in asked[:i]), None)
    if repeated is not None:
        raise ModelError(network.file, [ModelProblem(f"'{repeated}' is asked for twice", None, repeated)])
    return asked


class Start:
    """How the state and the constants at the start follow from parameters; what it takes is made once."""

    def __init__(self, network: ReactionNetwork):
        self.network = network
        self._system = System(network)
        self._stored = {name: i for i, name in enumerate((*network.state_ids, *network.settable_ids))}
        self._plain = self._plain_constants()
        self._slopes: dict[tuple, tuple] = {}

    def __call__(
        self,
        given: Mapping[str, Any],
        parameters: Sequence[str],
        state: np.ndarray,
        constants: np.ndarray,
    ) -> tuple[np.ndarray, Beginnings]:
        """Values (cell, parameter), and d(state, constants)/d(parameter).

        Raises:
            ModelError: an id is not in the model or cannot be set; an operation without a derivative.
        """
        system, cells = self._system, len(state)
        for parameter in parameters:
            if parameter not in self._plain:
                self._of(parameter, {})  # refuses what cannot be set, by name
        now = [0.0, 1.0, *state.T, *constants.T]
        found = evaluate(system.graph, [system.quantity(p) for p in parameters], now)
        values = np.stack([np.broadcast_to(v, cells) for v in found], 1)
        of: list[tuple[int, int, np.ndarray]] = []
        for p, parameter in enumerate(parameters):
            if parameter in self._plain:
                of.append((p, self._stored[parameter], np.ones(cells)))
                continue
            # one at a time: to set a computed parameter cuts what it is computed from
            others = {k: v for k, v in given.items() if _bare(k) != _bare(parameter) and k not in self._plain}
            graph, entries = self._of(parameter, others)
            inputs = [np.asarray(v, dtype=float) for v in (*others.values(), values[:, p])]
            for (i, _), value in zip(entries, evaluate(graph, list(entries.values()), inputs)):
                of.append((p, i, np.array(np.broadcast_to(value, cells), dtype=float)))
        return values, Beginnings(state.shape[1], constants.shape[1], len(parameters), of)

    def _plain_constants(self) -> set[str]:
        """The parameters that nothing at the start is computed from, and that are not computed."""
        network = self.network
        formulas = {a.variable: a.math for a in network.initial_assignments}
        used: set[str] = set(formulas)
        waiting = [*network.state_ids, *network.species_ids, *network.compartment_ids, *formulas]
        formulas |= {name: rule.math for name, rule in network.assignment_rules.items()}
        rates = {r.id: r.rate for r in network.reactions}
        while waiting:
            name = waiting.pop()
            needed = dependencies(formulas[name]) if name in formulas else []
            if name in rates and name not in formulas:
                needed = dependencies(rates[name])
            for part in needed:
                if ":" in part:
                    # a rate of change: it needs what the rates need
                    return set()
                if part not in used:
                    used.add(part)
                    waiting.append(part)
        return {p for p in network.settable_ids if p in network.parameter_ids and p not in used}

    def _of(self, parameter: str, others: Mapping[str, Any]):
        key = (parameter, *others)
        if key not in self._slopes:
            network = self.network
            # values that are allowed, whatever the ones are that will be given
            start = InitialValues(network, {**dict.fromkeys(others, 1.0), parameter: 1.0})
            stored = [start.stored(name) for name in self._stored]
            try:
                variable = start.graph.input(start.inputs[parameter])
                self._slopes[key] = start.graph, jacobian(start.graph, stored, [variable])
            except NotDifferentiable as error:
                raise ModelError(network.file, f"no sensitivities: {error}") from None
        return self._slopes[key]


class Beginnings:
    """d(state, constants)/d(parameter) at the start, of which most are 0.

    Args:
        entries: (parameter, position in state and constants, value of each cell).
    """

    def __init__(self, states: int, constants: int, parameters: int, entries: list):
        self._states, self._size, self._parameters = states, states + constants, parameters
        self._p = np.array([p for p, _, _ in entries], dtype=np.int64)
        self._at = np.array([i for _, i, _ in entries], dtype=np.int64)
        self._value = np.stack([v for _, _, v in entries]) if entries else np.empty((0, 0))
        self._first = np.searchsorted(self._p, np.arange(parameters + 1))

    def directions(self, cells: np.ndarray, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(job, state_ids) and (job, settable_ids) for pairs of a cell and a parameter."""
        found = np.zeros((len(cells), self._size))
        for p in np.unique(parameters):
            jobs = np.flatnonzero(parameters == p)
            for e in range(self._first[p], self._first[p + 1]):
                found[jobs, self._at[e]] = self._value[e, cells[jobs]]
        return found[:, : self._states], found[:, self._states :]

    def pulled(self, asked: np.ndarray) -> np.ndarray:
        """(cell, parameter) of what is asked of the state and the constants (cell, both)."""
        gradient = np.zeros((self._parameters, len(asked)))
        if len(self._p):
            np.add.at(gradient, self._p, asked.T[self._at] * self._value)
        return np.ascontiguousarray(gradient.T)


def _bare(name: str) -> str:
    return name.removeprefix("amount.")


def _of_cell(error: IntegrationError, cell: int) -> IntegrationError:
    message = str(error).replace(f"cell {error.cell}", f"cell {cell}", 1)
    return IntegrationError(message, cell, error.time, error.species)


def _dataset(network, names, parameters, times, result, sizes, scaled: bool) -> xarray.Dataset:
    import xarray

    variables, log = {}, "ln " if scaled else ""
    for i, name in enumerate(names):
        label = f"value.{name}" if name in ("time", "cell", "parameter") else name
        attributes = {
            "units": "1" if scaled else f"({network.units(name) or '1'}) / (unit of the parameter)",
            "long_name": f"d {log}{network[name].name or name} / d {log}parameter",
        }
        variables[label] = (("cell", "time", "parameter"), result[..., i], attributes)
    coordinates = {
        "cell": ("cell", np.arange(len(result)), {"units": "1", "long_name": "cell"}),
        "time": ("time", times, {"units": network.time_unit or "", "long_name": "time"}),
        "parameter": ("parameter", list(parameters), {"units": "1", "long_name": "parameter"}),
        "parameter_value": (
            ("cell", "parameter"),
            sizes,
            {"units": "that of the parameter", "long_name": "where the derivative is taken"},
        ),
    }
    return xarray.Dataset(variables, coordinates, {"method": "forward", "model": network.id})
