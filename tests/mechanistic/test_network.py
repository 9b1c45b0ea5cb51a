"""The equations of a network against derivatives written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pathway_examples import CHAIN, MATH, changed

from mechanistic import load_model
from mechanistic.codegen.graph import Graph
from mechanistic.codegen.initial import initial_values
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import System
from mechanistic.errors import ModelError
from mechanistic.sbml import read_network

TREES = [
    (["+", "x", 2.0, "y"], lambda x, y: x + 2 + y),
    (["-", "x"], lambda x, y: -x),
    (["^", "x", 3.0], lambda x, y: x**3),
    (["/", ["ln", "x"], ["sqrt", "y"]], lambda x, y: np.log(x) / np.sqrt(y)),
    (["piecewise", "x", ["<", "x", "y"], "y"], lambda x, y: np.where(x < y, x, y)),
    (["piecewise", 1.0, ["and", [">", "x", 1.0], ["not", ["==", "y", 2.0]]], 0.0],
     lambda x, y: ((x > 1) & (y != 2)).astype(float)),
    (["<", "x", "y", 3.0], lambda x, y: ((x < y) & (y < 3)).astype(float)),
    (["quotient", ["-", "x", 5.0], "y"], lambda x, y: np.trunc((x - 5) / y)),
    (["rem", "x", "y"], np.fmod),
    (["max", "x", "y", 2.0], lambda x, y: np.maximum(np.maximum(x, y), 2)),
    (["sec", "x"], lambda x, y: 1 / np.cos(x)),
    (["arccoth", ["+", "x", 1.5]], lambda x, y: np.arctanh(1 / (x + 1.5))),
    (["factorial", 4.0], lambda x, y: 24.0 + 0 * x),
    (["implies", ["<", "x", "y"], ["<", "y", 2.5]], lambda x, y: (~(x < y) | (y < 2.5)).astype(float)),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "expected"), TREES, ids=[t[0] for t, _ in TREES])
def test_operators(tree, expected):
    graph = Graph()
    names = {"x": graph.input(0), "y": graph.input(1)}
    node = graph.number(graph.tree(tree, names.__getitem__, lambda _: 0))
    x, y = np.array([0.3, 1.7, 3.0, 4.5]), np.array([2.0, 2.0, 3.0, 2.6])
    np.testing.assert_allclose(evaluate(graph, [node], [x, y])[0], expected(x, y), rtol=1e-14)


def test_equal_parts_are_made_once():
    graph = Graph()
    x = graph.input(0)
    assert graph.op("*", x, graph.const(2.0)) == graph.op("*", x, graph.const(2.0))
    assert graph.const(0.0) != graph.const(-0.0)
    assert graph.op("+", graph.const(1.0), graph.const(2.0)) == graph.const(3.0)


def test_derivatives_of_a_chain():
    network = read_network(CHAIN)
    system = System(network)
    state, constants = initial_values(network, {}, 1)
    np.testing.assert_array_equal(state, [[20, 0]])
    change = evaluate(system.graph, system.derivative, [0.0, 1.0, *state[0], *constants[0]])
    # d(amount A) = -c k1 [A] = -2 * 0.5 * 10
    np.testing.assert_allclose(change, [-10, 10])


def test_conversion_factors_and_stoichiometry():
    text = changed('<species id="S2"', '<species id="S2" conversionFactor="f"')
    text = text.replace(
        '<parameter id="k"', '<parameter id="f" value="10" constant="true"/><parameter id="k"'
    )
    text = text.replace('species="S2" stoichiometry="1"', 'species="S2" stoichiometry="3"')
    network = read_network(text)
    system = System(network)
    state, constants = initial_values(network, {}, 1)
    change = evaluate(system.graph, system.derivative, [0.0, 1.0, *state[0], *constants[0]])
    np.testing.assert_allclose(change, [-1.0, 30.0])


def test_initial_assignments_follow_what_is_given():
    network = read_network("model m\n a = 2; b = 3 * a; S = b; S -> ; S\nend")
    for a in (2.0, 5.0):
        state, constants = initial_values(network, {"a": a}, 1)
        assert state[0, 0] == 3 * a
        assert constants[0, network.settable_ids.index("b")] == 3 * a
    state, _ = initial_values(network, {"a": np.array([1.0, 2.0])}, 2)
    np.testing.assert_array_equal(state[:, 0], [3.0, 6.0])


def test_a_network_says_what_it_holds():
    network = read_network(CHAIN)
    assert network.state_ids == ("A", "B")
    assert "D" in network.settable_ids
    assert "k2" not in network.settable_ids
    assert "A" in network
    assert "Q" not in network
    assert network["D"].boundary


def with_algebraic(*contents: str) -> str:
    """BASE with algebraic rules, each the MathML of what is 0; x is what they may determine."""
    rules = "".join(f"<algebraicRule>{MATH}{c}</math></algebraicRule>" for c in contents)
    return changed("<!--rules-->", f"<listOfRules>{rules}</listOfRules>")


# 0 = (2 x - S1) / 4 - S1: x is the one id that nothing else determines
LINEAR = """<apply><minus/><apply><divide/><apply><minus/><apply><times/><cn>2</cn><ci>x</ci></apply>
<ci>S1</ci></apply><cn>4</cn></apply><ci>S1</ci></apply>"""


def test_brackets_around_an_expression_are_read():
    plain = read_network(with_algebraic(LINEAR))
    assert read_network(with_algebraic(f"<apply>{LINEAR}</apply>")).rules == plain.rules


def test_algebraic_rules_are_solved():
    from mechanistic import load_model

    model = load_model(with_algebraic(LINEAR))
    for method in ("native", "roadrunner"):
        course = model.simulate([0.0, 1.0], method=method, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(course["S1"].values[0], [1.0, np.exp(-1)], rtol=1e-6)
        np.testing.assert_allclose(course["x"].values, 2.5 * course["S1"].values, rtol=1e-12)


def test_an_algebraic_rule_for_a_rate_of_change():
    url = "http://www.sbml.org/sbml/symbols/rateOf"
    rate = f'<apply><csymbol encoding="text" definitionURL="{url}">r</csymbol><ci>x</ci></apply>'
    network = read_network(with_algebraic(f"<apply><minus/>{rate}<ci>S1</ci></apply>"))
    assert network.rate_rules["x"].math == ["/", ["-", ["-", 0.0, "S1"]], 1.0]


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (["<apply><minus/><apply><times/><ci>x</ci><ci>x</ci></apply><ci>S1</ci></apply>"], "by hand"),
        (["<ci>S1</ci>"], "which variable"),
        ([LINEAR, LINEAR], "which variable"),
    ],
)
def test_other_algebraic_rules_are_refused(contents, says):
    with pytest.raises(ModelError, match=says) as error:
        read_network(with_algebraic(*contents))
    assert {p.key for p in error.value.problems} == {"algebraicRule"}


@pytest.mark.parametrize("method", ["native", "roadrunner"])
def test_a_stoichiometry_with_a_rate_rule(method):
    """S2 = integral of n k S1 with n = 1 + t and S1 = exp(-t): 2 - (2 + t) exp(-t)."""
    from mechanistic import load_model

    rule = f'<listOfRules><rateRule variable="n">{MATH}<cn>1</cn></math></rateRule></listOfRules>'
    text = changed("<!--rules-->", rule)
    text = text.replace(
        'species="S2" stoichiometry="1" constant="true"',
        'species="S2" id="n" stoichiometry="1" constant="false"',
    )
    times = np.array([0.0, 1.0, 3.0])
    course = load_model(text).simulate(times, method=method, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(course["n"].values[0], 1 + times, rtol=1e-9)
    np.testing.assert_allclose(course["S2"].values[0], 2 - (2 + times) * np.exp(-times), rtol=1e-6)


def test_an_initial_value_from_a_rate_of_change():
    url = "http://www.sbml.org/sbml/symbols/rateOf"
    rate = f'<apply><csymbol encoding="text" definitionURL="{url}">r</csymbol><ci>S1</ci></apply>'
    start = f'<listOfInitialAssignments><initialAssignment symbol="x">{MATH}{rate}</math></initialAssignment>'
    network = read_network(changed("<!--rules-->", start + "</listOfInitialAssignments>"))
    _, constants = initial_values(network, {"k": 3.0}, 1)
    assert constants[0, network.settable_ids.index("x")] == -3.0


@pytest.mark.parametrize("method", ["native", "radau", "roadrunner"])
def test_an_event_sets_a_concentration_and_its_compartment(method):
    """The amount is that in the size before: 0.2 * 0.59 at 0.45, in 0.2 from then on (SBML Test Suite 01506)."""
    text = (
        "compartment c = 0.5; species $S in c; S = 0; S' = 0.4; c' = 0.2; at time >= 0.45: S = 0.2, c = 0.2;"
    )
    course = load_model(f"model m\n{text}\nend").simulate([0, 0.5, 1], method=method)
    np.testing.assert_allclose(course["S"].values[0], [0, 0.61, 0.81], atol=1e-5)
