"""A cell list over positions and the pairs it yields, as kernels; `sim.agents.neighbours` is the way in."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mechanistic.jit import njit, prange, threads, threads_for
from sim.agents._pair_code import LANES, below, near_open, near_wrapped

Array = NDArray[np.float64]

_BLOCK = 256
_BLOCKS = (
    64  # whose cells are asked together: all whom they could meet take room, many times those that they do
)


def pairs_within(
    positions: Array,
    reaches: Array,
    skin: float,
    lengths: Array,
    dims: int,
    beyond: int = 0,
    ascending: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """All pairs at most reaches[i] + reaches[j] + skin apart, as rows (indptr (n + 1,), indices).

    Unless ascending, the order within a row is that of the bins, then of the rows of `positions`: a function
    of the arguments alone.

    Args:
        positions: (n, 3) [um], C-contiguous, finite.
        reaches: (n,) [um].
        skin: [um].
        lengths: (3,) periods, 0 where an axis does not wrap.
        dims: 2 leaves z out of the bins.
        beyond: entries, 0, that `indices` has behind the last row.
        ascending: each row in ascending order instead.
    """
    n = positions.shape[0]
    start, key, order, bins = _sorted(positions, 2.0 * float(reaches.max(initial=0.0)) + skin, lengths, dims)
    x, y, z, limits = (np.zeros(n + LANES) for _ in range(4))  # vectors read beyond the last cell
    keys, room = np.empty(n, np.int64), np.zeros(-(-n // _BLOCK), np.int64)
    cells = (x, y, z, limits, order, keys, start, bins, lengths)
    indptr = np.zeros(n + 1, np.int64)
    parts: list[tuple[NDArray, NDArray]] = []
    with threads_for(n):
        _lay_out(positions, reaches, key, *cells, room)
        most = max((int(room[b : b + _BLOCKS].sum()) for b in range(0, room.size, _BLOCKS)), default=0)
        found = np.empty(most + LANES, np.int32)
        for block in range(0, room.size, _BLOCKS):
            begins = np.concatenate([[0], np.cumsum(room[block : block + _BLOCKS])])
            ends = np.empty(begins.size - 1, np.int64)
            _gather(*cells, skin, block, begins, ends, found, indptr)
            packed = np.concatenate([found[b:e] for b, e in zip(begins, ends)])
            parts.append((np.concatenate([[0], np.cumsum(ends - begins[:-1])]), packed))
        np.cumsum(indptr, out=indptr)
        indices = np.zeros(int(indptr[-1]) + beyond, np.int32)
        for block in range(0, room.size, _BLOCKS):
            _to_rows(order, block, *parts.pop(0), indptr, indices, ascending)
    return indptr, indices


def spatial_order(positions: Array, width: float, lengths: Array, dims: int) -> NDArray[np.int32]:
    """Rows by bins of at least the given width, within a bin by x, y, z: near cells come near in memory.

    The cells then stand in one order, whatever rows they came in.
    """
    start, _, order, _ = _sorted(positions, width, lengths, dims)
    _order_within_bins(positions, start, order)
    return order[: len(positions)]


def _sorted(
    positions: Array, width: float, lengths: Array, dims: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The start of each bin, the bin of each cell, the cells by bin with slack behind them, and the number of
    bins along x, y, z."""
    n = positions.shape[0]
    bins, low, inverse = _bins(positions, width, lengths, dims)
    key, start = np.empty(n, np.int64), np.empty(int(bins.prod()) + 1, np.int64)
    order = np.zeros(n + LANES, np.int32)
    with threads_for(n, 50_000):
        counts = np.zeros((threads(), start.size - 1), np.int32)
        _sort(positions, low, inverse, bins, lengths, counts, key, start, order)
    return start, key, order, bins


def _bins(
    positions: Array, reach: float, lengths: Array, dims: int
) -> tuple[NDArray[np.int64], Array, Array]:
    """Number of bins along (x, y, z), their lower corner and the inverse of their widths: none narrower than
    reach."""
    n = positions.shape[0]
    low, high = bounds(positions)
    extent = high - low
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


