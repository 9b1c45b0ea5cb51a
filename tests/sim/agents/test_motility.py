"""Turning cells against the definition, and the statistics of where they go."""

from __future__ import annotations

import numpy as np
import pytest

from mechanistic.random import stream_key, uniforms
from sim.agents.motility import across, motile_velocity, random_directions, turn

_KEY = stream_key(1, "motility")


@pytest.mark.parametrize("dims", [2, 3])
def test_a_turn_is_as_defined(dims):
    n, dt, step = 400, 3.0, 17
    rng = np.random.default_rng(0)
    ids, bias, persistence = rng.permutation(n), rng.random(n), rng.choice([0.0, 5.0, 40.0], n)
    gradient = rng.normal(size=(n, 3)) * 10.0 ** rng.integers(-200, 200, (n, 1))
    gradient[:20] = 0.0
    direction = random_directions(_KEY, 0, ids, dims)
    before = direction.copy()
    turn(direction, gradient, bias, persistence, dt, _KEY, step, ids, dims)
    u = uniforms(_KEY, step, ids, 3)
    for i in range(n):
        if persistence[i] > 0 and u[i, 0] >= 1 - np.exp(-dt / persistence[i]):
            assert np.array_equal(direction[i], before[i])
            continue
        polar = np.arccos(1 - 2 * u[i, 2]) if dims == 3 else np.pi / 2
        angle = 2 * np.pi * u[i, 1]
        chance = np.array([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar)])
        ahead = gradient[i] * (np.arange(3) < dims)
        if np.abs(ahead).max() > 0:
            ahead = ahead / np.abs(ahead).max()
            ahead /= np.linalg.norm(ahead)
        chosen = (1 - bias[i]) * chance + bias[i] * ahead
        np.testing.assert_allclose(direction[i], chosen / np.linalg.norm(chosen), atol=1e-12)
    if dims == 2:
        assert np.all(np.abs(direction[:, 2]) < 1e-15)


def test_full_bias_goes_straight_and_rests_where_there_is_no_gradient():
    direction, ids, ones = np.tile([0.0, 1.0, 0.0], (2, 1)), np.arange(2), np.ones(2)
    turn(direction, np.array([[3.0, 4.0, 0], [0, 0, 0]]), ones, 0 * ones, 1.0, _KEY, 0, ids, 2)
    np.testing.assert_allclose(direction, [[0.6, 0.8, 0], [0, 0, 0]], atol=1e-15)
    np.testing.assert_allclose(motile_velocity([2.0, 1.0], direction), [[1.2, 1.6, 0], [0, 0, 0]], atol=1e-15)


def test_a_gradient_that_is_not_finite_biases_nothing():
    direction, ids = np.zeros((1, 3)), np.arange(1)
    turn(direction, np.array([[np.nan, 1.0, 0]]), np.full(1, 0.5), np.zeros(1), 1.0, _KEY, 0, ids, 2)
    assert np.linalg.norm(direction) == pytest.approx(1.0)


@pytest.mark.parametrize("dims", [2, 3])
def test_directions_are_uniform(dims):
    n = 50_000
    d = random_directions(_KEY, 3, np.arange(n), dims)
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1.0, rtol=1e-12)
    expected = np.diag([1.0, 1.0, 0.0]) / 2 if dims == 2 else np.eye(3) / 3
    assert np.abs(d.mean(0)).max() < 4 / np.sqrt(dims * n)
    assert np.abs(d.T @ d / n - expected).max() < 4 * 0.4 / np.sqrt(n)


@pytest.mark.parametrize("dt", [0.5, 15.0])
def test_the_share_that_turns_does_not_depend_on_the_step(dt):
    n = 20_000
    direction, ids = np.zeros((n, 3)), np.arange(n)
    for step in range(round(30.0 / dt)):
        turn(direction, direction, np.zeros(n), np.full(n, 15.0), dt, _KEY, step, ids, 2)
    resting = np.mean(np.all(direction == 0, axis=1))
    expected = np.exp(-2.0)
    assert abs(resting - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_polarity_takes_the_part_along_the_axis():
    directions = random_directions(stream_key(3, "division"), 0, np.arange(2000), 3)
    flat = across(directions, [0, 0, 5.0], 1.0)
    np.testing.assert_allclose(np.linalg.norm(flat, axis=1), 1.0, rtol=1e-12)
    assert np.abs(flat[:, 2]).max() < 1e-9
    half = across(directions, [1.0, 1.0, 0.0], 0.5)
    along = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
    part, rest = directions @ along, np.sqrt(1 - (directions @ along) ** 2)
    np.testing.assert_allclose(half @ along, 0.5 * part / np.hypot(0.5 * part, rest), rtol=1e-9)
    np.testing.assert_allclose(across(directions, [0, 0, 1], 0.0), directions, rtol=1e-14)
    lying = np.array([[0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(across(lying, [0, 0, 1], 1.0), lying)
