"""Total effects: what changes in an outcome when one coupling is cut, everything else left to follow.

Intact and cut runs share their random numbers cell by cell and step by step, so that what differs between the two
comes from the coupling and from nothing else; the spread over seeds is what the tissue's own chance does to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sim.build import Plan
from sim.core.coupling import Coupling
from sim.errors import SimulationError
from sim.interpret.observe import observed
from sim.interpret.outcome import Outcome
from sim.simulation import Simulation

#: coverage of the intervals
LEVEL = 0.9


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its t-interval."""

    mean: float
    lower: float
    upper: float

    @property
    def clear(self) -> bool:
        """True where the interval leaves 0 out."""
        return self.lower > 0 or self.upper < 0


@dataclass(frozen=True)
class Ablation:
    """What cutting each coupling did.

    Attributes:
        couplings: (coupling,).
        seeds: (seed,).
        intact: outcome (seed,) of the runs as they are.
        cut: outcome (coupling, seed) with that coupling left out.
        halved: outcome (seed,) of intact runs with every step halved.
        order: of the splitting, 2 for Strang and 1 for Lie.
    """

    couplings: list[Coupling]
    seeds: list[int]
    intact: np.ndarray
    cut: np.ndarray
    halved: np.ndarray
    order: int

    @property
    def differences(self) -> np.ndarray:
        """Total effect (coupling, seed): intact minus cut, each pair with the same random numbers."""
        return self.intact - self.cut

    @property
    def step_error(self) -> Estimate:
        """What the coupling step does to the outcome (Richardson's estimate from the halved steps)."""
        scale = 2**self.order / (2**self.order - 1)
        return interval(scale * (self.intact - self.halved))


def ablate(plan: Plan, outcome: Outcome, seeds: int, say: Callable[[str], None] | None = None) -> Ablation:
    """Run the plan intact, with halved steps, and once without each of its couplings, over `seeds` seeds.

    The first seed is the scenario's own, the others follow it.

    Raises:
        SimulationError: a run failed; names the cut.
    """
    chosen = [(plan.seed + k) % 2**64 for k in range(seeds)]
    loaded = Simulation(plan)
    variants: list[tuple[str, tuple[int, ...], int]] = [("intact", (), 1), ("intact, half the step", (), 2)]
    variants += [(f"without {c.name}", (c.index,), 1) for c in plan.couplings]
    found = np.empty((len(variants), seeds))
    total = found.size
    for column, seed in enumerate(chosen):
        for row, (name, cut, refine) in enumerate(variants):
            if say is not None:
                say(f"run {column * len(variants) + row + 1} of {total}: seed {seed}, {name}")
            try:
                found[row, column] = observed(loaded.again(seed, cut), outcome, refine)
            except SimulationError as error:
                raise SimulationError(f"{name}, seed {seed}: {error}") from error
    order = 2 if plan.scenario.time.splitting == "strang" else 1
    return Ablation(plan.couplings, chosen, found[0], found[2:], found[1], order)


def interval(differences: np.ndarray, level: float = LEVEL) -> Estimate:
    """Mean of paired differences (seed,) with Student's t-interval. NaN where a run has no outcome."""
    from scipy.stats import t

    n = len(differences)
    mean = float(np.mean(differences))
    half = float(t.ppf((1 + level) / 2, n - 1) * np.std(differences, ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half)
