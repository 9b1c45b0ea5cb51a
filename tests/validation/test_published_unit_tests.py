"""Unit tests that communities of tissue simulators have agreed on, with pass marks from their own definitions.

OpenVT's chain (https://github.com/Chaste/OpenVT, TestMonolayerGrowth1dExamples) and the diffusion tests of PerMedCoE's
benchmark on OpenEBench (https://github.com/PerMedCoE/observatory_benchmark, OEBC009). Its mechanics have no common law
of force: of its curves those of PhysiCell are held to as far as they do not depend on one, and the rest to our own law.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mechanistic.fields import Boundary, DiffusionSolver, Grid
from sim.agents.mechanics import move
from tests.scenes import advance, scene, started

pytestmark = pytest.mark.validation

_CURVE = Path(__file__).resolve().parents[3] / "shared/data/agents/openvt/analytic_linear_chain11.csv"

# ---- OpenVT: eleven cells in a line at half their diameter reach nine diameters after one hour

_DIAMETER = 10.0
_STIFFNESS = (
    88.54  # diameters an hour, of quadratic repulsion; published with the test so that the mark is met
)
_POINTS = ", ".join(f"[{0.5 * _DIAMETER * (i - 5):g} um, 0 um]" for i in range(11))
_CHAIN = f"""{{a: {{place: {{points: [{_POINTS}]}}, volume: {np.pi / 6 * _DIAMETER**3} um^3, growth: 0 /min,
  mechanics: {{adhesion: 0 um/min, repulsion: {_STIFFNESS * _DIAMETER / 60} um/min}}}}}}"""


def _widths(times: np.ndarray) -> np.ndarray:
    """Distance of the outermost cells [diameters]."""
    simulation = started(
        scene(domain="{x: [-100 um, 100 um], y: [-20 um, 20 um]}", cells=_CHAIN, stop="10 h")
    )
    widths = []
    for time in times:
        advance(simulation, time - simulation.state.time)
        x = simulation.state["cell.position"]
        assert np.abs(x[:, 1]).max() == 0
        np.testing.assert_allclose(x[:, 0], -x[::-1, 0], atol=1e-9)
        widths.append((x[-1, 0] - x[0, 0]) / _DIAMETER)
    return np.array(widths)


def test_openvt_chain():
    times = np.array([6.0, 12.0, 30.0, 60.0, 120.0, 300.0, 600.0])
    ours = _widths(times)

    def slope(_, x):
        push = _STIFFNESS / 60 * np.maximum(1 - np.diff(x), 0) ** 2
        return np.append(-push, 0) + np.append(0, push)

    start = 0.5 * (np.arange(11) - 5)
    exact = solve_ivp(slope, (0, 600), start, t_eval=times, rtol=1e-10, atol=1e-10).y
    assert np.abs(ours - (exact[-1] - exact[0])).max() < 1e-4
    assert abs(ours[3] - 9.0) < 0.002
    assert np.all(np.diff(ours) > 0) and 9.8 < ours[-1] < 10.0


def test_openvt_chain_against_springs():
    """The published curve of linear springs meets ours at the mark; quadratic repulsion is faster before it."""
    if not _CURVE.exists():
        pytest.skip(f"the reference curve {_CURVE} is not on this machine")
    hours, springs = np.loadtxt(_CURVE, delimiter=",", skiprows=1, unpack=True)
    times = np.array([6.0, 12.0, 30.0, 60.0, 120.0])
    ours, theirs = _widths(times), np.interp(times / 60, hours, springs)
    assert abs(ours[3] - theirs[3]) < 0.01
    assert np.all(ours[:3] > theirs[:3]) and ours[4] < theirs[4]


# ---- OpenEBench: 10 uM in a cube of 240 um and held on its faces, D = 2000 um^2/min

_D, _SIDE, _HELD = 2000.0, 240.0, 10.0
_ODD = np.arange(1, 400, 2)
_WAVES = _ODD * np.pi / _SIDE


def _left(low: float, high: float, times: np.ndarray) -> np.ndarray:
    """What is left of 1 between walls at 0, on average between low and high, in one dimension."""
    mean = (np.cos(_WAVES * low) - np.cos(_WAVES * high)) / (_WAVES * (high - low))
    return (4 / (np.pi * _ODD) * mean * np.exp(-_D * np.multiply.outer(times, _WAVES**2))).sum(-1)


def _kernel(low: float, high: float, at: float, times: np.ndarray) -> np.ndarray:
    """What is left of a unit at `at` between walls at 0, on average between low and high, in one dimension."""
    waves = np.arange(1, 800) * np.pi / _SIDE
    mean = (np.cos(waves * low) - np.cos(waves * high)) / (waves * (high - low))
    return (2 / _SIDE * np.sin(waves * at) * mean * np.exp(-_D * np.multiply.outer(times, waves**2))).sum(-1)


def _until(end: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an integral over time, dense at its start."""
    x, w = np.polynomial.legendre.leggauss(60)
    s = 0.5 * (x + 1)
    return end * s**3, w / 2 * end * 3 * s**2


