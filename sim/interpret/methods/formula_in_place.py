"""Learned terms as formulas, and the outcome with the formulas in the networks' place.

Each output of each learned term is distilled from what the cells of all runs put into it. How much of it the formula
explains is said for each seed by the formula of all. Then the runs are repeated with the formulas inserted: what
the outcome loses by that is a total effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.interpret.distil import Distilled, distil
from sim.interpret.effects import CANNOT_TELL, MATTERS, NO_EFFECT, Estimate, Row, interval, judged
from sim.interpret.methods.attribution import seen_by
from sim.interpret.networks import Term, cell_terms
from sim.interpret.question import Answer, Question
from sim.interpret.variants import Variant
from sim.processes.manipulator import ManipulatorProcess

if TYPE_CHECKING:
    from sim.simulation import Simulation

#: rows that a formula is found from; points of the curve that the page draws
_ROWS, _POINTS = 400, 60
#: of the spread of what a term says; less is left to the network
_FLOOR = 0.03
#: below this share of the variance a formula does not stand for the term
_STANDS = 0.8


class FormulaInPlace:
    """The method `distil`."""

    def __init__(self, question: Question, method: str = "distil"):
        self.question = question
        self.seen: list[list[tuple[float, list[np.ndarray]]]] = []
        question.watch(self)

    # ---- watching

    def begin(self, simulation: Simulation) -> None:
        self.terms = cell_terms(self.question)
        self.seen.append([])

    def look(self, simulation: Simulation) -> None:
        seen_by(self.terms, simulation, self.question.outcome.stop, self.seen[-1])

    # ---- answering

    def answer(self) -> Answer:
        q = self.question
        _ = q.intact
        rows, notes, variables = [], [], {}
        found: dict[str, list[Distilled]] = {}
        for number, term in enumerate(self.terms):
            by_seed = [np.concatenate([values[number] for _, values in looks]) for looks in self.seen]
            if not sum(map(len, by_seed)):
                continue
            said = [_said(term, x) for x in by_seed]
            found[term.name] = []
            for k, output in enumerate(term.outputs):
                formula = _formula(np.concatenate(by_seed), np.concatenate(said)[:, k], term)
                found[term.name].append(formula)
                shares = np.array([_explained(formula, x, y[:, k]) for x, y in zip(by_seed, said)])
                rows.append(self._row(output, formula, shares))
                variables |= _curve(term, k, formula, np.concatenate(by_seed), number)
        if found:
            replaced = np.array([self._with_formulas(seed, found) for seed in q.seeds])
            rows.append(self._whole(q.intact - replaced))
            notes.append(
                f"With formulas in place of every learned term within the cells {q.outcome.text} is "
                f"{interval(replaced).mean:.4g} instead of {q.baseline.mean:.4g}."
            )
        else:
            notes.append("No network takes part within the cells: there is nothing to distil.")
        import xarray as xr

        return Answer(rows, xr.Dataset(variables, attrs={"kind": "direct", "method": "distil"}), notes)

    # ---- parts

    def _row(self, output: str, formula: Distilled, shares: np.ndarray) -> Row:
        e = interval(shares)
        rivals = f"; as good: {formula.rivals[0]}" if formula.rivals else ""
        return self.question.row(
            "distil",
            output,
            Estimate(e.mean, e.lower, min(e.upper, 1.0)),
            MATTERS if e.lower > _STANDS else CANNOT_TELL,
            on=formula.text,
            kind="direct",
            unit="1",
            relative=e.mean,
            upto=True,
            note=f"{formula.family} explains {e.mean:.1%}{rivals}",
        )

    def _whole(self, differences: np.ndarray) -> Row:
        q = self.question
        e = interval(differences)
        told = judged(e, differences, q.step_error) if differences.any() else NO_EFFECT
        return q.row("distil", "networks rather than their formulas", e, told)

    def _with_formulas(self, seed: int, found: dict[str, list[Distilled]]) -> float:
        """The outcome of the run with every distilled term in its network's place."""
        q = self.question
        responses: dict[int, Any] = {
            c.index: InPlaceOfNetwork(found[name][0])
            for c, name in zip(q.plan.couplings, q.coupling_names)
            if name in found
        }
        with inserted(q.simulation, found):
            q.progress.phase(f"seed {seed}: formulas in place of networks")
            return q.bench.run(Variant("formulas in place of networks"), seed, responses=responses)


