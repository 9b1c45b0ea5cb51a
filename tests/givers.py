"""Cells that do nothing but give: a field of sources for solvers among cells."""

from __future__ import annotations

import numpy as np

from mechanistic.fields import Grid


def with_givers(cells: dict[str, np.ndarray], source: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """The arguments of `step_with_cells` for these cells and, after them, one in every voxel that exports `source`
    (nz, ny, nx) [value/min]; with room of their own for what they hold (`internal`)."""
    n, more = len(cells["voxel"]), np.zeros(grid.size)
    givers = {"voxel": np.arange(grid.size), "volume": np.ones(grid.size)}
    out = {name: np.append(values, givers.get(name, more)) for name, values in cells.items()}
    out["export"] = np.append(np.zeros(n), source.ravel() * grid.voxel_volume)
    return {**out, "internal": np.zeros(n + grid.size)}


def givers(source: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """The same without other cells."""
    names = ("volume", "secretion", "saturation", "uptake")
    return with_givers({"voxel": np.zeros(0, np.int64)} | {n: np.zeros(0) for n in names}, source, grid)
