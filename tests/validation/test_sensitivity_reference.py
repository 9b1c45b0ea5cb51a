"""Published models: sensitivities against differences, steady states and control against RoadRunner."""

from __future__ import annotations

import numpy as np
import pytest
from sbml_data import NEEDED, biomodels

from mechanistic import load_model
from mechanistic.moieties import conserved, stoichiometry

pytestmark = NEEDED

# Kholodenko's MAPK cascade (three moieties, a limit cycle), the ERK cascade of Hornberg (four moieties, reached
# in time only) and the repressilator (none): the oscillators have a steady state that is not stable
CONTROLLED = [10, 12, 84]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return biomodels(tmp_path_factory.mktemp("biomodels"))


@pytest.mark.parametrize("number", [9, 10])
def test_sensitivities_equal_central_differences(folder, number):
    model = load_model(folder[number])
    times = [0.0, 20.0, 100.0]
    species = model.network.species_ids
    fixed = [p.id for p in model.network.parameters if p.id in model.network.settable_ids and p.value]
    parameters = [*fixed[:: max(1, len(fixed) // 4)][:4], species[0]]
    found = model.sensitivities(times, parameters)
    for p, parameter in enumerate(parameters):
        value = found["parameter_value"].values[0, p]
        assert value > 0
        h = 1e-3 * value
        steps = value + h * np.array([-2, -1, 1, 2])
        course = model.simulate(times, cells=4, parameters={parameter: steps}, rtol=1e-12, atol=1e-15)
        for name in species:
            a, b, c, d = course[name].values
            expected = (8 * (c - b) - (d - a)) / (12 * h)
            # what the integrator's own error leaves of a difference
            noise = 1e-9 * np.abs(course[name].values).max() / h
            np.testing.assert_allclose(
                found[name].values[0, :, p],
                expected,
                rtol=1e-5,
                atol=1e-5 * np.abs(expected).max() + noise,
                err_msg=f"d {name} / d {parameter}",
            )


@pytest.mark.parametrize("number", [9, 10, 12])
def test_the_adjoint_equals_forward_sensitivities(folder, number):
    """By all parameters at once, to 1e-5 of what their terms sum to."""
    model = load_model(folder[number])
    network, times = model.network, np.linspace(0.0, 100.0, 6)
    parameters = [p.id for p in network.parameters if p.id in network.settable_ids and p.value]
    run = model.adjoint(times, parameters)
    weights = np.random.default_rng(0).normal(size=run.outputs.shape)
    found = run.pull_back(weights).values[0]
    forward = model.sensitivities(times, parameters, rtol=1e-10)
    slopes = np.stack([forward[s].values[0] for s in network.species_ids], axis=1)
    size = np.einsum("ts,tsp->p", np.abs(weights[0]), np.abs(slopes))
    assert np.all(size > 0)
    assert np.all(np.abs(found - np.einsum("ts,tsp->p", weights[0], slopes)) <= 1e-5 * size)


def test_an_oscillators_steady_state_is_found(folder):
    """The clock of BioModels 21: RoadRunner finds the same state, and no cell goes there."""
    roadrunner = pytest.importorskip("roadrunner")
    runner = roadrunner.RoadRunner(str(folder[21]))
    runner.getSteadyStateSolver().setValue("allow_presimulation", True)
    assert runner.steadyState() < 1e-9
    found = load_model(folder[21]).steady_state()
    ours = [found[name].values[0] for name in runner.model.getFloatingSpeciesIds()]
    np.testing.assert_allclose(ours, runner.model.getFloatingSpeciesConcentrations(), rtol=1e-8)
    assert not found["stable"].values[0]


@pytest.fixture(scope="module", params=CONTROLLED)
def both(request, folder):
    """(our model, RoadRunner at its steady state)."""
    roadrunner = pytest.importorskip("roadrunner")
    file = folder[request.param]
    runner = roadrunner.RoadRunner(str(file))
    runner.conservedMoietyAnalysis = True
    runner.getSteadyStateSolver().setValue("allow_presimulation", True)
    assert runner.steadyState() < 1e-6
    return load_model(file), runner


def test_steady_state_equals_roadrunner(both):
    model, runner = both
    found = model.steady_state()
    names = list(runner.model.getFloatingSpeciesIds())
    assert set(names) <= set(model.network.species_ids)
    ours = np.array([found[name].values[0] for name in names])
    expected = np.asarray(runner.model.getFloatingSpeciesConcentrations())
    np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-10 * expected.max())
    values = np.asarray(runner.getReducedEigenValues())
    real = values[:, 0] if values.ndim == 2 else np.real(values)
    assert bool(found["stable"].values[0]) == bool(np.all(real < 0))
    np.testing.assert_allclose(found["eigenvalue_real"].values[0, 0], real.max(), rtol=1e-4)


def test_control_equals_roadrunner(both):
    model, runner = both
    found = model.control_coefficients().isel(cell=0)
    matrices = {
        "flux_control": runner.getScaledFluxControlCoefficientMatrix,
        "concentration_control": runner.getScaledConcentrationControlCoefficientMatrix,
        "elasticity": runner.getScaledElasticityMatrix,
        "unscaled_flux_control": runner.getUnscaledFluxControlCoefficientMatrix,
        "unscaled_concentration_control": runner.getUnscaledConcentrationControlCoefficientMatrix,
        "unscaled_elasticity": runner.getUnscaledElasticityMatrix,
    }
    for name, matrix in matrices.items():
        expected = matrix()
        rows, columns = found[name].dims
        ours = found[name].sel({rows: list(expected.rownames), columns: list(expected.colnames)}).values
        expected = np.asarray(expected)
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(
            ours, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max(), err_msg=name
        )


def test_theorems_hold(both):
    model, _ = both
    found = model.control_coefficients().isel(cell=0)
    np.testing.assert_allclose(found["flux_control"].sum("reaction"), 1, atol=1e-8)
    np.testing.assert_allclose(found["concentration_control"].sum("reaction"), 0, atol=1e-8)
    network = model.network
    constants = np.ones(len(network.settable_ids))
    moieties = conserved(network, stoichiometry(network, constants))
    # every compartment has size 1 in these models, so amounts are concentrations
    assert {c.size for c in network.compartments} == {1.0}
    elasticity = found["unscaled_elasticity"].values @ moieties.link
    scale = np.abs(found["unscaled_flux_control"].values).max() * np.abs(elasticity).max()
    np.testing.assert_allclose(found["unscaled_flux_control"].values @ elasticity, 0, atol=1e-8 * scale)
    levels = found["unscaled_concentration_control"].values @ elasticity
    np.testing.assert_allclose(levels, -moieties.link, atol=1e-8)
