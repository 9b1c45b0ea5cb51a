"""Quantities along courses, with their derivatives: along directions, and back to what they are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from mechanistic.codegen.accumulate import along, weighted
from mechanistic.codegen.graph import Node
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.switched import SwitchedSystem
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.reading.problems import closest


class Observers:
    """Those of one network; each is made once."""

    def __init__(self, equations: SwitchedSystem):
        self._equations = equations
        self._made: dict[tuple[str, ...], Observer] = {}

    def __call__(self, names: Sequence[str]) -> Observer:
        """Of these ids; ModelError where one is not in the model."""
        key = tuple(names)
        if key not in self._made:
            self._made[key] = Observer(self._equations, key)
        return self._made[key]


class Observer:
    """Outputs of states and constants.

    Times are (time,), states (row, time, state_ids), constants (row, settable_ids).
    """

    def __init__(self, equations: SwitchedSystem, names: tuple[str, ...]):
        self._equations = equations
        self.names, self._graph = names, equations.graph
        self._nodes = _nodes(equations, names)
        self._variables = [*equations.states, *equations.constants]

    def values(self, times: np.ndarray, states: np.ndarray, constants: np.ndarray) -> np.ndarray:
        """(row, time, names)."""
        return self._evaluated(self._nodes, self._inputs(times, states, constants), states)

    def along(
        self, times: np.ndarray, states: np.ndarray, constants: np.ndarray, tangents: np.ndarray,
        directions: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """(row, time, names): the derivatives along tangents of the states and directions of the constants."""
        inputs = self._inputs(times, states, constants)
        inputs += [*np.moveaxis(tangents, 2, 0), *(d[:, None] for d in directions.T)]
        return self._evaluated(self._tangents, inputs, states)

    def pulled(
        self, times: np.ndarray, states: np.ndarray, constants: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What weights (row, time, names) of the outputs ask of the states, and of the constants."""
        inputs = [*self._inputs(times, states, constants), *np.moveaxis(weights, 2, 0)]
        found, n = self._evaluated(self._asked, inputs, states), states.shape[2]
        return found[..., :n], found[..., n:].sum(1)

    @cached_property
    def _tangents(self) -> list[Node]:
        first = self._equations.next_input
        moving = {v: self._graph.input(first + i) for i, v in enumerate(self._variables)}
        return along(self._graph, self._nodes, moving)

    @cached_property
    def _asked(self) -> list[Node]:
        first = self._equations.next_input
        asked = [self._graph.input(first + i) for i in range(len(self.names))]
        return weighted(self._graph, self._nodes, asked, self._variables)

    def _inputs(self, times: np.ndarray, states: np.ndarray, constants: np.ndarray) -> list:
        inputs: list = [np.broadcast_to(times, states.shape[:2]), 1.0, *np.moveaxis(states, 2, 0)]
        return [*inputs, *(c[:, None] for c in constants.T), *(0.0 for _ in self._equations.switches)]

    def _evaluated(self, nodes: list[Node], inputs: list, states: np.ndarray) -> np.ndarray:
        result = np.empty((*states.shape[:2], len(nodes)))
        for i, value in enumerate(evaluate(self._graph, nodes, inputs)):
            result[..., i] = value
        return result


def _nodes(equations: SwitchedSystem, names: Sequence[str]) -> list[Node]:
    """The nodes of quantities; ModelError where one is not in the model."""
    try:
        return equations.observed(names)
    except KeyError as error:
        raise unknown(equations.network, error.args[0]) from None


def unknown(network: ReactionNetwork, name: str) -> ModelError:
    """No quantity of the network has this name."""
    known = (*network.species_ids, *network.parameter_ids, *network.reaction_ids)
    message = f"'{name}' is not in the model{closest(name, known)}"
    return ModelError(network.file, [ModelProblem(message, None, name)])
