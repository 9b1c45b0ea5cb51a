"""Clones and family trees."""

from __future__ import annotations

import numpy as np

from sim.report.population import _rows, founders
from sim.report.rundata import quantiles


def test_founders_through_generations():
    ids = np.array([0, 1, 5, 6, 9])
    parents = np.array([-1, -1, 0, 5, 1])
    np.testing.assert_array_equal(founders(ids, parents), [0, 1, 0, 0, 1])


def test_a_mother_who_ends_stands_between_her_daughters():
    heights = _rows(0, {0: [1, 2], 2: [3, 4]}, set(), 10.0)
    assert heights == {1: 10.0, 3: 11.0, 4: 12.0, 2: 11.5, 0: 10.75}


def test_a_mother_who_stays_has_a_row_of_her_own():
    heights = _rows(0, {0: [2, 1], 1: [3]}, {0, 1}, 0.0)
    assert heights == {0: 0.0, 2: 1.0, 1: 2.0, 3: 3.0}


def test_quantiles_leave_out_cells_without_a_value():
    found = quantiles([np.array([1.0, np.nan, 3.0]), np.array([np.nan]), np.empty(0)], (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(found, [[1, np.nan, np.nan], [2, np.nan, np.nan], [3, np.nan, np.nan]])
