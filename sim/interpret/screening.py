"""How the outcome answers to parameters of the scenario: local slopes, Morris' screening, Sobol's indices.

local   d ln(outcome) / d ln(parameter) by central differences of 5 %, with paired random numbers
morris  elementary effects over the whole ranges (Morris 1991): mean of their sizes, and its interval
sobol   share of the outcome's variance, of first order and total (Saltelli 2010), with bootstrapped intervals
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.errors import ScenarioError
from sim.interpret.effects import (
    CANNOT_TELL,
    LEVEL,
    LOWERS,
    MATTERS,
    NO_EFFECT,
    RAISES,
    Row,
    interval,
    judged,
)
from sim.interpret.over import Range, current, outcome_at
from sim.interpret.question import Answer, Question

_LOCAL_STEP = 0.05
_MORRIS_LEVELS = 4


class Screening:
    """One of `local`, `morris` and `sobol` over the question's parameters."""

    def __init__(self, question: Question, method: str):
        if not question.over:
            raise ScenarioError(
                f"--method {method}: name the parameters with --over KEY=LOW..HIGH, "
                "for example --over pathway.egfr.k_mek=0.5..2"
            )
        self.question = question
        self.method = method

    def answer(self) -> Answer:
        if self.method == "local":
            return self._local()
        return self._morris() if self.method == "morris" else self._sobol()

    # ---- the methods

    def _local(self) -> Answer:
        q = self.question
        rows, found = [], []
        for name, r in q.over.items():
            here = current(r, q)
            if here is None or here == 0:
                raise ScenarioError(f"--over {name}: has no value in the scenario to take the slope at")
            slopes = []
            for k, seed in enumerate(q.seeds):
                ends = [outcome_at(q, {name: here * (1 + s * _LOCAL_STEP)}, seed) for s in (1, -1)]
                slopes.append((ends[0] - ends[1]) / (2 * _LOCAL_STEP) / (q.intact[k] or np.nan))
            e = interval(np.array(slopes))
            found.append(slopes)
            rows.append(self._row(name, e.mean, e.lower, e.upper, judged(e, np.array(slopes)), "1"))
        return Answer(rows, self._data({"slope": (("parameter", "seed"), np.array(found))}, seed=q.seeds))

    def _morris(self) -> Answer:
        from SALib.analyze import morris as analysis
        from SALib.sample import morris as sampling

        q = self.question
        problem = problem_of(q.over)
        design = sampling.sample(problem, q.samples, num_levels=_MORRIS_LEVELS, seed=int(q.plan.seed % 2**32))
        outcomes = self._outcomes(design)
        found = analysis.analyze(
            problem,
            design,
            outcomes,
            conf_level=LEVEL,
            num_levels=_MORRIS_LEVELS,
            seed=int(q.plan.seed % 2**32),
        )
        rows = []
        for k, name in enumerate(q.over):
            size, half, mean = (
                float(np.ma.filled(found[n], np.nan)[k]) for n in ("mu_star", "mu_star_conf", "mu")
            )
            same = np.sign(mean) if abs(mean) > 0.9 * size else 0
            told = NO_EFFECT if size == 0 else CANNOT_TELL if size - half <= 0 else MATTERS
            if told == MATTERS and same:
                told = RAISES if same > 0 else LOWERS
            rows.append(self._row(name, size, size - half, size + half, told, q.outcome.unit))
        data = {
            n: ("parameter", np.asarray(np.ma.filled(found[n], np.nan), float))
            for n in ("mu", "mu_star", "sigma", "mu_star_conf")
        }
        return Answer(rows, self._data({**data, **self._designed(design, outcomes)}))

    def _sobol(self) -> Answer:
        q = self.question
        problem = problem_of(q.over)
        design = sobol_design(problem, q.samples, q.plan.seed)
        outcomes = self._outcomes(design)
        found = sobol_indices(problem, outcomes, q.plan.seed)
        rows = []
        for k, name in enumerate(q.over):
            total, half = float(found["ST"][k]), float(found["ST_conf"][k])
            told = NO_EFFECT if total == 0 else CANNOT_TELL if not total - half > 0 else MATTERS
            rows.append(self._row(name, total, total - half, total + half, told, "1"))
        data = {n: ("parameter", np.asarray(found[n], float)) for n in ("S1", "S1_conf", "ST", "ST_conf")}
        spread = float(np.var(outcomes))
        return Answer(
            rows,
            self._data({**data, **self._designed(design, outcomes)}),
            [f"Over these ranges the outcome varies by a standard deviation of {np.sqrt(spread):.3g}."],
        )

    # ---- parts

    def _outcomes(self, design: np.ndarray) -> np.ndarray:
        """The outcome of each row of a design in [0, 1]; all with the scenario's own random numbers."""
        q = self.question
        ranges = list(q.over.values())
        return np.array(
            [outcome_at(q, {r.name: r.at(u) for r, u in zip(ranges, row)}, q.seeds[0]) for row in design]
        )

    def _row(self, name: str, effect: float, lower: float, upper: float, verdict: str, unit: str) -> Row:
        q = self.question
        size = abs(q.baseline.mean)
        relative = effect if unit == "1" else effect / size if size else float("nan")
        return Row(
            quantity=name,
            on=q.outcome.text,
            effect=effect,
            lower=lower,
            upper=upper,
            relative=relative,
            unit=unit,
            kind="total",
            method=self.method,
            time=q.outcome.when,
            verdict=verdict,
        )

    def _designed(self, design: np.ndarray, outcomes: np.ndarray) -> dict[str, Any]:
        values = np.array([[r.at(u) for r, u in zip(self.question.over.values(), row)] for row in design])
        return {"value": (("run", "parameter"), values), "outcome": ("run", outcomes)}

    def _data(self, variables: dict[str, Any], **coords: Any):
        import xarray as xr

        ranges = list(self.question.over.values())
        return xr.Dataset(
            variables,
            coords={
                "parameter": np.array([r.name for r in ranges], object),
                "low": ("parameter", [r.low for r in ranges]),
                "high": ("parameter", [r.high for r in ranges]),
                "unit": ("parameter", np.array([r.unit or "1" for r in ranges], object)),
                **{k: np.array(v, np.uint64) for k, v in coords.items()},
            },
            attrs={"kind": "total", "method": self.method, "level": LEVEL},
        )


def problem_of(over: dict[str, Range]) -> dict[str, Any]:
    """The ranges as SALib takes them, each on [0, 1]."""
    return {"num_vars": len(over), "names": list(over), "bounds": [[0.0, 1.0]] * len(over)}


def sobol_design(problem: dict[str, Any], samples: int, seed: int) -> np.ndarray:
    """Saltelli's points (row, parameter) for `sobol_indices`; samples rounded up to a power of two."""
    from SALib.sample import sobol as sampling

    count = 1 << max(2, (samples - 1).bit_length())
    return sampling.sample(problem, count, calc_second_order=False, seed=int(seed % 2**32))


def sobol_indices(problem: dict[str, Any], outcomes: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """S1, ST and the half-widths of their 90 % intervals by bootstrap; zeros where the outcome never changes."""
    from SALib.analyze import sobol as analysis

    if np.ptp(outcomes) == 0:
        return {n: np.zeros(problem["num_vars"]) for n in ("S1", "S1_conf", "ST", "ST_conf")}
    found = analysis.analyze(
        problem, outcomes, calc_second_order=False, conf_level=LEVEL, seed=int(seed % 2**32)
    )
    return {n: np.asarray(found[n], float) for n in ("S1", "S1_conf", "ST", "ST_conf")}
