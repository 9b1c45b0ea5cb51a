"""What happens to a cell at one instant: conditions on time change, triggers turn, events wait and take effect.

SBML Level 3 Version 2 Core, sections 3.4 and 4.11: all events whose triggers have turned from false to true wait
for their delay; of those that are due the one with the highest priority is executed, drawing lots between equals;
then every trigger and priority is looked at again, until nothing is due. An event that is not persistent is taken
from the list when its trigger turns false.

An instant has two sides: "at" it, when `time >= 5` has become true at 5, and "after" it, when `time > 5` has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mechanistic.codegen.loops import call_code
from mechanistic.event_memory import DRAWS, STREAM, TRIGGERS
from mechanistic.random.philox import philox4x32, unit53
from mechanistic.solvers.blocks import LANES

AT, AFTER = 0.0, 1.0
NOTHING, SWITCHED, CHANGED, ENDLESS, TOO_MANY_WAIT, BAD_DELAY = range(6)

_MOST_AT_ONCE = 10_000  # events that take effect at one instant
_ROUNDING = 8 * 2.0**-52
# So many gaps between firings of one event, each smaller than the last, down to this share of the time.
_SHRINKING = 8
_ACCUMULATES = 1e-8
_LOW = np.uint64(0xFFFFFFFF)
_HIGH_BITS = np.uint64(32)

MODES, WATCH, ACTIONS = range(3)
# As in `events`
_PERSISTENT, _FROM_TRIGGER, _DELAYED, _RANKED, _FIRST, _COUNT = range(6)
_X, _T, _SIDE, HELD, _NEXT, _ZN, _M, _D, _Q, _A, _U = range(11)


class Switches(NamedTuple):
    """Events and conditions of a network as the driver takes them; see `events.EventCode`.

    Attributes:
        addresses: of `modes`, `watch` and `actions`.
        places: offsets in the block.
        events, watched, locked, slots, width: how many; numbers in a slot.
        table, targets, looked_at: of `EventCode`.
        key: of the random numbers that decide between events of equal priority.
    """

    addresses: np.ndarray
    places: np.ndarray
    events: int
    watched: int
    locked: int
    slots: int
    width: int
    table: np.ndarray
    targets: np.ndarray
    looked_at: np.ndarray
    key: np.uint64


def settle(seats, switches, lane, y, states, now, side):
    """Does to the state "y" of one lane all that happens on one side of the instant `now`.

    Args:
        seats: see `seats.Seats`; what the cell in the lane remembers is changed in place.
        y: offset of the state.

    Returns:
        NOTHING; SWITCHED where a condition that steps hold fixed has changed, CHANGED where the state has; or what
        went wrong.
    """
    s, places, block, address = switches, switches.places, seats.block, seats.address
    seat = seats.seat[lane]
    memory, watched = seats.memory[seat], seats.watched[seat]
    events, slots, width = s.events, s.slots, s.width
    first_slot = TRIGGERS + events
    result, done = NOTHING, 0
    for i in range(states):
        block[places[_X] + i * LANES + lane] = block[y + i * LANES + lane]
    block[places[_T] + lane] = now
    block[places[_SIDE] + lane] = side
    while True:
        if s.locked > 0:
            call_code(s.addresses[MODES], address)
            for i in range(s.locked):
                at = i * LANES + lane
                if block[places[HELD] + at] != block[places[_ZN] + at]:
                    block[places[HELD] + at] = block[places[_ZN] + at]
                    result = max(result, SWITCHED)
        if events + s.watched == 0:
            return result
        call_code(s.addresses[WATCH], address)
        for j in range(s.watched):
            watched[events + j] = block[places[_M] + (events + j) * LANES + lane]
        known = False
        for e in range(events):
            holds = block[places[_M] + e * LANES + lane] != 0.0
            held = memory[TRIGGERS + e] != 0.0
            memory[TRIGGERS + e] = watched[e] = 1.0 if holds else 0.0
            if holds and not held:
                if not known:
                    call_code(s.addresses[ACTIONS], address)
                    known = True
                seats.event[seat] = e
                problem = _wait(block, s, memory, lane, e, now)
                if problem != NOTHING:
                    return problem
            elif held and not holds and s.table[e, _PERSISTENT] == 0:
                for k in range(slots):
                    if memory[first_slot + k * width] == e + 1:
                        memory[first_slot + k * width] = 0.0
        if not _any_due(s, memory, now):
            return result
        if not known:
            call_code(s.addresses[ACTIONS], address)
        slot = _chosen(block, s, memory, lane, now)
        at = first_slot + slot * width
        e = int(memory[at]) - 1
        memory[at] = 0.0
        seats.event[seat] = e
        for a in range(s.table[e, _COUNT]):
            k = s.table[e, _FIRST] + a
            value = memory[at + 2 + a] if s.table[e, _FROM_TRIGGER] else block[places[_A] + k * LANES + lane]
            # what is assigned together counts in the sizes of before
            value *= block[places[_U] + k * LANES + lane]
            block[places[_X] + s.targets[k] * LANES + lane] = value
            block[y + s.targets[k] * LANES + lane] = value
        result = CHANGED
        done += 1
        if done > _MOST_AT_ONCE or _accumulates(seats.fired[seat, e], now):
            return ENDLESS


def _wait(block, s, memory, lane, e, now):
    """Puts event `e` on the cell's list of events that wait, with the values it will assign."""
    delay = block[s.places[_D] + e * LANES + lane] if s.table[e, _DELAYED] else 0.0
    if not (0.0 <= delay < np.inf):
        return BAD_DELAY
    for k in range(s.slots):
        at = TRIGGERS + s.events + k * s.width
        if memory[at] == 0.0:
            memory[at] = e + 1
            memory[at + 1] = now + delay
            for a in range(s.table[e, _COUNT]):
                memory[at + 2 + a] = block[s.places[_A] + (s.table[e, _FIRST] + a) * LANES + lane]
            return NOTHING
    return TOO_MANY_WAIT


