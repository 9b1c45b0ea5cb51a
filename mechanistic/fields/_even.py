"""Diffusion that is the same everywhere.

Space is discretised by finite volumes (second order, exact in mass). Time is not: the exponential of the operator
is applied as a whole (`_spreading`), hence any step is stable, keeps positive values positive and keeps mass (faces
that let something through and decay aside).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mechanistic.fields._conductances import Conductances, of_axes
from mechanistic.fields._exchange import VoxelExchange, relax
from mechanistic.fields._grid import Boundary, Grid, face_exchange
from mechanistic.fields._on_grid import OnGrid, check_step, not_negative
from mechanistic.fields._spreading import Axis, Lines, Step, is_large, last_share, mend, multiply, step_of
from mechanistic.fields._voxels import add, largest, least

Array = NDArray[np.float64]
T = TypeVar("T")
_KEPT_STEP_SIZES = 16
# What cells may draw, of a voxel's content, in a step in which they act before and after it alone, and in each of some
# turns; what may come, of the largest value, in such a step and in such a turn, to be right to 2e-3 and to 1e-3 of it
_LITTLE_DRAWN, _LITTLE_GIVEN, _GIVEN_IN_TURN = 0.035, 0.004, 0.01
_MOST_TURNS = 8  # in a step; more of them are dearer than a steady field
_NEAR = 5.0  # in voxel edges squared: where a step spreads no farther, turns are also nearer to the truth than that
# The last correction, relative to the largest value, of the steady field that a step with cells leans on: where
# exchange is fast beside the step, and in any case
_STEADY, _LEAST_STEADY = 1e-4, 1e-8
_SHORTEST_SUBSTEP = 2.0**-12  # of a step


class DiffusionSolver(OnGrid):
    """du/dt = diffusion ∇²u − decay u with the boundary, on a grid: exact in time, second order in space.

    Args:
        grid: the voxels.
        diffusion: [um^2/min], not negative.
        decay: [1/min], not negative.
        boundary: the faces; no flux by default.

    Raises:
        ValueError: for a negative or infinite coefficient.
    """

    def __init__(self, grid: Grid, diffusion: float, decay: float = 0.0, boundary: Boundary | None = None):
        self.diffusion = not_negative("diffusion", diffusion)
        super().__init__(grid, not_negative("decay", decay), np.zeros(grid.shape))
        self.boundary = boundary or Boundary()
        self._axes = [self._axis(axis) for axis in range(3)]
        self._modes = [axis.modes() for axis in self._axes]
        for k, axis in enumerate(self._axes):
            self._inflow += np.expand_dims(axis.inflow, tuple({0, 1, 2} - {2 - k}))
        self._supplied = bool(self._inflow.any())
        self._slowest = -sum(float(values.max()) for values, _ in self._modes)
        self._fastest = -sum(float(values.min()) for values, _ in self._modes)
        self._large = is_large(self._axes)
        self._steps: dict[float, Step] = {}
        self._gains: dict[float, Array] = {}

    def step(self, u: Array, dt: float, source: Array | None = None) -> Array:
        self._check(u)
        if source is not None:
            return self._step_with_source(u, float(dt), source)
        step = self._step(float(dt))
        step.apply(u)
        lowest = add(u, self._gain(float(dt))) if self._supplied else None
        if isinstance(step, Lines):
            mend(u, least(u) if lowest is None else lowest)
        return u

    def _step_with_source(self, u: Array, dt: float, source: Array) -> Array:
        """Every mode of rate m by itself: e^−m dt of what was there and (1 − e^−m dt)/m of what comes."""
        check_step(dt)
        into = [vectors.T for _, vectors in self._modes]
        coming = self._inflow + source
        multiply(into, u)
        multiply(into, coming)
        exponent = (self._rates() - self.decay) * dt
        u *= np.exp(exponent)
        u += (
            coming
            * dt
            * np.where(exponent == 0, 1.0, np.expm1(exponent) / np.where(exponent == 0, 1.0, exponent))
        )
        multiply([vectors for _, vectors in self._modes], u)
        return u

    def _step_with_exchange(self, u: Array, dt: float, cells: VoxelExchange) -> Array:
        """Taken in turn, an uptake that is fast beside dt empties a voxel before diffusion fills it again.

        So the field is split into the steady field of the cells as they are, which is solved for as a whole, and
        the distance from it, which alone is advanced in turns: a steady field stays as it is whatever dt, and
        the error of a fast field vanishes with its distance from the steady one. What is given in a large field
        goes that way too, as it is dearer by modes.
        """
        if self._fastest == 0.0:
            return self._alone(u, dt, cells)
        most, given = float(cells.rate.max(initial=0.0)) * dt, 0.0
        if cells.given is not None:
            given = float(np.abs(cells.given).max(initial=0.0)) * dt / max(largest(u), 1e-300)
        if most <= _LITTLE_DRAWN and (given <= _LITTLE_GIVEN or not self._large):
            return self._around(u, dt, cells, last_share(self._fastest * dt) if cells.given is None else 0.5)
        turns = max(most / _LITTLE_DRAWN, given / _GIVEN_IN_TURN)
        near = self.diffusion * dt <= _NEAR * self.grid.spacing**2
        if turns <= _MOST_TURNS and (near or cells.given is not None):
            return self._in_turns(u, dt, max(1, int(np.ceil(turns))), cells.together())
        return self._about_steady(u, dt, cells, most)

    def _alone(self, u: Array, dt: float, cells: VoxelExchange) -> Array:
        """Nothing spreads, and each voxel goes its own way, exactly; returns ∫u dt as `cells` lists it."""
        rate, gain = cells.everywhere(u.shape)
        rate += self.decay
        gain += self._inflow
        voxels, seen = np.arange(u.size), np.zeros(u.size)
        relax(u, VoxelExchange(voxels, rate.reshape(-1), gain.reshape(-1), voxels[:0]), dt, seen)
        return seen[cells.voxel]

    def _around(self, u: Array, dt: float, cells: VoxelExchange, last: float) -> Array:
        """Cells act before and after the field spreads, `last` of dt after it; returns ∫u dt as `cells` lists it."""
        seen, source = np.zeros(cells.rate.size), None
        if self._large:
            cells = cells.together()
        else:
            source = cells.given_everywhere(u.shape)
        relax(u, cells, (1.0 - last) * dt, seen)
        self.step(u, dt, source)
        relax(u, cells, last * dt, seen)
        return seen

    def _in_turns(self, u: Array, dt: float, turns: int, cells: VoxelExchange) -> Array:
        """Cells act in the middle of each of so many parts of dt; returns ∫u dt as `cells` lists it.

        What came into a voxel at once has then begun to spread when others see it.
        """
        h, seen = dt / turns, np.zeros(cells.rate.size)
        self.step(u, 0.5 * h)
        for turn in range(turns):
            relax(u, cells, h, seen)
            self.step(u, h if turn < turns - 1 else 0.5 * h)
        return seen

    def _about_steady(self, u: Array, dt: float, cells: VoxelExchange, most: float) -> Array:
        """A step of dt in place, as the steady field and the distance from it; returns ∫u dt as `cells` lists it.

        The steady field need not be quite right: what it is found without acts on the distance, so that
        amounts balance.
        """
        loss, right = cells.everywhere(u.shape)
        loss += self.decay
        right += self._inflow
        if not u.any() and not right.any():
            return np.zeros(cells.rate.size)
        # what the steady field is found without counts up to half the exchange of a step, as the two are taken in turn
        goal, closer = _STEADY * min(max(most * most, 0.01), 1.0), 2.0 / max(most, 10.0)
        steady, before = u.copy(), largest(u)

        def enough(_: float, last: float, first: float) -> bool:
            scale = max(largest(steady), before)
            return last <= _LEAST_STEADY * scale or last <= min(goal * scale, closer * first)

        self._multigrid.lose(loss)
        unbalanced = self._multigrid.solve(steady, right, enough, self._rests(float(loss.mean())))
        u -= steady
        seen = steady.reshape(-1)[cells.voxel] * dt
        self._return(u, dt, cells, unbalanced, max(largest(steady), largest(u)), most, seen)
        mend(u, add(u, steady))
        return seen

    def _return(
        self, u: Array, dt: float, cells: VoxelExchange, gain: Array, scale: float, most: float, seen: Array
    ) -> None:
        """The distance u from a steady field dies out for dt, in place; its integral is added to `seen` (m,).

        `gain` is what the steady field was found without; it comes half-way through a step, so that it spreads.
        Cells draw and the field spreads in turn. A substep with exchange x is wrong by about x² |u|/12: they
        are chosen, among halves of halves of dt, to keep that below a thousandth of the field's scale.
        """
        cells = replace(cells, gain=np.zeros(cells.rate.size), given=None)
        before, left, most = 0.0, 1.0, max(most, 1e-100)
        while left > 0:
            allowed = np.sqrt(0.01 * scale / max(largest(u), 1e-9 * scale, 1e-300)) / most
            part = min(2.0 ** np.floor(np.log2(max(allowed, _SHORTEST_SUBSTEP))), left)
            h = part * dt
            relax(u, cells, 0.5 * (before + h), seen)
            add(u, gain, h)
            self._step(h).apply(u)
            before, left = h, left - part
        relax(u, cells, 0.5 * before, seen)

    def _axis(self, axis: int) -> Axis:
        n = self.grid.shape[2 - axis]
        if axis == 2 and self.grid.dims == 2:
            return Axis(n, 0.0, 0.0, 0.0, False, np.zeros(n))
        rate, inflow, passing = self.diffusion / self.grid.spacing**2, np.zeros(n), [0.0, 0.0]
        faces = self.boundary.of_axis(axis)
        for side, i in enumerate((0, n - 1)):
            passing[side], gain = face_exchange(faces[side], self.diffusion, self.grid.spacing)
            inflow[i] += gain
        return Axis(n, rate, passing[0], passing[1], faces[0] == "periodic" and n > 1, inflow)

    def _step(self, dt: float) -> Step:
        """The exponential for dt; kept for the last few step sizes."""
        check_step(dt)
        return _kept(self._steps, dt, lambda: step_of(self._axes, self._modes, dt, self.decay))

    def _gain(self, dt: float) -> Array:
        """What the faces bring in dt; kept for the last few step sizes."""
        return _kept(self._gains, dt, lambda: self._brought(self._step(dt), dt))

    def _brought(self, step: Step, dt: float) -> Array:
        """With it the steady field without cells stays as it is, if there is one."""
        if self._rests(self.decay):
            resting = self._inverse(self._inflow, self.decay)
            gone = resting.copy()
            step.apply(gone)
            return np.maximum(resting - gone, np.minimum(resting, 0.0))
        return self._step_with_source(np.zeros(self.grid.shape), dt, np.zeros(self.grid.shape))

    def _rests(self, loss: float) -> bool:
        """Whether there is a steady field where `loss` [1/min] acts beside the faces."""
        return loss + self._slowest > 1e-14 * max(1.0, self._fastest)

    def _rates(self) -> Array:
        """At which modes grow (nz, ny, nx) [1/min], none above zero."""
        x, y, z = (values for values, _ in self._modes)
        return x[None, None, :] + y[None, :, None] + z[:, None, None]

    def _inverse(self, u: Array, shift: float) -> Array:
        """(shift − A)⁻¹ u by the modes of the three axes (fast diagonalisation)."""
        out = u.copy()
        multiply([vectors.T for _, vectors in self._modes], out)
        out /= shift - self._rates()
        multiply([vectors for _, vectors in self._modes], out)
        return out

    def _conductances(self) -> tuple[Conductances, bool]:
        return of_axes(self._axes), True


def _kept(values: dict[float, T], dt: float, make: Callable[[], T]) -> T:
    """values[dt], made if need be in the place of the oldest."""
    if dt not in values:
        made = make()
        while len(values) >= _KEPT_STEP_SIZES:
            values.pop(next(iter(values)))
        values[dt] = made
    return values[dt]
