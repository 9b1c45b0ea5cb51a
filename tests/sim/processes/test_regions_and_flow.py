"""Fields that spread otherwise in regions, and fields that a flow carries, from the scenario on."""

from __future__ import annotations

import numpy as np
import pytest

from sim.errors import ScenarioError
from tests.scenes import CUBE, advance, scene, started

VOXEL = 20.0**3
_WALL = (
    ", regions: {wall: {box: {x: [-10 um, 10 um]}}, stone: {disc: {center: [-50 um, -50 um], radius: 12 um}}}"
)
_CELLS = """{a: {place: {points: [[-50 um, 30 um], [-30 um, -10 um]]}, mechanics: {fixed: true},
  exchange: {waste: {export: 50 uM*um^3/min, uptake: 2 /min}}}}"""


def test_nothing_comes_through_a_wall_or_into_a_stone():
    fields = (
        "{waste: {diffusion: 1e4 um^2/min, diffusion_in: {wall: 0 um^2/min, stone: 0 um^2/min}, unit: uM}}"
    )
    simulation = started(scene(fields=fields, space=_WALL, cells=_CELLS))
    advance(simulation, 60)
    u, state = simulation.state.fields["waste"][0], simulation.state
    assert u.shape == (6, 6)
    assert u[:, :2].sum() > 0 and np.abs(u[:, 3:]).max() < 1e-12
    assert u[0, 0] == 0.0
    total = u.sum() * VOXEL + state["internal.waste"].sum()
    assert total == pytest.approx(0.0, abs=1e-8)


def test_a_tight_membrane_slows_what_passes_as_resistances_in_series_do():
    fields = """{o2: {diffusion: 1e5 um^2/min, diffusion_in: {wall: 100 um^2/min}, initial: 1 mmHg, solve: steady,
      boundary: {x_min: 4 mmHg, x_max: 0 mmHg}}}"""
    simulation = started(scene(fields=fields, space=_WALL, cells="{a: {count: 1, place: {random: {}}}}"))
    advance(simulation, 6)
    u = simulation.state.fields["o2"][0, 0]
    # the wall is the voxels from -20 to 0 um, whose middles lie in it
    flow = 4.0 / (100 / 1e5 + 20 / 100)
    assert u[0] == pytest.approx(4.0 - flow * 10 / 1e5, rel=1e-7)
    assert u[5] == pytest.approx(flow * 10 / 1e5, rel=1e-6)


@pytest.mark.parametrize("domain", ["2-D", "3-D"])
def test_a_flow_carries_a_field_round(domain):
    still, flow = "", ", advection: [8 um/min, -16 um/min{}]".format(", 0 um/min" if domain == "3-D" else "")
    results = []
    for advection in (still, flow):
        fields = f"{{drug: {{diffusion: 30 um^2/min, initial: 0 uM{advection}}}}}"
        more = {"domain": CUBE} if domain == "3-D" else {}
        simulation = started(
            scene(
                step="10 min",
                fields=fields,
                space=", periodic: true",
                cells="{a: {count: 1, place: {random: {}}}}",
                **more,
            )
        )
        u = simulation.state.fields["drug"]
        u[...] = np.random.default_rng(0).random(u.shape)
        advance(simulation, 30)
        results.append(u.copy())
    # twice round, and four times; what half a call carries is one voxel and two
    np.testing.assert_allclose(results[1], results[0], atol=1e-12)


@pytest.mark.parametrize(
    ("field", "space", "message"),
    [
        ("diffusion_in: {wal: 0 um^2/min}", _WALL, "no region 'wal' is declared"),
        ("diffusion_in: {wall: 0 um^2/min}", "", "there is no region"),
        ("diffusion_in: {wall: -1 um^2/min}", _WALL, "must not be negative"),
        ("advection: [1 um/min]", "", "at least 2"),
        ("advection: [1 um/min, 1 um/min, 1 um/min]", "", "3 components; the domain has 2 axes"),
        (
            "advection: [1 um/min, 1 um/min], diffusion_in: {wall: 0 um^2/min}",
            _WALL,
            "cannot go with regions",
        ),
        ("advection: [1 um/min, 1 um/min], solve: steady, decay: 1 /min", "", "transient"),
        ("unit: uM", ", regions: {r: {}}", "a disc or a box"),
        ("unit: uM", ", regions: {r: {box: {}}}", "needs an axis"),
        ("unit: uM", ", regions: {r: {box: {z: [0 um, 1 um]}}}", "no z"),
        ("unit: uM", ", regions: {r: {box: {x: [1 um, 0 um]}}}", "must lie below"),
        ("unit: uM", ", regions: {r: {disc: {center: [0 um, 0 um, 0 um], radius: 1 um}}}", "3 coordinates"),
    ],
)
def test_what_makes_no_sense_is_refused(field, space, message):
    with pytest.raises(ScenarioError, match=message):
        scene(fields=f"{{waste: {{diffusion: 1e4 um^2/min, {field}}}}}", space=space)
