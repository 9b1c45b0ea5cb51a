"""Populations between two snapshots, by optimal transport that allows for birth and death.

Cells are not followed from one snapshot to the next; a transport plan says which earlier cell most cheaply
becomes which later one. Marginals may be violated at a price (growth, death, uneven sampling), which keeps
a cell from being sent far only to balance the books.
"""

from __future__ import annotations

import numpy as np

# price of violating a marginal and of entropy, in units of the median squared distance
RELAXATION = 0.5
SMOOTHING = 0.02


def plan(
    early: np.ndarray,
    late: np.ndarray,
    relaxation: float = RELAXATION,
    smoothing: float = SMOOTHING,
    iterations: int = 500,
) -> np.ndarray:
    """Transport plan (n, m) between cells `early` (n, d) and `late` (m, d), squared distance as cost.

    Minimises <C, P> + smoothing KL(P | uniform) + relaxation (KL(P 1 | uniform) + KL(P' 1 | uniform)), all in
    units of the median cost; `relaxation` infinite keeps both marginals.

    Source: Chizat, Peyré, Schmitzer, Vialard, Math. Comp. 87 (2018), scaling algorithms for unbalanced
    optimal transport, in the log domain.
    """
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    cost = cdist(early, late, "sqeuclidean")
    cost /= max(float(np.median(cost)), 1e-300)
    soft = 1.0 if np.isinf(relaxation) else relaxation / (relaxation + smoothing)
    a, b = -np.log(len(early)), -np.log(len(late))
    f, g = np.zeros(len(early)), np.zeros(len(late))
    for _ in range(iterations):
        f = -soft * smoothing * logsumexp((g[None] - cost) / smoothing + b, axis=1)
        new = -soft * smoothing * logsumexp((f[:, None] - cost) / smoothing + a, axis=0)
        moved = float(np.abs(new - g).max())
        g = new
        if moved < 1e-4:
            break
    return np.exp((f[:, None] + g[None] - cost) / smoothing + a + b)


def pairs(weights: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`count` pairs (i, j) drawn from a plan (n, m), evenly spread over its mass."""
    mass = np.cumsum(weights.ravel())
    at = (np.arange(count) + rng.random(count)) / count * mass[-1]
    chosen = np.minimum(np.searchsorted(mass, at), weights.size - 1)
    return np.unravel_index(chosen, weights.shape)  # type: ignore[return-value]


def predict_population(snapshots: list[np.ndarray | None], k: int, seed: int = 0) -> np.ndarray:
    """Cells (n, d) expected at snapshot `k`, which is None, from the nearest snapshots on both sides.

    Raises:
        ValueError: no snapshot before or after `k`.
    """
    known = [i for i, cells in enumerate(snapshots) if cells is not None and i != k]
    if not known or k < known[0] or k > known[-1]:
        raise ValueError(f"snapshot {k} has no snapshot on both sides (known: {known})")
    before, after = max(i for i in known if i < k), min(i for i in known if i > k)
    early, late = np.asarray(snapshots[before]), np.asarray(snapshots[after])
    weight = (k - before) / (after - before)
    rng = np.random.default_rng(seed)
    i, j = pairs(plan(early, late), max(len(early), len(late)), rng)
    return (1 - weight) * early[i] + weight * late[j]
