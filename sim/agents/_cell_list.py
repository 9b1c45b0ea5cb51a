"""The pairs that a cell list over positions yields, as kernels; `sim.agents.neighbours` is the way in.

What is asked of the cells is laid out in the order of the bins for a window of them at a time, so that little memory is
taken beside the pairs themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mechanistic.codegen.loops import shared
from mechanistic.threads import threads_for
from sim.agents._bins import by_bin
from sim.agents._pair_code import LANES, below, near_open, near_wrapped
from sim.agents.wrapping import nearest

Array = NDArray[np.float64]
#: cells of some blocks and whom they met: the cells by bin, the first block, where each block's finds begin and end
Found = tuple[NDArray[np.int32], int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]

_BLOCK = 256
# blocks whose cells are asked together, where time counts and where memory does: all whom they could meet take
# room, many times those that they meet
_MANY, _FEW = 256, 32
_MOST = 2**31  # entries that half-length numbers count
# blocks; a window has at most a part of all cells, as each lays out its borders anew
_LEAST_WINDOW, _WINDOWS = 256, 8


def pairs_within(
    positions: Array,
    reaches: Array,
    skin: float,
    lengths: Array,
    dims: int,
    ascending: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """All pairs at most reaches[i] + reaches[j] + skin apart, as rows (indptr (n + 1,), indices).

    Unless ascending, the order within a row is that of the bins, then of the rows of `positions`: a function
    of the arguments alone.

    Args:
        positions: (n, 3) [um], C-contiguous, finite; further columns are not looked at.
        reaches: (n,) [um].
        skin: [um].
        lengths: (3,) periods, 0 where an axis does not wrap.
        dims: 2 leaves z out of the bins.
        ascending: each row in ascending order instead.
    """
    n = positions.shape[0]
    counts, indptr = np.empty(n, np.int32), np.zeros(n + 1, np.int64)
    parts = []
    with threads_for(n):
        for order, block, begins, ends, found in _search(
            positions, reaches, skin, lengths, dims, counts, _MANY
        ):
            packed = np.concatenate([found[b:e] for b, e in zip(begins, ends)])
            parts.append((order, block, np.concatenate([[0], np.cumsum(ends - begins)]), packed))
        np.cumsum(counts, out=indptr[1:])
        indices = np.empty(int(indptr[-1]), np.int32)
        while parts:
            order, block, begins, packed = parts.pop(0)
            _to_rows(begins.size - 1, order, block, begins, packed, indptr, indices, ascending)
    return indptr, indices


def lists_within(
    positions: Array, reaches: Array, lengths: Array, dims: int
) -> tuple[NDArray[np.integer], NDArray[np.int32], NDArray[np.int32]]:
    """The rows of `pairs_within`, without skin, in the order of the bins: (begins (n,), counts (n,), indices).

    Row i is indices[begins[i]:begins[i] + counts[i]]; behind the last are as many entries as a vector may read too
    far. It takes no more memory than this.
    """
    n, total = positions.shape[0], 0
    begin, counts, indices = (np.empty(size, np.int32) for size in (n, n, 0))
    with threads_for(n):
        for order, block, begins, ends, found in _search(
            positions, reaches, 0.0, lengths, dims, counts, _FEW, _WINDOWS
        ):
            here, done = int((ends - begins).sum()), min((block + _FEW) * _BLOCK, n)
            if total + here + LANES > indices.size:
                # three times what is likely: entries that are never written to take no memory, and copies would
                longer = np.empty(int(3 * (total + here) * (n / done)) + LANES, np.int32)
                longer[:total] = indices[:total]
                indices = longer
            if total + here >= _MOST and begin.dtype == np.int32:
                begin = begin.astype(np.int64)
            places = total + np.concatenate([[0], np.cumsum(ends - begins)[:-1]])
            _to_lists(begins.size, order, block, begins, ends, found, places, counts, begin, indices)
            total += here
    indices.resize(total + LANES, refcheck=False)
    indices[total:] = 0
    return begin, counts, indices


def _search(
    positions: Array,
    reaches: Array,
    skin: float,
    lengths: Array,
    dims: int,
    counts: NDArray[np.int32],
    together: int,
    windows: int = 1,
) -> Iterator[Found]:
    """Whom all cells meet, by so many blocks together in the order of the bins; how many each does goes into counts."""
    n = positions.shape[0]
    start, key, order, bins = by_bin(positions, 2.0 * float(reaches.max(initial=0.0)) + skin, lengths, dims)
    blocks = -(-n // _BLOCK)
    each = blocks if lengths.any() else max(-(-blocks // windows), _LEAST_WINDOW)
    for window in range(0, blocks, each):
        beyond = min(window + each, blocks)
        first, last = window * _BLOCK, min(beyond * _BLOCK, n)
        low, high = _window(
            int(key[order[first]]), int(key[order[last - 1]]), start, bins, bool(lengths.any())
        )
        x, y, z, limits = (
            np.empty(high - low + LANES) for _ in range(4)
        )  # vectors read beyond the last cell
        keys, room = np.empty(last - first, key.dtype), np.empty(beyond - window, np.int64)
        cells = (x, y, z, limits, low, order, keys, first, start, bins, lengths)
        _lay_out(-(-(high - low) // _BLOCK), positions, reaches, x, y, z, limits, low, order)
        _count(room.size, key, keys, order, first, start, bins, lengths, room)
        most = max(int(room[b : b + together].sum()) for b in range(0, room.size, together))
        found = np.empty(most + LANES, np.int32)
        for block in range(0, room.size, together):
            begins = np.concatenate([[0], np.cumsum(room[block : block + together])[:-1]])
            ends = np.empty(begins.size, np.int64)
            _gather(ends.size, *cells, skin, block, begins, ends, found, counts)
            yield order, window + block, begins, ends, found


def _window(
    first: int, last: int, start: NDArray[np.int64], bins: NDArray[np.int64], wraps: bool
) -> tuple[int, int]:
    """From which to which sorted cell those stand whom cells of the bins first … last could meet."""
    if wraps:
        return 0, int(start[-1])
    around = int(bins[0] * bins[1] + bins[0] + 1)
    return int(start[max(first - around, 0)]), int(start[min(last + around + 1, start.size - 1)])


def _first(b, bins, wraps):
    """The first bin to visit beside bin b along an axis, before wrapping."""
    if bins == 1:
        return 0
    if wraps:
        return b if bins == 2 else b - 1
    return max(b - 1, 0)


def _last(b, bins, wraps):
    if bins == 1:
        return 0
    if wraps:
        return b + 1
    return min(b + 1, bins - 1)


def _within(b, bins):
    """Bin b, which may be one beyond either end, where it wraps to."""
    if b < 0:
        return b + bins
    return b - bins if b >= bins else b


def _run(s, begin, end, x, y, z, limits, low, order, lengths, wraps, skin, count, found):
    """Writes the partners of sorted cell s among sorted cells begin … end from found[count] on; their new
    number.

    Each candidate is written, and the next takes its place unless it is a partner: without branches to guess.
    """
    s -= low
    a, b, c, reach = x[s], y[s], z[s], limits[s] + skin
    beyond = end - low
    for t in range(begin - low, beyond, LANES):
        if wraps:
            near = near_wrapped(
                x, y, z, limits, t, beyond, a, b, c, reach, lengths[0], lengths[1], lengths[2]
            )
        else:
            near = near_open(x, y, z, limits, t, beyond, a, b, c, reach, 0.0, 0.0, 0.0)
        if t <= s < t + LANES:
            near &= ~(1 << (s - t))
        for lane in range(LANES):
            found[count] = order[low + t + lane]
            count += (near >> lane) & 1
    return count


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


@shared
def _lay_out(first, end, positions, reaches, x, y, z, limits, low, order):
    """Copies what is asked of the sorted cells from `low` on, in blocks."""
    size = x.size - LANES
    for t in range(first * _BLOCK, min(end * _BLOCK, size)):
        i = order[low + t]
        x[t], y[t], z[t], limits[t] = positions[i, 0], positions[i, 1], positions[i, 2], reaches[i]


@shared
def _count(first, end, key, keys, order, begins_at, start, bins, lengths, room):
    """Copies the bins of the sorted cells from `begins_at` on, and counts into room[b] all whom those of block b could
    meet."""
    begin, beyond = np.empty(27, np.int64), np.empty(27, np.int64)
    for block in range(first, end):
        stop = min((block + 1) * _BLOCK, keys.size)
        for s in range(block * _BLOCK, stop):  # nothing else in this loop: fetches from memory then overlap
            keys[s] = key[order[begins_at + s]]
        total, last, met = LANES, -1, 0
        for s in range(block * _BLOCK, stop):
            if keys[s] != last:
                last, met = keys[s], 0
                for r in range(_runs(last, bins, lengths, start, begin, beyond)):
                    met += beyond[r] - begin[r]
            total += met
        room[block] = total


@shared
def _gather(
    first, end, x, y, z, limits, low, order, keys, begins_at, start, bins, lengths, skin, block, begins, ends,
    found, counts,
):  # fmt: skip
    """The partners of the cells of blocks `block`, `block` + 1, ... after `begins_at`, cell after cell, into
    found[begins[b]:ends[b]], their numbers into counts.

    Cells x, y, z, limits are the sorted ones from `low` on, and readable beyond the last by the lanes of a vector.
    """
    wraps = lengths[0] > 0.0 or lengths[1] > 0.0 or lengths[2] > 0.0
    begin, beyond = np.empty(27, np.int64), np.empty(27, np.int64)
    for b in range(first, end):
        count, last, runs = begins[b], -1, 0
        for k in range((block + b) * _BLOCK, min((block + b + 1) * _BLOCK, keys.size)):
            s = begins_at + k
            if keys[k] != last:
                last = keys[k]
                runs = _runs(last, bins, lengths, start, begin, beyond)
            before = count
            for r in range(runs):
                count = _run(
                    s, begin[r], beyond[r], x, y, z, limits, low, order, lengths, wraps, skin, count, found
                )
            counts[order[s]] = count - before
        ends[b] = count


@shared
def _to_lists(first, end, order, block, begins, ends, found, places, counts, begin, indices):
    """Packs what blocks `block`, `block` + 1, ... found into indices[places[b]:], and where their rows begin."""
    n = counts.size
    for b in range(first, end):
        place, length = places[b], ends[b] - begins[b]
        mine, theirs = indices[place : place + length], found[begins[b] : ends[b]]
        for k in range(length):
            mine[k] = theirs[k]
        for s in range((block + b) * _BLOCK, min((block + b + 1) * _BLOCK, n)):
            begin[order[s]] = place
            place += counts[order[s]]


@shared
def _to_rows(first, end, order, block, begins, found, indptr, indices, ascending):
    """Moves what blocks `block`, `block` + 1, ... found, each from found[begins[b]:], to the rows of their cells."""
    n = indptr.size - 1
    places, counts = np.empty(_BLOCK, np.int64), np.empty(_BLOCK, np.int64)
    for b in range(first, end):
        begin = (block + b) * _BLOCK
        size = min(_BLOCK, n - begin)
        for s in range(size):
            i = order[begin + s]
            places[s], counts[s] = indptr[i], indptr[i + 1] - indptr[i]
        k = begins[b]
        for s in range(size):
            place, last = places[s], k + counts[s]
            for partner in range(k, last):
                before = below(found, k, last, found[partner]) if ascending else partner - k
                indices[place + before] = found[partner]
            k = last


@shared
def keep_within(first, end, positions, reaches, lengths, wide_ptr, wide, indptr, indices, filling):
    """Of wider rows those at most reaches[i] + reaches[j] apart: counted, or, filling, written in ascending
    order."""
    lx, ly, lz = lengths[0], lengths[1], lengths[2]
    for i in range(first, end):
        found = 0
        base = indptr[i] if filling else 0
        for k in range(wide_ptr[i], wide_ptr[i + 1]):
            j = wide[k]
            dx = nearest(positions[i, 0] - positions[j, 0], lx)
            dy = nearest(positions[i, 1] - positions[j, 1], ly)
            dz = nearest(positions[i, 2] - positions[j, 2], lz)
            limit = reaches[i] + reaches[j]
            if dx * dx + dy * dy + dz * dz <= limit * limit:
                if filling:
                    indices[base + found] = j
                found += 1
        if not filling:
            indptr[i + 1] = found
