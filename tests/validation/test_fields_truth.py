"""Fields and cells against closed forms: a front's speed, an even spread, a line of wall."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import i0, i1, k0, k1

from mechanistic.fields import CellExchange, DiffusionSolver, Grid, wall_area
from tests.scenes import advance, scene, started

pytestmark = pytest.mark.validation


def test_a_front_moves_at_the_speed_of_fisher_and_kolmogorov():
    """du/dt = D u'' + r u (1 − u), grown by cells: each secretes at a rate proportional to what it sees, up to 1.

    A front out of nothing moves at v − 3/2 √(D/r)/t (Bramson 1983), v being 2 √(r D) but for the grid: the least of
    (r + 2 D/h² (cosh kh − 1))/k over k. It is pulled by its tip, where rounding grows as e^rt: r t stays below 20.
    """
    h, n, d, r, volume = 20.0, 250, 400.0, 0.04, 2000.0
    points = ", ".join(f"[{h * (i + 0.5)} um, 10 um]" for i in range(n))
    simulation = started(
        scene(
            f"couplings: [{{from: field.u, to: secretion.u, linear: {{slope: {r * h**3 / volume}}}}}]",
            domain=f"{{x: [0 um, {h * n} um], y: [0 um, 20 um]}}",
            step="0.25 min",
            stop="9 h",
            fields=f"{{u: {{diffusion: {d} um^2/min, unit: dimensionless}}}}",
            cells=f"""{{a: {{place: {{points: [{points}]}}, volume: {volume} um^3, growth: 0 /min,
              mechanics: {{fixed: true}}, exchange: {{u: {{secretion: 0 /min, saturation: 1}}}}}}}}""",
        )
    )
    simulation.state.fields["u"][0, 0, :5] = 1.0
    times, where = np.array([300.0, 400.0, 500.0]), []
    for time in times:
        advance(simulation, time - simulation.state.time)
        u = simulation.state.fields["u"][0, 0]
        i = np.flatnonzero(u > 0.5)[-1]
        where.append(h * (i + 0.5 + (u[i] - 0.5) / (u[i] - u[i + 1])))
    lattice = minimize_scalar(
        lambda k: (r + 2 * d / h**2 * (np.cosh(k * h) - 1)) / k, bounds=(1e-3, 0.05), method="bounded"
    ).fun
    assert lattice == pytest.approx(2 * np.sqrt(r * d), rel=0.002)
    expected = lattice * np.diff(times) - 1.5 * np.sqrt(d / r) * np.diff(np.log(times))
    assert np.all(np.abs(np.diff(where) / expected - 1) < [0.015, 0.01])


def _spot(h: float) -> tuple[Grid, np.ndarray]:
    """A unit, let loose in the middle of a plane of 640 um, after a spread of 60 um."""
    n = int(640 / h) + 1
    grid = Grid((-320 - h / 2, -320 - h / 2, 0), h, (1, n, n))
    u = np.zeros(grid.shape)
    u[0, n // 2, n // 2] = 1.0
    return grid, DiffusionSolver(grid, 1800.0).step(u, 1.0)[0]


def test_a_spot_spreads_alike_in_all_directions():
    uneven = []
    for h in (20.0, 10.0, 5.0):
        grid, u = _spot(h)
        x = grid.centres(0)
        assert u @ x == pytest.approx(np.zeros(len(x)), abs=1e-10)
        assert (u.sum(0) * x**2).sum() == pytest.approx(2 * 1800.0, rel=1e-4)
        assert (u.sum(1) * x**2).sum() == pytest.approx(2 * 1800.0, rel=1e-4)
        middle, unit = len(x) // 2, round(20 / h)
        axis = u[middle, middle + 5 * unit]
        skew = u[middle + 3 * unit, middle + 4 * unit]  # as far away, 100 um
        np.testing.assert_allclose(u, u.T, rtol=1e-9)
        uneven.append(skew / axis - 1)
    uneven = np.abs(uneven)
    assert uneven[0] < 0.02 and uneven[2] < 0.0015
    np.testing.assert_allclose(uneven[:-1] / uneven[1:], 4.0, rtol=0.2)


def _about_a_tube(
    radius: float, voxel: float, diffusion: float, decay: float, permeability: float
) -> tuple[float, float, float]:
    """Relative error of the flow through the wall, and of the field from two voxels off it: steady, after steps."""
    inside = 60.0
    half = voxel * np.ceil(6 * np.sqrt(diffusion / decay) / voxel)
    n = round(2 * half / voxel)
    grid = Grid((-half, -half, 0), voxel, (1, n, n))
    rate = permeability * wall_area(grid, (0, 0), None, radius) / grid.voxel_volume
    solver = DiffusionSolver(grid, diffusion, decay)
    at = np.flatnonzero(rate)
    wall = at, rate[at], rate[at] * inside
    steady = solver.steady(
        np.zeros(grid.shape), (rate * inside).reshape(grid.shape), rate.reshape(grid.shape)
    )
    u, none = np.zeros(grid.shape), np.zeros(0)
    nobody = CellExchange(np.zeros(0, np.int64), none, none, none, none)
    for _ in range(round(10 / decay / 6) + 3):
        solver.step_with_cells(u, nobody, 6.0, none, wall)
    k = np.sqrt(decay / diffusion)
    # a K0 outside, b I0 inside, equal at the wall; the jump of the slope is what passes
    system = [
        [k0(k * radius), -i0(k * radius)],
        [diffusion * k * k1(k * radius) + permeability * k0(k * radius), diffusion * k * i1(k * radius)],
    ]
    a, _ = np.linalg.solve(system, [0.0, permeability * inside])
    through = 2 * np.pi * radius * permeability * (inside - a * k0(k * radius))
    y, x = np.meshgrid(grid.centres(1), grid.centres(0), indexing="ij")
    r = np.hypot(x, y)
    near = (r > radius + 2 * voxel) & (r < 2 / k)
    flow = (rate * (inside - steady.ravel())).sum() * grid.voxel_volume / voxel
    far = np.abs(steady[0] / (a * k0(k * r)) - 1)[near].max()
    return abs(flow / through - 1), far, np.abs(u / steady - 1).max()


@pytest.mark.parametrize(("radius", "voxel"), [(10.0, 20.0), (5.0, 20.0), (10.0, 10.0), (20.0, 10.0)])
def test_oxygen_about_a_vessel_is_that_of_a_line_source(radius, voxel):
    """A wall of 100 um/min, as of a capillary for oxygen."""
    flow, field, later = _about_a_tube(radius, voxel, 1e5, 10.0, 100.0)
    assert flow < 6e-3 and field < 0.02
    assert later < 1e-4


def test_a_wall_as_open_as_the_tissue_converges():
    errors = [_about_a_tube(40.0, voxel, 1e3, 0.1, 60.0)[:2] for voxel in (10.0, 2.5)]
    assert max(errors[0]) < 0.03 and max(errors[1]) < 0.015
    assert errors[1][0] < errors[0][0] and errors[1][1] < errors[0][1]
