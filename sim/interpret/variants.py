"""The ways in which a run may differ from its scenario, and a bench that runs any of them with models loaded once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.build import Plan, plan
from sim.core.coupling import Coupling, Response, Towards
from sim.errors import CellweaveError, SimulationError
from sim.interpret.observe import Fork, Watcher, observed
from sim.interpret.outcome import Outcome, parse_outcome
from sim.simulation import Simulation

if TYPE_CHECKING:
    from sim.scenario import Scenario


@dataclass(frozen=True)
class Variant:
    """One way in which a run differs from the scenario.

    Attributes:
        name: in words, for messages.
        cut: indices of couplings that are left out.
        held: of couplings whose source is held at its mean over the cells at time 0.
        scaled: (index, factor) of couplings whose answer is multiplied.
        undone: indices of perturbations that are left out.
        values: (dotted key, YAML text) of values of the scenario.
        refine: every step is divided by this.
        outcome: another one than what is asked about.
    """

    name: str = field(compare=False)
    cut: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    scaled: tuple[tuple[int, float], ...] = ()
    undone: tuple[int, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    refine: int = 1
    outcome: str = ""

    @property
    def text(self) -> str:
        """In what it differs, without its name: the same for equal variants."""
        return json.dumps({k: v for k, v in asdict(self).items() if k != "name" and v != getattr(Variant, k)})


INTACT = Variant("intact")
HALF_STEP = Variant("half the step", refine=2)


class Bench:
    """A scenario and an outcome, with models and kernels loaded once.

    Raises:
        ScenarioError: a wrong outcome.
    """

    def __init__(self, scenario: Scenario, outcome: str):
        self.scenario = scenario
        self.plan: Plan = plan(scenario)
        self.outcome: Outcome = parse_outcome(outcome, self.plan)

    @cached_property
    def simulation(self) -> Simulation:
        """The loaded models; `again` makes runs of them."""
        return Simulation(self.plan)

    def at_start(self, seed: int) -> Simulation:
        """The intact run at time 0."""
        simulation = self.simulation.again(seed)
        simulation.populate()
        return simulation

    def run(
        self,
        variant: Variant,
        seed: int,
        watchers: Sequence[Watcher] = (),
        fork: Fork | None = None,
        responses: Mapping[int, Response] | None = None,
    ) -> float:
        """The outcome of one variant.

        Args:
            fork: from where on it differs from the intact run of this seed.
            responses: more of them, by the index of a coupling.

        Raises:
            SimulationError: it failed; names the variant.
        """
        try:
            if variant.values:
                return self._changed(variant, seed, fork)
            given = {**self._responses(variant, seed), **(responses or {})}
            run = self.simulation.again(seed, variant.cut, given)
            outcome = parse_outcome(variant.outcome, self.plan) if variant.outcome else self.outcome
            return observed(run, outcome, variant.refine, watchers, fork, variant.undone)
        except SimulationError as error:
            raise SimulationError(f"{variant.name}, seed {seed}: {error}") from error

    # ---- parts

    def _changed(self, variant: Variant, seed: int, fork: Fork | None) -> float:
        changed = plan(self.scenario.with_values(dict(variant.values)))
        outcome = parse_outcome(variant.outcome or self.outcome.text, changed)
        return observed(Simulation(changed).again(seed), outcome, variant.refine, fork=fork)

    def _responses(self, variant: Variant, seed: int) -> dict[int, Response]:
        by_index = {c.index: c for c in self.plan.couplings}
        found: dict[int, Response] = {i: scaled(by_index[i], factor) for i, factor in variant.scaled}
        if variant.held:
            start = self.at_start(seed)
            found |= {i: held_at_start(by_index[i], start) for i in variant.held}
        return found


# ---- other responses


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


def held_at_start(coupling: Coupling, start: Simulation) -> Response:
    """The coupling's response with its source held at what it is on the mean over the cells at time 0."""
    values = start.signals[coupling.source]
    where = start.signals.members_of(coupling.source) & ~np.isnan(values)
    if coupling.types is not None:
        where &= np.isin(start.state["cell.type"], list(coupling.types))
    at = float(values[where].mean()) * coupling.factor if where.any() else 0.0
    if isinstance(coupling.response, Towards):
        return HeldTowards(**_fields(coupling.response), at=at)
    return Held(coupling.response, at)


def scaled(coupling: Coupling, factor: float) -> Response:
    """The coupling's response times `factor`."""
    if isinstance(coupling.response, Towards):
        return ScaledTowards(**_fields(coupling.response), factor=factor)
    return Scaled(coupling.response, factor)


def _fields(rule: Towards) -> dict[str, float]:
    return {"to": rule.to, "half_max": rule.half_max, "power": rule.power}


# ---- elsewhere


@dataclass(frozen=True)
class Order:
    """One run for a worker: plain data, to be sent to another process or machine."""

    text: str
    file: str
    outcome: str
    variant: Variant
    seed: int
    fork: Fork | None = None
    allow_outside: bool = False


_benches: dict[tuple[str, str, str], Bench] = {}


def run_order(order: Order) -> dict[str, Any]:
    """What a worker does: `status` done with the `outcome`, or failed with the reason in `log`."""
    from sim.machine.threads import use
    from sim.scenario import Scenario

    use(1)
    key = (order.text, order.file, order.outcome)
    try:
        if key not in _benches:
            _benches.clear()
            scenario = Scenario.parse(order.text, order.file, allow_outside=order.allow_outside)
            _benches[key] = Bench(scenario, order.outcome)
        return {"status": "done", "outcome": _benches[key].run(order.variant, order.seed, fork=order.fork)}
    except CellweaveError as error:
        return {"status": "failed", "log": error.text}
