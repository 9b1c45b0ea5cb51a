"""Diffusion that is not the same everywhere: matrix, bone, obstacles that nothing enters.

The operator is then no sum of one-dimensional ones, and the exponential of `_spreading` does not hold. Diffusion, decay
and exchange are one implicit system per stage, solved by multigrid: the trapezoidal rule and the backward formula of
order two in one step (Bank et al., IEEE Trans. Electron Devices 32, 1992, 1985), which damps whatever is fast
beside the step, with the estimate of its error by Hosea and Shampine (Appl. Numer. Math. 20, 21, 1996).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mechanistic.fields._conductances import Conductances
from mechanistic.fields._exchange import VoxelExchange
from mechanistic.fields._grid import Boundary, Grid, face_exchange
from mechanistic.fields._on_grid import OnGrid, check_step, not_negative
from mechanistic.fields._voxels import largest

Array = NDArray[np.float64]
_GAMMA = 2.0 - np.sqrt(2.0)
_OWN, _OTHERS = 0.5 * _GAMMA, 0.25 * np.sqrt(2.0)
#: what a step takes of each slope, and how far that is from the formula of order three
_TAKEN = np.array([_OTHERS, _OTHERS, _OWN])
_OFF = _TAKEN - np.array([1.0 - _OTHERS, 3.0 * _OTHERS + 1.0, _OWN]) / 3.0
_ERROR = 5e-4  # of the largest value, in a step
_SOLVED = 1e-9  # of the largest value: what a stage is solved to
_SHORTEST = 2.0**-20  # of the time asked for


class UnevenSolver(OnGrid):
    """du/dt = ∇·(diffusion ∇u) − decay u with the boundary, on a grid: second order in time and space.

    Args:
        grid: the voxels.
        diffusion: [um^2/min] in each voxel (nz, ny, nx), not negative; where it is zero nothing passes. Between two
            voxels counts what passes one after the other, the harmonic mean.
        decay: [1/min], not negative.
        boundary: the faces; no flux by default.

    Raises:
        ValueError: for a negative or infinite coefficient, or a wrong shape.
    """

    def __init__(self, grid: Grid, diffusion: Array, decay: float = 0.0, boundary: Boundary | None = None):
        diffusion = np.ascontiguousarray(diffusion, dtype=np.float64)
        if diffusion.shape != grid.shape:
            raise ValueError(f"diffusion must have the grid's shape {grid.shape} (got {diffusion.shape})")
        not_negative("diffusion", float(diffusion.min()))
        not_negative("diffusion", float(diffusion.max()))
        self.diffusion = diffusion
        self.boundary = boundary or Boundary()
        self._faces, inflow = _faces(grid, diffusion, self.boundary)
        super().__init__(grid, not_negative("decay", decay), inflow)
        ends = (self._faces.x[:, :, [0, -1]], self._faces.y[:, [0, -1]], self._faces.z[[0, -1]])
        self._leaks = any(end.any() for end, around in zip(ends, self._faces.around) if not around)

    def step(self, u: Array, dt: float, source: Array | None = None) -> Array:
        self._check(u)
        nothing, nowhere = np.empty(0), np.empty(0, np.int64)
        cells = VoxelExchange(nowhere, nothing, nothing, nowhere)
        if source is not None:
            cells = VoxelExchange(np.arange(u.size), np.zeros(u.size), source.reshape(-1), nowhere)
        self._step_with_exchange(u, check_step(dt), cells)
        return u

    def _step_with_exchange(self, u: Array, dt: float, cells: VoxelExchange) -> Array:
        loss, right = cells.everywhere(u.shape)
        loss += self.decay
        right += self._inflow
        seen, done, h = np.zeros(cells.voxel.size), 0.0, 1.0
        while done < 1.0:
            if h > 0.999 * (1.0 - done):
                h = 1.0 - done
            slopes, middle, end, error = self._stages(u, loss, right, h * dt)
            off = error / (_ERROR * max(largest(u), largest(end), 1e-300))
            if off <= 1.0 or h <= _SHORTEST:
                values = (u, middle, end)
                seen += h * dt * _mixed(_TAKEN, values).reshape(-1)[cells.voxel]
                u += h * dt * _mixed(_TAKEN, slopes)
                done = done + h if h < 1.0 - done else 1.0
            h *= min(4.0, max(0.1, 0.9 * max(off, 1e-9) ** (-1 / 3)))
        self._mend(u)
        return seen

    def _mend(self, u: Array) -> None:
        """What an overshoot took below zero is taken from all that is connected with it, in proportion, in place."""
        if u.min() >= 0.0:
            return
        flat, part = u.reshape(-1), self._parts
        total = np.bincount(part, weights=flat)
        np.maximum(flat, 0.0, out=flat)
        now = np.bincount(part, weights=flat)
        flat *= np.where(now > 0, np.maximum(total, 0.0) / np.where(now > 0, now, 1.0), 0.0)[part]

    @cached_property
    def _parts(self) -> NDArray[np.int64]:
        """Which part of the box, shut off from the others, each voxel is in (voxels,)."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        index, pairs = np.arange(self.grid.size).reshape(self.grid.shape), []
        for axis, faces in enumerate((self._faces.z, self._faces.y, self._faces.x)):
            n = self.grid.shape[axis]
            for at in range(0 if self._faces.around[2 - axis] else 1, n):
                opened = np.take(faces, at, axis) > 0
                pairs.append([np.take(index, at - 1, axis)[opened], np.take(index, at, axis)[opened]])
        one, other = (np.concatenate([p[k] for p in pairs]) for k in range(2))
        links = coo_array((np.ones(one.size), (one, other)), shape=(self.grid.size,) * 2)
        return connected_components(links, directed=False)[1].astype(np.int64)

    def _stages(
        self, u: Array, loss: Array, right: Array, h: float
    ) -> tuple[tuple[Array, Array, Array], Array, Array, float]:
        """The slopes of a step of h [min] from u, the values at its second and third stage, its error."""
        grid = self._multigrid
        pull = 1.0 / (_OWN * h) if h > 0 else np.inf
        if not np.isfinite(pull):
            nothing = np.zeros_like(u)
            return (nothing, nothing, nothing), u, u, 0.0
        grid.lose(loss + pull)
        limit = _SOLVED * max(largest(u), 1e-300) * pull * np.sqrt(u.size)

        def enough(share: float) -> Callable[[float, float, float], bool]:
            return lambda now, *_: now <= share * limit

        first = grid.rest(u, right, loss=loss)
        middle = u.copy()
        grid.solve(middle, right + pull * (u + h * _OWN * first), enough(1.0), True)
        second = grid.rest(middle, right, loss=loss)
        end = middle.copy()
        grid.solve(end, right + pull * (u + h * _OTHERS * (first + second)), enough(1.0), True)
        third = grid.rest(end, right, loss=loss)
        # the system takes what is fast out of the estimate, as it does out of the step
        raw = pull * h * _mixed(_OFF, (first, second, third))
        error = np.zeros_like(u)
        grid.solve(error, raw, enough(1e4), True)
        return (first, second, third), middle, end, largest(error)

    def _conductances(self) -> tuple[Conductances, bool]:
        return self._faces, False

    def _rests(self, loss: float) -> bool:
        return loss > 0 or self._leaks


