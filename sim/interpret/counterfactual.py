"""The smallest change that moves the outcome past a threshold, confirmed by running it.

For each parameter alone, the range is searched on both sides of the present value: the nearest of a few points
that passes, then halving the step between the last that does not and the first that does. The change that is told
was run with every seed, and it says in how many of them the outcome passed.
"""

from __future__ import annotations

import numpy as np

from sim.errors import ScenarioError
from sim.interpret.effects import CANNOT_TELL, LOWERS, NO_EFFECT, RAISES, Row, interval
from sim.interpret.over import Range, current, variant_at
from sim.interpret.question import Answer, Question

#: points on each side, and how often the bracket is halved
_POINTS, _HALVINGS = 4, 6


class Counterfactual:
    """Searches each parameter of the question by itself."""

    def __init__(self, question: Question, method: str = "counterfactual"):
        if question.threshold is None or not question.over:
            raise ScenarioError(
                "--method counterfactual: say which value to reach and what may change, "
                "for example --threshold 100 --over 'perturbations[0].to=0.01 uM..1 uM'"
            )
        self.question = question

    def answer(self) -> Answer:
        q = self.question
        assert q.threshold is not None
        self.upward = q.baseline.mean < q.threshold
        rows, told = [], []
        for name, r in q.over.items():
            row, words = self._searched(name, r)
            rows.append(row)
            told.append(words)
        return Answer(rows, self._data(rows), told)

    # ---- parts

    def _searched(self, name: str, r: Range) -> tuple[Row, str]:
        q = self.question
        here = current(r, q)
        if here is None:
            raise ScenarioError(f"--over {name}: has no value in the scenario to start from")
        known: dict[float, float] = {}

        def passed(share: float) -> bool:
            if share not in known:
                known[share] = q.runs[variant_at(q, {name: r.at(share)}), q.seeds[0]]
            return self._beyond(known[share])

        start = min(max(r.share(here), 0.0), 1.0)
        found = None
        for end in (0.0, 1.0):
            before = start
            for step in range(1, _POINTS + 1):
                share = start + (end - start) * step / _POINTS
                if share == start:
                    break
                if passed(share):
                    near = self._halved(before, share, passed)
                    if found is None or abs(near - start) < abs(found - start):
                        found = near
                    break
                before = share
        words = "above" if self.upward else "below"
        if found is None:
            text = (
                f"No value of {name} from {r.text(r.low)} to {r.text(r.high)} moves {q.outcome.text} "
                f"{words} {q.threshold:g}."
            )
            return self._row(name, 0.0, 0.0, 0.0, NO_EFFECT, r, ""), text
        value = r.at(found)
        reached = q.outcomes(variant_at(q, {name: value}))
        share_passed = float(np.mean([self._beyond(x) for x in reached]))
        e = interval(reached)
        told = CANNOT_TELL if share_passed < 1 else RAISES if value > here else LOWERS
        text = (
            f"{name} from {r.text(_tidy(here))} to {r.text(_tidy(value))} moves {q.outcome.text} {words} "
            f"{q.threshold:g}: run again it gave {e.mean:.4g} ({e.lower:.4g} to {e.upper:.4g}), "
            f"past the threshold in {share_passed:.0%} of the seeds."
        )
        change = value - here
        note = f"to {r.text(_tidy(value))}; confirmed in {share_passed:.0%} of the seeds"
        return self._row(name, change, change, change, told, r, note, here), text

    def _halved(self, outside: float, inside: float, passed) -> float:
        for _ in range(_HALVINGS):
            middle = (outside + inside) / 2
            if passed(middle):
                inside = middle
            else:
                outside = middle
        return inside

    def _beyond(self, value: float) -> bool:
        threshold = self.question.threshold
        assert threshold is not None
        return value >= threshold if self.upward else value <= threshold

    def _row(self, name, change, lower, upper, verdict, r: Range, note: str, here: float = 0.0) -> Row:
        q = self.question
        return Row(
            quantity=name,
            on=q.outcome.text,
            effect=change,
            lower=lower,
            upper=upper,
            relative=change / here if here else float("nan"),
            unit=r.unit or "1",
            kind="total",
            method="counterfactual",
            time=q.outcome.when,
            verdict=verdict,
            note=note,
        )

    def _data(self, rows: list[Row]):
        import xarray as xr

        return xr.Dataset(
            {
                "change": ("parameter", [r.effect for r in rows]),
                "note": ("parameter", np.array([r.note for r in rows], object)),
            },
            coords={"parameter": np.array([r.quantity for r in rows], object)},
            attrs={"kind": "total", "method": "counterfactual", "threshold": self.question.threshold},
        )


def _tidy(value: float) -> float:
    return float(f"{value:.4g}")
