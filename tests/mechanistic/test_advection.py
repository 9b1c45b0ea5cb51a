"""Substances carried by a flow: shifted whole, second order where smooth, nothing lost, nothing negative."""

from __future__ import annotations

import numpy as np
import pytest

from mechanistic.fields import Boundary, Grid, Inflow, Permeable, advect

_RING = Boundary.everywhere("periodic")


@pytest.mark.parametrize("velocity", [(10.0, 0, 0), (0, -10.0, 0), (10.0, -20.0, 10.0)])
def test_whole_voxels_are_shifted_whole(velocity):
    grid = Grid((0, 0, 0), 10.0, (3, 5, 6))
    u = np.random.default_rng(0).random(grid.shape)
    shift = [round(v * 3.0 / 10.0) for v in velocity]
    expected = np.roll(u, shift[::-1], axis=(0, 1, 2))
    np.testing.assert_allclose(advect(u, grid, velocity, 3.0, _RING), expected, atol=1e-14)


def test_a_smooth_wave_is_carried_in_second_order():
    errors = []
    for n in (64, 128, 256):
        grid = Grid((0, 0, 0), 1.0 / n, (1, n, n))
        x, y = grid.centres(0)[None, None, :], grid.centres(1)[None, :, None]

        def wave(t, x=x, y=y):
            return 2 + np.sin(2 * np.pi * (x - 0.7 * t)) * np.cos(2 * np.pi * (y + 0.4 * t))

        u = wave(0.0)
        for _ in range(n):
            advect(u, grid, (0.7, -0.4, 0.0), 1.0 / n, _RING)
        errors.append(np.abs(u - wave(1.0)).mean())  # the limiter flattens the very crests
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 2.0) < 0.15)


@pytest.mark.parametrize("boundary", [Boundary(), _RING])
def test_nothing_is_lost_and_no_new_extremes_arise(boundary):
    rng, grid = np.random.default_rng(1), Grid((0, 0, 0), 20.0, (4, 7, 9))
    u = np.where(rng.random(grid.shape) < 0.1, 5.0, 0.0)
    total = u.sum()
    for _ in range(50):
        advect(u, grid, (3.0, -7.0, 1.0), 1.3, boundary)
        assert u.min() >= 0.0
        if boundary is _RING:
            assert u.max() <= 5.0 * (1 + 1e-14)
    assert abs(u.sum() / total - 1) < 1e-13
    if boundary is not _RING:  # closed faces stop the flow: all is heaped up where it goes
        assert u[-1, 0, -1] > 0.9 * total


@pytest.mark.parametrize(("face", "value"), [(4.0, 4.0), (Permeable(1.0, 3.0), 3.0), (Inflow(2.0), 0.0)])
@pytest.mark.parametrize("speed", [10.0, -10.0])
def test_what_lies_beyond_comes_in_and_the_rest_leaves(face, value, speed):
    grid = Grid((0, 0, 0), 20.0, (1, 3, 10))
    u = np.ones(grid.shape)
    advect(u, grid, (speed, 0.0, 0.0), 7.0, Boundary(x_min=face, x_max=face))
    entered = 3 * (value - 1.0) * abs(speed) * 7.0 / 20.0
    assert u.sum() == pytest.approx(30 + entered, rel=1e-12)
    advect(u, grid, (speed, 0.0, 0.0), 60.0, Boundary(x_min=face, x_max=face))
    np.testing.assert_allclose(u, value, atol=1e-9)


def test_a_flow_that_is_no_number_is_refused():
    grid = Grid((0, 0, 0), 20.0, (1, 3, 3))
    with pytest.raises(ValueError, match="velocity"):
        advect(np.ones(grid.shape), grid, (np.nan, 0, 0), 1.0, Boundary())
