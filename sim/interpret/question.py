"""What is asked of a scenario, and what every method needs to answer: models loaded once, runs shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.build import Plan, plan
from sim.core.coupling import Coupling, Response
from sim.errors import ScenarioError, SimulationError
from sim.interpret.effects import Estimate, Row, interval
from sim.interpret.observe import Watcher, observed
from sim.interpret.outcome import Outcome, parse_outcome
from sim.simulation import Simulation

if TYPE_CHECKING:
    import xarray as xr

    from sim.interpret.over import Range
    from sim.scenario import Scenario

#: seeds over which the effect of the coupling step is taken
_STEP_SEEDS = 2


@dataclass(frozen=True)
class Answer:
    """What one method found.

    Attributes:
        rows: for the ranking.
        data: everything it was computed from, in the names of the scenario.
        sentences: what a reader should know beside the rows.
    """

    rows: list[Row]
    data: xr.Dataset
    sentences: list[str] = field(default_factory=list)


class Question:
    """A scenario, an outcome, and how much work may go into the answer.

    Args:
        seeds: paired runs, at least 2; the scenario's own seed is the first, the others follow it.
        over: parameters that may be changed, with their ranges.
        threshold: the value that a counterfactual is to reach.
        samples: points of a sampling design.
        say: hears about the progress.

    Raises:
        ScenarioError: a wrong outcome.
    """

    def __init__(
        self,
        scenario: Scenario,
        outcome: str,
        seeds: int = 3,
        over: Mapping[str, Range] | None = None,
        threshold: float | None = None,
        samples: int = 16,
        say: Callable[[str], None] | None = None,
    ):
        if seeds < 2:
            raise ScenarioError(f"--seeds {seeds}: an interval needs at least 2")
        self.scenario = scenario
        self.plan: Plan = plan(scenario)
        self.outcome: Outcome = parse_outcome(outcome, self.plan)
        self.seeds = [(self.plan.seed + k) % 2**64 for k in range(seeds)]
        self.over = dict(over or {})
        self.threshold = threshold
        self.samples = samples
        self.say = say or (lambda _text: None)
        self._intact: dict[int, float] = {}
        self._watchers: list[Watcher] = []

    @cached_property
    def simulation(self) -> Simulation:
        """The loaded models; `again` makes runs of them."""
        self.say("loading models and compiling kernels")
        return Simulation(self.plan)

    # ---- runs

    def watch(self, watcher: Watcher) -> None:
        """Let `watcher` look at every intact run; to be asked before the first."""
        self._watchers.append(watcher)

    @cached_property
    def intact(self) -> np.ndarray:
        """The outcome (seed,) of the runs as they are."""
        return np.array([self.run(seed, "intact", watchers=self._watchers) for seed in self.seeds])

    @cached_property
    def baseline(self) -> Estimate:
        return interval(self.intact)

    @cached_property
    def step_error(self) -> Estimate:
        """What the coupling step does to the outcome (Richardson's estimate from halved steps)."""
        order = 2 if self.plan.scenario.time.splitting == "strang" else 1
        scale = 2**order / (2**order - 1)
        chosen = self.seeds[:_STEP_SEEDS]
        halved = np.array([self.run(seed, "half the step", refine=2) for seed in chosen])
        return interval(scale * (self.intact[: len(chosen)] - halved))

    @cached_property
    def splitting_error(self) -> dict[str, float]:
        """Relative error by quantity of one block at the start, for exchanging only at the coupling steps."""
        simulation = self.at_start(self.seeds[0])
        ((_, length), *_) = simulation.blocks(0.0, self.outcome.stop)
        return simulation.splitting_error(length)

    def run(
        self,
        seed: int,
        name: str,
        cut: tuple[int, ...] = (),
        responses: Mapping[int, Response] | None = None,
        refine: int = 1,
        watchers: list[Watcher] | tuple[Watcher, ...] = (),
    ) -> float:
        """The outcome of one variant of the run.

        Raises:
            SimulationError: it failed; names the variant.
        """
        self.say(f"seed {seed}: {name}")
        try:
            return observed(self.simulation.again(seed, cut, responses), self.outcome, refine, watchers)
        except SimulationError as error:
            raise SimulationError(f"{name}, seed {seed}: {error}") from error

    def at_start(self, seed: int) -> Simulation:
        """The intact run at time 0."""
        simulation = self.simulation.again(seed)
        simulation.populate()
        return simulation

    # ---- names

    @cached_property
    def coupling_names(self) -> list[str]:
        """One name for each coupling: source and target, with cells or place where these are not unique."""
        names = [c.name for c in self.plan.couplings]
        return [
            n if names.count(n) == 1 else f"{n} ({self._which(c)})"
            for n, c in zip(names, self.plan.couplings)
        ]

    def key_of(self, coupling: Coupling) -> str:
        """Where the coupling stands in the scenario."""
        return dotted(self.plan.keys[self.plan.couplings.index(coupling)])

    def unit_of(self, name: str) -> str:
        """Unit of a quantity of the plan, "1" where unknown."""
        for p in self.plan.processes:
            for q in p.quantities:
                if q.name == name:
                    return q.unit or "1"
        return "1"

    def _which(self, coupling: Coupling) -> str:
        place = self.key_of(coupling)
        cells = ", ".join(self.plan.type_names[code] for code in sorted(coupling.types or ()))
        return f"{cells}; {place}" if cells else place


def dotted(key: Any) -> str:
    """`couplings[0].to` for ("couplings", 0, "to")."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
