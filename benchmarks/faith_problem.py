"""What a problem of FAITH-Hybrid is, and how levels and slopes are had from noisy trajectories."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import CubicSpline

Field = Callable[[np.ndarray], np.ndarray]
#: levels and slopes (trajectory, time, variable) to inputs (trajectory, row, input) and values (trajectory, row)
Known = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
#: points at either end where the slopes of splines are poor
_ENDS = 3


@dataclass
class Problem:
    """One hidden term.

    Attributes:
        name: of the family. inputs: names of what the network sees.
        active: (input,) which truly drive the term. decoys: (input,) which are there to mislead.
        z: (row, input) inputs and y: (row,) values of the term as they are known from noisy trajectories.
        group: (row,) trajectory of each row.
        again: z and y had the smoothed trajectories been measured once more; see `Tracks.again`.
        truth: the term itself, (row, input) to (row,), written for numpy and torch alike.
        baseline: (input,) that attributions are taken against.
        rerun: outcome of the system with another term in the hidden one's place, and an input held at its baseline
            (None for none): what knocking out and running again sees.
    """

    name: str
    inputs: list[str]
    active: np.ndarray
    decoys: np.ndarray
    z: np.ndarray
    y: np.ndarray
    group: np.ndarray
    again: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
    truth: Callable
    baseline: np.ndarray
    rerun: Callable[[Field, int | None], float]


class Tracks:
    """Noisy trajectories, smoothed.

    Attributes:
        level, slope: (trajectory, time, variable). sd: (trajectory, 1, variable), the noise that smoothing took away.
    """

    def __init__(self, times: np.ndarray, measured: np.ndarray):
        self.times = times
        self.level, self.slope, self.sd = smoothed(times, measured)

    def rows(self, known: Known) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs (row, input), values (row,) and trajectory (row,) by what is known of the system."""
        z, y = known(_inner(self.level), _inner(self.slope))
        return z.reshape(-1, z.shape[-1]), y.ravel(), np.repeat(np.arange(len(y)), y.shape[1])

    def again(self, rng: np.random.Generator) -> Tracks:
        """The smoothed courses measured and smoothed once more, with noise of the same size."""
        return Tracks(self.times, self.level + self.sd * rng.normal(size=self.level.shape))


def wandering(rng: np.random.Generator, times: np.ndarray, *shape: int) -> np.ndarray:
    """Smooth series (*shape, time) that nothing drives, between about 0 and 2."""
    phases, rates = rng.uniform(0, 2 * np.pi, (*shape, 3, 1)), rng.uniform(0.3, 1.6, (*shape, 3, 1))
    return 1 + 0.33 * np.sin(rates * times + phases).sum(-2)


def correlated(rng: np.random.Generator, times: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Series (trajectory, time) that go with others and cause nothing."""
    own = wandering(rng, times, len(series))
    own = (own - own.mean(1, keepdims=True)) / own.std(1, keepdims=True)
    return series + 0.6 * series.std(1, keepdims=True) * own


def courses(
    slope: Callable[[float, np.ndarray], np.ndarray], start: np.ndarray, times: np.ndarray, steps: int = 8
) -> np.ndarray:
    """Solutions (trajectory, time, variable) of x' = slope(t, x) for x (trajectory, variable), by Runge and Kutta."""
    x = start.copy()
    out = [x]
    for t, after in itertools.pairwise(times):
        h = (after - t) / steps
        for k in range(steps):
            now = t + k * h
            a = slope(now, x)
            b = slope(now + h / 2, x + h / 2 * a)
            c = slope(now + h / 2, x + h / 2 * b)
            x = x + h / 6 * (a + 2 * b + 2 * c + slope(now + h, x + h * c))
        out.append(x)
    return np.stack(out, 1)


def noisy(rng: np.random.Generator, values: np.ndarray, noise: float) -> np.ndarray:
    """(trajectory, time, variable) with noise in proportion to the spread of each series."""
    return values + noise * values.std(1, keepdims=True) * rng.normal(size=values.shape)


def smoothed(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values and slopes of noisy series (trajectory, time, variable) by smoothing splines, and their noise.

    Natural cubic splines in Reinsch's form (Green and Silverman 1994): on one grid all series share the
    eigenvectors of the penalty, and the generalised cross-validation of a series is a sum over eigenvalues. The
    trajectories of one variable are smoothed alike, as their cross-validation together says.
    """
    size, vectors, slopes = _penalty(tuple(times))
    n = len(times)
    parts = np.einsum("te,ktv->ekv", vectors, values)
    spread = np.maximum(values.var(1), 1e-300)
    strengths = np.geomspace(1e-6, 1e3, 60)[:, None] / np.median(size[2:])
    kept = 1 / (1 + strengths * size)  # (strength, eigenvector)
    free = n - kept.sum(1)
    mean_square = (parts**2 / spread).mean(1)
    best = (((1 - kept) ** 2 @ mean_square) / free[:, None] ** 2).argmin(0)
    level = np.einsum("te,ekv->ktv", vectors, kept[best].T[:, None] * parts)
    sd = np.sqrt(((values - level) ** 2).sum(1, keepdims=True) / free[best])
    return level, np.einsum("ts,ksv->ktv", slopes, level), sd


@cache
def _penalty(times: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of natural cubic splines on a grid: eigenvalues and eigenvectors of the squared second derivative; slopes."""
    h = np.diff(times)
    n = len(times)
    q, r = np.zeros((n, n - 2)), np.zeros((n - 2, n - 2))
    for j in range(n - 2):
        q[j, j], q[j + 1, j], q[j + 2, j] = 1 / h[j], -1 / h[j] - 1 / h[j + 1], 1 / h[j + 1]
        r[j, j] = (h[j] + h[j + 1]) / 3
        if j + 1 < n - 2:
            r[j, j + 1] = r[j + 1, j] = h[j + 1] / 6
    size, vectors = np.linalg.eigh(q @ np.linalg.solve(r, q.T))
    slopes = CubicSpline(times, np.eye(n), bc_type="natural").derivative()(times)
    return np.maximum(size, 0.0), vectors, slopes


def _inner(array: np.ndarray) -> np.ndarray:
    """Without the ends."""
    return array[:, _ENDS:-_ENDS]
