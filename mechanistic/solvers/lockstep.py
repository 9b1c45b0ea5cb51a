"""Drives the compiled step of a `Program` over many cells: eight in lockstep, each with its own step size.

The driver knows nothing of a model or a method: it is compiled once, and calls a model's functions by address.
A lane takes the next cell when its own is done. Lanes do not mix, so a cell's result depends on its own row only.

Steps are chosen by the error alone. What is asked for at times in between is read off the method's continuous
extension, so the numbers do not depend on where a course is looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from mechanistic.jit import njit, prange

LANES = 8
_BLOCK = 256  # cells that one thread takes at a time
_FIRST = 1e-3  # the first step where the derivative says nothing
_REJECTED = 100  # steps in a row
_DIPS = 5  # steps in a row that are taken again because a species ends below zero

DONE, TOO_MANY_STEPS, STEP_TOO_SMALL = 0, 1, 2

# Positions in `Program.places`, of addresses and in `Program.numbers`
SIZE, Y, W, E, P, K, H, INVERSE, INVERSE_GAMMA, TIMED = range(10)
PREPARE, SLOPE, STEP = range(3)
ORDER, SAFETY, SHRINK, GROW, GAMMA, SCALED = range(6)


class Code(NamedTuple):
    """A program as the driver takes it.

    Attributes:
        addresses: of `prepare`, `slope` and `step`.
        places, numbers, dense: of the program.
        shared: (p,) constants that all cells share; scale first.
        columns: (own,) positions in p of what cells have of their own.
    """

    addresses: np.ndarray
    places: np.ndarray
    numbers: np.ndarray
    dense: np.ndarray
    shared: np.ndarray
    columns: np.ndarray


class Task(NamedTuple):
    """What is to be done, and how well.

    Attributes:
        dt: where every cell ends; infinite for a course, which ends with its last output.
        outputs: (time,) times after the cell's own at which its state is wanted, rising from 0; none where `dt`
            is finite.
        rtol, atol: tolerances; atol (states,).
        lowest: (states,) what no step may fall below, from above it, unless smaller steps do so too.
        most: steps.
    """

    dt: float
    outputs: np.ndarray
    rtol: float
    atol: np.ndarray
    lowest: np.ndarray
    most: int


class Batch(NamedTuple):
    """The cells; changed in place.

    Attributes:
        state: (cell, states) without time.
        time: (cell,).
        h: (cell,) the step to try first, 0 where none is known.
        values: (cell, own) constants.
        status: (cell,) DONE, or why a cell was left as it was.
        where: (cell, 2) at a failure, its time and the position of what failed in the state.
        taken: (cell,) steps tried, added to.
        course: (cell, time, states) at `Task.outputs`.
    """

    state: np.ndarray
    time: np.ndarray
    h: np.ndarray
    values: np.ndarray
    status: np.ndarray
    where: np.ndarray
    taken: np.ndarray
    course: np.ndarray


@intrinsic
def call(_context, address, block):
    """Calls the compiled `void f(double *, double *, double *)` at `address` with `block`."""

    def generate(context, builder, _signature, arguments):
        pointer = ir.DoubleType().as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 3)
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(arguments[1], pointer)] * 3)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@njit(error_model="numpy", nogil=True)
def _load(block, code, batch, lane, cell):
    y, p, n = code.places[Y], code.places[P], batch.state.shape[1]
    for i in range(n):
        block[y + i * LANES + lane] = batch.state[cell, i]
    if code.places[TIMED]:
        block[y + n * LANES + lane] = batch.time[cell]
    for i in range(len(code.shared)):
        block[p + i * LANES + lane] = code.shared[i]
    for i in range(len(code.columns)):
        block[p + code.columns[i] * LANES + lane] = batch.values[cell, i]


@njit(error_model="numpy", nogil=True)
def _error(block, places, lane, n, task):
    """Root mean square of the error estimate over the tolerance; NaN where anything is not finite."""
    y, w, e = places[Y], places[W], places[E]
    total = 0.0
    for i in range(n):
        at = i * LANES + lane
        level = max(abs(block[y + at]), abs(block[w + at]))
        if not level < np.inf:
            return np.nan
        ratio = block[e + at] / (task.atol[i] + task.rtol * level)
        total += ratio * ratio
    return np.sqrt(total / n)


@njit(error_model="numpy", nogil=True)
def _culprit(block, places, lane, n, task):
    """The position in the state that is not finite, or else has the largest error."""
    y, w, e = places[Y], places[W], places[E]
    largest, found = -1.0, 0
    for i in range(n):
        at = i * LANES + lane
        level = max(abs(block[y + at]), abs(block[w + at]))
        ratio = abs(block[e + at]) / (task.atol[i] + task.rtol * level)
        if not (level < np.inf and ratio < np.inf):
            return i
        if ratio > largest:
            largest, found = ratio, i
    return found


@njit(error_model="numpy", nogil=True)
def _dips(block, places, lane, n, task):
    """Whether the step takes anything from its lowest value or above to below it."""
    y, w = places[Y], places[W]
    for i in range(n):
        at = i * LANES + lane
        if block[w + at] < task.lowest[i] <= block[y + at]:
            return True
    return False


@njit(error_model="numpy", nogil=True)
def _first_step(block, code, lane, n, task):
    """A step that changes the state by a hundredth, or by the tolerance where there is nothing yet."""
    y, w = code.places[Y], code.places[W]
    level = change = 0.0
    for i in range(n):
        at = i * LANES + lane
        tolerance = task.atol[i] + task.rtol * abs(block[y + at])
        level += (block[y + at] / tolerance) ** 2
        change += (block[w + at] / tolerance) ** 2
    step = max(0.01 * np.sqrt(level), np.sqrt(n)) / np.sqrt(change)
    if not step < np.inf:
        step = _FIRST
    # the derivative of now says little where time itself drives the change
    return min(step, _FIRST) if code.places[TIMED] else step


@njit(error_model="numpy", nogil=True)
def dense_weights(code, q, used, weights):
    """The weights of the stages in the state at the share `q` of a step of size `used`."""
    factor = q * (1.0 - q) * (used if code.numbers[SCALED] else 1.0)
    for s in range(len(weights)):
        total = 0.0
        for d in range(len(code.dense) - 1, -1, -1):
            total = total * q + code.dense[d, s]
        weights[s] = factor * total


@njit(error_model="numpy", nogil=True)
def dense_value(block, places, rows, weights, q, i, lane):
    """State `i` at the share `q` of the last step; `rows` states lie in one stage."""
    at = i * LANES + lane
    now = block[places[Y] + at]
    value = now + q * (block[places[W] + at] - now)
    for s in range(len(weights)):
        value += weights[s] * block[places[K] + s * rows * LANES + at]
    return value


@njit(error_model="numpy", nogil=True)
def _write_outputs(block, code, task, batch, lane, cell, first, start, used, weights):
    """Fills in what is wanted in the last step, which began at `start`; returns the next output."""
    n, rows = batch.state.shape[1], batch.state.shape[1] + code.places[TIMED]
    k = first
    while k < len(task.outputs) and task.outputs[k] <= start + used:
        q = (task.outputs[k] - start) / used
        if q < 1.0:
            dense_weights(code, q, used, weights)
            for i in range(n):
                batch.course[cell, k, i] = dense_value(block, code.places, rows, weights, q, i, lane)
        else:
            for i in range(n):
                batch.course[cell, k, i] = block[code.places[W] + i * LANES + lane]
        k += 1
    return k


@njit(error_model="numpy", nogil=True)
def _run_block(code, task, batch, first, end):
    places, numbers = code.places, code.numbers
    n = batch.state.shape[1]
    rows = n + places[TIMED]
    block = np.zeros(places[SIZE] + LANES)
    # vectors of eight doubles start where the processor reads them in one piece
    block = block[(64 - block.ctypes.data % 64) % 64 // 8 :]
    address = block.ctypes.data
    weights = np.zeros(code.dense.shape[1])
    cell = np.full(LANES, -1)
    done, planned, used = np.zeros(LANES), np.zeros(LANES), np.full(LANES, _FIRST)
    rejected, dips, output = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    fresh = np.ones(LANES, np.bool_)
    waiting, active = first, 0
    for lane in range(LANES):
        # a lane without a cell of its own computes along with the first one's numbers
        _load(block, code, batch, lane, min(waiting, end - 1))
        if waiting < end:
            cell[lane] = waiting
            waiting += 1
            active += 1
    while active > 0:
        if np.any(fresh):
            call(code.addresses[PREPARE], address)  # pyright: ignore[reportCallIssue]
            call(code.addresses[SLOPE], address)  # pyright: ignore[reportCallIssue]
            for lane in range(LANES):
                k = cell[lane]
                if fresh[lane] and k >= 0:
                    done[lane], rejected[lane], dips[lane], output[lane] = 0.0, 0, 0, 0
                    known = batch.h[k] > 0.0
                    planned[lane] = batch.h[k] if known else _first_step(block, code, lane, n, task)
                    while output[lane] < len(task.outputs) and task.outputs[output[lane]] <= 0.0:
                        batch.course[k, output[lane]] = batch.state[k]
                        output[lane] += 1
                fresh[lane] = False
        for lane in range(LANES):
            if cell[lane] >= 0:
                used[lane] = min(planned[lane], task.dt - done[lane])
            if places[H] >= 0:
                block[places[H] + lane] = used[lane]
            if places[INVERSE] >= 0:
                block[places[INVERSE] + lane] = 1.0 / used[lane]
            if places[INVERSE_GAMMA] >= 0:
                block[places[INVERSE_GAMMA] + lane] = 1.0 / (numbers[GAMMA] * used[lane])
        call(code.addresses[STEP], address)  # pyright: ignore[reportCallIssue]
        for lane in range(LANES):
            k = cell[lane]
            if k < 0:
                continue
            error = _error(block, places, lane, n, task)
            if error > 0.0:
                factor = min(
                    numbers[GROW], max(numbers[SHRINK], numbers[SAFETY] * error ** (-1.0 / numbers[ORDER]))
                )
            else:
                factor = numbers[GROW] if error == 0.0 else numbers[SHRINK]
            if error <= 1.0 and dips[lane] < _DIPS and _dips(block, places, lane, n, task):
                error, factor = 2.0, 0.25
                dips[lane] += 1
            batch.taken[k] += 1
            finished = False
            if error <= 1.0:
                output[lane] = _write_outputs(
                    block, code, task, batch, lane, k, output[lane], done[lane], used[lane], weights
                )
                cut = used[lane] < planned[lane]
                done[lane] += used[lane]
                rejected[lane] = dips[lane] = 0
                for i in range(rows):
                    block[places[Y] + i * LANES + lane] = block[places[W] + i * LANES + lane]
                following = used[lane] * factor
                # a step cut short to meet the end says little: do not lose the size that was planned
                planned[lane] = max(planned[lane], following) if cut else following
                ended = done[lane] >= task.dt * (1.0 - 1e-12)
                if ended or (len(task.outputs) > 0 and output[lane] == len(task.outputs)):
                    finished = True
                    batch.h[k] = planned[lane]
                    batch.time[k] += task.dt if ended else done[lane]
                    for i in range(n):
                        batch.state[k, i] = block[places[Y] + i * LANES + lane]
            else:
                planned[lane] = used[lane] * factor
                rejected[lane] += 1
                if rejected[lane] > _REJECTED or planned[lane] < 4e-16 * abs(batch.time[k] + done[lane]):
                    batch.status[k] = STEP_TOO_SMALL
                    finished = True
            if not finished and batch.taken[k] >= task.most:
                batch.status[k] = TOO_MANY_STEPS
                finished = True
            if finished:
                if batch.status[k] != DONE:
                    batch.where[k, 0] = batch.time[k] + done[lane]
                    batch.where[k, 1] = _culprit(block, places, lane, n, task)
                if waiting < end:
                    cell[lane] = waiting
                    _load(block, code, batch, lane, waiting)
                    waiting += 1
                    fresh[lane] = True
                else:
                    cell[lane] = -1
                    active -= 1


@njit(error_model="numpy", parallel=True)
def run_cells(code, task, batch):
    """Does `task` for every cell of `batch`, in place. Cells that fail keep state, time and step."""
    cells = len(batch.state)
    for b in prange((cells + _BLOCK - 1) // _BLOCK):
        first = b * _BLOCK
        _run_block(code, task, batch, first, min(first + _BLOCK, cells))
