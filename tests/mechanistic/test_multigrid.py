"""Multigrid against the matrix of the whole box, its loops against plain numpy, and long steps of cells on it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from givers import givers, with_givers

from mechanistic.fields import Boundary, CellExchange, DiffusionSolver, Grid, Permeable, _spreading
from mechanistic.fields import _multigrid_kernels as kernels
from mechanistic.fields._conductances import Conductances, groups, of_axes
from mechanistic.fields._multigrid import Multigrid, _between, product
from mechanistic.fields._spreading import Axis
from mechanistic.fields._voxels import add, largest, least, parts
from mechanistic.threads import set_threads, threads

_RATE = 3.0
_KINDS = {
    "closed": (0.0, 0.0, False),
    "held": (2 * _RATE, 2 * _RATE, False),
    "held below": (2 * _RATE, 0.0, False),
    "permeable above": (0.0, 0.3 * _RATE, False),
    "periodic": (0.0, 0.0, True),
}


def _axes(shape, kinds) -> list[Axis]:
    return [
        Axis(n, _RATE if n > 1 else 0.0, *(_KINDS[kind] if n > 1 else (0.0, 0.0, False)), np.zeros(n))
        for n, kind in zip(shape[::-1], kinds)
    ]


def _matrix(axes) -> np.ndarray:
    x, y, z = axes
    i, j, k = (np.eye(axis.n) for axis in axes)
    return (
        np.kron(k, np.kron(j, x.matrix()))
        + np.kron(k, np.kron(y.matrix(), i))
        + np.kron(z.matrix(), np.kron(j, i))
    )


def _faces(rng, shape, around) -> Conductances:
    nz, ny, nx = shape
    faces = [rng.random(s) for s in ((nz, ny, nx + 1), (nz, ny + 1, nx), (nz + 1, ny, nx))]
    for k, f in enumerate(faces):
        if around[k]:
            f[tuple([slice(None)] * (2 - k) + [-1])] = f[tuple([slice(None)] * (2 - k) + [0])]
    return Conductances(shape, *faces, around)


def _dense(faces: Conductances) -> np.ndarray:
    """A, face by face."""
    nz, ny, nx = faces.shape
    index, a = np.arange(nz * ny * nx).reshape(faces.shape), np.zeros((nz * ny * nx,) * 2)
    for axis, f in enumerate((faces.z, faces.y, faces.x)):
        n = faces.shape[axis]
        full = np.broadcast_to(f, [m + (k == axis) for k, m in enumerate(faces.shape)])
        for at in range(n + 1):
            g = np.take(full, at, axis).ravel()
            before, after = np.take(index, (at - 1) % n, axis).ravel(), np.take(index, at % n, axis).ravel()
            if 0 < at < n or (faces.around[2 - axis] and at == 0):
                for one, other, value in zip(before, after, g):
                    a[[one, other], [one, other]] -= value
                    a[[one, other], [other, one]] += value
            elif not faces.around[2 - axis]:
                cell = after if at == 0 else before
                a[cell, cell] -= g
    return a


def _ends(u, around):
    ys, zs = np.zeros((2, u.shape[0], u.shape[2]), u.dtype), np.zeros((2, *u.shape[1:]), u.dtype)
    if around[1]:
        ys[0], ys[1] = u[:, -1], u[:, 0]
    if around[2]:
        zs[0], zs[1] = u[-1], u[0]
    return ys, zs


@pytest.mark.parametrize("kinds", list(itertools.product(_KINDS, repeat=2)))
@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 5, 7), (1, 1, 3)])
def test_the_solution_is_that_of_the_matrix(kinds, shape):
    axes = _axes(shape, (*kinds, kinds[0]))
    rng = np.random.default_rng(0)
    loss, right = rng.random(shape) * 5, rng.random(shape)
    expected = np.linalg.solve(np.diag(loss.ravel()) - _matrix(axes), right.ravel())
    solver, u = Multigrid(of_axes(axes)), np.zeros(shape)
    solver.lose(loss)
    left = solver.solve(u, right, lambda now, *_: now <= 1e-12, True)
    np.testing.assert_allclose(u.ravel(), expected, rtol=1e-9)
    assert np.abs(left).max() < 1e-9


@pytest.mark.parametrize("around", [(False, False, False), (True, True, True)])
@pytest.mark.parametrize("shape", [(5, 6, 7), (3, 2, 9), (1, 4, 5)])
def test_the_loops_are_those_of_the_matrix(shape, around):
    rng = np.random.default_rng(1)
    faces = _faces(rng, shape, around if shape[0] > 1 else (*around[:2], False))
    a = _dense(faces)
    u, right, loss, out = (rng.random(shape) for _ in range(4))
    ends = _ends(u, faces.around)
    if shape[0] == 1:  # a layer has no faces above and below
        a += np.diag((faces.z[0] + faces.z[1]).ravel())
    flat = [v.reshape(-1) for v in (right, loss, faces.x, faces.y, faces.z, *ends)]
    rows = shape[0] * shape[1]
    room = np.empty((rows, shape[2]))
    kernels.rest(rows, u.reshape(-1), shape, *flat, faces.around[0], out.reshape(-1))
    expected = right.ravel() - loss.ravel() * u.ravel() + a @ u.ravel()
    np.testing.assert_allclose(out.ravel(), expected, rtol=1e-12, atol=1e-13)

    e, inverse = u.ravel().copy(), 1.0 / (loss.ravel() - np.diag(a))
    z, y, x = np.indices(shape)
    kernels.relax(rows, e, shape, *flat[:2], inverse, *flat[2:], faces.around[0], 1, room)
    moved = np.where(((x + y + z) % 2 == 1).ravel(), u.ravel() + expected * inverse, u.ravel())
    np.testing.assert_allclose(e, moved, rtol=1e-12)

    below = faces.fewer().shape
    total = np.empty(below)
    kernels.rest_below(rows, u.reshape(-1), shape, *flat, faces.around[0], total.reshape(-1), room)
    for axis in range(3):
        if shape[axis] > 1:
            out = np.add.reduceat(out, groups(shape[axis]), axis=axis)
    np.testing.assert_allclose(total, out, rtol=1e-12)
    zeros, begun = np.zeros(e.size), np.ones(e.size)
    alone = [
        *flat[:2],
        inverse,
        *flat[2:-2],
        *(np.zeros(2 * n) for n in (shape[0] * shape[2], shape[1] * shape[2])),
    ]
    kernels.relax(rows, zeros, shape, *alone, faces.around[0], 1, room)
    kernels.begin(rows, begun, shape, flat[0], inverse, 1)
    np.testing.assert_array_equal(begun, zeros)


def test_coarse_values_are_laid_linearly_between_their_middles():
    axes = _axes((4, 5, 6), ("closed", "closed", "closed"))
    faces = of_axes(axes)
    middles = [np.array([1.0, 3.0, 5.0]), np.array([1.0, 3.5]), np.array([1.0, 3.0])]  # two or three wide
    coarse = sum(np.expand_dims(m, tuple({0, 1, 2} - {2 - k})) for k, m in enumerate(middles))
    e = np.zeros(faces.shape)
    (ix, wx), (iy, wy), (iz, wz) = (_between(faces, axis, True) for axis in (2, 1, 0))
    room = np.empty((7, 6))
    kernels.add_above(7, e.reshape(-1), e.shape, coarse.ravel(), ix, wx, iy, wy, iz, wz, room)
    inside = [np.clip(np.arange(n) + 0.5, m[0], m[-1]) for n, m in zip((6, 5, 4), middles)]
    expected = sum(np.expand_dims(m, tuple({0, 1, 2} - {2 - k})) for k, m in enumerate(inside))
    np.testing.assert_allclose(e, expected, rtol=1e-6)


def test_sums_and_steps_of_flat_numbers():
    rng = np.random.default_rng(2)
    p, q, r, s = (rng.random(40_003) - 0.5 for _ in range(4))
    assert product(p, q) == pytest.approx(p @ q, rel=1e-11)
    assert largest(p) == np.abs(p).max()
    expected = q + 0.3 * p, s + 0.7 * p, r + 0.7 * q
    right = np.empty(p.size, np.float32)
    count = parts(p.size)
    squares, most = np.empty(count), np.empty(count)
    step = np.array([0.3, 0.7, 0.5])
    kernels.advance(count, s, r, p, q, step, right, squares, most)
    assert squares.sum() == pytest.approx(r @ r, rel=1e-11) and most.max() == np.abs(p).max()
    kernels.both_products(count, p, q, r, squares, most)
    assert [squares.sum(), most.sum()] == pytest.approx([p @ q, p @ r], rel=1e-10)
    assert least(p) == p.min()
    kernels.turn(count, p, q, step)
    for got, wanted in zip((p, s, r), expected):
        np.testing.assert_allclose(got, wanted, rtol=1e-14)
    assert np.array_equal(right, (0.5 * r).astype(np.float32))
    expected = s - 0.1 * r
    assert add(s, r, -0.1) == s.min()
    np.testing.assert_allclose(s, expected, rtol=1e-13)


@pytest.mark.parametrize("boundary", [Boundary(), Boundary.everywhere("periodic")])
def test_what_nothing_takes_away_on_the_mean_is_left(boundary):
    rng, shape = np.random.default_rng(3), (5, 6, 9)
    solver = Multigrid(of_axes(DiffusionSolver(Grid((0, 0, 0), 20.0, shape), 300.0, 0.0, boundary)._axes))
    solver.lose(np.zeros(shape))
    right = rng.random(shape)
    left = solver.solve(np.zeros(shape), right, lambda now, *_: now <= 1e-10, False)
    np.testing.assert_allclose(left, right.mean(), rtol=1e-8)


def test_bits_do_not_depend_on_the_number_of_threads():
    rng, shape, results, before = np.random.default_rng(4), (21, 30, 41), [], threads()
    loss, right = rng.random(shape), rng.random(shape)
    try:
        for count in (1, 2):
            set_threads(count)
            grid = Grid((0, 0, 0), 20.0, shape)
            solver = Multigrid(
                of_axes(DiffusionSolver(grid, 3e4, 0.0, Boundary.everywhere("periodic"))._axes)
            )
            solver.lose(loss)
            u = np.zeros(shape)
            left = solver.solve(u, right, lambda now, *_: now <= 1e-6, True)
            results.append((u.tobytes(), left.tobytes()))
    finally:
        set_threads(before)
    assert results[0] == results[1]


@pytest.mark.parametrize("kind", ["periodic", "no_flux"])
@pytest.mark.parametrize("whole", [True, False])
def test_what_was_solved_before_leaves_no_trace(kind, whole):
    """A run that is resumed begins with a new solver, and must go on with the same bits."""
    rng, shape = np.random.default_rng(6), (3, 7, 10)
    losses, rights = rng.random((2, *shape)) * whole, rng.random((2, *shape))
    axes = DiffusionSolver(Grid((0, 0, 0), 20.0, shape), 300.0, 0.0, Boundary.everywhere(kind))._axes
    used, results = Multigrid(of_axes(axes)), []
    for solver, turns in ((used, (0, 1)), (Multigrid(of_axes(axes)), (1,))):
        for k in turns:
            solver.lose(losses[k])
            u = np.zeros(shape)
            solver.solve(u, rights[k], lambda now, *_: now <= 1e-6, whole)
        results.append(u.tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "boundary", [Boundary(), Boundary.everywhere(38.0), Boundary(x_min=Permeable(50.0, 3.0))]
)
@pytest.mark.parametrize("given", [False, True])
def test_large_and_small_fields_among_cells_agree(monkeypatch, boundary, given):
    rng, grid, n = np.random.default_rng(3), Grid((0, 0, 0), 20.0, (3, 12, 13)), 200
    cells = CellExchange(
        voxel=rng.integers(0, grid.size, n),
        volume=rng.uniform(1000, 4000, n),
        secretion=rng.choice([0.0, 1.0], n),
        saturation=np.full(n, 2.0),
        uptake=rng.choice([0.0, 10.0], n),
    )
    source = rng.random(grid.shape) if given else np.zeros(grid.shape)
    start, results = rng.uniform(0, 3, grid.shape), []
    for products in (np.inf, 0):
        monkeypatch.setattr(_spreading, "_MOST_PRODUCTS", products)
        u, among, internal = start.copy(), with_givers(cells, source, grid), np.zeros(n + grid.size)
        solver = DiffusionSolver(grid, 1e5, 0.1, boundary)
        for _ in range(3):
            solver.step_with_cells(u, among, 1.0, internal)
        results.append((u, internal[:n]))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-6 * 38)
    np.testing.assert_allclose(
        results[0][1], results[1][1], rtol=1e-5, atol=1e-5 * np.abs(results[0][1]).max()
    )


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_a_source_on_a_large_field_is_that_of_its_modes(monkeypatch, decay):
    grid, rng = Grid((0, 0, 0), 20.0, (1, 12, 15)), np.random.default_rng(5)
    source = np.zeros(grid.shape)
    source[0, 3, 4] = 2.0
    start, results = rng.random(grid.shape), []
    for products in (np.inf, 0):
        monkeypatch.setattr(_spreading, "_MOST_PRODUCTS", products)
        u, solver = start.copy(), DiffusionSolver(grid, 1e3, decay)
        for _ in range(3):
            solver.step_with_cells(u, givers(source, grid), 2.0, np.zeros(grid.size))
        results.append(u)
        assert decay or u.sum() == pytest.approx(start.sum() + 12.0, rel=1e-12)
    np.testing.assert_allclose(*results, atol=2e-5)


@pytest.mark.parametrize("turns", [1, 5])
@pytest.mark.parametrize("uptake", [0.0, 0.005])
def test_a_little_source_on_a_large_field_is_taken_in_turns(monkeypatch, turns, uptake):
    grid, rng, n = Grid((0, 0, 0), 20.0, (1, 12, 15)), np.random.default_rng(5), 8
    start = 1.0 + rng.random(grid.shape)
    source, nothing = np.zeros(grid.shape), np.zeros(n)
    source[0, 3, 4] = source[0, 7, 8] = 0.0099 * turns * start.max()
    voxel = np.append(rng.integers(0, grid.size, n - 1), 3 * 15 + 4)
    cells = CellExchange(voxel, np.full(n, 8000.0), nothing, nothing, np.full(n, uptake))
    cells, internal = with_givers(cells, source, grid), np.zeros(n + grid.size)
    solver, exact = DiffusionSolver(grid, 1e3), start.copy()
    for _ in range(200):  # in turns so short that nothing is left of their error
        solver.step_with_cells(exact, cells, 0.005, internal.copy())
    monkeypatch.setattr(_spreading, "_MOST_PRODUCTS", 0)
    solver, u = DiffusionSolver(grid, 1e3), start.copy()
    monkeypatch.setattr(solver, "_about_steady", None)
    solver.step_with_cells(u, cells, 1.0, internal)
    np.testing.assert_allclose(u, exact, atol=1e-3 * start.max())
    gained = (u.sum() - start.sum()) * grid.voxel_volume + internal[:n].sum()
    assert gained == pytest.approx(source.sum() * grid.voxel_volume, rel=1e-9)
