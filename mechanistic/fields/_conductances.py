"""Conductances between the voxels of a box, and of boxes of fewer, larger voxels made of it.

What a voxel gives to a neighbour is conductance times difference, in units of one voxel of the finest box: the loss
of a coarse voxel is the sum of those of its parts, and so is what flows through a face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanistic.fields._spreading import Axis

Array = NDArray[np.float64]
_HOLLOW = 4.0  # inside a coarse voxel no more resistance counts than this, in those of the face it leads to


@dataclass(frozen=True)
class Conductances:
    """Faces of a box of voxels (nz, ny, nx) [1/min]; the first and last of each axis lead out of it, or around.

    Attributes:
        shape: (nz, ny, nx).
        x, y, z: (nz, ny, nx + 1), (nz, ny + 1, nx), (nz + 1, ny, nx); an axis other than the face's own may have length
            one where nothing depends on it.
        around: whether the ends along x, y, z are neighbours.
    """

    shape: tuple[int, int, int]
    x: Array
    y: Array
    z: Array
    around: tuple[bool, bool, bool]

    def fewer(self) -> Conductances:
        """The same of voxels two, at odd ends three, times as wide."""
        nz, ny, nx = self.shape
        z, y, x = (np.maximum(n // 2, 1) for n in self.shape)
        full = {
            0: np.broadcast_to(self.z, (nz + 1, ny, nx)),
            1: np.broadcast_to(self.y, (nz, ny + 1, nx)),
            2: np.broadcast_to(self.x, (nz, ny, nx + 1)),
        }
        faces = {axis: _coarse_faces(full[axis], axis, self.around[2 - axis]) for axis in full}
        return Conductances((int(z), int(y), int(x)), faces[2], faces[1], faces[0], self.around)


def of_axes(axes: Sequence[Axis]) -> Conductances:
    """Those of a box that is the same everywhere, given along x, y and z."""
    x, y, z = (_along(axis) for axis in axes)
    shape = axes[2].n, axes[1].n, axes[0].n
    return Conductances(
        shape,
        np.ascontiguousarray(x[None, None, :]),
        np.ascontiguousarray(np.broadcast_to(y[None, :, None], (1, shape[1] + 1, shape[2]))),
        np.ascontiguousarray(np.broadcast_to(z[:, None, None], (shape[0] + 1, 1, shape[2]))),
        (axes[0].periodic, axes[1].periodic, axes[2].periodic),
    )


def groups(n: int) -> NDArray[np.int64]:
    """Where the voxels of the coarser box begin among n voxels."""
    return np.arange(0, max(n - 1, 1), 2)


def _along(axis: Axis) -> Array:
    inside = np.full(axis.n + 1, axis.inside)
    if not axis.periodic:
        inside[0], inside[-1] = axis.low, axis.high
    return inside


def _coarse_faces(faces: Array, axis: int, around: bool) -> Array:
    """Resistances in a row along the axis, conductances side by side across it."""
    for other in range(3):
        if other != axis and faces.shape[other] > 1:
            faces = np.add.reduceat(faces, groups(faces.shape[other]), axis=other)
    line = np.moveaxis(faces, axis, 0)
    n = len(line) - 1
    if n == 1:
        return faces if not around else np.zeros_like(faces)
    with np.errstate(divide="ignore"):
        resistance = np.where(line > 0, 1.0 / line, np.inf)
    starts = groups(n)
    ends = np.append(starts[1:], n)
    inside = np.zeros((len(starts), *line.shape[1:]))
    for k in range(2):  # links between the two or three voxels of a group
        has = ends - starts > k + 1
        inside[has] += resistance[starts[has] + k + 1]
    at = np.append(starts, n)
    out = resistance[at]
    most = _HOLLOW * out
    before, after = inside[np.arange(len(starts)) - 1], inside
    extra = np.zeros_like(out)
    extra[:-1] += 0.5 * np.minimum(after, most[:-1])
    extra[1:] += 0.5 * np.minimum(after, most[1:])
    if around:
        extra[0] += 0.5 * np.minimum(before[0], most[0])
        extra[-1] += 0.5 * np.minimum(after[0], most[-1])
        if len(starts) == 1:
            return np.moveaxis(np.zeros_like(out), 0, axis)
    coarse = np.where(np.isfinite(out), 1.0 / (out + np.where(np.isfinite(extra), extra, 0.0)), 0.0)
    return np.ascontiguousarray(np.moveaxis(coarse, 0, axis))
