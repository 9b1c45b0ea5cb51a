"""A flow cytometer: labels of single cells drawn from the tissue, each counted in photons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.core.signals import Signals
from sim.core.state import State
from sim.instruments.base import Axis, Channel, chosen, times_read, values_of


@dataclass(frozen=True)
class Label:
    """One colour of the cytometer.

    Attributes:
        quantity: what is labelled; empty for a dye that is the same in every cell.
        brightness: photons per unit of the quantity; background: photons of a cell without it.
        variation: relative standard deviation of the labelling from cell to cell (lognormal).
    """

    name: str
    quantity: str
    brightness: float
    background: float = 0.0
    variation: float = 0.0


@dataclass(frozen=True)
class Cytometer:
    """Draws up to `events` cells without replacement and counts each label's photons (Poisson).

    The tissue is not used up: each reading stands for a dish of its own. Which cells are drawn, in which order
    and with which noise is of (seed, instrument, label, reading, cell).

    Attributes:
        types: codes of the cell types that pass, None for all; phases: codes of the phases that pass.
    """

    name: str
    every: float
    seed: int
    labels: tuple[Label, ...]
    events: int
    types: tuple[int, ...] | None
    phases: tuple[int, ...]

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    def described(self) -> list[Channel]:
        axes = (
            Axis("event", list(range(self.events)), "1", "number of the event, NaN where there was none"),
        )
        return [
            Channel(x.name, "photon", f"label of {x.quantity}" if x.quantity else "dye", axes, "float32")
            for x in self.labels
        ]

    def read(self, state: State, signals: Signals) -> dict[str, np.ndarray]:
        """Label -> photons (event,), in the order in which the cells pass; NaN behind the last."""
        from mechanistic.random import normals, stream_key, uniforms
        from sim.instruments.photons import poisson

        reading = times_read(state, self.every)
        rows = np.flatnonzero(chosen(state, self.types, self.phases))
        drawn = uniforms(stream_key(self.seed, f"instrument {self.name}"), reading, state.ids[rows], 1)[:, 0]
        rows = rows[np.argsort(drawn, kind="stable")[: self.events]]
        out = {}
        for x in self.labels:
            value = values_of(signals, x.quantity)[rows] if x.quantity else np.ones(len(rows))
            key = stream_key(self.seed, f"instrument {self.name} {x.name}")
            sd = np.sqrt(np.log1p(x.variation**2))
            varied = np.exp(sd * normals(key, reading, state.ids[rows], 1)[:, 0] - 0.5 * sd**2)
            mean = x.background + x.brightness * varied * np.maximum(np.nan_to_num(value), 0.0)
            counts = np.full(self.events, np.nan)
            shots = stream_key(self.seed, f"instrument {self.name} {x.name} photons")
            counts[: len(rows)] = poisson(shots, reading, state.ids[rows], mean)
            out[x.name] = counts
        return out
