"""Poisson numbers for kernels (W. Hörmann, Insurance: Mathematics and Economics 12, 39, 1993)."""

from __future__ import annotations

import math

import numpy as np
from numpy import uint64

from mechanistic.codegen.loops import shared
from mechanistic.random.philox import two_numbers

#: largest mean that is drawn by inversion
_SMALL = 10.0


def poisson_number(mean, key, cell, step, stream):
    """A Poisson number, a pure function of the arguments (all but the mean uint64, `stream` below 2^20).

    By inversion where the mean is small, else by transformed rejection (PTRS). A mean that is not above 0 gives 0.
    """
    if not mean > 0.0:
        return 0.0
    if mean < _SMALL:
        u, _v = two_numbers(key, cell, step | (uint64(stream) << uint64(32)))
        k, weight = 0.0, math.exp(-mean)
        while u >= weight and k < 200.0:
            u -= weight
            k += 1.0
            weight *= mean / k
        return k
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse, limit = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2.0)
    attempt = uint64(0)
    while True:
        word = uint64(stream) | (attempt << uint64(20))
        u, v = two_numbers(key, cell, step | (word << uint64(32)))
        attempt += uint64(1)
        u, v = u - 0.5, 1.0 - v
        near = 0.5 - abs(u)
        k = np.floor((2.0 * a / near + b) * u + mean + 0.43)
        if near >= 0.07 and v <= limit:
            return k
        if k < 0.0 or (near < 0.013 and v > near):
            continue
        if math.log(v) + math.log(inverse) - math.log(a / (near * near) + b) <= (
            k * math.log(mean) - mean - math.lgamma(k + 1.0)
        ):
            return k


@shared
def fill(first, end, out, key, step, ids, means):
    """out[i] becomes a Poisson number of mean means[i], that of (key, ids[i], step)."""
    for i in range(first, end):
        out[i] = poisson_number(means[i], uint64(key), uint64(ids[i]), uint64(step), 0)
