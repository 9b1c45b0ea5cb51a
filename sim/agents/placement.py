"""Where cells start: at random, in a disc or ball, or on the densest lattice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanistic.random import uniforms

__all__ = ["disc", "hexagonal", "hexagonal_lattice", "random_points"]

Array = NDArray[np.float64]
_ORIGIN = (0.0, 0.0, 0.0)


def random_points(
    n: int, lower: ArrayLike, upper: ArrayLike, dims: Literal[2, 3], key: int | np.uint64
) -> Array:
    """n points uniform in the box between two corners (3,) [um]: (n, 3); in two dimensions z is the box's
    middle.

    Point i depends on key and i alone.
    """
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    u = np.full((n, 3), 0.5)
    u[:, :dims] = uniforms(key, 0, np.arange(n), dims)
    return low + u * (high - low)


def disc(
    n: int, radius: float, dims: Literal[2, 3], key: int | np.uint64, centre: Sequence[float] = _ORIGIN
) -> Array:
    """n points uniform in a disc (a ball in three dimensions) of the given radius [um]: (n, 3)."""
    u = uniforms(key, 0, np.arange(n), 3)
    angle = 2.0 * np.pi * u[:, 1]
    height = 1.0 - 2.0 * u[:, 2] if dims == 3 else np.zeros(n)
    ring = np.sqrt(1.0 - height * height)
    far = radius * u[:, 0] ** (1.0 / dims)
    return np.asarray(centre, dtype=np.float64) + far[:, None] * np.stack(
        [ring * np.cos(angle), ring * np.sin(angle), height], axis=1
    )


def hexagonal(n: int, spacing: float, dims: Literal[2, 3] = 2, centre: Sequence[float] = _ORIGIN) -> Array:
    """The n points of a hexagonal lattice (face-centred cubic in 3-D) nearest to its centre: (n, 3), from
    inside out.

    Points equally far are taken by angle, then height, so that the patch is the same everywhere.
    """
    cells = n * (0.5 * np.sqrt(3.0) if dims == 2 else np.sqrt(0.5))  # area or volume of n points, in spacings
    edge = spacing * (np.sqrt(cells / np.pi) if dims == 2 else np.cbrt(0.75 * cells / np.pi))
    corner = np.full(3, edge + 3.0 * spacing)
    points = _lattice(-corner, corner, spacing, dims)
    far = np.round((points**2).sum(axis=1) / spacing**2, 9)
    angle = np.round(np.arctan2(points[:, 1], points[:, 0]), 9)
    chosen = np.lexsort((np.round(points[:, 2] / spacing, 9), angle, far))[:n]
    return points[chosen] + np.asarray(centre, dtype=np.float64)


def hexagonal_lattice(lower: ArrayLike, upper: ArrayLike, spacing: float, dims: Literal[2, 3] = 2) -> Array:
    """All points of a hexagonal lattice (face-centred cubic in 3-D) through the middle of a box that lie in
    it: (n, 3).

    Rows run along x, in ascending (z, y, x).
    """
    low, high = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    middle = 0.5 * (low + high)
    points = _lattice(low - middle, high - middle, spacing, dims)
    return points[np.lexsort((points[:, 0], np.round(points[:, 1], 9), np.round(points[:, 2], 9)))] + middle


def _lattice(low: Array, high: Array, spacing: float, dims: int) -> Array:
    """Lattice points through 0 between two corners. Layers of triangles, in 3-D stacked as ABC."""
    if not (np.isfinite(spacing) and spacing > 0):
        raise ValueError(f"spacing must be positive (got {spacing})")
    rise, lift = spacing * np.sqrt(0.75), spacing * np.sqrt(2.0 / 3.0)
    layers = range(int(np.ceil(low[2] / lift)), int(np.floor(high[2] / lift)) + 1) if dims == 3 else (0,)
    out = []
    for k in layers:
        shift = k % 3  # A, B, C: each layer lies in the hollows of the one below
        y0 = shift * rise / 3.0
        rows = np.arange(np.ceil((low[1] - y0) / rise), np.floor((high[1] - y0) / rise) + 1)
        for j in rows:
            x0 = spacing * (0.5 * (j % 2) + 0.5 * shift)
            i = np.arange(
                np.ceil((low[0] - x0) / spacing - 1e-9), np.floor((high[0] - x0) / spacing + 1e-9) + 1
            )
            out.append(
                np.stack(
                    [x0 + i * spacing, np.full(i.size, y0 + j * rise), np.full(i.size, k * lift)], axis=1
                )
            )
    return np.concatenate(out) if out else np.empty((0, 3))
