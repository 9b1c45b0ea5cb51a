"""From cells to tissue: what a cell's surroundings look like in its own space."""

from __future__ import annotations

import numpy as np


def neighbours_within(positions: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Neighbour graph (indptr, indices) of places (cell, axis) at most `radius` apart, in the order of the cells."""
    from scipy.spatial import cKDTree

    places = np.asarray(positions, float)
    lists = cKDTree(places).query_ball_point(places, radius, return_sorted=True)
    others = [np.array([j for j in near if j != i], np.int64) for i, near in enumerate(lists)]
    indptr = np.concatenate([[0], np.cumsum([len(o) for o in others])])
    return indptr, np.concatenate(others) if others else np.empty(0, np.int64)


def pooled(ur: np.ndarray, graph: tuple[np.ndarray, np.ndarray], hops: int = 1) -> np.ndarray:
    """Each cell's own representation, then mean and sd over its neighbours, for each hop: (cell, (1 + 2 hops) d).

    Over the second hop and further the means of the hop before are pooled. A cell without neighbours has its own
    as their mean, with sd 0.

    Args:
        ur: (cell, d); graph: (indptr, indices) of the neighbours of each cell, itself not among them.
    """
    indptr, indices = graph
    own = np.asarray(ur, float)
    rows = np.repeat(np.arange(len(own)), np.diff(indptr))
    count = np.diff(indptr)[:, None]
    out, now = [own], own
    for _ in range(hops):
        mean = _mean(now, rows, indices, count)
        square = _mean(now**2, rows, indices, count)
        out += [mean, np.sqrt(np.maximum(square - mean**2, 0.0))]
        now = mean
    return np.concatenate(out, 1)


def _mean(values: np.ndarray, rows: np.ndarray, indices: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Mean over the neighbours, summed in their order; of a cell without any its own value."""
    sums = np.stack(
        [
            np.bincount(rows, weights=values[indices, k], minlength=len(values))
            for k in range(values.shape[1])
        ],
        1,
    )
    return np.where(count > 0, sums / np.maximum(count, 1), values)


def pooled_names(labels: tuple[str, ...], hops: int = 1) -> tuple[str, ...]:
    """Names of the columns of `pooled`."""
    names = list(labels)
    for hop in range(1, hops + 1):
        ring = "neighbours" if hop == 1 else f"neighbours {hop}"
        names += [f"mean of {ring} {x}" for x in labels] + [f"sd of {ring} {x}" for x in labels]
    return tuple(names)
