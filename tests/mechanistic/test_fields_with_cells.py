"""Fields that exchange with cells against matrices of the whole: exact or of their order, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from field_matrices import MIXED, PERIODIC, whole
from givers import with_givers
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from mechanistic.fields import Boundary, CellExchange, DiffusionSolver, Grid, exchange, membrane_exchange
from mechanistic.fields._exchange import VoxelExchange, group_by_voxel, relax
from mechanistic.fields._spreading import Matrices
from mechanistic.threads import set_threads, threads


def _cells(rng: np.random.Generator, n: int, voxels: int) -> CellExchange:
    return CellExchange(
        voxel=rng.integers(0, voxels, n),
        volume=rng.uniform(200, 5000, n),
        secretion=rng.choice([0.0, 0.3, 5.0], n),
        saturation=rng.uniform(0, 4, n),
        uptake=rng.choice([0.0, 0.2, 10.0, 1e-9], n),
    )


def _star(volume: np.ndarray, permeability: np.ndarray, w: float) -> np.ndarray:
    """The matrix of one voxel's value and its cells' amounts."""
    m = len(volume)
    joint = np.zeros((m + 1, m + 1))
    joint[0, 0], joint[0, 1:] = -(volume * permeability).sum() / w, permeability / w
    joint[1:, 0], joint[1:, 1:] = volume * permeability, -np.diag(permeability)
    return joint


def _with_cells(grid: Grid, boundary: Boundary, cells: CellExchange, diffusion: float, decay: float):
    """The joint matrix of field, its integral's booking in the cells, and a one."""
    matrix, inflow = whole(grid, diffusion, decay, boundary)
    n, m, w = grid.size, len(cells.voxel), grid.voxel_volume
    draw = cells.volume * (cells.secretion + cells.uptake)
    give = cells.volume * cells.secretion * cells.saturation
    joint = np.zeros((n + m + 1, n + m + 1))
    joint[:n, :n], joint[:n, -1] = matrix, inflow
    np.add.at(joint, (cells.voxel, cells.voxel), -draw / w)
    np.add.at(joint[:, -1], cells.voxel, give / w)
    joint[n + np.arange(m), cells.voxel], joint[n : n + m, -1] = draw, -give
    return joint


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_without_diffusion_each_voxel_goes_its_own_way(decay):
    rng, grid = np.random.default_rng(4), Grid((0, 0, 0), 10.0, (1, 3, 4))
    voxel, start, source = np.array([2, 7, 7]), rng.uniform(0, 2, grid.shape), rng.uniform(0, 1, grid.shape)
    volume, secretion, saturation = np.full(3, 900.0), np.array([0.0, 1.0, 0.0]), np.full(3, 5.0)
    uptake, u = np.array([9.0, 0.0, 30.0]), start.copy()
    cells = with_givers(CellExchange(voxel, volume, secretion, saturation, uptake), source, grid)
    internal = np.zeros(len(cells.voxel))
    DiffusionSolver(grid, 0.0, decay, Boundary.everywhere(3.0)).step_with_cells(u, cells, 6.0, internal)
    rate = decay + np.bincount(voxel, 0.9 * (secretion + uptake), u.size).reshape(u.shape)
    gain = source + np.bincount(voxel, 0.9 * secretion * saturation, u.size).reshape(u.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        end = np.where(rate > 0, gain / rate, 0.0)
    expected = np.where(rate > 0, end + (start - end) * np.exp(-6.0 * rate), start + 6.0 * gain)
    np.testing.assert_allclose(u, expected, rtol=1e-12)
    if decay == 0.0:
        came = (start.sum() - u.sum()) * grid.voxel_volume
        assert internal.sum() == pytest.approx(came, rel=1e-10)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 0.01, 1.0, 300.0]))
