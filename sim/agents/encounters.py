"""Who does what to whom where cells touch: drawn cell by cell, settled without regard to the order of cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["chosen_contact", "settled"]

Array = NDArray[np.float64]


def chosen_contact(
    indptr: NDArray[np.int64], rates: Array, dt: float, whether: Array, which: Array
) -> NDArray[np.int64]:
    """The contact at which each cell acts within dt: a position in the list of contacts (n,), −1 where it does not.

    A cell acts with probability 1 − exp(−dt Σ rates) over its contacts, at most once, and at each of them in
    proportion to its rate.

    Args:
        indptr: (n + 1,), where the contacts of each cell begin.
        rates: of each contact (e,) [1/min].
        dt: [min].
        whether, which: uniform numbers (n,).
    """
    ends = np.concatenate([[0.0], np.cumsum(rates)])
    begin, total = ends[indptr[:-1]], ends[indptr[1:]] - ends[indptr[:-1]]
    acts = whether < -np.expm1(-total * dt)
    found = np.searchsorted(ends, begin + which * total, side="right") - 1
    return np.where(acts, np.clip(found, indptr[:-1], np.maximum(indptr[1:] - 1, indptr[:-1])), -1)


def settled(
    actors: NDArray[np.int64], victims: NDArray[np.int64], keys: Array, ids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Which of the acts come about (positions, ascending), so that each cell takes part in at most one.

    The act with the lowest key comes first, of equal ones that of the lower id, as if they were taken in that order.

    Args:
        actors, victims: rows of the two cells of each act (m,).
        keys: random numbers (m,).
        ids: of all cells (n,).
    """
    busy = np.zeros(len(ids), dtype=bool)
    done = []
    for k in np.lexsort((ids[actors], keys)):
        a, v = actors[k], victims[k]
        if not (busy[a] or busy[v]):
            busy[a] = busy[v] = True
            done.append(k)
    return np.sort(np.array(done, dtype=np.int64))
