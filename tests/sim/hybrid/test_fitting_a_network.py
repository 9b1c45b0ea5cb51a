"""A hidden term is found from measurements, told as a formula, and what cannot be told is said."""

import numpy as np
import pytest

from mechanistic import load_model
from sim.fitting.evidence import fit_by_evidence, fit_weights
from sim.fitting.objective import Objective, Study
from sim.fitting.optimize import fit
from sim.fitting.parts import Experiment, Measurement, Observable, Parameter, Period, Prior
from sim.fitting.spans import Settings
from sim.hybrid import Hybrid, Joint, Rate
from sim.hybrid.selection import fits, select
from sim.hybrid.structure import find_structure

KNOWN = "model m; compartment c = 1; species x in c, y in c; x = 1; y = 1; a = 1; G: -> x; a*x; {} end"
TRUE = KNOWN.format("L: x -> y; 0.8*x*y; D: y ->; 0.7*y;")
TIMES = np.linspace(0.0, 4.0, 21)
STARTS = ((1.0, 0.5), (0.3, 2.0), (2.0, 1.5))
NOISE = 0.01
SETTINGS = Settings(rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def measured():
    course = load_model(TRUE).simulate(
        TIMES, cells=3, initial={"x": [s[0] for s in STARTS], "y": [s[1] for s in STARTS]}, rtol=1e-9
    )
    values = np.stack([course[s].values for s in "xy"], -1)
    return values + NOISE * np.random.default_rng(3).normal(size=values.shape)


def _study(network, measured, cells=3):
    experiments = tuple(
        Experiment(f"e{i}", (Period(0.0),), {"x": STARTS[i][0], "y": STARTS[i][1]}) for i in range(cells)
    )
    points = tuple(
        Measurement(s, f"e{i}", float(t), float(measured[i, k, j]))
        for i in range(cells)
        for k, t in enumerate(TIMES)
        for j, s in enumerate("xy")
        if t > 0
    )
    return Study(network, experiments, (Observable("x", "x", NOISE), Observable("y", "y", NOISE)), points)


def _hybrid():
    joint = Joint("loss", ("x", "y"), Rate({"x": -1, "y": 1}), input_scales=(2.0, 2.0))
    return Hybrid(KNOWN.format("D: y ->; 0.7*y;"), [joint])


@pytest.mark.parametrize("cells", [3, 1])
def test_a_hidden_term_is_found_and_told_as_a_formula(measured, cells):
    hybrid = _hybrid()
    study = _study(hybrid.network, measured, cells)
    objective = Objective(hybrid.fit_parameters(), [study], SETTINGS)
    found = fit_weights(objective, most=60)
    assert found.chi2 < 1.5 * len(study.measurements)
    fitted = hybrid.with_weights(hybrid.taken(dict(zip(objective.names, found.x))))
    initial = {"x": [s[0] for s in STARTS[:cells]], "y": [s[1] for s in STARTS[:cells]]}
    samples = fitted.samples("loss", fitted.simulate(TIMES, cells=cells, initial=initial))
    structure = find_structure(fitted, "loss", study, samples, settings=SETTINGS)
    if cells == 3:
        assert set(structure.terms[0]) == {"x y"}
        assert structure.terms[0]["x y"] == pytest.approx(0.8, abs=4 * structure.deviations[0]["x y"])
        assert structure.warning == ""
    else:
        assert structure.collinearity > 10 and "collinear" in structure.warning


def test_evidence_finds_the_input_that_matters(measured):
    joint = Joint("death", ("x", "y"), Rate({"y": -1}), positive=True, input_scales=(2.0, 2.0), widths=(3,))
    hybrid = Hybrid(KNOWN.format("L: x -> y; 0.8*x*y;"), [joint])
    study = _study(hybrid.network, measured)
    groups = hybrid.weight_groups("death")
    assert [len(g) for g in groups.values()] == [3, 3, 3, 3, 1]
    objective = Objective(hybrid.fit_parameters(), [study], SETTINGS)
    found = fit_by_evidence(objective, list(groups.values()), most=60)
    spread = dict(zip(groups, found.deviations))
    assert spread["x"] < 0.2 * spread["y"]
    fitted = hybrid.with_weights(hybrid.taken(dict(zip(objective.names, found.fit.x))))
    samples = np.random.default_rng(0).uniform(0.3, 2.0, (200, 2))
    share = fitted.term("death", samples).dependence()
    assert share["y"] > 0.9 and share["x"] < 0.05


def test_a_simpler_network_is_kept_where_it_explains_as_much(measured):
    """Death is linear in y: of a network of x and y, what has most evidence is a linear law of y."""
    joint = Joint("death", ("x", "y"), Rate({"y": -1}), input_scales=(2.0, 2.0), widths=(3,))
    pathway = load_model(KNOWN.format("L: x -> y; 0.8*x*y;"))

    def objective_of(hybrid):
        return Objective(hybrid.fit_parameters(), [_study(hybrid.network, measured)], SETTINGS)

    said = []
    found = select(pathway, [joint], objective_of, starts=1, say=lambda what, _: said.append(what))
    assert len(said) <= fits([joint], 1)
    assert found.tried[0][0] == "death of y alone, linear" and "all inputs" in dict(found.tried)
    kept = found.hybrid.joints["death"]
    assert kept.inputs == ("y",) and kept.widths == ()
    assert found.hybrid.term("death")(np.array([[1.0], [2.0]]))[:, 0] == pytest.approx([0.7, 1.4], rel=0.05)
    both = select(pathway, [joint], objective_of, starts=1, simpler=False)
    assert [what for what, _ in both.tried] == ["all inputs"]


def test_the_descent_fits_noise_and_priors_too(measured):
    network = load_model(TRUE.replace("0.8*x*y", "b*x*y; b = 0.5")).network
    study = _study(network, measured)
    observables = tuple(Observable(s, s, "sd") for s in "xy")
    study = Study(network, study.experiments, observables, study.measurements)
    parameters = [
        Parameter("b", 0.3, 1e-2, 10.0, "log10", prior=Prior("normal", (0.0, 1.0), scaled=True)),
        Parameter("sd", 0.1, 1e-4, 1.0, "log10"),
    ]
    objective = Objective(parameters, [study], SETTINGS)
    found = fit(objective, objective.nominal)
    assert found.converged
    b, sd = 10**found.x
    assert b == pytest.approx(0.8, rel=0.01) and sd == pytest.approx(NOISE, rel=0.2)
    whole = found.evaluation
    assert whole is not None and whole.gradient is not None and whole.prior_gradient is not None
    assert np.abs(whole.gradient + whole.prior_gradient).max() < 1e-2 * np.sqrt(len(study.measurements))
