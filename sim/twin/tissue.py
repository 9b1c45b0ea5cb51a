"""Short courses of a tissue as one differentiable function: fields, mechanics and a learned law together.

    tissue = DifferentiableTissue(box, law, step=..., field=FieldPart(...), mechanics=MechanicsPart(...))
    end = tissue(start, steps=50)
    end.s.sum().backward()          # gradients of the law's parameters, of the start, of the field

Each step of `dt` [min], explicit and in this order, everything seen as it was at the step's beginning:

    field     u ← exp(L dt) (u · exp(-dt · uptake) + dt · export(s)), L diffusion, decay and faces
    law       s ← s + dt · f(s, heard, u at the cell),  heard from neighbours by distance
    mechanics x ← x + dt · v(x), Heun's method in equal parts, the potential of `sim.agents.mechanics`

It runs the simulator's own kernels, each with a reverse written by hand, and keeps of a step no more than the cells'
and voxels' values: memory goes with cells and steps. Division, death and drawn numbers have no gradient and are
left out; who is near whom is found anew at each step and held within it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from mechanistic.fields import DiffusionSolver
from mechanistic.threads import threads_for
from neural.tissue.graph import Rows
from neural.tissue.hearing import heard_from
from sim.agents._force_adjoint import forces_back
from sim.agents._force_kernels import forces
from sim.agents._pair_code import slack
from sim.agents.neighbours import VerletList
from sim.agents.wrapping import Lengths, periods

__all__ = ["DifferentiableTissue", "FieldPart", "MechanicsPart", "Spreading", "TissueState", "moved"]


class TissueState(NamedTuple):
    """x: (n, 3) [um]; s: (n, k), what the law moves; u: (nz, ny, nx), or None. All float64."""

    x: torch.Tensor
    s: torch.Tensor
    u: torch.Tensor | None = None


@dataclass(frozen=True)
class FieldPart:
    """A field that cells feed and draw on.

    Attributes:
        solver: diffusion, decay and faces.
        export: amount that each cell gives (n,) [value·um³/min], from its s (n, k); None: nothing.
        uptake: rate at which each cell clears its own volume (n,) [1/min], and these volumes (n,) [um³]; or None.
    """

    solver: DiffusionSolver
    export: Callable[[torch.Tensor], torch.Tensor] | None = None
    uptake: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass(frozen=True)
class MechanicsPart:
    """Radii (n,) [um], repulsion and adhesion (n,) [um/min], how far adhesion reaches; steps in each step."""

    radii: torch.Tensor
    repulsion: torch.Tensor
    adhesion: torch.Tensor
    reach: float = 1.25
    parts: int = 1


class DifferentiableTissue(torch.nn.Module):
    """Steps a tissue with gradients.

    Args:
        law: ds/dt (n, k) [1/min] from s (n, k), heard (n, k) and u at the cells (n, 1; or (n, 0) without a field).
        step: [min].
        carries: (k, spline) how much of each s is heard over [0, radius]: a parameter of the module.
        radius: nobody is heard from farther [um]; gradients are right across it where the last three coefficients of
            `carries` are 0, so that nothing jumps.
        periodic: periods (3,) [um] or None; dims: 2 or 3.
    """

    def __init__(
        self,
        law: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
        *,
        step: float,
        carries: torch.Tensor,
        radius: float,
        field: FieldPart | None = None,
        mechanics: MechanicsPart | None = None,
        periodic: tuple[float, float, float] | None = None,
        dims: Literal[2, 3] = 2,
    ):
        super().__init__()
        self.law, self.dt, self.radius = law, float(step), float(radius)
        self.dims: Literal[2, 3] = dims
        self.carries = torch.nn.Parameter(carries.detach().double().clone())
        self.field, self.mechanics, self.periodic = field, mechanics, periodic
        self._near = VerletList(0.15 * radius)
        self._spreading: Spreading | None = None

    def forward(self, start: TissueState, steps: int) -> TissueState:
        """The state after `steps` steps."""
        now = start
        for _ in range(steps):
            now = self.step(now)
        return now

    def step(self, now: TissueState) -> TissueState:
        """One step."""
        x, s, u = now
        where = x.detach().numpy()
        graph = self._near.neighbours(where, self._widest(), periodic=self.periodic, dims=self.dims)
        rows = Rows(graph.indptr, graph.indices)
        heard = heard_from(x, s, self.carries, rows, self.radius, self.periodic)
        seen = s.new_zeros(len(s), 0)
        after = u
        if self.field is not None:
            assert u is not None
            voxel = torch.as_tensor(self.field.solver.grid.voxel_of(where))
            seen = u.reshape(-1)[voxel][:, None]
            after = self._spread(u, s, voxel)
        there = x
        if self.mechanics is not None:
            there = moved(x, self.mechanics, rows, self.dt, self.periodic)
        return TissueState(there, s + self.dt * self.law(s, heard, seen), after)

    def _widest(self) -> float:
        """Who may be heard or touched within the step [um]; mechanics leaves cells a tenth of their reach to move."""
        if self.mechanics is None:
            return self.radius
        m = self.mechanics
        return max(self.radius, 2.2 * m.reach * float(m.radii.detach().max()))

    def _spread(self, u: torch.Tensor, s: torch.Tensor, voxel: torch.Tensor) -> torch.Tensor:
        part = self.field
        assert part is not None
        if self._spreading is None or self._spreading.solver is not part.solver:
            self._spreading = Spreading(part.solver, self.dt)
        rate, volume = part.uptake if part.uptake is not None else (None, None)
        cleared = None if rate is None or volume is None else rate * volume
        return self._spreading(u, voxel, cleared, part.export(s) if part.export is not None else None)


class Spreading:
    """A step of `dt` [min] of one field: cells clear and give at once, then it diffuses; or half of what they do
    before and half after (`evenly`), which is second order."""

    def __init__(self, solver: DiffusionSolver, dt: float):
        self.solver, self.dt = solver, dt
        #: what faces bring into an empty field, and what is left of a field of ones without that
        self._brought = solver.step(np.zeros(solver.grid.shape), dt)
        self._of_one = solver.step(np.ones(solver.grid.shape), dt) - self._brought

    def __call__(
        self,
        u: torch.Tensor,
        voxel: torch.Tensor,
        cleared: torch.Tensor | None = None,
        given: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """u (nz, ny, nx) after the step.

        Args:
            voxel: of each cell (n,); cleared: volume that each clears per time (n,) [um³/min]; given: amount that
                each gives (n,) [value·um³/min].
        """
        flat, space = u.reshape(-1), self.solver.grid.voxel_volume
        if cleared is not None:
            flat = flat * torch.exp(-self.dt / space * torch.zeros_like(flat).index_add(0, voxel, cleared))
        if given is not None:
            flat = flat + torch.zeros_like(flat).index_add(0, voxel, given * (self.dt / space))
        return self._diffused(flat.reshape(u.shape))

    def evenly(
        self, u: torch.Tensor, voxel: torch.Tensor, cleared: torch.Tensor, given: torch.Tensor
    ) -> torch.Tensor:
        """As `__call__`, second order."""
        half, flat = 0.5 * self.dt / self.solver.grid.voxel_volume, torch.zeros_like(u.reshape(-1))
        lost = half * flat.index_add(0, voxel, cleared)
        gain = half * flat.index_add(0, voxel, given) * torch.exp(-0.5 * lost)
        kept, shape = torch.exp(-lost), u.shape
        u = self._diffused((u.reshape(-1) * kept + gain).reshape(shape))
        return (u.reshape(-1) * kept + gain).reshape(shape)

    def _diffused(self, u: torch.Tensor) -> torch.Tensor:
        out = _Diffuse.apply(u, self.solver, self.dt, self._brought, self._of_one)
        assert isinstance(out, torch.Tensor)
        return out


def moved(x: torch.Tensor, m: MechanicsPart, rows: Rows, dt: float, periodic: Lengths) -> torch.Tensor:
    """Places (n, 3) after `dt` [min] by Heun's method; `rows` hold every pair that may touch meanwhile."""
    roots = torch.stack([m.repulsion.sqrt(), m.adhesion.sqrt()], 1)
    counts = np.diff(rows.indptr).astype(np.int32)
    lengths, pairs = periods(periodic), (rows.indptr[:-1], counts, slack(rows.indices))

    def velocity(where: torch.Tensor) -> torch.Tensor:
        out = _Velocity.apply(where, m.radii, roots, m.reach, lengths, pairs)
        assert isinstance(out, torch.Tensor)
        return out

    h = dt / m.parts
    for _ in range(m.parts):
        v = velocity(x)
        x = x + 0.5 * h * (v + velocity(x + h * v))
    return x


