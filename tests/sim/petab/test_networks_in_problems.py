"""Problems with networks inside the model and before it: their likelihood, their gradient, their faults."""

import numpy as np
import pytest
import torch

from mechanistic import load_model
from neural.sciml import SciMLNetwork, dense, write_arrays, write_description
from sim.errors import ScenarioError
from sim.hybrid import inline
from sim.petab import load

MODEL = "model m; species A, B; A = 1; B = 0.5; k = 0.7; g = 0.2; R: A -> B; k*A; S: B -> ; g*B; end"
TABLES = {
    "measurements.tsv": (
        "observableId\texperimentId\tmeasurement\ttime\n"
        "oA\te1\t0.5\t1\noB\te1\t0.9\t2\noB\te2\t0.3\t1\noA\te2\t0.4\t1\n"
    ),
    "observables.tsv": "observableId\tobservableFormula\tnoiseFormula\noA\tA + seen\t0.1\noB\tB\t0.2\n",
    "experiments.tsv": "experimentId\ttime\tconditionId\ne1\t0\tc1\ne2\t0\tc2\n",
    "conditions.tsv": "conditionId\ttargetId\ttargetValue\nc1\tdose\t0.3\nc2\tdose\t2*extra\n",
    "parameters.tsv": (
        "parameterId\tlowerBound\tupperBound\tnominalValue\testimate\tpriorDistribution\tpriorParameters\n"
        "extra\t0\t5\t0.8\ttrue\t\t\ninside_ps\t-inf\tinf\tarray\ttrue\t\t\ninside_last\t-inf\tinf\t0.1\tfalse\t\t\n"
        "before_ps\t-inf\tinf\tarray\ttrue\tnormal\t0;2\n"
    ),
    "mapping.tsv": (
        "petabEntityId\tmodelEntityId\nu\tinside.inputs[0][0]\nv\tinside.inputs[0][1]\nseen\tinside.outputs[0][0]\n"
        "rate\tinside.outputs[0][1]\ninside_ps\tinside.parameters\ninside_last\tinside.parameters[layer2].bias\n"
        "dose\tbefore.inputs[0][0]\nimage\tbefore.inputs[1]\nstart\tbefore.outputs[0][0]\n"
        "before_ps\tbefore.parameters\n"
    ),
    "hybridization.tsv": "targetId\ttargetValue\nu\tA*2\nv\tB + extra\ng\trate^2\nk\texp(start)\nimage\t\n",
}
PROBLEM = """\
format_version: 2.0.0
model_files: {m: {location: m.xml, language: sbml}}
measurement_files: [measurements.tsv]
observable_files: [observables.tsv]
experiment_files: [experiments.tsv]
condition_files: [conditions.tsv]
parameter_files: [parameters.tsv]
mapping_files: [mapping.tsv]
extensions:
  petab_sciml:
    version: 2.0.0
    required: true
    neural_networks:
      inside: {location: inside.yaml, format: yaml, static: false}
      before: {location: before.yaml, format: yaml, static: true}
    hybridization_files: [hybridization.tsv]
    array_files: [weights.hdf5]
"""
BEFORE = """\
nn_model_id: before
inputs: [{input_id: a}, {input_id: b}]
layers: [{layer_id: first, layer_type: Linear, args: {in_features: 3, out_features: 1}}]
forward:
- {name: a, op: placeholder, target: a, args: [], kwargs: {}}
- {name: b, op: placeholder, target: b, args: [], kwargs: {}}
- {name: c, op: call_function, target: cat, args: [[a, b]], kwargs: {dim: 0}}
- {name: d, op: call_module, target: first, args: [c], kwargs: {}}
- {name: e, op: call_method, target: tanh, args: [d], kwargs: {}}
- {name: output, op: output, target: output, args: [e], kwargs: {}}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m.xml").write_text(load_model(MODEL).to_sbml())
    (tmp_path / "problem.yaml").write_text(PROBLEM)
    (tmp_path / "before.yaml").write_text(BEFORE)
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)
    inside = dense("inside", 2, (3,), 2)
    write_description(inside, tmp_path / "inside.yaml")
    rng = np.random.default_rng(0)
    weights = {
        "inside": {
            layer: {array: rng.normal(size=v.shape) for array, v in group.items()}
            for layer, group in SciMLNetwork(inside).weights().items()
        },
        "before": {"first": {"weight": rng.normal(size=(1, 3)), "bias": rng.normal(size=1)}},
    }
    write_arrays(tmp_path / "weights.hdf5", weights, {"image": {"c1": [0.5, -0.2], "c2": [1.0, 0.1]}})
    return tmp_path


def test_gradient_by_weights_inside_and_before(folder):
    problem = load(folder / "problem.yaml")
    objective = problem.objective
    assert len(objective.names) == 1 + (6 + 3 + 6) + (3 + 1)
    assert problem.weights()["inside"]["layer2"]["bias"] == pytest.approx([0.1, 0.1])
    found = objective(slopes=True)
    x = np.array(objective.nominal)
    for gradient, value in (("gradient", "llh"), ("prior_gradient", "log_prior")):
        for i in range(len(x)):
            step = np.zeros(len(x))
            step[i] = 1e-5
            slope = (getattr(objective(x + step), value) - getattr(objective(x - step), value)) / 2e-5
            assert getattr(found, gradient)[i] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_a_network_too_wide_for_formulas_has_the_same_gradient(folder, monkeypatch, caplog):
    for old, new in (("A + seen", "A"), ("e2\t0\tc2", "e2\t0\tc2\ne2\t0.5\tc2")):
        file = folder / ("observables.tsv" if "A" in old else "experiments.tsv")
        file.write_text(file.read_text().replace(old, new))
    written = load(folder / "problem.yaml").objective
    monkeypatch.setattr(inline, "MOST_WEIGHTS", 10)
    problem = load(folder / "problem.yaml")
    assert "'inside' has 17 weights" in caplog.text and problem.objective.names == written.names
    one, two = written(slopes=True, back=True), problem.objective(slopes=True)
    assert two.llh == pytest.approx(one.llh, rel=1e-8)
    assert two.gradient == pytest.approx(one.gradient, rel=1e-6, abs=1e-8)
    file = folder / "observables.tsv"
    file.write_text(file.read_text().replace("\tA\t", "\tA + seen\t"))
    with pytest.raises(ScenarioError, match="observable 'oA' cannot read what a network gives"):
        load(folder / "problem.yaml")


def test_networks_say_what_the_model_is_given(folder):
    problem = load(folder / "problem.yaml")
    own = problem.weights()["before"]["first"]
    k = np.exp(np.tanh(own["weight"] @ np.array([1.6, 1.0, 0.1]) + own["bias"]))[0]
    inside = SciMLNetwork(dense("inside", 2, (3,), 2))
    inside.set_weights(problem.weights()["inside"])
    *_, b, a = problem.objective().simulated
    with torch.no_grad():
        seen = inside(torch.tensor([2.0 * np.exp(-k), b + 0.8], dtype=torch.float64))[0]
    assert a == pytest.approx(np.exp(-k) + float(seen), rel=1e-8)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("mapping.tsv", "inside.parameters[layer2]", "inside.parameters[layer3]", "layer3.*did you mean"),
        ("mapping.tsv", "before.inputs[1]", "before.inputs[7]", "has 2 inputs"),
        ("problem.yaml", "format: yaml, static: true", "format: pytorch, static: true", "run code of theirs"),
        ("hybridization.tsv", "A*2", "AA*2", "'AA'"),
        ("before.yaml", "Linear", "Liner", "did you mean 'Linear'"),
    ],
)
def test_a_fault_is_told(folder, file, old, new, says):
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    with pytest.raises(ScenarioError, match=says):
        load(folder / "problem.yaml")


def test_fitted_weights_are_written_back(folder):
    problem = load(folder / "problem.yaml")
    x = problem.objective.nominal + 0.25
    expected = problem.weights(x)
    problem.write_networks(x, folder)
    again = load(folder / "problem.yaml")
    assert np.all(again.weights()["before"]["first"]["weight"] == expected["before"]["first"]["weight"])
    assert np.all(again.weights()["inside"]["layer1"]["bias"] == expected["inside"]["layer1"]["bias"])
    # what the tables fix stays fixed
    assert np.all(expected["inside"]["layer2"]["bias"] == 0.1)
