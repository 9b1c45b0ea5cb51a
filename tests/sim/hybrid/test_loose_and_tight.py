"""A network inside the equations, and the same one coupled to them step by step in a tissue, agree in the limit."""

from itertools import pairwise

import numpy as np
import pytest

from mechanistic import load_model
from neural.response import ResponseNetwork
from sim import Scenario, cells_at, run
from sim.hybrid import Hybrid, Joint, Sets

MODEL = """
model loop
  species A, B; A = 2; B = 0; k = 0
  out: A -> B; k*A
  back: B -> A; 0.05*B
end"""
SCENE = """\
scenario: 1
name: loop
seed: 1
time: {{stop: 32 min, save_every: 32 min, step: {step} min}}
space: {{domain: {{x: [-50 um, 50 um], y: [-50 um, 50 um]}}}}
cells:
  one: {{count: 1, place: {{points: [[0 um, 0 um]]}}, volume: 1000 um^3, mechanics: {{fixed: true}}, pathways: [p]}}
pathways: {{p: {{model: {model}, time_unit: min, step: {step} min}}}}
{couplings}
outputs: {{cells: [type, pathway.p.*]}}
"""


@pytest.fixture(scope="module")
def hybrid():
    rng = np.random.default_rng(0)
    joint = Joint("n", ("A",), Sets("k"), widths=(4,), input_scales=(2.0,), output_scales=(0.4,))
    weights = {
        "layer1": {"weight": rng.normal(size=(4, 1)), "bias": rng.normal(size=4)},
        "layer2": {"weight": rng.normal(size=(1, 4)) / 4, "bias": np.array([0.5])},
    }
    return Hybrid(MODEL, [joint], weights={"n": weights})


def _end(folder, text) -> float:
    file = folder / "scene.yaml"
    file.write_text(text)
    tree = run(Scenario.load(file))
    return float(np.ravel(cells_at(tree, 32.0)["pathway.p.A"].values)[0])


def test_the_coupled_tissue_comes_to_the_joined_system_as_the_step_shrinks(hybrid, tmp_path):
    (tmp_path / "tight.xml").write_text(hybrid.model.to_sbml())
    (tmp_path / "loose.xml").write_text(load_model(MODEL).to_sbml())
    own = hybrid.weights["n"]
    ResponseNetwork(
        own["layer1"]["weight"].T,
        own["layer1"]["bias"],
        own["layer2"]["weight"][0],
        own["layer2"]["bias"][0],
        2.0,
        0.4,
    ).save(tmp_path / "n.safetensors")
    exact = float(hybrid.simulate([0.0, 32.0], rtol=1e-10, atol=1e-13)["A"].values[0, 1])
    assert exact < 1.8
    assert _end(tmp_path, SCENE.format(step=8, model="tight.xml", couplings="")) == pytest.approx(
        exact, rel=1e-5
    )
    couplings = "couplings: [{from: pathway.p.A, to: pathway.p.k, network: {weights: n.safetensors}}]"
    errors = [
        abs(_end(tmp_path, SCENE.format(step=step, model="loose.xml", couplings=couplings)) - exact)
        for step in (4, 2, 1, 0.5)
    ]
    assert errors[-1] < 0.01 * exact
    assert all(b < 0.7 * a for a, b in pairwise(errors))
