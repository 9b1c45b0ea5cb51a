"""Which cells touch, and which are joined by springs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.core.quantity import Quantity
from sim.processes.box import BoxSettings

#: reach of adhesion in units of the sum of two radii (Macklin et al. 2012)
REACH = 1.25


class Contacts:
    """How many cells each cell touches: those within the reach of adhesion, dead ones too.

    The pairs are found anew when somebody moved, grew, came or went; nothing of it outlives the state it was found in.
    """

    def __init__(self, box: BoxSettings, types: Sequence[str]):
        self.box = box
        self.types = tuple(types)
        names = (*(f"of type {t}" for t in types), "living", "dying or dead")
        self.quantities = tuple(
            Quantity(f"contact.{key}", "1", f"{name} cells that touch the cell", "readout")
            for key, name in zip((*self.types, "live", "dead"), names)
        )
        self._version = -1

    def pairs(self, state, signals):
        """The cells that touch each other, as `sim.agents.neighbours.Neighbours`."""
        from sim.agents.neighbours import neighbour_graph

        if self._version != state.version:
            reach, box = REACH * signals["cell.radius"], self.box
            self._pairs = neighbour_graph(state["cell.position"], reach, periodic=box.periods, dims=box.dims)
            self._version = state.version
        return self._pairs

    def count(self, of: str, state, signals) -> np.ndarray:
        """Contacts (cell,) with living cells of a type, all `live` or all `dead` ones."""
        living = signals["cell.living"] > 0
        if of == "dead":
            counted = ~living
        else:
            counted = living if of == "live" else living & (state["cell.type"] == self.types.index(of))
        pairs = self.pairs(state, signals)
        return np.bincount(pairs.rows, weights=counted[pairs.indices], minlength=len(state)).astype(float)


def partner_rows(state) -> np.ndarray:
    """Rows (cell, most) of the living partners in `spring.partners`, which holds ids; -1 for none."""
    ids, partners = state.ids, state["spring.partners"]
    found = np.searchsorted(ids, partners)
    there = (partners >= 0) & (found < len(ids))
    there[there] = ids[found[there]] == partners[there]
    return np.where(there, found, -1)
