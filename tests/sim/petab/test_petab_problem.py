"""PEtab problems against arithmetic: dA/dt = feed - k A can be solved by hand."""

import json
import math

import numpy as np
import pytest
from petab_problems import VERSION_1, VERSION_2, table, write

from sim.errors import ScenarioError
from sim.petab import load


def course(a: float, k: float, feed: float, time: float) -> float:
    return feed / k + (a - feed / k) * math.exp(-k * time)


def normal(measured: float, simulated: float, noise: float) -> float:
    return -0.5 * math.log(2 * math.pi * noise**2) - 0.5 * ((measured - simulated) / noise) ** 2


def test_version_1_by_hand(tmp_path):
    found = load(write(tmp_path, VERSION_1)).objective()
    k, a0, scale, sd = 0.8, 3.0, 2.0, 0.3
    after = course(a0, k, 0.0, 1.0)
    rest, end = 0.4 / k, 0.1 / k
    two, three = (course(rest, k, 0.1, t) for t in (2.0, 3.0))
    simulated = [scale * a0, scale * after, 1.5 * after, rest + 0.1, two + 0.1, 3 * three, end + 0.1]
    np.testing.assert_allclose(found.simulated, simulated, rtol=1e-7)
    llh = normal(5.5, simulated[0], sd) + normal(2.5, simulated[1], sd) + normal(2.9, simulated[2], 0.4)
    for m, s in ((0.7, simulated[3]), (0.3, simulated[4]), (0.25, simulated[6])):
        llh += normal(math.log10(m), math.log10(s), 0.2) - math.log(m * math.log(10))
    rough = sd + 0.1 * three
    llh += -math.log(2 * rough) - abs(0.2 - simulated[5]) / rough
    assert found.llh == pytest.approx(llh, rel=1e-7)
    assert found.log_posterior == found.llh


def test_version_2_by_hand(tmp_path):
    problem = load(write(tmp_path, VERSION_2))
    found = problem.objective()
    k = 0.8
    dosed = course(6.0, k, 0.0, 2.5) + 0.5
    # a compartment that grows leaves concentrations as they are
    at = {t: course(dosed, k, 0.2, t - 1.5) for t in (2.5, 3.0)}
    rest = 0.2 / k
    simulated = [6.0, dosed, 2 * at[2.5], at[3.0] * math.exp(-0.3), rest, rest]
    np.testing.assert_allclose(found.simulated, simulated, rtol=1e-7)
    shares = problem.objective.log_priors()
    assert shares["a0"] == pytest.approx(-math.log(10))
    assert found.log_prior == pytest.approx(sum(shares.values()))


