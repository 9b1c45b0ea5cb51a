"""Cells that walk: a persistent random walk, biased along a gradient, as PhysiCell defines it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanistic.random import uniforms

__all__ = ["across", "ahead", "motile_velocity", "random_directions", "turn"]

Array = NDArray[np.float64]


def turn(
    direction: Array,
    gradient: Array,
    bias: Array,
    persistence: Array,
    dt: float,
    key: int | np.uint64,
    step: int,
    ids: NDArray[np.int64],
    dims: Literal[2, 3],
) -> None:
    """Lets some cells choose a new direction, in place.

    Within dt a cell turns with probability 1 − exp(−dt/persistence) (PhysiCell: dt/persistence, its limit for
    small dt). The new direction is that of (1 − bias)·r + bias·g, where r is uniform on the circle or sphere
    and g the direction of the gradient (nothing where it vanishes).

    Args:
        direction: unit vectors, or zero for cells at rest (n, 3), changed.
        gradient: of what attracts them (n, 3), any length; negated for what repels.
        bias: 0 (random) to 1 (straight along the gradient) (n,).
        persistence: mean time between turns (n,) [min]; 0 turns at every call.
        dt: [min].
        key, step, ids: of the stream of random numbers, see `mechanistic.random`.
        dims: 2 keeps to the plane.
    """
    u = uniforms(key, step, ids, 3)
    patience = np.maximum(np.asarray(persistence, dtype=np.float64), 1e-300)
    turning = u[:, 0] < -np.expm1(-dt / patience)
    if not turning.any():
        return
    ahead = np.array(gradient, dtype=np.float64)[turning]
    if dims == 2:
        ahead[:, 2] = 0.0
    weight = np.asarray(bias, dtype=np.float64)[turning, None]
    direction[turning] = _unit((1.0 - weight) * _on_sphere(u[turning, 1:], dims) + weight * _unit(ahead))


def ahead(gradient: Array, raw: NDArray[np.bool_]) -> Array:
    """Gradients (n, 3) as they count in chemotaxis: by direction alone, by their steepness too where `raw` (n,)."""
    return np.where(raw[:, None], gradient, _unit(gradient))


def across(directions: Array, axis: ArrayLike, polarity: float) -> Array:
    """Unit vectors (n, 3) without `polarity` (0 to 1) of their part along an axis (3,), of length one again.

    One that lies along the axis stays as it is.
    """
    along = _unit(np.asarray(axis, dtype=np.float64)[None])[0]
    flat = directions - polarity * (directions @ along)[:, None] * along
    size = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(size > 1e-9, flat / np.maximum(size, 1e-9), directions)


def motile_velocity(speed: ArrayLike, direction: Array) -> Array:
    """speed (n,) [um/min] along direction (n, 3): (n, 3) [um/min]."""
    return np.asarray(speed, dtype=np.float64)[:, None] * direction


def random_directions(key: int | np.uint64, step: int, ids: NDArray[np.int64], dims: Literal[2, 3]) -> Array:
    """Unit vectors (n, 3), uniform on the circle in the plane or on the sphere."""
    return _on_sphere(uniforms(key, step, ids, 2), dims)


def _on_sphere(u: Array, dims: int) -> Array:
    """Two uniform numbers (n, 2) as a unit vector (n, 3)."""
    angle = 2.0 * np.pi * u[:, 0]
    height = 1.0 - 2.0 * u[:, 1] if dims == 3 else np.zeros(len(u))
    ring = np.sqrt(np.maximum(1.0 - height * height, 0.0))
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)


def _unit(vectors: Array) -> Array:
    """Vectors (n, 3) at length one; zero stays zero, and so does what is not finite."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    usable = np.isfinite(largest) & (largest > 0)
    scaled = np.where(usable, vectors / np.where(usable, largest, 1.0), 0.0)
    length = np.sqrt((scaled**2).sum(axis=1, keepdims=True))
    return scaled / np.where(length > 0, length, 1.0)
