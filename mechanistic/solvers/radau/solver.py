"""Time courses of what the batched engines leave out: delays in math, fast reactions, with any events.

One cell after the other, by steps of `collocation`. Delayed values are read from the course so far, and from the
step itself where a delay is shorter than it. Steps end where a delay reaches back to a jump or to the start (six
generations of them: later ones are smooth to the order of the method; fewer, down to two, where delays are many: the
control of the error finds the others), where a condition changes and where an event is due (A. Bellen & M. Zennaro,
Numerical Methods for Delay Differential Equations, Oxford 2003, chapters 2 and 4).
Conditions of the rates keep their value along a step, so that each step is smooth.
"""

from __future__ import annotations

import numpy as np

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.graph import RELATIONS, Node
from mechanistic.codegen.system import STATE, TIME, System
from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.random import stream_key
from mechanistic.solvers.radau.course import Course
from mechanistic.solvers.radau.equilibrium import Equilibrium
from mechanistic.solvers.radau.past import Before, Formulas

_MOST_JUMPS = 32  # that follow from one, about


class CourseSolver:
    """Time courses of one network.

    Raises:
        ModelError: a rate law that cannot be differentiated; an event that waits for an equality.
    """

    name = "radau"

    def __init__(self, system: System):
        self.system, self.network = system, system.network
        graph = system.graph
        self.states = len(self.network.state_ids)
        self.first_delay = STATE + self.states + len(self.network.settable_ids)
        self._deps_of_lag = [self._delays_in([d.lag]) for d in system.delays]
        self.lags = [Formulas(graph, [d.lag]) for d in system.delays]
        self.inner = [Formulas(graph, [d.inner]) for d in system.delays]
        self.inner_needs = [self.ordered([d.inner]) for d in system.delays]
        self.lag_needs = [self.ordered([d.lag]) for d in system.delays]
        moving = self._moving()
        # what delays look at is kept as a polynomial between two calls: no condition in it may turn within a step
        inner = [d.inner for d in system.delays]
        relations = self._relations([*system.derivative, *inner], moving)
        self.held = {node: i for i, node in enumerate(relations)}
        fast = system.fast.pivots if system.fast is not None else []
        triggers = [e.trigger for e in system.events]
        watched = dict.fromkeys(
            [*relations, *fast, *self._relations([*triggers, *self._fast_rates()], moving)]
        )
        self.watched = list(watched)
        self._refuse_equalities(triggers, moving)
        self.rates = Formulas(graph, system.derivative, self.held)
        self.rate_needs = self.ordered(system.derivative)
        inputs = [graph.input(STATE + i) for i in range(self.states)]
        try:
            entries = jacobian(graph, system.derivative, inputs)
        except NotDifferentiable as error:
            raise ModelError(self.network.file, f"its rates cannot be differentiated: {error}") from None
        self.slopes_at = tuple(np.array(list(entries), dtype=np.intp).reshape(-1, 2).T)
        self.slopes = Formulas(graph, list(entries.values()), self.held)
        self.conditions = Formulas(graph, self.watched)
        self.condition_needs = self.ordered(self.watched)
        self.tracked = sorted(self._all_within([*system.derivative, *self.watched]))
        # each delay passes each jump on: all six generations of them would be too many for many delays
        self.generations = 6
        while self.generations > 2 and len(self.tracked) ** self.generations > _MOST_JUMPS:
            self.generations -= 1
        self.steady_lag = [not moving.intersection(graph.needed([d.lag])) for d in system.delays]
        self.events = [self._event(e) for e in system.events]
        self.equilibrium = Equilibrium(self) if system.fast is not None else None

    def _fast_rates(self) -> list[Node]:
        return [] if self.system.fast is None else self.system.fast.rates

    def _moving(self) -> set[Node]:
        """Every node that changes by itself between events."""
        graph, system = self.system.graph, self.system
        moving = {graph.input(TIME)} | {d.leaf for d in system.delays}
        moving |= {graph.input(STATE + i) for i, d in enumerate(system.derivative) if graph.value(d) != 0.0}
        for node, (operation, *operands) in enumerate(graph.nodes):
            if operation not in ("const", "input") and moving.intersection(operands):
                moving.add(node)
        return moving

    def _relations(self, outputs: list[Node], moving: set[Node]) -> list[Node]:
        graph = self.system.graph
        return [n for n in graph.needed(outputs) if graph.nodes[n][0] in RELATIONS and n in moving]

    def _refuse_equalities(self, triggers: list[Node], moving: set[Node]) -> None:
        graph = self.system.graph
        for trigger, event in zip(triggers, self.network.events):
            if any(graph.nodes[n][0] == "==" for n in self._relations([trigger], moving)):
                message = (
                    f"the event '{event.id}' waits for two changing numbers to be equal: write it with >="
                )
                raise ModelError(self.network.file, [ModelProblem(message, event.line, event.id)])

    def _delays_in(self, outputs: list[Node]) -> list[int]:
        needed = set(self.system.graph.needed(outputs))
        return [i for i, d in enumerate(self.system.delays) if d.leaf in needed]

    def ordered(self, outputs: list[Node]) -> list[int]:
        """The delays whose values `outputs` need, those that lags need first."""
        order: dict[int, None] = {}

        def visit(delay: int) -> None:
            if delay not in order:
                for other in self._deps_of_lag[delay]:
                    visit(other)
                order[delay] = None

        for delay in self._delays_in(outputs):
            visit(delay)
        return list(order)

    def _all_within(self, outputs: list[Node]) -> set[int]:
        """The delays that `outputs` need, and those inside them."""
        found: set[int] = set()
        waiting = list(self.ordered(outputs))
        while waiting:
            delay = waiting.pop()
            if delay not in found:
                found.add(delay)
                waiting += self.inner_needs[delay]
        return found

    def _event(self, nodes):
        def formula(outputs: list[Node]):
            return Formulas(self.system.graph, outputs), self.ordered(outputs)

        return (
            nodes.event,
            formula([self.system.graph.number(nodes.trigger)]),
            None if nodes.delay is None else formula([nodes.delay]),
            None if nodes.priority is None else formula([nodes.priority]),
            formula([value for value, _ in nodes.values]),
            formula([worth for _, worth in nodes.values]),
            tuple(at for at, _ in nodes.assignments),
        )

    def run(
        self,
        state: np.ndarray,
        constants: np.ndarray,
        times: np.ndarray,
        rtol: float,
        atol: np.ndarray,
        seed: int,
        before: Before,
    ) -> np.ndarray:
        """(cell, time, state_ids and delays): the stored state at `times`, then what each delay looked up.

        Args:
            state: (cell, state_ids) at times[0]; constants: (cell, settable_ids); see `codegen.system`.
            atol: (state_ids,) of every stored value.

        Raises:
            IntegrationError: a cell could not be integrated; names cell, time and species.
        """
        key = stream_key(seed, "events")
        courses = np.empty((len(state), len(times), self.states + len(self.system.delays)))
        for cell in range(len(state)):
            try:
                course = Course(self, state[cell], constants[cell], times, rtol, atol, key, cell, before)
                courses[cell] = course.run()
            except IntegrationError as error:
                raise IntegrationError(f"cell {cell}: {error}", cell, error.time, error.species) from None
        return courses
