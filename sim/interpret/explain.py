"""Why did it happen? A ranking of what drives an outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.build import Plan, plan
from sim.core.coupling import Coupling
from sim.errors import ScenarioError, escaped
from sim.interpret.ablation import LEVEL, Ablation, Estimate, ablate, interval
from sim.interpret.outcome import Outcome, parse_outcome
from sim.spelling import did_you_mean, one_of

if TYPE_CHECKING:
    import xarray as xr

    from sim.scenario import Scenario

METHODS = ("ablation",)

#: verdicts, the firm ones first
RAISES, LOWERS = "raises", "lowers"
WITHIN_STEP_ERROR = "below the coupling error"
CANNOT_TELL = "cannot tell"
NO_EFFECT = "no effect"
UNDEFINED = "undefined"


def explain(
    scenario: Scenario,
    outcome: str,
    methods: Sequence[str] = ("ablation",),
    seeds: int = 5,
    say: Callable[[str], None] | None = None,
) -> xr.Dataset:
    """Rank the couplings of a scenario by what they do to an outcome.

    Args:
        outcome: see `sim.interpret.outcome`, for example `count(pc9) @ 72 h`.
        methods: `ablation`, each coupling cut with paired random numbers: a total effect.
        seeds: paired runs for each coupling, at least 2.
        say: hears about the progress.

    Returns:
        Dim coupling, best ranked first. `effect` (intact minus cut, mean over seeds) with its 90 % t-interval
        `lower`, `upper`; `relative` to the intact outcome; `rank`, 1 for the strongest; `verdict`: raises,
        lowers, `cannot tell` where the interval holds 0, `below the coupling error` where the effect is smaller
        than what the coupling step itself does, `no effect` where nothing changed in any run, `undefined` where
        a run has no outcome. `difference` (coupling, seed) and `intact` (seed) are what it was computed from.
        Clear effects rank before those that nothing can be told of.

    Raises:
        ScenarioError: an unknown method, a wrong outcome, or a scenario without couplings.
        SimulationError: a run failed; names the cut.
    """
    for method in methods:
        if method not in METHODS:
            raise ScenarioError(
                f"--method {escaped(method)}: unknown; use {one_of(METHODS)}{did_you_mean(method, METHODS)}"
            )
    if seeds < 2:
        raise ScenarioError(f"--seeds {seeds}: an interval needs at least 2")
    planned = plan(scenario)
    wanted = parse_outcome(outcome, planned)
    if not planned.couplings:
        raise ScenarioError(f"{scenario.file}: there are no couplings to cut; add some under 'couplings'")
    return _ranking(ablate(planned, wanted, seeds, say), planned, wanted)


def _ranking(found: Ablation, planned: Plan, outcome: Outcome) -> xr.Dataset:
    import xarray as xr

    effects = [interval(d) for d in found.differences]
    step = found.step_error
    verdicts = [judged(e, d, step) for e, d in zip(effects, found.differences)]
    order = sorted(
        range(len(effects)), key=lambda i: (_firmness(verdicts[i]), -abs(np.nan_to_num(effects[i].mean)))
    )
    baseline = interval(found.intact)
    unit = outcome.unit

    def column(values: list, meaning: str, units: str = "1", dtype: Any = float) -> tuple:
        return (
            "coupling",
            np.array([values[i] for i in order], dtype),
            {"units": units, "long_name": meaning},
        )

    return xr.Dataset(
        {
            "effect": column([e.mean for e in effects], "total effect: intact minus cut", unit),
            "lower": column([e.lower for e in effects], "lower end of the 90 % interval", unit),
            "upper": column([e.upper for e in effects], "upper end of the 90 % interval", unit),
            "relative": column(
                [_ratio(e.mean, baseline.mean) for e in effects], "effect over the intact outcome"
            ),
            "rank": (
                "coupling",
                np.arange(1, len(order) + 1),
                {"units": "1", "long_name": "rank, 1 is strongest"},
            ),
            "verdict": column(verdicts, "what can be told", dtype=object),
            "difference": (
                ("coupling", "seed"),
                found.differences[order],
                {"units": unit, "long_name": "total effect by seed"},
            ),
            "intact": ("seed", found.intact, {"units": unit, "long_name": "outcome of the intact run"}),
        },
        coords={
            "coupling": column(_names(planned), "coupling that was cut", dtype=object),
            "mode": column(
                [c.mode for c in found.couplings], "how the coupling acts on its target", dtype=object
            ),
            "key": column(
                [_dotted(k) for k in planned.keys], "where it stands in the scenario", dtype=object
            ),
            "seed": np.array(found.seeds, np.uint64),
        },
        attrs={
            "outcome": outcome.text,
            "time": outcome.when,
            "units": unit,
            "kind": "total",
            "method": "ablation",
            "level": LEVEL,
            "baseline": baseline.mean,
            "baseline_lower": baseline.lower,
            "baseline_upper": baseline.upper,
            "coupling_error": step.mean,
            "coupling_error_lower": step.lower,
            "coupling_error_upper": step.upper,
            "scenario": planned.scenario.name,
            "scenario_sha256": planned.scenario.sha256,
        },
    )


def judged(effect: Estimate, differences: np.ndarray, step: Estimate) -> str:
    """What can be told of an effect, given its paired differences (seed,) and what the coupling step does."""
    if np.isnan(effect.mean):
        return UNDEFINED
    if not differences.any():
        return NO_EFFECT
    if not effect.clear:
        return CANNOT_TELL
    # only a step error that is itself told from chance can put an effect in doubt
    if step.clear and abs(effect.mean) < abs(step.mean):
        return WITHIN_STEP_ERROR
    return RAISES if effect.mean > 0 else LOWERS


def _firmness(verdict: str) -> int:
    return {RAISES: 0, LOWERS: 0, WITHIN_STEP_ERROR: 1, CANNOT_TELL: 1, NO_EFFECT: 2}.get(verdict, 3)


def _ratio(effect: float, baseline: float) -> float:
    return effect / baseline if baseline else float("nan")


def _names(planned: Plan) -> list[str]:
    """One name for each coupling: source and target, with cells or place where these alone are not unique."""
    names = [c.name for c in planned.couplings]
    return [
        n if names.count(n) == 1 else f"{n} ({_which(c, planned)})" for n, c in zip(names, planned.couplings)
    ]


def _which(coupling: Coupling, planned: Plan) -> str:
    place = _dotted(planned.keys[planned.couplings.index(coupling)])
    cells = ", ".join(planned.type_names[code] for code in sorted(coupling.types or ()))
    return f"{cells}; {place}" if cells else place


def _dotted(key: Sequence[str | int]) -> str:
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
