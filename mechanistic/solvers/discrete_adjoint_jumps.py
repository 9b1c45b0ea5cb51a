"""What happens to a cell, and to its derivatives, where a condition turns or an event fires.

At a time t that depends on the parameters, the state y before becomes h(y) after, and the rates f change too. A
tangent s becomes s + f_before t', then its image under h, then less f_after t', with the derivative of the time
t' = -(g_y s + g_c c') / (g_y f + g_t), where g crosses 0 at t (Galan, Feehery & Barton, Appl. Numer. Math. 31, 17,
1999). Transposed, the same holds for what is asked of the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.graph import Node
from mechanistic.codegen.switched import SwitchedSystem
from mechanistic.codegen.tangent import Plan
from mechanistic.errors import IntegrationError, ModelError

_MOST_AT_ONCE = 1000


@dataclass(frozen=True)
class Moment:
    """A cell at a time: time, state (state_ids,), constants (settable_ids,), switches (switch,) of 1 and 0."""

    time: float
    state: np.ndarray
    constants: np.ndarray
    on: np.ndarray

    @property
    def inputs(self) -> list:
        return [self.time, 1.0, *self.state, *self.constants, *self.on]

    def at(self, state: np.ndarray, on: np.ndarray) -> Moment:
        return Moment(self.time, state, self.constants, on)


@dataclass(frozen=True)
class Jump:
    """What happened to one cell at one time.

    Attributes:
        turned: the switch that set the time, -1 where it is a given time.
        before, after: the cell.
        fired: groups of events that fired together, each with the cell at that moment.
        outputs: (first, beyond the last) output that is taken after it.
    """

    cell: int
    turned: int
    before: Moment
    after: Moment
    fired: tuple[tuple[tuple[int, ...], Moment], ...]
    outputs: tuple[int, int]


class Jumps:
    """Switches and events of one network, for one cell at a time."""

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
        self._slopes: dict = {}

    @property
    def needed(self) -> bool:
        return bool(self.equations.switches or self.equations.events)

    def rates(self, m: Moment) -> np.ndarray:
        return np.array(self._rates(m.inputs), dtype=float)

    def all_rates(self, inputs: list) -> list:
        """d(state)/dt by inputs of the graph, each a number or one a cell."""
        return self._rates(inputs)

    def gaps(self, m: Moment) -> np.ndarray:
        """(switch,): upper less lower side."""
        sides = np.array(self._sides(m.inputs), dtype=float).reshape(-1, 2)
        return sides[:, 1] - sides[:, 0]

    def next_time(self, m: Moment) -> tuple[float, int]:
        """When the next switch on time turns, and which; infinite where none does.

        It may be now: switches that turn at the same time turn one after the other.
        """
        gap = self.gaps(m)
        times = np.where(self._time_below, m.time + gap, m.time - gap)
        ahead = self._timed & (times >= m.time) & (self._time_below == (m.on > 0))
        if not ahead.any():
            return np.inf, -1
        k = int(np.flatnonzero(ahead)[np.argmin(times[ahead])])
        sides = self._sides(m.inputs)
        return float(sides[2 * k + 1] if self._time_below[k] else sides[2 * k]), k

    def begin(
        self,
        time: float,
        state: np.ndarray,
        constants: np.ndarray,
        cell: int,
        output: int,
        before: np.ndarray | None = None,
    ):
        """The cell as it starts: (what happened, its triggers); `before`: how these stood, if not as declared."""
        m = Moment(time, state, constants, np.zeros(len(self.equations.switches)))
        m = m.at(state, self._refreshed(m, exact=True))
        if before is None:
            before = np.array([e.initial_value for e in self.equations.events], dtype=bool)
        fired, now, before = self._settled(m, before, exact=True)
        now = now.at(now.state, self._refreshed(now, exact=False))
        more, now, before = self._settled(now, before, exact=False)
        return Jump(cell, -1, m, now, (*fired, *more), (output, output)), before

    def turn(self, m: Moment, k: int, triggers: np.ndarray, cell: int) -> tuple[Jump, np.ndarray]:
        """What happens where switch k turns."""
        on = m.on.copy()
        on[k] = 1.0 - on[k]
        fired, after, triggers = self._settled(m.at(m.state, on), triggers, exact=False)
        return Jump(cell, k, m, after, tuple(fired), (0, 0)), triggers

    def _settled(self, m: Moment, before: np.ndarray, exact: bool):
        fired = []
        for _ in range(_MOST_AT_ONCE):
            holds = np.array(self._triggers(m.inputs), dtype=bool).reshape(-1)
            risen = np.flatnonzero(holds & ~before)
            before = holds
            if not len(risen):
                return fired, m, before
            together = tuple(int(e) for e in risen if self.equations.events[e].from_trigger_time)
            alone = [(int(e),) for e in risen if not self.equations.events[e].from_trigger_time]
            for group in ([together] if together else []) + alone:
                fired.append((group, m))
                m = self._applied(m, group, exact)
        name = self.equations.events[risen[0]].id
        message = f"the event '{name}' fires without end at time {m.time:g}"
        raise IntegrationError(message, time=m.time, species=name)

    def _applied(self, m: Moment, group: tuple[int, ...], exact: bool) -> Moment:
        targets, plan, _, _ = self._assignments(group)
        state, gap = m.state.copy(), self.gaps(m)
        state[targets] = np.array(plan(m.inputs), dtype=float)[: len(targets)]
        new = m.at(state, m.on)
        # what the assignments leave alone keeps its side, though it may be on the point of turning
        moved = self.gaps(new) != gap
        return m.at(state, np.where(moved, self._refreshed(new, exact), m.on))

    def _refreshed(self, m: Moment, exact: bool) -> np.ndarray:
        """The switches as they hold now (`exact`) or from now on; settled, as sides may depend on switches."""
        for _ in range(len(m.on) + 1):
            gap = self.gaps(m)
            holds = np.where(self._sharp, gap > 0, gap >= 0)
            if not exact:
                holds = np.where(self._timed, np.where(self._time_below, gap > 0, gap >= 0), holds)
            if np.array_equal(holds, m.on > 0):
                break
            m = m.at(m.state, holds.astype(float))
        return m.on

    # ---- derivatives

    def _assignments(self, group: tuple[int, ...]):
        """(targets, plan of new values and slopes, rows, columns of the slopes) of events that fire together."""
        values: dict[int, Node] = {}
        for e in group:
            values.update(dict(self.equations.events[e].assignments))
        return self._with_slopes(("event", group), list(values), list(values.values()))

    def _crossing(self, k: int):
        switch, graph = self.equations.switches[k], self.equations.graph
        return self._with_slopes(("switch", k), [0], [graph.op("-", switch.upper, switch.lower)])

    def _with_slopes(self, key, targets: list[int], nodes: list[Node]):
        if key not in self._slopes:
            graph = self.equations.graph
            try:
                entries = jacobian(graph, nodes, self._variables)
            except NotDifferentiable as error:
                raise ModelError(self.network.file, f"no sensitivities: {error}") from None
            rows, columns = (np.array([at[i] for at in entries], dtype=np.intp) for i in (0, 1))
            plan = Plan(graph, [*nodes, *entries.values()])
            self._slopes[key] = (np.array(targets, dtype=np.intp), plan, rows, columns)
        return self._slopes[key]

    def _matrix(self, of, m: Moment) -> np.ndarray:
        """(outputs, states + constants + 1)."""
        targets, plan, rows, columns = of
        matrix = np.zeros((len(targets), len(self._variables)))
        matrix[rows, columns] = np.array(plan(m.inputs), dtype=float)[len(targets) :]
        return matrix

    def _clock(self, jump: Jump) -> np.ndarray:
        """(states + constants,): the derivative of the time of the jump."""
        n = len(self.equations.states)
        if jump.turned < 0:
            return np.zeros(len(self._variables) - 1)
        (slope,) = self._matrix(self._crossing(jump.turned), jump.before)
        # a condition on time alone does not ask how fast the state moves
        rates = self.rates(jump.before) if np.any(slope[:n]) else np.zeros(n)
        speed = slope[:n] @ rates + slope[-1]
        size = np.abs(slope[:n]) @ np.abs(rates) + abs(slope[-1])
        if not abs(speed) > 1e-12 * size:
            message = (
                f"cell {jump.cell} at time {jump.before.time:g}: a condition is touched and not crossed: the "
                "sensitivity is not defined there"
            )
            raise IntegrationError(message, jump.cell, jump.before.time)
        return -slope[:-1] / speed

    def tangent(self, jump: Jump, s: np.ndarray, along: np.ndarray) -> np.ndarray:
        """The tangent (state_ids,) after; `along`: (settable_ids,) that of the constants."""
        clock = float(self._clock(jump) @ np.concatenate([s, along]))
        if clock != 0.0:
            s = s + self.rates(jump.before) * clock
        for group, m in jump.fired:
            of = self._assignments(group)
            s = s.copy()
            s[of[0]] = self._matrix(of, m) @ np.concatenate([s, along, [clock]])
        return s if clock == 0.0 else s - self.rates(jump.after) * clock

    def pulled(self, jump: Jump, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is asked of the state before, and of the constants, by (state_ids,) asked of the state after."""
        n = len(asked)
        constants = np.zeros(len(self.equations.constants))
        by_clock = -float(self.rates(jump.after) @ asked)
        for group, m in reversed(jump.fired):
            of = self._assignments(group)
            through = asked[of[0]] @ self._matrix(of, m)
            asked = asked.copy()
            asked[of[0]] = 0.0
            asked += through[:n]
            constants += through[n:-1]
            by_clock += float(through[-1])
        by_clock += float(self.rates(jump.before) @ asked)
        clock = self._clock(jump) * by_clock
        return asked + clock[:n], constants + clock[n:]