def _mixed(weights: Array, values: tuple[Array, Array, Array]) -> Array:
    return weights[0] * values[0] + weights[1] * values[1] + weights[2] * values[2]


def _faces(grid: Grid, diffusion: Array, boundary: Boundary) -> tuple[Conductances, Array]:
    """Conductances of all faces, and what those of the box bring [value/min]."""
    inflow, around, found = np.zeros(grid.shape), [], []
    for axis in range(3):
        along = np.moveaxis(diffusion, 2 - axis, 0)
        n = len(along)
        faces = np.zeros((n + 1, *along.shape[1:]))
        low, high = boundary.of_axis(axis)
        ring = low == "periodic" and n > 1
        if n > 1 or axis < 2 or grid.dims == 3:
            before, after = along[:-1], along[1:]
            both = np.maximum(before + after, 1e-300)
            faces[1:n] = 2.0 * before * after / both / grid.spacing**2
            if ring:
                faces[0] = faces[n] = (
                    2.0 * along[-1] * along[0] / np.maximum(along[-1] + along[0], 1e-300) / grid.spacing**2
                )
            else:
                coming = np.moveaxis(inflow, 2 - axis, 0)
                for side, place, face in ((0, 0, low), (n, n - 1, high)):
                    for value in np.unique(along[place]):
                        here = along[place] == value
                        passing, gain = face_exchange(face, float(value), grid.spacing)
                        faces[side][here] = passing
                        coming[place][here] += gain
        around.append(ring)
        found.append(np.ascontiguousarray(np.moveaxis(faces, 0, 2 - axis)))
    x, y, z = found
    return Conductances(grid.shape, x, y, z, (around[0], around[1], around[2])), inflow
