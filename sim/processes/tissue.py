"""Who is whose neighbour, and what the tissue network makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sim.agents.life import radius_of
from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.box import BoxSettings

#: what a network may be told of an edge
EDGE_QUANTITIES = ("distance", "contact")


@dataclass(frozen=True)
class NeighbourRule:
    """What makes two cells neighbours.

    Attributes:
        kind: `radius`, `nearest`, `delaunay` or `contact`.
        radius: largest distance of the centres [um].
        count: how many of the nearest; either_way: whether one of two among the nearest of the other is enough.
        longest: of the edges of the triangulation [um].
        reach: touching is to be at most this many times the sum of both radii apart.
    """

    kind: Literal["radius", "nearest", "delaunay", "contact"] = "radius"
    radius: float = 0.0
    count: int = 0
    either_way: bool = False
    longest: float = math.inf
    reach: float = 1.0


class Neighbourhood:
    """The neighbour graph of the living cells, rebuilt only when somebody moved, grew, came or went.

    Args:
        box: domain, for periodic distances.
        rule: who is whose neighbour; a number is a radius [um].
    """

    def __init__(self, box: BoxSettings, rule: NeighbourRule | float):
        self.box = box
        self.rule = rule if isinstance(rule, NeighbourRule) else NeighbourRule(radius=float(rule))
        self._key: tuple[np.ndarray, ...] | None = None

    def of(self, state, living: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(indptr, indices) over all rows; dying and dead cells have no neighbours."""
        return self.at(state["cell.position"], state["cell.volume"], np.flatnonzero(living), len(state))

    def at(
        self, positions: np.ndarray, volume: np.ndarray, rows: np.ndarray, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `of`, of `rows` among `count` cells at positions (cell, 3) [um], of volume (cell,) [um³]."""
        places = np.ascontiguousarray(positions[rows])
        key = (places, rows, radius_of(volume[rows])) if self._touching else (places, rows)
        known = self._key is not None and len(self._graph[0]) == count + 1  # the dead have rows too
        if not known or not all(np.array_equal(a, b) for a, b in zip(key, self._key or ())):
            self._graph = self._build(key, rows, count)
            self._key = key
        return self._graph

    def between(self, state, graph: tuple[np.ndarray, np.ndarray], names: Sequence[str]) -> np.ndarray:
        """What each edge knows of its two cells (edge, name): `distance` [um], or `contact`, the area in which they
        overlap [um²] (in two dimensions the length [um])."""
        from sim.agents.graphs import edges_of
        from sim.agents.neighbours import Neighbours

        pairs, places = Neighbours(*graph, self.box.periods), state["cell.position"]
        if "contact" not in names:
            known = {"distance": pairs.distances(places)}
        else:
            edges = edges_of(pairs, places, radii=radius_of(state["cell.volume"]), dims=self.box.dims)
            known = {"distance": edges.distance, "contact": edges.contact}
        return np.stack([known[name] for name in names], axis=1)

    # ---- parts

    @property
    def _touching(self) -> bool:
        return self.rule.kind == "contact"

    def _build(self, key: tuple[np.ndarray, ...], rows, count):
        found = self._found(*(key[0], *key[2:]))
        degree = np.zeros(count, dtype=np.int64)
        degree[rows] = np.diff(found.indptr)
        indptr = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(degree, out=indptr[1:])
        return indptr, rows[found.indices].astype(np.int32)

    def _found(self, positions: np.ndarray, radii: np.ndarray | None = None):
        """The graph among cells at `positions`, by the rule."""
        from sim.agents import graphs
        from sim.agents.neighbours import neighbour_graph

        rule, wraps, dims = self.rule, self.box.periods, self.box.dims
        if rule.kind == "nearest":
            return graphs.nearest_graph(
                positions, rule.count, periodic=wraps, dims=dims, mutual=rule.either_way
            )
        if rule.kind == "delaunay":
            return graphs.delaunay_graph(positions, periodic=wraps, dims=dims, longest=rule.longest)
        if radii is not None:
            return graphs.contact_graph(positions, radii, reach=rule.reach, periodic=wraps, dims=dims)
        return neighbour_graph(positions, rule.radius, periodic=wraps, dims=dims)


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
        indptr, indices = signals.graph()
        return self.network.forward_numpy(
            signals.stack(self.node_inputs), indptr, indices, self.edges(state, (indptr, indices))
        )

    def edges(self, state, graph: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """What the network is told of each edge of `graph` (edge, quantity)."""
        return self.neighbourhood.between(state, graph, self.network.edge_inputs)
