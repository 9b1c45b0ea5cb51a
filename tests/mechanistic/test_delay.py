"""Delays in math: closed forms by the method of steps, published oscillations, jumps that are looked back to."""

from __future__ import annotations

from math import e, factorial
from typing import Any

import numpy as np
import pytest

from mechanistic import load_model
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.sbml import read_network
from mechanistic.solvers.radau import collocation


def course(text: str, times, name: str = "x", **options) -> np.ndarray:
    """(time,) of one quantity at tight tolerances."""
    tight: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-12} | options
    result = load_model(f"model m\n{text}\nend").simulate(times, **tight)
    assert result.attrs["method"] == "radau"
    return result[name].values[0]


def test_the_method_is_radau_of_order_nine():
    assert collocation.POINTS[-1] == 1.0
    powers = np.arange(1, 6)
    # stage order: x^(k-1) is integrated exactly up to each point, x^8 over the whole step
    within = collocation._MATRIX @ collocation.POINTS[:, None] ** (powers - 1)
    np.testing.assert_allclose(within, collocation.POINTS[:, None] ** powers / powers, atol=1e-13)
    assert collocation._MATRIX[-1] @ collocation.POINTS**8 == pytest.approx(1 / 9, rel=1e-11)
    assert collocation._MATRIX[-1] @ collocation.POINTS**9 != pytest.approx(1 / 10, rel=1e-6)


def test_a_constant_delay_by_the_method_of_steps():
    """x' = -x(t - 1), x = 1 before 0: a polynomial of one degree more in every unit of time."""
    times = np.linspace(0, 10, 41)
    pieces = [
        sum((-1) ** k * (t - (k - 1)) ** k / factorial(k) for k in range(int(np.ceil(t)) + 1)) for t in times
    ]
    np.testing.assert_allclose(course("x = 1; x' = -delay(x, 1);", times), pieces, atol=1e-8)


def test_a_delay_shorter_than_any_step():
    """x' = -x(t / 2): the delay vanishes at 0. A power series."""
    times = np.linspace(0, 5, 11)
    exact = sum((-1) ** k * 2.0 ** (-k * (k - 1) / 2) * times**k / factorial(k) for k in range(30))
    np.testing.assert_allclose(course("x = 1; x' = -delay(x, time / 2);", times), exact, atol=1e-9)


def test_a_delay_that_depends_on_the_state():
    """y' = y(s) y(ln y(s)) / s from s = 1: s, then e^(s/e), then (e / (3 - ln s))^e.

    K. W. Neves, ACM Trans. Math. Softw. 1, 357 (1975). The pieces meet where the delay looks back to their ends.
    """
    times = np.linspace(0, 12, 49)
    s = times + 1
    exact = np.where(s <= e, s, np.where(s <= e**2, np.exp(s / e), (e / (3 - np.log(s))) ** e))
    y = course("y = 1; y' = y * delay(y, time + 1 - ln(y)) / (time + 1);", times, "y")
    np.testing.assert_allclose(y, exact, rtol=1e-7)


@pytest.mark.parametrize(("rate", "ratio", "period"), [(2.1, 84.1, 4.54), (2.5, 2930, 5.36)])
def test_hutchinson_oscillates_as_published(rate, ratio, period):
    """N' = r N (1 - N(t - 1)): J. D. Murray, Mathematical Biology I, 3rd ed., Springer 2002, section 1.3."""
    times = np.linspace(0, 60, 12001)
    late = course(f"N = 0.5; N' = {rate} * N * (1 - delay(N, 1));", times, "N", rtol=1e-6)[6000:]
    peaks = np.flatnonzero((late[1:-1] > late[:-2]) & (late[1:-1] >= late[2:]))
    assert late.max() / late.min() == pytest.approx(ratio, rel=5e-3)
    assert np.diff(peaks).mean() * times[1] == pytest.approx(period, abs=0.01)


def test_a_stiff_equation_follows_a_delayed_one():
    times = np.linspace(0, 5, 6)
    text = "z = 1; z' = -delay(z, 1); y = 1; y' = -1e6 * (y - z);"
    z, y = course(text, times, "z"), course(text, times, "y")
    before = np.concatenate([[1.0], z[:-1]])
    np.testing.assert_allclose(y[1:] - z[1:], before[1:] * 1e-6, atol=1e-10)


def test_before_the_start_rules_and_initial_assignments_hold():
    times = np.linspace(0, 1, 5)
    rule = "x := sin(time); y := 2 + delay(x, 0.5);"
    np.testing.assert_allclose(course(rule, times, "y"), 2 + np.sin(times - 0.5), atol=1e-12)
    start = "x = sin(time); x' = 1; y := delay(x, 0.5);"
    exact = np.where(times < 0.5, np.sin(times - 0.5), times - 0.5)
    np.testing.assert_allclose(course(start, times, "y"), exact, atol=1e-9)
    given = course(start, times, "y", parameters={"x": 3.0})
    np.testing.assert_allclose(given, np.where(times < 0.5, 3.0, 2.5 + times), atol=1e-9)


