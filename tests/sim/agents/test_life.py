"""Life of cells: exact for any step, in distribution where chance decides."""

from __future__ import annotations

import numpy as np
import pytest

from mechanistic.random import stream_key, uniforms
from sim.agents.life import PhaseProgramme, divide_geometry, grow, occurs, radius_of

_KEY = stream_key(2, "life")
_CYCLE = PhaseProgramme(("G0G1", "S", "G2", "M"), (300.0, 480.0, 240.0, 60.0), (False, True, True, True))


@pytest.mark.parametrize("dt", [5.0, 50.0])
def test_what_survives_does_not_depend_on_the_step(dt):
    n, rate = 20_000, 0.02
    alive = np.ones(n, bool)
    for step in range(round(100 / dt)):
        alive &= ~occurs(np.full(n, rate), dt, uniforms(_KEY, step, np.arange(n), 1)[:, 0])
    expected = np.exp(-2.0)
    assert abs(alive.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_rates_at_the_ends():
    u = np.array([0.0, 0.5, 1 - 2**-53])
    assert not occurs(np.zeros(3), 10.0, u).any()
    assert occurs(np.full(3, np.inf), 10.0, u).all()


def test_growth_is_the_same_in_one_step_or_many():
    start = np.array([1000.0, 2494.0, 5000.0])
    once, often = start.copy(), start.copy()
    grow(once, 2494.0, 0.02, 30.0)
    for _ in range(300):
        grow(often, 2494.0, 0.02, 0.1)
    np.testing.assert_allclose(once, 2494.0 + (start - 2494.0) * np.exp(-0.6), rtol=1e-14)
    np.testing.assert_allclose(once, often, rtol=1e-12)


def test_the_radius_is_that_of_a_ball():
    assert radius_of(2494.0) == pytest.approx(8.412710547954228)
    np.testing.assert_allclose(4 / 3 * np.pi * radius_of([1.0, 500.0]) ** 3, [1.0, 500.0])


@pytest.mark.parametrize("share", [0.5, np.array([0.2, 0.5, 0.9])])
def test_division_keeps_the_centre_of_mass(share):
    rng = np.random.default_rng(0)
    positions, radii = rng.normal(size=(3, 3)), rng.uniform(5, 9, 3)
    directions = rng.normal(size=(3, 3)) * [1, 1, 0]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    mothers, daughters = divide_geometry(positions, radii, directions, share)
    part = np.broadcast_to(share, 3)[:, None]
    np.testing.assert_allclose((1 - part) * mothers + part * daughters, positions, atol=1e-14)
    np.testing.assert_allclose(daughters - mothers, radii[:, None] * directions, atol=1e-14)
    assert np.array_equal(mothers[:, 2], positions[:, 2]) and np.array_equal(daughters[:, 2], positions[:, 2])


@pytest.mark.parametrize("dt", [15.0, 100.0])
def test_the_time_between_divisions_is_the_sum_of_the_phases(dt):
    n, steps = 2000, round(15_000 / dt)
    phase, elapsed, divisions = np.zeros(n, np.int64), np.zeros(n), np.zeros(n)
    for step in range(steps):
        divisions += _CYCLE.advance(phase, elapsed, dt, uniforms(_KEY, step, np.arange(n), _CYCLE.draws))
    mean, variance = 1080.0, 300.0**2
    expected = steps * dt / mean + (variance - mean**2) / (2 * mean**2)  # renewal theory, started at birth
    assert abs(divisions.mean() - expected) < 4 * np.sqrt(variance * steps * dt / mean**3 / n) + 0.01


def test_fixed_phases_end_on_time_whatever_the_step():
    cycle = PhaseProgramme(("S", "M"), (70.0, 25.0), (True, True))
    for dt in (1.0, 6.0, 19.0, 60.0):
        phase, elapsed = np.zeros(1, np.int64), np.zeros(1)
        at = [
            (i + 1) * dt
            for i in range(round(1140 / dt))
            if cycle.advance(phase, elapsed, dt, np.zeros((1, 3)))[0]
        ]
        assert len(at) == 12
        assert all(0 <= time - 95.0 * (i + 1) < dt for i, time in enumerate(at))
        assert (phase[0], elapsed[0]) == (0, pytest.approx(0.0, abs=1e-9))


def test_pace_stretches_the_cycle_and_stops_it():
    cycle = PhaseProgramme(("M",), (10.0,), (True,))
    phase, elapsed = np.zeros(3, np.int64), np.zeros(3)
    divided = cycle.advance(phase, elapsed, 6.0, np.zeros((3, 2)), pace=np.array([0.0, 1.0, 2.0]))
    assert divided.tolist() == [False, False, True]
    np.testing.assert_allclose(elapsed, [0.0, 6.0, 2.0])


def test_a_programme_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="one duration"):
        PhaseProgramme((), (), ())
    with pytest.raises(ValueError, match="phase S"):
        PhaseProgramme(("S",), (0.0,), (True,))
