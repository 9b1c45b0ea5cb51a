"""Fields against matrices of their own operators: exact steps, nothing lost, right where they are steady."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from field_matrices import MIXED, PERIODIC, whole
from scipy.linalg import expm

from mechanistic.fields import Boundary, DiffusionSolver, Grid, gradient, sample

_CASES = list(itertools.product([(1, 6, 5), (4, 3, 5), (1, 1, 9)], [Boundary(), PERIODIC, MIXED], [0.0, 0.3]))


@pytest.mark.parametrize(("shape", "boundary", "decay"), _CASES)
@pytest.mark.parametrize("dt", [0.01, 1.0, 50.0])
def test_a_step_is_the_exponential_of_the_whole_operator(shape, boundary, decay, dt):
    grid = Grid((0, 0, 0), 20.0, shape)
    u = np.random.default_rng(0).random(shape)
    matrix, inflow = whole(grid, 300.0, decay, boundary)
    joint = np.block([[matrix, inflow[:, None]], [np.zeros((1, u.size + 1))]])
    expected = (expm(dt * joint) @ np.append(u.ravel(), 1.0))[:-1]
    got = DiffusionSolver(grid, 300.0, decay, boundary).step(u, dt)
    assert got is u
    np.testing.assert_allclose(u.ravel(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("boundary", [Boundary(), PERIODIC, MIXED])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_a_source_is_part_of_the_exponential(boundary, decay):
    rng, grid, dt = np.random.default_rng(4), Grid((0, 0, 0), 20.0, (3, 4, 5)), 2.5
    u, source = rng.random(grid.shape), rng.random(grid.shape)
    matrix, inflow = whole(grid, 300.0, decay, boundary)
    joint = np.block([[matrix, (inflow + source.ravel())[:, None]], [np.zeros((1, u.size + 1))]])
    expected = (expm(dt * joint) @ np.append(u.ravel(), 1.0))[:-1]
    DiffusionSolver(grid, 300.0, decay, boundary).step(u, dt, source)
    np.testing.assert_allclose(u.ravel(), expected, rtol=1e-11)


@pytest.mark.parametrize("boundary", [Boundary(), PERIODIC])
@pytest.mark.parametrize("shape", [(1, 30, 41), (12, 13, 14)])
def test_mass_is_kept_and_nothing_gets_negative(boundary, shape):
    grid = Grid((0, 0, 0), 20.0, shape)
    solver = DiffusionSolver(grid, 1e5, 0.0, boundary)
    u = np.zeros(shape)
    u[0, 3, 4] = 1.0
    for dt in (1e-6, 0.01, 1.0, 6.0) * 10:
        solver.step(u, dt)
        assert u.min() >= 0
    assert abs(u.sum() - 1) < 1e-13


def test_positive_faces_keep_the_field_positive_and_within_them():
    solver = DiffusionSolver(Grid((0, 0, 0), 20.0, (6, 7, 8)), 1e5, 0.1, Boundary.everywhere(38.0))
    u = np.zeros((6, 7, 8))
    for dt in (1e-4, 0.1, 6.0):
        solver.step(u, dt)
        assert u.min() >= 0 and u.max() <= 38.0 * (1 + 1e-14)


@pytest.mark.parametrize("boundary", [Boundary(), PERIODIC])
def test_without_diffusion_there_is_decay_alone(boundary):
    u = np.random.default_rng(3).random((1, 5, 6))
    start = u.copy()
    DiffusionSolver(Grid((0, 0, 0), 20.0, u.shape), 0.0, 0.5, boundary).step(u, 2.0)
    np.testing.assert_allclose(u, start * np.exp(-1.0), rtol=1e-14)


def test_two_half_steps_are_one():
    grid = Grid((0, 0, 0), 20.0, (1, 20, 30))
    solver = DiffusionSolver(grid, 1e4, 0.02, MIXED)
    once = np.random.default_rng(1).random(grid.shape)
    twice = once.copy()
    solver.step(once, 3.0)
    solver.step(solver.step(twice, 1.0), 2.0)
    np.testing.assert_allclose(once, twice, rtol=1e-12)


@pytest.mark.parametrize("boundary", [Boundary(), PERIODIC, MIXED])
@pytest.mark.parametrize("shape", [(1, 9, 8), (4, 5, 6)])
def test_the_steady_field_solves_its_equation(boundary, shape):
    rng = np.random.default_rng(2)
    grid = Grid((0, 0, 0), 20.0, shape)
    source, uptake = rng.random(shape), np.where(rng.random(shape) < 0.3, 10.0, 0.0)
    matrix, inflow = whole(grid, 1e3, 0.1, boundary)
    expected = np.linalg.solve(np.diag(uptake.ravel()) - matrix, inflow + source.ravel())
    u = np.full(shape, 7.0)
    DiffusionSolver(grid, 1e3, 0.1, boundary).steady(u, source, uptake)
    np.testing.assert_allclose(u.ravel(), expected, rtol=1e-8)


def test_steady_is_where_steps_lead():
    grid = Grid((0, 0, 0), 20.0, (1, 10, 10))
    solver = DiffusionSolver(grid, 1e3, 0.1, MIXED)
    steady, u = solver.steady(np.zeros(grid.shape)), np.zeros(grid.shape)
    solver.step(u, 1e4)
    np.testing.assert_allclose(u, steady, rtol=1e-9)


@pytest.mark.parametrize("boundary", [Boundary(), PERIODIC])
def test_no_steady_field_without_a_loss(boundary):
    solver = DiffusionSolver(Grid((0, 0, 0), 20.0, (1, 4, 4)), 1e3, 0.0, boundary)
    with pytest.raises(ValueError, match="no steady state"):
        solver.steady(np.zeros((1, 4, 4)), 1.0)
    uptake = np.zeros((1, 4, 4))
    uptake[0, 0, 0] = 2.0
    u = solver.steady(np.zeros((1, 4, 4)), 1.0, uptake)
    assert u[0, 0, 0] == pytest.approx(8.0)  # all that 16 voxels make leaves there


def test_a_grid_knows_its_voxels():
    grid = Grid((-40.0, 0.0, 10.0), 20.0, (2, 3, 4))
    z, y, x = np.meshgrid(*(grid.centres(axis) for axis in (2, 1, 0)), indexing="ij")
    centres = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    assert grid.voxel_of(centres).tolist() == list(range(grid.size))
    assert grid.voxel_of(centres[5] + np.array([9.9, -9.9, 9.9])).tolist() == [5]
    assert grid.voxel_of([[-1e9, -1e9, -1e9], [1e9, 1e9, 1e9]]).tolist() == [0, grid.size - 1]
    assert (grid.dims, grid.size, grid.voxel_volume) == (3, 24, 8000.0)
    u = np.arange(24.0).reshape(grid.shape)
    assert sample(u, grid.voxel_of(centres[::-1])).tolist() == list(range(23, -1, -1))


def test_a_layer_ignores_z():
    grid = Grid((0, 0, -10.0), 20.0, (1, 2, 2))
    assert grid.dims == 2
    assert grid.voxel_of([[30.0, 5.0, -500.0], [5.0, 30.0, 500.0]]).tolist() == [1, 2]


@pytest.mark.parametrize("periodic", [False, True])
def test_the_gradient_of_a_plane_and_of_a_wave(periodic):
    grid = Grid((0, 0, 0), 10.0, (5, 6, 40))
    z, y, x = np.meshgrid(*(grid.centres(axis) for axis in (2, 1, 0)), indexing="ij")
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    if periodic:
        k = 2 * np.pi / 400.0
        got = gradient(np.sin(k * x), grid, points, periodic=True)
        expected = np.cos(k * points[:, 0]) * np.sin(10 * k) / 10
        np.testing.assert_allclose(got, np.stack([expected, 0 * expected, 0 * expected], axis=1), atol=1e-13)
    else:
        got = gradient(3 * x - 2 * y + 0.5 * z, grid, points)
        np.testing.assert_allclose(got, np.broadcast_to([3, -2, 0.5], got.shape), rtol=1e-11)


def test_what_makes_no_sense_is_refused():
    grid = Grid((0, 0, 0), 20.0, (1, 4, 4))
    with pytest.raises(ValueError, match="shape"):
        Grid((0, 0, 0), 20.0, (0, 4, 4))
    with pytest.raises(ValueError, match="spacing"):
        Grid((0, 0, 0), 0.0, (1, 4, 4))
    with pytest.raises(ValueError, match="origin"):
        Grid((0, np.nan, 0), 1.0, (1, 4, 4))
    with pytest.raises(ValueError, match="pairs"):
        Boundary(x_min="periodic")
    with pytest.raises(ValueError, match="finite"):
        Boundary(x_min=np.inf)
    with pytest.raises(ValueError, match="open"):
        Boundary(x_min="open")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="diffusion"):
        DiffusionSolver(grid, -1.0)
    with pytest.raises(ValueError, match="decay"):
        DiffusionSolver(grid, 1.0, np.nan)
    solver = DiffusionSolver(grid, 1.0)
    with pytest.raises(ValueError, match="float64"):
        solver.step(np.zeros((1, 4, 4), np.float32), 1.0)
    with pytest.raises(ValueError, match="dt"):
        solver.step(np.zeros((1, 4, 4)), -1.0)
    with pytest.raises(ValueError, match="uptake"):
        solver.steady(np.zeros((1, 4, 4)), 0.0, -1.0)
