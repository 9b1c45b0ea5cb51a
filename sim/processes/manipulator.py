"""A learned vector field that moves each cell's universal representation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.representation import begin_at, place_in


@dataclass(frozen=True)
class ManipulatorSettings:
    """What a scenario says of one manipulator, and what its card says of itself."""

    name: str
    weights: Path
    card: Any
    #: by cell type code: the reference state that its cells begin in
    initial: dict[int, str]


class ManipulatorProcess(Process):
    """UR′ = f(UR, conditions, message): one neural ODE per space, integrated with conditions held over the step."""

    cost = 3

    def __init__(self, settings: ManipulatorSettings, step: float):
        card = settings.card
        super().__init__(f"manipulator.{settings.name}", step, frozenset(settings.initial))
        self.settings = settings
        self.space = card.space
        self.block = f"ur.{self.space}"
        self.condition_names = tuple(card.condition_names)
        self.message_names = tuple(card.message_names)
        self.states = (place_in(self.space, card),)
        self.inputs = (
            *(
                Quantity(f"condition.{c}", unit, f"dose of {c}", "input")
                for c, unit in card.condition_units.items()
            ),
            *(
                Quantity(f"message.{m}", "1", f"{m} told by the neighbours", "input")
                for m in card.message_names
            ),
        )
        self.readouts = tuple(
            Quantity(f"decoder.{d}", unit, f"{d} decoded from {self.block}", "readout")
            for d, unit in card.decoder_units.items()
        )
        self.reads = ("cell.living",)

    def prepare(self, streams) -> None:
        from neural import Manipulator

        super().prepare(streams)
        self.network = Manipulator.load(self.settings.weights)

    def initialise(self, state, rows) -> None:
        begin_at(self.settings.initial, self.network.initial, state[self.block], state, rows)

    def advance(self, state, signals, dt: float) -> None:
        rows = np.flatnonzero(self.members(state) & (signals["cell.living"] > 0))
        if rows.size:
            ur = state[self.block]
            ur[rows] = self.network.step(
                ur[rows], self._conditions(signals)[rows], self._message(signals)[rows], dt
            )

    def readout(self, name, state, signals) -> np.ndarray:
        """All decoders are computed together; the others' values come along for the same state."""
        key = (state.version, len(state))
        if getattr(self, "_decoded", (None, None))[0] != key:
            rows = np.flatnonzero(self.members(state))
            decoded = self.network.decode(
                state[self.block][rows], self._conditions(signals)[rows], self._message(signals)[rows]
            )
            self._decoded = (key, {f"decoder.{d}": _spread(v, rows, len(state)) for d, v in decoded.items()})
        return self._decoded[1][name]

    def follows(self, name: str) -> tuple[str, ...]:
        return tuple(q.name for q in self.inputs)

    def _conditions(self, signals) -> np.ndarray:
        return signals.stack([f"condition.{c}" for c in self.condition_names])

    def _message(self, signals) -> np.ndarray:
        return signals.stack([f"message.{m}" for m in self.message_names])


def _spread(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    out = np.full(count, np.nan)
    out[rows] = values
    return out
