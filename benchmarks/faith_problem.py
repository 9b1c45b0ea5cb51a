"""What a problem of FAITH-Hybrid is, and how levels and slopes are had from noisy trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy.interpolate import CubicSpline

Field = Callable[[np.ndarray], np.ndarray]


@dataclass
class Problem:
    """One hidden term.

    Attributes:
        name: of the family. inputs: names of what the network sees.
        active: (input,) which truly drive the term. decoys: (input,) which are there to mislead.
        z: (row, input) inputs and y: (row,) values of the term as they are known from noisy trajectories.
        group: (row,) trajectory of each row.
        truth: the term itself, (row, input) to (row,), written for numpy and torch alike.
        states: (row, input) where the system truly is.
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
    truth: Callable
    states: np.ndarray
    baseline: np.ndarray
    rerun: Callable[[Field, int | None], float]
    kind: str = field(default="")


def wandering(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """A smooth series in time that nothing drives, between about 0 and 2."""
    phases, rates = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.3, 1.6, 3)
    return 1 + 0.33 * np.sin(rates[:, None] * times + phases[:, None]).sum(0)


def smoothed(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and slopes (time, ...) of noisy series by smoothing splines, each as smooth as cross-validation says.

    Natural cubic splines in Reinsch's form (Green and Silverman 1994): on one grid all series share the
    eigenvectors of the penalty, and the generalised cross-validation of a series is a sum over eigenvalues.
    """
    y = values.reshape(len(times), -1)
    size, vectors = _penalty(tuple(times))
    parts = vectors.T @ y
    strengths = np.geomspace(1e-6, 1e3, 60)[:, None] / np.median(size[2:])
    kept = 1 / (1 + strengths * size)  # (strength, eigenvector)
    left = ((1 - kept)[:, :, None] * parts) ** 2
    score = left.sum(1) / (len(times) - kept.sum(1))[:, None] ** 2
    best = kept[score.argmin(0)].T
    level = vectors @ (best * parts)
    slope = CubicSpline(times, level, bc_type="natural").derivative()(times)
    return level.reshape(values.shape), slope.reshape(values.shape)


@cache
def _penalty(times: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of a natural cubic spline's squared second derivative on a grid."""
    h = np.diff(times)
    n = len(times)
    q, r = np.zeros((n, n - 2)), np.zeros((n - 2, n - 2))
    for j in range(n - 2):
        q[j, j], q[j + 1, j], q[j + 2, j] = 1 / h[j], -1 / h[j] - 1 / h[j + 1], 1 / h[j + 1]
        r[j, j] = (h[j] + h[j + 1]) / 3
        if j + 1 < n - 2:
            r[j, j + 1] = r[j + 1, j] = h[j + 1] / 6
    size, vectors = np.linalg.eigh(q @ np.linalg.solve(r, q.T))
    return np.maximum(size, 0.0), vectors


def noisy(rng: np.random.Generator, values: np.ndarray, noise: float) -> np.ndarray:
    """Values with noise in proportion to the spread of each series."""
    return values + noise * values.std(0, keepdims=True) * rng.normal(size=values.shape)


def inner(array: np.ndarray) -> np.ndarray:
    """Without the ends, where the slopes of splines are poor."""
    return array[3:-3]
