"""Spaces of representations inside a tissue: encoded from the cells as they are, one on another."""

import numpy as np
import pytest
from scenes import CONVERSION, advance, scene, started

from neural.encoders import Modality, Representation, pooled
from neural.encoders.pooling import pooled_names
from sim import run
from sim.build import plan
from sim.errors import ScenarioError

PATHWAYS = "pathways: {c: {model: conversion.ant, time_unit: min, growth: keeps_concentration}}"
CELLS = "{a: {count: 30, place: {random: {}}, pathways: [c]}, b: {count: 4, place: {random: {}}}}"
READS = "{state: {E: pathway.c.E, F: pathway.c.F, volume: cell.volume}}"
SPACES = f"""
representations:
  molecular: {{weights: molecular.safetensors, reads: {READS}, cells: a}}
  cellular: {{weights: cellular.safetensors, built_on: {{molecular: molecular}}, cells: a}}
  niche: {{weights: niche.safetensors, built_on: {{cells: cellular}}, cells: a}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pathway and three spaces, each trained on the one below."""
    folder = tmp_path_factory.mktemp("spaces")
    (folder / "conversion.ant").write_text(CONVERSION)
    rng = np.random.default_rng(0)
    e = rng.uniform(0, 3, 300)
    table = np.column_stack([e, 3 - e, rng.uniform(1000, 3000, 300)])
    words = np.where(e > 1.5, "much", "little")
    state = Modality("state", "real", ("E", "F", "volume"))
    molecular = Representation.fit(table, (state,), 2, "molecular", "pca", "molecular", words)
    molecular.save(folder / "molecular.safetensors")
    ur = molecular.encode(table)
    under = Modality("molecular", "real", molecular.space.labels)
    protein = Modality("protein", "real", ("p0", "p1"))
    tables = {"molecular": ur, "protein": ur + 0.1 * rng.normal(size=(300, 2))}
    cellular = Representation.fit(tables, (under, protein), 2, "cellular", "vae", epochs=30, hidden=8)
    cellular.save(folder / "cellular.safetensors", below={"molecular": {"space": "molecular", "hops": 0}})
    near = (np.arange(0, 1201, 4), rng.integers(0, 300, 1200))
    around = pooled(cellular.encode(tables), near)
    niche = Modality("cells", "real", pooled_names(cellular.space.labels))
    made = Representation.fit(around, (niche,), 2, "niche", "pca", "tissue")
    made.save(folder / "niche.safetensors", below={"cells": {"space": "cellular", "hops": 1}})
    return folder


def loaded(folder, name):
    return Representation.load(folder / f"{name}.safetensors")


def test_cells_are_encoded_as_they_are_now(folder):
    simulation = started(scene(PATHWAYS, SPACES, cells=CELLS, folder=folder))
    simulation.state["cell.volume"][:] = np.linspace(1000, 3000, 34)
    for minutes in (0, 60):
        if minutes:
            advance(simulation, minutes)
        simulation.state.changed()
        signals, state = simulation.signals, simulation.state
        mine = state["cell.type"] == 0
        now = np.column_stack([signals[q] for q in ("pathway.c.E", "pathway.c.F", "cell.volume")])
        ur = signals["ur.molecular"]
        np.testing.assert_allclose(ur[mine], loaded(folder, "molecular").encode(now[mine]), atol=1e-12)
        assert np.isnan(ur[~mine]).all()
        above = loaded(folder, "cellular").encode({"molecular": ur[mine]})
        np.testing.assert_allclose(signals["ur.cellular"][mine], above, atol=1e-12)
        around = pooled(np.nan_to_num(signals["ur.cellular"]), signals.graph())[mine]
        np.testing.assert_allclose(
            signals["ur.niche"][mine], loaded(folder, "niche").encode(around), atol=1e-12
        )
        decoded = loaded(folder, "cellular").decode(above)["protein"]
        np.testing.assert_allclose(signals["decoder.p1"][mine], decoded[:, 1], atol=1e-12)
        np.testing.assert_array_equal(signals["ur.molecular[1]"], ur[:, 1])
    assert np.ptp(ur[mine][:, 0]) > 0


def test_a_decoder_of_a_space_drives_cells(folder):
    coupling = "couplings: [{from: decoder.p0, to: rate.death, linear: {slope: 0, intercept: 0.5}, cells: a}]"
    simulation = started(scene(PATHWAYS, SPACES, coupling, cells=CELLS, folder=folder))
    advance(simulation, 60)
    dying = simulation.state["cell.phase"] >= simulation.plan.life.settings.apoptotic
    assert (
        dying[simulation.state["cell.type"] == 0].all()
        and not dying[simulation.state["cell.type"] == 1].any()
    )