@pytest.mark.parametrize("decay", [1.0, 2.0])
def test_openebench_diffusion_with_decay(decay):
    """Mean of the cube and of its middle: 0.65 % per unit of decay at the test's voxels of 10 um, a quarter at 5 um."""
    for time in (0.5, 1.0, 3.0, 10.0):
        nodes, weights = _until(time)
        worst = []
        for n in (24, 48):
            u = np.full((n, n, n), _HELD)
            grid = Grid((0, 0, 0), _SIDE / n, u.shape)
            DiffusionSolver(grid, _D, decay, Boundary.everywhere(_HELD)).step(u, time)
            middle = slice(n // 2 - n // 12, n // 2 + n // 12)
            errors = []
            for low, high, got in ((0.0, _SIDE, u.mean()), (100.0, 140.0, u[middle, middle, middle].mean())):
                gone = decay * (weights * np.exp(-decay * nodes) * _left(low, high, nodes) ** 3).sum()
                errors.append(abs(got / (_HELD * (1 - gone)) - 1))
            worst.append(max(errors))
        assert worst[0] < 0.0065 * decay
        assert worst[0] / worst[1] == pytest.approx(4.0, rel=0.1)


_SINKS = [(x, y) for x in (-30, -10, 10, 30) for y in (-30, -10, 10, 30) if abs(x) + abs(y) < 60]


def test_openebench_diffusion_with_twelve_sinks():
    """Twelve cells in a plane take 1.6 fmol a minute each, whatever is left: the shortfall is that of the series."""
    assert len(_SINKS) == 12
    taken = 1.6e6  # uM um^3 a minute
    half = _SIDE / 2
    grid = Grid((-half, -half, -half), 20.0, (12, 12, 12))
    solver = DiffusionSolver(grid, _D, 0.0, Boundary.everywhere(_HELD))
    source = np.zeros(grid.size)
    for x, y in _SINKS:  # they lie between two layers of voxels
        for z in (-10.0, 10.0):
            source[grid.voxel_of([(x, y, z)])] -= 0.5 * taken / grid.voxel_volume
    u = np.full(grid.shape, _HELD)
    now = 0.0
    for time in (0.5, 1.0, 3.0, 7.0):
        solver.step(u, time - now, source.reshape(grid.shape))
        now = time
        nodes, weights = _until(time)
        short = sum(
            (
                weights
                * _kernel(0, _SIDE, x + half, nodes)
                * _kernel(0, _SIDE, y + half, nodes)
                * _kernel(0, _SIDE, half, nodes)
            ).sum()
            for x, y in _SINKS
        )
        assert _HELD - u.mean() == pytest.approx(taken * short, rel=0.02)


# ---- OpenEBench: a push that moves one cell, and two cells that are pushed against each other

_UNITS = _CURVE.parents[1] / "openebench_2022"


def _column(name: str, column: int) -> np.ndarray:
    if not (_UNITS / name).is_file():
        pytest.skip(f"../shared/data/agents/openebench_2022/{name} is not here")
    return np.genfromtxt(_UNITS / name, delimiter=",", skip_header=1)[:, column]


def test_openebench_a_pushed_cell_stops_at_once():
    """A push of 10 um/min for one step of 0.1 min; without inertia, as in PhysiCell and Chaste, that is all."""
    theirs = _column("mechanics_movement__pc_velocity.csv", 2)
    position, ones, ours = np.zeros((1, 3)), np.ones(1), []
    for k in range(len(theirs)):
        before = position[0, 0]
        drift = np.array([[10.0 if k == 0 else 0.0, 0.0, 0.0]])
        move(position, 8.4 * ones, 10.0 * ones, 0.4 * ones, dims=2, dt=0.1, motile_velocity=drift)
        ours.append((position[0, 0] - before) / 0.1)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("push", [0.5, 2.0])
def test_openebench_two_cells_are_pushed_together(push):
    """Free on their way, as in PhysiCell's curve, until overlap pushes back as much: d = R (1 - sqrt(push/10))."""
    theirs = _column("mechanics_pushing__pc_distance.csv", 2)
    there = np.abs(np.diff(theirs)[3:15] + 0.1)  # two cells at 0.5 um/min each, in steps of 0.1 min
    assert there.max() < 1e-9
    ones, radius = np.ones(2), 8.412710547954228
    positions = np.array([[-10.0, 0, 0], [10.0, 0, 0]])
    drift = np.array([[push, 0, 0], [-push, 0, 0]])
    for k in range(1, 200):
        move(positions, radius * ones, 10.0 * ones, 0.0 * ones, dims=2, dt=0.5, motile_velocity=drift)
        distance = positions[1, 0] - positions[0, 0]
        free = 20.0 - 2 * push * 0.5 * k
        if free > 2 * radius:
            assert distance == pytest.approx(free, abs=1e-4)
    assert distance == pytest.approx(2 * radius * (1 - np.sqrt(push / 10)), abs=1e-4)
