"""How well a model foretells molecules it has not seen: count cross-validation by thinning.

Each molecule of a cell goes to one of two halves by a coin. If counts are Poisson given the cell's state the
halves are independent given it, so that one half may judge what was concluded from the other (Batson, Royer and
Webber 2019, doi:10.1101/786269). Every model is judged alike: by the shares of the features that it decodes.
"""

from __future__ import annotations

import numpy as np

_LEAST = 1e-12  # share that a model is charged for what it holds impossible


def halves(counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The molecules of each cell (cell, feature) in two halves."""
    first = np.random.default_rng(seed).binomial(np.asarray(counts, np.int64), 0.5)
    return first.astype(float), counts - first


def per_molecule(counts: np.ndarray, shares: np.ndarray) -> float:
    """Mean log probability of a molecule [nat] under the shares (cell, feature) of its cell."""
    return float((counts * np.log(np.maximum(shares, _LEAST))).sum() / counts.sum())
