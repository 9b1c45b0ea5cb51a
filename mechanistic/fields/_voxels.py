"""What is done to all voxels of a field at once, in parts that threads share: bits do not depend on their number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mechanistic.codegen.loops import shared
from mechanistic.threads import threads_for

PART = 16384  # numbers that are added up in one go


def add(u: NDArray, other: NDArray, share: float = 1.0) -> float:
    """u += share other, in place; returns the least of u then."""
    lowest = np.empty(parts(u.size))
    with threads_for(u.size, each=50_000):
        _add(lowest.size, u.reshape(-1), other.reshape(-1), float(share), lowest)
    return float(lowest.min())


def least(u: NDArray) -> float:
    """The least of u."""
    lowest = np.empty(parts(u.size))
    with threads_for(u.size, each=50_000):
        _least(lowest.size, u.reshape(-1), lowest)
    return float(lowest.min())


def largest(u: NDArray) -> float:
    """The largest of |u|."""
    most = np.empty(parts(u.size))
    with threads_for(u.size, each=50_000):
        _largest(most.size, u.reshape(-1), most)
    return float(most.max())


def parts(count: int) -> int:
    """Into how many parts so many numbers are divided."""
    return -(-count // PART)


@shared
def _add(first, end, u, other, share, lowest):
    """u += share other, parts of it, and lowest (parts,): the least of u in each part then; all flat."""
    for part in range(first, end):
        last = min((part + 1) * PART, u.size)
        for i in range(part * PART, last):
            u[i] += share * other[i]
        lowest[part] = _least_of(u, part * PART, last)


@shared
def _least(first, end, u, lowest):
    """lowest (parts,): the least of u in each part; all flat."""
    for part in range(first, end):
        lowest[part] = _least_of(u, part * PART, min((part + 1) * PART, u.size))


@shared
def _largest(first, end, u, most):
    """most (parts,): the largest of |u| in each part; all flat."""
    for part in range(first, end):
        most[part] = largest_of(u, part * PART, min((part + 1) * PART, u.size))


def _least_of(u, first, last):
    """The least of u over a range, of eight numbers side by side."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = u[first]
    i = first
    while i + 8 <= last:
        s0 = min(s0, u[i])
        s1 = min(s1, u[i + 1])
        s2 = min(s2, u[i + 2])
        s3 = min(s3, u[i + 3])
        s4 = min(s4, u[i + 4])
        s5 = min(s5, u[i + 5])
        s6 = min(s6, u[i + 6])
        s7 = min(s7, u[i + 7])
        i += 8
    while i < last:
        s0 = min(s0, u[i])
        i += 1
    return min(min(min(s0, s1), min(s2, s3)), min(min(s4, s5), min(s6, s7)))


def largest_of(u, first, last):
    """The largest of |u| over a range, of eight numbers side by side."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    i = first
    while i + 8 <= last:
        s0 = max(s0, abs(u[i]))
        s1 = max(s1, abs(u[i + 1]))
        s2 = max(s2, abs(u[i + 2]))
        s3 = max(s3, abs(u[i + 3]))
        s4 = max(s4, abs(u[i + 4]))
        s5 = max(s5, abs(u[i + 5]))
        s6 = max(s6, abs(u[i + 6]))
        s7 = max(s7, abs(u[i + 7]))
        i += 8
    while i < last:
        s0 = max(s0, abs(u[i]))
        i += 1
    return max(max(max(s0, s1), max(s2, s3)), max(max(s4, s5), max(s6, s7)))
