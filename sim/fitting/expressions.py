"""Expressions of a model's quantities and of parameters of a fit, with their derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mechanistic.codegen.derivatives import jacobian
from mechanistic.codegen.graph import Node
from mechanistic.codegen.system import STATE, TIME, System
from mechanistic.codegen.tangent import Plan
from mechanistic.errors import ModelError
from mechanistic.parts import Tree
from mechanistic.reading.problems import closest


class Expressions:
    """Some trees, compiled once.

    Args:
        system: of the model whose ids the trees may have.
        names: further ids that they may have.

    Attributes:
        at: (expressions, variables) of the derivatives that are not 0 by structure. The variables are the state,
            the constants, then `names`.

    Raises:
        ModelError: an id is unknown; there is no derivative.
    """

    def __init__(self, system: System, names: Sequence[str], trees: Sequence[Tree]):
        self.system, self.names = system, tuple(names)
        network, graph = system.network, system.graph
        self._first = STATE + len(network.state_ids) + len(network.settable_ids)
        self._at = {name: self._first + k for k, name in enumerate(names)}
        self.nodes = [graph.number(self._node(tree)) for tree in trees]
        count = len(network.state_ids) + len(network.settable_ids) + len(names)
        entries = jacobian(graph, self.nodes, [graph.input(STATE + i) for i in range(count)])
        self.at = tuple(np.array([key[i] for key in entries], dtype=np.intp) for i in (0, 1))
        self._values = Plan(graph, self.nodes)
        self._all = Plan(graph, [*self.nodes, *entries.values()])

    def values(self, time, state: np.ndarray, constants: np.ndarray, named: Sequence) -> np.ndarray:
        """(expressions, row).

        Args:
            time: a number or (row,).
            state, constants: (row, state_ids) and (row, settable_ids).
            named: for each of `names` a number or (row,).
        """
        return _rows(self._values([time, 1.0, *state.T, *constants.T, *named]), len(state))

    def with_slopes(self, time, state, constants, named) -> tuple[np.ndarray, np.ndarray]:
        """(expressions, row), and the derivatives `at` (entry, row)."""
        found = _rows(self._all([time, 1.0, *state.T, *constants.T, *named]), len(state))
        return found[: len(self.nodes)], found[len(self.nodes) :]

    def _node(self, tree: Tree) -> Node:
        return self.system.graph.tree(tree, self._named, self._special)

    def _named(self, name: str) -> Node:
        if name in self._at:
            return self.system.graph.input(self._at[name])
        try:
            return self.system.of(name)
        except KeyError:
            network = self.system.network
            known = (*self.names, *network.species_ids, *network.parameter_ids, *network.compartment_ids)
            message = f"'{name}' is neither in the model nor a parameter of the fit{closest(name, known)}"
            raise ModelError(network.file, message) from None

    def _special(self, tree: list) -> Node:
        if tree[0] == "time":
            return self.system.graph.input(TIME)
        return self.system.of(tree)


def _rows(found: Sequence, rows: int) -> np.ndarray:
    result = np.empty((len(found), rows))
    for i, value in enumerate(found):
        result[i] = value
    return result
