"""What is asked of a scenario, and what every method needs to answer: models loaded once, runs shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.core.coupling import Coupling
from sim.errors import ScenarioError
from sim.interpret.effects import Estimate, Kind, Row, interval, ratio
from sim.interpret.journal import Journal
from sim.interpret.observe import Watcher
from sim.interpret.outcome import parse_wanted
from sim.interpret.runs import Runs
from sim.interpret.variants import HALF_STEP, INTACT, Bench, Variant
from sim.progress import Progress, Silent
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
        ordered: the rows are in their order: the smallest change first, rather than the largest effect.
    """

    rows: list[Row]
    data: xr.Dataset
    sentences: list[str] = field(default_factory=list)
    ordered: bool = False


class Question:
    """A scenario, an outcome, and how much work may go into the answer.

    Args:
        seeds: paired runs, at least 2; the scenario's own seed is the first, the others follow it.
        over: parameters that may be changed, with their ranges.
        threshold: the value that a counterfactual is to pass.
        wanted: outcomes and the values that `reach` is to bring them to.
        samples: points of a sampling design.
        progress: hears about the runs.
        workers, scheduler: where they are done; see `sim.interpret.runs`.
        journal: keeps those that are finished.

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
        progress: Progress | None = None,
        workers: int | None = 1,
        scheduler: str = "local",
        journal: Journal | None = None,
        wanted: Sequence[str] = (),
    ):
        if seeds < 2:
            raise ScenarioError(f"--seeds {seeds}: an interval needs at least 2")
        self.bench = Bench(scenario, outcome)
        self.scenario, self.plan, self.outcome = scenario, self.bench.plan, self.bench.outcome
        self.seeds = [(self.plan.seed + k) % 2**64 for k in range(seeds)]
        self.over = dict(over or {})
        self.threshold = threshold
        self.wanted = [parse_wanted(text, self.plan) for text in wanted]
        self.samples = samples
        self.progress = progress or Silent()
        self.runs = Runs(self.bench, self.progress, workers, scheduler, journal)
        self._needed: dict[tuple[Variant, int], None] = {}

    @property
    def simulation(self) -> Simulation:
        """The loaded models; `again` makes runs of them."""
        return self.bench.simulation

    # ---- runs

    def watch(self, watcher: Watcher) -> None:
        """Let `watcher` look at every intact run; to be asked before the first."""
        self.runs.watchers.append(watcher)

    def need(self, variants: Iterable[Variant], seeds: Sequence[int] | None = None) -> None:
        """Say before the first run what will be asked for, so that methods share runs and workers do them at once."""
        self._needed |= {(v, s): None for v in variants for s in (seeds or self.seeds)}

    def prepare(self, seed_done: Callable[[int], None] | None = None) -> None:
        """Do all that is needed, seed by seed; see `Runs.fulfil`."""
        self.progress.phase("loading models and compiling kernels")
        jobs = {(INTACT, s): None for s in self.seeds} | self._needed
        jobs |= {(HALF_STEP, s): None for s in self.seeds[:_STEP_SEEDS]}
        place = {s: k for k, s in enumerate(self.seeds)}
        self.runs.fulfil(sorted(jobs, key=lambda job: place[job[1]]), seed_done)

    def outcomes(self, variant: Variant, seeds: Sequence[int] | None = None) -> np.ndarray:
        """The outcome (seed,) of a variant."""
        seeds = self.seeds if seeds is None else seeds
        self.runs.fulfil([(variant, s) for s in seeds])
        return np.array([self.runs[variant, s] for s in seeds])

    @cached_property
    def intact(self) -> np.ndarray:
        """The outcome (seed,) of the runs as they are."""
        return self.outcomes(INTACT)

    @cached_property
    def baseline(self) -> Estimate:
        return interval(self.intact)

    @cached_property
    def step_error(self) -> Estimate:
        """What the coupling step does to the outcome (Richardson's estimate from halved steps)."""
        order = 2 if self.plan.scenario.time.splitting == "strang" else 1
        scale = 2**order / (2**order - 1)
        chosen = self.seeds[:_STEP_SEEDS]
        return interval(scale * (self.intact[: len(chosen)] - self.outcomes(HALF_STEP, chosen)))

    @cached_property
    def splitting_error(self) -> dict[str, float]:
        """Relative error by quantity of one block at the start, for exchanging only at the coupling steps."""
        simulation = self.bench.at_start(self.seeds[0])
        ((_, length), *_) = simulation.blocks(0.0, self.outcome.stop)
        return simulation.splitting_error(length)

    # ---- rows

    def row(
        self,
        method: str,
        quantity: str,
        effect: Estimate,
        verdict: str,
        *,
        on: str = "",
        kind: Kind = "total",
        unit: str | None = None,
        size: float | None = None,
        relative: float | None = None,
        upto: bool = False,
        note: str = "",
    ) -> Row:
        """A line of the ranking.

        Args:
            on: what it acts on; the outcome by default, and then in its unit and beside its size.
            size: what the effect is relative to; or `relative` as it is.
            upto: over all the time to the outcome's, rather than at it.
        """
        if relative is None:
            relative = ratio(effect.mean, float(np.mean(self.intact)) if size is None else size)
        when = self.outcome.when
        return Row(
            quantity=quantity,
            on=on or self.outcome.text,
            effect=effect.mean,
            lower=effect.lower,
            upper=effect.upper,
            relative=relative,
            unit=self.outcome.unit if unit is None else unit,
            kind=kind,
            method=method,
            time=f"0-{when.split('-')[-1]}" if upto else when,
            verdict=verdict,
            note=note,
        )

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
