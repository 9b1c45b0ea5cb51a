"""Loops over all voxels of a field: products with small dense matrices.

Sums run in one order at any number of threads.
"""

from __future__ import annotations

from mechanistic.codegen.loops import shared


@shared
def along_rows(first, end, u, transposed, out):
    """Rows out[r, :] = u[r, :] @ transposed, for u, out (rows, n) and transposed (n, n)."""
    for row in range(first, end):
        _accumulate(u[row], transposed, out[row])


@shared
def along_axis(first, end, u, matrix, out):
    """out[o, i, :] = Σ_j matrix[i, j] u[o, j, :], rows o n + i, for u, out (outer, n, inner) and matrix (n, n)."""
    n = u.shape[1]
    for row in range(first, end):
        _accumulate(matrix[row % n], u[row // n], out[row // n, row % n])


def _accumulate(weights, lines, line):
    """line = Σ_j weights[j] lines[j], four terms a pass."""
    for i in range(len(line)):
        line[i] = 0.0
    n, j = len(weights), 0
    while j + 4 <= n:
        a, b, c, d = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        la, lb, lc, ld = lines[j], lines[j + 1], lines[j + 2], lines[j + 3]
        for i in range(len(line)):
            line[i] = (((line[i] + a * la[i]) + b * lb[i]) + c * lc[i]) + d * ld[i]
        j += 4
    while j < n:
        a, la = weights[j], lines[j]
        for i in range(len(line)):
            line[i] += a * la[i]
        j += 1
