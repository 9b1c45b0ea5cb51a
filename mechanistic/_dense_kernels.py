"""Loops over all voxels of a field: products with small dense matrices.

Sums run in one order at any number of threads.
"""

from __future__ import annotations

from mechanistic.jit import njit, prange


@njit(parallel=True)
def along_rows(u, transposed, out):
    """out[r, :] = u[r, :] @ transposed, for u, out (rows, n) and transposed (n, n)."""
    rows, n = u.shape
    for r in prange(rows):
        line = out[r]
        line[:] = 0.0
        _accumulate(u[r], transposed, line, n)


@njit(inline="always")
def _accumulate(weights, lines, line, n):
    """line += Σ_j weights[j] lines[j], four terms a pass."""
    j = 0
    while j + 4 <= n:
        a, b, c, d = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        la, lb, lc, ld = lines[j], lines[j + 1], lines[j + 2], lines[j + 3]
        for i in range(line.size):
            line[i] = (((line[i] + a * la[i]) + b * lb[i]) + c * lc[i]) + d * ld[i]
        j += 4
    while j < n:
        a = weights[j]
        la = lines[j]
        for i in range(line.size):
            line[i] += a * la[i]
        j += 1


@njit(parallel=True)
def along_axis(u, matrix, out):
    """out[o, i, :] = Σ_j matrix[i, j] u[o, j, :], for u, out (outer, n, inner) and matrix (n, n)."""
    outer, n, _ = u.shape
    for k in prange(outer * n):
        o = k // n
        line = out[o, k - o * n]
        line[:] = 0.0
        _accumulate(matrix[k - o * n], u[o], line, n)
