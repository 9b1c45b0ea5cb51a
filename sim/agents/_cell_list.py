"""A cell list over positions and the pairs it yields, as kernels; `sim.agents.neighbours` is the way in."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mechanistic.jit import njit, prange, threads_for
from sim.agents._pair_code import LANES, near_open, near_wrapped, slack

Array = NDArray[np.float64]


def pairs_within(
    positions: Array, reaches: Array, skin: float, lengths: Array, dims: int, beyond: int = 0
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
        beyond: entries, 0, that `indices` has behind the last row.
    """
    n = positions.shape[0]
    start, key, order, bins = _sorted(positions, 2.0 * float(reaches.max(initial=0.0)) + skin, lengths, dims)
    x, y, z = (slack(positions[:, axis][order]) for axis in range(3))
    limits = slack(reaches[order])
    indptr = np.zeros(n + 1, np.int64)
    cells = (x, y, z, limits, order, key, start, bins, lengths, skin)
    with threads_for(n):
        _gather(*cells, indptr, np.empty(0, np.int32), False)
        np.cumsum(indptr, out=indptr)
        indices = np.zeros(int(indptr[-1]) + beyond, np.int32)
        _gather(*cells, indptr, indices, True)
    return indptr, indices


def spatial_order(positions: Array, width: float, lengths: Array, dims: int) -> NDArray[np.int32]:
    """Rows by bins of at least the given width, within a bin by x, y, z: near cells come near in memory.

    The cells then stand in one order, whatever rows they came in.
    """
    start, _, order, _ = _sorted(positions, width, lengths, dims)
    _order_within_bins(positions, start, order)
    return order


def _sorted(
    positions: Array, width: float, lengths: Array, dims: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The start of each bin, the bin of each cell, the cells by bin, and the number of bins along x, y, z."""
    n = positions.shape[0]
    bins, low, inverse = _bins(positions, width, lengths, dims)
    key, start, order = np.empty(n, np.int64), np.zeros(int(bins.prod()) + 1, np.int64), np.empty(n, np.int32)
    _sort(positions, low, inverse, bins, lengths, key, start, order)
    return start, key, order, bins


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
def _sort(positions, low, inverse, bins, lengths, key, start, order):
    """Counting sort by bin, in row order within a bin; positions are wrapped where an axis wraps."""
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
        order[start[key[i]]] = i
        start[key[i]] += 1
    for b in range(start.size - 1, 0, -1):
        start[b] = start[b - 1]
    start[0] = 0


@njit
def _order_within_bins(positions, start, order):
    for b in range(start.size - 1):
        for s in range(start[b] + 1, start[b + 1]):
            i = order[s]
            x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
            t = s
            while t > start[b]:
                j = order[t - 1]
                u, v = positions[j, 0], positions[j, 1]
                if u < x or (u == x and (v < y or (v == y and positions[j, 2] <= z))):
                    break
                order[t] = j
                t -= 1
            order[t] = i


@njit
def _nearest(difference, length):
    """The difference to the nearest image; odd in its argument, so that pairs see each other alike."""
    return difference - length * np.rint(difference / length) if length > 0.0 else difference


@njit
def _first(b, bins, wraps):
    """The first bin to visit beside bin b along an axis, before wrapping."""
    if bins == 1:
        return 0
    if wraps:
        return b if bins == 2 else b - 1
    return max(b - 1, 0)


@njit
def _last(b, bins, wraps):
    if bins == 1:
        return 0
    if wraps:
        return b + 1
    return min(b + 1, bins - 1)


@njit
def _within(b, bins):
    """Bin b, which may be one beyond either end, where it wraps to."""
    if b < 0:
        return b + bins
    return b - bins if b >= bins else b


@njit
def _bits(word):
    """How many of eight bits are set."""
    word -= (word >> 1) & 0x55
    word = (word & 0x33) + ((word >> 2) & 0x33)
    return (word + (word >> 4)) & 0x0F


@njit
def _run(s, begin, end, x, y, z, limits, order, lengths, wraps, skin, found, indices, filling):
    """The partners of sorted cell s among sorted cells begin … end: counted on top of `found`, or written
    from it."""
    where = x.ctypes.data, y.ctypes.data, z.ctypes.data, limits.ctypes.data
    a, b, c, reach = x[s], y[s], z[s], limits[s] + skin
    for t in range(begin, end, LANES):
        if wraps:
            near = near_wrapped(*where, t, end, a, b, c, reach, lengths[0], lengths[1], lengths[2])  # pyright: ignore
        else:
            near = near_open(*where, t, end, a, b, c, reach, 0.0, 0.0, 0.0)  # pyright: ignore
        if not filling:
            found += _bits(near)
            continue
        if t <= s < t + LANES:
            near &= ~(1 << (s - t))
        while near:
            found_here = near & -near
            indices[found] = order[t + _bits(found_here - 1)]
            found += 1
            near ^= found_here
    return found


@njit(parallel=True)
def _gather(x, y, z, limits, order, key, start, bins, lengths, skin, indptr, indices, filling):
    """Counts the partners of each cell into indptr[i + 1], or, filling, writes them from indptr[i] on.

    Cells x, y, z, limits are sorted by bin, and readable beyond the last by the lanes of a vector. A run of bins
    along x is one piece of memory unless it wraps around.
    """
    nx, ny, nz = bins[0], bins[1], bins[2]
    wx, wy, wz = lengths[0] > 0.0, lengths[1] > 0.0, lengths[2] > 0.0
    wraps = wx or wy or wz
    for s in prange(order.size):
        i = order[s]
        k = key[i]
        bx, by, bz = k % nx, (k // nx) % ny, k // (nx * ny)
        x0, x1 = _first(bx, nx, wx), _last(bx, nx, wx)
        whole = x0 >= 0 and x1 < nx
        found = indptr[i] if filling else -1  # in counting a cell finds itself once
        for jz in range(_first(bz, nz, wz), _last(bz, nz, wz) + 1):
            for jy in range(_first(by, ny, wy), _last(by, ny, wy) + 1):
                row = (_within(jz, nz) * ny + _within(jy, ny)) * nx
                for jx in range(x0, x0 + 1 if whole else x1 + 1):
                    first = row + _within(jx, nx)
                    begin, end = start[first], start[(row + x1 if whole else first) + 1]
                    found = _run(
                        s, begin, end, x, y, z, limits, order, lengths, wraps, skin, found, indices, filling
                    )
        if not filling:
            indptr[i + 1] = found


@njit(parallel=True)
def sort_rows(indptr, indices):
    """Each row in ascending order, in place."""
    for i in prange(indptr.size - 1):
        for k in range(indptr[i] + 1, indptr[i + 1]):
            j = indices[k]
            place = k
            while place > indptr[i] and indices[place - 1] > j:
                indices[place] = indices[place - 1]
                place -= 1
            indices[place] = j


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
                    indices[base + found] = j
                found += 1
        if not filling:
            indptr[i + 1] = found
