"""From one point to the best one nearby: a trust region within bounds, by the expected information.

The information (Gauss-Newton's matrix for normal noise, and its counterpart where the noise itself is fitted) stands
for the second derivatives, so one set of tangents gives value, slope and curvature (Nocedal & Wright, Numerical
Optimization, 2nd ed., Springer 2006, ch. 4 and 10; for kinetic models: Froehlich & Sorger, PLOS Comput. Biol. 18,
e1010322, 2022). Where there are too many parameters for tangents, L-BFGS-B goes by the gradient alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mechanistic.errors import IntegrationError
from sim.fitting.objective import Evaluation

_ACCEPTED, _GOOD = 1e-4, 0.75


class FitFunction(Protocol):
    """What is fitted: an `Objective`, or what looks like one. Everything on the parameters' scales."""

    names: tuple[str, ...]
    scales: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray
    nominal: np.ndarray

    def __call__(
        self, x: np.ndarray | None = None, *, slopes: bool = False, back: bool | None = None
    ) -> Evaluation: ...


@dataclass(frozen=True)
class Stop:
    """When to stop.

    Attributes:
        steps: at most so many tried.
        gain: a step that gains less than this, relatively, is the last.
        step: nor is any tried that is shorter than this.
        slope: of the log-posterior, within bounds.
    """

    steps: int = 500
    gain: float = 1e-9
    step: float = 1e-8
    slope: float = 1e-5


@dataclass(frozen=True)
class Fit:
    """Where an optimiser came to.

    Attributes:
        x: on the parameters' scales.
        reason: "gain", "slope", "step", "steps", "failed" (the start cannot be simulated) or "stopped".
        evaluation: there, with slopes; None where it failed.
    """

    x: np.ndarray
    log_posterior: float
    llh: float
    chi2: float
    reason: str
    steps: int
    evaluation: Evaluation | None = field(default=None, repr=False, compare=False)

    @property
    def converged(self) -> bool:
        return self.reason in ("gain", "slope", "step")


