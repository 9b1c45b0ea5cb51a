"""Steady states, conservation laws and control coefficients, against closed forms and theorems."""

from __future__ import annotations

import numpy as np
import pytest
from pathway_examples import CHAIN, ENZYME

from mechanistic import load_model
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.moieties import conserved, stoichiometry

REVERSIBLE = """model m; compartment c = 2; species A in c, B in c; A = 3; B = 1; f = 0.8; b = 0.3
R: A -> B; c*(f*A - b*B); end"""
# two stable states and an unstable one between them: 1, 2 and 3
BISTABLE = """model m; compartment c = 1; species A in c; A = 2.4
R: -> A; c*(6 + 6*A^2); D: A -> ; c*(11*A + A^3); end"""
# a pathway with a moiety (E, EX), a branch and a reversible step
PATHWAY = """model m; compartment c = 3; species $X in c, S1 in c, S2 in c, E in c, EX in c
X = 10; S1 = 1; S2 = 1; E = 2; EX = 0.5
J1: $X + E -> EX; c*(0.3*X*E - 0.1*EX); J2: EX -> E + S1; c*0.9*EX; J3: S1 -> S2; c*(4*S1/(1 + S1) - 0.2*S2)
J4: S2 -> ; c*1.1*S2/(0.7 + S2); J5: S2 -> ; c*0.4*S2; end"""


def test_reversible_reaction_comes_to_its_equilibrium():
    model = load_model(REVERSIBLE)
    found = model.steady_state({"f": np.array([0.8, 0.1])}, 2)
    f = np.array([0.8, 0.1])
    np.testing.assert_allclose(found["A"].values, 4 * 0.3 / (f + 0.3), rtol=1e-12)
    np.testing.assert_allclose(found["amount.B"].values, 8 * f / (f + 0.3), rtol=1e-12)
    np.testing.assert_allclose(found["R"].values, 0, atol=1e-14)
    np.testing.assert_allclose(found["eigenvalue_real"].values[:, 0], -(f + 0.3), rtol=1e-12)
    assert found["stable"].values.all()
    assert found.attrs["conserved"] == ["A + B"]


def test_conservation_laws_of_the_enzyme():
    network = load_model(ENZYME).network
    matrix = stoichiometry(network, np.zeros(len(network.settable_ids)))
    laws = conserved(network, matrix)
    assert len(laws.independent) == 2
    np.testing.assert_allclose(laws.link @ matrix[laws.independent], matrix, atol=0)
    assert len(laws.laws) == 2
    assert any(law == "E + ES" for law in laws.laws)


@pytest.mark.parametrize(("start", "end"), [(0.5, 1.0), (2.4, 3.0), (9.0, 3.0)])
def test_time_finds_the_state_that_the_cell_goes_to(start, end):
    found = load_model(BISTABLE).steady_state(initial={"A": start}, method="time")
    assert found["A"].values[0] == pytest.approx(end, rel=1e-10)
    assert found["stable"].values[0]
    assert found["found_by"].values[0] == "time"


def test_an_unstable_state_is_told_and_auto_prefers_a_stable_one():
    model = load_model(BISTABLE)
    between = model.steady_state(initial={"A": 2.01}, method="newton")
    assert between["A"].values[0] == pytest.approx(2.0, rel=1e-10)
    assert not between["stable"].values[0]
    # derivative of 6 + 6 A^2 - 11 A - A^3 at 2
    assert between["eigenvalue_real"].values[0, 0] == pytest.approx(1.0, rel=1e-8)
    assert model.steady_state(initial={"A": 2.01})["A"].values[0] == pytest.approx(3.0, rel=1e-10)


def test_what_an_oscillator_circles_around_is_found_and_told():
    """The Brusselator: one steady state, A = a and B = b / a."""
    text = """model m; compartment c = 1; species A in c, B in c; A = 0.01; B = 20; a = 1; b = 3
    J: -> A; c*a; K: 2 A + B -> 3 A; c*A^2*B; L: A -> B; c*b*A; M: A -> ; c*A; end"""
    found = load_model(text).steady_state()
    assert found["A"].values[0] == pytest.approx(1.0, rel=1e-10)
    assert found["B"].values[0] == pytest.approx(3.0, rel=1e-10)
    assert not found["stable"].values[0]
    # trace b - 1 - a^2 = 1 and determinant a^2 = 1: eigenvalues (1 +- i sqrt(3)) / 2
    assert found["eigenvalue_real"].values[0].tolist() == pytest.approx([0.5, 0.5], rel=1e-9)


