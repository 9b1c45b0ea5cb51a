"""What passes the membrane between a field and a pathway."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.pathway import PathwayProcess


class Membrane(Process):
    """A species that passes the membrane: field and pathway exchange amounts, none is made or lost.

    The inside of the membrane is the pathway's species; the model's concentration is taken to be in the field's
    unit, so the cell's reference volume stands for the model's compartment.
    """

    def __init__(
        self,
        field_process,
        pathway: PathwayProcess,
        species: str,
        permeability: Mapping[int, float],
        step: float,
    ):
        name = field_process.settings.name
        super().__init__(f"membrane.{name}.{species}", step, pathway.types)
        self.field = field_process
        self.pathway = pathway
        self.column = pathway.network.state_ids.index(species)
        self.species = species
        self.inputs = (
            Quantity(
                f"permeability.{name}",
                "1/min",
                f"permeability of the membrane for {name}",
                "input",
                by_type=permeability,
            ),
        )
        self.reads = (
            f"field.{name}",
            "cell.position",
            "cell.volume",
            "cell.living",
            f"pathway.{pathway.settings.name}.{species}",
        )

    def prepare(self, streams) -> None:
        super().prepare(streams)
        size = self.pathway.compartment_size(self.species)
        self.per_model_amount = {
            code: volume / size for code, volume in self.pathway.reference_volume.items()
        }

    def advance(self, state, signals, dt: float) -> None:
        from mechanistic.fields import membrane_exchange

        rows = np.flatnonzero(self.members(state))
        if not rows.size:
            return
        grid = self.field.grid
        factor = np.array([self.per_model_amount[int(code)] for code in state["cell.type"][rows]])
        inside = state[self.pathway.block][rows, self.column] * factor
        permeability = (signals[self.inputs[0].name] * signals["cell.living"])[rows]
        membrane_exchange(
            state.fields[self.field.settings.name],
            grid.voxel_of(state["cell.position"][rows]),
            state["cell.volume"][rows],
            permeability,
            inside,
            dt,
            grid.voxel_volume,
        )
        state[self.pathway.block][rows, self.column] = inside / factor
