"""What is fixed, taken out of products."""

from __future__ import annotations

import numpy as np
import pytest

from mechanistic.codegen.factored import Factored, changing_nodes
from mechanistic.codegen.graph import Graph
from mechanistic.codegen.numeric import evaluate

X, Y, K, C = range(4)


def _law(graph: Graph, tree):
    names = {"x": X, "y": Y, "k": K, "c": C}
    return graph.tree(tree, lambda name: graph.input(names[name]), lambda leaf: graph.const(0.0))


def _changing(graph: Graph, nodes, inputs) -> list[str]:
    leaves = [graph.input(i) for i in inputs]
    changing = changing_nodes(graph, nodes, leaves) - set(leaves)
    return sorted(graph.nodes[n][0] for n in changing if n in set(graph.needed(nodes)))


@pytest.mark.parametrize(
    ("tree", "left"),
    [
        (["*", "c", "k", ["/", "x", "c"], ["/", "y", "c"]], ["*", "*"]),
        (["/", ["*", "k", ["/", "x", "c"]], ["+", "k", ["/", "x", "c"]]], ["*", "*", "+", "/"]),
        (["-", ["*", "k", ["-", ["*", "c", "x"]]], "y"], ["*", "-"]),
        (["/", "k", ["*", "c", "x"]], ["*", "/"]),
        (["^", ["/", "x", "c"], "k"], ["*", "^"]),
        (["*", "k", "c"], []),
    ],
)
def test_the_same_numbers_with_fewer_operations_on_what_changes(tree, left):
    graph = Graph()
    law = _law(graph, tree)
    found = Factored(graph, [law], [graph.input(X), graph.input(Y)]).whole(law)
    assert _changing(graph, [found], (X, Y)) == left
    values = list(np.random.default_rng(0).uniform(0.5, 2.0, (4, 50)))
    before, after = (np.broadcast_to(v, 50) for v in evaluate(graph, [law, found], values))
    np.testing.assert_allclose(after, before, rtol=1e-14)


@pytest.mark.parametrize("tree", [["<", ["/", "x", "c"], "k"], ["floor", ["/", "x", "c"]]])
def test_what_the_last_bit_decides_is_left_as_it_is_written(tree):
    graph = Graph()
    node = _law(graph, tree)
    assert Factored(graph, [node], [graph.input(X)]).whole(node) == node