def test_exchange_is_exact_per_voxel_and_loses_nothing(seed, dt):
    rng, (w, voxels, n) = np.random.default_rng(seed), (8000.0, 6, 25)
    cells = _cells(rng, n, voxels)
    u, internal = rng.uniform(0, 3, (1, 2, 3)), rng.uniform(-1, 1, n)
    before, held = u.ravel().copy(), internal.copy()
    exchange(u, cells, dt, internal, w)
    for v in range(voxels):
        rows = np.flatnonzero(cells.voxel == v)
        m = len(rows)
        size, s, u_, top = (a[rows] for a in (cells.volume, cells.secretion, cells.uptake, cells.saturation))
        joint = np.zeros((m + 2, m + 2))  # the voxel, its cells, and a one
        joint[0, 0], joint[0, -1] = -(size * (s + u_)).sum() / w, (size * s * top).sum() / w
        joint[1 : m + 1, 0], joint[1 : m + 1, -1] = size * (s + u_), -size * s * top
        end = expm(dt * joint) @ np.concatenate([[before[v]], held[rows], [1.0]])
        throughput = 1 + (size * (s + u_)).sum() * 4 * dt
        np.testing.assert_allclose(u.ravel()[v], end[0], rtol=1e-9, atol=1e-12)  # expm's own rounding
        np.testing.assert_allclose(internal[rows], end[1:-1], rtol=1e-9, atol=1e-11 * throughput)
    scale = w * before.sum() + (cells.volume * cells.secretion * cells.saturation).sum() * dt
    assert abs(w * (u.sum() - before.sum()) + (internal - held).sum()) <= 1e-12 * scale
    assert u.min() >= 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 0.05, 2.0, 500.0]))
def test_membranes_of_one_permeability_are_exact_and_lose_nothing(seed, dt):
    rng, (w, voxels, n) = np.random.default_rng(seed), (8000.0, 4, 14)
    voxel, volume = rng.integers(0, voxels, n), rng.uniform(200, 5000, n)
    permeability = np.array([0.0, 0.1, 1.0, 20.0])[voxel]
    u, inside = rng.uniform(0, 3, (1, 2, 2)), rng.uniform(0, 9000, n)
    before, held = u.ravel().copy(), inside.copy()
    membrane_exchange(u, voxel, volume, permeability, inside, dt, w)
    for v in range(voxels):
        rows = np.flatnonzero(voxel == v)
        end = expm(dt * _star(volume[rows], permeability[rows], w)) @ np.append(before[v], held[rows])
        np.testing.assert_allclose(np.append(u.ravel()[v], inside[rows]), end, rtol=1e-9, atol=1e-8)
    total = w * before.sum() + held.sum()
    assert abs(w * u.sum() + inside.sum() - total) <= 1e-12 * total
    assert u.min() >= 0 and inside.min() >= 0


@pytest.mark.parametrize("fastest", [0.05, 0.5, 3.0])
def test_voxels_that_exchange_side_by_side_do_so_as_one_by_one(fastest):
    rng, n = np.random.default_rng(0), 203
    voxel, rate, start = rng.permutation(500)[:n], rng.uniform(0, fastest, n), rng.random(500)
    gain, one, first = rng.uniform(0, 1, n) * (rng.random(n) < 0.5), start.copy(), np.zeros(n)
    together, seen = start.copy(), np.zeros(n)
    relax(together, VoxelExchange(voxel, rate, gain, voxel[:0]), 1.0, seen)
    for k in range(n):
        at = slice(k, k + 1)
        relax(one, VoxelExchange(voxel[at], rate[at], gain[at], voxel[:0]), 1.0, first[at])
    np.testing.assert_array_equal(together, one)
    np.testing.assert_array_equal(seen, first)
    left = np.exp(-rate)
    np.testing.assert_allclose(
        together[voxel], start[voxel] * left + gain * -np.expm1(-rate) / rate, rtol=1e-14
    )


