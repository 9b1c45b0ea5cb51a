"""Run a simulation only as far as an outcome needs, and read it; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from sim.controller import Stop, stops_of
from sim.interpret.outcome import Outcome
from sim.simulation import Simulation

#: times closer than this are one [min]
_SAME_TIME = 1e-7


class Watcher(Protocol):
    """Looks at a run without changing it."""

    def begin(self, simulation: Simulation) -> None:
        """At time 0, before the first step."""
        ...

    def look(self, simulation: Simulation) -> None:
        """At each stop, after what was due there was done."""
        ...


def observed(
    simulation: Simulation, outcome: Outcome, refine: int = 1, watchers: Sequence[Watcher] = ()
) -> float:
    """The outcome of a simulation, run from its start only as far as it needs; see `observed_all`."""
    return observed_all(simulation, [outcome], refine, watchers)[0]


def observed_all(
    simulation: Simulation,
    outcomes: Sequence[Outcome],
    refine: int = 1,
    watchers: Sequence[Watcher] = (),
    until: float = 0.0,
) -> list[float]:
    """Several outcomes of one run, from its start to the last of them.

    The clock stops where `cellweave run` would stop, so the numbers are those of the run itself; where an outcome's
    time is none of these, it is one more stop. Over a stretch of time an outcome is read at every stop within and
    at both ends, and averaged by the trapezoidal rule.

    Args:
        refine: every step is divided by this, to see what the coupling step does.
        watchers: look on.
        until: go on to this time [min] at least.

    Raises:
        SimulationError: naming cell, quantity and time.
    """
    simulation.populate()
    for watcher in watchers:
        watcher.begin(simulation)
    readings: list[list[tuple[float, float]]] = [[] for _ in outcomes]
    before = 0.0
    for stop in _stops_until(simulation, outcomes, until):
        if stop.time > before:
            for _, length in simulation.blocks(before, stop.time):
                simulation.step(length, refine)
            simulation.state.time = before = stop.time
        for p in stop.perturbations:
            p.apply(simulation.state, simulation.actors, simulation.streams)
        for watcher in watchers:
            watcher.look(simulation)
        for outcome, values in zip(outcomes, readings):
            if outcome.start - _SAME_TIME <= stop.time <= outcome.stop + _SAME_TIME:
                values.append((stop.time, outcome.value(simulation)))
    return [_time_mean(values) for values in readings]


def _stops_until(simulation: Simulation, outcomes: Sequence[Outcome], until: float) -> list[Stop]:
    last = max([until, *(o.stop for o in outcomes)])
    stops = [s for s in stops_of(simulation.plan) if s.time <= last + _SAME_TIME]
    for time in sorted({t for o in outcomes for t in (o.start, o.stop)}):
        if all(abs(s.time - time) > _SAME_TIME for s in stops):
            stops.append(Stop(time))
    return sorted(stops, key=lambda s: s.time)


def _time_mean(readings: list[tuple[float, float]]) -> float:
    if len(readings) == 1:
        return readings[0][1]
    area = sum((b - a) * (u + v) / 2 for (a, u), (b, v) in pairwise(readings))
    return area / (readings[-1][0] - readings[0][0])
