"""Attribution of networks: which input moved what a network says, when, at the level of rates (direct effects).

    gradients              slope of each output by each input at the cells' own states, times the input's distance
                           from the baseline
    integrated_gradients   the gradient integrated on the straight way from the baseline (Sundararajan 2017, by
                           captum): shares sum up to output minus output at the baseline

The intervals hold what seeds differ by and, where the weights have an ensemble, what other data would have made of
the network (`sim.interpret.refits`).

The baseline is the untreated cell: its reference representation, no dose, nothing told by neighbours. For a
tissue network it is silence: nothing comes from any neighbour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neural.threads import one_thread
from sim.controller import SAME_TIME
from sim.interpret.effects import Estimate, Row, interval, judged
from sim.interpret.networks import Term, cell_terms, tissue_process
from sim.interpret.question import Answer, Question
from sim.interpret.refits import refit_interval
from sim.interpret.tissue_influence import Influence, influence_of

if TYPE_CHECKING:
    import torch
    from captum.attr import IntegratedGradients

    from sim.simulation import Simulation

Explain = Callable[[Term, np.ndarray], tuple[np.ndarray, np.ndarray]]

#: times along the run at which the networks are looked at
_LOOKS = 8
#: states at which an ensemble's members are compared
_DOUBTED = 24
#: of the change explained: what is left over may be this share, else the way is cut into more pieces
COMPLETE = 1e-4
#: Gauss-Legendre points on a piece of the way
_POINTS = 16
_MOST_PIECES = 64


class Attribution:
    """`gradients` or `integrated_gradients` over every learned term of the scenario."""

    def __init__(self, question: Question, method: str):
        self.question = question
        self.method = method
        self.seen: list[list[tuple[float, list[np.ndarray]]]] = []
        self.influence: list[Influence] = []
        question.watch(self)

    # ---- watching

    def begin(self, simulation: Simulation) -> None:
        self.terms = cell_terms(self.question)
        self.tissue = tissue_process(self.question)
        self.seen.append([])

    def look(self, simulation: Simulation) -> None:
        stop = self.question.outcome.stop
        seen_by(self.terms, simulation, stop, self.seen[-1])
        last = simulation.state.time >= stop - SAME_TIME
        if last and self.tissue is not None and len(self.influence) < len(self.seen):
            self.influence.append(influence_of(self.tissue, simulation))

    # ---- answering

    def answer(self) -> Answer:
        with one_thread():
            return self._answer()

    def _answer(self) -> Answer:
        q = self.question
        _ = q.intact
        rows: list[Row] = []
        data = {}
        explain = integrated if self.method == "integrated_gradients" else sloped
        times = [t for t, _ in self.seen[0]]
        for number, term in enumerate(self.terms):
            shares = np.full((len(q.seeds), len(times), len(term.outputs), len(term.inputs)), np.nan)
            change = np.full(shares.shape[:3], np.nan)
            for s, looks in enumerate(self.seen):
                for t, (_, values) in enumerate(looks[: len(times)]):
                    if len(values[number]):
                        found, moved = explain(term, values[number])
                        shares[s, t], change[s, t] = found.mean(axis=0), moved.mean(axis=0)
            doubt = self._doubt(term, [values[number] for _, values in self.seen[0]], explain)
            rows += self._rows(term, np.nanmean(shares, axis=1), np.nanmean(np.abs(change), axis=1), doubt)
            data[term.name] = (term, times, shares)
        notes = []
        if self.influence and self.tissue is not None:
            rows += self._tissue_rows()
        if not rows:
            notes.append("No network takes part in this scenario: there is nothing to attribute.")
        return Answer(rows, self._data(data), notes)

    # ---- parts

    def _doubt(self, term: Term, looks: list[np.ndarray], explain: Explain) -> np.ndarray:
        """Half-widths (output, input) for what other data would have made of the term, at some of the cells."""
        seen = np.concatenate(looks)
        shape = (len(term.outputs), len(term.inputs))
        if len(term.without) < 2 or not len(seen):
            return np.zeros(shape)
        few = seen[np.linspace(0, len(seen) - 1, min(len(seen), _DOUBTED)).astype(int)]
        functions = (term.function, *term.without)
        means = [explain(replace(term, function=f), few)[0].mean(axis=0) for f in functions]
        _, lower, upper = refit_interval(means[0], np.array(means[1:]))
        return (upper - lower) / 2

    def _rows(self, term: Term, shares: np.ndarray, change: np.ndarray, doubt: np.ndarray) -> list[Row]:
        return [
            self._row(name, output, shares[:, o, i], float(change[:, o].mean()), term.units[o], doubt[o, i])
            for o, output in enumerate(term.outputs)
            for i, name in enumerate(term.inputs)
        ]

    def _row(self, name: str, on: str, values: np.ndarray, size: float, unit: str, doubt: float = 0.0) -> Row:
        """One line; `doubt` is the half-width of what is not known of the term itself."""
        over_seeds = interval(values)
        half = float(np.hypot((over_seeds.upper - over_seeds.lower) / 2, doubt))
        e = Estimate(over_seeds.mean, over_seeds.mean - half, over_seeds.mean + half)
        told = judged(e, values)
        return self.question.row(
            self.method, name, e, told, on=on, kind="direct", unit=unit, size=size, upto=True
        )

    def _tissue_rows(self) -> list[Row]:
        first = self.influence[0]
        rows = []
        for m, message in enumerate(first.messages):
            size = float(
                np.mean([np.abs(i.change[:, m]).mean() for i in self.influence if len(i.change)] or [0.0])
            )
            for part in first.parts:
                values = np.array([i.share(part, m) for i in self.influence])
                rows.append(self._row(part, f"tissue.{message}", values, size, "1"))
        return rows

    def _data(self, found: dict[str, tuple[Term, list[float], np.ndarray]]):
        import xarray as xr

        variables: dict[str, Any] = {}
        coords: dict[str, Any] = {"seed": np.array(self.question.seeds, np.uint64)}
        for number, (name, (term, times, shares)) in enumerate(found.items()):
            output, given = f"output_{number}", f"input_{number}"
            variables[f"attribution of {name}"] = (
                ("seed", "time", output, given),
                shares,
                {"units": term.units[0], "long_name": f"direct effect on {name}, mean over cells"},
            )
            coords["time"] = ("time", times, {"units": "min", "long_name": "time"})
            coords[output] = np.array(term.outputs, object)
            coords[given] = np.array(term.inputs, object)
        if self.influence:
            last = self.influence[0]
            variables["influence"] = (
                ("cell", "message"),
                last.exerted,
                {"units": "1", "long_name": "what a cell adds to the messages of all its neighbours"},
            )
            variables["position"] = (
                ("cell", "axis"),
                last.positions,
                {"units": "um", "long_name": "position"},
            )
            coords["message"] = np.array(last.messages, object)
            coords["axis"] = np.array(["x", "y", "z"], object)
        return xr.Dataset(variables, coords, {"kind": "direct", "method": self.method})


def seen_by(
    terms: list[Term], simulation: Simulation, stop: float, course: list[tuple[float, list[np.ndarray]]]
) -> None:
    """Adds what the cells put into each term now to `course`, at no more than some times on the way to `stop`."""
    time = simulation.state.time
    due = not course or time >= course[-1][0] + stop / _LOOKS - SAME_TIME
    if due or time >= stop - SAME_TIME:
        course.append((time, [t.values(simulation) for t in terms]))


def integrated(term: Term, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integrated gradients (cell, output, input) of a term at `values` (cell, input), and what they sum up to.

    Where more than `COMPLETE` of the largest change is left unexplained, the way is cut into more pieces.
    """
    import torch
    from captum.attr import IntegratedGradients

    x = torch.tensor(values)
    start = torch.tensor(np.broadcast_to(term.baseline, values.shape).copy())
    with torch.no_grad():
        moved = (term.function(x) - term.function(start)).numpy()
    shares = np.empty((*moved.shape, values.shape[1]))
    for k in range(moved.shape[1]):
        explainer = IntegratedGradients(_output(term.function, k))
        scale = np.abs(moved[:, k]).max(initial=0.0) or 1.0
        cells, pieces = np.arange(len(values)), 1
        while len(cells):
            shares[cells, k] = _on_the_way(explainer, start[cells], x[cells], pieces)
            left = np.abs(shares[cells, k].sum(axis=1) - moved[cells, k])
            cells = cells[left > COMPLETE * scale]
            if pieces >= _MOST_PIECES:
                break
            pieces *= 4
    return shares, moved


