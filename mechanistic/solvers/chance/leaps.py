"""Drives the compiled rates of a network in leaps over many firings: tau-leaping and the chemical Langevin equation.

The driver knows nothing of a model (see `lockstep`). A cell's numbers are those of (key, cell, step, reaction), so
its course depends on its own row only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy import uint64

from mechanistic.codegen.loops import call_code, compiled
from mechanistic.random.philox import two_numbers
from mechanistic.random.poisson import poisson_number
from mechanistic.solvers.blocks import LANES
from mechanistic.solvers.chance.lanes import (
    BAD_RATE,
    DONE,
    NOBODY,
    SHORT,
    TOO_MANY,
    A,
    T,
    X,
    make_lanes,
    summed_rates,
    take_cell,
)  # fmt: skip
from mechanistic.solvers.sharing import share_out

_CELLS_A_THREAD = 128  # below this, waking another thread takes longer
# Cao, Gillespie and Petzold's n_c, and when they take how many exact steps instead of a leap
_FEW_FIRINGS, _SHORT_LEAP, _EXACT_STEPS = 10, 10.0, 100


class _Work(NamedTuple):
    """What one leap computes with.

    Attributes:
        critical: (reaction,) whether it fires one by one; none: (reaction,) never.
        extents: (reaction,) how often each fires.
        drift, spread, loss: (state,) of the propensities that leap.
        amounts: (state,) of the cell at work.
        exact_left: (lane,) exact steps to take before the next leap.
    """

    critical: np.ndarray
    none: np.ndarray
    extents: np.ndarray
    drift: np.ndarray
    spread: np.ndarray
    loss: np.ndarray
    amounts: np.ndarray
    exact_left: np.ndarray


def _work(states: int, reactions: int) -> _Work:
    def sums() -> np.ndarray:
        return np.zeros(states)

    return _Work(
        np.zeros(reactions, bool), np.zeros(reactions, bool), np.zeros(reactions), sums(), sums(), sums(), sums(),
        np.zeros(LANES, np.int64),
    )  # fmt: skip


def _longest(block, layout, lane, fires, watched, error, work):
    """The longest leap in which no propensity changes by more than a share `error` (their equations 32 and 33).

    Nor may reactions take more than that share of anything, whatever others give back: near a steady state the
    net change allows leaps as long as the lifetime of a species, which make its variance too large by a third.
    """
    change_at, change_of, change_by = fires
    critical, drift, spread, loss = work.critical, work.drift, work.spread, work.loss
    x, a = layout[X], layout[A]
    for i in range(len(drift)):
        drift[i] = loss[i] = spread[i] = 0.0
    for j in range(len(change_at) - 1):
        if critical[j]:
            continue
        rate = block[a + j * LANES + lane]
        for s in range(change_at[j], change_at[j + 1]):
            drift[change_of[s]] += change_by[s] * rate
            spread[change_of[s]] += change_by[s] * change_by[s] * rate
            loss[change_of[s]] -= min(change_by[s], 0.0) * rate
    longest = np.inf
    for w in range(len(watched[0])):
        i, order, together = watched[0][w], watched[1][w], watched[2][w]
        amount = block[x + i * LANES + lane]
        g = float(order)
        if together == 2 and amount > 1.0:
            g = order / 2.0 * (2.0 + 1.0 / (amount - 1.0))
        elif together == 3 and amount > 2.0:
            g = 3.0 + 1.0 / (amount - 1.0) + 2.0 / (amount - 2.0)
        allowed = max(error * amount / g, 1.0)
        if drift[i] != 0.0 or loss[i] > 0.0:
            longest = min(longest, allowed / max(abs(drift[i]), loss[i]))
        if spread[i] != 0.0:
            longest = min(longest, allowed * allowed / spread[i])
    return longest


def _choose(block, place, count, lane, only, which, target):
    """The reaction at `target` along the sum of the propensities of those where `which` equals `only`."""
    reached, chosen = 0.0, 0
    for j in range(count):
        rate = block[place + j * LANES + lane]
        if which[j] == only and rate > 0.0:
            chosen = j
            reached += rate
            if target < reached:
                break
    return chosen


def _fire(amounts, fires, reaction, times):
    change_at, change_of, change_by = fires
    for s in range(change_at[reaction], change_at[reaction + 1]):
        amounts[change_of[s]] += change_by[s] * times


def _leap(block, layout, lane, key, cell, step, fires, watched, error, room, exact_left, work):
    """One tau-leap, or one exact step, of at most `room`; the time that it took, the next step, exact steps left.

    The amounts in `work` become the new ones.
    """
    change_at, change_of, change_by = fires
    critical, amounts = work.critical, work.amounts
    x, a, reactions = layout[X], layout[A], len(change_at) - 1
    total = danger = 0.0
    for j in range(reactions):
        rate = block[a + j * LANES + lane]
        total += rate
        critical[j] = False
        if rate > 0.0:
            for s in range(change_at[j], change_at[j + 1]):
                if block[x + change_of[s] * LANES + lane] < -change_by[s] * _FEW_FIRINGS:
                    critical[j] = True
            if critical[j]:
                danger += rate
    longest = np.inf
    if exact_left == 0:
        longest = _longest(block, layout, lane, fires, watched, error, work)
        if longest < _SHORT_LEAP / total:
            exact_left = _EXACT_STEPS
    if exact_left > 0:
        first, second = two_numbers(key, cell, step | (uint64(0xFFFFFFFF) << uint64(32)))
        wait = -math.log(1.0 - first) / total
        if wait < room:
            _fire(amounts, fires, _choose(block, a, reactions, lane, False, work.none, second * total), 1.0)
        return min(wait, room), step + uint64(1), exact_left - 1
    while True:
        first, second = two_numbers(key, cell, step | (uint64(0xFFFFFFFF) << uint64(32)))
        wait = -math.log(1.0 - first) / danger if danger > 0.0 else np.inf
        took = min(longest, wait, room)
        for j in range(reactions):
            rate = block[a + j * LANES + lane]
            if not critical[j] and rate > 0.0:
                _fire(amounts, fires, j, poisson_number(rate * took, key, cell, step, j))
        if wait <= took and wait < room:
            _fire(amounts, fires, _choose(block, a, reactions, lane, True, critical, second * danger), 1.0)
        step += uint64(1)
        short = False
        for s in range(len(change_of)):
            short = short or amounts[change_of[s]] < 0.0
        if not short:
            return took, step, 0
        # a leap that takes more than there is has been too long
        longest = 0.5 * took
        for i in range(len(amounts)):
            amounts[i] = block[x + i * LANES + lane]


def _limit(amounts, fires, extents, taken, kept):
    """Shrinks `extents`, by which reactions fire, so that together they take no more of anything than there is.

    A reaction shrinks as a whole, by the least share left to it of what it takes, so conserved totals stay.
    """
    change_at, change_of, change_by = fires
    for i in range(len(taken)):
        taken[i] = kept[i] = 0.0
    for j in range(len(extents)):
        for s in range(change_at[j], change_at[j + 1]):
            change = change_by[s] * extents[j]
            taken[change_of[s]] -= min(change, 0.0)
            kept[change_of[s]] += change
    short = False
    for i in range(len(amounts)):
        short = short or amounts[i] + kept[i] < 0.0
    if not short:
        return
    for i in range(len(amounts)):
        kept[i] = min(amounts[i] / taken[i], 1.0) if taken[i] > 0.0 else 1.0
    for j in range(len(extents)):
        share = 1.0
        for s in range(change_at[j], change_at[j + 1]):
            if change_by[s] * extents[j] < 0.0:
                share = min(share, kept[change_of[s]])
        extents[j] *= share


def _diffuse(block, layout, lane, key, cell, step, fires, watched, error, room, work):
    """One step of Euler and Maruyama for the chemical Langevin equation, in which no amount falls below 0."""
    change_of = fires[1]
    amounts, extents = work.amounts, work.extents
    for j in range(len(extents)):
        work.critical[j] = False
    took = min(_longest(block, layout, lane, fires, watched, error, work), room)
    for j in range(len(extents)):
        extents[j] = 0.0
        mean = block[layout[A] + j * LANES + lane] * took
        if mean > 0.0:
            first, second = two_numbers(key, cell, step | (uint64(j) << uint64(32)))
            normal = math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)
            extents[j] = mean + math.sqrt(mean) * normal
    _limit(amounts, fires, extents, work.loss, work.drift)
    for j in range(len(extents)):
        _fire(amounts, fires, j, extents[j])
    for s in range(len(change_of)):
        # what is left of rounding
        amounts[change_of[s]] = max(amounts[change_of[s]], 0.0)
    return took, step + uint64(1)


@compiled
def _run_block(lanes, work, rates, layout, key, leaping, error, first, end, start, constants, times, fires, watched,
               most, out, status, culprit, when):  # fmt: skip
    n, reactions = start.shape[1], len(fires[0]) - 1
    block, cell, row, step, exact_left = lanes.block, lanes.cell, lanes.row, lanes.draw, work.exact_left
    x, t, a, amounts = layout[X], layout[T], layout[A], work.amounts
    for lane in range(LANES):
        lanes.fresh[lane] = True
    waiting, active = first, 0
    while True:
        for lane in range(LANES):
            if not lanes.fresh[lane]:
                continue
            if take_cell(lanes, layout, lane, start, constants, times[0], waiting, end, 1):
                exact_left[lane] = 0
                for i in range(n):
                    out[waiting, 0, i] = start[waiting, i]
                waiting += 1
                active += 1
        if active == 0:
            return
        call_code(rates, lanes.address)
        for lane in range(LANES):
            k = cell[lane]
            if k == NOBODY:
                continue
            failed, guilty = DONE, 0
            total, wrong = summed_rates(block, a, lane, reactions)
            if wrong >= 0:
                failed, guilty = BAD_RATE, wrong
            if step[lane] >= most:
                failed = TOO_MANY
            if failed == DONE and row[lane] < len(times):
                room = times[row[lane]] - block[t + lane]
                for i in range(n):
                    amounts[i] = block[x + i * LANES + lane]
                took = room
                if total > 0.0 and leaping:
                    took, step[lane], exact_left[lane] = _leap(
                        block, layout, lane, key, uint64(k), uint64(step[lane]), fires, watched, error, room,
                        exact_left[lane], work,
                    )  # fmt: skip
                elif total > 0.0:
                    took, step[lane] = _diffuse(
                        block, layout, lane, key, uint64(k), uint64(step[lane]), fires, watched, error, room, work,
                    )  # fmt: skip
                for i in range(n):
                    block[x + i * LANES + lane] = amounts[i]
                    if amounts[i] < 0.0 and start[k, i] >= 0.0:
                        failed = SHORT
                block[t + lane] = times[row[lane]] if took >= room else block[t + lane] + took
                if took >= room:
                    for i in range(n):
                        out[k, row[lane], i] = amounts[i]
                    row[lane] += 1
            if failed != DONE:
                status[k], culprit[k], when[k] = failed, guilty, block[t + lane]
            if failed != DONE or row[lane] == len(times):
                lanes.fresh[lane] = True
                active -= 1


def run_cells(rates, layout, key, leaping, error, start, constants, times, fires, watched, most, out, status,
              culprit, when):  # fmt: skip
    """The state of every cell at `times`, from `start` at times[0].

    Args:
        rates, layout, start, constants, fires, most, out, status, culprit, when: see `direct_method`.
        key: of the stream, uint64.
        leaping: tau-leaping, else the Langevin equation.
        error: by what share a propensity may change in one leap.
        watched: what propensities depend on: positions in the state; the order of the highest reaction of each;
            how many of it that reaction takes.
    """

    def run(parts) -> None:
        lanes, work = make_lanes(layout), _work(start.shape[1], len(fires[0]) - 1)
        for first, end in parts:
            _run_block(
                lanes, work, rates, layout, key, leaping, error, first, end, start, constants, times, fires,
                watched, most, out, status, culprit, when,
            )  # fmt: skip

    share_out(run, len(start), each=_CELLS_A_THREAD)
