"""The cytometer's flaws: light that spills into other detectors, and cells that pass two by two."""

import numpy as np
import pytest
from scenes import scene, started

from sim.build import plan
from sim.errors import ScenarioError

CELLS = "{a: {count: 3000, place: {random: {}}}, b: {count: 2000, place: {random: {}}}}"


def cytometer(channels, more="", cells=CELLS):
    text = f"instruments: {{cytometer: {{every: 1 h, events: 2000, channels: {{{channels}}}{more}}}}}"
    simulation = started(scene(text, cells=cells))
    (instrument,) = simulation.plan.instruments
    return simulation, instrument


def read(simulation, instrument):
    simulation.state.changed()
    return instrument.read(simulation.state, simulation.signals)


def test_spilt_light_is_compensated_by_the_matrix_that_the_store_keeps():
    channels = (
        "fitc: {shows: cell.volume, brightness: 1, spills: {pe: 0.25}}, "
        "pe: {brightness: 400, background: 50, spills: {fitc: 0.02}}"
    )
    simulation, instrument = cytometer(channels)
    one = simulation.state["cell.type"] == 0
    simulation.state["cell.volume"][:] = np.where(one, 4000.0, 1000.0)
    seen = np.stack(list(read(simulation, instrument).values()), 1)
    fitc, pe = instrument.described()
    matrix = np.array([fitc.attrs["spillover"], pe.attrs["spillover"]])
    np.testing.assert_array_equal(matrix, [[1, 0.25], [0.02, 1]])
    many = seen[:, 0] > 2500
    for which, volume in ((many, 4000.0), (~many, 1000.0)):
        light = np.array([volume + 0.02 * 400, 0.25 * volume + 400 + 50])
        # photons are Poisson numbers: mean and variance are alike
        np.testing.assert_allclose(seen[which].mean(0), light, rtol=0.01)
        np.testing.assert_allclose(seen[which].var(0), light, rtol=0.15)
        compensated = (seen[which] - [0, pe.attrs["background_photons"]]) @ np.linalg.inv(matrix)
        np.testing.assert_allclose(compensated.mean(0), [volume, 400], rtol=0.01)
        # what compensation cannot take away: the spread that spilt photons bring
        spread = np.linalg.inv(matrix).T @ np.diag(light) @ np.linalg.inv(matrix)
        np.testing.assert_allclose(np.cov(compensated.T), spread, rtol=0.15, atol=60)


def test_doublets_shine_for_two():
    simulation, instrument = cytometer("d: {brightness: 1e4}", ", doublets: 0.1")
    seen = read(simulation, instrument)["d"]
    double = seen > 1.5e4
    assert double.mean() == pytest.approx(0.1, abs=0.025)
    np.testing.assert_allclose([seen[double].mean(), seen[~double].mean()], [2e4, 1e4], rtol=0.01)
    few, instrument = cytometer(
        "d: {brightness: 1e4}", ", doublets: 1", "{a: {count: 5, place: {random: {}}}}"
    )
    seen = read(few, instrument)["d"]
    np.testing.assert_allclose(seen[:3], [2e4, 2e4, 1e4], rtol=0.05)
    assert np.isnan(seen[3:]).all()


def test_no_cell_no_event():
    simulation, instrument = cytometer("d: {brightness: 1e4}", ", doublets: 0.5")
    simulation.state["cell.phase"][:] = simulation.plan.life.settings.lysed
    assert np.isnan(read(simulation, instrument)["d"]).all()


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (
            "a: {brightness: 1, spills: {bb: 0.1}}, b: {brightness: 1}",
            "a.spills.bb: is no channel of this instrument",
        ),
        ("a: {brightness: 1, spills: {a: 0.1}}", "channels.a.spills.a: is this channel itself"),
        (
            "a: {brightness: 1, spills: {b: 2}}, b: {brightness: 1}",
            "channels.a.spills.b: must be between 0 and 1",
        ),
    ],
)
def test_light_spills_into_other_channels_only(channels, message):
    with pytest.raises(ScenarioError) as caught:
        plan(scene(f"instruments: {{cytometer: {{every: 1 h, channels: {{{channels}}}}}}}", cells=CELLS))
    lines = "\n".join(caught.value.lines())
    assert message in lines and "<text>:" in lines
