"""Networks of PEtab-SciML's exchange form: what a file says is what runs; faults are told with their line."""

import numpy as np
import pytest
import torch

from neural.errors import TrainingError, WeightsError
from neural.sciml import (
    SciMLNetwork,
    dense,
    read_arrays,
    read_description,
    write_arrays,
    write_description,
)

NET = """\
nn_model_id: net1
inputs:
- input_id: a
- input_id: b
layers:
- layer_id: first
  layer_type: Linear
  args: {in_features: 3, out_features: 2, bias: true}
forward:
- {name: x, op: placeholder, target: a, args: [], kwargs: {}}
- {name: y, op: placeholder, target: b, args: [], kwargs: {}}
- {name: both, op: call_function, target: cat, args: [[x, y]], kwargs: {dim: 0}}
- {name: h, op: call_module, target: first, args: [both], kwargs: {}}
- {name: e, op: call_function, target: elu, args: [h], kwargs: {alpha: 2.0, inplace: false}}
- {name: output, op: output, target: output, args: [e], kwargs: {}}
"""


def test_a_file_runs_as_it_reads(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(NET)
    weights = {
        "first": {"weight": np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]]), "bias": np.array([0.1, 0.2])}
    }
    network = SciMLNetwork.load(path, weights)
    found = network(torch.tensor([1.0, -1.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64))
    linear = np.array([1.0 - 2.0 + 6.0 + 0.1, -1.0 - 0.5 + 0.2])
    expected = np.where(linear > 0, linear, 2.0 * np.expm1(linear))
    assert found.detach().numpy() == pytest.approx(expected, rel=1e-14)
    assert np.array_equal(network.weights()["first"]["weight"], weights["first"]["weight"])


def test_a_description_survives_writing(tmp_path):
    network = dense("net1", 3, (5, 4), 2, "silu", last="softplus")
    write_description(network, tmp_path / "net.yaml")
    assert read_description(tmp_path / "net.yaml") == network
    values = SciMLNetwork(network)(torch.randn(7, 3, dtype=torch.float64))
    assert values.shape == (7, 2) and bool((values > 0).all())


@pytest.mark.parametrize(
    ("line", "change", "says"),
    [
        (7, "layer_type: Liner", "did you mean 'Linear'"),
        (8, "args: {in_features: 3, out_featurs: 2}", "did you mean 'out_features'"),
        (13, "target: frist", "there is no layer 'frist'"),
        (13, "args: [bth]", "did you mean 'both'"),
        (14, "target: __import__", "unknown function '__import__'"),
        (14, "kwargs: {alfa: 2}", "did you mean 'alpha'"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path, line, change, says):
    import re

    rows = NET.splitlines()
    key = change.split(":")[0]
    pattern = re.escape(key) + r": (\[[^\]]*\]|\{[^}]*\}|\w+)"
    rows[line - 1] = re.sub(pattern, change, rows[line - 1], count=1)
    assert change in rows[line - 1]
    path = tmp_path / "net.yaml"
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises(TrainingError) as caught:
        SciMLNetwork.load(path)
    assert any(says in message and at == line for _, at, _, message in caught.value.problems)


def test_arrays_survive_writing_and_either_order_of_axes(tmp_path):
    import h5py

    values = np.arange(6.0).reshape(2, 3)
    write_arrays(
        tmp_path / "a.hdf5", {"net": {"l": {"weight": values}}}, {"x": {"c1;c2": values, "c3": 2 * values}}
    )
    found = read_arrays(tmp_path / "a.hdf5")
    assert np.array_equal(found.parameters["net"]["l"]["weight"], values)
    assert set(found.inputs["x"]) == {"c1", "c2", "c3"} and np.array_equal(found.inputs["x"]["c2"], values)
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["metadata/perm"] = "column"
        file["inputs/x/0"] = values.T
    assert np.array_equal(read_arrays(tmp_path / "b.hdf5").inputs["x"]["0"], values)


def test_bad_arrays_are_refused(tmp_path):
    import h5py

    (tmp_path / "no.hdf5").write_bytes(b"not one")
    with pytest.raises(WeightsError, match="HDF5"):
        read_arrays(tmp_path / "no.hdf5")
    with h5py.File(tmp_path / "link.hdf5", "w") as file:
        file["inputs/x"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(WeightsError, match="link"):
        read_arrays(tmp_path / "link.hdf5")
    write_arrays(tmp_path / "nan.hdf5", {"net": {"l": {"weight": [np.nan]}}})
    with pytest.raises(WeightsError, match="not finite"):
        read_arrays(tmp_path / "nan.hdf5")


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({}, "layer1.weight.*shape is"),
        ({"layer1": {"weight": np.zeros((1, 3)), "bias": np.zeros(1)}}, "must have the shape"),
        ({"layer1": {"weight": np.full((1, 2), np.inf), "bias": np.zeros(1)}}, "not finite"),
        ({"layer1": {"weight": np.zeros((1, 2)), "bias": np.zeros(1), "gain": 1.0}}, "no array 'gain'"),
        ({"other": {}}, "no layer 'other'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, says):
    with pytest.raises(WeightsError, match=says):
        SciMLNetwork(dense("n", 2, (), 1)).set_weights(weights)
