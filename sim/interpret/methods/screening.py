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
    Estimate,
    Row,
    interval,
    judged,
    ratio,
)
from sim.interpret.over import Range, current, variant_at
from sim.interpret.question import Answer, Question
from sim.interpret.variants import Variant

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
        if method == "local":
            self._ends = {name: self._around(name, r) for name, r in question.over.items()}
            question.need(v for ends in self._ends.values() for v in ends)
        else:
            self.design = self._designed()
            question.need(self._runs(), question.seeds[:1])

    def answer(self) -> Answer:
        if self.method == "local":
            return self._local()
        return self._morris() if self.method == "morris" else self._sobol()

    # ---- the methods

    def _local(self) -> Answer:
        q = self.question
        rows, found = [], []
        for name, ends in self._ends.items():
            up, down = (q.outcomes(v) for v in ends)
            slopes = (up - down) / (2 * _LOCAL_STEP) / np.where(q.intact == 0, np.nan, q.intact)
            e = interval(slopes)
            found.append(slopes)
            rows.append(self._row(name, e, judged(e, slopes), "1"))
        return Answer(rows, self._data({"slope": (("parameter", "seed"), np.array(found))}, seed=q.seeds))

    def _morris(self) -> Answer:
        from SALib.analyze import morris as analysis

        q = self.question
        problem, design, outcomes = problem_of(q.over), self.design, self._outcomes()
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
            rows.append(self._row(name, Estimate(size, size - half, size + half), told, q.outcome.unit))
        data = {
            n: ("parameter", np.asarray(np.ma.filled(found[n], np.nan), float))
            for n in ("mu", "mu_star", "sigma", "mu_star_conf")
        }
        return Answer(rows, self._data({**data, **self._points(outcomes)}))

    def _sobol(self) -> Answer:
        q = self.question
        outcomes = self._outcomes()
        found = sobol_indices(problem_of(q.over), outcomes, q.plan.seed)
        rows = []
        for k, name in enumerate(q.over):
            total, half = float(found["ST"][k]), float(found["ST_conf"][k])
            told = NO_EFFECT if total == 0 else CANNOT_TELL if not total - half > 0 else MATTERS
            rows.append(self._row(name, Estimate(total, total - half, total + half), told, "1"))
        data = {n: ("parameter", np.asarray(found[n], float)) for n in ("S1", "S1_conf", "ST", "ST_conf")}
        spread = float(np.var(outcomes))
        return Answer(
            rows,
            self._data({**data, **self._points(outcomes)}),
            [f"Over these ranges the outcome varies by a standard deviation of {np.sqrt(spread):.3g}."],
        )

    # ---- parts

    def _around(self, name: str, r: Range) -> list[Variant]:
        """The runs on both sides of the present value."""
        here = current(r, self.question)
        if here is None or here == 0:
            raise ScenarioError(f"--over {name}: has no value in the scenario to take the slope at")
        return [variant_at(self.question, {name: here * (1 + s * _LOCAL_STEP)}) for s in (1, -1)]

    def _designed(self) -> np.ndarray:
        """Points (run, parameter) in [0, 1]."""
        q = self.question
        problem = problem_of(q.over)
        if self.method == "sobol":
            return sobol_design(problem, q.samples, q.plan.seed)
        from SALib.sample import morris as sampling

        return sampling.sample(problem, q.samples, num_levels=_MORRIS_LEVELS, seed=int(q.plan.seed % 2**32))

    def _runs(self) -> list[Variant]:
        q = self.question
        return [variant_at(q, {r.name: r.at(u) for r, u in zip(q.over.values(), row)}) for row in self.design]

    def _outcomes(self) -> np.ndarray:
        """The outcome of each point of the design; all with the scenario's own random numbers."""
        q = self.question
        return np.array([q.runs[v, q.seeds[0]] for v in self._runs()])

    def _row(self, name: str, effect: Estimate, verdict: str, unit: str) -> Row:
        q = self.question
        relative = effect.mean if unit == "1" else ratio(effect.mean, abs(q.baseline.mean))
        return q.row(self.method, name, effect, verdict, unit=unit, relative=relative)

    def _points(self, outcomes: np.ndarray) -> dict[str, Any]:
        ranges = self.question.over.values()
        values = np.array([[r.at(u) for r, u in zip(ranges, row)] for row in self.design])
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
