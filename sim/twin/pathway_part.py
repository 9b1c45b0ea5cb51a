"""A pathway as torch steps it in all its cells at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from sim.processes.pathway import PathwayProcess

if TYPE_CHECKING:
    from sim.twin.moment import Moment

Tensor = torch.Tensor


class PathwayPart:
    """One pathway in its cells: constants (cell, id) of the scenario, sizes of compartments, and its rate."""

    def __init__(self, process: PathwayProcess, state, rows: np.ndarray):
        self.process, self.rows = process, torch.as_tensor(rows)
        model, settings = process.model, process.settings
        self.field = cast(Any, model.vector_field())
        plain = model.initial_state(1, parameters=dict(settings.set))
        base = np.repeat(model.observe(plain, self.field.constant_ids), len(rows), axis=0)
        for i in process.active:
            base[:, self.field.constant_ids.index(i)] = state[f"{process.name}.{i}"][rows]
        self.constants = torch.from_numpy(base)
        self.scale = torch.from_numpy(process._scale(state, rows))

    def column(self, name: str) -> int:
        """Of an input among the constants."""
        return self.field.constant_ids.index(name.removeprefix(f"{self.process.name}."))

    def size_of(self, state_id: str) -> float | Tensor:
        """What a value of a state is multiplied by to be stored: volume for a species."""
        if state_id not in self.process.network.species_ids:
            return 1.0
        return self.scale * self.process.compartment_size(state_id)

    def rate(self, moment: Moment) -> Callable[[Tensor], Tensor]:
        """d(amounts)/d(model time) with the inputs of now."""
        columns = list(self.constants.unbind(1))
        for i in self.field.constant_ids:
            name = f"{self.process.name}.{i}"
            if moment.is_driven(name):
                columns[self.field.constant_ids.index(i)] = moment.of(name)[self.rows]
        constants = torch.stack(columns, 1)
        return lambda amounts: self.field(0.0, amounts, constants, self.scale)
