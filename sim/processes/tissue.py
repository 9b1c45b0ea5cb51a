"""Who is whose neighbour, and what the tissue network makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.fields import BoxSettings


class Neighbourhood:
    """The neighbour graph of the living cells, rebuilt only when somebody moved, came or went.

    Args:
        box: domain, for periodic distances.
        radius: two cells are neighbours within this distance of their centres [um].
    """

    def __init__(self, box: BoxSettings, radius: float):
        self.box = box
        self.radius = radius
        self._key: tuple[np.ndarray, np.ndarray] | None = None

    def of(self, state, living: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(indptr, indices) over all rows; dying and dead cells have no neighbours."""
        rows = np.flatnonzero(living)
        positions = np.ascontiguousarray(state["cell.position"][rows])
        key = (positions, rows)
        if self._key is None or not all(np.array_equal(a, b) for a, b in zip(key, self._key)):
            self._graph = self._build(positions, rows, len(state))
            self._key = key
        return self._graph

    def _build(self, positions, rows, count):
        from sim.agents.neighbours import neighbour_graph

        lengths = np.array(self.box.upper) - np.array(self.box.lower) if self.box.periodic else None
        found = neighbour_graph(positions, self.radius, periodic=lengths, dims=self.box.dims)
        degree = np.zeros(count, dtype=np.int64)
        degree[rows] = np.diff(found.indptr)
        indptr = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(degree, out=indptr[1:])
        return indptr, rows[found.indices]


@dataclass(frozen=True)
class TissueSettings:
    """What a scenario says of the tissue network, and what its card says of itself."""

    weights: Path
    card: Any


class TissueProcess(Process):
    """One message per cell from its neighbours' features (torch-geometric), always of the present state."""

    kind = "quasi-steady"

    def __init__(self, settings: TissueSettings, neighbourhood: Neighbourhood, step: float):
        super().__init__("tissue", step)
        self.settings = settings
        self.neighbourhood = neighbourhood
        self.readouts = tuple(
            Quantity(f"tissue.{m}", "1", f"{m} as the tissue network sees it", "readout") for m in settings.card.message_names
        )
        self.reads = ("cell.position", "cell.living", *settings.card.node_inputs)

    def prepare(self, streams) -> None:
        from neural.tissue import TissueNetwork

        super().prepare(streams)
        self.network = TissueNetwork.load(self.settings.weights)

    def advance(self, state, signals, dt: float) -> None:
        """Nothing to carry forward: messages are computed when somebody reads them."""

    def readout(self, name, state, signals) -> np.ndarray:
        if getattr(self, "_version", None) != state.version:
            indptr, indices = signals.graph()
            x = signals.stack(self.network.node_inputs)
            rows = np.repeat(np.arange(len(state)), np.diff(indptr))
            offset = self._offset(state["cell.position"], rows, indices)
            distance = np.sqrt((offset**2).sum(axis=1))
            edges = (distance / self.neighbourhood.radius)[:, None]
            self._messages = self.network.forward_numpy(x, indptr, indices, edges)
            self._version = state.version
        return self._messages[:, self.network.message_names.index(name.removeprefix("tissue."))]

    def _offset(self, positions, rows, indices):
        offset = positions[rows] - positions[indices]
        if self.neighbourhood.box.periodic:
            length = np.array(self.neighbourhood.box.upper) - np.array(self.neighbourhood.box.lower)
            offset -= length * np.round(offset / length)
        return offset
