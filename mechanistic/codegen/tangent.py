"""The equations of a network with their first derivatives by the state, evaluated for one cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.graph import Graph, Node
from mechanistic.codegen.numeric import FUNCTIONS
from mechanistic.codegen.system import STATE, TIME, System
from mechanistic.errors import ModelError
from mechanistic.network import ReactionNetwork


class Plan:
    """Nodes of a graph as a fixed list of numpy calls, for many evaluations at one cell."""

    def __init__(self, graph: Graph, outputs: Sequence[Node]):
        self._outputs = list(outputs)
        self._constants: list[tuple[Node, float]] = []
        self._inputs: list[tuple[Node, int]] = []
        self._steps: list[tuple[Node, Callable, tuple[Node, ...]]] = []
        for node in graph.needed(outputs):
            operation, *operands = graph.nodes[node]
            if operation == "const":
                self._constants.append((node, np.float64(operands[0])))
            elif operation == "input":
                self._inputs.append((node, operands[0]))
            else:
                self._steps.append((node, FUNCTIONS[operation], tuple(operands)))

    def __call__(self, inputs: Sequence) -> list:
        """The values of the outputs; `inputs`: numbers or arrays by input of the graph."""
        values: dict[Node, object] = dict(self._constants)
        for node, index in self._inputs:
            values[node] = inputs[index]
        with np.errstate(all="ignore"):
            for node, function, operands in self._steps:
                values[node] = function(*[values[o] for o in operands])
        return [values[o] for o in self._outputs]


class Tangent:
    """f, the derivative of the state x, and df/dx of one network; every derivative is symbolic.

    Attributes:
        system: the equations; its graph is this object's own.
        jacobian_at: (rows, columns) of the entries of df/dx that are not zero by structure.
    """

    def __init__(self, network: ReactionNetwork):
        self.network = network
        self.system = System(network)
        graph = self.system.graph
        self.states = len(network.state_ids)
        self._x = [graph.input(STATE + i) for i in range(self.states)]
        entries = self._differentiated(self.system.derivative)
        self._change = Plan(graph, self.system.derivative)
        self._jacobian = Plan(graph, list(entries.values()))
        self.jacobian_at = _positions(entries)

    def depends_on_time(self) -> list[str]:
        """The ids of the state whose rate of change depends on time."""
        graph = self.system.graph
        time = graph.input(TIME)
        pairs = zip(self.network.state_ids, self.system.derivative)
        return [name for name, node in pairs if time in graph.needed([node])]

    def change(self, inputs: Sequence) -> np.ndarray:
        """f, (state_ids,)."""
        return np.array(self._change(inputs), dtype=float)

    def jacobian(self, inputs: Sequence) -> np.ndarray:
        """df/dx, (state_ids, state_ids), dense."""
        result = np.zeros((self.states, self.states))
        result[self.jacobian_at] = self._jacobian(inputs)
        return result

    def derivatives(self, names: Sequence[str]) -> Callable[[list], tuple[np.ndarray, np.ndarray]]:
        """A function of inputs: the values of `names`, (names,), and their derivatives (names, state_ids)."""
        nodes = [self.system.quantity(name) for name in names]
        entries = self._differentiated(nodes)
        plan, at = Plan(self.system.graph, [*nodes, *entries.values()]), _positions(entries)

        def evaluated(inputs: list) -> tuple[np.ndarray, np.ndarray]:
            values = plan(inputs)
            slopes = np.zeros((len(names), self.states))
            slopes[at] = values[len(names) :]
            return np.array(values[: len(names)], dtype=float), slopes

        return evaluated

    def _differentiated(self, outputs: Sequence[Node]):
        graph = self.system.graph
        try:
            return jacobian(graph, outputs, self._x)
        except NotDifferentiable as error:
            raise ModelError(self.network.file, f"no derivatives: {error}") from None


def _positions(entries: Iterable[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    at = np.array(list(entries), dtype=np.intp).reshape(-1, 2)
    return at[:, 0], at[:, 1]
