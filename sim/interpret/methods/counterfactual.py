"""The smallest change that moves the outcome past a threshold, confirmed by running it.

For each parameter alone, the range is searched on both sides of the present value: the nearest of a few points
that passes, then halving the step between the last that does not and the first that does. For all of them together, the
nearest point is searched along slopes. The change that is told was run with every seed, and it says in how many
of them the outcome passed.
"""

from __future__ import annotations

import numpy as np

from sim.errors import ScenarioError
from sim.interpret.effects import CANNOT_TELL, LOWERS, NO_EFFECT, RAISES, REACHES, Estimate, Row, interval
from sim.interpret.methods.reaching import Searcher
from sim.interpret.outcome import Wanted
from sim.interpret.over import Range, moved, present, set_to, variant_at
from sim.interpret.question import Answer, Question

#: points on each side, and how often the bracket is halved
_POINTS, _HALVINGS = 4, 6
#: how far past the threshold all parameters together aim, of the way there
_BEYOND = 0.02


class Counterfactual:
    """Searches each parameter of the question by itself."""

    def __init__(self, question: Question, method: str = "counterfactual"):
        if question.threshold is None or not question.over:
            raise ScenarioError(
                "--method counterfactual: say which value to reach and what may change, "
                "for example --threshold 100 --over 'perturbations[0].to=0.01 uM..1 uM'"
            )
        self.question = question
        self.searcher = Searcher(question, [Wanted(question.outcome, question.threshold)])

    def answer(self) -> Answer:
        q = self.question
        assert q.threshold is not None
        self.upward = q.baseline.mean < q.threshold
        here = present(q)
        found = [self._alone(name, r, here[name]) for name, r in q.over.items()]
        if len(q.over) > 1:
            found.append(self._together(here))
        # the smallest change first, in shares of the ranges; what does not pass comes last
        found.sort(key=lambda f: (f[0].verdict == NO_EFFECT, f[2]))
        rows = [row for row, _, _ in found]
        return Answer(rows, self._data(rows), [words for _, words, _ in found], ordered=True)

    # ---- parts

    def _alone(self, name: str, r: Range, here: float) -> tuple[Row, str, float]:
        """The row, what it says, and the size of the change, in shares of the range."""
        q = self.question
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
        if found is None:
            text = (
                f"No value of {name} from {r.text(r.low)} to {r.text(r.high)} moves {q.outcome.text} "
                f"{self._side()} {q.threshold:g}."
            )
            return self._row(name, 0.0, NO_EFFECT, r.unit, ""), text, 1.0
        value = r.at(found)
        reached = q.outcomes(variant_at(q, {name: value}))
        row, text = self._confirmed({name: value}, {name: here}, reached, value - here, r.unit)
        return row, text, abs(found - start)

    def _together(self, here: dict[str, float]) -> tuple[Row, str, float]:
        """All parameters at once: the nearest point that passes (`sim.interpret.search`)."""
        q = self.question
        assert q.threshold is not None
        way = abs(q.threshold - q.baseline.mean) or 1.0
        # a little beyond, so that what is near enough has passed
        goal = q.threshold + (1 if self.upward else -1) * _BEYOND * way
        change = self.searcher.search(list(q.over), np.array([goal]), np.array([_BEYOND * way]))
        names = " and ".join(q.over)
        if not self._beyond(float(change.outcomes[0].mean())):
            side = f"{self._side()} {q.threshold:g}"
            text = f"No change of {names} together was found that moves {q.outcome.text} {side}."
            return self._row(names, 0.0, NO_EFFECT, "", ""), text, 2.0
        row, text = self._confirmed(change.values, here, change.outcomes[0], change.size, "")
        return row, text, change.size

    def _confirmed(
        self, values: dict[str, float], here: dict[str, float], reached: np.ndarray, change: float, unit: str
    ) -> tuple[Row, str]:
        """Row and sentence of a change that was run with every seed."""
        q = self.question
        passed = float(np.mean([self._beyond(x) for x in reached]))
        e = interval(reached)
        # of one parameter: which way it goes
        told = REACHES if len(values) > 1 else RAISES if change > 0 else LOWERS
        told = CANNOT_TELL if passed < 1 else told
        text = (
            f"{moved(q, values, here)} moves {q.outcome.text} {self._side()} {q.threshold:g}: run again it gave "
            f"{e.mean:.4g} ({e.lower:.4g} to {e.upper:.4g}), past the threshold in {passed:.0%} of the seeds."
        )
        note = f"{set_to(q, values)}; confirmed in {passed:.0%} of the seeds"
        only = next(iter(here.values())) if len(values) == 1 else 0.0
        return self._row(" and ".join(values), change, told, unit, note, only), text

    def _side(self) -> str:
        return "above" if self.upward else "below"

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

    def _row(self, name: str, change: float, verdict: str, unit: str, note: str, here: float = 0.0) -> Row:
        """A row; the change is in the parameter's unit, of several together in shares of their ranges."""
        relative = change / here if here else float("nan")
        effect = Estimate(change, change, change)
        return self.question.row(
            "counterfactual", name, effect, verdict, unit=unit or "1", relative=relative, note=note
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
