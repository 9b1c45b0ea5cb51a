"""The nearest of the candidates of each cell, as a kernel; `sim.agents.graphs` is the way in."""

from __future__ import annotations

import numpy as np

from mechanistic.jit import njit, prange
from sim.agents._cell_list import nearest_image


@njit(parallel=True)
def keep_nearest(positions, lengths, indptr, candidates, rows, indices):
    """Into indices[i] (n, k), for i in rows, the k nearest of candidates[indptr[i]:indptr[i + 1]], nearest first.

    Candidates ascend, and of equally near ones the first is kept.
    """
    k = indices.shape[1]
    for r in prange(rows.size):
        i = rows[r]
        nearest = np.full(k, np.inf)
        for c in range(indptr[i], indptr[i + 1]):
            j = candidates[c]
            square = 0.0
            for axis in range(3):
                square += nearest_image(positions[j, axis] - positions[i, axis], lengths[axis]) ** 2
            place = k
            while place > 0 and square < nearest[place - 1]:
                if place < k:
                    nearest[place], indices[i, place] = nearest[place - 1], indices[i, place - 1]
                place -= 1
            if place < k:
                nearest[place], indices[i, place] = square, j
