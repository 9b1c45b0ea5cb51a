"""Reading the last step along its way: outputs within it, and where something watched turns first."""

from __future__ import annotations

from mechanistic.codegen.loops import call_code
from mechanistic.solvers.blocks import LANES, SCALED, TIMED, K, W, Y, dense_value, dense_weights
from mechanistic.solvers.instants import WATCH, has_turned

_LOOKS = 4  # times within a step at which what is watched is looked at


def write_outputs(block, code, method, task, batch, lane, cell, first, start, used, reach, weights):
    """Fills in what is wanted before `reach` in the last step, which began at `start`; returns the next output."""
    places = code.places[method]
    n = batch.state.shape[1]
    k = first
    while k < len(task.outputs) and task.outputs[k] < reach:
        q = (task.outputs[k] - start) / used
        dense_weights(code.dense[method], code.numbers[method, SCALED] != 0.0, q, used, weights)
        for i in range(n):
            batch.course[cell, k, i] = dense_value(
                block, places[Y], places[W], places[K], n + places[TIMED], weights, q, i, lane
            )
        k += 1
    return k


def write_now(block, y, task, batch, lane, cell, first, now):
    """Fills in what is wanted up to `now`, which is where the lane stands; returns the next output."""
    k = first
    while k < len(task.outputs) and task.outputs[k] <= now:
        for i in range(batch.state.shape[1]):
            batch.course[cell, k, i] = block[y + i * LANES + lane]
        k += 1
    return k


def _look(block, code, switches, method, lane, n, q, start, used, weights):
    """Puts what is watched at the share `q` of the last step where `watch` reads it."""
    places = code.places[method]
    dense_weights(code.dense[method], code.numbers[method, SCALED] != 0.0, q, used, weights)
    for i in switches.looked_at:
        block[switches.places[0] + i * LANES + lane] = dense_value(
            block, places[Y], places[W], places[K], n + places[TIMED], weights, q, i, lane
        )
    block[switches.places[1] + lane] = start + q * used


def first_turn(seats, code, switches, method, n):
    """Fills in the share of each lane's step at which the first of what is watched has just turned; above 1: none.

    Only the lanes `seats.stepped` count.
    """
    block, start, used, weights = seats.block, seats.began, seats.used, seats.weights
    stepped, shares, low = seats.stepped, seats.share, seats.low
    found = False
    for lane in range(LANES):
        low[lane], shares[lane] = 0.0, 2.0
    for look in range(1, _LOOKS + 1):
        q = look / _LOOKS
        for lane in range(LANES):
            if stepped[lane]:
                _look(block, code, switches, method, lane, n, q, start[lane], used[lane], weights)
        call_code(switches.addresses[WATCH], seats.address)
        for lane in range(LANES):
            if stepped[lane] and shares[lane] > 1.0:
                if has_turned(block, switches, seats.watched[seats.seat[lane]], lane):
                    shares[lane], found = q, True
                else:
                    low[lane] = q
    while found:
        found = False
        for lane in range(LANES):
            middle = 0.5 * (low[lane] + shares[lane])
            # down to neighbouring numbers
            if stepped[lane] and shares[lane] <= 1.0 and low[lane] < middle < shares[lane]:
                _look(block, code, switches, method, lane, n, middle, start[lane], used[lane], weights)
                found = True
        if found:
            call_code(switches.addresses[WATCH], seats.address)
        for lane in range(LANES):
            middle = 0.5 * (low[lane] + shares[lane])
            if stepped[lane] and shares[lane] <= 1.0 and low[lane] < middle < shares[lane]:
                if has_turned(block, switches, seats.watched[seats.seat[lane]], lane):
                    shares[lane] = middle
                else:
                    low[lane] = middle
