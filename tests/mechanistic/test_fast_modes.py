"""Fast transforms against the matrix of the whole box."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mechanistic import _spreading, fields
from mechanistic._fast_modes import FastModes
from mechanistic._spreading import Axis
from mechanistic.fields import Boundary, DiffusionSolver, Grid

_RATE = 3.0
_KINDS = {
    "closed": (0.0, 0.0, False),
    "held": (2 * _RATE, 2 * _RATE, False),
    "held below": (2 * _RATE, 0.0, False),
    "held above": (0.0, 2 * _RATE, False),
    "periodic": (0.0, 0.0, True),
}


@pytest.mark.parametrize("kinds", list(itertools.product(_KINDS, repeat=2)))
@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 5, 7)])
def test_the_inverse_is_that_of_the_matrix(kinds, shape):
    of_axis = (*kinds, kinds[0])
    x, y, z = axes = [
        Axis(n, _RATE if n > 1 else 0.0, *(_KINDS[kind] if n > 1 else (0.0, 0.0, False)), np.zeros(n))
        for n, kind in zip(shape[::-1], of_axis)
    ]
    eyes = [np.eye(axis.n) for axis in axes]
    whole = np.kron(eyes[2], np.kron(eyes[1], x.matrix())) + np.kron(eyes[2], np.kron(y.matrix(), eyes[0]))
    whole += np.kron(z.matrix(), np.kron(eyes[1], eyes[0]))
    u = np.random.default_rng(0).random(shape)
    expected = np.linalg.solve(0.7 * np.eye(u.size) - whole, u.ravel())
    np.testing.assert_allclose(FastModes(axes).inverse(u, 0.7).ravel(), expected, rtol=1e-11)


@pytest.mark.parametrize("boundary", [Boundary.everywhere(38.0), Boundary(x_min=fields.Permeable(50.0, 3.0))])
def test_large_and_small_fields_among_cells_agree(monkeypatch, boundary):
    rng, grid, n = np.random.default_rng(3), Grid((0, 0, 0), 20.0, (3, 12, 13)), 200
    cells = {
        "voxel": rng.integers(0, grid.size, n),
        "volume": rng.uniform(1000, 4000, n),
        "secretion": rng.choice([0.0, 1.0], n),
        "saturation": np.full(n, 2.0),
        "uptake": rng.choice([0.0, 10.0], n),
    }
    start, results = rng.uniform(0, 3, grid.shape), []
    for products in (np.inf, 0):
        monkeypatch.setattr(_spreading, "_MOST_PRODUCTS", products)
        u, internal = start.copy(), np.zeros(n)
        solver = DiffusionSolver(grid, 1e5, 0.1, boundary)
        for _ in range(3):
            solver.step_with_cells(u, **cells, dt=1.0, internal=internal)
        results.append((u, internal))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-6 * 38)
    np.testing.assert_allclose(
        results[0][1], results[1][1], rtol=1e-5, atol=1e-5 * np.abs(results[0][1]).max()
    )
