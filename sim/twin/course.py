"""The course of a twin: its state, a step, and what of it is learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from neural.tissue.graph import Rows
from sim.agents.neighbours import VerletList
from sim.core.coupling import Coupling
from sim.core.quantity import component_of
from sim.errors import SimulationError
from sim.processes.contacts import REACH
from sim.processes.manipulator import ManipulatorProcess
from sim.processes.motion import Mechanics, MotionSettings
from sim.processes.pathway import PathwayProcess
from sim.processes.tissue import TissueProcess
from sim.simulation import Simulation
from sim.twin.moment import Moment, learned_key
from sim.twin.pathway_part import PathwayPart
from sim.twin.refusals import without_gradient
from sim.twin.tissue import MechanicsPart, Spreading, moved

if TYPE_CHECKING:
    from sim.build import Plan
    from sim.core.process import Process

Tensor = torch.Tensor


@dataclass(frozen=True)
class TwinState:
    """What a step moves, float64.

    Attributes:
        x: (cell, 3) [um].
        fields: (nz, ny, nx) of each field, in the order of the scenario.
        inner: what each pathway (amounts) and each manipulator (representation) moves, (its cells, columns).
    """

    x: Tensor
    fields: tuple[Tensor, ...]
    inner: tuple[Tensor, ...]

    def detached(self) -> TwinState:
        """The same numbers without their history."""
        return TwinState(
            self.x.detach(), tuple(u.detach() for u in self.fields), tuple(s.detach() for s in self.inner)
        )


class Twin(torch.nn.Module):
    """A planned scenario with cells at given places, stepped with gradients.

    Args:
        plan: of the scenario.
        positions: (cell, 3) [um]; types: (cell,) codes, both in the order of the cells.
        learn: what is to be learned: `pathway.<p>.<id>`, `mechanics.adhesion`, `mechanics.repulsion`, `uptake.<field>`,
            each a number for all cells; `tissue` and `manipulator.<name>`: the numbers of a network.
        step: [min]; parts: Runge-Kutta steps in each.

    Attributes:
        values: learned name -> log of its number (scalars).
        learned: name -> parameters of a network.
        signals, state: the simulator's own, at time 0: what does not move is read there.
        owners: quantity -> its process and what it is; couplings: input -> those that act on it, in order.
        inner, rows: pathways and manipulators, and the rows of their cells; pathways: by name, as torch steps them.
        tissue: the process that passes messages, None without a network.

    Raises:
        SimulationError: the scenario has what has no gradient here; names all of it.
    """

    def __init__(
        self,
        plan: Plan,
        positions: np.ndarray,
        types: np.ndarray,
        *,
        learn: Sequence[str] = (),
        step: float,
        parts: int = 1,
    ):
        super().__init__()
        refused = without_gradient(plan)
        if refused:
            raise SimulationError(f"this scenario has no gradient: {'; '.join(refused)}")
        self.plan, self.dt, self.parts = plan, float(step), parts
        self.simulation = Simulation(plan)
        self.simulation.populate((np.asarray(positions, float), np.asarray(types)))
        self.signals, self.state = self.simulation.signals, self.simulation.state
        self.owners = {q.name: (p, q) for p in plan.processes for q in p.quantities}
        self.couplings: dict[str, list[Coupling]] = {}
        for c in sorted(plan.couplings, key=lambda c: (c.mode != "set", c.index)):
            self.couplings.setdefault(c.target, []).append(c)
        self.inner = [p for p in plan.processes if isinstance(p, PathwayProcess | ManipulatorProcess)]
        self.rows = [np.flatnonzero(p.members(self.state)) for p in self.inner]
        self.pathways = {
            p.name: PathwayPart(p, self.state, r)
            for p, r in zip(self.inner, self.rows)
            if isinstance(p, PathwayProcess)
        }
        self.tissue = next((p for p in plan.processes if isinstance(p, TissueProcess)), None)
        # what has no even solver was refused above
        self._spreading = [
            {h: Spreading(cast(Any, f.solver), h * self.dt) for h in (0.5, 1.0)} for f in plan.fields
        ]
        self._near = VerletList(5.0)
        self._held: dict[int, Tensor] = {}
        self._undriven: dict[str, Tensor] = {}
        self.values = torch.nn.ParameterDict()
        self.learned: dict[str, dict[str, Tensor]] = {}
        for name in learn:
            self._learn(name)

    def start(self) -> TwinState:
        """The state at time 0 as the scenario makes it."""
        state = self.state
        return TwinState(
            torch.from_numpy(state["cell.position"].copy()),
            tuple(torch.from_numpy(state.fields[f.settings.name].copy()) for f in self.plan.fields),
            tuple(torch.from_numpy(state[p.block][rows]) for p, rows in zip(self.inner, self.rows)),
        )

    def forward(self, now: TwinState, steps: int) -> TwinState:
        """The state after `steps` steps."""
        for _ in range(steps):
            now = self._kept(now) if torch.is_grad_enabled() else self.step(now)
        return now

    def step(self, now: TwinState) -> TwinState:
        """One step."""
        middle = self._gone(now, Moment(self, now), 0.5)
        return self._gone(now, Moment(self, middle), 1.0)

    def observed(self, now: TwinState, name: str) -> Tensor:
        """Values (cell,) of a quantity, with gradients; NaN for cells that have it not."""
        return Moment(self, now).of(name)

    def with_observed(self, now: TwinState, name: str, values: Tensor) -> TwinState:
        """The state with a species, a component of a representation set to `values` (cell,).

        Raises:
            SimulationError: it is no such quantity.
        """
        k, column, size = self.place_of(name)
        rows = torch.as_tensor(self.rows[k])
        inner = now.inner[k].clone()
        inner[:, column] = values[rows] * size
        return replace(now, inner=tuple(inner if i == k else s for i, s in enumerate(now.inner)))

    def number(self, name: str) -> float:
        """The learned number of `name` as it is now."""
        return float(self.values[learned_key(name)].detach().exp())

    def network(self, name: str) -> Any:
        """The network of `tissue` or `manipulator.<name>`."""
        process = self.tissue if name == "tissue" else next(p for p in self.inner if p.name == name)
        return process.network  # type: ignore[union-attr]

    def held_by(self, c: Coupling, process: Process) -> Tensor:
        """The cells (cell,) in which a coupling acts on an input of `process`."""
        if c.index not in self._held:
            state = self.state
            where = process.members(state) & self.signals.members_of(c.source)
            if c.types is not None:
                where &= np.isin(state["cell.type"], list(c.types))
            self._held[c.index] = torch.as_tensor(where)
        return self._held[c.index]

    def undriven(self, name: str) -> Tensor:
        """An input (cell,) as it would be without couplings."""
        if name not in self._undriven:
            every = range(len(self.plan.couplings))
            self._undriven[name] = torch.from_numpy(np.array(self.signals.without(name, every), float))
        return self._undriven[name]

    # ---- parts

    def _gone(self, now: TwinState, moment: Moment, share: float) -> TwinState:
        """The state after a share of a step in which all that parts tell each other is as at `moment`."""
        after = []
        for f, u, spreads in zip(self.plan.fields, now.fields, self._spreading):
            given = moment.of(f"export.{f.settings.name}") * moment.living
            after.append(spreads[share].evenly(u, moment.voxel(f), moment.cleared(f), given))
        dt = share * self.dt
        inner = tuple(
            self._inside(p, rows, s, moment, dt) for p, rows, s in zip(self.inner, self.rows, now.inner)
        )
        return TwinState(self._places(now.x, moment, dt), tuple(after), inner)

    def _kept(self, now: TwinState) -> TwinState:
        """A step of which only the state is kept."""
        fields_, inner = len(now.fields), len(now.inner)

        def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            after = self.step(TwinState(x, rest[:fields_], rest[fields_:]))
            return (after.x, *after.fields, *after.inner)

        x, *rest = checkpoint(run, now.x, *now.fields, *now.inner, use_reentrant=False)  # type: ignore[misc]
        return TwinState(x, tuple(rest[:fields_]), tuple(rest[fields_ : fields_ + inner]))

    def _learn(self, name: str) -> None:
        if name == "tissue":
            if self.tissue is None:
                raise SimulationError("tissue: the scenario has no tissue network to learn")
            self.learned[name] = self.tissue.network.learnable()
        elif name.startswith("manipulator."):
            process = next((p for p in self.inner if p.name == name), None)
            if not isinstance(process, ManipulatorProcess):
                raise SimulationError(f"{name}: the scenario has no such manipulator")
            self.learned[name] = process.network.learnable()
        else:
            number = self._number_of(name)
            if not number > 0:
                raise SimulationError(
                    f"{name}: is {number:g} in the scenario; what is learned begins above 0"
                )
            self.values[learned_key(name)] = torch.nn.Parameter(
                torch.tensor(np.log(number), dtype=torch.float64)
            )
        for tensors in self.learned.values():
            for tensor in tensors.values():
                tensor.requires_grad_(True)

    def _number_of(self, name: str) -> float:
        """The number of a learnable name in the scenario, its mean where cells differ."""
        family = name.split(".")[0]
        if family not in ("pathway", "mechanics", "uptake") or name not in self.owners:
            from sim.spelling import did_you_mean

            known = [n for n, (_, q) in self.owners.items() if q.role == "input"]
            raise SimulationError(f"{name}: no number of the scenario{did_you_mean(name, known)}")
        process, quantity = self.owners[name]
        if quantity.role != "input" or self.couplings.get(name):
            raise SimulationError(f"{name}: is driven or computed, so it is no number that can be learned")
        if isinstance(process, PathwayProcess):
            part = self.pathways[process.name]
            return float(part.constants[:, part.column(name)].mean())
        return float(self.signals[name][process.members(self.state)].mean())

    def place_of(self, name: str) -> tuple[int, int, float | Tensor]:
        """Which inner part, which column of it, and what a value is multiplied by to be stored.

        Raises:
            SimulationError: the quantity is no species and no component of a representation.
        """
        component = component_of(name)
        for k, p in enumerate(self.inner):
            if isinstance(p, PathwayProcess) and name.startswith(f"{p.name}."):
                part, short = self.pathways[p.name], name.removeprefix(f"{p.name}.")
                if short in p.network.state_ids:
                    return k, p.network.state_ids.index(short), part.size_of(short)
            if component is not None and p.block == component[0]:
                return k, component[1], 1.0
        raise SimulationError(f"{name}: is no species or representation that moves by itself")

    def _inside(self, p: Any, rows: np.ndarray, s: Tensor, moment: Moment, dt: float) -> Tensor:
        """A pathway or a representation after `dt` [min], its inputs held."""
        if isinstance(p, PathwayProcess):
            rate: Callable[[Tensor], Tensor] = self.pathways[p.name].rate(moment)
            dt = dt / p.settings.minutes_per_unit
        else:
            conditions = moment.table([f"condition.{c}" for c in p.condition_names])[rows]
            told = moment.table([f"message.{m}" for m in p.message_names])[rows]

            rate = partial(p.network.vector_field, conditions=conditions, message=told)
        living = moment.living[torch.as_tensor(rows)][:, None]
        h = dt / self.parts
        for _ in range(self.parts):
            k1 = rate(s)
            k2 = rate(s + 0.5 * h * k1)
            k3 = rate(s + 0.5 * h * k2)
            s = s + h / 6 * living * (k1 + 2 * k2 + 2 * k3 + rate(s + h * k3))
        return s

    def _places(self, x: Tensor, moment: Moment, dt: float) -> Tensor:
        box, fixed = self.plan.box, np.isin(self.state["cell.type"], list(self._motion.fixed))
        if fixed.all():
            return x
        radii = torch.from_numpy(np.ascontiguousarray(self.signals["cell.radius"]))
        part = MechanicsPart(
            radii, moment.of("mechanics.repulsion"), moment.of("mechanics.adhesion"), REACH, self.parts
        )
        periodic = box.periods
        widest = 2.2 * REACH * float(radii.max())
        graph = self._near.neighbours(x.detach().numpy(), widest, periodic=periodic, dims=box.dims)
        after = moved(x, part, Rows(graph.indptr, graph.indices), dt, periodic)
        free = torch.as_tensor(~fixed)[:, None]
        after = torch.where(free, after, x)
        low, high = torch.tensor(box.lower), torch.tensor(box.upper)
        if periodic is not None:
            # whole periods come off, so that places are told as the simulator tells them
            wide = torch.from_numpy(periodic)
            return after - torch.where(wide > 0, wide * torch.floor((after.detach() - low) / wide), 0.0)
        inside = torch.minimum(torch.maximum(after, low), high)
        return torch.where(torch.arange(3) < box.dims, inside, after)

    @property
    def _motion(self) -> MotionSettings:
        return next(p for p in self.plan.processes if isinstance(p, Mechanics)).settings
