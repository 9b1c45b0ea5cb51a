"""Diffusion along x, y and z of a field, eight or sixteen lines at a time, by the code of `_line_code`.

Lines do not mix and each is worked on by one thread, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from mechanistic.fields._line_code import LANES, MOST_PAIRS, WIDE
from mechanistic.jit import njit, prange


@intrinsic
def _five(_context, address, first, second, third, fourth, fifth):
    """Calls the machine code at `address` with five whole numbers: addresses, strides and counts."""

    def generate(context, builder, _signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 5)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


@njit(error_model="numpy")
def _rest(sweep, lines, stride, width, table, n, buffer, work):
    """Fewer than eight lines, lines (n, width) with the given stride, by way of the buffer."""
    for i in range(n):
        for q in range(width):
            buffer[i * LANES + q] = lines[i, q]
    _five(sweep, buffer.ctypes.data, LANES, work, table.ctypes.data, n)  # pyright: ignore[reportCallIssue]
    for i in range(n):
        for q in range(width):
            lines[i, q] = buffer[i * LANES + q]


@njit(parallel=True, error_model="numpy")
def sweep_layers(u, along_x, table_x, along_y, table_y, columns, rows):
    """Along x and then y in every layer of u (nz, ny, nx), in place.

    Args:
        along_x, along_y: addresses of `line` or `ring`, for eight and for sixteen lines.
        table_x, table_y: their coefficients.
        columns, rows: addresses of the transpositions.
    """
    nz, ny, nx = u.shape
    whole = nx // LANES
    for k in prange(nz):
        n = max(nx, ny)
        buffer = np.zeros(n * WIDE)
        room = np.empty(n * 2 * MOST_PAIRS * WIDE)
        work = room.ctypes.data
        layer = u[k]
        base, turned = layer.ctypes.data, buffer.ctypes.data
        j = 0
        while j < ny:
            lanes, code = (WIDE, along_x[1]) if j + WIDE <= ny else (LANES, along_x[0])
            full = j + lanes <= ny
            start = LANES * whole if full else 0
            if full:
                for q in range(0, lanes, LANES):
                    _five(columns, base + 8 * (j + q) * nx, nx, turned + 8 * q, lanes, whole)  # pyright: ignore[reportCallIssue]
            for q in range(min(lanes, ny - j)):
                for i in range(start, nx):
                    buffer[i * lanes + q] = layer[j + q, i]
            _five(code, turned, lanes, work, table_x.ctypes.data, nx)  # pyright: ignore[reportCallIssue]
            if full:
                for q in range(0, lanes, LANES):
                    _five(rows, turned + 8 * q, lanes, base + 8 * (j + q) * nx, nx, whole)  # pyright: ignore[reportCallIssue]
            for q in range(min(lanes, ny - j)):
                for i in range(start, nx):
                    layer[j + q, i] = buffer[i * lanes + q]
            j += lanes
        _across(along_y, base, nx, whole, nx, work, table_y, ny)
        if nx > LANES * whole:
            _rest(along_y[0], layer[:, LANES * whole :], nx, nx - LANES * whole, table_y, ny, buffer, work)
        buffer[0] = room[0]  # an array lives until it is last used


@njit(parallel=True, error_model="numpy")
def sweep_columns(u, along_z, table_z):
    """Along z of u (nz, ny, nx), in place; see `sweep_layers`."""
    nz, ny, nx = u.shape
    whole = nx // LANES
    for j in prange(ny):
        buffer = np.zeros(nz * WIDE)
        room = np.empty(nz * 2 * MOST_PAIRS * WIDE)
        work = room.ctypes.data
        _across(along_z, u.ctypes.data + 8 * j * nx, nx, whole, nx * ny, work, table_z, nz)
        if nx > LANES * whole:
            _rest(
                along_z[0], u[:, j, LANES * whole :], nx * ny, nx - LANES * whole, table_z, nz, buffer, work
            )
        buffer[0] = room[0]


@njit(error_model="numpy")
def _across(code, base, nx, whole, stride, work, table, n):
    """The lines through the `whole` eights of a row of voxels that begins at address `base`."""
    i = 0
    while i < LANES * whole:
        wide = i + WIDE <= nx
        _five(code[1] if wide else code[0], base + 8 * i, stride, work, table.ctypes.data, n)  # pyright: ignore[reportCallIssue]
        i += WIDE if wide else LANES