def test_everything_gone_is_a_steady_state():
    found = load_model(CHAIN).steady_state()
    np.testing.assert_allclose([found["A"].values[0], found["B"].values[0]], 0, atol=1e-12)
    assert found["D"].values[0] == 3
    assert found["stable"].values[0]


def test_a_model_without_a_steady_state_is_refused_by_name():
    growing = load_model("model m; compartment c = 1; species A in c; A = 1; k = 2; R: -> A; c*k; end")
    with pytest.raises(IntegrationError, match="no steady state was found; 'A' still changes") as caught:
        growing.steady_state()
    assert (caught.value.cell, caught.value.species) == (0, "A")
    timed = load_model("model m; compartment c = 1; species A in c; A = 1; R: -> A; c*sin(time); end")
    with pytest.raises(ModelError, match="the rate of 'A' depends on time"):
        timed.steady_state()
    events = load_model(CHAIN.replace("end", "E1: at time > 1: A = 2; end"))
    for refused in (events.steady_state, events.control_coefficients):
        with pytest.raises(ModelError, match="event 'E1'"):
            refused()
    with pytest.raises(ValueError, match="auto, newton or time"):
        growing.steady_state(method="guess")


@pytest.fixture(scope="module")
def pathway():
    return load_model(PATHWAY)


@pytest.fixture(scope="module")
def control(pathway):
    return pathway.control_coefficients()


def test_summation_theorems(control):
    np.testing.assert_allclose(control["flux_control"].sum("reaction").values, 1, atol=1e-8)
    np.testing.assert_allclose(control["concentration_control"].sum("reaction").values, 0, atol=1e-8)


def test_connectivity_theorems(pathway, control):
    """C^J e L = 0 and C^S e L = -L, on amounts scaled to concentrations (one compartment)."""
    network = pathway.network
    moieties = conserved(network, stoichiometry(network, np.zeros(len(network.settable_ids))))
    elasticity = control["unscaled_elasticity"].values[0] @ moieties.link
    fluxes = control["unscaled_flux_control"].values[0] @ elasticity
    levels = control["unscaled_concentration_control"].values[0] @ elasticity
    np.testing.assert_allclose(fluxes, 0, atol=1e-8)
    np.testing.assert_allclose(levels, -moieties.link, atol=1e-8)


def test_control_equals_what_a_faster_enzyme_does(control):
    """d ln(steady state) / d ln(rate of J3), by central differences."""
    ends, h = [], 1e-4
    for factor in (1 + h, 1 - h):
        text = PATHWAY.replace("c*(4*S1/(1 + S1) - 0.2*S2)", f"{factor!r}*c*(4*S1/(1 + S1) - 0.2*S2)")
        assert text != PATHWAY
        ends.append(load_model(text).steady_state())
    up, down = ends
    at = control.sel(reaction="J3", cell=0)
    for name in ("S1", "S2", "EX"):
        slope = (np.log(up[name]) - np.log(down[name])).values[0] / (2 * h)
        assert at["concentration_control"].sel(species=name).item() == pytest.approx(slope, abs=1e-6)
    for name in ("J2", "J4", "J5"):
        slope = (np.log(up[name]) - np.log(down[name])).values[0] / (2 * h)
        assert at["flux_control"].sel(flux=name).item() == pytest.approx(slope, abs=1e-6)


def test_elasticities_of_michaelis_menten(control):
    s2 = control["concentration_value"].sel(species="S2", cell=0).item()
    found = control["elasticity"].sel(reaction="J4", species="S2", cell=0).item()
    assert found == pytest.approx(0.7 / (0.7 + s2), rel=1e-12)
    plain = control["unscaled_elasticity"].sel(reaction="J4", species="S2", cell=0).item()
    assert plain == pytest.approx(3 * 1.1 * 0.7 / (0.7 + s2) ** 2, rel=1e-12)


def test_control_is_of_reactions_only():
    rule = load_model(
        "model m; compartment c = 1; species A in c; A = 1; x = 1; x' = 1 - x; R: A -> ; A; end"
    )
    with pytest.raises(ModelError, match="'x' has a rate rule"):
        rule.control_coefficients()
    with pytest.raises(ModelError, match="nothing to control"):
        load_model("model m; k = 1; end").control_coefficients()
