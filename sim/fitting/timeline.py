"""Cells through their periods: from parameters to states at the times asked for, with derivatives forwards or back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mechanistic.codegen.system import System, dependencies
from mechanistic.errors import IntegrationError
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Tree
from sim.fitting.beginnings import Changes, Given, Initial
from sim.fitting.parts import PREEQUILIBRATION, Experiment
from sim.fitting.spans import Integrator, Settings, Spans

_BEFORE = 1e-11  # how long before the next period, relatively, the last moment of a period is


@dataclass
class Flow:
    """Where all cells are.

    Attributes:
        stored: (cell, variable): the state, then the constants, as `codegen.system` keeps them.
        slopes: (cell, variable, estimated) by the values of the estimated parameters, or None.
        memory: (cell, width) of events.
    """

    stored: np.ndarray
    slopes: np.ndarray | None
    memory: np.ndarray


@dataclass
class Points:
    """What was reached: a row for every cell and time asked for.

    Attributes:
        stored: (point, variable).
        slopes: (point, state_ids, estimated) of the state, or None.
        constants: slopes (cell, settable_ids, estimated) of the constants, one for each round of periods.
        cell, round: (point,).
    """

    stored: np.ndarray
    slopes: np.ndarray | None
    cell: np.ndarray
    round: np.ndarray
    constants: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class _Span:
    """Some cells from a time to another; -inf: to rest. `points`: those on the way; `rests`: those at rest after."""

    start: float
    end: float
    cells: np.ndarray
    grid: np.ndarray
    points: np.ndarray
    rests: np.ndarray


@dataclass(frozen=True)
class _Begin:
    cells: np.ndarray
    initial: Initial
    given: Given
    which: np.ndarray
    first: int


@dataclass(frozen=True)
class _Change:
    cells: np.ndarray
    time: float
    changes: Changes


#: what is asked of: stored values (cell, variable), in place from after to before; points; parameters
Back = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


class Timeline:
    """The experiments of one model, a cell each.

    Args:
        parameters: ids of all parameters of the fit; `estimated`: positions of those to differentiate by.
        times: for every experiment the times asked for, rising; inf: at rest.
        integrator: made of tolerances and the ids of all parameters; that of pathways where None.

    Attributes:
        cell, time: (point,) of every cell and time asked for.

    Raises:
        ModelError: an experiment sets what cannot be set.
    """

    def __init__(
        self,
        network: ReactionNetwork,
        parameters: Sequence[str],
        estimated: np.ndarray,
        experiments: Sequence[Experiment],
        times: Sequence[np.ndarray],
        settings: Settings | None = None,
        integrator: Callable[[Settings, Sequence[str]], Integrator] | None = None,
    ):
        self.network, self.parameters, self.estimated = network, tuple(parameters), estimated
        self.experiments = tuple(experiments)
        self.system = System(network)
        self.spans: Integrator = (
            Spans(self.system, settings or Settings())
            if integrator is None
            else integrator(settings or Settings(), self.parameters)
        )
        self.states = len(network.state_ids)
        self.variables = self.states + len(network.settable_ids)
        self.cell = np.repeat(np.arange(len(times)), [len(t) for t in times])
        self.time = np.concatenate([np.asarray(t, dtype=float) for t in times] or [np.empty(0)])
        self.column = np.full(len(parameters), -1)
        self.column[estimated] = np.arange(len(estimated))
        self._known = frozenset(parameters)
        self._own = {name: name for name in parameters if name in network}
        everyone = {c: {**self._own, **e.initial} for c, e in enumerate(self.experiments)}
        self._rounds: list[list] = [self._begins(everyone, 0)]
        for k in range(max((len(e.periods) for e in experiments), default=0)):
            self._rounds.append(self._round(k))

    # ---- what happens when

    def _begins(self, given: Mapping[int, Mapping[str, Tree]], first: int) -> list[_Begin]:
        """Cells by the names that are given in them, and by what is computed from other values of the model."""
        groups: dict[tuple[tuple[str, ...], str], list[int]] = {}
        within = {c: self._within(trees) for c, trees in given.items()}
        for c, trees in given.items():
            assigned = {name: tree for name, tree in trees.items() if name in within[c]}
            names = {n for n in trees if n not in assigned} | {
                n for tree in assigned.values() for n in dependencies(tree) if n in self._known
            }
            groups.setdefault((tuple(sorted(names)), repr(sorted(assigned.items(), key=str))), []).append(c)
        result = []
        for (names, _), cells in groups.items():
            assigned = {name: given[cells[0]][name] for name in within[cells[0]]}
            values: dict[str, Tree] = {}
            for c in cells:
                values.update((repr(given[c].get(n, n)), given[c].get(n, n)) for n in names)
            at = {key: i for i, key in enumerate(values)}
            which = np.array([[at[repr(given[c].get(n, n))] for n in names] for c in cells], dtype=np.intp)
            made = Initial(self.network, names, assigned), Given(self.parameters, list(values.values()))
            result.append(_Begin(np.array(cells), *made, which.reshape(len(cells), len(names)), first))
        return result

    def _within(self, trees: Mapping[str, Tree]) -> set[str]:
        """Those of `trees` that have ids of the model which are no parameters of the fit."""
        return {n for n, tree in trees.items() if any(d not in self._known for d in dependencies(tree))}

    def _round(self, k: int) -> list:
        """What happens in the k-th periods, in order."""
        own = {c: e.periods[k] for c, e in enumerate(self.experiments) if len(e.periods) > k}
        renewed = {c: {**self._own, **p.constants} for c, p in own.items() if p.constants is not None}
        changed: dict[tuple, list[int]] = {}
        spans: dict[tuple[float, float, bool], list[int]] = {}
        for c, p in own.items():
            if p.changes:
                changed.setdefault((p.start, repr(p.changes)), []).append(c)
            spans.setdefault(self._reach(c, k), []).append(c)
        changes = [
            _Change(
                np.array(cells),
                start if np.isfinite(start) else 0.0,
                Changes(self.system, self.parameters, own[cells[0]].changes),
            )
            for (start, _), cells in changed.items()
        ]
        return [
            *self._begins(renewed, self.states),
            *changes,
            *(self._span(s[0], s[1], s[2], c) for s, c in spans.items()),
        ]

    def _reach(self, c: int, k: int) -> tuple[float, float, bool]:
        """Start, end, and whether it is the last, of the k-th period of a cell."""
        periods = self.experiments[c].periods
        start = periods[k].start
        if k + 1 < len(periods):
            return start, periods[k + 1].start, False
        asked = self.time[(self.cell == c) & np.isfinite(self.time)]
        return start, float(asked.max(initial=start)), True

    def _span(self, start: float, end: float, last: bool, cells: list[int]) -> _Span:
        own, none = np.array(cells), np.empty(0, dtype=np.intp)
        if start == PREEQUILIBRATION:
            return _Span(start, end, own, np.empty(0), none, none)
        inside = np.isin(self.cell, own) & (self.time >= start)
        if not last:
            # what happens at the end of a period happens after the next one has begun
            inside &= self.time < end
            end -= _BEFORE * max(abs(end), end - start)
        points = np.flatnonzero(inside & np.isfinite(self.time))
        rests = np.flatnonzero(inside & ~np.isfinite(self.time))
        grid = np.unique(np.concatenate([[start, end], self.time[points]]))
        return _Span(start, end, own, grid, points, rests)

    # ---- forwards

    def run(self, values: np.ndarray, slopes: bool = False, back: bool = False) -> tuple[Points, list[Back]]:
        """The points at `values` of the parameters, and with `back` the way back over them.

        Args:
            slopes: whether derivatives by the estimated parameters are carried along.

        Raises:
            IntegrationError: a cell could not be followed, or came to no rest; names the experiment.
        """
        cells, many = len(self.experiments), len(self.estimated)
        self.spans.begin(values)
        flow = Flow(
            np.empty((cells, self.variables)),
            np.zeros((cells, self.variables, many)) if slopes else None,
            self.spans.memory(cells),
        )
        points = Points(
            np.full((len(self.time), self.variables), np.nan),
            np.zeros((len(self.time), self.states, many)) if slopes else None,
            self.cell,
            np.zeros(len(self.time), dtype=np.intp),
        )
        way: list[Back] = []
        for steps in self._rounds:
            for step in steps:
                if isinstance(step, _Begin):
                    way.append(self._begin(flow, values, step))
                elif isinstance(step, _Change):
                    way.append(self._change(flow, values, step))
            if flow.slopes is not None:
                points.constants.append(flow.slopes[:, self.states :].copy())
            for step in steps:
                if isinstance(step, _Span):
                    way += self._go(flow, points, step, len(points.constants) - 1, back)
        return points, way[::-1] if back else []

    def _begin(self, flow: Flow, values: np.ndarray, step: _Begin) -> Back:
        own, which, first = step.cells, step.which, step.first
        found, by_parameter = step.given(values)
        stored, by_name = step.initial(found[which])
        flow.stored[own, first:] = stored[:, first:]
        entries = [(i, k, d) for i, k, d in zip(*step.initial.at, by_name) if i >= first]
        at, p = step.given.at
        if flow.slopes is not None:
            of_values = np.zeros((len(found), len(self.estimated)))
            wanted = self.column[p] >= 0
            of_values[at[wanted], self.column[p][wanted]] = by_parameter[wanted]
            part = np.zeros((len(own), self.variables, len(self.estimated)))
            for i, k, d in entries:
                part[:, i] += d[:, None] * of_values[which[:, k]]
            flow.slopes[own, first:] = part[:, first:]

        def pull(asked: np.ndarray, _: np.ndarray, parameters: np.ndarray) -> None:
            of_values = np.zeros(len(found))
            for i, k, d in entries:
                np.add.at(of_values, which[:, k], d * asked[own, i])
            asked[own, first:] = 0.0
            np.add.at(parameters, p, by_parameter * of_values[at])

        return pull

    def _change(self, flow: Flow, values: np.ndarray, step: _Change) -> Back:
        own, targets = step.cells, step.changes.targets
        flow.stored[own], slopes = step.changes(step.time, flow.stored[own], self.states, list(values))
        entries = list(zip(*step.changes.expressions.at, slopes))
        if flow.slopes is not None:
            before = flow.slopes[own]
            after = before.copy()
            after[:, targets] = 0.0
            for i, j, d in entries:
                if j < self.variables:
                    after[:, targets[i]] += d[:, None] * before[:, j]
                elif self.column[j - self.variables] >= 0:
                    after[:, targets[i], self.column[j - self.variables]] += d
            flow.slopes[own] = after

        def pull(asked: np.ndarray, _: np.ndarray, parameters: np.ndarray) -> None:
            after = asked[own]
            before = after.copy()
            before[:, targets] = 0.0
            for i, j, d in entries:
                if j < self.variables:
                    before[:, j] += d * after[:, targets[i]]
                else:
                    parameters[j - self.variables] += float(d @ after[:, targets[i]])
            asked[own] = before

        return pull

    def _go(self, flow: Flow, points: Points, span: _Span, number: int, back: bool) -> list[Back]:
        points.round[span.points] = points.round[span.rests] = max(number, 0)
        if span.start == PREEQUILIBRATION:
            return self._settle(flow, points, span.cells, 0.0, span.rests, back)
        own, n = span.cells, self.states
        slopes = None if flow.slopes is None else flow.slopes[own]
        with self._named(own):
            found = self.spans.follow(flow.stored[own], slopes, flow.memory[own], span.grid, back)
        row, at = (
            np.searchsorted(own, self.cell[span.points]),
            np.searchsorted(span.grid, self.time[span.points]),
        )
        points.stored[span.points, n:] = flow.stored[own][row, n:]
        points.stored[span.points, :n] = found.course[row, at]
        flow.stored[own, :n] = found.course[:, -1]
        if points.slopes is not None and flow.slopes is not None and found.slopes is not None:
            points.slopes[span.points] = found.slopes[row, at]
            flow.slopes[own, :n] = found.slopes[:, -1]
        self._remember(flow, own, found.memory)

        def pull(asked: np.ndarray, of_points: np.ndarray, parameters: np.ndarray) -> None:
            assert found.pull is not None
            weights = np.zeros(found.course.shape)
            weights[:, -1] += asked[own, :n]
            np.add.at(weights, (row, at), of_points[span.points, :n])
            before = found.pull(weights, parameters)
            asked[own, :n] = 0.0
            asked[own] += before
            np.add.at(asked[:, n:], self.cell[span.points], of_points[span.points, n:])

        way: list[Back] = [pull]
        if len(span.rests):
            cells = np.unique(self.cell[span.rests])
            way += self._settle(flow, points, cells, float(span.grid[-1]), span.rests, back)
        return way

    def _settle(
        self, flow: Flow, points: Points, own: np.ndarray, time: float, rests: np.ndarray, back: bool
    ) -> list[Back]:
        n = self.states
        first, like = self._alike(own)
        slopes = None if flow.slopes is None else flow.slopes[first]
        with self._named(first):
            found = self.spans.settle(flow.stored[first], slopes, flow.memory[first], time, back)
        flow.stored[own, :n] = found.course[like, 0]
        if flow.slopes is not None and found.slopes is not None:
            flow.slopes[own, :n] = found.slopes[like, 0]
        self._remember(flow, own, found.memory[like])
        points.stored[rests] = flow.stored[self.cell[rests]]
        if points.slopes is not None and flow.slopes is not None:
            points.slopes[rests] = flow.slopes[self.cell[rests], :n]

        def pull(asked: np.ndarray, of_points: np.ndarray, parameters: np.ndarray) -> None:
            assert found.pull is not None
            np.add.at(asked, self.cell[rests], of_points[rests])
            together = np.zeros((len(first), self.variables))
            np.add.at(together, like, asked[own])
            before = found.pull(together[:, None, :n], parameters)
            before[:, n:] += together[:, n:]
            asked[own] = 0.0
            asked[first] = before

        return [pull]

    def _alike(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cells that are at rest before the same experiment: the first of each kind, and which of them each is like."""
        kinds: dict[str, int] = {}
        first, like = [], np.empty(len(own), dtype=np.intp)
        for k, c in enumerate(own):
            e = self.experiments[c]
            shared = len(e.periods) > 1 and e.periods[0].start == PREEQUILIBRATION
            resting = not np.any((self.cell == c) & np.isinf(self.time))
            key = repr((sorted(e.initial.items(), key=str), e.periods[0])) if shared and resting else str(c)
            if key not in kinds:
                kinds[key] = len(first)
                first.append(c)
            like[k] = kinds[key]
        return np.array(first), like

    @staticmethod
    def _remember(flow: Flow, own: np.ndarray, memory: np.ndarray) -> None:
        wider = memory.shape[1] - flow.memory.shape[1]
        if wider > 0:
            flow.memory = np.pad(flow.memory, ((0, 0), (0, wider)))
        flow.memory[own, : memory.shape[1]] = memory

    def _named(self, own: np.ndarray):
        return _Named([self.experiments[c].id for c in own])


class _Named:
    """Adds the experiment to the error of a cell."""

    def __init__(self, names: list[str]):
        self.names = names

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, _) -> None:
        if isinstance(error, IntegrationError) and error.cell is not None and self.names[error.cell]:
            message = f"experiment '{self.names[error.cell]}': {error}"
            raise IntegrationError(message, error.cell, error.time, error.species) from None
