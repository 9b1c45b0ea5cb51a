"""Drives the compiled steps of `discrete_adjoint` over many cells, forwards and back: eight in lockstep.

Forwards a cell keeps the sizes of its steps, and its state at the first of them. Back, the steps are taken again
from there, all of their stages kept, and then undone one by one. Lanes do not mix, so a cell's numbers depend on
its own row only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from mechanistic.jit import njit, prange
from mechanistic.solvers.blocks import call

LANES = 8
_BLOCK = 64  # cells that one thread takes at a time

DONE, FULL, SWITCHED, TOO_MANY_STEPS, STEP_TOO_SMALL = range(5)

# Positions in `Code.places`
SIZE, TAPE, ROWS, Y, W, K, H, P, NOW, ERROR, RTOL, ATOL, LAM, KEPT, ASKED, PBAR = range(16)


class Code(NamedTuple):
    """A compiled network.

    Attributes:
        prepare, step, measure, after, conditions: addresses; `after` is `tangent` or `adjoint`.
        places: see above; offsets in the block from Y on.
        dense: (coefficients, stages) of the continuous extension.
        sided: switches to watch; switched: where their values begin in a row of constants.
    """

    prepare: int
    step: int
    measure: int
    after: int
    conditions: int
    places: np.ndarray
    dense: np.ndarray
    sided: int
    switched: int


class Cells(NamedTuple):
    """What is integrated; changed in place. Columns: the states, then the tangent where there is one.

    Attributes:
        state: (cell, columns).
        time, h: (cell,); h is the step to try.
        stop: (cell,) no step reaches beyond.
        fixed: (cell, constants) everything from "p" on: scale, constants, their direction, switches.
        following: (cell,) the next output.
        course: (cell, time, columns) the outputs.
        status, taken: (cell,) why it ended; steps tried, added to.
        sizes, marks: (cell, steps) of every step its size and the next output after it; none where steps are 0.
        count: (cell,) steps that were accepted.
    """

    state: np.ndarray
    time: np.ndarray
    h: np.ndarray
    stop: np.ndarray
    fixed: np.ndarray
    following: np.ndarray
    course: np.ndarray
    status: np.ndarray
    taken: np.ndarray
    sizes: np.ndarray
    marks: np.ndarray
    count: np.ndarray


class Round(NamedTuple):
    """Some cells' next few steps, as they are undone.

    Attributes:
        cells: (row,) which.
        state, time, following: (row, columns), (row,), (row,) before the first step.
        fixed: (row, constants).
        sizes, marks, count: as in `Cells`.
    """

    cells: np.ndarray
    state: np.ndarray
    time: np.ndarray
    following: np.ndarray
    fixed: np.ndarray
    sizes: np.ndarray
    marks: np.ndarray
    count: np.ndarray


@intrinsic
def _call_on(_context, address, block, source):
    """As `call`, with a second block for the function to read."""

    def generate(context, builder, _signature, arguments):
        pointer = ir.DoubleType().as_pointer()
        function = builder.inttoptr(arguments[0], ir.FunctionType(ir.VoidType(), [pointer] * 3).as_pointer())
        block, source = (builder.inttoptr(a, pointer) for a in arguments[1:])
        builder.call(function, [block, source, block])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@njit(error_model="numpy", nogil=True)
def _aligned(size):
    """A block that starts where the processor reads eight doubles in one piece."""
    block = np.zeros(size + LANES)
    return block[(64 - block.ctypes.data % 64) % 64 // 8 :]


@njit(error_model="numpy", nogil=True)
def _load(block, places, lane, state, fixed):
    for i in range(len(state)):
        block[places[Y] + i * LANES + lane] = state[i]
    for i in range(len(fixed)):
        block[places[P] + i * LANES + lane] = fixed[i]


@njit(error_model="numpy", nogil=True)
def _stage(places, dense, i):
    """Where the stages of column i begin."""
    rows = places[ROWS]
    return places[K] + (i % rows + i // rows * dense.shape[1] * rows) * LANES


@njit(error_model="numpy", nogil=True)
def _extension(dense, share, weights):
    """weights[s]: how much of stage s the state at `share` of a step holds beside those of its ends."""
    for s in range(dense.shape[1]):
        value = 0.0
        for d in range(dense.shape[0] - 1, -1, -1):
            value = value * share + dense[d, s]
        weights[s] = share * (1.0 - share) * value


@njit(error_model="numpy", nogil=True)
def _read(block, code, lane, share, weights, result):
    places = code.places
    _extension(code.dense, share, weights)
    for i in range(len(result)):
        at = i * LANES + lane
        value = (1.0 - share) * block[places[Y] + at] + share * block[places[W] + at]
        stage = _stage(places, code.dense, i) + lane
        for s in range(len(weights)):
            value += weights[s] * block[stage + s * places[ROWS] * LANES]
        result[i] = value


@njit(error_model="numpy", nogil=True)
def _turned(block, code, lane, fixed):
    count = 0
    for k in range(code.sided):
        count += block[code.places[NOW] + k * LANES + lane] != fixed[code.switched + k]
    return count > 0


@njit(error_model="numpy", nogil=True)
def _record_block(code, cells, grid, rtol, atol, most, first, end):
    columns, places = cells.state.shape[1], code.places
    block = _aligned(places[SIZE])
    address = block.ctypes.data
    own = np.full(LANES, -1)
    used = np.zeros(LANES)
    weights = np.zeros(code.dense.shape[1])
    keep = cells.sizes.shape[1]
    waiting, active, fresh = first, 0, True
    for lane in range(LANES):
        block[places[RTOL] + lane] = rtol
        for i in range(columns):
            block[places[ATOL] + i * LANES + lane] = atol[i]
        # a lane without a cell of its own computes along with the first one's numbers
        k = min(waiting, end - 1)
        _load(block, places, lane, cells.state[k], cells.fixed[k])
        used[lane] = cells.h[k]
        if waiting < end:
            own[lane] = waiting
            waiting += 1
            active += 1
    while active > 0:
        if fresh:
            call(code.prepare, address)  # pyright: ignore[reportCallIssue]
            fresh = False
        for lane in range(LANES):
            k = own[lane]
            if k >= 0:
                left = cells.stop[k] - cells.time[k]
                used[lane] = cells.h[k]
                if left <= 1.000001 * used[lane]:
                    used[lane] = left
                elif left < 2.0 * used[lane]:
                    used[lane] = 0.5 * left
            block[places[H] + lane] = used[lane]
        call(code.step, address)  # pyright: ignore[reportCallIssue]
        if columns > places[ROWS]:
            call(code.after, address)  # pyright: ignore[reportCallIssue]
        call(code.measure, address)  # pyright: ignore[reportCallIssue]
        if code.sided:
            _call_on(code.conditions, address, address + 8 * places[W])  # pyright: ignore[reportCallIssue]
        # most often all lanes go on, and none has an output to read off the step
        together = code.sided == 0
        for lane in range(LANES):
            k = own[lane]
            if k >= 0:
                f = cells.following[k]
                together &= block[places[ERROR] + lane] <= 1.0
                together &= f == len(grid) or grid[f] > cells.time[k] + used[lane]
        if together:
            block[places[Y] : places[Y] + columns * LANES] = block[places[W] : places[W] + columns * LANES]
        for lane in range(LANES):
            k = own[lane]
            if k < 0:
                continue
            error = block[places[ERROR] + lane]
            if error > 0.0:
                factor = min(6.0, max(0.2, 0.9 * error**-0.2))
            else:
                factor = 6.0 if error == 0.0 else 0.2
            cells.taken[k] += 1
            ended = False
            if error <= 1.0:
                if _turned(block, code, lane, cells.fixed[k]):
                    cells.h[k] = used[lane]
                    cells.status[k] = SWITCHED
                    ended = True
                else:
                    begin, arrives = cells.time[k], used[lane] == cells.stop[k] - cells.time[k]
                    now = cells.stop[k] if arrives else begin + used[lane]
                    f = cells.following[k]
                    # an output where a step must stop is taken after what happens there
                    while f < len(grid) and (grid[f] < now or (grid[f] == now and not arrives)):
                        share = min(1.0, (grid[f] - begin) / used[lane])
                        _read(block, code, lane, share, weights, cells.course[k, f])
                        f += 1
                    cells.following[k] = f
                    if keep:
                        cells.sizes[k, cells.count[k]] = used[lane]
                        cells.marks[k, cells.count[k]] = f
                    cells.count[k] += 1
                    cells.time[k] = now
                    cells.h[k] = max(cells.h[k], used[lane] * factor) if arrives else used[lane] * factor
                    if not together:
                        for i in range(columns):
                            at = i * LANES + lane
                            block[places[Y] + at] = block[places[W] + at]
                    if arrives or f == len(grid):
                        cells.status[k] = DONE
                        ended = True
                    elif keep and cells.count[k] == keep:
                        cells.status[k] = FULL
                        ended = True
            else:
                cells.h[k] = used[lane] * factor
                if cells.h[k] < 1e-15 * abs(cells.time[k]) or cells.h[k] < 1e-300:
                    cells.status[k] = STEP_TOO_SMALL
                    ended = True
            if not ended and cells.taken[k] >= most:
                cells.status[k] = TOO_MANY_STEPS
                ended = True
            if ended:
                for i in range(columns):
                    cells.state[k, i] = block[places[Y] + i * LANES + lane]
                if waiting < end:
                    own[lane] = waiting
                    _load(block, places, lane, cells.state[waiting], cells.fixed[waiting])
                    waiting += 1
                    fresh = True
                else:
                    own[lane] = -1
                    active -= 1


@njit(error_model="numpy", parallel=True)
def record_cells(code, cells, grid, rtol, atol, most):
    """Steps every cell until it stops, has its last output, finds a switch turned, or has kept all it can keep.

    Args:
        code, cells: `Code` and `Cells`.
        grid: (time,) outputs, rising.
        rtol, atol: tolerances; atol (columns,).
        most: steps.
    """
    for b in prange((len(cells.state) + _BLOCK - 1) // _BLOCK):
        first = b * _BLOCK
        _record_block(code, cells, grid, rtol, atol, most, first, min(first + _BLOCK, len(cells.state)))


@njit(error_model="numpy")
def one_step(code, state, fixed, h):
    """The new (columns,) after one step of size h."""
    places = code.places
    block = _aligned(places[SIZE])
    for lane in range(LANES):
        _load(block, places, lane, state, fixed)
        block[places[H] + lane] = h
    call(code.prepare, block.ctypes.data)  # pyright: ignore[reportCallIssue]
    call(code.step, block.ctypes.data)  # pyright: ignore[reportCallIssue]
    result = np.empty(places[ROWS])
    for i in range(len(result)):
        result[i] = block[places[W] + i * LANES]
    return result


@njit(error_model="numpy", nogil=True)
def _seed(block, code, lane, cell, start, size, low, high, grid, weights, extra):
    """What is asked of the outputs within a step becomes asked of its ends and stages."""
    places, rows = code.places, code.places[ROWS]
    for f in range(low, high):
        share = min(1.0, (grid[f] - start) / size)
        _extension(code.dense, share, extra)
        for i in range(rows):
            weight = weights[cell, f, i]
            at = i * LANES + lane
            block[places[LAM] + at] += share * weight
            block[places[KEPT] + at] += (1.0 - share) * weight
            for s in range(len(extra)):
                block[places[ASKED] + s * rows * LANES + at] += extra[s] * weight


@njit(error_model="numpy", nogil=True)
def _pull_group(code, part, grid, weights, lam, pbar, members, block, tape):
    places, rows = code.places, code.places[ROWS]
    address = block.ctypes.data
    most, length, active = 0, places[TAPE], len(members)
    times = np.zeros((len(tape) + 1, LANES))
    extra = np.zeros(code.dense.shape[1])
    for lane in range(LANES):
        r = members[min(lane, active - 1)]
        _load(block, places, lane, part.state[r], part.fixed[r])
        times[0, lane] = part.time[r]
        most = max(most, part.count[r])
    call(code.prepare, address)  # pyright: ignore[reportCallIssue]
    for k in range(most):
        for lane in range(LANES):
            r = members[min(lane, active - 1)]
            block[places[H] + lane] = part.sizes[r, k if k < part.count[r] else 0]
        call(code.step, address)  # pyright: ignore[reportCallIssue]
        tape[k] = block[:length]
        together = True
        for lane in range(LANES):
            together &= k < part.count[members[min(lane, active - 1)]]
        for lane in range(LANES):
            r = members[min(lane, active - 1)]
            if k < part.count[r]:
                times[k + 1, lane] = times[k, lane] + part.sizes[r, k]
                if not together:
                    for i in range(rows):
                        at = i * LANES + lane
                        block[places[Y] + at] = block[places[W] + at]
        if together:
            block[places[Y] : places[Y] + rows * LANES] = block[places[W] : places[W] + rows * LANES]
    constants, seeded = pbar.shape[1], True
    for k in range(most - 1, -1, -1):
        if seeded:
            block[places[KEPT] : places[KEPT] + rows * LANES] = 0.0
            block[places[ASKED] : places[ASKED] + len(extra) * rows * LANES] = 0.0
            seeded = False
        for lane in range(LANES):
            r = members[min(lane, active - 1)]
            block[places[H] + lane] = part.sizes[r, k if k < part.count[r] else 0]
            # a lane whose cell took fewer steps carries zeros until its own last step
            begins = lane < active and k == part.count[r] - 1
            if begins or k >= part.count[r] or lane >= active:
                c = part.cells[r]
                for i in range(rows):
                    block[places[LAM] + i * LANES + lane] = lam[c, i] if begins else 0.0
                for i in range(constants):
                    block[places[PBAR] + i * LANES + lane] = pbar[c, i] if begins else 0.0
            if lane < active and k < part.count[r]:
                low, high = part.marks[r, k - 1] if k else part.following[r], part.marks[r, k]
                if high > low:
                    seeded = True
                    _seed(
                        block, code, lane, part.cells[r], times[k, lane], part.sizes[r, k], low, high, grid,
                        weights, extra,
                    )  # fmt: skip
        _call_on(code.after, address, tape[k].ctypes.data)  # pyright: ignore[reportCallIssue]
    for lane in range(active):
        c = part.cells[members[lane]]
        for i in range(rows):
            lam[c, i] = block[places[LAM] + i * LANES + lane]
        for i in range(constants):
            pbar[c, i] = block[places[PBAR] + i * LANES + lane]


@njit(error_model="numpy", parallel=True)
def pull_cells(code, part, grid, weights, lam, pbar, order):
    """Undoes the steps of a `Round`: what is asked of the states after it becomes asked of those before it.

    Args:
        grid, weights: (time,) and (cell, time, rows) what is asked of the outputs.
        lam: (cell, rows); pbar: (cell, constants), added to; both in place.
        order: the rows of the round, those with as many steps beside each other.
    """
    groups = (len(order) + LANES - 1) // LANES
    workers = min(groups, 16)
    for worker in prange(workers):
        block = _aligned(code.places[SIZE])
        tape = np.empty((part.sizes.shape[1], code.places[TAPE]))
        for g in range(worker, groups, workers):
            members = order[g * LANES : (g + 1) * LANES]
            _pull_group(code, part, grid, weights, lam, pbar, members, block, tape)
