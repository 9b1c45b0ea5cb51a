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
        self.periods = np.array(box.upper) - np.array(box.lower) if box.periodic else None
        if self.periods is not None and box.dims == 2:
            self.periods[2] = 0.0
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

        found = neighbour_graph(positions, self.radius, periodic=self.periods, dims=self.box.dims)
        degree = np.zeros(count, dtype=np.int64)
        degree[rows] = np.diff(found.indptr)
        indptr = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(degree, out=indptr[1:])
        return indptr, rows[found.indices].astype(np.int32)


@dataclass(frozen=True)
class TissueSettings:
    """What a scenario says of the tissue network, and what its card says of itself."""

    weights: Path
    card: Any


class TissueProcess(Process):
    """Messages of each cell from its neighbours' features, by a pair law or a learned one, always of the present
    state."""

    kind = "quasi-steady"

    def __init__(self, settings: TissueSettings, neighbourhood: Neighbourhood, step: float):
        super().__init__("tissue", step)
        self.settings = settings
        self.neighbourhood = neighbourhood
        self.node_inputs: tuple[str, ...] = tuple(q["name"] for q in settings.card.architecture["nodes"])
        self.message_names = tuple(settings.card.message_names)
        self.readouts = tuple(
            Quantity(
                f"tissue.{m['name']}", m["unit"], f"{m['name']} as the tissue network sees it", "readout"
            )
            for m in settings.card.raw["messages"]
        )
        self.reads = ("cell.position", "cell.living", *self.node_inputs)

    def prepare(self, streams) -> None:
        from neural.tissue import LawNetwork, TissueNetwork

        super().prepare(streams)
        kind = LawNetwork if self.settings.card.architecture.get("form") == "factored" else TissueNetwork
        self.network = kind.load(self.settings.weights)
        self._seen: tuple[int, np.ndarray] | None = None

    def advance(self, state, signals, dt: float) -> None:
        """Nothing to carry forward: messages are computed when somebody reads them."""

    def readout(self, name, state, signals) -> np.ndarray:
        if self._seen is None or self._seen[0] != state.version:
            self._seen = (state.version, self._messages(state, signals))
        return self._seen[1][:, self.message_names.index(name.removeprefix("tissue."))]

    def follows(self, name: str) -> tuple[str, ...]:
        return self.node_inputs

    def _messages(self, state, signals) -> np.ndarray:
        from sim.agents.neighbours import Neighbours

        indptr, indices = signals.graph()
        distance = Neighbours(indptr, indices, self.neighbourhood.periods).distances(state["cell.position"])
        known = {"distance": distance, "distance/radius": distance / self.neighbourhood.radius}
        edges = np.stack([known[q] for q in self.network.edge_inputs], axis=1)
        return self.network.forward_numpy(signals.stack(self.node_inputs), indptr, indices, edges)
