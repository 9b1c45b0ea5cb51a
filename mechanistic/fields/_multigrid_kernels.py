"""Loops of the multigrid solver over voxels, a row at a time: relaxation, what is left, and passage between boxes.

Faces come as in `Conductances`; `ys` (2, nz, nx) and `zs` (2, ny, nx) hold what lies beyond the first and the last row
and layer: zeros, or copies of the other end where the box goes around. All arrays are flat. A row is written by one
thread from values that no other thread writes at the time, so results do not depend on the number of threads. Loops
that need room for a row share out blocks of rows: `room` (blocks, nx) has a row for each.
"""

from __future__ import annotations

from mechanistic.codegen.loops import shared
from mechanistic.fields._voxels import PART, largest_of


def _add_rest(out, to, u, row, shape, right, loss, x, y, z, ys, zs, around):
    """out[to:to + nx] += right − (loss − A) u along a row of a box of the given shape."""
    nz, ny, nx = shape
    k = row // ny
    j = row - k * ny
    at = row * nx
    # parts of arrays, counted from 0, and few of them a loop: the compiler then takes several numbers at once
    here, given, lost, sums = u[at : at + nx], right[at : at + nx], loss[at : at + nx], out[to : to + nx]
    for i in range(nx):
        sums[i] += given[i] - lost[i] * here[i]
    face = ((k if y.size > (ny + 1) * nx else 0) * (ny + 1) + j) * nx
    low, high = y[face : face + nx], y[face + nx : face + 2 * nx]
    before = u[at - nx : at] if j > 0 else ys[k * nx : (k + 1) * nx]
    after = u[at + nx : at + 2 * nx] if j < ny - 1 else ys[(nz + k) * nx : (nz + k + 1) * nx]
    for i in range(nx):
        sums[i] += low[i] * (before[i] - here[i]) + high[i] * (after[i] - here[i])
    if nz > 1:
        wide, layer = z.size > (nz + 1) * nx, ny * nx
        face = (row if wide else k) * nx
        low = z[face : face + nx]
        face += (ny if wide else 1) * nx
        high = z[face : face + nx]
        before = u[at - layer : at - layer + nx] if k > 0 else zs[j * nx : (j + 1) * nx]
        after = u[at + layer : at + layer + nx] if k < nz - 1 else zs[(ny + j) * nx : (ny + j + 1) * nx]
        for i in range(nx):
            sums[i] += low[i] * (before[i] - here[i]) + high[i] * (after[i] - here[i])
    face = row * (nx + 1) if x.size > nx + 1 else 0
    low, last = x[face : face + nx + 1], nx - 1
    if nx == 1:
        sums[0] -= (low[0] + low[1]) * here[0]
        return
    zero = here[0] - here[0]
    sums[0] += low[0] * ((here[last] if around else zero) - here[0]) + low[1] * (here[1] - here[0])
    sums[last] += low[last] * (here[last - 1] - here[last]) + low[nx] * (
        (here[0] if around else zero) - here[last]
    )
    for i in range(1, last):
        sums[i] += low[i] * (here[i - 1] - here[i]) + low[i + 1] * (here[i + 1] - here[i])


