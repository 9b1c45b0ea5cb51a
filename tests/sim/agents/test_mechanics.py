"""Mechanics against the potential summed over all pairs, and against what any integrator must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mechanistic.threads import set_threads, threads
from sim.agents.mechanics import PRESSURE_SCALE, move, velocities
from sim.agents.neighbours import neighbour_graph
from sim.agents.placement import hexagonal

_RADIUS = 8.412710547954228


def _twin(positions, radii, repulsion, adhesion, reach=1.25, periods=(0, 0, 0)):
    """Velocities and pressures by every pair, as the README of the PhysiCell curves states them."""
    offset = positions[:, None] - positions[None]
    for axis in np.flatnonzero(periods):
        offset[..., axis] -= periods[axis] * np.rint(offset[..., axis] / periods[axis])
    distance = np.maximum(np.sqrt((offset**2).sum(-1)), 1e-5)
    touch = radii[:, None] + radii[None]
    others = ~np.eye(len(radii), dtype=bool)
    overlap = np.maximum(1 - distance / touch, 0) ** 2 * others
    hold = np.maximum(1 - distance / (reach * touch), 0) ** 2 * others
    push = np.sqrt(np.outer(repulsion, repulsion)) * overlap - np.sqrt(np.outer(adhesion, adhesion)) * hold
    return ((push / distance)[..., None] * offset).sum(1), overlap.sum(1) / PRESSURE_SCALE


def _tissue(seed: int, n: int, dims: int = 3, edge: float = 70.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    positions = rng.random((n, 3)) * edge
    if dims == 2:
        positions[:, 2] = 0.0
    return {
        "positions": positions,
        "radii": rng.uniform(5, 9, n),
        "repulsion": rng.uniform(5, 12, n),
        "adhesion": rng.uniform(0, 0.6, n),
    }


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(2, 80), st.booleans())
def test_velocities_are_the_twins_and_momentum_is_kept(seed, n, wraps):
    cells = _tissue(seed, n)
    periods = np.full(3, 70.0) if wraps else np.zeros(3)
    graph = neighbour_graph(cells["positions"], 1.25 * cells["radii"], periodic=periods)
    velocity, pressure = np.empty((n, 3)), np.empty(n)
    rows = {"indptr": graph.indptr, "indices": graph.indices}
    velocities(**cells, **rows, out_velocity=velocity, out_pressure=pressure, periodic=periods)
    expected, squeezed = _twin(**cells, periods=periods)
    scale = max(np.abs(expected).max(), 1e-9)
    np.testing.assert_allclose(velocity, expected, rtol=0, atol=1e-13 * scale * n)
    np.testing.assert_allclose(pressure, squeezed, rtol=1e-12, atol=1e-12)
    assert np.abs(velocity.sum(0)).max() <= 1e-12 * scale


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_two_cells_see_each_other_with_the_same_bits(seed, wraps):
    cells = _tissue(seed, 2, edge=14.0)
    periods = np.full(3, 14.0) if wraps else np.zeros(3)
    velocity, pressure = np.empty((2, 3)), np.empty(2)
    rows = {"indptr": np.array([0, 1, 2]), "indices": np.array([1, 0])}
    velocities(**cells, **rows, out_velocity=velocity, out_pressure=pressure, periodic=periods)
    assert np.array_equal(velocity[0], -velocity[1])
    assert pressure[0] == pressure[1]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_move_follows_the_ordinary_differential_equation(dims):
    cells = _tissue(1, 40, dims, edge=60.0)
    drift = np.random.default_rng(2).normal(size=(40, 3)) * (np.arange(3) < dims)
    fixed = np.arange(40) < 4
    others = {k: v for k, v in cells.items() if k != "positions"}

    def slope(_, x):
        return ((_twin(x.reshape(-1, 3), **others)[0] + drift) * ~fixed[:, None]).ravel()

    exact = (
        solve_ivp(slope, (0, 3.0), cells["positions"].ravel(), rtol=1e-9, atol=1e-8).y[:, -1].reshape(-1, 3)
    )
    positions = cells["positions"].copy()
    pressure = move(positions, **others, motile_velocity=drift, fixed=fixed, dims=dims, dt=3.0)
    assert np.abs(positions - exact).max() < 2e-4  # crowded at random: twice the tolerance of a step
    assert np.array_equal(positions[fixed], cells["positions"][fixed])
    np.testing.assert_allclose(pressure, _twin(positions, **others)[1], rtol=1e-9, atol=1e-9)


def test_a_tighter_tolerance_comes_nearer():
    cells = _tissue(3, 40, 2, edge=60.0)
    others = {k: v for k, v in cells.items() if k != "positions"}
    ends = []
    for tolerance in (1e-3, 1e-5, 1e-9):
        ends.append(cells["positions"].copy())
        move(ends[-1], **others, dims=2, dt=2.0, tolerance=tolerance)
    rough, fine = (np.abs(end - ends[-1]).max() for end in ends[:-1])
    assert fine < 0.1 * rough < 0.1


def test_the_centre_of_mass_stays():
    cells = _tissue(4, 150, edge=60.0)
    before = cells["positions"].mean(0)
    move(**cells, dt=10.0)
    np.testing.assert_allclose(cells["positions"].mean(0), before, atol=1e-11)


@pytest.mark.parametrize("periodic", [False, True])
def test_rows_and_threads_change_nothing(periodic):
    n = 2500
    rng = np.random.default_rng(5)
    cells = _tissue(6, n, 2, edge=500.0)
    drift, fixed, shuffled = rng.normal(size=(n, 3)), rng.random(n) < 0.1, rng.permutation(n)
    before, ends = threads(), []
    try:
        for count, rows in ((1, np.arange(n)), (2, np.arange(n)), (2, shuffled)):
            set_threads(count)
            mixed = {k: np.ascontiguousarray(v[rows]) for k, v in cells.items()}
            pressure = move(**mixed, motile_velocity=drift[rows], fixed=fixed[rows], lower=(0, 0, 0),
                            upper=(500, 500, 0), periodic=periodic, dims=2, dt=1.0)  # fmt: skip
            back = np.argsort(rows)
            ends.append((mixed["positions"][back].tobytes(), pressure[back].tobytes()))
    finally:
        set_threads(before)
    assert ends[0] == ends[1] == ends[2]


def test_walls_hold_and_a_layer_stays_flat():
    n = 60
    cells = _tissue(7, n, 2, edge=60.0)
    cells["positions"][:, 2] = 3.25
    outward = cells["positions"] - [30, 30, 0]
    move(**cells, motile_velocity=outward, lower=(0, 0, 0), upper=(60, 60, 0), dims=2, dt=2.0)
    positions = cells["positions"]
    assert positions[:, :2].min() == 0.0 and positions[:, :2].max() == 60.0
    assert np.all(positions[:, 2] == 3.25)


def test_a_wrapped_domain_moves_as_its_shifted_copy():
    cells = _tissue(8, 60, edge=45.0)
    shifted = {k: v.copy() for k, v in cells.items()}
    shifted["positions"] = np.mod(shifted["positions"] + [20.0, 31.0, 7.0], 45.0)
    for tissue in (cells, shifted):
        move(**tissue, lower=(0, 0, 0), upper=(45, 45, 45), periodic=True, dt=2.0)
        assert tissue["positions"].min() >= 0 and tissue["positions"].max() < 45
    apart = cells["positions"] + [20.0, 31.0, 7.0] - shifted["positions"]
    apart -= 45.0 * np.rint(apart / 45.0)
    assert np.abs(apart).max() < 1e-3


def test_lone_cells_walk_straight():
    positions = np.array([[0.0, 0, 0], [500.0, 0, 0]])
    ones = np.ones(2)
    pressure = move(
        positions, 8 * ones, 10 * ones, ones, motile_velocity=np.array([[1.0, 2, 0], [0, -3.0, 0.5]]), dt=60.0
    )
    np.testing.assert_allclose(positions, [[60, 120, 0], [500, -180, 30]], rtol=1e-12)
    assert pressure.tolist() == [0.0, 0.0]


def test_a_tissue_at_rest_is_moved_in_few_long_steps(monkeypatch):
    from sim.agents import mechanics

    calls = []
    forces = mechanics.forces
    monkeypatch.setattr(mechanics, "forces", lambda *a: (calls.append(1), forces(*a)))
    positions, ones = hexagonal(91, 16.024211), np.ones(91)
    move(positions, _RADIUS * ones, 10 * ones, 0.4 * ones, dims=2, dt=600.0)
    assert len(calls) < 600  # PhysiCell: 6000


def test_strengths_may_lie_in_any_order():
    positions, table = hexagonal(30, 12.0, 2), np.linspace(7, 10, 90).reshape(30, 3)
    others = positions.copy()
    pressure = move(positions, *table.T, dims=2, dt=1.0)
    assert np.array_equal(move(others, *table.T.copy(), dims=2, dt=1.0), pressure)
    assert positions.tobytes() == others.tobytes()


def test_what_makes_no_sense_is_refused():
    ones = np.ones(2)
    with pytest.raises(ValueError, match="cell 1 is not finite"):
        move(np.array([[0.0, 0, 0], [0, 0, np.inf]]), ones, ones, ones)
    with pytest.raises(ValueError, match="corners"):
        move(np.zeros((2, 3)), ones, ones, ones, periodic=True)
    with pytest.raises(ValueError, match="must be"):
        move(np.zeros((2, 3)), np.ones(3), ones, ones)
    with pytest.raises(ValueError, match="positions must be doubles in C order"):
        move(np.zeros((3, 2)).T, ones, ones, ones)
    with pytest.raises(ValueError, match="positions must be doubles in C order"):
        move(np.zeros((2, 3), np.float32), ones, ones, ones)
    with pytest.raises(FloatingPointError, match="no step is short enough"):
        move(np.array([[0.0, 0, 0], [1, 0, 0]]), 8 * ones, np.array([np.nan, 1.0]), ones)
    assert move(np.empty((0, 3)), ones[:0], ones[:0], ones[:0]).shape == (0,)