def _on_the_way(
    explainer: IntegratedGradients, start: torch.Tensor, end: torch.Tensor, pieces: int
) -> np.ndarray:
    """Integrated gradients (cell, input) on the straight way from start to end, cut into equal pieces."""
    import torch

    cuts = torch.linspace(0, 1, pieces + 1, dtype=end.dtype)[:, None, None]
    points = start + cuts * (end - start)
    shape = (-1, end.shape[1])
    found = explainer.attribute(
        points[1:].reshape(shape), points[:-1].reshape(shape), n_steps=_POINTS, method="gausslegendre"
    )
    return found.detach().reshape(pieces, *end.shape).sum(0).numpy()


def sloped(term: Term, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient times distance from the baseline (cell, output, input), and the change of the outputs."""
    import torch

    start = np.broadcast_to(term.baseline, values.shape)
    with torch.no_grad():
        moved = (term.function(torch.tensor(values)) - term.function(torch.tensor(start.copy()))).numpy()
    return jacobian(term, values) * (values - start)[:, None, :], moved


def jacobian(term: Term, values: np.ndarray) -> np.ndarray:
    """d(output)/d(input) (cell, output, input) of each cell at its own state."""
    import torch

    x = torch.tensor(values, requires_grad=True)
    y = term.function(x)
    slopes = [torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)[0] for k in range(y.shape[1])]
    return torch.stack(slopes, dim=1).numpy()


def _output(
    function: Callable[[torch.Tensor], torch.Tensor], k: int
) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: function(x)[:, k]
