"""Roots of many functions at once, against closed forms."""

import numpy as np

from mechanistic.solvers.roots import roots


def test_each_function_has_its_own_root():
    level, power = np.array([0.3, 1e-9, 2.0, 7.9]), np.array([1.0, 3.0, 5.0, 3.0])

    def gap(x, rows):
        return x ** power[rows] - level[rows]

    end = np.full(4, 2.0)
    found = roots(gap, end, -level, gap(end, np.arange(4)))
    np.testing.assert_allclose(found, level ** (1 / power), rtol=1e-14)
    alone = roots(lambda x, rows: gap(x, rows + 2), end[:1], -level[2:3], gap(end[:1], np.array([2])))
    assert alone[0] == found[2]


def test_a_step_is_found_where_it_is():
    found = roots(lambda x, _: np.where(x < 0.37, -1.0, 5.0), np.ones(1), -np.ones(1), 5 * np.ones(1))
    np.testing.assert_allclose(found, 0.37, rtol=1e-14)
