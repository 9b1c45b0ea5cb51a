"""Weights of populations between snapshots move the cells of a tissue with time."""

import numpy as np
import pytest
from scenes import advance, scene, started

from neural.errors import TrainingError
from neural.training import load_training, train
from neural.transport_model import TransportModel
from sim import run
from sim.build import plan
from sim.errors import ScenarioError

HOURS = (0.0, 1.0, 3.0)
CELLS = "{a: {count: 30, place: {random: {}}, representation: {space: plane}}, b: {count: 4, place: {random: {}}}}"
FLOW = "manipulators: {growing: {weights: plane.safetensors}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Cells that drift along u; of two branches the upper one grows."""
    folder = tmp_path_factory.mktemp("flow")
    rng = np.random.default_rng(0)
    rows = ["hours,u,v"]
    for t in HOURS:
        upper = rng.random(150) < 0.5 + 0.1 * t
        u, v = t + 0.2 * rng.normal(size=150), np.where(upper, 2.0, -2.0) + 0.2 * rng.normal(size=150)
        rows += [f"{t},{a},{b}" for a, b in zip(u, v, strict=True)]
    (folder / "cells.csv").write_text("\n".join(rows) + "\n")
    for name, unit in (("plane", "time_unit: h\n"), ("unsaid", "")):
        (folder / f"{name}.yaml").write_text(
            f"training: 1\nkind: transport\nname: {name}\ndata: {{path: cells.csv}}\ntime: hours\n{unit}"
            "space: {name: plane}\narchitecture: {hidden: 8}\nfit: {iterations: 30}\n"
        )
        train(folder / f"{name}.yaml")
    return folder


@pytest.mark.parametrize("splitting", ["strang", "lie"])
def test_cells_go_where_the_flow_takes_them(folder, splitting):
    simulation = started(scene(FLOW, cells=CELLS, folder=folder, splitting=splitting))
    model = TransportModel.load(folder / "plane.safetensors")
    state = simulation.state
    mine = state["cell.type"] == 0
    first = state["ur.plane"][mine].copy()
    assert (np.abs(first[:, None] - model.snapshots[0]).sum(2).min(1) == 0).all()
    assert len(np.unique(first, axis=0)) > 20
    advance(simulation, 90)
    expected = model.evolve(first, 0.0, 1.5)
    np.testing.assert_allclose(state["ur.plane"][mine], expected, atol=1e-3)
    np.testing.assert_allclose(state["manipulator.growing.time"][mine], 90)


def test_a_cell_goes_its_way_in_any_company(folder):
    model = TransportModel.load(folder / "plane.safetensors")
    cells = np.random.default_rng(1).normal(size=(1500, 2))
    times = np.where(np.arange(1500) % 3 == 0, 0.5, 0.9)
    together = model.step(cells, times, 0.4)
    some = np.array([0, 7, 1400, 1401])
    np.testing.assert_array_equal(model.step(cells[some], times[some], 0.4), together[some])
    np.testing.assert_allclose(together[1:2], model.evolve(cells[1:2], 0.9, 1.3), atol=1e-4)


def test_cells_may_begin_at_a_named_state(folder):
    cells = "{a: {count: 3, place: {random: {}}, representation: {space: plane, initial: first snapshot}}}"
    simulation = started(scene(FLOW, cells=cells, folder=folder))
    mean = TransportModel.load(folder / "plane.safetensors").snapshots[0].mean(0)
    np.testing.assert_allclose(simulation.state["ur.plane"], np.repeat(mean[None], 3, 0))


def test_growth_tells_which_branch_becomes_more(folder):
    coupling = "couplings: [{from: decoder.growth, to: rate.division, mode: add, cells: a}]"
    simulation = started(scene(FLOW, coupling, cells=CELLS, folder=folder))
    growth, upper = simulation.signals["decoder.growth"][:30], simulation.state["ur.plane"][:30, 1] > 0
    assert growth[upper].mean() > growth[~upper].mean() + 5e-4
    assert np.isnan(simulation.signals["decoder.growth"][30:]).all()


def test_a_run_keeps_where_cells_were_and_notes_what_lies_beyond(folder):
    scenario = scene(FLOW, "outputs: {cells: [ur.plane]}", cells=CELLS, folder=folder, stop="4 h")
    assert any("beyond the last snapshot (3 h after" in note for note in plan(scenario).notes)
    tree = run(scenario, folder / "out.zarr")
    last = tree["cells"].to_dataset()
    mine = last["type"].values[-34:] == "a"
    assert np.isfinite(last["ur.plane"].values[-34:][mine]).all()


def test_what_is_refused(folder, tmp_path):
    with pytest.raises(ScenarioError, match="train them with time_unit"):
        plan(scene(FLOW.replace("plane.s", "unsaid.s"), cells=CELLS, folder=folder))
    with pytest.raises(ScenarioError, match="no condition 'dose'"):
        told = FLOW.replace("}}", ", conditions: {dose: cell.volume}}}")
        plan(scene(told, cells=CELLS, folder=folder))
    file = tmp_path / "t.yaml"
    file.write_text((folder / "plane.yaml").read_text().replace("time_unit: h", "time_unit: weeks"))
    with pytest.raises(TrainingError, match="must be one of min, h, day"):
        load_training(file, need_data=False)
