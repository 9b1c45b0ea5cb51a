"""A flow learned between snapshots of a population moves each cell's universal representation with time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.representation import begin_at, place_in

#: minutes in each unit that snapshots may be told in
MINUTES = {"min": 1.0, "h": 60.0, "day": 1440.0}


@dataclass(frozen=True)
class FlowSettings:
    """What a scenario says of one flow, and what its card says of itself.

    Attributes:
        initial: by cell type code, the reference state that its cells begin in; None: as cells of the first snapshot.
        minutes: one unit of the snapshots' time [min].
    """

    name: str
    weights: Path
    card: Any
    initial: dict[int, str | None]
    minutes: float


class FlowProcess(Process):
    """UR′ = v(UR, t) of weights of kind "transport"; the scenario begins at the first snapshot.

    Every cell has its own clock, which daughters inherit. `decoder.growth`: the net rate at which cells of this kind
    become more, beside the population's.
    """

    cost = 3

    def __init__(self, settings: FlowSettings, step: float):
        card = settings.card
        super().__init__(f"manipulator.{settings.name}", step, frozenset(settings.initial))
        self.settings = settings
        self.space = card.space
        self.block, self.clock = f"ur.{self.space}", f"manipulator.{settings.name}.time"
        self.states = (
            place_in(self.space, card),
            Quantity(self.clock, "min", "time since the first snapshot"),
        )
        self.readouts = (
            Quantity("decoder.growth", "1/min", f"net growth of cells, by {self.block}", "readout"),
        )
        self.reads = ("cell.living",)

    def prepare(self, streams) -> None:
        from neural.transport_model import TransportModel

        super().prepare(streams)
        self.model = TransportModel.load(self.settings.weights)

    def initialise(self, state, rows) -> None:
        begin_at(self.settings.initial, self.settings.card.initial, state[self.block], state, rows)
        drawn = [code for code, name in self.settings.initial.items() if name is None]
        mine = rows[np.isin(state["cell.type"][rows], drawn)]
        first, u = self.model.snapshots[0], self.streams.uniforms(self.name, 0, state.ids[mine])[:, 0]
        state[self.block][mine] = first[np.minimum((u * len(first)).astype(int), len(first) - 1)]

    def advance(self, state, signals, dt: float) -> None:
        rows = np.flatnonzero(self.members(state) & (signals["cell.living"] > 0))
        if rows.size:
            ur, clock = state[self.block], state[self.clock]
            ur[rows] = self.model.step(ur[rows], self._times(clock[rows]), dt / self.settings.minutes)
            clock[rows] += dt

    def readout(self, name, state, signals) -> np.ndarray:
        rows = np.flatnonzero(self.members(state))
        ur, times = state[self.block][rows], self._times(state[self.clock][rows])
        out = np.full(len(state), np.nan)
        for t in np.unique(times):
            mine = times == t
            out[rows[mine]] = self.model.growth(ur[mine], float(t)) / self.settings.minutes
        return out

    def _times(self, clock: np.ndarray) -> np.ndarray:
        """In the snapshots' own unit, from their own zero."""
        return self.model.times[0] + clock / self.settings.minutes
