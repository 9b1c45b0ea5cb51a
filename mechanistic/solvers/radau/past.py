"""What delays look up: a cell's course so far, and what held before it began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mechanistic.codegen.graph import Graph, Node
from mechanistic.codegen.initial import InitialValues
from mechanistic.codegen.numeric import FUNCTIONS, evaluate
from mechanistic.network import ReactionNetwork
from mechanistic.solvers.radau.collocation import Step


class Formulas:
    """Nodes of a graph as a list of numpy calls, for many evaluations at a few points.

    Args:
        held: conditions that are not computed but given, as positions in `held` of the call.
    """

    def __init__(self, graph: Graph, outputs: list[Node], held: Mapping[Node, int] | None = None):
        held = held or {}
        self.outputs = list(outputs)
        wanted, order = set(outputs), []
        for node in range(max(wanted, default=-1), -1, -1):
            if node in wanted:
                order.append(node)
                operation, *operands = graph.nodes[node]
                if operation not in ("const", "input") and node not in held:
                    wanted.update(operands)
        self._constants = {n: np.float64(graph.nodes[n][1]) for n in order if graph.nodes[n][0] == "const"}
        self.inputs = [(n, graph.nodes[n][1]) for n in order if graph.nodes[n][0] == "input"]
        self._held = [(n, held[n]) for n in order if n in held]
        self._steps = [
            (n, FUNCTIONS[graph.nodes[n][0]], graph.nodes[n][1:])
            for n in reversed(order)
            if graph.nodes[n][0] not in ("const", "input") and n not in held
        ]

    def __call__(self, inputs: list, held: np.ndarray | None = None) -> list:
        """The values of the outputs; `inputs`: numbers or arrays by input of the graph."""
        values: dict[Node, Any] = dict(self._constants)
        for node, index in self.inputs:
            values[node] = inputs[index]
        if held is not None:
            for node, index in self._held:
                values[node] = held[index]
        with np.errstate(all="ignore"):
            for node, function, operands in self._steps:
                values[node] = function(*[values[o] for o in operands])
        return [values[o] for o in self.outputs]


class Before:
    """The delayed expressions before the start, as rules and initial assignments say.

    SBML lets both hold at times before the start too (cases 00937, 00938 and 01400 of its test suite); what has
    neither is as it is at the start, and rates of change are 0.

    Attributes:
        changes: of each delay, whether what it looks at changes before the start.

    Args:
        given: values by id that replace the model's, each a scalar or one a cell.
    """

    def __init__(self, network: ReactionNetwork, given: Mapping[str, Any]):
        initial = InitialValues(network, given)
        self._graph, self._values = initial.graph, list(given.values())
        earlier = initial.before(self._graph.input(len(self._values)))
        self._nodes = [earlier.resolver.of(tree[1]) for tree, _, _ in network.delays]
        changing = self._graph.input(len(self._values))
        self.changes = [changing in self._graph.needed([node]) for node in self._nodes]

    def value(self, delay: int, cell: int, times: np.ndarray) -> np.ndarray:
        """(time,): what delay number `delay` looks at."""
        given = [v if np.ndim(v) == 0 else np.asarray(v)[cell] for v in self._values]
        value = evaluate(self._graph, [self._nodes[delay]], [*given, times])[0]
        return np.broadcast_to(np.asarray(value, dtype=float), times.shape)


class Past:
    """The course of one cell so far.

    Attributes:
        time, state: now.
        current: the step that is being computed, or None.
        steps: the steps so far.
    """

    def __init__(self, time: float, state: np.ndarray):
        self.time, self.state = time, state
        self.current: Step | None = None
        self._starts: list[float] = []
        self.steps: list[Step] = []

    def add(self, step: Step) -> None:
        self._starts.append(step.start)
        self.steps.append(step)

    def at(self, times: np.ndarray) -> np.ndarray:
        """(time, state), from the start on; where the state jumps, what it jumps to."""
        result = np.empty((len(times), len(self.state)))
        now = times >= self.time
        if now.any():
            result[now] = self.state if self.current is None else self.current.at(times[now])
        late = np.flatnonzero(~now)
        if len(late):
            which = np.searchsorted(self._starts, times[late], side="right") - 1
            for k in np.unique(which):
                rows = late[which == k]
                result[rows] = self.steps[max(int(k), 0)].at(times[rows])
        return result
