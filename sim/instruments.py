"""Virtual instruments: what a real one would read from the simulated tissue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sim.core.signals import Signals
from sim.core.state import State
from sim.processes.fields import BoxSettings


@dataclass(frozen=True)
class Channel:
    """One number that an instrument gives: unit and what it means."""

    name: str
    unit: str
    meaning: str


INCUCYTE_CHANNELS = {
    "live_area": Channel("live_area", "%", "share of the image covered by living cells (phase confluence)"),
    "annexin_v": Channel("annexin_v", "%", "share of the image covered by annexin-V-positive cells (apoptosis)"),
    "dead_dna": Channel("dead_dna", "%", "share of the image covered by stained DNA of lysed cells"),
}


@dataclass(frozen=True)
class Incucyte:
    """A live-cell imager that reads covered areas, as percent of the image.

    Each cell covers the disc of its projected area; overlapping discs count once, as in a segmented image.
    A cell spread on plastic is flatter than a sphere: `spread` is its projected area relative to that of the
    sphere of its volume, and the stained object of a dying or lysed cell is smaller or larger than the cell by
    its own factor. The factors come from the weights' calibration to real wells where there is one.

    Attributes:
        name: name in the results.
        every: time between two readings [min].
        channels: names among `INCUCYTE_CHANNELS`.
        apoptotic, lysed: phase codes.
        spread: projected area of living, apoptotic and lysed cells relative to the sphere's cross-section.
        background: reading of each channel without cells [%].
    """

    name: str
    every: float
    channels: Sequence[str]
    box: BoxSettings
    apoptotic: int
    lysed: int
    spread: Mapping[str, float] = field(default_factory=dict)
    background: Mapping[str, float] = field(default_factory=dict)

    def described(self) -> list[Channel]:
        return [INCUCYTE_CHANNELS[c] for c in self.channels]

    def read(self, state: State, signals: Signals) -> dict[str, float]:
        """Channel → reading [%] of the present state."""
        phase = state["cell.phase"]
        groups = {"live_area": phase < self.apoptotic, "annexin_v": phase == self.apoptotic, "dead_dna": phase == self.lysed}
        radius = signals["cell.radius"]
        readings = {}
        for channel in self.channels:
            rows = np.flatnonzero(groups[channel])
            radii = radius[rows] * np.sqrt(self.spread.get(channel, 1.0))
            readings[channel] = 100 * self._covered(state["cell.position"][rows], radii) + self.background.get(channel, 0.0)
        return readings

    def _covered(self, positions: np.ndarray, radii: np.ndarray) -> float:
        from sim.agents.coverage import covered_share

        return covered_share(positions, radii, np.array(self.box.lower), np.array(self.box.upper), self.box.periodic)
