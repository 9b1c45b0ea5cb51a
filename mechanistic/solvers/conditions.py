"""Conditions of a network that make its equations jump: on time, and those that set off events.

A relation, floor or ceil of time is *locked*: it keeps its value during a step, and no step reaches over the time
at which it changes next. That time is exact where the two sides differ by something straight in time, with
coefficients that stay the same between events (conditions nested in one another count as such, so `rem(time, 24)
< 12` does). Every other condition that an event or, together with time, a rate law depends on is *watched*: it is
looked at four times along each step, and the step ends where one changes (T. Park and P. I. Barton, ACM Trans. Model.
Comput. Simul. 6, 137, 1996, lock and locate in this way). What turns and turns back between two looks is missed;
steps are kept short beside the rhythm of what depends on time alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.graph import LOGIC, RELATIONS, Graph, Node
from mechanistic.codegen.system import STATE, TIME, System
from mechanistic.solvers.program import OutOfScope

NEVER = 1e300  # the time of what does not happen
_ROUNDING = 8 * 2.0**-52
_STEPPED = ("floor", "ceil")
_PACE = 0.1  # radians in a step


@dataclass(frozen=True)
class Locked:
    """A condition on time alone.

    Attributes:
        leaf: the input that stands for it during a step: a number, 1 or 0 for a truth value.
        value: what it is now ("side" 0) or from now on ("side" 1).
        following: when it changes next.
    """

    leaf: Node
    value: Node
    following: Node


class Conditions:
    """The equations of `system` with its conditions taken out.

    Attributes:
        derivative: d(state)/dt with the locked conditions as inputs.
        triggers: of the events, likewise; truth values.
        formulas: of every event its delay, priority (or None), new values and what they are worth in the state.
        locked: conditions on time.
        watched: numbers that change where a condition does.
        side: the input that says which side of now `Locked.value` is about.
        timed: whether `derivative` depends on time.

    Raises:
        OutOfScope: an event waits for two changing numbers to be equal.
    """

    def __init__(self, system: System):
        self.graph = graph = system.graph
        zero = graph.const(0.0)
        self.time = graph.input(TIME)
        self._first = STATE + len(system.state_at) + len(system.constant_at)
        self.side = graph.input(self._first)
        self._moving = {graph.input(STATE + i) for i, d in enumerate(system.derivative) if d != zero}
        self.locked: list[Locked] = []
        self._held: set[Node] = set()
        self.watched: list[Node] = []
        triggers = [e.trigger for e in system.events]
        formulas = [f for e in system.events for f in (e.delay, e.priority) if f is not None]
        formulas += [node for e in system.events for pair in e.values for node in pair]
        of_rates, of_triggers = set(graph.needed(system.derivative)), set(graph.needed(triggers))
        new = self._rewritten([*system.derivative, *triggers, *formulas], of_rates, of_triggers)
        self.derivative = [new[n] for n in system.derivative]
        self.triggers = [new[n] for n in triggers]
        self.formulas = [
            (
                None if e.delay is None else new[e.delay],
                None if e.priority is None else new[e.priority],
                [(new[value], new[worth]) for value, worth in e.values],
            )
            for e in system.events
        ]
        self.timed = self.time in graph.needed(self.derivative)

    def _rewritten(
        self, outputs: Sequence[Node], of_rates: set[Node], of_triggers: set[Node]
    ) -> dict[Node, Node]:
        graph = self.graph
        order = graph.needed(outputs)
        timed, smooth = {self.time}, {self.time} | self._moving
        new: dict[Node, Node] = {}
        for node in order:
            operation, *operands = graph.nodes[node]
            new[node] = node
            if operation in ("const", "input"):
                continue
            if timed.intersection(operands):
                timed.add(node)
            jumps = operation in RELATIONS or operation in _STEPPED
            changing = operands[1:] if operation == "select" else operands
            if not jumps and operation not in LOGIC and smooth.intersection(changing):
                smooth.add(node)
            parts = [new[o] for o in operands]
            if node in timed:
                new[node] = self._in_time(operation, parts)
            elif parts != operands:
                new[node] = graph.op(operation, *parts)
            looked_at = node in of_triggers or (node in timed and node in of_rates)
            if jumps and looked_at and new[node] not in self._held and smooth.intersection(operands):
                self._watch(operation, new[node], node in of_triggers)
        return new

    def _watch(self, operation: str, node: Node, triggers: bool) -> None:
        if operation in ("==", "!="):
            if not triggers:
                return
            raise OutOfScope("an event waits for two changing numbers to be equal")
        self.watched.append(self.graph.number(node))

    def _in_time(self, operation: str, parts: list[Node]) -> Node:
        """`operation` on something that depends on time, with what is straight in pieces as a choice."""
        graph, zero = self.graph, self.graph.const(0.0)
        if operation == "abs":
            return graph.op("select", self._in_time("<", [parts[0], zero]), graph.op("neg", *parts), *parts)
        if operation in ("max", "min"):
            ordered = parts if operation == "min" else parts[::-1]
            return graph.op("select", self._in_time("<", ordered), *parts)
        if operation in RELATIONS or operation in _STEPPED:
            leaf = self._lock(operation, parts)
            if leaf is not None:
                held = graph.op("!=", leaf, zero) if operation in RELATIONS else leaf
                self._held.add(held)
                return held
        return graph.op(operation, *parts)

    def _lock(self, operation: str, parts: list[Node]) -> Node | None:
        graph = self.graph
        ahead = graph.op("-", parts[1], parts[0]) if operation in RELATIONS else parts[0]
        inputs = self._inputs([ahead])
        if inputs & self._moving or self.time not in inputs:
            return None
        try:
            slope = jacobian(graph, [ahead], [self.time]).get((0, 0), graph.const(0.0))
        except NotDifferentiable:
            return None
        if self.time in self._inputs([slope]):
            self._pace(slope)
            return None
        leaf = graph.input(self._first + 1 + len(self.locked))
        # in finding the change, conditions that this one depends on are computed along with it
        inner = {one.leaf: one.value for one in self.locked}
        *parts, ahead, slope = substituted(graph, [*parts, ahead, slope], inner)
        make = self._relation if operation in RELATIONS else self._step
        self.locked.append(Locked(leaf, *make(operation, parts, ahead, slope)))
        return leaf

    def _pace(self, slope: Node) -> None:
        """Keeps steps short beside the rhythm of something that depends on time alone, but not in a straight line.

        The derivatives d1, d2, ... of A sin(w t + p) give d2^2 - d1 d3 = A^2 w^4 and d3^2 - d2 d4 = A^2 w^6 at all
        times; those of an exponential give nothing.
        """
        graph, op = self.graph, self.graph.op
        slopes = [slope]
        try:
            for _ in range(3):
                slopes.append(jacobian(graph, slopes[-1:], [self.time]).get((0, 0), graph.const(0.0)))
        except NotDifferentiable:
            return
        first, second, third, fourth = slopes
        fourfold = op("-", op("*", second, second), op("*", first, third))
        sixfold = op("-", op("*", third, third), op("*", second, fourth))
        following = op("+", self.time, op("*", graph.const(_PACE), op("sqrt", op("/", fourfold, sixfold))))
        following = op("select", op("<", self.time, following), following, graph.const(NEVER))
        inner = {one.leaf: one.value for one in self.locked}
        (following,) = substituted(graph, [following], inner)
        leaf = graph.input(self._first + 1 + len(self.locked))
        self.locked.append(Locked(leaf, graph.const(0.0), following))

    def _inputs(self, outputs: Iterable[Node]) -> set[Node]:
        return {n for n in self.graph.needed(outputs) if self.graph.nodes[n][0] == "input"}

    def _relation(self, operation: str, parts: list[Node], ahead: Node, slope: Node) -> tuple[Node, Node]:
        """The value and the next change of a relation; `ahead` is its right side less its left one."""
        op, const = self.graph.op, self.graph.const
        zero, one = const(0.0), const(1.0)
        size = op("+", op("+", op("abs", parts[0]), op("abs", parts[1])), self._lever(slope))
        near = op("<=", op("abs", ahead), op("*", const(_ROUNDING), size))
        rising, positive = op("<", zero, slope), op("<", zero, ahead)
        now, after = {
            "<": (op("and", positive, op("not", near)), self._either(near, rising, positive)),
            "<=": (op("or", positive, near), self._either(near, rising, positive)),
            "==": (near, op("<", one, zero)),
            "!=": (op("not", near), op("<", zero, one)),
        }[operation]
        plain, still = op(operation, *parts), op("==", slope, zero)
        value = self._either(still, plain, self._either(op("!=", self.side, zero), after, now))
        crossing = op("-", self.time, op("/", ahead, slope))
        valid = op("and", op("not", op("or", still, near)), op("<", self.time, crossing))
        return self.graph.number(value), op("select", valid, crossing, const(NEVER))

    def _step(self, operation: str, parts: list[Node], ahead: Node, slope: Node) -> tuple[Node, Node]:
        """The value and the next change of floor or ceil of `ahead`."""
        op, const = self.graph.op, self.graph.const
        zero, one = const(0.0), const(1.0)
        whole = op("floor", op("+", ahead, const(0.5)))
        size = op("+", op("abs", ahead), self._lever(slope))
        near = op("<=", op("abs", op("-", ahead, whole)), op("*", const(_ROUNDING), size))
        falling, rising = op("<", slope, zero), op("<", zero, slope)
        beyond = (
            op("select", falling, op("-", whole, one), whole)
            if operation == "floor"
            else op("select", rising, op("+", whole, one), whole)
        )
        at_whole = op("select", op("!=", self.side, zero), beyond, whole)
        value = op("select", near, at_whole, op(operation, ahead))
        low = value if operation == "floor" else op("-", value, one)
        goal = op("select", rising, op("+", low, one), low)
        crossing = op("+", self.time, op("/", op("-", goal, ahead), slope))
        valid = op("and", op("!=", slope, zero), op("<", self.time, crossing))
        return value, op("select", valid, crossing, const(NEVER))

    def _lever(self, slope: Node) -> Node:
        return self.graph.op("abs", self.graph.op("*", slope, self.time))

    def _either(self, condition: Node, first: Node, second: Node) -> Node:
        """One of two truth values."""
        op = self.graph.op
        return op("or", op("and", condition, first), op("and", op("not", condition), second))


def substituted(graph: Graph, outputs: Sequence[Node], instead: Mapping[Node, Node]) -> list[Node]:
    """`outputs` with other nodes in place of some."""
    new = dict(instead)
    for node in graph.needed(outputs):
        if node in new:
            continue
        operation, *operands = graph.nodes[node]
        if operation in ("const", "input"):
            new[node] = node
        else:
            parts = [new[o] for o in operands]
            new[node] = node if parts == operands else graph.op(operation, *parts)
    return [new[o] for o in outputs]
