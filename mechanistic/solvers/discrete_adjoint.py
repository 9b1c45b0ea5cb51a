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
from mechanistic.codegen.graph import Node
from mechanistic.codegen.native import LANES, SOURCE, TARGET, Compiled, Layout, Module, Place, constant
from mechanistic.codegen.sparse import Elimination, eliminate
from mechanistic.codegen.switched import SwitchedSystem
from mechanistic.codegen.system import SCALE
from mechanistic.errors import ModelError
from mechanistic.solvers import linear, rosenbrock

_C = rosenbrock._C
STAGES = len(_C)
_A = [*rosenbrock._A]  # of the values at which the stages take the rates; the last ones add a stage each
while len(_A) <= STAGES:
    _A.append((*_A[-1], 1.0))
_NEW = _A[STAGES]  # the new state is y + the sum of these times K
_ROWS = 150  # lines of a matrix in one function


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
        fixed = rosenbrock._fixed(graph, every, changing)
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
        _emit_step(module, rows)
        if transposed:
            _emit_transposed_solve(module, self.plan)
            _emit_outer(module, rows, list(self.entries))
            _emit_measure(module, rows, [("y", "w", "K")])
            _emit_adjoint(module, rows, constants)
        else:
            _emit_second(module, list(self.entries))
            _emit_measure(module, rows, [("y", "w", "K"), ("s", "ws", "T")])
            _emit_tangent(module, rows)
        return Differentiated(Compiled(str(module.ir)), rows, self.equations.timed, layout, tape // LANES)


def _stages(r, name: str, rows: int) -> list:
    return [r.pointer(r.array(name), q * rows) for q in range(STAGES)]


def _combined(r, start, factors, vectors, i):
    """start + the sum of factors * vectors, at i."""
    value = r.load(start, i)
    for factor, vector in zip(factors, vectors):
        if factor != 0.0:
            value = r.add(value, r.mul(constant(factor), r.load(vector, i)))
    return value


def _inverse_step(r):
    return r.div(constant(1.0), r.load(r.block, r.at("h")))


def _emit_step(module: Module, rows: int) -> None:
    r = module.routine("step")
    y, w, K = r.array("y"), r.array("w"), _stages(r, "K", rows)
    r.call("jacobian", y)
    r.call("factor")
    r.call("solve", y, K[0])
    inverse = _inverse_step(r)
    for q in range(1, STAGES):
        r.loop(rows, lambda i, q=q: r.store(_combined(r, y, _A[q], K, i), w, i))
        r.call("rates", w, K[q])
        r.loop(rows, lambda i, q=q: _add_earlier(r, q, K, inverse, i))
        r.call("solve", y, K[q])
    r.loop(rows, lambda i: r.store(_combined(r, y, _NEW, K, i), w, i))
    r.end()


def _add_earlier(r, q: int, stages: list, inverse, i) -> None:
    """Adds to a stage what earlier ones leave in it."""
    value = r.mul(constant(_C[q][0]), r.load(stages[0], i))
    for j in range(1, q):
        value = r.add(value, r.mul(constant(_C[q][j]), r.load(stages[j], i)))
    r.store(r.add(r.load(stages[q], i), r.mul(value, inverse)), stages[q], i)


def _emit_tangent(module: Module, rows: int) -> None:
    r = module.routine("tangent")
    y, s, w, ws = (r.array(name) for name in ("y", "s", "w", "ws"))
    K, T = _stages(r, "K", rows), _stages(r, "T", rows)
    r.call("first_tangent", y)
    r.call("second", K[0], T[0])
    r.call("solve", y, T[0])
    inverse = _inverse_step(r)
    for q in range(1, STAGES):

        def before(i, q=q):
            r.store(_combined(r, y, _A[q], K, i), w, i)
            r.store(_combined(r, s, _A[q], T, i), ws, i)

        r.loop(rows, before)
        r.call("rates_tangent", w, T[q])
        r.loop(rows, lambda i, q=q: _add_earlier(r, q, T, inverse, i))
        r.call("second", K[q], T[q])
        r.call("solve", y, T[q])

    def end(i):
        r.store(_combined(r, y, _NEW, K, i), w, i)
        r.store(_combined(r, s, _NEW, T, i), ws, i)

    r.loop(rows, end)
    r.end()


def _emit_measure(module: Module, rows: int, parts: list[tuple[str, str, str]]) -> None:
    """error := the largest root mean square, over the parts, of the last stage over the tolerance.

    Not a number where anything is not finite.
    """
    r = module.routine("measure")
    tolerances, rtol, worst = r.array("atol"), r.load(r.block, r.at("rtol")), constant(0.0)
    for k, (before, after, stages) in enumerate(parts):
        y, w, last = r.array(before), r.array(after), _stages(r, stages, rows)[-1]
        atol = r.pointer(tolerances, k * rows)

        def body(i, total, y=y, w=w, last=last, atol=atol):
            old, new = r.load(y, i), r.load(w, i)
            level = r.larger(r.abs(old), r.abs(new))
            ratio = r.div(r.load(last, i), r.add(r.load(atol, i), r.mul(rtol, level)))
            # 0, or not a number where the new state is not finite
            nothing = r.builder.fsub(new, new)
            return [r.add(r.add(total, nothing), r.mul(ratio, ratio))]

        (total,) = r.loop(rows, body, [constant(0.0)])
        error = r.sqrt(r.mul(total, constant(1.0 / rows)))
        # the difference is 0, or not a number
        worst = r.add(r.builder.select(r.builder.fcmp_ordered("<=", error, worst), worst, error),
                      r.builder.fsub(worst, worst))  # fmt: skip
    r.store(worst, r.block, r.at("error"))
    r.end()


def _emit_second(module: Module, entries: list[tuple[int, int]]) -> None:
    """target += dJ source."""
    lines: dict[int, list[tuple[int, int]]] = {}
    for k, (i, j) in enumerate(entries):
        lines.setdefault(i, []).append((k, j))
    _in_pieces(module, "second", list(lines.items()), _second_line)


def _second_line(r, line) -> None:
    i, parts = line
    value = r.load(r.target, i)
    for k, j in parts:
        value = r.add(value, r.mul(r.load(r.block, r.at("dM", k)), r.load(r.source, j)))
    r.store(value, r.target, i)


def _emit_outer(module: Module, rows: int, entries: list[tuple[int, int]]) -> None:
    """G := the sum over the stages of B K^T, on the entries of the Jacobian; source is the tape."""

    def one(r, numbered) -> None:
        k, (i, j) = numbered
        total = None
        for q in range(STAGES):
            product = r.mul(
                r.load(r.block, r.at("B", q * rows + i)), r.load(r.source, r.at("K", q * rows + j))
            )
            total = product if total is None else r.add(total, product)
        r.store(total, r.block, r.at("G", k))

    _in_pieces(module, "outer", list(enumerate(entries)), one)


def _emit_transposed_solve(module: Module, plan: Elimination) -> None:
    """target := the solution with the transposed matrix for the right-hand side in target; source is the tape."""
    entries = {at: i for i, at in enumerate(plan.entries)}
    above: dict[int, list[int]] = {k: [] for k in plan.order}
    for k in plan.order:
        for j in plan.right[k]:
            above[j].append(k)

    def forward(r, j) -> None:
        x = r.load(r.target, j)
        for k in above[j]:
            x = r.sub(x, r.mul(r.load(r.source, r.at("M", entries[k, j])), r.load(r.target, k)))
        r.store(r.mul(x, r.load(r.source, r.at("M", entries[j, j]))), r.target, j)

    def backward(r, k) -> None:
        x = r.load(r.target, k)
        for i in plan.below[k]:
            x = r.sub(x, r.mul(r.load(r.source, r.at("M", entries[i, k])), r.load(r.target, i)))
        r.store(x, r.target, k)

    lines = [(forward, j) for j in plan.order] + [(backward, k) for k in plan.order[::-1]]
    _in_pieces(module, "solve_transposed", lines, lambda r, line: line[0](r, line[1]))


def _in_pieces(module: Module, name: str, lines: list, one) -> None:
    pieces = []
    for start in range(0, len(lines), _ROWS):
        r = module.routine(module.piece_name())
        pieces.append(r.name)
        for line in lines[start : start + _ROWS]:
            one(r, line)
        r.end()
    module.sequence(name, pieces)


def _emit_adjoint(module: Module, rows: int, constants: int) -> None:
    """Source is the tape of the step."""
    r = module.routine("adjoint")
    w, lam, kept, u, v, total = (r.array(name) for name in ("w", "lam", "kept", "u", "v", "sum"))
    pbar, pv = r.array("pbar"), r.array("pv")
    B, asked = (_stages(r, name, rows) for name in ("B", "asked"))
    y = r.pointer(r.source, r.at("y"))
    K = [r.pointer(r.source, r.at("K", q * rows)) for q in range(STAGES)]

    def start(i):
        value = r.load(lam, i)
        r.store(r.add(value, r.load(kept, i)), total, i)
        for q in range(STAGES):
            r.store(r.add(r.load(asked[q], i), r.mul(constant(_NEW[q]), value)), B[q], i)

    r.loop(rows, start)
    inverse = _inverse_step(r)
    for q in range(STAGES - 1, -1, -1):

        def before(i, q=q):
            r.store(r.load(B[q], i), u, i)
            r.store(_combined(r, y, _A[q], K, i), w, i)

        r.loop(rows, before)
        r.call("solve_transposed", r.source, u)
        r.call("pulled", w)

        def after(i, q=q):
            back, solution = r.load(v, i), r.load(u, i)
            r.store(r.add(r.load(total, i), back), total, i)
            r.store(solution, B[q], i)
            solved = r.mul(solution, inverse)
            for j in range(q):
                value = r.add(r.load(B[j], i), r.mul(constant(_A[q][j]), back))
                r.store(r.add(value, r.mul(constant(_C[q][j]), solved)), B[j], i)

        r.loop(rows, after)
        _added(r, pv, pbar, constants)
    r.call("outer", r.source)
    r.call("pulled_jacobian", y)
    r.loop(rows, lambda i: r.store(r.add(r.load(total, i), r.load(v, i)), lam, i))
    _added(r, pv, pbar, constants)
    r.end()


def _added(r, source, target, count: int) -> None:
    if count:
        r.loop(count, lambda i: r.store(r.add(r.load(target, i), r.load(source, i)), target, i))
