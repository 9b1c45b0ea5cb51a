"""The smallest change of some parameters that brings outcomes to values.

In the parameters' shares of their ranges, u, the nearest point to the present one with y(u) = w is searched by
steps on the linear model of y that the last points give (the least-change update of its slopes after Broyden 1965),
each held within the ranges and within a distance, which is halved where a step did not help. Every y is a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: how far a step may go, in shares of the ranges, and the least that is still tried
_FAR, _NEAR = 0.5, 1e-3
_MOST_STEPS = 16
#: a slope is measured over this share of the range
_PROBE = 0.05


@dataclass(frozen=True)
class Reached:
    """Where a search ended.

    Attributes:
        at: (parameter,) shares of the ranges.
        value: (outcome,) y there.
        hit: whether all of it is within the tolerance of what was wanted.
        size: length of the change, in shares of the ranges.
        runs: how often y was asked for.
    """

    at: np.ndarray
    value: np.ndarray
    hit: bool
    size: float
    runs: int


def reach(
    y: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    wanted: np.ndarray,
    tolerance: np.ndarray,
    slope: np.ndarray | None = None,
) -> Reached:
    """The nearest point to `start` (parameter,) in [0, 1] with y (outcome,) within `tolerance` of `wanted`.

    Args:
        slope: dy/du (outcome, parameter) at the start where it is known; where it is NaN a run tells it.
    """
    asked = _Counted(y)
    slope = np.full((len(wanted), len(start)), np.nan) if slope is None else slope.copy()
    found = _search(asked, start, start, wanted, tolerance, slope)
    if _off(found[1], wanted, tolerance) <= 1 and len(start) > 1:
        # slopes measured where it is reached show a nearer point, if there is one
        anew = np.full_like(slope, np.nan)
        nearer = _search(asked, start, found[0], wanted, tolerance, anew, once=True)
        hit = _off(nearer[1], wanted, tolerance) <= 1
        if hit and np.linalg.norm(nearer[0] - start) < np.linalg.norm(found[0] - start):
            found = nearer
    at, value = found
    return Reached(
        at, value, _off(value, wanted, tolerance) <= 1, float(np.linalg.norm(at - start)), asked.runs
    )


def _search(
    y: _Counted,
    start: np.ndarray,
    here: np.ndarray,
    wanted: np.ndarray,
    tolerance: np.ndarray,
    slope: np.ndarray,
    once: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The point nearest to what is wanted that was met on the way from `here`, and y there."""
    value = y(here)
    for k in np.flatnonzero(np.isnan(slope).any(axis=0)):
        slope[:, k] = _slope(y, here, value, int(k))
    radius = _FAR
    for _ in range(_MOST_STEPS):
        if (_off(value, wanted, tolerance) <= 1 and not once) or radius < _NEAR:
            break
        step = _nearest(start, here, value, slope, wanted) - here
        length = float(np.linalg.norm(step))
        if length < _NEAR * 0.1:
            break
        there = here + step * min(1.0, radius / length)
        new, moved = y(there), there - here
        # the least change of the slopes that makes the model right for this step
        slope = slope + np.outer(new - value - slope @ moved, moved) / (moved @ moved)
        if once or _off(new, wanted, tolerance) < _off(value, wanted, tolerance):
            here, value, once = there, new, False
            radius = min(2 * radius, _FAR)
        else:
            radius = 0.5 * float(np.linalg.norm(moved))
    return here, value


def _off(value: np.ndarray, wanted: np.ndarray, tolerance: np.ndarray) -> float:
    """How far from what is wanted, in tolerances; infinite where there is no value."""
    return float(np.max(np.nan_to_num(np.abs(value - wanted) / tolerance, nan=np.inf)))


def _slope(y: _Counted, at: np.ndarray, value: np.ndarray, k: int) -> np.ndarray:
    """Towards the inside of the range, farther where nothing moves."""
    inwards = 1.0 if at[k] < 0.5 else -1.0
    change = np.zeros_like(value)
    for share in (_PROBE, 4 * _PROBE):
        probe = at.copy()
        probe[k] += inwards * share
        change = (y(probe) - value) / (inwards * share)
        if change.any():
            break
    return change


def _nearest(
    start: np.ndarray, here: np.ndarray, value: np.ndarray, slope: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """The nearest point to `start` in [0, 1] where the linear model at `here` says `wanted`, or says it most nearly."""
    free = slope.any(axis=0)
    fixed = start.copy()
    while free.any():
        left = wanted - value - slope @ (np.where(free, start, fixed) - here)
        fixed[free] = start[free] + np.linalg.pinv(slope[:, free], rcond=1e-6) @ left
        outside = free & ((fixed < 0) | (fixed > 1))
        if not outside.any():
            break
        fixed = np.clip(fixed, 0.0, 1.0)
        free &= ~outside
    return fixed


class _Counted:
    """Remembers what was asked."""

    def __init__(self, y: Callable[[np.ndarray], np.ndarray]):
        self._y = y
        self._known: dict[bytes, np.ndarray] = {}
        self.runs = 0

    def __call__(self, at: np.ndarray) -> np.ndarray:
        key = at.tobytes()
        if key not in self._known:
            self._known[key] = self._y(at)
            self.runs += 1
        return self._known[key]
