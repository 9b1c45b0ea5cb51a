"""Undoes the steps that `driver` took: what is asked of the states after becomes asked of before.

The steps are taken again from the first of a round, all of their stages kept, and then undone one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mechanistic.codegen.loops import call_code, compiled
from mechanistic.solvers.blocks import LANES, aligned
from mechanistic.solvers.discrete_adjoint.driver import (
    ASKED,
    KEPT,
    LAM,
    PBAR,
    ROWS,
    SIZE,
    TAPE,
    Code,
    H,
    W,
    Y,
    extension,
    load,
)  # fmt: skip
from mechanistic.solvers.sharing import share_out

_GROUPS_A_THREAD = 2


class Round(NamedTuple):
    """Some cells' next few steps, as they are undone.

    Attributes:
        cells: (row,) which.
        state, time, following: (row, columns), (row,), (row,) before the first step.
        fixed: (row, constants).
        sizes, marks, count: as in `Cells`.
    """

    cells: np.ndarray
    state: np.ndarray
    time: np.ndarray
    following: np.ndarray
    fixed: np.ndarray
    sizes: np.ndarray
    marks: np.ndarray
    count: np.ndarray


class _Room(NamedTuple):
    """The memory of one thread.

    Attributes:
        block, address: what compiled code works on.
        tape, tape_address: (steps, numbers) of the block after each step.
        times: (steps + 1, lane); extra: (stages,) weights of the continuous extension.
    """

    block: np.ndarray
    address: int
    tape: np.ndarray
    tape_address: int
    times: np.ndarray
    extra: np.ndarray


def _room(code: Code, steps: int) -> _Room:
    length = int(code.places[TAPE])
    block, tape = aligned(int(code.places[SIZE])), aligned(steps * length).reshape(steps, length)
    return _Room(
        block, block.ctypes.data, tape, tape.ctypes.data, np.zeros((steps + 1, LANES)),
        np.zeros(code.dense.shape[1]),
    )  # fmt: skip


def _seed(block, code, lane, cell, start, size, low, high, grid, weights, extra):
    """What is asked of the outputs within a step becomes asked of its ends and stages."""
    places, rows = code.places, code.places[ROWS]
    for f in range(low, high):
        share = min(1.0, (grid[f] - start) / size)
        extension(code.dense, share, extra)
        for i in range(rows):
            weight = weights[cell, f, i]
            at = i * LANES + lane
            block[places[LAM] + at] += share * weight
            block[places[KEPT] + at] += (1.0 - share) * weight
            for s in range(len(extra)):
                block[places[ASKED] + s * rows * LANES + at] += extra[s] * weight


@compiled
def _pull(room, code, part, grid, weights, lam, pbar, order, first, end):
    """The cells of some groups of lanes, by their positions in `order`."""
    for group in range(first, end):
        low = group * LANES
        _pull_group(room, code, part, grid, weights, lam, pbar, order, low, min(LANES, len(order) - low))


def _pull_group(room, code, part, grid, weights, lam, pbar, order, base, active):
    places, rows = code.places, code.places[ROWS]
    block, address, tape, times, extra = room.block, room.address, room.tape, room.times, room.extra
    most, length = 0, places[TAPE]
    for lane in range(LANES):
        r = order[base + min(lane, active - 1)]
        load(block, places, lane, part.state[r], part.fixed[r])
        times[0, lane] = part.time[r]
        most = max(most, part.count[r])
    call_code(code.prepare, address)
    for k in range(most):
        for lane in range(LANES):
            r = order[base + min(lane, active - 1)]
            block[places[H] + lane] = part.sizes[r, k if k < part.count[r] else 0]
        call_code(code.step, address)
        together = True
        for i in range(length):
            tape[k, i] = block[i]
        for lane in range(LANES):
            together = together and k < part.count[order[base + min(lane, active - 1)]]
        for lane in range(LANES):
            r = order[base + min(lane, active - 1)]
            if k < part.count[r]:
                times[k + 1, lane] = times[k, lane] + part.sizes[r, k]
                if not together:
                    for i in range(rows):
                        at = i * LANES + lane
                        block[places[Y] + at] = block[places[W] + at]
        if together:
            for i in range(rows * LANES):
                block[places[Y] + i] = block[places[W] + i]
    constants, seeded = pbar.shape[1], True
    for k in range(most - 1, -1, -1):
        if seeded:
            for i in range(rows * LANES):
                block[places[KEPT] + i] = 0.0
            for i in range(len(extra) * rows * LANES):
                block[places[ASKED] + i] = 0.0
            seeded = False
        for lane in range(LANES):
            r = order[base + min(lane, active - 1)]
            block[places[H] + lane] = part.sizes[r, k if k < part.count[r] else 0]
            # a lane whose cell took fewer steps carries zeros until its own last step
            begins = lane < active and k == part.count[r] - 1
            if begins or k >= part.count[r] or lane >= active:
                c = part.cells[r]
                for i in range(rows):
                    block[places[LAM] + i * LANES + lane] = lam[c, i] if begins else 0.0
                for i in range(constants):
                    block[places[PBAR] + i * LANES + lane] = pbar[c, i] if begins else 0.0
            if lane < active and k < part.count[r]:
                low, high = part.marks[r, k - 1] if k > 0 else part.following[r], part.marks[r, k]
                if high > low:
                    seeded = True
                    _seed(
                        block, code, lane, part.cells[r], times[k, lane], part.sizes[r, k], low, high, grid,
                        weights, extra,
                    )  # fmt: skip
        call_code(code.after, address, room.tape_address + 8 * k * length)
    for lane in range(active):
        c = part.cells[order[base + lane]]
        for i in range(rows):
            lam[c, i] = block[places[LAM] + i * LANES + lane]
        for i in range(constants):
            pbar[c, i] = block[places[PBAR] + i * LANES + lane]


def pull_cells(
    code: Code, part: Round, grid: np.ndarray, weights: np.ndarray, lam: np.ndarray, pbar: np.ndarray,
    order: np.ndarray,
) -> None:  # fmt: skip
    """Undoes the steps of a `Round`: what is asked of the states after it becomes asked of those before it.

    Args:
        grid, weights: (time,) and (cell, time, rows) what is asked of the outputs.
        lam: (cell, rows); pbar: (cell, constants), added to; both in place.
        order: the rows of the round, those with as many steps beside each other.
    """

    def run(parts) -> None:
        go = _pull.on(_room(code, part.sizes.shape[1]), code, part, grid, weights, lam, pbar, order)
        for first, end in parts:
            go(first, end)

    share_out(run, (len(order) + LANES - 1) // LANES, each=_GROUPS_A_THREAD)
