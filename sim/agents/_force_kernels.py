"""The PhysiCell potential and the stages of its integration, as kernels; `sim.agents.mechanics` is the way
in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mechanistic.codegen.loops import Given, shared
from sim.agents._pair_code import pairs_open, pairs_wrapped
from sim.agents._pair_law import apart, nearness
from sim.agents.wrapping import nearest

Array = NDArray[np.float64]

# what PhysiCell divides the sum of (1 − d/R)² by to give simple pressure: its value at confluence per
# neighbour
PRESSURE_SCALE = 0.027288820670331


@shared
def forces(
    first, end, cells, strengths, reach, lengths, begins, counts, indices, drift, free, velocity, pressure
):
    """Velocity and simple pressure of each cell from the cells in its row, in one order.

    cells: (n, 4), x, y, z, radius; strengths: (n, 2), square roots of repulsion and adhesion, or (1, 2), those of
        all; row i: indices[begins[i]:begins[i] + counts[i]], int32, readable by the lanes of a vector beyond the
        last; drift: (n, 3), velocity that the cell adds by itself, or (0, 3); free: (n,), 0.0 for cells that never
        move, else 1.0, or (0,); pressure: (n,), or (0,) where nobody asks.
    """
    lx, ly, lz = lengths[0], lengths[1], lengths[2]
    wraps = lx > 0.0 or ly > 0.0 or lz > 0.0
    farther, apart = 1.0 / reach, 0 if strengths.shape[0] == 1 else 16
    vx = vy = vz = squeezed = 0.0
    for i in range(first, end):
        start = begins[i]
        stop = start + counts[i]
        if wraps:
            vx, vy, vz, squeezed = pairs_wrapped(
                i, cells, strengths, apart, indices, start, stop, farther, lx, ly, lz
            )
        else:
            vx, vy, vz, squeezed = pairs_open(
                i, cells, strengths, apart, indices, start, stop, farther, lx, ly, lz
            )
        if drift.shape[0] > 0:
            vx, vy, vz = vx + drift[i, 0], vy + drift[i, 1], vz + drift[i, 2]
        if free.size > 0:
            vx, vy, vz = vx * free[i], vy * free[i], vz * free[i]
        velocity[i, 0] = vx
        velocity[i, 1] = vy
        velocity[i, 2] = vz
        if pressure.size > 0:
            pressure[i] = squeezed / PRESSURE_SCALE


@shared
def further_forces(
    first, end, cells, strengths, types, affinity, reach, partners, elasticity, wall, sight, speed, lure,
    lower, upper, lengths, begins, counts, indices, free, velocity,
):  # fmt: skip
    """Adds to velocity what `forces` leaves out: affinities of pairs of types, springs, walls, followers.

    cells, strengths, begins, counts, indices, free: as of `forces`.
    types: (n,) codes; affinity: (t, t), symmetric, by which adhesion is multiplied; partners: (n, k), rows of cells
    that a spring joins, -1 for none; elasticity: (n,), square roots of spring constants; wall: (n,), strength of
    repulsion by the faces lower and upper (3,), infinite where there is none; sight: (t, t), speed: (n, t), lure: (n,)
    of `sim.agents.mechanics.Following`.
    """
    own = 0 if strengths.shape[0] == 1 else 1
    for i in range(first, end):
        vx, vy, vz = 0.0, 0.0, 0.0
        if affinity.shape[0] > 0:
            for k in range(begins[i], begins[i] + counts[i]):
                j = indices[k]
                excess = affinity[types[i], types[j]] - 1.0
                if excess != 0.0:
                    dx, dy, dz, distance = apart(cells, i, j, lengths)
                    hold = nearness(distance, reach * (cells[i, 3] + cells[j, 3]))
                    pull = -excess * strengths[i * own, 1] * strengths[j * own, 1] * hold * hold / distance
                    vx += pull * dx
                    vy += pull * dy
                    vz += pull * dz
        if sight.shape[0] > 0:
            for k in range(begins[i], begins[i] + counts[i]):
                j = indices[k]
                reach_of_pair = sight[types[i], types[j]]
                if reach_of_pair > 0.0:
                    dx, dy, dz, distance = apart(cells, j, i, lengths)
                    part = min(distance / reach_of_pair, 1.0)
                    bump = 4.0 * part * (1.0 - part)
                    pace = speed[i, types[j]] * lure[j] * bump * bump / distance
                    vx += pace * dx
                    vy += pace * dy
                    vz += pace * dz
        for k in range(partners.shape[1]):
            j = partners[i, k]
            if j >= 0:
                stiff = elasticity[i] * elasticity[j]
                vx -= stiff * nearest(cells[i, 0] - cells[j, 0], lengths[0])
                vy -= stiff * nearest(cells[i, 1] - cells[j, 1], lengths[1])
                vz -= stiff * nearest(cells[i, 2] - cells[j, 2], lengths[2])
        if wall.shape[0] > 0:
            vx += wall[i] * _off_walls(cells[i, 0], cells[i, 3], lower[0], upper[0])
            vy += wall[i] * _off_walls(cells[i, 1], cells[i, 3], lower[1], upper[1])
            vz += wall[i] * _off_walls(cells[i, 2], cells[i, 3], lower[2], upper[2])
        moves = free[i] if free.size > 0 else 1.0
        velocity[i, 0] += vx * moves
        velocity[i, 1] += vy * moves
        velocity[i, 2] += vz * moves


def _off_walls(x, radius, lower, upper):
    """(1 - d/r)² away from each of two faces that is nearer than the cell's radius."""
    below, above = nearness(x - lower, radius), nearness(upper - x, radius)
    return below * below - above * above


