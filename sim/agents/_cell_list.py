"""A cell list over positions and the pairs it yields, as kernels; `sim.agents.neighbours` is the way in."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mechanistic.jit import njit, prange

Array = NDArray[np.float64]


def pairs_within(
    positions: Array, reaches: Array, skin: float, lengths: Array, dims: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """All pairs at most reaches[i] + reaches[j] + skin apart, as rows (indptr (n + 1,), indices), unsorted
    rows.

    The order within a row is that of the bins, then of the rows of `positions`: a function of the arguments
    alone.

    Args:
        positions: (n, 3) [um], C-contiguous, finite.
        reaches: (n,) [um].
        skin: [um].
        lengths: (3,) periods, 0 where an axis does not wrap.
        dims: 2 leaves z out of the bins.
    """
    n = positions.shape[0]
    bins, low, inverse = _bins(positions, 2.0 * float(reaches.max(initial=0.0)) + skin, lengths, dims)
    key = np.empty(n, np.int64)
    start = np.zeros(int(bins.prod()) + 1, np.int64)
    order = np.empty(n, np.int32)
    sorted_cells = np.empty((n, 4))
    _sort(positions, reaches, low, inverse, bins, lengths, key, start, order, sorted_cells)
    indptr = np.zeros(n + 1, np.int64)
    nothing = np.empty(0, np.int32)
    _gather(sorted_cells, order, key, start, bins, lengths, skin, indptr, nothing, False)
    np.cumsum(indptr, out=indptr)
    indices = np.empty(int(indptr[-1]), np.int32)
    _gather(sorted_cells, order, key, start, bins, lengths, skin, indptr, indices, True)
    return indptr, indices


def _bins(
    positions: Array, reach: float, lengths: Array, dims: int
) -> tuple[NDArray[np.int64], Array, Array]:
    """Number of bins along (x, y, z), their lower corner and the inverse of their widths: none narrower than
    reach."""
    n = positions.shape[0]
    low = positions.min(axis=0)
    extent = positions.max(axis=0) - low
    wraps = lengths > 0
    low[wraps], extent[wraps] = 0.0, lengths[wraps]
    # a little wider than the reach: no rounding of a bin number can then part two neighbours by two bins
    reach = max(reach * (1 + 1e-9), 1e-12 * float(extent.max(initial=0.0)), 1e-300)
    active = np.arange(3) < dims
    width = reach
    while True:
        bins = np.where(active, np.maximum(np.minimum(np.floor(extent / width), 2.0**20), 1.0), 1.0)
        if bins.prod() <= max(4.0 * n, 64.0):
            break
        width *= 1.25  # cells that are far between: fewer, wider bins
    inverse = np.where(extent > 0, bins / np.where(extent > 0, extent, 1.0), 0.0)
    return bins.astype(np.int64), low, inverse


@njit
def _sort(positions, reaches, low, inverse, bins, lengths, key, start, order, sorted_cells):
    """Counting sort by bin: key of each cell, start of each bin, cells in order as (x, y, z, reach) with x
    wrapped."""
    n = positions.shape[0]
    for i in range(n):
        k = 0
        for axis in range(2, -1, -1):
            x = positions[i, axis]
            if lengths[axis] > 0.0:
                x -= lengths[axis] * math.floor(x / lengths[axis])
            b = int((x - low[axis]) * inverse[axis])
            k = k * bins[axis] + min(max(b, 0), bins[axis] - 1)
        key[i] = k
        start[k + 1] += 1
    for b in range(start.size - 1):
        start[b + 1] += start[b]
    for i in range(n):
        place = start[key[i]]
        start[key[i]] += 1
        order[place] = i
        for axis in range(3):
            sorted_cells[place, axis] = positions[i, axis]
        sorted_cells[place, 3] = reaches[i]
    for b in range(start.size - 1, 0, -1):
        start[b] = start[b - 1]
    start[0] = 0


@njit(inline="always")
def _nearest(difference, length):
    """The difference to the nearest image; odd in its argument, so that pairs see each other alike."""
    return difference - length * np.rint(difference / length) if length > 0.0 else difference


@njit(inline="always")
def _first(b, bins, wraps):
    """The first bin to visit beside bin b along an axis, before wrapping."""
    if bins == 1:
        return 0
    if wraps:
        return b if bins == 2 else b - 1
    return max(b - 1, 0)


@njit(inline="always")
def _last(b, bins, wraps):
    if bins == 1:
        return 0
    if wraps:
        return b + 1
    return min(b + 1, bins - 1)


@njit(parallel=True)
def _gather(cells, order, key, start, bins, lengths, skin, indptr, indices, filling):
    """Counts the partners of each cell into indptr[i + 1], or, filling, writes them from indptr[i] on."""
    nx, ny, nz = bins[0], bins[1], bins[2]
    lx, ly, lz = lengths[0], lengths[1], lengths[2]
    for s in prange(cells.shape[0]):
        i = order[s]
        x, y, z, reach = cells[s, 0], cells[s, 1], cells[s, 2], cells[s, 3] + skin
        k = key[i]
        bx, by, bz = k % nx, (k // nx) % ny, k // (nx * ny)
        found = indptr[i] if filling else 0
        for jz in range(_first(bz, nz, lz > 0.0), _last(bz, nz, lz > 0.0) + 1):
            for jy in range(_first(by, ny, ly > 0.0), _last(by, ny, ly > 0.0) + 1):
                row = (((jz + nz) % nz) * ny + (jy + ny) % ny) * nx
                x0, x1 = _first(bx, nx, lx > 0.0), _last(bx, nx, lx > 0.0)
                parts = 1 if x0 >= 0 and x1 < nx else x1 - x0 + 1
                for part in range(parts):
                    if parts == 1:
                        begin, end = start[row + x0], start[row + x1 + 1]
                    else:
                        b = (x0 + part + nx) % nx
                        begin, end = start[row + b], start[row + b + 1]
                    for t in range(begin, end):
                        dx = _nearest(x - cells[t, 0], lx)
                        dy = _nearest(y - cells[t, 1], ly)
                        dz = _nearest(z - cells[t, 2], lz)
                        limit = reach + cells[t, 3]
                        if dx * dx + dy * dy + dz * dz <= limit * limit and t != s:
                            if filling:
                                indices[found] = order[t]
                            found += 1
        if not filling:
            indptr[i + 1] = found


@njit(parallel=True)
def keep_within(positions, reaches, lengths, wide_ptr, wide, indptr, indices, filling):
    """Of wider rows those at most reaches[i] + reaches[j] apart: counted, or, filling, written in ascending
    order."""
    lx, ly, lz = lengths[0], lengths[1], lengths[2]
    for i in prange(positions.shape[0]):
        found = 0
        base = indptr[i] if filling else 0
        for k in range(wide_ptr[i], wide_ptr[i + 1]):
            j = wide[k]
            dx = _nearest(positions[i, 0] - positions[j, 0], lx)
            dy = _nearest(positions[i, 1] - positions[j, 1], ly)
            dz = _nearest(positions[i, 2] - positions[j, 2], lz)
            limit = reaches[i] + reaches[j]
            if dx * dx + dy * dy + dz * dz <= limit * limit:
                if filling:
                    place = base + found
                    while place > base and indices[place - 1] > j:
                        indices[place] = indices[place - 1]
                        place -= 1
                    indices[place] = j
                found += 1
        if not filling:
            indptr[i + 1] = found
