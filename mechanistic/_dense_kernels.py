"""Loops over all voxels of a field: products with small dense matrices, differences of neighbours.

Sums run in one order at any number of threads.
"""

from __future__ import annotations

import numpy as np

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


@njit(parallel=True)
def any_negative(bits):
    """Whether the sign is set in any of the numbers whose bits these are (n,) int64: of a minimum, only this is
    quick."""
    parts = (bits.size + 16383) // 16384
    signs = np.zeros(parts, np.int64)
    for k in prange(parts):
        joined = 0
        for i in range(k * 16384, min((k + 1) * 16384, bits.size)):
            joined |= bits[i]
        signs[k] = joined
    return signs.min() < 0


@njit(parallel=True)
def laplacian(u, inside, low, high, periodic, loss, out):
    """out = loss u − A u and nothing else, A the diffusion of a box whose faces lead to zero.

    Args:
        u, loss, out: (nz, ny, nx); loss [1/min].
        inside: conductance between neighbours [1/min].
        low, high: (3,) conductance of the faces along x, y, z; periodic: (3,) whether its ends are neighbours.
    """
    nz, ny, nx = u.shape
    for line in prange(nz * ny):
        k = line // ny
        j = line - k * ny
        here, to, lost = u[k, j], out[k, j], loss[k, j]
        faces = 0.0
        if nz > 1:
            faces += (low[2] if k == 0 else 0.0) + (high[2] if k == nz - 1 else 0.0)
        faces += (low[1] if j == 0 else 0.0) + (high[1] if j == ny - 1 else 0.0)
        for i in range(nx):
            to[i] = (lost[i] + faces) * here[i]
        if nx > 1:
            to[0] += low[0] * here[0]
            to[nx - 1] += high[0] * here[nx - 1]
            for i in range(1, nx - 1):
                to[i] += inside * ((here[i] - here[i - 1]) + (here[i] - here[i + 1]))
            around = inside if periodic[0] else 0.0
            to[0] += inside * (here[0] - here[1]) + around * (here[0] - here[nx - 1])
            to[nx - 1] += inside * (here[nx - 1] - here[nx - 2]) + around * (here[nx - 1] - here[0])
        else:
            to[0] += (low[0] + high[0]) * here[0]
        for axis in range(1, 3):
            n, at = (ny, j) if axis == 1 else (nz, k)
            if n == 1:
                continue
            for side in (-1, 1):
                other = at + side
                if not 0 <= other < n:
                    if not periodic[axis]:
                        continue
                    other = (other + n) % n
                beside = u[k, other] if axis == 1 else u[other, j]
                for i in range(nx):
                    to[i] += inside * (here[i] - beside[i])
