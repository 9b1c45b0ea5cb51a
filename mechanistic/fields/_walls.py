"""Walls inside the box through which a substance passes: vessels as straight tubes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanistic.fields._grid import Grid

Array = NDArray[np.float64]
_AROUND = 64  # points about the axis
_ALONG = 16  # points along it, a voxel edge


def wall_area(
    grid: Grid,
    start: ArrayLike,
    end: ArrayLike | None,
    radius: float,
    periodic: bool = False,
) -> Array:
    """Area of a tube's wall in each voxel (voxels,) [um^2]; their sum is 2π radius · length to rounding.

    The wall is cut into equal pieces, each of which belongs to the voxel at its middle. Pieces outside the box belong
    to the nearest voxel, or where the box is periodic to that one in which they come in again. In a 2-D field the
    tube lies in the layer, all of its wall in it.

    Args:
        grid: the voxels.
        start, end: ends of the axis (2,) or (3,) [um]. No `end`, in a 2-D field: a tube that passes the layer at
            right angles, one voxel edge long.
        radius: [um], positive.
        periodic: whether the box wraps.

    Raises:
        ValueError: for a radius or ends that make no tube.
    """
    if not (np.isfinite(radius) and radius > 0):
        raise ValueError(f"radius must be positive (got {radius})")
    a = _point(start)
    angle = 2 * np.pi * (np.arange(_AROUND) + 0.5) / _AROUND
    if end is None:
        if grid.dims == 3:
            raise ValueError("a tube in three dimensions needs an end")
        axis, length, middles = np.array([0.0, 0.0, 1.0]), grid.spacing, a[None]
    else:
        b = _point(end)
        length = float(np.linalg.norm(b - a))
        if not (np.isfinite(length) and length > 0):
            raise ValueError(f"start and end must differ and be finite (got {a} and {b})")
        axis = (b - a) / length
        pieces = int(np.ceil(_ALONG * length / grid.spacing))
        middles = a + (b - a) * ((np.arange(pieces) + 0.5) / pieces)[:, None]
    side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    around = radius * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other)
    points = (middles[:, None] + around).reshape(-1, 3)
    if periodic:
        extent = grid.spacing * np.array(grid.shape[::-1])
        points = np.array(grid.origin) + np.mod(points - grid.origin, extent)
    count = np.bincount(grid.voxel_of(points), minlength=grid.size)
    return count.astype(np.float64) * (2 * np.pi * radius * length / len(points))


def _point(at: ArrayLike) -> Array:
    given = np.asarray(at, dtype=np.float64)
    return np.concatenate([given, np.zeros(3 - given.size)])
