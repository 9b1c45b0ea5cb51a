"""Where cells come to rest from where they are, and how that depends on where they began and on constants.

At rest f(x, c) = 0 on what the conservation laws leave, so x follows by the implicit function theorem.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mechanistic.codegen.derivatives import jacobian
from mechanistic.codegen.system import STATE
from mechanistic.codegen.tangent import Plan, Tangent
from mechanistic.errors import ModelError
from mechanistic.moieties import Moieties, conserved, stoichiometry
from mechanistic.network import ReactionNetwork

_NEAR = 1e-9  # of a variable's size: how far from rest a cell may still be
_WORST = 1e-13  # smallest reciprocal condition at which equations count as solvable


@dataclass(frozen=True)
class Linear:
    """The equations at rest of one cell, linearised, on independent variables.

    Attributes:
        by_state, by_constant: (independent, state_ids) and (independent, settable_ids) derivatives of their rates.
        reduced: (independent, independent), the derivative along what conservation leaves.
    """

    moieties: Moieties
    by_state: np.ndarray
    by_constant: np.ndarray
    reduced: np.ndarray

    def tangent(self, states: np.ndarray, constants: np.ndarray) -> np.ndarray:
        """(state_ids, direction) at rest, by tangents (state_ids, direction) of the start, and of constants."""
        own, link = self.moieties.independent, self.moieties.link
        totals = states - link @ states[own]
        totals[own] = 0.0
        moved = np.linalg.solve(self.reduced, self.by_state @ totals + self.by_constant @ constants)
        return totals - link @ moved

    def pulled(self, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What (state_ids,) asked at rest asks of the start (state_ids,) and of the constants."""
        own, link = self.moieties.independent, self.moieties.link
        by = np.linalg.solve(self.reduced.T, link.T @ asked)
        totals = asked - self.by_state.T @ by
        totals[own] = 0.0
        start = totals.copy()
        start[own] = -(link.T @ totals)
        return start, -(self.by_constant.T @ by)


class Rest:
    """Steady states of one network."""

    def __init__(self, network: ReactionNetwork):
        self.network = network
        self._known: dict[bytes, Moieties | None] = {}

    @cached_property
    def tangent(self) -> Tangent:
        return Tangent(self.network)

    def linear(self, time: float, state: np.ndarray, constants: np.ndarray) -> Linear | None:
        """The equations of a cell at rest; None where they do not determine it."""
        moieties = self._moieties(constants)
        if moieties is None:
            return None
        inputs = [time, 1.0, *state, *constants]
        by_state = self.tangent.jacobian(inputs)[moieties.independent]
        by_constant = np.zeros((len(self.network.state_ids), len(constants)))
        plan, at = self._by_constant
        by_constant[at] = plan(inputs)
        by_constant = by_constant[moieties.independent]
        reduced = by_state @ moieties.link
        if not (np.all(np.isfinite(reduced)) and np.all(np.isfinite(by_constant))):
            return None
        if len(reduced):
            # rows in units of the state: what is small may still be well determined
            size = self._size(state)
            scaled = reduced * size[moieties.independent] / size[moieties.independent][:, None]
            rows = np.abs(scaled).max(1)
            if rows.min() == 0.0 or np.linalg.cond(scaled / rows[:, None]) > 1 / _WORST:
                return None
        return Linear(moieties, by_state, by_constant, reduced)

    def settled(
        self, time: float, state: np.ndarray, constants: np.ndarray, passed: float
    ) -> np.ndarray | None:
        """The state at rest of a cell that is beside it; None where the cell still moves.

        Args:
            passed: [model time] for how long the cell was followed.
        """
        size = self._size(state)
        rate = self.tangent.change([time, 1.0, *state, *constants])
        if not np.all(np.isfinite(rate)):
            return None
        if not np.any(rate):
            return state
        linear = self.linear(time, state, constants)
        if linear is None:
            still = passed > 0.0 and np.all(np.abs(rate) * passed <= _NEAR * size)
            return state if still else None
        growth = np.linalg.eigvals(linear.reduced).real if len(linear.reduced) else np.zeros(1)
        if growth.max() > 1e-9 * np.abs(growth).max():
            return None  # it passes by a state that it will leave
        for _ in range(3):
            own = linear.moieties.independent
            step = -linear.moieties.link @ np.linalg.solve(linear.reduced, rate[own])
            if not np.all(np.abs(step) <= 1e-4 * size):
                return None
            state = state + step
            rate = self.tangent.change([time, 1.0, *state, *constants])
            if np.all(np.abs(step) <= 1e-3 * _NEAR * size):
                break
        return state

    def _size(self, state: np.ndarray) -> np.ndarray:
        return np.abs(state) + 1e-6 * max(np.abs(state).max(initial=0.0), 1e-300)

    def _moieties(self, constants: np.ndarray) -> Moieties | None:
        try:
            matrix = stoichiometry(self.network, constants)
        except ModelError:
            return None
        key = matrix.tobytes()
        if key not in self._known:
            self._known[key] = conserved(self.network, matrix)
        return self._known[key]

    @cached_property
    def _by_constant(self):
        graph, n = self.tangent.system.graph, len(self.network.state_ids)
        variables = [graph.input(STATE + n + k) for k in range(len(self.network.settable_ids))]
        entries = jacobian(graph, self.tangent.system.derivative, variables)
        at = tuple(np.array([key[i] for key in entries], dtype=np.intp) for i in (0, 1))
        return Plan(graph, list(entries.values())), at
