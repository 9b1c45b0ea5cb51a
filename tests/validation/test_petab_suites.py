"""The test suites of PEtab 1 and 2 at their own tolerances; from the shared data, skipped where those are missing."""

import csv
import tarfile

import numpy as np
import pytest
import yaml

from sim.petab import load

pytestmark = pytest.mark.validation

CASES = [
    *(f"v1.0.0/sbml/{n:04}" for n in (1, 4, 6, 7, 8, 10, 12, 15, 16, 17, 18, 19, 20)),
    *(f"v2.0.0/sbml/{n:04}" for n in (1, 6, 7, 8, 9, 10, 14, 15, 16, 17, 21, *range(23, 33))),
]


@pytest.fixture(scope="module")
def suites(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("petab")
    with tarfile.open(shared / "petab" / "petab-test-suite.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "petab-test-suite"


@pytest.mark.parametrize("case", CASES)
def test_it_gives_the_solution(suites, case):
    number = case[-4:]
    folder = suites / case
    solution = yaml.safe_load((folder / f"_{number}_solution.yaml").read_text())
    problem = load(folder / f"_{number}.yaml")
    found = problem.objective()
    assert found.llh == pytest.approx(solution["llh"], abs=solution["tol_llh"])
    assert found.chi2 == pytest.approx(solution["chi2"], abs=solution["tol_chi2"])
    with open(folder / "_simulations.tsv") as file:
        simulations = [float(row["simulation"]) for row in csv.DictReader(file, delimiter="\t")]
    np.testing.assert_allclose(found.simulated, simulations, rtol=0, atol=solution["tol_simulations"])
    priors = problem.objective.log_priors()
    for name, value in solution.get("log_prior", {}).items():
        assert priors[name] == pytest.approx(value, abs=solution["tol_log_prior"]), name
    if "unnorm_log_posterior" in solution:
        wanted, within = solution["unnorm_log_posterior"], solution["tol_unnorm_log_posterior"]
        assert found.log_posterior == pytest.approx(wanted, abs=within)


@pytest.mark.parametrize("case", CASES)
def test_its_gradient_is_that_of_differences_forwards_and_back(suites, case):
    objective = load(suites / case / f"_{case[-4:]}.yaml").objective
    x = objective.nominal
    forwards = objective(slopes=True, back=False).gradient
    back = objective(slopes=True, back=True).gradient
    differences = np.empty(len(x))
    for k in range(len(x)):
        step = np.zeros(len(x))
        step[k] = 1e-5 * max(1.0, abs(x[k]))
        # values below 0 are no initial concentrations
        low = max(x[k] - step[k], 0.0) if objective.scales[k] == "lin" else x[k] - step[k]
        below = np.where(np.arange(len(x)) == k, low, x)
        differences[k] = (objective(x + step).llh - objective(below).llh) / (x[k] + step[k] - low)
    size = max(1e-3, np.abs(differences).max())
    np.testing.assert_allclose(forwards, differences, rtol=1e-3, atol=1e-4 * size)
    np.testing.assert_allclose(back, forwards, rtol=1e-6, atol=1e-7 * size)
