"""The block of numbers that compiled code and its driver share: where things lie, and reading the last step."""

from __future__ import annotations

import numpy as np

LANES = 8

# Positions in a row of `Program.places` and of `Program.numbers`, and in `Program.functions`, where those of a
# method follow
SIZE, Y, F, P, H, RTOL, ATOL, LOWEST, TIMED, W, K, ERROR, FACTOR, DIP, STIFFNESS, ACCEPTED = range(16)
SCALED, LIMIT, LEAVES = range(3)
PREPARE, SLOPE, METHODS = range(3)
STEP, ACCEPT, COMPLETE, FUNCTIONS = range(4)
STIFF, OTHER = range(2)  # methods


def aligned(size: int) -> np.ndarray:
    """Zeros that start where the processor reads eight doubles in one piece."""
    room = np.zeros(size + LANES)
    skipped = -(room.ctypes.data // 8) % LANES
    return room[skipped : skipped + size]


def dense_weights(dense, scaled, q, used, weights):
    """The weights of the stages in the state at the share `q` of a step of size `used`.

    Args:
        dense, scaled: of the method, see `program.Method`.
        weights: (stages,) to fill.
    """
    factor = q * (1.0 - q) * (used if scaled else 1.0)
    for s in range(len(weights)):
        total = 0.0
        for d in range(len(dense) - 1, -1, -1):
            total = total * q + dense[d, s]
        weights[s] = factor * total


def dense_value(block, y, w, stages, rows, weights, q, i, lane):
    """State `i` at the share `q` of the last step.

    Args:
        y, w, stages: offsets of the state before and after it and of the first stage.
        rows: states in a stage.
    """
    at = i * LANES + lane
    if q >= 1.0:
        return block[w + at]
    now = block[y + at]
    value = now + q * (block[w + at] - now)
    for s in range(len(weights)):
        # a method with fewer stages than another has nothing there
        if weights[s] != 0.0:
            value += weights[s] * block[stages + s * rows * LANES + at]
    return value
