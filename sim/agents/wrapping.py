"""Axes that wrap: the nearest image of another cell, and the place inside the domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lengths", "inside", "nearest", "nearest_images", "periods"]

Array = NDArray[np.float64]
Lengths = Sequence[float] | Array | None


def periods(periodic: Lengths) -> Array:
    """Periods as an array (3,), 0 where an axis does not wrap."""
    lengths = np.zeros(3) if periodic is None else np.array([p or 0.0 for p in periodic], dtype=np.float64)
    if lengths.shape != (3,) or not np.all(np.isfinite(lengths)) or lengths.min() < 0:
        raise ValueError(f"periodic must be three lengths, none negative (got {periodic})")
    return lengths


def nearest(difference, length):
    """The difference to the nearest image, for loops; odd in its argument, so that pairs see each other alike."""
    return difference - length * np.rint(difference / length) if length > 0.0 else difference


def nearest_images(away: Array, lengths: Array) -> Array:
    """Differences (n, 3) to the nearest images, in place."""
    for axis in np.flatnonzero(lengths > 0):
        away[:, axis] -= lengths[axis] * np.rint(away[:, axis] / lengths[axis])
    return away


def inside(positions: Array, corner: Array, lengths: Array) -> Array:
    """Positions (n, 3) [um] from `corner` (3,) on to below the end of the period along axes that wrap, in place."""
    for axis in np.flatnonzero(lengths):
        wrapped = corner[axis] + np.mod(positions[:, axis] - corner[axis], lengths[axis])
        # what is a rounding below the corner is at the end, which is the corner
        positions[:, axis] = np.where(wrapped < corner[axis] + lengths[axis], wrapped, corner[axis])
    return positions
