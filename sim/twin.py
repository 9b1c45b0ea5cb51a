"""A scenario as one differentiable function: its fields, mechanics, pathways, manipulators, network and couplings.

    twin = Twin(plan(scenario), positions, types, learn=("pathway.p.k", "mechanics.adhesion"), step=5.0)
    now = twin.start()
    later = twin(now, steps=6)          # gradients to twin.values and to everything in `now`

In each step every part moves by itself (fields by the simulator's own solver, pathways and representations by the
classical Runge-Kutta method, cells by Heun's) while what the parts tell each other is held as it is in the middle of
the step, to where a first half step leads (the midpoint rule). The simulator does the same in half steps around each
other: both are of second order and agree as the step shrinks. Of a step no more is kept than the state: the rest is
computed again on the way back, and memory goes with cells and steps.

Division, death, growth and drawn numbers are left out; what else has no gradient here is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from neural.tissue.graph import Rows
from sim.agents.neighbours import VerletList
from sim.core.coupling import Coupling, Hill, Identity, Linear
from sim.core.quantity import aggregate_of, component_of
from sim.errors import SimulationError
from sim.gradients import MechanicsPart, Spreading, moved
from sim.processes.manipulator import ManipulatorProcess
from sim.processes.motion import REACH
from sim.processes.pathway import Membrane, PathwayProcess
from sim.processes.tissue import TissueProcess
from sim.simulation import Simulation

if TYPE_CHECKING:
    from sim.build import Plan
    from sim.core.process import Process
    from sim.processes.fields import FieldProcess

Tensor = torch.Tensor
#: what mechanics may be set to do and the twin does too; crawling cells are told by their speed
_MOTION = {"repulsion", "adhesion", "fixed", "speed", "persistence", "bias", "towards", "raw", "crawling"}


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
        self._signals, self._state = self.simulation.signals, self.simulation.state
        self._owners = {q.name: (p, q) for p in plan.processes for q in p.quantities}
        self._couplings: dict[str, list[Coupling]] = {}
        for c in sorted(plan.couplings, key=lambda c: (c.mode != "set", c.index)):
            self._couplings.setdefault(c.target, []).append(c)
        self._inner = [p for p in plan.processes if isinstance(p, PathwayProcess | ManipulatorProcess)]
        self._rows = [np.flatnonzero(p.members(self._state)) for p in self._inner]
        self._pathways = {
            p.name: _PathwayPart(p, self._state, r)
            for p, r in zip(self._inner, self._rows)
            if isinstance(p, PathwayProcess)
        }
        self._tissue = next((p for p in plan.processes if isinstance(p, TissueProcess)), None)
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
        state = self._state
        return TwinState(
            torch.from_numpy(state["cell.position"].copy()),
            tuple(torch.from_numpy(state.fields[f.settings.name].copy()) for f in self.plan.fields),
            tuple(torch.from_numpy(state[p.block][rows]) for p, rows in zip(self._inner, self._rows)),
        )

    def forward(self, now: TwinState, steps: int) -> TwinState:
        """The state after `steps` steps."""
        for _ in range(steps):
            now = self._kept(now) if torch.is_grad_enabled() else self.step(now)
        return now

    def step(self, now: TwinState) -> TwinState:
        """One step."""
        middle = self._gone(now, _Moment(self, now), 0.5)
        return self._gone(now, _Moment(self, middle), 1.0)

    def observed(self, now: TwinState, name: str) -> Tensor:
        """Values (cell,) of a quantity, with gradients; NaN for cells that have it not."""
        return _Moment(self, now).of(name)

    def with_observed(self, now: TwinState, name: str, values: Tensor) -> TwinState:
        """The state with a species, a component of a representation set to `values` (cell,).

        Raises:
            SimulationError: it is no such quantity.
        """
        k, column, size = self.place_of(name)
        rows = torch.as_tensor(self._rows[k])
        inner = now.inner[k].clone()
        inner[:, column] = values[rows] * size
        return replace(now, inner=tuple(inner if i == k else s for i, s in enumerate(now.inner)))

    def number(self, name: str) -> float:
        """The learned number of `name` as it is now."""
        return float(self.values[learned_key(name)].detach().exp())

    def network(self, name: str) -> Any:
        """The network of `tissue` or `manipulator.<name>`."""
        process = self._tissue if name == "tissue" else next(p for p in self._inner if p.name == name)
        return process.network  # type: ignore[union-attr]

    def held_by(self, c: Coupling, process: Process) -> Tensor:
        """The cells (cell,) in which a coupling acts on an input of `process`."""
        if c.index not in self._held:
            state = self._state
            where = process.members(state) & self._signals.members_of(c.source)
            if c.types is not None:
                where &= np.isin(state["cell.type"], list(c.types))
            self._held[c.index] = torch.as_tensor(where)
        return self._held[c.index]

    def undriven(self, name: str) -> Tensor:
        """An input (cell,) as it would be without couplings."""
        if name not in self._undriven:
            every = range(len(self.plan.couplings))
            self._undriven[name] = torch.from_numpy(np.array(self._signals.without(name, every), float))
        return self._undriven[name]

    # ---- parts

    def _gone(self, now: TwinState, moment: _Moment, share: float) -> TwinState:
        """The state after a share of a step in which all that parts tell each other is as at `moment`."""
        after = []
        for f, u, spreads in zip(self.plan.fields, now.fields, self._spreading):
            given = moment.of(f"export.{f.settings.name}") * moment.living
            after.append(spreads[share].evenly(u, moment.voxel(f), moment.cleared(f), given))
        dt = share * self.dt
        inner = tuple(
            self._inside(p, rows, s, moment, dt) for p, rows, s in zip(self._inner, self._rows, now.inner)
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
            if self._tissue is None:
                raise SimulationError("tissue: the scenario has no tissue network to learn")
            self.learned[name] = self._tissue.network.learnable()
        elif name.startswith("manipulator."):
            process = next((p for p in self._inner if p.name == name), None)
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
        if family not in ("pathway", "mechanics", "uptake") or name not in self._owners:
            from sim.spelling import did_you_mean

            known = [n for n, (_, q) in self._owners.items() if q.role == "input"]
            raise SimulationError(f"{name}: no number of the scenario{did_you_mean(name, known)}")
        process, quantity = self._owners[name]
        if quantity.role != "input" or self._couplings.get(name):
            raise SimulationError(f"{name}: is driven or computed, so it is no number that can be learned")
        if isinstance(process, PathwayProcess):
            part = self._pathways[process.name]
            return float(part.constants[:, part.column(name)].mean())
        return float(self._signals[name][process.members(self._state)].mean())

    def place_of(self, name: str) -> tuple[int, int, float | Tensor]:
        """Which inner part, which column of it, and what a value is multiplied by to be stored.

        Raises:
            SimulationError: the quantity is no species and no component of a representation.
        """
        component = component_of(name)
        for k, p in enumerate(self._inner):
            if isinstance(p, PathwayProcess) and name.startswith(f"{p.name}."):
                part, short = self._pathways[p.name], name.removeprefix(f"{p.name}.")
                if short in p.network.state_ids:
                    return k, p.network.state_ids.index(short), part.size_of(short)
            if component is not None and p.block == component[0]:
                return k, component[1], 1.0
        raise SimulationError(f"{name}: is no species or representation that moves by itself")

    def _inside(self, p: Any, rows: np.ndarray, s: Tensor, moment: _Moment, dt: float) -> Tensor:
        """A pathway or a representation after `dt` [min], its inputs held."""
        if isinstance(p, PathwayProcess):
            rate: Callable[[Tensor], Tensor] = self._pathways[p.name].rate(moment)
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

    def _places(self, x: Tensor, moment: _Moment, dt: float) -> Tensor:
        box, fixed = self.plan.box, np.isin(self._state["cell.type"], list(self._motion.fixed))
        if fixed.all():
            return x
        radii = torch.from_numpy(np.ascontiguousarray(self._signals["cell.radius"]))
        part = MechanicsPart(
            radii, moment.of("mechanics.repulsion"), moment.of("mechanics.adhesion"), REACH, self.parts
        )
        periodic = self._periods
        widest = 2.2 * REACH * float(radii.max())
        graph = self._near.neighbours(x.detach().numpy(), widest, periodic=periodic, dims=box.dims)
        after = moved(x, part, Rows(graph.indptr, graph.indices), dt, periodic)
        free = torch.as_tensor(~fixed)[:, None]
        after = torch.where(free, after, x)
        low, high = torch.tensor(box.lower), torch.tensor(box.upper)
        if box.periodic:
            # whole periods come off, so that places are told as the simulator tells them
            wide = torch.where(torch.arange(3) < box.dims, high - low, torch.full_like(high, torch.inf))
            return after - torch.where(wide.isinf(), 0.0, wide * torch.floor((after.detach() - low) / wide))
        inside = torch.minimum(torch.maximum(after, low), high)
        return torch.where(torch.arange(3) < box.dims, inside, after)

    @property
    def _motion(self):
        return next(p for p in self.plan.processes if p.name == "mechanics").settings  # type: ignore[attr-defined]

    @property
    def _periods(self) -> tuple[float, float, float] | None:
        wraps = self.plan.neighbourhood.periods
        return None if wraps is None else (float(wraps[0]), float(wraps[1]), float(wraps[2]))


class _PathwayPart:
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

    def rate(self, moment: _Moment) -> Callable[[Tensor], Tensor]:
        """d(amounts)/d(model time) with the inputs of now."""
        columns = list(self.constants.unbind(1))
        for i in self.field.constant_ids:
            name = f"{self.process.name}.{i}"
            if moment.is_driven(name):
                columns[self.field.constant_ids.index(i)] = moment.of(name)[self.rows]
        constants = torch.stack(columns, 1)
        return lambda amounts: self.field(0.0, amounts, constants, self.scale)


class _Moment:
    """The value of any quantity in every cell at one state, with gradients, each computed once."""

    def __init__(self, twin: Twin, now: TwinState):
        self._twin, self._now = twin, now
        self._known: dict[str, Tensor] = {}
        self.living = torch.from_numpy(np.asarray(twin._signals["cell.living"], float))
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
        return bool(self._twin._couplings.get(name)) or learned_key(name) in self._twin.values

    def voxel(self, field: FieldProcess) -> Tensor:
        return torch.as_tensor(field.grid.voxel_of(self._now.x.detach().numpy()))

    def cleared(self, field: FieldProcess) -> Tensor:
        """Volume that each cell clears of a field per time (cell,) [um³/min]."""
        volume = torch.from_numpy(np.ascontiguousarray(self._twin._signals["cell.volume"]))
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
        process, quantity = twin._owners.get(name, (None, None))
        if quantity is not None and quantity.role == "input":
            return self._input(name)
        if family in ("pathway", "ur"):
            k, column, size = twin.place_of(name)
            here = torch.full((len(self.living),), torch.nan, dtype=torch.float64)
            return here.index_put((torch.as_tensor(twin._rows[k]),), now.inner[k][:, column] / size)
        if process is not None and family == "cell" and quantity is not None and not quantity.width:
            return torch.from_numpy(np.array(twin._signals[name], float))
        raise SimulationError(f"{name}: has no gradient here")

    def _input(self, name: str) -> Tensor:
        twin = self._twin
        process, _ = twin._owners[name]
        learned = twin.values[learned_key(name)].exp() if learned_key(name) in twin.values else None
        if isinstance(process, PathwayProcess):
            part = twin._pathways[process.name]
            own = part.constants[:, part.column(name)]
            value = torch.full((len(self.living),), torch.nan, dtype=torch.float64)
            # where cells differ, they go on differing by the same factors
            value = value.index_put((part.rows,), own if learned is None else own * (learned / own.mean()))
        else:
            value = twin.undriven(name)
            value = value if learned is None else learned.expand(len(value))
        for c in twin._couplings.get(name, ()):
            answer = _response(c.response, self.of(c.source) * c.factor)
            if c.mode != "set":
                answer = value + answer if c.mode == "add" else value * answer
            value = torch.where(twin.held_by(c, process), answer, value)
        return value

    def _neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        if self._graph is None:
            at = self._now.x.detach().numpy()
            living = self.living.numpy() > 0
            self._graph = self._twin.plan.neighbourhood.at(
                at, self._twin._state["cell.volume"], np.flatnonzero(living), len(at)
            )
        return self._graph

    def _over_neighbours(self, how: str, of: str) -> Tensor:
        indptr, indices = self._neighbours()
        receiver = torch.as_tensor(np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)))
        sender, nothing = torch.as_tensor(indices.astype(np.int64)), torch.zeros_like(self.living)
        if how == "count":
            code = self._twin.plan.type_names.index(of)
            has = torch.as_tensor(self._twin._state["cell.type"] == code).double()
            return nothing.index_add(0, receiver, has[sender])
        has = torch.as_tensor(self._twin._signals.members_of(of))
        values = torch.where(has, self.of(of), 0.0)
        total = nothing.index_add(0, receiver, values[sender])
        if how == "sum":
            return total
        return total / nothing.index_add(0, receiver, has.double()[sender]).clamp_min(1.0)

    def _told(self, name: str) -> Tensor:
        process = self._twin._tissue
        assert process is not None
        if "tissue" not in self._known:
            indptr, indices = self._neighbours()
            receiver = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
            edges = torch.as_tensor(np.stack([indices, receiver]).astype(np.int64))
            away = self._now.x[edges[0]] - self._now.x[edges[1]]
            periods = self._twin._periods
            if periods is not None:
                wide = torch.tensor(periods, dtype=torch.float64)
                away = away - torch.where(wide > 0, wide * torch.round(away.detach() / wide), 0.0)
            distance = (away.square().sum(1) + 1e-24).sqrt()
            self._known["tissue"] = process.network.forward(
                self.table(process.node_inputs), edges, distance[:, None]
            )
        return self._known["tissue"][:, process.message_names.index(name.removeprefix("tissue."))]

    def _decoded(self, name: str) -> Tensor:
        twin = self._twin
        for k, p in enumerate(twin._inner):
            if isinstance(p, ManipulatorProcess) and name in {q.name for q in p.readouts}:
                rows = torch.as_tensor(twin._rows[k])
                told = self.table([f"message.{m}" for m in p.message_names])[rows]
                rates = p.network.rates(self._now.inner[k], told)
                column = p.network.decoder_names.index(name.removeprefix("decoder."))
                here = torch.full((len(self.living),), torch.nan, dtype=torch.float64)
                return here.index_put((rows,), rates[:, column])
        raise SimulationError(f"{name}: has no gradient here")


def without_gradient(plan: Plan) -> list[str]:
    """What a scenario does that its twin does not."""
    found = []
    for f in plan.fields:
        s = f.settings
        if s.steady or s.vessels or s.patches or s.advection is not None:
            found.append(f"{f.name} is steady, flows, or has vessels or regions")
        if any(s.secretion.values()):
            found.append(f"secretion of {s.name} (export has one)")
    for p in plan.processes:
        if isinstance(p, Membrane):
            found.append(f"{p.name} passes a membrane")
        if isinstance(p, PathwayProcess) and (
            p.network.events or p.network.delays or p.network.fast_reactions
        ):
            found.append(f"{p.name} has events, delays or fast reactions")
        if p.name in ("springs", "interactions") or p.name.startswith("representation."):
            found.append(p.name)
        if isinstance(p, TissueProcess) and [q["name"] for q in p.settings.card.architecture["edges"]] != [
            "distance"
        ]:
            found.append("the tissue network asks more of edges than distance")
        if p.name == "mechanics":
            settings = p.settings  # type: ignore[attr-defined]
            others = [f.name for f in fields(settings) if f.name not in _MOTION and getattr(settings, f.name)]
            found += [f"mechanics: {name}" for name in others]
            if any(settings.speed.values()):
                found.append("cells crawl, which is drawn")
    for c in plan.couplings:
        if not isinstance(c.response, Identity | Linear | Hill) or c.is_rule:
            found.append(f"{c.name} answers by {c.response.label}")
    if plan.perturbations:
        found.append("perturbations")
    return found


def _response(response: Any, x: Tensor) -> Tensor:
    if isinstance(response, Linear):
        return response.intercept + response.slope * x
    if isinstance(response, Hill):
        raised = (x.clamp_min(0.0) / response.half_max) ** response.power
        share = 1.0 / (1.0 + raised) if response.falling else raised / (1.0 + raised)
        return response.low + (response.high - response.low) * share
    return x


def learned_key(name: str) -> str:
    """Torch wants no dots in the names of parameters."""
    return name.replace(".", "/")
