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

# Positions in a row of `Program.places` and of `Program.numbers`, and in `Program.functions`, where those of a
# method follow
SIZE, Y, F, P, H, RTOL, ATOL, LOWEST, TIMED, W, K, ERROR, FACTOR, DIP, STIFFNESS, ACCEPTED = range(16)
SCALED, LIMIT, LEAVES = range(3)
PREPARE, SLOPE, METHODS = range(3)
STEP, ACCEPT, COMPLETE, FUNCTIONS = range(4)
STIFF, OTHER = range(2)  # methods

# The memory of a cell between calls is the step to try first, negative where the other method goes on; its lowest
# bits count the accepted steps that spoke for a change of method.
_COUNTED = 31
_FORGOTTEN = 6  # accepted steps in a row that spoke against it


class Code(NamedTuple):
    """A program as the driver takes it.

    Attributes:
        functions, places, numbers, dense: of the program.
        shared: (p,) constants that all cells share; scale first.
        columns: (own,) positions in p of what cells have of their own.
    """

    functions: np.ndarray
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
        h, bits: (cell,) the memory of each cell, as numbers and as their bits; 0 where there is none yet.
        values: (cell, own) constants.
        status: (cell,) DONE, or why a cell was left as it was.
        where: (cell, 2) at a failure, its time and the position of what failed in the state.
        taken: (cell,) steps tried, added to.
        course: (cell, time, states) at `Task.outputs`.
    """

    state: np.ndarray
    time: np.ndarray
    h: np.ndarray
    bits: np.ndarray
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
def _fill(block, code, task, n):
    """What is the same for all cells."""
    places = code.places[STIFF]
    for lane in range(LANES):
        block[places[RTOL] + lane] = task.rtol
        for i in range(n):
            block[places[ATOL] + i * LANES + lane] = task.atol[i]
            block[places[LOWEST] + i * LANES + lane] = task.lowest[i]
        for i in range(len(code.shared)):
            block[places[P] + i * LANES + lane] = code.shared[i]


@njit(error_model="numpy", nogil=True)
def _load(block, code, batch, lane, cell):
    places, n = code.places[STIFF], batch.state.shape[1]
    y, p = places[Y], places[P]
    for i in range(n):
        block[y + i * LANES + lane] = batch.state[cell, i]
    if places[TIMED]:
        block[y + n * LANES + lane] = batch.time[cell]
    for i in range(len(code.columns)):
        block[p + code.columns[i] * LANES + lane] = batch.values[cell, i]


@njit(error_model="numpy", nogil=True)
def _culprit(block, places, lane, n, task):
    """The position in the state that is not finite, or else changes most in units of the tolerance."""
    y, w = places[Y], places[W]
    largest, found = -1.0, 0
    for i in range(n):
        at = i * LANES + lane
        level = max(abs(block[y + at]), abs(block[w + at]))
        ratio = abs(block[w + at] - block[y + at]) / (task.atol[i] + task.rtol * level)
        if not (level < np.inf and ratio < np.inf):
            return i
        if ratio > largest:
            largest, found = ratio, i
    return found


@njit(error_model="numpy", nogil=True)
def _first_step(block, places, lane, n, task):
    """A step that changes the state by a hundredth, or by the tolerance where there is nothing yet."""
    y, f = places[Y], places[F]
    level = change = 0.0
    for i in range(n):
        at = i * LANES + lane
        tolerance = task.atol[i] + task.rtol * abs(block[y + at])
        level += (block[y + at] / tolerance) ** 2
        change += (block[f + at] / tolerance) ** 2
    step = max(0.01 * np.sqrt(level), np.sqrt(n)) / np.sqrt(change)
    if not step < np.inf:
        step = _FIRST
    # the derivative of now says little where time itself drives the change
    return min(step, _FIRST) if places[TIMED] else step


@njit(error_model="numpy", nogil=True)
def dense_weights(code, method, q, used, weights):
    """The weights of the stages in the state at the share `q` of a step of size `used`."""
    factor = q * (1.0 - q) * (used if code.numbers[method, SCALED] else 1.0)
    for s in range(len(weights)):
        total = 0.0
        for d in range(code.dense.shape[1] - 1, -1, -1):
            total = total * q + code.dense[method, d, s]
        weights[s] = factor * total


@njit(error_model="numpy", nogil=True)
def dense_value(block, places, rows, weights, q, i, lane):
    """State `i` at the share `q` of the last step; `rows` states lie in one stage."""
    at = i * LANES + lane
    now = block[places[Y] + at]
    value = now + q * (block[places[W] + at] - now)
    for s in range(len(weights)):
        # a method with fewer stages than the other has nothing there
        if weights[s] != 0.0:
            value += weights[s] * block[places[K] + s * rows * LANES + at]
    return value


@njit(error_model="numpy", nogil=True)
def _write_outputs(block, code, method, task, batch, lane, cell, first, start, used, weights):
    """Fills in what is wanted in the last step, which began at `start`; returns the next output."""
    places = code.places[method]
    n, rows = batch.state.shape[1], batch.state.shape[1] + places[TIMED]
    k = first
    while k < len(task.outputs) and task.outputs[k] <= start + used:
        q = (task.outputs[k] - start) / used
        if q < 1.0:
            dense_weights(code, method, q, used, weights)
            for i in range(n):
                batch.course[cell, k, i] = dense_value(block, places, rows, weights, q, i, lane)
        else:
            for i in range(n):
                batch.course[cell, k, i] = block[places[W] + i * LANES + lane]
        k += 1
    return k


@njit(error_model="numpy", nogil=True)
def _queued(batch, first, end):
    """The cells from `first` below `end`, those that go on with the same method one after the other."""
    queue = np.empty(end - first, np.int64)
    at = 0
    for sign in range(2):
        for k in range(first, end):
            if (batch.h[k] < 0.0) == (sign == OTHER):
                queue[at] = k
                at += 1
    return queue


@njit(error_model="numpy", nogil=True)
def _remember(batch, k, planned, method, counted):
    batch.h[k] = planned if method == STIFF else -planned
    batch.bits[k] = batch.bits[k] - (batch.bits[k] & _COUNTED) + counted


@njit(error_model="numpy", nogil=True)
def _run_block(code, task, batch, first, end):
    common, n = code.places[STIFF], batch.state.shape[1]
    block = np.zeros(common[SIZE] + LANES)
    # vectors of eight doubles start where the processor reads them in one piece
    block = block[(64 - block.ctypes.data % 64) % 64 // 8 :]
    address = block.ctypes.data
    weights = np.zeros(code.dense.shape[2])
    cell, method = np.full(LANES, -1), np.zeros(LANES, np.int64)
    done, planned, used = np.zeros(LANES), np.zeros(LANES), np.full(LANES, _FIRST)
    rejected, dips, output = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    counted, against = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    wanted, completed = np.zeros(2, np.bool_), np.zeros(2, np.bool_)
    fresh, over = np.ones(LANES, np.bool_), np.zeros(LANES, np.bool_)
    queue = _queued(batch, first, end)
    waiting, active = 0, 0
    _fill(block, code, task, n)
    for lane in range(LANES):
        # a lane without a cell of its own computes along with the last one's numbers
        _load(block, code, batch, lane, queue[min(waiting, len(queue) - 1)])
        if waiting < len(queue):
            cell[lane] = queue[waiting]
            waiting += 1
            active += 1
    while active > 0:
        if np.any(fresh):
            call(code.functions[PREPARE], address)  # pyright: ignore[reportCallIssue]
            call(code.functions[SLOPE], address)  # pyright: ignore[reportCallIssue]
            for lane in range(LANES):
                k = cell[lane]
                if fresh[lane] and k >= 0:
                    done[lane], rejected[lane], dips[lane], output[lane] = 0.0, 0, 0, 0
                    method[lane] = OTHER if batch.h[k] < 0.0 else STIFF
                    counted[lane], against[lane] = batch.bits[k] & _COUNTED, 0
                    known = batch.h[k] != 0.0
                    planned[lane] = abs(batch.h[k]) if known else _first_step(block, common, lane, n, task)
                    while output[lane] < len(task.outputs) and task.outputs[output[lane]] <= 0.0:
                        batch.course[k, output[lane]] = batch.state[k]
                        output[lane] += 1
                fresh[lane] = False
        wanted[:] = False
        completed[:] = False
        for lane in range(LANES):
            if cell[lane] >= 0:
                used[lane] = min(planned[lane], task.dt - done[lane])
                wanted[method[lane]] = True
            block[common[H] + lane] = used[lane]
            for m in range(2):
                block[code.places[m, ACCEPTED] + lane] = 0.0
        for m in range(2):
            if wanted[m]:
                call(code.functions[METHODS + FUNCTIONS * m + STEP], address)  # pyright: ignore[reportCallIssue]
        for lane in range(LANES):
            k = cell[lane]
            if k < 0:
                continue
            m = method[lane]
            places = code.places[m]
            error, factor = block[places[ERROR] + lane], block[places[FACTOR] + lane]
            if error <= 1.0 and dips[lane] < _DIPS and block[places[DIP] + lane] != 0.0:
                error, factor = 2.0, 0.25
                dips[lane] += 1
            batch.taken[k] += 1
            finished = False
            if error <= 1.0:
                block[places[ACCEPTED] + lane] = 1.0
                if output[lane] < len(task.outputs) and task.outputs[output[lane]] <= done[lane] + used[lane]:
                    if not completed[m]:
                        complete = code.functions[METHODS + FUNCTIONS * m + COMPLETE]
                        call(complete, address)  # pyright: ignore[reportCallIssue]
                        completed[m] = True
                    output[lane] = _write_outputs(
                        block, code, m, task, batch, lane, k, output[lane], done[lane], used[lane], weights
                    )
                cut = used[lane] < planned[lane]
                done[lane] += used[lane]
                rejected[lane] = dips[lane] = 0
                following = used[lane] * factor
                # a step cut short to meet the end says little: do not lose the size that was planned
                planned[lane] = max(planned[lane], following) if cut else following
                limit, leaves = code.numbers[m, LIMIT], code.numbers[m, LEAVES]
                stiffness = block[places[STIFFNESS] + lane]
                if stiffness > limit if leaves > 0 else stiffness < limit:
                    counted[lane] += 1
                    against[lane] = 0
                    if counted[lane] >= abs(leaves):
                        method[lane], counted[lane] = 1 - m, 0
                else:
                    against[lane] += 1
                    if against[lane] >= _FORGOTTEN or leaves < 0:
                        counted[lane] = 0
                ended = done[lane] >= task.dt * (1.0 - 1e-12)
                if ended or (len(task.outputs) > 0 and output[lane] == len(task.outputs)):
                    finished = True
                    _remember(batch, k, planned[lane], method[lane], counted[lane])
                    batch.time[k] += task.dt if ended else done[lane]
                    for i in range(n):
                        batch.state[k, i] = block[places[W] + i * LANES + lane]
            else:
                planned[lane] = used[lane] * factor
                rejected[lane] += 1
                if rejected[lane] > _REJECTED or planned[lane] < 4e-16 * abs(batch.time[k] + done[lane]):
                    batch.status[k] = STEP_TOO_SMALL
                    finished = True
            if not finished and batch.taken[k] >= task.most:
                batch.status[k] = TOO_MANY_STEPS
                finished = True
            if finished and batch.status[k] != DONE:
                batch.where[k, 0] = batch.time[k] + done[lane]
                batch.where[k, 1] = _culprit(block, places, lane, n, task)
            over[lane] = finished
        for m in range(2):
            if wanted[m]:
                call(code.functions[METHODS + FUNCTIONS * m + ACCEPT], address)  # pyright: ignore[reportCallIssue]
        for lane in range(LANES):
            if over[lane]:
                over[lane] = False
                if waiting < len(queue):
                    cell[lane] = queue[waiting]
                    _load(block, code, batch, lane, queue[waiting])
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
