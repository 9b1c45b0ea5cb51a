"""Where time courses begin that are differentiated: how the state and the constants follow from parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.initial import InitialValues, initial_values
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import System, dependencies
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork


@dataclass(frozen=True)
class Begun:
    """Some cells at the beginning of their courses.

    Attributes:
        parameters: ids; sizes: (cell, parameter) where the derivative is taken.
        slopes: d(state, constants)/d(parameter).
        state, constants: (cell, state_ids) and (cell, settable_ids).
        times: (time,) as asked for.
        grid: [model time], rising, from where the initial state holds; where: (time,) the positions of `times` in it.
    """

    parameters: tuple[str, ...]
    sizes: np.ndarray
    slopes: Beginnings
    state: np.ndarray
    constants: np.ndarray
    times: np.ndarray
    grid: np.ndarray
    where: np.ndarray


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
        times: Iterable[float],
        parameters: Sequence[str],
        cells: int,
        initial: Mapping[str, Any] | None,
        values: Mapping[str, Any] | None,
    ) -> Begun:
        """Arguments as `mechanistic.sensitivity.Sensitivities` takes them.

        Raises:
            ModelError: an id is not in the model or cannot be set; an operation without a derivative.
        """
        asked = checked_times(times)
        parameters = checked_parameters(self.network, parameters)
        given = {**(values or {}), **(initial or {})}
        state, constants = initial_values(self.network, given, cells)
        grid, where = np.unique(np.append(asked, min(0.0, asked[0])), return_inverse=True)
        sizes, slopes = self._slopes_of(given, parameters, state, constants)
        return Begun(parameters, sizes, slopes, state, constants, asked, grid, where[:-1])

    def _slopes_of(
        self, given: Mapping[str, Any], parameters: Sequence[str], state: np.ndarray, constants: np.ndarray
    ) -> tuple[np.ndarray, Beginnings]:
        """Values (cell, parameter), and d(state, constants)/d(parameter)."""
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


def checked_times(times: Iterable[float]) -> np.ndarray:
    grid = np.asarray(times if isinstance(times, np.ndarray) else list(times), dtype=float)
    if grid.ndim != 1 or not len(grid) or not np.all(np.isfinite(grid)) or np.any(np.diff(grid) < 0):
        raise ValueError("times must be a list of finite times that do not fall")
    return grid


def checked_parameters(network: ReactionNetwork, parameters: Sequence[str]) -> tuple[str, ...]:
    asked = (parameters,) if isinstance(parameters, str) else tuple(parameters)
    if not asked:
        raise ValueError("name at least one parameter")
    repeated = next((p for i, p in enumerate(asked) if p in asked[:i]), None)
    if repeated is not None:
        raise ModelError(network.file, [ModelProblem(f"'{repeated}' is asked for twice", None, repeated)])
    return asked


def _bare(name: str) -> str:
    return name.removeprefix("amount.")
