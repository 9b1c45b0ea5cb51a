"""Curves of one number as sums of cubic B-splines: linear in what is learned, and drawn as they are."""

from __future__ import annotations

import torch


def cubic_splines(x: torch.Tensor, low: torch.Tensor, high: torch.Tensor, pieces: int) -> torch.Tensor:
    """The pieces + 3 cubic B-splines over evenly spaced knots from low to high, at x (...,) -> (..., pieces + 3).

    They sum to 1. Beyond the ends they keep their values at the ends. low and high broadcast with x.
    """
    t = ((x - low) / (high - low)).clamp(0, 1) * pieces
    away = (t[..., None] - torch.arange(-1, pieces + 2, dtype=x.dtype, device=x.device)).abs()
    near, far = (1 - away).clamp_min(0), (2 - away).clamp_min(0)
    return (far * far * far - 4 * (near * near * near)) / 6


def bends(count: int) -> torch.Tensor:
    """(count - 2, count) second differences of neighbouring coefficients: what a smooth curve has little of."""
    rows = torch.zeros(count - 2, count, dtype=torch.float64)
    for k in range(count - 2):
        rows[k, k : k + 3] = torch.tensor([1.0, -2.0, 1.0])
    return rows
