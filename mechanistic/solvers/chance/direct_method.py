"""Drives the compiled rates of a network through Gillespie's direct method: eight cells in lockstep.

The driver knows nothing of a model (see `lockstep`). Every turn a cell either carries out one event or draws
one waiting time; its numbers are those of (key, cell, draw), so its course depends on its own row only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import uint64

from mechanistic.codegen.loops import call_code, compiled
from mechanistic.random.philox import two_numbers
from mechanistic.random.quantiles import drawn
from mechanistic.solvers.blocks import LANES
from mechanistic.solvers.chance.lanes import (
    BAD_DRAW,
    BAD_RATE,
    CASCADE,
    DONE,
    NOBODY,
    NOT_WHOLE,
    SHORT,
    TOO_MANY,
    Lanes,
    make_lanes,
    summed_rates,
    take_cell,
)  # fmt: skip
from mechanistic.solvers.sharing import share_out

_CELLS_A_THREAD = 128  # below this, waking another thread takes longer
_MOST_EVENTS = 1000  # one after the other at one time


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


class _Room(NamedTuple):
    """The memory of one thread; arrays of (..., lane).

    Attributes:
        lanes: whose draws are waiting times.
        in_turn, occurrence: events one after the other; turns.
        was, pending, risen: (event, lane) whether it held, waits, has just begun to hold.
        held: (assignment, lane) what is to be assigned.
        speeds: (state, lane); meaningless: the event whose draw has no meaning, or -1.
    """

    lanes: Lanes
    in_turn: np.ndarray
    occurrence: np.ndarray
    was: np.ndarray
    pending: np.ndarray
    risen: np.ndarray
    held: np.ndarray
    speeds: np.ndarray
    meaningless: np.ndarray


def _room(layout, states: int, triggers: int, assignments: int) -> _Room:
    def marks() -> np.ndarray:
        return np.zeros((triggers, LANES), bool)

    def counts() -> np.ndarray:
        return np.zeros(LANES, np.int64)

    return _Room(
        make_lanes(layout), counts(), counts(), marks(), marks(), marks(),
        np.zeros((assignments, LANES)), np.zeros((states, LANES)), counts() - 1,
    )  # fmt: skip


def _no_draw(block, layout, lane, which, draws, key, cell, occurrence):
    """Where a network has no draws their code is not needed."""
    return True


@compiled
def _run_block(draw_one, room, functions, layout, keys, first, end, start, constants, times, fires, events,
               stops, clocks, draws, most, out, status, culprit, when):  # fmt: skip
    rates, values, chances = functions
    key, draw_key = keys
    draw_event, draw_level = draws[0], draws[3]
    levels = 0
    for i in range(len(draw_level)):
        levels = max(levels, draw_level[i] + 1)
    change_at, change_of, change_by = fires
    begins_true, held_values, persistent, assign_at, assign_of, whole = events
    n, reactions, triggers = start.shape[1], len(change_at) - 1, len(begins_true)
    lanes = room.lanes
    block, cell, row, draw, fresh = lanes.block, lanes.cell, lanes.row, lanes.draw, lanes.fresh
    x, t, a, e, v, s_at = layout[1], layout[2], layout[4], layout[5], layout[6], layout[10]
    in_turn, occurrence = room.in_turn, room.occurrence
    was, pending, risen, held = room.was, room.pending, room.risen, room.held
    speeds, meaningless = room.speeds, room.meaningless
    for lane in range(LANES):
        fresh[lane] = True
    waiting, active = first, 0
    while True:
        for lane in range(LANES):
            if not fresh[lane]:
                continue
            if take_cell(lanes, layout, lane, start, constants, times[0], waiting, end, 0):
                in_turn[lane], occurrence[lane] = 0, 0
                for i in range(triggers):
                    was[i, lane], pending[i, lane] = begins_true[i], False
                waiting += 1
                active += 1
        if active == 0:
            return
        call_code(rates, lanes.address)
        some = False
        for i in range(triggers):
            for lane in range(LANES):
                holds = block[e + i * LANES + lane] != 0.0
                risen[i, lane] = holds and not was[i, lane]
                was[i, lane] = holds
                if risen[i, lane]:
                    pending[i, lane] = True
                elif not holds and not persistent[i]:
                    pending[i, lane] = False
                some = some or pending[i, lane]
        if some:
            for level in range(levels):
                call_code(chances, lanes.address)
                for k in range(len(draw_event)):
                    i = draw_event[k]
                    for lane in range(LANES):
                        # another cell's company must not bring a draw about
                        if draw_level[k] == level and (
                            risen[i, lane] or (pending[i, lane] and not held_values[i])
                        ):
                            whose = uint64(max(cell[lane], 0))
                            if not draw_one(
                                block, layout, lane, k, draws, draw_key, whose, uint64(occurrence[lane])
                            ):
                                meaningless[lane] = i
            call_code(values, lanes.address)
            for i in range(triggers):
                for s in range(assign_at[i], assign_at[i + 1]):
                    for lane in range(LANES):
                        if risen[i, lane] or not held_values[i]:
                            held[s, lane] = block[v + s * LANES + lane]
        for lane in range(LANES):
            k = cell[lane]
            if k == NOBODY:
                continue
            failed, guilty = DONE, 0
            if meaningless[lane] >= 0:
                failed, guilty = BAD_DRAW, meaningless[lane]
                meaningless[lane] = -1
            occurrence[lane] += 1
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
                total, wrong = summed_rates(block, a, lane, reactions)
                if wrong >= 0:
                    failed, guilty = BAD_RATE, wrong
                if draw[lane] >= most:
                    failed = TOO_MANY
                if failed == DONE:
                    now = block[t + lane]
                    stop, clock, reading = _next_stop(block, layout, lane, stops, speeds)
                    first_number, second_number = two_numbers(key, uint64(k), uint64(draw[lane]))
                    draw[lane] += 1
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
    draw_one = _draw if len(draws[0]) else _no_draw

    def run(parts) -> None:
        room = _room(layout, start.shape[1], len(events[0]), len(events[4]))
        for first, end in parts:
            _run_block(
                draw_one, room, functions, layout, keys, first, end, start, constants, times, fires, events,
                stops, clocks, draws, most, out, status, culprit, when,
            )  # fmt: skip

    share_out(run, len(start), each=_CELLS_A_THREAD)
