"""One step of collocation at the Radau points: order 9 at its end, a polynomial of degree 5 along it.

Radau IIA with five stages (E. Hairer & G. Wanner, Solving Ordinary Differential Equations II, 2nd ed., Springer
1996, IV.5 and IV.8). The polynomial is what delays look up (N. Guglielmi & E. Hairer, Computing 67, 1, 2001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STAGES = 5
_REAL_EIGENVALUE = 6.286704751729276  # of the inverse of the method's matrix
_ITERATIONS = 12
_ENOUGH = 1e-3  # of the tolerance, left in the stages
_DENSE = 250  # stages times states; beyond, the matrix is factorised as a sparse one


def _points() -> np.ndarray:
    """The Radau points in (0, 1], of which the last is 1."""
    series = np.zeros(STAGES + 1)
    series[-2:] = -1.0, 1.0
    points = (1.0 + np.sort(np.polynomial.legendre.legroots(series).real)) / 2.0
    points[-1] = 1.0
    return points


POINTS = _points()
_POWERS = np.arange(STAGES)
_MATRIX = (POINTS[:, None] ** (_POWERS + 1) / (_POWERS + 1)) @ np.linalg.inv(POINTS[:, None] ** _POWERS)
_NODES = np.concatenate([[0.0], POINTS])
_COEFFICIENTS = np.linalg.inv(_NODES[:, None] ** np.arange(STAGES + 1))


@dataclass
class Step:
    """The polynomial over one step from `start`, of length `h`, that holds up to `end`.

    Attributes:
        values: (1 + STAGES, state) at the start and the stages.
    """

    start: float
    h: float
    end: float
    values: np.ndarray

    def at(self, times: np.ndarray) -> np.ndarray:
        """(time, state) at `times` (time,)."""
        fraction = (np.asarray(times) - self.start) / self.h
        return fraction[:, None] ** np.arange(STAGES + 1) @ (_COEFFICIENTS @ self.values)

    def slope_at_start(self) -> np.ndarray:
        return _COEFFICIENTS[1] @ self.values / self.h


class NoConvergence(ArithmeticError):
    """The stages of a step could not be found: it is too long."""


def step(
    rates: Callable[[np.ndarray, np.ndarray], np.ndarray],
    jacobian: np.ndarray,
    start: float,
    state: np.ndarray,
    first: np.ndarray,
    h: float,
    guess: Step,
    rtol: float,
    atol: np.ndarray,
) -> tuple[Step, float]:
    """The step of length `h` and its error, of which up to 1 is within the tolerance.

    Args:
        rates: of times (m,) and states (m, state): (m, state). `guess.values` follows the iteration, for rates
            that look into the step itself.
        jacobian: (state, state) of the rates at the start.
        state, first: (state,) at the start, and its rates.
        guess: a first guess, which is overwritten.
        rtol, atol: the error that is allowed, atol (state,), relative to the larger of both ends of the step.

    Raises:
        NoConvergence: the iteration did not settle.
    """
    size = len(state)
    times = start + POINTS * h
    solve = _factorised(np.eye(STAGES * size) if STAGES * size <= _DENSE else None, jacobian, h)
    last, previous = None, np.inf
    for _ in range(_ITERATIONS):
        stages = guess.values[1:]
        residual = (stages - state) - h * _MATRIX @ rates(times, stages)
        change = solve(residual.ravel()).reshape(STAGES, size)
        if not np.all(np.isfinite(change)):
            raise NoConvergence
        guess.values[1:] = stages - change
        # not the first guess's: a wild one would allow anything
        scale = atol + rtol * np.maximum(np.abs(state), np.abs(guess.values[-1]))
        now = float(np.sqrt(np.mean((change / scale) ** 2)))
        if last is not None:
            ratio = now / last if last > 0 else 0.0
            if ratio > 2.0 or (ratio >= 1.0 and now > _ENOUGH * 10):
                raise NoConvergence
            if now * min(ratio, 0.99) / (1.0 - min(ratio, 0.99)) <= _ENOUGH:
                break
        if now <= 1e-3 * _ENOUGH or (now <= _ENOUGH and now >= previous):
            break
        last = previous = now
    else:
        raise NoConvergence
    return guess, _error(guess, jacobian, first, h, scale)


def _factorised(identity: np.ndarray | None, jacobian: np.ndarray, h: float):
    """Solves with 1 - h (matrix ⊗ jacobian)."""
    if identity is not None:
        from scipy.linalg import lu_factor, lu_solve

        factors = lu_factor(identity - h * np.kron(_MATRIX, jacobian), check_finite=False)
        return lambda right: lu_solve(factors, right, check_finite=False)
    from scipy.sparse import csc_matrix, kron
    from scipy.sparse import identity as eye
    from scipy.sparse.linalg import splu

    matrix = eye(STAGES * len(jacobian), format="csc") - h * kron(_MATRIX, csc_matrix(jacobian), format="csc")
    return splu(csc_matrix(matrix)).solve


def _error(done: Step, jacobian: np.ndarray, first: np.ndarray, h: float, scale: np.ndarray) -> float:
    """By the formula of order 5 that takes the rates at the start too (Hairer & Wanner, IV.8)."""
    gamma = h / _REAL_EIGENVALUE
    raw = gamma * (first - done.slope_at_start())
    filtered = np.linalg.solve(np.eye(len(raw)) - gamma * jacobian, raw)
    size = float(np.sqrt(np.mean((filtered / scale) ** 2)))
    return size if np.isfinite(size) else np.inf
