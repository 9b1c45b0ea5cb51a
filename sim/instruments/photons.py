"""Poisson numbers that depend on (key, step, id) alone: the same bits in any order and for any number of threads."""

from __future__ import annotations

import math

import numpy as np
from numba import uint32

from mechanistic._philox import philox4x32, unit53
from mechanistic.jit import njit, prange, threads_for

_LOW = np.uint64(0xFFFFFFFF)
#: largest mean that is drawn by inversion
_SMALL = 10.0


def poisson(key: int | np.uint64, step: int, ids: np.ndarray, means: np.ndarray) -> np.ndarray:
    """A Poisson number (n,) for each mean (n,), of (key, step, its id, its mean) alone; ids are integers (n,).

    By inversion below a mean of 10, else by transformed rejection (PTRS; Hörmann 1993,
    doi:10.1016/0167-6687(93)90997-4). A mean that is not above 0 gives 0.
    """
    means = np.ascontiguousarray(means, np.float64)
    out = np.empty(means.size)
    with threads_for(out.size, each=10_000):
        _draw(out, np.uint64(key), np.uint64(step), np.asarray(ids).astype(np.uint64), means)
    return out


@njit(inline="always")
def _pair(key, step, i, attempt):
    a, b, c, d = philox4x32(
        uint32(i & _LOW),
        uint32(i >> np.uint64(32)),
        uint32(step),
        uint32(attempt),
        uint32(key & _LOW),
        uint32(key >> np.uint64(32)),
    )
    return unit53(a, b), unit53(c, d)


@njit(parallel=True)
def _draw(out, key, step, ids, means):
    for i in prange(means.size):
        out[i] = _one(means[i], key, step, ids[i])


@njit
def _one(mean, key, step, i):
    if not mean > 0.0:
        return 0.0
    if mean < _SMALL:
        u, _ = _pair(key, step, i, 0)
        k, weight = 0.0, math.exp(-mean)
        while u >= weight and k < 200.0:
            u -= weight
            k += 1.0
            weight *= mean / k
        return k
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse = 1.1239 + 1.1328 / (b - 3.4)
    limit = 0.9277 - 3.6224 / (b - 2.0)
    attempt = 0
    while True:
        u, v = _pair(key, step, i, attempt)
        attempt += 1
        u, v = u - 0.5, 1.0 - v
        near = 0.5 - abs(u)
        if near <= 0.0:
            continue
        k = math.floor((2.0 * a / near + b) * u + mean + 0.43)
        if near >= 0.07 and v <= limit:
            return k
        if k < 0.0 or (near < 0.013 and v > near):
            continue
        if math.log(v) + math.log(inverse) - math.log(a / (near * near) + b) <= (
            k * math.log(mean) - mean - math.lgamma(k + 1.0)
        ):
            return k
