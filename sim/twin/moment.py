"""What each quantity is at one state of a twin: readouts, inputs under couplings, neighbours, messages, decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from sim.core.quantity import aggregate_of
from sim.errors import SimulationError
from sim.processes.manipulator import ManipulatorProcess
from sim.processes.pathway import PathwayProcess

if TYPE_CHECKING:
    from sim.processes.box import BoxSettings
    from sim.processes.fields import FieldProcess
    from sim.twin.course import Twin, TwinState

Tensor = torch.Tensor


class Moment:
    """The value of any quantity in every cell at one state, with gradients, each computed once."""

    def __init__(self, twin: Twin, now: TwinState):
        self._twin, self._now = twin, now
        self._known: dict[str, Tensor] = {}
        self.living = torch.from_numpy(np.asarray(twin.signals["cell.living"], float))
        self._graph: tuple[np.ndarray, np.ndarray] | None = None

    def of(self, name: str) -> Tensor:
        """Values (cell,)."""
        if name not in self._known:
            self._known[name] = self._value(name)
        return self._known[name]

    def table(self, names: Sequence[str]) -> Tensor:
        """Values (cell, name)."""
        return torch.stack([self.of(n) for n in names], 1) if names else torch.zeros(len(self.living), 0)

    def is_driven(self, name: str) -> bool:
        """Whether couplings act on an input, or it is learned."""
        return bool(self._twin.couplings.get(name)) or learned_key(name) in self._twin.values

    def voxel(self, field: FieldProcess) -> Tensor:
        return torch.as_tensor(field.grid.voxel_of(self._now.x.detach().numpy()))

    def cleared(self, field: FieldProcess) -> Tensor:
        """Volume that each cell clears of a field per time (cell,) [um³/min]."""
        volume = torch.from_numpy(np.ascontiguousarray(self._twin.signals["cell.volume"]))
        return self.of(f"uptake.{field.settings.name}") * volume * self.living

    # ---- how a value comes about

    def _value(self, name: str) -> Tensor:
        twin, now = self._twin, self._now
        aggregate = aggregate_of(name)
        if aggregate is not None:
            if aggregate.over == "tissue" or aggregate.how == "sd":
                raise SimulationError(f"{name}: has no gradient here")
            return self._over_neighbours(aggregate.how, aggregate.of)
        family = name.split(".")[0]
        if family == "field":
            k = next(k for k, f in enumerate(twin.plan.fields) if f.name == name)
            return now.fields[k].reshape(-1)[self.voxel(twin.plan.fields[k])]
        if family == "tissue":
            return self._told(name)
        if family == "decoder":
            return self._decoded(name)
        process, quantity = twin.owners.get(name, (None, None))
        if quantity is not None and quantity.role == "input":
            return self._input(name)
        if family in ("pathway", "ur"):
            k, column, size = twin.place_of(name)
            here = torch.full((len(self.living),), torch.nan, dtype=torch.float64)
            return here.index_put((torch.as_tensor(twin.rows[k]),), now.inner[k][:, column] / size)
        if process is not None and family == "cell" and quantity is not None and not quantity.width:
            return torch.from_numpy(np.array(twin.signals[name], float))
        raise SimulationError(f"{name}: has no gradient here")

    def _input(self, name: str) -> Tensor:
        twin = self._twin
        process, _ = twin.owners[name]
        learned = twin.values[learned_key(name)].exp() if learned_key(name) in twin.values else None
        if isinstance(process, PathwayProcess):
            part = twin.pathways[process.name]
            own = part.constants[:, part.column(name)]
            value = torch.full((len(self.living),), torch.nan, dtype=torch.float64)
            # where cells differ, they go on differing by the same factors
            value = value.index_put((part.rows,), own if learned is None else own * (learned / own.mean()))
        else:
            value = twin.undriven(name)
            value = value if learned is None else learned.expand(len(value))
        for c in twin.couplings.get(name, ()):
            answer = cast(Any, c.response)(self.of(c.source) * c.factor)
            if c.mode != "set":
                answer = value + answer if c.mode == "add" else value * answer
            value = torch.where(twin.held_by(c, process), answer, value)
        return value

    def _neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        if self._graph is None:
            at = self._now.x.detach().numpy()
            living = self.living.numpy() > 0
            self._graph = self._twin.plan.neighbourhood.at(
                at, self._twin.state["cell.volume"], np.flatnonzero(living), len(at)
            )
        return self._graph

    def _over_neighbours(self, how: str, of: str) -> Tensor:
        indptr, indices = self._neighbours()
        receiver = torch.as_tensor(np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)))
        sender, nothing = torch.as_tensor(indices.astype(np.int64)), torch.zeros_like(self.living)
        if how == "count":
            code = self._twin.plan.type_names.index(of)
            has = torch.as_tensor(self._twin.state["cell.type"] == code).double()
            return nothing.index_add(0, receiver, has[sender])
        has = torch.as_tensor(self._twin.signals.members_of(of))
        values = torch.where(has, self.of(of), 0.0)
        total = nothing.index_add(0, receiver, values[sender])
        if how == "sum":
            return total
        return total / nothing.index_add(0, receiver, has.double()[sender]).clamp_min(1.0)

    def _told(self, name: str) -> Tensor:
        process = self._twin.tissue
        assert process is not None
        if "tissue" not in self._known:
            indptr, indices = self._neighbours()
            receiver = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
            edges = torch.as_tensor(np.stack([indices, receiver]).astype(np.int64))
            away = nearest_images(self._now.x[edges[0]] - self._now.x[edges[1]], self._twin.plan.box)
            distance = (away.square().sum(1) + 1e-24).sqrt()
            self._known["tissue"] = process.network.forward(
                self.table(process.node_inputs), edges, distance[:, None]
            )
        return self._known["tissue"][:, process.message_names.index(name.removeprefix("tissue."))]

    def _decoded(self, name: str) -> Tensor:
        twin = self._twin
        for k, p in enumerate(twin.inner):
            if isinstance(p, ManipulatorProcess) and name in {q.name for q in p.readouts}:
                rows = torch.as_tensor(twin.rows[k])
                told = self.table([f"message.{m}" for m in p.message_names])[rows]
                rates = p.network.rates(self._now.inner[k], told)
                column = p.network.decoder_names.index(name.removeprefix("decoder."))
                here = torch.full((len(self.living),), torch.nan, dtype=torch.float64)
                return here.index_put((rows,), rates[:, column])
        raise SimulationError(f"{name}: has no gradient here")


def nearest_images(away: Tensor, box: BoxSettings) -> Tensor:
    """Differences (n, 3) to the nearest images."""
    if box.periods is None:
        return away
    wide = torch.from_numpy(box.periods)
    return away - torch.where(wide > 0, wide * torch.round(away.detach() / wide), 0.0)


def learned_key(name: str) -> str:
    """Torch wants no dots in the names of parameters."""
    return name.replace(".", "/")
