"""Profile likelihoods: how far a parameter can go while all others follow, and whether that has an end.

A parameter is bounded where the log-posterior falls below the threshold on both sides, one-sided where on one, flat
where on none (Raue et al., Bioinformatics 25, 1923, 2009). The threshold is half of the chi-square quantile of one
degree of freedom below the optimum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sim.fitting.optimize import FitFunction, Stop, fit

_FOLLOW = Stop(steps=60, gain=1e-7)


@dataclass(frozen=True)
class Profile:
    """Of one parameter, on its scale.

    Attributes:
        values, log_posterior: (point,) along the profile, rising in value.
        lower, upper: the interval; infinite on a side where the threshold is not reached.
        reached: how far each side was followed.
        kind: "bounded", "one-sided" or "flat".
        optimum: the best log-posterior met; above that of the fit where the fit was no optimum.
    """

    name: str
    values: np.ndarray
    log_posterior: np.ndarray
    lower: float
    upper: float
    reached: tuple[float, float]
    kind: str
    optimum: float


def profile(
    function: FitFunction,
    x: np.ndarray,
    name: str,
    *,
    confidence: float = 0.95,
    points: int = 40,
    go_on: Callable[[], bool] = lambda: True,
) -> Profile:
    """The profile of a parameter from the optimum `x` outwards.

    Args:
        points: at most so many on each side.

    Raises:
        ValueError: no such parameter; `x` cannot be simulated.
    """
    from scipy.stats import chi2

    if name not in function.names:
        raise ValueError(f"'{name}' is not estimated")
    k = function.names.index(name)
    start = function(x, slopes=True)
    if start.root is None:
        raise ValueError("profiles need an objective with information (fewer than 500 parameters)")
    drop = 0.5 * float(chi2.ppf(confidence, 1))
    best = start.log_posterior
    told = float(np.sqrt(start.root[:, k] @ start.root[:, k]))
    sides = []
    for sign in (-1.0, 1.0):
        end = function.lower[k] if sign < 0 else function.upper[k]
        end = end if np.isfinite(end) else x[k] + sign * 10.0
        first = min(0.5 / told if told > 0 else 1.0, 0.25 * abs(end - x[k]))
        sides.append(_side(function, x, k, sign, end, max(first, 1e-6), best, drop, points, go_on))
    best = max(best, *(v for side in sides for _, v in side), best)
    reached = tuple(side[-1][0] if side else float(x[k]) for side in sides)
    low, high = (_crossing([(float(x[k]), start.log_posterior), *side], best - drop) for side in sides)
    every = sorted([*sides[0], (float(x[k]), start.log_posterior), *sides[1]])
    ends = sum(np.isfinite([low if low is not None else np.inf, high if high is not None else np.inf]))
    return Profile(
        name, np.array([v for v, _ in every]), np.array([p for _, p in every]),
        -np.inf if low is None else low, np.inf if high is None else high,
        (float(reached[0]), float(reached[1])), ("flat", "one-sided", "bounded")[int(ends)], best,
    )  # fmt: skip


def _side(function, x, k: int, sign: float, end: float, step: float, best, drop, points, go_on):
    """(value, log-posterior) outwards until the threshold is passed or the bound is reached."""
    found: list[tuple[float, float]] = []
    held = np.zeros(len(x), dtype=bool)
    held[k] = True
    now, before = np.array(x, dtype=float), best
    while len(found) < points and sign * (end - now[k]) > 1e-9 and go_on():
        trial = now.copy()
        trial[k] = min(now[k] + step, end) if sign > 0 else max(now[k] - step, end)
        reached = fit(function, trial, _FOLLOW, fixed=held)
        fell = before - reached.log_posterior
        if fell > 0.6 * drop and step > 1e-5:
            step *= 0.4
            continue
        found.append((float(trial[k]), reached.log_posterior))
        if reached.log_posterior < best - drop:
            break
        if fell < 0.15 * drop:
            step *= 2.0
        now, before = reached.x, reached.log_posterior
    return found


def _crossing(side: list[tuple[float, float]], threshold: float) -> float | None:
    """Where the profile falls below the threshold, between two points in a straight line; None where it does not."""
    for (a, above), (b, below) in pairwise(side):
        if below < threshold <= above:
            share = (above - threshold) / (above - below) if np.isfinite(below) else 1.0
            return a + share * (b - a)
    return None
