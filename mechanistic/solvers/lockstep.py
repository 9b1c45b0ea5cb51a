"""Drives the compiled step of a `Program` over many cells: eight in lockstep, each with its own step size.

The driver knows nothing of a model or a method: it is compiled once, and calls a model's functions by address.
A lane takes the next cell when its own is done. Lanes do not mix, so a cell's result depends on its own row only.

Steps are chosen by the error alone. What is asked for at times in between is read off the method's continuous
extension, so the numbers do not depend on where a course is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mechanistic.codegen.loops import call_code, compiled
from mechanistic.solvers.along import first_turn, write_now, write_outputs
from mechanistic.solvers.blocks import (
    ACCEPT,
    ACCEPTED,
    COMPLETE,
    DIP,
    ERROR,
    FACTOR,
    FUNCTIONS,
    LANES,
    LEAVES,
    LIMIT,
    METHODS,
    SCALED,
    STEP,
    STIFF,
    STIFFNESS,
    TIMED,
    H,
    K,
    W,
    Y,
    dense_value,
    dense_weights,
)  # fmt: skip
from mechanistic.solvers.instants import AFTER, AT, CHANGED, NOTHING, next_change, settle
from mechanistic.solvers.seats import (
    AT_AN_INSTANT,
    COUNTED,
    DONE,
    NOBODY,
    STEP_TOO_SMALL,
    TOO_FAST,
    TOO_MANY_STEPS,
    fill_common,
    fill_queue,
    load,
    make_seats,
    take_lanes,
)  # fmt: skip

_REJECTED = 100  # steps in a row
_DIPS = 5  # steps in a row that are taken again because a species ends below zero
_FORGOTTEN = 6  # accepted steps in a row that spoke against the other method
_SAME = 1e-13  # relative difference of times that are the same


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
        span: how far it goes in all.
    """

    dt: float
    outputs: np.ndarray
    rtol: float
    atol: np.ndarray
    lowest: np.ndarray
    most: int
    span: float


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


def run_cells(code: Code, switches, task: Task, batch: Batch, parts: Iterator[tuple[int, int]]) -> None:
    """Does `task` for the cells of `batch` in `parts`, each from a first below an end, in place.

    Threads may share the iterator. Cells that fail keep state, time and step.
    """
    run, room = None, 0
    for first, end in parts:
        if run is None or end - first > room:
            room = end - first
            seats = make_seats(code, switches, batch, room)
            run = _run.on(code, switches, task, batch, seats)
        run(first, end)


@compiled
def _run(code, switches, task, batch, seats, first, end):
    n, h = batch.state.shape[1], code.places[STIFF, H]
    watching = switches.events + switches.watched > 0
    fill_common(seats, code, task, n)
    fill_queue(seats, batch, first, end)
    for lane in range(LANES):
        # a lane without a cell computes along with the numbers that it has
        load(seats, code, batch, lane, seats.queue[min(lane, end - first - 1)])
    begun, method, moved = 0, STIFF, True
    while True:
        if moved:
            moved = False
            begun, method = take_lanes(seats, code, switches, task, batch, begun, end - first, method)
            if method == NOBODY:
                return
        accepted, functions = code.places[method, ACCEPTED], METHODS + FUNCTIONS * method
        for lane in range(LANES):
            s = seats.seat[lane]
            if s != NOBODY:
                seats.used[lane] = min(seats.planned[s], min(task.dt, seats.change[s]) - seats.done[s])
                seats.began[lane] = batch.time[seats.cell[s]] + seats.done[s]
            seats.block[h + lane] = seats.used[lane]
            seats.block[accepted + lane] = 0.0
        call_code(code.functions[functions + STEP], seats.address)
        seats.completed[0] = False
        if watching:
            _look_along(seats, code, switches, method, n)
        for lane in range(LANES):
            if seats.seat[lane] != NOBODY:
                seats.over[lane] = _judge(seats, code, switches, task, batch, method, lane, n)
        call_code(code.functions[functions + ACCEPT], seats.address)
        jumped = False
        for lane in range(LANES):
            s = seats.seat[lane]
            if s != NOBODY:
                jumped = jumped or seats.jumped[s]
                if seats.over[lane]:
                    seats.cell[s] = seats.seat[lane] = NOBODY
                    moved = True
                elif seats.method[s] != method:
                    moved = True
        moved = moved or jumped


def _look_along(seats, code, switches, method, n):
    """Where along the steps something watched turns."""
    error = code.places[method, ERROR]
    some = False
    for lane in range(LANES):
        seats.stepped[lane] = seats.seat[lane] != NOBODY and seats.block[error + lane] <= 1.0
        some = some or seats.stepped[lane]
    if some:
        call_code(code.functions[METHODS + FUNCTIONS * method + COMPLETE], seats.address)
        seats.completed[0] = True
        first_turn(seats, code, switches, method, n)


