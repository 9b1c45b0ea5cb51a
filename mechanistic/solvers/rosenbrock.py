"""One step of a stiff solver as machine code: Rodas4, a Rosenbrock method of order 4 with an error estimate.

E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd ed., Springer 1996, section IV.7, in the
form that needs no product with the Jacobian. The sparse matrix 1/(gamma h) - J is factored by straight-line
code (the way of KPP: Sandu and Sander, Atmos. Chem. Phys. 6, 187, 2006). Time is one more state where the
equations depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.graph import LOGIC, RELATIONS, Graph, Node
from mechanistic.codegen.native import SOURCE, TARGET, Compiled, Layout, Module, Place, constant
from mechanistic.codegen.sparse import Elimination, eliminate
from mechanistic.codegen.system import SCALE, STATE, TIME, System

GAMMA = 0.25
_A: tuple[tuple[float, ...], ...] = (
    (),
    (1.544,),
    (0.9466785280815826, 0.2557011698983284),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
)
_C: tuple[tuple[float, ...], ...] = (
    (),
    (-5.6688,),
    (-2.430093356833875, -0.2063599157091915),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
    (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
)
_STAGES = 6
_ROWS = 150  # matrix rows eliminated or solved in one function

# Beyond these, machine code takes minutes to make.
MOST_OPERATIONS = 150_000


class OutOfScope(ValueError):
    """The network needs something that this solver does not do; the message says what."""


@dataclass(frozen=True)
class Program:
    """The compiled step of one network.

    Attributes:
        code: functions `prepare` (constants of a cell) and `step`.
        size: states, time included where the equations depend on it.
        timed: whether the last state is time.
        constants: vectors in "p": scale, then the network's constants.
        layout: where the arrays lie: y, w (new y), K0..K5 (K5 is the error), p, g = 1/(gamma h), hi = 1/h.
    """

    code: Compiled
    size: int
    timed: bool
    constants: int
    layout: Layout


def build(system: System) -> Program:
    """The program of a network without events.

    Raises:
        OutOfScope: events, conditions that depend on time, an operation without a derivative, too large.
    """
    graph, n = system.graph, len(system.network.state_ids)
    if system.events:
        raise OutOfScope("it has events")
    if n == 0:
        raise OutOfScope("it has no states")
    needed = graph.needed(system.derivative)
    timed = graph.input(TIME) in needed
    if timed:
        _refuse_timed_conditions(graph, needed)
    states = [graph.input(STATE + i) for i in range(n)] + ([graph.input(TIME)] if timed else [])
    rates = list(system.derivative) + ([graph.const(1.0)] if timed else [])
    try:
        derivatives = jacobian(graph, rates, states)
    except NotDifferentiable as error:
        raise OutOfScope(str(error)) from None
    derivatives = {at: d for at, d in derivatives.items() if graph.value(d) != 0.0}
    plan = eliminate(len(states), set(derivatives))
    entries = {at: i for i, at in enumerate(plan.entries)}
    outputs: list[tuple[Node, Place]] = [(r, ("K0", i)) for i, r in enumerate(rates)]
    outputs += [(graph.op("neg", d), ("M", entries[at])) for at, d in derivatives.items()]
    operations = plan.operations + len(graph.needed([node for node, _ in outputs]))
    if operations > MOST_OPERATIONS:
        raise OutOfScope(f"it is too large ({operations} operations a step, at most {MOST_OPERATIONS})")
    return _emit(system, states, rates, outputs, plan, derivatives, timed)


def _refuse_timed_conditions(graph: Graph, needed: list[Node]) -> None:
    """A solver that adapts its step can leap over what a condition on time switches on and off again."""
    depends = {graph.input(TIME)}
    for node in needed:
        operation, *operands = graph.nodes[node]
        if operation not in ("const", "input") and depends.intersection(operands):
            depends.add(node)
            if operation in RELATIONS or operation in ("floor", "ceil"):
                raise OutOfScope("a condition depends on time")


def _emit(system, states, rates, outputs, plan: Elimination, derivatives, timed: bool) -> Program:
    graph, size = system.graph, len(states)
    constants = 1 + len(system.constant_at)
    leaves: dict[Node, Place] = {graph.input(SCALE): ("p", 0)}
    for at in system.constant_at.values():
        leaves[graph.input(at)] = ("p", 1 + at - STATE - len(system.state_at))
    fixed = _fixed(graph, [node for node, _ in outputs], set(states))
    layout = Layout()
    for name in ("y", "w", *(f"K{s}" for s in range(_STAGES))):
        layout.place(name, size)
    layout.place("p", constants)
    for name in ("g", "hi"):
        layout.place(name, 1)
    layout.place("c", len(fixed))
    layout.place("M", len(plan.entries))
    layout.place("spill", len(graph.needed([node for node, _ in outputs])))

    module = Module(layout)
    module.graph_function(
        "prepare", graph, [(node, ("c", i)) for i, node in enumerate(fixed)], leaves, "spill"
    )
    running = leaves | {node: ("c", i) for i, node in enumerate(fixed)}
    running |= {node: (SOURCE, i) for i, node in enumerate(states)}
    module.graph_function("jacobian", graph, outputs, running, "spill")
    module.graph_function("rates", graph, [(r, (TARGET, i)) for i, r in enumerate(rates)], running, "spill")
    _emit_factor(module, plan, set(derivatives))
    _emit_solve(module, plan)
    _emit_step(module, size)
    return Program(Compiled(str(module.ir)), size, timed, constants, layout)


def _fixed(graph: Graph, outputs: list[Node], states: set[Node]) -> list[Node]:
    """Numbers that depend on a cell's constants only and that something changing uses."""
    changing, used = set(states), set(outputs)
    order = graph.needed(outputs)
    for node in order:
        operation, *operands = graph.nodes[node]
        if operation in ("const", "input"):
            continue
        if changing.intersection(operands) or operation in RELATIONS or operation in LOGIC:
            changing.add(node)
            used.update(operands)
    return [
        n for n in order if n in used and n not in changing and graph.nodes[n][0] not in ("const", "input")
    ]


