"""Drives the compiled rates of a network through Gillespie's direct method: eight cells in lockstep.

The driver knows nothing of a model (see `lockstep`). Every turn a cell either carries out one event or draws
one waiting time; its numbers are those of (key, cell, draw), so its course depends on its own row only.
"""

from __future__ import annotations

import numpy as np
from numba import uint32, uint64

from mechanistic._philox import philox4x32, unit53
from mechanistic.jit import njit, prange
from mechanistic.solvers.blocks import LANES, call

_BLOCK = 64  # cells that one thread takes at a time
_MOST_EVENTS = 1000  # one after the other at one time

DONE, BAD_RATE, SHORT, NOT_WHOLE, CASCADE, TOO_MANY = 0, 1, 2, 3, 4, 5


@njit(error_model="numpy", nogil=True)
def _two_numbers(key, cell, draw):
    """Two numbers in [0, 1), a pure function of the arguments (all uint64)."""
    low, half = uint64(0xFFFFFFFF), uint64(32)
    a, b, c, d = philox4x32(
        uint32(cell & low), uint32(cell >> half), uint32(draw & low), uint32(draw >> half),
        uint32(key & low), uint32(key >> half),
    )  # fmt: skip
    return unit53(a, b), unit53(c, d)


@njit(error_model="numpy", nogil=True)
def _run_block(rates, values, layout, key, first, end, start, constants, times, fires, events, breaks, most,
               out, status, culprit, when):  # fmt: skip
    change_at, change_of, change_by = fires
    begins_true, held_values, persistent, assign_at, assign_of, whole = events
    n, reactions, triggers, stops = start.shape[1], len(change_at) - 1, len(begins_true), len(breaks)
    block = np.zeros(layout[0] + LANES)
    # vectors of eight doubles start where the processor reads them in one piece
    block = block[(64 - block.ctypes.data % 64) % 64 // 8 :]
    address = block.ctypes.data
    x, t, p, a, e, v, c = layout[1], layout[2], layout[3], layout[4], layout[5], layout[6], layout[7]
    cell, row, in_turn = np.full(LANES, -1), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    draw = np.zeros(LANES, np.uint64)
    was = np.zeros((triggers, LANES), np.bool_)
    pending = np.zeros((triggers, LANES), np.bool_)
    risen = np.zeros((triggers, LANES), np.bool_)
    held = np.zeros((len(assign_of), LANES))
    waiting, active = first, 0
    fresh = np.ones(LANES, np.bool_)
    while True:
        for lane in range(LANES):
            if not fresh[lane]:
                continue
            fresh[lane] = False
            # a lane without a cell of its own computes along with another one's numbers
            k = min(waiting, end - 1)
            for i in range(n):
                block[x + i * LANES + lane] = start[k, i]
            block[t + lane] = times[0]
            block[p + lane] = 1.0
            for i in range(constants.shape[1]):
                block[p + (1 + i) * LANES + lane] = constants[k, i]
            cell[lane] = -1
            if waiting < end:
                cell[lane] = waiting
                row[lane], in_turn[lane], draw[lane] = 0, 0, 0
                for i in range(triggers):
                    was[i, lane], pending[i, lane] = begins_true[i], False
                waiting += 1
                active += 1
        if active == 0:
            return
        call(rates, address)  # pyright: ignore[reportCallIssue]
        some = False
        for i in range(triggers):
            for lane in range(LANES):
                now = block[e + i * LANES + lane] != 0.0
                risen[i, lane] = now and not was[i, lane]
                was[i, lane] = now
                if risen[i, lane]:
                    pending[i, lane] = True
                elif not now and not persistent[i]:
                    pending[i, lane] = False
                some = some or pending[i, lane]
        if some:
            call(values, address)  # pyright: ignore[reportCallIssue]
            for i in range(triggers):
                for s in range(assign_at[i], assign_at[i + 1]):
                    for lane in range(LANES):
                        if risen[i, lane] or not held_values[i]:
                            held[s, lane] = block[v + s * LANES + lane]
        for lane in range(LANES):
            k = cell[lane]
            if k < 0:
                continue
            failed, guilty = DONE, 0
            event = -1
            for i in range(triggers):
                if pending[i, lane]:
                    event = i
                    break
            if event >= 0:
                pending[event, lane] = False
                in_turn[lane] += 1
                if in_turn[lane] > _MOST_EVENTS:
                    failed, guilty = CASCADE, event
                for s in range(assign_at[event], assign_at[event + 1]):
                    number, i = held[s, lane], assign_of[s]
                    block[x + i * LANES + lane] = number
                    if whole[i] and not (number >= 0.0 and number == np.floor(number) and number < np.inf):
                        failed, guilty = NOT_WHOLE, event
            else:
                in_turn[lane] = 0
                total = 0.0
                for j in range(reactions):
                    rate = block[a + j * LANES + lane]
                    if not (rate >= 0.0 and rate < np.inf):
                        failed, guilty = BAD_RATE, j
                    total += rate
                if draw[lane] >= most:
                    failed = TOO_MANY
                if failed == DONE:
                    now, stop = block[t + lane], np.inf
                    for i in range(stops):
                        at = block[c + i * LANES + lane]
                        if breaks[i]:
                            at = np.nextafter(at, np.inf)
                        if at > now and at < stop:
                            stop = at
                    first_number, second_number = _two_numbers(key, uint64(k), draw[lane])
                    draw[lane] += uint64(1)
                    arrival = now - np.log(1.0 - first_number) / total if total > 0.0 else np.inf
                    following = min(arrival, stop)
                    while row[lane] < len(times) and times[row[lane]] < following:
                        for i in range(n):
                            out[k, row[lane], i] = block[x + i * LANES + lane]
                        row[lane] += 1
                    if row[lane] == len(times):
                        fresh[lane] = True
                        active -= 1
                        continue
                    block[t + lane] = following
                    # waiting has no memory: at a stop the rest of it is drawn anew
                    if arrival < stop:
                        chosen, reached, target = 0, 0.0, second_number * total
                        for j in range(reactions):
                            rate = block[a + j * LANES + lane]
                            if rate > 0.0:
                                chosen = j
                                reached += rate
                                if target < reached:
                                    break
                        for s in range(change_at[chosen], change_at[chosen + 1]):
                            place = x + change_of[s] * LANES + lane
                            block[place] += change_by[s]
                            if block[place] < 0.0:
                                failed, guilty = SHORT, chosen
            if failed != DONE:
                status[k], culprit[k], when[k] = failed, guilty, block[t + lane]
                fresh[lane] = True
                active -= 1


@njit(error_model="numpy", parallel=True)
def run_cells(rates, values, layout, key, start, constants, times, fires, events, breaks, most, out, status,
              culprit, when):  # fmt: skip
    """The state of every cell at `times`, from `start` at times[0].

    Args:
        rates, values: addresses of a model's functions: propensities, triggers and stops; what events assign.
        layout: length of the block; offsets of x, t, p, a, e, v, c.
        key: of the stream, uint64.
        start, constants: (cell, states) and (cell, constants).
        fires: (reaction + 1,) where in the next two its changes begin; state; change.
        events: initially true (event,), values of trigger time, persistent; (event + 1,) where in the next its
            assignments begin; states assigned; (state,) which of them count entities.
        breaks: (stop,) whether a condition turns just after the time in c, not at it.
        most: waiting times that a cell may draw.
        out: (cell, time, states), filled.
        status, culprit, when: (cell,) DONE or what failed, at which reaction or event, at what time.
    """
    cells = len(start)
    for b in prange((cells + _BLOCK - 1) // _BLOCK):
        first = b * _BLOCK
        _run_block(
            rates, values, layout, key, first, min(first + _BLOCK, cells), start, constants, times, fires,
            events, breaks, most, out, status, culprit, when,
        )  # fmt: skip
