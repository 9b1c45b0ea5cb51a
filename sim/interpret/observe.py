"""Run a simulation only as far as an outcome needs, and read it; nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from sim.controller import SAME_TIME, Stop, stops_of
from sim.errors import Interrupted
from sim.interpret.outcome import Outcome
from sim.machine import interrupts
from sim.simulation import Simulation


class Watcher(Protocol):
    """Looks at a run without changing it."""

    def begin(self, simulation: Simulation) -> None:
        """At time 0, before the first step."""
        ...

    def look(self, simulation: Simulation) -> None:
        """At each stop, after what was due there was done."""
        ...


@dataclass(frozen=True)
class Fork:
    """A stop of a run, after what was due there, from which another run may go on that is the same up to then.

    Attributes:
        time: [min].
        arrays: the state, as a checkpoint has it.
        readings: (time, value) of the outcome up to then.
    """

    time: float
    arrays: Mapping[str, np.ndarray]
    readings: tuple[tuple[float, float], ...]


def observed(
    simulation: Simulation,
    outcome: Outcome,
    refine: int = 1,
    watchers: Sequence[Watcher] = (),
    fork: Fork | None = None,
    undone: Collection[int] = (),
) -> float:
    """The outcome of a simulation, run only as far as it needs; see `observed_all`.

    Args:
        fork: where to begin; the start where None.
        undone: indices of perturbations that are left out.
    """
    course = _Course(simulation, [outcome], refine, watchers, undone)
    course.begin(fork)
    course.go_on(outcome.stop)
    return time_mean(course.readings[0])


def observed_all(
    simulation: Simulation,
    outcomes: Sequence[Outcome],
    watchers: Sequence[Watcher] = (),
    until: float = 0.0,
) -> list[float]:
    """Several outcomes of one run, from its start to the last of them.

    The clock stops where `cellweave run` would stop, so the numbers are those of the run itself; where an outcome's
    time is none of these, it is one more stop. Over a stretch of time an outcome is read at every stop within and
    at both ends, and averaged by the trapezoidal rule.

    Args:
        watchers: look on.
        until: go on to this time [min] at least.

    Raises:
        SimulationError: naming cell, quantity and time.
        Interrupted: a signal asks to stop.
    """
    course = _Course(simulation, outcomes, 1, watchers, ())
    course.begin(None)
    course.go_on(until)
    return [time_mean(values) for values in course.readings]


class _Course:
    """One run on its way, and what was read so far."""

    def __init__(
        self,
        simulation: Simulation,
        outcomes: Sequence[Outcome],
        refine: int,
        watchers: Sequence[Watcher],
        undone: Collection[int],
    ):
        self.simulation, self.outcomes, self.refine = simulation, outcomes, refine
        self.watchers, self.undone = watchers, undone
        self.readings: list[list[tuple[float, float]]] = [[] for _ in outcomes]
        self.before, self.passed = 0.0, -float("inf")

    def begin(self, fork: Fork | None) -> None:
        if fork is None:
            self.simulation.populate()
            for watcher in self.watchers:
                watcher.begin(self.simulation)
            return
        self.simulation.state.restore(fork.arrays)
        self.readings = [list(fork.readings)]
        self.before = self.passed = fork.time

    def go_on(self, until: float) -> None:
        simulation = self.simulation
        for stop in _stops_until(simulation, self.outcomes, until):
            if stop.time <= self.passed + SAME_TIME:
                continue
            if interrupts.requested():
                raise Interrupted(interrupts.requested())
            if stop.time > self.before:
                for _, length in simulation.blocks(self.before, stop.time):
                    simulation.step(length, self.refine)
                simulation.state.time = self.before = stop.time
            for p in stop.perturbations:
                if p.index not in self.undone:
                    p.apply(simulation.state, simulation.actors, simulation.streams)
            for outcome, values in zip(self.outcomes, self.readings):
                if outcome.start - SAME_TIME <= stop.time <= outcome.stop + SAME_TIME:
                    values.append((stop.time, outcome.value(simulation)))
            for watcher in self.watchers:
                watcher.look(simulation)


def _stops_until(simulation: Simulation, outcomes: Sequence[Outcome], until: float) -> list[Stop]:
    last = max([until, *(o.stop for o in outcomes)])
    stops = [s for s in stops_of(simulation.plan) if s.time <= last + SAME_TIME]
    for time in sorted({t for o in outcomes for t in (o.start, o.stop)}):
        if all(abs(s.time - time) > SAME_TIME for s in stops):
            stops.append(Stop(time))
    return sorted(stops, key=lambda s: s.time)


def time_mean(readings: Sequence[tuple[float, Any]]) -> Any:
    """The mean over time of (time, value) by the trapezoidal rule; the value itself where there is one."""
    if len(readings) == 1:
        return readings[0][1]
    area = sum((b - a) * (u + v) / 2 for (a, u), (b, v) in pairwise(readings))
    return area / (readings[-1][0] - readings[0][0])
