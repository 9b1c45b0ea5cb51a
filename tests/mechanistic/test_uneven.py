"""Diffusion that differs from place to place: against slabs, the even solver and made-up solutions; walls keep all."""

from __future__ import annotations

import numpy as np
import pytest
from givers import with_givers
from scipy.linalg import expm

from mechanistic.fields import Boundary, CellExchange, DiffusionSolver, Grid, Inflow, Permeable, UnevenSolver
from mechanistic.threads import set_threads, threads

_MIXED = Boundary(2.0, "no_flux", "periodic", "periodic", Permeable(30.0, 1.5), Inflow(4.0))


def _cells(rng, n: int, voxels) -> CellExchange:
    return CellExchange(
        voxel=rng.choice(voxels, n),
        volume=rng.uniform(1000, 4000, n),
        secretion=rng.choice([0.0, 1.0], n),
        saturation=np.full(n, 2.0),
        uptake=rng.choice([0.0, 10.0], n),
    )


def test_two_slabs_one_after_the_other_are_resistances_in_series():
    grid, n = Grid((0, 0, 0), 10.0, (1, 1, 20)), 20
    diffusion = np.where(np.arange(n) < 8, 50.0, 700.0).reshape(grid.shape)
    u = UnevenSolver(grid, diffusion, 0.0, Boundary(x_min=5.0, x_max=1.0)).steady(np.zeros(grid.shape))
    flow = (5.0 - 1.0) / (80 / 50.0 + 120 / 700.0)
    x = grid.centres(0)
    exact = np.where(x < 80, 5.0 - flow * x / 50.0, 1.0 + flow * (200 - x) / 700.0)
    np.testing.assert_allclose(u.ravel(), exact, rtol=1e-8)


@pytest.mark.parametrize("boundary", [Boundary(), Boundary.everywhere("periodic"), _MIXED])
@pytest.mark.parametrize("shape", [(1, 9, 8), (5, 6, 7)])
def test_where_it_is_even_it_is_the_even_solver(boundary, shape):
    rng, grid = np.random.default_rng(0), Grid((0, 0, 0), 20.0, shape)
    cells, source, start = _cells(rng, 30, np.arange(grid.size)), rng.random(shape), rng.random(shape)
    even = DiffusionSolver(grid, 400.0, 0.1, boundary)
    uneven = UnevenSolver(grid, np.full(shape, 400.0), 0.1, boundary)
    np.testing.assert_allclose(
        uneven.steady(np.zeros(shape), source), even.steady(np.zeros(shape), source), rtol=1e-7
    )
    np.testing.assert_allclose(
        uneven.step(start.copy(), 2.0, source), even.step(start.copy(), 2.0, source), atol=2e-3
    )
    results = []
    for solver in (even, uneven):
        u, among = start.copy(), with_givers(cells, source, grid)
        internal = np.zeros(len(among.voxel))
        for _ in range(40):
            solver.step_with_cells(u, among, 0.025, internal)
        results.append(np.concatenate([u.ravel(), internal / 8000]))
    np.testing.assert_allclose(*results, atol=1e-3 * results[0].max())


@pytest.mark.parametrize("boundary", [Boundary(), Boundary.everywhere("periodic")])
@pytest.mark.parametrize("dt", [0.01, 1.0, 60.0])
def test_nothing_passes_where_diffusion_is_zero_and_nothing_is_lost(boundary, dt):
    rng, grid = np.random.default_rng(1), Grid((0, 0, 0), 20.0, (5, 12, 14))
    diffusion = np.full(grid.shape, 1e4)
    diffusion[:, :, 6] = 0.0  # a wall,
    diffusion[2, 3:7, 2:5] = 0.0  # and a stone
    if boundary.x_min == "periodic":
        diffusion[:, :, 13] = 0.0
    left, solid = np.zeros(grid.shape, bool), diffusion == 0
    left[:, :, :6] = True
    u = np.where(left & ~solid, rng.random(grid.shape), 0.0)
    u[2, 4, 3] = 7.0
    voxels = np.flatnonzero(left & ~solid)
    cells, internal = _cells(rng, 40, voxels), np.full(40, 1e5)
    total = u.sum() * grid.voxel_volume + internal.sum()
    solver = UnevenSolver(grid, diffusion, 0.0, boundary)
    for _ in range(4):
        solver.step_with_cells(u, cells, dt, internal)
    assert abs((u.sum() * grid.voxel_volume + internal.sum()) / total - 1) < 1e-12
    assert u[2, 4, 3] == pytest.approx(7.0, rel=1e-12)
    assert u[:, :, 7:13].max() < 1e-15