_BLOCK, _NUMBERS = 512, 3 * 512


def stage(
    cells: int, start: Array, h: float, weights: Array, slopes: Given, bounds: Given, out: Array
) -> bool:
    """out = start + h Σ_s weights[s] slopes[rows[s]] in x, y and z, kept between lower and upper (3,).

    Args:
        cells: their number.
        start, out: (n, 4).
        slopes: slopes (stage, 3 n) and rows (stage,).
        bounds: lower, upper (3,), built_at (n, 3) and skins (n,).

    Returns:
        Whether a cell left the ball of radius skins around `built_at`.
    """
    away = np.empty(-(-cells // _BLOCK), np.bool_)
    _stage(away.size, start, h, weights, slopes, bounds, out, away)
    return True in away.tolist()


@shared
def _stage(first, end, start, h, weights, slopes, rows, lower, upper, built_at, skins, out, away):
    """`stage` for blocks of cells; away (blocks,): whether one of the block left."""
    shift = np.empty(_NUMBERS)
    for b in range(first, end):
        begin, beyond = b * _BLOCK, min((b + 1) * _BLOCK, start.shape[0])
        _combine(slopes, rows, weights, 3 * begin, 3 * beyond, shift)
        left = False
        for i in range(begin, beyond):
            square = 0.0
            for axis in range(3):
                x = start[i, axis] + h * shift[3 * (i - begin) + axis]
                x = min(max(x, lower[axis]), upper[axis])
                out[i, axis] = x
                way = x - built_at[i, axis]
                square += way * way
            left |= square >= skins[i] * skins[i] * (1 - 1e-9)
        away[b] = left


def largest(cells: int, h: float, weights: Array, slopes: Given) -> float:
    """The largest component of h Σ_s weights[s] slopes[rows[s]] over all cells [um]; infinite if one is not
    finite."""
    sizes = np.empty(-(-cells // _BLOCK))
    _largest(sizes.size, h, weights, slopes, sizes)
    return max(sizes.tolist())


@shared
def _largest(first, end, h, weights, slopes, rows, sizes):
    """`largest` for blocks of cells."""
    errors = np.empty(_NUMBERS)
    for b in range(first, end):
        begin, beyond = b * _NUMBERS, min((b + 1) * _NUMBERS, slopes.shape[1])
        _combine(slopes, rows, weights, begin, beyond, errors)
        most = 0.0
        for k in range(beyond - begin):
            size = abs(h * errors[k])
            most = max(most, size) if size <= 1e300 else np.inf
        sizes[b] = most


def _combine(slopes, rows, weights, first, last, total):
    """Σ_s weights[s] slopes[rows[s], first:last], a stage after the other, into `total`."""
    for k in range(last - first):
        total[k] = 0.0
    for s in range(weights.size):
        if weights[s] != 0.0:
            slope, weight = slopes[rows[s], first:last], weights[s]
            for k in range(last - first):
                total[k] += weight * slope[k]