def _emit_factor(module: Module, plan: Elimination, filled: set) -> None:
    """M := the factors of g + M, with the inverse of every pivot on the diagonal."""
    entries = {at: i for i, at in enumerate(plan.entries)}
    start = module.routine("shift")
    g = start.load(start.block, start.at("g"))
    for at, i in entries.items():
        place = start.at("M", i)
        if at[0] == at[1]:
            value = start.add(g, start.load(start.block, place)) if at in filled else g
            start.store(value, start.block, place)
        elif at not in filled:
            start.store(constant(0.0), start.block, place)
    start.end()
    pieces = ["shift"]
    work, r = 0, None
    for k in plan.order:
        if r is None:
            r = module.routine(module.piece_name())
            pieces.append(r.name)
            work = 0
        _eliminate_one(r, plan, entries, k)
        work += 1 + len(plan.below[k]) * (1 + len(plan.right[k]))
        if work > 4 * _ROWS:
            r.end()
            r = None
    if r is not None:
        r.end()
    module.sequence("factor", pieces)


def _eliminate_one(r, plan: Elimination, entries: dict, k: int) -> None:
    def place(i: int, j: int) -> int:
        return r.at("M", entries[i, j])

    inverse = r.div(constant(1.0), r.load(r.block, place(k, k)))
    r.store(inverse, r.block, place(k, k))
    row = {j: r.load(r.block, place(k, j)) for j in plan.right[k]}
    for i in plan.below[k]:
        factor = r.mul(r.load(r.block, place(i, k)), inverse)
        r.store(factor, r.block, place(i, k))
        for j, value in row.items():
            r.store(r.sub(r.load(r.block, place(i, j)), r.mul(factor, value)), r.block, place(i, j))


def _emit_solve(module: Module, plan: Elimination) -> None:
    """target := the solution for the right-hand side in target."""
    entries = {at: i for i, at in enumerate(plan.entries)}
    rank = {k: i for i, k in enumerate(plan.order)}
    left: dict[int, list[int]] = {k: [] for k in plan.order}
    for k in plan.order:
        for i in plan.below[k]:
            left[i].append(k)
    pieces = []
    for forward in (True, False):
        order = plan.order if forward else plan.order[::-1]
        for start in range(0, len(order), _ROWS):
            r = module.routine(module.piece_name())
            pieces.append(r.name)
            for i in order[start : start + _ROWS]:
                x = r.load(r.target, i)
                for j in sorted(left[i] if forward else plan.right[i], key=rank.__getitem__):
                    term = r.mul(r.load(r.block, r.at("M", entries[i, j])), r.load(r.target, j))
                    x = r.sub(x, term)
                if not forward:
                    x = r.mul(x, r.load(r.block, r.at("M", entries[i, i])))
                r.store(x, r.target, i)
            r.end()
    module.sequence("solve", pieces)


def _emit_step(module: Module, size: int) -> None:
    r = module.routine("step")
    y, w = r.array("y"), r.array("w")
    stages = [r.array(f"K{s}") for s in range(_STAGES)]
    r.call("jacobian", y)
    r.call("factor")
    r.call("solve", y, stages[0])
    for s in range(1, _STAGES):

        def before(i, s=s):
            if s < 5:
                value = r.load(y, i)
                for q in range(s):
                    value = r.add(value, r.mul(constant(_A[s][q]), r.load(stages[q], i)))
            else:
                value = r.add(r.load(w, i), r.load(stages[4], i))
            r.store(value, w, i)

        r.loop(size, before)
        r.call("rates", w, stages[s])
        inverse = r.load(r.block, r.at("hi"))

        def after(i, s=s, inverse=inverse):
            value = r.mul(constant(_C[s][0]), r.load(stages[0], i))
            for q in range(1, s):
                value = r.add(value, r.mul(constant(_C[s][q]), r.load(stages[q], i)))
            r.store(r.add(r.load(stages[s], i), r.mul(value, inverse)), stages[s], i)

        r.loop(size, after)
        r.call("solve", w, stages[s])
    # the new state, beside the error that the last stage is
    r.loop(size, lambda i: r.store(r.add(r.load(w, i), r.load(stages[5], i)), w, i))
    r.end()
