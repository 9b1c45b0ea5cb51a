"""Values that are not finite are stopped before they reach a kernel: there they would spread, or hang it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.core.state import State
from sim.errors import SimulationError


def require_finite(process: str, state: State, values: Mapping[str, np.ndarray]) -> None:
    """Check arrays (cell, …) by the name of their quantity.

    Raises:
        SimulationError: naming process, quantity, cell and time.
    """
    for name, array in values.items():
        if not np.isfinite(array).all():
            bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
            raise SimulationError(
                f"{process}: '{name}' of cell {state.ids[np.argmax(bad)]} is not finite at t = {state.time:g} min"
            )