def test_a_delay_of_a_delay_and_of_an_expression():
    times = np.linspace(0, 4, 9)
    nested = course("x = 0; x' = 1; y := delay(delay(x, 1), 0.5);", times, "y")
    np.testing.assert_allclose(nested, np.maximum(times - 1.5, 0), atol=1e-9)
    # and where a rate depends on it, along steps that end where it looks back to
    grown = course("x = 0; x' = 1; y := delay(delay(x, 1), 0.5); z = 0; z' = y;", times, "z")
    np.testing.assert_allclose(grown, np.maximum(times - 1.5, 0) ** 2 / 2, atol=1e-9)
    square = course("x = 0; x' = 1; y := delay(x^2 + 1, 1);", times, "y")
    np.testing.assert_allclose(square, np.maximum(times - 1, 0) ** 2 + 1, atol=1e-9)


def test_jumps_are_felt_after_the_delay():
    """x becomes 5 at 1, so y' = x(t - 0.5) is 5 from 1.5 on."""
    times = np.linspace(0, 3, 13)
    text = "x = 0; x' = 0; y = 0; y' = delay(x, 0.5); at time >= 1: x = 5;"
    np.testing.assert_allclose(course(text, times, "y"), 5 * np.maximum(times - 1.5, 0), atol=1e-10)


def test_jumps_that_two_delays_reach_almost_at_once():
    """Steps of next to no length in between foretell nothing of the next."""
    text = """x0 = 1; x0' = 3 * cos(3 * time); x1 = 1; x1' = 0; at time >= 0.7: x1 = 3;
    y = 0.3; y' = -y * {}; z = 0.3; z' = piecewise(1, {} > 1.713, -1) * 0.5;"""
    past = "piecewise(1, time < 0.4, 1 + sin(3 * (time - 0.4))) ^ 2 + 1"
    looks_back = text.format("delay(x1, time / 2)", "delay(x0^2 + 1, 0.4)")
    closed = text.format("piecewise(1, time < 1.4, 3)", past)
    times = np.linspace(0, 5, 12)
    expected = load_model(f"model m\n{closed}\nend").simulate(times, rtol=1e-9, atol=1e-12)
    for name in "yz":
        found = course(looks_back, times, name, rtol=1e-9)
        np.testing.assert_allclose(found, expected[name].values[0], rtol=1e-6, atol=1e-7)


def test_events_look_back_too():
    """The trigger at 2.5 + 1, the values by what was 2 before, carried out 0.5 later."""
    times = np.array([0, 3.4, 3.9, 4.1])
    text = "x = 0; x' = 1; y = 0; y' = 0; at 0.5 after delay(x, 1) > 2.5: y = delay(x, 2);"
    np.testing.assert_allclose(course(text, times, "y"), [0, 0, 0, 1.5], atol=1e-9)


def test_each_cell_has_its_own_delay():
    model = load_model("model m\n lag = 1; x = 1; x' = -delay(x, lag);\nend")
    x = model.simulate([0, 1, 2], cells=3, parameters={"lag": [0.0, 0.5, 2.0]}, rtol=1e-9, atol=1e-12)["x"]
    exact = [[1, e**-1, e**-2], [1, 0.125, -0.0390625], [1, 0, -1]]
    np.testing.assert_allclose(x, exact, atol=1e-8)


def test_output_times_change_nothing():
    text = "x = 1; x' = -2 * delay(x, 1) * x; at x < 0.5: x = 1;"
    few = course(text, [0, 3.0, 7.0])
    many = course(text, np.linspace(0, 7, 71))
    np.testing.assert_array_equal(few, many[[0, 30, 70]])


def test_a_negative_delay_is_named():
    with pytest.raises(IntegrationError, match=r"cell 0: the delay in the math of 'x'.*time") as caught:
        course("x = 1; x' = -delay(x, 1 - time);", [0, 2.0])
    assert caught.value.time is not None
    assert caught.value.time > 1


def test_what_looks_nowhere_back_refuses_delays():
    model = load_model("model m\n x = 1; x' = -delay(x, 1);\nend")
    for method in ("native", "roadrunner", "ssa"):
        with pytest.raises(ModelError, match="cannot run a delay in math"):
            model.simulate([0, 1], method=method)
    for use in (
        model.vector_field,
        model.steady_state,
        lambda: model.sensitivities([0, 1], ["x"]),
    ):
        with pytest.raises(ModelError, match="cannot run a delay in math") as caught:
            use()
        assert caught.value.problems[0].key == "x.delay"


def test_other_models_run_by_the_same_method():
    text = "x = 1; k = 0.5; x' = -k * x; at x < 0.3: x = 1;"
    model = load_model(f"model m\n{text}\nend")
    times = np.linspace(0, 10, 21)
    ours = model.simulate(times, method="radau", rtol=1e-9, atol=1e-12)["x"].values[0]
    period = -np.log(0.3) / 0.5
    np.testing.assert_allclose(ours, np.exp(-0.5 * (times % period)), rtol=1e-8)


def test_a_network_lists_its_delays():
    network = read_network("model m\n x = 1; x' = -delay(delay(x, 1), 2);\nend")
    assert [tree[2] for tree, _, _ in network.delays] == [2.0, 1.0]


def test_delays_that_multiply_are_refused():
    rules = "".join(f"y{i} := delay(y{i + 1}, 1) + delay(y{i + 1}, 2);\n" for i in range(12))
    with pytest.raises(ModelError, match="more than 200 values of the past"):
        read_network(f"model m\n {rules} y12 := time;\nend")
    few = "".join(f"y{i} := delay(y{i + 1}, 1);\n" for i in range(20))
    last = course(f"{few} y20 := time;", [0.0, 5.0], "y0")
    np.testing.assert_allclose(last, [-20, -15], atol=1e-9)
