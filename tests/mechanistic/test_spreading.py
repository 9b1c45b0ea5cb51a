"""Large fields by tridiagonal solves against dense exponentials, and what faces let through."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from mechanistic.fields import Boundary, DiffusionSolver, Grid, Inflow, Permeable, _line_code, _spreading
from mechanistic.fields._spreading import last_share
from mechanistic.threads import set_threads, threads

_FACES = [
    Boundary(),
    Boundary.everywhere("periodic"),
    Boundary(2.0, "no_flux", "periodic", "periodic", Permeable(30.0, 1.5), Inflow(4.0)),
]


@pytest.fixture
def lines(monkeypatch):
    """Every field counts as large."""
    monkeypatch.setattr(_spreading, "_MOST_PRODUCTS", 0)


@pytest.mark.parametrize(("pairs", "fastest"), [(2, 10.0), (3, 1e6)])
def test_the_approximation_is_close_to_exp_and_consistent_at_zero(pairs, fastest):
    z = -np.concatenate([np.geomspace(1e-6, fastest, 20_000), [0.0]])
    wrong = np.abs(_line_code.approximation(z, pairs) - np.exp(z))
    assert wrong.max() < 5e-6
    assert np.all(wrong <= 4e-4 * np.abs(z) ** 3 + 1e-14)  # second order
    assert pairs == 3 or np.all(wrong <= 1e-5 * np.abs(np.expm1(z)) + 1e-14)


def test_the_fastest_modes_are_gone():
    assert abs(_line_code.approximation(np.array([-1e9]))[0]) < 1e-6


@pytest.mark.parametrize(
    ("inside", "low", "pairs"), [(2.5, 5.0, 2), (2.4, 5.3, 3), (2.6, 0.0, 3), (0.0, 0.0, 2)]
)
def test_two_pairs_of_poles_where_no_mode_is_fast(inside, low, pairs):
    assert _line_code.pairs_for(inside, low, 0.0) == pairs
    axis = _spreading.Axis(9, inside, low, 0.0, False, np.zeros(9))
    assert pairs == 3 or axis.modes()[0].min() >= -10.0


@pytest.mark.parametrize("boundary", _FACES)
@pytest.mark.parametrize("shape", [(1, 17, 9), (5, 8, 16), (9, 3, 11), (1, 1, 20)])
@pytest.mark.parametrize("dt", [0.001, 0.3, 1.0, 60.0])
def test_lines_are_the_dense_exponential(lines, boundary, shape, dt):
    grid, start = Grid((0, 0, 0), 20.0, shape), np.random.default_rng(0).random(shape)
    solver = DiffusionSolver(grid, 3e3, 0.02, boundary)
    u = solver.step(start.copy(), dt)
    dense = start.copy()
    left = [np.asarray(expm(dt * axis.matrix()), float) for axis in solver._axes]
    _spreading.multiply(left, dense)
    dense *= np.exp(-0.02 * dt)
    if solver._inflow.any():
        dense += solver._step_with_source(np.zeros(shape), dt, np.zeros(shape))
    np.testing.assert_allclose(u, dense, atol=3e-5 * max(1.0, dense.max()))


@pytest.mark.parametrize("boundary", _FACES[:2])
def test_lines_keep_mass_and_nothing_gets_negative(lines, boundary):
    solver = DiffusionSolver(Grid((0, 0, 0), 20.0, (12, 13, 14)), 1e5, 0.0, boundary)
    u = np.zeros((12, 13, 14))
    u[0, 3, 4] = 1.0
    for dt in (1e-6, 1e-3, 0.01, 1.0, 6.0) * 10:
        solver.step(u, dt)
        assert u.min() >= 0
        assert abs(u.sum() - 1) < 1e-12


def test_a_steady_field_stays_on_lines(lines):
    solver = DiffusionSolver(Grid((0, 0, 0), 20.0, (1, 20, 30)), 1e5, 0.1, Boundary.everywhere(38.0))
    steady = solver.steady(np.zeros((1, 20, 30)), tolerance=1e-13)
    u = steady.copy()
    for dt in (0.01, 6.0):
        solver.step(u, dt)
        np.testing.assert_allclose(u, steady, rtol=1e-12)


def test_bits_of_lines_do_not_depend_on_the_number_of_threads(lines):
    start, results, before = np.random.default_rng(1).random((30, 41, 45)), [], threads()
    try:
        for count in (1, 2):
            set_threads(count)
            solver = DiffusionSolver(Grid((0, 0, 0), 20.0, start.shape), 1e4, 0.1, _FACES[2])
            results.append(solver.step(start.copy(), 0.3).tobytes())
    finally:
        set_threads(before)
    assert results[0] == results[1]


def _slab(low, high, diffusion: float, decay: float) -> np.ndarray:
    """The steady field between two faces 400 um apart."""
    solver = DiffusionSolver(
        Grid((0, 0, 0), 2.0, (1, 1, 200)), diffusion, decay, Boundary(x_min=low, x_max=high)
    )
    return solver.steady(np.zeros((1, 1, 200))).ravel()


def test_a_permeable_face_and_an_inflow_have_the_steady_field_of_the_slab():
    diffusion, decay, length = 500.0, 0.02, 400.0
    k, x = np.sqrt(decay / diffusion), np.arange(1.0, 400.0, 2.0)
    # u = c cosh k(length - x) meets D u' = h (u - 3) at 0 and no flow at the other end
    c = 3.0 * 8.0 / (8.0 * np.cosh(k * length) + diffusion * k * np.sinh(k * length))
    robin = _slab(Permeable(8.0, 3.0), "no_flux", diffusion, decay)
    np.testing.assert_allclose(robin, c * np.cosh(k * (length - x)), rtol=2e-4)
    neumann = _slab(Inflow(5.0), "no_flux", diffusion, decay)
    exact = 5.0 * np.cosh(k * (length - x)) / (diffusion * k * np.sinh(k * length))
    np.testing.assert_allclose(neumann, exact, rtol=2e-4)


@pytest.mark.parametrize("large", [False, True])
def test_an_inflow_brings_what_it_says(monkeypatch, large):
    monkeypatch.setattr(_spreading, "_MOST_PRODUCTS", 0 if large else np.inf)
    grid = Grid((0, 0, 0), 20.0, (4, 5, 6))
    u = DiffusionSolver(grid, 1e3, 0.0, Boundary(y_max=Inflow(0.7))).step(np.ones(grid.shape), 3.0)
    area = 4 * 6 * 20.0**2
    assert (u.sum() - u.size) * grid.voxel_volume == pytest.approx(0.7 * area * 3.0, rel=1e-12)


def test_a_very_permeable_face_is_a_fixed_value_and_a_tight_one_closed():
    grid, start = Grid((0, 0, 0), 20.0, (1, 6, 7)), np.random.default_rng(2).random((1, 6, 7))
    for soft, hard in ((Permeable(1e12, 2.0), 2.0), (Permeable(0.0, 2.0), "no_flux")):
        a = DiffusionSolver(grid, 1e3, 0.1, Boundary(x_min=soft)).step(start.copy(), 2.0)
        b = DiffusionSolver(grid, 1e3, 0.1, Boundary(x_min=hard)).step(start.copy(), 2.0)
        np.testing.assert_allclose(a, b, rtol=1e-7)


def test_faces_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="permeability"):
        Permeable(-1.0)
    with pytest.raises(ValueError, match="outside"):
        Permeable(1.0, np.nan)
    with pytest.raises(ValueError, match="flow"):
        Inflow(np.inf)


@pytest.mark.parametrize("fastest", [1e-6, 0.02, 1.0, 15.0, 1e4])
def test_what_acts_after_a_step_leaves_no_mode_off_by_more_than_a_quarter(fastest):
    w, z = last_share(fastest), np.geomspace(1e-3, 1.0, 200) * fastest
    settled = w * -np.expm1(-z) + np.exp(-z)  # times 1 − e^−z
    off = (settled / -np.expm1(-z) - 1.0 / z) if fastest > 0.01 else np.array([w - 0.5])
    assert np.abs(off).max() <= 0.25 * min(1.0, fastest)
