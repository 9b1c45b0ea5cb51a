"""Fast reactions: closed forms on the equilibrium, the limit of large rates, and what has no answer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from mechanistic import load_model
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.sbml import read_network


def fast(text: str, *names: str) -> str:
    """The SBML of an Antimony model with some reactions declared fast."""
    source = read_network(f"model m\n compartment c = 1;\n{text}\nend").source
    for name in names:
        pattern = rf'(<reaction id="{name}"[^>]*?)( fast="false")?>'
        source, found = re.subn(pattern, r'\1 fast="true">', source)
        assert found == 1
    return source


def course(model: str, times, **options):
    tight: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-12} | options
    result = load_model(model).simulate(times, **tight)
    assert result.attrs["method"] == "radau"
    return result


TIMES = np.linspace(0, 5, 11)


def test_an_exchange_at_equilibrium():
    """A = B / 3 at all times, and the sum of both leaves through B."""
    model = fast("species A in c, B in c; A = 4; B = 0; S: A -> B; 3*A - B; L: B -> ; 0.4*B;", "S")
    result = course(model, TIMES)
    total = 4 * np.exp(-0.4 * 0.75 * TIMES)
    np.testing.assert_allclose(result["A"].values[0], total / 4, rtol=1e-8)
    np.testing.assert_allclose(result["B"].values[0], 3 * total / 4, rtol=1e-8)


def test_the_limit_of_large_rates():
    text = """species S in c, E in c, X in c, P in c; S = 5; E = 1; X = 0; P = 0; k = {};
    bind: S + E -> X; k * (S * E - 0.6 * X); make: X -> E + P; 2 * X;"""
    quasi = course(fast(text.format(1), "bind"), TIMES)["P"].values[0]
    large = load_model(f"model m\n compartment c = 1;\n{text.format(1e7)}\nend")
    stiff = large.simulate(TIMES, method="native", rtol=1e-8, atol=1e-12)["P"].values[0]
    np.testing.assert_allclose(quasi[1:], stiff[1:], rtol=1e-5)


def test_one_that_answers_to_nothing_at_first():
    """The rate of A + B -> 2 B has no slope where A = B: one that is not 0 there is no equilibrium."""
    model = fast("species A in c, B in c; A = 5; B = 5; F: A -> B; A * B; L: B -> ; 0.1 * B;", "F")
    result = course(model, TIMES)
    np.testing.assert_allclose(result["A"].values[0], 0, atol=1e-10)
    np.testing.assert_allclose(result["B"].values[0], 10 * np.exp(-0.1 * TIMES), rtol=1e-8)


def test_an_irreversible_one_drains_its_reactant():
    text = "species A in c, B in c; A = 2; B = 1; D: A -> 2 B; 0.1 * A; I: -> A; 0.5;"
    result = course(fast(text, "D"), TIMES)
    np.testing.assert_allclose(result["A"].values[0], 0, atol=1e-10)
    np.testing.assert_allclose(result["B"].values[0], 5 + TIMES, rtol=1e-9)


def test_two_that_share_a_species():
    """A = B / 2 and B = C / 3; a tenth of C a time leaves."""
    text = """species A in c, B in c, C in c; A = 9; B = 0; C = 0;
    F: A -> B; 2*A - B; G: B -> C; 3*B - C; L: C -> ; 0.1*C;"""
    total = 9 * np.exp(-0.1 * (6 / 9) * TIMES)
    result = course(fast(text, "F", "G"), TIMES)
    for name, share in (("A", 1 / 9), ("B", 2 / 9), ("C", 6 / 9)):
        np.testing.assert_allclose(result[name].values[0], share * total, rtol=1e-8)


def test_an_equilibrium_that_moves_in_time():
    text = "species A in c, B in c; A = 3; B = 0; K := 1 + time; F: A -> B; K*A - B;"
    result = course(fast(text, "F"), TIMES)
    np.testing.assert_allclose(result["A"].values[0], 3 / (2 + TIMES), rtol=1e-8)


def test_events_are_followed_by_a_new_equilibrium():
    text = "species A in c, B in c; A = 2; B = 0; F: A -> B; A - B; at time >= 1: A = 5;"
    result = course(fast(text, "F"), [0, 0.9, 1.1, 2])
    np.testing.assert_allclose(result["A"].values[0], [1, 1, 3, 3], rtol=1e-9)


def test_a_reaction_that_is_switched_on():
    text = "species A in c, B in c; A = 2; B = 1; on := piecewise(1, time > 1, 0); F: A -> B; on * A;"
    result = course(fast(text, "F"), [0, 0.9, 1.1, 2])
    np.testing.assert_allclose(result["B"].values[0], [1, 1, 3, 3], rtol=1e-9)
    gradual = text.replace("piecewise(1, time > 1, 0)", "max(0, time - 1)")
    result = course(fast(gradual, "F"), [0, 0.9, 1.1, 2])
    np.testing.assert_allclose(result["B"].values[0], [1, 1, 3, 3], rtol=1e-9)


def test_compartments_and_conversion_factors():
    """Amounts: 0.5 of A a litre against 1 of B a litre, in 2 and 1 litres; 3 entities of each a mole of extent."""
    text = "compartment d = 2; species A in d, B in c; A = 3; B = 0; F: A -> B; 2*A - B;"
    source = fast(text, "F").replace("<model ", '<model conversionFactor="f" ')
    parameter = '<listOfParameters><parameter id="f" value="3" constant="true"/></listOfParameters>'
    source = source.replace("<listOfReactions>", parameter + "<listOfReactions>")
    result = course(source, [0.0, 1.0])
    np.testing.assert_allclose(result["A"].values[0], 1.5, rtol=1e-9)
    np.testing.assert_allclose(result["amount.B"].values[0], 3.0, rtol=1e-9)


@pytest.mark.parametrize(
    ("text", "names", "says"),
    [
        # the second order leaves no rate at 0 to answer an inflow
        ("species A in c, B in c; A = 2; B = 0; F: 2 A -> B; A^2; I: -> A; 1;", "F", "do not fix"),
        # B runs out at 1, and A is held at 0 no longer
        (
            "species A in c, B in c, C in c; A = 0; B = 1; C = 0; F: A + B -> C; A*B; I: -> A; 1;",
            "F",
            "do not fix",
        ),
        ("species A in c, B in c; A = 2; B = 0; F: A -> B; A - B; G: A -> B; 2*A - 3*B;", "F G", "depend on"),
        ("species A in c; A = 1; F: -> A; A;", "F", "no rest"),
    ],
)
def test_what_has_no_one_answer_is_refused_by_name(text, names, says):
    model = load_model(fast(text, *names.split()))
    with pytest.raises(IntegrationError, match=rf"fast reactions 'F'.*line.*({says})"):
        model.simulate(TIMES)


def test_other_methods_refuse_them_by_line():
    model = load_model(fast("species A in c, B in c; A = 2; B = 0; F: A -> B; A - B;", "F"))
    line = model.network["F"].line
    for use in (
        lambda: model.simulate([0, 1], method="native"),
        lambda: model.simulate([0, 1], method="roadrunner"),
        lambda: model.simulate([0, 1], method="ssa"),
        model.vector_field,
        model.steady_state,
    ):
        with pytest.raises(ModelError, match="cannot run a fast reaction") as caught:
            use()
        assert [(p.key, p.line) for p in caught.value.problems] == [("F.fast", line)]


def test_the_rate_of_what_they_change_is_refused():
    model = load_model(fast("species A in c, B in c; A = 2; B = 0; r := rateOf(A); F: A -> B; A - B;", "F"))
    with pytest.raises(ModelError, match="rate of change of 'A'"):
        model.simulate(TIMES)
