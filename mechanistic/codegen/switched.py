"""Equations whose conditions are held between switches, so that they are smooth where they are differentiated.

A relation between numbers that change (a *switch*) becomes an input of the graph, 1 or 0. Whoever integrates
sets it, stops where it turns, and accounts for the turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mechanistic.codegen.accumulate import copied
from mechanistic.codegen.graph import RELATIONS, Graph, Node
from mechanistic.codegen.system import STATE, TIME, System
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork


@dataclass(frozen=True)
class Switch:
    """Holds where `lower` < `upper`, or also where they are equal.

    Attributes:
        relation: "<" or "<=".
        time: "lower" or "upper" where that side is the time and the other changes by events only, else "".
    """

    relation: str
    lower: Node
    upper: Node
    time: str


@dataclass(frozen=True)
class SwitchedEvent:
    """One event: its trigger, a condition, and (position in the state, new stored value)."""

    id: str
    initial_value: bool
    from_trigger_time: bool
    trigger: Node
    assignments: tuple[tuple[int, Node], ...]


class SwitchedSystem:
    """The equations of a network on a graph of their own.

    Inputs of the graph, in order: time, scale, the state, the constants (as `codegen.system` has them), then
    one for each switch, those with `time` last.

    Attributes:
        graph, rates, states, constants: the graph; nodes of d(state)/dt, of the state, of the constants.
        switches: see above; `sided` counts those without `time`, which a solver must watch.
        events: in document order.
        timed: whether the rates, or the sides of a switch that must be watched, depend on time.

    Raises:
        ModelError: what cannot be differentiated, by id: delays, priorities; rounding or equality of what
            changes.
    """

    def __init__(self, network: ReactionNetwork):
        self.network = network
        _refuse(network)
        system = self._system = System(network)
        old, n = system.graph, len(network.state_ids)
        self._first = STATE + n + len(network.settable_ids)
        outputs = [*system.derivative]
        for event in system.events:
            outputs += [event.trigger, *(node for _, node in event.assignments)]
        moves = {
            old.input(STATE + i) for i, node in enumerate(system.derivative) if old.value(node) != 0.0
        } | {old.input(TIME)}
        found: list[Node] = []
        for node in old.needed(outputs):
            operation, *operands = old.nodes[node]
            if operation in ("const", "input") or not moves.intersection(operands):
                continue
            if operation in RELATIONS:
                found.append(node)
            moves.add(node)
            if operation in ("floor", "ceil", "==", "!="):
                self._refuse_jump(system, node, operation)
        time = old.input(TIME)
        pairs = {node: _apart(old, old.nodes[node][1], old.nodes[node][2], time, moves) for node in found}
        sides = {node: _time_side(*pairs[node], time, moves) for node in found}
        found.sort(key=lambda node: bool(sides[node]))
        at = {node: self._first + k for k, node in enumerate(found)}

        graph = self.graph = Graph()

        def held(node: Node, _went: Mapping[Node, Node]) -> Node | None:
            return graph.op("!=", graph.input(at[node]), graph.const(0.0)) if node in at else None

        sides_of = [side for node in found for side in pairs[node]]
        went = copied(old, [*outputs, *sides_of], graph, held)
        self.rates = [went[node] for node in system.derivative]
        self.switches = tuple(
            Switch(old.nodes[node][0], went[pairs[node][0]], went[pairs[node][1]], sides[node])
            for node in found
        )
        self.sided = sum(not s.time for s in self.switches)
        self.events = tuple(
            SwitchedEvent(
                e.event.id,
                e.event.initial_value,
                e.event.from_trigger_time,
                went[e.trigger],
                tuple((i, went[node]) for i, node in e.assignments),
            )
            for e in system.events
        )
        self.time = graph.input(TIME)
        self.states = [graph.input(STATE + i) for i in range(n)]
        self.constants = [graph.input(STATE + n + k) for k in range(len(network.settable_ids))]
        self.turned = [graph.input(self._first + k) for k in range(len(self.switches))]
        watched = [side for s in self.switches[: self.sided] for side in (s.lower, s.upper)]
        self.timed = self.time in graph.needed([*self.rates, *watched])

    @property
    def next_input(self) -> int:
        """The first input that is free."""
        return self._first + len(self.switches)

    def observed(self, names: Sequence[str]) -> list[Node]:
        """The nodes of what users call `names`, on this graph; conditions in them are not held.

        Raises:
            KeyError: there is no such quantity.
        """
        nodes = [self._system.quantity(name) for name in names]
        went = copied(self._system.graph, nodes, self.graph)
        return [went[node] for node in nodes]

    def _refuse_jump(self, system: System, node: Node, operation: str) -> None:
        graph, network = system.graph, self.network
        uses = [(name, [rate]) for name, rate in zip(network.state_ids, system.derivative)]
        uses += [(e.event.id, [e.trigger, *(new for _, new in e.assignments)]) for e in system.events]
        name = next(name for name, nodes in uses if node in graph.needed(nodes))
        words = {"==": "an equality", "!=": "an inequation", "floor": "'floor'", "ceil": "'ceil'"}
        message = (
            f"'{name}' has {words[operation]} of numbers that change: its sensitivity jumps there, which is "
            "not supported; write it with < or as a smooth function"
        )
        raise ModelError(network.file, [ModelProblem(message, network.line_of(name), name)])


def _apart(graph: Graph, lower: Node, upper: Node, time: Node, moves: set[Node]) -> tuple[Node, Node]:
    """Both sides with time alone on one of them, where it is only shifted: time - a < b as time < b + a."""
    for own, other in ((lower, upper), (upper, lower)):
        operation, *operands = graph.nodes[own]
        if other in moves or operation not in ("+", "-") or len(operands) != 2:
            continue
        first, second = operands
        if operation == "+" and second == time:
            first, second = second, first
        if first == time and second not in moves:
            shifted = graph.op("-" if operation == "+" else "+", other, second)
            return (time, shifted) if own == lower else (shifted, time)
        if operation == "-" and second == time and first not in moves:
            # the other side of it: a - time < b as a - b < time
            shifted = graph.op("-", first, other)
            return (shifted, time) if own == lower else (time, shifted)
    return lower, upper


def _time_side(lower: Node, upper: Node, time: Node, moves: set[Node]) -> str:
    for side, mine, other in (("lower", lower, upper), ("upper", upper, lower)):
        if mine == time and other not in moves:
            return side
    return ""


def _refuse(network: ReactionNetwork) -> None:
    problems = [
        ModelProblem(f"sensitivities through a {what} of an event are not supported", e.line, e.id)
        for e in network.events
        for what, tree in (("delay", e.delay), ("priority", e.priority))
        if tree is not None
    ]
    if problems:
        raise ModelError(network.file, problems)
