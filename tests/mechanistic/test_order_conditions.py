"""The coefficients of the solvers satisfy the conditions of their order, tree by tree.

E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 2nd ed., Springer 1993, section
II.2, and II (Hairer, Wanner 1996), section IV.7: where a node has one branch, a Rosenbrock method weighs it with
alpha + gamma, else with alpha.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import prod

import numpy as np
import pytest

from mechanistic.solvers import explicit, rosenbrock


def _trees(order: int) -> list[tuple]:
    """Rooted trees with `order` nodes; a tree is the sorted tuple of its branches."""

    def forests(nodes: int, largest: int) -> list[tuple]:
        if nodes == 0:
            return [()]
        found = []
        for size in range(min(nodes, largest), 0, -1):
            for count in range(1, nodes // size + 1):
                for group in combinations_with_replacement(_trees(size), count):
                    found += [group + rest for rest in forests(nodes - size * count, size - 1)]
        return found

    return forests(order - 1, order - 1)


def _nodes(tree: tuple) -> int:
    return 1 + sum(map(_nodes, tree))


def _density(tree: tuple) -> int:
    return _nodes(tree) * prod(map(_density, tree))


def _stages(tree: tuple, single: np.ndarray, many: np.ndarray) -> np.ndarray:
    """What each stage contributes for `tree`, weights of branches left out."""
    matrix = single if len(tree) == 1 else many
    return prod((matrix @ _stages(branch, single, many) for branch in tree), start=np.ones(len(single)))


def _defects(weights, single, many, orders, share: float = 1.0) -> list[float]:
    """Violations of the conditions for a solution at `share` of the step."""
    return [
        float(weights @ _stages(tree, single, many) - share**order / _density(tree))
        for order in orders
        for tree in _trees(order)
    ]


def _lower(rows, size: int) -> np.ndarray:
    matrix = np.zeros((size, size))
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = row
    return matrix


@pytest.fixture(scope="module")
def rodas():
    """(alpha, alpha + gamma, the way from the program's weights to the method's)."""
    size = len(rosenbrock.C)
    gamma = np.linalg.inv(np.eye(size) / rosenbrock.GAMMA - _lower(rosenbrock.C, size))
    rows = list(rosenbrock.A)
    while len(rows) < size:
        rows.append((*rosenbrock.A[-1], *[1.0] * (len(rows) + 1 - len(rosenbrock.A))))
    alpha = _lower(rows, size) @ gamma
    return alpha, alpha + gamma, gamma, np.array([*rows[-1], 1.0])


def test_trees_are_as_many_as_they_should_be():
    assert [len(_trees(k)) for k in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


def test_rosenbrock(rodas):
    alpha, both, gamma, weights = rodas
    np.testing.assert_allclose(_defects(weights @ gamma, both, alpha, range(1, 6)), 0, atol=2e-11)
    assert np.abs(_defects(weights @ gamma, both, alpha, [6])).max() > 1e-5


def test_rosenbrock_error_estimate(rodas):
    alpha, both, gamma, weights = rodas
    embedded = weights.copy()
    embedded[-1] = 0.0
    np.testing.assert_allclose(_defects(embedded @ gamma, both, alpha, range(1, 5)), 0, atol=2e-11)
    assert np.abs(_defects(embedded @ gamma, both, alpha, [5])).max() > 1e-5


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 1.0])
def test_rosenbrock_dense_output(rodas, share):
    alpha, both, gamma, weights = rodas
    dense = np.array(rosenbrock.DENSE)
    within = share * weights + share * (1 - share) * (share ** np.arange(len(dense)) @ dense)
    np.testing.assert_allclose(_defects(within @ gamma, both, alpha, range(1, 5), share), 0, atol=2e-11)


@pytest.fixture(scope="module")
def runge_kutta():
    matrix = _lower(explicit.A, explicit.STAGES)
    return matrix, matrix[12]


def test_runge_kutta(runge_kutta):
    matrix, weights = runge_kutta
    np.testing.assert_allclose(_defects(weights, matrix, matrix, range(1, 9)), 0, atol=1e-14)
    assert np.abs(_defects(weights, matrix, matrix, [9])).max() > 1e-6


@pytest.mark.parametrize(("error", "order"), [(explicit.ERROR_5, 5), (explicit.ERROR_3, 3)])
def test_runge_kutta_error_estimates(runge_kutta, error, order):
    matrix, weights = runge_kutta
    embedded = weights.copy()
    embedded[: len(error)] -= error
    np.testing.assert_allclose(_defects(embedded, matrix, matrix, range(1, order + 1)), 0, atol=1e-14)
    assert np.abs(_defects(embedded, matrix, matrix, [order + 1])).max() > 1e-6


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 1.0])
def test_runge_kutta_dense_output(runge_kutta, share):
    matrix, weights = runge_kutta
    dense = np.array(explicit.METHOD.dense)
    within = share * weights + share * (1 - share) * (share ** np.arange(len(dense)) @ dense)
    np.testing.assert_allclose(_defects(within, matrix, matrix, range(1, 8), share), 0, atol=1e-12)
