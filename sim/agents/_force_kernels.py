"""The PhysiCell potential and the stages of its integration, as kernels; `sim.agents.mechanics` is the way
in."""

from __future__ import annotations

import math

import numpy as np

from mechanistic.jit import njit, prange

# what PhysiCell divides the sum of (1 − d/R)² by to give simple pressure: its value at confluence per
# neighbour
PRESSURE_SCALE = 0.027288820670331


@njit
def _nearest(difference, length):
    return difference - length * np.rint(difference / length) if length > 0.0 else difference


@njit
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
        push = (repulsion * cells[j, 4] * overlap - adhesion * cells[j, 5] * (hold * hold)) * (
            inverse * touch
        )
        vx += push * dx
        vy += push * dy
        vz += push * dz
        squeezed += overlap
    return vx, vy, vz, squeezed


@njit(parallel=True)
def forces(cells, reach, lengths, indptr, indices, drift, free, velocity, pressure):
    """Velocity and simple pressure of each cell from the cells in its row, summed in the row's order.

    cells: (n, 6), x, y, z, radius and the square roots of repulsion and adhesion; drift: (n, 3), velocity
        that the
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
def further_forces(
    cells,
    types,
    affinity,
    reach,
    partners,
    elasticity,
    wall,
    lower,
    upper,
    lengths,
    indptr,
    indices,
    free,
    velocity,
):
    """Adds to velocity what `forces` leaves out: affinities of pairs of types, springs, walls.

    types: (n,) codes; affinity: (t, t), symmetric, by which adhesion is multiplied; partners: (n, k), rows of cells
    that a spring joins, -1 for none; elasticity: (n,), square roots of spring constants; wall: (n,), strength of
    repulsion by the faces lower and upper (3,), infinite where there is none.
    """
    for i in prange(cells.shape[0]):
        vx, vy, vz = 0.0, 0.0, 0.0
        if affinity.shape[0] > 0:
            for k in range(indptr[i], indptr[i + 1]):
                j = indices[k]
                excess = affinity[types[i], types[j]] - 1.0
                if excess != 0.0:
                    dx = _nearest(cells[i, 0] - cells[j, 0], lengths[0])
                    dy = _nearest(cells[i, 1] - cells[j, 1], lengths[1])
                    dz = _nearest(cells[i, 2] - cells[j, 2], lengths[2])
                    distance = max(math.sqrt(dx * dx + dy * dy + dz * dz), 1e-5)
                    hold = max(1.0 - distance / (reach * (cells[i, 3] + cells[j, 3])), 0.0)
                    pull = -excess * cells[i, 5] * cells[j, 5] * hold * hold / distance
                    vx += pull * dx
                    vy += pull * dy
                    vz += pull * dz
        for k in range(partners.shape[1]):
            j = partners[i, k]
            if j >= 0:
                stiff = elasticity[i] * elasticity[j]
                vx -= stiff * _nearest(cells[i, 0] - cells[j, 0], lengths[0])
                vy -= stiff * _nearest(cells[i, 1] - cells[j, 1], lengths[1])
                vz -= stiff * _nearest(cells[i, 2] - cells[j, 2], lengths[2])
        if wall.shape[0] > 0:
            vx += wall[i] * _off_walls(cells[i, 0], cells[i, 3], lower[0], upper[0])
            vy += wall[i] * _off_walls(cells[i, 1], cells[i, 3], lower[1], upper[1])
            vz += wall[i] * _off_walls(cells[i, 2], cells[i, 3], lower[2], upper[2])
        velocity[i, 0] += vx * free[i]
        velocity[i, 1] += vy * free[i]
        velocity[i, 2] += vz * free[i]


@njit
def _off_walls(x, radius, lower, upper):
    """(1 - d/r)² away from each of two faces that is nearer than the cell's radius."""
    below = max(1.0 - (x - lower) / radius, 0.0)
    above = max(1.0 - (upper - x) / radius, 0.0)
    return below * below - above * above


_BLOCK = 1024


@njit(parallel=True)
def stage(start, h, slopes, weights, lower, upper, built_at, out):
    """out = start + h Σ_s weights[s] slopes[s] in x, y and z, kept between lower and upper (3,).

    Returns the largest squared distance of out from `built_at`.
    """
    n = start.shape[0]
    moved = np.zeros((n + _BLOCK - 1) // _BLOCK)
    for b in prange(moved.size):
        most = 0.0
        for i in range(b * _BLOCK, min((b + 1) * _BLOCK, n)):
            square = 0.0
            for axis in range(3):
                slope = 0.0
                for s in range(weights.size):
                    slope += weights[s] * slopes[s, i, axis]
                x = min(max(start[i, axis] + h * slope, lower[axis]), upper[axis])
                out[i, axis] = x
                square += (x - built_at[i, axis]) ** 2
            most = max(most, square)
        moved[b] = most
    return _greatest(moved)


@njit(parallel=True)
def largest(h, slopes, weights):
    """The largest component of h Σ_s weights[s] slopes[s] over all cells [um]; infinite if one is not
    finite."""
    n = slopes.shape[1]
    sizes = np.zeros((n + _BLOCK - 1) // _BLOCK)
    for b in prange(sizes.size):
        most = 0.0
        for i in range(b * _BLOCK, min((b + 1) * _BLOCK, n)):
            for axis in range(3):
                slope = 0.0
                for s in range(weights.size):
                    slope += weights[s] * slopes[s, i, axis]
                size = abs(h * slope)
                most = max(most, size) if size <= 1e300 else np.inf
        sizes[b] = most
    return _greatest(sizes)


@njit
def _greatest(values):
    most = 0.0
    for value in values:
        most = max(most, value)
    return most
