"""A flow cytometer: labels of single cells drawn from the tissue, each counted in photons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sim.core.signals import Signals
from sim.core.state import State
from sim.instruments.base import Axis, Channel, chosen, noise_key, times_read, values_of


@dataclass(frozen=True)
class Label:
    """One colour of the cytometer.

    Attributes:
        quantity: what is labelled; empty for a dye that is the same in every cell.
        brightness: photons per unit of the quantity; background: photons of an event without it.
        variation: relative standard deviation of the labelling from cell to cell (lognormal).
        spills: other label -> photons that its detector counts of this label's light, for each that this one's does.
    """

    name: str
    quantity: str
    brightness: float
    background: float = 0.0
    variation: float = 0.0
    spills: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Cytometer:
    """Draws up to `events` without replacement and counts each label's photons (Poisson).

    The tissue is not used up: each reading stands for a dish of its own. Which cells are drawn, in which order
    and with which noise is of (seed, instrument, label, reading, cell).

    Attributes:
        types: codes of the cell types that pass, None for all; phases: codes of the phases that pass.
        doublets: share of events in which two cells pass as one.
    """

    name: str
    every: float
    seed: int
    labels: tuple[Label, ...]
    events: int
    types: tuple[int, ...] | None
    phases: tuple[int, ...]
    doublets: float = 0.0

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    @property
    def spillover(self) -> np.ndarray:
        """(label, detector): what each detector counts of a label's light, its own being 1."""
        own = np.eye(len(self.labels))
        for i, label in enumerate(self.labels):
            for other, share in label.spills.items():
                own[i, self.channels.index(other)] = share
        return own

    def described(self) -> list[Channel]:
        axes = (
            Axis("event", list(range(self.events)), "1", "number of the event, NaN where there was none"),
        )
        rows = self.spillover.tolist()
        return [
            Channel(
                x.name,
                "photon",
                f"label of {x.quantity}" if x.quantity else "dye",
                axes,
                "float32",
                {"spillover": row, "spillover_to": list(self.channels), "background_photons": x.background},
            )
            for x, row in zip(self.labels, rows, strict=True)
        ]

    def read(self, state: State, signals: Signals) -> dict[str, np.ndarray]:
        """Label -> photons (event,), in the order in which the cells pass; NaN behind the last."""
        from mechanistic.random import normals, uniforms
        from sim.instruments.photons import poisson

        reading = times_read(state, self.every)
        rows = np.flatnonzero(chosen(state, self.types, self.phases))
        drawn = uniforms(noise_key(self, self.seed), reading, state.ids[rows], 1)[:, 0]
        rows = rows[np.argsort(drawn, kind="stable")]
        # the first cell of each event, and behind the last event where the cells end
        pairs = uniforms(noise_key(self, self.seed, "doublets"), reading, np.arange(self.events), 1)[:, 0]
        first = np.concatenate([[0], np.cumsum(1 + (pairs < self.doublets))])
        first = np.minimum(first[: np.searchsorted(first, len(rows)) + 1], len(rows))
        rows, events = rows[: first[-1]], len(first) - 1
        light = np.zeros((len(self.labels), events))
        for i, x in enumerate(self.labels):
            value = values_of(signals, x.quantity)[rows] if x.quantity else np.ones(len(rows))
            sd = np.sqrt(np.log1p(x.variation**2))
            key = noise_key(self, self.seed, x.name)
            varied = np.exp(sd * normals(key, reading, state.ids[rows], 1)[:, 0] - 0.5 * sd**2)
            shine = x.brightness * varied * np.maximum(np.nan_to_num(value), 0.0)
            light[i] = np.add.reduceat(shine, first[:-1]) if events else 0.0
        out = {}
        seen = np.einsum("ij,ik->jk", self.spillover, light)
        for x, photons in zip(self.labels, seen, strict=True):
            counts = np.full(self.events, np.nan)
            shots = noise_key(self, self.seed, x.name, "photons")
            counts[:events] = poisson(shots, reading, state.ids[rows[first[:-1]]], x.background + photons)
            out[x.name] = counts
        return out
