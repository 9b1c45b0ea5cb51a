"""Poisson numbers that depend on (key, step, id) alone: the same bits in any order and for any number of threads."""

from __future__ import annotations

import numpy as np

from mechanistic.random.poisson import fill
from mechanistic.threads import threads_for


def poisson(key: int | np.uint64, step: int, ids: np.ndarray, means: np.ndarray) -> np.ndarray:
    """A Poisson number (n,) for each mean (n,), of (key, step, its id, its mean) alone; ids are integers (n,).

    By inversion below a mean of 10, else by transformed rejection (PTRS; Hörmann 1993,
    doi:10.1016/0167-6687(93)90997-4). A mean that is not above 0 gives 0. `step` lies below 2^32.
    """
    means = np.ascontiguousarray(means, np.float64)
    out = np.empty(means.size)
    with threads_for(out.size, each=10_000):
        fill(out.size, out, key, step, np.ascontiguousarray(ids, np.int64), means)
    return out
