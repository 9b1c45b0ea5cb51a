"""The PEtab-SciML test suite (MIT): networks, hybrid problems, initial values, at the suite's tolerances."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml

SUITE = Path(__file__).parents[3] / "shared/data/petab/petab-sciml-testsuite.tar.gz"
pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(not SUITE.exists(), reason="needs ../shared/data/petab"),
]


def _cases(kind: str) -> list[str]:
    if not SUITE.exists():
        return []
    with tarfile.open(SUITE) as archive:
        names = (name.split("/") for name in archive.getnames())
        return sorted({n[3] for n in names if len(n) > 4 and n[1:3] == ["test_cases", kind]})


@pytest.fixture(scope="session")
def suite(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sciml")
    with tarfile.open(SUITE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "petab-sciml-testsuite/test_cases"


@pytest.mark.parametrize("case", _cases("ml_model_import"))
def test_network(suite, case):
    import torch

    from neural.sciml import SciMLNetwork, read_arrays

    folder = suite / "ml_model_import" / case
    solution = yaml.safe_load((folder / "solutions.yaml").read_text())
    for i, expected_file in enumerate(solution["net_output"]):
        network = SciMLNetwork.load(folder / solution["net_file"])
        if "net_ps" in solution:
            network.set_weights(read_arrays(folder / solution["net_ps"][i]).parameters["net0"])
        inputs = [
            torch.from_numpy(values["data"])
            for key in sorted(k for k in solution if k.startswith("net_input"))
            for values in read_arrays(folder / solution[key][i]).inputs.values()
        ]
        expected = read_arrays(folder / expected_file).outputs["output0"]["data"]
        with torch.no_grad():
            if "dropout" in solution:
                # the suite gives a mean of so many passes; both means have a standard error
                network.train()
                torch.manual_seed(i)
                passes = torch.stack([network(*inputs) for _ in range(4000)])
                error = passes.std(0).numpy() * (1 / 4000 + 1 / solution["dropout"]) ** 0.5
                assert np.all(np.abs(passes.mean(0).numpy() - expected) < 5 * error + 1e-6)
            else:
                assert network(*inputs).numpy() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("case", _cases("sciml_problem_import"))
def test_problem(suite, case, cellweave, tmp_path):
    """Likelihood and simulations at the suite's tolerances; the gradient at a hundredth of its own, relatively."""
    import csv
    import json

    from neural.sciml import read_arrays

    folder = suite / "sciml_problem_import" / case
    solution = yaml.safe_load((folder / "solutions.yaml").read_text())
    done = cellweave("petab", folder / "petab/problem.yaml", "--evaluate", "--gradient", "-o", tmp_path)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    for name in ("llh", "log_posterior"):
        if name in solution:
            assert found[name] == pytest.approx(solution[name], abs=solution[f"tol_{name}"])
    ours, expected = (
        _simulated(tmp_path / "simulations.tsv"),
        _simulated(folder / solution["simulation_files"][0]),
    )
    assert ours == pytest.approx(expected, abs=solution["tol_simulations"])
    gradient = found["grad"] if "llh" in solution else found["grad_log_posterior"]
    pairs = []
    for name, file in solution["grad_files"].items():
        if name == "mech":
            with open(folder / file) as table:
                rows = list(csv.DictReader(table, delimiter="\t"))
            pairs += [(gradient[r["parameterId"]], float(r["value"])) for r in rows]
            continue
        for layer, arrays in read_arrays(folder / file).parameters[name].items():
            for array, values in arrays.items():
                pairs += zip(np.ravel(gradient[f"{name}.{layer}.{array}"]), values.flat)
    ours, expected = map(np.array, zip(*pairs))
    assert ours == pytest.approx(expected, abs=solution["tol_grad"])
    assert ours == pytest.approx(expected, rel=1e-3, abs=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("case", _cases("initialization"))
def test_initial_weights(suite, case):
    from neural.sciml import read_arrays
    from sim.petab import load

    folder = suite / "initialization" / case
    solution = yaml.safe_load((folder / "solutions.yaml").read_text())
    weights = load(folder / "petab/problem.yaml").weights()
    for network, file in solution["parameter_files"].items():
        for layer, arrays in read_arrays(folder / file).parameters[network].items():
            for array, expected in arrays.items():
                assert weights[network][layer][array] == pytest.approx(expected, abs=solution["tol"])


def _simulated(file: Path) -> np.ndarray:
    import csv

    with open(file) as table:
        return np.array([float(row["simulation"]) for row in csv.DictReader(table, delimiter="\t")])
