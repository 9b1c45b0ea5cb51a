"""The microscope, the reporter and the cytometer in small tissues where the answer is known."""

import numpy as np
import pytest
from scenes import CONVERSION, CUBE, advance, scene, started
from scipy.special import j1

from mechanistic.threads import set_threads, threads
from sim import run
from sim.build import plan
from sim.errors import ScenarioError
from sim.interpret.outcome import parse_outcome

#: one bead far from the walls, much smaller than the point spread
BEAD = "{a: {count: 1, volume: 1e-6 um^3, place: {points: [[3.13 um, -5.71 um]]}}}"
CELLS = "{a: {count: 3, place: {points: [[-20 um, 10 um], [15 um, -5 um], [15 um, 30 um]]}}}"
LENS = "objective: {na: 0.75, magnification: 20}"
VOLUME = 2494.0
#: share of the light that rings may carry beyond the image, or from one cell to another
RINGS = 5e-3
AWAY = "view: {center: [500 um, 0 um], size: [9 um, 9 um]}"


def scope(channels, *more, every="1 h"):
    settings = ", ".join((f"kind: fluorescence, every: {every}, channels: {{{channels}}}", *more))
    return f"instruments: {{scope: {{{settings}}}}}"


def light(simulation):
    simulation.state.changed()
    (instrument,) = simulation.plan.instruments
    return instrument.light(simulation.state, simulation.signals)


def readings(simulation):
    simulation.state.changed()
    (instrument,) = simulation.plan.instruments
    return instrument.read(simulation.state, simulation.signals)


def pixels(simulation):
    (instrument,) = simulation.plan.instruments
    return (*instrument.view.centres(), instrument.view.pixel)


def test_a_point_gives_the_airy_pattern_integrated_over_pixels():
    bead = started(scene(scope("a: {emission: 520 nm, brightness: 1e9}", LENS, "sampling: 8"), cells=BEAD))
    (image,) = light(bead)
    y, x, edge = pixels(bead)
    at = bead.state["cell.position"][0]
    part = ((np.arange(21) + 0.5) / 21 - 0.5) * edge
    far = np.hypot(
        (y[:, None] + part - at[1])[:, None, :, None], (x[:, None] + part - at[0])[None, :, None, :]
    )
    v = 2 * np.pi * 0.75 / 0.52 * far
    want = 1000 * (np.pi * (0.75 / 0.52) ** 2 * (2 * j1(v) / v) ** 2).mean((2, 3)) * edge**2
    assert image.sum() == pytest.approx(1000, rel=0.01), "but for the rings beyond the image"
    assert np.abs(image - want).max() < 0.02 * want.max()


def test_the_light_of_a_cell_is_its_volume_times_the_brightness():
    parts = {
        "body": VOLUME,
        "nucleus": 0.2 * VOLUME,
        "cytoplasm": 0.8 * VOLUME,
        "membrane": VOLUME * (1 - (1 - 0.5 / (0.75 * VOLUME / np.pi) ** (1 / 3)) ** 3),
    }
    channels = ", ".join(f"{p}: {{part: {p}, emission: 520 nm, brightness: 2}}" for p in parts)
    images = light(started(scene(scope(channels), cells=CELLS)))
    np.testing.assert_allclose(images.sum((1, 2)), [3 * 2 * v for v in parts.values()], rtol=RINGS)


def test_nothing_is_lost_at_a_periodic_border_and_half_at_a_wall():
    edge = "{a: {count: 1, place: {points: [[-60 um, 0 um]]}}}"
    channel = scope("a: {emission: 520 nm, brightness: 2}")
    # 185 pixels of 0.65 um reach 0.125 um beyond each wall
    beyond = np.pi * (0.75 * VOLUME / np.pi) ** (2 / 3) * 0.125
    cut = light(started(scene(channel, cells=edge)))
    assert cut.sum() == pytest.approx(2 * (VOLUME / 2 + beyond), rel=0.01)
    around = light(started(scene(channel, cells=edge, space=", periodic: true")))
    assert around.sum() == pytest.approx(2 * (VOLUME + 2 * beyond), rel=RINGS)
    assert around[0, :, -20:].sum() == pytest.approx(around[0, :, :20].sum(), rel=1e-6)


