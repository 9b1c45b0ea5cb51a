"""Cells of two modalities whose structure is known: all that differs among them is one angle."""

import numpy as np

from neural.encoders import Modality

GENES = Modality("expression", "counts", tuple(f"g{k}" for k in range(12)))
PROTEINS = Modality("protein", "real", tuple(f"p{k}" for k in range(5)))


def cells(n=600, seed=1):
    """Cells on a curve: both modalities follow one hidden angle, in their own way."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    logits = 1.6 * np.cos(angle[:, None] - np.linspace(0, 2 * np.pi, 12, endpoint=False))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    counts = rng.poisson(rng.lognormal(4.2, 0.4, n)[:, None] * shares).astype(float)
    loadings = np.random.default_rng(0).normal(size=(2, 5))
    proteins = 3 + np.stack([np.cos(angle), np.sin(angle)], 1) @ loadings + 0.2 * rng.normal(size=(n, 5))
    return {"expression": counts, "protein": proteins}, shares, angle
