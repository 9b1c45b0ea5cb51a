"""Interventions that reach a wanted state: which change of doses and parameters, the smallest first.

Each parameter of the question is tried alone, then all of them together. The search goes along slopes: of a pathway's
own parameters they come from the gradient of its time course, of all others from a run with the parameter moved a
little. It goes by the first seed; what it finds is run with every seed, and where their mean is off, searched once
more with that difference taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mechanistic.errors import IntegrationError, ModelError
from sim.errors import ScenarioError
from sim.interpret.effects import FALLS_SHORT, REACHES, UNDEFINED, Estimate, Row, interval
from sim.interpret.outcome import Wanted
from sim.interpret.over import Range, moved, present, set_to, tidy, variant_at
from sim.interpret.question import Answer, Question
from sim.interpret.search import reach
from sim.interpret.slopes import Inputs, pathway_of, slopes

#: what is wanted counts as reached within this share of the way to it
_CLOSE = 0.05
#: slack at the ends of a range, for values that are written with fewer digits
_EDGE = 1e-9


@dataclass(frozen=True)
class Change:
    """What a search found.

    Attributes:
        names: of the parameters that may change.
        values: what they are changed to.
        size: length of the change, in shares of the ranges.
        outcomes: (wanted, seed) of the runs that confirm it.
        goals: (wanted,) what was aimed at.
        tolerance: (wanted,).
        runs: how many different points were run in the search.
    """

    names: tuple[str, ...]
    values: dict[str, float]
    size: float
    outcomes: np.ndarray
    goals: np.ndarray
    tolerance: np.ndarray
    runs: int

    @property
    def hit(self) -> bool:
        """Whether the mean over the seeds is near what was aimed at."""
        return bool(np.all(np.abs(self.outcomes.mean(axis=1) - self.goals) <= self.tolerance))


class Searcher:
    """Searches over parameters of a question; made before the first run, so that it may watch."""

    def __init__(self, question: Question, wanted: Sequence[Wanted]):
        self.question, self.wanted = question, wanted
        self._inputs: Inputs | None = None
        outcome = question.outcome
        p = pathway_of(outcome.quantity, question)
        self._own: dict[str, str] = {}
        if (
            p is not None
            and outcome.statistic == "mean"
            and len(wanted) == 1
            and wanted[0].outcome == outcome
        ):
            known = set(p.network.parameter_ids) & set(p.network.settable_ids)
            ids = {n: n.removeprefix(f"{p.name}.") for n in question.over if n.startswith(f"{p.name}.")}
            self._own = {n: i for n, i in ids.items() if i in known}
        if self._own and p is not None:
            self._inputs = Inputs(outcome, p.name)
            question.watch(self._inputs)

    def search(self, names: Sequence[str], goals: np.ndarray, tolerance: np.ndarray) -> Change:
        """The smallest change of the parameters `names` that brings what is wanted to `goals` (wanted,)."""
        q = self.question
        here = present(q)
        start = np.array([_start(q.over[n], here[n]) for n in names])
        slope = self._slopes(names, here)

        def first(at: np.ndarray) -> np.ndarray:
            return self.outcomes(self._values(names, at), q.seeds[:1])[:, 0]

        found = reach(first, start, goals, tolerance, slope)
        at, runs = found.at, found.runs
        outcomes = self.outcomes(self._values(names, at))
        off = outcomes.mean(axis=1) - found.value
        if found.hit and np.any(np.abs(outcomes.mean(axis=1) - goals) > tolerance):
            # the mean over the seeds is where the first one is, but for this
            found = reach(first, start, goals - off, tolerance, slope)
            at, runs = found.at, runs + found.runs
            outcomes = self.outcomes(self._values(names, at))
        return Change(tuple(names), self._values(names, at), found.size, outcomes, goals, tolerance, runs)

    def outcomes(self, values: dict[str, float], seeds: Sequence[int] | None = None) -> np.ndarray:
        """What is wanted (wanted, seed) with the parameters at `values`."""
        q = self.question
        variants = [variant_at(q, values, w.outcome.text) for w in self.wanted]
        seeds = q.seeds if seeds is None else seeds
        q.runs.fulfil([(v, s) for s in seeds for v in variants])
        return np.array([q.outcomes(v, seeds) for v in variants])

    # ---- parts

    def _values(self, names: Sequence[str], at: np.ndarray) -> dict[str, float]:
        return {n: self.question.over[n].at(float(u)) for n, u in zip(names, at)}

    def _slopes(self, names: Sequence[str], here: dict[str, float]) -> np.ndarray:
        """d(wanted)/d(share of the range) where gradients tell it, NaN elsewhere."""
        found = np.full((len(self.wanted), len(names)), np.nan)
        own = [n for n in names if n in self._own]
        if self._inputs is None or not self._inputs.course or not own:
            return found
        try:
            known = slopes(self.question, self._inputs, [self._own[n] for n in own])
        except (IntegrationError, ModelError):
            return found  # a pathway that cannot be gone back over is probed by runs
        for k, n in enumerate(names):
            if n in own:
                r = self.question.over[n]
                per_share = here[n] * np.log(r.high / r.low) if r.log else r.high - r.low
                found[0, k] = known[self._own[n]] * per_share
        return found


class Reaching:
    """The method `reach`."""

    def __init__(self, question: Question, method: str = "reach"):
        if not question.wanted or not question.over:
            raise ScenarioError(
                "--method reach: say what is wanted and what may change, for example "
                "--reach 'mean(pathway.egfr.ppERK, pc9) @ 24 h = 0.2' --over 'perturbations[0].to=0.01 uM..1 uM'"
            )
        self.question = question
        self.searcher = Searcher(question, question.wanted)

    def answer(self) -> Answer:
        q = self.question
        names = list(q.over)
        here = present(q)
        before = self.searcher.outcomes({n: here[n] for n in names}).mean(axis=1)
        goals = np.array([w.value for w in q.wanted])
        tolerance = _CLOSE * np.maximum(np.abs(goals - before), 1e-9 * np.abs(goals))
        tolerance[tolerance == 0] = 1e-12
        candidates = [(n,) for n in names] + ([tuple(names)] if len(names) > 1 else [])
        found = [self.searcher.search(c, goals, tolerance) for c in candidates]
        found.sort(key=lambda c: (not c.hit, c.size))
        rows = [self._row(c) for c in found]
        return Answer(
            rows, self._data(found, names), [self._told(c, here, before) for c in found], ordered=True
        )

    # ---- parts

    def _row(self, c: Change) -> Row:
        q = self.question
        gave = ", ".join(_estimate(o) for o in c.outcomes)
        verdict = UNDEFINED if np.isnan(c.outcomes).any() else REACHES if c.hit else FALLS_SHORT
        return q.row(
            "reach",
            " and ".join(c.names),
            Estimate(c.size, c.size, c.size),
            verdict,
            on="; ".join(w.text for w in q.wanted),
            unit="1",
            relative=c.size,
            note=f"{set_to(q, c.values)}; gives {gave}",
        )

    def _told(self, c: Change, here: dict[str, float], before: np.ndarray) -> str:
        wanted = "; ".join(
            f"{w.outcome.text} (now {b:.4g}) to {w.value:.4g}" for w, b in zip(self.question.wanted, before)
        )
        gave = ", ".join(_estimate(o) for o in c.outcomes)
        if not c.hit:
            names = " and ".join(c.names)
            return f"No change of {names} within the ranges brings {wanted}: the nearest run gave {gave}."
        change = f"{moved(self.question, c.values, here)} ({c.size:.0%} of the range)"
        return f"To bring {wanted}, change {change}: run again with every seed it gave {gave}."

    def _data(self, found: list[Change], names: list[str]):
        import xarray as xr

        q = self.question
        values = np.array([[c.values.get(n, np.nan) for n in names] for c in found])
        return xr.Dataset(
            {
                "value": (
                    ("candidate", "parameter"),
                    values,
                    {"long_name": "what it is changed to; NaN: as it is"},
                ),
                "size": (
                    "candidate",
                    [c.size for c in found],
                    {"units": "1", "long_name": "share of the ranges"},
                ),
                "outcome": (("candidate", "wanted", "seed"), np.array([c.outcomes for c in found])),
                "reached": ("candidate", [c.hit for c in found]),
                "runs": ("candidate", [c.runs for c in found], {"long_name": "points run in the search"}),
            },
            coords={
                "candidate": np.array([" and ".join(c.names) for c in found], object),
                "parameter": np.array(names, object),
                "unit": ("parameter", np.array([q.over[n].unit or "1" for n in names], object)),
                "wanted": np.array([w.outcome.text for w in q.wanted], object),
                "goal": ("wanted", [w.value for w in q.wanted]),
                "seed": np.array(q.seeds, np.uint64),
            },
            attrs={"kind": "total", "method": "reach"},
        )


def _estimate(values: np.ndarray) -> str:
    e = interval(values)
    return f"{e.mean:.4g} ({e.lower:.4g} to {e.upper:.4g})"


def _start(r: Range, here: float) -> float:
    """The share of the range at which the present value stands."""
    share = r.share(here)
    if not -_EDGE <= share <= 1 + _EDGE:
        now, low, high = (r.text(tidy(x)) for x in (here, r.low, r.high))
        raise ScenarioError(
            f"--over {r.name}: the present value {now} is not within {low} to {high}; widen the range"
        )
    return min(max(share, 0.0), 1.0)
