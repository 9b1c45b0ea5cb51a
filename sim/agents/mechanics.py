"""Cells that push and hold each other: overdamped, centre-based mechanics with the potential of PhysiCell.

Velocity of cell i: Σ_j [√(ρ_i ρ_j) (1 − d/R)²₊ − √(α_i α_j) (1 − d/S)²₊] (x_i − x_j)/d + its own motile
velocity, with R = r_i + r_j and S = reach · R (Ghaffarizadeh et al. 2018, doi:10.1371/journal.pcbi.1005991).
PhysiCell steps it by 0.1 min; here the pair of orders 3(2) of Bogacki and Shampine (1989,
doi:10.1016/0893-9659(89)90079-7) chooses its steps so that no cell is wrong by more than `tolerance` a step:
short ones where cells have just divided, long ones in a tissue at rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanistic.jit import threads_for
from sim.agents._cell_list import pairs_within, spatial_order
from sim.agents._force_kernels import PRESSURE_SCALE, forces, further_forces, largest, stage
from sim.agents.neighbours import Lengths, periods

__all__ = ["PRESSURE_SCALE", "Further", "move", "velocities"]

Array = NDArray[np.float64]

_HALF = np.array([0.5])
_THREE_QUARTERS = np.array([0.0, 0.75])
_THIRD_ORDER = np.array([2.0, 3.0, 4.0]) / 9.0
_ERROR = np.array([-5.0 / 72.0, 1.0 / 12.0, 1.0 / 9.0, -1.0 / 8.0])
_FIRST_STEP = 0.05
_SHORTEST_STEP = 1e-9
_NO_WALL = np.full(3, np.inf)


def velocities(
    positions: Array,
    radii: Array,
    repulsion: Array,
    adhesion: Array,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    out_velocity: Array,
    out_pressure: Array,
    *,
    reach: float = 1.25,
    periodic: Lengths = None,
) -> None:
    """Velocity [um/min] (n, 3) and simple pressure (n,) of cells by the potential, into the arrays given.

    Args:
        positions: (n, 3) [um].
        radii: (n,) [um].
        repulsion, adhesion: coefficients of each cell (n,) [um/min]; a pair has the geometric mean.
        indptr, indices: neighbours as compressed rows that hold at least every pair nearer than reach·(r_i +
            r_j).
        reach: how far adhesion reaches, in units of r_i + r_j.
        periodic: periods (3,) [um] or None.
    """
    n = positions.shape[0]
    cells = _packed(positions, radii, repulsion, adhesion)
    drift, free = np.zeros((n, 3)), np.ones(n)
    forces(cells, float(reach), periods(periodic), indptr, indices, drift, free, out_velocity, out_pressure)


@dataclass(frozen=True)
class Further:
    """Forces beside the potential; each is left out where its array is empty.

    Attributes:
        types: codes (n,); affinity: (t, t), symmetric: a pair's adhesion is multiplied by that of its types.
        partners: (n, k), rows of the cells that a spring joins to each, -1 for none; joined both ways.
        elasticity: spring constant of each cell (n,) [1/min]; a spring has the geometric mean of its two cells'.
        wall: strength (n,) [um/min] of (1 - d/r)² by which walls nearer than the radius push a cell away.
    """

    types: NDArray[np.int64]
    affinity: Array
    partners: NDArray[np.int64]
    elasticity: Array
    wall: Array


def move(
    positions: Array,
    radii: Array,
    repulsion: Array,
    adhesion: Array,
    reach: float = 1.25,
    motile_velocity: Array | None = None,
    fixed: NDArray[np.bool_] | None = None,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    periodic: bool = False,
    dims: Literal[2, 3] = 3,
    dt: float = 0.1,
    max_step: float = np.inf,
    tolerance: float = 2e-5,
    further: Further | None = None,
) -> Array:
    """Moves all cells for dt, in place; returns their simple pressure (n,) at the end.

    A function of its arguments alone, with the same bits for every number of threads and any order of the
    rows.

    Args:
        positions: (n, 3) [um], changed.
        radii: (n,) [um].
        repulsion, adhesion: (n,) [um/min].
        reach: how far adhesion reaches, in units of r_i + r_j; at least 1.
        motile_velocity: (n, 3) [um/min] each cell adds by itself, constant during dt.
        fixed: cells that stay where they are (n,).
        lower, upper: corners of the domain (3,) [um]: walls that centres do not pass, or where they wrap.
        periodic: x, y (and z in three dimensions) wrap; then lower and upper are needed.
        dims: 2 leaves z untouched.
        dt: [min].
        max_step: longest step inside dt [min].
        tolerance: largest error a step may make in a coordinate of any cell [um].
        further: affinities of types, springs and walls.

    Raises:
        ValueError: if shapes do not fit or a position is not finite.
        FloatingPointError: if no step is short enough, naming the step.
    """
    n = positions.shape[0]
    if positions.shape != (n, 3) or any(a.shape != (n,) for a in (radii, repulsion, adhesion)):
        raise ValueError("positions must be (n, 3) and radii, repulsion and adhesion (n,)")
    if n == 0:
        return np.zeros(0)
    finite = np.isfinite(positions).all(axis=1)
    if not finite.all():
        raise ValueError(f"the position of cell {int(np.argmin(finite))} is not finite")
    low, high = (
        sign * _NO_WALL if corner is None else np.array(corner, dtype=np.float64)
        for corner, sign in ((lower, -1.0), (upper, 1.0))
    )
    lengths = np.zeros(3)
    if periodic:
        if lower is None or upper is None:
            raise ValueError("a periodic domain needs its corners")
        lengths[:dims] = (high - low)[:dims]
        low[:dims], high[:dims] = -np.inf, np.inf
    if dims == 2:
        low[2], high[2] = -np.inf, np.inf
    tissue = _Sorted(
        positions, radii, repulsion, adhesion, reach, motile_velocity, fixed, low, high, lengths, dims
    )
    if further is not None:
        tissue.add(further)
    with threads_for(n):
        tissue.advance(float(dt), float(max_step), float(tolerance))
    positions[tissue.order] = tissue.cells[:, :3]
    if periodic:
        corner = np.asarray(lower, dtype=np.float64)
        for axis in range(dims):
            wrapped = corner[axis] + np.mod(positions[:, axis] - corner[axis], lengths[axis])
            positions[:, axis] = np.where(wrapped < corner[axis] + lengths[axis], wrapped, corner[axis])
    pressure = np.empty(n)
    pressure[tissue.order] = tissue.pressure
    return pressure


class _Sorted:
    """The cells of one `move`, in an order that depends on where they are and not on their rows."""

    def __init__(
        self,
        positions: Array,
        radii: Array,
        repulsion: Array,
        adhesion: Array,
        reach: float,
        drift: Array | None,
        fixed: NDArray[np.bool_] | None,
        low: Array,
        high: Array,
        lengths: Array,
        dims: int,
    ):
        n = positions.shape[0]
        widest = 2 * reach * float(radii.max())
        self.skin = 0.15 * widest
        self.order = spatial_order(positions, widest + self.skin, lengths, dims)
        self.cells = _packed(positions, radii, repulsion, adhesion)[self.order]
        self.reaches = reach * self.cells[:, 3]
        self.reach = float(reach)
        self.drift = (
            np.zeros((n, 3)) if drift is None else np.ascontiguousarray(drift[self.order], dtype=np.float64)
        )
        if dims == 2:
            self.drift[:, 2] = 0.0
        self.free = np.ones(n) if fixed is None else np.where(fixed[self.order], 0.0, 1.0)
        self.low, self.high, self.lengths, self.dims = low, high, lengths, dims
        self.pressure = np.empty(n)
        self.slopes = np.empty((4, n, 3))
        self.built_at = np.empty((0, 3))
        self.further: tuple[NDArray, ...] | None = None

    def add(self, further: Further) -> None:
        """Take further forces on, in the order of the sorted cells."""
        n = len(self.order)
        place = np.empty(n + 1, dtype=np.int64)
        place[self.order], place[n] = np.arange(n), -1
        self.further = (
            np.ascontiguousarray(further.types[self.order]),
            np.ascontiguousarray(further.affinity),
            np.ascontiguousarray(place[further.partners[self.order]]),
            np.sqrt(further.elasticity[self.order]),
            np.ascontiguousarray(further.wall[self.order]) if len(further.wall) else further.wall,
        )

    def advance(self, dt: float, longest: float, tolerance: float) -> None:
        """Bogacki–Shampine 3(2) to dt with first same as last."""
        x, k = self.cells, self.slopes
        y = x.copy()
        self._evaluate(x, k[0], np.inf)
        done, h = 0.0, _FIRST_STEP
        while done < dt:
            left = dt - done
            h = min(h, longest, left)
            if left < 2 * h:  # no sliver of a step at the end
                h = left if left <= min(h * 1.0000001, longest) else 0.5 * left
            self._evaluate(y, k[1], stage(x, h, k, _HALF, self.low, self.high, self.built_at, y))
            self._evaluate(y, k[2], stage(x, h, k, _THREE_QUARTERS, self.low, self.high, self.built_at, y))
            moved = stage(x, h, k, _THIRD_ORDER, self.low, self.high, self.built_at, y)
            self._evaluate(y, k[3], moved)
            error = largest(h, k, _ERROR)
            if error <= tolerance:
                done = dt if h == left else done + h
                x, y = y, x
                k[0], k[3] = k[3], k[0].copy()
            elif h <= _SHORTEST_STEP:
                raise FloatingPointError(
                    f"mechanics: no step is short enough {done:g} min into the move (error {error:g} um)"
                )
            h *= min(5.0, max(0.1, 0.9 * (tolerance / max(error, 1e-300)) ** (1 / 3)))
        self.cells = x

    def _evaluate(self, cells: Array, slope: Array, moved: float) -> None:
        """Velocities and pressures of `cells`, that are √moved away from where the list was built."""
        if 4.0 * moved >= self.skin**2 * (1 - 1e-9):
            self.built_at = np.ascontiguousarray(cells[:, :3])
            self.indptr, self.indices = pairs_within(
                self.built_at, self.reaches, self.skin, self.lengths, self.dims
            )
        forces(
            cells,
            self.reach,
            self.lengths,
            self.indptr,
            self.indices,
            self.drift,
            self.free,
            slope,
            self.pressure,
        )
        if self.further is not None:
            types, affinity, partners, elasticity, wall = self.further
            where = (self.low, self.high, self.lengths, self.indptr, self.indices)
            further_forces(
                cells, types, affinity, self.reach, partners, elasticity, wall, *where, self.free, slope
            )


def _packed(positions: Array, radii: Array, repulsion: Array, adhesion: Array) -> Array:
    """What a pair needs of a cell, side by side: (n, 6)."""
    return np.column_stack([positions, radii, np.sqrt(repulsion), np.sqrt(adhesion)])
