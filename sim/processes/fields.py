"""A diffusing substance, its boundaries, and what cells give to it and take from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.box import BoxSettings
from sim.processes.guard import require_finite

if TYPE_CHECKING:
    from mechanistic.fields import CellExchange, Grid


@dataclass(frozen=True)
class Wall:
    """The wall of a straight vessel: where it is [um], how fast the substance passes [um/min], its value inside.

    Without `end`, in two dimensions, the vessel passes the layer at right angles.
    """

    start: tuple[float, ...]
    end: tuple[float, ...] | None
    radius: float
    permeability: float
    value: float


@dataclass(frozen=True)
class Patch:
    """Where a field spreads otherwise: a ball about `centre` or a box [um], and its diffusion there [um^2/min]."""

    centre: tuple[float, ...] | None
    radius: float
    box: tuple[tuple[float, float] | None, ...]
    diffusion: float

    def covers(self, grid: Grid) -> np.ndarray:
        """Mask (nz, ny, nx) of the voxels whose middles lie in it."""
        inside, distance = np.ones(grid.shape, dtype=bool), np.zeros(grid.shape)
        for axis in range(grid.dims):
            shape = [1, 1, 1]
            shape[2 - axis] = -1
            at = grid.centres(axis).reshape(shape)
            if self.centre is not None:
                distance = distance + (at - self.centre[axis]) ** 2
            elif (ends := self.box[axis]) is not None:
                inside &= (ends[0] <= at) & (at < ends[1])
        return inside & (distance <= self.radius**2)


@dataclass(frozen=True)
class FieldSettings:
    """What a scenario says of one field. Times in min, lengths in um, values in `unit`."""

    name: str
    unit: str
    diffusion: float
    decay: float
    initial: float
    #: by face: no_flux, periodic, the value held, ("permeable", permeability [um/min], value outside) or
    #: ("inflow", speed [um/min], value that comes)
    boundary: dict[str, float | str | tuple[str, float, float]]
    steady: bool
    #: by cell type code: uptake and secretion rate [1/min], saturation value
    uptake: dict[int, float]
    secretion: dict[int, float]
    saturation: dict[int, float]
    #: by cell type code: amount given per time, whatever the field [unit um^3/min]
    export: dict[int, float]
    #: walls through which it passes
    vessels: tuple[Wall, ...]
    #: where it spreads otherwise; the last counts
    patches: tuple[Patch, ...] = ()
    #: velocity of what carries it along x, y, z [um/min], None where nothing flows
    advection: tuple[float, float, float] | None = None


class FieldProcess(Process):
    """One substance: diffusion, decay, boundaries and the exchange of the cells, second order in the step.

    What cells take up is booked in `internal.<field>` [value · um³], so that field and cells together keep
    the amount to rounding.
    """

    cost = 1

    def __init__(self, settings: FieldSettings, box: BoxSettings, step: float):
        super().__init__(f"field.{settings.name}", step)
        self.settings = settings
        self.box = box
        self.kind = "quasi-steady" if settings.steady else "dynamic"
        name, unit = settings.name, settings.unit
        self.states = (
            Quantity(f"internal.{name}", f"{unit}*um^3", f"net amount of {name} taken up", shared=True),
        )
        self.inputs = (
            Quantity(f"uptake.{name}", "1/min", f"uptake rate of {name}", "input", by_type=settings.uptake),
            Quantity(
                f"secretion.{name}", "1/min", f"secretion rate of {name}", "input", by_type=settings.secretion
            ),
            Quantity(
                f"saturation.{name}",
                unit,
                f"value at which secretion of {name} stops",
                "input",
                by_type=settings.saturation,
            ),
            Quantity(
                f"export.{name}",
                f"{unit}*um^3/min" if unit else "um^3/min",
                f"{name} given per time, whatever is outside",
                "input",
                by_type=settings.export,
            ),
        )
        self.readouts = (
            Quantity(f"field.{name}", unit, f"{name} at the cell", "readout"),
            Quantity(f"gradient.{name}", f"{unit}/um", f"steepness of {name} at the cell", "readout"),
            Quantity(f"inside.{name}", unit, f"net amount of {name} taken up, by volume", "readout"),
        )
        self.reads = ("cell.position", "cell.volume", "cell.living")

    def prepare(self, streams) -> None:
        from mechanistic.fields import Boundary, DiffusionSolver, Inflow, Permeable, UnevenSolver

        super().prepare(streams)
        self.grid = self.box.grid()

        def face(said):
            if not isinstance(said, tuple):
                return said
            kind, pace, value = said
            return Permeable(pace, value) if kind == "permeable" else Inflow(pace * value)

        s = self.settings
        boundary = Boundary(**{name: face(said) for name, said in s.boundary.items()})
        if s.patches:
            diffusion = np.full(self.grid.shape, s.diffusion)
            for patch in s.patches:
                diffusion[patch.covers(self.grid)] = patch.diffusion
            self.solver = UnevenSolver(self.grid, diffusion, s.decay, boundary)
        else:
            self.solver = DiffusionSolver(self.grid, s.diffusion, s.decay, boundary)
        self._walls = self._of_walls()

    def start(self, state) -> None:
        """Give the state this field at its initial value."""
        state.fields[self.settings.name] = np.full(self.grid.shape, self.settings.initial)

    def advance(self, state, signals, dt: float) -> None:
        u = state.fields[self.settings.name]
        cells = self._exchange(state, signals)
        among = cells, dt, state[f"internal.{self.settings.name}"], self._walls
        if self.kind == "quasi-steady":
            self.solver.step_with_cells(u, *among, settles=True)
            return
        self._carry(u, 0.5 * dt)
        if len(cells.voxel) or self._walls is not None:
            self.solver.step_with_cells(u, *among)
        else:
            self.solver.step(u, dt)
        self._carry(u, 0.5 * dt)

    def _carry(self, u: np.ndarray, dt: float) -> None:
        from mechanistic.fields import advect

        if self.settings.advection is not None:
            advect(u, self.grid, self.settings.advection, dt, self.solver.boundary)

    def readout(self, name, state, signals) -> np.ndarray:
        from mechanistic.fields import sample

        if name == f"gradient.{self.settings.name}":
            return np.linalg.norm(self.gradient(state), axis=1)
        if name == f"inside.{self.settings.name}":
            return state[f"internal.{self.settings.name}"] / state["cell.volume"]
        return sample(state.fields[self.settings.name], self.grid.voxel_of(state["cell.position"]))

    def gradient(self, state) -> np.ndarray:
        """The field's gradient at each cell (cell, 3) [value/um]."""
        from mechanistic.fields import gradient

        return gradient(
            state.fields[self.settings.name], self.grid, state["cell.position"], self.box.periodic
        )

    # ---- parts

    def _exchange(self, state, signals) -> CellExchange:
        from mechanistic.fields import CellExchange

        living = signals["cell.living"]
        name = self.settings.name
        inputs = {q.name: signals[q.name] for q in self.inputs}
        require_finite(self.name, state, {"cell.volume": state["cell.volume"], **inputs})
        export = inputs[f"export.{name}"] * living
        return CellExchange(
            voxel=self.grid.voxel_of(state["cell.position"]),
            volume=np.ascontiguousarray(state["cell.volume"]),
            secretion=inputs[f"secretion.{name}"] * living,
            saturation=np.ascontiguousarray(inputs[f"saturation.{name}"]),
            uptake=inputs[f"uptake.{name}"] * living,
            export=export if export.any() else None,
        )

    def _of_walls(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Voxels at walls of vessels with their rate [1/min] and gain [value/min], None where there are none."""
        from mechanistic.fields import wall_area

        if not self.settings.vessels:
            return None
        rate, gain = np.zeros(self.grid.size), np.zeros(self.grid.size)
        for wall in self.settings.vessels:
            area = wall_area(self.grid, wall.start, wall.end, wall.radius, self.box.periodic)
            through = wall.permeability * area / self.grid.voxel_volume
            rate += through
            gain += through * wall.value
        voxel = np.flatnonzero(rate)
        return voxel, rate[voxel], gain[voxel]