class _Velocity(torch.autograd.Function):
    """Velocities (n, 3) by the potential, from places, radii and roots of strengths (n, 2)."""

    @staticmethod
    def forward(ctx: Any, x, radii, roots, reach, lengths, pairs):
        cells = torch.cat([x, radii[:, None]], 1).detach().contiguous()
        roots = roots.detach().contiguous()
        ctx.save_for_backward(cells, roots)
        ctx.how = reach, lengths, pairs
        velocity, none = torch.empty_like(x), np.empty(0)
        known = cells.numpy(), roots.numpy(), reach, lengths, *pairs
        with threads_for(len(cells)):
            forces(len(cells), *known, none.reshape(0, 3), none, velocity.numpy(), np.empty(len(cells)))
        return velocity

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor):
        cells, roots = ctx.saved_tensors
        reach, lengths, pairs = ctx.how
        d_x, d_roots, d_radius = (
            cells.new_empty(len(cells), 3),
            torch.empty_like(roots),
            cells.new_empty(len(cells)),
        )
        known = cells.numpy(), roots.numpy(), reach, lengths, *pairs
        with threads_for(len(cells)):
            found = d_x.numpy(), d_roots.numpy(), d_radius.numpy()
            forces_back(len(cells), *known, grads[0].contiguous().numpy(), *found)
        return d_x, d_radius, d_roots, None, None, None


class _Diffuse(torch.autograd.Function):
    """exp(L dt) u, and what faces bring. L is symmetric on even voxels, so its reverse is itself without the faces."""

    @staticmethod
    def forward(ctx: Any, u, solver, dt, brought, of_one):
        ctx.how = solver, dt, brought, of_one
        return torch.from_numpy(solver.step(u.detach().numpy().copy(), dt))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor):
        solver, dt, brought, of_one = ctx.how
        pull = grads[0].numpy()
        # the solver keeps fields from falling below zero, which a gradient may: it is lifted before, let down after
        low = min(float(pull.min()), 0.0)
        back = solver.step(pull - low, dt) - brought + low * of_one
        return torch.from_numpy(back), None, None, None, None
