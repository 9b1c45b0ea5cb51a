"""Chance in small numbers: a reaction network as a jump process, one course a cell, exactly.

Gillespie's direct method (J. Phys. Chem. 81, 2340, 1977). The propensity of a reaction is its rate law as
written, with amounts that count entities (the convention of the SBML Test Suite's stochastic cases); a firing
changes amounts by the stoichiometry. Random numbers are keyed by (seed, "ssa", cell, draw).

Assignment rules hold at every moment. Between firings everything stays as it is but time and clocks, which are
what a rate rule moves at a speed that stays as it is. Time and clocks may only be compared with something that
stays as it is, and such a condition is met at its exact moment. Events need no delay; those that are due at once
go in the order of the document, and may draw from distributions (SBML's "distrib"), keyed by (seed, "draw", cell,
draw, turn). What else a network may say is refused by name and line.
"""

from __future__ import annotations

import threading

import numpy as np

from mechanistic.codegen.graph import Node
from mechanistic.codegen.machine import Compiled
from mechanistic.codegen.native import Module, Place
from mechanistic.codegen.system import SCALE, STATE, TIME, System
from mechanistic.codegen.vectors import Layout
from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.random import stream_key
from mechanistic.solvers.chance import direct_method as driver
from mechanistic.solvers.chance import lanes

_MOST_DRAWS = 1_000_000_000
_COUNTED = (None, "", "item", "dimensionless", "1")