@pytest.mark.parametrize("boundary", [Boundary(), PERIODIC, MIXED])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_fast_field_among_cells_is_right_at_long_steps(boundary, decay):
    rng, grid = np.random.default_rng(7), Grid((0, 0, 0), 20.0, (2, 5, 6))
    cells = _cells(rng, 40, grid.size)
    joint = _with_cells(grid, boundary, cells, 1e4, decay)
    start = rng.uniform(0, 3, grid.shape)
    solver = DiffusionSolver(grid, 1e4, decay, boundary)
    for dt in (0.004, 0.02, 1.0, 6.0):
        u, internal = start.copy(), np.zeros(40)
        exact = expm(dt * joint) @ np.concatenate([start.ravel(), internal, [1.0]])
        solver.step_with_cells(u, cells, dt, internal)
        assert u.min() >= 0
        assert np.abs(u.ravel() - exact[: grid.size]).max() < 0.005 * start.max()
        assert np.abs(internal - exact[grid.size : -1]).max() < 0.05 * np.abs(exact[grid.size : -1]).max()


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("spread", [0.3, 1.25, 5.0])
@pytest.mark.parametrize("shape", [(6, 7, 8), (1, 18, 19)])
def test_cells_that_draw_little_in_a_step_are_right_to_one_part_in_a_hundred(block, spread, shape):
    """Scattered, and as a block: what one split of a step gets right the other gets wrong."""
    rng, grid, most = np.random.default_rng(3), Grid((0, 0, 0), 20.0, shape), 0.034
    inside = np.zeros(shape, bool)
    inside[:, shape[1] // 3 :, : shape[2] // 2] = True
    voxel = np.flatnonzero(inside if block else rng.random(shape) < 0.2)
    nothing, volume, uptake = np.zeros(voxel.size), np.full(voxel.size, 8000.0), np.full(voxel.size, 1.0)
    cells = CellExchange(voxel, volume, nothing, nothing, uptake)
    dt, diffusion = most, spread * 400.0 / most
    propagate = expm(dt * _with_cells(grid, Boundary(), cells, diffusion, 0.0))
    exact = np.concatenate([np.ones(grid.size), nothing, [1.0]])
    u, internal, solver = np.ones(shape), nothing.copy(), DiffusionSolver(grid, diffusion)
    for _ in range(30):
        exact = propagate @ exact
        solver.step_with_cells(u, cells, dt, internal)
        assert np.abs(u.ravel() - exact[: grid.size]).max() < 0.01 * exact[: grid.size].max()
    assert internal.sum() == pytest.approx(exact[grid.size : -1].sum(), rel=0.0175)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 0.1, 6.0]), st.sampled_from([10.0, 1e3, 1e5]))
def test_a_step_with_cells_loses_nothing_and_stays_positive(seed, dt, diffusion):
    rng, grid = np.random.default_rng(seed), Grid((0, 0, 0), 20.0, (1, 5, 6))
    cells, u, internal = _cells(rng, 30, grid.size), rng.uniform(0, 3, grid.shape), np.zeros(30)
    before = u.sum() * grid.voxel_volume
    given_off = (cells.volume * cells.secretion * cells.saturation).sum() * dt
    DiffusionSolver(grid, diffusion).step_with_cells(u, cells, dt, internal)
    assert abs(u.sum() * grid.voxel_volume + internal.sum() - before) <= 1e-12 * (before + given_off)
    assert u.min() >= 0


def test_a_step_with_cells_is_second_order():
    rng, grid = np.random.default_rng(8), Grid((0, 0, 0), 20.0, (1, 5, 6))
    cells, start = _cells(rng, 30, grid.size), rng.uniform(0, 3, grid.shape)
    cells = replace(cells, uptake=rng.uniform(0, 3, 30))
    joint = _with_cells(grid, MIXED, cells, 400.0, 0.1)
    exact = (expm(2.0 * joint) @ np.concatenate([start.ravel(), np.zeros(30), [1.0]]))[: grid.size]
    errors = []
    for steps in (4, 8, 16, 64, 256, 512):
        u, internal = start.copy(), np.zeros(30)
        solver = DiffusionSolver(grid, 400.0, 0.1, MIXED)
        for _ in range(steps):
            solver.step_with_cells(u, cells, 2.0 / steps, internal)
        errors.append(np.abs(u.ravel() - exact).max())
    errors = np.array(errors)
    assert np.all(errors < 0.01)
    assert 1.9 < np.log2(errors[-2] / errors[-1]) < 2.1


