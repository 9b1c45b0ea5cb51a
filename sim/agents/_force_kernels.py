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


@njit(inline="always")
def _on_one(i, cells, reach, lengths, wraps, begin, end, indices):
    """Velocity (three numbers) and Σ (1 − d/R)² of cell i. One root and one division a pair, no branch."""
    x, y, z, radius = cells[i, 0], cells[i, 1], cells[i, 2], cells[i, 3]
    repulsion, adhesion = cells[i, 4], cells[i, 5]
    farther = 1.0 / reach
    vx, vy, vz, squeezed = 0.0, 0.0, 0.0, 0.0
    for k in range(begin, end):
        j = indices[k]
        dx = x - cells[j, 0]
        dy = y - cells[j, 1]
        dz = z - cells[j, 2]
        if wraps:
            dx = _nearest(dx, lengths[0])
            dy = _nearest(dy, lengths[1])
            dz = _nearest(dz, lengths[2])
        touch = radius + cells[j, 3]
        distance = max(math.sqrt(dx * dx + dy * dy + dz * dz), 1e-5)
        inverse = 1.0 / (distance * touch)
        apart = distance * (inverse * distance)  # d/R
        overlap = max(1.0 - apart, 0.0)
        hold = max(1.0 - apart * farther, 0.0)
        overlap *= overlap
        push = (repulsion * cells[j, 4] * overlap - adhesion * cells[j, 5] * (hold * hold)) * (inverse * touch)
        vx += push * dx
        vy += push * dy
        vz += push * dz
        squeezed += overlap
    return vx, vy, vz, squeezed


@njit(parallel=True)
def forces(cells, reach, lengths, indptr, indices, drift, free, velocity, pressure):
    """Velocity and simple pressure of each cell from the cells in its row, summed in the row's order.

    cells: (n, 6), x, y, z, radius and the square roots of repulsion and adhesion; drift: (n, 3), velocity that the
    cell adds by itself; free: (n,), 0.0 for cells that never move, else 1.0.
    """
    wraps = lengths[0] > 0.0 or lengths[1] > 0.0 or lengths[2] > 0.0
    for i in prange(cells.shape[0]):
        begin, end = indptr[i], indptr[i + 1]
        if wraps:
            vx, vy, vz, squeezed = _on_one(i, cells, reach, lengths, True, begin, end, indices)
        else:
            vx, vy, vz, squeezed = _on_one(i, cells, reach, lengths, False, begin, end, indices)
        velocity[i, 0] = (vx + drift[i, 0]) * free[i]
        velocity[i, 1] = (vy + drift[i, 1]) * free[i]
        velocity[i, 2] = (vz + drift[i, 2]) * free[i]
        pressure[i] = squeezed / PRESSURE_SCALE


@njit(parallel=True)
def stage(start, h, slopes, weights, lower, upper, built_at, out):
    """out = start + h Σ_s weights[s] slopes[s] in x, y and z, kept between lower and upper (3,).

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