def fit(
    function: FitFunction,
    x: np.ndarray,
    stop: Stop | None = None,
    *,
    fixed: np.ndarray | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Fit:
    """The best point that a way from `x` leads to.

    Args:
        fixed: (parameter,) those that stay as they are.
        go_on: asked before every step.
    """
    stop = stop or Stop()
    x = np.clip(np.asarray(x, dtype=float), function.lower, function.upper)
    held = np.zeros(len(x), dtype=bool) if fixed is None else fixed
    first = _at(function, x, slopes=True)
    if first is None:
        return Fit(x, -np.inf, -np.inf, np.inf, "failed", 0)
    if first.root is None:
        return _by_gradient(function, x, stop, held, go_on)
    now, radius, reason, steps = first, 1.0, "steps", 0
    curvature = prior_curvature(function, x)
    while steps < stop.steps:
        if not go_on():
            reason = "stopped"
            break
        gradient, matrix = _model(now, curvature)
        free = ~held & ~((x <= function.lower) & (gradient > 0)) & ~((x >= function.upper) & (gradient < 0))
        if not free.any() or np.abs(gradient[free]).max() < stop.slope:
            reason = "slope"
            break
        step = _step(gradient, matrix, free, radius, function.lower - x, function.upper - x)
        promised = -(gradient @ step + 0.5 * step @ matrix @ step)
        steps += 1
        new = _at(function, np.clip(x + step, function.lower, function.upper), slopes=False)
        gained = -np.inf if new is None else new.log_posterior - now.log_posterior
        length = float(np.linalg.norm(step))
        if promised <= 0 or length < stop.step:
            reason = "step"
            break
        kept = gained / promised
        if kept < 0.25:
            radius = 0.25 * length
        elif kept > _GOOD and length > 0.8 * radius:
            radius = min(2.0 * radius, 1e3)
        if kept <= _ACCEPTED:
            if radius < stop.step:
                reason = "step"
                break
            continue
        moved = np.clip(x + step, function.lower, function.upper)
        slopes = _at(function, moved, slopes=True)
        if slopes is None:
            radius = 0.25 * length
            continue
        x, now, curvature = moved, slopes, prior_curvature(function, moved)
        if gained < stop.gain * (1.0 + abs(now.log_posterior)) and kept > 0.1 and length <= 0.8 * radius:
            reason = "gain"
            break
    return Fit(x, now.log_posterior, now.llh, now.chi2, reason, steps, now)


def _at(function: FitFunction, x: np.ndarray, slopes: bool) -> Evaluation | None:
    """None where it cannot be told."""
    try:
        found = function(x, slopes=slopes)
    except IntegrationError:
        return None
    if not np.isfinite(found.log_posterior):
        return None
    if slopes and not (found.gradient is not None and np.all(np.isfinite(found.gradient))):
        return None
    return found


def _model(now: Evaluation, curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and curvature of what is minimised."""
    assert now.gradient is not None and now.prior_gradient is not None and now.root is not None
    return -(now.gradient + now.prior_gradient), now.root.T @ now.root + np.diag(curvature)


def prior_curvature(function: FitFunction, x: np.ndarray) -> np.ndarray:
    """(parameter,) minus the second derivatives of the log-prior; 0 where the function does not tell them."""
    told = getattr(function, "prior_curvature", None)
    return np.zeros(len(x)) if told is None else told(x)


def _step(gradient, matrix, free, radius: float, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The best step of the quadratic model within the region; what would cross a bound stops there."""
    step, open_ = np.zeros(len(gradient)), free.copy()
    while open_.any():
        # what is at its bound already bends the slope of the rest
        slope = gradient[open_] + matrix[np.ix_(open_, ~open_)] @ step[~open_]
        left = max(radius**2 - float(step[~open_] @ step[~open_]), (0.1 * radius) ** 2)
        part = _in_region(slope, matrix[np.ix_(open_, open_)], np.sqrt(left))
        step[open_] = part
        crossing = open_ & ((step < low) | (step > high))
        if not crossing.any():
            return step
        step[crossing] = np.clip(step[crossing], low[crossing], high[crossing])
        open_ = open_ & ~crossing
        step[open_] = 0.0
    return step


def _in_region(slope: np.ndarray, matrix: np.ndarray, radius: float) -> np.ndarray:
    """The minimum of slope p + p matrix p / 2 over |p| <= radius; the matrix has no negative curvature."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 0.0)
    along = vectors.T @ slope
    floor = 1e-14 * max(float(values[-1]), 1e-300)

    def at(shift: float) -> np.ndarray:
        return -along / (values + shift)

    if values[0] > floor:
        newton = at(0.0)
        if np.linalg.norm(newton) <= radius:
            return vectors @ newton
    from scipy.optimize import brentq

    def apart(log_shift: float) -> float:
        return float(np.log(np.linalg.norm(at(np.exp(log_shift))) / radius))

    high = np.log(max(float(np.linalg.norm(along)) / radius, 1e-300))
    low = np.log(max(floor, 1e-300))
    if apart(low) <= 0:
        return vectors @ at(np.exp(low))
    shift = brentq(apart, low, high + 1e-9, xtol=1e-10)
    return vectors @ at(np.exp(float(shift)))  # pyright: ignore[reportArgumentType]


def _by_gradient(function: FitFunction, x, stop: Stop, held: np.ndarray, go_on) -> Fit:
    from scipy.optimize import minimize

    best: list = [None, x]
    seen = 0

    class _Stopped(Exception):
        pass

    def value(own: np.ndarray):
        nonlocal seen
        if not go_on():
            raise _Stopped
        seen += 1
        at = x.copy()
        at[~held] = own
        found = _at(function, at, slopes=True)
        if found is None or found.gradient is None or found.prior_gradient is None:
            return 1e300, np.zeros(len(own))
        if best[0] is None or found.log_posterior > best[0].log_posterior:
            best[:] = [found, at]
        return -found.log_posterior, -(found.gradient + found.prior_gradient)[~held]

    reason = "gain"
    bounds = list(zip(function.lower[~held], function.upper[~held]))
    options = {"maxiter": stop.steps, "ftol": stop.gain, "gtol": stop.slope}
    try:
        done = minimize(value, x[~held], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        reason = "gain" if done.success else "steps" if done.nit >= stop.steps else "step"
    except _Stopped:
        reason = "stopped"
    found, at = best
    if found is None:
        return Fit(x, -np.inf, -np.inf, np.inf, "failed", seen)
    return Fit(at, found.log_posterior, found.llh, found.chi2, reason, seen, found)
