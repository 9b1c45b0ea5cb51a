"""What happens to cells, and to their derivatives, where a condition turns or an event fires; all cells together.

At a time t that depends on the parameters, the state y before becomes h(y) after, and the rates f change too. A
tangent s becomes s + f_before t', then its image under h, then less f_after t', with the derivative of the time
t' = -(g_y s + g_c c') / (g_y f + g_t), where g crosses 0 at t (Galan, Feehery & Barton, Appl. Numer. Math. 31, 17,
1999). Transposed, the same holds for what is asked of the state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.graph import Node
from mechanistic.codegen.switched import SwitchedSystem
from mechanistic.codegen.tangent import Plan
from mechanistic.errors import IntegrationError, ModelError

_MOST_AT_ONCE = 1000


@dataclass(frozen=True)
class Moments:
    """Some cells, each at a time of its own.

    Attributes:
        cells: (row,) which.
        time, state, on: (row,), (row, state_ids), (row, switch) of 1 and 0.
        constants: (cell, settable_ids) of all cells.
    """

    cells: np.ndarray
    time: np.ndarray
    state: np.ndarray
    on: np.ndarray
    constants: np.ndarray

    @property
    def inputs(self) -> list:
        # in stretches of their own, so that a cell's numbers do not depend on how many there are
        tables = (self.state, self.constants[self.cells], self.on)
        return [self.time, 1.0, *(column for t in tables for column in np.ascontiguousarray(t.T))]

    def at(self, state: np.ndarray, on: np.ndarray) -> Moments:
        return Moments(self.cells, self.time, state, on, self.constants)

    def of(self, rows: np.ndarray) -> Moments:
        return Moments(self.cells[rows], self.time[rows], self.state[rows], self.on[rows], self.constants)


@dataclass(frozen=True)
class Jump:
    """What happened to some cells, each at its time.

    Attributes:
        turned: (row,) the switch that set the time, -1 where it is a given time.
        before, after: the cells.
        fired: in order, events that fired together: which, the rows, and these at that moment.
        outputs: (row, 2) first, beyond the last output that is taken after it.
    """

    turned: np.ndarray
    before: Moments
    after: Moments
    fired: tuple[tuple[tuple[int, ...], np.ndarray, Moments], ...]
    outputs: np.ndarray


class Jumps:
    """Switches and events of one network."""

    def __init__(self, equations: SwitchedSystem):
        self.equations = equations
        self.network, graph = equations.network, equations.graph
        self._variables = [*equations.states, *equations.constants, equations.time]
        self._rates = Plan(graph, equations.rates)
        self._sides = Plan(graph, [node for s in equations.switches for node in (s.lower, s.upper)])
        self._triggers = Plan(graph, [e.trigger for e in equations.events])
        self._sharp = np.array([s.relation == "<" for s in equations.switches], dtype=bool)
        self._timed = np.array([bool(s.time) for s in equations.switches], dtype=bool)
        self._time_below = np.array([s.time == "lower" for s in equations.switches], dtype=bool)
        self._together = np.array([e.from_trigger_time for e in equations.events], dtype=bool)
        self._same, self._opposite = self._alike()
        self._slopes: dict = {}

    @property
    def needed(self) -> bool:
        return bool(self.equations.switches or self.equations.events)

    def _alike(self) -> tuple[np.ndarray, np.ndarray]:
        """(switch, switch): those that turn where another one does, to the same side or to the other."""
        count = len(self.equations.switches)
        same, opposite = np.eye(count, dtype=bool), np.zeros((count, count), dtype=bool)
        watched = self.equations.switches[: self.equations.sided]
        for i, a in enumerate(watched):
            for j, b in enumerate(watched):
                same[i, j] = (a.lower, a.upper) == (b.lower, b.upper)
                opposite[i, j] = (a.lower, a.upper) == (b.upper, b.lower)
        return same, opposite

    def rates(self, m: Moments) -> np.ndarray:
        """(row, state_ids): d(state)/dt."""
        return _table(self._rates, m)

    def gaps(self, m: Moments) -> np.ndarray:
        """(row, switch): upper less lower side."""
        sides = _table(self._sides, m)
        return sides[:, 1::2] - sides[:, ::2]

    def next_time(self, m: Moments) -> tuple[np.ndarray, np.ndarray]:
        """(row,): when the next switch on time turns, and which; infinite, and -1, where none does.

        It may be now: switches that turn at the same time turn one after the other.
        """
        rows = np.arange(len(m.cells))
        if not self._timed.any():
            return np.full(len(rows), np.inf), np.full(len(rows), -1)
        sides = _table(self._sides, m)
        gap, time = sides[:, 1::2] - sides[:, ::2], m.time[:, None]
        times = np.where(self._time_below, time + gap, time - gap)
        ahead = self._timed & (times >= time) & (self._time_below == (m.on > 0))
        k = np.argmin(np.where(ahead, times, np.inf), 1)
        exact = np.where(self._time_below[k], sides[rows, 2 * k + 1], sides[rows, 2 * k])
        there = ahead.any(1)
        return np.where(there, exact, np.inf), np.where(there, k, -1)

    def begin(self, m: Moments, before: np.ndarray | None = None) -> tuple[Jump, np.ndarray]:
        """The cells as they start, their switches not yet set: what happened, and their triggers (row, event).

        Args:
            before: how these stood, if not as declared.
        """
        m = m.at(m.state, self._refreshed(m, exact=True))
        if before is None:
            declared = np.array([e.initial_value for e in self.equations.events], dtype=bool)
            before = np.broadcast_to(declared, (len(m.cells), len(declared)))
        fired, now, before = self._settled(m, before, exact=True)
        now = now.at(now.state, self._refreshed(now, exact=False))
        more, now, before = self._settled(now, before, exact=False)
        none = np.zeros((len(m.cells), 2), dtype=np.int64)
        return Jump(np.full(len(m.cells), -1), m, now, (*fired, *more), none), before

    def turn(self, m: Moments, k: np.ndarray, triggers: np.ndarray) -> tuple[Jump, np.ndarray]:
        """What happens where switch k (row,) turns, and with it those that turn at the same place by their form."""
        new = 1.0 - m.on[np.arange(len(k)), k][:, None]
        on = np.where(self._same[k], new, np.where(self._opposite[k], 1.0 - new, m.on))
        fired, after, triggers = self._settled(m.at(m.state, on), triggers, exact=False)
        return Jump(k, m, after, tuple(fired), np.zeros((len(k), 2), dtype=np.int64)), triggers

    def _settled(self, m: Moments, before: np.ndarray, exact: bool):
        fired = []
        risen = np.zeros((0, 0), dtype=bool)
        for _ in range(_MOST_AT_ONCE):
            holds = _table(self._triggers, m) > 0
            risen, before = holds & ~before, holds
            if not risen.any():
                return fired, m, before
            for group, rows in self._groups(risen):
                own = m.of(rows)
                fired.append((group, rows, own))
                m = self._applied(m, group, rows, own, exact)
        row, event = np.argwhere(risen)[0]
        name, cell, time = self.equations.events[event].id, int(m.cells[row]), float(m.time[row])
        message = f"cell {cell}: the event '{name}' fires without end at time {time:g}"
        raise IntegrationError(message, cell, time, name)

    def _groups(self, risen: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """Events that fire together with the rows in which they do: those with values from the trigger's time first."""
        patterns, which = np.unique(risen & self._together, axis=0, return_inverse=True)
        for p, pattern in enumerate(patterns):
            if pattern.any():
                yield tuple(int(e) for e in np.flatnonzero(pattern)), np.flatnonzero(which.ravel() == p)
        for e in np.flatnonzero(~self._together & risen.any(0)):
            yield (int(e),), np.flatnonzero(risen[:, e])

    def _applied(
        self, m: Moments, group: tuple[int, ...], rows: np.ndarray, own: Moments, exact: bool
    ) -> Moments:
        slopes = self._assignments(group)
        new = own.state.copy()
        new[:, slopes.targets] = _table(slopes.values, own)
        there = own.at(new, own.on)
        # what the assignments leave alone keeps its side, though it may be on the point of turning
        moved = self.gaps(there) != self.gaps(own)
        state, on = m.state.copy(), m.on.copy()
        state[rows], on[rows] = new, np.where(moved, self._refreshed(there, exact), own.on)
        return m.at(state, on)

    def _refreshed(self, m: Moments, exact: bool) -> np.ndarray:
        """The switches as they hold now (`exact`) or from now on; settled, as sides may depend on switches."""
        for _ in range(m.on.shape[1] + 1):
            gap = self.gaps(m)
            holds = np.where(self._sharp, gap > 0, gap >= 0)
            if not exact:
                holds = np.where(self._timed, np.where(self._time_below, gap > 0, gap >= 0), holds)
            if np.array_equal(holds, m.on > 0):
                break
            m = m.at(m.state, holds.astype(float))
        return m.on

    # ---- derivatives

    def _assignments(self, group: tuple[int, ...]) -> _Slopes:
        """Of events that fire together."""
        values: dict[int, Node] = {}
        for e in group:
            values.update(dict(self.equations.events[e].assignments))
        return self._with_slopes(("event", group), list(values), list(values.values()))

    def _crossing(self, k: int) -> _Slopes:
        switch, graph = self.equations.switches[k], self.equations.graph
        return self._with_slopes(("switch", k), [0], [graph.op("-", switch.upper, switch.lower)])

    def _with_slopes(self, key, targets: list[int], nodes: list[Node]) -> _Slopes:
        if key not in self._slopes:
            graph = self.equations.graph
            try:
                entries = jacobian(graph, nodes, self._variables)
            except NotDifferentiable as error:
                raise ModelError(self.network.file, f"no sensitivities: {error}") from None
            slopes = Plan(graph, list(entries.values()))
            self._slopes[key] = _Slopes(
                np.array(targets, dtype=np.intp), Plan(graph, nodes), slopes, tuple(entries)
            )
        return self._slopes[key]

    def _clock(self, jump: Jump) -> list[tuple[np.ndarray, list[int], np.ndarray]]:
        """The derivative of the time of the jump, where it is not given.

        For rows whose time the same switch sets: the rows, positions among states and constants, and the derivative
        (row, position) by what is there; by all else it is 0.
        """
        n, last, found = len(self.equations.states), len(self._variables) - 1, []
        for k in np.unique(jump.turned[jump.turned >= 0]):
            rows = np.flatnonzero(jump.turned == k)
            before, slopes = jump.before.of(rows), self._crossing(int(k))
            values = _table(slopes.slopes, before)
            columns = [column for _, column in slopes.at]
            # a condition on time alone does not ask how fast the state moves
            moving = any(column < n for column in columns)
            rates = self.rates(before) if moving else np.zeros((len(rows), n))
            speed, size = np.zeros(len(rows)), np.zeros(len(rows))
            for j, column in enumerate(columns):
                if column < n or column == last:
                    part = values[:, j] * (rates[:, column] if column < n else 1.0)
                    # what does not depend on a state does not mind how fast that moves
                    part = np.where(values[:, j] == 0.0, 0.0, part)
                    speed, size = speed + part, size + np.abs(part)
            touched = ~(np.abs(speed) > 1e-12 * size)
            if touched.any():
                row = int(np.argmax(touched))
                cell, time = int(before.cells[row]), float(before.time[row])
                message = f"cell {cell} at time {time:g}: a condition is touched and not crossed"
                raise IntegrationError(f"{message}: the sensitivity is not defined there", cell, time)
            kept = [j for j, column in enumerate(columns) if column != last]
            found.append((rows, [columns[j] for j in kept], -values[:, kept] / speed[:, None]))
        return found

    def tangent(self, jump: Jump, s: np.ndarray, along: np.ndarray) -> np.ndarray:
        """The tangents (row, state_ids) after; `along`: (row, settable_ids) those of the constants."""
        n = s.shape[1]
        clock = np.zeros(len(s))
        for rows, columns, values in self._clock(jump):
            for j, column in enumerate(columns):
                moved = s[rows, column] if column < n else along[rows, column - n]
                clock[rows] += values[:, j] * moved
        s = s + self._during(jump.before, clock)
        for group, rows, m in jump.fired:
            slopes = self._assignments(group)
            values, own = _table(slopes.slopes, m), s[rows]
            after = own.copy()
            after[:, slopes.targets] = 0.0
            for j, (i, column) in enumerate(slopes.at):
                moved = own[:, column] if column < n else clock[rows]
                if n <= column < len(self._variables) - 1:
                    moved = along[rows, column - n]
                after[:, slopes.targets[i]] += values[:, j] * moved
            s[rows] = after
        return s - self._during(jump.after, clock)

    def _during(self, m: Moments, clock: np.ndarray) -> np.ndarray:
        """How far (row, state_ids) the state moves in these times."""
        if not clock.any():
            return np.zeros_like(m.state)
        return np.where(clock[:, None] != 0.0, self.rates(m) * clock[:, None], 0.0)

    def pulled(self, jump: Jump, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is asked of the state before, and of the constants, by (row, state_ids) asked of the state after."""
        n, last = asked.shape[1], len(self._variables) - 1
        asked, constants = asked.copy(), np.zeros((len(asked), last - asked.shape[1]))
        clocks = self._clock(jump)
        by_clock = -(self.rates(jump.after) * asked).sum(1) if clocks else np.zeros(len(asked))
        for group, rows, m in reversed(jump.fired):
            slopes = self._assignments(group)
            values, wanted = _table(slopes.slopes, m), asked[np.ix_(rows, slopes.targets)]
            asked[np.ix_(rows, slopes.targets)] = 0.0
            for j, (i, column) in enumerate(slopes.at):
                through = values[:, j] * wanted[:, i]
                if column < n:
                    asked[rows, column] += through
                elif column < last:
                    constants[rows, column - n] += through
                else:
                    by_clock[rows] += through
        if clocks:
            by_clock += (self.rates(jump.before) * asked).sum(1)
        for rows, columns, values in clocks:
            for j, column in enumerate(columns):
                through = values[:, j] * by_clock[rows]
                if column < n:
                    asked[rows, column] += through
                else:
                    constants[rows, column - n] += through
        return asked, constants


@dataclass(frozen=True)
class _Slopes:
    """New values of some targets, and their derivatives.

    Attributes:
        targets: positions in the state; values: of them.
        slopes: those derivatives that are not 0 by structure; at: of which target, by which variable each is.
    """

    targets: np.ndarray
    values: Plan
    slopes: Plan
    at: tuple[tuple[int, int], ...]


def _table(plan: Plan, m: Moments) -> np.ndarray:
    """(row, output)."""
    found = plan(m.inputs)
    table = np.empty((len(m.cells), len(found)))
    for i, column in enumerate(found):
        table[:, i] = column
    return table
