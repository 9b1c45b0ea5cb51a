"""Drives the compiled steps of `step` over many cells: eight in lockstep, each with its own step size.

A cell keeps the sizes of its steps where they are to be undone (`back`). Lanes do not mix, so a
cell's numbers depend on its own row only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mechanistic.codegen.loops import call_code, compiled
from mechanistic.solvers.blocks import LANES, aligned
from mechanistic.solvers.sharing import share_out

_CELLS_A_THREAD = 2 * LANES  # below this, waking another thread takes longer

DONE, FULL, SWITCHED, TOO_MANY_STEPS, STEP_TOO_SMALL = range(5)

# Positions in `Code.places`
SIZE, TAPE, ROWS, Y, W, K, H, P, NOW, ERROR, RTOL, ATOL, LAM, KEPT, ASKED, PBAR = range(16)

_NOBODY = -1


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


class _Room(NamedTuple):
    """The memory of one thread.

    Attributes:
        block, address: what compiled code works on.
        own: (lane,) its cell, or nobody; used: (lane,) the size of its step.
        weights: (stages,) of the continuous extension.
    """

    block: np.ndarray
    address: int
    own: np.ndarray
    used: np.ndarray
    weights: np.ndarray


def _room(code: Code) -> _Room:
    block, weights = aligned(int(code.places[SIZE])), np.zeros(code.dense.shape[1])
    return _Room(block, block.ctypes.data, np.zeros(LANES, np.int64), np.zeros(LANES), weights)


def load(block, places, lane, state, fixed):
    """Puts a cell's state and constants into a lane."""
    for i in range(len(state)):
        block[places[Y] + i * LANES + lane] = state[i]
    for i in range(len(fixed)):
        block[places[P] + i * LANES + lane] = fixed[i]


def _stage(places, dense, i):
    """Where the stages of column i begin; those of the tangent follow those of the states."""
    rows = places[ROWS]
    return places[K] + (i if i < rows else i - rows + dense.shape[1] * rows) * LANES


def extension(dense, share, weights):
    """weights[s]: how much of stage s the state at `share` of a step holds beside those of its ends."""
    for s in range(dense.shape[1]):
        value = 0.0
        for d in range(dense.shape[0] - 1, -1, -1):
            value = value * share + dense[d, s]
        weights[s] = share * (1.0 - share) * value


def _read(block, code, lane, share, weights, result):
    places = code.places
    extension(code.dense, share, weights)
    for i in range(len(result)):
        at = i * LANES + lane
        value = (1.0 - share) * block[places[Y] + at] + share * block[places[W] + at]
        stage = _stage(places, code.dense, i) + lane
        for s in range(len(weights)):
            value += weights[s] * block[stage + s * places[ROWS] * LANES]
        result[i] = value


def _turned(block, code, lane, fixed):
    turned = False
    for k in range(code.sided):
        turned = turned or block[code.places[NOW] + k * LANES + lane] != fixed[code.switched + k]
    return turned


@compiled
def _record(room, code, cells, grid, rtol, atol, grow, most, first, end):
    columns, places = cells.state.shape[1], code.places
    block, address, own, used, weights = room.block, room.address, room.own, room.used, room.weights
    keep = cells.sizes.shape[1]
    waiting, active, fresh = first, 0, True
    for lane in range(LANES):
        block[places[RTOL] + lane] = rtol
        for i in range(columns):
            block[places[ATOL] + i * LANES + lane] = atol[i]
        # a lane without a cell of its own computes along with the first one's numbers
        k = min(waiting, end - 1)
        load(block, places, lane, cells.state[k], cells.fixed[k])
        used[lane] = cells.h[k]
        own[lane] = _NOBODY
        if waiting < end:
            own[lane] = waiting
            waiting += 1
            active += 1
    while active > 0:
        if fresh:
            call_code(code.prepare, address)
            fresh = False
        for lane in range(LANES):
            k = own[lane]
            if k != _NOBODY:
                left = cells.stop[k] - cells.time[k]
                used[lane] = cells.h[k]
                if left <= 1.000001 * used[lane]:
                    used[lane] = left
                elif left < 2.0 * used[lane]:
                    used[lane] = 0.5 * left
            block[places[H] + lane] = used[lane]
        call_code(code.step, address)
        if columns > places[ROWS]:
            call_code(code.after, address)
        call_code(code.measure, address)
        if code.sided > 0:
            call_code(code.conditions, address, address + 8 * places[W])
        # most often all lanes go on, and none has an output to read off the step
        together = code.sided == 0
        for lane in range(LANES):
            k = own[lane]
            if k != _NOBODY:
                f = cells.following[k]
                together = together and block[places[ERROR] + lane] <= 1.0
                together = together and (f == len(grid) or grid[f] > cells.time[k] + used[lane])
        if together:
            for i in range(columns * LANES):
                block[places[Y] + i] = block[places[W] + i]
        for lane in range(LANES):
            k = own[lane]
            if k == _NOBODY:
                continue
            error = block[places[ERROR] + lane]
            if error > 0.0:
                factor = min(grow, max(0.2, 0.9 * error**-0.2))
            else:
                factor = grow if error == 0.0 else 0.2
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
                    if keep > 0:
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
                    elif keep > 0 and cells.count[k] == keep:
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
                    load(block, places, lane, cells.state[waiting], cells.fixed[waiting])
                    waiting += 1
                    fresh = True
                else:
                    own[lane] = _NOBODY
                    active -= 1


def record_cells(
    code: Code, cells: Cells, grid: np.ndarray, rtol: float, atol: np.ndarray, grow: float, most: int
) -> None:
    """Steps every cell until it stops, has its last output, finds a switch turned, or has kept all it can keep.

    Args:
        grid: (time,) outputs, rising.
        rtol, atol: tolerances; atol (columns,).
        grow: how many times as long as the one before it a step may be.
        most: steps.
    """

    def run(parts) -> None:
        go = _record.on(_room(code), code, cells, grid, rtol, atol, grow, most)
        for first, end in parts:
            go(first, end)

    share_out(run, len(cells.state), each=_CELLS_A_THREAD)


@compiled
def _step_each(room, code, state, fixed, sizes, result):
    block, places = room.block, code.places
    for group in range((len(sizes) + LANES - 1) // LANES):
        first = group * LANES
        for lane in range(LANES):
            k = min(first + lane, len(sizes) - 1)
            load(block, places, lane, state[k], fixed[k])
            block[places[H] + lane] = sizes[k]
        call_code(code.prepare, room.address)
        call_code(code.step, room.address)
        for lane in range(min(LANES, len(sizes) - first)):
            for i in range(places[ROWS]):
                result[first + lane, i] = block[places[W] + i * LANES + lane]


def steps(code: Code, state: np.ndarray, fixed: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The new (row, rows) after one step of each size (row,), from `state` and `fixed` as `Cells` has them."""
    result = np.empty((len(sizes), int(code.places[ROWS])))
    state, fixed, sizes = (np.ascontiguousarray(a) for a in (state, fixed, sizes))
    _step_each(_room(code), code, state, fixed, sizes, result)
    return result
