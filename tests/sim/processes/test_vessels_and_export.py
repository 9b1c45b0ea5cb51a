"""Fixed amounts out of cells, and vessels through whose walls a field passes."""

from __future__ import annotations

import numpy as np
import pytest
from givers import givers

from mechanistic.fields import Boundary, DiffusionSolver, Grid, wall_area
from sim.errors import ScenarioError
from tests.scenes import BOX, CUBE, advance, scene, started

VOXEL = 20.0**3
_WASTE = "{waste: {diffusion: 1e5 um^2/min, decay: 0 /min, unit: uM}}"
_ONE = "{{a: {{place: {{points: [[5 um, 5 um]]}}, exchange: {{waste: {{export: {0}}}}}}}}}"


@pytest.mark.parametrize("diffusion", ["0 um^2/min", "10 um^2/min", "1e5 um^2/min"])
def test_export_is_a_fixed_amount_and_books_what_it_moves(diffusion):
    fields = f"{{waste: {{diffusion: {diffusion}, initial: 1 uM}}}}"
    cells = """{a: {count: 30, place: {random: {}}, cycle: {division: 4e-3 /min},
      exchange: {waste: {export: 50 uM*um^3/min, uptake: 2 /min}}}}"""
    simulation = started(scene(fields=fields, cells=cells))
    state = simulation.state
    before = state.fields["waste"].sum() * VOXEL
    advance(simulation, 180)
    assert len(state) > 40
    total = state.fields["waste"].sum() * VOXEL + state["internal.waste"].sum()
    assert total == pytest.approx(before, rel=1e-12, abs=0)
    assert state.fields["waste"].min() >= 0


def test_export_comes_whatever_is_outside():
    simulation = started(scene(fields=_WASTE, cells=_ONE.format("1e-6 fmol/min")))
    advance(simulation, 60)
    amount = simulation.state.fields["waste"].sum() * VOXEL
    assert amount == pytest.approx(1.0 * 60, rel=1e-12)  # 1e-6 fmol is 1 uM um^3
    assert simulation.state["internal.waste"] == pytest.approx([-60.0], rel=1e-12)


def test_a_rule_moves_export():
    rule = "rules: [{cells: a, signal: clock.time, increases: export.waste, to: 3 uM*um^3/min, half_max: 1e-9 min}]"
    simulation = started(scene(rule, fields=_WASTE, cells=_ONE.format("1 uM*um^3/min")))
    advance(simulation, 60)
    amount = simulation.state.fields["waste"].sum() * VOXEL
    assert 0.9 * 180 < amount < 180 * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(1, 9, 8), (70, 70, 70)])
def test_a_source_without_exchange_is_solved_with_diffusion(shape):
    """Long steps of a fast field: no trace of the step that is halved about it."""
    grid = Grid((0, 0, 0), 20.0, shape)
    solver = DiffusionSolver(grid, 1e5, 0.1, Boundary(x_min=2.0))
    source = np.zeros(shape)
    source[0, 4, 4] = 50.0
    u = np.zeros(shape)
    for _ in range(4 if shape[0] > 1 else 40):
        solver.step_with_cells(u, givers(source, grid), 6.0, np.zeros(grid.size))
    steady = solver.steady(np.zeros(shape), source)
    there = steady > 1e-3 * steady.max()
    np.testing.assert_allclose(u[there], steady[there], rtol=1e-6 if shape[0] == 1 else 0.2)
    near = (0, 4, 4)
    beyond = (0, 5, 5)
    assert u[near] - u[beyond] == pytest.approx(steady[near] - steady[beyond], rel=3e-3)


@pytest.mark.parametrize("end", [(80.0, 35.0, 60.0), (-70.0, -20.0, 11.0)])
@pytest.mark.parametrize("periodic", [False, True])
def test_all_of_a_wall_is_somewhere(end, periodic):
    grid = Grid((-100, -100, -100), 20.0, (10, 10, 10))
    start, radius = (-90.0, 10.0, -5.0), 12.0
    area = wall_area(grid, start, end, radius, periodic)
    length = np.linalg.norm(np.subtract(end, start))
    assert area.sum() == pytest.approx(2 * np.pi * radius * length, rel=1e-12)
    z, y, x = np.meshgrid(*(grid.centres(axis) for axis in (2, 1, 0)), indexing="ij")
    centres = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    along = np.subtract(end, start) / length
    offset = centres - start
    distance = np.linalg.norm(offset - (offset @ along)[:, None] * along, axis=1)
    assert np.abs(distance - radius)[area > 0].max() < 20.0 * np.sqrt(3) / 2 or periodic


