"""The operator of a field written as a matrix, voxel by voxel, which solvers are held to."""

from __future__ import annotations

import numpy as np

from mechanistic.fields import Boundary, Grid

PERIODIC = Boundary.everywhere("periodic")
MIXED = Boundary(x_min=2.0, x_max="no_flux", y_min="periodic", y_max="periodic", z_min=1.0, z_max=3.0)


def line(n: int, rate: float, low, high) -> tuple[np.ndarray, np.ndarray]:
    """The finite-volume matrix along one axis, written voxel by voxel, and the inflow."""
    matrix, inflow = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        for j, face in ((i - 1, low), (i + 1, high)):
            if 0 <= j < n or face == "periodic":
                matrix[i, j % n] += rate
                matrix[i, i] -= rate
            elif face != "no_flux":
                matrix[i, i] -= 2 * rate
                inflow[i] += 2 * rate * face
    return matrix, inflow


def whole(grid: Grid, diffusion: float, decay: float, boundary: Boundary) -> tuple[np.ndarray, np.ndarray]:
    """The matrix of the whole field (u.ravel()) and its inflow."""
    (nz, ny, nx), rate = grid.shape, diffusion / grid.spacing**2
    (x, bx), (y, by) = (line(n, rate, *boundary.of_axis(axis)) for axis, n in ((0, nx), (1, ny)))
    z, bz = line(nz, rate, *boundary.of_axis(2)) if nz > 1 else (np.zeros((1, 1)), np.zeros(1))
    i, j, k = np.eye(nx), np.eye(ny), np.eye(nz)
    matrix = np.kron(k, np.kron(j, x)) + np.kron(k, np.kron(y, i)) + np.kron(z, np.kron(j, i))
    inflow = bz[:, None, None] + by[None, :, None] + bx[None, None, :]
    return matrix - decay * np.eye(nx * ny * nz), inflow.ravel()
