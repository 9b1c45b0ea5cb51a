"""Who is near whom: exact neighbour lists in two and three dimensions, with or without wrapping."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanistic.threads import threads_for
from sim.agents._bins import bounds
from sim.agents._cell_list import keep_within, pairs_within
from sim.agents.wrapping import Lengths, nearest_images, periods

__all__ = ["Neighbours", "VerletList", "checked_positions", "neighbour_graph"]

Array = NDArray[np.float64]


class Neighbours:
    """The neighbours of n cells as compressed rows: those of cell i are indices[indptr[i]:indptr[i + 1]],
    ascending.

    Symmetric, and no cell is its own neighbour.

    Attributes:
        indptr: int64 (n + 1,).
        indices: int32 (e,).
        periodic: periods (3,) [um], 0 where an axis does not wrap.
    """

    def __init__(self, indptr: NDArray[np.int64], indices: NDArray[np.int32], periodic: Array | None = None):
        self.indptr = indptr
        self.indices = indices
        self.periodic = np.zeros(3) if periodic is None else periodic

    def __len__(self) -> int:
        return self.indptr.size - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of neighbours of each cell (n,)."""
        return np.diff(self.indptr)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The cell that each entry of `indices` is a neighbour of (e,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.counts)

    def edge_index(self) -> NDArray[np.int64]:
        """(2, e): a message goes from edge_index[0] (the neighbour) to edge_index[1] (the cell), sorted by
        the cell."""
        return self._edges

    @cached_property
    def _edges(self) -> NDArray[np.int64]:
        return np.stack([self.indices.astype(np.int64), self.rows])

    def offsets(self, positions: ArrayLike) -> Array:
        """From each cell to its neighbour, by the nearest image: (e, 3) [um], in the order of `indices`."""
        positions = np.asarray(positions, dtype=np.float64)
        return nearest_images(positions[self.indices] - positions[self.rows], self.periodic)

    def distances(self, positions: ArrayLike) -> Array:
        """Distance to each neighbour (e,) [um], in the order of `indices`."""
        return np.sqrt((self.offsets(positions) ** 2).sum(axis=1))


def neighbour_graph(
    positions: ArrayLike, reach: float | ArrayLike, *, periodic: Lengths = None, dims: Literal[2, 3] = 3
) -> Neighbours:
    """The cells within reach of each other, exactly.

    Args:
        positions: (n, 3) [um].
        reach: one distance [um]: neighbours are at most that far apart; or one per cell (n,): neighbours are
            at most reach[i] + reach[j] apart.
        periodic: periods (3,) [um] of the axes that wrap (0 or None: it does not). Distances are to the
            nearest image, and a pair counts once.
        dims: 2 or 3; in two dimensions all z are equal.

    Raises:
        ValueError: for shapes that do not fit, positions that are not finite, or a negative reach.
    """
    return VerletList(0.0).neighbours(positions, reach, periodic=periodic, dims=dims)


class VerletList:
    """Neighbour lists for cells that move little: candidates are found anew only when someone moved > skin/2.

    What `neighbours` returns never depends on what was asked before: candidates are filtered by the exact
    reach.

    Args:
        skin: how far beyond their reach candidates are kept [um].
    """

    def __init__(self, skin: float):
        if not (np.isfinite(skin) and skin >= 0):
            raise ValueError(f"skin must be finite and not negative (got {skin})")
        self.skin = float(skin)
        self.builds = 0
        self._positions = np.empty((0, 3))
        self._reaches = np.empty(0)
        self._lengths = np.zeros(3)
        self._dims = 0
        self._indptr = np.zeros(1, np.int64)
        self._indices = np.empty(0, np.int32)

    def neighbours(
        self,
        positions: ArrayLike,
        reach: float | ArrayLike,
        *,
        periodic: Lengths = None,
        dims: Literal[2, 3] = 3,
    ) -> Neighbours:
        """As `neighbour_graph`, whose arguments and errors it has."""
        positions, reaches = _checked(positions, reach, dims)
        lengths = periods(periodic)
        if positions.shape[0] == 0:
            return Neighbours(np.zeros(1, np.int64), np.empty(0, np.int32), lengths)
        if self.skin == 0:
            indptr, indices = pairs_within(positions, reaches, 0.0, lengths, dims, ascending=True)
        else:
            indptr, indices = self._kept(positions, reaches, lengths, dims)
        return Neighbours(indptr, indices, lengths)

    def _kept(
        self, positions: Array, reaches: Array, lengths: Array, dims: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The candidates that are within reach, from a list that is new only if need be."""
        if not self._serves(positions, reaches, lengths, dims):
            wide = pairs_within(positions, reaches, self.skin, lengths, dims, ascending=True)
            self._indptr, self._indices = wide
            self._positions, self._reaches = positions.copy(), reaches.copy()
            self._lengths, self._dims = lengths, dims
            self.builds += 1
        indptr = np.zeros(len(positions) + 1, np.int64)
        wide = (positions, reaches, lengths, self._indptr, self._indices, indptr)
        with threads_for(len(positions)):
            keep_within(len(positions), *wide, self._indices[:0], False)
            np.cumsum(indptr, out=indptr)
            indices = np.empty(int(indptr[-1]), np.int32)
            keep_within(len(positions), *wide, indices, True)
        return indptr, indices

    def _serves(self, positions: Array, reaches: Array, lengths: Array, dims: int) -> bool:
        """Whether the candidates hold every pair: a pair closes by at most twice the largest move."""
        if dims != self._dims or positions.shape != self._positions.shape:
            return False
        if np.any(reaches > self._reaches) or not np.array_equal(lengths, self._lengths):
            return False
        moved = nearest_images(positions - self._positions, lengths)
        # the margin keeps pairs whose distance was rounded at the edge of the skin
        return 4.0 * float((moved**2).sum(axis=1).max()) <= self.skin**2 * (1 - 1e-9)


def checked_positions(positions: ArrayLike, dims: int) -> Array:
    """Positions as an array (n, 3).

    Raises:
        ValueError: for another shape, positions that are not finite, or dims that are not 2 or 3.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"positions must have shape (n, 3) (got {positions.shape})")
    if dims not in (2, 3):
        raise ValueError(f"dims must be 2 or 3 (got {dims})")
    if len(positions) and not np.isfinite(bounds(positions)).all():
        finite = np.isfinite(positions).all(axis=1)
        raise ValueError(f"the position of cell {int(np.argmin(finite))} is not finite")
    return positions


def _checked(positions: ArrayLike, reach: float | ArrayLike, dims: int) -> tuple[Array, Array]:
    positions = checked_positions(positions, dims)
    reaches = np.asarray(reach, dtype=np.float64)
    if reaches.ndim == 0:
        reaches = np.full(len(positions), 0.5 * float(reaches))
    if reaches.shape != (len(positions),):
        raise ValueError(f"reach must be a number or have shape ({len(positions)},) (got {reaches.shape})")
    if reaches.size and not (np.isfinite(reaches).all() and reaches.min() >= 0):
        raise ValueError("reach must be finite and not negative")
    return positions, np.ascontiguousarray(reaches)
