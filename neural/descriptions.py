"""What is known of drugs beside their effects: targets, fingerprints, anything in numbers; and how alike they are.

A drug that was never given is asked for by its description: drugs alike in theirs are expected to be alike in what they
do, as far as leaving out the drugs that were given bears that out (`Choice.alike` of `neural.perturbation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neural.tables import read_measurements


def read_descriptions(path: Path, drugs: Sequence[str]) -> np.ndarray:
    """(drug, feature) of a sheet with a column `drug` and columns of numbers, a row for each drug.

    Raises:
        KeyError: no column `drug`.
        ValueError: a drug is lacking or described twice, or the numbers are not finite.
    """
    table = read_measurements(path)
    names = table.column("drug").astype(str).tolist()
    features, _ = table.matrix(leave=["drug"])
    for drug in drugs:
        if names.count(drug) != 1:
            times = "is not" if drug not in names else "is more than once"
            raise ValueError(f"drug '{drug}' {times} in {path.name}; give it one row")
    if not np.isfinite(features).all():
        raise ValueError(f"{path.name} has values that are not finite")
    return features[[names.index(drug) for drug in drugs]]


def likeness(features: np.ndarray) -> np.ndarray:
    """(drug, drug) cosine of descriptions, 0 where they point apart, 1 on the diagonal (of bits: Ochiai)."""
    size = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(size > 0, size, 1.0)
    out = np.maximum(unit @ unit.T, 0.0)
    np.fill_diagonal(out, 1.0)
    return out
