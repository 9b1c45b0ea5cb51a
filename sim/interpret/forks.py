"""Where a variant begins to differ from the intact run: up to there one run serves both, to the bit.

A run without a coupling is the intact run for as long as the coupling says what its target has without it, as
a drug does that is not yet there. A run with another dose is it up to the stop before the dose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from sim.build import Plan
from sim.controller import SAME_TIME
from sim.interpret.observe import Fork
from sim.interpret.outcome import Outcome
from sim.interpret.variants import Variant
from sim.simulation import Simulation

#: parts of a perturbation that say what it does; all others say when
_WHAT = re.compile(r"perturbations\[(\d+)\]\.(?:to|by|fraction)")


def can_fork(variant: Variant, plan: Plan) -> bool:
    """Whether it may share a beginning with the intact run."""
    if variant.refine != 1 or variant.held or variant.scaled or variant.outcome:
        return False
    return bool(variant.cut) or bool(variant.undone) or _first_act(variant, plan) is not None


class Forks:
    """Watches the intact run of a seed.

    Attributes:
        found: where each variant leaves it; None for those that never do.
    """

    def __init__(self, variants: Iterable[Variant], outcome: Outcome):
        self._open = list(variants)
        self._outcome = outcome
        self._last: Fork | None = None
        self._readings: list[tuple[float, float]] = []
        self.found: dict[Variant, Fork | None] = {}

    def begin(self, simulation: Simulation) -> None:
        earlier = simulation.schedule.watch

        def after(process) -> None:
            if earlier is not None:
                earlier(process)
            self._part(simulation)

        simulation.schedule.watch = after
        self._acts = {v: _first_act(v, simulation.plan) for v in self._open}

    def look(self, simulation: Simulation) -> None:
        """At each stop, after what was due there."""
        time = simulation.state.time
        for variant in [v for v in self._open if self._acted(v, time)]:
            self._leave(variant)
        if not self._open:
            return
        if self._outcome.start - SAME_TIME <= time <= self._outcome.stop + SAME_TIME:
            self._readings.append((time, self._outcome.value(simulation)))
        self._last = Fork(time, simulation.state.snapshot(), tuple(self._readings))
        self._part(simulation)
        if time >= self._outcome.stop - SAME_TIME:
            self.found |= dict.fromkeys(self._open)
            self._open = []

    # ---- parts

    def _part(self, simulation: Simulation) -> None:
        """Variants whose target is now another one leave at the last stop."""
        for variant in [v for v in self._open if v.cut and _differs(v, simulation)]:
            self._leave(variant)

    def _leave(self, variant: Variant) -> None:
        self._open.remove(variant)
        if self._last is not None:
            self.found[variant] = self._last

    def _acted(self, variant: Variant, time: float) -> bool:
        first = self._acts[variant]
        return first is not None and time >= first - SAME_TIME


def _differs(variant: Variant, simulation: Simulation) -> bool:
    signals = simulation.signals
    targets = {c.target for c in simulation.plan.couplings if c.index in variant.cut}
    return any(
        not np.array_equal(signals[t], signals.without(t, variant.cut), equal_nan=True) for t in targets
    )


def _first_act(variant: Variant, plan: Plan) -> float | None:
    """When the first of the perturbations acts that the variant changes; None where it changes something else."""
    places = list(variant.undone)
    for key, _ in variant.values:
        match = _WHAT.fullmatch(key)
        if match is None:
            return None
        places.append(int(match[1]))
    times = [t for p in plan.perturbations if p.index in places for t in p.times]
    return min(times, default=None)
