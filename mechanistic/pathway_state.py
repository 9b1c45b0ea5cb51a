"""What the cells of a tissue remember of one pathway between two calls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class PathwayState:
    """What the cells of a tissue remember of one pathway. Plain arrays, one row a cell; rows may be moved.

    Attributes:
        amounts: (cell, state_ids) [model substance]; a species as its amount, a compartment at scale 1, a
            parameter that changes in time by its value.
        parameters: (cell, active) what is set cell by cell; a boundary species as it stands in math.
        active: ids of the columns of `parameters`.
        scale: (cell,) volume of the cell relative to the model's; every compartment is multiplied by it, so
            raising it dilutes.
        time: (cell,) [model time].
        step: (cell,) the integrator's last step [model time], 0 where there is none yet.
        memory: (cell, width) what lives on of events between two calls, see `mechanistic.event_memory`; made by the
            first call.
        past: (cell, width) what delays in math look back to, see `mechanistic.past_memory`; None for a model without
            delays and fast reactions.
    """

    amounts: np.ndarray
    parameters: np.ndarray
    active: tuple[str, ...]
    scale: np.ndarray
    time: np.ndarray
    step: np.ndarray | None = None
    memory: np.ndarray | None = None
    past: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.step is None:
            self.step = np.zeros(len(self.amounts))

    def __len__(self) -> int:
        return len(self.amounts)
