"""Cells that push and hold each other: overdamped, centre-based mechanics with the potential of PhysiCell.

Velocity of cell i: Σ_j [√(ρ_i ρ_j) (1 − d/R)²₊ − √(α_i α_j) (1 − d/S)²₊] (x_i − x_j)/d + its own motile
velocity, with R = r_i + r_j and S = reach · R (Ghaffarizadeh et al. 2018, doi:10.1371/journal.pcbi.1005991).
PhysiCell steps it by 0.1 min; here the pair of orders 5(4) of Dormand and Prince (1980,
doi:10.1016/0771-050X(80)90013-3) chooses its steps by what the solution of order 4 is wrong by: short ones where
cells have just divided, long ones in a tissue at rest. What is gone on with is that of order 5, nearer by ten times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanistic.codegen.loops import Given
from mechanistic.threads import threads_for
from sim.agents._bins import bounds, spatial_order
from sim.agents._cell_list import lists_within
from sim.agents._force_kernels import PRESSURE_SCALE, forces, further_forces, largest, stage
from sim.agents._memory import give_back
from sim.agents._pair_code import slack
from sim.agents._sorted import before_lists, lay_out, put_back
from sim.agents.wrapping import Lengths, inside, periods

__all__ = ["PRESSURE_SCALE", "Following", "Further", "Tissue", "move", "velocities"]

Array = NDArray[np.float64]

# of the slopes so far, what each of the further six is evaluated at; the last is the new state
_STAGES = tuple(
    np.array(weights)
    for weights in (
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        [35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    )
)
# the slope at the new state takes the place of the second, which nothing needs by then
_PLACES = 1, 2, 3, 4, 5, 1
_ERROR = np.array([71 / 57600, -1 / 40, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525])
_FIRST_STEP = 0.25
_SHORTEST_STEP = 1e-9
_SKINS = (
    0.03,
    0.1,
)  # least and most that a cell may move before lists are made anew, of the longest reach of a pair
_NO_WALL = np.full(3, np.inf)
_NO_PRESSURE = np.empty(0)
_NOTHING = Given()
_NOBODY_FOLLOWS = np.empty((0, 0)), np.empty((0, 0)), np.empty(0)


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
    cells, strengths = _packed(positions, radii, repulsion, adhesion)
    counts = np.diff(indptr).astype(np.int32)
    begins = indptr[:-1].astype(np.int32 if len(indices) < 2**31 else np.int64)
    pairs = begins, counts, slack(np.ascontiguousarray(indices, dtype=np.int32))
    lengths, none = periods(periodic), np.empty(0)
    how = cells, strengths, float(reach), lengths, *pairs
    forces(len(cells), *how, none.reshape(0, 3), none, out_velocity, out_pressure)


@dataclass(frozen=True)
class Following:
    """How cells move by others that need not answer: towards each at speed · lure · 16 (s (1 − s))², s = d/reach.

    Attributes:
        reach: (t, t) [um] by the type of the one that follows and of the one that is followed; 0 where it is not.
        speed: of each cell towards each type (n, t) [um/min], negative away from it.
        lure: of each cell (n,), by which those that follow it are sped up.
    """

    reach: Array
    speed: Array
    lure: Array


@dataclass(frozen=True)
class Further:
    """What moves cells beside the potential; each is left out where its array is empty.

    Attributes:
        types: codes (n,); affinity: (t, t), symmetric: a pair's adhesion is multiplied by that of its types.
        partners: (n, k), rows of the cells that a spring joins to each, -1 for none; joined both ways.
        elasticity: spring constant of each cell (n,) [1/min]; a spring has the geometric mean of its two cells'.
        wall: strength (n,) [um/min] of (1 - d/r)² by which walls nearer than the radius push a cell away.
        following: what is not mutual, None where nobody follows.
    """

    types: NDArray[np.int64]
    affinity: Array
    partners: NDArray[np.int64]
    elasticity: Array
    wall: Array
    following: Following | None = None


def move(
    positions: Array,
    radii: Array,
    repulsion: Array,
    adhesion: Array,
    *,
    dt: float = 0.1,
    max_step: float = np.inf,
    tolerance: float = 1e-4,
    **more: Any,
) -> Array:
    """Moves all cells for dt, in place; returns their simple pressure (n,) at the end.

    A function of its arguments alone, with the same bits for every number of threads and any order of the
    rows. The arguments are those of `Tissue` and of its `advance`, and so are the errors.

    Args:
        positions: (n, 3) [um], changed.
        more: what else `Tissue` takes.
    """
    tissue = Tissue(positions, radii, repulsion, adhesion, np.empty(positions.shape[0]), **more)
    tissue.advance(dt, max_step, tolerance)
    return tissue.pressure


class Tissue:
    """Cells laid out to be moved, in an order that depends on where they are and not on their rows.

    It holds copies, of all but the arrays that it changes: what it was made of may go before `advance`, which is when
    memory is short.

    Args:
        positions: (n, 3) [um], changed by `advance`.
        radii: (n,) [um].
        repulsion, adhesion: (n,) [um/min].
        pressure: (n,), takes the simple pressures.
        reach: how far adhesion reaches, in units of r_i + r_j; at least 1.
        motile_velocity: (n, 3) [um/min] each cell adds by itself, constant during dt.
        fixed: cells that stay where they are (n,).
        lower, upper: corners of the domain (3,) [um]: walls that centres do not pass, or where they wrap.
        periodic: x, y (and z in three dimensions) wrap; then lower and upper are needed.
        dims: 2 leaves z untouched.
        further: affinities of types, springs and walls.

    Raises:
        ValueError: if shapes do not fit, positions or pressure cannot be changed in place, or a position is not
            finite.
    """

    def __init__(
        self,
        positions: Array,
        radii: Array,
        repulsion: Array,
        adhesion: Array,
        pressure: Array,
        reach: float = 1.25,
        motile_velocity: Array | None = None,
        fixed: NDArray[np.bool_] | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        periodic: bool = False,
        dims: Literal[2, 3] = 3,
        further: Further | None = None,
    ):
        n = positions.shape[0]
        if positions.shape != (n, 3) or any(a.shape != (n,) for a in (radii, repulsion, adhesion, pressure)):
            raise ValueError("positions must be (n, 3) and radii, repulsion and adhesion (n,)")
        for name, array in (("positions", positions), ("pressure", pressure)):
            if array.dtype != np.float64 or not array.flags.carray:
                raise ValueError(f"{name} must be doubles in C order that may be changed (got {array.dtype})")
        if n and not np.isfinite(bounds(positions)).all():
            lost = int(np.argmin(np.isfinite(positions).all(axis=1)))
            raise ValueError(f"the position of cell {lost} is not finite")
        self.low, self.high = (
            sign * _NO_WALL if corner is None else np.array(corner, dtype=np.float64)
            for corner, sign in ((lower, -1.0), (upper, 1.0))
        )
        self.lengths, self.corner, self.dims = np.zeros(3), self.low.copy(), dims
        if periodic:
            if lower is None or upper is None:
                raise ValueError("a periodic domain needs its corners")
            self.lengths[:dims] = (self.high - self.low)[:dims]
            self.low[:dims], self.high[:dims] = -np.inf, np.inf
        if dims == 2:
            self.low[2], self.high[2] = -np.inf, np.inf
        widest = 2 * reach * float(radii.max(initial=0.0))
        self.skins = tuple(share * widest for share in _SKINS)
        self.order = spatial_order(positions, widest, self.lengths, dims) if n else np.empty(0, np.int32)
        self.cells, self.strengths = _packed(positions, radii, repulsion, adhesion, self.order)
        self.reach = float(reach)
        self.drift = np.empty((0, 3))
        if motile_velocity is not None and motile_velocity.any():
            self.drift = np.ascontiguousarray(motile_velocity[self.order], dtype=np.float64)
            if dims == 2:
                self.drift[:, 2] = 0.0
        self.free = np.empty(0)
        if fixed is not None and fixed.any():
            self.free = np.where(fixed[self.order], 0.0, 1.0)
        self.further: tuple[NDArray, ...] | None = None
        self.sight = np.empty(0)
        if further is not None:
            self._add(further)
        # while the cells move, the first holds where they were when lists were made, in their order here
        self.positions, self.pressure, self.room = positions, pressure, np.empty(0)

    def advance(self, dt: float, max_step: float = np.inf, tolerance: float = 1e-4) -> None:
        """Moves all cells for dt, once: `positions` and `pressure` then hold where they are and how they are pressed.

        Args:
            dt: [min].
            max_step: longest step inside dt [min].
            tolerance: largest error of a step in a coordinate of any cell [um], as the solution of order 4 would
                make it.

        Raises:
            FloatingPointError: if no step is short enough, naming the step; `positions` then mean nothing.
        """
        n = len(self.order)
        if n == 0:
            return
        give_back(n)
        # what a slope adds is far below the place it is added to; rounding is the same for both cells of a pair
        slopes = np.empty((len(_ERROR), 3 * n), np.float32)
        with threads_for(n):
            self._step(slopes, float(dt), float(max_step), float(tolerance))
            del slopes
            self._forget_pairs()
            self.room, self.bounds = np.empty(0), _NOTHING
            put_back(n, self.cells, self.pressure.copy(), self.order, self.positions, self.pressure)
        inside(self.positions, self.corner, self.lengths)

    def _add(self, further: Further) -> None:
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
        if further.following is None:
            self.following = _NOBODY_FOLLOWS
            return
        reach, speed, lure = further.following.reach, further.following.speed, further.following.lure
        self.following = (
            np.ascontiguousarray(reach),
            np.ascontiguousarray(speed[self.order]),
            lure[self.order],
        )
        # of a pair, either has half of the way at which one of them may follow the other
        self.sight = 0.5 * np.maximum(reach, reach.T).max(axis=1)[self.further[0]]

    def _step(self, k: NDArray[np.float32], dt: float, longest: float, tolerance: float) -> None:
        """Dormand–Prince 5(4) to dt, the last slope of a step the first of the next; k: room for slopes (6, 3 n)."""
        x, y, rows = self.cells, np.empty_like(self.cells), np.arange(len(_ERROR))
        y[:, 3] = x[:, 3]
        n, slopes = len(x), Given(k, rows)
        k[0] = 0.0
        self._find(x, k[0], dt)
        self._evaluate(x, k[0], at_end=True)
        done, h = 0.0, _FIRST_STEP
        while done < dt:
            left = dt - done
            h = min(h, longest, left)
            if left < 2 * h:  # no sliver of a step at the end
                h = left if left <= min(h * 1.0000001, longest) else 0.5 * left
            for weights, place in zip(_STAGES, _PLACES):
                if stage(n, x, h, weights, slopes, self.bounds, y):
                    self._find(y, k[rows[0]], left)
                self._evaluate(y, k[rows[place]], at_end=weights is _STAGES[-1])
            error = largest(n, h, _ERROR, slopes)
            if error <= tolerance:
                done = dt if h == left else done + h
                x, y = y, x
                rows[:2] = rows[1], rows[0]
            elif h <= _SHORTEST_STEP:
                raise FloatingPointError(
                    f"mechanics: no step is short enough {done:g} min into the move (error {error:g} um)"
                )
            h *= min(5.0, max(0.1, 0.9 * (tolerance / max(error, 1e-300)) ** 0.2))
        self.cells = x

    def _find(self, cells: Array, slope: NDArray[np.float32], left: float) -> None:
        """Lists of all who may come within reach of each other before one of them has moved by its `room` (n,).

        That is how far it will go [um] in what is left of the move if it keeps the velocity `slope`, within the bounds
        of skins.
        """
        self._forget_pairs()  # what is not needed makes room first
        if self.room.size == 0:
            self.room = np.empty(len(cells))
            self.bounds = Given(self.low, self.high, self.positions, self.room)
        reaches = self.pressure  # which means nothing before the end of a step
        how = self.reach, self.sight, self.room, self.positions, reaches
        before_lists(len(cells), cells, slope, left, *self.skins, *how)
        self.pairs = lists_within(cells, reaches, self.lengths, self.dims)
        own = self.drift, self.free
        self.how = Given(self.strengths, self.reach, self.lengths, *self.pairs, *own)

    def _forget_pairs(self) -> None:
        self.pairs: tuple[NDArray, ...] = ()
        self.how = _NOTHING

    def _evaluate(self, cells: Array, slope: NDArray[np.float32], at_end: bool = False) -> None:
        """Velocities of `cells`, and, at the end of a step, their pressures."""
        velocity = slope.reshape(-1, 3)
        forces(len(cells), cells, self.how, velocity, self.pressure if at_end else _NO_PRESSURE)
        if self.further is not None:
            types, affinity, partners, elasticity, wall = self.further
            where = (self.low, self.high, self.lengths, *self.pairs)
            kinds = types, affinity, self.reach, partners, elasticity, wall, *self.following
            further_forces(len(cells), cells, self.strengths, *kinds, *where, self.free, velocity)


def _packed(
    positions: Array, radii: Array, repulsion: Array, adhesion: Array, order: NDArray[np.int32] | None = None
) -> tuple[Array, Array]:
    """What a pair needs of a cell, side by side: place and radius (n, 4), roots of strengths (n, 2), or (1, 2) where
    all cells have the same."""
    n = len(radii)
    order = np.arange(n, dtype=np.int32) if order is None else order
    alike = n > 0 and all((a == a[0]).all() for a in (repulsion, adhesion))
    cells, strengths = np.empty((n, 4)), np.empty((1 if alike else n, 2))
    with threads_for(n, 50_000):
        given = (np.ascontiguousarray(a, np.float64) for a in (positions, radii, repulsion, adhesion))
        lay_out(n, *given, order, cells, strengths)
    return cells, strengths