def test_a_steady_field_among_cells_stays():
    rng, grid = np.random.default_rng(9), Grid((0, 0, 0), 20.0, (1, 12, 12))
    cells, internal = _cells(rng, 60, grid.size), np.zeros(60)
    solver = DiffusionSolver(grid, 1e5, 0.1, Boundary.everywhere(38.0))
    u = np.zeros(grid.shape)
    for _ in range(5):
        solver.step_with_cells(u, cells, 6.0, internal)
    steady = u.copy()
    solver.step_with_cells(u, cells, 6.0, internal)
    np.testing.assert_allclose(u, steady, rtol=1e-7)


def test_where_nothing_is_nothing_is_followed(monkeypatch):
    """Not in substeps as short as a scale of zero would ask for."""
    grid = Grid((0, 0, 0), 20.0, (1, 5, 6))
    cells, internal, u = _cells(np.random.default_rng(3), 30, grid.size), np.zeros(30), np.zeros(grid.shape)
    cells = replace(cells, secretion=np.zeros(30))
    taken, apply = [], Matrices.apply
    monkeypatch.setattr(Matrices, "apply", lambda step, u: (taken.append(1), apply(step, u)))
    solver = DiffusionSolver(grid, 1e4)
    solver.step_with_cells(u, cells, 10.0, internal)
    assert len(taken) <= 1 and not u.any() and not internal.any()
    u[0, 2, 3] = 1.0
    solver.step_with_cells(u, cells, 10.0, internal)
    assert len(taken) > 1 and u.all() and internal.any()


def test_membranes_of_different_permeability_are_second_order_and_lose_nothing():
    rng, w = np.random.default_rng(5), 8000.0
    volume, permeability = rng.uniform(500, 3000, 4), np.array([0.1, 1.0, 0.4, 2.0])
    held, before, voxel = rng.uniform(0, 9000, 4), 1.5, np.zeros(4, np.int64)
    end = expm(1.0 * _star(volume, permeability, w)) @ np.append(before, held)
    errors = []
    for steps in (4, 8, 16):
        u, inside = np.full((1, 1, 1), before), held.copy()
        for _ in range(steps):
            membrane_exchange(u, voxel, volume, permeability, inside, 1.0 / steps, w)
        errors.append(np.abs(np.append(u * w, inside) - end * [w, 1, 1, 1, 1]).max())
        assert w * u.sum() + inside.sum() == pytest.approx(w * before + held.sum(), rel=1e-13)
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 2) < 0.1)
    u, inside = np.full((1, 1, 1), 2.0), 2.0 * volume  # already equal: nothing moves
    membrane_exchange(u, voxel, volume, permeability, inside, 10.0, w)
    np.testing.assert_allclose(inside / volume, 2.0, rtol=1e-14)


def test_bits_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(6)
    shape, n = (9, 21, 22), 3000
    cells, permeability = _cells(rng, n, 9 * 21 * 22), rng.choice([0.5, 1.0], n)
    start = rng.random(shape)
    results = []
    before = threads()
    try:
        for count in (1, 2):
            set_threads(count)
            u, internal = start.copy(), np.ones(n)
            solver = DiffusionSolver(Grid((0, 0, 0), 20.0, shape), 1e4, 0.1, MIXED)
            exchange(u, cells, 0.5, internal, 8000.0)
            solver.step_with_cells(u, cells, 0.5, internal)
            membrane_exchange(u, cells.voxel, cells.volume, permeability, internal, 0.5, 8000.0)
            solver.step(u, 0.5)
            steady = solver.steady(u.copy(), 0.1, start)
            results.append((u.tobytes(), internal.tobytes(), steady.tobytes()))
    finally:
        set_threads(before)
    assert results[0] == results[1]


def test_cells_are_grouped_in_row_order():
    voxel = np.array([3, 0, 3, 2, 0, 3])
    start, order = group_by_voxel(voxel, 5)
    assert [order[start[v] : start[v + 1]].tolist() for v in range(5)] == [[1, 4], [], [3], [0, 2, 5], []]
