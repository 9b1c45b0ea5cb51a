"""Agents against ordinary differential equations, theory and the curves of PhysiCell 1.14.2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mechanistic.random import stream_key, uniforms
from sim.agents.life import PhaseProgramme
from sim.agents.mechanics import move
from sim.agents.motility import motile_velocity, turn

pytestmark = pytest.mark.validation

_CURVES = Path(__file__).resolve().parents[3] / "shared" / "data" / "agents" / "physicell"
_RADIUS = 8.412710547954228
_TOUCH = 2 * _RADIUS
_REACH = 1.25 * _TOUCH
_REST = (np.sqrt(10) - np.sqrt(0.4)) / (np.sqrt(10) / _TOUCH - np.sqrt(0.4) / _REACH)


def _curve(name: str) -> np.ndarray:
    path = _CURVES / name
    if not path.exists():
        pytest.skip(f"the reference curve {path} is not on this machine")
    return np.genfromtxt(path, delimiter=",", names=True)


def _moved(positions: np.ndarray, dt: float) -> np.ndarray:
    ones = np.ones(len(positions))
    return move(positions, _RADIUS * ones, 10 * ones, 0.4 * ones, dims=2, dt=dt)


def _slope(_, x: np.ndarray) -> np.ndarray:
    p = x.reshape(-1, 2)
    offset = p[:, None] - p[None]
    d = np.sqrt((offset**2).sum(-1)) + np.eye(len(p)) * 1e9
    push = 10 * np.maximum(1 - d / _TOUCH, 0) ** 2 - 0.4 * np.maximum(1 - d / _REACH, 0) ** 2
    return ((push / d)[..., None] * offset).sum(1).ravel()


@pytest.mark.parametrize("start", [8.0, 12.0, 14.0, 18.0])
@pytest.mark.parametrize("dt", [0.5, 6.0])
def test_a_pair_follows_its_equation(start, dt):
    def closing(_, d):
        push = 10 * np.maximum(1 - d / _TOUCH, 0) ** 2 - 0.4 * np.maximum(1 - d / _REACH, 0) ** 2
        return 2 * push

    times = np.arange(0, 60 + dt / 2, dt)
    exact = solve_ivp(closing, (0, 60), [start], t_eval=times, rtol=1e-12, atol=1e-12, max_step=0.05).y[0]
    positions = np.array([[-start / 2, 0, 0], [start / 2, 0, 0]])
    ours = [start]
    for _ in times[1:]:
        _moved(positions, dt)
        ours.append(positions[1, 0] - positions[0, 0])
    assert np.abs(ours - exact).max() < 1e-4  # PhysiCell: 0.29 from 8 um
    assert np.abs(positions.sum(axis=0)).max() < 1e-12
    theirs = _curve(f"pair_relax_d{start:g}.csv")
    at = np.interp(times, theirs["t_min"], theirs["distance"])
    assert np.abs(ours - at).max() < 0.3


def test_a_pair_rests_where_its_forces_cancel():
    positions = np.array([[-4.0, 0, 0], [4.0, 0, 0]])
    pressure = _moved(positions, 5000.0)
    assert positions[1, 0] - positions[0, 0] == pytest.approx(_REST, abs=1e-4)
    assert pressure == pytest.approx((1 - _REST / _TOUCH) ** 2 / 0.027288820670331, rel=1e-3)


def test_a_chain_of_eleven_relaxes():
    theirs = _curve("chain11_relax_d8.csv")
    positions = np.zeros((11, 3))
    positions[:, 0] = 8.0 * (np.arange(11) - 5)
    times = np.arange(0, 601, 10.0)
    exact = solve_ivp(
        _slope, (0, 600), positions[:, :2].ravel(), t_eval=times, rtol=1e-9, atol=1e-9, max_step=0.5
    ).y.reshape(11, 2, -1)[:, 0]
    for i in range(1, times.size):
        _moved(positions, 10.0)
        assert np.abs(positions[:, 0] - exact[:, i]).max() < 1e-3
        assert np.abs(positions[:, 0] + positions[::-1, 0]).max() < 1e-9
        width = positions[-1, 0] - positions[0, 0]
        assert abs(width - np.interp(times[i], theirs["t_min"], theirs["width"])) < 0.5  # their first step


def _hexagon(rings: int, spacing: float) -> np.ndarray:
    a, b = np.meshgrid(np.arange(-rings, rings + 1), np.arange(-rings, rings + 1))
    a, b = (axis[np.abs(a + b) <= rings] for axis in (a, b))
    return spacing * np.stack([a + 0.5 * b, np.sqrt(0.75) * b, 0.0 * a], axis=1)


def test_a_colony_of_ninety_one_spreads():
    theirs = _curve("hex91_relax_d12.csv")
    positions = _hexagon(5, 12.0)
    assert len(positions) == 91
    times = np.concatenate([np.arange(1, 20), np.arange(20, 601, 20)]).astype(float)
    now = 0.0
    for time in times:
        pressure = _moved(positions, time - now)
        now = time
        radius = np.linalg.norm(positions, axis=1)
        row = theirs[np.argmin(np.abs(theirs["t_min"] - time))]
        assert row["t_min"] == time
        late = time > 5  # before that PhysiCell's first steps, taken by the rule of Euler, are off by more
        assert radius.max() == pytest.approx(row["max_radius"], rel=1e-3 if late else 3e-3)
        assert np.sqrt((radius**2).mean()) == pytest.approx(row["rms_radius"], rel=1e-3 if late else 3e-3)
        assert pressure.mean() == pytest.approx(row["mean_simple_pressure"], rel=5e-3 if late else 3e-2)


def test_the_first_minutes_of_the_colony_are_those_of_its_equation():
    start, positions = _hexagon(5, 12.0), _hexagon(5, 12.0)
    times = np.arange(0.5, 5.1, 0.5)
    exact = solve_ivp(_slope, (0, 5), start[:, :2].ravel(), t_eval=times, rtol=1e-8, atol=1e-8).y
    for k in range(len(times)):
        _moved(positions, 0.5)
        radius, true = (np.linalg.norm(x, axis=1) for x in (positions, exact[:, k].reshape(-1, 2)))
        assert radius.max() == pytest.approx(true.max(), rel=1e-5)
        assert np.sqrt((radius**2).mean()) == pytest.approx(np.sqrt((true**2).mean()), rel=1e-5)


def test_the_colony_is_right_to_a_ten_thousandth_of_a_radius():
    positions = _hexagon(3, 12.0)
    exact = solve_ivp(_slope, (0, 30), positions[:, :2].ravel(), rtol=1e-9, atol=1e-9).y[:, -1].reshape(-1, 2)
    _moved(positions, 30.0)
    assert np.abs(positions[:, :2] - exact).max() < 1e-4 * _RADIUS


@pytest.mark.parametrize("bias", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("dt", [0.1, 1.5])
def test_chemotaxis_drifts_as_theory_says(bias, dt):
    theirs = _curve(f"chemotaxis_bias{bias:g}.csv")
    n, patience, end = 1500, 15.0, 240.0
    key, ids, ones = stream_key(7, f"chemotaxis {bias}"), np.arange(n), np.ones(n)
    positions, direction = np.zeros((n, 3)), np.zeros((n, 3))
    gradient = np.tile([0.02, 0, 0], (n, 1))
    for step in range(round(end / dt)):
        turn(direction, gradient, bias * ones, patience * ones, dt, key, step, ids, 2)
        positions += dt * motile_velocity(ones, direction)
    angle = np.linspace(0, 2 * np.pi, 20001)[:-1]
    toward = (1 - bias) * np.cos(angle) + bias
    length = np.sqrt((1 - bias) ** 2 + bias**2 + 2 * bias * (1 - bias) * np.cos(angle))
    m = np.mean(toward / np.maximum(length, 1e-300))
    # cells rest until their first turn, which may fall in the first step: time counts from its start
    hit = -np.expm1(-dt / patience)
    steps = np.arange(round(end / dt))
    moving = end - dt * steps
    drift = m * np.sum(hit * (1 - hit) ** steps * moving)
    variance = np.var(positions[:, 0])
    assert abs(positions[:, 0].mean() - drift) < 3 * np.sqrt(variance / n) + 1e-9
    assert abs(positions[:, 1].mean()) < 3 * np.sqrt(np.var(positions[:, 1]) / n) + 1e-9

    def spread(t):  # of a cell that turned first t ago; turns are geometric in steps of dt
        k, q = np.round(t / dt), 1 - hit
        pairs = 2 * (k * q / hit - q * (1 - q**k) / hit**2) + k
        return dt**2 * (1 - m * m) * pairs + (m * t) ** 2

    square = (positions**2).sum(axis=1)
    expected = np.sum(hit * (1 - hit) ** steps * spread(moving))
    assert abs(square.mean() - expected) < 3 * np.std(square) / np.sqrt(n)
    error = np.sqrt((theirs["msd"][-1] - theirs["mean_x"][-1] ** 2) / 2 / 500)
    assert abs(positions[:, 0].mean() - theirs["mean_x"][-1]) < 3 * error + dt


def test_a_monolayer_grows_at_the_rate_of_its_cycle():
    curves = [_curve(f"monolayer72h_seed{seed}.csv") for seed in range(1, 6)]
    cycle = PhaseProgramme(("G0G1", "S", "G2", "M"), (300.0, 480.0, 240.0, 60.0), (False, True, True, True))
    low, high = 1e-5, 1e-2
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if 2 * np.exp(-780 * middle) / (1 + 300 * middle) > 1 else (low, middle)
    colonies, dt, key = 20, 6.0, stream_key(0, "cycle")
    n = 50 * colonies
    phase, elapsed, population = np.zeros(n, np.int64), np.zeros(n), [n]
    for step in range(round(72 * 60 / dt)):  # ids are rows: cells are only added
        divides = cycle.advance(phase, elapsed, dt, uniforms(key, step, np.arange(phase.size), cycle.draws))
        phase, elapsed = np.concatenate([phase, phase[divides]]), np.concatenate([elapsed, elapsed[divides]])
        population.append(phase.size)
    mean = np.array(population) / colonies
    hours = np.arange(mean.size) * dt / 60
    late = hours >= 24
    rate = np.polyfit(hours[late], np.log(mean[late]), 1)[0]
    assert rate == pytest.approx(60 * low, rel=0.02)
    ends = [curve["n_cells"][-1] for curve in curves]
    assert min(ends) <= mean[-1] <= max(ends)
