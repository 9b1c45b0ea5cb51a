"""One clock for processes of different pace.

Processes are sorted into levels by their step, slowest first. A level of step T wraps the faster ones:
Strang splitting takes half of T, then the faster levels over T, then the other half in reverse order, which is
second order in T (Strang 1968); Lie splitting takes the whole of T first and is first order. Within a level
the order is a fixed one, whatever the order of listing: by cost, then by name, as the last of the fastest level is not
cut in two. Discrete processes follow at the end of each step of their level, quasi-steady ones settle at its beginning.
"""

from __future__ import annotations

import itertools
import math
import time as wall
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sim.core.process import Process
from sim.core.signals import Signals
from sim.core.state import State

Splitting = Literal["strang", "lie"]

#: relative slack when an interval is cut into whole steps: 60.000000001 min is one hour
_SLACK = 1e-9


@dataclass
class Level:
    """Processes that share a step [min]."""

    step: float
    settling: list[Process] = field(default_factory=list)
    flowing: list[Process] = field(default_factory=list)
    discrete: list[Process] = field(default_factory=list)


class Schedule:
    """Takes the state from one time to another.

    Args:
        processes: any order.
        step: the coupling step [min]; no process steps further without hearing from the others unless its
            own step is larger.
        splitting: `strang` or `lie`.
    """

    def __init__(self, processes: Sequence[Process], step: float, splitting: Splitting = "strang"):
        self.splitting = splitting
        self.step = step
        #: called after each step with the process that took it, for those who ask what moved a quantity
        self.watch: Callable[[Process], None] | None = None
        self.seconds: dict[str, float] = {p.name: 0.0 for p in processes}
        self.levels = _levels(processes, step)

    @property
    def longest_step(self) -> float:
        return self.levels[0].step

    def blocks(self, start: float, stop: float) -> list[tuple[float, float]]:
        """The interval cut into equal (start, length) blocks no longer than the slowest step."""
        count = _whole_steps(stop - start, self.longest_step)
        edges = [start + (stop - start) * k / count for k in range(count)] + [stop]
        return [(a, b - a) for a, b in itertools.pairwise(edges)]

    def block(
        self, state: State, signals: Signals, length: float, *, discrete: bool = True, refine: int = 1
    ) -> None:
        """Advance by one block.

        Args:
            discrete: False leaves events out, to measure the splitting alone.
            refine: every step of every level is divided by this.
        """

        def step(process: Process, at: float, dt: float) -> None:
            # each is told the time that it has come to itself: halves of a step are taken at different times
            state.time = at
            started = wall.perf_counter()
            process.advance(state, signals, dt)
            state.steps[process.name] += 1
            state.changed()
            self.seconds[process.name] += wall.perf_counter() - started
            if self.watch is not None:
                self.watch(process)

        start = state.time
        for k in range(refine):
            self._descend(0, start + length * k / refine, length / refine, state, step, discrete, refine)

    def _descend(
        self,
        depth: int,
        start: float,
        length: float,
        state: State,
        step: Callable[[Process, float, float], None],
        discrete: bool,
        refine: int,
    ) -> None:
        level = self.levels[depth]
        for process in level.settling:
            step(process, start, length)
        innermost = depth == len(self.levels) - 1
        outer, core = (level.flowing[:-1], level.flowing[-1:]) if innermost else (level.flowing, [])
        lie = self.splitting == "lie"
        for process in outer:
            step(process, start, length if lie else length / 2)
        for process in core:
            step(process, start, length)
        if not innermost:
            count = _whole_steps(length, self.levels[depth + 1].step / refine)
            for k in range(count):
                self._descend(
                    depth + 1, start + length * k / count, length / count, state, step, discrete, refine
                )
        if not lie:
            for process in reversed(outer):
                step(process, start + length / 2, length / 2)
        state.time = start + length
        if discrete and level.discrete:
            for process in level.discrete:
                step(process, state.time, length)
            state.compact()


def _levels(processes: Sequence[Process], step: float) -> list[Level]:
    paces = sorted({max(p.step, step) for p in processes} | {step}, reverse=True)
    levels = [Level(pace) for pace in paces]
    for process in sorted(processes, key=lambda p: (p.cost, p.name)):
        level = levels[paces.index(max(process.step, step))]
        {"quasi-steady": level.settling, "dynamic": level.flowing, "discrete": level.discrete}[
            process.kind
        ].append(process)
    return levels


def _whole_steps(interval: float, step: float) -> int:
    return max(1, math.ceil(interval / step * (1 - _SLACK)))