def test_a_step_nears_the_exponential_of_the_matrix_in_second_order():
    rng, grid = np.random.default_rng(2), Grid((0, 0, 0), 20.0, (1, 3, 9))
    diffusion = rng.uniform(20, 400, grid.shape)
    solver = UnevenSolver(grid, diffusion, 0.05, Boundary(x_min=2.0))
    unit = np.zeros(grid.shape)
    matrix, zero = np.empty((grid.size, grid.size)), np.zeros(grid.shape)
    loss = np.full(grid.shape, 0.05)
    for i in range(grid.size):
        unit.reshape(-1)[:] = np.arange(grid.size) == i
        matrix[:, i] = solver._multigrid.rest(unit, zero, loss=loss).ravel()
    joint = np.block([[matrix, solver._inflow.reshape(-1, 1)], [np.zeros((1, grid.size + 1))]])
    start = rng.random(grid.shape)
    exact = (expm(2.0 * joint) @ np.append(start.ravel(), 1.0))[:-1]
    errors = []
    for steps in (32, 64, 128):
        u = start.copy()
        for _ in range(steps):
            solver.step(u, 2.0 / steps)
        errors.append(np.abs(u.ravel() - exact).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 2.0) < 0.1)
    assert (
        np.abs(solver.step(start.copy(), 2.0).ravel() - exact).max() < 2e-3
    )  # it divides a long step itself


def _manufactured(n: int) -> float:
    """Largest error at t = 1 for u = 3 + e^-t sin(x) cos(y) where D = 1 + sin(x)/2."""
    grid, dt = Grid((0, 0, 0), 2 * np.pi / n, (1, n, n)), 0.5 / n
    x, y = grid.centres(0)[None, None, :], grid.centres(1)[None, :, None]

    def exact(t):
        return 3 + np.exp(-t) * np.sin(x) * np.cos(y)

    def source(t):
        spread = (1 + 0.5 * np.sin(x)) * -2 * np.sin(x) * np.cos(y) + 0.5 * np.cos(x) ** 2 * np.cos(y)
        return np.exp(-t) * (-np.sin(x) * np.cos(y) - spread) + 0.2 * exact(t)

    diffusion = np.broadcast_to(1 + 0.5 * np.sin(x), grid.shape)
    solver = UnevenSolver(grid, diffusion, 0.2, Boundary(3.0, 3.0, "periodic", "periodic"))
    u = np.ascontiguousarray(exact(0.0))
    for i in range(round(1 / dt)):
        solver.step(u, dt, source((i + 0.5) * dt))
    return float(np.abs(u - exact(1.0)).max())


def test_it_is_second_order_in_space_and_time():
    errors = np.array([_manufactured(n) for n in (8, 16, 32)])
    assert np.all(np.abs(np.log2(errors[:-1] / errors[1:]) - 2.0) < 0.1)


def test_bits_do_not_depend_on_the_number_of_threads():
    rng, grid = np.random.default_rng(3), Grid((0, 0, 0), 20.0, (21, 25, 41))
    diffusion, start = rng.choice([0.0, 10.0, 1e4], grid.shape), rng.random(grid.shape)
    results, before = [], threads()
    try:
        for count in (1, 2):
            set_threads(count)
            solver = UnevenSolver(grid, diffusion, 0.1, _MIXED)
            results.append(solver.step(start.copy(), 0.3).tobytes())
    finally:
        set_threads(before)
    assert results[0] == results[1]


def test_what_makes_no_sense_is_refused():
    grid = Grid((0, 0, 0), 20.0, (1, 4, 4))
    with pytest.raises(ValueError, match="shape"):
        UnevenSolver(grid, np.ones((1, 4, 5)))
    with pytest.raises(ValueError, match="diffusion"):
        UnevenSolver(grid, np.full(grid.shape, -1.0))
    with pytest.raises(ValueError, match="no steady state"):
        UnevenSolver(grid, np.ones(grid.shape)).steady(np.ones(grid.shape))
    with pytest.raises(ValueError, match="dt"):
        UnevenSolver(grid, np.ones(grid.shape)).step(np.ones(grid.shape), -1.0)