@pytest.mark.parametrize("files", [VERSION_1, VERSION_2])
def test_gradients_are_those_of_differences(tmp_path, files):
    objective = load(write(tmp_path, files)).objective
    x = objective.nominal + 0.01
    forwards, back = objective(x, slopes=True), objective(x, slopes=True, back=True)
    h = 1e-4
    rows = (
        [objective(x + h * unit) for unit in np.eye(len(x))],
        [objective(x - h * unit) for unit in np.eye(len(x))],
    )
    differences = [(a.llh - b.llh) / (2 * h) for a, b in zip(*rows)]
    np.testing.assert_allclose(forwards.gradient, differences, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(back.gradient, forwards.gradient, rtol=1e-6, atol=1e-8)
    priors = [(a.log_prior - b.log_prior) / (2 * h) for a, b in zip(*rows)]
    np.testing.assert_allclose(forwards.prior_gradient, priors, rtol=1e-5, atol=1e-7)
    residuals = np.stack([(a.residual - b.residual) / (2 * h) for a, b in zip(*rows)], 1)
    np.testing.assert_allclose(forwards.residual_slopes, residuals, rtol=1e-5, atol=1e-5)


def test_the_command_prints_and_writes(tmp_path, cellweave):
    file = write(tmp_path, VERSION_2)
    done = cellweave("petab", file, "--gradient", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    told, objective = json.loads(done.out), load(file).objective
    found = objective(slopes=True)
    assert told["llh"] == pytest.approx(found.llh)
    assert list(told["grad"]) == ["k", "a0", "sd"]
    np.testing.assert_allclose(list(told["grad"].values()), found.gradient, rtol=1e-6)
    lines = (tmp_path / "out/simulations.tsv").read_text().splitlines()
    assert lines[0].split("\t")[3] == "simulation"
    assert [float(line.split("\t")[3]) for line in lines[1:]] == pytest.approx(list(found.simulated))


@pytest.mark.parametrize(
    ("changed", "line", "words"),
    [
        ({"observables": table("observableId observableFormula noiseFormula", "x A+ 1")}, 2, "not a formula"),
        ({"observables": table("observableId observableFormula", "x A")}, 1, "no column 'noiseFormula'"),
        (
            {"measurements": table("observableId experimentId time measurement", "z e 0 1")},
            2,
            "no such observable 'z'",
        ),
        (
            {"experiments": table("experimentId time conditionId", "e -1 stard", "f 0 _")},
            2,
            "did you mean 'start'",
        ),
        (
            {"parameters": table("parameterId estimate nominalValue", "k maybe 1")},
            2,
            "must be 'true' or 'false'",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, changed, line, words):
    with pytest.raises(ScenarioError, match=words) as error:
        load(write(tmp_path, VERSION_2, **changed))
    assert error.value.problems[0].line == line


def test_all_faults_of_a_table_are_told(tmp_path):
    text = table("observableId experimentId time measurement", "z e 0 1", "y g 0 1", "y e soon 1")
    with pytest.raises(ScenarioError) as error:
        load(write(tmp_path, VERSION_2, measurements=text))
    assert [p.line for p in error.value.problems] == [2, 3, 4]


def test_an_unknown_id_in_a_formula_is_named(tmp_path):
    text = VERSION_2["observables.tsv"].replace("s*A", "s*AA")
    with pytest.raises(ScenarioError, match="'AA' is neither in the model nor a parameter"):
        load(write(tmp_path, VERSION_2, observables=text))


def test_what_a_measurement_or_a_condition_may_not_name_is_told(tmp_path):
    text = VERSION_1["measurements.tsv"].replace("scale\tsd", "scael\tsd")
    with pytest.raises(ScenarioError, match="'scael', not a parameter of the fit; did you mean 'scale'"):
        load(write(tmp_path, VERSION_1, measurements=text))
    text = VERSION_2["conditions.tsv"].replace("dose\tfeed", "dose\tsd")
    with pytest.raises(ScenarioError, match="sets 'sd', which the parameter table has too"):
        load(write(tmp_path, VERSION_2, conditions=text))


def test_no_file_is_fetched(tmp_path):
    text = VERSION_2["problem.yaml"].replace(
        "location: model.xml", "location: 'https://example.org/model.xml'"
    )
    with pytest.raises(ScenarioError, match="download it first"):
        load(write(tmp_path, VERSION_2, problem=text))


def test_validate_takes_a_problem(tmp_path, cellweave):
    good = cellweave("validate", write(tmp_path, VERSION_1))
    assert good.code == 0, good.err
    assert "4 parameters to estimate from 7 measurements in 2 experiments" in good.err + good.out
    bad = cellweave(
        "validate",
        write(tmp_path, VERSION_1, conditions=table("conditionId fead", "rest 0.4", "pulse 0", "open 1")),
    )
    assert bad.code == 2
    assert "conditions.tsv:3: fead: 'fead' is not in the model; did you mean 'feed'?" in bad.err


def test_what_has_no_derivative_is_told(tmp_path, cellweave):
    event = """<listOfEvents><event id="late" useValuesFromTriggerTime="true">
      <trigger initialValue="true" persistent="true"><math xmlns="http://www.w3.org/1998/Math/MathML">
        <apply><lt/><ci>A</ci><cn>0.5</cn></apply></math></trigger>
      <delay><math xmlns="http://www.w3.org/1998/Math/MathML"><cn>1</cn></math></delay>
      <listOfEventAssignments><eventAssignment variable="feed">
        <math xmlns="http://www.w3.org/1998/Math/MathML"><cn>0.1</cn></math></eventAssignment>
      </listOfEventAssignments></event></listOfEvents>"""
    text = VERSION_2["model.xml"].replace("</listOfReactions>", f"</listOfReactions>{event}")
    file = write(tmp_path, VERSION_2, model=text)
    plain = cellweave("petab", file)
    assert plain.code == 0, plain.err
    sloped = cellweave("petab", file, "--gradient")
    assert sloped.code == 2
    assert "late: sensitivities through a delay of an event are not supported" in sloped.err
