"""Diffusion along x, y and z of a field, eight or sixteen lines at a time, by the code of `_line_code`.

Lines do not mix and each is worked on by one thread, so results do not depend on the number of threads.
"""

from __future__ import annotations

import llvmlite.ir as ir
import numpy as np
from numpy.typing import NDArray

from mechanistic.codegen.loops import Written, shared
from mechanistic.fields._line_code import LANES, MOST_PAIRS, WIDE
from mechanistic.threads import threads

Array = NDArray[np.float64]
Codes = tuple[int, int]
_WORD = ir.IntType(64)


def sweep_layers(
    u: Array, along_x: Codes, table_x: Array, along_y: Codes, table_y: Array, columns: int, rows: int
) -> None:
    """Along x and then y in every layer of u (nz, ny, nx), in place.

    Args:
        along_x, along_y: addresses of `line` or `ring`, for eight and for sixteen lines.
        table_x, table_y: their coefficients.
        columns, rows: addresses of the transpositions.
    """
    room = _room(u.shape[0], max(u.shape[1:]))
    _layers(len(room[0]), u.reshape(-1), *u.shape, *along_x, table_x, *along_y, table_y, columns, rows, *room)


def sweep_columns(u: Array, along_z: Codes, table_z: Array) -> None:
    """Along z of u (nz, ny, nx), in place; see `sweep_layers`."""
    room = _room(u.shape[1], u.shape[0])
    _columns(len(room[0]), u.reshape(-1), *u.shape, *along_z, table_z, *room)


def _room(pieces: int, n: int) -> tuple[Array, Array]:
    """For each part of the pieces that a thread takes: lines of n voxels side by side, and what their code needs."""
    parts = min(pieces, threads())
    return np.zeros((parts, n * WIDE)), np.empty((parts, n * 2 * MOST_PAIRS * WIDE))


def _called(b: ir.IRBuilder, code, *words):
    """Calls the machine code at an address with five whole numbers: addresses, strides and counts."""
    kind = ir.FunctionType(ir.VoidType(), [_WORD] * 5)
    b.call(b.inttoptr(code, kind.as_pointer()), words)
    return []


def _where(b: ir.IRBuilder, array):
    """The address at which an array begins."""
    return [b.ptrtoint(array, _WORD)]


_call, _address = Written(None, _called), Written("i", _where)


@shared
def _layers(
    first, end, u, nz, ny, nx, x_of_8, x_of_16, table_x, y_of_8, y_of_16, table_y, columns, rows, buffers, works,
):  # fmt: skip
    """`sweep_layers` for parts of the layers of u (nz · ny · nx,), each with a row of `buffers` and `works`."""
    parts, whole = buffers.shape[0], nx // LANES
    for part in range(first, end):
        buffer = buffers[part]
        turned, work = _address(buffer), _address(works[part])
        for k in range(part * nz // parts, (part + 1) * nz // parts):
            layer = k * ny * nx
            base, j = _address(u) + 8 * layer, 0
            while j < ny:
                lanes = WIDE if j + WIDE <= ny else LANES
                full = j + lanes <= ny
                start = LANES * whole if full else 0
                if full:
                    for q in range(0, lanes, LANES):
                        _call(columns, base + 8 * (j + q) * nx, nx, turned + 8 * q, lanes, whole)
                for q in range(min(lanes, ny - j)):
                    for i in range(start, nx):
                        buffer[i * lanes + q] = u[layer + (j + q) * nx + i]
                _call(x_of_16 if lanes == WIDE else x_of_8, turned, lanes, work, _address(table_x), nx)
                if full:
                    for q in range(0, lanes, LANES):
                        _call(rows, turned + 8 * q, lanes, base + 8 * (j + q) * nx, nx, whole)
                for q in range(min(lanes, ny - j)):
                    for i in range(start, nx):
                        u[layer + (j + q) * nx + i] = buffer[i * lanes + q]
                j += lanes
            _across(y_of_8, y_of_16, base, nx, nx, work, table_y, ny)
            _rest(y_of_8, u, layer, nx, nx, table_y, ny, buffer, work)


@shared
def _columns(first, end, u, nz, ny, nx, of_8, of_16, table, buffers, works):
    """`sweep_columns` for parts of the rows of voxels."""
    parts = buffers.shape[0]
    for part in range(first, end):
        work = _address(works[part])
        for j in range(part * ny // parts, (part + 1) * ny // parts):
            _across(of_8, of_16, _address(u) + 8 * j * nx, nx, nx * ny, work, table, nz)
            _rest(of_8, u, j * nx, nx, nx * ny, table, nz, buffers[part], work)


def _across(of_8, of_16, base, nx, stride, work, table, n):
    """The lines through the whole eights of a row of voxels that begins at address `base`."""
    i = 0
    while i + LANES <= nx:
        wide = i + WIDE <= nx
        _call(of_16 if wide else of_8, base + 8 * i, stride, work, _address(table), n)
        i += WIDE if wide else LANES


def _rest(of_8, u, begin, nx, stride, table, n, buffer, work):
    """The lines that are left, fewer than eight, through a row of voxels that begins at voxel `begin`, by way of the
    buffer."""
    width = nx % LANES
    if width == 0:
        return
    at = begin + nx - width
    for i in range(n):
        for q in range(width):
            buffer[i * LANES + q] = u[at + i * stride + q]
    _call(of_8, _address(buffer), LANES, work, _address(table), n)
    for i in range(n):
        for q in range(width):
            u[at + i * stride + q] = buffer[i * LANES + q]
