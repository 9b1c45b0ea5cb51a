"""The learned terms of a run as functions with gradients, their inputs and outputs in the scenario's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.core.coupling import Coupling
from sim.planning.responses import NetworkResponse
from sim.processes.manipulator import ManipulatorProcess
from sim.processes.tissue import TissueProcess

if TYPE_CHECKING:
    import torch

    from sim.interpret.question import Question
    from sim.simulation import Simulation

#: cells of a run that are looked at
MOST_CELLS = 64


@dataclass(frozen=True)
class Term:
    """One learned function of a cell's quantities.

    Attributes:
        name: `manipulator.drugs`, `decoder of drugs`, or a coupling with a network.
        inputs, outputs: names of quantities.
        units: of the outputs.
        baseline: (input,), or one for each cell: what attributions are taken against: untreated, without dose, alone.
        function: (cell, input) to (cell, output), torch, float64.
        without: the same function from fits that lacked a part of the data each; empty where there are none.
    """

    name: str
    inputs: list[str]
    outputs: list[str]
    units: list[str]
    baseline: np.ndarray
    function: Callable[[torch.Tensor], torch.Tensor]
    without: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = ()

    def values(self, simulation: Simulation) -> np.ndarray:
        """What the cells put into it now, (cell, input), of living cells that have it."""
        signals = simulation.signals
        rows = signals["cell.living"] > 0
        for name in self.inputs:
            rows = rows & signals.members_of(name)
        return signals.stack(self.inputs)[np.flatnonzero(rows)[:MOST_CELLS]]


def cell_terms(question: Question) -> list[Term]:
    """Every learned term that acts within a cell: manipulators, their decoders, networks as responses."""
    loaded = question.simulation.plan
    found: list[Term] = []
    for p in loaded.processes:
        if isinstance(p, ManipulatorProcess):
            found += _manipulator(p)
    for c, name in zip(loaded.couplings, question.coupling_names):
        if isinstance(c.response, NetworkResponse):
            found.append(_response(question, c, name))
    return found


def tissue_process(question: Question) -> TissueProcess | None:
    """The process with the tissue network, where there is one."""
    loaded = question.simulation.plan
    return next((p for p in loaded.processes if isinstance(p, TissueProcess)), None)


def _manipulator(p: ManipulatorProcess) -> list[Term]:
    m = p.network
    d, c = m.dimension, len(m.condition_names)
    ur = [f"{p.block}[{k}]" for k in range(d)]
    conditions = [f"condition.{n}" for n in m.condition_names]
    messages = [f"message.{n}" for n in m.message_names]
    start = np.asarray(m.initial(next(iter(p.settings.initial.values()))), float)
    rates = list(m.decoder_names)

    def change(x: torch.Tensor, without: int | None = None) -> torch.Tensor:
        return m.vector_field(x[:, :d], x[:, d : d + c], x[:, d + c :], without)

    def decoded(x: torch.Tensor, without: int | None = None) -> torch.Tensor:
        return m.rates(x[:, :d], x[:, d:], without)

    folds = range(m.folds)
    return [
        Term(
            p.name,
            [*ur, *conditions, *messages],
            [f"d({n})/dt" for n in ur],
            ["1/min"] * d,
            np.concatenate([start, np.zeros(c + len(messages))]),
            change,
            tuple(partial(change, without=k) for k in folds),
        ),
        Term(
            f"decoder of {p.settings.name}",
            [*ur, *messages],
            [f"decoder.{n}" for n in rates],
            [m.card.decoder_units[n] for n in rates],
            np.concatenate([start, np.zeros(len(messages))]),
            decoded,
            tuple(partial(decoded, without=k) for k in folds),
        ),
    ]


def _response(question: Question, c: Coupling, name: str) -> Term:
    response: Any = c.response
    network = response.network
    return Term(
        name,
        [c.source],
        [c.target],
        [question.unit_of(c.target)],
        np.zeros(1),
        lambda x: network.with_gradient(x * c.factor)[:, None],
    )
