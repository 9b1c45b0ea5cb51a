"""The equations of a network with their first derivatives, evaluated for one cell.

A *tangent* is the derivative of the state and the constants along one parameter. It follows the variational
equation d(tangent)/dt = (df/dx) tangent + (df/dc) (dc/dp), in which f is the derivative of the state x and c
are the constants (Dickinson & Gelinas, J. Comput. Phys. 21, 1976). Every derivative is symbolic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.graph import RELATIONS, Graph, Node
from mechanistic.codegen.numeric import FUNCTIONS
from mechanistic.codegen.system import STATE, TIME, System
from mechanistic.errors import ModelError, ModelProblem
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
    """f, df/dx and the right-hand side of the variational equation of one network.

    Attributes:
        system: the equations; its graph is this object's own.
        jacobian_at: (rows, columns) of the entries of df/dx that are not zero by structure.
    """

    def __init__(self, network: ReactionNetwork, constants: Iterable[int] = ()):
        """`constants`: positions in settable_ids of what depends on a parameter."""
        self.network = network
        self.system = System(network)
        graph = self.system.graph
        self.states, self.settable = len(network.state_ids), len(network.settable_ids)
        self.active = tuple(constants)
        self._x = [graph.input(STATE + i) for i in range(self.states)]
        self._c = [graph.input(STATE + self.states + k) for k in self.active]
        first = STATE + self.states + self.settable
        self._dx = [graph.input(first + i) for i in range(self.states)]
        self._dc = [graph.input(first + self.states + k) for k in range(len(self.active))]
        entries = self._differentiated(self.system.derivative, [*self._x, *self._c])
        inner = {at: node for at, node in entries.items() if at[1] < self.states}
        self._change = Plan(graph, self.system.derivative)
        self._jacobian = Plan(graph, list(inner.values()))
        self.jacobian_at = _positions(inner)
        direction = self._directional(self.system.derivative, entries)
        self._augmented = Plan(graph, [*self.system.derivative, *direction])
        second = self._differentiated(direction, self._x)
        self._augmented_jacobian = Plan(graph, [*inner.values(), *second.values()])
        self._second_at = _positions(second)

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

    def augmented(self, inputs: list, tangents: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """f and the rates of change of the tangents, (1 + parameter, state_ids).

        Args:
            tangents: (parameter, state_ids).
            directions: (parameter, active constants), dc/dp.
        """
        values = self._augmented([*inputs, *tangents.T, *directions.T])
        result = np.empty((1 + len(tangents), self.states))
        result[0] = values[: self.states]
        for i, value in enumerate(values[self.states :]):
            result[1:, i] = value
        return result

    def augmented_jacobian(self, inputs: list, tangents: np.ndarray, directions: np.ndarray):
        """The Jacobian of `augmented`, flattened, as a sparse matrix (columns compressed)."""
        from scipy.sparse import csc_matrix

        blocks, n = 1 + len(tangents), self.states
        values = self._augmented_jacobian([*inputs, *tangents.T, *directions.T])
        inner = np.array(values[: len(self.jacobian_at[0])], dtype=float)
        outer = np.empty((len(values) - len(inner), len(tangents)))
        for i, value in enumerate(values[len(inner) :]):
            outer[i] = value
        shifts, below = n * np.arange(blocks)[:, None], n * np.arange(1, blocks)
        rows, columns = self.jacobian_at
        second_rows, second_columns = self._second_at
        data = np.concatenate([np.tile(inner, blocks), outer.ravel()])
        row = np.concatenate([(rows + shifts).ravel(), (second_rows[:, None] + below).ravel()])
        column = np.concatenate([(columns + shifts).ravel(), np.repeat(second_columns, len(tangents))])
        return csc_matrix((data, (row, column)), shape=(blocks * n, blocks * n))

    def observer(self, names: Sequence[str]) -> Callable[[list, np.ndarray, np.ndarray], np.ndarray]:
        """A function of (inputs, tangents, directions): the derivatives of `names`, (parameter, names)."""
        nodes = [self.system.quantity(name) for name in names]
        plan = Plan(
            self.system.graph,
            self._directional(nodes, self._differentiated(nodes, [*self._x, *self._c])),
        )

        def observe(inputs: list, tangents: np.ndarray, directions: np.ndarray) -> np.ndarray:
            result = np.empty((len(tangents), len(names)))
            for i, value in enumerate(plan([*inputs, *tangents.T, *directions.T])):
                result[:, i] = value
            return result

        return observe

    def derivatives(self, names: Sequence[str]) -> Callable[[list], tuple[np.ndarray, np.ndarray]]:
        """A function of inputs: the values of `names`, (names,), and their derivatives (names, state_ids)."""
        nodes = [self.system.quantity(name) for name in names]
        entries = self._differentiated(nodes, self._x)
        plan, at = Plan(self.system.graph, [*nodes, *entries.values()]), _positions(entries)

        def evaluated(inputs: list) -> tuple[np.ndarray, np.ndarray]:
            values = plan(inputs)
            slopes = np.zeros((len(names), self.states))
            slopes[at] = values[len(names) :]
            return np.array(values[: len(names)], dtype=float), slopes

        return evaluated

    def breaks(self, inputs: list) -> np.ndarray:
        """Times at which a condition of the form "time against a constant" switches, ascending.

        Raises:
            ModelError: a condition depends on the state or on a parameter that is varied, or is not of this
                form: the tangent jumps where it switches, which is not computed here.
        """
        graph, found = self.system.graph, []
        varied = {*self._x, *self._c}
        for name, output in zip(self.network.state_ids, self.system.derivative):
            for node in graph.needed([output]):
                operation, *operands = graph.nodes[node]
                if operation in ("floor", "ceil"):
                    self._refuse(name, f"'{operation}'", operands, varied)
                if operation not in RELATIONS:
                    continue
                self._refuse(name, "a condition (piecewise)", operands, varied)
                time = graph.input(TIME)
                timed = [time in graph.needed([o]) for o in operands]
                if any(timed):
                    if all(timed) or operands[timed.index(True)] != time:
                        message = f"'{name}' has a condition on time other than time against a number"
                        raise self._error(name, message)
                    found += Plan(graph, [operands[timed.index(False)]])(inputs)
        return np.unique(np.array(found, dtype=float))

    def _refuse(self, name: str, what: str, operands: list[Node], varied: set[Node]) -> None:
        graph = self.system.graph
        if varied & set(graph.needed(operands)):
            message = (
                f"the rate of '{name}' has {what} that depends on the state or on a parameter asked for: "
                "its sensitivity may jump there, which is not supported; write it as a smooth function"
            )
            raise self._error(name, message)

    def _error(self, name: str, message: str) -> ModelError:
        problem = ModelProblem(message, self.network.line_of(name), name)
        return ModelError(self.network.file, [problem])

    def _directional(self, outputs: Sequence[Node], entries: dict[tuple[int, int], Node]) -> list[Node]:
        """Nodes of sum over j of entries[i, j] * (tangent of variable j)."""
        graph, along = self.system.graph, [*self._dx, *self._dc]
        terms: dict[int, list[Node]] = {}
        for (i, j), slope in entries.items():
            terms.setdefault(i, []).append(graph.op("*", slope, along[j]))
        return [graph.folded("+", terms.get(i, []), 0.0) for i in range(len(outputs))]

    def _differentiated(self, outputs: Sequence[Node], variables: Sequence[Node]):
        graph = self.system.graph
        try:
            return jacobian(graph, outputs, variables)
        except NotDifferentiable as error:
            raise ModelError(self.network.file, f"no sensitivities: {error}") from None


def _positions(entries: Iterable[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    at = np.array(list(entries), dtype=np.intp).reshape(-1, 2)
    return at[:, 0], at[:, 1]
