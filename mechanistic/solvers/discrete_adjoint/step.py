"""A step of the stiff solver (`rosenbrock`) with its derivatives as machine code: along one direction, and transposed.

The derivatives are those of the step as it is computed, with its size held (Sandu, Daescu & Carmichael, Atmos.
Environ. 37, 5083, 2003; Hager, Numer. Math. 87, 247, 2000): W K_s = r_s with W = 1/(gamma h) - J(y) gives

    W dK_s = dr_s + (dJ) K_s            and, transposed,        u_s = W^-T (what is asked of K_s),

so each stage costs one more solution with the factors of the step itself, plus J's own derivative, which is
formed once for all stages: as a matrix dJ along the direction, or as the gradient of the sum of u_s dJ K_s.
"""

from __future__ import annotations

from dataclasses import dataclass

from mechanistic.codegen.accumulate import along, weighted
from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.factored import Factored
from mechanistic.codegen.graph import Node
from mechanistic.codegen.machine import Compiled
from mechanistic.codegen.native import SOURCE, TARGET, Module, Place
from mechanistic.codegen.sparse import eliminate
from mechanistic.codegen.switched import SwitchedSystem
from mechanistic.codegen.system import SCALE
from mechanistic.codegen.vectors import LANES, Layout
from mechanistic.errors import ModelError
from mechanistic.solvers import linear, rosenbrock
from mechanistic.solvers.discrete_adjoint.code import (
    emit_adjoint,
    emit_measure,
    emit_outer,
    emit_second,
    emit_step,
    emit_tangent,
    emit_transposed_solve,
)  # fmt: skip
from mechanistic.solvers.rosenbrock import STAGES


@dataclass(frozen=True)
class Differentiated:
    """The compiled step of one network.

    Attributes:
        code: functions `prepare`, `step`, `measure` ("error" of the step, and of its tangent, over the tolerances),
            `conditions` (in "now", 1 where a watched switch holds at the states given
            as its second argument), and
            `tangent` (s to ws, after `step`) or `adjoint` ("lam", what is asked of w, "asked", of the stages,
            and "kept", of y itself, to "lam", what that asks of y; adds to "pbar"; given the tape of the step as
            its second argument).
        rows: states, time included where the rates depend on it, as the last.
        timed: whether they do.
        layout: where the arrays lie. "p" (scale, constants), "d" (their direction; tangent alone) and "on"
            (switches) follow one another; "y" and "s", "w" and "ws", "K" and "T" do too. y, K, M are one
            stretch, with which the block begins.
        tape: vectors of that stretch.
    """

    code: Compiled
    rows: int
    timed: bool
    layout: Layout
    tape: int


def build(equations: SwitchedSystem, transposed: bool) -> Differentiated:
    """The step with its transposed derivative, or with that along a direction.

    Raises:
        ModelError: an operation without a derivative, or more operations than are compiled.
    """
    return _Build(equations, transposed).result


