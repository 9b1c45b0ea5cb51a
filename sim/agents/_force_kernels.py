"""The PhysiCell potential and the stages of its integration, as kernels; `sim.agents.mechanics` is the way
in."""

from __future__ import annotations

import math

import numpy as np

from mechanistic.jit import njit, prange

# what PhysiCell divides the sum of (1 − d/R)² by to give simple pressure: its value at confluence per
# neighbour
PRESSURE_SCALE = 0.027288820670331


@njit(inline="always")
def _nearest(difference, length):
    return difference - length * np.rint(difference / length) if length > 0.0 else difference


@njit(parallel=True)
def forces(positions, radii, roots, reach, lengths, indptr, indices, drift, free, velocity, pressure):
    """Velocity and simple pressure of each cell from the cells in its row, summed in the row's order.

    roots: (n, 2), square roots of repulsion and adhesion; drift: (n, 3), velocity that the cell adds by
        itself;
    free: (n,), 0.0 for cells that never move, else 1.0.
    """
    lx, ly, lz = lengths[0], lengths[1], lengths[2]
    for i in prange(positions.shape[0]):
        x, y, z, radius = positions[i, 0], positions[i, 1], positions[i, 2], radii[i]
        repulsion, adhesion = roots[i, 0], roots[i, 1]
        vx, vy, vz, squeezed = 0.0, 0.0, 0.0, 0.0
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            dx = _nearest(x - positions[j, 0], lx)
            dy = _nearest(y - positions[j, 1], ly)
            dz = _nearest(z - positions[j, 2], lz)
            touch = radius + radii[j]
            square = dx * dx + dy * dy + dz * dz
            if square < (reach * touch) * (reach * touch):
                distance = max(math.sqrt(square), 1e-5)
                overlap = max(1.0 - distance / touch, 0.0)
                hold = max(1.0 - distance / (reach * touch), 0.0)
                overlap *= overlap
                push = (repulsion * roots[j, 0] * overlap - adhesion * roots[j, 1] * (hold * hold)) / distance
                vx += push * dx
                vy += push * dy
                vz += push * dz
                squeezed += overlap
        velocity[i, 0] = (vx + drift[i, 0]) * free[i]
        velocity[i, 1] = (vy + drift[i, 1]) * free[i]
        velocity[i, 2] = (vz + drift[i, 2]) * free[i]
        pressure[i] = squeezed / PRESSURE_SCALE


@njit(parallel=True)
def stage(start, h, slopes, weights, lower, upper, built_at, out):
    """out = start + h Σ_s weights[s] slopes[s], kept between lower and upper (3,).

    Returns the largest squared distance of out from `built_at`, and whether a cell met a wall.
    """
    n = start.shape[0]
    blocks = (n + 1023) // 1024
    moved = np.zeros(blocks)
    met = np.zeros(blocks, np.bool_)
    for b in prange(blocks):
        for i in range(b * 1024, min((b + 1) * 1024, n)):
            square = 0.0
            for axis in range(3):
                slope = 0.0
                for s in range(weights.size):
                    slope += weights[s] * slopes[s, i, axis]
                x = start[i, axis] + h * slope
                if x < lower[axis]:
                    x = lower[axis]
                    met[b] = True
                elif x > upper[axis]:
                    x = upper[axis]
                    met[b] = True
                out[i, axis] = x
                square += (x - built_at[i, axis]) ** 2
            moved[b] = max(moved[b], square)
    return moved.max(), met.any()


@njit(parallel=True)
def largest(h, slopes, weights):
    """The largest component of h Σ_s weights[s] slopes[s] over all cells [um]; infinite if one is not
    finite."""
    n = slopes.shape[1]
    blocks = (n + 1023) // 1024
    most = np.zeros(blocks)
    for b in prange(blocks):
        for i in range(b * 1024, min((b + 1) * 1024, n)):
            for axis in range(3):
                slope = 0.0
                for s in range(weights.size):
                    slope += weights[s] * slopes[s, i, axis]
                size = abs(h * slope)
                if not size <= 1e300:
                    size = np.inf
                most[b] = max(most[b], size)
    return most.max()
