"""The slope of a pathway's quantity by the pathway's parameters, exact along a course: no run is needed for it.

The pathway of the mean cell is followed with the inputs that the tissue gave the cells of the intact run, held from
stop to stop, and gone back over by the discrete adjoint. What the tissue would make of a change of the pathway, and
how cells differ, is left out: a search that uses these slopes corrects them by the runs it makes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sim.controller import SAME_TIME
from sim.interpret.observe import time_mean
from sim.interpret.outcome import Outcome

if TYPE_CHECKING:
    from sim.interpret.question import Question
    from sim.processes.pathway import PathwayProcess
    from sim.simulation import Simulation

#: stretches of constant inputs
_MOST_STRETCHES = 48


def pathway_of(name: str, question: Question) -> PathwayProcess | None:
    """The pathway that a quantity is of."""
    return next((p for p in question.plan.pathways if name.startswith(f"{p.name}.")), None)


class Inputs:
    """Watches the first intact run: what the cells of an outcome put into its pathway, on the mean."""

    def __init__(self, outcome: Outcome, pathway: str):
        self._outcome, self._pathway = outcome, pathway
        self.course: list[tuple[float, dict[str, float]]] = []

    def begin(self, simulation: Simulation) -> None:
        """Only the first run is looked at."""
        self._looking = not self.course

    def look(self, simulation: Simulation) -> None:
        if not self._looking:
            return
        p = next(p for p in simulation.plan.pathways if p.name == self._pathway)
        rows = p.members(simulation.state) & (simulation.signals["cell.living"] > 0)
        if self._outcome.cells is not None:
            rows &= simulation.state["cell.type"] == self._outcome.cells
        values = {
            n: simulation.signals[f"{p.name}.{n}"][rows]
            for n in p.active
            if n not in p.network.assignment_rules
        }
        known = {n: float(np.nanmean(v)) for n, v in values.items() if v.size and not np.isnan(v).all()}
        self.course.append((simulation.state.time, known))


def slopes(question: Question, inputs: Inputs, parameters: list[str]) -> dict[str, float]:
    """d(outcome)/d(parameter) by the ids of parameters of the outcome's pathway.

    Raises:
        IntegrationError, ModelError: the pathway cannot be gone back over.
    """
    import torch

    outcome = question.outcome
    p = pathway_of(outcome.quantity, question)
    assert p is not None
    loaded = next(x for x in question.simulation.plan.pathways if x.name == p.name)
    model, output = loaded.model, outcome.quantity.removeprefix(f"{p.name}.")
    states = list(model.network.state_ids)
    given = [n for n in inputs.course[0][1] if n not in parameters]
    nominal = model.observe(model.initial_state(1, parameters=dict(p.settings.set)), [*parameters, *states])[
        0
    ]
    theta = torch.tensor(nominal[: len(parameters)], dtype=torch.float64, requires_grad=True)
    now = torch.tensor(nominal[len(parameters) :], dtype=torch.float64)
    read: list[tuple[float, torch.Tensor]] = []
    stops = _stretches(inputs.course, outcome)
    for (start, values), (stop, _) in pairwise(stops):
        length = (stop - start) / p.settings.minutes_per_unit
        course = model.differentiable(
            [0.0, length], [*parameters, *given, *states], outputs=[*states, output]
        )
        held = torch.tensor([values[n] for n in given], dtype=torch.float64)
        found = course(torch.cat([theta, held, now]))[-1]
        now = found[:-1]
        if stop >= outcome.start - SAME_TIME:
            read.append((stop, found[-1]))
    total = time_mean(read)
    (slope,) = torch.autograd.grad(total, theta)
    return dict(zip(parameters, slope.tolist()))


def _stretches(
    course: list[tuple[float, dict[str, float]]], outcome: Outcome
) -> list[tuple[float, dict[str, float]]]:
    """Stops up to the outcome's time, thinned out but for those where an input changes or the outcome is read."""
    upto = [c for c in course if c[0] <= outcome.stop + SAME_TIME]
    kept = [
        c
        for k, c in enumerate(upto)
        if k in (0, len(upto) - 1) or c[1] != upto[k - 1][1] or outcome.start <= c[0] <= outcome.stop
    ]
    every = max(1, -(-len(kept) // _MOST_STRETCHES))
    return [*kept[:-1:every], kept[-1]]
