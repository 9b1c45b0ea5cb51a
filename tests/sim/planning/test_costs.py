"""What there is no room for is refused before it runs; what takes long, or is faster than its steps, is told."""

import pytest
from scenes import scene

from sim.build import plan
from sim.errors import ScenarioError
from sim.planning.costs import costs_of

CELLS = "{a: {count: 20, place: {disc: {radius: 60 um}}, cycle: {division: 5 /min}}}"


def test_more_divisions_than_steps_are_told():
    (text,) = costs_of(scene(cells=CELLS, stop="1 h", every="30 min"))
    assert text.startswith("cells.a.cycle: asks for 30 divisions in a step of 6 min")
    assert "time.step: 0.2 min or less" in text
    phases = "{a: {count: 1, place: {random: {}}, cycle: {phases: {G0G1: {mean: 1 min}, S: {fixed: 1 min}}}}}"
    assert "asks for 3 divisions" in costs_of(scene(cells=phases))[0]
    assert plan(scene(cells=CELLS)).notes == costs_of(scene(cells=CELLS))


def test_a_rate_that_something_acts_on_is_left_alone():
    coupling = "couplings: [{from: field.drug, to: rate.division, linear: {slope: 1e-6}, mode: scale}]"
    assert costs_of(scene(coupling, fields="{drug: {diffusion: 1e3 um^2/min}}", cells=CELLS)) == []


def test_cells_on_top_of_each_other_are_counted_before_they_are_made():
    crowd = CELLS.replace("20", "10000000").replace("5 /min", "1e-3 /min")
    with pytest.raises(ScenarioError, match=r"so many cells in so little space, each on .* needs .* GiB"):
        scene(cells=crowd, stop="1 h", every="30 min")


def test_hours_of_fields_are_told():
    fields, wide = "{drug: {diffusion: 1e3 um^2/min}}", "{x: [-6000 um, 6000 um], y: [-6000 um, 6000 um]}"
    assert costs_of(scene(fields=fields)) == []
    (text,) = costs_of(scene(fields=fields, domain=wide, stop="1000000 h", every="100 h"))
    assert text.startswith("space.voxel: ") and "about 10 h of computing" in text
