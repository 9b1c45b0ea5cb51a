"""Numbers that are said by cell type, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def by_type(values: Mapping[int, float], types: np.ndarray, default: float = 0.0) -> np.ndarray:
    """(cell,) what `values` has under each cell's type code, `default` where it has nothing."""
    out = np.full(len(types), float(default))
    for code, value in values.items():
        out[types == code] = value
    return out
