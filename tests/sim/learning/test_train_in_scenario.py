"""Numbers and networks found again inside a scenario, through its field, its mechanics and its pathways."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from neural import weights
from neural.errors import TrainingError
from neural.tissue.factored import FactoredLaw
from sim import Scenario
from sim.build import plan
from sim.errors import ScenarioError, SimulationError
from sim.learning import trained
from sim.learning.in_scenario import train_in_scenario
from sim.learning.scenario_file import load_scenario_training
from sim.simulation import Simulation
from sim.twin import Twin
from sim.validation import validated

MODEL = """model p
  unit uM = 1e-6 mole / litre; unit substance = 1e-21 mole; unit extent = 1e-21 mole; unit volume = 1e-15 litre
  unit time_unit = 60 second; unit rate = 1e-6 mole / (litre * 60 second); compartment cell = 1000; cell has volume
  species R in cell, S in cell
  heard = 0; heard has uM; var heard
  seen = 0; seen has uM; var seen
  told = 0; told has rate; var told
  k = 0.05; R0 = 0.2; S0 = 0.2
  makeR: => R; cell*(k*(seen/(0.3 + seen) + heard^2/(0.1 + heard^2)) + told)
  loseR: R => ; cell*0.05*R
  makeS: => S; cell*0.04*R
  loseS: S => ; cell*0.04*S
  R = R0; S = S0
end
"""
HEARS = "{from: neighbours.mean(pathway.p.S), to: pathway.p.heard}"


def scene(folder, couplings=HEARS, tissue="", cells=12, **more):
    """A scenario file of cells that lie near each other, feed a field and draw on it."""
    (folder / "p.ant").write_text(MODEL)
    text = f"""scenario: 1
name: relay
seed: 5
time: {{stop: 24 min, save_every: 2 min, step: 1 min}}
space: {{domain: {{x: [0 um, 100 um], y: [0 um, 100 um]}}, voxel: 10 um,
  fields: {{m: {{diffusion: 300 um^2/min, decay: 0.05 /min, unit: uM, initial: 0.1 uM}}}}}}
cells:
  a: {{count: {cells}, place: {{hexagonal: {{spacing: 10 um, shape: disc}}}}, volume: 900 um^3,
      mechanics: {{adhesion: 0.6 um/min, repulsion: 6 um/min}}, pathways: [p], exchange: {{m: {{uptake: 4 /min}}}}}}
pathways:
  p: {{model: p.ant, time_unit: min, growth: keeps_concentration,
      vary: {{R0: 'uniform(low=0, high=1)', S0: 'uniform(low=0, high=1)'}}}}
tissue: {{{tissue}neighbours: {{radius: 20 um}}}}
couplings:
  - {couplings}
  - {{from: field.m, to: pathway.p.seen}}
  - {{from: pathway.p.S, to: export.m, linear: {{slope: 300}}}}
