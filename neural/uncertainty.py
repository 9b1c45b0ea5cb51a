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
