"""Total effects: what an outcome does when one coupling is cut, held or strengthened, all else left to follow.

Every pair of runs shares its random numbers cell by cell and step by step, so that what differs between the two
comes from the coupling and from nothing else; the spread over seeds is what the tissue's own chance does to it.

    ablation   the coupling is left out; its target keeps its own base value. Effect: intact minus cut.
    clamp      the coupling tells what its source was at the start, on the mean over the cells. Effect: intact minus
               clamped, so what the source's changes did.
    scaling    what the coupling says is taken 10 % larger and 10 % smaller. Effect: change of the outcome for
               doubling, by the slope between the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.core.coupling import Coupling
from sim.errors import ScenarioError
from sim.interpret.effects import interval, judged
from sim.interpret.question import Answer, Question
from sim.interpret.variants import INTACT, Variant

#: by how much `scaling` strengthens and weakens a coupling
_SCALING = 0.1


class Intervention:
    """Total effects of couplings by one way of intervening: `ablation`, `clamp` or `scaling`."""

    def __init__(self, question: Question, method: str):
        if not question.plan.couplings:
            raise ScenarioError(
                f"{question.scenario.file}: there are no couplings to cut; add some under 'couplings'"
            )
        self.question = question
        self.method = method
        self.variants = [
            self._of(c, name) for c, name in zip(question.plan.couplings, question.coupling_names)
        ]
        question.need(v for pair in self.variants for v in pair)

    def answer(self) -> Answer:
        """Runs what was not run yet.

        Raises:
            SimulationError: a run failed; names the coupling.
        """
        q = self.question
        effects = np.array([self._effect(variants) for variants in self.variants])
        rows = [
            q.row(self.method, name, e, judged(e, differences, q.step_error))
            for name, e, differences in zip(q.coupling_names, map(interval, effects), effects)
        ]
        return Answer(rows, self._data(effects))

    def leading(self, seeds: int) -> list[tuple[str, float]]:
        """Couplings with their mean effects over the first seeds, the strongest first."""
        q = self.question
        found = [
            (name, float(self._effect(v, q.seeds[:seeds]).mean()))
            for name, v in zip(q.coupling_names, self.variants)
        ]
        return sorted(found, key=lambda item: -abs(item[1]))

    # ---- parts

    def _of(self, c: Coupling, name: str) -> list[Variant]:
        """The runs that tell what a coupling does."""
        if self.method == "ablation":
            return [Variant(f"without {name}", cut=(c.index,))]
        if self.method == "clamp":
            return [Variant(f"{name} as at the start", held=(c.index,))]
        factors = (1 + _SCALING, 1 - _SCALING)
        return [Variant(f"{name} times {f:g}", scaled=((c.index, f),)) for f in factors]

    def _effect(self, variants: list[Variant], seeds: Sequence[int] | None = None) -> np.ndarray:
        """The effect (seed,)."""
        q = self.question
        found = [q.outcomes(v, seeds) for v in variants]
        if self.method == "scaling":
            return (found[0] - found[1]) / (2 * _SCALING)
        return q.outcomes(INTACT, seeds) - found[0]

    def _data(self, effects: np.ndarray):
        import xarray as xr

        q = self.question
        unit = q.outcome.unit
        return xr.Dataset(
            {
                "effect": (
                    ("coupling", "seed"),
                    effects,
                    {"units": unit, "long_name": "total effect by seed"},
                ),
                "intact": ("seed", q.intact, {"units": unit, "long_name": "outcome of the intact run"}),
            },
            coords={
                "coupling": np.array(q.coupling_names, object),
                "mode": ("coupling", np.array([c.mode for c in q.plan.couplings], object)),
                "key": ("coupling", np.array([q.key_of(c) for c in q.plan.couplings], object)),
                "seed": np.array(q.seeds, np.uint64),
            },
            attrs={"kind": "total", "method": self.method},
        )
