"""What cells hear by distance, and its reverse, straight from positions: no edge is ever stored."""

from __future__ import annotations

import math

import numpy as np

from neural.jit import njit, prange

BLOCK = 256


@njit
def _splines(t, pieces, value, slope):
    """The four cubic B-splines that are not 0 at t in [0, pieces], their slopes in t; the first of them."""
    first = min(int(t), pieces - 1)
    x = t - first
    y = 1.0 - x
    value[0], value[1] = y * y * y / 6.0, (3.0 * x * x * x - 6.0 * x * x + 4.0) / 6.0
    value[2], value[3] = (3.0 * y * y * y - 6.0 * y * y + 4.0) / 6.0, x * x * x / 6.0
    slope[0], slope[1] = -0.5 * y * y, 0.5 * (3.0 * x * x - 4.0 * x)
    slope[2], slope[3] = 0.5 * (4.0 * y - 3.0 * y * y), 0.5 * x * x
    return first


@njit
def _away(positions, i, j, periods, away):
    """From i to j by the nearest image; their distance."""
    square = 0.0
    for a in range(positions.shape[1]):
        d = positions[j, a] - positions[i, a]
        if periods[a] > 0.0:
            d -= periods[a] * np.rint(d / periods[a])
        away[a] = d
        square += d * d
    return math.sqrt(square)


@njit(parallel=True)
def hear(indptr, indices, positions, periods, s, carries, radius, out):
    """out_ik = Σ_j carries_k(d_ij) s_jk: positions (n, dim), s and out (n, k), carries (k, spline)."""
    n, k_all, pieces = s.shape[0], s.shape[1], carries.shape[1] - 3
    for block in prange((n + BLOCK - 1) // BLOCK):
        value, slope, away = np.empty(4), np.empty(4), np.empty(positions.shape[1])
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for k in range(k_all):
                out[i, k] = 0.0
            for e in range(indptr[i], indptr[i + 1]):
                j = indices[e]
                d = _away(positions, i, j, periods, away)
                if d >= radius:
                    continue
                first = _splines(d / radius * pieces, pieces, value, slope)
                for k in range(k_all):
                    w = 0.0
                    for b in range(4):
                        w += carries[k, first + b] * value[b]
                    out[i, k] += w * s[j, k]


@njit(parallel=True)
def hear_back(indptr, indices, positions, periods, s, carries, radius, pull, d_positions, d_s, d_carries):
    """Reverse of `hear` over a symmetric graph, pull = dL/dout; d_carries (block, k, spline) by block of cells."""
    n, k_all, pieces = s.shape[0], s.shape[1], carries.shape[1] - 3
    for block in prange((n + BLOCK - 1) // BLOCK):
        value, slope, away = np.empty(4), np.empty(4), np.empty(positions.shape[1])
        d_carries[block] = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for k in range(k_all):
                d_s[i, k] = 0.0
            for a in range(positions.shape[1]):
                d_positions[i, a] = 0.0
            for e in range(indptr[i], indptr[i + 1]):
                j = indices[e]
                d = _away(positions, i, j, periods, away)
                if d >= radius:
                    continue
                first = _splines(d / radius * pieces, pieces, value, slope)
                rise = 0.0
                for k in range(k_all):
                    w, steep = 0.0, 0.0
                    for b in range(4):
                        w += carries[k, first + b] * value[b]
                        steep += carries[k, first + b] * slope[b]
                    rise += steep * (pull[i, k] * s[j, k] + pull[j, k] * s[i, k])
                    d_s[i, k] += w * pull[j, k]
                    told = pull[i, k] * s[j, k]
                    for b in range(4):
                        d_carries[block, k, first + b] += value[b] * told
                if d > 0.0:
                    rise *= pieces / radius / d
                    for a in range(positions.shape[1]):
                        d_positions[i, a] -= rise * away[a]
