"""The incucyte against areas known in closed form."""

import numpy as np
import pytest
from scenes import scene, started

#: off the pixels' corners, where a disc of 8 um misses its area by 3 %
POINTS = "[[-40.2 um, -40.4 um], [40.3 um, 40.1 um], [-40.4 um, 40.3 um], [40.1 um, -40.2 um]]"
CELLS = f"{{a: {{count: 4, place: {{points: {POINTS}}}}}}}"
READS = "instruments: {camera: {kind: incucyte, every: 1 h}}"
AREA = 120.0**2
RADIUS = (3 * 2494 / (4 * np.pi)) ** (1 / 3)
DISC = 100 * np.pi * RADIUS**2 / AREA


def read(simulation):
    (instrument,) = simulation.plan.instruments
    simulation.state.changed()
    return instrument.read(simulation.state, simulation.signals)


def placed(simulation, points):
    simulation.state["cell.position"][:, :2] = points
    return read(simulation)["live_area"]


@pytest.fixture
def simulation():
    return started(scene(READS, cells=CELLS))


def test_discs_apart_add_up(simulation):
    assert read(simulation)["live_area"] == pytest.approx(4 * DISC, rel=0.025)


def test_discs_on_top_of_each_other_count_once(simulation):
    assert placed(simulation, [[3.3, 3.2]] * 4) == pytest.approx(DISC, rel=0.025)


def test_two_overlapping_discs_cover_their_union(simulation):
    apart = RADIUS
    lens = 2 * RADIUS**2 * np.arccos(apart / (2 * RADIUS)) - apart / 2 * np.sqrt(4 * RADIUS**2 - apart**2)
    covered = placed(simulation, [[0.3, 0.2], [0.3 + apart, 0.2], [0.3, 0.2], [0.3, 0.2]])
    assert covered == pytest.approx(100 * (2 * np.pi * RADIUS**2 - lens) / AREA, rel=0.025)


def test_at_a_wall_a_disc_is_cut_and_at_a_periodic_border_it_comes_in_again(simulation):
    assert placed(simulation, [[-60, 0.3]] * 4) == pytest.approx(DISC / 2, rel=0.04)
    wrapped = started(scene(READS, cells=CELLS, space=", periodic: true"))
    assert placed(wrapped, [[-60, 0.3]] * 4) == pytest.approx(DISC, rel=0.025)


def test_each_cell_is_seen_by_the_channel_of_its_phase(simulation):
    settings = simulation.plan.life.settings
    simulation.state["cell.phase"][1] = settings.apoptotic
    simulation.state["cell.phase"][2:] = settings.lysed
    seen = read(simulation)
    assert set(seen) == {"live_area", "annexin_v", "dead_dna"}
    assert seen["live_area"] == pytest.approx(DISC, rel=0.025)
    assert seen["annexin_v"] == pytest.approx(seen["live_area"], rel=0.025)
    assert seen["dead_dna"] == pytest.approx(2 * seen["live_area"], rel=0.025)


def test_only_the_channels_asked_for_are_read():
    simulation = started(scene("instruments: {incucyte: {every: 1 h, channels: [annexin_v]}}", cells=CELLS))
    assert read(simulation) == {"annexin_v": 0.0}


def test_an_empty_image_reads_nothing():
    simulation = started(scene(READS, cells="{a: {count: 0, place: {random: {}}}}"))
    assert read(simulation) == {"live_area": 0, "annexin_v": 0, "dead_dna": 0}


def test_readings_are_percent_and_say_what_they_are(simulation):
    (instrument,) = simulation.plan.instruments
    assert [c.unit for c in instrument.described()] == ["%"] * 3
    assert all(c.meaning for c in instrument.described())
