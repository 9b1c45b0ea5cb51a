"""The neighbour graph as layers see it: compressed rows, and the same edges sorted by who speaks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import torch


class Rows:
    """The neighbours of n cells: those of cell i are indices[indptr[i]:indptr[i + 1]]; an edge is a place in
    `indices`.

    Args:
        indptr: (n + 1,); indices: (e,).

    Raises:
        ValueError: for arrays that are no compressed rows.
    """

    def __init__(self, indptr: ArrayLike, indices: ArrayLike):
        self.indptr = np.ascontiguousarray(indptr, np.int64)
        self.indices = np.ascontiguousarray(indices, np.int32)
        n, e = self.indptr.size - 1, self.indices.size
        if n < 0 or self.indptr[0] != 0 or self.indptr[-1] != e or (np.diff(self.indptr) < 0).any():
            raise ValueError(f"indptr must rise from 0 to the number of edges, {e}")
        if e and not (self.indices.min() >= 0 and self.indices.max() < n):
            raise ValueError(f"indices must be at least 0 and below the number of cells, {n}")

    @classmethod
    def of_edges(cls, edge_index: ArrayLike, cells: int) -> tuple[Rows, NDArray[np.int64]]:
        """Rows of edges (2, e), sender and receiver, and in which order (e,) they took the edges."""
        sender, receiver = np.asarray(edge_index, np.int64)
        order = np.lexsort((sender, receiver))
        indptr = np.zeros(cells + 1, np.int64)
        np.cumsum(np.bincount(receiver, minlength=cells), out=indptr[1:])
        return cls(indptr, sender[order]), order

    def __len__(self) -> int:
        return self.indptr.size - 1

    @property
    def edges(self) -> int:
        """Number of edges, each way counted."""
        return self.indices.size

    @cached_property
    def receivers(self) -> NDArray[np.int64]:
        """The cell that hears along each edge (e,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    @cached_property
    def spoken(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """By sender: indptr (n + 1,), who hears (e,), along which edge (e,). Sums over what a cell says gather by
        it, so that no two threads write to one place."""
        edge = np.argsort(self.indices, kind="stable").astype(np.int32)
        indptr = np.zeros(len(self) + 1, np.int64)
        np.cumsum(np.bincount(self.indices, minlength=len(self)), out=indptr[1:])
        return indptr, self.receivers[edge].astype(np.int32), edge

    def edge_index(self) -> torch.Tensor:
        """(2, e) int64, sender and receiver, as torch-geometric has it."""
        import torch

        return torch.from_numpy(np.stack([self.indices.astype(np.int64), self.receivers]))
