"""Chance in larger numbers: a network in leaps over many firings, far faster than one firing at a time.

*Tau-leaping* (Cao, Gillespie and Petzold, J. Chem. Phys. 124, 044109, 2006): every reaction fires a Poisson number
of times in a leap that changes no propensity by more than 3 %, nor takes more than 3 % of any species. Reactions
that ten firings would exhaust fire one by one; where leaps would be shorter than ten firings a hundred exact steps
are taken; a leap that would take more than there is is halved. Amounts stay whole and never fall below 0.

The *chemical Langevin equation* (Gillespie, J. Chem. Phys. 113, 297, 2000): normal numbers in place of Poisson ones,
by Euler and Maruyama with the same choice of steps. Amounts are real. Where a step would take one below 0, the
reactions that take of what is short fire by so much less that it lasts: conserved totals stay, amounts near 0 are
biased, so it holds for amounts of hundreds and more.

Leaps end at the output times. Random numbers are keyed by (seed, "tau-leaping" or "langevin", cell, step, reaction).
Networks are those of `stochastic` without events, rate rules and conditions on time.
"""

from __future__ import annotations

import numpy as np

from mechanistic.codegen.system import STATE, System
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.random import stream_key
from mechanistic.solvers.chance import leaps as driver
from mechanistic.solvers.chance.stochastic import StochasticStepper

_ERROR = 0.03
_MOST_STEPS = 4_000_000_000  # a step is one word of the counter


class Leaper:
    """Tau-leaping and the Langevin equation on the network of `exact`, with its compiled propensities.

    Raises:
        ModelError: with everything in the network that leaps do not do, each with its line.
    """

    def __init__(self, exact: StochasticStepper):
        network = exact.network
        self.exact = exact
        self._watched = _watched(exact.system, exact.propensities)
        problems = [
            ModelProblem(f"leaps do not do events ('{e.id}'); use ssa", e.line, e.id) for e in network.events
        ]
        problems += [
            ModelProblem(f"leaps do not do rate rules ('{name}'); use ssa", rule.line, name)
            for name, rule in network.rate_rules.items()
        ]
        problems += [
            ModelProblem(f"the rate law of '{r.id}' turns with time; use ssa", r.line, r.id)
            for r, node in zip(network.reactions, exact.propensities)
            if exact.turns_with_time(node)
        ]
        if problems:
            raise ModelError(network.file, problems)

    def run(
        self, method: str, start: np.ndarray, constants: np.ndarray, times: np.ndarray, seed: int
    ) -> np.ndarray:
        """The stored state (cell, time, state_ids) at `times`; row i has the same bits in any batch.

        Args:
            method: "tau-leaping" or "langevin". The rest as in `StochasticStepper.run`.

        Raises:
            ModelError: an amount at the start is not a whole number.
            IntegrationError: a cell could not go on; names cell, time and reaction.
        """
        exact, cells = self.exact, len(start)
        exact.check_start(start)
        address, layout = exact.compiled_rates()
        out = np.empty((cells, len(times), start.shape[1]))
        status, culprit, when = np.zeros(cells, np.int64), np.zeros(cells, np.int64), np.zeros(cells)
        driver.run_cells(
            address, layout, stream_key(seed, method), method == "tau-leaping", _ERROR,
            np.ascontiguousarray(start), np.ascontiguousarray(constants), np.ascontiguousarray(times),
            exact.fires(), self._watched, np.uint64(_MOST_STEPS), out, status, culprit, when,
        )  # fmt: skip
        wrong = np.flatnonzero(status)
        if len(wrong):
            i = int(wrong[0])
            raise exact.failure(i, int(status[i]), int(culprit[i]), float(when[i]))
        return out


def _watched(system: System, propensities: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What propensities depend on, the order of the highest reaction that takes it, and how many of it that takes.

    Orders are those of the stoichiometry, as for the law of mass action; what only a rate law uses counts as
    of order 1.
    """
    network, graph = system.network, system.graph
    orders: dict[int, tuple[int, int]] = {}
    for reaction, node in zip(network.reactions, propensities):
        taken: dict[int, int] = {}
        for q in reaction.reactants:
            if q.species in system.state_at:
                at = system.state_at[q.species]
                taken[at] = taken.get(at, 0) + int(q.stoichiometry)
        order = sum(taken.values())
        for used in graph.needed([node]):
            operation, *rest = graph.nodes[used]
            if operation == "input" and STATE <= rest[0] < STATE + len(network.state_ids):
                i = rest[0] - STATE
                new = (max(order, 1), taken.get(i, 1)) if i in taken else (1, 1)
                orders[i] = max(orders.get(i, (1, 1)), new)
    columns = list(orders), [o for o, _ in orders.values()], [min(m, 3) for _, m in orders.values()]
    return tuple(np.array(c, dtype=np.int64) for c in columns)  # pyright: ignore[reportReturnType]
