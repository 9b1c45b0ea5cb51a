"""A live-cell imager that reads how much of the image is covered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sim.core.signals import Signals
from sim.core.state import State
from sim.instruments.base import Channel
from sim.processes.box import BoxSettings

INCUCYTE_CHANNELS = {
    "live_area": Channel("live_area", "%", "share of the image covered by living cells (phase confluence)"),
    "annexin_v": Channel(
        "annexin_v", "%", "share of the image covered by annexin-V-positive cells (apoptosis)"
    ),
    "dead_dna": Channel("dead_dna", "%", "share of the image covered by stained DNA of lysed cells"),
}


@dataclass(frozen=True)
class Incucyte:
    """A live-cell imager that reads covered areas, as percent of the image.

    A living cell covers the disc of its radius. A dying or lysed one is counted by the disc that it covered
    when it was healthy, times the `gain` of its stain: what the imager segments of it, as calibrated on real
    wells where the weights carry a calibration. Overlapping discs count once, as in a segmented image.

    Attributes:
        name: name in the results.
        every: time between two readings [min].
        channels: names among `INCUCYTE_CHANNELS`.
        apoptotic, lysed: phase codes.
        healthy: volume of a healthy cell by type code [um³].
        gain: stained area relative to the healthy cell's, by channel; 1 where nothing is said.
        background: reading of each channel without cells [%].
    """

    name: str
    every: float
    channels: Sequence[str]
    box: BoxSettings
    apoptotic: int
    lysed: int
    healthy: Mapping[int, float]
    gain: Mapping[str, float] = field(default_factory=dict)
    background: Mapping[str, float] = field(default_factory=dict)

    def described(self) -> list[Channel]:
        return [INCUCYTE_CHANNELS[c] for c in self.channels]

    def read(self, state: State, signals: Signals) -> dict[str, float]:
        """Channel → reading [%] of the present state."""
        from sim.agents.life import radius_of

        phase = state["cell.phase"]
        healthy = np.zeros(len(state))
        for code, volume in self.healthy.items():
            healthy[state["cell.type"] == code] = radius_of(volume)
        seen = {
            "live_area": (phase < self.apoptotic, signals["cell.radius"]),
            "annexin_v": (phase == self.apoptotic, healthy),
            "dead_dna": (phase == self.lysed, healthy),
        }
        readings = {}
        for channel in self.channels:
            rows, radii = seen[channel]
            covered = self._covered(state["cell.position"][rows], radii[rows])
            readings[channel] = 100 * self.gain.get(channel, 1.0) * covered + self.background.get(
                channel, 0.0
            )
        return readings

    def _covered(self, positions: np.ndarray, radii: np.ndarray) -> float:
        from sim.agents.coverage import covered_share

        return covered_share(
            positions, radii, np.array(self.box.lower), np.array(self.box.upper), self.box.periodic
        )
