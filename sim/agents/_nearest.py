"""The nearest of the candidates of each cell, as a kernel; `sim.agents.graphs` is the way in."""

from __future__ import annotations

import numpy as np

from mechanistic.codegen.loops import shared
from sim.agents.wrapping import nearest


@shared
def keep_nearest(first, end, positions, lengths, indptr, candidates, rows, squares, indices):
    """Into indices[i] (n, k), for i in rows, the k nearest of candidates[indptr[i]:indptr[i + 1]], nearest first.

    squares (n, k) is room. Candidates ascend, and of equally near ones the first is kept.
    """
    k = indices.shape[1]
    for r in range(first, end):
        i = rows[r]
        known = squares[i]
        for place in range(k):
            known[place] = np.inf
        for c in range(indptr[i], indptr[i + 1]):
            j = candidates[c]
            square = 0.0
            for axis in range(3):
                away = nearest(positions[j, axis] - positions[i, axis], lengths[axis])
                square += away * away
            place = k
            while place > 0 and square < known[place - 1]:
                if place < k:
                    known[place], indices[i, place] = known[place - 1], indices[i, place - 1]
                place -= 1
            if place < k:
                known[place], indices[i, place] = square, j
