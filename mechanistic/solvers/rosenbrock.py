"""One step of a stiff solver as machine code: Rodas5P, a Rosenbrock method of order 5.

G. Steinebach, BIT Numer. Math. 63, 27, 2023: L-stable, with an error estimate and dense output of order 4; in
the form that needs no product with the Jacobian (E. Hairer, G. Wanner, Solving Ordinary Differential Equations
II, 2nd ed., Springer 1996, section IV.7). The sparse matrix 1/(gamma h) - J is factored by straight-line
code (the way of KPP: Sandu and Sander, Atmos. Chem. Phys. 6, 187, 2006). Time is one more state where the
equations depend on it.
"""

from __future__ import annotations

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.factored import Factored, changing_nodes
from mechanistic.codegen.graph import Graph, Node
from mechanistic.codegen.native import SOURCE, TARGET, Module, Place
from mechanistic.codegen.sparse import Elimination, eliminate
from mechanistic.codegen.system import SCALE, STATE, TIME, System
from mechanistic.codegen.vectors import Layout, constant
from mechanistic.solvers import explicit
from mechanistic.solvers.events import EventCode
from mechanistic.solvers.linear import emit_factor, emit_solve
from mechanistic.solvers.program import (
    Method,
    OutOfScope,
    Program,
    emit_accept,
    emit_error,
    emit_measures,
    place_common,
    place_method,
)

GAMMA = 0.21193756319429014
A: tuple[tuple[float, ...], ...] = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    (
        -7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256,
        0.030198172008377946,
    ),
)  # fmt: skip
C: tuple[tuple[float, ...], ...] = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (
        30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623,
        -28.087943162872662,
    ),
    (
        37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002,
        -54.66780262877968, -9.48861652309627,
    ),
)  # fmt: skip
# Within a step, at the share q of it, the state is y + q (w - y) + q (1 - q) sum_d q^d sum_s DENSE[d][s] K_s.
DENSE: tuple[tuple[float, ...], ...] = (
    (
        25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204,
        0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493,
    ),
    (
        -9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796,
        20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372,
    ),
    (
        11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643,
        -52.072871366152654, -59.78993625266729, -0.15582684282751913, 4.883087185713722,
    ),
)  # fmt: skip
NAME, STAGES = "stiff", len(C)
# |h lambda| below which an explicit method would do, and steps after which this is believed
_EASY, _BELIEVED = 5.0, 5
METHOD = Method(NAME, order=5, dense=DENSE, scaled=False, limit=_EASY, leaves=-_BELIEVED)

# Beyond these, machine code takes minutes to make.
MOST_OPERATIONS, MOST_ELIMINATIONS = 300_000, 3_000_000


def build(system: System) -> Program:
    """The program of a network.

    Raises:
        OutOfScope: an event that waits for equality, an operation without a derivative, too large.
    """
    graph, n = system.graph, len(system.network.state_ids)
    if n == 0:
        raise OutOfScope("it has no states")
    events = EventCode(system)
    timed = events.conditions.timed
    states = [graph.input(STATE + i) for i in range(n)] + ([graph.input(TIME)] if timed else [])
    rates = [*events.conditions.derivative, *([graph.const(1.0)] if timed else [])]
    try:
        derivatives = jacobian(graph, rates, states)
    except NotDifferentiable as error:
        raise OutOfScope(str(error)) from None
    derivatives = {at: d for at, d in derivatives.items() if graph.value(d) != 0.0}
    plan = eliminate(len(states), set(derivatives))
    entries = {at: i for i, at in enumerate(plan.entries)}
    outputs: list[tuple[Node, Place]] = [(r, ("stiff.K", i)) for i, r in enumerate(rates)]
    outputs += [(graph.op("neg", d), ("M", entries[at])) for at, d in derivatives.items()]
    operations = len(graph.needed([node for node, _ in outputs]))
    if operations > MOST_OPERATIONS or plan.operations > MOST_ELIMINATIONS:
        sizes = f"{operations} operations and {plan.operations} of linear algebra a step"
        raise OutOfScope(f"it is too large ({sizes}, at most {MOST_OPERATIONS} and {MOST_ELIMINATIONS})")
    return _emit(system, states, rates, outputs, plan, derivatives, events)


