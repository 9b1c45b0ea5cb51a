"""Where cells start."""

from __future__ import annotations

import numpy as np
import pytest

from mechanistic.random import stream_key
from sim.agents.neighbours import neighbour_graph
from sim.agents.placement import disc, hexagonal, hexagonal_lattice, random_points

_KEY = stream_key(4, "placement")


@pytest.mark.parametrize("dims", [2, 3])
def test_random_points_fill_the_box(dims):
    low, high = np.array([-100.0, 0.0, 20.0]), np.array([100.0, 50.0, 60.0])
    points = random_points(5000, low, high, dims, _KEY)
    assert np.all(points >= low) and np.all(points <= high)
    unit = (points - low) / (high - low)
    assert np.all(np.abs(unit.mean(0) - 0.5) < 4 / np.sqrt(12 * 5000))
    assert np.all(points[:, 2] == 40.0) == (dims == 2)
    assert np.array_equal(random_points(10, low, high, dims, _KEY), points[:10])


@pytest.mark.parametrize("dims", [2, 3])
def test_a_disc_is_uniform(dims):
    points = disc(20_000, 100.0, dims, _KEY, centre=(5.0, -3.0, 1.0)) - [5.0, -3.0, 1.0]
    radius = np.linalg.norm(points, axis=1)
    assert radius.max() <= 100.0
    filled = np.sort((radius / 100.0) ** dims)
    assert np.abs(filled - np.linspace(0, 1, filled.size)).max() < 1.7 / np.sqrt(
        filled.size
    )  # Kolmogorov–Smirnov
    assert np.all(np.abs(points.mean(0)) < 4 * 60 / np.sqrt(20_000))
    assert np.all(np.abs(points[:, 2]) < 1e-12) == (dims == 2)


@pytest.mark.parametrize(("dims", "contacts", "filling"), [(2, 6, np.sqrt(0.75)), (3, 12, np.sqrt(0.5))])
def test_lattices_are_the_densest(dims, contacts, filling):
    high = np.array([300.0, 300.0, 300.0 if dims == 3 else 0.0])
    points = hexagonal_lattice(np.zeros(3), high, 12.0, dims)
    graph = neighbour_graph(points, 12.0 + 1e-6, dims=dims)
    np.testing.assert_allclose(graph.distances(points), 12.0)
    inside = (
        np.all((points > 20) & (points < 280), axis=1)
        if dims == 3
        else np.all(abs(points[:, :2] - 150) < 130, axis=1)
    )
    assert np.all(graph.counts[inside] == contacts)
    cell = 12.0**dims * filling
    assert abs(inside.sum() * cell / 260.0**dims - 1) < 0.05
    assert np.all(points >= 0) and np.all(points <= high)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("n", [1, 7, 91, 500])
def test_a_patch_has_its_number_about_its_centre(dims, n):
    centre = np.array([4.0, 5.0, 6.0])
    points = hexagonal(n, 10.0, dims, centre)
    assert points.shape == (n, 3)
    assert np.array_equal(points[0], centre)
    radius = np.linalg.norm(points - centre, axis=1)
    assert np.all(np.diff(radius) > -1e-6)
    if n > 1:
        assert neighbour_graph(points, 10.0 - 1e-6, dims=dims).indices.size == 0
        assert neighbour_graph(points, 10.0 + 1e-6, dims=dims).counts.min() >= 1
    whole = hexagonal(4 * n + 50, 10.0, dims, centre)
    assert np.sort(np.linalg.norm(whole - centre, axis=1))[n - 1] == pytest.approx(radius.max())


def test_a_spacing_of_nothing_is_refused():
    with pytest.raises(ValueError, match="spacing"):
        hexagonal(3, 0.0)
