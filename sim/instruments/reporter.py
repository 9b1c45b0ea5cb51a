"""A reporter: a signal that follows a quantity of the cells, of the whole well or of single cells followed in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.core.signals import Signals
from sim.core.state import State
from sim.instruments.base import Axis, Channel, chosen, noise_key, times_read, values_of


@dataclass(frozen=True)
class Probe:
    """One reported quantity.

    Attributes:
        gain: signal per unit of the quantity; background: signal of a cell that has none of it.
        variation: relative standard deviation of the gain from one reading of a cell to the next.
        noise: standard deviation of what the detector adds [signal].
        unit: of the signal.
    """

    name: str
    quantity: str
    gain: float = 1.0
    background: float = 0.0
    variation: float = 0.0
    noise: float = 0.0
    unit: str = "1"


@dataclass(frozen=True)
class Reporter:
    """Reads the mean of the living cells, or `tracks` cells one by one.

    Followed are the first cells of these types that the run began with, in the order of their numbers. A
    track ends (NaN) when its cell dies; after a division it goes on with the daughter that keeps the number.
    Noise is of (seed, instrument, probe, reading, cell).

    Attributes:
        types: codes of the cell types read, None for all.
        living: phase codes of living cells.
        tracks: number of cells followed; 0 reads the mean.
    """

    name: str
    every: float
    seed: int
    probes: tuple[Probe, ...]
    types: tuple[int, ...] | None
    living: tuple[int, ...]
    tracks: int = 0

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.probes)

    def described(self) -> list[Channel]:
        if not self.tracks:
            return [Channel(p.name, p.unit, f"signal of {p.quantity}, mean") for p in self.probes]
        axes = (Axis("track", list(range(self.tracks)), "1", "number of the track"),)
        which = Channel("cell", "1", "number of the followed cell, -1: none", axes, "int64")
        return [which, *(Channel(p.name, p.unit, f"signal of {p.quantity}", axes) for p in self.probes)]

    def read(self, state: State, signals: Signals) -> dict[str, float | np.ndarray]:
        """Probe -> mean signal, or signals (track,) with the number of each followed `cell`."""
        rows = np.flatnonzero(chosen(state, self.types, self.living))
        if not self.tracks:
            return {p.name: self._mean(self._signal(p, state, signals, rows)) for p in self.probes}
        followed = self._followed(state)
        ids = state.ids[rows]
        place = np.searchsorted(ids, followed)
        there = np.zeros(len(followed), bool)
        inside = place < len(ids)
        there[inside] = ids[place[inside]] == followed[inside]
        out: dict[str, float | np.ndarray] = {"cell": np.full(self.tracks, -1, np.int64)}
        out["cell"][: len(followed)] = followed  # type: ignore[index]
        for p in self.probes:
            signal = np.full(self.tracks, np.nan)
            signal[np.flatnonzero(there)] = self._signal(p, state, signals, rows[place[there]])
            out[p.name] = signal
        return out

    # ---- parts

    def _followed(self, state: State) -> np.ndarray:
        first = state.lineage["parent"] < 0
        if self.types is not None:
            first &= np.isin(state.lineage["type"], list(self.types))
        return np.flatnonzero(first)[: self.tracks]

    def _mean(self, signal: np.ndarray) -> float:
        known = signal[np.isfinite(signal)]
        return float(known.mean()) if known.size else float("nan")

    def _signal(self, p: Probe, state: State, signals: Signals, rows: np.ndarray) -> np.ndarray:
        from mechanistic.random import normals

        value = values_of(signals, p.quantity)[rows]
        key = noise_key(self, self.seed, p.name)
        noise = normals(key, times_read(state, self.every), state.ids[rows], 2)
        # lognormal with mean 1, so that the gain stays what it is
        sd = np.sqrt(np.log1p(p.variation**2))
        varied = np.exp(sd * noise[:, 0] - 0.5 * sd**2)
        return p.background + p.gain * varied * value + p.noise * noise[:, 1]