class InPlaceOfNetwork:
    """A formula as the response of a coupling."""

    label = "formula"

    def __init__(self, formula: Distilled):
        self._formula = formula

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._formula.predict(np.asarray(x, float)[:, None])


class DistilledManipulator:
    """A manipulator whose field and rates are formulas; everything else is the network's own."""

    def __init__(self, network: Any, field: list[Distilled], rates: list[Distilled]):
        self._network, self._field, self._rates = network, field, rates

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def step(self, ur: np.ndarray, conditions: np.ndarray, message: np.ndarray, dt: float) -> np.ndarray:
        """Representations after `dt` [min], by Runge and Kutta's rule at the network's own step."""
        count = max(1, int(np.ceil(dt / float(self._network.card.architecture["step"]) - 1e-9)))
        h, now = dt / count, np.asarray(ur, float)
        for _ in range(count):
            k1 = self._slope(now, conditions, message)
            k2 = self._slope(now + h / 2 * k1, conditions, message)
            k3 = self._slope(now + h / 2 * k2, conditions, message)
            k4 = self._slope(now + h * k3, conditions, message)
            now = now + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return now

    def decode(self, ur: np.ndarray, conditions: np.ndarray, message: np.ndarray) -> dict[str, np.ndarray]:
        """Rates [1/min] of each cell; none is negative."""
        x = np.concatenate([ur, message], axis=1)
        names = self._network.decoder_names
        return {n: np.maximum(f.predict(x), 0.0) for n, f in zip(names, self._rates)}

    def _slope(self, ur: np.ndarray, conditions: np.ndarray, message: np.ndarray) -> np.ndarray:
        x = np.concatenate([ur, conditions, message], axis=1)
        return np.stack([f.predict(x) for f in self._field], axis=1)


@contextmanager
def inserted(simulation: Simulation, found: dict[str, list[Distilled]]) -> Iterator[None]:
    """Within it every manipulator steps by its formulas."""
    held = []
    for p in simulation.plan.processes:
        if isinstance(p, ManipulatorProcess) and p.name in found:
            held.append((p, p.network))
            p.network = DistilledManipulator(  # type: ignore[assignment]
                p.network, found[p.name], found[f"decoder of {p.settings.name}"]
            )
    try:
        yield
    finally:
        for p, network in held:
            p.network = network


def _said(term: Term, values: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return term.function(torch.tensor(values)).numpy()


def _formula(x: np.ndarray, y: np.ndarray, term: Term) -> Distilled:
    """The formula of one output from at most `_ROWS` rows; inputs that never change are left out."""
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), _ROWS)).round().astype(int))
    moving = [k for k in range(x.shape[1]) if np.ptp(x[rows, k]) > 0]
    if not moving:
        moving = [0]
    found = distil(x[rows][:, moving], y[rows], [term.inputs[k] for k in moving], floor=_FLOOR)
    low, high = x[:, moving].min(axis=0), x[:, moving].max(axis=0)

    def predict(values: np.ndarray) -> np.ndarray:
        # a formula is known where the cells were, and not beyond
        return found.predict(np.clip(np.asarray(values)[:, moving], low, high))

    return Distilled(**{**found.__dict__, "inputs": tuple(term.inputs), "predict": predict})


def _explained(formula: Distilled, x: np.ndarray, y: np.ndarray) -> float:
    total = float(np.sum((y - y.mean()) ** 2)) if len(y) else 0.0
    if total == 0:
        return 1.0
    return 1 - float(np.sum((formula.predict(x) - y) ** 2)) / total


def _curve(term: Term, k: int, formula: Distilled, x: np.ndarray, number: int) -> dict[str, Any]:
    """Network and formula along the input that moves the output most, all others at their medians."""
    middle = np.median(x, axis=0)
    best, largest = 0, -1.0
    for i in range(x.shape[1]):
        ends = np.repeat(middle[None], 2, axis=0)
        ends[:, i] = x[:, i].min(), x[:, i].max()
        moved = float(np.ptp(_said(term, ends)[:, k]))
        if moved > largest:
            best, largest = i, moved
    way = np.repeat(middle[None], _POINTS, axis=0)
    way[:, best] = np.linspace(x[:, best].min(), x[:, best].max(), _POINTS)
    attrs = {
        "output": term.outputs[k],
        "input": term.inputs[best],
        "units": term.units[k],
        "formula": formula.text,
        "explained": formula.explained,
    }
    curves = np.stack([way[:, best], _said(term, way)[:, k], formula.predict(way)])
    return {f"curve {number}.{k}": (("part", "point"), curves, attrs)}
