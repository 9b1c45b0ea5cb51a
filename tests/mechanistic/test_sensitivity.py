"""Sensitivities against closed forms and central differences of `simulate`."""

from __future__ import annotations

import numpy as np
import pytest
from pathway_examples import CHAIN, ENZYME

from mechanistic import load_model
from mechanistic.errors import IntegrationError, ModelError

DECAY = "model m; compartment c = 1; species S in c; S = 4; k = 0.7; R: S -> ; c*k*S; end"
REVERSIBLE = """model m; compartment c = 1; species A in c, B in c; A = 3; B = 1; f = 0.8; b = 0.3
R: A -> B; c*(f*A - b*B); end"""
MICHAELIS = (
    "model m; compartment c = 1; species S in c; S = 2; V = 1.5; Km = 0.4; R: S -> ; c*V*S/(Km + S); end"
)
COMPUTED = """model m; compartment c = 1; species A in c, B in c; k = 0.5; twice = 2*k; total = 6; A = total/3; B = 0
R: A -> B; c*twice*A; end"""
HILL = "model m; compartment c = 1; species A in c, B in c; A = 2; B = 0; n = 2.5; R: A -> B; c*A^n/(1 + A^n); end"
PULSE = """model m; compartment c = 1; species A in c; A = 0; k = 0.5; u = 3
R: -> A; c*piecewise(u, time < 1.37, 0); D: A -> ; c*k*A; end"""


def differences(model, parameter, value, times, names, **keywords):
    """Central differences of fourth order, (time, names)."""
    h = 1e-3 * abs(value)

    def at(x):
        course = model.simulate(times, parameters={parameter: x}, rtol=1e-12, atol=1e-14, **keywords)
        return np.stack([course[n].values[0] for n in names], axis=1)

    return (8 * (at(value + h) - at(value - h)) - (at(value + 2 * h) - at(value - 2 * h))) / (12 * h)


def test_first_order_decay():
    times = np.linspace(0, 6, 7)
    found = load_model(DECAY).sensitivities(times, ("k", "S", "amount.S"))
    assert found["S"].dims == ("cell", "time", "parameter")
    decay = np.exp(-0.7 * times)
    np.testing.assert_allclose(found["S"].sel(parameter="k").values[0], -4 * times * decay, rtol=1e-7)
    np.testing.assert_allclose(found["S"].sel(parameter="S").values[0], decay, rtol=1e-7)
    np.testing.assert_allclose(found["S"].sel(parameter="amount.S").values[0], decay, rtol=1e-7)
    assert found["parameter_value"].values.tolist() == [[0.7, 4.0, 4.0]]


def test_reversible_reaction():
    times = np.array([0.0, 0.5, 2.0, 30.0])
    found = load_model(REVERSIBLE).sensitivities(times, ("f", "b", "B"))
    f, b, total, first = 0.8, 0.3, 4.0, 3.0
    s, decay = f + b, np.exp(-(f + b) * times)
    away = first - total * b / s
    by_f = -total * b / s**2 * (1 - decay) - times * decay * away
    by_b = total * f / s**2 * (1 - decay) - times * decay * away
    for name, expected in (("f", by_f), ("b", by_b), ("B", b / s * (1 - decay))):
        np.testing.assert_allclose(found["A"].sel(parameter=name).values[0], expected, rtol=1e-7, atol=1e-9)
    # A + B is conserved
    both = (found["A"] + found["B"]).values[0]
    np.testing.assert_allclose(both, np.tile([0.0, 0.0, 1.0], (4, 1)), atol=1e-9)


def test_michaelis_menten():
    """S + Km ln S = S0 + Km ln S0 - V t, differentiated."""
    times = np.array([0.5, 1.0, 2.0])
    model = load_model(MICHAELIS)
    s = model.simulate(times, rtol=1e-12, atol=1e-14)["S"].values[0]
    found = model.sensitivities(times, ("V", "Km", "S"), rtol=1e-10)["S"].values[0]
    np.testing.assert_allclose(found[:, 0], -times * s / (0.4 + s), rtol=1e-7)
    np.testing.assert_allclose(found[:, 1], np.log(2 / s) * s / (0.4 + s), rtol=1e-7)
    np.testing.assert_allclose(found[:, 2], (1 + 0.4 / 2) * s / (0.4 + s), rtol=1e-7)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [(CHAIN, ("k1", "A", "amount.A", "D", "c")), (ENZYME, ("k_fast", "k_cat", "S")), (COMPUTED, ("k", "total")),
     (HILL, ("n", "A")), (PULSE, ("u", "k"))],
)  # fmt: skip
def test_equal_to_central_differences(text, parameters):
    model, times = load_model(text), [0.0, 1.0, 4.0]
    names = model.network.species_ids
    found = model.sensitivities(times, parameters)
    for p, parameter in enumerate(parameters):
        value = float(found["parameter_value"].values[0, p])
        method = {"method": "roadrunner"} if text == PULSE else {}
        expected = differences(model, parameter, value, times, names, **method)
        ours = np.stack([found[n].values[0, :, p] for n in names], axis=1)
        tolerance = 1e-5 * max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=tolerance, err_msg=parameter)


