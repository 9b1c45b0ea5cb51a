"""Where the cells are that the driver has taken up: eight in the lanes, as many again waiting for the other method.

A call of a method's step computes all lanes, so the lanes hold cells of one method only. A cell that goes on with
the other gives its lane away and waits in its seat until there are enough of its kind.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mechanistic.codegen.loops import call_code
from mechanistic.solvers.along import write_now
from mechanistic.solvers.blocks import (
    ATOL,
    LANES,
    LOWEST,
    OTHER,
    PREPARE,
    RTOL,
    SIZE,
    SLOPE,
    STIFF,
    TIMED,
    F,
    P,
    Y,
    aligned,
)  # fmt: skip
from mechanistic.solvers.instants import AFTER, AT, CHANGED, HELD, next_change, settle

# From TOO_FAST on `event` says what it was; AT_AN_INSTANT: plus what `settle` says
DONE, TOO_MANY_STEPS, STEP_TOO_SMALL, TOO_FAST, AT_AN_INSTANT = 0, 1, 2, 3, 10

SEATS = 2 * LANES
NOBODY = -1
_FIRST = 1e-3  # the first step where the derivative says nothing
_FASTEST = 1e30  # amounts within a task, relative to the largest amount of the cell; rounding is 1e-16 of it

# The memory of a cell between calls is the step to try first, negative where the other method goes on; its lowest
# bits count the accepted steps that spoke for a change of method.
COUNTED = 31


class Seats(NamedTuple):
    """The driver's own memory, for one thread.

    Attributes:
        block, address: the block of numbers that compiled code works on.
        weights: (stages,) of dense output.
        queue: (cell,) in the order of their turn.
        seat: (lane,) whose lane it is, or NOBODY.
        fresh, over, stepped: (lane,) has a cell that has not begun; a cell that is done; whose step counts.
        used, began: (lane,) size and time of the last step.
        share, low: (lane,) see `along.first_turn`.
        completed: (1,) whether the stages for dense output of this step are there.
        cell, parked: (seat,) its cell, or NOBODY; whether it is in no lane.
        method: (seat,) that goes on.
        done, change: (seat,) time since the cell's own; that of the next change of a condition on time.
        planned: (seat,) the step to try; infinite where there is none yet.
        jumped: (seat,) whether the state has just jumped, so that little is known of the step.
        rejected, dips, output, counted, against: (seat,) counts, see `lockstep`.
        state, held: (seat, ...) of a parked cell: the state, time included; the conditions that steps hold fixed.
        memory: (seat, width) of events, see `mechanistic.event_memory`.
        watched: (seat, events + watched) triggers and watched conditions as they stand.
        fired: (seat, event, 3) time of the last firing, gap before it, how many gaps in a row have shrunk.
        event: (seat,) the last one at work; or the state that changes too fast.
    """

    block: np.ndarray
    address: int
    weights: np.ndarray
    queue: np.ndarray
    seat: np.ndarray
    fresh: np.ndarray
    over: np.ndarray
    stepped: np.ndarray
    used: np.ndarray
    began: np.ndarray
    share: np.ndarray
    low: np.ndarray
    completed: np.ndarray
    cell: np.ndarray
    parked: np.ndarray
    method: np.ndarray
    done: np.ndarray
    change: np.ndarray
    planned: np.ndarray
    jumped: np.ndarray
    rejected: np.ndarray
    dips: np.ndarray
    output: np.ndarray
    counted: np.ndarray
    against: np.ndarray
    state: np.ndarray
    held: np.ndarray
    memory: np.ndarray
    watched: np.ndarray
    fired: np.ndarray
    event: np.ndarray


def make_seats(code, switches, batch, cells: int) -> Seats:
    """Empty seats, for up to `cells` of a batch at a time; see `lockstep`."""
    size, timed = code.places[STIFF, SIZE], code.places[STIFF, TIMED]
    block = aligned(size)

    def lanes(kind: type) -> np.ndarray:
        return np.zeros(LANES, kind)

    def seats(kind: type, *more: int) -> np.ndarray:
        return np.zeros((SEATS, *more), kind)

    return Seats(
        block, block.ctypes.data, np.zeros(code.dense.shape[2]), np.zeros(cells, np.int64),
        np.full(LANES, NOBODY), lanes(bool), lanes(bool), lanes(bool),
        np.full(LANES, _FIRST), lanes(float), np.full(LANES, 2.0), lanes(float), np.zeros(1, bool),
        np.full(SEATS, NOBODY), seats(bool), seats(np.int64),
        seats(float), seats(float), seats(float), seats(bool),
        seats(np.int64), seats(np.int64), seats(np.int64), seats(np.int64), seats(np.int64),
        seats(float, batch.state.shape[1] + timed), seats(float, switches.locked),
        seats(float, batch.memory.shape[1]), seats(float, switches.events + switches.watched),
        seats(float, switches.events, 3), seats(np.int64),
    )  # fmt: skip


def fill_common(seats, code, task, n):
    """Puts into the block what is the same for all cells."""
    places, block = code.places[STIFF], seats.block
    for lane in range(LANES):
        block[places[RTOL] + lane] = task.rtol
        for i in range(n):
            block[places[ATOL] + i * LANES + lane] = task.atol[i]
            block[places[LOWEST] + i * LANES + lane] = task.lowest[i]
        for i in range(len(code.shared)):
            block[places[P] + i * LANES + lane] = code.shared[i]


def fill_queue(seats, batch, first, end):
    """Those that go on with the same method one after the other."""
    at = 0
    for sign in range(2):
        for k in range(first, end):
            if (batch.h[k] < 0.0) == (sign == OTHER):
                seats.queue[at] = k
                at += 1


def load(seats, code, batch, lane, cell):
    """State and constants of a cell as they are in the batch."""
    places, n, block = code.places[STIFF], batch.state.shape[1], seats.block
    y = places[Y]
    for i in range(n):
        block[y + i * LANES + lane] = batch.state[cell, i]
    if places[TIMED]:
        block[y + n * LANES + lane] = batch.time[cell]
    _load_constants(seats, code, batch, lane, cell)


def _load_constants(seats, code, batch, lane, cell):
    p = code.places[STIFF, P]
    for i in range(len(code.columns)):
        seats.block[p + code.columns[i] * LANES + lane] = batch.values[cell, i]


def _park(seats, code, switches, lane):
    """Takes the cell out of the lane."""
    s, y, block = seats.seat[lane], code.places[STIFF, Y], seats.block
    for i in range(seats.state.shape[1]):
        seats.state[s, i] = block[y + i * LANES + lane]
    for i in range(switches.locked):
        seats.held[s, i] = block[switches.places[HELD] + i * LANES + lane]
    seats.parked[s] = True
    seats.seat[lane] = NOBODY


def _restore(seats, code, switches, batch, lane, s):
    """Puts the parked cell of seat `s` into the lane."""
    y, block = code.places[STIFF, Y], seats.block
    for i in range(seats.state.shape[1]):
        block[y + i * LANES + lane] = seats.state[s, i]
    for i in range(switches.locked):
        block[switches.places[HELD] + i * LANES + lane] = seats.held[s, i]
    _load_constants(seats, code, batch, lane, seats.cell[s])
    seats.parked[s] = False
    seats.seat[lane] = s


def _parked(seats, method, first):
    """The seat of a parked cell that goes on with `method`, from the seat `first` on; or NOBODY."""
    for s in range(first, SEATS):
        if seats.parked[s] and seats.method[s] == method:
            return s
    return NOBODY


def _free(seats, first):
    """A seat that is free, from the seat `first` on; or NOBODY."""
    for s in range(first, SEATS):
        if seats.cell[s] == NOBODY:
            return s
    return NOBODY


def take_lanes(seats, code, switches, task, batch, first, cells, current):
    """Fills the lanes with cells that go on with one method: the current one, or the other where that is better.

    Args:
        first: of the queue of `cells`, the first that has not begun.

    Returns:
        What of the queue is left, and the method; `NOBODY` where all is done.
    """
    n = batch.state.shape[1]
    while True:
        changed = True
        while changed:
            changed = False
            for lane in range(LANES):
                if seats.seat[lane] != NOBODY and seats.method[seats.seat[lane]] != current:
                    _park(seats, code, switches, lane)
            parked, free = _parked(seats, current, 0), _free(seats, 0)
            for lane in range(LANES):
                if seats.seat[lane] == NOBODY:
                    if parked != NOBODY:
                        _restore(seats, code, switches, batch, lane, parked)
                        parked = _parked(seats, current, parked + 1)
                        changed = True
                    elif first < cells and free != NOBODY:
                        load(seats, code, batch, lane, seats.queue[first])
                        seats.cell[free], seats.seat[lane] = seats.queue[first], free
                        seats.fresh[lane] = changed = True
                        first += 1
                        free = _free(seats, free + 1)
            if changed:
                call_code(code.functions[PREPARE], seats.address)
            # one that begins may go on with the other method: then there is another turn
            for lane in range(LANES):
                if seats.fresh[lane]:
                    seats.fresh[lane] = False
                    _begin(seats, code, switches, task, batch, lane, n)
        here = waiting = 0
        for lane in range(LANES):
            if seats.seat[lane] != NOBODY:
                here += 1
        for s in range(SEATS):
            if seats.parked[s]:
                waiting += 1
        if here + waiting == 0:
            return first, NOBODY
        if here == LANES or (waiting < LANES and waiting < 2 * here):
            _plan_first_steps(seats, code, task, batch, n)
            return first, current
        current = 1 - current


def _begin(seats, code, switches, task, batch, lane, n):
    """A cell's first moment: what happens at it, and what is asked for at it."""
    s, y = seats.seat[lane], code.places[STIFF, Y]
    k = seats.cell[s]
    seats.done[s], seats.change[s] = 0.0, np.inf
    seats.rejected[s], seats.dips[s], seats.output[s], seats.against[s] = 0, 0, 0, 0
    seats.method[s] = OTHER if batch.h[k] < 0.0 else STIFF
    seats.counted[s] = batch.bits[k] & COUNTED
    seats.jumped[s] = batch.h[k] == 0.0
    seats.planned[s] = np.inf if seats.jumped[s] else abs(batch.h[k])
    now, said = batch.time[k], 0
    if switches.events + switches.locked + switches.watched > 0:
        for i in range(batch.memory.shape[1]):
            seats.memory[s, i] = batch.memory[k, i]
        for e in range(switches.events):
            seats.fired[s, e, 0] = -np.inf
            seats.fired[s, e, 1] = seats.fired[s, e, 2] = 0.0
        said = settle(seats, switches, lane, y, n, now, AT)
        seats.jumped[s] = seats.jumped[s] or said == CHANGED
    if said <= CHANGED:
        seats.output[s] = write_now(seats.block, y, task, batch, lane, k, 0, 0.0)
    if switches.events + switches.locked + switches.watched > 0:
        if said <= CHANGED:
            said = settle(seats, switches, lane, y, n, now, AFTER)
            seats.jumped[s] = seats.jumped[s] or said == CHANGED
        seats.change[s] = next_change(seats, switches, lane) - now
        if said > CHANGED:
            batch.status[k] = AT_AN_INSTANT + said