def test_bits_of_a_cell_do_not_depend_on_the_others(folder):
    few, many = (
        started(scene(PATHWAYS, SPACES, cells=CELLS.replace("30", str(n)), folder=folder)) for n in (3, 1500)
    )
    for simulation in (few, many):
        simulation.state["cell.volume"][:3] = [1100.0, 1900.0, 2700.0]
        simulation.state.changed()
    np.testing.assert_array_equal(few.signals["ur.cellular"][:3], many.signals["ur.cellular"][:3])


def test_the_store_holds_the_representation(folder, tmp_path):
    outputs = "outputs: {cells: [ur.molecular, decoder.volume]}"
    tree = run(scene(PATHWAYS, SPACES, outputs, cells=CELLS, folder=folder), tmp_path / "run.zarr")
    ur = tree["cells/ur.molecular"]
    assert ur.dims[0] == "obs" and ur.shape[1] == 2 and ur.attrs["labels"] == "molecular1 molecular2"
    assert np.isfinite(ur.values[:30]).all() and np.isnan(ur.values[30:34]).all()


def test_without_reads_cells_stay_at_a_reference_state(folder):
    cells = "{a: {count: 3, place: {random: {}}, representation: {space: molecular, initial: much}}}"
    simulation = started(
        scene("representations: {molecular: {weights: molecular.safetensors}}", cells=cells, folder=folder)
    )
    simulation.state.changed()
    much = loaded(folder, "molecular").space.reference_states["much"]
    np.testing.assert_allclose(simulation.state["ur.molecular"], np.tile(much, (3, 1)))
    assert np.all(simulation.signals["decoder.E"] > 1.5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "molecular.safetensors",
            "niche.safetensors",
            "molecular.weights: these weights are of the space 'niche'",
        ),
        (
            "{state:",
            "{stat:",
            "molecular.reads.stat: the space has no modality 'stat'; did you mean 'state'?",
        ),
        (
            "volume: cell.volume",
            "volum: cell.volume",
            "reads.state.volum: the modality has no feature 'volum'",
        ),
        (", volume: cell.volume", "", "reads.state: lacks volume; a modality is read as a whole or left out"),
        ("pathway.c.E", "pathway.d.E", "reads.state.E: no pathway 'd' is declared"),
        ("pathway.c.E", "pathway.c.G", "reads.state.E: no quantity 'pathway.c.G'; did you mean"),
        (
            "{molecular: molecular}",
            "{molecular: niche}",
            "cannot be built on 'niche'; it was trained on the space",
        ),
        ("{molecular: molecular}", "{molecular: x}", "built_on.molecular: no space 'x' is declared"),
    ],
)
def test_what_is_wrong_with_a_space_is_told(folder, old, new, message):
    with pytest.raises(ScenarioError) as caught:
        plan(scene(PATHWAYS, SPACES.replace(old, new, 1), cells=CELLS, folder=folder))
    assert message in "\n".join(caught.value.lines())


def test_states_are_told_and_cells_unlike_known_ones_doubted(folder):
    simulation = started(scene(PATHWAYS, SPACES, cells=CELLS, folder=folder))
    simulation.state["cell.volume"][:15], simulation.state["cell.volume"][15:] = 2000.0, 20_000.0
    simulation.state.changed()
    signals, mine = simulation.signals, simulation.state["cell.type"] == 0
    space = loaded(folder, "molecular")
    p = space.state_probabilities(signals["ur.molecular"][mine])
    assert space.states.names == ("little", "much")
    np.testing.assert_allclose(signals["decoder.little"][mine], p[:, 0], atol=1e-12)
    np.testing.assert_allclose((signals["decoder.little"] + signals["decoder.much"])[mine], 1)
    doubt = signals["decoder.molecular_unusual"]
    assert np.isnan(doubt[~mine]).all()
    np.testing.assert_array_equal(doubt[mine], [0.0] * 15 + [1.0] * 15)


def test_a_space_below_that_was_trained_again_is_refused(folder):
    niche = loaded(folder, "niche")
    niche.save(
        folder / "old.safetensors", below={"cells": {"space": "cellular", "hops": 1, "sha256": "0" * 64}}
    )
    with pytest.raises(
        ScenarioError, match="was trained on other weights of the space 'cellular'; train it again"
    ):
        plan(
            scene(
                PATHWAYS, SPACES.replace("niche.safetensors", "old.safetensors"), cells=CELLS, folder=folder
            )
        )
