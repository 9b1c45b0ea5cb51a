"""The lanes of the drivers that move by chance: eight cells in one block of numbers, each at its own place.

A lane takes the next cell when its own is done. Random numbers are those of (key, cell, draw), so a cell's course
depends on its own row only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mechanistic.solvers.blocks import LANES, aligned

# Positions in the layout of a block; `direct_method` uses more
SIZE, X, T, P, A = range(5)

DONE, BAD_RATE, SHORT, NOT_WHOLE, CASCADE, TOO_MANY, BAD_DRAW = range(7)
NOBODY = -1


class Lanes(NamedTuple):
    """The block of one thread, and who is in its lanes.

    Attributes:
        block, address: what compiled code works on.
        cell: (lane,) its cell, or NOBODY; row: the next output; draw: how often it has drawn.
        fresh: (lane,) whether it wants another cell.
    """

    block: np.ndarray
    address: int
    cell: np.ndarray
    row: np.ndarray
    draw: np.ndarray
    fresh: np.ndarray


def make_lanes(layout: np.ndarray) -> Lanes:
    block = aligned(int(layout[SIZE]))
    return Lanes(
        block, block.ctypes.data, np.full(LANES, NOBODY), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64),
        np.ones(LANES, bool),
    )  # fmt: skip


def summed_rates(block, a, lane, reactions):
    """The sum of the rates of a lane's cell, which begin at `a`; and which
    of them cannot be one, -1 where all can."""
    total, wrong = 0.0, -1
    for j in range(reactions):
        rate = block[a + j * LANES + lane]
        if not (rate >= 0.0 and rate < np.inf):
            wrong = j
        total += rate
    return total, wrong


def take_cell(lanes, layout, lane, start, constants, now, waiting, end, row):
    """Puts the cell `waiting` into a lane, `row` being its first output; whether there is one below `end`."""
    block, x, p = lanes.block, layout[X], layout[P]
    # a lane without a cell of its own computes along with another one's numbers
    k = min(waiting, end - 1)
    for i in range(start.shape[1]):
        block[x + i * LANES + lane] = start[k, i]
    block[layout[T] + lane] = now
    block[p + lane] = 1.0
    for i in range(constants.shape[1]):
        block[p + (1 + i) * LANES + lane] = constants[k, i]
    lanes.fresh[lane] = False
    lanes.cell[lane], lanes.row[lane], lanes.draw[lane] = NOBODY, row, 0
    if waiting < end:
        lanes.cell[lane] = waiting
    return waiting < end