def bounds(positions: Array) -> tuple[Array, Array]:
    """The least and the largest x, y and z, each (3,), of at least one cell; not finite where a position is not."""
    blocks = np.empty((-(-len(positions) // _BLOCK), 2, 3))
    with threads_for(len(positions), 50_000):
        _bounds(positions, blocks)
    return blocks[:, 0].min(axis=0), blocks[:, 1].max(axis=0)


@njit(parallel=True)
def _bounds(positions, blocks):
    for block in prange(blocks.shape[0]):
        first, last = block * _BLOCK, min((block + 1) * _BLOCK, positions.shape[0])
        for axis in range(3):
            low, high, sound = positions[first, axis], positions[first, axis], 0.0
            for i in range(first, last):
                x = positions[i, axis]
                low, high = min(low, x), max(high, x)
                sound += 0.0 * x  # not a number once something is not finite
            blocks[block, 0, axis], blocks[block, 1, axis] = low + sound, high + sound


@njit(parallel=True)
def _sort(positions, low, inverse, bins, lengths, counts, key, start, order):
    """Counting sort by bin, in row order within a bin; positions are wrapped where an axis wraps.

    counts: (part, bin), zeros: the rows are dealt out in as many parts, which does not change the result.
    """
    n, parts = positions.shape[0], counts.shape[0]
    for part in prange(parts):
        for i in range(part * n // parts, (part + 1) * n // parts):
            k = 0
            for axis in range(2, -1, -1):
                x = positions[i, axis]
                if lengths[axis] > 0.0:
                    x -= lengths[axis] * math.floor(x / lengths[axis])
                b = int((x - low[axis]) * inverse[axis])
                k = k * bins[axis] + min(max(b, 0), bins[axis] - 1)
            key[i] = k
            counts[part, k] += 1
    before = 0
    for b in range(start.size - 1):
        start[b] = before
        for part in range(parts):
            here = counts[part, b]
            counts[part, b] = before
            before += here
    start[start.size - 1] = before
    for part in prange(parts):
        for i in range(part * n // parts, (part + 1) * n // parts):
            k = key[i]
            order[counts[part, k]] = i
            counts[part, k] += 1


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
def nearest_image(difference, length):
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
def _run(s, begin, end, x, y, z, limits, order, lengths, wraps, skin, count, found):
    """Writes the partners of sorted cell s among sorted cells begin … end from found[count] on; their new
    number.

    Each candidate is written, and the next takes its place unless it is a partner: without branches to guess.
    """
    where = x.ctypes.data, y.ctypes.data, z.ctypes.data, limits.ctypes.data
    a, b, c, reach = x[s], y[s], z[s], limits[s] + skin
    for t in range(begin, end, LANES):
        if wraps:
            near = near_wrapped(*where, t, end, a, b, c, reach, lengths[0], lengths[1], lengths[2])  # pyright: ignore
        else:
            near = near_open(*where, t, end, a, b, c, reach, 0.0, 0.0, 0.0)  # pyright: ignore
        if t <= s < t + LANES:
            near &= ~(1 << (s - t))
        for lane in range(LANES):
            found[count] = order[t + lane]
            count += (near >> lane) & 1
    return count


@njit
def _runs(k, bins, lengths, start, begin, end):
    """Where those stand whom a cell of bin k could meet: pieces begin … end of the sorted cells; their number.

    A run of bins along x is one piece unless it wraps around.
    """
    nx, ny, nz = bins[0], bins[1], bins[2]
    wx, wy, wz = lengths[0] > 0.0, lengths[1] > 0.0, lengths[2] > 0.0
    bx, by, bz = k % nx, (k // nx) % ny, k // (nx * ny)
    x0, x1 = _first(bx, nx, wx), _last(bx, nx, wx)
    whole = x0 >= 0 and x1 < nx
    runs = 0
    for jz in range(_first(bz, nz, wz), _last(bz, nz, wz) + 1):
        for jy in range(_first(by, ny, wy), _last(by, ny, wy) + 1):
            row = (_within(jz, nz) * ny + _within(jy, ny)) * nx
            for jx in range(x0, x0 + 1 if whole else x1 + 1):
                first = row + _within(jx, nx)
                begin[runs], end[runs] = start[first], start[(row + x1 if whole else first) + 1]
                runs += 1
    return runs


@njit(parallel=True)
def _lay_out(positions, reaches, key, x, y, z, limits, order, keys, start, bins, lengths, room):
    """Copies what is asked of a cell into the sorted order, and counts into room[b] all whom the cells of
    block b could meet."""
    for block in prange(room.size):
        first, beyond = block * _BLOCK, min((block + 1) * _BLOCK, keys.size)
        for s in range(first, beyond):  # nothing else in this loop: fetches from memory then overlap
            i = order[s]
            x[s], y[s], z[s] = positions[i, 0], positions[i, 1], positions[i, 2]
            limits[s], keys[s] = reaches[i], key[i]
        begin, end = np.empty(27, np.int64), np.empty(27, np.int64)
        total, last, met = LANES, -1, 0
        for s in range(first, beyond):
            if keys[s] != last:
                last, met = keys[s], 0
                for r in range(_runs(last, bins, lengths, start, begin, end)):
                    met += end[r] - begin[r]
            total += met
        room[block] = total


@njit(parallel=True)
def _gather(x, y, z, limits, order, keys, start, bins, lengths, skin, block, begins, ends, found, indptr):
    """The partners of the cells of blocks `block`, `block` + 1, ..., cell after cell, into found[begins[b]:ends[b]],
    their numbers into indptr.

    Cells x, y, z, limits are sorted by bin, and readable beyond the last by the lanes of a vector.
    """
    wraps = lengths[0] > 0.0 or lengths[1] > 0.0 or lengths[2] > 0.0
    for b in prange(ends.size):
        begin, end = np.empty(27, np.int64), np.empty(27, np.int64)
        count, last, runs = begins[b], -1, 0
        for s in range((block + b) * _BLOCK, min((block + b + 1) * _BLOCK, keys.size)):
            if keys[s] != last:
                last = keys[s]
                runs = _runs(last, bins, lengths, start, begin, end)
            before = count
            for r in range(runs):
                count = _run(s, begin[r], end[r], x, y, z, limits, order, lengths, wraps, skin, count, found)
            indptr[order[s] + 1] = count - before
        ends[b] = count


@njit(parallel=True)
def _to_rows(order, block, begins, found, indptr, indices, ascending):
    """Moves what blocks `block`, `block` + 1, ... found, each from found[begins[b]:], to the rows of their cells."""
    n = indptr.size - 1
    for b in prange(begins.size - 1):
        begin, end = (block + b) * _BLOCK, min((block + b + 1) * _BLOCK, n)
        first, count = np.empty(end - begin, np.int64), np.empty(end - begin, np.int64)
        for s in range(begin, end):
            i = order[s]
            first[s - begin], count[s - begin] = indptr[i], indptr[i + 1] - indptr[i]
        k = begins[b]
        for s in range(begin, end):
            place, last = first[s - begin], k + count[s - begin]
            for partner in range(k, last):
                before = partner - k
                if ascending:
                    before = below(found.ctypes.data, k, last, found[partner])  # pyright: ignore
                indices[place + before] = found[partner]
            k = last


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
            dx = nearest_image(positions[i, 0] - positions[j, 0], lx)
            dy = nearest_image(positions[i, 1] - positions[j, 1], ly)
            dz = nearest_image(positions[i, 2] - positions[j, 2], lz)
            limit = reaches[i] + reaches[j]
            if dx * dx + dy * dy + dz * dz <= limit * limit:
                if filling:
                    indices[base + found] = j
                found += 1
        if not filling:
            indptr[i + 1] = found
