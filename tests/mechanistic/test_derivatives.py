"""Derivatives of powers at the edge of where they are defined: a species that is not there yet."""

from __future__ import annotations

import numpy as np
import pytest

from mechanistic.codegen.derivatives import jacobian
from mechanistic.codegen.graph import Graph
from mechanistic.codegen.numeric import evaluate


def _power():
    """x^n with its first and second derivatives: {"": value, "x": ..., "n": ..., "xx": ..., "xn": ..., ...}."""
    graph = Graph()
    variables = {"x": graph.input(0), "n": graph.input(1)}
    nodes = {"": graph.op("^", variables["x"], variables["n"])}
    for order in range(2):
        for name in [name for name in nodes if len(name) == order]:
            found = jacobian(graph, [nodes[name]], list(variables.values()))
            for j, letter in enumerate(variables):
                nodes[name + letter] = found.get((0, j), graph.const(0.0))
    return graph, nodes


@pytest.fixture(scope="module")
def derivatives():
    graph, nodes = _power()

    def at(x: float, n: float) -> dict[str, float]:
        with np.errstate(all="ignore"):
            values = evaluate(graph, list(nodes.values()), [x, n])
        return {name: float(value) for name, value in zip(nodes, values)}

    return at


@pytest.mark.parametrize(
    ("n", "slope", "curvature"), [(0, 0, 0), (1, 1, 0), (2, 0, 2), (2.5, 0, 0), (4, 0, 0)]
)
def test_at_nothing(derivatives, n, slope, curvature):
    found = derivatives(0.0, float(n))
    assert (found["x"], found["xx"]) == (slope, curvature)
    if n > 0:
        assert (found["n"], found["nn"]) == (0, 0)
    if n > 1:
        assert (found["xn"], found["nx"]) == (0, 0)


@pytest.mark.parametrize(("x", "n"), [(0.3, 0.0), (0.3, 1.0), (1.7, 2.5), (1e-200, 1.5)])
def test_elsewhere(derivatives, x, n):
    logarithm = np.log(x)
    expected = {
        "x": n * x ** (n - 1), "n": x**n * logarithm, "nn": x**n * logarithm**2,
        "xn": x ** (n - 1) * (1 + n * logarithm), "nx": x ** (n - 1) * (1 + n * logarithm),
        "xx": n * (n - 1) * x ** (n - 2),
    }  # fmt: skip
    found = derivatives(x, n)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12), name


def test_what_is_not_chosen_does_not_matter():
    graph = Graph()
    x = graph.input(0)
    guarded = graph.op("select", graph.op("<", graph.const(0.0), x), graph.op("sqrt", x), graph.const(0.0))
    slope = jacobian(graph, [guarded], [x])[0, 0]
    with np.errstate(all="ignore"):
        assert float(evaluate(graph, [slope], [0.0])[0]) == 0.0
    assert float(evaluate(graph, [slope], [4.0])[0]) == 0.25
