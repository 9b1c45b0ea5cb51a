"""Loops of the multigrid solver over voxels, a row at a time: relaxation, what is left, and passage between boxes.

Faces come as in `Conductances`; `ys` (2, nz, nx) and `zs` (2, ny, nx) hold what lies beyond the first and the last row
and layer: zeros, or copies of the other end where the box goes around. A row is written by one thread from values
that no other thread writes at the time, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from mechanistic.jit import njit, prange

_PART = 16384  # numbers that are added up in one go
_LEAST = 1e-30


@njit(parallel=True)
def relax(e, right, loss, x, y, z, ys, zs, around, colour):
    """Gauss and Seidel's step for the voxels of one colour of a chessboard: (loss − A) e = right there."""
    nz, ny, nx = e.shape
    blocks = min(nz * ny, 64)
    for block in prange(blocks):
        total, weight = np.empty(nx, e.dtype), np.empty(nx, e.dtype)
        for row in range(block * nz * ny // blocks, (block + 1) * nz * ny // blocks):
            k = row // ny
            j = row - k * ny
            here, given, lost = e[k, j], right[k, j], loss[k, j]
            fx = x[k if x.shape[0] > 1 else 0, j if x.shape[1] > 1 else 0]
            at = k if y.shape[0] > 1 else 0
            low, high = y[at, j], y[at, j + 1]
            before = e[k, j - 1] if j > 0 else ys[0, k]
            after = e[k, j + 1] if j < ny - 1 else ys[1, k]
            # few arrays a loop: the compiler then tells them apart, and takes several numbers at once
            for i in range(nx):
                total[i] = given[i] + (low[i] * before[i] + high[i] * after[i])
            for i in range(nx):
                weight[i] = lost[i] + ((low[i] + high[i]) + (fx[i] + fx[i + 1]))
            if nz > 1:
                at = j if z.shape[1] > 1 else 0
                low, high = z[k, at], z[k + 1, at]
                before = e[k - 1, j] if k > 0 else zs[0, j]
                after = e[k + 1, j] if k < nz - 1 else zs[1, j]
                for i in range(nx):
                    total[i] += low[i] * before[i] + high[i] * after[i]
                for i in range(nx):
                    weight[i] += low[i] + high[i]
            if nx > 1:
                total[0] += fx[1] * here[1]
                total[nx - 1] += fx[nx - 1] * here[nx - 2]
                for i in range(1, nx - 1):
                    total[i] += fx[i] * here[i - 1] + fx[i + 1] * here[i + 1]
                if around:
                    total[0] += fx[0] * here[nx - 1]
                    total[nx - 1] += fx[nx] * here[0]
            for i in range(nx):
                total[i] /= max(weight[i], e.dtype.type(_LEAST))
            for i in range((colour + k + j) & 1, nx, 2):
                here[i] = total[i]


@njit
def _add_rest(out, u, k, j, right, loss, x, y, z, ys, zs, around):
    """out (nx,) += right − (loss − A) u along row (k, j)."""
    nz, ny, nx = u.shape
    here, given, lost = u[k, j], right[k, j], loss[k, j]
    fx = x[k if x.shape[0] > 1 else 0, j if x.shape[1] > 1 else 0]
    at = k if y.shape[0] > 1 else 0
    low, high = y[at, j], y[at, j + 1]
    before = u[k, j - 1] if j > 0 else ys[0, k]
    after = u[k, j + 1] if j < ny - 1 else ys[1, k]
    for i in range(nx):
        out[i] += given[i] - lost[i] * here[i]
    for i in range(nx):
        out[i] += low[i] * (before[i] - here[i]) + high[i] * (after[i] - here[i])
    if nz > 1:
        at = j if z.shape[1] > 1 else 0
        low, high = z[k, at], z[k + 1, at]
        before = u[k - 1, j] if k > 0 else zs[0, j]
        after = u[k + 1, j] if k < nz - 1 else zs[1, j]
        for i in range(nx):
            out[i] += low[i] * (before[i] - here[i]) + high[i] * (after[i] - here[i])
    if nx == 1:
        out[0] -= (fx[0] + fx[1]) * here[0]
    else:
        first = here[nx - 1] if around else here.dtype.type(0)
        last = here[0] if around else here.dtype.type(0)
        out[0] += fx[0] * (first - here[0]) + fx[1] * (here[1] - here[0])
        out[nx - 1] += fx[nx - 1] * (here[nx - 2] - here[nx - 1]) + fx[nx] * (last - here[nx - 1])
        for i in range(1, nx - 1):
            out[i] += fx[i] * (here[i - 1] - here[i]) + fx[i + 1] * (here[i + 1] - here[i])


@njit(parallel=True)
def rest(u, right, loss, x, y, z, ys, zs, around, out):
    """out = right − (loss − A) u: what comes to each voxel and does not stay in balance."""
    nz, ny, nx = u.shape
    for row in prange(nz * ny):
        k = row // ny
        j = row - k * ny
        to = out[k, j]
        for i in range(nx):
            to[i] = 0.0
        _add_rest(to, u, k, j, right, loss, x, y, z, ys, zs, around)


@njit(parallel=True)
def rest_below(e, right, loss, x, y, z, ys, zs, around, out, start):
    """What is left of e summed up over each coarse voxel, in `out`; `start` is cleared."""
    nz, ny, nx = e.shape
    mz, my, mx = out.shape
    for row in prange(mz * my):
        above, beside = row // my, row - row // my * my
        total = np.zeros(nx, e.dtype)
        for k in range(2 * above, 2 * above + 2 if above < mz - 1 else nz):
            for j in range(2 * beside, 2 * beside + 2 if beside < my - 1 else ny):
                _add_rest(total, e, k, j, right, loss, x, y, z, ys, zs, around)
        to, empty = out[above, beside], start[above, beside]
        for i in range(mx):
            empty[i] = 0
            to[i] = total[2 * i]
            if nx > 1:
                to[i] += total[2 * i + 1]
        if nx > 1 and nx & 1:
            to[mx - 1] += total[nx - 1]


@njit(parallel=True)
def add_above(e, coarse, ix, wx, iy, wy, iz, wz):
    """e += coarse, linear between the middles of its voxels: each axis by two places (2, n) and their weights."""
    nz, ny, nx = e.shape
    for row in prange(nz * ny):
        k = row // ny
        j = row - k * ny
        a, b = coarse[iz[0, k], iy[0, j]], coarse[iz[0, k], iy[1, j]]
        c, d = coarse[iz[1, k], iy[0, j]], coarse[iz[1, k], iy[1, j]]
        p, q = wz[0, k] * wy[0, j], wz[0, k] * wy[1, j]
        r, s = wz[1, k] * wy[0, j], wz[1, k] * wy[1, j]
        line, here = np.empty(coarse.shape[2], e.dtype), e[k, j]
        for i in range(line.size):
            line[i] = (p * a[i] + q * b[i]) + (r * c[i] + s * d[i])
        for i in range(nx):
            here[i] += wx[0, i] * line[ix[0, i]] + wx[1, i] * line[ix[1, i]]


@njit
def _eight(a, b, first, last):
    """Σ a b over a range, eight sums side by side."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    i = first
    while i + 8 <= last:
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
        s4 += a[i + 4] * b[i + 4]
        s5 += a[i + 5] * b[i + 5]
        s6 += a[i + 6] * b[i + 6]
        s7 += a[i + 7] * b[i + 7]
        i += 8
    while i < last:
        s0 += a[i] * b[i]
        i += 1
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@njit(parallel=True)
def products(a, b, sums):
    """sums (parts,): Σ a b over each part of the numbers; all flat."""
    for part in prange(sums.size):
        sums[part] = _eight(a, b, part * _PART, min((part + 1) * _PART, a.size))


@njit(parallel=True)
def largest(u, most):
    """most (parts,): the largest of |u| in each part; all flat."""
    for part in prange(most.size):
        found = 0.0
        for i in range(part * _PART, min((part + 1) * _PART, u.size)):
            size = abs(u[i])
            if size > found:
                found = size
        most[part] = found


@njit(parallel=True)
def turn(p, z, slope):
    """p = z + slope p; all flat."""
    for part in prange((p.size + _PART - 1) // _PART):
        for i in range(part * _PART, min((part + 1) * _PART, p.size)):
            p[i] = z[i] + slope * p[i]


@njit(parallel=True)
def advance(s, r, p, q, length, right, scale):
    """s += length p, r += length q, and `right` = scale r in single precision; all flat."""
    for part in prange((p.size + _PART - 1) // _PART):
        for i in range(part * _PART, min((part + 1) * _PART, p.size)):
            s[i] += length * p[i]
        for i in range(part * _PART, min((part + 1) * _PART, p.size)):
            r[i] += length * q[i]
            right[i] = scale * r[i]


def parts(count: int) -> int:
    """Into how many parts `products` divides so many numbers."""
    return -(-count // _PART)