class _Build:
    def __init__(self, equations: SwitchedSystem, transposed: bool):
        self.equations, self.graph = equations, equations.graph
        graph = self.graph
        self.states = [*equations.states, *([equations.time] if equations.timed else [])]
        self.rates = [*equations.rates, *([graph.const(1.0)] if equations.timed else [])]
        self.rows, self.constants = len(self.states), len(equations.constants)
        self._free = equations.next_input
        self._nodes: list[tuple[list[tuple[Node, Place]], dict[Node, Place]]] = []
        network = equations.network
        try:
            entries = jacobian(graph, self.rates, self.states)
            self.entries = {at: d for at, d in entries.items() if graph.value(d) != 0.0}
            self.plan = eliminate(self.rows, set(self.entries))
            self._functions = {
                "jacobian": self._jacobian(),
                "conditions": self._conditions(),
                "rates": ([(r, (TARGET, i)) for i, r in enumerate(self.rates)], self._source()),
                **(self._transposed() if transposed else self._tangents()),
            }
        except NotDifferentiable as error:
            raise ModelError(network.file, f"no sensitivities: {error}") from None
        operations = sum(
            len(graph.needed([node for node, _ in outputs])) for outputs, _ in self._functions.values()
        )
        most = 4 * rosenbrock.MOST_OPERATIONS
        if operations + self.plan.operations > most:
            message = f"no sensitivities: the model is too large ({operations} operations, at most {most})"
            raise ModelError(network.file, message)
        self.result = self._emitted(transposed)

    # ---- what is computed, as nodes

    def _inputs(self, array: str, count: int) -> dict[Node, Place]:
        """New inputs that stand for an array of the block."""
        first, self._free = self._free, self._free + count
        return {self.graph.input(first + i): (array, i) for i in range(count)}

    def _source(self) -> dict[Node, Place]:
        return {node: (SOURCE, i) for i, node in enumerate(self.states)}

    def _jacobian(self):
        at = {at: i for i, at in enumerate(self.plan.entries)}
        outputs: list[tuple[Node, Place]] = [(r, ("K", i)) for i, r in enumerate(self.rates)]
        outputs += [(self.graph.op("neg", d), ("M", at[place])) for place, d in self.entries.items()]
        return outputs, self._source()

    def _conditions(self):
        graph, outputs = self.graph, []
        for k, switch in enumerate(self.equations.switches[: self.equations.sided]):
            holds = graph.op(switch.relation, switch.lower, switch.upper)
            node = graph.op("select", holds, graph.const(1.0), graph.const(0.0))
            outputs.append((node, ("now", k)))
        return outputs, self._source()

    def _tangents(self):
        graph = self.graph
        ds, dw = self._inputs("s", self.rows), self._inputs("ws", self.rows)
        dc = self._inputs("d", self.constants)
        fixed = dict(zip(self.equations.constants, dc))
        slopes = list(self.entries.values())
        first = along(graph, [*self.rates, *slopes], {**dict(zip(self.states, ds)), **fixed})
        later = along(graph, self.rates, {**dict(zip(self.states, dw)), **fixed})
        outputs: list[tuple[Node, Place]] = [(r, ("T", i)) for i, r in enumerate(first[: self.rows])]
        outputs += [(node, ("dM", k)) for k, node in enumerate(first[self.rows :])]
        return {
            "first_tangent": (outputs, {**self._source(), **ds, **dc}),
            "rates_tangent": (
                [(r, (TARGET, i)) for i, r in enumerate(later)],
                {**self._source(), **dw, **dc},
            ),
        }

    def _transposed(self):
        graph = self.graph
        u, g = self._inputs("u", self.rows), self._inputs("G", len(self.entries))
        variables = [*self.states, *self.equations.constants]
        by_rates = weighted(graph, self.rates, list(u), variables)
        by_slopes = weighted(graph, list(self.entries.values()), list(g), variables)

        def places(nodes: list[Node]) -> list[tuple[Node, Place]]:
            split = self.rows
            return [(node, ("v", i) if i < split else ("pv", i - split)) for i, node in enumerate(nodes)]

        return {
            "pulled": (places(by_rates), {**self._source(), **u}),
            "pulled_jacobian": (places(by_slopes), {**self._source(), **g}),
        }

    # ---- machine code

    def _emitted(self, transposed: bool) -> Differentiated:
        graph, rows, constants = self.graph, self.rows, self.constants
        leaves: dict[Node, Place] = {graph.input(SCALE): ("p", 0)}
        leaves |= {node: ("p", 1 + k) for k, node in enumerate(self.equations.constants)}
        leaves |= {node: ("on", k) for k, node in enumerate(self.equations.turned)}
        every = [node for outputs, _ in self._functions.values() for node, _ in outputs]
        changing = {place for _, own in self._functions.values() for place in own}
        changing |= {graph.input(at) for at in range(self.equations.next_input, self._free)}
        factored = Factored(graph, every, changing)
        self._functions = {
            name: ([(factored.whole(node), at) for node, at in outputs], own)
            for name, (outputs, own) in self._functions.items()
        }
        every = [node for outputs, _ in self._functions.values() for node, _ in outputs]
        fixed = rosenbrock.fixed_numbers(graph, every, changing)
        layout = Layout()
        layout.place("y", rows)
        if not transposed:
            layout.place("s", rows)
        layout.place("K", STAGES * rows)
        if not transposed:
            layout.place("T", STAGES * rows)
        layout.place("M", len(self.plan.entries))
        tape = layout.size
        layout.place("w", rows)
        sizes = {"ws": rows, "dM": len(self.entries)}
        if transposed:
            sizes = {"lam": rows, "kept": rows, "asked": STAGES * rows, "pbar": constants, "u": rows,
                     "v": rows, "pv": constants, "sum": rows, "B": STAGES * rows,
                     "G": len(self.entries)}  # fmt: skip
        for name, length in sizes.items():
            layout.place(name, length)
        layout.place("p", 1 + constants)
        layout.place("d", 0 if transposed else constants)
        layout.place("on", len(self.equations.switches))
        layout.place("now", self.equations.sided)
        for name, length in (
            ("h", 1),
            ("rtol", 1),
            ("error", 1),
            ("stiffness", 1),
            ("atol", rows if transposed else 2 * rows),
        ):
            layout.place(name, length)
        layout.place("c", len(fixed))
        most = max(len(graph.needed([node for node, _ in o])) for o, _ in self._functions.values())
        layout.place("spill", max(most, len(graph.needed(fixed))))

        module = Module(layout)
        prepared = [(node, ("c", i)) for i, node in enumerate(fixed)]
        module.graph_function("prepare", graph, prepared, leaves, "spill")
        running = leaves | {node: ("c", i) for i, node in enumerate(fixed)}
        for name, (outputs, own) in self._functions.items():
            module.graph_function(name, graph, outputs, running | own, "spill")
        linear.emit_factor(module, self.plan, set(self.entries), 1.0 / rosenbrock.GAMMA, "stiffness")
        linear.emit_solve(module, self.plan)
        emit_step(module, rows)
        if transposed:
            emit_transposed_solve(module, self.plan)
            emit_outer(module, rows, list(self.entries))
            emit_measure(module, rows, [("y", "w", "K")])
            emit_adjoint(module, rows, constants)
        else:
            emit_second(module, list(self.entries))
            emit_measure(module, rows, [("y", "w", "K"), ("s", "ws", "T")])
            emit_tangent(module, rows)
        return Differentiated(Compiled(str(module.ir)), rows, self.equations.timed, layout, tape // LANES)