def _judge(seats, code, switches, task, batch, m, lane, n):
    """Takes the last step of a lane or not, and plans the next; whether its cell is done."""
    s, block, places = seats.seat[lane], seats.block, code.places[m]
    k, used = seats.cell[s], seats.used[lane]
    error, factor = block[places[ERROR] + lane], block[places[FACTOR] + lane]
    if error <= 1.0 and seats.dips[s] < _DIPS and block[places[DIP] + lane] != 0.0:
        error, factor = 2.0, 0.25
        seats.dips[s] += 1
    batch.taken[k] += 1
    finished = batch.status[k] != DONE
    if error <= 1.0 and not finished:
        finished = _accept(seats, code, switches, task, batch, m, lane, n, factor)
    elif not finished:
        seats.planned[s] = used * factor
        seats.rejected[s] += 1
        if seats.rejected[s] > _REJECTED or seats.planned[s] < 4e-16 * abs(batch.time[k] + seats.done[s]):
            batch.status[k] = STEP_TOO_SMALL
            finished = True
    if not finished and batch.taken[k] >= task.most:
        batch.status[k] = TOO_MANY_STEPS
        finished = True
    if finished and batch.status[k] != DONE:
        batch.where[k, 0] = batch.time[k] + seats.done[s]
        known = batch.status[k] >= TOO_FAST
        batch.where[k, 1] = seats.event[s] if known else _culprit(block, places, lane, n, task)
    return finished


def _accept(seats, code, switches, task, batch, m, lane, n, factor):
    """Takes the last step of a lane, as far as nothing happens before its end; whether its cell is done."""
    s, block, places = seats.seat[lane], seats.block, code.places[m]
    k, used, start = seats.cell[s], seats.used[lane], seats.done[s]
    switching = switches.events + switches.locked + switches.watched > 0
    turns = switches.events + switches.watched > 0 and seats.share[lane] <= 1.0
    seats.done[s] = start + (seats.share[lane] * used if turns else used)
    lands = turns
    if not turns and seats.done[s] >= seats.change[s] * (1.0 - 1e-15):
        seats.done[s], lands = seats.change[s], True
    done = seats.done[s]
    ended = done >= task.dt * (1.0 - 1e-12)
    now = batch.time[k] + (task.dt if ended else done)
    if seats.output[s] < len(task.outputs) and task.outputs[seats.output[s]] <= done:
        # what is wanted at the very time of an event comes after what happens then
        reach = done - _SAME * abs(now) if lands else np.nextafter(done, np.inf)
        if task.outputs[seats.output[s]] < reach and not seats.completed[0]:
            call_code(code.functions[METHODS + FUNCTIONS * m + COMPLETE], seats.address)
            seats.completed[0] = True
        seats.output[s] = write_outputs(
            block, code, m, task, batch, lane, k, seats.output[s], start, used, reach, seats.weights
        )
    _plan(seats, code, m, lane, factor)
    finished = False
    if lands or (ended and switching):
        finished = _land(seats, code, switches, task, batch, m, lane, n, now, turns, ended)
    block[places[ACCEPTED] + lane] = 1.0
    if not finished and (ended or (len(task.outputs) > 0 and seats.output[s] == len(task.outputs))):
        finished = True
        batch.h[k] = seats.planned[s] if seats.method[s] == STIFF else -seats.planned[s]
        batch.bits[k] = batch.bits[k] - (batch.bits[k] & COUNTED) + seats.counted[s]
        batch.time[k] = now
        for i in range(batch.memory.shape[1]):
            batch.memory[k, i] = seats.memory[s, i]
        for i in range(n):
            batch.state[k, i] = block[places[W] + i * LANES + lane]
    return finished


def _plan(seats, code, m, lane, factor):
    """The next step's size, `factor` times the last, and its method."""
    s = seats.seat[lane]
    following = seats.used[lane] * factor
    seats.rejected[s] = 0
    # forgiven one by one: steps grow less fast than those that end below zero would wear them down
    seats.dips[s] = max(seats.dips[s] - 1, 0)
    # a step cut short to meet the end says little: do not lose the size that was planned
    cut = seats.used[lane] < seats.planned[s]
    seats.planned[s] = max(seats.planned[s], following) if cut else following
    limit, leaves = code.numbers[m, LIMIT], code.numbers[m, LEAVES]
    stiffness = seats.block[code.places[m, STIFFNESS] + lane]
    # a step that would do for the other method counts only where the next one would do too
    if (stiffness > limit) if leaves > 0.0 else (stiffness * max(factor, 1.0) < limit):
        seats.counted[s] += 1
        seats.against[s] = 0
        if seats.counted[s] >= abs(leaves):
            seats.method[s], seats.counted[s] = 1 - m, 0
    else:
        seats.against[s] += 1
        if seats.against[s] >= _FORGOTTEN or leaves < 0.0:
            seats.counted[s] = 0


def _land(seats, code, switches, task, batch, m, lane, n, now, turns, ended):
    """What happens to a cell where its step ends; whether that ends its course."""
    s, block, places = seats.seat[lane], seats.block, code.places[m]
    k, y = seats.cell[s], places[W]
    if turns:
        share, used = seats.share[lane], seats.used[lane]
        dense_weights(code.dense[m], code.numbers[m, SCALED] != 0.0, share, used, seats.weights)
        for i in range(n):
            block[y + i * LANES + lane] = dense_value(
                block, places[Y], y, places[K], n + places[TIMED], seats.weights, share, i, lane
            )
    if places[TIMED]:
        block[y + n * LANES + lane] = now
    # from where the accepted state is taken
    said = settle(seats, switches, lane, y, n, now, AT)
    seats.jumped[s] = said != NOTHING
    if said <= CHANGED:
        reach = seats.done[s] + _SAME * abs(now)
        seats.output[s] = write_now(block, y, task, batch, lane, k, seats.output[s], reach)
        if not ended:
            said = settle(seats, switches, lane, y, n, now, AFTER)
            seats.jumped[s] = seats.jumped[s] or said != NOTHING
            seats.change[s] = next_change(seats, switches, lane) - batch.time[k]
    if said > CHANGED:
        batch.status[k] = AT_AN_INSTANT + said
    return said > CHANGED


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
