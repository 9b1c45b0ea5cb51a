"""Draws from distributions (SBML's "distrib"): the right numbers, where they may stand, the same in any company."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as stats

from mechanistic import load_model
from mechanistic.draws import KINDS, NUMBERS
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.random.quantiles import quantile

URL = "http://www.sbml.org/sbml/symbols/distrib/"
HEAD = """<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"
 xmlns:distrib="http://www.sbml.org/sbml/level3/version1/distrib/version1" distrib:required="true"><model>"""
# a clock that comes round every 1 from 0.5 on
PARAMETERS = """<listOfParameters><parameter id="t" value="0" constant="false"/>
 <parameter id="p" value="1" constant="false"/><parameter id="q" value="2" constant="false"/>
 <parameter id="top" value="INF" constant="true"/></listOfParameters>"""
CLOCK = '<rateRule variable="t"><math xmlns="http://www.w3.org/1998/Math/MathML"><cn>1</cn></math></rateRule>'
NORMAL = ("normal", 0, 1)


def _math(inner: str) -> str:
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML">{inner}</math>'


def _value(tree) -> str:
    if isinstance(tree, tuple):
        parts = "".join(_value(part) for part in tree[1:])
        return f'<apply><csymbol encoding="text" definitionURL="{URL}{tree[0]}">d</csymbol>{parts}</apply>'
    return f"<ci>{tree}</ci>" if isinstance(tree, str) else f"<cn>{tree}</cn>"


def _sum(*trees) -> str:
    return f"<apply><plus/>{''.join(_value(t) for t in trees)}</apply>"


def _model(initially: str = "", event: str = "", rule: str = "", functions: str = "") -> str:
    text = HEAD + functions + PARAMETERS + f"<listOfRules>{CLOCK}{rule}</listOfRules>"
    if initially:
        text += (
            f'<listOfInitialAssignments><initialAssignment symbol="p">{_math(initially)}</initialAssignment>'
        )
        text += "</listOfInitialAssignments>"
    if event:
        due = _math("<apply><geq/><ci>t</ci><cn>0.5</cn></apply>")
        text += '<listOfEvents><event id="E" useValuesFromTriggerTime="true"><trigger initialValue="true" '
        text += f'persistent="true">{due}</trigger><listOfEventAssignments>'
        text += f'<eventAssignment variable="p">{_math(event)}</eventAssignment>'
        text += f'<eventAssignment variable="t">{_math("<cn>-0.5</cn>")}</eventAssignment>'
        text += "</listOfEventAssignments></event></listOfEvents>"
    return text + "</model></sbml>"


def _samples(text: str, cells: int = 2000, **options) -> np.ndarray:
    return load_model(text).simulate([0, 1, 2], cells=cells, **options)["p"].values


DISTRIBUTIONS = {
    "normal": ((1.5, 0.7), stats.norm(1.5, 0.7)),
    "cauchy": ((1.0, 2.0), stats.cauchy(1, 2)),
    "chisquare": ((3.0, 0.0), stats.chi2(3)),
    "exponential": ((0.5, 0.0), stats.expon(scale=2)),
    "gamma": ((2.3, 1.1), stats.gamma(2.3, scale=1.1)),
    "laplace": ((1.0, 2.0), stats.laplace(1, 2)),
    "lognormal": ((0.3, 0.6), stats.lognorm(0.6, scale=np.exp(0.3))),
    "rayleigh": ((1.3, 0.0), stats.rayleigh(scale=1.3)),
    "binomial": ((100.0, 0.2), stats.binom(100, 0.2)),
    "poisson": ((30.0, 0.0), stats.poisson(30)),
}


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_inverses_of_distribution_functions(kind):
    (a, b), oracle = DISTRIBUTIONS[kind]
    u = np.append(np.linspace(0.001, 0.999, 97), [1e-9, 1 - 1e-9])
    whole = 1 if kind in ("binomial", "poisson") else 0
    for low, high in ((-np.inf, np.inf), (oracle.ppf(0.3), oracle.ppf(0.9)), (oracle.ppf(0.55), np.inf)):
        share = oracle.cdf(low - whole) + u * (oracle.cdf(high) - oracle.cdf(low - whole))
        got = [quantile(NUMBERS[kind], a, b, low, high, x) for x in u]
        np.testing.assert_allclose(got, oracle.ppf(share), rtol=1e-6)


def test_uniform_bernoulli_and_far_tails():
    assert quantile(NUMBERS["uniform"], 2.0, 6.0, -np.inf, np.inf, 0.25) == 3.0
    assert [quantile(NUMBERS["bernoulli"], 0.3, 0.0, -np.inf, np.inf, u) for u in (0.29, 0.31)] == [1, 0]
    far = quantile(NUMBERS["normal"], 0.0, 1.0, 20.0, np.inf, 0.5)
    assert far == pytest.approx(stats.norm.isf(0.5 * stats.norm.sf(20)), rel=1e-12)
    assert quantile(NUMBERS["gamma"], 0.1, 1.0, -np.inf, np.inf, 0.2) == pytest.approx(
        stats.gamma(0.1).ppf(0.2)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_without_meaning_give_no_number(kind):
    assert np.isnan(quantile(NUMBERS[kind], np.nan, 1.0, -np.inf, np.inf, 0.5))
    assert np.isnan(quantile(NUMBERS["normal"], 0.0, -1.0, -np.inf, np.inf, 0.5))
    assert np.isnan(quantile(NUMBERS["gamma"], 1.0, 1.0, 2.0, 1.0, 0.5))


def test_events_and_initial_assignments_draw():
    for text, columns in ((_model(event=_value(NORMAL)), (1, 2)), (_model(initially=_value(NORMAL)), (0,))):
        p = _samples(text)
        for i in columns:
            assert stats.kstest(p[:, i], "norm").pvalue > 1e-4
    p = _samples(_model(event=_value(NORMAL)))
    assert np.all(p[:, 0] == 1.0)
    assert abs(np.corrcoef(p[:, 1], p[:, 2])[0, 1]) < 0.1
    assert np.all(p[:, 1] != p[:, 2])


def test_a_cell_draws_the_same_in_any_company():
    for text in (_model(event=_value(NORMAL)), _model(initially=_value(NORMAL))):
        many, few = _samples(text, cells=40, seed=7), _samples(text, cells=3, seed=7)
        np.testing.assert_array_equal(many[:3], few)
        assert not np.array_equal(few, _samples(text, cells=3, seed=8))


def test_two_draws_are_two_and_an_argument_is_one():
    two = _samples(_model(event=_sum(NORMAL, NORMAL)))[:, 1]
    assert np.var(two) == pytest.approx(2, rel=0.2)
    body = f"<lambda><bvar><ci>x</ci></bvar>{_sum('x', 'x')}</lambda>"
    functions = (
        f'<listOfFunctionDefinitions><functionDefinition id="twice">{_math(body)}</functionDefinition>'
    )
    functions += "</listOfFunctionDefinitions>"
    called = f"<apply><ci>twice</ci>{_value(NORMAL)}</apply>"
    assert np.var(_samples(_model(event=called, functions=functions))[:, 1]) == pytest.approx(4, rel=0.2)


def test_the_parameters_of_a_draw_may_be_drawn():
    for text, i in (
        (_model(event=_value(("normal", NORMAL, 1))), 1),
        (_model(_value(("normal", NORMAL, 1))), 0),
    ):
        assert np.var(_samples(text)[:, i]) == pytest.approx(2, rel=0.2)


def test_bounds_may_be_infinite():
    p = _samples(_model(event=_value(("normal", 0, 1, "q", "top"))), cells=200)[:, 1]
    assert p.min() >= 2
    assert p.mean() == pytest.approx(stats.truncnorm(2, np.inf).mean(), abs=0.1)


def test_draws_at_all_times_are_refused_by_line():
    rule = f'<assignmentRule variable="q">{_math(_value(NORMAL))}</assignmentRule>'
    with pytest.raises(ModelError, match=r"a draw \(normal\) in a rule, which holds at all times") as caught:
        load_model(_model(rule=rule))
    assert caught.value.problems[0].line
    with pytest.raises(ModelError, match="normal takes 2 or, truncated, 4 arguments \\(got 3\\)"):
        load_model(_model(event=_value(("normal", 0, 1, 2))))


def test_methods_that_do_not_draw_say_so():
    model = load_model(_model(event=_value(NORMAL)))
    assert model.simulate([0, 1]).attrs["method"] == "ssa"
    for method in ("native", "roadrunner"):
        with pytest.raises(ModelError, match=f"'{method}' makes no draws"):
            model.simulate([0, 1], method=method)
    with pytest.raises(ModelError, match="a tissue makes no draws"):
        model.advance(model.initial_state(2), 1.0)
    assert load_model(_model(initially=_value(NORMAL))).simulate([0, 1]).attrs["method"] == "native"


def test_parameters_without_meaning_name_the_culprit():
    bad = ("normal", 0, -1)
    with pytest.raises(
        IntegrationError, match=r"cell 0 at time 0\.5: the parameters of a draw of the event 'E'"
    ):
        _samples(_model(event=_value(bad)), cells=2)
    with pytest.raises(ModelError, match="the parameters of a draw have no meaning \\(got 0, -1, -inf, inf"):
        _samples(_model(initially=_value(bad)), cells=2)
