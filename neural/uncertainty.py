"""Intervals that hold: split conformal prediction over held-out residuals."""

from __future__ import annotations

import numpy as np


def conformal_quantile(scores: np.ndarray, level: float) -> float:
    """The score that a new one stays below with probability `level`.

    Args:
        scores: non-negative conformity scores of held-out data, (unit, ...); NaN are left out. Values
            within one unit (the frames of one well) are correlated, so the finite-sample correction counts
            units, not values.
        level: for example 0.9.

    Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World (2005); split conformal, with the
    correction ceil((n + 1) level) / n for n units.
    """
    flat = np.asarray(scores, float).reshape(len(scores), -1)
    units = int(np.isfinite(flat).any(1).sum())
    if not units:
        raise ValueError("no held-out scores to calibrate an interval with")
    corrected = min(1.0, np.ceil((units + 1) * level) / units)
    return float(np.quantile(flat[np.isfinite(flat)], corrected))


def coverage(observed: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
    """Share of the observed (not NaN) values that lie inside their intervals."""
    seen = np.isfinite(observed)
    return float(((observed >= lower) & (observed <= upper))[seen].mean())


def value_of_measuring(covariance: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
    """How much a measurement of each row would help all rows: share of their summed variance that it removes.

    Args:
        covariance: (m, m) of what is not known of the rows.
        noise: variance of a measurement, one or (m,).

    Source: Cohn, Ghahramani, Jordan, J. Artif. Intell. Res. 4 (1996), choosing data by the expected variance left;
    exact for Gaussians.
    """
    own = np.maximum(np.diag(covariance), 0.0)
    return _share((covariance**2).sum(1), own, noise)


def value_by_members(apart: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
    """`value_of_measuring` where members (m, member) of an ensemble stand for what is not known.

    Args:
        apart: how far each member is from the ensemble's mean.
        noise: as above.

    The covariance apart apart' / members is never built: memory goes with the rows, not with their square.
    """
    members = apart.shape[1]
    between = apart.T @ apart / members
    squares = np.einsum("im,mk,ik->i", apart, between, apart) / members
    return _share(squares, (apart**2).mean(1), noise)


def _share(squares: np.ndarray, own: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
    return squares / np.maximum(own + noise, 1e-300) / max(float(own.sum()), 1e-300)
