"""Drives the compiled rates of a network through Gillespie's direct method: eight cells in lockstep.

The driver knows nothing of a model (see `lockstep`). Every turn a cell either carries out one event or draws
one waiting time; its numbers are those of (key, cell, draw), so its course depends on its own row only.
"""

from __future__ import annotations

import numpy as np
from numba import uint32, uint64

from mechanistic._philox import philox4x32, unit53
from mechanistic._quantiles import drawn
from mechanistic.jit import njit, prange
from mechanistic.solvers.blocks import LANES, call

_BLOCK = 64  # cells that one thread takes at a time
_MOST_EVENTS = 1000  # one after the other at one time

DONE, BAD_RATE, SHORT, NOT_WHOLE, CASCADE, TOO_MANY, BAD_DRAW = 0, 1, 2, 3, 4, 5, 6


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
def _next_stop(block, layout, lane, stops, speeds):
    """When a condition on time or on a clock turns next; the clock or -1, and its value then."""
    clock_of, rising_after, falling_after = stops
    x, c, now = layout[1], layout[7], block[layout[2] + lane]
    stop, which, reading = np.inf, -1, 0.0
    for i in range(len(clock_of)):
        at, k = block[c + i * LANES + lane], clock_of[i]
        if k < 0:
            if rising_after[i]:
                at = np.nextafter(at, np.inf)
            if at > now and at < stop:
                stop, which = at, -1
            continue
        speed, value = speeds[k, lane], block[x + k * LANES + lane]
        if speed > 0.0:
            at = np.nextafter(at, np.inf) if rising_after[i] else at
        elif speed < 0.0:
            at = np.nextafter(at, -np.inf) if falling_after[i] else at
        if (speed > 0.0 and at > value) or (speed < 0.0 and at < value):
            # a clock that is about to arrive must not wait for time to move on
            due = max(now + (at - value) / speed, now)
            if due < stop:
                stop, which, reading = due, k, at
    return stop, which, reading


@njit(error_model="numpy", nogil=True)
def _draw(block, layout, lane, which, draws, key, cell, occurrence):
    """Puts draw number `which` into the block; False where its parameters have no meaning."""
    d, r, site, kind = layout[8], layout[9], draws[1][which], draws[2][which]
    place = d + 4 * which * LANES + lane
    number = drawn(
        key, cell, uint64(site), occurrence, kind,
        block[place], block[place + LANES], block[place + 2 * LANES], block[place + 3 * LANES],
    )  # fmt: skip
    block[r + which * LANES + lane] = number
    return not np.isnan(number)


@njit(error_model="numpy", nogil=True)
def _run_block(functions, layout, keys, first, end, start, constants, times, fires, events, stops, clocks, draws,
               most, out, status, culprit, when):  # fmt: skip
    rates, values, chances = functions
    key, draw_key = keys
    draw_event, draw_level = draws[0], draws[3]
    levels = 0
    for i in range(len(draw_level)):
        levels = max(levels, draw_level[i] + 1)
    change_at, change_of, change_by = fires
    begins_true, held_values, persistent, assign_at, assign_of, whole = events
    n, reactions, triggers = start.shape[1], len(change_at) - 1, len(begins_true)
    block = np.zeros(layout[0] + LANES)
    # vectors of eight doubles start where the processor reads them in one piece
    block = block[(64 - block.ctypes.data % 64) % 64 // 8 :]
    address = block.ctypes.data
    x, t, p, a, e, v, s_at = layout[1], layout[2], layout[3], layout[4], layout[5], layout[6], layout[10]
    cell, row, in_turn = np.full(LANES, -1), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    draw = np.zeros(LANES, np.uint64)
    was = np.zeros((triggers, LANES), np.bool_)
    pending = np.zeros((triggers, LANES), np.bool_)
    risen = np.zeros((triggers, LANES), np.bool_)
    held = np.zeros((len(assign_of), LANES))
    speeds = np.zeros((n, LANES))
    occurrence = np.zeros(LANES, np.uint64)
    meaningless = np.full(LANES, -1)
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
                row[lane], in_turn[lane], draw[lane], occurrence[lane] = 0, 0, 0, 0
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
            for level in range(levels):
                call(chances, address)  # pyright: ignore[reportCallIssue]
                for k in range(len(draw_event)):
                    i = draw_event[k]
                    for lane in range(LANES):
                        # another cell's company must not bring a draw about
                        if draw_level[k] == level and (
                            risen[i, lane] or (pending[i, lane] and not held_values[i])
                        ):
                            whose = uint64(max(cell[lane], 0))
                            if not _draw(block, layout, lane, k, draws, draw_key, whose, occurrence[lane]):
                                meaningless[lane] = i
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
            if meaningless[lane] >= 0:
                failed, guilty = BAD_DRAW, meaningless[lane]
                meaningless[lane] = -1
            occurrence[lane] += uint64(1)
            for i in range(len(clocks)):
                speeds[clocks[i], lane] = block[s_at + i * LANES + lane]
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
                    now = block[t + lane]
                    stop, clock, reading = _next_stop(block, layout, lane, stops, speeds)
                    first_number, second_number = _two_numbers(key, uint64(k), draw[lane])
                    draw[lane] += uint64(1)
                    arrival = now - np.log(1.0 - first_number) / total if total > 0.0 else np.inf
                    following = min(arrival, stop)
                    while row[lane] < len(times) and times[row[lane]] < following:
                        for i in range(n):
                            since = times[row[lane]] - now
                            out[k, row[lane], i] = block[x + i * LANES + lane] + speeds[i, lane] * since
                        row[lane] += 1
                    if row[lane] == len(times):
                        fresh[lane] = True
                        active -= 1
                        continue
                    block[t + lane] = following
                    for i in range(len(clocks)):
                        block[x + clocks[i] * LANES + lane] += speeds[clocks[i], lane] * (following - now)
                    if stop <= arrival and clock >= 0:
                        # the condition turns there, whatever rounding says
                        block[x + clock * LANES + lane] = reading
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
def run_cells(functions, layout, keys, start, constants, times, fires, events, stops, clocks, draws, most, out,
              status, culprit, when):  # fmt: skip
    """The state of every cell at `times`, from `start` at times[0].

    Args:
        functions: addresses of a model's functions: propensities, triggers, stops and speeds; what events assign;
            the parameters of their draws.
        layout: length of the block; offsets of x, t, p, a, e, v, c, d, r, s.
        keys: of the streams of firings and of draws, uint64.
        start, constants: (cell, states) and (cell, constants).
        fires: (reaction + 1,) where in the next two its changes begin; state; change.
        events: initially true (event,), values of trigger time, persistent; (event + 1,) where in the next its
            assignments begin; states assigned; (state,) which of them count entities.
        stops: (stop,) what is compared with the value in c: a position in the state, or -1 for time; whether the
            condition turns just after that value, not at it, where it is reached from below; and from above.
        clocks: positions in the state of what runs at a constant speed between firings.
        draws: (draw,) whose event; site; kind; how many draws deep its parameters reach.
        most: waiting times that a cell may draw.
        out: (cell, time, states), filled.
        status, culprit, when: (cell,) DONE or what failed, at which reaction or event, at what time.
    """
    cells = len(start)
    for b in prange((cells + _BLOCK - 1) // _BLOCK):
        first = b * _BLOCK
        _run_block(
            functions, layout, keys, first, min(first + _BLOCK, cells), start, constants, times, fires, events,
            stops, clocks, draws, most, out, status, culprit, when,
        )  # fmt: skip