def _due(s, memory, k, now):
    at = TRIGGERS + s.events + k * s.width
    return memory[at] != 0.0 and memory[at + 1] <= now + _ROUNDING * abs(now)


def _any_due(s, memory, now):
    due = False
    for k in range(s.slots):
        due = due or _due(s, memory, k, now)
    return due


def _chosen(block, s, memory, lane, now):
    """The slot of the event to execute: the highest priority; drawn by lot between equals; those without, last,
    in the order of the model."""
    best, highest, equals, chosen_event = -1, -np.inf, 0, 0
    for k in range(s.slots):
        if not _due(s, memory, k, now):
            continue
        e = int(memory[TRIGGERS + s.events + k * s.width]) - 1
        priority = block[s.places[_Q] + e * LANES + lane] if s.table[e, _RANKED] else -np.inf
        if not priority > -np.inf:
            if best < 0 or (highest == -np.inf and e < chosen_event):
                best, chosen_event = k, e
        elif priority > highest:
            best, highest, equals = k, priority, 1
        elif priority == highest:
            equals += 1
    if equals <= 1:
        return best
    lot = int(_lot(s.key, memory) * equals)
    for k in range(s.slots):
        if _due(s, memory, k, now):
            e = int(memory[TRIGGERS + s.events + k * s.width]) - 1
            if s.table[e, _RANKED] and block[s.places[_Q] + e * LANES + lane] == highest:
                if lot == 0:
                    return k
                lot -= 1
    return best


def _lot(key, memory):
    """The next number in [0, 1) of the cell's own stream."""
    stream, draw = np.uint64(memory[STREAM]), np.uint64(memory[DRAWS])
    memory[DRAWS] += 1.0
    a, b, _c, _d = philox4x32(
        np.uint32(stream & _LOW), np.uint32(stream >> _HIGH_BITS),
        np.uint32(draw & _LOW), np.uint32(draw >> _HIGH_BITS),
        np.uint32(key & _LOW), np.uint32(key >> _HIGH_BITS),
    )  # fmt: skip
    return unit53(a, b)


def _accumulates(fired, now):
    """Whether event `e` fires ever faster towards a time that it never reaches (a bouncing ball)."""
    gap = now - fired[0]
    if gap <= 0.0:
        return False
    fired[2] = fired[2] + 1.0 if gap < fired[1] else 0.0
    fired[0], fired[1] = now, gap
    return fired[2] >= _SHRINKING and gap < _ACCUMULATES * abs(now)


def next_change(seats, switches, lane):
    """When the next condition on time changes or the next event is due, after `settle(..., AFTER)`."""
    soonest, memory = np.inf, seats.memory[seats.seat[lane]]
    for i in range(switches.locked):
        soonest = min(soonest, seats.block[switches.places[_NEXT] + i * LANES + lane])
    for k in range(switches.slots):
        at = TRIGGERS + switches.events + k * switches.width
        if switches.events > 0 and memory[at] != 0.0:
            soonest = min(soonest, memory[at + 1])
    return soonest


def has_turned(block, switches, watched, lane):
    """Whether anything watched is not as it was, after `watch`."""
    for j in range(switches.events + switches.watched):
        if block[switches.places[_M] + j * LANES + lane] != watched[j]:
            return True
    return False