class StochasticStepper:
    """Gillespie's direct method on one network, compiled at the first run.

    Raises:
        ModelError: with everything in the network that this method does not do, each with its line.
    """

    name = "ssa"

    def __init__(self, system: System):
        network = system.network
        self.system, self.network = system, network
        self._lock = threading.Lock()
        self._code: Compiled | None = None
        self.changes, problems = _changes(system)
        problems += _refused(network)
        graph = system.graph
        self.propensities = [system.quantity(name) for name in network.reaction_ids]
        triggers = [graph.number(e.trigger) for e in system.events]
        self.clocks = [system.state_at[name] for name in network.rate_rules]
        self._movers = {graph.input(TIME): -1} | {graph.input(STATE + i): i for i in self.clocks}
        self._speeds = [system.derivative[i] for i in self.clocks]
        stops, _ = self._stops([*self.propensities, *(e.trigger for e in system.events)])
        problems += self._timed(stops)
        if problems:
            raise ModelError(network.file, problems)
        self.counted = np.zeros(len(network.state_ids), dtype=bool)
        self.counted[[i for change in self.changes for i, _ in change]] = True
        self.counted[self.clocks] = False
        self._outputs: list[tuple[Node, Place]] = [(r, ("a", i)) for i, r in enumerate(self.propensities)]
        self._outputs += [(r, ("e", i)) for i, r in enumerate(triggers)]
        self._outputs += [(r, ("c", i)) for i, (r, *_) in enumerate(stops)]
        self._outputs += [(r, ("s", i)) for i, r in enumerate(self._speeds)]
        self._stopped = (
            np.array([mover for _, mover, *_ in stops], dtype=np.int64),
            np.array([after for *_, after, _ in stops], dtype=bool),
            np.array([after for *_, after in stops], dtype=bool),
        )
        self._chances: list[tuple[Node, Place]] = [
            (node, ("d", 4 * i + j))
            for i, d in enumerate(system.draws)
            for j, node in enumerate(d.parameters)
        ]
        self._draws = self._draw_table()
        assigned = [pair for e in system.events for pair in e.assignments]
        self._values: list[tuple[Node, Place]] = [(node, ("v", i)) for i, (_, node) in enumerate(assigned)]
        self._events = (
            np.array([e.event.initial_value for e in system.events], dtype=bool),
            np.array([e.event.from_trigger_time for e in system.events], dtype=bool),
            np.array([e.event.persistent for e in system.events], dtype=bool),
            np.cumsum([0, *(len(e.assignments) for e in system.events)]),
            np.array([i for i, _ in assigned], dtype=np.int64),
            self.counted,
        )

    def run(self, start: np.ndarray, constants: np.ndarray, times: np.ndarray, seed: int) -> np.ndarray:
        """The stored state (cell, time, state_ids) at `times`; row i has the same bits in any batch.

        Args:
            start: (cell, state_ids) at times[0]; constants: (cell, settable_ids); see `codegen.system`.
            times: [model time], rising.

        Raises:
            ModelError: an amount at the start is not a whole number.
            IntegrationError: a cell could not go on; names cell, time and reaction or event.
        """
        self.check_start(start)
        code = self._compiled()
        cells = len(start)
        out = np.empty((cells, len(times), start.shape[1]))
        status, culprit, when = np.zeros(cells, np.int64), np.zeros(cells, np.int64), np.zeros(cells)
        driver.run_cells(
            tuple(code.address(name) for name in ("rates", "values", "chances")), self._layout,
            (stream_key(seed, "ssa"), stream_key(seed, "draw")),
            np.ascontiguousarray(start), np.ascontiguousarray(constants), np.ascontiguousarray(times),
            self.fires(), self._events,
            self._stopped, np.array(self.clocks, dtype=np.int64), self._draws,
            np.uint64(_MOST_DRAWS), out, status, culprit, when,
        )  # fmt: skip
        wrong = np.flatnonzero(status)
        if len(wrong):
            raise self.failure(
                int(wrong[0]), int(status[wrong[0]]), int(culprit[wrong[0]]), float(when[wrong[0]])
            )
        return out

    # ---- what other methods on the same network share

    def compiled_rates(self) -> tuple[int, np.ndarray]:
        """The address of the compiled propensities, and the layout of the block that they work on."""
        return self._compiled().address("rates"), self._layout

    def fires(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(reaction + 1,) where in the next two the changes by one firing begin; the state; what is added."""
        flat = [pair for change in self.changes for pair in change]
        return (
            np.cumsum([0, *(len(change) for change in self.changes)]),
            np.array([i for i, _ in flat], dtype=np.int64),
            np.array([by for _, by in flat], dtype=float),
        )

    def turns_with_time(self, node: Node) -> bool:
        """Whether `node` depends on time or on a clock."""
        return bool(set(self._movers).intersection(self.system.graph.needed([node])))

    # ---- machine code

    def _compiled(self) -> Compiled:
        with self._lock:
            if self._code is None:
                self._code = self._compile()
        return self._code

    def _compile(self) -> Compiled:
        graph, network = self.system.graph, self.network
        states, constants = len(network.state_ids), len(network.settable_ids)
        parts = (self._outputs, self._values, self._chances)
        spill = max(len(graph.needed([node for node, _ in part])) for part in parts)
        lengths = {"x": states, "t": 1, "p": 1 + constants, "a": len(self.propensities)}
        lengths |= {"e": len(network.events), "v": len(self._values), "c": len(self._stopped[0])}
        lengths |= {"d": len(self._chances), "r": len(self.system.draws), "s": len(self.clocks)}
        layout = Layout()
        for name, length in lengths.items():
            layout.place(name, length)
        layout.place("spill", spill)
        leaves: dict[Node, Place] = {graph.input(TIME): ("t", 0), graph.input(SCALE): ("p", 0)}
        leaves |= {graph.input(STATE + i): ("x", i) for i in range(states)}
        leaves |= {graph.input(STATE + states + i): ("p", 1 + i) for i in range(constants)}
        module = Module(layout)
        module.graph_function("rates", graph, self._outputs, leaves, "spill")
        leaves |= {d.leaf: ("r", i) for i, d in enumerate(self.system.draws)}
        module.graph_function("values", graph, self._values, leaves, "spill")
        module.graph_function("chances", graph, self._chances, leaves, "spill")
        self._layout = np.array([layout.size, *(layout.offset[name] for name in lengths)], dtype=np.int64)
        return module.compile()

    # ---- what can be wrong

    def check_start(self, start: np.ndarray) -> None:
        wrong = self.counted & ~np.all((start >= 0) & (start == np.floor(start)) & np.isfinite(start), axis=0)
        problems = []
        for i in np.flatnonzero(wrong):
            species = self.network[self.network.state_ids[i]]
            value = next(v for v in start[:, i] if not (v >= 0 and v == np.floor(v) and np.isfinite(v)))
            message = f"the amount of '{species.id}' at the start must be a whole number (got {value:g})"
            problems.append(ModelProblem(message + "; ssa counts entities", species.line, species.id))
        if problems:
            raise ModelError(self.network.file, problems)

    def _stops(self, outputs: list[Node]) -> tuple[list[tuple[Node, int, bool, bool]], bool]:
        """What time and clocks are compared with in `outputs`; then whether they stand elsewhere.

        Of each comparison: the value, -1 for time or the clock's position in the state, and whether it turns just
        after the value where that is reached from below, and from above.
        """
        graph = self.system.graph
        found, elsewhere = [], bool(set(outputs) & set(self._movers))
        for node in graph.needed(outputs):
            operation, *operands = graph.nodes[node]
            moving = [o for o in operands if o in self._movers]
            if operation in ("const", "input") or not moving:
                continue
            if operation in ("<", "<=") and len(moving) == 1:
                on_left = operands[0] == moving[0]
                # upwards, `x < c` and `c <= x` turn at c itself, the others just after it; downwards the other way
                after = (operation == "<") != on_left
                found.append(
                    (operands[1] if on_left else operands[0], self._movers[moving[0]], after, not after)
                )
            else:
                elsewhere = True
        return found, elsewhere

    def _draw_table(self) -> tuple[np.ndarray, ...]:
        """Of the draws of events: whose event, site, kind, and how many draws deep the parameters reach."""
        graph, draws = self.system.graph, self.system.draws
        events = {e.event.id: i for i, e in enumerate(self.system.events)}
        number = {d.leaf: i for i, d in enumerate(draws)}
        needs = [[number[n] for n in graph.needed(d.parameters) if n in number] for d in draws]
        level = [0] * len(draws)
        for _ in draws:
            level = [max((level[j] + 1 for j in needs[i]), default=0) for i in range(len(draws))]
        columns = [events[d.key] for d in draws], [d.site for d in draws], [d.kind for d in draws], level
        return tuple(np.array(column, dtype=np.int64) for column in columns)

    def _timed(self, stops: list) -> list[ModelProblem]:
        """Where time or a clock stands so that it cannot be met exactly."""
        network, problems = self.network, []
        graph, moves = self.system.graph, set(self._movers)
        for (name, rule), speed in zip(network.rate_rules.items(), self._speeds):
            if moves.intersection(graph.needed([speed])):
                message = f"the rate rule of '{name}' changes between firings, which ssa does not do"
                problems.append(ModelProblem(message, rule.line, name))
        if any(moves.intersection(graph.needed([goal])) for goal, *_ in stops):
            message = "time is compared with something that moves, which ssa does not do"
            problems.append(ModelProblem(message, None, "time"))
        things = [("the rate law of", r, n) for r, n in zip(network.reactions, self.propensities)]
        things += [("the trigger of", e.event, e.trigger) for e in self.system.events]
        for what, thing, node in things:
            if self._stops([node])[1]:
                message = f"{what} '{thing.id}' changes with time between firings, which ssa does not do"
                problems.append(ModelProblem(message, thing.line, thing.id))
        return problems

    def failure(self, cell: int, status: int, culprit: int, time: float) -> IntegrationError:
        """What the driver's `status` says of a cell."""
        network = self.network
        about_event = status in (lanes.NOT_WHOLE, lanes.CASCADE, lanes.BAD_DRAW)
        things = network.events if about_event else network.reactions
        name = things[culprit].id if things else ""
        reason = {
            lanes.BAD_RATE: f"the rate law of '{name}' is negative or not finite, so it is no propensity",
            lanes.SHORT: f"'{name}' fired without enough of its reactants: its rate law must be 0 there",
            lanes.NOT_WHOLE: f"the event '{name}' sets an amount that is not a whole number",
            lanes.BAD_DRAW: f"the parameters of a draw of the event '{name}' have no meaning",
            lanes.CASCADE: f"events set each other off without end, the last of them '{name}'",
            lanes.TOO_MANY: f"more than {_MOST_DRAWS:.0e} firings",
        }[status]
        return IntegrationError(f"cell {cell} at time {time:g}: {reason}", cell, time, name or None)


def _changes(system: System) -> tuple[list[list[tuple[int, float]]], list[ModelProblem]]:
    """What one firing of every reaction adds to which state, and which stoichiometries cannot be fired."""
    network = system.network
    changes, problems = [], []
    for reaction in network.reactions:
        total: dict[int, float] = {}
        for q, sign in [(q, -1.0) for q in reaction.reactants] + [(q, 1.0) for q in reaction.products]:
            if network[q.species].boundary or q.species not in system.state_at:
                continue
            amount = q.stoichiometry
            computed = q.id in network.assignment_rules or q.id in network.settable_ids
            if computed or not isinstance(amount, (int, float)) or amount != int(amount):
                got = "a formula" if computed or isinstance(amount, (list, str)) else f"{amount:g}"
                message = f"the stoichiometry of '{q.species}' in '{reaction.id}' must be a whole number (got {got})"
                problems.append(ModelProblem(message, q.line, reaction.id))
                continue
            at = system.state_at[q.species]
            total[at] = total.get(at, 0.0) + sign * amount
        changes.append([(i, by) for i, by in total.items() if by != 0.0])
    return changes, problems


def _refused(network: ReactionNetwork) -> list[ModelProblem]:
    problems = []
    for event in network.events:
        if event.delay is not None:
            problems.append(
                ModelProblem(f"ssa does not do delays of events ('{event.id}')", event.line, event.id)
            )
        if event.priority is not None and len(network.events) > 1:
            message = f"ssa does not do priorities of events ('{event.id}')"
            problems.append(ModelProblem(message, event.line, event.id))
    for species in network.species:
        if species.conversion_factor or network.conversion_factor:
            message = f"ssa does not do conversion factors (of '{species.id}')"
            problems.append(ModelProblem(message, species.line, species.id))
        if species.unit not in _COUNTED and species.id in network.state_ids:
            message = f"ssa counts entities: '{species.id}' must be in item (got {species.unit})"
            problems.append(ModelProblem(message, species.line, species.id))
    return problems
