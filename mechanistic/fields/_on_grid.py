"""What every solver of a field does alike: steady fields, and the books of what cells give and take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mechanistic.fields._conductances import Conductances
from mechanistic.fields._exchange import CellExchange, Collector, VoxelExchange, book
from mechanistic.fields._grid import Grid
from mechanistic.fields._multigrid import Multigrid

Array = NDArray[np.float64]
_LARGE = 400_000  # voxels from which on memory is worth more than the time to ask for it


class OnGrid(ABC):
    """A substance on a grid that decays [1/min] and gets `inflow` [value/min] from the faces of the box."""

    def __init__(self, grid: Grid, decay: float, inflow: Array):
        self.grid = grid
        self.decay = float(decay)
        self._inflow = inflow

    @abstractmethod
    def step(self, u: Array, dt: float, source: Array | None = None) -> Array:
        """Advances u (nz, ny, nx) by dt [min], in place, and returns it.

        Args:
            dt: [min], not negative.
            source: [value/min], shape of u, constant during dt and solved together with diffusion: sources at
                fixed faces then keep second order, which they lose when they are added before or after a
                step.
        """

    def step_with_cells(
        self,
        u: Array,
        cells: CellExchange,
        dt: float,
        internal: Array,
        walls: tuple[NDArray[np.int64], Array, Array] | None = None,
        settles: bool = False,
    ) -> Array:
        """Diffusion, decay and the `exchange` of cells together for dt, in place; returns u. Second order in
        dt.

        A steady field stays as it is whatever dt, however fast cells draw on it. Amounts are kept as by
        `exchange`, whose arguments these are.

        Args:
            walls: what else exchanges: voxels, each with a rate [1/min] and a gain [value/min].
            settles: the field is at once what `steady` finds among the cells, and so it is for all of dt.
        """
        self._check(u)
        exchange = self._collector.collect(cells, self.grid.voxel_volume, walls)
        if settles:
            loss, right = exchange.everywhere(u.shape)
            self.steady(u, right, loss)
            seen = u.reshape(-1)[exchange.voxel] * dt
        else:
            seen = self._step_with_exchange(u, check_step(dt), exchange)
        book(internal, seen, exchange.place, cells, float(dt))
        self._make_room()
        return u

    @abstractmethod
    def _step_with_exchange(self, u: Array, dt: float, cells: VoxelExchange) -> Array:
        """The exchange acts too for dt, in place; returns ∫u dt in the voxels of `cells` (m,)."""

    def steady(
        self,
        u: Array,
        source: Array | float = 0.0,
        uptake: Array | float = 0.0,
        tolerance: float = 1e-10,
    ) -> Array:
        """Solves diffusion ∇²u − (decay + uptake) u + source = 0 for u, in place, and returns it.

        By multigrid; the start is what u holds.

        Args:
            source: [value/min], shape of u or a number.
            uptake: [1/min], not negative, shape of u or a number.
            tolerance: largest residual, relative to the right-hand side (2-norm).

        Raises:
            ValueError: where no steady state exists or is unique: nothing is lost by decay, uptake or fixed
                faces.
            RuntimeError: if the tolerance is not reached.
        """
        self._check(u)
        uptake = np.broadcast_to(np.asarray(uptake, dtype=np.float64), u.shape)
        if uptake.min() < 0:
            raise ValueError(f"uptake must not be negative (got {uptake.min()})")
        right = self._inflow + source
        loss = self.decay + uptake
        if not self._rests(float(loss.mean())):
            raise ValueError("no steady state: the field has neither decay, uptake nor a face of fixed value")
        if not right.any():
            u.fill(0.0)  # nothing comes in, and a relative residual of nothing has no meaning
            return u
        limit = tolerance * float(np.sqrt(np.sum(right * right)))
        self._multigrid.lose(loss)
        self._multigrid.solve(u, right, lambda now, *_: now <= limit, True)
        if right.min() >= 0:
            np.maximum(u, 0.0, out=u)  # the solution is not negative; the last digits of an iterate may be
        self._make_room()
        return u

    def _make_room(self) -> None:
        """Between steps a large grid keeps nothing but what is dear to make; a small one is in a hurry, and so are
        steps so short that no balance is solved for."""
        kept = vars(self)
        if self.grid.size >= _LARGE and "_multigrid" in kept:
            kept.pop("_collector", None)
            self._multigrid.let_go()

    @cached_property
    def _collector(self) -> Collector:
        return Collector(self.grid.size)

    @cached_property
    def _multigrid(self) -> Multigrid:
        faces, even = self._conductances()
        return Multigrid(faces, even)

    @abstractmethod
    def _conductances(self) -> tuple[Conductances, bool]:
        """Between the voxels, and whether they are the same everywhere."""

    @abstractmethod
    def _rests(self, loss: float) -> bool:
        """Whether there is a steady field where `loss` [1/min] acts beside the faces."""

    def _check(self, u: Array) -> None:
        if u.shape != self.grid.shape or u.dtype != np.float64 or not u.flags.c_contiguous:
            raise ValueError(
                f"a field must be a C-contiguous float64 array of shape {self.grid.shape} "
                f"(got {u.shape}, {u.dtype})"
            )


def not_negative(name: str, value: float) -> float:
    """The coefficient, if it is finite and not negative.

    Raises:
        ValueError: if it is not.
    """
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative (got {value})")
    return float(value)


def check_step(dt: float) -> float:
    """dt [min], if a step may have it.

    Raises:
        ValueError: if it is negative or not finite.
    """
    if not (np.isfinite(dt) and dt >= 0):
        raise ValueError(f"dt must be finite and not negative (got {dt})")
    return float(dt)
