"""Drives the compiled step of `rosenbrock` over many cells: eight in lockstep, each with its own step size.

The driver knows nothing of a model: it is compiled once, and calls a model's functions by address. A lane
takes the next cell when its own is done. Lanes do not mix, so a cell's result depends on its own row only.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from mechanistic.jit import njit, prange

LANES = 8
_GAMMA = 0.25
_BLOCK = 256  # cells that one thread takes at a time
_FIRST = 1e-4  # of dt: the first step of a cell that has none yet

DONE, TOO_MANY_STEPS, STEP_TOO_SMALL = 0, 1, 2


@intrinsic
def _call(_context, address, block):
    """Calls the compiled `void f(double *, double *, double *)` at `address` with `block`."""

    def generate(context, builder, _signature, arguments):
        pointer = ir.DoubleType().as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 3)
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(arguments[1], pointer)] * 3)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@njit(error_model="numpy", nogil=True)
def _load(block, layout, lane, cell, state, time, shared, columns, values):
    y, p, n = layout[1], layout[4], state.shape[1]
    for i in range(n):
        block[y + i * LANES + lane] = state[cell, i]
    if layout[7]:
        block[y + n * LANES + lane] = time[cell]
    for i in range(len(shared)):
        block[p + i * LANES + lane] = shared[i]
    for i in range(len(columns)):
        block[p + columns[i] * LANES + lane] = values[cell, i]


@njit(error_model="numpy", nogil=True)
def _error(block, layout, lane, n, rtol, atol):
    """Root mean square of the error estimate over the tolerance; NaN where anything is not finite."""
    y, w, e = layout[1], layout[2], layout[3]
    total = 0.0
    for i in range(n):
        at = i * LANES + lane
        level = max(abs(block[y + at]), abs(block[w + at]))
        if not level < np.inf:
            return np.nan
        ratio = block[e + at] / (atol[i] + rtol * level)
        total += ratio * ratio
    return np.sqrt(total / n)


@njit(error_model="numpy", nogil=True)
def _advance_block(
    step, prepare, layout, state, time, h, shared, columns, values, dt, rtol, atol, most, status, taken,
    first, end,
):  # fmt: skip
    n = state.shape[1]
    rows = n + layout[7]
    block = np.zeros(layout[0] + LANES)
    # vectors of eight doubles start where the processor reads them in one piece
    block = block[(64 - block.ctypes.data % 64) % 64 // 8 :]
    address = block.ctypes.data
    y, w, g, hi = layout[1], layout[2], layout[5], layout[6]
    cell = np.full(LANES, -1)
    done, planned, used = np.zeros(LANES), np.full(LANES, dt), np.zeros(LANES)
    waiting, active = first, 0
    for lane in range(LANES):
        # a lane without a cell of its own computes along with the first one's numbers
        _load(block, layout, lane, min(waiting, end - 1), state, time, shared, columns, values)
        if waiting < end:
            cell[lane] = waiting
            planned[lane] = h[waiting] if h[waiting] > 0.0 else _FIRST * dt
            waiting += 1
            active += 1
    _call(prepare, address)  # pyright: ignore[reportCallIssue]
    while active > 0:
        for lane in range(LANES):
            used[lane] = min(planned[lane], dt - done[lane]) if cell[lane] >= 0 else _FIRST * dt
            block[g + lane] = 1.0 / (_GAMMA * used[lane])
            block[hi + lane] = 1.0 / used[lane]
        _call(step, address)  # pyright: ignore[reportCallIssue]
        fresh = False
        for lane in range(LANES):
            k = cell[lane]
            if k < 0:
                continue
            error = _error(block, layout, lane, n, rtol, atol)
            if error > 0.0:
                factor = min(6.0, max(0.2, 0.9 * error**-0.25))
            else:
                factor = 6.0 if error == 0.0 else 0.2
            taken[k] += 1
            finished = False
            if error <= 1.0:
                cut = used[lane] < planned[lane]
                done[lane] += used[lane]
                for i in range(rows):
                    block[y + i * LANES + lane] = block[w + i * LANES + lane]
                following = used[lane] * factor
                # a step cut short to meet the end says little: do not lose the size that was planned
                planned[lane] = max(planned[lane], following) if cut else following
                if done[lane] >= dt * (1.0 - 1e-12):
                    finished = True
                    h[k] = planned[lane]
                    time[k] += dt
                    for i in range(n):
                        state[k, i] = block[y + i * LANES + lane]
            else:
                planned[lane] = used[lane] * factor
                if planned[lane] < 1e-15 * dt or planned[lane] < 1e-15 * abs(time[k]):
                    status[k] = STEP_TOO_SMALL
                    finished = True
            if not finished and taken[k] >= most:
                status[k] = TOO_MANY_STEPS
                finished = True
            if finished:
                done[lane] = 0.0
                if waiting < end:
                    cell[lane] = waiting
                    _load(block, layout, lane, waiting, state, time, shared, columns, values)
                    planned[lane] = h[waiting] if h[waiting] > 0.0 else _FIRST * dt
                    waiting += 1
                    fresh = True
                else:
                    cell[lane] = -1
                    active -= 1
        if fresh:
            _call(prepare, address)  # pyright: ignore[reportCallIssue]


@njit(error_model="numpy", parallel=True)
def advance_cells(
    step, prepare, layout, state, time, h, shared, columns, values, dt, rtol, atol, most, status, taken
):  # fmt: skip
    """Steps every cell by `dt`, in place.

    Args:
        step, prepare: addresses of a model's functions.
        layout: length of the block; offsets of y, w, K5, p, g, hi; 1 where the last state is time, else 0.
        state: (cell, states) without time.
        time: (cell,).
        h: (cell,) the step to try first, 0 where none is known.
        shared: (p,) constants that all cells share; scale first.
        columns, values: (own,) positions in p, and (cell, own) what each cell has there.
        atol: (states,).
        status: (cell,) DONE, or why a cell was left as it was.
        taken: (cell,) steps tried, added to.
    """
    cells = len(state)
    for b in prange((cells + _BLOCK - 1) // _BLOCK):
        first = b * _BLOCK
        _advance_block(
            step, prepare, layout, state, time, h, shared, columns, values, dt, rtol, atol, most, status,
            taken, first, min(first + _BLOCK, cells),
        )  # fmt: skip
