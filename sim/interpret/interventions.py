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

from dataclasses import dataclass

import numpy as np

from sim.core.coupling import Coupling, Response, Towards
from sim.errors import ScenarioError
from sim.interpret.effects import Row, interval, judged, ratio
from sim.interpret.question import Answer, Question

#: by how much `scaling` strengthens and weakens a coupling
_SCALING = 0.1


@dataclass(frozen=True)
class Held:
    """The answer to one value, whatever the source is."""

    response: Response
    at: float
    label: str = "held"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.response(np.full_like(x, self.at))


@dataclass(frozen=True)
class Scaled:
    """An answer times a factor."""

    response: Response
    factor: float
    label: str = "scaled"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.factor * self.response(x)


@dataclass(frozen=True)
class HeldTowards(Towards):
    """The strength of a rule at one value of its signal."""

    at: float = 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return super().__call__(np.full_like(x, self.at))


@dataclass(frozen=True)
class ScaledTowards(Towards):
    """The strength of a rule times a factor."""

    factor: float = 1.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.factor * super().__call__(x)


class Intervention:
    """Total effects of couplings by one way of intervening: `ablation`, `clamp` or `scaling`."""

    def __init__(self, question: Question, method: str):
        if not question.plan.couplings:
            raise ScenarioError(
                f"{question.scenario.file}: there are no couplings to cut; add some under 'couplings'"
            )
        self.question = question
        self.method = method

    def answer(self) -> Answer:
        """Runs it all.

        Raises:
            SimulationError: a run failed; names the coupling.
        """
        q = self.question
        intact = q.intact
        effects = np.array(
            [
                [self._effect(c, name, seed, k) for k, seed in enumerate(q.seeds)]
                for c, name in zip(q.plan.couplings, q.coupling_names)
            ]
        )
        estimates = [interval(e) for e in effects]
        size = float(np.mean(intact))
        rows = [
            Row(
                quantity=name,
                on=q.outcome.text,
                effect=e.mean,
                lower=e.lower,
                upper=e.upper,
                relative=ratio(e.mean, size),
                unit=q.outcome.unit,
                kind="total",
                method=self.method,
                time=q.outcome.when,
                verdict=judged(e, differences, q.step_error),
            )
            for name, e, differences in zip(q.coupling_names, estimates, effects)
        ]
        return Answer(rows, self._data(effects))

    # ---- parts

    def _effect(self, coupling: Coupling, name: str, seed: int, number: int) -> float:
        q, index = self.question, coupling.index
        if self.method == "ablation":
            return q.intact[number] - q.run(seed, f"without {name}", cut=(index,))
        if self.method == "clamp":
            held = held_at_start(coupling, q, seed)
            return q.intact[number] - q.run(seed, f"{name} as at the start", responses={index: held})
        ends = [
            q.run(seed, f"{name} times {1 + sign * _SCALING:g}", responses={index: scaled(coupling, sign)})
            for sign in (1, -1)
        ]
        return (ends[0] - ends[1]) / (2 * _SCALING)

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


def held_at_start(coupling: Coupling, question: Question, seed: int) -> Response:
    """The coupling's response with its source held at what it is on the mean over the cells at time 0."""
    simulation = question.at_start(seed)
    values = simulation.signals[coupling.source]
    where = simulation.signals.members_of(coupling.source) & ~np.isnan(values)
    if coupling.types is not None:
        where &= np.isin(simulation.state["cell.type"], list(coupling.types))
    at = float(values[where].mean()) * coupling.factor if where.any() else 0.0
    if isinstance(coupling.response, Towards):
        return HeldTowards(**_fields(coupling.response), at=at)
    return Held(coupling.response, at)


def scaled(coupling: Coupling, sign: int) -> Response:
    """The coupling's response, stronger (`sign` 1) or weaker (-1)."""
    factor = 1 + sign * _SCALING
    if isinstance(coupling.response, Towards):
        return ScaledTowards(**_fields(coupling.response), factor=factor)
    return Scaled(coupling.response, factor)


def _fields(rule: Towards) -> dict[str, float]:
    return {"to": rule.to, "half_max": rule.half_max, "power": rule.power}
