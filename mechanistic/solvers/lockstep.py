"""Drives the compiled step of a `Program` over many cells: eight in lockstep, each with its own step size.

The driver knows nothing of a model or a method: it is compiled once, and calls a model's functions by address.
A lane takes the next cell when its own is done. Lanes do not mix, so a cell's result depends on its own row only.

Steps are chosen by the error alone. What is asked for at times in between is read off the method's continuous
extension, so the numbers do not depend on where a course is looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mechanistic.jit import njit
from mechanistic.solvers.along import first_turn, write_now, write_outputs
from mechanistic.solvers.blocks import (
    ACCEPT,
    ACCEPTED,
    ATOL,
    COMPLETE,
    DIP,
    ERROR,
    FACTOR,
    FUNCTIONS,
    LANES,
    LEAVES,
    LIMIT,
    LOWEST,
    METHODS,
    OTHER,
    PREPARE,
    RTOL,
    SCALED,
    SIZE,
    SLOPE,
    STEP,
    STIFF,
    STIFFNESS,
    TIMED,
    F,
    H,
    K,
    P,
    W,
    Y,
    call,
    dense_value,
    dense_weights,
)  # fmt: skip
from mechanistic.solvers.instants import AFTER, AT, CHANGED, NOTHING, History, next_change, settle

_FIRST = 1e-3  # the first step where the derivative says nothing
_REJECTED = 100  # steps in a row
_DIPS = 5  # steps in a row that are taken again because a species ends below zero

_SAME = 1e-13  # relative difference of times that are the same

DONE, TOO_MANY_STEPS, STEP_TOO_SMALL, AT_AN_INSTANT = 0, 1, 2, 10  # the last: plus what `settle` says

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
        memory: (cell, width) of events, see `mechanistic.event_memory`.
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
    memory: np.ndarray


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
def run_cells(code, switches, task, batch, first, end):
    """Does `task` for the cells of `batch` from `first` below `end`, in place; not alone, if other threads do others.

    Cells that fail keep state, time and step.
    """
    common, n = code.places[STIFF], batch.state.shape[1]
    rows = n + common[TIMED]
    block = np.zeros(common[SIZE] + LANES)
    # vectors of eight doubles start where the processor reads them in one piece
    block = block[(64 - block.ctypes.data % 64) % 64 // 8 :]
    address = block.ctypes.data
    weights = np.zeros(code.dense.shape[2])
    cell, method = np.full(LANES, -1), np.zeros(LANES, np.int64)
    # time since the cell's own; that of the next change of a condition on time; steps planned and taken
    done, change = np.zeros(LANES), np.full(LANES, np.inf)
    planned, used = np.zeros(LANES), np.full(LANES, _FIRST)
    began, share, low = np.zeros(LANES), np.full(LANES, 2.0), np.zeros(LANES)
    rejected, dips, output = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    counted, against = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    wanted, completed = np.zeros(2, np.bool_), np.zeros(2, np.bool_)
    fresh, over = np.ones(LANES, np.bool_), np.zeros(LANES, np.bool_)
    jumped, stepped = np.zeros(LANES, np.bool_), np.zeros(LANES, np.bool_)
    switching = switches.events + switches.locked + switches.watched > 0
    watching = switches.events + switches.watched > 0
    memory = np.zeros((LANES, batch.memory.shape[1]))
    history = History(
        np.zeros((LANES, switches.events + switches.watched)),
        np.zeros((LANES, switches.events, 3)),
        np.zeros(LANES, np.int64),
    )
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
            for lane in range(LANES):
                k = cell[lane]
                if fresh[lane] and k >= 0:
                    done[lane], rejected[lane], dips[lane], output[lane] = 0.0, 0, 0, 0
                    method[lane] = OTHER if batch.h[k] < 0.0 else STIFF
                    counted[lane], against[lane] = batch.bits[k] & _COUNTED, 0
                    jumped[lane] = batch.h[k] == 0.0
                    planned[lane] = np.inf if jumped[lane] else abs(batch.h[k])
                    if switching:
                        memory[lane] = batch.memory[k]
                        history.fired[lane] = 0.0
                        history.fired[lane, :, 0] = -np.inf
                        now = batch.time[k]
                        said = settle(block, switches, history, memory[lane], lane, common[Y], n, now, AT)
                        jumped[lane] = jumped[lane] or said == CHANGED
                        if said <= CHANGED:
                            output[lane] = write_now(block, common[Y], task, batch, lane, k, 0, 0.0)
                            said = settle(
                                block, switches, history, memory[lane], lane, common[Y], n, now, AFTER
                            )
                            jumped[lane] = jumped[lane] or said == CHANGED
                        change[lane] = next_change(block, switches, memory[lane], lane) - now
                        if said > CHANGED:
                            batch.status[k] = AT_AN_INSTANT + said
                    else:
                        output[lane] = write_now(block, common[Y], task, batch, lane, k, 0, 0.0)
                fresh[lane] = False
        if np.any(jumped):
            call(code.functions[SLOPE], address)  # pyright: ignore[reportCallIssue]
            for lane in range(LANES):
                if jumped[lane]:
                    planned[lane] = min(planned[lane], _first_step(block, common, lane, n, task))
                jumped[lane] = False
        wanted[:] = False
        completed[:] = False
        for lane in range(LANES):
            if cell[lane] >= 0:
                used[lane] = min(planned[lane], min(task.dt, change[lane]) - done[lane])
                began[lane] = batch.time[cell[lane]] + done[lane]
                wanted[method[lane]] = True
            block[common[H] + lane] = used[lane]
            for m in range(2):
                block[code.places[m, ACCEPTED] + lane] = 0.0
        for m in range(2):
            if wanted[m]:
                call(code.functions[METHODS + FUNCTIONS * m + STEP], address)  # pyright: ignore[reportCallIssue]
        if watching:
            for lane in range(LANES):
                error = block[code.places[method[lane], ERROR] + lane]
                stepped[lane] = cell[lane] >= 0 and error <= 1.0
            for m in range(2):
                if wanted[m] and np.any(stepped):
                    call(code.functions[METHODS + FUNCTIONS * m + COMPLETE], address)  # pyright: ignore[reportCallIssue]
                    completed[m] = True
            if np.any(stepped):
                first_turn(
                    block, code, switches, history, method, n, stepped, began, used, share, low, weights
                )
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
            finished = batch.status[k] != DONE
            if error <= 1.0 and not finished:
                start, cut = done[lane], used[lane] < planned[lane]
                turns = watching and share[lane] <= 1.0
                done[lane] += share[lane] * used[lane] if turns else used[lane]
                lands = turns
                if not turns and done[lane] >= change[lane] * (1.0 - 1e-15):
                    done[lane], lands = change[lane], True
                ended = done[lane] >= task.dt * (1.0 - 1e-12)
                now = batch.time[k] + (task.dt if ended else done[lane])
                # what is wanted at the very time of an event comes after what happens then
                reach = done[lane] - _SAME * abs(now) if lands else np.nextafter(done[lane], np.inf)
                if output[lane] < len(task.outputs) and task.outputs[output[lane]] < reach:
                    if not completed[m]:
                        complete = code.functions[METHODS + FUNCTIONS * m + COMPLETE]
                        call(complete, address)  # pyright: ignore[reportCallIssue]
                        completed[m] = True
                    output[lane] = write_outputs(
                        block, code, m, task, batch, lane, k, output[lane], start, used[lane], reach, weights
                    )
                rejected[lane] = 0
                # forgiven one by one: steps grow less fast than those that end below zero would wear them down
                dips[lane] = max(dips[lane] - 1, 0)
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
                if lands or (ended and switching):
                    if turns:
                        dense_weights(
                            code.dense[m], code.numbers[m, SCALED] != 0.0, share[lane], used[lane], weights
                        )
                        for i in range(n):
                            block[places[W] + i * LANES + lane] = dense_value(
                                block, places[Y], places[W], places[K], rows, weights, share[lane], i, lane
                            )
                    if common[TIMED]:
                        block[places[W] + n * LANES + lane] = now
                    # from where the accepted state is taken
                    y = places[W]
                    said = settle(block, switches, history, memory[lane], lane, y, n, now, AT)
                    jumped[lane] = said != NOTHING
                    if said <= CHANGED:
                        output[lane] = write_now(
                            block, y, task, batch, lane, k, output[lane], done[lane] + _SAME * abs(now)
                        )
                        if not ended:
                            said = settle(block, switches, history, memory[lane], lane, y, n, now, AFTER)
                            jumped[lane] = jumped[lane] or said != NOTHING
                            change[lane] = next_change(block, switches, memory[lane], lane) - batch.time[k]
                    if said > CHANGED:
                        batch.status[k] = AT_AN_INSTANT + said
                        finished = True
                block[places[ACCEPTED] + lane] = 1.0
                if not finished and (ended or (len(task.outputs) > 0 and output[lane] == len(task.outputs))):
                    finished = True
                    _remember(batch, k, planned[lane], method[lane], counted[lane])
                    batch.time[k] = now
                    batch.memory[k] = memory[lane]
                    for i in range(n):
                        batch.state[k, i] = block[places[W] + i * LANES + lane]
            elif not finished:
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
                at_an_instant = batch.status[k] >= AT_AN_INSTANT
                batch.where[k, 1] = (
                    history.event[lane] if at_an_instant else _culprit(block, places, lane, n, task)
                )
            over[lane] = finished
        for m in range(2):
            if wanted[m]:
                call(code.functions[METHODS + FUNCTIONS * m + ACCEPT], address)  # pyright: ignore[reportCallIssue]
        for lane in range(LANES):
            if over[lane]:
                over[lane] = jumped[lane] = False
                if waiting < len(queue):
                    cell[lane] = queue[waiting]
                    _load(block, code, batch, lane, queue[waiting])
                    waiting += 1
                    fresh[lane] = True
                else:
                    cell[lane] = -1
                    active -= 1