def _emit(system, states, rates, outputs, plan: Elimination, derivatives, events: EventCode) -> Program:
    graph, size = system.graph, len(states)
    constants = 1 + len(system.constant_at)
    leaves: dict[Node, Place] = {graph.input(SCALE): ("p", 0)}
    for at in system.constant_at.values():
        leaves[graph.input(at)] = ("p", 1 + at - STATE - len(system.state_at))
    changing = {*states, *events.leaves}
    factored = Factored(graph, [node for node, _ in outputs], changing)
    rates, outputs = [factored.whole(r) for r in rates], [(factored.whole(n), at) for n, at in outputs]
    fixed = fixed_numbers(graph, [node for node, _ in outputs], changing)
    layout = Layout()
    place_common(layout, size, constants)
    place_method(layout, NAME, size, STAGES)
    explicit.place(layout, size)
    layout.place("c", len(fixed))
    layout.place("M", len(plan.entries))
    layout.place("spill", len(graph.needed([node for node, _ in outputs])))

    events.place(layout)

    module = Module(layout)
    events.emit(module, leaves)
    module.graph_function(
        "prepare", graph, [(node, ("c", i)) for i, node in enumerate(fixed)], leaves, "spill"
    )
    running = leaves | {node: ("c", i) for i, node in enumerate(fixed)}
    running |= events.leaves | {node: (SOURCE, i) for i, node in enumerate(states)}
    module.graph_function("jacobian", graph, outputs, running, "spill")
    module.graph_function("rates", graph, [(r, (TARGET, i)) for i, r in enumerate(rates)], running, "spill")
    slope = module.routine("slope")
    slope.call("rates", slope.array("y"), slope.array("f"))
    slope.end()
    timed = events.conditions.timed
    states = size - timed
    emit_factor(module, plan, set(derivatives), 1.0 / GAMMA, "stiff.stiffness")
    emit_solve(module, plan)
    _emit_step(module, size, states)
    emit_accept(module, NAME, size)
    explicit.emit(module, size, states)
    return Program(module.compile(), size, timed, layout, (METHOD, explicit.METHOD), events)


def fixed_numbers(graph: Graph, outputs: list[Node], states: set[Node]) -> list[Node]:
    """Numbers that depend on a cell's constants only and that something changing uses."""
    changing, used = changing_nodes(graph, outputs, states), set(outputs)
    order = graph.needed(outputs)
    for node in changing.intersection(order):
        operation, *operands = graph.nodes[node]
        if operation not in ("const", "input"):
            used.update(operands)
    return [
        n for n in order if n in used and n not in changing and graph.nodes[n][0] not in ("const", "input")
    ]


def _emit_step(module: Module, size: int, states: int) -> None:
    r = module.routine("stiff.step")
    y, w = r.array("y"), r.array("stiff.w")
    stages = [r.pointer(r.array("stiff.K"), s * size) for s in range(STAGES)]
    r.call("jacobian", y)
    r.call("factor")
    r.call("solve", y, stages[0])
    inverse = r.div(constant(1.0), r.load(r.block, r.at("h")))
    for s in range(1, STAGES):

        def before(i, s=s):
            if s < len(A):
                value = r.load(y, i)
                for q in range(s):
                    value = r.add(value, r.mul(constant(A[s][q]), r.load(stages[q], i)))
            else:
                value = r.add(r.load(w, i), r.load(stages[s - 1], i))
            r.store(value, w, i)

        r.loop(size, before)
        r.call("rates", w, stages[s])

        def after(i, s=s):
            value = r.mul(constant(C[s][0]), r.load(stages[0], i))
            for q in range(1, s):
                value = r.add(value, r.mul(constant(C[s][q]), r.load(stages[q], i)))
            r.store(r.add(r.load(stages[s], i), r.mul(value, inverse)), stages[s], i)

        r.loop(size, after)
        r.call("solve", w, stages[s])
    # the new state, beside the error that the last stage is
    r.loop(size, lambda i: r.store(r.add(r.load(w, i), r.load(stages[-1], i)), w, i))
    (total,) = emit_measures(r, NAME, states, 1, lambda i: [r.load(stages[-1], i)])
    error = r.sqrt(r.mul(total, constant(1.0 / states)))
    emit_error(r, METHOD, error)
    r.end()
    # dense output takes no stages more
    module.routine("stiff.complete").end()
