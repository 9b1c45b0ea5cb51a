"""What the observables would have read at the points that a timeline reached, with derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.fitting.expressions import Expressions
from sim.fitting.parts import Measurement, Observable
from sim.fitting.timeline import Points, Timeline


@dataclass(frozen=True)
class _Kind:
    """All measurements of one observable.

    Attributes:
        rows: (row,) among the measurements; points: (row,) of the timeline.
        numbers: (row, placeholder) their values, `from_parameter`: the parameter that gives them, or -1.
    """

    observable: Observable
    expressions: Expressions
    rows: np.ndarray
    points: np.ndarray
    numbers: np.ndarray
    from_parameter: np.ndarray


@dataclass
class Read:
    """Simulations and noises, (measurement,); their slopes (measurement, estimated) or None."""

    simulated: np.ndarray
    noise: np.ndarray
    slopes: np.ndarray | None
    noise_slopes: np.ndarray | None


class Readings:
    """The observables of some measurements.

    Args:
        points: (measurement,) where each stands in the timeline.

    Raises:
        ModelError: a formula has an id that is neither in the model nor a parameter.
    """

    def __init__(
        self,
        timeline: Timeline,
        observables: Sequence[Observable],
        measurements: Sequence[Measurement],
        points: np.ndarray,
    ):
        self.timeline, self.count = timeline, len(measurements)
        at = {name: i for i, name in enumerate(timeline.parameters)}
        self.kinds: list[_Kind] = []
        for observable in observables:
            rows = np.array(
                [i for i, m in enumerate(measurements) if m.observable == observable.id], dtype=np.intp
            )
            if not len(rows):
                continue
            names = (*timeline.parameters, *observable.placeholders)
            made = Expressions(timeline.system, names, [observable.formula, observable.noise])
            numbers = np.zeros((len(rows), len(observable.placeholders)))
            origin = np.full(numbers.shape, -1)
            for k, row in enumerate(rows):
                for i, value in enumerate(measurements[row].overrides):
                    if isinstance(value, str):
                        origin[k, i] = at[value]
                    else:
                        numbers[k, i] = value
            self.kinds.append(_Kind(observable, made, rows, points[rows], numbers, origin))

    def read(self, points: Points, values: np.ndarray) -> Read:
        """At `values` of all parameters; with slopes where the points have them."""
        line, with_slopes = self.timeline, points.slopes is not None
        estimated = len(line.estimated)
        simulated, noise = np.empty(self.count), np.empty(self.count)
        slopes = np.zeros((2, self.count, estimated)) if with_slopes else None
        for kind in self.kinds:
            found, entries = self._evaluated(kind, points, values, with_slopes)
            simulated[kind.rows], noise[kind.rows] = found
            if slopes is None or points.slopes is None:
                continue
            n, cell, rounds = line.states, points.cell[kind.points], points.round[kind.points]
            for i, j, d in entries:
                if j < n:
                    slopes[i, kind.rows] += d[:, None] * points.slopes[kind.points, j]
                elif j < line.variables:
                    for k in np.unique(rounds):
                        some = rounds == k
                        slopes[i, kind.rows[some]] += d[some, None] * points.constants[k][cell[some], j - n]
                else:
                    origin = self._origin(kind, j)
                    column = np.where(origin >= 0, line.column[origin], -1)
                    known = column >= 0
                    slopes[i, kind.rows[known], column[known]] += d[known]
        return Read(simulated, noise, *((None, None) if slopes is None else slopes))

    def pulled(
        self, points: Points, values: np.ndarray, by_value: np.ndarray, by_noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is asked of points (point, variable) and of parameters, by what is asked of every reading."""
        line = self.timeline
        of_points, of_parameters = np.zeros(points.stored.shape), np.zeros(len(line.parameters))
        for kind in self.kinds:
            _, entries = self._evaluated(kind, points, values, True)
            for i, j, d in entries:
                asked = d * (by_noise if i else by_value)[kind.rows]
                if j < line.variables:
                    np.add.at(of_points, (kind.points, j), asked)
                else:
                    origin = self._origin(kind, j)
                    known = origin >= 0
                    np.add.at(of_parameters, origin[known], asked[known])
        return of_points, of_parameters

    def _origin(self, kind: _Kind, j: int) -> np.ndarray:
        """(row,) the parameter that variable j of the expressions is, or -1."""
        k = j - self.timeline.variables
        parameters = len(self.timeline.parameters)
        if k < parameters:
            return np.full(len(kind.rows), k)
        return kind.from_parameter[:, k - parameters]

    def _evaluated(self, kind: _Kind, points: Points, values: np.ndarray, with_slopes: bool):
        n, stored = self.timeline.states, points.stored[kind.points]
        filled = np.where(kind.from_parameter >= 0, values[kind.from_parameter], kind.numbers)
        arguments = (
            self.timeline.time[kind.points],
            stored[:, :n],
            stored[:, n:],
            [*values, *filled.T],
        )
        if not with_slopes:
            return kind.expressions.values(*arguments), []
        found, slopes = kind.expressions.with_slopes(*arguments)
        return found, list(zip(*kind.expressions.at, slopes))