def test_a_tube_along_an_axis_is_spread_as_its_circle_is():
    grid = Grid((0, 0, 0), 10.0, (4, 20, 20))
    area = wall_area(grid, (100.0, 100.0, 0.0), (100.0, 100.0, 40.0), 5.0).reshape(grid.shape)
    np.testing.assert_allclose(area[:, 9:11, 9:11], 2 * np.pi * 5.0 * 10.0 / 4, rtol=1e-12)
    layer = Grid((0, 0, 0), 10.0, (1, 20, 20))
    np.testing.assert_allclose(
        wall_area(layer, (100.0, 100.0), None, 5.0).reshape(20, 20), area[0], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("grid", "end", "radius"),
    [((4, 4, 4), None, 5.0), ((1, 4, 4), (0.0, 0.0), 5.0), ((1, 4, 4), None, 0.0)],
)
def test_what_is_no_tube_is_refused(grid, end, radius):
    with pytest.raises(ValueError):
        wall_area(Grid((0, 0, 0), 10.0, grid), (0.0, 0.0), end, radius)


_VESSEL = ", vessels: {v: {from: [0 um, -60 um], to: [0 um, 60 um], radius: 5 um}}"
_OXYGEN = """{{oxygen: {{diffusion: 1e5 um^2/min, decay: {0}, initial: 10 mmHg, solve: {1},
  vessels: {{v: {{value: 60 mmHg, permeability: {2}}}}}}}}}"""


@pytest.mark.parametrize("solve", ["transient", "steady"])
def test_a_vessel_fills_a_closed_box_to_its_value(solve):
    simulation = started(scene(fields=_OXYGEN.format("0 /min", solve, "100 um/min"), space=_VESSEL))
    advance(simulation, 120)
    np.testing.assert_allclose(simulation.state.fields["oxygen"], 60.0, rtol=1e-6)


def test_what_passes_the_wall_in_the_balance_is_what_decays():
    cells = "{a: {count: 20, place: {random: {}}, exchange: {oxygen: {uptake: 3 /min}}}}"
    kept = {}
    for solve in ("transient", "steady"):
        made = scene(fields=_OXYGEN.format("0.5 /min", solve, "0.6 cm/h"), space=_VESSEL, cells=cells)
        simulation = started(made)
        advance(simulation, 120)
        kept[solve] = simulation.state.fields["oxygen"]
    area = 2 * np.pi * 5.0 * 120.0
    u = kept["steady"]
    wall = u[0][:, 2:4]  # the axis is a plane between voxels
    through = 100.0 * area * (60.0 - wall.mean())
    assert through > 0.5 * u.sum() * VOXEL
    # cells move, so the two runs are not alike to the last digit
    np.testing.assert_allclose(kept["transient"], u, rtol=0.05)


@pytest.mark.parametrize(
    ("space", "fields", "message"),
    [
        (_VESSEL.replace("60 um]", "61 um]"), "{}", "outside the domain along y"),
        (_VESSEL.replace("[0 um, 60 um]", "[0 um, -60 um]"), "{}", "differ"),
        (_VESSEL.replace("[0 um, 60 um]", "[0 um, 1 um, 1 um]"), "{}", "3 coordinates"),
        (_VESSEL.replace("5 um", "0 um"), "{}", "greater than 0"),
        (_VESSEL, _OXYGEN.format("0 /min", "transient", "1 um/min").replace("{v:", "{w:"), "no vessel"),
        (_VESSEL, _OXYGEN.format("0 /min", "transient", "1 um/min").replace("60 mmHg", "60 uM"), "in mmHg"),
        (_VESSEL, _OXYGEN.format("0 /min", "steady", "0 um/min"), "a vessel"),
    ],
)
def test_vessels_that_make_no_sense_are_refused(space, fields, message):
    with pytest.raises(ScenarioError, match=message):
        scene(fields=fields, space=space)


def test_a_vessel_in_three_dimensions_has_two_ends():
    with pytest.raises(ScenarioError, match="'to' is missing"):
        scene(domain=CUBE, space=", vessels: {v: {from: [0 um, 0 um, 0 um], radius: 5 um}}")


@pytest.mark.parametrize(
    ("export", "message"), [("1 uM", "amount per time"), ("-1 uM*um^3/min", "negative"), ("1 /min", "amount")]
)
def test_exports_that_make_no_sense_are_refused(export, message):
    with pytest.raises(ScenarioError, match=message):
        scene(domain=BOX, fields=_WASTE, cells=_ONE.format(export))


def test_an_export_in_the_unit_of_another_field_is_refused():
    fields = _WASTE.replace("uM", "mmHg")
    with pytest.raises(
        ScenarioError, match=r"export\.waste is an amount per time such as 10 mmHg\*um\^3/min"
    ):
        scene(fields=fields, cells=_ONE.format("1 uM*um^3/min"))
