"""The state in which fast reactions leave a cell: where their rates alone would take it, in no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechanistic.errors import IntegrationError
from mechanistic.solvers.radau.past import Formulas

if TYPE_CHECKING:
    from mechanistic.solvers.radau.solver import CourseSolver

_SETTLED = 1e-11  # of the rates at first
_FURTHEST = 1e9  # amounts, relative to those at first
_LONGEST = 1e12  # in units of the time that the amounts would need at first
_SINGULAR = 1e-9
_AT_REST = 1e-10  # from rest, relative to the amounts: rates there are rounding


class Equilibrium:
    """Relaxes the fast reactions of one network.

    The extents of the fast reactions are integrated until they rest, then set right by Newton's method. Only a rest
    that is stable and leaves no direction open is taken, since nothing else is the limit of ever faster reactions.
    """

    def __init__(self, solver: CourseSolver):
        fast, graph = solver.system.fast, solver.system.graph
        assert fast is not None
        self._solver, self._count = solver, len(fast.rates)
        self._rates = Formulas(graph, fast.rates), solver.ordered(fast.rates)
        self._places = [(i, j) for j, column in enumerate(fast.columns) for i in column]
        changes = [node for column in fast.columns for node in column.values()]
        self._changes = Formulas(graph, changes), solver.ordered(changes)
        response = [fast.response[i, j] for i in range(self._count) for j in range(self._count)]
        self._response = Formulas(graph, response), solver.ordered(response)
        network = solver.network
        # amounts of every species, more than there are and unlike each other
        self._more = np.array(
            [
                1.0 + 0.1 * (i % 7) if name in network.species_ids else 0.0
                for i, name in enumerate(network.state_ids)
            ]
        )

    def of(self, course, time: float, state: np.ndarray) -> np.ndarray:
        """The relaxed state.

        Args:
            course: evaluates formulas, see `course.Course.one`.

        Raises:
            IntegrationError: there is no rest that is stable and unique; names the first fast reaction.
        """

        def numbers(formula, at: np.ndarray) -> np.ndarray:
            return np.array(course.one(formula, time, at))

        def columns(at: np.ndarray) -> np.ndarray:
            result = np.zeros((len(state), self._count))
            for place, value in zip(self._places, numbers(self._changes, at)):
                result[place] = value
            return result

        def response(at: np.ndarray) -> np.ndarray:
            return numbers(self._response, at).reshape(self._count, self._count)

        # a reaction whose rate is 0 whatever the amounts is switched off
        off = numbers(self._rates, state + self._more) == 0.0
        active = np.flatnonzero(~off)
        if len(active) == 0:
            return state
        moved = columns(state)[:, active]
        if np.linalg.matrix_rank(moved) < len(active):
            self._refuse(time, "depend on each other: only the sum of their fluxes is known")

        def newton(at: np.ndarray) -> tuple[np.ndarray, bool]:
            """The step to where the rates are 0, and whether there is one."""
            rates, inner = numbers(self._rates, at)[active], response(at)[np.ix_(active, active)]
            if not np.all(np.isfinite(inner)) or not np.all(np.isfinite(rates)):
                return np.full(len(at), np.nan), False
            extents = np.linalg.lstsq(inner, rates, rcond=None)[0]
            solves = np.abs(inner @ extents - rates).max() <= 0.5 * np.abs(rates).max()
            return columns(at)[:, active] @ extents, bool(solves)

        change, solves = newton(state)
        if not (solves and np.abs(change).max() <= _AT_REST * np.abs(state).max()):
            state = self._rested(time, state, active, numbers, columns)
        for _ in range(50):
            change, _ = newton(state)
            state = state - change
            if np.all(np.abs(change) <= 1e-15 * np.abs(state).max()):
                break
        inner = response(state)[np.ix_(active, active)]
        size = np.linalg.norm(inner, axis=1).max()
        probe = response(state + self._more)[np.ix_(active, active)]
        if not np.all(np.isfinite(state)) or not np.all(np.isfinite(inner)):
            self._refuse(time, "have no equilibrium that is finite")
        if size <= _SINGULAR * np.linalg.norm(probe, axis=1).max() or (
            np.linalg.svd(inner / size, compute_uv=False)[-1] < _SINGULAR
        ):
            self._refuse(time, "do not fix their equilibrium: their rates do not answer to the amounts there")
        if np.linalg.eigvals(inner).real.max() >= 0:
            self._refuse(time, "have no stable equilibrium")
        return state

    def _rested(self, time, state, active, numbers, columns) -> np.ndarray:
        """The state near which the fast reactions alone come to rest."""
        from scipy.integrate import solve_ivp

        first = numbers(self._rates, state)[active]
        largest = np.abs(first).max()
        if largest == 0.0:
            return state
        amount = max(np.abs(state).max(), 1e-300)
        speed = np.abs(columns(state)[:, active] @ first).max()
        if speed == 0.0:
            return state
        unit = amount / speed

        def change(_, at):
            return columns(at)[:, active] @ numbers(self._rates, at)[active] * unit

        def rests(_, at):
            return np.abs(numbers(self._rates, at)[active]).max() / largest - _SETTLED

        def runs_away(_, at):
            return _FURTHEST * (amount + 1.0) - np.abs(at).max()

        rests.terminal = runs_away.terminal = True  # type: ignore[attr-defined]
        done = solve_ivp(
            change,
            (0.0, _LONGEST),
            state,
            method="BDF",
            rtol=1e-8,
            atol=1e-11 * amount,
            events=(rests, runs_away),
        )
        if done.status != 1 or len(done.t_events[0]) == 0:
            self._refuse(time, "come to no rest")
        return done.y[:, -1]

    def _refuse(self, time: float, why: str) -> None:
        r = self._solver.network.fast_reactions[0]
        names = ", ".join(f"'{x.id}'" for x in self._solver.network.fast_reactions)
        message = f"the fast reactions {names} (line {r.line}) {why}, at time {time:g}"
        raise IntegrationError(message, time=time, species=r.id)
