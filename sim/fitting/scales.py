"""Parameters on the scale on which they are fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BASE = {"log": np.log, "log10": np.log10}


def scaled(values: np.ndarray, scales: Sequence[str]) -> np.ndarray:
    """Values to their scales; -inf for the logarithm of 0."""
    with np.errstate(divide="ignore"):
        return np.array([_BASE[s](v) if s in _BASE else v for v, s in zip(values, scales)], dtype=float)


def unscaled(scaled_values: np.ndarray, scales: Sequence[str]) -> np.ndarray:
    """Back to values."""
    with np.errstate(over="ignore"):
        return np.array(
            [
                np.exp(v) if s == "log" else 10.0**v if s == "log10" else v
                for v, s in zip(scaled_values, scales)
            ],
            dtype=float,
        )


def slopes(values: np.ndarray, scales: Sequence[str]) -> np.ndarray:
    """d(value) / d(scaled value)."""
    by = {"log": 1.0, "log10": np.log(10.0)}
    return np.array([v * by[s] if s in by else 1.0 for v, s in zip(values, scales)], dtype=float)
