"""A solver on a large grid keeps nothing to work on between steps, which changes no bit of any."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from mechanistic.fields import Boundary, CellExchange, DiffusionSolver, Grid, UnevenSolver, _on_grid

_SHAPE = (20, 21, 22)


def _solver(kind: str, grid: Grid):
    held = Boundary(x_min=38.0, x_max=38.0)
    if kind == "even":
        return DiffusionSolver(grid, 1e5, 0.1, held)
    diffusion = np.random.default_rng(0).uniform(1e4, 1e5, _SHAPE)
    return UnevenSolver(grid, diffusion, 0.1, held)


def _stepped(kind: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Field and amounts after three steps and a rest among drawing cells, and bytes held then beside the solver's."""
    grid, rng, n = Grid((0, 0, 0), 20.0, _SHAPE), np.random.default_rng(1), 3000
    cells = CellExchange(
        voxel=rng.integers(0, grid.size, n),
        volume=np.full(n, 2494.0),
        secretion=np.zeros(n),
        saturation=np.zeros(n),
        uptake=rng.uniform(5.0, 10.0, n),
    )
    u, internal = np.full(_SHAPE, 38.0), np.zeros(n)
    solver = _solver(kind, grid)
    solver.steady(u, uptake=0.1)
    tracemalloc.start()
    try:
        for _ in range(3):
            solver.step_with_cells(u, cells, 3.0, internal)
        solver.steady(u, uptake=np.full(_SHAPE, 0.2))
        return u, internal, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["even", "uneven"])
def test_what_a_large_grid_lets_go_is_made_again_alike(kind, monkeypatch):
    u, internal, held = _stepped(kind)
    monkeypatch.setattr(_on_grid, "_LARGE", 1)
    again, amounts, less = _stepped(kind)
    assert np.array_equal(u, again) and np.array_equal(internal, amounts)
    assert less < held - 8 * u.size
