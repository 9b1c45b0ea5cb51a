"""Affinities of types, springs and walls: against sums over all pairs, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from sim.agents._force_kernels import further_forces
from sim.agents.mechanics import Further, move
from sim.agents.neighbours import neighbour_graph

_RADIUS = 8.412710547954228
_NONE = {"affinity": np.empty((0, 0)), "elasticity": np.zeros(2), "wall": np.empty(0)}
_FREE = np.empty((2, 0), dtype=np.int64)


def _further(**given) -> Further:
    return Further(**{"types": np.zeros(2, dtype=np.int64), "partners": _FREE, **_NONE, **given})


def _pair(distance: float, minutes: float, further: Further, adhesion: float = 0.4, **more) -> np.ndarray:
    positions = np.array([[0.0, 0, 0], [distance, 0, 0]])
    radii, ones = np.full(2, _RADIUS), np.ones(2)
    move(positions, radii, 10 * ones, adhesion * ones, dt=minutes, tolerance=1e-7, further=further, **more)
    return positions


def test_the_kernel_is_its_twin():
    rng = np.random.default_rng(3)
    n = 60
    positions, radii = rng.random((n, 3)) * 60, rng.uniform(5, 9, n)
    cells, strengths = np.column_stack([positions, radii]), rng.random((n, 2))
    types, partners = rng.integers(0, 3, n), np.full((n, 2), -1)
    a = rng.random((3, 3)) * 2
    affinity, elasticity, wall = np.sqrt(a * a.T), rng.random(n), rng.random(n) * 5
    for i, j in ((0, 1), (1, 2), (5, 9)):
        partners[i, (partners[i] < 0).argmax()] = j
        partners[j, (partners[j] < 0).argmax()] = i
    sight, speed, lure = rng.uniform(0, 25, (3, 3)), rng.normal(size=(n, 3)), rng.random(n)
    sight[0, 1] = 0.0
    low, high, free = np.zeros(3), np.full(3, 60.0), np.ones(n)
    free[7] = 0.0
    graph = neighbour_graph(positions, np.maximum(1.25 * radii, 12.5))
    velocity = np.zeros((n, 3))
    further_forces(
        n, cells, strengths, types, affinity, 1.25, partners, elasticity, wall, sight, speed, lure, low, high,
        np.zeros(3), graph.indptr[:-1], graph.counts, graph.indices, free, velocity,
    )  # fmt: skip
    offset = positions[:, None] - positions[None]
    distance = np.sqrt((offset**2).sum(-1)) + np.eye(n)
    hold = np.maximum(1 - distance / (1.25 * (radii[:, None] + radii[None])), 0) ** 2 * ~np.eye(n, dtype=bool)
    strength = (
        (affinity[types[:, None], types[None]] - 1)
        * np.outer(strengths[:, 1], strengths[:, 1])
        * hold
        / distance
    )
    joined = np.zeros((n, n))
    for i in range(n):
        joined[i, partners[i][partners[i] >= 0]] = 1
    strength += joined * np.outer(elasticity, elasticity)
    below, above = (np.maximum(1 - d / radii[:, None], 0) ** 2 for d in (positions - low, high - positions))
    reach = sight[types[:, None], types[None]]
    share = np.divide(distance, reach, out=np.ones((n, n)), where=reach > distance) * ~np.eye(n, dtype=bool)
    strength += speed[:, types] * lure[None] * 16 * (share * (1 - share)) ** 2 / distance
    expected = -(strength[..., None] * offset).sum(1) + wall[:, None] * (below - above)
    np.testing.assert_allclose(velocity, expected * free[:, None], atol=1e-12)


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_an_affinity_moves_the_distance_at_which_a_pair_rests(factor):
    types = np.array([0, 1])
    further = _further(types=types, affinity=np.array([[1.0, factor], [factor, 1.0]]))
    positions = _pair(15.5, 2000.0, further)
    pull, push, touch = np.sqrt(0.4 * factor), np.sqrt(10), 2 * _RADIUS
    rest = (push - pull) / (push / touch - pull / (1.25 * touch))
    assert positions[1, 0] - positions[0, 0] == pytest.approx(rest, abs=1e-4)


def test_a_spring_draws_two_cells_together_exponentially():
    further = _further(partners=np.array([[1], [0]]), elasticity=np.array([0.04, 0.01]))
    positions = _pair(60.0, 10.0, further, adhesion=0.0)
    assert positions[1, 0] - positions[0, 0] == pytest.approx(60 * np.exp(-2 * 0.02 * 10), abs=1e-4)
    assert positions[:, 0].sum() == pytest.approx(60.0, abs=1e-9)


def test_a_wall_keeps_a_cell_a_radius_away():
    further = _further(wall=np.full(2, 10.0))
    corners = {"lower": [-2.0, -100, -100], "upper": [200.0, 100, 100]}
    positions = _pair(100.0, 50.0, further, **corners)
    # s = 1 - d/r follows ds/dt = -(w/r) s², so that 1/s grows evenly
    start = 1 - 2.0 / _RADIUS
    share = 1 / (1 / start + 10.0 / _RADIUS * 50)
    assert positions[0, 0] + 2 == pytest.approx(_RADIUS * (1 - share), abs=1e-4)
    assert positions[1, 0] == 100
