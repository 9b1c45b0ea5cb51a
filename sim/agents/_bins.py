"""Cells dealt out to bins by where they are, and the orders that this gives them, as kernels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mechanistic.codegen.loops import compiled, shared
from mechanistic.threads import threads, threads_for
from sim.agents._pair_code import LANES

Array = NDArray[np.float64]

_BLOCK = 256


def spatial_order(positions: Array, width: float, lengths: Array, dims: int) -> NDArray[np.int32]:
    """Rows by bins of at least the given width, within a bin by x, y, z: near cells come near in memory.

    The cells then stand in one order, whatever rows they came in.
    """
    start, _, order, _ = by_bin(positions, width, lengths, dims)
    _order_within_bins(positions, start, order)
    return order[: len(positions)]


def by_bin(
    positions: Array, width: float, lengths: Array, dims: int
) -> tuple[NDArray[np.int64], NDArray[np.integer], NDArray[np.int32], NDArray[np.int64]]:
    """The start of each bin, the bin of each cell, the cells by bin with slack behind them, and the number of
    bins along x, y, z.

    Args:
        positions: (n, 3 or more): x, y, z come first.
    """
    n = positions.shape[0]
    bins, low, inverse = _bins(positions, width, lengths, dims)
    start = np.empty(int(bins.prod()) + 1, np.int64)
    key = np.empty(n, np.int32 if start.size < 2**31 else np.int64)
    order = np.zeros(n + LANES, np.int32)
    with threads_for(n, 50_000):
        counts = np.zeros((threads(), start.size - 1), np.int32)
        _count(len(counts), positions, low, inverse, bins, lengths, counts, key)
        _begin(counts, start)
        _deal(len(counts), counts, key, order)
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
        _bounds(len(blocks), positions.reshape(-1), blocks.reshape(-1))
    return blocks[:, 0].min(axis=0), blocks[:, 1].max(axis=0)


@shared
def _bounds(first, end, positions, blocks):
    """Of each block of cells; both arrays flat."""
    for block in range(first, end):
        last = min(3 * (block + 1) * _BLOCK, positions.size)
        for axis in range(3):
            at = 3 * block * _BLOCK + axis
            low, high, sound = positions[at], positions[at], 0.0
            while at < last:
                x = positions[at]
                low, high = min(low, x), max(high, x)
                sound += 0.0 * x  # not a number once something is not finite
                at += 3
            blocks[6 * block + axis], blocks[6 * block + 3 + axis] = low + sound, high + sound


@shared
def _count(first, end, positions, low, inverse, bins, lengths, counts, key):
    """The bin of each cell, wrapped where an axis wraps, and how many of a part of the rows each has.

    counts: (part, bin), zeros: rows are counted and dealt out in as many parts, which does not change the result.
    """
    n, parts = positions.shape[0], counts.shape[0]
    for part in range(first, end):
        here = counts[part]
        for i in range(part * n // parts, (part + 1) * n // parts):
            k = 0
            for axis in range(2, -1, -1):
                x = positions[i, axis]
                if lengths[axis] > 0.0:
                    x -= lengths[axis] * math.floor(x / lengths[axis])
                b = int((x - low[axis]) * inverse[axis])
                k = k * bins[axis] + min(max(b, 0), bins[axis] - 1)
            key[i] = k
            here[k] += 1


@compiled
def _begin(counts, start):
    """From how many to where: of each bin, and in `counts` (part, bin) of each part of it."""
    before = 0
    for b in range(start.size - 1):
        start[b] = before
        for part in range(counts.shape[0]):
            here = counts[part, b]
            counts[part, b] = before
            before += here
    start[start.size - 1] = before


@shared
def _deal(first, end, counts, key, order):
    """Counting sort by bin, in row order within a bin."""
    n, parts = key.size, counts.shape[0]
    for part in range(first, end):
        place = counts[part]
        for i in range(part * n // parts, (part + 1) * n // parts):
            k = key[i]
            order[place[k]] = i
            place[k] += 1


@compiled
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