def test_a_quantity_shines_in_proportion_and_only_in_the_cells_that_have_it():
    channels = (
        "alike: {emission: 520 nm, brightness: 1}, size: {shows: cell.volume, emission: 520 nm, brightness: 1}, "
        "few: {cells: b, emission: 520 nm, brightness: 1}, dying: {phases: apoptotic, emission: 520 nm, brightness: 1}"
    )
    two = (
        "{a: {count: 1, place: {points: [[-30 um, 0 um]]}}, b: {count: 1, place: {points: [[30 um, 0 um]]}}}"
    )
    simulation = started(scene(scope(channels), cells=two))
    simulation.state["cell.volume"][:] = [1000.0, 3000.0]
    alike, size, few, dying = light(simulation)
    left, right = np.s_[:, : alike.shape[1] // 2], np.s_[:, alike.shape[1] // 2 :]
    for half, volume in ((left, 1000.0), (right, 3000.0)):
        assert alike[half].sum() == pytest.approx(volume, rel=RINGS)
        assert size[half].sum() == pytest.approx(volume**2, abs=RINGS * 3000**2)
    assert few[left].sum() < RINGS * 3000 and few[right].sum() == pytest.approx(3000, rel=RINGS)
    assert not dying.any()
    simulation.state["cell.phase"][0] = simulation.plan.life.settings.apoptotic
    assert light(simulation)[3].sum() == pytest.approx(1000, rel=RINGS)


def test_a_pathway_is_seen_as_it_runs(tmp_path):
    (tmp_path / "conversion.ant").write_text(CONVERSION)
    cells = CELLS.replace("count: 3", "count: 3, pathways: [c]")
    simulation = started(
        scene(
            scope("f: {shows: pathway.c.F, emission: 520 nm, brightness: 0.1, background: 1}"),
            "pathways: {c: {model: conversion.ant, time_unit: min, growth: keeps_concentration}}",
            cells=cells,
            folder=tmp_path,
        )
    )
    for minutes in (0, 30):
        advance(simulation, minutes) if minutes else None
        (image,) = light(simulation)
        held = simulation.signals["pathway.c.F"] @ simulation.state["cell.volume"]
        assert (image - 1).sum() == pytest.approx(0.1 * held, rel=RINGS)


def test_the_medium_shows_its_field():
    fields = "{o: {diffusion: 1 um^2/min, initial: 2 uM}}"
    simulation = started(
        scene(scope("m: {part: medium, shows: field.o, emission: 520 nm, brightness: 0.5}"), fields=fields)
    )
    simulation.state.fields["o"][0] = np.linspace(0, 5, 6)
    (image,) = light(simulation)
    _, x, edge = pixels(simulation)
    middles = -60 + 20 * (np.arange(6) + 0.5)
    want = 0.5 * 20 * edge**2 * np.interp(x, middles, np.linspace(0, 5, 6))
    # at the rims of the domain the medium ends
    seen = image[40:-40, 40:-40]
    np.testing.assert_allclose(seen, np.broadcast_to(want[40:-40], seen.shape), rtol=0.01, atol=0.04)


def test_defocus_widens_and_sections_cut():
    deep = "{a: {count: 2, volume: 1e-6 um^3, place: {points: [[-20 um, 0 um, 0 um], [20 um, 0 um, 40 um]]}}}"
    channel = "a: {emission: 520 nm, brightness: 1e9}"
    wide = started(scene(scope(channel, "focus: 0 um"), cells=deep, domain=CUBE))
    (image,) = light(wide)
    _, _, edge = pixels(wide)
    left, right = image[:, : image.shape[1] // 2], image[:, image.shape[1] // 2 :]
    assert left.sum() == pytest.approx(1000, rel=RINGS) and right.sum() == pytest.approx(1000, rel=RINGS)
    (instrument,) = wide.plan.instruments
    # by quartiles: the tails of an Airy pattern have no variance
    quartiles = [
        float(np.ptp(np.interp([0.25, 0.75], np.cumsum(half.sum(0)) / half.sum(), np.arange(half.shape[1]))))
        for half in (left, right)
    ]
    assert quartiles[0] < 2
    # the slabs are as thick as the depth of field; the spot is of the middle of its slab
    low, high = (1.349 * instrument.objective.spread(z) / edge for z in (40 - 3.5, 40 + 3.5))
    assert low < quartiles[1] < high
    cut = started(scene(scope(channel, "focus: 40 um", "section: 6 um"), cells=deep, domain=CUBE))
    (image,) = light(cut)
    assert image.sum() == pytest.approx(1000, rel=RINGS)
    assert image[:, : image.shape[1] // 2].sum() < RINGS * 1000


def test_a_layer_out_of_focus_is_blurred_as_a_whole():
    sharp, blurred = (
        light(started(scene(scope("a: {emission: 520 nm, brightness: 1}", f"focus: {z} um"), cells=CELLS)))
        for z in (0, 30)
    )
    assert blurred.max() < 0.8 * sharp.max()
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=RINGS)


def test_every_exposure_bleaches():
    simulation = started(scene(scope("a: {emission: 520 nm, brightness: 1, bleaching: 0.1}"), cells=CELLS))
    first = light(simulation).sum()
    simulation.state.time = 180.0
    assert light(simulation).sum() == pytest.approx(0.9**3 * first, rel=1e-12)


def test_counts_have_the_cameras_mean_and_noise_of_their_own():
    simulation = started(scene(scope("a: {emission: 520 nm, brightness: 0, background: 40}"), cells=CELLS))
    first = readings(simulation)["image"]
    assert first.dtype == np.uint16 and first.shape == (1, 185, 185)
    electrons = 0.8 * 40 + 0.1
    assert first.mean() == pytest.approx(100 + 2 * electrons, rel=0.005)
    assert first.var() == pytest.approx(4 * (electrons + 1.5**2) + 1 / 12, rel=0.04)
    np.testing.assert_array_equal(readings(simulation)["image"], first)
    simulation.state.time = 60.0
    second = readings(simulation)["image"]
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03


def test_images_are_the_same_bits_for_any_number_of_threads():
    crowd = scene(
        scope("a: {emission: 520 nm, brightness: 1}"), cells="{a: {count: 60, place: {random: {}}}}"
    )
    before = threads()
    set_threads(1)
    one = readings(started(crowd))["image"]
    set_threads(before)
    np.testing.assert_array_equal(readings(started(crowd))["image"], one)


def test_images_in_the_store_are_the_same_after_a_resume(tmp_path):
    parts = scope(
        "a: {emission: 520 nm, brightness: 1}, b: {emission: 600 nm, brightness: 2}", every="30 min"
    )
    whole = run(scene(parts, cells=CELLS), tmp_path / "whole.zarr")
    node = whole["instruments/scope"]
    assert node["image"].dims == ("time", "channel", "y", "x") and node["image"].sizes["time"] == 5
    assert [str(c) for c in node["channel"].values] == ["a", "b"]
    assert node["image"].attrs["units"] == "count" and node["x"].attrs["units"] == "um"
    assert all(node[n].attrs["long_name"] for n in ("image", "channel", "x", "y", "time"))
    np.testing.assert_allclose(np.diff(node["x"].values), 0.65)
    import sim.controller as controller
    from sim.errors import Interrupted

    planned, stopped = plan(scene(parts, cells=CELLS)), tmp_path / "stopped.zarr"
    taken = 0

    def stop_after_two() -> int | None:
        nonlocal taken
        taken += 1
        return 2 if taken > 12 else None

    original = controller.interrupts.requested
    controller.interrupts.requested = stop_after_two
    try:
        with pytest.raises(Interrupted):
            controller.simulate(planned, stopped)
    finally:
        controller.interrupts.requested = original
    controller.simulate(plan(scene(parts, cells=CELLS)), stopped, resume=True)
    from sim import open_run

    np.testing.assert_array_equal(
        open_run(stopped)["instruments/scope"]["image"].values, node["image"].values
    )


def test_an_explanation_may_ask_for_the_mean_of_an_image():
    simulation = started(scene(scope("a: {emission: 520 nm, brightness: 1}"), cells=CELLS))
    simulation.state.changed()
    outcome = parse_outcome("instrument.scope.image @ 1 h", simulation.plan)
    assert outcome.unit == "count"
    assert outcome.value(simulation) == pytest.approx(readings(simulation)["image"].mean(), rel=1e-12)


def test_a_reporter_reads_the_mean_or_tracks():
    probe = "channels: {v: {shows: cell.volume, gain: 2, background: 10}}"
    mean = started(scene(f"instruments: {{reporter: {{every: 1 h, {probe}}}}}", cells=CELLS))
    mean.state["cell.volume"][:] = [100.0, 200.0, 600.0]
    assert readings(mean) == {"v": 10 + 2 * 300.0}
    mean.state["cell.phase"][2] = mean.plan.life.settings.apoptotic
    assert readings(mean) == {"v": 10 + 2 * 150.0}
    tracks = started(scene(f"instruments: {{reporter: {{every: 1 h, tracks: 5, {probe}}}}}", cells=CELLS))
    tracks.state["cell.volume"][:] = [100.0, 200.0, 600.0]
    tracks.state["cell.phase"][1] = tracks.plan.life.settings.apoptotic
    read = readings(tracks)
    np.testing.assert_array_equal(read["cell"], [0, 1, 2, -1, -1])
    np.testing.assert_array_equal(read["v"], [210.0, np.nan, 1210.0, np.nan, np.nan])


def test_a_reporters_noise_is_as_stated():
    many = "{a: {count: 4000, place: {random: {}}}}"
    noisy = "{shows: cell.volume, gain: 0.01, variation: 0.3, noise: 2}"
    simulation = started(
        scene(
            f"instruments: {{reporter: {{every: 1 h, tracks: 4000, channels: {{v: {noisy}}}}}}}", cells=many
        )
    )
    signal = readings(simulation)["v"]
    assert signal.mean() == pytest.approx(0.01 * VOLUME, rel=0.02)
    assert signal.std() == pytest.approx(np.hypot(0.3 * 0.01 * VOLUME, 2), rel=0.05)


def test_a_cytometer_draws_cells_without_replacement():
    many = "{a: {count: 3000, place: {random: {}}}, b: {count: 50, place: {random: {}}}}"
    label = "channels: {v: {shows: cell.volume, brightness: 1e4}, d: {brightness: 20, variation: 0.2}}"
    simulation = started(
        scene(f"instruments: {{cytometer: {{every: 1 h, events: 1000, cells: a, {label}}}}}", cells=many)
    )
    simulation.state["cell.volume"][:] = 1000.0 + np.arange(3050)
    seen = readings(simulation)
    which = np.rint(seen["v"] / 1e4 - 1000).astype(int)
    assert len(np.unique(which)) > 900, "at most the shot noise takes one for its neighbour"
    assert which.max() < 3005 and abs(which.mean() - 1500) < 120 and (np.diff(which) > 0).mean() < 0.6
    assert seen["d"].mean() == pytest.approx(20, rel=0.03)
    assert seen["d"].var() == pytest.approx(20 + (0.2 * 20) ** 2, rel=0.15)
    few = started(scene(f"instruments: {{cytometer: {{every: 1 h, events: 9, {label}}}}}", cells=CELLS))
    assert np.isnan(readings(few)["v"]).sum() == 6


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (scope("a: {shows: pathway.x.Y, emission: 520 nm, brightness: 1}"), "channels.a.shows: no pathway 'x'"),
        (scope("a: {shows: cell.mass, emission: 520 nm, brightness: 1}"), "channels.a.shows: no such quantity"),
        (scope("a: {phases: G1, emission: 520 nm, brightness: 1}"), "channels.a.phases[0]: no cell has a phase 'G1'"),
        (scope("a: {emission: 520, brightness: 1}"), "channels.a.emission: has no unit; must be a length"),
        (scope("a: {emission: 520 nm}"), "channels.a.brightness: 'brightness' is missing; add it"),
        (scope("a: {emission: 520 nm, brightnes: 1}"), "unknown key 'brightnes'; did you mean 'brightness'?"),
        (scope("a: {part: medium, emission: 520 nm, brightness: 1}"), "channels.a.shows: must be a field"),
        (scope("a: {emission: 520 nm, brightness: 1}", "objective: {na: 1.2}"), "objective.na: must be smaller"),
        (scope("a: {emission: 520 nm, brightness: 1}", "objective: {magnification: 400}"), "choose a smaller view"),
        (scope("a: {emission: 520 nm, brightness: 1}", "section: 3 um"), "section: needs height"),
        (scope("a: {emission: 520 nm, brightness: 1}", AWAY), "view.center[0]: shows nothing"),
        ("instruments: {scope: {kind: fluorescense, every: 1 h}}", "scope.kind: unknown instrument 'fluorescense'"),
        ("instruments: {scope: {every: 1 h}}", "instruments.scope: unknown instrument 'scope'"),
        ("instruments: {scope: {kinds: fluorescence, every: 1 h}}", "unknown key 'kinds'; did you mean 'kind'?"),
        ("instruments: {reporter: {every: 1 h, channels: {v: {shows: 'ur.x[0]'}}}}", "no space 'x' is declared"),
        ("instruments: {cytometer: {every: 1 h, channels: {}}}", "channels: must have at least 1 values"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(part, message):
    with pytest.raises(ScenarioError) as caught:
        plan(scene(part, cells=CELLS))
    lines = "\n".join(caught.value.lines())
    assert message in lines and "<text>:" in lines