def _plan_first_steps(seats, code, task, batch, n):
    """Steps for the cells in lanes whose state has jumped."""
    some = False
    for lane in range(LANES):
        s = seats.seat[lane]
        some = some or (s != NOBODY and seats.jumped[s])
    if some:
        call_code(code.functions[SLOPE], seats.address)
        for lane in range(LANES):
            s = seats.seat[lane]
            if s != NOBODY and seats.jumped[s]:
                if not seats.planned[s] < np.inf:
                    _check_speed(seats, code.places[STIFF], task, batch, lane, n)
                seats.planned[s] = min(
                    seats.planned[s], _first_step(seats.block, code.places[STIFF], lane, n, task)
                )
                seats.jumped[s] = False


def _check_speed(seats, places, task, batch, lane, n):
    """Fails a cell that begins at rates whose rounding errors alone exceed every amount within the task.

    A stiff solver would step over such rates, and lose what one pool hands to the next.
    """
    block, s = seats.block, seats.seat[lane]
    k, largest = seats.cell[s], 0.0
    for i in range(n):
        largest = max(largest, abs(block[places[Y] + i * LANES + lane]))
    for i in range(n):
        too_fast = abs(block[places[F] + i * LANES + lane]) * task.span > _FASTEST * (largest + 1.0)
        if too_fast and batch.status[k] == DONE:
            batch.status[k], seats.event[s] = TOO_FAST, i


def _first_step(block, places, lane, n, task):
    """A step that changes the state by a hundredth, or by the tolerance where there is nothing yet."""
    y, f = places[Y], places[F]
    level = change = 0.0
    for i in range(n):
        at = i * LANES + lane
        tolerance = task.atol[i] + task.rtol * abs(block[y + at])
        relative, slope = block[y + at] / tolerance, block[f + at] / tolerance
        level += relative * relative
        change += slope * slope
    step = max(0.01 * np.sqrt(level), np.sqrt(n)) / np.sqrt(change)
    if not step < np.inf:
        step = _FIRST
    # the derivative of now says little where time itself drives the change
    return min(step, _FIRST) if places[TIMED] else step
