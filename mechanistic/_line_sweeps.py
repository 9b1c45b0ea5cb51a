"""Diffusion along x, y and z of a field, eight lines at a time, by the code of `_line_code`.

Lines do not mix and each is worked on by one thread, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from mechanistic._line_code import LANES, MOST_PAIRS
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
            buffer[i, q] = lines[i, q]
    _five(sweep, buffer.ctypes.data, LANES, work, table.ctypes.data, n)  # pyright: ignore[reportCallIssue]
    for i in range(n):
        for q in range(width):
            lines[i, q] = buffer[i, q]


@njit(parallel=True, error_model="numpy")
def sweep_layers(u, along_x, table_x, along_y, table_y, columns, rows):
    """Along x and then y in every layer of u (nz, ny, nx), in place.

    Args:
        along_x, along_y: addresses of `line` or `ring`.
        table_x, table_y: their coefficients.
        columns, rows: addresses of the transpositions.
    """
    nz, ny, nx = u.shape
    whole = nx // LANES
    for k in prange(nz):
        n = max(nx, ny)
        buffer = np.zeros((n, LANES))
        room = np.empty(n * 2 * MOST_PAIRS * LANES)
        work = room.ctypes.data
        layer = u[k]
        base, turned = layer.ctypes.data, buffer.ctypes.data
        for j in range(0, ny, LANES):
            full = j + LANES <= ny
            start = 8 * whole if full else 0
            if full:
                _five(columns, base + 8 * j * nx, nx, turned, LANES, whole)  # pyright: ignore[reportCallIssue]
            for q in range(min(LANES, ny - j)):
                for i in range(start, nx):
                    buffer[i, q] = layer[j + q, i]
            _five(along_x, turned, LANES, work, table_x.ctypes.data, nx)  # pyright: ignore[reportCallIssue]
            if full:
                _five(rows, turned, LANES, base + 8 * j * nx, nx, whole)  # pyright: ignore[reportCallIssue]
            for q in range(min(LANES, ny - j)):
                for i in range(start, nx):
                    layer[j + q, i] = buffer[i, q]
        for i in range(0, LANES * whole, LANES):
            _five(along_y, base + 8 * i, nx, work, table_y.ctypes.data, ny)  # pyright: ignore[reportCallIssue]
        if nx > LANES * whole:
            _rest(along_y, layer[:, LANES * whole :], nx, nx - LANES * whole, table_y, ny, buffer, work)
        buffer[0, 0] = room[0]  # an array lives until it is last used


@njit(parallel=True, error_model="numpy")
def sweep_columns(u, along_z, table_z):
    """Along z of u (nz, ny, nx), in place; see `sweep_layers`."""
    nz, ny, nx = u.shape
    whole = nx // LANES
    for j in prange(ny):
        buffer = np.zeros((nz, LANES))
        room = np.empty(nz * 2 * MOST_PAIRS * LANES)
        work = room.ctypes.data
        for i in range(0, LANES * whole, LANES):
            at = u.ctypes.data + 8 * (j * nx + i)
            _five(along_z, at, nx * ny, work, table_z.ctypes.data, nz)  # pyright: ignore[reportCallIssue]
        if nx > LANES * whole:
            _rest(along_z, u[:, j, LANES * whole :], nx * ny, nx - LANES * whole, table_z, nz, buffer, work)
        buffer[0, 0] = room[0]
