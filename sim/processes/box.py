"""The domain: where it ends, whether it wraps, how it is divided into voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sim.agents import wrapping

if TYPE_CHECKING:
    from mechanistic.fields import Grid


@dataclass(frozen=True)
class BoxSettings:
    """The domain: corners [um], voxel edge [um], periodic or not, 2 or 3 dimensions."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    voxel: float
    periodic: bool
    dims: Literal[2, 3]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        counts = [max(1, round((b - a) / self.voxel)) for a, b in zip(self.lower, self.upper)]
        return (counts[2] if self.dims == 3 else 1, counts[1], counts[0])

    @property
    def area(self) -> float:
        """Area of the (x, y) plane [um²]."""
        return (self.upper[0] - self.lower[0]) * (self.upper[1] - self.lower[1])

    @property
    def periods(self) -> np.ndarray | None:
        """After which it wraps (3,) [um], 0 along an axis that does not; None where none does."""
        if not self.periodic:
            return None
        lengths = np.array(self.upper) - np.array(self.lower)
        lengths[self.dims :] = 0.0
        return lengths

    def grid(self) -> Grid:
        from mechanistic.fields import Grid

        return Grid(origin=self.lower, spacing=self.voxel, shape=self.shape)

    def inside(self, positions: np.ndarray) -> np.ndarray:
        """Positions (n, 3) [um] brought back: to the face that they passed, or in by the other where it wraps."""
        periods = self.periods
        if periods is None:
            return np.clip(positions, self.lower, self.upper)
        return wrapping.inside(positions.copy(), np.array(self.lower), periods)