@shared
def begin(first, end, e, shape, right, inverse, colour):
    """What `relax` makes of zeros for one colour, rows of it; zero for the other."""
    ny, nx = shape[1], shape[2]
    for row in range(first, end):
        odd = (colour + row // ny + row % ny) & 1
        here, given, share = (
            e[row * nx : (row + 1) * nx],
            right[row * nx : (row + 1) * nx],
            inverse[row * nx : (row + 1) * nx],
        )
        for i in range(nx):
            here[i] = given[i] * share[i] if (i & 1) == odd else 0.0


@shared
def relax(first, end, e, shape, right, loss, inverse, x, y, z, ys, zs, around, colour, room):
    """Gauss and Seidel's step for the voxels of one colour of a chessboard: (loss − A) e = right there.

    inverse: one over the diagonal of loss − A.
    """
    nz, ny, nx = shape
    rows, blocks = nz * ny, room.shape[0]
    for block in range(first, end):
        total = room[block]
        for row in range(block * rows // blocks, (block + 1) * rows // blocks):
            for i in range(nx):
                total[i] = 0.0
            _add_rest(total, 0, e, row, shape, right, loss, x, y, z, ys, zs, around)
            here, share = e[row * nx : (row + 1) * nx], inverse[row * nx : (row + 1) * nx]
            for i in range((colour + row // ny + row % ny) & 1, nx, 2):
                here[i] += total[i] * share[i]


@shared
def rest(first, end, u, shape, right, loss, x, y, z, ys, zs, around, out):
    """out = right − (loss − A) u, rows of it: what comes to each voxel and does not stay in balance."""
    nx = shape[2]
    for row in range(first, end):
        for i in range(row * nx, (row + 1) * nx):
            out[i] = 0.0
        _add_rest(out, row * nx, u, row, shape, right, loss, x, y, z, ys, zs, around)


@shared
def rest_below(first, end, e, shape, right, loss, x, y, z, ys, zs, around, out, room):
    """What is left of e summed up over each coarse voxel, in `out`."""
    nz, ny, nx = shape
    mz, my, mx = max(nz // 2, 1), max(ny // 2, 1), max(nx // 2, 1)
    rows, blocks = mz * my, room.shape[0]
    for block in range(first, end):
        total = room[block]
        for row in range(block * rows // blocks, (block + 1) * rows // blocks):
            above, beside = row // my, row % my
            for i in range(nx):
                total[i] = 0.0
            for k in range(2 * above, 2 * above + 2 if above < mz - 1 else nz):
                for j in range(2 * beside, 2 * beside + 2 if beside < my - 1 else ny):
                    _add_rest(total, 0, e, k * ny + j, shape, right, loss, x, y, z, ys, zs, around)
            sums = out[row * mx : (row + 1) * mx]
            for i in range(mx):
                sums[i] = total[2 * i]
                if nx > 1:
                    sums[i] += total[2 * i + 1]
            if nx > 1 and nx & 1:
                sums[mx - 1] += total[nx - 1]


@shared
def add_above(first, end, e, shape, coarse, ix, wx, iy, wy, iz, wz, room):
    """e += coarse, linear between the middles of its voxels: each axis by two places (2, n) and their weights."""
    nz, ny, nx = shape
    my, mx = max(ny // 2, 1), max(nx // 2, 1)
    rows, blocks = nz * ny, room.shape[0]
    for block in range(first, end):
        line = room[block]
        for row in range(block * rows // blocks, (block + 1) * rows // blocks):
            k, j = row // ny, row % ny
            at = (iz[0, k] * my + iy[0, j]) * mx
            a = coarse[at : at + mx]
            at = (iz[0, k] * my + iy[1, j]) * mx
            b = coarse[at : at + mx]
            at = (iz[1, k] * my + iy[0, j]) * mx
            c = coarse[at : at + mx]
            at = (iz[1, k] * my + iy[1, j]) * mx
            d = coarse[at : at + mx]
            p, q = wz[0, k] * wy[0, j], wz[0, k] * wy[1, j]
            r, s = wz[1, k] * wy[0, j], wz[1, k] * wy[1, j]
            for i in range(mx):
                line[i] = (p * a[i] + q * b[i]) + (r * c[i] + s * d[i])
            here = e[row * nx : (row + 1) * nx]
            for i in range(nx):
                here[i] += wx[0, i] * line[ix[0, i]] + wx[1, i] * line[ix[1, i]]


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


@shared
def products(first, end, a, b, sums):
    """sums (parts,): Σ a b over each part of the numbers; all flat."""
    for part in range(first, end):
        sums[part] = _eight(a, b, part * PART, min((part + 1) * PART, a.size))


@shared
def both_products(first, end, a, b, c, of_b, of_c):
    """The sums of `products` for a b and a c."""
    for part in range(first, end):
        last = min((part + 1) * PART, a.size)
        of_b[part] = _eight(a, b, part * PART, last)
        of_c[part] = _eight(a, c, part * PART, last)


@shared
def turn(first, end, p, z, step):
    """p = z + slope p, parts of it, slope in `step` (3,); all flat."""
    slope = step[0]
    for part in range(first, end):
        for i in range(part * PART, min((part + 1) * PART, p.size)):
            p[i] = z[i] + slope * p[i]


@shared
def advance(first, end, s, r, p, q, step, right, squares, most):
    """s += length p, r += length q, and `right` = scale r in single precision, parts of them; all flat.

    step (3,): its last two are length and scale.
    squares, most (parts,): Σ r r then, and the largest of |p|.
    """
    length, scale = step[1], step[2]
    for part in range(first, end):
        last = min((part + 1) * PART, p.size)
        for i in range(part * PART, last):
            s[i] += length * p[i]
        for i in range(part * PART, last):
            r[i] += length * q[i]
            right[i] = scale * r[i]
        squares[part] = _eight(r, r, part * PART, last)
        most[part] = largest_of(p, part * PART, last)