"""
    (folder / "scene.yaml").write_text(text)
    return Scenario.load(folder / "scene.yaml", overrides=more)


def law_of_relay(path, loudness):
    """Weights of a tissue network by which hearing S makes R, like a Hill curve, so loud."""
    one = torch.ones(2, dtype=torch.float64)
    law = FactoredLaw(["R", "S"], 0 * one, one, pieces=4, features=2)
    heard = torch.linspace(0, 1, 200, dtype=torch.float64)[:, None] * one
    basis = law.together(heard)[:, 1]
    curve = loudness * 0.05 * heard[:, :1] ** 2 / (0.1 + heard[:, :1] ** 2)
    with torch.no_grad():
        law.does[1, :, :1] = torch.linalg.lstsq(basis, curve).solution
    tensors = {k: v.detach().numpy() for k, v in law.state_dict().items()}
    tensors |= {k: np.zeros(2) for k in ("strength", "noise", "unexplained")} | {
        "covariance": np.zeros((14, 14))
    }
    card = {
        "kind": "tissue", "name": "relay",
        "architecture": {
            "form": "factored", "signals": ["R", "S"], "edges": [{"name": "distance", "unit": "um"}],
            "nodes": [{"name": "pathway.p.R"}, {"name": "pathway.p.S"}], "radius": 20.0, "by_distance": False,
            "mean": True, "itself": False, "pieces": 4, "features": 2, "pull": 0.1,
        },
        "messages": [{"name": f"d{s}", "unit": "uM/min", "meaning": "made up"} for s in "RS"],
    }  # fmt: skip
    weights.save(path, tensors, card)


def twin_of(scenario, learn=(), step=0.5):
    """A twin whose cells lie where the scenario puts them, and its beginning."""
    planned = plan(scenario)
    ready = Simulation(planned)
    ready.populate()
    made = Twin(
        planned, ready.state["cell.position"].copy(), ready.state["cell.type"].copy(), learn=learn, step=step
    )
    return made, ready


def test_the_twin_does_what_the_simulator_does_as_the_step_shrinks(tmp_path):
    names, error = ("pathway.p.R", "pathway.p.S", "field.m"), []
    _, ready = twin_of(scene(tmp_path))
    for _, length in ready.blocks(0.0, 6.0):
        ready.step(length, refine=8)
    for step in (1.0, 0.25):
        made, _ = twin_of(scene(tmp_path), step=step)
        with torch.no_grad():
            end = made(made.start(), round(6 / step))
        off = [np.abs(made.observed(end, n).numpy() - ready.signals[n]).max() for n in names]
        error.append([*off, np.abs(end.x.numpy() - ready.state["cell.position"]).max()])
    coarse, fine = np.array(error)
    assert (fine < [2e-3, 1e-3, 5e-3, 2e-2]).all(), fine
    assert (fine < coarse).all()


def test_gradients_through_everything_are_those_of_finite_differences(tmp_path):
    learn = ("pathway.p.k", "mechanics.adhesion", "mechanics.repulsion", "uptake.m")
    made, _ = twin_of(scene(tmp_path), learn)
    start = made.start()
    aim = [
        torch.randn(t.shape, generator=torch.Generator().manual_seed(1)).double()
        for t in (start.x, *start.inner)
    ]

    def loss():
        end = made(start, 6)
        return sum((a * t).sum() for a, t in zip(aim, (end.x, *end.inner))) + 3 * end.fields[0].square().sum()

    loss().backward()
    for value in made.values.values():
        with torch.no_grad():
            held, h = value.clone(), 1e-4
            value.copy_(held + h)
            up = float(loss())
            value.copy_(held - h)
            down = float(loss())
            value.copy_(held)
        assert (up - down) / (2 * h) == pytest.approx(float(value.grad), rel=2e-4, abs=1e-6)


def test_memory_goes_with_cells_and_steps(tmp_path):
    def kept(cells, steps):
        made, _ = twin_of(scene(tmp_path, cells=cells), ("pathway.p.k",))
        held: dict[int, int] = {}

        def pack(t):
            held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            end = made(made.start(), steps)
            del end
        return sum(held.values())

    few, many, longer = kept(12, 4), kept(48, 4), kept(12, 8)
    voxels = 100 * 8 * 4  # bytes of the field over these steps
    assert many < 4.5 * few
    assert longer < 2.2 * few + voxels


def training(folder, **changed):
    scene(folder)
    true = {"time": "{stop: 24 min, save_every: 2 min, step: 0.5 min}"}
    spec = {
        "training": 1, "kind": "scenario", "name": "relay", "scenario": "scene.yaml",
        "set": {"pathways.p.set": {"k": 0.03}, "cells.a.mechanics.adhesion": "0.3 um/min"},
        "simulated": {
            "set": {"pathways.p.set": {"k": 0.05}, "cells.a.mechanics.adhesion": "0.6 um/min", **true}, "seeds": [1]
        },
        "quantities": {"R": "pathway.p.R", "S": "pathway.p.S"},
        "learn": {"pathway.p.k": [0.01, 0.2], "mechanics.adhesion": [0.1, 2]},
        "horizon": 2, "step": 1, "fit": {"seed": 1, "iterations": 40, "rate": 0.1},
    }  # fmt: skip
    (folder / "train.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(spec | changed))))
    return folder / "train.yaml"


def test_numbers_are_found_again(tmp_path):
    file = training(tmp_path)
    assert validated(file) == []
    said: list[str] = []
    page = trained(file, say=said.append)
    card = weights.read_card(tmp_path / "relay.safetensors")
    assert card.raw["learned"]["pathway.p.k"] == pytest.approx(0.05, rel=0.02)
    assert card.raw["learned"]["mechanics.adhesion"] == pytest.approx(0.6, rel=0.05)
    table = card.raw["scores"]["change within a horizon, R², left out"]
    assert min(table["learned"].values()) > 0.97
    assert max(table["as the scenario has it"][q] for q in ("R", "places")) < 0.5
    assert "pathway.p.k: 0.0" in page and said[-1].startswith("40 of 40: least misfit")


def test_an_interrupted_fit_goes_on_to_the_same_bits(tmp_path):
    few = {"fit": {"seed": 1, "iterations": 4, "starts": 2, "rate": 0.1}, "horizon": 3}
    file = training(tmp_path, **few)
    train_in_scenario(file)
    whole = weights.read_card(tmp_path / "relay.safetensors").sha256

    def stop(done, total, text):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_in_scenario(file, tmp_path / "again.safetensors", progress=stop)
    train_in_scenario(file, tmp_path / "again.safetensors", resume=True)
    assert weights.read_card(tmp_path / "again.safetensors").sha256 == whole
    assert not list(tmp_path.glob(".again*"))


@pytest.mark.validation
def test_the_numbers_of_a_network_are_found_again(tmp_path):
    """A tissue network whose messages were made half as loud, learned again inside the tissue that it drives."""
    law_of_relay(tmp_path / "relay_law.safetensors", loudness=1.0)
    law_of_relay(tmp_path / "faint.safetensors", loudness=0.5)
    told = "{from: tissue.dR, to: pathway.p.told}"
    scene(tmp_path, told, "weights: relay_law.safetensors, ", cells=12)
    spec = yaml.safe_load(training(tmp_path).read_text()) | {
        "set": {"tissue.weights": "faint.safetensors", "cells.a.mechanics.fixed": True},
        "learn": {"tissue": "weights"},
        "fit": {"seed": 1, "iterations": 25, "rate": 0.15},
        "name": "louder",
    }
    spec["simulated"]["set"] = {"tissue.weights": "relay_law.safetensors", "cells.a.mechanics.fixed": True}
    scene(tmp_path, told, "weights: relay_law.safetensors, ", cells=12)
    (tmp_path / "train.yaml").write_text(json.dumps(spec))
    train_in_scenario(tmp_path / "train.yaml")
    card = weights.read_card(tmp_path / "louder.safetensors")
    table = card.raw["scores"]["change within a horizon, R², left out"]
    assert card.kind == "tissue" and [m["name"] for m in card.raw["messages"]] == ["dR", "dS"]
    assert table["learned"]["R"] > 0.99 > table["as the scenario has it"]["R"]
    scene(tmp_path, told, "weights: louder.safetensors, ", cells=12)  # and it drives a tissue as it is
    _, ready = twin_of(Scenario.load(tmp_path / "scene.yaml"))
    _, true = twin_of(scene(tmp_path, told, "weights: relay_law.safetensors, ", cells=12))
    apart = ready.signals["tissue.dR"] - true.signals["tissue.dR"]
    assert np.abs(apart).max() < 0.1 * np.abs(true.signals["tissue.dR"]).max()


@pytest.mark.parametrize(
    ("changed", "key", "message"),
    [
        ({"learn": {}}, "learn", "is empty"),
        ({"learn": {"pathway.p.k": [1, 0.1]}}, "learn.pathway.p.k", "lower and an upper bound"),
        ({"learn": {"tissue": [1, 2]}}, "learn.tissue", "must be weights"),
        ({"learn": {"tissue": "weights", "manipulator.d": "weights"}}, "learn", "names 2 networks"),
        ({"data": {"path": "x.csv"}}, "data", "either data"),
        ({"scenario": "nowhere.yaml"}, "scenario", "no such file"),
        ({"fit": {"hold_out": 0.8, "check": 0.3}}, "fit", "nothing to learn from"),
    ],
)
def test_a_training_file_says_what_is_wrong_with_it(tmp_path, changed, key, message):
    with pytest.raises(TrainingError) as error:
        load_scenario_training(training(tmp_path, **changed))
    assert any(k == key and message in m for _, _, k, m in error.value.problems)


def test_what_cannot_be_learned_is_told(tmp_path):
    def told(**changed):
        with pytest.raises(ScenarioError) as error:
            trained(training(tmp_path, **changed))
        return str(error.value)

    assert "driven or computed" in told(learn={"pathway.p.heard": [0.1, 1]})
    assert "did you mean 'pathway.p.k'" in told(learn={"pathway.p.kk": [0.1, 1]})
    assert "no tissue network" in told(learn={"tissue": "weights"})
    assert "beyond its bounds" in told(learn={"pathway.p.k": [1, 2]})
    assert "no species or representation" in told(quantities={"k": "pathway.p.k"})
    crawling = scene(tmp_path, **{"cells.a.motility": "{speed: 1 um/min, persistence: 10 min}"})
    with pytest.raises(SimulationError, match="has no gradient: cells crawl"):
        Twin(plan(crawling), np.zeros((1, 3)), np.zeros(1, int), step=1.0)


def test_a_manipulator_is_driven_by_field_and_neighbours_and_has_gradients():
    """The flagship's cells without what is drawn: representations as the simulator moves them, and their slopes."""
    calm = {
        "perturbations": "[]",
        "cells.pc9.motility.speed": "0 um/min",
        "cells.pc9.count": "8",
        "space.domain": "{x: [0 um, 60 um], y: [0 um, 60 um]}",
        "space.fields.erlotinib.initial": "37 nM",
        "cells.pc9.pathways": "[]",
        "pathways": "{}",
        "outputs": "{cells: [type]}",
        "couplings": "[]",
        "manipulators.drugs.step": "3 min",
        "time": "{stop: 12 min, save_every: 12 min, step: 3 min}",
    }
    flagship = Path(__file__).parents[3] / "scenarios" / "pc9_combination.yaml"
    made, ready = twin_of(Scenario.load(flagship, overrides=calm), ("manipulator.drugs",), step=3.0)
    end = made(made.start(), 4)
    for _, length in ready.blocks(0.0, 12.0):
        ready.step(length)
    moved = np.abs(ready.state["ur.pc9_drug"]).max()
    assert moved > 0
    np.testing.assert_allclose(end.inner[0].detach().numpy(), ready.state["ur.pc9_drug"], atol=2e-2 * moved)
    end.inner[0].square().sum().backward()
    slopes = [t.grad for t in made.learned["manipulator.drugs"].values() if t.grad is not None]
    assert max(float(g.abs().max()) for g in slopes) > 0