def test_setting_a_computed_parameter_does_not_hide_what_it_is_computed_from():
    model, times = load_model(COMPUTED), [0.0, 1.0]
    alone = model.sensitivities(times, ("k",))["A"].values[..., 0]
    beside = model.sensitivities(times, ("twice", "k"))["A"].values[..., 1]
    np.testing.assert_allclose(beside, alone, rtol=1e-7)
    np.testing.assert_allclose(alone[0, 1], -2 * 2 * np.exp(-1.0), rtol=1e-7)


def test_a_switch_in_time_is_met_exactly():
    found = load_model(PULSE).sensitivities([1.37, 3.0], ("u",), rtol=1e-10)["A"].values[0, :, 0]
    end = (1 - np.exp(-0.5 * 1.37)) / 0.5
    np.testing.assert_allclose(found, [end, end * np.exp(-0.5 * 1.63)], rtol=1e-8)


@pytest.mark.parametrize("shifted", ["time - {} < 0", "0 > time - {}", "{} - time > 0", "time < {}"])
def test_switches_that_turn_at_the_same_time_all_turn(shifted):
    text = f"""model m; a = 1; b = 1; u = 3; A = 0
      A' = u*piecewise(0, {shifted.format("a")}, 1) + 2*piecewise(0, {shifted.format("b")}, 1); end"""
    model = load_model(text)
    found = model.sensitivities([0.5, 1.0, 3.0], ("u", "a", "b"))["A"].values[0]
    np.testing.assert_allclose(found[[0, 2]], [[0, 0, 0], [2, -3, -2]], rtol=1e-9)
    run = model.adjoint([0.5, 3.0], ("u", "a", "b"), outputs=("A",))
    np.testing.assert_allclose(run.outputs[0, :, 0], [0.0, 10.0], rtol=1e-9)
    np.testing.assert_allclose(run.pull_back({"A": 1.0}).values[0], [2, -3, -2], rtol=1e-9)


def test_cells_are_differentiated_where_they_are():
    model, rates = load_model(DECAY), np.array([0.1, 0.9])
    found = model.sensitivities([2.0], "k", cells=2, values={"k": rates}, initial={"S": 5})
    np.testing.assert_allclose(found["S"].values[:, 0, 0], -10 * np.exp(-2 * rates), rtol=1e-7)


def test_what_is_not_supported_is_refused_by_name():
    delayed = load_model(DECAY.replace("end", "E1: at 2 after time > 1: S = 2; end"))
    with pytest.raises(ModelError, match="through a delay of an event are not supported"):
        delayed.sensitivities([1.0], ("k",))
    rounded = load_model(PULSE.replace("time < 1.37", "floor(A) < 1"))
    with pytest.raises(ModelError, match="'A' has 'floor' of numbers that change"):
        rounded.sensitivities([1.0], ("u",))
    model = load_model(CHAIN)
    with pytest.raises(ModelError, match="'nobody' is not in the model"):
        model.sensitivities([1.0], ("nobody",))
    with pytest.raises(ModelError, match="'k2' cannot be set"):
        model.sensitivities([1.0], ("k2",))
    with pytest.raises(ModelError, match="'k1' is asked for twice"):
        model.sensitivities([1.0], ("k1", "k1"))
    with pytest.raises(ValueError, match="at least one parameter"):
        model.sensitivities([1.0], ())


def test_a_failure_names_the_cell_and_the_species():
    model = load_model("model m; compartment c = 1; species A in c; A = 0; k = 1; R: -> A; c*k*sqrt(A); end")
    with pytest.raises(IntegrationError, match="cell 0 at time 0: "):
        model.sensitivities([1.0], ("k",))
