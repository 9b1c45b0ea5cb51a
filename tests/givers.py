"""Cells that do nothing but give: a field of sources for solvers among cells."""

from __future__ import annotations

import numpy as np

from mechanistic.fields import CellExchange, Grid


def with_givers(cells: CellExchange, source: np.ndarray, grid: Grid) -> CellExchange:
    """These cells and, after them, one in every voxel that exports `source` (nz, ny, nx) [value/min]."""
    n, more = len(cells.voxel), np.zeros(grid.size)
    return CellExchange(
        np.append(cells.voxel, np.arange(grid.size)),
        np.append(cells.volume, np.ones(grid.size)),
        *(np.append(values, more) for values in (cells.secretion, cells.saturation, cells.uptake)),
        np.append(np.zeros(n), source.ravel() * grid.voxel_volume),
    )


def givers(source: np.ndarray, grid: Grid) -> CellExchange:
    """The same without other cells."""
    return with_givers(CellExchange(np.zeros(0, np.int64), *np.zeros((4, 0))), source, grid)
